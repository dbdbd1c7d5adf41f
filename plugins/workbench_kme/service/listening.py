"""HTTPS on asyncio: one buffered write per answer, bodies bounded while they arrive, the caller from the certificate.

A caller is admitted before a byte of a body is read. Everything behind the handler is synchronous and runs in threads;
this module knows nothing of keys.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from aiohttp import web

from workbench_kme.service.admission import CountingSocket, Seldom
from workbench_kme.service.tls import identity

KEEP_ALIVE_S = 75.0
BODY_TIMEOUT_S = 20.0
CLOSE_GRACE_S = 3.0
LINGER_S = 2.0
HANDSHAKE_TIMEOUT_S = 5.0
MAX_HEADER_BYTES = 8190
WORKERS = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """One request. caller: kind and id of the certificate; query: decoded pairs in order; body never in a repr."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    content_type: str
    body: bytes = field(repr=False)
    caller: tuple[str, str]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply; the body may hold key values."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Answer]
Admits = Callable[[tuple[str, str], str, str], Answer | int]
"""(kind and id of the caller, fingerprint, path) -> the refusal, or how many bytes a body may have. Must not wait."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one listener. connections: open and in their handshake; bytes_in_flight: bodies of all requests together."""

    connections: int
    connections_of_one_address: int
    bytes_in_flight: int


class Listener:
    """One listening socket with its threads. handler: called in a thread, never raises for what a caller sent.

    too_large: for a body beyond what was admitted, or that does not come; busy: for one beyond `bytes_in_flight`.
    """

    def __init__(
        self, handler: Handler, *, admits: Admits, limits: Limits, too_large: Answer, busy: Answer, failed: Answer
    ) -> None:
        self._handler, self._admits, self._limits = handler, admits, limits
        self._too_large, self._busy, self._failed = too_large, busy, failed
        self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="kme-request")
        self._seldom = Seldom()
        self._http: web.Server | None = None
        self._server: asyncio.Server | None = None
        self._in_flight = 0
        self.port = 0

    async def start(self, host: str, port: int, context: ssl.SSLContext) -> None:
        """Listen; port 0 takes a free one. Raises OSError."""
        self._http = web.Server(
            self._answer,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_S,
            lingering_time=LINGER_S,
            max_line_size=MAX_HEADER_BYTES,
        )
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = CountingSocket(
            socket.create_server((host, port), family=family, backlog=128),
            most=self._limits.connections,
            of_one_address=self._limits.connections_of_one_address,
            seldom=self._seldom,
        )
        self.port = listening.getsockname()[1]
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._seldom.handle)
        self._server = await loop.create_server(
            self._http, sock=listening, ssl=context, backlog=128, ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S
        )

    async def close(self) -> None:
        """Let running requests end within three seconds, then close."""
        if self._server is not None:
            self._server.close()
        if self._http is not None:
            await asyncio.sleep(0)  # what has arrived is begun before idle connections are closed
            self._http.pre_shutdown()
            await self._http.shutdown(CLOSE_GRACE_S)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        tls = request.transport.get_extra_info("ssl_object") if request.transport is not None else None
        certificate = (tls.getpeercert(binary_form=True) if tls is not None else None) or b""
        kind, name, fingerprint = identity(certificate)
        admitted = self._admits((kind, name), fingerprint, request.rel_url.raw_path)
        held = _Held()
        try:
            found = admitted if isinstance(admitted, Answer) else await self._body(request, admitted, held)
            if isinstance(found, Answer):
                answer = found
            else:
                call = Call(
                    method=request.method,
                    path=request.rel_url.raw_path,
                    query=tuple(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True)),
                    content_type=request.headers.get("content-type", ""),
                    body=found,
                    caller=(kind, name),
                    fingerprint=fingerprint,
                )
                try:
                    answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._handler, call)
                except Exception as error:  # noqa: BLE001 - whatever failed, the caller learns nothing of it
                    # Not the message either: it may quote what was being worked on.
                    _log.error("a request failed: %s", type(error).__name__)
                    answer = self._failed
        finally:
            self._in_flight -= held.size
        # aiohttp joins header and body of a response with a known body into one write.
        reply = web.Response(status=answer.status, body=answer.body, content_type="application/json")
        reply.headers.update(answer.headers)
        reply.headers["Cache-Control"] = "no-store"
        if isinstance(found, Answer):
            reply.force_close()
        return reply

    async def _body(self, request: web.BaseRequest, most: int, held: _Held) -> bytes | Answer:
        """The body, or the refusal as soon as it is known to be too large or does not come."""
        if (request.content_length or 0) > most:
            return self._too_large
        chunks = []
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                async for chunk in request.content.iter_any():
                    held.size += len(chunk)
                    self._in_flight += len(chunk)
                    if held.size > most:
                        return self._too_large
                    if self._in_flight > self._limits.bytes_in_flight:
                        self._seldom.say("bodies of requests beyond what is held at once were refused")
                        return self._busy
                    chunks.append(chunk)
        except (TimeoutError, ValueError):
            return self._too_large
        return b"".join(chunks)


@dataclass(slots=True)
class _Held:
    """What one request counts for among the bytes in flight."""

    size: int = 0
