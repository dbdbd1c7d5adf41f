"""What staff can do to take consents in. docs/protocols/capture.md."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, Literal

from pydantic import Field

from workbench.contracts import ConsentRegistry, OperationContext, Transaction
from workbench.domain.identifiers import parse_id_no, parse_phone
from workbench.domain.party import Role
from workbench.errors import InvalidRequest, NotFound, Refused
from workbench.intake.grant_scope import REPRESENTING, SIGNER_FIELDS
from workbench.operations import NoInput, Operation, Reply, Request
from workbench_consent.capture import asking, backdating, forms, people, recovering
from workbench_consent.capture.checking import fault_of
from workbench_consent.capture.page import said_by
from workbench_consent.capture.people import DAY_MS, Offer
from workbench_consent.capture.writing import write_with_form
from workbench_consent.notices import published
from workbench_consent.registry import Registry
from workbench_consent.represented import Representative
from workbench_consent.withdrawing import evidence_name

COMPLIANCE: Final = frozenset({Role.COMPLIANCE})
READERS: Final = frozenset({Role.MARKETING, Role.APPROVER, Role.COMPLIANCE, Role.AUDITOR})
MOST_DAYS: Final = 3660
METHODS: Final = {"wet-scan": "paper", "assisted": "paper", "ca-esign": "esign", "otp-stated": "otp", "voice": "voice"}
"""How it was signed -> code of the setting consent.methods, as the grant keeps it."""
Method = Literal["wet-scan", "assisted", "ca-esign", "otp-stated", "voice"]


class OfferRequest(Request):
    """One thing asked for. recipient: another institution. until: last day, YYYY-MM-DD, Asia/Shanghai."""

    purpose: str
    recipient: str
    until: date


class AskRequest(Request):
    """phone, id_no: at least one. notice: key@version of an offered version, "" for plain words. offers: 1 to 16.

    way: "page" for the person alone, "assisted" beside staff. place: branch or channel. identity: how the person was
    recognised. otp_stated: staff state that a one-time code was checked elsewhere; sending messages is not part of this product.
    """

    phone: str = ""
    id_no: str = ""
    notice: str = Field(default="", max_length=60)
    offers: list[OfferRequest] = Field(min_length=1, max_length=16)
    way: Literal["page", "assisted"] = "page"
    place: str = Field(min_length=2, max_length=64)
    identity: str = Field(min_length=2, max_length=200)
    otp_stated: bool = False


class AskReply(Reply):
    """path: of the signing page at this node, for the person alone; it is shown once and kept nowhere."""

    ask: str
    path: str = Field(repr=False)
    expires_ms: int


class TakeBackRequest(Request):
    ask: str = Field(max_length=40)


class TakeBackReply(Reply):
    ask: str
    state: str


class FunnelRow(Reply):
    purpose: str
    recipient: str
    way: str
    served: int
    opened: int
    signed: int
    refused: int
    expired: int


class FunnelReply(Reply):
    """Questions by what became of them; opened counts those whose page was shown. rows: by purpose, recipient and way."""

    served: int
    opened: int
    signed: int
    refused: int
    expired: int
    cancelled: int
    rows: list[FunnelRow]


class CaptureRequest(Request):
    """file: id of an upload, the signed form. begins: YYYY-MM-DD, null for now; before today only with `backdating`.

    initiative: "customer" when the person came of their own accord (stated by staff): then no cool-down stands against it.
    signer_name, authority: needed when somebody else signed: who, and on what authority (mandate, household register); signer_relation: to
    the customer. authority_digest: SM3 in hex of the document of authority, "" where none is kept.
    """

    phone: str = ""
    id_no: str = ""
    file: str
    name: str = Field(default="form.pdf", max_length=200)
    offers: list[OfferRequest] = Field(min_length=1, max_length=16)
    begins: date | None = None
    method: Method
    place: str = Field(min_length=2, max_length=64)
    identity: str = Field(min_length=2, max_length=200)
    initiative: Literal["staff", "customer"] = "staff"
    signer: Literal["self", "guardian", "agent", "kin"] = "self"
    signer_name: str = Field(default="", max_length=SIGNER_FIELDS["signer_name"], repr=False)
    signer_relation: str = Field(default="", max_length=SIGNER_FIELDS["signer_relation"], repr=False)
    authority: str = Field(default="", max_length=SIGNER_FIELDS["authority"], repr=False)
    authority_digest: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    notice: str = Field(default="", max_length=60)
    backdating: str = Field(default="", max_length=40)


class CaptureReply(Reply):
    """grants: new records; event: of the registry; entry: index of consent.captured in the own log."""

    grants: int
    event: int
    form: str


class FormsRequest(Request):
    """file: upload of the index; documents: upload of a ZIP with the forms. place: where they come from.

    backdating: an approved proposal, for rows that begin before today. max_bad_share: 0 to 1, else the setting.
    """

    file: str
    documents: str
    place: str = Field(min_length=2, max_length=64)
    backdating: str = Field(default="", max_length=40)
    mapping: dict[str, str] = Field(default_factory=dict)
    max_bad_share: float | None = Field(default=None, ge=0, le=1)


class FormsReply(Reply):
    """rows = accepted + rejected + duplicates + suppressed. rejects: download, "" when all was taken. reasons: code -> rows or
    files; sentences: code -> zh, en. orphans: files without a row.
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
    sentences: dict[str, dict[str, str]]
    rejects: str


