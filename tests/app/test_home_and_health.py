"""The pages Home and Health: what waits for whom, and what is broken and whose it is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from workbench_ledger.pages import agenda, waiting
from workbench_ledger.pages.health import HealthPage
from workbench_ledger.pages.home import HomePage

from tests.app.desk import LANGUAGES, Desk, words
from tests.flows import population
from tests.flows.institutions import Institutions, fresh_institutions
from tests.flows.evidence import change_body
from workbench.app.page import PageContext, SilentSurroundings
from workbench.domain.party import Role
from workbench.errors import WorkbenchError

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


def case(number: str, due_ms: int, **other: Any) -> dict[str, Any]:
    made = {"request": number, "kind_zh": "复制", "kind_en": "a copy", "state_zh": "已受理", "state_en": "received", "due_ms": due_ms, "due_day": "2026-12-11", "days_left": 3,
            "is_overdue": False, "is_estimated": False}  # fmt: skip
    return {**made, **other}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_waits_on_other_pages_comes_in_one_order_with_the_days_of_its_own_clock(lang: str) -> None:
    stop = {"job": "J-20261122-0000000a", "partner": "bank", "at_ms": 10, "taken_ms": 0}
    letter = {"partner": "bank", "due_ms": 500}
    found: waiting.Found = {
        "rights.list": {"requests": [case("R-2", 9_000), case("R-1", 4_000, days_left=-2, is_overdue=True)]},
        "consent.contact_stops": {"stops": [stop, {**stop, "taken_ms": 5}, {**stop, "job": "J-20261122-0000000b", "taken_ms": 7}]},
        "consent.withdrawals": {"withdrawals": [{"partners": [{**letter, "state": "overdue"}, {**letter, "state": "acknowledged"}]}]},
        "consent.withdrawals/waiting": {"withdrawals": [{"partners": [{**letter, "state": "waiting", "due_ms": 7_000}]}]},
        "notices.list": {"rows": [{"notice": "n", "version": v, "title": {"zh": "书", "en": "text"}, "state": "PROPOSED", "proposed_by": who}
                                  for v, who in ((1, "me"), (2, "another"))]},
        "assessment.list": None,
    }  # fmt: skip
    line = {"name": "rights", "state": "warning", "zh": "1 项逾期", "en": "1 late", "owner": "compliance"}
    told = {"more": waiting.due(found, "me", words(lang)), "covered": waiting.covered(found)}
    due = agenda.due(status(health=[line]), [], {"compliance"}, set(), words(lang), **told)
    assert [one.id for one in due] == ["stop:J-20261122-0000000a", "letter:overdue:bank", "request:R-1", "request:R-2", "notice:n/2", "unread:assessment.list"]
    assert {one.page for one in due} == {"consent", "rights", "assessment"} and dict(due[2].params) == {"request": "R-1"}
    assert due[2].left == words(lang).t("clock.overdue", days=2) and "1" in due[0].text
    assert [name for name, _, _ in waiting.letters_waiting(found, words(lang))] == ["letter:waiting:bank"]
    assert agenda.due(status(health=[line]), [], {"compliance"}, set(), words(lang))[0].page == "rights", "without the details, the line of health leads there"


def test_many_of_one_kind_are_counted_in_one_line() -> None:
    found: waiting.Found = {"rights.list": {"requests": [case(f"R-{number}", 1_000 + number) for number in range(waiting.SHOWN + 5)]}}
    due = waiting.due(found, "me", words())
    assert len(due) == waiting.SHOWN + 1 and "5" in due[-1].text and due[-1].until_ms == 1_000 + waiting.SHOWN


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


def test_home_leads_to_the_clocks_of_the_rights_desk_for_who_may_act(house: Institutions) -> None:
    request = {"kind": "copy", "phone": population.phone(80), "channel": "counter", "applicant": "subject"}
    number = house.call("broker", Role.COMPLIANCE, "rights.receive", **request).request
    made, around = opened(house, HomePage, Role.COMPLIANCE)
    [row] = [one for one in made.todo.rows if one["id"] == f"request:{number}"]
    assert "工作日" in row["left"]["label"] and row["can"] == ["go"] and population.phone(80) not in str(made.todo.rows)
    asyncio.run(made._act(row["id"], "go"))
    assert ("navigate", ("rights", {"request": number})) in around.asked
    for role in (Role.MARKETING, Role.AUDITOR):
        assert not [one for one in opened(house, HomePage, role)[0].todo.rows if number in one["id"]], "reading is not acting"


def test_a_disputed_intersection_leaves_home_when_somebody_wrote_down_what_was_found(house: Institutions) -> None:
    job, node = house.propose("broker", "bank", population.RICH), house.nodes["broker"]
    found = {"code": "DISPUTED", "zh": "双方结果不一致", "en": "the results differ"}
    node.store.write(lambda tx: node.jobs.update(tx, job, now_ms=node.now_ms(), state="DISPUTED", error=found))
    made, _ = opened(house, HomePage, Role.COMPLIANCE)
    [row] = [one for one in made.todo.rows if one["id"] == job]
    assert row["can"] == ["close", "go"] and not made.closing.root.visible
    asyncio.run(made._act(job, "close"))
    made.closing.fields["finding"].value = "两份证据包的结果摘要不同，乙银行程序版本有误"
    asyncio.run(made.closing.do())
    assert not [one for one in made.todo.rows if one["id"] == job], made.closing.told.told()
    [entry] = house.entries("broker", job, "intersection.dispute_closed")
    assert "乙银行程序版本" in entry.values["finding"] and node.jobs.get(job).state == "DISPUTED"
    for role, code in ((Role.COMPLIANCE, "NO_DISPUTE"), (Role.MARKETING, "DENIED")):
        with pytest.raises(WorkbenchError) as refused:
            house.call("broker", role, "intersection.close_dispute", job=job, finding="another finding")
        assert refused.value.code == code
    with pytest.raises(WorkbenchError, match="NOT_RELEASED"):
        house.call("broker", Role.MARKETING, "intersection.export", job=job)
