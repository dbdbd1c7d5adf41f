"""One consented intersection from proposal to export, in the order of docs/protocols/intersection.md.

Staff act through the operations at the end of workbench/node/intersections.py; the partner's messages arrive through
`on_negotiation` and `on_attempt_frame`. Every step is recorded in the transaction of its change, and nothing leaves
before its entry exists.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.channel.conversation import Conversation
from workbench.contracts import (
    AskDropped,
    AskStruck,
    GrantQuery,
    IntersectionOutcome,
    Mark,
    Phase,
    Receive,
    Send,
    Session,
    Transaction,
)
from workbench.domain.contract import Contract, contract_signing_bytes, terms_digest
from workbench.domain.intersection import FINAL_STATES, RUN_AGAIN_STATES, JobState, KeyKind, Offer, Terms
from workbench.domain.listdigest import export_digest
from workbench.domain.party import Caller, PartyId
from workbench.errors import (
    Cancelled,
    Denied,
    Disputed,
    NotFound,
    PeerError,
    PeerUnavailable,
    ProtocolViolation,
    Refused,
    WorkbenchError,
)
from workbench.flows import waterfall
from workbench.flows.endings import RUNNING_STATES, Endings
from workbench.flows.inputs import Inputs, released_frame
from workbench.flows.jobs import RECOVERY, Job
from workbench.flows.list_history import ListHistory
from workbench.flows.near_duplicates import NearDuplicate
from workbench.flows.parsing import (
    decode,
    encode,
    parsed_offer,
    parsed_place,
    parsed_stop,
    parsed_terms,
    parsed_times,
    stopped_by,
    with_floor,
)
from workbench.flows.rules import Rules
from workbench.store.frames import stage_frame

if TYPE_CHECKING:
    from workbench.host import Workbench

DAY_MS = 86_400_000
EXPECTING_RELEASE = RUNNING_STATES | {JobState.SEALING}
"""States of an attempt in which the partner may already have released."""
MAX_OPEN_PROPOSALS = 200
"""Proposals of one partner that may wait for our approver: an inbox that a partner fills hides the ones that matter."""


class IntersectionFlow:
    """All intersections of one node. Threads: one per running attempt; the database orders everything else."""

    def __init__(self, host: Workbench) -> None:
        self._host = host
        self._history = ListHistory(host)
        self._running: dict[str, Conversation] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._progress: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._rules = Rules(host)
        self._endings = Endings(host, self._closed)

    # ------------------------------------------------------------------ 1 proposal

    def propose(self, caller: Caller, request: Mapping[str, Any]) -> Job:
        """Check everything that can be checked here, record the proposal, and tell the partner.

        request: list_id, partner, purpose, key_kind, audience, minimum_crowd, timeout_s, columns.
        Raises Refused with a reason; PeerUnavailable when the partner cannot be told (the job then is ABORTED).
        """
        host = self._host
        partner = self._rules.partner(request["partner"])
        self._rules.purpose(request["purpose"])
        engine = self._rules.engine()
        inputs = self._rules.inputs(request, partner)
        self._rules.require_enough(inputs, max(request["minimum_crowd"], host.setting("intersection.minimum_crowd")))
        self._rules.require_budget(partner, request["purpose"])
        host.guard("proposal", partner=partner, purpose=request["purpose"], customers=str(inputs.size))
        now = host.now_ms()
        terms = Terms(
            job=host.new_job_id(),
            initiator=host.party,
            partner=partner,
            purpose=request["purpose"],
            key_kind=KeyKind(request["key_kind"]),
            minimum_crowd=max(request["minimum_crowd"], host.setting("intersection.minimum_crowd")),
            engine=f"{engine.name}/{engine.version}",
            mode="direct",
            valid_until_ms=now + host.setting("intersection.proposal_days") * DAY_MS,
        )

        def change(tx: Transaction) -> None:
            host.jobs.add(
                tx, terms=terms, side="initiator", request=request, proposed_by=caller.person.token, now_ms=now
            )
            host.jobs.update(tx, terms.job, now_ms=now, waterfall=inputs.waterfall)
            host.evidence.append(
                tx,
                "intersection.proposed",
                {
                    "partner": partner,
                    "terms": terms_digest(terms).hex(),
                    "purpose": terms.purpose,
                    "key_kind": terms.key_kind.value,
                    "audience": inputs.audience,
                    "customers": str(inputs.size),
                    "reasons": json.dumps(inputs.reasons, sort_keys=True),
                },
                job=terms.job,
                actor=caller.person.token,
            )

        host.store.write(change)
        try:
            host.negotiations.send_now(partner, terms.job, "proposal", terms.as_json())
        except WorkbenchError as failure:
            # Perhaps only the acknowledgement was lost, and the proposal lies in the partner's inbox.
            self._endings.end(terms.job, JobState.ABORTED, failure, tell=partner)
            raise
        return host.jobs.get(terms.job)

    def on_proposal(self, peer: PartyId, job_id: str, message: Mapping[str, Any]) -> None:
        """The partner's side: keep the proposal for the approver's inbox."""
        host = self._host
        terms = parsed_terms(message)
        if terms.job != job_id:
            raise ProtocolViolation("提议的编号与消息不同", "The proposal names another job than its message", code="OTHER_JOB")
        self._rules.require_proposal_for_us(terms, peer)
        waiting = [job for job in host.jobs.in_state(JobState.PROPOSED) if (job.partner, job.side) == (peer, "partner")]
        if len(waiting) >= MAX_OPEN_PROPOSALS:
            raise Refused("待批准的提议太多，请先处理", "Too many proposals wait for approval", code="TOO_MANY_PROPOSALS")
        now = host.now_ms()

        def change(tx: Transaction) -> None:
            host.jobs.add(tx, terms=terms, side="partner", request={}, proposed_by="", now_ms=now)
            host.evidence.append(
                tx,
                "intersection.proposal_received",
                {"partner": peer, "terms": terms_digest(terms).hex()},
                job=terms.job,
            )

        host.store.write(change)

    # ------------------------------------------------------------------ 2 approval

    def preview(self, job: Job, list_id: str, audience: str = "") -> Inputs:
        """What approving with this list would bring in on our side, without changing anything."""
        request = {"list_id": list_id, "audience": audience, "key_kind": job.terms.key_kind, "purpose": job.terms.purpose}
        return self._rules.inputs(request, job.partner)

    def approve(self, caller: Caller, job_id: str, *, list_id: str, audience: str, columns: list[str], automatic: bool) -> Job:
        """Approve the partner's proposal with one of our lists; our own proposals are never approved here."""
        host = self._host
        job = host.jobs.get(job_id)
        if job.side == "initiator":
            raise Denied(
                "这是本机构提出的，须由对方审批岗批准；提出人不能批准自己的提议",
                "This institution proposed it; the partner's approver must decide, nobody approves their own proposal",
                code="SELF_APPROVAL",
            )
        if automatic and host.kind == "production":
            raise Refused("生产环境没有自动批准", "There is no automatic approval in production", code="NOT_IN_PRODUCTION")
        self._rules.require_open(job)
        floor = max(job.terms.minimum_crowd, host.setting("intersection.minimum_crowd"))
        inputs = self.preview(job, list_id, audience)
        self._rules.require_enough(inputs, floor)
        self._rules.require_budget(job.partner, job.terms.purpose)
        host.guard(
            "approval", job=job_id, partner=job.partner, purpose=job.terms.purpose, customers=str(inputs.size)
        )
        terms = with_floor(job.terms, floor)
        request = {"list_id": list_id, "audience": audience, "columns": columns}
        now = host.now_ms()

        def change(tx: Transaction) -> None:
            host.jobs.move(
                tx,
                job_id,
                JobState.APPROVED,
                now_ms=now,
                terms=terms.as_json(),
                request=request,
                waterfall=inputs.waterfall,
                approved_by=caller.person.token,
            )
            host.evidence.append(
                tx,
                "intersection.approved",
                {
                    "partner": job.partner,
                    "terms": terms_digest(terms).hex(),
                    "automatic": "yes" if automatic else "no",
                    "customers": str(inputs.size),
                },
                job=job_id,
                actor=caller.person.token,
            )
            host.negotiations.queue(tx, job.partner, job_id, "approval", terms.as_json())

        host.store.write(change)
        host.negotiations.wake()
        return host.jobs.get(job_id)

    def reject(self, caller: Caller, job_id: str, reason: str) -> Job:
        """Say no to the partner's proposal, with a reason that stays here."""
        host = self._host
        job = host.jobs.get(job_id)
        if job.side == "initiator":
            raise Denied("这是本机构提出的，可以撤回", "This institution proposed it; it can be withdrawn", code="SELF_APPROVAL")

        def change(tx: Transaction) -> None:
            host.jobs.move(tx, job_id, JobState.REJECTED, now_ms=host.now_ms())
            host.evidence.append(
                tx, "intersection.rejected", {"partner": job.partner, "reason": reason}, job=job_id, actor=caller.person.token
            )
            host.negotiations.queue(tx, job.partner, job_id, "rejection", {})

        host.store.write(change)
        host.negotiations.wake()
        return host.jobs.get(job_id)

    def on_approval(self, peer: PartyId, job_id: str, message: Mapping[str, Any]) -> None:
        """The initiator's side: check that only the floor rose, then start the first attempt."""
        host = self._host
        job = self._rules.negotiated(job_id, peer, side="initiator")
        terms = parsed_terms(message)
        if terms != with_floor(job.terms, terms.minimum_crowd) or terms.minimum_crowd < job.terms.minimum_crowd:
            raise ProtocolViolation(
                f"{peer} 批准的条款与提议不同，未采纳", f"{peer} approved other terms than proposed", code="TERMS_CHANGED"
            )
        if job.state is JobState.PROPOSED:

            def change(tx: Transaction) -> None:
                host.jobs.move(tx, job_id, JobState.APPROVED, now_ms=host.now_ms(), terms=terms.as_json())
                host.evidence.append(
                    tx, "intersection.approval_received", {"partner": peer, "terms": terms_digest(terms).hex()}, job=job_id
                )

            host.store.write(change)
        elif job.state is not JobState.APPROVED:
            return  # a repeated delivery after a lost acknowledgement
        self._start_approved(job_id)

    def _start_approved(self, job_id: str) -> None:
        """Start the first attempt; a rule of ours that says no is our affair and not a fault of the approval."""
        try:
            self.start(job_id)
        except Refused as refusal:
            if refusal.code == "NOT_NOW":
                return  # it runs already
            self._keep_refusal(job_id, refusal)

    def _keep_refusal(self, job_id: str, refusal: Refused) -> None:
        host, values = self._host, {"operation": "intersection.run", "code": refusal.code}

        def change(tx: Transaction) -> None:
            host.jobs.update(tx, job_id, now_ms=host.now_ms(), error=refusal.as_dict())
            host.evidence.append(tx, "action.refused", values, job=job_id)

        host.store.write(change)

    def on_rejection(self, peer: PartyId, job_id: str) -> None:
        """The initiator's side of a rejection."""
        job = self._rules.negotiated(job_id, peer, side="initiator")
        if job.state is JobState.PROPOSED:
            self._endings.end(job_id, JobState.REJECTED, Refused("对方拒绝了提议", "The partner rejected the proposal", code="REJECTED"))

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
        if talk is None or talk.attempt != attempt:
            self._join(peer, job_id, attempt, frame)
            return
        if talk.partner != peer:
            raise ProtocolViolation("这次求交不属于该机构", "This intersection is not with that institution", code="WRONG_PARTY")
        talk.deliver(frame)

    def _join(self, peer: PartyId, job_id: str, attempt: int, frame: bytes) -> None:
        """The partner's side of a new attempt; its first frame is verified before anything changes here."""
        job = self._rules.negotiated(job_id, peer, side="partner")
        # Attempts that failed before their first frame arrived leave a gap in our numbers, never a repetition.
        if job.state not in {JobState.APPROVED, *RUN_AGAIN_STATES} or attempt <= job.attempt:
            raise ProtocolViolation(
                f"{job_id} 现在不能开始第 {attempt} 次尝试", f"{job_id} cannot start attempt {attempt} now", code="NOT_NOW"
            )
        self._rules.require_valid(job)
        self._rules.require_budget(job.partner, job.terms.purpose)
        talk = self._conversation(job, attempt, timeout_s=float(self._host.setting("node.total_timeout_s")))
        talk.deliver(frame)
        self._begin(talk, job)

    def _conversation(self, job: Job, attempt: int, *, timeout_s: float) -> Conversation:
        return Conversation(
            self._host,
            job=job.job,
            attempt=attempt,
            partner=job.partner,
            step_timeout_s=min(float(self._host.setting("node.step_timeout_s")), timeout_s),
            total_timeout_s=timeout_s,
        )

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
            if job.job in self._running or self._closed.is_set():
                raise Refused("这次求交正在运行", "This intersection is running", code="NOT_NOW")
            self._running[job.job] = talk
        try:
            host.store.write(change)
        except BaseException:
            self._forget(job.job)
            raise
        thread = threading.Thread(target=self._attempt, args=(talk, job), name=f"{job.job}-{talk.attempt}", daemon=True)
        self._threads[job.job] = thread
        thread.start()

    def _attempt(self, talk: Conversation, job: Job) -> None:
        """One attempt in its own thread; whatever happens, the job ends in a state of its table."""
        try:
            inputs, contract, session = self._agree(talk, job)
            outcome = self._drive(talk, job, inputs, session)
            self._release(talk, job, inputs, contract, outcome)
        except WorkbenchError as failure:
            self._endings.settle(talk, job.job, failure)
        except Exception as fault:  # a programming mistake must not leave the job running for ever
            self._host.log_fault(fault)
            internal = WorkbenchError("程序内部错误，已中止", "An internal fault stopped it", code="INTERNAL")
            self._endings.settle(talk, job.job, internal)
        finally:
            self._forget(job.job)

    # ------------------------------------------------------------------ 4 consent, commitments, contract

    def _agree(self, talk: Conversation, job: Job) -> tuple[Inputs, Contract, Session]:
        """Filter by consent now, commit, exchange offers, and sign the contract of this attempt."""
        host = self._host
        terms = job.terms
        engine = self._rules.engine(terms.engine)
        inputs = self._rules.inputs({**job.request, "key_kind": terms.key_kind, "purpose": terms.purpose}, job.partner)
        self._rules.require_enough(inputs, terms.minimum_crowd)
        prepared = engine.prepare(
            party=host.party,
            identifiers=inputs.identifiers,
            grant_digests=inputs.decision_digests,
            random=host.random,
        )
        self._record_start(talk, job, inputs, prepared.offer)
        inputs = inputs.packed()
        if job.side == "initiator":
            contract = self._offer_first(talk, terms, prepared.offer)
        else:
            contract = self._offer_second(talk, terms, prepared.offer)
        self._sign_contract(talk, job, contract)
        session = engine.session(
            prepared=prepared,
            initiator=job.side == "initiator",
            terms=terms,
            contract_digest=contract.digest(),
            partner=contract.partner if job.side == "initiator" else contract.initiator,
            threads=host.threads(),
        )
        return inputs, contract, session

    def _offer_first(self, talk: Conversation, terms: Terms, mine: Offer) -> Contract:
        started_ms = self._host.now_ms()
        cut_off_ms = started_ms + int(talk.total_timeout_s * 1000)
        opening = {
            "terms": terms_digest(terms).hex(),
            "started_ms": str(started_ms),
            "cut_off_ms": str(cut_off_ms),
            "offer": mine.as_json(),
        }
        talk.send("attempt", encode(opening))
        theirs = self._partners_offer(decode(talk.receive("offer")).get("offer"), talk.partner)
        contract = Contract(terms, talk.attempt, started_ms, cut_off_ms, initiator=mine, partner=theirs)
        talk.expect_contract(contract.digest())
        talk.name_contract(contract.digest())
        return contract

    def _offer_second(self, talk: Conversation, terms: Terms, mine: Offer) -> Contract:
        host = self._host
        opening = decode(talk.receive("attempt"))
        if opening.get("terms") != terms_digest(terms).hex():
            raise ProtocolViolation("对方用的条款不同", "The partner uses other terms", code="TERMS_CHANGED")
        started_ms, cut_off_ms = parsed_times(opening)
        if abs(started_ms - host.now_ms()) > (host.setting("node.max_skew_s") + 60) * 1000 or cut_off_ms <= started_ms:
            raise ProtocolViolation("对方的起止时间不可信", "The partner's times are not plausible", code="CLOCK_SKEW")
        theirs = self._partners_offer(opening.get("offer"), talk.partner)
        contract = Contract(terms, talk.attempt, started_ms, cut_off_ms, initiator=theirs, partner=mine)
        talk.expect_contract(contract.digest())  # the answer to our offer may arrive before `send` returns
        talk.send("offer", encode({"offer": mine.as_json()}))
        talk.name_contract(contract.digest())
        return contract

    def _partners_offer(self, value: Any, partner: PartyId) -> Offer:
        """The partner's offer; Refused when its list would take more memory and time here than this node gives."""
        offer = parsed_offer(value, partner)
        limit = self._host.setting("intersection.largest_partner_list")
        if offer.bucket > limit:
            raise Refused(
                f"对方名单的规模档位超过本机构的上限 {limit}，运维可调整设置",
                f"The partner's list is of a size class beyond this institution's limit of {limit}; operations can change it",
                code="PARTNER_LIST_TOO_LARGE",
            )
        return offer

    def _sign_contract(self, talk: Conversation, job: Job, contract: Contract) -> None:
        """Both sign the same contract; neither sends points before holding the other's signature."""
        host = self._host
        own = host.keys.contract.sign(contract_signing_bytes(contract, host.party))
        if job.side == "initiator":
            talk.send("contract", own)
            theirs = talk.receive("contract")
        else:
            theirs = talk.receive("contract")
            talk.send("contract", own)
        host.pinned_keys(talk.partner).contract.verify(contract_signing_bytes(contract, talk.partner), theirs)
        values = {
            "partner": talk.partner,
            "attempt": str(talk.attempt),
            "contract": contract.digest().hex(),
            "own_signature": own.hex(),
            "partner_signature": theirs.hex(),
        }
        host.store.write(lambda tx: host.evidence.append(tx, "intersection.contract", values, job=job.job))

    # ------------------------------------------------------------------ 5 the protocol run

    def _drive(self, talk: Conversation, job: Job, inputs: Inputs, session: Session) -> IntersectionOutcome:
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
                answer = self._answer(talk, job, inputs, request)
            except WorkbenchError as error:
                failure = error

    def _answer(self, talk: Conversation, job: Job, inputs: Inputs, request: object) -> Any:
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
            state = {"reveal": JobState.REVEALING, "check": JobState.CHECKING}.get(phase.name)
            if state is not None and host.jobs.get(job_id).state is not state:
                host.store.write(lambda tx: host.jobs.move(tx, job_id, state, now_ms=now))
            known = {"name": phase.name, "since_ms": now, "history": [*(known or {}).get("history", []), phase.name]}
        self._progress[job_id] = {
            **known,
            "number": phase.number,
            "done": phase.done,
            "total": phase.total,
            "now_ms": now,
            "bytes": talk.bytes_sent + talk.bytes_received,
        }

    def _no_longer_usable(self, job: Job, inputs: Inputs, indices: np.ndarray) -> np.ndarray:
        """Which of these customers have no live grant at this instant (decision 10); input indices."""
        host = self._host
        now = host.now_ms()
        if not host.consent.changed_since(inputs.as_of) and not bool((inputs.valid_until_ms <= now).any()):
            return np.empty(0, np.int64)
        # The whole list again: who shares a key may stand outside the audience (decision 16).
        everyone = host.lists.frame(job.request["list_id"])
        decision = self._rules.decide(everyone, job.partner, job.terms.purpose, job.terms.key_kind)
        gone: np.ndarray = indices[~decision.usable[inputs.rows[indices]]].astype(np.int64)
        return gone

    def _mark(self, job_id: str, name: str, values: Mapping[str, str]) -> None:
        host = self._host
        host.store.write(lambda tx: host.evidence.append(tx, f"intersection.{name}", dict(values), job=job_id))

    # ------------------------------------------------------------------ 6 release

    def _release(
        self, talk: Conversation, job: Job, inputs: Inputs, contract: Contract, outcome: IntersectionOutcome
    ) -> None:
        """Write the target list and its entry in one transaction; sealing makes it final."""
        host = self._host
        if host.now_ms() > contract.cut_off_ms:
            raise PeerUnavailable("超过约定的截止时间，结果作废", "The contract's cut-off has passed; the result is void", code="CUT_OFF")
        host.guard(
            "release", job=job.job, partner=job.partner, purpose=job.terms.purpose, customers=str(outcome.hits.size)
        )
        key = host.random(32)
        frame = released_frame(inputs, outcome, columns=list(job.request.get("columns", [])))
        keys = frame[job.terms.key_kind.value].to_list()
        rows = waterfall.with_outcome(inputs.waterfall, outcome)
        result = {
            "released": outcome.hits.size,
            "cardinality": outcome.cardinality,
            "struck": outcome.struck,
            "dropped": outcome.dropped,
            "partner_bucket": outcome.partner_bucket,
            "own_bucket": (contract.initiator if job.side == "initiator" else contract.partner).bucket,
            "result_digest": outcome.result_digest.hex(),
            "partner_digest": outcome.partner_digest.hex(),
            "bytes": talk.bytes_sent + talk.bytes_received,
            "seconds": round((host.now_ms() - contract.started_ms) / 1000, 3),
            "contract": contract.digest().hex(),
        }
        now = host.now_ms()
        staged = stage_frame(host.vault, f"result/{job.job}", frame)

        def change(tx: Transaction) -> None:
            talk.raise_if_ended()  # a notice that the partner stopped counts until this instant, see on_stopped
            host.vault.adopt(tx, staged)
            ref = host.evidence.append(
                tx,
                "intersection.released",
                {
                    "partner": talk.partner,
                    "attempt": str(talk.attempt),
                    "contract": contract.digest().hex(),
                    "result_digest": outcome.result_digest.hex(),
                    "partner_digest": outcome.partner_digest.hex(),
                    "key_kind": job.terms.key_kind.value,
                    "customers": str(outcome.hits.size),
                    "dropped": str(outcome.dropped),
                    "list_digest": export_digest(key, keys).hex(),
                    "list_key": key.hex(),
                },
                job=job.job,
            )
            placed = {"own_index": ref.index, "own_leaf": ref.leaf.hex()}
            known = host.jobs.get(job.job, tx=tx).result  # the partner's notice may have come first
            host.jobs.move(tx, job.job, JobState.SEALING, now_ms=now, waterfall=rows, result={**known, **result, **placed})
            self._endings.close_attempt(tx, talk, JobState.SEALING)
            self._queue_released(tx, host.jobs.get(job.job, tx=tx))

        try:
            host.store.write(change)
        except BaseException:
            host.vault.discard(staged)
            raise
        host.negotiations.wake()
        host.sealing.wake()

    def _queue_released(self, tx: Transaction, job: Job) -> None:
        place = {
            "index": str(job.result["own_index"]),
            "leaf": str(job.result["own_leaf"]),
            "attempt": str(job.attempt),
        }
        self._host.negotiations.queue(tx, job.partner, job.job, "released", place)

    def on_released(self, peer: PartyId, job_id: str, message: Mapping[str, Any]) -> None:
        """Where the partner's release entry lies; kept until its mirror has arrived and is co-signed.

        The notice may come before our own release. Of an attempt that is over here it changes nothing.
        """
        host = self._host
        self._rules.negotiated(job_id, peer)
        index, leaf, attempt = parsed_place(message)
        place = {"partner_index": index, "partner_leaf": leaf}

        def change(tx: Transaction) -> None:
            job = host.jobs.get(job_id, tx=tx)
            if job.attempt != attempt or job.state not in EXPECTING_RELEASE:
                return
            if "partner_leaf" in job.result and job.result["partner_leaf"] != leaf:
                raise ProtocolViolation(
                    f"{peer} 先后指出两条不同的放行记录", f"{peer} named two different release entries", code="OTHER_RELEASE"
                )
            host.jobs.update(tx, job_id, now_ms=host.now_ms(), result={**job.result, **place})

        host.store.write(change)
        host.sealing.wake()

    def complete_seals(self) -> None:
        """Turn SEALING jobs into RELEASED once both institutions co-signed each other's release entries.

        An entry of the partner that does not say what this side released makes the job DISPUTED.
        """
        host = self._host
        for job in host.jobs.in_state(JobState.SEALING):
            try:
                if host.sealing.job_is_sealed(job):
                    self._complete_seal(job)
            except Disputed as dispute:
                self._endings.end(job.job, JobState.DISPUTED, dispute, tell=job.partner, only_from={JobState.SEALING})

    def _complete_seal(self, job: Job) -> None:
        host = self._host
        entries = {"own_entry": str(job.result["own_index"]), "partner_entry": str(job.result["partner_index"])}

        def change(tx: Transaction) -> None:
            host.jobs.move(tx, job.job, JobState.RELEASED, now_ms=host.now_ms())
            self._endings.mark_attempt(tx, job.job, job.attempt, JobState.RELEASED)
            host.evidence.append(tx, "intersection.sealed", {"partner": job.partner, **entries}, job=job.job)

        host.store.write(change)

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

    def on_refused_by_partner(self, peer: PartyId, job_id: str, kind: str, code: str) -> None:
        """The partner will never take this message: an approval it refuses leaves nothing to wait for."""
        if kind == "approval":
            failure = PeerError(
                f"{peer} 没有接受批准（{code}）", f"{peer} did not take the approval ({code})", code="APPROVAL_REFUSED"
            )
            self._endings.end(job_id, JobState.CANCELLED, failure, only_from={JobState.APPROVED})

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
            host.store.write(partial(self._queue_released, job=job))

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

    def progress(self, job_id: str) -> Mapping[str, Any]:
        """What the running attempt last said, {} when none runs here."""
        return dict(self._progress.get(job_id, {})) if job_id in self._running else {}

    def expire(self) -> None:
        """Proposals past their time end without effect."""
        now = self._host.now_ms()
        open_states = (JobState.PROPOSED, JobState.APPROVED)
        for job in [job for state in open_states for job in self._host.jobs.in_state(state)]:
            if job.terms.valid_until_ms <= now:
                expired = Refused("提议已过期", "The proposal has expired", code="EXPIRED")
                self._endings.end(job.job, JobState.EXPIRED, expired, only_from=set(open_states))

    def _forget(self, job_id: str) -> None:
        with self._lock:
            self._running.pop(job_id, None)
            self._threads.pop(job_id, None)
        self._progress.pop(job_id, None)

    def _record_start(self, talk: Conversation, job: Job, inputs: Inputs, offer: Offer) -> None:
        """Who takes part is a snapshot of consent for this attempt alone, spent as it is taken (row C5)."""
        host = self._host
        values = {
            "partner": talk.partner,
            "attempt": str(talk.attempt),
            "as_of": str(inputs.as_of),
            "customers": str(inputs.size),
            "reasons": json.dumps(inputs.reasons, sort_keys=True),
            "commitment_root": offer.commitment_root.hex(),
        }
        query = GrantQuery(job.terms.purpose, job.partner, host.now_ms(), job.terms.key_kind)
        sketch = self._history.sketch(inputs.frame[inputs.kind.value])
        nearest = self._history.near_duplicates(sketch, job=job.job, partner=job.partner, purpose=job.terms.purpose)
        # In an entry that every attempt has: an entry of its own would tell the partner that our list hardly changed.
        values |= {"near_duplicates": str(len(nearest)), "nearest": nearest[0].job if nearest else ""}

        def change(tx: Transaction) -> None:
            host.jobs.update(tx, job.job, now_ms=host.now_ms(), waterfall=inputs.waterfall)
            host.evidence.append(tx, "intersection.attempt_started", values, job=job.job)
            self._history.remember(tx, sketch, job=job.job, attempt=talk.attempt)
            if nearest:
                self._warn_of_near_duplicates(tx, job, nearest)
            snapshot = host.consent.take_snapshot(
                tx, job=job.job, attempt=talk.attempt, query=query, decision=inputs.selection
            )
            host.consent.use_snapshot(tx, snapshot, job=job.job, attempt=talk.attempt, query=query)

        host.store.write(change)

    def _warn_of_near_duplicates(self, tx: Transaction, job: Job, nearest: Sequence[NearDuplicate]) -> None:
        """Say on the page, too, that nearly the same list was used before; people decide what it means."""
        host = self._host
        found = [{"job": one.job, "share": round(one.share, 3)} for one in nearest[:5]]
        result = {**host.jobs.get(job.job, tx=tx).result, "near_duplicates": found}
        host.jobs.update(tx, job.job, now_ms=host.now_ms(), result=result)
