"""A grant that begins before today: a reason and a second person. docs/protocols/capture.md section 6."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from workbench.contracts import Host, Transaction
from workbench.errors import Denied, NotFound, Refused
from workbench_consent.capture.people import DAY_MS, Reader

SHANGHAI = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True, slots=True)
class Proposal:
    """An allowance to begin grants in the past. approved_ms, used_ms: 0 before."""

    proposal: str
    earliest_ms: int
    most: int
    reason: str
    proposed_by: str
    proposed_ms: int
    approved_by: str
    approved_ms: int
    used_ms: int


def start_of_today(host: Host) -> int:
    """The first instant of the current day in Asia/Shanghai, ms."""
    return round(datetime.combine(host.today(), time(), SHANGHAI).astimezone(UTC).timestamp() * 1000)


def propose(tx: Transaction, host: Host, *, earliest_ms: int, most: int, reason: str, actor: str) -> str:
    """The number of a new proposal, which waits for a second person."""
    proposal = "B-" + host.random(8).hex()
    tx.execute(
        "INSERT INTO consent_capture_backdating (proposal, earliest_ms, most, reason, proposed_by, proposed_ms)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (proposal, earliest_ms, most, reason, actor, host.now_ms()),
    )
    day = datetime.fromtimestamp(earliest_ms / 1000, SHANGHAI).date().isoformat()
    values = {"proposal": proposal, "earliest": day, "most": str(most), "reason": reason}
    host.evidence.append(tx, "consent.backdating_proposed", values, actor=actor)
    return proposal


def approve(tx: Transaction, host: Host, proposal: str, *, actor: str) -> Proposal:
    """Refused SELF_APPROVAL for the proposer, BACKDATING_DECIDED when it was decided before."""
    found = read(tx, proposal)
    if found.proposed_by == actor:
        raise Denied(
            "提议人不能批准自己的倒签：请另一位合规人员批准", "nobody approves their own proposal: another person of compliance does",
            code="SELF_APPROVAL", details={"proposal": proposal},
        )  # fmt: skip
    if found.approved_ms:
        raise Refused(
            "这项倒签已经批准过", "this proposal was approved before", code="BACKDATING_DECIDED", details={"proposal": proposal}
        )
    tx.execute(
        "UPDATE consent_capture_backdating SET approved_by = ?, approved_ms = ? WHERE proposal = ?",
        (actor, host.now_ms(), proposal),
    )
    values = {"proposal": proposal, "proposed_by": found.proposed_by}
    host.evidence.append(tx, "consent.backdating_approved", values, actor=actor)
    return read(tx, proposal)


def require(reader: Reader, host: Host, proposal: str, *, first_ms: int, grants: int, actor: str) -> None:
    """Return when grants from `first_ms` on may be captured by this person: none is backdated, or the approval covers them.

    grants: how many begin before today. Raises Refused BACKDATED or NotFound.
    """
    if first_ms >= start_of_today(host):
        return
    if not proposal:
        raise _backdated("生效日早于今天：先写明理由提议倒签，由另一人批准", "it begins before today: propose backdating with a reason, another person approves")
    found = read(reader, proposal)
    if not found.approved_ms:
        raise _backdated("倒签提议还没有第二人批准", "the proposal has not been approved by a second person")
    if found.used_ms or host.now_ms() > found.approved_ms + DAY_MS or found.proposed_by != actor:
        raise _backdated("这项倒签批准已用过、已过 24 小时，或属于别人", "the approval is spent, older than 24 hours, or somebody else's")
    if first_ms < found.earliest_ms or grants > found.most:
        raise _backdated("超出批准的最早日期或条数", "it goes beyond the earliest day or the number of grants approved")


def spend(tx: Transaction, host: Host, proposal: str, *, first_ms: int, grants: int, actor: str) -> None:
    """`require` anew inside the change, and mark the approval as used where one was needed."""
    require(tx, host, proposal, first_ms=first_ms, grants=grants, actor=actor)
    if first_ms < start_of_today(host):
        tx.execute("UPDATE consent_capture_backdating SET used_ms = ? WHERE proposal = ?", (host.now_ms(), proposal))


def read(reader: Reader, proposal: str) -> Proposal:
    """Raises NotFound NO_BACKDATING."""
    row = reader.execute(
        "SELECT proposal, earliest_ms, most, reason, proposed_by, proposed_ms, approved_by, approved_ms, used_ms"
        " FROM consent_capture_backdating WHERE proposal = ?",
        (proposal,),
    ).fetchone()
    if row is None:
        raise NotFound("没有这项倒签提议", "there is no such backdating proposal", code="NO_BACKDATING")
    return Proposal(row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7] or 0, row[8] or 0)


def waiting(reader: Reader) -> list[Proposal]:
    """Proposals nobody has decided, newest first."""
    rows = reader.execute(
        "SELECT proposal FROM consent_capture_backdating WHERE approved_ms IS NULL ORDER BY proposed_ms DESC LIMIT 100"
    ).fetchall()
    return [read(reader, str(row[0])) for row in rows]


def _backdated(zh: str, en: str) -> Refused:
    return Refused(zh, en, code="BACKDATED")
