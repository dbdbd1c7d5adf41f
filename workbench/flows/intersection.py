"""One consented intersection from proposal to export, in the order of docs/protocols/intersection.md.

    1 proposal, 2 approval                  proposals.py      staff of both institutions decide
    3 attempt                               here              one thread from the contract to the release
    4 consent, commitments, contract        agreement.py
    5 protocol run                          protocol_run.py
    6 release, sealing                      release.py
    7 stopping and failing                  here, endings.py

Staff act through the operations at the end of workbench/node/intersections.py; the partner's messages arrive through
`on_negotiation` and `on_attempt_frame`. Every step is recorded in the transaction of its change, and nothing leaves
before its entry exists.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from workbench.channel.conversation import Conversation, WaitingBytes, attempt_over
from workbench.contracts import Transaction
from workbench.domain.intersection import FINAL_STATES, RUN_AGAIN_STATES, JobState
from workbench.domain.party import Caller, PartyId
from workbench.errors import Cancelled, Disputed, NotFound, ProtocolViolation, Refused, WorkbenchError
from workbench.flows.agreement import Agreement
from workbench.flows.endings import RUNNING_STATES, Endings
from workbench.flows.inputs import Inputs
from workbench.flows.jobs import RECOVERY, Job
from workbench.flows.parsing import parsed_stop, stopped_by
from workbench.flows.proposals import Proposals
from workbench.flows.protocol_run import ProtocolRuns
from workbench.flows.release import Releases
from workbench.flows.rules import Rules

if TYPE_CHECKING:
    from workbench.host import Workbench


HOUR_MS = 3_600_000
FEWEST_FRAMES = 4
LEAVING_S = 10.0
"""How long a new attempt waits for the thread of the one before, whose end is recorded already."""


class IntersectionFlow:
    """All intersections of one node. Threads: one per running attempt; the database orders everything else."""

    def __init__(self, host: Workbench) -> None:
        self._host = host
        self._running: dict[str, Conversation] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._swept_ms = 0
        self._waiting = WaitingBytes(self._share_of_a_partner)
        self._lock = threading.Lock()
        self._left = threading.Condition(self._lock)
        self._closed = threading.Event()
        self._rules = Rules(host)
        self._endings = Endings(host, self._closed)
        self.proposals = Proposals(host, self._rules, self._endings)
        self.agreement = Agreement(host, self._rules)
        self.runs = ProtocolRuns(host, self._rules)
        self.releases = Releases(host, self._rules, self._endings)

    # ------------------------------------------------------------------ 1 proposal

    def propose(self, caller: Caller, request: Mapping[str, Any]) -> Job:
        """Marketing proposes; the partner is told. See Proposals.propose."""
        return self.proposals.propose(caller, request)

    def on_proposal(self, peer: PartyId, job_id: str, message: Mapping[str, Any]) -> None:
        """The partner's proposal arrives in our approver's inbox."""
        self.proposals.on_proposal(peer, job_id, message)

    # ------------------------------------------------------------------ 2 approval

    def preview(self, job: Job, list_id: str, audience: str = "") -> Inputs:
        """What approving with this list would bring in on our side, without changing anything."""
        return self.proposals.preview(job, list_id, audience)

    def approve(self, caller: Caller, job_id: str, *, list_id: str, audience: str, columns: list[str], automatic: bool) -> Job:
        """Our approver says yes with one of our lists. See Proposals.approve."""
        return self.proposals.approve(
            caller, job_id, list_id=list_id, audience=audience, columns=columns, automatic=automatic
        )

    def reject(self, caller: Caller, job_id: str, reason: str) -> Job:
        """Our approver says no, with a reason that stays here."""
        return self.proposals.reject(caller, job_id, reason)

    def on_rejection(self, peer: PartyId, job_id: str) -> None:
        """The partner's approver said no."""
        self.proposals.on_rejection(peer, job_id)

    def on_refused_by_partner(self, peer: PartyId, job_id: str, kind: str, code: str) -> None:
        """The partner will never take this message of ours."""
        self.proposals.on_refused_by_partner(peer, job_id, kind, code)

    def on_approval(self, peer: PartyId, job_id: str, message: Mapping[str, Any]) -> None:
        """The partner's approver said yes: the first attempt starts.

        A rule of ours that then says no is our affair and not a fault of the approval.
        """
        if not self.proposals.on_approval(peer, job_id, message):
            return
        try:
            self.start(job_id)
        except Refused as refusal:
            if refusal.code != "NOT_NOW":  # it runs already
                self.proposals.keep_refusal(job_id, refusal)

    def expire(self) -> None:
        """Proposals past their time end without effect; sketches of lists past theirs are shredded, once an hour."""
        self.proposals.expire()
        now = self._host.now_ms()
        if now - self._swept_ms >= HOUR_MS:
            self.agreement.history.forget_old()
            self._swept_ms = now

    # ------------------------------------------------------------------ 3 attempts

    def start(self, job_id: str) -> None:
        """Start an attempt as initiator: the first one, or again after a failure."""
        host = self._host
        job = host.jobs.get(job_id)
        if job.side != "initiator":
            raise Refused("由提出方启动", "The proposing institution starts the run", code="NOT_INITIATOR")
        if job.state in RUN_AGAIN_STATES and not job.attempt:
            raise Refused("对方还没有批准，不能运行", "The partner has not approved; it cannot run", code="NOT_APPROVED")
        self._rules.require_valid(job)
        self._rules.require_budget(job.partner, job.terms.purpose)
        self._begin(self._conversation(job, job.attempt + 1, timeout_s=float(job.request["timeout_s"])), job)

    def on_attempt_frame(self, peer: PartyId, job_id: str, attempt: int, frame: bytes) -> None:
        """A frame of an attempt: goes to the running conversation, or opens the partner's side of a new attempt."""
        with self._lock:
            talk = self._running.get(job_id)
        if talk is not None and (talk.partner, talk.attempt) == (peer, attempt):
            talk.deliver(frame)
        else:  # from a stranger too, who hears the same whether the job runs, ran or never was
            self._join(peer, job_id, attempt, frame)

    def _join(self, peer: PartyId, job_id: str, attempt: int, frame: bytes) -> None:
        """The partner's side of a new attempt; its first frame is verified before anything changes here."""
        job = self._rules.negotiated(job_id, peer)
        if attempt <= job.attempt or (job.state in FINAL_STATES and job.state not in RUN_AGAIN_STATES):
            raise attempt_over(job_id, attempt)
        # Attempts that failed before their first frame arrived leave a gap in our numbers, never a repetition.
        if job.side != "partner" or job.state not in {JobState.APPROVED, *RUN_AGAIN_STATES}:
            raise ProtocolViolation(
                f"{job_id} 现在不能开始第 {attempt} 次尝试", f"{job_id} cannot start attempt {attempt} now", code="NOT_NOW"
            )
        self._rules.require_valid(job)
        self._rules.require_budget(job.partner, job.terms.purpose)
        talk = self._conversation(job, attempt, timeout_s=float(self._host.setting("node.total_timeout_s")))
        talk.deliver(frame)
        try:
            self._begin(talk, job)
        except BaseException:
            talk.discard()
            raise

    def _conversation(self, job: Job, attempt: int, *, timeout_s: float) -> Conversation:
        return Conversation(
            self._host,
            job=job.job,
            attempt=attempt,
            partner=job.partner,
            step_timeout_s=min(float(self._host.setting("node.step_timeout_s")), timeout_s),
            total_timeout_s=timeout_s,
            waiting=self._waiting,
        )

    def _share_of_a_partner(self) -> int:
        """How many bytes of one partner may wait to be read; its next frame waits beyond it.

        Never less than a few frames: both sides send a frame or two before they read, and would wait for each other.
        """
        host = self._host
        share = int(host.setting("node.max_queued_bytes")) // max(1, len(host.parties()) - 1)
        return max(share, FEWEST_FRAMES * int(host.setting("node.max_message_bytes")))

    def _begin(self, talk: Conversation, job: Job) -> None:
        """Record that the attempt runs and give it its thread."""
        host = self._host
        now = host.now_ms()

        def change(tx: Transaction) -> None:
            host.jobs.move(tx, job.job, JobState.RUNNING, now_ms=now, attempt=talk.attempt, error={}, progress={}, result={})
            tx.execute(
                "INSERT INTO host_attempt(job, attempt, started_ms, state, partner, purpose) VALUES (?, ?, ?, ?, ?, ?)",
                (job.job, talk.attempt, now, JobState.RUNNING, job.partner, job.terms.purpose),
            )

        with self._lock:
            # Staff and the partner see the end of an attempt as soon as it is written; its thread leaves a little later.
            self._left.wait_for(lambda: not self._is_leaving(job), LEAVING_S)
            if job.job in self._running or self._closed.is_set():
                raise Refused("这次求交正在运行", "This intersection is running", code="NOT_NOW")
            limit = int(host.setting("intersection.parallel_attempts"))
            if sum(1 for one in self._running.values() if one.partner == job.partner) >= limit:
                raise Refused(
                    f"与 {job.partner} 的求交已有 {limit} 次在运行，请等其中一次结束后重新运行",
                    f"{limit} intersections with {job.partner} run already; run it again when one of them has ended",
                    code="TOO_MANY_ATTEMPTS",
                )
            self._running[job.job] = talk
        try:
            host.store.write(change)
        except BaseException:
            self._forget(job.job)
            raise
        thread = threading.Thread(target=self._attempt, args=(talk, job), name=f"{job.job}-{talk.attempt}", daemon=True)
        self._threads[job.job] = thread
        thread.start()

    def _is_leaving(self, job: Job) -> bool:
        """Whether the thread of an attempt is still here whose end this record of the job says. Call with the lock."""
        talk = self._running.get(job.job)
        return talk is not None and talk.attempt <= job.attempt and job.state not in RUNNING_STATES

    def _attempt(self, talk: Conversation, job: Job) -> None:
        """One attempt in its own thread; whatever happens, the job ends in a state of its table."""
        try:
            inputs, contract, session = self.agreement.reach(talk, job)
            outcome = self.runs.drive(talk, job, inputs, session)
            self.releases.release(talk, job, inputs, contract, outcome)
        except WorkbenchError as failure:
            self._endings.settle(talk, job.job, failure)
        except Exception as fault:  # a programming mistake must not leave the job running for ever
            self._host.log_fault(fault)
            internal = WorkbenchError("程序内部错误，已中止", "An internal fault stopped it", code="INTERNAL")
            self._endings.settle(talk, job.job, internal)
        finally:
            self._forget(job.job)

    def progress(self, job_id: str) -> Mapping[str, Any]:
        """What the running attempt last said, {} when none runs here."""
        return self.runs.progress(job_id) if job_id in self._running else {}

    def _forget(self, job_id: str) -> None:
        self.runs.forget(job_id)  # before the next attempt may begin, whose progress has the same name
        with self._lock:
            talk = self._running.pop(job_id, None)
            self._threads.pop(job_id, None)
            self._left.notify_all()
        if talk is not None:
            talk.discard()

    # ------------------------------------------------------------------ 6 sealing

    def on_released(self, peer: PartyId, job_id: str, message: Mapping[str, Any]) -> None:
        """The partner says where its release entry lies."""
        self.releases.on_released(peer, job_id, message)

    def complete_seals(self) -> None:
        """Jobs that both institutions have co-signed become final."""
        self.releases.complete_seals()

    # ------------------------------------------------------------------ 7 stopping and failing

    def cancel(self, caller: Caller, job_id: str) -> Job:
        """Stop a proposal or a running attempt; records stay, no result exists."""
        job = self._host.jobs.get(job_id)
        reason = Cancelled(
            f"{job_id} 已由本机构取消，没有产生结果", f"{job_id} was cancelled by this institution; no result exists"
        )
        with self._lock:
            talk = self._running.get(job_id)
        if talk is not None:
            talk.end(reason, actor=caller.person.token)
            return job
        if job.state in FINAL_STATES or job.state is JobState.SEALING:
            raise Refused("已经结束，不能取消", "It has ended and cannot be cancelled", code="NOT_NOW")
        state = JobState.WITHDRAWN if job.side == "initiator" else JobState.CANCELLED
        self._endings.end(job_id, state, reason, actor=caller.person.token, tell=job.partner)
        return self._host.jobs.get(job_id)

    def on_stopped(self, peer: PartyId, job_id: str, message: Mapping[str, Any]) -> None:
        """The partner stopped: attempt 0 means its proposal or approval, any other the attempt of this number.

        Of a job or an attempt unknown here, or over, it changes nothing: it may be about a proposal that never arrived.
        """
        code, attempt = parsed_stop(message)
        try:
            job = self._rules.negotiated(job_id, peer)
        except NotFound:
            return
        failure = stopped_by(peer, job_id, code)
        if attempt == 0:
            state = JobState.CANCELLED if job.side == "initiator" else JobState.WITHDRAWN
            if not job.attempt:
                self._endings.end(job_id, state, failure, only_from={JobState.PROPOSED, JobState.APPROVED})
            return
        with self._lock:
            talk = self._running.get(job_id)
        if talk is not None and talk.attempt == attempt:
            talk.end(failure)
        if job.attempt == attempt:
            # Released here, but never there: without the partner's entry it can never be final, so the list is void.
            # This write comes either before our release, which then sees the end above, or after it.
            void = JobState.DISPUTED if isinstance(failure, Disputed) else JobState.ABORTED_AFTER_REVEAL
            self._endings.end(job_id, void, failure, only_from={JobState.SEALING})

    def recover(self) -> None:
        """At start: settle what a stop left open (RECOVERY)."""
        host = self._host
        for job in host.jobs.unfinished():
            state = RECOVERY[job.state]
            if state is None:
                continue
            failure = WorkbenchError(
                f"节点在运行中停止过，{job.job} 已中止。可重新运行",
                f"The node stopped during the run; {job.job} ended. It can be run again",
                code="NODE_STOPPED",
            )
            self._endings.end(job.job, state, failure, tell=job.partner, recovered=True)
        for job in host.jobs.in_state(JobState.SEALING):
            # The partner may have stopped before it learned where our release entry lies.
            host.store.write(partial(self.releases.queue_notice, job=job))

    def close(self, *, limit_s: float = 10.0) -> None:
        """The node stops: end running attempts and wait a little until that is recorded. New ones are refused."""
        stopping = WorkbenchError("节点停止，本次尝试中止。可重新运行", "The node stops; the attempt ended", code="NODE_STOPPED")
        with self._lock:
            self._closed.set()
            talks, threads = list(self._running.values()), list(self._threads.values())
        for talk in talks:
            talk.end(stopping)
        limit = time.monotonic() + limit_s
        for thread in threads:
            thread.join(max(0.0, limit - time.monotonic()))
