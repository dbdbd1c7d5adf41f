"""Drafts of the wizard: whose they are, what a restart leaves of them, what they leave behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.flows.institutions import Institutions, fresh_workspace, running
from workbench.domain.party import Role
from workbench.errors import Denied, InvalidRequest, NotFound, Refused
from workbench.node.drafts import DAY_MS, DRAFT_OPERATIONS, KEPT_DAYS, MAX_DRAFTS

RULE = '资产档 in (A,B) and 城市 = "虚构的城市-draft-canary"'


@pytest.fixture(scope="module")
def house() -> Iterator[Institutions]:
    workspace = fresh_workspace()
    with running(workspace, ("broker",)) as made:
        yield made
    shutil.rmtree(workspace.folder)


@pytest.fixture(autouse=True)
def clean(house: Institutions) -> Iterator[None]:
    yield
    for one in drafts(house):
        discard(house, one.draft)


def save(house: Institutions, **choices: Any) -> Any:
    return house.call("broker", Role.MARKETING, "intersection.draft_save", **choices)


def drafts(house: Institutions) -> Any:
    return house.call("broker", Role.MARKETING, "intersection.draft_get").drafts


def discard(house: Institutions, draft: str) -> Any:
    return house.call("broker", Role.MARKETING, "intersection.draft_discard", draft=draft)


def test_a_restart_of_the_node_leaves_every_choice_as_it_was(house: Institutions) -> None:
    listed = house.call("broker", Role.MARKETING, "lists.all").lists[0]
    choices = {
        "step": 2, "list_id": listed.list_id, "partner": "bank", "purpose": "customer-service", "key_kind": "id_no", "audience": RULE,
        "minimum_crowd": 75, "timeout_s": 900, "columns": ["资产档"], "copied_from": "J-20261121-0a1b2c3d",
    }  # fmt: skip
    saved = save(house, **choices)
    house.stop("broker")
    house.start("broker")
    [found] = drafts(house)
    assert found == saved and found.list_name == listed.name
    assert {name: getattr(found, name) for name in choices} == choices


def test_saving_again_replaces_and_leaves_one(house: Institutions) -> None:
    first = save(house, audience="资产档 = A")
    second = save(house, draft=first.draft, audience="资产档 = B", step=3)
    assert first.draft == second.draft and [(one.audience, one.step) for one in drafts(house)] == [("资产档 = B", 3)]


def test_nobody_reads_keeps_or_discards_the_draft_of_another_person(house: Institutions) -> None:
    mine = save(house, audience=RULE).draft
    node = house.nodes["broker"]
    other = node.people.add(person="other-marketing", display_name="他人", roles=[Role.MARKETING], password="Korrekt-Pferd-7-Batterie")
    caller = node.people.caller(node.people._issue(other, "page").secret)
    assert node.gate.call("intersection.draft_get", {}, caller).model_dump() == {"drafts": []}
    with pytest.raises(NotFound):
        node.gate.call("intersection.draft_get", {"draft": mine}, caller)
    with pytest.raises(NotFound):
        node.gate.call("intersection.draft_save", {"draft": mine}, caller)
    for tried in (mine, f"../{house.caller('broker', Role.MARKETING).person.person}/{mine}"):
        assert node.gate.call("intersection.draft_discard", {"draft": tried}, caller).model_dump() == {"discarded": False}
    assert [one.draft for one in drafts(house)] == [mine]


def test_a_discarded_draft_is_not_brought_back_by_another_tab(house: Institutions) -> None:
    draft = save(house).draft
    assert discard(house, draft).discarded and not discard(house, draft).discarded
    with pytest.raises(NotFound, match="NO_DRAFT"):
        save(house, draft=draft)
    assert drafts(house) == []


def test_a_draft_leaves_no_entry_and_a_refusal_of_one_does(house: Institutions) -> None:
    """Nothing was decided and nothing left this institution; the proposal is the act."""
    before = len(house.entries("broker"))
    draft = save(house, audience=RULE).draft
    drafts(house)
    discard(house, draft)
    assert len(house.entries("broker")) == before
    with pytest.raises(Denied):
        house.call("broker", Role.APPROVER, "intersection.draft_get")
    assert [one.kind for one in house.entries("broker")[before:]] == ["action.refused"]


def test_a_rule_of_a_draft_stands_nowhere_in_clear(house: Institutions) -> None:
    save(house, audience=RULE)
    folder = house.nodes["broker"].folder
    for path in folder.glob("evidence.db*"):
        assert b"draft-canary" not in path.read_bytes()


def test_a_page_that_saves_by_itself_cannot_fill_the_database(house: Institutions) -> None:
    kept = [save(house).draft for _ in range(MAX_DRAFTS)]
    with pytest.raises(Refused, match="TOO_MANY_DRAFTS"):
        save(house)
    assert save(house, draft=kept[0], step=1).step == 1, "the ones that are there can still be changed"
    node = house.nodes["broker"]
    now = node.now_ms
    node.now_ms = lambda: now() + (KEPT_DAYS + 1) * DAY_MS
    try:
        newest = save(house).draft
    finally:
        node.now_ms = now
    assert [one.draft for one in drafts(house)] == [newest], "what nobody touched for a long time went"


@pytest.mark.parametrize("wrong", [{"draft": "D-1"}, {"step": 4}, {"audience": "x" * 2001}, {"phones": ["1"]}, {"minimum_crowd": 0}])
def test_what_is_no_choice_is_refused(house: Institutions, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        save(house, **wrong)


def test_a_notebook_cannot_touch_drafts() -> None:
    assert not any(one.weak_token for one in DRAFT_OPERATIONS)