class ProposeBackdating(Request):
    """earliest: the earliest day a grant may begin; most: how many at most; reason: why, kept in evidence."""

    earliest: date
    most: int = Field(ge=1, le=1_000_000)
    reason: str = Field(min_length=10, max_length=500)


class ApproveBackdating(Request):
    proposal: str = Field(max_length=40)


class BackdatingView(Reply):
    """state: WAITING, APPROVED or USED; mine: the caller proposed it and so cannot approve it."""

    proposal: str
    earliest: str
    most: int
    reason: str
    proposed_ms: int
    state: str
    mine: bool


class BackdatingReply(Reply):
    proposals: list[BackdatingView]


def _registry(ctx: OperationContext) -> Registry:
    # Contracts are asked for by their Protocol, which mypy takes for an attempt to make one.
    provider: object = ctx.host.provider(ConsentRegistry)  # type: ignore[type-abstract]
    if not isinstance(provider, Registry):
        raise TypeError("these operations belong to the registry of this plugin")
    return provider


def person_of(ctx: OperationContext, phone: str, id_no: str) -> tuple[str | None, str | None]:
    if not phone.strip() and not id_no.strip():
        raise InvalidRequest("请填写手机号或身份证号", "give a phone number or an identity number")
    return (
        parse_phone(phone) if phone.strip() else None,
        parse_id_no(id_no, today=ctx.host.today()) if id_no.strip() else None,
    )


def offers_of(ctx: OperationContext, asked: list[OfferRequest]) -> list[Offer]:
    """Known purposes and recipients, each pair once, ending after today."""
    registry, today = _registry(ctx), ctx.host.today()
    found: dict[str, Offer] = {}
    for one in asked:
        registry.require_known(one.purpose, one.recipient)
        if not today <= one.until <= today + timedelta(days=MOST_DAYS):
            raise InvalidRequest("结束日须在今天与十年之内", "the last day must lie between today and ten years from now")
        offer = Offer(one.purpose, one.recipient, _start_ms(one.until + timedelta(days=1)))
        if offer.name in found:
            raise InvalidRequest("同一用途与接收方只列一次", "each purpose and recipient is named once")
        found[offer.name] = offer
    return list(found.values())


def _notice(ctx: OperationContext, name: str, offers: list[Offer]) -> published.Version | None:
    """The version under which is asked; None for none. Refused NOTICE_NOT_OFFERED, NOTICE_LINE_MISSING."""
    if not name:
        if ctx.host.setting("consent.notice_required"):
            raise Refused(
                "须写明告知书版本：本机构只在已发布的告知书下征求同意", "name a version of a notice: this institution asks under published notices only",
                code="NOTICE_REQUIRED",
            )  # fmt: skip
        return None
    key, _, number = name.partition("@")
    if not number.isdecimal():
        raise NotFound("没有这份告知书或这个版本", "there is no such notice or version", code="NO_NOTICE")
    with ctx.host.store.read() as reader:
        version = published.version_named(reader, key, int(number))
    if not version.is_offered(ctx.host.now_ms()):
        raise Refused(
            "这个版本的告知书现在不供签署：选用已发布、已生效的版本", "customers may not sign under this version now: take one that is published and in effect",
            code="NOTICE_NOT_OFFERED", details={"notice": name},
        )  # fmt: skip
    missing = [one.name for one in offers if version.notice.line(one.purpose, one.recipient) is None]
    if missing:
        raise Refused(
            f"告知书里没有告知：{'、'.join(missing)}", f"the notice does not tell of: {', '.join(missing)}",
            code="NOTICE_LINE_MISSING", details={"notice": name},
        )  # fmt: skip
    return version


