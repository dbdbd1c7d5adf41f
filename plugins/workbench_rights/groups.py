"""Task groups across institutions: invite, join, answer, end; the least data by letters. Document: docs/rights.md section 8."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

from workbench.contracts import Letter, LetterKind, OperationContext, Transaction
from workbench.crypto import canonical
from workbench.domain.erasure import Customer
from workbench.domain.intersection import JobState
from workbench.domain.party import PartyId
from workbench.domain.subject import SubjectRequest
from workbench.errors import NotFound, ProtocolViolation, Refused
from workbench_rights import cases, complaints
from workbench_rights.cases import Sealed
from workbench_rights.complaints import TaskRow
from workbench_rights.group_letters import (
    CLOSED,
    DONE,
    INVITE,
    customer_token,
    format_letter,
    parse_letter,
    require_plain,
)

Reader = sqlite3.Connection | Transaction
NOBODY = Customer(())


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One row of rights_group. lead: whose complaint it is; complaint: "" at a member. is_known: the member has the customer."""

    grp: str
    lead: str
    complaint: str
    category: str
    job: str
    state: str
    created_ms: int
    is_known: bool


@dataclass(frozen=True, slots=True)
class Invited:
    """What one institution is asked to do."""

    party: str
    text: str
    due: date


def place(grp: str) -> str:
    return f"group/{grp}"


def groups(reader: Reader) -> list[GroupRow]:
    """Groups led and joined, the newest first."""
    rows = reader.execute(
        "SELECT grp, lead, complaint, category, job, state, created_ms, is_known FROM rights_group ORDER BY created_ms DESC, grp"
    ).fetchall()
    return [
        GroupRow(
            grp=row[0], lead=row[1], complaint=row[2], category=row[3], job=row[4], state=row[5], created_ms=row[6],
            is_known=bool(row[7]),
        )
        for row in rows
    ]  # fmt: skip


def group(reader: Reader, name: str) -> GroupRow:
    """One group; NotFound NO_GROUP, also for whoever was not invited."""
    for one in groups(reader):
        if one.grp == name:
            return one
    raise NotFound("没有这个专项小组", "there is no such task group", code="NO_GROUP")


# ---- the leader


def open_group(ctx: OperationContext, name: str, invited: Sequence[Invited], *, with_job: bool = True) -> str:
    """Invite institutions to a major complaint, one task each, by letter. Refused NOT_MAJOR, GROUP_EXISTS, NO_CUSTOMER_THERE.

    Where the complaint names a job with an invited institution, and with_job, its letter carries a token of the customer; the others carry
    none. Nothing else about the customer is in a letter.
    """
    host = ctx.host
    for one in invited:
        require_plain(one.text)
    with host.store.read() as reader:
        row = complaints.complaint(reader, name)
        sealed = cases.is_sealed(reader, host, complaints.place(name))
        customer = cases.sealed(reader, host, complaints.place(name)).customer if sealed else NOBODY
        if any(one.complaint == name and one.state == "OPEN" for one in groups(reader)):
            raise Refused("这件投诉已有专项小组", "this complaint has a task group already", code="GROUP_EXISTS")
    if not row.is_major:
        raise Refused("只有重大投诉成立专项小组：先标为重大", "only a major complaint gets a task group: mark it as major first", code="NOT_MAJOR")
    job = row.job if with_job else ""
    tied = _tied(ctx, job, customer) if job else None
    grp = cases.new_id(host, "G")

    def change(tx: Transaction) -> None:
        complaints.require_open(complaints.complaint(tx, name))
        tx.execute(
            "INSERT INTO rights_group (grp, lead, complaint, category, job, state, created_ms) VALUES (?, ?, ?, ?, ?, 'OPEN', ?)",
            (grp, host.party, name, row.category, job, host.now_ms()),
        )
        values = {"complaint": name, "group": grp, "members": " ".join(one.party for one in invited)}
        complaints.record(tx, ctx, name, "complaints.group_opened", values)
        for one in invited:
            _invite(tx, ctx, name, grp, row.category, one, tied)

    host.store.write(change)
    return grp


