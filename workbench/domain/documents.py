"""Documents that questions are answered from: text, where it is from, and the fields a source states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DOCUMENT_KINDS = ("prompt", "question", "quote", "fund", "news")
"""话术, 客户问题, 行情, 公募基金, 资讯与公告; no other kind is read."""

DOCUMENT_CLASSES = ("public", "internal", "important", "personal")
"""公开, 内部, 重要, 个人: ascending; which sandbox may read which is the setting inference.class_levels."""


@dataclass(frozen=True, slots=True)
class FieldSpan:
    """A field as its source states it: value and unit as text, and where in the document's text it stands.

    start, end: offsets in characters (Unicode code points) of `SourceDocument.text`, end exclusive.
    """

    value: str
    unit: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """One document. document: its name, stable over versions, 1 to 64 of [A-Za-z0-9._-]; version: visible ASCII, 1 to 32.

    kind: one of DOCUMENT_KINDS; klass: one of DOCUMENT_CLASSES; time_ms: what the source states as its time, UTC;
    synthetic: written for demonstration, said wherever it is shown. fields: name of field -> where it is stated.
    """

    document: str
    kind: str
    version: str
    title: str
    source: str
    time_ms: int
    klass: str
    synthetic: bool
    text: str = field(repr=False)
    fields: Mapping[str, FieldSpan] = field(default_factory=dict)
