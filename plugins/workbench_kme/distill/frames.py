"""One message on the wire: header, body, and a tag whose key bits are used once.

Document: docs/protocols/qkd.md section 5. `FrameWriter` and `FrameReader` are the two ends of one direction in one block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workbench.crypto import compare, poly1305
from workbench.errors import ProtocolViolation
from workbench_kme.distill.pool import AuthenticationPool, Drawn

LABEL: Final = "workbench/v1/"
KINDS: Final = {
    "qkd-detections": 1 << 28,
    "qkd-sifting": 1 << 25,
    "qkd-parities": 1 << 24,
    "qkd-verification": 1 << 23,
    "qkd-verdict": 20,
    "qkd-done": 4,
    "qkd-abort": 1,
}
"""Most bytes of each kind's body."""
MOST_MESSAGES: Final = 4096
PAD: Final = 16
TAG: Final = poly1305.TAG_SIZE


@dataclass(frozen=True, slots=True)
class Message:
    """What a frame says, once its tag was right."""

    kind: str
    body: bytes


class AuthenticationFailed(ProtocolViolation):
    """A tag is wrong or its key bits are not available: altered, replayed, moved, or from somebody else."""

    default_code = "QKD_AUTHENTICATION"


def refused() -> ProtocolViolation:
    """The message breaks the document; what it said is not repeated."""
    return ProtocolViolation("密钥线路的报文不符合协议，本数据块作废", "a message of the key line breaks the protocol; the block is void")


class FrameWriter:
    """Seals this end's messages of one block; counts the pool bytes it drew."""

    def __init__(self, pool: AuthenticationPool, block: int) -> None:
        self._pool = pool
        self._block = block
        self._sequence = 0
        self._hash_key = b""
        self._prepared: Drawn | None = None
        self.drawn = 0

    def prepare(self) -> None:
        """Draw the next message's key bits now: what its body draws then stands behind them."""
        if self._prepared is None:
            self._prepared = self.draw(PAD if self._hash_key else 2 * PAD)
            self._hash_key = self._hash_key or self._prepared.value[:PAD]

    def draw(self, count: int) -> Drawn:
        """Bytes of the own half for another use in this block. Raises KeyUnavailable when the pool is used up."""
        drawn = self._pool.draw(count)
        self.drawn += count
        return drawn

    def seal(self, kind: str, body: bytes) -> bytes:
        """The frame of the next message. Raises KeyUnavailable when the pool is used up."""
        if len(body) > KINDS[kind] or self._sequence >= MOST_MESSAGES:
            raise ValueError("a body beyond its kind's limit, or too many messages")
        self.prepare()
        assert self._prepared is not None
        key, self._prepared = self._prepared, None
        text = _head(kind, self._block, self._sequence, key.segment, key.offset, len(body)) + body
        self._sequence += 1
        return text + poly1305.tag(self._hash_key + key.value[-PAD:], text)


class FrameReader:
    """Opens the other end's messages of one block, in their order only."""

    def __init__(self, pool: AuthenticationPool, block: int) -> None:
        self._pool = pool
        self._block = block
        self._sequence = 0
        self._hash_key = b""
        self.drawn = 0

    def open(self, frame: bytes) -> Message:
        """The next message.

        Raises AuthenticationFailed where the tag does not hold, ProtocolViolation where it holds and the frame is not
        the one expected; neither changes anything.
        """
        parts = _split(frame)
        if parts is None or self._sequence >= MOST_MESSAGES:
            raise _not_authentic()
        kind, block, sequence, segment, offset, body = parts
        first = not self._hash_key
        count = 2 * PAD if first else PAD
        key = self._pool.peek(segment, offset, count)
        if key is None:
            raise _not_authentic()
        hash_key = key[:PAD] if first else self._hash_key
        if not compare.equal(poly1305.tag(hash_key + key[-PAD:], frame[:-TAG]), frame[-TAG:]):
            raise _not_authentic()
        if (block, sequence) != (self._block, self._sequence):
            raise refused()
        self._pool.accept(segment, offset + count)
        self._hash_key = hash_key
        self._sequence += 1
        self.drawn += count
        return Message(kind, body)

    def take(self, segment: int, offset: int, count: int) -> bytes:
        """Bytes that the other end drew for another use and names in a message. Raises ProtocolViolation."""
        value = self._pool.peek(segment, offset, count)
        if value is None:
            raise refused()
        self._pool.accept(segment, offset + count)
        self.drawn += count
        return value


def _head(kind: str, block: int, sequence: int, segment: int, offset: int, size: int) -> bytes:
    label = (LABEL + kind).encode("ascii")
    numbers = block.to_bytes(8, "big") + sequence.to_bytes(4, "big") + segment.to_bytes(8, "big") + offset.to_bytes(4, "big")
    return len(label).to_bytes(2, "big") + label + numbers + size.to_bytes(4, "big")


def _split(frame: bytes) -> tuple[str, int, int, int, int, bytes] | None:
    """Fields of a frame whose lengths fit together; None for anything else."""
    label_size = int.from_bytes(frame[:2], "big")
    start = 2 + label_size
    head = start + 28
    if label_size > 64 or len(frame) < head + TAG:
        return None
    try:
        label = frame[2:start].decode("ascii")
    except UnicodeDecodeError:
        return None
    size = int.from_bytes(frame[start + 24 : head], "big")
    # Limits come before the tag: nobody without a key can make this end hash more than a kind may be long.
    if not label.startswith(LABEL) or size > KINDS.get(label.removeprefix(LABEL), -1) or len(frame) != head + size + TAG:
        return None
    block, sequence, segment, offset = (
        int.from_bytes(frame[start + begin : start + end], "big") for begin, end in ((0, 8), (8, 12), (12, 20), (20, 24))
    )
    return label.removeprefix(LABEL), block, sequence, segment, offset, frame[head : head + size]


def _not_authentic() -> AuthenticationFailed:
    return AuthenticationFailed(
        "密钥线路的报文认证失败，本数据块作废，请运维人员检查线路", "a message of the key line is not authentic; the block is void; operators check the line"
    )
