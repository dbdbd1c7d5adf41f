"""Connections to an upstream server through the one descriptor that a worker is given: who has its other end connects.

A worker may open no socket, and a cancelled answer costs its connection, so the other end opens one for each answer and carries its
bytes: the launcher for a server beside the sandbox (server/upstream.py), the keeper for one inside it (inside/keeper.py). Both ends
of one release; `u8 type ‖ u32 length ‖ body`, one connection at a time:

| 1 open | worker → carrier | empty; ends whatever was open |
| 2 opened, 3 refused | carrier → worker | empty |
| 4 data | both | 1 to 65,536 bytes |
| 5 closed | both | empty |
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final

from workbench_sandbox.engines.contract import Stop
from workbench_sandbox.engines.http_stream import LOOK_S, Broken, Stopped

OPEN, OPENED, REFUSED, DATA, CLOSED = 1, 2, 3, 4, 5
MOST: Final = 64 << 10
HEAD: Final = 5


class RelayGone(OSError):
    """The carrier is gone, or speaks otherwise."""


def packet(kind: int, body: bytes = b"") -> bytes:
    """One packet as it is sent."""
    return bytes([kind]) + len(body).to_bytes(4, "big") + body


class Packets:
    """Packets out of bytes as they come."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> None:
        self._pending += data

    def next(self) -> tuple[int, bytes] | None:
        """The next whole packet. Raises RelayGone for anything that is none."""
        if len(self._pending) < HEAD:
            return None
        kind, size = self._pending[0], int.from_bytes(self._pending[1:HEAD], "big")
        if not OPEN <= kind <= CLOSED or size > MOST or (kind == DATA) != bool(size):
            raise RelayGone("no packet")
        if len(self._pending) < HEAD + size:
            return None
        body = bytes(self._pending[HEAD : HEAD + size])
        del self._pending[: HEAD + size]
        return kind, body


class Carrier:
    """The other end: it connects and carries bytes until either end is closed. Nothing of them is kept or written down.

    own: its end of the descriptor, which stays the caller's; connect: another connection with a time-out; raises OSError.
    """

    def __init__(self, own: socket.socket, connect: Callable[[], socket.socket]) -> None:
        self._own, self._connect = own, connect
        self._upstream: socket.socket | None = None

    def work(self) -> None:
        """Carry until the worker is gone, or speaks otherwise; what was open upstream is closed then."""
        packets = Packets()
        try:
            while True:
                waiting = [self._own] if self._upstream is None else [self._own, self._upstream]
                ready, _, _ = select.select(waiting, [], [])
                if self._own in ready:
                    data = self._own.recv(MOST)
                    if not data:
                        return
                    packets.feed(data)
                    while (found := packets.next()) is not None:
                        self._obey(*found)
                elif self._upstream is not None:
                    self._carry()
        except (OSError, ValueError):
            return  # the worker is gone: whatever was open goes with it
        finally:
            self._drop()

    def _obey(self, kind: int, body: bytes) -> None:
        if kind == OPEN:
            self._drop()
            try:
                self._upstream = self._connect()
            except OSError:
                self._own.sendall(packet(REFUSED))
            else:
                self._own.sendall(packet(OPENED))
        elif kind == CLOSED:
            self._drop()
        elif kind == DATA and self._upstream is not None:
            try:
                self._upstream.sendall(body)
            except OSError:
                self._drop()
                self._own.sendall(packet(CLOSED))

    def _carry(self) -> None:
        assert self._upstream is not None
        try:
            data = self._upstream.recv(MOST)
        except OSError:
            data = b""
        if data:
            self._own.sendall(packet(DATA, data))
        else:
            self._drop()
            self._own.sendall(packet(CLOSED))

    def _drop(self) -> None:
        if self._upstream is not None:
            with contextlib.suppress(OSError):
                self._upstream.shutdown(socket.SHUT_RDWR)
            self._upstream.close()
            self._upstream = None


