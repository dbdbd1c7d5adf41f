"""Rows of masked data, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_keys
from .plain import PlainList, PlainText

CELL_KINDS = (
    "text", "count", "change", "share", "size", "money", "time", "clock", "date",
    "mono", "masked", "token", "digest", "state", "check", "party",
)  # fmt: skip


class DataTable(Component):
    """A table whose cells are always text.

    columns: ``{key, label, kind?, align?}``, ``kind`` one of :data:`CELL_KINDS`; rows: dictionaries by column key (and
    ``id`` for the event). A cell of kind ``digest`` is ``{algorithm, hex}``, ``state`` a state or ``{state, label}``,
    ``check`` ``{ok, label}``, ``party`` ``{tile, name, mine?}``; times are milliseconds.
    page, page_size: what is shown; offset, total: ``rows`` are those from ``offset`` on out of ``total``.
    openable: a button on each row. row_actions: further buttons, ``{name, label}``; a row shows those that its ``can`` names.
    Events ``open`` with ``{row, id}``; ``act`` with ``{row, id, name}``; ``page`` with ``{page, offset, limit}`` when
    rows that are not here are wanted.
    """

    script: ClassVar[str] = "data_table"
    written: ClassVar[tuple[str, ...]] = ("page",)
    events: ClassVar[Mapping[str, str]] = {
        "open": "a row was opened: {row, id}",
        "act": "a further button of a row was pressed: {row, id, name}",
        "page": "rows of another page are wanted: {page, offset, limit}",
    }

    columns = PlainList().tag(sync=True)
    rows = PlainList().tag(sync=True)
    page_size = traitlets.Int(20, min=1, max=500).tag(sync=True)
    page = traitlets.Int(0, min=0).tag(sync=True)
    total = traitlets.Int(0, min=0).tag(sync=True)
    offset = traitlets.Int(0, min=0).tag(sync=True)
    openable = traitlets.Bool(False).tag(sync=True)
    row_actions = PlainList().tag(sync=True)
    note = PlainText().tag(sync=True)

    @traitlets.validate("columns")
    def _columns_are_known(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, column in enumerate(proposal["value"]):
            check_keys(column, f"columns[{number}]", required=("key", "label"), optional=("kind", "align"))
            if column.get("kind", "text") not in CELL_KINDS:
                raise ValueError(f"columns[{number}].kind: one of {CELL_KINDS} is needed")
        return proposal["value"]

    @traitlets.validate("row_actions")
    def _actions_are_named(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, action in enumerate(proposal["value"]):
            check_keys(action, f"row_actions[{number}]", required=("name", "label"), optional=())
        return proposal["value"]

    @traitlets.validate("rows")
    def _rows_are_dictionaries(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        if not all(isinstance(row, dict) for row in proposal["value"]):
            raise ValueError("rows: a dictionary for each row is needed")
        return proposal["value"]
