"""A token bucket of bytes for what leaves towards one partner. Pure: the time is an argument. Document: qkd-channel.md section 10.

Whole numbers only: the level counts billionths of a byte, so that nothing is lost to rounding however often it is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SECOND_NS: Final = 1_000_000_000
LEAST_BYTES_PER_S: Final = 256 << 10
"""A message of 4 MiB, the largest a node takes unless set otherwise, waits 16 s at this rate: seven jobs side by side stay within a step."""
MOST_BYTES_PER_S: Final = 1 << 40
SMALL_BYTES: Final = 16 << 10
"""Messages up to this size never wait: signs of life, co-signing, consent. They count all the same."""


@dataclass(frozen=True, slots=True)
class Rate:
    """bytes_per_s: come back in a second; burst: bytes at once, at least what comes back in a second unless stated."""

    bytes_per_s: int
    burst: int

    def __post_init__(self) -> None:
        if not LEAST_BYTES_PER_S <= self.bytes_per_s <= MOST_BYTES_PER_S or not SMALL_BYTES <= self.burst <= MOST_BYTES_PER_S:
            raise ValueError("a rate of bytes within its bounds, and a burst")


@dataclass(frozen=True, slots=True)
class Level:
    """What is left: billionths of a byte at a time; below nothing after a message that is larger than the burst."""

    billionths: int
    at_ns: int


def full(rate: Rate, now_ns: int) -> Level:
    """Before the first message."""
    return Level(rate.burst * SECOND_NS, now_ns)


def filled(rate: Rate, level: Level, now_ns: int) -> Level:
    """The level at a time; a time before its own changes nothing."""
    elapsed = max(0, now_ns - level.at_ns)
    return Level(min(rate.burst * SECOND_NS, level.billionths + elapsed * rate.bytes_per_s), level.at_ns + elapsed)


def wait_ns(rate: Rate, level: Level, size: int, now_ns: int) -> int:
    """How long a message waits: until its bytes are there, or the bucket is full where it is larger than that. 0: not at all."""
    if size <= SMALL_BYTES:
        return 0
    missing = min(size, rate.burst) * SECOND_NS - filled(rate, level, now_ns).billionths
    return max(0, -(-missing // rate.bytes_per_s))


def taken(rate: Rate, level: Level, size: int, now_ns: int, *, waits: bool = True) -> Level:
    """The level after a message has left. waits: whether it waited for its bytes; one that did not brings it to nothing at most."""
    now = filled(rate, level, now_ns)
    left = now.billionths - size * SECOND_NS
    return Level(left if waits and size > SMALL_BYTES else max(left, min(now.billionths, 0)), now.at_ns)


__all__ = ["LEAST_BYTES_PER_S", "SMALL_BYTES", "Level", "Rate", "filled", "full", "taken", "wait_ns"]
