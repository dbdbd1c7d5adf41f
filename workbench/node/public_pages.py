"""Pages for people without an account: a customer who was given a link. Hook workbench_public_pages; docs/protocols/capture.md section 3.

No ticket is needed and none is looked at; the secret in the address says what the page is about. The node's own
content-security policy holds: no script, nothing from elsewhere, `no-store`. A form counts only when it comes from this node's page.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from workbench.contracts import PublicAnswer, PublicPage
from workbench.errors import Denied, InvalidRequest, NotFound, WorkbenchError

if TYPE_CHECKING:
    from workbench.host import Workbench

LANGUAGES = ("zh", "en")
MOST_FIELDS = 200
_SECRET = re.compile(r"[A-Za-z0-9_-]{20,100}")


def add_public_pages(app: FastAPI, host: Workbench, allowed_hosts: set[str]) -> None:
    """Routes of every public page of the plugins."""
    pages: dict[str, PublicPage] = {one.name: one for one in host.plugins.collect_all("workbench_public_pages", host=host)}

    def named(name: str, secret: str) -> PublicPage:
        page = pages.get(name)
        if page is None or not _SECRET.fullmatch(secret):
            raise NotFound("没有这个页面", "There is no such page", code="NO_PAGE")
        return page

    @app.get("/p/{name}.css", include_in_schema=False)
    def style(name: str) -> Response:
        if name not in pages:
            raise NotFound("没有这个页面", "There is no such page", code="NO_PAGE")
        return Response(pages[name].style, media_type="text/css")

    @app.get("/p/{name}/{secret}", include_in_schema=False)
    def show(name: str, secret: str, request: Request) -> Response:
        language = _language(request)
        return _answered(host, name, language, lambda: named(name, secret).show(secret, language))

    @app.post("/p/{name}/{secret}", include_in_schema=False)
    async def answer(name: str, secret: str, request: Request) -> Response:
        return await run_in_threadpool(_decide, name, secret, request, await request.body())

    def _decide(name: str, secret: str, request: Request, body: bytes) -> Response:
        language = _language(request)

        def decided() -> PublicAnswer:
            if urlsplit(request.headers.get("Origin", "")).netloc not in allowed_hosts:
                raise Denied("请求不是从本页面发出", "The request does not come from this page", code="WRONG_ORIGIN")
            return named(name, secret).answer(secret, _fields(body), language)

        return _answered(host, name, language, decided)


def _fields(body: bytes) -> Mapping[str, Sequence[str]]:
    """The fields of a form. Raises InvalidRequest for more of them than any page has."""
    try:
        return parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise InvalidRequest("表单的字段太多", "the form has too many fields") from error


def _answered(host: Workbench, name: str, language: str, work: Callable[[], PublicAnswer]) -> Response:
    try:
        answer = work()
    except WorkbenchError as error:
        body = f'<section role="alert"><h2>{html.escape(error.zh if language == "zh" else error.en)}</h2><small>{html.escape(error.code)}</small></section>'
        answer = PublicAnswer("不能继续", "Cannot go on", body, error.http_status)
    zh, en = host.names(host.party)
    title = answer.title_zh if language == "zh" else answer.title_en
    party = zh if language == "zh" else en
    mark = "合成数据 · 演示" if language == "zh" else "synthetic data, demonstration"
    badge = f'<span class="badge">{mark}</span>' if host.kind != "production" else ""
    text = (
        f'<!doctype html><html lang="{"zh-CN" if language == "zh" else "en"}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{html.escape(title)} · {html.escape(party)}</title>'
        f'<link rel="stylesheet" href="/style.css"><link rel="stylesheet" href="/p/{html.escape(name)}.css"></head><body><main>'
        f'<header><b class="tile">{html.escape(party[:1])}</b><div><h1>{html.escape(party)}</h1></div>{badge}</header>'
        f"{answer.body}</main></body></html>"
    )
    return HTMLResponse(text, status_code=answer.status)


def _language(request: Request) -> str:
    wanted = request.query_params.get("lang", "")
    return wanted if wanted in LANGUAGES else "zh"


__all__ = ["add_public_pages"]
