"""The switch of a rehearsed attack on a line: which, on how much of the light, and what nobody would see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_keys
from .plain import PlainList, PlainText


class AttackSlider(Component):
    """A slider with the kinds of attack beside it; nothing happens before the button is pressed.

    choices: ``{kind, label, told}``, told says what can and cannot be seen of it. kind, share: what runs now, share in per cent, 0 for
    nothing. warnings: sentences that always stand below. busy: the last order is on its way.
    Event ``set`` with ``{kind, share}``; share 0 switches it off.
    """

    script: ClassVar[str] = "attack_slider"
    events: ClassVar[Mapping[str, str]] = {"set": "an attack is ordered: {kind, share}"}

    choices = PlainList().tag(sync=True)
    kind = PlainText().tag(sync=True)
    share = traitlets.Int(0, min=0, max=100).tag(sync=True)
    warnings = PlainList().tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)

    @traitlets.validate("choices")
    def _choices_are_named(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, choice in enumerate(proposal["value"]):
            check_keys(choice, f"choices[{number}]", required=("kind", "label"), optional=("told",))
        return proposal["value"]


__all__ = ["AttackSlider"]
