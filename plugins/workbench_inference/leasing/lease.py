"""The state of a lease 租约, alike at both ends: one row of the state table for each function here.

Document: docs/protocols/sandbox.md section 4. Pure: what happened and when are arguments. A caller makes each arrow one
transaction with its entry.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

ERASE_WITHIN_MS: Final = 300_000
"""How long a clean receipt may take before the lease counts as unproven."""
SILENT_MS: Final = 300_000
"""Without a sign of the tenant for so long the provider ends the lease."""
ENDING_MS: Final = 20_000
"""So long before its end a lease takes in no ask."""
CAUSES: Final = frozenset(
    {"released", "lease-ended", "budget", "idle", "tenant-silent", "sandbox-died", "memory", "launcher-died", "freeze", "operator", "probe"}
)
"""Why a lease ends: section 11."""


class State(StrEnum):
    """States of section 4."""

    ORDERED = "ORDERED"
    REFUSED = "REFUSED"
    RUNNING = "RUNNING"
    RELEASING = "RELEASING"
    ERASED = "ERASED"
    UNPROVEN = "UNPROVEN"


OVER: Final = frozenset({State.REFUSED, State.ERASED})
"""No event changes these."""


@dataclass(frozen=True, slots=True)
class Lease:
    """One lease as one end knows it. Times in ms since 1970 by this end's clock; servers by name.

    accepted: the order was acknowledged without a code. number: of the last change, 0 for none. held: servers that were
    leased and for which no clean receipt is there; erased: those that have one; residue: those whose receipt was not clean.
    is_certain: this end knows every server there was; a tenant does once the provider says that none is left.
    started_ms, ended_ms: 0 until it is RUNNING, RELEASING. cause: why it ended, or the code of a refusal.
    """

    lease: str
    cards: int
    most_cards: int
    from_ms: int
    until_ms: int
    state: State = State.ORDERED
    accepted: bool = False
    number: int = 0
    held: frozenset[str] = frozenset()
    erased: frozenset[str] = frozenset()
    residue: frozenset[str] = frozenset()
    is_certain: bool = True
    started_ms: int = 0
    ended_ms: int = 0
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the order, from and until as it says."""

    cards: int
    from_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class OrderRefused:
    """The provider refused the order with this code."""

    code: str


@dataclass(frozen=True, slots=True)
class ServerLeased:
    """A server holds a card for this lease from now on."""

    server: str


