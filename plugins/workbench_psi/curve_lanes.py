"""Formulas of Curve25519 on vectors of points, written once for every kind of value that can carry them.

A field element modulo p = 2^255 - 19 is five signed limbs of radix 2^51: value = sum of limb[k] * 2^(51 k). A limb
lives in one of two forms:

- *tight*: a double holding an integer, |limb| <= 2^50 + 2^15;
- *column*: a signed 64-bit word, |column| < 2^61, as sums of products leave it.

The functions below never compute: they ask a `Lane` for additions, shifts and fused multiply-adds. Three kinds of lane
exist. `curve_kernels` has the one that emits LLVM vectors, which is what runs; the tests have one that follows every
IEEE rounding of a single point with exact integers, and one that carries intervals together with polynomials. Because
all three pass through the same functions, what the tests prove holds for the code that runs.

Document: docs/protocols/curve.md (representation, bounds and their proof, sources).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Protocol, Self, TypeVar

LIMBS = 5
LIMB_BITS = 51
LIMB_MASK = 2**LIMB_BITS - 1
FIELD_PRIME = 2**255 - 19
MONTGOMERY_A = 486662
LADDER_CONSTANT = (MONTGOMERY_A - 2) // 4
"""RFC 7748 section 5 calls it a24."""

ROUND_TO_LIMB = 1.5 * 2.0**103
"""Doubles next to it are 2^51 apart: adding it rounds a number of at most 2^102 to a multiple of 2^51."""
ROUND_TO_UNIT = 1.5 * 2.0**52
"""Doubles next to it are 1 apart: for every integer |n| <= 2^51 the bits of (this + n) are the bits of this, plus n."""


class Lane(Protocol):
    """One limb of several points: doubles or 64-bit words, whichever the last operation left.

    Words add, subtract and shift left modulo 2^64; `>>` fills with zeros. Doubles round to nearest, ties to even.
    """

    def __add__(self, other: Self | float, /) -> Self: ...
    def __sub__(self, other: Self | float, /) -> Self: ...
    def __rsub__(self, other: float, /) -> Self: ...
    def __and__(self, other: Self | int, /) -> Self: ...
    def __or__(self, other: Self, /) -> Self: ...
    def __lshift__(self, places: int, /) -> Self: ...
    def __rshift__(self, places: int, /) -> Self: ...

    def fma(self, factor: Self | float, addend: Self | float) -> Self:
        """self * factor + addend on doubles, rounded once."""

    def as_words(self) -> Self:
        """The same 64 bits read as a word; words stay as they are."""

    def as_doubles(self) -> Self:
        """The same 64 bits read as a double; doubles stay as they are."""

    def blend(self, other: Self, mask: Self) -> Self:
        """`self` where the mask is all zeros, `other` where it is all ones, without a branch."""

    def double(self, number: float) -> Self:
        """The same double in every lane."""

    def word(self, number: int) -> Self:
        """The same word in every lane."""


L = TypeVar("L", bound=Lane)


def bits_of(number: float) -> int:
    """The 64 bits of a double as an integer."""
    return int.from_bytes(struct.pack(">d", number), "big")


# Products -------------------------------------------------------------------------------------------------------------


def sum_of_products(terms: Iterable[tuple[int, int, L, L | float]]) -> list[L]:
    """Sum the products of limbs (i, j, a_i, b_j) into five columns, with 2^255 = 19 folded in.

    Needs |a_i * b_j| <= 2^102. The first fused multiply-add rounds the product to a multiple of 2^51; the second leaves
    the remainder, at most 2^50, exactly. Both results are read as words: between two powers of two the bits of a double
    count its last places, so adding words adds the numbers, and the bits of the two constants are taken off once at the
    end (docs/protocols/curve.md section 3).
    """
    columns: list[L | None] = [None] * (2 * LIMBS)
    bias = [0] * (2 * LIMBS)

    def collect(column: int, summand: L, constant: float) -> None:
        sum_so_far = columns[column]
        columns[column] = summand if sum_so_far is None else sum_so_far + summand
        bias[column] += bits_of(constant)

    for i, j, left, right in terms:
        high = left.fma(right, ROUND_TO_LIMB)
        low = left.fma(right, (ROUND_TO_LIMB + ROUND_TO_UNIT) - high)
        collect(i + j + 1, high.as_words(), ROUND_TO_LIMB)
        collect(i + j, low.as_words(), ROUND_TO_UNIT)

    plain = [None if column is None else column - bias[k] for k, column in enumerate(columns)]
    return [_folded(plain[k], plain[k + LIMBS]) for k in range(LIMBS)]


def _folded(column: L | None, column_above: L | None) -> L:
    """column + 19 * (the column five places higher), either of which may have had no product."""
    if column is None or column_above is None:
        raise AssertionError("every formula here fills at least one product into each pair of columns it folds")
    return column + times_19(column_above)


def times_19(word: L) -> L:
    """19 * word by shifts: 64-bit vector multiplication is slow or missing on most processors."""
    return (word << 4) + (word << 1) + word


def multiply(left: Sequence[L], right: Sequence[L]) -> list[L]:
    """Columns of left * right; both as doubles."""
    return sum_of_products((i, j, left[i], right[j]) for i in range(LIMBS) for j in range(LIMBS))


def square(element: Sequence[L]) -> list[L]:
    """Columns of element^2: fifteen products instead of twenty-five."""
    doubled = [limb + limb for limb in element]
    return sum_of_products(
        (i, j, doubled[i] if i < j else element[i], element[j]) for i in range(LIMBS) for j in range(i, LIMBS)
    )


def scale(element: Sequence[L], number: int) -> list[L]:
    """Columns of number * element, for a small constant: |limb * number| <= 2^102."""
    products = [(limb.fma(float(number), ROUND_TO_LIMB), limb) for limb in element]
    high = [rounded.as_words() - bits_of(ROUND_TO_LIMB) for rounded, _ in products]
    low = [
        limb.fma(float(number), (ROUND_TO_LIMB + ROUND_TO_UNIT) - rounded).as_words() - bits_of(ROUND_TO_UNIT)
        for rounded, limb in products
    ]
    return [low[0] + times_19(high[-1])] + [low[k] + high[k - 1] for k in range(1, LIMBS)]


def carry(columns: Sequence[L]) -> list[L]:
    """Columns (words) to tight limbs (doubles) of the same value modulo p.

    Digits are balanced, in [-2^50, 2^50); the carry out of the top comes back to limb 0 with factor 19 and is not
    carried again: that is the 2^15 in the bound of a tight limb.
    """
    # 2^62 makes every total positive, so that the shift may fill with zeros (AVX2 has no arithmetic shift of 64-bit
    # lanes). It shows as 2^11 too much in the carry, which the next total takes off together with adding its own.
    digits: list[L] = []
    carried = columns[0]
    for k, column in enumerate(columns):
        total = column + (2**62 + 2**50) if k == 0 else (column + carried) + (2**62 + 2**50 - 2**11)
        carried = total >> LIMB_BITS
        digits.append(total & LIMB_MASK)
    # Each digit is 2^50 too large. Placed into the mantissa of 2^52 it becomes a double without a conversion. Limb 0,
    # which may leave [0, 2^51) on either side by the folded carry, is placed 2^50 higher so that it stays above 2^52.
    lowest = (digits[0] + times_19(carried)) + (bits_of(2.0**52 + 2.0**50) - 19 * 2**11)
    others = [(digit + bits_of(2.0**52)).as_doubles() - (2.0**52 + 2.0**50) for digit in digits[1:]]
    return [lowest.as_doubles() - (2.0**52 + 2.0**51), *others]


# Small steps ----------------------------------------------------------------------------------------------------------


def doubles(element: Sequence[L]) -> list[L]:
    """The limbs read as doubles: a stored element is only bits until a formula says what they are."""
    return [limb.as_doubles() for limb in element]


def add(left: Sequence[L], right: Sequence[L]) -> list[L]:
    """Limb by limb, nothing carried."""
    return [a + b for a, b in zip(left, right, strict=True)]


def subtract(left: Sequence[L], right: Sequence[L]) -> list[L]:
    """Limb by limb, nothing carried."""
    return [a - b for a, b in zip(left, right, strict=True)]


def blend(left: Sequence[L], right: Sequence[L], mask: L) -> list[L]:
    """`left` where the mask is zero, `right` where it is all ones."""
    return [a.blend(b, mask) for a, b in zip(left, right, strict=True)]


def copy(element: Sequence[L]) -> list[L]:
    """The element itself."""
    return list(element)


def multiply_tight(left: Sequence[L], right: Sequence[L]) -> list[L]:
    """left * right, tight in and out."""
    return carry(multiply(doubles(left), doubles(right)))


def square_tight(element: Sequence[L]) -> list[L]:
    """element^2, tight in and out."""
    return carry(square(doubles(element)))


def multiply_columns(left: Sequence[L], right: Sequence[L]) -> list[L]:
    """left * right, tight in, columns out: where the next step adds before it carries."""
    return multiply(doubles(left), doubles(right))


def square_columns(element: Sequence[L]) -> list[L]:
    """element^2, tight in, columns out."""
    return square(doubles(element))


# X25519 ---------------------------------------------------------------------------------------------------------------


def ladder_start(x: Sequence[L]) -> list[L]:
    """Columns of (1 : 0) and (x : 1), the two points before the first step; x as columns."""
    zero, one = x[0].word(0), x[0].word(1)
    unit, nothing = [one] + [zero] * 4, [zero] * 5
    return unit + nothing + list(x) + unit


def ladder_sums(
    x_low: Sequence[L], z_low: Sequence[L], x_high: Sequence[L], z_high: Sequence[L], mask: Sequence[L]
) -> list[L]:
    """Sums and differences of a ladder step, columns in, tight out: A, B, C, D, then A or C, B or D by the mask.

    A = x_low + z_low, B = x_low - z_low, C = x_high + z_high, D = x_high - z_high. The differential addition treats
    both points alike, so nothing is swapped: the mask only picks which of the two is doubled.
    """
    a, b = carry(add(x_low, z_low)), carry(subtract(x_low, z_low))
    c, d = carry(add(x_high, z_high)), carry(subtract(x_high, z_high))
    return a + b + c + d + blend(a, c, mask[0]) + blend(b, d, mask[0])


def sum_and_difference(left: Sequence[L], right: Sequence[L]) -> list[L]:
    """left + right and left - right, columns in, tight out."""
    return carry(add(left, right)) + carry(subtract(left, right))


def doubling_factors(aa: Sequence[L], bb: Sequence[L]) -> list[L]:
    """E = AA - BB with limbs up to twice tight, and AA + 121665 E, tight; tight in.

    121665 E is reduced in doubles alone: the part of every limb above 2^51 moves to the next limb (with 19 from the top
    to the bottom), then once more for the sum. A detour through words would cost twice as much.
    """
    aa = doubles(aa)
    e = subtract(aa, doubles(bb))
    high = [limb.fma(float(LADDER_CONSTANT), ROUND_TO_LIMB) - ROUND_TO_LIMB for limb in e]
    total = [a + limb.fma(float(LADDER_CONSTANT), 0.0 - above) for a, limb, above in zip(aa, e, high, strict=True)]
    total = [high[k - 1].fma(_carry_weight(k), total[k]) for k in range(LIMBS)]
    above = [(limb + ROUND_TO_LIMB) - ROUND_TO_LIMB for limb in total]
    return e + [above[k - 1].fma(_carry_weight(k), total[k] - above[k]) for k in range(LIMBS)]


def _carry_weight(limb: int) -> float:
    """What a multiple of 2^51 in the limb below is worth in this one; limb 0 lies above limb 4, times 19."""
    return 2.0**-LIMB_BITS if limb else 19 * 2.0**-LIMB_BITS


# The one encoding -----------------------------------------------------------------------------------------------------


def canonical(element: Sequence[L]) -> list[L]:
    """Tight limbs to words in [0, 2^51) of the representative in [0, p)."""
    # Adding 2p, limb by limb (2^52 - 38, then 2^52 - 2), makes every limb positive.
    limbs = [
        (limb + ROUND_TO_UNIT).as_words() - (bits_of(ROUND_TO_UNIT) - (2**52 - (2 if k else 38)))
        for k, limb in enumerate(element)
    ]
    # After the first pass only limb 0 may still exceed 2^51, by at most 19 * 3; after the second none does: either
    # the value was below 2^255 and nothing wrapped, or it wrapped and limb 0 is tiny.
    limbs = _rippled(_rippled(limbs, wrap=True), wrap=True)
    # value >= p exactly when value + 19 reaches 2^255. If so, adding 19 and dropping 2^255 subtracts p.
    reaches = limbs[0] + 19
    for k in range(1, LIMBS):
        reaches = limbs[k] + (reaches >> LIMB_BITS)
    limbs[0] = limbs[0] + times_19(reaches >> LIMB_BITS)
    return _rippled(limbs, wrap=False)


def _rippled(limbs: Sequence[L], *, wrap: bool) -> list[L]:
    """One pass of carries from limb 0 to 4; the carry out of the top goes to limb 0 times 19 (wrap) or is dropped."""
    result: list[L] = []
    carried: L | None = None
    for limb in limbs:
        total = limb if carried is None else limb + carried
        carried = total >> LIMB_BITS
        result.append(total & LIMB_MASK)
    if wrap and carried is not None:
        result[0] = result[0] + times_19(carried)
    return result


def one_where_zero(element: Sequence[L]) -> list[L]:
    """The element, or 1 where it is 0 modulo p; then a mask, all ones where it was not 0 (repeated to five rows).

    One zero would make the product that shares an inversion zero, and with it every point of its block.
    """
    element = doubles(element)
    limbs = canonical(element)
    union = limbs[0] | limbs[1] | limbs[2] | limbs[3] | limbs[4]
    was_zero = (union - 1) >> 63  # union < 2^51, so only 0 - 1 has the top bit
    one = (was_zero + bits_of(2.0**52)).as_doubles() - 2.0**52
    return [element[0] + one, *element[1:]] + [was_zero - 1] * LIMBS


def pack_words(element: Sequence[L], mask: Sequence[L]) -> list[L]:
    """Tight limbs to the four little-endian words of the canonical encoding, zeroed by the mask."""
    limbs = canonical(doubles(element))
    return [((limbs[j] >> 13 * j) | (limbs[j + 1] << (LIMB_BITS - 13 * j))) & mask[0] for j in range(4)]


def unpack_words(words: Sequence[L]) -> list[L]:
    """Four little-endian words to columns and to tight limbs; bit 255 is ignored (RFC 7748 section 5)."""
    middle = [((words[j - 1] >> (64 - 13 * j)) | (words[j] << 13 * j)) & LIMB_MASK for j in (1, 2, 3)]
    columns = [words[0] & LIMB_MASK, *middle, (words[3] >> 12) & LIMB_MASK]
    return columns + carry(columns)


# Elligator2 -----------------------------------------------------------------------------------------------------------
# RFC 9380 section 6.7.1 with J = A, Z = 2: x1 = -A / d with d = 1 + 2u^2; if g(x1) = x1^3 + A x1^2 + x1 is a square the
# answer is x1, else -x1 - A = -A * 2u^2 / d. Neither d nor g(x1) is ever 0: docs/protocols/curve.md section 6.


def elligator_denominator(u: Sequence[L]) -> list[L]:
    """t = 2u^2, then d = 1 + t; tight in, d one above tight."""
    squared = square(doubles(u))
    t = carry(add(squared, squared))
    return [*t, t[0] + 1.0, *t[1:]]


def elligator_square_test(d: Sequence[L]) -> list[L]:
    """g(x1) * d^4 = -A d (A^2 - A^2 d + d^2), which is a square exactly when g(x1) is; tight out."""
    d = doubles(d)
    inner = carry(subtract(square(d), scale(d, MONTGOMERY_A**2)))
    inner = [inner[0] + float(MONTGOMERY_A**2), *inner[1:]]
    return carry(multiply(carry(scale(inner, -MONTGOMERY_A)), d))


def elligator_numerator(character: Sequence[L], t: Sequence[L]) -> list[L]:
    """-A where the quadratic character is 1, -A * t where it is p - 1; tight in and out."""
    is_square = canonical(doubles(character))[0] & 1  # 1 is odd, p - 1 is even
    chosen = blend(t, [limb.double(1.0 if k == 0 else 0.0) for k, limb in enumerate(t)], is_square.word(0) - is_square)
    return carry(scale(doubles(chosen), -MONTGOMERY_A))
