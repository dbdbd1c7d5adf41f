"""PageContext: words, work in threads, errors that reach the page, confirmations."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from workbench.app.page import PageContext, SilentSurroundings
from workbench.client.session import Client, Record
from workbench.errors import Refused

ME = Record(me=Record(person="marketing"), operations=["intersection.propose"])


class Node(BaseHTTPRequestHandler):
    """A very small node: one action that waits twice and is then done, and one that is refused."""

    asked = 0

    def log_message(self, *_: Any) -> None:
        """Nothing on standard error."""

    def answer(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if told.get("operation") == "people.add":
            self.answer({"code": "DENIED", "zh": "不行", "en": "no", "details": {}}, 403)
        else:
            self.answer({"action": "a1", "url": "/confirm/a1"})

    def do_GET(self) -> None:
        if self.path.endswith("openapi.json"):
            self.answer({"paths": {"/api/v1/operations/intersection.approve": {"post": {"summary": "批准求交 / approve"}}}})
        else:
            self.answer({"state": "waiting", "reply": None})


@pytest.fixture
def client() -> Iterator[Client]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Node)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Client(f"http://127.0.0.1:{server.server_address[1]}", "ticket")
    server.shutdown()
    server.server_close()
    thread.join()


def context(client: Client | None = None, **options: Any) -> tuple[PageContext, SilentSurroundings]:
    around = SilentSurroundings()
    made = PageContext(client=client or Client("http://127.0.0.1:9", "t"), me=ME, package="workbench.app", surroundings=around, **options)
    return made, around


def test_words_follow_the_language_of_the_moment() -> None:
    page, _ = context()
    assert page.t("confirm.title", operation="x") == "等待确认：x"
    page.lang = "en"
    assert page.t("confirm.title", operation="x") == "Waiting for confirmation: x"


def test_widgets_follow_the_language() -> None:
    class Widget:
        lang = ""

    page, _ = context(lang="en")
    widget = page.follow(Widget())
    assert widget.lang == "en"
    page.lang = "zh"
    assert widget.lang == "zh"


def test_long_work_leaves_the_loop_free() -> None:
    page, _ = context()

    async def body() -> int:
        gate = threading.Event()
        work = asyncio.ensure_future(page.run(gate.wait, 5))
        await asyncio.sleep(0)
        gate.set()  # would never be reached if the work ran on the loop
        assert await work
        return int(await page.run(lambda: threading.get_ident()))

    assert asyncio.run(body()) != threading.get_ident()


def test_a_refusal_in_a_handler_is_shown_and_not_lost() -> None:
    page, around = context()

    async def refused() -> None:
        raise Refused("不行", "no", code="NO")

    def faulty() -> None:
        raise ZeroDivisionError

    asyncio.run(page.action(refused)())
    asyncio.run(page.action(faulty)())
    kinds = [(kind, getattr(value, "code", type(value).__name__)) for kind, value in around.asked if kind != "clear"]
    assert kinds == [("error", "NO"), ("fault", "ZeroDivisionError")]


def test_what_needs_a_password_is_confirmed_on_the_nodes_own_page(client: Client) -> None:
    page, around = context(client)
    asyncio.run(page.confirm("intersection.approve", {"job": "J-1"}))
    assert around.asked == [("confirm", ("批准求交", f"{client.url}/confirm/a1"))]


def test_what_the_node_refuses_at_once_opens_no_confirmation(client: Client) -> None:
    page, around = context(client)
    asyncio.run(page.action(lambda: page.confirm("people.add", {}))())
    assert [kind for kind, _ in around.asked if kind != "clear"] == ["error"]


def test_rights_are_those_of_the_role() -> None:
    page, _ = context()
    assert page.may("intersection.propose") and not page.may("intersection.approve")
