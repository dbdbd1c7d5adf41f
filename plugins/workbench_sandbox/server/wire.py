"""Calls of a node to its servers over a Unix socket: `u32 length ‖ u8 type ‖ LV4(JSON) ‖ n × LV4(bytes)`.

Document: docs/sandbox-design.md section 4. Local and of one version. One call at a time on a connection; a connection a call that waits.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.errors import Refused, StartRefused, StorageFailed, VerificationError, WorkbenchError
from workbench_sandbox.formats.reading import Cursor, lv4

RELEASE = "sandbox-node-1"
CALL, REPLY, REFUSAL = 1, 2, 3
MAX_BYTES = 16 << 20
SOCKET = "server.sock"
_KINDS: Mapping[str, type[WorkbenchError]] = {
    one.__name__: one for one in (Refused, StartRefused, StorageFailed, VerificationError, WorkbenchError)
}


class Gone(Exception):
    """The other end is gone, or speaks otherwise."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One message. body: JSON; parts: bytes that belong to it."""

    type: int
    body: Mapping[str, Any]
    parts: Sequence[bytes] = field(default=(), repr=False)


def send(connection: socket.socket, packet: Packet) -> None:
    """Raises Gone."""
    content = lv4(json.dumps(packet.body, separators=(",", ":")).encode()) + b"".join(lv4(one) for one in packet.parts)
    try:
        connection.sendall((len(content) + 1).to_bytes(4, "big") + bytes([packet.type]) + content)
    except OSError as error:
        raise Gone from error


def receive(connection: socket.socket) -> Packet:
    """Raises Gone."""
    size = int.from_bytes(_exactly(connection, 4), "big")
    if not 1 <= size <= MAX_BYTES:
        raise Gone
    content = _exactly(connection, size)
    try:
        cursor = Cursor(content)
        cursor.take(1)
        encoded = cursor.lv4(most=MAX_BYTES)
        body, parts, left = json.loads(encoded), [], len(content) - 5 - len(encoded)
        while left:
            parts.append(cursor.lv4(most=MAX_BYTES))
            left -= 4 + len(parts[-1])
    except ValueError as error:
        raise Gone from error
    if not isinstance(body, dict):
        raise Gone
    return Packet(content[0], body, tuple(parts))


def refusal(error: WorkbenchError) -> Packet:
    """An error as it travels; another kind than these arrives as WorkbenchError."""
    kind = next((name for name, one in _KINDS.items() if isinstance(error, one)), "WorkbenchError")
    return Packet(REFUSAL, {"kind": kind, "zh": error.zh, "en": error.en, "code": error.code, "details": error.details})


def raised(packet: Packet) -> WorkbenchError:
    """The error that travelled."""
    body = packet.body
    kind = _KINDS.get(str(body.get("kind")), WorkbenchError)
    return kind(str(body["zh"]), str(body["en"]), code=str(body["code"]), details=dict(body["details"]))


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        try:
            part = connection.recv(min(size - len(data), 1 << 20))
        except OSError as error:
            raise Gone from error
        if not part:
            raise Gone
        data += part
    return bytes(data)


@contextmanager
def short_path(folder: Path) -> Iterator[str]:
    """The path of the socket below `folder`, however long that is: a Unix socket's name has at most 107 bytes."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


def connect(folder: Path, *, timeout_s: float) -> socket.socket:
    """A connection to the server of this folder. Raises Gone."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        with short_path(folder) as path:
            connection.connect(path)
    except OSError as error:
        connection.close()
        raise Gone from error
    return connection
