"""What logs and mirrors ask each other besides the mirror request: pull, held, conflicts.

Document: docs/protocols/ledger.md sections 4 to 6. Pure; every parser accepts exactly what its formatter writes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from workbench.crypto import canonical
from workbench.domain.party import PartyId, parse_party_id
from workbench.errors import VerificationError
from workbench_ledger.messages import MAX_MESSAGE_BYTES

PULL_VERSION = "workbench/v1/pull"
HELD_VERSION = "workbench/v1/held"
CONFLICTS_VERSION = "workbench/v1/conflicts"
MAX_CONFLICTS = 8

_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")


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
class ConflictProof:
    """Two heads of one log that contradict each other, as signed notes."""

    log: PartyId
    held: str
    offered: str


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
    value = _object(data, "PULL", PULL_VERSION, {"held", "log", "note", "reply", "v"})
    try:
        return Pull(_party(value["log"]), _number(value["held"]), _text(value["note"]), _text(value["reply"]).encode())
    except ValueError as error:
        raise _malformed("PULL") from error


def format_held(held: Held) -> bytes:
    """The bytes of an answer."""
    return canonical.format({"log": held.log, "note": held.note, "size": str(held.size), "v": HELD_VERSION})


def parse_held(data: bytes) -> Held:
    """The answer `format_held` wrote. Raises VerificationError (code HELD)."""
    value = _object(data, "HELD", HELD_VERSION, {"log", "note", "size", "v"})
    try:
        return Held(_party(value["log"]), _number(value["size"]), _text(value["note"]))
    except ValueError as error:
        raise _malformed("HELD") from error


def format_conflicts(proofs: Sequence[ConflictProof]) -> bytes:
    """The bytes of at most MAX_CONFLICTS proofs."""
    rows: list[canonical.Json] = [{"held": one.held, "log": one.log, "offered": one.offered} for one in proofs]
    return canonical.format({"conflicts": rows, "v": CONFLICTS_VERSION})


def parse_conflicts(data: bytes) -> list[ConflictProof]:
    """The proofs `format_conflicts` wrote; nothing in them is verified. Raises VerificationError (code CONFLICT_PROOF)."""
    value = _object(data, "CONFLICT_PROOF", CONFLICTS_VERSION, {"conflicts", "v"})
    rows = value["conflicts"]
    try:
        if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_CONFLICTS:
            raise ValueError("none or too many")
        found = []
        for row in rows:
            if not isinstance(row, dict) or set(row) != {"held", "log", "offered"}:
                raise ValueError("other members")
            found.append(ConflictProof(_party(row["log"]), _text(row["held"]), _text(row["offered"])))
    except ValueError as error:
        raise _malformed("CONFLICT_PROOF") from error
    return found


def _object(data: bytes, code: str, version: str, members: set[str]) -> dict[str, canonical.Json]:
    if len(data) > MAX_MESSAGE_BYTES:
        _refuse(code)
    try:
        value = canonical.parse_object(data)
    except VerificationError as error:
        raise _malformed(code) from error
    if set(value) != members or value["v"] != version:
        _refuse(code)
    return value


def _party(value: object) -> PartyId:
    return parse_party_id(_text(value))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a member is no string")  # noqa: TRY004  one kind of error for every odd input
    return value


def _number(value: object) -> int:
    text = _text(value)
    if not _NUMBER.fullmatch(text):
        raise ValueError("a member is no whole number")
    return int(text)


def _refuse(code: str) -> NoReturn:
    raise _malformed(code)


def _malformed(code: str) -> VerificationError:
    return VerificationError(
        "账本之间的消息格式不符，已拒绝：请对方运维人员检查程序版本",
        "a message between ledgers is malformed; it was refused: the sender's operators must check their program",
        code=code,
    )
