"""Markdown and plain notes: one document a file; what stands between two lines of `---` at its begin names it."""

from __future__ import annotations

import re
from typing import Final

from workbench.contracts.inference import ReadDocuments, ReadLimits, RejectedItem
from workbench_inference.documents.connectors.columns import Given, finished, labelled
from workbench_inference.documents.connectors.reading import Clock, check_file, decode, is_fit, refuse, reject, titled

_HEAD: Final = re.compile(r"---\n((?:[^\n]{0,500}\n){0,40}?)---\n")
_MEMBER: Final = re.compile(r"(\w{1,20})\s*[:：]\s*(.{1,400})")
_NAMES: Final = {
    "id": "document", "编号": "document", "document": "document", "title": "title", "标题": "title", "source": "source", "来源": "source",
    "time": "time", "date": "time", "日期": "time", "时间": "time", "version": "version", "版本": "version", "class": "class", "分级": "class",
}  # fmt: skip
_HEADING: Final = re.compile(r"^#{1,6}[ \t]+(\S[^\n]{0,200})$", re.MULTILINE)


class MarkdownConnector:
    """The text is kept as it stands behind the head; of a fund, lines `label：value` are its fields."""

    name = "markdown"
    suffixes: tuple[str, ...] = (".md", ".markdown")

    def read(self, content: bytes, *, kind: str, name: str, source: str, time_ms: int, limits: ReadLimits) -> ReadDocuments:
        """Raises InvalidRequest for a file that cannot be read as a whole."""
        check_file(content, kind, name)
        if kind == "quote":
            raise refuse("DOCUMENT_KIND", name, "行情请用表格文件导入", "quotes come in tables: use CSV, XLSX or JSONL")
        clock = Clock.of(limits, name)
        text = decode(content, name)
        stated: dict[str, str] = {}
        if head := _HEAD.match(text):
            text = text[head.end() :].lstrip("\n")
            for line in head[1].splitlines():
                member = _MEMBER.fullmatch(line.strip())
                if member and member[1].casefold() in _NAMES:
                    stated[_NAMES[member[1].casefold()]] = member[2].strip().strip("\"'")
        if len(text) > limits.document_characters:
            return ReadDocuments((), (reject(1, "TEXT_TOO_LONG"),))
        if not is_fit(text):
            return ReadDocuments((), (reject(1, "CHARACTERS"),))
        heading = _HEADING.search(text)
        title = stated.get("title") or (heading[1].strip() if heading else titled(name))
        fields = labelled(text) if kind == "fund" else {}
        clock.check()
        made = finished(1, Given(kind, name, source, time_ms, limits), text=text, fields=fields, title=title, stated=stated)
        return ReadDocuments((), (made,)) if isinstance(made, RejectedItem) else ReadDocuments((made,), (), (1,))
