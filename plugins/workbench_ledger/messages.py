"""What a log and its mirrors send each other. Document: docs/protocols/evidence.md section 7. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.crypto import canonical
from workbench.domain.envelope import MAX_BODY_BYTES
from workbench.domain.party import PartyId, parse_party_id
from workbench.errors import VerificationError

REQUEST_MAGIC = b"workbench/v1/mirror-request\n"
REQUEST_VERSION = "workbench/v1/mirror-request"
REPLY_VERSION = "workbench/v1/mirror-reply"

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
MAX_BODIES = 2_000
MAX_BODIES_BYTES = 1024 * 1024
MAX_SEEN = 32
MAX_PARTIES = 64

_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")
_REQUEST_MEMBERS = frozenset({"checkpoint", "from", "log", "seen", "v"})
_REPLY_MEMBERS = frozenset({"held", "known", "lines", "log", "note", "size", "status", "v", "witness"})


@dataclass(frozen=True, slots=True)
class MirrorRequest:
    """Entries `start` … of a log, the signed checkpoint they lead to, and other logs' notes the sender has seen."""

    log: PartyId
    start: int
    bodies: Sequence[bytes]
    checkpoint: str
    seen: Sequence[str]


@dataclass(frozen=True, slots=True)
class MirrorReply:
    """A mirror's answer. signed: `lines` hold both co-signature lines; otherwise `held` says from where to send."""

    witness: PartyId
    log: PartyId
    signed: bool
    held: int
    size: int
    lines: str
    known: tuple[PartyId, ...]
    note: str


def format_request(request: MirrorRequest) -> bytes:
    """The bytes of a request."""
    header = canonical.format(
        {
            "checkpoint": request.checkpoint,
            "from": str(request.start),
            "log": request.log,
            "seen": list(request.seen),
            "v": REQUEST_VERSION,
        }
    )
    parts = (header, *request.bodies)
    return REQUEST_MAGIC + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def parse_request(data: bytes) -> MirrorRequest:
    """The request `format_request` wrote. Raises VerificationError (code MIRROR_REQUEST)."""
    try:
        if len(data) > MAX_MESSAGE_BYTES or not data.startswith(REQUEST_MAGIC):
            raise ValueError("not a mirror request, or too large")
        header, *bodies = _parts(data, len(REQUEST_MAGIC))
        value = canonical.parse_object(header)
        seen = value["seen"]
        if set(value) != _REQUEST_MEMBERS or value["v"] != REQUEST_VERSION or not isinstance(seen, list):
            raise ValueError("other members")
        if len(bodies) > MAX_BODIES or any(len(body) > MAX_BODY_BYTES for body in bodies) or len(seen) > MAX_SEEN:
            raise ValueError("too many or too long entries")
        return MirrorRequest(
            log=parse_party_id(text_of(value["log"])),
            start=number_of(value["from"]),
            bodies=bodies,
            checkpoint=text_of(value["checkpoint"]),
            seen=[text_of(note) for note in seen],
        )
    except (ValueError, KeyError, VerificationError) as error:
        raise VerificationError(
            "共签请求格式不符，已拒绝：请对方运维人员检查程序版本",
            "the mirror request is malformed; it was refused: the sender's operators must check their program",
            code="MIRROR_REQUEST",
        ) from error


def format_reply(reply: MirrorReply) -> bytes:
    """The bytes of a reply."""
    return canonical.format(
        {
            "held": str(reply.held),
            "known": list(reply.known),
            "lines": reply.lines,
            "log": reply.log,
            "note": reply.note,
            "size": str(reply.size),
            "status": "signed" if reply.signed else "resend",
            "v": REPLY_VERSION,
            "witness": reply.witness,
        }
    )


def parse_reply(data: bytes) -> MirrorReply:
    """The reply `format_reply` wrote. Raises VerificationError (code MIRROR_REPLY)."""
    try:
        if len(data) > MAX_MESSAGE_BYTES:
            raise ValueError("too large")
        value = canonical.parse_object(data)
        known = value["known"]
        if set(value) != _REPLY_MEMBERS or value["v"] != REPLY_VERSION or not isinstance(known, list):
            raise ValueError("other members")
        if value["status"] not in ("signed", "resend") or len(known) > MAX_PARTIES:
            raise ValueError("another status")
        reply = MirrorReply(
            witness=parse_party_id(text_of(value["witness"])),
            log=parse_party_id(text_of(value["log"])),
            signed=value["status"] == "signed",
            held=number_of(value["held"]),
            size=number_of(value["size"]),
            lines=text_of(value["lines"]),
            known=tuple(parse_party_id(text_of(one)) for one in known),
            note=text_of(value["note"]),
        )
        if list(reply.known) != sorted(set(reply.known)) or (reply.lines != "") is not reply.signed:
            raise ValueError("another spelling")
    except (ValueError, KeyError, VerificationError) as error:
        raise VerificationError(
            "共签回复格式不符：请对方运维人员检查程序版本",
            "the mirror's reply is malformed: its operators must check their program",
            code="MIRROR_REPLY",
        ) from error
    return reply


def _parts(data: bytes, offset: int) -> list[bytes]:
    parts = []
    while offset < len(data):
        length = int.from_bytes(data[offset : offset + 4], "big")
        offset += 4
        if offset > len(data) or length > len(data) - offset:
            raise ValueError("a part is cut off")
        parts.append(data[offset : offset + length])
        offset += length
    return parts


def text_of(value: object) -> str:
    """A member that must be a string. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError("a member is no string")  # noqa: TRY004  one kind of error for every odd input
    return value


def number_of(value: object) -> int:
    """A member that must be a whole number in decimal digits. Raises ValueError."""
    text = text_of(value)
    if not _NUMBER.fullmatch(text):
        raise ValueError("a member is no whole number")
    return int(text)