def _ask(ctx: OperationContext, request: AskRequest) -> AskReply:
    host: Any = ctx.host  # the node is a Host; its parts have narrower types than the contract names
    phone, id_no = person_of(ctx, request.phone, request.id_no)
    offers = offers_of(ctx, request.offers)
    _notice(ctx, request.notice, offers)
    number, secret, expires = asking.ask(
        host, _registry(ctx), phone=phone, id_no=id_no, offers=offers, notice=request.notice, way=request.way,
        place=request.place, identity=request.identity, method="page, otp-stated" if request.otp_stated else "page",
        actor=ctx.caller.person.token,
    )  # fmt: skip
    return AskReply(ask=number, path=f"/p/sign/{secret}", expires_ms=expires)


def _take_back(ctx: OperationContext, request: TakeBackRequest) -> TakeBackReply:
    host: Any = ctx.host
    return TakeBackReply(ask=request.ask, state=asking.take_back(host, request.ask, actor=ctx.caller.person.token))


def _funnel(ctx: OperationContext, request: NoInput) -> FunnelReply:
    with ctx.host.store.read() as reader:
        totals, found = asking.totals(reader), asking.funnel(reader)
    by_way: dict[tuple[str, str, str], dict[str, int]] = {}
    for purpose, recipient, way, state, count in found:
        row = by_way.setdefault((purpose, recipient, way), {})
        row[state] = row.get(state, 0) + count
    rows = [
        FunnelRow(
            purpose=key[0], recipient=key[1], way=key[2], served=sum(row.values()),
            opened=sum(row.get(state, 0) for state in (asking.OPENED, asking.SIGNED, asking.REFUSED)),
            signed=row.get(asking.SIGNED, 0), refused=row.get(asking.REFUSED, 0), expired=row.get(asking.EXPIRED, 0),
        )
        for key, row in by_way.items()
    ]  # fmt: skip
    return FunnelReply(**totals, rows=rows)


def _capture(ctx: OperationContext, request: CaptureRequest) -> CaptureReply:
    host: Any = ctx.host
    try:
        return _captured(ctx, request, host.uploads.path(request.file).read_bytes())
    finally:
        host.uploads.remove(request.file)


def _captured(ctx: OperationContext, request: CaptureRequest, form: bytes) -> CaptureReply:
    host: Any = ctx.host
    registry, actor = _registry(ctx), ctx.caller.person.token
    phone, id_no = person_of(ctx, request.phone, request.id_no)
    offers = offers_of(ctx, request.offers)
    version = _notice(ctx, request.notice, offers)
    _require_form(ctx, request, form)
    person = _representative(request)
    subject = registry.subject(phone, id_no)
    from_ms = host.now_ms() if request.begins is None else _start_ms(request.begins)
    if any(one.until_ms <= from_ms for one in offers):
        raise InvalidRequest("结束日早于生效日", "the last day lies before the first")
    people.require_not_kept_out(registry.state(), subject, offers, host.now_ms())
    with host.store.read() as reader:
        if request.initiative == "staff":
            recovering.require_refusals_known(reader)
            people.require_may_ask(reader, host, subject, offers)
        backdating.require(reader, host, request.backdating, first_ms=from_ms, grants=len(offers), actor=actor)
    said = said_by(version) if version is not None else {}
    rows = [
        {
            "phone": phone, "id_no": id_no, "purpose": one.purpose, "recipient": one.recipient, "valid_from_ms": from_ms,
            "valid_until_ms": one.until_ms, "channel": request.place, "signer": request.signer, "notice": request.notice or None, "method": METHODS[request.method],
            **said.get(one.name, {}), **(person.values if person is not None else {}),
        }
        for one in offers
    ]  # fmt: skip
    done: list[tuple[int, str]] = []

    def also(tx: Transaction, event: int, digest: str) -> None:
        if request.initiative == "staff":
            people.require_may_ask(tx, host, subject, offers)
        backdating.spend(tx, host, request.backdating, first_ms=from_ms, grants=len(offers), actor=actor)
        name = evidence_name(subject)
        values = {
            "subject": name, "scope": " ".join(one.name for one in offers), "place": request.place, "method": request.method,
            "identity": request.identity, "event": str(event), "proposal": request.backdating if from_ms < backdating.start_of_today(host) else "",
            "initiative": request.initiative, "form": digest, "signer": request.signer, "representative": person.text if person is not None else "",
        }  # fmt: skip
        host.evidence.append(tx, "consent.captured", values, actor=actor, subject=name)
        done.append((event, digest))

    result = write_with_form(host, registry, rows, form, file="capture", actor=actor, also=also)
    return CaptureReply(grants=result.accepted, event=done[-1][0], form=done[-1][1])


