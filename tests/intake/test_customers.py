"""A customer list comes in whole and clean, or not at all; nobody is counted twice."""

from __future__ import annotations

import csv
import stat
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no type information
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
import xlsxwriter  # type: ignore[import-untyped]  # xlsxwriter ships no type information
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.domain import identifiers as ids
from workbench.errors import Cancelled, Refused
from workbench.intake import import_customers, preview_customers, read_customers, require_quality, write_rejects
from workbench.intake.quality import QualityReport, neutralise_cell, neutralise_cells
from workbench.intake.table import Limits

TODAY = date(2025, 6, 30)
PHONE_A, PHONE_B = "10000000001", "10000000002"


def _id(serial: int) -> str:
    body = f"99999919900101{serial:03d}"
    return body + ids.id_check_character(body)


ID_A, ID_B = _id(111), _id(222)


def _list(
    folder: Path, *rows: str, header: str = "客户号,手机号,身份证号,姓名,风险等级,城市", name: str = "名单.csv"
) -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_list_is_normalised_with_tags_behind_the_fields(tmp_path: Path) -> None:
    path = _list(tmp_path, f"001,+86 100-0000-0001,{ID_A.lower()}, 张三 ,c3 稳健型,上海", f"002,,{ID_B},,,")
    table = import_customers(path, today=TODAY)
    assert table.frame.columns == ["customer_id", "phone", "id_no", "name", "risk_level", "城市"]
    assert table.frame.rows() == [
        ("001", PHONE_A, ID_A, "张三", "C3", "上海"),
        ("002", None, ID_B, None, None, None),
    ]
    assert table.report.missing == {"customer_id": 0, "phone": 1, "id_no": 0, "name": 1, "risk_level": 1, "城市": 1}
    assert (table.report.rows, table.report.accepted, table.report.rejected) == (2, 2, 0)
    assert (table.report.encoding, table.report.delimiter) == ("UTF-8", ",")


def test_absent_fields_are_there_and_empty(tmp_path: Path) -> None:
    table = import_customers(_list(tmp_path, f"1,{PHONE_A}", header="customer_id,phone"), today=TODAY)
    assert table.frame.rows() == [("1", PHONE_A, None, None, None)]
    assert set(table.frame.dtypes) == {pl.String}


def test_each_refused_cell_is_listed_with_line_column_reason_and_masked_value(tmp_path: Path) -> None:
    path = _list(
        tmp_path,
        f"1,{PHONE_A},,,,",
        f"2,1.38E+10,{ID_B[:15]}000,,,",
        f'3,{PHONE_A},,"x\ny",C9,',
        ",10000000003,,,,",
        "5,,,,,",
        "6,10000000006,,,,a,b",
        f"7,,3.10101E+17,,,{'z' * 1001}",
    )
    table = read_customers(path, today=TODAY)
    found = [row[:3] for row in table.rejects.iter_rows()]
    assert found == [
        (3, "手机号", "SCIENTIFIC"),
        (3, "身份证号", "ID_DIGITS_LOST"),
        (4, "风险等级", "RISK_LEVEL"),
        (6, "客户号", "CUSTOMER_ID_MISSING"),
        (7, "", "NO_KEY"),
        (8, "", "CELL_COUNT"),
        (9, "城市", "CELL_TOO_LONG"),
        (9, "身份证号", "SCIENTIFIC"),
    ]
    assert (table.report.rows, table.report.accepted, table.report.rejected) == (7, 1, 6)
    assert table.report.reasons["SCIENTIFIC"] == 2
    texts = table.rejects.select("reason_zh", "reason_en").rows()
    assert all(zh and en for zh, en in texts)
    shown = "".join(table.rejects["value"].to_list())
    assert PHONE_A not in shown and ID_B[:15] not in shown and "****" in shown


def test_a_bad_file_is_refused_whole_and_its_rejects_can_still_be_had(tmp_path: Path) -> None:
    path = _list(tmp_path, *[f"{n},{10000000000 + n},,,," for n in range(9)], "9,x,,,,")
    assert import_customers(path, today=TODAY, max_bad_share=0.1).report.accepted == 9
    with pytest.raises(Refused) as caught:
        import_customers(path, today=TODAY, max_bad_share=0.09)
    error = caught.value
    assert error.code == "QUALITY" and error.details["rejected"] == "1" and "名单.csv" in error.zh
    assert str(tmp_path) not in str(error)
    table = read_customers(path, today=TODAY)
    assert table.rejects.height == 1
    with pytest.raises(Refused):
        require_quality(table.report, 0.0)


