"""Privacy amplification without rounding: words of 64 bits as polynomials over GF(2), multiplied by the processor.

Needs the carry-less multiplication of x86 (PCLMULQDQ); `is_available` says whether this machine and the compiler's
settings have it. Document: docs/protocols/qkd.md section 8.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils, config
from numba.core.registry import cpu_target
from numba.extending import intrinsic as untyped_intrinsic

from workbench.errors import SelfTestFailed
from workbench_kme.distill.compiling import compiled

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Whole = Any
"""A 64-bit whole number of compiled code; Python's int to whoever calls it."""

WORD: Final = 64
BLOCK: Final = 16
"""Words on a side of a product that is made word by word: its parts stay in registers."""
MOST_LEVELS: Final = 12
_POINT: Final = np.uint64(0x9E3779B97F4A7C15)
"""Where the check evaluates: an element of GF(2^64) without a pattern."""
_TAIL: Final = np.uint64(0x1B)
"""x^64 = x^4 + x^3 + x + 1: the field of the check."""
_U1: Final = np.uint64(1)
_U63: Final = np.uint64(63)
_NONE: Final = np.uint64(0)


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
intrinsic = cast("Decorator", untyped_intrinsic)
"""numba's own description has the typing context as an argument of the function that comes out; it is none."""


@cache
def is_available() -> bool:
    """Whether the code that numba makes here may use PCLMULQDQ."""
    return not getattr(config, "DISABLE_JIT", 0) and "pclmul" in _features()


