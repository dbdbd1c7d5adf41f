"""The pages Rights desk and Impact assessment: clocks in words, only the steps that fit, nobody's identifier in sight."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from workbench_assessment.pages import forms as assessment_forms
from workbench_assessment.pages.page import AssessmentPage
from workbench_consent.pages import forms as consent_forms
from workbench_rights import complaint_operations, model, operations
from workbench_rights.pages import clocks, forms
from workbench_rights.pages.desk import DeskPage
from workbench_widgets.plain import holds_unmasked

from tests.app.desk import LANGUAGES, Desk
from tests.flows import population
from tests.flows.institutions import Institutions, fresh_institutions
from workbench.app.page import OFFLINE_CODE, PageContext, SilentSurroundings
from workbench.app.parts.acting import words_of
from workbench.app.parts.masking import masked
from workbench.app.texts import texts_of
from workbench.domain.party import Role
from workbench.loading import load_plugins
from workbench.node.erasure_operations import ERASURE_OPERATIONS
from workbench.node.withdrawals import WITHDRAWAL_OPERATIONS
from workbench.errors import PeerUnavailable, WorkbenchError


@pytest.fixture(scope="module")
def house() -> Iterator[Institutions]:
    with fresh_institutions() as made:
        yield made


def context(house: Institutions, role: Role, package: str, lang: str, params: dict[str, str]) -> tuple[PageContext, SilentSurroundings]:
    desk, around = Desk(house, "broker", role), SilentSurroundings()
    page = PageContext(
        client=desk,  # type: ignore[arg-type]
        me=desk.call("people.me"), package=package, params=params, lang=lang, surroundings=around,
    )  # fmt: skip
    return page, around


def desk_of(house: Institutions, role: Role, lang: str = "zh", **params: str) -> tuple[DeskPage, SilentSurroundings]:
    page, around = context(house, role, "workbench_rights", lang, params)
    made = DeskPage(page)
    asyncio.run(made.open())
    for section in (made.requests, made.complaints):
        if section in made.sections.all:
            asyncio.run(section.show())
    return made, around


def confirmed(house: Institutions, acting: Any, made: Any) -> Any:
    """Do what was just prepared, as the person would on the node's page, and tell the form."""
    operation, request = made.page.client.prepared[-1]
    reply = made.page.client.call(operation, **request)
    asyncio.run(acting._confirmed(acting.acts[operation], "done", reply))
    return reply


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_request_goes_from_the_counter_to_its_answer(house: Institutions, lang: str) -> None:
    made, around = desk_of(house, Role.COMPLIANCE, lang)
    section = made.requests
    asyncio.run(section.receiving.open("rights.receive"))
    section.receiving.fields["kind"].value = "copy"
    section.receiving.fields["phone"].value = population.phone(70 if lang == "zh" else 71)
    asyncio.run(section.receiving.do())
    assert section.detail is not None, section.receiving.told.told()
    number = section.detail["info"]["request"]
    assert section.acting._buttons["rights.identify"].visible and not section.acting._buttons["rights.answer"].visible
    assert number in made.strip.reason and made.strip.state == "pending"
    asyncio.run(section.acting.open("rights.identify"))
    section.acting.fields["method"].value = "in-person"
    assert section.acting.values()["confirmed"] is False, "nothing is confirmed before a person ticks it"
    section.acting.fields["confirmed"].value = [True]
    asyncio.run(section.acting.do())
    assert made.page.client.prepared[-1] == ("rights.identify", {"request": number, "method": "in-person", "note": "", "confirmed": True})
    confirmed(house, section.acting, made)
    asyncio.run(section.acting.open("rights.decide"))
    section.acting.fields["decision"].value, section.acting.fields["reason"].value = "granted", "the identity was checked"
    asyncio.run(section.acting.do())
    confirmed(house, section.acting, made)
    asyncio.run(section.acting.open("rights.answer"))
    reply = confirmed(house, section.acting, made)
    assert ("download", reply["download"]) in around.asked and section.detail["info"]["state"] == "ANSWERED"
    assert len(re.findall("yes", section.timeline.blocks)) == 1 and section.timeline.blocks.count("　") >= 4
    shown = section.case.blocks + section.timeline.blocks + str(section.table.rows)
    assert population.phone(70) not in shown and population.phone(71) not in shown and "****" in shown