@pytest.mark.parametrize(("rows", "code"), [([], "NO_ROWS"), (["1,x,,,,"], "QUALITY")])
def test_a_list_without_a_usable_row_is_refused_whatever_the_limit(tmp_path: Path, rows: list[str], code: str) -> None:
    with pytest.raises(Refused) as caught:
        import_customers(_list(tmp_path, *rows), today=TODAY, max_bad_share=1.0)
    assert caught.value.code == code


def test_equal_rows_merge_into_the_last_one(tmp_path: Path) -> None:
    former = ID_A[:6] + ID_A[8:17]
    path = _list(
        tmp_path,
        f"1,{PHONE_A},{ID_A},张三,C1,上海",
        f"2,{PHONE_B},{ID_B},李四,C2,北京",
        f"１,+86{PHONE_A},{former},张三,C4,广州",
    )
    table = import_customers(path, today=TODAY)
    assert table.frame.rows() == [
        ("2", PHONE_B, ID_B, "李四", "C2", "北京"),
        ("1", PHONE_A, ID_A, "张三", "C4", "广州"),
    ]
    assert (table.report.rows, table.report.accepted, table.report.duplicates) == (3, 2, 1)
    assert table.report.shared_keys == 0


def test_one_customer_number_with_different_keys_is_refused_as_a_whole(tmp_path: Path) -> None:
    path = _list(
        tmp_path, f"1,{PHONE_A},{ID_A},,,", f"2,{PHONE_B},,,,", f"1,{PHONE_B},{ID_A},,,", f"1,{PHONE_A},{ID_A},,,"
    )
    table = read_customers(path, today=TODAY)
    assert table.frame["customer_id"].to_list() == ["2"]
    assert table.report.reasons == {"CUSTOMER_CONFLICT": 3}
    assert (table.report.rejected, table.report.duplicates) == (3, 0)


def test_a_refused_row_neither_conflicts_with_nor_hides_a_good_one(tmp_path: Path) -> None:
    path = _list(tmp_path, f"1,{PHONE_A},{ID_A},,,", "1,bad,,,,")
    table = read_customers(path, today=TODAY)
    assert table.frame["customer_id"].to_list() == ["1"] and table.report.rejected == 1


def test_keys_shared_by_customers_are_kept_counted_and_listed_by_case(tmp_path: Path) -> None:
    path = _list(
        tmp_path,
        f"1,{PHONE_A},{ID_A},,,",
        f"2,{PHONE_A},{ID_B},,,",
        f"3,{PHONE_B},{ID_B},,,",
        f"4,10000000004,{_id(444)},,,",
        f"5,10000000004,{_id(444)},,,",
        "6,10000000006,,,,",
    )
    table = import_customers(path, today=TODAY)
    assert table.report.accepted == 6 and table.report.shared_keys == 4
    listed = [(kind, case, customer, line) for kind, case, _, customer, line in table.shared.iter_rows()]
    assert listed == [
        ("phone", "PHONE_TWO_ID_NOS", "1", 2),
        ("phone", "PHONE_TWO_ID_NOS", "2", 3),
        ("phone", "ONE_PERSON", "4", 5),
        ("phone", "ONE_PERSON", "5", 6),
        ("id_no", "ID_NO_TWO_PHONES", "2", 3),
        ("id_no", "ID_NO_TWO_PHONES", "3", 4),
        ("id_no", "ONE_PERSON", "4", 5),
        ("id_no", "ONE_PERSON", "5", 6),
    ]
    assert PHONE_A not in str(table.shared["masked"].to_list())


def test_where_digits_were_lost_every_number_ending_in_zeros_is_refused(tmp_path: Path) -> None:
    suspect = next(
        f"999999199001{day:02d}{order}" + "0"
        for day in range(1, 29)
        for order in ("100", "200", "300", "400", "500")
        if ids.id_check_character(f"999999199001{day:02d}{order}") == "0"
    )
    good = _list(tmp_path, f"1,,{suspect},,,", f"2,,{ID_A},,,")
    assert import_customers(good, today=TODAY).report.accepted == 2
    damaged = _list(tmp_path, f"1,,{suspect},,,", f"2,,{ID_A},,,", f"3,,{ID_B[:15]}000,,,")
    assert ids.id_check_character(ID_B[:15] + "00") != "0"
    table = read_customers(damaged, today=TODAY)
    assert table.frame["customer_id"].to_list() == ["2"]
    assert table.report.reasons == {"ID_DIGITS_LOST": 1, "ID_DIGITS_SUSPECT": 1}


def test_a_suspect_row_does_not_hide_a_good_row_of_the_same_customer(tmp_path: Path) -> None:
    body = next(
        body
        for day in range(1, 29)
        for body in (f"999999199001{day:02d}{order}0" for order in range(10, 100, 10))
        if ids.id_check_character(body) == "0"
    )
    rows = (f"1,{PHONE_A},{ID_A},,,first", f"1,{PHONE_B},{body}0,,,second", f"3,,{ID_B[:15]}000,,,")
    table = read_customers(_list(tmp_path, *rows), today=TODAY)
    assert table.frame["城市"].to_list() == ["first"]
    assert table.report.reasons == {"ID_DIGITS_LOST": 1, "ID_DIGITS_SUSPECT": 1}


