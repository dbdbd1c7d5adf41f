"""Section 8: both ways of the product beside the product by definition; the bound and the check that make them sure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from workbench_kme.distill import carryless, toeplitz

WAYS = [toeplitz.transform, *([carryless.multiply] if carryless.is_available() else [])]
needs_products = pytest.mark.skipif(not carryless.is_available(), reason="no carry-less multiplication here")


def direct(seed: np.ndarray, key: np.ndarray, length: int) -> np.ndarray:
    """T[i][j] = seed[i - j + n - 1], row by row over GF(2)."""
    n = len(key)
    return np.array([int(seed[i : i + n][::-1] @ key.astype(np.int64)) & 1 for i in range(length)], np.uint8)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("size", "length"),
    [
        (1, 1), (2, 1), (1, 5), (63, 65), (64, 64), (255, 256), (256, 256), (257, 1), (1000, 300), (5000, 4999),
        (70_000, 1), (33_000, 32_769), (100, 33_000),
    ],
)  # fmt: skip
def test_the_product_is_the_product_over_gf2(way: Callable[..., np.ndarray], size: int, length: int) -> None:
    draw = np.random.default_rng(size * 7 + length)
    seed, key = draw.integers(0, 2, size + length - 1, dtype=np.uint8), draw.integers(0, 2, size, dtype=np.uint8)
    rows = np.unique(np.linspace(0, length - 1, 400).astype(int))
    n = len(key)
    expected = [int(seed[i : i + n][::-1] @ key.astype(np.int64)) & 1 for i in rows]
    found = way(seed, key, length)
    assert len(found) == length and found[rows].tolist() == expected


@pytest.mark.parametrize("piece", [256, 512, 4096])
def test_pieces_of_any_size_give_the_same(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(piece)
    seed, key = draw.integers(0, 2, 2999, dtype=np.uint8), draw.integers(0, 2, 2300, dtype=np.uint8)
    monkeypatch.setattr(toeplitz, "piece_size", lambda size, length: piece)
    assert np.array_equal(toeplitz.transform(seed, key, 700), direct(seed, key, 700))


@needs_products
@pytest.mark.parametrize("side", [16, 32, 256])
def test_squares_of_any_size_give_the_same(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(side)
    seed, key = draw.integers(0, 2, 2999, dtype=np.uint8), draw.integers(0, 2, 2300, dtype=np.uint8)
    monkeypatch.setattr(carryless, "side_of", lambda rows, columns: side)
    assert np.array_equal(carryless.multiply(seed, key, 700), direct(seed, key, 700))


@needs_products
def test_sides_need_the_fewest_blocks_and_one_block_where_that_is_enough() -> None:
    assert carryless.side_of(2, 3) == carryless.BLOCK
    for rows, columns in ((40, 900), (1000, 4000), (9377, 36_911)):
        side = carryless.side_of(rows, columns)
        halved, doubled = side // 2, side * 2

        def blocks(one: int, rows: int = rows, columns: int = columns) -> float:
            return -(-rows // one) * -(-columns // one) * 3 ** np.log2(one / carryless.BLOCK)

        assert blocks(side) <= blocks(doubled) and (side == carryless.BLOCK or blocks(side) <= blocks(halved))


@needs_products
@pytest.mark.parametrize("place", [(0, 0), (3, 1), (11, 0)])
@pytest.mark.parametrize("bit", [0, 31, 63])
def test_one_wrong_bit_of_the_sums_stops_the_machine(
    place: tuple[int, int], bit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = carryless._multiply_blocks

    def wrong(sums: np.ndarray, *others: object) -> None:
        true(sums, *others)
        sums.reshape(-1, 2)[place] ^= np.uint64(1 << bit)

    monkeypatch.setattr(carryless, "_multiply_blocks", wrong)
    draw = np.random.default_rng(5)
    with pytest.raises(toeplitz.SelfTestFailed):
        carryless.multiply(draw.integers(0, 2, 2999, dtype=np.uint8), draw.integers(0, 2, 2300, dtype=np.uint8), 700)


@pytest.mark.parametrize("available", [True, False])
def test_a_machine_without_carry_less_products_transforms(available: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    monkeypatch.setattr(carryless, "is_available", lambda: available)
    monkeypatch.setattr(carryless, "multiply", lambda *_: taken.append("products"))
    monkeypatch.setattr(toeplitz, "transform", lambda *_: taken.append("transforms"))
    toeplitz.multiply(np.ones(10, np.uint8), np.ones(8, np.uint8), 3)
    assert taken == ["products" if available else "transforms"]


@pytest.mark.parametrize("way", WAYS)
def test_all_ones_are_the_heaviest_sums_and_still_exact(way: Callable[..., np.ndarray]) -> None:
    size, length = 90_001, 64
    ones = np.ones(size, np.uint8)
    assert way(np.ones(size + length - 1, np.uint8), ones, length).tolist() == [1] * length


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
        toeplitz.transform(np.ones(599, np.uint8), np.ones(500, np.uint8), 100)


def test_a_bound_above_a_quarter_is_refused_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toeplitz, "LAYER_ERROR", 1e-3)
    with pytest.raises(toeplitz.SelfTestFailed):
        toeplitz.transform(np.ones(599, np.uint8), np.ones(500, np.uint8), 100)


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
