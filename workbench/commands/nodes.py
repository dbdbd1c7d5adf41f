"""init, up, down, status, doctor, trust export: the workspace and its processes."""

from __future__ import annotations

import shutil
import signal
import stat
import sys
from pathlib import Path
from typing import Any

from workbench.client.session import sign_in
from workbench.commands.common import (
    Options,
    asked_secret,
    client_for,
    print_result,
    say,
    secret_line,
    workspace_of,
    write_private,
)
from workbench.commands.lines import start_line, stop_line
from workbench.domain.party import PartyId, Role
from workbench.errors import Refused, WorkbenchError
from workbench.node import first_passwords
from workbench.node.keys import load_bundle
from workbench.node.trust import export_trust
from workbench.supervisor import running_nodes, start_nodes, stop_nodes
from workbench.workspace import DEFAULT_PARTIES, create_workspace, free_ports, open_node


def init(options: Options) -> int:
    """Make a workspace: a test one with --empty, a demo one otherwise, or what --kind says."""
    kind = options.kind or ("test" if options.empty else "demo")
    parties = options.parties.split(",") if options.parties else list(DEFAULT_PARTIES)
    passphrase = _passphrase(twice=True) if kind == "production" else ""
    workspace = create_workspace(
        Path(options.dir), kind=kind, parties=parties, project=options.project, passphrase=passphrase, peer_host=options.host
    )
    if kind == "demo" and not options.empty:
        from workbench.demo.data import populate

        populate(workspace, customers=options.customers, seed=options.seed, say=say)
    value = {"folder": workspace.folder.name, "kind": kind, "project": workspace.project, "parties": list(workspace.parties)}
    lines = [f"工作区已建立（{kind}）：{'、'.join(workspace.parties)} / workspace ready"]
    if kind == "production":
        lines.append("首批两位管理员各有一个一次性密码文件 first-password-admin1.txt、-admin2.txt（0600）：分别交给两个人，限时更换")
        lines.append("One one-time password file for each of the two administrators (0600): hand them to two people, who change them")
    print_result(options, value, lines)
    return 0


def password(options: Options) -> int:
    """Change one's own password at a node that runs; both are asked for, never taken from an argument."""
    workspace = workspace_of(options)
    node = running_nodes(workspace).get(PartyId(options.party))
    if node is None:
        workspace.node_folder(options.party)
        raise Refused(f"{options.party} 的节点没有运行", f"The node of {options.party} does not run", code="NODE_DOWN")
    old = asked_secret(f"{options.account} 现在的密码 / present password: ")
    new = asked_secret("新密码 / new password: ")
    if new != asked_secret("再输一次 / once more: "):
        raise Refused("两次输入的新密码不同", "The two new passwords differ", code="PASSWORDS_DIFFER")
    with sign_in(node.staff_url, options.account, old) as client:
        confirmation = client.confirmation("people.change_password", {"password": new}, password=old)
        client.call("people.change_password", confirmation=confirmation, password=new)
    print_result(options, {"account": options.account, "changed": True}, ["密码已更换 / the password was changed"])
    return 0


def first_password(options: Options) -> int:
    """Another one-time password for an account whose own was never set; the node must be stopped."""
    workspace = workspace_of(options)
    folder = workspace.node_folder(options.party)
    if options.party in running_nodes(workspace):
        raise Refused("先停止节点（workbench down）", "Stop the node first (workbench down)", code="NODE_RUNS")
    node = open_node(workspace, options.party, passphrase=_passphrase() if workspace.kind == "production" else "")
    try:
        secret = first_passwords.generate(node.random)
        until_ms = node.now_ms() + node.setting("people.first_password_hours") * first_passwords.HOUR_MS
        node.people.reissue_first_password(options.account, password=secret, first_until_ms=until_ms)
    finally:
        node.close()
    path = first_passwords.write(folder, account=options.account, password=secret, until_ms=until_ms)
    print_result(options, {"account": options.account, "file": str(path)}, [f"已写入 {path.name}（0600）/ written, for one person"])
    return 0


def up(options: Options) -> int:
    """Start all nodes; in the foreground until Ctrl-C, or leave them running with --detach."""
    workspace = workspace_of(options)
    passphrase = _passphrase() if workspace.kind == "production" else ""
    moved = {} if running_nodes(workspace) or workspace.kind == "production" else free_ports(workspace)
    for name, (old, new) in moved.items():
        say(f"端口 {old} 被占用，{name} 改用 {new} / port {old} is taken, {name} uses {new}")
    nodes = start_nodes(workspace, passphrase=passphrase)
    start_line(workspace)
    value = {
        "nodes": {
            party: {"pid": node.pid, "staff_url": node.staff_url, "peer": node.peer} for party, node in nodes.items()
        },
        "moved_ports": {name: list(pair) for name, pair in moved.items()},
    }
    lines = [f"{party}：{node.staff_url}（对方接口 {node.peer}）" for party, node in nodes.items()]
    print_result(options, value, lines)
    if options.detach:
        return 0
    say("按 Ctrl-C 停止全部节点 / Ctrl-C stops all nodes")
    wait_for_stop()
    stop_nodes(workspace)
    stop_line(workspace)
    return 0


