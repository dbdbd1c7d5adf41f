"""ML-KEM-768 (FIPS 203) through `cryptography`: a fresh key pair for each exchange of a session.

Document: docs/protocols/frame.md sections 3 and 5. Decapsulation never fails for a ciphertext of the right length: an
altered one gives another secret (implicit rejection), which key confirmation then finds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey

from workbench.crypto import random

SEED_SIZE = 64
PUBLIC_KEY_SIZE = 1184
CIPHERTEXT_SIZE = 1088
SECRET_SIZE = 32


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """A decapsulation key made from its seed d || z (FIPS 203 section 7.1). Build it with `generate` or `parse`."""

    _key: MLKEM768PrivateKey = field(repr=False)
    public: bytes

    @classmethod
    def parse(cls, seed: bytes) -> PrivateKey:
        """The key with the 64-byte seed d || z. Raises ValueError."""
        key = MLKEM768PrivateKey.from_seed_bytes(seed)
        return cls(key, key.public_key().public_bytes_raw())

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """The 32-byte secret in `ciphertext`. Raises ValueError unless it has 1088 bytes. Cost: 0.1 ms."""
        if len(ciphertext) != CIPHERTEXT_SIZE:
            raise ValueError("an ML-KEM-768 ciphertext has 1088 bytes")
        return self._key.decapsulate(ciphertext)

    def __repr__(self) -> str:
        return "mlkem.PrivateKey()"


def generate(source: random.RandomSource = random.SYSTEM) -> PrivateKey:
    """A fresh key pair. source: the system's generator outside tests. Cost: 0.1 ms."""
    return PrivateKey.parse(source(SEED_SIZE))


def encapsulate(public: bytes) -> tuple[bytes, bytes]:
    """(secret, ciphertext), 32 and 1088 bytes, for the owner of `public`; the library draws the randomness itself.

    Raises ValueError for a key of another length or with coefficients out of range (FIPS 203 section 7.2).
    """
    if len(public) != PUBLIC_KEY_SIZE:
        raise ValueError("an ML-KEM-768 encapsulation key has 1184 bytes")
    return MLKEM768PublicKey.from_public_bytes(public).encapsulate()
