"""A conversation with a model: question with what was masked, answer with what it rests on, and what became of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import traitlets

from .component import Component, check_count, check_keys
from .plain import PlainDict, PlainList

TURN_STATES: Final = ("waiting", "streaming", "answered", "abstained", "stopped", "cut", "refused", "failed")
_MARK: Final = re.compile(r"⟦(\d{1,3})⟧")


class ChatMessage(Component):
    """Turns of one conversation, oldest first.

    turns: ``{id, state, question, tiles?, masked?, text?, fields?, citations?, dropped?, label?, disclaimer?, sentence?, reason?,
    code?, facts?, seal?, seal_label?, recorded?, rating?, open?}``. state: one of :data:`TURN_STATES`. question, text: plain text; ``tiles``
    are ``{start, end}`` of the question that stand for what was masked, ``masked`` the sentence about them. ``⟦n⟧`` in a text is
    citation n, which must be in ``citations`` (``{n, title}``). fields: rows ``{label, value, cite}`` with the same numbers.
    facts: small texts of the foot (engine, time, tokens, cost). sentence, reason, code: of a refusal or failure.
    seal: a state of a chip. recorded: an entry stands behind it, although nothing tells its seal. rating: "", "up" or "down". chosen: ``{id, n}`` of the citation whose source is open.
    A number without a citation is not shown: whoever makes the turns leaves it out, and a row of ``fields`` without one is refused.
    Events ``cite`` ``{id, n}``, ``rate`` ``{id, rating}``, ``stop`` ``{id}``, ``receipt`` ``{id}``, ``copy`` ``{id}``.
    """

    script: ClassVar[str] = "chat_message"
    events: ClassVar[Mapping[str, str]] = {
        "cite": "a citation was chosen: {id, n}",
        "rate": "an answer was rated: {id, rating}",
        "stop": "the answer under way is to be stopped: {id}",
        "receipt": "the evidence behind an answer is wanted: {id}",
        "copy": "the answer was copied: {id}",
    }

    turns = PlainList().tag(sync=True)
    chosen = PlainDict().tag(sync=True)

    @traitlets.validate("turns")
    def _turns_are_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, turn in enumerate(proposal["value"]):
            where = f"turns[{number}]"
            check_keys(
                turn,
                where,
                required=("id", "state", "question"),
                optional=(
                    "tiles", "masked", "text", "fields", "citations", "dropped", "label", "disclaimer", "sentence", "reason", "code", "facts", "seal",
                    "seal_label", "recorded", "rating", "can_rate",
                ),
            )  # fmt: skip
            if turn["state"] not in TURN_STATES:
                raise ValueError(f"{where}.state: unknown")
            known = set()
            for place, citation in enumerate(turn.get("citations", [])):
                check_keys(citation, f"{where}.citations[{place}]", required=("n", "title"))
                known.add(check_count(citation["n"], f"{where}.citations[{place}].n"))
            named = {int(found) for found in _MARK.findall(turn.get("text", ""))}
            for place, row in enumerate(turn.get("fields", [])):
                check_keys(row, f"{where}.fields[{place}]", required=("label", "value", "cite"))
                named.add(check_count(row["cite"], f"{where}.fields[{place}].cite"))
            if not named <= known:
                raise ValueError(f"{where}: names a citation that it does not have")
            for place, tile in enumerate(turn.get("tiles", [])):
                check_keys(tile, f"{where}.tiles[{place}]", required=("start", "end"))
                if not 0 <= tile["start"] < tile["end"] <= len(turn["question"]):
                    raise ValueError(f"{where}.tiles[{place}]: outside the question")
        return proposal["value"]


__all__ = ["TURN_STATES", "ChatMessage"]
