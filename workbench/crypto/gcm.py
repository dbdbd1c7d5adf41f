"""SM4-GCM and AES-256-GCM under keys held as buffers that can be overwritten, for sealed frames and files.

Document: docs/protocols/frame.md sections 7 and 12. `aead` is the same SM4-GCM for stored values; here the cipher is a
choice, plaintexts come in parts so that nothing is copied for a prefix, and a key belongs to an object.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

NONCE_SIZE = 12
TAG_SIZE = 16


class CipherName(StrEnum):
    """What may seal a frame."""

    SM4_GCM = "sm4-gcm"
    AES_256_GCM = "aes-256-gcm"


KEY_SIZES = {CipherName.SM4_GCM: 16, CipherName.AES_256_GCM: 32}
_ALGORITHMS: dict[CipherName, type[algorithms.SM4] | type[algorithms.AES]] = {
    CipherName.SM4_GCM: algorithms.SM4,
    CipherName.AES_256_GCM: algorithms.AES,
}


class GcmKey:
    """One key of one cipher; `wipe` overwrites it, and every later call raises ValueError."""

    __slots__ = ("_algorithm", "_key", "cipher")

    def __init__(self, cipher: CipherName, key: bytes | bytearray) -> None:
        """key: 16 bytes for SM4, 32 for AES-256; copied. Raises ValueError for another length."""
        if len(key) != KEY_SIZES[cipher]:
            raise ValueError(f"{cipher} takes a key of {KEY_SIZES[cipher]} bytes")
        self.cipher = cipher
        self._key = bytearray(key)
        self._algorithm: algorithms.SM4 | algorithms.AES | None = _ALGORITHMS[cipher](
            self._key  # type: ignore[arg-type]  # SM4 takes any buffer and keeps it, as AES; its annotation says bytes
        )

    def seal(self, nonce: bytes, *parts: bytes, associated: bytes, prefix: bytes = b"") -> bytes:
        """prefix || ciphertext of the joined parts || 16-byte tag; the prefix is neither hidden nor authenticated here.

        nonce: 12 bytes, never used before under this key.
        """
        encryptor = Cipher(self._live(), modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(associated)
        pieces = [prefix]
        pieces += [encryptor.update(part) for part in parts]
        pieces.append(encryptor.finalize())
        pieces.append(encryptor.tag)
        return b"".join(pieces)

    def open_sealed(self, nonce: bytes, sealed: bytes | memoryview, *, associated: bytes) -> bytes | None:
        """The plaintext, or None if the tag does not fit: the caller has one refusal for every cause.

        None is returned on purpose where the house rule is to raise: the caller goes on with its other checks, so that
        all causes take the same path.
        """
        cut = max(len(sealed) - TAG_SIZE, 0)
        tag = bytes(sealed[cut:]).ljust(TAG_SIZE, b"\x00")
        decryptor = Cipher(self._live(), modes.GCM(nonce, tag)).decryptor()
        decryptor.authenticate_additional_data(associated)
        try:
            return decryptor.update(sealed[:cut]) + decryptor.finalize()
        except InvalidTag:
            return None

    def wipe(self) -> None:
        """Overwrite the key. The library's own copies live until their contexts are freed."""
        self._key[:] = bytes(len(self._key))
        self._algorithm = None

    def _live(self) -> algorithms.SM4 | algorithms.AES:
        if self._algorithm is None:
            raise ValueError("this key was wiped")
        return self._algorithm

    def __repr__(self) -> str:
        return f"GcmKey({self.cipher})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not copied or stored")
