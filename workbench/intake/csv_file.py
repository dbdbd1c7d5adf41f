"""Reading CSV: encoding and delimiter found, every record with its line, bounded memory, damage refused by line.

Python's own csv module says what a record is: in strict mode it is the one reader at hand that counts physical lines
through quoted newlines and refuses misplaced quotation marks. Cost: about 5 microseconds a row of seven cells. A text
without quotation marks needs none of that: where every line has the header's number of cells, polars splits it, at a
tenth of the cost and with the same result; any other stretch of it goes through the csv module.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from workbench.intake.reasons import refuse_file, shown_name
from workbench.intake.table import Batch, Limits, TableInfo, TableReader, column_names, without_blank_rows

DELIMITERS: Final = (",", ";", "\t")

_BLOCK_BYTES: Final = 1 << 20
_FIELD_BYTES: Final = 1 << 16
"""No line of a text that polars may split is longer; the csv module refuses cells of twice as many characters."""
# A text in GB18030 does not contain this many well-formed UTF-8 characters before the first malformed one: the
# file is UTF-8 with damage, and reading it as GB18030 would silently turn names into other characters.
_UTF8_EVIDENCE: Final = 6
_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_GB18030_MARK: Final = b"\x84\x31\x95\x33"


@dataclass(frozen=True, slots=True)
class _Text:
    encoding: str  # a codec name
    label: str  # as reports show it
    lines: int
    is_plain: bool = False  # no quotation mark, no line end of one carriage return, no very long line


def open_csv(path: Path, limits: Limits) -> TableReader:
    """Inspect a CSV file completely (bytes and encoding) and its header; rows are parsed by `batches`."""
    text = _inspect(path, limits)
    if text.lines - 1 > limits.rows:
        raise _too_many_rows(path, limits)
    with path.open(encoding=text.encoding, newline="") as handle:
        first = ""
        for first in handle:
            if first.strip("\ufeff \t\r\n"):
                break
    if not first.strip("\ufeff \t\r\n"):
        raise refuse_file("FILE_EMPTY", path, "文件是空的", "the file is empty")
    delimiter = _delimiter(first)
    records = _records(path, text.encoding, delimiter)
    found = next((record for record in records if any(cell.strip() for cell in record[1])), None)
    records.close()
    if found is None:
        raise refuse_file("HEADER_EMPTY", path, "没有列名", "there is no column name")
    header_line, header = found
    if len(header) > limits.columns:
        raise refuse_file(
            "FILE_TOO_LARGE", path, f"超过 {limits.columns} 列", f"more than {limits.columns} columns", line=header_line
        )
    info = TableInfo(
        file=shown_name(path),
        kind="csv",
        header=tuple(header),
        header_line=header_line,
        rows_estimate=max(0, text.lines - header_line),
        encoding=text.label,
        delimiter=delimiter,
    )
    read = _plain_batches if text.is_plain else _batches
    return TableReader(info, lambda: read(path, text.encoding, info, limits))


def _batches(path: Path, encoding: str, info: TableInfo, limits: Limits) -> Iterator[Batch]:
    records = _records(path, encoding, info.delimiter)
    behind_header = (record for record in records if record[0] > info.header_line)
    total = 0
    while block := list(islice(behind_header, limits.batch_rows)):
        total += len(block)
        if total > limits.rows:
            raise _too_many_rows(path, limits)
        yield _batch_of(block, len(info.header))


def _batch_of(records: Iterable[tuple[int, list[str]]], width: int) -> Batch:
    lines: list[int] = []
    rows: list[list[str]] = []
    misfits: list[int] = []
    for line, row in records:
        if len(row) > width and not any(row[width:]):
            row = row[:width]
        if len(row) == width:
            lines.append(line)
            rows.append(row)
        elif any(row):
            misfits.append(line)
    columns = zip(*rows, strict=True) if rows else ((),) * width
    frame = pl.DataFrame(
        [pl.Series(name, cells, dtype=pl.String) for name, cells in zip(column_names(width), columns, strict=True)]
    )
    return without_blank_rows(frame, pl.Series("line", lines, dtype=pl.Int64), tuple(misfits))


def _plain_batches(path: Path, encoding: str, info: TableInfo, limits: Limits) -> Iterator[Batch]:
    """As `_batches`, for a text in which every physical line is a record (`_Text.is_plain`)."""
    total = 0
    for first, text in _plain_stretches(path, encoding, info.header_line, limits.batch_rows):
        batch = _split_evenly(text, first, info)
        if batch is None:
            # `_records` adds nothing here: no record has a second line, and what it refuses needs a quotation mark.
            rows = csv.reader(text.decode("utf-8").split("\n")[:-1], delimiter=info.delimiter, strict=True)
            records = [(line, row) for line, row in enumerate(rows, first) if row]
            total += len(records)
            batch = _batch_of(records, len(info.header))
        else:
            total += batch.lines.len()
        if total > limits.rows:
            raise _too_many_rows(path, limits)
        if batch.frame.height or batch.misfits:
            yield batch


def _plain_stretches(path: Path, encoding: str, skipped: int, most_lines: int) -> Iterator[tuple[int, bytes]]:
    """(number of its first line, text in UTF-8) of at most `most_lines` whole lines each, behind the skipped ones."""
    pending, line, ended = b"", 1, False
    try:
        with path.open(encoding=encoding, newline="") as handle:
            while not ended:
                part = handle.read(4 * _BLOCK_BYTES)
                ended = not part
                pending += part.encode("utf-8")
                if ended and pending and not pending.endswith(b"\n"):
                    pending += b"\n"
                ends = np.flatnonzero(np.frombuffer(pending, np.uint8) == ord("\n")) + 1
                start, taken = 0, 0
                while taken < len(ends):
                    count = min(most_lines if line > skipped else skipped + 1 - line, len(ends) - taken)
                    if not ended and count < most_lines and line > skipped and taken:
                        break  # the next part makes a whole stretch of it
                    stop = int(ends[taken + count - 1])
                    if line > skipped:
                        yield line, pending[start:stop].replace(b"\r\n", b"\n")
                    start, taken, line = stop, taken + count, line + count
                pending = pending[start:]
    except UnicodeDecodeError as error:  # the whole file was decoded before: somebody is writing to it
        raise _changed(path) from error


def _split_evenly(text: bytes, first: int, info: TableInfo) -> Batch | None:
    """The batch of lines that all have as many cells as the header, None when one has not."""
    width = len(info.header)
    characters = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(characters == ord("\n"))
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])
    marks = np.flatnonzero(characters == ord(info.delimiter))
    if len(marks) != len(ends) * (width - 1) or (ends == starts).any():
        return None
    of_line = marks.reshape(len(ends), width - 1)
    if width > 1 and ((of_line[:, 0] < starts).any() or (of_line[:, -1] > ends).any()):
        return None
    frame = pl.read_csv(
        text,
        has_header=False,
        schema=dict.fromkeys(column_names(width), pl.String),
        separator=info.delimiter,
        quote_char=None,
    )
    if frame.height != len(ends):
        return None
    return without_blank_rows(frame.fill_null(""), pl.int_range(first, first + len(ends), dtype=pl.Int64, eager=True).alias("line"))


def _records(path: Path, encoding: str, delimiter: str) -> Generator[tuple[int, list[str]], None, None]:
    """Every record with the line it starts on; empty lines are left out."""
    start = 1
    try:
        with path.open(encoding=encoding, newline="") as handle:
            reader = csv.reader(handle, delimiter=delimiter, strict=True)
            for row in reader:
                if row:
                    if start == 1:
                        row[0] = row[0].removeprefix("\ufeff")  # the mark in front of GB18030 text
                    if reader.line_num > start and _has_swallowed_rows(row, delimiter):
                        raise _misplaced_quotes(path, start)
                    yield start, row
                start = reader.line_num + 1
    except csv.Error as error:
        raise _misplaced_quotes(path, start) from error
    except UnicodeDecodeError as error:  # the whole file was decoded before: somebody is writing to it
        raise _changed(path) from error


def _has_swallowed_rows(row: list[str], delimiter: str) -> bool:
    """Whether a cell holds what looks like further rows: then a quotation mark was opened and closed elsewhere."""
    for cell in row:
        if "\n" in cell or "\r" in cell:
            _, *further = cell.splitlines()
            if any(line.count(delimiter) >= max(1, len(row) - 1) for line in further):
                return True
    return False


def _delimiter(line: str) -> str:
    """The delimiter that separates most columns of the header outside quotation marks; comma when there is none."""
    counts = dict.fromkeys(DELIMITERS, 0)
    quoted = False
    for character in line:
        if character == '"':
            quoted = not quoted
        elif character in counts and not quoted:
            counts[character] += 1
    return max(DELIMITERS, key=lambda delimiter: counts[delimiter])


def _inspect(path: Path, limits: Limits) -> _Text:
    """Find the encoding by decoding every byte; refuse NUL bytes, endless lines and damaged text."""
    with path.open("rb") as handle:
        head = handle.read(4)
    if head.startswith(_UTF16_MARKS):
        raise refuse_file(
            "FILE_ENCODING",
            path,
            "编码是 UTF-16，请另存为“CSV UTF-8”",
            'the encoding is UTF-16: save it as "CSV UTF-8"',
        )
    lines, is_plain = _count_lines(path, limits)
    damage = _first_damage(path, "utf-8")
    if damage is None:
        marked = head.startswith(codecs.BOM_UTF8)
        return _Text("utf-8-sig" if marked else "utf-8", "UTF-8-BOM" if marked else "UTF-8", lines, is_plain)
    offset, characters = damage
    if head.startswith(codecs.BOM_UTF8) or characters >= _UTF8_EVIDENCE:
        line = _line_of(path, offset)
        raise refuse_file(
            "FILE_ENCODING",
            path,
            f"第 {line} 行有损坏的 UTF-8 字节",
            f"line {line} holds damaged UTF-8 bytes",
            line=line,
        )
    damage = _first_damage(path, "gb18030")
    if damage is None:
        return _Text("gb18030", "GB18030", lines, is_plain)
    line = _line_of(path, damage[0])
    raise refuse_file(
        "FILE_ENCODING",
        path,
        f"编码既不是 UTF-8 也不是 GB18030（第 {line} 行），请另存为“CSV UTF-8”",
        f'the encoding is neither UTF-8 nor GB18030 (line {line}): save it as "CSV UTF-8"',
        line=line,
    )


def _count_lines(path: Path, limits: Limits) -> tuple[int, bool]:
    """The number of physical lines, and whether the text is plain (`_Text.is_plain`).

    A line without end would be read into memory whole, so its length is bounded.
    """
    lines, since_break, last, is_plain = 0, 0, b"", True
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK_BYTES):
            if (nul := block.find(b"\x00")) >= 0:
                line = lines + 1 + block.count(b"\n", 0, nul)
                raise refuse_file(
                    "FILE_NUL",
                    path,
                    f"第 {line} 行含有 NUL 字节，不是文本文件",
                    f"line {line} holds a NUL byte: this is not a text file",
                    line=line,
                )
            # Old line ends of one carriage return count as well; a pair of both is counted once.
            breaks = block.count(b"\n") or block.count(b"\r")
            since_break = 0 if breaks else since_break + len(block)
            if since_break > limits.line_bytes:
                raise refuse_file(
                    "FILE_TOO_LARGE",
                    path,
                    f"第 {lines + 1} 行超过 {limits.line_bytes} 字节",
                    f"line {lines + 1} is longer than {limits.line_bytes} bytes",
                    line=lines + 1,
                )
            lines += breaks
            is_plain = is_plain and _is_plain(last, block)
            last = block[-1:]
    return (lines if last in (b"\n", b"\r") else lines + 1), is_plain and last != b"\r"


def _is_plain(last: bytes, block: bytes) -> bool:
    """No quotation mark and no lone carriage return, also between blocks, and a line end now and then.

    Bytes can be looked at before the encoding is known: neither character is part of another one in GB18030.
    """
    if b'"' in block or block.count(b"\r") - block.endswith(b"\r") != block.count(b"\r\n"):
        return False
    if last == b"\r" and not block.startswith(b"\n"):
        return False
    start = 0
    while len(block) - start > _FIELD_BYTES:
        end = block.rfind(b"\n", start, start + _FIELD_BYTES)
        if end < 0:
            return False
        start = end + 1
    return True


def _first_damage(path: Path, encoding: str) -> tuple[int, int] | None:
    """Where `encoding` cannot be decoded: (offset, characters beyond ASCII before it), or None when all is well."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    done, wide = 0, 0
    with path.open("rb") as handle:
        while True:
            block = handle.read(_BLOCK_BYTES)
            pending = decoder.getstate()[0]
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                readable = (pending + block)[: error.start].decode(encoding, "replace")
                return done - len(pending) + error.start, wide + _count_wide(readable)
            if not block:
                return None
            done += len(block)
            if wide < _UTF8_EVIDENCE:
                wide += _count_wide(text)


def _count_wide(text: str) -> int:
    return 0 if text.isascii() else sum(character > "\x7f" for character in text)


def _line_of(path: Path, offset: int) -> int:
    line, left = 1, offset
    with path.open("rb") as handle:
        while left > 0 and (block := handle.read(min(left, _BLOCK_BYTES))):
            line += block.count(b"\n")
            left -= len(block)
    return line


def _changed(path: Path) -> Exception:
    return refuse_file("FILE_CHANGED", path, "读取时文件被改动", "the file changed while it was read")


def _misplaced_quotes(path: Path, line: int) -> Exception:
    return refuse_file(
        "FILE_QUOTES",
        path,
        f"从第 {line} 行开始的记录引号不成对或位置不对",
        f"the record that starts on line {line} has quotation marks that are not closed or misplaced",
        line=line,
    )


def _too_many_rows(path: Path, limits: Limits) -> Exception:
    return refuse_file("FILE_TOO_LARGE", path, f"超过 {limits.rows} 行", f"more than {limits.rows} rows")
