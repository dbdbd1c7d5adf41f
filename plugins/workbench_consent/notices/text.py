"""One version of a notice as a value, its bytes and its digest. Document: docs/protocols/notice.md sections 1 and 2. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from workbench.crypto import canonical, sm3
from workbench.errors import VerificationError

MARK = "workbench/v1/notice"
DIGEST_LABEL = b"workbench/v1/notice\n"
MAX_LINES = 40
MAX_TEXT = 20_000
_KEY = re.compile(r"[a-z][a-z0-9-]{1,30}")
_CODE = re.compile(r"[a-z][a-z0-9-]{0,40}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Words:
    """The same text in both languages."""

    zh: str = ""
    en: str = ""


@dataclass(frozen=True, slots=True)
class Controller:
    """Who processes: the institution, its name, how to reach it, who is responsible for personal information."""

    party: str
    name: Words
    contact: str
    officer: str


@dataclass(frozen=True, slots=True)
class Minors:
    """Whether people under 14 are meant, and the rules for them."""

    served: bool
    rules: Words


@dataclass(frozen=True, slots=True)
class Line:
    """One thing a customer says yes or no to: one purpose, one recipient ("": this institution itself), one switch."""

    purpose: str
    recipient: str
    recipient_name: Words
    recipient_contact: str
    purpose_text: Words
    method: Words
    categories: tuple[str, ...]
    channels: tuple[str, ...]
    retention_days: int
    retention: Words
    necessity: Words
    effect: Words
    automated: bool
    automated_text: Words
    preset: bool
    required: bool

    @property
    def name(self) -> str:
        """How differences and pages name this line."""
        return f"{self.purpose}/{self.recipient}"


@dataclass(frozen=True, slots=True)
class Notice:
    """One version. Equal values have equal bytes; see `format_notice`."""

    key: str
    version: int
    effective_ms: int
    title: Words
    summary: Words
    body: Words
    controller: Controller
    rights: Words
    withdrawal: Words
    refusal: Words
    complaint: Words
    minors: Minors
    lines: tuple[Line, ...]

    @property
    def name(self) -> str:
        """How grants and files name this version: key@version."""
        return f"{self.key}@{self.version}"

    def line(self, purpose: str, recipient: str) -> Line | None:
        """The line for this purpose and recipient, None where the version has none."""
        return next((one for one in self.lines if (one.purpose, one.recipient) == (purpose, recipient)), None)


def format_notice(notice: Notice) -> bytes:
    """The canonical bytes of a version."""
    return canonical.format({"v": MARK, **_plain(notice)})


def parse_notice(data: bytes) -> Notice:
    """The version whose bytes these are; VerificationError NOTICE_ALTERED for any other bytes."""
    try:
        value = canonical.parse_object(data)
        if value.pop("v", None) != MARK:
            raise ValueError("another format")
        return notice_of(value)
    except (ValueError, TypeError, KeyError, VerificationError) as error:
        raise altered() from error


def notice_of(value: Mapping[str, Any]) -> Notice:
    """A version from plain values with exactly the members of section 1; ValueError, TypeError or KeyError otherwise."""
    made: Notice = _made(Notice, value)
    if not _KEY.fullmatch(made.key) or made.version < 1 or made.effective_ms < 0:
        raise ValueError("key, version or time")
    if not 1 <= len(made.lines) <= MAX_LINES or len({line.name for line in made.lines}) != len(made.lines):
        raise ValueError("lines")
    for line in made.lines:
        for codes in (line.categories, line.channels):
            if list(codes) != sorted(set(codes)) or not all(_CODE.fullmatch(code) for code in codes):
                raise ValueError("codes ascend and are distinct")
        if not _CODE.fullmatch(line.purpose) or line.retention_days < 0:
            raise ValueError("purpose or days")
    for _, text in texts(made):
        if len(text) > MAX_TEXT or _CONTROL.search(text) or text != text.strip():
            raise ValueError("text")
    return made


def digest(data: bytes) -> bytes:
    """The digest of a version's canonical bytes: 32 bytes."""
    return sm3.digest(DIGEST_LABEL + data)


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a version with its place, e.g. ("lines[0].method.zh", "…")."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, tuple):
        for place, one in enumerate(value):
            yield from texts(one, f"{path}[{place}]")
    elif is_dataclass(value):
        for field in fields(value):
            yield from texts(getattr(value, field.name), f"{path}.{field.name}" if path else field.name)


def plain(notice: Notice) -> dict[str, Any]:
    """The members of a version as plain values, for replies and drafts."""
    return dict(_plain(notice))


def altered() -> VerificationError:
    return VerificationError(
        "告知书内容与其摘要不符：合规岗核查数据库，在此之前不得使用该版本",
        "the content of a notice does not match its digest: compliance must look into the database; the version must not be used before",
        code="NOTICE_ALTERED",
    )


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value


_PARTS: Mapping[str, type] = {
    "Words": Words, "Controller": Controller, "Minors": Minors, "tuple[Line, ...]": Line,
}  # fmt: skip


def _made(kind: type, value: Any) -> Any:
    """A dataclass from a mapping with exactly its fields; nothing is converted."""
    if not isinstance(value, Mapping) or set(value) != {field.name for field in fields(kind)}:
        raise ValueError(f"{kind.__name__} has other members")
    return kind(**{field.name: _value(str(field.type), value[field.name]) for field in fields(kind)})


def _value(kind: str, value: Any) -> Any:
    if kind == "tuple[Line, ...]":
        return tuple(_made(Line, one) for one in _listed(value))
    if kind in _PARTS:
        return _made(_PARTS[kind], value)
    if kind == "tuple[str, ...]":
        if not all(isinstance(one, str) for one in _listed(value)):
            raise TypeError("codes are texts")
        return tuple(value)
    if type(value).__name__ != kind:  # bool is no int here
        raise TypeError(f"{kind} expected")
    return value


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("a list is expected")
    return value
