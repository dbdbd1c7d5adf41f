"""Curve25519 for long lists: X25519 of one scalar with many points, and Elligator2 of many digests.

Two back ends give the same bytes: `double-fma`, vectors of points in machine code made by numba, and
`cryptography`, one point at a time, for processors without fused multiply-add. The processor decides, an argument may
overrule it. `self_test` compares known answers before a node computes anything; `recheck_sample` recomputes some rows
of every job with the other implementation.

Pure: no clock, no file and no randomness of its own (numba keeps its machine code in a folder; `warm_up`).
Document: docs/protocols/curve.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from workbench.errors import SelfTestFailed
from workbench_psi import curve_plain
from workbench_psi.curve_processor import BackendName, choose_backend, this_processor

ByteRows = npt.NDArray[np.uint8]

POINT_BYTES: Final = 32
BLOCK_POINTS: Final = 512
"""Rows that share one inversion: calls with a multiple of it waste nothing."""


def x25519(scalar: bytes, points: ByteRows, *, threads: int = 1, backend: BackendName | None = None) -> ByteRows:
    """X25519 (RFC 7748) of one scalar with every point; the order is kept.

    scalar: 32 secret bytes, clamped here; the caller owns them and forgets them.
    points: (n, 32) uint8, u-coordinates, little-endian; bit 255 is ignored and u is taken modulo p, as the RFC asks, so
        whoever needs one encoding per point checks it before (`points.require_canonical`). Not modified.
    threads: for double-fma; the other back end holds the interpreter lock and uses one.
    Returns a new (n, 32) array of canonical encodings; a zero row for a point of low order: the caller must refuse it.
    Raises ValueError for another shape, type or length. Cost: 7-8 us a point and core with AVX-512, 10-11 with AVX2,
    30-60 with the other back end. Constant-time style: docs/protocols/curve.md section 5.
    """
    _require_rows(points)
    if len(scalar) != POINT_BYTES:
        raise ValueError("an X25519 scalar has 32 bytes")
    if threads < 1:
        raise ValueError("at least one thread")
    if (backend or backend_name()) == "cryptography":
        return curve_plain.x25519(bytes(scalar), points)
    from workbench_psi import curve_kernels  # compiles or loads machine code: only where it is used

    return curve_kernels.x25519(bytes(scalar), points, threads=threads)


def elligator2(uniform: ByteRows, *, threads: int = 1, backend: BackendName | None = None) -> ByteRows:
    """The u-coordinate of map_to_curve_elligator2_curve25519 (RFC 9380 section 6.7.1) of every row.

    uniform: (n, 32) uint8, little-endian, 255 uniform bits each; bit 255 is ignored. Not modified.
    Returns a new (n, 32) array of canonical encodings, all on the curve (never on its twist); the order is kept.
    Raises ValueError for another shape or type. Cost: 0.8 us a row and core with AVX-512, 1 with AVX2; 100-120 us with
    the other back end, and there not in constant time (`curve_plain`).
    """
    _require_rows(uniform)
    if threads < 1:
        raise ValueError("at least one thread")
    if (backend or backend_name()) == "cryptography":
        return curve_plain.elligator2(uniform)
    from workbench_psi import curve_kernels

    return curve_kernels.elligator2(uniform, threads=threads)


@cache
def backend_name() -> BackendName:
    """The back end this processor gets: `double-fma` where it multiplies and adds with one rounding."""
    return choose_backend(this_processor())


def warm_up() -> None:
    """Make the machine code ready: 5 s the first time, half a second from numba's cache.

    The cache lies in NUMBA_CACHE_DIR, else beside the source, else in the user's cache folder; if none can be written
    the code is compiled at every start.
    """
    if backend_name() == "double-fma":
        from workbench_psi import curve_kernels  # noqa: F401  # importing compiles


def compiled_code_folder() -> Path | None:
    """Where the machine code is kept, None if nowhere. Whoever can write there can run code in this process."""
    if backend_name() != "double-fma":
        return None
    from workbench_psi import curve_kernels

    return curve_kernels.cache_folder()


# Checks at run time ---------------------------------------------------------------------------------------------------

_KNOWN_PRODUCTS: Final = (  # RFC 7748 section 5.2, both vectors: scalar, u, product
    (
        "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
        "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
    ),
    (
        "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
        "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
        "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
    ),
)
_KNOWN_MAPS: Final = (  # RFC 9380 appendix J.4.2 (curve25519_XMD:SHA-512_ELL2_NU_), first three: u, x, big-endian
    (
        "608d892b641f0328523802a6603427c26e55e6f27e71a91a478148d45b5093cd",
        "51125222da5e763d97f3c10fcc92ea6860b9ccbbd2eb1285728f566721c1e65b",
    ),
    (
        "46f5b22494bfeaa7f232cc8d054be68561af50230234d7d1d63d1d9abeca8da5",
        "7d56d1e08cb0ccb92baf069c18c49bb5a0dcd927eff8dcf75ca921ef7f3e6eeb",
    ),
    (
        "235fe40c443766ce7e18111c33862d66c3b33267efa50d50f9e8e5d252a40aaa",
        "3fbe66b9c9883d79e8407150e7c2a1c8680bee496c62fabe4619a72b3cabe90f",
    ),
)

Multiply = Callable[[bytes, ByteRows], ByteRows]
Map = Callable[[ByteRows], ByteRows]


def self_test(*, backend: BackendName | None = None) -> None:
    """Compare known answers; nothing happens if all are right. Raises SelfTestFailed. Cost: about 10 ms when warm.

    Each list is one full block and one row, so that every lane, every group and the shared inversion take part.
    """
    chosen = backend or backend_name()
    rows = BLOCK_POINTS + 1 if chosen == "double-fma" else len(_KNOWN_MAPS)
    require_known_answers(
        lambda scalar, points: x25519(scalar, points, backend=chosen),
        lambda uniform: elligator2(uniform, backend=chosen),
        rows=rows,
    )


def require_known_answers(multiply: Multiply, map_to_curve: Map, *, rows: int) -> None:
    """Run two functions on the published vectors, repeated to `rows` rows. Raises SelfTestFailed on any difference."""
    for scalar, _, _ in _KNOWN_PRODUCTS:
        # Each scalar meets both points; the two products that the RFC does not print come from `cryptography`.
        points = _repeated([bytes.fromhex(point) for _, point, _ in _KNOWN_PRODUCTS], rows)
        expected = [
            bytes.fromhex(product) if own == scalar else _plain_product(bytes.fromhex(scalar), bytes.fromhex(point))
            for own, point, product in _KNOWN_PRODUCTS
        ]
        if not np.array_equal(multiply(bytes.fromhex(scalar), points), _repeated(expected, rows)):
            raise _wrong_answer("x25519")
    inputs = _repeated([bytes.fromhex(u)[::-1] for u, _ in _KNOWN_MAPS], rows)
    images = _repeated([bytes.fromhex(x)[::-1] for _, x in _KNOWN_MAPS], rows)
    if not np.array_equal(map_to_curve(inputs), images):
        raise _wrong_answer("elligator2")


def recheck_sample(
    scalar: bytes, inputs: ByteRows, outputs: ByteRows, *, random: Callable[[int], int], count: int = 64
) -> None:
    """Recompute `count` random rows of outputs = x25519(scalar, inputs) with `cryptography`.

    random: a function giving a uniform integer in [0, n), such as `secrets.randbelow`. All rows if there are no more
    than `count`. Raises SelfTestFailed if a row differs, ValueError if the shapes do.
    A fraction f of wrong rows goes unnoticed with probability (1 - f)^count: this finds a processor or a compiler that
    computes wrongly, not one wrong row in a million. Cost: 30-60 us a row.
    """
    rows = _sample(inputs, outputs, random, count)
    if not np.array_equal(curve_plain.x25519(bytes(scalar), inputs[rows]), outputs[rows]):
        raise _wrong_answer("x25519")


def recheck_map_sample(uniform: ByteRows, outputs: ByteRows, *, random: Callable[[int], int], count: int = 64) -> None:
    """Recompute `count` random rows of outputs = elligator2(uniform) with Python's integers; as `recheck_sample`."""
    rows = _sample(uniform, outputs, random, count)
    if not np.array_equal(curve_plain.elligator2(uniform[rows]), outputs[rows]):
        raise _wrong_answer("elligator2")


