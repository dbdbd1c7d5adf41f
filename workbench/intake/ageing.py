"""How old the customers of a file are, and customers whose rows disagree about their class. Pure. Document: docs/intake.md.

Neither refuses a row: an old list or a changed risk level can be right. Both stand in the quality report, so that the
person who imports sees them before the list is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import polars as pl

from workbench.domain.identifiers import mask_unknown
from workbench.intake.times import SHANGHAI, parse_grant_time

DATE_TAGS: Final = frozenset(
    {
        "更新日期", "更新时间", "最后更新日期", "最后更新时间", "数据日期", "updated_at", "update_time", "update_date",
        "updated", "last_updated", "last_update", "data_date", "as_of",
    }
)  # fmt: skip
"""Spellings of a column that says when a row was last right; upper and lower case are one."""
SHOWN_CONFLICTS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DataAge:
    """source: "column", "catalogue" or "" when nothing says it. column: its tag. oldest, newest: YYYY-MM-DD or "".

    stale: accepted rows last right more than `days` days before the import. undated: accepted rows whose date is
    missing or cannot be read, or lies in the future; all of them when nothing says how old the data is.
    """

    source: str = ""
    column: str = ""
    oldest: str = ""
    newest: str = ""
    stale: int = 0
    undated: int = 0
    days: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassConflict:
    """Rows of one customer that disagree: customer masked, lines of the file, their risk levels in the same order.

    The last row stands. At most SHOWN_CONFLICTS lines are named.
    """

    customer: str
    lines: tuple[int, ...]
    levels: tuple[str, ...]


def data_age(frame: pl.DataFrame, tags: Sequence[str], *, today: date, days: int, as_of: date | None = None) -> DataAge:
    """The age of the rows of `frame`, by the first tag of DATE_TAGS, else by the catalogue's date.

    today: in Asia/Shanghai. days: a row last right longer ago is stale. as_of: the day the catalogue states.
    Cost: one parse for each distinct day.
    """
    column = next((name for name in tags if name.strip().lower() in DATE_TAGS), None)
    if column is None:
        if as_of is None or as_of > today:
            return DataAge(undated=frame.height, days=days)
        is_old = today - as_of > timedelta(days=days)
        day = as_of.isoformat()
        return DataAge(source="catalogue", oldest=day, newest=day, stale=frame.height if is_old else 0, days=days)
    counts = frame[column].str.extract(r"^\s*([^T ]+)").alias("day").value_counts()
    dated: dict[date, int] = {}
    for text, count in counts.iter_rows():
        day_of = _day(text)
        if day_of is not None and day_of <= today:
            dated[day_of] = dated.get(day_of, 0) + int(count)
    return DataAge(
        source="column",
        column=column,
        oldest=min(dated).isoformat() if dated else "",
        newest=max(dated).isoformat() if dated else "",
        stale=sum(count for day_of, count in dated.items() if today - day_of > timedelta(days=days)),
        undated=frame.height - sum(dated.values()),
        days=days,
    )


def class_conflicts(
    customers: pl.Series, levels: pl.Series, lines: pl.Series, usable: pl.Series
) -> tuple[int, tuple[ClassConflict, ...]]:
    """How many customers have usable rows with different risk levels (none given is one too), and the first of them."""
    rows = pl.DataFrame({"customer": customers, "level": levels.fill_null(""), "line": lines}).filter(usable)
    several = (
        rows.group_by("customer", maintain_order=True)
        .agg("line", "level", kinds=pl.col("level").n_unique())
        .filter(pl.col("kinds") > 1)
    )
    shown = tuple(
        ClassConflict(
            customer=mask_unknown(one["customer"]),
            lines=tuple(one["line"][:SHOWN_CONFLICTS]),
            levels=tuple(one["level"][:SHOWN_CONFLICTS]),
        )
        for one in several.head(SHOWN_CONFLICTS).iter_rows(named=True)
    )
    return several.height, shown


def _day(text: str | None) -> date | None:
    found = parse_grant_time(text, is_end=False)
    return None if found.at_ms is None else datetime.fromtimestamp(found.at_ms / 1000, UTC).astimezone(SHANGHAI).date()
