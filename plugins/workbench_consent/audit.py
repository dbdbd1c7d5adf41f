"""Does what is stored hold? Grants against digests, events against the log. docs/consent.md section 8."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from workbench.contracts import Host, Ledger
from workbench.domain.envelope import parse_envelope
from workbench.errors import VerificationError
from workbench_consent import merkle, refusing, rows, tables
from workbench_consent.columns import Term
from workbench_consent.erasing import is_emptied
from workbench_consent.grants import erasure_digest, lifting_digest, withdrawal_digest

_SLICE = 1000
_KINDS = {
    "imported": "consent.imported",
    "withdrawn": "consent.withdrawn",
    "lifted": "consent.suppression_lifted",
    "erased": "consent.erased",
    "noticed": "notices.published",
    "refused": "consent.opted_out",
    "allowed": "consent.opted_in",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One place that does not hold: number of the event, first record concerned (0: none), and what is wrong.

    RECORD: fields of a grant do not give its digest. MISSING: records are gone, or there are more than were imported.
    ROOT: the rows do not give the root of their
    import, or the entries of the suppression list that of their withdrawal or lifting. EVIDENCE: root or kind differ from the entry in the log.
    The event is 0 where the log has an entry whose event is gone.
    """

    event: int
    record: int
    problem: str


@dataclass(frozen=True, slots=True)
class AuditResult:
    """records: grants looked at; findings: empty when everything holds."""

    records: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Event:
    seq: int
    kind: str
    first: int
    rows: int
    root: bytes
    salt: bytes
    entry: int


def audit(host: Host) -> AuditResult:
    """Recompute everything that can be recomputed. Memory: one chunk.

    Cost: about 4 s per 10^6 grants, and one look at every entry of the own log.
    """
    checked = 0
    findings: list[Finding] = []
    with host.store.read() as reader:
        recorded = _recorded(host)
        terms = tables.terms(reader)
        events = [_Event(*row) for row in reader.execute(
            "SELECT seq, kind, first, rows, root, salt, entry FROM consent_event ORDER BY seq"
        )]  # fmt: skip
        findings += _stray(reader)
        for place, event in enumerate(events, 1):
            if event.seq != place:
                findings.append(Finding(place, 0, "MISSING"))
                break
            if recorded.pop(event.entry, None) != (_KINDS.get(event.kind), event.root.hex()):
                findings.append(Finding(event.seq, event.first, "EVIDENCE"))
            if event.kind == "imported":
                findings += _rows_of(reader, terms, event, host.party)
                checked += event.rows
            else:
                findings += _withdrawn_by(reader, event)
    # What the log has and the tables have not: events somebody took out, or events of the last seconds.
    with host.store.read() as reader:
        newer = {entry for (entry,) in reader.execute("SELECT entry FROM consent_event")}
    findings += [Finding(0, 0, "MISSING") for entry in recorded if entry not in newer]
    return AuditResult(checked, tuple(findings))


def _recorded(host: Host) -> dict[int, tuple[str | None, str]]:
    """Entries of the own log that stand for a consent event: index -> kind and root in hex ("" when it has none)."""
    # Contracts are asked for by their Protocol, which mypy takes for an attempt to make one.
    ledger: Ledger = host.provider(Ledger)  # type: ignore[type-abstract]
    found: dict[int, tuple[str | None, str]] = {}
    size = ledger.size(host.party)
    for start in range(0, size, _SLICE):
        for index, body in enumerate(ledger.entry_bodies(host.party, start, min(start + _SLICE, size)), start):
            if not any(f'"{kind}"'.encode() in body for kind in _KINDS.values()):
                continue
            try:
                envelope = parse_envelope(body)
            except VerificationError:
                continue  # the ledger's own audit names it; here the event will miss its entry
            root = envelope.shared.get("root", "") or envelope.shared.get("digest", "")
            if envelope.kind in _KINDS.values() and (root or envelope.kind != "consent.imported"):
                found[index] = (envelope.kind, root)
    return found


