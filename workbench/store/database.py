"""The database of one institution: one SQLite file, one writer, many readers.

Document: docs/store.md. Fulfils workbench.contracts.Store. Promises: files are readable by their owner only; one
process writes; a result of `write` means the change is on disk; a full disk is reported, recorded and survived.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from workbench.contracts import Migration
from workbench.errors import StartRefused, StorageFailed
from workbench.store.connection import TrackingConnection, is_storage_error, open_reader, open_writer
from workbench.store.migrations import STORE_MIGRATIONS, apply_migrations
from workbench.store.reserve import Reserve
from workbench.store.writer import StoreTransaction, Writer, wait_for

T = TypeVar("T")

RESERVE_BYTES = 4 * 1024 * 1024
IDLE_READERS = 8
PAGE_BYTES = 4096
LOG_PAGES = 1000
"""The log is moved into the file when it has this many pages, which is SQLite's own default."""


@dataclass(frozen=True, slots=True)
class Incident:
    """A write that the disk refused: when, the error's code, and how many callers were told."""

    time_ms: int
    code: str
    callers: int


@dataclass(frozen=True, slots=True)
class TableOverview:
    """One table: name, number of rows, names of its columns."""

    name: str
    rows: int
    columns: tuple[str, ...]


def _system_ms() -> int:
    return time.time_ns() // 1_000_000


