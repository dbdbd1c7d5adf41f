"""What the processor offers to the batched curve arithmetic: which back end, and how many points side by side.

Document: docs/protocols/curve.md section 5.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

BackendName = Literal["double-fma", "cryptography"]

_X86: Final = ("x86_64", "amd64")
_ARM: Final = ("aarch64", "arm64")


@dataclass(frozen=True, slots=True)
class Processor:
    """machine: first part of LLVM's target triple; features: LLVM's names; byteorder: as `sys.byteorder`."""

    machine: str
    features: Mapping[str, bool]
    byteorder: str


def this_processor() -> Processor:
    """The processor that numba compiles for: this one, or what an operator has narrowed it to (NUMBA_CPU_FEATURES)."""
    import llvmlite.binding  # type: ignore[import-untyped]  # no annotations
    from numba import config

    narrowed = getattr(config, "CPU_FEATURES", None)
    features: Mapping[str, bool]
    if narrowed is None:
        features = llvmlite.binding.get_host_cpu_features()
    else:
        features = {name[1:]: name.startswith("+") for name in narrowed.split(",") if name}
    return Processor(llvmlite.binding.get_process_triple().split("-")[0], features, sys.byteorder)


def choose_backend(processor: Processor) -> BackendName:
    """`double-fma` where vectors of doubles are multiplied and added with one rounding.

    On x86 that needs both `fma` and `avx`; every 64-bit ARM has it. Elsewhere LLVM would call a C function for each
    lane: right, but far slower than `cryptography`.
    """
    if processor.byteorder != "little":
        return "cryptography"
    if processor.machine in _X86:
        return "double-fma" if processor.features.get("fma") and processor.features.get("avx") else "cryptography"
    return "double-fma" if processor.machine in _ARM else "cryptography"


def choose_lanes(processor: Processor) -> int:
    """Points side by side: eight fill a register of AVX-512, four one of AVX2 or two of NEON.

    Eight on AVX2 would be right as well, but a limb would take two of its sixteen registers: measured, 14.4 instead of
    10.3 us a point.
    """
    return 8 if processor.features.get("avx512f") else 4
