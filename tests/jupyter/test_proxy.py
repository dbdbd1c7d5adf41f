"""The proxy in front of the pages: Lab's own users only, and nothing that a browser claims about itself gets through."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from lab_fixtures import ANSWER_S, Browser, Institutions, wait_for
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.ioloop import IOLoop
from tornado.websocket import websocket_connect
from workbench.app.server import policy
from workbench.domain.party import Role
from workbench.jupyter.proxy import PASSED_ON


@pytest.fixture
def browser(institutions: Institutions) -> Browser:
    made = Browser(institutions).let_in()
    made.sign_out()
    return made


@pytest.fixture
def stranger(institutions: Institutions) -> Browser:
    """Somebody on the same machine without Jupyter's token."""
    return Browser(institutions)


def token_of(document: str) -> str:
    found = re.search(r'"token": ?"([^"]+)"', document)
    assert found, document[:2000]
    return found[1]


def payload_of(token: str) -> dict[str, Any]:
    """What Bokeh's session token tells the browser: the part before the signature, compressed data included."""
    body = token.split(".")[0]
    value = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    packed = value.pop("__bk__zlib_", None)
    if packed:
        raw = zlib.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
        value |= json.loads(raw)
    return dict(value)


def open_socket(browser: Browser, token: str, *, origin: str = "", cookies: bool = True) -> list[Any]:
    """Open a page's websocket and return its first messages; [None] when it is closed at once."""
    base = urlsplit(browser.lab.base_url)
    headers = {"Origin": origin or f"{base.scheme}://{base.netloc}"}
    if cookies:
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in browser.http.cookies.items())

    async def talk() -> list[Any]:
        request = HTTPRequest(f"ws://{base.netloc}/workbench/app/page/ws", headers=headers, request_timeout=ANSWER_S)
        connection = await websocket_connect(request, subprotocols=["bokeh", token])
        first = await connection.read_message()
        connection.close()
        return [first]

    return list(IOLoop().run_sync(talk, timeout=2 * ANSWER_S))


@pytest.mark.parametrize("path", ["workbench/status", "workbench/signin", "workbench/callback?state=a&code=b", "workbench/app/page?name=intersection"])
def test_without_jupyters_token_there_is_nothing(stranger: Browser, path: str) -> None:
    answer = stranger.http.get(path)
    assert answer.status_code in (302, 403)
    if answer.status_code == 302:
        assert urlsplit(answer.headers["Location"]).path == "/login"


def test_without_jupyters_token_no_websocket_opens(browser: Browser) -> None:
    browser.sign_in(Role.MARKETING)
    token = token_of(browser.page("intersection").text)
    with pytest.raises(HTTPClientError) as refused:
        open_socket(browser, token, cookies=False)
    assert refused.value.code == 403


def test_a_websocket_from_a_page_of_another_site_is_refused(browser: Browser) -> None:
    browser.sign_in(Role.MARKETING)
    token = token_of(browser.page("intersection").text)
    with pytest.raises(HTTPClientError) as refused:
        open_socket(browser, token, origin="http://example.org")
    assert refused.value.code == 403


def test_the_own_websocket_opens(browser: Browser) -> None:
    browser.sign_in(Role.MARKETING)
    token = token_of(browser.page("intersection").text)
    [first] = open_socket(browser, token)
    assert json.loads(first)["msgtype"] == "ACK"


def test_an_altered_session_token_opens_nothing(browser: Browser) -> None:
    browser.sign_in(Role.MARKETING)
    token = token_of(browser.page("intersection").text)
    body, _, signature = token.partition(".")
    value = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    value["session_expiry"] = value["session_expiry"] + 3600
    forged = base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode() + "." + signature
    assert open_socket(browser, forged) == [None]


def test_headers_that_claim_an_identity_are_replaced(browser: Browser) -> None:
    """A page (or a person) that sends the proxy's own headers must not become somebody else, nor anybody at all."""
    forged = {"X-Workbench-Ticket": "f" * 64, "X-Workbench-Sign-In": "forged"}
    assert payload_of(token_of(browser.page("intersection", **forged).text))["sign_in"] == ""
    browser.sign_in(Role.MARKETING)
    own = payload_of(token_of(browser.page("intersection").text))["sign_in"]
    assert own
    assert payload_of(token_of(browser.page("intersection", **forged).text))["sign_in"] == own


