"""Poly1305 (RFC 8439 section 2.5) through `cryptography`: a polynomial hash with a one-time pad, for authentication
with key bits that are used once (docs/protocols/qkd.md section 5).
"""

from __future__ import annotations

from cryptography.hazmat.primitives.poly1305 import Poly1305

KEY_SIZE = 32
TAG_SIZE = 16


def tag(key: bytes, data: bytes) -> bytes:
    """16 bytes: the polynomial of `data` at key[:16] modulo 2^130 - 5, plus key[16:] modulo 2^128.

    key: 32 bytes; key[16:] must never serve for two values of `data`, key[:16] may.
    For another text of up to L bytes the right tag is found with probability at most 8·ceil(L/16)/2^106 a try
    (D. J. Bernstein, FSE 2005). Compare tags with `compare.equal`. Cost: about 1 ns a byte.
    """
    if len(key) != KEY_SIZE:
        raise ValueError("Poly1305 takes a key of 32 bytes")
    return Poly1305.generate_tag(key, data)
