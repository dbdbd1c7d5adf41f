"""Rows of 32 bytes: what is checked on the other side's points, how lists are ordered and compared.

Every `require_*` either does nothing or raises `ProtocolViolation` with a code of its own. No message carries a point
or its position: only how many rows were examined and how many failed. All checks are whole-array numpy, all pure.

Order everywhere is that of the 32 bytes as they are sent, compared from the first byte on (as `bytes` compare in
Python), which is not the order of the little-endian numbers they stand for.

Document: docs/protocols/curve.md section 8.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from workbench.errors import ProtocolViolation

ByteRows = npt.NDArray[np.uint8]
RowNumbers = npt.NDArray[np.int64]
_Words = npt.NDArray[np.uint64]

POINT_BYTES: Final = 32
FIELD_PRIME: Final = 2**255 - 19
_BLOCK_ROWS: Final = 1 << 15
"""Rows compared at a time, so that what is made for it stays small beside the lists themselves."""

_LOW_ORDER: Final = (  # every u in [0, p) of order 1, 2, 4 or 8 on the curve or on its twist
    0,  # order 2 on both
    1,  # order 4 on the curve
    325606250916557431795983626356110631294008115727848805560023387167927233504,  # order 8
    39382357235489614581723060781553021112529911719440698176882885853963445705823,  # order 8
    FIELD_PRIME - 1,  # order 4 on the twist
)


# Bytes and rows -------------------------------------------------------------------------------------------------------


def rows_from_bytes(data: bytes, *, count: int) -> ByteRows:
    """The `count` rows of a message body, read-only and without copying.

    Raises ProtocolViolation POINTS_LENGTH if the body is not exactly 32 bytes a row.
    """
    if len(data) != count * POINT_BYTES:
        raise _violation("POINTS_LENGTH", "长度与约定的数量不符", "do not have the agreed length", count, count)
    return np.frombuffer(data, np.uint8).reshape(count, POINT_BYTES)


# Checks on what the other side sent -----------------------------------------------------------------------------------


def require_received(points: ByteRows, *, own: ByteRows) -> None:
    """All checks on a list of masked points as it arrives, `own` being the list this side has sent.

    Canonical, strictly ascending (so none twice), none of low order, none of our own. Cost: 0.2 us a row.
    """
    require_canonical(points)
    require_ascending(points)
    require_no_low_order(points)
    require_not_own(points, own=own)


def require_products(products: ByteRows) -> None:
    """The checks on what this side computed from the other side's points: none zero, none twice."""
    require_nonzero(products)
    require_distinct(products)


def sorted_products(products: ByteRows) -> tuple[ByteRows, RowNumbers]:
    """`require_products` and the products in ascending order with `ascending_order`, for the price of one sorting."""
    order = ascending_order(products)
    ascending = products[order]
    require_nonzero(ascending[:1])
    _require_distinct_neighbours(ascending)
    return ascending, order


def require_canonical(points: ByteRows) -> None:
    """Bit 255 is zero (it is reserved) and u < p: each point has one encoding.

    Raises POINT_RESERVED_BIT or POINT_NOT_CANONICAL.
    """
    _check_shape(points)
    reserved = int(np.count_nonzero(points[:, 31] & 128))
    if reserved:
        raise _violation("POINT_RESERVED_BIT", "的保留位不为零", "have the reserved bit set", reserved, len(points))
    words = _little_endian_words(points)
    # From p = 2^255 - 19 on the upper three words are all ones but for bit 255, and the lowest is at least 2^64 - 19.
    all_ones = np.uint64(2**64 - 1)
    too_large = (
        (words[:, 3] == np.uint64(2**63 - 1))
        & (words[:, 2] == all_ones)
        & (words[:, 1] == all_ones)
        & (words[:, 0] >= np.uint64(2**64 - 19))
    )
    failed = int(np.count_nonzero(too_large))
    if failed:
        raise _violation("POINT_NOT_CANONICAL", "不是规范编码", "are not encoded canonically", failed, len(points))


def require_ascending(points: ByteRows) -> None:
    """Every row is greater than the one before. Raises POINTS_NOT_ASCENDING (also for equal neighbours)."""
    failed = _count_not_ascending(points)
    if failed:
        raise _violation("POINTS_NOT_ASCENDING", "没有严格升序排列", "are not strictly ascending", failed, len(points))


