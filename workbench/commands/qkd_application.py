"""qkd application: who of this site gets keys, with which certificate and quota."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from workbench.commands.common import (
    Options,
    client_for,
    credentials,
    print_result,
    require_place,
    workspace_of,
    write_private,
)
from workbench.commands.qkd_secret import site_folder
from workbench.domain.party import Role
from workbench.errors import Refused

SITES = "workbench_kme.service.sites"
_MOST_PEM = 16_384
_LIMITS = ("per_hour", "burst", "most_reserved", "priority", "line", "tenant")


def listed(options: Options) -> int:
    """All applications, withdrawn ones included; exit 2 while the list is in doubt."""
    with client_for(workspace_of(options), options.party, Role.OPERATOR) as client:
        reply: Mapping[str, Any] = client.call("qkd.applications")
    lines = [_line(one) for one in reply["applications"]] or ["没有登记的应用 / no application is registered"]
    if reply["problem"]:
        lines.append(f"✗ 登记表不可信（{reply['problem']}），一律不供钥；逐个重新登记 / the list is in doubt, nobody gets keys; register each anew")
    print_result(options, reply, lines)
    return 2 if reply["problem"] else 0


def add(options: Options) -> int:
    """Register an application with its certificate."""
    request = {name: getattr(options, name) for name in _LIMITS}
    return _changed(options, "qkd.application_add", {**request, "certificate": _pem(options.certificate)})


def change(options: Options) -> int:
    """Change what is named; the rest stays as it is."""
    given = {name: value for name in _LIMITS if (value := getattr(options, name)) is not None}
    if not given and not options.certificate:
        options.usage_error("name what changes: --per-hour, --burst, --reserved, --priority, --line, --tenant or --certificate")
    with client_for(workspace_of(options), options.party, Role.OPERATOR) as client:
        found = [one for one in client.call("qkd.applications")["applications"] if one["application"] == options.application]
    before = {name: found[0][name] for name in _LIMITS} if found else {"per_hour": 0, "burst": 1}
    certificate = _pem(options.certificate) if options.certificate else ""
    return _changed(options, "qkd.application_set", {**before, **given, "certificate": certificate})


def withdraw(options: Options) -> int:
    """No more keys for an application; what its far applications have not fetched is revoked."""
    reply = _asked(options, "qkd.application_withdraw", {})
    done = "已撤销 / withdrawn" if reply["withdrawn"] else "先前已撤销 / was withdrawn before"
    print_result(options, reply, [f"{reply['application']} {done}，吊销未取密钥 {reply['revoked']} 把 / keys that waited revoked"])
    return 0


def issue(options: Options) -> int:
    """A certificate and key for an application, by the site's authority, where its key is on this machine; nothing is registered."""
    folder, out = site_folder(workspace_of(options), options.party), Path(options.out)
    require_place(out)
    try:
        module = import_module(SITES)
    except ImportError as error:
        raise Refused("没有安装密钥管理实体", "The key-management entity is not installed", code="NOT_INSTALLED") from error
    if not (folder / "authority.key").is_file():
        raise Refused(
            f"{options.party} 的签发机构私钥不在本机，请在保管它的机器上签发", f"The key of the authority of {options.party} is not on this machine; issue where it is kept",
            code="NO_AUTHORITY",
        )  # fmt: skip
    pair = module.certificate_for(folder, options.application, now=datetime.now(UTC))
    key = out.with_name(out.name + ".key")
    write_private(key, pair.private_key_pem)
    write_private(out, pair.certificate_pem)
    told = {"application": options.application, "certificate": str(out), "key": str(key)}
    print_result(options, told, [f"证书 certificate: {out}", f"私钥 private key: {key}（0600，交给该应用后删除 / hand it to the application, then delete it）"])
    return 0


def _changed(options: Options, operation: str, request: Mapping[str, Any]) -> int:
    reply = _asked(options, operation, request)
    print_result(options, reply, [_line(reply)])
    return 0


def _asked(options: Options, operation: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
    workspace = workspace_of(options)
    with client_for(workspace, options.party, Role.OPERATOR) as client:
        _, password = credentials(workspace, options.party, Role.OPERATOR)
        done: Mapping[str, Any] = client.confirmed(operation, password=password, application=options.application, reason=options.reason, **request)
    return done


def _pem(name: str) -> str:
    path = Path(name)
    if not path.is_file() or path.stat().st_size > _MOST_PEM:
        raise Refused(f"没有证书文件「{path.name}」，或文件过大", f"There is no certificate file {path.name}, or it is too large", code="NO_FILE")
    try:
        return path.read_text("ascii")
    except ValueError as error:
        raise Refused(f"文件「{path.name}」不是 PEM 证书", f"The file {path.name} is no certificate in PEM", code="NO_FILE") from error


def _line(one: Mapping[str, Any]) -> str:
    if one["state"] != "registered":
        return f"{one['application']}  已撤销 withdrawn"
    bound = f"/{one['most_reserved']:,}" if one["most_reserved"] else ""
    there = "" if one["known_there"] else "  对端尚未知道 far end not told yet"
    return (
        f"{one['application']}  {one['line'] or '全部线路 any line'}  租户 tenant {one['tenant'] or '—'}  每小时 per hour {one['per_hour']:,}  一次 at once {one['left']:,}/{one['burst']:,}"
        f"  待取 waiting {one['reserved']:,}{bound}  优先级 priority {one['priority']}  {one['fingerprint'][:16] or '未固定证书 no certificate pinned'}{there}"
    )


__all__ = ["add", "change", "issue", "listed", "withdraw"]
