"""The proxy in front of the pages' process: signed-in Lab users only, and nothing of the browser's identity passes.

Headers are an allow-list: no Authorization, no cookie, no header that claims an identity goes through; the sign-in's
reference and page ticket are put in here, for requests and websockets alike (decisions 17 and 21).
"""

from __future__ import annotations

import html
from typing import Any

from jupyter_server_proxy.handlers import LocalProxyHandler  # type: ignore[import-untyped]  # it has none
from tornado import web
from tornado.httputil import HTTPHeaders

from workbench.app import SIGN_IN_HEADER, TICKET_HEADER
from workbench.jupyter.pages_process import PagesProcess
from workbench.jupyter.session import LabSession

PASSED_ON = ("Accept", "Accept-Encoding", "Accept-Language", "Host", "If-Modified-Since", "If-None-Match", "Origin", "Range",
             "User-Agent")  # fmt: skip
"""What the pages' process needs of a browser's headers; Origin is checked there once more for websockets."""


class PagesProxy(LocalProxyHandler):  # type: ignore[misc]  # the library has no types
    """GET requests and websockets to the pages' process; nothing else."""

    def initialize(self, session: LabSession, pages: PagesProcess) -> None:
        self._session = session
        self._pages = pages
        self.absolute_url = True
        self.proxy_base = "workbench/app"
        self.unix_socket = str(pages.socket)

    async def prepare(self, *arguments: Any, **options: Any) -> None:
        await super().prepare(*arguments, **options)
        if self._finished:
            return
        if self.request.method != "GET":
            raise web.HTTPError(405)
        if self.request.path[len(self.base_url) :].startswith("workbench/app/_"):
            raise web.HTTPError(404)  # between the two servers only

    async def http_get(self, path: str) -> Any:
        if not self._pages.is_ready():
            return self._not_yet()
        return await self.proxy(0, path)

    async def open(self, path: str) -> Any:
        if not self._pages.is_ready():
            self.close(1013, "the pages' process is starting")
            return None
        return await super().open(0, path)

    def proxy_request_headers(self) -> HTTPHeaders:
        given = self.request.headers
        headers = HTTPHeaders({name: given[name] for name in PASSED_ON if name in given})
        reference, ticket = self._session.page_headers()
        if ticket:
            headers[SIGN_IN_HEADER], headers[TICKET_HEADER] = reference, ticket
        return headers

    def _not_yet(self) -> None:
        """A small page that asks again: the process takes some seconds to start."""
        self.set_status(503)
        self.set_header("Retry-After", "1")
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        text = html.escape("页面服务正在启动，马上就好 / The pages are starting")
        self.finish(f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="1"><p>{text}</p>')
