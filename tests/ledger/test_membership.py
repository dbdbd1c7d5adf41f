"""Changes of members that one institution alone writes into its own log, with approvals that others gave for another time."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.ledger import world as worlds
from tests.ledger.world import BANK, BROKER, CARDNET, World
from workbench.crypto import canonical
from workbench.domain.evidence import EntryRef
from workbench.domain.membership import APPROVED, CHANGED, MemberAction, MemberChange, format_approvals
from workbench.domain.party import PartyId
from workbench.domain.search import SearchQuery
from workbench_ledger import schema, search_schema
from workbench_ledger.package.verifier.formats import is_member
from workbench_ledger.policy import PendingCounter

LEAVES = MemberChange("evidence", MemberAction.LEAVE, CARDNET, "", (BANK, BROKER, CARDNET))
JOINS = MemberChange("evidence", MemberAction.JOIN, CARDNET, "aa" * 32, (BANK, BROKER))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "world")
    yield made
    made.close()


def write(world: World, log: PartyId, kind: str, change: MemberChange, **more: str) -> EntryRef:
    shared = {
        "change": change.id, "action": change.action.value, "party": str(change.party), "bundle_sm3": change.bundle_sm3, **more,
    }  # fmt: skip
    node = world.nodes[log]
    value = json.loads(node.body(0)[0]) | {"kind": kind, "job": "", "shared": shared, "committed": {}}
    return node.append(canonical.format(value), {})


def change_members(world: World, change: MemberChange, approvals: Mapping[PartyId, EntryRef]) -> tuple[int, bool]:
    """Where the broker's log changed, and whether the bank takes it for valid."""
    ref = write(world, BROKER, CHANGED, change, approvals=format_approvals(approvals.values()))
    world.exchange(BROKER, BANK)
    world.bank.ledger.judge_members()
    world.broker.ledger.judge_members()
    found = [{one.index: one.valid for one in node.ledger.member_entries() if one.kind == CHANGED and one.log == BROKER}
             for node in (world.bank, world.broker)]  # fmt: skip
    assert found[0] == found[1]
    return ref.index, found[0][ref.index]


def test_an_approval_is_spent_by_the_change_it_carried(world: World) -> None:
    """Leaving and joining of the same institution have the same id each time: old approvals must not serve again."""
    leaving = {log: write(world, log, APPROVED, LEAVES) for log in (BANK, BROKER)}
    joining = {log: write(world, log, APPROVED, JOINS) for log in (BANK, BROKER)}
    world.settle(BANK, BROKER)
    left_at, is_valid = change_members(world, LEAVES, leaving)
    assert is_valid
    assert not world.bank.ledger.keys()[CARDNET].is_member(BROKER, left_at)
    joined_at, is_valid = change_members(world, JOINS, joining)
    assert is_valid
    assert world.bank.ledger.keys()[CARDNET].is_member(BROKER, joined_at)
    for change, approvals in ((LEAVES, leaving), (JOINS, joining)):
        again, is_valid = change_members(world, change, approvals)
        assert not is_valid
        assert world.bank.ledger.keys()[CARDNET].is_member(BROKER, again)


class ReadMeanwhile:
    """A store in which somebody reads the members of before while a judgement is written, and keeps them a moment later."""

    def __init__(self, members: Any) -> None:
        self._members, self._store = members, members._store
        self._has_read, self.judged = threading.Event(), threading.Event()
        self.reader = threading.Thread(target=members._valid)

    def write(self, change: Any) -> Any:
        self._members._rows = None  # as an entry about members does, and another judgement
        self.reader.start()
        assert self._has_read.wait(60)
        return self._store.write(change)

    @contextmanager
    def read(self) -> Iterator[Any]:
        with self._store.read() as reader:
            yield SimpleNamespace(execute=lambda *asked: self._slowly(reader, *asked)) if threading.current_thread() is self.reader else reader

    def _slowly(self, reader: Any, *asked: Any) -> Any:
        rows = reader.execute(*asked).fetchall()
        self._has_read.set()
        self.judged.wait(0.5)
        return SimpleNamespace(fetchall=lambda: rows)


