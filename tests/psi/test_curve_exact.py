"""The machine code against an exact model: the same formulas on one point, every rounding and every bit.

The proof in test_curve_bounds speaks of the formulas; this shows that the emitted vectors compute what the formulas
say, on limbs at the edges of their bounds, where an error would hide from random points. And that the model itself is
right: its values are compared with Python's integers, and must lie in the intervals of the proof.
"""

from __future__ import annotations

import functools
import math
import platform
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from curve_domains import TIGHT, ExactLane, P, ProvedLane, column, mask, tight, words
from numba import njit, types

from workbench_psi import curve_kernels as kernels
from workbench_psi import curve_lanes as lanes

LANES, ROW = kernels.LANES, kernels.ROW_WORDS
A = 486662
Limbs = npt.NDArray[np.int64]
COLUMN_EDGE = 2**60

EDGES = (0, 1, -1, 18, -19, 2**50, -(2**50), 2**50 - 1, TIGHT, -TIGHT, TIGHT - 1, 1 - TIGHT)


def limbs_of(seed: int, edges: Sequence[int], bound: int) -> list[Limbs]:
    """Four elements of five limbs for all lanes: edges in two rounds of three, random ones in the third."""
    random = np.random.default_rng(seed)
    if seed % 3:
        return [random.choice(np.array(edges, np.int64), (5, LANES)) for _ in range(4)]
    return [random.integers(-bound, bound, (5, LANES), endpoint=True) for _ in range(4)]


# What runs ------------------------------------------------------------------------------------------------------------


@functools.cache
def compiled() -> Callable[[Any], None]:
    """Every instruction on slots of its own: inputs in 0-3 (tight), 4-7 (columns), 8 (words), 9 and 10 (masks)."""
    carry, multiply_tight, square_tight = kernels.carry, kernels.multiply_tight, kernels.square_tight
    multiply_columns, square_columns = kernels.multiply_columns, kernels.square_columns
    ladder_sums, sum_and_difference = kernels.ladder_sums, kernels.sum_and_difference
    doubling_factors, one_where_zero = kernels.doubling_factors, kernels.one_where_zero
    pack_words, unpack_words, ladder_start = kernels.pack_words, kernels.unpack_words, kernels.ladder_start
    denominator, square_test = kernels.elligator_denominator, kernels.elligator_square_test
    numerator, copy = kernels.elligator_numerator, kernels.copy

    @njit(nogil=True, boundscheck=False, error_model="numpy")
    def run(work: Any) -> None:
        multiply_tight(work, (20, 0, 1))
        square_tight(work, (21, 0))
        multiply_columns(work, (22, 0, 1))
        square_columns(work, (23, 0))
        carry(work, (24, 4))
        ladder_sums(work, (25, 4, 5, 6, 7, np.uint64(0)))
        ladder_sums(work, (31, 4, 5, 6, 7, np.uint64(2**64 - 1)))
        sum_and_difference(work, (37, 4, 5))
        doubling_factors(work, (39, 0, 1))
        one_where_zero(work, (41, 0))
        pack_words(work, (43, 0, 9))
        pack_words(work, (44, 0, 10))
        unpack_words(work, (45, 8))
        ladder_start(work, (47, 4))
        denominator(work, (51, 0))
        square_test(work, (53, 0))
        numerator(work, (54, 2, 1))
        copy(work, (55, 3))

    return run


def modelled(given: dict[int, list[ExactLane]]) -> dict[int, list[ExactLane]]:
    """The same calls on one point: rows by the slot they are stored from on."""
    a, b, character, c4, c5, c6, c7 = (given[k] for k in (0, 1, 2, 4, 5, 6, 7))
    return {
        20: lanes.multiply_tight(a, b),
        21: lanes.square_tight(a),
        22: lanes.multiply_columns(a, b),
        23: lanes.square_columns(a),
        24: lanes.carry(c4),
        25: lanes.ladder_sums(c4, c5, c6, c7, [ExactLane(0)]),
        31: lanes.ladder_sums(c4, c5, c6, c7, [ExactLane(2**64 - 1)]),
        37: lanes.sum_and_difference(c4, c5),
        39: lanes.doubling_factors(a, b),
        41: lanes.one_where_zero(a),
        43: lanes.pack_words(a, given[9]),
        44: lanes.pack_words(a, given[10]),
        45: lanes.unpack_words(given[8]),
        47: lanes.ladder_start(c4),
        51: lanes.elligator_denominator(a),
        53: lanes.elligator_square_test(a),
        54: lanes.elligator_numerator(character, b),
        55: lanes.copy(given[3]),
    }


