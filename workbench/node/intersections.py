"""Operations of staff on intersections; the business order itself is in workbench/flows/intersection.py."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import Field

from workbench.contracts import (
    GrantQuery,
    OperationContext,
    Transaction,
)
from workbench.crypto import sm3
from workbench.domain.identifiers import looks_like_identifier, mask_id_no, mask_phone, mask_unknown
from workbench.domain.intersection import FINAL_STATES, RUN_AGAIN_STATES, JobState, KeyKind, bucket_of
from workbench.domain.listdigest import export_digest
from workbench.domain.party import PartyId, Role
from workbench.errors import Refused
from workbench.flows.inputs import Inputs, choose_inputs
from workbench.flows.jobs import Job
from workbench.flows.list_history import ListHistory
from workbench.flows.rules import Rules
from workbench.operations import Operation, Reply, Request
from workbench.store.frames import get_frame

if TYPE_CHECKING:
    from workbench.host import Workbench

WORKS = frozenset({Role.MARKETING})
READS = frozenset({Role.MARKETING, Role.APPROVER, Role.COMPLIANCE, Role.OPERATOR, Role.AUDITOR, Role.REGULATOR})
APPROVES = frozenset({Role.APPROVER})
EXPORT_TRIES = 5
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Propose(Request):
    """list_id: id of the list, "" for the newest. audience: rule, "" for everybody. columns: tags for the target list.

    campaign: this institution's own name for the occasion; recorded as a commitment, never sent.
    """

    list_id: str = ""
    partner: str
    purpose: str
    key_kind: KeyKind = KeyKind.PHONE
    audience: str = Field(default="", max_length=2000)
    minimum_crowd: int = Field(default=50, ge=1, le=10_000_000)
    timeout_s: int = Field(default=600, ge=1, le=86_400)
    columns: list[str] = Field(default=[], max_length=50)
    campaign: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,64}$")


class JobRequest(Request):
    job: str


class ApproveRequest(Request):
    """list_id: which of our lists takes part, "" for the newest. automatic: only in demo and test workspaces, recorded."""

    job: str
    list_id: str = ""
    audience: str = Field(default="", max_length=2000)
    columns: list[str] = Field(default=[], max_length=50)
    automatic: bool = False


class RejectRequest(Request):
    job: str
    reason: str = Field(min_length=1, max_length=500)


class CloseDispute(Request):
    """finding: what comparing the two evidence packages showed; kept in evidence, never sent."""

    job: str
    finding: str = Field(min_length=5, max_length=1000)


class PreviewRequest(Request):
    """What an approval, or a proposal, would bring in; job "" together with partner, purpose and key_kind."""

    job: str = ""
    list_id: str = ""
    partner: str = ""
    purpose: str = ""
    key_kind: KeyKind = KeyKind.PHONE
    audience: str = Field(default="", max_length=2000)


class PreviewReply(Reply):
    """waterfall: rows {code, zh, en, kept, removed, reasons}; seconds and bytes: estimate of the engine.

    near_duplicates: {job, share} of earlier jobs with this partner and purpose whose list of ours was nearly the same,
    the nearest first, at most 5. attempts_left: for this partner and purpose, of attempts_limit in period_days.
    """

    list_id: str
    list_name: str
    customers: int
    bucket: int
    waterfall: list[dict[str, Any]]
    reasons: dict[str, int]
    seconds: float
    bytes: int
    engine: str
    security_zh: str
    security_en: str
    learns_zh: list[str]
    learns_en: list[str]
    near_duplicates: list[dict[str, Any]]
    attempts_left: int
    attempts_limit: int
    period_days: int


class JobInfo(Reply):
    """One job as this side sees it; partner_bucket is all that is known of the partner's list size.

    phases: {name, since_ms} of the last attempt in order, still there when it is over; the last one ended at updated_ms.
    error: of a disputed job that was looked into, also dispute_closed_ms and dispute_closed_by.
    """

    job: str
    side: str
    partner: str
    state: str
    is_final: bool
    can_run_again: bool
    attempt: int
    purpose: str
    key_kind: str
    minimum_crowd: int
    engine: str
    valid_until_ms: int
    proposed_by: str
    approved_by: str
    request: dict[str, Any]
    waterfall: list[dict[str, Any]]
    progress: dict[str, Any]
    phases: list[dict[str, Any]]
    result: dict[str, Any]
    error: dict[str, Any]
    created_ms: int
    updated_ms: int


class JobsReply(Reply):
    jobs: list[JobInfo]


class ResultRequest(Request):
    """offset, limit: which rows, sorted by the key."""

    job: str
    offset: int = Field(default=0, ge=0)
    limit: int = Field(default=20, ge=1, le=500)


class ResultReply(Reply):
    """rows: masked. token: the name of the customer within this job."""

    job: str
    total: int
    columns: list[str]
    rows: list[dict[str, str]]


class ExportRequest(Request):
    """columns: tags in the file besides customer_id and the key; automatic: `--out` of the command, recorded.

    contact: channel by which the customers will be contacted; who refused it, or did not agree to it, is left out.
    """

    job: str
    columns: list[str] = Field(default=[], max_length=50)
    automatic: bool = False
    contact: str = Field(default="", max_length=40)


class ExportReply(Reply):
    """download: id of the file, to be taken once. withheld: customers without a live grant at this moment, or of whose
    withdrawal the partner has told."""

    job: str
    customers: int
    withheld: int
    download: str
    name: str


def job_info(host: Workbench, job: Job) -> JobInfo:
    progress = dict(host.flow.progress(job.job))
    return JobInfo(
        job=job.job,
        side=job.side,
        partner=job.partner,
        state=job.state.value,
        is_final=job.is_final,
        can_run_again=job.side == "initiator"
        and (job.state is JobState.APPROVED or (job.attempt > 0 and job.state in RUN_AGAIN_STATES)),
        attempt=job.attempt,
        purpose=job.terms.purpose,
        key_kind=job.terms.key_kind.value,
        minimum_crowd=job.terms.minimum_crowd,
        engine=job.terms.engine,
        valid_until_ms=job.terms.valid_until_ms,
        proposed_by=host.person_named(job.proposed_by) if job.proposed_by else "",
        approved_by=host.person_named(job.approved_by) if job.approved_by else "",
        request=dict(job.request),
        waterfall=[dict(row) for row in job.waterfall],
        progress=progress,
        phases=list(job.progress.get("phases", [])),
        result=dict(job.result),
        error=dict(job.error),
        created_ms=job.created_ms,
        updated_ms=job.updated_ms,
    )  # fmt: skip


def customer_token(host: Workbench, job: str, customer_id: str) -> str:
    """The name of a customer within one job: the same person has another token in another job."""
    digest = host.vault.token("customer-token", f"{job}\n{customer_id}".encode()).hex().upper()
    return f"C-{digest[:4]}-{digest[4:8]}"


def _preview(ctx: OperationContext, request: PreviewRequest) -> PreviewReply:
    host = ctx.host
    if request.job:
        job = host.jobs.get(request.job)
        partner, purpose, kind = job.partner, job.terms.purpose, job.terms.key_kind
    else:
        partner, purpose, kind = PartyId(request.partner), request.purpose, request.key_kind
    info = host.lists.info(request.list_id) if request.list_id else host.lists.newest()
    registry = host.consent
    query = GrantQuery(purpose, partner, host.now_ms(), kind, job=request.job)
    inputs = choose_inputs(
        host.lists.frame(info.list_id),
        list_name=info.name,
        rule=request.audience,
        kind=kind,
        decide=lambda chosen: registry.decide(chosen, query),
    )
    _require_crowd(host, inputs)
    engine = host.engine()
    bucket = bucket_of(max(1, inputs.size))
    seconds, size = engine.estimate(inputs.size, bucket)
    return PreviewReply(
        list_id=info.list_id,
        list_name=info.name,
        customers=inputs.size,
        bucket=bucket,
        waterfall=inputs.waterfall,
        reasons=dict(inputs.reasons),
        seconds=round(seconds, 2),
        bytes=size,
        engine=f"{engine.name}/{engine.version}",
        security_zh=engine.guarantees.security_model_zh,
        security_en=engine.guarantees.security_model_en,
        learns_zh=list(engine.guarantees.learns_zh),
        learns_en=list(engine.guarantees.learns_en),
        near_duplicates=_near_duplicates(host, request.job, partner, purpose, inputs),
        attempts_left=Rules(host).attempts_left(partner, purpose),
        attempts_limit=int(host.setting("intersection.attempts_per_period")),
        period_days=int(host.setting("intersection.period_days")),
    )


def _require_crowd(host: Workbench, inputs: Inputs) -> None:
    """A rule that fits a handful would tell who of them has consented: the gate refuses it, and records that."""
    floor = int(host.setting("intersection.minimum_crowd"))
    if inputs.waterfall[1]["kept"] < floor:
        raise Refused(
            f"符合受众规则的客户少于 {floor} 位，不给出人数与授权情况。请放宽规则；这次尝试已记录",
            f"Fewer than {floor} customers fit this rule: no counts are given. Widen it; this attempt was recorded",
            code="NARROW_AUDIENCE",
        )


def _near_duplicates(host: Workbench, job: str, partner: PartyId, purpose: str, inputs: Inputs) -> list[dict[str, Any]]:
    """What the run would warn about (decision 13), told before anybody proposes or approves; it stays at this node."""
    if not inputs.size:
        return []
    history = ListHistory(host)
    found = history.near_duplicates(
        history.sketch(inputs.frame[inputs.kind.value]), job=job, partner=partner, purpose=purpose
    )
    return [{"job": one.job, "share": round(one.share, 3)} for one in found[:5]]


def _propose(ctx: OperationContext, request: Propose) -> JobInfo:
    host = ctx.host
    values = request.model_dump(mode="json")
    values["list_id"] = request.list_id or host.lists.newest().list_id
    _require_columns(host, values["list_id"], request.columns)
    return job_info(host, host.flow.propose(ctx.caller, values))


def _require_columns(host: Workbench, list_id: str, columns: list[str]) -> None:
    known = {*host.lists.info(list_id).tags, "risk_level", "name"}
    unknown = [name for name in columns if name not in known]
    if unknown:
        raise Refused(
            f"名单里没有这些列：{'、'.join(unknown)}",
            f"The list has no such columns: {', '.join(unknown)}",
            code="UNKNOWN_COLUMN",
        )


def _approve(ctx: OperationContext, request: ApproveRequest) -> JobInfo:
    host = ctx.host
    host.jobs.get(request.job)
    list_id = request.list_id or host.lists.newest().list_id
    _require_columns(host, list_id, request.columns)
    job = host.flow.approve(
        ctx.caller,
        request.job,
        list_id=list_id,
        audience=request.audience,
        columns=list(request.columns),
        automatic=request.automatic,
    )
    return job_info(host, job)


def _reject(ctx: OperationContext, request: RejectRequest) -> JobInfo:
    return job_info(ctx.host, ctx.host.flow.reject(ctx.caller, request.job, request.reason))


def _close_dispute(ctx: OperationContext, request: CloseDispute) -> JobInfo:
    """Write down what the comparison showed. The job stays DISPUTED, and nobody can export its result."""
    host, actor = ctx.host, ctx.caller.person

    def change(tx: Transaction) -> None:
        job = host.jobs.get(request.job, tx=tx)
        if job.state is not JobState.DISPUTED or "dispute_closed_ms" in job.error:
            raise Refused(
                f"{request.job} 没有待对照的争议，没有记录。在首页看哪些还在等",
                f"{request.job} has no dispute that waits; nothing was written. See Home for those that wait",
                code="NO_DISPUTE", details={"state": job.state.value},
            )  # fmt: skip
        error = {**job.error, "dispute_closed_ms": host.now_ms(), "dispute_closed_by": host.person_named(actor.token)}
        host.jobs.update(tx, request.job, now_ms=job.updated_ms, error=error)  # it ended when it ended
        values = {"partner": str(job.partner), "finding": request.finding}
        host.evidence.append(tx, "intersection.dispute_closed", values, job=request.job, actor=actor.token)

    host.store.write(change)
    return job_info(host, host.jobs.get(request.job))


def _record_request(ctx: OperationContext, kind: str, job_id: str) -> None:
    """Who asked, before anything happens: what follows is the work of the node itself and names nobody."""
    job = ctx.host.jobs.get(job_id)
    values = {"partner": str(job.partner), "attempt": str(job.attempt)}
    actor = ctx.caller.person.token
    ctx.host.store.write(lambda tx: ctx.host.evidence.append(tx, kind, values, job=job_id, actor=actor))


def _run(ctx: OperationContext, request: JobRequest) -> JobInfo:
    _record_request(ctx, "intersection.run_requested", request.job)
    ctx.host.flow.start(request.job)
    return job_info(ctx.host, ctx.host.jobs.get(request.job))


def _cancel(ctx: OperationContext, request: JobRequest) -> JobInfo:
    _record_request(ctx, "intersection.cancel_requested", request.job)
    return job_info(ctx.host, ctx.host.flow.cancel(ctx.caller, request.job))


def _job(ctx: OperationContext, request: JobRequest) -> JobInfo:
    return job_info(ctx.host, ctx.host.jobs.get(request.job))


def _jobs(ctx: OperationContext, request: Request) -> JobsReply:
    return JobsReply(jobs=[job_info(ctx.host, job) for job in ctx.host.jobs.all()])


def released_list(host: Workbench, job_id: str) -> tuple[Job, pl.DataFrame]:
    job = host.jobs.get(job_id)
    if job.state is not JobState.RELEASED:
        why = "还没有共签封存" if job.state is JobState.SEALING else "没有放行"
        raise Refused(
            f"{job_id} {why}，没有可取的名单", f"{job_id} is {job.state}; there is no list to take",
            code="NOT_FINAL" if job.state not in FINAL_STATES else "NOT_RELEASED",
        )  # fmt: skip
    with host.store.read() as reader:
        return job, get_frame(reader, host.vault, f"result/{job_id}")


def _result(ctx: OperationContext, request: ResultRequest) -> ResultReply:
    host = ctx.host
    job, frame = released_list(host, request.job)
    page = frame.slice(request.offset, request.limit)
    mask = mask_phone if job.terms.key_kind is KeyKind.PHONE else mask_id_no
    key = job.terms.key_kind.value
    shown = [name for name in frame.columns if name not in ("customer_id", "name")]
    rows = []
    for row in page.iter_rows(named=True):
        masked = {name: _shown("" if row[name] is None else str(row[name])) for name in shown}
        masked[key] = mask(row[key])
        rows.append({"token": customer_token(host, job.job, row["customer_id"]), **masked})
    host.store.write(
        lambda tx: host.evidence.append(
            tx, "intersection.viewed", {"rows": str(len(rows))}, job=job.job, actor=ctx.caller.person.token
        )
    )
    return ResultReply(job=job.job, total=frame.height, columns=["token", *shown], rows=rows)


def _shown(text: str) -> str:
    """A tag as it is, unless somebody's number stands in it: a file may hold a second phone under any header."""
    return mask_unknown(text) if looks_like_identifier(text) else text


