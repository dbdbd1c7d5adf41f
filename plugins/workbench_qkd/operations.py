"""Operations of the quantum channel: looking at lines, deciding about them, revoking keys. Document: docs/quantum-channel.md section 3."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from workbench.channel.tls_groups import NegotiatedLink
from workbench.contracts import OperationContext, Transaction
from workbench.domain.party import PartyId, Role
from workbench.errors import InvalidRequest, KeyUnavailable, NotFound, PeerError, Refused, WorkbenchError
from workbench.operations import NoInput, Operation
from workbench_kme.physics import PRESETS
from workbench_qkd import (
    assurance,
    capacity,
    checks,
    conversing,
    devices,
    following,
    initial,
    policies,
    published,
    restoring,
    sessions,
    tenants,
)
from workbench_qkd.messages import (
    AlarmInfo,
    BlockInfo,
    BlocksReply,
    BlocksRequest,
    ChangedReply,
    CurveInfo,
    CurvePoint,
    CurvesReply,
    DeclineRequest,
    EavesdropRequest,
    ForecastReply,
    KeyName,
    LeakReply,
    LineInfo,
    LineName,
    PolicyReply,
    PolicyRequest,
    ProposalInfo,
    ProposalName,
    ReasonRequest,
    RevokeRequest,
    SelfTestReply,
    SessionInfo,
    SessionsReply,
    StatusReply,
    UseInfo,
)
from workbench_qkd.model import Proposal, counts
from workbench_qkd.service import Management, NoEntity, service_of

OPERATORS: Final = frozenset({Role.OPERATOR})
DECIDERS: Final = frozenset({Role.OPERATOR, Role.COMPLIANCE})
READERS: Final = frozenset({Role.OPERATOR, Role.COMPLIANCE, Role.AUDITOR, Role.REGULATOR})
DEMONSTRATIONS: Final = frozenset({"demo", "test"})
SHOWN_ALARMS: Final = 100
SHOWN_PROPOSALS: Final = 20


def _client(ctx: OperationContext) -> Management:
    return service_of(ctx.host).client()


# ---------------------------------------------------------------- looking


def _status(ctx: OperationContext, request: NoInput) -> StatusReply:
    """A node without an entity, or with one that does not answer, says so instead of failing: the page shows it."""
    host, service = ctx.host, service_of(ctx.host)
    with host.store.read() as reader:
        asked = [_proposal(ctx, one) for one in policies.proposals(reader, limit=SHOWN_PROPOSALS)]
        row = reader.execute("SELECT coalesce(sum(last), 0) FROM qkd_followed WHERE source LIKE '% events'").fetchone()
    empty: dict[str, Any] = {
        "kme": "", "site": "", "device": "", "device_enabled": False, "devices": {}, "self_tested_ms": 0, "self_test_passed": False, "lines": [], "bandwidth": [],
        "self_test_state": "", "self_test_cause": "", "self_test_hours": 0, "self_test_next_ms": 0,
        "now_ms": host.now_ms(), "followed": int(row[0]), "proposals": asked, "link_group": host.setting("qkd.link_group"),
    }  # fmt: skip
    if not service.is_configured:
        return StatusReply(is_configured=False, problem_zh="", problem_en="", problem_code="", **empty)
    try:
        client = service.client()
        told, lines, test = client.overview(), client.lines(), client.last_self_test()
    except WorkbenchError as error:
        return StatusReply(is_configured=True, problem_zh=error.zh, problem_en=error.en, problem_code=error.code, **empty)
    found: dict[str, Any] = {
        "kme": told.kme, "site": told.site, "device": told.device, "device_enabled": told.device_enabled, "devices": dict(told.devices),
        "self_tested_ms": test.time_ms, "self_test_passed": test.passed, "lines": [_line(ctx, one) for one in lines],
        "bandwidth": [service.bandwidth.told(PartyId(one)) for one in sorted({line.peer_site for line in lines})],
        "self_test_state": checks.state_of(test, enabled=told.device_enabled, now_ms=told.now_ms, is_production=host.kind == "production"),
        "self_test_cause": test.cause, "self_test_hours": test.hours, "self_test_next_ms": test.next_ms,
    }  # fmt: skip
    return StatusReply(is_configured=True, problem_zh="", problem_en="", problem_code="", **{**empty, **found})


def _line(ctx: OperationContext, one: Any) -> LineInfo:  # Any: a Line of workbench_kme.service.views
    host = ctx.host
    with host.store.read() as reader:
        made = policies.decided(reader, host, one.line)
        policy = policies.in_force(reader, host, one.line, one.policy)
        held = policies.held(reader).get(one.line)
        opened, refused = sessions.last_day(reader, one.line, now_ms=host.now_ms())
        linked = sessions.link_of(reader, one.line) or NegotiatedLink("", "", "", "")
    link = PRESETS.get(one.preset)
    people = [host.person_named(token) for token in ((made.first, made.second) if made else ()) if token]
    return LineInfo(
        line=one.line, role=one.role, counts=counts(policy, one.provenance, host.setting("qkd.required_origins")),
        length_km=link.length_km if link else -1.0, clock_hz=link.clock_hz if link else -1.0, peer_site=one.peer_site, peer_kme=one.peer_kme, source=one.source, provenance=one.provenance, preset=one.preset,
        demonstration=one.demonstration and host.kind in DEMONSTRATIONS, state=one.state, policy=policy, told_policy=one.policy,
        policy_since_ms=made.since_ms if made else 0, policy_by=people, held_ms=held.since_ms if held else 0, held_cause=held.cause if held else "",
        available=one.available, target_keys=one.target_keys, max_keys=one.max_keys, low_water=one.low_water, stock=dict(one.stock),
        last_block=one.last_block, qber=one.last_qber, baseline_qber=one.baseline_qber, rate=one.last_rate, baseline_rate=one.baseline_rate,
        rate_bps=one.rate_bps, peer_reachable=one.peer_reachable, in_step=one.in_step, eavesdropper_kind=one.eavesdropper_kind,
        eavesdropper_fraction=one.eavesdropper_fraction, open_alarms=one.open_alarms, opened=opened, refused=refused,
        link_version=linked.version, link_group=linked.group, link_suite=linked.suite, link_fingerprint=linked.peer_fingerprint,
        tenant=one.tenant, partner_tenant=tenants.tag_of(host, one.peer_site),
    )  # fmt: skip


def _proposal(ctx: OperationContext, one: Proposal) -> ProposalInfo:
    host = ctx.host
    return ProposalInfo(
        proposal=one.proposal, line=one.line, act=one.act, target=one.target, before=one.before, reason=one.reason, asked_ms=one.asked_ms,
        asked_by=host.person_named(one.asked_by), until_ms=one.until_ms, state=one.state_at(host.now_ms()), decided_ms=one.decided_ms,
        decided_by=host.person_named(one.decided_by) if one.decided_by else "", mine=one.asked_by == ctx.caller.person.token,
    )  # fmt: skip


def _blocks(ctx: OperationContext, request: BlocksRequest) -> BlocksReply:
    client = _client(ctx)
    found = client.blocks(request.line, limit=request.limit, before=request.before or -1)
    alarms = [one for one in client.alarms(limit=SHOWN_ALARMS) if one.line == request.line]
    return BlocksReply(
        line=request.line,
        blocks=[BlockInfo(**{name: getattr(one, name) for name in BlockInfo.model_fields}) for one in found],
        alarms=[AlarmInfo(**{name: getattr(one, name) for name in AlarmInfo.model_fields}) for one in alarms],
    )


def _forecast(ctx: OperationContext, request: LineName) -> ForecastReply:
    told = _client(ctx).forecast(request.line)
    falling = told.burn_per_hour - told.made_per_hour
    to_low = (told.available - told.low_water) / falling if falling > 0 else -1.0
    return ForecastReply(
        line=request.line, available=told.available, low_water=told.low_water, burn_per_hour=told.burn_per_hour, made_per_hour=told.made_per_hour,
        hours_left=told.hours_left, hours_to_low=max(0.0, to_low) if falling > 0 else -1.0, window_s=told.window_s,
    )  # fmt: skip


def _sessions(ctx: OperationContext, request: LineName) -> SessionsReply:
    try:
        bandwidth = service_of(ctx.host).bandwidth.told(PartyId(_client(ctx).line(request.line).peer_site))
    except WorkbenchError:
        bandwidth = None  # sessions are shown while the entity is away, too
    with ctx.host.store.read() as reader:
        return SessionsReply(line=request.line, bandwidth=bandwidth, sessions=sessions.listed(reader, request.line))


def _curves(ctx: OperationContext, request: NoInput) -> CurvesReply:
    def points(found: published.Points) -> list[CurvePoint]:
        return [CurvePoint(km=km, rate=rate) for km, rate in found]

    return CurvesReply(
        curves=[
            CurveInfo(
                name=one.name, source=one.source, trust=one.trust, published=points(one.published), model=points(one.model),
                simulated=points(one.simulated), bound=points(one.bound),
            )
            for one in published.comparisons()
        ]
    )  # fmt: skip


def _rehearse(ctx: OperationContext, request: LineName) -> SessionInfo:
    """A session with the far site's node, over letters: two round trips, a few seconds."""
    host = ctx.host
    ctx.progress(0, 0, "向对端发起会话", "asking the far end")
    wait = conversing.waiting(host, cancelled=ctx.cancelled, pause=time.sleep)
    line = _client(ctx).line(request.line)
    opened = conversing.conversations_of(host).rehearse(line, actor=ctx.caller.person.token, wait=wait)
    with host.store.read() as reader:
        return next(one for one in sessions.listed(reader, request.line) if one.session == opened.session)


