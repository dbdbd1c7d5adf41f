"""Which engine a question goes to, and which next when it fails: by scenario, what is there and what is busy. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

EXTRACTIVE, UPSTREAM, GENERATOR = "extractive", "upstream", "generator"

_PREFERENCES: Final[Mapping[str, tuple[str, ...]]] = {
    "advice": (EXTRACTIVE, UPSTREAM),
    "research": (UPSTREAM, EXTRACTIVE, GENERATOR),
    "banking": (UPSTREAM, EXTRACTIVE, GENERATOR),
    "marketing": (EXTRACTIVE, UPSTREAM),
    "risk": (EXTRACTIVE,),
    "together": (UPSTREAM, GENERATOR, EXTRACTIVE),
    "running": (EXTRACTIVE, UPSTREAM, GENERATOR),
}
"""Kinds by scenario, best first; a kind that is not named is not used. Where facts count, what only quotes comes first."""

SCENARIOS: Final = frozenset(_PREFERENCES)

_NEXT: Final = frozenset({"NO_LEASE", "ASKS_WAIT", "ENGINE_FAILED", "ENGINE_BUSY", "SANDBOX_ENDED", "SANDBOX_BUSY", "SANDBOX_REFUSED", "NO_CAPACITY", "SERVER_NOT_READY"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """An engine that could be asked now. name: of the model; waiting: asks before this one, -1 where it does not answer."""

    name: str
    kind: str
    place: str = "inside"
    waiting: int = 0


def choose(scenario: str, available: Iterable[Candidate], *, behind: bool = True) -> list[str]:
    """Names to try, one after the other; empty where none may be used. behind: whether the data may leave the sandbox for its engine.

    Within a kind the one with fewer asks before comes first, then by name. ValueError for a scenario that is none.
    """
    if scenario not in _PREFERENCES:
        raise ValueError("no such scenario")
    order = _PREFERENCES[scenario]
    fit = [one for one in available if one.kind in order and one.waiting >= 0 and (behind or one.place == "inside")]
    return [one.name for one in sorted(fit, key=lambda one: (order.index(one.kind), one.waiting, one.name))]


def falls_back(code: str) -> bool:
    """Whether the next engine is tried after this failure; refusals of rules and of people are final everywhere."""
    return code in _NEXT
