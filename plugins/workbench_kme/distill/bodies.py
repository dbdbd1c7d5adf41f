"""The bodies of the seven messages: bytes to values and back, one spelling each.

Document: docs/protocols/qkd.md sections 6 to 9. Every `parse_*` raises ProtocolViolation for bytes that `format_*` would
not have written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from workbench_kme.distill.frames import refused
from workbench_kme.physics.link import VACUUM
from workbench_kme.physics.views import Indices, Small, Table

MOST_DETECTIONS: Final = 1 << 25
MOST_KEY_BITS: Final = 1 << 24
MOST_PULSES: Final = 1 << 62
SEED_SIZE: Final = 16


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What the receiver announces. index: strictly increasing, below pulses; basis: 0 key, 1 test; test_bits in order."""

    pulses: int
    index: Indices
    basis: Small
    test_bits: Small
    seed: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Sifting:
    """What the sender answers. agrees: of every detection; intensity: of the agreeing ones; test_bits: of those in the
    test basis; sent: pulses by [basis][intensity]."""

    agrees: Small
    intensity: Small
    test_bits: Small
    sent: Table


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """Hash of the corrected key, where its key bits stand, length of the secret string, bytes for the pool, seed."""

    segment: int
    offset: int
    digest: bytes
    length: int
    sender_refill: int
    receiver_refill: int
    seed: Small


def format_detections(value: Detections) -> bytes:
    # The first difference is counted from -1: slot 0 is 1 behind it.
    steps = np.diff(value.index, prepend=np.uint64(2**64 - 1))
    width = _width(steps)
    return b"".join(
        [
            value.pulses.to_bytes(8, "big"),
            len(steps).to_bytes(4, "big"),
            bytes([width]),
            steps.astype(f">u{width}").tobytes(),
            pack(value.basis),
            _counted(value.test_bits),
            value.seed,
        ]
    )


def parse_detections(body: bytes) -> Detections:
    reader = _Reader(body)
    pulses, count, width = reader.number(8), reader.number(4), reader.number(1)
    if count > MOST_DETECTIONS or width not in (1, 2, 4, 8) or pulses > MOST_PULSES:
        raise refused()
    steps = np.frombuffer(reader.take(count * width), dtype=f">u{width}").astype(np.uint64)
    if width != _width(steps) or (count and (not steps.all() or int(steps.max()) > pulses)):
        raise refused()
    index = np.cumsum(steps, dtype=np.uint64) - np.uint64(1)
    # 2^25 steps of at most 2^62 could wrap around: a sum of doubles tells so without doing it.
    if count and (float(steps.sum(dtype=np.float64)) > 2.0 * MOST_PULSES or int(index[-1]) >= pulses):
        raise refused()
    basis = reader.bits(count)
    test_bits = reader.counted()
    if len(test_bits) != int(basis.sum()):
        raise refused()
    value = Detections(pulses, index, basis, test_bits, reader.take(SEED_SIZE))
    reader.end()
    return value


def format_sifting(value: Sifting) -> bytes:
    planes = pack(value.intensity != 0) + pack(value.intensity == VACUUM)
    sent = b"".join(number.to_bytes(8, "big") for row in value.sent for number in row)
    return _counted(value.agrees) + len(value.intensity).to_bytes(4, "big") + planes + _counted(value.test_bits) + sent


def parse_sifting(body: bytes, detections: int) -> Sifting:
    """detections: as many as were announced."""
    reader = _Reader(body)
    agrees = reader.counted()
    kept = reader.number(4)
    if len(agrees) != detections or kept != int(agrees.sum()):
        raise refused()
    weak, vacuum = reader.bits(kept), reader.bits(kept)
    if bool(np.any(vacuum > weak)):
        raise refused()
    test_bits = reader.counted()
    sent = [reader.number(8) for _ in range(6)]
    reader.end()
    return Sifting(agrees, weak + vacuum, test_bits, ((sent[0], sent[1], sent[2]), (sent[3], sent[4], sent[5])))


def format_parities(first: int, rounds: Sequence[Small]) -> bytes:
    return first.to_bytes(4, "big") + bytes([len(rounds)]) + b"".join(_counted(bits) for bits in rounds)


def parse_parities(body: bytes) -> tuple[int, list[Small]]:
    reader = _Reader(body)
    first, count = reader.number(4), reader.number(1)
    if count not in (1, 2):
        raise refused()
    rounds = [reader.counted() for _ in range(count)]
    reader.end()
    return first, rounds


def format_verification(value: Verification) -> bytes:
    numbers = ((value.segment, 8), (value.offset, 4))
    more = ((value.length, 8), (value.sender_refill, 4), (value.receiver_refill, 4))
    return _numbers(numbers) + value.digest + _numbers(more) + _counted(value.seed)


def parse_verification(body: bytes) -> Verification:
    reader = _Reader(body)
    segment, offset, digest = reader.number(8), reader.number(4), reader.take(16)
    length, to_sender, to_receiver = reader.number(8), reader.number(4), reader.number(4)
    value = Verification(segment, offset, digest, length, to_sender, to_receiver, reader.counted())
    reader.end()
    return value


def format_verdict(length: int, leak_bits: int, errors: int) -> bytes:
    return _numbers(((length, 8), (leak_bits, 8), (errors, 4)))


def pack(bits: npt.NDArray[np.uint8] | npt.NDArray[np.bool_]) -> bytes:
    """Eight bits a byte, the first in the most significant place."""
    return np.packbits(bits).tobytes()


def unpack(packed: bytes, count: int) -> Small:
    """What `pack` wrote. Raises ProtocolViolation for another length or a set bit in an unused place."""
    if len(packed) != -(-count // 8) or (count % 8 and packed[-1] & ((1 << (8 - count % 8)) - 1)):
        raise refused()
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=count)


def _width(steps: Indices) -> int:
    largest = int(steps.max()) if len(steps) else 0
    return next(width for width in (1, 2, 4, 8) if largest < 1 << 8 * width)


def _counted(bits: npt.NDArray[np.uint8]) -> bytes:
    return len(bits).to_bytes(4, "big") + pack(bits)


def _numbers(pairs: Sequence[tuple[int, int]]) -> bytes:
    return b"".join(number.to_bytes(size, "big") for number, size in pairs)


class _Reader:
    """Reads a body from its beginning; every shortage and every byte too many is refused."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def take(self, count: int) -> bytes:
        part = self._body[self._at : self._at + count]
        if len(part) != count:
            raise refused()
        self._at += count
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def bits(self, count: int) -> Small:
        return unpack(self.take(-(-count // 8)), count)

    def counted(self) -> Small:
        return self.bits(self.number(4))

    def end(self) -> None:
        if self._at != len(self._body):
            raise refused()
