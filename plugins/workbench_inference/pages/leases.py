"""The page of leases at a tenant: how much was used, was everything erased? Draws what `leases_drawing` says of the replies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Acting
from workbench.app.parts.keys import Keys
from workbench.app.parts.notes import Notes
from workbench_inference.pages import leases_catalogue as catalogue
from workbench_inference.pages import leases_drawing as drawing
from workbench_inference.pages.leases_acts import CALENDAR_ACTS, CHANGE, LEASE_ACTS, ORDER, RELEASE, RULE_ACTS
from workbench_inference.pages.leases_parts import REFRESH_S, LeasingPage, Reply
from workbench_widgets import CostCurve, DataTable, LeaseBar, LineChart, formats
from workbench_widgets.panel_pane import pane

OFFER_S = 60.0
"""How often the provider is asked what it has."""


class LeasesPage(LeasingPage):
    """One opened tab. `lease=` of the address names the lease that is shown first."""

    def __init__(self, page: PageContext) -> None:
        super().__init__(page)
        self.chosen = page.params.get("lease", "")
        self.bar = LeaseBar(state="loading")
        self.bar.on_action(lambda _name, told: page.start(self._release, str(told.get("lease", ""))), "release")
        self.leases.on_action(lambda _name, told: page.start(self._choose, str(told.get("id", ""))), "open")
        self.chart = LineChart(state="loading")
        self.decisions = DataTable(page_size=6, state="loading")
        self.cost = CostCurve(state="loading")
        self.growth, self.grown = LineChart(state="loading"), DataTable(page_size=6, state="loading")
        self.pools, self.offered = DataTable(page_size=4, state="loading"), Notes()
        self._offered_at = -OFFER_S
        self.inside, self.rule, self.calendar, self.limits = Notes(), Notes(), Notes(), Notes()
        self.releasing = Acting(page, (RELEASE,), self._acted, from_row=True)
        self.releasing.offer([])
        self.acting = Acting(page, LEASE_ACTS, self._acted, choices=self._choices)
        self.ruling = Acting(page, RULE_ACTS, self._acted)
        self.scheduling = Acting(page, CALENDAR_ACTS, self._acted, choices=self._choices)
        self.scheduling.offer([one.operation for one in CALENDAR_ACTS])
        of = self.of
        main = layout.stack(
            *of("inference.leases", pane(self.bar), self.releasing.root, self.inside, layout.buttons(self.probe_button), self.probing.root, self.probed, pane(self.leases)), *of("inference.offer", pane(self.pools), self.offered), self.acting.root,
            *of("inference.scaling", pane(self.chart), pane(self.decisions), pane(self.growth), pane(self.grown)), *of("inference.costs", pane(self.cost)), *of("inference.meters", pane(self.ticks)),
            *of("inference.statements", pane(self.statements)), self.settling.root, self.registers.root, pane(self.sees),
            *(() if page.may("inference.leases") else of("inference.service_keys", pane(self.keys), self.key_about, self.keying.root)),
        )  # fmt: skip
        keys = of("inference.service_keys", pane(self.keys), self.key_about, self.keying.root) if page.may("inference.leases") else ()
        side = layout.stack(
            *of("inference.erasures", pane(self.erasures), self.receipt), *of("inference.servers", pane(self.servers)), *of("inference.scaling", self.rule), self.ruling.root,
            *of("inference.scaling", self.calendar), self.scheduling.root, *keys, self.limits,
        )  # fmt: skip
        self.root = layout.stack(self.head, pane(self.strip), layout.split(main, side, side_px=420), Keys(page, names=("rows", "escape")))
        page.on_look(self.draw)

    async def open(self) -> None:
        """Read once, then again every few seconds."""
        self.draw()
        await self.refresh()
        self.page.refresh_every(REFRESH_S, self.refresh)

    async def refresh(self) -> None:
        """Everything side by side; the chosen lease and its meters after the list that names it."""
        await asyncio.gather(
            self.read("inference.leases", self.leases, self.bar, self.ticks), self.read("inference.servers", self.servers),
            self.read("inference.costs", self.cost), self.read("inference.erasures", self.erasures),
            self.read("inference.statements", self.statements), self.read("inference.models"), self.read("inference.service_keys", self.keys),
            self.read("inference.duty", self.registers.duty), self.read("inference.risks", self.registers.risks), self._read_offer(),
        )  # fmt: skip
        await self._read_lease()
        self.draw()

    async def _read_offer(self) -> None:
        """The provider is asked for it, so not every few seconds."""
        if time.monotonic() - self._offered_at >= OFFER_S and await self.read("inference.offer", self.pools) is not None:
            self._offered_at = time.monotonic()

    async def _read_lease(self) -> None:
        one = self.lease
        if one is None:
            for name in ("inference.lease", "inference.meters"):
                self.found.pop(name, None)
            await self.read("inference.scaling", self.chart, self.decisions, self.growth, self.grown)
            return
        await asyncio.gather(self.read("inference.scaling", self.chart, self.decisions, self.growth, self.grown, lease=one["lease"]), self.read("inference.lease", lease=one["lease"]), self.read("inference.meters", self.ticks, lease=one["lease"]))

    @property
    def lease(self) -> Reply | None:
        """The lease that is shown."""
        return drawing.chosen((self.told("inference.leases") or {}).get("leases", []), self.chosen)

    @property
    def now_ms(self) -> int:
        """Now, by the node's clock where a running lease tells it; else by what happened last."""
        leases = (self.told("inference.leases") or {}).get("leases", [])
        running = [one["until_ms"] - 1000 * one["left_s"] for one in leases if one["state"] == "RUNNING"]
        return max([*running, *(one["ended_ms"] for one in leases), (self.told("inference.costs") or {}).get("until_ms", 0)], default=0)

    async def _choose(self, lease: str) -> None:
        self.chosen = lease
        await self._read_lease()
        self.draw()

    async def _release(self, lease: str) -> None:
        """The button of the bar: a form below it asks why."""
        if self.releasing.chosen is None:
            self.releasing.offer([RELEASE.operation], lease=lease)
            await self.releasing.open(RELEASE.operation)

    def _choices(self, name: str) -> Mapping[str, Any]:
        """Images that this institution has signed, by name and id."""
        images = (self.told("inference.models") or {}).get("images", []) if name == "image" else []
        none = {self.page.t("leases.calendar.keep"): ""} if self.scheduling.chosen is not None else {}
        return none | {f"{one['name']} {one['version']} · {one['id'][:8]}": one["id"] for one in images}

    async def _acted(self, operation: str, reply: Mapping[str, Any]) -> None:
        if operation == ORDER.operation and reply.get("lease"):
            self.chosen = str(reply["lease"])
        self._offered_at = -OFFER_S
        await super()._acted(operation, reply)

    # ------------------------------------------------------------------ drawing

    def draw(self) -> None:
        """Every text and picture from what is known now."""
        page, t = self.page, self.page.t
        for component in (self.strip, self.bar, self.chart, self.cost, self.growth):
            component.lang = page.lang
        leases, now = self.told("inference.leases"), self.now_ms
        self.head.tell(notes.head(t("leases.title"), subject=t("leases.subject"), meta=t("leases.times")))
        if leases is not None:
            self.draw_answer(drawing.tenant_verdict(leases, self.told("inference.servers"), self.lang, now_ms=now), "leases")
        elif page.may("inference.leases"):
            self.draw_problem("inference.leases")
        else:
            self.draw_own_key()
        self._draw_leases(leases, now)
        self._draw_offer()
        self._draw_load()
        self._draw_growth()
        self._draw_servers()
        self._draw_costs()
        self.draw_ticks()
        self.draw_statements()
        self.draw_erasures(now)
        self.draw_keys()
        self.draw_registers()
        self.draw_sees()
        self.limits.tell(notes.heading(t("leases.limits")), *(notes.text(t(f"leases.limit.{one}"), meta=True) for one in ("root", "receipt", "member")))

    def _draw_leases(self, leases: Reply | None, now: int) -> None:
        t, one = self.page.t, self.lease
        self.words(self.leases, "leases.list")
        self.bar.heading = t("leases.bar")
        if leases is None:
            return
        self.put(
            self.leases, drawing.lease_columns(t, side="tenant"), drawing.lease_rows(leases["leases"], t, self.lang, self.party), heading="leases.list", empty="leases.none",
            hint=leases["calendar_zh" if self.lang == "zh" else "calendar_en"],
        )  # fmt: skip
        with self.bar.at_once():
            self.bar.notice = {"sentence": t("leases.none"), "todo": t("leases.todo.none")}
            for name, value in (drawing.bar(one, t, now_ms=now, releasable=self.page.may(RELEASE.operation)) if one is not None else {}).items():
                setattr(self.bar, name, value)
            self.bar.state = "done" if one is not None else "empty"
        if one is None:
            self.put(self.ticks, drawing.tick_columns(t), [], heading="leases.ticks", empty="leases.ticks.none")
        can_change = one is not None and one["state"] in ("ORDERED", "RUNNING")
        self.acting.offer([ORDER.operation, *([CHANGE.operation] if can_change else [])], **({"lease": one["lease"]} if one is not None else {}))
        if not can_change:
            self.releasing.offer([])
        self.offer_probe(one)
        told = self.told("inference.lease")
        if one is None or told is None or told["lease"]["lease"] != one["lease"]:
            self.inside.tell()
            return
        lines, changes = drawing.sandbox_lines(told, t, self.lang), drawing.change_lines(told, t, self.lang)
        self.inside.tell(
            notes.heading(t("leases.sandboxes"), formats.digest("SM3", told["digest"])), notes.bullets(lines) if lines else notes.text(t("leases.sandboxes.none"), meta=True),
            *([notes.bullets(changes, title=t("leases.changes"))] if changes else []),
        )  # fmt: skip

    def _draw_offer(self) -> None:
        t, found = self.page.t, self.told("inference.offer")
        self.words(self.pools, "catalogue")
        if found is None:
            self.offered.tell()
            return
        self.put(self.pools, catalogue.pool_columns(t), catalogue.pool_rows(found, t), heading="catalogue", empty="catalogue.none", hint=t("catalogue.of", party=self.party(found["provider"])))
        models = self.told("inference.models") or {}
        known = {one["id"]: f"{one['name']} {one['version']}" for one in models.get("images", [])}
        inside = sorted({*models.get("programs", []), *(one["program"] for one in models.get("images", []) if one["program"])})
        lines = catalogue.freeze_lines(found, t, self.lang)
        self.offered.tell(
            notes.facts(*catalogue.catalogue_facts(found, t, self.lang, images=catalogue.image_names(found, known, self.lang), programs=inside)),
            *([notes.bullets(lines, title=t("provider.freezes"), tone="pending")] if lines else []),
        )  # fmt: skip

    def _draw_growth(self) -> None:
        t, found = self.page.t, self.told("inference.scaling")
        self.growth.heading, self.growth.hint = t("growth"), t("growth.hint")
        self.words(self.grown, "growth.table")
        if found is None:
            return
        with self.growth.at_once():
            for name, value in catalogue.growth(found["by_cards"], t, self.lang).items():
                setattr(self.growth, name, value)
            self.growth.notice = {"sentence": t("growth.none"), "todo": t("growth.none.todo")}
            self.growth.state = "done" if found["by_cards"] else "empty"
        self.put(self.grown, catalogue.growth_columns(t), catalogue.growth_rows(found["by_cards"]), heading="growth.table", empty="growth.none", hint=t("growth.means"))

    def _draw_load(self) -> None:
        t, found = self.page.t, self.told("inference.scaling")
        self.chart.heading, self.chart.hint, self.chart.notice = t("leases.load") + (f" · {self.lease['lease']}" if self.lease is not None else ""), t("leases.load.hint"), self.chart.notice or {"sentence": t("leases.load.none")}
        self.words(self.decisions, "leases.decisions")
        if found is None:
            self.rule.tell()
            self.calendar.tell()
            return
        with self.chart.at_once():
            for name, value in drawing.load(found, t, self.lang).items():
                setattr(self.chart, name, value)
            self.chart.notice = {"sentence": t("leases.load.none")}
            self.chart.state = "done" if found["curve"] else "empty"
        self.put(self.decisions, [*drawing.decision_columns(t), {"key": "outcome", "label": t("leases.column.outcome"), "kind": "state"}],
            [{**row, "outcome": catalogue.outcome(one, t)} for row, one in zip(drawing.decision_rows(found, t, self.lang), found["decisions"], strict=True)], heading="leases.decisions", empty="leases.decisions.none")
        self.ruling.offer([one.operation for one in RULE_ACTS])
        self.ruling.defaults = {name: found[name] for name in ("least", "most", "queue_per_server", "wait_s", "cooldown_s")}
        self.rule.tell(notes.heading(t("leases.rule"), t("leases.rule.hint")), notes.facts(*drawing.rule_facts(found, t), *catalogue.outside_fact(found, t, self.lang)))

        self._draw_calendar(found)

    def _draw_calendar(self, found: Reply) -> None:
        t, schedule = self.page.t, found["schedule"]
        if schedule is None:
            self.calendar.tell()
            return
        images = {one["id"]: f"{one['name']} {one['version']}" for one in (self.told("inference.models") or {}).get("images", [])}
        state = "off" if not schedule["is_on"] else "on" if schedule["image"] else "empty"
        self.calendar.tell(
            notes.heading(t("leases.calendar"), t(f"leases.calendar.{state}")), notes.facts(*drawing.calendar_facts(schedule, t, self.lang, images)), notes.text(t(f"leases.calendar.{state}.means"), meta=True),
        )  # fmt: skip
        self.scheduling.defaults = {**schedule, "days": [str(one) for one in schedule["days"]], "peak": " ".join(schedule["peak"]), "closed": " ".join(schedule["closed"]), "most_cards": schedule["most_cards"] or 3}

    def _draw_servers(self) -> None:
        t, found = self.page.t, self.told("inference.servers")
        self.words(self.servers, "leases.servers")
        if found is not None:
            self.put(
                self.servers, drawing.server_columns(t, side="tenant"), drawing.server_rows(found, t, self.party, self.page.may), heading="leases.servers",
                empty="leases.servers.none", hint=t("leases.servers.hint"),
            )  # fmt: skip

    def _draw_costs(self) -> None:
        t, found = self.page.t, self.told("inference.costs")
        self.cost.heading = t("leases.cost")
        if found is None:
            return
        with self.cost.at_once():
            self.cost.points, self.cost.budget_fen = drawing.cost_points(found, t), found["budget_fen"]
            self.cost.hint = t("leases.cost.hint", money=formats.money(found["fen_per_ask"], self.lang)) if found["fen_per_ask"] else ""
            self.cost.notice = {"sentence": t("leases.cost.none")}
            self.cost.state = "done" if found["amount_fen"] or found["always_fen"] else "empty"


__all__ = ["LeasesPage"]
