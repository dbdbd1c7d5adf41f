"""Key bits for the tags of one line: two halves, one for each direction, drawn once and never twice.

Document: docs/protocols/qkd.md section 5. The pool is a value in memory; its owner writes `state()` to disk before a
message leaves, so that a restart never draws the same bytes again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from workbench.errors import KeyUnavailable

LEAST_HALF: Final = 4096
"""Bytes of each half of an initial secret, at least."""
INITIAL: Final = 0
"""Number of the segment that people brought; block b gives back segment b + 1."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Bytes of a pool and where they stood. Secret: `value`."""

    segment: int
    offset: int
    value: bytes = field(repr=False)


@dataclass(slots=True)
class _Segment:
    number: int
    value: bytes = field(repr=False)
    shared: bool
    """Whether the other end is known to hold it."""


class _Half:
    """One direction's bytes, at either end of it."""

    def __init__(self, segments: list[_Segment], next_segment: int, next_offset: int) -> None:
        self.segments = segments
        self.next = (next_segment, next_offset)

    def remaining(self) -> int:
        """Bytes at and after the position reached, in segments both ends hold."""
        return sum(len(one.value) - self._from(one) for one in self.segments if one.shared and one.number >= self.next[0])

    def draw(self, count: int) -> Drawn:
        for one in self.segments:
            start = self._from(one)
            if one.shared and one.number >= self.next[0] and len(one.value) - start >= count:
                self.reach(one.number, start + count)
                return Drawn(one.number, start, one.value[start : start + count])
        raise KeyUnavailable(
            "线路认证密钥池已用尽：两端人员须重新注入初始密钥",
            "the line's authentication pool is used up: people must bring a new initial secret to both ends",
            code="POOL_EXHAUSTED",
        )

    def peek(self, segment: int, offset: int, count: int) -> bytes | None:
        """The bytes at a position that was not reached yet; None if they are not here."""
        if (segment, offset) < self.next:
            return None
        for one in self.segments:
            if one.number == segment:
                value = one.value[offset : offset + count]
                return value if len(value) == count else None
        return None

    def reach(self, segment: int, end: int) -> None:
        """Nothing before this position is drawn or taken again; segments that lie wholly before it are forgotten."""
        self.next = (segment, end)
        self.segments = [one for one in self.segments if one.number >= segment]

    def _from(self, one: _Segment) -> int:
        return self.next[1] if one.number == self.next[0] else 0


class AuthenticationPool:
    """One end's copy of the key bits that authenticate a line's messages.

    secret: what people brought to both ends: 8,192 bytes or more, an even number, never used for anything else.
    is_sender: which half this end draws from (the first belongs to the sender).
    Not for two threads at once; one line, one pool, one block at a time.
    """

    def __init__(self, secret: bytes, *, is_sender: bool) -> None:
        if len(secret) < 2 * LEAST_HALF or len(secret) % 2:
            raise ValueError("an initial secret has an even number of bytes, 8,192 or more")
        middle = len(secret) // 2
        halves = [_Half([_Segment(INITIAL, part, True)], INITIAL, 0) for part in (secret[:middle], secret[middle:])]
        self._sender, self._receiver = halves
        self.is_sender = is_sender

    def __repr__(self) -> str:
        return f"AuthenticationPool(own={self.own_bytes}, theirs={self.their_bytes})"

    @property
    def own_bytes(self) -> int:
        """Bytes left for messages of this end."""
        return self._own.remaining()

    @property
    def their_bytes(self) -> int:
        """Bytes left for messages of the other end, as far as known here."""
        return self._theirs.remaining()

    def draw(self, count: int) -> Drawn:
        """Fresh bytes of the own half, in one piece. Raises KeyUnavailable where there are none."""
        return self._own.draw(count)

    def peek(self, segment: int, offset: int, count: int) -> bytes | None:
        """Bytes of the other end's half at a position it states; None if it was passed or is not here. Changes nothing."""
        return self._theirs.peek(segment, offset, count)

    def accept(self, segment: int, end: int) -> None:
        """A message with these bytes was right: nothing before `end` will be taken again."""
        self._theirs.reach(segment, end)
        if segment > INITIAL:
            self.share(segment - 1)

    def expect(self, block: int) -> None:
        """Raises ValueError if a block with this number, or a later one, has given back before."""
        if any(one.number > block for half in (self._sender, self._receiver) for one in half.segments):
            raise ValueError("block numbers of a line only grow")

    def add(self, block: int, sender_half: bytes, receiver_half: bytes) -> None:
        """Hold what a block gave back; the own half is drawn from only after `share`."""
        self.expect(block)
        for half, value in ((self._sender, sender_half), (self._receiver, receiver_half)):
            half.segments.append(_Segment(block + 1, value, False))

    def share(self, block: int) -> None:
        """The other end holds what this block gave back."""
        for half in (self._sender, self._receiver):
            for one in half.segments:
                one.shared = one.shared or one.number == block + 1

    def state(self) -> dict[str, object]:
        """All of it, for the owner's store. Secret: hexadecimal values inside."""
        return {
            name: {
                "next": list(half.next),
                "segments": [[one.number, one.value.hex(), one.shared] for one in half.segments],
            }
            for name, half in (("sender", self._sender), ("receiver", self._receiver))
        }

    @classmethod
    def from_state(cls, state: dict[str, object], *, is_sender: bool) -> AuthenticationPool:
        """What `state` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        pool = cls.__new__(cls)
        pool._sender, pool._receiver = _half(state["sender"]), _half(state["receiver"])
        pool.is_sender = is_sender
        return pool

    @property
    def _own(self) -> _Half:
        return self._sender if self.is_sender else self._receiver

    @property
    def _theirs(self) -> _Half:
        return self._receiver if self.is_sender else self._sender


def _half(value: object) -> _Half:
    if not isinstance(value, dict):
        raise TypeError("a half is an object")
    segments = [_Segment(int(number), bytes.fromhex(text), bool(shared)) for number, text, shared in value["segments"]]
    segment, offset = value["next"]
    return _Half(segments, int(segment), int(offset))
