"""Who waits for a place in a sandbox: order of asking, leaving the line, stopping, threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.inference.asking_world import asking_world
from tests.inference.lease_world import BROKER, TELECOM, LeaseWorld
from workbench.domain.party import Role
from workbench.errors import PeerUnavailable, Refused
from workbench_inference.asking.desk import Desk
from workbench_inference.asking.sandboxes import Sandboxes
from workbench_inference.asking.service import asking_of
from workbench_inference.leasing import rows
from workbench_sandbox.formats import relay

QUESTION = "这只基金的管理费率是多少？"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeaseWorld]:
    with asking_world(tmp_path_factory.mktemp("waiting")) as made:
        yield made


@pytest.fixture(scope="module")
def lease(world: LeaseWorld, tmp_path_factory: pytest.TempPathFactory) -> str:
    return world.running(world.image(tmp_path_factory.mktemp("image"), name="extractive").id, cards=1, hours=2)


@pytest.fixture
def desk(world: LeaseWorld, lease: str) -> Iterator[Desk]:
    """Nothing is under way before a test, nor after it."""
    found = asking_of(world.institutions.nodes[BROKER]).desk
    wait_s = found.sandboxes.wait_s
    yield found
    found.sandboxes.wait_s = wait_s
    world.institutions.wait_until(lambda: found.waiting == 0 and found.sandboxes.waiting(lease) == 0)
    assert found.sandboxes._held == {} and all(one.wanted == one.opening == 0 and not one.line for one in found.sandboxes._leases.values())


class Caller(threading.Thread):
    """One who asks for a place and keeps it until told."""

    def __init__(self, sandboxes: Sandboxes, row: Any, served: list[int], number: int) -> None:
        super().__init__(daemon=True)
        self.number, self.is_stopped, self.leave, self.code = number, threading.Event(), threading.Event(), ""
        self._sandboxes, self._row, self._served = sandboxes, row, served

    def run(self) -> None:
        try:
            client = self._sandboxes.take(self._row, None, ask=f"ask-{self.number}", is_stopped=self.is_stopped.is_set)
        except Refused as error:
            self.code = error.code
            return
        self._served.append(self.number)
        self.leave.wait(60)
        self._sandboxes.give(client)


def full(world: LeaseWorld, sandboxes: Sandboxes, row: Any) -> list[Any]:
    """Every place of the lease, taken."""
    return [sandboxes.take(row, None) for _ in range(sandboxes.manifest(row).limits.asks_at_once * row.cards)]


def queued(world: LeaseWorld, sandboxes: Sandboxes, row: Any, served: list[int], count: int) -> list[Caller]:
    """So many who wait, one after the other."""
    made = []
    for number in range(count):
        before = sandboxes.waiting(row.lease)
        made.append(Caller(sandboxes, row, served, number))
        made[-1].start()
        world.institutions.wait_until(lambda before=before: sandboxes.waiting(row.lease) == before + 1)
    return made


def test_places_are_given_in_the_order_of_asking_and_who_leaves_the_line_holds_up_nobody(world: LeaseWorld, lease: str, desk: Desk) -> None:
    sandboxes, row, served = desk.sandboxes, world.row(BROKER, lease), list[int]()
    held = full(world, sandboxes, row)
    callers = queued(world, sandboxes, row, served, 24)
    sandboxes.wait_s = 0.0
    with pytest.raises(Refused) as caught:
        sandboxes.take(row, None)
    assert caught.value.code == "ASKS_WAIT", "who waits no longer leaves"
    for gone in (0, 7, 8, 23):  # the first, two in the middle, the last
        callers[gone].is_stopped.set()
        sandboxes.stop(f"ask-{gone}")
        callers[gone].join(10)
        assert callers[gone].code == "STOPPED" and not served
    expected = [one.number for one in callers if not one.code]
    for one in held[1:]:
        sandboxes.give(one)
    first = len(held) - 1
    world.institutions.wait_until(lambda: len(served) == first)
    assert sorted(served) == expected[:first]
    sandboxes.give(held[0])
    for place, number in enumerate(expected[first:], first):  # from here on one place comes free at a time
        world.institutions.wait_until(lambda place=place: len(served) == place + 1)
        assert served[place] == number
        callers[min(served) if place == first else served[place - 1]].leave.set()
    for one in callers:
        one.leave.set()
        one.join(10)
        assert not one.is_alive()


def test_a_card_that_is_added_serves_who_waits(world: LeaseWorld, lease: str, desk: Desk) -> None:
    sandboxes, row, served = desk.sandboxes, world.row(BROKER, lease), list[int]()
    held = full(world, sandboxes, row)
    [caller] = queued(world, sandboxes, row, served, 1)
    sandboxes.seen(replace(row, cards=2))
    assert sandboxes._leases[lease].cards == 2  # the provider has no second one of this lease: it is asked, and who waits waits on
    sandboxes.seen(row)
    assert not served and caller.is_alive()
    for one in held:
        sandboxes.give(one)
    world.institutions.wait_until(lambda: served == [0])
    caller.leave.set()
    caller.join(10)


def test_a_question_that_waits_ends_with_its_stop_and_is_never_sent(world: LeaseWorld, lease: str, desk: Desk) -> None:
    sandboxes, row = desk.sandboxes, world.row(BROKER, lease)
    held = full(world, sandboxes, row)
    inside = next(iter(world.servers.inside.values()))  # type: ignore[attr-defined]
    sent, before = len(inside.frames), len(world.institutions.kinds(BROKER))
    names = []
    for number in range(1, 4):
        names.append(world.call(BROKER, Role.ADVISER, "inference.ask", question=QUESTION, scenario="research").ask)
        world.institutions.wait_until(lambda number=number: sandboxes.waiting(lease) == len(held) + number)
    assert len(desk._threads) >= 3, "a question that waits holds up no other"
    world.call(BROKER, Role.ADVISER, "inference.ask_stop", ask=names[1])
    told = world.call(BROKER, Role.ADVISER, "inference.answer", ask=names[1])
    assert (told.state, told.code, told.where) == ("STOPPED", "STOPPED", "before") and told.zh and told.question == QUESTION
    world.institutions.wait_until(lambda: sandboxes.waiting(lease) == len(held) + 2)
    assert len(inside.frames) == sent
    found = [one for one in world.institutions.kinds(BROKER)[before:] if one.startswith("inference.")]
    assert found == ["inference.ask_refused"], "once, with the stop"
    for one in held:
        sandboxes.give(one)
    world.institutions.wait_until(lambda: desk.waiting == 0)
    states = {name: world.call(BROKER, Role.ADVISER, "inference.answer", ask=name).state for name in names}
    assert states[names[1]] == "STOPPED" and {states[names[0]], states[names[2]]} <= {"ANSWERED", "ABSTAINED"}
    assert world.institutions.kinds(BROKER)[before:].count("inference.asked") == 2


def test_threads_are_made_as_questions_need_them(world: LeaseWorld, lease: str, desk: Desk) -> None:
    world.institutions.wait_until(lambda: desk._idle == len(desk._threads))
    before = len(desk._threads)
    for _ in range(before + 3):  # one after the other: no further thread
        taken = world.call(BROKER, Role.ADVISER, "inference.ask", question=QUESTION, scenario="research")
        progress = desk.progress(taken.ask)
        assert progress is not None
        world.institutions.wait_until(lambda progress=progress: progress.is_over and desk._idle == before)
    assert len(desk._threads) == max(1, before)
    held = full(world, desk.sandboxes, world.row(BROKER, lease))
    for _ in range(before + 2):  # all of them wait: as many threads as questions
        world.call(BROKER, Role.ADVISER, "inference.ask", question=QUESTION, scenario="research")
    world.institutions.wait_until(lambda: desk.sandboxes.waiting(lease) == len(held) + before + 2)
    assert len(desk._threads) == before + 2
    for one in held:
        desk.sandboxes.give(one)
    ends = time.monotonic() + 60
    while desk.waiting and time.monotonic() < ends:
        time.sleep(0.02)
    assert desk.waiting == 0 and len(desk._threads) == before + 2


def test_a_provider_that_does_not_answer_is_said_to_and_since_when(world: LeaseWorld, lease: str, desk: Desk) -> None:
    def told() -> tuple[int, int, int]:
        one = world.call(BROKER, Role.OPERATOR, "inference.lease", lease=lease).lease
        [listed] = [each for each in world.call(BROKER, Role.OPERATOR, "inference.leases").leases if each.lease == lease]
        return world.call(BROKER, Role.ADVISER, "inference.desk").silent_s, one.silent_s, listed.silent_s

    world.until(lambda: told() == (0, 0, 0), seconds=0.5)
    world.turn(seconds=3)
    world.turn()
    assert told() == (0, 0, 0), "it is asked every two seconds, and answers"
    world.institutions.wire.cut(TELECOM)
    try:
        world.turn(seconds=4)
        assert told() == (0, 0, 0), "one look that failed says nothing yet"
        world.turn(seconds=8)
        assert told() == (12, 12, 12) and world.state(BROKER, lease) == "RUNNING", "the state as it was, and how old that is"
    finally:
        world.institutions.wire.mend()
    world.turn(seconds=3)
    assert told() == (0, 0, 0)


def test_a_sandbox_whose_first_exchange_failed_or_whose_session_is_of_an_earlier_run_is_asked_again(world: LeaseWorld, lease: str, desk: Desk) -> None:
    row, host = world.row(BROKER, lease), world.institutions.nodes[BROKER]
    with pytest.raises(Refused):
        Sandboxes(host).take(row, None, is_stopped=lambda: True)
    later = Sandboxes(host)  # of the node after a restart: the only sandbox has given its evidence
    later.wait_s = 0.0
    lost: list[str] = []

    def lose(call: Any, to: str, header: Any) -> Any:
        if call.path == relay.START and not lost:
            lost.append(to)
            return None
        return call.body

    world.institutions.wire.rules.append(lose)
    try:
        with pytest.raises(PeerUnavailable):
            later.take(row, None)
    finally:
        world.institutions.wire.mend()
    assert lost == [TELECOM]
    client = later.take(row, None)
    assert client.session is not None and client.sandbox in {one.sandbox for one in world.provider.held_by(lease)}
    later.give(client)
    later.close_all(cause="restart")
    desk.sandboxes.close(lease, cause="restart")  # as a node that starts again knows of no session
    taken = world.call(BROKER, Role.ADVISER, "inference.ask", question=QUESTION, scenario="research")
    world.institutions.wait_until(lambda: desk.waiting == 0)
    assert world.call(BROKER, Role.ADVISER, "inference.answer", ask=taken.ask).state in ("ANSWERED", "ABSTAINED")


def test_a_month_of_more_than_a_thousand_leases_is_summed_whole(world: LeaseWorld, lease: str) -> None:
    class Undone(Exception):
        pass

    def change(tx: Any) -> None:
        names = [str(one[0]) for one in tx.execute("SELECT name FROM pragma_table_info('inference_lease') WHERE name <> 'lease'")]
        before = len(rows.listed(tx))
        for number in range(1_100):
            tx.execute(f"INSERT INTO inference_lease (lease, {', '.join(names)}) SELECT ?, {', '.join(names)} FROM inference_lease WHERE lease = ?", (f"L-20260101-{number:08x}", lease))
        assert len(rows.listed(tx)) == len(rows.listed(tx, since_ms=world.now_ms)) == before + 1_100 and len(rows.listed(tx, limit=50)) == 50
        raise Undone

    with pytest.raises(Undone):
        world.institutions.nodes[BROKER].store.write(change)
