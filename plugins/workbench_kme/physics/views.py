"""What each end of a line knows about a block of pulses, and the counts that estimation needs.

Document: docs/protocols/qkd.md section 3. Arrays are read-only; `repr` shows sizes and never a bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from workbench_kme.physics.link import KEY_BASIS, TEST_BASIS

Indices = npt.NDArray[np.uint64]
Small = npt.NDArray[np.uint8]
Triple = tuple[int, int, int]
Table = tuple[Triple, Triple]
"""Whole numbers by [basis][intensity]: key basis, test basis; signal, decoy, vacuum."""

NONE: Final[Table] = ((0, 0, 0), (0, 0, 0))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SenderView:
    """The sender's knowledge of one block, held for exactly the slots that the simulated receiver saw.

    A real sender keeps a record of every pulse and does not know which of them were detected: the receiver announces
    that. This view holds the record of detected slots only, because nothing else can ever be asked for and a block may
    have 10^11 pulses. An end must treat the view as a table to answer from (`positions`), never as knowledge of
    what arrived: it sends nothing that depends on `index` before the receiver has announced its indices.

    index: n strictly increasing slot numbers, uint64, each < pulses.
    bit, basis, intensity: n of uint8. basis 0 = X (key), 1 = Z (test); intensity 0 mu, 1 nu, 2 vacuum.
    sent: pulses by [basis][intensity], detected or not: the sender's own knowledge; sums to pulses.
    Secret: `bit` of the key basis. Lives in memory only.
    """

    block: int
    pulses: int
    index: Indices
    bit: Small
    basis: Small
    intensity: Small
    sent: Table

    def __post_init__(self) -> None:
        _freeze(self.index, self.bit, self.basis, self.intensity)

    def __repr__(self) -> str:
        return f"SenderView(block={self.block}, pulses={self.pulses}, detected={len(self.index)})"

    def positions(self, announced: Indices) -> npt.NDArray[np.int64]:
        """Where each announced slot number stands in this view.

        announced: strictly increasing uint64.
        Raises ValueError where the numbers do not increase, or one is not in the view: the simulated line did not
        click there, so the two ends do not run the same line, seed, block or number of pulses.
        """
        if len(announced) > 1 and not bool(np.all(announced[1:] > announced[:-1])):
            raise ValueError("announced slot numbers must increase")
        found = np.searchsorted(self.index, announced)
        if len(announced) and (int(found[-1]) >= len(self.index) or not bool(np.array_equal(self.index[found], announced))):
            raise ValueError("an announced slot is not one of this block's detections")
        return found.astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ReceiverView:
    """The receiver's knowledge of one block: the slots that clicked.

    index: n strictly increasing slot numbers, uint64. bit, basis: n of uint8 (basis 0 = X key, 1 = Z test).
    Secret: `bit` of the key basis. Lives in memory only.
    """

    block: int
    pulses: int
    index: Indices
    bit: Small
    basis: Small

    def __post_init__(self) -> None:
        _freeze(self.index, self.bit, self.basis)

    def __repr__(self) -> str:
        return f"ReceiverView(block={self.block}, pulses={self.pulses}, detected={len(self.index)})"


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of one block by [basis][intensity], where both ends chose the same basis.

    sent: pulses that the sender prepared in this basis and intensity (the receiver's basis whatever it was).
    detected: slots that clicked with both ends in this basis.
    errors: of `detected`, with differing bits. Known for the test basis from its disclosure; for the key basis only
        after error correction (the number of bits corrected), otherwise 0: estimation reads the test basis's only.
    """

    sent: Table
    detected: Table
    errors: Table = NONE

    def __post_init__(self) -> None:
        for basis in (KEY_BASIS, TEST_BASIS):
            rows = zip(self.errors[basis], self.detected[basis], self.sent[basis], strict=True)
            if any(not 0 <= wrong <= seen <= sent for wrong, seen, sent in rows):
                raise ValueError("counts must satisfy 0 <= errors <= detected <= sent")

    @property
    def key_size(self) -> int:
        """n_X: sifted bits of the key basis, all intensities together."""
        return sum(self.detected[KEY_BASIS])

    @property
    def test_size(self) -> int:
        """n_Z: disclosed bits of the test basis."""
        return sum(self.detected[TEST_BASIS])

    @property
    def test_errors(self) -> int:
        """m_Z: disclosed bits that differ."""
        return sum(self.errors[TEST_BASIS])


def tabulate(basis: Small, intensity: Small) -> Table:
    """Count events by [basis][intensity]."""
    cells = np.bincount(basis.astype(np.intp) * 3 + intensity, minlength=6)
    key, test = [int(n) for n in cells[:3]], [int(n) for n in cells[3:6]]
    return (key[0], key[1], key[2]), (test[0], test[1], test[2])


def count(sender: SenderView, receiver: ReceiverView) -> Counts:
    """All counts of a block whose two views lie in one process (tests, notebooks, curves).

    The two ends of a real run learn the same numbers by messages (docs/protocols/qkd.md sections 5 to 9).
    """
    if (sender.block, sender.pulses) != (receiver.block, receiver.pulses) or not np.array_equal(sender.index, receiver.index):
        raise ValueError("the two views are not of one block")
    same = sender.basis == receiver.basis
    wrong = same & (sender.bit != receiver.bit)
    return Counts(
        sent=sender.sent,
        detected=tabulate(sender.basis[same], sender.intensity[same]),
        errors=tabulate(sender.basis[wrong], sender.intensity[wrong]),
    )


def _freeze(*arrays: npt.NDArray[Any]) -> None:
    if len({len(array) for array in arrays}) > 1:
        raise ValueError("the arrays of a view have one length")
    for array in arrays:
        array.flags.writeable = False
