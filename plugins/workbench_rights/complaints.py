"""What happens to a complaint, step by step, each with its evidence in one transaction. Document: docs/rights.md section 7."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from workbench.clock import local_day
from workbench.contracts import EvidenceIndex, OperationContext, Transaction
from workbench.crypto import sm3
from workbench.domain.erasure import Customer
from workbench.domain.identifiers import looks_like_identifier
from workbench.domain.search import SearchQuery
from workbench.errors import InvalidRequest, NotFound, Refused
from workbench_rights import cases
from workbench_rights.cases import Sealed
from workbench_rights.model import COMPLAINT_WORDS, ComplaintState
from workbench_rights.schema import OWNER
from workbench_rights.workdays import Due, due

Reader = sqlite3.Connection | Transaction
T = TypeVar("T")

FILE_LABEL = b"workbench/v1/complaint-file\n"
SOON_WORKING_DAYS = 2
NOT_EXPORTED_HERE = "not-exported-here"
"""A package whose export stands in no log that is held here."""
READ_BYTES = 1 << 20
_COLUMNS = (
    "complaint, state, channel, category, is_major, received_ms, due_day, due_ms, is_estimated, told_ms, handler, stopped_ms,"
    " outcome, closed_ms, request, job, created_by"
)
_TASK = "task, place, kind, party, owner, due_day, due_ms, state, created_ms, done_ms, grp, letter"


@dataclass(frozen=True, slots=True)
class ComplaintRow:
    """One row of rights_complaint."""

    complaint: str
    state: ComplaintState
    channel: str
    category: str
    is_major: bool
    received_ms: int
    due_day: str
    due_ms: int
    is_estimated: bool
    told_ms: int
    handler: str
    stopped_ms: int
    outcome: str
    closed_ms: int
    request: str
    job: str
    created_by: str

    @property
    def told_in_time(self) -> bool:
        return 0 < self.told_ms < self.due_ms

    def is_overdue(self, now_ms: int) -> bool:
        return not self.told_ms and self.state is not ComplaintState.CLOSED and now_ms >= self.due_ms


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One row of rights_task. place: "complaint/<id>" of the leader or "group/<id>" of a member. letter: that carries it."""

    task: str
    place: str
    kind: str
    party: str
    owner: str
    due_day: str
    due_ms: int
    state: str
    created_ms: int
    done_ms: int
    grp: str
    letter: str

    @property
    def is_open(self) -> bool:
        return self.state == "OPEN"


# ---- reading


def place(complaint: str) -> str:
    return f"complaint/{complaint}"


def complaint(reader: Reader, name: str) -> ComplaintRow:
    """One complaint; NotFound NO_COMPLAINT."""
    row = reader.execute(f"SELECT {_COLUMNS} FROM rights_complaint WHERE complaint = ?", (name,)).fetchone()
    if row is None:
        raise NotFound("没有这件投诉", "there is no such complaint", code="NO_COMPLAINT")
    return _row(row)


def everything(reader: Reader) -> list[ComplaintRow]:
    """All complaints, the newest first."""
    rows = reader.execute(f"SELECT {_COLUMNS} FROM rights_complaint ORDER BY received_ms DESC, complaint").fetchall()
    return [_row(row) for row in rows]


def _row(row: Any) -> ComplaintRow:
    values = dict(zip(_COLUMNS.replace(" ", "").split(","), tuple(row), strict=True))
    values |= {
        "state": ComplaintState(values["state"]), "is_major": bool(values["is_major"]), "is_estimated": bool(values["is_estimated"]),
    }  # fmt: skip
    return ComplaintRow(**values)


def steps(reader: Reader, name: str) -> list[tuple[int, str, int, str]]:
    """(number, kind, at_ms, actor), the oldest first."""
    rows = reader.execute("SELECT number, kind, at_ms, actor FROM rights_step WHERE complaint = ? ORDER BY number", (name,))
    return [(int(row[0]), str(row[1]), int(row[2]), str(row[3])) for row in rows]


