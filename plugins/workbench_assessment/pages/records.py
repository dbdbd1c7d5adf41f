"""Sections Processing records and Breaches: what was processed and for whom; whom a breach affects, in a drill too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Acting
from workbench.app.parts.notes import Notes
from workbench.app.parts.sections import Section
from workbench_assessment.pages.forms import BREACH_ACTS, OPEN, RECORDS, breach_steps
from workbench_widgets import DataTable, formats
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
SHOWN = 500


def basis(section: Section, code: str) -> str:
    """A lawful basis in words; a code of an institution's own stands for itself."""
    try:
        return section.t(f"basis.{code}")
    except KeyError:
        return code


class Records(Section):
    """One row an intersection that provided or received personal data."""

    name = "records"
    operation = "assessment.records"

    def __init__(self, page: PageContext) -> None:
        super().__init__(page)
        self.found: Reply | None = None
        self.table = DataTable(page_size=25, state="loading")
        self.acting = Acting(page, (RECORDS,), lambda _operation, _reply: None)
        self.acting.offer([RECORDS.operation])
        self.root = layout.stack(self.acting.root, pane(self.table))

    async def read(self) -> None:
        self.found = await self.page.run(self.page.client.call, "assessment.records", limit=SHOWN)
        self.draw()

    def draw(self) -> None:
        t, found = self.t, self.found
        self.table.lang = self.page.lang
        self.table.heading, self.table.notice = t("records.title"), {"sentence": t("records.none")}
        if found is None:
            return
        lang: formats.Lang = "zh" if self.page.lang == "zh" else "en"
        self.table.hint = t("records.hint", total=formats.count(found["total"], lang), persons=formats.count(found["persons"], lang))
        self.table.columns = [
            {"key": "job", "label": t("field.job"), "kind": "mono"}, {"key": "at", "label": t("records.at"), "kind": "time"},
            {"key": "partner", "label": t("records.partner"), "kind": "party"}, {"key": "purpose", "label": t("field.purpose")},
            {"key": "persons", "label": t("records.persons"), "kind": "count"}, {"key": "basis", "label": t("records.basis")},
            {"key": "exports", "label": t("records.exports"), "kind": "count"}, {"key": "assessment", "label": t("records.assessment"), "kind": "mono"},
            {"key": "keep", "label": t("case.keep"), "kind": "mono"},
        ]  # fmt: skip
        self.table.rows = [
            {
                "id": one["job"], "job": one["job"], "at": one["at_ms"], "partner": self.tile(one["partner"]), "purpose": self.both(one, "purpose"),
                "persons": one["persons"], "basis": basis(self, one["lawful_basis"]), "exports": one["exports"], "assessment": one["assessment"] or "—",
                "keep": one["keep_until"][:10],
            }
            for one in found["records"]
        ]  # fmt: skip
        self.table.total = len(self.table.rows)
        self.table.state = "done" if self.table.rows else "empty"