def test_the_same_list_as_csv_workbook_and_parquet_gives_the_same_customers(tmp_path: Path) -> None:
    header = ["客户号", "手机号", "身份证号", "城市"]
    rows = [["001", PHONE_A, ID_A, "上海"], ["002", PHONE_B, "", ""], ["003", "bad", ID_B, "北京"]]
    text = _list(tmp_path, *[",".join(row) for row in rows], header=",".join(header))
    book = xlsxwriter.Workbook(str(tmp_path / "a.xlsx"))
    sheet = book.add_worksheet("客户")
    for line, row in enumerate([header, *rows]):
        for column, cell in enumerate(row):
            sheet.write_string(line, column, cell)
    book.close()
    columns = {name: pa.array([row[index] for row in rows]) for index, name in enumerate(header)}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    tables = [read_customers(path, today=TODAY) for path in (text, tmp_path / "a.xlsx", tmp_path / "a.parquet")]
    assert tables[0].frame.equals(tables[1].frame) and tables[0].frame.equals(tables[2].frame)
    assert [table.rejects["line"].to_list() for table in tables] == [[4], [4], [3]]
    assert [table.report.kind for table in tables] == ["csv", "xlsx", "parquet"]


def test_numbers_that_excel_spoilt_are_refused_row_by_row(tmp_path: Path) -> None:
    book = xlsxwriter.Workbook(str(tmp_path / "a.xlsx"))
    sheet = book.add_worksheet("客户")
    for column, name in enumerate(["客户号", "手机号", "身份证号"]):
        sheet.write_string(0, column, name)
    for line in range(1, 60):
        sheet.write_string(line, 0, f"c{line}")
        sheet.write_number(line, 1, 10000000000 + line)
        if line % 2:
            sheet.write_number(line, 2, int(_id(line)[:17] + "1"))
    book.close()
    table = read_customers(tmp_path / "a.xlsx", today=TODAY)
    assert table.frame["customer_id"].to_list() == [f"c{line}" for line in range(2, 60, 2)]
    assert table.report.reasons == {"SCIENTIFIC": 30}, "not one of them by luck of its checksum"


def test_small_batches_give_the_same_customers_report_and_rejects(tmp_path: Path) -> None:
    rows = [f"{n % 11},{10000000000 + n % 11},,,C{n % 7},t{n}" for n in range(40)]
    path = _list(tmp_path, *rows)
    whole = read_customers(path, today=TODAY)
    for batch_rows in (1, 3, 40):
        parts = read_customers(path, today=TODAY, limits=Limits(batch_rows=batch_rows))
        assert parts.frame.equals(whole.frame) and parts.rejects.equals(whole.rejects) and parts.report == whole.report


def test_progress_reaches_the_number_of_rows_and_cancelling_keeps_nothing(tmp_path: Path) -> None:
    path = _list(tmp_path, *[f"{n},{10000000000 + n},,,," for n in range(10)])
    seen: list[tuple[int, int | None]] = []
    import_customers(
        path, today=TODAY, limits=Limits(batch_rows=4), progress=lambda done, all_: seen.append((done, all_))
    )
    assert seen == [(4, 10), (8, 10), (10, 10)]
    with pytest.raises(Cancelled):
        import_customers(path, today=TODAY, limits=Limits(batch_rows=4), cancelled=lambda: len(seen) > 2)


def test_the_rejects_file_is_private_readable_by_excel_and_free_of_formulas(tmp_path: Path) -> None:
    header = "客户号,手机号,=cmd|' /C calc'!A0"
    path = _list(tmp_path, "1,=1+1,x", f"2,@SUM(A1:A9),{'-' * 2000}", "3,+852 9123 4567,x", header=header)
    table = read_customers(path, today=TODAY)
    target = tmp_path / "rejects.csv"
    write_rejects(table.rejects, target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert target.read_bytes().startswith(b"\xef\xbb\xbf")
    with target.open(encoding="utf-8-sig", newline="") as handle:
        rows = list(csv.reader(handle))
    assert rows[0] == ["line", "column", "reason", "reason_zh", "reason_en", "value"]
    assert len(rows) == 1 + table.rejects.height == 5
    for cell in (cell for row in rows for cell in row):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\tx", "\rx", " =1", "\u3000=1", "＝1", "|x", "%x"])
def test_a_cell_that_a_spreadsheet_could_run_gets_an_apostrophe(text: str) -> None:
    assert neutralise_cell(text) == "'" + text
    assert neutralise_cells(pl.Series("c", [text, None, "a=1"])).to_list() == ["'" + text, None, "a=1"]


@given(st.lists(st.one_of(st.none(), st.text(max_size=6)), max_size=8))
def test_column_and_scalar_neutralise_alike(cells: list[str | None]) -> None:
    expected = [None if cell is None else neutralise_cell(cell) for cell in cells]
    assert neutralise_cells(pl.Series("c", cells, dtype=pl.String)).to_list() == expected


def test_script_in_any_cell_travels_as_plain_text(tmp_path: Path) -> None:
    script = "<script>alert(document.cookie)</script>"
    path = _list(tmp_path, f"{script},{PHONE_A},,{script},,{script}")
    assert import_customers(path, today=TODAY).frame.row(0) == (script, PHONE_A, None, script, None, script)


def test_a_report_that_does_not_add_up_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="add up"):
        QualityReport(file="a.csv", kind="csv", rows=3, accepted=1, rejected=1, duplicates=0)


