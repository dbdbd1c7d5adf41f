"""The few numbers of a page, each with its unit and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_keys
from .plain import PlainList, PlainText

NUMBER_STATES = ("sealed", "pending", "refused", "failed", "tampered", "info", "simulated")


class KeyNumbers(Component):
    """A row of numbers.

    items: ``{value, label, unit?, state?}``; ``value`` is a whole number, ``"unknown"`` (printed as unknowable),
    ``None`` (a dash) or a text already formatted; ``state`` colours it and is said by the label too.
    large: 24-px numbers above their label instead of 18-px numbers before it; remark: at the right.
    """

    script: ClassVar[str] = "key_numbers"

    framed = traitlets.Bool(False).tag(sync=True)
    items = PlainList().tag(sync=True)
    large = traitlets.Bool(False).tag(sync=True)
    remark = PlainText().tag(sync=True)

    @traitlets.validate("items")
    def _items_are_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, item in enumerate(proposal["value"]):
            check_keys(item, f"items[{number}]", required=("value", "label"), optional=("unit", "state"))
            if isinstance(item["value"], bool | float | list | dict):
                raise TypeError(f"items[{number}].value: a whole number or a formatted text is needed")
            if item.get("state") not in (None, *NUMBER_STATES):
                raise ValueError(f"items[{number}].state: one of {NUMBER_STATES} is needed")
        return proposal["value"]
