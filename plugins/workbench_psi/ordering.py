"""Rows of 32 bytes as sorted sets: ascending order, its check, and what two sets have in common.

Document: docs/protocols/intersection.md section 1 ("ascending"). Everything here works on uint8 arrays of shape
(n, 32); rows compare as byte strings, first byte first. Time depends on public values only (points and products).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]

ROW_BYTES = 32


def ascending_order(rows: Rows) -> Places:
    """Indices that sort the rows ascending. Cost: one 64-bit argsort unless two rows share their first eight bytes."""
    words = _words(rows)
    order: Places = np.argsort(words[:, 0])
    first = words[order, 0]
    if (first[1:] == first[:-1]).any():
        order = np.lexsort(tuple(words[:, column] for column in (3, 2, 1, 0)))
    return order


def is_strictly_ascending(rows: Rows) -> bool:
    """Whether every row is greater than the one before it, and so all are distinct."""
    words = _words(rows)
    smaller = np.zeros(max(len(rows) - 1, 0), dtype=bool)
    for column in (3, 2, 1, 0):
        left, right = words[:-1, column], words[1:, column]
        smaller = (left < right) | ((left == right) & smaller)
    return bool(smaller.all())


def common_places(mine: Rows, theirs: Rows) -> tuple[Places, Places]:
    """Where two strictly ascending sets agree: places in `mine` and places in `theirs`, both ascending.

    Cost: one binary search per row of `theirs` on the first eight bytes, then a comparison of whole rows. Rows made to
    share those eight bytes cannot hide a match: where `mine` has such rows, whole rows are compared instead.
    """
    if not len(mine) or not len(theirs):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    keys, wanted = _words(mine)[:, 0], _words(theirs)[:, 0]
    if (keys[1:] == keys[:-1]).any():
        return _common_places_exactly(mine, theirs)
    candidate = np.minimum(np.searchsorted(keys, wanted), len(mine) - 1)
    found = np.flatnonzero(keys[candidate] == wanted)
    found = found[(mine[candidate[found]] == theirs[found]).all(axis=1)]
    return candidate[found], found


def _common_places_exactly(mine: Rows, theirs: Rows) -> tuple[Places, Places]:
    place_of = {row.tobytes(): place for place, row in enumerate(mine)}
    pairs = [(place_of.get(row.tobytes(), -1), place) for place, row in enumerate(theirs)]
    both = np.array([pair for pair in pairs if pair[0] >= 0], np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _words(rows: Rows) -> npt.NDArray[np.uint64]:
    """The rows as four big-endian numbers each, so that numbers compare like bytes."""
    return np.ascontiguousarray(rows).view(">u8").astype(np.uint64)