# ---------------------------------------------------------------- deciding


def _propose_policy(ctx: OperationContext, request: PolicyRequest) -> PolicyReply:
    told = _client(ctx).line(request.line).policy
    asked = policies.ask_policy(ctx, line=request.line, policy=request.policy, told=told, reason=request.reason)
    if asked is None:
        service_of(ctx.host).enforce()
    with ctx.host.store.read() as reader:
        policy = policies.in_force(reader, ctx.host, request.line, told)
    return PolicyReply(line=request.line, policy=policy, proposal=_proposal(ctx, asked) if asked else None)


def _propose_resume(ctx: OperationContext, request: ReasonRequest) -> ProposalInfo:
    _require_sound(ctx, request.line)
    return _proposal(ctx, policies.ask_resume(ctx, line=request.line, reason=request.reason))


def _require_sound(ctx: OperationContext, line: str) -> None:
    """Refused ALARM_STANDS while the line's own figures are still bad: two people cannot vote an eavesdropper away."""
    if _client(ctx).line(line).open_alarms:
        raise Refused(
            f"线路 {line} 的报警还在，不能恢复。先查线路，误码率回到基线后再提出", f"The alarm on line {line} still stands; check the line first and ask when QBER is back at its baseline",
            code="ALARM_STANDS",
        )  # fmt: skip


