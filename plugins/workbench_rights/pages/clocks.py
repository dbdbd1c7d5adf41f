"""How the desk tells its clocks: working days left, due day, in words and in the colour of their state. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Case = Mapping[str, Any]
SOON_DAYS = 2


def clock(case: Case, t: Callable[..., str], *, is_open: bool) -> dict[str, Any]:
    """The chip of a case: overdue, due today, days left; nothing runs once it is done."""
    if not is_open:
        return {"state": "neutral", "label": t("clock.done")}
    left = int(case["days_left"])
    if case["is_overdue"]:
        return {"state": "failed", "label": t("clock.overdue", days=abs(left)) if left < 0 else t("clock.overdue_today")}
    if left <= 0:
        return {"state": "pending", "label": t("clock.today")}
    return {"state": "pending" if left <= SOON_DAYS else "running", "label": t("clock.left", days=left)}


def due(case: Case, t: Callable[..., str]) -> str:
    """The due day, marked where no table of holidays reached it."""
    return t("clock.estimated", day=case["due_day"]) if case["is_estimated"] else str(case["due_day"])


def unbroken(day: str) -> str:
    """A day for a narrow column: it is not broken at its hyphens."""
    return day.replace("-", "\u2011")


def first_due(cases: Sequence[Case]) -> Case | None:
    """The open case whose time ends first."""
    return min(cases, key=lambda one: int(one["due_ms"]), default=None)


__all__ = ["SOON_DAYS", "clock", "due", "first_due", "unbroken"]
