"""Customer lists: a file becomes one frame of normalised customers, a quality report and a list of rejects.

Rules for rows that belong together (docs/intake.md): equal customer number and equal keys merge into the last row; one
customer number with different keys is refused as a whole, because nobody can tell which row is right; a key held by
several customer numbers is kept and counted, and the consent filter decides about it (decision 16).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl

from workbench.domain.identifiers import KEY_KINDS, mask_id_no, mask_phone, mask_unknown
from workbench.intake.ageing import ClassConflict, class_conflicts, data_age
from workbench.intake.formats import open_table, read_table
from workbench.intake.mapping import CUSTOMER_FIELDS, ColumnMapping, propose_mapping, require_fields
from workbench.intake.normalise import (
    clean_customer_ids,
    clean_id_numbers,
    clean_phones,
    clean_risk_levels,
    clean_texts,
)
from workbench.intake.quality import (
    IsCancelled,
    Progress,
    QualityReport,
    RejectLog,
    check_cancelled,
    count_missing,
    require_quality,
)
from workbench.intake.table import CELL_CHARACTERS, Batch, Limits, TableInfo

CUSTOMER_COLUMNS: Final = ("customer_id", "phone", "id_no", "name", "risk_level")

_CLEANERS: Final = {"phone": clean_phones, "risk_level": clean_risk_levels, "customer_id": clean_customer_ids}

# Working columns; a NUL cannot occur in a header, so no tag has these names.
LINE: Final = "\x00line"
SUSPECT: Final = "\x00suspect"


@dataclass(frozen=True, slots=True)
class CustomerTable:
    """The customers of one file.

    frame: string columns customer_id, phone, id_no, name, risk_level, then the tags in file order; null where there is
    no value; one row per customer_id, in the order of the (last) line. report: counts. rejects: one row per refused
    cell, masked. shared: one row per customer and shared key: key_kind, case, masked key, customer_id, line.
    mapping: the use of every column.
    """

    frame: pl.DataFrame = field(repr=False)
    report: QualityReport
    rejects: pl.DataFrame = field(repr=False)
    shared: pl.DataFrame = field(repr=False)
    mapping: ColumnMapping = field(repr=False)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a page shows before an import: the file, the proposed mapping, and some masked rows (header to text)."""

    info: TableInfo
    mapping: ColumnMapping
    sample: tuple[tuple[str, ...], ...]


