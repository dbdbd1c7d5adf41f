"""consent receipt, consent issue: receipts for customers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from workbench.client.session import Client
from workbench.commands.common import (
    Options,
    ProgressLine,
    client_for,
    print_result,
    require_place,
    workspace_of,
    write_private,
)
from workbench.domain.party import Role
from workbench.errors import InvalidRequest


def receipt(options: Options) -> int:
    """Issue one receipt and write it with its page; exit 2 when the issuing entry is not co-signed yet."""
    target = Path(options.out)
    require_place(target)
    if options.known:
        return _anchor(options, target)
    request: dict[str, Any] = {"record": options.record or 0, "purpose": options.purpose, "recipient": options.recipient}
    if options.customer:
        request |= customer_on_input(sys.stdin.read())
    line = ProgressLine()
    with client_for(workspace_of(options), options.party, Role.COMPLIANCE) as client:
        reply = client.call("consent.receipt", progress=line, **request)
        line.end()
        files = {"file": _save(client, target, reply["json_file"]), "page": _save(client, target.with_suffix(".html"), reply["page"])}
        if reply["pdf"]:
            files["pdf"] = _save(client, target.with_suffix(".pdf"), reply["pdf"])
    named = {name: value for name, value in reply.items() if name not in ("receipt", "json_file", "page", "pdf")}
    lines = [f"{reply['receipt_id']}  {reply['state']}", reply["zh"], reply["en"], *files.values(), *_sealed(reply)]
    print_result(options, {**named, **files}, lines)
    return 0 if reply["is_final"] else 2


def issue(options: Options) -> int:
    """Issue receipts of many grants as one ZIP; exit 2 when the issuing entry is not co-signed yet."""
    target = Path(options.out)
    require_place(target)
    request = {
        "event": options.event or 0, "list_id": options.list_id or "", "purpose": options.purpose, "recipient": options.recipient,
        "live_only": not options.all_states, "pages": options.pages,
    }  # fmt: skip
    line = ProgressLine()
    with client_for(workspace_of(options), options.party, Role.COMPLIANCE) as client:
        reply = client.call("consent.receipts_issue", progress=line, **request)
        line.end()
        file = _save(client, target, reply["download"])
    named = {name: value for name, value in reply.items() if name != "download"}
    states = "，".join(f"{code} {count:,}" for code, count in reply["states"].items())
    lines = [f"出具 {reply['receipts']:,} 份 / receipts issued: {states}", f"SM3 {reply['root']}", file, *_sealed(reply)]
    print_result(options, {**named, "file": file}, lines)
    return 0 if reply["is_final"] else 2


def _anchor(options: Options, target: Path) -> int:
    with client_for(workspace_of(options), options.party, Role.COMPLIANCE) as client:
        reply = client.call("consent.receipt_anchor", receipt_id=options.known)
    write_private(target, (json.dumps(reply["anchor"], ensure_ascii=False, indent=2) + "\n").encode())
    named = {name: value for name, value in reply.items() if name != "anchor"}
    print_result(options, {**named, "file": str(target)}, [str(target), *_sealed(reply)])
    return 0 if reply["is_final"] else 2


def _sealed(reply: Any) -> list[str]:
    if reply["is_final"]:
        return [f"签发记录已由 {reply['sealed']} 家机构共签 / the issuing entry is co-signed by {reply['sealed']}"]
    return [
        f"签发记录尚待共签（{reply['sealed']}）：稍后用 --id 取账本证明",
        f"the issuing entry waits for co-signatures ({reply['sealed']}): take the ledger proof later with --id",
    ]


def customer_on_input(text: str) -> dict[str, str]:
    """Phone and identity number from standard input: identifiers never stand in arguments, which others can read."""
    found: dict[str, str] = {}
    for line in filter(None, (one.strip() for one in text.splitlines())):
        found["phone" if len(line) <= 14 and "X" not in line.upper() else "id_no"] = line
    if not found:
        raise InvalidRequest("标准输入里没有手机号或身份证号", "there is no phone or identity number on standard input")
    return found


def _save(client: Client, target: Path, download: str) -> str:
    write_private(target, client.download(download))
    return str(target)


__all__ = ["customer_on_input", "issue", "receipt"]
