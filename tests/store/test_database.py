"""One file, one writer, many readers: docs/store.md, sections "One file" and "Group commit"."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from workbench.contracts import Migration, Transaction
from workbench.errors import Refused, StartRefused, StorageFailed
from workbench.store import Database
from workbench.store.writer import _Call

ROWS = Migration("host", 1, "CREATE TABLE host_row (name TEXT PRIMARY KEY, data BLOB);")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "evidence.db", [ROWS], busy_timeout_s=0.2) as opened:
        yield opened


def insert(name: str) -> Callable[[Transaction], str]:
    def change(tx: Transaction) -> str:
        tx.execute("INSERT INTO host_row VALUES (?, x'')", (name,))
        return name

    return change


def names(database: Database) -> set[str]:
    with database.read() as reader:
        return {name for (name,) in reader.execute("SELECT name FROM host_row")}


@contextmanager
def held_writer(database: Database) -> Iterator[None]:
    """Keep the writer busy in a change of its own, so that what is submitted meanwhile queues up."""
    entered, leave = threading.Event(), threading.Event()

    def change(_: Transaction) -> None:
        entered.set()
        leave.wait(60)

    thread = threading.Thread(target=lambda: database.write(change))
    thread.start()
    assert entered.wait(60)
    try:
        yield
    finally:
        leave.set()
        thread.join(60)


def until(claim: Callable[[], object]) -> None:
    """Return once it is so."""
    limit = time.monotonic() + 60
    while not claim():
        assert time.monotonic() < limit, "it never came true"
        time.sleep(0.002)


def queued(database: Database) -> int:
    """How many calls wait for the writer."""
    return len(database._writer._queue)


def in_threads(*actions: Callable[[], object]) -> tuple[list[threading.Thread], list[object]]:
    """Start each action in a thread, in order; outcomes are results or exceptions, by position."""
    outcomes: list[object] = [None] * len(actions)

    def run(position: int, action: Callable[[], object]) -> None:
        try:
            outcomes[position] = action()
        except Exception as error:  # noqa: BLE001 - the outcome is looked at by the test
            outcomes[position] = error

    threads = [threading.Thread(target=run, args=(i, action)) for i, action in enumerate(actions)]
    for thread in threads:
        thread.start()
        time.sleep(0.002)  # so that they queue in this order
    return threads, outcomes


def test_result_comes_back_and_readers_see_the_change(database: Database) -> None:
    assert database.write(insert("a")) == "a"
    assert names(database) == {"a"}


def test_a_change_that_raises_undoes_itself_alone(database: Database) -> None:
    def spoiled(name: str) -> Callable[[Transaction], None]:
        def change(tx: Transaction) -> None:
            insert(name)(tx)
            raise Refused("不行", "no", code=f"NO_{name}")

        return change

    seen: list[set[str]] = []

    def last(tx: Transaction) -> None:
        seen.append(names(database))  # a reader beside the group still sees nothing of it: they share one commit
        insert("last")(tx)

    actions = [lambda i=i: database.write((spoiled if i % 2 else insert)(str(i))) for i in range(20)]
    with held_writer(database):
        threads, outcomes = in_threads(*actions)
        until(lambda: queued(database) == 20)
        [newest], _ = in_threads(lambda: database.write(last))
        until(lambda: queued(database) == 21)
        threads.append(newest)
    for thread in threads:
        thread.join(60)
    assert [o.code for o in outcomes[1:20:2] if isinstance(o, Refused)] == [f"NO_{i}" for i in range(1, 20, 2)]
    assert outcomes[0:20:2] == [str(i) for i in range(0, 20, 2)]
    assert seen == [set()]
    assert names(database) == {str(i) for i in range(0, 20, 2)} | {"last"}


def test_constraint_violation_reaches_its_caller_as_it_is(database: Database) -> None:
    database.write(insert("a"))
    with pytest.raises(sqlite3.IntegrityError):
        database.write(insert("a"))


def test_write_inside_a_change_is_a_mistake_that_is_named(database: Database) -> None:
    with pytest.raises(ValueError, match="already inside the writer"):
        database.write(lambda tx: database.write(insert("nested")))
    assert names(database) == set()


@pytest.mark.parametrize(
    "sql",
    [
        "COMMIT",
        "commit;",
        " /* x */ ROLLBACK",
        "-- c\nEND",
        "SAVEPOINT other",
        "RELEASE change",
        "ROLLBACK TO change",
        "BEGIN",
        "PRAGMA synchronous = OFF",
        "ATTACH ':memory:' AS other",
        "VACUUM",
        "CREATE TABLE x (y)",
        "DROP TABLE host_row",
        "INSERT OR ROLLBACK INTO host_row VALUES ('a', x'')",
        "",
    ],
)
def test_a_change_cannot_end_or_leave_the_transaction(database: Database, sql: str) -> None:
    for run in (lambda tx: tx.execute(sql), lambda tx: tx.executemany(sql, [])):
        with pytest.raises(ValueError, match="a change reads and writes rows"):
            database.write(run)
    assert database.write(insert("still works")) == "still works"


def test_transaction_is_of_no_use_after_its_change(database: Database) -> None:
    kept: list[Transaction] = []
    database.write(kept.append)
    with pytest.raises(ValueError, match="has ended"):
        kept[0].execute("SELECT 1")

    def use_the_old_one(_: Transaction) -> None:
        kept[0].execute("INSERT INTO host_row VALUES ('smuggled', x'')")

    with pytest.raises(ValueError, match="has ended"):
        database.write(use_the_old_one)
    assert names(database) == set()


def test_transaction_of_a_failed_change_is_of_no_use_either(database: Database) -> None:
    kept: list[Transaction] = []

    def change(tx: Transaction) -> None:
        kept.append(tx)
        raise Refused("不行", "no")

    with pytest.raises(Refused):
        database.write(change)
    with pytest.raises(ValueError, match="has ended"):
        database.write(lambda _: kept[0].execute("SELECT 1"))


def test_cursor_does_not_outlive_its_change_or_its_snapshot(database: Database) -> None:
    """A cursor left half read would keep the log from being emptied after an erasure."""
    for name in "abc":
        database.write(insert(name))
    left = database.write(lambda tx: tx.execute("SELECT name FROM host_row"))
    with pytest.raises(sqlite3.ProgrammingError):
        left.fetchone()
    with database.read() as reader:
        cursor = reader.execute("SELECT name FROM host_row")
        assert cursor.fetchone()
    with pytest.raises(sqlite3.ProgrammingError):
        cursor.fetchone()
    assert database.checkpoint(timeout_s=5)


def test_call_that_timed_out_never_happens(database: Database) -> None:
    with held_writer(database), pytest.raises(StorageFailed) as caught:
        database.write(insert("late"), timeout_s=0.05)
    assert caught.value.code == "STORE_TIMEOUT"
    database.write(insert("after"))
    assert names(database) == {"after"}


def test_change_that_has_started_is_waited_for(database: Database) -> None:
    def slow(tx: Transaction) -> str:
        time.sleep(0.3)
        return insert("slow")(tx)

    assert database.write(slow, timeout_s=0.05) == "slow"
    assert names(database) == {"slow"}


def test_timeout_raised_by_the_change_itself_is_delivered(database: Database) -> None:
    def change(tx: Transaction) -> None:
        insert("a")(tx)
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        database.write(change)
    assert names(database) == set()


def test_async_write_gives_its_result_and_times_out_without_happening(database: Database) -> None:
    async def both() -> str:
        with held_writer(database), pytest.raises(StorageFailed):
            await database.write_async(insert("late"), timeout_s=0.05)
        return await database.write_async(insert("async"))

    assert asyncio.run(both()) == "async"
    assert names(database) == {"async"}


def test_cancelled_async_write_has_happened_or_never_will(database: Database) -> None:
    async def cancelled_before_start() -> None:
        with held_writer(database):
            task = asyncio.create_task(database.write_async(insert("before")))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    async def cancelled_while_running() -> set[str]:
        started = threading.Event()

        def slow(tx: Transaction) -> None:
            started.set()
            time.sleep(0.2)
            insert("running")(tx)

        task = asyncio.create_task(database.write_async(slow))
        await asyncio.to_thread(started.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return names(database)

    asyncio.run(cancelled_before_start())
    database.write(insert("after"))
    assert names(database) == {"after"}
    assert asyncio.run(cancelled_while_running()) == {"after", "running"}


def test_actions_after_a_change_run_before_its_caller_goes_on(database: Database) -> None:
    told: list[str] = []

    def kept(tx: Transaction) -> None:
        tx.after_commit(lambda: told.append("kept"))  # type: ignore[attr-defined]
        tx.after_rollback(lambda: told.append("wrong"))  # type: ignore[attr-defined]

    def undone(tx: Transaction) -> None:
        tx.after_commit(lambda: told.append("wrong"))  # type: ignore[attr-defined]
        tx.after_rollback(lambda: told.append("undone"))  # type: ignore[attr-defined]
        raise Refused("不行", "no")

    database.write(kept)
    assert told == ["kept"]
    with pytest.raises(Refused):
        database.write(undone)
    assert told == ["kept", "undone"]


def test_deleted_rows_leave_the_log_by_themselves(database: Database) -> None:
    """Plugins delete personal data with plain statements; what they deleted must not linger in the log."""
    database.write(lambda tx: tx.execute("INSERT INTO host_row VALUES ('a', x'00')"))
    database.write(lambda tx: tx.execute("UPDATE host_row SET data = CAST('CANARY-4711' AS BLOB)"))
    files = list(database.path.parent.iterdir())
    assert any(b"CANARY-4711" in file.read_bytes() for file in files)
    database.write(lambda tx: tx.execute("DELETE FROM host_row WHERE name = 'a'"))
    limit = time.monotonic() + 60
    while any(b"CANARY-4711" in file.read_bytes() for file in files) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not any(b"CANARY-4711" in file.read_bytes() for file in files)


def test_fault_of_the_writer_itself_reaches_the_callers_and_ends_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller that waits for ever would be worse than any error."""

    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patch:
        patch.setattr(database._writer, "_deliver", broken)
        with pytest.raises(StorageFailed):
            database.write(insert("a"), timeout_s=20)
    database.write(insert("b"))
    assert "b" in names(database)


