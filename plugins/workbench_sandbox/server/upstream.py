"""The launcher's side of an engine that stands beside its sandbox: it connects where the operator said, and carries bytes.

What it carries is text of the tenant (`place` = `behind`, docs/protocols/sandbox.md section 12) unless the server speaks TLS, whose
other end is inside. Nothing of it is kept or written down. One connection at a time, closed at once when the sandbox says so.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from workbench.errors import StartRefused
from workbench_sandbox.engines.relayed import Carrier

CONNECT_S: Final = 5.0
_MEMBERS: Final = {"address", "model", "key", "path", "tls", "ca"}


def wanted(setting: Mapping[str, Any]) -> dict[str, Any]:
    """What the engine inside is told, from setting `inference.upstream`; key and ca are files, read now. StartRefused UPSTREAM_WRONG.

    address: host:port; path: "/v1" unless said; tls: false unless said.
    """
    try:
        if set(setting) - _MEMBERS or not isinstance(setting["model"], str) or not isinstance(setting.get("tls", False), bool):
            raise ValueError("another member")
        host, port = _address(setting)
        key, ca = (Path(str(setting[name])).read_text("utf-8").strip() if setting.get(name) else "" for name in ("key", "ca"))
        return {
            "v": 1, "host": f"{host}:{port}", "path": str(setting.get("path", "/v1")), "model": setting["model"], "tls": setting.get("tls", False),
            "ca": ca, "key": key,
        }  # fmt: skip
    except (KeyError, ValueError, OSError) as error:
        raise StartRefused(
            "设置 inference.upstream 不完整，或密钥、证书文件读不出；服务器未就绪，请运维更正",
            "setting inference.upstream is incomplete, or its key or certificate cannot be read: the server is not made ready; operations correct it",
            code="UPSTREAM_WRONG",
        ) from error


def _address(setting: Mapping[str, Any]) -> tuple[str, int]:
    host, _, port = str(setting["address"]).rpartition(":")
    if not host:
        raise ValueError("no port")
    return host.strip("[]"), int(port)


class Connector:
    """Carries bytes between a sandbox's descriptor and the server at one address, until either end is closed. Its thread is its own."""

    def __init__(self, setting: Mapping[str, Any]) -> None:
        self._to = _address(setting)
        self._own, self.theirs = socket.socketpair()
        self._thread = threading.Thread(target=Carrier(self._own, self._connect).work, name="upstream", daemon=True)

    def start(self) -> None:
        """Begin, once the sandbox has its end: this process lets go of it."""
        self.theirs.close()
        self._thread.start()

    def close(self) -> None:
        """End it; what was open upstream is closed."""
        self.theirs.close()
        with contextlib.suppress(OSError):
            self._own.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join(CONNECT_S + 1)
        self._own.close()

    def _connect(self) -> socket.socket:
        return socket.create_connection(self._to, timeout=CONNECT_S)