def test_a_complaint_keeps_its_clock_its_tasks_and_its_attachment(house: Institutions) -> None:
    made, _ = desk_of(house, Role.COMPLIANCE)
    section = made.complaints
    asyncio.run(section.noting.open("complaints.note"))
    section.noting.fields["phone"].value = population.phone(72)
    section.noting.fields["facts"].value = "退订之后又接到两次来电"
    asyncio.run(section.noting.do())
    number = section.detail["info"]["complaint"]
    clock = section.table.rows[0]["clock"]
    assert "工作日" in clock["label"] and clock["state"] == "running", "seven working days are left"
    asyncio.run(section.acting.open("complaints.add_task"))
    section.acting.fields["text"].value, section.acting.fields["due_day"].value = "核对退订记录", "2099-12-31"
    asyncio.run(section.acting.do())
    assert section.tasks.rows, section.acting.told.told()
    [task] = section.tasks.rows
    assert task["can"] == ["finish"] and task["text"] == "核对退订记录"
    asyncio.run(section.acting.open("complaints.add_file"))
    section.acting._took("file", "来电记录.txt", b"two calls")
    asyncio.run(section.acting.do())
    assert [row["name"] for row in section.files.rows] == ["来电记录.txt"]
    asyncio.run(section.acting.open("complaints.told"))
    section.acting.fields["text"].value = "已告知处理方式"
    asyncio.run(section.acting.do())
    assert section.table.rows[0]["clock"]["state"] == "sealed"
    asyncio.run(section.acting.open("complaints.close"))
    section.acting.fields["reason"].value = "客户接受说明"
    asyncio.run(section.acting.do())
    with pytest.raises(WorkbenchError) as refused:
        confirmed(house, section.acting, made)
    assert refused.value.code == "TASK_OPEN"
    error = {"zh": refused.value.zh, "en": refused.value.en, "code": "TASK_OPEN"}
    asyncio.run(section.acting._confirmed(section.acting.acts["complaints.close"], "refused", error))
    assert "TASK_OPEN" in section.acting.told.blocks and section.acting.chosen is not None, "what was typed stays"
    asyncio.run(section._finish(task["id"]))
    section.finishing.fields["result"].value = "记录已改正"
    asyncio.run(section.finishing.do())
    assert section.tasks.rows[0]["state"]["state"] == "sealed"
    asyncio.run(section.look_at(number))
    assert population.phone(72) not in section.case.blocks + str(section.table.rows)


def test_marketing_writes_a_complaint_down_and_sees_no_case(house: Institutions) -> None:
    made, _ = desk_of(house, Role.MARKETING)
    [note] = made.sections.all
    assert note.name == "note" and "rights.list" not in made.page.client.called
    asyncio.run(note.acting.open("complaints.note"))
    note.acting.fields["facts"].value = "一位客户在网点投诉来电太多"
    asyncio.run(note.acting.do())
    assert note.noted["complaint"] in note.told.blocks


def test_an_auditor_reads_and_is_offered_nothing_to_do(house: Institutions) -> None:
    made, _ = desk_of(house, Role.AUDITOR)
    assert [one.name for one in made.sections.all] == ["requests", "complaints", "tasks"]
    assert not made.requests.acting.acts and not made.complaints.acting.acts and not made.requests.receiving.root.visible


def test_a_clock_says_late_in_words_and_colour() -> None:
    texts = texts_of("workbench_rights")["zh"]

    def t(key: str, **fields: object) -> str:
        return texts[key].format(**fields)

    def told(left: int, late: bool) -> dict[str, Any]:
        return clocks.clock({"days_left": left, "is_overdue": late}, t, is_open=True)

    assert told(-3, True) == {"state": "failed", "label": "逾期 3 个工作日"} and told(0, True)["state"] == "failed"
    assert told(0, False)["label"] == "今天到期" and told(2, False)["state"] == "pending" and told(5, False)["state"] == "running"
    assert clocks.first_due([{"due_ms": 5}, {"due_ms": 2}]) == {"due_ms": 2} and clocks.first_due([]) is None


