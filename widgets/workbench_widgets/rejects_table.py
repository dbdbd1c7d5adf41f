"""Rows of a file that were not imported: where, why, and how to mend them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_count, check_keys
from .plain import PlainList


class RejectsTable(Component):
    """The rejects of an import; a partly failed import is never green.

    rows: ``{line, column, masked, reason, fix}``; ``masked`` is the value after masking (an unmasked phone or ID
    number raises). accepted, rejected: numbers of the whole file; ``rows`` may be only the first of them.
    Event ``download``: the full list is wanted.
    """

    script: ClassVar[str] = "rejects_table"
    events: ClassVar[Mapping[str, str]] = {"download": "the full list of rejected rows is wanted"}

    rows = PlainList().tag(sync=True)
    accepted = traitlets.Int(0, min=0).tag(sync=True)
    rejected = traitlets.Int(0, min=0).tag(sync=True)
    downloadable = traitlets.Bool(True).tag(sync=True)

    @traitlets.validate("rows")
    def _rows_are_complete(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, row in enumerate(proposal["value"]):
            check_keys(row, f"rows[{number}]", required=("line", "column", "masked", "reason", "fix"))
            check_count(row["line"], f"rows[{number}].line")
        return proposal["value"]
