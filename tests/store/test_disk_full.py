"""A disk without room, for real: docs/store.md, section "A full disk" (decision 5).

Three ways to run out: the limit set for the database, a file system of 8 MiB, and a limit of the operating system on
the size of files, which fails the commit itself with an I/O error.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workbench.contracts import Migration, Transaction
from workbench.errors import StorageFailed
from workbench.store import Database

ROWS = Migration("host", 1, "CREATE TABLE host_row (name TEXT PRIMARY KEY, data BLOB);")
MIB = 1024 * 1024


def insert(name: str, size: int) -> Callable[[Transaction], str]:
    def change(tx: Transaction) -> str:
        tx.execute("INSERT INTO host_row VALUES (?, ?)", (name, secrets.token_bytes(size)))
        return name

    return change


def names(database: Database) -> set[str]:
    with database.read() as reader:
        assert [row[0] for row in reader.execute("PRAGMA integrity_check")] == ["ok"]
        return {name for (name,) in reader.execute("SELECT name FROM host_row")}


def fill(database: Database, size: int) -> tuple[set[str], StorageFailed]:
    """Write rows until the store refuses; what it confirmed, and its refusal."""
    confirmed: set[str] = set()
    for number in range(10_000):
        try:
            confirmed.add(database.write(insert(f"fill-{number}", size)))
        except StorageFailed as failure:
            return confirmed, failure
    raise AssertionError("the disk never got full")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if not made or made.returncode:
        pytest.skip("this account may not mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(params=["limit of the database", "small file system"])
def nearly_full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "small file system":
        path = request.getfixturevalue("small_disk") / "evidence.db"
        path.with_name("blocker").write_bytes(bytes(4 * MIB))
        with Database(path, [ROWS], reserve_bytes=MIB // 2) as database:
            yield database
    else:
        with Database(tmp_path / "evidence.db", [ROWS], max_bytes=2 * MIB, reserve_bytes=MIB // 2) as database:
            yield database


def make_room(database: Database) -> None:
    blocker = database.path.with_name("blocker")
    if blocker.exists():
        blocker.unlink()
    else:
        database.write(lambda tx: tx.execute("DELETE FROM host_row WHERE name LIKE 'fill-%'"))


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    assert condition()


@pytest.mark.parametrize("size", [2500, 40_000, 700_000])
def test_full_disk_is_refused_recorded_and_survived(nearly_full: Database, size: int) -> None:
    database = nearly_full
    confirmed, failure = fill(database, size)
    assert failure.code == "STORE_FULL"
    assert confirmed
    assert names(database) == confirmed
    assert database.room_is_short
    assert [incident.callers for incident in database.incidents()] == [1]
    # Refusals can be recorded, because the reserve was given back; large writes fail again and do no harm.
    for number in range(5):
        confirmed.add(database.write(insert(f"refusal-{number}", 2000)))
        with pytest.raises(StorageFailed):
            database.write(insert("too large", 9 * MIB))
    assert names(database) == confirmed
    make_room(database)
    wait_until(lambda: not database.room_is_short)
    assert database.path.with_name("evidence.db.reserve").stat().st_size == MIB // 2
    database.write(insert("after", 100_000))
    assert {"after", *(f"refusal-{number}" for number in range(5))} <= names(database)


def test_log_that_a_failed_change_blew_up_is_cut_again(small_disk: Path) -> None:
    """Otherwise one change that was too large would leave the disk full for everybody."""
    with Database(small_disk / "evidence.db", [ROWS], reserve_bytes=MIB // 2) as database:
        log = small_disk / "evidence.db-wal"

        def too_large(tx: Transaction) -> None:
            for number in range(100):
                insert(f"part-{number}", 200_000)(tx)

        with pytest.raises(StorageFailed):
            database.write(too_large)
        wait_until(lambda: log.stat().st_size < 100_000 and not database.room_is_short)
        database.write(insert("after", MIB))
        assert names(database) == {"after"}


def test_reserve_does_not_take_the_last_room_by_itself(small_disk: Path) -> None:
    blocker = small_disk / "blocker"
    blocker.write_bytes(bytes(5 * MIB))
    reserve = small_disk / "evidence.db.reserve"
    with Database(small_disk / "evidence.db", [ROWS], reserve_bytes=MIB) as database:
        assert not reserve.exists()
        database.write(insert("small", 100))
        blocker.unlink()
        wait_until(reserve.exists)
        assert reserve.stat().st_size == MIB


def test_told_and_kept_agree_for_everyone_in_a_group_that_meets_a_full_disk(nearly_full: Database) -> None:
    """SQLite undoes the whole transaction when room ends: those who had succeeded before must hear of it too."""
    database, chance = nearly_full, random.Random(1)
    told: dict[str, bool] = {}

    def work(thread: int) -> None:
        for number in range(25):
            name = f"{thread}-{number}"
            try:
                database.write(insert(name, chance.choice([10, 200, 60_000, 400_000])))
                told[name] = True
            except StorageFailed:
                told[name] = False

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(told) == 150
    assert set(told.values()) == {True, False}
    assert names(database) == {name for name, kept in told.items() if kept}


def test_change_that_swallows_the_error_cannot_go_on_in_a_lost_transaction(nearly_full: Database) -> None:
    """Without its transaction every further statement would commit by itself, half of a change at a time."""

    def stubborn(tx: Transaction) -> None:
        tx.execute("INSERT INTO host_row VALUES ('first', x'')")
        for size in (9 * MIB, 10):
            with contextlib.suppress(Exception):  # what a careless change does
                tx.execute("INSERT INTO host_row VALUES (?, ?)", (f"size {size}", bytes(size)))

    try:
        nearly_full.write(stubborn)
    except StorageFailed:
        assert names(nearly_full) == set()
    else:
        assert names(nearly_full) == {"first", "size 10"}


COMMIT_FAILS = """
import json, resource, signal, sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_disk_full import ROWS, insert, names
from workbench.errors import StorageFailed
from workbench.store import Database

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
database = Database(Path(sys.argv[1]), [ROWS], reserve_bytes=0)
database.write(insert("before", 100))
wal = Path(sys.argv[1] + "-wal").stat().st_size
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
told = {}
gate = threading.Event()
def work(name):
    try:
        database.write(insert(name, 30_000))
        told[name] = ""
    except StorageFailed as failure:
        told[name] = failure.code
holding = threading.Thread(target=lambda: database.write(lambda tx: gate.wait(20) and None))
holding.start()
threads = [threading.Thread(target=work, args=(f"n{i}",)) for i in range(6)]
resource.setrlimit(resource.RLIMIT_FSIZE, (wal + 60_000, most))
for one in threads: one.start()
gate.set()
for one in [holding, *threads]: one.join()
kept_while_limited = sorted(names(database))
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
database.write(insert("after", 100_000))
print(json.dumps({"told": told, "kept": kept_while_limited, "after": sorted(names(database)),
                  "incidents": [i.code for i in database.incidents()]}))
database.close()
"""


def test_commit_that_fails_is_told_to_everyone_in_the_group(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", COMMIT_FAILS, str(tmp_path / "evidence.db"), str(Path(__file__).parent)],
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert result.returncode == 0, result.stderr.decode()
    seen = json.loads(result.stdout)
    confirmed = {name for name, code in seen["told"].items() if not code}
    assert len(seen["told"]) == 6
    assert "STORAGE_FAILED" in seen["told"].values()
    assert set(seen["kept"]) == confirmed | {"before"}
    assert set(seen["after"]) == confirmed | {"before", "after"}