class Relay:
    """The worker's end. channel: connected to the carrier since before the filter; it stays open from answer to answer."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._packets = Packets()
        self._turn = 0

    def open(self, stop: Stop, *, silence_s: float) -> RelayedConnection:
        """A connection of its own. Raises Broken where the carrier has none, Stopped; one that was open before is ended by it."""
        self._turn += 1
        self._channel.settimeout(LOOK_S)
        ends = time.monotonic() + silence_s
        try:
            self.send(packet(OPEN), ends)
            while True:
                if stop():
                    raise Stopped
                found = self.take()
                if found is None:
                    if time.monotonic() > ends:
                        raise Broken("silence")
                elif found[0] == OPENED:
                    return RelayedConnection(self, self._turn)
                elif found[0] == REFUSED:
                    raise Broken("no connection")
                # Anything else is of the connection before.
        except OSError as error:
            raise Broken("the carrier is gone") from error

    def close(self) -> None:
        self._channel.close()

    def is_of(self, turn: int) -> bool:
        """Whether this is the connection that is open now."""
        return turn == self._turn

    def timeout(self, seconds: float | None) -> None:
        self._channel.settimeout(seconds)

    def send(self, data: bytes, ends: float = 0.0) -> None:
        """All of it; a packet is never left half sent. Raises TimeoutError past `ends`, OSError."""
        view = memoryview(data)
        while view:
            try:
                view = view[self._channel.send(view) :]
            except TimeoutError:
                if ends and time.monotonic() > ends:
                    raise

    def take(self) -> tuple[int, bytes] | None:
        """The next packet, None where none came in time. Raises RelayGone."""
        while (found := self._packets.next()) is None:
            try:
                data = self._channel.recv(MOST)
            except TimeoutError:
                return None
            if not data:
                raise RelayGone("closed")
            self._packets.feed(data)
        return found


class RelayedConnection:
    """What `http_stream.Exchange` needs of a socket."""

    def __init__(self, relay: Relay, turn: int) -> None:
        self._relay, self._turn = relay, turn
        self._rest = b""
        self._ended = False

    def settimeout(self, seconds: float | None) -> None:
        self._relay.timeout(seconds)

    def recv(self, size: int) -> bytes:
        """b"" once the server closed; TimeoutError while nothing comes."""
        if not self._rest and not self._ended:
            if not self._relay.is_of(self._turn):
                raise RelayGone("another connection is open")
            found = self._relay.take()
            if found is None:
                raise TimeoutError
            if found[0] == DATA:
                self._rest = found[1]
            elif found[0] == CLOSED:
                self._ended = True
            else:
                raise RelayGone("no data")
        part, self._rest = self._rest[:size], self._rest[size:]
        return part

    def send(self, data: bytes | memoryview) -> int:
        part = bytes(data[:MOST])
        if self._ended or not self._relay.is_of(self._turn):
            raise RelayGone("closed")
        self._relay.send(packet(DATA, part))
        return len(part)

    def shutdown(self, how: int) -> None:
        del how
        if not self._ended and self._relay.is_of(self._turn):
            self._ended = True
            self._relay.send(packet(CLOSED))

    def close(self) -> None:
        self.shutdown(0)


class TlsConnection:
    """TLS over something that carries bytes, by memory buffers alone: no socket is made and none is needed."""

    def __init__(self, below: RelayedConnection, context: ssl.SSLContext, host: str, *, until: float, stop: Stop) -> None:
        """The handshake. Raises ssl.SSLError, Broken, Stopped."""
        self._below = below
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        while True:
            if stop():
                raise Stopped
            try:
                self._tls.do_handshake()
                self._flush()
                return
            except ssl.SSLWantReadError:
                self._flush()
            except ssl.SSLError:
                self._flush()  # the alert
                raise
            try:
                self._fill()
            except TimeoutError:
                if time.monotonic() > until:
                    raise Broken("silence") from None

    def settimeout(self, seconds: float | None) -> None:
        self._below.settimeout(seconds)

    def recv(self, size: int) -> bytes:
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._fill()
            except ssl.SSLZeroReturnError:
                return b""

    def send(self, data: bytes | memoryview) -> int:
        sent = self._tls.write(bytes(data[: MOST // 2]))
        self._flush()
        return sent

    def shutdown(self, how: int) -> None:
        self._below.shutdown(how)

    def close(self) -> None:
        self._below.close()

    def _fill(self) -> None:
        part = self._below.recv(MOST)
        if part:
            self._incoming.write(part)
        else:
            self._incoming.write_eof()

    def _flush(self) -> None:
        while part := self._outgoing.read(MOST):
            self._below.send(part)