def require_no_low_order(points: ByteRows) -> None:
    """No point of order 1, 2, 4 or 8: its product would be zero whatever the scalar. Raises POINT_LOW_ORDER.

    points: canonical ones; other spellings of these values are `require_canonical`'s to refuse.
    """
    _check_shape(points)
    words = _little_endian_words(points)
    failed = 0
    for u in _LOW_ORDER:
        low = np.frombuffer(u.to_bytes(POINT_BYTES, "little"), np.dtype("<u8"))
        alike = words[words[:, 0] == low[0]]
        failed += int(np.count_nonzero((alike == low).all(axis=1)))
    if failed:
        raise _violation("POINT_LOW_ORDER", "属于小阶子群", "have a small order", failed, len(points))


def require_not_own(points: ByteRows, *, own: ByteRows) -> None:
    """No row equals one of ours: sent back (echo) or shown to us as theirs (reflection). Raises POINT_REFLECTED."""
    failed = int(np.count_nonzero(contained(points, own)))
    if failed:
        raise _violation("POINT_REFLECTED", "是本方发出的点", "are points that this side sent", failed, len(points))


def require_nonzero(products: ByteRows) -> None:
    """No row is all zeros, which is how a low-order point comes out of X25519. Raises PRODUCT_ZERO."""
    _check_shape(products)
    failed = int(np.count_nonzero(~_little_endian_words(products).any(axis=1)))
    if failed:
        raise _violation("PRODUCT_ZERO", "的乘积为零", "give the product zero", failed, len(products))


def require_distinct(rows: ByteRows) -> None:
    """No row occurs twice. Raises PRODUCTS_NOT_DISTINCT.

    A point plus one of order 2, 4 or 8 is another point with the same product: so one element could count eight times.
    """
    _require_distinct_neighbours(sort_rows(rows))


def _require_distinct_neighbours(ascending: ByteRows) -> None:
    failed = _count_not_ascending(ascending)
    if failed:
        raise _violation("PRODUCTS_NOT_DISTINCT", "的乘积重复", "repeat a product", failed, len(ascending))


# Order and comparison -------------------------------------------------------------------------------------------------


def ascending_order(rows: ByteRows) -> RowNumbers:
    """The permutation that sorts: rows[ascending_order(rows)] ascends; equal rows keep their order.

    Cost: 0.1-0.2 us a row; five times that if rows share their first eight bytes, which the other side could arrange.
    """
    _check_shape(rows)
    prefixes = _prefixes(rows)
    order = _order_by(prefixes)
    return _order_by_all_words(_big_endian_words(rows)) if _has_equal_neighbours(prefixes[order]) else order


def sort_rows(rows: ByteRows) -> ByteRows:
    """A new array with the rows in ascending order."""
    return rows[ascending_order(rows)]


def contained(rows: ByteRows, among: ByteRows) -> npt.NDArray[np.bool_]:
    """For every row, whether it occurs in `among`; both in any order, repetitions allowed. 0.3 us a row."""
    found = np.zeros(len(rows), np.bool_)
    positions, _ = matches(rows, among)
    found[positions] = True
    return found


def matches(left: ByteRows, right: ByteRows) -> tuple[RowNumbers, RowNumbers]:
    """Positions of equal rows: left[i] == right[j] for every pair (i, j) returned, ascending by i.

    Both lists in any order. A row that occurs several times in `right` is matched with its first occurrence; one that
    occurs several times in `left` is matched each time. Cost: 0.3 us a row. Eight bytes decide nearly always; whether
    the other 24 agree is checked too. Rows chosen to share their first eight bytes cost five times as much, no more.
    """
    _check_shape(left)
    _check_shape(right)
    if not len(left) or not len(right):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    (wanted, left_order), (prefixes, right_order) = _sorted_prefixes(left), _sorted_prefixes(right)
    if _has_equal_neighbours(prefixes):
        return _matches_of_whole_rows(_big_endian_words(left), _big_endian_words(right))
    place = np.minimum(
        np.searchsorted(prefixes, wanted), len(prefixes) - 1
    )  # both ascend: the search stays in the cache
    hit = np.flatnonzero(prefixes[place] == wanted)
    i, j = hit, place[hit]
    if left_order is not None:
        i = left_order[i]
    if right_order is not None:
        j = right_order[j]
    agrees = _equal_rows(left, i, right, j)
    i, j = i[agrees], j[agrees]
    if left_order is None:
        return i, j
    by_left = np.argsort(i)
    return i[by_left], j[by_left]


