from __future__ import annotations

import threading

import pytest

from tests.ledger.world import World
from workbench_ledger import search_keeper


def test_a_fault_while_following_the_logs_is_told_and_does_not_end_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables of the index are missing here."""
    monkeypatch.setattr(search_keeper, "TROUBLE_S", 0.01)
    told = threading.Semaphore(0)
    keeper = search_keeper.IndexKeeper(world.broker.ledger.index, lambda fault: told.release())
    keeper.start()
    try:
        assert told.acquire(timeout=30)
        assert told.acquire(timeout=30)
    finally:
        keeper.stop()
