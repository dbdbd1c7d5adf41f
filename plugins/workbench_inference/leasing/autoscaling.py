"""The tenant's calendar and scaler while the node runs: one order a day, cards up and down, each decision an entry with its reason.

Document: docs/protocols/sandbox.md sections 4 and 9. The rule itself is `scaling.decide`; the calendar `schedule`.
"""

from __future__ import annotations

import json
from typing import Any, Final

from workbench.contracts import Transaction
from workbench.contracts.inference import Scaler
from workbench.crypto import canonical
from workbench.errors import Refused, WorkbenchError
from workbench_inference.leasing import rows
from workbench_inference.leasing.keys import LeasingHost, Reader
from workbench_inference.leasing.lease import State
from workbench_inference.leasing.rows import LeaseRow
from workbench_inference.leasing.scaling import ASKS_WINDOW_S, STEP_S, Decision, Load, ScalingRule, decide
from workbench_inference.leasing.schedule import Calendar, parse_calendar, wanted_by_calendar, window_of
from workbench_inference.leasing.tenant import Tenant, instant

PROCESSES: Final = "processes"
CALENDAR, SCALER, BUDGET, PLAN = "calendar", "scaler", "budget", "plan"
"""Names of what people set, as kept in inference_schedule. plan: what the calendar orders."""
AGAIN_MS: Final = 60_000
"""An order of the calendar that failed is tried again after so long."""


class LeaseScaler:
    """Scaler `processes`: cards of a lease by `inference.change`."""

    name = PROCESSES

    def __init__(self, tenant: Tenant, lease: str) -> None:
        self._tenant = tenant
        self._lease = lease

    def replicas(self) -> int:
        """Cards that are agreed on."""
        with self._tenant.host.store.read() as reader:
            return rows.get(reader, self._lease).cards

    def ready(self) -> int:
        """Cards the provider says to hold."""
        view = self._tenant.view(self._lease)
        return len(view.servers) if view else 0

    def set_replicas(self, count: int) -> None:
        """Ask for so many; Refused LEASE_CHANGE while an earlier change waits."""
        with self._tenant.host.store.read() as reader:
            row = rows.get(reader, self._lease)
        self._tenant.change(self._lease, cards=count, until_ms=row.until_ms, cause="scaler")


