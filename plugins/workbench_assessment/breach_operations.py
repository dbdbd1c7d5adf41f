"""What compliance does when data leaked, or in a drill of it. Document: docs/assessment.md section 4."""

from __future__ import annotations

import io
import zipfile
from dataclasses import asdict
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from workbench.contracts import OperationContext, Transaction
from workbench.crypto import sm3
from workbench.domain.party import Role
from workbench.operations import NoInput, Operation, Reply, Request
from workbench_assessment import breaches, tables
from workbench_assessment.breaches import Affected
from workbench_assessment.letters import DRILL_MARK, MARK, Items
from workbench_assessment.tables import BreachRow

SHANGHAI = ZoneInfo("Asia/Shanghai")
COMPLIANCE: Final = frozenset({Role.COMPLIANCE})
READERS: Final = frozenset({Role.COMPLIANCE, Role.AUDITOR})
KINDS = {"incident": ("事件", "incident"), "drill": ("演练", "drill")}


class OpenBreach(Request):
    """kind: a drill goes the same way and leaves marked documents. lists, jobs: what is affected. from_day, to_day: every
    release and export of these days too (Asia/Shanghai, both included). what: what is known.
    """

    kind: Literal["incident", "drill"]
    lists: list[str] = Field(default=[], max_length=100)
    jobs: list[str] = Field(default=[], max_length=1000)
    from_day: date | None = None
    to_day: date | None = None
    what: str = Field(min_length=5, max_length=4000)


class BreachName(Request):
    breach: str = Field(max_length=40)


class LettersRequest(BreachName):
    """The three items of PIPL 57 in both languages; contact: "" for the setting assessment.contact.

    tell_persons: False where the measures effectively avoid harm (57 para. 2), with the reason.
    """

    cause_zh: str = Field(max_length=2000)
    cause_en: str = Field(max_length=2000)
    harm_zh: str = Field(max_length=2000)
    harm_en: str = Field(max_length=2000)
    done_zh: str = Field(max_length=2000)
    done_en: str = Field(max_length=2000)
    advice_zh: str = Field(max_length=2000)
    advice_en: str = Field(max_length=2000)
    contact_zh: str = Field(default="", max_length=500)
    contact_en: str = Field(default="", max_length=500)
    tell_persons: bool = True
    reason: str = Field(min_length=5, max_length=1000)


class CloseBreach(BreachName):
    """report: what happened and was done; plan: what was changed in the plan for incidents."""

    report: str = Field(max_length=20_000)
    plan: str = Field(max_length=20_000)


class BreachInfo(Reply):
    """persons: -1 before anybody looked."""

    breach: str
    kind: str
    kind_zh: str
    kind_en: str
    state: str
    opened_ms: int
    opened_by: str
    persons: int
    letters_ms: int
    closed_ms: int


class BreachesReply(Reply):
    open: int
    breaches: list[BreachInfo]


class PlaceView(Reply):
    """told: persons by the log, -1 where it gives no number; found: here. differs: fewer were found than the log tells."""

    kind: str
    name: str
    told: int
    found: int
    differs: bool
    columns: list[str]
    zh: str
    en: str


class AffectedReply(Reply):
    """persons: told apart by identity number, else by phone; no identifier is in here. unfound: counted by the log only."""

    info: BreachInfo
    what: str
    persons: int
    unfound: int
    categories: list[str]
    places: list[PlaceView]
    report: str
    plan: str


class TableReply(Reply):
    """download: CSV of the persons; masked in a drill."""

    info: BreachInfo
    download: str
    name: str
    rows: int


class LettersReply(Reply):
    """download: ZIP of drafts; mark: what stands on every page."""

    info: BreachInfo
    download: str
    name: str
    documents: list[str]
    mark_zh: str
    mark_en: str


def _info(ctx: OperationContext, row: BreachRow) -> BreachInfo:
    zh, en = KINDS[row.kind]
    return BreachInfo(
        breach=row.breach, kind=row.kind, kind_zh=zh, kind_en=en, state=row.state, opened_ms=row.opened_ms,
        opened_by=ctx.host.person_named(row.opened_by), persons=row.persons, letters_ms=row.letters_ms, closed_ms=row.closed_ms,
    )  # fmt: skip


def _info_of(ctx: OperationContext, name: str) -> BreachInfo:
    with ctx.host.store.read() as reader:
        return _info(ctx, tables.breach(reader, name))


def _open(ctx: OperationContext, request: OpenBreach) -> BreachInfo:
    start = int(datetime.combine(request.from_day, datetime.min.time(), SHANGHAI).timestamp() * 1000) if request.from_day else 0
    stop = 0
    if request.from_day or request.to_day:
        last = request.to_day or ctx.host.today()
        stop = int(datetime.combine(last + timedelta(days=1), datetime.min.time(), SHANGHAI).timestamp() * 1000)
    for job in request.jobs:
        ctx.host.jobs.get(job)  # NotFound for a job nobody knows
    for list_id in request.lists:
        ctx.host.lists.info(list_id)
    scope: dict[str, Any] = {"lists": list(request.lists), "jobs": list(request.jobs), "from_ms": start, "until_ms": stop}
    return _info_of(ctx, breaches.open_breach(ctx, kind=request.kind, scope=scope, what=request.what))