def _representative(request: CaptureRequest) -> Representative | None:
    """Who signed for the customer; None when the customer did. InvalidRequest REPRESENTATIVE_MISSING, REPRESENTATIVE_UNEXPECTED."""
    texts = [" ".join(one.split()) for one in (request.signer_name, request.signer_relation, request.authority)]
    if any(not one.isprintable() for one in texts):
        raise InvalidRequest("代签人姓名、关系与授权依据应为可显示的字符", "name, relation and authority are printable characters")
    name, relation, authority = texts
    if request.signer not in REPRESENTING:
        if name or relation or authority or request.authority_digest:
            raise InvalidRequest(
                "由客户本人签署，不填代签人：改选签署人，或清空代签人", "the customer signed: choose another signer, or name nobody else",
                code="REPRESENTATIVE_UNEXPECTED",
            )  # fmt: skip
        return None
    if not name or not authority:
        raise InvalidRequest(
            "由他人代签，请填写代签人姓名和授权依据（如授权委托书、户口簿）",
            "somebody signed for the customer: give that person's name and the basis of authority, such as a mandate or the household register",
            code="REPRESENTATIVE_MISSING",
        )
    return Representative(name, relation, authority, request.authority_digest)


def _require_form(ctx: OperationContext, request: CaptureRequest, form: bytes) -> None:
    limit: int = ctx.host.setting("consent.max_document_bytes")
    fault = "FORM_TOO_LARGE" if len(form) > limit else "" if request.method == "voice" and form else fault_of(request.name, form)
    if fault:
        zh, en = forms.REASONS[fault]
        raise Refused(f"签署文件不能采纳：{zh}", f"the signed form cannot be taken: {en}", code=fault)


def _forms(ctx: OperationContext, request: FormsRequest) -> FormsReply:
    host: Any = ctx.host
    share = host.setting("consent.max_bad_share") if request.max_bad_share is None else request.max_bad_share

    def offer(tx: Transaction, data: bytes) -> str:
        return str(host.downloads.offer(tx, ctx.caller, "rejects.csv", data))

    try:
        result = forms.import_forms(
            host,
            _registry(ctx),
            host.uploads.path(request.file),
            host.uploads.path(request.documents),
            actor=ctx.caller.person.token,
            place=request.place,
            proposal=request.backdating,
            max_bad_share=share,
            offer=offer,
            mapping=request.mapping or None,
            progress=lambda done, total: ctx.progress(done, total, "核对签署文件", "checking signed forms"),
            cancelled=ctx.cancelled,
        )
    finally:
        host.uploads.remove(request.file)
        host.uploads.remove(request.documents)
    done = result.imported
    return FormsReply(
        rows=done.rows, accepted=done.accepted, rejected=done.rejected, duplicates=done.duplicates, suppressed=done.suppressed,
        orphans=result.orphans, event=done.event, root=done.root, reasons=dict(result.reasons),
        sentences=forms.names_of(result.reasons), rejects=result.rejects,
    )  # fmt: skip


