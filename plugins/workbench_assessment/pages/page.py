"""The page Impact assessment: what the project's stage asks, then assessments, processing records and breaches."""

from __future__ import annotations

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.keys import Keys
from workbench.app.parts.notes import Notes
from workbench.app.parts.sections import Section, Sections
from workbench_assessment.pages.assessments import Assessments
from workbench_assessment.pages.records import Breaches, Records
from workbench_widgets import AnswerStrip, Badge
from workbench_widgets.panel_pane import pane


class AssessmentPage:
    """One opened tab. `section=` names what is shown first; `assessment=` opens one."""

    def __init__(self, page: PageContext) -> None:
        self.page = page
        self.strip = AnswerStrip(state="loading")
        self.head = Notes(framed=False)
        self.assessments = Assessments(page, self.draw_answer)
        found: list[Section] = [self.assessments, Records(page), Breaches(page)]
        self.sections = Sections(page, found, self.draw_answer)
        badge = None if page.me["workspace"] == "production" else pane(page.follow(Badge(kind="synthetic")))
        self.root = layout.stack(layout.first_line(self.head, badge), pane(self.strip), self.sections.root, Keys(page))
        page.on_look(self.draw)

    async def open(self) -> None:
        """By the address."""
        self.draw()
        await self.sections.open(self.page.params.get("section", ""))
        if not self.assessments.is_read:
            self.page.start(self.assessments.show)
        if self.page.params.get("assessment"):
            await self.assessments.look_at(self.page.params["assessment"])

    def draw(self) -> None:
        """Every text again, after a change of language."""
        self.head.tell(notes.head(self.page.t("page.title"), meta=self.page.t("page.zone")))
        self.sections.draw()
        self.draw_answer()

    def draw_answer(self) -> None:
        """How many cover something now, what waits, and what the stage means."""
        with self.strip.at_once():
            self._draw_answer()

    def _draw_answer(self) -> None:
        strip, page, found = self.strip, self.page, self.assessments.found
        strip.lang, strip.code, strip.todo, strip.reason = page.lang, "", "", ""
        if found is None:
            return
        covering, waiting = sum(bool(one["covers"]) for one in found["assessments"]), found["by_state"].get("SUBMITTED", 0)
        strip.sentence = page.t("answer.covering", covering=covering, waiting=waiting)
        strip.reason = page.t(f"answer.{found['stage']}", missing=found["missing"])
        strip.state = "pending" if waiting or (found["missing"] and not covering) else "info"
        if waiting:
            strip.todo = page.t("answer.approve")
        elif found["missing"] and not covering:
            strip.todo = page.t("answer.draft")


__all__ = ["AssessmentPage"]
