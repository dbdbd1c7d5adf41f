"""What a block is distilled by, and what came of it.

Document: docs/protocols/qkd.md section 9.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, get_args

from workbench_kme.physics.estimate import KeyEstimate, SecurityParameters, secret_length
from workbench_kme.physics.views import Counts

KEY_BYTES: Final = 32

Reason = Literal[
    "too-few-detections",
    "qber-beyond-limit",
    "no-key-left",
    "correction-failed",
    "verification-failed",
    "authentication-failed",
    "message-refused",
    "pool-exhausted",
    "stopped",
]
REASONS: Final[Mapping[int, Reason]] = MappingProxyType(dict(enumerate(get_args(Reason), start=1)))
"""Why a block ended without key, by its code on the wire."""

EPSILON_AUTHENTICATION: Final = 2.0**-65
"""That any message of a block was forged, at most (section 5)."""

Estimate = Callable[[Counts, SecurityParameters, float], KeyEstimate]


@dataclass(frozen=True, slots=True)
class DistillParameters:
    """Rules of one line, equal at both ends.

    security: what the sender's source does, and the epsilons. qber_limit: error rate of the test basis above which a
    block is void, at most 0.11. charge_feedback: charge the receiver's parities as well. least_key_bits,
    least_test_bits: a block with fewer is not tried. pool_target_bytes: each half of the pool grows up to this.
    estimate: secret bits of a block; the finite-key bound of section 4.
    """

    security: SecurityParameters
    qber_limit: float = 0.11
    charge_feedback: bool = False
    least_key_bits: int = 1024
    least_test_bits: int = 256
    pool_target_bytes: int = 1 << 14
    estimate: Estimate = secret_length

    def __post_init__(self) -> None:
        if not 0 < self.qber_limit <= 0.11:
            raise ValueError("the error rate's limit lies above 0 and at or below 0.11")
        if self.least_key_bits < 2 or self.least_test_bits < 1 or self.pool_target_bytes < 0:
            raise ValueError("a block needs at least two key bits and one test bit")

    def secret_bits(self, counts: Counts, leak_bits: float) -> int:
        """Length that the estimate allows after `leak_bits` parities were disclosed by each end."""
        charged = leak_bits * (2 if self.charge_feedback else 1)
        return self.estimate(counts, self.security, charged).length

    @property
    def epsilon(self) -> float:
        return self.security.epsilon_secret + self.security.epsilon_correct + EPSILON_AUTHENTICATION


@dataclass(frozen=True, slots=True)
class BlockResult:
    """What came of one block at one end. Secret: `key`, never shown by `repr`.

    key: whole keys of 32 bytes, one after the other; empty where the block was aborted.
    sifted: n, key-basis bits. qber: share of them that was corrected; of the test basis where none was.
    leak_bits: the sender's parities; feedback_bits: the receiver's. efficiency: leak_bits/(n·h(qber)), 0 without errors.
    rounds, messages: of correction; of both ends in all. verified: the hash held and both ends said so.
    length_bits: of the secret string before the pool was paid. authentication_bits_used: drawn by both ends;
    pool_bits: given back. epsilon: of this block. aborted: empty, or why there is no key; by_peer: the other end said so.
    """

    block: int
    key: bytes = field(repr=False)
    sifted: int
    qber: float
    leak_bits: int
    efficiency: float
    rounds: int
    verified: bool
    length_bits: int
    epsilon: float
    authentication_bits_used: int
    aborted: Reason | Literal[""]
    by_peer: bool = False
    feedback_bits: int = 0
    pool_bits: int = 0
    messages: int = 0
    counts: Counts | None = None

    @property
    def keys(self) -> list[bytes]:
        """The key in pieces of 32 bytes."""
        return [self.key[at : at + KEY_BYTES] for at in range(0, len(self.key), KEY_BYTES)]
