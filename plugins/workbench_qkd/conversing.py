"""A session on a line between two nodes: keys from both sites, the exchange of docs/protocols/frame.md carried by letters.

Document: docs/quantum-channel.md section 8. Nothing of a session outlives this process: keys and states lie in memory only.
"""

from __future__ import annotations

import base64
import binascii
import threading
from dataclasses import dataclass, field
from typing import Any, Final

from workbench.channel.handshake import Initiator, Responder
from workbench.channel.session import SealedSession
from workbench.channel.terms import End, QkdShare, SessionTerms
from workbench.contracts import Letter, LetterKind, Transaction
from workbench.crypto import canonical, sm3
from workbench.domain.party import PartyId
from workbench.errors import PeerUnavailable, ProtocolViolation, Refused, WorkbenchError
from workbench_kme.service import views
from workbench_qkd import policies, sessions, taking, tenants
from workbench_qkd.bodies import group_of
from workbench_qkd.model import HOUR_MS, exhausted
from workbench_qkd.service import ChannelService, service_of

HELLO: Final = "qkd.hello"
CONFIRM: Final = "qkd.confirm"
PURPOSE: Final = "rehearsal"
WAIT_S: Final = 25.0
KEPT_MS: Final = 120_000
"""An exchange that nobody confirmed by then is forgotten with its keys."""
_RETRY_S = 30


@dataclass(slots=True)
class _Answered:
    """An exchange that this end has answered."""

    responder: Responder = field(repr=False)
    line: str
    at_ms: int
    key_id: str
    tenant: str


