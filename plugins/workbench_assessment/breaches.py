"""A breach or a drill: whom it concerns, the drafts, the end. Document: docs/assessment.md section 4.

Whom it concerns is found anew each time, from the log and from what lies here; nothing about a customer is kept for it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from workbench.contracts import OperationContext, Transaction
from workbench.crypto import sm3
from workbench.domain.identifiers import mask_id_no, mask_phone
from workbench.errors import InvalidRequest, NotFound, Refused
from workbench_assessment import letters, tables
from workbench_assessment.letters import Items
from workbench_assessment.records import FORMULA_STARTS
from workbench_assessment.tables import BreachRow

LEAST_REPORT = 20
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """One thing affected. kind: "list", "job" or "export"; told: persons by the log, -1 where it gives no number; found: here.

    columns: which data of them; zh, en: in words.
    """

    kind: str
    name: str
    told: int
    found: int
    columns: tuple[str, ...]
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Affected:
    """Who is affected. people: frame of person, phone, id_no, customer_id, name and places, one row a person."""

    places: tuple[Place, ...]
    people: pl.DataFrame = field(repr=False)

    @property
    def unfound(self) -> int:
        """Persons the log counts and nothing here shows any more: erased since, or a number nobody can follow up."""
        return sum(max(0, one.told - one.found) for one in self.places if one.kind != "export")

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for one in self.places for name in one.columns))


def open_breach(ctx: OperationContext, *, kind: str, scope: Mapping[str, Any], what: str) -> str:
    """Register an incident or a drill with its scope; its id."""
    host, name = ctx.host, f"B-{ctx.host.random(6).hex()}"
    if not any(scope.values()):
        raise InvalidRequest("请写明范围：名单、任务或时段", "give a scope: lists, jobs or days")

    def change(tx: Transaction) -> None:
        tables.add(
            tx, "assessment_breach",
            {"breach": name, "kind": kind, "state": "OPEN", "opened_ms": host.now_ms(), "opened_by": ctx.caller.person.token},
        )  # fmt: skip
        tables.keep_breach(tx, host, name, {"scope": dict(scope), "what": what})
        told = "; ".join(f"{key}={value}" for key, value in sorted(scope.items()) if value)
        values = {"breach": name, "kind": kind, "scope": told}
        host.evidence.append(tx, "breach.opened", values, actor=ctx.caller.person.token)

    host.store.write(change)
    return name


def find(ctx: OperationContext, name: str) -> tuple[BreachRow, Affected]:
    """Whom it concerns, from the log and from what lies here; the search is an entry."""
    host = ctx.host
    with host.store.read() as reader:
        row = tables.breach(reader, name)
        scope = tables.breach_content(reader, host, name)["scope"]
    affected = _affected(ctx, scope)
    values = {
        "breach": name, "kind": row.kind, "persons": str(affected.people.height), "unfound": str(affected.unfound),
    }  # fmt: skip

    def change(tx: Transaction) -> BreachRow:
        tables.change_breach(tx, name, persons=affected.people.height)
        host.evidence.append(tx, "breach.searched", values, actor=ctx.caller.person.token)
        return tables.breach(tx, name)

    return host.store.write(change), affected


def _affected(ctx: OperationContext, scope: Mapping[str, Any]) -> Affected:
    host = ctx.host
    list_ids = list(scope.get("lists", []))
    jobs = dict.fromkeys(scope.get("jobs", []))
    from_ms, until_ms = int(scope.get("from_ms", 0)), int(scope.get("until_ms", 0))
    releases: dict[str, tuple[int, str]] = {}
    exports: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
    with host.store.read() as reader:
        for kind in ("intersection.released", "intersection.exported"):
            before = None
            while rows := host.evidence.search(reader, kind=kind, before=before, limit=PAGE):
                before = rows[-1].index
                for row in rows:
                    within = bool(until_ms) and from_ms <= row.time_ms < until_ms
                    if row.job not in jobs and not within:
                        continue
                    jobs.setdefault(row.job, None)
                    values = host.evidence.view(reader, row.index)
                    count = int(values.get("customers", "-1"))
                    if kind == "intersection.released":
                        releases.setdefault(row.job, (count, values["partner"]))
                    else:
                        columns = tuple(_names(values.get("columns", "")))
                        exports.setdefault(row.job, []).append((count, columns))
    places, frames = [], []
    for list_id in list_ids:
        frame = host.lists.frame(list_id)
        info = host.lists.info(list_id)
        columns = tuple(one for one in frame.columns if frame[one].null_count() < frame.height)
        places.append(
            Place("list", list_id, info.rows, frame.height, columns, f"名单「{info.name}」", f"list {info.name}")
        )
        frames.append((list_id, frame))
    for job in jobs:
        if job not in releases and not exports.get(job):
            raise NotFound(f"{job} 没有放行记录", f"{job} has no release in the log", code="NOTHING_RELEASED")
        rows_here = host.released_rows(job)
        count, partner = releases.get(job, (-1, ""))
        found = 0 if rows_here is None else rows_here.height
        columns = () if rows_here is None else tuple(rows_here.columns)
        places.append(
            Place("job", job, count, found, columns, f"与 {partner} 的求交 {job} 的目标名单", f"the target list of {job} with {partner}")
        )
        for told, names in exports.get(job, []):
            places.append(Place("export", job, told, found, names, f"{job} 的一次导出", f"an export of {job}"))
        if rows_here is not None:
            frames.append((job, _completed(host, job, rows_here)))
    return Affected(tuple(places), _people(frames))


def _names(text: str) -> list[str]:
    try:
        return [str(one) for one in json.loads(text)]
    except ValueError:
        return []


def _completed(host: Any, job: str, frame: pl.DataFrame) -> pl.DataFrame:
    """A target list has one identifier; the other stands in the institution's own list, where that is still here."""
    list_id = str(host.jobs.get(job).request.get("list_id", ""))
    try:
        own = host.lists.frame(list_id)
    except (NotFound, Refused):
        return frame
    wanted = [name for name in ("phone", "id_no", "name") if name in own.columns and name not in frame.columns]
    return frame.join(own.select("customer_id", *wanted).unique("customer_id"), on="customer_id", how="left") if wanted else frame


