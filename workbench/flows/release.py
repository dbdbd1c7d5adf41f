"""Release and sealing: the target list and its entry in one transaction, final once both institutions co-signed.

Document: docs/protocols/intersection.md section 9, docs/protocols/evidence.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.channel.conversation import Conversation
from workbench.contracts import IntersectionOutcome, Transaction
from workbench.domain.contract import Contract
from workbench.domain.intersection import JobState
from workbench.domain.listdigest import export_digest
from workbench.domain.party import PartyId
from workbench.errors import Disputed, PeerUnavailable, ProtocolViolation
from workbench.flows import waterfall
from workbench.flows.endings import RUNNING_STATES, Endings
from workbench.flows.inputs import Inputs, released_frame
from workbench.flows.jobs import Job
from workbench.flows.parsing import parsed_place
from workbench.flows.rules import Rules
from workbench.store.frames import stage_frame

if TYPE_CHECKING:
    from workbench.host import Workbench

EXPECTING_RELEASE = RUNNING_STATES | {JobState.SEALING}
"""States of an attempt in which the partner may already have released."""


class Releases:
    """Releases of one node."""

    def __init__(self, host: Workbench, rules: Rules, endings: Endings) -> None:
        self._host = host
        self._rules = rules
        self._endings = endings

    def release(
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
        # Before the change: the one writer has better things to do than to hash a list.
        list_digest = export_digest(key, frame[job.terms.key_kind.value].to_list())
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
                    "list_digest": list_digest.hex(),
                    "list_key": key.hex(),
                },
                job=job.job,
            )
            placed = {"own_index": ref.index, "own_leaf": ref.leaf.hex()}
            known = host.jobs.get(job.job, tx=tx).result  # the partner's notice may have come first
            host.jobs.move(tx, job.job, JobState.SEALING, now_ms=now, waterfall=rows, result={**known, **result, **placed})
            self._endings.close_attempt(tx, talk, JobState.SEALING)
            self.queue_notice(tx, host.jobs.get(job.job, tx=tx))

        try:
            host.store.write(change)
        except BaseException:
            host.vault.discard(staged)
            raise
        host.negotiations.wake()
        host.sealing.wake()

    def queue_notice(self, tx: Transaction, job: Job) -> None:
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
