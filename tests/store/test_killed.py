"""Kill -9 while the store writes: what was confirmed is there, what was not is there wholly or not at all.

A killed process shows what the program leaves behind, not what a disk without power does: docs/store.md, section
"What is not promised".
"""

from __future__ import annotations

import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from killed_child import MIGRATIONS, make_log

from workbench.errors import NotFound
from workbench.store import Database, Outbox, Vault

KILLS = 22


def run_and_kill(path: Path, run: int, delay_s: float) -> list[list[str]]:
    """Start a child, kill it some time after its first word; the complete lines it told, split."""
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("killed_child.py")), str(path), str(run)],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    try:
        ready, _, _ = select.select([child.stdout], [], [], 60)
        assert ready, "the child has told nothing"
        time.sleep(delay_s)
    finally:
        child.send_signal(signal.SIGKILL)
    output = child.stdout.read()
    child.stdout.close()
    assert child.wait(60) == -signal.SIGKILL
    return [line.split() for line in output.decode().split("\n")[:-1]]


@pytest.mark.timeout(240)
def test_every_confirmed_write_survives_kill_nine(tmp_path: Path) -> None:
    path, chance = tmp_path / "evidence.db", random.Random(20260101)
    rows: set[str] = set()
    done: set[int] = set()
    for run in range(KILLS):
        told = run_and_kill(path, run, chance.uniform(0, 0.12))
        rows |= {name for what, name in told if what == "row"}
        done |= {int(number) for what, number in told if what == "done"}
        objects = [int(number) for what, number in told if what == "object"]
        check(path, rows, done, objects)
    assert len(rows) > KILLS
    assert done


def check(path: Path, rows: set[str], done: set[int], objects: list[int]) -> None:
    with Database(path, MIGRATIONS) as database:
        vault = Vault(database, bytes(range(32)))
        log, outbox = make_log(database, vault), Outbox(database, now_ms=lambda: 1000)
        with database.read() as reader:
            assert [row[0] for row in reader.execute("PRAGMA integrity_check")] == ["ok"]
            found = {name for (name,) in reader.execute("SELECT name FROM host_row")}
            jobs = [job for (job,) in reader.execute("SELECT job FROM evidence_index ORDER BY entry_idx")]
            messages = reader.execute("SELECT count(*) FROM outbox").fetchone()[0]
            drafts = reader.execute(
                "SELECT count(*) FROM vault_chunk WHERE object NOT IN (SELECT object FROM vault_object)"
            ).fetchone()[0]
            try:
                stored = vault.get(reader, "object")
            except NotFound:
                stored = b""
        assert rows <= found
        assert set(jobs) == found
        assert len(jobs) == len(found) == messages == log._ledger.size(log._party)
        assert not done & {message.id for message in outbox.due(10**15, limit=10**6)}
        assert list(log.check_openings()) == []
        assert drafts == 0
        if objects and stored:
            number = stored[: len(stored) // 5000]
            assert stored == number * 5000
            assert int(number) >= objects[-1]
