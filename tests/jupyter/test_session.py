"""Tickets of a Lab over time: renewed before they end, told to the pages, written for the kernels, never shown."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from lab_fixtures import ANSWER_S, Institutions
from workbench.client.connect import SessionFile, connect
from workbench.client.session import Client
from workbench.domain.party import Role
from workbench.errors import PeerUnavailable, SignInRequired
from workbench.jupyter.launch import register_lab
from workbench.jupyter.session import LabSession

CALLBACK = "http://127.0.0.1:9/workbench/callback"


class Told:
    """Keeps what the pages' process would be told."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str, bool]] = []

    async def __call__(self, reference: str, ticket: str, goes_on: bool) -> None:
        self.all.append((reference, ticket, goes_on))


Body = Callable[[LabSession, Told], Awaitable[None]]


def run(institutions: Institutions, path: Path, body: Body, *, whenever_asked: Body | None = None) -> None:
    """Sign marketing in with a session object of this test and hand it over; it is closed afterwards.

    whenever_asked: done after each answer of the node to this session, before the session has it.
    """
    register_lab(institutions.workspace, "broker", "http://127.0.0.1:9/")

    async def whole() -> None:
        told = Told()
        session = LabSession(node_url=institutions.node_url(), session_path=path, base_url="/", told=told)

        async def answered(response: httpx.Response) -> None:
            if whenever_asked is not None:
                await whenever_asked(session, told)

        session._http.event_hooks["response"].append(answered)
        try:
            form = urlsplit(session.begin(CALLBACK))
            given = {name: values[0] for name, values in parse_qs(form.query).items()}
            assert given["code_challenge_method"] == "S256"
            account, password = institutions.workspace.sign_in("broker", Role.MARKETING)
            async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_S) as http:
                answer = await http.post(
                    institutions.node_url() + "/signin", data={**given, "person": account, "password": password},
                    headers={"Origin": institutions.node_url()},
                )  # fmt: skip
            code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
            await session.finish(state=given["state"], code=code)
            await body(session, told)
        finally:
            await session.close()

    asyncio.run(whole())


def soon(session: LabSession) -> None:
    """Let every ticket look as if it ended in a minute."""
    for ticket in session._tickets.values():
        ticket.expires_ms = int(time.time() * 1000) + 60_000


def test_tickets_are_renewed_told_to_the_pages_and_written_for_the_kernels(institutions: Institutions, tmp_path: Path) -> None:
    path = tmp_path / "state" / "session.json"

    async def body(session: LabSession, told: Told) -> None:
        before = json.loads(path.read_text("utf-8"))["ticket"]
        pages_before = told.all[-1][1]
        soon(session)
        await session.renew_due()
        after = json.loads(path.read_text("utf-8"))["ticket"]
        assert after != before
        assert told.all[-1][1] not in (pages_before, "") and told.all[-1][2]
        assert (await session.status())["me"]["me"]["person"] == "marketing"
        with pytest.raises(SignInRequired):
            await asyncio.to_thread(Client(institutions.node_url(), before).call, "people.me")
        assert (await asyncio.to_thread(connect, path)).me.kernel

    run(institutions, path, body)
    assert not path.exists()


def test_whoever_asks_during_a_sign_in_is_told_of_nobody_and_then_of_a_whole_person(institutions: Institutions, tmp_path: Path) -> None:
    """The sidebar asks all the time: somebody without name and pages would stop it."""
    seen: list[dict[str, Any]] = []

    async def look(session: LabSession, told: Told) -> None:
        if not session._status_lock.locked():
            seen.append(await session.status() if session.is_signed_in else {"signed_in": False})

    async def body(session: LabSession, told: Told) -> None:
        assert len(seen) >= 5 and not any(one["signed_in"] for one in seen)
        assert session.reference and (await session.status())["pages"]["pages"]

    run(institutions, tmp_path / "state" / "session.json", body, whenever_asked=look)


