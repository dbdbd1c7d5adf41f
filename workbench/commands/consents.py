"""consent decide: may one customer be used, and by which rule and record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from workbench.commands.common import Options, client_for, print_result, workspace_of
from workbench.domain.party import Role
from workbench.errors import InvalidRequest
from workbench.intake.times import parse_grant_time

NOT_USABLE = 3


def decide(options: Options) -> int:
    """The decision in words; exit 0 when the customer may be used, 3 when not."""
    request: dict[str, Any] = {
        "phone": options.phone or "", "id_no": options.id_no or "", "purpose": options.purpose, "recipient": options.recipient,
        "at_ms": _instant(options.at), "key_kind": options.key, "categories": options.category, "contact": options.contact,
    }  # fmt: skip
    with client_for(workspace_of(options), options.party, Role.COMPLIANCE) as client:
        reply = client.call("consent.decide", **request)
    lines = [f"{reply['code']}  {reply['zh']} / {reply['en']}", f"规则 rule {reply['rule']}：{reply['rule_zh']} / {reply['rule_en']}"]
    record = reply["record"]
    if record:
        notice = f"，告知书 notice {record['notice']}" if record["notice"] else ""
        until = f"{_day(record['from_ms'])} – {_day(record['until_ms'])}"
        lines.append(f"依据授权 grant {record['record']}（{until}{notice}）")
    lines.append(f"时点 at {_day(reply['at_ms'])}，依据事件 as of event {reply['as_of']}")
    print_result(options, reply, lines)
    return 0 if reply["usable"] else NOT_USABLE


def _instant(text: str) -> int:
    """Milliseconds of --at, 0 for now; a bare day means its first instant in Asia/Shanghai."""
    if not text:
        return 0
    read = parse_grant_time(text, is_end=False)
    if read.at_ms is None:
        raise InvalidRequest(
            "--at 写成 2026-11-20 或 2026-11-20T09:00:00+08:00", "--at is written 2026-11-20 or 2026-11-20T09:00:00+08:00", code="BAD_TIME"
        )
    return read.at_ms


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo('Asia/Shanghai')):%Y-%m-%d %H:%M:%S}"
