"""What staff can do with impact assessments, processing records and breach notices. Document: docs/assessment.md."""

from __future__ import annotations

import io
import zipfile
from dataclasses import asdict
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from workbench.contracts import OperationContext, Transaction
from workbench.crypto import sm3
from workbench.domain.party import PartyId, Role
from workbench.errors import InvalidRequest
from workbench.operations import NoInput, Operation, Reply, Request
from workbench_assessment import assessing, gate, records, tables
from workbench_assessment.breach_operations import BREACH_OPERATIONS
from workbench_assessment.model import CONCLUSIONS, GROUNDS, POINTS, RISKS, STATES, Content, as_json, document, missing
from workbench_assessment.tables import CaseRow

SHANGHAI = ZoneInfo("Asia/Shanghai")
COMPLIANCE: Final = frozenset({Role.COMPLIANCE})
DECIDERS: Final = frozenset({Role.COMPLIANCE, Role.APPROVER})
READERS: Final = frozenset({Role.COMPLIANCE, Role.APPROVER, Role.AUDITOR, Role.REGULATOR})
ASKERS: Final = READERS | {Role.MARKETING}


class DraftAssessment(Request):
    """job: an intersection, which names purpose, partner, rule and list; or purpose and recipient. before: the assessment this
    one follows, whose words are taken over. list_id: "" for the list of the job, or the newest.
    """

    purpose: str = Field(default="", max_length=60)
    recipient: str = Field(default="", max_length=40)
    job: str = Field(default="", max_length=64)
    list_id: str = Field(default="", max_length=40)
    before: str = Field(default="", max_length=40)


class AssessmentName(Request):
    assessment: str = Field(max_length=40)


class SaveAssessment(AssessmentName):
    """What a person writes. valid_days: how long it covers from its approval."""

    necessity: str = Field(default="", max_length=8000)
    impact: str = Field(default="", max_length=8000)
    measures: str = Field(default="", max_length=8000)
    risk: Literal["", "low", "medium", "high"] = ""
    residual: str = Field(default="", max_length=4000)
    conclusion: Literal["", "proceed", "conditions", "stop"] = ""
    conditions: str = Field(default="", max_length=4000)
    valid_days: int = Field(default=365, ge=1, le=1096)


class ReasonedAssessment(AssessmentName):
    reason: str = Field(min_length=5, max_length=1000)


class StatusRequest(Request):
    """job, or purpose and recipient: what a page asks before a proposal."""

    job: str = Field(default="", max_length=64)
    purpose: str = Field(default="", max_length=60)
    recipient: str = Field(default="", max_length=40)


class RecordsRequest(Request):
    """Days in Asia/Shanghai, both included; "" for every record. limit: newest first; total says how many there are."""

    from_day: date | None = None
    to_day: date | None = None
    limit: int = Field(default=100, ge=1, le=1000)


class ExportRecords(Request):
    from_day: date | None = None
    to_day: date | None = None
    format: Literal["csv", "json"] = "csv"


class AssessmentInfo(Reply):
    """One assessment. covers: whether it lets a job go on now, its class apart. keep_until_ms: at least so long it is kept."""

    assessment: str
    purpose: str
    purpose_zh: str
    purpose_en: str
    recipient: str
    recipient_zh: str
    recipient_en: str
    data_class: str
    state: str
    state_zh: str
    state_en: str
    conclusion: str
    conclusion_zh: str
    conclusion_en: str
    created_ms: int
    created_by: str
    submitted_by: str
    approved_by: str
    approved_ms: int
    until_ms: int
    keep_until_ms: int
    covers: bool
    digest: str
    before: str


class Point(Reply):
    """One of the three points of PIPL 56, or another field still to be written."""

    field: str
    zh: str
    en: str


class ListFactsView(Reply):
    list_id: str
    name: str
    source: str
    owner: str
    subjects: str
    method: str
    data_class: str
    lawful_basis: str
    rows: int
    tags: list[str]


class Sentence(Reply):
    zh: str
    en: str


class AssessmentDetail(Reply):
    """The content: what the node filled in, and what people wrote. lacking: empty when it can be submitted."""

    info: AssessmentInfo
    job: str
    key_kind: str
    rule: str
    columns: list[str]
    parties: list[Sentence]
    directions: list[Sentence]
    grounds: list[Sentence]
    lists: list[ListFactsView]
    measures_in_force: list[Sentence]
    points: list[Point]
    necessity: str
    impact: str
    measures: str
    risk: str
    risk_zh: str
    risk_en: str
    residual: str
    conclusion: str
    conditions: str
    valid_days: int
    lacking: list[Point]


class AssessmentsReply(Reply):
    """stage: of the project. missing: steps that went on without one in the trial stage."""

    stage: str
    by_state: dict[str, int]
    missing: int
    assessments: list[AssessmentInfo]


