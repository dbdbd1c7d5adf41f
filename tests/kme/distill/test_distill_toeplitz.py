"""Section 8: the product by FFT beside the product by definition, and the bound that makes rounding sure."""

from __future__ import annotations

import numpy as np
import pytest

from workbench_kme.distill import toeplitz


def direct(seed: np.ndarray, key: np.ndarray, length: int) -> np.ndarray:
    """T[i][j] = seed[i - j + n - 1], row by row over GF(2)."""
    n = len(key)
    return np.array([int(seed[i : i + n][::-1] @ key.astype(np.int64)) & 1 for i in range(length)], np.uint8)


@pytest.mark.parametrize(
    ("size", "length"),
    [(1, 1), (2, 1), (1, 5), (255, 256), (256, 256), (257, 1), (1000, 300), (5000, 4999), (70_000, 1), (33_000, 32_769), (100, 33_000)],
)
def test_the_product_by_fft_is_the_product_over_gf2(size: int, length: int) -> None:
    draw = np.random.default_rng(size * 7 + length)
    seed, key = draw.integers(0, 2, size + length - 1, dtype=np.uint8), draw.integers(0, 2, size, dtype=np.uint8)
    rows = np.unique(np.linspace(0, length - 1, 400).astype(int))
    n = len(key)
    expected = [int(seed[i : i + n][::-1] @ key.astype(np.int64)) & 1 for i in rows]
    found = toeplitz.multiply(seed, key, length)
    assert len(found) == length and found[rows].tolist() == expected


@pytest.mark.parametrize("piece", [256, 512, 4096])
def test_pieces_of_any_size_give_the_same(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(piece)
    seed, key = draw.integers(0, 2, 2999, dtype=np.uint8), draw.integers(0, 2, 2300, dtype=np.uint8)
    monkeypatch.setattr(toeplitz, "piece_size", lambda size, length: piece)
    assert np.array_equal(toeplitz.multiply(seed, key, 700), direct(seed, key, 700))


def test_all_ones_are_the_heaviest_sums_and_still_exact() -> None:
    size, length = 90_001, 64
    ones = np.ones(size, np.uint8)
    assert toeplitz.multiply(np.ones(size + length - 1, np.uint8), ones, length).tolist() == [1] * length


def test_the_bound_holds_for_the_largest_block_with_room_to_spare() -> None:
    n, piece = 1 << 24, toeplitz.LARGEST_PIECE
    columns = n // piece
    heaviest = columns * np.sqrt(piece) * np.sqrt(2 * piece)
    assert toeplitz.rounding_bound(piece, columns, heaviest) < 0.01 < toeplitz.LIMIT


def test_errors_measured_stay_below_the_bound() -> None:
    draw = np.random.default_rng(8)
    piece = 1 << 15
    # Few ones: sums are small, so that the error is not hidden by the spacing of large numbers.
    x, s = (draw.random(piece) < 0.01).astype(float), (draw.random(2 * piece) < 0.01).astype(float)
    found = np.fft.irfft(np.fft.rfft(np.r_[x, np.zeros(piece)]) * np.fft.rfft(s), 2 * piece)[piece:]
    error = np.abs(found - np.rint(found)).max()
    assert 0 < error <= toeplitz.rounding_bound(piece, 1, np.sqrt(x.sum() * s.sum()))


def test_a_sum_off_its_bound_stops_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transform that is less exact than promised must not decide a single bit of key."""
    true = np.fft.irfft
    monkeypatch.setattr(np.fft, "irfft", lambda *args, **named: true(*args, **named) + 1e-3)
    with pytest.raises(toeplitz.SelfTestFailed):
        toeplitz.multiply(np.ones(599, np.uint8), np.ones(500, np.uint8), 100)


def test_a_bound_above_a_quarter_is_refused_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toeplitz, "LAYER_ERROR", 1e-3)
    with pytest.raises(toeplitz.SelfTestFailed):
        toeplitz.multiply(np.ones(599, np.uint8), np.ones(500, np.uint8), 100)


def test_the_hash_is_linear_and_nearly_every_key_is_moved_apart() -> None:
    """Universal: two different keys collide for about 2^-length of the seeds, not for more."""
    draw = np.random.default_rng(3)
    difference = np.zeros(40, np.uint8)
    difference[[3, 17, 39]] = 1
    seeds = draw.integers(0, 2, (4000, 47), dtype=np.uint8)
    collisions = sum(not toeplitz.multiply(seed, difference, 8).any() for seed in seeds)
    assert 3 <= collisions <= 40, "4000 seeds, 2^-8: 15.6 expected"


@pytest.mark.parametrize(("seed_bits", "length"), [(10, 3), (12, 0), (13, 3)])
def test_sizes_that_do_not_fit_are_a_mistake_of_the_caller(seed_bits: int, length: int) -> None:
    with pytest.raises(ValueError):
        toeplitz.multiply(np.ones(seed_bits, np.uint8), np.ones(10, np.uint8), length)