def import_customers(
    path: str | Path,
    *,
    today: date,
    mapping: Mapping[str, str] | None = None,
    max_bad_share: float = 0.05,
    sheet: str | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> CustomerTable:
    """Read a customer list and refuse it as a whole when too much of it is bad.

    today: in Asia/Shanghai; a date of birth after it is refused. mapping: field to header, where the file's own headers
    are unknown or ambiguous. max_bad_share: 0 to 1. progress: called with rows done and an estimate of all rows.
    cancelled: asked between batches. Raises Refused (codes of FILE_REASONS) or Cancelled; nothing is kept then.
    Use `read_customers` and `require_quality` to have the rejects of a refused file.
    Cost: about 3 microseconds of CPU a row of seven columns (docs/intake.md).
    """
    table = read_customers(
        path, today=today, mapping=mapping, sheet=sheet, limits=limits, progress=progress, cancelled=cancelled
    )
    require_quality(table.report, max_bad_share)
    return table


def read_customers(
    path: str | Path,
    *,
    today: date,
    mapping: Mapping[str, str] | None = None,
    sheet: str | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
    as_of: date | None = None,
    stale_days: int = 365,
) -> CustomerTable:
    """As `import_customers` without the limit on bad rows: call `require_quality` before any row is used.

    as_of: the day of the data by the catalogue, for files that have no such column. stale_days: see `data_age`.
    """
    path = Path(path)
    reader = open_table(path, sheet=sheet, limits=limits)
    columns = propose_mapping(reader.info.header, fields=CUSTOMER_FIELDS, chosen=mapping, path=path)
    require_fields(columns, all_of=("customer_id",), one_of=KEY_KINDS, path=path)
    rejects = RejectLog(reader.info)
    parts: list[pl.DataFrame] = []
    rows = 0
    for batch in reader.batches():
        check_cancelled(cancelled)
        rows += batch.frame.height + len(batch.misfits)
        rejects.add_lines(list(batch.misfits), "CELL_COUNT")
        parts.append(_clean_batch(batch, columns, rejects, today))
        if progress is not None:
            progress(rows, max(rows, reader.info.rows_estimate))
    check_cancelled(cancelled)
    parts = parts or [_no_customers(columns)]
    # Whole rows are copied once and part by part: at a million rows each copy of the whole costs 150 MB.
    keys = pl.concat([part.select("customer_id", "phone", "id_no", LINE, SUSPECT) for part in parts], rechunk=True)
    usable = ~refuse_suspects(keys["id_no"], keys[SUSPECT], keys[LINE], columns, rejects)
    usable &= ~_refuse_conflicts(keys, usable, columns, rejects)
    conflicts = 0
    shown_conflicts: tuple[ClassConflict, ...] = ()
    if (usable & keys["customer_id"].is_duplicated()).any():
        levels = pl.concat([part["risk_level"] for part in parts])
        conflicts, shown_conflicts = class_conflicts(keys["customer_id"], levels, keys[LINE], usable)
    kept = usable & _are_last(keys["customer_id"], usable)
    duplicates = kept.filter(usable & ~kept).len()
    shared = _shared_keys(keys.filter(kept))
    del keys
    frame = _take(parts, kept).drop(LINE, SUSPECT)
    report = QualityReport(
        file=reader.info.file,
        kind=reader.info.kind,
        rows=rows,
        accepted=frame.height,
        rejected=rejects.count_rows(),
        duplicates=duplicates,
        shared_keys=shared.select("key_kind", "key").n_unique() if shared.height else 0,
        reasons=rejects.count_reasons(),
        missing=count_missing(frame, columns),
        encoding=reader.info.encoding,
        delimiter=reader.info.delimiter,
        sheet=reader.info.sheet,
        sheets=reader.info.sheets,
        columns=tuple(columns.as_list()),
        age=data_age(frame, list(columns.tags()), today=today, days=stale_days, as_of=as_of),
        class_conflicts=conflicts,
        conflicts=shown_conflicts,
    )
    return CustomerTable(frame, report, rejects.frame(), shared.drop("key"), columns)


def preview_customers(
    path: str | Path, *, mapping: Mapping[str, str] | None = None, sheet: str | None = None, rows: int = 5
) -> Preview:
    """The proposed mapping and the first rows of a list, masked: keys in their own form, every other cell as unknown.

    Raises Refused as `import_customers` does for the file and an ambiguous mapping; missing fields are not an error
    here, because a page asks for them.
    """
    path = Path(path)
    table = read_table(path, sheet=sheet, max_rows=rows)
    columns = propose_mapping(table.info.header, fields=CUSTOMER_FIELDS, chosen=mapping, path=path)
    kinds = {index: name for name, index in columns.fields().items()}
    sample = tuple(
        tuple(_mask(kinds.get(index, ""), cell or "") for index, cell in enumerate(row))
        for row in table.frame.iter_rows()
    )
    return Preview(table.info, columns, sample)


def _clean_batch(batch: Batch, columns: ColumnMapping, rejects: RejectLog, today: date) -> pl.DataFrame:
    """The normalised rows of a batch without refused ones, in the order of CUSTOMER_COLUMNS, tags, working columns."""
    lines, height = batch.lines, batch.frame.height
    fields = columns.fields()
    nothing = pl.Series([None], dtype=pl.String).new_from_index(0, height)
    suspect = pl.Series([False], dtype=pl.Boolean).new_from_index(0, height)
    refused = refuse_long_cells(batch, columns, rejects)
    values: dict[str, pl.Series] = {}
    for name in CUSTOMER_COLUMNS:
        if name not in fields:
            values[name] = nothing
            continue
        raw = batch.frame[str(fields[name])]
        if name == "name":
            values[name] = clean_texts(raw)
            continue
        if name == "id_no":
            cleaned = clean_id_numbers(raw, today=today)
            suspect = cleaned["suspect"]
        else:
            cleaned = _CLEANERS[name](raw)
        values[name] = cleaned["value"]
        refused = refused | rejects.add_cells(lines, fields[name], cleaned["fault"], raw)
    no_key = values["phone"].is_null() & values["id_no"].is_null() & ~refused
    refused = refused | rejects.add_cells(lines, None, where(no_key, "NO_KEY"), None)
    for name, index in columns.tags().items():
        values[name] = clean_texts(batch.frame[str(index)])
    frame = pl.DataFrame([column.alias(name) for name, column in values.items()])
    frame = frame.with_columns(lines.alias(LINE), suspect.alias(SUSPECT))
    return frame.filter(~refused) if refused.any() else frame


def refuse_long_cells(batch: Batch, columns: ColumnMapping, rejects: RejectLog) -> pl.Series:
    """Refuse rows with a cell that no field or tag needs to be so long; returns the mask of those rows."""
    refused = pl.Series([False], dtype=pl.Boolean).new_from_index(0, batch.frame.height)
    for index in [*columns.fields().values(), *columns.tags().values()]:
        raw = batch.frame[str(index)]
        # Bytes are counted first because that costs nothing; only then characters.
        if (raw.str.len_bytes().max() or 0) > CELL_CHARACTERS:  # type: ignore[operator]  # max of integers
            is_long = (raw.str.len_chars() > CELL_CHARACTERS).fill_null(value=False)
            refused = refused | rejects.add_cells(batch.lines, index, where(is_long, "CELL_TOO_LONG"), raw)
    return refused


def refuse_suspects(
    id_numbers: pl.Series, suspect: pl.Series, lines: pl.Series, columns: ColumnMapping, rejects: RejectLog
) -> pl.Series:
    """Refuse identity numbers ending in 000 where the same file has numbers whose last digits were replaced by 000.

    suspect: as `clean_id_numbers` marks them. Returns the mask of the rows that are refused.
    """
    if "ID_DIGITS_LOST" not in rejects.count_reasons():
        return pl.Series([False], dtype=pl.Boolean).new_from_index(0, suspect.len())
    return rejects.add_cells(lines, columns.index_of("id_no"), where(suspect, "ID_DIGITS_SUSPECT"), id_numbers)


def _refuse_conflicts(keys: pl.DataFrame, usable: pl.Series, columns: ColumnMapping, rejects: RejectLog) -> pl.Series:
    """Refuse all rows of a customer number that appears with different keys; returns their mask."""
    repeated = keys.filter(usable & keys["customer_id"].is_duplicated()).select("customer_id", "phone", "id_no")
    spellings = repeated.group_by("customer_id").agg(count=pl.struct("phone", "id_no").n_unique())
    in_conflict = spellings.filter(pl.col("count") > 1)["customer_id"]
    is_conflict = usable & keys["customer_id"].is_in(in_conflict.implode())
    return rejects.add_cells(
        keys[LINE], columns.index_of("customer_id"), where(is_conflict, "CUSTOMER_CONFLICT"), keys["customer_id"]
    )


def _are_last(customer_ids: pl.Series, usable: pl.Series) -> pl.Series:
    """Whether a row is the last usable one of its customer number; true for rows that are not usable."""
    # Rows that are not usable get a null, so that they cannot be the last row of anybody.
    names = pl.DataFrame({"name": customer_ids, "usable": usable})
    return names.select(pl.when(pl.col("usable")).then(pl.col("name"))).to_series().is_last_distinct() | ~usable


def _take(parts: list[pl.DataFrame], kept: pl.Series) -> pl.DataFrame:
    """The kept rows of all parts, in order; empties `parts` while it goes, so that each row exists once."""
    result: list[pl.DataFrame] = []
    start = 0
    while parts:
        part = parts.pop(0)
        mask = kept.slice(start, part.height)
        start += part.height
        result.append(part if mask.all() else part.filter(mask))
    return pl.concat(result)


def _shared_keys(frame: pl.DataFrame) -> pl.DataFrame:
    """Customers that share a key: key_kind, case, masked, customer_id, line, key (the last one for counting only).

    case: ONE_PERSON (the other key is equal too, or absent), PHONE_TWO_ID_NOS, ID_NO_TWO_PHONES.
    """
    parts: list[pl.DataFrame] = []
    for kind, other, case in (("phone", "id_no", "PHONE_TWO_ID_NOS"), ("id_no", "phone", "ID_NO_TWO_PHONES")):
        held = frame.select(pl.col(kind).alias("key"), pl.col(other).alias("other"), "customer_id", pl.col(LINE))
        held = held.filter(pl.col("key").is_not_null())
        held = held.filter(held["key"].is_duplicated())
        mask = mask_phone if kind == "phone" else mask_id_no
        masked = pl.Series("masked", [mask(key) for key in held["key"]], dtype=pl.String)
        several = pl.col("other").drop_nulls().n_unique().over("key") > 1
        parts.append(
            held.with_columns(masked, key_kind=pl.lit(kind))
            .with_columns(case=pl.when(several).then(pl.lit(case)).otherwise(pl.lit("ONE_PERSON")))
            .sort("key", LINE)
            .select("key_kind", "case", "masked", "customer_id", pl.col(LINE).alias("line"), "key")
        )
    return pl.concat(parts)


def where(mask: pl.Series, reason: str) -> pl.Series:
    """A column with `reason` where `mask` holds and null elsewhere."""
    return pl.DataFrame({"mask": mask}).select(pl.when(pl.col("mask")).then(pl.lit(reason))).to_series()


def _no_customers(columns: ColumnMapping) -> pl.DataFrame:
    names = [*CUSTOMER_COLUMNS, *columns.tags()]
    return pl.DataFrame(schema={**dict.fromkeys(names, pl.String), LINE: pl.Int64, SUSPECT: pl.Boolean})


def _mask(field_name: str, cell: str) -> str:
    if field_name == "phone":
        return mask_phone(cell)
    return mask_id_no(cell) if field_name == "id_no" else mask_unknown(cell)