class Conversations:
    """Both ends of sessions at one node."""

    def __init__(self, service: ChannelService) -> None:
        self._service, self._host = service, service.host
        self._answered: dict[str, _Answered] = {}
        self._asked: dict[str, list[int]] = {}
        self._lock = threading.Lock()

    # ------------------------------------------------------------------ this end asks

    def share_for(self, line: views.Line, *, actor: str) -> tuple[str, QkdShare | None]:
        """(policy, key) for one session on a line, or a refusal that is evidence: nothing else is ever used instead.

        Raises KeyUnavailable LINE_STOPPED, KEY_EXHAUSTED or what the entity says; Refused PROVENANCE_REFUSED.
        """
        with self._host.store.read() as reader:
            policy = policies.in_force(reader, self._host, line.line, line.policy)
            held = line.line in policies.held(reader)
        try:
            return policy, taking.fresh(self._service, line, policy, held=held)
        except WorkbenchError as error:
            self._refused(line, policy, error, actor=actor)
            raise

    def rehearse(self, line: views.Line, *, actor: str, wait: Any) -> sessions.Opened:  # Any: wait(letter) -> its state
        """One session from first message to last frame with the far site's node; both ends' keys are used up.

        wait(letter id): returns the letter's state once it is answered, raises when that takes too long.
        """
        host = self._host
        peer = PartyId(line.peer_site)
        if peer not in host.parties():
            raise Refused(f"对端站点 {peer} 不是本项目的机构", f"The far site {peer} is no institution of this project", code="UNKNOWN_PARTNER")
        policy, share = self.share_for(line, actor=actor)
        initiator = Initiator(
            identity=host.party, key=host.keys.message, peer=End(peer, host.pinned_keys(peer).message), terms=self._terms(line, policy), qkd=share
        )
        hello = initiator.hello()
        name = _name(hello)
        opened = sessions.Opened(name, line.line, PURPOSE, policy, share.key_id if share else "", share.provenance if share else "", line.tenant)

        def begin(tx: Transaction) -> str:
            sessions.begin(tx, host, opened)
            return str(host.letters.post(tx, to=peer, kind=HELLO, body=_pack({"line": line.line, "hello": _text(hello)})))

        try:
            answer = _bytes(_unpack(wait(host.store.write(begin)))["answer"])
            if taking.is_withdrawn(self._service, opened.key_id):
                raise sessions.over()
            confirm, established = initiator.receive_answer(answer)
            session = SealedSession(established, now_ms=host.now_ms())
            probe = host.random(32)
            frame = session.seal(probe, purpose=PURPOSE, now_ms=host.now_ms())
            body = _pack({"session": name, "confirm": _text(confirm), "frame": _text(frame)})
            told = wait(host.store.write(lambda tx: str(host.letters.post(tx, to=peer, kind=CONFIRM, body=body))))
            back = session.open(_bytes(_unpack(told)["frame"]), now_ms=host.now_ms(), purpose=PURPOSE)
            if back.payload != sm3.digest(probe):
                raise ProtocolViolation("对端回的不是本次会话的内容", "the far end answered something else", code="SESSION_DIFFERS")
        except WorkbenchError as error:
            why = error
            host.store.write(lambda tx: sessions.refuse(tx, host, name, why, actor=actor))
            raise
        facts = session.facts()
        session.kill()
        taking.consumed(self._service, opened.key_id, line=opened.line, purpose="session", reference=opened.session)
        host.store.write(lambda tx: sessions.done(tx, host, opened, suite=facts["suite"], actor=actor, cause=PURPOSE))
        return opened

    # ------------------------------------------------------------------ this end is asked

    def prepare_hello(self, letter: Letter) -> tuple[sessions.Opened | None, WorkbenchError | None, bytes]:
        """Answer a hello: the key by its id from this site's own entity, and no other one.

        Raises Refused TOO_MANY_REHEARSALS before anything is looked at or taken.
        """
        self._admit(letter.sender)
        asked = _unpack(letter.body)
        hello, host = _bytes(asked["hello"]), self._host
        line = self._service.client().line(str(asked["line"]))
        if line.peer_site != letter.sender:
            raise Refused("这条线路不通往该机构", "this line does not lead to that institution", code="NO_LINE")
        self._require_tenant(line)
        with host.store.read() as reader:
            policy, held = policies.in_force(reader, host, line.line, line.policy), line.line in policies.held(reader)
        responder = Responder(
            identity=host.party, key=host.keys.message, peer=End(letter.sender, host.pinned_keys(letter.sender).message), terms=self._terms(line, policy)
        )
        opened = sessions.Opened(_name(hello), line.line, PURPOSE, policy, "", "", line.tenant)
        try:
            wanted = responder.receive_hello(hello)
            opened = sessions.Opened(_name(hello), line.line, PURPOSE, policy, wanted.key_id, wanted.provenance, line.tenant)
            if held or line.state == "alarm":
                return opened, exhausted(line.line, missing=1, retry_after_s=0, is_stopped=True), responder.refuse("LINE_STOPPED")
            answer = responder.answer(self._usable(line, wanted.key_id), retry_after_s=_RETRY_S)
        except WorkbenchError as error:
            if not responder.refusal:
                raise
            return opened, error, responder.refusal
        now = host.now_ms()
        with self._lock:
            self._answered = {name: one for name, one in self._answered.items() if now - one.at_ms < KEPT_MS}
            self._answered[opened.session] = _Answered(responder, line.line, now, wanted.key_id, line.tenant)
        return opened, None, answer

    def _admit(self, peer: PartyId) -> None:
        """Count a partner's rehearsal: each takes a key of the line that a session may need."""
        now, most = self._host.now_ms(), int(self._host.setting("qkd.rehearsals_an_hour"))
        with self._lock:
            recent = [one for one in self._asked.get(peer, []) if now - HOUR_MS < one <= now]
            self._asked[peer] = recent
            if len(recent) < most:
                recent.append(now)
                return
        wait_s = max(1, (recent[0] + HOUR_MS - now) // 1000) if recent else 0
        raise Refused(
            f"一小时内贵方演练会话已达 {most} 次，不再应答，约 {wait_s} 秒后再试；次数由本机构运维设定（qkd.rehearsals_an_hour）",
            f"{most} rehearsals of yours were answered within an hour; try again in about {wait_s} s. Our operations set the number (qkd.rehearsals_an_hour)",
            code="TOO_MANY_REHEARSALS", details={"retry_after_s": str(wait_s)},
        )  # fmt: skip

    def _usable(self, line: views.Line, key_id: str) -> QkdShare | None:
        """The key of this id; None, as for one that is unknown, when the entity has taken it out of use or does not say."""
        found = taking.named(self._service, line, key_id)
        try:
            return None if taking.is_withdrawn(self._service, key_id) else found
        except WorkbenchError as error:
            self._host.log_fault(error)
            return None

    def receive_hello(self, tx: Transaction, letter: Letter) -> bytes:
        """Write down what was asked, and the refusal where there is one; the answer, signed by the exchange itself."""
        opened, error, answer = letter.prepared
        sessions.begin(tx, self._host, opened)
        if error is not None:
            sessions.refuse(tx, self._host, opened.session, error, actor="")
        return _pack({"answer": _text(answer)})

    def prepare_confirm(self, letter: Letter) -> tuple[sessions.Opened, str, bytes]:
        """Check the confirmation, open the first frame, seal the last; NO_SESSION after a restart or two minutes."""
        told = _unpack(letter.body)
        with self._lock:
            kept = self._answered.pop(str(told["session"]), None)
        if kept is None:
            raise Refused("没有这次会话，或已过期", "there is no such session, or it has lapsed", code="NO_SESSION")
        host = self._host
        if taking.is_withdrawn(self._service, kept.key_id):
            kept.responder.end()
            raise sessions.over()
        session = SealedSession(kept.responder.receive_confirm(_bytes(told["confirm"])), now_ms=host.now_ms())
        probe = session.open(_bytes(told["frame"]), now_ms=host.now_ms(), purpose=PURPOSE)
        frame = session.seal(sm3.digest(probe.payload), purpose=PURPOSE, now_ms=host.now_ms())
        facts = session.facts()
        session.kill()
        opened = sessions.Opened(str(told["session"]), kept.line, PURPOSE, facts["policy"], facts["key_id"], facts["provenance"], kept.tenant)
        taking.consumed(self._service, opened.key_id, line=opened.line, purpose="session", reference=opened.session)
        return opened, facts["suite"], frame

    def receive_confirm(self, tx: Transaction, letter: Letter) -> bytes:
        """Write down that the session was there and is over."""
        opened, suite, frame = letter.prepared
        sessions.done(tx, self._host, opened, suite=suite, actor="", cause=PURPOSE)
        return _pack({"frame": _text(frame)})

    # ------------------------------------------------------------------ both

    def _terms(self, line: views.Line, policy: str) -> SessionTerms:
        return taking.terms(self._service, policy, group=group_of(line.line, line.tenant))

    def _require_tenant(self, line: views.Line) -> None:
        """Return if this line is one of the partner's tenant; an entry otherwise. Raises Refused TENANT_DIFFERS."""
        try:
            tenants.check(self._host, line)
        except WorkbenchError as error:
            self._refused(line, line.policy, error, actor="")
            raise

    def _refused(self, line: views.Line, policy: str, error: WorkbenchError, *, actor: str) -> None:
        name = f"S-{self._host.random(6).hex()}"

        def change(tx: Transaction) -> None:
            sessions.begin(tx, self._host, sessions.Opened(name, line.line, PURPOSE, policy, "", "", line.tenant))
            sessions.refuse(tx, self._host, name, error, actor=actor)

        self._host.store.write(change)


def conversations_of(host: object) -> Conversations:
    """Those of this node."""
    service = service_of(host)
    with service.making:
        if service.conversations is None:
            service.conversations = Conversations(service)
        found: Conversations = service.conversations
        return found


def letter_kinds(host: object) -> list[LetterKind]:
    """What the far end's node sends. The node asks for them before it has its background work, so each looks for it when needed."""
    return [
        LetterKind(
            HELLO, lambda tx, letter: conversations_of(host).receive_hello(tx, letter), prepare=lambda letter: conversations_of(host).prepare_hello(letter)
        ),
        LetterKind(
            CONFIRM, lambda tx, letter: conversations_of(host).receive_confirm(tx, letter), prepare=lambda letter: conversations_of(host).prepare_confirm(letter)
        ),
    ]  # fmt: skip


def waiting(host: Any, *, cancelled: Any, pause: Any) -> Any:  # Any: the node; two functions of the operation
    """wait(letter): its answer; PeerUnavailable after WAIT_S, Refused with the far end's code."""

    def wait(letter: str) -> bytes:
        until = host.now_ms() + WAIT_S * 1000
        while True:
            with host.store.read() as reader:
                state = host.letters.state(reader, letter)
            if state.refused_code:
                raise Refused(f"对端拒绝了会话（{state.refused_code}）", f"The far end refused the session ({state.refused_code})", code=state.refused_code)
            if state.acknowledged_ms is not None:
                return bytes(state.answer)
            if host.now_ms() > until or cancelled():
                raise PeerUnavailable("对端没有在限定时间内回应", "The far end did not answer in time", code="PEER_SILENT")
            pause(0.1)

    return wait


def _name(hello: bytes) -> str:
    return f"S-{sm3.digest(hello).hex()[:12]}"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: Any) -> bytes:  # Any: out of a letter
    try:
        return base64.b64decode(str(text), validate=True)
    except (ValueError, binascii.Error) as error:
        raise _malformed() from error


def _pack(value: dict[str, str]) -> bytes:
    return canonical.format(dict(value))


def _unpack(body: bytes) -> dict[str, Any]:
    try:
        return dict(canonical.parse_object(body))
    except (ValueError, WorkbenchError) as error:
        raise _malformed() from error


def _malformed() -> ProtocolViolation:
    return ProtocolViolation("会话信函的格式不对", "a letter of a session has another form", code="SESSION_LETTER")


__all__ = ["CONFIRM", "HELLO", "WAIT_S", "Conversations", "conversations_of", "letter_kinds", "waiting"]
