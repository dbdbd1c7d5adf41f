"""The tenant's calendar and scaler while the node runs: one order a day, cards up and down, each decision an entry with its reason.

Document: docs/protocols/sandbox.md sections 4 and 9. The rule itself is `scaling.decide`; the calendar `schedule`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from workbench.contracts import Transaction
from workbench.crypto import canonical
from workbench.errors import Refused, WorkbenchError
from workbench_inference.leasing import deciding, rows
from workbench_inference.leasing.deciding import PROCESSES
from workbench_inference.leasing.images import manifest_of
from workbench_inference.leasing.keys import LeasingHost, Reader
from workbench_inference.leasing.lease import State
from workbench_inference.leasing.rows import LeaseRow
from workbench_inference.leasing.scaling import ASKS_WINDOW_S, STEP_S, Decision, Load, ScalingRule, decide
from workbench_inference.leasing.schedule import Calendar, parse_calendar, wanted_by_calendar, window_of
from workbench_inference.leasing.tenant import Tenant, instant

CALENDAR, SCALER, BUDGET, PLAN = "calendar", "scaler", "budget", "plan"
"""Names of what people set, as kept in inference_schedule. plan: what the calendar orders."""
AGAIN_MS: Final = 60_000
"""An order of the calendar that failed is tried again after so long."""


class Autoscaler:
    """Decides every ten seconds, and orders what the calendar says."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._host: LeasingHost = tenant.host
        self._decided_ms = -(10**12)
        self._ordered_ms = -(10**12)
        self._images = Images(tenant.host)

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
            chosen = scaler_of(reader)
        for row in live:
            self._guarded(lambda row=row: self._scale(row, self._images.of(row.order.image)[0], calendar, now))  # type: ignore[misc]
        if chosen != PROCESSES:
            outside = counted_outside(self._images, live)
            if outside:
                self._guarded(lambda: self._scale_outside(chosen, outside, now))

    def _guarded(self, work: Callable[[], None]) -> None:
        """A fault with one lease keeps no other waiting."""
        try:
            work()
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

    def _scale(self, row: LeaseRow, model: str, calendar: Calendar, now: int) -> None:
        """Cards of one lease, by the questions that go to it."""
        with self._host.store.read() as reader:
            waiting = reader.execute("SELECT 1 FROM inference_change WHERE lease = ? AND at_s < 0", (row.lease,)).fetchone()
            changed_s = max(row.started_ms // 1000, deciding.changed_s(reader, row.lease, PROCESSES))
            load = load_of(reader, [(row, model)], self._takers(reader, now), now_ms=now)
            last = deciding.newest(reader, row.lease, PROCESSES)
        if waiting or row.order.most_cards <= 1:
            return
        view = self._tenant.view(row.lease)
        ready = min(row.cards, len(view.servers) if view else 0)
        floor = wanted_by_calendar(calendar, instant(now)) if calendar.is_on else 0
        rule = bounded(scaling_rule(self._host), least=floor, most=row.most_cards)
        decision = decide(replace(load, ready=ready, starting=row.cards - ready, changed_s=changed_s), rule, now_s=now // 1000)
        if last is not None and last.code and decision.wanted > row.cards:
            decision = self._within_offer(row, decision)
            if decision.wanted == last.after and now - last.time_ms < rule.cooldown_s * 1000:
                return  # the same was refused just now
        if decision.wanted != row.cards:
            self._tenant.change(row.lease, cards=decision.wanted, until_ms=row.until_ms, cause="scaler", decision=decision, queue=load.queue)

    def _takers(self, reader: Reader, now: int) -> dict[str, LeaseRow]:
        return rows.taking(reader, lambda row: self._images.of(row.order.image)[0], now_ms=now)

    def _within_offer(self, row: LeaseRow, decision: Decision) -> Decision:
        """As many of the cards wanted as the provider says to have: it refused more than that before, and takes all of a change or none."""
        free = next((one.free for one in self._tenant.offer().pools if one.pool == row.order.pool), 0)
        if decision.wanted <= row.cards + free:
            return decision
        had = row.cards + free
        return replace(
            decision, wanted=had, reason_zh=f"{decision.reason_zh}；算力方只余 {free} 台，先到 {had} 台",
            reason_en=f"{decision.reason_en}; the provider has {free} left, {had} for now",
        )  # fmt: skip

    def _scale_outside(self, name: str, leases: Sequence[tuple[LeaseRow, str]], now: int) -> None:
        """Servers that answer beside the sandboxes of these leases, by the questions of all of them together."""
        host = self._host
        scaler = next((one for one in host.scalers() if one.name == name), None)
        if scaler is None:
            raise Refused(f"没有扩缩器「{name}」，运维改选或安装", f"There is no scaler {name}; operations choose another or install it", code="NO_SCALER")
        before = scaler.replicas()
        ready = min(before, scaler.ready())
        with host.store.read() as reader:
            load = load_of(reader, leases, self._takers(reader, now), now_ms=now)
            changed_s = max(deciding.changed_s(reader, row.lease, name) for row, _ in leases)
        decision = decide(replace(load, ready=ready, starting=before - ready, changed_s=changed_s), scaling_rule(host), now_s=now // 1000)
        if decision.wanted == before:
            return
        said = replace(decision, reason_zh=f"{name} 的副本：{decision.reason_zh}", reason_en=f"replicas of {name}: {decision.reason_en}")

        def change(tx: Transaction) -> None:
            for row, _ in leases:
                deciding.keep(tx, host, row, before, said, queue=load.queue, scaler=name)

        host.store.write(change)  # before it is done: what stops in between is decided once more, and nothing changes without its reason
        scaler.set_replicas(decision.wanted)


def bounded(rule: ScalingRule, *, least: int, most: int) -> ScalingRule:
    """The rule within what the calendar wants at least and the order allows at most; never below one card."""
    low = min(max(1, rule.least, least), most)
    return replace(rule, least=low, most=max(low, min(rule.most, most)))


def counted_outside(images: Images, leases: Iterable[LeaseRow]) -> list[tuple[LeaseRow, str]]:
    """(lease, model) of those whose engine answers beside the sandbox: what a scaler of other servers counts."""
    return [(row, images.of(row.order.image)[0]) for row in leases if images.of(row.order.image)[1] == "behind"]


class Images:
    """(model, place) by image id; read once, since an id is a digest."""

    def __init__(self, host: LeasingHost) -> None:
        self._host = host
        self._known: dict[str, tuple[str, str]] = {}

    def of(self, image: str) -> tuple[str, str]:
        """NotFound NO_IMAGE."""
        if image not in self._known:
            with self._host.store.read() as reader:
                manifest, _ = manifest_of(reader, image)
            self._known[image] = manifest.name, manifest.engine.place
        return self._known[image]


def load_of(reader: Reader, leases: Sequence[tuple[LeaseRow, str]], takers: Mapping[str, LeaseRow], *, now_ms: int) -> Load:
    """What waits for these leases and is answered under them now; (lease, model) each, cards are the caller's to add.

    takers: `rows.taking`. Questions wait for a model and go to the lease that takes them; another lease of the same model has those
    that are answered under it and no more.
    """
    queue = serving = asked = 0
    for model in [model for row, model in leases if model in takers and takers[model].lease == row.lease]:
        queue += _count(reader, "state = 'QUEUED' AND ended_ms = 0 AND model = ?", model)
        asked += _count(reader, "asked_ms > ? AND model = ?", now_ms - ASKS_WINDOW_S * 1000, model)
    for row, _ in leases:
        serving += _count(reader, "state = 'STREAMING' AND ended_ms = 0 AND lease = ?", row.lease)
    every = sorted({model for _, model in leases})
    took = reader.execute(
        f"SELECT avg(card_ms) FROM (SELECT card_ms FROM inference_ask WHERE card_ms > 0 AND model IN ({', '.join('?' * len(every))}) ORDER BY asked_ms DESC LIMIT 50)", every
    ).fetchone()[0]
    return Load(queue, serving, 0, 0, asked, int(took or 0))


def _count(reader: Reader, where: str, *values: object) -> int:
    return int(reader.execute(f"SELECT count(*) FROM inference_ask WHERE {where}", values).fetchone()[0])


def rule_of(reader: Reader, name: str) -> dict[str, Any] | None:
    """What people set under a name; None where the settings count."""
    row = reader.execute("SELECT rule FROM inference_schedule WHERE name = ?", (name,)).fetchone()
    return dict(json.loads(bytes(row[0]))) if row else None


def scaler_of(reader: Reader) -> str:
    """Name of the scaler that people chose."""
    return str((rule_of(reader, SCALER) or {}).get("scaler", PROCESSES))


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
    "BUDGET", "CALENDAR", "PLAN", "PROCESSES", "SCALER", "Autoscaler", "Images", "bounded", "calendar_of", "counted_outside", "keep_rule", "load_of", "rule_of",
    "scaler_of", "scaling_rule",
]  # fmt: skip
