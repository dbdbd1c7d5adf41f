"""A running job: phase, bar, remaining time, and a way to stop it that says what stays and what goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import traitlets

from .component import Component
from .plain import PlainText


class ProgressCancel(Component):
    """Progress with cancel.

    done, total: steps of one kind; ``total`` 0 means the length is not known. phase: a sentence.
    remaining_s: estimate in seconds; remaining_error: its relative error; above 30 % the estimate is not shown.
    stays, goes: what is kept and what will not exist after cancelling, as half sentences. cancel_label: the verb with
    its object. cancelling: the cancel is under way; cannot_cancel: why it takes longer than 2 seconds.
    Event ``cancel``, after the person has confirmed.
    """

    script: ClassVar[str] = "progress_cancel"
    events: ClassVar[Mapping[str, str]] = {"cancel": "the job is to be cancelled, confirmed by the person"}

    done = traitlets.Int(0, min=0).tag(sync=True)
    total = traitlets.Int(0, min=0).tag(sync=True)
    phase = PlainText().tag(sync=True)
    remaining_s = traitlets.Float(None, allow_none=True, min=0.0).tag(sync=True)
    remaining_error = traitlets.Float(None, allow_none=True, min=0.0).tag(sync=True)
    stays = PlainText().tag(sync=True)
    goes = PlainText().tag(sync=True)
    cancel_label = PlainText().tag(sync=True)
    cancelling = traitlets.Bool(False).tag(sync=True)
    cannot_cancel = PlainText().tag(sync=True)