def wait_for_stop() -> None:
    """Return at SIGINT or SIGTERM."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda number, frame: None)
    signal.pause()


def down(options: Options) -> int:
    """Stop the nodes of this workspace that run."""
    workspace = workspace_of(options)
    stopped = stop_nodes(workspace)
    stop_line(workspace)
    print_result(options, {"stopped": list(stopped)}, [f"已停止：{'、'.join(stopped) or '没有在运行的节点'} / stopped"])
    return 0


def status(options: Options) -> int:
    """Which nodes run, what they have sealed, and what health says."""
    workspace = workspace_of(options)
    running = running_nodes(workspace)
    nodes: dict[str, Any] = {}
    for party in workspace.parties:
        if party not in running:
            nodes[party] = {"running": False}
            continue
        nodes[party] = {"running": True, "pid": running[party].pid, "staff_url": running[party].staff_url}
        if workspace.kind == "production":
            continue
        try:
            with client_for(workspace, party, Role.OPERATOR) as client:
                state = client.call("node.status")
        except WorkbenchError as error:
            nodes[party]["problem"] = error.code
            continue
        nodes[party] |= {name: state[name] for name in ("sealed", "pending", "running", "inbox", "health", "nodes")}
        nodes[party]["running"] = True
        nodes[party]["jobs"] = state["running"]
    lines = [_status_line(party, node) for party, node in nodes.items()]
    print_result(options, {"kind": workspace.kind, "project": workspace.project, "nodes": nodes}, lines)
    return 0 if len(running) == len(workspace.parties) else 1


def _status_line(party: str, node: dict[str, Any]) -> str:
    if not node["running"]:
        return f"{party}：未运行 / not running"
    bad = [line["zh"] for line in node.get("health", []) if line["state"] != "ok"]
    seals = f"已封存 {node.get('sealed', '—')}，待封存 {node.get('pending', '—')}"
    return f"{party}：运行中 pid {node['pid']}，{seals}" + (f"；{'；'.join(bad)}" if bad else "")


def doctor(options: Options) -> int:
    """What this machine and workspace lack; exit 1 when something would not work."""
    checks = [*_machine_checks(), *_workspace_checks(options)]
    failed = [one for one in checks if one["state"] == "failed"]
    mark = {"ok": "✓", "warning": "!", "failed": "✗"}
    lines = [f"{mark[one['state']]} {one['zh']} / {one['en']}" for one in checks]
    print_result(options, {"checks": checks, "ok": not failed}, lines)
    return 1 if failed else 0


def _check(name: str, ok: bool, zh: str, en: str, *, otherwise: str = "failed") -> dict[str, str]:
    return {"name": name, "state": "ok" if ok else otherwise, "zh": zh, "en": en}


def _machine_checks() -> list[dict[str, str]]:
    from workbench.loading import load_plugins

    plugins = load_plugins().plugins
    bad = [f"{one.name}: {one.problem}" for one in plugins if one.state != "ok"]
    free_gib = shutil.disk_usage(".").free / 2**30
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    return [
        _check("python", sys.version_info >= (3, 11), f"Python {sys.version.split()[0]}", "Python 3.11 or newer"),
        _check("plugins", not bad, f"插件 {len(plugins)} 个" + "；".join(bad), "plugins load"),
        _check("disk", free_gib > 2, f"磁盘余量 {free_gib:.1f} GiB", "disk space"),
        _check("openssl", bool(shutil.which("openssl")), "外部核对工具 openssl", "openssl for outside checks", otherwise="warning"),
        _check("chromium", bool(chromium), "浏览器测试用 chromium", "chromium for browser tests", otherwise="warning"),
    ]


def _workspace_checks(options: Options) -> list[dict[str, str]]:
    workspace = workspace_of(options)
    checks = []
    for party in workspace.parties:
        folder = workspace.node_folder(party)
        mode = stat.S_IMODE(folder.stat().st_mode)
        checks.append(_check(f"{party}.folder", mode == 0o700, f"{party} 目录权限 {mode:o}", "folder of mode 700"))
        bundle = load_bundle(folder / "keys")
        checks.append(_check(f"{party}.keys", True, f"{party} 公开信息有效，证书 {bundle.certificate_fingerprint[:8]}…", "bundle ok"))
    running = running_nodes(workspace)
    checks.append(
        _check(
            "nodes",
            len(running) == len(workspace.parties),
            f"节点运行 {len(running)}/{len(workspace.parties)}",
            "nodes running",
            otherwise="warning",
        )
    )
    return checks


def export_trust_file(options: Options) -> int:
    """Public co-signing keys of every institution, for `workbench verify --trust`."""
    workspace = workspace_of(options)
    data = export_trust([load_bundle(workspace.node_folder(party) / "keys") for party in workspace.parties])
    if options.out:
        write_private(Path(options.out), data)
        print_result(options, {"file": options.out, "parties": list(workspace.parties)}, [f"已写入 / written: {options.out}"])
    else:
        sys.stdout.write(data.decode() + "\n")
    return 0


def _passphrase(*, twice: bool = False) -> str:
    return secret_line("WORKBENCH_PASSPHRASE_FILE", "口令 / passphrase: ", twice=twice)


__all__ = [
    "doctor",
    "down",
    "export_trust_file",
    "first_password",
    "init",
    "password",
    "status",
    "up",
    "wait_for_stop",
]