class StatusReply(Reply):
    """why: "" when an assessment covers it, else NONE, ENDED, STOPPED or CLASS; allowed: whether a job may go on at this stage.

    pointed_out: how often this purpose and partner, or this job, went on without one.
    """

    stage: str
    allowed: bool
    assessment: str
    why: str
    zh: str
    en: str
    pointed_out: int


class ExportReply(Reply):
    """download: a ZIP with the report as text and its content as JSON."""

    download: str
    name: str
    digest: str


class RecordView(Reply):
    """As workbench_assessment.records.ProcessingRecord, with times as text."""

    job: str
    at_ms: int
    at: str
    partner: str
    purpose: str
    purpose_zh: str
    purpose_en: str
    provided: str
    received: str
    key_kind: str
    persons: int
    lawful_basis: str
    snapshot: str
    audience: str
    exports: int
    exported_persons: int
    columns: str
    approved_by: str
    assessment: str
    keep_until_ms: int
    keep_until: str
    entries: list[str]


class RecordsReply(Reply):
    """total: in the days asked for; records: the newest of them."""

    total: int
    persons: int
    records: list[RecordView]


class RecordsFile(Reply):
    download: str
    name: str
    records: int


def info(ctx: OperationContext, row: CaseRow) -> AssessmentInfo:
    host = ctx.host
    purpose = host.purposes().get(row.purpose, (row.purpose, row.purpose))
    recipient = host.names(PartyId(row.recipient)) if row.recipient in host.parties() else (row.recipient, row.recipient)
    state, conclusion = STATES[row.state], CONCLUSIONS.get(row.conclusion, ("", ""))

    def named(token: str) -> str:
        return host.person_named(token) if token else ""

    return AssessmentInfo(
        assessment=row.assessment, purpose=row.purpose, purpose_zh=purpose[0], purpose_en=purpose[1], recipient=row.recipient,
        recipient_zh=recipient[0], recipient_en=recipient[1], data_class=row.data_class, state=row.state, state_zh=state[0],
        state_en=state[1], conclusion=row.conclusion, conclusion_zh=conclusion[0], conclusion_en=conclusion[1],
        created_ms=row.created_ms, created_by=named(row.created_by), submitted_by=named(row.submitted_by),
        approved_by=named(row.approved_by), approved_ms=row.approved_ms, until_ms=row.until_ms,
        keep_until_ms=row.keep_until_ms, covers=row.covers_at(host.now_ms()), digest=row.digest, before=row.before,
    )  # fmt: skip


def _detail(ctx: OperationContext, name: str) -> AssessmentDetail:
    with ctx.host.store.read() as reader:
        row = tables.case(reader, name)
        content = tables.content(reader, ctx.host, name)
    facts, judged = content.facts, content.judgement
    risk = RISKS.get(judged.risk, ("", ""))
    return AssessmentDetail(
        info=info(ctx, row), job=facts.job, key_kind=facts.key_kind, rule=facts.rule, columns=list(facts.columns),
        parties=[Sentence(zh=f"{zh}（{party}）", en=en) for party, zh, en in facts.parties],
        directions=[Sentence(zh=zh, en=en) for zh, en in facts.directions],
        grounds=[Sentence(zh=GROUNDS[one][0], en=GROUNDS[one][1]) for one in facts.grounds],
        lists=[ListFactsView(**{**asdict(one), "tags": list(one.tags)}) for one in facts.lists],
        measures_in_force=[Sentence(zh=zh, en=en) for zh, en in facts.measures],
        points=[Point(field=name, zh=f"{zh}（{article}）", en=f"{en} ({article})") for name, (zh, en, article) in POINTS.items()],
        necessity=judged.necessity, impact=judged.impact, measures=judged.measures, risk=judged.risk, risk_zh=risk[0],
        risk_en=risk[1], residual=judged.residual, conclusion=judged.conclusion, conditions=judged.conditions,
        valid_days=judged.valid_days, lacking=[Point(field=name, zh=zh, en=en) for name, zh, en in missing(judged)],
    )  # fmt: skip


def _draft(ctx: OperationContext, request: DraftAssessment) -> AssessmentDetail:
    if not request.job and not (request.purpose and request.recipient):
        raise InvalidRequest("请写明任务，或用途与接收方", "give a job, or a purpose and a recipient")
    facts = assessing.facts_of(
        ctx, purpose=request.purpose, recipient=request.recipient, job=request.job, list_id=request.list_id
    )
    return _detail(ctx, assessing.draft(ctx, facts, before=request.before))


def _save(ctx: OperationContext, request: SaveAssessment) -> AssessmentDetail:
    assessing.save(ctx, request.assessment, **request.model_dump(exclude={"assessment"}))
    return _detail(ctx, request.assessment)


