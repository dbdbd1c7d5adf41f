"""What staff can do with consent. Every action goes through the gate; nothing is decided here. docs/consent.md section 7."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl
from pydantic import BaseModel, Field

from workbench.contracts import ConsentRegistry, GrantQuery, OperationContext, Transaction
from workbench.domain.identifiers import parse_id_no, parse_phone
from workbench.domain.intersection import KeyKind
from workbench.domain.party import PartyId, Role
from workbench.errors import InvalidRequest, NotFound
from workbench.intake import GrantTable
from workbench.operations import NoInput, Operation, Reply, Request
from workbench_consent import columns
from workbench_consent.capture import forms
from workbench_consent.grants import Reason
from workbench_consent.projection import State
from workbench_consent.reasons import SENTENCES
from workbench_consent.registry import Registry, counts_of
from workbench_consent.subjects import meant, token_at
from workbench_consent.withdrawing import SUBJECT, WHO, columns_of_subject, evidence_name

COMPLIANCE: Final = frozenset({Role.COMPLIANCE})
READERS: Final = frozenset({Role.MARKETING, Role.APPROVER, Role.COMPLIANCE, Role.AUDITOR})


class ImportConsents(Request):
    """file: id of an upload. documents: id of a second upload, a ZIP of the signed forms that rows name.

    backdating: an approved proposal, for rows that begin before today (setting consent.backdating_required). mapping: our field -> header in the file.
    max_bad_share: 0 to 1, else the setting.
    """

    file: str
    documents: str = ""
    backdating: str = Field(default="", max_length=40)
    mapping: dict[str, str] = Field(default_factory=dict)
    max_bad_share: float | None = Field(default=None, ge=0, le=1)


class ImportConsentsReply(Reply):
    """rows = accepted + rejected + duplicates + suppressed. rejects: id of a download, "" when there are none.

    event: number of the consent event and root: Merkle root in its evidence; 0 and "" when nothing was new. orphans: forms that no row names.
    """

    rows: int
    accepted: int
    rejected: int
    duplicates: int
    suppressed: int
    orphans: int
    event: int
    root: str
    reasons: dict[str, int]
    rejects: str
    report: dict[str, Any]


class WithdrawConsent(Request):
    """phone, id_no: at least one. purpose, recipient: "" means every one. suppress: also keep out what comes later.

    by: the customer, an agent, a guardian or next of kin; proof: reference of the document that allows it, for the last three.
    """

    phone: str = ""
    id_no: str = ""
    purpose: str = ""
    recipient: str = ""
    suppress: bool = True
    by: str = Field(default=SUBJECT, pattern=f"^({'|'.join(WHO)})$")
    proof: str = Field(default="", max_length=200)
    reason: str = Field(default="", max_length=500)


class WithdrawReply(Reply):
    """grants: how many records are in the scope; records: their numbers, at most 100; entry: index in the own log."""

    event: int
    grants: int
    records: list[int]
    entry: int


class LiftSuppression(Request):
    """phone, id_no: at least one; reason: why, kept in evidence."""

    phone: str = ""
    id_no: str = ""
    reason: str = Field(min_length=5, max_length=500)


class LiftReply(Reply):
    event: int
    entries: int
    entry: int


class CoverageRequest(Request):
    """list_id: of a customer list; key_kind: the identifier that would be compared; recipient: "" for every one."""

    list_id: str
    key_kind: KeyKind = KeyKind.PHONE
    recipient: str = ""


class Coverage(Reply):
    """counts: reason code -> customers, "OK" for those who may be used; they add up to the list."""

    purpose: str
    recipient: str
    usable: int
    counts: dict[str, int]


class CoverageReply(Reply):
    """rows: purpose by purpose and recipient by recipient; reasons: code -> sentences."""

    customers: int
    at_ms: int
    as_of: int
    rows: list[Coverage]
    reasons: dict[str, dict[str, str]]


class CheckRequest(Request):
    """One person, towards one recipient. list_id: a list in which others may share the key, "" to look at nobody else."""

    phone: str = ""
    id_no: str = ""
    purpose: str
    recipient: str
    key_kind: KeyKind = KeyKind.PHONE
    list_id: str = ""


class RecordView(Reply):
    """One record as staff read it: tokens cut to eight digits, no identifier. notice and what follows: "" when the form says nothing."""

    record: int
    phone: str
    id_no: str
    purpose: str
    recipient: str
    channel: str
    from_ms: int
    until_ms: int
    state: str
    event: int
    digest: str
    notice: str = ""
    categories: list[str] = []
    contacts: list[str] = []
    method: str = ""
    signer: str = ""
    max_uses: int = 0


class CheckReply(Reply):
    """code: "OK" or the reason; record: the one that speaks for it; records: all of this person, newest first."""

    usable: bool
    code: str
    zh: str
    en: str
    record: RecordView | None
    records: list[RecordView]
    suppressed: bool
    at_ms: int


class GrantsRequest(Request):
    """after: number of the last record seen, records before it follow; 0 starts with the newest."""

    after: int = Field(default=0, ge=0)
    limit: int = Field(default=50, ge=1, le=500)
    purpose: str = ""
    recipient: str = ""


class GrantsReply(Reply):
    """next: value of `after` for the following page, 0 at the end."""

    total: int
    records: list[RecordView]
    next: int


class Purpose(Reply):
    code: str
    zh: str
    en: str


class PurposesReply(Reply):
    purposes: list[Purpose]
    recipients: list[str]


class DocumentRequest(Request):
    """record: number of the grant; reason: why it is read, kept in evidence under the customer's key."""

    record: int = Field(ge=1)
    reason: str = Field(min_length=5, max_length=500)


