"""The anchor contract as bytes: call data, log and answers. Document: docs/protocols/anchor.md section 3.1.

Everything here is fixed words, so nothing is interpreted by a codec that could be lenient; the tests compare it with
web3's. The only I/O is reading the compiled contract that lies beside this module.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from workbench.domain.merkle import MAX_SIZE
from workbench_anchor.notes import Note

WORD = 32
ADDRESS_SIZE = 20
ANCHOR = bytes.fromhex("d309a21c")
LATEST_OF = bytes.fromhex("88f4eb1b")
SENDER_OF = bytes.fromhex("1d8490ff")
REGISTER = bytes.fromhex("d22057a9")
ANCHORED = bytes.fromhex("ee4758cf20fae73b4a3539508a2ce82afb8b7c4143ce9206393e3c9d2aff52d7")
ERRORS = {
    bytes.fromhex("2ad95351"): "NOT_REGISTRAR",
    bytes.fromhex("4c20c8b8"): "NOT_SENDER",
    bytes.fromhex("91363287"): "EMPTY_TREE",
    bytes.fromhex("dd38ce3e"): "ROLLBACK",
    bytes.fromhex("6b3dcc15"): "SPLIT_VIEW",
}


@dataclass(frozen=True, slots=True)
class ChainHead:
    """A tree head as the contract keeps it. time_s: of its block, POSIX seconds; 0 for one that is not there yet."""

    size: int
    sha256_root: bytes
    sm3_root: bytes
    note_digest: bytes
    time_s: int = 0

    @property
    def roots(self) -> tuple[bytes, bytes]:
        return self.sha256_root, self.sm3_root


@dataclass(frozen=True, slots=True)
class ChainLog:
    """One log of a transaction: address of the contract (20 bytes), topics (32 bytes each), data."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@cache
def compiled() -> dict[str, Any]:
    """The committed output of the compiler: abi, bytecode, deployedBytecode, compiler, settings."""
    loaded: dict[str, Any] = json.loads(
        files("workbench_anchor").joinpath("contract/EvidenceAnchor.json").read_text("utf-8")
    )
    return loaded


def deployed_code() -> bytes:
    """What must lie at the contract's address, byte for byte."""
    return bytes.fromhex(compiled()["deployedBytecode"].removeprefix("0x"))


def creation_code() -> bytes:
    """What a registrar sends to make the contract."""
    return bytes.fromhex(compiled()["bytecode"].removeprefix("0x"))


def head_of(note: Note) -> ChainHead:
    """What is anchored of a note."""
    return ChainHead(note.size, note.checkpoint.sha256_root, note.checkpoint.sm3_root, note.digest)


def anchor_call(origin: bytes, head: ChainHead) -> bytes:
    """Call data of `anchor`: 164 bytes."""
    return ANCHOR + _hash(origin) + _size(head.size) + anchored_data(head)


def register_call(origin: bytes, sender: bytes) -> bytes:
    """Call data of `register`, for the registrar: 68 bytes."""
    return REGISTER + _hash(origin) + _address(sender)


def latest_call(origin: bytes) -> bytes:
    return LATEST_OF + _hash(origin)


def sender_call(origin: bytes) -> bytes:
    return SENDER_OF + _hash(origin)


def anchored_topics(origin: bytes, size: int) -> tuple[bytes, ...]:
    """Topics of the log of an accepted anchor."""
    return (ANCHORED, _hash(origin), _size(size))


def anchored_data(head: ChainHead) -> bytes:
    """Data of the log of an accepted anchor: 96 bytes."""
    return _hash(head.sha256_root) + _hash(head.sm3_root) + _hash(head.note_digest)


def read_latest(answer: bytes) -> ChainHead | None:
    """The answer of `latestOf`; None when nothing was anchored yet. Raises ValueError for any other spelling."""
    if len(answer) != 5 * WORD:
        raise ValueError("latestOf answers five words")
    size, time_s, *roots = (answer[start : start + WORD] for start in range(0, 5 * WORD, WORD))
    head = ChainHead(int.from_bytes(size, "big"), roots[0], roots[1], roots[2], int.from_bytes(time_s, "big"))
    if head.size == 0:
        if any(answer):
            raise ValueError("an empty head has only zeros")
        return None
    if head.size > MAX_SIZE or head.time_s >= 1 << 40:
        raise ValueError("a size or a time is out of range")
    return head


def read_sender(answer: bytes) -> bytes:
    """The answer of `senderOf`: 20 bytes, zeros for nobody. Raises ValueError for any other spelling."""
    if len(answer) != WORD or any(answer[: WORD - ADDRESS_SIZE]):
        raise ValueError("senderOf answers one address")
    return answer[WORD - ADDRESS_SIZE :]


def error_name(data: bytes) -> str:
    """Which of the contract's errors this revert data is; "REVERTED" for any other."""
    return ERRORS.get(data[:4], "REVERTED")


def parse_address(text: str) -> bytes:
    """20 bytes of "0x" and 40 hexadecimal digits in any case. Raises ValueError; no check sum is asked for."""
    if len(text) != 42 or not text.startswith("0x"):
        raise ValueError("an address is 0x and 40 hexadecimal digits")
    return bytes.fromhex(text[2:])


def _hash(value: bytes) -> bytes:
    if len(value) != WORD:
        raise ValueError("a hash has 32 bytes")
    return value


def _size(size: int) -> bytes:
    if not 1 <= size <= MAX_SIZE:
        raise ValueError("a checkpoint has at least one entry")
    return size.to_bytes(WORD, "big")


def _address(address: bytes) -> bytes:
    if len(address) != ADDRESS_SIZE:
        raise ValueError("an address has 20 bytes")
    return bytes(WORD - ADDRESS_SIZE) + address
