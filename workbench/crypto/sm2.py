"""SM2 signatures with SM3 (GB/T 32918.2-2016) over the recommended curve (GB/T 32918.5-2017).

Document: docs/protocols/messages.md section 1. A signature is 64 bytes, r || s, each 32 bytes big-endian; a public key is 64
bytes, x || y, written as hexadecimal with the prefix 04. Nothing else is accepted.

Two libraries stand behind it. `gmssl_pyx` (GmSSL in C) does the work: 0.35 ms a signature, 0.75 ms a verification. Its
nonces come from the kernel: it opens /dev/urandom anew for every nonce and fails if that is impossible. `gmssl` (pure
Python, 20 to 40 ms) is the cross-check and takes over where the wheel is missing. Its own nonces come from
`random.choice`, from which the private key can be recovered, so it always receives one from `secrets`; it also accepts
trailing bytes after a signature and mangles public keys that begin with 04, so it sees only checked values.
"""

from __future__ import annotations

import base64
import ctypes
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from gmssl.sm2 import CryptSM2  # type: ignore[import-untyped]  # the library has no annotations

from workbench.crypto import random, sm3
from workbench.errors import SelfTestFailed, VerificationError

try:
    import gmssl_pyx as _native  # type: ignore[import-untyped]  # its stubs lack the py.typed mark
except ImportError:  # pragma: no cover - the wheel is a dependency; platforms without it use the slower path
    _native = None

DEFAULT_SIGNER_ID = b"1234567812345678"
SIGNATURE_SIZE = 64
PUBLIC_KEY_SIZE = 64
PRIVATE_KEY_SIZE = 32

# The recommended curve of GB/T 32918.5-2017: y^2 = x^3 + ax + b over GF(p), base point G of prime order n.
_P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
_A = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFC
_B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
_N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
_G = bytes.fromhex(
    "32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7"
    "bc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0"
)
_CURVE_BYTES = _A.to_bytes(32, "big") + _B.to_bytes(32, "big") + _G


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A point of the curve that verifies signatures.

    raw: 64 bytes, x || y; the constructor refuses anything that is not a point of the curve with ValueError. The curve
    has cofactor 1, so every such point has the full order.
    """

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != PUBLIC_KEY_SIZE:
            raise ValueError("an SM2 public key has 64 bytes")
        x, y = int.from_bytes(self.raw[:32], "big"), int.from_bytes(self.raw[32:], "big")
        if x >= _P or y >= _P or (y * y - (x * x * x + _A * x + _B)) % _P:
            raise ValueError("this is not a point of the SM2 curve")

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """The key written by `format`: 130 lower-case hexadecimal digits beginning with 04. Raises ValueError."""
        if len(text) != 2 + 2 * PUBLIC_KEY_SIZE or not text.startswith("04") or text != text.lower():
            raise ValueError("an SM2 public key is written as 04 and 128 lower-case hexadecimal digits")
        raw = bytes.fromhex(text[2:])
        if len(raw) != PUBLIC_KEY_SIZE:  # bytes.fromhex skips blanks
            raise ValueError("an SM2 public key is written as 04 and 128 lower-case hexadecimal digits")
        return cls(raw)

    def format(self) -> str:
        """The key as 04 and 128 lower-case hexadecimal digits."""
        return "04" + self.raw.hex()

    @property
    def key_id(self) -> str:
        """The first 8 hexadecimal digits of the SM3 digest of the 64 bytes: a name, not a proof."""
        return sm3.digest(self.raw).hex()[:8]

    def verify(self, message: bytes, signature: bytes, *, signer_id: bytes = DEFAULT_SIGNER_ID) -> None:
        """Return if `signature` (64 bytes, r || s) is this key's over `message`.

        Raises VerificationError, always with the same code: wrong length, r or s outside 1..n-1, or no match.
        Cost: 0.75 ms.
        """
        check_signature_range(signature)
        e = sm3.digest(_identity_digest(self, signer_id) + message)
        if not _verify_digest(self, e, signature):
            raise _does_not_verify()


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """A secret scalar with its public key; shown by key id only.

    Build it with `generate` or `PrivateKey.parse`: the constructor trusts that the two parts belong together.
    """

    _scalar: bytes = field(repr=False)
    public: PublicKey

    @classmethod
    def parse(cls, raw: bytes) -> PrivateKey:
        """The key with the scalar `raw`: 32 bytes big-endian, 1 <= d <= n-2. Raises ValueError. Cost: 20 ms."""
        if len(raw) != PRIVATE_KEY_SIZE or not 1 <= int.from_bytes(raw, "big") <= _N - 2:
            raise ValueError("an SM2 private key is 32 bytes and lies between 1 and n-2")
        return cls(raw, PublicKey(_multiply_base(int.from_bytes(raw, "big"))))

    def secret_bytes(self) -> bytes:
        """The 32 secret bytes, for wrapping under another key and nothing else."""
        return self._scalar

    @property
    def key_id(self) -> str:
        """The key id of the public key."""
        return self.public.key_id

    def sign(self, message: bytes, *, signer_id: bytes = DEFAULT_SIGNER_ID) -> bytes:
        """The signature over `message`: 64 bytes, r || s. Not repeatable: every call draws a nonce. Cost: 0.4 ms."""
        e = sm3.digest(_identity_digest(self.public, signer_id) + message)
        return _sign_digest_native(self, e) if _native is not None else _sign_digest_portable(self, e)

    def __repr__(self) -> str:
        return f"sm2.PrivateKey({self.key_id})"


def generate(source: random.RandomSource = random.SYSTEM) -> PrivateKey:
    """A fresh key pair. source: where the scalar comes from; the system's generator outside tests. Cost: 20 ms."""
    scalar = 1 + random.below(source, _N - 2)
    return PrivateKey.parse(scalar.to_bytes(PRIVATE_KEY_SIZE, "big"))


