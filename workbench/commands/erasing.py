"""erase: take one customer out, and say owner by owner what was found and what became of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from workbench.commands.common import Options, client_for, credentials, print_result, workspace_of
from workbench.domain.party import Role


def erase(options: Options) -> int:
    """Ask for an erasure, or confirm one that waits for a second person; prints the report."""
    workspace = workspace_of(options)
    if options.confirm:
        operation, request = "customers.confirm_erasure", {"request": options.confirm}
    else:
        operation = "customers.erase"
        request = {"phone": options.phone or "", "id_no": options.id_no or "", "reason": options.reason}
    _, password = credentials(workspace, options.party, Role.COMPLIANCE)
    with client_for(workspace, options.party, Role.COMPLIANCE) as client:
        reply = client.confirmed(operation, password=password, **request)
    print_result(options, reply, _lines(reply))
    return 0


def _lines(reply: Any) -> list[str]:
    words = {
        "WAITING": "等待第二位合规人员确认：workbench erase … --confirm / waits for a second person of compliance",
        "RUNNING": "还没有做完，会自动继续 / not finished, goes on by itself",
        "RESTRICTED": "已擦除，其余限制存放到期销毁 / erased; the rest is set aside until its term ends",
        "ERASED": "已全部擦除 / erased entirely",
    }
    lines = [f"{reply['request']}  {words.get(reply['state'], reply['state'])}"]
    for one in reply["findings"]:
        until = f"，至 {_day(one['until_ms'])}" if one["until_ms"] else ""
        lines.append(
            f"{one['owner']:>10} {one['what']:<24} 找到 {one['found']}，销毁 {one['erased']}，限制 {one['restricted']}{until}，"
            f"留下 {one['left']} / found, erased, restricted, left"
        )
        lines += [f"{'':>11}{one['zh']}", f"{'':>11}{one['en']}"]
        lines += [f"{'':>13}- {name}" for name in one["names"]]
    if not reply["log_emptied"]:
        lines.append("日志尚未清空，节点稍后自动再试 / the write-ahead log is not empty yet; the node tries again")
    return lines


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).date().isoformat()


__all__ = ["erase"]