class DocumentReply(Reply):
    """download: id of the file, to be taken once. The form was re-hashed and fits the grant."""

    record: int
    download: str
    size: int


class AuditFindingView(Reply):
    """entry: index in the log of `party`, -1 for none; zh, en: what does not hold and who acts, for signed forms."""

    event: int
    record: int
    problem: str
    party: str = ""
    entry: int = -1
    field: str = ""
    zh: str = ""
    en: str = ""


class AuditReply(Reply):
    """records: grants checked; holds: nothing was found."""

    records: int
    holds: bool
    findings: list[AuditFindingView]


def _registry(ctx: OperationContext) -> Registry:
    # Contracts are asked for by their Protocol, which mypy takes for an attempt to make one.
    provider: object = ctx.host.provider(ConsentRegistry)  # type: ignore[type-abstract]
    if not isinstance(provider, Registry):
        raise TypeError("these operations belong to the registry of this plugin")
    return provider


def _identifiers(ctx: OperationContext, phone: str, id_no: str) -> tuple[str | None, str | None]:
    """Both in their one spelling; InvalidRequest when neither is given or one cannot be read."""
    if not phone.strip() and not id_no.strip():
        raise InvalidRequest("请填写手机号或身份证号", "give a phone number or an identity number")
    return (
        parse_phone(phone) if phone.strip() else None,
        parse_id_no(id_no, today=ctx.host.today()) if id_no.strip() else None,
    )


def _import(ctx: OperationContext, request: ImportConsents) -> ImportConsentsReply:
    host = ctx.host
    tables_read: list[GrantTable] = []

    def offer_rejects(tx: Transaction, table: GrantTable) -> str:
        tables_read.append(table)
        if not table.rejects.height:
            return ""
        data = b"\xef\xbb\xbf" + table.rejects.write_csv().encode()
        return str(host.downloads.offer(tx, ctx.caller, "rejects.csv", data))

    def offer_after_refusal(table: GrantTable) -> dict[str, str]:
        download = host.store.write(lambda tx: offer_rejects(tx, table))
        return {"rejects": download} if download else {}

    try:
        result = _registry(ctx).import_file(
            host.uploads.path(request.file),
            actor=ctx.caller.person.token,
            max_bad_share=request.max_bad_share,
            mapping=request.mapping or None,
            folder=host.uploads.path(request.documents) if request.documents else None,
            proposal=request.backdating,
            also=offer_rejects,
            refused=offer_after_refusal,
            progress=lambda done, total: ctx.progress(done, total, "导入授权", "importing consents"),
            cancelled=ctx.cancelled,
        )
    finally:
        host.uploads.remove(request.file)
        if request.documents:
            host.uploads.remove(request.documents)
    report = tables_read[-1].report
    told: dict[str, Any] = report.as_dict()
    told["reason_texts"] |= forms.names_of(report.reasons)
    return ImportConsentsReply(
        rows=result.rows,
        accepted=result.accepted,
        rejected=result.rejected,
        duplicates=result.duplicates,
        suppressed=result.suppressed,
        orphans=report.reasons.get("FORM_WITHOUT_ROW", 0),
        event=result.event,
        root=result.root,
        reasons=dict(report.reasons),
        rejects=result.extra,
        report=told,
    )


