"""Opening a file of customers: what it really is, whether it is safe to read, and its rows as strings.

The name must say what the content is. A spreadsheet renamed to .csv would otherwise be read as garbage, and a file
that lies about its kind is refused with both kinds named. Nothing in a file is ever evaluated.
Document: docs/intake.md.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

import polars as pl

from workbench.intake.csv_file import open_csv
from workbench.intake.parquet_file import open_parquet
from workbench.intake.reasons import refuse_file, shown_text
from workbench.intake.table import FileKind, Limits, Table, TableReader
from workbench.intake.xlsx_file import open_xlsx

SUFFIXES: Final[dict[str, FileKind]] = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "csv",
    ".xlsx": "xlsx",
    ".parquet": "parquet",
    ".pq": "parquet",
}

# What a content is called, in Chinese and English.
_CONTENTS: Final[dict[str, tuple[str, str]]] = {
    "csv": ("文本", "text"),
    "xlsx": ("Excel 工作簿（.xlsx）", "an Excel workbook (.xlsx)"),
    "parquet": ("Parquet 文件", "a Parquet file"),
    "ole": ("旧版 Excel（.xls）或加密的工作簿", "an old Excel workbook (.xls) or an encrypted one"),
    "zip": ("压缩包", "a zip archive"),
    "html": ("网页（HTML 或 XML）", "a web page (HTML or XML)"),
    "pdf": ("PDF 文件", "a PDF file"),
    "gzip": ("gzip 压缩文件", "a gzip archive"),
    "sqlite": ("SQLite 数据库", "a SQLite database"),
}
_MAGIC: Final = (
    (b"PAR1", "parquet"),
    (b"PARE", "parquet"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
    (b"%PDF", "pdf"),
    (b"\x1f\x8b", "gzip"),
    (b"SQLite format 3\x00", "sqlite"),
)
_MARKUP: Final = (b"<!doctype", b"<html", b"<?xml", b"<table", b"<head", b"<body", b"<meta", b"<script")


def open_table(path: str | Path, *, sheet: str | None = None, limits: Limits | None = None) -> TableReader:
    """Inspect a CSV, XLSX or Parquet file and return its header and a way to read its rows.

    sheet: which sheet of a workbook; the first visible one when None.
    Raises Refused with a code of FILE_REASONS; the message names the file's last part, and line and column if any.
    Memory: one batch of rows for CSV and Parquet; the whole sheet for XLSX.
    """
    path = Path(path)
    limits = limits or Limits()
    kind = _check_kind(path, limits)
    if sheet is not None and kind != "xlsx":
        raise refuse_file(
            "SHEET_UNKNOWN", path, "只有 XLSX 文件才有工作表", "only XLSX files have sheets", sheet=shown_text(sheet)
        )
    if kind == "csv":
        reader = open_csv(path, limits)
    elif kind == "xlsx":
        reader = open_xlsx(path, limits, sheet)
    else:
        reader = open_parquet(path, limits)
    if not any(name.strip() for name in reader.info.header):
        raise refuse_file("HEADER_EMPTY", path, "第一行没有列名", "the first row holds no column name")
    return reader


def read_table(
    path: str | Path, *, sheet: str | None = None, max_rows: int | None = None, limits: Limits | None = None
) -> Table:
    """The rows of a file, at most the first `max_rows`, as one frame of strings. For previews and small files.

    Raises Refused as `open_table` does.
    """
    reader = open_table(path, sheet=sheet, limits=limits)
    frames: list[pl.DataFrame] = []
    lines: list[pl.Series] = []
    misfits: list[int] = []
    height = 0
    for batch in reader.batches():
        frames.append(batch.frame)
        lines.append(batch.lines)
        misfits.extend(batch.misfits)
        height += batch.frame.height
        if max_rows is not None and height >= max_rows:
            break
    if not frames:
        empty = pl.DataFrame({str(index): pl.Series([], dtype=pl.String) for index in range(len(reader.info.header))})
        return Table(reader.info, empty, pl.Series("line", [], dtype=pl.Int64), ())
    frame, numbers = pl.concat(frames), pl.concat(lines)
    limit = frame.height if max_rows is None else max_rows
    return Table(reader.info, frame.head(limit), numbers.head(limit), tuple(misfits))


def _check_kind(path: Path, limits: Limits) -> FileKind:
    """The kind that name and content agree on."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise refuse_file("FILE_MISSING", path, "不是文件", "it is not a file")
        with path.open("rb") as handle:
            head = handle.read(4096)
    except OSError as error:
        raise refuse_file(
            "FILE_MISSING", path, "文件不存在或无法打开", "it does not exist or cannot be opened"
        ) from error
    if not head.strip(b"\xef\xbb\xbf \t\r\n"):
        raise refuse_file("FILE_EMPTY", path, "文件是空的", "the file is empty")
    if size > limits.size_bytes:
        raise refuse_file(
            "FILE_TOO_LARGE", path, f"超过 {limits.size_bytes} 字节", f"it has more than {limits.size_bytes} bytes"
        )
    wanted = SUFFIXES.get(path.suffix.lower())
    content = _content(path, head)
    if wanted is None:
        known = "、".join(sorted(SUFFIXES))
        raise refuse_file(
            "FILE_KIND",
            path,
            f"不支持该后缀，支持：{known}",
            f"this suffix is not supported; supported are: {', '.join(sorted(SUFFIXES))}",
        )
    if content != wanted:
        wanted_zh, wanted_en = _CONTENTS[wanted]
        found_zh, found_en = _CONTENTS[content]
        raise refuse_file(
            "FILE_KIND",
            path,
            f"后缀 {path.suffix.lower()} 应为{wanted_zh}，内容却是{found_zh}，请用原软件另存为 CSV UTF-8 或 .xlsx",
            f"by its suffix {path.suffix.lower()} it should be {wanted_en}, but the content is {found_en}: "
            "save it from its own program as CSV UTF-8 or .xlsx",
            content=content,
        )
    return wanted


def _content(path: Path, head: bytes) -> str:
    for magic, content in _MAGIC:
        if head.startswith(magic):
            return content
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        try:
            with zipfile.ZipFile(path) as package:
                return "xlsx" if "xl/workbook.xml" in package.namelist() else "zip"
        except (zipfile.BadZipFile, OSError, ValueError):
            return "xlsx" if path.suffix.lower() == ".xlsx" else "zip"  # a cut-off workbook: its reader will say so
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_MARKUP):
        return "html"
    return "csv"
