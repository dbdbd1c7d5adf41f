"""Proof that the curve arithmetic neither overflows nor rounds where it must not, and computes what it says.

Three parts, all on the very functions that emit the machine code (docs/protocols/curve.md section 4):

1. the loops of a whole call (ladder, Elligator2, shared inversion, encoding) over intervals;
2. every formula, given the worst that its contract allows, stays within its contract;
3. every formula, over polynomials with opaque roundings, equals the field expression it stands for: an identity, not a
   sample.

And, because a proof that cannot fail proves nothing: damaged formulas must be refused.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from curve_domains import (
    COLUMN,
    TIGHT,
    P,
    Polynomial,
    Proof,
    ProofFailed,
    ProvedLane,
    column,
    constant,
    element_value,
    mask,
    plus,
    tight,
    times,
    words,
)

from workbench_psi import curve_kernels, curve_lanes

A = 486662
BLOCK = curve_kernels.BLOCK_POINTS
Rows = Sequence[ProvedLane]


# 1. Whole calls -------------------------------------------------------------------------------------------------------


def proved_calls(formulas: types.ModuleType, rows: int = 3 * curve_kernels.LANES) -> Proof:
    """Both calls; with three groups every loop runs its first, a middle and its last turn."""
    proof = Proof(formulas)
    proof.map_rows(rows)
    proof.multiply_rows(rows)
    return proof


def test_no_call_overflows_or_rounds_where_it_must_not() -> None:
    """A full block and another of one group."""
    proof = proved_calls(curve_lanes, BLOCK + 1)
    assert {operation.formula.__name__ for operation in curve_kernels.OPERATIONS} == set(proof.seen), "all were run"
    ladder_operations = 12 * 255 * (curve_kernels.BLOCK_GROUPS + 1)
    assert proof.calls > ladder_operations, "the loops were followed turn by turn"


def test_what_calls_store_is_within_the_documented_bounds() -> None:
    """Tight limbs 2^50 + 2^15, E of the doubling twice that, columns below 2^58 where the contract says 2^61."""
    for name, (_, stored) in proved_calls(curve_lanes).seen.items():
        for k, row in enumerate(stored):
            if name == "doubling_factors" and k < 5:
                assert row.magnitude <= 2 * TIGHT
            elif row.is_double:
                assert row.magnitude <= TIGHT, (name, k)
            elif name != "pack_words":
                assert row.magnitude < 2**58, (name, k)


def test_a_slot_that_nothing_was_written_to_is_not_read() -> None:
    """The workspace of a call is not cleared between blocks: reading ahead of writing would mix points."""
    proof = Proof()
    with pytest.raises((AttributeError, TypeError)):
        proof._evaluate(curve_lanes.square_tight, curve_kernels.OPERATIONS[0], [(None,) * 5])


# 2. Contracts ---------------------------------------------------------------------------------------------------------


def is_tight(rows: Rows) -> bool:
    return all(row.is_double and -TIGHT <= row.low <= row.high <= TIGHT for row in rows)


def is_column(rows: Rows) -> bool:
    return all(not row.is_double and -COLUMN <= row.low <= row.high <= COLUMN for row in rows)


def test_products_of_tight_elements_are_columns() -> None:
    assert is_column(curve_lanes.multiply_columns(tight(), tight()))
    assert is_column(curve_lanes.square_columns(tight()))
    assert is_column(curve_lanes.multiply_columns(tight(2 * TIGHT), tight())), "E of the doubling with a tight factor"


def test_products_beyond_their_bound_are_refused() -> None:
    """The bound is real: with both factors twice tight a product reaches the next power of two."""
    with pytest.raises(ProofFailed):
        curve_lanes.multiply_columns(tight(2 * TIGHT), tight(2 * TIGHT))
    with pytest.raises(ProofFailed):
        curve_lanes.square_columns(tight(2 * TIGHT))


def test_carrying_any_columns_gives_tight_limbs() -> None:
    assert is_tight(curve_lanes.carry(column()))
    with pytest.raises(ProofFailed):
        curve_lanes.carry(column(2**63 - 1))


def test_ladder_steps_keep_the_contract() -> None:
    x_low, z_low, x_high, z_high = (column(COLUMN // 2) for _ in range(4))
    assert is_tight(curve_lanes.ladder_sums(x_low, z_low, x_high, z_high, mask(0, -1)))
    assert is_tight(curve_lanes.sum_and_difference(x_low, z_low))
    factors = curve_lanes.doubling_factors(tight(), tight())
    assert all(-2 * TIGHT <= row.low <= row.high <= 2 * TIGHT for row in factors[:5])
    assert is_tight(factors[5:])


def test_encodings_keep_the_contract() -> None:
    limbs = curve_lanes.canonical(tight(TIGHT + 1))
    assert all(row.low >= 0 and row.high < 2**51 for row in limbs)
    unpacked = curve_lanes.unpack_words(words())
    assert all(row.low >= 0 and row.high < 2**51 for row in unpacked[:5])
    assert is_tight(unpacked[5:])
    checked = curve_lanes.one_where_zero(tight(TIGHT - 1))
    assert is_tight(checked[:5])
    assert all((row.low, row.high) == (-1, 0) for row in checked[5:])
    assert all(row.low >= 0 and row.high < 2**64 for row in curve_lanes.pack_words(tight(), mask(0, -1)))


def test_elligator_keeps_the_contract() -> None:
    assert is_tight(curve_lanes.elligator_denominator(tight())[:5])
    assert is_tight(curve_lanes.elligator_square_test(tight(TIGHT + 1)))
    assert is_tight(curve_lanes.elligator_numerator(tight(), tight()))


# 3. Identities --------------------------------------------------------------------------------------------------------


def product(*factors: Polynomial) -> Polynomial:
    result = constant(1)
    for factor in factors:
        result = times(result, factor)
    return result


def linear(*terms: tuple[int, Polynomial]) -> Polynomial:
    result: Polynomial = {}
    for weight, term in terms:
        result = plus(result, term, weight)
    return result


def test_products_and_squares_are_products_and_squares() -> None:
    a, b = tight(tracked=True), tight(tracked=True)
    x, y = element_value(a), element_value(b)
    assert element_value(curve_lanes.multiply_columns(a, b)) == product(x, y)
    assert element_value(curve_lanes.multiply_tight(a, b)) == product(x, y)
    assert element_value(curve_lanes.square_columns(a)) == product(x, x)
    assert element_value(curve_lanes.square_tight(a)) == product(x, x)
    assert element_value(curve_lanes.scale(a, -A)) == linear((-A, x))
    assert element_value(curve_lanes.scale(a, A * A)) == linear((A * A, x))


def test_carrying_does_not_change_the_value() -> None:
    columns = column(tracked=True)
    assert element_value(curve_lanes.carry(columns)) == element_value(columns)
    assert element_value(curve_lanes.copy(columns)) == element_value(columns)


@pytest.mark.parametrize("chosen", [0, -1])
def test_ladder_sums_are_sums_and_the_mask_chooses(chosen: int) -> None:
    points = [column(COLUMN // 2, tracked=True) for _ in range(4)]
    x_low, z_low, x_high, z_high = (element_value(point) for point in points)
    rows = curve_lanes.ladder_sums(points[0], points[1], points[2], points[3], mask(chosen))
    a, b, c, d, summed, subtracted = (element_value(rows[k : k + 5]) for k in range(0, 30, 5))
    assert a == linear((1, x_low), (1, z_low))
    assert b == linear((1, x_low), (-1, z_low))
    assert c == linear((1, x_high), (1, z_high))
    assert d == linear((1, x_high), (-1, z_high))
    assert (summed, subtracted) == ((c, d) if chosen else (a, b))


def test_doubling_factors_are_those_of_the_rfc() -> None:
    """RFC 7748 section 5: E = AA - BB, and z_2 = E * (AA + a24 * E) with a24 = 121665."""
    aa, bb = tight(tracked=True), tight(tracked=True)
    rows = curve_lanes.doubling_factors(aa, bb)
    e = linear((1, element_value(aa)), (-1, element_value(bb)))
    assert element_value(rows[:5]) == e
    assert element_value(rows[5:]) == linear((1, element_value(aa)), (121665, e))


def test_sum_and_difference_are_that() -> None:
    a, b = column(COLUMN // 2, tracked=True), column(COLUMN // 2, tracked=True)
    rows = curve_lanes.sum_and_difference(a, b)
    assert element_value(rows[:5]) == linear((1, element_value(a)), (1, element_value(b)))
    assert element_value(rows[5:]) == linear((1, element_value(a)), (-1, element_value(b)))


def test_the_ladder_starts_at_infinity_and_the_point() -> None:
    x = column(2**51, tracked=True)
    values = [element_value(curve_lanes.ladder_start(x)[k : k + 5]) for k in range(0, 20, 5)]
    assert values == [constant(1), {}, element_value(x), constant(1)]


def test_elligator_formulas_are_those_of_the_document() -> None:
    u, d = tight(tracked=True), tight(TIGHT + 1, tracked=True)
    rows = curve_lanes.elligator_denominator(u)
    twice_square = linear((2, product(element_value(u), element_value(u))))
    assert element_value(rows[:5]) == twice_square
    assert element_value(rows[5:]) == linear((1, constant(1)), (1, twice_square))
    value = element_value(d)
    inner = linear((A * A, constant(1)), (-A * A, value), (1, product(value, value)))
    assert element_value(curve_lanes.elligator_square_test(d)) == linear((-A, product(value, inner)))


def test_encoding_subtracts_p_once_at_most_and_the_right_number_of_times() -> None:
    """canonical(a) = a + 19 (q - r) modulo p: q says whether value + 19 reaches 2^255, r is the carry that is dropped.

    Before that step the value lies in [0, 2p), shown below; hence q = r, and the result is in [0, p)
    (docs/protocols/curve.md section 4.4).
    """
    a = tight(TIGHT + 1, tracked=True)
    difference = linear((1, element_value(curve_lanes.canonical(a))), (-1, element_value(a)))
    assert sorted(difference.values()) == [19, P - 19]
    assert all(len(monomial) == 1 for monomial in difference)
    positive = [limb + (2**52 - (2 if k else 38)) for k, limb in enumerate(column(TIGHT + 1))]
    rippled = curve_lanes._rippled(curve_lanes._rippled(positive, wrap=True), wrap=True)
    assert all(row.low >= 0 for row in rippled)
    assert sum(int(row.high) << 51 * k for k, row in enumerate(rippled)) < 2 * P


def test_encodings_next_to_multiples_of_p_are_right() -> None:
    """Intervals of one element: exact evaluation by the same domain."""
    lane = tight(tracked=True)[0]
    for value in (k * P + offset for k in (-1, 0, 1) for offset in (-20, -19, -18, -1, 0, 1, 18, 19, 20)):
        limbs = curve_lanes.canonical(numbers(value, lane))
        assert sum(int(limb.low) << 51 * k for k, limb in enumerate(limbs)) == value % P
        assert all(limb.is_single for limb in limbs)


@pytest.mark.parametrize(("character", "is_square"), [(1, True), (P + 1, True), (-1, False), (P - 1, False)])
def test_the_numerator_follows_the_character(character: int, is_square: bool) -> None:
    t = tight(tracked=True)
    rows = curve_lanes.elligator_numerator(numbers(character, t[0]), t)
    assert element_value(rows) == (constant(-A) if is_square else linear((-A, element_value(t))))


def numbers(value: int, lane: ProvedLane) -> list[ProvedLane]:
    """A known integer as limbs: intervals of one element, on which every operation is exact."""
    limbs = []
    for k in range(5):
        digit = (value + 2**50) % 2**51 - 2**50 if k < 4 else value
        limbs.append(lane.double(float(digit)))
        value = (value - digit) >> 51
    return limbs


# A proof that can fail ------------------------------------------------------------------------------------------------

DAMAGES = {
    "a carry is not passed on": ("(column + carried) + (2**62", "column + (2**62"),
    "the carry from the top is dropped": ("(digits[0] + times_19(carried)) +", "digits[0] +"),
    "the carry from the top is folded with 17": (
        "return (word << 4) + (word << 1) + word",
        "return (word << 4) + word",
    ),
    "no room below the lowest digit": (
        "(bits_of(2.0**52 + 2.0**50) - 19 * 2**11)",
        "(bits_of(2.0**52) - 19 * 2**11)",
    ),
    "the surplus of the carries is not taken off": (
        "(bits_of(2.0**52 + 2.0**50) - 19 * 2**11)",
        "bits_of(2.0**52 + 2.0**50)",
    ),
    "the surplus of one carry is not taken off": ("(2**62 + 2**50 - 2**11)", "(2**62 + 2**50)"),
    "totals may be negative": ("column + (2**62 + 2**50) if k == 0", "column + 2**50 if k == 0"),
    "digits are not balanced": ("- (2.0**52 + 2.0**50) for digit", "- 2.0**52 for digit"),
    "a square is not carried": ("return carry(square(doubles(element)))", "return square(doubles(element))"),
    "a sum is not carried": ("a, b = carry(add(x_low, z_low)),", "a, b = add(x_low, z_low),"),
    "a difference is not carried": ("+ carry(subtract(left, right))", "+ subtract(left, right)"),
    "the doubling is reduced once only": ("return e + [above[k - 1]", "return e + total if True else [above[k - 1]"),
    "the doubling wraps without 19": ("if limb else 19 * 2.0**-LIMB_BITS", "if limb else 2.0**-LIMB_BITS"),
    "the doubling uses 121666": ("LADDER_CONSTANT = (MONTGOMERY_A - 2) // 4", "LADDER_CONSTANT = 121666"),
    "products round too finely": ("ROUND_TO_LIMB = 1.5 * 2.0**103", "ROUND_TO_LIMB = 1.5 * 2.0**102"),
    "products round too coarsely": ("ROUND_TO_LIMB = 1.5 * 2.0**103", "ROUND_TO_LIMB = 1.5 * 2.0**104"),
    "remainders overflow their place": ("ROUND_TO_UNIT = 1.5 * 2.0**52", "ROUND_TO_UNIT = 1.5 * 2.0**51"),
    "cross terms are not doubled": ("doubled[i] if i < j else element[i]", "element[i]"),
    "a high half lands in its own column": ("collect(i + j + 1, high", "collect(i + j, high"),
    "too little is added before encoding": ("2**52 - (2 if k else 38)", "2**50 - (2 if k else 38)"),
    "a multiple of p is added that is none": ("2**52 - (2 if k else 38)", "2**52 - (2 if k else 36)"),
    "the encoding wraps without 19": ("result[0] = result[0] + times_19(carried)", "result[0] = result[0] + carried"),
    "the encoding compares with p - 1": ("reaches = limbs[0] + 19", "reaches = limbs[0] + 20"),
    "the test of squares is not carried": (
        "inner = carry(subtract(square(d), scale(d, MONTGOMERY_A**2)))",
        "inner = subtract(square(d), scale(d, MONTGOMERY_A**2))",
    ),
    "the denominator forgets its one": ("t[0] + 1.0", "t[0] + 0.0"),
}


def damaged(old: str, new: str) -> types.ModuleType:
    source = Path(curve_lanes.__file__).read_text(encoding="utf-8")
    assert source.count(old) == 1, f"the formulas have changed: {old!r} is no longer there once"
    module = types.ModuleType("damaged_lanes")
    exec(compile(source.replace(old, new), "damaged_lanes", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_formulas_are_refused(damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the intervals of a whole call, or else by an identity: which of the two is asserted below for a few."""
    with pytest.raises(AssertionError):
        everything(damaged(*DAMAGES[damage]), monkeypatch)


