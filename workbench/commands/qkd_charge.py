"""qkd charge: media of charge keys filled and looked at, session keys delivered to them and opened from them."""

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
    write_private,
)
from workbench.domain.party import Role
from workbench.errors import Refused

PASSPHRASE = "WORKBENCH_MEDIUM_PASSPHRASE_FILE"
"""Names a file (0600) with the passphrase of a medium; without it, it is asked for."""
MEDIUM = "workbench_kme.keys.medium"
_STATES = {"OPEN": "可用", "LOW": "低于低水位", "EMPTY": "已用完", "REVOKING": "吊销中", "REVOKED": "已吊销"}


def status(options: Options) -> int:
    """Pools of all persons; exit 2 while one is below its mark, used up, or a revocation waits."""
    with client_for(workspace_of(options), options.party, Role.OPERATOR) as client:
        reply: Mapping[str, Any] = client.call("qkd.charge_status")
    lines = [_pool_line(one) for one in reply["pools"]] or ["还没有充注过介质 / no medium was filled yet"]
    if reply["waiting"]:
        lines.append(f"! {reply['waiting']} 项吊销等待密钥管理实体确认 / revocations wait for the key-management entity")
    print_result(options, reply, lines)
    return 2 if reply["waiting"] or any(one["state"] in ("LOW", "EMPTY") for one in reply["pools"]) else 0


def fill(options: Options) -> int:
    """Fill a medium: the file is written once, under the passphrase of the person who takes it."""
    out = Path(options.out)
    require_place(out)
    passphrase = secret_line(PASSPHRASE, "介质口令 / passphrase of the medium: ", twice=True).strip()
    request = {
        "line": options.line, "person": options.person, "device": options.device, "count": options.count, "low_water": options.low_water,
        "passphrase": passphrase,
    }  # fmt: skip
    workspace = workspace_of(options)
    with client_for(workspace, options.party, Role.OPERATOR) as client:
        _, password = credentials(workspace, options.party, Role.OPERATOR)
        reply = dict(client.confirmed("qkd.charge_fill", password=password, **request))
        write_private(out, client.download(reply.pop("download")))
    reply["out"] = str(out)
    replaced = f"，作废旧密钥 {reply['replaced']} 个 / earlier ones destroyed" if reply["replaced"] else ""
    print_result(options, reply, [f"已充注 {reply['pool']['left']} 个 / filled: {out}{replaced}"])
    return 0


def deliver(options: Options) -> int:
    """A fresh key of the line for the medium, sealed under its next charge key."""
    out = Path(options.out)
    require_place(out)
    with client_for(workspace_of(options), options.party, Role.OPERATOR) as client:
        reply = dict(client.call("qkd.charge_deliver", line=options.line, person=options.person, device=options.device, slave=options.slave))
        write_private(out, client.download(reply.pop("download")))
    reply["out"] = str(out)
    print_result(
        options, reply,
        [
            f"第 {reply['counter']} 号充注密钥，会话 {reply['session']} / charge key {reply['counter']}: {out}",
            f"  会话密钥 session key {reply['key_id']}（{reply['provenance']}），对端应用 far application {reply['slave']}（主用方 master {reply['master']}），剩余 left {reply['left']}",
        ],
    )  # fmt: skip
    return 0


def open_delivery(options: Options) -> int:
    """What a medium does, on a file: open a delivery once; the charge key leaves the medium's file before the session key is written."""
    module = _medium()
    medium, out = Path(options.medium), Path(options.out)
    require_place(out)
    files = []
    for path in (medium, Path(options.delivery)):
        if not path.is_file():
            raise Refused(f"没有文件「{path.name}」", f"There is no file {path.name}", code="NO_FILE")
        files.append(path.read_bytes())
    passphrase = secret_line(PASSPHRASE, "介质口令 / passphrase of the medium: ").strip()
    again, key_id, provenance, value = module.use_medium(files[0], passphrase, files[1])
    if again:
        write_private(medium, again)
    else:
        medium.unlink()
    write_private(out, bytes(value))
    value[:] = bytes(len(value))
    told = {"key_id": str(key_id), "provenance": str(provenance), "out": str(out), "is_empty": not again}
    print_result(options, told, [f"会话密钥 {told['key_id']}（{told['provenance']}）已写入 / written: {out}"])
    return 0


def _pool_line(one: Mapping[str, Any]) -> str:
    days = f"，约 {one['days_left']:.1f} 天 days" if one["days_left"] >= 0 else ""
    who = f"{one['account'] or one['person']}（{' '.join(one['roles']) or ('停用 disabled' if one['is_disabled'] else one['person'])}）"
    return f"{who}  {one['device']}  {one['line']}  剩 left {one['left']} / 低水位 mark {one['low_water']}{days}  {_STATES[one['state']]} {one['state']}"


def _medium() -> Any:  # Any: a module of a plugin, which this program does not know
    try:
        return import_module(MEDIUM)
    except ImportError as error:
        raise Refused("没有安装密钥管理实体的插件", "The plugin of the key-management entity is not installed", code="NOT_INSTALLED") from error


__all__ = ["deliver", "fill", "open_delivery", "status"]
