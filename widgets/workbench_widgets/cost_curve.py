"""What computing has cost, step by step, beside what it would have cost without a break."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_count, check_keys
from .plain import PlainList


class CostCurve(Component):
    """Two sums that grow over the same steps, the budget as a level, and every step in a table below.

    points: ``{label, paid_fen, always_fen, card_seconds?, note?}`` in order of time, each step's own; paid_fen never above
    always_fen is not demanded: a day with a difference may be. budget_fen: of all steps together, 0 for none.
    """

    script: ClassVar[str] = "cost_curve"

    points = PlainList().tag(sync=True)
    budget_fen = traitlets.Int(0, min=0).tag(sync=True)

    @traitlets.validate("points")
    def _points_are_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, point in enumerate(proposal["value"]):
            where = f"points[{number}]"
            check_keys(point, where, required=("label", "paid_fen", "always_fen"), optional=("card_seconds", "note"))
            for name in ("paid_fen", "always_fen"):
                check_count(point[name], f"{where}.{name}")
            if point.get("card_seconds") is not None:
                check_count(point["card_seconds"], f"{where}.card_seconds")
        return proposal["value"]


__all__ = ["CostCurve"]
