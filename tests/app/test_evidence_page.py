"""The page Evidence over real nodes: what it answers, what it draws, and what it never claims."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workbench_consent.grants import Reason
from workbench_ledger.pages import verdict
from workbench_ledger.pages.board import KIND_AREAS
from workbench_ledger.pages.evidence import Asked
from workbench_ledger.pages.inspector import diff_rows, field_rows
from workbench_ledger.pages.story import LONG_ROUTINE, LONG_RUN, RUN, folded, lane_rows, newest_within, place, steps
from workbench_ledger.pages.words import safe
from workbench_widgets import FieldDiff, Lanes

from tests.app.desk import LANGUAGES, PARTIES, buttons, entry, frame, opened, words
from tests.flows.institutions import Institutions, fresh_institutions
from tests.flows.evidence import change_body, index_of, sealed_job
from workbench.domain.party import Role
from workbench.loading import load_plugins
from workbench.node.kinds import HOST_KINDS

# ---------------------------------------------------------------------------------------------- rows of a story


@pytest.mark.parametrize("lang", LANGUAGES)
def test_two_records_of_a_frame_are_one_arrow_from_sender_to_recipient(lang: str) -> None:
    entries = [*frame(1, "points"), *frame(2, "points", "bank", "broker")]
    made = steps(entries, words(lang), joined=True)
    assert [(one.sender, one.recipient, one.id) for one in made] == [
        ("broker", "bank", "broker/1"), ("bank", "broker", "broker/2")
    ]  # fmt: skip
    assert all(set(one.records) == {f"broker/{number}", f"bank/{number}"} for number, one in enumerate(made, start=1))


def test_a_frame_with_one_record_says_whose_it_is_and_is_not_sealed() -> None:
    lonely = frame(1, "points")[1] | {"counterpart": ""}
    [step] = steps([lonely], words(), joined=True)
    assert "乙银行" in step.text and step.state == "pending" and (step.sender, step.recipient) == ("broker", "bank")
    [alone] = steps([lonely], words(), joined=False)
    assert alone.state == "sealed"


def test_a_frame_whose_other_record_is_on_another_page_lacks_nothing() -> None:
    for one in frame(1, "points"):
        [step] = steps([one], words(), joined=True)
        assert step.state == "sealed" and not step.is_lonely and "只有" not in step.text


def test_an_arrow_is_as_bad_as_the_worse_of_its_records() -> None:
    for changes, expected in (({"seal": "PENDING"}, "pending"), ({"problem": "EDITED"}, "tampered")):
        sent, received = frame(1, "points")
        [step] = steps([sent, received | changes], words(), joined=True)
        assert step.state == expected
    [step] = steps(frame(1, "points"), words(), joined=True, changed={"bank/1"})
    assert step.state == "tampered"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["qkd.block_distilled", "people.signed_in"]), max_size=60), st.integers(1, 20))
def test_a_page_of_a_log_takes_as_many_entries_as_fold_into_its_rows(kinds: list[str], rows: int) -> None:
    entries = [entry("broker", number, kind=kind, time_ms=number) for number, kind in enumerate(kinds)]
    shown = newest_within(entries, rows)
    assert shown == entries[len(entries) - len(shown) :], "the newest, without a gap"
    assert len(shown) >= min(rows, len(entries))
    assert len(folded(steps(shown, words(), joined=False), words())) <= rows


def test_long_runs_fold_into_one_row_but_never_around_a_changed_frame() -> None:
    entries = [one for number in range(20) for one in frame(number, "slice", *(("broker", "bank") if number % 2 else ("bank", "broker")))]
    made = steps([entry("broker", 90, time_ms=1), *entries, entry("bank", 91, time_ms=9_000)], words(), joined=True)
    rows = folded(made, words())
    assert [one.id.startswith(RUN) for one in rows] == [False, True, False]
    assert len(rows[1].records) == 40
    assert len(folded(made, words(), {rows[1].id})) == 22
    wrong = steps([one | ({"problem": "EDITED"} if one["index"] == 7 else {}) for one in entries], words(), joined=True)
    assert len(folded(wrong, words())) == 20
    blocks = [entry("broker", 100 + number, kind="qkd.block_distilled", time_ms=number) for number in range(LONG_ROUTINE)]
    alarm, later = entry("broker", 120, kind="qkd.alarm_raised", time_ms=50), entry("bank", 121, kind="qkd.block_distilled", time_ms=60)
    rows = folded(steps([*blocks, alarm, later], words(), joined=False), words())
    assert [(one.id.startswith(RUN), len(one.records)) for one in rows] == [(True, LONG_ROUTINE), (False, 1), (False, 1)], "an alarm is never folded"
    assert len(folded(steps([blocks[0] | {"problem": "EDITED"}, *blocks[1:]], words(), joined=False), words())) == LONG_ROUTINE
    few = steps([one for number in range(LONG_RUN - 1) for one in frame(number, "slice")], words(), joined=True)
    assert len(folded(few, words())) == LONG_RUN - 1


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("numbered", [True, False])
def test_the_lanes_take_every_story(lang: str, numbered: bool) -> None:
    texts = words(lang)
    entries = [entry("broker", 3, "something.new"), *[one for number in range(4, 9) for one in frame(number, "points")][::2]]
    heads = [head("bank"), head("broker", signers=("broker",))]
    rows = lane_rows(steps(entries, texts, joined=numbered), heads, texts, numbered=numbered)
    lanes = Lanes(lanes=[texts.tiles(one) for one in texts.ordered()], rows=rows)
    assert [lane["tile"] for lane in lanes.lanes] == ["甲", "乙", "丙"]
    assert [row["kind"] for row in rows][-2:] == ["checkpoint", "checkpoint"]
    assert rows[-1]["state"] == "pending"
    assert rows[0]["text"]


# ---------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_kind_of_entry_and_field_has_words(lang: str) -> None:
    """Staff never meet a bare identifier where the plugin that writes the entry has explained it."""
    texts = words(lang)
    kinds = [*HOST_KINDS, *load_plugins().collect_all("workbench_evidence_kinds")]
    assert len(kinds) > 30
    for kind in kinds:
        values = {field.name: "7" for field in kind.fields}
        one = entry("broker", 1, kind.name, zh=kind.zh, en=kind.en, values=values)
        for told in (texts.name(one), texts.title(one), texts.meaning(one)):
            assert told and told != kind.name and "{" not in told
        hidden = one | {"values": {}, "closed": [field.name for field in kind.fields]}
        assert texts.name(hidden) and "7" not in texts.name(hidden)


def test_every_area_of_kinds_can_be_chosen_and_has_a_word() -> None:
    kinds = [*HOST_KINDS, *load_plugins().collect_all("workbench_evidence_kinds")]
    assert {f"{one.name.partition('.')[0]}." for one in kinds} - {"regulator."} <= set(KIND_AREAS)
    for lang in LANGUAGES:
        assert len({words(lang).t(f"kind.{one}") for one in KIND_AREAS}) == len(KIND_AREAS)


def test_every_reason_for_leaving_a_customer_out_has_a_word() -> None:
    for lang in LANGUAGES:
        told = [words(lang).value("reasons", json.dumps({one.name: 1})) for one in Reason if one is not Reason.OK]
        assert not [text for text in told if "_" in text or text.split(" ")[0].isupper()]


def test_every_frame_of_the_protocol_has_words() -> None:
    from workbench_psi.wire import Kind

    for kind in (*Kind, "proposal", "approval", "attempt", "offer", "contract", "released"):
        for lang in LANGUAGES:
            assert words(lang).frame(str(kind)) != str(kind)


def test_an_identifier_of_a_person_is_never_drawn_whatever_field_it_came_in() -> None:
    assert safe("电话 19912345678 的客户") == "****"
    one = {"name": "reason", "zh": "理由", "en": "reason", "unit": "", "visibility": "shared", "value": "打给 19912345678"}
    [row] = field_rows([one], entry("broker", 1), words())
    assert row["value"] == "****"
    rows = [{"name": "actor", "zh": "经办", "en": "who", "visibility": "", "here": "19912345678", "cosigned": "P-1"}]
    assert FieldDiff(rows=diff_rows(rows, words())).rows[0]["here"] == "****"


def test_a_value_that_only_the_partner_knows_is_said_to_be_unknown() -> None:
    one = {"name": "customers", "zh": "人数", "en": "customers", "unit": "1", "visibility": "committed", "value": None}
    [row] = field_rows([one], entry("bank", 1), words())
    assert "不可知" in row["value"] and "乙银行" in row["value"]


_VALUE = st.one_of(st.none(), st.text(max_size=80), st.sampled_from(["", "7", "1" * 64, "phone", "2026-11-21T22:10:28.690Z"]))


@given(
    here=_VALUE, cosigned=_VALUE, name=st.sampled_from(["time", "job", "kind", "refs", "partner", "dropped", "reasons"]),
    visibility=st.sampled_from(["", "shared", "committed"]), lang=st.sampled_from(LANGUAGES),
)  # fmt: skip
def test_a_difference_is_always_drawn_as_a_difference(here: Any, cosigned: Any, name: str, visibility: str, lang: str) -> None:
    """Shortening or masking two values must not make them look the same."""
    row = {"name": name, "zh": "字段", "en": "field", "visibility": visibility, "here": here, "cosigned": cosigned}
    drawn = FieldDiff(rows=diff_rows([row], words(lang))).rows
    if here is None and cosigned is None:
        return
    if here == cosigned:
        assert all(one["verdict"] == "same" for one in drawn)
    else:
        assert [one["verdict"] for one in drawn] != ["same"] and drawn


# ---------------------------------------------------------------------------------------------- verdicts


def head(log: str, signers: tuple[str, ...] = ("bank", "broker", "cardnet"), **other: Any) -> dict[str, Any]:
    signatures = [{"party": one[0], "valid": one[0] in signers, "time_ms": 5_000 if one[0] in signers else None} for one in PARTIES]
    return {"log": log, "entries": 10, "size": 12, "signatures": signatures, "required": ["bank", "broker"], **other}


def check(**other: Any) -> dict[str, Any]:
    made = {
        "checked": 20, "agree": 20, "changed": 0, "pending": 0, "without_values": 4, "logs": [head("bank"), head("broker")],
        "problems": [], "comparisons": [], "conflicts": [],
    }  # fmt: skip
    return {**made, **other}


def changed(*, proven: bool = True, log: str = "broker") -> dict[str, Any]:
    row = {"name": "dropped", "zh": "剔除的人数", "en": "dropped", "visibility": "shared", "here": "3", "cosigned": "0"}
    comparison = {
        "log": log, "index": 181, "kind": "intersection.grants", "zh": "复核", "en": "check", "proven": proven,
        "copies": {"bank": "cosigned" if proven else "absent", "cardnet": "absent"}, "rows": [row] if proven else [],
    }  # fmt: skip
    problem = {"log": log, "index": 181, "problem": "EDITED"}
    return check(changed=1, agree=19, problems=[problem], comparisons=[comparison])


def test_the_worst_of_what_was_found_decides_the_colour() -> None:
    texts = words()
    pending = [head("bank", signers=("bank",)), head("broker")]
    third = [head("bank", signers=("bank", "broker")), head("broker")]
    assert verdict.of_job(check(), 0, texts).state == "sealed"
    assert verdict.of_job(check(), 1, texts).state == "pending"
    assert verdict.of_job(check(pending=3, agree=17, logs=pending), 1, texts).state == "pending"
    assert verdict.of_job({**changed(), "pending": 1, "logs": pending}, 1, texts).state == "tampered"
    degraded = verdict.of_job(check(logs=third), 0, texts)
    assert degraded.state == "sealed" and "2/3" in degraded.badge["label"] and "丙卡组织" in degraded.todo


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_changed_entry_is_told_with_place_field_both_values_and_who_acts(lang: str) -> None:
    texts = words(lang)
    answer = verdict.of_job(changed(), 0, texts)
    for part in ("181", texts.party("broker"), "3", "0", texts.party("bank")):
        assert part in answer.reason
    assert texts.party("broker") in answer.todo and "1" in answer.tab
    assert texts.party("cardnet") not in answer.reason


def test_a_field_is_not_named_without_a_copy_that_the_signatures_prove() -> None:
    answer = verdict.of_job(changed(proven=False), 0, words())
    assert answer.state == "tampered" and "181" in answer.reason and "剔除" not in answer.reason and "说不出" in answer.reason


def test_a_missing_required_signature_is_named_and_nothing_is_called_final() -> None:
    answer = verdict.of_job(check(pending=10, agree=10, logs=[head("bank", signers=("bank",)), head("broker")]), 0, words())
    assert "甲证券" in answer.sentence and "不能作准" in answer.sentence and "导出" in answer.todo


def test_who_does_not_answer_is_to_be_called_instead_of_waited_for() -> None:
    late = check(pending=10, agree=10, logs=[head("bank"), head("broker", signers=("broker",))])
    assert "不必操作" in verdict.of_job(late, 0, words()).todo
    called = verdict.of_job(late, 0, words(), silent=["bank"]).todo
    assert "乙银行的节点没有回应" in called and "甲证券运维" in called and "导出" in called
    third = check(logs=[head("bank", signers=("bank", "broker")), head("broker")])
    assert "丙卡组织的节点没有回应" in verdict.of_job(third, 0, words(), silent=["cardnet"]).todo


def test_an_outsider_is_told_that_it_sees_digests_only() -> None:
    assert "不是参与方" in verdict.of_job(check(), 0, words(own="cardnet")).reason
    assert "不是参与方" not in verdict.of_job(check(), 0, words()).reason


def audit(**other: Any) -> dict[str, Any]:
    made = {"entries": 100, "mirrors": {"bank": 50, "cardnet": 9}, "findings": [], "conflicts": [], "comparisons": [], "pending": 0}
    return {**made, **other}


def test_findings_about_trees_do_not_count_as_further_entries() -> None:
    found = [{"log": "broker", "index": index, "problem": problem, "field": "", "zh": "改", "en": "changed"}
             for index, problem in ((181, "EDITED"), (None, "TREE"), (156, "CHECKPOINT"))]  # fmt: skip
    answer = verdict.of_log(audit(findings=found), words())
    assert [number["value"] for number in answer.numbers] == [159, 158, 1, 0] and "1 条" in answer.sentence
    alone = verdict.of_log(audit(findings=found[1:]), words())
    assert alone.state == "tampered" and alone.numbers[2]["value"] == 2


def test_two_histories_are_shown_side_by_side_and_neither_is_believed() -> None:
    note = "workbench.example/p/bank\n{}\n{}\nsm3 x\n\n— x\n"
    conflict = {"log": "bank", "size": 12, "held": note.format(12, "AAAAAAAA1"), "offered": note.format(13, "BBBBBBBB2")}
    finding = {"log": "bank", "index": None, "problem": "CONFLICT", "field": "", "zh": "矛盾", "en": "conflict"}
    of_log = verdict.of_log(audit(conflicts=[conflict], findings=[finding]), words())
    answer = verdict.of_job(check(conflicts=[conflict]), 0, words())
    assert of_log.sentence == answer.sentence and of_log.numbers[2]["value"] == 0
    assert answer.state == "tampered" and "乙银行" in answer.sentence
    assert "12 条" in answer.reason and "13 条" in answer.reason and "AAAAAAAA" in answer.reason and "BBBBBBBB" in answer.reason
    assert "没有签过" in verdict.head_of("", words())


def test_a_log_nobody_checked_is_not_called_believable() -> None:
    for may in (True, False):
        assert verdict.unchecked(10, 2, words(), may_audit=may).state == "info"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_hits_say_what_was_searched_and_what_cannot_be(lang: str) -> None:
    answer = verdict.no_hits("xyz", "", words(lang), changed=2)
    assert "xyz" in answer.sentence and answer.reason.count("2") == 1 and "2" in answer.tab
    assert verdict.no_hits("19912345678", "", words(lang)).sentence.count("****") == 1


# ---------------------------------------------------------------------------------------------- the page


@pytest.fixture(scope="module")
def house() -> Iterator[Institutions]:
    with fresh_institutions() as made:
        yield made


@pytest.fixture(scope="module")
def job(house: Institutions) -> str:
    return sealed_job(house)


def test_a_job_is_answered_with_its_story_its_proof_and_its_receipt(house: Institutions, job: str) -> None:
    made, _ = opened(house, Role.COMPLIANCE, job=job)
    assert made.answer.state == "sealed" and made.numbers.items[2]["value"] == 0
    assert [row["text"] for row in made.lanes.rows].count("提议") == 1
    assert made.inspector.entry is not None and made.inspector.entry["entry"]["kind"] == "intersection.released"
    assert made.receipt_card.receipt["command"].startswith("workbench verify R-")
    assert buttons(made) == ["job_receipt", "audit"]
    assert made.selected == f"broker/{index_of(house, 'broker', job, 'intersection.released')}"


def test_compliance_without_a_job_gets_the_whole_log_audited(house: Institutions, job: str) -> None:
    made, _ = opened(house, Role.COMPLIANCE)
    assert made.audit is not None and made.audit["holds"] and made.answer.state == "sealed"
    assert made.lanes.rows[-1]["index"] == made.timeline["entries"][-1]["index"]  # type: ignore[index]
    asyncio.run(made._turn_page("older"))
    assert made.lanes.rows[-1]["index"] < made.timeline["total"] - 1  # type: ignore[index]


@pytest.mark.parametrize("role", [Role.MARKETING, Role.APPROVER])
def test_marketing_gets_its_newest_job_checked_and_no_audit_button(house: Institutions, job: str, role: Role) -> None:
    made, _ = opened(house, role)
    assert made.asked.job == job and made.answer.state == "sealed"
    assert "audit" not in buttons(made) and "check" in buttons(made)
    assert "evidence.audit" not in made.page.client.called  # type: ignore[attr-defined]
    assert not any("授权筛选" in row["text"] for row in made.lanes.rows)


def test_an_outsider_of_the_job_sees_the_story_by_digests(house: Institutions, job: str) -> None:
    made, _ = opened(house, Role.COMPLIANCE, party="cardnet", job=job)
    assert "不是参与方" in made.answer.reason and made.answer.state == "sealed"
    assert {row["from"] for row in made.lanes.rows if row["kind"] == "message"} == {"broker", "bank"}


def test_a_changed_row_turns_page_tab_row_and_inspector_red(house: Institutions, job: str) -> None:
    index = index_of(house, "broker", job, "intersection.grants")
    undo = change_body(house, "broker", index, lambda body: body.replace(b'"dropped":"0"', b'"dropped":"3"'))
    try:
        for role in (Role.MARKETING, Role.COMPLIANCE):
            made, around = opened(house, role, job=job)
            assert made.answer.state == "tampered" and "「3」" in made.answer.reason and "「0」" in made.answer.reason
            assert ("tab", ("证据　1 条被改", False)) in around.asked
            assert [row["id"] for row in made.lanes.rows if row["state"] == "tampered"] == [f"broker/{index}"]
            assert made.selected == f"broker/{index}" and made.lanes.selected is not None
            assert [row["verdict"] for row in made.inspector._diff.rows].count("differs") == 1
            assert made.inspector._chain.proof["leaf_hash"]
        made, _ = opened(house, Role.COMPLIANCE, lang="en")
        assert made.answer.state == "tampered" and made.findings.rows[0]["id"] == f"broker/{index}"
        made.page.lang = "zh"
        assert "被改过" in made.answer.sentence
    finally:
        undo()


def test_a_ruined_row_does_not_take_the_page_away(house: Institutions, job: str) -> None:
    index = index_of(house, "broker", job, "intersection.contract")
    undo = change_body(house, "broker", index, lambda body: body[:40])
    try:
        made, around = opened(house, Role.COMPLIANCE, job=job)
        assert made.answer.state == "tampered" and not [one for one in around.asked if one[0] in ("error", "fault")]
        assert [row["id"] for row in made.lanes.rows if row["state"] == "tampered"] == [f"broker/{index}"]
    finally:
        undo()


def test_a_job_typed_into_the_search_becomes_a_filter(house: Institutions, job: str) -> None:
    made, _ = opened(house, Role.COMPLIANCE)
    asyncio.run(made._find({"text": f" {job} ", "kind": "", "log": "", "job": ""}))
    assert made.asked == Asked(job=job) and made.check is not None
    asyncio.run(made._find({"text": "no such thing", "kind": "", "log": "", "job": ""}))
    assert made.answer.state == "info" and "clear" in buttons(made) and made.lanes.state == "empty"
    asyncio.run(made._act("clear"))
    assert made.answer.state == "sealed" and made.asked == Asked()


def test_what_a_browser_sends_is_not_trusted(house: Institutions, job: str) -> None:
    made, around = opened(house, Role.COMPLIANCE, job="<script>", entry="../../etc/0x")
    assert made.answer.state == "info" and made.asked.job == "<script>"
    for told in ("", "[]", '{"name": 7}', '{"name": "find", "log": "nobody", "text": 5}', '{"name": "drop"}'):
        made.bar.told = told
    assert not [one for one in around.asked if one[0] == "fault"]


def test_runs_of_slices_open_when_chosen(house: Institutions, job: str) -> None:
    made, _ = opened(house, Role.COMPLIANCE, job=job)
    [run] = [row for row in made.lanes.rows if str(row["id"]).startswith(RUN)]
    before = len(made.lanes.rows)
    asyncio.run(made._select(str(run["id"]), True))
    assert len(made.lanes.rows) == before + 127


def test_the_seal_of_an_entry_is_told_by_its_own_head(house: Institutions, job: str) -> None:
    made, _ = opened(house, Role.COMPLIANCE, job=job)
    shown = json.loads(made.inspector.head.shown)
    assert shown["chip"] == {"state": "sealed", "word": "已封存 3/3"}
    assert place(made.inspector.entry["entry"]) in made.selected  # type: ignore[index]


def test_scripts_of_the_page_make_no_markup_from_data() -> None:
    for name in ("card.js", "find_bar.js"):
        text = files("workbench_ledger.pages").joinpath("assets", name).read_text("utf-8")
        assert "innerHTML" not in text and "insertAdjacent" not in text and "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_a_receipt_that_comes_after_something_else_was_asked_for_is_not_shown_with_that(house: Institutions, job: str) -> None:
    """It would be saved under the other job's name. And while it is asked for again, the one on the page can be saved."""
    made, _ = opened(house, Role.COMPLIANCE, job=job)
    desk: Any = made.page.client
    call, asked_for, goes_on = desk.call, threading.Event(), threading.Event()

    def slow(operation: str, /, **request: Any) -> Any:
        reply = call(operation, **request)
        if operation == "evidence.receipt":
            asked_for.set()
            goes_on.wait(60)
        return reply

    async def story() -> None:
        looking = asyncio.create_task(made._check(made._turn))
        assert await asyncio.to_thread(asked_for.wait, 60)
        assert made.receipt is not None
        await made._ask(Asked())
        goes_on.set()
        await looking

    desk.call = slow
    asyncio.run(story())
    assert made.asked == Asked() and made.receipt is None
