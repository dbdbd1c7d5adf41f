"""Drafts, copies, near-duplicates, phase times and keys of the page Intersection: what outlives a tab and what is warned of."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from workbench_psi.dashboard import IntersectionPage
from workbench_psi.pages import keeping, result, rows, sidecards
from workbench_psi.pages.answers import PHASES
from workbench_psi.pages.history import History
from workbench_psi.pages.inbox import Inbox
from workbench_psi.pages.jobview import JobView
from workbench.app.parts.keys import LETTER_OF_PAGE, Keys, letters
from workbench_psi.pages.running import PhaseClock
from workbench_psi.pages.wizard import Wizard

from tests.app.desk import LANGUAGES, Desk
from tests.app.test_intersection_page import Going, a_job, context, names, texts, walk
from tests.flows import population
from tests.flows.institutions import Institutions, fresh_institutions
from workbench.app.page import PageContext
from workbench.domain.party import Role
from workbench.errors import Refused


@pytest.fixture(scope="module")
def house() -> Iterator[Institutions]:
    with fresh_institutions("broker", "bank") as made:
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, house: Institutions) -> Iterator[None]:
    monkeypatch.setattr(keeping, "AUTOSAVE_S", 0.01)
    yield
    for one in drafts(house):
        house.call("broker", Role.MARKETING, "intersection.draft_discard", draft=one.draft)


def drafts(house: Institutions) -> Any:
    return house.call("broker", Role.MARKETING, "intersection.draft_get").drafts


def marketing(house: Institutions, **params: str) -> tuple[PageContext, Desk]:
    return context(house, "broker", Role.MARKETING, **params)


async def settled(wizard: Wizard) -> None:
    """Until everything that was chosen is saved."""
    await wizard.keeper.flush()
    while wizard.keeper._busy:  # noqa: ASYNC110 - the keeper tells nobody but the page
        await asyncio.sleep(0.01)


# ---------------------------------------------------------------------------------------------- drafts


def test_a_wizard_goes_on_where_it_was_left_after_a_restart_of_the_node(house: Institutions) -> None:
    page, _ = marketing(house)
    first = Wizard(page, Going())

    async def choose() -> None:
        await walk(first, purpose=population.SPARE[0], rule="资产档 in (A,B)", floor=60)
        first.terms.columns.value = ["资产档"]
        first.terms.minutes.value = 15
        await settled(first)

    asyncio.run(choose())
    house.stop("broker")
    house.start("broker")
    page, _ = marketing(house)
    [kept] = drafts(house)
    second = Wizard(page, Going(), draft=kept.model_dump())
    asyncio.run(second.open())
    assert second.choices() == first.choices() and second._at == 3
    assert second.choices()["audience"] == "资产档 in (A,B)" and second.choices()["columns"] == ["资产档"]
    assert second.audience.rule.rule == "资产档 in (A,B)" and second.terms.floor.value == 60
    assert "已存草稿" in second.keeper.line.blocks and second.discard.visible
    assert second.strip.state == "info" and not second.propose.disabled, "and can be proposed at once"


def test_nothing_is_saved_before_something_was_chosen_and_one_draft_is_changed_after(house: Institutions) -> None:
    page, _ = marketing(house)
    wizard = Wizard(page, Going())

    async def look() -> None:
        await wizard.open()
        await asyncio.sleep(0.05)
        await settled(wizard)
        assert drafts(house) == [] and not wizard.discard.visible
        await walk(wizard, purpose=population.SPARE[0])
        await settled(wizard)
        wizard.draft.rule = "资产档 = A"
        wizard._changed()
        limit = time.monotonic() + 20
        while drafts(house)[0].audience != "资产档 = A":  # saved by itself, without a button
            assert time.monotonic() < limit, "nobody saved it"
            await asyncio.sleep(0.02)

    asyncio.run(look())
    assert len(drafts(house)) == 1


def test_a_view_that_goes_waits_for_the_save_that_is_under_way_and_saves_what_came_after(house: Institutions) -> None:
    """The history reads the drafts when it opens: it showed none, or the choices of before."""
    page, desk = marketing(house)
    wizard = Wizard(page, Going())
    call, begun, goes_on = desk.call, threading.Event(), threading.Event()

    def slow(operation: str, /, **request: Any) -> Any:
        if operation == "intersection.draft_save" and not begun.is_set():
            begun.set()
            goes_on.wait(60)
        return call(operation, **request)

    async def leave() -> None:
        await walk(wizard, purpose=population.SPARE[0])
        await settled(wizard)
        desk.call = slow  # type: ignore[method-assign]
        wizard.draft.rule = "资产档 = A"
        saving = asyncio.create_task(wizard.keeper.save())
        assert await asyncio.to_thread(begun.wait, 60)
        wizard.draft.rule = "资产档 = B"
        leaving = asyncio.create_task(wizard.keeper.flush())
        await asyncio.sleep(0.2)
        assert not leaving.done()
        goes_on.set()
        await asyncio.gather(saving, leaving)

    asyncio.run(leave())
    assert [one.audience for one in drafts(house)] == ["资产档 = B"]


def test_a_view_opens_when_the_one_before_has_kept_its_choices(house: Institutions) -> None:
    """Left by a key and not by its button, a wizard was still saving while the history read the drafts."""
    page, _ = marketing(house)
    shown = IntersectionPage(page)
    wizard, history = Wizard(page, shown), History(page, shown)

    async def leave() -> None:
        await walk(wizard, purpose=population.SPARE[0])
        await settled(wizard)
        wizard.draft.rule = "资产档 = A"
        shown.view = history
        await shown._begin(wizard, history)
        assert [one["audience"] for one in history._drafts] == ["资产档 = A"]
        late = History(page, shown)
        await shown._begin(history, late)
        assert late._jobs is None, "a view that was left before it opened stays closed"

    asyncio.run(leave())


def test_a_proposal_ends_its_draft(house: Institutions) -> None:
    page, _ = marketing(house)
    going = Going()
    wizard = Wizard(page, going)

    async def propose() -> None:
        await walk(wizard, purpose=population.SPARE[1])
        await settled(wizard)
        assert len(drafts(house)) == 1
        await wizard._propose()
        wizard.keeper.touch()
        await asyncio.sleep(0.05)

    asyncio.run(propose())
    assert going.jobs and drafts(house) == []


def test_a_draft_is_discarded_only_after_a_second_press(house: Institutions) -> None:
    page, _ = marketing(house)
    going = Going()
    wizard = Wizard(page, going)

    async def press() -> None:
        await walk(wizard, purpose=population.SPARE[0])
        await settled(wizard)
        wizard._discard()
        assert len(drafts(house)) == 1 and wizard.discard_now.visible and wizard.keep.visible
        wizard._keep()
        assert not wizard.discard_now.visible
        wizard._discard()
        await wizard._discard_now()
        await wizard.keeper.flush()

    asyncio.run(press())
    assert drafts(house) == [] and going.histories == 1


def test_a_draft_that_cannot_be_saved_says_so_and_stops_nobody(house: Institutions) -> None:
    page, desk = marketing(house)
    wizard = Wizard(page, Going())
    real = desk.call

    def refusing(operation: str, /, **request: Any) -> Any:
        if operation == "intersection.draft_save":
            raise Refused("你已有 20 份草稿", "You have 20 drafts", code="TOO_MANY_DRAFTS")
        return real(operation, **request)

    desk.call = refusing  # type: ignore[method-assign]

    async def go() -> None:
        await walk(wizard, purpose=population.SPARE[0])
        await settled(wizard)

    asyncio.run(go())
    assert "没有保存" in wizard.keeper.line.blocks and "20 份草稿" in wizard.keeper.line.blocks
    assert not wizard.propose.disabled


def test_a_file_that_is_not_imported_is_no_part_of_a_draft(house: Institutions) -> None:
    page, _ = marketing(house)
    wizard = Wizard(page, Going())

    async def bring() -> None:
        await walk(wizard, purpose=population.SPARE[0])
        await wizard.lists._take("新名单.csv", "客户号,手机号\nC1,10000000001\n".encode())
        await settled(wizard)

    asyncio.run(bring())
    [kept] = drafts(house)
    assert (kept.list_id, kept.step) == ("", 0)
    again = Wizard(page, Going(), draft=kept.model_dump())
    asyncio.run(again.open())
    assert again._at == 0 and again.draft.file is None


# ---------------------------------------------------------------------------------------------- history, copies


def test_the_history_offers_drafts_and_copies_and_both_open_the_wizard(house: Institutions) -> None:
    job = house.propose("broker", "bank", population.SPARE[2], audience="资产档 in (A,B)", columns=["资产档"])
    page, _ = marketing(house)
    first = Wizard(page, Going())
    asyncio.run(walk(first, purpose=population.SPARE[2], rule="资产档 = B"))
    asyncio.run(settled(first))
    going = Going()
    history = History(page, going)
    asyncio.run(history.open())
    assert history._drafts_pane.visible and history.drafts.rows[0]["can"] == ["continue", "discard"]
    assert "continue" in {action["name"] for action in history.strip.actions}
    [row] = [one for one in history.table.rows if one["id"] == job]
    assert row["can"] == ["copy"]
    history._copy(job)
    asyncio.run(history.act("continue"))
    (copied, _), (_, kept) = going.wizards
    assert copied["job"] == job and kept["audience"] == "资产档 = B"

    wizard = Wizard(page, Going(), copied)
    asyncio.run(wizard.open())
    newest = drafts(house)[0]
    assert (newest.copied_from, newest.audience, newest.columns) == (job, "资产档 in (A,B)", ["资产档"]), "a copy is a draft at once"
    asyncio.run(history._read_drafts())
    asyncio.run(history._with_draft(newest.draft, "discard"))
    assert newest.draft not in {one.draft for one in drafts(house)}


def test_who_may_not_propose_sees_no_draft_and_copies_nothing(house: Institutions) -> None:
    house.propose("broker", "bank", population.SPARE[3])
    page, _ = context(house, "broker", Role.COMPLIANCE)
    history = History(page, Going())
    asyncio.run(history.open())
    assert not history._drafts_pane.visible and history.table.rows
    assert all(row["can"] == [] for row in history.table.rows)


def test_a_proposal_of_the_partner_cannot_be_copied_because_its_choices_are_not_ours() -> None:
    theirs = a_job("RELEASED", side="partner")
    assert rows.history_rows([theirs], names(), texts("zh"), may_copy=True)[0]["can"] == []


def test_the_search_of_the_history_finds_all_words_in_any_order() -> None:
    jobs = [a_job("RELEASED"), a_job("ABORTED", job="J-20261121-ffffffff", request={"audience": "资产档 = A"})]
    found = lambda text: [row["id"] for row in rows.history_rows(jobs, names(), texts("zh"), text=text)]  # noqa: E731
    assert found("") == [one["job"] for one in jobs]
    assert found("乙银行 FFFF") == ["J-20261121-ffffffff"] == found("资产档") and found("丙卡") == []


def test_an_address_may_name_a_draft(house: Institutions) -> None:
    saved = house.call("broker", Role.MARKETING, "intersection.draft_save", audience="资产档 = A").draft
    page, _ = marketing(house, draft=saved)
    shown = IntersectionPage(page)
    asyncio.run(shown.start())
    assert isinstance(shown.view, Wizard) and shown.view._kept is not None


# ---------------------------------------------------------------------------------------------- near-duplicates, phases


@pytest.mark.parametrize("lang", LANGUAGES)
def test_nearly_the_same_list_is_explained_before_and_after(house: Institutions, lang: str) -> None:
    purpose = population.SPARE[4 if lang == "zh" else 5]
    mine, theirs = house.run("broker", "bank", purpose)
    page, _ = context(house, "broker", Role.MARKETING, lang=lang)
    wizard = Wizard(page, Going())
    asyncio.run(walk(wizard, purpose=purpose))
    near = texts(lang)("near.title")
    assert near in wizard.audience.near.blocks and near in wizard.terms.near.blocks and mine.job in wizard.terms.near.blocks
    assert wizard.strip.todo == texts(lang)("near.look")

    again = house.propose("broker", "bank", purpose)
    approver, _ = context(house, "bank", Role.APPROVER, lang=lang, job=again)
    inbox = Inbox(approver)
    asyncio.run(inbox.open())
    assert theirs.job in inbox.risks.blocks
    house.approve("bank", again)
    house.both("broker", "bank", again, "RELEASED")
    done = JobView(page, again, Going())
    asyncio.run(done.open())
    assert isinstance(done._panel, result.ResultPanel)
    assert near in done._panel.near.blocks and mine.job in done._panel.near.blocks
    fresh = Wizard(page, Going())
    asyncio.run(walk(fresh, purpose=population.SPARE[6]))
    assert not fresh.audience.near.visible and not fresh.terms.near.visible


def test_of_a_job_that_ended_the_entry_tells_the_nearest() -> None:
    entry = {"kind": "intersection.attempt_started", "values": {"near_duplicates": "2", "nearest": "J-20261101-00000001"}}
    assert rows.near_duplicates(a_job("ABORTED"), [entry]) == [{"job": "J-20261101-00000001", "share": None}]
    assert rows.near_duplicates(a_job("ABORTED"), []) == []
    again = {"kind": "intersection.attempt_started", "values": {"near_duplicates": "0", "nearest": ""}}
    assert rows.near_duplicates(a_job("ABORTED"), [entry, again]) == [], "of the last attempt"
    shown = sidecards.near_duplicates([{"job": "J-1", "share": None}], "bank", names(), texts("zh"), before=False)
    assert "%" not in str(shown[1]), "no share that nobody knows"


def test_the_times_of_the_phases_are_there_for_a_page_that_was_closed(house: Institutions) -> None:
    mine, theirs = house.run("broker", "bank", population.SPARE[7])
    for party, job in (("broker", mine.job), ("bank", theirs.job)):
        told = house.call(party, Role.COMPLIANCE, "intersection.job", job=job)
        assert [one["name"] for one in told.phases] == list(PHASES)
        starts = [one["since_ms"] for one in told.phases]
        assert starts == sorted(starts) and starts[-1] <= told.updated_ms
    # The last entries are co-signed a moment after the release.
    house.wait_until(lambda: not house.call("broker", Role.COMPLIANCE, "node.status").pending)
    page, _ = marketing(house)
    view = JobView(page, mine.job, Going())
    asyncio.run(view.open())
    assert isinstance(view._panel, result.ResultPanel)
    assert [row["phase"] for row in view._panel.phases.rows] == [texts("zh")(f"phase.{name}") for name in PHASES]
    assert {row["record"]["state"] for row in view._panel.phases.rows} == {"sealed"}


def test_a_page_that_opens_late_takes_the_times_the_node_kept() -> None:
    job = a_job("RUNNING", phases=[{"name": "prepare", "since_ms": 100}, {"name": "mask", "since_ms": 350}, {"name": "compare", "since_ms": 900}])
    job["progress"] = {**job["progress"], "since_ms": 900}
    clock = PhaseClock()
    clock.see(job)
    assert clock.times == {"prepare": (100, 350), "mask": (350, 900), "compare": (900, None)}


def test_what_never_ran_shows_no_phases() -> None:
    assert rows.phase_table(a_job("REJECTED", attempt=0), [], names(), texts("zh")) == []


# ---------------------------------------------------------------------------------------------- inbox, keys


def test_the_approver_chooses_list_rule_and_own_columns_and_is_told_that_columns_stay(house: Institutions) -> None:
    job = house.propose("broker", "bank", population.SPARE[8])
    page, desk = context(house, "bank", Role.APPROVER, job=job)
    inbox = Inbox(page)
    asyncio.run(inbox.open())
    assert "资产档" in inbox.columns.options
    inbox.columns.value = ["资产档"]
    t = texts("zh")
    for part in (t("ask.columns_value", partner=page.me["parties"][1][1]), "尝试预算", "还剩"):
        assert part in inbox.terms.blocks
    asyncio.run(inbox._approve())
    operation, request = desk.prepared[-1]
    assert (operation, request["columns"]) == ("intersection.approve", ["资产档"])
    house.call("bank", Role.APPROVER, operation, **request)
    theirs = house.both("broker", "bank", job, "RELEASED")[1]
    assert theirs.request["columns"] == ["资产档"]
    reply, data = house.exported("bank", job, columns=["资产档"])
    assert "资产档" in data.decode("utf-8-sig").splitlines()[0] and reply.customers


def test_keys_from_a_browser_are_keys_or_nothing(house: Institutions) -> None:
    page, _ = marketing(house)
    heard: list[str] = []
    keys = Keys(page, heard.append)
    for told in ('{"key":"v"}', '{"key":"rm -rf"}', "nonsense", "[]", '{"no":1}', '{"key":"Escape"}', '{"key":"g1"}'):
        keys.pressed = told
    assert heard == ["v", "Escape"]

    async def press() -> None:
        for letter in ("h", "z", "g", "s", "c"):  # home, nobody's, nobody's, a page of other roles, consent
            await keys.go(letter)

    asyncio.run(press())
    assert [told[0] for name, told in page._around.asked if name == "navigate"] == ["home", "consent"]
    assert '"g c"' in keys.shown and '"g s"' not in keys.shown, "the sheet names the pages that this person may open"


def test_every_page_has_one_letter_and_a_new_one_takes_a_free_one() -> None:
    assert len(set(LETTER_OF_PAGE.values())) == len(LETTER_OF_PAGE) and "g" not in LETTER_OF_PAGE.values()
    found = letters(["home", "qkd", "hydra", "gas", "rights"])
    assert found == {"h": "home", "k": "qkd", "y": "hydra", "b": "gas", "r": "rights"}
    many = letters([*LETTER_OF_PAGE, *(f"page{number}" for number in range(40))])
    assert len(many) == 25 and all(many[letter] == name for name, letter in LETTER_OF_PAGE.items())


def test_escape_asks_before_it_stops_anything(house: Institutions) -> None:
    job = house.propose("broker", "bank", population.SPARE[9])
    page, _ = marketing(house)
    view = JobView(page, job, Going())

    async def press() -> None:
        await view.open()
        await view.key("Escape")
        assert view._asking and house.nodes["broker"].jobs.get(job).state.value == "PROPOSED"
        await view.key("Escape")
        assert not view._asking

    asyncio.run(press())
    assert house.nodes["broker"].jobs.get(job).state.value == "PROPOSED"