def test_members_read_while_a_change_is_judged_are_not_kept(world: World) -> None:
    """They were, for as long as nobody wrote about members again: who had left still counted, and entries stayed pending."""
    leaving = {log: write(world, log, APPROVED, LEAVES) for log in (BANK, BROKER)}
    world.settle(BANK, BROKER)
    members: Any = world.broker.ledger._members
    members._store = meanwhile = ReadMeanwhile(members)
    changed = write(world, BROKER, CHANGED, LEAVES, approvals=format_approvals(leaving.values()))
    world.broker.ledger.judge_members()
    meanwhile.judged.set()
    meanwhile.reader.join(60)
    assert not world.broker.ledger.keys()[CARDNET].is_member(BROKER, changed.index)


def test_what_is_pending_is_counted_anew_once_a_change_of_members_is_judged(world: World) -> None:
    leaving = {log: write(world, log, APPROVED, LEAVES) for log in (BANK, BROKER)}
    world.settle(BANK, BROKER)
    ledger = world.broker.ledger
    write(world, BROKER, CHANGED, LEAVES, approvals=format_approvals(leaving.values()))
    write(world, BROKER, APPROVED, MemberChange("evidence", MemberAction.LEAVE, BANK, "", (BANK, BROKER)))
    ledger.pending()  # while the one who left is a member still
    ledger.judge_members()
    world.exchange(BROKER, BANK)
    assert ledger.pending() == PendingCounter(ledger._context, BROKER).count()
    assert ledger.pending()[1] == 0


def test_a_signature_beyond_the_leave_takes_nothing_from_what_was_final_before_it(world: World) -> None:
    """Whoever leaves signs on until the change is judged. Only that newest head was looked at: entries that all had signed
    had lost a signature, and those that needed it stayed pending for ever."""
    world.broker.write(2, partner="cardnet")
    leaving = {log: write(world, log, APPROVED, LEAVES) for log in (BANK, BROKER)}
    world.settle()
    ledger = world.broker.ledger
    before = [ledger.seal(BROKER, index) for index in range(2)]
    assert [one.state for one in before] == ["FULL", "FULL"]
    left_at = write(world, BROKER, CHANGED, LEAVES, approvals=format_approvals(leaving.values())).index
    world.broker.write(1)
    world.settle()
    for node in world.nodes.values():
        node.ledger.judge_members()
    assert not ledger.keys()[CARDNET].is_member(BROKER, left_at)
    for log in (BROKER, BANK):
        assert [world.nodes[log].ledger.seal(BROKER, index) for index in range(2)] == before
    assert ledger.pending() == PendingCounter(ledger._context, BROKER).count() and ledger.pending()[1] == 0


def test_with_two_members_left_neither_can_be_dropped_by_the_other(world: World) -> None:
    leaving = {log: write(world, log, APPROVED, LEAVES) for log in (BANK, BROKER)}
    world.settle(BANK, BROKER)
    assert change_members(world, LEAVES, leaving)[1]
    alone = MemberChange("evidence", MemberAction.LEAVE, BANK, "", (BANK, BROKER))
    approval = write(world, BROKER, APPROVED, alone)
    index, is_valid = change_members(world, alone, {BROKER: approval})
    assert not is_valid
    assert world.broker.ledger.keys()[BANK].is_member(BROKER, index)
    write(world, BROKER, APPROVED, alone)  # nobody but the broker has signed this one
    world.broker.ledger.own_checkpoint()
    assert world.broker.ledger.seal(BROKER, index + 1).state == "PENDING"


def test_what_was_final_stays_final_when_who_left_comes_back(world: World) -> None:
    world.broker.write(2, partner="cardnet")
    leaving = {log: write(world, log, APPROVED, LEAVES) for log in (BANK, BROKER)}
    joining = {log: write(world, log, APPROVED, JOINS) for log in (BANK, BROKER)}
    world.settle()
    left_at = change_members(world, LEAVES, leaving)[0]
    joined_at = change_members(world, JOINS, joining)[0]
    world.settle()
    key = world.broker.ledger.keys()[CARDNET]
    span = (dict(key.joined), dict(key.left))
    for index in range(joined_at + 2):
        expected = index < left_at or index >= joined_at
        assert key.is_member(BROKER, index) is expected
        assert is_member(CARDNET, span, BROKER, index) is expected  # type: ignore[arg-type]  # party ids are text
    assert [world.broker.ledger.seal(BROKER, index).state for index in (0, 1)] == ["FULL", "FULL"]
    without = MemberChange("evidence", MemberAction.LEAVE, BANK, "", (BANK, BROKER, CARDNET))
    alone = {BROKER: write(world, BROKER, APPROVED, without)}
    assert not change_members(world, without, alone)[1]  # who came back has a voice again
    asked = {log: write(world, log, APPROVED, without) for log in (BROKER, CARDNET)}
    world.settle()
    assert change_members(world, without, asked)[1]