def der_from_raw(signature: bytes) -> bytes:
    """The same signature as ASN.1 DER SEQUENCE { r, s }, the form OpenSSL reads. Raises VerificationError."""
    check_signature_range(signature)
    return encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))


def raw_from_der(encoded: bytes) -> bytes:
    """The 64-byte form of a DER signature; refuses every spelling but the canonical one. Raises VerificationError."""
    try:
        r, s = decode_dss_signature(encoded)
        raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    except (ValueError, OverflowError) as error:
        raise _does_not_verify() from error
    if der_from_raw(raw) != encoded:
        raise _does_not_verify()
    return raw


def public_pem(key: PublicKey) -> str:
    """The key as a PEM SubjectPublicKeyInfo (curve 1.2.156.10197.1.301), for OpenSSL and other foreign verifiers."""
    # SEQUENCE { SEQUENCE { id-ecPublicKey, sm2p256v1 }, BIT STRING 04 || x || y }, RFC 5480 section 2.
    body = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d034200") + b"\x04" + key.raw
    text = base64.b64encode(body).decode("ascii")
    lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    return f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"


def check_signature_range(signature: bytes) -> None:
    """Return if `signature` has 64 bytes and both halves lie in 1..n-1. Raises VerificationError."""
    if len(signature) != SIGNATURE_SIZE:
        raise _does_not_verify()
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not (1 <= r < _N and 1 <= s < _N):
        raise _does_not_verify()


def sign_portable(key: PrivateKey, message: bytes, *, signer_id: bytes = DEFAULT_SIGNER_ID) -> bytes:
    """`PrivateKey.sign` through the pure Python library: the cross-check. Cost: 20 ms."""
    return _sign_digest_portable(key, sm3.digest(_identity_digest(key.public, signer_id) + message))


def verify_portable(key: PublicKey, message: bytes, signature: bytes, *, signer_id: bytes = DEFAULT_SIGNER_ID) -> None:
    """`PublicKey.verify` through the pure Python library: the cross-check. Raises VerificationError. Cost: 40 ms."""
    check_signature_range(signature)
    if not _verify_digest_portable(key, sm3.digest(_identity_digest(key, signer_id) + message), signature):
        raise _does_not_verify()


def selftest() -> None:
    """Sign and verify once with each library and let each read the other's signature. Raises SelfTestFailed."""
    key = generate()
    message = b"workbench/v1/selftest"
    try:
        signatures = [key.sign(message), sign_portable(key, message)]
        for signature in signatures:
            key.public.verify(message, signature)
            verify_portable(key.public, message, signature)
    except (VerificationError, ValueError) as error:
        raise _selftest_failed() from error
    try:
        key.public.verify(message + b"\x00", signatures[0])
    except VerificationError:
        return
    raise _selftest_failed()


