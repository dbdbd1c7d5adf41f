"""Reading what a management request holds: every member is checked, none is passed over. Document: key-delivery.md section 7."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from workbench.errors import InvalidRequest
from workbench_kme.service.entity import Entity

MAX_LIMIT = 1000
REASON = re.compile(r"[^\x00-\x1f\x7f]{1,200}")

Body = Mapping[str, Any]  # Any: parsed JSON
Query = Mapping[str, str]
Handler = Callable[[Entity, tuple[str, ...], Query, Body], dict[str, Any]]


def only(query: Query, *known: str) -> None:
    """Refuse parameters of the address that are not among these."""
    for name in query:
        if name not in known:
            raise malformed("query")


def members(body: Body, *names: str) -> None:
    """Refuse a body with any but exactly these members."""
    if set(body) != set(names):
        raise InvalidRequest(
            f"请求须恰好含有：{', '.join(names) or '无'}",
            f"the request has exactly: {', '.join(names) or 'nothing'}",
            code="MALFORMED",
        )


def limit(query: Query, default: int) -> int:
    """The parameter `limit`, 1 to MAX_LIMIT."""
    found = number(query, "limit", default)
    if not 1 <= found <= MAX_LIMIT:
        raise malformed("limit")
    return found


def number(query: Query, name: str, default: int) -> int:
    """A parameter of digits, or the default where it is missing."""
    found = query.get(name)
    if found is None:
        return default
    if not re.fullmatch(r"[0-9]{1,15}", found):
        raise malformed(name)
    return int(found)


def uuid(value: Any) -> UUID:  # Any: parsed JSON
    """A key id in the usual spelling."""
    try:
        if isinstance(value, str) and len(value) == 36:
            return UUID(value)
    except ValueError:
        pass
    raise malformed("key_id")


def uuids(value: Any) -> list[UUID]:  # Any: parsed JSON
    """1 to MAX_LIMIT key ids."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_LIMIT:
        raise malformed("key_ids")
    return [uuid(one) for one in value]


def reason(body: Body, name: str) -> str:
    """A sentence of 1 to 200 characters on one line."""
    value = body[name]
    if not isinstance(value, str) or not REASON.fullmatch(value):
        raise malformed(name)
    return value


def text(body: Body, name: str) -> str:
    """Any text."""
    value = body[name]
    if not isinstance(value, str):
        raise malformed(name)
    return value


def malformed(name: str) -> InvalidRequest:
    """400: this member has another form."""
    return InvalidRequest(f"成员 {name} 的值不符", f"the value of {name} does not fit", code="MALFORMED")


def whole(body: Body, name: str, least: int, most: int) -> int:
    """A whole number of the body within bounds, both included."""
    value = body[name]
    if type(value) is not int or not least <= value <= most:
        raise malformed(name)
    return value
