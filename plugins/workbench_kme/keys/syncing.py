"""Keeping the two ends of a line in step: what one end says of its stock, and what the other makes of it.

Document: docs/protocols/key-delivery.md section 2.2. Neither message nor report carries a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from workbench.contracts import Transaction
from workbench.crypto import canonical, compare
from workbench.errors import InvalidRequest, NotFound, ProtocolViolation, VerificationError
from workbench_kme.keys.core import UNPROVEN_OLDER, Core, cut_off, drop_charges
from workbench_kme.keys.mark import STORE_BYTES, Pointers, parse_pointers
from workbench_kme.keys.model import (
    CHECK_BYTES,
    MAX_BLOCK,
    MAX_KEYS_OF_BLOCK,
    Position,
    Reservation,
    State,
    check_entity,
)
from workbench_kme.keys.rows import LineRow, Reader, add_event, key_row, move, move_where, pointer, raise_pointer

MOST_OPEN_BLOCKS = 4096
MOST_AHEAD = 1 << 20
"""How far a block number of the other end may lie beyond the next one of this end: a number taken is taken for ever."""
_MOST_RESERVED = 65_536
_FIELDS = frozenset({"blocks", "floors", "from", "generation", "line", "next_block", "pools", "reserved", "store", "v"})


@dataclass(frozen=True, slots=True)
class OpenBlock:
    """A block with keys GENERATED or STORED. stored: keys STORED of pool 0 and of pool 1; mix: sums over their ids."""

    block: int
    count: int
    check: bytes
    stored: tuple[int, int]
    mix: tuple[int, int]


@dataclass(frozen=True, slots=True)
class SyncState:
    """What an end says of a line. pointers: the highest position used of each pool; floors: cut off by a recovery.

    reserved: by a master at that end, and not known to be delivered.
    """

    line: str
    sender: str
    store: bytes
    generation: int
    next_block: int
    pointers: Pointers
    floors: Pointers
    blocks: tuple[OpenBlock, ...]
    reserved: tuple[Reservation, ...]

    def reached(self, pool: int) -> Position | None:
        """The position up to which that end gives out no key of the pool any more, unless it names it as reserved."""
        return highest(self.pointers[pool], self.floors[pool])


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync found and did at this end; numbers of keys unless said otherwise.

    differing: blocks to be compared by bitmap before values leave again. differs, lost: keys quarantined; restored:
    reservations taken over; passed, behind: keys destroyed. older_copy: this end had forgotten what the other saw.
    missing_here: blocks that are open at the other end and unknown here.
    """

    line: str
    differing: tuple[int, ...]
    differs: int
    lost: int
    restored: int
    passed: int
    behind: int
    older_copy: bool
    missing_here: tuple[int, ...]

    @property
    def in_step(self) -> bool:
        """Whether the two ends agree without more ado."""
        return not (self.differing or self.missing_here)

    @property
    def changed(self) -> bool:
        """Whether any key moved at this end."""
        return bool(self.differs or self.lost or self.restored or self.passed or self.behind)


def format_sync(state: SyncState) -> bytes:
    """The message: canonical JSON."""
    return canonical.format(
        {
            "blocks": [[one.block, one.count, one.check.hex(), *one.stored, *one.mix] for one in state.blocks],
            "floors": [None if one is None else [one.block, one.index] for one in state.floors],
            "from": state.sender,
            "generation": state.generation,
            "line": state.line,
            "next_block": state.next_block,
            "pools": [None if one is None else [one.block, one.index] for one in state.pointers],
            "reserved": [
                {"id": str(one.key_ids[0]), "master": one.master, "size": one.size, "slaves": list(one.slaves)}
                for one in state.reserved
            ],
            "store": state.store.hex(),
            "v": 1,
        }
    )


def parse_sync(data: bytes) -> SyncState:
    """The state behind `format_sync`. Raises ProtocolViolation SYNC_MALFORMED for any other bytes."""
    try:
        value = canonical.parse_object(data)
        if set(value) != _FIELDS or value["v"] != 1:
            raise ValueError("not a sync message")
        line = str(value["line"])
        state = SyncState(
            line,
            str(value["from"]),
            _hex(value["store"], STORE_BYTES),
            _number(value["generation"], MAX_BLOCK),
            _number(value["next_block"], MAX_BLOCK),
            parse_pointers(value["pools"]),
            parse_pointers(value["floors"]),
            tuple(_parse_block(one) for one in _list(value["blocks"], MOST_OPEN_BLOCKS)),
            tuple(_parse_reserved(line, one) for one in _list(value["reserved"], _MOST_RESERVED)),
        )
        order = [one.block for one in state.blocks]
        if order != sorted(set(order)) or format_sync(state) != data:
            raise ValueError("blocks ascend, and everything has one spelling")
    except (ValueError, KeyError, VerificationError, InvalidRequest) as error:
        raise _malformed() from error
    return state


