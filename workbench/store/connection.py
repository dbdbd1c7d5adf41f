"""How this package opens SQLite: one set of pragmas for the writer and one for readers.

Document: docs/store.md, section "One file". Errors of the disk become StorageFailed here and nowhere else.
"""

from __future__ import annotations

import sqlite3
import weakref
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench.errors import StorageFailed

WAL_LIMIT_BYTES = 64 * 1024 * 1024

# Primary result codes that speak of the disk or the file and not of the statement (sqlite.org/rescode.html).
_STORAGE_CODES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)


class TrackingConnection(sqlite3.Connection):
    """A connection that can end every statement begun through it.

    A cursor that was not read to its end keeps SQLite's read lock, so a forgotten one would pin an old snapshot and
    keep the write-ahead log from being emptied after an erasure.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:  # Any: handed on to sqlite3 as they are
        super().__init__(*arguments, **options)
        self._cursors: weakref.WeakSet[sqlite3.Cursor] = weakref.WeakSet()

    def cursor(self, *arguments: Any, **options: Any) -> Any:  # Any: the signature of sqlite3.Connection
        cursor = super().cursor(*arguments, **options)
        self._cursors.add(cursor)
        return cursor

    # sqlite3 makes the cursors of these two without asking `cursor`.
    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        result: sqlite3.Cursor = self.cursor().execute(sql, parameters)
        return result

    def executemany(self, sql: str, rows: Any, /) -> sqlite3.Cursor:
        result: sqlite3.Cursor = self.cursor().executemany(sql, rows)
        return result

    def end_statements(self) -> None:
        """Close every cursor that is still known; further reads from them fail."""
        for cursor in list(self._cursors):
            cursor.close()
        self._cursors.clear()


def open_writer(path: Path, *, busy_timeout_s: float, max_pages: int) -> TrackingConnection:
    """The connection that writes: autocommit mode, write-ahead log, every commit on disk before it is reported.

    Rows answer by name and by place. max_pages: upper limit of the file in pages, 0 for none. Usable from the opening thread only.
    """
    connection = sqlite3.connect(path, isolation_level=None, timeout=busy_timeout_s, factory=TrackingConnection)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        # Spilled temporary tables would leave plaintext names in files outside the folder.
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
        if max_pages:
            connection.execute(f"PRAGMA max_page_count = {max_pages}")
    except BaseException:
        connection.close()
        raise
    connection.row_factory = sqlite3.Row  # rows by name and by place
    return connection


def open_reader(path: Path, *, busy_timeout_s: float) -> TrackingConnection:
    """A connection that cannot write: opened read-only, and told so once more by `query_only`."""
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    connection = sqlite3.connect(
        address,
        uri=True,
        isolation_level=None,
        timeout=busy_timeout_s,
        check_same_thread=False,  # the pool hands a connection to one thread at a time
        factory=TrackingConnection,
    )
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        connection.close()
        raise
    connection.row_factory = sqlite3.Row  # rows by name and by place
    return connection


def is_storage_error(error: BaseException) -> bool:
    """True when the disk or the file is at fault, not the statement."""
    return isinstance(error, sqlite3.Error) and primary_code(error) in _STORAGE_CODES


def is_room_error(error: BaseException) -> bool:
    """True when the disk or the permitted size is (or may be) used up.

    A full disk shows as an I/O error when SQLite cannot extend its shared-memory file.
    """
    return isinstance(error, sqlite3.Error) and primary_code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def primary_code(error: sqlite3.Error) -> int:
    """The primary result code behind an error of sqlite3; 0 when there is none."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def storage_failed(error: BaseException) -> StorageFailed:
    """What callers get for an error of the disk; `error` is to be named as its cause."""
    code = primary_code(error) if isinstance(error, sqlite3.Error) else 0
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    details = {"sqlite": name}
    if code == sqlite3.SQLITE_FULL:
        return StorageFailed(
            "磁盘或数据库已满，写入被拒绝，没有写入任何内容：请运维人员腾出空间",
            "the disk or the database is full; nothing was written: operators must make room",
            code="STORE_FULL",
            details=details,
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageFailed(
            "数据库被另一个程序占用，写入未执行：请运维人员关闭其他写入程序",
            "another program holds the database; nothing was written: operators must close it",
            code="STORE_BUSY",
            details=details,
        )
    return StorageFailed(
        f"数据库写入失败（{name}），没有写入任何内容：请运维人员检查磁盘",
        f"the database refused a write ({name}); nothing was written: operators must check the disk",
        details=details,
    )
