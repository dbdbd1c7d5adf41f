"""Working days of mainland China, without guessing. Document: docs/rights.md section 9; decision 0034.

Pure. The table of holidays and of days worked in lieu is that of the package chinesecalendar; for a year it does not have,
Monday to Friday count and the answer says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import chinese_calendar  # type: ignore[import-untyped]  # the package ships no type information

SHANGHAI = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True, slots=True)
class Due:
    """The last day of a term. is_estimated: some day of the term lies in a year without a table of holidays."""

    day: date
    is_estimated: bool

    @property
    def end_ms(self) -> int:
        """The instant at which the day is over in Asia/Shanghai: the term is kept before it."""
        midnight = datetime.combine(self.day + timedelta(days=1), datetime.min.time(), SHANGHAI)
        return int(midnight.timestamp() * 1000)


def known_years() -> tuple[int, int]:
    """First and last year the table has."""
    years = [day.year for day in chinese_calendar.holidays]
    return min(years), max(years)


def is_working_day(day: date) -> tuple[bool, bool]:
    """(whether people work that day, whether that is an estimate)."""
    first, last = _YEARS
    if first <= day.year <= last:
        return bool(chinese_calendar.is_workday(day)), False
    return day.weekday() < 5, True


def due(received: date, days: int) -> Due:
    """The `days`-th working day after `received`, which itself does not count. days: 0 or more."""
    if days < 0:
        raise ValueError("a term has no negative number of days")
    day, left, estimated = received, days, False
    while left:
        day += timedelta(days=1)
        works, guessed = is_working_day(day)
        estimated |= guessed
        left -= works
    return Due(day, estimated)


def days_left(today: date, last: date) -> int:
    """Working days after today up to and including `last`; negative: those that have passed since."""
    step = 1 if last >= today else -1
    start, stop = (today, last) if step > 0 else (last, today)
    between = (start + timedelta(days=one + 1) for one in range((stop - start).days))
    return step * sum(is_working_day(day)[0] for day in between)


_YEARS = known_years()

__all__ = ["Due", "days_left", "due", "is_working_day", "known_years"]
