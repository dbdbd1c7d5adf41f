"""Reading and moving rows of keys: the one place that changes a state. For the modules of this package only.

Document: docs/protocols/key-delivery.md section 1. Every function works inside the caller's change.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from workbench.contracts import Transaction
from workbench.crypto import canonical
from workbench.store import StoreTransaction
from workbench_kme.keys.model import STEPS, Line, Position, Provenance, State, sources_of

Reader = sqlite3.Connection | Transaction

_CODES = {one.code: one for one in Provenance}
_TIMES = {
    State.RESERVED: "reserved_ms",
    State.DELIVERED: "delivered_ms",
    State.CONSUMED: "consumed_ms",
    State.DESTROYED: "ended_ms",
    State.EXPIRED: "ended_ms",
    State.REVOKED: "ended_ms",
    State.QUARANTINED: "ended_ms",
}
_FINAL = frozenset(state for state, following in STEPS.items() if not following)
_IDS_IN_EVENT = 16

COLUMNS = (
    "k.number, k.id, k.line, k.block, k.idx, k.pool, k.state, k.expires_ms, k.wrapped, k.size, k.master, k.slaves,"
    " k.reserved_ms, k.delivered_ms, k.consumed_ms, k.ended_ms, b.provenance, b.made_ms, b.stored_ms"
)
TABLES = "kme_key k JOIN kme_block b ON b.line = k.line AND b.block = k.block"


@dataclass(frozen=True, slots=True)
class LineRow:
    """A line as registered, with its number in the database."""

    number: int
    line: Line


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as it lies in the database."""

    number: int
    key_id: UUID
    line: int
    position: Position
    state: State
    expires_ms: int
    wrapped: bytes | None
    size: int
    master: str
    slaves: tuple[str, ...]
    reserved_ms: int | None
    delivered_ms: int | None
    consumed_ms: int | None
    ended_ms: int | None
    provenance: Provenance
    made_ms: int
    stored_ms: int | None


def parse_key(row: Sequence[Any]) -> KeyRow:  # Any: a row of SQLite
    """A row of COLUMNS."""
    return KeyRow(
        row[0],
        UUID(bytes=bytes(row[1])),
        row[2],
        Position(row[3], row[4]),
        State(row[6]),
        row[7],
        row[8],
        row[9],
        row[10],
        tuple(row[11].split(",")) if row[11] else (),
        row[12],
        row[13],
        row[14],
        row[15],
        _CODES[row[16]],
        row[17],
        row[18],
    )


def key_row(reader: Reader, key_id: UUID) -> KeyRow | None:
    """The key of this id, or None."""
    row = reader.execute(f"SELECT {COLUMNS} FROM {TABLES} WHERE k.id = ?", (key_id.bytes,)).fetchone()
    return None if row is None else parse_key(row)


def move(tx: Transaction, numbers: Sequence[int], target: State, now_ms: int) -> int:
    """Bring keys to `target`, each only from a state that leads there; how many moved.

    Values are overwritten where the target is final; for the others `wipe` is called when the last value is out.
    """
    if target in _FINAL:
        wipe_movable(tx, numbers, target)
    column = _TIMES.get(target)
    stamp = f", {column} = ?" if column else ""
    states = ", ".join(str(int(state)) for state in sources_of(target))
    moved = 0
    for number in numbers:
        parameters = (int(target), now_ms, number) if column else (int(target), number)
        moved += tx.execute(
            f"UPDATE kme_key SET state = ?{stamp} WHERE number = ? AND state IN ({states})", parameters
        ).rowcount
    return moved


def set_aside(
    tx: Transaction, keys: Sequence[KeyRow], now_ms: int, *, size: int, master: str, slaves: Sequence[str], until_ms: int
) -> list[KeyRow]:
    """STORED → RESERVED for one master and its slaves; the keys as they are then, fewer where one was in another state."""
    named = ",".join(slaves)
    return [
        replace(
            key, state=State.RESERVED, size=size, master=master, slaves=tuple(slaves),
            expires_ms=min(key.expires_ms, until_ms), reserved_ms=now_ms,
        )
        for key in keys
        if tx.execute(
            "UPDATE kme_key SET state = 3, reserved_ms = ?, size = ?, master = ?, slaves = ?,"
            " expires_ms = MIN(expires_ms, ?) WHERE number = ? AND state = 2",
            (now_ms, size, master, named, until_ms, key.number),
        ).rowcount
    ]  # fmt: skip


