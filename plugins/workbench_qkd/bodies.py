"""Bodies of the messages of the channel `qkd`, and the names in them. Document: docs/protocols/qkd-channel.md section 2."""

from __future__ import annotations

import base64
import binascii

from workbench.crypto import canonical, sm3
from workbench.errors import NotFound, ProtocolViolation, WorkbenchError


def epoch_of(frame: bytes) -> int:
    """Of a sound frame."""
    return int.from_bytes(frame[22:26], "big")


def name_of(hello: bytes) -> str:
    """The name of an exchange, the same at both ends."""
    return f"S-{sm3.digest(hello).hex()[:12]}"


def unknown_session() -> NotFound:
    """This end has no such session, or no longer; it has not looked at the call."""
    return NotFound("没有这次会话，请重新建立", "there is no such session; start another", code="SESSION_UNKNOWN")


def group_of(line: str, tenant: str) -> str:
    """What both ends name the session's group of parties: its line, and the tag of the tenant whose it is."""
    return f"line:{line}:tenant:{tenant}" if tenant else f"line:{line}"


def to_text(data: bytes) -> str:
    """In base64."""
    return base64.b64encode(data).decode("ascii")


def from_text(text: str) -> bytes:
    """Out of base64. Raises ProtocolViolation SESSION_MESSAGE."""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise _malformed() from error


def from_hex(text: str) -> bytes:
    """Out of hexadecimal. Raises ProtocolViolation SESSION_MESSAGE."""
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise _malformed() from error


def fields(body: bytes, *names: str) -> dict[str, str]:
    """Exactly these fields, all text. Raises ProtocolViolation SESSION_MESSAGE."""
    try:
        value = canonical.parse_object(body)
    except (ValueError, WorkbenchError) as error:
        raise _malformed() from error
    if set(value) != set(names) or not all(isinstance(one, str) for one in value.values()):
        raise _malformed()
    return {name: str(one) for name, one in value.items()}


def _malformed() -> ProtocolViolation:
    return ProtocolViolation("会话消息的格式不对", "a message of a session has another form", code="SESSION_MESSAGE")


__all__ = ["epoch_of", "fields", "from_hex", "from_text", "group_of", "name_of", "to_text", "unknown_session"]
