"""Servers, scaling, calendar, budget, price and service key: who sees and who sets them. docs/protocols/sandbox.md sections 2 and 9."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Final, Literal

from pydantic import Field

from workbench.contracts import OperationContext, Transaction
from workbench.domain.party import Role
from workbench.errors import InvalidRequest, NotFound, Refused
from workbench.operations import NoInput, Operation, Request
from workbench_inference.leasing import autoscaling, capacity, growth, keys, replies, rows, telling
from workbench_inference.leasing.launching import Growing
from workbench_inference.leasing.lease import State
from workbench_inference.leasing.scaling import ScalingRule
from workbench_inference.leasing.schedule import Calendar, format_calendar, parse_calendar
from workbench_inference.leasing.service import Leasing, leasing_of, provider_of, tenant_of
from workbench_inference.policy.feedback import p95
from workbench_inference.roles import at_both, at_provider, at_tenant
from workbench_sandbox.formats.metering import parse_tick
from workbench_sandbox.formats.reading import POOLS
from workbench_sandbox.formats.servicekey import parse_service_key
from workbench_sandbox.server import programs

LOOKERS: Final = frozenset({Role.OPERATOR, Role.ADVISER, Role.AUDITOR, Role.REGULATOR, Role.COMPLIANCE, Role.PROVIDER_OPERATOR})
PROVIDERS: Final = frozenset({Role.PROVIDER_OPERATOR})
SETTERS: Final = frozenset({Role.OPERATOR, Role.ADMIN})
_CURVE: Final = 500
_METERS: Final = 1_000
_HOUR_MS: Final = 3_600_000


class ScalingRequest(Request):
    """The newest decisions; lease: "" for all."""

    lease: str = Field(default="", max_length=32)
    limit: int = Field(default=100, ge=1, le=1000)


class ServerAddRequest(Request):
    """A card more. server: "" for a name of the node's; dedicated: the tenant whose alone it is, "" for the shared pool."""

    server: str = Field(default="", pattern=r"(?:v-[0-9a-f]{8})?")
    dedicated: str = Field(default="", max_length=31)


class ServerRequest(Request):
    """One server."""

    server: str = Field(pattern=r"v-[0-9a-f]{8}")


class DrainRequest(Request):
    """is_drained: takes no further lease, or takes them again."""

    server: str = Field(pattern=r"v-[0-9a-f]{8}")
    is_drained: bool = True


class FreezeRequest(Request):
    """A stretch in which nothing is leased, or with `remove` the number of one that is taken back."""

    from_ms: int = Field(default=0, ge=0)
    until_ms: int = Field(default=0, ge=0)
    remove: int = Field(default=0, ge=0)
    reason: str = Field(default="", max_length=200)


class TariffRequest(Request):
    """fen a card-minute, for orders from now on."""

    fen_per_card_minute: int = Field(ge=0, le=10**9)
    reason: str = Field(default="", max_length=200)


class ScheduleRequest(Request):
    """The calendar, and what it orders: image "" keeps the plan. Times of day HH:MM in Asia/Shanghai; days 1 to 7; closed: dates."""

    peak: list[str] = Field(default_factory=list, max_length=20)
    opens_at: str = Field(default="09:00", max_length=5)
    release_at: str = Field(default="22:00", max_length=5)
    days: list[int] = Field(default_factory=lambda: [1, 2, 3, 4, 5], max_length=7)
    closed: list[str] = Field(default_factory=list, max_length=400)
    peak_cards: int = Field(default=2, ge=1, le=1000)
    other_cards: int = Field(default=2, ge=1, le=1000)
    is_on: bool = True
    image: str = Field(default="", pattern=r"(?:[0-9a-f]{64})?")
    most_cards: int = Field(default=10, ge=1, le=1000)
    pool: Literal["shared", "dedicated"] = "shared"
    assurance: Literal["process", "gvisor", "tee"] = "process"
    budget_fen: int = Field(default=0, ge=0)
    reason: str = Field(default="", max_length=200)


class ScalerRequest(Request):
    """Bounds and times of the rule, and who starts servers: `processes` (cards of the lease) or another that is installed."""

    least: int = Field(default=2, ge=0, le=1000)
    most: int = Field(default=10, ge=1, le=1000)
    queue_per_server: int = Field(default=4, ge=1, le=10_000)
    cooldown_s: int = Field(default=60, ge=0, le=86_400)
    start_delay_s: int = Field(default=20, ge=0, le=3_600)
    wait_s: int = Field(default=30, ge=2, le=3_600)
    scaler: str = Field(default="processes", max_length=64)
    reason: str = Field(default="", max_length=200)


