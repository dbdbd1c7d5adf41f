"""Section Assessments: the list, and the one that is opened with what the node filled in and what people write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Acting
from workbench.app.parts.notes import Notes
from workbench.app.parts.sections import Section
from workbench_assessment.pages.forms import CASE_ACTS, DRAFT, SAVE, case_steps
from workbench_assessment.pages.records import basis
from workbench_widgets import DataTable, formats
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
CHIPS = {"DRAFT": "neutral", "SUBMITTED": "pending", "APPROVED": "sealed", "REVOKED": "refused"}


class Assessments(Section):
    """Readers see; compliance writes; another person approves."""

    name = "assessments"
    operation = "assessment.list"

    def __init__(self, page: PageContext, on_change: Callable[[], None]) -> None:
        super().__init__(page)
        self._changed = on_change
        self.found: Reply | None = None
        self.detail: Reply | None = None
        self.table = DataTable(page_size=20, openable=True, state="loading")
        self.table.on_action(lambda _name, told: page.start(self.look_at, str(told.get("id", ""))), "open")
        self.drafting = Acting(page, (DRAFT,), self._drafted, choices=self._choices)
        self.drafting.offer([DRAFT.operation])
        self.facts, self.lists, self.written = Notes(), Notes(), Notes()
        self.acting = Acting(page, CASE_ACTS, self._acted)
        self.acting.offer([])
        side = layout.stack(self.facts, self.lists)
        self.root = layout.stack(
            self.drafting.root, pane(self.table), layout.split(layout.stack(self.acting.root, self.written), side, side_px=480)
        )

    def _choices(self, name: str) -> Mapping[str, Any]:
        return self.purposes() if name == "purpose" else self.others()

    async def read(self) -> None:
        self.found = await self.page.run(self.page.client.call, "assessment.list")
        self.draw()
        self._changed()

    async def look_at(self, assessment: str) -> None:
        """Open one."""
        if assessment:
            self.detail = await self.page.run(self.page.client.call, "assessment.get", assessment=assessment)
            self.draw()
            self.written.take_focus()

    async def _drafted(self, _operation: str, reply: Reply) -> None:
        self.detail = reply
        await self.read()

    async def _acted(self, operation: str, reply: Reply) -> None:
        if operation != "assessment.export":
            self.detail = reply
            await self.read()

    async def write(self) -> None:
        """Open the form with what is written already."""
        await self.acting.open(SAVE.operation)

    # ------------------------------------------------------------------ drawing

    @property
    def _lang(self) -> formats.Lang:
        return "zh" if self.page.lang == "zh" else "en"

    def draw(self) -> None:
        t, found = self.t, self.found
        self.table.lang = self.page.lang
        self.table.heading = t("assessments.title")
        self.table.notice = {"sentence": t("assessments.none")}
        self._draw_case()
        if found is None:
            return
        self.table.hint = t(f"stage.{found['stage']}")
        self.table.columns = [
            {"key": "assessment", "label": t("column.number"), "kind": "mono"}, {"key": "purpose", "label": t("field.purpose")},
            {"key": "recipient", "label": t("field.recipient"), "kind": "party"}, {"key": "data_class", "label": t("column.class")},
            {"key": "state", "label": t("column.state"), "kind": "state"}, {"key": "conclusion", "label": t("field.conclusion")},
            {"key": "people", "label": t("column.people")}, {"key": "until", "label": t("column.until"), "kind": "time"},
        ]  # fmt: skip
        self.table.rows = [
            {
                "id": one["assessment"], "assessment": one["assessment"], "purpose": self.both(one, "purpose"), "recipient": self.tile(one["recipient"]),
                "data_class": one["data_class"],
                "state": {"state": CHIPS.get(one["state"], "neutral"), "label": self.both(one, "state") + ("" if one["covers"] or one["state"] != "APPROVED" else t("assessments.over"))},
                "conclusion": self.both(one, "conclusion"), "people": t("column.two", first=one["submitted_by"] or one["created_by"], second=one["approved_by"] or "—"),
                "until": one["until_ms"] or None,
            }
            for one in found["assessments"]
        ]  # fmt: skip
        self.table.total = len(self.table.rows)
        self.table.state = "done" if self.table.rows else "empty"

    def _draw_case(self) -> None:
        t, detail = self.t, self.detail
        if detail is None:
            self.facts.tell(notes.text(t("case.choose")))
            self.lists.tell()
            self.written.tell()
            self.acting.offer([])
            return
        info = detail["info"]
        self.facts.tell(
            notes.heading(t("case.title", number=info["assessment"]), self.both(info, "state")),
            notes.facts(
                (t("field.purpose"), self.both(info, "purpose")), (t("field.recipient"), self.both(info, "recipient")), (t("field.job"), detail["job"], "mono"),
                (t("case.rule"), detail["rule"]), (t("case.columns"), "、".join(detail["columns"])), (t("column.class"), info["data_class"]),
                (t("case.keep"), formats.date(info["keep_until_ms"], self._lang) if info["keep_until_ms"] else ""), (t("case.digest"), info["digest"], "mono"),
            ),
            notes.bullets([self.both(one) for one in detail["grounds"]], title=t("case.grounds")),
            notes.bullets([self.both(one) for one in detail["directions"]], title=t("case.directions")),
            notes.bullets([self.both(one) for one in detail["measures_in_force"]], title=t("case.in_force"), mark="yes"),
        )  # fmt: skip
        named = [
            t("case.list", name=one["name"], rows=formats.count(one["rows"], self._lang), source=one["source"], basis=basis(self, one["lawful_basis"]), data_class=one["data_class"])
            for one in detail["lists"]
        ]
        self.lists.tell(*([notes.bullets(named, title=t("case.lists"))] if named else []), notes.text(t("case.prefilled"), meta=True))
        self._draw_written(detail)
        mine = info["submitted_by"] == self.page.me["me"]["display_name"]
        self.acting.offer(case_steps(info["state"], complete=not detail["lacking"], mine=mine), assessment=info["assessment"])
        self.acting.defaults = {one.name: detail[one.name] for one in SAVE.fields}

    def _draw_written(self, detail: Reply) -> None:
        t = self.t
        lacking = [self.both(one) for one in detail["lacking"]]
        head = notes.heading(t("case.missing", count=len(lacking)) if lacking else t("case.complete"))
        conclusion = t(f"option.conclusion.{detail['conclusion']}") if detail["conclusion"] else ""
        self.written.tell(
            head, *([notes.bullets(lacking, mark="no", tone="refused")] if lacking else []),
            notes.facts(
                *((self.both(one), detail[one["field"]]) for one in detail["points"]), (t("field.risk"), self.both(detail, "risk")),
                (t("field.residual"), detail["residual"]), (t("field.conclusion"), conclusion), (t("field.conditions"), detail["conditions"]),
            ),
            notes.text(t("case.law"), meta=True),
        )  # fmt: skip


__all__ = ["CHIPS", "Assessments"]
