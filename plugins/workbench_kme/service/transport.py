"""HTTPS calls to one KME over kept connections: one write per request, everything under one time limit.

Synchronous and safe for threads; an event loop calls it through `asyncio.to_thread`. No proxy and no environment
variable has a say.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from workbench.errors import PeerError, PeerUnavailable
from workbench_kme.service.config import split_address

MAX_REPLY_BYTES = 64 << 20
IDLE_S = 20.0
"""Shorter than what any server keeps a connection, so that it is not closed under a request."""
KEPT_CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, body and the one header that matters."""

    status: int
    body: bytes = field(repr=False)
    retry_after_s: int = 0


class Caller:
    """Calls to one KME. context: called for every new connection, so that renewed certificates are taken up."""

    def __init__(self, address: str, context: Callable[[], ssl.SSLContext], *, name: str) -> None:
        self._host, self._port = split_address(address)
        self._context, self._name = context, name
        self._idle: list[tuple[_Connection, float]] = []
        self._lock = threading.Lock()

    def call(
        self, method: str, path: str, body: bytes = b"", *, kind: str = "application/json", timeout_s: float
    ) -> Reply:
        """The reply. A request is sent again only while it is certain that nothing of it arrived.

        Raises PeerUnavailable; its details say `"sent": "no"` when nothing was sent. PeerError when certificates do
        not fit.
        """
        sent = False
        try:
            connection = self._connection(timeout_s)
            sent = True
            reply = connection.exchange(method, path, body, kind, timeout_s)
        except ssl.SSLError as error:
            raise PeerError(
                f"与 {self._name} 的加密连接未建立或被拒绝：证书与登记不符，请运维人员核对",
                f"no encrypted connection to {self._name}: a certificate is not the registered one; operators check",
                code="KME_TLS",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise PeerUnavailable(
                f"{self._name} 没有回应：请运维人员检查该进程与线路",
                f"{self._name} does not answer: operators must check the process and the line",
                code="KME_UNREACHABLE",
                details={"sent": "maybe" if sent else "no"},
            ) from error
        with self._lock:
            if connection.is_open and len(self._idle) < KEPT_CONNECTIONS:
                self._idle.append((connection, time.monotonic()))
                return reply
        connection.close()
        return reply

    def close(self) -> None:
        """Close what is kept."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _since in idle:
            connection.close()

    def _connection(self, timeout_s: float) -> _Connection:
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection, since = self._idle.pop()
            # A closed connection is readable: the server has said so already.
            if time.monotonic() - since < IDLE_S and connection.is_quiet:
                return connection
            connection.close()
        connection = _Connection(self._host, self._port, context=self._context(), timeout=timeout_s)
        connection.connect()
        return connection


class _Connection(http.client.HTTPSConnection):
    """A connection that writes header and body at once."""

    is_open = True

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has arrived unasked: no end of the connection, no alert."""
        import select

        return self.sock is not None and not select.select([self.sock], [], [], 0)[0]

    def exchange(self, method: str, path: str, body: bytes, kind: str, timeout_s: float) -> Reply:
        """One request and its reply."""
        try:
            self.sock.settimeout(timeout_s)
            lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}", "Accept: application/json"]
            if method != "GET":
                lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
            self.sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii") + body)
            response = http.client.HTTPResponse(self.sock, method=method)
            try:
                response.begin()
                if (response.length or 0) > MAX_REPLY_BYTES:
                    raise http.client.HTTPException("the reply is too large")
                data = response.read(MAX_REPLY_BYTES)
                self.is_open = not response.will_close
                after = response.headers.get("retry-after", "0")
                return Reply(response.status, data, int(after) if after.isdigit() and len(after) < 7 else 0)
            finally:
                response.close()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the socket."""
        self.is_open = False
        super().close()