def _rows_of(reader: sqlite3.Connection, terms: tuple[Term, ...], event: _Event, party: str) -> Iterator[Finding]:
    expected = event.first
    leaves: list[bytes] = []
    span = (event.first, event.first + event.rows)
    erased = {
        int(record)
        for (record,) in reader.execute("SELECT record FROM consent_erased WHERE record >= ? AND record < ?", span)
    }
    kept = {
        int(first): bytes(hash_)
        for first, hash_ in reader.execute("SELECT first, hash FROM consent_leaf WHERE first >= ? AND first < ?", span)
    }
    after = {
        int(first): bytes(hash_)
        for first, hash_ in reader.execute(
            "SELECT first, hash FROM consent_leaf_after WHERE first >= ? AND first < ? ORDER BY seq", span
        )
    }
    for chunk in tables.chunks(reader, seq=event.seq):
        if chunk.first != expected:
            yield Finding(event.seq, expected, "MISSING")
            return
        # A row of zeros counts as erased only if an event says so; the hash of its leaf was kept then.
        gone = {record - chunk.first for record in erased if chunk.first <= record < chunk.first + chunk.rows}
        try:
            if any(not is_emptied(chunk, row) for row in gone):
                raise VerificationError("", "")
            record = rows.first_altered_record(chunk, terms, party, besides=gone)
        except (VerificationError, TypeError):  # a blob of another length or another type
            record = chunk.first
        if record is not None:
            yield Finding(event.seq, record, "RECORD")
            return
        hashes = rows.import_leaves(chunk)
        for leaf in {row // merkle.ROWS_PER_LEAF for row in gone}:
            first = chunk.first + leaf * merkle.ROWS_PER_LEAF
            # The rows that stayed are bound by the newest erasure that touched their leaf, the old hash by the root.
            hashes[leaf] = kept.get(first, b"") if hashes[leaf] == after.get(first) else b""
        leaves += hashes
        expected += chunk.rows
    if expected != event.first + event.rows:
        yield Finding(event.seq, expected, "MISSING")
    elif merkle.root(leaves) != event.root:
        yield Finding(event.seq, event.first, "ROOT")


def _withdrawn_by(reader: sqlite3.Connection, event: _Event) -> Iterator[Finding]:
    """Entries of the suppression list against the event that wrote or lifted them."""
    try:
        if event.kind == "withdrawn":
            root = withdrawal_digest(event.salt, tables.withdrawals_of(reader, event.seq))
        elif event.kind == "erased":
            root = erasure_digest(
                event.salt, tables.erased_by(reader, event.seq), tables.leaves_after(reader, event.seq)
            )
        elif event.kind == "noticed":
            named = reader.execute("SELECT 1 FROM consent_notice WHERE digest = ? AND decided_ms > 0", (event.root,)).fetchone()
            root = event.root if named is not None else b""
        elif event.kind == "refused":
            root = refusing.refusal_digest(event.salt, refusing.refused_by(reader, event.seq))
        elif event.kind == "allowed":
            root = refusing.ended_digest(event.salt, refusing.ended_by(reader, event.seq))
        else:
            root = lifting_digest(event.salt, tables.lifted_by(reader, event.seq))
    except (TypeError, AttributeError, ValueError, OverflowError):  # a cell of another type
        root = b""
    if root != event.root:
        yield Finding(event.seq, 0, "ROOT")


def _stray(reader: sqlite3.Connection) -> Iterator[Finding]:
    """Rows that no event brought."""
    for table, column, first, kind in (
        ("consent_grant", "seq", "first", "imported"),
        ("consent_suppression", "seq", "0", "withdrawn"),
        ("consent_suppression", "lifted_seq", "0", "lifted"),
        ("consent_erased", "seq", "record", "erased"),
        ("consent_refusal", "seq", "0", "refused"),
        ("consent_refusal", "lifted_seq", "0", "allowed"),
        ("consent_leaf_after", "seq", "first", "erased"),
    ):
        for seq, record in reader.execute(
            f"SELECT {column}, {first} FROM {table} WHERE {column} IS NOT NULL"
            f" AND {column} NOT IN (SELECT seq FROM consent_event WHERE kind = ?)",
            (kind,),
        ):
            yield Finding(seq, record, "MISSING")