def tasks(reader: Reader, at: str = "") -> list[TaskRow]:
    """Tasks of one place, or all of them, the one due first first."""
    rows = reader.execute(f"SELECT {_TASK} FROM rights_task WHERE ? IN ('', place) ORDER BY due_ms, task", (at,)).fetchall()
    return [TaskRow(*tuple(row)) for row in rows]


def task(reader: Reader, name: str) -> TaskRow:
    """One task; NotFound NO_TASK."""
    row = reader.execute(f"SELECT {_TASK} FROM rights_task WHERE task = ?", (name,)).fetchone()
    if row is None:
        raise NotFound("没有这项任务", "there is no such task", code="NO_TASK")
    return TaskRow(*tuple(row))


def files(reader: Reader, at: str = "") -> list[tuple[str, str, int, str, int, int]]:
    """(file, place, size, digest, at_ms, entry) of one place or of all."""
    rows = reader.execute(
        "SELECT file, place, size, digest, at_ms, entry FROM rights_file WHERE ? IN ('', place) ORDER BY at_ms, file", (at,)
    ).fetchall()
    return [(str(one[0]), str(one[1]), int(one[2]), str(one[3]), int(one[4]), int(one[5])) for one in rows]


# ---- writing


def open_complaint(
    tx: Transaction, ctx: OperationContext, customer: Customer, *, channel: str, category: str, facts: str, job: str = "",
    request: str = "",
) -> str:  # fmt: skip
    """Register a complaint in the caller's transaction; its clock begins. Returns its id."""
    host, now = ctx.host, ctx.host.now_ms()
    name = cases.new_id(host, "K")
    term = due(local_day(now), int(host.setting("complaints.progress_working_days")))
    values = {
        "complaint": name, "state": ComplaintState.OPEN.value, "channel": channel, "category": category, "received_ms": now,
        "due_day": term.day.isoformat(), "due_ms": term.end_ms, "is_estimated": int(term.is_estimated), "request": request,
        "job": job, "created_by": ctx.caller.person.token,
    }  # fmt: skip
    names = ", ".join(values)
    tx.execute(f"INSERT INTO rights_complaint ({names}) VALUES ({', '.join('?' * len(values))})", tuple(values.values()))
    cases.seal(tx, host, place(name), Sealed(customer, {"facts": facts}))
    told = {"complaint": name, "channel": channel, "category": category, "due": term.day.isoformat()}
    host.evidence.append(
        tx, "complaints.opened", told, actor=ctx.caller.person.token, subject=customer.names[0] if customer.names else ""
    )
    return name


def handle(ctx: OperationContext, name: str, *, category: str, is_major: bool) -> None:
    """Take a complaint over, and say what it is."""
    actor = ctx.caller.person.token

    def change(tx: Transaction, row: ComplaintRow) -> None:
        _set(tx, name, state=ComplaintState.HANDLING.value, category=category or row.category, is_major=int(is_major), handler=actor)
        values = {"complaint": name, "category": category or row.category, "major": "yes" if is_major else "no"}
        record(tx, ctx, name, "complaints.handled", values)

    _change(ctx, name, change)


def add_step(ctx: OperationContext, name: str, *, kind: str, text: str) -> int:
    """Write one step of the timeline; its number."""

    def change(tx: Transaction, row: ComplaintRow) -> int:
        return write_step(tx, ctx, name, kind=kind, text=text)

    return _change(ctx, name, change)


def write_step(tx: Transaction, ctx: OperationContext, name: str, *, kind: str, text: str) -> int:
    host = ctx.host
    number = len(steps(tx, name)) + 1
    tx.execute(
        "INSERT INTO rights_step (complaint, number, kind, at_ms, actor) VALUES (?, ?, ?, ?, ?)",
        (name, number, kind, host.now_ms(), ctx.caller.person.token),
    )
    _add_text(tx, ctx, place(name), "steps", str(number), text)
    values = {"complaint": name, "step": str(number), "kind": kind, "text": text}
    record(tx, ctx, name, "complaints.stepped", values)
    return number


