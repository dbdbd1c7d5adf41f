"""One entry field by field: what stands here, what was co-signed, and whether they agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_keys
from .plain import PlainList, PlainText

DIFF_VERDICTS = ("same", "differs", "missing_here", "missing_cosigned", "hidden")


class FieldDiff(Component):
    """A table of fields; only rows that differ are tinted.

    rows: ``{field, here, cosigned, verdict, kind?, explain?}``; ``verdict`` is one of :data:`DIFF_VERDICTS`
    (``hidden``: only a digest is known, so nothing can be compared); ``kind`` as in :class:`DataTable`; ``explain``
    says in a sentence what the field means.
    Raises ``ValueError`` when a verdict ``same`` or ``differs`` contradicts the two values.
    """

    script: ClassVar[str] = "field_diff"

    rows = PlainList().tag(sync=True)
    here_label = PlainText().tag(sync=True)
    cosigned_label = PlainText().tag(sync=True)

    @traitlets.validate("rows")
    def _verdicts_fit(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, row in enumerate(proposal["value"]):
            where = f"rows[{number}]"
            check_keys(row, where, required=("field", "here", "cosigned", "verdict"), optional=("kind", "explain"))
            if row["verdict"] not in DIFF_VERDICTS:
                raise ValueError(f"{where}.verdict: one of {DIFF_VERDICTS} is needed")
            if row["verdict"] in ("same", "differs") and (row["here"] == row["cosigned"]) != (row["verdict"] == "same"):
                raise ValueError(f"{where}.verdict: contradicts the two values")
        return proposal["value"]
