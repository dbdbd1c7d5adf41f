"""Stages of the trial at a node: a report is the ground of a step, another person decides it, going back is at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.host.house import House, copied, opened
from tests.inference.policy.test_policy_at_a_node import call
from workbench.crypto import sm3
from workbench.domain.evidence import RestoredEntry
from workbench.domain.party import Role
from workbench.errors import Denied, InvalidRequest, Refused
from workbench.workspace import Workspace
from workbench_inference.operations_stages import STAGE_OPERATIONS
from workbench_inference.policy import restoring, stages


@pytest.fixture
def house(made_institution: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with opened(copied(made_institution, tmp_path_factory.mktemp("tenant") / "workspace"), settings={"inference.role": "tenant"}) as made:
        yield made


def asked(house: House, number: int, *, state: str = "ANSWERED", rating: str = "", reason: str = "", took_ms: int = 900, code: str = "") -> None:
    now = house.node.now_ms()
    house.node.store.write(
        lambda tx: tx.execute(
            "INSERT INTO inference_ask (ask, person, scenario, template, model, class, state, code, asked_ms, ended_ms, rating, reason)"
            " VALUES (?, 't', 'advice', 'advice-v1', 'extractive', 'public', ?, ?, ?, ?, ?, ?)", (f"ask-{number}", state, code, now, now + took_ms, rating, reason),
        )
    )  # fmt: skip


def proposed(house: House, to: str = "invited", **more: Any) -> Any:
    reply = call(house, "stage_propose", to=to, reason="评价达到预期", **more)
    return reply.steps[0]


def decided(house: House, step: Any, role: Role = Role.APPROVER, **more: Any) -> Any:
    return call(house, "stage_decide", role, **{"number": step.number, "report": step.report, "approve": True, "reason": "同意进入下一阶段", **more})


def code_of(act: Any) -> str:
    with pytest.raises(Refused) as refused:
        act()
    return refused.value.code


def test_a_step_rests_on_a_report_that_its_entry_names_and_another_person_decides_it(house: House) -> None:
    assert call(house, "stages").stage == "internal"
    assert code_of(lambda: proposed(house)) == "STAGE_NO_GROUND"
    asked(house, 1, rating="up", took_ms=1_000)
    asked(house, 2, rating="down", reason="客户 13812345678 追问", took_ms=4_000)
    asked(house, 3, state="ABSTAINED", took_ms=2_000)
    asked(house, 4, state="REFUSED", code="ABOVE_CLASS")
    step = proposed(house)
    told = step.ground
    assert (told.asked, told.rated, told.up, told.down, told.answered, told.abstained, told.refused, told.p95_ms) == (4, 2, 1, 1, 2, 1, {"ABOVE_CLASS": 1}, 4_000)
    assert told.reasons == [("down", "客户 〔手机1〕 追问")]
    assert (step.state, step.may_decide, step.may_decline) == ("proposed", False, True)
    with house.node.store.read() as reader:
        assert sm3.digest(house.node.vault.get(reader, f"inference/stage/{step.number}")).hex() == step.report
    assert code_of(lambda: decided(house, step, Role.COMPLIANCE)) == "SELF_APPROVAL"
    assert code_of(lambda: decided(house, step, report="0" * 64)) == "STAGE_CHANGED"
    with pytest.raises(Denied):
        decided(house, step, Role.MARKETING)
    assert call(house, "stages").stage == "internal"
    assert decided(house, step).stage == "invited"
    assert code_of(lambda: decided(house, step)) == "WRONG_STATE"
    (entry,) = house.entries("inference.stage_changed")
    people = {one.person: one.token for one in house.node.people.everyone()}
    assert (entry["before"], entry["after"], entry["report"], entry["first"], entry["second"]) == ("internal", "invited", step.report, people["compliance"], people["approver"])
    assert entry["actor"] == people["approver"] and "138" not in str(house.entries("inference.stage_proposed"))


def test_one_stage_after_the_other_and_all_customers_only_with_a_filing(house: House) -> None:
    asked(house, 1, rating="up")
    assert code_of(lambda: proposed(house, "open", filing="沪证科函 1 号")) == "STAGE_ORDER"
    decided(house, proposed(house))
    with pytest.raises(InvalidRequest) as missing:
        proposed(house, "open")
    assert missing.value.code == "FILING_MISSING"
    reply = call(house, "stages", Role.AUDITOR)
    assert (reply.next, reply.back) == ("open", ["internal"])
    # What law is known from memory says so, in both languages.
    assert {one.origin for one in reply.asks} == {"filing", "from memory", "excerpt"}
    assert all(("凭记忆" in one.zh) == ("from memory" in one.en) == (one.origin == "from memory") for one in reply.asks)
    assert decided(house, proposed(house, "open", filing="沪证科函 1 号")).stage == "open"
    assert code_of(lambda: proposed(house, "open", filing="x")) == "STAGE_ORDER"
    assert house.entries("inference.stage_changed")[-1]["filing"] == "沪证科函 1 号"


def test_one_person_goes_back_at_once_and_what_was_proposed_meanwhile_no_longer_counts(house: House) -> None:
    asked(house, 1, rating="up")
    decided(house, proposed(house))
    waiting, other = proposed(house, "open", filing="沪证科函 1 号"), proposed(house, "open", filing="沪证科函 2 号")
    with pytest.raises(Denied):
        call(house, "stage_close", Role.MARKETING, to="internal", reason="回答有问题")
    for to in ("invited", "open"):
        assert code_of(lambda to=to: call(house, "stage_close", Role.OPERATOR, to=to, reason="回答有问题")) == "STAGE_ORDER"
    assert call(house, "stage_close", Role.OPERATOR, to="internal", reason="回答有问题").stage == "internal"
    for step in (waiting, other):
        assert code_of(lambda step=step: decided(house, step)) == "WRONG_STATE"
    assert [one.state for one in call(house, "stages").steps] == ["closed", "outdated", "outdated", "decided"]
    assert house.entries("inference.stage_closed")[0]["after"] == "internal"


def test_a_proposal_that_is_declined_or_whose_report_was_changed_opens_nothing(house: House) -> None:
    asked(house, 1, rating="up")
    assert decided(house, proposed(house), Role.COMPLIANCE, approve=False).stage == "internal"
    assert house.entries("inference.stage_declined")
    step = proposed(house)
    house.node.store.write(lambda tx: house.node.vault.put(tx, f"inference/stage/{step.number}", b'{"v":1}'))
    assert call(house, "stages").steps[0].ground is None
    with pytest.raises(Exception, match="not what was proposed") as altered:
        decided(house, step)
    assert altered.value.code == "STAGE_REPORT_ALTERED"  # type: ignore[attr-defined]
    assert call(house, "stages").stage == "internal"


def test_a_restored_node_that_does_not_know_the_stage_is_internal(house: House) -> None:
    asked(house, 1, rating="up")
    decided(house, proposed(house))
    for kind in ("inference.stage_changed", "inference.stage_closed"):
        (need,) = restoring.replay(house.node, [RestoredEntry(0, kind, 0, "", "", {}, ())])
        assert need.name == kind
    with house.node.store.read() as reader:
        assert stages.stage(reader) == "internal"


def test_each_step_forward_needs_a_fresh_password_and_going_back_none() -> None:
    assert {one.name.rpartition(".")[2]: one.fresh_password for one in STAGE_OPERATIONS} == {"stages": False, "stage_propose": False, "stage_decide": True, "stage_close": False}
