"""Looking at lines and keys without their values.

Document: docs/protocols/key-delivery.md section 1.
"""

from __future__ import annotations

from uuid import UUID

from workbench.errors import NotFound
from workbench_kme.keys.core import UNPROVEN_OLDER, Core
from workbench_kme.keys.model import (
    KEY_BITS,
    KeyView,
    LeakReport,
    LeakUse,
    LineStatus,
    Position,
    State,
)
from workbench_kme.keys.rows import COLUMNS, TABLES, KeyRow, LineRow, Reader, key_row, parse_key, pointer
from workbench_kme.keys.taking import openable

_SHOWN_SUSPECTS = 100


def status(core: Core, reader: Reader, line: LineRow) -> LineStatus:
    """Stock and standing of a line."""
    stock = {
        (int(pool), State(state)): int(keys)
        for pool, state, keys in reader.execute(
            "SELECT pool, state, keys FROM kme_count WHERE line = ?", (line.number,)
        )
    }
    suspects = tuple(
        int(row[0])
        for row in reader.execute(
            "SELECT block FROM kme_block WHERE line = ? AND suspect = 1 ORDER BY block LIMIT ?",
            (line.number, _SHOWN_SUSPECTS),
        )
    )
    row = reader.execute("SELECT confirmed, next_block FROM kme_line WHERE number = ?", (line.number,)).fetchone()
    meta = reader.execute("SELECT clock_ms, unproven FROM kme_meta").fetchone()
    available = stock.get((line.line.pool, State.STORED), 0) - _unopenable(core, reader, line)
    return LineStatus(
        line.line.name,
        stock,
        available,
        available < line.line.low_water,
        line.line.low_water,
        bool(row[0]),
        suspects,
        meta[1] == UNPROVEN_OLDER,
        int(row[1]),
        (pointer(reader, line.number, 0), pointer(reader, line.number, 1)),
        max(0, int(meta[0]) - core.clock()),
    )


def _unopenable(core: Core, reader: Reader, line: LineRow) -> int:
    """Free keys of the own pool whose device does not serve. Cost: nothing while all do, else the stock is read."""
    closed = core.closed_keks(reader)
    if not closed:
        return 0
    row = reader.execute(
        f"SELECT COUNT(*) FROM kme_key k INDEXED BY kme_key_free WHERE k.line = ? AND k.pool = ? AND k.state = 2 AND NOT ({openable(closed)})",
        (line.number, line.line.pool),
    ).fetchone()
    return int(row[0])


def known(reader: Reader, key: UUID) -> KeyRow:
    """The row of a key. Raises NotFound NO_SUCH_KEY."""
    row = key_row(reader, key)
    if row is None:
        raise NotFound(f"本端没有密钥 {key}", f"there is no key {key} at this end", code="NO_SUCH_KEY")
    return row


def key_view(reader: Reader, key: UUID) -> KeyView:
    """A key without its value."""
    return _view(reader, known(reader, key))


def key_views(
    reader: Reader, line: LineRow, state: State | None, after: Position | None, limit: int
) -> list[KeyView]:
    """Keys of a line by position."""
    where, parameters = "k.line = ?", [line.number]
    if after is not None:
        where += " AND (k.block, k.idx) > (?, ?)"
        parameters += [after.block, after.index]
    if state is not None:
        where += " AND k.state = ?"
        parameters.append(int(state))
    rows = reader.execute(
        f"SELECT {COLUMNS} FROM {TABLES} WHERE {where} ORDER BY k.block, k.idx LIMIT ?", (*parameters, limit)
    ).fetchall()
    return [_view(reader, parse_key(row)) for row in rows]


def leak_report(reader: Reader, key: UUID) -> LeakReport:
    """To whom a key went and what it was used for."""
    row = known(reader, key)
    given = {
        str(role): int(time_ms)
        for role, time_ms in reader.execute(
            "SELECT role, time_ms FROM kme_use WHERE key = ? ORDER BY time_ms, role", (row.number,)
        )
    }
    uses = tuple(
        LeakUse(one[0], one[1], one[2], one[3])
        for one in reader.execute(
            "SELECT time_ms, sae, purpose, reference FROM kme_reference WHERE key = ? ORDER BY number", (row.number,)
        )
    )
    siblings = reader.execute(
        "SELECT count - 1 FROM kme_block WHERE line = ? AND block = ?", (row.line, row.position.block)
    ).fetchone()[0]
    return LeakReport(_view(reader, row), given, uses, int(siblings))


def _view(reader: Reader, row: KeyRow) -> KeyView:
    name = reader.execute("SELECT name FROM kme_line WHERE number = ?", (row.line,)).fetchone()[0]
    times = {
        State.GENERATED.name: row.made_ms,
        State.STORED.name: row.stored_ms,
        State.RESERVED.name: row.reserved_ms,
        State.DELIVERED.name: row.delivered_ms,
        State.CONSUMED.name: row.consumed_ms,
        row.state.name: row.ended_ms or _time_of(row),
    }
    return KeyView(
        row.key_id,
        str(name),
        row.position.block,
        row.position.index,
        row.position.pool,
        row.state,
        row.provenance,
        row.size or KEY_BITS,
        row.master,
        row.slaves,
        row.expires_ms,
        {state: at for state, at in times.items() if at is not None},
    )


def _time_of(row: KeyRow) -> int | None:
    return {
        State.GENERATED: row.made_ms,
        State.STORED: row.stored_ms,
        State.RESERVED: row.reserved_ms,
        State.DELIVERED: row.delivered_ms,
        State.CONSUMED: row.consumed_ms,
    }.get(row.state)
