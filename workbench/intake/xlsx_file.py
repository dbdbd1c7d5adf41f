"""Reading XLSX through fastexcel, after a look at the package itself.

The look comes first for two reasons. A sheet is laid out in memory as a full rectangle, so one cell in a far corner of
a small file would fill it: rows, columns and unpacked sizes are bounded before. And a number of more than 15 digits
has lost its last digits already when Excel stored it, but reads as 18 plausible digits: such cells are found in the
package and handed on in scientific notation, which the normalisation refuses. Text cells stay text, formula cells are
the values stored with them. Source: ECMA-376 Part 1, 18.3 (sheets); Excel specifications (15 digits of precision).
"""

from __future__ import annotations

import posixpath
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO, Final
from xml.etree import ElementTree

import fastexcel
import polars as pl

from workbench.intake.reasons import refuse_file, shown_name, shown_text
from workbench.intake.table import Batch, Limits, TableInfo, TableReader, column_names, without_blank_rows

_BLOCK_BYTES: Final = 1 << 20
_PARTS: Final = 2_000
_INDEX_BYTES: Final = 4 << 20
_EXACT_BELOW: Final = Decimal(10) ** 15

_REFERENCE = re.compile(rb"""\br=["']([A-Z]{1,3})([0-9]{1,7})["']""")
_FILLED_CELL = re.compile(rb"""<(?:\w+:)?c\s[^>]*?\br=["']([A-Z]{1,3})[0-9]{1,7}["'][^>/]*>""")
_CELL = re.compile(rb"<(?:\w+:)?c[\s>/]")
_ROW = re.compile(rb"<(?:\w+:)?row[\s>/]")
_LONG_NUMBER = re.compile(rb"<(?:\w+:)?v>(-?[0-9]{16,}(?:\.[0-9]*)?|-?[0-9]+(?:\.[0-9]*)?[eE]\+?[0-9]+)</")
_CELL_TYPE = re.compile(rb"""\st=["'](\w+)["']""")

_RELATION: Final = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


@dataclass(slots=True)
class _Layout:
    """What the package says about one sheet; rows and columns are 1-based."""

    last_row: int = 0
    last_column: int = 0
    rows: int = 0
    has_cells_without_place: bool = False
    first_filled_column: int = 0
    long_numbers: dict[int, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))


def open_xlsx(path: Path, limits: Limits, sheet: str | None) -> TableReader:
    """Inspect the package and read one sheet (the first visible one when `sheet` is None)."""
    try:
        with zipfile.ZipFile(path) as package:
            parts = package.infolist()
            if len(parts) > _PARTS or sum(part.file_size for part in parts) > limits.unpacked_bytes:
                raise refuse_file("FILE_TOO_LARGE", path, "工作簿解压后过大", "the unpacked workbook is too large")
            visible, members = _sheets(package)
            name = _choose(path, sheet, visible, members)
            with package.open(members[name]) as stream:
                layout = _scan(stream, limits, path)
    except (zipfile.BadZipFile, zlib.error, OSError, KeyError, EOFError, ValueError, NotImplementedError) as error:
        raise _damaged(path) from error
    except (ElementTree.ParseError, RuntimeError) as error:  # RuntimeError: the package is encrypted
        raise _damaged(path) from error
    frame = _load(path, name, limits)
    header_at = _first_row(frame)
    if header_at is None:
        shown = shown_text(name)
        raise refuse_file("FILE_EMPTY", path, f"工作表“{shown}”是空的", f'sheet "{shown}" is empty', sheet=shown)
    header = tuple((cell or "") for cell in frame.row(header_at))
    info = TableInfo(
        file=shown_name(path),
        kind="xlsx",
        header=header,
        header_line=header_at + 1,
        rows_estimate=frame.height - header_at - 1,
        sheet=shown_text(name),
        sheets=tuple(shown_text(one) for one in visible),
    )
    return TableReader(info, lambda: _batches(path, frame, layout, info, limits))


