"""HTTP/1.1 and server-sent events over a connected socket that somebody else opened. Nothing here opens, resolves or follows.

RFC 9112 (messages), WHATWG HTML section 9.2 (events). Every wait looks at `stop`, and every size has a bound.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from workbench_sandbox.engines.contract import Stop

LOOK_S: Final = 0.05
_HEAD_BYTES: Final = 32 << 10
_LINE_BYTES: Final = 1 << 20
_BODY_BYTES: Final = 16 << 20
_READ_BYTES: Final = 64 << 10


class Broken(Exception):
    """The other end closed too early, was silent too long, or spoke no HTTP; the connection is of no use any more."""


class _Ended(Broken):
    """The other end closed."""


class Stopped(Exception):
    """`stop` said so."""


@dataclass(frozen=True, slots=True)
class Head:
    """headers: by lower-case name, the last of a name counts."""

    status: int
    headers: Mapping[str, str]


class Connection(Protocol):
    """What is needed of a socket."""

    def settimeout(self, seconds: float | None, /) -> None: ...

    def recv(self, size: int, /) -> bytes: ...

    def send(self, data: memoryview, /) -> int: ...

    def shutdown(self, how: int, /) -> None: ...

    def close(self) -> None: ...


class Exchange:
    """Requests over one connection, one after the other. After Broken or Stopped it is closed."""

    def __init__(self, connection: Connection, *, silence_s: float) -> None:
        self._connection, self.silence_s = connection, silence_s
        self._buffer = bytearray()
        self._taken = 0
        self.is_open = True
        self.requests = 0
        connection.settimeout(LOOK_S)

    def close(self) -> None:
        """Close at once, so that the other end stops working."""
        if self.is_open:
            self.is_open = False
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                self._connection.close()

    def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes, stop: Stop) -> Head:
        """Send a request and read the head of its reply. Raises Broken, Stopped."""
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), f"Content-Length: {len(body)}"]
        self._taken = 0
        self.requests += 1
        try:
            self._send(("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + body, stop)
            while True:
                head = self._head(stop)
                if head.status >= 200:
                    return head
        except (OSError, ValueError) as error:
            self.close()
            raise Broken("no reply") from error
        except (Broken, Stopped):
            self.close()
            raise

    def body(self, head: Head, stop: Stop) -> Iterator[bytes]:
        """The body of the reply as it comes; afterwards the connection is ready again, or closed. Raises Broken, Stopped."""
        try:
            if "chunked" in head.headers.get("transfer-encoding", "").lower():
                yield from self._chunks(stop)
            elif "content-length" in head.headers:
                yield from self._counted(int(head.headers["content-length"]), stop)
            else:
                while part := self._some(stop):
                    yield part
                self.close()
        except (OSError, ValueError) as error:
            self.close()
            raise Broken("the body ended too early") from error
        except (Broken, Stopped, GeneratorExit):
            self.close()
            raise
        if head.headers.get("connection", "").lower() == "close":
            self.close()

    def _head(self, stop: Stop) -> Head:
        status, _, rest = self._line(stop).partition(" ")[2].partition(" ")
        del rest
        if len(status) != 3 or not status.isdigit():
            raise Broken("no status line")
        headers: dict[str, str] = {}
        size = 0
        while line := self._line(stop):
            size += len(line)
            name, colon, value = line.partition(":")
            if not colon or size > _HEAD_BYTES:
                raise Broken("no head")
            headers[name.strip().lower()] = value.strip()
        return Head(int(status), headers)

    def _chunks(self, stop: Stop) -> Iterator[bytes]:
        while size := int(self._line(stop).partition(";")[0].strip(), 16):
            yield from self._counted(size, stop)
            if self._line(stop):
                raise Broken("no end of a chunk")
        while self._line(stop):
            pass

    def _counted(self, size: int, stop: Stop) -> Iterator[bytes]:
        if size < 0:
            raise Broken("no length")
        while size:
            part = self._some(stop, most=size)
            if not part:
                raise Broken("closed in the middle")
            size -= len(part)
            yield part

    def _line(self, stop: Stop) -> str:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _HEAD_BYTES:
                raise Broken("a line without end")
            self._fill(stop)
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        return line.decode("latin-1")

    def _some(self, stop: Stop, *, most: int = _READ_BYTES) -> bytes:
        """What is there, at least a byte; b"" once the other end closed."""
        if not self._buffer:
            try:
                self._fill(stop)
            except _Ended:
                return b""
        part = bytes(self._buffer[:most])
        del self._buffer[: len(part)]
        self._taken += len(part)
        if self._taken > _BODY_BYTES:
            raise Broken("too much")
        if stop():  # also where bytes come faster than the socket is waited for
            raise Stopped
        return part

    def _fill(self, stop: Stop) -> None:
        ends = time.monotonic() + self.silence_s
        while True:
            if stop():
                raise Stopped
            try:
                part = self._connection.recv(_READ_BYTES)
            except TimeoutError:
                if time.monotonic() > ends:
                    raise Broken("silence") from None
                continue
            if not part:
                raise _Ended
            self._buffer += part
            return

    def _send(self, data: bytes, stop: Stop) -> None:
        view, ends = memoryview(data), time.monotonic() + self.silence_s
        while view:
            if stop():
                raise Stopped
            try:
                view = view[self._connection.send(view[:_READ_BYTES]) :]
            except TimeoutError:
                if time.monotonic() > ends:
                    raise Broken("silence") from None


def events(parts: Iterator[bytes]) -> Iterator[str]:
    """The data of each event. A character may be split between parts; a last event without its blank line is given too.

    Raises Broken for bytes that are not UTF-8 and for a line of more than 1 MiB.
    """
    pending = bytearray()
    data: list[str] = []
    for part in parts:
        pending += part
        if len(pending) > _LINE_BYTES:
            raise Broken("a line without end")
        *lines, rest = bytes(pending).replace(b"\r\n", b"\n").split(b"\n")
        pending = bytearray(rest)
        for line in lines:
            if line:
                _take(line, data)
            elif data:
                yield "\n".join(data)
                data = []
    if pending:
        _take(bytes(pending), data)
    if data:
        yield "\n".join(data)


def _take(line: bytes, data: list[str]) -> None:
    if line.startswith(b"data:"):
        try:
            data.append(line[5:].decode("utf-8").removeprefix(" ").rstrip("\r"))
        except UnicodeDecodeError:
            raise Broken("no UTF-8") from None
