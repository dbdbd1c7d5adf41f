"""verify, audit, evidence, call: checking and reading evidence from the terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from workbench.client.session import Record
from workbench.commands.common import (
    Options,
    ProgressLine,
    client_for,
    credentials,
    print_result,
    workspace_of,
)
from workbench.domain.checkpoint import PartyKeys
from workbench.domain.party import PartyId, Role
from workbench.errors import Refused
from workbench.node.trust import parse_trust
from workbench.verify import verify_receipt_file


def verify(options: Options) -> int:
    """Check a receipt offline, and a list against it; needs no workspace and no node."""
    trust: dict[PartyId, PartyKeys] | None = None
    if options.trust:
        pinned = parse_trust(_read(options.trust))
        trust = {party: PartyKeys(party, keys.cosign_ed25519, keys.cosign_sm2) for party, keys in pinned.items()}
    list_path = Path(options.list) if options.list else None
    verdict = verify_receipt_file(Path(options.receipt), trust=trust, csv_path=list_path)
    mark = {True: "✓", False: "✗"}
    lines = [f"{mark[step.ok]} {step.zh} / {step.en}" for step in verdict.steps]
    lines += ["", verdict.zh, verdict.en]
    print_result(options, verdict.as_dict(), lines)
    return verdict.exit_status


def audit(options: Options) -> int:
    """Re-hash every body at one node; exit 2 when something does not hold."""
    workspace = workspace_of(options)
    line = ProgressLine()
    with client_for(workspace, options.party, Role.COMPLIANCE) as client:
        report = client.call("evidence.audit", progress=line)
    line.end()
    lines = [f"✗ {one['zh']}\n  {one['en']}" for one in report["findings"]]
    lines.append(
        f"全部相符：重算 {report['entries']:,} 条正文 / all {report['entries']:,} bodies hold"
        if report["holds"]
        else f"发现 {len(report['findings'])} 处不符 / {len(report['findings'])} findings"
    )
    print_result(options, report, lines)
    return 0 if report["holds"] else 2


def evidence(options: Options) -> int:
    """The timeline of a job joined from all participants, or of the node's own log."""
    workspace = workspace_of(options)
    with client_for(workspace, options.party, Role.COMPLIANCE) as client:
        reply: Record = client.evidence.timeline(job=options.job or "", limit=1000)
    lines = [
        f"{entry['log']:>8} {entry['index']:>6} {entry['seal']:<7} {entry['kind']:<32} {entry['zh']}"
        for entry in reply["entries"]
    ]
    print_result(options, reply, lines)
    return 0


def call(options: Options) -> int:
    """Any operation by name with a JSON request, as the person of a role."""
    try:
        request = json.loads(options.request)
        role = Role(options.role)
    except ValueError as error:
        raise Refused("请求不是 JSON，或岗位不认识", f"Not JSON, or an unknown role: {error}", code="BAD_REQUEST") from error
    workspace = workspace_of(options)
    with client_for(workspace, options.party, role) as client:
        if options.confirm:
            _, password = credentials(workspace, options.party, role)
            confirmation = client.confirmation(options.operation, request, password=password)
            reply = client.call(options.operation, confirmation=confirmation, **request)
        else:
            reply = client.call(options.operation, **request)
    json.dump(reply, sys.stdout, ensure_ascii=False, sort_keys=True)
    print()
    return 0


def _read(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise Refused(f"读不了文件「{Path(name).name}」", f"Cannot read {Path(name).name}", code="NO_FILE") from error


__all__ = ["audit", "call", "evidence", "verify"]