class Breaches(Section):
    """Breaches and drills; nothing is sent from here, drafts are files."""

    name = "breaches"
    operation = "breach.list"

    def __init__(self, page: PageContext) -> None:
        super().__init__(page)
        self.found: Reply | None = None
        self.chosen: Reply | None = None
        self.affected: Reply | None = None
        self.list_ids: dict[str, str] = {}
        self.table = DataTable(page_size=20, openable=True, state="loading")
        self.table.on_action(lambda _name, told: self.look_at(str(told.get("id", ""))), "open")
        self.opening = Acting(page, (OPEN,), self._opened, choices=lambda _name: self.list_ids)
        self.opening.offer([OPEN.operation])
        self.acting = Acting(page, BREACH_ACTS, self._acted)
        self.acting.offer([])
        self.told = Notes()
        self.places = DataTable(page_size=50, state="empty")
        self.of_case = layout.stack(self.told, self.acting.root, pane(self.places))
        self.of_case.visible = False
        self.root = layout.stack(self.opening.root, pane(self.table), self.of_case)

    async def read(self) -> None:
        page = self.page
        self.found = await page.run(page.client.call, "breach.list")
        if page.may("lists.all"):
            self.list_ids = {one["name"]: one["list_id"] for one in (await page.run(page.client.call, "lists.all"))["lists"]}
        self.draw()

    def look_at(self, breach: str) -> None:
        """Open one; who is affected is looked for only when asked, and the search is an entry."""
        rows = self.found["breaches"] if self.found else []
        self.chosen = next((one for one in rows if one["breach"] == breach), None)
        self.affected = None
        self.draw()
        self.told.take_focus()

    async def _opened(self, _operation: str, reply: Reply) -> None:
        await self.read()
        self.look_at(str(reply["breach"]))

    async def _acted(self, operation: str, reply: Reply) -> None:
        if operation == "breach.affected":
            self.affected = reply
        self.chosen = reply if operation == "breach.close" else reply["info"]
        await self.read()

    # ------------------------------------------------------------------ drawing

    def draw(self) -> None:
        t, found = self.t, self.found
        self.table.lang = self.places.lang = self.page.lang
        self.table.heading, self.table.notice = t("breaches.title"), {"sentence": t("breaches.none")}
        self._draw_case()
        if found is None:
            return
        self.table.hint = t("breaches.hint", open=found["open"])
        self.table.columns = [
            {"key": "breach", "label": t("column.number"), "kind": "mono"}, {"key": "kind", "label": t("field.kind")},
            {"key": "state", "label": t("column.state"), "kind": "state"}, {"key": "at", "label": t("breaches.at"), "kind": "time"},
            {"key": "by", "label": t("breaches.by")}, {"key": "persons", "label": t("breaches.persons"), "kind": "count"},
            {"key": "letters", "label": t("breaches.letters"), "kind": "time"},
        ]  # fmt: skip
        self.table.rows = [
            {
                "id": one["breach"], "breach": one["breach"], "kind": self.both(one, "kind"),
                "state": {"state": "pending", "label": t("breaches.open")} if one["state"] == "OPEN" else {"state": "sealed", "label": t("breaches.closed")},
                "at": one["opened_ms"], "by": one["opened_by"], "persons": one["persons"] if one["persons"] >= 0 else None,
                "letters": one["letters_ms"] or None,
            }
            for one in found["breaches"]
        ]  # fmt: skip
        self.table.total = len(self.table.rows)
        self.table.state = "done" if self.table.rows else "empty"

    def _draw_case(self) -> None:
        t, chosen, affected = self.t, self.chosen, self.affected
        self.of_case.visible = chosen is not None
        if chosen is None:
            return
        self.acting.offer(breach_steps(chosen), breach=chosen["breach"])
        lang: formats.Lang = "zh" if self.page.lang == "zh" else "en"
        persons = formats.count(chosen["persons"], lang) if chosen["persons"] >= 0 else ""
        blocks = [
            notes.heading(t("case.title", number=chosen["breach"]), self.both(chosen, "kind")),
            notes.facts((t("breaches.persons"), persons), *(
                [
                    (t("field.what"), affected["what"]), (t("breaches.unfound"), formats.count(affected["unfound"], lang) if affected["unfound"] else ""),
                    (t("breaches.categories"), "、".join(affected["categories"])), (t("field.report"), affected["report"]), (t("field.plan"), affected["plan"]),
                ] if affected else []
            )),
        ]  # fmt: skip
        self.told.tell(*blocks, notes.text(t("breaches.law"), meta=True))
        self.places.heading, self.places.notice = t("places.title"), {"sentence": t("places.none")}
        self.places.columns = [
            {"key": "what", "label": t("places.what")}, {"key": "name", "label": t("column.number"), "kind": "mono"},
            {"key": "told", "label": t("places.told"), "kind": "count"}, {"key": "found", "label": t("places.found"), "kind": "count"},
            {"key": "state", "label": t("column.state"), "kind": "state"},
        ]  # fmt: skip
        self.places.rows = [
            {
                "id": one["name"], "what": self.both(one), "name": one["name"], "told": one["told"] if one["told"] >= 0 else None, "found": one["found"],
                "state": {"state": "pending", "label": t("places.differs")} if one["differs"] else {"state": "sealed", "label": t("places.agrees")},
            }
            for one in (affected["places"] if affected else [])
        ]  # fmt: skip
        self.places.total = len(self.places.rows)
        self.places.state = "done" if self.places.rows else "empty"


__all__ = ["Breaches", "Records", "basis"]
