"""A device 密码设备 and its sessions: digest, sign, verify, encrypt, wrap; never an export.

Document: docs/protocols/key-delivery.md section 3.2. The calls are named after the SDF interface of GM/T 0018 [from
memory]. A device is a key-encryption key behind a back-end, and two keys of its own wrapped by it: 1 signs (SM2), 2 makes
message authentication codes. Thread-safe.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

from workbench.crypto import gcm, random, sm2, sm3
from workbench.errors import KeyUnavailable, SelfTestFailed, VerificationError
from workbench_kme.devices import wrapping
from workbench_kme.devices.access import Pair
from workbench_kme.devices.selftest import SelfTestReport, TestResult, run
from workbench_kme.devices.wrapping import Suite

SIGN_KEY = 1
MAC_KEY = 2
SESSION_KEY_BITS = 128
_SCALAR_BYTES = 32


class KekBackend(Protocol):
    """Where the key-encryption key lies: it seals and opens there, and never comes out."""

    @property
    def kind(self) -> str:
        """`soft` or `pkcs11`."""

    @property
    def suite(self) -> Suite:
        """The cipher it seals with."""

    @property
    def kek_id(self) -> bytes:
        """8 bytes that name the KEK."""

    def seal(self, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        """ciphertext || 16-byte tag."""

    def open_sealed(self, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
        """The plaintext; VerificationError when the tag does not fit."""

    def close(self) -> None:
        """Let go of the key; later calls fail."""


@dataclass(frozen=True, slots=True)
class KeyHandle:
    """A key that lives in a session, by number. bits: its length."""

    number: int
    bits: int


@dataclass(slots=True)
class _Own:
    """The device's own keys, in memory while it is open."""

    sign: sm2.PrivateKey
    mac: bytearray = field(repr=False)


class Device:
    """One device. Open it with `open_soft`, `pkcs11.open_token` or make it with their `create` forms.

    wrapped: index -> wrapped key of the device itself. self_test: what decides whether it may work; the known answers of
    selftest.py outside tests. An unfit device opens all the same, so that its report can be read, and refuses every call.
    """

    def __init__(
        self,
        backend: KekBackend,
        wrapped: Mapping[int, bytes],
        *,
        source: random.RandomSource = random.SYSTEM,
        self_test: Callable[[], SelfTestReport] = run,
    ) -> None:
        self._backend, self._wrapped, self._source, self._self_test = backend, dict(wrapped), source, self_test
        self._lock = threading.RLock()
        self._own: _Own | None = None
        self._closed = False
        self._sessions: set[Session] = set()
        self._report = SelfTestReport(())
        self.selftest()

    @property
    def kind(self) -> str:
        """`soft` or `pkcs11`."""
        return self._backend.kind

    @property
    def suite(self) -> Suite:
        """The cipher that wraps."""
        return self._backend.suite

    @property
    def kek_id(self) -> bytes:
        """8 bytes that name the key-encryption key."""
        return self._backend.kek_id

    @property
    def enabled(self) -> bool:
        """Whether calls are answered: the last self-test passed and the device is open."""
        return self._report.passed and not self._closed

    @property
    def report(self) -> SelfTestReport:
        """Of the last self-test."""
        return self._report

    def selftest(self) -> SelfTestReport:
        """Test every algorithm and this device's own key anew; the result decides whether calls are answered.

        Cost: about 0.15 s.
        """
        with self._lock:
            report = self._self_test()
            if report.passed and not self._closed:
                report = SelfTestReport((*report.results, self._test_own_keys()))
            self._report = report
            if not report.passed:
                self._forget()
            return report

    def open_session(self) -> Session:
        """SDF_OpenSession. Raises SelfTestFailed DEVICE_DISABLED, KeyUnavailable DEVICE_CLOSED."""
        self.check()
        session = Session(self)
        with self._lock:
            self._sessions.add(session)
        return session

    def check(self) -> None:
        """Return if calls are answered. Raises SelfTestFailed DEVICE_DISABLED, KeyUnavailable DEVICE_CLOSED."""
        if self._closed:
            raise KeyUnavailable(
                "密码设备已关闭：密钥管理人员重新打开", "the device is closed: key staff open it again", code="DEVICE_CLOSED"
            )
        if not self._report.passed:
            names = ", ".join(self._report.failed)
            raise SelfTestFailed(
                f"密码设备自检未通过（{names}），已停用：密钥管理人员查明原因后重新自检",
                f"the device failed its self-test ({names}) and is disabled: key staff find out why and test again",
                code="DEVICE_DISABLED",
            )

    def close(self) -> None:
        """End all sessions and let go of the keys. A second call does nothing."""
        with self._lock:
            if self._closed:
                return
            for session in tuple(self._sessions):
                session.close()
            self._closed = True
            self._forget()
            self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Device({self.kind}, {self.kek_id.hex()})"

    # ---- for sessions

    def _seal(self, purpose: str, value: bytes | bytearray, context: bytes) -> bytes:
        backend = self._backend
        nonce = self._source(wrapping.NONCE_BYTES)
        return wrapping.seal(
            backend.seal, value, suite=backend.suite, kek_id=backend.kek_id, nonce=nonce, purpose=purpose, context=context
        )

    def _open(self, purpose: str, wrapped: bytes, context: bytes) -> bytes:
        backend = self._backend
        return wrapping.open_wrapped(
            backend.open_sealed, wrapped, suite=backend.suite, kek_id=backend.kek_id, purpose=purpose, context=context
        )

    def _keys(self) -> _Own:
        with self._lock:
            self.check()
            if self._own is None:
                self._own = self._open_own()
            return self._own

    def _leave(self, session: Session) -> None:
        with self._lock:
            self._sessions.discard(session)

    # ---- inside

    def _open_own(self) -> _Own:
        try:
            scalar, mac = (self._open("device-key", self._wrapped[index], index_context(index)) for index in (1, 2))
            return _Own(sm2.PrivateKey.parse(scalar), bytearray(mac))
        except (KeyError, ValueError, VerificationError) as error:
            raise KeyUnavailable(
                "密码设备的密钥文件与其主密钥不符：密钥管理人员恢复配套的文件",
                "the key file of the device does not fit its key-encryption key: key staff restore the pair",
                code="DEVICE_KEY_MISMATCH",
            ) from error

    def _test_own_keys(self) -> TestResult:
        """A value wrapped and opened, a changed one refused, a signature of the own key verified (pairwise test)."""
        name, source = f"{self.kind}: wrap, sign", "this device's own keys"
        try:
            own = self._own = self._own or self._open_own()
            wrapped = self._seal("mark", b"workbench/v1/selftest", b"selftest")
            altered = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
            if self._open("mark", wrapped, b"selftest") != b"workbench/v1/selftest":
                return TestResult(name, source, False)
            own.sign.public.verify(b"workbench/v1/selftest", own.sign.sign(b"workbench/v1/selftest"))
        except (KeyUnavailable, VerificationError, ValueError):
            return TestResult(name, source, False)
        try:
            self._open("mark", altered, b"selftest")
        except VerificationError:
            return TestResult(name, source, True)
        return TestResult(name, source, False)

    def _forget(self) -> None:
        if self._own is not None:
            self._own.mac[:] = bytes(len(self._own.mac))
            self._own = None


