"""Two sites, what runs between them, and who listens in a demonstration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_keys
from .plain import PlainDict, PlainText

_CHANNEL_STATES = ("done", "simulated", "refused", "failed", "tampered")


class LineDiagram(Component):
    """The line of a key-distribution system as a picture with the same words for the ear.

    left, right: ``{name, rows}``, at most three short rows each. quantum: ``{label, state}``, dotted; classical:
    ``{label, state}``, solid; state one of done, simulated, refused (stopped), failed, tampered. eavesdropper: ``{name, label}``
    while a demonstration runs, else empty: it is never drawn otherwise.
    """

    script: ClassVar[str] = "line_diagram"

    left = PlainDict().tag(sync=True)
    right = PlainDict().tag(sync=True)
    quantum = PlainDict().tag(sync=True)
    classical = PlainDict().tag(sync=True)
    eavesdropper = PlainDict().tag(sync=True)
    said = PlainText().tag(sync=True)

    @traitlets.validate("left", "right")
    def _site_is_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        value, name = proposal["value"], proposal["trait"].name
        if value:
            check_keys(value, name, required=("name", "rows"))
            if len(value["rows"]) > 3:
                raise ValueError(f"{name}.rows: at most 3")
        return value

    @traitlets.validate("quantum", "classical")
    def _channel_is_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        value, name = proposal["value"], proposal["trait"].name
        if value:
            check_keys(value, name, required=("label", "state"))
            if value["state"] not in _CHANNEL_STATES:
                raise ValueError(f"{name}.state: one of {_CHANNEL_STATES} is needed")
        return value

    @traitlets.validate("eavesdropper")
    def _listener_is_named(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        if proposal["value"]:
            check_keys(proposal["value"], "eavesdropper", required=("name", "label"))
        return proposal["value"]


__all__ = ["LineDiagram"]
