"""The pages Intersection and Inbox: what each state says, what is never shown, and the way from a list to an export."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workbench_consent.grants import Reason
from workbench_psi.pages import answers, result, rows, sidecards
from workbench_psi.pages.answers import PHASES, Circumstances
from workbench_psi.pages.inbox import Inbox
from workbench_psi.pages.jobview import SLOW_TICKS, JobView
from workbench_psi.pages.names import CHIP_OF_STATE, NO_RESULT, WORKING, Names
from workbench.app import parts
from workbench.app.parts.notes import asset
from workbench.app.parts.upload import PIECE_BYTES, Upload
from workbench_psi.pages.wizard import Wizard
from workbench_psi.pages.wizard_list import DATA_CLASSES, LAWFUL_BASES, split_reason
from workbench_psi.protocol import PHASES as ENGINE_PHASES
from workbench_psi.wire import Kind
from workbench_widgets import PhaseList, ReceiptCard, RuleBuilder, Waterfall

from tests.app.desk import LANGUAGES, Desk
from tests.flows import population
from tests.flows.institutions import Institutions, fresh_institutions
from workbench.app.page import PageContext, SilentSurroundings
from workbench.app.texts import texts_of, translate
from workbench.client.session import Record
from workbench.domain.intersection import JobState
from workbench.domain.party import Role
from workbench.errors import Refused
from workbench.node.lists import LAWFUL_BASES as NODE_BASES

SOURCES = Path(str(result.__file__)).parent
PARTS = Path(parts.__file__).parent
ME = {
    "me": {"party": "broker"},
    "parties": [["bank", "乙银行", "Yi Bank"], ["broker", "甲证券", "Jia Securities"], ["cardnet", "丙卡组织", "Bing Card Network"]],
    "purposes": {"wealth-marketing": ["财富管理营销", "wealth management marketing"]},
}
FALL = [
    {"code": "imported", "zh": "", "en": "", "kept": 2000, "removed": 0, "reasons": {}},
    {"code": "audience", "zh": "", "en": "", "kept": 1500, "removed": 500, "reasons": {}},
    {"code": "consent", "zh": "", "en": "", "kept": 900, "removed": 600, "reasons": {"EXPIRED": 100, "NO_GRANT": 500}},
]
DONE = [
    *FALL,
    {"code": "matched", "zh": "", "en": "", "kept": 138, "removed": 762, "reasons": {}},
    {"code": "recheck", "zh": "", "en": "", "kept": 135, "removed": 3, "reasons": {}},
]
DETAILS = {"own_learned": "18", "partner_learned_at_most": "20", "statement": "result", "after_reveal": "no"}


def texts(lang: str) -> Any:
    known = texts_of("workbench_psi")
    return lambda key, /, **fields: translate(known, lang, key, fields)


def names(lang: str = "zh") -> Names:
    return Names.of(ME, lang)


def test_an_institution_that_has_left_keeps_its_name_and_is_offered_no_more() -> None:
    told = Names.of({**ME, "former": [["telecom", "丁电信", "Ding Telecom"]]}, "zh")
    assert told.party("telecom") == "丁电信" and told.tile("telecom")["tile"] == "丁"
    assert told.with_names("telecom 没有回应").startswith("丁电信") and told.others() == ["bank", "cardnet"]


def a_job(state: str, *, side: str = "initiator", **other: Any) -> dict[str, Any]:
    error = {} if state not in NO_RESULT else {"code": "STEP_TIMEOUT", "zh": "bank 120 秒没有回应，已中止", "en": "bank gave no answer", "details": DETAILS}
    progress = {"name": "compare", "since_ms": 0, "now_ms": 62_000, "number": 3, "done": 62, "total": 100, "bytes": 7, "history": []}
    made = {
        "job": "J-20261121-0a1b2c3d", "side": side, "partner": "bank", "state": state, "is_final": state in {*NO_RESULT, "RELEASED"},
        "can_run_again": state.startswith("ABORTED"), "attempt": 1, "purpose": "wealth-marketing", "key_kind": "phone", "minimum_crowd": 50,
        "engine": "ddh-x25519/1", "valid_until_ms": 9_000_000, "proposed_by": "营销 01", "approved_by": "", "waterfall": FALL,
        "request": {"list_id": "C-1", "audience": "", "columns": [], "timeout_s": 600}, "progress": progress if state in WORKING else {},
        "result": {}, "error": error, "created_ms": 1, "updated_ms": 2,
    }  # fmt: skip
    if state == "RELEASED":
        made |= {"result": {"released": 135, "cardinality": 138}, "waterfall": DONE}
    return made | other


def answer(job: dict[str, Any], lang: str = "zh", *, may: bool = True, **other: Any) -> answers.Answer:
    return answers.answer_for(job, names(lang), texts(lang), Circumstances(now_ms=1000, may=lambda _name: may, **other))


def said(one: answers.Answer) -> str:
    return " ".join([one.sentence, one.reason, one.todo, *[action.label for action in one.actions]])


# ---------------------------------------------------------------------------------------------- what each state says


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("side", ["initiator", "partner"])
@pytest.mark.parametrize("state", [one.value for one in JobState if one is not JobState.DRAFT])
def test_every_state_has_an_answer_in_both_languages(state: str, side: str, lang: str) -> None:
    for attempt in (0, 1):
        job = a_job(state, side=side, attempt=attempt)
        told = answer(job, lang)
        assert told.sentence and "{" not in said(told)
        assert sum(action.primary for action in told.actions) <= 1 and len(told.actions) <= 2
        assert not re.search(r"\b(bank|broker)\b", said(told)), "institutions have names"
        assert answers.title_for(job, texts(lang))
        assert CHIP_OF_STATE[state]


@pytest.mark.parametrize("state", [one.value for one in JobState if one is not JobState.DRAFT])
def test_who_may_not_act_gets_no_button_that_acts(state: str) -> None:
    """Opening the evidence is reading; everything else is left out."""
    assert {action.name for action in answer(a_job(state), may=False).actions} <= {"evidence"}


def test_red_is_kept_for_what_cannot_be_trusted() -> None:
    red = {state for state in CHIP_OF_STATE if state != "DRAFT" and answer(a_job(state)).state == "tampered"}
    assert red == {"DISPUTED"}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_crowd_below_the_floor_shows_no_number_but_the_floor(lang: str) -> None:
    """Decision 9: K is shown to nobody. Nor is a number the page could only have made up."""
    job = a_job("REFUSED_SMALL", error={"code": "REFUSED_SMALL", "zh": "x", "en": "x", "details": {"after_reveal": "no"}})
    shown = said(answer(job, lang)) + " ".join(result._known(job, names(lang), texts(lang), counted=False))
    assert set(re.findall(r"\d+", shown)) == {"50"}


def test_a_late_refusal_does_not_claim_that_nothing_was_revealed() -> None:
    late = a_job("REFUSED_SMALL", error={"code": "REFUSED_SMALL", "zh": "x", "en": "x", "details": {"after_reveal": "yes"}})
    assert "未揭示" not in said(answer(late)) and "未揭示" in said(answer(a_job("REFUSED_SMALL")))
    assert result._absent(late, names(), texts("zh"), counted=True) == [texts("zh")("end.no_export")]


def test_a_stop_during_the_reveal_says_how_many_each_may_know_and_guesses_nothing() -> None:
    told = answer(a_job("ABORTED_AFTER_REVEAL"))
    assert "18" in told.sentence and "最多 20" in told.sentence
    unknown = answer(a_job("ABORTED_AFTER_REVEAL", error={"code": "NODE_STOPPED", "zh": "节点停止", "en": "stopped", "details": {}}))
    assert unknown.sentence.count("不可知") == 2 and not re.search(r"\d", unknown.sentence)


def test_a_number_that_was_signed_before_a_stop_is_not_denied() -> None:
    started, counted = {"kind": "intersection.attempt_started"}, {"kind": "intersection.cardinality"}
    assert result.was_counted([started, counted])
    assert not result.was_counted([started, counted, started]), "of the last attempt"
    job, t = a_job("ABORTED"), texts("zh")
    assert t("end.no_number", partner="乙银行") in result._absent(job, names(), t, counted=False)
    assert t("end.no_number", partner="乙银行") not in result._absent(job, names(), t, counted=True)
    assert t("end.number_signed") in result._known(job, names(), t, counted=True)


@pytest.mark.parametrize(("state", "again"), [("ABORTED", True), ("ABORTED_AFTER_REVEAL", True), ("DISPUTED", False), ("REFUSED_SMALL", False)])
def test_only_what_can_help_is_offered_again(state: str, again: bool) -> None:
    assert ("run" in {action.name for action in answer(a_job(state)).actions}) is again


def test_cancelling_says_first_what_stays_and_what_goes() -> None:
    told = answer(a_job("RUNNING"), asking_cancel=True, records=17)
    assert "17" in told.sentence and "结果不会产生" in told.sentence
    assert "全部保留" in answer(a_job("RUNNING"), asking_cancel=True).sentence, "no count that was not read"
    assert [(action.name, action.primary) for action in told.actions] == [("cancel_now", False), ("keep", True)]
    assert "揭示已经开始" in answer(a_job("REVEALING"), asking_cancel=True).reason


def test_a_released_answer_adds_up_and_names_the_seal() -> None:
    told = answer(a_job("RELEASED"), records=14, cosigners=3, parties=3)
    for part in ("135", "138", "50", "3 位", "14 条", "3 家"):
        assert part in said(told)
    degraded = answer(a_job("RELEASED"), records=14, cosigners=2, parties=3)
    assert "2 / 3" in degraded.reason


def test_remaining_time_is_told_only_where_it_is_no_guess() -> None:
    progress = {"name": "compare", "since_ms": 0, "now_ms": 62_000, "done": 62, "total": 100}
    assert answers.remaining_s(progress) == pytest.approx(38.0)
    for other in ({"name": "reveal"}, {"now_ms": 2000}, {"done": 1}, {"done": 100}, {"total": 0}):
        assert answers.remaining_s({**progress, **other}) is None


def test_ids_of_institutions_become_names_only_as_whole_words() -> None:
    told = names().with_names("bank 已停止 J-1；bankrupt、my-bank、bank2 不变，broker 也是")
    assert told == "乙银行 已停止 J-1；bankrupt、my-bank、bank2 不变，甲证券 也是"


# ---------------------------------------------------------------------------------------------- words


def test_every_key_the_pages_ask_for_exists() -> None:
    known = texts_of("workbench_psi")["zh"].keys()
    asked = set()
    for path in [*SOURCES.glob("*.py"), *(PARTS / name for name in ("drawer.py", "keys.py", "layout.py", "notes.py", "upload.py"))]:
        source = path.read_text("utf-8")
        asked |= set(re.findall(r'\bt\(\s*"([a-z_]+\.[\w-]+)"', source)) | set(re.findall(r'(?:label|button|select)\((?:page, )?"([a-z_]+\.\w+)"', source))
    assert len(asked) > 250 and asked <= known, asked - known


def test_everything_that_has_a_code_has_words() -> None:
    wanted = [f"reason.{one.name}" for one in Reason if one is not Reason.OK]
    wanted += [f"state.{one.value}" for one in JobState] + [f"frame.{kind}" for kind in Kind]
    wanted += [f"{area}.{name}" for name in PHASES for area in ("phase", "doing", "learn", "note")]
    wanted += [f"class.{one}" for one in DATA_CLASSES] + [f"basis.{one}" for one in LAWFUL_BASES]
    wanted += [f"{area}.{key}" for area, columns in (("history", rows.HISTORY_COLUMNS), ("message", rows.MESSAGE_COLUMNS)) for key, _ in columns]
    assert set(wanted) <= texts_of("workbench_psi")["en"].keys()
    assert PHASES[:-1] == ENGINE_PHASES and LAWFUL_BASES == NODE_BASES


# ---------------------------------------------------------------------------------------------- rows


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_components_take_what_the_node_gives(lang: str) -> None:
    t = texts(lang)
    fall = Waterfall(rows=rows.waterfall_rows(DONE, names(lang), "bank", t))
    assert [one["kept"] for one in fall.rows] == [2000, 1500, 900, 138, 135]
    assert fall.rows[2]["reasons"][0]["count"] == 500
    for number in range(1, len(ENGINE_PHASES) + 1):
        progress = {"name": PHASES[number - 1], "since_ms": 1, "now_ms": 5, "done": 3, "total": 9, "totals": {PHASES[number - 1]: 9}}
        shown = PhaseList(rows=rows.phase_rows(a_job("RUNNING", progress=progress), {}, {}, t)).rows
        assert [row["state"] for row in shown] == ["done"] * (number - 1) + ["running"] + ["waiting"] * (len(PHASES) - number)
    assert PhaseList(rows=rows.phase_rows(a_job("SEALING"), {}, {}, t)).rows[-1]["state"] == "running"
    columns = rows.rule_columns({"risk_level": ["C1", "C2"], "资产档": ["A", "B"], "余额": ["1", "2.5"], "生日": ["2001-01-02"]}, ["备注"], t)
    assert [one["kind"] for one in RuleBuilder(columns=columns).columns] == ["ordered", "choice", "number", "date", "text"]


def test_the_partners_points_are_never_shown_as_people_before_they_arrived() -> None:
    progress = {"name": "mask", "since_ms": 1, "now_ms": 5, "done": 3, "total": 960, "totals": {"mask": 960}}
    shown = rows.phase_rows(a_job("RUNNING", progress=progress), {}, {}, texts("zh"))
    assert "theirs" not in shown[1] and shown[0]["mine"] == {"done": 900, "total": 900}


@given(
    ends=st.lists(st.integers(0, 50), min_size=1, max_size=len(PHASES)).map(sorted),
    seals=st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=12),
)
def test_a_phase_is_sealed_only_if_everything_up_to_its_end_is(ends: list[int], seals: list[tuple[int, bool]]) -> None:
    times: dict[str, tuple[int, int | None]] = {name: (0, end) for name, end in zip(PHASES, ends, strict=False)}
    log = sorted(seals)
    first_open = min((at for at, is_open in log if is_open), default=None)
    entries = [{"time_ms": at, "seal": "PENDING" if first_open is not None and at >= first_open else "FULL"} for at, _ in log]
    states = rows.record_states(times, entries)
    if not entries:
        assert states == {}
        return
    pending = [entry["time_ms"] for entry in entries if entry["seal"] == "PENDING"]
    for at, name in enumerate(PHASES):
        naive = any(all(when > end for when in pending) for end in ends[at:])
        assert (states[name] == "sealed") == naive


def test_what_this_page_did_not_see_of_a_phase_is_sealed_with_the_next() -> None:
    entries = [{"time_ms": 5, "seal": "FULL"}, {"time_ms": 40, "seal": "PENDING"}]
    states = rows.record_states({"count": (30, 35), "reveal": (38, None)}, entries)
    assert [states[name] for name in ("prepare", "compare", "count", "strike", "reveal")] == ["sealed", "sealed", "sealed", "sealed", "pending"]
    assert rows.record_states({"prepare": (1, 2)}, []) == {}


@pytest.mark.parametrize("sentence", ["文件“a.csv”未导入：9 行中有 3 行不可用（33.3%），超过上限 5.0%，最多的原因：空。请修正", "empty"])
def test_a_long_refusal_is_split_and_nothing_is_lost(sentence: str) -> None:
    first, why = split_reason(sentence)
    assert first and (first + why).replace("，", "")[:20] == sentence.replace("，", "")[:20]
    assert ("最多的原因" in why) == ("最多" in sentence)


def test_hidden_and_reordering_characters_are_never_passed_to_markup() -> None:
    """Decision 21: the scripts of these pages set text and read no string as markup."""
    for name in ("notes.js", "upload.js"):
        script = asset(name)
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(", script)
        assert "textContent" in script
    assert "TRICKS" in asset("notes.js")


def test_the_same_from_a_notebook_is_python_and_carries_the_choices() -> None:
    rule = "资产档 in (\"A'\", B)"
    blocks = sidecards.call_in_notebook(a_job("RELEASED", request={"audience": rule, "minimum_crowd": 50, "columns": ["城市"]}), texts("zh"))
    tree = compile(blocks[1]["text"], "cell", "eval")
    assert tree.co_names[:2] == ("wb", "intersect") and repr(rule) in blocks[1]["text"]
    assert sidecards.call_in_notebook(a_job("RELEASED", side="partner"), texts("zh")) == []


# ---------------------------------------------------------------------------------------------- uploads


def test_an_upload_takes_only_the_next_piece_of_the_file_being_sent() -> None:
    taken: list[tuple[str, bytes]] = []
    large: list[int] = []
    upload = Upload(lambda name, content: taken.append((name, content)), lambda _name, size: large.append(size))
    content = bytes(range(256)) * 5000
    pieces = [(at, content[at : at + PIECE_BYTES]) for at in range(0, len(content), PIECE_BYTES)]

    def send(at: int, piece: bytes, **other: Any) -> None:
        told = {"kind": "piece", "round": 1, "name": "a.csv", "size": len(content), "at": at, "data": base64.b64encode(piece).decode()}
        upload._handle_msg({**told, **other})

    send(*pieces[1])
    send(*pieces[0])
    send(*pieces[0], round=2)
    send(*pieces[1], round=1)
    send(pieces[1][0], b"x", round=2, data="not base64!")
    assert taken == []
    send(*pieces[1], round=2)
    assert taken == [("a.csv", content)]
    upload._handle_msg({"kind": "piece", "round": 3, "name": "b", "size": upload.limit + 1, "at": 0, "data": ""})
    assert large == [upload.limit + 1] and len(taken) == 1
    for nonsense in (None, 7, {"size": "1"}, {"size": -1}, {"size": 1, "at": "0"}):
        upload._handle_msg(nonsense)
    assert len(taken) == 1


# ---------------------------------------------------------------------------------------------- over real nodes


class Going:
    """Where a view wanted to go."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.wizards: list[tuple[Any, Any]] = []
        self.histories = 0

    def history(self) -> None:
        self.histories += 1

    def wizard(self, copy: Any = None, *, draft: Any = None) -> None:
        self.wizards.append((copy, draft))

    def job(self, job: str) -> None:
        self.jobs.append(job)


