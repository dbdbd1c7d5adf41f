"""Where this site's key-management entity is, and who this node is towards it. Document: docs/quantum-channel.md section 4."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.errors import KeyUnavailable, PeerUnavailable, StartRefused
from workbench_kme.service.client import Credentials, Ets014Client, ManagementClient

NODE = "node"
"""Name of the node's own certificate among the clients of a site's folder."""
_FILES = {"authority", "certificate", "key", "sae_certificate", "sae_key"}
_EXPLICIT = {"address", "kme", "authority", "certificate", "key"}
_SAE = {"sae", "sae_certificate", "sae_key"}
_LOCAL: tuple[set[str], ...] = ({"folder"}, {"folder", "line_saes"})


@dataclass(frozen=True, slots=True)
class Place:
    """Address (host:port) and credentials of the management interface; sae: this node's id as an application, "" without one.

    line_saes: for lines on which this node is another application than `sae`: its id and credentials.
    """

    address: str
    credentials: Credentials = field(repr=False)
    sae: str = ""
    sae_credentials: Credentials | None = field(default=None, repr=False)
    line_saes: Mapping[str, tuple[str, Credentials]] = field(default_factory=dict, repr=False)

    def for_line(self, line: str) -> tuple[str, Credentials | None]:
        """(id, credentials) of this node as an application on a line."""
        return self.line_saes.get(line, (self.sae, self.sae_credentials))


def place(setting: Any, folder: Path) -> Place:  # Any: a JSON object out of the settings file, checked here
    """Read what `qkd.kme` names; paths are relative to the institution's folder.

    Raises StartRefused WRONG_SETTING for another form, PeerUnavailable KME_AWAY when files or a running entity are missing.
    """
    if not _is_form(setting):
        raise StartRefused(
            "设置 qkd.kme 应为 {\"folder\": …}（多条线路另加 line_saes），或 address、kme、authority、certificate、key 五项，取用密钥另加 sae、sae_certificate、sae_key；运维更正",
            "setting qkd.kme must be {\"folder\": …} (with line_saes for several lines), or address, kme, authority, certificate and key, with sae, sae_certificate and sae_key to take keys; operations correct it",
            code="WRONG_SETTING",
        )  # fmt: skip
    try:
        if "folder" in setting:
            return _local(folder / setting["folder"], setting.get("line_saes", {}))
        files = {name: (folder / path).read_bytes() for name, path in setting.items() if name in _FILES}
    except (OSError, ValueError, KeyError) as error:
        raise away(str(setting.get("folder") or setting.get("kme"))) from error
    credentials = Credentials(files["certificate"], files["key"], files["authority"], setting["kme"])
    if "sae" not in setting:
        return Place(setting["address"], credentials)
    own = Credentials(files["sae_certificate"], files["sae_key"], files["authority"], setting["kme"])
    return Place(setting["address"], credentials, setting["sae"], own)


def connected(found: Place) -> ManagementClient:
    """A client; nothing is sent yet."""
    return ManagementClient(found.address, found.credentials)


def key_client(found: Place, line: str = "") -> Ets014Client:
    """A client of ETSI GS QKD 014 for this node as an application on a line. KeyUnavailable NO_SAE where the setting names none."""
    _, credentials = found.for_line(line)
    if credentials is None:
        raise KeyUnavailable(
            "设置 qkd.kme 没有写明本节点作为应用的证书，取不了密钥。运维补上 sae、sae_certificate、sae_key",
            "The setting qkd.kme names no certificate of this node as an application, so it can take no keys. Operations add sae, sae_certificate and sae_key",
            code="NO_SAE",
        )
    return Ets014Client(found.address, credentials)


def away(name: str) -> PeerUnavailable:
    """The entity cannot be asked. Operators act next."""
    return PeerUnavailable(
        f"本站点的密钥管理实体「{Path(name).name}」没有运行或读不到它的文件。运维启动它",
        f"This site's key-management entity {Path(name).name} does not run, or its files cannot be read. Operations start it",
        code="KME_AWAY",
    )


def _is_form(setting: Any) -> bool:  # Any: out of the settings file
    if not isinstance(setting, dict) or set(setting) not in (*_LOCAL, _EXPLICIT, _EXPLICIT | _SAE):
        return False
    by_line = setting.get("line_saes", {})
    texts = [one for name, one in setting.items() if name != "line_saes"]
    return isinstance(by_line, dict) and all(isinstance(one, str) and one for one in (*texts, *by_line, *by_line.values()))


def _local(site: Path, line_saes: Mapping[str, str]) -> Place:
    config = json.loads((site / "kme.json").read_text("utf-8"))
    kme, saes = str(config["kme"]), list(config["saes"])
    address = json.loads((site / "run" / "kme.json").read_text("utf-8"))["address"]
    own = Credentials.from_site(site, saes[0], kme=kme) if saes else None
    by_line = {line: (sae, Credentials.from_site(site, sae, kme=kme)) for line, sae in line_saes.items()}
    return Place(str(address), Credentials.from_site(site, NODE, kme=kme), str(saes[0]) if saes else "", own, by_line)


__all__ = ["Place", "away", "connected", "key_client", "place"]
