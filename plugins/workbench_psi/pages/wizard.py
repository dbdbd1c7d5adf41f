"""A new intersection, one task per step: list, quality, audience and consent, partner and terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.app.page import PageContext
from workbench_psi.pages import layout, notes
from workbench_psi.pages.jobview import STEPS
from workbench_psi.pages.notes import Notes
from workbench_psi.pages.view import Navigator, View, origin_badge
from workbench_psi.pages.wizard_list import Draft, ListStep, QualityStep
from workbench_psi.pages.wizard_terms import AudienceStep, Direction, TermsStep
from workbench_widgets import Stepper
from workbench_widgets.panel_pane import pane


class Wizard(View):
    """The four steps before a proposal. copy: a job whose choices are taken over."""

    def __init__(self, page: PageContext, go: Navigator, copy: Mapping[str, Any] | None = None) -> None:
        super().__init__(page)
        self._go, self._copy, self._at = go, copy, 0
        self._proposing = False
        self.draft = Draft()
        self.direction = Direction(page, self._redirected)
        self.lists = ListStep(page, self.draft, self._changed)
        self.quality = QualityStep(page, self.draft, self._changed, self.lists.catalogue)
        self.audience = AudienceStep(page, self.draft, self._counted, self.direction)
        self.terms = TermsStep(page, self.draft, self._changed, self.audience)
        self.steps: list[ListStep | QualityStep | AudienceStep | TermsStep] = [self.lists, self.quality, self.audience, self.terms]
        self.head, self.stepper = Notes(framed=False), Stepper()
        self.stepper.on_action(lambda _name, told: page.start(self.to, int(told.get("step", 0))), "open")
        self._body = layout.stack()
        self.back = layout.button(page, "wizard.back", self._back)
        self.next = layout.button(page, "wizard.next", self._next, primary=True)
        self.propose = layout.button(page, "wizard.propose", self._propose, primary=True)
        self.leave = layout.button(page, "action.history", go.history)
        first = layout.first_line(self.head, origin_badge(page))
        self.root = layout.stack(
            first, pane(self.stepper), pane(self.strip), self._body,
            layout.buttons(self.back, self.leave, layout.spacer(), self.next, self.propose),
        )  # fmt: skip

    async def open(self) -> None:
        """Begin; a copy starts at its audience, because its list is known."""
        await self.lists.enter()
        copy = self._copy
        if copy is None:
            await self.to(0, focus=False)
            return
        request = copy["request"]
        self.lists.prefer(str(request.get("list_id", "")))
        draft, direction = self.draft, self.direction
        draft.rule, draft.columns = str(request.get("audience", "")), list(request.get("columns", []))
        draft.minimum_crowd = int(request.get("minimum_crowd", 50))
        draft.timeout_min = max(1, int(request.get("timeout_s", 600)) // 60)
        for widget, value in ((direction.partner, copy["partner"]), (direction.purpose, copy["purpose"]), (direction.key_kind, copy["key_kind"])):
            if value in widget.options.values():
                widget.value = value
        await self.to(2 if draft.chosen else 0, focus=False)

    async def to(self, step: int, *, focus: bool = True) -> None:
        """Show a step."""
        self._at = max(0, min(step, len(self.steps) - 1))
        here = self.steps[self._at]
        self._body[:] = [here.root]
        await here.enter()
        self.draw()
        if focus:
            self.strip.take_focus()

    def draw(self) -> None:
        t, here = self.t, self.steps[self._at]
        self.head.tell(notes.head(t("page.new"), meta=t("page.zone")))
        self.look(self.stepper)
        self.stepper.steps, self.stepper.current = [t(f"steps.{name}") for name in STEPS], self._at
        self.direction.draw()
        here.draw()
        self._changed()
        self.page.notify_lab(title=t("tab.new"), running=False)

    def _changed(self) -> None:
        """Something was chosen: the answer and the buttons follow."""
        here = self.steps[self._at]
        self.answer(here.answer(self.names))
        last = self._at == len(self.steps) - 1
        self.back.visible, self.leave.visible = self._at > 0, self._at == 0
        self.next.visible, self.propose.visible = not last, last
        # A file on its way to the import is enough to look at its columns.
        self.next.disabled = not here.is_ready()
        self.propose.disabled = not here.is_ready() or self._proposing or not self.page.may("intersection.propose")

    def _counted(self) -> None:
        if self.steps[self._at] is self.terms:
            self.terms.draw()
        self._changed()

    def _redirected(self) -> None:
        self.audience.changed_direction()
        self._changed()

    async def _back(self) -> None:
        await self.to(self._at - 1)

    async def _next(self) -> None:
        await self.to(self._at + 1)

    async def _propose(self) -> None:
        page = self.page
        self._proposing = True
        self._changed()
        try:
            job: Mapping[str, Any] = await page.run(page.client.call, "intersection.propose", **self.terms.request())
        finally:
            self._proposing = False
            self._changed()
        self._go.job(str(job["job"]))
