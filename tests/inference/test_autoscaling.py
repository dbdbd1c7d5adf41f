"""The scaler of a running lease: cards go from two to ten and back by letters to the provider, each decision with its entry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.inference.lease_world import BROKER, TELECOM, LeaseWorld, lease_world, make_workspace
from workbench.domain.party import Role
from workbench.errors import Refused, StorageFailed
from workbench_inference.leasing import deciding

CARDS: Final = 10


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeaseWorld]:
    with lease_world(make_workspace(tmp_path_factory.mktemp("scaled")), count=CARDS) as made:
        yield made


def rush(world: LeaseWorld, waiting: int, model: str = "echo") -> None:
    """So many questions wait for a model, asked now; none of before."""

    def change(tx: object) -> None:
        tx.execute("DELETE FROM inference_ask")  # type: ignore[attr-defined]  # a Transaction
        tx.executemany(  # type: ignore[attr-defined]
            "INSERT INTO inference_ask (ask, person, scenario, model, class, state, asked_ms) VALUES (?, 'p', 'research', ?, 'internal', 'QUEUED', ?)",
            [(f"ask-{number:032x}", model, world.now_ms) for number in range(waiting)],
        )

    world.institutions.nodes[BROKER].store.write(change)


def test_a_queue_takes_a_lease_from_two_cards_to_ten_and_its_end_back_to_two(world: LeaseWorld, tmp_path: Path) -> None:
    lease = world.running(world.image(tmp_path / "image").id, cards=2, most=CARDS, hours=2)
    world.turn(seconds=20)
    assert world.row(BROKER, lease).cards == 2 and "inference.scaled" not in world.kinds(BROKER, lease), "nothing waits, nothing changes"

    rush(world, 400)
    world.until(lambda: len(world.provider.held_by(lease)) == CARDS, seconds=1)
    assert world.row(BROKER, lease).cards == world.row(TELECOM, lease).cards == CARDS
    up_ms = world.query(BROKER, "SELECT max(time_ms) FROM inference_decision WHERE after > before")[0][0]

    rush(world, 0)
    world.until(lambda: len(world.provider.held_by(lease)) == 2, seconds=3)
    told = world.query(BROKER, "SELECT time_ms, before, after, queue, rule, zh, en FROM inference_decision WHERE lease = ? ORDER BY time_ms", lease)
    ups, downs = [one for one in told if one[2] > one[1]], [one for one in told if one[2] < one[1]]
    assert ups[0][1] == 2 and ups[-1][2] == CARDS and downs[-1][2] == 2 and {one[4] for one in ups} == {"queue-up"} and {one[4] for one in downs} == {"queue-down"}
    assert downs[0][0] - up_ms >= 60_000, "fewer cards wait for the cool-down"
    assert all(one[5] and one[6] for one in told)

    # What a decision changed is an entry, and each card that was given back has its clean receipt while the lease goes on.
    assert world.kinds(BROKER, lease).count("inference.scaled") == len(told)
    world.until(lambda: world.call(BROKER, Role.OPERATOR, "inference.erasures", lease=lease).clean >= CARDS - 2, seconds=1)
    assert world.state(BROKER, lease) == "RUNNING"
    # What is paid is what stood there: between two and ten cards for the time between.
    world.turn(seconds=60)
    seconds = (world.now_ms - world.row(BROKER, lease).started_ms) // 1000
    paid = world.call(BROKER, Role.OPERATOR, "inference.meters", lease=lease)
    assert 0 < paid.card_seconds < CARDS * seconds and paid.differing == 0
    over(world, lease)


def over(world: LeaseWorld, *leases: str) -> None:
    """Nothing waits, and these are given back."""
    rush(world, 0)
    for lease in leases:
        world.call(BROKER, Role.OPERATOR, "inference.lease_release", lease=lease)
    world.until(lambda: all(world.state(BROKER, lease) == "ERASED" for lease in leases), seconds=1)


def decisions(world: LeaseWorld, lease: str) -> list[Any]:
    return world.query(BROKER, "SELECT before, after, rule, code FROM inference_decision WHERE lease = ? ORDER BY number", lease)


def test_of_several_leases_only_the_one_that_questions_wait_for_grows(world: LeaseWorld, tmp_path: Path) -> None:
    alpha, beta = (world.image(tmp_path / name, name=name).id for name in ("alpha", "beta"))
    first = world.running(alpha, cards=2, most=4, hours=1)
    later = world.running(alpha, cards=2, most=4, hours=2)
    other = world.running(beta, cards=2, most=4, hours=2)
    rush(world, 100, "alpha")
    world.until(lambda: len(world.provider.held_by(later)) == 4, seconds=1)
    for _ in range(4):
        world.turn(seconds=10)
    assert [world.row(BROKER, one).cards for one in (first, later, other)] == [2, 4, 2], "questions for a model go to its lease that ends last"
    assert decisions(world, first) == decisions(world, other) == []
    over(world, first, later, other)


def test_what_the_provider_refused_is_said_and_then_as_many_cards_are_taken_as_there_are(world: LeaseWorld, tmp_path: Path) -> None:
    image = world.image(tmp_path / "image").id
    drained = [f"v-{number:08x}" for number in range(5, CARDS + 1)]
    for server in drained:
        world.call(TELECOM, Role.PROVIDER_OPERATOR, "inference.server_drain", server=server)
    assert [one.most_cards for one in world.call(TELECOM, Role.PROVIDER_OPERATOR, "inference.servers").pools] == [4], "what takes no lease is not offered"
    lease = world.running(image, cards=2, most=CARDS, hours=2)
    rush(world, 400)
    world.until(lambda: len(world.provider.held_by(lease)) == 4, seconds=1)
    [pool] = world.call(TELECOM, Role.PROVIDER_OPERATOR, "inference.servers").pools
    assert (pool.pool, pool.free) == ("shared", 0)
    for _ in range(8):
        world.turn(seconds=10)
        rush(world, 400)
    assert [tuple(one) for one in decisions(world, lease)][:2] == [(2, 10, "queue-up", "NO_CAPACITY"), (2, 4, "queue-up", "")]
    assert len(decisions(world, lease)) <= 3, "what was refused is not asked for every ten seconds"
    told = world.call(BROKER, Role.OPERATOR, "inference.scaling", lease=lease)
    assert "4" in told.decisions[-2].zh and max(one.cards for one in told.curve) <= 4, "the curve shows cards that were there"
    for server in drained:
        world.call(TELECOM, Role.PROVIDER_OPERATOR, "inference.server_drain", server=server, is_drained=False)
    world.until(lambda: len(world.provider.held_by(lease)) == CARDS, seconds=10)
    over(world, lease)


def test_the_cool_down_holds_over_a_restart_and_a_person_s_change_is_a_decision_too(world: LeaseWorld, tmp_path: Path) -> None:
    lease = world.running(world.image(tmp_path / "image").id, cards=2, most=5, hours=2)
    world.call(BROKER, Role.OPERATOR, "inference.lease_change", lease=lease, cards=5, reason="many are coming")
    world.until(lambda: len(world.provider.held_by(lease)) == 5, seconds=0.1)
    changed_ms = world.query(BROKER, "SELECT max(time_ms) FROM inference_decision WHERE lease = ?", lease)[0][0]
    assert [tuple(one) for one in decisions(world, lease)] == [(2, 5, "person", "")]
    world.institutions.stop(BROKER)
    world.start(BROKER)
    world.until(lambda: world.row(BROKER, lease).cards == 2, seconds=5)
    down_ms = world.query(BROKER, "SELECT max(time_ms) FROM inference_decision WHERE lease = ?", lease)[0][0]
    assert 60_000 <= down_ms - changed_ms < 90_000
    over(world, lease)


def test_a_change_and_its_reason_are_written_together_or_not_at_all(world: LeaseWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = world.running(world.image(tmp_path / "image").id, cards=2, most=CARDS, hours=2)
    sent = "SELECT count(*) FROM inference_change WHERE lease = ?"
    rush(world, 400)
    with monkeypatch.context() as patched:

        def fails(*_values: Any, **_more: Any) -> None:
            raise StorageFailed("磁盘已满", "the disk is full", code="STORE_FULL")

        patched.setattr(deciding, "keep", fails)
        for _ in range(3):
            world.turn(seconds=10)
        assert world.query(BROKER, sent, lease)[0][0] == 0 and world.row(BROKER, lease).cards == 2
    world.until(lambda: world.row(BROKER, lease).cards == CARDS, seconds=1)
    assert len(decisions(world, lease)) == world.query(BROKER, sent, lease)[0][0] == world.kinds(BROKER, lease).count("inference.scaled") == 1
    over(world, lease)


class Replicas:
    """Servers outside."""

    name = "outside"

    def __init__(self) -> None:
        self.count = 2

    def replicas(self) -> int:
        return self.count

    def ready(self) -> int:
        return self.count

    def set_replicas(self, count: int) -> None:
        self.count = count


def test_a_scaler_of_servers_outside_counts_leases_whose_engine_stands_there_and_nothing_else(
    world: LeaseWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = world.image(tmp_path / "inside", name="within")
    servers = Replicas()
    monkeypatch.setattr(type(world.tenant.host), "scalers", lambda _host: [servers])
    with pytest.raises(Refused, match="SCALER_COUNTS_NOTHING"):
        world.call(BROKER, Role.OPERATOR, "inference.scaler_set", scaler="outside")
    behind = world.image(tmp_path / "behind", name="beside", place="behind")
    world.call(BROKER, Role.OPERATOR, "inference.scaler_set", scaler="outside")
    try:
        first, second = (world.running(one.id, cards=1, most=1, hours=2) for one in (inside, behind))
        assert world.call(BROKER, Role.OPERATOR, "inference.scaling").outside == [second]
        rush(world, 400, "within")
        for _ in range(3):
            world.turn(seconds=10)
        assert servers.count == 2
        rush(world, 400, "beside")
        world.until(lambda: servers.count == CARDS, seconds=5)
        assert world.row(BROKER, second).cards == 1, "cards of the lease are not replicas of the servers beside it"
        told = world.call(BROKER, Role.OPERATOR, "inference.scaling", lease=second)
        assert [(one.scaler, one.before, one.after) for one in told.decisions] == [("outside", 2, CARDS)] and not any(one.cards > 1 for one in told.curve)
        assert decisions(world, first) == [] and world.kinds(BROKER, second).count("inference.scaled") == 1
        over(world, first, second)
    finally:
        world.call(BROKER, Role.OPERATOR, "inference.scaler_set")
