"""Reading and writing the plugin's tables; every function works inside the transaction or snapshot it is given."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from workbench.contracts import Transaction
from workbench.domain.party import PartyId

Reader = sqlite3.Connection | Transaction

_STAMP = (
    "number, size, note, digest, request, nonce, policy, via, made_ms, state, tries, next_ms, problem, reply, authority,"
    " time_ms, entry"
)
_TRANSACTION = (
    "number, size, note, digest, chain_id, contract, sender, nonce, hash, raw, made_ms, state, next_ms, problem, block,"
    " block_hash, time_ms, entry"
)


@dataclass(frozen=True, slots=True)
class StampRow:
    """A time stamp that was asked for. state: "waiting", "stamped", "given_up". entry: index of its evidence, -1: none."""

    number: int
    size: int
    note: str
    digest: bytes
    request: bytes = field(repr=False)
    nonce: int
    policy: str
    via: str
    made_ms: int
    state: str
    tries: int
    next_ms: int
    problem: str
    reply: bytes = field(repr=False)
    authority: bytes = field(repr=False)
    time_ms: int
    entry: int


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """A transaction to the chain. state: document section 3.3. block, time_ms: 0 while it is in none."""

    number: int
    size: int
    note: str
    digest: bytes
    chain_id: int
    contract: bytes
    sender: bytes
    nonce: int
    hash: bytes
    raw: bytes = field(repr=False)
    made_ms: int
    state: str
    next_ms: int
    problem: str
    block: int
    block_hash: bytes
    time_ms: int
    entry: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A contradiction that lasts: whose log, which, at what size of the chain, SHA-256 of what the chain showed (hex)."""

    log: PartyId
    problem: str
    size: int
    detail: str
    found_ms: int


def add(tx: Transaction, table: str, **values: Any) -> int:
    """Insert one row of a table of this plugin; its number."""
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    cursor = tx.execute(f"INSERT INTO anchor_{table} ({names}) VALUES ({marks})", values)
    return int(cursor.lastrowid or 0)


def change(tx: Transaction, table: str, number: int, **values: Any) -> None:
    """Change columns of one row of a table of this plugin."""
    pairs = ", ".join(f"{name} = :{name}" for name in values)
    tx.execute(f"UPDATE anchor_{table} SET {pairs} WHERE number = :number", {**values, "number": number})


# ---------------------------------------------------------------------------------------------- stamps


def waiting_stamps(reader: Reader, via: str) -> list[StampRow]:
    """Requests that have no reply yet, oldest first."""
    return _stamps(reader, "WHERE state = 'waiting' AND via = ? ORDER BY number", via)


def newest_stamp(reader: Reader) -> StampRow | None:
    """The stamp that covers most entries."""
    return next(iter(_stamps(reader, "WHERE state = 'stamped' ORDER BY size DESC, number DESC LIMIT 1")), None)


def covering_stamp(reader: Reader, size: int) -> StampRow | None:
    """The first stamp whose note covers `size` entries, with the smallest note."""
    return next(
        iter(_stamps(reader, "WHERE state = 'stamped' AND size >= ? ORDER BY size, number LIMIT 1", size)), None
    )


def last_stamps(reader: Reader, limit: int) -> list[StampRow]:
    """The rows made last, newest first."""
    return _stamps(reader, "ORDER BY number DESC LIMIT ?", limit)


def _stamps(reader: Reader, rest: str, *parameters: Any) -> list[StampRow]:
    return [StampRow(*row) for row in reader.execute(f"SELECT {_STAMP} FROM anchor_stamp {rest}", parameters)]


# ---------------------------------------------------------------------------------------- transactions


def open_transaction(reader: Reader) -> TransactionRow | None:
    """The transaction that is under way; there is at most one."""
    return next(iter(_transactions(reader, "WHERE state IN ('sent', 'mined') ORDER BY number LIMIT 1")), None)


def newest_anchored(reader: Reader) -> TransactionRow | None:
    """The anchored transaction that covers most entries."""
    return next(iter(_transactions(reader, "WHERE state = 'anchored' ORDER BY size DESC, number DESC LIMIT 1")), None)


def covering_transaction(reader: Reader, size: int) -> TransactionRow | None:
    """The first anchored transaction whose note covers `size` entries, with the smallest note."""
    rest = "WHERE state = 'anchored' AND size >= ? ORDER BY size, number LIMIT 1"
    return next(iter(_transactions(reader, rest, size)), None)


def anchored(reader: Reader) -> list[TransactionRow]:
    """All anchored transactions, newest first."""
    return _transactions(reader, "WHERE state = 'anchored' ORDER BY number DESC")


def last_transactions(reader: Reader, limit: int) -> list[TransactionRow]:
    """The rows made last, newest first."""
    return _transactions(reader, "ORDER BY number DESC LIMIT ?", limit)


def _transactions(reader: Reader, rest: str, *parameters: Any) -> list[TransactionRow]:
    rows = reader.execute(f"SELECT {_TRANSACTION} FROM anchor_transaction {rest}", parameters)
    return [TransactionRow(*row) for row in rows]


# ------------------------------------------------------------------------------- own entries, findings


def note_own_entry(tx: Transaction, index: int) -> None:
    """Remember that anchoring itself wrote an entry."""
    tx.execute("INSERT OR REPLACE INTO anchor_entry (idx) VALUES (?)", (index,))


def own_entries_from(reader: Reader, index: int) -> int:
    """How many entries from `index` on anchoring itself wrote."""
    return int(reader.execute("SELECT count(*) FROM anchor_entry WHERE idx >= ?", (index,)).fetchone()[0])


def findings(reader: Reader) -> list[Finding]:
    """Contradictions that last, oldest first."""
    rows = reader.execute(
        "SELECT log, problem, size, detail, found_ms FROM anchor_finding WHERE over_ms = 0 ORDER BY number"
    )
    return [Finding(*row) for row in rows]


def has_finding(reader: Reader, finding: Finding) -> bool:
    """Whether exactly this was found before, over or not."""
    key = (finding.log, finding.problem, finding.size, finding.detail)
    query = "SELECT 1 FROM anchor_finding WHERE (log, problem, size, detail) = (?, ?, ?, ?)"
    return reader.execute(query, key).fetchone() is not None


def keep_findings(tx: Transaction, found: Iterable[Finding], now_ms: int) -> None:
    """Make these the ones that last: others are over; one that comes back lasts again."""
    tx.execute("UPDATE anchor_finding SET over_ms = ? WHERE over_ms = 0", (now_ms,))
    for one in found:
        tx.execute(
            "INSERT INTO anchor_finding (log, problem, size, detail, found_ms, over_ms) VALUES (?, ?, ?, ?, ?, 0)"
            " ON CONFLICT (log, problem, size, detail) DO UPDATE SET over_ms = 0",
            (one.log, one.problem, one.size, one.detail, one.found_ms),
        )
