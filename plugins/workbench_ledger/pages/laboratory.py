"""The attack laboratory: in demonstration and test workspaces staff try to cheat on a copy, and see where it is found.

The attacks are the node's (attack.list, attack.run); where a node has none, or a role may not run them, there is no panel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import panel as pn

from workbench.app.page import PageContext
from workbench.errors import WorkbenchError
from workbench_ledger.pages.browser import Card, Later, meta, pair
from workbench_ledger.pages.inspector import GAPS, diff_rows
from workbench_ledger.pages.words import Words
from workbench_widgets import FieldDiff

Reply = Mapping[str, Any]


class Laboratory:
    """A panel of buttons, and what the last attack came to."""

    def __init__(self, page: PageContext, words: Callable[[], Words]) -> None:
        self._page, self._words = page, words
        self.attacks: list[Reply] = []
        self.outcome: Reply | None = None
        self._running = ""
        self.panel = Card(lambda name: page.start(self.run, name))
        self.told = Card()
        self.diff = page.follow(FieldDiff())
        self._diff_pane = Later(self.diff)
        inside = pn.Column(self.panel, self.told, self._diff_pane.view, sizing_mode="stretch_width", margin=0, stylesheets=[GAPS])
        self.view = pn.Column(inside, sizing_mode="stretch_width", margin=0, visible=False)

    async def open(self) -> None:
        """Ask which attacks there are; production workspaces and other roles have none."""
        if self._page.me["workspace"] == "production" or not (self._page.may("attack.list") and self._page.may("attack.run")):
            return
        self.attacks = list((await self._page.run(self._page.client.call, "attack.list"))["attacks"])
        self.draw()

    async def run(self, name: str) -> None:
        """Rehearse one attack and show what was found."""
        if self._running or name not in {str(one["name"]) for one in self.attacks}:
            return
        self._running = name
        self.draw()
        try:
            self.outcome = await self._page.run(self._page.client.call, "attack.run", name=name)
        except WorkbenchError:
            self.outcome = None
            raise
        finally:
            self._running = ""
            self.draw()
        self.told.take_focus()

    def _finding(self) -> Reply | None:
        """The first finding that says where the attack was noticed; one with an entry before one without."""
        found: Sequence[Reply] = list(self.outcome.get("findings", [])) if self.outcome else []
        return next((one for one in found if one.get("index") is not None), found[0] if found else None)

    def draw(self) -> None:
        """The panel in the language of this moment."""
        self.view.visible = bool(self.attacks)
        if not self.attacks:
            return
        words = self._words()
        t = words.t
        actions = [
            {"name": str(one["name"]), "label": words.both(one), "disabled": bool(self._running) or one.get("possible") is False}
            for one in self.attacks
        ]
        lines = [meta(t("lab.running" if self._running else "lab.hint"))]
        self.panel.tell(t("lab"), lines, actions=actions, folds=True, is_open=True, chip=("pending", t("lab.only_here")))
        self._draw_outcome(words)

    def _draw_outcome(self, words: Words) -> None:
        t, outcome = words.t, self.outcome
        if outcome is None:
            self.told.clear()
            self._diff_pane.visible = False
            return
        done = next((words.both(one) for one in self.attacks if one["name"] == outcome.get("name")), str(outcome.get("name", "")))
        finding = self._finding()
        comparisons = [one for one in outcome.get("comparisons", []) if one.get("rows")]
        lines = [meta(words.named(words.both(outcome)))] if outcome.get(words.lang) else []
        if finding is None:
            self.told.tell(t("lab.not_found", attack=done), [*lines, meta(t("lab.not_found_reason"))], chip=("pending", t("lab.open")))
        else:
            where = words.place(finding) if finding.get("index") is not None else words.party(str(finding["log"]))
            lines += [
                pair(t("findings.place"), where), pair(t("findings.problem"), words.problem(str(finding["problem"]))),
                pair(t("lab.field"), _field(finding, comparisons, words) or t("lab.no_field")),
                pair(t("lab.who"), words.party(str(finding.get("party") or finding["log"]))),
                pair(t("findings.told"), words.named(words.both(finding))),
            ]  # fmt: skip
            self.told.tell(t("lab.found", attack=done), lines, chip=("tampered", t("lab.located")))
        self._diff_pane.visible = bool(comparisons)
        if comparisons:
            self.diff.heading = t("lab.diff", place=words.place(comparisons[0]))
            self.diff.here_label = t("lab.here")
            others = [party for party, state in comparisons[0]["copies"].items() if state == "cosigned"]
            self.diff.cosigned_label = t("diff.cosigned", tiles=words.letters(others))
            self.diff.rows = diff_rows(comparisons[0]["rows"], words)


def _field(finding: Reply, comparisons: Sequence[Reply], words: Words) -> str:
    """What staff call the field that a finding names; its id where no comparison explains it."""
    name = str(finding.get("field") or "")
    rows = [row for one in comparisons if (one["log"], one["index"]) == (finding["log"], finding["index"]) for row in one["rows"]]
    return next((words.both(row) for row in rows if row["name"] == name), words.party(name))


__all__ = ["Laboratory"]
