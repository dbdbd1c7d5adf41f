"""How a job ends without a result: one transaction that moves, shreds, records and tells."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from workbench.channel.conversation import Conversation
from workbench.contracts import Transaction
from workbench.domain.intersection import JobState
from workbench.domain.party import PartyId
from workbench.errors import Cancelled, Disputed, Refused, WorkbenchError

if TYPE_CHECKING:
    from workbench.host import Workbench

RUNNING_STATES = frozenset({JobState.RUNNING, JobState.REVEALING, JobState.CHECKING})
OWN_AFFAIRS = frozenset({"NO_CONSENT", "TOO_FEW_CUSTOMERS", "EMPTY_AUDIENCE", "UNDECLARED_LIST", "BUDGET_SPENT"})
"""Reasons to stop that say something of our customers or dealings: others learn only that a rule of ours said no."""


class Endings:
    """Endings of one node. closed: set once the node stops."""

    def __init__(self, host: Workbench, closed: threading.Event) -> None:
        self._host = host
        self._closed = closed

    def settle(self, talk: Conversation, job_id: str, failure: WorkbenchError) -> None:
        """End a failed attempt for certain: while the store refuses, try again until the node stops.

        The job stays in the hands of this thread meanwhile; what a stop leaves open is settled at the next start.
        """
        pause_s = 0.5
        while True:
            try:
                self.fail(talk, job_id, failure)
            except Refused as over:
                self._host.log_fault(over)
                if self._host.jobs.get(job_id).state not in RUNNING_STATES:
                    return  # it was ended by somebody else
                failure = WorkbenchError("程序内部错误，已中止", "An internal fault stopped it", code="INTERNAL")
            except Exception as fault:  # above all a full disk
                self._host.log_fault(fault)
            else:
                return
            if self._closed.wait(pause_s):
                return
            pause_s = min(2 * pause_s, 30.0)

    def fail(self, talk: Conversation, job_id: str, failure: WorkbenchError) -> None:
        """End a running attempt: which state follows depends on how far it went and who failed."""
        state = _ending(self._host.jobs.get(job_id).state, failure)
        tell = None if failure.code in {"STOPPED_BY_PARTNER", "REFUSED_SMALL"} else talk.partner
        self.end(job_id, state, failure, actor=talk.ended_by, tell=tell, talk=talk)

    def end(
        self,
        job_id: str,
        state: JobState,
        failure: WorkbenchError,
        *,
        actor: str = "",
        tell: PartyId | None = None,
        talk: Conversation | None = None,
        only_from: set[JobState] | None = None,
        recovered: bool = False,
    ) -> None:
        """Move a job to a state without result, shred what was staged, record it and tell the partner, all at once.

        only_from: do nothing in other states. Raises Refused NOT_NOW where NEXT_STATES does not allow the step.
        """
        host = self._host
        small = state is JobState.REFUSED_SMALL
        told = "OWN_RULE" if isinstance(failure, Refused) and failure.code in OWN_AFFAIRS else failure.code

        def change(tx: Transaction) -> bool:
            job = host.jobs.get(job_id, tx=tx)
            if only_from is not None and job.state not in only_from:
                return False
            values = {"partner": job.partner, "attempt": str(job.attempt)}
            if not small:
                values |= {"code": told, "state": state.value}
            if told != failure.code:
                refusal = {"operation": "intersection.run", "code": failure.code}
                host.evidence.append(tx, "action.refused", refusal, job=job_id)
            host.vault.shred(tx, f"result/{job_id}")
            # Of the result only the partner's place could be there yet, or a list that is now void.
            host.jobs.move(tx, job_id, state, now_ms=host.now_ms(), error=failure.as_dict(), result={})
            self.mark_attempt(tx, job_id, job.attempt, state, size=_moved(talk))
            if recovered:
                host.evidence.append(tx, "node.recovered", {"state": state.value}, job=job_id)
            kind = "intersection.refused_small" if small else "intersection.ended"
            host.evidence.append(tx, kind, values, job=job_id, actor=actor)
            if tell is not None:
                host.negotiations.queue(tx, tell, job_id, "stopped", {"code": told, "attempt": str(job.attempt)})
            return True

        if host.store.write(change):
            host.negotiations.wake()

    def close_attempt(self, tx: Transaction, talk: Conversation, state: JobState) -> None:
        """Write down how a conversation's attempt ended and how much it moved."""
        self.mark_attempt(tx, talk.job, talk.attempt, state, size=_moved(talk))

    def mark_attempt(self, tx: Transaction, job: str, attempt: int, state: JobState, *, size: int | None = None) -> None:
        """Write down how an attempt ended; size in bytes, None to leave it."""
        tx.execute(
            "UPDATE host_attempt SET ended_ms = ?, state = ?, bytes = coalesce(?, bytes) WHERE job = ? AND attempt = ?",
            (self._host.now_ms(), state, size, job, attempt),
        )


def _ending(current: JobState, failure: WorkbenchError) -> JobState:
    """The state that follows a failure in `current`."""
    if isinstance(failure, Refused) and failure.code == "REFUSED_SMALL":  # a partner's reply may carry any code
        return JobState.REFUSED_SMALL
    if isinstance(failure, Disputed):
        return JobState.DISPUTED
    if current in {JobState.REVEALING, JobState.CHECKING} or failure.code == "ABORTED_AFTER_REVEAL":
        return JobState.ABORTED_AFTER_REVEAL
    return JobState.CANCELLED if isinstance(failure, Cancelled) else JobState.ABORTED


def _moved(talk: Conversation | None) -> int | None:
    return None if talk is None else talk.bytes_sent + talk.bytes_received
