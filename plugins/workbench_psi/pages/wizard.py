"""A new intersection, one task per step: list, quality, audience and consent, partner and terms."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.notes import Notes
from workbench.errors import WorkbenchError
from workbench_psi.pages.jobview import STEPS
from workbench_psi.pages.keeping import DraftKeeper
from workbench_psi.pages.view import Navigator, View, origin_badge
from workbench_psi.pages.wizard_list import Draft, ListStep, QualityStep
from workbench_psi.pages.wizard_terms import AudienceStep, Direction, TermsStep
from workbench_widgets import Stepper
from workbench_widgets.panel_pane import pane


class Wizard(View):
    """The four steps before a proposal. copy: a job whose choices are taken over; draft: a kept draft that goes on."""

    def __init__(
        self, page: PageContext, go: Navigator, copy: Mapping[str, Any] | None = None, draft: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(page)
        self._go, self._copy, self._kept, self._at = go, copy, draft, 0
        self._proposing, self._discarding = False, False
        self.draft = Draft()
        self.keeper = DraftKeeper(page, self.choices, self._buttons)
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
        self.leave = layout.button(page, "action.history", self._leave)
        self.discard = layout.button(page, "draft.discard", self._discard)
        self.discard_now = layout.button(page, "draft.discard_now", self._discard_now)
        self.keep = layout.button(page, "draft.keep", self._keep)
        first = layout.first_line(self.head, origin_badge(page))
        self.root = layout.stack(
            first, pane(self.stepper), pane(self.strip), self._body,
            layout.buttons(
                self.back, self.leave, self.discard, self.discard_now, self.keep, layout.spacer(), self.keeper.line, self.next, self.propose
            ),
        )  # fmt: skip

    async def open(self) -> None:
        """Begin; a draft goes on where it was left, a copy begins at its audience, because its list is known."""
        await self.lists.enter()
        copy, kept = self._copy, self._kept
        if kept is not None:
            self._take_over(kept, partner=kept["partner"], purpose=kept["purpose"], key_kind=kept["key_kind"])
            step = int(kept["step"])
        elif copy is not None:
            self._take_over(copy["request"], partner=copy["partner"], purpose=copy["purpose"], key_kind=copy["key_kind"])
            step = 2
        else:
            step = 0
        # Without its list nothing after it can be shown: a file that was not imported is no part of a draft.
        self._at = step if self.draft.chosen else 0
        self.keeper.begin(kept, copied_from=str(copy["job"]) if copy is not None else "")
        if copy is not None:
            await self.keeper.save()
        if self._at > 2:
            await self.audience.enter()  # the terms stand on what it counts
        await self.to(self._at, focus=False)

    def _take_over(self, choices: Mapping[str, Any], *, partner: str, purpose: str, key_kind: str) -> None:
        """Choose what was chosen before, as far as it still exists."""
        self.lists.prefer(str(choices.get("list_id", "")))
        draft, direction = self.draft, self.direction
        draft.rule, draft.columns = str(choices.get("audience", "")), list(choices.get("columns", []))
        draft.minimum_crowd = int(choices.get("minimum_crowd", 50))
        draft.timeout_min = max(1, int(choices.get("timeout_s", 600)) // 60)
        for widget, value in ((direction.partner, partner), (direction.purpose, purpose), (direction.key_kind, key_kind)):
            if value in widget.options.values():
                widget.value = value

    def choices(self) -> dict[str, Any]:
        """What is chosen now, as intersection.draft_save takes it; a file that is not imported is no part of it."""
        draft, direction = self.draft, self.direction.request()
        return {
            "step": self._at if draft.chosen else 0, "list_id": str(draft.chosen["list_id"]) if draft.chosen else "",
            "partner": str(direction["partner"] or ""), "purpose": str(direction["purpose"] or ""), "key_kind": str(direction["key_kind"]),
            "audience": draft.rule, "minimum_crowd": int(draft.minimum_crowd), "timeout_s": int(draft.timeout_min) * 60,
            "columns": list(draft.columns),
        }  # fmt: skip

    async def settle(self) -> None:
        await self.keeper.flush()

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
        self.keeper.draw()
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
        self._buttons()
        self.keeper.touch()
        # A file on its way to the import is enough to look at its columns.
        self.next.disabled = not here.is_ready()
        self.propose.disabled = not here.is_ready() or self._proposing or not self.page.may("intersection.propose")

    def _buttons(self) -> None:
        """What can be done with the draft."""
        self.discard.visible = bool(self.keeper.draft) and not self._discarding
        self.discard_now.visible = self.keep.visible = self._discarding

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

    async def _leave(self) -> None:
        """Save first, so that the history shows the draft as it is."""
        await self.keeper.flush()
        self._go.history()

    async def key(self, key: str) -> None:
        """Ctrl+Enter is the blue button, where it may be pressed."""
        if key != "send":
            return
        if self.next.visible and not self.next.disabled:
            await self._next()
        elif self.propose.visible and not self.propose.disabled:
            await self._propose()

    def _discard(self) -> None:
        """Ask first: a draft that is gone cannot be had back."""
        self._discarding = True
        self._changed()

    def _keep(self) -> None:
        self._discarding = False
        self._changed()

    async def _discard_now(self) -> None:
        await self.keeper.discard()
        self._go.history()

    async def _propose(self) -> None:
        page = self.page
        self._proposing = True
        self._changed()
        try:
            job: Mapping[str, Any] = await page.run(page.client.call, "intersection.propose", **self.terms.request())
        finally:
            self._proposing = False
            self._changed()
        # The proposal stands; a draft that could not be discarded now is in the history and harms nobody.
        with suppress(WorkbenchError):
            await self.keeper.discard()
        self._go.job(str(job["job"]))