def _confirm(ctx: OperationContext, request: ProposalName) -> ProposalInfo:
    made = policies.confirm(
        ctx, request.proposal, told=lambda line: str(_client(ctx).line(line).policy), sound=lambda line: _require_sound(ctx, line)
    )
    service_of(ctx.host).enforce()
    return _proposal(ctx, made)


def _decline(ctx: OperationContext, request: DeclineRequest) -> ProposalInfo:
    return _proposal(ctx, policies.decline(ctx, request.proposal, reason=request.reason))


# ---------------------------------------------------------------- keys


def _revoke(ctx: OperationContext, request: RevokeRequest) -> ChangedReply:
    host, line = ctx.host, request.line
    if bool(request.key_ids) == (request.block >= 0):
        raise InvalidRequest("请给出密钥编号或块号，二者取一", "give key ids or a block, one of the two")
    block = -1 if request.key_ids else request.block
    changed, problem = _withdrawn(ctx, lambda client: client.revoke(line, key_ids=request.key_ids, block=block, reason=request.reason))
    what = " ".join(request.key_ids) if request.key_ids else f"block {request.block}"
    values = {"line": line, "keys": "" if problem else str(changed), "what": what, "reason": request.reason}
    values["recovery"] = restoring.recovery(host, line=line, key_ids=request.key_ids, block=block)
    ended = request.key_ids or _held_of_block(ctx, line, request.block)

    def change(tx: Transaction) -> int:
        entry = host.evidence.append(tx, "qkd.revoked", values, actor=ctx.caller.person.token)
        if problem:
            restoring.ask_again(tx, entry.index, line, keys=request.key_ids, block=block)
        return sessions.end_of_keys(tx, host, line, ended, cause="revoked")

    return _changed(line, changed, host.store.write(change), problem)