class Database:
    """Open (making it if need be), migrate and serve one database file.

    path: the file; beside it lie SQLite's -wal and -shm, a .lock and a .reserve, all with mode 0600.
    migrations: of host and plugins; the store's own come first by themselves.
    busy_timeout_s: how long to wait for a program outside that locks the file. max_bytes: limit of the file, 0 for
    none. reserve_bytes: room kept for recording that the disk is full, 0 for none. now_ms: clock for incidents.
    Raises StartRefused when the file is open to others, in use by another process, newer than this program or not a
    database; ValueError for malformed migrations.
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[Migration] = (),
        *,
        busy_timeout_s: float = 5.0,
        max_bytes: int = 0,
        reserve_bytes: int = RESERVE_BYTES,
        now_ms: Callable[[], int] = _system_ms,
    ) -> None:
        self.path = path
        self._busy_timeout_s = busy_timeout_s
        self._max_pages = max_bytes // PAGE_BYTES
        self._reserve_pages = reserve_bytes // PAGE_BYTES
        self._now_ms = now_ms
        self._reserve = Reserve(path.with_name(path.name + ".reserve"), reserve_bytes)
        self._readers: list[TrackingConnection] = []
        self._readers_lock = threading.Lock()
        self._closed = False
        self._room_is_short = False
        self._lock_file = _lock(path.with_name(path.name + ".lock"))
        try:
            _make_private(path)
            self.migrations_taken = self._migrate(migrations)
            self._reserve.hold()
            self._writer = Writer(
                self._open_writer,
                when_full=self._give_back_reserve,
                tidy=self._hold_reserve,
                record=self._record_incident,
                log_fits=self._log_fits,
                busy_timeout_s=busy_timeout_s,
            )
        except BaseException:
            os.close(self._lock_file)
            raise

    def write(self, change: Callable[[StoreTransaction], T], *, timeout_s: float = 60.0) -> T:
        """Run `change` under its own savepoint in the writer's transaction; return once the commit is on disk.

        Raises what `change` raises (its own writes are undone, nobody else's); StorageFailed when the disk refuses or
        when the change did not start within timeout_s, and then it never happens. A change that has started is waited
        for. ValueError from the writer's own thread: a change must pass its transaction on instead.
        Cost: about one fsync, shared by all callers that wait at the same time.
        """
        return wait_for(self._writer.submit(change), timeout_s)

    async def write_async(self, change: Callable[[StoreTransaction], T], *, timeout_s: float = 60.0) -> T:
        """As `write`, without blocking the event loop.

        When the awaiting task is cancelled, the change is taken back if it has not started; otherwise the
        cancellation is raised once the change has ended, so that nothing happens behind the task's back.
        """
        future = self._writer.submit(change)
        waiting = asyncio.wrap_future(future)
        try:
            return await asyncio.wait_for(asyncio.shield(waiting), timeout_s)
        except TimeoutError:
            if not future.cancel():
                return await waiting
            raise StorageFailed(
                "写入排队超时，已撤回，没有写入任何内容",
                "the write waited too long and was taken back; nothing was written",
                code="STORE_TIMEOUT",
            ) from None
        except asyncio.CancelledError:
            if not future.cancel():
                await asyncio.wait([waiting])
            raise

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A read-only connection on one consistent snapshot; leave soon, statements end with it.

        A snapshot that is held for long keeps the write-ahead log from being emptied. Raises StorageFailed when the
        store is closed or cannot be read.
        """
        connection = self._borrow_reader()
        try:
            connection.execute("BEGIN")
            yield connection
        except sqlite3.Error as error:
            if not is_storage_error(error):
                raise
            raise _not_readable(error) from error
        finally:
            self._return_reader(connection)

    def backup(self, target: Path) -> None:
        """Copy one consistent state of the whole database to a new file (mode 0600) while others go on.

        The vault key is not in it: without that key's own file, what the vault holds stays sealed. Raises
        FileExistsError, and StorageFailed when either disk fails.
        """
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            copy = sqlite3.connect(target)
            try:
                with self.read() as reader:
                    reader.backup(copy)
            finally:
                copy.close()
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def checkpoint(self, *, timeout_s: float = 10.0) -> bool:
        """Empty the write-ahead log, so that what was deleted is in no file; False when a reader prevents it.

        After an erasure the writer does this by itself as soon as it can; call this to be sure.
        """
        return self._writer.checkpoint(timeout_s)

    @property
    def room_is_short(self) -> bool:
        """True from the first write refused for want of room until the reserve is set aside again."""
        return self._room_is_short

    def incidents(self, *, limit: int = 100) -> list[Incident]:
        """The newest writes that the disk refused, newest first."""
        with self.read() as reader:
            rows = reader.execute(
                "SELECT time_ms, code, callers FROM store_incident ORDER BY number DESC LIMIT ?", (limit,)
            )
            return [Incident(*row) for row in rows]

    def tables(self) -> list[TableOverview]:
        """Every table with its rows and columns, by name: for the operator's overview. Cost: counts every row."""
        import sqlite_utils  # only this overview needs it, and it takes 0.1 s to load

        with self.read() as reader:
            overview = sqlite_utils.Database(reader)
            tables = [overview.table(name) for name in overview.table_names() if not name.startswith("sqlite_")]
            return [TableOverview(one.name, one.count, tuple(c.name for c in one.columns)) for one in tables]

    def close(self) -> None:
        """Finish what is queued and let go of the file. A second call does nothing."""
        with self._readers_lock:
            if self._closed:
                return
            self._closed = True
            idle, self._readers = self._readers, []
        for connection in idle:
            connection.close()
        self._writer.close()
        os.close(self._lock_file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- opening

    def _migrate(self, migrations: Sequence[Migration]) -> list[tuple[str, int]]:
        try:
            connection = open_writer(self.path, busy_timeout_s=self._busy_timeout_s, max_pages=self._max_pages)
            try:
                return apply_migrations(connection, [*STORE_MIGRATIONS, *migrations])
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StartRefused(
                f"数据库 {self.path.name} 无法打开或升级：请运维人员检查该文件与磁盘",
                f"the database {self.path.name} cannot be opened or brought up to date: check the file and the disk",
                code="STORE_UNREADABLE",
                details={"sqlite": getattr(error, "sqlite_errorname", "") or type(error).__name__},
            ) from error

    def _open_writer(self) -> TrackingConnection:
        connection = open_writer(self.path, busy_timeout_s=self._busy_timeout_s, max_pages=self._max_pages)
        if self._room_is_short:
            self._live_on_reserve(connection)
        return connection

    # ---- readers

    def _borrow_reader(self) -> TrackingConnection:
        with self._readers_lock:
            if self._closed:
                raise StorageFailed("数据库已关闭", "the store is closed", code="STORE_CLOSED")
            if self._readers:
                return self._readers.pop()
        try:
            return open_reader(self.path, busy_timeout_s=self._busy_timeout_s)
        except sqlite3.Error as error:
            raise _not_readable(error) from error

    def _return_reader(self, connection: TrackingConnection) -> None:
        try:
            connection.end_statements()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            connection.close()
            return
        with self._readers_lock:
            if not self._closed and len(self._readers) < IDLE_READERS:
                self._readers.append(connection)
                return
        connection.close()

    # ---- a full disk (called in the writer's thread)

    def _give_back_reserve(self, connection: TrackingConnection) -> None:
        self._room_is_short = True
        self._reserve.release()
        self._live_on_reserve(connection)

    def _live_on_reserve(self, connection: TrackingConnection) -> None:
        """Let small writes go on in the log alone: moving the log into the file would use up the reserve at once."""
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        if self._max_pages:
            connection.execute(f"PRAGMA max_page_count = {self._max_pages + self._reserve_pages}")

    def _hold_reserve(self, connection: TrackingConnection) -> bool:
        """Set the reserve aside again once there is room; True when nothing is left to do."""
        if not self._room_is_short:
            return self._reserve.hold()
        if self._max_pages and _used_pages(connection) + self._reserve_pages > self._max_pages:
            return False
        if not self._reserve.hold():
            return False
        if self._max_pages:
            connection.execute(f"PRAGMA max_page_count = {self._max_pages}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        self._room_is_short = False
        return True

    def _log_fits(self, connection: TrackingConnection) -> bool:
        """Whether the file may grow to what the log makes of it and half a reserve is still left for refusals."""
        if not self._room_is_short:
            return True
        pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
        growth = pages * PAGE_BYTES - self.path.stat().st_size
        disk = os.statvfs(self.path.parent)
        return growth <= 0 or growth + self._reserve_pages * PAGE_BYTES // 2 <= disk.f_bavail * disk.f_frsize

    def _record_incident(self, connection: TrackingConnection, code: str, callers: int) -> None:
        connection.execute(
            "INSERT INTO store_incident (time_ms, code, callers) VALUES (?, ?, ?)", (self._now_ms(), code, callers)
        )


def _not_readable(error: sqlite3.Error) -> StorageFailed:
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    return StorageFailed(
        f"数据库读取失败（{name}）：请运维人员检查磁盘与文件",
        f"the database cannot be read ({name}): operators must check the disk and the file",
        code="STORE_UNREADABLE",
        details={"sqlite": name},
    )


def _used_pages(connection: TrackingConnection) -> int:
    pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
    free: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    return pages - free


def _lock(path: Path) -> int:
    """The descriptor of an exclusive lock held until it is closed; a second process is refused."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartRefused(
            f"数据文件夹 {path.parent.name} 不可写：请管理员检查权限与磁盘",
            f"the data folder {path.parent.name} cannot be written: check permissions and disk",
            code="STORE_UNREADABLE",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StartRefused(
            "数据库已被另一个节点进程打开：同一机构同时只能运行一个节点",
            "another process has this database open: one institution runs one node at a time",
            code="STORE_IN_USE",
        ) from error
    return descriptor


def _make_private(path: Path) -> None:
    """Make the file with mode 0600 (SQLite gives -wal and -shm the mode of the file), or refuse one open to others."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        for name in (path.name, path.name + "-wal", path.name + "-shm"):
            file = path.with_name(name)
            if file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o077:
                raise StartRefused(
                    f"数据文件 {name} 可被他人读写：请管理员把权限改为仅本账户（0600）",
                    f"the data file {name} is open to others: set its mode to 0600",
                    code="STORE_EXPOSED",
                    details={"file": name},
                ) from None
