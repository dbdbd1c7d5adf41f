"""The start of an attempt: who may take part now, what both commit to, and the contract that both sign.

Document: docs/protocols/intersection.md sections 2 and 3.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.channel.conversation import Conversation
from workbench.contracts import GrantQuery, LearnsLists, Session, Transaction
from workbench.domain.contract import Contract, contract_signing_bytes, terms_digest
from workbench.domain.intersection import Offer, Terms
from workbench.domain.party import PartyId
from workbench.errors import ProtocolViolation, Refused
from workbench.flows.inputs import Inputs
from workbench.flows.jobs import Job
from workbench.flows.list_history import ListHistory
from workbench.flows.near_duplicates import NearDuplicate
from workbench.flows.parsing import decode, encode, parsed_offer, parsed_times
from workbench.flows.rules import Rules
from workbench.store.memory import give_back_now

if TYPE_CHECKING:
    from workbench.host import Workbench


class Agreement:
    """Consent, commitments and contract of the attempts of one node."""

    def __init__(self, host: Workbench, rules: Rules) -> None:
        self._host = host
        self._rules = rules
        self.history = ListHistory(host)

    def reach(self, talk: Conversation, job: Job) -> tuple[Inputs, Contract, Session]:
        """Filter by consent now, commit, exchange offers, and sign the contract of this attempt."""
        host = self._host
        terms = job.terms
        engine = self._rules.engine(terms.engine)
        inputs = self._rules.inputs({**job.request, "key_kind": terms.key_kind, "purpose": terms.purpose}, job.partner, job.job)
        self._rules.require_enough(inputs, terms.minimum_crowd)
        if isinstance(host.consent, LearnsLists):
            host.consent.forget_large()  # what choosing among a million took, committing to them needs now
        sketch, identifiers = self.history.sketch(inputs.frame[inputs.kind.value]), inputs.identifiers
        inputs = inputs.compressed()
        give_back_now()
        prepared = engine.prepare(
            party=host.party,
            identifiers=identifiers,
            grant_digests=inputs.decision_digests,
            random=host.random,
        )
        self._record_start(talk, job, inputs, prepared.offer, sketch)
        inputs = inputs.packed()
        give_back_now()
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

    def _record_start(self, talk: Conversation, job: Job, inputs: Inputs, offer: Offer, sketch: bytes) -> None:
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
        nearest = self.history.near_duplicates(sketch, job=job.job, partner=job.partner, purpose=job.terms.purpose)
        # In an entry that every attempt has: an entry of its own would tell the partner that our list hardly changed.
        values |= {"near_duplicates": str(len(nearest)), "nearest": nearest[0].job if nearest else ""}

        def change(tx: Transaction) -> None:
            host.jobs.update(tx, job.job, now_ms=host.now_ms(), waterfall=inputs.waterfall)
            host.evidence.append(tx, "intersection.attempt_started", values, job=job.job)
            self.history.remember(tx, sketch, job=job.job, attempt=talk.attempt)
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
