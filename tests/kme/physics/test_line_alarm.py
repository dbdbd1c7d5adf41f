from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from workbench_kme.physics import (
    PRESETS,
    Assessment,
    Baseline,
    Counts,
    Eavesdropper,
    Link,
    Observation,
    Watch,
    block_estimate,
    count,
    learn,
    simulate,
    tapped_line,
)
from workbench_kme.physics.alarm import wilson

METRO = PRESETS["metro-50"]
PULSES = 150_000_000
SEED = bytes(range(32))


def observe(link: Link, block: int, attack: Eavesdropper | None = None) -> Observation:
    counts = count(*simulate(link, PULSES, SEED, block, attack))
    return Observation(counts, PULSES, block_estimate(link, counts).length)


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    return learn([observe(METRO, block) for block in range(5)])


def judge(baseline: Baseline, link: Link, attack: Eavesdropper | None = None, block: int = 100) -> Assessment:
    return Watch(baseline).assess(observe(link, block, attack))[1]


def test_a_healthy_line_stays_silent(baseline: Baseline) -> None:
    watch = Watch(baseline)
    for block in range(200, 205):
        watch, made = watch.assess(observe(METRO, block))
        assert made.healthy
        assert made.qber_low < baseline.qber < made.qber_high
    assert watch.drift == 0.0


def test_a_tenth_of_the_pulses_intercepted_is_heard_long_before_eleven_percent(baseline: Baseline) -> None:
    made = judge(baseline, METRO, Eavesdropper(0.1))
    assert {alarm.kind for alarm in made.alarms} == {"qber-drift", "rate-collapse"}
    assert made.qber < 0.06
    drift = next(alarm for alarm in made.alarms if alarm.kind == "qber-drift")
    assert drift.expected == pytest.approx(baseline.qber) and drift.chance < 1e-9


def test_everything_intercepted_raises_every_alarm_that_can_hear_it(baseline: Baseline) -> None:
    made = judge(baseline, METRO, Eavesdropper(1.0))
    assert {alarm.kind for alarm in made.alarms} == {"qber-drift", "rate-collapse", "qber-limit"}
    assert made.rate == 0.0


def test_splitting_is_heard_by_the_decoys_and_never_by_the_error_rate(baseline: Baseline) -> None:
    made = judge(baseline, METRO, Eavesdropper(0.5, "photon-number-splitting"))
    assert {alarm.kind for alarm in made.alarms} == {"gain-shift", "rate-collapse"}
    assert made.qber == pytest.approx(baseline.qber, abs=0.004)


def test_blinding_is_heard_by_nothing(baseline: Baseline) -> None:
    """Said plainly on the page too: an alarm that is silent says nothing about the detectors themselves."""
    made = judge(baseline, METRO, Eavesdropper(1.0, "detector-blinding"))
    assert made.healthy and made.rate > 0


def test_small_rises_that_no_block_proves_add_up(baseline: Baseline) -> None:
    slow = Eavesdropper(0.045)
    watch, first_alarm, alone = Watch(baseline), 0, 0
    for number in range(1, 12):
        seen = observe(METRO, 300 + number, slow)
        alone += any(alarm.kind == "qber-drift" for alarm in Watch(baseline).assess(seen)[1].alarms)
        watch, made = watch.assess(seen)
        if any(alarm.kind == "qber-drift" for alarm in made.alarms):
            first_alarm = number
            break
    assert first_alarm > 1
    assert alone == 0


def test_a_bent_fibre_is_reported_as_a_change_too(baseline: Baseline) -> None:
    made = judge(baseline, METRO.at(54.0))
    assert {alarm.kind for alarm in made.alarms} == {"gain-shift"}


def test_a_misaligned_receiver_is_reported(baseline: Baseline) -> None:
    made = judge(baseline, replace(METRO, misalignment=0.02))
    assert "qber-drift" in {alarm.kind for alarm in made.alarms}


def test_a_baseline_of_one_block_knows_no_spread_and_calls_no_collapse() -> None:
    young = learn([observe(METRO, 0)])
    made = Watch(young).assess(observe(METRO, 101, Eavesdropper(0.3)))[1]
    assert {alarm.kind for alarm in made.alarms} == {"qber-drift"}


