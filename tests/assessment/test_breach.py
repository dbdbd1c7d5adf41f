"""A breach: whom it concerns, against a naive search; three items in both languages or refused; drills that cannot be mistaken."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import pytest

from tests.assessment.conftest import Office
from tests.flows import population
from workbench.domain.party import Role
from workbench.errors import Denied, NotFound, Refused
from workbench.store.frames import get_frame
from workbench_assessment import letters

ITEMS = {
    "cause_zh": "员工误将名单发往外部邮箱", "cause_en": "a list was sent to an outside mailbox by mistake",
    "harm_zh": "可能收到骚扰电话", "harm_en": "unwanted calls may follow",
    "done_zh": "已要求收件方删除并书面确认", "done_en": "the recipient confirmed deletion in writing",
    "advice_zh": "留意陌生来电，不要转账", "advice_en": "beware of unknown callers, transfer nothing",
    "contact_zh": "个人信息保护负责人 内线 0000", "contact_en": "personal information officer, extension 0000",
    "reason": "可能造成危害，须告知",
}  # fmt: skip


def opened(office: Office, kind: str = "incident", **scope: Any) -> str:
    return str(office.call("breach.open", kind=kind, what="名单误发至外部邮箱", **(scope or {"jobs": [office.job]})).breach)


def table(office: Office, breach: str) -> list[dict[str, str]]:
    text = office.file(office.call("breach.table", breach=breach)).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text.split("\r\n", 1)[1])))


def test_the_persons_of_a_job_are_exactly_those_of_its_released_list(office: Office) -> None:
    released = set(office.three.released_phones("broker", office.job))
    breach = opened(office)
    told = office.call("breach.affected", breach=breach)
    assert told.persons == len(released) and told.unfound == 0
    assert {one["phone"] for one in table(office, breach)} == released
    [place] = [one for one in told.places if one.kind == "job"]
    assert (place.told, place.found, place.differs) == (len(released), len(released), False)
    exports = [one for one in told.places if one.kind == "export"]
    assert any("资产档" in one.columns for one in exports)
    assert not [phone for phone in released if phone in told.model_dump_json()]
    assert office.entries("breach.searched")[-1].values["persons"] == str(len(released))


def test_a_list_and_a_job_count_every_person_once(office: Office) -> None:
    """Naive: people by identity number, written apart from the search."""
    info = office.node.lists.newest()
    frame = office.node.lists.frame(info.list_id)
    people = {row["id_no"] or row["phone"] or row["customer_id"] for row in frame.iter_rows(named=True)}
    breach = opened(office, lists=[info.list_id], jobs=[office.job])
    assert office.call("breach.affected", breach=breach).persons == len(people) < frame.height, "one is listed twice"
    rows = table(office, breach)
    assert len(rows) == len(people)
    both = next(one for one in rows if one["phone"] == office.three.released_phones("broker", office.job)[0])
    assert set(both["places"].split()) == {info.list_id, office.job}


def test_days_find_every_release_of_these_days_and_none_of_others(office: Office) -> None:
    today = office.node.today()
    breach = opened(office, from_day=str(today), to_day=str(today))
    jobs = {one.job for one in office.entries("intersection.released")}
    told = office.call("breach.affected", breach=breach)
    assert {one.name for one in told.places if one.kind == "job"} == jobs
    persons: set[str] = set()
    with office.node.store.read() as reader:
        for job in jobs:
            if office.node.jobs.get(job).state == "RELEASED":
                persons |= set(get_frame(reader, office.node.vault, f"result/{job}")["phone"].to_list())
    assert told.persons == len(persons)
    earlier = opened(office, from_day=str(today - timedelta(days=3)), to_day=str(today - timedelta(days=1)))
    assert office.call("breach.affected", breach=earlier).persons == 0


def test_who_was_erased_since_is_missing_here_and_the_log_still_counts_them(office: Office) -> None:
    job = office.three.run("broker", "bank", "test-10", audience="资产档 in (A, B)")[0].job
    phone = office.three.released_phones("broker", job)[0]
    office.call("customers.erase", phone=phone, reason="客户要求删除")
    told = office.call("breach.affected", breach=opened(office, jobs=[job]))
    [place] = [one for one in told.places if one.kind == "job"]
    assert place.differs and place.told == place.found + 1 and told.unfound == 1


def test_the_letters_hold_the_three_items_in_both_languages_and_say_that_they_are_drafts(office: Office) -> None:
    breach = opened(office)
    made = office.call("breach.letters", breach=breach, **ITEMS)
    files = {name: data.decode() for name, data in office.files(made).items()}
    assert sorted(files) == made.documents == ["authority.txt", "customers.txt"]
    for text in files.values():
        for name, value in ITEMS.items():
            assert value in text or name == "reason", name
        for heading in ("一、", "二、", "三、", "1. ", "2. ", "3. ", "草稿", "DRAFT", "手机号", "phone number"):
            assert heading in text, heading
        assert not [phone for phone in office.three.released_phones("broker", office.job) if phone in text]
        assert "演练" not in text and "DRILL" not in text
    assert str(office.call("breach.affected", breach=breach).persons) in files["authority.txt"]
    assert office.job in files["authority.txt"] and office.job not in files["customers.txt"]
    assert office.entries("breach.letters_made")[-1].values["tell_persons"] == "yes"


@pytest.mark.parametrize("left_out", [name for name in ITEMS if name != "reason"])
def test_an_empty_item_is_refused_and_named(left_out: str) -> None:
    words = {**ITEMS, left_out: " "}
    pairs = [(words[f"{name}_zh"], words[f"{name}_en"]) for name in ("cause", "harm", "done", "advice", "contact")]
    with pytest.raises(Refused) as refused:
        letters.require_complete(letters.Items(("phone",), *pairs))
    assert refused.value.code == "BREACH_ITEMS" and "第五十七条" in refused.value.zh
    assert ("一、" in refused.value.zh) == left_out.startswith(("cause", "harm"))
    assert ("二、" in refused.value.zh) == left_out.startswith(("done", "advice"))
    assert ("三、" in refused.value.zh) == left_out.startswith("contact")


def test_the_gate_refuses_an_incomplete_notice_and_makes_no_file(office: Office) -> None:
    before = len(office.entries("breach.letters_made"))
    with pytest.raises(Refused) as refused:
        office.call("breach.letters", breach=opened(office), **{**ITEMS, "advice_en": ""})
    assert refused.value.code == "BREACH_ITEMS" and len(office.entries("breach.letters_made")) == before


def test_without_a_contact_the_setting_stands_in_and_without_that_it_is_refused(office: Office) -> None:
    words = {**ITEMS, "contact_zh": "", "contact_en": ""}
    breach = opened(office)
    text = office.files(office.call("breach.letters", breach=breach, **words))["customers.txt"].decode()
    assert office.node.setting("assessment.contact")["zh"] in text
    office.node.setting = lambda name: {} if name == "assessment.contact" else office.node.settings[name]
    try:
        with pytest.raises(Refused) as refused:
            office.call("breach.letters", breach=breach, **words)
    finally:
        del office.node.setting
    assert "三、" in refused.value.zh


def test_persons_are_not_told_only_with_a_reason_and_then_there_is_no_letter_for_them(office: Office) -> None:
    made = office.call("breach.letters", breach=opened(office), **{**ITEMS, "tell_persons": False, "reason": "密文泄露，密钥未失，危害已避免"})
    files = office.files(made)
    assert list(files) == ["authority.txt"]
    text = files["authority.txt"].decode()
    assert "第五十七条第二款" in text and "密文泄露，密钥未失" in text


def test_a_drill_goes_the_same_way_and_nothing_of_it_can_be_mistaken(office: Office) -> None:
    breach = opened(office, kind="drill", jobs=[office.job])
    made = office.call("breach.letters", breach=breach, **ITEMS)
    assert "DRILL" in made.name and "演练" in made.mark_zh
    for data in office.files(made).values():
        assert data.decode().count("DRILL") >= 2 and "演练：不是真实事件" in data.decode()
    reply = office.call("breach.table", breach=breach)
    text = office.file(reply).decode("utf-8-sig")
    assert "DRILL" in reply.name and "DRILL" in text.split("\r\n")[0] and reply.rows > 0
    for phone in office.three.released_phones("broker", office.job):
        assert phone not in text
    assert all(population.id_no(one) not in text for one in population.KNOWN["broker"])


def test_it_ends_with_a_report_and_a_changed_plan_and_an_open_incident_stays_on_the_health_page(office: Office) -> None:
    for one in office.call("breach.list").breaches:
        if one.state == "OPEN":
            office.call("breach.close", breach=one.breach, report="演示事件，已复盘，责任人已明确，措施已落实。", plan="应急预案第三节增加外发邮件双人复核的规定。")
    opened(office, kind="drill", jobs=[office.job])
    assert not any(one.name == "breach" and one.state == "warning" for one in office.node.health()), "a drill alarms nobody"
    breach = opened(office)
    assert any(one.name == "breach" and one.state == "warning" for one in office.node.health())
    for report, plan in (("", "应急预案第三节增加外发邮件双人复核的规定。"), ("演示事件，已复盘，责任人已明确，措施已落实。", "改了")):
        with pytest.raises(Refused) as refused:
            office.call("breach.close", breach=breach, report=report, plan=plan)
        assert refused.value.code == "REPORT_MISSING"
    done = office.call("breach.close", breach=breach, report="演示事件，已复盘，责任人已明确，措施已落实。", plan="应急预案第三节增加外发邮件双人复核的规定。")
    assert done.state == "CLOSED" and office.call("breach.affected", Role.AUDITOR, breach=breach).plan.startswith("应急预案")
    with pytest.raises(Refused):
        office.call("breach.close", breach=breach, report="演示事件，已复盘，责任人已明确，措施已落实。", plan="应急预案第三节增加外发邮件双人复核的规定。")


def test_a_scope_that_is_empty_or_unknown_is_refused(office: Office) -> None:
    with pytest.raises(Refused):
        office.call("breach.open", kind="incident", what="范围还不知道")
    with pytest.raises(NotFound):
        office.call("breach.open", kind="incident", what="任务编号写错了", jobs=["J-20261122-00000000"])
    with pytest.raises(Denied):
        office.call("breach.open", Role.MARKETING, kind="drill", what="营销岗不能登记", jobs=[office.job])
    with pytest.raises(Denied):
        office.call("breach.table", Role.AUDITOR, breach=opened(office))
