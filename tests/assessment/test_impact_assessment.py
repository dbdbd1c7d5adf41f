"""Impact assessments: pre-filled, complete, approved by a second person, kept; and the gate of the two stages. docs/assessment.md 1, 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.assessment.conftest import Office, PURPOSE, WORDS
from tests.flows import population
from workbench.domain.party import Role
from workbench.errors import Denied, Refused
from workbench_assessment import model

YEAR_MS = 365 * 86_400_000


def draft(office: Office, **more: Any) -> str:
    asked = {"purpose": "test-30", "recipient": "bank"} | more
    return str(office.call("assessment.draft", **asked).info.assessment)


def test_a_draft_knows_purpose_parties_directions_data_and_measures_by_itself(office: Office) -> None:
    told = office.call("assessment.get", assessment=draft(office, job=office.job, purpose="", recipient=""))
    info = office.node.lists.newest()
    assert (told.info.purpose, told.info.recipient, told.job) == (PURPOSE, "bank", office.job)
    assert "资产档" in told.rule and told.columns == ["资产档"] and told.key_kind == "phone"
    assert [one.zh for one in told.parties] == [f"{office.node.names(one)[0]}（{one}）" for one in ("broker", "bank")]
    assert len(told.directions) == 2 and "→" in told.directions[0].zh
    [listed] = told.lists
    assert (listed.list_id, listed.name, listed.source, listed.owner, listed.subjects, listed.method, listed.data_class, listed.lawful_basis) == (
        info.list_id, info.name, info.source, info.owner, info.subjects, info.method, info.data_class, info.lawful_basis,
    )  # fmt: skip
    assert listed.rows == info.rows and listed.tags == info.tags and told.info.data_class == "C2"
    assert [one.en.split(" (")[0] for one in told.grounds] == ["provision to another handler", "sensitive data", "automated decision: a rule selects customers"]
    assert any(str(office.node.setting("intersection.minimum_crowd")) in one.zh for one in told.measures_in_force)
    assert [one.field for one in told.lacking] == ["necessity", "impact", "measures", "risk", "conclusion"]


@pytest.mark.parametrize("left_out", ["necessity", "impact", "measures", "risk", "conclusion"])
def test_it_cannot_be_submitted_while_a_point_is_missing_and_the_article_is_named(office: Office, left_out: str) -> None:
    name = draft(office)
    office.call("assessment.save", assessment=name, **{**WORDS, left_out: "太短" if left_out in model.POINTS else ""})
    with pytest.raises(Refused) as refused:
        office.call("assessment.submit", assessment=name)
    assert (refused.value.code, refused.value.details["fields"]) == ("ASSESSMENT_INCOMPLETE", left_out)
    if left_out in model.POINTS:
        assert model.POINTS[left_out][2] in refused.value.zh and "PIPL 56" in refused.value.en


def test_conditions_are_needed_where_it_may_proceed_under_conditions(office: Office) -> None:
    name = draft(office)
    office.call("assessment.save", assessment=name, **{**WORDS, "conclusion": "conditions"})
    with pytest.raises(Refused):
        office.call("assessment.submit", assessment=name)
    office.call("assessment.save", assessment=name, **{**WORDS, "conclusion": "conditions", "conditions": "仅限三个月内，每周复核一次投诉率与撤回率。"})
    assert office.call("assessment.submit", assessment=name).info.state == "SUBMITTED"


def test_a_second_person_approves_and_the_content_is_frozen(office: Office) -> None:
    name = draft(office, purpose="test-31")
    office.call("assessment.save", assessment=name, **WORDS)
    office.call("assessment.submit", assessment=name)
    with pytest.raises(Denied) as denied:
        office.call("assessment.approve", assessment=name)
    assert denied.value.code == "SELF_APPROVAL"
    with pytest.raises(Denied):
        office.call("assessment.approve", Role.MARKETING, assessment=name)
    other = office.three.caller("broker", Role.APPROVER).person.token
    change = "UPDATE assessment_case SET writers = ? WHERE assessment = ?"
    office.node.store.write(lambda tx: tx.execute(change, (f"P-000000000000 {other}", name)) and None)
    with pytest.raises(Denied) as denied:  # whoever wrote a part of it is no second person either
        office.call("assessment.approve", Role.APPROVER, assessment=name)
    assert denied.value.code == "SELF_APPROVAL"
    office.node.store.write(lambda tx: tx.execute(change, ("", name)) and None)
    info = office.call("assessment.approve", Role.APPROVER, assessment=name).info
    assert info.covers and info.until_ms == info.approved_ms + YEAR_MS and info.keep_until_ms >= info.until_ms + 3 * YEAR_MS
    for operation, more in (("assessment.save", WORDS), ("assessment.submit", {})):
        with pytest.raises(Refused) as refused:
            office.call(operation, assessment=name, **more)
        assert refused.value.code == "WRONG_STATE"
    entry = office.entries("assessment.approved")[-1]
    assert entry.values["digest"] == info.digest and entry.values["conclusion"] == "proceed" and entry.actor
    body = office.node.ledger.entry_bodies("broker", entry.ref.index, entry.ref.index + 1)[0]
    assert json.loads(body)["shared"] == {}


def test_a_content_that_changed_after_it_was_submitted_is_not_approved(office: Office) -> None:
    name = draft(office)
    office.call("assessment.save", assessment=name, **WORDS)
    office.call("assessment.submit", assessment=name)
    from workbench_assessment import tables

    with office.node.store.read() as reader:
        content = tables.content(reader, office.node, name)
    changed = model.Content(content.facts, model.Judgement(**{**WORDS, "impact": "没有任何影响，也没有任何风险，无需评估。"}))
    office.node.store.write(lambda tx: tables.keep(tx, office.node, name, changed))
    with pytest.raises(Refused) as refused:
        office.call("assessment.approve", Role.APPROVER, assessment=name)
    assert refused.value.code == "ASSESSMENT_CHANGED"
    assert office.call("assessment.give_back", Role.APPROVER, assessment=name, reason="内容与提交时不同").info.state == "DRAFT"


def test_a_follower_takes_the_words_over_and_the_one_before_stays(office: Office) -> None:
    before = office.approved("test-32")
    told = office.call("assessment.draft", purpose="test-32", recipient="bank", before=before)
    assert (told.necessity, told.info.before) == (WORDS["necessity"], before)
    assert office.call("assessment.get", assessment=before).info.state == "APPROVED"


def test_no_way_through_the_gate_deletes_an_assessment_and_an_erasure_does_not_touch_it(office: Office) -> None:
    """PIPL 56: report and records are kept at least three years. No operation but these knows the tables at all."""
    name = office.approved("test-33")
    office.call("assessment.revoke", assessment=name, reason="活动取消，不再开展")
    before = office.call("assessment.get", assessment=name)
    office.call("customers.erase", phone=population.phone(140), id_no=population.id_no(140), reason="客户要求删除")
    assert office.call("assessment.get", assessment=name) == before
    names = {one.name for one in office.node.gate.registry}
    assert not [one for one in names if one.startswith("assessment.") and any(word in one for word in ("delete", "erase", "remove"))]
    written = "".join(path.read_text("utf-8") for path in Path(model.__file__).parent.glob("*.py"))
    assert "DELETE" not in written and "shred" not in written


def test_a_report_is_exported_with_its_content_and_says_that_it_is_a_draft_for_lawyers(office: Office) -> None:
    name = office.approved("test-34")
    files = office.files(office.call("assessment.export", assessment=name))
    report = files["report.txt"].decode()
    for words in (*[WORDS[one] for one in ("necessity", "impact", "measures")], "PIPL 56 (1)", "PIPL 56 (2)", "PIPL 56 (3)", "有法律训练的人员", "C2", "测试名单"):
        assert words in report, words
    content = model.from_json(json.loads(files["content.json"]))
    assert model.digest(content) == office.call("assessment.get", assessment=name).info.digest
    assert office.entries("assessment.exported")[-1].values["assessment"] == name


@given(st.text(max_size=40), st.integers(1, 1096), st.sampled_from(["low", "medium", "high"]))
def test_content_reads_back_as_it_was_written_and_every_change_changes_its_digest(text: str, days: int, risk: str) -> None:
    facts = model.Facts(
        "p", "用途", "purpose", "bank", "", "phone", "", ("a",), "C2", (("broker", "甲", "A"),), (("→", "->"),), ("provision",),
        (model.ListFacts("C-1", "名单", "源", "部", "人", "法", "C2", "consent", 7, ("档",)),), (("措施", "measure"),),
    )  # fmt: skip
    content = model.Content(facts, model.Judgement(impact=text, risk=risk, valid_days=days))
    assert model.from_json(json.loads(json.dumps(model.as_json(content)))) == content
    other = model.Content(facts, model.Judgement(impact=text + "。", risk=risk, valid_days=days))
    assert model.digest(other) != model.digest(content) == model.digest(model.from_json(model.as_json(content)))


@pytest.mark.parametrize(
    ("approved", "needed", "covered"),
    [("C2", "C2", True), ("C2", "C1", True), ("C2", "C3", False), ("C3", "C3", True), ("C2", "?", False), ("", "C1", False)],
)
def test_an_assessment_covers_its_class_and_those_below(approved: str, needed: str, covered: bool) -> None:
    assert model.covers(approved, needed) is covered
    assert model.highest(["C1", "C2"]) == "C2" and model.highest([]) == model.highest(["C1", "odd"]) == "C3"
