"""The quality report of one file, its rejects, and the rule that a bad file is not imported at all."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Final

import polars as pl

from workbench.errors import Cancelled
from workbench.intake.ageing import ClassConflict, DataAge
from workbench.intake.mapping import ColumnMapping
from workbench.intake.normalise import mask_unknown_cells
from workbench.intake.reasons import ROW_REASONS, refuse_file, shown_text
from workbench.intake.table import TableInfo

REJECT_COLUMNS: Final = ("line", "column", "reason", "reason_zh", "reason_en", "value")
REJECT_SCHEMA: Final = pl.Schema({"line": pl.Int64, "column": pl.String, "reason": pl.String, "value": pl.String})

Progress = Callable[[int, int | None], None]
IsCancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """Counts of one file. rows = accepted + rejected + duplicates, always.

    rows: records behind the header, blank ones left out. accepted: rows that are imported. rejected: rows refused for
    at least one reason. duplicates: rows merged into an equal one. shared_keys: distinct keys that several of the
    accepted customers hold. reasons: refused cells by reason, most frequent first. missing: accepted rows without a
    value, by field and tag. file: the last part of the path. columns: the use of every column. age: how old the accepted
    rows are. class_conflicts: customers whose merged rows disagree about the risk level; conflicts: the first of them.
    """

    file: str
    kind: str
    rows: int
    accepted: int
    rejected: int
    duplicates: int
    shared_keys: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    encoding: str = ""
    delimiter: str = ""
    sheet: str = ""
    sheets: tuple[str, ...] = ()
    columns: tuple[dict[str, object], ...] = ()
    age: DataAge = field(default_factory=DataAge)
    class_conflicts: int = 0
    conflicts: tuple[ClassConflict, ...] = ()

    def __post_init__(self) -> None:
        if self.rows != self.accepted + self.rejected + self.duplicates:
            raise ValueError("the counts of a quality report must add up")

    @property
    def bad_share(self) -> float:
        """Rejected rows as a part of all rows, 0 to 1."""
        return self.rejected / self.rows if self.rows else 0.0

    def as_dict(self) -> dict[str, object]:
        """The form that replies, pages and `--json` output carry: counts and headers, no identifier; risk levels and masked names."""
        return asdict(self) | {
            "bad_share": round(self.bad_share, 6),
            "reason_texts": {code: {"zh": ROW_REASONS[code][0], "en": ROW_REASONS[code][1]} for code in self.reasons if code in ROW_REASONS},
        }


def require_quality(report: QualityReport, max_bad_share: float) -> None:
    """Raise Refused (NO_ROWS or QUALITY) when the file must not be imported.

    max_bad_share: 0 to 1; a file is refused when more than this part of its rows is, or when no row is left.
    """
    path = Path(report.file)
    if report.rows == 0:
        raise refuse_file("NO_ROWS", path, "只有表头，没有数据", "it has a header and no row")
    counts = {"rows": report.rows, "rejected": report.rejected}
    worst = next(iter(report.reasons), "")
    worst_zh, worst_en = ROW_REASONS.get(worst, ("", ""))
    zh_why = f"，最多的原因：{worst_zh}" if worst_zh else ""
    en_why = f"; most often: {worst_en}" if worst_en else ""
    if report.accepted == 0:
        raise refuse_file(
            "QUALITY",
            path,
            f"{report.rows} 行全部不可用{zh_why}",
            f"none of its {report.rows} rows can be used{en_why}",
            reason=worst,
            **counts,
        )
    if report.bad_share > max_bad_share:
        raise refuse_file(
            "QUALITY",
            path,
            f"{report.rows} 行中有 {report.rejected} 行不可用（{report.bad_share:.1%}），"
            f"超过上限 {max_bad_share:.1%}{zh_why}。请按拒收清单修正后重新导入",
            f"{report.rejected} of {report.rows} rows cannot be used ({report.bad_share:.1%}), more than the limit of "
            f"{max_bad_share:.1%}{en_why}. Correct them by the rejects file and import again",
            reason=worst,
            **counts,
        )


class RejectLog:
    """Collects refused cells of one file; a row counts once, however many of its cells are refused."""

    def __init__(self, info: TableInfo) -> None:
        self._header = tuple(shown_text(name) for name in info.header)
        self._parts: list[pl.DataFrame] = []

    def add_lines(self, lines: list[int], reason: str) -> None:
        """Refuse whole rows."""
        if lines:
            self._add(pl.Series("line", lines, dtype=pl.Int64), "", pl.lit(reason), None)

    def add_cells(self, lines: pl.Series, column: int | None, faults: pl.Series, raw: pl.Series | None) -> pl.Series:
        """Refuse the rows where `faults` holds a reason; returns the mask of those rows.

        column: index in the file, or None when the whole row is meant. raw: the cells as in the file, to be masked.
        """
        refused = faults.is_not_null()
        if refused.any():
            cells = None if raw is None else raw.filter(refused)
            name = "" if column is None else self._header[column]
            self._add(lines.filter(refused), name, faults.filter(refused), cells)
        return refused

    def frame(self) -> pl.DataFrame:
        """All rejects by line, columns as in REJECT_COLUMNS; values are masked and harmless in a spreadsheet."""
        parts = pl.concat(self._parts) if self._parts else pl.DataFrame(schema=REJECT_SCHEMA)
        texts = pl.DataFrame(
            {
                "reason": list(ROW_REASONS),
                "reason_zh": [zh for zh, _ in ROW_REASONS.values()],
                "reason_en": [en for _, en in ROW_REASONS.values()],
            }
        )
        joined = parts.join(texts, on="reason", how="left", maintain_order="left")
        return joined.sort("line", maintain_order=True).select(REJECT_COLUMNS)

    def count_rows(self) -> int:
        """The number of distinct lines refused so far."""
        return pl.concat([part["line"] for part in self._parts]).n_unique() if self._parts else 0

    def count_reasons(self) -> dict[str, int]:
        """Refused cells by reason, most frequent first."""
        counts: Counter[str] = Counter()
        for part in self._parts:
            for reason, count in part["reason"].value_counts().iter_rows():
                counts[reason] += count
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def _add(self, lines: pl.Series, column: str, reason: pl.Series | pl.Expr, cells: pl.Series | None) -> None:
        masked = None if cells is None else mask_unknown_cells(cells)
        frame = pl.DataFrame({"line": lines}).with_columns(
            column=pl.lit(neutralise_cell(column)),
            reason=reason,
            value=pl.lit("") if masked is None else neutralise_cells(masked),
        )
        self._parts.append(frame.cast(REJECT_SCHEMA).select(list(REJECT_SCHEMA)))


_DANGEROUS_START: Final = "=+-@\t\r\n|%＝＋－＠"


def neutralise_cell(text: str) -> str:
    """`text` as a cell that no spreadsheet takes for a formula: a dangerous first character gets an apostrophe.

    Source: OWASP, CSV Injection. Blanks in front do not hide the character.
    """
    return f"'{text}" if text.lstrip(" \u3000\u00a0")[:1] in tuple(_DANGEROUS_START) else text


def neutralise_cells(column: pl.Series) -> pl.Series:
    """The column form of `neutralise_cell`; null stays null."""
    if column.dtype != pl.String:
        return column
    first = column.str.strip_chars_start(" \u3000\u00a0").str.slice(0, 1)
    dangerous = first.is_in(list(_DANGEROUS_START))
    return (
        pl.DataFrame({"text": column, "dangerous": dangerous})
        .select(pl.when(pl.col("dangerous")).then(pl.lit("'") + pl.col("text")).otherwise(pl.col("text")))
        .to_series()
        .alias(column.name)
    )


def write_rejects(rejects: pl.DataFrame, path: Path) -> None:
    """Write the rejects as CSV in UTF-8 with BOM, readable by its owner only. Replaces an earlier file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8-sig", newline="") as handle:
        _write_csv(rejects, handle)


def _write_csv(rejects: pl.DataFrame, handle: IO[str]) -> None:
    writer = csv.writer(handle)
    writer.writerow(rejects.columns)
    for part in rejects.iter_slices(50_000):
        writer.writerows(part.iter_rows())


def check_cancelled(cancelled: IsCancelled | None) -> None:
    """Raise Cancelled when the person who started the import has stopped it."""
    if cancelled is not None and cancelled():
        raise Cancelled("导入已取消，没有保存任何内容", "the import was cancelled; nothing was stored")


def count_missing(frame: pl.DataFrame, mapping: ColumnMapping) -> dict[str, int]:
    """Empty cells of `frame` for every field and tag that has a column in the file."""
    present = [*mapping.fields(), *mapping.tags()]
    return {name: frame[name].null_count() for name in present if name in frame.columns}