class BudgetRequest(Request):
    """fen a month, 0 for none."""

    fen: int = Field(ge=0)
    reason: str = Field(default="", max_length=200)


def servers(ctx: OperationContext, _request: NoInput) -> replies.ServersReply:
    """Every card at a provider; at a tenant those that hold its leases, as the provider says."""
    leasing = leasing_of(ctx.host)
    told = _provider_servers(leasing) if leasing.provider is not None else _tenant_servers(leasing)
    count = Counter(one.state for one in told)
    freezes: list[replies.FreezeTold] = []
    price, since = 0, 0
    assurance: tuple[str, ...] = ("process",)
    offered: dict[str, Any] = {}
    if leasing.provider is not None:
        offered = _offered(leasing, told)
        assurance = leasing.provider.assurance
        with leasing.host.store.read() as reader:
            price = capacity.tariff(reader, leasing.host) or 0
            since = int(reader.execute("SELECT coalesce(max(since_ms), 0) FROM inference_tariff").fetchone()[0])
            found = reader.execute("SELECT freeze, from_ms, until_ms, reason FROM inference_freeze WHERE removed_ms = 0 AND until_ms > ? ORDER BY from_ms", (leasing.host.now_ms(),)).fetchall()
        freezes = [replies.FreezeTold(freeze=one[0], from_ms=one[1], until_ms=one[2], reason=one[3]) for one in found]
    return replies.ServersReply(
        servers=told, dirty=count["DIRTY"], sanitised=count["SANITISED"], ready=count["READY"], leased=count["LEASED"], assurance=list(assurance), freezes=freezes,
        fen_per_card_minute=price, tariff_since_ms=since, **offered,
    )  # fmt: skip


def _offered(leasing: Leasing, told: list[replies.ServerTold]) -> dict[str, Any]:
    """What a provider has for all tenants together: cards that take leases, by pool, and what may run on them."""
    with leasing.host.store.read() as reader:
        ready = int(reader.execute("SELECT count(*) FROM inference_image WHERE state = 'ready'").fetchone()[0])
    pools = []
    for pool in POOLS:
        every = [one for one in told if one.pool == pool and not one.is_drained]
        if every:
            pools.append(replies.PoolTold(pool=pool, free=sum(one.state in ("READY", "SANITISED") for one in every), most_cards=len(every)))
    start_s = 1 if any(one.state == "READY" for one in told) else int(leasing.host.setting("inference.start_delay_s"))
    return {"pools": pools, "ready_s": start_s, "programs": programs.names(leasing.host.setting("inference.programs"), here=True), "images": ready}


def scaling(ctx: OperationContext, request: ScalingRequest) -> replies.ScalingReply:
    """Decisions with their reasons, the curve, the rule."""
    leasing = leasing_of(ctx.host)
    host = leasing.host
    with host.store.read() as reader:
        found = reader.execute(
            "SELECT number, lease, time_ms, before, after, queue, rule, zh, en, scaler, code FROM inference_decision WHERE ? IN ('', lease) ORDER BY number DESC LIMIT ?", (request.lease, request.limit)
        ).fetchall()
        ticks = reader.execute("SELECT body, signature, reply, state, reason, at_ms FROM inference_tick WHERE ? IN ('', lease) ORDER BY at_ms DESC LIMIT ?", (request.lease, _CURVE)).fetchall()
        chosen, plan = autoscaling.scaler_of(reader), autoscaling.rule_of(reader, autoscaling.PLAN) or {}
        running = [one for one in rows.listed(reader, states=[State.RUNNING]) if one.side == rows.TENANT]
        took = reader.execute(
            "SELECT ended_ms - asked_ms, card_ms FROM inference_ask WHERE state IN ('ANSWERED', 'ABSTAINED') AND ended_ms > ?", (host.now_ms() - _HOUR_MS,)
        ).fetchall()
        metered = reader.execute("SELECT body, signature FROM inference_tick ORDER BY at_ms DESC LIMIT ?", (_METERS,)).fetchall()
    rule, calendar = autoscaling.scaling_rule(host), autoscaling.calendar_of(host)
    decisions = [
        replies.DecisionTold(
            number=one[0], lease=one[1], time_ms=one[2], before=one[3], after=one[4], queue=one[5], rule=one[6], zh=one[7], en=one[8], scaler=one[9], code=one[10]
        )
        for one in found
    ]  # fmt: skip
    points = [(one.at_ms, one.cards, 0) for one in (telling.tick_told(tuple(row)) for row in ticks)] + [(one.time_ms, one.after, one.queue) for one in decisions if one.scaler == autoscaling.PROCESSES and not one.code]
    curve = [replies.LoadPoint(time_ms=at, cards=cards, queue=queue) for at, cards, queue in sorted(points)[-_CURVE:]]
    return replies.ScalingReply(
        scaler=chosen, decisions=decisions, curve=curve, least=rule.least, most=rule.most, queue_per_server=rule.queue_per_server,
        cooldown_s=rule.cooldown_s, start_delay_s=rule.start_delay_s, wait_s=rule.wait_s,
        calendar=", ".join(f"{start:%H:%M}–{stop:%H:%M}" for start, stop in calendar.peak), is_scheduled=calendar.is_on,
        schedule=_calendar_told(calendar, plan) if leasing.tenant is not None else None,
        asks_hour=len(took), p95_ms=p95([one[0] for one in took]), asks_per_card_minute=60_000 * len(took) // max(1, sum(one[1] for one in took)) if took else 0,
        outside=[row.lease for row, _ in autoscaling.counted_outside(autoscaling.Images(host), running)] if chosen != autoscaling.PROCESSES else [],
        by_cards=[replies.CardsTold(**asdict(one)) for one in growth.growth([_metered(bytes(body), bytes(signature)) for body, signature in metered])],
    )  # fmt: skip


