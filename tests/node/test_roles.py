"""Role × operation, generated from the registry and asked over HTTP: allowed and denied exactly as declared (rows F3, F16)."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
from pydantic import BaseModel

from workbench.domain.party import Person, Role
from workbench.errors import Refused
from workbench.gate import STRANGERS_PER_MINUTE
from workbench.host import Workbench
from workbench.node.staff import WITHOUT_TICKET, build_staff_app
from workbench.operations import Operation

from tests.asgi import Asking
from tests.flows.institutions import Institutions, fresh_workspace, running

HOST = "127.0.0.1:8800"
PATTERNS = {
    "^[0-9a-f]{64}$": "0" * 64, "^C[123]$": "C2", "^[a-z][a-z0-9._-]{1,30}$": "somebody", "^m-[0-9a-f]{32}$": "m-" + "0" * 32,
    "^[a-z][a-z0-9-]{1,30}$": "something",
    "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$": "00000000-0000-4000-8000-000000000000",
    "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$": "card-1",
    "^[^\\x00-\\x1f\\x7f]+$": "xxxxx",
    "^[0-9a-f]{20}$": "00000000000000000000",
}  # fmt: skip
PAGES = {
    ("GET", "/signin"), ("POST", "/signin"), ("GET", "/style.css"), ("GET", "/confirmations"),
    ("GET", "/confirm/{action}"), ("POST", "/confirm/{action}"), ("GET", "/password"), ("POST", "/password"),
    ("GET", "/p/{name}.css"), ("GET", "/p/{name}/{secret}"), ("POST", "/p/{name}/{secret}"),
}  # fmt: skip
"""What a browser gets without a ticket: how to sign in, and one action or one customer's page under a secret address."""


@dataclass
class House:
    """A node with one person for every role and none of its partners. tickets: by role, "page" and "kernel"."""

    node: Workbench
    http: Asking
    tickets: dict[tuple[Role, str], str]

    def post(self, path: str, body: object, ticket: str = "") -> Any:
        headers = {"Authorization": f"Bearer {ticket}"} if ticket else {}
        return self.http.post(path, json=body, headers=headers)

    def refusals(self, made: Institutions) -> int:
        return made.count("broker", "action.refused")


@pytest.fixture(scope="module")
def alone() -> Iterator[Institutions]:
    workspace = fresh_workspace()
    with running(workspace, ("broker",)) as made:
        yield made
    shutil.rmtree(workspace.folder)


@pytest.fixture(scope="module")
def house(alone: Institutions) -> Iterator[House]:
    node = alone.nodes["broker"]
    people = {role: person for person in node.people.everyone() for role in person.roles}
    missing = set(Role) - set(people)
    assert len(people) == 7 and len(missing) == len(Role) - 7
    tickets = {}
    for role in Role:
        person: Person = people.get(role) or node.people.add(
            person=f"one-{len(tickets)}", display_name="一人", roles=[role], password="Korrekt-Pferd-7-Batterie"
        )
        for audience in ("page", "kernel"):
            tickets[role, audience] = node.people._issue(person, audience).secret
    http = Asking(build_staff_app(node, allowed_hosts={HOST}), HOST)
    yield House(node, http, tickets)
    http.close()


@cache
def sample(model: type[BaseModel]) -> dict[str, Any]:
    """A request that fits the description and means nothing: every required field with the plainest value. Not to be changed."""
    schema = model.model_json_schema()
    return _value(schema, schema.get("$defs", {}))  # type: ignore[no-any-return]


