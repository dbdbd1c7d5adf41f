"""qkd device: the key devices of a site's entity, one added while it runs, one taken away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.commands.common import Options, client_for, credentials, print_result, workspace_of
from workbench.domain.party import Role


def shown(options: Options) -> int:
    """Every device with its state; exit 2 while one does not serve."""
    with client_for(workspace_of(options), options.party, Role.OPERATOR) as client:
        reply: Mapping[str, Any] = client.call("qkd.devices")
    print_result(options, reply, [line for one in reply["devices"] for line in _lines(one)])
    return 2 if any(one["state"] in ("out", "missing") for one in reply["devices"]) else 0


def add(options: Options) -> int:
    """Another device, from now on; nothing stops meanwhile."""
    reply = _confirmed(options, "qkd.add_device", name=options.name, backend=options.backend, reason=options.reason)
    print_result(options, reply, ["已加入 / added", *_lines(reply)])
    return 0


def drain(options: Options) -> int:
    """Its values go to the others, then it is taken away; keys are given out meanwhile."""
    reply = _confirmed(options, "qkd.drain_device", name=options.name, reason=options.reason)
    print_result(options, reply, [f"{reply['name']} 已撤出，{reply['moved']:,} 个值转到其他设备 / taken away, values moved"])
    return 0


def _confirmed(options: Options, operation: str, **request: Any) -> Mapping[str, Any]:
    workspace = workspace_of(options)
    with client_for(workspace, options.party, Role.OPERATOR) as client:
        _, password = credentials(workspace, options.party, Role.OPERATOR)
        reply: Mapping[str, Any] = client.confirmed(operation, password=password, **request)
        return reply


def _lines(one: Mapping[str, Any]) -> list[str]:
    mark = "✓" if one["state"] == "serving" else "!" if one["state"] == "draining" else "✗"
    place = "独立进程 own process" if one["own_process"] else "实体进程 in the entity" if one["kind"] else ""
    found = [f"{mark} {one['name'] or '—'}  {one['state']}  {one['kind']}  {place}  KEK {one['kek']}  值 values {one['values']:,}"]
    return [*found, f"  未通过 failed: {', '.join(one['failed'])}"] if one["failed"] else found


__all__ = ["add", "drain", "shown"]
