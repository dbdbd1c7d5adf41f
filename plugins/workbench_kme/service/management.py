"""The management interface: the site's own node looks and switches. Document: key-delivery.md section 7.

Called in a thread for every request. Every switch leaves an event that the node copies into its evidence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from workbench.errors import Denied, InvalidRequest, NotFound, Refused, WorkbenchError
from workbench_kme.keys import State
from workbench_kme.service import asking, charging, device_routes, registering, rehearsing, standard, views
from workbench_kme.service.asking import Body, Handler, Query
from workbench_kme.service.config import POLICIES
from workbench_kme.service.entity import Entity
from workbench_kme.service.line import LineEnd
from workbench_kme.service.listening import Answer, Call
from workbench_kme.service.standard import Refusal
from workbench_kme.service.wire import ATTACKS

PREFIX = "/management/v1/"
MAX_REHEARSAL_PULSES = 1 << 33


def handles(path: str) -> bool:
    """Whether a path is this module's."""
    return path.startswith(PREFIX)


def answer(entity: Entity, call: Call) -> Answer:
    """The answer to one request of the node."""
    try:
        return Answer(200, standard.format_json(_serve(entity, call)))
    except _Method as wrong:
        return _error(
            405, "WRONG_METHOD", "方法不对", "another method is served here", headers={"Allow": wrong.allowed}
        )
    except Refusal as refusal:
        return _error(refusal.status, "MALFORMED", refusal.message, refusal.message)
    except WorkbenchError as error:
        return _error(_status_of(error), error.code, error.zh, error.en, details=error.details)


class _Method(Exception):
    def __init__(self, allowed: str) -> None:
        super().__init__(allowed)
        self.allowed = allowed


def _serve(entity: Entity, call: Call) -> dict[str, Any]:
    if call.caller != ("node", entity.config.site) or not _is_pinned(entity, call):
        raise Denied("只有本站节点可以管理", "only the site's own node manages this KME", code="NOT_THE_NODE")
    path = call.path.removeprefix(PREFIX)
    found = [(method, match, handler) for method, pattern, handler in _ROUTES if (match := pattern.fullmatch(path))]
    if not found:
        raise NotFound("没有这个地址", "there is nothing at this path", code="NO_SUCH_PATH")
    chosen = [(match, handler) for method, match, handler in found if method == call.method]
    if not chosen:
        raise _Method(", ".join(sorted({method for method, _match, _handler in found})))
    match, handler = chosen[0]
    query = dict(call.query)
    if len(query) != len(call.query):
        raise InvalidRequest("参数重复", "a parameter is repeated", code="MALFORMED")
    body = standard.parse_body(call.body, call.content_type) if call.method == "POST" else {}
    return handler(entity, match.groups(), query, body)


def _is_pinned(entity: Entity, call: Call) -> bool:
    return bool(entity.config.node_fingerprint) and call.fingerprint == entity.config.node_fingerprint


def _status_of(error: WorkbenchError) -> int:
    if isinstance(error, Denied):
        return 401
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, InvalidRequest):
        return 400
    if isinstance(error, Refused):
        return 409
    return 503