def _tied(ctx: OperationContext, job_id: str, customer: Customer) -> tuple[str, str, str]:
    """(partner, job, key value) of the customer in our released list of that job."""
    host = ctx.host
    job = host.jobs.get(job_id)
    rows = [
        one for one in host.subject_records(SubjectRequest(customer)) if one.owner == "results" and one.values["job"] == job_id
    ] if job.state is JobState.RELEASED else []  # fmt: skip
    if len(rows) != 1:
        raise Refused(
            f"{job_id} 的放行名单里没有（或不止一行）这位客户：不写所涉求交再邀请",
            f"the released list of {job_id} has no row, or several, of this customer: invite without the job",
            code="NO_CUSTOMER_THERE",
        )
    return str(job.partner), job_id, rows[0].values[job.terms.key_kind.value]


def _invite(
    tx: Transaction, ctx: OperationContext, name: str, grp: str, category: str, one: Invited, tied: tuple[str, str, str] | None
) -> None:
    host = ctx.host
    task = complaints.write_task(
        tx, host, at=complaints.place(name), kind="task", party=one.party, owner="compliance", due_day=one.due, grp=grp
    )
    salt = host.random(32)
    holds = tied is not None and tied[0] == one.party
    fields = {
        "group": grp, "category": category, "task": task, "text": one.text, "due": one.due.isoformat(),
        "job": tied[1] if tied and holds else "", "salt": salt.hex() if holds else "",
        "token": customer_token(salt, tied[1], tied[2]) if tied and holds else "",
    }  # fmt: skip
    letter = host.letters.post(tx, to=PartyId(one.party), kind=INVITE, body=format_letter(INVITE, fields), job=fields["job"])
    tx.execute("UPDATE rights_task SET letter = ? WHERE task = ?", (letter, task))
    complaints.add_text(tx, host, complaints.place(name), "tasks", task, {"text": one.text})
    complaints.record_task(tx, ctx, name, task, kind="task", party=one.party, due_day=one.due, text=one.text)


def end_groups(tx: Transaction, ctx: OperationContext, name: str) -> None:
    """The groups of a complaint end with it, and their members are told."""
    host = ctx.host
    for one in groups(tx):
        if one.complaint != name or one.state != "OPEN":
            continue
        tx.execute("UPDATE rights_group SET state = 'CLOSED' WHERE grp = ?", (one.grp,))
        members = sorted({task.party for task in complaints.tasks(tx, complaints.place(name)) if task.grp == one.grp})
        for party in members:
            host.letters.post(tx, to=PartyId(party), kind=CLOSED, body=format_letter(CLOSED, {"group": one.grp}))
        values = {"group": one.grp, "party": host.party}
        host.evidence.append(tx, "complaints.group_closed", values, actor=ctx.caller.person.token)


# ---- a task is done, here or there


def finish(ctx: OperationContext, name: str, *, result: str) -> None:
    """Finish a task of this institution; of a joined group the leader hears it by letter. Refused OTHERS_TASK."""
    host = ctx.host

    def change(tx: Transaction) -> None:
        task = complaints.task(tx, name)
        if task.party != host.party:
            raise Refused(
                f"这项任务由 {task.party} 办理，其答复会以信函到达", f"this task is {task.party}'s: its answer arrives by letter",
                code="OTHERS_TASK",
            )  # fmt: skip
        joined = task.place.startswith("group/")
        if joined:
            require_plain(result)
        complaints.finish_task(
            tx, host, task, result=result, actor=ctx.caller.person.token, subject=complaints.subject_of(tx, host, task.place)
        )
        if joined:
            found = group(tx, task.grp)
            body = format_letter(DONE, {"group": task.grp, "task": task.task, "result": result})
            host.letters.post(tx, to=PartyId(found.lead), kind=DONE, body=body)

    host.store.write(change)


# ---- letters that arrive


def letter_kinds(host: Any) -> list[LetterKind]:
    return [
        LetterKind(INVITE, partial(_on_invite, host), prepare=partial(_find, host)),
        LetterKind(DONE, partial(_on_done, host)),
        LetterKind(CLOSED, partial(_on_closed, host)),
    ]


