"""What asking writes down: nonces, evidence documents, sessions, asks and their ends; each entry in the transaction of its row.

Document: docs/protocols/sandbox.md section 14. Texts lie in the vault, never in a column and never in an entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from workbench.channel.terms import Signer
from workbench.contracts import SessionKeys, Transaction
from workbench.crypto import sm3
from workbench.domain.party import PartyId
from workbench.errors import KeyUnavailable, NotFound, Refused, VerificationError, WorkbenchError
from workbench_inference.asking.opening import Keys, Opened
from workbench_inference.asking.verifying import Expected
from workbench_inference.leasing import images, keys, rows
from workbench_inference.leasing.keys import LeasingHost, Reader
from workbench_inference.leasing.rows import LeaseRow
from workbench_sandbox.formats.carried import parse_signed
from workbench_sandbox.formats.evidence import Evidence, Statement, parse_evidence, parse_statement
from workbench_sandbox.formats.leasefile import SignedEnds
from workbench_sandbox.formats.reading import lv4

EVIDENCE: Final = "inference/evidence/"
"""Documents in the vault, by lease and SM3: what a later one is compared with, and what people look at."""
ENDS: Final = "inference/ends/"
"""Ends that sandboxes signed, in the vault, by lease, session and the first of them: what shows an answer to others later."""


class HostNode:
    """The tenant's node as sessions see it."""

    def __init__(self, host: LeasingHost, provider: PartyId) -> None:
        """Asks once whether a line leads to the provider: it is asked for before every frame."""
        self._host = host
        self.party = host.party
        self.message_key: Signer = host.keys.message
        self._keys = lines(host, provider)

    @property
    def keys(self) -> Keys | None:
        """Who gives keys for this provider; None where no line leads there, and the policy decides."""
        return self._keys

    def call(self, partner: PartyId, path: str, body: bytes, *, timeout_s: float) -> bytes:
        """As `Host.call`."""
        return self._host.call(partner, path, body, timeout_s=timeout_s)

    def now_ms(self) -> int:
        """Of the node."""
        return self._host.now_ms()

    def random(self, size_bytes: int) -> bytes:
        """Of the node."""
        return self._host.random(size_bytes)


def lines(host: LeasingHost, provider: PartyId) -> SessionKeys | None:
    """Where keys for sessions with this provider come from; None where no line leads there."""
    try:
        return host.session_keys(provider)
    except KeyUnavailable as error:
        if error.code == "NO_LINE":
            return None
        raise


@dataclass(frozen=True, slots=True)
class AskRow:
    """One row of inference_ask; person is the token of evidence, state one of replies.ASK_STATES. customer: token of who stands behind
    channel `client`, who is asked about in erasures from the first moment on."""

    ask: str
    lease: str
    person: str
    role: str
    scenario: str
    template: str
    model: str
    klass: str
    state: str
    code: str
    asked_ms: int
    ended_ms: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    card_ms: int = 0
    citations: int = 0
    dropped: int = 0
    watermark: str = ""
    rating: str = ""
    reason: str = field(default="", repr=False)
    channel: str = "internal"
    credential: str = ""
    customer: str = ""


ASK_COLUMNS: Final = (
    "ask, lease, person, role, scenario, template, model, class, state, code, asked_ms, ended_ms, tokens_in, tokens_out, card_ms, citations,"
    " dropped, watermark, rating, reason, channel, credential, customer"
)
_COUNTS: Final = frozenset({"tokens_in", "tokens_out", "card_ms", "citations", "dropped"})


