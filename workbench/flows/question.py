"""The order of one question to a model in a leased sandbox, top to bottom. Document: docs/sandbox-design.md section 2.

     1 admit     role × scenario × model, use of the documents, cohort, quota, budget
     2 redact    identifiers become labels, the map stays here
     3 redact    class of question and documents against what the lease may read
     4 guards    stage `prompt`
     5 lease     a running lease, and the sandbox that is free
     6 lease     evidence verified, session
     7 record    `inference.asked` on disk
     8 send      the sealed frame leaves
     9 receive   records as a draft; stop
    10 receive   the end, with digest and records
    11 judge     citations byte for byte, grounding, suitability, content, leaks, size; guards, stage `answer`
    12 record    `inference.answered` on disk
    13 show      names back for those allowed

Each refusal ends at its step: before 7 as `inference.ask_refused` and nothing has left; after it as `inference.answer_lost`, or as
`inference.answered` with a state. What cannot be written down does not happen: a store that fails before 8 sends nothing, one that
fails at 12 shows nothing. This module knows the order and no plugin; what each step does is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from workbench.domain.party import Caller
from workbench.errors import StorageFailed, WorkbenchError


class Guards(Protocol):
    """What of the host this needs."""

    def guard(self, stage: str, **facts: str) -> None: ...


class QuestionSteps(Protocol):
    """One method a step. The values that pass from one to the next are the plugin's own, hence Any."""

    def admit(self, caller: Caller, asked: Any) -> Any:
        """1. Raises Refused, each with its own code."""

    def redact(self, admitted: Any) -> Any:
        """2 and 3: what may be sent."""

    def facts(self, prepared: Any) -> Mapping[str, str]:
        """For guards: scenario, template, model, class, counts; no text."""

    def lease(self, prepared: Any) -> Any:
        """5 and 6: a verified session in which this is asked."""

    def seal(self, leased: Any) -> bytes:
        """The sealed frame of the question; nothing leaves."""

    def unsent(self, leased: Any) -> None:
        """The sealed frame is never sent."""

    def record_asked(self, leased: Any, frame: bytes) -> None:
        """7. On disk when it returns."""

    def send(self, leased: Any, frame: bytes) -> Iterator[Any]:
        """8 to 10: records as they come, the end last (`is_end`). Raises where no whole answer comes."""

    def is_end(self, came: Any) -> bool:
        """Whether this is the end of the answer."""

    def stop(self, leased: Any) -> None:
        """The person wants no more; the end comes all the same."""

    def judge(self, leased: Any, records: list[Any], end: Any) -> Any:
        """11. What may be shown, or why it may not: an answer with a state, never an exception for a rule."""

    def record_answered(self, leased: Any, answer: Any) -> None:
        """12. On disk when it returns."""

    def show(self, leased: Any, answer: Any) -> Any:
        """13."""

    def record_refused(self, caller: Caller, asked: Any, error: WorkbenchError) -> None:
        """Nothing was sent."""

    def record_lost(self, leased: Any, error: WorkbenchError) -> None:
        """It was sent, and no answer counts."""


def take_in(host: Guards, steps: QuestionSteps, caller: Caller, asked: Any) -> Any:
    """Steps 1 to 4: what may be sent. Raises what a rule says; the refusal is on disk then."""
    try:
        prepared = steps.redact(steps.admit(caller, asked))
        host.guard("prompt", **steps.facts(prepared))
    except WorkbenchError as error:
        _refused(steps, caller, asked, error)
        raise
    return prepared


def answer(
    host: Guards, steps: QuestionSteps, caller: Caller, asked: Any, prepared: Any, tell: Callable[[Any], None], stop: Callable[[], bool]
) -> Any:  # fmt: skip
    """Steps 5 to 13: what is shown. tell: gets every record as a draft. stop: whether the person wants no more.

    Raises what ended it, written down as far as the disk took it.
    """
    try:
        leased = steps.lease(prepared)
        frame = steps.seal(leased)
    except WorkbenchError as error:
        _refused(steps, caller, asked, error)
        raise
    try:
        steps.record_asked(leased, frame)
    except BaseException as error:
        steps.unsent(leased)
        if isinstance(error, WorkbenchError):
            _refused(steps, caller, asked, error)
        raise
    try:
        records, end = _received(steps, leased, frame, tell, stop)
        found = steps.judge(leased, records, end)
        host.guard("answer", **steps.facts(prepared))
        steps.record_answered(leased, found)
    except WorkbenchError as error:
        steps.record_lost(leased, error)
        raise
    return steps.show(leased, found)


def ask(
    host: Guards, steps: QuestionSteps, caller: Caller, asked: Any, tell: Callable[[Any], None], stop: Callable[[], bool]
) -> Any:
    """The whole, in one thread."""
    return answer(host, steps, caller, asked, take_in(host, steps, caller, asked), tell, stop)


def _received(
    steps: QuestionSteps, leased: Any, frame: bytes, tell: Callable[[Any], None], stop: Callable[[], bool]
) -> tuple[list[Any], Any]:
    records: list[Any] = []
    end: Any = None
    is_stopped = False
    for came in steps.send(leased, frame):
        if steps.is_end(came):
            end = came
            continue
        records.append(came)
        tell(came)
        if stop() and not is_stopped:
            is_stopped = True
            steps.stop(leased)
    return records, end


def _refused(steps: QuestionSteps, caller: Caller, asked: Any, error: WorkbenchError) -> None:
    """Write a refusal down; where the disk itself is what failed there is nowhere to."""
    if not isinstance(error, StorageFailed):
        steps.record_refused(caller, asked, error)


__all__ = ["Guards", "QuestionSteps", "answer", "ask", "take_in"]
