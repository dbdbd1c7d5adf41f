"""Where a citation comes from: the document, the cited span in its text, and whether it stands there word for word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_count, check_keys
from .plain import PlainDict, PlainList


class SourcePanel(Component):
    """One source and the way of one question.

    source: ``{n, title, version, before, cited, after, start, end, digest, matches, origin?, synthetic?, time_ms?, next?}``;
    ``digest`` is ``{algorithm, hex}`` of the document's text, ``matches`` whether the cited characters stand so in the own copy,
    ``next`` the number of the citation after this one. steps: ``{time_ms, told}`` in order.
    Events ``close`` and ``next`` ``{n}``.
    """

    script: ClassVar[str] = "source_panel"
    events: ClassVar[Mapping[str, str]] = {"close": "the source is to be closed", "next": "the next citation is wanted: {n}"}

    source = PlainDict().tag(sync=True)
    steps = PlainList().tag(sync=True)

    @traitlets.validate("source")
    def _source_is_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        source = proposal["value"]
        if source:
            check_keys(
                source,
                "source",
                required=("n", "title", "version", "before", "cited", "after", "start", "end", "digest", "matches"),
                optional=("origin", "synthetic", "time_ms", "next"),
            )
            for name in ("n", "start", "end"):
                check_count(source[name], f"source.{name}")
            if not source["cited"] or source["end"] <= source["start"]:
                raise ValueError("source: nothing is cited")
            check_keys(source["digest"], "source.digest", required=("algorithm", "hex"))
        return source

    @traitlets.validate("steps")
    def _steps_are_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, step in enumerate(proposal["value"]):
            check_keys(step, f"steps[{number}]", required=("time_ms", "told"))
        return proposal["value"]


__all__ = ["SourcePanel"]
