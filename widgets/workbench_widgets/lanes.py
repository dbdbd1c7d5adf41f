"""Who sent what when: one lane per institution, time downwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_count, check_keys, check_lanes
from .plain import PlainList

ROW_KINDS = ("act", "message", "checkpoint")
ROW_STATES = ("sealed", "pending", "refused", "failed", "tampered")


class Lanes(Component):
    """A lane diagram of entries; only the rows in sight are drawn, so 1,000 rows stay fluent.

    lanes: parties ``{party, tile, name, mine?}`` in the fixed order of the letters.
    rows: ``{index, time_ms, kind, text, state, from?, to?, id?}`` in the order of the log; ``kind`` is ``act`` (dot),
    ``message`` (arrow) or ``checkpoint`` (pill); ``state`` is one of :data:`ROW_STATES`.
    offset, total: ``rows`` are those from ``offset`` on out of ``total``; the event ``page`` asks for others.
    selected: index of the chosen row, set by both sides; height: of the visible part, in pixels.
    Events ``select`` with ``{index, id}`` and ``page`` with ``{offset, limit}``.
    """

    script: ClassVar[str] = "lanes"
    written: ClassVar[tuple[str, ...]] = ("selected",)
    events: ClassVar[Mapping[str, str]] = {
        "select": "an entry was chosen: {index, id}",
        "page": "rows outside the window are wanted: {offset, limit}",
    }

    lanes = PlainList().tag(sync=True)
    rows = PlainList().tag(sync=True)
    offset = traitlets.Int(0, min=0).tag(sync=True)
    total = traitlets.Int(0, min=0).tag(sync=True)
    selected = traitlets.Int(None, allow_none=True).tag(sync=True)
    height = traitlets.Int(480, min=96, max=2000).tag(sync=True)

    @traitlets.validate("lanes")
    def _lanes_are_parties(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        return check_lanes(proposal["value"])

    @traitlets.validate("rows")
    def _rows_are_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        last = -1
        for number, row in enumerate(proposal["value"]):
            where = f"rows[{number}]"
            check_keys(
                row, where, required=("index", "time_ms", "kind", "text", "state"), optional=("from", "to", "id")
            )
            if row["kind"] not in ROW_KINDS or row["state"] not in ROW_STATES:
                raise ValueError(f"{where}: kind one of {ROW_KINDS}, state one of {ROW_STATES}")
            check_count(row["time_ms"], f"{where}.time_ms")
            if check_count(row["index"], f"{where}.index") <= last:
                raise ValueError(f"{where}.index: must rise from row to row")
            last = row["index"]
        return proposal["value"]
