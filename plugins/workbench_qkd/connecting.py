"""Where this site's key-management entity is, and who this node is towards it. Document: docs/quantum-channel.md section 4."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.errors import PeerUnavailable, StartRefused
from workbench_kme.service.client import Credentials, ManagementClient

NODE = "node"
"""Name of the node's own certificate among the clients of a site's folder."""
_EXPLICIT = ("address", "kme", "authority", "certificate", "key")


@dataclass(frozen=True, slots=True)
class Place:
    """Address (host:port) and credentials of the management interface. local: folder of a site on this machine, None otherwise."""

    address: str
    credentials: Credentials = field(repr=False)
    local: Path | None = None


def place(setting: Any, folder: Path) -> Place:  # Any: a JSON object out of the settings file, checked here
    """Read what `qkd.kme` names; paths are relative to the institution's folder.

    Raises StartRefused WRONG_SETTING for another form, PeerUnavailable KME_AWAY when files or a running entity are missing.
    """
    if not isinstance(setting, dict) or set(setting) not in ({"folder"}, set(_EXPLICIT)) or not all(isinstance(one, str) and one for one in setting.values()):
        raise StartRefused(
            "设置 qkd.kme 应为 {\"folder\": …}，或 address、kme、authority、certificate、key 五项；运维更正",
            "setting qkd.kme must be {\"folder\": …}, or address, kme, authority, certificate and key; operations correct it",
            code="WRONG_SETTING",
        )  # fmt: skip
    try:
        if "folder" in setting:
            return _local(folder / setting["folder"])
        files = {name: (folder / setting[name]).read_bytes() for name in ("authority", "certificate", "key")}
    except (OSError, ValueError, KeyError) as error:
        raise away(str(setting.get("folder") or setting.get("kme"))) from error
    credentials = Credentials(files["certificate"], files["key"], files["authority"], setting["kme"])
    return Place(setting["address"], credentials)


def connected(found: Place) -> ManagementClient:
    """A client; nothing is sent yet."""
    return ManagementClient(found.address, found.credentials)


def away(name: str) -> PeerUnavailable:
    """The entity cannot be asked. Operators act next."""
    return PeerUnavailable(
        f"本站点的密钥管理实体「{Path(name).name}」没有运行或读不到它的文件。运维启动它",
        f"This site's key-management entity {Path(name).name} does not run, or its files cannot be read. Operations start it",
        code="KME_AWAY",
    )


def _local(site: Path) -> Place:
    kme = json.loads((site / "kme.json").read_text("utf-8"))["kme"]
    address = json.loads((site / "run" / "kme.json").read_text("utf-8"))["address"]
    return Place(str(address), Credentials.from_site(site, NODE, kme=str(kme)), site)


__all__ = ["Place", "away", "connected", "place"]
