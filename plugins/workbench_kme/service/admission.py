"""How many connections a listener holds: counted where they are accepted, so that unfinished handshakes count too.

Document: key-delivery.md section 5. Whoever is beyond a limit is closed at once and costs one line of the log in ten
seconds; connections that stand go on.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import time
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

LOG_EVERY_S = 10.0
_AT_ONCE = 64
"""How many connections one turn of the loop accepts or closes before others have their turn."""
_STARVED = (errno.EMFILE, errno.ENFILE)

_log = logging.getLogger(__name__)


class Seldom:
    """Log lines of one kind, at most one in ten seconds; the next one says how many were left out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}
        self._left_out: Counter[str] = Counter()

    def say(self, text: str) -> None:
        """Log, or count."""
        now = self._clock()
        if text in self._last and now - self._last[text] < LOG_EVERY_S:
            self._left_out[text] += 1
            return
        self._last[text] = now
        _log.warning("%s (%d more since the last time)", text, self._left_out.pop(text, 0))

    def handle(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:  # Any: asyncio's own
        """For `loop.set_exception_handler`: the kind of what failed, never its text."""
        self.say(f"{context.get('message', 'the event loop')}: {type(context.get('exception')).__name__}")


class CountingSocket(socket.socket):
    """A listening socket whose `accept` keeps two limits. Used by the event loop's one thread only.

    most: connections altogether; of_one_address: from one address. A connection counts until its socket is closed.
    """

    def __init__(self, listening: socket.socket, *, most: int, of_one_address: int, seldom: Seldom) -> None:
        super().__init__(listening.family, listening.type, listening.proto, fileno=listening.detach())
        self._most, self._of_one_address, self._seldom = most, of_one_address, seldom
        self._held: Counter[str] = Counter()
        # With this one closed there is a descriptor to accept a connection with, and to close it.
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    @property
    def held(self) -> int:
        """Connections that are open or in their handshake."""
        return self._held.total()

    def accept(self) -> tuple[socket.socket, Any]:  # Any: an address
        """The next connection within the limits. Raises BlockingIOError when none waits."""
        for _ in range(_AT_ONCE):
            try:
                connection, address = super().accept()
            except OSError as error:
                if error.errno not in _STARVED:
                    raise
                self._turn_away()
                continue
            host = str(address[0])
            if self.held < self._most and self._held[host] < self._of_one_address:
                return self._counted(connection, host), address
            connection.close()
            self._seldom.say("connections beyond the limit were closed")
        raise BlockingIOError

    def close(self) -> None:
        """Listen no more."""
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
        super().close()

    def _counted(self, connection: socket.socket, host: str) -> socket.socket:
        self._held[host] += 1
        counted = _Connection(connection.family, connection.type, connection.proto, fileno=connection.detach())
        # Runs once: when the connection is closed, or where the event loop lets go of one without closing it.
        counted.forget = weakref.finalize(counted, self._forget, host)
        counted.forget.atexit = False
        return counted

    def _forget(self, host: str) -> None:
        self._held[host] -= 1
        if not self._held[host]:
            del self._held[host]

    def _turn_away(self) -> None:
        """Out of descriptors: close whoever waits, so that the loop does not turn round and round for them."""
        self._seldom.say("no descriptor is left for a connection")
        if self._spare < 0:
            # Another thread took the descriptor while this one turned somebody away. Without one this raises as `accept`
            # did, and the event loop rests for a second instead of turning round and round.
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.close(self._spare)
        self._spare = -1
        try:
            super().accept()[0].close()
        finally:
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


class _Connection(socket.socket):
    forget: weakref.finalize[[str], Any]  # Any: nothing

    def close(self) -> None:
        """Close, and count no more."""
        super().close()
        self.forget()
