"""A client whose ticket somebody else renews: the Lab server for pages and notebooks.

A renewed ticket ends the old one at once, so a request may leave with a ticket that has just ended; it is then sent
once more with the next one.
"""

from __future__ import annotations

from typing import Any, Protocol

import httpx

from workbench.client.session import Client
from workbench.errors import SignInRequired

NEXT_TICKET_WAIT_S = 3.0


class TicketSource(Protocol):
    """Where the current ticket comes from."""

    def current(self) -> str:
        """The ticket in force; SignInRequired when nobody is signed in."""

    def next_after(self, ticket: str, wait_s: float) -> str | None:
        """A ticket other than this one, waited for at most so long; None when there is none."""


class HandedClient(Client):
    """As Client, with tickets taken from a source before each request. Its repr shows the node's address only."""

    def __init__(self, url: str, source: TicketSource, *, timeout_s: float = 60.0) -> None:
        super().__init__(url, "", timeout_s=timeout_s)
        self._handed = source

    def _refresh(self) -> None:
        with self._lock:
            self._ticket = self._handed.current()

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        self._refresh()
        used = self._ticket
        try:
            return super()._send(method, path, **options)
        except SignInRequired:
            # A body that was read once cannot be sent again.
            if "content" in options or self._handed.next_after(used, NEXT_TICKET_WAIT_S) is None:
                raise
        return super()._send(method, path, **options)


def signed_out() -> SignInRequired:
    """The refusal when there is no ticket."""
    return SignInRequired(
        "没有登录，或登录已结束。在侧栏「证据工作台」点「登录」", "Not signed in, or the session has ended. Choose Sign in in the sidebar"
    )


__all__ = ["HandedClient", "TicketSource", "signed_out"]
