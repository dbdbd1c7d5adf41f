"""consent erase, report, withdrawals: take one customer out, say owner by owner what became of it, and who has answered."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from workbench.commands.common import Options, client_for, credentials, print_result, workspace_of
from workbench.domain.party import Role
from workbench.errors import NotFound


def erase(options: Options) -> int:
    """Ask for an erasure, or confirm one that waits for a second person; prints the report."""
    workspace = workspace_of(options)
    if options.confirm:
        operation, request = "customers.confirm_erasure", {"request": options.confirm}
    else:
        operation = "customers.erase"
        request = {"phone": options.phone or "", "id_no": options.id_no or "", "reason": options.reason}
        request |= {"by": options.by, "proof": options.proof}
    _, password = credentials(workspace, options.party, Role.COMPLIANCE)
    with client_for(workspace, options.party, Role.COMPLIANCE) as client:
        reply = client.confirmed(operation, password=password, **request)
    print_result(options, reply, _lines(reply))
    return 0


def report(options: Options) -> int:
    """Reports of erasures, newest first; exit 2 when a file still holds a customer or an erasure is not finished."""
    with client_for(workspace_of(options), options.party, Role.COMPLIANCE) as client:
        reply = client.call("customers.erasures")
    found = [one for one in reply["erasures"] if options.request in ("", one["request"])]
    if options.request and not found:
        raise NotFound("没有这项擦除", "there is no such erasure", code="NO_ERASURE")
    lines = [line for one in found for line in [*_lines(one), ""]] or ["还没有擦除 / no erasure yet"]
    open_hits = [one for one in found if one["state"] == "RUNNING" or any(f["owner"] == "search" and f["left"] for f in one["findings"])]
    print_result(options, {"erasures": found, "holds": not open_hits}, lines)
    return 2 if open_hits else 0


def withdrawals(options: Options) -> int:
    """Withdrawals with the partners told; exit 2 while an answer is overdue or was refused."""
    with client_for(workspace_of(options), options.party, Role.COMPLIANCE) as client:
        reply = client.call("consent.withdrawals", state=options.state)
    counts = reply["counts"]
    lines = ["，".join(f"{name} {count}" for name, count in counts.items())]
    for one in reply["withdrawals"]:
        lines.append(f"#{one['event']}  {_time(one['at_ms'])}  {one['purpose'] or '*'} → {one['recipient'] or '*'}")
        lines += [f"{'':>4}{told['partner']:<12} {told['zh']} / {told['en']} {told['code']}" for told in one["partners"]]
    print_result(options, reply, lines)
    return 2 if counts["overdue"] or counts["refused"] else 0


def _lines(reply: Any) -> list[str]:
    words = {
        "WAITING": "等待第二位合规人员确认：workbench consent erase … --confirm / waits for a second person of compliance",
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
    if not reply.get("log_emptied", True):
        lines.append("日志尚未清空，节点稍后自动再试 / the write-ahead log is not empty yet; the node tries again")
    return lines


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, ZoneInfo("Asia/Shanghai")).strftime("%Y-%m-%d %H:%M:%S")


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).date().isoformat()


__all__ = ["erase", "report", "withdrawals"]
