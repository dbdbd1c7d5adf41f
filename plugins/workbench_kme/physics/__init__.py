"""The line as a model: light, fibre, detectors, estimation and rates; pure. Document: docs/protocols/qkd.md."""

from __future__ import annotations

from workbench_kme.physics.alarm import Alarm, AlarmKind, Assessment, Baseline, Observation, Watch, learn
from workbench_kme.physics.curves import (
    Curve,
    TappedLine,
    block_estimate,
    published_curve,
    rate_curve,
    simulated_curve,
    tapped_line,
)
from workbench_kme.physics.estimate import KeyEstimate, SecurityParameters, entropy, secret_length
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
from workbench_kme.physics.published import PublishedPoint, published_points
from workbench_kme.physics.rates import (
    FiniteKey,
    asymptotic_rate,
    best_finite_key,
    finite_key,
    optimal_signal,
    plob_bound,
    reach_km,
    single_photons,
)
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
    "Alarm",
    "AlarmKind",
    "Assessment",
    "AttackKind",
    "Baseline",
    "Counts",
    "Curve",
    "Eavesdropper",
    "FiniteKey",
    "KeyEstimate",
    "Link",
    "Observation",
    "PublishedPoint",
    "ReceiverView",
    "Response",
    "SecurityParameters",
    "SenderView",
    "TappedLine",
    "Watch",
    "asymptotic_rate",
    "best_finite_key",
    "block_estimate",
    "count",
    "entropy",
    "finite_key",
    "known_share",
    "learn",
    "optimal_signal",
    "plob_bound",
    "published_curve",
    "published_points",
    "rate_curve",
    "reach_km",
    "responses",
    "secret_length",
    "simulate",
    "simulated_curve",
    "single_photons",
    "tabulate",
    "tapped_line",
]
