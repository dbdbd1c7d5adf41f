"""The scaler of a running lease: cards go from two to ten and back by letters to the provider, each decision with its entry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.inference.lease_world import BROKER, TELECOM, LeaseWorld, lease_world, make_workspace
from workbench.domain.party import Role

CARDS: Final = 10


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeaseWorld]:
    with lease_world(make_workspace(tmp_path_factory.mktemp("scaled")), count=CARDS) as made:
        yield made


def rush(world: LeaseWorld, waiting: int) -> None:
    """So many questions wait, asked now; none of before."""

    def change(tx: object) -> None:
        tx.execute("DELETE FROM inference_ask")  # type: ignore[attr-defined]  # a Transaction
        tx.executemany(  # type: ignore[attr-defined]
            "INSERT INTO inference_ask (ask, person, scenario, model, class, state, asked_ms) VALUES (?, 'p', 'research', 'echo', 'internal', 'QUEUED', ?)",
            [(f"ask-{number:032x}", world.now_ms) for number in range(waiting)],
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
