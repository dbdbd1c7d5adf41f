"""The duty roster and the risk register: rows, the acts that change them with their entries, and both as files. Requirement K12.

A freeze window (`inference.freeze_set`) says when nothing may be changed; the roster says who is there then. Free text has labels in
place of identifiers.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from workbench.contracts import Host, Transaction
from workbench.errors import InvalidRequest, NotFound, Refused
from workbench_inference.policy.tables import Reader

LEVELS: Final = ("low", "middle", "high")
STATES: Final = ("open", "watched", "closed")
DAY_MS: Final = 86_400_000
LONGEST_TURN_DAYS: Final = 7
KEPT_DAYS: Final = 7
"""A turn is listed so long after its end."""
_DUTY: Final = "duty, person, from_ms, until_ms, note, by"
_RISK: Final = "risk, title, level, owner, due, state, by, made_ms, changed_ms"


@dataclass(frozen=True, slots=True)
class Turn:
    """person: token; until_ms exclusive."""

    duty: int
    person: str
    from_ms: int
    until_ms: int
    note: str
    by: str

    def is_on(self, now_ms: int) -> bool:
        return self.from_ms <= now_ms < self.until_ms


@dataclass(frozen=True, slots=True)
class Risk:
    """owner: token; due: last day, yyyy-mm-dd in Asia/Shanghai."""

    risk: int
    title: str
    level: str
    owner: str
    due: str
    state: str
    by: str
    made_ms: int
    changed_ms: int

    def is_overdue(self, today: str) -> bool:
        return self.state != "closed" and self.due < today


# ---- duty


def turns(reader: Reader, *, since_ms: int) -> list[Turn]:
    """Turns that end later, soonest first."""
    rows = reader.execute(f"SELECT {_DUTY} FROM inference_duty WHERE removed_ms = 0 AND until_ms > ? ORDER BY from_ms, duty", (since_ms,)).fetchall()
    return [Turn(*row) for row in rows]


def set_turn(host: Host, tx: Transaction, *, person: str, from_ms: int, until_ms: int, note: str, actor: str) -> Turn:
    """Raises InvalidRequest DUTY_TIMES; Refused DUTY_OVERLAPS where the person is on duty then already."""
    if not from_ms < until_ms <= from_ms + LONGEST_TURN_DAYS * DAY_MS or until_ms <= host.now_ms():
        raise InvalidRequest(
            f"班次的止须晚于起、晚于现在，且不超过 {LONGEST_TURN_DAYS} 天", f"a turn ends after it begins, later than now and within {LONGEST_TURN_DAYS} days", code="DUTY_TIMES"
        )
    taken = tx.execute("SELECT duty FROM inference_duty WHERE removed_ms = 0 AND person = ? AND from_ms < ? AND until_ms > ?", (person, until_ms, from_ms)).fetchone()
    if taken is not None:
        raise Refused(f"这位员工此时已在值班（第 {taken[0]} 班）", f"this person is on duty then already (turn {taken[0]})", code="DUTY_OVERLAPS", details={"duty": str(taken[0])})
    made = tx.execute("INSERT INTO inference_duty (person, from_ms, until_ms, note, by) VALUES (?, ?, ?, ?, ?)", (person, from_ms, until_ms, note, actor))
    row = Turn(int(made.lastrowid or 0), person, from_ms, until_ms, note, actor)
    _duty_changed(host, tx, row, "set", note, actor)
    return row


def remove_turn(host: Host, tx: Transaction, duty: int, *, actor: str, reason: str) -> None:
    """NotFound NO_DUTY."""
    row = tx.execute(f"SELECT {_DUTY} FROM inference_duty WHERE duty = ? AND removed_ms = 0", (duty,)).fetchone()
    if row is None:
        raise NotFound("没有这个班次", "there is no such turn", code="NO_DUTY")
    tx.execute("UPDATE inference_duty SET removed_ms = ? WHERE duty = ?", (host.now_ms(), duty))
    _duty_changed(host, tx, Turn(*row), "removed", reason, actor)


def uncovered(reader: Reader, *, now_ms: int) -> list[tuple[int, int, str]]:
    """Stretches of freeze windows to come in which nobody is on duty: (from, until, reason of the window)."""
    windows = reader.execute("SELECT from_ms, until_ms, reason FROM inference_freeze WHERE removed_ms = 0 AND until_ms > ? ORDER BY from_ms", (now_ms,)).fetchall()
    listed = turns(reader, since_ms=now_ms)
    found: list[tuple[int, int, str]] = []
    for start, stop, reason in windows:
        at = max(int(start), now_ms)
        for turn in listed:
            if turn.from_ms > at and at < min(turn.from_ms, int(stop)):
                found.append((at, min(turn.from_ms, int(stop)), str(reason)))
            at = max(at, turn.until_ms)
        if at < int(stop):
            found.append((at, int(stop), str(reason)))
    return found


def _duty_changed(host: Host, tx: Transaction, row: Turn, action: str, reason: str, actor: str) -> None:
    values = {"action": action, "duty": str(row.duty), "person": row.person, "from": str(row.from_ms), "until": str(row.until_ms), "reason": reason}
    host.evidence.append(tx, "inference.duty_changed", values, actor=actor)


# ---- risks


def risks(reader: Reader, *, with_closed: bool = True) -> list[Risk]:
    """Open ones first, then by due day and level."""
    rows = reader.execute(
        f"SELECT {_RISK} FROM inference_risk WHERE ? OR state <> 'closed' ORDER BY state = 'closed', due, level = 'high' DESC, level = 'middle' DESC, risk", (with_closed,)
    ).fetchall()
    return [Risk(*row) for row in rows]


def risk(reader: Reader, number: int) -> Risk:
    """NotFound NO_RISK."""
    row = reader.execute(f"SELECT {_RISK} FROM inference_risk WHERE risk = ?", (number,)).fetchone()
    if row is None:
        raise NotFound("没有这项风险", "there is no such risk", code="NO_RISK")
    return Risk(*row)


def add_risk(host: Host, tx: Transaction, *, title: str, level: str, owner: str, due: str, actor: str) -> Risk:
    now = host.now_ms()
    made = tx.execute(
        "INSERT INTO inference_risk (title, level, owner, due, state, by, made_ms, changed_ms) VALUES (?, ?, ?, ?, 'open', ?, ?, ?)", (title, level, owner, due, actor, now, now)
    )
    row = risk(tx, int(made.lastrowid or 0))
    _risk_changed(host, tx, row, "added", title, actor)
    return row


def change_risk(host: Host, tx: Transaction, number: int, *, level: str, owner: str, due: str, state: str, actor: str, reason: str) -> Risk:
    """Values that are "" stay. Raises Refused NOTHING_CHANGED; a closed one may be opened again."""
    row = risk(tx, number)
    now = (level or row.level, owner or row.owner, due or row.due, state or row.state)
    if now == (row.level, row.owner, row.due, row.state):
        raise Refused("没有要变更的内容", "nothing would change", code="NOTHING_CHANGED")
    tx.execute("UPDATE inference_risk SET level = ?, owner = ?, due = ?, state = ?, changed_ms = ? WHERE risk = ?", (*now, host.now_ms(), number))
    changed = risk(tx, number)
    _risk_changed(host, tx, changed, "closed" if changed.state == "closed" != row.state else "changed", reason, actor)
    return changed


def _risk_changed(host: Host, tx: Transaction, row: Risk, action: str, reason: str, actor: str) -> None:
    values = {"action": action, "risk": str(row.risk), "level": row.level, "owner": row.owner, "due": row.due, "state": row.state, "reason": reason}
    host.evidence.append(tx, "inference.risk_changed", values, actor=actor)


# ---- as files


def calendar(listed: Sequence[tuple[Turn, str]], *, party: str, made_ms: int) -> bytes:
    """The roster as iCalendar (RFC 5545), times in UTC, lines of at most 75 bytes. listed: turns with the name of the person."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//evidence-workbench//duty//EN"]
    for turn, name in listed:
        lines += [
            "BEGIN:VEVENT", f"UID:duty-{turn.duty}@{party}", f"DTSTAMP:{_utc(made_ms)}", f"DTSTART:{_utc(turn.from_ms)}", f"DTEND:{_utc(turn.until_ms)}",
            f"SUMMARY:{_escaped(f'值班 on duty: {name}')}", f"DESCRIPTION:{_escaped(turn.note)}", "END:VEVENT",
        ]  # fmt: skip
    return "".join(f"{_folded(one)}\r\n" for one in [*lines, "END:VCALENDAR"]).encode()


