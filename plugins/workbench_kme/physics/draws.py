"""Reproducible draws: words of SHAKE-256 from a seed, and exact binomial numbers from them.

Document: docs/protocols/qkd.md section 3. The words are those of a standard, not of a version of a numerical library, and
arithmetic on arrays uses whole numbers and the basic IEEE 754 operations only: the same block comes out on every
machine. A generator made for statistics would not do: half of a block's values are disclosed, and from them the state
of such a generator, hence the other half, can be recovered.
"""

from __future__ import annotations

import hashlib
import math
from typing import Final

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]

LABEL: Final = b"workbench/v1/qkd-line\n"
UNIT: Final = 1 << 53
"""A word's upper 53 bits are a whole number below this: a uniform number in steps of 2^-53."""
_INVERSION_LIMIT: Final = 10.0
"""Expected value below which summing up from zero is quicker than rejection, and rejection no longer exact."""


def words(context: bytes, name: str, count: int) -> Words:
    """The first `count` words of one named stream, 8 bytes each, little-endian.

    context: what the streams of one block share (seed, block number, parameters). Cost: about 20 ns a word.
    """
    return np.frombuffer(_stream(context, name, 8 * count), dtype="<u8").astype(np.uint64, copy=False)


def half_words(context: bytes, name: str, count: int) -> npt.NDArray[np.uint32]:
    """The same for words of 4 bytes."""
    return np.frombuffer(_stream(context, name, 4 * count), dtype="<u4").astype(np.uint32, copy=False)


class Uniforms:
    """One stream read number by number: uniform in steps of 2^-53, never 0 and never 1."""

    def __init__(self, context: bytes, name: str) -> None:
        self._context = context
        self._name = name
        self._taken = 0
        self._ready: list[int] = []

    def take(self) -> float:
        if self._taken == len(self._ready):
            # The output of SHAKE-256 for a greater length begins with the output for a smaller one.
            self._ready = [int(word) for word in words(self._context, self._name, max(64, 4 * self._taken))]
        word = self._ready[self._taken]
        self._taken += 1
        return ((word >> 11) + 0.5) / UNIT


def binomial(uniforms: Uniforms, trials: int, probability: float) -> int:
    """How many of `trials` independent trials succeed.

    trials: 0 to 2^40. Exact up to the rounding of binary64 (relative error of a probability below 10^-3 at 2^40 trials,
    in the far tails only).
    Source: W. Hoermann, J. Stat. Comput. Simul. 46, 101 (1993), algorithm BTRS; below an expected value of 10, inversion.
    """
    if not 0 <= trials <= 1 << 40:
        raise ValueError("between 0 and 2^40 trials")
    if not 0 <= probability <= 1:
        raise ValueError("a probability lies between 0 and 1")
    if probability > 0.5:
        return trials - binomial(uniforms, trials, 1 - probability)
    if trials * probability < _INVERSION_LIMIT:
        return _by_inversion(uniforms, trials, probability)
    return _by_rejection(uniforms, trials, probability)


def _by_inversion(uniforms: Uniforms, trials: int, probability: float) -> int:
    if trials == 0 or probability == 0:
        return 0
    left = uniforms.take()
    mass = math.exp(trials * math.log1p(-probability))
    odds = probability / (1 - probability)
    successes = 0
    while left > mass and successes < trials:
        left -= mass
        mass *= odds * (trials - successes) / (successes + 1)
        successes += 1
        if mass == 0:
            break
    return successes


def _by_rejection(uniforms: Uniforms, trials: int, probability: float) -> int:
    spread = math.sqrt(trials * probability * (1 - probability))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * probability
    centre = trials * probability + 0.5
    squeeze = 0.92 - 4.2 / b
    odds = probability / (1 - probability)
    alpha = (2.83 + 5.1 / b) * spread
    mode = math.floor((trials + 1) * probability)
    while True:
        u = uniforms.take() - 0.5
        v = uniforms.take()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + centre)
        if not 0 <= k <= trials:
            continue
        if us >= 0.07 and v <= squeeze:
            return k
        bound = (
            (mode + 0.5) * math.log((mode + 1) / (odds * (trials - mode + 1)))
            + (trials + 1) * math.log1p((k - mode) / (trials - k + 1))
            + (k + 0.5) * math.log(odds * (trials - k + 1) / (k + 1))
            + _tail(mode)
            + _tail(trials - mode)
            - _tail(k)
            - _tail(trials - k)
        )
        if math.log(v * alpha / (a / (us * us) + b)) <= bound:
            return k


_TAILS: Final = tuple(
    math.lgamma(k + 1) - (k + 0.5) * math.log(k + 1) + (k + 1) - 0.5 * math.log(2 * math.pi) for k in range(10)
)


def _tail(k: int) -> float:
    """ln k! minus Stirling's (k + 1/2) ln(k + 1) - (k + 1) + ln(2 pi) / 2."""
    if k < 10:
        return _TAILS[k]
    square = (k + 1) * (k + 1)
    return (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (k + 1)


def _stream(context: bytes, name: str, size: int) -> bytes:
    return hashlib.shake_256(LABEL + name.encode("ascii") + b"\n" + context).digest(size)