def _sample(inputs: ByteRows, outputs: ByteRows, random: Callable[[int], int], count: int) -> npt.NDArray[np.int64]:
    """`count` different row numbers, or all of them."""
    _require_rows(inputs)
    _require_rows(outputs)
    if len(inputs) != len(outputs):
        raise ValueError("as many outputs as inputs")
    if count < 1:
        raise ValueError("at least one row to recompute")
    if len(inputs) <= count:
        return np.arange(len(inputs))
    chosen: set[int] = set()
    while len(chosen) < count:
        chosen.add(random(len(inputs)))
    return np.array(sorted(chosen), np.int64)


def _repeated(encodings: list[bytes], rows: int) -> ByteRows:
    block = np.frombuffer(b"".join(encodings), np.uint8).reshape(-1, POINT_BYTES)
    return np.resize(block, (rows, POINT_BYTES))


def _plain_product(scalar: bytes, point: bytes) -> bytes:
    return curve_plain.x25519(scalar, np.frombuffer(point, np.uint8).reshape(1, POINT_BYTES)).tobytes()


def _wrong_answer(function: str) -> SelfTestFailed:
    return SelfTestFailed(
        f"曲线运算自检不符（{function}）：本机算出的结果有误，节点停止计算，请运维人员检查处理器与安装。",
        f"The curve arithmetic gave a wrong answer ({function}): this node stops computing; operators must check the "
        "processor and the installation.",
        details={"function": function, "backend": backend_name()},
    )


def _require_rows(points: ByteRows) -> None:
    if not isinstance(points, np.ndarray) or points.dtype != np.uint8:
        raise ValueError("points are a numpy array of uint8")
    if points.ndim != 2 or points.shape[1] != POINT_BYTES:
        raise ValueError("points have the shape (n, 32)")
