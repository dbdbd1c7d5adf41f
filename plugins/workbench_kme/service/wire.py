"""Small things that both directions of the link share."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from workbench.errors import KeyUnavailable

ATTACKS = ("intercept-resend", "photon-number-splitting", "detector-blinding")
"""`physics.ATTACK_KINDS`, without loading the arithmetic behind that package."""


class LinkConflict(Exception):
    """409 for the other end: a code and members."""

    def __init__(self, code: str, **members: Any) -> None:  # Any: plain JSON
        super().__init__(code)
        self.code, self.members = code, members


def to_text(data: bytes) -> str:
    """Bytes as they stand in JSON."""
    return base64.b64encode(data).decode("ascii")


def from_text(text: Any) -> bytes:  # Any: parsed JSON
    """The bytes behind `to_text`. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError("base64 text")  # noqa: TRY004 - it is data, not a type
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("base64 text") from error


def unavailable(code: str, zh: str, en: str) -> KeyUnavailable:
    """What delivery answers with 503."""
    return KeyUnavailable(f"{zh}：稍后再试", f"{en}: try again later", code=code, details={"retry_after_s": "5"})
