"""Lines on one axis: time or a number across, one panel below the other, expected range and alarms behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_keys
from .plain import PlainList, PlainText

_LOOKS = ("first", "second", "third", "points")
_MOST_POINTS = 4_000


class LineChart(Component):
    """One or more panels that share the axis across; every line has its name at its end instead of a legend.

    panels: ``{title, lines, top?, bottom?, log?, band?, bound?}``. lines: ``{label, kind, points}`` with kind first (text
    colour), second (primary), third (dashed) or points (circles); points: ``[x, y]`` with x ascending, y ``None`` for a gap. log: every y is above 0 and
    the scale logarithmic; else it begins at 0. band: ``{low, high, label}`` the expected range. bound: ``{at, label}`` a dashed level.
    timed: x is ms since the epoch; else a number with `across_label`. start, stop: ends of the axis; from the points where both are 0.
    spans: ``{start, stop, label}`` marked as alarm. marks: ``{at, label, quiet?}`` dashed uprights, in the colour of an alarm unless quiet. said: the whole in one sentence, for the ear.
    """

    script: ClassVar[str] = "line_chart"

    panels = PlainList().tag(sync=True)
    timed = traitlets.Bool(True).tag(sync=True)
    across_label = PlainText().tag(sync=True)
    start = traitlets.Float(0.0).tag(sync=True)
    stop = traitlets.Float(0.0).tag(sync=True)
    spans = PlainList().tag(sync=True)
    marks = PlainList().tag(sync=True)
    said = PlainText().tag(sync=True)

    @traitlets.validate("panels")
    def _panels_are_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, panel in enumerate(proposal["value"]):
            where = f"panels[{number}]"
            check_keys(panel, where, required=("title", "lines"), optional=("top", "bottom", "log", "band", "bound"))
            for at, line in enumerate(panel["lines"]):
                _check_line(line, f"{where}.lines[{at}]", log=bool(panel.get("log")))
            if panel.get("band"):
                check_keys(panel["band"], f"{where}.band", required=("low", "high", "label"))
            if panel.get("bound"):
                check_keys(panel["bound"], f"{where}.bound", required=("at", "label"))
        return proposal["value"]

    @traitlets.validate("spans")
    def _spans_are_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, span in enumerate(proposal["value"]):
            check_keys(span, f"spans[{number}]", required=("start", "stop"), optional=("label",))
            if span["stop"] < span["start"]:
                raise ValueError(f"spans[{number}]: ends before it begins")
        return proposal["value"]

    @traitlets.validate("marks")
    def _marks_are_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, mark in enumerate(proposal["value"]):
            check_keys(mark, f"marks[{number}]", required=("at", "label"), optional=("quiet",))
        return proposal["value"]


def _check_line(line: Any, where: str, *, log: bool) -> None:  # Any: data from the caller, checked here
    check_keys(line, where, required=("label", "kind", "points"))
    if line["kind"] not in _LOOKS:
        raise ValueError(f"{where}.kind: one of {_LOOKS} is needed")
    if len(line["points"]) > _MOST_POINTS:
        raise ValueError(f"{where}.points: at most {_MOST_POINTS}")
    last = -math.inf
    for x, y in line["points"]:
        if x < last or (y is not None and (y < 0 or (log and y <= 0))):
            raise ValueError(f"{where}.points: x must not fall and y must not be below 0")
        last = x


__all__ = ["LineChart"]