def _withdraw(ctx: OperationContext, request: WithdrawConsent) -> WithdrawReply:
    phone, id_no = _identifiers(ctx, request.phone, request.id_no)
    done = _registry(ctx).withdraw(
        phone=phone,
        id_no=id_no,
        purpose=request.purpose or None,
        recipient=request.recipient or None,
        suppress=request.suppress,
        actor=ctx.caller.person.token,
        reason=request.reason,
        by=request.by,
        proof=request.proof,
    )
    return WithdrawReply(event=done.event, grants=done.grants, records=list(done.records), entry=done.entry.index)


def _lift(ctx: OperationContext, request: LiftSuppression) -> LiftReply:
    phone, id_no = _identifiers(ctx, request.phone, request.id_no)
    done = _registry(ctx).lift_suppression(
        phone=phone, id_no=id_no, actor=ctx.caller.person.token, reason=request.reason
    )
    return LiftReply(event=done.event, entries=done.entries, entry=done.entry.index)


def _coverage(ctx: OperationContext, request: CoverageRequest) -> CoverageReply:
    registry, host = _registry(ctx), ctx.host
    customers: pl.DataFrame = host.lists.frame(request.list_id)
    at_ms: int = host.now_ms()
    recipients = [PartyId(request.recipient)] if request.recipient else list(registry.recipients())
    covered: list[Coverage] = []
    as_of = 0
    for purpose in registry.purposes():
        for recipient in recipients:
            verdicts, state = registry.explain(customers, GrantQuery(purpose, recipient, at_ms, request.key_kind))
            counts = {code or "OK": count for code, count in counts_of(verdicts).items()}
            covered.append(Coverage(purpose=purpose, recipient=recipient, usable=counts.get("OK", 0), counts=counts))
            as_of = state.seq
    return CoverageReply(
        customers=customers.height,
        at_ms=at_ms,
        as_of=as_of,
        rows=covered,
        reasons={reason.code or "OK": {"zh": zh, "en": en} for reason, (zh, en) in SENTENCES.items()},
    )


def _check(ctx: OperationContext, request: CheckRequest) -> CheckReply:
    registry, host = _registry(ctx), ctx.host
    phone, id_no = _identifiers(ctx, request.phone, request.id_no)
    query = GrantQuery(request.purpose, PartyId(request.recipient), host.now_ms(), request.key_kind)
    customers, row = _with_neighbours(host.lists.frame(request.list_id) if request.list_id else None, phone, id_no)
    verdicts, state = registry.explain(customers, query)
    reason = Reason(int(verdicts.reason[row]))
    subject = registry.subject(phone, id_no)
    one = columns_of_subject(subject)
    suppressed = bool(columns.suppressed(one, state.withdrawals, query)[0])
    mine = np.flatnonzero(meant(state.grants.subjects, one))[::-1][:100].tolist()
    spoken = int(verdicts.grant[row])
    code = reason.code or "OK"
    name = evidence_name(subject)
    values = {"subject": name, "purpose": query.purpose, "recipient": query.recipient, "outcome": code}
    host.store.write(
        lambda tx: host.evidence.append(tx, "consent.checked", values, actor=ctx.caller.person.token, subject=name)
    )
    zh, en = SENTENCES[reason]
    return CheckReply(
        usable=reason is Reason.OK,
        code=code,
        zh=zh,
        en=en,
        record=_view(state, spoken, query.at_ms) if spoken >= 0 else None,
        records=[_view(state, grant, query.at_ms) for grant in mine],
        suppressed=suppressed,
        at_ms=query.at_ms,
    )


