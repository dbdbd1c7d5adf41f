"""The one writer of a database: a thread that runs callers' changes in groups and commits each group once.

Document: docs/store.md, section "Group commit". Promises: a change is on disk when its caller gets its result; a change
that raises undoes itself alone; when the commit of a group fails, everyone in the group is told and nothing is kept; a
call that was given up before it started never happens; the thread survives all of this.
"""

from __future__ import annotations

import logging
import re
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

from workbench.errors import StorageFailed
from workbench.store.connection import TrackingConnection, is_room_error, is_storage_error, primary_code, storage_failed

T = TypeVar("T")

GROUP_CALLS = 512
GROUP_TIME_S = 0.01
"""A group takes in latecomers for this long at most, so that nobody waits for a stream of others."""

TIDY_INTERVAL_S = 1.0
"""How often an emptied log or a new reserve is tried again after it did not succeed."""

_log = logging.getLogger(__name__)
_FIRST_WORD = re.compile(r"(?:\s+|--[^\n]*\n|/\*.*?\*/)*([A-Za-z]+)", re.DOTALL)
_ALLOWED_WORDS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "VALUES"})
_DELETES = re.compile(r"\bDELETE\s+FROM\b", re.IGNORECASE)
_OR_ROLLBACK = re.compile(r"\bOR\s+ROLLBACK\b", re.IGNORECASE)


class StoreTransaction:
    """The write side inside one savepoint. Fulfils workbench.contracts.Transaction.

    It serves its own change only: afterwards every call raises ValueError. Statements that would end or leave the
    group's transaction (COMMIT, ROLLBACK, SAVEPOINT, ATTACH, PRAGMA, and everything that changes the schema) are
    refused with ValueError.
    """

    __slots__ = ("_after_commit", "_after_rollback", "_connection", "_erased", "_lost", "_open")

    def __init__(self, connection: TrackingConnection) -> None:
        self._connection = connection
        self._open = True
        self._lost: sqlite3.Error | None = None
        self._erased = False
        self._after_commit: list[Callable[[], None]] = []
        self._after_rollback: list[Callable[[], None]] = []

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> sqlite3.Cursor:
        """Run one statement; parameters as in sqlite3."""
        self._check(sql)
        try:
            return self._connection.execute(sql, parameters)
        except sqlite3.Error as error:
            self._lost = None if self._connection.in_transaction else error
            raise

    def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor:  # Any: whatever sqlite3 takes as rows
        """Run one statement for every row of an iterable."""
        self._check(sql)
        try:
            return self._connection.executemany(sql, rows)
        except sqlite3.Error as error:
            self._lost = None if self._connection.in_transaction else error
            raise

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run `action` in the writer's thread once the change is on disk, before its caller gets the result.

        It must be quick and must not raise; what it raises is logged and goes nowhere.
        """
        self._check_open()
        self._after_commit.append(action)

    def after_rollback(self, action: Callable[[], None]) -> None:
        """Run `action` in the writer's thread when the change is undone, before any later change runs."""
        self._check_open()
        self._after_rollback.append(action)

    def mark_erased(self) -> None:
        """After this commit, empty the write-ahead log: it still holds what the change overwrote.

        A change that deletes rows is marked by itself; this is for one that overwrites them.
        """
        self._check_open()
        self._erased = True

    def _check_open(self) -> None:
        if not self._open:
            raise ValueError("this transaction has ended; a change keeps nothing of it")
        if self._lost is not None:
            raise storage_failed(self._lost) from self._lost

    def _check(self, sql: str) -> None:
        self._check_open()
        works_on_rows, deletes = _classify(sql)
        if not works_on_rows:
            raise ValueError("a change reads and writes rows; it neither ends the transaction nor changes the schema")
        self._erased |= deletes


