"""Requests and their replies over a session: a reply belongs to exactly one request.

Document: docs/protocols/frame.md section 17. Frames of calls that run side by side may overtake one another; without the
request's number in the reply somebody on the line could exchange two replies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from workbench.channel.frame import Kind, SignedItem, prefixed, refused, split
from workbench.channel.session import SealedSession
from workbench.channel.session_state import OpenedFrame
from workbench.channel.terms import Signer
from workbench.crypto import sm2

CALL, REPLY = "call", "reply"
_PATH = re.compile(r"[A-Za-z0-9/._~-]{1,255}")


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was sealed: send `frame`, keep the rest for its reply. item: what was signed, if it was."""

    frame: bytes = field(repr=False)
    number: int
    item: SignedItem | None


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was opened. key_ids, provenance: of the QKD keys that protected it."""

    path: str
    body: bytes = field(repr=False)
    number: int
    item: SignedItem | None
    key_ids: tuple[str, ...]
    provenance: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that was opened and belongs to the request."""

    body: bytes = field(repr=False)
    item: SignedItem | None
    key_ids: tuple[str, ...]
    provenance: str


def seal_request(session: SealedSession, path: str, body: bytes, *, now_ms: int, key: Signer | None = None) -> Request:
    """A request. key: signs it; needed where the session's terms ask for signatures. Raises as `SealedSession.seal`."""
    if not _PATH.fullmatch(path):
        raise ValueError("a path has 1 to 255 letters, digits and / . _ ~ -")
    frame, item = _seal(session, prefixed(path) + body, CALL, now_ms, key, "")
    return Request(frame, split(frame).header.sequence, item)


def open_request(session: SealedSession, frame: bytes, *, now_ms: int, signer: sm2.PublicKey | None = None) -> Call:
    """The request. Raises as `SealedSession.open`."""
    opened = session.open(frame, now_ms=now_ms, purpose=CALL, signer=signer)
    payload = _payload(opened)
    cut = 1 + payload[0] if payload else 0
    path = payload[1:cut].decode("ascii", "replace")
    if len(payload) < cut or not _PATH.fullmatch(path):
        raise refused()
    return Call(path, payload[cut:], opened.sequence, opened.item, opened.key_ids, opened.provenance)


def seal_reply(
    session: SealedSession, call: Call, body: bytes, *, now_ms: int, key: Signer | None = None
) -> tuple[bytes, SignedItem | None]:
    """(frame, what was signed) in reply to `call`."""
    reply_to = call.item.digest if call.item is not None and key is not None else ""
    return _seal(session, call.number.to_bytes(8, "big") + body, REPLY, now_ms, key, reply_to)


def open_reply(
    session: SealedSession, request: Request, frame: bytes, *, now_ms: int, signer: sm2.PublicKey | None = None
) -> Reply:
    """The reply to `request`. Raises VerificationError (FRAME_REFUSED), also for a good frame that replies to another."""
    opened = session.open(frame, now_ms=now_ms, purpose=REPLY, signer=signer)
    payload = _payload(opened)
    about = opened.item.fields["reply_to"] if opened.item is not None else ""
    expected = request.item.digest if request.item is not None and opened.item is not None else ""
    if len(payload) < 8 or int.from_bytes(payload[:8], "big") != request.number or about != expected:
        raise refused()
    return Reply(payload[8:], opened.item, opened.key_ids, opened.provenance)


def _seal(
    session: SealedSession, payload: bytes, purpose: str, now_ms: int, key: Signer | None, reply_to: str
) -> tuple[bytes, SignedItem | None]:
    if key is None:
        return session.seal(payload, purpose=purpose, now_ms=now_ms), None
    return session.seal_signed(payload, purpose=purpose, key=key, now_ms=now_ms, reply_to=reply_to)


def _payload(opened: OpenedFrame) -> bytes:
    """The payload of data, signed or not. Raises the one refusal for any other kind of frame."""
    if opened.kind not in (Kind.DATA, Kind.SIGNED):
        raise refused()
    return opened.payload
