"""One SM3 root over many rows: leaves of up to 128 rows, so that a million rows cost half a second.

Document: docs/consent.md section 4. leaf = SM3(0x00 ‖ rows), node = SM3(0x01 ‖ left ‖ right), split as in RFC 6962
section 2.1: the left side is the largest power of two below the number of leaves. Pure.
"""

from __future__ import annotations

from workbench.crypto import sm3
from workbench.domain.merkle import SM3, root_of_leaves

ROWS_PER_LEAF = 128


def rows_root(rows: bytes | memoryview, row_size: int) -> bytes:
    """The root over rows of `row_size` bytes written one after the other; 32 bytes. No rows: SM3 of nothing."""
    return root(leaves(rows, row_size))


def leaves(rows: bytes | memoryview, row_size: int) -> list[bytes]:
    """The leaf digests of rows; rows may be cut anywhere between two leaves and the lists joined."""
    size = ROWS_PER_LEAF * row_size
    return [sm3.digest(b"\x00" + rows[at : at + size]) for at in range(0, len(rows), size)]  # one copy at a time


def root(digests: list[bytes]) -> bytes:
    """The root over leaf digests in order."""
    return root_of_leaves(SM3, digests)
