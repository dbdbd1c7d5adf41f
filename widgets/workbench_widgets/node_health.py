"""The nodes of the institutions: who answers, who does not, since when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_party
from .plain import PlainList

NODE_STATES = ("ok", "degraded", "away", "distrusted")


class NodeHealth(Component):
    """A list of nodes.

    nodes: ``{tile, name, state, mine?, party?, seen_ms?, remark?, openable?}``; ``state`` is one of
    :data:`NODE_STATES`; ``seen_ms`` is when an absent node last answered; ``remark`` names who goes to look.
    Event ``open`` with ``{party}``.
    """

    script: ClassVar[str] = "node_health"
    events: ClassVar[Mapping[str, str]] = {"open": "details of a node are wanted: {party}"}

    nodes = PlainList().tag(sync=True)

    @traitlets.validate("nodes")
    def _nodes_are_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, node in enumerate(proposal["value"]):
            check_party(node, f"nodes[{number}]", extra=("state", "seen_ms", "remark", "openable"))
            if node.get("state") not in NODE_STATES:
                raise ValueError(f"nodes[{number}].state: one of {NODE_STATES} is needed")
        return proposal["value"]
