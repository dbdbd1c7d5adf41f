"""Bringing every value under another key-encryption key, in one change: a device is replaced, or its KEK has worn out.

Document: docs/protocols/key-delivery.md section 3.1.
"""

from __future__ import annotations

from uuid import UUID

from workbench.contracts import Transaction
from workbench_kme.devices import Session
from workbench_kme.keys.charge import charge_context, charge_key_id
from workbench_kme.keys.rows import COLUMNS, TABLES, add_event, mark_erased, parse_key
from workbench_kme.keys.taking import key_context

_READ_AT_ONCE = 1000


def rewrap(tx: Transaction, now: int, old: Session, new: Session) -> int:
    """Open every wrapped value with `old` and wrap it with `new`; how many. VerificationError for one that was altered."""
    moved = _keys(tx, old, new) + _charges(tx, old, new)
    tx.execute("DELETE FROM kme_kek")
    tx.execute("INSERT INTO kme_kek (kek, sealed) VALUES (?, ?)", (new.kek_id, moved))
    mark_erased(tx)
    add_event(tx, now, "store.rewrapped", "", values=moved, kek=new.kek_id.hex())
    return moved


def _keys(tx: Transaction, old: Session, new: Session) -> int:
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


def _charges(tx: Transaction, old: Session, new: Session) -> int:
    rows = tx.execute(
        "SELECT k.pool, k.counter, k.wrapped, p.person, p.device, l.namespace FROM kme_charge_key k"
        " JOIN kme_charge_pool p ON p.number = k.pool JOIN kme_line l ON l.number = p.line WHERE k.wrapped IS NOT NULL"
    ).fetchall()
    for pool, counter, wrapped, person, device, namespace in rows:
        key_id = charge_key_id(UUID(bytes=bytes(namespace)), person, device, counter)
        again = _moved(old, new, "charge", bytes(wrapped), charge_context(key_id, counter))
        tx.execute("UPDATE kme_charge_key SET wrapped = ? WHERE pool = ? AND counter = ?", (again, pool, counter))
    return len(rows)


def _moved(old: Session, new: Session, purpose: str, wrapped: bytes, context: bytes) -> bytes:
    value = old.unwrap(purpose, wrapped, context)
    try:
        return new.wrap(purpose, value, context)
    finally:
        value[:] = bytes(len(value))