def _with_neighbours(everybody: pl.DataFrame | None, phone: str | None, id_no: str | None) -> tuple[pl.DataFrame, int]:
    """The person with those of the list who share a key, and the person's row; from the list when the person is there."""
    person = pl.DataFrame(
        {"customer_id": ["?"], "phone": [phone], "id_no": [id_no]},
        schema={"customer_id": pl.String, "phone": pl.String, "id_no": pl.String},
    )
    if everybody is None:
        return person, 0
    named = {name: value for name, value in (("phone", phone), ("id_no", id_no)) if value is not None}
    agrees = [(pl.col(name) == value).fill_null(value=False) for name, value in named.items()]
    near = everybody.select("customer_id", "phone", "id_no").filter(pl.any_horizontal(agrees))
    same = pl.all_horizontal(agrees)
    rows = near.with_row_index("row").filter(same)
    if rows.height:
        return near, int(rows["row"][0])
    return pl.concat([person, near]), 0


def _grants(ctx: OperationContext, request: GrantsRequest) -> GrantsReply:
    state = _registry(ctx).state()
    at_ms = ctx.host.now_ms()
    wanted = [
        (request.purpose in ("", term.purpose)) and (request.recipient in ("", term.recipient)) for term in state.terms
    ]
    records: list[RecordView] = []
    row = (request.after if 0 < request.after <= len(state.grants) else len(state.grants) + 1) - 2
    while row >= 0 and len(records) < request.limit:
        if wanted[int(state.grants.term[row])]:
            records.append(_view(state, row, at_ms))
        row -= 1
    return GrantsReply(total=len(state.grants), records=records, next=records[-1].record if row >= 0 and records else 0)


def _purposes(ctx: OperationContext, request: NoInput) -> PurposesReply:
    registry = _registry(ctx)
    named = [Purpose(code=code, zh=zh, en=en) for code, (zh, en) in registry.purposes().items()]
    return PurposesReply(purposes=named, recipients=list(registry.recipients()))


def _audit(ctx: OperationContext, request: NoInput) -> AuditReply:
    host = ctx.host
    result = _registry(ctx).audit()
    forms = _registry(ctx).form_findings()
    text = " ".join(
        [f"{one.problem}:{one.event}:{one.record}" for one in result.findings[:100]]
        + [f"{one.problem}:{one.index}" for one in forms[:100]]
    )
    values = {"records": str(result.records), "findings": text or "none"}
    host.store.write(lambda tx: host.evidence.append(tx, "consent.audited", values, actor=ctx.caller.person.token))
    views = [AuditFindingView(event=one.event, record=one.record, problem=one.problem) for one in result.findings]
    views += [
        AuditFindingView(
            event=0, record=0, problem=one.problem, party=one.log, entry=-1 if one.index is None else one.index, field=one.field,
            zh=one.zh, en=one.en,
        )
        for one in forms
    ]  # fmt: skip
    return AuditReply(records=result.records, holds=not views, findings=views)


def _document(ctx: OperationContext, request: DocumentRequest) -> DocumentReply:
    host = ctx.host
    registry = _registry(ctx)
    state = registry.state()
    if request.record > len(state.grants):
        raise NotFound("没有这条授权", "there is no such grant", code="NO_GRANT_RECORD")
    data = registry.form(request.record)
    subjects = state.grants.subjects
    row = request.record - 1
    name = (token_at(subjects.id_no, row) or token_at(subjects.phone, row) or b"").hex()

    def change(tx: Transaction) -> str:
        values = {"record": str(request.record), "reason": request.reason}
        host.evidence.append(tx, "consent.document_viewed", values, actor=ctx.caller.person.token, subject=name)
        return str(host.downloads.offer(tx, ctx.caller, f"form-{request.record}", data))

    return DocumentReply(record=request.record, download=host.store.write(change), size=len(data))


