"""What two people of an institution decide besides notices: processor contracts, and the run-off. docs/consent.md section 16.

One table, one life: PROPOSED by one person, IN_FORCE by another, ENDED or REJECTED. To end something allows again what it barred, so
that is a decision of two people as well, of the kind with END behind it. The content is canonical JSON under a digest; it never changes. What it means is said by those who read it: `processors.py` and `exiting.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.contracts import Host, Transaction
from workbench.crypto import canonical, sm3
from workbench.domain.evidence import EvidenceKind, Field, Visibility
from workbench.errors import Denied, NotFound, Refused, VerificationError

Reader = sqlite3.Connection | Transaction

LABEL = b"workbench/v1/consent-change\n"
PROPOSED, IN_FORCE, REJECTED, ENDED = "PROPOSED", "IN_FORCE", "REJECTED", "ENDED"
END = "-end"
"""Behind a kind: the decision to end one of it; its content names the number and the reason."""

_KIND = Field("kind", Visibility.SHARED, "事项：processor 受托处理合同，succession 承继，exit 退出，加 -end 为终止", "what it is: processor contract, succession, exit; with -end, ending one")
_DIGEST = Field("digest", Visibility.SHARED, "内容摘要 SM3", "SM3 of the content")
_NAME = Field("name", Visibility.COMMITTED, "对象", "whom or what it is about")
_REASON = Field("reason", Visibility.COMMITTED, "理由", "reason")

EVIDENCE_KINDS = (
    EvidenceKind("consent.change_proposed", (_KIND, _DIGEST, _NAME), "提出一项须两人决定的事项", "something that two people decide was proposed"),
    EvidenceKind("consent.change_approved", (_KIND, _DIGEST, _NAME), "第二人批准，即时生效", "a second person approved it; in force at once"),
    EvidenceKind("consent.change_rejected", (_KIND, _DIGEST, _NAME, _REASON), "退回", "it was sent back"),
    EvidenceKind("consent.change_ended", (_KIND, _DIGEST, _NAME, _REASON), "终止", "it was ended"),
)


@dataclass(frozen=True, slots=True)
class Change:
    """One decision. decided_by, decided_ms, ended_ms: "" and 0 before."""

    number: int
    kind: str
    name: str
    body: Mapping[str, Any]
    digest: str
    state: str
    proposed_by: str
    proposed_ms: int
    decided_by: str
    decided_ms: int
    ended_ms: int


def all_changes(reader: Reader, kind: str, *, state: str = "") -> list[Change]:
    """Decisions of a kind, oldest first. Raises VerificationError CHANGE_ALTERED."""
    rows = reader.execute(
        "SELECT number, kind, name, body, digest, state, proposed_by, proposed_ms, decided_by, decided_ms, ended_ms"
        " FROM consent_change WHERE kind = ? ORDER BY number",
        (kind,),
    ).fetchall()
    return [_change(row) for row in rows if state in ("", row[5])]


def numbered(reader: Reader, kind: str, number: int) -> Change:
    """The decision of this number; NotFound NO_CHANGE."""
    found = [one for one in all_changes(reader, kind) if one.number == number]
    if not found:
        raise NotFound("没有这一事项", "there is no such decision", code="NO_CHANGE", details={"number": str(number)})
    return found[0]


def propose(tx: Transaction, host: Host, *, kind: str, name: str, body: Mapping[str, Any], actor: str) -> Change:
    """Write down what another person is to approve."""
    if any(one.name == name for one in all_changes(tx, kind, state=PROPOSED)):
        raise Refused("这一事项已在待批准", "this waits for approval already", code="CHANGE_WAITS", details={"name": name})
    data = canonical.format(dict(body))
    digest = sm3.digest(LABEL + _name(kind) + _name(name) + data)
    host.evidence.append(tx, "consent.change_proposed", {"kind": kind, "digest": digest.hex(), "name": name}, actor=actor)
    tx.execute(
        "INSERT INTO consent_change (kind, name, body, digest, state, proposed_by, proposed_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (kind, name, data, digest, PROPOSED, actor, host.now_ms()),
    )
    return all_changes(tx, kind)[-1]


def approve(tx: Transaction, host: Host, *, kind: str, number: int, expected: str, actor: str) -> Change:
    """Put in force what another person proposed; expected: the digest that was shown."""
    one = numbered(tx, kind, number)
    if one.state != PROPOSED:
        raise _not_now(one)
    if one.proposed_by == actor:
        raise Denied("这是你自己提出的，须由另一位批准", "You proposed this; another person must approve it", code="SELF_APPROVAL")
    if one.digest != expected:
        raise _altered()
    host.evidence.append(tx, "consent.change_approved", {"kind": kind, "digest": one.digest, "name": one.name}, actor=actor)
    _decide(tx, one, IN_FORCE, actor, host.now_ms())
    return numbered(tx, kind, number)


def reject(tx: Transaction, host: Host, *, kind: str, number: int, reason: str, actor: str) -> Change:
    """Send a proposal back."""
    one = numbered(tx, kind, number)
    if one.state != PROPOSED:
        raise _not_now(one)
    values = {"kind": kind, "digest": one.digest, "name": one.name, "reason": reason}
    host.evidence.append(tx, "consent.change_rejected", values, actor=actor)
    _decide(tx, one, REJECTED, actor, host.now_ms())
    return numbered(tx, kind, number)


def propose_end(tx: Transaction, host: Host, *, kind: str, number: int, reason: str, actor: str) -> Change:
    """Write down that what is in force is to end; another person approves. It stays in force until then."""
    one = numbered(tx, kind, number)
    if one.state != IN_FORCE:
        raise _not_now(one)
    return propose(tx, host, kind=kind + END, name=one.name, body={"number": number, "reason": reason}, actor=actor)


def approve_end(tx: Transaction, host: Host, *, kind: str, number: int, expected: str, actor: str) -> Change:
    """End what is in force, as another person proposed; number, expected: of that proposal. Returns what has ended."""
    asked = approve(tx, host, kind=kind + END, number=number, expected=expected, actor=actor)
    one = numbered(tx, kind, int(asked.body["number"]))
    if one.state != IN_FORCE:
        raise _not_now(one)
    values = {"kind": kind, "digest": one.digest, "name": one.name, "reason": str(asked.body["reason"])}
    host.evidence.append(tx, "consent.change_ended", values, actor=actor)
    tx.execute("UPDATE consent_change SET state = ?, ended_ms = ? WHERE number = ?", (ENDED, host.now_ms(), one.number))
    return numbered(tx, kind, one.number)


def _change(row: Any) -> Change:
    number, kind, name, body, digest, state, proposed_by, proposed_ms, decided_by, decided_ms, ended_ms = row
    if not isinstance(body, bytes) or sm3.digest(LABEL + _name(kind) + _name(name) + body) != digest:
        raise _altered()
    return Change(
        number, kind, name, canonical.parse_object(body), bytes(digest).hex(), state, proposed_by, proposed_ms, decided_by, decided_ms, ended_ms
    )


def _decide(tx: Transaction, one: Change, state: str, actor: str, now_ms: int) -> None:
    tx.execute(
        "UPDATE consent_change SET state = ?, decided_by = ?, decided_ms = ? WHERE number = ?", (state, actor, now_ms, one.number)
    )


def _name(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def _altered() -> VerificationError:
    return VerificationError(
        "两人决定的内容与其摘要不符：合规岗核查数据库",
        "what two people decided does not match its digest: compliance must look into the database",
        code="CHANGE_ALTERED",
    )


def _not_now(one: Change) -> Refused:
    return Refused("这一事项现在不能这样处理", "this is not possible with it now", code="NOT_NOW", details={"state": one.state, "name": one.name})
