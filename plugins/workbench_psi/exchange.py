"""How a session sends and receives: short messages swapped, long lists cut into messages and sent in turns.

Document: docs/protocols/intersection.md section 5. Every received message must have one exact length.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from workbench.contracts import Receive, Send, SessionRequest
from workbench_psi import wire
from workbench_psi.points import POINT_BYTES, ByteRows
from workbench_psi.wire import Kind, violation

T = TypeVar("T")
Steps = Generator[SessionRequest, Any, T]
"""A part of a session: yields requests, is sent their answers, returns a T."""


def swap(kind: Kind, payload: bytes, partner_bytes: int) -> Steps[bytes]:
    """Send one short message and receive the partner's of the same kind, of exactly this length, not our own."""
    yield Send(kind.value, payload)
    received: bytes = yield Receive(kind.value)
    if len(received) != partner_bytes:
        raise violation(kind, "length")
    if kind in _NEVER_EQUAL and received == payload:
        raise violation(kind, "echo")
    return received


_NEVER_EQUAL = frozenset(
    {Kind.POINTS_COMMIT, Kind.REPLY_COMMIT, Kind.COUNT_COMMIT, Kind.COUNT, Kind.DROP_COMMIT, Kind.RESULT_COMMIT}
)
"""Messages in which party name or salt differ, so that equal bytes are our own sent back."""


def swap_rows(kind: Kind, own: ByteRows, partner_rows: int) -> Steps[ByteRows]:
    """Send a list of rows and receive the partner's: (partner_rows, 32)."""
    received = yield from swap_list(kind, np.ascontiguousarray(own).reshape(-1), POINT_BYTES * partner_rows)
    return received.reshape(-1, POINT_BYTES)


def swap_list(kind: Kind, own: npt.NDArray[np.uint8], partner_bytes: int) -> Steps[npt.NDArray[np.uint8]]:
    """Send a long payload and receive the partner's, one message of each in turn, so that no queue fills up."""
    received = np.empty(partner_bytes, np.uint8)
    outgoing, incoming = wire.chunk_lengths(len(own)), wire.chunk_lengths(partner_bytes)
    for number in range(max(len(outgoing), len(incoming))):
        start = number * wire.CHUNK_BYTES
        if number < len(outgoing):
            yield Send(kind.value, own[start : start + outgoing[number]].tobytes())
        if number < len(incoming):
            payload: bytes = yield Receive(kind.value)
            if len(payload) != incoming[number]:
                raise violation(kind, "length")
            received[start : start + len(payload)] = np.frombuffer(payload, np.uint8)
    return received


def send(kind: Kind, payload: bytes) -> Steps[None]:
    """Send one list, cut into messages."""
    for number, length in enumerate(wire.chunk_lengths(len(payload))):
        start = number * wire.CHUNK_BYTES
        yield Send(kind.value, payload[start : start + length])


def receive(kind: Kind, total: int) -> Steps[bytes]:
    """Receive one list of exactly `total` bytes."""
    pieces = []
    for length in wire.chunk_lengths(total):
        payload: bytes = yield Receive(kind.value)
        if len(payload) != length:
            raise violation(kind, "length")
        pieces.append(payload)
    return b"".join(pieces)
