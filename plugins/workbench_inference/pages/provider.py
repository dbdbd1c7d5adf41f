"""The page of a provider: cards, ciphertext by size, meters, receipts, and nothing of what was asked. Draws what `leases_drawing` says."""

from __future__ import annotations

import asyncio
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Acting
from workbench.app.parts.keys import Keys
from workbench.app.parts.notes import Notes
from workbench_inference.pages import leases_catalogue as catalogue
from workbench_inference.pages import leases_drawing as drawing
from workbench_inference.pages.leases_acts import PROVIDER_ACTS, SERVER_ACTS
from workbench_inference.pages.leases_parts import REFRESH_S, LeasingPage
from workbench_widgets import DataTable, KeyNumbers, formats
from workbench_widgets.panel_pane import pane


class ProviderPage(LeasingPage):
    """One opened tab."""

    def __init__(self, page: PageContext) -> None:
        super().__init__(page)
        self.numbers = KeyNumbers(large=True, framed=True, state="loading")
        self.servers.on_action(lambda _name, told: page.start(self._act, str(told.get("id", "")), str(told.get("name", ""))), "act")
        self.of_server = Acting(page, SERVER_ACTS, self._acted, from_row=True)
        self.of_server.offer([])
        self.leases.on_action(lambda _name, told: page.start(self._choose, str(told.get("id", ""))), "open")
        self.chosen = page.params.get("lease", "")
        self.acting = Acting(page, PROVIDER_ACTS, self._acted, choices=self._choices)
        self.tariff, self.limits = Notes(), Notes()
        self.pools, self.offered = DataTable(page_size=4, state="loading"), Notes()
        of = self.of
        keys = of("inference.service_keys", pane(self.keys), self.key_about, self.keying.root)
        main = layout.stack(
            *of("inference.servers", pane(self.numbers), pane(self.servers)), self.of_server.root, *of("inference.servers", pane(self.pools), self.offered),
            *of("inference.leases", pane(self.leases), layout.buttons(self.probe_button), self.probing.root, self.probed), *of("inference.meters", pane(self.ticks)),
            *of("inference.statements", pane(self.statements)), self.settling.root, self.registers.root, pane(self.sees), *(() if page.may("inference.servers") else keys),
        )  # fmt: skip
        side = layout.stack(
            *of("inference.erasures", pane(self.erasures), self.receipt), *of("inference.servers", self.tariff), self.acting.root, *(keys if page.may("inference.servers") else ()), self.limits,
        )  # fmt: skip
        self.root = layout.stack(self.head, pane(self.strip), layout.split(main, side, side_px=420), Keys(page, names=("rows", "escape")))
        page.on_look(self.draw)

    async def open(self) -> None:
        """Read once, then again every few seconds."""
        self.draw()
        await self.refresh()
        self.page.refresh_every(REFRESH_S, self.refresh)

    async def refresh(self) -> None:
        """Everything side by side."""
        await asyncio.gather(
            self.read("inference.servers", self.servers, self.numbers, self.pools), self.read("inference.leases", self.leases), self.read("inference.statements", self.statements),
            self.read("inference.erasures", self.erasures), self.read("inference.service_keys", self.keys),
            self.read("inference.duty", self.registers.duty), self.read("inference.risks", self.registers.risks),
        )  # fmt: skip
        await self._read_meters()
        self.draw()

    async def _read_meters(self) -> None:
        """Of the lease that is shown: the chosen one, else the first that runs."""
        one = drawing.chosen((self.told("inference.leases") or {}).get("leases", []), self.chosen)
        if one is None:
            self.found.pop("inference.meters", None)
        else:
            await self.read("inference.meters", self.ticks, lease=one["lease"])

    async def _choose(self, lease: str) -> None:
        self.chosen = lease
        await self._read_meters()
        self.draw()

    def _choices(self, name: str) -> dict[str, Any]:
        """Whose a server may be: anybody's, or one tenant's alone."""
        own = self.page.me["me"]["party"]
        tenants = {self.party(one): one for one, _, _ in self.page.me["parties"] if one != own}
        return {self.page.t("leases.pool.shared"): "", **tenants} if name == "dedicated" else {}

    async def _act(self, server: str, operation: str) -> None:
        if server and operation in self.of_server.acts:
            self.of_server.offer([operation], server=server)
            await self.of_server.open(operation)

    @property
    def now_ms(self) -> int:
        """Now, as far as what was read tells it."""
        leases = (self.told("inference.leases") or {}).get("leases", [])
        servers = (self.told("inference.servers") or {}).get("servers", [])
        running = [one["until_ms"] - 1000 * one["left_s"] for one in leases if one["state"] == "RUNNING"]
        return max([*running, *(one["ended_ms"] for one in leases), *(one["changed_ms"] for one in servers)], default=0)

    # ------------------------------------------------------------------ drawing

    def draw(self) -> None:
        """Every text and picture from what is known now."""
        page, t = self.page, self.page.t
        for component in (self.strip, self.numbers):
            component.lang = page.lang
        servers, leases, now = self.told("inference.servers"), self.told("inference.leases"), self.now_ms
        self.head.tell(notes.head(t("provider.title"), subject=t("provider.subject"), meta=t("leases.times")))
        if servers is not None and leases is not None:
            self.draw_answer(drawing.provider_verdict(servers, leases, self.lang, now_ms=now), "provider")
        elif page.may("inference.servers"):
            self.draw_problem("inference.servers", "inference.leases")
        else:
            self.draw_own_key()
        self.words(self.servers, "provider.servers")
        self.words(self.leases, "provider.leases")
        self.words(self.pools, "catalogue.offered")
        self.numbers.heading = t("provider.numbers")
        if servers is not None:
            self._draw_servers(servers)
        if leases is not None:
            self.put(
                self.leases, drawing.lease_columns(t, side="provider"), drawing.lease_rows(leases["leases"], t, self.lang, self.party), heading="provider.leases", empty="provider.leases.none"
            )
            if not leases["leases"]:
                self.put(self.ticks, drawing.tick_columns(t), [], heading="leases.ticks", empty="leases.ticks.none")
        self.offer_probe(drawing.chosen((leases or {}).get("leases", []), self.chosen))
        self.draw_keys()
        self.draw_registers()
        self.draw_sees()
        self.acting.offer([one.operation for one in PROVIDER_ACTS])
        self.draw_ticks()
        self.draw_statements()
        self.draw_erasures(now)
        self.limits.tell(notes.heading(t("leases.limits")), *(notes.text(t(f"provider.limit.{one}"), meta=True) for one in ("nothing", "root", "member")))

    def _draw_servers(self, servers: Any) -> None:  # Any: the reply of inference.servers
        t, page = self.page.t, self.page
        names = {"inference.server_clean": "provider.clean", "inference.server_drain": "provider.drain"}
        self.servers.row_actions = [{"name": name, "label": t(word)} for name, word in names.items() if page.may(name)]
        rows = drawing.server_rows(servers, t, self.party, page.may)
        self.put(self.servers, drawing.server_columns(t, side="provider"), rows, heading="provider.servers", empty="provider.servers.none", hint=t("leases.servers.hint"))
        self.put(self.pools, catalogue.pool_columns(t), catalogue.pool_rows(servers, t), heading="catalogue.offered", empty="catalogue.offered.none", hint=t("catalogue.offered.hint"))
        ready = t("catalogue.images_are", count=servers["images"]) if servers["images"] else ""
        self.offered.tell(notes.facts(*catalogue.catalogue_facts(servers, t, self.lang, images=ready, programs=servers["programs"])))
        with self.numbers.at_once():
            self.numbers.items = drawing.key_numbers(servers, self.told("inference.statements"), t, self.lang)
            self.numbers.state = "done"
        windows = [
            t("provider.freeze", start=formats.time(one["from_ms"], self.lang), until=formats.time(one["until_ms"], self.lang), reason=one["reason"]) for one in servers["freezes"]
        ]
        self.tariff.tell(
            notes.heading(t("provider.tariff")),
            notes.facts(
                (t("provider.price"), t("provider.price_is", money=formats.money(servers["fen_per_card_minute"], self.lang))),
                (t("provider.since"), formats.time(servers["tariff_since_ms"] or None, self.lang)), (t("provider.levels"), "、".join(servers["assurance"])),
            ),
            *([notes.bullets(windows, title=t("provider.freezes"))] if windows else [notes.text(t("provider.freezes.none"), meta=True)]),
        )  # fmt: skip


__all__ = ["ProviderPage"]
