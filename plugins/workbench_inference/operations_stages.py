"""What staff do with the stages of the trial: read, propose with a report, decide, go back. Document: docs/sandbox-policy.md section 6."""

from __future__ import annotations

from datetime import date
from typing import Any, Final, Literal

from pydantic import Field

from workbench.contracts import OperationContext
from workbench.domain.party import Role
from workbench.errors import VerificationError
from workbench.operations import NoInput, Operation, Reply, Request
from workbench_inference.operations_policy import DECIDERS, READERS, begin_of, end_of, period_of
from workbench_inference.policy import feedback, stages, tables
from workbench_inference.policy.cohort import cap_of
from workbench_inference.policy.customers import CustomerNames
from workbench_inference.policy.stages import OPEN_ASKS, STAGE_NAMES, STAGES, StageRow
from workbench_inference.roles import at_tenant

CLOSERS: Final = DECIDERS | {Role.OPERATOR, Role.ADMIN}
"""Going back is at once and one person's: whoever sees that something is wrong at night."""
Stage = Literal["internal", "invited", "open"]


class StageReport(Reply):
    """What a step rests on. rated: ratings of answers; refused: code -> questions taken in and refused; p95_ms: 95 of 100 answers took
    no longer; up, down: ratings; reasons: (rating, text), identifiers as labels."""

    from_ms: int
    until_ms: int
    asked: int
    rated: int
    up: int
    down: int
    answered: int
    abstained: int
    refused: dict[str, int]
    refused_before: int
    p95_ms: int
    reasons: list[tuple[str, str]]


class StageStep(Reply):
    """One step. state: proposed, decided, declined, outdated, closed; report: SM3 of the ground, "" for a step back; ground: None where
    the report cannot be read as it was proposed. first, second: names of people. may_decide, may_decline: whether who looks may."""

    number: int
    before: str
    after: str
    state: str
    report: str
    ground: StageReport | None
    filing: str
    first: str
    second: str
    made_ms: int
    decided_ms: int
    reason: str
    may_decide: bool
    may_decline: bool


class StageAsks(Reply):
    """What filing or law asks before all customers may come in. origin: filing, excerpt, from memory."""

    origin: str
    zh: str
    en: str


class StagesReply(Reply):
    """stage: in force; next: what may be proposed, "" at the end; back: stages it may be taken back to. asks: of the stage `open`."""

    stage: str
    zh: str
    en: str
    next: str
    back: list[str]
    people: int
    cap: int
    steps: list[StageStep]
    asks: list[StageAsks]


class ProposeStage(Request):
    """to: the next stage. from_day, to_day: period of the report, both included, the last 30 days without them. filing: number of the
    changed filing or approval, needed for `open`."""

    to: Stage
    from_day: date | None = None
    to_day: date | None = None
    filing: str = Field(default="", max_length=120)
    reason: str = Field(min_length=5, max_length=200)


class DecideStage(Request):
    """report: SM3 of the ground that was read. approve: false declines; who proposed may decline, not approve."""

    number: int = Field(ge=1)
    report: str = Field(pattern="^[0-9a-f]{64}$")
    approve: bool
    reason: str = Field(min_length=5, max_length=200)


class CloseStage(Request):
    """to: an earlier stage. Holds for the next question."""

    to: Stage
    reason: str = Field(min_length=5, max_length=200)


def _host(ctx: OperationContext) -> Any:  # Any: the node, with its lists and people
    return ctx.host


def _stages(ctx: OperationContext, request: NoInput) -> StagesReply:
    host = _host(ctx)
    with host.store.read() as reader:
        now = stages.stage(reader)
        steps = [_step(ctx, reader, one) for one in stages.steps(reader)]
        people = tables.cohort_size(reader, host.now_ms())
    at = STAGES.index(now)
    zh, en = STAGE_NAMES[now]
    return StagesReply(
        stage=now, zh=zh, en=en, next=STAGES[at + 1] if at + 1 < len(STAGES) else "", back=list(STAGES[:at]), people=people,
        cap=cap_of(int(host.setting("inference.cohort_cap"))), steps=steps, asks=[StageAsks(origin=origin, zh=one_zh, en=one_en) for origin, one_zh, one_en in OPEN_ASKS],
    )  # fmt: skip