def sync_state(core: Core, reader: Reader, line: LineRow) -> SyncState:
    """What this end says of the line. Cost: a row a block and a reservation."""
    blocks = reader.execute(
        "SELECT block, count, chk, stored0, stored1, mix0, mix1 FROM kme_block WHERE line = ? AND open > 0 ORDER BY block",
        (line.number,),
    ).fetchall()
    reserved = reader.execute(
        "SELECT id, size, master, slaves FROM kme_key"
        " WHERE line = ? AND pool = ? AND state = 3 ORDER BY block, idx",
        (line.number, line.line.pool),
    ).fetchall()
    meta = reader.execute("SELECT generation FROM kme_meta").fetchone()
    following = reader.execute("SELECT next_block FROM kme_line WHERE number = ?", (line.number,)).fetchone()[0]
    return SyncState(
        line.line.name,
        line.line.own,
        core.store_id,
        int(meta[0]),
        int(following),
        (pointer(reader, line.number, 0), pointer(reader, line.number, 1)),
        (pointer(reader, line.number, 0, kind="floor"), pointer(reader, line.number, 1, kind="floor")),
        tuple(OpenBlock(row[0], row[1], bytes(row[2]), (row[3], row[4]), (row[5], row[6])) for row in blocks),
        tuple(
            Reservation(line.line.name, (UUID(bytes=bytes(row[0])),), row[1], row[2], tuple(row[3].split(",")))
            for row in reserved
        ),
    )


def apply_sync(tx: Transaction, now: int, line: LineRow, state: SyncState) -> SyncReport:
    """Bring this end into step with what the other says, row by row of section 2.2.

    Raises ProtocolViolation SYNC_OUT_OF_REACH, and changes nothing, for numbers more than 2^20 blocks beyond this end.
    """
    if state.line != line.line.name or state.sender != line.line.peer:
        raise _malformed()
    following = tx.execute("SELECT next_block FROM kme_line WHERE number = ?", (line.number,)).fetchone()[0]
    places = [one.block for one in (*state.pointers, *state.floors) if one is not None]
    if max(state.next_block, *places, *(one.block for one in state.blocks), 0) > following + MOST_AHEAD:
        raise _out_of_reach(line)
    theirs = {one.block: one for one in state.blocks}
    ours = {int(row[0]): row for row in tx.execute(
        "SELECT block, count, chk, stored_ms FROM kme_block WHERE line = ? AND open > 0", (line.number,)
    )}  # fmt: skip
    differs = lost = 0
    for block, row in ours.items():
        other = theirs.get(block)
        if other is not None:
            if other.count != row[1] or not compare.equal(other.check, bytes(row[2])):
                differs += _end_block(tx, now, line.number, block)
        elif row[3] is not None and block < state.next_block:
            lost += _end_block(tx, now, line.number, block)
    restored = sum(_restore(tx, now, line, one) for one in state.reserved)
    passed = _pass(tx, now, line, state)
    behind, older_copy = _catch_up(tx, now, line, state)
    differing = _compare(tx, line, theirs)
    missing = tuple(block for block in theirs if not _is_known(tx, line.number, block))
    tx.execute(
        "UPDATE kme_line SET next_block = MAX(next_block, ?) WHERE number = ?", (state.next_block, line.number)
    )
    report = SyncReport(
        line.line.name, differing, differs, lost, restored, passed, behind, older_copy, missing
    )
    if not differing:
        _confirm(tx, now, line)
    if report.changed or differing or older_copy:
        add_event(
            tx, now, "sync.applied", line.line.name, differs=differs, lost=lost, restored=restored, passed=passed,
            behind=behind, differing=len(differing), older_copy=int(older_copy),
        )  # fmt: skip
    return report