def tell(ctx: OperationContext, name: str, *, text: str) -> None:
    """The customer was told how things stand: the clock of seven working days is kept or broken by the first time."""

    def change(tx: Transaction, row: ComplaintRow) -> None:
        now = ctx.host.now_ms()
        write_step(tx, ctx, name, kind="progress", text=text)
        if not row.told_ms:
            _set(tx, name, told_ms=now)
        values = {"complaint": name, "in_time": "yes" if (row.told_ms or now) < row.due_ms else "no", "text": text}
        record(tx, ctx, name, "complaints.told", values)

    _change(ctx, name, change)


def stop_contact(ctx: OperationContext, name: str, *, purpose: str, recipient: str) -> int:
    """Withdraw and suppress at once, through the one operation that does; the number of the consent event."""
    host = ctx.host
    with host.store.read() as reader:
        require_open(complaint(reader, name))
        customer = cases.sealed(reader, host, place(name)).customer
    if not customer.identifiers:
        raise Refused(
            "这件投诉没有写明客户，无法停止联系：先补登记客户", "the complaint names no customer: nobody's contact can be stopped",
            code="NO_CUSTOMER",
        )  # fmt: skip
    # The person has just confirmed this very step with a password; the withdrawal is its consequence.
    wanted = {
        "phone": customer.phones[0] if customer.phones else "", "id_no": customer.id_nos[0] if customer.id_nos else "",
        "purpose": purpose, "recipient": recipient, "suppress": True, "reason": f"complaint {name}",
    }  # fmt: skip
    done: Any = host.gate.call("consent.withdraw", wanted, ctx.caller, context=ctx, is_confirmed=True)

    def change(tx: Transaction, row: ComplaintRow) -> None:
        _set(tx, name, stopped_ms=host.now_ms())
        values = {"complaint": name, "scope": f"{purpose or '*'} -> {recipient or '*'}", "event": str(done.event)}
        record(tx, ctx, name, "complaints.contact_stopped", values)

    _change(ctx, name, change)
    return int(done.event)


# ---- attachments


def file_digest(salt: bytes, address: bytes) -> str:
    """What the log says of an attachment. salt: 32 bytes, address: SM3 of the content. Source: docs/rights.md section 7."""
    return sm3.digest(FILE_LABEL + salt + address).hex()


def add_file(ctx: OperationContext, name: str, path: Path, *, note: str) -> str:
    """Keep a file beside the database, encrypted, with its salted digest on the ledger; its id."""
    host = ctx.host
    if looks_like_identifier(note):
        raise InvalidRequest("附件说明里不要写手机号或证件号", "the note of an attachment holds no phone or identity number")
    with host.store.read() as reader:
        require_open(complaint(reader, name))
    draft = host.blobs.stage(_parts(path))
    file, salt = cases.new_id(host, "F"), host.random(32)

    def change(tx: Transaction, row: ComplaintRow) -> str:
        host.blobs.adopt(tx, draft, owner=OWNER, ref=file)
        digest = file_digest(salt, draft.address)
        values = {"complaint": name, "file": file, "digest": digest, "size": str(draft.size)}
        ref = record(tx, ctx, name, "complaints.file_added", values)
        tx.execute(
            "INSERT INTO rights_file (file, place, size, digest, at_ms, actor, entry) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (file, place(name), draft.size, digest, host.now_ms(), ctx.caller.person.token, ref),
        )
        _add_text(tx, ctx, place(name), "files", file, {"name": path.name[-80:], "note": note, "salt": salt.hex()})
        return file

    try:
        return _change(ctx, name, change)
    except BaseException:
        host.blobs.discard(draft)
        raise


