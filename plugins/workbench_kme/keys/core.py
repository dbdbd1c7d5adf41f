"""The open store behind KeyStore: its database, clock, mark and lines. For the modules of this package only.

Document: docs/protocols/key-delivery.md sections 1 (time) and 2.1 (the mark).
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

from workbench.contracts import Transaction
from workbench.crypto import random
from workbench.errors import KeyUnavailable, NotFound, Refused, VerificationError
from workbench_kme.devices import DeviceAccess
from workbench_kme.devices.wrapping import MOST_WRAPPINGS, kek_of
from workbench_kme.keys.mark import STORE_BYTES, Mark, MarkKeeper, parse_mark, store_of
from workbench_kme.keys.model import Line, Position, State
from workbench_kme.keys.rows import LineRow, Reader, add_event, mark_erased, move_where, raise_pointer

T = TypeVar("T")

UNPROVEN_OLDER = "older-copy"
UNPROVEN_MARK = "mark-missing"


class Storage(Protocol):
    """What the store needs of `workbench.store.Database`."""

    path: Path

    def write(self, change: Callable[[Transaction], T], *, timeout_s: float = 60.0) -> T:
        """Run a change; on disk when it returns."""

    def read(self) -> AbstractContextManager[sqlite3.Connection]:
        """A consistent snapshot."""


class Core:
    """An open store. change(work): the only way to write, with the time that never runs back."""

    def __init__(
        self, database: Storage, session: DeviceAccess, mark: Path, now_ms: Callable[[], int], source: random.RandomSource
    ) -> None:
        self.database, self.session, self.clock, self.source = database, session, now_ms, source
        self._generation = 0
        self._time_ms = 0
        with database.read() as reader:
            keks = frozenset(bytes(row[0]) for row in reader.execute("SELECT kek FROM kme_kek"))
        session.expect(keks)
        if keks and not keks & session.kek_ids:
            raise KeyUnavailable(
                "密码设备的主密钥与密钥库不符：密钥管理人员接入原设备",
                "the key-encryption key of this device is not the one the store was made with: connect that device",
                code="KEK_MISMATCH",
            )
        store, is_new = database.write(lambda tx: _identity(tx, source))
        self.keeper = self._open_mark(mark, store, is_new)
        self.store_id = store
        self.keeper.note(generation=self.generation(), time_ms=self.now())

    # ---- writing

    def change(self, work: Callable[[Transaction, int], T]) -> T:
        """Run `work(tx, now_ms)` in one change that counts one generation."""
        return self._run(work)[0]

    def strict_change(self, work: Callable[[Transaction, int], T]) -> T:
        """As `change`, and the mark knows of it before the call returns: no older copy will undo it unnoticed."""
        result, generation, time_ms = self._run(work)
        self.keeper.note(generation=generation, time_ms=time_ms)
        return result

    def note(self) -> None:
        """Have the mark know of all changes so far."""
        self.keeper.note(generation=self.generation(), time_ms=self.now())

    def _run(self, work: Callable[[Transaction, int], T]) -> tuple[T, int, int]:
        def run(tx: Transaction) -> tuple[T, int, int]:
            row = tx.execute(
                "UPDATE kme_meta SET generation = generation + 1, clock_ms = MAX(clock_ms, ?)"
                " RETURNING generation, clock_ms",
                (self.clock(),),
            ).fetchone()
            return work(tx, int(row[1])), int(row[0]), int(row[1])

        result, generation, time_ms = self.database.write(run)
        # Two threads may meet here; the mark takes the larger of what it has and what it is told.
        self._generation, self._time_ms = max(self._generation, generation), max(self._time_ms, time_ms)
        return result, generation, time_ms

    def cover(self, line: str, positions: Iterable[Position]) -> None:
        """Return when the mark covers these positions; call it after the change and before values leave."""
        self.keeper.cover(line, positions, generation=self._generation, time_ms=self._time_ms)

    def use(self, session: DeviceAccess) -> None:
        """Go on with another device's session, for the mark too."""
        self.session = session
        self.keeper.use(session)
        self.note()

    def count_wrappings(self, tx: Transaction, wrapped: Iterable[bytes]) -> None:
        """Note which KEKs sealed these values, in the change that stores them.

        Raises KeyUnavailable KEK_WORN_OUT at 2^32; Refused DEVICE_REMOVED where a device was taken away since it wrapped.
        """
        for kek, number in Counter(map(kek_of, wrapped)).items():
            if kek not in self.session.kek_ids:
                raise Refused(
                    "密码设备刚刚撤出，本次未入库：请重试", "a device was taken away meanwhile and nothing was stored: try again",
                    code="DEVICE_REMOVED",
                )  # fmt: skip
            if tx.execute("INSERT OR IGNORE INTO kme_kek (kek, sealed) VALUES (?, 0)", (kek,)).rowcount:
                self.session.expect(self.keks(tx))
            row = tx.execute("UPDATE kme_kek SET sealed = sealed + ? WHERE kek = ? RETURNING sealed", (number, kek)).fetchone()
            if int(row[0]) > MOST_WRAPPINGS:
                raise KeyUnavailable(
                    "密钥加密密钥已用满，不再包裹新密钥：密钥管理人员更换",
                    "the key-encryption key has wrapped all that it may: key staff replace it",
                    code="KEK_WORN_OUT",
                )

    def keks(self, reader: Reader) -> frozenset[bytes]:
        """The KEKs that ever wrapped a value of this store, less those whose device was drained."""
        return frozenset(bytes(row[0]) for row in reader.execute("SELECT kek FROM kme_kek"))

    def closed_keks(self, reader: Reader) -> frozenset[bytes]:
        """Those whose values cannot be opened now: their device is out of service, or not here. Cost: one look-up."""
        return self.keks(reader) - self.session.serving_keks

    # ---- reading

    def generation(self) -> int:
        """Changes of the database so far."""
        with self.database.read() as reader:
            return int(reader.execute("SELECT generation FROM kme_meta").fetchone()[0])

    def now(self) -> int:
        """The time as this store counts it: never before the latest time it has seen."""
        with self.database.read() as reader:
            return max(self.clock(), int(reader.execute("SELECT clock_ms FROM kme_meta").fetchone()[0]))

    def line(self, reader: Reader, name: str) -> LineRow:
        """The line of this name. Raises NotFound NO_SUCH_LINE."""
        row = reader.execute(
            "SELECT number, name, sender, receiver, own, low_water, kept_back, max_keys, lifetime_ms, reservation_ms, tenant"
            " FROM kme_line WHERE name = ?",
            (name,),
        ).fetchone()
        if row is None:
            raise NotFound(
                f"没有线路 {name}：运维人员核对配置", f"there is no line {name}: operators check the configuration", code="NO_SUCH_LINE"
            )
        return LineRow(row[0], Line(*tuple(row)[1:]))

    def unproven(self, reader: Reader) -> str:
        """Why values do not leave before the other end confirmed; "" when the mark holds."""
        return str(reader.execute("SELECT unproven FROM kme_meta").fetchone()[0])

    def check_usable(self, reader: Reader, line: LineRow) -> None:
        """Return if values of the line may leave. Raises KeyUnavailable KME_UNCONFIRMED or OUT_OF_STEP."""
        confirmed, suspect = reader.execute(
            "SELECT confirmed, EXISTS (SELECT 1 FROM kme_block INDEXED BY kme_block_suspect WHERE line = number AND suspect = 1)"
            " FROM kme_line WHERE number = ?",
            (line.number,),
        ).fetchone()
        name = line.line.name
        if not confirmed:
            raise KeyUnavailable(
                f"线路 {name} 的密钥库可能是旧副本，未经对端确认前不交付密钥：等待同步",
                f"the store of line {name} may be an older copy; no key leaves before the other end has confirmed",
                code="KME_UNCONFIRMED",
            )
        if suspect:
            raise KeyUnavailable(
                f"线路 {name} 两端密钥不一致，正在重新同步，暂不交付密钥",
                f"the two ends of line {name} differ and are being brought into step; no key leaves meanwhile",
                code="OUT_OF_STEP",
            )

    # ---- opening and closing

    def restart_clock(self) -> None:
        """Forget the latest time seen, after the database was told to."""
        self._time_ms = self.now()
        self.keeper.restart_clock(generation=self._generation, time_ms=self._time_ms)

    def close(self) -> None:
        """Write the clean mark."""
        self.keeper.note(generation=self.generation(), time_ms=self.now(), clean=True)

    def _open_mark(self, path: Path, store: bytes, is_new: bool) -> MarkKeeper:
        """Compare mark and database, cut off what may have been used, decide whether the mark proves the database."""
        generation = self.generation()
        data, mark, unproven = b"", None, UNPROVEN_MARK
        try:
            data = path.read_bytes()
            mark = parse_mark(data, store, self.session)
        except FileNotFoundError:
            unproven = "" if is_new else UNPROVEN_MARK
        except (OSError, VerificationError):
            pass
        if mark is None:
            empty = self._replaced(data, Mark(False, generation, {}, 0), proves_secrets=is_new, lost=bool(unproven))
            keeper = MarkKeeper(path, store, self.session, empty)
            if unproven:
                self.change(lambda tx, now: _withhold(tx, now, unproven))
            return keeper
        if mark.clean and mark.generation == generation:
            self.change(lambda tx, now: _advance_clock(tx, mark.time_ms))
            return MarkKeeper(path, store, self.session, mark)
        # A mark that claims a clean end and a database that went on: the mark itself is the older copy.
        unproven = UNPROVEN_OLDER if generation < mark.generation else UNPROVEN_MARK if mark.clean else ""
        keeper = MarkKeeper(path, store, self.session, mark)
        if unproven:
            keeper.retire_secrets()  # before the change: the database looks less old after it

        def recover(tx: Transaction, now: int) -> None:
            _advance_clock(tx, mark.time_ms)
            for name, pair in mark.pools.items():
                row = tx.execute("SELECT number FROM kme_line WHERE name = ?", (name,)).fetchone()
                if row is not None:
                    for position in pair:
                        if position is not None:
                            cut_off(tx, now, int(row[0]), name, position)
            if unproven:
                _withhold(tx, now, unproven)

        self.change(recover)
        return keeper

    def _replaced(self, data: bytes, empty: Mark, *, proves_secrets: bool, lost: bool) -> Mark:
        """The mark that takes the place of one that is not this store's. data: the old file, b"" for none.

        What an earlier store of this device had used stays used. Whether it says all depends: beside a new database it is
        the mark of the one that was deleted; beside another it may be any.
        """
        try:
            earlier = parse_mark(data, store_of(data), self.session)
        except VerificationError:
            return replace(empty, lost=lost)
        return replace(
            empty,
            secrets=earlier.secrets if proves_secrets else {},
            retired=earlier.all_secrets,
            charges=earlier.charges,
            lost=earlier.lost or not proves_secrets,
        )


