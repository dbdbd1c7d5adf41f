"""Key derivation: HKDF (RFC 5869) with HMAC-SM3.

Every derivation carries a label under `workbench/v1/`, so a key made for one use is unrelated to the key made for
another from the same secret. The info string is label || 0x00 || context; labels contain no zero byte, so no two
pairs of label and context meet.
"""

from __future__ import annotations

import re

from workbench.crypto import sm3

_LABEL = re.compile(r"[a-z0-9][a-z0-9./-]*")
_PREFIX = "workbench/v1/"
_MAX_LENGTH = 255 * sm3.DIGEST_SIZE


def extract(salt: bytes, secret: bytes) -> bytes:
    """32 uniform bytes from a secret of any shape (RFC 5869 section 2.2). salt: may be public, may be empty."""
    return sm3.hmac(salt, secret)


def expand(key: bytes, label: str, context: bytes = b"", *, length: int = 32) -> bytes:
    """`length` bytes for the use named by `label` (RFC 5869 section 2.3).

    key: 32 uniform bytes. label: lower-case, without the `workbench/v1/` this function puts in front. context: what
    else the key depends on. length: 1 to 8160. Raises ValueError.
    """
    if len(key) < sm3.DIGEST_SIZE:
        raise ValueError("the key to expand has at least 32 bytes")
    if not 1 <= length <= _MAX_LENGTH:
        raise ValueError("a derived key has 1 to 8160 bytes")
    info = info_for(label, context)
    block, output = b"", bytearray()
    for counter in range(1, -(-length // sm3.DIGEST_SIZE) + 1):
        block = sm3.hmac(key, block + info + bytes([counter]))
        output += block
    return bytes(output[:length])


def derive(secret: bytes, label: str, *, salt: bytes = b"", context: bytes = b"", length: int = 32) -> bytes:
    """`extract`, then `expand`: for a secret that is not uniform, or that several uses share."""
    return expand(extract(salt, secret), label, context, length=length)


def info_for(label: str, context: bytes = b"") -> bytes:
    """The info string `expand` feeds to HKDF. Raises ValueError for a label of another spelling."""
    if not _LABEL.fullmatch(label):
        raise ValueError("a label has lower-case letters, digits, dots, slashes and dashes")
    return (_PREFIX + label).encode("ascii") + b"\x00" + context