def _parts(path: Path) -> Any:
    with path.open("rb") as source:
        while part := source.read(READ_BYTES):
            yield part


def read_file(ctx: OperationContext, file: str, *, reason: str) -> tuple[str, str]:
    """(download, name) of an attachment, re-hashed and held against the digest in the log first. NotFound NO_FILE_HERE."""
    host = ctx.host
    with host.store.read() as reader:
        found = next((one for one in files(reader) if one[0] == file), None)
        if found is None:
            raise NotFound("没有这个附件", "there is no such attachment", code="NO_FILE_HERE")
        content = cases.sealed(reader, host, found[1])
        data = host.blobs.get(reader, host.blobs.named(reader, OWNER, file))
    name = str(content.texts["files"][file]["name"])
    complaint_name = found[1].partition("/")[2]
    values = {"complaint": complaint_name, "file": file, "reason": reason}

    def change(tx: Transaction) -> str:
        record(tx, ctx, complaint_name, "complaints.file_read", values)
        return host.downloads.offer(tx, ctx.caller, name, data)

    return host.store.write(change), name


# ---- tasks


def add_task(
    ctx: OperationContext, name: str, *, kind: str, text: str, owner: str, due_day: date
) -> str:
    """Set a task of this institution; its id."""

    def change(tx: Transaction, row: ComplaintRow) -> str:
        made = write_task(
            tx, ctx.host, at=place(name), kind=kind, party=ctx.host.party, owner=owner, due_day=due_day
        )
        _add_text(tx, ctx, place(name), "tasks", made, {"text": text})
        record_task(tx, ctx, name, made, kind=kind, party=ctx.host.party, due_day=due_day, text=text)
        return made

    return _change(ctx, name, change)


def write_task(
    tx: Transaction, host: Any, *, at: str, kind: str, party: str, owner: str, due_day: date, grp: str = "", name: str = ""
) -> str:
    made = name or cases.new_id(host, "T")
    tx.execute(
        f"INSERT INTO rights_task ({_TASK}) VALUES (?, ?, ?, ?, ?, ?, ?, 'OPEN', ?, 0, ?, '')",
        (made, at, kind, party, owner, due_day.isoformat(), Due(due_day, is_estimated=False).end_ms, host.now_ms(), grp),
    )
    return made


def record_task(
    tx: Transaction, ctx: OperationContext, name: str, made: str, *, kind: str, party: str, due_day: date, text: str
) -> None:
    values = {"complaint": name, "task": made, "kind": kind, "party": party, "due": due_day.isoformat(), "text": text}
    record(tx, ctx, name, "complaints.task_set", values)


def finish_task(tx: Transaction, host: Any, found: TaskRow, *, result: str, actor: str, subject: str) -> None:
    """Mark a task as done in the caller's transaction. Refused TASK_NOT_OPEN."""
    if not found.is_open:
        raise Refused("这项任务已经办结", "this task is done already", code="TASK_NOT_OPEN")
    now = host.now_ms()
    tx.execute("UPDATE rights_task SET state = 'DONE', done_ms = ? WHERE task = ?", (now, found.task))
    add_text(tx, host, found.place, "results", found.task, result)
    values = {
        "complaint": found.place.partition("/")[2], "task": found.task, "party": found.party,
        "in_time": "yes" if now < found.due_ms else "no", "result": result,
    }  # fmt: skip
    host.evidence.append(tx, "complaints.task_done", values, actor=actor, subject=subject)


# ---- the end


