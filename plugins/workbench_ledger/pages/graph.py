"""A job's timeline as the graph from consent to result. Pure: entries and texts in, plain data for `JobGraph` out."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from workbench_ledger.pages.story import Step, steps
from workbench_ledger.pages.words import Entry, Words

STAGES = ("consent", "agreement", "exchange", "reveal", "result")
_KINDS = {
    "intersection.proposed": "agreement", "intersection.proposal_received": "agreement", "intersection.approved": "agreement",
    "intersection.approval_received": "agreement", "intersection.rejected": "agreement", "intersection.contract": "agreement",
    "intersection.attempt_started": "agreement", "intersection.cardinality": "exchange", "intersection.refused_small": "exchange",
    "intersection.struck": "reveal",
}  # fmt: skip
_FRAMES = {
    "agreement": ("proposal", "approval", "rejection", "attempt", "offer", "contract"),
    "exchange": ("points-commit", "points", "reply-commit", "reply", "count-commit", "count"),
    "reveal": ("strike", "struck", "remaining", "positions", "slice"),
    "result": ("drop-commit", "drop", "grants", "result-commit", "result", "released", "stopped"),
}
_STAGE_OF_FRAME = {frame: stage for stage, frames in _FRAMES.items() for frame in frames}
_WORSE = ("sealed", "pending", "tampered")


@dataclass(slots=True)
class _Many:
    """Steps of one stage that are drawn as one thing."""

    first: Step
    text: str
    state: str = "sealed"
    count: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    ways: set[tuple[str, str]] = field(default_factory=set)


def stages_of(entries: Sequence[Entry], words: Words, *, changed: Set[str] = frozenset()) -> list[dict[str, Any]]:
    """One band for each stage; equal acts and equal messages between two institutions are counted, both ways together.

    A record that one side lacks is a gap on that side.
    """
    kinds = {f"{one['log']}/{one['index']}": one for one in entries}
    acts: dict[str, dict[tuple[str, str], _Many]] = {stage: {} for stage in STAGES}
    flows: dict[str, dict[tuple[str, str, str], _Many]] = {stage: {} for stage in STAGES}
    for step in steps(entries, words, joined=True, changed=changed):
        entry = kinds[step.records[0]]
        if step.recipient:
            stage = _STAGE_OF_FRAME.get(step.frame, "exchange")
            between = sorted((step.sender, step.recipient))
            here = flows[stage].setdefault((between[0], between[1], step.frame), _Many(step, words.frame(step.frame)))
            here.ways.add((step.sender, step.recipient))
            if step.is_lonely:
                lacking = step.recipient if entry["log"] == step.sender else step.sender
                here.missing[lacking] = here.missing.get(lacking, 0) + 1
        else:
            stage = _stage_of_kind(str(entry["kind"]))
            here = acts[stage].setdefault((step.sender, words.title(entry)), _Many(step, words.title(entry)))
            here.text = words.title(entry) if here.count else step.text
        here.count += 1
        here.state = max(here.state, step.state, key=_WORSE.index)
    return [
        {
            "key": stage,
            "label": words.t(f"stage.{stage}"),
            "acts": [_act(party, one) for (party, _), one in acts[stage].items()],
            "flows": [_flow(one) for one in flows[stage].values()],
        }
        for stage in STAGES
    ]


def _act(party: str, one: _Many) -> dict[str, Any]:
    return {
        "party": party, "text": one.text, "state": one.state, "id": one.first.id, "count": one.count, "time_ms": one.first.time_ms,
    }  # fmt: skip


def _flow(one: _Many) -> dict[str, Any]:
    sender, recipient = one.first.sender, one.first.recipient
    gap: dict[str, Any] = {}
    if one.missing:
        party = max(one.missing, key=lambda name: one.missing[name])
        gap = {"missing": party, "missing_count": one.missing[party]}
    return {
        "from": sender, "to": recipient, "text": one.text, "state": one.state, "id": one.first.id, "count": one.count,
        **({"both": True} if len(one.ways) > 1 else {}), **gap,
    }  # fmt: skip


def _stage_of_kind(kind: str) -> str:
    if kind.startswith(("consent.", "lists.")):
        return "consent"
    return _KINDS.get(kind, "result")


__all__ = ["STAGES", "stages_of"]
