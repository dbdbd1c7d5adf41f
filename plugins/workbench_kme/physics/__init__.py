"""The line as a model: light, fibre, detectors, estimation and rates; pure. Document: docs/protocols/qkd.md."""

from __future__ import annotations

from workbench_kme.physics.link import (
    ATTACK_KINDS,
    DECOY,
    KEY_BASIS,
    SEEN_BY_DECOYS,
    SEEN_BY_QBER,
    SIGNAL,
    TEST_BASIS,
    VACUUM,
    AttackKind,
    Eavesdropper,
    Link,
    Response,
    known_share,
    responses,
)
from workbench_kme.physics.presets import PRESETS
from workbench_kme.physics.simulate import simulate
from workbench_kme.physics.views import Counts, ReceiverView, SenderView, count, tabulate

__all__ = [
    "ATTACK_KINDS",
    "DECOY",
    "KEY_BASIS",
    "PRESETS",
    "SEEN_BY_DECOYS",
    "SEEN_BY_QBER",
    "SIGNAL",
    "TEST_BASIS",
    "VACUUM",
    "AttackKind",
    "Counts",
    "Eavesdropper",
    "Link",
    "ReceiverView",
    "Response",
    "SenderView",
    "count",
    "known_share",
    "responses",
    "simulate",
    "tabulate",
]