def _submit(ctx: OperationContext, request: AssessmentName) -> AssessmentDetail:
    assessing.submit(ctx, request.assessment)
    return _detail(ctx, request.assessment)


def _approve(ctx: OperationContext, request: AssessmentName) -> AssessmentDetail:
    assessing.approve(ctx, request.assessment)
    return _detail(ctx, request.assessment)


def _return(ctx: OperationContext, request: ReasonedAssessment) -> AssessmentDetail:
    assessing.give_back(ctx, request.assessment, reason=request.reason)
    return _detail(ctx, request.assessment)


def _revoke(ctx: OperationContext, request: ReasonedAssessment) -> AssessmentDetail:
    assessing.revoke(ctx, request.assessment, reason=request.reason)
    return _detail(ctx, request.assessment)


def _get(ctx: OperationContext, request: AssessmentName) -> AssessmentDetail:
    return _detail(ctx, request.assessment)


def _list(ctx: OperationContext, request: NoInput) -> AssessmentsReply:
    with ctx.host.store.read() as reader:
        rows = tables.cases(reader)
        pointed = int(reader.execute("SELECT count(*) FROM assessment_missing").fetchone()[0])
    return AssessmentsReply(
        stage=str(ctx.host.setting("assessment.stage")), missing=pointed, assessments=[info(ctx, one) for one in rows],
        by_state={state: sum(one.state == state for one in rows) for state in STATES},
    )  # fmt: skip


def _status(ctx: OperationContext, request: StatusRequest) -> StatusReply:
    host = ctx.host
    purpose, recipient = request.purpose, request.recipient
    if request.job:
        found = host.jobs.get(request.job)
        purpose, recipient = found.terms.purpose, str(found.partner)
    with host.store.read() as reader:
        verdict = gate.judge(reader, purpose=purpose, recipient=recipient, job=request.job, now_ms=host.now_ms())
        known = reader.execute(
            "SELECT count(*) FROM assessment_missing WHERE job = ?1 OR (?1 = '' AND purpose = ?2 AND recipient = ?3)",
            (request.job, purpose, recipient),
        ).fetchone()
    stage = str(host.setting("assessment.stage"))
    zh, en = gate.WHY[verdict.why] if verdict.why else (f"影响评估 {verdict.assessment} 涵盖", f"covered by assessment {verdict.assessment}")
    if verdict.why:
        zh += "；试点阶段继续并留痕" if stage == "trial" else "；正式阶段拒绝"
        en += "; in the trial stage it goes on and is written down" if stage == "trial" else "; refused in the formal stage"
    return StatusReply(
        stage=stage, allowed=not verdict.why or stage == "trial", assessment=verdict.assessment, why=verdict.why, zh=zh, en=en,
        pointed_out=int(known[0]),
    )  # fmt: skip


def _export(ctx: OperationContext, request: AssessmentName) -> ExportReply:
    host = ctx.host
    with host.store.read() as reader:
        row = tables.case(reader, request.assessment)
        content = tables.content(reader, host, request.assessment)
    data = _packed(ctx, row, content)
    name = f"assessment-{row.assessment}.zip"
    values = {"assessment": row.assessment, "file_sm3": sm3.digest(data).hex()}

    def change(tx: Transaction) -> str:
        host.evidence.append(tx, "assessment.exported", values, actor=ctx.caller.person.token)
        return host.downloads.offer(tx, ctx.caller, name, data)

    return ExportReply(download=host.store.write(change), name=name, digest=row.digest)


def _packed(ctx: OperationContext, row: CaseRow, content: Content) -> bytes:
    told = info(ctx, row)
    head = [
        f"编号 number: {row.assessment}    状态 state: {told.state_zh} · {told.state_en}",
        f"起草 drafted by: {told.created_by or '—'}    提交 submitted by: {told.submitted_by or '—'}    批准 approved by: {told.approved_by or '—'}",
        f"批准时间 approved: {records.when(row.approved_ms) if row.approved_ms else '—'}    有效至 until: {records.when(row.until_ms) if row.until_ms else '—'}",
        f"至少保存至 kept until at least: {records.when(row.keep_until_ms)}",
    ]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (
            ("report.txt", document(content, head=head)),
            ("content.json", records.plain_json(as_json(content))),
        ):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _period(from_day: date | None, to_day: date | None) -> tuple[int, int]:
    """[from, until) in milliseconds; open ends where a day is missing."""
    if from_day and to_day and from_day > to_day:
        raise InvalidRequest("时段的起止颠倒了", "the period ends before it begins")
    start = int(datetime.combine(from_day, datetime.min.time(), SHANGHAI).timestamp() * 1000) if from_day else 0
    stop = (
        int(datetime.combine(to_day + timedelta(days=1), datetime.min.time(), SHANGHAI).timestamp() * 1000) if to_day else 1 << 60
    )
    return start, stop


