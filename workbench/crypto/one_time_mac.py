"""Poly1305 (RFC 8439 section 2.5) under a key that is used once: the authenticator of one-time padded items."""

from __future__ import annotations

from cryptography.hazmat.primitives.poly1305 import Poly1305

KEY_SIZE = 32
TAG_SIZE = 16


def tag(key: bytes, message: bytes) -> bytes:
    """The 16-byte tag. key: 32 uniform bytes, never used for another message. Raises ValueError."""
    if len(key) != KEY_SIZE:
        raise ValueError("Poly1305 takes a key of 32 bytes")
    return Poly1305.generate_tag(key, message)
