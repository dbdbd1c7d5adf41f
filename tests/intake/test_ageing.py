"""Old data and customers of two classes are pointed out, never silently taken."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.commands.lists import quality_lines
from workbench.intake import read_customers
from workbench.intake.ageing import class_conflicts, data_age

TODAY = date(2025, 6, 30)


def written(folder: Path, *rows: str, header: str = "客户号,手机号,风险等级,更新日期") -> Path:
    path = folder / "list.csv"
    path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return path


def test_rows_last_right_too_long_ago_are_counted_and_those_without_a_readable_day_too(tmp_path: Path) -> None:
    path = written(
        tmp_path, "k-1,10000000001,C1,2025-06-01", "k-2,10000000002,C1,2023/1/5 08:00", "k-3,10000000003,C1,soon",
        "k-4,10000000004,C1,2026-01-01", "k-5,10000000005,C1,",
    )  # fmt: skip
    report = read_customers(path, today=TODAY, stale_days=365, as_of=date(2020, 1, 1)).report
    age = report.age
    assert (age.source, age.column, age.oldest, age.newest) == ("column", "更新日期", "2023-01-05", "2025-06-01")
    assert (age.stale, age.undated, report.accepted) == (1, 3, 5)
    assert report.as_dict()["age"]["stale"] == 1  # type: ignore[index]
    assert any("1 行超过 365 天" in line for line in quality_lines(report.as_dict()))


@pytest.mark.parametrize(("days_ago", "stale"), [(365, 0), (366, 1)])
def test_without_such_a_column_the_day_of_the_catalogue_counts(tmp_path: Path, days_ago: int, stale: int) -> None:
    path = written(tmp_path, "k-1,10000000001", header="客户号,手机号")
    age = read_customers(path, today=TODAY, as_of=TODAY - timedelta(days=days_ago)).report.age
    assert (age.source, age.stale, age.undated) == ("catalogue", stale, 0)
    unknown = read_customers(path, today=TODAY).report.age
    assert (unknown.source, unknown.stale, unknown.undated) == ("", 0, 1)


def test_two_rows_of_one_customer_with_different_levels_are_reported_masked_and_the_last_stands(tmp_path: Path) -> None:
    path = written(
        tmp_path, "kunde-0001,10000000001,C1,", "kunde-0002,10000000002,C3,", "kunde-0001,10000000001,C4,",
        "kunde-0002,10000000002,C3,", "kunde-0003,10000000003,,", "kunde-0003,10000000003,C2,",
    )  # fmt: skip
    table = read_customers(path, today=TODAY)
    report = table.report
    assert (report.accepted, report.duplicates, report.class_conflicts) == (3, 3, 2)
    assert dict(table.frame.select("customer_id", "risk_level").iter_rows())["kunde-0001"] == "C4"
    assert [(one.lines, one.levels) for one in report.conflicts] == [((2, 4), ("C1", "C4")), ((6, 7), ("", "C2"))]
    told = "\n".join(quality_lines(report.as_dict()))
    assert "C1 (2) → C4 (4)" in told and "kunde-0001" not in told


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["C1", "C2", None]), st.booleans()), max_size=20))
def test_conflicts_are_those_that_naive_sets_give(rows: list[tuple[str, str | None, bool]]) -> None:
    seen: dict[str, set[str | None]] = {}
    for customer, level, usable in rows:
        if usable:
            seen.setdefault(customer, set()).add(level)
    count, shown = class_conflicts(
        pl.Series([one[0] for one in rows], dtype=pl.String), pl.Series([one[1] for one in rows], dtype=pl.String),
        pl.Series(range(len(rows)), dtype=pl.Int64), pl.Series([one[2] for one in rows], dtype=pl.Boolean),
    )  # fmt: skip
    assert count == len(shown) == sum(len(levels) > 1 for levels in seen.values())


def test_no_rows_have_no_age() -> None:
    frame = pl.DataFrame({"updated_at": []}, schema={"updated_at": pl.String})
    assert data_age(frame, ["updated_at"], today=TODAY, days=1).oldest == ""
