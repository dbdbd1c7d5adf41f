"""An action that one person asked for and another must confirm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_keys
from .plain import PlainDict, PlainList, PlainText


class TwoPersonAction(Component):
    """Who asked, who must confirm, what changes, until when.

    asked_by: ``{name, role, tile, party_name, mine?, at_ms?}``; confirm_role: in words; changes: sentences.
    viewer: ``asker`` (no buttons, told why), ``confirmer`` or ``reader``. The node decides who may confirm; this only
    keeps a button away from who may not.
    outcome: ``open``, ``confirmed``, ``declined``, ``expired``; past ``expires_ms`` an open one shows as expired.
    now_ms: the present for tests and stills; without it the browser's clock.
    Events ``confirm``; ``decline`` with ``{reason}``, never empty.
    """

    script: ClassVar[str] = "two_person_action"
    events: ClassVar[Mapping[str, str]] = {
        "confirm": "the second person confirmed",
        "decline": "the second person declined: {reason}",
    }

    asked_by = PlainDict().tag(sync=True)
    confirm_role = PlainText().tag(sync=True)
    changes = PlainList().tag(sync=True)
    expires_ms = traitlets.Int(None, allow_none=True).tag(sync=True)
    now_ms = traitlets.Int(None, allow_none=True).tag(sync=True)
    viewer = traitlets.Enum(("asker", "confirmer", "reader"), default_value="reader").tag(sync=True)
    outcome = traitlets.Enum(("open", "confirmed", "declined", "expired"), default_value="open").tag(sync=True)
    confirm_label = PlainText().tag(sync=True)
    decline_label = PlainText().tag(sync=True)

    @traitlets.validate("asked_by")
    def _asker_is_named(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        if proposal["value"]:
            check_keys(
                proposal["value"],
                "asked_by",
                required=("name", "role", "tile", "party_name"),
                optional=("mine", "at_ms"),
            )
        return proposal["value"]
