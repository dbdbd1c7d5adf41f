"""What a run will cost, before it runs: a pure function of sizes and of this machine's measured speed.

Document: docs/protocols/intersection.md section 11.
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench_psi import wire

PROCESSING_US = 6.0
"""Microseconds of processor a point outside curve arithmetic: hashing, commitments, sorting, comparing (make bench)."""
ASSUMED_COMMON = 3
"""Before a run nobody knows K; a third of the smaller side is assumed, which decides 5 % of the bytes at most."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Microseconds of processor for one multiplication and one map on this machine."""

    multiplication_us: float
    map_us: float


def cost(speed: Speed, *, own_bucket: int, partner_bucket: int) -> tuple[float, int]:
    """Seconds of this side's processor, and bytes of payload in both directions."""
    own_us = speed.map_us + speed.multiplication_us + PROCESSING_US
    seconds = (own_bucket * own_us + partner_bucket * speed.multiplication_us) / 1e6
    common = min(own_bucket, partner_bucket) // ASSUMED_COMMON
    sent = wire.sent_bytes(own_bucket, partner_bucket, common)
    return seconds, sent + wire.sent_bytes(partner_bucket, own_bucket, common)
