"""What the two ends of a block say to one another where the keys are not made here: small JSON objects. Pure.

Document: docs/protocols/key-delivery.md section 9.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from workbench.crypto import canonical
from workbench.errors import VerificationError


def format_message(kind: str, **members: Any) -> bytes:
    """The bytes of a message. members: of JSON's kinds."""
    return canonical.format({"v": 1, "kind": kind, **members})


def parse_message(message: bytes, kind: str, members: set[str]) -> Mapping[str, Any]:
    """The members of a message of this kind, or nothing for any other bytes. What the members hold is not looked at."""
    try:
        value = canonical.parse_object(message)
    except VerificationError:
        return {}
    if set(value) != {"v", "kind"} | members or value["v"] != 1 or value["kind"] != kind:
        return {}
    return value


def is_check(told: Any, check: str) -> bool:
    """Whether the other end told just this check. told: whatever it sent; an empty check of ours is never told."""
    return isinstance(told, str) and check != "" and hmac.compare_digest(told.encode(), check.encode())
