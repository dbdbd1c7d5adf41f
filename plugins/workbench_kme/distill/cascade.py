"""Error correction by Cascade as a state machine: own parities out, the other end's parities in, round after round.

Both ends run this one class; only whether it corrects differs. It counts every parity when it is written.

Document: docs/protocols/qkd.md section 7.
"""

from __future__ import annotations

import itertools
import math
from typing import Final

import numpy as np

from workbench_kme.distill import cascade_kernels as kernels
from workbench_kme.distill.cascade_kernels import Bits

MOST_FRAME_BITS: Final = 1 << 18
SMALLEST_BLOCK: Final = 4
LARGEST_BLOCK: Final = 800
GROWTH: Final = 5


def first_block_size(test_size: int, test_errors: int) -> int:
    """0.8/q for q = test_errors/test_size, rounded up, within 4 … 800; in whole numbers, so equal everywhere."""
    if test_errors == 0:
        return LARGEST_BLOCK
    return min(LARGEST_BLOCK, max(SMALLEST_BLOCK, -(-4 * test_size // (5 * test_errors))))


def frame_starts(size: int) -> list[int]:
    """F + 1 places: where the frames of a block of `size` bits begin, and its end. Frames differ by one bit at most."""
    frames = -(-size // MOST_FRAME_BITS)
    short, longer = divmod(size, frames)
    return [i * short + min(i, longer) for i in range(frames + 1)]


class Cascade:
    """One end of the correction of one block.

    key: n bits, uint8 0 or 1; copied. corrects: True at the receiver. seed: 16 public bytes, equal at both ends.
    block_size: of pass 0, from `first_block_size`.
    Cost: about 25 ns a bit at 3 % errors, and 30 bytes of memory a bit.
    """

    def __init__(self, key: Bits, *, corrects: bool, seed: bytes, block_size: int) -> None:
        if len(seed) != 16:
            raise ValueError("the public seed has 16 bytes")
        if len(key) < 2 or not SMALLEST_BLOCK <= block_size <= LARGEST_BLOCK:
            raise ValueError("at least two bits, and a block size within its limits")
        self.round = 0
        self.disclosed = 0
        """Parities written so far: bits about this end's key."""
        self._state = _state(np.array(key, dtype=np.uint8), corrects, seed, block_size)
        self._own: Bits | None = None
        kernels.advance(self._state, np.zeros(0, np.uint8))

    @property
    def finished(self) -> bool:
        """No question is left. True at both ends after the same round."""
        return not self._state.scalars[kernels.ITEMS]

    @property
    def failed(self) -> bool:
        """A frame stayed odd after all halves, or answers contradicted one another; the keys differ."""
        return bool(self._state.scalars[kernels.FAILED])

    @property
    def errors(self) -> int:
        """Bits found to differ so far."""
        return int(self._state.flipped.sum())

    @property
    def key(self) -> Bits:
        """The key as corrected so far; the sender's never changes."""
        own: Bits = self._state.key[0]
        return own

    @property
    def questions(self) -> int:
        """Parities of the present round."""
        return kernels.count_questions(self._state)

    def parities(self) -> Bits:
        """Own parities of the present round; counted once, however often asked for."""
        if self._own is None:
            self._own = np.empty(self.questions, np.uint8)
            kernels.answer(self._state, self._own)
            self.disclosed += len(self._own)
        return self._own

    def advance(self, theirs: Bits) -> None:
        """Take the other end's parities of the present round. Raises ValueError if their number is wrong."""
        own = self.parities()
        if len(theirs) != len(own):
            raise ValueError("one parity for each question")
        kernels.advance(self._state, own ^ theirs)
        self._own = None
        self.round += 1


def shannon_bits(size: int, errors: int) -> float:
    """n·h(errors/n): what correction discloses at least, on average."""
    share = errors / size
    if not 0 < share < 1:
        return 0.0
    return size * -(share * math.log2(share) + (1 - share) * math.log2(1 - share))


def _state(key: Bits, corrects: bool, seed: bytes, block_size: int) -> kernels.State:
    size = len(key)
    starts = frame_starts(size)
    frames = len(starts) - 1
    lengths = [end - start for start, end in itertools.pairwise(starts)]
    word_starts = np.concatenate([[0], np.cumsum([-(-length // 64) for length in lengths])]).astype(np.int64)
    scalars = np.zeros(kernels.SCALARS, np.int64)
    scalars[kernels.CORRECTS] = corrects
    scalars[kernels.SIZE_0] = block_size
    scalars[kernels.SIZE_1] = GROWTH * block_size
    seeds = np.frombuffer(seed, dtype=">u8").astype(np.uint64)
    permutation, inverse = np.empty(size, np.int32), np.empty(size, np.int32)
    for i, (start, length) in enumerate(zip(starts, lengths, strict=False)):
        if i and length == lengths[i - 1]:
            shift = start - starts[i - 1]
            permutation[start : start + length] = permutation[starts[i - 1] : start] + shift
            inverse[start : start + length] = inverse[starts[i - 1] : start] + shift
        else:
            kernels.permute(seeds[0], start, length, permutation, inverse)
    state = kernels.State(
        key=np.stack([key, key]),
        permutation=permutation,
        inverse=inverse,
        cut=np.zeros((2, size), np.uint8),
        odd=np.zeros((2, size), np.uint8),
        waiting=np.empty((2, size), np.int32),
        waiting_count=np.zeros((2, frames), np.int64),
        starts=np.array(starts, np.int64),
        words=np.zeros(int(word_starts[-1]), np.uint64),
        word_starts=word_starts,
        flipped=np.zeros(size, np.uint8),
        passes=np.zeros(frames, np.int64),
        even=np.zeros(frames, np.int64),
        halves=np.zeros(frames, np.int64),
        finished=np.zeros(frames, np.int64),
        busy=np.zeros(frames, np.int64),
        # A frame's searches are disjoint intervals of two slots or more, in at most two halves: never more than its bits.
        items=np.empty((2, size + frames, 5), np.int32),
        # Twice, because contradicting answers can make both searches of a half end at the same bit.
        found=np.empty((2 * size, 3), np.int32),
        scalars=scalars,
        seed=seeds,
    )
    kernels.fill(state)
    return state