def test_a_block_without_a_single_click_ends_in_an_alarm_not_in_an_error(baseline: Baseline) -> None:
    empty = Counts(observe(METRO, 0).counts.sent, ((0, 0, 0), (0, 0, 0)))
    made = Watch(baseline).assess(Observation(empty, PULSES, 0))[1]
    assert {alarm.kind for alarm in made.alarms} == {"rate-collapse", "gain-shift"}
    assert (made.qber, made.qber_low, made.qber_high) == (0.5, 0.0, 1.0)


def test_a_baseline_needs_a_block_and_a_watch_a_confidence(baseline: Baseline) -> None:
    with pytest.raises(ValueError, match="at least one"):
        learn([])
    with pytest.raises(ValueError, match="confidence"):
        Watch(baseline, confidence=1.0)


def test_intervals_are_those_of_the_textbook() -> None:
    """R. G. Newcombe, Stat. Med. 17, 857 (1998), table I: 81 of 263 and 0 of 20 at 95 %."""
    assert wilson(81, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20, 0.95) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_the_key_ends_between_a_tenth_and_a_fifth_of_intercepted_pulses() -> None:
    """Section 4.3 of our measurements on GYS at 20 km; hence the alarm on drift and collapse instead of 11 % alone."""
    made = tapped_line(PRESETS["gys-2004"], "intercept-resend", [0.0, 0.1, 0.2, 1.0], block_bits=1e7)
    assert made.rate[0] > made.rate[1] > 0 == made.rate[2] == made.rate[3]
    assert made.qber[2] < 0.11
    assert list(made.known) == pytest.approx([0.0, 0.05, 0.1, 0.5], abs=0.002)


def test_a_tapped_line_shows_what_the_error_rate_does_not() -> None:
    split = tapped_line(METRO, "photon-number-splitting", [0.0, 0.5, 1.0])
    assert max(split.qber) - min(split.qber) < 1e-3
    assert split.decoy_gain[2] < 0.6 * split.decoy_gain[0]
    assert split.rate[0] > 0 == split.rate[2]
    blind = tapped_line(METRO, "detector-blinding", [0.0, 1.0])
    assert (blind.qber[0], blind.rate[0]) == (blind.qber[1], blind.rate[1])
    assert list(blind.known) == [0.0, 1.0]
    assert not math.isnan(float(blind.known.sum()))


def test_healthy_blocks_raise_false_alarms_no_more_often_than_the_confidence_says() -> None:
    """3,000 healthy blocks judged at only 90 %, without tolerance to hide behind: gains drawn, error rate drawn."""
    rng = np.random.default_rng(8)
    past = learn([drawn(rng) for _ in range(20)])
    raised: Counter[str] = Counter()
    for _ in range(3000):
        raised.update(alarm.kind for alarm in Watch(past, confidence=0.9).assess(drawn(rng))[1].alarms)
    assert set(raised) <= {"qber-drift", "gain-shift"}
    assert max(raised.values(), default=0) <= 300


def test_the_gathered_sum_keeps_its_promise_of_rare_false_alarms() -> None:
    """At 99 % a hundred healthy blocks pass on average, at least: in 3,000 no more than 30 alarms."""
    rng = np.random.default_rng(9)
    watch, alarms = Watch(learn([drawn(rng) for _ in range(20)]), confidence=0.99), 0
    for _ in range(3000):
        watch, made = watch.assess(drawn(rng))
        if any(alarm.kind == "qber-drift" for alarm in made.alarms):
            alarms += 1
            watch = replace(watch, drift=0.0)
    assert alarms <= 30


def drawn(rng: np.random.Generator) -> Observation:
    """A healthy block of a line with 3 % errors, its counts straight from binomials; few, so that they spread widely."""
    sent = (20_000, 60_000, 40_000)
    seen = [int(rng.binomial(n, p)) for n, p in zip(sent, (0.02, 0.01, 0.001), strict=True)]
    wrong = [int(rng.binomial(n, 0.03)) for n in seen]
    counts = Counts((sent, sent), ((seen[0], seen[1], seen[2]),) * 2, ((0, 0, 0), (wrong[0], wrong[1], wrong[2])))
    return Observation(counts, 240_000, 500)
