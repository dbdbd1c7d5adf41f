"""All intersections of this institution: what runs, what was released, what ended without a result."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import panel as pn

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.notes import Notes
from workbench_psi.pages import rows
from workbench_psi.pages.answers import Action, Answer
from workbench_psi.pages.keeping import draft_columns, draft_rows
from workbench_psi.pages.names import OPEN_STATES
from workbench_psi.pages.view import Navigator, View, origin_badge
from workbench_widgets import DataTable, formats
from workbench_widgets.panel_pane import pane

POLL_S = 2.0
DAY_MS = 86_400_000
PERIODS = {"any": 0, "day": 1, "week": 7, "month": 30}
"""Days back, 0 for no limit."""


class History(View):
    """The first view of the page."""

    def __init__(self, page: PageContext, go: Navigator) -> None:
        super().__init__(page)
        self._go, self._drawing = go, False
        self._jobs: list[Mapping[str, Any]] | None = None
        self.head = Notes(framed=False)
        self.table = DataTable(openable=True, page_size=15, state="loading")
        self.table.on_action(lambda _name, told: go.job(str(told.get("id", ""))), "open")
        self.table.on_action(lambda _name, told: self._copy(str(told.get("id", ""))), "act")
        self._drafts: list[Mapping[str, Any]] = []
        self.drafts = DataTable(page_size=5)
        self.drafts.on_action(lambda _name, told: page.start(self._with_draft, str(told.get("id", "")), str(told.get("name", ""))), "act")
        self._drafts_pane = pane(self.drafts, visible=False)
        self.group = layout.select(page, "history.filter_state", options={})
        self.partner = layout.select(page, "history.filter_partner", options={})
        self.period = layout.select(page, "history.filter_period", options={})
        self.search = layout.field(pn.widgets.TextInput, page, "history.search", css_classes=["wb-search"])
        for widget in (self.group, self.partner, self.period):
            widget.param.watch(lambda _event: None if self._drawing else self.draw(), "value")
        self.search.param.watch(lambda _event: self.draw(), "value_input")
        first = layout.first_line(self.head, origin_badge(page))
        self.filters = layout.card(layout.fields(self.search, self.group, self.partner, self.period))
        self.root = layout.stack(first, pane(self.strip), self._drafts_pane, self.filters, pane(self.table))

    async def open(self) -> None:
        await self._read_drafts()
        await self._read()
        self.every(POLL_S, self._read)

    async def _read(self) -> None:
        page = self.page
        self._jobs = list((await page.run(page.client.call, "intersection.jobs")).jobs)
        self.draw()

    async def _read_drafts(self) -> None:
        page = self.page
        if page.may("intersection.draft_get"):
            self._drafts = list((await page.run(page.client.call, "intersection.draft_get")).drafts)

    def _copy(self, job: str) -> None:
        """The button "copy as new" of a row."""
        found = next((one for one in self._jobs or [] if one["job"] == job), None)
        if found is not None and self.page.may("intersection.propose"):
            self._go.wizard(found)

    async def _with_draft(self, draft: str, wanted: str) -> None:
        """Go on with a draft, or let the node forget it."""
        page = self.page
        found = next((one for one in self._drafts if one["draft"] == draft), None)
        if found is None:
            return
        if wanted == "continue":
            self._go.wizard(draft=found)
        elif wanted == "discard":
            await page.run(page.client.call, "intersection.draft_discard", draft=draft)
            await self._read_drafts()
            self.draw()
            self.strip.take_focus()

    def draw(self) -> None:
        t, names, jobs = self.t, self.names, self._jobs
        if jobs is None:
            return
        self._drawing = True
        layout.set_options(self.group, {t(f"group.{one}"): one for one in rows.GROUPS})
        layout.set_options(self.partner, {t("history.all_partners"): "", **{names.party(one): one for one in names.others()}})
        layout.set_options(self.period, {t(f"period.{one}"): days for one, days in PERIODS.items()})
        self._drawing = False
        self.head.tell(notes.head(t("page.title"), meta=t("page.zone")))
        self.look(self.table)
        self._draw_drafts()
        self.table.heading = t("history.title")
        self.table.row_actions = [{"name": "copy", "label": t("history.copy")}]
        self.table.columns = rows.history_columns(t)
        days = int(self.period.value or 0)
        since = int(time.time() * 1000) - days * DAY_MS if days else 0
        shown = rows.history_rows(
            jobs, names, t, group=str(self.group.value), partner=str(self.partner.value), since_ms=since,
            text=str(self.search.value_input or self.search.value or ""), may_copy=self.page.may("intersection.propose"),
        )  # fmt: skip
        if self.table.rows != shown:
            self.table.rows, self.table.total = shown, len(shown)
        self.table.hint = t("history.hint", count=formats.count(len(shown)), all=formats.count(len(jobs)))
        self.table.state = "done" if shown else "empty"
        self.table.notice = {"sentence": t("history.none_here" if jobs else "history.none")}
        self.answer(self._summary(jobs))
        self.page.notify_lab(title="", running=False)

    def _draw_drafts(self) -> None:
        t, page = self.t, self.page
        self._drafts_pane.visible = bool(self._drafts)
        self.look(self.drafts)
        self.drafts.heading, self.drafts.hint = t("draft.title"), t("draft.hint")
        self.drafts.columns = draft_columns(page)
        self.drafts.row_actions = [{"name": "continue", "label": t("draft.continue")}, {"name": "discard", "label": t("draft.discard")}]
        shown = draft_rows(self._drafts, self.names, page)
        if self.drafts.rows != shown:
            self.drafts.rows, self.drafts.total = shown, len(shown)

    def _summary(self, jobs: list[Mapping[str, Any]]) -> Answer:
        t = self.t
        new: tuple[Action, ...] = (Action("new", t("action.new"), primary=True, icon="plus"),) if self.page.may("intersection.propose") else ()
        if self._drafts and new:
            new = (*new, Action("continue", t("draft.continue_last"), icon="play"))
        mine = [job for job in jobs if job["state"] in OPEN_STATES]
        released = [job for job in jobs if job["state"] == "RELEASED"]
        if mine:
            waiting = sum(job["state"] in ("PROPOSED", "APPROVED") for job in mine)
            sentence = t("history.open", count=len(mine), waiting=waiting)
            return Answer("running", sentence, t("history.open_reason"), actions=new)
        if released:
            last = max(released, key=lambda job: job["updated_ms"])
            names = self.names
            sentence = t(
                "history.last", count=formats.count(last["result"]["released"]), partner=names.party(last["partner"]),
                purpose=names.purpose(last["purpose"]),
            )  # fmt: skip
            return Answer("info", sentence, t("history.last_reason", time=formats.time(last["updated_ms"]), job=formats.short_id(last["job"])), actions=new)
        return Answer("info", t("history.first"), t("history.first_reason"), actions=new)

    async def act(self, action: str) -> None:
        if action == "new":
            self._go.wizard()
        elif action == "continue" and self._drafts:
            self._go.wizard(draft=self._drafts[0])
