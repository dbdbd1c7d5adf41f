"""Operations about one customer: may they be used, why, and what they refuse. Document: docs/consent.md sections 5, 7, 15."""

from __future__ import annotations

from typing import Any, Final, cast

from pydantic import BaseModel, Field

from workbench.contracts import ConsentRegistry, GrantQuery, Host, OperationContext
from workbench.domain.identifiers import parse_id_no, parse_phone
from workbench.domain.intersection import KeyKind
from workbench.domain.party import PartyId, Role
from workbench.errors import InvalidRequest
from workbench.operations import NoInput, Operation, Reply, Request
from workbench_consent import refusing
from workbench_consent.grants import Reason, Subject, Verdict
from workbench_consent.projection import State
from workbench_consent.reasons import RULES, SENTENCES
from workbench_consent.registry import Registry
from workbench_consent.withdrawing import evidence_name

COMPLIANCE: Final = frozenset({Role.COMPLIANCE})


class DecideRequest(Request):
    """One person, for a purpose, towards a recipient. at_ms: the instant, 0 for now; by what is known now.

    key_kind: the identifier that would be compared. categories, contact: further personal information, and the channel of
    contact, that the use needs.
    """

    phone: str = ""
    id_no: str = ""
    purpose: str
    recipient: str
    at_ms: int = Field(default=0, ge=0, le=4_102_444_800_000)
    key_kind: KeyKind = KeyKind.PHONE
    categories: list[str] = Field(default=[], max_length=40)
    contact: str = Field(default="", max_length=40)


class SpeakingRecord(Reply):
    """The grant that speaks for the answer; what it says besides purpose and recipient; no identifier."""

    record: int
    from_ms: int
    until_ms: int
    channel: str
    notice: str
    notice_digest: str
    categories: list[str]
    contacts: list[str]
    method: str
    signer: str
    max_uses: int
    event: int
    digest: str


class DecideReply(Reply):
    """usable, code ("OK" or a reason), its sentences; rule: which rule of docs/consent.md section 5 decided, in sentences.

    record: the grant that speaks, None when none does. valid_until_ms: until when the answer holds if nothing happens, 0 when not
    usable. as_of: the consent event it rests on. Somebody else who shares the key is seen in a list only (consent.check).
    """

    usable: bool
    code: str
    zh: str
    en: str
    rule: str
    rule_zh: str
    rule_en: str
    record: SpeakingRecord | None
    at_ms: int
    valid_until_ms: int
    as_of: int


class OptOutRequest(Request):
    """phone, id_no: at least one. what: "profiling" and channels of consent.channels."""

    phone: str = ""
    id_no: str = ""
    what: list[str] = Field(min_length=1, max_length=20)
    reason: str = Field(default="", max_length=500)


class OptInRequest(OptOutRequest):
    reason: str = Field(min_length=5, max_length=500)


class OptReply(Reply):
    """events: number of the consent event for each of `what`; entries: entries written or ended."""

    what: list[str]
    events: list[int]
    entries: int


class RefusalCount(Reply):
    """persons: entries of phones and numbers that belong together count once a signed form ties them."""

    what: str
    zh: str
    en: str
    entries: int


class RefusalsReply(Reply):
    rows: list[RefusalCount]


def registry_of(ctx: OperationContext) -> Registry:
    """The registry behind these operations."""
    provider: object = ctx.host.provider(ConsentRegistry)  # type: ignore[type-abstract]  # asked for by its Protocol
    if not isinstance(provider, Registry):
        raise TypeError("these operations belong to the registry of this plugin")
    return provider


def host_of(ctx: OperationContext) -> Host:
    """The node as plugins know it."""
    return cast("Host", ctx.host)


def identifiers(ctx: OperationContext, phone: str, id_no: str) -> tuple[str | None, str | None]:
    """Both in their one spelling; InvalidRequest when neither is given or one cannot be read."""
    if not phone.strip() and not id_no.strip():
        raise InvalidRequest("请填写手机号或身份证号", "give a phone number or an identity number")
    return (
        parse_phone(phone) if phone.strip() else None,
        parse_id_no(id_no, today=ctx.host.today()) if id_no.strip() else None,
    )


def _decide(ctx: OperationContext, request: DecideRequest) -> DecideReply:
    registry, host = registry_of(ctx), host_of(ctx)
    phone, id_no = identifiers(ctx, request.phone, request.id_no)
    if (phone if request.key_kind is KeyKind.PHONE else id_no) is None:
        raise InvalidRequest("请填写所比对的标识", "give the identifier that would be compared")
    query = GrantQuery(
        request.purpose, PartyId(request.recipient), request.at_ms or host.now_ms(), request.key_kind, frozenset(request.categories), request.contact
    )
    verdict, state = registry.decide_one(phone, id_no, query)
    name = evidence_name(registry.subject(phone, id_no))
    code = verdict.reason.code or "OK"
    values = {"subject": name, "purpose": query.purpose, "recipient": query.recipient, "outcome": code}
    host.store.write(lambda tx: host.evidence.append(tx, "consent.checked", values, actor=ctx.caller.person.token, subject=name))
    return reply_of(verdict, state, query)


