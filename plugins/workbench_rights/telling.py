"""What this desk keeps about one customer: told on request, set aside or erased with the customer. docs/rights.md section 10."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.contracts import HealthReport, Host, Transaction
from workbench.domain.erasure import ErasureFinding, ErasureRequest, Stage
from workbench.domain.evidence import AuditFinding
from workbench.domain.subject import SubjectRecord, SubjectRequest
from workbench.errors import Denied, NotFound, VerificationError
from workbench_rights import cases, complaints
from workbench_rights.cases import Reader
from workbench_rights.model import CATEGORIES, COMPLAINT_WORDS, KIND_WORDS, STATE_WORDS
from workbench_rights.schema import OWNER


def records(host: Host, request: SubjectRequest) -> list[SubjectRecord]:
    """Requests and restrictions of the customer; complaints beside them."""
    names = request.customer.names
    if not names:
        return []
    with host.store.read() as reader:
        places = cases.places_of(reader, names)
        found = [_TOLD[one.partition("/")[0]](reader, host, one) for one in places]
        marks = ",".join("?" * len(names))
        restrictions = reader.execute(
            f"SELECT request, min(from_ms), max(until_ms), count(*) - count(until_ms) FROM rights_restriction WHERE name IN ({marks})"
            " GROUP BY request ORDER BY request",
            tuple(names),
        ).fetchall()
    for name, from_ms, until_ms, lasting in restrictions:
        values = {"request": name, "lasts": "yes" if lasting else "no", "until_ms": "" if lasting else str(until_ms)}
        found.append(
            SubjectRecord("rights", "rights.restriction", name, "限制处理", "a restriction of processing", int(from_ms), values)
        )
    return found


def _request(reader: Reader, host: Host, place: str) -> SubjectRecord:
    row = cases.request(reader, place.partition("/")[2])
    content = cases.sealed(reader, host, place)
    zh, en, _ = KIND_WORDS[row.kind]
    values = {
        "kind": row.kind.value, "state": row.state.value, "channel": row.channel, "applicant": row.applicant, "due": row.due_day,
        "method": row.method, "decision": row.decision, **_flat(content.texts),
    }  # fmt: skip
    return SubjectRecord(
        "rights", "rights.request", row.request, f"权利请求：{zh}，{STATE_WORDS[row.state][0]}",
        f"rights request: {en}, {STATE_WORDS[row.state][1]}", row.received_ms, values, provided=True,
    )  # fmt: skip


def _complaint(reader: Reader, host: Host, place: str) -> SubjectRecord:
    row = complaints.complaint(reader, place.partition("/")[2])
    zh, en = CATEGORIES[row.category]
    values = {
        "state": row.state.value, "channel": row.channel, "category": row.category, "due": row.due_day, "outcome": row.outcome,
        **_flat(cases.sealed(reader, host, place).texts),
    }  # fmt: skip
    words = COMPLAINT_WORDS[row.state]
    return SubjectRecord(
        "rights", "complaints.complaint", row.complaint, f"投诉：{zh}，{words[0]}", f"complaint: {en}, {words[1]}",
        row.received_ms, values, provided=True,
    )  # fmt: skip


def _group(reader: Reader, host: Host, place: str) -> SubjectRecord:
    row = reader.execute(
        "SELECT grp, lead, category, job, state, created_ms FROM rights_group WHERE grp = ?", (place.partition("/")[2],)
    ).fetchone()
    values = {"lead": row[1], "category": row[2], "job": row[3], "state": row[4], **_flat(cases.sealed(reader, host, place).texts)}
    return SubjectRecord(
        "rights", "complaints.group", row[0], "参与其他机构牵头的投诉专项小组", "a task group on a complaint, led by another institution",
        int(row[5]), values,
    )  # fmt: skip


def _flat(texts: Mapping[str, Any]) -> dict[str, str]:
    """Texts of a case as values, one a name; the salts of attachments are no information about the customer."""
    found = {}
    for name, value in texts.items():
        if name == "files":
            value = {file: {key: one for key, one in kept.items() if key != "salt"} for file, kept in value.items()}
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if text not in ("", "{}", "[]"):
            found[name] = text
    return found


_TOLD: Mapping[str, Callable[[Reader, Host, str], SubjectRecord]] = {
    "rights": _request, "complaint": _complaint, "group": _group,
}  # fmt: skip


def erase(host: Host, request: ErasureRequest) -> list[ErasureFinding]:
    """Set the contents of the customer's cases aside for their term; ids, states and days stay."""
    if request.stage is Stage.ERASE:
        return []
    names = request.customer.names

    def change(tx: Transaction) -> ErasureFinding:
        found = erased = restricted = until_ms = 0
        for place in cases.places_of(tx, names):
            if not cases.is_sealed(tx, host, place):
                continue
            found += 1
            taken = host.restricted.take_records(
                tx, {place: host.vault.get(tx, place)}, owner=OWNER, kind=KIND_OF_PLACE[place.partition("/")[0]],
                from_ms=host.now_ms(), request=request.request, documents=[one[0] for one in complaints.files(tx, place)],
            )  # fmt: skip
            erased, restricted = erased + taken.erased_items, restricted + taken.restricted_items
            until_ms = max(until_ms, taken.until_ms)
            host.vault.shred(tx, place)
            tx.execute("DELETE FROM rights_subject WHERE ref = ?", (place,))
        marks = ",".join("?" * len(names))
        tx.execute(f"DELETE FROM rights_restriction WHERE name IN ({marks})", tuple(names))
        return ErasureFinding(
            OWNER, "requests and complaints", found, erased, restricted, until_ms,
            "权利请求与投诉的内容移入限制存放，到期销毁；编号、状态与日期保留",
            "contents of requests and complaints are set aside until their term ends; ids, states and days stay",
        )  # fmt: skip

    return [host.store.write(change, timeout_s=300)]


