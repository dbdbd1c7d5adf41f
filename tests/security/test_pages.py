"""What a page of another origin, or markup that slipped into ours, can do with the pages' process."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from workbench.app import server
from workbench.app.shell import App
from workbench.app.signins import SignIns
from workbench.loading import load_plugins


def fetched(*paths: str) -> list[HTTPResponse]:
    async def ask() -> list[HTTPResponse]:
        app = App(node_url="http://127.0.0.1:9", prefix="/lab/workbench/app", sign_ins=SignIns(), plugins=load_plugins())
        pages: Any = server.build_server(app, origins=["127.0.0.1:1"], port=0, address="127.0.0.1")
        pages.start()
        try:
            base = f"http://127.0.0.1:{pages.port}/lab/workbench/app"
            headers = {"Origin": "http://127.0.0.1:9999", "Cookie": "a=b"}
            http = AsyncHTTPClient()
            return [await http.fetch(base + path, headers=headers, raise_error=False) for path in paths]
        finally:
            pages.stop()

    return asyncio.run(ask())


def test_no_script_hands_the_token_of_a_session_to_another_origin() -> None:
    page, autoload, metadata = fetched(
        "/page?name=x", "/page/autoload.js?bokeh-autoload-element=e&bokeh-app-path=/page", "/page/metadata"
    )
    assert page.code == 200 and b'"token"' in page.body, "the page itself is served"
    assert autoload.code == 404 and b"token" not in autoload.body
    assert metadata.code == 404
    assert not [name for name in page.headers if name.lower().startswith("access-control")]


def test_only_the_scripts_of_the_template_carry_the_nonce() -> None:
    """A nonce that is put into whatever looks like a script protects against nothing."""
    rendered = server._template().render(
        bokeh_js='<script src="a.js"></script>',
        plot_script="<script>start()</script>",
        css="</style><script>slipped_in()</script>",
        doc=SimpleNamespace(roots=[]),
        texts=SimpleNamespace(loading=""),
    )
    marked = re.findall(rf'<script nonce="{server._NONCE_MARK}"[^>]*>', rendered)
    assert len(marked) == 2 and "<script>slipped_in()" in rendered
    page = fetched("/page?name=x")[0].body.decode()
    nonces = set(re.findall(r'<script nonce="([^"]+)"', page))
    assert len(nonces) == 1 and server._NONCE_MARK not in page
    assert re.findall(r"<script(?![^>]*nonce=)", page) == []
