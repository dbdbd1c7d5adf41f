"""Example data of the components that the pages of leases use; see samples."""

from __future__ import annotations

from typing import Any

from . import Component, CostCurve, LeaseBar

Data = dict[str, Any]  # Any: the plain data of a component differs from one to the next


def leasing_samples(at_ms: int) -> list[tuple[type[Component], str, Data]]:
    """(component, title, traits) of a lease at ease, of one near its end and its budget, and of a week's cost."""
    minute = 60_000
    lease = {
        "lease": "L-20261121-0a1b2c3d", "title": "抽取式 1.2", "chips": [{"state": "running", "label": "在租"}, {"state": "neutral", "label": "共享池"}, {"state": "neutral", "label": "沙箱：进程级"}],
        "cards": 3, "most_cards": 10, "from_ms": at_ms - 90 * minute, "until_ms": at_ms + 150 * minute, "now_ms": at_ms, "card_seconds": 13_420, "amount_fen": 6_710,
        "price_fen": 30, "budget_fen": 12_000, "ends": "22:00 释放并擦除，镜像与密封资料留在卷中", "releasable": True,
    }  # fmt: skip
    near = {**lease, "until_ms": at_ms + 4 * minute, "amount_fen": 10_400}
    spent = {**lease, "until_ms": at_ms, "amount_fen": 12_000, "busy": True}
    days = [{"label": f"11-{day}", "paid_fen": 43_200 + 300 * day, "always_fen": 144_000, "card_seconds": 86_400 + 600 * day, "note": "假日" if day == 21 else ""} for day in range(15, 22)]
    return [
        (LeaseBar, "at ease", lease),
        (LeaseBar, "near its end and its budget", near),
        (LeaseBar, "over", spent),
        (LeaseBar, "without a budget", {**lease, "budget_fen": 0, "releasable": False, "ends": ""}),
        (CostCurve, "a week", {"points": days, "budget_fen": 500_000}),
        (CostCurve, "one day", {"points": days[:1]}),
    ]


__all__ = ["leasing_samples"]
