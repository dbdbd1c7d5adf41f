"""What every reader of customer files returns: where the table was found, and its rows as strings in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

import polars as pl

FileKind = Literal["csv", "xlsx", "parquet"]

CELL_CHARACTERS: Final = 1000
"""A longer cell is refused with its row: no tag needs it, and it is what a stray quotation mark leaves behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that keep one file from filling the memory.

    size_bytes: of the file. rows: CSV and Parquet, header excluded. xlsx_rows: XLSX is read whole, hence fewer.
    unpacked_bytes: of all parts of an XLSX file, or of one row group of a Parquet file. batch_rows: rows at once.
    """

    size_bytes: int = 2 << 30
    rows: int = 5_000_000
    xlsx_rows: int = 200_000
    columns: int = 200
    unpacked_bytes: int = 512 << 20
    line_bytes: int = 1 << 20
    batch_rows: int = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TableInfo:
    """How a file was read.

    header: names as in the file, in order; may repeat or be empty. header_line: 1-based line or sheet row.
    rows_estimate: rows behind the header; exact for Parquet, an upper bound otherwise.
    """

    file: str
    kind: FileKind
    header: tuple[str, ...]
    header_line: int
    rows_estimate: int
    encoding: str = ""
    delimiter: str = ""
    sheet: str = ""
    sheets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows. Blank rows are left out.

    frame: string columns named "0", "1", ... in file order; null or "" where a cell is empty.
    lines: for each row its 1-based line (CSV: where the record starts) or sheet row; Parquet counts from 1.
    misfits: lines of rows with another number of cells than the header; they are not in `frame`.
    """

    frame: pl.DataFrame
    lines: pl.Series
    misfits: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TableReader:
    """An inspected file. `batches` reads it from the start each time it is called."""

    info: TableInfo
    batches: Callable[[], Iterator[Batch]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Table:
    """A whole small table: string columns "0", "1", ..., and the line of every row."""

    info: TableInfo
    frame: pl.DataFrame = field(repr=False)
    lines: pl.Series = field(repr=False)
    misfits: tuple[int, ...]


def column_names(width: int) -> list[str]:
    """The names of the columns of a batch."""
    return [str(index) for index in range(width)]


def without_blank_rows(frame: pl.DataFrame, lines: pl.Series, misfits: tuple[int, ...] = ()) -> Batch:
    """A batch of the rows that have at least one cell."""
    is_blank = frame.select(pl.all_horizontal(pl.all().is_null() | (pl.all() == ""))).to_series()
    if is_blank.any():
        frame, lines = frame.filter(~is_blank), lines.filter(~is_blank)
    return Batch(frame, lines, misfits)
