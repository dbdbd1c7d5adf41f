"""Distillation of a simulated line, both ends in one process on one core: processor time from views to keys."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import Any

import numpy as np

from workbench_kme.distill import Cascade, DistillParameters, Pools, ReceiverEnd, SenderEnd, exchange, toeplitz
from workbench_kme.physics import PRESETS, Link, SecurityParameters, simulate

SEED = hashlib.sha256(b"benchmark of the distillation").digest()
LINK: Link = replace(PRESETS["metro-10"], misalignment=0.033, afterpulse=0.0)
"""10 km of fibre whose devices err in 3.3 % of the photons: the error rate of the aims."""
PULSES = 400_000_000
"""About 2.4 million sifted bits: four tenths of a second of the line."""


def measure(blocks: int = 3, pulses: int = PULSES) -> dict[str, Any]:
    """Medians over blocks. Throughput is per second of processor time of both ends together; simulation is not counted."""
    rules, pools = DistillParameters(SecurityParameters.of(LINK)), Pools.from_seed(SEED)
    rows = []
    for block in range(blocks + 1):
        sent, seen = simulate(LINK, pulses, SEED, block)
        sender = SenderEnd(sent, pools.sender, rules, _source(b"s%d" % block))
        receiver = ReceiverEnd(seen, pools.receiver, rules, _source(b"r%d" % block))
        wire: list[int] = []
        cpu, wall = time.process_time(), time.perf_counter()
        result, other = exchange(sender, receiver, lambda _, message, sizes=wire: sizes.append(len(message)))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if not (result.verified and result.key == other.key):
            raise RuntimeError(f"block {block} gave no key: {result.aborted}")
        # The first block compiles or loads the kernels.
        if block:
            rows.append((result, cpu, wall, sum(wire)))
    sifted = sum(result.sifted for result, *_ in rows)
    secret = sum(8 * len(result.key) for result, *_ in rows)
    spent = sum(cpu for _, cpu, *_ in rows)
    last = rows[-1][0]
    return {
        "blocks": blocks,
        "sifted_bits": last.sifted,
        "qber": round(last.qber, 4),
        "efficiency": round(float(np.mean([result.efficiency for result, *_ in rows])), 4),
        "rounds": last.rounds,
        "messages": last.messages,
        "wire_bytes": rows[-1][3],
        "secret_fraction": round(secret / sifted, 4),
        "authentication_bits": last.authentication_bits_used,
        "cpu_s": round(spent / blocks, 3),
        "wall_s": round(float(np.median([wall for _, _, wall, _ in rows])), 3),
        "sifted_mbit_s": round(sifted / spent / 1e6, 2),
        "secret_mbit_s": round(secret / spent / 1e6, 2),
        "parts": _parts(last.sifted, last.length_bits),
    }


def _parts(size: int, length: int) -> dict[str, float]:
    """Nanoseconds of processor time for each sifted bit, one end alone."""
    draw = np.random.default_rng(7)
    key = draw.integers(0, 2, size, dtype=np.uint8)
    seen = key ^ (draw.random(size) < 0.033).astype(np.uint8)
    seed = draw.integers(0, 2, size + length - 1, dtype=np.uint8)
    began = time.process_time()
    ends = [Cascade(one, corrects=bool(i), seed=SEED[:16], block_size=25) for i, one in enumerate((key, seen))]
    while not ends[0].finished:
        both = [end.parities().copy() for end in ends]
        ends[0].advance(both[1])
        ends[1].advance(both[0])
    corrected = time.process_time()
    toeplitz.multiply(seed, key, length)
    amplified = time.process_time()
    return {
        "correction_ns": round((corrected - began) / size / 2 * 1e9, 1),
        "amplification_ns": round((amplified - corrected) / size * 1e9, 1),
    }


def _source(name: bytes):  # type: ignore[no-untyped-def]
    return lambda count: hashlib.shake_256(SEED + name).digest(count)
