"""Calls to partners from the node's worker threads: over a channel, or in memory for tests."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
from collections.abc import Callable
from typing import Protocol

from workbench.contracts import (
    Channel,
    ChannelIdentity,
    PacedLink,
    PeerAddress,
    PeerCall,
    PeerLink,
)
from workbench.domain.party import PartyId
from workbench.errors import PeerError, PeerUnavailable, WorkbenchError

CLOSE_S = 5.0
"""How long closing waits for the partners' connections to end in order."""


class Links(Protocol):
    """Blocking calls to partners, safe from any thread."""

    def call(self, party: PartyId, path: str, body: bytes, *, timeout_s: float) -> bytes:
        """The partner's reply; PeerUnavailable when it does not answer in time, PeerError when it refuses."""

    def close(self) -> None: ...


class NoLinks:
    """Before the node is started, and in commands that only look at a stopped one: nobody can be reached."""

    def call(self, party: PartyId, path: str, body: bytes, *, timeout_s: float) -> bytes:
        raise PeerUnavailable("节点没有启动", "The node is not running")

    def close(self) -> None:
        return


def bodies_of(links: Links, party: PartyId, log: PartyId, start: int, stop: int, *, timeout_s: float) -> list[bytes]:
    """Bodies of entries start <= index < stop of a log as a partner holds them, as many as fit into one answer.

    Raises as `Links.call`, and PeerError MALFORMED for an answer that is none.
    """
    question = json.dumps({"log": log, "start": start, "stop": stop}).encode()
    try:
        answer = json.loads(links.call(party, "bodies", question, timeout_s=timeout_s))
        return [bytes.fromhex(body) for body in answer]
    except (ValueError, TypeError, RecursionError) as error:
        raise PeerError(f"{party} 的回答格式不对", f"The answer of {party} is malformed", code="MALFORMED") from error


class ChannelLinks:
    """Links over one channel; the coroutines run on the node's event loop."""

    def __init__(
        self,
        *,
        channel: Channel,
        identity: ChannelIdentity,
        source_address: str,
        peer: Callable[[PartyId], PeerAddress],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._channel = channel
        self._identity = identity
        self._source_address = source_address
        self._peer = peer
        self._loop = loop
        self._links: dict[PartyId, tuple[PeerAddress, PeerLink]] = {}
        self._closed = False
        self._lock = threading.Lock()

    def call(self, party: PartyId, path: str, body: bytes, *, timeout_s: float) -> bytes:
        link = self._link(party)
        future = asyncio.run_coroutine_threadsafe(link.call(path, body, timeout_s=timeout_s), self._loop)
        try:
            return future.result(timeout_s * (2 if isinstance(link, PacedLink) and link.is_paced else 1) + 5)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise PeerUnavailable(
                f"{party} {timeout_s:.0f} 秒没有回应。运维联系对方",
                f"{party} gave no answer for {timeout_s:.0f} s. Operations call them",
            ) from None

    def close(self) -> None:
        """End the connections to all partners; a call that comes later opens none. Not from the loop's own thread."""
        with self._lock:
            self._closed = True
            links = [link for _, link in self._links.values()]
            self._links.clear()
        closing = [asyncio.run_coroutine_threadsafe(link.close(), self._loop) for link in links]
        concurrent.futures.wait(closing, timeout=CLOSE_S)

    def _link(self, party: PartyId) -> PeerLink:
        """The link to a partner; made anew when the allow-list changed its address or certificate."""
        address = self._peer(party)
        with self._lock:
            if self._closed:
                raise PeerUnavailable("节点正在停止，不再联系其他机构", "The node is stopping and calls no partner any more")
            known = self._links.get(party)
            if known is None or known[0] != address:
                link = self._channel.connect(
                    identity=self._identity, peer=address, source_address=self._source_address
                )
                if known is not None:
                    asyncio.run_coroutine_threadsafe(known[1].close(), self._loop)
                self._links[party] = known = (address, link)
            return known[1]


class MemoryLinks:
    """Direct calls between Workbench objects of one process; `tap` sees, changes or drops every call in tests."""

    def __init__(self, own: PartyId, *, tap: Callable[[PeerCall, PartyId], bytes | None] | None = None) -> None:
        self._own = own
        self._handlers: dict[PartyId, Callable[[PeerCall], bytes]] = {}
        self._tap = tap

    def join(self, party: PartyId, handler: Callable[[PeerCall], bytes]) -> None:
        self._handlers[party] = handler

    def leave(self, party: PartyId) -> None:
        self._handlers.pop(party, None)

    def call(self, party: PartyId, path: str, body: bytes, *, timeout_s: float) -> bytes:
        handler = self._handlers.get(party)
        call = PeerCall(peer=self._own, path=path, body=body, address="127.0.0.1")
        if self._tap is not None:
            changed = self._tap(call, party)
            if changed is None:
                handler = None
            else:
                call = PeerCall(peer=self._own, path=path, body=changed, address="127.0.0.1")
        if handler is None:
            raise PeerUnavailable(f"{party} 连不上", f"{party} cannot be reached")
        try:
            return handler(call)
        except WorkbenchError as error:  # a channel carries code and sentences, and so does this
            raise PeerError(
                f"{party} 拒绝了请求：{error.zh}",
                f"{party} refused the request: {error.en}",
                code=error.code,
                details={"status": str(error.http_status)},
            ) from error

    def close(self) -> None:
        self._handlers.clear()
