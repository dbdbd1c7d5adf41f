"""X25519 and Elligator2 on long lists: published vectors, two other implementations, and what happens at the edges."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding  # type: ignore[import-untyped]  # no annotations
import numpy as np
import numpy.typing as npt
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from workbench.errors import SelfTestFailed
from workbench_psi import curve
from workbench_psi.curve_processor import BackendName, Processor, choose_backend, choose_lanes

P = 2**255 - 19
A = 486662
VECTORS = Path(__file__).parents[1] / "vectors"
BACKENDS: tuple[BackendName, ...] = ("double-fma", "cryptography")
Rows = npt.NDArray[np.uint8]

EDGE_VALUES = (
    *(0, 1, 2, 9, 18, 19, 20),
    *(P - 20, P - 19, P - 2, P - 1, P, P + 1, P + 2, P + 17, P + 18),
    *(2**255 - 1, 2**255, 2**255 + 1, 2**255 + P, 2**256 - 1),
    *(325606250916557431795983626356110631294008115727848805560023387167927233504,),
    *(39382357235489614581723060781553021112529911719440698176882885853963445705823,),
    *(2**51 - 1, 2**51, 2**102, 2**153, 2**204, 2**254, 2**64 - 1, 2**128 - 1, 2**192 - 1),
    *(sum(2**50 << 51 * k for k in range(5)), sum((2**50 - 1) << 51 * k for k in range(5))),
    *(2**255 - 1 - sum(2**50 << 51 * k for k in range(5)),),
)


def rows(*values: int | bytes) -> Rows:
    encoded = [value if isinstance(value, bytes) else value.to_bytes(32, "little") for value in values]
    return np.frombuffer(b"".join(encoded), np.uint8).reshape(-1, 32)


def random_rows(count: int, seed: int) -> Rows:
    return np.random.default_rng(seed).integers(0, 256, (count, 32), dtype=np.uint8)


def edged_rows(count: int, seed: int) -> Rows:
    """Random rows with the edge values strewn in, in ever new lanes."""
    array = random_rows(count, seed)
    places = np.random.default_rng(seed + 1).choice(count, len(EDGE_VALUES), replace=False)
    array[places] = rows(*EDGE_VALUES)
    return array


def openssl(scalar: bytes, points: Rows) -> Rows:
    """X25519 by `cryptography`, written once more, so that the back end of that name is tested as well."""
    key = X25519PrivateKey.from_private_bytes(scalar)
    products = []
    for row in points:
        try:
            products.append(key.exchange(X25519PublicKey.from_public_bytes(row.tobytes())))
        except ValueError:
            products.append(bytes(32))
    return rows(*products)


def naive_map(u: int) -> int:
    """Elligator2 from its definition: the first of x1 = -A / (1 + 2u^2), x2 = -x1 - A for which g(x) is a square."""
    x1 = -A * pow(1 + 2 * u * u, P - 2, P) % P
    for x in (x1, (-x1 - A) % P):
        g = x * (x * x + A * x + 1) % P
        if pow(g, (P - 1) // 2, P) in (0, 1):
            return x
    raise AssertionError("one of the two is on the curve")


# Published vectors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_products_of_rfc_7748(backend: BackendName) -> None:
    for vector in _vectors("x25519")["products"]:
        product = curve.x25519(bytes.fromhex(vector["scalar"]), rows(bytes.fromhex(vector["u"])), backend=backend)
        assert product.tobytes().hex() == vector["product"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_key_agreement_of_rfc_7748(backend: BackendName) -> None:
    vector = {name: bytes.fromhex(value) for name, value in _vectors("x25519")["key_agreement"].items()}

    def product(scalar: str, point: str) -> bytes:
        return curve.x25519(vector[scalar], rows(vector[point]), backend=backend).tobytes()

    assert product("alice_private", "base") == vector["alice_public"]
    assert product("bob_private", "base") == vector["bob_public"]
    assert product("alice_private", "bob_public") == product("bob_private", "alice_public") == vector["shared"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_thousand_iterations_of_rfc_7748(backend: BackendName) -> None:
    """Every product is the next scalar: an error anywhere changes all that follows."""
    expected = {entry["count"]: entry["result"] for entry in _vectors("x25519")["iterations"]}
    scalar = u = (9).to_bytes(32, "little")
    for count in range(1, 1001):
        scalar, u = curve.x25519(scalar, rows(u), backend=backend).tobytes(), scalar
        if count in expected:
            assert scalar.hex() == expected[count]


@pytest.mark.parametrize("backend", BACKENDS)
def test_maps_of_rfc_9380(backend: BackendName) -> None:
    """Both suites, single and sum of two: the map itself is the same in both."""
    maps = _vectors("elligator2_curve25519")["maps"]
    assert {entry["appendix"] for entry in maps} == {"J.4.1", "J.4.2"}
    images = curve.elligator2(rows(*(int(entry["u"], 16) for entry in maps)), backend=backend)
    assert [int.from_bytes(row.tobytes(), "little") for row in images] == [int(entry["x"], 16) for entry in maps]


def _vectors(name: str) -> dict[str, Any]:  # the shape differs from file to file
    content: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return content


# Other implementations ------------------------------------------------------------------------------------------------


def test_ten_thousand_products_agree_with_openssl() -> None:
    scalar, points = secrets.token_bytes(32), edged_rows(10_000, 1)
    expected = openssl(scalar, points)
    products = curve.x25519(scalar, points)
    assert np.array_equal(products, expected)
    low_order = {0, 1, P - 1, *EDGE_VALUES[21:23]}
    assert np.count_nonzero(~products.any(axis=1)) == sum(v % 2**255 % P in low_order for v in EDGE_VALUES) == 10


@pytest.mark.parametrize(
    "scalar", [bytes(32), b"\xff" * 32, b"\x07" + bytes(31), bytes(31) + b"\x80", bytes(range(32))]
)
def test_clamped_edge_scalars_agree_with_openssl(scalar: bytes) -> None:
    points = edged_rows(64, 2)
    expected = openssl(scalar, points)
    for backend in BACKENDS:
        assert np.array_equal(curve.x25519(scalar, points, backend=backend), expected)


def test_every_bit_of_the_scalar_counts() -> None:
    """The 251 free bits change the product, the five clamped ones do not."""
    base = rows(9)
    start = bytearray(range(3, 35))
    reference = curve.x25519(bytes(start), base).tobytes()
    for bit in range(256):
        flipped = bytearray(start)
        flipped[bit // 8] ^= 1 << bit % 8
        assert (curve.x25519(bytes(flipped), base).tobytes() == reference) == (bit in (0, 1, 2, 254, 255))


def test_three_thousand_maps_agree_with_the_definition() -> None:
    uniform = edged_rows(3000, 3)
    expected = [naive_map(int.from_bytes(row.tobytes(), "little") % 2**255) for row in uniform]
    for backend in BACKENDS:
        images = curve.elligator2(uniform, backend=backend)
        assert [int.from_bytes(row.tobytes(), "little") for row in images] == expected


def test_neither_the_denominator_nor_the_value_tested_is_ever_zero() -> None:
    """docs/protocols/curve.md section 6: otherwise the character could be 0, and its parity would say nothing."""

    def is_square(number: int) -> bool:
        return pow(number % P, (P - 1) // 2, P) == 1

    assert is_square(-1)
    assert not is_square(2)
    assert not is_square(A * A - 4)


def test_the_twist_is_as_strong_as_the_curve() -> None:
    """docs/protocols/curve.md section 8: cofactors 8 and 4, both of which a clamped scalar removes.

    Orders from RFC 7748 section 4.1 and from 2(p + 1) = order of the curve + order of the twist.
    """
    prime = 2**252 + 0x14DEF9DEA2F79CD65812631A5CF5D3ED
    twist = 2 * (P + 1) - 8 * prime
    assert twist % 4 == 0
    for candidate in (prime, twist // 4):
        assert candidate.bit_length() == 253
        assert all(pow(base, candidate - 1, candidate) == 1 for base in (2, 3, 5, 7, 11, 13))


def test_images_are_on_the_curve_and_canonical() -> None:
    """u = 0 alone maps to the point of order 2; no digest is 0."""
    uniform = edged_rows(500, 4)
    for row, image in zip(uniform, curve.elligator2(uniform), strict=True):
        x = int.from_bytes(image.tobytes(), "little")
        assert x < P
        is_zero = int.from_bytes(row.tobytes(), "little") % 2**255 % P == 0
        assert pow(x * (x * x + A * x + 1), (P - 1) // 2, P) == (0 if is_zero else 1)


def test_masking_commutes() -> None:
    """What the intersection rests on: a(bP) = b(aP) for points of the map, and of nothing else by accident."""
    a, b = secrets.token_bytes(32), secrets.token_bytes(32)
    points = curve.elligator2(random_rows(600, 5))
    ab, ba = curve.x25519(a, curve.x25519(b, points)), curve.x25519(b, curve.x25519(a, points))
    assert np.array_equal(ab, ba)
    assert len({row.tobytes() for row in ab}) == 600


# Shapes, threads, memory ----------------------------------------------------------------------------------------------

SIZES = (0, 1, 2, 7, 8, 9, 63, 64, 65, 511, 512, 513, 777, 1024, 1025, 5000)


def test_every_size_and_number_of_threads_gives_the_same_rows() -> None:
    scalar, points = bytes(range(32)), edged_rows(5000, 6)
    products, images = curve.x25519(scalar, points), curve.elligator2(points)
    for size in SIZES:
        for threads in (1, 2, 3):
            assert np.array_equal(curve.x25519(scalar, points[:size], threads=threads), products[:size])
            assert np.array_equal(curve.elligator2(points[:size], threads=threads), images[:size])


@pytest.mark.parametrize("place", [0, 1, 7, 8, 255, 511, 512, 520])
def test_a_zero_in_any_place_of_a_block_leaves_its_neighbours_right(place: int) -> None:
    """All points of a block share one inversion; a zero that got into it would make every row of the block zero."""
    points = random_rows(521, 7)
    points[place] = 0
    products = curve.x25519(bytes(range(32)), points)
    assert not products[place].any()
    points[place] = 9
    others = np.arange(521) != place
    assert np.array_equal(products[others], curve.x25519(bytes(range(32)), points)[others])
    assert products[others].any(axis=1).all()


def test_a_block_of_nothing_but_zeros_gives_zeros() -> None:
    assert not curve.x25519(bytes(range(32)), np.zeros((513, 32), np.uint8)).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_inputs_are_not_modified_and_outputs_are_new(backend: BackendName) -> None:
    points = random_rows(20, 8)
    before = points.copy()
    for result in (
        curve.x25519(bytes(range(32)), points, backend=backend),
        curve.elligator2(points, backend=backend),
    ):
        assert np.array_equal(points, before)
        assert not np.shares_memory(result, points)
        assert result.flags.writeable
        assert result.flags.c_contiguous
        assert result.dtype == np.uint8


@pytest.mark.parametrize("backend", BACKENDS)
def test_strided_unaligned_and_read_only_inputs_are_understood(backend: BackendName) -> None:
    points = random_rows(40, 9)
    scalar = bytes(range(32))
    wide = np.zeros((80, 48), np.uint8)
    wide[::2, 3:35] = points
    unaligned = np.zeros(40 * 32 + 8, np.uint8)[3 : 40 * 32 + 3].reshape(40, 32)
    unaligned[:] = points
    read_only = np.frombuffer(points.tobytes(), np.uint8).reshape(40, 32)
    products, images = curve.x25519(scalar, points), curve.elligator2(points)
    for view in (wide[::2, 3:35], unaligned, read_only, points[::-1][::-1], np.asfortranarray(points)):
        assert np.array_equal(curve.x25519(scalar, view, backend=backend), products)
        assert np.array_equal(curve.elligator2(view, backend=backend), images)


@pytest.mark.parametrize("backend", BACKENDS)
def test_wrong_shapes_types_and_lengths_are_refused(backend: BackendName) -> None:
    good = random_rows(2, 10)
    for bad in (good[0], good.reshape(1, 64), good.astype(np.int64), good.view("<u8"), good.tobytes(), None):
        with pytest.raises(ValueError, match="points"):
            curve.x25519(bytes(32), bad, backend=backend)  # type: ignore[arg-type]  # that is what is tested
        with pytest.raises(ValueError, match="points"):
            curve.elligator2(bad, backend=backend)  # type: ignore[arg-type]  # as above
    for scalar in (b"", bytes(31), bytes(33)):
        with pytest.raises(ValueError, match="32 bytes"):
            curve.x25519(scalar, good, backend=backend)
    with pytest.raises(ValueError, match="thread"):
        curve.x25519(bytes(32), good, threads=0, backend=backend)
    with pytest.raises(ValueError, match="thread"):
        curve.elligator2(good, threads=0, backend=backend)


# Back ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machine", "features", "byteorder", "expected"),
    [
        ("x86_64", {"fma", "avx", "avx2"}, "little", "double-fma"),
        ("x86_64", {"avx"}, "little", "cryptography"),
        ("x86_64", {"fma"}, "little", "cryptography"),
        ("x86_64", set(), "little", "cryptography"),
        ("aarch64", set(), "little", "double-fma"),
        ("arm64", set(), "little", "double-fma"),
        ("aarch64", set(), "big", "cryptography"),
        ("riscv64", {"fma", "avx"}, "little", "cryptography"),
        ("s390x", set(), "big", "cryptography"),
    ],
)
def test_the_processor_decides_the_back_end(machine: str, features: set[str], byteorder: str, expected: str) -> None:
    has = {name: name in features for name in ("fma", "avx", "avx2")}
    assert choose_backend(Processor(machine, has, byteorder)) == expected


def test_the_processor_decides_how_many_points_go_side_by_side() -> None:
    assert choose_lanes(Processor("x86_64", {"fma": True, "avx2": True, "avx512f": True}, "little")) == 8
    assert choose_lanes(Processor("x86_64", {"fma": True, "avx2": True, "avx512f": False}, "little")) == 4
    assert choose_lanes(Processor("aarch64", {}, "little")) == 4


def on_processor(features: str, cache: Path) -> str:
    """The name of the back end in a fresh process that may use these features only, after its self-test."""
    code = "from workbench_psi import curve; curve.warm_up(); curve.self_test(); print(curve.backend_name())"
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": features,
        "NUMBA_CACHE_DIR": str(cache),
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(
    not {"avx2", "fma"} <= {name for name, has in llvmlite.binding.get_host_cpu_features().items() if has},
    reason="this processor has no AVX2 with FMA",
)
def test_vectors_of_half_the_width_give_the_same_answers(tmp_path: Path) -> None:
    """AVX2 has no arithmetic shift and no product of 64-bit lanes: other instructions come out of the same formulas."""
    assert on_processor("+avx,+avx2,+fma,+bmi,+bmi2", tmp_path) == "double-fma"


def test_a_processor_without_fused_multiply_add_gets_the_other_back_end(tmp_path: Path) -> None:
    assert on_processor("+sse2,-avx,-fma", tmp_path) == "cryptography"
    assert not list(tmp_path.iterdir()), "nothing is compiled there"


def test_the_machine_code_folder_is_named() -> None:
    """A node that must not start when others can write there has to know where it is."""
    folder = curve.compiled_code_folder()
    assert (folder is None) == (curve.backend_name() == "cryptography")
    assert folder is None or folder.is_dir()


def test_without_a_folder_for_the_cache_the_code_is_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench_psi import curve_kernels

    asked: list[bool] = []

    def entry_points(sources: str, *, cached: bool) -> tuple[str, str]:
        asked.append(cached)
        if cached:
            raise RuntimeError("cannot cache function 'multiply': no locator available for file 'x.py'")
        return "multiply", "map"

    monkeypatch.setattr(curve_kernels, "_entry_points", entry_points)
    assert curve_kernels._compile() == ("multiply", "map")
    assert asked == [True, False]

    def broken(sources: str, *, cached: bool) -> tuple[str, str]:
        raise RuntimeError("something else")

    monkeypatch.setattr(curve_kernels, "_entry_points", broken)
    with pytest.raises(RuntimeError, match="something else"):
        curve_kernels._compile()


# Self-test and recheck ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [None, *BACKENDS])
def test_self_test_passes_on_right_arithmetic(backend: BackendName | None) -> None:
    curve.self_test(backend=backend)


def _with_wrong_bit(function: Callable[..., Rows], row: int, bit: int) -> Callable[..., Rows]:
    def wrong(*arguments: object) -> Rows:
        result = function(*arguments)
        result[row, bit // 8] ^= 1 << bit % 8
        return result

    return wrong


@pytest.mark.parametrize("row", [0, 1, 2, 7, 8, 100, 511, 512])
def test_self_test_finds_one_wrong_bit_in_any_lane_or_group(row: int) -> None:
    for bit in (0, 100, 254):
        with pytest.raises(SelfTestFailed):
            curve.require_known_answers(_with_wrong_bit(curve.x25519, row, bit), curve.elligator2, rows=513)
        with pytest.raises(SelfTestFailed):
            curve.require_known_answers(curve.x25519, _with_wrong_bit(curve.elligator2, row, bit), rows=513)


def test_self_test_finds_functions_that_do_nothing() -> None:
    with pytest.raises(SelfTestFailed):
        curve.require_known_answers(lambda _, points: points.copy(), curve.elligator2, rows=513)
    with pytest.raises(SelfTestFailed):
        curve.require_known_answers(curve.x25519, lambda uniform: uniform.copy(), rows=513)


def test_recheck_passes_on_right_rows() -> None:
    scalar, points = secrets.token_bytes(32), edged_rows(1000, 11)
    curve.recheck_sample(scalar, points, curve.x25519(scalar, points), random=secrets.randbelow)
    curve.recheck_map_sample(points, curve.elligator2(points), random=secrets.randbelow)


def test_recheck_of_all_rows_finds_every_single_wrong_row() -> None:
    scalar, points = bytes(range(32)), random_rows(40, 12)
    products, images = curve.x25519(scalar, points), curve.elligator2(points)
    for row in range(40):
        wrong_product, wrong_image = products.copy(), images.copy()
        wrong_product[row, row % 32] ^= 1
        wrong_image[row, row % 32] ^= 128
        with pytest.raises(SelfTestFailed):
            curve.recheck_sample(scalar, points, wrong_product, random=secrets.randbelow)
        with pytest.raises(SelfTestFailed):
            curve.recheck_map_sample(points, wrong_image, random=secrets.randbelow)


def test_recheck_looks_where_the_random_source_points_and_at_different_rows() -> None:
    """The source repeats itself; the sample must still be of `count` different rows."""
    scalar, points = bytes(range(32)), random_rows(1000, 13)
    products = curve.x25519(scalar, points)
    asked: list[int] = []
    answers = iter([5, 5, 17, 5, 900])

    def random(below: int) -> int:
        asked.append(below)
        return next(answers)

    products[[4, 6, 16, 901]] = 0
    curve.recheck_sample(scalar, points, products, random=random, count=3)
    assert asked == [1000] * 5
    products[900, 31] ^= 1
    answers = iter([5, 5, 17, 5, 900])
    with pytest.raises(SelfTestFailed):
        curve.recheck_sample(scalar, points, products, random=random, count=3)


def test_recheck_finds_a_result_of_another_scalar_or_order() -> None:
    scalar, points = secrets.token_bytes(32), random_rows(500, 14)
    products = curve.x25519(scalar, points)
    with pytest.raises(SelfTestFailed):
        curve.recheck_sample(secrets.token_bytes(32), points, products, random=secrets.randbelow)
    with pytest.raises(SelfTestFailed):
        curve.recheck_sample(scalar, points, products[::-1], random=secrets.randbelow)


def test_recheck_refuses_lists_that_do_not_belong_together() -> None:
    with pytest.raises(ValueError, match="outputs"):
        curve.recheck_sample(bytes(32), random_rows(3, 15), random_rows(4, 15), random=secrets.randbelow)
    with pytest.raises(ValueError, match="row"):
        curve.recheck_sample(bytes(32), random_rows(3, 15), random_rows(3, 15), random=secrets.randbelow, count=0)


def test_a_failed_check_shows_neither_scalar_nor_point() -> None:
    scalar, points = secrets.token_bytes(32), random_rows(3, 16)
    with pytest.raises(SelfTestFailed) as caught:
        curve.recheck_sample(scalar, points, points, random=secrets.randbelow)
    shown = str(caught.value) + repr(caught.value.as_dict())
    assert scalar.hex()[:6] not in shown
    assert points[0].tobytes().hex()[:6] not in shown
