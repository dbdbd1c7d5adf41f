"""The pages Home and Health: what waits for whom, and what is broken and whose it is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from workbench_ledger.pages import agenda
from workbench_ledger.pages.health import HealthPage
from workbench_ledger.pages.home import HomePage

from tests.app.desk import LANGUAGES, Desk, words
from tests.flows import population
from tests.flows.institutions import Institutions, fresh_institutions
from tests.flows.evidence import change_body
from workbench.app.page import PageContext, SilentSurroundings
from workbench.domain.party import Role

APPROVER = {"intersection.approve"}


def job(name: str, state: str, **other: Any) -> dict[str, Any]:
    made = {"job": f"J-20261122-{name}", "state": state, "side": "initiator", "partner": "bank", "can_run_again": False,
            "valid_until_ms": 5_000, "result": {}}  # fmt: skip
    return {**made, **other}


def node(party: str, state: str = "ok", problem: str = "") -> dict[str, Any]:
    return {"party": party, "state": state, "seen_ms": 4_000, "size": 9, "problem_zh": problem, "problem_en": problem}


def status(**other: Any) -> dict[str, Any]:
    made = {
        "nodes": [node("bank"), node("broker"), node("cardnet")], "health": [], "plugins": [], "running": [], "now_ms": 1_000,
        "sealed": 5, "pending": 1,
    }  # fmt: skip
    return {**made, **other}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_proposal_waits_for_the_partners_approver_and_for_nobody_else(lang: str) -> None:
    incoming = job("00000001", "PROPOSED", side="partner")
    [one] = agenda.due(status(), [incoming], {"approver"}, APPROVER, words(lang))
    assert one.page == "inbox" and dict(one.params) == {"job": incoming["job"]} and "00000001" in one.text
    assert agenda.due(status(), [incoming], {"marketing"}, {"intersection.propose"}, words(lang)) == []
    own = incoming | {"side": "initiator"}
    assert agenda.due(status(), [own], {"approver"}, APPROVER, words(lang)) == []
    assert [state for _, _, state in agenda.running(status(), [own, incoming], words(lang))] == ["pending"]


def test_the_nearest_limit_comes_first_and_things_without_a_limit_last() -> None:
    jobs = [job(f"0000000{n}", "PROPOSED", side="partner", valid_until_ms=limit) for n, limit in enumerate((9_000, 2_000, 5_000))]
    broken = status(nodes=[node("bank", "silent", "连不上"), node("broker")])
    found = agenda.due(broken, jobs, {"approver", "operator"}, APPROVER, words())
    assert [one.until_ms for one in found] == [2_000, 5_000, 9_000, None]
    assert "乙银行" in found[-1].text


def test_a_broken_check_is_shown_to_whoever_owns_it() -> None:
    line = {"name": "ledger.own", "state": "failed", "zh": "broker 的日志不符", "en": "wrong", "owner": "operator"}
    found = agenda.due(status(health=[line]), [], {"operator"}, set(), words())
    assert [one.text for one in found] == ["甲证券的日志不符"]
    assert agenda.due(status(health=[line]), [], {"compliance"}, set(), words()) == []
    plugin = {"name": "psi", "version": "1", "state": "failed", "problem": "x"}
    assert len(agenda.due(status(plugins=[plugin]), [], {"admin"}, set(), words())) == 1
    assert agenda.out_of_order(status(health=[line], plugins=[plugin], nodes=[node("bank", "clock", "时钟相差")])) == 3
    assert agenda.out_of_order(status()) == 0


def test_a_node_that_is_away_says_since_when_and_whom_to_call() -> None:
    [first, second] = agenda.node_rows(status(nodes=[node("bank", "silent", "bank 连不上"), node("broker")]), words())
    assert (first["party"], second["party"]) == ("broker", "bank")
    assert second["state"] == "away" and second["seen_ms"] == 4_000 and "乙银行运维" in second["remark"]


def test_running_jobs_show_their_share() -> None:
    told = status(running=[{"job": "J-20261122-00000001", "done": 31, "total": 50}])
    [(_, text, state)] = agenda.running(told, [job("00000001", "REVEALING")], words())
    assert "62 %" in text and state == "running"


# ---------------------------------------------------------------------------------------------- over real nodes


@pytest.fixture(scope="module")
def house() -> Iterator[Institutions]:
    with fresh_institutions() as made:
        yield made


def opened(house: Institutions, kind: Any, role: Role, party: str = "broker") -> tuple[Any, SilentSurroundings]:
    desk, around = Desk(house, party, role), SilentSurroundings()
    page = PageContext(
        client=desk,  # type: ignore[arg-type]
        me=desk.call("people.me"), package="workbench_ledger", surroundings=around,
    )  # fmt: skip
    made = kind(page)
    made.view()
    asyncio.run(made.open())
    return made, around


def test_health_names_the_node_that_is_away_and_who_calls(house: Institutions) -> None:
    made, _ = opened(house, HealthPage, Role.OPERATOR)
    house.wait_until(lambda: all(one["state"] == "ok" for one in house.nodes["broker"].heartbeat.states()))
    asyncio.run(made.look())
    assert made.answer.state == "sealed" and len(made.plugins.rows) >= 4 and made.checks.rows
    made.status = {**made.status, "nodes": [node("bank", "silent", "bank 连不上"), node("broker")]}
    made.draw()
    assert made.answer.state == "failed" and "乙银行" in made.answer.reason and "甲证券运维" in made.answer.todo
    made.page.lang = "en"
    assert "Yi Bank" in made.answer.reason


def test_home_is_open_to_every_role_and_says_what_waits(house: Institutions) -> None:
    job_id = house.propose("broker", "bank", population.RICH)
    for role in (Role.MARKETING, Role.COMPLIANCE, Role.OPERATOR, Role.REGULATOR, Role.ADMIN):
        made, around = opened(house, HomePage, role)
        assert made.answer.state in ("sealed", "pending") and not [one for one in around.asked if one[0] in ("error", "fault")]
    house.wait_until(lambda: any(str(one.job) == job_id for one in house.nodes["bank"].jobs.all(limit=10)))
    made, around = opened(house, HomePage, Role.APPROVER, "bank")
    assert made.answer.state == "pending" and job_id[-8:] in made.answer.reason
    made._go("first")
    assert ("navigate", ("inbox", {"job": job_id})) in around.asked


def test_a_changed_row_replaces_everything_above_on_home(house: Institutions) -> None:
    undo = change_body(house, "broker", 0, lambda body: body.replace(b'"log":"broker"', b'"log":"broken"'))
    try:
        made, around = opened(house, HomePage, Role.COMPLIANCE)
        assert made.answer.state == "tampered" and [one["name"] for one in made.answer.actions] == ["evidence"]
        assert any(one[0] == "tab" and "被改" in one[1][0] for one in around.asked)
    finally:
        undo()


def test_what_only_warns_is_not_red_and_names_who_looks(house: Institutions) -> None:
    """In the trial stage a job without an impact assessment goes on, and compliance is told."""
    house.propose("broker", "bank", population.RICH)
    made, _ = opened(house, HealthPage, Role.OPERATOR)
    house.wait_until(lambda: all(one["state"] == "ok" for one in house.nodes["broker"].heartbeat.states()))
    asyncio.run(made.look())
    assert made.answer.state == "pending" and "影响评估" in made.answer.reason and "合规" in made.answer.todo
