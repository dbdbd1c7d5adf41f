"""The steps of a task, done ones to be opened, the present one marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component
from .plain import PlainList


class Stepper(Component):
    """A row of named steps.

    steps: names in order; current: position of the present one, ``len(steps)`` when all are done.
    locked_before: steps before this position open read-only (from the run on, nothing earlier can be edited).
    stopped: empty, or ``refused``, ``failed``, ``tampered`` when the present step ended the task.
    Event ``open`` with ``{step}`` for a done step.
    """

    script: ClassVar[str] = "stepper"
    events: ClassVar[Mapping[str, str]] = {"open": "a done step was chosen: {step}"}

    framed = traitlets.Bool(False).tag(sync=True)
    steps = PlainList(traitlets.Unicode()).tag(sync=True)
    current = traitlets.Int(0, min=0).tag(sync=True)
    locked_before = traitlets.Int(0, min=0).tag(sync=True)
    stopped = traitlets.Enum(("", "refused", "failed", "tampered"), default_value="").tag(sync=True)

    @traitlets.validate("steps")
    def _steps_are_names(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        if not all(isinstance(name, str) and name for name in proposal["value"]):
            raise ValueError("steps: a name for each step is needed")
        return proposal["value"]
