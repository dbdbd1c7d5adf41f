"""What staff do with leases: offers, orders, changes, releases, and how each stands. docs/protocols/sandbox.md section 4."""

from __future__ import annotations

import time
from typing import Any, Final, Literal

from pydantic import Field

from workbench.contracts import OperationContext
from workbench.domain.party import Role
from workbench.errors import NotFound, Refused
from workbench.operations import NoInput, Operation, Request
from workbench_inference.leasing import autoscaling, replies, rows, spending, telling
from workbench_inference.leasing.lease import State
from workbench_inference.leasing.rows import LeaseRow
from workbench_inference.leasing.schedule import next_opening
from workbench_inference.leasing.service import Leasing, leasing_of, tenant_of
from workbench_inference.leasing.tenant import instant
from workbench_inference.roles import at_both, at_tenant
from workbench_sandbox.formats.order import format_order

LOOKERS: Final = frozenset({Role.OPERATOR, Role.ADVISER, Role.AUDITOR, Role.REGULATOR, Role.COMPLIANCE, Role.PROVIDER_OPERATOR})
OPERATORS: Final = frozenset({Role.OPERATOR})
RELEASERS: Final = frozenset({Role.OPERATOR, Role.ADVISER})
WAIT_S: Final = 10.0
"""How long an order or change waits for the provider's answer before it says that it is on its way."""
_ALL: Final = frozenset({Role.OPERATOR, Role.AUDITOR, Role.REGULATOR, Role.COMPLIANCE, Role.PROVIDER_OPERATOR})
Digest = Field(pattern=r"[0-9a-f]{64}")


class LeasesRequest(Request):
    """state: "" for all; since_ms: leases that had not ended by then."""

    state: Literal["", "ORDERED", "REFUSED", "RUNNING", "RELEASING", "ERASED", "UNPROVEN"] = ""
    since_ms: int = Field(default=0, ge=0)
    limit: int = Field(default=100, ge=1, le=1000)


class LeaseRequest(Request):
    """One lease."""

    lease: str = Field(max_length=32)


class OrderRequest(Request):
    """from_ms 0: now. hours or until_ms: how long. budget_fen 0: none. fen_per_card_minute -1: the price that is offered now."""

    image: str = Digest
    cards: int = Field(default=1, ge=1, le=1000)
    most_cards: int = Field(default=0, ge=0, le=1000)
    from_ms: int = Field(default=0, ge=0)
    until_ms: int = Field(default=0, ge=0)
    hours: float = Field(default=0.0, ge=0, le=24)
    pool: Literal["shared", "dedicated"] = "shared"
    mode: Literal["run", "debug"] = "run"
    assurance: Literal["process", "gvisor", "tee"] = "process"
    fen_per_card_minute: int = Field(default=-1, ge=-1)
    budget_fen: int = Field(default=0, ge=0)
    keep: bool = True
    idle_s: int = Field(default=0, ge=0, le=86_400)
    role: Literal["", "adviser", "marketing", "compliance", "operator"] = ""
    reason: str = Field(default="", max_length=200)


class ChangeRequest(Request):
    """cards 0, until_ms 0: as they are."""

    lease: str = Field(max_length=32)
    cards: int = Field(default=0, ge=0, le=1000)
    until_ms: int = Field(default=0, ge=0)
    reason: str = Field(default="", max_length=200)


class ReleaseRequest(Request):
    """reason: why it is given back."""

    lease: str = Field(max_length=32)
    reason: str = Field(default="", max_length=200)


def offer(ctx: OperationContext, _request: NoInput) -> replies.OfferReply:
    """What could be had now."""
    tenant = tenant_of(ctx.host)
    found = tenant.offer()
    return replies.OfferReply(
        provider=tenant.provider(), pools=[replies.PoolTold(pool=one.pool, free=one.free, most_cards=one.most_cards) for one in found.pools],
        assurance=list(found.assurance), images=list(found.images), fen_per_card_minute=found.fen_per_card_minute, ready_s=found.ready_s, retry_after_s=found.retry_after_s,
        freezes=[(start, stop) for start, stop in found.freezes],
    )  # fmt: skip


def leases(ctx: OperationContext, request: LeasesRequest) -> replies.LeasesReply:
    """Leases this person may see, with the day's and the month's cost."""
    leasing, host = leasing_of(ctx.host), leasing_of(ctx.host).host
    now = host.now_ms()
    with host.store.read() as reader:
        found = rows.listed(reader, states=[request.state] if request.state else (), limit=request.limit, since_ms=request.since_ms)
        mine = [one for one in found if _may_see(ctx, one)]
        told = [telling.lease_told(reader, one, now_ms=now, ready=ready_of(leasing, one), silent_s=_silent_s(leasing, one)) for one in mine]
        side = rows.TENANT if leasing.tenant is not None else rows.PROVIDER
        erased, clean = telling.last_night(reader, side=side, now_ms=now)
        today, month = spending.spent(reader, host, side=side)
        budget = spending.budget(reader, host) if side == rows.TENANT else 0
    zh, en = _calendar(leasing, now)
    return replies.LeasesReply(
        role=side, leases=told, live=sum(one.state == "RUNNING" for one in told), today_fen=today, month_fen=month, budget_fen=budget,
        last_night_erased=erased, last_night_clean=clean, calendar_zh=zh, calendar_en=en,
    )  # fmt: skip