@pytest.mark.parametrize(
    "damage",
    [
        "no room below the lowest digit",
        "totals may be negative",
        "a square is not carried",
        "a sum is not carried",
        "a difference is not carried",
        "the doubling is reduced once only",
        "products round too finely",
        "remainders overflow their place",
        "too little is added before encoding",
        "the test of squares is not carried",
    ],
)
def test_the_intervals_alone_refuse_what_random_points_would_not_show(damage: str) -> None:
    """These go wrong for rare limbs only, or not at all on today's values: the danger that the proof is there for."""
    with pytest.raises(ProofFailed):
        proved_calls(damaged(*DAMAGES[damage]))


def everything(formulas: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    proved_calls(formulas)
    monkeypatch.setitem(globals(), "curve_lanes", formulas)
    checks: tuple[Callable[[], None], ...] = (
        test_what_calls_store_is_within_the_documented_bounds,
        test_products_and_squares_are_products_and_squares,
        test_carrying_does_not_change_the_value,
        test_doubling_factors_are_those_of_the_rfc,
        test_sum_and_difference_are_that,
        test_elligator_formulas_are_those_of_the_document,
        test_encoding_subtracts_p_once_at_most_and_the_right_number_of_times,
        test_encodings_next_to_multiples_of_p_are_right,
    )
    for check in checks:
        check()
    test_ladder_sums_are_sums_and_the_mask_chooses(0)


def test_undamaged_formulas_pass_the_same_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    everything(curve_lanes, monkeypatch)