def _find(host: Any, letter: Letter) -> tuple[dict[str, str], Customer]:
    """The fields, and whom of our released list the token means: one row or nobody. Cost: one HMAC a row."""
    fields = parse_letter(INVITE, letter.body)
    if not fields["job"]:
        return fields, NOBODY
    kind, values = host.released_keys(fields["job"], letter.sender)
    salt = bytes.fromhex(fields["salt"])
    found = [value for value in values if customer_token(salt, fields["job"], value) == fields["token"]]
    if len(found) != 1:
        return fields, NOBODY
    try:
        return fields, host.identify_customer(**{"phone": None, "id_no": None, kind.value: found[0]})
    except Refused:  # several persons have the phone: who is meant is asked of the leader
        return fields, NOBODY


def _on_invite(host: Any, tx: Transaction, letter: Letter) -> bytes:
    """Join: group, task and, where the token fits one row of ours, the customer. Twice changes nothing."""
    fields, customer = letter.prepared
    known = [one for one in groups(tx) if one.grp == fields["group"]]
    if any(one.lead != letter.sender for one in known):
        raise ProtocolViolation("这个专项小组由另一家机构牵头", "another institution leads this task group", code="GROUP_LETTER")
    found = "yes" if customer.names else "no"
    if not known:
        tx.execute(
            "INSERT INTO rights_group (grp, lead, category, job, state, created_ms, is_known) VALUES (?, ?, ?, ?, 'OPEN', ?, ?)",
            (fields["group"], letter.sender, fields["category"], fields["job"], host.now_ms(), int(bool(customer.names))),
        )
        cases.seal(tx, host, place(fields["group"]), Sealed(customer, {"tasks": {}}))
    if not any(one.task == fields["task"] for one in complaints.tasks(tx)):
        complaints.write_task(
            tx, host, at=place(fields["group"]), kind="task", party=host.party, owner="compliance",
            due_day=date.fromisoformat(fields["due"]), grp=fields["group"], name=fields["task"],
        )  # fmt: skip
        complaints.add_text(tx, host, place(fields["group"]), "tasks", fields["task"], {"text": fields["text"]})
        values = {"group": fields["group"], "party": letter.sender, "task": fields["task"], "found": found}
        host.evidence.append(
            tx, "complaints.group_joined", values, subject=customer.names[0] if customer.names else ""
        )
    return canonical.format({"v": "workbench/v1/task-group", "found": found})


def _on_done(host: Any, tx: Transaction, letter: Letter) -> bytes:
    """The answer of the institution the task was given to, and of nobody else."""
    fields = parse_letter(DONE, letter.body)
    task = _task_of(tx, fields["task"])
    if task is None or task.grp != fields["group"] or task.party != letter.sender or not task.place.startswith("complaint/"):
        raise Refused("没有交给你方的这项任务", "no such task was given to you", code="NO_TASK")
    if task.is_open:
        complaints.finish_task(
            tx, host, task, result=fields["result"], actor="", subject=complaints.subject_of(tx, host, task.place)
        )
    return b""


def _task_of(tx: Transaction, name: str) -> TaskRow | None:
    try:
        return complaints.task(tx, name)
    except NotFound:
        return None


def _on_closed(host: Any, tx: Transaction, letter: Letter) -> bytes:
    fields = parse_letter(CLOSED, letter.body)
    found = [one for one in groups(tx) if one.grp == fields["group"] and one.lead == letter.sender]
    if not found:
        raise Refused("没有你方牵头的这个专项小组", "you lead no such task group", code="NO_GROUP")
    if found[0].state == "OPEN":
        tx.execute("UPDATE rights_group SET state = 'CLOSED' WHERE grp = ?", (fields["group"],))
        tx.execute(
            "UPDATE rights_task SET state = 'ENDED', done_ms = ? WHERE place = ? AND state = 'OPEN'",
            (host.now_ms(), place(fields["group"])),
        )
        host.evidence.append(tx, "complaints.group_closed", {"group": fields["group"], "party": letter.sender})
    return b""


__all__ = ["GroupRow", "Invited", "end_groups", "finish", "group", "groups", "letter_kinds", "open_group", "place"]
