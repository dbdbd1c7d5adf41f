"""kill -9 of a process that has all three logs at once: nothing acknowledged is lost, nothing is forked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.ledger.world import BANK, BROKER, CARDNET, PARTIES, World


def test_killed_nodes_come_back_whole(tmp_path: Path) -> None:
    kill_and_check(tmp_path / "world", kills=3)


def kill_and_check(folder: Path, *, kills: int) -> None:
    """Kill the process that often at different moments; after each kill everything must be whole and go on."""
    for number in range(kills):
        acknowledged = run_and_kill(folder, after_s=0.05 + 0.37 * (number % 7))
        world = World(folder)
        try:
            assert world.broker.ledger.size(BROKER) >= acknowledged["written"]
            for witness in (BANK, CARDNET):
                ledger = world.nodes[witness].ledger
                assert ledger.size(BROKER) >= acknowledged.get(witness, 0)
                held = ledger.size(BROKER)
                with world.nodes[witness].store.read() as reader:
                    signed = reader.execute("SELECT max(size) FROM ledger_cosignature WHERE log = 'broker'").fetchone()
                assert (signed[0] or 0) <= held
            for party in PARTIES:
                report = world.nodes[party].ledger.audit()
                assert report.holds, report.findings
            world.settle()
            assert len({world.nodes[party].ledger.roots(BROKER) for party in PARTIES}) == 1
            last = world.broker.ledger.size(BROKER) - 1
            assert world.broker.ledger.seal_state(BROKER, last, required=[BANK]).state == "FULL"
        finally:
            world.close()


def run_and_kill(folder: Path, *, after_s: float) -> dict[str, int]:
    """The last acknowledged size by what was acknowledged, when the process was killed."""
    script = Path(__file__).with_name("killed_child.py")
    command = [sys.executable, str(script), str(folder)]
    settings = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=settings, text=True)
    assert child.stdout is not None
    lines = [child.stdout.readline()]
    time.sleep(after_s)
    child.send_signal(signal.SIGKILL)
    lines += child.stdout.readlines()
    child.wait()
    acknowledged: dict[str, int] = {}
    for line in lines:
        what, _, size = line.partition(" ")
        if line.endswith("\n"):
            acknowledged[what] = int(size)
    return acknowledged
