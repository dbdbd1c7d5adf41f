"""Where random bytes come from: an argument of every pure core, the operating system everywhere else."""

from __future__ import annotations

import secrets
from typing import Protocol

from workbench.crypto import sm3


class RandomSource(Protocol):
    """Anything that yields unpredictable bytes when called with their number; `secrets.token_bytes` is one."""

    def __call__(self, count: int, /) -> bytes:
        """`count` fresh random bytes."""


SYSTEM: RandomSource = secrets.token_bytes
"""The operating system's generator: the only source outside tests."""


class SeededSource:
    """A reproducible stream for tests and synthetic lists; never for a key, a nonce or a salt of real work.

    The stream is SM3(seed || counter) block by block, so two objects with one seed yield equal bytes however the
    reads are cut.
    """

    def __init__(self, seed: bytes) -> None:
        self._seed = sm3.digest(seed)
        self._counter = 0
        self._buffer = bytearray()

    def __call__(self, count: int, /) -> bytes:
        """The next `count` bytes of the stream."""
        while len(self._buffer) < count:
            self._buffer += sm3.digest(self._seed + self._counter.to_bytes(8, "big"))
            self._counter += 1
        chunk = bytes(self._buffer[:count])
        del self._buffer[:count]
        return chunk


def below(source: RandomSource, bound: int) -> int:
    """A uniform integer 0 <= x < bound, by rejection, so that no value is more likely than another.

    bound: at least 1. Cost: fewer than two reads on average.
    """
    if bound < 1:
        raise ValueError("bound must be at least 1")
    bits = (bound - 1).bit_length()
    size = (bits + 7) // 8
    while True:
        candidate = int.from_bytes(source(size), "big") >> (8 * size - bits) if size else 0
        if candidate < bound:
            return candidate
