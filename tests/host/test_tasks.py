from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.host.house import House, opened, plugin_module, with_plugins
from workbench.contracts import OperationContext
from workbench.domain.party import Role
from workbench.errors import Cancelled, Denied, InvalidRequest, NotFound, Refused
from workbench.hookspecs import hookimpl
from workbench.node.tasks import KEEP_FINISHED, Task, task_reply
from workbench.operations import Operation, Reply, Request
from workbench.workspace import Workspace


class Work(Request):
    ending: str


class Worked(Reply):
    steps: int


class Stage:
    """What the long operation of these tests waits for."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()


STAGE = Stage()


def _work(ctx: OperationContext, request: Work) -> Worked:
    ctx.progress(1, 4, "第一步", "first step")
    STAGE.reached.set()
    if request.ending == "wait":
        while not STAGE.go_on.wait(0.01):
            if ctx.cancelled():
                raise Cancelled("已取消", "cancelled")
    if request.ending == "refuse":
        raise Refused("不行", "no", code="NOT_NOW")
    if request.ending == "fault":
        raise RuntimeError("customer 10012345678 broke it")
    return Worked(steps=4)


@hookimpl
def workbench_operations() -> list[Operation]:
    roles = frozenset({Role.MARKETING, Role.COMPLIANCE})
    return [Operation(name="trial.work", zh="干活", en="work", request=Work, reply=Worked, roles=roles, run=_work, long=True)]


@pytest.fixture
def house(workspace: Workspace) -> Iterator[House]:
    STAGE.reached.clear()
    STAGE.go_on.clear()
    with opened(workspace, plugins=with_plugins(plugin_module("trial", workbench_operations=workbench_operations))) as made:
        yield made
        STAGE.go_on.set()


def start(house: House, ending: str, role: Role = Role.MARKETING) -> Task:
    return house.node.tasks.start("trial.work", {"ending": ending}, house.caller(role))


def until(claim: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not claim():
        assert time.monotonic() < limit, "it never came true"
        time.sleep(0.01)


def ended(task: Task) -> Task:
    until(lambda: task.state != "running")
    return task


def test_progress_is_seen_while_it_runs_and_the_reply_when_it_is_done(house: House) -> None:
    task = start(house, "wait")
    assert STAGE.reached.wait(60)
    seen = task_reply(house.node.tasks.of(house.caller(Role.MARKETING), task.task))
    assert (seen.state, seen.done, seen.total, seen.zh, seen.en) == ("running", 1, 4, "第一步", "first step")
    STAGE.go_on.set()
    done = task_reply(ended(task))
    assert (done.state, done.reply, done.error) == ("done", {"steps": 4}, None)


def test_a_refusal_ends_the_task_with_its_code_and_is_evidence(house: House) -> None:
    done = task_reply(ended(start(house, "refuse")))
    assert done.state == "failed"
    assert done.error is not None
    assert (done.error["code"], done.error["status"]) == ("NOT_NOW", 409)
    assert [one["code"] for one in house.entries("action.refused")] == ["NOT_NOW"]


def test_a_fault_ends_the_task_without_telling_its_text(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """An exception's text may hold a customer's data: neither reply nor log carries it."""
    done = task_reply(ended(start(house, "fault")))
    assert done.error is not None
    assert done.error["code"] == "INTERNAL"
    assert "10012345678" not in done.model_dump_json()
    until(lambda: "RuntimeError" in caplog.text)
    assert "10012345678" not in caplog.text


def test_a_cancelled_task_stops_and_says_so(house: House) -> None:
    task = start(house, "wait")
    assert STAGE.reached.wait(60)
    house.node.gate.call("tasks.cancel", {"task": task.task}, house.caller(Role.MARKETING))
    assert ended(task).state == "cancelled"


def test_a_task_is_seen_and_cancelled_by_its_own_person_only(house: House) -> None:
    task = start(house, "wait")
    for operation in ("tasks.get", "tasks.cancel"):
        with pytest.raises(NotFound):
            house.node.gate.call(operation, {"task": task.task}, house.caller(Role.COMPLIANCE))
    assert not task.cancel.is_set()
    STAGE.go_on.set()
    assert ended(task).state == "done"


def test_wrong_role_and_wrong_form_are_refused_before_a_task_begins(house: House) -> None:
    with pytest.raises(Denied):
        start(house, "wait", Role.OPERATOR)
    with pytest.raises(InvalidRequest):
        house.node.tasks.start("trial.work", {"end": 1}, house.caller(Role.MARKETING))
    with pytest.raises(NotFound):
        house.node.tasks.start("trial.other", {}, house.caller(Role.MARKETING))
    assert not STAGE.reached.is_set()


def test_the_node_closes_although_a_task_runs(house: House) -> None:
    task = start(house, "wait")
    assert STAGE.reached.wait(60)
    house.node.tasks.close()
    assert ended(task).state == "cancelled"


def test_only_the_latest_finished_tasks_are_kept(house: House) -> None:
    first = ended(start(house, "refuse"))
    for _ in range(KEEP_FINISHED + 5):
        ended(start(house, "done"))
    with pytest.raises(NotFound):
        house.node.tasks.of(house.caller(Role.MARKETING), first.task)
