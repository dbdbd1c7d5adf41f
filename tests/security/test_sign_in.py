"""Guessing, outliving and forging sign-ins: passwords, tickets, cookies, confirmations."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import httpx

from tests.host.house import House
from workbench.contracts import OperationContext
from workbench.crypto import passwords
from workbench.domain.party import Role
from workbench.errors import SignInRequired
from workbench.node.pages import prepare_action
from workbench.node.people import VERIFICATIONS_AT_ONCE
from workbench.node.slowdown import FAILURES_BEFORE_PAUSE
from workbench.node.staff import TICKET_COOKIE, build_staff_app

OWN = "127.20.1.11:8801"


class Web:
    """The staff API as a browser or a program reaches it; each request is a connection of its own."""

    def __init__(self, house: House) -> None:
        app = build_staff_app(house.node, allowed_hosts={OWN})
        self._transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.cookies: dict[str, str] = {}

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=self._transport, base_url=f"http://{OWN}", cookies=self.cookies)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self._send("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self._send("POST", path, **options)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            async with self.client() as http:
                return await http.request(method, path, **options)

        return asyncio.run(send())


@pytest.fixture
def web(house: House) -> Web:
    return Web(house)


def ticket_for(house: House, role: Role, audience: str) -> str:
    people = house.node.people
    return people.sign_in(person=role.value, password=house.password(role), audience=audience).secret


def bearer(ticket: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {ticket}"}


def test_guesses_made_at_the_same_time_count_one_by_one(house: House) -> None:
    """Otherwise forty connections give forty guesses for the price of one."""
    together = threading.Barrier(2 * FAILURES_BEFORE_PAUSE)

    def guess(number: int) -> None:
        together.wait()
        with pytest.raises(SignInRequired):
            house.node.people.sign_in(person="marketing", password=f"guess {number}", audience="command")

    with ThreadPoolExecutor(2 * FAILURES_BEFORE_PAUSE) as pool:
        list(pool.map(guess, range(2 * FAILURES_BEFORE_PAUSE)))
    codes = [one["code"] for one in house.entries("people.sign_in_refused")]
    assert codes == ["WRONG_PASSWORD"] * FAILURES_BEFORE_PAUSE + ["SLOWED"]
    with pytest.raises(SignInRequired):
        ticket_for(house, Role.MARKETING, "command")


def test_a_derived_ticket_does_not_outlive_the_sign_in(house: House, web: Web) -> None:
    """Eight hours after the password was typed nobody is signed in, however tickets were passed on."""
    ticket = ticket_for(house, Role.MARKETING, "lab")
    for _ in range(48):
        house.clock.forward(minutes=9.9)
        reply = web.post("/api/v1/session/derive", json={"audience": "lab"}, headers=bearer(ticket))
        assert reply.status_code == 200
        ticket = reply.json()["ticket"]
    house.clock.forward(minutes=9.9)
    assert web.post("/api/v1/session/derive", json={"audience": "lab"}, headers=bearer(ticket)).status_code == 401
    assert web.post("/api/v1/session/renew", headers=bearer(ticket)).status_code == 401


def test_a_cookie_carries_the_nodes_own_page_ticket_and_no_other(house: House, web: Web) -> None:
    headers = {"Origin": f"http://{OWN}"}
    for audience in ("lab", "kernel", "command"):
        web.cookies[TICKET_COOKIE] = ticket_for(house, Role.MARKETING, audience)
        assert web.post("/api/v1/operations/people.me", json={}, headers=headers).json()["code"] == "SIGN_IN_REQUIRED"
    web.cookies[TICKET_COOKIE] = ticket_for(house, Role.MARKETING, "page")
    assert web.post("/api/v1/operations/people.me", json={}, headers=headers).status_code == 200


def test_no_other_authorization_turns_the_check_of_the_origin_off(house: House, web: Web) -> None:
    """A form of another site can make a browser send `Basic`; the cookie beside it must not count."""
    web.cookies[TICKET_COOKIE] = ticket_for(house, Role.MARKETING, "page")
    for origin in ("", "null", "http://127.20.1.11:9999", "http://evil.example", f"https://{OWN}"):
        for authorization in ("Basic YTpi", "Bearer", "Bearer ", "Digest x", ""):
            given = {"Origin": origin, "Authorization": authorization}
            headers = {name: value for name, value in given.items() if value}
            reply = web.post("/api/v1/operations/people.me", json={}, headers=headers)
            assert reply.json()["code"] == "WRONG_ORIGIN", given


def test_a_body_that_is_no_object_is_refused_and_no_fault(house: House, web: Web) -> None:
    headers = bearer(ticket_for(house, Role.APPROVER, "page"))
    for path in ("/api/v1/session/exchange", "/api/v1/actions"):
        for body in (b"[]", b"{", b"1", b"[" * 20_000, b'{"operation": 1, "request": [1]}'):
            assert web.post(path, content=body, headers=headers).status_code in (401, 404, 422), (path, body[:40])


def test_a_refusal_before_a_task_an_action_or_a_confirmation_is_evidence_too(house: House, web: Web) -> None:
    """The sentence says that the attempt was recorded; an attacker looking for an open door must leave traces."""
    auditor, kernel = ticket_for(house, Role.AUDITOR, "page"), ticket_for(house, Role.APPROVER, "kernel")
    export = {"operation": "intersection.export", "request": {"job": "J-20261121-0a1b2c3d"}}
    attempts: list[tuple[str, Any, str]] = [
        ("/api/v1/operations/lists.import", {"file": "x" * 24, "catalogue": CATALOGUE}, auditor),
        ("/api/v1/actions", export, auditor),
        ("/api/v1/session/confirm", {**export, "password": house.password(Role.AUDITOR)}, auditor),
        ("/api/v1/actions", {"operation": "intersection.approve", "request": {"job": "x"}}, kernel),
        ("/api/v1/files?name=x.csv", {}, auditor),
    ]
    for number, (path, body, ticket) in enumerate(attempts, 1):
        assert web.post(path, json=body, headers=bearer(ticket)).status_code == 403, path
        assert len(house.entries("action.refused")) == number, path


CATALOGUE = {
    "name": "x", "owner": "x", "source": "x", "subjects": "x", "method": "x", "data_class": "C1", "lawful_basis": "consent",
}  # fmt: skip


def test_a_confirmed_action_runs_once_however_often_the_button_is_pressed(house: House, web: Web) -> None:
    runs: list[str] = []
    operation = house.node.gate.registry.named("people.disable")
    real = operation.run

    def counted(ctx: OperationContext, request: Any) -> Any:
        runs.append(request.person)
        return real(ctx, request)

    object.__setattr__(operation, "run", counted)
    try:
        action = prepare_action(house.node, house.caller(Role.ADMIN), "people.disable", {"person": "marketing"})
        together = threading.Barrier(4)

        def press(_: int) -> int:
            together.wait()
            form = {"password": house.password(Role.ADMIN), "decision": "yes"}
            return web.post(f"/confirm/{action}", data=form, headers={"Origin": f"http://{OWN}"}).status_code

        with ThreadPoolExecutor(4) as pool:
            statuses = sorted(pool.map(press, range(4)))
    finally:
        object.__setattr__(operation, "run", real)
    assert runs == ["marketing"]
    assert statuses.count(200) == 1 and set(statuses) <= {200, 404}
    state = web.get(f"/api/v1/actions/{action}", headers=bearer(ticket_for(house, Role.ADMIN, "page"))).json()
    assert state == {"state": "done", "reply": {"done": True}}


def test_another_site_cannot_press_the_button_even_with_the_link(house: House, web: Web) -> None:
    action = prepare_action(house.node, house.caller(Role.ADMIN), "people.disable", {"person": "marketing"})
    form = {"password": house.password(Role.ADMIN), "decision": "yes"}
    for origin in ("null", "http://evil.example", "http://127.20.1.11:9999"):
        assert web.post(f"/confirm/{action}", data=form, headers={"Origin": origin}).json()["code"] == "WRONG_ORIGIN"
    assert web.post(f"/confirm/{action}", data=form).json()["code"] == "WRONG_ORIGIN"
    assert web.post(f"/confirm/{action}", data=form, headers={"Host": "evil.example"}).json()["code"] == "WRONG_HOST"
    assert not house.entries("people.disabled")


def test_partners_are_served_while_a_password_is_checked(house: House, web: Web) -> None:
    """The event loop also carries frames of partners: nothing of a person's request may hold it up."""
    entered, leave = threading.Event(), threading.Event()
    real = house.node.people.sign_in

    def slow(**arguments: Any) -> Any:
        entered.set()
        leave.wait(60)
        return real(**arguments)

    house.node.people.sign_in = slow  # type: ignore[method-assign]

    async def both() -> tuple[bool, int]:
        async with web.client() as http:
            form = {"person": "marketing", "password": house.password(Role.MARKETING)}
            signing_in = asyncio.create_task(http.post("/signin", data=form, headers={"Origin": f"http://{OWN}"}))
            await asyncio.to_thread(entered.wait, 60)
            page = await http.get("/style.css")
            was_waiting = not signing_in.done()
            leave.set()
            return was_waiting and page.status_code == 200, (await signing_in).status_code

    assert asyncio.run(both()) == (True, 303)


