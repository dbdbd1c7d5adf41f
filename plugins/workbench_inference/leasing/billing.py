"""Card-seconds 卡·秒 and what they cost: whole numbers only, from the cards that count to the amount in 分.

Document: docs/protocols/sandbox.md section 9. Pure. Seconds are those of the lease, counted from its start by one end's own
running clock, so that clocks which differ give the same meter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

TOLERANCE_S: Final = 2
"""Seconds by which the two ends may differ, for each card that counts."""
UNANSWERED: Final = 10
"""So many ticks without an answer end a lease: nobody there pays."""
CLAIM_AFTER_S: Final = 30
"""A card counts from its first evidence, or so long after its sandbox was ready if nobody asked."""


@dataclass(frozen=True, slots=True)
class Span:
    """One card that counts, from second `from_s` of the lease; until_s: None while it does."""

    server: str
    from_s: int
    until_s: int | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Seconds from_s ≤ s < to_s in which the same number of cards counted."""

    from_s: int
    to_s: int
    cards: int

    @property
    def card_seconds(self) -> int:
        return self.cards * (self.to_s - self.from_s)


def amount_fen(card_seconds: int, fen_per_card_minute: int) -> int:
    """⌊card-seconds · 分 per card-minute / 60⌋."""
    if card_seconds < 0 or fen_per_card_minute < 0:
        raise ValueError("neither card-seconds nor a price is negative")
    return card_seconds * fen_per_card_minute // 60


def card_minutes(card_seconds: int) -> str:
    """As an invoice shows it: two decimals, rounded down."""
    hundredths = card_seconds * 100 // 60
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def yuan(fen: int) -> str:
    """An amount in 元 with its two decimals, exactly."""
    sign = "-" if fen < 0 else ""
    return f"{sign}{abs(fen) // 100}.{abs(fen) % 100:02d}"


def second_of(started_ms: int, now_ms: int) -> int:
    """Whole seconds of a lease that have passed; a started one does not count."""
    return max(0, (now_ms - started_ms) // 1000)


def cards_at(spans: Iterable[Span], second: int) -> int:
    """How many cards counted in this second."""
    return sum(1 for one in spans if one.from_s <= second and (one.until_s is None or second < one.until_s))


def stretches(spans: Sequence[Span], from_s: int, to_s: int) -> list[Stretch]:
    """from_s to to_s in pieces of one number of cards each, ascending, without gaps; a change of cards ends one."""
    edges = {from_s, to_s} | {
        edge for one in spans for edge in (one.from_s, one.until_s) if edge is not None and from_s < edge < to_s
    }
    ordered = sorted(edges)
    made: list[Stretch] = []
    for start, stop in pairwise(ordered):
        cards = cards_at(spans, start)
        if made and made[-1].cards == cards:
            made[-1] = Stretch(made[-1].from_s, stop, cards)
        else:
            made.append(Stretch(start, stop, cards))
    return made


def card_seconds(spans: Sequence[Span], from_s: int, to_s: int) -> int:
    """Sum over the seconds from_s ≤ s < to_s of the cards that counted."""
    return sum(max(0, min(to_s, to_s if one.until_s is None else one.until_s) - max(from_s, one.from_s)) for one in spans)


@dataclass(frozen=True, slots=True)
class Line:
    """One statement of an invoice."""

    lease: str
    card_seconds: int
    fen_per_card_minute: int
    amount_fen: int


@dataclass(frozen=True, slots=True)
class Invoice:
    """Sum of the statements of one tenant in a stretch of time; it never rounds again."""

    lines: tuple[Line, ...]
    card_seconds: int
    amount_fen: int


def invoice(lines: Iterable[Line]) -> Invoice:
    """The invoice over these statements; ValueError when an amount is not that of its own seconds and price."""
    kept = tuple(lines)
    for one in kept:
        if one.amount_fen != amount_fen(one.card_seconds, one.fen_per_card_minute):
            raise ValueError(f"statement of {one.lease}: the amount is not that of its card-seconds")
    return Invoice(kept, sum(one.card_seconds for one in kept), sum(one.amount_fen for one in kept))


@dataclass(frozen=True, slots=True)
class Costs:
    """What was paid beside what the same stretch of time would have cost with the peak's cards always on, in 分."""

    card_seconds: int
    amount_fen: int
    always_card_seconds: int
    always_fen: int

    @property
    def saved_fen(self) -> int:
        return self.always_fen - self.amount_fen

    @property
    def saved_permille(self) -> int:
        """Share of the always-on price that was not spent, in thousandths, rounded down; 0 where nothing would have been."""
        return self.saved_fen * 1000 // self.always_fen if self.always_fen > 0 else 0


def compare_always_on(*, card_seconds: int, amount: int, from_ms: int, until_ms: int, peak_cards: int, fen_per_card_minute: int) -> Costs:
    """Beside `peak_cards` that run from from_ms to until_ms without a break."""
    always = peak_cards * max(0, (until_ms - from_ms) // 1000)
    return Costs(card_seconds, amount, always, amount_fen(always, fen_per_card_minute))


def budget_stage(spent_fen: int, budget_fen: int) -> str:
    """"" below four fifths, `near` from there on, `reached` at the budget; "" without one."""
    if budget_fen <= 0:
        return ""
    return "reached" if spent_fen >= budget_fen else "near" if 5 * spent_fen >= 4 * budget_fen else ""


__all__ = [
    "CLAIM_AFTER_S", "TOLERANCE_S", "UNANSWERED", "Costs", "Invoice", "Line", "Span", "Stretch", "amount_fen", "budget_stage", "card_minutes",
    "card_seconds", "cards_at", "compare_always_on", "invoice", "second_of", "stretches", "yuan",
]  # fmt: skip
