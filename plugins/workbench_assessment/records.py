"""Processing records as a view of the log: every release with what the same log says of it. Document: docs/assessment.md section 3."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from workbench.contracts import OperationContext
from workbench_assessment import tables
from workbench_assessment.model import DAY_MS, KEPT_DAYS

SHANGHAI = ZoneInfo("Asia/Shanghai")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
PAGE = 1000


@dataclass(frozen=True, slots=True)
class ProcessingRecord:
    """One provision of personal data, as the own log tells it. entries: "kind index" each, ascending."""

    job: str
    at_ms: int
    partner: str
    purpose: str
    purpose_zh: str
    purpose_en: str
    provided: str
    received: str
    key_kind: str
    persons: int
    lawful_basis: str
    snapshot: str
    audience: str
    exports: int
    exported_persons: int
    columns: str
    approved_by: str
    assessment: str
    keep_until_ms: int
    entries: tuple[str, ...]


def collect(ctx: OperationContext, *, from_ms: int, until_ms: int) -> list[ProcessingRecord]:
    """Every release in [from_ms, until_ms), the oldest first. Cost: the entries of each job are read once."""
    host = ctx.host
    released = []
    with host.store.read() as reader:
        before = None
        while rows := host.evidence.search(reader, kind="intersection.released", before=before, limit=PAGE):
            before = rows[-1].index
            released += [row for row in rows if from_ms <= row.time_ms < until_ms]
            if rows[-1].time_ms < from_ms:
                break
        return [_record(ctx, reader, row) for row in reversed(released)]


def _record(ctx: OperationContext, reader: Any, row: Any) -> ProcessingRecord:
    host = ctx.host
    entries: list[tuple[int, str, str, dict[str, str]]] = []
    before = None
    while found := host.evidence.search(reader, job=row.job, before=before, limit=PAGE):
        before = found[-1].index
        entries += [
            (one.index, one.kind, one.actor, host.evidence.view(reader, one.index)) for one in found if one.kind in TOLD
        ]
    entries.sort()
    release = host.evidence.view(reader, row.index)

    def last(kind: str, name: str) -> str:
        return next((values.get(name, "") for _, one, _, values in reversed(entries) if one == kind), "")

    purpose = last("consent.snapshot", "purpose") or last("intersection.proposed", "purpose")
    zh, en = host.purposes().get(purpose, (purpose, purpose))
    partner = release["partner"]
    exports = [values for _, kind, _, values in entries if kind == "intersection.exported"]
    approver = next((actor for _, kind, actor, _ in reversed(entries) if kind in ("intersection.approved", "intersection.proposed")), "")
    return ProcessingRecord(
        job=row.job, at_ms=row.time_ms, partner=partner, purpose=purpose, purpose_zh=zh, purpose_en=en,
        provided=f"{host.party} -> {partner}", received=f"{partner} -> {host.party}", key_kind=release["key_kind"],
        persons=int(release.get("customers", "0")), lawful_basis="consent", snapshot=last("consent.snapshot", "snapshot"),
        audience=last("intersection.proposed", "audience"), exports=len(exports),
        exported_persons=sum(int(one.get("customers", "0")) for one in exports),
        columns=" ".join(dict.fromkeys(name for one in exports for name in json.loads(one.get("columns", "[]")))),
        approved_by=host.person_named(approver) if approver else "", assessment=_assessment(reader, purpose, partner, row.time_ms),
        keep_until_ms=row.time_ms + KEPT_DAYS * DAY_MS,
        entries=tuple(f"{kind} {index}" for index, kind, _, _ in entries),
    )  # fmt: skip


TOLD = frozenset(
    {
        "intersection.proposed", "intersection.proposal_received", "intersection.approved", "consent.snapshot", "intersection.contract",
        "intersection.released", "intersection.sealed", "intersection.exported", "assessment.missing",
    }
)  # fmt: skip
"""Kinds that a processing record names; messages of the protocol are left to the evidence itself."""


def _assessment(reader: Any, purpose: str, partner: str, at_ms: int) -> str:
    """The assessment in force at the release, "" for none: by its own times, which its entries bear out."""
    for one in tables.cases(reader):
        ends = one.ended_ms or one.until_ms
        if (one.purpose, one.recipient) == (purpose, partner) and one.approved_ms and one.approved_ms <= at_ms < ends:
            return one.assessment
    return ""


def as_json(records: Sequence[ProcessingRecord], *, about: dict[str, str]) -> bytes:
    """{about, records}: times as milliseconds and as text."""
    told = [{**asdict(one), "at": when(one.at_ms), "keep_until": when(one.keep_until_ms)} for one in records]
    return json.dumps({"about": about, "records": told}, ensure_ascii=False, indent=1).encode()


def as_csv(records: Sequence[ProcessingRecord]) -> bytes:
    """UTF-8 with BOM, CRLF; one line a record; a cell that a spreadsheet would run gets an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    names = [name for name in ProcessingRecord.__dataclass_fields__ if name not in ("at_ms", "keep_until_ms")]
    writer.writerow(["at", *names, "keep_until"])
    for one in records:
        values = asdict(one)
        cells = [" | ".join(values[name]) if name == "entries" else str(values[name]) for name in names]
        row = [when(one.at_ms), *cells, when(one.keep_until_ms)]
        writer.writerow(["'" + cell if cell.startswith(FORMULA_STARTS) else cell for cell in row])
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def plain_json(value: Any) -> bytes:
    """Any JSON value as readable bytes."""
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True).encode()


def when(at_ms: int) -> str:
    """An instant in Asia/Shanghai for people."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(SHANGHAI).isoformat(timespec="seconds")
