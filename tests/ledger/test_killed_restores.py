"""kill -9 at any point of getting the own entries back: closed with what it had, or whole; never in between."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ledger.test_attacks import rolled_back
from tests.ledger.world import BANK, BROKER, PARTIES, World
from workbench.errors import VerificationError


def test_a_restore_killed_at_its_steps_begins_again_and_ends_whole(tmp_path: Path) -> None:
    """After the proof, after one body, after all bodies, and after the last step but one."""
    restore_and_kill(tmp_path, ["ROLLED_BACK", "staged 40", "staged 43", "taken"])


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_a_restore_killed_a_hundred_times_loses_nothing(tmp_path: Path) -> None:
    for number in range(20):
        restore_and_kill(tmp_path / str(number), ["opened", "ROLLED_BACK", "staged 41", "staged 44", "taken"])


def restore_and_kill(folder: Path, moments: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    world = World(folder / "world")
    rolled_back(world, folder)
    expected = world.bank.ledger.roots(BROKER)
    world.close()
    for moment in moments:
        run(folder / "world", until=moment)
        world = World(folder / "world")
        try:
            size = world.broker.ledger.size(BROKER)
            assert size in (40, 45)
            lost = world.broker.ledger.exchange.lost()
            if size == 45:
                assert lost is None
                assert world.broker.ledger.roots(BROKER) == expected
            elif moment != "opened":
                assert lost is not None
                with pytest.raises(VerificationError):
                    world.broker.write(1)
            assert world.bank.ledger.roots(BROKER) == expected
        finally:
            world.close()
    run(folder / "world", until="")
    world = World(folder / "world")
    try:
        assert world.broker.ledger.roots(BROKER) == expected
        assert world.broker.ledger.exchange.unfinished() is None
        world.broker.write(2)
        world.settle()
        assert len({world.nodes[party].ledger.roots(BROKER) for party in PARTIES}) == 1
        assert world.broker.ledger.seal_state(BROKER, 46, required=[BANK]).state == "FULL"
        assert world.broker.ledger.audit().holds
    finally:
        world.close()
    shutil.rmtree(folder / "world")


def run(folder: Path, *, until: str) -> None:
    """The child, killed as soon as it has printed this line; "" lets it finish."""
    command = [sys.executable, str(Path(__file__).with_name("restoring_child.py")), str(folder)]
    settings = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=settings, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip() == until:
            child.send_signal(signal.SIGKILL)
            break
    child.stdout.close()
    child.wait()
    assert until or child.returncode == 0
