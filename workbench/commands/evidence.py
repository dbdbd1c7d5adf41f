"""verify, audit, evidence, call: checking and reading evidence from the terminal."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from workbench.client.session import Record
from workbench.client.timeline import PAGE_ROWS, read_story
from workbench.clock import system_now_ms
from workbench.commands.common import (
    Options,
    ProgressLine,
    client_for,
    credentials,
    print_result,
    say,
    workspace_of,
)
from workbench.domain.checkpoint import PartyKeys
from workbench.domain.consent_receipt import looks_like_one
from workbench.domain.party import PartyId, Role
from workbench.domain.receipt import load_receipt
from workbench.errors import NotFound, Refused, VerificationError
from workbench.node.trust import PinnedKeys, parse_trust
from workbench.verify import StepState, verify_receipt_file
from workbench.verify_consent import verify_consent_receipt
from workbench.workspace import Workspace

STEP_MARKS = {StepState.OK: "✓", StepState.NOT_PROVEN: "?", StepState.FAILED: "✗"}
NOT_PINNED = """注意：没有 --trust，公钥取自收据本身。谁都能用自己的密钥做出一份自洽的收据，因此此次核对不能说明签名者是谁。
  取得公钥：在本机构运行 workbench trust export DIR --out KEYS.json（或向各机构合规岗索取），
  通过另一途径与各机构核对密钥后，再运行 workbench verify RECEIPT --trust KEYS.json
