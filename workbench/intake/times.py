"""Dates and times of consents, as instants in milliseconds.

A bare date includes its whole day in Asia/Shanghai: as a start it means the day's first instant, as an end the first
instant of the next day, because the end of a grant is exclusive. A time without zone is Shanghai time.
Document: docs/intake.md. Mainland China has had UTC+8 all year since 1992; earlier dates are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from workbench.domain.identifiers import EMPTY_WORDS, fold_cell

SHANGHAI: Final = timezone(timedelta(hours=8), "Asia/Shanghai")
FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 2100

_WHOLE = re.compile(
    r"(?P<year>[0-9]{4})"
    r"(?:(?P<mark>[-/.])(?P<m1>[0-9]{1,2})(?P=mark)(?P<d1>[0-9]{1,2})"
    r"|年(?P<m2>[0-9]{1,2})月(?P<d2>[0-9]{1,2})日"
    r"|(?P<m3>[0-9]{2})(?P<d3>[0-9]{2}))"
    r"(?:[T ] *(?P<time>(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:[.,](?P<part>[0-9]{1,9}))?)?)"
    r" *(?P<zone>[Zz]|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_SERIAL = re.compile(r"[0-9]{5}(?:\.[0-9]+)?")
_MIDNIGHT_AT_THE_END = re.compile(r"24:00(?::00(?:[.,]0+)?)?")
_MIDNIGHT = re.compile(r"0{1,2}:00(?::00(?:[.,]0+)?)?")


@dataclass(frozen=True, slots=True)
class GrantTime:
    """An instant in milliseconds since the epoch, or a fault (a code of ROW_REASONS)."""

    at_ms: int | None = None
    fault: str | None = None


def parse_grant_time(text: str | None, *, is_end: bool, from_sheet: bool = False) -> GrantTime:
    """The instant a cell means.

    is_end: the cell ends a grant, so a bare date means the start of the next day.
    from_sheet: the cell comes from a workbook, where a date arrives with the time 00:00:00; it counts as a bare date.
    """
    folded = fold_cell(text or "")
    if not folded or folded.lower() in EMPTY_WORDS:
        return GrantTime(fault="TIME_MISSING")
    found = _WHOLE.fullmatch(folded)
    if found is None:
        return GrantTime(fault="TIME_SERIAL" if _SERIAL.fullmatch(folded) else "TIME_FORMAT")
    month, day = (found[f"{unit}1"] or found[f"{unit}2"] or found[f"{unit}3"] for unit in "md")
    time_text = found["time"]
    is_date = time_text is None or (from_sheet and not found["zone"] and _MIDNIGHT.fullmatch(time_text) is not None)
    try:
        start = datetime(int(found["year"]), int(month), int(day), tzinfo=SHANGHAI)
        if not FIRST_YEAR <= start.year < LAST_YEAR:
            return GrantTime(fault="TIME_RANGE")
        if is_date:
            return GrantTime(_milliseconds(start + timedelta(days=1) if is_end else start))
        if is_end and _MIDNIGHT_AT_THE_END.fullmatch(time_text or "") and not found["zone"]:
            return GrantTime(_milliseconds(start + timedelta(days=1)))
        instant = start.replace(
            hour=int(found["hour"]),
            minute=int(found["minute"]),
            second=int(found["second"] or 0),
            microsecond=int((found["part"] or "")[:6].ljust(6, "0")),
            tzinfo=_zone(found["zone"]),
        )
        return GrantTime(_milliseconds(instant))
    except ValueError:
        return GrantTime(fault="TIME_FORMAT")


def _zone(text: str | None) -> timezone:
    if text is None:
        return SHANGHAI
    if text in "Zz":
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    if hours > 14 or minutes > 59:
        raise ValueError("no zone is further than 14 hours from UTC")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)


def _milliseconds(at: datetime) -> int:
    """Whole milliseconds since the epoch, rounded down, without passing through a float."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
