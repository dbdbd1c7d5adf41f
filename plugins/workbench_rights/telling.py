"""What this desk keeps about one customer: told on request, set aside or erased with the customer. docs/rights.md section 10."""

from __future__ import annotations

import json
from collections.abc import Sequence

from workbench.contracts import HealthReport, Host, Transaction
from workbench.domain.erasure import ErasureFinding, ErasureRequest, Stage
from workbench.domain.subject import SubjectRecord, SubjectRequest
from workbench_rights import cases
from workbench_rights.cases import Reader
from workbench_rights.model import KIND_WORDS, STATE_WORDS
from workbench_rights.schema import OWNER


def records(host: Host, request: SubjectRequest) -> list[SubjectRecord]:
    """Requests and restrictions of the customer; complaints beside them."""
    names = request.customer.names
    if not names:
        return []
    with host.store.read() as reader:
        places = cases.places_of(reader, names)
        found = [_request(reader, host, one) for one in places if one.startswith("rights/")]
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
    texts = {name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for name, value in content.texts.items()}
    values = {
        "kind": row.kind.value, "state": row.state.value, "channel": row.channel, "applicant": row.applicant, "due": row.due_day,
        "method": row.method, "decision": row.decision, **{name: text for name, text in texts.items() if text not in ("", "{}")},
    }  # fmt: skip
    return SubjectRecord(
        "rights", "rights.request", row.request, f"权利请求：{zh}，{STATE_WORDS[row.state][0]}",
        f"rights request: {en}, {STATE_WORDS[row.state][1]}", row.received_ms, values, provided=True,
    )  # fmt: skip


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
                from_ms=host.now_ms(), request=request.request,
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


KIND_OF_PLACE = {"rights": "rights.request", "complaint": "complaints.complaint"}


def restricted_customers(host: Host) -> Sequence[str]:
    with host.store.read() as reader:
        return cases.restricted(reader)


def health(host: Host) -> list[HealthReport]:
    """How many rights requests are late; compliance acts."""
    now = host.now_ms()
    with host.store.read() as reader:
        late = reader.execute(
            "SELECT count(*) FROM rights_request WHERE due_ms <= ? AND state NOT IN ('ANSWERED', 'CLOSED')", (now,)
        ).fetchone()[0]
    if late:
        zh, en = f"{late} 项权利请求已过答复期限", f"{late} rights requests are past the day of their answer"
        return [HealthReport("rights", "warning", zh, en, "compliance")]
    return [HealthReport("rights", "ok", "权利请求都在期限内", "every rights request is within its time", "compliance")]
