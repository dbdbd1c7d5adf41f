"""What people fill in on the pages of leases, operation by operation; docs/sandbox-design.md section 5."""

from __future__ import annotations

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
BUDGET = Act("inference.budget_set", (Field("fen", "number"), _REASON), password=True)
CLEAN = Act("inference.server_clean")
DRAIN = Act("inference.server_drain")
ADD = Act("inference.server_add", (Field("dedicated", "choice"),))
TARIFF = Act("inference.tariff_set", (Field("fen_per_card_minute", "number"), _REASON), password=True, about=True)
FREEZE = Act("inference.freeze_set", (Field("begins"), Field("hours", "number", default=2), _REASON), shape=_window)

LEASE_ACTS = (ORDER, CHANGE)
RULE_ACTS = (SCALER, BUDGET)
STATEMENT_ACTS = (SETTLE,)
SERVER_ACTS = (CLEAN, DRAIN)
PROVIDER_ACTS = (ADD, TARIFF, FREEZE)
EVERY = (*LEASE_ACTS, RELEASE, *RULE_ACTS, *STATEMENT_ACTS, *SERVER_ACTS, *PROVIDER_ACTS)

__all__ = [
    "ADD", "BUDGET", "CHANGE", "CLEAN", "DRAIN", "EVERY", "FREEZE", "LEASE_ACTS", "ORDER", "PROVIDER_ACTS", "RELEASE", "RULE_ACTS", "SCALER", "SERVER_ACTS", "SETTLE", "STATEMENT_ACTS",
    "TARIFF",
]  # fmt: skip
