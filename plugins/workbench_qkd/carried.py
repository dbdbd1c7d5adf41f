"""Sessions of the channel `qkd` at one node, both ends: agreed, renewed, used, ended. Document: docs/protocols/qkd-channel.md.

Everything here blocks (entity, store, signatures) and runs in threads of the channel. Keys lie in memory only; tables and
entries hold ids.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Any, Final

from workbench.channel import calls
from workbench.channel.handshake import Initiator, Responder
from workbench.channel.message import peek_header
from workbench.channel.session import SealedSession
from workbench.channel.session_state import Limits
from workbench.channel.terms import End
from workbench.channel.tls_groups import NegotiatedLink
from workbench.contracts import Transaction
from workbench.crypto import canonical, sm2
from workbench.domain.party import PartyId
from workbench.errors import ProtocolViolation, Refused, VerificationError, WorkbenchError
from workbench_kme.service import views
from workbench_qkd import policies, sessions, taking, tenants
from workbench_qkd.bandwidth import Bandwidth
from workbench_qkd.bodies import epoch_of, fields, from_hex, from_text, group_of, name_of, to_text, unknown_session
from workbench_qkd.choosing import choose, no_line
from workbench_qkd.entries import Entries
from workbench_qkd.model import exhausted
from workbench_qkd.noting import Noting
from workbench_qkd.service import ChannelService

WHAT: Final = "channel"
MESSAGE: Final = "message"
"""The peer path whose bodies are signed frames that name their job."""
PENDING_MS: Final = 120_000
LONGEST_MS: Final = 3_660_000
MOST_OF_A_PARTNER: Final = 4
MOST_PENDING: Final = 4
"""Exchanges of one partner that wait for its confirmation: each holds keys. The oldest makes room."""
_RETRY_S: Final = 30
_SESSION_ID: Final = slice(6, 22)
_REMEMBERED: Final = 4096


@dataclass(slots=True, eq=False)
class Held:
    """A live session at this end. name: as evidence has it; key: the partner's when it began; since_ms: of the epoch.

    linked: what the link that it began in was found to be; no other kind of link carries it. renewals: as the service counts
    them, before the key of this epoch was asked for. tenant: tag of the line. gaps: frames that never
    came and were told.
    """

    name: str
    line: str
    peer: PartyId
    policy: str
    key: sm2.PublicKey
    session: SealedSession = field(repr=False)
    since_ms: int
    linked: NegotiatedLink
    renewals: int
    tenant: str = ""
    gaps: int = 0


@dataclass(slots=True)
class _Pending:
    """An exchange that this end has answered. renews: the session it renews."""

    responder: Responder = field(repr=False)
    opened: sessions.Opened
    peer: PartyId
    key: sm2.PublicKey
    renews: Held | None
    at_ms: int
    renewals: int


class Carried:
    """Both ends of the channel's sessions at one node."""

    def __init__(self, service: ChannelService) -> None:
        self._service, self._host = service, service.host
        self._pending: dict[str, _Pending] = {}
        self._answering: dict[bytes, Held] = {}
        self._used: dict[tuple[str, int, str, int], None] = {}
        self._entries = Entries(self._host)
        self._noting = Noting(service, self._entries)
        self.altered = self._noting.altered
        self._lock = threading.Lock()

    @property
    def host(self) -> Any:  # Any: service.ChannelHost
        """The node."""
        return self._host

    @property
    def bandwidth(self) -> Bandwidth:
        """What may leave towards each partner."""
        return self._service.bandwidth

    def forget_former(self) -> None:
        """Sessions of an earlier run of the node are over: their keys were in its memory only."""

        def change(tx: Transaction) -> None:
            rows = tx.execute("SELECT line, session FROM qkd_session WHERE what = ? AND state IN ('OPEN', 'OPENING')", (WHAT,)).fetchall()
            for line, name in rows:
                self._write_end(tx, line, name, "restart")

        self._host.store.write(change)

    # ------------------------------------------------------------------ this end calls

    def ready(self, peer: PartyId) -> bytes:
        """Body of `qkd/ready`."""
        return canonical.format({"tenant": tenants.tag_of(self._host, peer)})

    def begin(self, peer: PartyId, renews: Held | None = None) -> tuple[Initiator, sessions.Opened, bytes, bytes]:
        """(exchange, what it will be, its hello, body of `qkd/hello`) with a fresh key of the line to this partner.

        Raises what is missing, which is an entry then: nothing else is ever used instead.
        """
        host, line = self._host, None
        opened = self.nothing_yet(renews)
        try:
            line, policy, held, passed = self._line_to(peer, renews)
            if renews is not None and policy != renews.policy:
                raise sessions.over()
            opened = sessions.Opened("", line.line, WHAT, policy, "", "", line.tenant)
            turn = self._service.turn(line.line)
            share = taking.fresh(self._service, line, policy, held=held)
            if renews is None:
                terms = taking.terms(self._service, policy, group=group_of(line.line, line.tenant))
                end = End(peer, host.pinned_keys(peer).message)
                initiator = Initiator(identity=host.party, key=host.keys.message, peer=end, terms=terms, qkd=share)
            else:
                initiator = renews.session.renewal(key=host.keys.message, qkd=share)
        except WorkbenchError as error:
            self.refused(peer, opened, error)
            raise
        hello = initiator.hello()
        opened = sessions.Opened(
            renews.name if renews else name_of(hello), line.line, WHAT, policy, share.key_id if share else "", share.provenance if share else "", line.tenant
        )  # fmt: skip

        def change(tx: Transaction) -> None:
            self._begin(tx, opened, turn, is_renewal=renews is not None)
            for name, cause in passed.items():
                self._entries.enter(tx, "qkd.line_passed_over", {"line": name, "taken": opened.line, "session": opened.session, "cause": cause})

        host.store.write(change)
        asked = {"hello": to_text(hello), "line": line.line, "session": renews.session.session_id if renews else ""}
        return initiator, opened, hello, canonical.format(dict(asked))

    def agree(self, initiator: Initiator, hello: bytes, answer: bytes) -> tuple[Any, bytes]:
        """(established, body of `qkd/confirm`) from the partner's answer. Raises as `Initiator.receive_answer`."""
        confirm, established = initiator.receive_answer(answer)
        return established, canonical.format({"confirm": to_text(confirm), "exchange": name_of(hello)})

    def nothing_yet(self, renews: Held | None) -> sessions.Opened:
        """What an exchange is before its hello: for the entry about one that never came so far."""
        if renews is None:
            return sessions.Opened("", "", WHAT, "", "", "")
        return sessions.Opened(renews.name, renews.line, WHAT, renews.policy, "", "", renews.tenant)

    @property
    def renewals(self) -> int:
        """As the service counts them now; read before a key is asked for."""
        return self._service.renewals

    def must_renew(self, held: Held) -> bool:
        """Whether a session has to take a fresh key before it carries anything more (docs/quantum-channel.md section 11)."""
        return held.renewals != self._service.renewals

    def take_up(
        self, peer: PartyId, opened: sessions.Opened, established: Any, renews: Held | None, linked: NegotiatedLink, *, renewals: int
    ) -> Held:
        """The partner has confirmed: seal from here on. renewals: as they were counted before the exchange began."""
        now = self._host.now_ms()
        if renews is not None:
            renews.session.adopt(established, now_ms=now)
            renews.since_ms, renews.renewals = now, renewals
            held = renews
        else:
            session = SealedSession(established, now_ms=now, limits=self._limits())
            held = Held(opened.session, opened.line, peer, opened.policy, established.peer.key, session, now, linked, renewals, opened.tenant)
        self._opened(held, opened, is_renewal=renews is not None)
        return held

    def seal(self, held: Held, path: str, body: bytes) -> calls.Request:
        """A request to send; the entry about its job is written by then. Raises as `SealedSession.seal`, Refused SESSION_BROKEN."""
        cause = self._why_not(held)
        if cause:
            self.end(held, cause)
            raise sessions.over()
        try:
            request = calls.seal_request(held.session, path, body, now_ms=self._host.now_ms())
        except WorkbenchError as error:
            if error.code != "REKEY_REQUIRED" or not self._has_other(held):
                raise
            self.end(held, "other line")  # its own line has no key for a renewal: the next session takes another one
            raise sessions.over() from error
        self._note_use(held, path, body, epoch_of(request.frame))
        return request

    def open_reply(self, held: Held, request: calls.Request, frame: bytes) -> bytes:
        """Status byte and rest. Raises ProtocolViolation FRAME_REFUSED, Refused SESSION_BROKEN."""
        try:
            reply = calls.open_reply(held.session, request, frame, now_ms=self._host.now_ms())
        except VerificationError as error:
            self.altered(held, error.code)
            raise ProtocolViolation(error.zh, error.en, code=error.code) from error
        self._noting.gaps(held, held.session.gaps[1])
        cause = self._why_not(held)
        if cause:
            self.end(held, cause)
            raise sessions.over()
        return reply.body

    # ------------------------------------------------------------------ this end answers

    def check_ready(self, peer: PartyId, body: bytes) -> None:
        """Return if a session of this partner could begin here now: it asks, and names its tag, before it takes a key for one.

        Raises Refused TENANT_DIFFERS; KeyUnavailable LINE_STOPPED where all lines that lead there are, NO_LINE; what the entity says.
        """
        try:
            tenants.require_same(self._host, peer, fields(body, "tenant")["tenant"])
            choice = choose(self._service, peer)
        except Refused as error:
            if error.code == tenants.CODE:
                self.refused(peer, self.nothing_yet(None), error)
            raise
        if all(one.held or one.line.state == "alarm" for one in choice.among):
            line = choice.taken.line
            stopped = exhausted(line.line, missing=1, retry_after_s=0, is_stopped=True)
            self.refused(peer, sessions.Opened("", line.line, WHAT, choice.policy, "", "", line.tenant), stopped)
            raise stopped

    def answer_hello(self, peer: PartyId, body: bytes) -> bytes:
        """Answer or signed refusal; the key by its id from this site's own entity, after the hello was verified."""
        asked = fields(body, "hello", "line", "session")
        hello, host, renewals = from_text(asked["hello"]), self._host, self._service.renewals
        line = self._service.client().line(asked["line"])
        if line.peer_site != peer:
            raise no_line(peer)
        self._require_tenant(peer, line)
        renews = self._answered(peer, from_hex(asked["session"])) if asked["session"] else None
        with host.store.read() as reader:
            is_held = line.line in policies.held(reader)
        policy = choose(self._service, peer).policy  # a line with a weaker one than another that leads there gets no session
        key = host.pinned_keys(peer).message
        if renews is not None:
            if (renews.line, renews.policy) != (line.line, policy):
                self.end(renews, "policy")
                raise unknown_session()
            responder = renews.session.renewal_responder(key=host.keys.message)
        else:
            terms = taking.terms(self._service, policy, group=group_of(line.line, line.tenant))
            responder = Responder(identity=host.party, key=host.keys.message, peer=End(peer, key), terms=terms)
        name = renews.name if renews else name_of(hello)
        opened = sessions.Opened(name, line.line, WHAT, policy, "", "", line.tenant)
        try:
            wanted = responder.receive_hello(hello)
            opened = sessions.Opened(name, line.line, WHAT, policy, wanted.key_id, wanted.provenance, line.tenant)
            if is_held or line.state == "alarm":
                self.refused(peer, opened, exhausted(line.line, missing=1, retry_after_s=0, is_stopped=True))
                return responder.refuse("LINE_STOPPED")
            turn = self._service.turn(line.line)
            answer = responder.answer(taking.named(self._service, line, wanted.key_id), retry_after_s=_RETRY_S)
        except WorkbenchError as error:
            if not responder.refusal:
                raise
            self.refused(peer, opened, error)
            return responder.refusal
        try:
            host.store.write(lambda tx: self._begin(tx, opened, turn, is_renewal=renews is not None))
        except WorkbenchError:
            responder.end()
            raise
        self._await_confirm(name_of(hello), _Pending(responder, opened, peer, key, renews, host.now_ms(), renewals))
        return answer

    def answer_confirm(self, peer: PartyId, body: bytes, linked: NegotiatedLink) -> bytes:
        """Take the session, or its next epoch, into use; nothing in reply. SESSION_UNKNOWN after a restart or two minutes.

        linked: the link that it came in.
        """
        told, now = fields(body, "confirm", "exchange"), self._host.now_ms()
        with self._lock:
            kept = self._pending.get(told["exchange"])
        if kept is None or kept.peer != peer or now - kept.at_ms >= PENDING_MS:
            raise unknown_session()
        established = kept.responder.receive_confirm(from_text(told["confirm"]))
        with self._lock:
            self._pending.pop(told["exchange"], None)
        if kept.renews is not None:
            held = kept.renews
            held.session.adopt(established, now_ms=now)
            held.since_ms, held.renewals = now, kept.renewals
        else:
            session = SealedSession(established, now_ms=now)
            held = Held(kept.opened.session, kept.opened.line, peer, kept.opened.policy, kept.key, session, now, linked, kept.renewals, kept.opened.tenant)
        self._opened(held, kept.opened, is_renewal=kept.renews is not None)
        self._keep(held)
        return b""

    def open_call(self, peer: PartyId, frame: bytes, linked: NegotiatedLink) -> tuple[Held, calls.Call, int]:
        """The session, the call in it and its epoch. Raises NotFound SESSION_UNKNOWN, ProtocolViolation FRAME_REFUSED."""
        held = self._answered(peer, frame[_SESSION_ID])
        if linked != held.linked:
            self.end(held, "link")
            raise unknown_session()
        if self.must_renew(held):  # the partner has not been looked at: it takes another session and repeats the call there
            self.end(held, "person revoked")
            raise unknown_session()
        try:
            call = calls.open_request(held.session, frame, now_ms=self._host.now_ms())
        except VerificationError as error:
            self.altered(held, error.code)
            raise ProtocolViolation(error.zh, error.en, code=error.code) from error
        except Refused:
            self.end(held, "broken")
            raise unknown_session() from None
        self._noting.gaps(held, held.session.gaps[1])
        cause = self._why_not(held)
        if cause:
            self.end(held, cause)
            raise unknown_session()
        return held, call, epoch_of(frame)

    def seal_reply(self, held: Held, call: calls.Call, epoch: int, body: bytes, *, is_accepted: bool) -> bytes:
        """The reply; the entry about the job of a call that was accepted is written before. epoch: of the call."""
        if is_accepted:
            self._note_use(held, call.path, call.body, epoch)
        frame, _ = calls.seal_reply(held.session, call, body, now_ms=self._host.now_ms())
        return frame

    def answer_end(self, peer: PartyId, frame: bytes) -> bytes:
        """The partner has closed its session."""
        held = self._answered(peer, frame[_SESSION_ID])
        try:
            held.session.open(frame, now_ms=self._host.now_ms(), purpose="end")
        except VerificationError as error:
            self.altered(held, error.code)
            raise ProtocolViolation(error.zh, error.en, code=error.code) from error
        self.end(held, "closed")
        return b""

    # ------------------------------------------------------------------ both

    def end(self, held: Held, cause: str) -> None:
        """Overwrite the keys and write down why, once."""
        self._noting.gaps(held, held.session.gaps[0])
        held.session.kill()
        with self._lock:
            self._answering = {name: one for name, one in self._answering.items() if one is not held}
        self._end_row(held.line, held.name, cause)

    def end_all(self, cause: str) -> None:
        """Every session that this end answers in is over."""
        with self._lock:
            ended = list(self._answering.values())
        for one in ended:
            self.end(one, cause)

    def refused(self, peer: PartyId, opened: sessions.Opened, error: WorkbenchError) -> None:
        """Write a refusal down: what was missing; at most one entry a minute of a partner and code."""
        host, is_new = self._host, self._noting.is_due(peer, error.code)
        name = opened.session or f"S-{host.random(6).hex()}"

        def change(tx: Transaction) -> None:
            known = tx.execute("SELECT state FROM qkd_session WHERE session = ?", (name,)).fetchone()
            if known is None and not is_new:
                return
            if known is not None and known[0] != "OPENING":  # a renewal: the session itself goes on
                values = {"line": opened.line, "tenant": opened.tenant, "policy": opened.policy, "code": error.code, "missing": error.details.get("missing", "")}
                if is_new:
                    host.evidence.append(tx, "qkd.session_refused", values)
                return
            sessions.begin(tx, host, replace(opened, session=name))
            sessions.refuse(tx, host, name, error, actor="")

        try:
            host.store.write(change)
        except WorkbenchError as failure:
            host.log_fault(failure)

    def _begin(self, tx: Transaction, opened: sessions.Opened, turn: int, *, is_renewal: bool) -> None:
        """Write the key down as about to be used, so that revoking it ends this exchange. turn: of the line, before the key was taken."""
        if self._service.turn(opened.line) != turn:
            raise sessions.over()
        if not is_renewal:
            sessions.begin(tx, self._host, opened)
        elif not sessions.expect_key(tx, opened.session, opened.key_id):
            raise sessions.over()

    def _await_confirm(self, name: str, kept: _Pending) -> None:
        """Keep an answered exchange; those that have lapsed, that it takes the place of, or that must make room, end."""
        with self._lock:
            mine = [one for one, old in self._pending.items() if old.peer == kept.peer]
            out = [one for one, old in self._pending.items() if kept.at_ms - old.at_ms >= PENDING_MS]
            out += [one for one in mine if one == name or (kept.renews is not None and self._pending[one].renews is kept.renews)]
            out += [one for one in mine if one not in out][: 1 - MOST_PENDING]
            lapsed = [self._pending.pop(one) for one in dict.fromkeys(out)]
            self._pending[name] = kept
        for one in lapsed:
            one.responder.end()
            if one.renews is None and one.opened.session != kept.opened.session:
                self._not_confirmed(one)

    def _not_confirmed(self, one: _Pending) -> None:
        """An exchange is over that never was a session: an entry once a minute, otherwise nothing of it is kept."""
        host, name, is_due = self._host, one.opened.session, self._noting.is_due(one.peer, "not confirmed")

        def change(tx: Transaction) -> None:
            if not is_due:
                tx.execute("DELETE FROM qkd_session WHERE session = ? AND state = 'OPENING'", (name,))
                return
            changed = tx.execute("UPDATE qkd_session SET state = 'ENDED', ended_ms = ? WHERE session = ? AND state = 'OPENING'", (host.now_ms(), name))
            if changed.rowcount:
                self._entries.enter(tx, "qkd.session_ended", {"line": one.opened.line, "session": name, "cause": "not confirmed"})

        try:
            host.store.write(change)
        except WorkbenchError as error:
            host.log_fault(error)

    def _require_tenant(self, peer: PartyId, line: views.Line) -> None:
        """Return if the line belongs to this partner's tenant; an entry otherwise. Raises Refused TENANT_DIFFERS."""
        try:
            tenants.check(self._host, line)
        except Refused as error:
            self.refused(peer, sessions.Opened("", line.line, WHAT, line.policy, "", "", line.tenant), error)
            raise

    def _line_to(self, peer: PartyId, renews: Held | None) -> tuple[views.Line, str, bool, dict[str, str]]:
        """(line, policy in force, whether it is held, lines passed over): of the session to renew, or the first usable by name."""
        choice = choose(self._service, peer)
        if renews is None:
            return choice.taken.line, choice.policy, choice.taken.held, choice.passed
        own = choice.of(renews.line)
        if own is None:
            raise no_line(peer)
        return own.line, choice.policy, own.held, {}

    def _has_other(self, held: Held) -> bool:
        """Whether a new session to this partner would take another line, with a key."""
        try:
            choice = choose(self._service, held.peer)
        except WorkbenchError:
            return False
        return choice.is_usable and choice.taken.line.line != held.line

    def _limits(self) -> Limits:
        age = min(3600, max(10, int(self._host.setting("qkd.channel_renew_s"))))
        size = min(64 << 30, max(32 << 20, int(self._host.setting("qkd.channel_renew_bytes"))))
        return Limits(size_bytes=size, age_s=age)

    def _answered(self, peer: PartyId, session: bytes) -> Held:
        with self._lock:
            held = self._answering.get(session)
        if held is None or held.peer != peer or not held.session.live:
            raise unknown_session()
        return held

    def _keep(self, held: Held) -> None:
        now = self._host.now_ms()
        with self._lock:
            self._answering[bytes.fromhex(held.session.session_id)] = held
            mine = [one for one in self._answering.values() if one.peer == held.peer]
            stale = [one for one in self._answering.values() if now - one.since_ms >= LONGEST_MS and one is not held]
            stale += [one for one in sorted(mine, key=lambda one: one.since_ms)[:-MOST_OF_A_PARTNER] if one not in stale]
        for one in stale:
            self.end(one, "lapsed")

    def _why_not(self, held: Held) -> str:
        """Why this session must not be used now, "" if it may."""
        self._entries.pay()
        host = self._host
        with host.store.read() as reader:
            row = reader.execute("SELECT state FROM qkd_session WHERE session = ?", (held.name,)).fetchone()
            if row is None or row[0] != "OPEN":
                return "ended"
            if held.line in policies.held(reader):
                return "line stopped"
            if policies.in_force(reader, host, held.line, held.policy) != held.policy:
                return "policy"
        if held.peer not in host.parties() or host.pinned_keys(held.peer).message != held.key:
            return "identity"
        return "" if held.session.live else "broken"

    def _opened(self, held: Held, opened: sessions.Opened, *, is_renewal: bool) -> None:
        """Table and entry of a session that has its keys, or new ones; the entity learns what the key was for.

        The entity is asked about the key afterwards: whoever revoked it before ended no session that was not there yet, whoever
        revokes it from here on finds this one. Without an answer the session ends.
        """
        host, facts = self._host, held.session.facts()
        values = {
            "line": held.line, "tenant": held.tenant, "session": held.name, "policy": held.policy, "key_id": opened.key_id, "provenance": opened.provenance
        }  # fmt: skip

        def change(tx: Transaction) -> None:
            was = ("OPEN", opened.key_id) if is_renewal else ("OPENING", "")
            changed = tx.execute(
                "UPDATE qkd_session SET state = 'OPEN', suite = ?, key_id = ?, provenance = ?, next_key_id = ''"
                " WHERE session = ? AND state = ? AND next_key_id = ?",
                (facts["suite"], opened.key_id, opened.provenance, held.name, *was),
            )
            if changed.rowcount != 1:
                raise sessions.over()
            if is_renewal:
                self._entries.enter(tx, "qkd.session_renewed", {**values, "epoch": facts["epoch"]})
            else:
                self._entries.enter(tx, "qkd.session_opened", values)
                sessions.keep_link(tx, held.name, held.linked)
                self._entries.enter(tx, "qkd.session_linked", sessions.link_values(held.line, held.name, held.linked))

        try:
            host.store.write(change)
        except WorkbenchError:
            held.session.kill()
            raise
        taking.consumed(self._service, opened.key_id, line=held.line, purpose=WHAT, reference=held.name)
        try:
            is_withdrawn = taking.is_withdrawn(self._service, opened.key_id)
        except WorkbenchError:
            self.end(held, "key not checked")
            raise
        if is_withdrawn:
            self.end(held, "revoked")
            raise sessions.over()

    def _note_use(self, held: Held, path: str, body: bytes, epoch: int) -> None:
        """The entry that a job's messages travelled in this session, once a job, attempt and epoch."""
        if path != MESSAGE:
            return
        header = peek_header(body, max_bytes=len(body))
        if not header.job:
            return
        mark = (header.job, header.attempt, held.name, epoch)
        with self._lock:
            if mark in self._used:
                return
        key = next(one for one in held.session.status().epochs if one.epoch == epoch)
        values = {
            "line": held.line, "tenant": held.tenant, "partner": held.peer, "attempt": str(header.attempt), "session": held.name, "epoch": str(epoch),
            "policy": held.policy, "key_id": key.key_id, "provenance": key.provenance,
        }  # fmt: skip
        self._host.store.write(lambda tx: self._host.evidence.append(tx, "qkd.session_used", values, job=header.job))
        with self._lock:
            self._used[mark] = None
            while len(self._used) > _REMEMBERED:
                self._used.pop(next(iter(self._used)))

    def _end_row(self, line: str, name: str, cause: str) -> None:
        try:
            self._host.store.write(lambda tx: self._write_end(tx, line, name, cause))
        except WorkbenchError as error:
            self._host.log_fault(error)

    def _write_end(self, tx: Transaction, line: str, name: str, cause: str) -> None:
        changed = tx.execute(
            "UPDATE qkd_session SET state = 'ENDED', ended_ms = ? WHERE session = ? AND state IN ('OPEN', 'OPENING')", (self._host.now_ms(), name)
        )
        if changed.rowcount:
            self._entries.enter(tx, "qkd.session_ended", {"line": line, "session": name, "cause": cause})


__all__ = ["MESSAGE", "Carried", "Held", "name_of", "no_line", "unknown_session"]
