"""Bulk import of signed forms: an index and a ZIP; a row is taken only with its form, a form only with its row.

Document: docs/protocols/capture.md section 1. Sentences and evidence never name a file: its name may hold a person's.
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from workbench.contracts import Host, Transaction
from workbench.errors import Refused
from workbench.intake import GrantTable
from workbench.intake.reasons import shown_header
from workbench_consent import documents, tables
from workbench_consent.capture import backdating
from workbench_consent.capture.checking import fault_of
from workbench_consent.documents import MAX_FILES, Forms
from workbench_consent.importing import Imported

if TYPE_CHECKING:
    from workbench_consent.registry import Registry

REASONS: Mapping[str, tuple[str, str]] = {
    "FORM_NOT_NAMED": ("索引行没有写明签署文件", "the row names no form"),
    "FORM_MISSING": ("所附文件中没有这一行写明的签署文件", "the form the row names is not among the files"),
    "FORM_WITHOUT_ROW": ("没有一行索引写明这个文件", "no row of the index names this file"),
    "FORM_TYPE": ("不是 PDF、JPG 或 PNG，或与文件名后缀不符", "no PDF, JPG or PNG, or not what its ending says"),
    "FORM_DAMAGED": ("文件损坏或不完整：重新扫描", "the file is damaged or cut off: scan it again"),
    "FORM_TOO_LARGE": ("文件超过上限", "the file is too large"),
    "FORM_DIFFERS": ("文件的 SM3 与索引行写明的不同", "its SM3 is not the one the row states"),
    "FORM_TWICE": ("不同的人写明了同一个文件", "rows of different people name this one file"),
    "SAME_PERSON_TWICE": ("同一人、同一用途、接收方与期限已有一行，签署文件却不同", "the same person, purpose, recipient and period as a row before, with another form"),
    "BACKDATED": ("生效日早于今天，而没有倒签批准", "it begins before today and no backdating was approved"),
}  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class FormsImported:
    """What became of an index and its forms. rows: of the index; orphans: files without a row; extra: of `offer`."""

    imported: Imported
    orphans: int
    reasons: Mapping[str, int]
    rejects: str


@dataclass(slots=True)
class Checked:
    """Rows that are taken, forms that are staged, and what is not: line -> reason, files without a row."""

    frame: pl.DataFrame
    forms: Forms
    refused: dict[int, str] = field(default_factory=dict)
    orphans: list[str] = field(default_factory=list, repr=False)


def import_forms(
    host: Host,
    registry: Registry,
    index: Path,
    archive: Path,
    *,
    actor: str,
    place: str,
    proposal: str,
    max_bad_share: float,
    offer: Callable[[Transaction, bytes], str],
    mapping: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> FormsImported:
    """Read, check, import in one change. offer(tx, csv): hand out the rejects; its result is handed back.

    proposal: an approved backdating, "" for none. Raises Refused: FORMS_REJECTED with too many refused rows (details name
    the rejects), BACKDATED for an approval that does not cover them, DOCUMENTS_UNREADABLE, CANCELLED; nothing was written.
    Cost: that of `import_file`, and 25 ns a byte of the forms.
    """
    table = registry.read_rows(index, mapping=mapping, cancelled=cancelled)
    first, count = backdated(host, table.frame)
    if proposal and count:
        with host.store.read() as reader:
            backdating.require(reader, host, proposal, first_ms=first, grants=count, actor=actor)
    checked = check(host, table.frame, archive, allows_past=bool(proposal), progress=progress, cancelled=cancelled)
    try:
        rejects = rejects_csv(table, checked)
        _require_share(host, table, checked, max_bad_share, rejects, offer)
        kept = replace(
            table,
            frame=checked.frame,
            report=replace(
                table.report,
                accepted=checked.frame.height,
                rejected=table.report.rejected + len(checked.refused),
            ),
        )
        first, count = backdated(host, checked.frame)

        def also(tx: Transaction) -> str:
            if count:
                backdating.spend(tx, host, proposal, first_ms=first, grants=count, actor=actor)
            values = {
                "event": str(tables.newest_event(tx)), "proposal": proposal if count else "", "place": place,
                "rows": str(table.report.rows), "accepted": str(checked.frame.height), "rejected": str(kept.report.rejected),
                "orphans": str(len(checked.orphans)),
            }  # fmt: skip
            host.evidence.append(tx, "consent.forms_imported", values, actor=actor)
            return offer(tx, rejects) if rejects else ""

        done = registry.import_rows(kept, checked.forms, actor=actor, also=also)
    finally:
        checked.forms.discard(host)
    counts = dict(table.report.reasons)
    for reason in checked.refused.values():
        counts[reason] = counts.get(reason, 0) + 1
    if checked.orphans:
        counts["FORM_WITHOUT_ROW"] = len(checked.orphans)
    return FormsImported(done, len(checked.orphans), counts, done.extra or "")


def check(
    host: Host,
    frame: pl.DataFrame,
    archive: Path | None,
    *,
    allows_past: bool,
    every_row: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Checked:
    """Which rows are taken, with their forms written ahead. Raises Refused DOCUMENTS_UNREADABLE or CANCELLED.

    every_row: a row without a form is not taken; else rows that name none are taken as they are.
    """
    refused = _refused_by_rows(host, frame, allows_past=allows_past, every_row=every_row)
    forms = Forms()
    faults: dict[str, str] = {}
    digests: dict[str, str] = {}
    try:
        with _opened(archive) as (members, folder):
            wanted = frame.filter(pl.col("document").is_not_null() & ~pl.col("line").is_in(list(refused)))
            refused |= dict.fromkeys(wanted.filter(~pl.col("document").is_in(list(members)))["line"].to_list(), "FORM_MISSING")
            names = wanted.filter(pl.col("document").is_in(list(members)))["document"].unique(maintain_order=True).to_list()
            for number, name in enumerate(names):
                if cancelled():
                    raise Refused("已停止导入，没有写入任何内容", "the import was stopped; nothing was written", code="CANCELLED")
                progress(number, len(names))
                fault, data = _read(folder, members[name], name, host.setting("consent.max_document_bytes"))
                if fault:
                    faults[name] = fault
                    continue
                draft = host.blobs.stage([data])
                forms.drafts[name] = draft
                digests[name] = draft.address.hex()
            orphans = sorted(set(members) - set(frame["document"].drop_nulls().to_list()))
    except BaseException:
        forms.discard(host)
        raise
    for line, name, stated in wanted.select("line", "document", "document_digest").iter_rows():
        if name in faults:
            refused[line] = faults[name]
        elif name in digests and stated is not None and stated != digests[name]:
            refused[line] = "FORM_DIFFERS"
    kept = frame.filter(~pl.col("line").is_in(list(refused)))
    found = pl.col("document").replace_strict(digests, default=None, return_dtype=pl.String)
    filled = kept.with_columns(document_digest=pl.coalesce(found, "document_digest"))
    return Checked(filled, forms, refused, orphans)


def check_register(
    host: Host,
    table: GrantTable,
    archive: Path | None,
    *,
    allows_past: bool,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[GrantTable, Forms]:
    """A consent file with the forms that come along: the rows that are taken, and their forms written ahead.

    What is not taken stands among the rejects of the table, a row each: forms without a row with their name. Raises Refused
    DOCUMENTS_MISSING (rows name forms, no folder came), DOCUMENTS_UNREADABLE, CANCELLED.
    """
    named = table.frame.filter(pl.col("document").is_not_null())["line"].to_list()
    if archive is None and named:
        raise documents.missing(named)
    if archive is None and allows_past:
        return table, Forms()
    checked = check(
        host, table.frame, archive, allows_past=allows_past, every_row=False, progress=progress, cancelled=cancelled
    )
    counts = dict(table.report.reasons)
    for reason in (*checked.refused.values(), *("FORM_WITHOUT_ROW" for _ in checked.orphans)):
        counts[reason] = counts.get(reason, 0) + 1
    report = replace(
        table.report,
        accepted=checked.frame.height,
        rejected=table.report.rejected + len(checked.refused),
        reasons=dict(sorted(counts.items(), key=lambda one: (-one[1], one[0]))),
    )
    return replace(table, frame=checked.frame, report=report, rejects=_with_forms(table, checked)), checked.forms


def _with_forms(table: GrantTable, checked: Checked) -> pl.DataFrame:
    """The rejects of a table, and below them what the forms add."""
    header = {one.field: shown_header(one.header) for one in table.mapping.columns if one.use == "field"}
    told = [
        (line, header.get("valid_from" if reason == "BACKDATED" else "document", ""), reason, *REASONS[reason], "")
        for line, reason in sorted(checked.refused.items())
    ]
    lonely = [(None, "", "FORM_WITHOUT_ROW", *REASONS["FORM_WITHOUT_ROW"], _plain(name)) for name in checked.orphans]
    if not told and not lonely:
        return table.rejects
    added = pl.DataFrame([*told, *lonely], schema=table.rejects.schema, orient="row")
    return pl.concat([table.rejects, added])


def rejects_csv(table: GrantTable, checked: Checked) -> bytes:
    """Everything that was not taken, a row each: line, what, reason, sentences; b"" when everything was."""
    if not checked.refused and not checked.orphans and not table.rejects.height:
        return b""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["line", "file", "reason", "zh", "en"])
    for line, reason in sorted(checked.refused.items()):
        writer.writerow([line, "", reason, *REASONS[reason]])
    for name in checked.orphans:
        writer.writerow(["", _plain(name), "FORM_WITHOUT_ROW", *REASONS["FORM_WITHOUT_ROW"]])
    for row in table.rejects.iter_rows(named=True):
        told = {str(key): "" if value is None else str(value) for key, value in row.items()}
        reason = told.get("reason", "")
        writer.writerow([told.get("line", ""), "", _plain(reason), told.get("reason_zh", ""), told.get("reason_en", "")])
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def _refused_by_rows(host: Host, frame: pl.DataFrame, *, allows_past: bool, every_row: bool) -> dict[int, str]:
    """What the rows alone tell: line -> reason."""
    person = pl.coalesce("id_no", "phone")
    rows = frame.with_columns(person=person)
    found: dict[int, str] = {}
    if every_row:
        found |= dict.fromkeys(rows.filter(pl.col("document").is_null())["line"].to_list(), "FORM_NOT_NAMED")
    several = rows.filter(pl.col("document").is_not_null() & (pl.col("person").n_unique().over("document") > 1))
    found |= dict.fromkeys(several["line"].to_list(), "FORM_TWICE")
    same = ["person", "purpose", "recipient", "valid_from_ms", "valid_until_ms"]
    again = rows.filter(pl.col("document").is_not_null() & ~pl.col("line").is_in(list(found))).sort("line").filter(~pl.struct(same).is_first_distinct())
    found |= dict.fromkeys(again["line"].to_list(), "SAME_PERSON_TWICE")
    if not allows_past:
        past = rows.filter(pl.col("valid_from_ms") < backdating.start_of_today(host))["line"].to_list()
        found |= {line: "BACKDATED" for line in past if line not in found}
    return found


def backdated(host: Host, frame: pl.DataFrame) -> tuple[int, int]:
    """Earliest begin of rows that begin before today, and how many do."""
    past = frame.filter(pl.col("valid_from_ms") < backdating.start_of_today(host))["valid_from_ms"].to_list()
    return (min(past), len(past)) if past else (backdating.start_of_today(host), 0)


def _require_share(
    host: Host, table: GrantTable, checked: Checked, share: float, rejects: bytes, offer: Callable[[Transaction, bytes], str]
) -> None:
    rows = max(table.report.rows, 1)
    bad = table.report.rejected + len(checked.refused)
    if bad <= share * rows:
        return
    download = host.store.write(lambda tx: offer(tx, rejects))
    raise Refused(
        f"{rows:,} 行中有 {bad:,} 行不能采纳，超过 {share:.0%}：整份未导入，按不合格清单补齐后重来",
        f"{bad:,} of {rows:,} rows cannot be taken, more than {share:.0%}: nothing was imported; mend what the rejects name",
        code="FORMS_REJECTED",
        details={"rejects": download, "rows": str(rows), "rejected": str(bad), "orphans": str(len(checked.orphans))},
    )


@contextmanager
def _opened(archive: Path | None) -> Iterator[tuple[dict[str, zipfile.ZipInfo], zipfile.ZipFile]]:
    """Files of a ZIP by their name without folder; none without one. Raises Refused DOCUMENTS_UNREADABLE."""
    if archive is None:
        with zipfile.ZipFile(io.BytesIO(), "w") as nothing:
            yield {}, nothing
        return
    try:
        with zipfile.ZipFile(archive) as folder:
            listed = [one for one in folder.infolist() if not one.is_dir() and not _is_litter(one.filename)]
            members = {one.filename.rpartition("/")[2]: one for one in listed}
            if len(listed) > MAX_FILES or len(members) != len(listed):
                raise zipfile.BadZipFile
            yield members, folder
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise Refused(
            "所附文件夹打不开（须为未加密的 ZIP，文件名不重复），整份未导入",
            "the folder of signed forms cannot be read (a ZIP without password, no name twice); nothing was imported",
            code="DOCUMENTS_UNREADABLE",
        ) from error


def _read(folder: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, limit: int) -> tuple[str, bytes]:
    """(reason, b"") or ("", the bytes); whatever size the archive claims."""
    if member.file_size > limit:
        return "FORM_TOO_LARGE", b""
    try:
        with folder.open(member) as source:
            data = source.read(limit + 1)
    except (zipfile.BadZipFile, EOFError, RuntimeError, zlib.error):
        return "FORM_DAMAGED", b""
    if len(data) > limit:
        return "FORM_TOO_LARGE", b""
    fault = fault_of(name, data)
    return fault, b"" if fault else data


def _is_litter(name: str) -> bool:
    """What packing programs leave: resource forks and thumbnails."""
    last = name.rpartition("/")[2]
    return name.startswith("__MACOSX/") or last.startswith(".") or last == "Thumbs.db"


def _plain(text: str) -> str:
    """A spreadsheet takes no cell of the rejects for a formula (decision 22)."""
    return "'" + text if text.startswith(_FORMULA) else text


def names_of(reasons: Collection[str]) -> dict[str, dict[str, str]]:
    """Sentences of the reasons that occur, as far as they are of this module."""
    return {code: {"zh": REASONS[code][0], "en": REASONS[code][1]} for code in reasons if code in REASONS}