def lease(ctx: OperationContext, request: LeaseRequest) -> replies.LeaseReply:
    """One lease with its sandboxes and changes."""
    leasing, host = leasing_of(ctx.host), leasing_of(ctx.host).host
    with host.store.read() as reader:
        row = _seen(ctx, rows.get(reader, request.lease))
        told = telling.lease_told(reader, row, now_ms=host.now_ms(), ready=ready_of(leasing, row), silent_s=_silent_s(leasing, row))
        boxes = reader.execute(
            "SELECT server, sandbox, serial, statement, assurance, missing, session, started_ms, ended_ms, cause FROM inference_sandbox WHERE lease = ? ORDER BY started_ms DESC, sandbox", (row.lease,)
        ).fetchall()
        changes = reader.execute("SELECT number, cards, until_ms, at_s, cause FROM inference_change WHERE lease = ? ORDER BY number DESC", (row.lease,)).fetchall()
    sizes = _sizes(leasing)
    sandboxes = [
        replies.SandboxTold(
            server=one[0], sandbox=one[1], state="" if one[8] else "LEASED", serial=one[2], statement=one[3], assurance=one[4], missing=str(one[5]).split(), session=one[6],
            started_ms=one[7], ended_ms=one[8], cause=one[9], bytes_in=sizes.get(one[1], (0, 0))[0], bytes_out=sizes.get(one[1], (0, 0))[1],
        )
        for one in boxes
    ]  # fmt: skip
    return replies.LeaseReply(
        lease=told, sandboxes=sandboxes, changes=[replies.ChangeTold(number=one[0], cards=one[1], until_ms=one[2], at_s=one[3], cause=one[4]) for one in changes],
        order=format_order(row.order).decode(), digest=row.order.digest,
    )  # fmt: skip


def order(ctx: OperationContext, request: OrderRequest) -> replies.OrderedReply:
    """Order a lease; waits a while for the provider's answer."""
    tenant = tenant_of(ctx.host)
    host = tenant.host
    now = host.now_ms()
    begins = request.from_ms or now
    ends = request.until_ms or begins + round((request.hours or 1.0) * 3_600_000)
    price = request.fen_per_card_minute if request.fen_per_card_minute >= 0 else tenant.offer().fen_per_card_minute
    made = tenant.order(
        image=request.image, cards=request.cards, most_cards=request.most_cards or request.cards, from_ms=begins, until_ms=ends, pool=request.pool, mode=request.mode,
        assurance=request.assurance, price=price, budget_fen=request.budget_fen, keep=request.keep, idle_s=request.idle_s, role=request.role,
        actor=ctx.caller.person.token, reason=request.reason,
    )  # fmt: skip
    with host.store.read() as reader:
        letter = rows.get(reader, made.lease).letter
    _wait(ctx, letter)
    leasing_of(ctx.host).wake()
    return _ordered(ctx, made.lease)


def change(ctx: OperationContext, request: ChangeRequest) -> replies.OrderedReply:
    """Other cards or another end."""
    tenant = tenant_of(ctx.host)
    with tenant.host.store.read() as reader:
        row = rows.get(reader, request.lease)
    number = tenant.change(
        request.lease, cards=request.cards or row.cards, until_ms=request.until_ms or row.until_ms, cause=request.reason or "operator", actor=ctx.caller.person.token
    )
    ends = time.monotonic() + WAIT_S
    while time.monotonic() < ends and not ctx.cancelled():
        with tenant.host.store.read() as reader:
            kept = reader.execute("SELECT at_s FROM inference_change WHERE lease = ? AND number = ?", (request.lease, number)).fetchone()
        if kept is None:
            raise Refused("算力方没有同意这次变更，租约照旧", "The provider did not agree to this change; the lease stays as it was", code="LEASE_CHANGE")
        if int(kept[0]) >= 0:
            break
        time.sleep(0.02)
    return _ordered(ctx, request.lease)


def release(ctx: OperationContext, request: ReleaseRequest) -> replies.ReleasedReply:
    """Give a lease back now."""
    tenant = tenant_of(ctx.host)
    with tenant.host.store.read() as reader:
        _seen(ctx, rows.get(reader, request.lease))
    row = tenant.release(request.lease, reason=request.reason, actor=ctx.caller.person.token)
    with tenant.host.store.read() as reader:
        value = rows.value(reader, rows.get(reader, row.lease))
    return replies.ReleasedReply(lease=row.lease, state=value.state.value, receipts=len(value.erased), servers=len(value.erased | value.held))


