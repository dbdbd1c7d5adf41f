"""Replies of the channel `qkd`: a status byte and the rest, the same in a frame and in a link.

Document: docs/protocols/qkd-channel.md section 2.
"""

from __future__ import annotations

import json
import re
from typing import Final

from workbench.errors import PeerError, WorkbenchError

BODY: Final = b"\x00"
ERROR: Final = b"\x01"
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_MAX_SENTENCE: Final = 300


def body(value: bytes) -> bytes:
    """What was asked for."""
    return BODY + value


def refusal(error: WorkbenchError) -> bytes:
    """A refusal. Details are for the own staff; a partner gets the code and the sentence."""
    value = {"code": error.code, "zh": error.zh, "en": error.en, "status": error.http_status}
    return ERROR + json.dumps(value, ensure_ascii=False).encode()


def failed() -> WorkbenchError:
    """Something went wrong here that a partner learns nothing of."""
    return WorkbenchError("对方节点内部出错", "the partner's node failed internally")


def read(party: str, reply: bytes) -> bytes:
    """The body of a reply. Raises PeerError with the partner's code; its text is untrusted, so it is cut and stripped."""
    if reply[:1] == BODY:
        return reply[1:]
    try:
        value = json.loads(reply[1:])
        code, zh, en, status = (str(value[name]) for name in ("code", "zh", "en", "status"))
    except (ValueError, KeyError, TypeError, RecursionError):
        code, zh, en, status = "", "", "", ""
    raise PeerError(
        f"{party} 拒绝了请求：{_clean(zh)}",
        f"{party} refused the request: {_clean(en)}",
        code=code if _CODE.fullmatch(code) else "PEER_FAILED",
        details={"status": _clean(status)},
    )


def _clean(text: str) -> str:
    return _INVISIBLE.sub(" ", text)[:_MAX_SENTENCE]
