"""Decisions about the number of cards, as they are kept: a row people read and an entry, in the transaction of what was decided.

Table inference_decision. Document: docs/protocols/sandbox.md section 9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workbench.contracts import Transaction
from workbench_inference.leasing import rows
from workbench_inference.leasing.keys import LeasingHost, Reader
from workbench_inference.leasing.rows import LeaseRow
from workbench_inference.leasing.scaling import NEVER_S, Decision

PROCESSES: Final = "processes"
"""The scaler that changes the cards of a lease; others set servers outside."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The newest decision. code: what the provider refused it with, "" where it did not."""

    after: int
    time_ms: int
    code: str


def keep(tx: Transaction, host: LeasingHost, row: LeaseRow, before: int, decision: Decision, *, queue: int, change: int = 0, scaler: str = PROCESSES, actor: str = "") -> None:
    """Write a decision down. change: number of the lease's change that it asks for, 0 where a scaler outside does it."""
    tx.execute(
        "INSERT INTO inference_decision (lease, time_ms, before, after, queue, rule, zh, en, scaler, change_number) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (row.lease, host.now_ms(), before, decision.wanted, queue, decision.rule, decision.reason_zh, decision.reason_en, scaler, change),
    )
    values = {**rows.parties(row, host.party), "before": str(before), "after": str(decision.wanted), "queue": str(queue), "rule": decision.rule}
    host.evidence.append(tx, "inference.scaled", values | {"reason": decision.reason_zh}, job=row.lease, actor=actor)


def refused(tx: Transaction, lease: str, change: int, *, code: str) -> None:
    """The provider did not agree to what was decided last under this number: the cards stay as they were."""
    tx.execute(
        "UPDATE inference_decision SET code = ? WHERE number = (SELECT max(number) FROM inference_decision WHERE lease = ? AND change_number = ?) AND code = ''", (code, lease, change)
    )


def newest(reader: Reader, lease: str, scaler: str) -> Kept | None:
    """What was decided last for a lease; None for nothing."""
    row = reader.execute("SELECT after, time_ms, code FROM inference_decision WHERE lease = ? AND scaler = ? ORDER BY number DESC LIMIT 1", (lease, scaler)).fetchone()
    return Kept(int(row[0]), int(row[1]), str(row[2])) if row else None


def changed_s(reader: Reader, lease: str, scaler: str) -> int:
    """When a decision last changed the number, in seconds since 1970 UTC: what the cool-down counts from, before and after a restart alike."""
    found = reader.execute("SELECT max(time_ms) FROM inference_decision WHERE lease = ? AND scaler = ? AND before <> after AND code = ''", (lease, scaler)).fetchone()[0]
    return NEVER_S if found is None else int(found) // 1000


__all__ = ["PROCESSES", "Kept", "changed_s", "keep", "newest", "refused"]