def _batches(path: Path, frame: pl.DataFrame, layout: _Layout, info: TableInfo, limits: Limits) -> Iterator[Batch]:
    frame = frame.rename(dict(zip(frame.columns, column_names(frame.width), strict=True)))
    for column, cells in layout.long_numbers.items():
        index = column - layout.first_filled_column
        if 0 <= index < frame.width:
            places = pl.Series([row - 1 for row in cells], dtype=pl.Int64)
            texts = pl.Series(list(cells.values()), dtype=pl.String)
            frame = frame.with_columns(frame[str(index)].scatter(places, texts))
    rows = 0
    for start in range(info.header_line, frame.height, limits.batch_rows):
        part = frame.slice(start, limits.batch_rows)
        lines = pl.int_range(start + 1, start + 1 + part.height, dtype=pl.Int64, eager=True).alias("line")
        batch = without_blank_rows(part, lines)
        rows += batch.frame.height
        if rows > limits.xlsx_rows:
            raise _too_many(path, limits)
        yield batch


def _load(path: Path, sheet: str, limits: Limits) -> pl.DataFrame:
    try:
        # skip_rows=0 keeps empty rows in front, so that the index of a row is its number in the sheet.
        loaded = fastexcel.read_excel(path).load_sheet(sheet, header_row=None, skip_rows=0, dtypes="string")
        if loaded.width == 0 or loaded.height == 0:
            return pl.DataFrame({"0": pl.Series([], dtype=pl.String)})
        if loaded.height > limits.xlsx_rows + 1_000 or loaded.width > limits.columns:
            raise _too_many(path, limits)
        return loaded.to_polars()
    except fastexcel.FastExcelError as error:
        raise _damaged(path) from error


def _first_row(frame: pl.DataFrame) -> int | None:
    """The index of the first row with a cell that is not blank."""
    filled = frame.select(pl.any_horizontal(pl.all().str.strip_chars().fill_null("") != "")).to_series()
    return filled.arg_max() if filled.any() else None


def _sheets(package: zipfile.ZipFile) -> tuple[list[str], dict[str, str]]:
    """Names of the visible sheets in order, and the package member of every sheet."""
    book = _small_xml(package, "xl/workbook.xml")
    relations = _small_xml(package, "xl/_rels/workbook.xml.rels")
    targets = {one.get("Id", ""): one.get("Target", "") for one in relations}
    visible: list[str] = []
    members: dict[str, str] = {}
    for one in book.iterfind(".//{*}sheets/{*}sheet"):
        target = targets.get(one.get(_RELATION, ""), "")
        name = one.get("name", "")
        member = target.lstrip("/") if target.startswith("/") else posixpath.normpath(f"xl/{target}")
        if "worksheets/" in member:  # chart sheets hold no cells
            members[name] = member
            if one.get("state", "visible") == "visible":
                visible.append(name)
    return visible, members


def _small_xml(package: zipfile.ZipFile, member: str) -> ElementTree.Element:
    if package.getinfo(member).file_size > _INDEX_BYTES:
        raise ValueError("an index of the package is too large")
    data = package.read(member)
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ValueError("the package defines XML entities")
    return ElementTree.fromstring(data)


def _choose(path: Path, sheet: str | None, visible: list[str], members: dict[str, str]) -> str:
    if sheet is None:
        if not visible:
            raise refuse_file("FILE_EMPTY", path, "没有可见的工作表", "there is no visible sheet")
        return visible[0]
    for name in members:
        if name == sheet or shown_text(name) == sheet:
            return name
    known = "、".join(shown_text(name) for name in visible[:20])
    raise refuse_file(
        "SHEET_UNKNOWN",
        path,
        f"没有工作表“{shown_text(sheet)}”，现有：{known}",
        f'there is no sheet "{shown_text(sheet)}"; there are: {known}',
        sheet=shown_text(sheet),
    )