def test_reader_keeps_its_snapshot_and_cannot_write(database: Database) -> None:
    database.write(insert("before"))
    with database.read() as reader:
        first = reader.execute("SELECT count(*) FROM host_row").fetchone()[0]
        database.write(insert("meanwhile"))
        assert reader.execute("SELECT count(*) FROM host_row").fetchone()[0] == first == 1
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("INSERT INTO host_row VALUES ('reader', x'')")
        with pytest.raises(sqlite3.OperationalError):
            reader.execute("PRAGMA query_only = OFF").connection.execute("DELETE FROM host_row")
    assert names(database) == {"before", "meanwhile"}


def test_many_threads_lose_and_double_nothing(database: Database) -> None:
    def work(thread: int) -> Callable[[], None]:
        def run() -> None:
            for number in range(100):
                database.write(insert(f"{thread}-{number}"))
                assert f"{thread}-{number}" in names(database)

        return run

    threads, outcomes = in_threads(*(work(i) for i in range(6)))
    for thread in threads:
        thread.join(60)
    assert outcomes == [None] * 6
    assert names(database) == {f"{i}-{n}" for i in range(6) for n in range(100)}


def test_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        with Database(tmp_path / "evidence.db", [ROWS]) as opened:
            opened.write(insert("a"))
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    finally:
        os.umask(previous)
    assert set(modes) == {f"evidence.db{end}" for end in ("", "-wal", "-shm", ".lock", ".reserve")}
    assert set(modes.values()) == {0o600}