@pytest.fixture(scope="module")
def house() -> Iterator[Institutions]:
    with fresh_institutions() as made:
        yield made


def context(house: Institutions, party: str, role: Role, *, lang: str = "zh", **params: str) -> tuple[PageContext, Desk]:
    desk, around = Desk(house, party, role), SilentSurroundings()
    page = PageContext(
        client=desk,  # type: ignore[arg-type]
        me=desk.call("people.me"), package="workbench_psi", params=params, lang=lang, surroundings=around,
    )  # fmt: skip
    return page, desk


async def walk(wizard: Wizard, *, purpose: str, rule: str = "", floor: int = 50) -> None:
    """Through the four steps as far as they let one."""
    await wizard.open()
    wizard.lists.choice.value = wizard.lists._lists[0]["list_id"]
    await wizard.to(1)
    wizard.direction.purpose.value = purpose
    await wizard.to(2)
    wizard.draft.rule = rule
    await wizard.audience.count()
    wizard.draft.minimum_crowd = floor
    if wizard.audience.is_ready():
        await wizard.to(3)


def test_from_a_list_to_a_sealed_result_through_both_pages(house: Institutions) -> None:
    page, _ = context(house, "broker", Role.MARKETING)
    going = Going()
    wizard = Wizard(page, going)

    async def propose() -> None:
        await walk(wizard, purpose="customer-service", rule="资产档 in (A,B,C)")
        assert wizard.strip.state == "info" and not wizard.propose.disabled
        await wizard._propose()

    asyncio.run(propose())
    [job] = going.jobs
    waiting = JobView(page, job, going)
    asyncio.run(waiting.open())
    assert waiting.strip.state == "pending" and "乙银行" in waiting.strip.sentence
    assert [action["name"] for action in waiting.strip.actions] == ["cancel"]

    their_page, their_desk = context(house, "bank", Role.APPROVER, job=job)
    inbox = Inbox(their_page)
    asyncio.run(inbox.open())
    assert inbox.decision.viewer == "confirmer" and len(inbox.decision.changes) == 2
    shown = inbox.fall.rows[-1]["kept"]
    assert f"{shown:,}" in inbox.strip.sentence and f"{shown:,}" in inbox.decision.changes[1]
    asyncio.run(inbox._approve())
    operation, request = their_desk.prepared[-1]
    assert operation == "intersection.approve" and request["job"] == job
    house.call("bank", Role.APPROVER, operation, **request)
    house.wait_until(lambda: house.nodes["broker"].jobs.get(job).state is JobState.RELEASED)

    asyncio.run(waiting._again())
    done = JobView(page, job, going)
    asyncio.run(done.open())
    released = house.nodes["broker"].jobs.get(job).result["released"]
    assert done.strip.state == "sealed" and f"{released:,}" in done.strip.sentence
    panel = done._panel
    assert isinstance(panel, result.ResultPanel)
    assert panel.venn.released == released and panel.fall.rows[-1]["kept"] == released
    assert panel.table.total == released and all("****" in row["phone"] for row in panel.table.rows)
    assert ReceiptCard(receipt=panel.receipt.receipt).receipt["checkpoint"] > 0
    page.lang = "en"
    done.draw()
    assert "customers can be used" in done.strip.sentence and panel.fall.lang == "en"


