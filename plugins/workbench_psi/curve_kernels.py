"""The formulas of `curve_lanes` as machine code: LLVM vectors inside numba, blocks of points, batch inversion.

Eight points travel side by side on AVX-512, one per lane of a <8 x double> vector; four on AVX2 and NEON. Written out
as LLVM instructions, nothing depends on what a loop vectoriser recognises. Every element sits in a *slot* of a flat
workspace: five rows (one per limb) of all lanes.

Promises: no branch and no address depends on a scalar or on a point; the ladder's choice is a mask; no value is ever
denormal. The workspace is overwritten with zeros after use. Needs the default rounding mode, which nothing here sets.
Importing this module compiles both entry points or loads them from numba's cache (5 s, or a third of one).

Document: docs/protocols/curve.md sections 4 and 5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]  # llvmlite ships no annotations
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from workbench_psi import curve_lanes as lanes
from workbench_psi.curve_processor import choose_lanes, this_processor

LANES: Final = choose_lanes(this_processor())
VECTOR_BYTES: Final = 8 * LANES
ROW_WORDS: Final = lanes.LIMBS * LANES
"""Words of one slot."""
BLOCK_GROUPS: Final = 64
"""Groups of points that share one inversion (Montgomery's trick): more gains little and leaves the L2 cache."""
BLOCK_POINTS: Final = BLOCK_GROUPS * LANES
SCRATCH_SLOTS: Final = 16
WORKSPACE_WORDS: Final = (4 * BLOCK_GROUPS + SCRATCH_SLOTS) * ROW_WORDS
CACHE_LINE_WORDS: Final = 8

ByteRows = npt.NDArray[np.uint8]
WordRows = npt.NDArray[np.uint64]
Slots = npt.NDArray[np.int64]

_WORD = ir.IntType(64)
_WORDS = ir.VectorType(_WORD, LANES)
_DOUBLES = ir.VectorType(ir.DoubleType(), LANES)


@dataclass(frozen=True, slots=True)
class EmittedLane:
    """A `curve_lanes.Lane` whose operations emit LLVM instructions; exists only while code is generated."""

    builder: Any  # llvmlite has no annotations
    value: Any

    def _operand(self, other: EmittedLane | float) -> Any:
        if isinstance(other, EmittedLane):
            return other.value
        if self.value.type == _DOUBLES:
            return ir.Constant(_DOUBLES, [float(other)] * LANES)
        return ir.Constant(_WORDS, [int(other) % 2**64] * LANES)

    def _with(self, value: Any) -> EmittedLane:
        return EmittedLane(self.builder, value)

    def _emit(self, instruction: str, other: EmittedLane | float) -> EmittedLane:
        prefix = "f" if self.value.type == _DOUBLES and instruction in ("add", "sub") else ""
        return self._with(getattr(self.builder, prefix + instruction)(self.value, self._operand(other)))

    def __add__(self, other: EmittedLane | float) -> EmittedLane:
        return self._emit("add", other)

    def __sub__(self, other: EmittedLane | float) -> EmittedLane:
        return self._emit("sub", other)

    def __rsub__(self, other: float) -> EmittedLane:
        return self._with(self.builder.fsub(self._operand(other), self.value))

    def __and__(self, other: EmittedLane | int) -> EmittedLane:
        return self._emit("and_", other)

    def __or__(self, other: EmittedLane) -> EmittedLane:
        return self._emit("or_", other)

    def __lshift__(self, places: int) -> EmittedLane:
        return self._emit("shl", places)

    def __rshift__(self, places: int) -> EmittedLane:
        return self._emit("lshr", places)

    def fma(self, factor: EmittedLane | float, addend: EmittedLane | float) -> EmittedLane:
        signature = ir.FunctionType(_DOUBLES, [_DOUBLES] * 3)
        insert = cgutils.get_or_insert_function
        function = insert(self.builder.module, signature, f"llvm.fma.v{LANES}f64")  # type: ignore[no-untyped-call]  # numba
        return self._with(self.builder.call(function, [self.value, self._operand(factor), self._operand(addend)]))

    def as_words(self) -> EmittedLane:
        return self._with(self.builder.bitcast(self.value, _WORDS))

    def as_doubles(self) -> EmittedLane:
        return self._with(self.builder.bitcast(self.value, _DOUBLES))

    def blend(self, other: EmittedLane, mask: EmittedLane) -> EmittedLane:
        mine, theirs, choice = self.as_words().value, other.as_words().value, mask.as_words().value
        difference = self.builder.and_(self.builder.xor(mine, theirs), choice)
        return self._with(self.builder.xor(mine, difference))

    def double(self, number: float) -> EmittedLane:
        return self._with(ir.Constant(_DOUBLES, [float(number)] * LANES))

    def word(self, number: int) -> EmittedLane:
        return self._with(ir.Constant(_WORDS, [number % 2**64] * LANES))


@dataclass(frozen=True, slots=True)
class Operation:
    """A formula and how it is called, for whoever runs the loops below over other values than vectors."""

    instruction: Any
    formula: Callable[..., Sequence[Any]]
    inputs: int
    masked: bool


OPERATIONS: Final[list[Operation]] = []
"""Every instruction the loops use, filled below: the tests replace them all by formulas over intervals."""


def _operation(formula: Callable[..., Sequence[EmittedLane]], inputs: int, *, masked: bool = False) -> Any:
    """A formula as an instruction for numba code: f(workspace, (slot out, slot in, ..)), or with a mask at the end.

    inputs: number of slots read. The rows a formula returns go to the slot out and, past five, to the slots after it.
    """

    @intrinsic
    def instruction(typing_context: Any, workspace: Any, arguments: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            # Registers saved on the stack must not straddle cache lines (up to 30 % slower, by chance of the caller's
            # stack). llvmlite writes the alignment only beside another attribute, hence the second one, which is true.
            builder.function.attributes.alignstack = VECTOR_BYTES
            builder.function.attributes.add("nounwind")
            data = context.make_array(signature.args[0])(context, builder, values[0]).data
            given = [builder.extract_value(values[1], k) for k in range(signature.args[1].count)]

            def row(slot: Any, index: int) -> Any:
                start = builder.add(builder.mul(slot, _WORD(ROW_WORDS)), _WORD(index * LANES))
                return builder.bitcast(builder.gep(data, [start]), _WORDS.as_pointer())

            elements = [
                [EmittedLane(builder, builder.load(row(slot, k), align=8)) for k in range(lanes.LIMBS)]
                for slot in given[1 : inputs + 1]
            ]
            if masked:
                first = builder.insert_element(ir.Constant(_WORDS, ir.Undefined), given[-1], ir.IntType(32)(0))
                everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
                elements.append([EmittedLane(builder, builder.shuffle_vector(first, first, everywhere))])
            for index, lane in enumerate(formula(*elements)):
                builder.store(lane.as_words().value, row(given[0], index), align=8)
            return context.get_dummy_value()

        return types.void(workspace, arguments), generate

    OPERATIONS.append(Operation(instruction, formula, inputs, masked))
    return instruction


copy = _operation(lanes.copy, 1)
carry = _operation(lanes.carry, 1)
multiply_tight = _operation(lanes.multiply_tight, 2)
square_tight = _operation(lanes.square_tight, 1)
multiply_columns = _operation(lanes.multiply_columns, 2)
square_columns = _operation(lanes.square_columns, 1)
ladder_start = _operation(lanes.ladder_start, 1)
ladder_sums = _operation(lanes.ladder_sums, 4, masked=True)
sum_and_difference = _operation(lanes.sum_and_difference, 2)
doubling_factors = _operation(lanes.doubling_factors, 2)
one_where_zero = _operation(lanes.one_where_zero, 1)
pack_words = _operation(lanes.pack_words, 2)
unpack_words = _operation(lanes.unpack_words, 1)
elligator_denominator = _operation(lanes.elligator_denominator, 1)
elligator_square_test = _operation(lanes.elligator_square_test, 1)
elligator_numerator = _operation(lanes.elligator_numerator, 2)

times = np.int64
"""Marks a plain number: numba compiles a function anew for every literal it is called with."""

_inner = njit(nogil=True, boundscheck=False, error_model="numpy")
"""For the parts: compiled into the entry points, never cached or loaded on their own."""


@_inner
def load_group(points: WordRows, first: int, work: Any, slot: int) -> None:
    """As many points as there are lanes, from row `first` on, into a slot; past the end the last point is repeated."""
    for lane in range(LANES):
        row = min(first + lane, points.shape[0] - 1)
        for word in range(4):
            work[slot * ROW_WORDS + word * LANES + lane] = points[row, word]


@_inner
def store_group(out: WordRows, first: int, work: Any, slot: int) -> None:
    """Four words of each lane of a slot to the rows from `first` on, as many as there are."""
    for lane in range(min(LANES, out.shape[0] - first)):
        for word in range(4):
            out[first + lane, word] = work[slot * ROW_WORDS + word * LANES + lane]


@_inner
def product(work: Any, out: int, left: int, right: int) -> None:
    """out <- left * right."""
    multiply_tight(work, (out, left, right))


@_inner
def squarings(work: Any, out: int, element: int, count: Any) -> None:
    """out <- element^(2^count), count >= 1."""
    square_tight(work, (out, element))
    for _ in range(count - 1):
        square_tight(work, (out, out))


@_inner
def power_2_250_minus_1(work: Any, base: int, out: int) -> None:
    """out <- base^(2^250 - 1), out+1 <- base^11, out+4 <- base^2; five slots from `out` on, `base` not among them.

    The addition chain of the original Curve25519 implementation (D. J. Bernstein, 2006): 249 squarings.
    """
    power, eleventh, other, spare, squared = out, out + 1, out + 2, out + 3, out + 4
    squarings(work, squared, base, times(1))
    squarings(work, other, squared, times(2))
    product(work, other, other, base)  # 9
    product(work, eleventh, other, squared)
    squarings(work, power, eleventh, times(1))
    product(work, power, power, other)  # 31 = 2^5 - 1
    squarings(work, other, power, times(5))
    product(work, power, other, power)  # 2^10 - 1
    squarings(work, other, power, times(10))
    product(work, other, other, power)  # 2^20 - 1
    squarings(work, spare, other, times(20))
    product(work, other, spare, other)  # 2^40 - 1
    squarings(work, other, other, times(10))
    product(work, power, other, power)  # 2^50 - 1
    squarings(work, other, power, times(50))
    product(work, other, other, power)  # 2^100 - 1
    squarings(work, spare, other, times(100))
    product(work, other, spare, other)  # 2^200 - 1
    squarings(work, other, other, times(50))
    product(work, power, other, power)  # 2^250 - 1


@_inner
def ladder(work: Any, base: int, bits: WordRows, out_x: int, out_z: int, slots: Slots) -> None:
    """(out_x : out_z) <- scalar * point, tight.

    base: slot of the affine x as columns, base+1 the same tight. bits: most significant first, the last one 0, which a
    clamped scalar guarantees, so that no choice is left over after the last step.
    slots: twelve slots for what lies between, consecutive from the fifth on. They come from memory so that the compiler
    cannot tell them apart: where it can, it keeps elements in registers it does not have and spills twice as often (8.5
    instead of 7.0 us a point).
    The formulas are those of RFC 7748 section 5. Steps that do not depend on each other stand side by side, and all are
    inlined on purpose: calls cost a quarter more.
    """
    x_low, z_low, x_high, z_high = slots[0], slots[1], slots[2], slots[3]
    a, b, c, d = slots[4], slots[5], slots[6], slots[7]
    chosen_sum, chosen_difference = slots[8], slots[9]
    e, factor = slots[10], slots[11]
    ladder_start(work, (x_low, base))
    previous = np.uint64(0)
    for step in range(bits.size):
        mask = np.uint64(0) - (bits[step] ^ previous)
        previous = bits[step]
        ladder_sums(work, (a, x_low, z_low, x_high, z_high, mask))
        multiply_columns(work, (d, d, a))
        multiply_columns(work, (c, c, b))
        square_tight(work, (chosen_sum, chosen_sum))  # AA
        square_tight(work, (chosen_difference, chosen_difference))  # BB
        sum_and_difference(work, (a, d, c))  # DA + CB, DA - CB in a, b
        multiply_columns(work, (x_low, chosen_sum, chosen_difference))
        square_tight(work, (b, b))
        square_columns(work, (x_high, a))
        doubling_factors(work, (e, chosen_sum, chosen_difference))
        multiply_columns(work, (z_high, b, base + 1))
        multiply_columns(work, (z_low, e, factor))
    carry(work, (out_x, x_low))
    carry(work, (out_z, z_low))


@_inner
def elligator(work: Any, u: int, out_x: int, out_z: int, scratch: int) -> None:
    """(out_x : out_z) <- the x-coordinate of Elligator2(u), u tight; nine scratch slots."""
    t, d, character, power = scratch, scratch + 1, scratch + 2, scratch + 3
    eleventh, squared = power + 1, power + 4
    elligator_denominator(work, (t, u))
    elligator_square_test(work, (character, d))
    # character^((p-1)/2), and (p-1)/2 = 2^254 - 10 = 16 (2^250 - 1) + 6
    power_2_250_minus_1(work, character, power)
    squarings(work, eleventh, squared, times(1))
    product(work, eleventh, eleventh, squared)  # 6
    squarings(work, power, power, times(4))
    product(work, character, power, eleventh)
    elligator_numerator(work, (out_x, character, t))
    copy(work, (out_z, d))


@_inner
def divide_block(work: Any, groups: int, out: WordRows, first: int, scratch: int) -> None:
    """Rows of `out` from `first` on <- x / z of every group, 0 where z = 0 (mod p); one inversion for all groups.

    Slots: x from 0, z from BLOCK_GROUPS, then masks and prefix products, BLOCK_GROUPS each; six scratch slots.
    """
    all_z, all_masks, prefixes = BLOCK_GROUPS, 2 * BLOCK_GROUPS, 3 * BLOCK_GROUPS
    inverse, power = scratch, scratch + 1
    for group in range(groups):
        z = all_z + group
        one_where_zero(work, (scratch, z))
        copy(work, (z, scratch))
        copy(work, (all_masks + group, scratch + 1))
        if group:
            product(work, prefixes + group, prefixes + group - 1, z)
        else:
            copy(work, (prefixes, z))
    # 1/a = a^(p-2), and p - 2 = 2^255 - 21 = 32 (2^250 - 1) + 11
    power_2_250_minus_1(work, prefixes + groups - 1, power)
    squarings(work, power, power, times(5))
    product(work, inverse, power, power + 1)
    for group in range(groups - 1, -1, -1):
        if group:
            product(work, power, inverse, prefixes + group - 1)
            product(work, group, group, power)
            product(work, inverse, inverse, all_z + group)
        else:
            product(work, group, group, inverse)
        pack_words(work, (power, group, all_masks + group))
        store_group(out, first + group * LANES, work, power)


@_inner
def groups_from(points: WordRows, first: int) -> int:
    """Groups in the block that starts at row `first`."""
    groups: int = min(BLOCK_GROUPS, (points.shape[0] - first + LANES - 1) // LANES)
    return groups


@_inner
def multiply_rows(points: WordRows, out: WordRows, bits: WordRows, work: Any) -> None:
    """out[i] <- scalar * points[i] for every row; `bits` as `ladder` wants them."""
    scratch = 4 * BLOCK_GROUPS
    slots = np.arange(scratch + 2, scratch + 14)
    for first in range(0, points.shape[0], BLOCK_POINTS):
        groups = groups_from(points, first)
        for group in range(groups):
            load_group(points, first + group * LANES, work, scratch)
            unpack_words(work, (scratch, scratch))
            ladder(work, scratch, bits, group, BLOCK_GROUPS + group, slots)
        divide_block(work, groups, out, first, scratch)


@_inner
def map_rows(points: WordRows, out: WordRows, work: Any) -> None:
    """out[i] <- Elligator2(points[i]) for every row."""
    scratch = 4 * BLOCK_GROUPS
    for first in range(0, points.shape[0], BLOCK_POINTS):
        groups = groups_from(points, first)
        for group in range(groups):
            load_group(points, first + group * LANES, work, scratch)
            unpack_words(work, (scratch, scratch))
            elligator(work, scratch + 1, group, BLOCK_GROUPS + group, scratch + 2)
        divide_block(work, groups, out, first, scratch)


# Entry points ---------------------------------------------------------------------------------------------------------


def source_digest() -> str:
    """SHA-256 over the two files the machine code comes from.

    numba's cache notices changes of the file an entry point stands in, not of the formulas it calls in another one.
    """
    digest = hashlib.sha256()
    for path in (Path(__file__), Path(lanes.__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _entry_points(sources: str, *, cached: bool) -> tuple[Any, Any]:
    """Both loops, compiled for exactly one signature each, so that nothing is compiled later in a run."""
    rows_in = types.Array(types.uint64, 2, "C", readonly=True)
    rows_out = types.Array(types.uint64, 2, "C")
    words_in = types.Array(types.uint64, 1, "C", readonly=True)
    words = types.Array(types.uint64, 1, "C")

    def multiply(points: WordRows, out: WordRows, bits: WordRows, work: WordRows) -> None:
        sources  # noqa: B018  # a name from outside becomes part of the key in numba's cache
        multiply_rows(points, out, bits, work)

    def map_to_curve(points: WordRows, out: WordRows, work: WordRows) -> None:
        sources  # noqa: B018  # as above
        map_rows(points, out, work)

    def compiled(function: Callable[..., None], *arguments: Any) -> Any:
        signature = types.void(*arguments)
        return njit(signature, nogil=True, boundscheck=False, error_model="numpy", cache=cached)(function)

    return compiled(multiply, rows_in, rows_out, words_in, words), compiled(map_to_curve, rows_in, rows_out, words)


def _compile() -> tuple[Any, Any]:
    """The entry points, through numba's cache where a folder for it can be written, else compiled anew."""
    try:
        return _entry_points(source_digest(), cached=True)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        return _entry_points(source_digest(), cached=False)


_multiply, _map_to_curve = _compile()


def cache_folder() -> Path | None:
    """Where the machine code is kept, None where it is not. Whoever can write there can run code in this process."""
    folder = _multiply.stats.cache_path
    return Path(folder) if folder else None


def x25519(scalar: bytes, points: ByteRows, *, threads: int) -> ByteRows:
    """X25519 of one 32-byte scalar with every row; see `curve.x25519`."""
    clamped = np.frombuffer(scalar, np.uint8).copy()
    clamped[0] &= 248
    clamped[31] = clamped[31] & 127 | 64
    bits = np.unpackbits(clamped, bitorder="little")[254::-1].astype(np.uint64)
    try:
        return _in_parts(points, threads, lambda rows, out, work: _multiply(rows, out, bits, work))
    finally:
        clamped.fill(0)
        bits.fill(0)


def elligator2(uniform: ByteRows, *, threads: int) -> ByteRows:
    """The map of every row; see `curve.elligator2`."""
    return _in_parts(uniform, threads, _map_to_curve)


def _in_parts(points: ByteRows, threads: int, compute: Callable[[WordRows, WordRows, WordRows], None]) -> ByteRows:
    """Run `compute` over parts of whole blocks, about four to a thread; it holds no interpreter lock."""
    rows = np.ascontiguousarray(points).view(np.dtype("<u8"))
    if not rows.flags.aligned:
        rows = rows.copy()
    out = np.empty_like(rows)
    blocks = -(-len(rows) // BLOCK_POINTS)
    step = max(1, -(-blocks // (4 * threads))) * BLOCK_POINTS

    def part(first: int) -> None:
        work = np.zeros(WORKSPACE_WORDS + CACHE_LINE_WORDS, np.uint64)
        unaligned_words = (-work.ctypes.data // 8) % CACHE_LINE_WORDS  # vectors that straddle cache lines are slow
        try:
            compute(rows[first : first + step], out[first : first + step], work[unaligned_words:])
        finally:
            work.fill(0)

    starts = range(0, len(rows), step)
    if threads == 1 or len(starts) == 1:
        for first in starts:
            part(first)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(part, starts))
    return out.view(np.uint8)
