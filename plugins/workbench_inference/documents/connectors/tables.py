"""CSV, XLSX and JSONL: one document a row. docs/sandbox-documents.md section 2."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from workbench.contracts.inference import ReadDocuments, ReadLimits, RejectedItem
from workbench.domain.documents import SourceDocument
from workbench.errors import InvalidRequest, Refused
from workbench.intake.table import Limits
from workbench.intake.xlsx_file import open_xlsx
from workbench_inference.documents.connectors.columns import Columns, Given, columns_of, document_of
from workbench_inference.documents.connectors.reading import Clock, check_file, decode, refuse, reject

UNPACKED_BYTES: Final = 64 << 20
_COLUMNS: Final = 100
_RESAVE: Final = ("请用表格软件打开后另存为 .xlsx", "open it in a spreadsheet program and save it as .xlsx")
_DELIMITERS: Final = (",", ";", "\t", "|")


class CsvConnector:
    """Comma, semicolon, tab or bar; UTF-8, UTF-16 with a mark, GB18030; cells of at most 131,072 characters."""

    name = "csv"
    suffixes: tuple[str, ...] = (".csv", ".tsv", ".txt")

    def read(self, content: bytes, *, kind: str, name: str, source: str, time_ms: int, limits: ReadLimits) -> ReadDocuments:
        """Raises InvalidRequest for a file that cannot be read as a whole."""
        check_file(content, kind, name)
        return _documents(_csv_rows(decode(content, name), name), Given(kind, name, source, time_ms, limits))


class XlsxConnector:
    """The first visible sheet of a workbook; dates of cells are kept as dates."""

    name = "xlsx"
    suffixes: tuple[str, ...] = (".xlsx",)

    def read(self, content: bytes, *, kind: str, name: str, source: str, time_ms: int, limits: ReadLimits) -> ReadDocuments:
        """Raises InvalidRequest for a file that cannot be read as a whole."""
        check_file(content, kind, name)
        _check_package(content, name)
        return _documents(_xlsx_rows(content, name), Given(kind, name, source, time_ms, limits))


class JsonLinesConnector:
    """One object a line; its members are the columns, and members of `fields` further ones."""

    name = "jsonl"
    suffixes: tuple[str, ...] = (".jsonl", ".ndjson")

    def read(self, content: bytes, *, kind: str, name: str, source: str, time_ms: int, limits: ReadLimits) -> ReadDocuments:
        """Raises InvalidRequest for a file that cannot be read as a whole."""
        check_file(content, kind, name)
        given, clock = Given(kind, name, source, time_ms, limits), Clock.of(limits, name)
        taken = _Taken(given)
        wrong = None
        for place, line in enumerate(io.StringIO(decode(content, name)), 1):
            clock.check()
            if not line.strip():
                continue
            if len(line) > limits.document_characters:
                taken.add(place, reject(place, "TEXT_TOO_LONG"))
                continue
            row = _json_row(line)
            if row is None:
                taken.add(place, reject(place, "JSON_MALFORMED"))
                continue
            try:
                columns = columns_of(tuple(row), kind, name)
            except InvalidRequest as error:
                wrong = error
                taken.add(place, reject(place, "TEXT_MISSING"))
                continue
            taken.add(place, document_of(tuple(row.values()), columns, place, given))
        if wrong is not None and not taken.documents:
            raise wrong
        return taken.read()


Row = tuple[int, tuple[str, ...]]


def _documents(rows: Iterator[Row], given: Given) -> ReadDocuments:
    """The first row is the heading."""
    clock = Clock.of(given.limits, given.name)
    columns: Columns | None = None
    taken = _Taken(given)
    for row in rows:
        clock.check()
        place, cells = row
        if columns is None:
            if len(cells) > _COLUMNS:
                raise refuse("FILE_TOO_LARGE", given.name, f"超过 {_COLUMNS} 列", f"more than {_COLUMNS} columns")
            columns = columns_of(cells, given.kind, given.name)
            continue
        if len(cells) > len(columns.headings) and not any(cells[len(columns.headings) :]):
            cells = cells[: len(columns.headings)]
        if len(cells) != len(columns.headings):
            taken.add(place, reject(place, "CELL_COUNT"))
            continue
        taken.add(place, document_of(cells, columns, place, given))
    if columns is None:
        raise refuse("HEADER_EMPTY", given.name, "没有列名", "there is no column name")
    return taken.read()


class _Taken:
    """What was taken of a file, and what not."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self.documents: list[SourceDocument] = []
        self._places: list[int] = []
        self._rejects: list[RejectedItem] = []

    def add(self, place: int, found: SourceDocument | RejectedItem) -> None:
        """Raises InvalidRequest FILE_TOO_LARGE where there are more than may be."""
        if isinstance(found, RejectedItem):
            self._rejects.append(found)
        else:
            self.documents.append(found)
            self._places.append(place)
        most = self._given.limits.documents
        if len(self.documents) + len(self._rejects) > most:
            raise refuse("FILE_TOO_LARGE", self._given.name, f"超过 {most} 份，请分成几个文件", f"more than {most} documents: split it")

    def read(self) -> ReadDocuments:
        return ReadDocuments(tuple(self.documents), tuple(self._rejects), tuple(self._places))


