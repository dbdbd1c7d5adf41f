"""Policies of the lines and what two people decide together. Document: docs/quantum-channel.md section 2.

A stricter policy is one person's act. A weaker one, and making keys again after an alarm, is asked for by one and confirmed
by another; both are signed (docs/protocols/qkd-channel.md section 9) and entries, and the change happens in the transaction
of its entry.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from workbench.contracts import OperationContext, Transaction
from workbench.crypto import sm2
from workbench.domain.party import PartyId
from workbench.errors import Denied, NotFound, Refused, VerificationError
from workbench_qkd import deciding
from workbench_qkd.deciding import LineDecision, LineRequest
from workbench_qkd.model import HOUR_MS, POLICIES, Held, LinePolicy, Proposal, is_weaker, same_policy, stricter

Reader = sqlite3.Connection | Transaction
"""`host` of the functions below is the node, the one of contracts.Host or of an operation's context."""
_POLICY = "line, policy, since_ms, first, second, reason"
_PROPOSAL = "proposal, line, act, target, before, reason, asked_ms, asked_by, until_ms, state, decided_ms, decided_by"


def decided(reader: Reader, host: Any, line: str) -> LinePolicy | None:
    """What people of this site decided about a line, None while nobody did.

    A row that no signed decision carries does not count: the strictest policy stands in its place, marked as not sound.
    """
    row = reader.execute(f"SELECT {_POLICY} FROM qkd_policy WHERE line = ?", (line,)).fetchone()
    body = reader.execute("SELECT body FROM qkd_decision WHERE line = ? AND act = 'policy' ORDER BY number DESC LIMIT 1", (line,)).fetchone()
    if row is None and body is None:
        return None
    try:
        if row is not None and body is not None:
            made = _read(bytes(body[0]), host.party, host.keys.contract.public)
            asked = made.request
            if (line, *row[1:5]) == (asked.line, asked.target, made.decided_ms, asked.first, made.second):
                return LinePolicy(*row)
    except VerificationError:
        pass
    return LinePolicy(line, POLICIES[0], row[2] if row is not None else 0, is_sound=False)


@lru_cache(maxsize=256)
def _read(body: bytes, party: PartyId, key: sm2.PublicKey) -> LineDecision:
    """A decision is looked at before every frame; its signatures are verified once."""
    return deciding.read_decision(body, party=party, key=key)


def in_force(reader: Reader, host: Any, line: str, told: str) -> str:
    """What a line demands now. told: what its key-management entity says; where the two disagree the stricter one counts."""
    made = decided(reader, host, line)
    return stricter(made.policy, told) if made else told


def decisions(reader: Reader) -> list[bytes]:
    """Every decision of this institution as it was written, oldest first."""
    return [bytes(row[0]) for row in reader.execute("SELECT body FROM qkd_decision ORDER BY number")]


def proposals(reader: Reader, *, line: str = "", limit: int = 50) -> list[Proposal]:
    """Newest first, of one line or of all."""
    where, values = ("WHERE line = ?", [line]) if line else ("", [])
    rows = reader.execute(f"SELECT {_PROPOSAL} FROM qkd_proposal {where} ORDER BY asked_ms DESC, proposal LIMIT ?", (*values, limit))
    return [Proposal(*row) for row in rows]


def proposal(reader: Reader, name: str) -> Proposal:
    """One proposal; NotFound NO_PROPOSAL."""
    row = reader.execute(f"SELECT {_PROPOSAL} FROM qkd_proposal WHERE proposal = ?", (name,)).fetchone()
    if row is None:
        raise NotFound("没有这份提议", "There is no such proposal", code="NO_PROPOSAL")
    return Proposal(*row)


def put_in_force(tx: Transaction, made: LineDecision, body: bytes, *, reason: str = "") -> None:
    """Keep a signed decision and do what it says. body: as it is written."""
    asked = made.request
    tx.execute("INSERT INTO qkd_decision (number, line, act, body) VALUES (?, ?, ?, ?)", (made.number, asked.line, asked.act, body))
    if asked.act == "resume":
        tx.execute("DELETE FROM qkd_held WHERE line = ?", (asked.line,))
        return
    tx.execute(
        f"INSERT INTO qkd_policy ({_POLICY}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (line) DO UPDATE SET policy = excluded.policy,"
        " since_ms = excluded.since_ms, first = excluded.first, second = excluded.second, reason = excluded.reason",
        (asked.line, asked.target, made.decided_ms, asked.first, made.second, reason),
    )


