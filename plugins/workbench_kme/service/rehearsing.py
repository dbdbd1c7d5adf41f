"""One block in memory, both ends in this process: what a line would do. No key is kept, nothing is written down."""

from __future__ import annotations

import time

from workbench.crypto import random
from workbench.errors import InvalidRequest
from workbench_kme.service.views import Block

SEED_BYTES = 32


def rehearse(
    preset: str, pulses: int, *, kind: str, fraction: float, seed: bytes, source: random.RandomSource = random.SYSTEM
) -> Block:
    """What came of one block on the line of this name. seed: 32 bytes that reproduce it, or empty.

    Raises InvalidRequest. Cost: about a second for each million detections.
    """
    from workbench_kme.distill import DistillParameters, distil_both
    from workbench_kme.physics import PRESETS, Eavesdropper
    from workbench_kme.physics.estimate import SecurityParameters

    if preset not in PRESETS:
        raise InvalidRequest(
            f"没有预设线路 {preset[:40]}：可选 {', '.join(PRESETS)}",
            f"no such line; there are {', '.join(PRESETS)}",
            code="MALFORMED",
        )
    link = PRESETS[preset]
    eavesdropper = Eavesdropper(fraction, kind) if fraction else None  # type: ignore[arg-type]  # checks it
    rules = DistillParameters(SecurityParameters.of(link))
    began_ms, began_s = time.time_ns() // 1_000_000, time.monotonic()
    try:
        result, _other = distil_both(
            link, pulses, seed or source(SEED_BYTES), 0, eavesdropper=eavesdropper, parameters=rules
        )
    except ValueError as error:
        raise InvalidRequest("脉冲数不适合该线路", f"this many pulses do not fit: {error}", code="MALFORMED") from error
    return Block(
        block=0,
        line=preset,
        time_ms=began_ms,
        duration_ms=round((time.monotonic() - began_s) * 1000),
        provenance="simulated",
        state="rehearsal",
        aborted=result.aborted,
        pulses=pulses,
        sifted=result.sifted,
        qber=float(result.qber),
        leak_bits=result.leak_bits,
        efficiency=float(result.efficiency),
        rounds=result.rounds,
        length_bits=result.length_bits,
        rate=result.length_bits / pulses,
        rate_bps=result.length_bits / pulses * link.clock_hz,
        authentication_bits=result.authentication_bits_used,
        epsilon=float(result.epsilon),
        keys=len(result.key) // 32,
        alarm="",
    )