KIND_OF_PLACE = {"rights": "rights.request", "complaint": "complaints.complaint", "group": "complaints.group"}


def restricted_customers(host: Host) -> Sequence[str]:
    with host.store.read() as reader:
        return cases.restricted(reader)


def health(host: Host) -> list[HealthReport]:
    """How many rights requests, complaints and tasks are late; compliance acts."""
    now = host.now_ms()
    with host.store.read() as reader:
        untold = sum(one.is_overdue(now) for one in complaints.everything(reader))
        undone = sum(one.is_open and one.due_ms <= now and one.party == host.party for one in complaints.tasks(reader))
        late = reader.execute(
            "SELECT count(*) FROM rights_request WHERE due_ms <= ? AND state NOT IN ('ANSWERED', 'CLOSED')", (now,)
        ).fetchone()[0]
    lines = []
    for name, count, zh, en, fine_zh, fine_en in (
        ("rights", late, "项权利请求已过答复期限", "rights requests are past the day of their answer", "权利请求都在期限内", "every rights request is within its time"),
        ("complaints", untold, "件投诉已过告知进展的期限", "complaints are past the day by which progress is told", "投诉都按期告知了进展", "every complaint is within its time"),
        ("tasks", undone, "项投诉任务或整改逾期", "tasks of complaints are overdue", "投诉任务都在期限内", "every task of a complaint is within its time"),
    ):  # fmt: skip
        told = (f"{count} {zh}", f"{count} {en}") if count else (fine_zh, fine_en)
        lines.append(HealthReport(name, "warning" if count else "ok", *told, "compliance"))
    return lines


def findings(host: Host) -> list[AuditFinding]:
    """Every attachment that does not hold: its bytes, and the salted digest its entry in the log states. Cost: reads all."""
    found = []
    with host.store.read() as reader:
        for file, place, _, digest, _, entry in complaints.files(reader):
            problem = _problem(reader, host, file, place, digest)
            if problem:
                found.append(
                    AuditFinding(
                        host.party, entry, f"digest ({file})", problem,
                        "投诉附件与日志中的摘要不符，或不见了：合规人员用原件核对，并查谁动过文件或数据库",
                        "an attachment of a complaint does not fit its digest in the log, or is gone: compliance compares the"
                        " original and finds out who touched it",
                    )
                )  # fmt: skip
    return found


def _problem(reader: Reader, host: Host, file: str, place: str, digest: str) -> str:
    if not cases.is_sealed(reader, host, place):
        return ""  # erased with its customer: it waits in restricted storage
    kept = cases.sealed(reader, host, place).texts.get("files", {}).get(file)
    if kept is None:
        return "FILE_SWAPPED"
    try:
        address = host.blobs.address(reader, host.blobs.named(reader, OWNER, file))
    except Denied:
        return ""
    except NotFound:
        return "FILE_MISSING"
    except VerificationError:
        return "FILE_CHANGED"
    return "" if complaints.file_digest(bytes.fromhex(kept["salt"]), address) == digest else "FILE_SWAPPED"
