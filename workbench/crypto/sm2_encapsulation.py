"""A secret of 32 bytes carried by SM2 public-key encryption (GB/T 32918.4-2016) through `gmssl_pyx`.

Document: docs/protocols/frame.md section 3. No kept library has the key agreement of GB/T 32918.3; encryption of a
random value to a fresh key serves the same end. Only the C library is used: the pure Python one is neither fast nor
constant in time, so where the wheel is missing `available()` is false and suites that need this are not offered.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from workbench.crypto import random, sm2

try:
    import gmssl_pyx as _native  # type: ignore[import-untyped]  # its stubs lack the py.typed mark
except ImportError:  # pragma: no cover - the wheel is a dependency
    _native = None

SECRET_SIZE = 32
MAX_CIPHERTEXT_SIZE = 255


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """A fresh key for one exchange; its 64 public bytes are x || y. Build it with `generate`."""

    _scalar: bytes = field(repr=False)
    public: bytes

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """The 32-byte secret. Raises ValueError for anything that does not decrypt to 32 bytes. Cost: 0.4 ms."""
        if len(ciphertext) > MAX_CIPHERTEXT_SIZE:
            raise ValueError("the SM2 ciphertext is too long")
        try:
            with sm2.muted():
                secret: bytes = _native.sm2_decrypt(self._scalar, ciphertext)
        except _native.GmsslInnerError as error:
            raise ValueError("the SM2 ciphertext does not decrypt") from error
        if len(secret) != SECRET_SIZE:
            raise ValueError("the SM2 ciphertext holds another length")
        return secret

    def __repr__(self) -> str:
        return "sm2_encapsulation.PrivateKey()"


def available() -> bool:
    """Whether the library is here."""
    return _native is not None


def generate() -> PrivateKey:
    """A fresh key pair from the kernel's generator, which the library reads itself."""
    public, scalar = _native.sm2_key_generate()
    return PrivateKey(scalar, public)


def encapsulate(public: bytes, source: random.RandomSource = random.SYSTEM) -> tuple[bytes, bytes]:
    """(secret, ciphertext): 32 bytes from `source`, and their encryption in DER.

    public: 64 bytes x || y. Raises ValueError unless it is a point of the curve.
    """
    point = sm2.PublicKey(public)
    secret = source(SECRET_SIZE)
    with sm2.muted():
        ciphertext: bytes = _native.sm2_encrypt(point.raw, secret)
    return secret, ciphertext
