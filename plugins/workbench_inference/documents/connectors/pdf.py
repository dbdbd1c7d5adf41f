"""PDF: one document a file, the text of its pages. Read by a process of its own (pdf_text.py) with limits of its own.

A PDF file is a program of sorts: small files unpack to gigabytes and loops of references never end. What reads one may
be killed at any time, and takes the node's memory with it in no case. No picture is read: a scan has no text.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from workbench.contracts.inference import ReadDocuments, ReadLimits, RejectedItem
from workbench_inference.documents.connectors.columns import Given, finished, labelled
from workbench_inference.documents.connectors.reading import UNFIT, check_file, refuse, reject, titled

MEMORY_BYTES: Final = 768 << 20
_PROGRAM: Final = Path(__file__).with_name("pdf_text.py")
_REASONS: Final = {
    "PDF_ENCRYPTED": ("文件已加密，请去掉密码后再导入", "it is encrypted: save it without a password"),
    "PDF_DAMAGED": ("文件已损坏，或不是 PDF，请重新导出", "it is damaged, or no PDF: export it again"),
    "PDF_TOO_LARGE": ("解开后过大，或页数、字数超过上限，请分成几份", "it unpacks to too much, or has too many pages or characters: split it"),
    "READ_TOO_SLOW": ("读取超过时间上限，请分成几份，或改用文字版", "reading it took longer than allowed: split it, or use a version of plain text"),
}


class PdfConnector:
    """Text of the pages, one after another; pages without text are named. For funds, news and prompts."""

    name = "pdf"
    suffixes: tuple[str, ...] = (".pdf",)

    def read(self, content: bytes, *, kind: str, name: str, source: str, time_ms: int, limits: ReadLimits) -> ReadDocuments:
        """Raises InvalidRequest for a file that cannot be read as a whole."""
        check_file(content, kind, name)
        if kind in ("quote", "question"):
            raise refuse("DOCUMENT_KIND", name, "行情与客户问题请用表格文件导入", "quotes and questions come in tables: use CSV, XLSX or JSONL")
        found = _pages(content, name, limits)
        pages = [_clean(page) for page in found["pages"]]
        empty = tuple(reject(place, "PAGE_EMPTY") for place, page in enumerate(pages, 1) if not page.strip())
        text = "\n".join(page.rstrip("\n") for page in pages if page.strip()) + "\n"
        title = _clean(str(found["title"])).strip() or next((line.strip()[:80] for line in text.splitlines() if line.strip()), titled(name))
        fields = labelled(text) if kind == "fund" else {}
        made = finished(1, Given(kind, name, source, time_ms, limits), text=text, fields=fields, title=title, stated={})
        if isinstance(made, RejectedItem):
            return ReadDocuments((), (*empty, made)) if empty else ReadDocuments((), (made,))
        return ReadDocuments((made,), empty, (1,))


def _pages(content: bytes, name: str, limits: ReadLimits) -> dict[str, Any]:
    asked = json.dumps({"memory": MEMORY_BYTES, "pages": limits.pages, "characters": limits.document_characters, "seconds": limits.milliseconds // 1000 + 1})
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(_PROGRAM), asked],
            input=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=limits.milliseconds / 1000,
            env={},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _refuse("READ_TOO_SLOW", name) from None
    try:
        reply: Any = json.loads(done.stdout)
        if "code" in reply:
            raise _refuse(reply["code"] if reply["code"] in _REASONS else "PDF_DAMAGED", name)
        return {"title": str(reply["title"]), "pages": [str(page) for page in reply["pages"]]}
    except (ValueError, KeyError, TypeError):
        raise _refuse("PDF_TOO_LARGE" if done.returncode else "PDF_DAMAGED", name) from None  # it was killed by a limit


def _refuse(code: str, name: str) -> Exception:
    zh, en = _REASONS[code]
    return refuse(code, name, zh, en)


def _clean(text: str) -> str:
    """Without control characters, which fonts without a map leave behind."""
    return UNFIT.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
