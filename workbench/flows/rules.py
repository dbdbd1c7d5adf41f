"""The rules an intersection must satisfy before each step; each raises Refused and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from workbench.contracts import ConsentDecision, GrantQuery, IntersectionEngine
from workbench.domain.intersection import JobState, KeyKind, Terms
from workbench.domain.party import PartyId
from workbench.errors import NotFound, ProtocolViolation, Refused
from workbench.flows.inputs import Inputs, choose_inputs
from workbench.flows.jobs import Job
from workbench.store.memory import give_back_now

if TYPE_CHECKING:
    from workbench.host import Workbench

DAY_MS = 86_400_000


class Rules:
    """Rules of one node. They read settings, lists, consents and jobs."""

    def __init__(self, host: Workbench) -> None:
        self._host = host

    def inputs(self, request: Mapping[str, Any], partner: PartyId, job: str = "") -> Inputs:
        """Who of a list may take part now: audience rule and consent applied."""
        host = self._host
        info = host.lists.info(request["list_id"])
        frame = host.lists.frame(request["list_id"])
        kind = KeyKind(request["key_kind"])
        inputs = choose_inputs(
            frame,
            list_name=info.name,
            rule=request.get("audience", ""),
            kind=kind,
            decide=lambda chosen: self.decide(chosen, partner, request["purpose"], kind, job),
        )
        del frame
        give_back_now()
        return inputs

    def decide(
        self, frame: pl.DataFrame, partner: PartyId, purpose: str, kind: KeyKind, job: str = ""
    ) -> ConsentDecision:
        """The registry's answer about a whole list for this purpose and recipient at this instant.

        job: the one that asks; its own uses do not use a grant up.
        """
        registry = self._host.consent
        return registry.decide(frame, GrantQuery(purpose, partner, self._host.now_ms(), kind, job=job))

    def engine(self, named: str = "") -> IntersectionEngine:
        """The engine of this name; Refused ENGINE_LACKS_GUARANTEE when it could not test the floor before the reveal."""
        engine: IntersectionEngine = self._host.engine(named)
        if not engine.guarantees.floor_before_reveal or not engine.guarantees.both_learn:
            raise Refused(
                f"引擎「{engine.name}」不能在揭示前核对人数下限，不能用于此约定",
                f"Engine {engine.name} cannot test the floor before the reveal, which this contract demands",
                code="ENGINE_LACKS_GUARANTEE",
            )
        return engine

    def partner(self, name: str) -> PartyId:
        """A partner of the project; Refused UNKNOWN_PARTY otherwise."""
        if name == self._host.party or name not in self._host.parties():
            known = [one for one in self._host.parties() if one != self._host.party]
            raise Refused(
                f"没有这个伙伴机构。可选：{'、'.join(known)}", f"There is no such partner. Known: {', '.join(known)}",
                code="UNKNOWN_PARTY",
            )  # fmt: skip
        return PartyId(name)

    def purpose(self, code: str) -> None:
        """Pass when the purpose is declared; Refused UNKNOWN_PURPOSE otherwise."""
        known = self._host.purposes()
        if code not in known:
            raise Refused(
                f"没有这个目的。可选：{'、'.join(known)}", f"There is no such purpose. Known: {', '.join(known)}",
                code="UNKNOWN_PURPOSE",
            )  # fmt: skip

    def require_enough(self, inputs: Inputs, floor: int) -> None:
        """Enough customers with a grant: NO_CONSENT without any, TOO_FEW_CUSTOMERS below the floor."""
        if inputs.size == 0:
            raise Refused(
                "受众里没有一位客户对此目的、此接收方有有效授权。合规岗可发起征求授权",
                "No customer of this audience has a live grant for this purpose and recipient. Compliance can ask for consent",
                code="NO_CONSENT",
                details={name: str(count) for name, count in inputs.reasons.items()},
            )
        least = max(floor, self._host.setting("intersection.minimum_input"))
        if inputs.size < least:
            raise Refused(
                f"有授权的客户少于 {least} 位，达不到最小人群。营销岗放宽受众后重试",
                f"Fewer than {least} customers with a grant, below the minimum. Marketing widens the audience",
                code="TOO_FEW_CUSTOMERS",
            )

    def attempts_left(self, partner: PartyId, purpose: str) -> int:
        """How many more attempts this period's budget allows for this partner and purpose (decision 13)."""
        host = self._host
        since = host.now_ms() - host.setting("intersection.period_days") * DAY_MS
        with host.store.read() as reader:
            row = reader.execute(
                "SELECT (SELECT count(*) FROM host_attempt WHERE partner = ?1 AND purpose = ?2 AND started_ms > ?3) + "
                # Attempts whose rows an older copy did not have: spent all the same (docs/protocols/ledger.md section 5.4).
                "(SELECT count(*) FROM restore_attempt WHERE partner = ?1 AND purpose = ?2 AND started_ms > ?3) AS n",
                (partner, purpose, since),
            ).fetchone()
        return max(0, int(host.setting("intersection.attempts_per_period")) - int(row["n"]))

    def require_budget(self, partner: PartyId, purpose: str) -> None:
        """Attempts left for this partner and purpose (decision 13); Refused BUDGET_SPENT otherwise."""
        if not self.attempts_left(partner, purpose):
            limit = self._host.setting("intersection.attempts_per_period")
            raise Refused(
                f"对该伙伴与目的的尝试已达 {limit} 次上限。合规岗可调整预算",
                f"The budget of {limit} attempts for this partner and purpose is spent. Compliance can change it",
                code="BUDGET_SPENT",
            )

    def require_open(self, job: Job) -> None:
        """The proposal still waits for a decision: NOT_NOW once decided, EXPIRED past its time."""
        if job.state is not JobState.EXPIRED and job.state is not JobState.PROPOSED:
            raise Refused(
                "这份提议已经有了决定", "This proposal has been decided", code="NOT_NOW", details={"state": job.state.value}
            )
        self.require_valid(job)

    def require_valid(self, job: Job) -> None:
        """The terms are still in time; Refused EXPIRED otherwise."""
        if job.terms.valid_until_ms <= self._host.now_ms():
            raise Refused("提议已过期，请重新提议", "The proposal has expired; propose again", code="EXPIRED")

    def require_proposal_for_us(self, terms: Terms, peer: PartyId) -> None:
        """A proposal that names us, its sender and terms we could run; ProtocolViolation or Refused otherwise."""
        self.purpose(terms.purpose)
        self.engine(terms.engine)
        if terms.initiator != peer or terms.partner != self._host.party or terms.mode != "direct":
            raise ProtocolViolation("提议的双方不对", "The parties of the proposal are wrong", code="WRONG_PARTY")
        if not 1 <= terms.minimum_crowd <= 10**9 or terms.valid_until_ms <= self._host.now_ms():
            raise ProtocolViolation("提议的条款不可信", "The terms are not plausible", code="BAD_TERMS")

    def negotiated(self, job_id: str, peer: PartyId, *, side: str = "") -> Job:
        """A job with this partner, on this side; NotFound otherwise."""
        job = self._host.jobs.get(job_id)
        if job.partner != peer or (side and job.side != side):
            raise NotFound("没有这次求交", "There is no such intersection", code="NO_JOB")
        return job
