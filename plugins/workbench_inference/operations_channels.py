"""Credentials of channels, for people; and what a channel's machine does with them: look a customer up, ask, read, stop, rate.

Document: docs/channels.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any, Final, Literal

from pydantic import Field

from workbench.contracts import ConsentRegistry, FindsCustomers, OperationContext
from workbench.domain.identifiers import parse_phone
from workbench.domain.party import Role
from workbench.errors import InvalidRequest, NotFound, Refused, WorkbenchError
from workbench.operations import NoInput, Operation, Reply, Request
from workbench_inference import operations_ask
from workbench_inference.asking import house
from workbench_inference.asking.service import asking_of
from workbench_inference.channels import credentials
from workbench_inference.channels.adapters import ADAPTERS, Adapter
from workbench_inference.channels.credentials import PREFIX, ChannelMachines, Credential
from workbench_inference.channels.replies import (
    ChannelAnswer,
    ChannelAsk,
    ChannelCustomer,
    ChannelLook,
    ChannelQuestion,
    ChannelRating,
    ChannelScenario,
    ChannelSignedIn,
    ChannelTaken,
)
from workbench_inference.operations_ask import RateRequest
from workbench_inference.operations_policy import end_of
from workbench_inference.policy import channels, tables
from workbench_inference.policy.channels import CLIENT, INTERNAL
from workbench_inference.policy.quota import CUSTOMER
from workbench_inference.policy.scenarios import scenarios
from workbench_inference.roles import at_tenant

KEEPERS: Final = frozenset({Role.ADMIN, Role.COMPLIANCE})
REVOKERS: Final = KEEPERS | {Role.OPERATOR, Role.APPROVER}
LOOKERS: Final = REVOKERS | {Role.AUDITOR, Role.REGULATOR}
ASKING: Final = frozenset(Role) - tables.NEVER_ASK
"""Roles that a credential may be bound to."""


class ChannelAdd(Request):
    """name: of the credential, such as office or junhong-app. channel: internal (office system) or client (customers' app). role: under
    which it is asked. until_day: its last day."""

    name: str = Field(pattern="^[a-z][a-z0-9-]{1,30}$")
    channel: Literal["internal", "client"]
    role: Role
    per_minute: int = Field(default=60, ge=1, le=6_000)
    until_day: date
    reason: str = Field(min_length=5, max_length=200)


class ChannelNamed(Request):
    """name: of a credential that is not revoked."""

    name: str = Field(pattern="^[a-z][a-z0-9-]{1,30}$")
    reason: str = Field(min_length=5, max_length=200)


class ChannelInfo(Reply):
    """credential: its name in evidence. state: waiting, live, ended, revoked. asks: questions through it, ever. may_confirm: whether who looks may."""

    credential: str
    name: str
    channel: str
    role: str
    per_minute: int
    state: str
    first: str
    second: str
    made_ms: int
    until_ms: int
    revoked_ms: int
    asks: int
    may_confirm: bool


class ChannelsReply(Reply):
    channels: list[ChannelInfo]


class ChannelAdded(Reply):
    """secret: told this once; it opens nothing until another person has confirmed the credential."""

    channel: ChannelInfo
    secret: str = Field(repr=False)


def _host(ctx: OperationContext) -> Any:  # Any: the node, with its people and lists
    return ctx.host


# ---- credentials


def _channels(ctx: OperationContext, request: NoInput) -> ChannelsReply:
    with _host(ctx).store.read() as reader:
        asks = {str(row[0]): int(row[1]) for row in reader.execute("SELECT credential, count(*) FROM inference_ask WHERE credential <> '' GROUP BY credential")}
        found = credentials.credentials(reader)
    return ChannelsReply(channels=[_info(ctx, one, asks.get(one.credential, 0)) for one in found])


def _info(ctx: OperationContext, row: Credential, asks: int = 0) -> ChannelInfo:
    host, person = _host(ctx), ctx.caller.person
    return ChannelInfo(
        credential=row.credential, name=row.name, channel=row.channel, role=row.role, per_minute=row.per_minute,
        state="ended" if row.state == "live" and not row.is_live(host.now_ms()) else row.state, first=host.person_named(row.first),
        second=host.person_named(row.second) if row.second else "", made_ms=row.made_ms, until_ms=row.until_ms, revoked_ms=row.revoked_ms, asks=asks,
        may_confirm=row.state == "waiting" and row.first != person.token and bool(KEEPERS & person.roles),
    )  # fmt: skip


def _add(ctx: OperationContext, request: ChannelAdd) -> ChannelAdded:
    host, actor = _host(ctx), ctx.caller.person.token
    made, secret = host.store.write(
        lambda tx: credentials.add(
            host, tx, name=request.name, channel=request.channel, role=request.role, per_minute=request.per_minute, until_ms=end_of(request.until_day), actor=actor,
            reason=request.reason,
        )
    )  # fmt: skip
    return ChannelAdded(channel=_info(ctx, made), secret=secret)


def _confirm(ctx: OperationContext, request: ChannelNamed) -> ChannelInfo:
    host, actor = _host(ctx), ctx.caller.person.token
    return _info(ctx, host.store.write(lambda tx: credentials.confirm(host, tx, name=request.name, actor=actor, reason=request.reason)))


def _revoke(ctx: OperationContext, request: ChannelNamed) -> ChannelsReply:
    host, actor = _host(ctx), ctx.caller.person.token
    host.store.write(lambda tx: credentials.revoke(host, tx, name=request.name, actor=actor, reason=request.reason))
    return _channels(ctx, NoInput())


# ---- what a machine does


def _machines(ctx: OperationContext) -> ChannelMachines:
    found: ChannelMachines = _host(ctx).machines(PREFIX)
    return found


def _through(run: Callable[[OperationContext, Any, Adapter], Any]) -> Callable[[OperationContext, Any], Any]:
    """An operation of a machine, refused in the words of its channel."""

    def worded(ctx: OperationContext, request: Any) -> Any:
        adapter = ADAPTERS[ctx.caller.machine]
        try:
            return run(ctx, request, adapter)
        except WorkbenchError as error:
            raise adapter.refused(error) from error

    return worded


def _customer(ctx: OperationContext, request: ChannelSignedIn, adapter: Adapter) -> ChannelCustomer:
    """The reference of a customer whom the app has signed in, and whether they may ask. Who is not invited is told as who is unknown."""
    host = _host(ctx)
    _machines(ctx).spend(ctx.caller)
    registry: Any = host.provider(ConsentRegistry)
    if not isinstance(registry, FindsCustomers):
        raise Refused("授权登记不能按客户查找。管理员检查插件", "the consent registry cannot find customers: an administrator checks the plugin", code="NO_CUSTOMER_TOKENS")
    (token,) = registry.tokens_of(phones=[str(parse_phone(request.phone))], id_nos=())
    zh = en = code = ""
    with host.store.read() as reader:
        standing = asking_of(host).customers.standing(reader, (token,))
        quota = tables.quota_of(reader, host, f"{CUSTOMER}{token}", is_group=False)
        try:
            channels.require_standing(standing)
            if not standing.klass:
                raise Refused("没有这位客户的风险等级", "no risk class of this customer is known", code="CLIENT_CLASS_MISSING")
        except WorkbenchError as error:
            refused = adapter.refused(error)
            code, zh, en = refused.code, refused.zh, refused.en
    offered = [ChannelScenario(scenario=one.name, zh=one.zh, en=one.en) for one in scenarios().values() if one.clients and not one.is_draft]
    return ChannelCustomer(customer=token, may_ask=not code, stage=standing.stage, code=code, zh=zh, en=en, left=0 if code else quota.left, scenarios=[] if code else offered)


def _ask(ctx: OperationContext, request: ChannelQuestion, adapter: Adapter) -> ChannelTaken:
    _machines(ctx).spend(ctx.caller)
    host = _host(ctx)
    person = adapter.person(host, ctx.caller, request)
    asked = adapter.asked(f"ask-{host.random(16).hex()}", ctx.caller, request)
    ask, waiting = asking_of(host).desk.take_in(person, asked)
    return ChannelTaken(ask=ask, waiting=waiting)


def _own(ctx: OperationContext, request: ChannelAsk, adapter: Adapter) -> OperationContext:
    """The context of whoever asked this question; NotFound for another's, as for one that never was."""
    host = _host(ctx)
    person = adapter.person(host, ctx.caller, request)
    with host.store.read() as reader:
        row = house.row_of(reader, request.ask)
    if row is None or not adapter.is_own(row, ctx.caller, person, request):
        raise NotFound("没有这次提问，或不是你的", "there is no such question, or it is not yours", code="NO_ASK")
    return replace(ctx, caller=person)


def _answer(ctx: OperationContext, request: ChannelLook, adapter: Adapter) -> ChannelAnswer:
    machines = _machines(ctx)
    machines.spend_read(ctx.caller)
    try:
        own = _own(ctx, request, adapter)
    except WorkbenchError:
        machines.spend(ctx.caller)  # the wide share is for answers that are there: a refused read is a request
        raise
    desk = asking_of(_host(ctx)).desk
    progress = desk.progress(request.ask)
    if progress is not None:
        desk.wait(progress, request.after, seconds=operations_ask.WAIT_S)
    told = operations_ask.told_of(own, request.ask)
    return adapter.told(told, after=progress.records if progress is not None else request.after)


def _stop(ctx: OperationContext, request: ChannelAsk, adapter: Adapter) -> ChannelAnswer:
    _machines(ctx).spend(ctx.caller)
    own = _own(ctx, request, adapter)
    asking_of(_host(ctx)).desk.stop(request.ask, own.caller.person.token)
    return adapter.told(operations_ask.told_of(own, request.ask), after=0)


def _rate(ctx: OperationContext, request: ChannelRating, adapter: Adapter) -> ChannelAnswer:
    _machines(ctx).spend(ctx.caller)
    own = _own(ctx, request, adapter)
    if request.rating == "" and request.reason:
        raise InvalidRequest("收回评价时不写理由", "taking a rating back has no reason")
    return adapter.told(operations_ask.rate_as(own, RateRequest(ask=request.ask, rating=request.rating, reason=request.reason)), after=0)


_BOTH: Final = frozenset({INTERNAL.name, CLIENT.name})


def _of_machines(name: str, zh: str, en: str, request: type[Request], reply: type[Reply], run: Any, *, machines: frozenset[str] = _BOTH, **more: Any) -> Operation:
    return Operation(name=f"inference.channel_{name}", zh=zh, en=en, request=request, reply=reply, roles=ASKING, run=_through(run), machines=machines, **more)


CHANNEL_OPERATIONS: Final = at_tenant((
    Operation(
        name="inference.channels", zh="查看渠道凭据", en="read the credentials of channels", request=NoInput, reply=ChannelsReply, roles=LOOKERS, run=_channels, reads_only=True,
    ),
    Operation(
        name="inference.channel_add", zh="新增渠道凭据", en="add a credential of a channel", request=ChannelAdd, reply=ChannelAdded, roles=KEEPERS, run=_add, fresh_password=True,
        evidence=("inference.channel_added",),
    ),
    Operation(
        name="inference.channel_confirm", zh="确认另一人新增的渠道凭据", en="confirm a credential that another person added", request=ChannelNamed, reply=ChannelInfo, roles=KEEPERS,
        run=_confirm, fresh_password=True, evidence=("inference.channel_confirmed",),
    ),
    Operation(
        name="inference.channel_revoke", zh="撤销渠道凭据", en="revoke a credential of a channel", request=ChannelNamed, reply=ChannelsReply, roles=REVOKERS, run=_revoke,
        evidence=("inference.channel_revoked",),
    ),
    _of_machines(
        "customer", "渠道：查已登录客户能否提问", "channel: whether a signed-in customer may ask", ChannelSignedIn, ChannelCustomer, _customer, machines=frozenset({CLIENT.name}), reads_only=True,
    ),
    _of_machines(
        "ask", "渠道：提问", "channel: ask", ChannelQuestion, ChannelTaken, _ask, own_only=True,
        evidence=("inference.asked", "inference.ask_refused", "inference.answered", "inference.answer_lost"),
    ),
    _of_machines("answer", "渠道：看回答", "channel: read an answer", ChannelLook, ChannelAnswer, _answer, reads_only=True),
    _of_machines("stop", "渠道：停止回答", "channel: stop an answer", ChannelAsk, ChannelAnswer, _stop, own_only=True),
    _of_machines("rate", "渠道：评价回答", "channel: rate an answer", ChannelRating, ChannelAnswer, _rate, own_only=True, evidence=("inference.rated",)),
))  # fmt: skip

__all__ = ["ASKING", "CHANNEL_OPERATIONS", "KEEPERS", "ChannelAdded", "ChannelInfo", "ChannelsReply"]
