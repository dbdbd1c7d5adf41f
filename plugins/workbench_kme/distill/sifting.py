"""Sifting: which detections count, and what both ends then know in common.

Document: docs/protocols/qkd.md section 6.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from workbench_kme.distill.bodies import Detections, Sifting
from workbench_kme.distill.frames import refused
from workbench_kme.physics.link import KEY_BASIS, TEST_BASIS
from workbench_kme.physics.views import Counts, ReceiverView, SenderView, Small, tabulate


@dataclass(frozen=True, slots=True, eq=False)
class Sifted:
    """One end's sifted key and what both ends counted. Secret: `key`."""

    key: Small = field(repr=False)
    counts: Counts


def announce(view: ReceiverView, seed: bytes) -> Detections:
    """What the receiver tells: slots, bases, outcomes of the test basis. seed: 16 public random bytes."""
    return Detections(view.pulses, view.index, view.basis, view.bit[view.basis == TEST_BASIS], seed)


def answer(view: SenderView, heard: Detections) -> tuple[Sifting, Sifted]:
    """What the sender answers, and its own sifted key.

    Raises ProtocolViolation if the announced slots are not of this view's block.
    """
    try:
        at = view.positions(heard.index)
    except ValueError as error:
        raise refused() from error
    if heard.pulses != view.pulses:
        raise refused()
    basis, bit = view.basis[at], view.bit[at]
    agrees = basis == heard.basis
    intensity = view.intensity[at][agrees]
    basis, bit = basis[agrees], bit[agrees]
    test = basis == TEST_BASIS
    theirs = heard.test_bits[agrees[heard.basis == TEST_BASIS]]
    told = Sifting(agrees.astype(np.uint8), intensity, bit[test], view.sent)
    return told, Sifted(bit[~test], _counts(told, basis, theirs))


def conclude(view: ReceiverView, heard: Sifting) -> Sifted:
    """The receiver's sifted key. Raises ProtocolViolation if the answer contradicts itself."""
    agrees = heard.agrees.astype(np.bool_)
    basis, bit = view.basis[agrees], view.bit[agrees]
    test = basis == TEST_BASIS
    if len(heard.test_bits) != int(test.sum()):
        raise refused()
    return Sifted(bit[~test], _counts(heard, basis, bit[test]))


def _counts(told: Sifting, basis: Small, receivers: Small) -> Counts:
    """The counts that follow from what both ends said."""
    tested = told.intensity[basis == TEST_BASIS]
    wrong = tested[told.test_bits != receivers]
    errors = tabulate(np.full(len(wrong), TEST_BASIS, np.uint8), wrong)
    try:
        return Counts(told.sent, tabulate(basis, told.intensity), (errors[KEY_BASIS], errors[TEST_BASIS]))
    except ValueError as error:
        raise refused() from error