def sheet(listed: Sequence[tuple[Risk, str]], *, today: str) -> bytes:
    """The register as CSV with a byte-order mark, for spreadsheets. listed: risks with the name of the owner."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(("编号 risk", "风险 title", "等级 level", "负责人 owner", "期限 due", "状态 state", "逾期 overdue"))
    for row, name in listed:
        writer.writerow((row.risk, _plain(row.title), row.level, _plain(name), row.due, row.state, "1" if row.is_overdue(today) else "0"))
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def _plain(text: str) -> str:
    """No cell that a spreadsheet would calculate."""
    return f"'{text}" if text[:1] in "=+-@\t\r" else text


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y%m%dT%H%M%SZ")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\r", "").replace("\n", "\\n")


def _folded(line: str) -> str:
    """RFC 5545 section 3.1: no line of more than 75 bytes, and no character cut in two."""
    parts, size = [""], 0
    for one in line:
        width = len(one.encode())
        if size + width > (75 if len(parts) == 1 else 74):
            parts.append("")
            size = 0
        parts[-1] += one
        size += width
    return "\r\n ".join(parts)


__all__ = [
    "DAY_MS", "KEPT_DAYS", "LEVELS", "STATES", "Risk", "Turn", "add_risk", "calendar", "change_risk", "remove_turn", "risk", "risks", "set_turn", "sheet", "turns", "uncovered",
]  # fmt: skip