def _people(frames: Sequence[tuple[str, pl.DataFrame]]) -> pl.DataFrame:
    """One row a person: by identity number, else by phone; places joined."""
    columns = ("customer_id", "name", "phone", "id_no")
    parts = []
    for place, frame in frames:
        had = [pl.col(name).cast(pl.String) if name in frame.columns else pl.lit(None, pl.String).alias(name) for name in columns]
        parts.append(frame.select(*had, pl.lit(place).alias("places")))
    if not parts:
        return pl.DataFrame(schema=dict.fromkeys((*columns, "places"), pl.String))
    everything = pl.concat(parts)
    # A row with a phone alone is the person whose number stands beside that phone elsewhere, if it is one person only.
    numbers = everything.drop_nulls(["phone", "id_no"]).group_by("phone").agg(pl.col("id_no").n_unique().alias("n"), pl.col("id_no").first().alias("number"))
    known = everything.join(numbers.filter(pl.col("n") == 1).select("phone", "number"), on="phone", how="left")
    person = pl.coalesce("id_no", "number", "phone", "customer_id").alias("person")
    return (
        known.with_columns(person)
        .group_by("person", maintain_order=True)
        .agg(*(pl.col(name).drop_nulls().first() for name in columns), pl.col("places").unique().sort().str.join(" "))
        .drop("person")
    )


def table_of(ctx: OperationContext, name: str) -> tuple[str, str, int]:
    """The table of affected persons as a download: (download, name, rows). In a drill every identifier is masked."""
    row, affected = find(ctx, name)
    host = ctx.host
    out = io.StringIO()
    writer = csv.writer(out)
    drill = row.kind == "drill"
    mark = letters.DRILL_MARK if drill else letters.MARK
    writer.writerow([f"{mark[0]} / {mark[1]}"])
    writer.writerow(["customer_id", "name", "phone", "id_no", "places"])
    for one in affected.people.iter_rows(named=True):
        cells = {key: value or "" for key, value in one.items()}
        if drill:
            cells |= {
                "customer_id": "***", "name": cells["name"][:1] + "**" if cells["name"] else "",
                "phone": mask_phone(cells["phone"]) if cells["phone"] else "", "id_no": mask_id_no(cells["id_no"]) if cells["id_no"] else "",
            }  # fmt: skip
        line = [cells[key] for key in ("customer_id", "name", "phone", "id_no", "places")]
        writer.writerow(["'" + cell if cell.startswith(FORMULA_STARTS) else cell for cell in line])
    data = b"\xef\xbb\xbf" + out.getvalue().encode()
    file = f"breach-{name}{'-DRILL' if drill else ''}.csv"
    values = {"breach": name, "kind": row.kind, "rows": str(affected.people.height), "file_sm3": sm3.digest(data).hex()}

    def change(tx: Transaction) -> str:
        host.evidence.append(tx, "breach.table_made", values, actor=ctx.caller.person.token)
        return host.downloads.offer(tx, ctx.caller, file, data)

    return host.store.write(change), file, affected.people.height


def drafts(ctx: OperationContext, name: str, items: Items, *, tells: bool, reason: str) -> tuple[dict[str, bytes], BreachRow, Affected]:
    """The letters, complete or refused."""
    host = ctx.host
    row, affected = find(ctx, name)
    filled = Items(
        affected.categories, items.cause, items.harm, items.done, items.advice, items.contact if all(items.contact) else _contact(host)
    )
    letters.require_complete(filled)
    drill, day, party = row.kind == "drill", str(host.today()), host.names(host.party)
    made = {
        "authority.txt": letters.to_authority(
            filled, party=party, breach=name, day=day, persons=affected.people.height,
            places=[(one.zh, one.en) for one in affected.places], tells=tells, reason=reason, drill=drill,
        ),
    }  # fmt: skip
    if tells:
        made["customers.txt"] = letters.to_person(filled, party=party, breach=name, day=day, drill=drill)
    return made, row, affected


def _contact(host: Any) -> tuple[str, str]:
    told = host.setting("assessment.contact")
    return str(told.get("zh", "")), str(told.get("en", ""))


def close(ctx: OperationContext, name: str, *, report: str, plan: str) -> None:
    """End it with a report and what was changed in the plan. Refused REPORT_MISSING, WRONG_STATE."""
    host = ctx.host
    if min(len(report.strip()), len(plan.strip())) < LEAST_REPORT:
        raise Refused(
            f"结束前要写报告和应急预案的修改，各至少 {LEAST_REPORT} 字",
            f"a report and what was changed in the plan, {LEAST_REPORT} characters each, come before the end",
            code="REPORT_MISSING",
        )

    def change(tx: Transaction) -> None:
        row = tables.breach(tx, name)
        if row.state != "OPEN":
            raise Refused("这个事件或演练已经结束", "this breach or drill is closed", code="WRONG_STATE")
        content = tables.breach_content(tx, host, name)
        tables.keep_breach(tx, host, name, {**content, "report": report, "plan": plan})
        tables.change_breach(tx, name, state="CLOSED", closed_ms=host.now_ms())
        values = {"breach": name, "kind": row.kind, "report": sm3.digest(f"{report}\n{plan}".encode()).hex()}
        host.evidence.append(tx, "breach.closed", values, actor=ctx.caller.person.token)

    host.store.write(change)