def _affected(ctx: OperationContext, request: BreachName) -> AffectedReply:
    row, affected = breaches.find(ctx, request.breach)
    with ctx.host.store.read() as reader:
        content = tables.breach_content(reader, ctx.host, request.breach)
    return AffectedReply(
        info=_info(ctx, row), what=str(content.get("what", "")), persons=affected.people.height, unfound=affected.unfound,
        categories=list(affected.categories), places=_places(affected), report=str(content.get("report", "")),
        plan=str(content.get("plan", "")),
    )  # fmt: skip


def _places(affected: Affected) -> list[PlaceView]:
    return [
        PlaceView(**{**asdict(one), "columns": list(one.columns)}, differs=one.kind != "export" and one.told > one.found)
        for one in affected.places
    ]


def _table(ctx: OperationContext, request: BreachName) -> TableReply:
    download, name, rows = breaches.table_of(ctx, request.breach)
    return TableReply(info=_info_of(ctx, request.breach), download=download, name=name, rows=rows)


def _letters(ctx: OperationContext, request: LettersRequest) -> LettersReply:
    host = ctx.host
    items = Items(
        (), (request.cause_zh, request.cause_en), (request.harm_zh, request.harm_en), (request.done_zh, request.done_en),
        (request.advice_zh, request.advice_en), (request.contact_zh, request.contact_en),
    )  # fmt: skip
    made, row, _ = breaches.drafts(ctx, request.breach, items, tells=request.tell_persons, reason=request.reason)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in made.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    data = out.getvalue()
    drill = row.kind == "drill"
    file = f"breach-{request.breach}{'-DRILL' if drill else '-DRAFT'}.zip"
    values = {
        "breach": request.breach, "kind": row.kind, "tell_persons": "yes" if request.tell_persons else "no",
        "file_sm3": sm3.digest(data).hex(), "reason": request.reason,
    }  # fmt: skip

    def change(tx: Transaction) -> str:
        tables.change_breach(tx, request.breach, letters_ms=host.now_ms())
        host.evidence.append(tx, "breach.letters_made", values, actor=ctx.caller.person.token)
        return host.downloads.offer(tx, ctx.caller, file, data)

    mark = DRILL_MARK if drill else MARK
    return LettersReply(
        download=host.store.write(change), info=_info_of(ctx, request.breach), name=file, documents=sorted(made), mark_zh=mark[0],
        mark_en=mark[1],
    )  # fmt: skip


def _close(ctx: OperationContext, request: CloseBreach) -> BreachInfo:
    breaches.close(ctx, request.breach, report=request.report, plan=request.plan)
    return _info_of(ctx, request.breach)


def _list(ctx: OperationContext, request: NoInput) -> BreachesReply:
    with ctx.host.store.read() as reader:
        rows = tables.breaches(reader)
    return BreachesReply(open=sum(one.state == "OPEN" for one in rows), breaches=[_info(ctx, one) for one in rows])


_operation: Any = partial(Operation, roles=COMPLIANCE)

BREACH_OPERATIONS = (
    _operation(
        name="breach.open", zh="登记泄露事件或演练", en="register a breach or a drill", request=OpenBreach, reply=BreachInfo,
        run=_open, evidence=("breach.opened",),
    ),
    Operation(
        name="breach.affected", zh="查找受影响的人", en="find whom a breach affects", request=BreachName, reply=AffectedReply,
        roles=READERS, run=_affected, long=True, evidence=("breach.searched",),
    ),
    _operation(
        name="breach.table", zh="导出受影响的人", en="export whom a breach affects", request=BreachName, reply=TableReply,
        run=_table, fresh_password=True, long=True, evidence=("breach.searched", "breach.table_made"),
    ),
    _operation(
        name="breach.letters", zh="生成泄露通知草稿", en="make drafts of breach notices", request=LettersRequest,
        reply=LettersReply, run=_letters, long=True, evidence=("breach.searched", "breach.letters_made"),
    ),
    _operation(
        name="breach.close", zh="结束泄露事件或演练", en="close a breach or a drill", request=CloseBreach, reply=BreachInfo,
        run=_close, fresh_password=True, evidence=("breach.closed",),
    ),
    Operation(
        name="breach.list", zh="查看泄露事件与演练", en="list breaches and drills", request=NoInput, reply=BreachesReply,
        roles=READERS, run=_list, reads_only=True,
    ),
)  # fmt: skip

__all__ = ["BREACH_OPERATIONS"]