def test_the_export_is_left_to_the_nodes_own_page(house: Institutions) -> None:
    mine, _ = house.run("broker", "bank", population.SPARE[0])
    page, desk = context(house, "broker", Role.MARKETING)
    view = JobView(page, str(mine.job), Going())

    async def press() -> None:
        await view.open()
        await view.act("export")

    asyncio.run(press())
    assert desk.prepared == [("intersection.export", {"job": mine.job, "columns": []})]


def test_an_ended_job_is_followed_until_all_that_is_known_of_it_is_co_signed(house: Institutions) -> None:
    """The page stopped looking at the end, and went on saying how many records were co-signed by then."""
    mine, _ = house.run("broker", "bank", population.SPARE[0])
    page, _ = context(house, "broker", Role.MARKETING)
    house.wire.cut("bank", "cardnet")
    try:
        house.exported("broker", str(mine.job))
        view = JobView(page, str(mine.job), Going())
        asyncio.run(view.open())
        early = view._records
        assert not view._is_over() and early is not None and view._entries[-1]["seal"] == "PENDING"
    finally:
        house.wire.mend()
    own = house.nodes["broker"].ledger
    last = own.size("broker") - 1
    house.wait_until(lambda: own.seal("broker", last).state != "PENDING")

    async def look() -> None:
        for _ in range(SLOW_TICKS):
            await view._tick()

    asyncio.run(look())
    assert view._is_over() and view._records == len(view._entries) > early
    assert f"{view._records}" in view.strip.reason


