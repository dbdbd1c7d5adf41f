"""The Lab server's own addresses under /workbench: sign-in, callback, sign-out, status."""

from __future__ import annotations

import html
import json
from typing import Any

import tornado.web
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.utils import url_path_join

from workbench.errors import WorkbenchError
from workbench.jupyter.session import LabSession


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


def handlers(base_url: str, session: LabSession) -> list[tuple[str, type, dict[str, Any]]]:
    """Patterns for the Lab server's web application."""
    table: list[tuple[str, type]] = [
        ("workbench/signin", SignInHandler),
        ("workbench/callback", CallbackHandler),
        ("workbench/signout", SignOutHandler),
        ("workbench/status", StatusHandler),
    ]
    return [(url_path_join(base_url, path), handler, {"session": session}) for path, handler in table]
