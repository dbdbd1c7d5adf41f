"""From two cards to ten and back to two with real servers: processes, workers under bubblewrap, and people who ask."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Final

import pytest

from tests.inference.crowd import Crowd, crowded_world, image, leased, remains
from tests.inference.lease_world import BROKER, TELECOM, LeaseWorld
from tests.sandbox.world import lacking
from workbench.domain.party import Role

CARDS: Final = 10
PAUSE_S: Final = 2.0
CALLERS: Final = 60

pytestmark = [pytest.mark.soak, pytest.mark.skipif(bool(lacking()), reason=f"this kernel or account cannot start a sandbox: {lacking()}")]


def sampled(world: LeaseWorld, lease: str, crowd: Crowd | None, trace: list[dict[str, Any]], began: float) -> int:
    """One point of the trace; the cards that are held."""
    queue = int(world.query(BROKER, "SELECT count(*) FROM inference_ask WHERE state = 'QUEUED' AND ended_ms = 0")[0][0])
    held = len(world.provider.held_by(lease))
    p95 = 0.0
    if crowd is not None:
        took = sorted(seconds for ended, seconds in list(crowd.took) if ended > time.monotonic() - crowd.began - 10)
        p95 = took[-(-len(took) * 95 // 100) - 1] if took else 0.0
    trace.append({"s": round(time.monotonic() - began, 1), "queue": queue, "agreed": world.row(BROKER, lease).cards, "held": held, "p95_s": round(p95, 2)})
    return held


def decided(world: LeaseWorld, lease: str) -> list[tuple[Any, ...]]:
    return [tuple(one) for one in world.query(BROKER, "SELECT before, after, rule, zh, en, code FROM inference_decision WHERE lease = ? ORDER BY number", lease)]


def test_a_crowd_takes_a_lease_to_ten_real_cards_and_its_leaving_back_to_two(tmp_path: Path) -> None:
    trace: list[dict[str, Any]] = []
    with crowded_world(tmp_path / "nodes", cards=CARDS, inference__tick_s=10) as world:
        world.call(BROKER, Role.OPERATOR, "inference.scaler_set", least=2, most=CARDS, cooldown_s=10, start_delay_s=5, wait_s=10)
        lease = leased(world, image(world, tmp_path / "image", pause_s=PAUSE_S), cards=2, most=CARDS)
        began = time.monotonic()

        def until(held: int, crowd: Crowd | None) -> None:
            ends = time.monotonic() + 240
            while sampled(world, lease, crowd, trace, began) != held:
                assert time.monotonic() < ends, trace[-5:]
                time.sleep(1)

        with Crowd(world, CALLERS) as crowd:
            until(CARDS, crowd)
            for _ in range(15):
                sampled(world, lease, crowd, trace, began)
                time.sleep(1)
        until(2, None)
        if kept := os.environ.get("WORKBENCH_TRACE"):  # for docs/benchmarks.md
            Path(kept).write_text(json.dumps({"trace": trace, "states": crowd.states, "decisions": decided(world, lease)}), "utf-8")
        assert set(crowd.states) <= {"ANSWERED", "ABSTAINED"} and crowd.states["ANSWERED"] > CALLERS, crowd.states
        assert max(one["queue"] for one in trace) > 2 * CARDS, "a real queue"

        # Every step is explained at the tenant by a decision, and stands at both ends as the same change from the same second on.
        steps = decided(world, lease)
        assert steps[0][0] == 2 and max(one[1] for one in steps) == CARDS and steps[-1][1] == 2
        assert all(before[1] == after[0] for before, after in zip(steps, steps[1:], strict=False)), "no step between two decisions"
        assert all(one[2] in ("queue-up", "queue-down") and one[3] and one[4] and not one[5] for one in steps)
        world.institutions.wait_until(lambda: len(world.institutions.entries(BROKER, lease, "inference.lease_changed")) == len(steps))
        scaled = [one.values for one in world.institutions.entries(BROKER, lease, "inference.scaled")]
        changed = {party: [one.values for one in world.institutions.entries(party, lease, "inference.lease_changed")] for party in (BROKER, TELECOM)}
        told = {party: [(one["number"], one["cards"], one["at"]) for one in values] for party, values in changed.items()}
        assert told[BROKER] == told[TELECOM] and [one["after"] for one in scaled] == [one[1] for one in told[BROKER]]

        # The meters of both are the same to the tick, and nobody paid for a card that was not there.
        world.call(BROKER, Role.OPERATOR, "inference.lease_release", lease=lease)
        world.institutions.wait_until(lambda: world.state(BROKER, lease) == world.state(TELECOM, lease) == "ERASED", timeout_s=120)
        settled = "SELECT agreed FROM inference_statement WHERE lease = ?"
        world.institutions.wait_until(lambda: [one[0] for one in world.query(BROKER, settled, lease)] == [1], timeout_s=120)
        ticks = {party: world.query(party, "SELECT number, body, state FROM inference_tick WHERE lease = ? ORDER BY number", lease) for party in (BROKER, TELECOM)}
        assert [tuple(one) for one in ticks[BROKER]] == [tuple(one) for one in ticks[TELECOM]] and {one[2] for one in ticks[BROKER]} == {"agreed"}
        paid = world.call(BROKER, Role.OPERATOR, "inference.meters", lease=lease)
        assert 2 < max(one.cards for one in paid.ticks) <= CARDS and paid.card_seconds == paid.agreed_card_seconds == sum(one.card_seconds for one in paid.ticks)
        assert paid.card_seconds <= sum(int(one["held"]) for one in trace) * 2 + 2 * CARDS * 5, "about the area under the curve of cards that were held"

        # Every card that was held has a clean receipt, and so many sandboxes ended as began.
        found = world.call(BROKER, Role.OPERATOR, "inference.erasures", lease=lease)
        servers = {one[0] for one in world.query(TELECOM, "SELECT server FROM inference_sandbox WHERE lease = ?", lease)}
        assert len(servers) == CARDS and {one.server for one in found.erasures} == servers and (found.residue, found.missing) == (0, 0)
        assert world.query(TELECOM, "SELECT count(*) FROM inference_sandbox WHERE lease = ? AND ended_ms = 0", lease)[0][0] == 0
        assert all(one.state in ("SANITISED", "READY") for one in world.provider.servers.states())
    assert remains(tmp_path) == []
