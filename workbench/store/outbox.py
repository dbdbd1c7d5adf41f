"""Messages to partners, written in the same transaction as the change they follow from (decision 5).

Document: docs/store.md, section "Outbox". Promises: a message exists exactly when its change does; it is handed out
until it is acknowledged, so a partner may see it twice and must know it by its id; once acknowledged it is never handed
out again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field

from workbench.contracts import Transaction
from workbench.domain.party import PartyId
from workbench.store.database import Database

FIRST_PAUSE_MS = 1_000
LONGEST_PAUSE_MS = 300_000
_ERROR_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Message:
    """One message that waits: id (rising, never reused), partner, path below /peer/v1/, body, and its tries so far."""

    id: int
    peer: PartyId
    path: str
    body: bytes = field(repr=False)
    created_ms: int
    tries: int
    next_ms: int
    last_error: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for one partner: how many messages, since when the oldest, and the last error met."""

    peer: PartyId
    count: int
    oldest_ms: int
    last_error: str


class Outbox:
    """The queue of messages to partners.

    now_ms: clock for the time of writing.
    """

    def __init__(self, database: Database, *, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._now_ms = now_ms

    def put(self, tx: Transaction, peer: PartyId, path: str, body: bytes) -> int:
        """Add a message inside the caller's change; returns its id. It is due at once."""
        now = self._now_ms()
        cursor = tx.execute(
            "INSERT INTO outbox (peer, path, body, created_ms, next_ms) VALUES (?, ?, ?, ?, ?)",
            (peer, path, body, now, now),
        )
        if cursor.lastrowid is None:  # pragma: no cover - SQLite always sets it after an insert
            raise ValueError("the outbox did not take the message")
        return cursor.lastrowid

    def due(self, now_ms: int, *, path: str = "", limit: int = 100) -> list[Message]:
        """Messages to be sent now, oldest first; each comes again until `done` or the time `failed` sets.

        path: only those for this path, so that each kind of message has its own sender.
        """
        with self._database.read() as reader:
            rows = reader.execute(
                "SELECT id, peer, path, body, created_ms, tries, next_ms, last_error FROM outbox"
                " WHERE done_ms IS NULL AND next_ms <= ? AND (? = '' OR path = ?) ORDER BY id LIMIT ?",
                (now_ms, path, path, limit),
            )
            return [Message(*row) for row in rows]

    def next_ms(self) -> int | None:
        """When the next message falls due, None when nothing waits."""
        with self._database.read() as reader:
            earliest: int | None = reader.execute("SELECT min(next_ms) FROM outbox WHERE done_ms IS NULL").fetchone()[0]
            return earliest

    def done(self, tx: Transaction, message: int, now_ms: int) -> bool:
        """The partner has acknowledged; the body is dropped. False when it was done before, or is unknown."""
        changed = tx.execute(
            "UPDATE outbox SET done_ms = ?, body = x'', last_error = '' WHERE id = ? AND done_ms IS NULL",
            (now_ms, message),
        )
        return changed.rowcount == 1

    def failed(self, tx: Transaction, message: int, now_ms: int, error: str) -> int | None:
        """The try failed: the message rests, each time twice as long up to five minutes; when it is due next.

        error: a stable code or short sentence without secrets; its first 200 characters are kept. None when the
        message is done or unknown.
        """
        row = tx.execute("SELECT tries FROM outbox WHERE id = ? AND done_ms IS NULL", (message,)).fetchone()
        if row is None:
            return None
        following = now_ms + pause_ms(row[0])
        tx.execute(
            "UPDATE outbox SET tries = tries + 1, next_ms = ?, last_error = ? WHERE id = ?",
            (following, error[:_ERROR_LENGTH], message),
        )
        return following

    def hasten(self, tx: Transaction, peer: PartyId, now_ms: int) -> int:
        """Make everything for a partner due now, because it was heard of again; returns how many messages."""
        return tx.execute(
            "UPDATE outbox SET next_ms = ? WHERE peer = ? AND done_ms IS NULL AND next_ms > ?", (now_ms, peer, now_ms)
        ).rowcount

    def waiting(self, *, path: str = "") -> list[Waiting]:
        """What waits for whom, for the health page; path: only messages for this path."""
        with self._database.read() as reader:
            return _waiting(reader, path)

    def forget(self, tx: Transaction, before_ms: int) -> int:
        """Delete the rows of messages acknowledged before an instant; returns how many."""
        return tx.execute("DELETE FROM outbox WHERE done_ms < ?", (before_ms,)).rowcount


def pause_ms(tries: int) -> int:
    """How long a message rests after its failure number tries + 1: 1 s, 2 s, 4 s … 5 min."""
    return min(FIRST_PAUSE_MS << min(tries, 20), LONGEST_PAUSE_MS)


def _waiting(reader: sqlite3.Connection, path: str) -> list[Waiting]:
    # With max(id), SQLite takes the bare column from the row of the newest message (sqlite.org/lang_select.html 2.5).
    rows = reader.execute(
        "SELECT peer, count(*), min(created_ms), last_error, max(id) FROM outbox"
        " WHERE done_ms IS NULL AND (? = '' OR path = ?) GROUP BY peer ORDER BY peer",
        (path, path),
    )
    return [Waiting(peer, count, oldest, error) for peer, count, oldest, error, _ in rows]