def test_an_assessment_is_filled_in_submitted_and_approved_by_somebody_else(house: Institutions) -> None:
    page, _ = context(house, Role.COMPLIANCE, "workbench_assessment", "zh", {})
    made = AssessmentPage(page)
    asyncio.run(made.open())
    section = made.assessments
    asyncio.run(section.drafting.open("assessment.draft"))
    section.drafting.fields["purpose"].value, section.drafting.fields["recipient"].value = population.RICH, "bank"
    asyncio.run(section.drafting.do())
    assert not section.acting._buttons["assessment.submit"].visible and "PIPL 56" in section.written.blocks
    asyncio.run(section.acting.open("assessment.save"))
    for name in ("necessity", "impact", "measures", "residual"):
        section.acting.fields[name].value = f"{name}: a sentence long enough to be read by another person"
    section.acting.fields["risk"].value, section.acting.fields["conclusion"].value = "low", "proceed"
    asyncio.run(section.acting.do())
    assert section.detail["lacking"] == [], section.acting.told.told()
    asyncio.run(section.acting.open("assessment.submit"))
    assert section.detail["info"]["state"] == "SUBMITTED" and not section.acting._buttons["assessment.approve"].visible
    assert "1 份待批准" in made.strip.sentence
    other, _ = context(house, Role.APPROVER, "workbench_assessment", "en", {})
    theirs = AssessmentPage(other)
    asyncio.run(theirs.open())
    asyncio.run(theirs.assessments.look_at(section.detail["info"]["assessment"]))
    assert theirs.assessments.acting._buttons["assessment.approve"].visible
    asyncio.run(theirs.assessments.acting.open("assessment.approve"))
    confirmed(house, theirs.assessments.acting, theirs)
    assert theirs.assessments.table.rows[0]["state"]["state"] == "sealed" and "1 assessments cover" in theirs.strip.sentence


def test_a_drill_finds_the_affected_and_makes_marked_drafts(house: Institutions) -> None:
    page, _ = context(house, Role.COMPLIANCE, "workbench_assessment", "zh", {"section": "breaches"})
    made = AssessmentPage(page)
    asyncio.run(made.open())
    section: Any = made.sections.shown
    asyncio.run(section.opening.open("breach.open"))
    section.opening.fields["what"].value = "演练：一份名单被误发"
    section.opening.fields["lists"].value = list(section.list_ids.values())
    asyncio.run(section.opening.do())
    assert section.chosen is not None, section.opening.told.told()
    asyncio.run(section.acting.open("breach.affected"))
    assert section.affected["persons"] > 0 and section.places.rows[0]["found"] > 0
    assert section.table.rows[0]["persons"] == section.affected["persons"]


def test_every_word_the_forms_and_pages_ask_for_exists() -> None:
    for package, acts, folder in (
        ("workbench_rights", forms.ALL_ACTS, Path(forms.__file__).parent),
        ("workbench_assessment", assessment_forms.ALL_ACTS, Path(assessment_forms.__file__).parent),
    ):
        known = texts_of(package)["zh"].keys()
        assert words_of(acts) <= known, words_of(acts) - known
        asked = set()
        for path in folder.glob("*.py"):
            source = path.read_text("utf-8")
            asked |= set(re.findall(r'\bt\(\s*"([a-z_]+\.[\w-]+)"', source)) | set(re.findall(r'(?:button|select|label)\([^"()]*"([a-z_]+\.\w+)"', source))
        assert len(asked) > 20 and asked <= known, asked - known
    assert forms.KINDS == tuple(str(one.value) for one in model.RightsKind) and set(forms.CATEGORIES) == set(model.CATEGORIES)
    assert set(forms.OUTCOMES) == set(model.OUTCOMES) and set(forms.STEPS) == set(model.STEPS) and set(forms.METHODS) == set(model.METHODS)
    told = {one.name: one for one in (*operations.RIGHTS_OPERATIONS, *complaint_operations.COMPLAINT_OPERATIONS)}
    assert all(one.password == told[one.operation].fresh_password for one in forms.ALL_ACTS)