def _decide(tx: Transaction, host: Any, asked: bytes, *, second: str, reason: str) -> bytes:
    """Sign what was asked for as the next decision, put it in force; the decision as it is written, for the entry."""
    last = tx.execute("SELECT number, body FROM qkd_decision ORDER BY number DESC LIMIT 1").fetchone()
    number, previous = (last[0] + 1, deciding.digest(bytes(last[1]))) if last else (1, "")
    request, _ = deciding.read_request(asked, party=host.party, key=host.keys.contract.public)
    now = max(host.now_ms(), request.asked_ms)  # a clock that was put back does not undo the order of the two acts
    if second:
        now = min(now, request.until_ms)  # it was open when it was looked at, a moment ago
    made, body = deciding.decide(
        asked, second=second, decided_ms=now, number=number, previous=previous, party=host.party, key=host.keys.contract
    )
    put_in_force(tx, made, body, reason=reason)
    return body


def _signed(host: Any, line: str, act: str, target: str, before: str, *, by: str, hours: int) -> tuple[LineRequest, bytes]:
    """What a person asks for now, and its bytes with the institution's signature."""
    now = host.now_ms()
    request = LineRequest(line, act, target, before, by, now, now + hours * HOUR_MS, host.random(16).hex())
    return request, deciding.sign_request(request, party=host.party, key=host.keys.contract)


def ask_policy(ctx: OperationContext, *, line: str, policy: str, told: str, reason: str) -> Proposal | None:
    """Stricter than now: decided at once, None. Weaker: a proposal for another person. Refused SAME_POLICY, PROPOSED_ALREADY.

    told: the policy that the line's key-management entity keeps now.
    """
    host, person = ctx.host, ctx.caller.person.token

    def change(tx: Transaction) -> Proposal | None:
        before = in_force(tx, host, line, told)
        if policy == before:
            raise same_policy(line, policy)
        values = {"line": line, "policy": policy, "before": before, "reason": reason}
        if not is_weaker(policy, before):
            _, asked = _signed(host, line, "policy", policy, before, by=person, hours=0)
            body = _decide(tx, host, asked, second="", reason=reason)
            host.evidence.append(tx, "qkd.policy_tightened", values | {"decision": body.decode()}, actor=person)
            return None
        made, asked = _ask(tx, host, line=line, act="policy", target=policy, before=before, reason=reason, by=person)
        values |= {"proposal": made.proposal, "until": str(made.until_ms), "request": asked.decode()}
        host.evidence.append(tx, "qkd.downgrade_proposed", values, actor=person)
        return made

    return host.store.write(change)


def held(reader: Reader) -> dict[str, Held]:
    """Lines that an alarm stopped and two people have not resumed, by id."""
    return {row[0]: Held(*row) for row in reader.execute("SELECT line, since_ms, cause, block FROM qkd_held ORDER BY line")}


def hold(tx: Transaction, line: str, *, at_ms: int, cause: str, block: int) -> None:
    """From now on no session starts on this line; the first alarm stays named."""
    tx.execute("INSERT INTO qkd_held (line, since_ms, cause, block) VALUES (?, ?, ?, ?) ON CONFLICT (line) DO NOTHING", (line, at_ms, cause, block))


def ask_resume(ctx: OperationContext, *, line: str, reason: str) -> Proposal:
    """Ask that sessions start again on a line that an alarm stopped; another person confirms. Refused NOT_HELD."""
    host, person = ctx.host, ctx.caller.person.token

    def change(tx: Transaction) -> Proposal:
        if line not in held(tx):
            raise Refused(f"线路 {line} 没有停用", f"Line {line} is not stopped", code="NOT_HELD")
        made, asked = _ask(tx, host, line=line, act="resume", target="", before="", reason=reason, by=person)
        values = {"proposal": made.proposal, "line": line, "reason": reason, "until": str(made.until_ms), "request": asked.decode()}
        host.evidence.append(tx, "qkd.resume_proposed", values, actor=person)
        return made

    return host.store.write(change)