def _records(ctx: OperationContext, request: RecordsRequest) -> RecordsReply:
    start, stop = _period(request.from_day, request.to_day)
    found = records.collect(ctx, from_ms=start, until_ms=stop)
    shown = [
        RecordView(**{**asdict(one), "entries": list(one.entries)}, at=records.when(one.at_ms), keep_until=records.when(one.keep_until_ms))
        for one in reversed(found[-request.limit :])
    ]
    return RecordsReply(total=len(found), persons=sum(one.persons for one in found), records=shown)


def _export_records(ctx: OperationContext, request: ExportRecords) -> RecordsFile:
    host = ctx.host
    start, stop = _period(request.from_day, request.to_day)
    found = records.collect(ctx, from_ms=start, until_ms=stop)
    about = {"institution": host.party, "made": records.when(host.now_ms()), "workspace": host.kind, "project": host.project}
    data = records.as_csv(found) if request.format == "csv" else records.as_json(found, about=about)
    name = f"processing-records.{request.format}"
    values = {"records": str(len(found)), "format": request.format, "file_sm3": sm3.digest(data).hex()}

    def change(tx: Transaction) -> str:
        host.evidence.append(tx, "assessment.records_exported", values, actor=ctx.caller.person.token)
        return host.downloads.offer(tx, ctx.caller, name, data)

    return RecordsFile(download=host.store.write(change), name=name, records=len(found))


_operation: Any = partial(Operation, roles=COMPLIANCE)

ASSESSMENT_OPERATIONS = (
    _operation(
        name="assessment.draft", zh="起草影响评估", en="draft an impact assessment", request=DraftAssessment,
        reply=AssessmentDetail, run=_draft, evidence=("assessment.drafted",),
    ),
    _operation(
        name="assessment.save", zh="填写影响评估", en="write an impact assessment", request=SaveAssessment, reply=AssessmentDetail,
        run=_save, evidence=("assessment.drafted",),
    ),
    _operation(
        name="assessment.submit", zh="提交影响评估", en="submit an impact assessment", request=AssessmentName,
        reply=AssessmentDetail, run=_submit, evidence=("assessment.submitted",),
    ),
    Operation(
        name="assessment.approve", zh="批准影响评估", en="approve an impact assessment", request=AssessmentName,
        reply=AssessmentDetail, roles=DECIDERS, run=_approve, fresh_password=True, evidence=("assessment.approved",),
    ),
    Operation(
        name="assessment.give_back", zh="退回影响评估", en="send an impact assessment back", request=ReasonedAssessment,
        reply=AssessmentDetail, roles=DECIDERS, run=_return, evidence=("assessment.returned",),
    ),
    Operation(
        name="assessment.revoke", zh="撤销影响评估", en="revoke an impact assessment", request=ReasonedAssessment,
        reply=AssessmentDetail, roles=DECIDERS, run=_revoke, fresh_password=True, evidence=("assessment.revoked",),
    ),
    Operation(
        name="assessment.get", zh="查看一份影响评估", en="read one impact assessment", request=AssessmentName,
        reply=AssessmentDetail, roles=READERS, run=_get, reads_only=True,
    ),
    Operation(
        name="assessment.list", zh="查看影响评估与项目阶段", en="list impact assessments and the stage", request=NoInput,
        reply=AssessmentsReply, roles=READERS, run=_list, reads_only=True,
    ),
    Operation(
        name="assessment.status", zh="查看任务是否有影响评估", en="whether an impact assessment covers a job",
        request=StatusRequest, reply=StatusReply, roles=ASKERS, run=_status, weak_token=True, reads_only=True,
    ),
    Operation(
        name="assessment.export", zh="导出影响评估报告", en="export an impact assessment", request=AssessmentName,
        reply=ExportReply, roles=frozenset({Role.COMPLIANCE, Role.AUDITOR}), run=_export, evidence=("assessment.exported",),
    ),
    Operation(
        name="assessment.records", zh="查看处理记录", en="read the processing records", request=RecordsRequest,
        reply=RecordsReply, roles=frozenset({Role.COMPLIANCE, Role.AUDITOR, Role.REGULATOR}), run=_records, reads_only=True,
    ),
    Operation(
        name="assessment.export_records", zh="导出处理记录", en="export the processing records", request=ExportRecords,
        reply=RecordsFile, roles=frozenset({Role.COMPLIANCE, Role.AUDITOR}), run=_export_records, long=True,
        evidence=("assessment.records_exported",),
    ),
    *BREACH_OPERATIONS,
)  # fmt: skip

__all__ = ["ASSESSMENT_OPERATIONS"]