def _withdrawn(ctx: OperationContext, act: Callable[[Management], int]) -> tuple[int, WorkbenchError | None]:
    """(keys that changed, what kept the entity from it): what stops something does not wait for an entity that is away."""
    try:
        return act(_client(ctx)), None
    except NoEntity:
        raise
    except (PeerError, KeyUnavailable) as error:
        return 0, error


def _changed(line: str, keys: int, ended: int, problem: WorkbenchError | None) -> ChangedReply:
    return ChangedReply(
        line=line, keys=keys, sessions=ended, is_done=problem is None, problem_zh=problem.zh if problem else "", problem_en=problem.en if problem else "",
        problem_code=problem.code if problem else "",
    )  # fmt: skip


def _held_of_block(ctx: OperationContext, line: str, block: int) -> list[str]:
    """Keys of live sessions that the entity does not say to be of another block: one that it does not tell about counts as revoked."""
    with ctx.host.store.read() as reader:
        held = sessions.live_keys(reader, line)
    found = []
    is_away = False
    for key_id in held:
        try:
            is_other = not is_away and _client(ctx).key(key_id).block != block
        except WorkbenchError as error:
            is_other, is_away = False, not isinstance(error, NotFound)
        if not is_other:
            found.append(key_id)
    return found


def _rekey(ctx: OperationContext, request: ReasonRequest) -> ChangedReply:
    host, line = ctx.host, request.line
    changed, problem = _withdrawn(ctx, lambda client: client.rekey(line, reason=request.reason))

    def change(tx: Transaction) -> int:
        service_of(host).replaced(line)
        ended = sessions.end_all(tx, host, line, cause="rekey")
        values = {"line": line, "keys": "" if problem else str(changed), "sessions": str(ended), "reason": request.reason}
        entry = host.evidence.append(tx, "qkd.rekeyed", values, actor=ctx.caller.person.token)
        if problem:
            restoring.ask_again(tx, entry.index, line, is_all=True)
        return ended

    return _changed(line, changed, host.store.write(change), problem)


def _leak_report(ctx: OperationContext, request: KeyName) -> LeakReply:
    host, client = ctx.host, _client(ctx)
    told, key = client.leak_report(request.key_id), client.key(request.key_id)
    values = {"line": key.line, "key_id": request.key_id, "uses": str(len(told.uses))}
    host.store.write(lambda tx: host.evidence.append(tx, "qkd.leak_reported", values, actor=ctx.caller.person.token))
    uses = [UseInfo(time_ms=one.time_ms, purpose=one.purpose, reference=one.reference) for one in told.uses]
    return LeakReply(key_id=told.key_id, state=told.state, provenance=told.provenance, block=told.block, uses=uses, siblings=told.siblings)


def _eavesdrop(ctx: OperationContext, request: EavesdropRequest) -> LineInfo:
    """First the entry, then the switch: a rehearsed attack that nobody wrote down would look like a real one."""
    host, client = ctx.host, _client(ctx)
    if not client.line(request.line).demonstration:
        raise Refused(
            f"线路 {request.line} 不是演示线路，没有窃听开关", f"Line {request.line} is no demonstration: it has no eavesdropper switch", code="NOT_A_DEMONSTRATION"
        )
    fraction = str(round(request.fraction * following.PARTS_PER_MILLION))
    values = {"line": request.line, "fraction": fraction, "attack": request.kind}
    host.store.write(lambda tx: host.evidence.append(tx, "qkd.eavesdropper_set", values, actor=ctx.caller.person.token))
    return _line(ctx, client.eavesdrop(request.line, request.kind, request.fraction))


def _self_test(ctx: OperationContext, request: NoInput) -> SelfTestReply:
    host = ctx.host
    told = _client(ctx).self_test()
    host.store.write(lambda tx: following.tested(tx, host, told, actor=ctx.caller.person.token))
    return checks.told(told)