@lru_cache(maxsize=2 * _METERS)  # a page asks every few seconds, and a meter never changes: 28 ms for a thousand, then 1
def _metered(body: bytes, signature: bytes) -> growth.Metered:
    tick, _ = parse_tick(len(body).to_bytes(4, "big") + body + signature)
    return growth.Metered(tick.lease, tick.from_s, tick.to_s, tick.cards, tick.asks)


def _calendar_told(calendar: Calendar, plan: Mapping[str, Any]) -> replies.CalendarTold:
    written = format_calendar(calendar)
    return replies.CalendarTold(
        **{**written, "peak": ["-".join(one) for one in written["peak"]]}, image=str(plan.get("image", "")), most_cards=int(plan.get("most_cards", 0)),
        pool=str(plan.get("pool", "shared")), budget_fen=int(plan.get("budget_fen", 0)),
    )  # fmt: skip


def server_add(ctx: OperationContext, request: ServerAddRequest) -> replies.DoneReply:
    """One more card, DIRTY."""
    provider = provider_of(ctx.host)
    host = provider.host
    if not isinstance(provider.servers, Growing):
        raise Refused("这种隔离方式不能增减服务器", "Servers of this isolation cannot be added", code="NO_SERVER")
    if request.dedicated and request.dedicated not in host.parties():
        raise NotFound("没有这个机构", "There is no such institution", code="UNKNOWN_PARTNER")
    name = request.server or f"v-{host.random(4).hex()}"
    with host.store.read() as reader:
        if reader.execute("SELECT 1 FROM inference_server WHERE server = ?", (name,)).fetchone():
            raise Refused("已有这台服务器", "There is such a server already", code="SERVER_EXISTS")
    provider.servers.add(name)

    def change(tx: Transaction) -> None:
        tx.execute("INSERT INTO inference_server (server, state, dedicated, changed_ms, cause) VALUES (?, 'DIRTY', ?, ?, 'added')", (name, request.dedicated, host.now_ms()))
        _say(tx, ctx, name, "", "DIRTY", f"added {request.dedicated}".strip())

    host.store.write(change)
    leasing_of(ctx.host).wake()
    return replies.DoneReply(what=name, state="DIRTY")


def server_clean(ctx: OperationContext, request: ServerRequest) -> replies.DoneReply:
    """Kill, look and clear a server that holds no lease; SANITISED when nothing is found."""
    provider = provider_of(ctx.host)
    one = _server(ctx, request.server)
    if any(held.server == one.server for held in provider.held.values()):
        raise Refused("这台服务器在租，先释放租约", "This server is leased; release the lease first", code="SERVER_LEASED")
    looked = provider.upkeep.clean(one.server)
    state = next((told.state for told in provider.servers.states() if told.server == one.server), "DIRTY")
    found = " ".join(f"{check.name}={check.found}" for check in looked.checks if check.found)
    ctx.host.store.write(lambda tx: _say(tx, ctx, one.server, one.stage.value, state, found or "cleaned"))
    leasing_of(ctx.host).wake()
    return replies.DoneReply(what=one.server, state=state)


