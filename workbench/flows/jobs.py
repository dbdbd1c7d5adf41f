"""Intersection jobs as rows: states, the allowed steps between them, and what a restart makes of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.contracts import Store, Transaction
from workbench.domain.intersection import FINAL_STATES, JobId, JobState, Terms
from workbench.domain.party import PartyId
from workbench.errors import NotFound, Refused

S = JobState
_JSON_COLUMNS = frozenset({"terms", "request", "waterfall", "progress", "result", "error"})

NEXT_STATES: dict[JobState, frozenset[JobState]] = {
    S.PROPOSED: frozenset({S.APPROVED, S.REJECTED, S.WITHDRAWN, S.EXPIRED, S.CANCELLED, S.ABORTED}),
    S.APPROVED: frozenset({S.RUNNING, S.WITHDRAWN, S.EXPIRED, S.CANCELLED, S.ABORTED}),
    S.RUNNING: frozenset({S.REVEALING, S.REFUSED_SMALL, S.CANCELLED, S.ABORTED, S.ABORTED_AFTER_REVEAL, S.DISPUTED}),
    S.REVEALING: frozenset({S.CHECKING, S.ABORTED_AFTER_REVEAL, S.DISPUTED}),
    S.CHECKING: frozenset({S.SEALING, S.REFUSED_SMALL, S.ABORTED_AFTER_REVEAL, S.DISPUTED}),
    S.SEALING: frozenset({S.RELEASED, S.ABORTED_AFTER_REVEAL, S.DISPUTED}),
    S.ABORTED: frozenset({S.RUNNING, S.EXPIRED}),
    S.ABORTED_AFTER_REVEAL: frozenset({S.RUNNING, S.EXPIRED}),
}
"""Which state may follow which; everything else is a programming mistake and raises."""

RECOVERY: dict[JobState, JobState | None] = {
    S.PROPOSED: None,
    S.APPROVED: None,
    S.RUNNING: S.ABORTED,
    S.REVEALING: S.ABORTED_AFTER_REVEAL,
    S.CHECKING: S.ABORTED_AFTER_REVEAL,
    S.SEALING: None,
}
"""What a restarted node makes of a job found in this state; None: it goes on as it is. Final states stay."""


@dataclass(frozen=True, slots=True)
class Job:
    """One intersection as this side sees it.

    side: "initiator" or "partner". request: this side's own choices (list, audience, columns, time-outs); never sent.
    waterfall: rows {code, zh, en, kept, removed, reasons}. result and error: plain values for pages. progress: when the
    phases of the last attempt began, see with_phase.
    """

    job: JobId
    side: str
    partner: PartyId
    state: JobState
    attempt: int
    terms: Terms
    request: Mapping[str, Any]
    waterfall: tuple[Mapping[str, Any], ...]
    progress: Mapping[str, Any]
    result: Mapping[str, Any]
    error: Mapping[str, Any]
    proposed_by: str
    approved_by: str
    created_ms: int
    updated_ms: int

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES


@dataclass(slots=True)
class JobRows:
    """Reads and writes host_job; every write happens in the caller's transaction beside its evidence."""

    store: Store

    def add(self, tx: Transaction, *, terms: Terms, side: str, request: Mapping[str, Any], proposed_by: str, now_ms: int) -> None:
        """A new job in state PROPOSED; Refused when the id exists."""
        if tx.execute("SELECT 1 FROM host_job WHERE job = ?", (terms.job,)).fetchone():
            raise Refused("这个编号已经有一次求交", "A job with this id already exists", code="JOB_EXISTS")
        partner = terms.partner if side == "initiator" else terms.initiator
        tx.execute(
            "INSERT INTO host_job(job, side, partner, state, terms, request, proposed_by, created_ms, updated_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (terms.job, side, partner, S.PROPOSED, _text(terms.as_json()), _text(request), proposed_by, now_ms, now_ms),
        )

    def get(self, job: str, *, tx: Transaction | None = None) -> Job:
        """The job; NotFound when there is none."""
        query = "SELECT * FROM host_job WHERE job = ?"
        if tx is not None:
            row = tx.execute(query, (job,)).fetchone()
        else:
            with self.store.read() as reader:
                row = reader.execute(query, (job,)).fetchone()
        if row is None:
            raise NotFound("没有这次求交", "There is no such intersection", code="NO_JOB")
        return _job(row)

    def all(self, *, limit: int = 500) -> list[Job]:
        """Jobs, the most recently changed first."""
        with self.store.read() as reader:
            rows = reader.execute("SELECT * FROM host_job ORDER BY updated_ms DESC, job LIMIT ?", (limit,)).fetchall()
        return [_job(row) for row in rows]

    def move(self, tx: Transaction, job: str, state: JobState, *, now_ms: int, **changes: Any) -> Job:
        """Change the state along NEXT_STATES and, with it, any of the JSON columns, attempt or people.

        Refused NOT_NOW when the job is in a state from which this step is not allowed, EXPIRED when its time ran out: who
        decides at that very moment must hear the same as who decides a second later.
        """
        current = self.get(job, tx=tx)
        if state not in NEXT_STATES.get(current.state, frozenset()):
            raise Refused(
                f"这次求交现在是「{current.state}」，不能变为「{state}」",
                f"This intersection is {current.state} and cannot become {state}",
                code="EXPIRED" if current.state is S.EXPIRED else "NOT_NOW",
                details={"state": current.state.value},
            )
        self._set(tx, job, now_ms, {"state": state.value, **changes})
        return self.get(job, tx=tx)

    def update(self, tx: Transaction, job: str, *, now_ms: int, **changes: Any) -> None:
        """Change columns without changing the state."""
        self._set(tx, job, now_ms, changes)

    def unfinished(self) -> list[Job]:
        """Jobs for which RECOVERY has a rule."""
        return [job for job in self.all(limit=100_000) if job.state in RECOVERY]

    def in_state(self, state: JobState) -> list[Job]:
        """Jobs in one state, oldest change first."""
        with self.store.read() as reader:
            rows = reader.execute("SELECT * FROM host_job WHERE state = ? ORDER BY updated_ms", (state,)).fetchall()
        return [_job(row) for row in rows]

    def earlier_waterfalls(self, partner: PartyId, purpose: str, *, limit: int) -> list[list[dict[str, Any]]]:
        """Waterfalls of the newest released jobs with this partner for this purpose, the newest first."""
        with self.store.read() as reader:
            rows = reader.execute(
                "SELECT waterfall FROM host_job WHERE state = ? AND partner = ? AND json_extract(terms, '$.purpose') = ?"
                " ORDER BY updated_ms DESC, job LIMIT ?",
                (S.RELEASED, partner, purpose, limit),
            ).fetchall()
        return [json.loads(row["waterfall"]) for row in rows]

    def _set(self, tx: Transaction, job: str, now_ms: int, changes: Mapping[str, Any]) -> None:
        columns = {name: _text(value) if name in _JSON_COLUMNS else value for name, value in changes.items()}
        columns["updated_ms"] = now_ms
        names = ", ".join(f"{name} = ?" for name in columns)
        tx.execute(f"UPDATE host_job SET {names} WHERE job = ?", (*columns.values(), job))


def with_phase(progress: Mapping[str, Any], name: str, now_ms: int) -> dict[str, Any]:
    """What host_job.progress keeps of an attempt: {phases: [{name, since_ms}]} in order, one phase longer."""
    return {**progress, "phases": [*progress.get("phases", []), {"name": name, "since_ms": now_ms}]}


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _job(row: Any) -> Job:
    return Job(
        job=JobId(row["job"]),
        side=row["side"],
        partner=PartyId(row["partner"]),
        state=JobState(row["state"]),
        attempt=row["attempt"],
        terms=Terms.from_json(json.loads(row["terms"])),
        request=json.loads(row["request"]),
        waterfall=tuple(json.loads(row["waterfall"])),
        progress=json.loads(row["progress"]),
        result=json.loads(row["result"]),
        error=json.loads(row["error"]),
        proposed_by=row["proposed_by"],
        approved_by=row["approved_by"],
        created_ms=row["created_ms"],
        updated_ms=row["updated_ms"],
    )
