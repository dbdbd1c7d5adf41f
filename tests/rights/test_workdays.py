"""Working days of mainland China against days known from the State Council's notices, and beyond the table. docs/rights.md 9."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workbench_rights.workdays import days_left, due, is_working_day, known_years

# Notices of the State Council's General Office on holidays of 2025 (2024-11-12) and 2026 (2025-11-04), as the package states them.
OFF = ["2025-10-01", "2025-10-08", "2026-01-01", "2026-02-17", "2026-10-01", "2026-10-07", "2026-09-25"]
IN_LIEU = ["2025-09-28", "2025-10-11", "2026-02-28", "2026-09-20", "2026-10-10"]


def test_holidays_are_off_and_days_in_lieu_are_worked() -> None:
    assert [is_working_day(date.fromisoformat(one)) for one in OFF] == [(False, False)] * len(OFF)
    assert [is_working_day(date.fromisoformat(one)) for one in IN_LIEU] == [(True, False)] * len(IN_LIEU)


@pytest.mark.parametrize(
    ("received", "last"),
    [
        ("2026-09-29", "2026-10-14"),  # 30 | National Day 1 to 7 | 8 9, Saturday 10 worked in lieu | 12 13 14
        ("2026-09-30", "2026-10-15"),
        ("2026-10-03", "2026-10-15"),  # on a holiday: counts from the first working day
        ("2026-11-02", "2026-11-11"),
        ("2026-02-13", "2026-03-02"),  # 14 worked in lieu | Spring Festival 15 to 23 | 24 25 26 27, 28 in lieu
    ],
)
def test_seven_working_days_over_the_holidays(received: str, last: str) -> None:
    assert due(date.fromisoformat(received), 7).day.isoformat() == counted(received, 7) == last


def counted(received: str, days: int) -> str:
    """The naive way: write the days off down by hand and count."""
    off = {date(2026, 10, 1) + timedelta(days=one) for one in range(7)} | {date(2026, 2, 15) + timedelta(days=one) for one in range(9)}
    worked = {date(2026, 10, 10), date(2026, 2, 14), date(2026, 2, 28), date(2026, 9, 20)}
    day = date.fromisoformat(received)
    while days:
        day += timedelta(days=1)
        days -= day in worked or (day.weekday() < 5 and day not in off)
    return day.isoformat()


def test_the_term_ends_when_the_last_day_is_over_in_shanghai() -> None:
    end = due(date(2026, 9, 29), 7).end_ms
    assert datetime.fromtimestamp(end / 1000, ZoneInfo("Asia/Shanghai")).isoformat() == "2026-10-15T00:00:00+08:00"


def test_beyond_the_table_nothing_is_guessed_and_the_answer_says_so() -> None:
    last = known_years()[1]
    beyond = due(date(last, 12, 29), 7)
    assert beyond.is_estimated and beyond.day.year == last + 1
    assert is_working_day(date(last + 1, 10, 1)) == (date(last + 1, 10, 1).weekday() < 5, True)
    assert not due(date(last, 11, 2), 7).is_estimated
    assert due(date(1999, 5, 3), 3) == due(date(1999, 5, 3), 3) and due(date(1999, 5, 3), 3).is_estimated


@given(st.dates(date(2020, 1, 1), date(2030, 12, 31)), st.integers(0, 40))
def test_days_left_is_the_inverse_of_due(received: date, days: int) -> None:
    assert days_left(received, due(received, days).day) == days
    assert days_left(due(received, days).day, received) <= 0


def test_a_term_of_no_days_ends_today_and_none_is_negative() -> None:
    assert due(date(2026, 10, 1), 0).day == date(2026, 10, 1)
    with pytest.raises(ValueError):
        due(date(2026, 10, 1), -1)
