"""Files are what their names say, or are refused with a sentence that names file, line and remedy."""

from __future__ import annotations

import codecs
import gzip
import io
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no type information
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
import xlsxwriter  # type: ignore[import-untyped]  # xlsxwriter ships no type information
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.errors import Refused
from workbench.intake import csv_file
from workbench.intake.formats import open_table, read_table
from workbench.intake.reasons import FILE_REASONS
from workbench.intake.table import Batch, Limits

HEADER = "客户号,手机号,姓名"


def _write(folder: Path, data: bytes, name: str = "名单.csv") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _refusal(path: Path, *, limits: Limits | None = None, sheet: str | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        read_table(path, limits=limits, sheet=sheet)
    error = caught.value
    assert error.code in FILE_REASONS
    assert path.name in error.zh and path.name in error.en, "the message names the file"
    assert str(path.parent) not in str(error), "and only its last part"
    return error


@pytest.mark.parametrize(
    ("encoding", "label"), [("utf-8", "UTF-8"), ("utf-8-sig", "UTF-8-BOM"), ("gb18030", "GB18030"), ("gbk", "GB18030")]
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_csv_is_read_in_every_encoding_delimiter_and_line_end(
    tmp_path: Path, encoding: str, label: str, delimiter: str, line_end: str
) -> None:
    text = line_end.join([HEADER, "001,10000000001,张三", "002,10000000002,李四", ""]).replace(",", delimiter)
    table = read_table(_write(tmp_path, text.encode(encoding)))
    assert table.info.header == ("客户号", "手机号", "姓名")
    assert (table.info.encoding, table.info.delimiter) == (label, delimiter)
    assert table.frame.rows() == [("001", "10000000001", "张三"), ("002", "10000000002", "李四")]
    assert table.lines.to_list() == [2, 3]


def test_gb18030_with_its_own_mark_loses_the_mark(tmp_path: Path) -> None:
    table = read_table(_write(tmp_path, f"\ufeff{HEADER}\n1,2,龙\n".encode("gb18030")))
    assert table.info.header[0] == "客户号"


def test_lines_stay_true_through_quoted_newlines_and_blank_rows(tmp_path: Path) -> None:
    text = f'\n{HEADER}\r\n1,a,"x\ny"\r\n\r\n,,\r\n2,b,"say ""hi"", now"\r\n3,c\r\n4,d,e,f\r\n5,e,f,\r\n'
    table = read_table(_write(tmp_path, text.encode()))
    assert table.info.header_line == 2
    assert table.frame.rows() == [("1", "a", "x\ny"), ("2", "b", 'say "hi", now'), ("5", "e", "f")]
    assert table.lines.to_list() == [3, 7, 10]
    assert table.misfits == (8, 9)


def test_cells_stay_text_and_nothing_in_them_is_evaluated(tmp_path: Path) -> None:
    cells = [
        "001",
        "1.38E+10",
        "=HYPERLINK(1)",
        "<script>alert(1)</script>",
        "{{7*7}}",
        "${jndi:ldap://x}",
        "NaN",
        "true",
    ]
    table = read_table(_write(tmp_path, (",".join("abcdefgh") + "\n" + ",".join(cells)).encode()))
    assert table.frame.rows() == [tuple(cells)]


@pytest.mark.parametrize(
    ("data", "code", "line"),
    [
        (b"", "FILE_EMPTY", None),
        (b"\xef\xbb\xbf \r\n", "FILE_EMPTY", None),
        (b" , ,\n1,2,3\n", None, None),
        (f"{HEADER}\n1,2,\x00\n".encode(), "FILE_NUL", "2"),
        (f"{HEADER}\n".encode("utf-16"), "FILE_ENCODING", None),
        (f"{HEADER}\n1,2,张三李四王五\n3,4,".encode() + b"\xff\n", "FILE_ENCODING", "3"),
        (codecs.BOM_UTF8 + "客户号\n".encode("gbk"), "FILE_ENCODING", "1"),
        (b"a,b\n1,\xe9,\xe8\n", "FILE_ENCODING", "2"),
        (b"a,b\n" + b"x" * 3_000_000, "FILE_TOO_LARGE", "2"),
        (b'a,b\n1,"open\n2,b\n', "FILE_QUOTES", "2"),
        (b'a,b\n1,x\n2,"b"c\n', "FILE_QUOTES", "3"),
        (b'a,b\n1,x\n2,"b\n3,c\n4,d"\n', "FILE_QUOTES", "3"),
    ],
)
def test_a_damaged_csv_is_refused_with_its_line(
    tmp_path: Path, data: bytes, code: str | None, line: str | None
) -> None:
    path = _write(tmp_path, data)
    if code is None:
        assert read_table(path).info.header == ("1", "2", "3")
        return
    error = _refusal(path)
    assert error.code == code
    assert error.details.get("line") == line
    assert line is None or line in error.zh


def _zip(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        package.writestr(name, "x")
    return buffer.getvalue()


_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
_HTML = b"\r\n <!DOCTYPE html><html><table><tr><td>1</td></tr></table></html>"


@pytest.mark.parametrize(
    ("name", "data", "content"),
    [
        ("old.csv", _OLE, "ole"),
        ("old.xlsx", _OLE, "ole"),
        ("packed.csv", _zip("a.csv"), "zip"),
        ("packed.xlsx", _zip("a.csv"), "zip"),
        ("page.csv", _HTML, "html"),
        ("page.xlsx", _HTML, "html"),
        ("sheet.csv", b'<?xml version="1.0"?><Workbook/>', "html"),
        ("print.csv", b"%PDF-1.7", "pdf"),
        ("packed.csv", gzip.compress(b"a,b", mtime=0), "gzip"),
        ("text.xlsx", b"a,b\n1,2\n", "csv"),
        ("text.parquet", b"a,b\n1,2\n", "csv"),
        ("columns.csv", b"PAR1" + bytes(100) + b"PAR1", "parquet"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, name: str, data: bytes, content: str) -> None:
    error = _refusal(_write(tmp_path, data, name))
    assert (error.code, error.details["content"]) == ("FILE_KIND", content)


def test_a_database_an_unknown_suffix_a_folder_and_nothing_are_refused(tmp_path: Path) -> None:
    database = tmp_path / "evidence.csv"
    with sqlite3.connect(database) as connection:
        connection.execute("create table t (a)")
    connection.close()
    assert _refusal(database).code == "FILE_KIND"
    assert _refusal(_write(tmp_path, b"a,b\n1,2\n", "list.xls")).code == "FILE_KIND"
    (tmp_path / "folder.csv").mkdir()
    assert _refusal(tmp_path / "folder.csv").code == "FILE_MISSING"
    assert _refusal(tmp_path / "none.csv").code == "FILE_MISSING"


def test_a_file_name_with_control_characters_is_shown_without_them(tmp_path: Path) -> None:
    path = _write(tmp_path, b"", "a\x1b[31m\u202egnp.csv")
    with pytest.raises(Refused) as caught:
        read_table(path)
    assert "\x1b" not in caught.value.zh and "\u202e" not in caught.value.en


def test_limits_of_bytes_rows_and_columns_hold_for_csv(tmp_path: Path) -> None:
    path = _write(tmp_path, b"a,b,c\n" + b"1,2,3\n" * 20)
    assert read_table(path, limits=Limits(rows=20, columns=3)).frame.height == 20
    assert _refusal(path, limits=Limits(rows=19)).code == "FILE_TOO_LARGE"
    assert _refusal(path, limits=Limits(columns=2)).code == "FILE_TOO_LARGE"
    assert _refusal(path, limits=Limits(size_bytes=50)).code == "FILE_TOO_LARGE"
    assert read_table(path, max_rows=7).frame.height == 7


def test_batches_of_any_size_give_the_same_rows(tmp_path: Path) -> None:
    rows = [f'{number},{number}a,"x\n{number}"' for number in range(25)]
    path = _write(tmp_path, "\n".join(["a,b,c", *rows]).encode())
    whole = read_table(path)
    for batch_rows in (1, 7, 25, 26):
        parts = read_table(path, limits=Limits(batch_rows=batch_rows))
        assert parts.frame.equals(whole.frame) and parts.lines.equals(whole.lines)
    assert whole.lines.to_list() == [2 + 2 * number for number in range(25)]


_CELL = st.text(st.characters(exclude_characters="\x00\r\n\ufeff", exclude_categories=["Cs"]), max_size=8)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_CELL, _CELL), max_size=6), st.sampled_from(["utf-8", "utf-8-sig", "gb18030"]))
def test_whatever_is_written_as_csv_is_read_back(tmp_path: Path, rows: list[tuple[str, str]], encoding: str) -> None:
    text = io.StringIO()
    text.write("手机号,姓名\n")
    for row in rows:
        text.write(",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n")
    table = read_table(_write(tmp_path, text.getvalue().encode(encoding)))
    assert table.frame.rows() == [row for row in rows if row != ("", "")]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from(["x.csv", "x.xlsx", "x.parquet"]))
def test_any_bytes_are_either_a_table_or_refused(tmp_path: Path, data: bytes, name: str) -> None:
    try:
        read_table(_write(tmp_path, data, name))
    except Refused as error:
        assert error.code in FILE_REASONS


def _workbook(path: Path, sheets: dict[str, dict[tuple[int, int], object]], hidden: tuple[str, ...] = ()) -> Path:
    book = xlsxwriter.Workbook(str(path))
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    for name, cells in sheets.items():
        sheet = book.add_worksheet(name)
        for (row, column), value in cells.items():
            if isinstance(value, datetime | date):
                sheet.write_datetime(row, column, value, day)
            elif isinstance(value, tuple):
                sheet.write_formula(row, column, value[0], None, value[1])
            elif isinstance(value, int | float):
                sheet.write_number(row, column, value)
            else:
                sheet.write_string(row, column, str(value))
        if name in hidden:
            sheet.hide()
        else:
            sheet.activate()  # Excel does not hide the active sheet, which is the first one unless told otherwise
    book.close()
    return path


def test_a_workbook_keeps_text_as_text_and_formulas_as_values(tmp_path: Path) -> None:
    cells: dict[tuple[int, int], object] = {
        (3, 2): "客户号", (3, 3): "手机号", (3, 4): "日期", (3, 5): "数",
        (5, 2): "0012", (5, 3): 10000000001, (5, 4): datetime(2025, 1, 31), (5, 5): 0.5,
        (9, 2): "=1+1", (9, 3): ("=D6+1", 10000000002), (9, 5): ("=1/0", "#DIV/0!"),
    }  # fmt: skip
    table = read_table(_workbook(tmp_path / "a.xlsx", {"客户": cells}))
    assert table.info.header == ("客户号", "手机号", "日期", "数")
    assert (table.info.sheet, table.info.header_line) == ("客户", 4)
    assert table.lines.to_list() == [6, 10], "sheet rows, blank ones in between left out"
    assert table.frame.rows() == [
        ("0012", "10000000001", "2025-01-31 00:00:00", "0.5"),
        ("=1+1", "10000000002", None, None),
    ]


@pytest.mark.parametrize("number", [310101199001011234, 1e15, 123456789012345678901234, -310101199001011234])
@pytest.mark.parametrize("offset", [0, 3])
def test_a_number_that_excel_cannot_hold_is_handed_on_as_damage(tmp_path: Path, number: float, offset: int) -> None:
    cells: dict[tuple[int, int], object] = {(0, offset): "客户号", (0, offset + 1): "身份证号"}
    cells |= {(row, offset): f"c{row}" for row in range(1, 4)}
    cells |= {(1, offset + 1): "110105194912310021", (2, offset + 1): number, (3, offset + 1): 999999999999999}
    table = read_table(_workbook(tmp_path / "a.xlsx", {"s": cells}))
    column = table.frame["1"].to_list()
    assert column[0] == "110105194912310021" and column[2] == "999999999999999"
    assert "E+" in column[1]


def test_the_first_visible_sheet_is_read_unless_another_is_named(tmp_path: Path) -> None:
    path = _workbook(
        tmp_path / "a.xlsx",
        {"secret": {(0, 0): "x"}, "one": {(0, 0): "a", (1, 0): "1"}, "two": {(0, 0): "b", (1, 0): "2"}, "empty": {}},
        hidden=("secret",),
    )
    assert read_table(path).info.sheet == "one"
    assert read_table(path).info.sheets == ("one", "two", "empty")
    assert read_table(path, sheet="two").frame.rows() == [("2",)]
    assert _refusal(path, sheet="three").code == "SHEET_UNKNOWN"
    assert _refusal(path, sheet="empty").code == "FILE_EMPTY"
    assert _refusal(_write(tmp_path, b"a,b\n1,2\n"), sheet="one").code == "SHEET_UNKNOWN"


def test_a_workbook_past_its_limits_is_refused_before_it_is_laid_out(tmp_path: Path) -> None:
    rows: dict[tuple[int, int], object] = {(row, 0): "x" for row in range(12)}
    path = _workbook(tmp_path / "a.xlsx", {"s": rows})
    assert _refusal(path, limits=Limits(xlsx_rows=10)).code == "FILE_TOO_LARGE"
    assert read_table(path, limits=Limits(xlsx_rows=11)).frame.height == 11
    corner = _workbook(tmp_path / "corner.xlsx", {"s": {(0, 0): "a", (1_048_575, 16_383): "b"}})
    assert _refusal(corner).code == "FILE_TOO_LARGE"
    assert _refusal(path, limits=Limits(unpacked_bytes=1_000)).code == "FILE_TOO_LARGE"


def test_a_cut_off_or_altered_workbook_is_refused(tmp_path: Path) -> None:
    data = _workbook(tmp_path / "a.xlsx", {"s": {(0, 0): "a", (1, 0): "b"}}).read_bytes()
    assert _refusal(_write(tmp_path, data[: len(data) // 2], "cut.xlsx")).code == "FILE_DAMAGED"
    bomb = _repacked(data, "xl/workbook.xml", lambda xml: xml.replace(b"<workbook", b"<!DOCTYPE x><workbook", 1))
    assert _refusal(_write(tmp_path, bomb, "entity.xlsx")).code == "FILE_DAMAGED"
    broken = _repacked(data, "xl/worksheets/sheet1.xml", lambda xml: xml[: len(xml) // 2])
    assert _refusal(_write(tmp_path, broken, "half.xlsx")).code in ("FILE_DAMAGED", "FILE_EMPTY")


def test_a_sheet_whose_cells_do_not_name_their_places_is_refused(tmp_path: Path) -> None:
    data = _workbook(tmp_path / "a.xlsx", {"s": {(0, 0): "a", (1, 0): 310101199001011234}}).read_bytes()
    bare = _repacked(data, "xl/worksheets/sheet1.xml", lambda xml: xml.replace(b' r="A2"', b""))
    assert _refusal(_write(tmp_path, bare, "bare.xlsx")).code == "FILE_DAMAGED"
    turned = _repacked(data, "xl/worksheets/sheet1.xml", lambda xml: xml.replace(b'<c r="A2">', b"<c s='0' r='A2'>"))
    assert read_table(_write(tmp_path, turned, "turned.xlsx")).frame["0"].to_list() == ["3.10101E+17"]


def _repacked(data: bytes, member: str, change: object) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(buffer, "w") as target:
        for one in source.namelist():
            content = source.read(one)
            target.writestr(one, change(content) if one == member else content)  # type: ignore[operator]  # a function
    return buffer.getvalue()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_workbook_with_one_changed_byte_is_read_or_refused_but_never_fails_otherwise(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "seed.xlsx"
    if not path.exists():
        _workbook(path, {"s": {(0, 0): "a", (1, 0): "b", (2, 0): 12.5}})
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read_table(_write(tmp_path, bytes(content), "changed.xlsx"))
    except Refused as error:
        assert error.code in FILE_REASONS


def _parquet(path: Path, columns: dict[str, object], **options: object) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_parquet_of_every_plain_type_is_read_as_text(tmp_path: Path) -> None:
    path = _parquet(
        tmp_path / "a.parquet",
        {
            "text": pa.array(["001", None]),
            "coded": pa.array(["x", "x"]).dictionary_encode(),
            "whole": pa.array([10000000001, None]),
            "real": pa.array([1.5, 10000000001.0]),
            "day": pa.array([date(2025, 1, 31), None]),
            "time": pa.array([datetime(2025, 1, 31, 9, 30), None]),
            "zoned": pa.array([datetime(2025, 1, 31, 9, 30), None], pa.timestamp("ms", "UTC")),
            "flag": pa.array([True, None]),
        },
    )
    table = read_table(path)
    assert table.info.header[0] == "text" and table.info.rows_estimate == 2
    assert table.frame.row(0) == (
        "001", "x", "10000000001", "1.5", "2025-01-31",
        "2025-01-31T09:30:00.000000", "2025-01-31T09:30:00.000+0000", "true",
    )  # fmt: skip
    assert table.frame.row(1)[:3] == (None, "x", None)
    assert table.lines.to_list() == [1, 2]


def test_parquet_past_its_limits_or_of_nested_types_is_refused_by_its_footer(tmp_path: Path) -> None:
    path = _parquet(tmp_path / "a.parquet", {"a": list(range(100)), "b": list(range(100))}, row_group_size=10)
    assert read_table(path, limits=Limits(batch_rows=7)).frame.height == 100
    assert _refusal(path, limits=Limits(rows=99)).code == "FILE_TOO_LARGE"
    assert _refusal(path, limits=Limits(columns=1)).code == "FILE_TOO_LARGE"
    assert _refusal(path, limits=Limits(unpacked_bytes=10)).code == "FILE_TOO_LARGE"
    nested = _parquet(tmp_path / "b.parquet", {"lists": [[1], [2]]})
    error = _refusal(nested)
    assert (error.code, error.details["column"]) == ("COLUMN_TYPE", "lists")
    assert _refusal(_parquet(tmp_path / "c.parquet", {"raw": [b"1"]})).code == "COLUMN_TYPE"


def test_one_long_value_repeated_in_parquet_does_not_fill_the_memory(tmp_path: Path) -> None:
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000_000, pa.int32()), pa.array(["x" * 200_000]))
    path = _parquet(tmp_path / "a.parquet", {"a": repeated})
    assert path.stat().st_size < 2_000_000, "200 GB when written out"
    assert _refusal(path).code == "FILE_TOO_LARGE"


def test_a_cut_off_parquet_file_is_refused(tmp_path: Path) -> None:
    data = _parquet(tmp_path / "a.parquet", {"a": ["1", "2"]}).read_bytes()
    for size in (8, len(data) // 2, len(data) - 1):
        assert _refusal(_write(tmp_path, data[:size], "cut.parquet")).code == "FILE_DAMAGED"
    altered = bytearray(data)
    altered[20:30] = b"\xff" * 10
    try:
        read_table(_write(tmp_path, bytes(altered), "altered.parquet"))
    except Refused as error:
        assert error.code == "FILE_DAMAGED"


def test_opening_a_file_reads_no_row(tmp_path: Path) -> None:
    path = _write(tmp_path, b'a,b\n1,2\n3,"x"y\n')
    reader = open_table(path)
    assert reader.info.header == ("a", "b")
    with pytest.raises(Refused, match="FILE_QUOTES"):
        list(reader.batches())


def test_a_frame_holds_nothing_but_strings(tmp_path: Path) -> None:
    for table in (
        read_table(_write(tmp_path, b"a,b\n1,2\n")),
        read_table(_parquet(tmp_path / "a.parquet", {"a": [1], "b": [None]})),
        read_table(_workbook(tmp_path / "a.xlsx", {"s": {(0, 0): "a", (0, 1): "b", (1, 0): 1}})),
    ):
        assert set(table.frame.dtypes) == {pl.String}


PLAIN_CELLS = st.text(alphabet=st.sampled_from("ab1甲 \u2028\x0b=,;\t\r\n\ufeff"), max_size=4)


@settings(max_examples=400, deadline=None)
@given(
    text=st.lists(PLAIN_CELLS, max_size=30).map("".join),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "gb18030"]),
    batch_rows=st.integers(1, 7),
)
def test_a_text_without_quotes_is_read_as_the_csv_module_reads_it(text: str, encoding: str, batch_rows: int) -> None:
    """The quick way and the csv module: the same rows under the same lines, the same misfits, the same refusals."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.csv"
        path.write_bytes(("a,b,c\n1,2,3\n" + text).encode(encoding))
        limits = Limits(batch_rows=batch_rows)
        try:
            reader = csv_file.open_csv(path, limits)
        except Refused:
            return
        quick = everything(reader.batches())
        slow = everything(csv_file._batches(path, "utf-8-sig" if reader.info.encoding == "UTF-8-BOM" else reader.info.encoding, reader.info, limits))
        assert quick == slow


def everything(batches: Iterator[Batch]) -> tuple[list[tuple[Any, ...]], list[int], list[int]]:
    """Cells, lines and misfits of all batches."""
    rows: list[tuple[Any, ...]] = []
    lines: list[int] = []
    misfits: list[int] = []
    for batch in batches:
        rows += batch.frame.rows()
        lines += batch.lines.to_list()
        misfits += batch.misfits
    return rows, lines, misfits


def test_a_plain_text_is_split_in_stretches_with_every_line_once(tmp_path: Path) -> None:
    """Long enough for several reads of the file, with one stretch that only the csv module can take."""
    path = tmp_path / "list.csv"
    lines = [f"{number},{'x' * (number % 97)},甲" for number in range(300_000)]
    lines[200_000] = "200000,too few"
    path.write_text("\r\n".join(["a,b,c", *lines]), "utf-8")
    reader = csv_file.open_csv(path, Limits(batch_rows=7_000))
    rows, numbers, misfits = everything(reader.batches())
    assert misfits == [200_002]
    assert numbers == [number + 2 for number in range(300_000) if number != 200_000]
    assert [row[0] for row in rows] == [str(number - 2) for number in numbers]
    assert all(len(row[1]) == int(row[0]) % 97 and row[2] == "甲" for row in rows)
    assert max(batch.frame.height for batch in reader.batches()) <= 7_000
