"""Who is on duty and what is at risk, for those who run sandboxes at either role. Document: docs/sandbox-leases.md section 4."""

from __future__ import annotations

from datetime import date
from typing import Any, Final, Literal

from pydantic import Field

from workbench.contracts import HealthReport, Host, OperationContext, Transaction
from workbench.crypto import sm3
from workbench.domain.party import Role
from workbench.errors import NotFound
from workbench.operations import NoInput, Operation, Reply, Request
from workbench_inference.policy.customers import CustomerNames
from workbench_inference.policy.redaction import redact
from workbench_inference.roles import at_both
from workbench_inference.running import registers
from workbench_inference.running.registers import DAY_MS, KEPT_DAYS, Risk, Turn

RUNNERS: Final = frozenset({Role.OPERATOR, Role.PROVIDER_OPERATOR, Role.ADMIN})
WATCHERS: Final = RUNNERS | {Role.COMPLIANCE}
LOOKERS: Final = WATCHERS | {Role.AUDITOR, Role.REGULATOR, Role.APPROVER}
Account = Field(pattern="^[a-z][a-z0-9._-]{1,30}$")


class DutyTurn(Reply):
    """person: display name; is_on: now."""

    duty: int
    person: str
    account: str
    from_ms: int
    until_ms: int
    note: str
    is_on: bool


class DutyGap(Reply):
    """Nobody is on duty in this stretch of a freeze window."""

    from_ms: int
    until_ms: int
    reason: str


class DutyReply(Reply):
    """turns: those to come and of the last seven days. on_duty: names of now."""

    on_duty: list[str]
    turns: list[DutyTurn]
    gaps: list[DutyGap]


class SetDuty(Request):
    """person: account of who is on duty; at most seven days at a stretch."""

    person: str = Account
    from_ms: int = Field(ge=0)
    until_ms: int = Field(ge=0)
    note: str = Field(default="", max_length=200)


class RemoveDuty(Request):
    duty: int = Field(ge=1)
    reason: str = Field(min_length=5, max_length=200)


class RiskTold(Reply):
    """owner: display name. state: open, watched, closed."""

    risk: int
    title: str
    level: str
    owner: str
    account: str
    due: str
    state: str
    is_overdue: bool
    made_ms: int
    changed_ms: int


class RisksReply(Reply):
    risks: list[RiskTold]
    open: int
    overdue: int


class AddRisk(Request):
    """owner: account of who watches it; due: by when it is settled."""

    title: str = Field(min_length=5, max_length=200)
    level: Literal["low", "middle", "high"]
    owner: str = Account
    due: date


class ChangeRisk(Request):
    """What is left empty stays."""

    risk: int = Field(ge=1)
    level: Literal["", "low", "middle", "high"] = ""
    owner: str = Field(default="", pattern="^([a-z][a-z0-9._-]{1,30})?$")
    due: date | None = None
    state: Literal["", "open", "watched", "closed"] = ""
    reason: str = Field(min_length=5, max_length=200)


class ExportRegister(Request):
    """duty as iCalendar, risks as CSV."""

    what: Literal["duty", "risks"]


class RegisterFile(Reply):
    """download: to be taken once within the hour."""

    download: str
    name: str
    count: int


def _host(ctx: OperationContext) -> Any:  # Any: the node, with its people
    return ctx.host


def _duty(ctx: OperationContext, request: NoInput) -> DutyReply:
    host = _host(ctx)
    now = host.now_ms()
    names = host.people.names()
    with host.store.read() as reader:
        listed = registers.turns(reader, since_ms=now - KEPT_DAYS * DAY_MS)
        gaps = registers.uncovered(reader, now_ms=now)
    turns = [
        DutyTurn(
            duty=one.duty, person=_name(names, one.person), account=names.get(one.person, ("", ""))[0], from_ms=one.from_ms, until_ms=one.until_ms, note=one.note, is_on=one.is_on(now)
        )
        for one in listed
    ]
    return DutyReply(on_duty=[one.person for one in turns if one.is_on], turns=turns, gaps=[DutyGap(from_ms=start, until_ms=stop, reason=why) for start, stop, why in gaps])


def _set_duty(ctx: OperationContext, request: SetDuty) -> DutyReply:
    host, person, note = _host(ctx), _token(ctx, request.person), _redacted(ctx, request.note)
    host.store.write(
        lambda tx: registers.set_turn(host, tx, person=person, from_ms=request.from_ms, until_ms=request.until_ms, note=note, actor=ctx.caller.person.token)
    )
    return _duty(ctx, NoInput())


def _remove_duty(ctx: OperationContext, request: RemoveDuty) -> DutyReply:
    host = _host(ctx)
    host.store.write(lambda tx: registers.remove_turn(host, tx, request.duty, actor=ctx.caller.person.token, reason=request.reason))
    return _duty(ctx, NoInput())


def _risks(ctx: OperationContext, request: NoInput) -> RisksReply:
    host = _host(ctx)
    names, today = host.people.names(), host.today().isoformat()
    with host.store.read() as reader:
        found = registers.risks(reader)
    told = [
        RiskTold(
            risk=one.risk, title=one.title, level=one.level, owner=_name(names, one.owner), account=names.get(one.owner, ("", ""))[0], due=one.due, state=one.state,
            is_overdue=one.is_overdue(today), made_ms=one.made_ms, changed_ms=one.changed_ms,
        )
        for one in found
    ]  # fmt: skip
    return RisksReply(risks=told, open=sum(one.state != "closed" for one in told), overdue=sum(one.is_overdue for one in told))


