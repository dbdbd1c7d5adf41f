"""The sandbox's end of sessions: keys of an evidence document, one session at a time, frames in and out.

Document: docs/protocols/sandbox.md sections 6 and 8. Keys are made here and die here; what leaves is a statement, a hello, a
confirm and frames.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from workbench.channel.handshake import Initiator
from workbench.channel.prepared import PreparedShares
from workbench.channel.session import SealedSession
from workbench.channel.session_state import OpenedFrame
from workbench.channel.stream import StreamSealer
from workbench.channel.terms import End as Peer
from workbench.channel.terms import Policy, QkdShare, SessionTerms
from workbench.crypto import sm2
from workbench.errors import KeyUnavailable, Refused, WorkbenchError
from workbench_sandbox.formats import carried
from workbench_sandbox.formats.evidence import (
    VALID_MS,
    Measured,
    OuterFacts,
    PublicShares,
    make_statement,
    sign_statement,
)
from workbench_sandbox.formats.reading import digest

KEPT_DOCUMENTS = 4
"""Evidence documents whose keys wait for a session; older ones are given up."""
_REKEY_WAIT_S = 20.0


def refusal(code: str) -> Refused:
    """A request of the launcher that cannot be served; only its code leaves."""
    return Refused("沙箱不接受该请求", "the sandbox does not take this request", code=code)


@dataclass(slots=True)
class Document:
    """The keys of one evidence document; used for one session."""

    key: sm2.PrivateKey
    shares: PreparedShares
    facts: OuterFacts


@dataclass(frozen=True, slots=True)
class Terms:
    """What the sessions of this lease are made under. tenant_key: the tenant's message key."""

    tenant_key: sm2.PublicKey
    policy: Policy
    provenances: tuple[str, ...]
    suites: tuple[str, ...]


@dataclass(slots=True)
class Open:
    """One session at work. ends: payloads of `answer.end` that are not signed yet; number: of the last end."""

    sealed: SealedSession
    key: sm2.PrivateKey
    digest: str
    number: int = 0
    signed: int = 0
    ends: list[bytes] = field(default_factory=list)
    sealing: threading.Lock = field(default_factory=threading.Lock)
    ending: threading.Lock = field(default_factory=threading.Lock)


