"""ML-DSA-44 signatures (FIPS 204) through `cryptography`: the optional third line of a co-signature.

Document: docs/protocols/ledger.md section 1. Pure ML-DSA with an empty context string, as C2SP tlog-cosignature asks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from workbench.crypto import random, sm3
from workbench.errors import VerificationError

SIGNATURE_SIZE = 2420
PUBLIC_KEY_SIZE = 1312
SEED_SIZE = 32


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A verification key. raw: 1312 bytes (FIPS 204 section 7.2, pkEncode)."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != PUBLIC_KEY_SIZE:
            raise ValueError("an ML-DSA-44 public key has 1312 bytes")

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """The key from its 2624 lower-case hexadecimal digits. Raises ValueError."""
        raw = bytes.fromhex(text)
        if raw.hex() != text:
            raise ValueError("an ML-DSA-44 public key is written as 2624 lower-case hexadecimal digits")
        return cls(raw)

    def format(self) -> str:
        """The key as 2624 lower-case hexadecimal digits."""
        return self.raw.hex()

    @property
    def key_id(self) -> str:
        """The first 8 hexadecimal digits of the SM3 digest of the key: a name, not a proof."""
        return sm3.digest(self.raw).hex()[:8]

    def __repr__(self) -> str:
        return f"mldsa.PublicKey({self.key_id})"

    def verify(self, message: bytes, signature: bytes) -> None:
        """Return if `signature` (2420 bytes) is this key's over `message`. Raises VerificationError. Cost: 0.1 ms."""
        try:
            MLDSA44PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise VerificationError(
                "ML-DSA-44 签名无效", "the ML-DSA-44 signature does not verify", code="MLDSA_SIGNATURE"
            ) from error


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """A signing key, shown by key id only. Build it with `generate` or `PrivateKey.parse`."""

    _seed: bytes = field(repr=False)
    public: PublicKey

    @classmethod
    def parse(cls, raw: bytes) -> PrivateKey:
        """The key with the 32-byte seed `raw` (FIPS 204 algorithm 6). Raises ValueError."""
        public = MLDSA44PrivateKey.from_seed_bytes(raw).public_key().public_bytes_raw()
        return cls(raw, PublicKey(public))

    def secret_bytes(self) -> bytes:
        """The 32 secret bytes, for wrapping under another key and nothing else."""
        return self._seed

    @property
    def key_id(self) -> str:
        """The key id of the public key."""
        return self.public.key_id

    def sign(self, message: bytes) -> bytes:
        """A 2420-byte signature over `message`; hedged, so different every time. Cost: 0.3 ms."""
        return MLDSA44PrivateKey.from_seed_bytes(self._seed).sign(message)

    def __repr__(self) -> str:
        return f"mldsa.PrivateKey({self.key_id})"


def generate(source: random.RandomSource = random.SYSTEM) -> PrivateKey:
    """A fresh key pair. source: the system's generator outside tests."""
    return PrivateKey.parse(source(SEED_SIZE))
