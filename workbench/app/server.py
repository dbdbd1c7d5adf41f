"""The web server of the pages: Bokeh's, on a Unix socket, with a content-security policy and tickets kept out of it.

The Lab's proxy stands in front and is the only one who can reach the socket (a 0700 folder). It sends the page ticket
and the reference of the sign-in as headers; the reference alone goes into Bokeh's signed session token.
"""

from __future__ import annotations

import functools
import re
import secrets
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import httpx
import jinja2
import panel as pn
import tornado.web
from bokeh.core.validation import silence
from bokeh.core.validation.warnings import EMPTY_LAYOUT
from bokeh.document import Document
from bokeh.server.views.autoload_js_handler import AutoloadJsHandler
from bokeh.server.views.metadata_handler import MetadataHandler
from panel.io import server as panel_server
from panel.io.application import Application
from panel.io.handlers import FunctionHandler
from panel.io.state import set_curdoc
from tornado.httputil import HTTPServerRequest

from workbench.app import SIGN_IN_HEADER, TICKET_HEADER
from workbench.app.design import WorkbenchDesign
from workbench.app.shell import App, Shell
from workbench.app.texts import texts_of

SESSION_TOKEN_S = 300
KEEP_ALIVE_MS = 20_000
UNUSED_SESSION_MS = 60_000
MAX_MESSAGE_BYTES = 8 << 20
THREADS = 8

_SCRIPT_TAG = re.compile(r"<script(?=[\s>])")
_NONCE_MARK = f"nonce-{secrets.token_hex(16)}"
"""Stands in the template's scripts until a response puts its nonce there; nobody outside this process can know it."""


class PageApplication(Application):
    """Panel's application with one change: a request's ticket goes to memory, its reference into the session."""

    def __init__(self, app: App) -> None:
        super().__init__(  # type: ignore[no-untyped-call]  # Panel has no types here
            FunctionHandler(lambda doc: _fill(app, doc))
        )
        self._app = app

    def process_request(self, request: HTTPServerRequest) -> dict[str, Any]:
        headers = request.headers
        sign_in = self._app.sign_ins.seen(headers.get(SIGN_IN_HEADER, ""), headers.get(TICKET_HEADER, ""))
        data: dict[str, Any] = super().process_request(request)
        return {**data, "sign_in": sign_in.reference if sign_in else ""}


class PolicyMixin(tornado.web.RequestHandler):
    """Content-security policy without inline script: every script of our template carries this response's nonce.

    Only those: the template marks them, and what somebody might slip into a page otherwise stays without one.

    Panel loads components as modules from blobs, and Bokeh compiles small templates, so `blob:` and `unsafe-eval`
    remain; no other origin is ever named. Styles are inline (Bokeh sets them on elements).
    """

    _nonce = ""

    def set_default_headers(self) -> None:
        self._nonce = secrets.token_urlsafe(16)
        self.set_header("Content-Security-Policy", policy(self._nonce))
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")

    def write(self, chunk: str | bytes | dict[str, Any]) -> None:
        if isinstance(chunk, str):
            chunk = chunk.replace(_NONCE_MARK, self._nonce)
        super().write(chunk)


def policy(nonce: str) -> str:
    """The policy of a page; see PolicyMixin."""
    return (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline';"
        " img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' blob:; frame-ancestors 'self';"
        " form-action 'none'; base-uri 'none'; object-src 'none'"
    )


class PageHandler(PolicyMixin, panel_server.DocHandler):
    """The document of one page."""


class SignInHandler(tornado.web.RequestHandler):
    """From the Lab server only (its proxy never forwards this path): the next ticket, or the end of a sign-in."""

    def initialize(self, app: App) -> None:
        self._app = app

    def check_xsrf_cookie(self) -> None:
        """No browser reaches this path and no cookie means anything here."""

    def post(self) -> None:
        sign_in = self._app.sign_ins.named(self.request.headers.get(SIGN_IN_HEADER, ""))
        if sign_in is not None:
            sign_in.renewed(self.request.headers.get(TICKET_HEADER, ""))
        self.set_status(204)

    def delete(self) -> None:
        self._app.sign_ins.end(self.request.headers.get(SIGN_IN_HEADER, ""))
        self.set_status(204)


