"""Sifting: which detections count, and what both ends then know in common.

Document: docs/protocols/qkd.md section 6.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from workbench_kme.distill.bodies import Detections, Sifting
from workbench_kme.distill.compiling import compiled
from workbench_kme.distill.frames import refused
from workbench_kme.physics.link import KEY_BASIS, TEST_BASIS
from workbench_kme.physics.views import Counts, ReceiverView, SenderView, Small, tabulate

KEY_MASK: Final = np.uint8(TEST_BASIS)
"""Turns a basis, 1 for test, into a choice, 1 for key."""


@dataclass(frozen=True, slots=True, eq=False)
class Sifted:
    """One end's sifted key and what both ends counted. Secret: `key`."""

    key: Small = field(repr=False)
    counts: Counts


def announce(view: ReceiverView, seed: bytes) -> Detections:
    """What the receiver tells: slots, bases, outcomes of the test basis. seed: 16 public random bytes."""
    return Detections(view.pulses, view.index, view.basis, pick(view.bit, view.basis), seed)


def answer(view: SenderView, heard: Detections) -> tuple[Sifting, Sifted]:
    """What the sender answers, and its own sifted key.

    Raises ProtocolViolation if the announced slots are not of this view's block.
    """
    if heard.pulses != view.pulses:
        raise refused()
    basis, bit, intensity = view.basis, view.bit, view.intensity
    # The simulated receiver announces just what the view holds; only another selection needs a search.
    if not np.array_equal(heard.index, view.index):
        try:
            at = view.positions(heard.index)
        except ValueError as error:
            raise refused() from error
        basis, bit, intensity = basis[at], bit[at], intensity[at]
    agrees = (basis == heard.basis).astype(np.uint8)
    theirs = pick(heard.test_bits, pick(agrees, heard.basis))
    basis, bit = pick(basis, agrees), pick(bit, agrees)
    told = Sifting(agrees, pick(intensity, agrees), pick(bit, basis), view.sent)
    return told, Sifted(pick(bit, basis ^ KEY_MASK), _counts(told, basis, theirs))


def conclude(view: ReceiverView, heard: Sifting) -> Sifted:
    """The receiver's sifted key. Raises ProtocolViolation if the answer contradicts itself."""
    basis, bit = pick(view.basis, heard.agrees), pick(view.bit, heard.agrees)
    if len(heard.test_bits) != np.count_nonzero(basis):
        raise refused()
    return Sifted(pick(bit, basis ^ KEY_MASK), _counts(heard, basis, pick(bit, basis)))


def pick(values: Small, chosen: Small) -> Small:
    """The values whose choice is 1, in order. chosen: 0 or 1 for each value."""
    if len(values) != len(chosen):
        raise refused()
    out = np.empty(len(values), np.uint8)
    return out[: _pick(values, chosen, out)]


# numpy selects by a mask at about 8 ns an element, and a block selects ten times.
@compiled
def _pick(values: npt.NDArray[np.uint8], chosen: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8]) -> int:
    count = 0
    for i in range(len(values)):
        out[count] = values[i]
        count += chosen[i]
    return count


def _counts(told: Sifting, basis: Small, receivers: Small) -> Counts:
    """The counts that follow from what both ends said."""
    tested = pick(told.intensity, basis)
    wrong = pick(tested, told.test_bits ^ receivers)
    errors = tabulate(np.full(len(wrong), TEST_BASIS, np.uint8), wrong)
    try:
        return Counts(told.sent, tabulate(basis, told.intensity), (errors[KEY_BASIS], errors[TEST_BASIS]))
    except ValueError as error:
        raise refused() from error
