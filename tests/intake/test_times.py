"""Dates of consents: a bare date includes its whole day in Shanghai."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.intake.times import parse_grant_time

_CST = timezone(timedelta(hours=8))


def _ms(*parts: int, zone: timezone = _CST) -> int:
    return int(datetime(*parts, tzinfo=zone).timestamp()) * 1000  # type: ignore[arg-type,misc]  # parts are date numbers


@pytest.mark.parametrize(
    "text", ["2025-01-31", "2025/1/31", "2025.01.31", "20250131", "2025年1月31日", " ２０２５-01-31 ", "'2025-01-31"]
)
def test_a_bare_date_starts_with_its_day_and_ends_with_the_next(text: str) -> None:
    assert parse_grant_time(text, is_end=False).at_ms == _ms(2025, 1, 31)
    assert parse_grant_time(text, is_end=True).at_ms == _ms(2025, 2, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-01-31T09:30:00+08:00", _ms(2025, 1, 31, 9, 30)),
        ("2025-01-31T09:30:00-0530", _ms(2025, 1, 31, 15, 0, zone=UTC)),
        ("2025-01-31T01:30:00Z", _ms(2025, 1, 31, 9, 30)),
        ("2025-01-31 09:30", _ms(2025, 1, 31, 9, 30)),
        ("2025/1/31 9:30:15.25", _ms(2025, 1, 31, 9, 30, 15) + 250),
        ("2025-01-31 00:00:00", _ms(2025, 1, 31)),
    ],
)
def test_a_time_means_one_instant_for_both_ends(text: str, expected: int) -> None:
    assert parse_grant_time(text, is_end=True).at_ms == expected
    assert parse_grant_time(text, is_end=False).at_ms == expected


def test_a_date_cell_of_a_workbook_counts_as_a_bare_date() -> None:
    assert parse_grant_time("2025-01-31 00:00:00", is_end=True, from_sheet=True).at_ms == _ms(2025, 2, 1)
    assert parse_grant_time("2025-01-31 00:00:01", is_end=True, from_sheet=True).at_ms == _ms(2025, 1, 31) + 1000
    with_zone = parse_grant_time("2025-01-31 00:00:00+08:00", is_end=True, from_sheet=True)
    assert with_zone.at_ms == _ms(2025, 1, 31)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (None, "TIME_MISSING"),
        (" - ", "TIME_MISSING"),
        ("45678", "TIME_SERIAL"),
        ("45678.5", "TIME_SERIAL"),
        ("2025-02-29", "TIME_FORMAT"),
        ("2025-13-01", "TIME_FORMAT"),
        ("31/01/2025", "TIME_FORMAT"),
        ("2025-01/31", "TIME_FORMAT"),
        ("2025-01-31T24:00+08:00", "TIME_FORMAT"),
        ("2025-01-31T24:00:01", "TIME_FORMAT"),
        ("2025-01-31T09:00+99:00", "TIME_FORMAT"),
        ("2025-01-31T09:00:00 Europe/Paris", "TIME_FORMAT"),
        ("长期", "TIME_FORMAT"),
        ("=TODAY()", "TIME_FORMAT"),
        ("1999-12-31", "TIME_RANGE"),
        ("9999-12-31", "TIME_RANGE"),
    ],
)
def test_what_is_not_a_date_is_refused_with_its_reason(text: str | None, fault: str) -> None:
    read = parse_grant_time(text, is_end=True)
    assert (read.at_ms, read.fault) == (None, fault)


def test_twenty_four_hours_end_a_day_and_begin_none() -> None:
    """ISO 8601 writes the end of a day so; 23:59:59 is the instant it says, one second earlier."""
    midnight = parse_grant_time("2025-01-31", is_end=True).at_ms
    assert midnight is not None
    for spelling in ("2025-01-31 24:00", "2025-01-31T24:00:00", "2025/1/31 24:00:00.000", "2025年1月31日 24:00"):
        assert parse_grant_time(spelling, is_end=True).at_ms == midnight, spelling
        assert parse_grant_time(spelling, is_end=False).fault == "TIME_FORMAT"
    assert parse_grant_time("2025-01-31 23:59:59", is_end=True).at_ms == midnight - 1000


@given(st.datetimes(datetime(2000, 1, 2), datetime(2099, 12, 30)), st.integers(-840, 840))
def test_every_instant_with_zone_is_read_exactly(at: datetime, offset_minutes: int) -> None:
    aware = at.replace(microsecond=at.microsecond // 1000 * 1000, tzinfo=timezone(timedelta(minutes=offset_minutes)))
    expected = (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert parse_grant_time(aware.isoformat(), is_end=False).at_ms == expected