def ready_of(leasing: Leasing, row: LeaseRow) -> int:
    """Cards that are there now, as this end knows."""
    if row.state is not State.RUNNING:
        return 0
    if leasing.provider is not None:
        return len(leasing.provider.held_by(row.lease))
    view = leasing.tenant.view(row.lease) if leasing.tenant is not None else None
    return len(view.servers) if view else 0


def _silent_s(leasing: Leasing, row: LeaseRow) -> int:
    return leasing.tenant.silent_s(row) if leasing.tenant is not None and row.side == rows.TENANT else 0


def _ordered(ctx: OperationContext, name: str) -> replies.OrderedReply:
    with ctx.host.store.read() as reader:
        row = rows.get(reader, name)
    return replies.OrderedReply(lease=row.lease, state=row.state.value, code=row.code, cards=row.cards, until_ms=row.until_ms, fen_per_card_minute=row.price)


def _wait(ctx: OperationContext, letter: str) -> None:
    ends = time.monotonic() + WAIT_S
    while time.monotonic() < ends and not ctx.cancelled():
        with ctx.host.store.read() as reader:
            if ctx.host.letters.state(reader, letter).acknowledged_ms is not None:
                return
        time.sleep(0.02)


def _may_see(ctx: OperationContext, row: LeaseRow) -> bool:
    """An adviser sees leases for their role and those for everybody."""
    roles = ctx.caller.person.roles
    return bool(roles & _ALL) or row.role in ("", *(one.value for one in roles))


def _seen(ctx: OperationContext, row: LeaseRow) -> LeaseRow:
    if not _may_see(ctx, row):
        raise NotFound(f"没有租约「{row.lease}」", f"There is no lease {row.lease}", code="NO_LEASE")
    return row


def _calendar(leasing: Leasing, now_ms: int) -> tuple[str, str]:
    """What the calendar does next."""
    if leasing.tenant is None:
        return "", ""
    calendar = autoscaling.calendar_of(leasing.host)
    if not calendar.is_on:
        return "", ""
    opening = next_opening(calendar, instant(now_ms))
    release = f"{calendar.release_at:%H:%M}"
    if opening is None:
        return "", ""
    if int(opening.timestamp() * 1000) <= now_ms:
        return f"今天 {release} 全部释放并擦除", f"Everything is given back and erased at {release} today"
    return f"{opening:%m-%d %H:%M} 再租，{release} 释放", f"Leased again on {opening:%m-%d} at {opening:%H:%M}, given back at {release}"


def _sizes(leasing: Leasing) -> dict[str, tuple[int, int]]:
    """Ciphertext through each sandbox that holds a card now; at a provider only."""
    if leasing.provider is None:
        return {}
    made = {}
    for one in list(leasing.provider.held.values()):
        used = leasing.provider.counters(one)
        made[one.sandbox] = (used.bytes_in, used.bytes_out)
    return made


def _reads(name: str, zh: str, en: str, request: type[Request], reply: Any, run: Any) -> Operation:
    return Operation(name=name, zh=zh, en=en, request=request, reply=reply, roles=LOOKERS, run=run, reads_only=True, weak_token=True)


LEASE_OPERATIONS: Final = (
    *at_tenant(
        (
            _reads("inference.offer", "询问算力方现在能租什么", "ask what could be leased now", NoInput, replies.OfferReply, offer),
            Operation(
                name="inference.lease_order", zh="订租", en="order a lease", request=OrderRequest, reply=replies.OrderedReply, roles=OPERATORS, run=order, fresh_password=True,
                evidence=("inference.lease_ordered",),
            ),
            Operation(
                name="inference.lease_change", zh="变更租约", en="change a lease", request=ChangeRequest, reply=replies.OrderedReply, roles=OPERATORS, run=change,
                evidence=("inference.scaled", "inference.lease_changed"),
            ),
            Operation(
                name="inference.lease_release", zh="释放租约", en="release a lease", request=ReleaseRequest, reply=replies.ReleasedReply, roles=RELEASERS, run=release,
                weak_token=True, evidence=("inference.lease_ended",),
            ),
        )
    ),
    *at_both(
        (
            _reads("inference.leases", "查看租约", "look at leases", LeasesRequest, replies.LeasesReply, leases),
            _reads("inference.lease", "查看一个租约", "look at one lease", LeaseRequest, replies.LeaseReply, lease),
        )
    ),
)  # fmt: skip

__all__ = ["LEASE_OPERATIONS", "LOOKERS", "OPERATORS", "ready_of"]
