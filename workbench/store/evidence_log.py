"""The one way in for evidence: envelope to the ledger, openings sealed beside it, in the caller's transaction.

Document: docs/protocols/evidence.md sections 1 and 2; docs/store.md, section "Evidence". Promises: an entry exists
exactly when the change it describes does; what is only committed can be opened here and nowhere else; erasing a
customer's key takes the openings sealed under it away for good and leaves the log whole.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from workbench.contracts import Ledger, Transaction
from workbench.crypto import aead, random
from workbench.domain.envelope import SALT_SIZE, Envelope, Opening, build_envelope, check_opening, parse_envelope
from workbench.domain.evidence import AuditFinding, EntryRef, EntryView, EvidenceKind, Visibility
from workbench.domain.party import PartyId
from workbench.errors import NotFound, VerificationError
from workbench.store.vault import Reader, Vault, mark_erased_in

SLICE_ENTRIES = 1000
SET_ASIDE = b"R"
"""In place of an opening that an erasure moved to restricted storage; erased, it has no byte at all."""
LOST = b"L"
"""In place of an opening that no mirror ever had, of an entry that came back after a restore."""
WORDS_LENGTH = 1000
"""How much of an entry's shared values can be searched."""

_INSERT_OPENING = "INSERT INTO evidence_opening (entry_idx, field, subject, blob) VALUES (?, ?, ?, ?)"
_INSERT_INDEX = "INSERT INTO evidence_index (entry_idx, kind, job, actor, time_ms, words) VALUES (?, ?, ?, ?, ?, ?)"