def test_an_approver_sees_no_row_of_a_released_list(house: Institutions) -> None:
    mine, _ = house.run("broker", "bank", population.SPARE[1])
    page, _ = context(house, "broker", Role.APPROVER)
    view = JobView(page, str(mine.job), Going())
    asyncio.run(view.open())
    assert isinstance(view._panel, result.ResultPanel)
    assert view._panel.table.state == "refused" and view._panel.table.rows == []
    assert "export" not in {action["name"] for action in view.strip.actions}


def test_nobody_gets_a_button_to_approve_their_own_proposal(house: Institutions) -> None:
    page, _ = context(house, "broker", Role.APPROVER, job=house.propose("broker", "bank", population.SPARE[2]))
    inbox = Inbox(page)
    asyncio.run(inbox.open())
    assert inbox.decision.viewer == "asker" and not inbox._no.visible
    assert inbox.strip.actions == []


def test_a_proposal_wider_than_consent_can_only_be_rejected_and_with_a_reason(house: Institutions) -> None:
    job = house.propose("broker", "bank", population.SPARE[3])
    page, _ = context(house, "bank", Role.APPROVER, job=job)
    inbox = Inbox(page)

    async def narrow() -> None:
        await inbox.open()
        inbox._rule = "资产档 = A"
        current = inbox._job()
        assert current is not None
        await inbox._count({**current, "minimum_crowd": 50})
        await inbox._say_no()

    asyncio.run(narrow())
    assert inbox._preview is not None and inbox._preview["customers"] < 100
    assert house.nodes["bank"].jobs.get(job).state is JobState.PROPOSED, "an empty reason rejects nothing"
    inbox._preview = {**inbox._preview, "customers": 10}
    inbox.draw()
    assert inbox.decision.viewer != "confirmer" and inbox._no.visible and inbox.strip.state == "refused"
    asyncio.run(inbox._reject("超出我方授权范围"))
    assert house.nodes["bank"].jobs.get(job).state is JobState.REJECTED
    assert inbox.strip.state == "refused" and inbox.decision.outcome == "declined"