class HouseJournal:
    """`opening.Journal` over this node's store and log."""

    def __init__(self, host: LeasingHost) -> None:
        self._host = host

    # ---------------------------------------------------------------------------------------------------- evidence

    def expected(self, lease: str, sandbox: str, nonce: str) -> Expected:
        """As the order, the rows and the vault say; the nonce is on disk when this returns."""
        host = self._host

        def change(tx: Transaction) -> Expected:
            row = rows.get(tx, lease)
            if row.side != rows.TENANT:
                raise NotFound(f"没有租约「{lease}」", f"There is no lease {lease}", code="NO_LEASE")
            tx.execute("INSERT INTO inference_nonce (nonce, lease, asked_ms) VALUES (?, ?, ?)", (nonce, lease, host.now_ms()))
            manifest, _ = images.manifest_of(tx, row.order.image)
            serials = tx.execute("SELECT sandbox, serial FROM inference_sandbox WHERE lease = ?", (lease,)).fetchall()
            level = dict(host.setting("inference.class_levels")).get("public", {}).get("level", "process")
            return Expected(
                row.partner, host.party, host.pinned_keys(row.partner).contract, keys.known(tx, row.partner), lease, row.state.value,
                row.order.mode, row.order.pool, sandbox, nonce, {str(one[0]): int(one[1]) for one in serials}, self._seen(tx, lease),
                manifest, row.order.assurance, frozenset(row.order.controls), str(level),
            )  # fmt: skip

        return host.store.write(change)

    def _seen(self, reader: Reader, lease: str) -> frozenset[str]:
        """Every public key of an earlier document of this lease."""
        found: set[str] = set()
        for name in self._host.vault.names(reader, f"{EVIDENCE}{lease}/"):
            found |= set(parse_evidence(self._host.vault.get(reader, name)).statement.keys.members().values())
        return frozenset(found)

    def evidence_accepted(self, evidence: Evidence, nonce: str) -> None:
        """Row, document, service key and entry."""
        host, said = self._host, evidence.statement
        document = lv4(evidence.encoded) + evidence.self_signature + evidence.service_signature + evidence.service

        def change(tx: Transaction) -> None:
            used = tx.execute("UPDATE inference_nonce SET used_ms = ? WHERE nonce = ? AND used_ms = 0", (host.now_ms(), nonce))
            if used.rowcount != 1:
                raise Refused("这份证据的随机数已用过，不再采信", "the nonce of this evidence was used before", code="EVIDENCE_REFUSED")
            row = rows.get(tx, said.lease)
            keys.keep(tx, host, row.partner, evidence.service)
            rows.evidence_kept(
                tx, sandbox=said.sandbox, lease=said.lease, server=said.server, serial=said.serial, statement=evidence.digest,
                assurance=said.assurance, missing=said.missing, at_ms=host.now_ms(),
            )  # fmt: skip
            host.vault.put(tx, f"{EVIDENCE}{said.lease}/{evidence.digest}", document)
            host.evidence.append(tx, "inference.evidence_accepted", self._stated(row, said, evidence.digest), job=said.lease)

        host.store.write(change)

    def evidence_refused(self, lease: str, raw: bytes, error: VerificationError) -> None:
        """Entry, with what could be read of the document."""
        host = self._host
        said, digest = _readable(raw)

        def change(tx: Transaction) -> None:
            values = self._stated(rows.get(tx, lease), said, digest) | {"check": error.details.get("check", "form")}
            host.evidence.append(tx, "inference.evidence_refused", values, job=lease)

        host.store.write(change)

    def _stated(self, row: LeaseRow, said: Statement | None, digest: str) -> dict[str, str]:
        values = {"sandbox": "", "serial": "", "statement": digest, "assurance": "", "missing": ""}
        if said is not None:
            values |= {"sandbox": said.sandbox, "serial": str(said.serial), "assurance": said.assurance, "missing": " ".join(said.missing)}
        return {**rows.parties(row, self._host.party), **values}

    # ---------------------------------------------------------------------------------------------------- sessions

    def session_opened(self, opened: Opened) -> None:
        """Row, the line's own record of its key, entry."""
        host = self._host
        row, known = self._of(opened.lease)

        def change(tx: Transaction) -> None:
            tx.execute(
                "UPDATE inference_sandbox SET session = ?, epoch = ? WHERE sandbox = ?", (opened.session, opened.epoch, opened.sandbox)
            )
            if known is not None:
                known.opened(tx, opened.name, session=opened.session, suite=opened.suite)
            values = {
                "session": opened.session, "epoch": str(opened.epoch), "sandbox": opened.sandbox, "statement": opened.digest,
                "key_id": opened.key_id, "provenance": opened.provenance, "policy": opened.policy, "suite": opened.suite,
            }  # fmt: skip
            kind = "inference.session_renewed" if opened.epoch else "inference.session_opened"
            host.evidence.append(tx, kind, {**rows.parties(row, host.party), **values}, job=opened.lease)

        host.store.write(change)

    def session_refused(self, name: str, error: WorkbenchError) -> None:
        """The line's own record."""
        _, known = self._of(name.partition("/")[0])
        if known is not None:
            self._host.store.write(lambda tx: known.refused(tx, name, error))

    def answers_signed(self, opened: Opened, signed: SignedEnds) -> None:
        """In the vault; digests of ends and of one statement, no text."""
        host, first = self._host, parse_signed(signed.payload).first
        host.store.write(lambda tx: host.vault.put(tx, f"{ENDS}{opened.lease}/{opened.session}-{first:09d}", signed.encoded))

    def session_ended(self, opened: Opened, *, cause: str, frames_out: int, frames_in: int) -> None:
        """Entry and the line's own record; over it is whether or not the disk takes them."""
        host = self._host

        def change(tx: Transaction) -> None:
            if known is not None:
                known.ended(tx, opened.name, cause=cause)
            values = {"session": opened.session, "cause": cause, "frames_out": str(frames_out), "frames_in": str(frames_in)}
            host.evidence.append(tx, "inference.session_ended", {**rows.parties(row, host.party), **values}, job=opened.lease)

        try:
            row, known = self._of(opened.lease)
            host.store.write(change)
        except WorkbenchError as error:
            host.log_fault(error)

    def _of(self, lease: str) -> tuple[LeaseRow, SessionKeys | None]:
        """The lease, and who gives keys for it: asked here, since inside a change of the store nothing may wait for a call."""
        with self._host.store.read() as reader:
            row = rows.get(reader, lease)
        return row, lines(self._host, row.partner)


