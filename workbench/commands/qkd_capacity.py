"""qkd capacity: how long the keys of a site last, over all its lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.commands.common import Options, client_for, print_result, workspace_of
from workbench.domain.party import Role


def capacity(options: Options) -> int:
    """By partner and by line; exit 2 while no line to a partner gives keys."""
    with client_for(workspace_of(options), options.party, Role.OPERATOR) as client:
        reply: Mapping[str, Any] = client.call("qkd.capacity")
    lines = []
    for one in reply["partners"]:
        lines.append(
            f"{one['peer']}  {one['giving']}/{one['lines']} 条线路 lines  可用 available {one['available']:,}  {_left(one['hours_left'])}"
            f"  每小时 per hour +{one['made_per_hour']:,.0f} −{one['burn_per_hour']:,.0f}"
        )
        if one["missing_per_hour"] > 0:
            lines.append(f"  每小时缺 {one['missing_per_hour']:,.0f} 把，先用完的是 {one['first_out'] or '—'} / short per hour, used up first")
    lines += [
        f"  {one['line']}  {one['state']}  {one['provenance']}  {one['available']:,}  {_left(one['hours_left'])}" for one in reply["lines"]
    ]
    print_result(options, reply, lines or ["没有线路 / no lines"])
    return 2 if any(one["giving"] == 0 for one in reply["partners"]) else 0


def _left(hours: float) -> str:
    return f"约 {hours:,.1f} 小时 hours left" if hours >= 0 else "不减少 not falling"


__all__ = ["capacity"]
