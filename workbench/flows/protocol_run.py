"""The protocol run of an attempt: what the engine asks for is carried out, and how far it is can be seen.

Document: docs/protocols/intersection.md sections 5 to 7. The engine itself knows neither link nor clock nor database.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.channel.conversation import Conversation
from workbench.contracts import (
    AskDropped,
    AskStruck,
    IntersectionOutcome,
    Mark,
    Phase,
    Receive,
    Send,
    Session,
    Transaction,
)
from workbench.domain.intersection import JobState
from workbench.errors import Refused, WorkbenchError
from workbench.flows.inputs import Inputs
from workbench.flows.jobs import Job, with_phase
from workbench.flows.rules import Rules

if TYPE_CHECKING:
    from workbench.host import Workbench


class ProtocolRuns:
    """Runs of one node. Each belongs to the thread of its attempt; `progress` may be read from any."""

    def __init__(self, host: Workbench, rules: Rules) -> None:
        self._host = host
        self._rules = rules
        self._progress: dict[str, dict[str, Any]] = {}

    def drive(self, talk: Conversation, job: Job, inputs: Inputs, session: Session) -> IntersectionOutcome:
        """Carry the session's requests out until it returns; failures of the link are thrown into it."""
        answer: Any = None
        failure: WorkbenchError | None = None
        while True:
            try:
                request = session.throw(failure) if failure else session.send(answer)
            except StopIteration as stop:
                outcome: IntersectionOutcome = stop.value
                return outcome
            answer = failure = None
            try:
                answer = self.answer(talk, job, inputs, request)
            except WorkbenchError as error:
                failure = error

    def answer(self, talk: Conversation, job: Job, inputs: Inputs, request: object) -> Any:
        match request:
            case Send(kind, payload):
                return talk.send(kind, payload)
            case Receive(kind):
                return talk.receive(kind)
            case Phase():
                return self._phase(talk, job.job, request)
            case AskStruck():
                return self._no_longer_usable(job, inputs, np.arange(inputs.size))
            case AskDropped(hits):
                return self._no_longer_usable(job, inputs, hits)
            case Mark(name, values):
                return self._mark(job.job, name, values)
        raise TypeError(f"the engine asked for {type(request).__name__}")

    def _phase(self, talk: Conversation, job_id: str, phase: Phase) -> None:
        talk.raise_if_ended()
        host = self._host
        known = self._progress.get(job_id)
        now = host.now_ms()
        if known is None or known["name"] != phase.name:
            host.store.write(lambda tx: self._enter(tx, job_id, phase.name, now))
            known = {"name": phase.name, "since_ms": now, "history": [*(known or {}).get("history", []), phase.name]}
        self._progress[job_id] = {
            **known,
            "number": phase.number,
            "done": phase.done,
            "total": phase.total,
            "now_ms": now,
            "bytes": talk.bytes_sent + talk.bytes_received,
        }

    def _enter(self, tx: Transaction, job_id: str, name: str, now: int) -> None:
        """Write down when a phase began: names and times only, because the count of a later refusal is kept by nobody."""
        jobs = self._host.jobs
        job = jobs.get(job_id, tx=tx)
        state = {"reveal": JobState.REVEALING, "check": JobState.CHECKING}.get(name)
        if state is not None and job.state is not state:
            job = jobs.move(tx, job_id, state, now_ms=now)
        if not job.is_final:  # stopped at this instant: an ended job stays as it ended
            jobs.update(tx, job_id, now_ms=now, progress=with_phase(job.progress, name, now))

    def _no_longer_usable(self, job: Job, inputs: Inputs, indices: np.ndarray) -> np.ndarray:
        """Which of these customers have no live grant at this instant (decision 10); input indices."""
        host = self._host
        now = host.now_ms()
        if not host.consent.changed_since(inputs.as_of) and not bool((inputs.valid_until_ms <= now).any()):
            return np.empty(0, np.int64)
        # The whole list again: who shares a key may stand outside the audience (decision 16).
        everyone = host.lists.frame(job.request["list_id"])
        if everyone.height != inputs.waterfall[0]["kept"]:
            # An erasure took a customer out of the list: places in it no longer mean who they meant.
            raise Refused(
                "名单在求交期间去掉了一位客户，请重新运行",
                "A customer was erased from the list meanwhile: run again",
                code="LIST_REWRITTEN",
            )
        decision = self._rules.decide(everyone, job.partner, job.terms.purpose, job.terms.key_kind, job.job)
        gone: np.ndarray = indices[~decision.usable[inputs.rows[indices]]].astype(np.int64)
        return gone

    def _mark(self, job_id: str, name: str, values: Mapping[str, str]) -> None:
        host = self._host
        host.store.write(lambda tx: host.evidence.append(tx, f"intersection.{name}", dict(values), job=job_id))

    def progress(self, job_id: str) -> Mapping[str, Any]:
        """What the running attempt last said, {} when none runs here."""
        return dict(self._progress.get(job_id, {}))

    def forget(self, job_id: str) -> None:
        """The attempt is over: its progress is of no more use."""
        self._progress.pop(job_id, None)
