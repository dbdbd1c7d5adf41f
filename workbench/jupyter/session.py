"""The Lab server's side of one person's sign-in: tickets in memory, a weak one for kernels in a 0600 file.

Sign-in is RFC 6749 section 4.1 with PKCE S256 (RFC 7636): the verifier never leaves this process, the password never
enters it. Three tickets of the same person: "lab" for the sidebar, "page" for the pages' process, "kernel" for notebooks.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from workbench.errors import PeerUnavailable, SignInRequired

log = logging.getLogger("workbench.jupyter")

PENDING_S = 600
RENEW_BEFORE_MS = 5 * 60_000
RENEW_EVERY_S = 20.0
STATUS_FRESH_S = 0.8
NODE_TIMEOUT_S = 15.0
SESSION_FORMAT = "workbench/v1/session"
SIGNED_OUT: dict[str, Any] = {"signed_in": False, "node": "ok"}

Told = Callable[[str, str, bool], Awaitable[None]]
"""Tells the pages' process of a sign-in: reference, page ticket ("" at the end), whether it goes on."""


@dataclass(slots=True)
class Ticket:
    """One ticket; repr shows its audience only."""

    audience: str
    secret: str = field(repr=False)
    expires_ms: int = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pending:
    """A sign-in under way: what only this process knows of it."""

    verifier: str = field(repr=False)
    redirect: str
    until: float