def reply_of(verdict: Verdict, state: State, query: GrantQuery) -> DecideReply:
    """A verdict in words, with its rule and the record that speaks."""
    zh, en = SENTENCES[verdict.reason]
    rule, rule_zh, rule_en = RULES[verdict.reason]
    return DecideReply(
        usable=verdict.reason is Reason.OK,
        code=verdict.reason.code or "OK",
        zh=zh,
        en=en,
        rule=rule,
        rule_zh=rule_zh,
        rule_en=rule_en,
        record=_speaking(verdict, state),
        at_ms=query.at_ms,
        valid_until_ms=verdict.valid_until_ms,
        as_of=state.seq,
    )


def _speaking(verdict: Verdict, state: State) -> SpeakingRecord | None:
    one = verdict.grant
    if one is None:
        return None
    said = one.conditions
    return SpeakingRecord(
        record=one.record, from_ms=one.from_ms, until_ms=one.until_ms, channel=one.channel, notice=said.notice,
        notice_digest=said.notice_digest, categories=list(said.categories), contacts=list(said.contacts), method=said.method,
        signer=said.signer, max_uses=said.max_uses, event=one.seq, digest=one.digest.hex(),
    )  # fmt: skip


def _named(ctx: OperationContext, what: list[str]) -> list[str]:
    known = [refusing.PROFILING, *ctx.host.setting("consent.channels")]
    unknown = [one for one in what if one not in known]
    if unknown:
        raise InvalidRequest(f"没有这个渠道。可选：{'、'.join(known)}", f"there is no such channel. Known: {', '.join(known)}")
    return list(dict.fromkeys(what))


def _opt_out(ctx: OperationContext, request: OptOutRequest) -> OptReply:
    return _opt(ctx, request, refusing.opt_out)


def _opt_in(ctx: OperationContext, request: OptInRequest) -> OptReply:
    return _opt(ctx, request, refusing.opt_in)


def _opt(ctx: OperationContext, request: OptOutRequest, change: Any) -> OptReply:
    host, actor = host_of(ctx), ctx.caller.person.token
    what = _named(ctx, request.what)
    subject: Subject = registry_of(ctx).subject(*identifiers(ctx, request.phone, request.id_no))
    done = host.store.write(lambda tx: [change(tx, host, subject, one, actor=actor, reason=request.reason) for one in what])
    return OptReply(what=what, events=[one.event for one in done], entries=sum(one.entries for one in done))


def _refusals(ctx: OperationContext, request: NoInput) -> RefusalsReply:
    names = {refusing.PROFILING: ["针对个人特征的自动化营销", "automated marketing by personal traits"], **ctx.host.setting("consent.channels")}
    with ctx.host.store.read() as reader:
        held = refusing.in_force(reader)
    return RefusalsReply(
        rows=[RefusalCount(what=one, zh=words[0], en=words[1], entries=len(held.get(one, []))) for one, words in names.items()]
    )


def _operation(
    name: str, zh: str, en: str, request: type[Request], reply: type[BaseModel], roles: frozenset[Role], run: Any, **flags: Any
) -> Operation:
    return Operation(name=name, zh=zh, en=en, request=request, reply=reply, roles=roles, run=run, **flags)


DECIDE_OPERATIONS = (
    _operation(
        "consent.decide", "判断一位客户此时可否使用", "decide whether one customer may be used", DecideRequest, DecideReply, COMPLIANCE,
        _decide, evidence=("consent.checked",),
    ),
    _operation(
        "consent.opt_out", "登记客户拒绝自动化营销或渠道", "record that a customer refuses profiling or a channel", OptOutRequest, OptReply,
        COMPLIANCE, _opt_out, evidence=("consent.opted_out",),
    ),
    _operation(
        "consent.opt_in", "登记客户重新允许", "record that a customer allows it again", OptInRequest, OptReply, COMPLIANCE, _opt_in,
        fresh_password=True, evidence=("consent.opted_in",),
    ),
    _operation(
        "consent.refusals", "查看拒绝情况", "read how many refuse what", NoInput, RefusalsReply, frozenset({Role.COMPLIANCE, Role.AUDITOR}),
        _refusals, reads_only=True, weak_token=True,
    ),
)  # fmt: skip
