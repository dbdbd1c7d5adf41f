"""How many fall into each month (or another step of time): columns, each with its number in words a reader can hear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_count, check_keys
from .plain import PlainList, PlainText


class MonthBars(Component):
    """A row of columns on one scale.

    bars: ``{label, count, soon?, title?}`` in order of time; ``soon`` marks those that need somebody now (hatched, so that colour
    is not the only sign); ``title`` is shown on pointing. unit: what is counted, for readers of the picture by ear.
    """

    script: ClassVar[str] = "month_bars"

    bars = PlainList().tag(sync=True)
    unit = PlainText().tag(sync=True)

    @traitlets.validate("bars")
    def _bars_are_counts(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, bar in enumerate(proposal["value"]):
            check_keys(bar, f"bars[{number}]", required=("label", "count"), optional=("soon", "title"))
            check_count(bar["count"], f"bars[{number}].count")
        return proposal["value"]


__all__ = ["MonthBars"]
