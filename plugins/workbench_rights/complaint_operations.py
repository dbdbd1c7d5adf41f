"""What staff can do with complaints and task groups. Every action goes through the gate. Document: docs/rights.md sections 7 and 8."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from workbench.contracts import OperationContext
from workbench.domain.identifiers import mask_id_no, mask_phone
from workbench.domain.party import PartyId, Role
from workbench.errors import InvalidRequest, Refused
from workbench.operations import NoInput, Operation
from workbench_rights import cases, complaints, desk, groups
from workbench_rights.complaint_views import (
    AddFileRequest,
    CloseRequest,
    CompensationRequest,
    CompensationView,
    ComplaintDetail,
    ComplaintInfo,
    ComplaintName,
    ComplaintsReply,
    DownloadReply,
    FileReply,
    FileView,
    FinishRequest,
    GroupRequest,
    GroupsReply,
    GroupView,
    HandleRequest,
    LiabilityReply,
    LiabilityRequest,
    LiabilityView,
    ListComplaints,
    NoteRequest,
    PackReply,
    ReadFileRequest,
    ReopenRequest,
    StepRequest,
    StepView,
    StopContactRequest,
    StopReply,
    TaskReply,
    TaskRequest,
    TasksReply,
    TasksRequest,
    TellRequest,
    info,
    named,
    task_view,
)
from workbench_rights.groups import NOBODY, Invited
from workbench_rights.model import CATEGORIES, STEPS, ComplaintState

COMPLIANCE: Final = frozenset({Role.COMPLIANCE})
READERS: Final = frozenset({Role.COMPLIANCE, Role.AUDITOR})
NOTES: Final = frozenset({Role.COMPLIANCE, Role.MARKETING})


def _info(ctx: OperationContext, name: str) -> ComplaintInfo:
    with ctx.host.store.read() as reader:
        return info(ctx, reader, complaints.complaint(reader, name))


def _note(ctx: OperationContext, request: NoteRequest) -> ComplaintInfo:
    named = bool(request.phone.strip() or request.id_no.strip())
    customer = desk.customer_of(ctx, request.phone, request.id_no) if named else NOBODY
    if request.job:
        ctx.host.jobs.get(request.job)  # NotFound for a job nobody knows
    name: str = ctx.host.store.write(
        lambda tx: complaints.open_complaint(
            tx, ctx, customer, channel=request.channel, category=request.category, facts=request.facts, job=request.job
        )
    )
    return _info(ctx, name)


def _handle(ctx: OperationContext, request: HandleRequest) -> ComplaintInfo:
    complaints.handle(ctx, request.complaint, category=request.category, is_major=request.is_major)
    return _info(ctx, request.complaint)


def _step(ctx: OperationContext, request: StepRequest) -> ComplaintInfo:
    complaints.add_step(ctx, request.complaint, kind=request.kind, text=request.text)
    return _info(ctx, request.complaint)


def _tell(ctx: OperationContext, request: TellRequest) -> ComplaintInfo:
    complaints.tell(ctx, request.complaint, text=request.text)
    return _info(ctx, request.complaint)


def _stop(ctx: OperationContext, request: StopContactRequest) -> StopReply:
    event = complaints.stop_contact(ctx, request.complaint, purpose=request.purpose, recipient=request.recipient)
    return StopReply(info=_info(ctx, request.complaint), event=event)


def _add_file(ctx: OperationContext, request: AddFileRequest) -> FileReply:
    try:
        file = complaints.add_file(ctx, request.complaint, ctx.host.uploads.path(request.file), note=request.note)
    finally:
        ctx.host.uploads.remove(request.file)
    return FileReply(attachment=file, info=_info(ctx, request.complaint))


def _read_file(ctx: OperationContext, request: ReadFileRequest) -> DownloadReply:
    download, name = complaints.read_file(ctx, request.attachment, reason=request.reason)
    return DownloadReply(download=download, name=name)


def _add_task(ctx: OperationContext, request: TaskRequest) -> TaskReply:
    return TaskReply(
        task=complaints.add_task(
            ctx, request.complaint, kind=request.kind, text=request.text, owner=request.owner, due_day=request.due_day
        )
    )


def _finish(ctx: OperationContext, request: FinishRequest) -> TaskReply:
    groups.finish(ctx, request.task, result=request.result)
    return TaskReply(task=request.task)


def _group(ctx: OperationContext, request: GroupRequest) -> ComplaintInfo:
    parties = [one.party for one in request.invitations]
    if ctx.host.party in parties or len(set(parties)) != len(parties):
        raise InvalidRequest("每家其他机构邀请一次", "invite each other institution once")
    unknown = [one for one in parties if one not in ctx.host.parties()]
    if unknown:
        raise Refused(f"没有这些伙伴机构：{'、'.join(unknown)}", f"no such partners: {', '.join(unknown)}", code="UNKNOWN_PARTY")
    invited = [Invited(one.party, one.text, one.due_day) for one in request.invitations]
    groups.open_group(ctx, request.complaint, invited, with_job=request.with_job)
    return _info(ctx, request.complaint)


def _liability(ctx: OperationContext, request: LiabilityRequest) -> LiabilityReply:
    known = complaints.assess_liability(
        ctx, request.complaint, liable=request.liable, basis=request.basis, entries=request.entries, package_sm3=request.package_sm3
    )
    if known == complaints.NOT_EXPORTED_HERE:
        zh, en = "本节点所知的记录里没有导出过这个证据包：已登记并标明，核对其来源", "no log known here has the export of this package: taken with that mark, check where it comes from"
    else:
        zh, en = (f"证据包由 {known} 导出", f"the package was exported by {known}") if known else ("没有引用证据包", "no package is cited")
    return LiabilityReply(**_info(ctx, request.complaint).model_dump(), package_from=known, package_zh=zh, package_en=en)


def _compensation(ctx: OperationContext, request: CompensationRequest) -> ComplaintInfo:
    complaints.record_compensation(
        ctx, request.complaint, amount_fen=request.amount_fen, payer=request.payer, agreed=request.agreed_day, text=request.text
    )
    return _info(ctx, request.complaint)


def _evidence_pack(ctx: OperationContext, request: ComplaintName) -> PackReply:
    """The evidence of the complaint's customer, else of its job, own fields opened; the password was for exactly this.

    Its own entry records it. One written before would be in the package, not yet co-signed, and no package would be final.
    """
    at = complaints.place(request.complaint)
    with ctx.host.store.read() as reader:
        row = complaints.complaint(reader, request.complaint)
        customer = cases.sealed(reader, ctx.host, at).customer if cases.is_sealed(reader, ctx.host, at) else NOBODY
    if customer.id_nos:
        about = {"id_no": customer.id_nos[0]}
    elif customer.phones:
        about = {"phone": customer.phones[0]}
    elif row.job:
        about = {"job": row.job}
    else:
        raise Refused("这件投诉没有写明客户或任务，没有可导出的证据", "the complaint names no customer and no job", code="NO_CUSTOMER")
    made: Any = ctx.host.gate.call("evidence.export_opened", about, ctx.caller, context=ctx, is_confirmed=True)
    return PackReply(
        download=made.download, name=made.name, state=made.state, entries=dict(made.entries), package_sm3=made.package_sm3
    )


def _close(ctx: OperationContext, request: CloseRequest) -> ComplaintInfo:
    complaints.close(
        ctx, request.complaint, outcome=request.outcome, reason=request.reason,
        also=lambda tx: groups.end_groups(tx, ctx, request.complaint),
    )  # fmt: skip
    return _info(ctx, request.complaint)


def _reopen(ctx: OperationContext, request: ReopenRequest) -> ComplaintInfo:
    complaints.reopen(ctx, request.complaint, reason=request.reason)
    return _info(ctx, request.complaint)


def _list(ctx: OperationContext, request: ListComplaints) -> ComplaintsReply:
    with ctx.host.store.read() as reader:
        everything = complaints.everything(reader)
        told = [info(ctx, reader, one) for one in everything]
    open_ = ComplaintState.CLOSED.value
    rows = [
        one for one in told
        if (request.state in ("", one.state) or (request.state == "open" and one.state != open_)) and (one.is_overdue or not request.overdue)
    ]  # fmt: skip
    names = [one.complaint for one in rows]
    start = names.index(request.after) + 1 if request.after in names else 0
    page = rows[start : start + request.limit]
    return ComplaintsReply(
        total=len(rows), overdue=sum(one.is_overdue for one in told), due_soon=sum(one.is_due_soon for one in told),
        by_state={state.value: sum(one.state is state for one in everything) for state in ComplaintState},
        complaints=page, next=page[-1].complaint if page and start + request.limit < len(rows) else "",
    )  # fmt: skip


def _get(ctx: OperationContext, request: ComplaintName) -> ComplaintDetail:
    row, content = complaints.look(ctx, request.complaint)
    texts = content.texts if content else {}
    customer = content.customer if content else NOBODY
    at = complaints.place(row.complaint)
    with ctx.host.store.read() as reader:
        return ComplaintDetail(
            info=info(ctx, reader, row),
            phones=[mask_phone(one) for one in customer.phones],
            id_nos=[mask_id_no(one) for one in customer.id_nos],
            facts=str(texts.get("facts", "")),
            reason=str(texts.get("reason", "")),
            timeline=[
                StepView(
                    number=number, kind=kind, kind_zh=STEPS[kind][0], kind_en=STEPS[kind][1], at_ms=at_ms, by=named(ctx, actor),
                    text=str(texts.get("steps", {}).get(str(number), "")),
                )
                for number, kind, at_ms, actor in complaints.steps(reader, row.complaint)
            ],
            tasks=[task_view(ctx, reader, one, content) for one in complaints.tasks(reader, at)],
            attachments=[
                FileView(
                    attachment=file, name=str(texts.get("files", {}).get(file, {}).get("name", "")),
                    note=str(texts.get("files", {}).get(file, {}).get("note", "")), size=size, digest=digest, at_ms=at_ms, entry=entry,
                )
                for file, _, size, digest, at_ms, entry in complaints.files(reader, at)
            ],
            liability=[LiabilityView(**one) for one in texts.get("liability", [])],
            compensation=[CompensationView(**one) for one in texts.get("compensation", [])],
            is_erased=content is None,
        )  # fmt: skip


def _tasks(ctx: OperationContext, request: TasksRequest) -> TasksReply:
    host = ctx.host
    with host.store.read() as reader:
        views = [
            task_view(ctx, reader, one, cases.sealed(reader, host, one.place) if cases.is_sealed(reader, host, one.place) else None)
            for one in complaints.tasks(reader)
        ]
    shown = [one for one in views if (one.is_overdue or not request.overdue) and (one.state == "OPEN" or not request.open)]
    return TasksReply(tasks=shown, overdue=sum(one.is_overdue for one in views))


def _groups(ctx: OperationContext, request: NoInput) -> GroupsReply:
    host = ctx.host
    found = []
    with host.store.read() as reader:
        for one in groups.groups(reader):
            at = complaints.place(one.complaint) if one.complaint else groups.place(one.grp)
            content = cases.sealed(reader, host, at) if cases.is_sealed(reader, host, at) else None
            lead = host.names(PartyId(one.lead)) if one.lead in host.parties() else (one.lead, one.lead)
            zh, en = CATEGORIES[one.category]
            found.append(
                GroupView(
                    group=one.grp, lead=one.lead, lead_zh=lead[0], lead_en=lead[1], is_ours=one.lead == host.party,
                    complaint=one.complaint, category=one.category, category_zh=zh, category_en=en, job=one.job, state=one.state,
                    created_ms=one.created_ms, is_known=one.is_known,
                    tasks=[task_view(ctx, reader, task, content) for task in complaints.tasks(reader, at) if task.grp == one.grp],
                )
            )  # fmt: skip
    return GroupsReply(groups=found)


_operation = partial(Operation, roles=COMPLIANCE)

COMPLAINT_OPERATIONS = (
    Operation(
        name="complaints.note", zh="登记投诉", en="register a complaint", request=NoteRequest, reply=ComplaintInfo, roles=NOTES,
        run=_note, evidence=("complaints.opened",),
    ),
    _operation(
        name="complaints.handle", zh="接手投诉", en="take a complaint over", request=HandleRequest, reply=ComplaintInfo,
        run=_handle, evidence=("complaints.handled",),
    ),
    _operation(
        name="complaints.step", zh="记录投诉的一步", en="write a step of a complaint", request=StepRequest, reply=ComplaintInfo,
        run=_step, evidence=("complaints.stepped",),
    ),
    _operation(
        name="complaints.told", zh="记录已告知进展", en="record that the customer was told", request=TellRequest,
        reply=ComplaintInfo, run=_tell, evidence=("complaints.told",),
    ),
    _operation(
        name="complaints.stop_contact", zh="停止联系客户", en="stop contacting the customer", request=StopContactRequest,
        reply=StopReply, run=_stop, fresh_password=True, evidence=("complaints.contact_stopped",),
    ),
    _operation(
        name="complaints.add_file", zh="添加投诉附件", en="attach a file to a complaint", request=AddFileRequest, reply=FileReply,
        run=_add_file, takes_file=True, evidence=("complaints.file_added",),
    ),
    _operation(
        name="complaints.read_file", zh="查看投诉附件", en="read an attachment of a complaint", request=ReadFileRequest,
        reply=DownloadReply, run=_read_file, fresh_password=True, evidence=("complaints.file_read",),
    ),
    _operation(
        name="complaints.add_task", zh="派出任务或整改", en="set a task or a part of the rectification plan", request=TaskRequest,
        reply=TaskReply, run=_add_task, evidence=("complaints.task_set",),
    ),
    _operation(
        name="complaints.finish_task", zh="办结任务", en="finish a task", request=FinishRequest, reply=TaskReply, run=_finish,
        evidence=("complaints.task_done",),
    ),
    Operation(
        name="complaints.tasks", zh="查看投诉任务与逾期", en="list tasks of complaints", request=TasksRequest, reply=TasksReply,
        roles=READERS, run=_tasks, reads_only=True,
    ),
    _operation(
        name="complaints.open_group", zh="成立跨机构专项小组", en="open a task group across institutions", request=GroupRequest,
        reply=ComplaintInfo, run=_group, fresh_password=True, evidence=("complaints.group_opened",),
    ),
    Operation(
        name="complaints.groups", zh="查看专项小组", en="list task groups", request=NoInput, reply=GroupsReply, roles=READERS,
        run=_groups, reads_only=True,
    ),
    _operation(
        name="complaints.evidence_pack", zh="导出投诉的证据包", en="export the evidence of a complaint", request=ComplaintName,
        reply=PackReply, run=_evidence_pack, fresh_password=True, long=True, evidence=("evidence.exported",),
    ),
    _operation(
        name="complaints.assess_liability", zh="认定责任主体", en="assess liability", request=LiabilityRequest,
        reply=LiabilityReply, run=_liability, fresh_password=True, evidence=("complaints.liability_assessed",),
    ),
    _operation(
        name="complaints.record_compensation", zh="登记补偿约定（不付款）", en="record a compensation; nothing is paid",
        request=CompensationRequest, reply=ComplaintInfo, run=_compensation, fresh_password=True,
        evidence=("complaints.compensation_recorded",),
    ),
    _operation(
        name="complaints.close", zh="办结投诉", en="close a complaint", request=CloseRequest, reply=ComplaintInfo, run=_close,
        fresh_password=True, evidence=("complaints.closed",),
    ),
    _operation(
        name="complaints.reopen", zh="重新办理投诉", en="open a complaint again", request=ReopenRequest, reply=ComplaintInfo,
        run=_reopen, evidence=("complaints.reopened",),
    ),
    Operation(
        name="complaints.get", zh="查看一件投诉", en="read one complaint", request=ComplaintName, reply=ComplaintDetail,
        roles=READERS, run=_get, evidence=("complaints.viewed",),
    ),
    Operation(
        name="complaints.list", zh="查看投诉", en="list complaints", request=ListComplaints, reply=ComplaintsReply, roles=READERS,
        run=_list, reads_only=True,
    ),
)  # fmt: skip

__all__ = ["COMPLAINT_OPERATIONS", "ComplaintInfo"]
