"""Reading Parquet: its own description is checked before anything is unpacked, then rows come in batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no type information
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from workbench.intake.reasons import refuse_file, shown_name, shown_text
from workbench.intake.table import Batch, Limits, TableInfo, TableReader, column_names, without_blank_rows

_LONGEST_VALUE_BYTES = 64 << 10


def open_parquet(path: Path, limits: Limits) -> TableReader:
    """Inspect the footer of a Parquet file: types, rows, columns and unpacked sizes, before any page is read."""
    try:
        with pq.ParquetFile(path) as file:
            metadata, schema = file.metadata, file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path) from error
    if metadata.num_rows > limits.rows:
        raise refuse_file("FILE_TOO_LARGE", path, f"超过 {limits.rows} 行", f"more than {limits.rows} rows")
    if len(schema) > limits.columns:
        raise refuse_file("FILE_TOO_LARGE", path, f"超过 {limits.columns} 列", f"more than {limits.columns} columns")
    for index in range(metadata.num_row_groups):
        if metadata.row_group(index).total_byte_size > limits.unpacked_bytes:
            raise refuse_file(
                "FILE_TOO_LARGE", path, f"第 {index + 1} 个行组过大", f"row group {index + 1} is too large"
            )
    for field in schema:
        if not _is_plain(field.type):
            column = shown_text(field.name)
            raise refuse_file(
                "COLUMN_TYPE",
                path,
                f"列“{column}”的类型无法作为文本读取",
                f'the type of column "{column}" cannot be read as text',
                column=column,
            )
    if not schema.names:
        raise refuse_file("HEADER_EMPTY", path, "没有列", "there is no column")
    info = TableInfo(
        file=shown_name(path),
        kind="parquet",
        header=tuple(schema.names),
        header_line=0,
        rows_estimate=metadata.num_rows,
    )
    return TableReader(info, lambda: _batches(path, info, limits))


def _batches(path: Path, info: TableInfo, limits: Limits) -> Iterator[Batch]:
    names = column_names(len(info.header))
    line = 1
    try:
        # Text is left in its dictionaries, so that one long value repeated a million times stays one value until
        # its length has been looked at.
        with pq.ParquetFile(path, read_dictionary=list(dict.fromkeys(info.header))) as file:
            for batch in file.iter_batches(batch_size=limits.batch_rows):
                columns = [_texts(path, name, column) for name, column in zip(info.header, batch.columns, strict=True)]
                frame = pl.DataFrame([column.alias(name) for name, column in zip(names, columns, strict=True)])
                lines = pl.int_range(line, line + frame.height, dtype=pl.Int64, eager=True).alias("line")
                line += frame.height
                del batch, columns
                # The pool of Arrow keeps what it freed; polars uses another one, so both would hold a peak.
                pa.default_memory_pool().release_unused()
                yield without_blank_rows(frame, lines)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path) from error


def _texts(path: Path, name: str, column: pa.Array) -> pl.Series:
    if pa.types.is_dictionary(column.type):
        if _longest(column.dictionary) > _LONGEST_VALUE_BYTES:
            raise _too_long(path, name)
        column = column.cast(column.type.value_type)
    if _is_text(column.type):
        if _longest(column) > _LONGEST_VALUE_BYTES:
            raise _too_long(path, name)
    elif pa.types.is_timestamp(column.type):
        # With its zone where it has one: an instant without zone means Shanghai time, see docs/intake.md.
        column = pc.strftime(column, format="%Y-%m-%dT%H:%M:%S" + ("%z" if column.type.tz else ""))
    series = pl.from_arrow(column.cast(pa.large_string()))
    assert isinstance(series, pl.Series)
    return series


def _longest(column: pa.Array) -> int:
    return (pc.max(pc.binary_length(column)).as_py() or 0) if _is_text(column.type) else 0


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        _is_text(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_date(kind)
        or pa.types.is_timestamp(kind)
        or pa.types.is_null(kind)
    )


def _too_long(path: Path, name: str) -> Exception:
    column = shown_text(name)
    return refuse_file(
        "FILE_TOO_LARGE",
        path,
        f"列“{column}”有过长的单元格",
        f'column "{column}" has a cell that is too long',
        column=column,
    )


def _damaged(path: Path) -> Exception:
    return refuse_file("FILE_DAMAGED", path, "Parquet 文件已损坏或被加密", "the Parquet file is damaged or encrypted")