def _export(ctx: OperationContext, request: ExportRequest) -> ExportReply:
    """Consent is checked once more at this very moment; who has withdrawn since is left out (decision 10).

    A withdrawal, here or told by the partner, that comes while the file is made starts it anew: nobody is in a file whose
    entry follows that of their withdrawal.
    """
    for _ in range(EXPORT_TRIES):
        reply = _export_once(ctx, request)
        if reply is not None:
            ctx.host.sealing.wake()
            return reply
    raise Refused(
        f"{request.job} 导出时不断有撤回到来，没有导出。请稍后再试",
        f"withdrawals kept arriving while {request.job} was exported; nothing was exported. Try again later",
        code="EXPORT_BUSY",
    )


def _export_once(ctx: OperationContext, request: ExportRequest) -> ExportReply | None:
    """One try; None when somebody withdrew meanwhile, and nothing was written."""
    host = ctx.host
    if request.automatic and host.kind == "production":
        raise Refused("生产环境不能由命令直接导出", "The command cannot export in production", code="NOT_IN_PRODUCTION")
    job, frame = released_list(host, request.job)
    key_kind = job.terms.key_kind
    registry = host.consent
    with host.store.read() as reader:
        told = host.withdrawals.state_of_stops(reader, job.job)
    customers = host.lists.frame(job.request["list_id"])  # all of it: others may share a key (decision 16)
    decision = registry.decide(customers, GrantQuery(job.terms.purpose, job.partner, host.now_ms(), key_kind, contact=request.contact, job=job.job))
    live = customers.filter(pl.Series(decision.usable)).select("customer_id", key_kind.value)
    kept = frame.join(live, on=["customer_id", key_kind.value], how="semi").sort(key_kind.value)
    kept = kept.filter(~pl.Series(host.withdrawals.stopped(job.job, kept[key_kind.value].to_list()), dtype=pl.Boolean))
    columns = ["customer_id", key_kind.value, *[name for name in request.columns if name not in ("customer_id", key_kind.value)]]
    unknown = [name for name in columns if name not in frame.columns]
    if unknown:
        raise Refused(
            f"约定里没有这些列：{'、'.join(unknown)}", f"The agreed list has no such columns: {', '.join(unknown)}",
            code="UNKNOWN_COLUMN",
        )  # fmt: skip
    host.guard(
        "export", job=job.job, partner=job.partner, purpose=job.terms.purpose, customers=str(kept.height),
        columns=",".join(columns),
    )  # fmt: skip
    data = csv_bytes(kept.select(columns))
    digest_key = host.random(32)
    name = f"{job.job}.csv"

    def change(tx: Transaction) -> str:
        if host.withdrawals.newest_event(tx) > decision.as_of or host.withdrawals.state_of_stops(tx, job.job) != told:
            return ""
        host.evidence.append(
            tx,
            "intersection.exported",
            {
                "customers": str(kept.height),
                "withheld": str(frame.height - kept.height),
                "columns": json.dumps(columns, ensure_ascii=False),
                "key_kind": key_kind.value,
                "file_sm3": sm3.digest(data).hex(),
                "list_digest": export_digest(digest_key, kept[key_kind.value].to_list()).hex(),
                "list_key": digest_key.hex(),
                "automatic": "yes" if request.automatic else "no",
            },
            job=job.job,
            actor=ctx.caller.person.token,
        )
        return str(host.downloads.offer(tx, ctx.caller, name, data))

    download = host.store.write(change)
    if not download:
        return None
    return ExportReply(
        job=job.job, customers=kept.height, withheld=frame.height - kept.height, download=download, name=name
    )