def test_errors_reports_and_reprs_hold_no_identifier(tmp_path: Path) -> None:
    path = _list(tmp_path, f"C00077,{PHONE_A},{ID_A},张三丰,C1,上海", f"C00078,{PHONE_B}9,{ID_B}7,张三丰,C1,上海")
    table = read_customers(path, today=TODAY)
    texts = [repr(table), str(table.report.as_dict()), str(table.rejects.rows())]
    with pytest.raises(Refused) as caught:
        require_quality(table.report, 0.0)
    texts.append(str(caught.value) + str(caught.value.details))
    for text in texts:
        for secret in (PHONE_A, PHONE_B, ID_A, ID_B, "张三丰", "C00077", "C00078"):
            assert secret not in text


def test_a_preview_shows_mapping_and_masked_rows(tmp_path: Path) -> None:
    path = _list(tmp_path, f"C00077,{PHONE_A},{ID_A},张三,C1,上海", *[f"{n},{PHONE_B},,,," for n in range(9)])
    preview = preview_customers(path)
    assert len(preview.sample) == 5
    assert preview.sample[0][1:3] == ("100****0001", f"{ID_A[:4]}**********{ID_A[-4:]}")
    assert "张三" not in str(preview.sample)
    unknown = preview_customers(_list(tmp_path, "1,2", header="甲,乙", name="other.csv"))
    assert unknown.mapping.fields() == {}


_ROW = st.tuples(
    st.sampled_from(["1", "2", "3", " 1 ", "", "４"]),
    st.sampled_from(["", PHONE_A, f"+86{PHONE_A}", PHONE_B, "bad", "1.38E+10"]),
    st.sampled_from(["", ID_A, ID_A[:6] + ID_A[8:17], ID_B, ID_B[:17]]),
    st.sampled_from(["", "C1", "c2", "X"]),
    st.sampled_from(["", "a", "b"]),
)


def _naive(rows: list[tuple[str, ...]]) -> tuple[list[tuple[str | None, ...]], int, int]:
    """The rules of docs/intake.md, one row at a time: customers, rejected rows, duplicates."""
    good: list[tuple[str | None, ...]] = []
    rejected = 0
    for customer, phone, id_no, risk, tag in rows:
        if not any((customer, phone, id_no, risk, tag)):
            continue
        cells = [
            ids.normalise_customer_id(customer),
            ids.normalise_phone(phone),
            ids.normalise_id_no(id_no, today=TODAY),
            ids.normalise_risk_level(risk),
        ]
        if any(cell.fault for cell in cells) or (cells[1].value is None and cells[2].value is None):
            rejected += 1
        else:
            good.append((*[cell.value for cell in cells], tag or None))
    keys: dict[str | None, set[tuple[str | None, ...]]] = {}
    for row in good:
        keys.setdefault(row[0], set()).add(row[1:3])
    clear = [row for row in good if len(keys[row[0]]) == 1]
    last = {row[0]: index for index, row in enumerate(clear)}
    kept = [row for index, row in enumerate(clear) if last[row[0]] == index]
    return kept, rejected + len(good) - len(clear), len(clear) - len(kept)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_ROW, max_size=12), st.sampled_from([1, 4, 100]))
def test_the_whole_import_agrees_with_the_rules_applied_row_by_row(
    tmp_path: Path, rows: list[tuple[str, ...]], batch_rows: int
) -> None:
    path = _list(tmp_path, *[",".join(row) for row in rows], header="客户号,手机号,身份证号,风险等级,tag")
    table = read_customers(path, today=TODAY, limits=Limits(batch_rows=batch_rows))
    customers, rejected, duplicates = _naive(rows)
    assert table.frame.drop("name").rows() == customers
    assert (table.report.rejected, table.report.duplicates) == (rejected, duplicates)