def prepared(seed: int) -> npt.NDArray[np.uint64]:
    """A workspace with inputs for every lane; slot 2 holds a quadratic character in every one of its spellings."""
    random = np.random.default_rng(seed + 1000)
    work = np.zeros(64 * ROW, np.uint64)
    slots = work.reshape(64, 5, LANES)
    for slot, limbs in enumerate(limbs_of(seed, EDGES, TIGHT)):
        slots[slot] = limbs.astype(np.float64).view(np.uint64)
    spellings = [limbs_for(value) for value in (1, P + 1, 1 - P, -1, P - 1, -P - 1, 1, -1)]
    slots[2] = np.array(spellings, np.float64)[(np.arange(LANES) + seed) % len(spellings)].T.copy().view(np.uint64)
    column_edges = (0, 1, -1, COLUMN_EDGE, -COLUMN_EDGE, 2**51, -(2**51), 2**50, -(2**50), 2**50 - 1)
    for slot, limbs in enumerate(limbs_of(seed, column_edges, COLUMN_EDGE)):
        slots[4 + slot] = limbs.view(np.uint64)
    slots[8] = random.integers(0, 2**64, (5, LANES), dtype=np.uint64, endpoint=False)
    slots[8][:, seed % LANES] = np.uint64(2**64 - 1)
    slots[9] = np.uint64(2**64 - 1)
    return work


def limbs_for(value: int) -> list[float]:
    """Balanced digits of an integer, the last taking what is left."""
    digits = []
    for k in range(5):
        digit = (value + 2**50) % 2**51 - 2**50 if k < 4 else value
        digits.append(float(digit))
        value = (value - digit) >> 51
    return digits


def exact_inputs(work: npt.NDArray[np.uint64], lane: int) -> dict[int, list[ExactLane]]:
    slots = work.reshape(64, 5, LANES)
    return {slot: [ExactLane(int(slots[slot, row, lane])) for row in range(5)] for slot in range(11)}


@pytest.mark.parametrize("seed", range(30))
def test_machine_code_equals_the_model_bit_for_bit(seed: int) -> None:
    work = prepared(seed)
    inputs = work.copy()
    compiled()(work)
    slots = work.reshape(64 * 5, LANES)
    for lane in range(LANES):
        for slot, rows in modelled(exact_inputs(inputs, lane)).items():
            stored = [int(slots[slot * 5 + k, lane]) for k in range(len(rows))]
            assert [_bits(row) for row in rows] == [_without_negative_zero(bits) for bits in stored], (slot, lane)


def _bits(row: ExactLane) -> int:
    return _without_negative_zero(int(row.as_words().value))


def _without_negative_zero(bits: int) -> int:
    """The model computes with fractions, which know one zero only; no formula can tell the two apart."""
    return 0 if bits == 2**63 else bits


# The model against integers -------------------------------------------------------------------------------------------


def value(rows: Sequence[ExactLane]) -> int:
    """What five limbs stand for, modulo p."""
    limbs = [int(row.value) if isinstance(row.value, float) else _signed(int(row.value)) for row in rows]
    return sum(limb << 51 * k for k, limb in enumerate(limbs)) % P


def _signed(word: int) -> int:
    return word - 2**64 if word >= 2**63 else word


@pytest.mark.parametrize("seed", range(60))
def test_model_computes_in_the_field(seed: int) -> None:
    work = prepared(seed)
    for lane in range(LANES):
        given = exact_inputs(work, lane)
        result = modelled(given)
        a, b, character = (value(lanes.doubles(given[k])) for k in (0, 1, 2))
        c4, c5, c6, c7 = (value(given[k]) for k in (4, 5, 6, 7))
        sums = [(c4 + c5) % P, (c4 - c5) % P, (c6 + c7) % P, (c6 - c7) % P]
        assert value(result[20]) == value(result[22]) == a * b % P
        assert value(result[21]) == value(result[23]) == a * a % P
        assert value(result[24]) == c4
        assert elements(result[25]) == [*sums, *sums[:2]]
        assert elements(result[31]) == [*sums, *sums[2:]]
        assert elements(result[37]) == sums[:2]
        assert elements(result[39]) == [(a - b) % P, (a + 121665 * (a - b)) % P]
        assert elements(result[41][:5]) == [a or 1]
        assert [row.value for row in result[41][5:]] == [2**64 - 1 if a else 0] * 5
        assert packed(result[43]) == a
        assert packed(result[44]) == 0
        number = sum(int(row.value) << 64 * k for k, row in enumerate(given[8][:4])) % 2**255 % P
        assert elements(result[45]) == [number, number]
        assert elements(result[47]) == [1, 0, c4, 1]
        assert elements(result[51]) == [2 * a * a % P, (2 * a * a + 1) % P]
        assert value(result[53]) == -A * a * (A * A - A * A * a + a * a) % P
        assert value(result[54]) == (-A if character == 1 else -A * b) % P


def elements(rows: Sequence[ExactLane]) -> list[int]:
    return [value(rows[k : k + 5]) for k in range(0, len(rows), 5)]


def packed(rows: Sequence[ExactLane]) -> int:
    return sum(int(row.value) << 64 * k for k, row in enumerate(rows))


