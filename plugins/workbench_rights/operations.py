"""What staff can do at the rights desk. Every action goes through the gate. Document: docs/rights.md sections 1 to 6."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any, Final, Literal

from pydantic import Field

from workbench.clock import local_day
from workbench.contracts import OperationContext
from workbench.domain.identifiers import mask_id_no, mask_phone
from workbench.domain.party import Role
from workbench.errors import InvalidRequest
from workbench.operations import Operation, Reply, Request
from workbench_rights import cases, desk, explaining
from workbench_rights.cases import RequestRow, Sealed
from workbench_rights.model import (
    APPLICANTS,
    CHANNELS,
    KIND_WORDS,
    METHODS,
    STATE_WORDS,
    RequestState,
    RightsKind,
)
from workbench_rights.workdays import days_left

COMPLIANCE: Final = frozenset({Role.COMPLIANCE})
READERS: Final = frozenset({Role.COMPLIANCE, Role.AUDITOR})
Channel = Literal["web", "post", "phone", "e-mail", "fax", "counter"]
Applicant = Literal["subject", "agent", "guardian", "kin"]
Method = Literal["in-person", "video", "signed-letter", "e-signature", "one-time-code", "attorney-document"]


class ReceiveRequest(Request):
    """phone, id_no: at least one. details: what the customer said. changes: for a correction, column -> new value.

    authority: on what the person acts who is not the customer.
    """

    kind: RightsKind
    phone: str = Field(default="", max_length=40, repr=False)
    id_no: str = Field(default="", max_length=40, repr=False)
    channel: Channel = "counter"
    applicant: Applicant = "subject"
    authority: str = Field(default="", max_length=500)
    details: str = Field(default="", max_length=4000)
    changes: dict[str, str] = Field(default_factory=dict, max_length=20, repr=False)


class RequestName(Request):
    request: str = Field(max_length=40)


class IdentifyRequest(RequestName):
    """confirmed: whether the person is who they say; note: what was compared, never a copy of the document."""

    method: Method
    confirmed: bool = True
    note: str = Field(default="", max_length=500)


class DecideRequest(RequestName):
    decision: Literal["granted", "partly", "refused"]
    reason: str = Field(min_length=5, max_length=500)


class ExtendRequest(RequestName):
    """days: working days added, once."""

    days: int = Field(ge=1, le=30)
    reason: str = Field(min_length=5, max_length=500)


class ReasonRequest(RequestName):
    reason: str = Field(min_length=5, max_length=500)


class ListRequests(Request):
    """state: one of the states, "open" for every open one, "" for all. after: id of the last one seen."""

    state: str = Field(default="", max_length=20)
    kind: str = Field(default="", max_length=20)
    overdue: bool = False
    after: str = Field(default="", max_length=40)
    limit: int = Field(default=50, ge=1, le=500)


class RequestInfo(Reply):
    """One request without anything about its customer. steps: operations that fit now. days_left: working days, negative
    when overdue. is_estimated: the day was reached without a table of holidays. restriction_until_ms: 0 while it lasts.
    """

    request: str
    kind: str
    kind_zh: str
    kind_en: str
    ground: str
    state: str
    state_zh: str
    state_en: str
    channel: str
    channel_zh: str
    channel_en: str
    applicant: str
    applicant_zh: str
    applicant_en: str
    received_ms: int
    due_day: str
    due_ms: int
    is_estimated: bool
    is_extended: bool
    is_overdue: bool
    days_left: int
    method: str
    method_zh: str
    method_en: str
    identified_by: str
    identified_ms: int
    decision: str
    decided_by: str
    decided_ms: int
    answered_ms: int
    erasure: str
    complaint: str
    is_restricting: bool
    restricted_from_ms: int
    restriction_until_ms: int
    steps: list[str]


class RequestsReply(Reply):
    """requests: a page, the newest first; next: value of `after` for the following one, "" at the end. by_state: of all."""

    total: int
    overdue: int
    by_state: dict[str, int]
    requests: list[RequestInfo]
    next: str


class RequestDetail(Reply):
    """The request with what was said; identifiers masked. is_erased: the content lies in restricted storage."""

    info: RequestInfo
    phones: list[str]
    id_nos: list[str]
    authority: str
    details: str
    changes: dict[str, str]
    identity_note: str
    reason: str
    is_erased: bool


class AnswerReply(Reply):
    """download: id of the ZIP, to be taken once within the hour. owners: owner -> records in it."""

    info: RequestInfo
    download: str
    name: str
    records: int
    owners: dict[str, int]


class ExplainedIntersection(Reply):
    """As workbench_rights.explaining.Explained."""

    job: str
    partner: str
    purpose: str
    state: str
    list_id: str
    started_ms: int
    rule: str
    rule_zh: str
    rule_en: str
    values: dict[str, str]
    fits: bool
    code: str
    code_zh: str
    code_en: str
    grant: int
    grant_from_ms: int
    grant_until_ms: int
    grant_digest: str
    chosen: bool
    entries: dict[str, list[int]]
    zh: str
    en: str


class ExplanationReply(Reply):
    intersections: list[ExplainedIntersection]


class PackReply(Reply):
    """download: id of the evidence package of the customer; state FINAL or NOT_FINAL; entries by log."""

    info: RequestInfo
    download: str
    name: str
    state: str
    entries: dict[str, int]
    package_sm3: str


def info(ctx: OperationContext, row: RequestRow) -> RequestInfo:
    host = ctx.host
    now = host.now_ms()
    with host.store.read() as reader:
        held = cases.restriction(reader, row.request)
    kind, state = KIND_WORDS[row.kind], STATE_WORDS[row.state]
    method = METHODS.get(row.method, ("", ""))
    channel, applicant = CHANNELS[row.channel], APPLICANTS[row.applicant]
    restricting = held is not None and held[1] is None
    return RequestInfo(
        request=row.request, kind=row.kind.value, kind_zh=kind[0], kind_en=kind[1], ground=kind[2], state=row.state.value,
        state_zh=state[0], state_en=state[1], channel=row.channel, channel_zh=channel[0], channel_en=channel[1],
        applicant=row.applicant, applicant_zh=applicant[0], applicant_en=applicant[1], received_ms=row.received_ms,
        due_day=row.due_day, due_ms=row.due_ms, is_estimated=row.is_estimated, is_extended=row.is_extended,
        is_overdue=row.is_overdue(now), days_left=days_left(local_day(now), local_day(row.due_ms - 1)),
        method=row.method, method_zh=method[0], method_en=method[1], identified_by=_named(ctx, row.identified_by),
        identified_ms=row.identified_ms, decision=row.decision, decided_by=_named(ctx, row.decided_by),
        decided_ms=row.decided_ms, answered_ms=row.answered_ms, erasure=row.erasure, complaint=row.complaint,
        is_restricting=restricting, restricted_from_ms=held[0] if held else 0,
        restriction_until_ms=(held[1] or 0) if held else 0, steps=_steps(row, restricting),
    )  # fmt: skip


def _named(ctx: OperationContext, token: str) -> str:
    return ctx.host.person_named(token) if token else ""


def _steps(row: RequestRow, restricting: bool) -> list[str]:
    found = {
        RequestState.RECEIVED: ["rights.identify", "rights.decide", "rights.extend", "rights.close"],
        RequestState.IDENTIFIED: ["rights.decide", "rights.extend", "rights.close"],
        RequestState.GRANTED: ["rights.answer", "rights.extend"],
        RequestState.PARTLY: ["rights.answer", "rights.extend"],
        RequestState.REFUSED: ["rights.answer", "rights.extend"],
        RequestState.ANSWERED: ["rights.answer"],
        RequestState.CLOSED: [],
    }[row.state]
    steps = [one for one in found if not (one == "rights.extend" and row.is_extended)]
    if row.identified_ms:
        steps.append("rights.evidence_pack")
        if row.kind is RightsKind.EXPLANATION:
            steps.append("rights.explain")
    return [*steps, "rights.lift_restriction"] if restricting else steps


def _info_of(ctx: OperationContext, request: str) -> RequestInfo:
    with ctx.host.store.read() as reader:
        row = cases.request(reader, request)
    return info(ctx, row)


def _receive(ctx: OperationContext, request: ReceiveRequest) -> RequestInfo:
    if request.kind is RightsKind.CORRECTION and not request.changes:
        raise InvalidRequest("更正请求要写明列和新值", "a correction names columns and new values")
    if request.kind is not RightsKind.CORRECTION and request.changes:
        raise InvalidRequest("只有更正请求带有新值", "only a correction has new values")
    customer = desk.customer_of(ctx, request.phone, request.id_no)
    texts: dict[str, Any] = {"details": request.details, "authority": request.authority, "changes": dict(request.changes)}
    name = desk.receive(
        ctx, request.kind, customer, channel=request.channel, applicant=request.applicant, texts=texts
    )
    return _info_of(ctx, name)


def _identify(ctx: OperationContext, request: IdentifyRequest) -> RequestInfo:
    desk.identify(ctx, request.request, method=request.method, confirmed=request.confirmed, note=request.note)
    return _info_of(ctx, request.request)


def _decide(ctx: OperationContext, request: DecideRequest) -> RequestInfo:
    desk.decide(ctx, request.request, decision=request.decision, reason=request.reason)
    return _info_of(ctx, request.request)


def _extend(ctx: OperationContext, request: ExtendRequest) -> RequestInfo:
    desk.extend(ctx, request.request, days=request.days, reason=request.reason)
    return _info_of(ctx, request.request)


def _answer(ctx: OperationContext, request: RequestName) -> AnswerReply:
    download, name, records, owners = desk.answer(ctx, request.request)
    return AnswerReply(
        info=_info_of(ctx, request.request), download=download, name=name, records=records, owners=owners
    )


def _explain(ctx: OperationContext, request: RequestName) -> ExplanationReply:
    content = desk.look_deeper(ctx, request.request, "explanation")
    found = explaining.explain(ctx, content.customer)
    return ExplanationReply(intersections=[ExplainedIntersection(**asdict(one)) for one in found])


def _evidence_pack(ctx: OperationContext, request: RequestName) -> PackReply:
    made = desk.evidence_pack(ctx, request.request)
    return PackReply(
        info=_info_of(ctx, request.request), download=made.download, name=made.name, state=made.state,
        entries=dict(made.entries), package_sm3=made.package_sm3,
    )  # fmt: skip


def _lift(ctx: OperationContext, request: ReasonRequest) -> RequestInfo:
    desk.lift(ctx, request.request, reason=request.reason)
    return _info_of(ctx, request.request)


def _close(ctx: OperationContext, request: ReasonRequest) -> RequestInfo:
    desk.close(ctx, request.request, reason=request.reason)
    return _info_of(ctx, request.request)


def _get(ctx: OperationContext, request: RequestName) -> RequestDetail:
    row, content = desk.look(ctx, request.request)
    return _detail(info(ctx, row), content)


def _detail(told: RequestInfo, content: Sealed | None) -> RequestDetail:
    if content is None:
        return RequestDetail(
            info=told, phones=[], id_nos=[], authority="", details="", changes={}, identity_note="", reason="", is_erased=True
        )
    return RequestDetail(
        info=told,
        phones=[mask_phone(one) for one in content.customer.phones],
        id_nos=[mask_id_no(one) for one in content.customer.id_nos],
        authority=content.text("authority"),
        details=content.text("details"),
        changes=dict(content.texts.get("changes", {})),
        identity_note=content.text("identity_note"),
        reason=content.text("reason"),
        is_erased=False,
    )


def _list(ctx: OperationContext, request: ListRequests) -> RequestsReply:
    now = ctx.host.now_ms()
    with ctx.host.store.read() as reader:
        everything = cases.requests(reader)
        rows = cases.requests(reader, state=request.state, kind=request.kind)
    rows = [one for one in rows if not request.overdue or one.is_overdue(now)]
    names = [one.request for one in rows]
    start = names.index(request.after) + 1 if request.after in names else 0
    page = rows[start : start + request.limit]
    by_state = {state.value: sum(one.state is state for one in everything) for state in RequestState}
    return RequestsReply(
        total=len(rows), overdue=sum(one.is_overdue(now) for one in everything), by_state=by_state,
        requests=[info(ctx, one) for one in page],
        next=page[-1].request if page and start + request.limit < len(rows) else "",
    )  # fmt: skip


_operation = partial(Operation, roles=COMPLIANCE)

RIGHTS_OPERATIONS = (
    _operation(
        name="rights.receive", zh="受理权利请求", en="receive a rights request", request=ReceiveRequest, reply=RequestInfo,
        run=_receive, evidence=("rights.received", "complaints.opened"),
    ),
    _operation(
        name="rights.identify", zh="记录核身结果", en="record the identity check", request=IdentifyRequest, reply=RequestInfo,
        run=_identify, fresh_password=True, evidence=("rights.identified",),
    ),
    _operation(
        name="rights.decide", zh="决定权利请求", en="decide a rights request", request=DecideRequest, reply=RequestInfo,
        run=_decide, fresh_password=True, long=True,
        evidence=("rights.decided", "rights.restricted", "lists.corrected", "customers.erasure_asked"),
    ),
    _operation(
        name="rights.extend", zh="延长答复期限", en="extend the time to answer", request=ExtendRequest, reply=RequestInfo,
        run=_extend, evidence=("rights.extended",),
    ),
    _operation(
        name="rights.answer", zh="生成权利请求的答复", en="make the answer to a rights request", request=RequestName,
        reply=AnswerReply, run=_answer, fresh_password=True, long=True, evidence=("rights.answered",),
    ),
    _operation(
        name="rights.explain", zh="解释自动化决策", en="explain the automated decisions about a customer", request=RequestName,
        reply=ExplanationReply, run=_explain, long=True, evidence=("rights.viewed",),
    ),
    _operation(
        name="rights.evidence_pack", zh="导出该客户的证据包", en="export the evidence about a customer", request=RequestName,
        reply=PackReply, run=_evidence_pack, fresh_password=True, long=True, evidence=("evidence.exported",),
    ),
    _operation(
        name="rights.lift_restriction", zh="结束限制处理", en="end a restriction", request=ReasonRequest, reply=RequestInfo,
        run=_lift, fresh_password=True, evidence=("rights.restriction_lifted",),
    ),
    _operation(
        name="rights.close", zh="撤回权利请求", en="take a rights request back", request=ReasonRequest, reply=RequestInfo,
        run=_close, evidence=("rights.closed",),
    ),
    Operation(
        name="rights.get", zh="查看一项权利请求", en="read one rights request", request=RequestName, reply=RequestDetail,
        roles=READERS, run=_get, evidence=("rights.viewed",),
    ),
    Operation(
        name="rights.list", zh="查看权利请求", en="list rights requests", request=ListRequests, reply=RequestsReply,
        roles=READERS, run=_list, reads_only=True,
    ),
)  # fmt: skip

__all__ = ["RIGHTS_OPERATIONS", "RequestInfo"]
