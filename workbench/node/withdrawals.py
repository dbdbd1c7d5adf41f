"""Operations on withdrawals under way: who was told and answered, and which exported files must not be used as they are.

Document: docs/protocols/withdrawal.md sections 5 and 6. No reply holds an identifier but the file that marketing takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import Field

from workbench.contracts import GrantQuery, HealthReport, OperationContext, Transaction
from workbench.crypto import sm3
from workbench.domain.party import Role
from workbench.domain.withdrawal import parse_answer
from workbench.errors import NotFound, Refused, VerificationError
from workbench.flows.withdrawal import OWN, jobs_told
from workbench.node.intersections import csv_bytes, released_list
from workbench.operations import Operation, Reply, Request

if TYPE_CHECKING:
    from workbench.host import Workbench

STATES = {
    "waiting": ("等待对方回执", "waiting for the partner's acknowledgement"),
    "acknowledged": ("对方已签名回执", "acknowledged under signature"),
    "overdue": ("逾期未回执：合规岗联系对方；仍在自动重试", "overdue: compliance calls them; it is still tried by itself"),
    "refused": ("对方拒收：合规岗查看原因并联系对方", "refused: compliance looks at the reason and calls them"),
}
STATE_OF = (
    "CASE WHEN l.acknowledged_ms IS NULL THEN CASE WHEN ? > w.due_ms THEN 'overdue' ELSE 'waiting' END"
    " WHEN l.code <> '' THEN 'refused' ELSE 'acknowledged' END"
)
FROM = "host_withdrawal_letter w JOIN host_letter l ON l.direction = 'out' AND l.letter = w.letter"


class WithdrawalsRequest(Request):
    """before: number of the last event seen, 0 for the newest page. state, partner: only events with such a letter."""

    before: int = Field(default=0, ge=0)
    limit: int = Field(default=50, ge=1, le=500)
    state: str = Field(default="", pattern="^(waiting|acknowledged|overdue|refused|)$")
    partner: str = Field(default="", max_length=40)


class AnsweredJob(Reply):
    """state: marked, not-found or no-list; customers and exports as the partner states them under its signature."""

    job: str
    state: str
    customers: int
    exports: int


class ToldPartner(Reply):
    """One letter. acknowledged_ms: 0 while it waits. code: of a refusal; last_error: of the last delivery that failed."""

    partner: str
    state: str
    zh: str
    en: str
    letter: str
    jobs: list[str]
    posted_ms: int
    due_ms: int
    acknowledged_ms: int
    code: str
    tries: int
    last_error: str
    answer: list[AnsweredJob]


class WithdrawalInfo(Reply):
    """purpose, recipient: "" for all. searching: lists are still to be searched, runs: of these runs once they have ended.

    gone: partners that held a list and have left the project. exports: exported files concerned here.
    """

    event: int
    entry: int
    at_ms: int
    purpose: str
    recipient: str
    searching: bool
    runs: list[str]
    partners: list[ToldPartner]
    gone: list[str]
    exports: int


class WithdrawalsReply(Reply):
    """counts: letters by state; total: withdrawals that fit. next: `before` of the following page, 0 at the end."""

    total: int
    counts: dict[str, int]
    withdrawals: list[WithdrawalInfo]
    next: int
    acknowledgement_hours: int


class TellAgainRequest(Request):
    """event: number of the withdrawal; reason: why, kept in evidence."""

    event: int = Field(ge=1)
    reason: str = Field(min_length=5, max_length=500)


class StopsRequest(Request):
    """before: number of the last one seen, 0 for the newest page. job: only of this job. open_only: nobody took the file yet."""

    before: int = Field(default=0, ge=0)
    limit: int = Field(default=50, ge=1, le=500)
    job: str = Field(default="", max_length=128)
    open_only: bool = False


class ContactStop(Reply):
    """One exported file that names somebody who withdrew. origin: "own" or "partner". taken_ms: 0 while nobody took the file."""

    number: int
    origin: str
    job: str
    partner: str
    purpose: str
    entry: int
    file_sm3: str
    exported_ms: int
    exported_by: str
    at_ms: int
    taken_ms: int
    taken_by: str
    zh: str
    en: str


class StopsReply(Reply):
    """total: that fit; open: files nobody took yet; jobs: with such files."""

    total: int
    open: int
    jobs: list[str]
    stops: list[ContactStop]
    next: int


class StopFileRequest(Request):
    job: str = Field(min_length=1, max_length=128)


class StopFileReply(Reply):
    """download: id of the file, to be taken once; "" when nobody of the list has to be left out. customers: rows in it."""

    job: str
    customers: int
    download: str
    name: str


def health(host: Workbench) -> list[HealthReport]:
    """One warning while letters are overdue or refused, or files wait for marketing."""
    lines = []
    counts = _counts(host)
    if counts["overdue"] or counts["refused"]:
        lines.append(
            HealthReport(
                "withdrawals", "warning",
                f"撤回告知：{counts['overdue']} 封逾期未回执，{counts['refused']} 封被拒收。合规岗联系对方",
                f"withdrawals told: {counts['overdue']} overdue, {counts['refused']} refused. Compliance calls the partners",
                "compliance",
            )
        )  # fmt: skip
    with host.store.read() as reader:
        waiting = reader.execute("SELECT count(DISTINCT job) FROM host_contact_stop WHERE taken_ms IS NULL").fetchone()[0]
    if waiting:
        lines.append(
            HealthReport(
                "contact stops", "warning",
                f"有 {waiting} 次求交的导出文件含已撤回的客户。营销岗取停止联系名单并停止联系",
                f"exported files of {waiting} intersections name customers who withdrew. Marketing takes the files of whom to"
                " contact no more",
                "marketing",
            )
        )  # fmt: skip
    return lines


def _counts(host: Workbench) -> dict[str, int]:
    with host.store.read() as reader:
        rows = reader.execute(f"SELECT {STATE_OF} AS state, count(*) FROM {FROM} GROUP BY state", (host.now_ms(),)).fetchall()
    return dict.fromkeys(STATES, 0) | {str(row[0]): int(row[1]) for row in rows}


def _withdrawals(ctx: OperationContext, request: WithdrawalsRequest) -> WithdrawalsReply:
    host, now = ctx.host, ctx.host.now_ms()
    fits, values = "1", list[Any]()
    if request.state or request.partner:
        fits = (
            f"h.event IN (SELECT w.event FROM {FROM} WHERE (? = '' OR {STATE_OF} = ?) AND (? = '' OR w.partner = ?))"
        )
        values = [request.state, now, request.state, request.partner, request.partner]
    with host.store.read() as reader:
        total = reader.execute(f"SELECT count(*) FROM host_withdrawal h WHERE {fits}", values).fetchone()[0]
        rows = reader.execute(
            f"SELECT h.* FROM host_withdrawal h WHERE {fits} AND (? = 0 OR h.event < ?) ORDER BY h.event DESC LIMIT ?",
            [*values, request.before, request.before, request.limit + 1],
        ).fetchall()
        page = rows[: request.limit]
        shown = [_info(host, reader, row, now) for row in page]
    return WithdrawalsReply(
        total=total,
        counts=_counts(host),
        withdrawals=shown,
        next=page[-1]["event"] if len(rows) > request.limit else 0,
        acknowledgement_hours=int(host.setting("consent.acknowledgement_hours")),
    )


def _info(host: Workbench, reader: Any, row: Any, now: int) -> WithdrawalInfo:
    letters = reader.execute(
        f"SELECT w.letter, w.partner, w.jobs, w.due_ms, {STATE_OF} AS state FROM {FROM} WHERE w.event = ? ORDER BY w.partner, w.rowid",
        (now, row["event"]),
    ).fetchall()
    exports = reader.execute(
        "SELECT count(*) FROM host_contact_stop WHERE origin = ? AND cause = ?", (OWN, str(row["event"]))
    ).fetchone()[0]
    runs = jobs_told(row["waiting"])
    return WithdrawalInfo(
        event=row["event"], entry=row["entry"], at_ms=row["at_ms"], purpose=row["purpose"], recipient=row["recipient"],
        searching=row["searched_ms"] is None or bool(runs), runs=runs, partners=[_told(host, reader, one) for one in letters],
        gone=row["gone"].split(), exports=exports,
    )  # fmt: skip


def _told(host: Workbench, reader: Any, one: Any) -> ToldPartner:
    letter = host.letters.state(reader, one["letter"])
    zh, en = STATES[one["state"]]
    try:
        answer = parse_answer(letter.answer) if letter.answer else ()
    except VerificationError:
        answer = ()
        zh, en = f"{zh}，但答复的格式不对", f"{en}, but the answer is malformed"
    return ToldPartner(
        partner=one["partner"], state=one["state"], zh=zh, en=en, letter=letter.id, jobs=jobs_told(one["jobs"]),
        posted_ms=letter.posted_ms, due_ms=one["due_ms"], acknowledged_ms=letter.acknowledged_ms or 0, code=letter.refused_code,
        tries=letter.tries, last_error=letter.last_error,
        answer=[AnsweredJob(job=row.job, state=row.state, customers=row.customers, exports=row.exports) for row in answer],
    )  # fmt: skip


def _tell_again(ctx: OperationContext, request: TellAgainRequest) -> WithdrawalInfo:
    """Search once more and write to every partner with a hit anew, where one has refused; who had marked marks nothing new."""
    host, now = ctx.host, ctx.host.now_ms()

    def change(tx: Transaction) -> None:
        refused = tx.execute(
            f"SELECT w.letter FROM {FROM} WHERE w.event = ? AND {STATE_OF} = 'refused'", (request.event, now)
        ).fetchall()
        if not refused:
            raise Refused(
                f"第 {request.event} 号撤回没有被拒收的信函", f"no letter of withdrawal {request.event} was refused", code="NOT_REFUSED"
            )
        tx.executemany("DELETE FROM host_withdrawal_letter WHERE letter = ?", [(row[0],) for row in refused])
        tx.execute("UPDATE host_withdrawal SET searched_ms = NULL WHERE event = ?", (request.event,))
        values = {"event": str(request.event), "letters": str(len(refused)), "reason": request.reason}
        host.evidence.append(tx, "consent.withdrawal_told_again", values, actor=ctx.caller.person.token)

    host.store.write(change)
    host.withdrawals.settle()
    with host.store.read() as reader:
        row = reader.execute("SELECT * FROM host_withdrawal WHERE event = ?", (request.event,)).fetchone()
        return _info(host, reader, row, now)


def _stops(ctx: OperationContext, request: StopsRequest) -> StopsReply:
    host = ctx.host
    fits = "(? = '' OR job = ?) AND (? = 0 OR taken_ms IS NULL)"
    values = [request.job, request.job, int(request.open_only)]
    with host.store.read() as reader:
        total = reader.execute(f"SELECT count(*) FROM host_contact_stop WHERE {fits}", values).fetchone()[0]
        waiting = reader.execute("SELECT count(*) FROM host_contact_stop WHERE taken_ms IS NULL").fetchone()[0]
        jobs = reader.execute(f"SELECT DISTINCT job FROM host_contact_stop WHERE {fits} ORDER BY job", values).fetchall()
        rows = reader.execute(
            f"SELECT * FROM host_contact_stop WHERE {fits} AND (? = 0 OR number < ?) ORDER BY number DESC LIMIT ?",
            [*values, request.before, request.before, request.limit + 1],
        ).fetchall()
    page = rows[: request.limit]
    return StopsReply(
        total=total, open=waiting, jobs=[row[0] for row in jobs], stops=[_stop(host, row) for row in page],
        next=page[-1]["number"] if len(rows) > request.limit else 0,
    )  # fmt: skip


def _stop(host: Workbench, row: Any) -> ContactStop:
    try:
        job = host.jobs.get(row["job"])
        partner, purpose = str(job.partner), job.terms.purpose
    except NotFound:
        partner = purpose = ""
    if row["origin"] == OWN:
        zh, en = "本机构的一位客户在导出之后撤回", "a customer of this institution withdrew after the export"
    else:
        zh, en = f"{partner} 告知一位客户在导出之后撤回", f"{partner} told of a customer who withdrew after the export"
    return ContactStop(
        number=row["number"], origin=row["origin"], job=row["job"], partner=partner, purpose=purpose, entry=row["export"],
        file_sm3=row["file_sm3"], exported_ms=row["exported_ms"],
        exported_by=host.person_named(row["exported_by"]) if row["exported_by"] else "", at_ms=row["at_ms"],
        taken_ms=row["taken_ms"] or 0, taken_by=host.person_named(row["taken_by"]) if row["taken_by"] else "",
        zh=f"{zh}：不得再按该文件联系", en=f"{en}: do not contact anybody by that file without the list of stops",
    )  # fmt: skip


def _stop_file(ctx: OperationContext, request: StopFileRequest) -> StopFileReply:
    """Everybody of the job's list who could not be exported at this moment; taking it closes the job's open stops."""
    host = ctx.host
    job, frame = released_list(host, request.job)
    kind = job.terms.key_kind.value
    customers = host.lists.frame(job.request["list_id"])
    query = GrantQuery(job.terms.purpose, job.partner, host.now_ms(), job.terms.key_kind)
    live = customers.filter(pl.Series(host.consent.decide(customers, query).usable)).select("customer_id", kind)
    told = frame.filter(pl.Series(host.withdrawals.stopped(job.job, frame[kind].to_list()), dtype=pl.Boolean))
    out = pl.concat([frame.join(live, on=["customer_id", kind], how="anti"), told]).select("customer_id", kind).unique().sort(kind)
    data = csv_bytes(out)
    name = f"{job.job}-stop.csv"
    actor = ctx.caller.person.token

    def change(tx: Transaction) -> str:
        values = {"customers": str(out.height), "file_sm3": sm3.digest(data).hex()}
        host.evidence.append(tx, "consent.contact_stop_taken", values, job=job.job, actor=actor)
        tx.execute(
            "UPDATE host_contact_stop SET taken_ms = ?, taken_by = ? WHERE job = ? AND taken_ms IS NULL",
            (host.now_ms(), actor, job.job),
        )
        return str(host.downloads.offer(tx, ctx.caller, name, data)) if out.height else ""

    return StopFileReply(job=job.job, customers=out.height, download=host.store.write(change), name=name)


WITHDRAWAL_OPERATIONS = (
    Operation(
        name="consent.withdrawals", zh="查看撤回与对方回执", en="read withdrawals and the partners' acknowledgements",
        request=WithdrawalsRequest, reply=WithdrawalsReply, roles=frozenset({Role.COMPLIANCE, Role.AUDITOR}),
        run=_withdrawals, weak_token=True, reads_only=True,
    ),
    Operation(
        name="consent.tell_again", zh="再次告知拒收的机构", en="tell a partner that refused of a withdrawal once more",
        request=TellAgainRequest, reply=WithdrawalInfo, roles=frozenset({Role.COMPLIANCE}), run=_tell_again,
        evidence=("consent.withdrawal_told_again",),
    ),
    Operation(
        name="consent.contact_stops", zh="查看须停止联系的导出文件", en="read which exported files name customers who withdrew",
        request=StopsRequest, reply=StopsReply, roles=frozenset({Role.MARKETING, Role.COMPLIANCE, Role.AUDITOR}),
        run=_stops, weak_token=True, reads_only=True,
    ),
    Operation(
        name="consent.contact_stop_file", zh="取停止联系名单", en="take the file of whom to contact no more",
        request=StopFileRequest, reply=StopFileReply, roles=frozenset({Role.MARKETING}), run=_stop_file, fresh_password=True,
        evidence=("consent.contact_stop_taken",),
    ),
)  # fmt: skip

__all__ = ["WITHDRAWAL_OPERATIONS", "health"]
