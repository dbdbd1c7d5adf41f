"""The page Rights desk: what is open, what is due first, what is late; then requests, complaints and tasks."""

from __future__ import annotations

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.keys import Keys
from workbench.app.parts.notes import Notes
from workbench.app.parts.sections import Section, Sections
from workbench_rights.pages import clocks
from workbench_rights.pages.complaints import Complaints, Note, Tasks
from workbench_rights.pages.requests import Requests
from workbench_widgets import AnswerStrip, Badge
from workbench_widgets.panel_pane import pane


class DeskPage:
    """One opened tab. `section=` names what is shown first; `request=` or `complaint=` opens a case."""

    def __init__(self, page: PageContext) -> None:
        self.page = page
        self.strip = AnswerStrip(state="loading")
        self.head = Notes(framed=False)
        self.requests, self.complaints = Requests(page, self.draw_answer), Complaints(page, self.draw_answer)
        found: list[Section] = [self.requests, self.complaints, Tasks(page)]
        if not page.may("complaints.list"):
            found.append(Note(page))
        self.sections = Sections(page, found, self.draw_answer)
        badge = None if page.me["workspace"] == "production" else pane(page.follow(Badge(kind="synthetic")))
        self.root = layout.stack(layout.first_line(self.head, badge), pane(self.strip), self.sections.root, Keys(page))
        page.on_look(self.draw)

    async def open(self) -> None:
        """By the address; the answer needs requests and complaints, so both are read."""
        params = self.page.params
        wanted = "complaints" if params.get("complaint") else params.get("section", "")
        self.draw()
        await self.sections.open(wanted)
        for one in (self.requests, self.complaints):
            if one in self.sections.all and not one.is_read:
                self.page.start(one.show)
        if params.get("request") and self.requests in self.sections.all:
            await self.requests.look_at(params["request"])
        if params.get("complaint") and self.complaints in self.sections.all:
            await self.complaints.look_at(params["complaint"])

    def draw(self) -> None:
        """Every text again, after a change of language."""
        self.head.tell(notes.head(self.page.t("page.title"), meta=self.page.t("page.zone")))
        self.sections.draw()
        self.draw_answer()

    def draw_answer(self) -> None:
        """How many are open, which is due first, what is late."""
        with self.strip.at_once():
            self._draw_answer()

    def _draw_answer(self) -> None:
        strip, page = self.strip, self.page
        strip.lang, strip.code, strip.todo, strip.reason = page.lang, "", "", ""
        if not page.may("rights.list"):
            strip.state, strip.sentence = "info", page.t("answer.note")
            return
        if self.requests.found is None:
            return
        cases = [*self.requests.open_cases, *(one for one in self.complaints.open_cases if not one["told_ms"])]
        complaints = len(self.complaints.open_cases)
        late = sum(bool(one["is_overdue"]) for one in cases)
        if not self.requests.open_cases and not complaints:
            strip.state, strip.sentence = "info", page.t("answer.none")
        else:
            strip.sentence = page.t("answer.open", requests=len(self.requests.open_cases), complaints=complaints)
            strip.state = "failed" if late else "pending"
        first = clocks.first_due(cases)
        if first is not None:
            number = first.get("request") if first in self.requests.open_cases else first["complaint"]
            strip.reason = page.t("answer.first", number=number, due=clocks.due(first, page.t), clock=clocks.clock(first, page.t, is_open=True)["label"])
        if late:
            strip.todo = page.t("answer.late", count=late)


__all__ = ["DeskPage"]
