"""One SM3 root over many rows: leaves of up to 128 rows, so that a million rows cost half a second.

Document: docs/consent.md section 4. leaf = SM3(0x00 ‖ rows), node = SM3(0x01 ‖ left ‖ right), split as in RFC 6962
section 2.1: the left side is the largest power of two below the number of leaves. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.crypto import sm3

ROWS_PER_LEAF = 128


def rows_root(rows: bytes, row_size: int) -> bytes:
    """The root over rows of `row_size` bytes written one after the other; 32 bytes. No rows: SM3 of nothing."""
    return root(leaves(rows, row_size))


def leaves(rows: bytes, row_size: int) -> list[bytes]:
    """The leaf digests of rows; rows may be cut anywhere between two leaves and the lists joined."""
    size = ROWS_PER_LEAF * row_size
    return sm3.digest_many([b"\x00" + rows[at : at + size] for at in range(0, len(rows), size)])


def root(digests: Sequence[bytes]) -> bytes:
    """The root over leaf digests in order.

    Joining neighbours level by level and carrying an odd last one up gives the tree of RFC 6962.
    """
    level = list(digests)
    if not level:
        return sm3.digest(b"")
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        level = sm3.digest_many([b"\x01" + level[i] + level[i + 1] for i in range(0, len(level) - 1, 2)]) + odd
    return level[0]
