"""consent ask, asked, decline, capture, backdate: taking consents in, one customer at a time."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from workbench.commands.common import Options, client_for, credentials, print_result, workspace_of
from workbench.commands.receipts import customer_on_input
from workbench.domain.party import Role
from workbench.errors import InvalidRequest, Refused

STATES = {
    "SERVED": "已发出 / served", "OPENED": "已打开 / opened", "SIGNED": "已同意 / agreed", "REFUSED": "已拒绝 / declined",
    "EXPIRED": "已过期 / expired", "CANCELLED": "已收回 / taken back",
}  # fmt: skip


def ask(options: Options) -> int:
    """Make a link for one customer, whose identifiers are read from standard input; or take a question back."""
    with client_for(workspace_of(options), options.party, Role.COMPLIANCE) as client:
        if options.take_back:
            reply = client.call("consent.ask_take_back", ask=options.take_back)
            print_result(options, reply, [f"{reply['ask']}  {STATES.get(reply['state'], reply['state'])}"])
            return 0
        request = {
            **customer_on_input(sys.stdin.read()), "offers": _offers(options), "notice": options.notice, "way": options.way,
            "place": _given(options.place, "--place"), "identity": _given(options.identity, "--identity"), "otp_stated": options.otp_stated,
        }  # fmt: skip
        reply = client.call("consent.ask", **request)
        address = f"{getattr(client, 'url', '')}{reply['path']}"
    lines = [f"{reply['ask']}  {address}", f"只交给客户本人，至 {_time(reply['expires_ms'])} 有效 / for the customer alone, until then"]
    print_result(options, {**reply, "address": address}, lines)
    return 0


def asked(options: Options) -> int:
    """Questions newest first; identifiers masked."""
    request: dict[str, Any] = {"state": options.state, "limit": options.limit, "before": options.before}
    if options.customer:
        request |= customer_on_input(sys.stdin.read())
    with client_for(workspace_of(options), options.party, Role.COMPLIANCE) as client:
        reply = client.call("consent.asked", **request)
    lines = [f"共 {reply['total']:,} 次 / questions"]
    for one in reply["questions"]:
        who = " ".join(filter(None, (one["phone"], one["id_no"])))
        scope = " ".join(f"{offer['purpose']}/{offer['recipient']}" for offer in one["offers"])
        lines.append(f"{one['ask']}  {_time(one['asked_ms'])}  {who}  {scope}  {STATES.get(one['state'], one['state'])}")
        if one["cool_down_until_ms"]:
            lines.append(f"{'':>4}冷却至 {_time(one['cool_down_until_ms'])} / not asked again before")
    if reply["next"]:
        lines.append(f"还有更早的：--before {reply['next']} / more, earlier ones")
    print_result(options, reply, lines)
    return 0


def decline(options: Options) -> int:
    """Record that a customer declined before staff; the cool-down begins."""
    declined = [{"purpose": options.purpose, "recipient": one} for one in options.recipient]
    request = {**customer_on_input(sys.stdin.read()), "declined": declined, "place": options.place, "identity": options.identity}
    with client_for(workspace_of(options), options.party, Role.COMPLIANCE) as client:
        reply = client.call("consent.refusal_note", **request)
    until = _time(reply["cool_down_until_ms"])
    print_result(options, reply, [f"{reply['ask']}  {STATES['REFUSED']}", f"冷却至 {until} / not asked again before"])
    return 0


def capture(options: Options) -> int:
    """Hand in a signed form of one customer."""
    path = Path(options.file)
    if not path.is_file():
        raise Refused(f"没有文件「{path.name}」", f"There is no file {path.name}", code="NO_FILE")
    request: dict[str, Any] = {
        **customer_on_input(sys.stdin.read()), "offers": _offers(options), "notice": options.notice, "name": path.name,
        "method": options.method, "place": options.place, "identity": options.identity, "initiative": options.initiative,
        "signer": options.signer, "signer_name": options.signer_name, "signer_relation": options.signer_relation,
        "authority": options.authority, "authority_digest": options.authority_digest, "backdating": options.backdating,
    }  # fmt: skip
    if options.begins:
        request["begins"] = options.begins
    with client_for(workspace_of(options), options.party, Role.COMPLIANCE) as client:
        reply = client.call("consent.capture", file=client.upload(path), **request)
    print_result(options, reply, [f"新增授权 {reply['grants']} 条，事件 {reply['event']} / grants, event", f"SM3 {reply['form']}"])
    return 0


def backdate(options: Options) -> int:
    """Propose backdating, approve a proposal as a second person, or list what waits."""
    workspace = workspace_of(options)
    if options.approve:
        _, password = credentials(workspace, options.party, Role.APPROVER)
        with client_for(workspace, options.party, Role.APPROVER) as client:
            reply = client.confirmed("consent.backdating_approve", password=password, proposal=options.approve)
        print_result(options, reply, [_proposal(reply)])
        return 0
    with client_for(workspace, options.party, Role.COMPLIANCE) as client:
        if not options.earliest:
            reply = client.call("consent.backdatings")
            print_result(options, reply, [_proposal(one) for one in reply["proposals"]] or ["没有待批准的倒签 / nothing waits"])
            return 0
        reply = client.call("consent.backdating_propose", earliest=options.earliest, most=options.most, reason=options.reason)
    print_result(options, reply, [_proposal(reply), "请另一人批准：workbench consent backdate --approve … / another person approves it"])
    return 0


def _offers(options: Options) -> list[dict[str, str]]:
    until = _given(options.until, "--until")
    recipients, purpose = _given(options.recipient, "--recipient"), _given(options.purpose, "--purpose")
    return [{"purpose": purpose, "recipient": one, "until": until} for one in recipients]


def _given(value: Any, name: str) -> Any:
    if not value:
        raise InvalidRequest(f"缺少 {name}", f"{name} is missing")
    return value


def _proposal(one: Any) -> str:
    words = {"WAITING": "待批准 / waits", "APPROVED": "已批准 / approved", "USED": "已使用 / used"}
    return f"{one['proposal']}  自 {one['earliest']} 起，至多 {one['most']:,} 条 / from then on, at most  {words[one['state']]}  {one['reason']}"


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, ZoneInfo("Asia/Shanghai")).strftime("%Y-%m-%d %H:%M:%S")


__all__ = ["ask", "asked", "backdate", "capture", "decline"]
