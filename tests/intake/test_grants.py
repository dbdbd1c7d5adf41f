"""Consent files: every row becomes a grant with exact times and known codes, or a reject with its reason."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no type information
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
import xlsxwriter  # type: ignore[import-untyped]  # xlsxwriter ships no type information

from workbench.domain.identifiers import id_check_character
from workbench.errors import Refused
from workbench.intake import GRANT_SCHEMA, GrantTable, import_grant_rows, read_grant_rows
from workbench.intake.table import Limits

TODAY = date(2025, 6, 30)
PHONE = "10000000001"
ID_NO = "99999919900101111" + id_check_character("99999919900101111")
DIGEST = "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
HEADER = "phone,id_no,purpose,recipient,valid_from,valid_until,document_digest,channel"
PURPOSES = ("wealth-marketing", "investor-education", "customer-service")
RECIPIENTS = ("bank", "cardnet")


def _file(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "授权.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def _read(path: Path, limits: Limits | None = None) -> GrantTable:
    return read_grant_rows(path, purposes=PURPOSES, recipients=RECIPIENTS, today=TODAY, limits=limits)


def _import(path: Path, max_bad_share: float = 0.05) -> GrantTable:
    return import_grant_rows(path, purposes=PURPOSES, recipients=RECIPIENTS, today=TODAY, max_bad_share=max_bad_share)


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1000


def test_a_grant_is_normalised_and_its_bare_dates_include_both_days(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        f"+86 {PHONE},{ID_NO.lower()},Wealth-Marketing, BANK ,2025-01-01,2025-12-31,{DIGEST.upper()},网点",
        f",{ID_NO},customer-service,cardnet,2025-01-01T09:00:00+08:00,2025-06-30T15:59:59Z,,",
    )
    table = _import(path)
    assert table.frame.schema == GRANT_SCHEMA
    assert table.frame.rows() == [
        (
            2, PHONE, ID_NO, "wealth-marketing", "bank",
            _ms("2025-01-01T00:00:00+08:00"), _ms("2026-01-01T00:00:00+08:00"), DIGEST, "网点", None,
        ),
        (
            3, None, ID_NO, "customer-service", "cardnet",
            _ms("2025-01-01T09:00:00+08:00"), _ms("2025-06-30T23:59:59+08:00"), None, None, None,
        ),
    ]  # fmt: skip
    assert table.report.missing == {
        "phone": 1, "id_no": 0, "purpose": 0, "recipient": 0, "document_digest": 1, "channel": 1
    }  # fmt: skip


def test_chinese_headers_are_known_and_digest_and_channel_may_be_absent(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        f"{PHONE},wealth-marketing,bank,20250101,2025年12月31日",
        header="手机号,用途,接收方,生效日期,失效日期",
    )
    row = _import(path).frame.row(0, named=True)
    assert row["valid_until_ms"] == _ms("2026-01-01T00:00:00+08:00")
    assert row["document_digest"] is None and row["channel"] is None and row["id_no"] is None


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        (",,wealth-marketing,bank,2025-01-01,2025-12-31,,", "", "NO_KEY"),
        ("x,,wealth-marketing,bank,2025-01-01,2025-12-31,,", "phone", "PHONE_CHARACTERS"),
        (f"{PHONE},,,bank,2025-01-01,2025-12-31,,", "purpose", "PURPOSE_MISSING"),
        (f"{PHONE},,spam,bank,2025-01-01,2025-12-31,,", "purpose", "PURPOSE_UNKNOWN"),
        (f"{PHONE},,wealth-marketing,,2025-01-01,2025-12-31,,", "recipient", "RECIPIENT_MISSING"),
        (f"{PHONE},,wealth-marketing,other,2025-01-01,2025-12-31,,", "recipient", "RECIPIENT_UNKNOWN"),
        (f"{PHONE},,wealth-marketing,bank,,2025-12-31,,", "valid_from", "TIME_MISSING"),
        (f"{PHONE},,wealth-marketing,bank,2025-01-01,,,", "valid_until", "TIME_MISSING"),
        (f"{PHONE},,wealth-marketing,bank,2025-01-01,长期,,", "valid_until", "TIME_FORMAT"),
        (f"{PHONE},,wealth-marketing,bank,45658,2025-12-31,,", "valid_from", "TIME_SERIAL"),
        (f"{PHONE},,wealth-marketing,bank,2025-01-01,9999-12-31,,", "valid_until", "TIME_RANGE"),
        (f"{PHONE},,wealth-marketing,bank,2025-12-31,2025-01-01,,", "valid_until", "PERIOD_EMPTY"),
        (f"{PHONE},,wealth-marketing,bank,2025-01-02,2025-01-02 00:00,,", "valid_until", "PERIOD_EMPTY"),
        (f"{PHONE},,wealth-marketing,bank,2025-01-01,2025-12-31,{DIGEST[:-1]},", "document_digest", "DIGEST_FORMAT"),
        (f"{PHONE},,wealth-marketing,bank,2025-01-01,2025-12-31,{DIGEST[:-1]}g,", "document_digest", "DIGEST_FORMAT"),
        (f"{PHONE},,wealth-marketing,bank,2025-01-01,2025-12-31,,{'x' * 65}", "channel", "CHANNEL_LENGTH"),
        (f"{PHONE},,wealth-marketing,bank,2025-01-01,2025-12-31", "", "CELL_COUNT"),
    ],
)
def test_a_row_that_cannot_become_a_grant_is_refused_with_its_reason(
    tmp_path: Path, row: str, column: str, reason: str
) -> None:
    good = f"{PHONE},,wealth-marketing,bank,2025-01-01,2025-12-31,,"
    table = _read(_file(tmp_path, good, row))
    assert [line[:3] for line in table.rejects.iter_rows()] == [(3, column, reason)]
    assert (table.report.accepted, table.report.rejected) == (1, 1)


def test_one_day_is_a_period(tmp_path: Path) -> None:
    frame = _import(_file(tmp_path, f"{PHONE},,wealth-marketing,bank,2025-01-02,2025-01-02,,")).frame
    assert frame["valid_until_ms"][0] - frame["valid_from_ms"][0] == 24 * 3600 * 1000


def test_equal_grants_merge_however_they_are_spelt_and_others_stay(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        f"{PHONE},,wealth-marketing,bank,2025-01-01,2025-12-31,,",
        f"86{PHONE},,WEALTH-MARKETING,bank,2025/1/1,2026-01-01T00:00:00+08:00,,",
        f"{PHONE},,wealth-marketing,bank,2025-01-01,2025-12-30,,",
        f"{PHONE},,wealth-marketing,cardnet,2025-01-01,2025-12-31,,",
    )
    table = _import(path)
    assert table.frame["line"].to_list() == [3, 4, 5]
    assert (table.report.accepted, table.report.duplicates) == (3, 1)


@pytest.mark.parametrize(
    ("purpose", "recipient", "named"),
    [("marketing", "bank", "investor-education"), ("wealth-marketing", "x", "cardnet")],
)
def test_a_file_of_unknown_codes_only_is_refused_with_the_known_ones(
    tmp_path: Path, purpose: str, recipient: str, named: str
) -> None:
    path = _file(tmp_path, *[f"{PHONE},,{purpose},{recipient},2025-01-01,2025-12-31,,"] * 3)
    with pytest.raises(Refused) as caught:
        _import(path, max_bad_share=1.0)
    assert caught.value.code == "QUALITY" and named in caught.value.zh and named in caught.value.en


def test_a_file_past_the_limit_of_bad_rows_is_refused_whole(tmp_path: Path) -> None:
    good = f"{PHONE},,wealth-marketing,bank,2025-01-01,2025-12-31,,"
    path = _file(tmp_path, good, good, "x,,wealth-marketing,bank,2025-01-01,2025-12-31,,", "")
    with pytest.raises(Refused) as caught:
        _import(path)
    assert caught.value.code == "QUALITY" and "授权.csv" in caught.value.zh
    assert _import(path, max_bad_share=0.34).report.accepted == 1


@pytest.mark.parametrize("missing", ["purpose", "recipient", "valid_from", "valid_until"])
def test_a_required_column_that_is_missing_refuses_the_file(tmp_path: Path, missing: str) -> None:
    header = ",".join(name for name in HEADER.split(",") if name != missing)
    with pytest.raises(Refused) as caught:
        _read(_file(tmp_path, f"{PHONE},,a,b,c,d,e", header=header))
    assert caught.value.code == "COLUMN_MISSING" and caught.value.details["missing"] == missing


def test_other_columns_of_a_consent_file_are_not_kept(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        f"{PHONE},wealth-marketing,bank,2025-01-01,2025-12-31,张三",
        header="phone,purpose,recipient,valid_from,valid_until,姓名",
    )
    table = _import(path)
    assert table.frame.columns == list(GRANT_SCHEMA)
    assert [one.use for one in table.mapping.columns][-1] == "ignored"


def test_date_cells_of_a_workbook_include_their_day(tmp_path: Path) -> None:
    book = xlsxwriter.Workbook(str(tmp_path / "a.xlsx"))
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    sheet = book.add_worksheet("授权")
    for column, name in enumerate(["phone", "purpose", "recipient", "valid_from", "valid_until"]):
        sheet.write_string(0, column, name)
    for column, text in enumerate([PHONE, "wealth-marketing", "bank"]):
        sheet.write_string(1, column, text)
    sheet.write_datetime(1, 3, datetime(2025, 1, 1), day)
    sheet.write_datetime(1, 4, datetime(2025, 12, 31), day)
    book.close()
    row = _import(tmp_path / "a.xlsx").frame.row(0, named=True)
    assert row["valid_from_ms"] == _ms("2025-01-01T00:00:00+08:00")
    assert row["valid_until_ms"] == _ms("2026-01-01T00:00:00+08:00")


def test_dates_and_instants_of_parquet_keep_their_meaning(tmp_path: Path) -> None:
    table = pa.table(
        {
            "phone": [PHONE],
            "purpose": ["wealth-marketing"],
            "recipient": ["bank"],
            "valid_from": pa.array([date(2025, 1, 1)]),
            "valid_until": pa.array([datetime(2025, 6, 30, 16, tzinfo=UTC)], pa.timestamp("ns", "Asia/Shanghai")),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    row = _import(tmp_path / "a.parquet").frame.row(0, named=True)
    assert row["valid_from_ms"] == _ms("2025-01-01T00:00:00+08:00")
    assert row["valid_until_ms"] == _ms("2025-07-01T00:00:00+08:00")


def test_small_batches_give_the_same_grants(tmp_path: Path) -> None:
    rows = [f"{10000000000 + n % 7},,wealth-marketing,bank,2025-01-{1 + n % 28:02d},2025-12-31,," for n in range(40)]
    path = _file(tmp_path, *rows, "x,,spam,bank,1,2,,")
    whole = _read(path)
    for batch_rows in (1, 6):
        parts = _read(path, Limits(batch_rows=batch_rows))
        assert parts.frame.equals(whole.frame) and parts.rejects.equals(whole.rejects)


def test_rejects_of_a_consent_file_show_no_key(tmp_path: Path) -> None:
    table = _read(_file(tmp_path, f"{PHONE}8,{ID_NO}8,{PHONE},{ID_NO},{PHONE},{PHONE},{PHONE},"))
    text = str(table.rejects.rows()) + repr(table) + str(table.report.as_dict())
    assert table.rejects.height >= 6
    assert PHONE not in text and ID_NO not in text
    assert isinstance(table.rejects, pl.DataFrame)
