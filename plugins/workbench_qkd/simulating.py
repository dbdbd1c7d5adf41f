"""A rehearsal of one block: both ends in this process, real post-processing, no key kept. Document: docs/quantum-channel.md section 6.

What is drawn comes from seed and block number alone, so the same call gives the same figures. The keys of both ends are
compared and dropped: what is told holds counts and rates, never a bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, cast

from workbench.crypto import sm3
from workbench.errors import InvalidRequest
from workbench_kme.distill import distil_both
from workbench_kme.physics import (
    ATTACK_KINDS,
    PRESETS,
    SEEN_BY_DECOYS,
    SEEN_BY_QBER,
    AttackKind,
    Eavesdropper,
    Link,
    count,
    known_share,
    responses,
    simulate,
)
from workbench_kme.physics.rates import asymptotic_rate, plob_bound
from workbench_kme.sources.simulated import DEFAULT_PULSES

MOST_PULSES: Final = 1 << 40
SEED_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What is to be rehearsed. seed: any text; 64 hexadecimal digits are the 32 bytes themselves, else SM3 of the text."""

    preset: str
    pulses: int = 0
    seed: str = "1"
    block: int = 0
    kind: str = "intercept-resend"
    fraction: float = 0.0

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise InvalidRequest(f"没有线路「{self.preset[:40]}」。现有：{'、'.join(PRESETS)}", f"no such line; there are {', '.join(PRESETS)}", code="NO_PRESET")
        if self.kind not in ATTACK_KINDS or not 0 <= self.fraction <= 1:
            raise InvalidRequest("窃听手法或比例不对：比例为 0 到 1", "unknown attack, or a share that is not between 0 and 1", code="BAD_ATTACK")
        if not 0 <= self.pulses <= MOST_PULSES or not 0 <= self.block < 1 << 53:
            raise InvalidRequest("脉冲数为 1 到 2^40，块号为 0 到 2^53", "pulses: 1 to 2^40; block: 0 to 2^53", code="BAD_PULSES")

    @property
    def seed_bytes(self) -> bytes:
        try:
            raw = bytes.fromhex(self.seed)
        except ValueError:
            raw = b""
        return raw if len(raw) == SEED_BYTES else sm3.digest(self.seed.encode())


def rehearse(wanted: Rehearsal) -> dict[str, Any]:
    """Run it; figures only. Raises InvalidRequest BAD_PULSES when the block would not fit into memory."""
    link = PRESETS[wanted.preset]
    pulses = wanted.pulses or DEFAULT_PULSES[wanted.preset]
    listener = Eavesdropper(wanted.fraction, cast("AttackKind", wanted.kind)) if wanted.fraction else None
    try:
        sent, seen = simulate(link, pulses, wanted.seed_bytes, wanted.block, listener)
    except ValueError as error:
        raise InvalidRequest("这么多脉冲放不进内存，请减少", "this many pulses do not fit into memory; take fewer", code="BAD_PULSES") from error
    counts = count(sent, seen)
    first, second = distil_both(link, pulses, wanted.seed_bytes, wanted.block, eavesdropper=listener)
    rate = first.length_bits / pulses if not first.aborted else 0.0
    return {
        "preset": wanted.preset, "provenance": "simulated", "length_km": link.length_km, "clock_hz": link.clock_hz, "pulses": pulses,
        "block": wanted.block, "attack": _attack(wanted, listener, link),
        "clicks": len(seen.index), "sifted_bits": counts.key_size, "test_bits": counts.test_size, "test_errors": counts.test_errors,
        "qber": counts.test_errors / counts.test_size if counts.test_size else -1.0, "expected_qber": _expected(link, listener),
        "aborted": first.aborted, "corrected_qber": first.qber, "leak_bits": first.leak_bits, "efficiency": first.efficiency, "rounds": first.rounds,
        "secret_bits": 0 if first.aborted else first.length_bits, "keys": len(first.key) // 32,
        "ends_agree": bool(first.key) and first.key == second.key, "epsilon": first.epsilon,
        "rate": rate, "rate_bps": rate * link.clock_hz, "asymptotic_rate": asymptotic_rate(link), "plob_bound": plob_bound(link),
    }  # fmt: skip


def _expected(link: Link, listener: Eavesdropper | None) -> float:
    """Error rate that the model expects over all intensities together, as the test basis shows it."""
    seen = list(zip(link.probabilities, responses(link, listener), strict=True))
    return math.fsum(p * one.errors for p, one in seen) / math.fsum(p * one.gain for p, one in seen)


def _attack(wanted: Rehearsal, listener: Eavesdropper | None, link: Link) -> dict[str, Any]:
    kind = cast("AttackKind", wanted.kind)
    if listener is None:
        return {"kind": "", "fraction": 0.0, "seen_by_qber": False, "seen_by_decoys": False, "known_share": 0.0}
    return {
        "kind": wanted.kind, "fraction": wanted.fraction, "seen_by_qber": SEEN_BY_QBER[kind], "seen_by_decoys": SEEN_BY_DECOYS[kind],
        "known_share": known_share(link, listener),
    }  # fmt: skip


__all__ = ["DEFAULT_PULSES", "Rehearsal", "rehearse"]