class Clock(Protocol):
    """The time, as milliseconds since 1970 UTC."""

    def __call__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class EntryDraft:
    """One entry to be written by `append_many`; the fields are those of `append`."""

    kind: str
    values: Mapping[str, str] = field(repr=False)
    job: str = ""
    actor: str = ""
    refs: Sequence[str] = ()
    subject: str = ""


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One hit of a search: where the entry lies in the own log, its kind, job, actor and time."""

    index: int
    kind: str
    job: str
    actor: str
    time_ms: int


class EvidenceLog:
    """The evidence of one institution. Fulfils workbench.contracts.EvidenceLog.

    kinds: every kind of entry of host and plugins, names distinct. ledger: the log itself. party: whose log it is.
    now_ms, random: clock and source of salts.
    """

    def __init__(
        self,
        kinds: Iterable[EvidenceKind],
        ledger: Ledger,
        vault: Vault,
        *,
        now_ms: Clock,
        random: random.RandomSource,
        party: PartyId,
    ) -> None:
        self.kinds: dict[str, EvidenceKind] = {}
        for kind in kinds:
            if self.kinds.setdefault(kind.name, kind) is not kind:
                raise ValueError(f"evidence kind {kind.name} is declared twice")
            if any(one.subject and one.visibility is not Visibility.COMMITTED for one in kind.fields):
                raise ValueError(f"evidence kind {kind.name} would share what concerns a customer")
        self._ledger, self._vault, self._party = ledger, vault, party
        self._now_ms, self._random = now_ms, random
        self._key = vault.evidence_key()

    # ---- writing

    def append(
        self,
        tx: Transaction,
        kind: str,
        values: Mapping[str, str],
        *,
        job: str = "",
        actor: str = "",
        refs: Sequence[str] = (),
        subject: str = "",
    ) -> EntryRef:
        """Write one entry in the caller's change; returns where it lies.

        values: exactly the fields of the kind, all strings. subject: name of the customer key that seals the openings of
        the fields marked `subject` (of all committed fields where the kind marks none), "" for the log's own key. Raises ValueError for an unknown kind or other fields, a programming mistake.
        """
        return self.append_many(tx, [EntryDraft(kind, values, job, actor, refs, subject)])[0]

    def append_many(self, tx: Transaction, drafts: Sequence[EntryDraft]) -> list[EntryRef]:
        """Write many entries at once, in order, all with the same time; returns where they lie."""
        time_ms = self._now_ms()
        built = [self._build(draft, time_ms) for draft in drafts]
        refs = self._ledger.append(tx, [body for body, _ in built])
        keys: dict[str, bytes] = {"": self._key}
        openings: list[tuple[int, str, str, bytes]] = []
        rows: list[tuple[int, str, str, str, int, str]] = []
        for draft, ref, (_, values) in zip(drafts, refs, built, strict=True):
            if values and draft.subject not in keys:
                keys[draft.subject] = self._vault.subject_key(tx, draft.subject)
            marked = {one.name for one in self.kinds[draft.kind].fields if one.subject}
            for name, opening in values.items():
                subject = draft.subject if not marked or name in marked else ""
                blob = self._seal(keys[subject], ref.index, name, opening)
                openings.append((ref.index, name, subject, blob))
            shared = [value for name, value in draft.values.items() if name not in values]
            rows.append((ref.index, draft.kind, draft.job, draft.actor, time_ms, _words(shared)))
        tx.executemany(_INSERT_OPENING, openings)
        tx.executemany(_INSERT_INDEX, rows)
        return refs

    def forget_subject(self, tx: Transaction, subject: str) -> int:
        """Erase every opening about one customer, and the key they were sealed under; returns how many openings.

        The entries and their commitments stay: without value and salt they tell nothing.
        """
        if not subject:
            raise ValueError("a customer key has a name")
        # The empty blob says "erased", so that an audit can tell an erasure from a row that somebody took out.
        erased = tx.execute(
            "UPDATE evidence_opening SET blob = x'', subject = '' WHERE subject = ?", (subject,)
        ).rowcount
        self._vault.shred_subject(tx, subject)
        mark_erased_in(tx)
        return erased

    def openings_about(self, reader: Reader, subject: str) -> list[tuple[int, str, Opening]]:
        """(index, field, opening) of everything sealed under one customer's key, in order.

        Raises VerificationError when one does not open: nothing is erased then that nobody could check.
        """
        rows = reader.execute(
            "SELECT entry_idx, field, CAST(blob AS BLOB) FROM evidence_opening WHERE subject = ? AND subject <> ''"
            " ORDER BY entry_idx, field",
            (subject,),
        ).fetchall()
        keys: dict[str, bytes] = {}
        found = [(index, name, self._unseal(reader, keys, index, name, subject, blob)) for index, name, blob in rows]
        return [(index, name, opening) for index, name, opening in found if opening is not None]

    def take_out(self, tx: Transaction, index: int, name: str, *, set_aside: bool) -> None:
        """Leave nothing of an opening but the mark that it was set aside, or that it was erased; and no customer."""
        mark = SET_ASIDE if set_aside else b""
        tx.execute(
            "UPDATE evidence_opening SET blob = ?, subject = '' WHERE entry_idx = ? AND field = ?", (mark, index, name)
        )
        mark_erased_in(tx)

    def marks(self, reader: Reader) -> dict[tuple[int, str], bool]:
        """(index, field) of every opening that was taken out -> whether it is set aside (True) or erased (False)."""
        rows = reader.execute(
            "SELECT entry_idx, field, CAST(blob AS BLOB) FROM evidence_opening WHERE blob IN (x'', ?)", (SET_ASIDE,)
        )
        return {(index, name): blob == SET_ASIDE for index, name, blob in rows}

    def readmit(self, start: int, stop: int) -> int:
        """Index own entries that came back after a restore and mark what they committed to as lost; how many values.

        Safe to repeat. Must not be called inside a change. Cost: about 60 microseconds an entry.
        """
        lost = 0
        for first in range(start, stop, SLICE_ENTRIES):
            last = min(first + SLICE_ENTRIES, stop)
            bodies = self._ledger.entry_bodies(self._party, first, last)
            envelopes = list(enumerate(map(parse_envelope, bodies), first))
            rows = [_index_row(index, envelope) for index, envelope in envelopes]
            marks = [(index, name, "", LOST) for index, envelope in envelopes for name in sorted(envelope.committed)]
            self._vault.database.write(partial(_replace_index, start=first, stop=last, rows=rows))
            self._vault.database.write(partial(_mark_lost, marks=marks))
            lost += len(marks)
        return lost

    # ---- reading

    def view(self, reader: Reader, index: int) -> dict[str, str]:
        """Every field of an own entry that can be read: the shared ones, and the committed ones not yet erased.

        Raises NotFound for an index beyond the log; VerificationError when an opening does not fit its commitment.
        """
        return self._open(reader, index, self._envelope(index)[0])

    def opened(self, reader: Reader, index: int, envelope: Envelope) -> dict[str, str]:
        """As `view`, for an envelope that has been read already. Raises VerificationError as `view`."""
        return self._open(reader, index, envelope)

    def openings(self, reader: Reader, index: int, names: Iterable[str]) -> dict[str, Opening]:
        """Salt and value of some committed fields of an own entry, for a receipt that shows them; erased ones are absent.

        Raises as `view`.
        """
        opened = self._openings(reader, index, self._envelope(index)[0])
        return {name: opened[name] for name in names if name in opened}

    def entry(self, reader: Reader, index: int, *, required: Sequence[PartyId]) -> EntryView:
        """An own entry as staff read it. required: whose co-signatures the policy asks for. Raises as `view`."""
        envelope, leaf = self._envelope(index)
        values = self._open(reader, index, envelope)
        return EntryView(
            ref=EntryRef(self._party, index, leaf),
            kind=envelope.kind,
            time_ms=envelope.time_ms,
            job=envelope.job,
            actor=envelope.actor,
            values=values,
            closed=tuple(sorted(envelope.committed.keys() - values.keys())),
            refs=envelope.refs,
            seal=self._ledger.seal_state(self._party, index, required=required),
        )

    def search(
        self,
        reader: Reader,
        *,
        job: str | None = None,
        kind: str | None = None,
        text: str | None = None,
        after: int | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[IndexRow]:
        """Own entries that fit everything asked, newest first.

        kind: a name, or with a dot at its end everything in that area ("intersection."). text: part of a shared value,
        a kind, a job or an actor; committed values are sealed and cannot be searched. after, before: indices, both
        exclusive; the next page has before = the last index of this one. limit: 1 to 1000.
        """
        conditions, parameters = ["1"], list[str | int]()
        for condition, value in (
            ("job = ?", job),
            ("entry_idx > ?", after),
            ("entry_idx < ?", before),
        ):
            if value is not None:
                conditions.append(condition)
                parameters.append(value)
        if kind is not None:
            conditions.append("substr(kind, 1, ?) = ?" if kind.endswith(".") else "? AND kind = ?")
            parameters += [len(kind), kind]
        if text:
            conditions.append("(kind || char(10) || job || char(10) || actor || char(10) || words) LIKE ? ESCAPE '\\'")
            parameters.append("%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%")
        parameters.append(max(1, min(limit, 1000)))
        rows = reader.execute(
            "SELECT entry_idx, kind, job, actor, time_ms FROM evidence_index WHERE "
            + " AND ".join(conditions)
            + " ORDER BY entry_idx DESC LIMIT ?",
            parameters,
        )
        return [IndexRow(*row) for row in rows]

    def entries_about(self, reader: Reader, subject: str) -> list[int]:
        """Indices of own entries with openings about one customer, ascending; none once they were erased.

        subject: name of the customer's key, a token and never an identifier.
        """
        rows = reader.execute(
            "SELECT DISTINCT entry_idx FROM evidence_opening WHERE subject = ? AND subject <> '' ORDER BY entry_idx", (subject,)
        )
        return [index for (index,) in rows]

    # ---- checking and repair

    def check_openings(self) -> Iterator[AuditFinding]:
        """Every place where the openings do not fit the log: altered, exchanged, taken out or left over.

        Openings that were erased with their customer are no finding; `erased_openings` counts them. Entries written
        meanwhile are not looked at. Cost: about 60 microseconds an entry and 20 an opening. Memory: a thousand entries.
        """
        size = self._ledger.size(self._party)
        for start in range(0, size, SLICE_ENTRIES):
            stop = min(start + SLICE_ENTRIES, size)
            bodies = self._ledger.entry_bodies(self._party, start, stop)
            with self._vault.database.read() as reader:
                yield from self._check_slice(reader, start, bodies)
        with self._vault.database.read() as reader:
            rows = reader.execute(
                "SELECT entry_idx, CAST(field AS BLOB) FROM evidence_opening WHERE entry_idx >= ?", (size,)
            ).fetchall()
        # The size is asked for after the rows, so that whatever was written properly meanwhile is below it.
        size = self._ledger.size(self._party)
        yield from (
            self._finding(index, name.decode("utf-8", "backslashreplace"), "NO_ENTRY")
            for index, name in rows
            if index >= size
        )

    def erased_openings(self, reader: Reader) -> int:
        """How many openings were erased with their customers, to be compared with the erasures on record."""
        count: int = reader.execute("SELECT count(*) FROM evidence_opening WHERE blob = x''").fetchone()[0]
        return count

    def rebuild_index(self) -> int:
        """Make the search index anew from the log; returns the number of entries. Must not be called inside a change.

        Works in slices, so that the writer serves others in between. Raises VerificationError at a body that is no
        envelope; what precedes it is indexed then. Cost: about 60 microseconds an entry.
        """
        database = self._vault.database
        with database.read() as reader:
            known = [index for (index,) in reader.execute("SELECT entry_idx FROM evidence_index")]
        size = self._ledger.size(self._party)  # after the rows: whatever was written properly meanwhile is below it
        strays = [(index,) for index in known if not 0 <= index < size]
        database.write(lambda tx: tx.executemany("DELETE FROM evidence_index WHERE entry_idx = ?", strays).rowcount)
        for start in range(0, size, SLICE_ENTRIES):
            stop = min(start + SLICE_ENTRIES, size)
            bodies = self._ledger.entry_bodies(self._party, start, stop)
            rows = [_index_row(index, parse_envelope(body)) for index, body in enumerate(bodies, start)]
            database.write(partial(_replace_index, start=start, stop=stop, rows=rows))
        return size

    # ---- inside

    def _build(self, draft: EntryDraft, time_ms: int) -> tuple[bytes, dict[str, Opening]]:
        kind = self.kinds.get(draft.kind)
        if kind is None:
            raise ValueError(f"no evidence kind {draft.kind!r} is declared")
        return build_envelope(
            kind,
            draft.values,
            time_ms=time_ms,
            log=self._party,
            job=draft.job,
            actor=draft.actor,
            refs=draft.refs,
            salts=self._random,
        )

    def _envelope(self, index: int) -> tuple[Envelope, bytes]:
        """The entry and its leaf hash (RFC 6962 section 2.1)."""
        bodies = self._ledger.entry_bodies(self._party, index, index + 1) if index >= 0 else []
        if not bodies:
            raise NotFound(
                f"本机构日志中没有第 {index} 条记录", f"the own log has no entry {index}", code="NO_SUCH_ENTRY"
            )
        return parse_envelope(bodies[0]), hashlib.sha256(b"\x00" + bodies[0]).digest()

    def _open(self, reader: Reader, index: int, envelope: Envelope) -> dict[str, str]:
        opened = self._openings(reader, index, envelope)
        return dict(envelope.shared) | {name: value for name, (_, value) in opened.items()}

    def _openings(self, reader: Reader, index: int, envelope: Envelope) -> dict[str, Opening]:
        found: dict[str, Opening] = {}
        keys: dict[str, bytes] = {}
        for name, (subject, blob) in _stored_openings(reader, index, index + 1).get(index, {}).items():
            opening = self._unseal(reader, keys, index, name, subject, blob)
            if opening is not None:
                check_opening(envelope, name, *opening)
                found[name] = opening
        return found

    def _check_slice(self, reader: Reader, start: int, bodies: Sequence[bytes]) -> list[AuditFinding]:
        findings: list[AuditFinding] = []
        stored = _stored_openings(reader, start, start + len(bodies))
        for index, body in enumerate(bodies, start):
            findings += self._check_entry(reader, index, body, stored.get(index, {}))
        return findings

    def _check_entry(
        self, reader: Reader, index: int, body: bytes, stored: Mapping[str, tuple[str, bytes]]
    ) -> Iterator[AuditFinding]:
        try:
            envelope = parse_envelope(body)
        except VerificationError:
            yield self._finding(index, "", "NO_ENVELOPE")
            return
        for name in sorted(envelope.committed.keys() - stored.keys()):
            yield self._finding(index, name, "NO_OPENING")
        keys: dict[str, bytes] = {}
        for name, (subject, blob) in stored.items():
            try:
                opening = self._unseal(reader, keys, index, name, subject, blob)
                if opening is not None:
                    check_opening(envelope, name, *opening)
                elif name not in envelope.committed:
                    yield self._finding(index, name, "NO_ENTRY")
                elif blob not in (b"", SET_ASIDE, LOST):
                    yield self._finding(index, name, "NO_KEY")
            except VerificationError:
                yield self._finding(index, name, "MISMATCH")

    def _seal(self, key: bytes, index: int, name: str, opening: Opening) -> bytes:
        salt, value = opening
        return aead.seal_random(key, salt + value.encode("utf-8"), associated=_bound(index, name), source=self._random)

    def _unseal(
        self, reader: Reader, keys: dict[str, bytes], index: int, name: str, subject: str, blob: bytes
    ) -> Opening | None:
        """Salt and value, None when they were erased. Raises VerificationError."""
        if blob in (b"", SET_ASIDE, LOST):
            return None
        if subject and subject not in keys:
            try:
                keys[subject] = self._vault.open_subject_key(reader, subject)
            except NotFound:
                return None
        plain = aead.open_random(keys[subject] if subject else self._key, blob, associated=_bound(index, name))
        return plain[:SALT_SIZE], plain[SALT_SIZE:].decode("utf-8", "replace")

    def _finding(self, index: int, name: str, problem: str) -> AuditFinding:
        zh, en = _PROBLEMS[problem]
        where = (f"第 {index} 条", f"entry {index}")
        if name:
            where = (f"{where[0]}字段 {name}", f"{where[1]}, field {name}")
        return AuditFinding(self._party, index, name, problem, f"{self._party} 日志{where[0]}：{zh}", f"log of {self._party}, {where[1]}: {en}")


def _mark_lost(tx: Transaction, *, marks: Sequence[tuple[int, str, str, bytes]]) -> None:
    tx.executemany(f"{_INSERT_OPENING} ON CONFLICT DO NOTHING", marks)


_PROBLEMS: dict[str, tuple[str, str]] = {
    "NO_ENTRY": (
        "有开示而日志中没有对应的记录或字段。合规人员需核查是谁放进保险库的",
        "there is an opening for an entry or field the log does not have; compliance must look into who put it into the vault",
    ),
    "NO_ENVELOPE": (
        "正文不是规范的证据信封，运维从镜像恢复，合规复核",
        "the body is no evidence envelope; operators restore it from a mirror, compliance confirm",
    ),
    "NO_OPENING": (
        "开示被人取走，合规人员需核查",
        "the opening was taken out; compliance must look into it",
    ),
    "NO_KEY": (
        "客户密钥不存在，而开示未按擦除流程清除，合规人员需核查",
        "the customer's key is gone, but the opening was not erased by rule; compliance must look into it",
    ),
    "MISMATCH": (
        "开示与承诺不符，合规人员需核查",
        "the opening does not fit the commitment; compliance must look into it",
    ),
}


def _bound(index: int, name: str) -> bytes:
    """What the seal of an opening is bound to: the entry and the field it belongs to."""
    return b"workbench/v1/evidence/opening\0" + index.to_bytes(8, "big") + name.encode("utf-8")


def _words(shared: Iterable[str]) -> str:
    return "\n".join(shared)[:WORDS_LENGTH]


def _index_row(index: int, envelope: Envelope) -> tuple[int, str, str, str, int, str]:
    words = _words(envelope.shared.values())
    return index, envelope.kind, envelope.job, envelope.actor, envelope.time_ms, words


def _replace_index(
    tx: Transaction, *, start: int, stop: int, rows: Sequence[tuple[int, str, str, str, int, str]]
) -> None:
    tx.execute("DELETE FROM evidence_index WHERE entry_idx >= ? AND entry_idx < ?", (start, stop))
    tx.executemany(_INSERT_INDEX, rows)


def _stored_openings(reader: Reader, start: int, stop: int) -> dict[int, dict[str, tuple[str, bytes]]]:
    """index -> field -> (subject, blob) of entries start <= index < stop."""
    cursor: sqlite3.Cursor = reader.execute(
        # SQLite keeps whatever type a hand wrote into a column; text that is no UTF-8 must not end the audit.
        "SELECT entry_idx, CAST(field AS BLOB), CAST(subject AS BLOB), CAST(blob AS BLOB) FROM evidence_opening WHERE entry_idx >= ? AND entry_idx < ?"
        " ORDER BY entry_idx, field",
        (start, stop),
    )
    stored: dict[int, dict[str, tuple[str, bytes]]] = {}
    for index, name, subject, blob in cursor:
        fields = stored.setdefault(index, {})
        fields[name.decode("utf-8", "backslashreplace")] = (subject.decode("utf-8", "backslashreplace"), blob)
    return stored
