"""Privacy amplification: a random Toeplitz matrix times the key, by carry-less products or by transforms.

The transforms run in pieces, with a proven rounding bound, where the processor has no carry-less multiplication.

Document: docs/protocols/qkd.md section 8.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from workbench.errors import SelfTestFailed
from workbench_kme.distill import carryless
from workbench_kme.distill.compiling import compiled

Bits = npt.NDArray[np.uint8]

LARGEST_PIECE: Final = 1 << 18
USUAL_PIECE: Final = 1 << 15
"""Transforms of twice that fit the second cache."""
MOST_ROWS: Final = 16
"""Pieces of the result from which on larger pieces cost less than more products."""
SMALLEST_PIECE: Final = 1 << 8
TILE: Final = 256
UNIT: Final = 2.0**-53
LAYER_ERROR: Final = 16 * UNIT
"""Relative error of one radix-2 layer, twiddle factors of error 8u included."""
LIMIT: Final = 0.25


def multiply(seed: Bits, key: Bits, length: int) -> Bits:
    """y[i] = sum over j of seed[i - j + n - 1]·key[j] modulo 2, 0 <= i < length.

    seed: n + length - 1 bits; key: n bits; all uint8 0 or 1. Returns `length` bits.
    Raises SelfTestFailed if a product does not satisfy its check. Cost: that of the way this machine takes.
    """
    if length < 1 or len(seed) != len(key) + length - 1:
        raise ValueError("the seed has n + length - 1 bits, and length is at least 1")
    return carryless.multiply(seed, key, length) if carryless.is_available() else transform(seed, key, length)


def transform(seed: Bits, key: Bits, length: int) -> Bits:
    """`multiply` by real transforms, on any machine.

    Raises SelfTestFailed if a sum does not lie as near to a whole number as the bound promises.
    Cost: about 50 ns a bit of the key for length = n/4; 40 bytes of memory a bit.
    """
    size = len(key)
    piece = piece_size(size, length)
    columns, rows = -(-size // piece), -(-length // piece)
    padded_key = np.zeros((columns, 2 * piece), np.uint8)
    for j in range(columns):
        part = key[j * piece : (j + 1) * piece]
        padded_key[j, : len(part)] = part
    diagonals = rows + columns - 1
    padded_seed = np.zeros((diagonals + 1) * piece, np.uint8)
    # Diagonal d = row - column of pieces uses the seed's bits from d·piece + n - 1 - piece on, 2·piece of them.
    first = (1 - columns) * piece + size - 1 - piece
    padded_seed[-first : -first + len(seed)] = seed
    bound = _bound_of(padded_key, padded_seed, piece)
    if not bound < LIMIT:
        raise SelfTestFailed("隐私放大的舍入误差界超过四分之一，请缩短数据块", "the rounding bound of privacy amplification is not below 1/4; use shorter blocks")
    spectra = _transformed(padded_key)
    matrix = _transformed(sliding_window_view(padded_seed, 2 * piece)[::piece])
    sums = np.zeros((rows, piece + 1), np.complex128)
    _add_products(sums, matrix, spectra)
    exact = np.fft.irfft(sums, 2 * piece, axis=1)[:, piece:].reshape(-1)[:length]
    near = np.rint(exact)
    if not float(np.abs(exact - near).max()) <= bound:
        raise SelfTestFailed("隐私放大的舍入误差超过已证明的界，请停用本机运算", "a rounding error of privacy amplification exceeds its proven bound; this machine must not compute")
    bits: Bits = (near.astype(np.int64) & 1).astype(np.uint8)
    return bits


def piece_size(size: int, length: int) -> int:
    """B, a power of two: small for a small product, larger than usual for a long result."""
    whole = 1 << (max(size, length) - 1).bit_length()
    share = 1 << ((length - 1) // MOST_ROWS).bit_length()
    return min(LARGEST_PIECE, max(SMALLEST_PIECE, min(USUAL_PIECE, whole), share))


def rounding_bound(piece: int, columns: int, weight: float) -> float:
    """How far a sum may lie from a whole number.

    columns: products that are added; weight: A of the document, sum of products of 2-norms.
    """
    delta = math.expm1(math.log2(2 * piece) * math.log1p(LAYER_ERROR))
    logarithm = 2 * math.log1p(delta) + math.log1p(math.sqrt(5) * UNIT) + columns * math.log1p(UNIT)
    kappa = math.expm1(logarithm)
    return weight * (kappa + delta * math.sqrt(2 * piece) * (1 + kappa))


def _transformed(rows: Bits) -> npt.NDArray[np.complex128]:
    """The spectrum of each row; a few rows at a time, so that their 8 bytes a bit stay in one small buffer."""
    count, size = rows.shape
    spectra = np.empty((count, size // 2 + 1), np.complex128)
    buffer = np.empty((min(count, max(1, (1 << 18) // size)), size), np.float64)
    for begin in range(0, count, len(buffer)):
        part = buffer[: min(len(buffer), count - begin)]
        part[:] = rows[begin : begin + len(part)]
        np.fft.rfft(part, axis=1, out=spectra[begin : begin + len(part)])
    return spectra


def _bound_of(padded_key: Bits, padded_seed: Bits, piece: int) -> float:
    """The bound for these bits: their numbers of ones are the squares of the norms."""
    key_ones = padded_key.sum(axis=1, dtype=np.int64)
    piece_ones = padded_seed.reshape(-1, piece).sum(axis=1, dtype=np.int64)
    heaviest = int((piece_ones[:-1] + piece_ones[1:]).max())
    weight = float(np.sqrt(key_ones * float(heaviest)).sum())
    return rounding_bound(piece, len(padded_key), weight)


@compiled
def _add_products(sums: Any, matrix: Any, spectra: Any) -> None:
    """sums[i] += matrix[i - j + columns - 1]·spectra[j] for all columns j, element by element; complex.

    A tile of frequencies at a time: all pieces of a tile fit the second cache, a whole spectrum of each does not.
    """
    rows, size = sums.shape
    columns = len(spectra)
    for begin in range(0, size, TILE):
        end = min(begin + TILE, size)
        for i in range(rows):
            total = sums[i]
            for j in range(columns):
                left, right = matrix[i - j + columns - 1], spectra[j]
                for k in range(begin, end):
                    a, b, c, d = left[k].real, left[k].imag, right[k].real, right[k].imag
                    total[k] += complex(a * c - b * d, a * d + b * c)