def _value(schema: dict[str, Any], named: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return _value(named[schema["$ref"].rpartition("/")[2]], named)
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _value(schema["anyOf"][0], named)
    match schema["type"]:
        case "object":
            required = schema.get("required", [])
            return {name: _value(schema["properties"][name], named) for name in required}
        case "array":
            return [_value(schema["items"], named) for _ in range(schema.get("minItems", 0))]
        case "string":
            if schema.get("format") == "date":
                return "2026-09-21"
            return PATTERNS[schema["pattern"]] if "pattern" in schema else "x" * max(1, schema.get("minLength", 1))
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
    raise AssertionError(f"a field of another type: {schema}")


def operations(node: Workbench) -> list[Operation]:
    return list(node.gate.registry)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("audience", ["page", "kernel"])
def test_every_operation_is_open_to_exactly_the_roles_it_declares(
    house: House, alone: Institutions, role: Role, audience: str
) -> None:
    before, denied = house.refusals(alone), 0
    for operation in operations(house.node):
        reply = house.post(
            f"/api/v1/operations/{operation.name}", sample(operation.request), house.tickets[role, audience]
        )
        code = reply.json().get("code", "") if reply.status_code >= 400 else ""
        assert reply.status_code < 500 or code == "PEER_UNAVAILABLE", (operation.name, reply.text)
        if role not in operation.roles:
            assert (reply.status_code, code) == (403, "DENIED"), operation.name
        elif audience == "kernel" and not operation.weak_token:
            assert (reply.status_code, code) == (403, "KERNEL_TOKEN"), operation.name
        elif operation.fresh_password:
            assert (reply.status_code, code) == (403, "CONFIRMATION_NEEDED"), operation.name
        else:
            assert code not in ("DENIED", "KERNEL_TOKEN", "CONFIRMATION_NEEDED", "SIGN_IN_REQUIRED"), operation.name
            assert reply.status_code != 401
        denied += code in ("DENIED", "KERNEL_TOKEN", "CONFIRMATION_NEEDED")
    codes = [one.values["code"] for one in alone.entries("broker", kind="action.refused", skipped=before)]
    assert sum(code in ("DENIED", "KERNEL_TOKEN", "CONFIRMATION_NEEDED") for code in codes) == denied


@pytest.mark.parametrize("role", list(Role))
def test_no_confirmation_is_given_for_what_a_role_may_not_do(house: House, role: Role) -> None:
    """The password is right; the operation is not theirs, or the token is a notebook's."""
    for operation in operations(house.node):
        body = {"operation": operation.name, "request": sample(operation.request), "password": "x"}
        if role not in operation.roles:
            assert house.post("/api/v1/session/confirm", body, house.tickets[role, "page"]).json()["code"] == "DENIED"
            action = {"operation": operation.name, "request": body["request"]}
            assert house.post("/api/v1/actions", action, house.tickets[role, "page"]).json()["code"] == "DENIED"
        elif operation.fresh_password:
            assert house.post("/api/v1/session/confirm", body, house.tickets[role, "kernel"]).json()["code"] == "KERNEL_TOKEN"
            assert house.post("/api/v1/actions", body, house.tickets[role, "kernel"]).json()["code"] == "KERNEL_TOKEN"


def routes(house: House) -> list[tuple[str, str]]:
    found = [
        (method, route.path)
        for route in house.http.app.routes
        for method in sorted(route.methods or ())
        if method not in ("HEAD", "OPTIONS")
    ]
    assert len(found) > 40
    return found


def test_no_endpoint_answers_without_a_ticket(house: House) -> None:
    """Row F16: whatever the body, before anything of it is described."""
    open_paths = WITHOUT_TICKET | PAGES
    for method, path in routes(house):
        if (method, path) in open_paths:
            continue
        address = path.replace("{", "").replace("}", "")
        for ticket in ("", "0" * 64, "x", " "):
            headers = {"Authorization": f"Bearer {ticket}"} if ticket else {}
            for content in (b"", b"{", b'{"person": 1}', b"\xff" * 50):
                reply = house.http.request(method, address, content=content, headers=headers)
                assert reply.status_code == 401, (method, path, reply.text)
                assert set(reply.json()) == {"code", "zh", "en", "details"} and reply.json()["details"] == {}
    for path in ("/", "/docs", "/openapi.json", "/redoc", "/static/x", "/metrics"):
        assert house.http.get(path).status_code == 404
    assert house.http.get("/api/v1/gossip").status_code == 401
    assert {(method, path) for method, path in routes(house)} >= open_paths, "an open path that does not exist"


def test_identity_headers_of_a_browser_mean_nothing(house: House) -> None:
    for name in ("X-Forwarded-User", "Remote-User", "X-Person", "X-Role", "Authorization"):
        reply = house.http.post("/api/v1/operations/people.me", json={}, headers={name: "admin"})
        assert reply.status_code == 401


def test_strangers_are_recorded_but_cannot_fill_the_log(house: House, alone: Institutions) -> None:
    before = house.refusals(alone)
    for _ in range(3 * STRANGERS_PER_MINUTE):
        assert house.post("/api/v1/operations/people.me", {}).status_code == 401
    written = house.refusals(alone) - before
    assert 0 <= written <= 2 * STRANGERS_PER_MINUTE
    clock = house.node.now_ms
    house.node.now_ms = lambda: clock() + 60_000  # type: ignore[method-assign]
    try:
        before = house.refusals(alone)
        house.post("/api/v1/operations/people.me", {}, "0" * 64)
    finally:
        house.node.now_ms = clock  # type: ignore[method-assign]
    entry = alone.entries("broker", kind="action.refused")[-1]
    assert house.refusals(alone) == before + 1
    assert (entry.values["operation"], entry.values["code"], entry.actor) == ("people.me", "SIGN_IN_REQUIRED", "")


def test_a_cookie_counts_on_pages_of_this_node_only(house: House) -> None:
    person = next(one for one in house.node.people.everyone() if Role.MARKETING in one.roles)
    for audience, status in (("page", 200), ("kernel", 401), ("command", 401), ("lab", 401)):
        cookie = {"Cookie": f"workbench_ticket={house.node.people._issue(person, audience).secret}"}
        reply = house.http.post("/api/v1/operations/people.me", json={}, headers={**cookie, "Origin": f"http://{HOST}"})
        assert reply.status_code == status, audience
        for origin in ({}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
            reply = house.http.post("/api/v1/operations/people.me", json={}, headers={**cookie, **origin})
            assert reply.json()["code"] == "WRONG_ORIGIN"


def test_a_ticket_of_a_disabled_person_opens_nothing(house: House) -> None:
    node = house.node
    person = node.people.add(
        person="leaver", display_name="离职者", roles=[Role.AUDITOR], password="Korrekt-Pferd-7-Batterie"
    )
    ticket = node.people._issue(person, "command").secret
    assert house.post("/api/v1/operations/people.me", {}, ticket).status_code == 200
    admin = replace(person, person=next(one.person for one in node.people.everyone() if Role.ADMIN in one.roles))
    from workbench.domain.party import Caller

    node.people.disable("leaver", by=Caller(person=admin, kernel=False))
    assert house.post("/api/v1/operations/people.me", {}, ticket).status_code == 401
    with contextlib.suppress(Refused):
        node.people.sign_in(person="leaver", password="Korrekt-Pferd-7-Batterie", audience="command")
        raise AssertionError("a disabled person signed in")
