"""Endurance (`make soak`): a thousand blocks of Cascade at the error rate of the reference, none with an error left."""

from __future__ import annotations

import numpy as np
import pytest

from workbench_kme.distill.cascade import Cascade, first_block_size, shannon_bits

BLOCKS = 1000
BITS = 1 << 18
ERROR = 0.033
TESTED = 20_000
"""Bits of the test basis from which each block's first block size is estimated, as a real block does."""


@pytest.mark.soak
def test_a_thousand_blocks_leave_no_error_and_stay_near_shannon() -> None:
    disclosed = floor = 0.0
    worst = left = failed = 0
    rounds = []
    for number in range(BLOCKS):
        draw = np.random.default_rng([33, number])
        sent = draw.integers(0, 2, BITS, dtype=np.uint8)
        wrong = (draw.random(BITS, dtype=np.float32) < ERROR).astype(np.uint8)
        size = first_block_size(TESTED, int(draw.binomial(TESTED, ERROR)))
        seed = draw.bytes(16)
        sender = Cascade(sent, corrects=False, seed=seed, block_size=size)
        receiver = Cascade(sent ^ wrong, corrects=True, seed=seed, block_size=size)
        while not receiver.finished:
            theirs = sender.parities().copy()
            sender.advance(receiver.parities().copy())
            receiver.advance(theirs)
        left += not np.array_equal(sender.key, receiver.key)
        failed += receiver.failed
        disclosed += sender.disclosed
        floor += shannon_bits(BITS, int(wrong.sum()))
        worst = max(worst, sender.disclosed)
        rounds.append(receiver.round)
    print(f"f = {disclosed / floor:.4f}, worst block {worst} parities, rounds {min(rounds)} to {max(rounds)}")
    assert (left, failed) == (0, 0)
    assert disclosed / floor <= 1.07
