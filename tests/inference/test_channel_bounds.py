"""What one credential of a channel may take: requests, reads, entries of refusals, places among the questions that wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.inference.asking_world import asking_world
from tests.inference.lease_world import LeaseWorld
from tests.inference.test_channels import Channel, credential, entries
from workbench.errors import Refused
from workbench.gate import MACHINE_PER_MINUTE
from workbench_inference.asking.desk import Desk
from workbench_inference.documents.connectors.reading import titled


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeaseWorld]:
    with asking_world(tmp_path_factory.mktemp("bounds")) as made:
        yield made


@pytest.mark.parametrize("operation", ["answer", "stop", "rate"])
def test_refused_reads_stops_and_ratings_spend_the_rate_and_leave_one_entry_of_it(world: LeaseWorld, operation: str) -> None:
    machine = Channel(world, credential(world, f"few-{operation}", "internal", per_minute=2))
    more: dict[str, Any] = {"rating": "up"} if operation == "rate" else {}
    before = len(entries(world, "action.refused"))
    codes = [machine.refused(operation, ask=f"ask-{'0' * 32}", staff="adviser", **more)["code"] for _ in range(6)]
    assert codes == ["NO_ASK"] * 2 + ["CHANNEL_RATE"] * 4
    assert len(entries(world, "action.refused")) - before == 3


def test_requests_that_no_operation_takes_fill_no_log(world: LeaseWorld) -> None:
    machine = Channel(world, credential(world, "loud-office", "internal"))
    before = len(entries(world, "action.refused"))
    for _ in range(MACHINE_PER_MINUTE + 5):
        machine.refused("ask", nonsense=1)
    assert len(entries(world, "action.refused")) - before == MACHINE_PER_MINUTE


def test_a_channel_holds_half_of_the_places_staff_the_rest_and_what_is_refused_gives_its_place_back() -> None:
    host = SimpleNamespace(setting=lambda name: 4)
    desk = Desk.__new__(Desk)
    desk._host, desk._lock, desk._waiting, desk._places, desk._is_closed = host, threading.Lock(), 0, {}, False
    taken: list[int] = []

    def reserve() -> None:
        try:
            taken.append(desk._reserve("C-1"))
        except Refused as error:
            assert error.code == "ASKS_WAIT"

    threads = [threading.Thread(target=reserve) for _ in range(20)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(taken) == [0, 1]
    assert (desk._reserve(""), desk._reserve("C-2")) == (2, 3)
    with pytest.raises(Refused):
        desk._reserve("")
    with desk._lock:
        desk._release("C-1")

    def refuse(*_: Any) -> Any:
        raise Refused("不可", "not this one", code="A_RULE")

    desk._flow, desk.steps = SimpleNamespace(take_in=refuse), None  # type: ignore[assignment]
    for _ in range(3):
        with pytest.raises(Refused) as refused:
            desk.take_in(None, SimpleNamespace(credential="C-1"))  # type: ignore[arg-type]
        assert refused.value.code == "A_RULE"
    assert (desk._waiting, desk._places) == (3, {"C-1": 1, "C-2": 1})


def test_a_title_from_a_file_name_glues_nothing_to_a_name() -> None:
    assert [titled(one) for one in ("a/欧阳鹤汀_纪要-2.md", "note", "x_13912345671.pdf", "_.md")] == ["欧阳鹤汀 纪要 2", "note", "x 13912345671", "_.md"]
