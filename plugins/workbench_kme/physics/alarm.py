"""Whether a line still behaves as it did: drift of its error rate, collapse of its key rate, shift of its gains.

Document: docs/protocols/qkd.md section 4. An error rate of 11 % is where no key can be left in theory; a line that is
tapped at a tenth of its pulses loses its key long before. So every block is compared with the line's own past, and
11 % is only the last of four alarms. None of them sees blinded detectors: nothing that the protocol measures changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final, Literal

from workbench_kme.physics.link import KEY_BASIS, TEST_BASIS
from workbench_kme.physics.views import Counts

AlarmKind = Literal["qber-drift", "rate-collapse", "gain-shift", "qber-limit"]

QBER_LIMIT: Final = 0.11
"""Zero of 1 - 2 h(e): above it one-way error correction leaves nothing, however good. Shor, Preskill, PRL 85, 441 (2000)."""
COLLAPSE: Final = 0.5
"""Key rate, as a share of the line's own, below which a block counts as collapsed."""
QBER_TOLERANCE: Final = 0.003
"""Absolute change of the error rate that a healthy line is allowed without a word (temperature, alignment)."""
GAIN_TOLERANCE: Final = 0.1
"""Relative change of a gain that a healthy line is allowed (laser power, fibre)."""
FEWEST_BLOCKS: Final = 4
"""Blocks that a baseline needs before the spread of its key rate means anything."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What both ends know of one block once it is distilled, or given up. length: secret bits, 0 where there are none."""

    counts: Counts
    pulses: int
    length: int


@dataclass(frozen=True, slots=True)
class Baseline:
    """A line's own healthy past, summed over blocks.

    tested, errors: test-basis bits and how many differed. sent, detected: by intensity, both bases together.
    rate, rate_spread: secret bits per pulse, mean and standard deviation over blocks.
    """

    blocks: int
    tested: int
    errors: int
    sent: tuple[int, int, int]
    detected: tuple[int, int, int]
    rate: float
    rate_spread: float

    @property
    def qber(self) -> float:
        return self.errors / self.tested if self.tested else 0.5


