"""The rule of two to ten cards, the calendar, and the exact optimum that the rule is held against."""

from __future__ import annotations

import itertools
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workbench_inference.leasing.optimum import bound, optimum
from workbench_inference.leasing.scaling import Load, ScalingRule, decide, simulate
from workbench_inference.leasing.schedule import format_calendar, next_opening, parse_calendar, wanted_by_calendar, window_of

from workbench.errors import InvalidRequest

RULE = ScalingRule()
SHANGHAI = ZoneInfo("Asia/Shanghai")


def test_cards_go_from_two_to_ten_and_back_to_two() -> None:
    quiet, rush = [2] * 60, [60] * 60
    run = simulate([*quiet, *rush, *quiet, *quiet], RULE, per_server=5)
    assert run.cards[59] == 2 and max(run.cards) == 10 and run.cards[-1] == 2
    assert set(run.cards[:60]) == {2}


def test_a_card_answers_only_after_its_start_up() -> None:
    run = simulate([2] * 10 + [50] * 10, RULE, per_server=5)
    assert run.cards[10] == run.cards[11] == run.cards[12] == 2, "the first busy slot is seen in slot 11, and a card takes two slots"
    assert run.cards[13] > 2


def test_going_down_waits_for_the_cool_down_and_says_so() -> None:
    load = Load(queue=0, in_service=0, ready=6, starting=0, asked=10, ask_ms=2000, changed_s=1_000)
    waiting = decide(load, RULE, now_s=1_030)
    assert (waiting.wanted, waiting.rule) == (6, "cooling") and "30 秒后再减" in waiting.reason_zh and "fewer in 30 s" in waiting.reason_en
    after = decide(load, RULE, now_s=1_060)
    assert (after.wanted, after.rule) == (2, "queue-down") and "下限" in after.reason_zh


def test_going_up_does_not_wait_and_counts_cards_that_start() -> None:
    load = Load(queue=60, in_service=3, ready=3, starting=0, asked=90, ask_ms=2000, changed_s=1_000)
    up = decide(load, RULE, now_s=1_001)
    assert up.rule == "queue-up" and 3 < up.wanted <= 10
    there = decide(Load(60, 3, 3, up.wanted - 3, 90, 2000, 1_001), RULE, now_s=1_002)
    assert (there.wanted, there.rule) == (up.wanted, "keep")


@given(st.integers(0, 10**5), st.integers(0, 50), st.integers(0, 20), st.integers(0, 20), st.integers(0, 10**5), st.integers(0, 10**5), st.integers(0, 10**5))
def test_a_decision_stays_in_its_bounds_and_more_waiting_never_takes_fewer(queue: int, served: int, ready: int, starting: int, asked: int, ask_ms: int, at: int) -> None:
    load = Load(queue, served, ready, starting, asked, ask_ms)
    found = decide(load, RULE, now_s=at)
    assert RULE.least <= found.wanted <= RULE.most or found.wanted == ready + starting
    more = decide(Load(queue + 1, served, ready, starting, asked, ask_ms), RULE, now_s=at)
    assert more.wanted >= found.wanted


def naive(demand: list[int], *, per_server: int, least: int, most: int, start_delay: int, lateness: int) -> dict[int, int]:
    """Late asks -> least cost, over every row of cards there is."""
    found: dict[int, int] = {}
    choices = [range(least, least + 1) if slot < start_delay else range(least, most + 1) for slot in range(len(demand))]
    for cards in itertools.product(*choices):
        waiting: list[list[int]] = []
        late = 0
        for slot, arrived in enumerate(demand):
            waiting.append([slot, arrived])
            left = cards[slot] * per_server
            for one in waiting:
                done = min(one[1], left)
                one[1] -= done
                left -= done
            late += sum(one[1] for one in waiting if one[0] == slot - lateness)
        found[late] = min(found.get(late, 10**9), sum(cards))
    return found