def server_drain(ctx: OperationContext, request: DrainRequest) -> replies.DoneReply:
    """A server takes no further lease, or takes them again."""
    one = _server(ctx, request.server)

    def change(tx: Transaction) -> None:
        tx.execute("UPDATE inference_server SET is_drained = ? WHERE server = ?", (int(request.is_drained), one.server))
        _say(tx, ctx, one.server, one.stage.value, one.stage.value, "drained" if request.is_drained else "undrained")

    ctx.host.store.write(change)
    return replies.DoneReply(what=one.server, state="drained" if request.is_drained else one.stage.value)


def freeze_set(ctx: OperationContext, request: FreezeRequest) -> replies.DoneReply:
    """A stretch without leases, or one taken back."""
    host, token = ctx.host, ctx.caller.person.token

    def change(tx: Transaction) -> int:
        if request.remove:
            row = tx.execute("SELECT from_ms, until_ms FROM inference_freeze WHERE freeze = ? AND removed_ms = 0", (request.remove,)).fetchone()
            if row is None:
                raise NotFound("没有这个冻结窗口", "There is no such freeze window", code="NO_FREEZE")
            tx.execute("UPDATE inference_freeze SET removed_ms = ? WHERE freeze = ?", (host.now_ms(), request.remove))
            values = {"from": str(row[0]), "until": str(row[0]), "reason": request.reason}  # an empty stretch: taken back
            host.evidence.append(tx, "inference.freeze_changed", values, actor=token)
            return request.remove
        if not host.now_ms() - 60_000 <= request.from_ms < request.until_ms:
            raise InvalidRequest("冻结窗口须从现在或以后开始，且止晚于起", "A freeze begins now or later and ends after that", code="FREEZE_TIMES")
        number = tx.execute(
            "INSERT INTO inference_freeze (from_ms, until_ms, reason, by) VALUES (?, ?, ?, ?)", (request.from_ms, request.until_ms, request.reason, token)
        ).lastrowid
        values = {"from": str(request.from_ms), "until": str(request.until_ms), "reason": request.reason}
        host.evidence.append(tx, "inference.freeze_changed", values, actor=token)
        return int(number or 0)

    return replies.DoneReply(what=str(host.store.write(change)), state="removed" if request.remove else "set")


def tariff_set(ctx: OperationContext, request: TariffRequest) -> replies.DoneReply:
    """The price of orders from now on; leases that run keep theirs."""
    provider = provider_of(ctx.host)
    host, token = provider.host, ctx.caller.person.token

    def change(tx: Transaction) -> None:
        before = capacity.tariff(tx, host)
        tx.execute("INSERT OR REPLACE INTO inference_tariff (since_ms, fen_per_card_minute, by) VALUES (?, ?, ?)", (host.now_ms(), request.fen_per_card_minute, token))
        values = {"before": "" if before is None else str(before), "price": str(request.fen_per_card_minute), "reason": request.reason}
        host.evidence.append(tx, "inference.tariff_changed", values, actor=token)

    host.store.write(change)
    return replies.DoneReply(what="tariff", state=str(request.fen_per_card_minute))


def schedule_set(ctx: OperationContext, request: ScheduleRequest) -> replies.DoneReply:
    """Peak lease and night release; with an image, what is ordered each working day."""
    host, token = tenant_of(ctx.host).host, ctx.caller.person.token
    calendar = parse_calendar(
        {
            "peak": [one.split("-", 1) for one in request.peak], "opens_at": request.opens_at, "release_at": request.release_at, "days": request.days, "closed": request.closed,
            "peak_cards": request.peak_cards, "other_cards": request.other_cards, "is_on": request.is_on,
        }
    )  # fmt: skip
    plan = {"image": request.image, "most_cards": request.most_cards, "pool": request.pool, "assurance": request.assurance, "budget_fen": request.budget_fen}

    def change(tx: Transaction) -> None:
        autoscaling.keep_rule(tx, host, autoscaling.CALENDAR, format_calendar(calendar), actor=token, reason=request.reason)
        if request.image:
            if tx.execute("SELECT 1 FROM inference_image WHERE id = ? AND state = 'signed'", (request.image,)).fetchone() is None:
                raise NotFound("没有已签署的这个镜像", "There is no such signed image", code="NO_IMAGE")
            autoscaling.keep_rule(tx, host, autoscaling.PLAN, plan, actor=token, reason=request.reason)

    host.store.write(change)
    return replies.DoneReply(what="calendar", state="on" if request.is_on else "off")