def close(ctx: OperationContext, name: str, *, outcome: str, reason: str, also: Callable[[Transaction], None]) -> None:
    """Close a complaint. Refused TASK_OPEN while a task is open, NOT_TOLD before the customer was told.

    also(tx): what else ends with it, such as its task group.
    """

    def change(tx: Transaction, row: ComplaintRow) -> None:
        waiting = [one for one in tasks(tx, place(name)) if one.is_open]
        if waiting:
            raise Refused(
                f"还有 {len(waiting)} 项任务没有办结，投诉不能办结", f"{len(waiting)} tasks are open: the complaint cannot be closed",
                code="TASK_OPEN", details={"tasks": " ".join(one.task for one in waiting[:20])},
            )  # fmt: skip
        if not row.told_ms and outcome != "taken-back":
            raise Refused(
                "还没有向客户告知进展，投诉不能办结", "the customer was not told how the complaint stands: it cannot be closed",
                code="NOT_TOLD",
            )  # fmt: skip
        _set(tx, name, state=ComplaintState.CLOSED.value, outcome=outcome, closed_ms=ctx.host.now_ms())
        cases.add_texts(tx, ctx.host, place(name), reason=reason)
        values = {
            "complaint": name, "outcome": outcome, "told_in_time": "yes" if row.told_in_time else "no", "reason": reason,
        }  # fmt: skip
        record(tx, ctx, name, "complaints.closed", values)
        also(tx)

    _change(ctx, name, change)


def reopen(ctx: OperationContext, name: str, *, reason: str) -> None:
    """Open a closed complaint again."""

    def change(tx: Transaction) -> None:
        row = complaint(tx, name)
        if row.state is not ComplaintState.CLOSED:
            raise wrong_state(row)
        _set(tx, name, state=ComplaintState.HANDLING.value, outcome="", closed_ms=0)
        record(tx, ctx, name, "complaints.reopened", {"complaint": name, "reason": reason})

    ctx.host.store.write(change)


# ---- who is liable, what is paid elsewhere


def assess_liability(
    ctx: OperationContext, name: str, *, liable: str, basis: str, entries: Sequence[str], package_sm3: str
) -> str:
    """Keep the liability form; says who exported the package, see `exported_by`.

    Every entry must exist here, hash to its leaf and lie under a signed head: NO_SUCH_ENTRY. A package that no log here knows is taken
    with that mark: it may come from an authority or an institution outside.
    """
    host = ctx.host
    known = exported_by(host, package_sm3)
    for one in entries:
        _require_entry(host, one)

    def change(tx: Transaction, row: ComplaintRow) -> None:
        form = {
            "liable": liable, "basis": basis, "entries": list(entries), "package_sm3": package_sm3, "package_from": known,
            "at_ms": host.now_ms(),
        }  # fmt: skip
        _append(tx, ctx, name, "liability", form)
        values = {
            "complaint": name, "liable": liable, "basis": basis, "entries": " ".join(entries), "package_sm3": package_sm3,
            "package_from": known,
        }  # fmt: skip
        record(tx, ctx, name, "complaints.liability_assessed", values)

    _change(ctx, name, change)
    return known


def exported_by(host: Any, package_sm3: str) -> str:
    """The institution whose log has the export of this package, NOT_EXPORTED_HERE where no log held here has it, "" for no package.

    The own log first, then the mirrors of the others.
    """
    if not package_sm3:
        return ""
    with host.store.read() as reader:
        if host.evidence.search(reader, kind="evidence.exported", text=package_sm3, limit=1):
            return str(host.party)
    index = getattr(host.ledger, "index", None)
    if isinstance(index, EvidenceIndex) and index.catch_up():
        hits = index.search(SearchQuery(kinds=("evidence.exported",), digest=package_sm3, limit=1))
        if hits:
            return str(hits[0].log)
    return NOT_EXPORTED_HERE


def _require_entry(host: Any, name: str) -> None:
    log, _, index = name.partition("/")
    checked: Any = None
    if index.isdecimal():
        try:
            checked = host.ledger.receipt(log, int(index))
        except NotFound:
            checked = None
    if checked is None:
        raise NotFound(
            f"记录「{name[:60]}」不存在或尚未共签：核对编号（写作 机构/序号），待共签后再认定",
            f"entry {name[:60]} does not exist or nobody has co-signed it yet: check it (institution/index), assess once it is co-signed",
            code="NO_SUCH_ENTRY",
        )