def test_file_open_to_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evidence.db"
    Database(path).close()
    path.chmod(0o640)
    with pytest.raises(StartRefused) as caught:
        Database(path)
    assert caught.value.code == "STORE_EXPOSED"


def test_second_writer_is_refused_and_the_first_goes_on(database: Database) -> None:
    with pytest.raises(StartRefused) as caught:
        Database(database.path, [ROWS])
    assert caught.value.code == "STORE_IN_USE"
    database.write(insert("a"))
    database.close()
    with Database(database.path, [ROWS]) as again:
        assert names(again) == {"a"}


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evidence.db"
    path.write_bytes(b"not a database" * 1000)
    path.chmod(0o600)
    with pytest.raises(StartRefused) as caught:
        Database(path)
    assert caught.value.code == "STORE_UNREADABLE"
    path.unlink()
    Database(path).close()


def test_program_outside_that_locks_the_file_fails_writes_but_not_the_writer(database: Database) -> None:
    outside = sqlite3.connect(database.path, isolation_level=None)
    outside.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageFailed) as caught:
        database.write(insert("blocked"))
    assert caught.value.code == "STORE_BUSY"
    outside.execute("ROLLBACK")
    outside.close()
    database.write(insert("free"))
    assert names(database) == {"free"}


def test_close_finishes_what_is_queued_and_refuses_the_rest(database: Database) -> None:
    with held_writer(database):
        threads, outcomes = in_threads(*(lambda i=i: database.write(insert(str(i))) for i in range(5)))
        until(lambda: queued(database) == 5)
        closing = threading.Thread(target=database.close)
        closing.start()
        until(lambda: database._writer._closing)
        with pytest.raises(StorageFailed) as caught:
            database.write(insert("late"))
    for thread in [*threads, closing]:
        thread.join(60)
    assert caught.value.code == "STORE_CLOSED"
    assert outcomes == [str(i) for i in range(5)]
    with pytest.raises(StorageFailed), database.read():
        pass
    with Database(database.path, [ROWS]) as again:
        assert names(again) == {str(i) for i in range(5)}


def test_every_commit_is_forced_to_disk_and_deletions_are_overwritten(database: Database) -> None:
    """These settings carry the promises of the store; a connection that lost one would still work."""
    settings = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}

    def ask(connection: sqlite3.Connection) -> dict[str, object]:
        return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in settings}

    # A change cannot ask for pragmas, so the test goes to the writer itself.
    call = _Call(lambda _: None, alone=ask)
    assert database._writer._put(call).result(10) == settings


def test_backup_is_one_consistent_state_while_others_write(database: Database, tmp_path: Path) -> None:
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            database.write(insert(f"a{number}"))
            number += 1

    thread = threading.Thread(target=work)
    thread.start()
    target = tmp_path / "copy" / "evidence.db"
    target.parent.mkdir()
    database.write(insert("first"))
    database.backup(target)
    stop.set()
    thread.join(60)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with Database(target, [ROWS]) as copy:
        kept = names(copy)
    numbers = sorted(int(name[1:]) for name in kept - {"first"})
    assert "first" in kept
    assert numbers == list(range(len(numbers)))
    with pytest.raises(FileExistsError):
        database.backup(target)


def test_overview_names_tables_and_counts_rows(database: Database) -> None:
    database.write(insert("a"))
    overview = {table.name: table for table in database.tables()}
    assert overview["host_row"].rows == 1
    assert overview["host_row"].columns == ("name", "data")
