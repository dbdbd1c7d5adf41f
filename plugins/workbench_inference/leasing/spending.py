"""What leases cost so far, and the month's budget beside it. Days and months are those of Asia/Shanghai, by the day on which a lease began."""

from __future__ import annotations

import json
from typing import Final

from workbench.clock import local_day
from workbench.contracts import Transaction
from workbench_inference.leasing import rows, ticking
from workbench_inference.leasing.billing import amount_fen, budget_stage
from workbench_inference.leasing.keys import LeasingHost, Reader
from workbench_inference.leasing.rows import LeaseRow

DAY_MS: Final = 86_400_000
MOST_MONTH_DAYS: Final = 32
_RANK: Final = {"": 0, "near": 1, "reached": 2}


def cost_of(reader: Reader, row: LeaseRow) -> int:
    """What a lease costs so far, in fen: its statement, what people settled, or the ticks agreed on."""
    found = reader.execute("SELECT amount_fen, settled_seconds FROM inference_statement WHERE lease = ?", (row.lease,)).fetchone()
    if found is not None:
        return amount_fen(int(found[1]), row.price) if int(found[1]) >= 0 else int(found[0])
    return amount_fen(ticking.spent_seconds(reader, row.lease), row.price)


def spent(reader: Reader, host: LeasingHost, *, side: str) -> tuple[int, int]:
    """(fen of today, fen of this month)."""
    now_ms = host.now_ms()
    today, day, month = local_day(now_ms), 0, 0
    for row in rows.listed(reader, since_ms=now_ms - MOST_MONTH_DAYS * DAY_MS):
        began = local_day(row.from_ms)
        if row.side == side and row.started_ms and (began.year, began.month) == (today.year, today.month):
            cost = cost_of(reader, row)
            month += cost
            day += cost if began == today else 0
    return day, month


def budget(reader: Reader, host: LeasingHost) -> int:
    """The month's budget in fen: as people set it, else the setting; 0 for none."""
    row = reader.execute("SELECT rule FROM inference_schedule WHERE name = 'budget'").fetchone()
    return int(json.loads(bytes(row[0]))["fen"]) if row else int(host.setting("inference.budget_fen"))


def tell_budget(host: LeasingHost) -> str:
    """An entry once a month when four fifths, and when all of a tenant's budget is used; the stage now."""
    with host.store.read() as reader:
        limit = budget(reader, host)
        _, used = spent(reader, host, side=rows.TENANT)
    stage = budget_stage(used, limit)
    month = f"{local_day(host.now_ms()):%Y-%m}"

    def change(tx: Transaction) -> None:
        told = tx.execute("SELECT told FROM inference_quota WHERE whose = 'budget' AND month = ?", (month,)).fetchone()
        if _RANK[stage] > (int(told[0]) if told else 0):
            tx.execute("INSERT INTO inference_quota (whose, month, told) VALUES ('budget', ?, ?) ON CONFLICT (whose, month) DO UPDATE SET told = excluded.told", (month, _RANK[stage]))
            host.evidence.append(tx, "inference.budget_reached", {"of": "budget", "limit": str(limit), "used": str(used)})

    if stage:
        host.store.write(change)
    return stage


__all__ = ["DAY_MS", "budget", "cost_of", "spent", "tell_budget"]