def test_the_reply_to_a_confirmed_action_lies_sealed_until_its_page_has_it(house: House, web: Web) -> None:
    """A reply may name customers; whoever copies the database must not read it."""
    ticket = ticket_for(house, Role.ADMIN, "page")
    request = {"person": "zhao", "display_name": "赵一二三四", "roles": ["marketing"], "password": "Korrekt-Pferd-7-Batterie"}
    prepared = web.post("/api/v1/actions", json={"operation": "people.add", "request": request}, headers=bearer(ticket)).json()
    form = {"password": house.password(Role.ADMIN), "decision": "yes"}
    done = web.post(prepared["url"], data=form, headers={"Origin": f"http://{OWN}"})
    assert done.status_code == 200
    with house.node.store.read() as reader:
        assert [row["reply"] for row in reader.execute("SELECT reply FROM host_action")] == [None]
        assert house.node.vault.names(reader, "action-reply/")
    state = web.get(f"/api/v1/actions/{prepared['action']}", headers=bearer(ticket)).json()
    assert (state["state"], state["reply"]["display_name"]) == ("done", "赵一二三四")
    house.clock.forward(minutes=16)
    prepare_action(house.node, house.caller(Role.ADMIN), "people.disable", {"person": "zhao"})
    with house.node.store.read() as reader:
        assert not house.node.vault.names(reader, "action-reply/"), "and not beyond the life of the action"