def test_no_proposal_is_approved_beside_the_numbers_of_another(house: Institutions) -> None:
    """A count that comes back after the person has turned to another proposal is not heard."""
    first, second = (house.propose("broker", "bank", population.RICH) for _ in range(2))
    page, desk = context(house, "bank", Role.APPROVER, job=first)
    inbox = Inbox(page)

    async def turn() -> None:
        await inbox.open()
        may_go_on, given = asyncio.Event(), page.run

        async def held(*what: Any, **fields: Any) -> Any:
            value = await given(*what, **fields)
            if what[1] == "intersection.jobs":
                await may_go_on.wait()
            return value

        page.run = held
        counting = asyncio.create_task(inbox._count(inbox._job()))
        choosing = asyncio.create_task(inbox.choose(second))
        await counting
        assert inbox._chosen == second and inbox.decision.viewer == "reader" and inbox.fall.state == "loading"
        await inbox._approve()
        assert desk.prepared == []
        may_go_on.set()
        await choosing
        assert inbox.decision.viewer == "confirmer" and inbox.fall.state == "done"
        await inbox._approve()
        assert desk.prepared[-1][1]["job"] == second

    asyncio.run(turn())
    for job in (first, second):
        house.call("broker", Role.MARKETING, "intersection.cancel", job=job)