def _identity_digest(key: PublicKey, signer_id: bytes) -> bytes:
    """Z of GB/T 32918.2-2016 section 5.5: binds the signer's id, the curve and the public key to every message."""
    if len(signer_id) > 0x1FFF:
        raise ValueError("the signer id has at most 8191 bytes")
    return sm3.digest((8 * len(signer_id)).to_bytes(2, "big") + signer_id + _CURVE_BYTES + key.raw)


def _sign_digest_native(key: PrivateKey, e: bytes) -> bytes:
    return raw_from_der(_native.sm2_sign_sm3_digest(key.secret_bytes(), e))


def _sign_digest_portable(key: PrivateKey, e: bytes) -> bytes:
    signer = _portable(key.public, key.secret_bytes().hex())
    # r = 0, r + k = n or s = 0 ask for another nonce (GB/T 32918.2-2016 section 6.1); never seen in practice.
    while True:
        nonce = 1 + secrets.randbelow(_N - 1)
        text = signer.sign(e, f"{nonce:064x}")
        if text is not None:
            return bytes.fromhex(text)


def _verify_digest(key: PublicKey, e: bytes, signature: bytes) -> bool:
    if _native is None:
        return _verify_digest_portable(key, e, signature)
    with _muted_c_stderr():
        return bool(_native.sm2_verify_sm3_digest(key.raw, e, der_from_raw(signature)))


def _verify_digest_portable(key: PublicKey, e: bytes, signature: bytes) -> bool:
    try:
        return bool(_portable(key, "").verify(signature.hex(), e))
    except (TypeError, ValueError):  # the library's sum of points met infinity, which no valid signature does
        return False


def _portable(key: PublicKey, scalar_hex: str) -> CryptSM2:
    library = CryptSM2(private_key=scalar_hex, public_key="")
    # Set past the constructor, which strips every leading 0 and 4 from a key that begins with 04.
    library.public_key = key.raw.hex()
    return library


def _multiply_base(scalar: int) -> bytes:
    point: str = _portable(PublicKey(_G), "")._kg(scalar, _G.hex())
    return bytes.fromhex(point)


def _does_not_verify() -> VerificationError:
    return VerificationError("SM2 签名无效", "the SM2 signature does not verify", code="SM2_SIGNATURE")


def _selftest_failed() -> SelfTestFailed:
    return SelfTestFailed(
        "SM2 自检失败，节点不得运行", "the SM2 self-test failed: this node must not run", code="SM2_SELF_TEST"
    )


class _StandardError:
    """The C library's `stderr` and a stream that goes nowhere, to put in its place."""

    def __init__(self) -> None:
        self.stream: ctypes.c_void_p | None = None
        self.null: int | None = None
        try:
            library = ctypes.CDLL(None)
            library.fmemopen.restype = ctypes.c_void_p
            library.fmemopen.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
            self.stream = ctypes.c_void_p.in_dll(library, "stderr")
            # In memory, without a descriptor: one that somebody closed and reused for a database would be fatal. Once
            # the buffer is full, further writes fail and are ignored.
            self.null = library.fmemopen(None, 4096, b"w")
        except (OSError, ValueError, AttributeError):  # another C library names it differently: the noise stays
            self.stream = None


_STDERR = _StandardError()
_STDERR_LOCK = threading.Lock()


@contextmanager
def _muted_c_stderr() -> Iterator[None]:
    """Keep GmSSL from printing source lines to standard error whenever a signature is refused.

    Only the C stream is swapped, for the length of one call; Python's sys.stderr writes to the descriptor and is not
    touched. The lock keeps two threads from restoring each other's stream.
    """
    if _STDERR.stream is None or not _STDERR.null:
        yield
        return
    with _STDERR_LOCK:
        before = _STDERR.stream.value
        _STDERR.stream.value = _STDERR.null
        try:
            yield
        finally:
            _STDERR.stream.value = before


muted = _muted_c_stderr
"""For the other callers of GmSSL in this package: no source lines on standard error while it refuses something."""
