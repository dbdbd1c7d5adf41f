"""The gate: in the trial stage a job without an assessment is pointed out, in the formal stage refused, at every step."""

from __future__ import annotations

from typing import Any

import pytest

from tests.assessment.conftest import Office
from workbench.domain.party import Role
from workbench.errors import Refused

DAY_MS = 86_400_000


def test_in_the_trial_stage_the_job_goes_on_and_each_step_without_one_is_evidence_and_shown(office: Office) -> None:
    steps = [one.values["step"] for one in office.entries("assessment.missing") if one.job in ("", office.job)]
    assert {"proposal", "release", "export"} <= set(steps)
    assert [one.values["step"] for one in office.entries("assessment.missing", "bank") if one.job == office.job] == ["approval", "release"]
    assert len([one for one in office.entries("assessment.missing") if one.job == office.job]) == 2
    office.three.exported("broker", office.job)
    assert len([one for one in office.entries("assessment.missing") if one.job == office.job]) == 2, "once per job and step"
    status = office.call("assessment.status", Role.MARKETING, job=office.job)
    assert (status.stage, status.allowed, status.why, status.assessment) == ("trial", True, "NONE", "") and status.pointed_out == 2
    assert "试点阶段继续并留痕" in status.zh
    [line] = [one for one in office.node.health() if one.name == "assessment"]
    assert line.state == "warning" and "试点阶段" in line.zh
    assert office.call("assessment.list").missing >= 3


def test_in_the_formal_stage_every_step_is_refused_without_one(office: Office) -> None:
    three = office.three
    with office.stage("formal"):
        refuse(lambda: three.propose("broker", "bank", "test-01"))
        assert "intersection.proposed" not in [one.kind for one in three.entries("broker")][-3:]
        refuse(lambda: three.exported("broker", office.job))
    job = three.propose("broker", "bank", "test-01")
    with office.stage("formal", "bank"):
        refuse(lambda: three.approve("bank", job))
        assert three.nodes["bank"].jobs.get(job).state == "PROPOSED"
    with office.stage("formal", "broker"):
        three.approve("bank", job)  # our approver's assessment is missing at release
        three.wait_until(lambda: three.nodes["broker"].jobs.get(job).is_final)
        assert three.nodes["broker"].jobs.get(job).error["code"] == "NO_ASSESSMENT"
        assert three.nodes["bank"].jobs.get(job).state not in ("RELEASED",)


def refuse(action: Any) -> None:
    with pytest.raises(Refused) as refused:
        action()
    assert refused.value.code == "NO_ASSESSMENT" and "合规岗" in refused.value.zh


def test_in_the_formal_stage_a_job_runs_to_its_export_with_an_approved_one_on_both_sides(office: Office) -> None:
    office.approved("test-02")
    office.approved("test-02", party="bank", partner="broker")
    with office.stage("formal"):
        job = office.three.run("broker", "bank", "test-02")[0].job
        _, data = office.three.exported("broker", job)
    assert data and not [one for one in office.entries("assessment.missing") if one.job == job]
    assert office.call("assessment.status", job=job).why == ""


def test_an_assessment_of_the_other_institution_does_not_stand_in_for_ours(office: Office) -> None:
    office.approved("test-03", party="bank", partner="broker")
    with office.stage("formal"):
        refuse(lambda: office.three.propose("broker", "bank", "test-03"))


def test_one_that_ended_was_revoked_or_says_stop_covers_nothing(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    name = office.approved("test-04", valid_days=30)
    status = office.call("assessment.status", purpose="test-04", recipient="bank")
    assert (status.assessment, status.why) == (name, "")
    now = office.node.now_ms()
    monkeypatch.setattr(office.node, "now_ms", lambda: now + 31 * DAY_MS)
    assert office.call("assessment.status", purpose="test-04", recipient="bank").why == "ENDED"
    monkeypatch.undo()
    office.call("assessment.revoke", assessment=name, reason="活动取消，不再开展")
    assert office.call("assessment.status", purpose="test-04", recipient="bank").why == "NONE"
    office.approved("test-05", conclusion="stop")
    assert office.call("assessment.status", purpose="test-05", recipient="bank").why == "STOPPED"
    with office.stage("formal"):
        refuse(lambda: office.three.propose("broker", "bank", "test-05"))


def test_a_list_of_a_higher_class_is_not_covered(office: Office) -> None:
    office.approved("test-06")
    job = office.three.propose("broker", "bank", "test-06")
    node = office.node
    list_id = node.jobs.get(job).request["list_id"]
    node.store.write(lambda tx: tx.execute("UPDATE host_list SET data_class = 'C3' WHERE list = ?", (list_id,)) and None)
    assert office.call("assessment.status", job=job).why == "CLASS"
    assert office.call("assessment.status", purpose="test-06", recipient="bank").why == ""
    with office.stage("formal"):
        refuse(lambda: office.three.propose("broker", "bank", "test-06"))  # already at the proposal, before anything is revealed
    node.store.write(lambda tx: tx.execute("UPDATE host_list SET data_class = 'C2' WHERE list = ?", (list_id,)) and None)
    assert office.call("assessment.status", job=job).why == ""


@pytest.mark.parametrize("stage", ["", "Formal", "prod", "试点"])
def test_a_stage_that_is_misspelt_refuses_everything(office: Office, stage: str) -> None:
    with office.stage(stage):
        with pytest.raises(Refused) as refused:
            office.three.propose("broker", "bank", "test-07")
        assert refused.value.code == "UNKNOWN_STAGE"
        assert any(one.name == "assessment" and one.state == "failed" for one in office.node.health())