@dataclass(frozen=True, slots=True)
class Changed:
    """A change of cards or end that both agreed to, number 1, 2 …"""

    number: int
    cards: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The lease ends, for one of the causes of section 11."""

    cause: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """An erase receipt of a server that was checked."""

    server: str
    clean: bool


@dataclass(frozen=True, slots=True)
class NoneLeft:
    """The provider says that every server of the lease is erased: what this end has a clean receipt for is all there was."""


@dataclass(frozen=True, slots=True)
class Waited:
    """Nothing happened; the time did."""


LeaseEvent = Accepted | OrderRefused | ServerLeased | Changed | Ended | Receipt | NoneLeft | Waited


def next_state(lease: Lease, event: LeaseEvent, *, now_ms: int) -> Lease:
    """The lease after this event. ValueError for an arrow that section 4 does not have."""
    match event:
        case Accepted():
            return _accepted(lease, event)
        case OrderRefused():
            _require(lease.state is State.ORDERED and not lease.accepted and bool(event.code), lease, event)
            return replace(lease, state=State.REFUSED, cause=event.code)
        case ServerLeased():
            return _leased(lease, event, now_ms)
        case Changed():
            return _changed(lease, event, now_ms)
        case Ended():
            return _ended(lease, event, now_ms)
        case Receipt():
            return _receipt(lease, event)
        case NoneLeft():
            _require(lease.state in (State.RELEASING, State.UNPROVEN), lease, event)
            return _settled(replace(lease, is_certain=True))
        case Waited():
            is_late = lease.state is State.RELEASING and now_ms - lease.ended_ms >= ERASE_WITHIN_MS
            return replace(lease, state=State.UNPROVEN) if is_late else lease


def takes_asks(lease: Lease, *, now_ms: int) -> bool:
    """Whether an ask may begin: the lease runs and has more than 20 s to go."""
    return lease.state is State.RUNNING and now_ms < lease.until_ms - ENDING_MS


def due(lease: Lease, *, now_ms: int, spent_fen: int = 0, budget_fen: int = 0, asked_ms: int = 0, idle_s: int = 0, heard_ms: int = 0) -> str:
    """Why a running lease ends by itself now, "" while it does not.

    asked_ms: when the last ask came, 0 for never; heard_ms: the last sign of the tenant, 0 where nobody listens for one.
    Both count from the start of the lease at the earliest. The end that was agreed goes before every other cause.
    """
    if now_ms >= lease.until_ms and lease.state in (State.ORDERED, State.RUNNING):
        return "lease-ended"
    if lease.state is not State.RUNNING:
        return ""
    if budget_fen and spent_fen >= budget_fen:
        return "budget"
    if heard_ms and now_ms - max(heard_ms, lease.started_ms) >= SILENT_MS:
        return "tenant-silent"
    if idle_s and now_ms - max(asked_ms, lease.started_ms) >= idle_s * 1000:
        return "idle"
    return ""


def _accepted(lease: Lease, event: Accepted) -> Lease:
    _require(lease.state is State.ORDERED and not lease.accepted, lease, event)
    _require(1 <= event.cards <= lease.most_cards and event.from_ms < event.until_ms, lease, event)
    return replace(lease, accepted=True, cards=event.cards, from_ms=event.from_ms, until_ms=event.until_ms)


def _leased(lease: Lease, event: ServerLeased, now_ms: int) -> Lease:
    """A server that comes back to the lease owes a receipt of its own again."""
    may = lease.state is State.RUNNING or (lease.state is State.ORDERED and lease.accepted and now_ms >= lease.from_ms)
    _require(may and now_ms < lease.until_ms, lease, event)
    held, erased = lease.held | {event.server}, lease.erased - {event.server}
    return replace(lease, state=State.RUNNING, started_ms=lease.started_ms or now_ms, held=held, erased=erased)


def _changed(lease: Lease, event: Changed, now_ms: int) -> Lease:
    _require(lease.state is State.RUNNING or (lease.state is State.ORDERED and lease.accepted), lease, event)
    _require(now_ms < lease.until_ms and event.number == lease.number + 1, lease, event)
    _require(1 <= event.cards <= lease.most_cards and event.until_ms > max(now_ms, lease.from_ms), lease, event)
    return replace(lease, number=event.number, cards=event.cards, until_ms=event.until_ms)


def _ended(lease: Lease, event: Ended, now_ms: int) -> Lease:
    """A lease for which no server was ever taken has nothing to erase."""
    _require(event.cause in CAUSES, lease, event)
    _require(lease.state is State.RUNNING or (lease.state is State.ORDERED and lease.accepted), lease, event)
    ended = replace(lease, state=State.RELEASING, ended_ms=now_ms, cause=event.cause)
    return _settled(ended)


def _receipt(lease: Lease, event: Receipt) -> Lease:
    """Also while the lease runs: a card that was given back is erased by itself."""
    _require(lease.state in (State.RUNNING, State.RELEASING, State.UNPROVEN), lease, event)
    _require(event.server in lease.held, lease, event)
    if not event.clean:
        return _settled(replace(lease, residue=lease.residue | {event.server}))
    return _settled(
        replace(lease, held=lease.held - {event.server}, erased=lease.erased | {event.server}, residue=lease.residue - {event.server})
    )


def _settled(lease: Lease) -> Lease:
    if lease.state not in (State.RELEASING, State.UNPROVEN):
        return lease
    if not lease.held and lease.is_certain:
        return replace(lease, state=State.ERASED)
    return replace(lease, state=State.UNPROVEN) if lease.residue else lease


def _require(holds: bool, lease: Lease, event: LeaseEvent) -> None:
    if not holds:
        raise ValueError(f"lease {lease.lease} is {lease.state}: no arrow for {type(event).__name__}")


__all__ = [
    "CAUSES", "ENDING_MS", "ERASE_WITHIN_MS", "OVER", "SILENT_MS", "Accepted", "Changed", "Ended", "Lease", "LeaseEvent", "NoneLeft", "OrderRefused",
    "Receipt", "ServerLeased", "State", "Waited", "due", "next_state", "takes_asks",
]  # fmt: skip
