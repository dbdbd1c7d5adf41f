"""HTTPS on asyncio: one buffered write per answer, bodies bounded while they arrive, the caller from the certificate.

Everything behind the handler is synchronous and runs in threads; this module knows nothing of keys.
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

from workbench_kme.service.tls import identity

KEEP_ALIVE_S = 75.0
BODY_TIMEOUT_S = 20.0
CLOSE_GRACE_S = 3.0
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


class Listener:
    """One listening socket with its threads. handler: called in a thread, never raises for what a caller sent."""

    def __init__(self, handler: Handler, *, max_body_bytes: int, too_large: Answer, failed: Answer) -> None:
        self._handler, self._max_body_bytes = handler, max_body_bytes
        self._too_large, self._failed = too_large, failed
        self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="kme-request")
        self._runner: web.ServerRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int, context: ssl.SSLContext) -> None:
        """Listen; port 0 takes a free one. Raises OSError."""
        server = web.Server(
            self._answer, access_log=None, keepalive_timeout=KEEP_ALIVE_S, max_line_size=MAX_HEADER_BYTES
        )
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=CLOSE_GRACE_S)
        await self._runner.setup()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=128)
        self.port = listening.getsockname()[1]
        await web.SockSite(self._runner, listening, ssl_context=context).start()

    async def close(self) -> None:
        """Let running requests end within three seconds, then close."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        tls = request.transport.get_extra_info("ssl_object") if request.transport is not None else None
        certificate = (tls.getpeercert(binary_form=True) if tls is not None else None) or b""
        kind, name, fingerprint = identity(certificate)
        body = await self._body(request)
        if body is None:
            answer = self._too_large
        else:
            call = Call(
                method=request.method,
                path=request.rel_url.raw_path,
                query=tuple(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True)),
                content_type=request.headers.get("content-type", ""),
                body=body,
                caller=(kind, name),
                fingerprint=fingerprint,
            )
            try:
                answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._handler, call)
            except Exception as error:  # noqa: BLE001 - whatever failed, the caller learns nothing of it
                # Not the message either: it may quote what was being worked on.
                _log.error("a request failed: %s", type(error).__name__)
                answer = self._failed
        # aiohttp joins header and body of a response with a known body into one write.
        reply = web.Response(status=answer.status, body=answer.body, content_type="application/json")
        reply.headers.update(answer.headers)
        reply.headers["Cache-Control"] = "no-store"
        if body is None:
            reply.force_close()
        return reply

    async def _body(self, request: web.BaseRequest) -> bytes | None:
        """The body, or None as soon as it is known to be too large or does not come."""
        if (request.content_length or 0) > self._max_body_bytes:
            return None
        chunks, size = [], 0
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                async for chunk in request.content.iter_any():
                    size += len(chunk)
                    if size > self._max_body_bytes:
                        return None
                    chunks.append(chunk)
        except (TimeoutError, ValueError):
            return None
        return b"".join(chunks)
