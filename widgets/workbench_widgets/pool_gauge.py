"""How many keys lie in a pool, and for how long they last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_keys
from .plain import PlainList, PlainText


class PoolGauge(Component):
    """A meter with its low-water mark, and facts below it.

    count, capacity, low_water: whole numbers of keys; unit: what is counted. rows: ``{label, value, state?}`` such as flow in
    and out, forecast, origin.
    """

    script: ClassVar[str] = "pool_gauge"

    count = traitlets.Int(0, min=0).tag(sync=True)
    capacity = traitlets.Int(0, min=0).tag(sync=True)
    low_water = traitlets.Int(0, min=0).tag(sync=True)
    unit = PlainText().tag(sync=True)
    rows = PlainList().tag(sync=True)

    @traitlets.validate("rows")
    def _rows_are_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, row in enumerate(proposal["value"]):
            check_keys(row, f"rows[{number}]", required=("label", "value"), optional=("state",))
        return proposal["value"]


__all__ = ["PoolGauge"]