_reads: Any = partial(Operation, roles=READERS, reads_only=True, weak_token=True)
_acts: Any = partial(Operation, roles=OPERATORS)

OPERATIONS = (
    _reads(name="qkd.status", zh="查看量子通道", en="look at the quantum channel", request=NoInput, reply=StatusReply, run=_status),
    _reads(name="qkd.blocks", zh="查看线路的块与报警", en="look at blocks and alarms of a line", request=BlocksRequest, reply=BlocksReply, run=_blocks),
    _reads(name="qkd.forecast", zh="查看密钥余量预测", en="look at the forecast of a key pool", request=LineName, reply=ForecastReply, run=_forecast),
    _reads(name="qkd.sessions", zh="查看线路的会话", en="look at sessions of a line", request=LineName, reply=SessionsReply, run=_sessions),
    _reads(name="qkd.curves", zh="查看发表的与模拟的成码率", en="look at published and simulated key rates", request=NoInput, reply=CurvesReply, run=_curves),
    _acts(
        name="qkd.rehearse_session", zh="演练一次会话", en="rehearse a session with the far end", request=LineName, reply=SessionInfo, run=_rehearse,
        long=True, evidence=("qkd.session_opened", "qkd.session_ended", "qkd.session_refused"),
    ),
    Operation(
        name="qkd.propose_policy", zh="收紧或提议降低线路策略", en="tighten the policy of a line, or propose a weaker one", request=PolicyRequest,
        reply=PolicyReply, roles=DECIDERS, run=_propose_policy, fresh_password=True, evidence=("qkd.policy_tightened", "qkd.downgrade_proposed"),
    ),
    Operation(
        name="qkd.propose_resume", zh="申请恢复线路", en="ask that a stopped line is used again", request=ReasonRequest, reply=ProposalInfo,
        roles=DECIDERS, run=_propose_resume, evidence=("qkd.resume_proposed",),
    ),
    Operation(
        name="qkd.confirm", zh="确认降级或恢复", en="confirm a weaker policy or a resumption", request=ProposalName, reply=ProposalInfo,
        roles=DECIDERS, run=_confirm, fresh_password=True, evidence=("qkd.downgraded", "qkd.resumed"),
    ),
    Operation(
        name="qkd.decline", zh="拒绝或收回提议", en="decline a proposal or take it back", request=DeclineRequest, reply=ProposalInfo, roles=DECIDERS,
        run=_decline, evidence=("qkd.proposal_declined",),
    ),
    _acts(
        name="qkd.revoke", zh="吊销密钥", en="revoke keys", request=RevokeRequest, reply=ChangedReply, run=_revoke, fresh_password=True,
        evidence=("qkd.revoked", "qkd.session_ended"),
    ),
    _acts(
        name="qkd.rekey", zh="整条线路换钥", en="replace every key of a line", request=ReasonRequest, reply=ChangedReply, run=_rekey,
        fresh_password=True, evidence=("qkd.rekeyed", "qkd.session_ended"),
    ),
    Operation(
        name="qkd.leak_report", zh="查一把密钥保护过什么", en="find what a key protected", request=KeyName, reply=LeakReply,
        roles=frozenset({Role.OPERATOR, Role.COMPLIANCE, Role.AUDITOR}), run=_leak_report, evidence=("qkd.leak_reported",),
    ),
    _acts(
        name="qkd.eavesdrop", zh="窃听演示开关", en="set the eavesdropper of the demonstration", request=EavesdropRequest, reply=LineInfo,
        run=_eavesdrop, workspaces=DEMONSTRATIONS, evidence=("qkd.eavesdropper_set",),
    ),
    _acts(
        name="qkd.selftest", zh="密钥设备自检", en="test the key device", request=NoInput, reply=SelfTestReply, run=_self_test,
        evidence=("qkd.self_tested", "qkd.self_test_failed"),
    ),
    *initial.OPERATIONS,
    *capacity.OPERATIONS,
    *checks.OPERATIONS,
    *assurance.OPERATIONS,
    *devices.OPERATIONS,
)  # fmt: skip