def test_neither_cookies_nor_authorization_nor_tickets_are_in_the_session_payload(browser: Browser) -> None:
    browser.sign_in(Role.MARKETING)
    sent = {"Authorization": "Bearer secret-of-the-browser", "X-Forwarded-User": "admin"}
    document = browser.page("intersection", **sent).text
    payload = payload_of(token_of(document))
    assert payload["cookies"] == {}
    assert set(payload["headers"]) <= {"Host"}
    for secret in ["secret-of-the-browser", *browser.http.cookies.values()]:
        assert secret not in document and secret not in json.dumps(payload)


def test_the_list_of_headers_that_pass_names_no_identity() -> None:
    lowered = {name.lower() for name in PASSED_ON}
    assert not lowered & {"authorization", "cookie", "x-forwarded-user", "x-workbench-ticket", "x-workbench-sign-in", "remote-user"}


def test_every_script_of_a_page_carries_the_nonce_of_this_response_and_no_other_origin_is_named(browser: Browser) -> None:
    answer = browser.page("intersection")
    told = answer.headers["Content-Security-Policy"]
    nonce = re.search(r"'nonce-([^']+)'", told)
    assert nonce and told == policy(nonce[1])
    assert "unsafe-inline" not in told.split("script-src")[1].split(";")[0]
    assert re.findall(r"<script(?![^>]*nonce=)", answer.text) == []
    assert set(re.findall(r'<script nonce="([^"]+)"', answer.text)) == {nonce[1]}
    assert re.findall(r"https?://", told) == []
    assert browser.page("intersection").headers["Content-Security-Policy"] != told


def test_every_file_that_a_page_names_lies_on_the_same_server(browser: Browser) -> None:
    document = browser.page("intersection").text
    named = re.findall(r'(?:src|href)="([^"]+)"', document)
    assert named
    assert all(urlsplit(one).netloc == "" for one in named)


def test_only_reading_requests_pass(browser: Browser) -> None:
    token = {"X-XSRFToken": browser.http.cookies.get("_xsrf", "")}
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = browser.http.request(method, "workbench/app/page", headers=token)
        assert answer.status_code == 405, method


def test_what_the_two_servers_tell_each_other_is_closed_to_browsers(browser: Browser) -> None:
    for path in ("workbench/app/_sign_in", "workbench/app/%5Fsign_in", "workbench/app//_sign_in", "workbench/app/page/../_sign_in"):
        answer = browser.http.request("GET", path)
        assert answer.status_code in (403, 404, 405), path


def test_the_way_to_any_port_of_this_machine_is_closed(browser: Browser) -> None:
    """jupyter-server-proxy opens /proxy/PORT to everything that listens here; it must not be there."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        for path in (f"proxy/{port}/", f"proxy/absolute/{port}/", f"proxy/127.0.0.1:{port}/"):
            assert browser.http.get(path, follow_redirects=True).status_code == 404
        listening.settimeout(0.2)
        with pytest.raises(TimeoutError):
            listening.accept()


def test_the_pages_listen_on_no_port(browser: Browser) -> None:
    browser.page("intersection")
    assert _listening_inodes().isdisjoint(_socket_inodes(_pages_pid(browser)))


def test_the_other_hosts_name_in_the_address_is_refused(browser: Browser) -> None:
    """Against DNS rebinding: a name that resolves here reaches nothing."""
    assert browser.http.get("workbench/status", headers={"Host": "workbench.example.org"}).status_code == 403


def test_pages_of_a_person_who_signed_out_no_longer_know_them(browser: Browser) -> None:
    browser.sign_in(Role.MARKETING)
    first = payload_of(token_of(browser.page("intersection").text))["sign_in"]
    browser.sign_out()
    browser.sign_in(Role.COMPLIANCE)
    second = payload_of(token_of(browser.page("intersection").text))["sign_in"]
    assert second and second != first


def test_a_dead_pages_process_is_started_again(browser: Browser) -> None:
    browser.page("intersection")
    os.kill(_pages_pid(browser), signal.SIGKILL)
    wait_for(lambda: browser.http.get("workbench/app/page").status_code == 503, 8)
    assert browser.page("intersection").status_code == 200


def _pages_pid(browser: Browser) -> int:
    """The process that this Lab started for its pages; its command line names the Lab's port."""
    port = browser.lab.base_url.rstrip("/").rpartition(":")[2]
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if "workbench.app.serve" in line and f":{port} " in line:
                return int(folder.name)
    raise AssertionError("no process of pages")


def _listening_inodes() -> set[str]:
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[3] == "0A"}


def _socket_inodes(pid: int) -> set[str]:
    import os
    found = set()
    for one in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(one)
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found
