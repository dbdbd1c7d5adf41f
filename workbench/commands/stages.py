"""stage: the trial's stages, each step with what it rests on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from workbench.clock import SHANGHAI
from workbench.commands.common import Options, client_for, credentials, print_result, workspace_of
from workbench.domain.party import Role


def show(options: Options) -> int:
    """The stage, its steps, and what opening to everybody asks."""
    with client_for(workspace_of(options), options.party, Role.COMPLIANCE) as client:
        return _told(options, client.call("inference.stages"))


def propose(options: Options) -> int:
    """With the report of a period; another person decides."""
    days = {name: value for name, value in (("from_day", options.from_day), ("to_day", options.to_day)) if value}
    with client_for(workspace_of(options), options.party, Role.COMPLIANCE) as client:
        return _told(options, client.call("inference.stage_propose", to=options.to, filing=options.filing, reason=options.reason, **days))


def decide(options: Options) -> int:
    """By another person, who names the report that was read."""
    workspace = workspace_of(options)
    _, password = credentials(workspace, options.party, Role.APPROVER)
    with client_for(workspace, options.party, Role.APPROVER) as client:
        reply = client.confirmed(
            "inference.stage_decide", password=password, number=options.number, report=options.report, approve=not options.decline, reason=options.reason
        )
        return _told(options, reply)


def close(options: Options) -> int:
    """Back at once."""
    with client_for(workspace_of(options), options.party, Role.COMPLIANCE) as client:
        return _told(options, client.call("inference.stage_close", to=options.to, reason=options.reason))


def _told(options: Options, reply: Any) -> int:
    lines = [f"{reply.stage}  {reply.zh} / {reply.en}  受邀 invited {reply.people:,} / {reply.cap:,}"]
    for one in reply.steps:
        lines.append(f"{one.number}  {_time(one.made_ms)}  {one.before} → {one.after}  {one.state}  {one.first} / {one.second or '—'}  {one.filing} {one.reason}")
        if one.ground is not None:
            found = one.ground
            refused = " ".join(f"{code}={count}" for code, count in found.refused.items()) or "0"
            lines.append(
                f"   问 asked {found.asked}，答 answered {found.answered}，无出处 abstained {found.abstained}，赞 up {found.up} 踩 down {found.down}，"
                f"拒 refused {refused}（发出前 before sending {found.refused_before}），95% ≤ {found.p95_ms / 1000:.1f} s"
            )
            lines += [f"   {rating} {text}" for rating, text in found.reasons[:5]]
            lines.append(f"   report {one.report}")
    if reply.next == "open" or reply.stage == "open":
        lines += [f"[{one.origin}] {one.zh} / {one.en}" for one in reply.asks]
    print_result(options, reply, lines)
    return 0


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, SHANGHAI).strftime("%Y-%m-%d %H:%M")


__all__ = ["close", "decide", "propose", "show"]