def _equal_rows(left: ByteRows, i: RowNumbers, right: ByteRows, j: RowNumbers) -> npt.NDArray[np.bool_]:
    """Where left[i] == right[j], a block at a time."""
    agrees = np.empty(len(i), np.bool_)
    for start in range(0, len(i), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        agrees[part] = (left[i[part]] == right[j[part]]).all(axis=1)
    return agrees


def _matches_of_whole_rows(left: _Words, right: _Words) -> tuple[RowNumbers, RowNumbers]:
    """`matches` without the short cut: sort everything together, the right rows first among equals."""
    together = np.concatenate([right, left])
    order = _order_by_all_words(together)
    is_new = _is_greater_than_previous(together[order])
    first_of_run = order[np.maximum.accumulate(np.where(is_new, np.arange(len(order)), 0))]
    leader = np.empty(len(order), np.int64)
    leader[order] = first_of_run
    candidate = leader[len(right) :]
    positions = np.flatnonzero(candidate < len(right))
    return positions, candidate[positions]


def _sorted_prefixes(rows: ByteRows) -> tuple[npt.NDArray[np.uint64], RowNumbers | None]:
    """The first words in ascending order, and their permutation; None where they stand in it already."""
    prefixes = _prefixes(rows)
    if bool((prefixes[1:] > prefixes[:-1]).all()):
        return prefixes, None
    order = _order_by(prefixes)
    return prefixes[order], order


def _has_equal_neighbours(ascending: npt.NDArray[np.uint64]) -> bool:
    return bool((ascending[1:] == ascending[:-1]).any())


def _count_not_ascending(rows: ByteRows) -> int:
    """How many rows are not greater than the one before, a block at a time."""
    _check_shape(rows)
    failed = 0
    for start in range(0, len(rows), _BLOCK_ROWS):
        words = _big_endian_words(rows[max(0, start - 1) : start + _BLOCK_ROWS])
        failed += int(np.count_nonzero(~_is_greater_than_previous(words)))
    return failed


def _order_by(first_words: _Words) -> RowNumbers:
    """Of equal words any may come first: every caller looks at whole rows where some are equal."""
    return np.argsort(first_words).astype(np.int64, copy=False)


def _order_by_all_words(words: _Words) -> RowNumbers:
    return np.lexsort((words[:, 3], words[:, 2], words[:, 1], words[:, 0])).astype(np.int64, copy=False)


def _is_greater_than_previous(words: _Words) -> npt.NDArray[np.bool_]:
    """Row by row; the first row counts as greater."""
    greater = np.ones(len(words), np.bool_)
    undecided = np.ones(max(len(words) - 1, 0), np.bool_)
    later = np.zeros(max(len(words) - 1, 0), np.bool_)
    for word in range(words.shape[1]):
        later |= undecided & (words[1:, word] > words[:-1, word])
        undecided &= words[1:, word] == words[:-1, word]
        if not undecided.any():
            break
    greater[1:] = later
    return greater


def _prefixes(rows: ByteRows) -> npt.NDArray[np.uint64]:
    """The first of the big-endian words of every row: it decides the order nearly always."""
    return np.ascontiguousarray(rows[:, :8]).view(np.dtype(">u8")).ravel().astype(np.uint64)


def _big_endian_words(rows: ByteRows) -> _Words:
    """Four integers a row whose order, first word first, is the order of the bytes."""
    return np.ascontiguousarray(rows).view(np.dtype(">u8")).astype(np.uint64)


def _little_endian_words(rows: ByteRows) -> _Words:
    return np.ascontiguousarray(rows).view(np.dtype("<u8")).astype(np.uint64, copy=False)


def _check_shape(rows: ByteRows) -> None:
    """A wrong shape is our own mistake: what arrives has gone through `rows_from_bytes`."""
    if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != POINT_BYTES:
        raise ValueError("rows have the shape (n, 32) and the type uint8")


def _violation(code: str, zh: str, en: str, failed: int, examined: int) -> ProtocolViolation:
    return ProtocolViolation(
        f"对方发来的 {examined} 个点中有 {failed} 个{zh}：本次任务中止，请双方运维人员核查程序。",
        f"{failed} of {examined} points of the other institution {en}: this attempt ends; operators of both sides must "
        "check their programs.",
        code=code,
        details={"examined": str(examined), "failed": str(failed)},
    )
