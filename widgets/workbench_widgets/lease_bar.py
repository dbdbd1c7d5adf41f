"""One lease of computing: what it holds, how long it lasts, what it has cost, what happens at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import traitlets

from .component import Component, check_keys
from .plain import PlainList, PlainText

NEAR_END_S: Final = 300
"""So long before its end a lease says so."""
NEAR_BUDGET: Final = 0.8


class LeaseBar(Component):
    """A lease in one line, with its time and its budget as bars.

    lease: its id; title: image or model; chips: ``{state, label}`` such as state, pool, assurance. cards, most_cards: whole.
    from_ms, until_ms, now_ms: times, now as the node told it. card_seconds, amount_fen, price_fen (a card-minute), budget_fen (0 for
    none, or not known here): whole. ends: what happens at the end, one sentence. releasable: offer to give it back now; busy while that is under
    way. Warns 5 minutes before the end and from 80 % of the budget on.
    """

    script: ClassVar[str] = "lease_bar"
    events: ClassVar[Mapping[str, str]] = {"release": "{lease}: give it back now"}

    lease = PlainText().tag(sync=True)
    title = PlainText().tag(sync=True)
    chips = PlainList().tag(sync=True)
    cards = traitlets.Int(0, min=0).tag(sync=True)
    most_cards = traitlets.Int(0, min=0).tag(sync=True)
    from_ms = traitlets.Int(0, min=0).tag(sync=True)
    until_ms = traitlets.Int(0, min=0).tag(sync=True)
    now_ms = traitlets.Int(0, min=0).tag(sync=True)
    card_seconds = traitlets.Int(0, min=0).tag(sync=True)
    amount_fen = traitlets.Int(0, min=0).tag(sync=True)
    price_fen = traitlets.Int(0, min=0).tag(sync=True)
    budget_fen = traitlets.Int(0, min=0).tag(sync=True)
    ends = PlainText().tag(sync=True)
    releasable = traitlets.Bool(False).tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)

    @traitlets.validate("chips")
    def _chips_are_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, chip in enumerate(proposal["value"]):
            check_keys(chip, f"chips[{number}]", required=("state", "label"))
        return proposal["value"]


__all__ = ["NEAR_BUDGET", "NEAR_END_S", "LeaseBar"]
