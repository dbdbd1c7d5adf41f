"""Decision 21: whatever a partner, a file or an address bar puts into a field arrives as text, never as markup."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from workbench.domain.party import Role
from workbench.node.staff import build_staff_app

from tests.flows import population
from tests.flows.institutions import CATALOGUE, Institutions, fresh_workspace, running

HOST = "127.0.0.1:8800"
EVIL = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "';alert(1)//",
    "</pre></form><form action=//evil.example>",
    "{{7*7}}${7*7}",
    "javascript:alert(1)",
    "&lt;b&gt;",
    "\u202egnp.exe",
]
ALLOWED = {
    "html", "head", "meta", "title", "link", "body", "main", "header", "b", "div", "h1", "h2", "p", "span", "form", "input",
    "label", "button", "dl", "dt", "dd", "pre", "code", "section", "small", "br",
}  # fmt: skip


class Page(HTMLParser):
    """The elements of a page with their attributes, and all its text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def checked(reply: Any) -> Page:
    """A page of the node: only its own elements, no script, no handler, nothing from elsewhere."""
    assert reply.headers["content-type"].startswith("text/html")
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "script-src" not in policy
    assert reply.headers["x-content-type-options"] == "nosniff" and reply.headers["cache-control"] == "no-store"
    page = Page(reply.text)
    for tag, attributes in page.elements:
        assert tag in ALLOWED, tag
        assert not [name for name in attributes if name.startswith("on") or name == "style"], attributes
        for name in ("src", "href", "action", "formaction"):
            assert (attributes.get(name) or "/").startswith("/") and not (attributes.get(name) or "").startswith("//")
    return page


@pytest.fixture(scope="module")
def alone() -> Iterator[Institutions]:
    workspace = fresh_workspace()
    with running(workspace, ("broker", "bank")) as made:
        yield made
    shutil.rmtree(workspace.folder)


@pytest.fixture(scope="module")
def http(alone: Institutions) -> TestClient:
    return TestClient(build_staff_app(alone.nodes["broker"], allowed_hosts={HOST}), base_url=f"http://{HOST}")


def ticket(made: Institutions, role: Role) -> dict[str, str]:
    node = made.nodes["broker"]
    return {"Authorization": f"Bearer {node.people._issue(made.caller('broker', role).person, 'page').secret}"}


@pytest.mark.parametrize("evil", EVIL)
def test_the_sign_in_page_shows_what_it_is_given_as_text(http: TestClient, alone: Institutions, evil: str) -> None:
    page = checked(http.get("/signin", params={"state": evil, "code_challenge": evil}))
    hidden = {one["name"]: one.get("value") for tag, one in page.elements if tag == "input" and one.get("type") == "hidden"}
    assert hidden["state"] == hidden["code_challenge"] == evil
    refused = http.get("/signin", params={"redirect_uri": evil})
    assert refused.status_code == 422 and refused.headers["content-type"] == "application/json"
    form = {"person": evil, "password": evil, "state": evil, "code_challenge": evil}
    again = http.post("/signin", data=form, headers={"Origin": f"http://{HOST}"})
    assert again.status_code == 401 and evil not in checked(again).text


@pytest.mark.parametrize("evil", EVIL)
def test_the_page_that_asks_for_the_password_shows_the_request_as_text(
    http: TestClient, alone: Institutions, evil: str
) -> None:
    actions = [
        (Role.APPROVER, "intersection.approve", {"job": evil, "audience": evil, "columns": [evil]}),
        (Role.ADMIN, "people.add", {"person": "evil", "display_name": evil, "roles": ["auditor"], "password": evil}),
        (Role.COMPLIANCE, "consent.withdraw", {"phone": population.phone(1), "reason": evil}),
    ]
    for role, operation, request in actions:
        made = http.post("/api/v1/actions", json={"operation": operation, "request": request}, headers=ticket(alone, role))
        assert made.status_code == 200, made.text
        url = made.json()["url"]
        page = checked(http.get(url))
        if operation != "people.add":
            assert evil in page.text
        else:
            assert page.text.count(evil) == 1, "the name is shown, the new password is not"
        declined = http.post(url, data={"decision": "no"}, headers={"Origin": f"http://{HOST}"})
        assert declined.status_code == 200 and checked(declined)
        assert http.get(url).status_code == 404, "a decided action is gone"
    assert http.get("/confirm/" + "x" * 40).status_code == 404


