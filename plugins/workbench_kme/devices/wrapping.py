"""The bytes of a wrapped value: version, suite, KEK id, nonce, ciphertext, tag; everything authenticated.

Document: docs/protocols/key-delivery.md section 3.1. Pure: the cipher arrives as an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from workbench.errors import KeyUnavailable, VerificationError

VERSION = 1
KEK_ID_BYTES = 8
NONCE_BYTES = 12
TAG_BYTES = 16
HEADER_BYTES = 2 + KEK_ID_BYTES
OVERHEAD_BYTES = HEADER_BYTES + NONCE_BYTES + TAG_BYTES
MOST_WRAPPINGS = 1 << 32
"""Random nonces of 96 bits: NIST SP 800-38D section 8.3 allows 2^32 under one key."""

VALUE_PURPOSES = frozenset({"key", "charge", "mark"})
"""What `unwrap` gives out; keys of the device itself have other purposes."""

Cipher = Callable[[bytes, bytes, bytes], bytes]
"""(nonce, text, associated) -> text: one direction of an AEAD whose sealed form ends with its tag."""


class Suite(IntEnum):
    """The cipher under the key-encryption key."""

    SM4_GCM = 1
    AES_256_GCM = 2


def seal(
    encrypt: Cipher, value: bytes | bytearray, *, suite: Suite, kek_id: bytes, nonce: bytes, purpose: str, context: bytes
) -> bytes:
    """`value` wrapped: 38 bytes longer. nonce: 12 bytes never used before under this KEK."""
    header = bytes([VERSION, suite]) + kek_id
    return header + nonce + encrypt(nonce, bytes(value), associated(purpose, header, context))


def open_wrapped(decrypt: Cipher, wrapped: bytes, *, suite: Suite, kek_id: bytes, purpose: str, context: bytes) -> bytes:
    """The value behind `seal` with the same arguments.

    Raises VerificationError, one code for every cause: another purpose, context, suite or KEK, any changed byte.
    decrypt: raises VerificationError when the tag does not fit.
    """
    header, nonce = wrapped[:HEADER_BYTES], wrapped[HEADER_BYTES : HEADER_BYTES + NONCE_BYTES]
    if len(wrapped) < OVERHEAD_BYTES or header != bytes([VERSION, suite]) + kek_id:
        raise does_not_open()
    return decrypt(nonce, wrapped[HEADER_BYTES + NONCE_BYTES :], associated(purpose, header, context))


def kek_of(wrapped: bytes | bytearray) -> bytes:
    """Id of the key-encryption key that a wrapped value names, not verified: the tag covers it."""
    return bytes(wrapped[2:HEADER_BYTES])


def associated(purpose: str, header: bytes, context: bytes) -> bytes:
    """What is bound to a wrapped value beside its nonce; a purpose has no zero byte, so the cut is certain."""
    return b"workbench/v1/kme/" + purpose.encode("ascii") + b"\x00" + header + context


def does_not_open() -> VerificationError:
    """The one answer to whatever was wrong with a wrapped value."""
    return VerificationError(
        "包裹的密钥无法解开：内容被改动、放错位置，或不属于本设备",
        "a wrapped value does not open: altered, out of place, or of another device",
        code="SEAL_BROKEN",
    )


def out_of_service(kek: bytes) -> KeyUnavailable:
    """What callers get for a value whose device does not serve, or is not here: the value stays as it is."""
    return KeyUnavailable(
        f"包裹该密钥的密码设备（{kek.hex()}）未在服务，密钥保留、暂不交付：密钥管理人员查看设备列表",
        f"the device that wrapped this key ({kek.hex()}) does not serve; the key is kept and not given out: key staff look at the list of devices",
        code="DEVICE_OUT",
    )
