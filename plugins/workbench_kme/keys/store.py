"""The key store of one KME: blocks in, keys out, each key once for each role.

Document: docs/protocols/key-delivery.md sections 1 to 3. Values are wrapped by a device the whole time they lie here. Every step
is one change of the store; what leaves is covered by the mark first. Thread-safe; no call blocks longer than one commit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import UUID

from workbench.contracts import Transaction
from workbench.crypto import canonical, compare, random
from workbench.errors import KeyUnavailable, NotFound, Refused, SelfTestFailed, VerificationError
from workbench_kme.devices import DeviceAccess, Session
from workbench_kme.keys import ending, limiting, rewrapping, syncing, taking, views
from workbench_kme.keys.charge import ChargePools
from workbench_kme.keys.core import Core, Storage, cut_off
from workbench_kme.keys.forecast import Forecast
from workbench_kme.keys.model import (
    KEY_BITS,
    KEY_BYTES,
    MAX_BLOCK,
    MAX_KEYS_OF_BLOCK,
    POOLS,
    BlockAdded,
    Changed,
    KeyValue,
    KeyView,
    LeakReport,
    Line,
    LineStatus,
    Position,
    Provenance,
    Reservation,
    State,
    block_check,
    check_entity,
    check_reason,
    check_use,
    key_id,
    mix_of,
)
from workbench_kme.keys.quota import Quota
from workbench_kme.keys.rows import LineRow, add_event, add_minute, count, is_fresh_line, move_where, pointer
from workbench_kme.keys.syncing import SyncReport, SyncState
from workbench_kme.keys.together import Together

_MARK_SUFFIX = ".mark"
_SWEEP = 10_000


@dataclass(frozen=True, slots=True)
class Event:
    """One line of what happened: ids, counts and names; the node copies it into its evidence."""

    number: int
    time_ms: int
    kind: str
    line: str
    facts: dict[str, int | str]


def _system_ms() -> int:
    return time.time_ns() // 1_000_000


class KeyStore:
    """Keys of one end, of any number of lines.

    database: opened with KEY_MIGRATIONS. session: of the device that wraps; its KEK must stay the same. mark: the file of
    section 2.1, beside the database unless said otherwise. default_quota: for SAEs without a row of their own, None: they
    are refused. peer_required: no value leaves after a start before the other end has confirmed.
    Raises SelfTestFailed DEVICE_DISABLED, StorageFailed.
    """

    def __init__(
        self,
        database: Storage,
        session: DeviceAccess,
        *,
        mark: Path | None = None,
        now_ms: Callable[[], int] = _system_ms,
        default_quota: Quota | None = None,
        peer_required: bool = False,
        source: random.RandomSource = random.SYSTEM,
    ) -> None:
        path = mark or database.path.with_name(database.path.name + _MARK_SUFFIX)
        session.check()
        self._quota, self._peer_required = default_quota, peer_required
        self._database = database
        self.core = Core(database, session, path, now_ms, source)
        self.charges = ChargePools(self.core)
        self.together = Together(self.core, default_quota)
        if peer_required:
            self.core.change(lambda tx, _: tx.execute("UPDATE kme_line SET confirmed = 0").rowcount)

    def close(self) -> None:
        """Write the clean mark; the database is closed by who opened it. With a device that is unfit or closed it stays
        unclean, and the next opening costs what a crash costs."""
        with suppress(SelfTestFailed, KeyUnavailable):
            self.together.cut_all_unkept()
            self.core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"KeyStore({self.core.store_id.hex()[:8]})"

    def rewrap(self, session: Session) -> int:
        """Bring every value under the KEK of another device, in one change; how many. The store goes on with that one.

        A crash right after it leaves a mark that the new device cannot read: the other end confirms then. Cost: 50
        microseconds a value, during which nothing else is written. Raises VerificationError for an altered value.
        """
        session.check()
        old = self.core.session
        moved = self.core.change(lambda tx, now: rewrapping.rewrap(tx, now, old, session))
        self.core.use(session)
        return moved

    # ---- lines and blocks

    def register_line(self, line: Line) -> None:
        """Take in a line, or new limits of a known one.

        Raises Refused LINE_CHANGED when its ends are others, or its tenant is and it has had a block or a charge pool.
        """

        def work(tx: Transaction, now: int) -> None:
            row = tx.execute("SELECT number, namespace, own, sender, receiver FROM kme_line WHERE name = ?", (line.name,)).fetchone()
            limits = (line.low_water, line.kept_back, line.max_keys, line.lifetime_ms, line.reservation_ms)
            if row is not None:
                is_fresh = (row[3], row[4]) == (line.sender, line.receiver) and is_fresh_line(tx, row[0])
                if row[2] != line.own or (bytes(row[1]) != line.namespace.bytes and not is_fresh):
                    raise Refused(
                        f"线路 {line.name} 的两端或租户标记与登记的不同：运维人员核对配置，换端或换租户请另建线路",
                        f"the ends of line {line.name}, or its tenant, are not the registered ones: other ends or another tenant need another line",
                        code="LINE_CHANGED",
                    )
                tx.execute(
                    "UPDATE kme_line SET namespace = ?, tenant = ?, low_water = ?, kept_back = ?, max_keys = ?, lifetime_ms = ?, reservation_ms = ? WHERE number = ?",
                    (line.namespace.bytes, line.tenant, *limits, row[0]),
                )
                return
            confirmed = not (self._peer_required or self.core.unproven(tx))
            number = tx.execute(
                "INSERT INTO kme_line (name, namespace, sender, receiver, own, low_water, kept_back, max_keys, lifetime_ms,"
                " reservation_ms, begun_ms, confirmed, tenant) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (line.name, line.namespace.bytes, line.sender, line.receiver, line.own, *limits, now, confirmed, line.tenant),
            ).lastrowid
            assert number is not None
            for pool in POOLS:
                tx.execute("INSERT INTO kme_pool (line, pool) VALUES (?, ?)", (number, pool))
                tx.executemany(
                    "INSERT INTO kme_count (line, pool, state, keys) VALUES (?, ?, ?, 0)",
                    [(number, pool, int(state)) for state in State],
                )
            # A database from before the line was known: the mark still knows how far it had got.
            for position in self.core.keeper.mark.pools.get(line.name, ()):
                if position is not None:
                    cut_off(tx, now, number, line.name, position)

        self.core.change(work)

    def next_block(self, line: str) -> int:
        """The first number that this end has never seen used. Two ends take the larger of theirs."""
        with self._database.read() as reader:
            row = self.core.line(reader, line)
            found = reader.execute("SELECT next_block FROM kme_line WHERE number = ?", (row.number,)).fetchone()
            return int(found[0])

    def add_block(
        self,
        line: str,
        block: int,
        provenance: Provenance,
        key: bytes | bytearray,
        *,
        lifetime_ms: int | None = None,
    ) -> BlockAdded:
        """Take in what one distillation made: key of 32·n bytes → n keys GENERATED.

        The caller overwrites `key`. Raises Refused BLOCK_KNOWN, BLOCK_MALFORMED, POOL_FULL; KeyUnavailable KEK_WORN_OUT.
        Cost: about 40 microseconds a key.
        """
        number = len(key) // KEY_BYTES
        if not 1 <= number <= MAX_KEYS_OF_BLOCK or len(key) % KEY_BYTES or not 0 <= block <= MAX_BLOCK:
            raise Refused(
                f"第 {block} 块的长度或编号不符，未入库", f"block {block} has a wrong length or number and was not taken in",
                code="BLOCK_MALFORMED",
            )  # fmt: skip
        with self._database.read() as reader:
            found = self.core.line(reader, line)
            floors = tuple(pointer(reader, found.number, pool, kind="floor") for pool in POOLS)
        namespace = found.line.namespace
        check = block_check(namespace, block, provenance, key)
        rows = self._key_rows(namespace, block, number, provenance, key, floors)
        destroyed = sum(one[5] == State.DESTROYED for one in rows)

        def work(tx: Transaction, now: int) -> None:
            self._check_room(tx, found, block, number)
            if tuple(pointer(tx, found.number, pool, kind="floor") for pool in POOLS) != floors:
                raise Refused(
                    f"线路 {line} 正在恢复，请重试", f"line {line} is being recovered: try again", code="LINE_RECOVERING"
                )
            self.core.count_wrappings(tx, (one[4] for one in rows if one[4] is not None))
            tx.execute(
                "INSERT INTO kme_block (line, block, count, provenance, chk, made_ms) VALUES (?, ?, ?, ?, ?, ?)",
                (found.number, block, number, provenance.code, check, now),
            )
            expires = now + (found.line.lifetime_ms if lifetime_ms is None else lifetime_ms)
            tx.executemany(
                "INSERT INTO kme_key (line, expires_ms, id, mix, block, idx, pool, state, wrapped)"
                f" VALUES ({found.number}, {expires}, ?, ?, ?, ?, ?, ?, ?)",
                ((one[0], mix_of(one[0]), one[1], one[2], one[3], one[5], one[4]) for one in rows),
            )
            tx.execute("UPDATE kme_line SET next_block = MAX(next_block, ?) WHERE number = ?", (block + 1, found.number))
            add_event(tx, now, "block.added", line, block=block, keys=number, provenance=str(provenance))

        self.core.change(work)
        return BlockAdded(line, block, number, destroyed, check)

    def block_check(self, line: str, block: int) -> bytes:
        """The 16 bytes that the other end's must equal. Raises NotFound NO_SUCH_BLOCK."""
        with self._database.read() as reader:
            found = self.core.line(reader, line)
            row = reader.execute(
                "SELECT chk FROM kme_block WHERE line = ? AND block = ?", (found.number, block)
            ).fetchone()
        if row is None:
            raise _no_block(line, block)
        return bytes(row[0])

    def confirm_block(self, line: str, block: int, check: bytes) -> int:
        """GENERATED → STORED when the other end's check equals ours; how many keys.

        Another check quarantines the block and raises VerificationError BLOCK_DIFFERS. A repeated call changes nothing.
        """

        def work(tx: Transaction, now: int) -> int:
            found = self.core.line(tx, line)
            row = tx.execute(
                "SELECT chk, provenance FROM kme_block WHERE line = ? AND block = ?", (found.number, block)
            ).fetchone()
            if row is None:
                raise _no_block(line, block)
            where = (found.number, block)
            if not compare.equal(bytes(row[0]), check):
                ended = move_where(tx, State.QUARANTINED, now, "line = ? AND block = ? AND state IN (1, 2)", where)
                add_event(tx, now, "block.quarantined", line, block=block, keys=ended, reason="check")
                return -1
            per_pool = [
                move_where(tx, State.STORED, now, "line = ? AND block = ? AND pool = ?", (*where, pool)) for pool in POOLS
            ]
            if any(per_pool):
                tx.execute("UPDATE kme_block SET stored_ms = ? WHERE line = ? AND block = ?", (now, *where))
                for pool in POOLS:
                    add_minute(tx, found.number, pool, now, made=per_pool[pool])
                add_event(tx, now, "block.stored", line, block=block, keys=sum(per_pool))
            return sum(per_pool)

        stored = self.core.change(work)
        if stored < 0:
            raise VerificationError(
                f"线路 {line} 第 {block} 块两端不一致，已隔离：不使用其中任何密钥",
                f"block {block} of line {line} differs at the two ends and is quarantined: none of its keys is used",
                code="BLOCK_DIFFERS",
            )
        return stored

    # ---- giving out

    def reserve(
        self,
        line: str,
        master: str,
        slaves: Sequence[str],
        *,
        number: int = 1,
        size: int = KEY_BITS,
        origins: Collection[Provenance] = (),
    ) -> Reservation:
        """Set keys of this end's pool aside: all `number`, or none. No value leaves yet: `hand_out` comes after the other
        end's `accept`.

        size: bits, 64 to 256. origins: keys of these provenances only; none: of any. Raises KeyUnavailable EXHAUSTED,
        QUOTA_EXCEEDED (details: retry_after_s), KME_UNCONFIRMED, OUT_OF_STEP; Denied SAE_UNKNOWN; InvalidRequest.
        """
        self.core.session.check()
        quota = self._quota
        return self.core.change(
            lambda tx, now: taking.reserve(
                self.core, tx, now, self.core.line(tx, line), master, slaves,
                number=number, size=size, origins=origins, default_quota=quota,
            )[0]
        )  # fmt: skip

    def accept(self, reservation: Reservation) -> None:
        """At the other end: set the same keys aside, all or none.

        Raises KeyUnavailable NOT_IN_STOCK with the ids it cannot: the master's end quarantines those.
        """
        self.core.session.check()
        self.core.change(
            lambda tx, now: taking.accept(self.core, tx, now, self.core.line(tx, reservation.line), reservation)
        )

    def abandon(self, key_ids: Sequence[UUID]) -> int:
        """Give up a reservation whose values did not leave: RESERVED → DESTROYED, never back; how many."""
        return self.core.change(lambda tx, now: ending.end(tx, now, key_ids, State.DESTROYED, only=State.RESERVED))

    def hand_out(self, key_ids: Sequence[UUID], master: str) -> list[KeyValue]:
        """The values of a reservation, once, for its master; the caller wipes them.

        Raises KeyUnavailable KEY_GONE, Denied KEY_NOT_YOURS; VerificationError SEAL_BROKEN (those keys are quarantined).
        """
        return self._release(key_ids, lambda tx, now: taking.hand_out(self.core, tx, now, key_ids, master))

    def deliver(self, key_ids: Sequence[UUID], slave: str, *, master: str = "") -> list[KeyValue]:
        """The values for one slave of a reservation, once each. master: keys of another are as if unknown.

        Raises as `hand_out`.
        """
        return self._release(key_ids, lambda tx, now: taking.deliver(self.core, tx, now, key_ids, slave, master=master))

    def report_delivered(self, line: str, key_ids: Sequence[UUID]) -> int:
        """At the master's end: the slaves have their keys; RESERVED → DELIVERED; how many."""
        return self.core.change(
            lambda tx, now: taking.report_delivered(tx, now, key_ids, self.core.line(tx, line))
        )

    def consume(self, key_ids: Sequence[UUID], purpose: str, reference: str, *, sae: str = "") -> int:
        """Note what keys are used for; those whose values are all out become CONSUMED; how many.

        purpose: lower-case name. reference: an id, never content. Raises InvalidRequest USE_MALFORMED, KeyUnavailable
        KEY_GONE (never given out here), Denied KEY_NOT_YOURS.
        """
        return self.core.change(lambda tx, now: taking.consume(tx, now, key_ids, purpose, reference, sae=sae))

    def record_use(self, key: UUID, purpose: str, reference: str, *, sae: str = "") -> None:
        """Note one more use of a key, whatever its state; the leak report lists it."""
        check_use(purpose, reference)

        def work(tx: Transaction, now: int) -> None:
            tx.execute(
                "INSERT INTO kme_reference (key, time_ms, sae, purpose, reference) VALUES (?, ?, ?, ?, ?)",
                (views.known(tx, key).number, now, sae, purpose, reference),
            )

        self.core.change(work)

    def destroy(self, key_ids: Sequence[UUID]) -> int:
        """→ DESTROYED from wherever that is a step; how many. The mark knows before the call returns."""
        return self.core.strict_change(lambda tx, now: ending.end(tx, now, key_ids, State.DESTROYED))

    def forget(self, before_ms: int) -> int:
        """Delete what ended before a time, its uses and events with it; how many keys. Blocks stay known for ever.

        Leak reports of those keys are gone then: call it with the term your evidence needs, now and then.
        """
        total = 0
        while gone := self.core.change(lambda tx, now: ending.forget(tx, now, before_ms)):
            total += gone
        return total

    # ---- taking out of use

    def revoke(
        self, line: str, *, key_ids: Sequence[UUID] | None = None, block: int | None = None, reason: str
    ) -> Changed:
        """→ REVOKED: the named keys, a block, or (neither) everything of the line that no slave has yet.

        Returns the references of what they were used for: sessions to be ended. The mark knows before the call returns.
        """
        return self._take_out(line, State.REVOKED, key_ids, block, reason)

    def quarantine(
        self, line: str, *, key_ids: Sequence[UUID] | None = None, block: int | None = None, reason: str
    ) -> Changed:
        """→ QUARANTINED, as `revoke`: an alarm, a check that failed, a key the other end does not have."""
        return self._take_out(line, State.QUARANTINED, key_ids, block, reason)

    def expire(self) -> int:
        """→ EXPIRED whatever is due; how many. Call it now and then; a reservation expires what it meets by itself."""
        total = 0
        while moved := self.core.change(lambda tx, now: taking.expire(tx, now, limit=_SWEEP)):
            total += moved
        return total

    def accept_clock(self, reason: str) -> int:
        """Let time start again from the clock, after a clock that had run ahead was put right; the milliseconds given up.

        What was due by the old time is expired first and stays so.
        """
        check_reason(reason)
        self.expire()

        def work(tx: Transaction, now: int) -> int:
            clock = self.core.clock()
            tx.execute("UPDATE kme_meta SET clock_ms = ?", (clock,))
            add_event(tx, clock, "clock.accepted", "", behind_ms=now - clock, reason=reason)
            return now - clock

        behind = self.core.change(work)
        self.core.restart_clock()
        return behind

    # ---- in step with the other end

    def sync_state(self, line: str) -> SyncState:
        """What this end tells the other: `format_sync` makes it bytes."""
        self.together.cut_unkept(line)
        with self._database.read() as reader:
            return syncing.sync_state(self.core, reader, self.core.line(reader, line))

    def apply_sync(self, state: SyncState) -> SyncReport:
        """Bring this end into step with what the other one said. For each block in `differing` fetch the other end's
        bitmap and call `apply_bitmap`; no value of the line leaves before. Raises ProtocolViolation SYNC_MALFORMED.
        """
        self.together.cut_unkept(state.line)

        def work(tx: Transaction, now: int) -> SyncReport:
            known = self.core.unproven(tx)
            report = syncing.apply_sync(tx, now, self.core.line(tx, state.line), state)
            if report.older_copy:  # inside the change: a crash after it would forget this
                self.core.keeper.retire_secrets(state.line if known else "")
            return report

        report = self.core.change(work)
        if report.changed or report.older_copy:
            self.core.note()
        return report

    def bitmap(self, line: str, block: int) -> bytes:
        """Which keys of a block are in stock here: bit i of byte ⌊i/8⌋, lowest first. Raises NotFound NO_SUCH_BLOCK."""
        with self._database.read() as reader:
            return syncing.bitmap(reader, self.core.line(reader, line), block)

    def apply_bitmap(self, line: str, block: int, bits: bytes) -> int:
        """Quarantine what only this end has in stock; how many. Raises ProtocolViolation, NotFound."""
        return self.core.strict_change(
            lambda tx, now: syncing.apply_bitmap(tx, now, self.core.line(tx, line), block, bits)
        )

    # ---- quotas

    def set_quota(self, sae: str, quota: Quota) -> None:
        """Register an SAE with what it may take. Its bucket starts full; one that is there keeps what is left in it."""
        check_entity(sae, what="应用 SAE")
        self.core.change(lambda tx, now: limiting.set_quota(tx, now, sae, quota))

    def remove_quota(self, sae: str) -> None:
        """Take an SAE's own quota away; the store's default holds, or it is unknown."""
        self.core.change(lambda tx, _: limiting.remove_quota(tx, sae))

    def left_of(self, sae: str, quota: Quota) -> int:
        """Keys that an SAE of this quota may take at once now."""
        with self._database.read() as reader:
            return limiting.left_of(reader, self.core.now(), sae, quota)

    def reserved_of(self, master: str) -> list[tuple[str, UUID]]:
        """(line, key) of what this SAE was given and its slaves have not all fetched yet. Cost: by that number."""
        with self._database.read() as reader:
            return limiting.reserved_of(reader, master)

    # ---- looking

    def status(self, line: str) -> LineStatus:
        """Stock, alarm, pointers and whether values may leave. Cost: a few look-ups, whatever the stock."""
        with self._database.read() as reader:
            return views.status(self.core, reader, self.core.line(reader, line))

    def forecast(self, line: str) -> Forecast:
        """How long this end's own pool lasts."""
        with self._database.read() as reader:
            found = self.core.line(reader, line)
            return taking.pool_forecast(reader, self.core.now(), found, found.line.pool)

    def key(self, key: UUID) -> KeyView:
        """A key without its value. Raises NotFound NO_SUCH_KEY."""
        with self._database.read() as reader:
            return views.key_view(reader, key)

    def keys(self, line: str, *, state: State | None = None, after: Position | None = None, limit: int = 100) -> list[KeyView]:
        """Keys of a line by position, for pages; `after`: the last one shown."""
        with self._database.read() as reader:
            return views.key_views(reader, self.core.line(reader, line), state, after, limit)

    def leak_report(self, key: UUID) -> LeakReport:
        """What a key protected: to whom it went and every reference recorded. Raises NotFound NO_SUCH_KEY."""
        with self._database.read() as reader:
            return views.leak_report(reader, key)

    def events(self, *, after: int = 0, limit: int = 500) -> list[Event]:
        """What happened, oldest first, from number `after` + 1."""
        with self._database.read() as reader:
            rows = reader.execute(
                "SELECT number, time_ms, kind, line, facts FROM kme_event WHERE number > ? ORDER BY number LIMIT ?",
                (after, limit),
            ).fetchall()
        return [Event(row[0], row[1], row[2], row[3], _facts(row[4])) for row in rows]

    # ---- inside

    def _key_rows(
        self, namespace: UUID, block: int, number: int, provenance: Provenance, key: bytes | bytearray, floors: tuple[Position | None, ...]
    ) -> list[tuple[bytes, int, int, int, bytes | None, int]]:
        """id, block, index, pool, wrapped, state: one below the floor is destroyed before it ever lived."""
        ids = [key_id(namespace, block, index) for index in range(number)]
        lives = [(floor := floors[index & 1]) is None or Position(block, index) > floor for index in range(number)]
        context = [taking.value_context(ids[at], namespace.bytes, block, at, provenance) for at in range(number)]
        pairs = [(bytearray(key[at * KEY_BYTES : (at + 1) * KEY_BYTES]), context[at]) for at in range(number) if lives[at]]
        try:
            wrapped = iter(self.core.session.wrap_many("key", pairs))
        finally:
            for value, _ in pairs:
                value[:] = bytes(KEY_BYTES)
        found = [(next(wrapped), int(State.GENERATED)) if lived else (None, int(State.DESTROYED)) for lived in lives]
        return [(ids[index].bytes, block, index, index & 1, *one) for index, one in enumerate(found)]

    def _check_room(self, tx: Transaction, line: LineRow, block: int, number: int) -> None:
        known = tx.execute(
            "SELECT 1 FROM kme_block WHERE line = ? AND block = ?", (line.number, block)
        ).fetchone()
        if known is not None:
            raise Refused(
                f"线路 {line.line.name} 的第 {block} 块已用过，块号永不重复",
                f"block {block} of line {line.line.name} was used before; a number is given once for ever",
                code="BLOCK_KNOWN",
            )
        open_blocks = tx.execute(
            "SELECT COUNT(*) FROM kme_block WHERE line = ? AND open > 0", (line.number,)
        ).fetchone()[0]
        stock = sum(count(tx, line.number, pool, state) for pool in POOLS for state in (State.GENERATED, State.STORED))
        if stock + number > line.line.max_keys or open_blocks >= syncing.MOST_OPEN_BLOCKS:
            raise Refused(
                f"线路 {line.line.name} 的库存已满，第 {block} 块未入库",
                f"the stock of line {line.line.name} is full; block {block} was not taken in",
                code="POOL_FULL",
            )

    def _release(self, key_ids: Sequence[UUID], work: Callable[[Transaction, int], list[KeyValue]]) -> list[KeyValue]:
        """Values on their way out: changed, covered by the mark, given out; wiped when that fails."""
        self.core.session.check()

        def usable(tx: Transaction, now: int) -> list[KeyValue]:
            for name in {row[0] for key in key_ids for row in _line_of(tx, key)}:
                self.core.check_usable(tx, self.core.line(tx, name))
            return work(tx, now)

        try:
            values = self.core.change(usable)
        except VerificationError:
            self.core.strict_change(
                lambda tx, now: ending.end(tx, now, key_ids, State.QUARANTINED, reason="altered")
            )
            raise
        try:
            for line in {value.line for value in values}:
                self.core.cover(line, [Position(one.block, one.index) for one in values if one.line == line])
        except BaseException:
            for value in values:
                value.wipe()
            raise
        return values

    def _take_out(
        self, line: str, target: State, key_ids: Sequence[UUID] | None, block: int | None, reason: str
    ) -> Changed:
        check_reason(reason)
        return self.core.strict_change(
            lambda tx, now: ending.take_out(
                tx, now, self.core.line(tx, line), target, key_ids=key_ids, block=block, reason=reason
            )
        )

def _line_of(tx: Transaction, key: UUID) -> list[tuple[str]]:
    return tx.execute(
        "SELECT l.name FROM kme_key k JOIN kme_line l ON l.number = k.line WHERE k.id = ?", (key.bytes,)
    ).fetchall()


def _facts(text: str) -> dict[str, int | str]:
    value = canonical.parse_object(text.encode("utf-8"))
    return {name: one for name, one in value.items() if isinstance(one, int | str)}


def _no_block(line: str, block: int) -> NotFound:
    return NotFound(f"线路 {line} 没有第 {block} 块", f"line {line} has no block {block}", code="NO_SUCH_BLOCK")
