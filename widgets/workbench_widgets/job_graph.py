"""A job on one screen: from consent to result, who did what, who sent what to whom, and where a record is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_count, check_keys, check_lanes
from .lanes import ROW_STATES
from .plain import PlainList


class JobGraph(Component):
    """One lane per institution, one band per stage; acts are boxes, messages arrows between lanes.

    lanes: parties ``{party, tile, name, mine?}`` in the fixed order of the letters.
    stages: ``{key, label, acts, flows}`` from the first to the last. acts: ``{party, text, state, id, count?, time_ms?}``.
    flows: ``{from, to, text, state, id, count, both?, missing?, missing_count?}``: ``count`` messages, with ``both`` in both
    directions, of which ``missing_count`` have no record at the institution ``missing``: there the arrow ends in a gap. States are those of :class:`Lanes`.
    selected: id of the chosen act or flow, set by both sides. Event ``select`` with ``{id}``.
    """

    script: ClassVar[str] = "job_graph"
    written: ClassVar[tuple[str, ...]] = ("selected",)
    events: ClassVar[Mapping[str, str]] = {"select": "an act or a flow was chosen: {id}"}

    lanes = PlainList().tag(sync=True)
    stages = PlainList().tag(sync=True)
    selected = traitlets.Unicode("").tag(sync=True)

    @traitlets.validate("lanes")
    def _lanes_are_parties(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        return check_lanes(proposal["value"])

    @traitlets.validate("stages")
    def _stages_are_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, stage in enumerate(proposal["value"]):
            where = f"stages[{number}]"
            check_keys(stage, where, required=("key", "label", "acts", "flows"))
            for place, act in enumerate(stage["acts"]):
                check_keys(
                    act, f"{where}.acts[{place}]", required=("party", "text", "state", "id"), optional=("count", "time_ms")
                )
                _check_state(act, f"{where}.acts[{place}]")
            for place, flow in enumerate(stage["flows"]):
                name = f"{where}.flows[{place}]"
                check_keys(
                    flow,
                    name,
                    required=("from", "to", "text", "state", "id", "count"),
                    optional=("missing", "missing_count", "both"),
                )
                _check_state(flow, name)
                _check_gap(flow, name)
        return proposal["value"]


def _check_state(item: Mapping[str, Any], where: str) -> None:  # Any: data from the caller, checked here
    if item["state"] not in ROW_STATES:
        raise ValueError(f"{where}.state: one of {ROW_STATES} is needed")


def _check_gap(flow: Mapping[str, Any], where: str) -> None:  # Any: data from the caller, checked here
    count = check_count(flow["count"], f"{where}.count")
    missing = check_count(flow.get("missing_count", 0), f"{where}.missing_count")
    if flow["from"] == flow["to"]:
        raise ValueError(f"{where}: a message goes from one institution to another")
    if bool(flow.get("missing")) != bool(missing) or missing > count:
        raise ValueError(f"{where}: a gap names the institution and at most as many messages as there are")
    if missing and flow["missing"] not in (flow["from"], flow["to"]):
        raise ValueError(f"{where}.missing: the sender or the recipient")
