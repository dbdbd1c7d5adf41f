"""ledger status | catch-up | members | propose | approve: how the evidence ledger stands, and who belongs to it.

Document: docs/protocols/ledger.md. While a node is closed nobody can sign in, because a sign-in is an entry too; then
`status` reads what the node left in its own folder, and `catch-up` leaves its request there. Both need this machine's
operator, whose folder it is.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from workbench.client.session import Record
from workbench.commands.common import (
    Options,
    ProgressLine,
    client_for,
    credentials,
    print_result,
    workspace_of,
)
from workbench.domain.envelope import format_time
from workbench.domain.party import Role
from workbench.errors import PeerUnavailable, Refused, VerificationError
from workbench.node.restore import REQUEST_FILE, STATE_FILE
from workbench.supervisor import running_nodes
from workbench.workspace import Workspace

WAIT_S = 120.0
LAPSED = (
    "本机构的批准已失效（批准人之一已停用），须由两人重新批准 / our approval carries nothing any more: one of the two people who "
    "approved may not decide now; two people approve again"
)


def status(options: Options) -> int:
    """Sizes, signatures, lag of every mirror, pending entries, contradictions, anchors. Exit 2 when something is wrong."""
    workspace = workspace_of(options)
    closed = _closed_state(workspace, options.party)
    if closed is not None:
        problem = closed["problem"] or {}
        lines = [f"✗ {problem.get('zh', '账本未开放写入')}", f"  {problem.get('en', 'the ledger takes no entry yet')}"]
        print_result(options, closed, lines)
        return 2
    with client_for(workspace, options.party, Role.OPERATOR) as client:
        value: dict[str, Any] = dict(client.call("ledger.status"))
    print_result(options, value, _lines(value))
    return 0 if value["open"] and not value["conflicts"] else 2


def catch_up(options: Options) -> int:
    """Fetch what is missing here, send what is missing there; restores the own log where it is an older copy."""
    workspace = workspace_of(options)
    if _closed_state(workspace, options.party) is not None:
        _ask_closed_node(workspace, options.party)
    line = ProgressLine()
    with client_for(workspace, options.party, Role.OPERATOR) as client:
        value: dict[str, Any] = dict(client.call("ledger.catch_up", progress=line))
    line.end()
    rows = [dict(one) for one in value["partners"]]
    lines = [
        f"{'✗' if one['code'] else '✓'} {one['party']}: +{one['pulled']}" + (f"  {one['zh']} / {one['en']}" if one["code"] else "")
        for one in rows
    ]
    print_result(options, value, [*lines, "", *_lines(dict(value["status"]))])
    return 0 if not any(one["code"] for one in rows) else 1


def members(options: Options) -> int:
    """Members of the project, former ones, and changes with who has approved."""
    with client_for(workspace_of(options), options.party, Role.OPERATOR) as client:
        value: Record = client.call("ledger.members")
    lines = [f"成员 / members: {' '.join(value['members'])}", f"已退出 / former: {' '.join(value['former']) or '—'}"]
    for one in value["changes"]:
        lines.append(
            f"{one['change']}  {one['action']} {one['party']}  {one['state']}  已批准 / approved: {' '.join(one['approved']) or '—'}"
            f"  缺 / missing: {' '.join(one['missing']) or '—'}"
        )
        if one["lapsed"]:
            lines.append(f"  {LAPSED}")
    print_result(options, dict(value), lines)
    return 0


def propose(options: Options) -> int:
    """Propose that an institution joins (with its bundle) or leaves."""
    bundle = ""
    if options.bundle:
        try:
            bundle = Path(options.bundle).read_text("utf-8").rstrip("\n")
        except OSError as error:
            name = Path(options.bundle).name
            raise Refused(f"读不了文件「{name}」", f"Cannot read {name}", code="NO_FILE") from error
    request = {"action": "join" if bundle else "leave", "bundle": bundle, "party": options.leave or ""}
    return _confirmed(options, "ledger.member_propose", request)


def approve(options: Options) -> int:
    """Approve a change of members, as the first or the second person."""
    return _confirmed(options, "ledger.member_approve", {"change": options.change})


def _confirmed(options: Options, operation: str, request: dict[str, Any]) -> int:
    workspace = workspace_of(options)
    role = Role(options.role)
    with client_for(workspace, options.party, role) as client:
        _, password = credentials(workspace, options.party, role)
        confirmation = client.confirmation(operation, request, password=password)
        value: Record = client.call(operation, confirmation=confirmation, **request)
    print_result(options, dict(value), [f"{value['change']}  {value['state']}"])
    return 0


def _closed_state(workspace: Workspace, party: str) -> dict[str, Any] | None:
    """What a running node says of itself while it is closed; None when it is open or does not run."""
    folder = workspace.node_folder(party)
    path = folder / "run" / STATE_FILE
    if party not in running_nodes(workspace) or not path.exists():
        return None
    value: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return None if value["open"] else {"party": party, **value}


def _ask_closed_node(workspace: Workspace, party: str) -> None:
    """Leave the request in the node's folder and wait until it is open again."""
    (workspace.node_folder(party) / "run" / REQUEST_FILE).touch(mode=0o600)
    limit = time.monotonic() + WAIT_S
    while (state := _closed_state(workspace, party)) is not None:
        problem = state["problem"]
        if problem and problem["code"] == "FORK":
            raise VerificationError(problem["zh"], problem["en"], code="FORK", details=problem["details"])
        if time.monotonic() > limit:
            raise PeerUnavailable(
                f"{party} 的账本 {WAIT_S:.0f} 秒内没有补齐：没有伙伴给出缺少的记录。运维检查网络后重试",
                f"the ledger of {party} was not caught up within {WAIT_S:.0f} s: no partner gave what is missing. Operations "
                "check the network and try again",
                code="NOTHING_TO_RESTORE",
            )
        time.sleep(0.2)


def _lines(value: dict[str, Any]) -> list[str]:
    """The status for people."""
    lines = []
    if not value["open"]:
        lines.append(f"✗ {value['problem_zh']}\n  {value['problem_en']}")
    lines.append(f"已共签 / sealed {value['sealed']:,}   未定稿 / pending {value['pending']:,}")
    for log in value["logs"]:
        mark = "*" if log["own"] else " "
        when = format_time(log["cosigned_ms"]) if log["cosigned_ms"] else "—"
        lines.append(
            f"{mark}{log['log']:>10}  {log['size']:>9,}  检查点 / head {log['head']:>9,}  共签 / by {' '.join(log['signers']) or '—'}"
            f"  本机 / own {log['cosigned']:,} {when}"
        )
    for one in value["mirrors"]:
        why = f"  {one['problem_zh']} / {one['problem_en']}" if one["problem_zh"] else ""
        lines.append(f" → {one['party']:>9}  落后 / behind {one['behind']:,}{why}")
    for one in value["conflicts"]:
        lines += [f"✗ {one['problem']} {one['log']} {one['size']}", "", one["held"], "", one["offered"]]
    lines += [f"! {one['zh']} / {one['en']}" for one in value["needs"]]
    lines += [f"  {one['name']}: {one['zh']} / {one['en']}" for one in value["anchors"]]
    return lines


__all__ = ["approve", "catch_up", "members", "propose", "status"]
