"""Messages between a server and its worker over one socket pair: `u32 length ‖ u8 type ‖ body`.

Document: docs/sandbox-design.md section 4. Local and of one version: both ends come from one release, and the first message names
it. Blocking, and safe for one reader and several writers.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

RELEASE = "sandbox-link-1"
MAX_BYTES = (16 << 20) + (1 << 10)
_HEAD = 5


class Type(IntEnum):
    """What a message is. PLAN comes first, READY answers it; ERROR answers a request that could not be served.

    FRAMES_OUT: frames that are handed on together, LV4 each: the last chunk of an answer and its end.
    """

    PLAN = 0
    FACTS = 1
    EVIDENCE = 2
    STATEMENT = 3
    START = 4
    HELLO = 5
    ANSWER = 6
    CONFIRM = 7
    FRAME_IN = 8
    FRAME_OUT = 9
    COUNTERS = 10
    READY = 11
    ERROR = 12
    END = 13
    EXTEND = 14
    PROBE = 15
    FRAMES_OUT = 16


class LinkClosed(Exception):
    """The other end is gone, or speaks otherwise."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message."""

    type: Type
    body: bytes

    def frames(self) -> list[bytes]:
        """Of a FRAME_OUT or FRAMES_OUT. Raises LinkClosed."""
        if self.type is Type.FRAME_OUT:
            return [self.body]
        found, at = [], 0
        while at < len(self.body):
            size = int.from_bytes(self.body[at : at + 4], "big")
            found.append(self.body[at + 4 : at + 4 + size])
            at += 4 + size
        if at != len(self.body):
            raise LinkClosed
        return found

    def json(self) -> Mapping[str, Any]:
        """The body as an object. Raises LinkClosed."""
        try:
            value = json.loads(self.body)
        except ValueError as error:
            raise LinkClosed from error
        if not isinstance(value, dict):
            raise LinkClosed
        return value


class Link:
    """One end, over a descriptor that stays the caller's."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._sending = threading.Lock()
        self._closed = False

    def fileno(self) -> int:
        """The descriptor, for waiting."""
        return self._descriptor

    def close(self) -> None:
        """Use the descriptor no more: its number may soon be another's."""
        self._closed = True
        with self._sending:
            pass  # who was sending has finished

    def send(self, kind: Type, body: bytes | Mapping[str, Any] = b"") -> None:
        """Waits while the other end does not read. Raises LinkClosed."""
        data = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        if len(data) + 1 > MAX_BYTES:
            raise ValueError("a message has at most 16 MiB and 1 KiB")
        whole = memoryview((len(data) + 1).to_bytes(4, "big") + bytes([kind]) + data)
        with self._sending:
            self._write(whole)

    def send_frames(self, *frames: bytes) -> None:
        """Frames of the sandbox that are handed on together. Raises LinkClosed."""
        if len(frames) == 1:
            self.send(Type.FRAME_OUT, frames[0])
        else:
            self.send(Type.FRAMES_OUT, b"".join(len(one).to_bytes(4, "big") + one for one in frames))

    def send_secret(self, kind: Type, body: bytearray) -> None:
        """As `send`, without a copy of the body; the caller overwrites it. Raises LinkClosed."""
        with self._sending:
            self._write(memoryview((len(body) + 1).to_bytes(4, "big") + bytes([kind])))
            self._write(memoryview(body))

    def _write(self, whole: memoryview) -> None:
        if self._closed:
            raise LinkClosed
        try:
            while whole:
                whole = whole[os.write(self._descriptor, whole) :]
        except OSError as error:
            raise LinkClosed from error

    def receive(self) -> Message:
        """The next message. Raises LinkClosed."""
        head = self._exactly(_HEAD)
        size = int.from_bytes(head[:4], "big")
        if not 1 <= size <= MAX_BYTES or head[4] not in Type.__members__.values():
            raise LinkClosed
        return Message(Type(head[4]), self._exactly(size - 1))

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            if self._closed:
                raise LinkClosed
            try:
                part = os.read(self._descriptor, min(size - len(parts), 1 << 20))
            except OSError as error:
                raise LinkClosed from error
            if not part:
                raise LinkClosed
            parts += part
        return bytes(parts)