def _error(
    status: int,
    code: str,
    zh: str,
    en: str,
    *,
    details: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    value = {"code": code, "message": en, "zh": zh, "en": en, "details": dict(details or {})}
    return Answer(status, json.dumps(value, ensure_ascii=False).encode("utf-8"), dict(headers or {}))


# ------------------------------------------------------------------------------------------------- looking


def _overview(entity: Entity, _path: tuple[str, ...], query: Query, _body: Body) -> dict[str, Any]:
    asking.only(query)
    entity.note_devices()
    group = entity.devices.group
    return views.as_json(
        views.Overview(
            kme=entity.config.kme,
            site=entity.config.site,
            version=entity.version,
            started_ms=entity.started_ms,
            now_ms=entity.now_ms(),
            saes=[one.application for one in entity.applications.listed() if one.is_registered],
            lines=list(entity.lines),
            device=entity.device.kind,
            device_enabled=entity.enabled,
            devices={**{name: group.state(name) for name in group.members}, **dict.fromkeys(entity.devices.absent, "missing")},
            open_alarms=len(entity.journal.alarms(open_only=True, limit=asking.MAX_LIMIT)),
            self_test_passed=all(one.passed for one in entity.test_results()),
        )
    )


def line_view(entity: Entity, end: LineEnd) -> views.Line:
    """One line as this end sees it."""
    config, record = end.config, entity.journal.line(end.config.line)
    status = entity.store.status(config.line)
    stock = {state.name: sum(status.stock.get((pool, state), 0) for pool in (0, 1)) for state in State}
    last = next(iter(entity.journal.blocks(config.line, limit=1)), None)
    qber, rate = end.maker.judge.baseline()
    return views.Line(
        line=config.line,
        role=config.role,
        source=end.source.name,
        provenance=end.source.provenance,
        demonstration=config.demonstration,
        preset=end.source.preset,
        policy=record.policy,
        state=end.state(),
        stock=stock,
        available=status.available,
        target_keys=config.target_keys,
        max_keys=config.max_keys,
        low_water=config.low_water,
        last_block=last.block if last else -1,
        last_qber=last.qber if last else -1.0,
        baseline_qber=qber,
        last_rate=last.rate if last else -1.0,
        baseline_rate=rate,
        rate_bps=last.rate_bps if last else -1.0,
        peer_site=config.peer.site,
        peer_kme=config.peer.kme,
        peer_saes=list(end.far.saes),
        peer_reachable=end.peer_reachable,
        peer_seen_ms=end.peer_seen_ms,
        in_step=end.in_step,
        eavesdropper_kind=record.eavesdropper[0],
        eavesdropper_fraction=record.eavesdropper[1] / 1e6,
        open_alarms=len(entity.journal.open_kinds(config.line)),
        tenant=config.tenant,
    )


def _lines(entity: Entity, _path: tuple[str, ...], query: Query, _body: Body) -> dict[str, Any]:
    asking.only(query)
    return {"lines": [views.as_json(line_view(entity, end)) for end in entity.lines.values()]}


def _line(entity: Entity, path: tuple[str, ...], query: Query, _body: Body) -> dict[str, Any]:
    asking.only(query)
    return _shown(entity, path[0])


def _blocks(entity: Entity, path: tuple[str, ...], query: Query, _body: Body) -> dict[str, Any]:
    asking.only(query, "limit", "before")
    entity.line(path[0])
    found = entity.journal.blocks(path[0], limit=asking.limit(query, 100), before=asking.number(query, "before", -1))
    return {"blocks": [views.as_json(one) for one in found]}


def _alarms(entity: Entity, _path: tuple[str, ...], query: Query, _body: Body) -> dict[str, Any]:
    asking.only(query, "open", "limit")
    if query.get("open", "true") != "true":
        raise asking.malformed("open")
    found = entity.journal.alarms(open_only="open" in query, limit=asking.limit(query, 100))
    return {"alarms": [views.as_json(one) for one in found]}


def _events(entity: Entity, _path: tuple[str, ...], query: Query, _body: Body) -> dict[str, Any]:
    asking.only(query, "after", "limit")
    found = entity.store.events(after=asking.number(query, "after", 0), limit=asking.limit(query, 500))
    made = []
    for one in found:
        block = one.facts.get("block", -1)
        made.append(
            views.Event(one.number, one.time_ms, one.kind, one.line, block if isinstance(block, int) else -1, one.facts)
        )
    return {"events": [views.as_json(one) for one in made]}


def _forecast(entity: Entity, path: tuple[str, ...], query: Query, _body: Body) -> dict[str, Any]:
    asking.only(query)
    entity.line(path[0])
    found = entity.store.forecast(path[0])
    return views.as_json(
        views.Forecast(
            line=found.line,
            available=found.available,
            burn_per_hour=found.burn_per_hour,
            made_per_hour=found.made_per_hour,
            hours_left=found.hours_left,
            low_water=found.low_water,
            window_s=found.window_s,
        )
    )


def _key(entity: Entity, path: tuple[str, ...], query: Query, _body: Body) -> dict[str, Any]:
    asking.only(query)
    found = entity.store.key(asking.uuid(path[0]))
    return views.as_json(
        views.Key(
            key_id=str(found.key_id),
            line=found.line,
            block=found.block,
            index=found.index,
            state=found.state.name,
            provenance=str(found.provenance),
            size=found.size,
            master=found.master,
            slaves=list(found.slaves),
            times=found.times_ms,
        )
    )


def _leak(entity: Entity, path: tuple[str, ...], query: Query, _body: Body) -> dict[str, Any]:
    asking.only(query)
    found = entity.store.leak_report(asking.uuid(path[0]))
    return views.as_json(
        views.LeakReport(
            key_id=str(found.key.key_id),
            state=found.key.state.name,
            provenance=str(found.key.provenance),
            block=found.key.block,
            uses=[views.Use(one.time_ms, one.purpose, one.reference) for one in found.uses],
            siblings=found.siblings,
        )
    )


# ----------------------------------------------------------------------------------------------- switching


def _eavesdropper(entity: Entity, path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    asking.only(query)
    asking.members(body, "kind", "fraction")
    end, kind, fraction = entity.line(path[0]), body["kind"], body["fraction"]
    if kind not in ATTACKS or type(fraction) not in (int, float) or not 0 <= fraction <= 1:
        raise asking.malformed("kind, fraction")
    if not end.config.demonstration:
        raise Refused(
            f"线路 {path[0]} 不是演示线路，没有窃听开关",
            f"line {path[0]} is not a demonstration line and has no eavesdropper switch",
            code="NOT_A_DEMONSTRATION",
        )
    if not end.config.is_sender:
        raise Refused(
            f"线路 {path[0]} 的窃听开关在发送端 {end.config.peer.site}",
            f"the eavesdropper switch of line {path[0]} is at the sender's site {end.config.peer.site}",
            code="AT_THE_OTHER_END",
        )
    ppm = round(fraction * 1e6)
    entity.journal.set_eavesdropper(path[0], kind if ppm else "", ppm)
    entity.record("eavesdropper.switch", path[0], attack=kind, fraction_ppm=ppm)
    end.wake(try_now=True)
    return _shown(entity, path[0])


def _pause(entity: Entity, path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    return _set_paused(entity, path[0], query, body, True)


def _resume(entity: Entity, path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    return _set_paused(entity, path[0], query, body, False)


def _set_paused(entity: Entity, line: str, query: Query, body: Body, paused: bool) -> dict[str, Any]:
    asking.only(query)
    asking.members(body)
    end = entity.line(line)
    entity.journal.set_paused(line, paused)
    entity.record("line.paused" if paused else "line.resumed", line)
    end.wake()
    return _shown(entity, line)


def _recover(entity: Entity, path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    asking.only(query)
    asking.members(body)
    entity.line(path[0]).wake(try_now=True)
    return _shown(entity, path[0])


def _sync(entity: Entity, path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    asking.only(query)
    asking.members(body)
    return views.as_json(entity.line(path[0]).sync())


def _policy(entity: Entity, path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    asking.only(query)
    asking.members(body, "policy", "act")
    entity.line(path[0])
    policy, act = body["policy"], asking.reason(body, "act")
    if policy not in POLICIES:
        raise asking.malformed("policy")
    before = entity.policy_of(path[0])
    entity.journal.set_policy(path[0], policy)
    entity.record("line.policy", path[0], before=before, after=policy, act=act)
    return _shown(entity, path[0])


def _rekey(entity: Entity, path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    asking.only(query)
    asking.members(body, "reason")
    revoked = entity.line(path[0]).withdraw("rekey", keys=[], block=-1, reason=asking.reason(body, "reason"))
    return {"revoked": revoked}


def _import(entity: Entity, path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    asking.only(query)
    asking.members(body, "file")
    end = entity.line(path[0])
    check = getattr(end.source, "check_file", None)
    if check is None:
        raise Refused(
            f"线路 {path[0]} 的来源不是文件导入",
            f"the source of line {path[0]} is not the import of files",
            code="NOT_IMPORTED",
        )
    check(asking.text(body, "file"))
    entity.record("file.offered", path[0], file=asking.text(body, "file"))
    end.wake(try_now=True)
    return _shown(entity, path[0])


def _revoke(entity: Entity, _path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    return _withdraw(entity, "revoke", query, body)


def _quarantine(entity: Entity, _path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    return _withdraw(entity, "quarantine", query, body)


def _withdraw(entity: Entity, what: str, query: Query, body: Body) -> dict[str, Any]:
    asking.only(query)
    if set(body) == {"line", "key_ids", "reason"}:
        keys, block = [str(one) for one in asking.uuids(body["key_ids"])], -1
    else:
        asking.members(body, "line", "block", "reason")
        keys, block = [], body["block"]
        if type(block) is not int or not 0 <= block < 2**53:
            raise asking.malformed("block")
    line, reason = asking.text(body, "line"), asking.reason(body, "reason")
    changed = entity.line(line).withdraw(what, keys=keys, block=block, reason=reason)
    if block >= 0 and what == "quarantine":
        entity.journal.set_block_state(line, block, "quarantined")
    return {"changed": changed}


def _consume(entity: Entity, _path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    asking.only(query)
    asking.members(body, "key_ids", "sae", "purpose", "reference")
    ids = asking.uuids(body["key_ids"])
    sae = asking.text(body, "sae")
    if not entity.is_sae(sae):
        raise NotFound("本站没有该应用", "this site has no such application", code="SAE_UNKNOWN")
    return {"changed": entity.store.consume(ids, asking.text(body, "purpose"), asking.text(body, "reference"), sae=sae)}


def _use(entity: Entity, _path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    asking.only(query)
    asking.members(body, "key_id", "purpose", "reference")
    entity.store.record_use(asking.uuid(body["key_id"]), asking.text(body, "purpose"), asking.text(body, "reference"))
    return {}


def _self_test(entity: Entity, _path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    asking.only(query)
    asking.members(body)
    entity.self_test()
    return _self_test_view(entity)


def _last_self_test(entity: Entity, _path: tuple[str, ...], query: Query, _body: Body) -> dict[str, Any]:
    asking.only(query)
    return _self_test_view(entity)


def _self_test_view(entity: Entity) -> dict[str, Any]:
    return views.as_json(entity.last_self_test())


def _checks(entity: Entity, _path: tuple[str, ...], query: Query, _body: Body) -> dict[str, Any]:
    asking.only(query, "limit")
    return {"checks": [views.as_json(one) for one in entity.checks.listed(asking.limit(query, 100))]}


def _simulate(_entity: Entity, _path: tuple[str, ...], query: Query, body: Body) -> dict[str, Any]:
    asking.only(query)
    asking.members(body, "preset", "pulses", "kind", "fraction", "seed")
    pulses, fraction, seed = body["pulses"], body["fraction"], body["seed"]
    if type(pulses) is not int or not 1 <= pulses <= MAX_REHEARSAL_PULSES or body["kind"] not in ATTACKS:
        raise asking.malformed("pulses, kind")
    if type(fraction) not in (int, float) or not 0 <= fraction <= 1:
        raise asking.malformed("fraction")
    if not isinstance(seed, str) or not re.fullmatch(r"([0-9a-f]{64})?", seed):
        raise asking.malformed("seed")
    return views.as_json(
        rehearsing.rehearse(
            asking.text(body, "preset"), pulses, kind=body["kind"], fraction=float(fraction), seed=bytes.fromhex(seed)
        )
    )


# --------------------------------------------------------------------------------------------- small things


def _shown(entity: Entity, line: str) -> dict[str, Any]:
    return views.as_json(line_view(entity, entity.line(line)))


_LINE = r"([a-z][a-z0-9-]{1,30})"
_KEY = r"([0-9a-fA-F-]{36})"
_ROUTES: tuple[tuple[str, re.Pattern[str], Handler], ...] = tuple(
    (method, re.compile(pattern), handler)
    for method, pattern, handler in (
        ("GET", "status", _overview),
        ("GET", "lines", _lines),
        ("GET", f"lines/{_LINE}", _line),
        ("GET", f"lines/{_LINE}/blocks", _blocks),
        ("GET", "alarms", _alarms),
        ("GET", "events", _events),
        ("POST", f"lines/{_LINE}/eavesdropper", _eavesdropper),
        ("POST", f"lines/{_LINE}/pause", _pause),
        ("POST", f"lines/{_LINE}/resume", _resume),
        ("POST", f"lines/{_LINE}/recover", _recover),
        ("POST", f"lines/{_LINE}/sync", _sync),
        ("POST", f"lines/{_LINE}/policy", _policy),
        ("POST", f"lines/{_LINE}/rekey", _rekey),
        ("GET", f"lines/{_LINE}/forecast", _forecast),
        ("POST", f"lines/{_LINE}/import", _import),
        ("POST", "keys/revoke", _revoke),
        ("POST", "keys/quarantine", _quarantine),
        ("POST", "keys/consume", _consume),
        ("POST", "keys/use", _use),
        ("GET", f"keys/{_KEY}", _key),
        ("GET", f"keys/{_KEY}/leak", _leak),
        *charging.ROUTES,
        *registering.ROUTES,
        *device_routes.ROUTES,
        ("POST", "selftest", _self_test),
        ("GET", "selftest", _last_self_test),
        ("GET", "selftest/checks", _checks),
        ("POST", "simulate", _simulate),
    )
)
