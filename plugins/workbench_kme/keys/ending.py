"""Taking keys out of use: revoked, quarantined, destroyed, and at last forgotten. Inside the caller's change.

Document: docs/protocols/key-delivery.md section 1.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from workbench.contracts import Transaction
from workbench_kme.keys.model import STEPS, Changed, State
from workbench_kme.keys.rows import LineRow, add_event, key_row, mark_erased, move, move_where

FORGOTTEN_AT_ONCE = 5000
_FINAL = ", ".join(str(int(state)) for state, following in STEPS.items() if not following)


def take_out(
    tx: Transaction,
    now: int,
    line: LineRow,
    target: State,
    *,
    key_ids: Sequence[UUID] | None,
    block: int | None,
    reason: str,
) -> Changed:
    """→ `target` for the named keys, a block, or (neither) all of the line that no slave has yet.

    Ids that this end does not know are passed over: they cannot be used here anyway.
    """
    where, parameters = "line = ?", [line.number]
    if key_ids is not None:
        rows = [key_row(tx, key) for key in key_ids]
        where += f" AND number IN ({', '.join(str(row.number) for row in rows if row is not None)})"
    elif block is not None:
        where, parameters = "line = ? AND block = ?", [line.number, block]
    else:
        where += " AND state IN (1, 2, 3)"
    references = _references(tx, where, parameters)
    changed = move_where(tx, target, now, where, parameters)
    name = "key.revoked" if target is State.REVOKED else "key.quarantined"
    place = {} if block is None else {"block": block}
    add_event(tx, now, name, line.line.name, key_ids=key_ids or (), changed=changed, reason=reason, **place)
    return Changed(changed, tuple(key_ids or ()), references)


def end(
    tx: Transaction, now: int, key_ids: Sequence[UUID], target: State, *, only: State | None = None, reason: str = ""
) -> int:
    """→ `target` for the named keys; how many. only: those in this state whose value did not leave. Unknown ids are passed over."""
    rows = [row for key in key_ids if (row := key_row(tx, key)) is not None]
    chosen = [row for row in rows if only is None or (row.state is only and row.wrapped is not None)]
    moved = move(tx, [row.number for row in chosen], target, now)
    if moved:
        kind = "key.destroyed" if target is State.DESTROYED else "key.quarantined"
        add_event(tx, now, kind, "", key_ids=[row.key_id for row in chosen], reason=reason)
    return moved


def withhold(
    tx: Transaction, now: int, line: LineRow, key_ids: Sequence[UUID], *, refused: Collection[UUID]
) -> None:
    """Keys whose value was taken out for the master and did not leave: refused → QUARANTINED, others → DESTROYED."""
    rows = [row for key in key_ids if (row := key_row(tx, key)) is not None]
    for row in rows:
        # Nobody got it: a leak report must not say so.
        tx.execute("DELETE FROM kme_use WHERE key = ? AND role = 'master'", (row.number,))
    bad = [row.key_id for row in rows if row.key_id in refused]
    if bad:
        take_out(tx, now, line, State.QUARANTINED, key_ids=bad, block=None, reason="not-in-stock")
    rest = [row for row in rows if row.key_id not in refused and row.state is State.RESERVED]
    if move(tx, [row.number for row in rest], State.DESTROYED, now):
        add_event(tx, now, "key.destroyed", line.line.name, key_ids=[row.key_id for row in rest], reason="not-accepted")


def forget(tx: Transaction, now: int, before_ms: int) -> int:
    """Delete rows of keys that ended before a time, with what they were used for, and older events; how many keys.

    At most 5,000 keys a call. Blocks stay known for ever: their numbers are never given again.
    """
    rows = tx.execute(
        f"SELECT number FROM kme_key WHERE ended_ms < ? AND state IN ({_FINAL}) LIMIT ?", (before_ms, FORGOTTEN_AT_ONCE)
    ).fetchall()
    numbers = ", ".join(str(int(row[0])) for row in rows)
    for table in ("kme_use", "kme_reference"):
        tx.execute(f"DELETE FROM {table} WHERE key IN ({numbers})")
    tx.execute(f"DELETE FROM kme_key WHERE number IN ({numbers})")
    tx.execute("DELETE FROM kme_minute WHERE minute < ?", (before_ms // 60_000,))
    tx.execute("DELETE FROM kme_event WHERE time_ms < ?", (before_ms,))
    if rows:
        mark_erased(tx)
        add_event(tx, now, "key.forgotten", "", keys=len(rows))
    return len(rows)


def _references(tx: Transaction, where: str, parameters: Sequence[int]) -> tuple[str, ...]:
    rows = tx.execute(
        f"SELECT DISTINCT reference FROM kme_reference WHERE key IN (SELECT number FROM kme_key WHERE {where})"
        " ORDER BY reference",
        parameters,
    )
    return tuple(str(row[0]) for row in rows)
