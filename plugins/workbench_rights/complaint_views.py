"""What operations on complaints ask and answer, and how a row becomes a reply a page can show. Document: docs/rights.md section 7."""

from __future__ import annotations

import sqlite3
from datetime import date
from typing import Literal

from pydantic import Field

from workbench.clock import local_day
from workbench.contracts import OperationContext
from workbench.domain.party import PartyId
from workbench.operations import Reply, Request
from workbench_rights import complaints, groups
from workbench_rights.cases import Sealed
from workbench_rights.complaints import SOON_WORKING_DAYS, ComplaintRow, TaskRow
from workbench_rights.model import CATEGORIES, CHANNELS, COMPLAINT_WORDS, ComplaintState
from workbench_rights.operations import Channel
from workbench_rights.workdays import days_left

Category = Literal["unwanted-contact", "consent", "data-leak", "wrong-data", "product", "service", "other"]
Step = Literal["contact", "negotiation", "mediation", "litigation", "arbitration", "settlement", "progress"]
Outcome = Literal["upheld", "partly-upheld", "not-upheld", "settled", "taken-back"]


class NoteRequest(Request):
    """phone, id_no: of the customer, "" for a complaint without a name. facts: what happened. job: an intersection it is about."""

    phone: str = Field(default="", max_length=40, repr=False)
    id_no: str = Field(default="", max_length=40, repr=False)
    channel: Channel
    category: Category = "other"
    facts: str = Field(min_length=5, max_length=8000)
    job: str = Field(default="", max_length=64)


class ComplaintName(Request):
    complaint: str = Field(max_length=40)


class HandleRequest(ComplaintName):
    """category: "" leaves it as it is."""

    category: Category | Literal[""] = ""
    is_major: bool = False


class StepRequest(ComplaintName):
    kind: Step
    text: str = Field(min_length=2, max_length=4000)


class TellRequest(ComplaintName):
    text: str = Field(min_length=2, max_length=4000)


class StopContactRequest(ComplaintName):
    """purpose, recipient: "" means every one."""

    purpose: str = Field(default="", max_length=60)
    recipient: str = Field(default="", max_length=40)


class AddFileRequest(ComplaintName):
    """file: id of an upload."""

    file: str
    note: str = Field(default="", max_length=200)


class ReadFileRequest(Request):
    attachment: str = Field(max_length=40)
    reason: str = Field(min_length=5, max_length=500)


class TaskRequest(ComplaintName):
    """kind: "rectification" for a part of the rectification plan. owner: role or department that does it."""

    kind: Literal["task", "rectification"] = "task"
    text: str = Field(min_length=2, max_length=1000)
    owner: str = Field(default="compliance", min_length=2, max_length=60)
    due_day: date


class FinishRequest(Request):
    task: str = Field(max_length=40)
    result: str = Field(min_length=2, max_length=500)


class TasksRequest(Request):
    """overdue: only open ones past their day. open: only open ones."""

    overdue: bool = False
    open: bool = False


class Invitation(Request):
    party: str = Field(max_length=40)
    text: str = Field(min_length=2, max_length=500)
    due_day: date


class GroupRequest(ComplaintName):
    """invitations: one task for each institution; the texts hold nothing about the customer.

    with_job: the letter to the partner of the complaint's intersection names it, with a token of the customer; without it no
    letter does, for a customer who is not in the released list.
    """

    invitations: list[Invitation] = Field(min_length=1, max_length=20)
    with_job: bool = True


class LiabilityRequest(ComplaintName):
    """liable: institution or department. entries: "institution/index" of the evidence it rests on."""

    liable: str = Field(min_length=2, max_length=200)
    basis: str = Field(min_length=5, max_length=4000)
    entries: list[str] = Field(min_length=1, max_length=100)
    package_sm3: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")


class CompensationRequest(ComplaintName):
    """amount_fen: in fen, CNY. Recorded only."""

    amount_fen: int = Field(ge=0, le=10**13)
    payer: str = Field(min_length=2, max_length=200)
    agreed_day: date
    text: str = Field(default="", max_length=2000)


class CloseRequest(ComplaintName):
    outcome: Outcome
    reason: str = Field(min_length=5, max_length=2000)


class ReopenRequest(ComplaintName):
    reason: str = Field(min_length=5, max_length=500)


class ListComplaints(Request):
    """state: one of the states, "open" for every open one, "" for all. after: id of the last one seen."""

    state: str = Field(default="", max_length=20)
    overdue: bool = False
    after: str = Field(default="", max_length=40)
    limit: int = Field(default=50, ge=1, le=500)


class ComplaintInfo(Reply):
    """One complaint without anything about its customer. days_left: working days, negative past the day. is_due_soon: two or
    fewer and the customer was not told. tasks_open: of this institution and of others.
    """

    complaint: str
    state: str
    state_zh: str
    state_en: str
    channel: str
    channel_zh: str
    channel_en: str
    category: str
    category_zh: str
    category_en: str
    is_major: bool
    received_ms: int
    due_day: str
    due_ms: int
    is_estimated: bool
    days_left: int
    is_due_soon: bool
    is_overdue: bool
    told_ms: int
    told_in_time: bool
    handler: str
    contact_stopped_ms: int
    outcome: str
    closed_ms: int
    request: str
    job: str
    group: str
    tasks_open: int
    tasks_overdue: int
    attachments: int


class ComplaintsReply(Reply):
    """next: value of `after` for the following page, "" at the end. by_state: of all."""

    total: int
    overdue: int
    due_soon: int
    by_state: dict[str, int]
    complaints: list[ComplaintInfo]
    next: str


