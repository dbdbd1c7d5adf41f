"""What a block says about its line: the rules of docs/protocols/qkd.md section 4 against the line's own past.

The baseline is learnt from the first good blocks of a line and then stays: a slow change must not teach it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench_kme.service.journal import Journal

if TYPE_CHECKING:
    from workbench_kme.distill import BlockResult
    from workbench_kme.physics.alarm import Baseline, Observation, Watch

BASELINE_BLOCKS = 4
SOURCE_ALARMS = ("qber-drift", "rate-collapse", "gain-shift", "qber-limit", "verification")
"""Alarms that a good block ends, and that stop delivery until then."""

_BY_REASON = {
    "qber-beyond-limit": "qber-limit",
    "no-key-left": "rate-collapse",
    "too-few-detections": "rate-collapse",
    "correction-failed": "verification",
    "verification-failed": "verification",
    "authentication-failed": "verification",
    "message-refused": "verification",
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """alarm: kind, or "" for a good block. value, limit: what was seen and what the line's past lets expect."""

    alarm: str
    value: float = -1.0
    limit: float = -1.0


class Judge:
    """The watch over one line."""

    def __init__(self, journal: Journal, line: str) -> None:
        self._journal, self._line = journal, line
        self._watch: Watch | None = None

    def judge(self, result: BlockResult, pulses: int) -> Judgement:
        """Whether this block, once distilled or given up, may become keys."""
        watch = self._ready()
        found: Judgement | None = None
        if watch is not None and result.counts is not None and pulses:
            from workbench_kme.physics.alarm import Observation

            self._watch, assessment = watch.assess(Observation(result.counts, pulses, result.length_bits))
            if assessment.alarms:
                first = assessment.alarms[0]
                found = Judgement(first.kind, first.observed, first.expected)
        if found is None and result.aborted:
            kind = _BY_REASON.get(result.aborted, "")
            found = Judgement(kind, result.qber) if kind else None
        if found is not None and self._watch is not None:
            # The sum over past blocks belongs to what was just reported; the next block starts afresh.
            from dataclasses import replace

            self._watch = replace(self._watch, drift=0.0)
        return found or Judgement("")

    def baseline(self) -> tuple[float, float]:
        """(error rate, secret bits per pulse) of the line's own past; -1 while there is too little of it."""
        watch = self._watch
        return (watch.baseline.qber, watch.baseline.rate) if watch is not None else (-1.0, -1.0)

    @property
    def has_baseline(self) -> bool:
        """Whether drift can be seen."""
        return self._ready() is not None

    def _ready(self) -> Watch | None:
        if self._watch is None:
            past = self._journal.first_counts(self._line, BASELINE_BLOCKS)
            if len(past) == BASELINE_BLOCKS:
                from workbench_kme.physics.alarm import Watch

                self._watch = Watch(_learnt(past))
        return self._watch


def counts_as_json(result: BlockResult) -> Any:  # Any: plain JSON
    """What a baseline learns from, or None."""
    counts = result.counts
    if counts is None:
        return None
    return [[list(row) for row in table] for table in (counts.sent, counts.detected, counts.errors)]


def _learnt(past: list[tuple[Any, int, int]]) -> Baseline:  # Any: plain JSON
    from workbench_kme.physics.alarm import learn

    return learn([_observation(*one) for one in past])


def _observation(counts: Any, pulses: int, length: int) -> Observation:  # Any: plain JSON
    from workbench_kme.physics.alarm import Observation
    from workbench_kme.physics.views import Counts

    sent, detected, errors = (tuple(tuple(row) for row in table) for table in counts)
    return Observation(Counts(sent, detected, errors), pulses, length)  # type: ignore[arg-type]  # rows of three