def _propose(ctx: OperationContext, request: ProposeBackdating) -> BackdatingView:
    host: Any = ctx.host
    earliest_ms, actor = _start_ms(request.earliest), ctx.caller.person.token
    if not backdating.start_of_today(host) - MOST_DAYS * DAY_MS <= earliest_ms < backdating.start_of_today(host):
        raise InvalidRequest("最早生效日须早于今天，至多十年", "the earliest day lies before today, ten years at most")
    proposal = host.store.write(
        lambda tx: backdating.propose(
            tx, host, earliest_ms=earliest_ms, most=request.most, reason=request.reason, actor=actor
        )
    )
    with host.store.read() as reader:
        return _view(backdating.read(reader, proposal), actor)


def _approve(ctx: OperationContext, request: ApproveBackdating) -> BackdatingView:
    host: Any = ctx.host
    actor = ctx.caller.person.token
    return _view(host.store.write(lambda tx: backdating.approve(tx, host, request.proposal, actor=actor)), actor)


def _waiting(ctx: OperationContext, request: NoInput) -> BackdatingReply:
    with ctx.host.store.read() as reader:
        found = backdating.waiting(reader)
    return BackdatingReply(proposals=[_view(one, ctx.caller.person.token) for one in found])


def _view(one: backdating.Proposal, actor: str) -> BackdatingView:
    return BackdatingView(
        proposal=one.proposal,
        earliest=datetime.fromtimestamp(one.earliest_ms / 1000, backdating.SHANGHAI).date().isoformat(),
        most=one.most,
        reason=one.reason,
        proposed_ms=one.proposed_ms,
        state="USED" if one.used_ms else "APPROVED" if one.approved_ms else "WAITING",
        mine=one.proposed_by == actor,
    )


def _start_ms(day: date) -> int:
    """The first instant of a day in Asia/Shanghai."""
    return round(datetime.combine(day, time(), backdating.SHANGHAI).astimezone(UTC).timestamp() * 1000)


OPERATIONS = (
    Operation(
        name="consent.ask", zh="向客户征求同意", en="ask a customer for consent", request=AskRequest, reply=AskReply,
        roles=COMPLIANCE, run=_ask, evidence=("consent.asked",),
    ),
    Operation(
        name="consent.ask_take_back", zh="收回一次征求", en="take a question back", request=TakeBackRequest, reply=TakeBackReply,
        roles=COMPLIANCE, run=_take_back, evidence=("consent.ask_closed",),
    ),
    Operation(
        name="consent.funnel", zh="查看征求漏斗", en="read what became of questions", request=NoInput, reply=FunnelReply,
        roles=READERS, run=_funnel, weak_token=True, reads_only=True,
    ),
    Operation(
        name="consent.capture", zh="代录签署文件", en="capture a signed form", request=CaptureRequest, reply=CaptureReply,
        roles=COMPLIANCE, run=_capture, takes_file=True, evidence=("consent.captured", "consent.imported"),
    ),
    Operation(
        name="consent.forms_import", zh="批量导入签署文件", en="import signed forms in bulk", request=FormsRequest, reply=FormsReply,
        roles=COMPLIANCE, run=_forms, long=True, takes_file=True, evidence=("consent.forms_imported", "consent.imported"),
    ),
    Operation(
        name="consent.backdating_propose", zh="提议倒签", en="propose backdating", request=ProposeBackdating, reply=BackdatingView,
        roles=COMPLIANCE, run=_propose, evidence=("consent.backdating_proposed",),
    ),
    Operation(
        name="consent.backdating_approve", zh="批准倒签", en="approve backdating", request=ApproveBackdating, reply=BackdatingView,
        roles=frozenset({Role.COMPLIANCE, Role.APPROVER}), run=_approve, fresh_password=True, evidence=("consent.backdating_approved",),
    ),
    Operation(
        name="consent.backdatings", zh="查看待批准的倒签", en="read what backdating waits", request=NoInput, reply=BackdatingReply,
        roles=frozenset({Role.COMPLIANCE, Role.APPROVER, Role.AUDITOR}), run=_waiting, weak_token=True, reads_only=True,
    ),
)  # fmt: skip
