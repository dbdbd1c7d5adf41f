"""Letters of a task group, byte by byte, and the token by which a member finds the customer. docs/rights.md section 8. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import date

from workbench.crypto import canonical, sm3
from workbench.errors import InvalidRequest, ProtocolViolation, VerificationError
from workbench_rights.model import CATEGORIES

INVITE, DONE, CLOSED = "rights.group-invite", "rights.group-done", "rights.group-closed"
VERSION = "workbench/v1/task-group"
TOKEN_LABEL = b"workbench/v1/complaint-customer\n"
LONGEST_TEXT = 500
_FIELDS: Mapping[str, tuple[str, ...]] = {
    INVITE: ("v", "group", "category", "task", "text", "due", "job", "salt", "token"),
    DONE: ("v", "group", "task", "result"),
    CLOSED: ("v", "group"),
}
_ID = re.compile(r"[GT]-[0-9a-f]{12}")
_MANY_DIGITS = re.compile(r"[0-9](?:[ .-]?[0-9Xx]){10,}")
"""Eleven digits and more, however they are grouped: a phone, an identity number, an account."""
_HEX = re.compile(r"[0-9a-f]{64}")


def customer_token(salt: bytes, job: str, value: str) -> str:
    """What only somebody can test who holds the customer in its released list of this job.

    HMAC-SM3( salt[32], "workbench/v1/complaint-customer" LF ‖ u16 length of job ‖ job ‖ key value ), hexadecimal.
    """
    name = job.encode()
    return sm3.hmac(salt, TOKEN_LABEL + len(name).to_bytes(2, "big") + name + value.encode()).hex()


def require_plain(text: str) -> str:
    """A text that may leave this institution: short, and without anything that could be somebody's number."""
    if not _is_plain(text):
        raise InvalidRequest(
            f"给其他机构的文字最多 {LONGEST_TEXT} 字，且不得含手机号、证件号一类的数字",
            f"a text for other institutions has at most {LONGEST_TEXT} characters and nothing that could be a phone or identity number",
            code="IDENTIFIER_IN_LETTER",
        )
    return text


def format_letter(kind: str, fields: Mapping[str, str]) -> bytes:
    """The one encoding of a letter's body; fields: all but `v`."""
    value = {"v": VERSION, **fields}
    if set(value) != set(_FIELDS[kind]):
        raise ValueError("a letter of a task group has exactly the fields of its kind")
    return canonical.format(value)


def parse_letter(kind: str, body: bytes) -> dict[str, str]:
    """The fields; ProtocolViolation GROUP_LETTER for every other spelling, an unknown category, or a text with a number."""
    try:
        value = canonical.parse(body)
    except VerificationError as error:
        raise _malformed() from error
    if not isinstance(value, dict) or set(value) != set(_FIELDS[kind]):
        raise _malformed()
    if not all(isinstance(one, str) for one in value.values()) or value["v"] != VERSION:
        raise _malformed()
    fields = {str(name): str(one) for name, one in value.items()}
    _check(kind, fields)
    return fields


def _check(kind: str, fields: Mapping[str, str]) -> None:
    names = [fields["group"], *([fields["task"]] if "task" in fields else [])]
    if not all(_ID.fullmatch(one) for one in names):
        raise _malformed()
    for name in ("text", "result"):
        text = fields.get(name, "")
        if not _is_plain(text):
            raise _malformed()
    if kind != INVITE:
        return
    tied = (fields["job"], fields["salt"], fields["token"])
    if fields["category"] not in CATEGORIES or (any(tied) and not all(tied)):
        raise _malformed()
    if fields["job"] and not (_HEX.fullmatch(fields["salt"]) and _HEX.fullmatch(fields["token"])):
        raise _malformed()
    try:
        date.fromisoformat(fields["due"])
    except ValueError as error:
        raise _malformed() from error


def _is_plain(text: str) -> bool:
    return len(text) <= LONGEST_TEXT and not _MANY_DIGITS.search(unicodedata.normalize("NFKC", text))


def _malformed() -> ProtocolViolation:
    return ProtocolViolation(
        "专项小组的信函格式不对，没有采纳", "a letter of a task group is malformed and was not taken", code="GROUP_LETTER"
    )


__all__ = ["CLOSED", "DONE", "INVITE", "customer_token", "format_letter", "parse_letter", "require_plain"]