class Sessions:
    """Evidence and sessions of one sandbox. send: hands frames to the launcher, in the order in which they were sealed."""

    def __init__(self, measured: Measured, send: Callable[..., None], clock: Callable[[], int]) -> None:
        self._measured, self._send, self._clock = measured, send, clock
        self._documents: dict[str, Document] = {}
        self._exchange: tuple[Initiator, sm2.PrivateKey, str] | None = None
        self.current: Open | None = None

    # ------------------------------------------------------------------------------------------------------ evidence

    def statement(self, facts: OuterFacts, terms: Terms, *, nonce: str, until_ms: int) -> bytes:
        """LV4(statement) ‖ signature, with fresh keys. Cost: 2 ms."""
        key, shares = sm2.generate(), PreparedShares.make(terms.suites)
        now = self._clock()
        public = PublicShares.of(key.public, shares.public())
        encoded = make_statement(
            facts, self._measured, public, nonce=nonce, made_ms=now, until_ms=min(now + VALID_MS, until_ms)
        )
        self._documents[digest(encoded)] = Document(key, shares, facts)
        while len(self._documents) > KEPT_DOCUMENTS:
            self._documents.pop(next(iter(self._documents))).shares.wipe()
        return sign_statement(encoded, key=key)

    # ------------------------------------------------------------------------------------------------------ exchange

    def hello(self, session: str, evidence: str, terms: Terms, share: QkdShare | None) -> bytes:
        """The first message of a session, or of the next epoch of the one that runs. Raises WorkbenchError."""
        if session:
            running = self.current
            if running is None or not running.sealed.live or running.sealed.session_id != session:
                raise refusal("SESSION_BROKEN")
            self._exchange = (running.sealed.renewal(key=running.key, qkd=share), running.key, running.digest)
            return self._exchange[0].hello()
        document = self._documents.pop(evidence, None)
        if document is None:
            raise refusal("EVIDENCE_UNKNOWN")
        initiator = Initiator(
            identity=f"{document.facts.provider}:{document.facts.sandbox}",
            key=document.key,
            peer=Peer(document.facts.tenant, terms.tenant_key),
            terms=SessionTerms(
                terms.policy, terms.suites, terms.provenances, lease=document.facts.lease, own_evidence=evidence
            ),
            qkd=share,
            prepared=document.shares,
        )
        self._exchange = (initiator, document.key, evidence)
        return initiator.hello()

    def answer(self, message: bytes) -> bytes:
        """The confirm. Raises WorkbenchError; b"" is never returned."""
        if self._exchange is None:
            raise refusal("SESSION_BROKEN")
        initiator, key, evidence = self._exchange
        confirm, established = initiator.receive_answer(message)
        self._exchange = None
        now = self._clock()
        if established.epoch:
            assert self.current is not None
            self.current.sealed.adopt(established, now_ms=now)
        else:
            self.end()
            self.current = Open(SealedSession(established, now_ms=now), key, evidence)
        return confirm

    def end(self) -> None:
        """The session's last frames, if one runs; its keys are overwritten."""
        running, self.current = self.current, None
        if running is None:
            return
        try:
            self.sign_ends(running)
            with running.sealing:
                self._send(running.sealed.close(now_ms=self._clock()))
        except WorkbenchError:
            pass
        finally:
            running.sealed.kill()

    # -------------------------------------------------------------------------------------------------------- frames

    def open(self, frame: bytes) -> OpenedFrame:
        """Raises WorkbenchError: FRAME_REFUSED, or SESSION_BROKEN where there is no session."""
        if self.current is None:
            raise refusal("SESSION_BROKEN")
        return self.current.sealed.open(frame, now_ms=self._clock())

    def send(self, running: Open, payload: bytes, *, purpose: str) -> None:
        """A data frame. Raises WorkbenchError."""
        self._sealed(running, lambda: running.sealed.seal(payload, purpose=purpose, now_ms=self._clock()))

    def send_signed(self, running: Open, payload: bytes, *, purpose: str) -> None:
        """A data frame signed with the sandbox's own key, so that it can be shown to others later. Raises WorkbenchError. Cost: 0.4 ms."""

        def seal() -> bytes:
            return running.sealed.seal_signed(payload, purpose=purpose, key=running.key, now_ms=self._clock())[0]

        self._sealed(running, seal)

    def send_chunk(self, running: Open, sealer: StreamSealer, part: bytes) -> None:
        """The next part of a stream, not the last one. Raises WorkbenchError."""
        self._sealed(running, lambda: sealer.seal(part, now_ms=self._clock()))

    def send_end(self, running: Open, make: Callable[[int], bytes], last: Callable[[], bytes] | None = None) -> None:
        """An `answer.end`, remembered until it is signed. make: its payload for the number that it gets; last: seals the last chunk
        before it, which is handed on together with it, so that nobody comes for the one and again for the other."""
        with running.ending:
            payload = make(running.number + 1)
            seals = [] if last is None else [last]
            self._sealed(running, *seals, lambda: running.sealed.seal(payload, purpose="answer.end", now_ms=self._clock()))
            running.number += 1
            running.ends.append(payload)

    def sign_ends(self, running: Open) -> None:
        """One signature over all ends that have none. Cost: 0.4 ms where there are any."""
        with running.ending, running.sealing:
            ends = list(running.ends)
            if not ends or not running.sealed.live:
                return
            value = carried.AnswersSigned(running.signed + 1, running.signed + len(ends), carried.ends_root(ends))
            frame, _ = running.sealed.seal_signed(
                carried.format_signed(value), purpose="answers.signed", key=running.key, now_ms=self._clock()
            )
            running.signed += len(ends)
            del running.ends[: len(ends)]
            self._send(frame)

    def _sealed(self, running: Open, *seals: Callable[[], bytes]) -> None:
        """Seal and hand over as one step, so that frames leave in their order; at a limit the tenant's renewal is waited for."""
        ends = time.monotonic() + _REKEY_WAIT_S
        waiting = list(seals)
        while True:
            with running.sealing:
                frames: list[bytes] = []
                try:
                    while waiting:
                        frames.append(waiting[0]())
                        del waiting[0]
                    return
                except KeyUnavailable:
                    if time.monotonic() > ends:
                        running.sealed.kill()
                        raise
                finally:
                    if frames:
                        self._send(*frames)
            time.sleep(0.05)