def csv_bytes(frame: pl.DataFrame) -> bytes:
    """UTF-8 with BOM, CRLF lines; cells that a spreadsheet would run as a formula get a leading apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([_plain(name) for name in frame.columns])
    for row in frame.iter_rows():
        writer.writerow([_plain("" if cell is None else str(cell)) for cell in row])
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def _plain(cell: str) -> str:
    return "'" + cell if cell.startswith(FORMULA_STARTS) else cell


def _operation(name: str, zh: str, en: str, request: type[Request], reply: type[Reply], run: Any, **rest: Any) -> Operation:
    return Operation(name=name, zh=zh, en=en, request=request, reply=reply, run=run, **rest)


class AllJobs(Request):
    """No parameters."""


INTERSECTION_OPERATIONS = (
    _operation("intersection.preview", "试算授权与耗时", "estimate consent and cost", PreviewRequest, PreviewReply, _preview,
               roles=WORKS | APPROVES | {Role.COMPLIANCE}, weak_token=True, reads_only=True),
    _operation("intersection.propose", "提议求交", "propose an intersection", Propose, JobInfo, _propose,
               roles=WORKS, weak_token=True, evidence=("intersection.proposed", "intersection.message")),
    _operation("intersection.approve", "批准求交", "approve an intersection", ApproveRequest, JobInfo, _approve,
               roles=APPROVES, fresh_password=True, evidence=("intersection.approved",)),
    _operation("intersection.reject", "拒绝求交", "reject an intersection", RejectRequest, JobInfo, _reject,
               roles=APPROVES | {Role.COMPLIANCE}, evidence=("intersection.rejected",)),
    _operation("intersection.run", "重新运行求交", "run an intersection again", JobRequest, JobInfo, _run,
               roles=WORKS, weak_token=True, evidence=("intersection.run_requested", "intersection.attempt_started")),
    _operation("intersection.cancel", "取消求交", "cancel an intersection", JobRequest, JobInfo, _cancel,
               roles=WORKS | APPROVES | {Role.COMPLIANCE}, weak_token=True, evidence=("intersection.cancel_requested", "intersection.ended")),
    _operation("intersection.close_dispute", "办结争议", "close a dispute", CloseDispute, JobInfo, _close_dispute,
               roles=frozenset({Role.COMPLIANCE}), evidence=("intersection.dispute_closed",)),
    _operation("intersection.job", "查看一次求交", "read one intersection", JobRequest, JobInfo, _job,
               roles=READS, weak_token=True, reads_only=True),
    _operation("intersection.jobs", "查看求交列表", "list intersections", AllJobs, JobsReply, _jobs,
               roles=READS, weak_token=True, reads_only=True),
    _operation("intersection.result", "查看目标名单（遮盖）", "read the masked target list", ResultRequest, ResultReply, _result,
               roles=WORKS | {Role.COMPLIANCE}, weak_token=True, evidence=("intersection.viewed",)),
    _operation("intersection.export", "导出目标名单", "export the target list", ExportRequest, ExportReply, _export,
               roles=WORKS, fresh_password=True, evidence=("intersection.exported",)),
)  # fmt: skip
