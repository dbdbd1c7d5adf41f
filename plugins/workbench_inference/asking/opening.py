"""How a session with a sandbox begins and is renewed: evidence, key, exchange. docs/protocols/sandbox.md sections 6 and 8.

The order is the promise: the nonce is written down, the document is verified by all eleven checks and written down, then a key is
taken and written down, then its id goes to the provider, and the hello is compared with the document before anything is answered.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from workbench.channel.exchange_messages import HELLO, parse_message
from workbench.channel.handshake import Responder
from workbench.channel.session import SealedSession
from workbench.channel.session_keys import Established
from workbench.channel.terms import DEFAULT_SUITES, End, Order, Policy, QkdShare, SessionTerms, Signer
from workbench.contracts import KeyShare
from workbench.domain.party import PartyId
from workbench.errors import KeyUnavailable, Refused, VerificationError, WorkbenchError
from workbench_inference.asking.verifying import Expected, verify_evidence
from workbench_sandbox.formats import relay
from workbench_sandbox.formats.evidence import Evidence, evidence_refused
from workbench_sandbox.formats.leasefile import SignedEnds

CALL_S: Final = 20.0
WHAT: Final = "sandbox"
"""What the key of such a session is for, as its entity is told."""


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """What the sessions of a lease are made under, as its order says."""

    lease: str
    provider: PartyId
    policy: Policy
    provenances: tuple[str, ...] = ()
    suites: tuple[str, ...] = DEFAULT_SUITES


@dataclass(frozen=True, slots=True)
class Opened:
    """A session, or its next epoch, as entries name it. name: under which its keys are kept; digest: SM3 of the statement."""

    name: str
    lease: str
    sandbox: str
    session: str
    epoch: int
    digest: str
    key_id: str
    provenance: str
    policy: str
    suite: str


class Keys(Protocol):
    """What of `contracts.SessionKeys` happens outside a transaction; what happens inside one is the journal's."""

    def fresh(
        self, partner: PartyId, *, name: str, what: str, policy: str, renews: bool = False
    ) -> KeyShare | None: ...

    def require_live(self, name: str) -> None: ...


class Journal(Protocol):
    """What is written down on the way, each on disk when it returns. What it raises ends the attempt, and nothing more is sent."""

    def expected(self, lease: str, sandbox: str, nonce: str) -> Expected:
        """What this end knows before the document comes; writes the nonce down. Raises Refused where the lease does not run."""

    def evidence_accepted(self, evidence: Evidence, nonce: str) -> None:
        """All checks held; the nonce is used, the keys are seen."""

    def evidence_refused(self, lease: str, raw: bytes, error: VerificationError) -> None:
        """A check did not hold."""

    def session_opened(self, opened: Opened) -> None:
        """Both ends have the keys; nothing was sealed yet."""

    def session_refused(self, name: str, error: WorkbenchError) -> None:
        """The exchange did not come to its end; a key was taken for it and is lost."""

    def answers_signed(self, opened: Opened, signed: SignedEnds) -> None:
        """The sandbox signed the ends of some answers: kept, to be shown later."""

    def session_ended(self, opened: Opened, *, cause: str, frames_out: int, frames_in: int) -> None:
        """The session is over."""


class Node(Protocol):
    """What of the tenant's node a session needs."""

    party: PartyId
    message_key: Signer

    @property
    def keys(self) -> Keys | None:
        """Who gives QKD keys for this provider; None where no line leads there, and the policy decides."""

    def call(self, partner: PartyId, path: str, body: bytes, *, timeout_s: float) -> bytes: ...

    def now_ms(self) -> int: ...

    def random(self, size_bytes: int) -> bytes: ...


@dataclass(slots=True)
class Session:
    """A session at work, and the document it rests on. began_ms: when, for the next document."""

    evidence: Evidence
    sealed: SealedSession
    opened: Opened
    began_ms: int


def call(node: Node, partner: PartyId, path: str, body: bytes, *, timeout_s: float = CALL_S) -> bytes:
    """The body of a reply. Raises PeerError, and what `relay.read_reply` raises."""
    return relay.read_reply(node.call(partner, path, body, timeout_s=timeout_s))


def open_session(node: Node, journal: Journal, terms: LeaseTerms, *, sandbox: str = "") -> Session:
    """A session with a sandbox of this lease. sandbox: its name, "" for one that has given no evidence yet.

    Raises VerificationError (EVIDENCE_REFUSED), KeyUnavailable (QKD_KEY_REQUIRED …), PeerError, Refused: in each case nothing but a
    request for evidence, a key's id or a refusal has left this node. Cost: 10 ms of this end's processor.
    """
    evidence = _evidence(node, journal, terms, sandbox)
    said = evidence.statement
    name = f"{terms.lease}/{said.sandbox}/{said.serial}"
    exchange = _Exchange(node, journal, terms, evidence, name)
    return exchange.first()


def renew_session(node: Node, journal: Journal, terms: LeaseTerms, session: Session) -> None:
    """The next epoch, under a fresh key; the session goes on under the old one where it raises. Raises as `open_session`."""
    _Exchange(node, journal, terms, session.evidence, session.opened.name).next(session)


