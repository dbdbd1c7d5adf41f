"""Tickets of the pages' process: in memory only, by the reference of the sign-in they belong to.

The Lab server forwards a page ticket with every request and tells of renewals and of the end. A page's session keeps
the reference; the ticket itself is in no session payload, cookie or address (decision 17).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from workbench.client.handed import signed_out


@dataclass(eq=False)
class SignIn:
    """One sign-in of one person. A TicketSource; its repr shows no ticket."""

    reference: str
    _ticket: str = field(default="", repr=False)
    _has_ended: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    @property
    def has_ended(self) -> bool:
        return self._has_ended

    def current(self) -> str:
        """The ticket in force; SignInRequired after the end."""
        with self._changed:
            if self._has_ended or not self._ticket:
                raise signed_out()
            return self._ticket

    def next_after(self, ticket: str, wait_s: float) -> str | None:
        """Another ticket than this one, or None when none comes in time or the sign-in has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_ended or self._ticket != ticket, timeout=wait_s)
            return None if self._has_ended or self._ticket == ticket else self._ticket

    def renewed(self, ticket: str) -> None:
        """Take the next ticket; ignored after the end."""
        with self._changed:
            if not self._has_ended:
                self._ticket = ticket
            self._changed.notify_all()

    def ended(self) -> None:
        """Forget the ticket; every page of this sign-in then asks to sign in."""
        with self._changed:
            self._has_ended, self._ticket = True, ""
            self._changed.notify_all()


class SignIns:
    """All sign-ins that requests have brought since the process started; an ended one never comes back."""

    def __init__(self) -> None:
        self._by_reference: dict[str, SignIn] = {}
        self._lock = threading.Lock()

    def seen(self, reference: str, ticket: str) -> SignIn | None:
        """The sign-in of a request; None when the request carries none."""
        if not reference or not ticket:
            return None
        with self._lock:
            sign_in = self._by_reference.setdefault(reference, SignIn(reference))
        sign_in.renewed(ticket)
        return None if sign_in.has_ended else sign_in

    def named(self, reference: str) -> SignIn | None:
        """The sign-in behind a reference, unless it is unknown or has ended."""
        with self._lock:
            sign_in = self._by_reference.get(reference)
        return sign_in if sign_in is not None and not sign_in.has_ended else None

    def end(self, reference: str) -> None:
        """End one sign-in; unknown references are ignored."""
        with self._lock:
            sign_in = self._by_reference.get(reference)
        if sign_in is not None:
            sign_in.ended()