def _csv_rows(text: str, name: str) -> Iterator[Row]:
    first = next((line for line in io.StringIO(text) if line.strip()), "")
    delimiter = max(_DELIMITERS, key=first.count)
    # csv.field_size_limit is one for the whole process and stays as it is: 131,072 characters a cell.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    start = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield start, tuple(row)
            start = reader.line_num + 1
    except csv.Error as error:
        long = "field limit" in str(error)
        raise refuse(
            "CELL_TOO_LONG" if long else "FILE_QUOTES", name,
            f"第 {start} 行的单元格超过 131072 个字符" if long else f"第 {start} 行起引号不成对",
            f"a cell of line {start} is longer than 131072 characters" if long else f"quotation marks do not match from line {start} on",
            line=str(start),
        ) from error  # fmt: skip


def _check_package(content: bytes, name: str) -> None:
    """Refuse a package whose parts unpack to more than they say, or to too much, before anything reads one."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            parts = package.infolist()
            if len(parts) > 2_000 or sum(part.file_size for part in parts) > UNPACKED_BYTES:
                raise refuse("FILE_TOO_LARGE", name, "工作簿解压后过大，请分成几个文件", "the unpacked workbook is too large: split it")
            for part in parts:
                if part.flag_bits & 1:
                    raise refuse("FILE_ENCRYPTED", name, "工作簿已加密，请去掉密码后再导入", "the workbook is encrypted: save it without a password")
                if _unpacked(content, part) != part.file_size:
                    raise refuse("FILE_DAMAGED", name, f"工作簿已损坏，{_RESAVE[0]}", f"the workbook is damaged: {_RESAVE[1]}")
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, OSError) as error:
        old = content.startswith(b"\xd0\xcf\x11\xe0")
        raise refuse(
            "FILE_ENCRYPTED" if old else "FILE_DAMAGED", name,
            "是旧版 .xls 或加密的工作簿，请另存为不加密的 .xlsx" if old else f"不是 XLSX 工作簿，或已损坏，{_RESAVE[0]}",
            "it is an old or an encrypted workbook: save it as .xlsx without a password" if old else f"it is no XLSX workbook, or damaged: {_RESAVE[1]}",
        ) from error  # fmt: skip


def _unpacked(content: bytes, part: zipfile.ZipInfo) -> int:
    """How many bytes a part really unpacks to, at most one more than it says."""
    at = part.header_offset
    head = content[at : at + 30]
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise ValueError("no part begins there")
    begin = at + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    packed = content[begin : begin + part.compress_size]
    if part.compress_type == zipfile.ZIP_STORED:
        return len(packed)
    if part.compress_type != zipfile.ZIP_DEFLATED:
        raise NotImplementedError("another compression")
    unpacker, size = zlib.decompressobj(-15), 0
    while size <= part.file_size and not unpacker.eof:
        made = len(unpacker.decompress(packed, 1 << 20))
        packed = unpacker.unconsumed_tail
        size += made
        if not made and not packed:
            break
    return size


def _xlsx_rows(content: bytes, name: str) -> Iterator[Row]:
    # A file in memory with a path: nothing of a document is written to a disk.
    handle = os.memfd_create("documents", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(handle), "wb") as file:
            file.write(content)
        reader = open_xlsx(Path(f"/proc/self/fd/{handle}"), Limits(unpacked_bytes=UNPACKED_BYTES, columns=_COLUMNS), None)
        yield reader.info.header_line, reader.info.header
        for batch in reader.batches():
            for line, row in zip(batch.lines, batch.frame.iter_rows(), strict=True):
                yield line, tuple(_plain_date(cell or "") for cell in row)
    except InvalidRequest:
        raise
    except Refused as error:
        shown = (f"“{handle}”", f'"{handle}"')
        raise refuse(
            error.code, name, error.zh.replace(shown[0], "").removeprefix("文件未导入："), error.en.replace(shown[1], "").partition(": ")[2]
        ) from None
    finally:
        os.close(handle)


def _plain_date(cell: str) -> str:
    """A date of a workbook comes with the time 00:00:00."""
    return cell[:10] if len(cell) == 19 and cell.endswith(" 00:00:00") else cell


def _json_row(line: str) -> dict[str, str] | None:
    """An object's members as text, numbers as they are spelled; None for anything else."""
    try:
        value: Any = json.loads(line, parse_float=str, parse_int=str, parse_constant=_no_constant, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    further = value.pop("fields", {})
    row: dict[str, str] = {}
    for name, member in _members(value, further):
        if isinstance(member, str):
            row[name] = member
        elif isinstance(member, dict) and isinstance(member.get("value"), str):
            row[name] = member["value"]
    return row


def _members(value: dict[str, Any], further: Any) -> Iterable[tuple[str, Any]]:
    yield from value.items()
    if isinstance(further, dict):
        yield from further.items()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member stands there twice")
    return found


def _no_constant(spelled: str) -> str:
    raise ValueError(spelled)
