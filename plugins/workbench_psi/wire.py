"""Payloads of the intersection's messages: kinds, exact lengths, chunks, numbers.

Document: docs/protocols/intersection.md section 5. Every length follows from the buckets, K, the strike classes and the
hits dropped; `parse` functions refuse every other spelling with ProtocolViolation.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from workbench.errors import ProtocolViolation
from workbench_psi.commitment import SALT_BYTES, most_nodes
from workbench_psi.points import POINT_BYTES, ByteRows, RowNumbers

CHUNK_BYTES = 1 << 20
SLICES = 64
STRIKE_CLASS = 64
"""A strike list is a multiple of this, and every list holds at least as many paddings."""
MAX_BUCKET = 1 << 24
OPENING_BYTES = SALT_BYTES + 4


class Kind(StrEnum):
    """Kinds of message, in the order of the protocol."""

    POINTS_COMMIT = "points-commit"
    POINTS = "points"
    REPLY_COMMIT = "reply-commit"
    REPLY = "reply"
    COUNT_COMMIT = "count-commit"
    COUNT = "count"
    STRIKE = "strike"
    STRUCK = "struck"
    REMAINING = "remaining"
    POSITIONS = "positions"
    SLICE = "slice"
    DROP_COMMIT = "drop-commit"
    DROP = "drop"
    GRANTS = "grants"
    RESULT_COMMIT = "result-commit"
    RESULT = "result"


CHECKS: dict[str, tuple[str, str]] = {
    "length": ("长度不对", "has a wrong length"),
    "offer": ("要约与条款不符", "offers what the terms do not allow"),
    "ascending": ("未按升序排列或有重复", "is not in ascending order or repeats itself"),
    "echo": ("把我方数据原样送回", "sends our own data back"),
    "commitment": ("与事先的承诺不符", "differs from what was committed to"),
    "range": ("序号超出范围", "holds a place out of range"),
    "statement": ("陈述格式不对", "is not a statement this protocol knows"),
    "opening": ("打开的位置与承诺不符", "opens a position that was not committed to"),
    "position": ("位置重复、为填充或已撤回", "opens a position that is repeated, padded or struck"),
    "proof": ("授权承诺的证明不成立", "proves grants against another root than the contract's"),
}
"""What can be wrong with a message, in words; the key is shown as detail `check`."""


def violation(message: str, check: str) -> ProtocolViolation:
    """The error for a message that fails a check; it carries the names of both and nothing of the payload."""
    zh, en = CHECKS[check]
    return ProtocolViolation(
        f"对方消息 {message} {zh}，本次比对终止，请运维联系对方核查程序",
        f"the partner's message {message} {en}; this attempt ends, operators must ask the partner to check its program",
        details={"message": message, "check": check},
    )


def chunk_lengths(total: int) -> list[int]:
    """Lengths of the messages a list of `total` bytes is cut into; one empty message for an empty list."""
    whole, rest = divmod(total, CHUNK_BYTES)
    return [CHUNK_BYTES] * whole + ([rest] if rest or not whole else [])


def slice_bounds(number: int, count: int) -> tuple[int, int]:
    """First rank and end of slice `number` (0 to 63) of `count` products."""
    return number * count // SLICES, (number + 1) * count // SLICES


def strike_class(count: int) -> int:
    """Length of the list that carries `count` struck customers: the next multiple of 64, at least 64."""
    return max(1, -(-count // STRIKE_CLASS)) * STRIKE_CLASS


def grants_bytes(bucket: int, count: int) -> int:
    """Length of message `grants` for `count` hits of a sender with `bucket` leaves."""
    return (4 + POINT_BYTES) * count + POINT_BYTES * most_nodes(bucket, count)


def sent_bytes(own: int, partner: int, remaining: int) -> int:
    """Bytes of all payloads one side sends with this many points on both sides and customers left, none dropped."""
    lists = POINT_BYTES * (own + 2 * partner) + OPENING_BYTES * remaining + grants_bytes(own, remaining)
    fixed = 32 + 64 + 32 + 41 + 2 * 4 * STRIKE_CLASS + 33 + 32 + 32 + 32 + 64
    return lists + fixed + -(-remaining // 8)


def format_places(places: npt.NDArray[np.integer]) -> bytes:
    """RowNumbers as big-endian u32."""
    return places.astype(">u4").tobytes()


def parse_places(payload: bytes) -> RowNumbers:
    """The places a payload of whole u32 holds, as int64, unchecked."""
    return np.frombuffer(payload, ">u4").astype(np.int64)


def parse_ascending_places(kind: Kind, payload: bytes, *, bound: int) -> RowNumbers:
    """Strictly ascending places below `bound`; ProtocolViolation otherwise."""
    places = parse_places(payload)
    if not (np.diff(places) > 0).all():
        raise violation(kind, "ascending")
    if len(places) and places[-1] >= bound:
        raise violation(kind, "range")
    return places


def format_openings(salts: npt.NDArray[np.uint8], positions: npt.NDArray[np.integer]) -> bytes:
    """Openings of position leaves: salt (16) and u32 position each."""
    rows = np.empty((len(salts), OPENING_BYTES), np.uint8)
    rows[:, :SALT_BYTES] = salts
    rows[:, SALT_BYTES:] = positions.astype(">u4").view(np.uint8).reshape(-1, 4)
    return rows.tobytes()


def parse_openings(payload: bytes) -> tuple[npt.NDArray[np.uint8], RowNumbers]:
    """Salts (m, 16) and positions of a slice; the caller has checked the length."""
    rows = np.frombuffer(payload, np.uint8).reshape(-1, OPENING_BYTES)
    return rows[:, :SALT_BYTES], parse_places(rows[:, SALT_BYTES:].tobytes())


def format_grants(
    places: RowNumbers, leaves: ByteRows, proof: ByteRows, *, bucket: int
) -> npt.NDArray[np.uint8]:
    """Message `grants`: place and leaf of each hit, then the proof filled up with zeros to its bound."""
    count = len(places)
    message = np.zeros(grants_bytes(bucket, count), np.uint8)
    places_at, leaves_at, proof_at = _grants_parts(message, count)
    places_at.view(">u4")[:] = places
    leaves_at.reshape(-1, POINT_BYTES)[:] = leaves
    proof_at.reshape(-1, POINT_BYTES)[: len(proof)] = proof
    return message


def parse_grants(payload: npt.NDArray[np.uint8], count: int) -> tuple[RowNumbers, ByteRows, ByteRows]:
    """RowNumbers, leaves and proof (filling included) of message `grants`; the caller has checked the length."""
    places, leaves, proof = _grants_parts(payload, count)
    return places.view(">u4").astype(np.int64), leaves.reshape(-1, POINT_BYTES), proof.reshape(-1, POINT_BYTES)


def _grants_parts(message: npt.NDArray[np.uint8], count: int) -> list[npt.NDArray[np.uint8]]:
    """The bytes of places, leaves and proof, not copied."""
    return np.split(message, [4 * count, (4 + POINT_BYTES) * count])
