"""Every operation leaves evidence: the registry's promise, the gate's check of each call, and the report over the log."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from workbench.contracts import OperationContext
from workbench.domain.party import Role
from workbench.errors import Denied
from workbench.operations import NoInput, Operation, Registry, Reply

from tests.host.house import House


OWN_DRAFT_OR_TASK = {"intersection.draft_discard", "intersection.draft_save", "notices.draft_save", "tasks.cancel"}


class Done(Reply):
    """Nothing to say."""


def _silent(ctx: OperationContext, request: NoInput) -> Done:
    return Done()


def _by_somebody_else(ctx: OperationContext, request: NoInput) -> Done:
    values = {"operation": "x", "code": "y"}
    ctx.host.store.write(lambda tx: ctx.host.evidence.append(tx, "action.refused", values, actor="another"))
    return Done()


def _add(house: House, name: str, run: Any) -> None:
    house.node.gate.registry.add(
        Operation(
            name=name, zh="试", en="try", request=NoInput, reply=Done, roles=frozenset({Role.COMPLIANCE}), run=run,
            evidence=("action.refused",),
        )
    )


@pytest.mark.parametrize("run", [_silent, _by_somebody_else])
def test_an_action_that_leaves_no_entry_is_an_entry_itself_and_a_fault_in_a_test_workspace(
    house: House, run: Any
) -> None:
    _add(house, "trial.silent", run)
    house.node.kind = "test"
    with pytest.raises(AssertionError, match=r"trial\.silent"):
        house.node.gate.call("trial.silent", {}, house.caller(Role.COMPLIANCE))
    house.node.kind = "demo"
    assert house.node.gate.call("trial.silent", {}, house.caller(Role.COMPLIANCE)) == Done()
    assert [one["operation"] for one in house.entries("action.unrecorded")] == ["trial.silent"] * 2
    report = house.node.gate.call("evidence.coverage", {}, house.caller(Role.COMPLIANCE))
    assert not report.holds
    assert report.unrecorded == 2


def test_the_report_lists_every_operation_and_proves_the_newest_entry_of_each(house: House) -> None:
    with pytest.raises(Denied):
        house.node.gate.call("people.disable", {"account": "nobody"}, house.caller(Role.MARKETING))
    report = house.node.gate.call("evidence.coverage", {}, house.caller(Role.COMPLIANCE))
    assert [row.name for row in report.operations] == [one.name for one in house.node.gate.registry]
    assert {row.leaves for row in report.operations if not row.kinds} == {"read", "own"}
    assert {row.name for row in report.operations if row.leaves == "own"} == OWN_DRAFT_OR_TASK
    assert report.holds
    assert report.refused == 1
    left = [row for row in report.operations if row.entries]
    assert all(row.proven for row in left)


def test_an_operation_without_a_kind_of_evidence_is_named(house: House) -> None:
    whole = list(house.node.gate.registry)
    house.node.gate.registry = Registry(
        [replace(one, evidence=()) if one.name == "people.add" else one for one in whole]
        + [replace(whole[0], name="trial.unknown", reads_only=False, evidence=("no.such_kind",))]
    )
    report = house.node.gate.call("evidence.coverage", {}, house.caller(Role.COMPLIANCE))
    assert not report.holds
    assert {row.name for row in report.operations if row.problem_en} == {"people.add", "trial.unknown"}
