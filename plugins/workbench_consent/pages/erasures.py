"""Section Erasure: take a customer out for good, see what each owner did, and until when the rest is set aside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Acting
from workbench.app.parts.notes import Notes
from workbench_consent.pages.forms import CONFIRM_ERASURE, ERASE
from workbench_consent.pages.section import Section
from workbench_widgets import DataTable, formats
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
CHIPS = {"WAITING": "pending", "RUNNING": "running", "RESTRICTED": "sealed", "ERASED": "sealed", "EXPIRED": "neutral"}
REFRESH_S = 10.0
MEANT = frozenset({"suppression"})
"""What stays because the law of the thing is to stay: without its tokens a later file would bring the person back."""


class Erasures(Section):
    """For compliance: the form and one row a request; auditors see the rows. Nobody's identifier is shown."""

    name = "erasures"
    operation = "customers.erasures"

    def __init__(self, page: PageContext) -> None:
        super().__init__(page)
        self.found: Reply | None = None
        self.chosen = ""
        self.acting = Acting(page, (ERASE,), self._acted)
        self.acting.offer([ERASE.operation])
        self.confirming = Acting(page, (CONFIRM_ERASURE,), self._acted, from_row=True)
        self.confirming.offer([])
        self.explained, self.told = Notes(), Notes()
        self.table = DataTable(page_size=20, openable=True, state="loading")
        self.table.on_action(lambda _name, told: self.look_at(str(told.get("id", ""))), "open")
        self.table.on_action(lambda _name, told: page.start(self._confirm, str(told.get("id", ""))), "act")
        self.report = DataTable(page_size=50, state="empty")
        self.set_aside = DataTable(page_size=20, state="empty")
        self.of_one = layout.stack(self.told, pane(self.report), pane(self.set_aside))
        self.of_one.visible = False
        self.root = layout.stack(self.acting.root, self.explained, self.confirming.root, pane(self.table), self.of_one)

    async def read(self) -> None:
        await self._fetch()
        self.page.refresh_every(REFRESH_S, self._fetch)

    async def _fetch(self) -> None:
        self.found = await self.page.run(self.page.client.call, "customers.erasures")
        self.draw()

    def look_at(self, request: str) -> None:
        """Show the report of one."""
        self.chosen = request
        self.draw()
        self.told.take_focus()

    async def _acted(self, _operation: str, reply: Reply) -> None:
        self.chosen = str(reply["request"])
        self.confirming.offer([])
        await self._fetch()

    async def _confirm(self, request: str) -> None:
        self.confirming.offer([CONFIRM_ERASURE.operation], request=request)
        await self.confirming.open(CONFIRM_ERASURE.operation)

    # ------------------------------------------------------------------ drawing

    def draw(self) -> None:
        t, words, found = self.t, self.words, self.found
        self.look(self.table, self.report, self.set_aside)
        self.explained.tell(notes.text(t("erasures.explained")), notes.text(t("erasures.cannot"), meta=True))
        self.table.heading, self.table.notice = t("erasures.title"), {"sentence": t("erasures.none")}
        if found is None:
            return
        may = self.page.may(CONFIRM_ERASURE.operation)
        self.table.row_actions = [{"name": "confirm", "label": t(f"act.{CONFIRM_ERASURE.operation}")}]
        self.table.columns = [
            {"key": "request", "label": t("erasures.request"), "kind": "mono"}, {"key": "at", "label": t("withdraw.when"), "kind": "time"},
            {"key": "state", "label": t("notice.state"), "kind": "state"}, {"key": "erased", "label": t("erasures.erased"), "kind": "count"},
            {"key": "restricted", "label": t("erasures.restricted"), "kind": "count"}, {"key": "left", "label": t("erasures.left"), "kind": "count"},
            {"key": "until", "label": t("erasures.until"), "kind": "date"},
        ]  # fmt: skip
        self.table.rows = [
            {
                "id": one["request"], "request": one["request"], "at": one["created_ms"],
                "state": self._state(one), "left": _left(one) if one["findings"] else None,
                **{name: sum(row[name] for row in one["findings"]) if one["findings"] else None for name in ("erased", "restricted")},
                "until": one["until_ms"] or None, "can": ["confirm"] if may and one["state"] == "WAITING" else [],
            }
            for one in found["erasures"]
        ]  # fmt: skip
        self.table.total = len(self.table.rows)
        self.table.state = "done" if self.table.rows else "empty"
        self._draw_report(next((one for one in found["erasures"] if one["request"] == self.chosen), None))
        self.of_one.visible = any(one["request"] == self.chosen for one in found["erasures"])
        self.table.hint = t("erasures.count", count=words.count(len(self.table.rows)))

    def _state(self, one: Reply) -> dict[str, Any]:
        """What somebody still has to look for is no sealed end, whatever else was erased."""
        left = _left(one)
        if left and one["state"] in ("RESTRICTED", "ERASED"):
            return {"state": "failed", "label": self.t("erasures.found_still", count=self.words.count(left))}
        return {"state": CHIPS.get(one["state"], "neutral"), "label": self.t(f"erasure.{one['state']}")}

    def _draw_report(self, one: Reply | None) -> None:
        if one is None:
            return
        t, words = self.t, self.words
        left = _left(one)
        said = t("erasures.stays", count=words.count(left)) if left else t("erasures.nothing_left")
        searched = one["state"] in ("RESTRICTED", "ERASED")
        self.told.tell(
            notes.heading(one["request"], t(f"erasure.{one['state']}")),
            *([notes.text(said, tone="refused" if left else "sealed")] if searched else []),
            *([] if one["log_emptied"] else [notes.text(t("erasures.log_full"), tone="pending")]),
        )
        self.report.heading, self.report.notice = t("erasures.report"), {"sentence": t("erasures.no_report")}
        self.report.columns = [
            {"key": "owner", "label": t("erasures.owner"), "kind": "mono"}, {"key": "what", "label": t("erasures.what")},
            {"key": "found", "label": t("erasures.found"), "kind": "count"}, {"key": "erased", "label": t("erasures.erased"), "kind": "count"},
            {"key": "restricted", "label": t("erasures.restricted"), "kind": "count"}, {"key": "left", "label": t("erasures.left"), "kind": "count"},
        ]  # fmt: skip
        self.report.rows = [
            {"owner": row["owner"], "what": _what(words.both(row) or row["what"], row), **{name: row[name] for name in ("found", "erased", "restricted", "left")}}
            for row in one["findings"]
        ]  # fmt: skip
        self.report.total = len(self.report.rows)
        self.report.state = "done" if self.report.rows else "empty"
        self.set_aside.heading, self.set_aside.notice = t("erasures.set_aside"), {"sentence": t("erasures.none_set_aside")}
        self.set_aside.columns = [
            {"key": "restriction", "label": t("erasures.restriction"), "kind": "mono"}, {"key": "kind", "label": t("erasures.kind"), "kind": "mono"},
            {"key": "items", "label": t("erasures.items"), "kind": "count"}, {"key": "basis", "label": t("erasures.basis")},
            {"key": "until", "label": t("erasures.until")},
        ]  # fmt: skip
        self.set_aside.rows = [
            {
                "restriction": row["restriction"], "kind": row["kind"], "items": row["items"], "basis": words.both(row, "basis_zh", "basis_en"),
                "until": formats.date(row["until_ms"], words.lang),
            }
            for row in one["restrictions"]
        ]  # fmt: skip
        self.set_aside.total = len(self.set_aside.rows)
        self.set_aside.state = "done" if self.set_aside.rows else "empty"


def _what(text: str, row: Reply) -> str:
    """What was found, and where that which is left lies: lists, jobs or files, which people then look at."""
    return f"{text}: {'; '.join(row['names'])}" if row["left"] and row["names"] else text


def _left(one: Reply) -> int:
    """How many places still hold the customer though they should not."""
    return sum(int(row["left"]) for row in one["findings"] if row["what"] not in MEANT)


__all__ = ["CHIPS", "Erasures"]
