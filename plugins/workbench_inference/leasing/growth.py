"""How many questions a minute were answered with how many cards in service, from the meters that both ends signed. Pure.

What is counted is what was asked for: a number of cards that nobody kept busy shows little, whatever it could do. So the fullest
stretch stands beside the mean of all stretches in which anything was answered. docs/benchmarks.md section 3.16 has a load test.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

STRETCH_S: Final = 60
"""Meters that follow each other with the same number of cards are put together until they are so long."""
SHORTEST_S: Final = 10
"""A remainder shorter than this says nothing about a minute."""


@dataclass(frozen=True, slots=True)
class Metered:
    """Of a tick: its lease, seconds of the lease, cards in service, questions that ended."""

    lease: str
    from_s: int
    to_s: int
    cards: int
    asks: int


@dataclass(frozen=True, slots=True)
class Growth:
    """Stretches with this many cards in which anything was answered. most, mean: answers a minute, of the fullest one and of all."""

    cards: int
    stretches: int
    seconds: int
    asks: int
    most: int
    mean: int


def stretches(ticks: Iterable[Metered]) -> list[Metered]:
    """Neighbours of one lease with the same cards, put together until STRETCH_S is reached; short remainders left out."""
    made: list[Metered] = []
    last: Metered | None = None
    for one in sorted(ticks, key=lambda tick: (tick.lease, tick.from_s)):
        continues = last is not None and (last.lease, last.cards, last.to_s) == (one.lease, one.cards, one.from_s) and last.to_s - last.from_s < STRETCH_S
        if last is not None and continues:
            last = Metered(one.lease, last.from_s, one.to_s, one.cards, last.asks + one.asks)
            continue
        if last is not None:
            made.append(last)
        last = one
    if last is not None:
        made.append(last)
    return [one for one in made if one.cards and one.to_s - one.from_s >= SHORTEST_S]


def growth(ticks: Iterable[Metered]) -> list[Growth]:
    """A row for each number of cards, fewest first. Cost: O(n log n)."""
    rows: dict[int, list[Metered]] = {}
    for one in stretches(ticks):
        if one.asks:
            rows.setdefault(one.cards, []).append(one)
    made = []
    for cards, found in sorted(rows.items()):
        seconds, asks = sum(one.to_s - one.from_s for one in found), sum(one.asks for one in found)
        made.append(Growth(cards, len(found), seconds, asks, max(60 * one.asks // (one.to_s - one.from_s) for one in found), 60 * asks // seconds))
    return made


__all__ = ["SHORTEST_S", "STRETCH_S", "Growth", "Metered", "growth", "stretches"]