def test_a_refusal_that_quotes_a_rule_quotes_it_as_text(http: TestClient, alone: Institutions) -> None:
    job = alone.propose("bank", "broker", "test-46")
    request = {"job": job, "audience": "<script>alert(1)</script> = A"}
    made = http.post(
        "/api/v1/actions", json={"operation": "intersection.approve", "request": request}, headers=ticket(alone, Role.APPROVER)
    )
    _, password = alone.workspace.sign_in("broker", Role.APPROVER)
    answer = http.post(made.json()["url"], data={"password": password}, headers={"Origin": f"http://{HOST}"})
    assert answer.status_code == 409, answer.text
    assert "AUDIENCE" in checked(answer).text
    assert alone.nodes["broker"].jobs.get(job).state == "PROPOSED"
    foreign = http.post(made.json()["url"], data={"password": password}, headers={"Origin": "http://evil.example"})
    assert foreign.status_code == 403


def test_what_a_file_says_comes_back_as_the_same_text(http: TestClient, alone: Institutions, tmp_path: Path) -> None:
    """Headers, tags and catalogue entries of a list; the reply is JSON that no browser takes for a page."""
    headers = ["<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "=HYPERLINK(1)"]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["客户号", "手机号", *headers])
    people = [one for one in population.KNOWN["broker"] if one in population.KNOWN["bank"]]
    for one in people:
        writer.writerow([f"f{one}", population.phone(one), *[f"<b>{EVIL[0]}" for _ in headers]])
    path = tmp_path / "<img src=x>.csv"
    path.write_text(out.getvalue(), "utf-8")
    catalogue = {**CATALOGUE, "name": EVIL[0], "owner": EVIL[1], "source": EVIL[3]}
    made = alone.call("broker", Role.MARKETING, "lists.import", file=alone.upload("broker", path), catalogue=catalogue)
    reply = http.post("/api/v1/operations/lists.all", json={}, headers=ticket(alone, Role.MARKETING))
    assert reply.headers["content-type"] == "application/json" and reply.headers["x-content-type-options"] == "nosniff"
    found = next(one for one in reply.json()["lists"] if one["list_id"] == made.list_id)
    assert (found["name"], found["owner"], found["source"]) == (EVIL[0], EVIL[1], EVIL[3])
    assert set(headers) <= set(found["tags"]) and not re.search(r"[<>]", found["report"]["file"].replace(path.name, ""))
    job, _ = alone.run("broker", "bank", "test-46", list_id=made.list_id, columns=headers)
    page = alone.call("broker", Role.MARKETING, "intersection.result", job=job.job, limit=1)
    assert all(page.rows[0][name] == f"<b>{EVIL[0]}" for name in headers)
    _, data = alone.exported("broker", job.job, columns=headers)
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"))))
    assert rows[0][2:4] == headers[:2] and all(len(row) == 5 for row in rows)
    assert rows[0][4] == "'=HYPERLINK(1)", "a header that a spreadsheet would run is not neutralised"


def test_a_file_name_reaches_no_path_and_no_header(http: TestClient, alone: Institutions) -> None:
    for name in ("../../evil.csv", "/etc/passwd", "a\r\nX-Evil: 1", "..", "", "<b>" * 50):
        reply = http.post("/api/v1/files", params={"name": name}, content=b"x", headers=ticket(alone, Role.MARKETING))
        assert reply.status_code == 200 and "x-evil" not in reply.headers
        path = alone.nodes["broker"].uploads.path(reply.json()["file"])
        assert path.parent.parent == alone.nodes["broker"].folder / "uploads"
        assert re.fullmatch(r"[\w.\-]{1,80}", path.name)
