"""ledger anchor: outside anchors of an institution's log, from the terminal (docs/protocols/anchor.md)."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.client.session import Record
from workbench.commands.common import Options, client_for, credentials, print_result, workspace_of, write_private
from workbench.domain.party import Role
from workbench.errors import Refused

MAX_REPLY_BYTES = 14_000
"""A reply to a request file: tokens without certificates have about 500 bytes, those with a chain a few thousand."""

STATES = {
    "off": "未启用 off",
    "none": "尚无 none yet",
    "waiting": "等待 waiting",
    "confirmed": "已锚定 anchored",
    "conflict": "矛盾 CONFLICT",
}


def anchor(options: Options) -> int:
    """How far the log is anchored; with an option, one step more. Exit 2 when chain and log contradict each other."""
    workspace = workspace_of(options)
    with client_for(workspace, options.party, Role.OPERATOR) as client:
        if options.request:
            return _request(options, client)
        if options.response:
            return _response(options, client)
        if options.check:
            return _check(options, client)
        if options.init or options.now:
            _, password = credentials(workspace, options.party, Role.OPERATOR)
            if options.init:
                reply = client.confirmed("ledger.anchor_account", password=password, anew=options.anew)
            else:
                reply = client.confirmed("ledger.anchor_now", password=password)
        else:
            reply = client.call("ledger.anchors")
    if options.init:
        lines = [
            f"账户地址 address    {reply['address']}",
            f"日志编号 origin id  {reply['origin_id']}",
            "请锚定合约的登记方登记：register(日志编号, 账户地址) / the registrar of the contract registers these two",
        ]
        print_result(options, reply, lines)
        return 0
    print_result(options, reply, _lines(reply))
    return 2 if reply["findings"] else 0


def _request(options: Options, client: Any) -> int:
    reply: Record = client.call("ledger.anchor_request")
    write_private(Path(options.request), base64.b64decode(reply["request"]))
    lines = [
        f"前 {reply['size']:,} 条的检查点，SHA-256 {reply['note_sha256']}",
        f"请求已写入 {options.request}：带到能访问时间戳机构的机器，取得答复后用 --response 交回",
        f"The request is in {options.request}: carry it to a machine that reaches the authority, hand the reply in with --response",
    ]
    print_result(options, {**reply, "file": options.request}, lines)
    return 0


def _response(options: Options, client: Any) -> int:
    data = _read(options.response, MAX_REPLY_BYTES)
    reply: Record = client.call("ledger.anchor_response", response=base64.b64encode(data).decode())
    lines = [
        f"已核对并保存：前 {reply['size']:,} 条在 {_time(reply['time_ms'])} 已存在 / verified and kept, see entry {reply['entry']}"
    ]
    print_result(options, reply, lines)
    return 0


def _check(options: Options, client: Any) -> int:
    note = _read(options.check, 65_536).decode("utf-8", errors="replace")
    reply: Record = client.call("ledger.anchor_check", note=note, transaction=options.transaction or "")
    print_result(options, reply, [f"{reply['state']}", reply["zh"], reply["en"]])
    return 0 if reply["state"] == "CONFIRMED" else 2


def _lines(reply: Record) -> list[str]:
    lines = [f"本机日志 {reply['size']:,} 条 / {reply['size']:,} own entries"]
    for one in reply["anchors"]:
        when = _time(one["time_ms"]) if one["time_ms"] else ""
        lines += [
            f"{one['kind']:<8} {STATES[one['state']]:<20} {one['size']:>9,}  {when}",
            f"  {one['zh']}",
            f"  {one['en']}",
        ]
    for one in reply["findings"]:
        lines.append(f"✗ {one['log']} {one['problem']}（链上 {one['size']:,} 条 / entries on the chain）")
    return lines


def _read(name: str, limit: int) -> bytes:
    try:
        with Path(name).open("rb") as source:
            data = source.read(limit + 1)
    except OSError as error:
        raise Refused(f"读不了文件「{Path(name).name}」", f"Cannot read {Path(name).name}", code="NO_FILE") from error
    if len(data) > limit:
        raise Refused(f"文件超过 {limit:,} 字节", f"The file has more than {limit:,} bytes", code="TOO_LARGE")
    return data


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


__all__ = ["anchor"]
