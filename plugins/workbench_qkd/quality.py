"""Quality of service of a line from what this node saw of it: availability, key rate, latency. Pure.

Document: docs/quantum-channel.md section 16. Everything is kept by the hour: sums, extremes and counts, no single value.
Times are ms since 1970 UTC; an hour is its number since then.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

HOUR_MS: Final = 3_600_000
AWAY: Final = "entity-away"
NO_KEYS: Final = "no-keys"
NO_APPLICATION: Final = "no-application"
NOT_A_FAULT: Final = frozenset({"stopped"})
"""Why a block gave no key that says nothing of the line: the program ended, or there was nothing to give."""
CLOCK_SLACK_MS: Final = 2_000
LONGEST_DOWN_MS: Final = 120_000
STEPS_PER_DOUBLING: Final = 4
"""Latencies are counted in steps of a quarter of a doubling: the upper end of a step is at most 19 % above what was measured."""
FINEST_MS: Final = 0.25
MOST_STEPS: Final = 80
"""0.25 ms · 2^20: four minutes; what takes longer counts there."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was seen of a line at one moment. running_ms: by a clock that is never set. cause: why no key could be had, "" if one could."""

    at_ms: int
    running_ms: int
    cause: str


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in which a line was watched. goes_on: the stretch before ended here for the same cause."""

    from_ms: int
    until_ms: int
    cause: str
    goes_on: bool = False


@dataclass(slots=True)
class Down:
    """Time without keys of one cause within an hour. times: how often it began there, 0 where it went on from before."""

    ms: int
    from_ms: int
    until_ms: int
    times: int


@dataclass(slots=True)
class Hour:
    """What is known of a line in one hour.

    until_ms: up to where it is covered; no moment before it counts again. rated: blocks whose rate is known, those without key
    at 0; least_bps: the lowest of them, -1 for none. latencies: step -> how many.
    """

    covered_ms: int = 0
    available_ms: int = 0
    until_ms: int = 0
    blocks: int = 0
    failed_blocks: int = 0
    keys: int = 0
    rated: int = 0
    sum_bps: float = 0.0
    least_bps: float = -1.0
    requests: int = 0
    failed_requests: int = 0
    downs: dict[str, Down] = field(default_factory=dict)
    latencies: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Objectives:
    """availability: share, 0 to 1. latency_ms: of the 95th percentile. rate_bps: of the mean, 0 for none."""

    availability: float
    latency_ms: float
    rate_bps: float


@dataclass(frozen=True, slots=True)
class Downtime:
    """A time in which no key could be had. ms: how long of it was seen; times: how often it began."""

    from_ms: int
    until_ms: int
    cause: str
    ms: int
    times: int


@dataclass(frozen=True, slots=True)
class Quality:
    """A line over whole hours. -1: not measured. least, most: share of the whole period, gaps counted against and for the line."""

    from_ms: int
    until_ms: int
    covered_ms: int
    available_ms: int
    availability: float
    least: float
    most: float
    downtimes: tuple[Downtime, ...]
    blocks: int
    failed_blocks: int
    keys: int
    mean_bps: float
    least_bps: float
    requests: int
    failed_requests: int
    p50_ms: float
    p95_ms: float

    @property
    def gap_ms(self) -> int:
        """Time that nobody watched."""
        return self.until_ms - self.from_ms - self.covered_ms


def span(before: Sighting, now: Sighting, *, longest_ms: int) -> Span | None:
    """The stretch between two sightings: available only if both found the line so. None for a gap.

    A gap: the sightings are further apart than `longest_ms`, where no key could be had than LONGEST_DOWN_MS (an entity that
    hangs makes rounds long), or the two clocks disagree about how far (one was set, or the machine slept).
    """
    wall, running = now.at_ms - before.at_ms, now.running_ms - before.running_ms
    cause = before.cause or now.cause
    if wall <= 0 or wall > (max(longest_ms, LONGEST_DOWN_MS) if cause else longest_ms) or abs(wall - running) > CLOCK_SLACK_MS:
        return None
    return Span(before.at_ms, now.at_ms, cause)


def hours_of(one: Span) -> Iterator[tuple[int, Span]]:
    """A stretch cut at the hours."""
    start, goes_on = one.from_ms, one.goes_on
    while start < one.until_ms:
        hour = start // HOUR_MS
        stop = min(one.until_ms, (hour + 1) * HOUR_MS)
        yield hour, Span(start, stop, one.cause, goes_on)
        start, goes_on = stop, True


def watch(hour: Hour, one: Span) -> None:
    """Count a stretch within one hour; what of it is counted already, after a clock was set back, is not again."""
    start = max(one.from_ms, hour.until_ms)
    if start >= one.until_ms:
        return
    length = one.until_ms - start
    hour.until_ms = one.until_ms
    hour.covered_ms += length
    if not one.cause:
        hour.available_ms += length
        return
    begins = 0 if one.goes_on and start == one.from_ms else 1
    down = hour.downs.get(one.cause)
    if down is None:
        hour.downs[one.cause] = Down(length, start, one.until_ms, begins)
    else:
        down.ms, down.until_ms, down.times = down.ms + length, one.until_ms, down.times + begins


def count_block(hour: Hour, *, is_stored: bool, aborted: str, keys: int, rate_bps: float) -> None:
    """Count a block. One without key is one at rate 0, unless it was merely stopped; an unknown rate (-1) is not a rate."""
    if not is_stored and aborted in NOT_A_FAULT:
        return
    hour.blocks += 1
    hour.failed_blocks += 0 if is_stored else 1
    hour.keys += max(0, keys) if is_stored else 0
    rate = rate_bps if is_stored else min(rate_bps, 0.0)
    if rate >= 0:
        hour.least_bps = rate if hour.rated == 0 else min(hour.least_bps, rate)
        hour.rated, hour.sum_bps = hour.rated + 1, hour.sum_bps + rate


def count_request(hour: Hour, *, took_ms: float, got_keys: bool) -> None:
    """Count a request for keys; how long it took only where it brought them."""
    hour.requests += 1
    if got_keys:
        step = step_of(took_ms)
        hour.latencies[step] = hour.latencies.get(step, 0) + 1
    else:
        hour.failed_requests += 1


def step_of(took_ms: float) -> int:
    """The step in which a latency counts: the first whose upper end is not below it."""
    if took_ms <= FINEST_MS:
        return 0
    return min(MOST_STEPS, math.ceil(STEPS_PER_DOUBLING * math.log2(took_ms / FINEST_MS) - 1e-9))


def step_ms(step: int) -> float:
    """Upper end of a step."""
    return float(FINEST_MS * 2 ** (step / STEPS_PER_DOUBLING))


def percentile(latencies: Mapping[int, int], share: float) -> float:
    """The upper end of the step in which this share of all is reached; -1 where nothing was measured. Never better than it was."""
    total, seen = sum(latencies.values()), 0
    for step in sorted(latencies):
        seen += latencies[step]
        if seen >= share * total and seen > 0:
            return step_ms(step)
    return -1.0


def merged(one: Hour, more: Hour) -> Hour:
    """Two parts of what is known of the same hour, the earlier first."""
    downs = {cause: Down(down.ms, down.from_ms, down.until_ms, down.times) for cause, down in one.downs.items()}
    for cause, down in more.downs.items():
        kept = downs.setdefault(cause, Down(0, down.from_ms, down.until_ms, 0))
        kept.ms, kept.times = kept.ms + down.ms, kept.times + down.times
        kept.from_ms, kept.until_ms = min(kept.from_ms, down.from_ms), max(kept.until_ms, down.until_ms)
    known = [part.least_bps for part in (one, more) if part.rated]
    return Hour(
        covered_ms=one.covered_ms + more.covered_ms, available_ms=one.available_ms + more.available_ms, until_ms=max(one.until_ms, more.until_ms),
        blocks=one.blocks + more.blocks, failed_blocks=one.failed_blocks + more.failed_blocks, keys=one.keys + more.keys, rated=one.rated + more.rated,
        sum_bps=one.sum_bps + more.sum_bps, least_bps=min(known, default=-1.0), requests=one.requests + more.requests,
        failed_requests=one.failed_requests + more.failed_requests, downs=downs,
        latencies={step: one.latencies.get(step, 0) + more.latencies.get(step, 0) for step in {*one.latencies, *more.latencies}},
    )  # fmt: skip


def period(from_ms: int, until_ms: int, *, now_ms: int) -> tuple[int, int]:
    """Whole hours around a period, the hour that runs up to now: what is kept says no more. Empty where it lies in the future."""
    first, last = from_ms // HOUR_MS * HOUR_MS, -(-until_ms // HOUR_MS) * HOUR_MS
    return first, max(first, min(last, now_ms))


def quality(hours: Mapping[int, Hour], from_ms: int, until_ms: int) -> Quality:
    """What the hours of a period say together. from_ms, until_ms: as `period` gives them; hours beyond are passed over."""
    chosen = [(number, hours[number]) for number in sorted(hours) if from_ms <= number * HOUR_MS < until_ms]
    total = Hour()
    for _, one in chosen:
        total = merged(total, one)
    length = until_ms - from_ms
    # A clock that was put back leaves seconds of the running hour that lie ahead of now.
    covered, available = min(total.covered_ms, length), min(total.available_ms, length)
    gap = length - covered
    return Quality(
        from_ms=from_ms, until_ms=until_ms, covered_ms=covered, available_ms=available,
        availability=available / covered if covered else -1.0,
        least=available / length if length else -1.0, most=(available + gap) / length if length else -1.0,
        downtimes=tuple(downtimes(chosen)), blocks=total.blocks, failed_blocks=total.failed_blocks, keys=total.keys,
        mean_bps=total.sum_bps / total.rated if total.rated else -1.0, least_bps=total.least_bps,
        requests=total.requests, failed_requests=total.failed_requests,
        p50_ms=percentile(total.latencies, 0.5), p95_ms=percentile(total.latencies, 0.95),
    )  # fmt: skip


def downtimes(hours: Iterable[tuple[int, Hour]]) -> list[Downtime]:
    """Times without keys, oldest first; one that went on over the end of an hour is one. hours: by number, ascending."""
    found: list[Downtime] = []
    open_at: dict[tuple[str, int], int] = {}
    for number, hour in hours:
        for cause, down in hour.downs.items():
            start = number * HOUR_MS
            place = open_at.pop((cause, start), None) if down.from_ms == start else None
            if place is None:
                place = len(found)
                found.append(Downtime(down.from_ms, down.until_ms, cause, down.ms, max(1, down.times)))
            else:
                before = found[place]
                found[place] = Downtime(before.from_ms, down.until_ms, cause, before.ms + down.ms, before.times + down.times)
            if down.until_ms == start + HOUR_MS:
                open_at[(cause, down.until_ms)] = place
    return sorted(found, key=lambda one: (one.from_ms, one.cause))


def availability_verdict(found: Quality, objective: float) -> str:
    """reached, missed, or unknown where the gaps decide: they count neither for the line nor against it."""
    if found.until_ms <= found.from_ms:
        return "unknown"
    if found.least >= objective:
        return "reached"
    return "missed" if found.most < objective else "unknown"


def verdicts(found: Quality, wanted: Objectives) -> dict[str, str]:
    """availability, latency, rate -> reached, missed, unknown, or none where nothing is demanded."""
    latency = "unknown" if found.p95_ms < 0 else "reached" if found.p95_ms <= wanted.latency_ms else "missed"
    rate = "unknown" if found.mean_bps < 0 else "reached" if found.mean_bps >= wanted.rate_bps else "missed"
    return {
        "availability": availability_verdict(found, wanted.availability) if wanted.availability > 0 else "none",
        "latency": latency if wanted.latency_ms > 0 else "none",
        "rate": rate if wanted.rate_bps > 0 else "none",
    }


def followed(before: Span | None, one: Span) -> Span:
    """A stretch with `goes_on` set from the one before it."""
    goes_on = before is not None and before.until_ms == one.from_ms and before.cause == one.cause
    return Span(one.from_ms, one.until_ms, one.cause, goes_on)


__all__ = [
    "AWAY", "HOUR_MS", "NO_APPLICATION", "NO_KEYS", "Down", "Downtime", "Hour", "Objectives", "Quality", "Sighting", "Span", "availability_verdict", "count_block",
    "count_request", "downtimes", "followed", "hours_of", "merged", "percentile", "period", "quality", "span", "step_ms", "step_of", "verdicts", "watch",
]  # fmt: skip