def cut_off(tx: Transaction, now_ms: int, line: int, name: str, position: Position) -> int:
    """Destroy what may have been used up to `position` and did not leave this end; blocks to come are cut there too."""
    cut = move_where(
        tx,
        State.DESTROYED,
        now_ms,
        "line = ? AND pool = ? AND (block, idx) <= (?, ?) AND wrapped IS NOT NULL AND state IN (1, 2, 3)",
        (line, position.pool, position.block, position.index),
    )
    raise_pointer(tx, line, position, pool=position.pool, kind="floor")
    tx.execute("UPDATE kme_line SET next_block = MAX(next_block, ?) WHERE number = ?", (position.block + 1, line))
    if cut:
        add_event(tx, now_ms, "key.destroyed", name, keys=cut, pool=position.pool, reason="recovery")
    return cut


def _identity(tx: Transaction, source: random.RandomSource) -> tuple[bytes, bool]:
    row = tx.execute("SELECT store FROM kme_meta").fetchone()
    if row is not None:
        return bytes(row[0]), False
    store = source(STORE_BYTES)
    tx.execute("INSERT INTO kme_meta (only, store, generation, clock_ms) VALUES (1, ?, 0, 0)", (store,))
    return store, True


def _advance_clock(tx: Transaction, time_ms: int) -> None:
    tx.execute("UPDATE kme_meta SET clock_ms = MAX(clock_ms, ?)", (time_ms,))