def record_compensation(ctx: OperationContext, name: str, *, amount_fen: int, payer: str, agreed: date, text: str) -> None:
    """Write down what was agreed. Nothing is paid here, and nothing here can pay."""

    def change(tx: Transaction, row: ComplaintRow) -> None:
        kept = {"amount_fen": amount_fen, "currency": "CNY", "payer": payer, "agreed": agreed.isoformat(), "text": text}
        _append(tx, ctx, name, "compensation", kept)
        values = {
            "complaint": name, "amount_fen": str(amount_fen), "payer": payer, "agreed": agreed.isoformat(), "text": text,
        }  # fmt: skip
        record(tx, ctx, name, "complaints.compensation_recorded", values)

    _change(ctx, name, change)


def look(ctx: OperationContext, name: str) -> tuple[ComplaintRow, Sealed | None]:
    """A complaint with its content, None once it is erased, after the look is on record."""
    host = ctx.host

    def change(tx: Transaction) -> tuple[ComplaintRow, Sealed | None]:
        row = complaint(tx, name)
        record(tx, ctx, name, "complaints.viewed", {"complaint": name})
        return row, cases.sealed(tx, host, place(name)) if cases.is_sealed(tx, host, place(name)) else None

    return host.store.write(change)


# ---- inside


def add_text(tx: Transaction, host: Any, at: str, group: str, key: str, value: Any) -> None:
    """Put one more text under a name of the content; nothing happens once it is erased."""
    if cases.is_sealed(tx, host, at):
        known: Mapping[str, Any] = cases.sealed(tx, host, at).texts.get(group, {})
        cases.add_texts(tx, host, at, **{group: {**known, key: value}})


def _add_text(tx: Transaction, ctx: OperationContext, at: str, group: str, key: str, value: Any) -> None:
    add_text(tx, ctx.host, at, group, key, value)


def _append(tx: Transaction, ctx: OperationContext, name: str, group: str, value: Any) -> None:
    if cases.is_sealed(tx, ctx.host, place(name)):
        known = cases.sealed(tx, ctx.host, place(name)).texts.get(group, [])
        cases.add_texts(tx, ctx.host, place(name), **{group: [*known, value]})


def subject_of(tx: Reader, host: Any, at: str) -> str:
    """Name of the customer's key, "" for nobody's or an erased one's."""
    if not cases.is_sealed(tx, host, at):
        return ""
    names = cases.sealed(tx, host, at).customer.names
    return names[0] if names else ""


def record(tx: Transaction, ctx: OperationContext, name: str, kind: str, values: Mapping[str, str]) -> int:
    subject = subject_of(tx, ctx.host, place(name))
    return int(ctx.host.evidence.append(tx, kind, values, actor=ctx.caller.person.token, subject=subject).index)


def _set(tx: Transaction, name: str, **values: Any) -> None:
    told = ", ".join(f"{column} = ?" for column in values)
    tx.execute(f"UPDATE rights_complaint SET {told} WHERE complaint = ?", (*values.values(), name))


def _change(ctx: OperationContext, name: str, step: Callable[[Transaction, ComplaintRow], T]) -> T:
    """One step of a complaint that is not closed, in one transaction."""

    def change(tx: Transaction) -> T:
        row = complaint(tx, name)
        require_open(row)
        return step(tx, row)

    return ctx.host.store.write(change)


def require_open(row: ComplaintRow) -> None:
    if row.state is ComplaintState.CLOSED:
        raise wrong_state(row)


def wrong_state(row: ComplaintRow) -> Refused:
    zh, en = COMPLAINT_WORDS[row.state]
    return Refused(
        f"这件投诉现在是「{zh}」，不能做这一步", f"this complaint is {en}: this step is not possible now", code="WRONG_STATE",
        details={"state": row.state.value},
    )  # fmt: skip
