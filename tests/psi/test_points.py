"""Checks on received points, and order and comparison of long lists of rows, against Python's own bytes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import ProtocolViolation
from workbench_psi import curve_plain, points

P = 2**255 - 19
Rows = npt.NDArray[np.uint8]


def rows(*values: int | bytes) -> Rows:
    encoded = [value if isinstance(value, bytes) else value.to_bytes(32, "little") for value in values]
    return np.frombuffer(b"".join(encoded), np.uint8).reshape(-1, 32)


def as_bytes(array: Rows) -> list[bytes]:
    return [row.tobytes() for row in array]


def random_rows(count: int, seed: int) -> Rows:
    array = np.random.default_rng(seed).integers(0, 256, (count, 32), dtype=np.uint8)
    array[:, 31] &= 127
    return array


def adversarial_rows(count: int, seed: int) -> Rows:
    """Rows that agree in their first 8, 16 or 24 bytes, so that a prefix decides nothing."""
    array = random_rows(count, seed)
    for k in range(count):
        array[k, : 8 * (k % 4)] = 7
        array[k, 31] = k % 3
    return array


# Rows with few different bytes: prefixes, repetitions and near misses all occur.
colliding_row = st.binary(min_size=32, max_size=32) | st.builds(
    lambda head, tail: bytes([head]) * 8 + bytes([tail]) * 24, st.integers(0, 2), st.integers(0, 2)
)
row_lists = st.lists(colliding_row, max_size=40)


@given(row_lists)
def test_order_is_that_of_the_bytes_as_sent_and_stable(values: list[bytes]) -> None:
    array = rows(*values)
    expected = sorted(range(len(values)), key=lambda k: (values[k], k))
    assert points.ascending_order(array).tolist() == expected
    assert as_bytes(points.sort_rows(array)) == sorted(values)


def test_order_is_not_that_of_the_little_endian_numbers() -> None:
    small, large = rows(1, 2**248)
    assert as_bytes(points.sort_rows(np.stack([small, large]))) == [large.tobytes(), small.tobytes()]


@pytest.mark.parametrize("make", [random_rows, adversarial_rows])
def test_long_lists_sort_like_bytes(make: Callable[[int, int], Rows]) -> None:
    array = make(3000, 1)
    assert as_bytes(points.sort_rows(array)) == sorted(as_bytes(array))
    shuffled = array[np.random.default_rng(2).permutation(3000)]
    assert np.array_equal(points.sort_rows(shuffled), points.sort_rows(array))


@given(row_lists, row_lists)
@settings(max_examples=300)
def test_matches_agree_with_a_dictionary(left: list[bytes], right: list[bytes]) -> None:
    first: dict[bytes, int] = {}
    for position, value in enumerate(right):
        first.setdefault(value, position)
    expected = [(k, first[value]) for k, value in enumerate(left) if value in first]
    i, j = points.matches(rows(*left), rows(*right))
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == expected
    assert points.contained(rows(*left), rows(*right)).tolist() == [value in first for value in left]


@pytest.mark.parametrize("make", [random_rows, adversarial_rows])
def test_long_lists_intersect_like_sets_whatever_their_order(make: Callable[[int, int], Rows]) -> None:
    everything = make(4000, 3)
    left, right = everything[:2500], everything[1700:][::-1]
    expected = set(as_bytes(left)) & set(as_bytes(right))
    i, j = points.matches(left, right)
    assert np.array_equal(left[i], right[j])
    assert set(as_bytes(left[i])) == expected
    k, _ = points.matches(points.sort_rows(left), points.sort_rows(right))
    assert set(as_bytes(points.sort_rows(left)[k])) == expected


def test_rows_that_differ_in_one_byte_do_not_match() -> None:
    """A comparison of prefixes alone would pass every other test with honest data."""
    one = random_rows(1, 4)
    for byte in range(32):
        other = one.copy()
        other[0, byte] ^= 1
        assert len(points.matches(one, other)[0]) == 0
        assert len(points.matches(np.concatenate([one, one]), np.concatenate([other, other]))[0]) == 0


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 1, 2, P - 2, P - 1])
def test_values_below_p_are_canonical(value: int) -> None:
    points.require_canonical(rows(9, value))


@pytest.mark.parametrize("value", range(P, 2**255))
def test_values_from_p_on_are_refused(value: int) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        points.require_canonical(rows(9, value, 10))
    assert caught.value.code == "POINT_NOT_CANONICAL"
    assert caught.value.details == {"examined": "3", "failed": "1"}


@pytest.mark.parametrize("value", [2**255, 2**255 + 9, 2**256 - 1])
def test_the_reserved_bit_is_refused(value: int) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        points.require_canonical(rows(value))
    assert caught.value.code == "POINT_RESERVED_BIT"


@pytest.mark.parametrize("word", range(4))
def test_just_below_p_in_one_word_is_canonical(word: int) -> None:
    """One word short of all ones is below p: a check that looked at fewer words would refuse it."""
    points.require_canonical(rows(2**255 - 1 - (1 << (64 * word + 40))))


def test_rows_out_of_order_or_repeated_are_refused() -> None:
    good = points.sort_rows(random_rows(50, 5))
    points.require_ascending(good)
    points.require_ascending(good[:1])
    points.require_ascending(good[:0])
    swapped = good[[*range(20), 21, 20, *range(22, 50)]]
    for bad in (good[::-1], swapped, np.concatenate([good[:20], good[19:]])):
        with pytest.raises(ProtocolViolation) as caught:
            points.require_ascending(bad)
        assert caught.value.code == "POINTS_NOT_ASCENDING"


@pytest.mark.parametrize("byte", range(32))
def test_order_looks_at_every_byte(byte: int) -> None:
    low = random_rows(1, 6)
    low[0, byte] = 3
    high = low.copy()
    high[0, byte] = 4
    high[0, byte + 1 :] = 0
    points.require_ascending(np.concatenate([low, high]))
    with pytest.raises(ProtocolViolation):
        points.require_ascending(np.concatenate([high, low]))


def test_every_low_order_point_is_refused_and_is_one() -> None:
    """What X25519 turns into zero for any scalar, and none of its neighbours."""
    low = [0, 1, P - 1, *points._LOW_ORDER[2:4]]
    assert sorted(low) == sorted(points._LOW_ORDER)
    for scalar in (bytes(32), bytes(range(32)), b"\xff" * 32):
        assert not curve_plain.x25519(scalar, rows(*low)).any()
    for value in low:
        with pytest.raises(ProtocolViolation) as caught:
            points.require_no_low_order(rows(9, value))
        assert caught.value.code == "POINT_LOW_ORDER"
    points.require_no_low_order(rows(2, 9, P - 2))


def test_small_order_means_the_three_doublings_reach_infinity() -> None:
    """By plain doublings, without a scalar multiplication: 8P is the point at infinity for each of them."""

    def doubled(x: int, z: int) -> tuple[int, int]:
        s, d = (x + z) ** 2 % P, (x - z) ** 2 % P
        e = (s - d) % P
        return s * d % P, e * (s + 121665 * e) % P

    for u in points._LOW_ORDER:
        x, z = u, 1
        for _ in range(3):
            x, z = doubled(x, z)
        assert z == 0


def test_points_of_our_own_are_refused() -> None:
    own, theirs = random_rows(40, 7), random_rows(40, 8)
    points.require_not_own(theirs, own=own)
    mixed = theirs.copy()
    mixed[17] = own[3]
    for bad in (own, mixed):
        with pytest.raises(ProtocolViolation) as caught:
            points.require_not_own(bad, own=own)
        assert caught.value.code == "POINT_REFLECTED"


def test_zero_and_repeated_products_are_refused() -> None:
    good = random_rows(40, 9)
    points.require_products(good)
    with_zero, repeated = good.copy(), good.copy()
    with_zero[39] = 0
    repeated[2] = repeated[30]
    with pytest.raises(ProtocolViolation) as caught:
        points.require_products(with_zero)
    assert caught.value.code == "PRODUCT_ZERO"
    with pytest.raises(ProtocolViolation) as caught:
        points.require_products(repeated)
    assert caught.value.code == "PRODUCTS_NOT_DISTINCT"


def test_a_single_bit_set_is_not_zero() -> None:
    for bit in range(256):
        points.require_nonzero(rows((1 << bit).to_bytes(32, "little")))


def test_a_good_list_passes_and_each_fault_in_it_is_found() -> None:
    own, good = random_rows(30, 10), points.sort_rows(random_rows(30, 11))
    points.require_received(good, own=own)
    faults = {
        "POINT_RESERVED_BIT": rows(2**255 + 9),
        "POINT_NOT_CANONICAL": rows(P + 3),
        "POINT_LOW_ORDER": rows(P - 1),
        "POINT_REFLECTED": own[:1],
        "POINTS_NOT_ASCENDING": good[4:5],
    }
    for code, row in faults.items():
        with pytest.raises(ProtocolViolation) as caught:
            points.require_received(points.sort_rows(np.concatenate([good, row])), own=own)
        assert caught.value.code == code


def test_a_body_of_another_length_is_refused() -> None:
    body = random_rows(3, 12).tobytes()
    assert np.array_equal(points.rows_from_bytes(body, count=3), random_rows(3, 12))
    for bad in (body[:-1], body + b"\0", body[:64], b""):
        with pytest.raises(ProtocolViolation) as caught:
            points.rows_from_bytes(bad, count=3)
        assert caught.value.code == "POINTS_LENGTH"


def test_no_refusal_shows_a_point() -> None:
    secret = random_rows(1, 13)
    with pytest.raises(ProtocolViolation) as caught:
        points.require_not_own(secret, own=secret)
    shown = str(caught.value) + repr(caught.value) + repr(caught.value.as_dict())
    assert secret.tobytes().hex()[:8] not in shown
    assert str(secret[0, 0]) + " " + str(secret[0, 1]) not in shown


def test_a_wrong_shape_is_our_own_mistake() -> None:
    for bad in (np.zeros((3, 31), np.uint8), np.zeros(32, np.uint8), np.zeros((3, 32), np.int64)):
        with pytest.raises(ValueError, match="shape"):
            points.ascending_order(bad)  # type: ignore[arg-type]  # that is what is tested


def test_inputs_are_not_modified_and_strided_rows_are_understood() -> None:
    wide = np.zeros((60, 40), np.uint8)
    wide[:, :32] = random_rows(60, 14)
    view, copy = wide[::2, :32], wide[::2, :32].copy()
    before = wide.copy()
    assert np.array_equal(points.sort_rows(view), points.sort_rows(copy))
    assert points.contained(view, copy).all()
    points.require_canonical(view)
    assert np.array_equal(wide, before)
