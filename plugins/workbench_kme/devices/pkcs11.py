"""The device in a token: the key-encryption key is an AES-256 key of a PKCS#11 token and never leaves it.

Document: docs/protocols/key-delivery.md section 3.2; decision note docs/decisions. Made for SoftHSM2 2.6, which has no SM2,
SM3 or SM4: those run in process, and the device's own keys at rest are wrapped by the token's KEK. Sealing and opening
happen in the token under AES-256-GCM.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from workbench.crypto import random
from workbench.errors import KeyUnavailable
from workbench_kme.devices import wrapping
from workbench_kme.devices.device import Device, fresh_keys
from workbench_kme.devices.files import DeviceFile, read_device_file, write_device_file
from workbench_kme.devices.selftest import SelfTestReport, run
from workbench_kme.devices.wrapping import Suite

USUAL_MODULES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
    Path("/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so"),
)
"""Where Debian puts SoftHSM2."""

LABEL = "kme-kek"
_KEK_BITS = 256
_TAG_BITS = 128
_TEMPLATE: dict[Attribute, Any] = {  # Any: the library takes values of many types
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.PRIVATE: True,
    Attribute.ENCRYPT: True,
    Attribute.DECRYPT: True,
    Attribute.WRAP: False,
    Attribute.UNWRAP: False,
}


class _AesKey(Protocol):
    """A key of the token; the library puts these methods on its objects when it meets them, which its stubs do not say."""

    def encrypt(self, data: bytes, **options: Any) -> bytes: ...  # Any: as the library

    def decrypt(self, data: bytes, **options: Any) -> bytes: ...  # Any: as the library


class TokenKek:
    """A key-encryption key in a token. Fulfils KekBackend. One call at a time: a PKCS#11 session is no more than that."""

    kind = "pkcs11"
    suite = Suite.AES_256_GCM

    def __init__(self, session: pkcs11.Session, key: _AesKey, kek_id: bytes) -> None:
        self.kek_id = kek_id
        self._session, self._key = session, key
        self._lock = threading.Lock()
        self._closed = False

    def seal(self, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        """ciphertext || tag, made in the token. Raises KeyUnavailable when the token fails."""
        try:
            with self._lock:
                return bytes(self._live().encrypt(plaintext, **_gcm(nonce, associated)))
        except pkcs11.exceptions.PKCS11Error as error:
            raise _token_failed(error) from error

    def open_sealed(self, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
        """The plaintext. Raises VerificationError; a token that is gone says the same, since it cannot be told apart."""
        try:
            with self._lock:
                return bytes(self._live().decrypt(sealed, **_gcm(nonce, associated)))
        except pkcs11.exceptions.PKCS11Error as error:
            raise wrapping.does_not_open() from error

    def close(self) -> None:
        """Log out."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._session.close()

    def _live(self) -> _AesKey:
        if self._closed:
            raise KeyUnavailable("令牌会话已关闭", "the session with the token is closed", code="DEVICE_CLOSED")
        return self._key

    def __repr__(self) -> str:
        return f"TokenKek({self.kek_id.hex()})"


def usual_module() -> Path | None:
    """The PKCS#11 library of SoftHSM2 where Debian puts it, or None."""
    return next((path for path in USUAL_MODULES if path.exists()), None)


def create_token(
    path: Path,
    pin: str,
    *,
    module: Path,
    token: str,
    source: random.RandomSource = random.SYSTEM,
    self_test: Callable[[], SelfTestReport] = run,
) -> Device:
    """Make a KEK in the token (label `kme-kek`, sensitive, not extractable) and the device's file at `path`.

    A process has one device of a token open at a time: the login is the process's, and another PIN could not be checked.
    module: the PKCS#11 library. token: label of an initialised token. The process's library reads its configuration once
    (SOFTHSM2_CONF). Raises FileExistsError, KeyUnavailable.
    """
    if path.exists():
        raise FileExistsError(path)
    session, kek_id = _login(module, token, pin), source(wrapping.KEK_ID_BYTES)
    try:
        key = session.generate_key(KeyType.AES, _KEK_BITS, id=kek_id, label=LABEL, store=True, template=_TEMPLATE)
        backend = TokenKek(session, cast(_AesKey, key), kek_id)
        keys = fresh_keys(backend, source)
        write_device_file(path, DeviceFile("pkcs11", backend.suite, kek_id, keys, ""))
    except pkcs11.exceptions.PKCS11Error as error:
        session.close()
        raise _token_failed(error) from error
    return Device(backend, keys, source=source, self_test=self_test)


def open_token(
    path: Path,
    pin: str,
    *,
    module: Path,
    token: str,
    source: random.RandomSource = random.SYSTEM,
    self_test: Callable[[], SelfTestReport] = run,
) -> Device:
    """The device that `create_token` made.

    Raises KeyUnavailable: file or token missing, wrong PIN, no such key, or one that the token would give out.
    """
    file = read_device_file(path, "pkcs11")
    session = _login(module, token, pin)
    try:
        key = session.get_key(
            object_class=ObjectClass.SECRET_KEY, key_type=KeyType.AES, label=LABEL, id=file.kek_id
        )
        if not isinstance(key, pkcs11.SecretKey) or key[Attribute.EXTRACTABLE] or not key[Attribute.SENSITIVE]:
            raise KeyUnavailable(
                "令牌中的主密钥可被导出，拒绝使用：密钥管理人员更换",
                "the token would give out this key-encryption key: key staff make another",
                code="KEK_EXTRACTABLE",
            )
    except pkcs11.exceptions.PKCS11Error as error:
        session.close()
        raise _token_failed(error) from error
    except KeyUnavailable:
        session.close()
        raise
    return Device(TokenKek(session, cast(_AesKey, key), file.kek_id), file.keys, source=source, self_test=self_test)


def _login(module: Path, token: str, pin: str) -> pkcs11.Session:
    try:
        return pkcs11.lib(str(module)).get_token(token_label=token).open(user_pin=pin, rw=True)
    except (pkcs11.exceptions.PKCS11Error, RuntimeError) as error:
        raise _token_failed(error) from error


def _gcm(nonce: bytes, associated: bytes) -> dict[str, Any]:  # Any: keyword arguments of the library
    return {"mechanism": Mechanism.AES_GCM, "mechanism_param": pkcs11.GCMParams(nonce, associated, _TAG_BITS)}


def _token_failed(error: BaseException) -> KeyUnavailable:
    name = type(error).__name__
    return KeyUnavailable(
        f"密码令牌不可用（{name}）：密钥管理人员检查令牌、口令与动态库",
        f"the token cannot be used ({name}): key staff check token, PIN and library",
        code="TOKEN_FAILED",
        details={"pkcs11": name},
    )
