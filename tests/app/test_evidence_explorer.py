"""The explorer over real nodes: search, graph, proof path, seat, laboratory, and that rows come before checks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from workbench_ledger.pages import evidence, verdict
from workbench_ledger.pages.evidence import EvidencePage
from workbench_ledger.pages.finding import CONDITIONS, Asked, chips_of
from workbench_ledger.pages.graph import stages_of
from workbench_ledger.pages.story import place
from workbench_widgets import JobGraph

from tests.app.desk import LANGUAGES, Desk, buttons, entry, frame, opened, words
from tests.flows import population
from tests.flows.institutions import Institutions, fresh_institutions
from tests.flows.evidence import change_body, index_of, sealed_job
from workbench.app.page import PageContext, SilentSurroundings
from workbench.domain.party import Role
from workbench.errors import PeerUnavailable


@pytest.fixture(scope="module")
def house() -> Iterator[Institutions]:
    with fresh_institutions() as made:
        yield made


@pytest.fixture(scope="module")
def job(house: Institutions) -> str:
    return sealed_job(house)


def find(made: EvidencePage, text: str, **fields: str) -> None:
    asyncio.run(made._find({"text": text, "kind": "", "log": "", "job": "", **fields}))


def shown(made: EvidencePage, part: str) -> dict[str, Any]:
    return json.loads(getattr(made.board, part).shown)  # type: ignore[no-any-return]


# ---------------------------------------------------------------------------------------------- graph


def lanes() -> list[dict[str, Any]]:
    return [words().tiles(one) for one in words().ordered()]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_messages_are_counted_by_stage_and_a_record_that_one_side_lacks_is_a_gap(lang: str) -> None:
    told = [*frame(1, "proposal"), *frame(2, "points"), *frame(3, "points", "bank", "broker"), *frame(4, "slice"), *frame(5, "slice")]
    lost = [one for one in told if not (one["log"] == "bank" and one["index"] in (4, 5))]
    lost = [one | ({"counterpart": ""} if one["index"] in (4, 5) else {}) for one in lost]
    made = {one["key"]: one for one in stages_of([entry("broker", 9, "intersection.released", time_ms=9_000), *lost], words(lang))}  # type: ignore[arg-type]
    assert [len(one["flows"]) for one in made.values()] == [0, 1, 1, 1, 0]
    assert (made["exchange"]["flows"][0]["count"], made["exchange"]["flows"][0]["both"]) == (2, True)
    [slices] = made["reveal"]["flows"]
    assert (slices["missing"], slices["missing_count"], slices["count"], slices["state"]) == ("bank", 2, 2, "pending")
    assert [one["party"] for one in made["result"]["acts"]] == ["broker"]
    JobGraph(lanes=lanes(), stages=list(made.values()))


def test_a_bundle_of_messages_is_as_bad_as_its_worst_and_unknown_kinds_are_drawn_too() -> None:
    told = [*frame(1, "points"), *frame(2, "points")]
    [_, _, exchange, *_] = stages_of([told[0] | {"problem": "EDITED"}, *told[1:], *frame(3, "never-heard-of")], words())
    assert [one["state"] for one in exchange["flows"]] == ["tampered", "sealed"]


# ---------------------------------------------------------------------------------------------- what is looked at


def conditions(**said: Any) -> Asked:
    empty = {"customers": [], "persons": [], "kinds": [], "from_ms": None, "until_ms": None}
    return Asked(conditions={**{name: empty.get(name, "") for name in CONDITIONS}, **said})


def test_what_can_be_exported_is_one_job_campaign_customer_or_whole_days() -> None:
    day = 1_795_190_400_000
    assert Asked(job="J-1").exportable() == {"job": "J-1"}
    assert conditions(campaign="AUTUMN").exportable() == {"campaign": "AUTUMN"}
    assert conditions(customers=["ab" * 16]).exportable() == {"customer": "ab" * 16}
    assert conditions(from_ms=day, until_ms=day + 2 * 86_400_000).exportable() == {"from_day": "2026-11-21", "to_day": "2026-11-22"}
    for nothing in (Asked(), Asked(text="x"), Asked(job="J-1", kind="consent."), conditions(job="J-1", state="pending"),
                    conditions(customers=["a", "b"]), conditions(from_ms=day, until_ms=day + 60_000)):  # fmt: skip
        assert nothing.exportable() is None


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_condition_can_be_seen_and_dropped(lang: str) -> None:
    said = {
        "job": "J-20261121-0a1b2c3d", "campaign": "AUTUMN", "customers": ["ab" * 16], "persons": ["P-1"], "kinds": ["consent.checked"],
        "party": "bank", "digest": "0123abcd", "state": "pending", "from_ms": 1, "until_ms": 2, "place": "bank/3", "words": "x",
    }  # fmt: skip
    asked = conditions(**said)
    chips = chips_of(asked, {"persons": {"P-1": "李四"}, "kinds": {"consent.checked": ("查询", "look-up")}}, words(lang))
    assert {name for name, _, _ in chips} == set(CONDITIONS) - {"until_ms"} and all(label for _, label, _ in chips)
    for name, _, _ in chips:
        left = asked.without(name).conditions
        assert left is not None and not left[name] and len([one for one in CONDITIONS if left[one]]) >= len(chips) - 1
    assert conditions(words="x").without("words") == Asked()
    assert conditions(job="J-1", words="x").without("words") == Asked(job="J-1")


def test_a_search_in_an_index_that_is_behind_says_so() -> None:
    found = {"count": 3, "counted_to": 10_000, "words_back": 0, "index": {"covered": 400, "size": 10_412}}
    late = verdict.hits(found, words())
    assert late.state == "pending" and "10,412" in late.reason and "400" in late.reason and "可能不全" in late.reason
    whole = verdict.hits({**found, "index": {"covered": 10_412, "size": 10_412}}, words())
    assert whole.state == "info" and "覆盖全部 10,412" in whole.reason
    assert "10,000" in verdict.hits({**found, "count": 10_001}, words("en")).sentence


def test_a_search_pages_by_key_and_comes_back(house: Institutions, job: str) -> None:
    made, _ = opened(house, Role.COMPLIANCE)
    find(made, "intersection.")
    first = [row["id"] for row in made.lanes.rows]
    assert len(first) == 50 and "covered" in (made.index or {}) and "clear" in buttons(made)
    asyncio.run(made._turn_page("older"))
    second = [row["id"] for row in made.lanes.rows]
    assert len(second) == 50 and not set(first) & set(second)
    asyncio.run(made._turn_page("newer"))
    assert [row["id"] for row in made.lanes.rows] == first
    asyncio.run(made._drop("kinds"))
    assert made.asked == Asked() and made.audit is not None


def test_a_typed_phone_is_forgotten_and_goes_on_as_a_token(house: Institutions, job: str) -> None:
    phone = population.phone(9)
    house.call("broker", Role.COMPLIANCE, "consent.withdraw", phone=phone, purpose=population.RICH, recipient="cardnet", reason="测试")
    made, around = opened(house, Role.COMPLIANCE)
    find(made, phone)
    assert made.asked.conditions is not None and made.asked.conditions["customers"] and made.asked.text == ""
    assert "客户撤回" in "".join(row["text"] for row in made.lanes.rows) or made.lanes.rows
    drawn = made.bar.shown + made.board.pager.shown + made.answer.sentence + made.answer.reason + repr(made.asked) + repr(around.asked)
    assert phone not in drawn and "客户代号" in made.bar.shown
    asyncio.run(made._look_again())
    assert made.asked.conditions["customers"]


def test_a_search_that_names_only_a_job_is_the_job(house: Institutions, job: str) -> None:
    made, _ = opened(house, Role.COMPLIANCE, text=job)
    assert made.asked == Asked(job=job) and made.answer.state == "sealed"


# ---------------------------------------------------------------------------------------------- long stories


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_story_longer_than_a_page_is_loaded_backwards_and_says_how_much_of_it_is_shown(
    house: Institutions, job: str, lang: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = opened(house, Role.COMPLIANCE, lang=lang, job=job)
    assert shown(whole, "pager")["lines"] == []
    monkeypatch.setattr(evidence, "STORY_ROWS", 80)
    made, _ = opened(house, Role.COMPLIANCE, lang=lang, job=job)
    made.selected = chosen = place(made._entries()[-1])
    count, seen = f"{len(whole._entries())}", len(made._entries())
    assert made.timeline is not None and seen < len(whole._entries())
    turned = 0
    while made.timeline["older"]:
        pager = shown(made, "pager")
        assert [one["name"] for one in pager["actions"]] == ["older"]
        for told in (pager["lines"][0]["text"], made.lanes.hint):
            assert f"{seen}" in told and count in told
        # The other record of many frames is on a page that is not here: that is no missing record.
        assert not [one for one in made.board.steps(made, made.words()) if one.is_lonely]
        asyncio.run(made._turn_page("older"))
        assert len(made._entries()) > seen and made.selected == chosen
        seen, turned = len(made._entries()), turned + 1
    assert turned > 1 and [place(one) for one in made._entries()] == [place(one) for one in whole._entries()]
    assert shown(made, "pager")["actions"] == [] and count in shown(made, "pager")["lines"][0]["text"]
    # Co-signed heads go on meanwhile; the story itself is the same.
    told = [[row for row in one.lanes.rows if row["kind"] != "checkpoint"] for one in (made, whole)]
    assert made.lanes.hint == whole.lanes.hint and told[0] == told[1]
    asyncio.run(made._read(made._turn))
    assert len(made._entries()) == seen
    asyncio.run(made._find({"text": "", "kind": "", "log": "", "job": job}))
    assert len(made._entries()) < seen


def test_a_page_that_fails_to_load_leaves_what_is_shown_and_the_button(house: Institutions, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "STORY_ROWS", 80)
    made, _ = opened(house, Role.COMPLIANCE, job=job)
    before = made._entries()
    monkeypatch.setattr(made.page, "client", Away())
    with pytest.raises(PeerUnavailable):
        asyncio.run(made._turn_page("older"))
    assert made._entries() == before and not made.reaching_back
    assert [one["label"] for one in shown(made, "pager")["actions"]] == ["载入更早的"]


class Away:
    """A node that answers nothing."""

    def __getattr__(self, name: str) -> Any:
        raise PeerUnavailable("没有回应", "no answer")


# ---------------------------------------------------------------------------------------------- rows first


class Slow(Desk):
    """A node whose checks and entries never answer."""

    def call(self, operation: str, /, **request: Any) -> Any:
        if operation in ("evidence.check", "evidence.entry", "evidence.audit"):
            raise PeerUnavailable("没有回应", "no answer")
        return super().call(operation, **request)


@pytest.mark.parametrize("asks_for_job", [True, False])
def test_rows_and_a_first_sentence_are_there_before_anything_is_checked(house: Institutions, job: str, asks_for_job: bool) -> None:
    desk = Slow(house, "broker", Role.COMPLIANCE)
    page = PageContext(
        client=desk, me=desk.call("people.me"), package="workbench_ledger", params={"job": job} if asks_for_job else {},  # type: ignore[arg-type]
        surroundings=SilentSurroundings(),
    )  # fmt: skip
    made = EvidencePage(page)
    made.view()
    with pytest.raises(PeerUnavailable):
        asyncio.run(made.open())
    assert made.lanes.state == "done" and len(made.lanes.rows) > 10
    assert made.answer.state == "info" and made.answer.sentence and made.check is None and made.audit is None


def test_parts_that_nobody_has_asked_for_are_not_sent(house: Institutions, job: str) -> None:
    made, _ = opened(house, Role.COMPLIANCE, job=job)
    assert not made.board.later["graph"].view.objects and not made.board.later["findings"].view.objects
    asyncio.run(made._act("shape:graph"))
    assert made.board.later["graph"].visible and made.board.later["graph"].view.objects
    assert [stage["key"] for stage in made.board.graph.stages] == ["consent", "agreement", "exchange", "reveal", "result"]
    assert sum(flow["count"] for stage in made.board.graph.stages for flow in stage["flows"]) > 50
    assert made.board.graph.selected == made.selected


# ---------------------------------------------------------------------------------------------- one entry, one finding


@pytest.mark.parametrize("role", [Role.COMPLIANCE, Role.MARKETING])
def test_verify_draws_everything_from_body_to_signatures(house: Institutions, job: str, role: Role) -> None:
    made, _ = opened(house, role, job=job)
    assert not made.inspector._panes["path"].visible
    asyncio.run(made._act("verify"))
    path = made.inspector.path
    assert made.inspector._panes["path"].visible and path.turn == 1
    assert path.proof["sm3"]["hashes"][-1] == path.proof["sm3"]["root"] and path.proof["text"].splitlines()[1] == str(path.proof["size"])
    assert [one["verdict"] for one in path.signatures] == ["valid"] * 3 and all(one["time_ms"] for one in path.signatures)
    assert path.required == 2 and "外部锚定" in path.no_anchor
    asyncio.run(made._select(made.lanes.rows[0]["id"], True))
    assert not made.inspector._panes["path"].visible


def test_a_changed_body_is_drawn_as_the_broken_link_in_both_trees(house: Institutions, job: str) -> None:
    index = index_of(house, "broker", job, "intersection.grants")
    undo = change_body(house, "broker", index, lambda body: body.replace(b'"dropped":"0"', b'"dropped":"3"'))
    try:
        made, _ = opened(house, Role.COMPLIANCE, job=job, entry=f"broker/{index}")
        asyncio.run(made._act("verify"))
        proof = made.inspector.path.proof
        assert proof["sm3"]["hashes"][-1] != proof["sm3"]["root"] and proof["leaf_hash"]
    finally:
        undo()


@pytest.mark.parametrize("log", ["broker", "bank"])
def test_a_finding_without_an_entry_opens_what_it_is_about(house: Institutions, job: str, log: str) -> None:
    made, _ = opened(house, Role.COMPLIANCE)
    finding = {"log": log, "index": None, "field": "", "problem": "TREE", "zh": f"{log} 的树不完整", "en": f"the tree of {log} is damaged"}
    made.audit = {**(made.audit or {}), "findings": [finding]}
    made.draw()
    asyncio.run(made._select(str(made.findings.rows[0]["id"]), True))
    card = json.loads(made.inspector.head.shown)
    assert card["chip"]["state"] == "tampered" and [one["name"] for one in card["actions"]] == [f"log:{log}"]
    assert made.board.side.css_classes == ["open"]
    made.page.lang = "en"
    assert "tree" in json.loads(made.inspector.head.shown)["lines"][0]["text"]
    asyncio.run(made._act(f"log:{log}"))
    assert made.asked == Asked(log="" if log == "broker" else log)


# ---------------------------------------------------------------------------------------------- export, seat, laboratory


def test_the_package_of_a_job_is_built_and_handed_to_the_browser(house: Institutions, job: str) -> None:
    made, around = opened(house, Role.COMPLIANCE, job=job)
    assert "export" in [one["name"] for one in shown(made, "shapes")["actions"]]
    asyncio.run(made._act("export"))
    [download] = [what for name, what in around.asked if name == "download"]
    node = house.nodes["broker"]
    name, data = node.downloads.take(house.caller("broker", Role.COMPLIANCE), download)
    assert name.endswith(".zip") and data[:2] == b"PK" and not made.exporting
    without, _ = opened(house, Role.OPERATOR, job=job)
    if not without.page.may("evidence.export"):
        assert "export" not in [one["name"] for one in shown(without, "shapes")["actions"]]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_regulator_is_told_until_when_and_that_looking_is_recorded(house: Institutions, job: str, lang: str) -> None:
    made, _ = opened(house, Role.REGULATOR, job=job, lang=lang)
    seat = shown(made, "seat")
    assert "90" in seat["lines"][0]["text"] and ("记录" if lang == "zh" else "recorded") in seat["chip"]["word"]
    assert {one["operation"] for one in (e.values for e in house.entries("broker", kind="evidence.viewed"))} >= {"evidence.timeline", "evidence.entry"}
    assert shown(opened(house, Role.COMPLIANCE, job=job)[0], "seat")["lines"] == []


def test_an_attack_is_rehearsed_located_and_shown_field_by_field(house: Institutions, job: str) -> None:
    made, _ = opened(house, Role.COMPLIANCE)
    panel = json.loads(made.laboratory.panel.shown)
    assert {"edited-row", "split-view", "changed-clock"} <= {one["name"] for one in panel["actions"]}
    asyncio.run(made.laboratory.run("edited-row"))
    told = json.loads(made.laboratory.told.shown)
    assert told["chip"]["state"] == "tampered" and len([one for one in told["lines"] if one["kind"] == "pair"]) == 5
    assert [row["verdict"] for row in made.laboratory.diff.rows].count("differs") == 1
    asyncio.run(made.laboratory.run("no-such-attack"))
    assert made.audit is not None and made.audit["holds"]


@pytest.mark.parametrize("role", [Role.MARKETING, Role.REGULATOR])
def test_who_may_not_attack_sees_no_laboratory(house: Institutions, job: str, role: Role) -> None:
    made, _ = opened(house, role, job=job)
    assert not made.laboratory.view.visible and made.laboratory.attacks == []
