"""The life of a key from its making to its destruction, with how many stand where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_count, check_keys
from .plain import PlainList


class KeyLife(Component):
    """Steps in order and the ways out, each with a count and what it means.

    steps, exits: ``{label, count, told}``; count: a whole number.
    """

    script: ClassVar[str] = "key_life"

    steps = PlainList().tag(sync=True)
    exits = PlainList().tag(sync=True)

    @traitlets.validate("steps", "exits")
    def _steps_are_counts(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        name = proposal["trait"].name
        for number, step in enumerate(proposal["value"]):
            check_keys(step, f"{name}[{number}]", required=("label", "count"), optional=("told",))
            check_count(step["count"], f"{name}[{number}].count")
        return proposal["value"]


__all__ = ["KeyLife"]