def _withhold(tx: Transaction, now_ms: int, why: str) -> None:
    """Nothing leaves before the other ends confirmed; charge pools, of which no other end knows, are closed."""
    drop_charges(tx, now_ms)
    tx.execute("UPDATE kme_meta SET unproven = ?", (why,))
    tx.execute("UPDATE kme_line SET confirmed = 0")
    add_event(tx, now_ms, "store.unconfirmed", "", reason=why)


def drop_charges(tx: Transaction, now_ms: int, line: int | None = None) -> None:
    """Close the charge pools of what may be an older copy: what was used, filled or revoked meanwhile is not known.

    line: number of the line; None: of all lines.
    """
    within = "pool IN (SELECT number FROM kme_charge_pool WHERE ? IS NULL OR line = ?)"
    of_line = (line, line)
    tx.execute(f"UPDATE kme_charge_key SET wrapped = zeroblob(length(wrapped)) WHERE wrapped IS NOT NULL AND {within}", of_line)
    dropped = tx.execute(
        f"UPDATE kme_charge_key SET wrapped = NULL, used_ms = ? WHERE wrapped IS NOT NULL AND {within}", (now_ms, *of_line)
    )
    ended = tx.execute(
        f"UPDATE kme_charge_session SET ended_ms = ? WHERE ended_ms IS NULL AND {within}", (now_ms, *of_line)
    ).rowcount
    closed = tx.execute(
        "UPDATE kme_charge_pool SET revoked_ms = ? WHERE revoked_ms IS NULL AND (? IS NULL OR line = ?)", (now_ms, *of_line)
    ).rowcount
    if dropped.rowcount:
        mark_erased(tx)
    if dropped.rowcount or closed or ended:
        add_event(
            tx, now_ms, "charge.destroyed", "", keys=dropped.rowcount, pools=closed, sessions=ended, reason="recovery"
        )