def _evidence(node: Node, journal: Journal, terms: LeaseTerms, sandbox: str) -> Evidence:
    nonce = node.random(32).hex()
    expected = journal.expected(terms.lease, sandbox, nonce)
    request = relay.EvidenceRequest(terms.lease, sandbox, nonce, node.now_ms())
    raw = call(node, terms.provider, relay.EVIDENCE, relay.format_evidence_request(request))
    try:
        evidence = verify_evidence(raw, expected, now_ms=node.now_ms())
    except VerificationError as error:
        journal.evidence_refused(terms.lease, raw, error)
        raise
    journal.evidence_accepted(evidence, nonce)
    return evidence


class _Exchange:
    """One exchange with a sandbox, which speaks first."""

    def __init__(self, node: Node, journal: Journal, terms: LeaseTerms, evidence: Evidence, name: str) -> None:
        self.node, self.journal, self.terms, self.evidence, self.name = node, journal, terms, evidence, name

    def first(self) -> Session:
        said = self.evidence.statement
        responder = Responder(
            identity=self.node.party,
            key=self.node.message_key,
            peer=End(said.identity, said.keys.key),
            terms=SessionTerms(
                self.terms.policy,
                self.terms.suites,
                self.terms.provenances,
                order=Order.WINDOW,
                lease=self.terms.lease,
                peer_evidence=self.evidence.digest,
            ),
        )
        share = self._key(renews=False)
        try:
            sealed = self._run(responder, share, session="")
        except WorkbenchError as error:
            self.journal.session_refused(self.name, error)
            raise
        opened = self._opened(sealed, share)
        try:
            self.journal.session_opened(opened)
        except WorkbenchError:
            sealed.kill()  # what is not on disk is not used
            raise
        return Session(self.evidence, sealed, opened, self.node.now_ms())

    def next(self, session: Session) -> None:
        responder = session.sealed.renewal_responder(key=self.node.message_key)
        share = self._key(renews=True)
        try:
            established = self._confirmed(responder, share, session=session.sealed.session_id)
            session.sealed.adopt(established, now_ms=self.node.now_ms())
        except WorkbenchError as error:
            self.journal.session_refused(self.name, error)
            raise
        session.opened = self._opened(session.sealed, share)
        self.journal.session_opened(session.opened)

    def _key(self, *, renews: bool) -> KeyShare | None:
        """A key nobody used, its id on disk. Where no line serves the provider the policy decides, and nothing is used instead."""
        if self.node.keys is not None:
            return self.node.keys.fresh(
                self.terms.provider, name=self.name, what=WHAT, policy=self.terms.policy, renews=renews
            )
        SessionTerms(self.terms.policy, self.terms.suites, self.terms.provenances).check_share("")
        return None

    def _run(self, responder: Responder, share: KeyShare | None, *, session: str) -> SealedSession:
        return SealedSession(self._confirmed(responder, share, session=session), now_ms=self.node.now_ms())

    def _confirmed(self, responder: Responder, share: KeyShare | None, *, session: str) -> Established:
        node, said = self.node, self.evidence.statement
        key_id, provenance = (share.key_id, share.provenance) if share is not None else ("", "")
        start = relay.Start(said.sandbox, session, self.evidence.digest, key_id, provenance)
        hello = call(node, self.terms.provider, relay.START, relay.format_start(start))
        if not session:
            self._compare(hello)
        try:
            request = responder.receive_hello(hello)
            if (request.key_id, request.provenance) != (key_id, provenance):
                responder.refuse("SESSION_TERMS_DIFFER")
                raise Refused(
                    "沙箱用了另一把密钥，会话未建立",
                    "the sandbox took another key than the one named; no session was made",
                    code="SESSION_TERMS_DIFFER",
                )
            qkd = QkdShare(share.key_id, share.provenance, share.value) if share is not None else None
            message = responder.answer(qkd)
        except (Refused, KeyUnavailable):
            if refusal := responder.refusal:
                self._tell(refusal)
            raise
        confirm = call(node, self.terms.provider, relay.ANSWER, relay.format_answer(said.sandbox, message))
        return responder.receive_confirm(confirm)

    def _compare(self, hello: bytes) -> None:
        """The hello carries the very keys of the document: both secrets end inside. Else nothing is answered."""
        body = parse_message(hello, HELLO).body
        keys = self.evidence.statement.keys
        if body["mlkem768"] != keys.mlkem768 or body["shares"] != keys.shares():
            error = evidence_refused("hello")
            self.journal.evidence_refused(self.terms.lease, self.evidence.encoded, error)
            raise error

    def _tell(self, refusal: bytes) -> None:
        body = relay.format_answer(self.evidence.statement.sandbox, refusal)
        with suppress(WorkbenchError):  # no session was made; that the other end did not hear why changes nothing
            call(self.node, self.terms.provider, relay.ANSWER, body)

    def _opened(self, sealed: SealedSession, share: KeyShare | None) -> Opened:
        facts = sealed.facts()
        return Opened(
            self.name, self.terms.lease, self.evidence.statement.sandbox, sealed.session_id, sealed.epoch, self.evidence.digest,
            share.key_id if share else "", share.provenance if share else "", facts["policy"], facts["suite"],
        )  # fmt: skip


__all__ = [
    "CALL_S",
    "Journal",
    "Keys",
    "LeaseTerms",
    "Node",
    "Opened",
    "Session",
    "call",
    "open_session",
    "renew_session",
]
