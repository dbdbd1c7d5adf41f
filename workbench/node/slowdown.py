"""Pauses after wrong passwords, for each account and each place it is tried from. Pure: the clock is an argument.

A lock can be forced by whoever reaches the door: five wrong words, and the right person stays out. Here only the place
that guesses waits, twice as long after each further failure, and never longer than a limit; an attempt during a pause is
not verified, does not count and does not prolong it. Accounts that do not exist pause like those that do.
"""

from __future__ import annotations

import ipaddress
import threading
from dataclasses import dataclass, field

FAILURES_BEFORE_PAUSE = 5
FORGET_MS = 3_600_000
"""After an hour without an attempt a place begins anew."""
PLACES_OF_AN_ACCOUNT = 20
"""More places than this share one row: whoever guesses from many addresses gains nothing by the next one."""
LARGEST = 10_000
"""Rows kept; the ones longest untouched go first."""


@dataclass(slots=True)
class _Row:
    failures: int = 0
    until_ms: int = 0
    last_ms: int = 0
    told_until_ms: int = 0
    turn: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class Pause:
    """How long to wait, 0 when the attempt may be verified; is_new: the first refusal of this pause, worth an entry."""

    wait_ms: int
    is_new: bool = False


class SlowDown:
    """Attempts of one node; safe from any thread. Kept in memory: a restart, which no guesser can force, forgets them."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], _Row] = {}
        self._lock = threading.Lock()

    def turn(self, account: str, place: str, *, now_ms: int) -> threading.Lock:
        """Held during an attempt: those of one place are verified one after the other, so that each sees the last one's pause."""
        with self._lock:
            return self._row(account, place, now_ms).turn

    def begin(self, account: str, place: str, *, now_ms: int, slowest_ms: int) -> Pause:
        """Before a password is verified: counts the attempt as a failure until `succeed` says otherwise."""
        with self._lock:
            row = self._row(account, place, now_ms)
            if row.until_ms > now_ms:
                is_new = row.told_until_ms != row.until_ms
                row.told_until_ms = row.until_ms
                return Pause(row.until_ms - now_ms, is_new)
            row.failures += 1
            row.last_ms = now_ms
            row.until_ms = now_ms + pause_ms(row.failures, slowest_ms=slowest_ms)
            return Pause(0)

    def succeed(self, account: str, place: str) -> None:
        """The password was right: this place begins anew."""
        with self._lock:
            self._rows.pop((account, place), None)
            self._rows.pop((account, "elsewhere"), None)

    def _row(self, account: str, place: str, now_ms: int) -> _Row:
        key = (account, place)
        known = self._rows.get(key)
        if known is not None and now_ms - known.last_ms > FORGET_MS:
            del self._rows[key]
            known = None
        if known is None:
            if sum(1 for one, _ in self._rows if one == account) >= PLACES_OF_AN_ACCOUNT:
                key = (account, "elsewhere")
            if len(self._rows) >= LARGEST:
                del self._rows[min(self._rows, key=lambda one: self._rows[one].last_ms)]
            known = self._rows.setdefault(key, _Row(last_ms=now_ms))
        return known


def pause_ms(failures: int, *, slowest_ms: int) -> int:
    """The pause after so many failures in a row: none at first, then 1 s, 2 s, 4 s … up to the limit."""
    further = failures - FAILURES_BEFORE_PAUSE
    return 0 if further < 0 else min(slowest_ms, 1000 << min(further, 30))


def place_of(address: str) -> str:
    """From where somebody tries, as far as it can be told: loopback is one place, and so is a network of IPv6.

    On one machine anybody may choose any of the 16 million loopback addresses.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "here"
    if parsed.is_loopback:
        return "loopback"
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