@dataclass(frozen=True, slots=True)
class Alarm:
    """One finding. chance: probability, at most, of it on a line that behaves as its baseline, per block."""

    kind: AlarmKind
    observed: float
    expected: float
    chance: float


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a block says about its line: error rate with its interval (at the watch's confidence), and alarms, if any."""

    qber: float
    qber_low: float
    qber_high: float
    rate: float
    alarms: tuple[Alarm, ...]

    @property
    def healthy(self) -> bool:
        return not self.alarms


@dataclass(frozen=True, slots=True)
class Watch:
    """A baseline and what has gathered against it since.

    drift: Page's cumulative sum (Biometrika 41, 100 (1954)) of log-likelihoods for an error rate `step` above the
        tolerated one: small rises that no single block proves add up here. Alarm at ln(1/(1 - confidence)).
    confidence: probability that a healthy block raises no false alarm of one kind; for the sum: at least
        1/(1 - confidence) healthy blocks pass on average before it does.
    """

    baseline: Baseline
    confidence: float = 1 - 1e-6
    step: float = 0.005
    drift: float = 0.0

    def __post_init__(self) -> None:
        if not 0.5 < self.confidence < 1:
            raise ValueError("the confidence lies between 1/2 and 1")

    def assess(self, seen: Observation) -> tuple[Watch, Assessment]:
        """Judge one more block; returns the watch that goes on from there. The baseline never learns from it."""
        drift = self._gathered(seen)
        tested, errors = seen.counts.test_size, seen.counts.test_errors
        low, high = wilson(errors, tested, self.confidence)
        alarms = [found for found in (self._qber(seen, drift), self._collapse(seen), self._gains(seen), _limit(seen)) if found]
        made = Assessment(
            qber=errors / tested if tested else 0.5,
            qber_low=low,
            qber_high=high,
            rate=seen.length / seen.pulses if seen.pulses else 0.0,
            alarms=tuple(alarms),
        )
        return replace(self, drift=drift), made

    def _tolerated(self) -> float:
        """The highest error rate that the baseline still explains: its upper confidence bound and the tolerance."""
        _, high = wilson(self.baseline.errors, self.baseline.tested, self.confidence)
        return min(0.49, high + QBER_TOLERANCE)

    def _gathered(self, seen: Observation) -> float:
        old = self._tolerated()
        new = min(0.499, old + self.step)
        right = seen.counts.test_size - seen.counts.test_errors
        gain = seen.counts.test_errors * math.log(new / old) + right * math.log((1 - new) / (1 - old))
        return max(0.0, self.drift + gain)

    def _qber(self, seen: Observation, drift: float) -> Alarm | None:
        tested, errors = seen.counts.test_size, seen.counts.test_errors
        if not tested:
            return None
        chance = min(_tail_of_binomial(errors, tested, self._tolerated()), math.exp(-drift))
        if chance > 1 - self.confidence:
            return None
        return Alarm("qber-drift", errors / tested, self.baseline.qber, chance)

    def _collapse(self, seen: Observation) -> Alarm | None:
        """Less than half of the line's own rate, and further off than its blocks have ever strayed by chance."""
        past = self.baseline
        rate = seen.length / seen.pulses if seen.pulses else 0.0
        if past.blocks < FEWEST_BLOCKS or past.rate <= 0 or rate >= COLLAPSE * past.rate:
            return None
        spread = max(past.rate_spread, 0.02 * past.rate) * math.sqrt(1 + 1 / past.blocks)
        chance = _tail((past.rate - rate) / spread)
        return Alarm("rate-collapse", rate, past.rate, chance) if chance <= 1 - self.confidence else None

    def _gains(self, seen: Observation) -> Alarm | None:
        """The intensity whose gain has shifted most surely, in either direction."""
        worst: Alarm | None = None
        for k in range(3):
            sent, clicks = _of_intensity(seen.counts.sent, k), _of_intensity(seen.counts.detected, k)
            before, had = self.baseline.sent[k], self.baseline.detected[k]
            if not (sent and before and had):
                continue
            chance = min(1.0, 6 * _shift(clicks, sent, had, before))  # three intensities, two directions
            if chance <= 1 - self.confidence and (worst is None or chance < worst.chance):
                worst = Alarm("gain-shift", clicks / sent, had / before, chance)
        return worst


def learn(blocks: Sequence[Observation]) -> Baseline:
    """Sum healthy blocks of a line into its baseline. Which blocks are healthy is the operator's word, not ours."""
    if not blocks:
        raise ValueError("a baseline needs at least one block")
    rates = [one.length / one.pulses for one in blocks]
    mean = math.fsum(rates) / len(rates)
    spread = math.sqrt(math.fsum((r - mean) ** 2 for r in rates) / (len(rates) - 1)) if len(rates) > 1 else 0.0
    sent = [sum(_of_intensity(one.counts.sent, k) for one in blocks) for k in range(3)]
    detected = [sum(_of_intensity(one.counts.detected, k) for one in blocks) for k in range(3)]
    return Baseline(
        blocks=len(blocks),
        tested=sum(one.counts.test_size for one in blocks),
        errors=sum(one.counts.test_errors for one in blocks),
        sent=(sent[0], sent[1], sent[2]),
        detected=(detected[0], detected[1], detected[2]),
        rate=mean,
        rate_spread=spread,
    )


def wilson(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Two-sided interval of a proportion. Source: E. B. Wilson, J. Am. Stat. Assoc. 22, 209 (1927)."""
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, weight = successes / trials, z * z / trials
    middle = (rate + weight / 2) / (1 + weight)
    half = z * math.sqrt(rate * (1 - rate) / trials + weight / (4 * trials)) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)


def _of_intensity(table: tuple[tuple[int, int, int], tuple[int, int, int]], k: int) -> int:
    return table[KEY_BASIS][k] + table[TEST_BASIS][k]


def _limit(seen: Observation) -> Alarm | None:
    tested, errors = seen.counts.test_size, seen.counts.test_errors
    if not tested or errors / tested < QBER_LIMIT:
        return None
    return Alarm("qber-limit", errors / tested, QBER_LIMIT, _tail_of_binomial(errors, tested, QBER_LIMIT))


def _tail_of_binomial(successes: int, trials: int, probability: float) -> float:
    """At most this probability of so many successes or more (Chernoff's bound with relative entropy)."""
    rate = successes / trials
    if rate <= probability:
        return 1.0
    distance = rate * math.log(rate / probability)
    if rate < 1:
        distance += (1 - rate) * math.log((1 - rate) / (1 - probability))
    return math.exp(-trials * distance)


def _shift(clicks: int, sent: int, had: int, before: int) -> float:
    """One-sided probability of a gain this far beyond the tolerance, on both counts' fluctuations (normal, signed root)."""
    expected = sent * had / before
    ratio = clicks / expected
    edge = 1 + GAIN_TOLERANCE if ratio > 1 else 1 - GAIN_TOLERANCE
    if abs(ratio - 1) <= GAIN_TOLERANCE:
        return 1.0
    tolerated = expected * edge
    deviance = 2 * ((clicks * math.log(clicks / tolerated) if clicks else 0.0) - (clicks - tolerated))
    # The baseline's own count fluctuates too: a ratio of two Poisson counts has both relative variances.
    return _tail(math.sqrt(max(0.0, deviance) / (1 + tolerated / had)))


def _tail(z: float) -> float:
    return math.erfc(z / math.sqrt(2)) / 2
