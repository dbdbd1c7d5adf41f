"""What logs and mirrors ask each other besides the mirror request: pull, held, conflicts.

Document: docs/protocols/ledger.md sections 4 to 6. Pure; every parser accepts exactly what its formatter writes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from workbench.crypto import canonical, compare
from workbench.domain.checkpoint import Checkpoint
from workbench.domain.merkle import HASH_SIZE, SHA256, SM3, check_consistency
from workbench.domain.party import PartyId, parse_party_id
from workbench.errors import VerificationError
from workbench_ledger.messages import MAX_MESSAGE_BYTES, number_of, text_of

PULL_VERSION = "workbench/v1/pull"
HELD_VERSION = "workbench/v1/held"
CONFLICTS_VERSION = "workbench/v1/conflicts"
CONFLICTS_WITH_PREFIX = "workbench/v2/conflicts"
MAX_CONFLICTS = 8
MAX_PATH = 64

_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Pull:
    """A mirror asks a log for what it lacks. note: its newest head of that log; reply: to what came before, or b""."""

    log: PartyId
    held: int
    note: str
    reply: bytes


@dataclass(frozen=True, slots=True)
class Held:
    """How much of a log a mirror holds, and its newest head of exactly that size, "" at 0."""

    log: PartyId
    size: int
    note: str


@dataclass(frozen=True, slots=True)
class Prefix:
    """What the larger head's tree gives at the smaller head's size: in each tree the root, then the consistency path.

    With it two heads of different sizes contradict each other for whoever holds no entry: the larger one was signed over
    a tree whose first entries have another root than the smaller one says.
    """

    sha256: tuple[bytes, ...]
    sm3: tuple[bytes, ...]

    @property
    def roots(self) -> tuple[bytes, bytes]:
        """The SHA-256 and the SM3 root."""
        return self.sha256[0], self.sm3[0]

    def check(self, first: Checkpoint, second: Checkpoint) -> None:
        """Return if two heads of one log contradict each other by this. Raises VerificationError (CONFLICT_PROOF)."""
        smaller, larger = sorted((first, second), key=lambda head: head.size)
        if smaller.size == larger.size or all(map(compare.equal, self.roots, smaller.roots)):
            _refuse("CONFLICT_PROOF")
        try:
            for tree, path, root in ((SHA256, self.sha256, larger.sha256_root), (SM3, self.sm3, larger.sm3_root)):
                check_consistency(
                    tree, old=smaller.size, new=larger.size, old_root=path[0], new_root=root, proof=path[1:]
                )
        except VerificationError as error:
            raise _malformed("CONFLICT_PROOF") from error


@dataclass(frozen=True, slots=True)
class ConflictProof:
    """Two heads of one log that contradict each other, as signed notes. prefix: of different sizes, where it is known."""

    log: PartyId
    held: str
    offered: str
    prefix: Prefix | None = None


def format_pull(pull: Pull) -> bytes:
    """The bytes of a question."""
    return canonical.format(
        {
            "held": str(pull.held),
            "log": pull.log,
            "note": pull.note,
            "reply": pull.reply.decode("utf-8"),
            "v": PULL_VERSION,
        }
    )


def parse_pull(data: bytes) -> Pull:
    """The question `format_pull` wrote. Raises VerificationError (code PULL)."""
    value = _object(data, "PULL", (PULL_VERSION,), {"held", "log", "note", "reply", "v"})
    try:
        return Pull(_party(value["log"]), number_of(value["held"]), text_of(value["note"]), text_of(value["reply"]).encode())
    except ValueError as error:
        raise _malformed("PULL") from error


def format_held(held: Held) -> bytes:
    """The bytes of an answer."""
    return canonical.format({"log": held.log, "note": held.note, "size": str(held.size), "v": HELD_VERSION})


def parse_held(data: bytes) -> Held:
    """The answer `format_held` wrote. Raises VerificationError (code HELD)."""
    value = _object(data, "HELD", (HELD_VERSION,), {"log", "note", "size", "v"})
    try:
        return Held(_party(value["log"]), number_of(value["size"]), text_of(value["note"]))
    except ValueError as error:
        raise _malformed("HELD") from error


def format_conflicts(proofs: Sequence[ConflictProof]) -> bytes:
    """The bytes of at most MAX_CONFLICTS proofs, all of them with a prefix or none."""
    rows: list[canonical.Json] = []
    for one in proofs:
        row: dict[str, canonical.Json] = {"held": one.held, "log": one.log, "offered": one.offered}
        rows.append(row if one.prefix is None else row | {"prefix": _prefix_value(one.prefix)})
    with_prefix = {one.prefix is not None for one in proofs}
    if len(with_prefix) != 1:
        raise ValueError("one message has one version")
    return canonical.format({"conflicts": rows, "v": CONFLICTS_WITH_PREFIX if with_prefix.pop() else CONFLICTS_VERSION})


def format_prefix(prefix: Prefix) -> str:
    """How a prefix is kept: the text of its member in the message."""
    return canonical.format(_prefix_value(prefix)).decode()


def parse_prefix(text: str) -> Prefix:
    """The prefix `format_prefix` wrote. Raises VerificationError (CONFLICT_PROOF)."""
    try:
        return _prefix(canonical.parse_object(text.encode()))
    except (ValueError, VerificationError) as error:
        raise _malformed("CONFLICT_PROOF") from error


def parse_conflicts(data: bytes) -> list[ConflictProof]:
    """The proofs `format_conflicts` wrote; nothing in them is verified. Raises VerificationError (code CONFLICT_PROOF)."""
    value = _object(data, "CONFLICT_PROOF", (CONFLICTS_VERSION, CONFLICTS_WITH_PREFIX), {"conflicts", "v"})
    rows, with_prefix = value["conflicts"], value["v"] == CONFLICTS_WITH_PREFIX
    members = {"held", "log", "offered"} | ({"prefix"} if with_prefix else set())
    try:
        if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_CONFLICTS:
            raise ValueError("none or too many")
        found = []
        for row in rows:
            if not isinstance(row, dict) or set(row) != members:
                raise ValueError("other members")
            prefix = _prefix(row["prefix"]) if with_prefix else None
            found.append(ConflictProof(_party(row["log"]), text_of(row["held"]), text_of(row["offered"]), prefix))
    except ValueError as error:
        raise _malformed("CONFLICT_PROOF") from error
    return found


def _object(data: bytes, code: str, versions: Sequence[str], members: set[str]) -> dict[str, canonical.Json]:
    if len(data) > MAX_MESSAGE_BYTES:
        _refuse(code)
    try:
        value = canonical.parse_object(data)
    except VerificationError as error:
        raise _malformed(code) from error
    if set(value) != members or value["v"] not in versions:
        _refuse(code)
    return value


def _prefix_value(prefix: Prefix) -> dict[str, canonical.Json]:
    return {"sha256": [one.hex() for one in prefix.sha256], "sm3": [one.hex() for one in prefix.sm3]}


def _prefix(value: object) -> Prefix:
    if not isinstance(value, dict) or set(value) != {"sha256", "sm3"}:
        raise ValueError("other members")
    return Prefix(_hashes(value["sha256"]), _hashes(value["sm3"]))


def _hashes(value: object) -> tuple[bytes, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_PATH:
        raise ValueError("no path")
    texts = [text_of(one) for one in value]
    if not all(map(_HASH.fullmatch, texts)):
        raise ValueError(f"a hash has {HASH_SIZE} bytes in lower-case hex")
    return tuple(map(bytes.fromhex, texts))


def _party(value: object) -> PartyId:
    return parse_party_id(text_of(value))


def _refuse(code: str) -> NoReturn:
    raise _malformed(code)


def _malformed(code: str) -> VerificationError:
    return VerificationError(
        "账本之间的消息格式不符，已拒绝：请对方运维人员检查程序版本",
        "a message between ledgers is malformed; it was refused: the sender's operators must check their program",
        code=code,
    )