WARNING: without --trust the keys are taken from the receipt itself. Anybody can make a consistent receipt with keys of
  their own, so this check does not say who signed. To get keys: workbench trust export DIR --out KEYS.json at your own
  institution (or ask each institution's compliance), compare them by another way, then verify with --trust KEYS.json"""


def verify(options: Options) -> int:
    """Check a receipt or a consent receipt offline, and a list or a signed form against it; needs no workspace and no node.

    Exit 0 when everything that was asked for holds, with pinned keys or without; docs/protocols/evidence.md section 9. 3 for
    a genuine consent receipt whose grant was not live; docs/protocols/consent-receipt.md section 6.
    """
    for name in filter(None, (options.receipt, options.list, options.anchor, options.form)):  # named before anything is checked
        _read(name)
    data = _read(options.receipt)
    if looks_like_one(data):
        return _verify_consent(options, data)
    trust: dict[PartyId, PartyKeys] | None = None
    if options.trust:
        trust = {party: keys.for_notes() for party, keys in _pinned(options.trust).items()}
    list_path = Path(options.list) if options.list else None
    verdict = verify_receipt_file(Path(options.receipt), trust=trust, csv_path=list_path, mldsa_kinds=options.mldsa)
    lines = [f"{STEP_MARKS[step.state]} {step.zh} / {step.en}" for step in verdict.steps]
    if not verdict.pinned:
        say(NOT_PINNED)
    lines += ["", verdict.zh, verdict.en]
    print_result(options, verdict.as_dict(), lines)
    return verdict.exit_status


def _verify_consent(options: Options, data: bytes) -> int:
    pinned = _pinned(options.trust) if options.trust else None
    try:
        anchor = load_receipt(_read(options.anchor)) if options.anchor else None
    except VerificationError as error:
        raise Refused(error.zh, error.en, code=error.code) from error
    verdict = verify_consent_receipt(
        data,
        trust=None if pinned is None else {party: keys.for_notes() for party, keys in pinned.items()},
        contracts=None if pinned is None else {party: keys.contract_key for party, keys in pinned.items()},
        now_ms=system_now_ms(),
        document=_read(options.form) if options.form else None,
        anchor=anchor,
    )
    lines = [f"{STEP_MARKS[step.state]} {step.zh} / {step.en}" for step in verdict.steps]
    if not verdict.pinned:
        say(NOT_PINNED)
    lines += ["", verdict.zh, verdict.en]
    print_result(options, verdict.as_dict(), lines)
    return verdict.exit_status


def audit(options: Options) -> int:
    """Re-hash every body at one node; exit 2 when something does not hold.

    With --coverage: every registered operation, the evidence it leaves and how much of it this log holds.
    """
    workspace = workspace_of(options)
    if options.coverage:
        return _coverage(options, workspace)
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


def _coverage(options: Options, workspace: Workspace) -> int:
    with client_for(workspace, options.party, Role.COMPLIANCE) as client:
        report = client.call("evidence.coverage")
    lines = []
    silent = {
        "read": "只读：仅拒绝与监管查看留痕 / reads only: refusals and the regulator's views",
        "own": "只动自己的草稿或任务，不留证；拒绝留痕 / keeps only one's own draft or task, no evidence; refusals",
    }
    for one in report["operations"]:
        leaves = " ".join(one["kinds"]) or silent.get(one["leaves"], "—")
        mark = "✗" if one["problem_en"] else "✓" if one["proven"] else "·"
        lines.append(f"{mark} {one['name']:<34} {one['entries']:>7}  {leaves}")
        if one["problem_en"]:
            lines.append(f"  {one['problem_zh']} / {one['problem_en']}")
    lines += [
        "✓ 最近一条已在两棵树中核对；· 尚无记录 / ✓ newest entry checked in both trees; · none yet",
        f"没有留下证据的操作 {report['unrecorded']} 次 / {report['unrecorded']} actions left no entry",
    ]
    print_result(options, report, lines)
    return 0 if report["holds"] else 2


def evidence(options: Options) -> int:
    """The timeline of a job joined from all participants, or of the node's own log."""
    workspace = workspace_of(options)
    reply: Record
    with client_for(workspace, options.party, Role.COMPLIANCE) as client:
        # A job of many attempts has more entries than one reply carries; of the own log the newest page is enough here.
        reply = read_story(client, options.job) if options.job else client.evidence.timeline(limit=PAGE_ROWS)
    if options.job and not reply["entries"]:
        raise NotFound("没有这个任务的记录", "There are no entries about that job", code="NO_JOB")
    lines = [
        f"{entry['log']:>8} {entry['index']:>6} {entry['seal']:<7} {entry['kind']:<32} {entry['zh']}"
        for entry in reply["entries"]
    ]
    if reply["more"]:
        shown, total = len(reply["entries"]), reply["total"]
        lines.append(f"最新 {shown:,} 条，日志共 {total:,} 条；用 --job 看一个任务 / the newest {shown:,} of {total:,}; --job shows one job")
    print_result(options, reply, lines)
    return 0


def call(options: Options) -> int:
    """Any operation by name with a JSON request, as the person of a role."""
    try:
        request = json.loads(options.request)
        role = Role(options.role)
        if not isinstance(request, dict):
            raise ValueError("the request is not an object")  # noqa: TRY004 - told as any other request that does not parse
    except ValueError as error:
        raise Refused(
            "请求不是 JSON 对象，或岗位不认识", f"Not a JSON object, or an unknown role: {error}", code="BAD_REQUEST"
        ) from error
    if not re.fullmatch(r"[a-z_]+(?:\.[a-z_]+)+", options.operation):
        raise NotFound(f"没有操作「{options.operation}」", f"There is no operation {options.operation}", code="NO_OPERATION")
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


def _pinned(name: str) -> dict[PartyId, PinnedKeys]:
    try:
        return parse_trust(_read(name))
    except VerificationError as error:
        raise Refused(
            f"「{Path(name).name}」不是信任文件。用 workbench trust export 导出，或向各机构合规岗索取",
            f"{Path(name).name} is no trust file. Make one with workbench trust export, or ask each institution's compliance",
            code="TRUST_FILE",
        ) from error


def _read(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise Refused(f"读不了文件「{Path(name).name}」", f"Cannot read {Path(name).name}", code="NO_FILE") from error


__all__ = ["audit", "call", "evidence", "verify"]