@pytest.mark.parametrize(("rule", "code"), [("资产档 in (ZZ)", "EMPTY_AUDIENCE"), ("资产档 in (A", "AUDIENCE_SYNTAX")])
def test_an_empty_or_broken_audience_is_refused_here_and_not_later(house: Institutions, rule: str, code: str) -> None:
    page, _ = context(house, "broker", Role.MARKETING)
    wizard = Wizard(page, Going())
    asyncio.run(walk(wizard, purpose=population.RICH, rule=rule))
    assert wizard.strip.state == "refused" and wizard.strip.code == code
    assert wizard.next.disabled and not wizard.audience.is_ready()


def test_a_file_that_is_too_bad_is_named_and_nothing_of_it_is_imported(house: Institutions) -> None:
    page, _ = context(house, "broker", Role.MARKETING)
    wizard = Wizard(page, Going())
    before = len(page.client.call("lists.all").lists)
    lines = ["客户号,联系手机号", *(f"C{number},1.38E+10" for number in range(5)), *(f"D{number},{population.phone(number)}" for number in range(20))]

    async def bring() -> None:
        await wizard.open()
        await wizard.lists._take("名单 七月.csv", "\n".join(lines).encode("gb18030"))
        assert wizard.draft.file is not None and wizard.strip.state == "info"
        assert population.phone(3) not in json.dumps(wizard.lists.sample.rows)
        await wizard.to(1)
        assert wizard.strip.state == "pending", "a guessed column waits for a person"
        wizard.quality.choices["phone"].value = "联系手机号"
        await wizard.quality._map_again()
        assert wizard.strip.state == "info"
        await wizard.quality._import()

    asyncio.run(bring())
    assert wizard.strip.state == "refused" and wizard.strip.code == "QUALITY" and "七月" in wizard.strip.sentence
    assert wizard.quality._rejects.visible and wizard.next.disabled
    shown = wizard.quality.rejects.rows
    assert [row["line"] for row in shown] == [2, 3, 4, 5, 6] and all(row["reason"] and row["fix"] for row in shown)
    assert "1.38E+10" not in json.dumps(shown), "masked by the node"
    assert len(page.client.call("lists.all").lists) == before