@dataclass(slots=True, eq=False)
class _Call:
    """One caller's change, its future, and what became of it. `alone`: runs outside any transaction."""

    change: Callable[[StoreTransaction], Any]
    future: Future[Any] = field(default_factory=Future)
    alone: Callable[[TrackingConnection], Any] | None = None
    transaction: StoreTransaction | None = None
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Owns the writing connection and its thread.

    connect: opens the connection, called in the writer's thread. when_full: called when a write failed for want of
    room, to give back the reserve; tidy: called now and then when idle, returns False while it wants to be called
    again; record: writes the row about a failed group, given the connection, the code and the number of callers;
    log_fits: whether the write-ahead log may be moved into the file without using up the disk.
    """

    def __init__(
        self,
        connect: Callable[[], TrackingConnection],
        *,
        when_full: Callable[[TrackingConnection], None],
        tidy: Callable[[TrackingConnection], bool],
        record: Callable[[TrackingConnection, str, int], None],
        log_fits: Callable[[TrackingConnection], bool],
        busy_timeout_s: float,
    ) -> None:
        self._busy_timeout_ms = int(busy_timeout_s * 1000)
        self._connect, self._when_full, self._tidy, self._record, self._log_fits = (
            connect,
            when_full,
            tidy,
            record,
            log_fits,
        )
        self._queue: deque[_Call] = deque()
        self._taken: list[_Call] = []  # what the thread has in hand; every one of them gets an outcome
        self._wakeup = threading.Condition()
        self._closing = False
        self._log_is_due = False
        self._tidy_wanted = True
        self._next_tidy_s = 0.0
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="store-writer", daemon=True)
        self._thread.start()
        started.result()

    def submit(self, change: Callable[[StoreTransaction], T]) -> Future[T]:
        """Queue a change. The future's `cancel` succeeds until the change starts, and then never happens."""
        if threading.current_thread() is self._thread:
            raise ValueError("a change must not call write: it is already inside the writer; pass its transaction on")
        return self._put(_Call(change))

    def checkpoint(self, timeout_s: float) -> bool:
        """Move the write-ahead log into the file and cut it to nothing; False when readers prevented it so far."""
        until = time.monotonic() + timeout_s
        while True:
            if self._put(_Call(_nothing, alone=self._empty_log)).result():
                return True
            if time.monotonic() >= until:
                return False
            time.sleep(0.01)

    def close(self) -> None:
        """Finish what is queued, empty the log and end the thread. Later calls raise StorageFailed."""
        with self._wakeup:
            self._closing = True
            self._wakeup.notify()
        self._thread.join()

    # ---- the queue

    def _put(self, call: _Call) -> Future[Any]:
        with self._wakeup:
            if self._closing:
                raise _closed()
            self._queue.append(call)
            self._wakeup.notify()
        return call.future

    def _wait(self) -> list[_Call] | None:
        """The next group, [] when it is time to tidy, None when closed and empty."""
        with self._wakeup:
            while not self._queue:
                if self._closing:
                    return None
                pause = max(0.0, self._next_tidy_s - time.monotonic()) if self._must_tidy() else None
                if not self._wakeup.wait(pause) and not self._queue:
                    return []
            return self._take(GROUP_CALLS)

    def _take(self, limit: int) -> list[_Call]:
        """Calls from the head of the queue; one that runs alone comes alone. The condition is held by the caller."""
        calls: list[_Call] = []
        while self._queue and len(calls) < limit:
            if calls and self._queue[0].alone is not None:
                break
            calls.append(self._queue.popleft())
            if calls[0].alone is not None:
                break
        self._taken += calls
        return calls

    # ---- the thread

    def _run(self, started: Future[None]) -> None:
        try:
            self._connection = self._connect()
        except BaseException as error:  # noqa: BLE001 - handed to the opening thread
            started.set_exception(error)
            return
        started.set_result(None)
        try:
            self._serve_until_closed()
        finally:  # whatever ended it, nobody waits for a thread that is gone
            with self._wakeup:
                self._closing = True
                left, self._queue = [*self._taken, *self._queue], deque()
            for call in left:
                if not call.future.done():
                    call.future.set_exception(_closed())
            self._connection.close()

    def _serve_until_closed(self) -> None:
        while (calls := self._wait()) is not None:
            try:
                self._serve(calls)
            except BaseException as error:  # noqa: BLE001 - a fault of ours must not leave callers waiting
                _log.exception("the writer failed outside a change")
                self._undo(self._taken, error)
            self._taken.clear()
            self._tidy_up()
        self._empty_log(self._connection)

    def _serve(self, calls: list[_Call]) -> None:
        if calls and calls[0].alone is not None:
            _settle(calls[0], lambda: calls[0].alone(self._connection) if calls[0].alone else None)
        elif calls:
            self._run_group(calls)

    def _run_group(self, calls: list[_Call]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            self._undo([call for call in calls if call.future.set_running_or_notify_cancel()], error)
            return
        ran: list[_Call] = []
        until = time.monotonic() + GROUP_TIME_S
        while calls:
            for position, call in enumerate(calls):
                if not call.future.set_running_or_notify_cancel():
                    continue
                ran.append(call)
                self._run_call(call)
                if not self._connection.in_transaction:  # SQLite undid the whole group, as it may when the disk is full
                    with self._wakeup:
                        self._queue.extendleft(reversed(calls[position + 1 :]))
                    lost = call.transaction._lost if call.transaction else None
                    self._undo(ran, lost or call.error or sqlite3.OperationalError("rolled back by a statement"))
                    return
            calls = self._latecomers(GROUP_CALLS - len(ran), until)
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo(ran, error)
            return
        self._deliver(ran)

    def _latecomers(self, limit: int, until: float) -> list[_Call]:
        if limit <= 0 or time.monotonic() >= until:
            return []
        with self._wakeup:
            if self._queue and self._queue[0].alone is not None:
                return []
            return self._take(limit)

    def _run_call(self, call: _Call) -> None:
        """Run one change under its savepoint and note what became of it; never raises."""
        connection = self._connection
        call.transaction = transaction = StoreTransaction(connection)
        try:
            connection.execute("SAVEPOINT change")
            call.result = call.change(transaction)
            if transaction._lost is not None:
                raise transaction._lost  # the change went on as if nothing had happened
            transaction._open = False
            connection.end_statements()
            connection.execute("RELEASE change")
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            call.error, call.result = error, None
            transaction._open = False
            connection.end_statements()
            if connection.in_transaction:
                self._roll_back_change()
            _run_actions(transaction._after_rollback)

    def _roll_back_change(self) -> None:
        try:
            self._connection.execute("ROLLBACK TO change")
            self._connection.execute("RELEASE change")
        except sqlite3.Error:  # not even that: undo the group, which the caller notices by in_transaction
            self._roll_back_all()

    def _deliver(self, ran: list[_Call]) -> None:
        for call in ran:
            if call.error is None and call.transaction is not None:
                self._log_is_due |= call.transaction._erased
                _run_actions(call.transaction._after_commit)
        for call in ran:
            if call.error is None:
                call.future.set_result(call.result)
            elif is_storage_error(call.error):
                failure = self._incident(call.error, 1)
                call.future.set_exception(failure)
            else:
                call.future.set_exception(call.error)

    def _undo(self, ran: list[_Call], error: BaseException) -> None:
        """Tell everyone in a group that nothing of it was kept."""
        self._roll_back_all()
        for call in reversed(ran):
            if call.error is None and call.transaction is not None:
                _run_actions(call.transaction._after_rollback)
        self._incident(error, len(ran))
        for call in ran:
            if call.future.done():
                continue
            if call.error is None or call.error is error or is_storage_error(call.error):
                call.future.set_exception(_caused(storage_failed(error), error))
            else:
                call.future.set_exception(call.error)

    def _roll_back_all(self) -> None:
        """Leave no transaction open, with a new connection if need be."""
        try:
            self._connection.end_statements()
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._reconnect()

    def _reconnect(self) -> None:
        """Start over with a new connection; if that fails too, the next group fails at once and tries again."""
        try:
            self._connection.close()
            self._connection = self._connect()
        except sqlite3.Error as error:
            _log.error("the database cannot be opened again: %s", type(error).__name__)

    def _incident(self, error: BaseException, callers: int) -> StorageFailed:
        """Give back the reserve if room is short and write a row about the failure; what the callers get.

        The frames of that row also take the place of those a failed commit left in the log, so that a crash right
        after it cannot bring back what callers were told did not happen.
        """
        failure = _caused(storage_failed(error), error)
        # A failed change may have left a long log behind; emptying it gives the room back.
        self._tidy_wanted = self._log_is_due = True
        if isinstance(error, sqlite3.Error) and primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return failure  # nothing was begun, and the row would only wait for the same lock
        try:
            if is_room_error(error):
                self._when_full(self._connection)
            self._record(self._connection, failure.code, callers)
        except (sqlite3.Error, OSError) as second:
            self._roll_back_all()
            _log.error("%s; it could not be recorded either: %s", failure.en, type(second).__name__)
        return failure

    # ---- between groups

    def _must_tidy(self) -> bool:
        return self._tidy_wanted or self._log_is_due

    def _tidy_up(self) -> None:
        if not self._must_tidy() or time.monotonic() < self._next_tidy_s:
            return
        self._next_tidy_s = time.monotonic() + TIDY_INTERVAL_S
        try:
            if self._log_is_due:
                self._log_is_due = not self._empty_log(self._connection)
            self._tidy_wanted = not self._tidy(self._connection)
        except (sqlite3.Error, OSError) as error:
            _log.warning("tidying the database failed: %s", type(error).__name__)

    def _empty_log(self, connection: TrackingConnection) -> bool:
        """True when the write-ahead log was cut to nothing; False when a reader needs it or the disk has no room."""
        if not self._log_fits(connection):
            return False
        connection.execute("PRAGMA busy_timeout = 0")  # others wait in the queue meanwhile; rather come back
        try:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error:
            return False
        finally:
            connection.execute(f"PRAGMA busy_timeout = {self._busy_timeout_ms}")
        return not busy


def wait_for(future: Future[T], timeout_s: float) -> T:
    """The outcome of a submitted change.

    A change that did not start in time is taken back and StorageFailed says so; one that has started is waited for,
    because it may no longer be taken back and must not happen behind the caller's back.
    """
    try:
        return future.result(timeout_s)
    except TimeoutError:
        # The change itself may have raised TimeoutError, so look at the future and not at the exception.
        if future.done() or not future.cancel():
            return future.result()
    except CancelledError:
        pass
    except BaseException:
        future.cancel()  # an interrupted wait; no effect when the exception came from the change
        raise
    raise StorageFailed(
        "写入排队超时，已撤回，没有写入任何内容：请稍后重试或请运维人员检查磁盘",
        "the write waited too long and was taken back; nothing was written: try later or have operators check the disk",
        code="STORE_TIMEOUT",
    )


@lru_cache(maxsize=4096)
def _classify(sql: str) -> tuple[bool, bool]:
    """Whether a statement may run inside a change, and whether it deletes rows.

    Callers use a fixed set of texts, so the answers are kept.
    """
    word = _FIRST_WORD.match(sql)
    works_on_rows = word is not None and word.group(1).upper() in _ALLOWED_WORDS and not _OR_ROLLBACK.search(sql)
    return works_on_rows, _DELETES.search(sql) is not None


def _settle(call: _Call, action: Callable[[], Any]) -> None:
    if not call.future.set_running_or_notify_cancel():
        return
    try:
        call.future.set_result(action())
    except sqlite3.Error as error:
        call.future.set_exception(_caused(storage_failed(error), error))
    except BaseException as error:  # noqa: BLE001 - handed to the caller
        call.future.set_exception(error)


def _run_actions(actions: Sequence[Callable[[], None]]) -> None:
    for action in actions:
        try:
            action()
        except Exception:  # noqa: BLE001 - the change is already kept or undone
            _log.exception("an action after a change failed")


def _caused(failure: StorageFailed, error: BaseException) -> StorageFailed:
    failure.__cause__ = error
    return failure


def _closed() -> StorageFailed:
    return StorageFailed("数据库已关闭，写入未执行", "the store is closed; nothing was written", code="STORE_CLOSED")


def _nothing(_: StoreTransaction) -> None:
    return None
