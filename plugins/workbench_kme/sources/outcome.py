"""The result of a block whose making was not ours: error rate, leak and efficiency are unknown, and -1 says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from workbench_kme.distill import BlockResult, Reason


def outcome(block: int, key: bytes, aborted: Reason | Literal[""]) -> BlockResult:
    """A result with these keys, or with the reason why there are none."""
    # With the first block, not with the process: the arithmetic behind this package takes a second to load.
    from workbench_kme.distill import BlockResult

    return BlockResult(
        block=block,
        key=key,
        sifted=-1,
        qber=-1.0,
        leak_bits=-1,
        efficiency=-1.0,
        rounds=-1,
        verified=bool(key) and not aborted,
        length_bits=8 * len(key),
        epsilon=-1.0,
        authentication_bits_used=0,
        aborted=aborted,
    )