# ------------------------------------------------------------------------------------------------------------------ asks


def taken_in(tx: Transaction, row: AskRow) -> None:
    """A question waits; nothing was sent."""
    tx.execute(
        f"INSERT INTO inference_ask ({ASK_COLUMNS}) VALUES ({', '.join('?' * 23)})",
        (
            row.ask, row.lease, row.person, row.role, row.scenario, row.template, row.model, row.klass, row.state, row.code, row.asked_ms,
            row.ended_ms, row.tokens_in, row.tokens_out, row.card_ms, row.citations, row.dropped, row.watermark, row.rating, row.reason, row.channel,
            row.credential, row.customer,
        ),
    )  # fmt: skip
    if row.customer:
        tx.execute("INSERT OR IGNORE INTO inference_ask_customer (token, ask) VALUES (?, ?)", (row.customer, row.ask))


def ended(tx: Transaction, ask: str, *, state: str, code: str, at_ms: int, counts: Mapping[str, int] | None = None) -> None:
    """What became of an ask."""
    found = dict(counts or {})
    if not found.keys() <= _COUNTS:
        raise ValueError("no count of an ask")
    columns = "".join(f", {name} = ?" for name in found)
    tx.execute(f"UPDATE inference_ask SET state = ?, code = ?, ended_ms = ?{columns} WHERE ask = ?", (state, code, at_ms, *found.values(), ask))


def row_of(reader: Reader, ask: str) -> AskRow | None:
    """The ask, None where there is none."""
    found = reader.execute(f"SELECT {ASK_COLUMNS} FROM inference_ask WHERE ask = ?", (ask,)).fetchone()
    return AskRow(*found) if found else None


def cut_unfinished(host: LeasingHost, *, before_ms: int) -> int:
    """After a start: what was waiting or under way in an earlier run, asked before that time, has no answer. How many there were."""

    def change(tx: Transaction) -> int:
        found = tx.execute("SELECT ask, lease, state FROM inference_ask WHERE state IN ('QUEUED', 'STREAMING') AND asked_ms < ?", (before_ms,)).fetchall()
        for ask, lease, state in found:
            ended(tx, str(ask), state="CUT", code="ANSWER_LOST", at_ms=host.now_ms())
            row = rows.find(tx, str(lease)) if lease else None
            if state == "STREAMING" and row is not None:
                lost(tx, host, row, str(ask), "restart")
        return len(found)

    return host.store.write(change)


def lost(tx: Transaction, host: LeasingHost, row: LeaseRow, ask: str, cause: str) -> None:
    """An ask that was sent has no answer."""
    host.evidence.append(tx, "inference.answer_lost", {**rows.parties(row, host.party), "ask": ask, "cause": cause}, job=row.lease)


def _readable(raw: bytes) -> tuple[Statement | None, str]:
    """What can be read of a document, or of a bare statement, that was refused, and its digest."""
    try:
        document = parse_evidence(raw)
    except VerificationError:
        digest = sm3.digest(raw).hex()
        try:
            return parse_statement(raw), digest
        except VerificationError:
            return None, digest
    return document.statement, document.digest


__all__ = [
    "ASK_COLUMNS", "ENDS", "EVIDENCE", "AskRow", "HostNode", "HouseJournal", "cut_unfinished", "ended", "lines", "lost", "row_of", "taken_in",
]  # fmt: skip
