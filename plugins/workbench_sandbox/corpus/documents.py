"""Documents as bytes: the `documents` section of a corpus, and what is sent with a question. docs/protocols/corpus.md section 1."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from workbench.domain.documents import DOCUMENT_CLASSES, DOCUMENT_KINDS, FieldSpan, SourceDocument
from workbench.errors import VerificationError

MAX_TEXT = 4 << 20
MAX_TITLE = 512

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_VERSION = re.compile(r"[!-~]{1,32}")
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,62}(@[0-9A-Za-z._:-]{1,64})?")
_MEMBERS = {"document", "kind", "version", "title", "source", "time_ms", "klass", "synthetic", "text", "fields"}
_FIELD_MEMBERS = {"value", "unit", "from", "to"}


def refused() -> VerificationError:
    """The one error for a corpus or documents that are not as they must be, whatever is wrong."""
    return VerificationError(
        "资料包不合格式或已被改动，未打开；请租用方重新建索引并发送。",
        "The corpus is malformed or was altered and was not opened; the tenant must index and send it again.",
        code="CORPUS_REFUSED",
    )


def format_documents(documents: Iterable[SourceDocument]) -> bytes:
    """Documents ascending by name. Raises VerificationError CORPUS_REFUSED for one that does not fit the format."""
    parts: list[bytes] = []
    before = ""
    for document in sorted(documents, key=lambda each: each.document):
        if document.document == before:
            raise refused()
        before = document.document
        _check(document)
        data = _spelling(_members(document))
        parts.append(len(data).to_bytes(4, "big"))
        parts.append(data)
    return b"".join(parts)


def parse_documents(data: bytes | memoryview) -> tuple[SourceDocument, ...]:
    """The documents of these bytes. Raises VerificationError CORPUS_REFUSED for any other spelling."""
    view = memoryview(data)
    place, found = 0, []
    before = ""
    while place < len(view):
        if place + 4 > len(view):
            raise refused()
        end = place + 4 + int.from_bytes(view[place : place + 4], "big")
        if end > len(view):
            raise refused()
        document = _parse_one(bytes(view[place + 4 : end]))
        if document.document <= before:
            raise refused()
        before = document.document
        found.append(document)
        place = end
    return tuple(found)


def _parse_one(data: bytes) -> SourceDocument:
    try:
        value: Any = json.loads(data.decode("utf-8"))  # Any: checked member by member below
    except (ValueError, RecursionError):
        raise refused() from None
    if not isinstance(value, dict) or set(value) != _MEMBERS or not isinstance(value["fields"], dict):
        raise refused()
    strings = ("document", "kind", "version", "title", "source", "klass", "text")
    if not all(isinstance(value[name], str) for name in strings):
        raise refused()
    if type(value["time_ms"]) is not int or type(value["synthetic"]) is not bool:
        raise refused()
    fields: dict[str, FieldSpan] = {}
    for name, span in value["fields"].items():
        if not isinstance(span, dict) or set(span) != _FIELD_MEMBERS:
            raise refused()
        if type(span["from"]) is not int or type(span["to"]) is not int:
            raise refused()
        if not isinstance(span["value"], str) or not isinstance(span["unit"], str):
            raise refused()
        fields[name] = FieldSpan(span["value"], span["unit"], span["from"], span["to"])
    document = SourceDocument(
        value["document"], value["kind"], value["version"], value["title"], value["source"], value["time_ms"],
        value["klass"], value["synthetic"], value["text"], fields,
    )  # fmt: skip
    _check(document)
    if _spelling(value) != data:
        raise refused()
    return document


def _check(document: SourceDocument) -> None:
    fits = (
        _NAME.fullmatch(document.document)
        and _VERSION.fullmatch(document.version)
        and document.kind in DOCUMENT_KINDS
        and document.klass in DOCUMENT_CLASSES
        and len(document.title) <= MAX_TITLE
        and len(document.source) <= MAX_TITLE
        and len(document.text) <= MAX_TEXT
        and 0 <= document.time_ms < 1 << 53
    )
    if not fits:
        raise refused()
    for name, span in document.fields.items():
        if not _FIELD.fullmatch(name) or not span.value or len(span.unit) > 64:
            raise refused()
        if not 0 <= span.start < span.end <= len(document.text):
            raise refused()
        if span.value not in document.text[span.start : span.end]:
            raise refused()


def _members(document: SourceDocument) -> dict[str, object]:
    return {
        "document": document.document,
        "kind": document.kind,
        "version": document.version,
        "title": document.title,
        "source": document.source,
        "time_ms": document.time_ms,
        "klass": document.klass,
        "synthetic": document.synthetic,
        "text": document.text,
        "fields": {
            name: {"value": span.value, "unit": span.unit, "from": span.start, "to": span.end}
            for name, span in document.fields.items()
        },
    }


def _spelling(value: object) -> bytes:
    """Canonical JSON: all keys are ASCII here, and there are no floats, so this is what RFC 8785 writes."""
    try:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return text.encode("utf-8")
    except (UnicodeEncodeError, ValueError):
        raise refused() from None  # half a surrogate pair, or a number that JSON does not have