def test_a_node_whose_log_is_closed_signs_nobody_in_and_its_page_says_who_acts(house: House, web: Web) -> None:
    """Its accounts may be those of an older copy: a right password and a wrong one are answered alike."""
    house.node.ledger.shut()
    for password in (house.password(Role.ADMIN), "wrong"):
        form = {"person": "admin", "password": password}
        page = web.post("/signin", data=form, headers={"Origin": f"http://{OWN}"})
        assert page.status_code != 303 and "set-cookie" not in page.headers
        assert "LEDGER_CLOSED" in page.text and "ledger catch-up" in page.text and 'action="/signin"' in page.text
    with house.node.store.read() as reader:
        assert reader.execute("SELECT count(*) FROM host_ticket").fetchone()[0] == 0
    house.node.ledger.open()
    assert web.post("/signin", data=form | {"password": house.password(Role.ADMIN)}, headers={"Origin": f"http://{OWN}"}).status_code == 303


def test_many_sign_ins_at_once_do_not_take_the_nodes_memory(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """argon2id asks for 64 MiB each; the door to it is open before anybody has signed in."""
    inside, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(VERIFICATIONS_AT_ONCE)

    def verify() -> None:
        nonlocal inside, most
        with lock:
            inside, most = inside + 1, max(most, inside + 1)
        together.wait(60)
        with lock:
            inside -= 1

    monkeypatch.setattr(passwords, "spend_verification_time", verify)

    def knock(number: int) -> None:
        with pytest.raises(SignInRequired):
            house.node.people.sign_in(person=f"nobody{number}", password="x", audience="command")

    with ThreadPoolExecutor(5 * VERIFICATIONS_AT_ONCE) as pool:
        list(pool.map(knock, range(5 * VERIFICATIONS_AT_ONCE)))
    assert most == VERIFICATIONS_AT_ONCE