def _add_risk(ctx: OperationContext, request: AddRisk) -> RisksReply:
    host, owner, title = _host(ctx), _token(ctx, request.owner), _redacted(ctx, request.title)
    host.store.write(
        lambda tx: registers.add_risk(host, tx, title=title, level=request.level, owner=owner, due=request.due.isoformat(), actor=ctx.caller.person.token)
    )
    return _risks(ctx, NoInput())


def _change_risk(ctx: OperationContext, request: ChangeRisk) -> RisksReply:
    host, owner = _host(ctx), _token(ctx, request.owner) if request.owner else ""
    due = request.due.isoformat() if request.due else ""
    host.store.write(
        lambda tx: registers.change_risk(
            host, tx, request.risk, level=request.level, owner=owner, due=due, state=request.state, actor=ctx.caller.person.token, reason=_redacted(ctx, request.reason)
        )
    )
    return _risks(ctx, NoInput())


def _export(ctx: OperationContext, request: ExportRegister) -> RegisterFile:
    host = _host(ctx)
    names, today = host.people.names(), host.today().isoformat()
    with host.store.read() as reader:
        turns: list[Turn] = registers.turns(reader, since_ms=0) if request.what == "duty" else []
        rows: list[Risk] = registers.risks(reader) if request.what == "risks" else []
    if request.what == "duty":
        data, name = registers.calendar([(one, _name(names, one.person)) for one in turns], party=host.party, made_ms=host.now_ms()), f"duty-{today}.ics"
    else:
        data, name = registers.sheet([(one, _name(names, one.owner)) for one in rows], today=today), f"risks-{today}.csv"
    count = len(turns) + len(rows)

    def change(tx: Transaction) -> str:
        values = {"what": request.what, "count": str(count), "file": sm3.digest(data).hex()}
        host.evidence.append(tx, "inference.register_exported", values, actor=ctx.caller.person.token)
        return str(host.downloads.offer(tx, ctx.caller, name, data))

    return RegisterFile(download=host.store.write(change), name=name, count=count)


def health(host: Host) -> list[HealthReport]:
    """A line where a freeze window has nobody on duty, and one where risks are overdue."""
    with host.store.read() as reader:
        gaps = registers.uncovered(reader, now_ms=host.now_ms())
        overdue = sum(one.is_overdue(host.today().isoformat()) for one in registers.risks(reader, with_closed=False))
    made = []
    if gaps:
        made.append(HealthReport("duty", "warning", f"冻结窗口有 {len(gaps)} 段无人值班", f"nobody is on duty in {len(gaps)} stretches of freeze windows"))
    if overdue:
        made.append(HealthReport("risks", "warning", f"风险登记有 {overdue} 项逾期", f"{overdue} risks of the register are overdue"))
    return made


def _token(ctx: OperationContext, account: str) -> str:
    found = next((one.token for one in _host(ctx).people.everyone() if one.person == account), "")
    if not found:
        raise NotFound("没有这个账号，或已停用", "there is no such account, or it is disabled", code="NO_PERSON")
    return str(found)


def _name(names: dict[str, tuple[str, str]], token: str) -> str:
    return names.get(token, ("", token))[1]


def _redacted(ctx: OperationContext, text: str) -> str:
    return redact(text, CustomerNames(_host(ctx)).now()).text


def _acts(name: str, zh: str, en: str, request: type[Request], reply: type[Reply], run: Any, roles: frozenset[Role], *evidence: str) -> Operation:
    return Operation(name=f"inference.{name}", zh=zh, en=en, request=request, reply=reply, roles=roles, run=run, reads_only=not evidence, evidence=evidence)


RUNNING_OPERATIONS: Final = at_both((
    _acts("duty", "查看值班表", "read the duty roster", NoInput, DutyReply, _duty, LOOKERS),
    _acts("duty_set", "排一个班次", "put a turn on the duty roster", SetDuty, DutyReply, _set_duty, RUNNERS, "inference.duty_changed"),
    _acts("duty_remove", "取消一个班次", "take a turn off the duty roster", RemoveDuty, DutyReply, _remove_duty, RUNNERS, "inference.duty_changed"),
    _acts("risks", "查看风险登记", "read the risk register", NoInput, RisksReply, _risks, LOOKERS),
    _acts("risk_add", "登记一项风险", "add a risk to the register", AddRisk, RisksReply, _add_risk, WATCHERS, "inference.risk_changed"),
    _acts("risk_change", "变更或关闭一项风险", "change or close a risk", ChangeRisk, RisksReply, _change_risk, WATCHERS, "inference.risk_changed"),
    _acts("register_export", "导出值班表或风险登记", "export the roster or the risk register", ExportRegister, RegisterFile, _export, LOOKERS - {Role.REGULATOR}, "inference.register_exported"),
))  # fmt: skip

__all__ = ["LOOKERS", "RUNNERS", "RUNNING_OPERATIONS", "WATCHERS", "health"]
