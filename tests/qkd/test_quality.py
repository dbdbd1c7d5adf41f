"""Quality of service from sums by the hour, beside a model that knows every millisecond."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workbench_qkd import quality
from workbench_qkd.measuring import cause_of
from workbench_qkd.quality import HOUR_MS, Hour, Objectives, Sighting, Span

from tests.qkd.entity import line

START_MS = 1_795_240_800_000 // HOUR_MS * HOUR_MS
CAUSES = ("", "", "", "held", "no-keys", "entity-away")
LONGEST_MS = 15_000
OBJECTIVES = Objectives(0.995, 50.0, 1000.0)

steps = st.lists(
    st.tuples(
        st.sampled_from([1_000, 2_000, 2_500, 14_000, 16_000, 119_000, 200_000, 2_000_000, 3_700_000]),  # how long to the next sighting
        st.sampled_from([0, 0, 0, 0, 1_500, -30_000, 30_000, -900_000, 5_000_000]),  # how far the clock was set meanwhile
        st.sampled_from(CAUSES),
    ),
    max_size=40,
)


def sightings(taken: list[tuple[int, int, str]]) -> list[Sighting]:
    at, running, made = START_MS + 1_000_000, 0, []
    for length, jump, cause in taken:
        made.append(Sighting(at, running, cause))
        at, running = at + length + jump, running + length
    return made


def watched(seen: list[Sighting]) -> dict[int, Hour]:
    hours: dict[int, Hour] = {}
    last: Span | None = None
    for before, now in zip(seen, seen[1:], strict=False):
        found = quality.span(before, now, longest_ms=LONGEST_MS)
        last = quality.followed(last, found) if found else None
        for number, part in quality.hours_of(last) if last else ():
            quality.watch(hours.setdefault(number, Hour()), part)
    return hours


def naive(seen: list[Sighting]) -> dict[int, str]:
    """Half second -> cause, the first word about it counts; only what lies between two sightings that fit together."""
    told: dict[int, str] = {}
    until: dict[int, int] = {}
    for before, now in zip(seen, seen[1:], strict=False):
        wall, cause = now.at_ms - before.at_ms, before.cause or now.cause
        if wall <= 0 or abs(wall - (now.running_ms - before.running_ms)) > 2_000 or wall > (120_000 if cause else LONGEST_MS):
            continue
        for moment in range(before.at_ms, now.at_ms, 500):
            if moment >= until.get(moment // HOUR_MS, 0):
                told[moment] = cause
                until[moment // HOUR_MS] = moment + 500
    return told


@settings(max_examples=60, deadline=None)
@given(steps)
def test_the_sums_by_the_hour_say_what_a_model_of_every_half_second_says(taken: list[tuple[int, int, str]]) -> None:
    seen = sightings(taken)
    hours, told = watched(seen), naive(seen)
    first, last = min(hours, default=START_MS // HOUR_MS), max(hours, default=START_MS // HOUR_MS) + 1
    found = quality.quality(hours, first * HOUR_MS, last * HOUR_MS)
    assert found.covered_ms == 500 * len(told)
    assert found.available_ms == 500 * sum(1 for cause in told.values() if not cause)
    assert found.gap_ms == found.until_ms - found.from_ms - found.covered_ms >= 0
    down = {cause: 500 * sum(1 for one in told.values() if one == cause) for cause in set(told.values()) - {""}}
    assert {cause: sum(one.ms for one in found.downtimes if one.cause == cause) for cause in down} == down
    assert sum(one.ms for one in found.downtimes) == found.covered_ms - found.available_ms
    for one in found.downtimes:
        assert 0 < one.ms <= one.until_ms - one.from_ms and one.times >= 1
        assert told[one.from_ms] == told[one.until_ms - 500] == one.cause, "a time without keys begins and ends where the model has it"
    if told:
        assert found.least <= found.availability <= found.most, "gaps never count for the line"


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(0, 40))
def test_what_is_written_down_on_the_way_adds_up_to_the_same(taken: list[tuple[int, int, str]], cut: int) -> None:
    """A restart between two sightings costs the time between them and nothing else; parts are added in order."""
    seen = sightings(taken)
    cut = min(cut, len(seen))
    one, more = watched(seen[:cut]), {}
    last: Span | None = None
    for before, now in zip(seen[cut:], seen[cut + 1 :], strict=False):
        found = quality.span(before, now, longest_ms=LONGEST_MS)
        last = quality.followed(last, found) if found else None
        for number, part in quality.hours_of(last) if last else ():
            quality.watch(more.setdefault(number, Hour(until_ms=one[number].until_ms if number in one else 0)), part)
    both = {number: quality.merged(one.get(number, Hour()), more.get(number, Hour())) for number in {*one, *more}}
    told = naive(seen[:cut]) | {moment: cause for moment, cause in naive(seen[cut:]).items() if moment >= (one[moment // HOUR_MS].until_ms if moment // HOUR_MS in one else 0)}
    assert sum(hour.covered_ms for hour in both.values()) == 500 * len(told)
    assert sum(hour.available_ms for hour in both.values()) == 500 * sum(1 for cause in told.values() if not cause)


def test_an_outage_over_the_end_of_hours_is_one_and_says_how_often_it_began() -> None:
    begin = START_MS + HOUR_MS - 4_000
    seen = [Sighting(begin + n * 2_000, n * 2_000, "held" if n < 2_000 else "") for n in range(2_010)]
    found = quality.quality(watched(seen), START_MS, START_MS + 3 * HOUR_MS)
    [one] = found.downtimes
    assert (one.from_ms, one.cause, one.times) == (begin, "held", 1)
    assert one.ms == one.until_ms - one.from_ms == 2_000 * 2_000
    twice = [Sighting(begin + n * 2_000, n * 2_000, "held" if n in (3, 4, 9) else "") for n in range(20)]
    [again] = quality.quality(watched(twice), START_MS, START_MS + 3 * HOUR_MS).downtimes
    assert (again.times, again.ms) == (2, 10_000), "a stretch counts as available only where both its ends were"


def test_an_objective_is_open_while_the_gaps_decide() -> None:
    def hour(available: int, covered: int) -> quality.Quality:
        down = {"held": quality.Down(covered - available, START_MS, START_MS + covered, 1)} if covered > available else {}
        return quality.quality({START_MS // HOUR_MS: Hour(covered_ms=covered, available_ms=available, downs=down)}, START_MS, START_MS + HOUR_MS)

    assert quality.availability_verdict(hour(HOUR_MS, HOUR_MS), 0.995) == "reached"
    assert quality.availability_verdict(hour(HOUR_MS - 20_000, HOUR_MS), 0.995) == "missed"
    assert quality.availability_verdict(hour(HOUR_MS // 2, HOUR_MS // 2), 0.995) == "unknown", "a gap is not counted as available"
    assert quality.availability_verdict(hour(HOUR_MS - 60_000, HOUR_MS - 1_000), 0.995) == "missed", "even if all of the gap had been sound"
    assert quality.availability_verdict(quality.quality({}, START_MS, START_MS), 0.995) == "unknown"
    none = quality.verdicts(quality.quality({}, START_MS, START_MS + HOUR_MS), OBJECTIVES)
    assert none == {"availability": "unknown", "latency": "unknown", "rate": "unknown"}
    assert set(quality.verdicts(hour(1, 1), Objectives(0, 0, 0)).values()) == {"none"}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.01, 200_000), min_size=1, max_size=60), st.sampled_from([0.5, 0.95]))
def test_a_percentile_is_never_better_than_what_was_measured_and_little_worse(taken: list[float], share: float) -> None:
    hour = Hour()
    for one in taken:
        quality.count_request(hour, took_ms=one, got_keys=True)
    exact = sorted(taken)[max(0, -int(-share * len(taken) // 1) - 1)]
    told = quality.percentile(hour.latencies, share)
    assert exact <= told * 1.000001 and told <= max(0.25, exact) * 2**0.25 * 1.000001
    assert len(hour.latencies) <= quality.MOST_STEPS + 1


def test_a_request_without_a_key_has_no_latency() -> None:
    hour = Hour()
    quality.count_request(hour, took_ms=20_000, got_keys=False)
    assert (hour.requests, hour.failed_requests, quality.percentile(hour.latencies, 0.95)) == (1, 1, -1.0)


def test_a_block_without_key_is_a_rate_of_nothing_and_an_unknown_rate_is_none() -> None:
    hour = Hour()
    told = ((True, "", 4_000.0), (True, "", 2_000.0), (False, "", 3_000.0), (False, "stopped", 0.0), (True, "", -1.0), (False, "verification", -1.0))
    for stored, aborted, rate in told:
        quality.count_block(hour, is_stored=stored, aborted=aborted, keys=10, rate_bps=rate)
    found = quality.quality({START_MS // HOUR_MS: hour}, START_MS, START_MS + HOUR_MS)
    assert (found.blocks, found.failed_blocks, found.keys) == (5, 2, 30)
    assert (found.mean_bps, found.least_bps) == (2_000.0, 0.0)
    assert quality.verdicts(found, OBJECTIVES)["rate"] == "reached"
    assert quality.verdicts(found, replace(OBJECTIVES, rate_bps=2_001))["rate"] == "missed"


def test_a_period_is_whole_hours_and_ends_now() -> None:
    now = START_MS + 10 * HOUR_MS + 5
    assert quality.period(START_MS + 1, START_MS + HOUR_MS + 1, now_ms=now) == (START_MS, START_MS + 2 * HOUR_MS)
    assert quality.period(START_MS + 1, now + HOUR_MS, now_ms=now) == (START_MS, now)
    first, last = quality.period(now + 5 * HOUR_MS, now + 6 * HOUR_MS, now_ms=now)
    assert first == last


@pytest.mark.parametrize(
    ("changes", "held", "counts", "cause"),
    [
        ({}, False, True, ""),
        ({"state": "paused"}, False, True, ""),
        ({"state": "alarm"}, True, True, "alarm"),
        ({}, True, True, "held"),
        ({"state": "disabled"}, False, True, "disabled"),
        ({"peer_reachable": False}, False, True, "peer-unreachable"),
        ({"state": "out-of-step"}, False, True, "out-of-step"),
        ({}, False, False, "origin"),
        ({"peer_saes": []}, False, True, "no-application"),
        ({"available": 0, "state": "making"}, False, True, "no-keys"),
    ],
)
def test_a_key_can_be_had_or_one_cause_says_why_not(changes: dict[str, object], held: bool, counts: bool, cause: str) -> None:
    assert cause_of(line(**changes), held=held, counts=counts) == cause