def scaler_set(ctx: OperationContext, request: ScalerRequest) -> replies.DoneReply:
    """Bounds of the scaler."""
    host, token = tenant_of(ctx.host).host, ctx.caller.person.token
    value = {name: getattr(request, name) for name in ("least", "most", "queue_per_server", "cooldown_s", "start_delay_s", "wait_s", "scaler")}
    try:
        ScalingRule(**{name: number for name, number in value.items() if name != "scaler"})
    except ValueError as error:
        raise InvalidRequest("下限不得高于上限", f"The rule does not hold: {error}", code="SCALING_RULE") from error
    if request.scaler != autoscaling.PROCESSES and request.scaler not in {one.name for one in host.scalers()}:
        raise NotFound("没有安装这个扩缩器", "No such scaler is installed", code="NO_SCALER")
    with host.store.read() as reader:
        images = autoscaling.Images(host)
        signed = [str(one[0]) for one in reader.execute("SELECT id FROM inference_image WHERE state = 'signed'")]
        if request.scaler != autoscaling.PROCESSES and not any(images.of(one)[1] == "behind" for one in signed):
            raise Refused(
                f"「{request.scaler}」调整的是沙箱旁（behind）模型服务的副本；已签署的镜像都在沙箱内应答，选它不会数到任何租约，也不会改变计量的卡。先签署引擎在沙箱旁的镜像，或保留 processes",
                f"{request.scaler} sets replicas of servers beside sandboxes (behind); every signed image answers inside, so it would count no lease and change no metered card."
                " Sign an image whose engine stands beside first, or keep processes",
                code="SCALER_COUNTS_NOTHING",
            )  # fmt: skip
    host.store.write(lambda tx: autoscaling.keep_rule(tx, host, autoscaling.SCALER, value, actor=token, reason=request.reason))
    return replies.DoneReply(what="scaler", state=request.scaler)


def budget_set(ctx: OperationContext, request: BudgetRequest) -> replies.DoneReply:
    """The month's budget; told at 80 % and at its end."""
    host, token = tenant_of(ctx.host).host, ctx.caller.person.token
    host.store.write(lambda tx: autoscaling.keep_rule(tx, host, autoscaling.BUDGET, {"fen": request.fen}, actor=token, reason=request.reason))
    return replies.DoneReply(what="budget", state=str(request.fen))


def service_key_make(ctx: OperationContext, _request: NoInput) -> replies.ServiceKeyReply:
    """Another service key; it continues the one before."""
    host = leasing_of(ctx.host).host
    number, value = host.store.write(lambda tx: keys.make(tx, host, actor=ctx.caller.person.token))
    return replies.ServiceKeyReply(party=host.party, number=number, digest=value.digest, from_ms=value.from_ms, until_ms=value.until_ms)


def service_keys(ctx: OperationContext, _request: NoInput) -> replies.ServiceKeysReply:
    """Service keys of this institution and of those it leases from or to, as they were checked when they came."""
    host = leasing_of(ctx.host).host
    with host.store.read() as reader:
        found = reader.execute("SELECT party, number, statement FROM inference_service_key ORDER BY party <> ?, party, number DESC LIMIT 200", (host.party,)).fetchall()
    told, seen = [], set()
    for party, number, statement in found:
        value = parse_service_key(bytes(statement))
        told.append(replies.ServiceKeyTold(party=party, number=number, digest=value.digest, from_ms=value.from_ms, until_ms=value.until_ms, is_newest=party not in seen))
        seen.add(party)
    return replies.ServiceKeysReply(party=host.party, keys=told, now_ms=host.now_ms())


def _server(ctx: OperationContext, name: str) -> Any:
    with ctx.host.store.read() as reader:
        found = next((one for one in capacity.known_servers(reader) if one.server == name), None)
    if found is None:
        raise NotFound(f"没有服务器「{name}」", f"There is no server {name}", code="NO_SERVER")
    return found


def _say(tx: Transaction, ctx: OperationContext, server: str, before: str, after: str, cause: str) -> None:
    ctx.host.evidence.append(tx, "inference.server_changed", {"server": server, "from": before, "to": after, "cause": cause}, actor=ctx.caller.person.token)


