"""The smallest real ledger: bodies in a table, leaf hashes, no trees. For tests of the store alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from workbench.contracts import Migration, Transaction
from workbench.domain.evidence import EntryRef, SealState
from workbench.domain.party import PartyId
from workbench.store import Database

LEDGER_MIGRATION = Migration("ledger", 1, "CREATE TABLE entry (idx INTEGER PRIMARY KEY, body BLOB NOT NULL);")


class PlainLedger:
    """Fulfils the part of workbench.contracts.Ledger that the evidence log uses."""

    name = "plain"

    def __init__(self, database: Database, party: PartyId) -> None:
        self._database, self._party = database, party

    def append(self, tx: Transaction, bodies: Sequence[bytes]) -> list[EntryRef]:
        start = tx.execute("SELECT coalesce(max(idx) + 1, 0) FROM entry").fetchone()[0]
        tx.executemany("INSERT INTO entry VALUES (?, ?)", list(enumerate(bodies, start)))
        return [
            EntryRef(self._party, index, hashlib.sha256(b"\x00" + body).digest())
            for index, body in enumerate(bodies, start)
        ]

    def entry_bodies(self, log: PartyId, start: int, stop: int) -> list[bytes]:
        with self._database.read() as reader:
            rows = reader.execute("SELECT body FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx", (start, stop))
            return [body for (body,) in rows]

    def size(self, log: PartyId) -> int:
        with self._database.read() as reader:
            count: int = reader.execute("SELECT count(*) FROM entry").fetchone()[0]
            return count

    def seal_state(self, log: PartyId, index: int, *, required: Sequence[PartyId]) -> SealState:
        return SealState("PENDING", (), tuple(required))
