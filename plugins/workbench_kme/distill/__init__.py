"""From raw detections to secret keys: sifting, correction, verification, amplification; pure. Document: docs/protocols/qkd.md."""

from __future__ import annotations

from workbench_kme.distill.both import Pools, distil_both, exchange
from workbench_kme.distill.cascade import Cascade
from workbench_kme.distill.ends import ReceiverEnd, SenderEnd
from workbench_kme.distill.known_answers import self_test
from workbench_kme.distill.outcome import KEY_BYTES, REASONS, BlockResult, DistillParameters, Reason
from workbench_kme.distill.pool import AuthenticationPool

__all__ = [
    "KEY_BYTES",
    "REASONS",
    "AuthenticationPool",
    "BlockResult",
    "Cascade",
    "DistillParameters",
    "Pools",
    "Reason",
    "ReceiverEnd",
    "SenderEnd",
    "distil_both",
    "exchange",
    "self_test",
]