def _provider_servers(leasing: Leasing) -> list[replies.ServerTold]:
    provider = leasing.provider
    assert provider is not None
    held = {one.server: one for one in list(provider.held.values())}
    with leasing.host.store.read() as reader:
        found = reader.execute("SELECT server, state, image, tenant, dedicated, lease, is_drained, changed_ms, cause FROM inference_server ORDER BY server").fetchall()
    made = []
    for one in found:
        holding = held.get(one[0])
        used = provider.counters(holding) if holding else None
        made.append(
            replies.ServerTold(
                server=one[0], state=one[1], pool="dedicated" if one[4] else "shared", dedicated=one[4], tenant=one[3], image=one[2], lease=one[5],
                sandbox=holding.sandbox if holding else "", is_drained=bool(one[6]), changed_ms=one[7], cause=one[8], asks=used.asks if used else 0,
                bytes_in=used.bytes_in if used else 0, bytes_out=used.bytes_out if used else 0,
            )
        )  # fmt: skip
    return made


def _tenant_servers(leasing: Leasing) -> list[replies.ServerTold]:
    tenant = leasing.tenant
    assert tenant is not None
    with leasing.host.store.read() as reader:
        live = [one for one in rows.listed(reader, states=[State.RUNNING]) if one.side == rows.TENANT]
    made = []
    for row in live:
        view = tenant.view(row.lease)
        for one in view.servers if view else ():
            made.append(
                replies.ServerTold(
                    server=one.server, state=one.state, pool=row.order.pool, dedicated=row.order.tenant if row.order.pool == "dedicated" else "", tenant=row.order.tenant, image=row.order.image,
                    lease=row.lease, sandbox=one.sandbox, is_drained=False, changed_ms=row.started_ms, cause="", asks=0, bytes_in=0, bytes_out=0,
                )
            )  # fmt: skip
    return made


def _reads(name: str, zh: str, en: str, request: type[Request], reply: Any, run: Any, also: frozenset[Role] = frozenset()) -> Operation:
    return Operation(name=name, zh=zh, en=en, request=request, reply=reply, roles=LOOKERS | also, run=run, reads_only=True, weak_token=True)


def _acts(name: str, zh: str, en: str, request: type[Request], run: Any, roles: frozenset[Role], kind: str, *, fresh: bool = False, reply: Any = replies.DoneReply) -> Operation:
    return Operation(name=name, zh=zh, en=en, request=request, reply=reply, roles=roles, run=run, fresh_password=fresh, evidence=(kind,))


SERVER_OPERATIONS: Final = (
    *at_both(
        (
            _reads("inference.servers", "查看服务器", "look at servers", NoInput, replies.ServersReply, servers),
            _reads("inference.service_keys", "查看服务密钥", "look at service keys", NoInput, replies.ServiceKeysReply, service_keys, also=frozenset({Role.ADMIN})),
            _reads("inference.scaling", "查看扩缩", "look at scaling", ScalingRequest, replies.ScalingReply, scaling),
            _acts(
                "inference.service_key_make", "生成服务密钥", "make a service key", NoInput, service_key_make, frozenset({Role.ADMIN}), "inference.service_key_made",
                fresh=True, reply=replies.ServiceKeyReply,
            ),
        )
    ),
    *at_provider(
        (
            _acts("inference.server_add", "增加一台服务器", "add a server", ServerAddRequest, server_add, PROVIDERS, "inference.server_changed"),
            _acts("inference.server_clean", "清理一台服务器", "clean a server", ServerRequest, server_clean, PROVIDERS, "inference.server_changed"),
            _acts("inference.server_drain", "让一台服务器不再出租", "let a server take no further lease", DrainRequest, server_drain, PROVIDERS, "inference.server_changed"),
            _acts("inference.freeze_set", "设定冻结窗口", "set a freeze window", FreezeRequest, freeze_set, PROVIDERS, "inference.freeze_changed"),
            _acts("inference.tariff_set", "设定单价", "set the price", TariffRequest, tariff_set, PROVIDERS, "inference.tariff_changed", fresh=True),
        )
    ),
    *at_tenant(
        (
            _acts("inference.schedule_set", "设定排期", "set the calendar", ScheduleRequest, schedule_set, SETTERS, "inference.rule_changed", fresh=True),
            _acts("inference.scaler_set", "设定扩缩规则", "set the scaling rule", ScalerRequest, scaler_set, SETTERS, "inference.rule_changed", fresh=True),
            _acts("inference.budget_set", "设定算力预算", "set the budget for computing", BudgetRequest, budget_set, SETTERS, "inference.rule_changed", fresh=True),
        )
    ),
)  # fmt: skip

__all__ = ["SERVER_OPERATIONS"]
