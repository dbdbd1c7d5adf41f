"""Chips for states and badges of origin; an origin that is weaker than it looks is never hidden."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import traitlets

from .component import Component
from .plain import PlainText

CHIP_STATES = ("sealed", "pending", "refused", "failed", "tampered", "simulated", "running", "info", "neutral", "done")
ORIGINS = (
    "synthetic", "simulated_qkd", "device_key", "imported_key", "post_quantum_only", "ai_generated", "draft",
    "sandbox_process", "sandbox_gvisor", "sandbox_tee", "sandbox_missing", "degraded", "from_memory",
)  # fmt: skip


class StateChip(Component):
    """An icon, a word and a colour for one state.

    kind: one of :data:`CHIP_STATES`; label: other words than the usual ones.
    """

    script: ClassVar[str] = "badge"
    events: ClassVar[Mapping[str, str]] = {"explain": "the explanation was opened: {kind}"}

    kind = traitlets.Enum(CHIP_STATES, default_value="neutral").tag(sync=True)
    label = PlainText().tag(sync=True)
    meaning = PlainText().tag(sync=True)
    since_ms = traitlets.Int(None, allow_none=True).tag(sync=True)
    decided_by = PlainText().tag(sync=True)


class Badge(StateChip):
    """Where data, keys or texts come from; dashed and hatched when the origin is a model. It cannot be dismissed.

    kind: one of :data:`ORIGINS`; label: other words; meaning, since_ms, decided_by: what a click tells.
    Event ``explain`` with ``{kind}``.
    """

    kind = traitlets.Enum(ORIGINS, default_value="synthetic").tag(sync=True)
