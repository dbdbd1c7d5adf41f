"""The process that reads one PDF: bytes on its input, title and pages as JSON on its output. Started by pdf.py alone.

Runs as a file, so that it loads nothing of the workbench. It sets its limits before it reads a byte, and knows no file.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import resource
import sys
from typing import Any


def main() -> None:
    limits: dict[str, int] = json.loads(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (limits["memory"], limits["memory"]))
    resource.setrlimit(resource.RLIMIT_CPU, (limits["seconds"], limits["seconds"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # pipes are not files
    logging.disable(logging.CRITICAL)  # of this process: the parser writes what it finds odd
    content = sys.stdin.buffer.read()
    try:
        reply = _read(content, limits)
    except (MemoryError, RecursionError):
        reply = {"code": "PDF_TOO_LARGE"}
    except Exception as error:  # noqa: BLE001 - any fault of a foreign parser means the same to whoever imports
        reply = {"code": "PDF_TOO_LARGE" if "Limit" in type(error).__name__ else "PDF_DAMAGED"}
    sys.stdout.write(json.dumps(reply))


def _read(content: bytes, limits: dict[str, int]) -> dict[str, Any]:
    from pypdf import PdfReader
    from pypdf.errors import FileNotDecryptedError

    reader = PdfReader(io.BytesIO(content), strict=False)
    if reader.is_encrypted:
        return {"code": "PDF_ENCRYPTED"}
    pages: list[str] = []
    room = limits["characters"]
    try:
        if len(reader.pages) > limits["pages"]:
            return {"code": "PDF_TOO_LARGE"}
        for page in reader.pages:
            pages.append(page.extract_text())
            room -= len(pages[-1])
            if room < 0:
                return {"code": "PDF_TOO_LARGE"}
    except FileNotDecryptedError:
        return {"code": "PDF_ENCRYPTED"}
    title = ""
    with contextlib.suppress(Exception):  # a title is a courtesy
        title = str(reader.metadata.title or "")[:200] if reader.metadata else ""
    return {"title": title, "pages": pages}


if __name__ == "__main__":
    main()
