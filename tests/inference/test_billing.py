"""Card-seconds to 分: whole arithmetic that never rounds twice, whatever the cards did."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workbench_inference.leasing.billing import (
    Line,
    Span,
    amount_fen,
    budget_stage,
    card_minutes,
    card_seconds,
    cards_at,
    compare_always_on,
    invoice,
    second_of,
    stretches,
    yuan,
)
from workbench_inference.leasing.telling import most_at_once, passed

LONGEST = 400
spans = st.lists(
    st.tuples(st.integers(0, LONGEST), st.integers(0, LONGEST) | st.none()).map(
        lambda pair: Span("v-1", pair[0], None if pair[1] is None else max(pair))
    ),
    max_size=12,
)


@pytest.mark.parametrize(
    ("seconds", "price", "fen"), [(0, 30, 0), (1, 30, 0), (2, 30, 1), (59, 1, 0), (60, 1, 1), (13_420, 30, 6_710), (86_400, 30, 43_200), (7, 17, 1)]
)
def test_an_amount_is_rounded_down_once(seconds: int, price: int, fen: int) -> None:
    assert amount_fen(seconds, price) == fen


@given(spans, st.integers(0, LONGEST), st.integers(0, LONGEST))
def test_pieces_of_one_number_of_cards_sum_up_to_the_naive_count(some: list[Span], first: int, second: int) -> None:
    start, stop = min(first, second), max(first, second)
    naive = sum(cards_at(some, at) for at in range(start, stop))
    pieces = stretches(some, start, stop)
    assert sum(one.card_seconds for one in pieces) == naive == card_seconds(some, start, stop)
    assert [one.from_s for one in pieces] == [start, *(one.to_s for one in pieces[:-1])][: len(pieces)]
    assert all(one.cards == cards_at(some, at) for one in pieces for at in range(one.from_s, one.to_s))
    assert all(before.cards != after.cards for before, after in zip(pieces, pieces[1:], strict=False))


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**4)), max_size=20))
def test_an_invoice_is_the_sum_of_its_statements_and_refuses_another_amount(many: list[tuple[int, int]]) -> None:
    lines = [Line(f"L-{at}", seconds, price, amount_fen(seconds, price)) for at, (seconds, price) in enumerate(many)]
    made = invoice(lines)
    assert made.amount_fen == sum(one.amount_fen for one in lines) and made.card_seconds == sum(one.card_seconds for one in lines)
    if lines:
        wrong = Line(lines[0].lease, lines[0].card_seconds, lines[0].fen_per_card_minute, lines[0].amount_fen + 1)
        with pytest.raises(ValueError, match="amount"):
            invoice([wrong, *lines[1:]])


def test_card_minutes_and_yuan_are_shown_rounded_down_and_exact() -> None:
    assert (card_minutes(13_420), card_minutes(59), card_minutes(0)) == ("223.66", "0.98", "0.00")
    assert (yuan(86_310), yuan(5), yuan(0), yuan(-105)) == ("863.10", "0.05", "0.00", "-1.05")


def test_a_started_second_does_not_count() -> None:
    assert [second_of(1_000, at) for at in (1_000, 1_999, 2_000, 500)] == [0, 0, 1, 0]


def test_the_budget_is_near_at_four_fifths_and_reached_at_its_end() -> None:
    assert [budget_stage(spent, 100) for spent in (79, 80, 99, 100, 101)] == ["", "near", "near", "reached", "reached"]
    assert budget_stage(10**9, 0) == ""


def test_what_was_paid_is_held_against_cards_that_never_stop() -> None:
    found = compare_always_on(card_seconds=36_000, amount=18_000, from_ms=0, until_ms=86_400_000, peak_cards=10, fen_per_card_minute=30)
    assert (found.always_card_seconds, found.always_fen, found.saved_fen, found.saved_permille) == (864_000, 432_000, 414_000, 958)


def test_a_day_that_is_not_over_is_compared_with_as_much_of_it_as_has_passed() -> None:
    """Else an hour of the morning would be said to have saved nearly all of a day."""
    day = date(2026, 11, 23)
    begins = int(datetime(2026, 11, 22, 16, tzinfo=UTC).timestamp() * 1000)  # midnight of Shanghai
    assert passed(day, begins + 3_600_000) == (begins, begins + 3_600_000)
    assert passed(day, begins - 1) == (begins, begins), "a day that has not begun"
    assert passed(day, begins + 200_000_000) == (begins, begins + 86_400_000), "a day that is over"
    found = compare_always_on(card_seconds=3_600, amount=3_600, from_ms=begins, until_ms=passed(day, begins + 3_600_000)[1], peak_cards=1, fen_per_card_minute=60)
    assert (found.always_fen, found.saved_fen) == (3_600, 0)


def test_cards_of_several_leases_count_where_they_ran_beside_each_other() -> None:
    """Else two leases of one card each would be compared with one card that never stops, and seem dearer than it."""
    assert most_at_once([]) == 0
    assert most_at_once([(0, 60, 2), (60, 120, 2)]) == 2, "one after the other"
    assert most_at_once([(0, 60, 2), (30, 90, 1)]) == 3
    every = [(7 * one % 50, 7 * one % 50 + one % 9 + 1, one % 4 + 1) for one in range(40)]
    assert most_at_once(every) == max(sum(cards for start, stop, cards in every if start <= at < stop) for at in range(60))