class StepView(Reply):
    number: int
    kind: str
    kind_zh: str
    kind_en: str
    at_ms: int
    by: str
    text: str


class TaskView(Reply):
    """state: OPEN, DONE or ENDED. letter_state: "" for a task of this institution, else how its letter stands; letter_code:
    why the other institution refused it.
    """

    task: str
    complaint: str
    group: str
    kind: str
    party: str
    party_zh: str
    party_en: str
    owner: str
    due_day: str
    due_ms: int
    is_overdue: bool
    state: str
    text: str
    result: str
    done_ms: int
    letter_state: str
    letter_code: str


class FileView(Reply):
    """digest: salted, as in the log; entry: where."""

    attachment: str
    name: str
    note: str
    size: int
    digest: str
    at_ms: int
    entry: int


class LiabilityReply(ComplaintInfo):
    """package_from: the institution whose log has the export of the package, NOT_EXPORTED_HERE where no log held here has it, "" without
    a package. package_zh, package_en: that in a sentence.
    """

    package_from: str
    package_zh: str
    package_en: str


class LiabilityView(Reply):
    """package_from: as in LiabilityReply; "" also for forms written before it was looked up."""

    liable: str
    basis: str
    entries: list[str]
    package_sm3: str
    at_ms: int
    package_from: str = ""


class CompensationView(Reply):
    amount_fen: int
    currency: str
    payer: str
    agreed: str
    text: str


class ComplaintDetail(Reply):
    """Everything about one complaint; identifiers masked. is_erased: the texts lie in restricted storage."""

    info: ComplaintInfo
    phones: list[str]
    id_nos: list[str]
    facts: str
    reason: str
    timeline: list[StepView]
    tasks: list[TaskView]
    attachments: list[FileView]
    liability: list[LiabilityView]
    compensation: list[CompensationView]
    is_erased: bool


class TasksReply(Reply):
    tasks: list[TaskView]
    overdue: int


class GroupView(Reply):
    """is_ours: we lead it. is_known: our released list of the job has the customer, at a member."""

    group: str
    lead: str
    lead_zh: str
    lead_en: str
    is_ours: bool
    complaint: str
    category: str
    category_zh: str
    category_en: str
    job: str
    state: str
    created_ms: int
    is_known: bool
    tasks: list[TaskView]


class GroupsReply(Reply):
    groups: list[GroupView]


class TaskReply(Reply):
    task: str


class StopReply(Reply):
    """event: number of the consent event; effective at once."""

    info: ComplaintInfo
    event: int


class FileReply(Reply):
    attachment: str
    info: ComplaintInfo


class DownloadReply(Reply):
    download: str
    name: str


class PackReply(Reply):
    """package_sm3: for the liability form."""

    download: str
    name: str
    state: str
    entries: dict[str, int]
    package_sm3: str


def info(ctx: OperationContext, reader: sqlite3.Connection, row: ComplaintRow) -> ComplaintInfo:
    now = ctx.host.now_ms()
    waiting = [one for one in complaints.tasks(reader, complaints.place(row.complaint)) if one.is_open]
    left = days_left(local_day(now), date.fromisoformat(row.due_day))
    state, channel, category = COMPLAINT_WORDS[row.state], CHANNELS[row.channel], CATEGORIES[row.category]
    untold = not row.told_ms and row.state is not ComplaintState.CLOSED
    group = next((one.grp for one in groups.groups(reader) if one.complaint == row.complaint), "")
    return ComplaintInfo(
        complaint=row.complaint, state=row.state.value, state_zh=state[0], state_en=state[1], channel=row.channel,
        channel_zh=channel[0], channel_en=channel[1], category=row.category, category_zh=category[0], category_en=category[1],
        is_major=row.is_major, received_ms=row.received_ms, due_day=row.due_day, due_ms=row.due_ms,
        is_estimated=row.is_estimated, days_left=left, is_due_soon=untold and 0 <= left <= SOON_WORKING_DAYS and now < row.due_ms,
        is_overdue=row.is_overdue(now), told_ms=row.told_ms, told_in_time=row.told_in_time, handler=named(ctx, row.handler),
        contact_stopped_ms=row.stopped_ms, outcome=row.outcome, closed_ms=row.closed_ms, request=row.request, job=row.job,
        group=group, tasks_open=len(waiting), tasks_overdue=sum(one.due_ms <= now for one in waiting),
        attachments=len(complaints.files(reader, complaints.place(row.complaint))),
    )  # fmt: skip


def named(ctx: OperationContext, token: str) -> str:
    return ctx.host.person_named(token) if token else ""


def task_view(ctx: OperationContext, reader: sqlite3.Connection, row: TaskRow, content: Sealed | None) -> TaskView:
    texts = content.texts if content else {}
    zh, en = ctx.host.names(PartyId(row.party)) if row.party in ctx.host.parties() else (row.party, row.party)
    letter = ctx.host.letters.state(reader, row.letter) if row.letter else None
    area, _, name = row.place.partition("/")
    return TaskView(
        task=row.task, complaint=name if area == "complaint" else "", group=row.grp, kind=row.kind, party=row.party, party_zh=zh,
        party_en=en, owner=row.owner, due_day=row.due_day, due_ms=row.due_ms,
        is_overdue=row.is_open and row.due_ms <= ctx.host.now_ms(), state=row.state,
        text=str(texts.get("tasks", {}).get(row.task, {}).get("text", "")), result=str(texts.get("results", {}).get(row.task, "")),
        done_ms=row.done_ms, letter_state=letter.state if letter else "", letter_code=letter.refused_code if letter else "",
    )  # fmt: skip