def _step(ctx: OperationContext, reader: Any, row: StageRow) -> StageStep:
    host, person = _host(ctx), ctx.caller.person
    try:
        found = stages.report_of(reader, host, row)
    except VerificationError:
        found = {}
    is_open = row.state == "proposed" and bool(DECIDERS & person.roles)
    return StageStep(
        number=row.number, before=row.before, after=row.after, state=row.state, report=row.report, ground=_ground(found) if found else None, filing=row.filing,
        first=host.person_named(row.first) if row.first else "", second=host.person_named(row.second) if row.second else "", made_ms=row.made_ms, decided_ms=row.decided_ms,
        reason=row.reason, may_decide=is_open and bool(found) and row.first != person.token, may_decline=is_open,
    )  # fmt: skip


def _ground(report: dict[str, Any]) -> StageReport:
    lines = report["lines"]
    sums = {name: sum(one[name] for one in lines) for name in ("answered", "abstained", "up", "down")}
    return StageReport(
        from_ms=report["from_ms"], until_ms=report["until_ms"], asked=report["asked"], rated=report["rated"], p95_ms=report["p95_ms"], refused=report["refused"],
        refused_before=report["refused_before"], reasons=[(rating, text) for one in lines for rating, text in one["reasons"]][: feedback.MOST_REASONS], **sums,
    )  # fmt: skip


def _propose(ctx: OperationContext, request: ProposeStage) -> StagesReply:
    host = _host(ctx)
    from_day, to_day = period_of(host, request.from_day, request.to_day)
    from_ms, until_ms = begin_of(from_day), end_of(to_day)
    known = CustomerNames(host).now()
    with host.store.read() as reader:
        stages.require_next(stages.stage(reader), request.to)
        data = stages.compose(
            feedback.report(reader, known, from_ms=from_ms, until_ms=until_ms), from_ms=from_ms, until_ms=until_ms,
            p95_ms=feedback.p95_of(reader, from_ms=from_ms, until_ms=until_ms), refused=feedback.refusals(reader, from_ms=from_ms, until_ms=until_ms),
            refused_before=feedback.refused_before(reader, from_ms=from_ms, until_ms=until_ms), made_ms=host.now_ms(),
        )  # fmt: skip
    actor = ctx.caller.person.token
    host.store.write(lambda tx: stages.propose(host, tx, after=request.to, report=data, filing=request.filing, actor=actor, reason=request.reason))
    return _stages(ctx, NoInput())


def _decide(ctx: OperationContext, request: DecideStage) -> StagesReply:
    host, actor = _host(ctx), ctx.caller.person.token
    host.store.write(
        lambda tx: stages.decide(host, tx, number=request.number, report=request.report, is_approved=request.approve, actor=actor, reason=request.reason)
    )
    return _stages(ctx, NoInput())


def _close(ctx: OperationContext, request: CloseStage) -> StagesReply:
    host, actor = _host(ctx), ctx.caller.person.token
    host.store.write(lambda tx: stages.close(host, tx, after=request.to, actor=actor, reason=request.reason))
    return _stages(ctx, NoInput())


STAGE_OPERATIONS: Final = at_tenant((
    Operation(
        name="inference.stages", zh="查看试点阶段与其依据", en="read the stages of the trial and what they rest on", request=NoInput, reply=StagesReply,
        roles=READERS, run=_stages, reads_only=True,
    ),
    Operation(
        name="inference.stage_propose", zh="提出进入下一试点阶段", en="propose the next stage of the trial", request=ProposeStage, reply=StagesReply,
        roles=DECIDERS, run=_propose, evidence=("inference.stage_proposed",),
    ),
    Operation(
        name="inference.stage_decide", zh="决定另一人提出的阶段", en="decide a stage that another person proposed", request=DecideStage, reply=StagesReply,
        roles=DECIDERS, run=_decide, fresh_password=True, evidence=("inference.stage_changed", "inference.stage_declined"),
    ),
    Operation(
        name="inference.stage_close", zh="立即退回前面的阶段", en="take the trial back to an earlier stage at once", request=CloseStage, reply=StagesReply,
        roles=CLOSERS, run=_close, evidence=("inference.stage_closed",),
    ),
))  # fmt: skip

__all__ = ["CLOSERS", "STAGE_OPERATIONS", "StageReport", "StageStep", "StagesReply"]
