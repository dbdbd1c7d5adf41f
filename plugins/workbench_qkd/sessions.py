"""Sessions that took a key of a line, or were refused one. Document: docs/quantum-channel.md section 8."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from workbench.channel.tls_groups import NegotiatedLink
from workbench.contracts import Transaction
from workbench.errors import Refused, WorkbenchError
from workbench_qkd.messages import SessionInfo

Reader = sqlite3.Connection | Transaction
"""`host` of the functions below is the node, the one of contracts.Host or of an operation's context."""
DAY_MS: Final = 86_400_000
SHOWN: Final = 100
_COLUMNS = "session, what, policy, state, key_id, provenance, suite, opened_ms, ended_ms, code, link_version, link_group, link_suite, link_fingerprint"
_LIVE = "state IN ('OPEN', 'OPENING')"


@dataclass(frozen=True, slots=True)
class Opened:
    """A session as it is written down. what: what it is for; key_id, provenance: of the line's key, "" without one.

    tenant: tag of the line.
    """

    session: str
    line: str
    what: str
    policy: str
    key_id: str
    provenance: str
    tenant: str = ""


def begin(tx: Transaction, host: Any, one: Opened) -> None:
    """A session is being agreed; the same one twice is once."""
    tx.execute(
        "INSERT INTO qkd_session (session, line, what, policy, state, key_id, provenance, opened_ms, tenant) VALUES (?, ?, ?, ?, 'OPENING', ?, ?, ?, ?)"
        " ON CONFLICT (session) DO NOTHING",
        (one.session, one.line, one.what, one.policy, one.key_id, one.provenance, host.now_ms(), one.tenant),
    )


def expect_key(tx: Transaction, name: str, key_id: str) -> bool:
    """A renewal with this key is being agreed; False when the session is over."""
    changed = tx.execute("UPDATE qkd_session SET next_key_id = ? WHERE session = ? AND state = 'OPEN'", (key_id, name))
    return changed.rowcount == 1


def keep_link(tx: Transaction, name: str, linked: NegotiatedLink) -> None:
    """Write down what the link of a session was found to be."""
    tx.execute(
        "UPDATE qkd_session SET link_version = ?, link_group = ?, link_suite = ?, link_fingerprint = ? WHERE session = ?",
        (linked.version, linked.group, linked.suite, linked.peer_fingerprint, name),
    )


def link_values(line: str, name: str, linked: NegotiatedLink) -> dict[str, str]:
    """Of the entry `qkd.session_linked`."""
    return {
        "line": line, "session": name, "version": linked.version, "group": linked.group, "suite": linked.suite, "fingerprint": linked.peer_fingerprint
    }  # fmt: skip


def link_of(reader: Reader, line: str) -> NegotiatedLink | None:
    """The link of the newest session of a line that is open; None without one."""
    row = reader.execute(
        "SELECT link_version, link_group, link_suite, link_fingerprint FROM qkd_session WHERE line = ? AND state = 'OPEN' AND link_group != ''"
        " ORDER BY opened_ms DESC, session LIMIT 1",
        (line,),
    ).fetchone()
    return NegotiatedLink(*row) if row else None


def refuse(tx: Transaction, host: Any, name: str, error: WorkbenchError, *, actor: str) -> None:
    """It was refused, or failed: what was missing, and that nothing else was used."""
    row = tx.execute("SELECT line, policy, tenant FROM qkd_session WHERE session = ?", (name,)).fetchone()
    tx.execute("UPDATE qkd_session SET state = 'REFUSED', ended_ms = ?, code = ? WHERE session = ? AND state = 'OPENING'", (host.now_ms(), error.code, name))
    values = {"line": row[0], "tenant": row[2], "policy": row[1], "code": error.code, "missing": error.details.get("missing", "")}
    host.evidence.append(tx, "qkd.session_refused", values, actor=actor)


def done(tx: Transaction, host: Any, one: Opened, *, suite: str, actor: str, cause: str) -> None:
    """It had its keys at both ends and is over. Refused SESSION_BROKEN when people ended it meanwhile."""
    changed = tx.execute(
        "UPDATE qkd_session SET state = 'ENDED', ended_ms = ?, suite = ? WHERE session = ? AND state = 'OPENING'", (host.now_ms(), suite, one.session)
    )
    if changed.rowcount != 1:
        raise over()
    values = {"line": one.line, "tenant": one.tenant, "session": one.session, "policy": one.policy, "key_id": one.key_id, "provenance": one.provenance}
    host.evidence.append(tx, "qkd.session_opened", values, actor=actor)
    host.evidence.append(tx, "qkd.session_ended", {"line": one.line, "session": one.session, "cause": cause}, actor=actor)


def open_of(reader: Reader, what: str) -> int:
    """How many sessions for this are open, on all lines."""
    return int(reader.execute("SELECT count(*) FROM qkd_session WHERE what = ? AND state = 'OPEN'", (what,)).fetchone()[0])


def listed(reader: Reader, line: str) -> list[SessionInfo]:
    """Newest first."""
    names = _COLUMNS.split(", ")
    rows = reader.execute(f"SELECT {_COLUMNS} FROM qkd_session WHERE line = ? ORDER BY opened_ms DESC, session LIMIT ?", (line, SHOWN))
    return [SessionInfo(**dict(zip(names, row, strict=True))) for row in rows]


def last_day(reader: Reader, line: str, *, now_ms: int) -> tuple[int, int]:
    """(opened, refused) within a day."""
    row = reader.execute(
        "SELECT coalesce(sum(state != 'REFUSED'), 0), coalesce(sum(state = 'REFUSED'), 0) FROM qkd_session WHERE line = ? AND opened_ms > ?",
        (line, now_ms - DAY_MS),
    ).fetchone()
    return int(row[0]), int(row[1])


def live_keys(reader: Reader, line: str) -> list[str]:
    """Ids of the keys that sessions of a line hold, or are about to."""
    rows = reader.execute(f"SELECT key_id, next_key_id FROM qkd_session WHERE line = ? AND {_LIVE}", (line,))
    return sorted({one for row in rows for one in row if one})


def end_of_keys(tx: Transaction, host: Any, line: str, key_ids: Sequence[str], *, cause: str) -> int:
    """End the sessions that hold one of these keys, or are about to; how many. key_ids: as sessions are written down with, in small letters."""
    if not key_ids:
        return 0
    marks = ", ".join("?" for _ in key_ids)
    where = f"line = ? AND {_LIVE} AND (key_id IN ({marks}) OR next_key_id IN ({marks}))"
    found = tx.execute(f"SELECT session FROM qkd_session WHERE {where}", (line, *key_ids, *key_ids)).fetchall()
    return _end(tx, host, line, [row[0] for row in found], cause)


def end_all(tx: Transaction, host: Any, line: str, *, cause: str) -> int:
    """End every session of a line, those that are still being agreed too; how many."""
    found = tx.execute(f"SELECT session FROM qkd_session WHERE line = ? AND {_LIVE}", (line,)).fetchall()
    return _end(tx, host, line, [row[0] for row in found], cause)


def _end(tx: Transaction, host: Any, line: str, names: Sequence[str], cause: str) -> int:
    for name in names:
        tx.execute("UPDATE qkd_session SET state = 'ENDED', ended_ms = ? WHERE session = ?", (host.now_ms(), name))
        host.evidence.append(tx, "qkd.session_ended", {"line": line, "session": name, "cause": cause})
    return len(names)


def over() -> Refused:
    """The session came to its end meanwhile."""
    return Refused("会话已结束，请重新建立", "this session is over; start another", code="SESSION_BROKEN")