def test_the_voice_of_who_came_back_is_heard_by_everybody(world: World) -> None:
    """Not only by the log that it co-signs: the others learn it from the heads that they are shown."""
    world.broker.write(1)
    leaving = {log: write(world, log, APPROVED, LEAVES) for log in (BANK, BROKER)}
    joining = {log: write(world, log, APPROVED, JOINS) for log in (BANK, BROKER)}
    world.settle()
    change_members(world, LEAVES, leaving)
    joined_at = change_members(world, JOINS, joining)[0]
    world.settle()
    for party in (BROKER, BANK):
        assert world.nodes[party].ledger.seal(BROKER, joined_at).state == "FULL", party


@pytest.mark.parametrize("reopened", [False, True])
def test_counts_and_search_say_of_every_entry_what_the_ledger_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reopened: bool
) -> None:
    """One institution leaves without having signed everything, and comes back: no shortcut may mix up the times."""
    monkeypatch.setattr(worlds, "MIGRATIONS", [*schema.MIGRATIONS, *search_schema.MIGRATIONS])
    world = World(tmp_path / "searched")
    try:
        world.broker.write(2, partner="cardnet")
        world.broker.write(2)
        leaving = {log: write(world, log, APPROVED, LEAVES) for log in (BANK, BROKER)}
        joining = {log: write(world, log, APPROVED, JOINS) for log in (BANK, BROKER)}
        world.exchange(BROKER, BANK)
        world.exchange(BANK, BROKER)
        agree(world, reopened=reopened)
        change_members(world, LEAVES, leaving)
        world.broker.write(2)
        world.exchange(BROKER, BANK)
        agree(world, reopened=reopened)
        change_members(world, JOINS, joining)
        world.broker.write(2, partner="cardnet")
        world.exchange(BROKER, BANK)
        agree(world, reopened=reopened)
        world.settle()
        world.broker.write(1, partner="cardnet")
        world.exchange(BROKER, CARDNET)
        agree(world, reopened=reopened)
    finally:
        world.close()


def agree(world: World, *, reopened: bool) -> None:
    if reopened:
        world.broker.close()
        world.broker.open()
    ledger = world.broker.ledger
    states = [ledger.seal(BROKER, index).state for index in range(ledger.size(BROKER))]
    assert ledger.pending() == (len(states) - states.count("PENDING"), states.count("PENDING"))
    assert ledger.index.catch_up()
    for state in ("", "pending", "sealed", "full"):
        expected = {(index, one.lower()) for index, one in enumerate(states) if state in ("", one.lower())}
        found = ledger.index.search(SearchQuery(log=BROKER, state=state, limit=100))
        assert {(one.index, one.state) for one in found} == expected
        assert ledger.index.count(SearchQuery(log=BROKER, state=state, limit=100)) == len(expected)


def test_of_several_absences_the_node_knows_every_one(world: World) -> None:
    """Who was a member before the first absence is one there for ever, also while it is away for the second time."""
    world.broker.write(1, partner="cardnet")
    world.settle()
    expected: dict[int, bool] = {0: True}
    for change in (LEAVES, JOINS, LEAVES):
        approvals = {log: write(world, log, APPROVED, change) for log in (BANK, BROKER)}
        world.settle(BANK, BROKER) if change is JOINS else world.settle()
        at, is_valid = change_members(world, change, approvals)
        assert is_valid
        expected[at] = change is JOINS
    ledger = world.broker.ledger
    member = True
    for index in range(ledger.size(BROKER)):
        member = expected.get(index, member)
        assert ledger.keys()[CARDNET].is_member(BROKER, index) is member
    assert ledger.seal(BROKER, 0).state == "FULL"
    assert ledger.proof(BROKER, 0).size > 0
