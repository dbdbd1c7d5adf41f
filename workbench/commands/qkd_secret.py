"""qkd initial-secret: a new initial secret of a line's authentication pool, at one of its two ends."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from workbench.commands.common import (
    Options,
    client_for,
    credentials,
    print_result,
    require_place,
    secret_line,
    workspace_of,
)
from workbench.domain.party import Role
from workbench.errors import Refused
from workbench.workspace import Workspace, read_json

PASSPHRASE = "WORKBENCH_KME_PASSPHRASE_FILE"
"""Names a file (0600) with the passphrase of the site's secrets; without it, it is asked for, where they have one."""
MODULE, SUPERVISE = "workbench_kme.service.initial", "workbench_kme.service.supervise"


def put(options: Options) -> int:
    """Make one, or take the one that the other end made; the entry, then the file. The site's entity is stopped and stays so."""
    initial, supervise = _installed(MODULE), _installed(SUPERVISE)
    workspace = workspace_of(options)
    folder = site_folder(workspace, options.party)
    passphrase = secret_line(PASSPHRASE, "站点口令 / passphrase of the site: ") if initial.is_wrapped(folder) else ""
    config, secrets = initial.opened(folder, options.line, passphrase)
    if options.make:
        out = Path(options.make)
        require_place(out)
        if out.exists():
            raise Refused(f"文件「{out.name}」已存在", f"The file {out.name} is there already", code="FILE_EXISTS")
        secret = initial.draw()
    else:
        if not options.check:
            options.usage_error("--check goes with --file: the value that the other end told")
        secret = initial.read_file(Path(options.file), options.line)
        initial.require_check(options.line, secret, options.check)
    peer = next(one.peer.site for one in config.lines if one.line == options.line)
    check = initial.check_value(options.line, secret)
    initial.require_new(secrets, options.line, secret)
    with client_for(workspace, options.party, Role.OPERATOR) as client:
        _, password = credentials(workspace, options.party, Role.OPERATOR)
        reply: Mapping[str, Any] = client.confirmed("qkd.initial_secret", password=password, line=options.line, check=check, peer=peer, reason=options.reason)
    stopped = supervise.stop_kmes(folder.parent, sites=[folder.name])
    if options.make:
        initial.write_file(Path(options.make), options.line, secret)
    initial.put(folder, options.line, secret, passphrase)
    value = {**reply, "peer": peer, "stopped": stopped, "out": options.make or ""}
    print_result(options, value, _lines(options, value))
    return 0


def _lines(options: Options, told: Mapping[str, Any]) -> list[str]:
    check = " ".join(told["check"][at : at + 4] for at in range(0, 20, 4))
    lines = [f"线路 {told['line']} 换入新的初始秘密，校验值 {check} / a new initial secret is in place, check value {check}"]
    if options.make:
        lines.append(f"把 {told['out']} 当面交给 {told['peer']}，校验值另行告知 / carry the file to {told['peer']}, tell the check value another way")
    if told["agrees"]:
        lines.append(f"与 {told['peer']} 日志中的校验值一致 / the log of {told['peer']} says the same")
    elif told["far_check"] and not options.make:
        lines.append(f"! {told['peer']} 日志中是另一个校验值 {told['far_check']} / the log of {told['peer']} has another value")
    stopped = "本端实体已停止" if told["stopped"] else "本端实体没有在本机运行"
    lines.append(
        f"{stopped}；两端都换入后再启动两端（演示：workbench up DIR --detach），用完的文件两端删除"
        " / start both entities when both ends have it, then delete the file at both"
    )
    return lines


def site_folder(workspace: Workspace, party: str) -> Path:
    """The folder of the institution's entity, where it is on this machine."""
    node = workspace.node_folder(party)
    setting = read_json(node / "settings.json").get("qkd.kme")
    if not isinstance(setting, dict) or not isinstance(setting.get("folder"), str):
        raise Refused(
            f"{party} 的密钥管理实体不在本机（设置 qkd.kme），请在它的机器上办理",
            f"The key-management entity of {party} is not on this machine (setting qkd.kme); do this where it is",
            code="KME_ELSEWHERE",
        )
    return Path(node, setting["folder"]).resolve()


def _installed(name: str) -> Any:  # Any: a module of a plugin, which this program does not know
    try:
        return import_module(name)
    except ImportError as error:
        raise Refused("没有安装密钥管理实体", "The key-management entity is not installed", code="NOT_INSTALLED") from error


__all__ = ["put", "site_folder"]