def confirm(ctx: OperationContext, name: str, *, told: Callable[[str], str], sound: Callable[[str], Any]) -> Proposal:
    """The second person says yes. told(line): the policy its key-management entity keeps; sound(line): raises while it must stay stopped.

    Raises Denied SELF_APPROVAL for the person who asked; Refused PROPOSAL_OVER, or POLICY_MOVED when the line's policy is
    another one than when it was asked; VerificationError LINE_DECISION when the proposal is not what was signed.
    """
    host, person = ctx.host, ctx.caller.person.token
    with host.store.read() as reader:
        asked = _open(reader, host, name, person)
    kept = told(asked.line)
    if asked.act == "resume":
        sound(asked.line)

    def change(tx: Transaction) -> Proposal:
        one = _open(tx, host, name, person)
        asked = _asked(tx, host, one)
        values = {"proposal": name, "line": one.line, "first": one.asked_by, "second": person, "reason": one.reason}
        if one.act == "policy" and in_force(tx, host, one.line, kept) != one.before:
            raise Refused(
                f"线路 {one.line} 的策略已经变过，请重新提出", f"The policy of line {one.line} has changed since; ask again", code="POLICY_MOVED"
            )
        values["decision"] = _decide(tx, host, asked, second=person, reason=one.reason).decode()
        if one.act == "policy":
            host.evidence.append(tx, "qkd.downgraded", values | {"policy": one.target, "before": one.before}, actor=person)
        else:
            host.evidence.append(tx, "qkd.resumed", values, actor=person)
        return _closed(tx, host, name, "CONFIRMED", person)

    return host.store.write(change)


def decline(ctx: OperationContext, name: str, *, reason: str) -> Proposal:
    """Say no, or take one's own proposal back."""
    host, person = ctx.host, ctx.caller.person.token

    def change(tx: Transaction) -> Proposal:
        one = proposal(tx, name)
        if one.state_at(host.now_ms()) != "OPEN":
            raise _over()
        host.evidence.append(tx, "qkd.proposal_declined", {"proposal": name, "line": one.line, "reason": reason}, actor=person)
        return _closed(tx, host, name, "DECLINED", person)

    return host.store.write(change)


def _open(reader: Reader, host: Any, name: str, person: str) -> Proposal:
    one = proposal(reader, name)
    if one.state_at(host.now_ms()) != "OPEN":
        raise _over()
    if one.asked_by == person:
        raise Denied("这是你自己提出的，须由另一位确认", "You proposed this; another person must confirm", code="SELF_APPROVAL")
    return one


def _over() -> Refused:
    return Refused("这份提议已有结果或已过期，需要时重新提出", "This proposal is decided or has expired; ask again if it is needed", code="PROPOSAL_OVER")


def _asked(reader: Reader, host: Any, one: Proposal) -> bytes:
    """What was signed when this was asked for, and the row says the same. VerificationError LINE_DECISION."""
    row = reader.execute("SELECT request FROM qkd_proposal WHERE proposal = ?", (one.proposal,)).fetchone()
    body = bytes(row[0])
    request, _ = deciding.read_request(body, party=host.party, key=host.keys.contract.public)
    said = (one.proposal, one.line, one.act, one.target, one.before, one.asked_by, one.asked_ms, one.until_ms)
    if said != (request.name, request.line, request.act, request.target, request.before, request.first, request.asked_ms, request.until_ms):
        raise deciding.altered(host.party)
    return body


def _ask(
    tx: Transaction, host: Any, *, line: str, act: str, target: str, before: str, reason: str, by: str
) -> tuple[Proposal, bytes]:
    now = host.now_ms()
    waiting = [one for one in proposals(tx, line=line) if one.act == act and one.state_at(now) == "OPEN"]
    if waiting:
        raise Refused(
            f"线路 {line} 已有同类提议 {waiting[0].proposal} 等待第二人", f"Proposal {waiting[0].proposal} for line {line} waits for a second person already",
            code="PROPOSED_ALREADY",
        )  # fmt: skip
    request, body = _signed(host, line, act, target, before, by=by, hours=int(host.setting("qkd.proposal_hours")))
    tx.execute(
        f"INSERT INTO qkd_proposal ({_PROPOSAL}, request) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'OPEN', 0, '', ?)",
        (request.name, line, act, target, before, reason, request.asked_ms, by, request.until_ms, body),
    )
    return proposal(tx, request.name), body


def _closed(tx: Transaction, host: Any, name: str, state: str, person: str) -> Proposal:
    tx.execute("UPDATE qkd_proposal SET state = ?, decided_ms = ?, decided_by = ? WHERE proposal = ?", (state, host.now_ms(), person, name))
    return proposal(tx, name)


__all__ = [
    "ask_policy", "ask_resume", "confirm", "decided", "decisions", "decline", "held", "hold", "in_force", "proposal", "proposals", "put_in_force",
]  # fmt: skip
