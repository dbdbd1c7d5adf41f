"""The answer of a page, first thing on it: a sentence, its reason, who does what next, at most two actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_actions, check_keys
from .plain import PlainDict, PlainList, PlainText

ANSWER_STATES = ("loading", "sealed", "pending", "refused", "failed", "tampered", "running", "info")


class AnswerStrip(Component):
    """The sentence a reader leaves with.

    state: one of :data:`ANSWER_STATES`; ``tampered`` is spoken at once (alert), all others politely (status).
    sentence, reason: what is so, and why; todo: what is to be done, naming the person; code: stable error code.
    actions: at most two ``{name, label, primary?, icon?, disabled?}``, at most one primary.
    badge: ``{label, state?}`` after the sentence, such as a running demonstration.
    Event ``action`` with ``{name}``.
    """

    script: ClassVar[str] = "answer_strip"
    events: ClassVar[Mapping[str, str]] = {"action": "a button was pressed: {name}"}

    state = traitlets.Enum(ANSWER_STATES, default_value="info").tag(sync=True)
    sentence = PlainText().tag(sync=True)
    reason = PlainText().tag(sync=True)
    todo = PlainText().tag(sync=True)
    code = PlainText().tag(sync=True)
    actions = PlainList().tag(sync=True)
    badge = PlainDict().tag(sync=True)

    @traitlets.validate("actions")
    def _actions_are_few(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        check_actions(proposal["value"])
        return proposal["value"]

    @traitlets.validate("badge")
    def _badge_is_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        if proposal["value"]:
            check_keys(proposal["value"], "badge", required=("label",), optional=("state",))
        return proposal["value"]