@pytest.mark.parametrize("offset", [*range(-40, 41), 2**51, -(2**51), 2**204])
def test_values_next_to_multiples_of_p_have_one_encoding(offset: int) -> None:
    """Every spelling in tight limbs of a number near 0 or p gives the number in [0, p)."""
    for multiple in (-P, 0, P):
        spelled = limbs_for(multiple + offset)
        for shifted in (spelled, _respelled(spelled, 0), _respelled(spelled, 2)):
            if max(map(abs, shifted)) <= TIGHT:
                rows = lanes.pack_words([ExactLane(limb) for limb in shifted], [ExactLane(2**64 - 1)])
                assert packed(rows) == offset % P


def _respelled(limbs: Sequence[float], at: int) -> list[float]:
    """The same number with 2^51 taken from one limb and 1 given to the next."""
    other = list(limbs)
    other[at] -= math.copysign(2.0**51, other[at])
    other[at + 1] += math.copysign(1.0, limbs[at])
    return other


# The proof against the model ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_intervals_of_the_proof_contain_what_happens(seed: int) -> None:
    """An interval that is too narrow would be an error in the proof; the model shows it."""
    intervals: dict[int, list[ProvedLane]] = {
        20: lanes.multiply_tight(tight(), tight()),
        22: lanes.multiply_columns(tight(), tight()),
        23: lanes.square_columns(tight()),
        24: lanes.carry(column(COLUMN_EDGE)),
        25: lanes.ladder_sums(*_four_columns(), mask(0)),
        31: lanes.ladder_sums(*_four_columns(), mask(-1)),
        37: lanes.sum_and_difference(column(COLUMN_EDGE), column(COLUMN_EDGE)),
        39: lanes.doubling_factors(tight(), tight()),
        41: lanes.one_where_zero(tight())[:5],
        43: lanes.pack_words(tight(), mask(-1)),
        45: lanes.unpack_words(words()),
        51: lanes.elligator_denominator(tight()),
        53: lanes.elligator_square_test(tight()),
        54: lanes.elligator_numerator(tight(), tight()),
    }
    work = prepared(seed)
    for lane in range(LANES):
        result = modelled(exact_inputs(work, lane))
        for slot, rows in intervals.items():
            for interval, row in zip(rows, result[slot], strict=False):
                number = Fraction(row.value)
                contained = any(
                    interval.low <= candidate <= interval.high
                    for candidate in ((number,) if isinstance(row.value, float) else (number, number - 2**64))
                )
                assert contained, (slot, lane)
                assert isinstance(row.value, float) == interval.is_double


def _four_columns() -> tuple[list[ProvedLane], list[ProvedLane], list[ProvedLane], list[ProvedLane]]:
    return column(COLUMN_EDGE), column(COLUMN_EDGE), column(COLUMN_EDGE), column(COLUMN_EDGE)


# The workspace --------------------------------------------------------------------------------------------------------


def test_the_workspace_is_overwritten_after_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the ladder of every point: with two consecutive states the scalar could be computed."""
    used: list[npt.NDArray[np.uint64]] = []
    original = kernels._multiply

    def spy(points: Any, out: Any, bits: Any, work: npt.NDArray[np.uint64]) -> None:
        original(points, out, bits, work)
        assert work.any(), "it was used"
        used.extend([work, bits])

    monkeypatch.setattr(kernels, "_multiply", spy)
    kernels.x25519(bytes(range(32)), np.full((9, 32), 9, np.uint8), threads=1)
    assert used
    assert not any(array.any() for array in used)


def test_cached_machine_code_is_tied_to_the_formulas() -> None:
    """A change in curve_lanes alone must not find the old code in the cache."""
    multiply = kernels._multiply.py_func
    held = [cell.cell_contents for cell in multiply.__closure__]
    assert kernels.source_digest() in held


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="reads the assembler of x86")
def test_machine_code_of_the_ladder_branches_for_its_loop_only() -> None:
    """Scalar bits and limbs choose no jump, no address (no gather) and no instruction of variable time (no division).

    Two conditional jumps are allowed: skip the loop if there are no bits, and its next turn; both depend on the number
    of bits, which is always 255.
    """
    words_type, slots_type = types.Array(types.uint64, 1, "C"), types.Array(types.int64, 1, "C")
    signature = types.void(words_type, types.int64, words_type, types.int64, types.int64, slots_type)
    ladder: Any = njit(signature, nogil=True, boundscheck=False, error_model="numpy")(kernels.ladder.py_func)
    (assembler,) = ladder.inspect_asm().values()
    body = _first_function(assembler)
    instructions = [line.split()[0] for line in body if line.startswith("\t") and not line.startswith("\t.")]
    assert len(instructions) > 1500, "this is the ladder"
    jumps = [name for name in instructions if name.startswith("j") and name != "jmp"]
    assert len(jumps) <= 2
    forbidden = ("call", "div", "idiv", "vdiv", "vgather", "vpgather", "vscatter", "vpscatter", "vsqrt", "loop")
    assert not [name for name in instructions if name.startswith(forbidden)]


def _first_function(assembler: str) -> list[str]:
    """The lines from the first function label to the next."""
    lines = assembler.splitlines()
    starts = [k for k, line in enumerate(lines) if line.startswith("_ZN") and line.endswith(":")]
    return lines[starts[0] : starts[1]]
