"""Proposal and approval of an intersection: what staff decide before anything is computed.

Document: docs/protocols/intersection.md section 2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.contracts import Transaction
from workbench.domain.contract import terms_digest
from workbench.domain.intersection import JobState, KeyKind, Terms
from workbench.domain.party import Caller, PartyId
from workbench.errors import Denied, PeerError, ProtocolViolation, Refused, WorkbenchError
from workbench.flows.endings import Endings
from workbench.flows.inputs import Inputs
from workbench.flows.jobs import Job
from workbench.flows.parsing import parsed_terms, with_floor
from workbench.flows.rules import Rules

if TYPE_CHECKING:
    from workbench.host import Workbench

DAY_MS = 86_400_000
MAX_OPEN_PROPOSALS = 200
"""Proposals of one partner that may wait for our approver: an inbox that a partner fills hides the ones that matter."""


class Proposals:
    """Proposals of one node, made here or received from a partner."""

    def __init__(self, host: Workbench, rules: Rules, endings: Endings) -> None:
        self._host = host
        self._rules = rules
        self._endings = endings

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
        host.guard(
            "proposal", partner=partner, purpose=request["purpose"], customers=str(inputs.size), list=str(request["list_id"])
        )
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
                    "campaign": str(request.get("campaign", "")),
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

    def preview(self, job: Job, list_id: str, audience: str = "") -> Inputs:
        """What approving with this list would bring in on our side, without changing anything."""
        request = {"list_id": list_id, "audience": audience, "key_kind": job.terms.key_kind, "purpose": job.terms.purpose}
        return self._rules.inputs(request, job.partner, job.job)

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
            "approval", job=job_id, partner=job.partner, purpose=job.terms.purpose, customers=str(inputs.size), list=list_id
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

    def on_approval(self, peer: PartyId, job_id: str, message: Mapping[str, Any]) -> bool:
        """The initiator's side: check that only the floor rose; True when the first attempt is to start."""
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
            return True
        return job.state is JobState.APPROVED  # otherwise a repeated delivery after a lost acknowledgement

    def keep_refusal(self, job_id: str, refusal: Refused) -> None:
        """Show on the job what a rule of ours said when its first attempt should have started."""
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

    def on_refused_by_partner(self, peer: PartyId, job_id: str, kind: str, code: str) -> None:
        """The partner will never take this message: an approval it refuses leaves nothing to wait for."""
        if kind == "approval":
            failure = PeerError(
                f"{peer} 没有接受批准（{code}）", f"{peer} did not take the approval ({code})", code="APPROVAL_REFUSED"
            )
            self._endings.end(job_id, JobState.CANCELLED, failure, only_from={JobState.APPROVED})

    def expire(self) -> None:
        """Proposals past their time end without effect."""
        now = self._host.now_ms()
        open_states = (JobState.PROPOSED, JobState.APPROVED)
        for job in [job for state in open_states for job in self._host.jobs.in_state(state)]:
            if job.terms.valid_until_ms <= now:
                expired = Refused("提议已过期", "The proposal has expired", code="EXPIRED")
                self._endings.end(job.job, JobState.EXPIRED, expired, only_from=set(open_states))
