"""From all customers to those that may be used, with the reason for each loss. The numbers must add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import traitlets

from .component import Component, check_count, check_keys
from .plain import PlainList, PlainText


class Waterfall(Component):
    """A table whose rows draw what is kept (solid) and removed (hatched).

    rows: ``{label, kept, removed, reasons?, open?}`` from the whole list to the last; ``reasons`` is a list of
    ``{label, count, code?}``; ``open`` shows them from the start.
    Raises ``ValueError`` unless every row's ``kept + removed`` is the ``kept`` of the row above and given reasons sum
    to ``removed``: a picture that does not add up is not shown.
    Event ``open`` with ``{row, label, open}``.
    """

    script: ClassVar[str] = "waterfall"
    events: ClassVar[Mapping[str, str]] = {"open": "the reasons of a row were opened or closed: {row, label, open}"}

    rows = PlainList().tag(sync=True)
    unit = PlainText().tag(sync=True)

    @traitlets.validate("rows")
    def _rows_add_up(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        check_waterfall(proposal["value"])
        return proposal["value"]


def check_waterfall(rows: Sequence[Mapping[str, Any]]) -> None:  # Any: plain data, checked here
    """Raise ``ValueError`` unless the rows of a waterfall add up (see :class:`Waterfall`)."""
    before: int | None = None
    for number, row in enumerate(rows):
        where = f"rows[{number}]"
        check_keys(row, where, required=("label", "kept", "removed"), optional=("reasons", "open"))
        kept = check_count(row["kept"], f"{where}.kept")
        removed = check_count(row["removed"], f"{where}.removed")
        if before is not None and kept + removed != before:
            raise ValueError(f"{where}: kept and removed do not add up to the row above")
        reasons = row.get("reasons") or []
        for at, reason in enumerate(reasons):
            check_keys(reason, f"{where}.reasons[{at}]", required=("label", "count"), optional=("code",))
            check_count(reason["count"], f"{where}.reasons[{at}].count")
        if reasons and sum(reason["count"] for reason in reasons) != removed:
            raise ValueError(f"{where}: the reasons do not add up to what was removed")
        before = kept