class Session:
    """A session with a device. Keys generated or imported in it end with it. Thread-safe.

    Every call raises SelfTestFailed DEVICE_DISABLED while the device is unfit, KeyUnavailable DEVICE_CLOSED once closed.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._numbers = itertools.count(1)
        self._session_keys: dict[int, gcm.GcmKey] = {}
        self._closed = False

    @property
    def kek_id(self) -> bytes:
        """8 bytes that name the key-encryption key of the device."""
        return self._device.kek_id

    @property
    def kek_ids(self) -> frozenset[bytes]:
        """The one key-encryption key, as `DeviceAccess` has it."""
        return frozenset({self._device.kek_id})

    @property
    def serving_keks(self) -> frozenset[bytes]:
        """As `kek_ids`: an unfit device refuses every call as a whole."""
        return self.kek_ids

    def expect(self, keks: frozenset[bytes]) -> None:
        """Nothing: a single device opens its own values only."""

    def check(self) -> None:
        """Return if calls are answered; raises as every call does."""
        self._check()

    def generate_random(self, count: int) -> bytes:
        """SDF_GenerateRandom: `count` random bytes."""
        self._check()
        return self._device._source(count)

    def digest(self, data: bytes) -> bytes:
        """SDF_HashInit … Final: SM3 of `data`."""
        self._check()
        return sm3.digest(data)

    def mac(self, data: bytes) -> bytes:
        """SDF_CalculateMAC: HMAC-SM3 of `data` under key 2 of the device, 32 bytes."""
        self._check()
        return sm3.hmac(bytes(self._device._keys().mac), data)

    def sign(self, message: bytes) -> bytes:
        """SDF_InternalSign_ECC: SM2 signature with key 1 of the device, 64 bytes."""
        self._check()
        return self._device._keys().sign.sign(message)

    def verify(self, message: bytes, signature: bytes) -> None:
        """SDF_InternalVerify_ECC: return if key 1 of the device signed `message`. Raises VerificationError."""
        self._check()
        self._device._keys().sign.public.verify(message, signature)

    def sign_public_key(self) -> sm2.PublicKey:
        """SDF_ExportSignPublicKey_ECC: the public half of key 1."""
        self._check()
        return self._device._keys().sign.public

    def generate_key_with_kek(self) -> tuple[KeyHandle, bytes]:
        """SDF_GenerateKeyWithKEK: a fresh SM4 key inside the session; its handle, and its wrapped form to keep."""
        self._check()
        value = bytearray(self._device._source(SESSION_KEY_BITS // 8))
        try:
            wrapped = self._device._seal("session-key", value, SESSION_KEY_BITS.to_bytes(2, "big"))
            return self._take_in(value), wrapped
        finally:
            value[:] = bytes(len(value))

    def import_key_with_kek(self, wrapped: bytes) -> KeyHandle:
        """SDF_ImportKeyWithKEK: a handle for what `generate_key_with_kek` of this device wrapped. VerificationError."""
        self._check()
        value = self._device._open("session-key", wrapped, SESSION_KEY_BITS.to_bytes(2, "big"))
        return self._take_in(bytearray(value))

    def encrypt(self, handle: KeyHandle, plaintext: bytes, *, associated: bytes = b"") -> bytes:
        """SDF_AuthEnc: nonce || ciphertext || tag under SM4-GCM. Random nonces: at most 2^32 under one key."""
        nonce = self._device._source(gcm.NONCE_SIZE)
        return nonce + self._live(handle).seal(nonce, plaintext, associated=associated)

    def decrypt(self, handle: KeyHandle, sealed: bytes, *, associated: bytes = b"") -> bytes:
        """SDF_AuthDec: the plaintext of what `encrypt` made. Raises VerificationError."""
        nonce, body = sealed[: gcm.NONCE_SIZE], sealed[gcm.NONCE_SIZE :]
        key = self._live(handle)
        plaintext = key.open_sealed(nonce, body, associated=associated) if len(body) >= gcm.TAG_SIZE else None
        if plaintext is None:
            raise wrapping.does_not_open()
        return plaintext

    def destroy_key(self, handle: KeyHandle) -> None:
        """SDF_DestroyKey: overwrite the key behind the handle. Raises KeyUnavailable NO_SUCH_HANDLE."""
        self._live(handle).wipe()
        del self._session_keys[handle.number]

    def wrap(self, purpose: str, value: bytes | bytearray, context: bytes) -> bytes:
        """A value from outside, wrapped for storage (section 3.1). purpose: `key`, `charge` or `mark`."""
        self._check()
        _check_purpose(purpose)
        return self._device._seal(purpose, value, context)

    def unwrap(self, purpose: str, wrapped: bytes, context: bytes) -> bytearray:
        """The value; the caller overwrites it after use. Raises VerificationError SEAL_BROKEN for every cause."""
        self._check()
        _check_purpose(purpose)
        return bytearray(self._device._open(purpose, wrapped, context))

    def wrap_many(self, purpose: str, pairs: Sequence[Pair]) -> list[bytes]:
        """`wrap` of values with their contexts, in order."""
        self._check()
        _check_purpose(purpose)
        return [self._device._seal(purpose, value, context) for value, context in pairs]

    def unwrap_many(self, purpose: str, pairs: Sequence[Pair]) -> list[bytearray]:
        """`unwrap` of wrapped values with their contexts, in order; where one does not open, none is given out."""
        self._check()
        _check_purpose(purpose)
        values: list[bytearray] = []
        try:
            for wrapped, context in pairs:
                values.append(bytearray(self._device._open(purpose, bytes(wrapped), context)))
        except BaseException:
            for value in values:
                value[:] = bytes(len(value))
            raise
        return values

    def close(self) -> None:
        """SDF_CloseSession: overwrite the keys of this session. A second call does nothing."""
        self._closed = True
        for key in self._session_keys.values():
            key.wipe()
        self._session_keys.clear()
        self._device._leave(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self) -> None:
        self._device.check()
        if self._closed:
            raise KeyUnavailable("会话已关闭：重新打开会话", "this session is closed: open another", code="DEVICE_CLOSED")

    def _live(self, handle: KeyHandle) -> gcm.GcmKey:
        self._check()
        key = self._session_keys.get(handle.number)
        if key is None:
            raise KeyUnavailable(
                f"句柄 {handle.number} 没有密钥：已销毁或属于另一会话",
                f"handle {handle.number} holds no key: destroyed, or of another session",
                code="NO_SUCH_HANDLE",
            )
        return key

    def _take_in(self, value: bytearray) -> KeyHandle:
        handle = KeyHandle(next(self._numbers), 8 * len(value))
        self._session_keys[handle.number] = gcm.GcmKey(gcm.CipherName.SM4_GCM, value)
        value[:] = bytes(len(value))
        return handle


def index_context(index: int) -> bytes:
    """The context under which a key of the device itself is wrapped."""
    return index.to_bytes(4, "big")


def fresh_keys(backend: KekBackend, source: random.RandomSource) -> dict[int, bytes]:
    """index -> wrapped form of a new device's own keys."""
    values = {SIGN_KEY: sm2.generate(source).secret_bytes(), MAC_KEY: source(_SCALAR_BYTES)}
    return {
        index: wrapping.seal(
            backend.seal,
            value,
            suite=backend.suite,
            kek_id=backend.kek_id,
            nonce=source(wrapping.NONCE_BYTES),
            purpose="device-key",
            context=index_context(index),
        )
        for index, value in values.items()
    }


def _check_purpose(purpose: str) -> None:
    if purpose not in wrapping.VALUE_PURPOSES:
        raise ValueError(f"values have the purposes {sorted(wrapping.VALUE_PURPOSES)}")