def test_the_optimum_is_that_of_every_row_of_cards_tried() -> None:
    source = random.Random(20261122)
    for _ in range(15):
        demand = [source.randrange(0, 9) for _ in range(6)]
        limits = {"per_server": source.randrange(1, 4), "least": 1, "most": 3, "start_delay": source.randrange(0, 3), "lateness": source.randrange(1, 3)}
        tried = naive(demand, **limits)
        if 0 in tried:
            run = optimum(demand, **limits)
            assert (run.cost, run.late) == (tried[0], 0) and sum(run.cards) == run.cost
        else:
            with pytest.raises(ValueError, match="in time"):
                optimum(demand, **limits)
        for permille in (0, 100, 300):
            may = sum(demand) * permille // 1000
            best = min(cost for late, cost in tried.items() if late <= may) if any(late <= may for late in tried) else 10**9
            assert bound(demand, **limits, late_permille=permille) <= best + 1e-6, (demand, limits)


def test_the_rule_stays_near_the_optimum_on_a_small_day() -> None:
    """A day of our own making; the days that count are another author's (make bench, part scaling)."""
    source = random.Random(7)
    rate = [12 + (26 if 200 < slot < 420 else 0) + (8 if slot % 97 < 20 else 0) for slot in range(700)]
    demand = [sum(source.random() < one / 60 for _ in range(60)) for one in rate]
    run = simulate(demand, RULE, per_server=5)
    best = optimum(demand, per_server=5, least=2, most=10, start_delay=2, lateness=3)
    assert run.cost <= 1.08 * best.cost and run.late_permille <= 10
    assert best.late == 0 and best.cost <= run.cost


@pytest.mark.parametrize("day", ["restless", "bursts"])
def test_days_of_another_author_cost_little_more_than_the_optimum(day: str) -> None:
    """Two of the eight days of `make bench`, part scaling; the rule was written without them."""
    told = json.loads((Path(__file__).parents[1] / "vectors" / "load-traces.json").read_text("utf-8"))
    demand = told["traces"][day]
    run = simulate(demand, RULE, per_server=told["per_server"], slot_s=told["slot_s"])
    best = optimum(demand, per_server=told["per_server"], least=2, most=10, start_delay=2, lateness=3)
    assert run.cost <= 1.08 * best.cost and run.late_permille <= 10 and run.changes < 400


# ---------------------------------------------------------------- calendar

CALENDAR = parse_calendar({"peak": [["09:00", "15:30"], ["18:00", "22:00"]], "release_at": "22:00", "peak_cards": 4, "closed": ["2026-11-24"], "is_on": True})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


@pytest.mark.parametrize(
    ("when", "cards"),
    [
        ("2026-11-23T08:59:59", 0), ("2026-11-23T09:00:00", 4), ("2026-11-23T15:29:59", 4), ("2026-11-23T15:30:00", 2), ("2026-11-23T17:59:59", 2),
        ("2026-11-23T18:00:00", 4), ("2026-11-23T21:59:59", 4), ("2026-11-23T22:00:00", 0), ("2026-11-22T12:00:00", 0), ("2026-11-24T12:00:00", 0),
    ],
)  # fmt: skip
def test_peaks_and_night_release_by_the_clock_of_shanghai(when: str, cards: int) -> None:
    assert wanted_by_calendar(CALENDAR, at(when)) == cards
    assert wanted_by_calendar(CALENDAR, at(when).astimezone(UTC)) == cards


def test_one_lease_a_day_runs_from_now_to_the_release() -> None:
    assert window_of(CALENDAR, at("2026-11-23T06:00:00")) == (at("2026-11-23T09:00:00"), at("2026-11-23T22:00:00"))
    assert window_of(CALENDAR, at("2026-11-23T10:00:00")) == (at("2026-11-23T10:00:00"), at("2026-11-23T22:00:00"))
    assert window_of(CALENDAR, at("2026-11-23T22:00:00")) is None and window_of(CALENDAR, at("2026-11-24T10:00:00")) is None
    assert next_opening(CALENDAR, at("2026-11-23T22:00:00")) == at("2026-11-25T09:00:00"), "the day that is closed is left out"


def test_a_calendar_reads_back_as_it_was_written_and_refuses_nonsense() -> None:
    assert parse_calendar(format_calendar(CALENDAR)) == CALENDAR
    for wrong in ({}, {"release_at": "25:00"}, {"peak": [["15:00", "09:00"]], "release_at": "22:00"}, {"release_at": "22:00", "days": [0]}, {"release_at": "22:00", "other": 1}):
        with pytest.raises(InvalidRequest):
            parse_calendar(wrong)
