"""The soft device: its key-encryption key lies in a file under a passphrase, and in memory while it is open.

Document: docs/protocols/key-delivery.md section 3.2. Who owns the running machine reads the KEK; a token (pkcs11.py) keeps it
from whoever copies the disk and the passphrase.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

from workbench.crypto import gcm, random, wrap
from workbench_kme.devices import wrapping
from workbench_kme.devices.device import Device, fresh_keys
from workbench_kme.devices.files import DeviceFile, read_device_file, unreadable, write_device_file
from workbench_kme.devices.selftest import SelfTestReport, run
from workbench_kme.devices.wrapping import Suite

_PURPOSE = "kme-kek"
_CIPHERS = {Suite.SM4_GCM: gcm.CipherName.SM4_GCM, Suite.AES_256_GCM: gcm.CipherName.AES_256_GCM}


class SoftKek:
    """A key-encryption key in this process. Fulfils KekBackend. kek: 16 bytes for SM4, 32 for AES-256."""

    kind = "soft"

    def __init__(self, kek: bytes | bytearray, kek_id: bytes, suite: Suite) -> None:
        self.kek_id, self.suite = kek_id, suite
        self._key = gcm.GcmKey(_CIPHERS[suite], kek)

    def seal(self, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        """ciphertext || tag."""
        return self._key.seal(nonce, plaintext, associated=associated)

    def open_sealed(self, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
        """The plaintext. Raises VerificationError."""
        plaintext = self._key.open_sealed(nonce, sealed, associated=associated)
        if plaintext is None:
            raise wrapping.does_not_open()
        return plaintext

    def close(self) -> None:
        """Overwrite the key."""
        self._key.wipe()

    def __repr__(self) -> str:
        return f"SoftKek({self.kek_id.hex()})"


def create_soft(
    path: Path,
    passphrase: str,
    *,
    suite: Suite = Suite.SM4_GCM,
    source: random.RandomSource = random.SYSTEM,
    self_test: Callable[[], SelfTestReport] = run,
) -> Device:
    """Draw a KEK and the device's own keys and write them to `path` (mode 0600); returns the device, open.

    Raises FileExistsError: an older device must never be written over. Cost: 0.4 s.
    """
    kek, kek_id = bytearray(source(gcm.KEY_SIZES[_CIPHERS[suite]])), source(wrapping.KEK_ID_BYTES)
    backend = SoftKek(kek, kek_id, suite)
    keys = fresh_keys(backend, source)
    secret = base64.b64encode(wrap.wrap(bytes(kek), passphrase, purpose=_PURPOSE, source=source)).decode("ascii")
    kek[:] = bytes(len(kek))
    write_device_file(path, DeviceFile("soft", suite, kek_id, keys, secret))
    return Device(backend, keys, source=source, self_test=self_test)


def open_soft(
    path: Path,
    passphrase: str,
    *,
    source: random.RandomSource = random.SYSTEM,
    self_test: Callable[[], SelfTestReport] = run,
) -> Device:
    """The device that `create_soft` wrote. Raises KeyUnavailable: missing, altered, or another passphrase. Cost: 0.3 s."""
    file = read_device_file(path, "soft")
    try:
        kek = bytearray(wrap.unwrap(base64.b64decode(file.secret, validate=True), passphrase, purpose=_PURPOSE))
        backend = SoftKek(kek, file.kek_id, file.suite)
    except ValueError as error:
        raise unreadable(path) from error
    kek[:] = bytes(len(kek))
    return Device(backend, file.keys, source=source, self_test=self_test)
