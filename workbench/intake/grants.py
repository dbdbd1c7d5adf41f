"""Consent files: a file becomes one frame of normalised grants, a quality report and a list of rejects.

Whether a grant may be used is the registry's business; here a row only becomes readable or is refused.
Document: docs/intake.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from workbench.domain.identifiers import EMPTY_WORDS, KEY_KINDS, fold_cell
from workbench.intake.customers import SUSPECT, refuse_long_cells, refuse_suspects, where
from workbench.intake.formats import open_table
from workbench.intake.grant_scope import (
    FORM_FIELDS,
    JUDGED,
    SIGNER_FIELDS,
    FormRules,
    read_form_field,
    read_signer_field,
    scope_faults,
    signer_faults,
)
from workbench.intake.mapping import GRANT_FIELDS, ColumnMapping, propose_mapping, require_fields
from workbench.intake.normalise import clean_id_numbers, clean_phones
from workbench.intake.quality import (
    IsCancelled,
    Progress,
    QualityReport,
    RejectLog,
    check_cancelled,
    count_missing,
    require_quality,
)
from workbench.intake.reasons import refuse_file
from workbench.intake.table import Batch, Limits
from workbench.intake.times import parse_grant_time

GRANT_SCHEMA: Final = pl.Schema(
    {
        "line": pl.Int64,
        "phone": pl.String,
        "id_no": pl.String,
        "purpose": pl.String,
        "recipient": pl.String,
        "valid_from_ms": pl.Int64,
        "valid_until_ms": pl.Int64,
        "document_digest": pl.String,
        "channel": pl.String,
        "document": pl.String,
    }
)
FORM_SCHEMA: Final = pl.Schema(
    {
        "notice": pl.String,
        "categories": pl.String,
        "contacts": pl.String,
        "method": pl.String,
        "signer": pl.String,
        "separate": pl.Boolean,
        "max_uses": pl.Int64,
    }
)

SIGNER_SCHEMA: Final = pl.Schema(dict.fromkeys(SIGNER_FIELDS, pl.String()))

_EVERY: Final = pl.Schema({**GRANT_SCHEMA, **FORM_SCHEMA, **SIGNER_SCHEMA})
_CHANNEL_LENGTH: Final = 64
_DOCUMENT_LENGTH: Final = 200
_NOT_IN_NAMES: Final = frozenset("/\\:")
_HEX: Final = frozenset("0123456789abcdef")
_TIMES: Final = {"valid_from": "valid_from_ms", "valid_until": "valid_until_ms"}


@dataclass(frozen=True, slots=True)
class GrantTable:
    """The grants of one file.

    frame: columns of GRANT_SCHEMA, and of FORM_SCHEMA and SIGNER_SCHEMA where the file says any of that; one row per distinct grant in file order; times are milliseconds since the epoch
    (UTC), the end exclusive; digests are lower-case; null where there is no value. line: of the last equal row.
    """

    frame: pl.DataFrame = field(repr=False)
    report: QualityReport
    rejects: pl.DataFrame = field(repr=False)
    mapping: ColumnMapping = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Known:
    """What a grant may name; matched without regard to case."""

    purposes: dict[str, str]
    recipients: dict[str, str]
    from_sheet: bool
    today: date
    rules: FormRules


def import_grant_rows(
    path: str | Path,
    *,
    purposes: Collection[str],
    recipients: Collection[str],
    today: date,
    rules: FormRules | None = None,
    mapping: Mapping[str, str] | None = None,
    max_bad_share: float = 0.05,
    sheet: str | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> GrantTable:
    """Read a consent file and refuse it as a whole when too much of it is bad.

    purposes, recipients: the codes in use; a row that names another is refused. rules: what else a form may say. today, mapping, max_bad_share,
    progress, cancelled: as for `import_customers`. Raises Refused or Cancelled; nothing is kept then.
    """
    table = read_grant_rows(
        path,
        purposes=purposes,
        recipients=recipients,
        today=today,
        rules=rules,
        mapping=mapping,
        sheet=sheet,
        limits=limits,
        progress=progress,
        cancelled=cancelled,
    )
    _refuse_all_unknown(table.report, Path(path), purposes, recipients)
    require_quality(table.report, max_bad_share)
    return table


def read_grant_rows(
    path: str | Path,
    *,
    purposes: Collection[str],
    recipients: Collection[str],
    today: date,
    rules: FormRules | None = None,
    mapping: Mapping[str, str] | None = None,
    sheet: str | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> GrantTable:
    """As `import_grant_rows` without the limit on bad rows: call `require_quality` before any row is used."""
    path = Path(path)
    reader = open_table(path, sheet=sheet, limits=limits)
    columns = propose_mapping(reader.info.header, fields=GRANT_FIELDS, chosen=mapping, with_tags=False, path=path)
    needed = ("purpose", "recipient", "valid_from", "valid_until")
    require_fields(columns, all_of=needed, one_of=KEY_KINDS, path=path)
    known = _Known(
        {code.lower(): code for code in purposes},
        {code.lower(): code for code in {*recipients, *(rules or FormRules()).processors}},
        reader.info.kind == "xlsx",
        today,
        rules or FormRules(),
    )
    rejects = RejectLog(reader.info)
    parts: list[pl.DataFrame] = []
    rows = 0
    for batch in reader.batches():
        check_cancelled(cancelled)
        rows += batch.frame.height + len(batch.misfits)
        rejects.add_lines(list(batch.misfits), "CELL_COUNT")
        parts.append(_clean_batch(batch, columns, rejects, known))
        if progress is not None:
            progress(rows, max(rows, reader.info.rows_estimate))
    check_cancelled(cancelled)
    everything = pl.concat(parts) if parts else pl.DataFrame(schema={**_kept(columns), SUSPECT: pl.Boolean})
    parts.clear()
    suspects = refuse_suspects(everything["id_no"], everything[SUSPECT], everything["line"], columns, rejects)
    kept = ~suspects & _are_last_of_equals(everything)
    duplicates = everything.height - int(suspects.to_numpy().sum()) - int(kept.to_numpy().sum())
    frame = everything.drop(SUSPECT)
    del everything
    frame = frame if kept.all() else frame.filter(kept)
    report = QualityReport(
        file=reader.info.file,
        kind=reader.info.kind,
        rows=rows,
        accepted=frame.height,
        rejected=rejects.count_rows(),
        duplicates=duplicates,
        reasons=rejects.count_reasons(),
        missing=count_missing(frame, columns),
        encoding=reader.info.encoding,
        delimiter=reader.info.delimiter,
        sheet=reader.info.sheet,
        sheets=reader.info.sheets,
        columns=tuple(columns.as_list()),
    )
    return GrantTable(frame, report, rejects.frame(), columns)


def _clean_batch(batch: Batch, columns: ColumnMapping, rejects: RejectLog, known: _Known) -> pl.DataFrame:
    fields = columns.fields()
    refused = refuse_long_cells(batch, columns, rejects)
    values: dict[str, pl.Series] = {"line": batch.lines}
    suspect = pl.Series([False], dtype=pl.Boolean).new_from_index(0, batch.frame.height)
    for name in GRANT_FIELDS:
        target = _TIMES.get(name, name)
        if name not in fields:
            values[target] = pl.Series([None], dtype=_EVERY[target]).new_from_index(0, batch.frame.height)
            continue
        raw = batch.frame[str(fields[name])]
        if name == "phone":
            cleaned = clean_phones(raw)
        elif name == "id_no":
            cleaned = clean_id_numbers(raw, today=known.today)
            suspect = cleaned["suspect"]
        else:
            cleaned = _by_distinct(raw, name, known)
        values[target] = cleaned["value"]
        refused = refused | rejects.add_cells(batch.lines, fields[name], cleaned["fault"], raw)
    if known.rules.notice_required or known.rules.processors or set(FORM_FIELDS) & set(fields):
        told = scope_faults(pl.DataFrame([values[name].alias(name) for name in JUDGED]), known.rules)
        column = fields.get("notice", fields["recipient"])
        faults = told.select(pl.when(~refused).then("fault")).to_series()
        refused = refused | rejects.add_cells(batch.lines, column, faults, batch.frame[str(column)])
        values |= {name: told[name] for name in ("categories", "contacts", "separate")}
    if known.rules.representative_required or set(SIGNER_FIELDS) & set(fields):
        judged = signer_faults(
            pl.DataFrame([values[name].alias(name) for name in ("signer", *SIGNER_FIELDS)]), required=known.rules.representative_required
        )
        column = fields.get("signer_name", fields.get("signer", fields["recipient"]))
        # Without the cell: a name is too short to be masked.
        faults = pl.DataFrame({"fault": judged, "refused": refused}).select(pl.when(~pl.col("refused")).then("fault")).to_series()
        refused = refused | rejects.add_cells(batch.lines, column, faults, None)
    no_key = values["phone"].is_null() & values["id_no"].is_null() & ~refused
    refused = refused | rejects.add_cells(batch.lines, None, where(no_key, "NO_KEY"), None)
    ends_early = (values["valid_until_ms"] <= values["valid_from_ms"]).fill_null(value=False) & ~refused
    until = fields["valid_until"]
    raw_until = batch.frame[str(until)]
    refused = refused | rejects.add_cells(batch.lines, until, where(ends_early, "PERIOD_EMPTY"), raw_until)
    frame = pl.DataFrame([values[name].alias(name) for name in _kept(columns)])
    return frame.with_columns(suspect.alias(SUSPECT)).filter(~refused)


def _kept(columns: ColumnMapping) -> dict[str, pl.DataType]:
    """Columns of the frame: those of a form only where the file says any of it, because each costs 16 bytes a row."""
    present = set(columns.fields())
    return {
        **GRANT_SCHEMA, **(FORM_SCHEMA if set(FORM_FIELDS) & present else {}), **(SIGNER_SCHEMA if set(SIGNER_FIELDS) & present else {}),
    }  # fmt: skip


def _are_last_of_equals(grants: pl.DataFrame) -> pl.Series:
    """Whether a row is the last one of all equal rows, its line left aside."""
    contents = grants.drop("line")
    # Hashes find the few rows that may have an equal; only those are compared in full, because a hash may lie.
    candidates = contents.hash_rows().is_duplicated().arg_true()
    last = contents.select(pl.all().gather(candidates)).with_columns(at=candidates)
    last = last.unique(contents.columns, keep="last", maintain_order=True)
    is_last = np.ones(grants.height, dtype=np.bool_)
    is_last[candidates.to_numpy()] = False
    is_last[last["at"].to_numpy()] = True
    return pl.Series(is_last)


def _by_distinct(raw: pl.Series, name: str, known: _Known) -> pl.DataFrame:
    """Columns `value` and `fault`: each distinct cell is read once, because a column of codes or dates has few."""
    read = _READERS[name]
    distinct = raw.fill_null("").unique()
    results = [read(text, known) for text in distinct]
    kind = _EVERY[_TIMES.get(name, name)]
    table = pl.DataFrame(
        {
            "raw": distinct,
            "value": pl.Series([value for value, _ in results], dtype=kind),
            "fault": pl.Series([fault for _, fault in results], dtype=pl.String),
        }
    )
    cells = raw.fill_null("").alias("raw").to_frame()
    return cells.join(table, on="raw", how="left", maintain_order="left").select("value", "fault")


_Reading = tuple[str | int | bool | None, str | None]
_Reader = Callable[[str, _Known], _Reading]


def _code_reader(missing: str, unknown: str, codes: Callable[[_Known], dict[str, str]]) -> _Reader:
    def read(text: str, known: _Known) -> _Reading:
        folded = fold_cell(text).lower()
        if not folded or folded in EMPTY_WORDS:
            return None, missing
        code = codes(known).get(folded)
        return (code, None) if code is not None else (None, unknown)

    return read


def _read_from(text: str, known: _Known) -> _Reading:
    time = parse_grant_time(text, is_end=False, from_sheet=known.from_sheet)
    return time.at_ms, time.fault


def _read_until(text: str, known: _Known) -> _Reading:
    time = parse_grant_time(text, is_end=True, from_sheet=known.from_sheet)
    return time.at_ms, time.fault


def _read_digest(text: str, known: _Known) -> _Reading:
    folded = fold_cell(text).lower()
    if not folded or folded in EMPTY_WORDS:
        return None, None
    return (folded, None) if len(folded) == 64 and _HEX.issuperset(folded) else (None, "DIGEST_FORMAT")


def _read_channel(text: str, known: _Known) -> _Reading:
    folded = " ".join(fold_cell(text).split())
    if len(folded) > _CHANNEL_LENGTH:
        return None, "CHANNEL_LENGTH"
    return folded or None, None


def _read_document(text: str, known: _Known) -> _Reading:
    """The name of a file in the folder that comes with the rows: no path, nothing hidden."""
    folded = fold_cell(text).strip()
    if not folded or folded.lower() in EMPTY_WORDS:
        return None, None
    if len(folded) > _DOCUMENT_LENGTH or folded.startswith(".") or set(folded) & _NOT_IN_NAMES or not folded.isprintable():
        return None, "DOCUMENT_NAME"
    return folded, None


def _signer_reader(name: str) -> _Reader:
    return lambda text, known: read_signer_field(name, text)


def _form_reader(name: str) -> _Reader:
    return lambda text, known: read_form_field(name, text, known.rules)


_READERS: Final[dict[str, _Reader]] = {
    "purpose": _code_reader("PURPOSE_MISSING", "PURPOSE_UNKNOWN", lambda known: known.purposes),
    "recipient": _code_reader("RECIPIENT_MISSING", "RECIPIENT_UNKNOWN", lambda known: known.recipients),
    "valid_from": _read_from,
    "valid_until": _read_until,
    "document_digest": _read_digest,
    "channel": _read_channel,
    "document": _read_document,
    **{name: _form_reader(name) for name in FORM_FIELDS},
    **{name: _signer_reader(name) for name in SIGNER_FIELDS},
}


def _refuse_all_unknown(
    report: QualityReport, path: Path, purposes: Collection[str], recipients: Collection[str]
) -> None:
    """Say so when no row at all names a known purpose or recipient: then the whole file is about something else."""
    for reason, zh, en, known in (
        ("PURPOSE_UNKNOWN", "用途代码", "purpose code", purposes),
        ("RECIPIENT_UNKNOWN", "接收方", "recipient", recipients),
    ):
        if report.rows and report.reasons.get(reason, 0) == report.rows:
            names = ", ".join(sorted(known))
            raise refuse_file(
                "QUALITY",
                path,
                f"所有行的{zh}都未登记。已登记：{names}",
                f"no row has a registered {en}. Registered: {names}",
                reason=reason,
                rows=report.rows,
                rejected=report.rejected,
            )