def _scan(stream: IO[bytes], limits: Limits, path: Path) -> _Layout:
    """Read the XML of a sheet once, in blocks, without building it in memory."""
    layout = _Layout()
    left = b""
    seen = 0
    while block := stream.read(_BLOCK_BYTES):
        seen += len(block)
        if seen > limits.unpacked_bytes:
            raise refuse_file("FILE_TOO_LARGE", path, "工作表解压后过大", "the unpacked sheet is too large")
        data = left + block
        # Cut in front of the last cell or row that may continue in the next block.
        cut = max(data.rfind(b"<c "), data.rfind(b"<row"), data.rfind(b":c "), data.rfind(b":row"))
        cut = data.rfind(b"<", 0, max(cut, 0) + 1) if cut >= 0 else data.rfind(b"<")
        cut = cut if cut >= 0 else len(data)
        if len(data) - cut > 2 * _BLOCK_BYTES:
            raise refuse_file("FILE_TOO_LARGE", path, "有过长的单元格", "a cell is too long")
        _scan_part(data[:cut], layout)
        left = data[cut:]
        _check_layout(layout, limits, path)
    _scan_part(left, layout)
    _check_layout(layout, limits, path)
    return layout


def _scan_part(data: bytes, layout: _Layout) -> None:
    layout.rows += len(_ROW.findall(data))
    references = _REFERENCE.findall(data)
    if len(_CELL.findall(data)) > len(references):
        layout.has_cells_without_place = True
    if references:
        layout.last_row = max(layout.last_row, max(int(row) for _, row in references))
        layout.last_column = max(layout.last_column, max(_column_number(c) for c in {c for c, _ in references}))
    if layout.first_filled_column != 1:
        for found in _FILLED_CELL.finditer(data):
            column = _column_number(found[1])
            if not layout.first_filled_column or column < layout.first_filled_column:
                layout.first_filled_column = column
                if column == 1:
                    break
    for found in _LONG_NUMBER.finditer(data):
        _note_long_number(data, found, layout)


def _note_long_number(data: bytes, found: re.Match[bytes], layout: _Layout) -> None:
    start = max(data.rfind(b"<c ", 0, found.start()), data.rfind(b":c ", 0, found.start()))
    tag = data[start : data.find(b">", start)]
    kind = _CELL_TYPE.search(tag)
    reference = _REFERENCE.search(tag)
    if reference is None or (kind and kind[1] != b"n"):
        return  # text and text results of formulas keep all their digits
    try:
        number = Decimal(found[1].decode("ascii"))
    except InvalidOperation:
        return
    if abs(number) >= _EXACT_BELOW:
        layout.long_numbers[_column_number(reference[1])][int(reference[2])] = f"{number:.5E}"


def _check_layout(layout: _Layout, limits: Limits, path: Path) -> None:
    if layout.has_cells_without_place:
        # ECMA-376 allows it, but then neither the size of the sheet nor the place of a spoilt number is known here.
        raise refuse_file(
            "FILE_DAMAGED",
            path,
            "工作表的单元格没有注明位置，请用 Excel 打开后另存为 .xlsx",
            "the cells of the sheet do not name their places: open it in Excel and save it as .xlsx",
        )
    # A thousand rows more than allowed may stand blank in front or behind.
    if max(layout.last_row, layout.rows) > limits.xlsx_rows + 1_000 or layout.last_column > limits.columns:
        raise _too_many(path, limits)


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _too_many(path: Path, limits: Limits) -> Exception:
    return refuse_file(
        "FILE_TOO_LARGE",
        path,
        f"工作表超过 {limits.xlsx_rows} 行或 {limits.columns} 列，请改用 CSV",
        f"the sheet has more than {limits.xlsx_rows} rows or {limits.columns} columns: use CSV",
    )


def _damaged(path: Path) -> Exception:
    return refuse_file("FILE_DAMAGED", path, "XLSX 文件已损坏或被加密", "the XLSX file is damaged or encrypted")
