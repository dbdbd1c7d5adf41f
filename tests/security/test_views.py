"""What is looked at, and by whom, must be as certain as what is done (decision 5)."""

from __future__ import annotations

import pytest

from tests.host.house import House
from workbench.domain.party import Role
from workbench.errors import WorkbenchError


def test_every_view_of_the_regulator_is_evidence_before_it_is_answered(house: House) -> None:
    regulator = house.caller(Role.REGULATOR)
    gate = house.node.gate
    gate.call("evidence.timeline", {}, regulator)
    gate.call("evidence.timeline", {"kind": "people."}, regulator)
    gate.call("intersection.jobs", {}, regulator)
    seen = house.entries("evidence.viewed")
    assert [one["operation"] for one in seen] == ["evidence.timeline", "evidence.timeline", "intersection.jobs"]
    assert {one["actor"] for one in seen} == {regulator.person.token}
    assert len({one["selection"] for one in seen}) == 3


def test_a_page_that_refreshes_is_one_view_and_polls_are_none(house: House) -> None:
    regulator, gate = house.caller(Role.REGULATOR), house.node.gate
    for _ in range(6):
        gate.call("intersection.jobs", {}, regulator)
        gate.call("node.status", {}, regulator)
        house.clock.forward(minutes=1.1)
    assert len(house.entries("evidence.viewed")) == 2, "a new view after five minutes"


def test_other_readers_leave_nothing(house: House) -> None:
    house.node.gate.call("evidence.timeline", {}, house.caller(Role.AUDITOR))
    assert house.entries("evidence.viewed") == []


def test_a_view_that_cannot_be_recorded_is_not_given(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.errors import StorageFailed

    def full(*_: object, **__: object) -> None:
        raise StorageFailed("磁盘已满", "the disk is full")

    monkeypatch.setattr(house.node.evidence, "append", full)
    with pytest.raises(WorkbenchError, match="STORAGE_FAILED"):
        house.node.gate.call("evidence.timeline", {}, house.caller(Role.REGULATOR))