def multiply(seed: Bits, key: Bits, length: int) -> Bits:
    """y[i] = sum over j of seed[i - j + n - 1]·key[j] modulo 2, 0 <= i < length.

    seed: n + length - 1 bits; key: n bits; all uint8 0 or 1. Returns `length` bits.
    Raises SelfTestFailed if the products do not satisfy the check. Cost: about 10 ns a bit of the key for length = n/4, with lanes of 512 bits.
    """
    size = len(key)
    # One word more: the upper half of a product belongs to its own word, the lower one to the word before.
    rows, columns = -(-length // WORD) + 1, -(-size // WORD)
    side = side_of(rows, columns)
    row_blocks, column_blocks = -(-rows // side), -(-columns // side)
    # Word b of the key holds the bits before n - 64·b, so that y is a sum over a + b = const.
    key_words = np.zeros(column_blocks * side, np.uint64)
    front = np.zeros(columns * WORD, np.uint8)
    front[columns * WORD - size :] = key
    key_words[:columns] = _packed(front)[::-1]
    seed_words = np.zeros((row_blocks + column_blocks) * side, np.uint64)
    packed = _packed(seed)
    seed_words[: len(packed)] = packed
    sums = np.zeros((row_blocks * side, 2), np.uint64)
    work = np.empty(9 * side, np.uint64)
    _multiply_blocks(sums.reshape(-1), seed_words, key_words, side, work)
    if not _satisfies(sums, seed_words, key_words):
        raise SelfTestFailed("隐私放大的乘积未通过校验，请停用本机运算", "a product of privacy amplification fails its check; this machine must not compute")
    words = (sums[: rows - 1, 1] << _U1) | (sums[: rows - 1, 0] >> _U63)
    words ^= sums[1:rows, 0] << _U1
    return np.unpackbits(words.astype("<u8").view(np.uint8), count=length, bitorder="little")


def side_of(rows: int, columns: int) -> int:
    """Words on a side of the square pieces: 8·2^k with the fewest multiplications, 3^k of blocks for each piece."""
    best = min(
        range(MOST_LEVELS), key=lambda level: -(-rows // (BLOCK << level)) * -(-columns // (BLOCK << level)) * 3**level
    )
    return BLOCK << best


def _packed(bits: Bits) -> Words:
    """64 bits a word, the first in its lowest place; the last word filled with zeros."""
    data = np.packbits(bits, bitorder="little")
    whole = np.zeros(-(-len(data) // 8) * 8, np.uint8)
    whole[: len(data)] = data
    words: Words = whole.view("<u8").astype(np.uint64, copy=False)
    return words


def _features() -> frozenset[str]:
    """What the code that numba makes here may use; for another architecture nothing that this module knows."""
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    present = features.split(",") if triple.startswith("x86_64") else ()
    return frozenset(one[1:] for one in present if one.startswith("+"))


def _lanes() -> int:
    """Products that one instruction makes."""
    present = _features()
    if "vpclmulqdq" not in present:
        return 1
    return 4 if "avx512f" in present else 2


def _halves(a: int, b: int) -> Any:
    """Which word of each pair an instruction multiplies."""
    return ir.Constant(ir.IntType(8), (a + b) % 2 + 16 * (b % 2))


@intrinsic
def _add_block(typing: Any, sums: Any, at: Any, seed: Any, seed_at: Any, key: Any, key_at: Any) -> Any:
    """sums[at + 2a], sums[at + 2a + 1] ^= low and high word of the sum over b of seed[seed_at + a + b]·key[key_at + b]; a, b < BLOCK."""

    lanes = _lanes()

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.IntType(64), 2 * lanes)
        name = "llvm.x86.pclmulqdq" + ("" if lanes == 1 else f".{128 * lanes}")
        product = builder.module.declare_intrinsic(name, fnty=ir.FunctionType(vector, [vector, vector, ir.IntType(8)]))

        def start(place: int, kind: Any) -> Any:
            array = context.make_array(signature.args[place])(context, builder, arguments[place])
            return builder.bitcast(builder.gep(array.data, [arguments[place + 1]]), kind.as_pointer())

        def words(loaded: Any, places: list[int]) -> Any:
            chosen = ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places)
            return builder.shuffle_vector(loaded, ir.Constant(loaded.type, ir.Undefined), chosen)

        out = start(0, vector)
        left = builder.load(start(2, ir.VectorType(ir.IntType(64), 2 * BLOCK)), align=8)
        right = builder.load(start(4, ir.VectorType(ir.IntType(64), BLOCK)), align=8)
        # Each lane makes one sum. Here it holds two words of its window, of which an instruction takes one.
        lefts = [words(left, [c + lane + i for lane in range(lanes) for i in (0, 1)]) for c in range(0, 2 * BLOCK - lanes, 2)]
        rights = [words(right, [b, b + 1] * lanes) for b in range(0, BLOCK, 2)]
        for a in range(0, BLOCK, lanes):
            place = builder.gep(out, [ir.Constant(ir.IntType(32), a // lanes)])
            total = builder.load(place, align=8)
            for b in range(BLOCK):
                total = builder.xor(total, builder.call(product, [lefts[(a + b) // 2], rights[b // 2], _halves(a, b)]))
            builder.store(total, place, align=8)
        return context.get_dummy_value()

    return types.void(sums, types.intp, seed, types.intp, key, types.intp), generate


@intrinsic
def _product(typing: Any, left: Any, right: Any) -> Any:
    """Low and high word of the product of two words."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pair = ir.VectorType(ir.IntType(64), 2)
        product = builder.module.declare_intrinsic(
            "llvm.x86.pclmulqdq", fnty=ir.FunctionType(pair, [pair, pair, ir.IntType(8)])
        )
        first = ir.Constant(ir.IntType(32), 0)
        sides = [builder.insert_element(ir.Constant(pair, None), one, first) for one in arguments]
        result = builder.call(product, [*sides, ir.Constant(ir.IntType(8), 0)])
        words = [builder.extract_element(result, ir.Constant(ir.IntType(32), place)) for place in range(2)]
        return cgutils.pack_array(builder, words)  # type: ignore[no-untyped-call]

    return types.UniTuple(types.uint64, 2)(types.uint64, types.uint64), generate  # type: ignore[no-untyped-call]


@compiled
def _multiply_blocks(sums: Words, seed: Words, key: Words, side: Whole, work: Words) -> None:
    """sums[a] += sum over b of seed[a + b]·key[b], in square pieces; two words a sum. work: 9·side words."""
    for row in range(0, len(sums) // 2, side):
        for i in range(2 * side):
            work[i] = 0
        for column in range(0, len(key), side):
            for i in range(2 * side):
                work[2 * side + i] = seed[row + column + i]
            for i in range(side):
                work[4 * side + i] = key[column + i]
            _multiply_square(work, side)
        for i in range(2 * side):
            sums[2 * row + i] = work[i]


@compiled
def _multiply_square(work: Words, side: Whole) -> None:
    """One square piece, its sums, seed and key one behind the other in `work`; three of half the side make one.

    With S0, S1, S2 the halves of the seed and v0, v1 those of the key, the sums are (S0+S1)·v0 + S1·(v0+v1) and
    (S1+S2)·v1 + S1·(v0+v1). A loop with a list of levels instead of a recursion, which numba's cache does not keep well.
    """
    places = np.zeros((MOST_LEVELS + 1, 3), np.int64)
    steps = np.zeros(MOST_LEVELS + 1, np.int64)
    places[0, 1], places[0, 2] = 2 * side, 4 * side
    level, free = 0, 5 * side
    while level >= 0:
        at, seed, key = places[level, 0], places[level, 1], places[level, 2]
        half, step = (side >> level) // 2, steps[level]
        if 2 * half == BLOCK:
            _add_block(work, at, work, seed, work, key)
            level -= 1
            continue
        # What lies above belongs to the levels above this one: halves of a seed, then sums.
        mixed = free + 4 * (side - (side >> level))
        middle = mixed + 2 * half
        steps[level] += 1
        if step == 0:
            for i in range(2 * half):
                work[mixed + i] = work[seed + i] ^ work[seed + half + i]
            seed = mixed
        elif step == 1:
            for i in range(2 * half):
                work[mixed + i] = work[seed + half + i] ^ work[seed + 2 * half + i]
            seed, key, at = mixed, key + half, at + 2 * half
        elif step == 2:
            for i in range(half):
                work[mixed + i] = work[key + i] ^ work[key + half + i]
            for i in range(2 * half):
                work[middle + i] = 0
            seed, key, at = seed + half, mixed, middle
        else:
            for i in range(2 * half):
                work[at + i] ^= work[middle + i]
                work[at + 2 * half + i] ^= work[middle + i]
            steps[level] = 0
            level -= 1
            continue
        level += 1
        places[level, 0], places[level, 1], places[level, 2] = at, seed, key


@compiled
def _reduced(low: Any, high: Any) -> Any:
    """low + x^64·high in the field of the check."""
    once = _product(high, _TAIL)
    return low ^ once[0] ^ _product(once[1], _TAIL)[0]


@compiled
def _field_product(left: Any, right: Any) -> Any:
    both = _product(left, right)
    return _reduced(both[0], both[1])


@compiled
def _satisfies(sums: Any, seed: Words, key: Words) -> bool:
    """Whether the sum over a of g^a·sums[a] is the sum over b of key[b]·w[b], w[b] = sum over a of g^a·seed[a + b]."""
    rows, columns = len(sums), len(key)
    found, power = _NONE, _U1
    for a in range(rows - 1, -1, -1):
        found = _field_product(found, _POINT) ^ _reduced(sums[a, 0], sums[a, 1])
        power = _field_product(power, _POINT)
    window = _NONE
    for a in range(rows - 1, -1, -1):
        window = _field_product(window, _POINT) ^ seed[columns + a]
    expected = _NONE
    for b in range(columns - 1, -1, -1):
        window = _field_product(window, _POINT) ^ seed[b] ^ _field_product(power, seed[b + rows])
        expected ^= _field_product(key[b], window)
    return bool(found == expected)
