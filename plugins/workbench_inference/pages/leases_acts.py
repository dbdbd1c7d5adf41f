"""What people fill in on the pages of leases, operation by operation; docs/sandbox-design.md section 5."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from workbench.app.parts.acting import Act, Field
from workbench.errors import InvalidRequest

SHANGHAI: Final = timezone(timedelta(hours=8))
_REASON: Final = Field("reason")


def _window(values: dict[str, Any]) -> dict[str, Any]:
    """From a beginning as people write it and a number of hours to two times. Raises InvalidRequest BAD_TIME."""
    try:
        begin = datetime.strptime(str(values["begins"]), "%Y-%m-%d %H:%M").replace(tzinfo=SHANGHAI)
    except ValueError as error:
        raise InvalidRequest("起始时间写成 2026-11-30 22:00（北京时间）", "The beginning is written 2026-11-30 22:00 (Asia/Shanghai)", code="BAD_TIME") from error
    from_ms = int(begin.timestamp() * 1000)
    return {"from_ms": from_ms, "until_ms": from_ms + 3_600_000 * int(values["hours"] or 0), "reason": values["reason"]}


_TIME: Final = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d")


def _calendar(values: dict[str, Any]) -> dict[str, Any]:
    """Times and days as the operation takes them. Raises InvalidRequest CALENDAR, before a password is asked for."""
    peak = [one.replace("–", "-").replace("—", "-").replace("~", "-").replace("至", "-") for one in values["peak"]]
    clocks = [values["opens_at"], values["release_at"], *(clock for one in peak for clock in (one.split("-") if one.count("-") == 1 else [""]))]
    if not all(_TIME.fullmatch(one) for one in clocks):
        raise InvalidRequest("时刻写成 09:00，高峰写成 09:00-15:30，多段用空格分开", "Times are written 09:00, a peak 09:00-15:30, several with spaces between them", code="CALENDAR")
    if not values["opens_at"] < values["release_at"] or any(not start < stop for start, stop in (one.split("-") for one in peak)):
        raise InvalidRequest("止须晚于起：开租早于释放，高峰的止晚于起", "An end comes after its beginning: opening before release, and the end of a peak after its beginning", code="CALENDAR")
    if not values["days"]:
        raise InvalidRequest("至少选一天；不再自动租，就去掉「按排期租」", "Choose a day at least; to order nothing any more, take the tick off", code="CALENDAR")
    if not 1 <= values["other_cards"] <= values["peak_cards"]:
        raise InvalidRequest("高峰卡数不少于其余时段，其余时段至少 1 张", "A peak has no fewer cards than the rest, and the rest at least 1", code="CALENDAR")
    return {**values, "peak": peak, "days": sorted(int(one) for one in values["days"]), "image": values.get("image") or "", "most_cards": values["most_cards"] or 1}


def _without_lease(values: dict[str, Any]) -> dict[str, Any]:
    """An order is of no lease yet; the form beside it is."""
    return {name: value for name, value in values.items() if name != "lease"}


ORDER = Act(
    "inference.lease_order",
    (
        Field("image", "choice"), Field("cards", "number", default=1), Field("most_cards", "number", default=1), Field("hours", "number", default=8),
        Field("pool", "choice", ("shared", "dedicated")), Field("mode", "choice", ("run", "debug")), Field("budget_fen", "number"), Field("keep", "tick", default=True), _REASON,
    ),
    password=True, about=True, shape=_without_lease,
)  # fmt: skip
CHANGE = Act("inference.lease_change", (Field("cards", "number", default=1), _REASON))
RELEASE = Act("inference.lease_release", (_REASON,))
SETTLE = Act("inference.settle", (Field("card_seconds", "number"), _REASON), password=True, about=True)
SCALER = Act(
    "inference.scaler_set",
    (Field("least", "number", default=2), Field("most", "number", default=10), Field("queue_per_server", "number", default=4), Field("wait_s", "number", default=30), Field("cooldown_s", "number", default=60), _REASON),
    password=True,
)  # fmt: skip
SCHEDULE = Act(
    "inference.schedule_set",
    (
        Field("is_on", "tick", label="schedule_on"), Field("days", "choices", tuple("1234567")), Field("opens_at", default="09:00"), Field("release_at", default="22:00"),
        Field("peak", "words"), Field("peak_cards", "number", default=2), Field("other_cards", "number", default=2), Field("closed", "words"), Field("image", "choice"),
        Field("most_cards", "number", default=3), Field("pool", "choice", ("shared", "dedicated")), Field("budget_fen", "number"), _REASON,
    ),
    password=True, shape=_calendar, about=True,
)  # fmt: skip
BUDGET = Act("inference.budget_set", (Field("fen", "number"), _REASON), password=True)
CLEAN = Act("inference.server_clean")
DRAIN = Act("inference.server_drain")
ADD = Act("inference.server_add", (Field("dedicated", "choice"),))
TARIFF = Act("inference.tariff_set", (Field("fen_per_card_minute", "number"), _REASON), password=True, about=True)
FREEZE = Act("inference.freeze_set", (Field("begins"), Field("hours", "number", default=2), _REASON), shape=_window)

PROBE = Act("inference.probe")
SERVICE_KEY = Act("inference.service_key_make", password=True)

LEASE_ACTS = (ORDER, CHANGE)
RULE_ACTS = (SCALER, BUDGET)
CALENDAR_ACTS = (SCHEDULE,)
KEY_ACTS = (SERVICE_KEY,)
PROBE_ACTS = (PROBE,)
STATEMENT_ACTS = (SETTLE,)
SERVER_ACTS = (CLEAN, DRAIN)
PROVIDER_ACTS = (ADD, TARIFF, FREEZE)
EVERY = (*LEASE_ACTS, RELEASE, *RULE_ACTS, *CALENDAR_ACTS, *KEY_ACTS, *PROBE_ACTS, *STATEMENT_ACTS, *SERVER_ACTS, *PROVIDER_ACTS)

__all__ = [
    "ADD", "BUDGET", "CALENDAR_ACTS", "CHANGE", "CLEAN", "DRAIN", "EVERY", "FREEZE", "KEY_ACTS", "LEASE_ACTS", "ORDER", "PROBE", "PROBE_ACTS", "PROVIDER_ACTS", "RELEASE", "RULE_ACTS", "SCALER", "SCHEDULE", "SERVER_ACTS", "SERVICE_KEY", "SETTLE", "STATEMENT_ACTS",
    "TARIFF",
]  # fmt: skip
