"""Canonical JSON (RFC 8785): one spelling for everything that is hashed or signed.

Allowed are objects with string keys, arrays, strings, booleans, null and whole numbers within ±(2^53 − 1). Floats are
refused: amounts, ids and digests are strings. `parse(format(x)) == x`, and `parse` refuses every other spelling of the
same value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TypeAlias

import rfc8785

from workbench.errors import VerificationError

Json: TypeAlias = "None | bool | int | str | list[Json] | dict[str, Json]"

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 32


def format(value: object) -> bytes:
    """The canonical bytes of `value`. Cost: about 10 microseconds for a small object.

    Tuples become arrays. Raises ValueError for a float, another type, a key that is no string, a number out of range,
    a lone surrogate, or nesting beyond 32 levels.
    """
    ascii_keys = _check(value, MAX_DEPTH)
    if not ascii_keys:
        # RFC 8785 section 3.2.3 sorts keys by UTF-16 code units; Python sorts by code points. They agree for ASCII.
        return rfc8785.dumps(value)  # type: ignore[arg-type]  # _check has just established the type
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")


def parse(data: bytes) -> Json:
    """The value whose canonical bytes are `data`. Raises VerificationError for any other bytes."""
    try:
        value: Json = json.loads(data.decode("utf-8"))
        # What has no canonical form (a float, NaN) makes `format` raise; a key that occurs twice makes it shorter.
        if format(value) == data:
            return value
    except (ValueError, RecursionError) as error:
        raise _not_canonical() from error
    raise _not_canonical()


def parse_object(data: bytes) -> dict[str, Json]:
    """As `parse`, for data that must be a JSON object. Raises VerificationError."""
    value = parse(data)
    if not isinstance(value, dict):
        raise _not_canonical()
    return value


def _check(value: object, depth: int) -> bool:
    """Raise ValueError unless every part is allowed; return whether all keys are ASCII."""
    if value is None or isinstance(value, bool | str):
        return True
    if isinstance(value, int):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise ValueError("a whole number beyond 2^53 - 1 is written as a string")
        return True
    if depth == 0:
        raise ValueError("more than 32 levels of nesting")
    if isinstance(value, list | tuple):
        return _check_all(value, depth - 1)
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("keys are strings")
        return _check_all(value.values(), depth - 1) and all(key.isascii() for key in value)
    raise ValueError(f"canonical JSON has no {type(value).__name__}")


def _check_all(values: Iterable[object], depth: int) -> bool:
    ascii_only = True
    for value in values:
        ascii_only &= _check(value, depth)  # no short cut: every part is checked
    return ascii_only


def _not_canonical() -> VerificationError:
    return VerificationError(
        "内容不是规范的 JSON（RFC 8785），拒绝使用",
        "these bytes are not canonical JSON (RFC 8785)",
        code="NOT_CANONICAL",
    )