class LabSession:
    """The one person who uses this Lab, signed in at their institution's node or not.

    session_path: where kernels find their token; the folder is 0700, the file 0600, gone when nobody is signed in.
    """

    def __init__(self, *, node_url: str, session_path: Path, base_url: str, told: Told) -> None:
        self.node_url = node_url.rstrip("/")
        self.reference = ""
        self.me: dict[str, Any] = {}
        self.pages: dict[str, Any] = {}
        self.until_ms = 0
        self._path = session_path
        self._base_url = base_url
        self._told = told
        self._pending: dict[str, Pending] = {}
        self._tickets: dict[str, Ticket] = {}
        self._http = httpx.AsyncClient(base_url=self.node_url, timeout=NODE_TIMEOUT_S, trust_env=False)
        self._status: tuple[float, dict[str, Any]] = (0.0, {})
        self._status_lock = asyncio.Lock()
        self._renewing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"LabSession({self.node_url}, signed_in={self.is_signed_in})"

    @property
    def is_signed_in(self) -> bool:
        return "lab" in self._tickets

    # ------------------------------------------------------------------ sign-in

    def begin(self, redirect: str) -> str:
        """The node's address to which the browser goes next; what comes back must name the state made here."""
        now = time.monotonic()
        self._pending = {state: one for state, one in self._pending.items() if one.until > now}
        state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        self._pending[state] = Pending(verifier, redirect, now + PENDING_S)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {"redirect_uri": redirect, "state": state, "code_challenge": challenge, "code_challenge_method": "S256"}
        return f"{self.node_url}/signin?{urlencode(query)}"

    async def finish(self, *, state: str, code: str) -> None:
        """Exchange the code, server to server. SignInRequired when the state is not ours or the node says no."""
        pending = self._pending.pop(state, None)
        if pending is None or pending.until < time.monotonic():
            raise SignInRequired("登录不是从这里开始，或已超过 10 分钟", "The sign-in did not begin here, or took over 10 minutes")
        reply = await self._post("/api/v1/session/exchange", {"code": code, "code_verifier": pending.verifier}, ticket="")
        lab = _ticket("lab", reply)
        tickets = {"lab": lab}
        await self.sign_out()
        try:
            me = await self._post("/api/v1/operations/people.me", {}, ticket=lab.secret)
            pages = await self._post("/api/v1/operations/pages.list", {}, ticket=lab.secret)
            for audience in ("page", "kernel"):
                derived = await self._post("/api/v1/session/derive", {"audience": audience}, ticket=lab.secret)
                tickets[audience] = _ticket(audience, derived)
        except Exception:
            await self._take_back(tickets)
            raise
        # In one step, without a pause: whoever asks meanwhile is told of nobody, never of somebody without name and pages.
        earlier = self._forget()
        self._tickets, self.me, self.pages, self.reference = tickets, me, pages, secrets.token_urlsafe(16)
        self.until_ms = int(reply.get("renewable_until_ms", 0))
        self._write_session()
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew_for_ever())
        await self._told(self.reference, tickets["page"].secret, True)
        await self._end(*earlier)  # somebody who signed in by another window in this moment

    async def sign_out(self) -> None:
        """End every ticket here and at the node, remove the kernels' file, and tell the pages."""
        await self._end(*self._forget())

    def _forget(self) -> tuple[str, dict[str, Ticket]]:
        """Nobody is signed in from here on; returns the reference and the tickets that are still to be ended."""
        ended = self.reference, self._tickets
        self.reference, self._tickets = "", {}
        self.me, self.pages, self._status = {}, {}, (0.0, {})
        self._path.unlink(missing_ok=True)
        return ended

    async def _end(self, reference: str, tickets: dict[str, Ticket]) -> None:
        if reference:
            await self._told(reference, "", False)
        await self._take_back(tickets)

    async def _take_back(self, tickets: dict[str, Ticket]) -> None:
        for ticket in tickets.values():
            try:
                await self._http.delete("/api/v1/session", headers=_bearer(ticket.secret))
            except httpx.HTTPError:  # an unreachable node lets the ticket expire within 15 minutes
                log.info("the node did not take back a ticket; it expires by itself")

    async def close(self) -> None:
        """At the end of the Lab server."""
        if self._renewing is not None:
            self._renewing.cancel()
        await self.sign_out()
        await self._http.aclose()

    def page_headers(self) -> tuple[str, str]:
        """(reference, page ticket) for the pages' process; empty strings when nobody is signed in."""
        ticket = self._tickets.get("page")
        return (self.reference, ticket.secret) if ticket and self.reference else ("", "")

    # ------------------------------------------------------------------ state for the sidebar

    async def status(self) -> dict[str, Any]:
        """What the sidebar shows; the node is asked at most once in 0.8 s whatever the number of tabs."""
        if not self.is_signed_in:
            return {"signed_in": False, "node": "ok" if await self._node_answers() else "offline"}
        async with self._status_lock:
            if not self.is_signed_in:
                return SIGNED_OUT
            taken, value = self._status
            if time.monotonic() - taken > STATUS_FRESH_S:
                reference = self.reference
                value = await self._ask_status(value)
                if self.reference != reference:  # this person went while the node was asked; the next question is about the next
                    return value if value.get("ended") else SIGNED_OUT
                self._status = (time.monotonic(), value)
            return value

    async def _ask_status(self, last: dict[str, Any]) -> dict[str, Any]:
        reference = self.reference
        shown = {"signed_in": True, "me": self.me, "pages": self.pages, "until_ms": self.until_ms}
        try:
            return {**shown, "node": "ok", "status": await self._operation("node.status")}
        except PeerUnavailable:
            return {**shown, "node": "offline", "status": last.get("status", {})}
        except SignInRequired:
            if self.reference != reference:
                return SIGNED_OUT
            await self.sign_out()
            return {**SIGNED_OUT, "ended": True}

    async def _node_answers(self) -> bool:
        try:
            return (await self._http.get("/signin", timeout=3)).is_success
        except httpx.HTTPError:
            return False

    # ------------------------------------------------------------------ tickets

    def lab_ticket(self) -> str:
        """The ticket of the Lab server itself; SignInRequired when nobody is signed in."""
        ticket = self._tickets.get("lab")
        if ticket is None:
            raise SignInRequired("请先登录", "Sign in first")
        return ticket.secret

    async def renew_due(self) -> None:
        """Renew each ticket that would soon expire; a refusal ends the sign-in."""
        for audience, ticket in list(self._tickets.items()):
            if ticket.expires_ms - time.time() * 1000 > RENEW_BEFORE_MS:
                continue
            try:
                reply = await self._post("/api/v1/session/renew", {}, ticket=ticket.secret)
            except PeerUnavailable:
                return  # still valid for minutes; the next round tries again
            except SignInRequired:
                if self._tickets.get(audience) is ticket:
                    await self.sign_out()
                return
            if self._tickets.get(audience) is not ticket:  # its person went meanwhile, and this one goes too
                await self._take_back({audience: _ticket(audience, reply)})
                return
            self._tickets[audience] = _ticket(audience, reply)
            if audience == "kernel":
                self._write_session()
            if audience == "page":
                await self._told(self.reference, reply["ticket"], True)

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            try:
                await self.renew_due()
            except Exception as error:  # the loop must live; the next round tries again
                log.error("renewing failed: %s", type(error).__name__)

    def _write_session(self) -> None:
        """The kernels' file, written beside and moved into place, so that a reader sees one ticket or the other."""
        ticket = self._tickets["kernel"]
        value = {
            "v": SESSION_FORMAT, "node_url": self.node_url, "ticket": ticket.secret, "expires_ms": ticket.expires_ms,
            "base_url": self._base_url,
        }  # fmt: skip
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        staged = self._path.with_name(self._path.name + ".new")
        staged.unlink(missing_ok=True)
        with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            json.dump(value, out)
        staged.replace(self._path)

    async def _operation(self, name: str) -> dict[str, Any]:
        return await self._with_lab(f"/api/v1/operations/{name}", {})

    async def _with_lab(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """A request with the lab ticket; once more when the ticket was renewed meanwhile."""
        used = self.lab_ticket()
        try:
            return await self._post(path, body, ticket=used)
        except SignInRequired:
            if self.lab_ticket() == used:
                raise
        return await self._post(path, body, ticket=self.lab_ticket())

    async def _post(self, path: str, body: dict[str, Any], *, ticket: str) -> dict[str, Any]:
        try:
            reply = await self._http.post(path, json=body, headers=_bearer(ticket))
        except httpx.HTTPError as error:
            raise PeerUnavailable("本机构的节点没有回应", "The node does not answer", code="NODE_UNAVAILABLE") from error
        if reply.status_code in (401, 403):
            raise SignInRequired("登录无效或已结束，请重新登录", "The sign-in is invalid or has ended; sign in again")
        if not reply.is_success:
            raise PeerUnavailable(f"节点回应 {reply.status_code}", f"The node answered {reply.status_code}", code="NODE_UNAVAILABLE")
        value: dict[str, Any] = reply.json()
        return value


def _ticket(audience: str, reply: dict[str, Any]) -> Ticket:
    return Ticket(audience, reply["ticket"], int(reply["expires_ms"]))


def _bearer(ticket: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {ticket}"} if ticket else {}


__all__ = ["SESSION_FORMAT", "LabSession", "Told"]
