"""Policies of the lines and what two people decide together. Document: docs/quantum-channel.md section 2.

A stricter policy is one person's act. A weaker one, and making keys again after an alarm, is asked for by one and confirmed
by another; both are entries, and the change happens in the transaction of its entry.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from workbench.contracts import OperationContext, Transaction
from workbench.errors import Denied, NotFound, Refused
from workbench_qkd.model import HOUR_MS, Held, LinePolicy, Proposal, is_weaker, same_policy, stricter

Reader = sqlite3.Connection | Transaction
"""`host` of the functions below is the node, the one of contracts.Host or of an operation's context."""
_POLICY = "line, policy, since_ms, first, second, reason"
_PROPOSAL = "proposal, line, act, target, before, reason, asked_ms, asked_by, until_ms, state, decided_ms, decided_by"


def decided(reader: Reader, line: str) -> LinePolicy | None:
    """What people of this site decided about a line, None while nobody did."""
    row = reader.execute(f"SELECT {_POLICY} FROM qkd_policy WHERE line = ?", (line,)).fetchone()
    return LinePolicy(*row) if row else None


def in_force(reader: Reader, line: str, told: str) -> str:
    """What a line demands now. told: what its key-management entity says; where the two disagree the stricter one counts."""
    made = decided(reader, line)
    return stricter(made.policy, told) if made else told


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


def set_policy(tx: Transaction, host: Any, line: str, policy: str, *, first: str, second: str = "", reason: str = "") -> None:
    """Write down what a line demands from now on."""
    tx.execute(
        f"INSERT INTO qkd_policy ({_POLICY}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (line) DO UPDATE SET policy = excluded.policy,"
        " since_ms = excluded.since_ms, first = excluded.first, second = excluded.second, reason = excluded.reason",
        (line, policy, host.now_ms(), first, second, reason),
    )


def ask_policy(ctx: OperationContext, *, line: str, policy: str, told: str, reason: str) -> Proposal | None:
    """Stricter than now: decided at once, None. Weaker: a proposal for another person. Refused SAME_POLICY, PROPOSED_ALREADY.

    told: the policy that the line's key-management entity keeps now.
    """
    host, person = ctx.host, ctx.caller.person.token

    def change(tx: Transaction) -> Proposal | None:
        before = in_force(tx, line, told)
        if policy == before:
            raise same_policy(line, policy)
        values = {"line": line, "policy": policy, "before": before, "reason": reason}
        if not is_weaker(policy, before):
            set_policy(tx, host, line, policy, first=person, reason=reason)
            host.evidence.append(tx, "qkd.policy_tightened", values, actor=person)
            return None
        made = _ask(tx, host, line=line, act="policy", target=policy, before=before, reason=reason, by=person)
        values |= {"proposal": made.proposal, "until": str(made.until_ms)}
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
        made = _ask(tx, host, line=line, act="resume", target="", before="", reason=reason, by=person)
        values = {"proposal": made.proposal, "line": line, "reason": reason, "until": str(made.until_ms)}
        host.evidence.append(tx, "qkd.resume_proposed", values, actor=person)
        return made

    return host.store.write(change)


def confirm(ctx: OperationContext, name: str, *, told: Callable[[str], str], sound: Callable[[str], Any]) -> Proposal:
    """The second person says yes. told(line): the policy its key-management entity keeps; sound(line): raises while it must stay stopped.

    Raises Denied SELF_APPROVAL for the person who asked; Refused PROPOSAL_OVER, or POLICY_MOVED when the line's policy is
    another one than when it was asked.
    """
    host, person = ctx.host, ctx.caller.person.token
    with host.store.read() as reader:
        asked = _open(reader, host, name, person)
    kept = told(asked.line)
    if asked.act == "resume":
        sound(asked.line)

    def change(tx: Transaction) -> Proposal:
        one = _open(tx, host, name, person)
        values = {"proposal": name, "line": one.line, "first": one.asked_by, "second": person, "reason": one.reason}
        if one.act == "policy":
            if in_force(tx, one.line, kept) != one.before:
                raise Refused(
                    f"线路 {one.line} 的策略已经变过，请重新提出", f"The policy of line {one.line} has changed since; ask again", code="POLICY_MOVED"
                )
            set_policy(tx, host, one.line, one.target, first=one.asked_by, second=person, reason=one.reason)
            host.evidence.append(tx, "qkd.downgraded", values | {"policy": one.target, "before": one.before}, actor=person)
        else:
            tx.execute("DELETE FROM qkd_held WHERE line = ?", (one.line,))
            host.evidence.append(tx, "qkd.resumed", values, actor=person)
        return _decide(tx, host, name, "CONFIRMED", person)

    return host.store.write(change)


def decline(ctx: OperationContext, name: str, *, reason: str) -> Proposal:
    """Say no, or take one's own proposal back."""
    host, person = ctx.host, ctx.caller.person.token

    def change(tx: Transaction) -> Proposal:
        one = proposal(tx, name)
        if one.state_at(host.now_ms()) != "OPEN":
            raise _over()
        host.evidence.append(tx, "qkd.proposal_declined", {"proposal": name, "line": one.line, "reason": reason}, actor=person)
        return _decide(tx, host, name, "DECLINED", person)

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


def _ask(tx: Transaction, host: Any, *, line: str, act: str, target: str, before: str, reason: str, by: str) -> Proposal:
    now = host.now_ms()
    waiting = [one for one in proposals(tx, line=line) if one.act == act and one.state_at(now) == "OPEN"]
    if waiting:
        raise Refused(
            f"线路 {line} 已有同类提议 {waiting[0].proposal} 等待第二人", f"Proposal {waiting[0].proposal} for line {line} waits for a second person already",
            code="PROPOSED_ALREADY",
        )  # fmt: skip
    name = f"Q-{host.random(6).hex()}"
    until = now + int(host.setting("qkd.proposal_hours")) * HOUR_MS
    tx.execute(
        f"INSERT INTO qkd_proposal ({_PROPOSAL}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'OPEN', 0, '')",
        (name, line, act, target, before, reason, now, by, until),
    )
    return proposal(tx, name)


def _decide(tx: Transaction, host: Any, name: str, state: str, person: str) -> Proposal:
    tx.execute("UPDATE qkd_proposal SET state = ?, decided_ms = ?, decided_by = ? WHERE proposal = ?", (state, host.now_ms(), person, name))
    return proposal(tx, name)


__all__ = ["ask_policy", "ask_resume", "confirm", "decided", "decline", "held", "hold", "in_force", "proposal", "proposals", "set_policy"]
