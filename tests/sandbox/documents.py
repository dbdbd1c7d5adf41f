"""A handful of documents, written here by hand: what engines answer from in these tests. Synthetic, all names invented."""

from __future__ import annotations

from datetime import UTC, datetime

from workbench.domain.documents import FieldSpan, SourceDocument


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def document(
    name: str,
    text: str,
    *,
    kind: str = "fund",
    title: str = "",
    time: str = "2026-06-30",
    fields: dict[str, tuple[str, str]] | None = None,
    version: str = "1",
) -> SourceDocument:
    """fields: name -> value and unit, at the value's first place in the text."""
    spans = {
        field: FieldSpan(value, unit, text.index(value), text.index(value) + len(value))
        for field, (value, unit) in (fields or {}).items()
    }
    return SourceDocument(name, kind, version, title or name, "hand", ms(time), "public", True, text, spans)
