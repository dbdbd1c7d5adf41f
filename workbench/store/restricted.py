"""Restricted storage: values the law still demands, out of reach of everything but compliance and audit.

Document: docs/protocols/erasure.md sections 3 and 4. Promises: what is set aside is in its table no more and opens only
here; what nothing demands is erased at once; when a term ends, key and bytes are destroyed and no customer is named any
more. Nothing here asks who may read: the operations in workbench/node/erasure.py do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from workbench.contracts import Ledger, Migration, Transaction
from workbench.crypto import random
from workbench.domain.envelope import SALT_SIZE, check_opening, parse_envelope
from workbench.domain.erasure import Term, Terms, pack_restricted, reference, unpack_restricted
from workbench.domain.evidence import AuditFinding
from workbench.domain.party import PartyId
from workbench.errors import NotFound, Refused, VerificationError
from workbench.store.blobs import Blobs
from workbench.store.evidence_log import EvidenceLog
from workbench.store.vault import RESTRICTED_PREFIX, Reader, Vault, mark_erased_in

ERASURE_MIGRATIONS = (
    Migration(
        "erasure",
        1,
        """
        CREATE TABLE erasure_request (
            request      TEXT PRIMARY KEY,
            state        TEXT NOT NULL,
            asked_by     TEXT NOT NULL,
            confirmed_by TEXT NOT NULL DEFAULT '',
            created_ms   INTEGER NOT NULL,
            changed_ms   INTEGER NOT NULL,
            until_ms     INTEGER NOT NULL DEFAULT 0,
            report       TEXT NOT NULL DEFAULT '[]'
        );
        CREATE TABLE erasure_restriction (
            id        TEXT PRIMARY KEY,
            request   TEXT NOT NULL,
            owner     TEXT NOT NULL,
            kind      TEXT NOT NULL,
            entry     INTEGER NOT NULL,
            items     INTEGER NOT NULL,
            place     TEXT NOT NULL,
            at_ms     INTEGER NOT NULL,
            until_ms  INTEGER NOT NULL,
            basis_zh  TEXT NOT NULL,
            basis_en  TEXT NOT NULL,
            erased_ms INTEGER
        );
        CREATE INDEX erasure_restriction_due ON erasure_restriction (until_ms) WHERE erased_ms IS NULL;
        """,
    ),
)

_COLUMNS = "id, request, owner, kind, entry, items, place, at_ms, until_ms, basis_zh, basis_en, erased_ms"


@dataclass(frozen=True, slots=True)
class Restriction:
    """One thing set aside. entry: index in the own log, -1 for a record that is no entry. place: reference of the entry
    with its fields, or a count of records; no identifier. until_ms: the end of its term. erased_ms: None while it lies here.
    """

    id: str
    request: str
    owner: str
    kind: str
    entry: int
    items: int
    place: str
    at_ms: int
    until_ms: int
    basis_zh: str
    basis_en: str
    erased_ms: int | None = None


@dataclass(slots=True)
class Taken:
    """What became of some values: restrictions made, and the places erased at once (references of entries)."""

    restricted: list[Restriction] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    erased_items: int = 0

    @property
    def restricted_items(self) -> int:
        return sum(one.items for one in self.restricted)

    @property
    def until_ms(self) -> int:
        return max((one.until_ms for one in self.restricted), default=0)


class Restricted:
    """The restricted storage of one institution. terms: how long what must be kept. now_ms, source: clock and chance."""

    def __init__(
        self,
        vault: Vault,
        evidence: EvidenceLog,
        ledger: Ledger,
        blobs: Blobs,
        *,
        party: PartyId,
        terms: Terms,
        now_ms: Callable[[], int],
        source: random.RandomSource = random.SYSTEM,
    ) -> None:
        self.terms = terms
        self._vault, self._evidence, self._ledger, self._blobs = vault, evidence, ledger, blobs
        self._party, self._now_ms, self._source = party, now_ms, source

    def __repr__(self) -> str:
        return f"Restricted({self._party})"

    # ---- setting aside

    def take_openings(self, tx: Transaction, names: Sequence[str], *, request: str) -> Taken:
        """Restrict or erase every opening about a customer, and destroy the customer's keys; safe to repeat.

        names: of the customer's keys. Raises VerificationError when an opening does not open or does not fit its
        commitment: compliance must look first.
        """
        taken = Taken()
        by_entry: dict[int, dict[str, bytes]] = {}
        for name in names:
            for index, field_name, (salt, text) in self._evidence.openings_about(tx, name):
                by_entry.setdefault(index, {})[field_name] = salt + text.encode()
        for index, values in sorted(by_entry.items()):
            body = self._body(index)
            envelope = parse_envelope(body)
            for field_name, value in values.items():
                check_opening(envelope, field_name, value[:SALT_SIZE], value[SALT_SIZE:].decode())
            place = reference(self._party, index, hashlib.sha256(b"\x00" + body).digest(), values)
            self._keep(tx, taken, values, envelope.kind, "evidence", index, place, envelope.time_ms, request)
            is_kept = bool(taken.restricted) and taken.restricted[-1].entry == index
            for field_name in values:
                self._evidence.take_out(tx, index, field_name, set_aside=is_kept)
        for name in names:
            self._vault.shred_subject(tx, name)
        return taken

    def _body(self, index: int) -> bytes:
        bodies = self._ledger.entry_bodies(self._party, index, index + 1)
        if not bodies:  # written in this very group of changes, so readers do not see it yet
            raise Refused(
                "同时有关于该客户的新记录，请再试一次",
                "an entry about this customer is being written at this moment: try again",
                code="ERASURE_BUSY",
            )
        return bodies[0]

    def take_records(
        self,
        tx: Transaction,
        values: Mapping[str, bytes],
        *,
        owner: str,
        kind: str,
        from_ms: int,
        request: str,
        documents: Sequence[str] = (),
    ) -> Taken:
        """Restrict or erase records of a plugin that are no entries; the plugin takes them out of its tables itself.

        values: name -> bytes. kind: decides the term, counted from from_ms. documents: refs of the owner's blobs that
        belong to them and go the same way.
        """
        taken = Taken()
        if values:
            self._keep(tx, taken, values, kind, owner, -1, f"{kind}:{len(values)}", from_ms, request)
        restriction = taken.restricted[0].id if taken.restricted else ""
        for ref in documents:
            if restriction:
                self._blobs.hold(tx, owner, ref, restriction)
            else:
                self._blobs.unlink(tx, owner, ref)
        return taken

    def _keep(
        self, tx: Transaction, taken: Taken, values: Mapping[str, bytes], kind: str, owner: str, entry: int, place: str,
        from_ms: int, request: str,
    ) -> None:  # fmt: skip
        term: Term = self.terms.of(kind)
        now, until_ms = self._now_ms(), term.until_ms(from_ms)
        if until_ms <= now:
            taken.erased.append(place)
            taken.erased_items += len(values)
            return
        one = Restriction(
            "R-" + self._source(8).hex(), request, owner, kind, entry, len(values), place, now, until_ms, term.zh, term.en
        )
        self._vault.put(tx, RESTRICTED_PREFIX + one.id, pack_restricted(values))
        tx.execute(
            f"INSERT INTO erasure_restriction ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            (one.id, request, owner, kind, entry, one.items, place, now, until_ms, term.zh, term.en),
        )
        taken.restricted.append(one)

    # ---- reading

    def restrictions(self, reader: Reader, *, request: str = "", lying: bool = True) -> list[Restriction]:
        """What lies here, by end of term; request: of one request only; lying: False for what was erased too."""
        rows = reader.execute(
            f"SELECT {_COLUMNS} FROM erasure_restriction WHERE (? = '' OR request = ?) AND (NOT ? OR erased_ms IS NULL)"
            " ORDER BY until_ms, id",
            (request, request, int(lying)),
        )
        return [Restriction(*row) for row in rows]

    def open(self, reader: Reader, restriction: str) -> tuple[Restriction, dict[str, bytes]]:
        """What was set aside under this id. NotFound when there is none or its term has ended."""
        row = reader.execute(
            f"SELECT {_COLUMNS} FROM erasure_restriction WHERE id = ? AND erased_ms IS NULL", (restriction,)
        ).fetchone()
        if row is None:
            raise NotFound(
                "没有这项限制存放，或已到期销毁",
                "there is no such restriction, or its term has ended and it was destroyed",
                code="NO_RESTRICTION",
            )
        return Restriction(*row), unpack_restricted(self._vault.get_restricted(reader, restriction))

    # ---- the end of a term

    def due(self, reader: Reader, now_ms: int) -> list[Restriction]:
        """What must be destroyed by now."""
        rows = reader.execute(
            f"SELECT {_COLUMNS} FROM erasure_restriction WHERE erased_ms IS NULL AND until_ms <= ? ORDER BY request, id",
            (now_ms,),
        )
        return [Restriction(*row) for row in rows]

    def destroy(self, tx: Transaction, restriction: Restriction) -> bool:
        """Destroy key, bytes and documents of a restriction; False when somebody did before."""
        done = tx.execute(
            "UPDATE erasure_restriction SET erased_ms = ? WHERE id = ? AND erased_ms IS NULL",
            (self._now_ms(), restriction.id),
        ).rowcount
        if not done:
            return False
        self._vault.shred(tx, RESTRICTED_PREFIX + restriction.id)
        for owner, ref, _ in self._blobs.held(tx, restriction.id):
            self._blobs.unlink(tx, owner, ref)
        if restriction.entry >= 0:
            for name in restriction.place.partition("=")[2].split(","):
                self._evidence.take_out(tx, restriction.entry, name, set_aside=False)
        mark_erased_in(tx)
        return True

    # ---- does it hold?

    def check(self, reader: Reader) -> Iterator[AuditFinding]:
        """Every restricted opening against its commitment, every mark against a restriction; no value is shown."""
        set_aside = {place for place, is_aside in self._evidence.marks(reader).items() if is_aside}
        for one in self.restrictions(reader):
            if one.entry < 0:
                names: set[str] = set()
            else:
                names = set(one.place.partition("=")[2].split(","))
            try:
                values = unpack_restricted(self._vault.get_restricted(reader, one.id))
                if one.entry >= 0:
                    envelope = parse_envelope(self._ledger.entry_bodies(self._party, one.entry, one.entry + 1)[0])
                    for name, value in values.items():
                        check_opening(envelope, name, value[:SALT_SIZE], value[SALT_SIZE:].decode("utf-8", "replace"))
                    if values.keys() != names:
                        raise VerificationError("", "")
            except (VerificationError, NotFound, IndexError):
                yield self._finding(one.entry, ",".join(sorted(names)) or one.kind, "RESTRICTED_ALTERED")
            set_aside -= {(one.entry, name) for name in names}
        for index, name in sorted(set_aside):
            yield self._finding(index, name, "RESTRICTED_MISSING")

    def _finding(self, index: int, name: str, problem: str) -> AuditFinding:
        zh, en = _PROBLEMS[problem]
        return AuditFinding(self._party, index if index >= 0 else None, name, problem, zh, en)


_PROBLEMS = {
    "RESTRICTED_ALTERED": (
        "限制存放的内容不见或与承诺不符：合规人员核查数据库",
        "what was set aside is gone or does not fit its commitment: compliance looks into the database",
    ),
    "RESTRICTED_MISSING": (
        "字段标记为限制存放而存放处没有：合规人员核查谁动过数据库",
        "a field is marked as set aside and lies nowhere: compliance finds out who touched the database",
    ),
}

__all__ = ["ERASURE_MIGRATIONS", "Restricted", "Restriction", "Taken"]
