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
from workbench.flows.baseline import compare_with_baseline
from workbench.flows.endings import RUNNING_STATES, Endings
from workbench.flows.inputs import Inputs, released_frame
from workbench.flows.jobs import Job, with_phase
from workbench.flows.parsing import parsed_place
from workbench.flows.rules import Rules
from workbench.store.frames import stage_frame

if TYPE_CHECKING:
    from workbench.host import Workbench

EXPECTING_RELEASE = RUNNING_STATES | {JobState.SEALING}
"""States of an attempt in which the partner may already have released."""
HOUR_MS = 3_600_000
SETTLING_MS = 5 * 60_000
"""After a start, before an old release is given up: what arrived while this node was off comes within this time."""
MISSING = {
    "release-entry": ("没有告知其放行记录", "has not named its release entry"),
    "mirror": ("没有送来含其放行记录的日志", "has not sent the part of its log that holds its release entry"),
    "co-signature": ("没有共签本机构的放行记录", "has not co-signed this institution's release entry"),
}
"""What a release can lack, by the word in evidence and details: what the partner owes, in two languages."""


class Releases:
    """Releases of one node."""

    def __init__(self, host: Workbench, rules: Rules, endings: Endings) -> None:
        self._host = host
        self._rules = rules
        self._endings = endings
        self._began_ms = host.now_ms()

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
            "baseline": compare_with_baseline(
                rows,
                host.jobs.earlier_waterfalls(job.partner, job.terms.purpose, limit=int(host.setting("intersection.baseline_jobs"))),
                threshold=float(host.setting("intersection.baseline_deviation")),
                floor=max(job.terms.minimum_crowd, int(host.setting("intersection.minimum_crowd"))),
            ),
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
            progress = with_phase(host.jobs.get(job.job, tx=tx).progress, "seal", now)
            host.jobs.update(tx, job.job, now_ms=now, progress=progress)
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

        An entry of the partner that does not say what this side released makes the job DISPUTED, and so does what is
        still missing after `intersection.seal_hours`: nobody keeps a list waiting for ever.
        """
        host = self._host
        for job in host.jobs.in_state(JobState.SEALING):
            try:
                missing = host.sealing.missing(job)
                if not missing:
                    self._complete_seal(job)
                elif self._is_overdue(job):
                    raise self._overdue(job, missing)
            except Disputed as dispute:
                self._endings.end(job.job, JobState.DISPUTED, dispute, tell=job.partner, only_from={JobState.SEALING})

    def _is_overdue(self, job: Job) -> bool:
        """Whether a release has waited longer than the settings allow, by this node's recorded clock."""
        host = self._host
        now = host.now_ms()
        with host.store.read() as reader:
            row = reader.execute(
                "SELECT ended_ms FROM host_attempt WHERE job = ? AND attempt = ?", (job.job, job.attempt)
            ).fetchone()
        # Not `updated_ms`: every notice of the partner moves that one.
        released_ms = row["ended_ms"] if row and row["ended_ms"] else job.created_ms
        limit_ms = int(host.setting("intersection.seal_hours") * HOUR_MS)
        return bool(now - released_ms > limit_ms and now - self._began_ms > min(limit_ms, SETTLING_MS))

    def _overdue(self, job: Job, missing: str) -> Disputed:
        zh, en = MISSING[missing]
        hours = self._host.setting("intersection.seal_hours")
        return Disputed(
            f"{job.job} 放行后 {hours:g} 小时，{job.partner} 仍{zh}。名单已销毁，不得导出；"
            f"请本机构合规岗联系 {job.partner} 合规岗，要求其补交并说明；需要名单时重新提议",
            f"{hours:g} h after the release of {job.job}, {job.partner} still {en}. The list was destroyed and nothing may be"
            f" exported; compliance here asks compliance of {job.partner} for it and for the reason; propose anew for a list",
            code="SEAL_OVERDUE",
            details={"missing": missing},
        )

    def _complete_seal(self, job: Job) -> None:
        host = self._host
        entries = {"own_entry": str(job.result["own_index"]), "partner_entry": str(job.result["partner_index"])}

        def change(tx: Transaction) -> None:
            host.jobs.move(tx, job.job, JobState.RELEASED, now_ms=host.now_ms())
            self._endings.mark_attempt(tx, job.job, job.attempt, JobState.RELEASED)
            host.evidence.append(tx, "intersection.sealed", {"partner": job.partner, **entries}, job=job.job)

        host.store.write(change)
