"""The same two functions without vectors: X25519 by `cryptography`, Elligator2 by Python's integers.

The back end of a processor without fused multiply-add, and the second implementation against which samples of every job
are recomputed. X25519 here is OpenSSL's, which runs in constant time. The map is not: Python's integers take longer for
some values than for others. What they depend on is the digest of an identifier, never the scalar; somebody who can time
single maps on this machine could learn a little about a digest, and is trusted with the list anyway.

Document: docs/protocols/curve.md sections 6 and 7.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from workbench_psi.curve_lanes import FIELD_PRIME, MONTGOMERY_A

ByteRows = npt.NDArray[np.uint8]

POINT_BYTES: Final = 32
_LOW_255_BITS: Final = 2**255 - 1


def x25519(scalar: bytes, points: ByteRows) -> ByteRows:
    """X25519 of one scalar with every row; a low-order point gives a zero row. About 30-60 us a point."""
    private_key = X25519PrivateKey.from_private_bytes(scalar)
    return _rows(_product(private_key, row) for row in _encodings(points))


def elligator2(uniform: ByteRows) -> ByteRows:
    """The x-coordinate of the Elligator2 map of every row. About 100-120 us a row, not in constant time."""
    return _rows(
        map_to_curve(int.from_bytes(row, "little") & _LOW_255_BITS).to_bytes(POINT_BYTES, "little")
        for row in _encodings(uniform)
    )


def map_to_curve(u: int) -> int:
    """x of map_to_curve_elligator2_curve25519(u), as RFC 9380 section 6.7.1 writes it."""
    x1 = -MONTGOMERY_A * pow(1 + 2 * u * u, -1, FIELD_PRIME) % FIELD_PRIME
    g_of_x1 = (x1**3 + MONTGOMERY_A * x1**2 + x1) % FIELD_PRIME
    is_square = pow(g_of_x1, (FIELD_PRIME - 1) // 2, FIELD_PRIME) == 1  # never 0: docs/protocols/curve.md section 6
    return x1 if is_square else (-x1 - MONTGOMERY_A) % FIELD_PRIME


def _product(private_key: X25519PrivateKey, encoding: bytes) -> bytes:
    try:
        return private_key.exchange(X25519PublicKey.from_public_bytes(encoding))
    except ValueError:  # the one reason left at 32 bytes: the shared value is all zeros (RFC 7748 section 6.1)
        return bytes(POINT_BYTES)


def _encodings(points: ByteRows) -> Iterator[bytes]:
    return (row.tobytes() for row in points)


def _rows(encodings: Iterator[bytes]) -> ByteRows:
    return np.frombuffer(bytearray(b"".join(encodings)), np.uint8).reshape(-1, POINT_BYTES)