def type_in(field: Any, text: str) -> None:
    """As a browser does: each key changes `value_input`, leaving the field `value`."""
    field.value_input = text
    field.value = text


def test_a_file_without_a_day_column_is_as_old_as_its_person_says(house: Institutions) -> None:
    page, _ = context(house, "cardnet", Role.MARKETING)
    wizard = Wizard(page, Going())
    lists = wizard.lists
    lines = ["客户号,手机号", *(f"D{number},{population.phone(number)}" for number in range(20))]

    async def bring() -> None:
        await wizard.open()
        await lists._take("名单.csv", "\n".join(lines).encode())
        assert lists.is_ready() and "as_of" not in lists.catalogue()
        for wrong in ("2026-13-01", "20260101", "昨天", "2999-01-01"):
            type_in(lists.as_of, wrong)
            assert wizard.next.disabled and wizard.strip.state == "pending" and wrong in wizard.strip.sentence
        type_in(lists.as_of, "2020-02-29")
        assert not wizard.next.disabled and lists.catalogue()["as_of"] == "2020-02-29"
        type_in(lists.entry["owner"], " ")
        assert wizard.next.disabled and "责任部门" in wizard.strip.sentence
        type_in(lists.entry["owner"], "营销部")
        await wizard.to(1)
        await wizard.quality._import()

    asyncio.run(bring())
    assert wizard.draft.chosen is not None and wizard.draft.chosen["name"] == "名单"
    age = wizard.draft.chosen["report"]["age"]
    assert (age["source"], age["newest"], age["stale"]) == ("catalogue", "2020-02-29", 20)
    asyncio.run(wizard.to(0))
    asyncio.run(lists._take("另一份.csv", "\n".join(lines).encode()))
    assert "as_of" not in lists.catalogue() and lists.catalogue()["name"] == "另一份"


