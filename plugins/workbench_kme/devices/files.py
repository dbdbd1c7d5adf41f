"""The file of a device: what kind it is, the id of its KEK and its own keys, wrapped.

Document: docs/protocols/key-delivery.md section 3.2. Canonical JSON, mode 0600.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from workbench.crypto import canonical
from workbench.errors import KeyUnavailable, VerificationError
from workbench_kme.devices.wrapping import KEK_ID_BYTES, Suite

_FIELDS = frozenset({"backend", "kek", "keys", "secret", "suite", "v"})


@dataclass(frozen=True, slots=True)
class DeviceFile:
    """backend: `soft` or `pkcs11`. keys: index -> wrapped key. secret: the wrapped KEK as base64, or ""."""

    backend: str
    suite: Suite
    kek_id: bytes
    keys: dict[int, bytes]
    secret: str = field(repr=False)


def write_device_file(path: Path, file: DeviceFile) -> None:
    """Write the file of a new device, on disk when it returns. Raises FileExistsError."""
    text = canonical.format(
        {
            "backend": file.backend,
            "kek": file.kek_id.hex(),
            "keys": {str(index): wrapped.hex() for index, wrapped in file.keys.items()},
            "secret": file.secret,
            "suite": int(file.suite),
            "v": 1,
        }
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())


def read_device_file(path: Path, backend: str) -> DeviceFile:
    """The file of a device of this back-end. Raises KeyUnavailable: missing, altered or of another back-end."""
    try:
        value = canonical.parse_object(path.read_bytes())
        keys = value["keys"]
        if set(value) != _FIELDS or value["v"] != 1 or value["backend"] != backend or not isinstance(keys, dict):
            raise ValueError("not a device of this kind")
        file = DeviceFile(
            backend,
            Suite(int(str(value["suite"]))),
            bytes.fromhex(str(value["kek"])),
            {int(index): bytes.fromhex(str(wrapped)) for index, wrapped in keys.items()},
            str(value["secret"]),
        )
        if len(file.kek_id) != KEK_ID_BYTES:
            raise ValueError("a KEK id has 8 bytes")
    except (OSError, KeyError, ValueError, VerificationError) as error:
        raise unreadable(path) from error
    return file


def unreadable(path: Path) -> KeyUnavailable:
    """What callers get for a device file that is missing or does not hold."""
    return KeyUnavailable(
        f"密码设备文件 {path.name} 读不出来：密钥管理人员恢复该文件",
        f"the device file {path.name} cannot be used: key staff restore it",
        code="DEVICE_FILE",
    )