def _view(state: State, row: int, at_ms: int) -> RecordView:
    grants = state.grants
    term = state.terms[int(grants.term[row])]
    from_ms, until_ms = int(grants.from_ms[row]), int(grants.until_ms[row])
    if token_at(grants.subjects.phone, row) is None and token_at(grants.subjects.id_no, row) is None:
        standing = "ERASED"
    elif grants.withdrawn[row]:
        standing = Reason.WITHDRAWN.code
    elif at_ms < from_ms:
        standing = Reason.NOT_YET_VALID.code
    else:
        standing = "LIVE" if at_ms < until_ms else Reason.EXPIRED.code
    return RecordView(
        record=row + 1,
        phone=_masked(token_at(grants.subjects.phone, row)),
        id_no=_masked(token_at(grants.subjects.id_no, row)),
        purpose=term.purpose,
        recipient=term.recipient,
        channel=term.channel,
        from_ms=from_ms,
        until_ms=until_ms,
        state=standing,
        event=int(grants.seq[row]),
        digest=grants.digest[row].tobytes().hex(),
        notice=term.conditions.notice,
        categories=list(term.conditions.categories),
        contacts=list(term.conditions.contacts),
        method=term.conditions.method,
        signer=term.conditions.signer,
        max_uses=term.conditions.max_uses,
    )


def _masked(token: bytes | None) -> str:
    return "" if token is None else token.hex()[:8] + "…"


def _operation(
    name: str, zh: str, en: str, request: type[Request], reply: type[BaseModel], roles: frozenset[Role], run: Any,
    **flags: Any,
) -> Operation:  # fmt: skip
    return Operation(name=name, zh=zh, en=en, request=request, reply=reply, roles=roles, run=run, **flags)


OPERATIONS = (
    _operation(
        "consent.import", "导入客户授权", "import customer consents", ImportConsents, ImportConsentsReply, COMPLIANCE,
        _import, long=True, takes_file=True, evidence=("consent.imported",),
    ),
    _operation(
        "consent.withdraw", "登记客户撤回", "record a withdrawal", WithdrawConsent, WithdrawReply, COMPLIANCE,
        _withdraw, fresh_password=True, evidence=("consent.withdrawn",),
    ),
    _operation(
        "consent.lift_suppression", "解除“不再使用”标识", "lift a suppression", LiftSuppression, LiftReply, COMPLIANCE,
        _lift, fresh_password=True, evidence=("consent.suppression_lifted",),
    ),
    _operation(
        "consent.coverage", "查看授权覆盖", "read consent coverage", CoverageRequest, CoverageReply, READERS,
        _coverage, weak_token=True, reads_only=True,
    ),
    _operation(
        "consent.check", "查询一位客户的授权", "look up one customer's consent", CheckRequest, CheckReply, COMPLIANCE,
        _check, evidence=("consent.checked",),
    ),
    _operation(
        "consent.grants", "查看授权记录", "read consent records", GrantsRequest, GrantsReply,
        frozenset({Role.COMPLIANCE, Role.AUDITOR}), _grants, weak_token=True, reads_only=True,
    ),
    _operation(
        "consent.purposes", "查看用途与接收方", "read purposes and recipients", NoInput, PurposesReply, READERS,
        _purposes, weak_token=True, reads_only=True,
    ),
    _operation(
        "consent.document", "查看签署文件", "read a signed form", DocumentRequest, DocumentReply, COMPLIANCE,
        _document, fresh_password=True, evidence=("consent.document_viewed",),
    ),
    _operation(
        "consent.audit", "核对授权登记", "check the consent records", NoInput, AuditReply,
        frozenset({Role.COMPLIANCE, Role.AUDITOR}), _audit, long=True, evidence=("consent.audited",),
    ),
)  # fmt: skip
