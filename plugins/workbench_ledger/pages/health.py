"""The page Health: what is broken, and who goes to repair it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import panel as pn

from workbench.app.page import PageContext
from workbench.app.parts.keys import Keys
from workbench_ledger.pages import agenda
from workbench_ledger.pages.home import COLUMNS
from workbench_ledger.pages.inspector import GAPS
from workbench_ledger.pages.words import Words, words_of
from workbench_widgets import AnswerStrip, DataTable, KeyNumbers, NodeHealth
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
REFRESH_S = 3.0


class HealthPage:
    """One opened tab."""

    def __init__(self, page: PageContext) -> None:
        self.page = page
        self.status: Reply | None = None
        self.answer = page.follow(AnswerStrip(state="loading"))
        self.numbers = page.follow(KeyNumbers())
        self.nodes = page.follow(NodeHealth(state="loading"))
        self.checks = page.follow(DataTable(page_size=20, state="loading"))
        self.plugins = page.follow(DataTable(page_size=20))
        page.on_look(self.draw)

    def view(self) -> pn.viewable.Viewable:
        """Answer, numbers, then checks beside nodes and plugins."""
        left = pn.Column(pane(self.checks, margin=0), sizing_mode="stretch_width", margin=0, stylesheets=[GAPS])
        right = pn.Column(
            pane(self.nodes, margin=0), pane(self.plugins, margin=0), sizing_mode="stretch_width", margin=0, stylesheets=[GAPS]
        )
        return pn.Column(
            pane(self.answer, margin=0), pane(self.numbers, margin=0),
            pn.Column(left, right, sizing_mode="stretch_width", margin=0, stylesheets=[COLUMNS]),
            Keys(self.page, names=("rows", "escape")),
            sizing_mode="stretch_width", margin=0, stylesheets=[GAPS],
        )  # fmt: skip

    async def open(self) -> None:
        """Read, show, and keep looking."""
        await self.look()
        self.page.refresh_every(REFRESH_S, self.look)

    async def look(self) -> None:
        """What has changed."""
        self.status = await self.page.run(self.page.client.call, "node.status")
        self.draw()

    def draw(self) -> None:
        """Everything again from what is known."""
        status, words = self.status, words_of(self.page)
        if status is None:
            return
        t = words.t
        with self.answer.at_once():
            self._draw_answer(words, status)
        well = sum(1 for one in status["nodes"] if one["state"] == "ok")
        self.numbers.items = [
            {"value": f"{well}/{len(status['nodes'])}", "label": t("health.nodes")},
            {"value": int(status["sealed"]), "label": t("numbers.sealed"), "state": "sealed"},
            {"value": int(status["pending"]), "label": t("numbers.pending"), **({"state": "pending"} if status["pending"] else {})},
            {"value": len(status["running"]), "label": t("health.running")},
        ]
        self.nodes.heading, self.nodes.nodes, self.nodes.state = t("nodes"), agenda.node_rows(status, words), "done"
        self.checks.heading = t("health.checks")
        self.checks.columns = [
            {"key": "state", "label": t("home.state"), "kind": "state"}, {"key": "told", "label": t("health.found")},
            {"key": "owner", "label": t("health.owner")},
        ]  # fmt: skip
        self.checks.rows = [
            {"state": self._chip(str(one["state"]), words), "told": words.named(words.both(one)), "owner": agenda.owner(str(one["owner"]), words)}
            for one in sorted(status["health"], key=lambda one: one["state"] == "ok")
        ]
        self.checks.state = "done" if status["health"] else "empty"
        self.plugins.heading = t("health.plugins")
        self.plugins.columns = [
            {"key": "name", "label": t("health.plugin"), "kind": "mono"}, {"key": "version", "label": t("health.version")},
            {"key": "state", "label": t("home.state"), "kind": "state"},
        ]  # fmt: skip
        self.plugins.rows = [
            {"name": one["name"], "version": one["version"], "state": self._chip(str(one["state"]), words)} for one in status["plugins"]
        ]

    def _draw_answer(self, words: Words, status: Reply) -> None:
        strip, t = self.answer, words.t
        count = agenda.out_of_order(status)
        if not count:
            strip.sentence, strip.reason, strip.todo, strip.state = t("health.fine"), t("health.fine_reason"), "", "sealed"
            self.page.notify_lab(title="")
            return
        away = [one for one in status["nodes"] if one["state"] != "ok"]
        lines = [one for one in status["health"] if one["state"] != "ok"]
        plugins = agenda.broken_plugins(status)
        if away:
            reason = t("due.node", party=words.party(away[0]["party"]), problem=agenda.problem_of(away[0], words))
            todo = t("health.call", own=words.party(words.own), party=words.party(away[0]["party"]))
        elif lines:
            reason, todo = words.named(words.both(lines[0])), t("health.looks", owner=agenda.owner(str(lines[0]["owner"]), words))
        else:
            reason, todo = t("due.plugin", name=plugins[0]["name"]), t("health.looks", owner=agenda.owner("admin", words))
        is_broken = away or plugins or any(one["state"] == "failed" for one in lines)  # what only warns is not red
        strip.sentence, strip.reason, strip.todo = t("health.broken", count=words.count(count)), reason, todo
        strip.state = "failed" if is_broken else "pending"
        self.page.notify_lab(title=t("tab.health", count=words.count(count)))

    @staticmethod
    def _chip(state: str, words: Words) -> dict[str, str]:
        kind = {"ok": "done", "warning": "pending"}.get(state, "failed")
        return {"state": kind, "label": words.maybe(f"health.{state}", state)}


__all__ = ["HealthPage"]