def move_where(tx: Transaction, target: State, now_ms: int, where: str, parameters: Sequence[Any]) -> int:  # Any: of SQLite
    """As `move` for all keys that a condition over kme_key selects; the condition narrows the permitted states."""
    states = ", ".join(str(int(state)) for state in sources_of(target))
    condition = f"state IN ({states}) AND ({where})"
    if target not in _FINAL:
        return tx.execute(f"UPDATE kme_key SET state = ? WHERE {condition}", (int(target), *parameters)).rowcount
    tx.execute(
        f"UPDATE kme_key SET wrapped = zeroblob(length(wrapped)) WHERE wrapped IS NOT NULL AND {condition}", parameters
    )
    moved = tx.execute(
        f"UPDATE kme_key SET wrapped = NULL, state = ?, ended_ms = ? WHERE {condition}",
        (int(target), now_ms, *parameters),
    ).rowcount
    if moved:
        mark_erased(tx)
    return moved


def wipe(tx: Transaction, number: int) -> None:
    """Overwrite the value of a key with zeros, then take it away; the log is emptied after the change."""
    tx.execute("UPDATE kme_key SET wrapped = zeroblob(length(wrapped)) WHERE number = ? AND wrapped IS NOT NULL", (number,))
    tx.execute("UPDATE kme_key SET wrapped = NULL WHERE number = ?", (number,))
    mark_erased(tx)


def wipe_movable(tx: Transaction, numbers: Iterable[int], target: State) -> None:
    """`wipe` for those that `move` is about to bring to a final state."""
    states = ", ".join(str(int(state)) for state in sources_of(target))
    for number in numbers:
        row = tx.execute(f"SELECT 1 FROM kme_key WHERE number = ? AND state IN ({states})", (number,)).fetchone()
        if row is not None:
            wipe(tx, number)


def mark_erased(tx: Transaction) -> None:
    """Have the write-ahead log emptied after this change: it still holds what was overwritten."""
    if isinstance(tx, StoreTransaction):
        tx.mark_erased()


def pointer(reader: Reader, line: int, pool: int, *, kind: str = "used") -> Position | None:
    """The highest position used (`used`), or cut off by a recovery (`floor`), of a pool."""
    row = reader.execute(
        f"SELECT {kind}_block, {kind}_index FROM kme_pool WHERE line = ? AND pool = ?", (line, pool)
    ).fetchone()
    return None if row is None or row[0] is None else Position(row[0], row[1])


def raise_pointer(tx: Transaction, line: int, position: Position, *, pool: int, kind: str = "used") -> None:
    """Bring a pointer to `position` unless it lies higher already."""
    current = pointer(tx, line, pool, kind=kind)
    if current is None or position > current:
        tx.execute(
            f"UPDATE kme_pool SET {kind}_block = ?, {kind}_index = ? WHERE line = ? AND pool = ?",
            (position.block, position.index, line, pool),
        )


def count(reader: Reader, line: int, pool: int, state: State) -> int:
    """Keys of a pool in a state. Cost: one look-up."""
    row = reader.execute(
        "SELECT keys FROM kme_count WHERE line = ? AND pool = ? AND state = ?", (line, pool, int(state))
    ).fetchone()
    return 0 if row is None else int(row[0])


def add_minute(tx: Transaction, line: int, pool: int, now_ms: int, *, taken: int = 0, made: int = 0) -> None:
    """Count keys taken or made in the minute of `now_ms`."""
    tx.execute(
        "INSERT INTO kme_minute (line, pool, minute, taken, made) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (line, pool, minute) DO UPDATE SET taken = taken + excluded.taken, made = made + excluded.made",
        (line, pool, now_ms // 60_000, taken, made),
    )


def add_event(
    tx: Transaction, now_ms: int, kind: str, line: str, *, key_ids: Sequence[UUID] = (), **facts: int | str
) -> None:
    """One line of the record that the node copies into its evidence: ids, counts and names, never a value."""
    content: dict[str, canonical.Json] = {**facts}
    if key_ids:
        content |= {"keys": len(key_ids), "key_ids": " ".join(str(one) for one in key_ids[:_IDS_IN_EVENT])}
    tx.execute(
        "INSERT INTO kme_event (time_ms, kind, line, facts) VALUES (?, ?, ?, ?)",
        (now_ms, kind, line, canonical.format(content).decode("utf-8")),
    )


def is_fresh_line(tx: Transaction, line: int) -> bool:
    """Whether nothing was ever made on a line: no block, no pool of charge keys."""
    row = tx.execute("SELECT next_block, EXISTS (SELECT 1 FROM kme_charge_pool p WHERE p.line = kme_line.number) FROM kme_line WHERE number = ?", (line,)).fetchone()
    return (row[0], row[1]) == (0, 0)
