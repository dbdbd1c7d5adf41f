"""The Lab server's own addresses under /workbench: sign-in, callback, sign-out, status, upload."""

from __future__ import annotations

import asyncio
import html
import json
from collections.abc import AsyncIterator
from typing import Any

import tornado.web
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.utils import url_path_join

from workbench.errors import WorkbenchError
from workbench.jupyter.session import LabSession

MAX_UPLOAD_BYTES = 2 << 30
QUEUED_PIECES = 8


class WithSession(JupyterHandler):
    """A handler that knows the Lab's session."""

    def initialize(self, session: LabSession) -> None:
        self.session = session


class SignInHandler(WithSession):
    """Sends the browser to the node's sign-in page."""

    @tornado.web.authenticated
    def get(self) -> None:
        callback = f"{self.request.protocol}://{self.request.host}{url_path_join(self.base_url, 'workbench/callback')}"
        self.redirect(self.session.begin(callback))


class CallbackHandler(WithSession):
    """Takes the one-time code from the node's page and exchanges it, server to server."""

    @tornado.web.authenticated
    async def get(self) -> None:
        try:
            await self.session.finish(state=self.get_argument("state", ""), code=self.get_argument("code", ""))
        except WorkbenchError as error:
            self._say(error.zh, error.en, error.code, status=error.http_status)
            return
        self._say("已登录。可以关闭本页，回到 JupyterLab", "Signed in. Close this page and return to JupyterLab")

    def _say(self, zh: str, en: str, code: str = "", *, status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'")
        self.finish(
            f'<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>证据工作台</title><h2>{html.escape(zh)}</h2>'
            f'<p lang="en">{html.escape(en)}</p><small>{html.escape(code)}</small>'
        )


class SignOutHandler(WithSession, APIHandler):
    """Ends every ticket of this Lab; POST with the XSRF token only."""

    @tornado.web.authenticated
    async def post(self) -> None:
        await self.session.sign_out()
        self.finish({"signed_in": False})


class StatusHandler(WithSession, APIHandler):
    """What the sidebar shows: one call of node.status with the lab ticket; leaves no evidence."""

    @tornado.web.authenticated
    async def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(await self.session.status(), ensure_ascii=False))

    def update_api_activity(self) -> None:
        """A poll is no activity: an idle Lab may still be ended by its hub."""


@tornado.web.stream_request_body
class UploadHandler(WithSession, APIHandler):
    """A file from a page to the node, piece by piece; at no time more than a few pieces are in memory."""

    _reply: asyncio.Task[Any] | None = None

    async def prepare(self) -> None:  # type: ignore[override]  # Jupyter's own is a coroutine as well
        self.request.connection.set_max_body_size(MAX_UPLOAD_BYTES)  # type: ignore[union-attr]
        prepared = super().prepare()
        if prepared is not None:
            await prepared
        if not self.current_user:
            raise tornado.web.HTTPError(403)
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUED_PIECES)
        sent = self.session.stream_upload(self.get_query_argument("name", "file"), self._take())
        self._reply = asyncio.ensure_future(sent)

    async def data_received(self, chunk: bytes) -> None:
        assert self._reply is not None
        put = asyncio.ensure_future(self._pieces.put(chunk))
        # When the node has answered early (a refusal), nobody takes pieces any more.
        await asyncio.wait({put, self._reply}, return_when=asyncio.FIRST_COMPLETED)
        if not put.done():
            put.cancel()

    async def post(self) -> None:
        assert self._reply is not None
        end = asyncio.ensure_future(self._pieces.put(None))
        await asyncio.wait({end, self._reply}, return_when=asyncio.FIRST_COMPLETED)
        end.cancel()
        try:
            reply = await self._reply
        except Exception as error:  # the node is away; the page says so
            self.set_status(504)
            self.finish({"code": "NODE_UNAVAILABLE", "zh": "节点没有回应", "en": type(error).__name__})
            return
        self.set_status(reply.status_code)
        self.finish(reply.content)

    def on_connection_close(self) -> None:
        if self._reply is not None:
            self._reply.cancel()

    async def _take(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece


def handlers(base_url: str, session: LabSession) -> list[tuple[str, type, dict[str, Any]]]:
    """Patterns for the Lab server's web application."""
    table: list[tuple[str, type]] = [
        ("workbench/signin", SignInHandler),
        ("workbench/callback", CallbackHandler),
        ("workbench/signout", SignOutHandler),
        ("workbench/status", StatusHandler),
        ("workbench/upload", UploadHandler),
    ]
    return [(url_path_join(base_url, path), handler, {"session": session}) for path, handler in table]
