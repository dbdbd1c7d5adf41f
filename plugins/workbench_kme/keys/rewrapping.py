"""Bringing values under another key-encryption key: all in one change (a device is replaced, its KEK has worn out), or those of
one device to the others, some at a time, while keys are given out (it is taken away).

Document: docs/protocols/key-delivery.md section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from workbench.contracts import Transaction
from workbench_kme.devices import DeviceAccess, Session
from workbench_kme.keys.charge import charge_context, charge_key_id
from workbench_kme.keys.core import Core
from workbench_kme.keys.rows import COLUMNS, TABLES, Reader, add_event, mark_erased, parse_key
from workbench_kme.keys.taking import key_context

_READ_AT_ONCE = 1000
_MOVED_AT_ONCE = 500
_OF = "wrapped IS NOT NULL AND substr(wrapped, 3, 8) = ?"
"""Values of one KEK: docs/protocols/key-delivery.md section 3.1."""


def rewrap(tx: Transaction, now: int, old: DeviceAccess, new: Session) -> int:
    """Open every wrapped value with `old` and wrap it with `new`; how many. VerificationError for one that was altered."""
    moved = _keys(tx, old, new) + _charges(tx, old, new)
    tx.execute("DELETE FROM kme_kek")
    tx.execute("INSERT INTO kme_kek (kek, sealed) VALUES (?, ?)", (new.kek_id, moved))
    mark_erased(tx)
    add_event(tx, now, "store.rewrapped", "", values=moved, kek=new.kek_id.hex())
    return moved


def sealed_by(reader: Reader) -> dict[bytes, int]:
    """KEK id -> values it ever wrapped for this store; of all KEKs that may have values here."""
    return {bytes(row[0]): int(row[1]) for row in reader.execute("SELECT kek, sealed FROM kme_kek")}


def values_of(reader: Reader, kek: bytes) -> int:
    """How many values lie under this KEK. Cost: every value is looked at, about a second for a million."""
    return sum(int(reader.execute(f"SELECT COUNT(*) FROM {table} WHERE {_OF}", (kek,)).fetchone()[0]) for table in ("kme_key", "kme_charge_key"))


def drain(core: Core, kek: bytes, *, leave: Callable[[], None]) -> int:
    """Bring all values under `kek` to other devices, some in each change; how many. New ones keep away from it already.

    leave: called in the last change, which finds none; from then on nothing is stored under this KEK.
    Raises VerificationError for a value that was altered, and KeyUnavailable: what was moved stays moved.
    """
    moved = after = 0
    while after >= 0:
        step, after = core.change(lambda tx, now, after=after: _drain_some(core, tx, kek, after))  # type: ignore[misc]
        moved += step
    core.note()  # by a device that stays

    def end(tx: Transaction, now: int) -> int:
        last = start = 0
        while start >= 0:
            step, start = _drain_some(core, tx, kek, start)
            last += step
        tx.execute("DELETE FROM kme_kek WHERE kek = ?", (kek,))
        add_event(tx, now, "device.drained", "", kek=kek.hex(), values=moved + last)
        leave()
        return last

    moved += core.change(end)
    core.note()
    return moved


def _drain_some(core: Core, tx: Transaction, kek: bytes, after: int) -> tuple[int, int]:
    """Keys with a number above `after`, and charge keys once those are done: how many, and where to go on, -1 at the end."""
    spaces = {int(row[0]): bytes(row[1]) for row in tx.execute("SELECT number, namespace FROM kme_line")}
    rows = tx.execute(
        f"SELECT {COLUMNS} FROM {TABLES} WHERE k.number > ? AND k.wrapped IS NOT NULL AND substr(k.wrapped, 3, 8) = ? ORDER BY k.number LIMIT ?",
        (after, kek, _MOVED_AT_ONCE),
    )
    keys = [parse_key(row) for row in rows.fetchall()]
    pairs = [(key.wrapped or b"", key_context(key, spaces[key.line])) for key in keys]
    _put(core, tx, "key", pairs, [("UPDATE kme_key SET wrapped = ? WHERE number = ?", (key.number,)) for key in keys])
    charges = [] if keys else tx.execute(f"{_CHARGES} AND substr(k.wrapped, 3, 8) = ? LIMIT ?", (kek, _MOVED_AT_ONCE)).fetchall()
    pairs = [(bytes(row[2]), _charge_place(row)) for row in charges]
    _put(core, tx, "charge", pairs, [("UPDATE kme_charge_key SET wrapped = ? WHERE pool = ? AND counter = ?", (row[0], row[1])) for row in charges])
    if not keys and not charges:
        return 0, -1
    mark_erased(tx)
    return len(keys) + len(charges), keys[-1].number if keys else after


def _put(core: Core, tx: Transaction, purpose: str, pairs: list[tuple[bytes, bytes]], places: list[tuple[str, tuple[int, ...]]]) -> None:
    if not pairs:
        return
    values = core.session.unwrap_many(purpose, pairs)
    try:
        again = core.session.wrap_many(purpose, [(value, context) for value, (_, context) in zip(values, pairs, strict=True)])
    finally:
        for value in values:
            value[:] = bytes(len(value))
    core.count_wrappings(tx, again)
    for wrapped, (sentence, place) in zip(again, places, strict=True):
        tx.execute(sentence, (wrapped, *place))


_CHARGES = (
    "SELECT k.pool, k.counter, k.wrapped, p.person, p.device, l.namespace FROM kme_charge_key k"
    " JOIN kme_charge_pool p ON p.number = k.pool JOIN kme_line l ON l.number = p.line WHERE k.wrapped IS NOT NULL"
)


def _charge_place(row: Sequence[Any]) -> bytes:  # Any: a row of SQLite
    _pool, counter, _wrapped, person, device, namespace = row
    return charge_context(charge_key_id(UUID(bytes=bytes(namespace)), person, device, counter), counter)


def _keys(tx: Transaction, old: DeviceAccess, new: Session) -> int:
    spaces = {int(row[0]): bytes(row[1]) for row in tx.execute("SELECT number, namespace FROM kme_line")}
    last, moved = 0, 0
    while rows := tx.execute(
        f"SELECT {COLUMNS} FROM {TABLES} WHERE k.number > ? AND k.wrapped IS NOT NULL ORDER BY k.number LIMIT ?",
        (last, _READ_AT_ONCE),
    ).fetchall():
        for key in map(parse_key, rows):
            assert key.wrapped is not None
            context = key_context(key, spaces[key.line])
            wrapped = _moved(old, new, "key", key.wrapped, context)
            tx.execute("UPDATE kme_key SET wrapped = ? WHERE number = ?", (wrapped, key.number))
        last, moved = int(rows[-1][0]), moved + len(rows)
    return moved


def _charges(tx: Transaction, old: DeviceAccess, new: Session) -> int:
    rows = tx.execute(_CHARGES).fetchall()
    for row in rows:
        again = _moved(old, new, "charge", bytes(row[2]), _charge_place(row))
        tx.execute("UPDATE kme_charge_key SET wrapped = ? WHERE pool = ? AND counter = ?", (again, row[0], row[1]))
    return len(rows)


def _moved(old: DeviceAccess, new: Session, purpose: str, wrapped: bytes, context: bytes) -> bytes:
    value = old.unwrap(purpose, wrapped, context)
    try:
        return new.wrap(purpose, value, context)
    finally:
        value[:] = bytes(len(value))