def test_a_number_that_staff_typed_is_masked_and_breaks_no_page(house: Institutions) -> None:
    made, around = desk_of(house, Role.COMPLIANCE)
    section = made.complaints
    asyncio.run(section.noting.open("complaints.note"))
    section.noting.fields["facts"].value = "客户留的回电号码另记"
    asyncio.run(section.noting.do())
    number = section.detail["info"]["complaint"]
    made.page.client.call("complaints.add_task", complaint=number, text=f"回电 {population.phone(73)}，核对 {population.id_no(73)}", due_day="2099-12-31")
    asyncio.run(section.look_at(number))
    [task] = section.tasks.rows
    assert "回电" in task["text"] and "****" in task["text"] and population.phone(73) not in task["text"] and population.id_no(73) not in task["text"]
    assert not [one for one in around.asked if one[0] == "fault"]
    for text in ("+86 138 1234-5678", "31010119900307123x", "13812345678,13912345678", "J-20261122-00000001", "2026-11-22 14:05"):
        assert not holds_unmasked(masked(text)) and (masked(text) == text) == ("20261122" in text or "14:05" in text)


def test_a_section_that_could_not_be_read_says_so_and_is_read_again(house: Institutions) -> None:
    made, _ = desk_of(house, Role.COMPLIANCE)
    section: Any = next(one for one in made.sections.all if one.name == "tasks")
    client: Any = made.page.client

    def away(operation: str, **request: Any) -> Any:
        raise PeerUnavailable("本机构的节点没有回应", "the node does not answer", code=OFFLINE_CODE)

    client.call = away
    for _ in range(2):
        with pytest.raises(PeerUnavailable):
            asyncio.run(section.show())
        assert (section.table.state, section.led.state, section.is_read) == ("failed", "failed", False)
        assert section.table.notice == {"sentence": "本机构的节点没有回应", "code": OFFLINE_CODE}
    del client.call
    asyncio.run(section.show())
    assert section.table.state in ("done", "empty") and section.led.state in ("done", "empty") and section.is_read


def test_a_task_group_is_opened_from_the_page(house: Institutions) -> None:
    made, _ = desk_of(house, Role.COMPLIANCE)
    section = made.complaints
    asyncio.run(section.noting.open("complaints.note"))
    section.noting.fields["phone"].value, section.noting.fields["facts"].value = population.phone(74), "陌生机构来电，提到持仓"
    asyncio.run(section.noting.do())
    asyncio.run(section.acting.open("complaints.handle"))
    section.acting.fields["is_major"].value = [True]
    asyncio.run(section.acting.do())
    asyncio.run(section.acting.open("complaints.open_group"))
    fields = section.acting.fields
    fields["text"].value, fields["due_day"].value, fields["parties"].value = "核对外发记录", "2099-12-31", ["bank", "cardnet"]
    asyncio.run(section.acting.do())
    confirmed(house, section.acting, made)
    assert section.detail is not None and section.detail["info"]["group"], section.acting.told.told()
    assert sorted(one["party"]["tile"] for one in section.tasks.rows) == ["丙", "乙"]


def test_every_form_asks_for_fields_that_its_operation_takes() -> None:
    """Whatever a form makes of what was typed, the node must know each of its members; what the page adds itself is not looked at."""
    found = [one for _, many in load_plugins().collect("workbench_operations") for one in many]
    known = {one.name: one for one in (*found, *ERASURE_OPERATIONS, *WITHDRAWAL_OPERATIONS)}
    samples = {"choices": ["x"], "tick": True, "number": 1, "pairs": {}, "words": [], "day": "2026-01-01"}
    for act in (*forms.ALL_ACTS, *assessment_forms.ALL_ACTS, *consent_forms.ALL_ACTS):
        values = {one.name: samples.get(one.kind, "12.5") for one in act.fields}
        request = act.shape(dict(values)) if act.shape is not None else values
        assert request.keys() <= known[act.operation].request.model_fields.keys(), act.operation
