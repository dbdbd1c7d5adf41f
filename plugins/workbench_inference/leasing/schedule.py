"""The calendar 排期: peak lease and night release, in Asia/Shanghai.

Document: docs/protocols/sandbox.md section 4 (a calendar makes one order a day). Pure. A calendar never says how many cards at
most: that is the order's. It says the fewest in a stretch of the day, and when everything is given back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from workbench.clock import SHANGHAI
from workbench.errors import InvalidRequest

WORKING_DAYS: Final = (1, 2, 3, 4, 5)
_MEMBERS: Final = frozenset({"peak", "release_at", "opens_at", "days", "closed", "peak_cards", "other_cards", "is_on"})


@dataclass(frozen=True, slots=True)
class Calendar:
    """peak: stretches of a day in which peak_cards are the fewest; between opens_at and release_at otherwise other_cards.

    days: ISO weekdays, Monday 1. closed: days on which nothing is leased all the same. is_on: whether orders are made by it.
    """

    peak: tuple[tuple[time, time], ...]
    opens_at: time
    release_at: time
    days: tuple[int, ...] = WORKING_DAYS
    closed: frozenset[date] = frozenset()
    peak_cards: int = 2
    other_cards: int = 2
    is_on: bool = False

    def __post_init__(self) -> None:
        if not self.opens_at < self.release_at or self.other_cards < 1 or self.peak_cards < self.other_cards:
            raise ValueError("a day opens before it ends, and a peak has no fewer cards than the rest")
        if any(not start < stop for start, stop in self.peak) or not set(self.days) <= set(range(1, 8)):
            raise ValueError("a peak ends after it begins; days are 1 to 7")


def parse_calendar(value: Mapping[str, Any]) -> Calendar:
    """The calendar that a setting or an operation writes. Raises InvalidRequest with what is wrong."""
    try:
        if not set(value) <= _MEMBERS:
            raise ValueError(f"unknown: {', '.join(sorted(set(value) - _MEMBERS))}")
        peak = tuple((time.fromisoformat(start), time.fromisoformat(stop)) for start, stop in value.get("peak", ()))
        opens = time.fromisoformat(value["opens_at"]) if "opens_at" in value else min((start for start, _ in peak), default=time(9))
        return Calendar(
            peak=peak, opens_at=opens, release_at=time.fromisoformat(str(value["release_at"])), days=tuple(value.get("days", WORKING_DAYS)),
            closed=frozenset(date.fromisoformat(one) for one in value.get("closed", ())), peak_cards=int(value.get("peak_cards", 2)),
            other_cards=int(value.get("other_cards", 2)), is_on=bool(value.get("is_on", False)),
        )  # fmt: skip
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidRequest(
            "排期不成立：应写明 peak（高峰起止）、release_at（释放时刻），可写 opens_at、days（1 至 7）、closed（日期）、peak_cards、other_cards、is_on",
            f"the calendar does not hold ({error}): peak, release_at, and if wanted opens_at, days (1 to 7), closed (dates), peak_cards, other_cards, is_on",
            code="CALENDAR",
        ) from error


def format_calendar(calendar: Calendar) -> dict[str, Any]:
    """What `parse_calendar` reads, every member written out."""
    return {
        "peak": [[f"{start:%H:%M}", f"{stop:%H:%M}"] for start, stop in calendar.peak], "opens_at": f"{calendar.opens_at:%H:%M}",
        "release_at": f"{calendar.release_at:%H:%M}", "days": list(calendar.days), "closed": sorted(one.isoformat() for one in calendar.closed),
        "peak_cards": calendar.peak_cards, "other_cards": calendar.other_cards, "is_on": calendar.is_on,
    }  # fmt: skip


def wanted_by_calendar(calendar: Calendar, at: datetime) -> int:
    """The fewest cards at this instant; 0 when everything is given back. at: aware."""
    local = at.astimezone(SHANGHAI)
    clock = local.time().replace(tzinfo=None)
    if not is_open_day(calendar, local.date()) or not calendar.opens_at <= clock < calendar.release_at:
        return 0
    return calendar.peak_cards if any(start <= clock < stop for start, stop in calendar.peak) else calendar.other_cards


def is_open_day(calendar: Calendar, day: date) -> bool:
    """Whether anything is leased on this day."""
    return day.isoweekday() in calendar.days and day not in calendar.closed


def window_of(calendar: Calendar, at: datetime) -> tuple[datetime, datetime] | None:
    """From when until when the lease of this day runs, beginning no earlier than `at`; None when the day has none left."""
    local = at.astimezone(SHANGHAI)
    if not is_open_day(calendar, local.date()):
        return None
    opens = datetime.combine(local.date(), calendar.opens_at, SHANGHAI)
    release = datetime.combine(local.date(), calendar.release_at, SHANGHAI)
    return (max(opens, local), release) if local < release else None


def next_opening(calendar: Calendar, at: datetime) -> datetime | None:
    """When the next window begins, at most 31 days ahead; `at` itself inside one; None without any."""
    local = at.astimezone(SHANGHAI)
    for ahead in range(32):
        day = local.date() + timedelta(days=ahead)
        found = window_of(calendar, local if ahead == 0 else datetime.combine(day, time(0), SHANGHAI))
        if found is not None:
            return found[0]
    return None


__all__ = ["WORKING_DAYS", "Calendar", "format_calendar", "is_open_day", "next_opening", "parse_calendar", "wanted_by_calendar", "window_of"]
