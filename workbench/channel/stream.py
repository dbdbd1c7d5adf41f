"""Large payloads as chunks of a session, whose end cannot be cut off unseen.

Document: docs/protocols/frame.md section 10. The chunks are frames like any other; here is only their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from workbench.channel.frame import Kind, refused
from workbench.channel.session import SealedSession
from workbench.channel.session_state import WINDOW, OpenedFrame
from workbench.crypto import random
from workbench.errors import VerificationError

CHUNK_BYTES = 64 << 10
STREAM_ID_SIZE = 8


class StreamSealer:
    """One outgoing stream: `seal` for each part, the last one with `final`."""

    def __init__(self, session: SealedSession, *, purpose: str, source: random.RandomSource = random.SYSTEM) -> None:
        self._session, self._purpose = session, purpose
        self._stream = source(STREAM_ID_SIZE)
        self._next = 0
        self._ended = False

    def seal(self, part: bytes, *, now_ms: int, final: bool = False) -> bytes:
        """The frame of the next part. A refusal (REKEY_REQUIRED) leaves the stream where it is: renew and call again.

        Raises ValueError after the final part.
        """
        if self._ended:
            raise ValueError("this stream has ended")
        frame = self._session.seal_chunk(
            part, stream=self._stream, index=self._next, final=final, purpose=self._purpose, now_ms=now_ms
        )
        self._next += 1
        self._ended = final
        return frame


class StreamOpener:
    """One incoming stream: hand it every opened chunk, take the bytes that are next in line."""

    def __init__(self, *, purpose: str) -> None:
        self._purpose = purpose
        self._stream = b""
        self._next = 0
        self._early: dict[int, OpenedFrame] = {}
        self._last = -1

    def accept(self, chunk: OpenedFrame) -> list[bytes]:
        """The parts that can be handed on now, in order; often one, none while an earlier one is missing.

        Raises VerificationError (FRAME_REFUSED) for a chunk of another stream or purpose, one that came before, one beyond
        the end, and where more than 64 would have to wait.
        """
        fits = (
            chunk.kind is Kind.CHUNK
            and chunk.purpose == self._purpose
            and chunk.stream == (self._stream or chunk.stream)
        )
        highest = max((self._next - 1, *self._early))
        ends = (self._last < 0 or chunk.index <= self._last) and not (chunk.final and chunk.index < highest)
        fresh = self._next <= chunk.index < self._next + WINDOW and chunk.index not in self._early
        if not (fits and ends and fresh):
            raise refused()
        self._stream = chunk.stream
        if chunk.final:
            self._last = chunk.index
        self._early[chunk.index] = chunk
        ready = []
        while self._next in self._early:
            ready.append(self._early.pop(self._next).payload)
            self._next += 1
        return ready

    @property
    def complete(self) -> bool:
        """Whether the final part has been handed on."""
        return 0 <= self._last < self._next

    def finish(self) -> None:
        """Return if the stream is complete. Raises VerificationError (STREAM_CUT)."""
        if not self.complete:
            raise VerificationError(
                "数据流在结束前中断，内容不完整，不得使用；请重新传输",
                "the stream ended before its final part: its content is not whole and not to be used; send it again",
                code="STREAM_CUT",
            )


def seal_stream(
    session: SealedSession,
    parts: Iterable[bytes],
    *,
    purpose: str,
    clock: Callable[[], int],
    chunk_bytes: int = CHUNK_BYTES,
    source: random.RandomSource = random.SYSTEM,
) -> Iterator[bytes]:
    """Frames for a payload given in parts of any size, cut anew into chunks. clock: milliseconds since 1970 UTC."""
    sealer = StreamSealer(session, purpose=purpose, source=source)
    buffer = bytearray()
    for part in parts:
        buffer += part
        while len(buffer) > chunk_bytes:
            yield sealer.seal(bytes(buffer[:chunk_bytes]), now_ms=clock())
            del buffer[:chunk_bytes]
    yield sealer.seal(bytes(buffer), now_ms=clock(), final=True)
