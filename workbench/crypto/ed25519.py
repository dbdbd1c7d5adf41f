"""Ed25519 signatures (RFC 8032) through `cryptography`: the co-signatures other people's tools verify."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from workbench.crypto import random, sm3
from workbench.errors import VerificationError

SIGNATURE_SIZE = 64
PUBLIC_KEY_SIZE = 32
PRIVATE_KEY_SIZE = 32


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A verification key. raw: 32 bytes (RFC 8032 section 5.1.5)."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != PUBLIC_KEY_SIZE:
            raise ValueError("an Ed25519 public key has 32 bytes")

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """The key from its 64 lower-case hexadecimal digits. Raises ValueError."""
        raw = bytes.fromhex(text)
        if raw.hex() != text:
            raise ValueError("an Ed25519 public key is written as 64 lower-case hexadecimal digits")
        return cls(raw)

    def format(self) -> str:
        """The key as 64 lower-case hexadecimal digits."""
        return self.raw.hex()

    @property
    def key_id(self) -> str:
        """The first 8 hexadecimal digits of the SM3 digest of the 32 bytes: a name, not a proof."""
        return sm3.digest(self.raw).hex()[:8]

    def verify(self, message: bytes, signature: bytes) -> None:
        """Return if `signature` (64 bytes) is this key's over `message`. Raises VerificationError."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise VerificationError(
                "Ed25519 签名无效", "the Ed25519 signature does not verify", code="ED25519_SIGNATURE"
            ) from error


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """A signing key, shown by key id only. Build it with `generate` or `PrivateKey.parse`."""

    _seed: bytes = field(repr=False)
    public: PublicKey

    @classmethod
    def parse(cls, raw: bytes) -> PrivateKey:
        """The key with the 32-byte seed `raw`. Raises ValueError."""
        public = Ed25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw()
        return cls(raw, PublicKey(public))

    def secret_bytes(self) -> bytes:
        """The 32 secret bytes, for wrapping under another key and nothing else."""
        return self._seed

    @property
    def key_id(self) -> str:
        """The key id of the public key."""
        return self.public.key_id

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over `message`; the same every time (RFC 8032 section 5.1.6)."""
        return Ed25519PrivateKey.from_private_bytes(self._seed).sign(message)

    def __repr__(self) -> str:
        return f"ed25519.PrivateKey({self.key_id})"


def generate(source: random.RandomSource = random.SYSTEM) -> PrivateKey:
    """A fresh key pair. source: the system's generator outside tests."""
    return PrivateKey.parse(source(PRIVATE_KEY_SIZE))