class FileHandler(tornado.web.RequestHandler):
    """A file that the node made for this person, taken once, passed through in pieces."""

    def initialize(self, app: App) -> None:
        self._app = app

    async def get(self, download: str) -> None:
        ticket = self.request.headers.get(TICKET_HEADER, "")
        url = f"{self._app.node_url}/api/v1/files/{download}"
        headers = {"Authorization": f"Bearer {ticket}"}
        async with (
            httpx.AsyncClient(trust_env=False, timeout=60) as http,
            http.stream("GET", url, headers=headers) as reply,
        ):
            self.set_status(reply.status_code)
            for name in ("Content-Type", "Content-Disposition"):
                if name in reply.headers:
                    self.set_header(name, reply.headers[name])
            self.set_header("X-Content-Type-Options", "nosniff")
            self.set_header("Cache-Control", "no-store")
            async for piece in reply.aiter_bytes():
                self.write(piece)
                await self.flush()


def build_server(app: App, *, origins: Sequence[str], **place: Any) -> Any:
    """The server, not yet started. place: unix_socket="…", or port= and address= for a preview.

    origins: exact "host:port" values that may open a websocket; never "*".
    """
    if not origins or any("*" in origin for origin in origins):
        raise ValueError("exact origins are needed")
    silence(EMPTY_LAYOUT, True)  # a page is empty until its view has come
    pn.extension(design=WorkbenchDesign, notifications=False)
    setattr(pn.config, "nthreads", THREADS)  # noqa: B010 - a parameter that types take for a property
    patterns: list[Any] = getattr(panel_server, "per_app_patterns")  # noqa: B009 - public in Panel, not in its types
    # `autoload.js` hands a session's token to a page of any origin that includes it as a script: pages are frames here.
    patterns[:] = [
        (pattern, PageHandler if issubclass(handler, panel_server.DocHandler) else handler)
        for pattern, handler, *_ in patterns
        if not issubclass(handler, AutoloadJsHandler | MetadataHandler)
    ]
    return panel_server.Server(  # type: ignore[no-untyped-call]  # Panel has no types here
        {"/page": PageApplication(app)},
        prefix=app.prefix,
        allow_websocket_origin=list(origins),
        sign_sessions=True,
        secret_key=secrets.token_hex(32).encode(),
        session_token_expiration=SESSION_TOKEN_S,
        include_headers=["Host"],
        include_cookies=[],
        keep_alive_milliseconds=KEEP_ALIVE_MS,
        unused_session_lifetime_milliseconds=UNUSED_SESSION_MS,
        websocket_max_message_size=MAX_MESSAGE_BYTES,
        redirect_root=False,
        use_index=False,
        extra_patterns=[
            (r"/_sign_in", SignInHandler, {"app": app}),
            (r"/files/([A-Za-z0-9_-]{1,80})", FileHandler, {"app": app}),
        ],
        **place,
    )


def _fill(app: App, doc: Document) -> None:
    """Give a new session its frame at once; the page itself comes when the browser is connected."""
    context: Any = doc.session_context
    assert context is not None and context.request is not None  # a served document has both
    arguments = {name: _last(values) for name, values in (context.request.arguments or {}).items()}
    name, lang, theme = arguments.pop("name", ""), arguments.pop("lang", "zh"), arguments.pop("theme", "light")
    doc.on_event("document_ready", functools.partial(pn.state._schedule_on_load, doc))  # as Panel's own applications do
    with set_curdoc(doc):
        shell = Shell(
            app,
            reference=str(context.token_payload.get("sign_in", "")),
            name=name[:60],
            lang=lang if lang in ("zh", "en") else "zh",
            theme=theme if theme in ("light", "dark") else "light",
            params={key[:60]: value[:2000] for key, value in arguments.items() if not key.startswith("bokeh")},
        )
        texts = texts_of("workbench.app")[shell.bridge.lang]
        doc.template = _template()
        doc.template_variables.update(lang=shell.bridge.lang, theme=shell.bridge.theme, texts=texts, css=_css())
        shell.root.server_doc(doc, title=texts["workbench"])
        pn.state.onload(shell.open)


def _last(values: Sequence[bytes | str]) -> str:
    value = values[-1]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _asset(name: str) -> str:
    return files("workbench.app").joinpath("assets", name).read_text("utf-8")


def _css() -> str:
    return _asset("tokens.css") + _asset("page.css")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=False, trim_blocks=True, lstrip_blocks=True)  # noqa: S701 - see below
    # Everything put in comes from our own files, or is escaped by the template itself; Bokeh's parts are markup.
    environment.filters["scripts"] = lambda markup: _SCRIPT_TAG.sub(f'<script nonce="{_NONCE_MARK}"', str(markup))
    return environment.from_string(_asset("page.html"))


__all__ = ["PageApplication", "build_server", "policy"]
