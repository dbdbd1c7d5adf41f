"""Ticks: how the provider makes the next one, and what the tenant says against one. docs/protocols/sandbox.md section 9.

Pure. The tenant's own count is the most that can have been: what it cannot have seen ended counts as running. So a provider that
claims more by over two seconds a card is always noticed, and one that claims less is agreed with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench_inference.leasing.billing import TOLERANCE_S, Stretch
from workbench_sandbox.formats.metering import (
    Answered,
    Statement,
    Tick,
    View,
    agreed_of,
    differences,
    follows,
    make_statement,
)

BATCH = 60
"""At most so many ticks are one entry."""


@dataclass(frozen=True, slots=True)
class Used:
    """What sandboxes of a lease did, summed; of a tick where a tick is made of it."""

    asks: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def plus(self, other: Used) -> Used:
        return Used(*(getattr(self, one) + getattr(other, one) for one in self.__slots__))

    def since(self, before: Used) -> Used:
        """What came after `before`; never negative."""
        return Used(*(max(0, getattr(self, one) - getattr(before, one)) for one in self.__slots__))


@dataclass(frozen=True, slots=True)
class OwnCount:
    """What a tenant counted for one tick. now_s: own second of the lease; most_cards: highest number in the tick's stretch.

    card_seconds, total_card_seconds: of the stretch and since the start, at most; disputed: card-seconds by which earlier ticks that
    differ lie above the own count; asks: sent and not in an earlier tick.
    """

    now_s: int
    most_cards: int
    card_seconds: int
    total_card_seconds: int
    asks: int
    disputed: int = 0


def next_tick(before: Tick | None, lease: str, stretch: Stretch, used: Used) -> Tick:
    """The tick over this stretch, which begins where the one before ended."""
    if stretch.from_s != (before.to_s if before else 0):
        raise ValueError("a tick begins where the one before ended")
    return Tick(
        lease=lease, number=before.number + 1 if before else 1, from_s=stretch.from_s, to_s=stretch.to_s, cards=stretch.cards,
        card_seconds=stretch.card_seconds, total_card_seconds=(before.total_card_seconds if before else 0) + stretch.card_seconds,
        asks=used.asks, tokens_in=used.tokens_in, tokens_out=used.tokens_out, bytes_in=used.bytes_in, bytes_out=used.bytes_out,
        previous=before.digest if before else "",
    )  # fmt: skip


def judge_tick(tick: Tick, before: Tick | None, own: OwnCount) -> str:
    """"" when the tenant agrees, else a reason of section 9."""
    if not follows(tick, before):
        return "chain"
    if tick.card_seconds and tick.cards > own.most_cards:
        return "cards"
    slack = TOLERANCE_S * max(1, tick.cards)
    is_more = tick.card_seconds > own.card_seconds + slack or tick.total_card_seconds - own.disputed > own.total_card_seconds + slack
    if tick.to_s > own.now_s + TOLERANCE_S or is_more:
        return "seconds"
    return "asks" if tick.asks > own.asks else ""


def view_of(tick: Tick, own: OwnCount, reason: str) -> View:
    """What the tenant signs against a tick."""
    return View(tick.digest, min(own.card_seconds, tick.card_seconds), own.total_card_seconds, max(0, own.asks), reason)


def account(lease: str, answered: Sequence[Answered], *, fen_per_card_minute: int) -> Statement:
    """The statement over all ticks up to the last answered one."""
    return make_statement(
        [one.tick for one in answered], lease=lease, agreed_card_seconds=sum(one.agreed_card_seconds for one in answered), fen_per_card_minute=fen_per_card_minute
    )


__all__ = [
    "BATCH", "Answered", "OwnCount", "Used", "account", "agreed_of", "differences", "follows", "judge_tick", "next_tick", "view_of",
]  # fmt: skip
