"""duty and risks: who is on duty when, and what somebody watches."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from workbench.clock import SHANGHAI
from workbench.commands.common import (
    Options,
    client_for,
    exports_folder,
    print_result,
    require_place,
    workspace_of,
    write_private,
)
from workbench.domain.party import Role
from workbench.errors import InvalidRequest


def duty(options: Options) -> int:
    """Turns to come and of the last week; exit status 2 where a freeze window has nobody."""
    return _duty_told(options, _call(options, "inference.duty"))


def duty_added(options: Options) -> int:
    request = {"person": options.person, "from_ms": _ms(options.from_), "until_ms": _ms(options.until), "note": options.note}
    return _duty_told(options, _call(options, "inference.duty_set", **request)) and 0


def duty_removed(options: Options) -> int:
    return _duty_told(options, _call(options, "inference.duty_remove", duty=options.duty, reason=options.reason)) and 0


def duty_exported(options: Options) -> int:
    return _exported(options, "duty")


def risks(options: Options) -> int:
    """Those overdue first; exit status 2 where there is one."""
    return _risks_told(options, _call(options, "inference.risks"))


def risk_added(options: Options) -> int:
    return _risks_told(options, _call(options, "inference.risk_add", title=options.title, level=options.level, owner=options.owner, due=options.due)) and 0


def risk_changed(options: Options) -> int:
    request = {"risk": options.risk, "level": options.level, "owner": options.owner, "due": options.due or None, "state": options.state, "reason": options.reason}
    return _risks_told(options, _call(options, "inference.risk_change", **request)) and 0


def risks_exported(options: Options) -> int:
    return _exported(options, "risks")


def _call(options: Options, operation: str, **request: Any) -> Any:
    with client_for(workspace_of(options), options.party, Role.OPERATOR) as client:
        return client.call(operation, **request)


def _exported(options: Options, what: str) -> int:
    workspace = workspace_of(options)
    with client_for(workspace, options.party, Role.OPERATOR) as client:
        path = Path(options.out) if options.out else None
        if path is not None:
            require_place(path)
        made = client.call("inference.register_export", what=what)
        path = path or exports_folder(workspace, options.party) / made.name
        write_private(path, client.download(made.download))
    print_result(options, {"file": str(path), "count": made.count}, [f"{path}：{made.count} 条 / rows"])
    return 0


def _duty_told(options: Options, reply: Any) -> int:
    lines = [f"值班 on duty: {'、'.join(reply.on_duty) or '—'}"]
    lines += [f"{one.duty}  {_time(one.from_ms)} → {_time(one.until_ms)}  {one.person}  {'●' if one.is_on else ''} {one.note}".rstrip() for one in reply.turns]
    lines += [f"! 冻结窗口无人值班 nobody in a freeze window: {_time(one.from_ms)} → {_time(one.until_ms)}  {one.reason}" for one in reply.gaps]
    print_result(options, reply, lines)
    return 2 if reply.gaps else 0


def _risks_told(options: Options, reply: Any) -> int:
    lines = [f"未关闭 open {reply.open}，逾期 overdue {reply.overdue}"]
    lines += [f"{one.risk}  {one.level}  {one.state}{' ! 逾期 overdue' if one.is_overdue else ''}  {one.due}  {one.owner}  {one.title}" for one in reply.risks]
    print_result(options, reply, lines)
    return 2 if reply.overdue else 0


def _ms(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=SHANGHAI).timestamp() * 1000)
    except ValueError:
        raise InvalidRequest("时间写作 2026-12-01T09:00（北京时间）", "a time is written 2026-12-01T09:00 (Asia/Shanghai)") from None


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, SHANGHAI).strftime("%m-%d %H:%M")


__all__ = ["duty", "duty_added", "duty_exported", "duty_removed", "risk_added", "risk_changed", "risks", "risks_exported"]
