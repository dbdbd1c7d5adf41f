"""The listening end: addresses before the handshake, certificates in it, identity from the connection, bounded bodies.

uvicorn's HTTP protocol does the HTTP. Connections are accepted here instead of by uvicorn's server, because an address
must be refused before the handshake, and a failed handshake must be recorded; asyncio's own server hides both.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from workbench.contracts import ChannelIdentity, PeerAddress, PeerCall, PeerHandler
from workbench.errors import InvalidRequest, NotFound, TooLarge, WorkbenchError
from workbench_mutual_tls.contexts import server_context
from workbench_mutual_tls.identity import ADDRESS_NOT_ALLOWED, identify, is_known_address

PATH_PREFIX = "/peer/v1/"
HANDSHAKE_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 30.0
REQUEST_TIMEOUT_S = 300.0
MAX_CONNECTIONS = 128
MAX_HEADER_BYTES = 16 * 1024
# One entry a second for one address and reason: a flood of refused connections must not become a flood of evidence.
REFUSAL_PAUSE_S = 1.0
_MAX_REMEMBERED = 1024
_CLOSE_GRACE_S = 5.0

_log = logging.getLogger(__name__)

Scope = dict[str, Any]  # Any: ASGI scopes hold whatever the specification says
Receive = Callable[[], Any]
Send = Callable[[dict[str, Any]], Any]


class PeerServer:
    """A listening channel (contract: workbench.contracts.ChannelServer)."""

    def __init__(
        self,
        *,
        identity: ChannelIdentity,
        peers: Callable[[], Sequence[PeerAddress]],
        handler: PeerHandler,
        refused: Callable[[str, str], None],
        max_body_bytes: int,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
    ) -> None:
        self.port = 0
        self._identity = identity
        self._peers = peers
        self._handler = handler
        self._refused = refused
        self._max_body_bytes = max_body_bytes
        self._idle_timeout_s = idle_timeout_s
        self._context: tuple[tuple[bytes, ...], ssl.SSLContext] | None = None
        self._state = ServerState()
        self._config = Config(
            self._answer,
            interface="asgi3",
            http=PeerProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            # Peers are identified by their connection: no header may say where a request came from.
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=int(idle_timeout_s) or 1,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        )
        self._config.load()
        self._welcomes: set[asyncio.Task[None]] = set()
        self._reports: set[asyncio.Future[None]] = set()
        self._reported: dict[tuple[str, str], float] = {}
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen on host and port; port 0 takes a free one. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=MAX_CONNECTIONS)
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]
        self._accepting = asyncio.create_task(self._accept())

    async def close(self) -> None:
        """Stop listening, let running requests end within five seconds, then cut what is left."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
        for task in self._welcomes:
            task.cancel()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(set(self._state.tasks), timeout=_CLOSE_GRACE_S)
        for request in list(self._state.tasks):
            request.cancel()
        for connection in list(self._state.connections):
            connection.transport.abort()
        await asyncio.gather(*self._welcomes, *self._reports, return_exceptions=True)

    def report(self, address: str, reason: str) -> None:
        """Have a refusal recorded, off the event loop; the same one again only after a second."""
        loop = asyncio.get_running_loop()
        key, now = (address, reason), loop.time()
        if now - self._reported.get(key, -REFUSAL_PAUSE_S) < REFUSAL_PAUSE_S:
            return
        if len(self._reported) >= _MAX_REMEMBERED:
            self._reported.clear()
        self._reported[key] = now
        future = loop.run_in_executor(None, self._refused, address, reason)
        self._reports.add(future)
        future.add_done_callback(self._report_done)

    @property
    def idle_timeout_s(self) -> float:
        """How long a connection may send nothing while it owes something."""
        return self._idle_timeout_s

    # ------------------------------------------------------------------------------------- connections

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._socket is not None
        while True:
            try:
                connection, remote = await loop.sock_accept(self._socket)
            except OSError:  # too many open files, or the other end left at once
                await asyncio.sleep(0.05)
                continue
            address = str(remote[0])
            reason = self._reason_to_refuse(address)
            if reason:
                connection.close()
                self.report(address, reason)
                continue
            task = loop.create_task(self._welcome(connection, address))
            self._welcomes.add(task)
            task.add_done_callback(self._welcomes.discard)

    def _reason_to_refuse(self, address: str) -> str:
        """Why a connection from this address is not even given a handshake, or ""."""
        try:
            known = is_known_address(address, self._peers())
        except Exception as error:  # noqa: BLE001 - without the list nobody is on it, and listening goes on
            _log.error("the allow-list cannot be read: %s", type(error).__name__)
            return "ALLOW_LIST_UNREADABLE"
        if not known:
            return ADDRESS_NOT_ALLOWED
        if len(self._state.connections) + len(self._welcomes) >= MAX_CONNECTIONS:
            return "TOO_MANY_CONNECTIONS"
        return ""

    async def _welcome(self, connection: socket.socket, address: str) -> None:
        """Do the handshake and hand the connection to HTTP."""
        loop = asyncio.get_running_loop()
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(
                lambda: PeerProtocol(self, self._config, self._state),
                connection,
                ssl=self._current_context(),
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
                ssl_shutdown_timeout=_CLOSE_GRACE_S,
            )
        except (OSError, ValueError):  # ssl.SSLError and TimeoutError are OSErrors; ValueError: an unreadable authority
            connection.close()
            self.report(address, "HANDSHAKE_FAILED")

    def _current_context(self) -> ssl.SSLContext:
        """The TLS settings for the partners of this moment; made anew when their authorities change."""
        authorities = tuple(peer.ca_pem for peer in self._peers())
        if self._context is None or self._context[0] != authorities:
            self._context = (authorities, server_context(self._identity, authorities))
        return self._context[1]

    def _report_done(self, future: asyncio.Future[None]) -> None:
        self._reports.discard(future)
        if not future.cancelled() and future.exception() is not None:
            # The connection was refused all the same; only its record is missing, which the log must show.
            _log.error("a refused connection could not be recorded: %s", type(future.exception()).__name__)

    # ---------------------------------------------------------------------------------------- requests

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application: identify, bound, hand over, reply."""
        address = str(scope["client"][0])
        try:
            # Asked again for every request, so that a partner taken off the list loses open connections too.
            peer = identify(scope["workbench.certificate"], address, self._peers())
            path = _path(scope)
            body = await _read_body(scope, receive, self._max_body_bytes)
        except _Gone:
            return
        except WorkbenchError as error:
            self.report(address, error.code)
            await _send_error(send, error, close=True)
            return
        try:
            reply = await self._handler(PeerCall(peer=peer.party, path=path, body=body, address=address))
        except WorkbenchError as error:
            await _send_error(send, error)
        except Exception as error:  # noqa: BLE001 - whatever failed here, a partner learns nothing of it
            # Not the message either: it may quote what was being worked on.
            _log.error("the handler of %s failed: %s", path, type(error).__name__)
            await _send_error(send, WorkbenchError("对方节点内部出错", "the partner's node failed internally"))
        else:
            await _send(send, 200, b"application/octet-stream", reply)


class PeerProtocol(H11Protocol):
    """uvicorn's HTTP protocol that passes on the connection's certificate and cuts connections that stand still."""

    def __init__(self, server: PeerServer, config: Config, state: ServerState) -> None:
        super().__init__(config=config, server_state=state, app_state={})
        self._server = server
        self._certificate = b""
        self._last_progress = 0.0
        self._request_since: float | None = None
        self._unsent = 0
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        self._certificate = (tls.getpeercert(binary_form=True) if tls is not None else None) or b""
        inner = self.app

        async def with_certificate(scope: Any, receive: Any, send: Any) -> None:  # Any: ASGI
            scope["workbench.certificate"] = self._certificate
            await inner(scope, receive, send)

        self.app = with_certificate
        self._last_progress = self.loop.time()
        self._schedule()

    def data_received(self, data: bytes) -> None:
        self._last_progress = self.loop.time()
        if self._request_since is None:
            self._request_since = self._last_progress
        super().data_received(data)

    def on_response_complete(self) -> None:
        self._request_since = None
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def _schedule(self) -> None:
        self._watch = self.loop.call_later(min(1.0, self._server.idle_timeout_s / 4), self._check_progress)

    def _check_progress(self) -> None:
        """Cut the connection when the other end owes bytes, or does not take ours, for too long."""
        now = self.loop.time()
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self._last_progress = unsent, now
        owes_request = self.cycle is None or self.cycle.response_complete or self.cycle.more_body
        stands_still = (owes_request or unsent > 0) and now - self._last_progress > self._server.idle_timeout_s
        drags = owes_request and self._request_since is not None and now - self._request_since > REQUEST_TIMEOUT_S
        if not (stands_still or drags):
            self._schedule()
            return
        if self._request_since is not None and self.client is not None:
            self._server.report(str(self.client[0]), "REQUEST_TIMEOUT")
        self.transport.abort()


class _Gone(Exception):
    """The other end left before its request was complete."""


def _path(scope: Scope) -> str:
    path = str(scope["path"])
    if scope["method"] != "POST":
        raise InvalidRequest("只接受 POST", "only POST is served here", code="WRONG_METHOD")
    if not path.startswith(PATH_PREFIX):
        raise NotFound("没有这个地址", "there is nothing at this path", code="UNKNOWN_PATH")
    return path.removeprefix(PATH_PREFIX)


async def _read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The request's body, refused as soon as it is known to exceed the limit. Raises TooLarge, _Gone."""
    stated = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if int(stated) > limit:  # h11 has made sure that it is a number
        raise _too_large(limit)
    chunks, size = [], 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise _Gone
        chunk: bytes = event.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not event.get("more_body", False):
            return b"".join(chunks)


async def _send_error(send: Send, error: WorkbenchError, *, close: bool = False) -> None:
    # Details are for the own staff; a partner gets the code and the sentence.
    body = json.dumps({"code": error.code, "zh": error.zh, "en": error.en}, ensure_ascii=False).encode()
    await _send(send, error.http_status, b"application/json", body, close=close)


async def _send(send: Send, status: int, kind: bytes, body: bytes, *, close: bool = False) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"请求超过 {limit} 字节", f"the request exceeds {limit} bytes", code="BODY_TOO_LARGE")
