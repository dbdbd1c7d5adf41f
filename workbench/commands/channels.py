"""channels: credentials of the office system and the customers' app, and both of them simulated over the same HTTP interface."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from workbench.client.session import Client
from workbench.clock import SHANGHAI
from workbench.commands.common import (
    Options,
    client_for,
    credentials,
    exports_folder,
    print_result,
    require_place,
    say,
    workspace_of,
    write_private,
)
from workbench.domain.party import PartyId, Role
from workbench.errors import InvalidRequest, NotFound, Refused, WorkbenchError
from workbench.supervisor import running_nodes

POLL_S = 0.2
ANSWER_S = 90.0
DONE = {"ANSWERED": 0, "ABSTAINED": 0, "REFUSED": 2, "STOPPED": 2}


def listed(options: Options) -> int:
    """Every credential, the newest first."""
    with client_for(workspace_of(options), options.party, Role.COMPLIANCE) as client:
        reply = client.call("inference.channels")
    print_result(options, reply, [_line(one) for one in reply.channels] or ["没有渠道凭据 / no credential of a channel"])
    return 0


def added(options: Options) -> int:
    """Add a credential; its secret goes into a file and is shown nowhere."""
    workspace = workspace_of(options)
    path = Path(options.out) if options.out else _secret_file(options, options.name)
    require_place(path)
    until = (datetime.now(SHANGHAI) + timedelta(days=options.days)).date().isoformat()
    _, password = credentials(workspace, options.party, Role.ADMIN)
    with client_for(workspace, options.party, Role.ADMIN) as client:
        reply = client.confirmed(
            "inference.channel_add", password=password, name=options.name, channel=options.channel, role=options.role, per_minute=options.per_minute, until_day=until,
            reason=options.reason,
        )  # fmt: skip
    write_private(path, f"{reply.secret}\n".encode())
    lines = [_line(reply.channel), f"密钥 secret: {path}", "另一人确认后可用 / another person confirms it: workbench channels confirm"]
    print_result(options, {"channel": reply.channel, "secret_file": str(path)}, lines)
    return 0


def confirmed(options: Options) -> int:
    """By another person than the one who added it."""
    workspace = workspace_of(options)
    _, password = credentials(workspace, options.party, Role.COMPLIANCE)
    with client_for(workspace, options.party, Role.COMPLIANCE) as client:
        reply = client.confirmed("inference.channel_confirm", password=password, name=options.name, reason=options.reason)
    print_result(options, reply, [_line(reply)])
    return 0


def revoked(options: Options) -> int:
    """It opens nothing from now on."""
    with client_for(workspace_of(options), options.party, Role.OPERATOR) as client:
        reply = client.call("inference.channel_revoke", name=options.name, reason=options.reason)
    print_result(options, reply, [_line(one) for one in reply.channels])
    return 0


def app(options: Options) -> int:
    """What a customer sees. Exit status as `workbench ask`; 2 where the customer may not ask."""
    with _machine(options) as machine:
        seen = machine.call("inference.channel_customer", v=1, phone=options.customer)
        if not seen.may_ask:
            print_result(options, seen, [f"{_said(options, seen)} [{seen.code}]"])
            return 2
        say(f"本月还可以问 {seen.left} 次 / {seen.left} questions left this month")
        return _conversation(options, machine, {"customer": seen.customer})


def office(options: Options) -> int:
    """What the office system shows a member of staff."""
    with _machine(options) as machine:
        return _conversation(options, machine, {"staff": options.staff}, {"client_class": options.client_class})


def _conversation(options: Options, machine: Client, who: dict[str, Any], more: dict[str, Any] | None = None) -> int:
    """One question, or one after the other from standard input until it ends."""

    def one(question: str) -> int:
        taken = machine.call("inference.channel_ask", v=1, question=question, scenario=options.scenario, language=options.lang, **who, **(more or {}))
        told = _ended(machine, str(taken.ask), who)
        print_result(options, told, _told(options, told))
        return DONE.get(str(told.state), 1)

    if options.question:
        return one(options.question)
    if options.json:
        raise InvalidRequest("--json 须给出一个问题", "--json needs one question")
    status = 0
    say("逐行提问，空行结束 / one question a line, an empty line ends")
    for line in sys.stdin:
        if not line.strip():
            break
        status = _guarded(options, lambda line=line: one(line.strip()))  # type: ignore[misc]  # a default binds the line of this turn
    return status


def _guarded(options: Options, act: Callable[[], int]) -> int:
    """A refused question does not end a conversation."""
    try:
        return act()
    except Refused as error:
        print_result(options, error.as_dict(), [f"{error.zh if options.lang == 'zh' else error.en} [{error.code}]"])
        return error.exit_status


def _ended(machine: Client, ask: str, who: dict[str, Any]) -> Any:
    ends, after = time.monotonic() + ANSWER_S, 0
    while time.monotonic() < ends:
        told = machine.call("inference.channel_answer", v=1, ask=ask, after=after, **who)
        if told.state != "WAITING":
            return told
        after = told.next
        time.sleep(POLL_S)
    raise WorkbenchError("回答没有在时限内到来，请稍后再看", "No answer came in time; look again later", code="ANSWER_LATE")


def _told(options: Options, told: Any) -> list[str]:
    """As the app draws it: text, figures, sources, label and disclaimer."""
    is_zh = options.lang == "zh"
    lines = [str(told.text).replace("⟦", "[").replace("⟧", "]")] if told.text else []
    if told.code:
        lines.append(f"{_said(options, told)} [{told.code}]")
    elif told.state == "ABSTAINED" and not told.text:
        lines.append("资料里没有写明" if is_zh else "the documents do not say")
    lines += [f"{one.label_zh if is_zh else one.label_en}：{one.value}{one.unit} [{one.cite}]" for one in told.fields]
    lines += [f"[{one.n}] {one.title} · {one.source}{' · 合成 synthetic' if one.synthetic else ''}" for one in told.citations]
    if told.state == "ANSWERED":
        label, disclaimer = (str(told.label_zh), str(told.disclaimer_zh)) if is_zh else (str(told.label_en), str(told.disclaimer_en))
        lines.append(disclaimer if disclaimer.lower().startswith(label.lower()) else f"{label} · {disclaimer}")
    return lines


def _said(options: Options, told: Any) -> str:
    return str(told.zh if options.lang == "zh" else told.en)


def _machine(options: Options) -> Client:
    """The node's interface with a channel's secret: no person is signed in."""
    workspace = workspace_of(options)
    node = running_nodes(workspace).get(PartyId(options.party))
    if node is None:
        raise Refused(f"{options.party} 的节点没有运行。先运行 workbench up", f"The node of {options.party} does not run. Run workbench up first", code="NODE_DOWN")
    path = Path(options.credential) if options.credential else _secret_file(options, options.credential_name)
    try:
        secret = path.read_text("utf-8").strip()
    except OSError:
        raise NotFound(
            f"没有密钥文件「{path.name}」：先 workbench channels add --name {options.credential_name}，再由另一人 confirm",
            f"There is no file {path.name}: workbench channels add --name {options.credential_name} first, then another person confirms it", code="NO_CREDENTIAL",
        ) from None  # fmt: skip
    return Client(node.staff_url, secret)


def _secret_file(options: Options, name: str) -> Path:
    return exports_folder(workspace_of(options), options.party) / f"channel-{name}.secret"


def _line(one: Any) -> str:
    until = datetime.fromtimestamp((one.until_ms - 1) / 1000, SHANGHAI).strftime("%Y-%m-%d")
    return f"{one.name}  {one.credential}  {one.channel}  {one.role}  {one.state}  ≤ {one.per_minute}/min  至 until {until}  {one.first} / {one.second or '—'}  {one.asks} 问 asks"


__all__ = ["added", "app", "confirmed", "listed", "office", "revoked"]