def test_a_renewal_that_a_sign_out_overtakes_brings_no_ticket_back(institutions: Institutions, tmp_path: Path) -> None:
    path = tmp_path / "state" / "session.json"
    renewing: list[bool] = []
    went: list[str] = []

    async def go(session: LabSession, told: Told) -> None:
        if renewing and not went:
            went.append(session.lab_ticket())
            await session.sign_out()

    async def body(session: LabSession, told: Told) -> None:
        given: list[str] = []
        posted = session._post

        async def kept(path: str, body: dict[str, Any], *, ticket: str) -> dict[str, Any]:
            reply = await posted(path, body, ticket=ticket)
            given.append(reply["ticket"])
            return reply

        session._post = kept  # type: ignore[method-assign]  # to see the ticket that came too late
        session._tickets["kernel"].expires_ms = int(time.time() * 1000) + 60_000
        renewing.append(True)
        await session.renew_due()
        assert went and given and not session.is_signed_in and not path.exists()
        assert (await session.status())["signed_in"] is False
        for late in given:
            with pytest.raises(SignInRequired):
                await asyncio.to_thread(Client(institutions.node_url(), late).call, "people.me")

    run(institutions, path, body, whenever_asked=go)


def test_a_status_that_a_sign_out_overtakes_shows_nobody(institutions: Institutions, tmp_path: Path) -> None:
    asking: list[bool] = []

    async def go(session: LabSession, told: Told) -> None:
        if asking:
            asking.clear()
            await session.sign_out()

    async def body(session: LabSession, told: Told) -> None:
        asking.append(True)
        assert await session.status() == {"signed_in": False, "node": "ok"}

    run(institutions, tmp_path / "state" / "session.json", body, whenever_asked=go)


def test_tickets_with_time_left_are_kept(institutions: Institutions, tmp_path: Path) -> None:
    path = tmp_path / "state" / "session.json"

    async def body(session: LabSession, told: Told) -> None:
        before = path.read_bytes()
        await session.renew_due()
        assert path.read_bytes() == before and len(told.all) == 1

    run(institutions, path, body)


def test_a_notebook_goes_on_across_a_renewal(institutions: Institutions, tmp_path: Path) -> None:
    """The request that meets the old ticket's end is sent again with the next one."""
    path = tmp_path / "state" / "session.json"

    async def body(session: LabSession, told: Told) -> None:
        old = SessionFile(path).current()

        class Late(SessionFile):
            first = True

            def current(self) -> str:
                if self.first:
                    self.first = False
                    return old
                return super().current()

        soon(session)
        await session.renew_due()
        from workbench.client.handed import HandedClient

        client = HandedClient(institutions.node_url(), Late(path))
        assert (await asyncio.to_thread(client.call, "people.me")).me.person == "marketing"

    run(institutions, path, body)


def test_the_end_of_the_session_signs_out_here_too(institutions: Institutions, tmp_path: Path) -> None:
    path = tmp_path / "state" / "session.json"

    async def body(session: LabSession, told: Told) -> None:
        ticket = session.lab_ticket()
        async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_S) as http:
            await http.delete(institutions.node_url() + "/api/v1/session", headers={"Authorization": f"Bearer {ticket}"})
        status = await session.status()
        assert status == {"signed_in": False, "node": "ok", "ended": True}
        assert not path.exists() and told.all[-1][2] is False

    run(institutions, path, body)


def test_a_node_that_is_away_keeps_the_last_values_and_says_so(institutions: Institutions, tmp_path: Path) -> None:
    async def body(session: LabSession, told: Told) -> None:
        known = await session.status()
        session._http = httpx.AsyncClient(base_url="http://127.0.0.1:9", trust_env=False)
        session._status = (0.0, session._status[1])
        status = await session.status()
        assert status["node"] == "offline" and status["status"] == known["status"]
        soon(session)
        await session.renew_due()
        assert session.is_signed_in, "a node that is away for a minute signs nobody out"
        with pytest.raises(PeerUnavailable):
            await session._operation("people.me")

    run(institutions, tmp_path / "state" / "session.json", body)


def test_no_ticket_is_in_what_objects_show_of_themselves(institutions: Institutions, tmp_path: Path) -> None:
    path = tmp_path / "state" / "session.json"

    async def body(session: LabSession, told: Told) -> None:
        wb = await asyncio.to_thread(connect, path)
        shown = " ".join([repr(session), *map(repr, session._tickets.values()), repr(wb.client), repr(SessionFile(path))])
        shown += await asyncio.to_thread(repr, wb)
        for ticket in session._tickets.values():
            assert ticket.secret not in shown

    run(institutions, path, body)