class Autoscaler:
    """Decides every ten seconds, and orders what the calendar says."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._host: LeasingHost = tenant.host
        self._decided_ms = -(10**12)
        self._ordered_ms = -(10**12)
        self._changed_s: dict[str, int] = {}

    def round(self) -> None:
        """What is due now."""
        now = self._host.now_ms()
        if now - self._decided_ms < STEP_S * 1000 and now >= self._decided_ms:
            return
        self._decided_ms = now
        calendar = calendar_of(self._host)
        if calendar.is_on:
            self._order(calendar, now)
        with self._host.store.read() as reader:
            live = [one for one in rows.listed(reader, states=[State.RUNNING]) if one.side == rows.TENANT]
        for row in live:
            try:
                self._scale(row, calendar, now)
            except WorkbenchError as error:
                self._host.log_fault(error)

    def _order(self, calendar: Calendar, now: int) -> None:
        """The lease of today, as the plan says, where none is there."""
        window = window_of(calendar, instant(now))
        if window is None or now - self._ordered_ms < AGAIN_MS:
            return
        begins, ends = (int(one.timestamp() * 1000) for one in window)
        with self._host.store.read() as reader:
            plan = rule_of(reader, PLAN)
            there = [one for one in rows.listed(reader, states=rows.LIVE) if one.side == rows.TENANT and one.from_ms < ends and one.until_ms > begins]
            given_back = [one for one in rows.listed(reader, limit=50) if one.side == rows.TENANT and one.until_ms == ends and one.cause in ("released", "budget")]
        if plan is None or there or given_back or begins - now > 3_600_000:
            return  # what people gave back today stays given back
        self._ordered_ms = now
        rule = scaling_rule(self._host)
        least = max(1, rule.least, wanted_by_calendar(calendar, instant(begins)))
        offer = self._tenant.offer()
        self._tenant.order(
            image=str(plan["image"]), cards=min(least, int(plan["most_cards"])), most_cards=int(plan["most_cards"]), from_ms=begins, until_ms=ends,
            pool=str(plan["pool"]), assurance=str(plan["assurance"]), price=offer.fen_per_card_minute, budget_fen=int(plan["budget_fen"]), reason="calendar",
        )  # fmt: skip

    def _scale(self, row: LeaseRow, calendar: Calendar, now: int) -> None:
        rule = scaling_rule(self._host)
        floor = wanted_by_calendar(calendar, instant(now)) if calendar.is_on else 0
        with self._host.store.read() as reader:
            waiting = reader.execute("SELECT 1 FROM inference_change WHERE lease = ? AND at_s < 0", (row.lease,)).fetchone()
            chosen = rule_of(reader, SCALER)
        if waiting or row.order.most_cards <= 1:
            return
        scaler = self._scaler(row, chosen)
        before = scaler.replicas()
        with self._host.store.read() as reader:
            load = load_of(reader, self._host, before, ready=min(before, scaler.ready()), changed_s=self._changed_s.get(row.lease, -(10**9)))
        bounded = ScalingRule(
            least=min(max(1, rule.least, floor), row.most_cards), most=min(rule.most, row.most_cards), queue_per_server=rule.queue_per_server,
            cooldown_s=rule.cooldown_s, start_delay_s=rule.start_delay_s, wait_s=rule.wait_s,
        ) if min(max(1, rule.least, floor), row.most_cards) <= min(rule.most, row.most_cards) else ScalingRule(least=before, most=max(1, before))  # fmt: skip
        decision = decide(load, bounded, now_s=now // 1000)
        if decision.wanted == before:
            return
        scaler.set_replicas(decision.wanted)
        self._changed_s[row.lease] = now // 1000
        self._host.store.write(lambda tx: self._say(tx, row, before, decision, load.queue, now))

    def _say(self, tx: Transaction, row: LeaseRow, before: int, decision: Decision, queue: int, now: int) -> None:
        tx.execute(
            "INSERT INTO inference_decision (lease, time_ms, before, after, queue, rule, zh, en) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (row.lease, now, before, decision.wanted, queue, decision.rule, decision.reason_zh, decision.reason_en),
        )
        values = {**rows.parties(row, self._host.party), "before": str(before), "after": str(decision.wanted), "queue": str(queue), "rule": decision.rule}
        self._host.evidence.append(tx, "inference.scaled", values | {"reason": decision.reason_zh}, job=row.lease)

    def _scaler(self, row: LeaseRow, chosen: dict[str, Any] | None) -> Scaler:
        """The one that people chose; leases are ours."""
        name = str(chosen["scaler"]) if chosen else PROCESSES
        if name == PROCESSES:
            return LeaseScaler(self._tenant, row.lease)
        for one in self._host.scalers():
            if one.name == name:
                return one
        raise Refused(f"没有扩缩器「{name}」，运维改选或安装", f"There is no scaler {name}; operations choose another or install it", code="NO_SCALER")


def load_of(reader: Reader, host: LeasingHost, cards: int, *, ready: int, changed_s: int) -> Load:
    """What waits and is answered now, from the asks of this node. cards: that are asked for."""
    now = host.now_ms()
    queue, serving = (
        int(reader.execute("SELECT count(*) FROM inference_ask WHERE state = ? AND ended_ms = 0", (state,)).fetchone()[0]) for state in ("QUEUED", "STREAMING")
    )
    asked = int(reader.execute("SELECT count(*) FROM inference_ask WHERE asked_ms > ?", (now - ASKS_WINDOW_S * 1000,)).fetchone()[0])
    took = reader.execute("SELECT avg(card_ms) FROM (SELECT card_ms FROM inference_ask WHERE card_ms > 0 ORDER BY asked_ms DESC LIMIT 50)").fetchone()[0]
    return Load(queue, serving, ready, max(0, cards - ready), asked, int(took or 0), changed_s)


def rule_of(reader: Reader, name: str) -> dict[str, Any] | None:
    """What people set under a name; None where the settings count."""
    row = reader.execute("SELECT rule FROM inference_schedule WHERE name = ?", (name,)).fetchone()
    return dict(json.loads(bytes(row[0]))) if row else None


def keep_rule(tx: Transaction, host: LeasingHost, name: str, value: dict[str, Any], *, actor: str, reason: str) -> None:
    """Set a rule, with its entry."""
    before = rule_of(tx, name)
    written = canonical.format(value)
    tx.execute(
        "INSERT INTO inference_schedule (name, rule, since_ms, by) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET rule = excluded.rule, since_ms = excluded.since_ms, by = excluded.by",
        (name, written, host.now_ms(), actor),
    )
    values = {"what": name, "before": canonical.format(before).decode() if before is not None else "", "after": written.decode(), "reason": reason}
    host.evidence.append(tx, "inference.rule_changed", values, actor=actor)


def calendar_of(host: LeasingHost) -> Calendar:
    """The calendar in force: as people set it, else the setting."""
    with host.store.read() as reader:
        found = rule_of(reader, CALENDAR)
    return parse_calendar(found if found is not None else host.setting("inference.calendar"))


def scaling_rule(host: LeasingHost) -> ScalingRule:
    """The rule in force: as people set it, else the settings."""
    with host.store.read() as reader:
        found = rule_of(reader, SCALER) or {}
    names = {"least": "min_servers", "most": "max_servers", "queue_per_server": "queue_per_server", "cooldown_s": "cooldown_s", "start_delay_s": "start_delay_s", "wait_s": "wait_s"}
    return ScalingRule(**{name: int(found.get(name, host.setting(f"inference.{setting}"))) for name, setting in names.items()})


__all__ = [
    "BUDGET", "CALENDAR", "PLAN", "PROCESSES", "SCALER", "Autoscaler", "LeaseScaler", "calendar_of", "keep_rule", "load_of", "rule_of", "scaling_rule",
]  # fmt: skip
