"""qkd quality: how well a line served over a period, beside the objectives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from workbench.commands.common import Options, client_for, print_result, workspace_of
from workbench.domain.party import Role

_ZONE = ZoneInfo("Asia/Shanghai")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_VERDICTS = {"reached": "✓ 达到 reached", "missed": "✗ 未达到 missed", "unknown": "? 未知 unknown", "none": "– 不设 none"}
_NAMES = {"availability": ("可用率 availability", "%"), "latency": ("时延 p95 latency", "ms"), "rate": ("成码率 key rate", "bit/s")}
_MINUTE_MS = 60_000


def quality(options: Options) -> int:
    """A line over a period; exit 2 where an objective is missed."""
    request: dict[str, Any] = {"line": options.line}
    try:
        if options.from_time:
            request["from_ms"] = moment(options.from_time)
        if options.until_time:
            request["until_ms"] = moment(options.until_time, ends=True)
    except ValueError:
        options.usage_error("TIME is YYYY-MM-DD or YYYY-MM-DDTHH:MM")
    with client_for(workspace_of(options), options.party, Role.OPERATOR) as client:
        reply: Mapping[str, Any] = client.call("qkd.quality", **request)
    print_result(options, reply, _lines(reply))
    return 2 if any(one["verdict"] == "missed" for one in reply["objectives"]) else 0


def moment(text: str, *, ends: bool = False) -> int:
    """ms since 1970 UTC of a time in Beijing, or with an offset of its own. ends: a day alone means its end. Raises ValueError."""
    found = datetime.fromisoformat(text)
    if ends and _DAY.fullmatch(text):
        found += timedelta(days=1)
    return round((found if found.tzinfo else found.replace(tzinfo=_ZONE)).timestamp() * 1000)


def shown_time(at_ms: int) -> str:
    """Date and time in Beijing."""
    return datetime.fromtimestamp(at_ms / 1000, _ZONE).strftime("%Y-%m-%d %H:%M:%S")


def _lines(reply: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{reply['line']}  {shown_time(reply['from_ms'])} – {shown_time(reply['until_ms'])}",
        f"观测 observed {reply['coverage']:.2%}，没有观测 gaps {reply['gap_ms'] / _MINUTE_MS:,.1f} min（不算可用 / not counted as available）",
    ]
    if reply["availability"] >= 0:
        lines.append(f"可用率 availability {reply['availability']:.3%}（整个时段 whole period {reply['least']:.3%} – {reply['most']:.3%}）")
    if reply["mean_bps"] >= 0:
        lines.append(f"成码率 key rate {reply['mean_bps'] / 1000:,.1f} kbit/s，最低 least {max(0.0, reply['least_bps']) / 1000:,.1f}")
    lines.append(f"块 blocks {reply['blocks']}，无密钥 without key {reply['failed_blocks']}，密钥 keys {reply['keys']:,}")
    latency = f"p50 ≤ {reply['p50_ms']:.1f} ms，p95 ≤ {reply['p95_ms']:.1f} ms" if reply["p95_ms"] >= 0 else "没有测到 / not measured"
    lines.append(f"取密钥 requests {reply['requests']}，没有取到 without key {reply['failed_requests']}  {latency}")
    for one in reply["objectives"]:
        name, unit = _NAMES[one["name"]]
        found = f"{one['found']:,.3f}" if one["found"] >= 0 else "—"
        lines.append(f"{_VERDICTS[one['verdict']]}  {name} {found} {unit}（目标 objective {one['wanted']:,g}）")
    for one in reply["downtimes"]:
        lines.append(f"  停 down {shown_time(one['from_ms'])} – {shown_time(one['until_ms'])}  {one['cause']}  {one['ms'] / _MINUTE_MS:,.1f} min  ×{one['times']}")
    if reply["downtimes_left_off"]:
        lines.append(f"  另有更早 {reply['downtimes_left_off']} 次 / earlier ones not listed")
    return lines


__all__ = ["moment", "quality", "shown_time"]
