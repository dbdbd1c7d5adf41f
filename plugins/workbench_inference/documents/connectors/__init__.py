"""Files into documents: CSV, XLSX, JSONL, PDF and Markdown, each for the five kinds that questions are answered from.

A connector is pure and bounded: bytes in, documents and rejected places out, nothing evaluated, nothing written.
docs/sandbox-documents.md.
"""

from __future__ import annotations

from typing import Final

from workbench.contracts.inference import DocumentConnector
from workbench_inference.documents.connectors.markdown import MarkdownConnector
from workbench_inference.documents.connectors.pdf import PdfConnector
from workbench_inference.documents.connectors.tables import CsvConnector, JsonLinesConnector, XlsxConnector

CONNECTORS: Final[tuple[DocumentConnector, ...]] = (
    CsvConnector(),
    XlsxConnector(),
    JsonLinesConnector(),
    PdfConnector(),
    MarkdownConnector(),
)

__all__ = ["CONNECTORS"]