def test_what_the_node_refuses_at_once_is_raised_and_the_button_comes_back(house: Institutions) -> None:
    page, _ = context(house, "broker", Role.MARKETING)
    wizard = Wizard(page, Going())

    async def too_few() -> None:
        await walk(wizard, purpose=population.RICH, floor=9_999)
        assert wizard.strip.state == "refused"
        with pytest.raises(Refused):
            await wizard._propose()

    asyncio.run(too_few())
    assert not wizard._proposing


def test_a_deep_link_to_no_job_is_answered_and_not_left_loading(house: Institutions) -> None:
    page, _ = context(house, "broker", Role.MARKETING)
    view = JobView(page, "J-20261121-ffffffff", Going())
    asyncio.run(view.begin())
    assert view.strip.state == "refused" and view.strip.code == "NO_JOB"
    page, _ = context(house, "bank", Role.APPROVER, job="J-20261121-ffffffff")
    inbox = Inbox(page)
    asyncio.run(inbox.begin())
    assert inbox.strip.state == "refused" and not inbox._detail.visible


def test_the_badge_of_made_up_data_stands_on_every_view_outside_production(house: Institutions) -> None:
    from workbench_psi.pages.view import origin_badge

    page, _ = context(house, "broker", Role.MARKETING)
    badge = origin_badge(page)
    assert badge is not None and badge.widget.kind == "synthetic"
    page.me = Record({**page.me, "workspace": "production"})
    assert origin_badge(page) is None