def bitmap(reader: Reader, line: LineRow, block: int) -> bytes:
    """Which keys of a block are in stock here. Raises NotFound NO_SUCH_BLOCK."""
    row = reader.execute(
        "SELECT count FROM kme_block WHERE line = ? AND block = ?", (line.number, block)
    ).fetchone()
    if row is None:
        raise _no_block(line, block)
    bits = bytearray(-(-int(row[0]) // 8))
    for (index,) in reader.execute(
        "SELECT idx FROM kme_key WHERE line = ? AND block = ? AND (state = 2 OR (state = 3 AND pool = ?))",
        (line.number, block, line.line.pool),
    ):
        bits[index // 8] |= 1 << index % 8
    return bytes(bits)


def apply_bitmap(tx: Transaction, now: int, line: LineRow, block: int, bits: bytes) -> int:
    """Quarantine what is in stock here only; how many. The block is no longer suspect afterwards.

    Raises ProtocolViolation for a bitmap of another length, or one with bits beyond the block's last key.
    """
    row = tx.execute("SELECT count FROM kme_block WHERE line = ? AND block = ?", (line.number, block)).fetchone()
    if row is None:
        raise _no_block(line, block)
    size = int(row[0])
    if len(bits) != -(-size // 8) or int.from_bytes(bits, "little") >> size:
        raise _malformed()
    here = tx.execute(
        "SELECT number, idx FROM kme_key WHERE line = ? AND block = ? AND state = 2", (line.number, block)
    ).fetchall()
    only_here = [int(number) for number, index in here if not bits[index // 8] >> index % 8 & 1]
    moved = move(tx, only_here, State.QUARANTINED, now)
    tx.execute("UPDATE kme_block SET suspect = 0 WHERE line = ? AND block = ?", (line.number, block))
    if moved:
        add_event(tx, now, "key.quarantined", line.line.name, keys=moved, block=block, reason="out-of-step")
    left = tx.execute("SELECT 1 FROM kme_block WHERE line = ? AND suspect = 1 LIMIT 1", (line.number,)).fetchone()
    if left is None:
        _confirm(tx, now, line)
    return moved


def highest(first: Position | None, second: Position | None) -> Position | None:
    """The larger of two positions; None counts as below all."""
    if first is None or second is None:
        return first or second
    return max(first, second)


def _end_block(tx: Transaction, now: int, line: int, block: int) -> int:
    return move_where(tx, State.QUARANTINED, now, "line = ? AND block = ? AND state IN (1, 2)", (line, block))


def _restore(tx: Transaction, now: int, line: LineRow, reservation: Reservation) -> int:
    """Take over a reservation of the other end whose notice was lost; 0 when it is known or not to be had."""
    key = key_row(tx, reservation.key_ids[0])
    if key is None or key.line != line.number or key.position.pool == line.line.pool or key.state is not State.STORED:
        return 0
    tx.execute(
        "UPDATE kme_key SET size = ?, master = ?, slaves = ?, expires_ms = MIN(expires_ms, ?) WHERE number = ?",
        (
            reservation.size,
            reservation.master,
            ",".join(reservation.slaves),
            now + line.line.reservation_ms,
            key.number,
        ),
    )
    raise_pointer(tx, line.number, key.position, pool=key.position.pool)
    return move(tx, [key.number], State.RESERVED, now)


def _pass(tx: Transaction, now: int, line: LineRow, state: SyncState) -> int:
    """In the pool of the other end: what lies up to its pointer is used up, but for what it names as reserved.

    A block of which both ends have the same in stock is left alone: it arrived later than others with higher numbers.
    """
    pool = 1 - line.line.pool
    theirs = state.reached(pool)
    if theirs is None:
        return 0
    where = "line = ? AND pool = ? AND (block, idx) <= (?, ?)"
    place = (line.number, pool, theirs.block, theirs.index)
    named = {one.key_ids[0].bytes for one in state.reserved}
    dropped = [
        int(number)
        for number, key in tx.execute(f"SELECT number, id FROM kme_key WHERE state = 3 AND {where}", place)
        if bytes(key) not in named
    ]
    passed = move(tx, dropped, State.DESTROYED, now)
    stock = {one.block: (one.stored[pool], one.mix[pool]) for one in state.blocks}
    reached = tx.execute(
        f"SELECT block, stored{pool}, mix{pool} FROM kme_block"
        f" WHERE line = ? AND open > 0 AND block <= ? AND stored{pool} > 0",
        (line.number, theirs.block),
    ).fetchall()
    for block, here, mix in reached:
        if (here, mix) != stock.get(int(block)):
            passed += move_where(tx, State.DESTROYED, now, f"{where} AND block = ? AND state = 2", (*place, block))
    raise_pointer(tx, line.number, theirs, pool=pool)
    return passed


def _catch_up(tx: Transaction, now: int, line: LineRow, state: SyncState) -> tuple[int, bool]:
    """In the own pool: what the other end has seen used, or cut off, is not given out here either.

    A key it has seen *used* beyond all that this end knows of says that this end is an older copy.
    """
    pool = line.line.pool
    theirs = state.reached(pool)
    mine = highest(pointer(tx, line.number, pool), pointer(tx, line.number, pool, kind="floor"))
    if theirs is None or (mine is not None and theirs <= mine):
        return 0, False
    used = state.pointers[pool]
    older_copy = used is not None and (mine is None or used > mine)
    if older_copy:
        known = tx.execute("SELECT unproven FROM kme_meta").fetchone()[0]
        # Found before, at the opening or on another line: what other lines were given since is no part of the copy.
        drop_charges(tx, now, line.number if known else None)
        tx.execute(
            "UPDATE kme_meta SET unproven = ?"
            " WHERE unproven = '' AND EXISTS (SELECT 1 FROM kme_line WHERE confirmed = 0)",
            (UNPROVEN_OLDER,),
        )
    return cut_off(tx, now, line.number, line.line.name, theirs), older_copy


def _compare(tx: Transaction, line: LineRow, theirs: dict[int, OpenBlock]) -> tuple[int, ...]:
    """Blocks whose stock in the other end's pool differs by number or sum: suspect until compared key by key."""
    pool = 1 - line.line.pool
    differing = []
    for block, other in theirs.items():
        row = tx.execute(
            f"SELECT stored_ms, stored{pool}, mix{pool} FROM kme_block WHERE line = ? AND block = ?", (line.number, block)
        ).fetchone()
        if row is None or row[0] is None:
            continue  # not here, or not confirmed yet: no key of it leaves anyway
        if (row[1], row[2]) != (other.stored[pool], other.mix[pool]) and any(other.stored):
            differing.append(block)
    tx.execute("UPDATE kme_block SET suspect = 0 WHERE line = ? AND suspect = 1", (line.number,))
    for block in differing:
        tx.execute("UPDATE kme_block SET suspect = 1 WHERE line = ? AND block = ?", (line.number, block))
    return tuple(differing)


def _confirm(tx: Transaction, now: int, line: LineRow) -> None:
    was = tx.execute("SELECT confirmed FROM kme_line WHERE number = ?", (line.number,)).fetchone()[0]
    if was:
        return
    tx.execute("UPDATE kme_line SET confirmed = 1 WHERE number = ?", (line.number,))
    add_event(tx, now, "store.confirmed", line.line.name)
    if tx.execute("SELECT 1 FROM kme_line WHERE confirmed = 0").fetchone() is None:
        tx.execute("UPDATE kme_meta SET unproven = ''")


def _is_known(tx: Transaction, line: int, block: int) -> bool:
    row = tx.execute("SELECT 1 FROM kme_block WHERE line = ? AND block = ?", (line, block)).fetchone()
    return row is not None


def _parse_block(value: canonical.Json) -> OpenBlock:
    block, size, check, *stock = _list(value, 7)
    size = _number(size, MAX_KEYS_OF_BLOCK)
    first, second, mix_first, mix_second = (_number(one, MAX_BLOCK) for one in stock)
    if first > -(-size // 2) or second > size // 2:
        raise ValueError("no more in stock than there are in the block")
    return OpenBlock(
        _number(block, MAX_BLOCK), size, _hex(check, CHECK_BYTES), (first, second), (mix_first, mix_second)
    )


def _parse_reserved(line: str, value: canonical.Json) -> Reservation:
    if not isinstance(value, dict) or set(value) != {"id", "master", "size", "slaves"}:
        raise ValueError("not a reservation")
    slaves = tuple(check_entity(str(one), what="SAE") for one in _list(value["slaves"], 64))
    if not slaves or len(set(slaves)) != len(slaves):
        raise ValueError("a reservation has receivers, each once")
    size = _number(value["size"], 256)
    if size % 8 or size < 64:
        raise ValueError("a key has 64 to 256 bits")
    return Reservation(line, (UUID(str(value["id"])),), size, check_entity(str(value["master"]), what="SAE"), slaves)


def _list(value: canonical.Json, most: int) -> list[canonical.Json]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError("a list of limited length")
    return value


def _number(value: canonical.Json, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("a whole number in its range")
    return value


def _hex(value: canonical.Json, size: int) -> bytes:
    raw = bytes.fromhex(str(value))
    if len(raw) != size:
        raise ValueError("hexadecimal of a given length")
    return raw


def _malformed() -> ProtocolViolation:
    return ProtocolViolation(
        "对端的同步消息格式不符，未作任何改动：运维人员核对两端版本与线路配置",
        "the sync message of the other end is malformed; nothing was changed: operators compare versions and lines",
        code="SYNC_MALFORMED",
    )


def _out_of_reach(line: LineRow) -> ProtocolViolation:
    return ProtocolViolation(
        f"线路 {line.line.name} 对端的数据块号超出本端的可信范围，未作任何改动：两端运维人员核对密钥库",
        f"block numbers of the other end of line {line.line.name} are out of reach of this one; nothing was changed:"
        " operators of both ends compare the stores",
        code="SYNC_OUT_OF_REACH",
    )


def _no_block(line: LineRow, block: int) -> NotFound:
    return NotFound(
        f"线路 {line.line.name} 没有第 {block} 块", f"line {line.line.name} has no block {block}", code="NO_SUCH_BLOCK"
    )

