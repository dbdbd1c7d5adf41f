"""Keeping the wizard's choices as a draft at the node: a moment after each change, without a button (docs/pages.md, 5)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import notes
from workbench.app.parts.notes import Notes
from workbench.errors import WorkbenchError
from workbench_psi.pages.names import Names
from workbench_widgets import formats

AUTOSAVE_S = 1.0
BUSY_S = 0.05
"""How often a view that goes looks whether a save has ended."""
STEP_NAMES = ("list", "quality", "audience", "terms")
Choices = Mapping[str, Any]
"""Request of intersection.draft_save without the draft's id."""


class DraftKeeper:
    """Saves what `choices` returns whenever it differs from what was saved last; `line` says when, or why not.

    saved: called after each try, for buttons that depend on there being a draft.

    Nothing is saved before something was chosen. A draft that was discarded elsewhere is not brought back: the next
    change begins a new one.
    """

    def __init__(self, page: PageContext, choices: Callable[[], dict[str, Any]], saved: Callable[[], None]) -> None:
        self._page, self._choices, self._saved = page, choices, saved
        self.draft, self.copied_from, self.saved_ms = "", "", 0
        self.line = Notes(framed=False, align="center", styles={"flex": "1 1 180px", "width": "auto", "text-align": "right"})
        self._last: dict[str, Any] | None = None
        self._problem: WorkbenchError | None = None
        self._asked, self._busy, self._ended = 0, False, False

    def begin(self, draft: Mapping[str, Any] | None = None, *, copied_from: str = "") -> None:
        """What is chosen now is what is kept now: a draft that was opened, or nothing."""
        self.copied_from = copied_from
        if draft:
            self.draft, self.saved_ms, self.copied_from = str(draft["draft"]), int(draft["saved_ms"]), str(draft["copied_from"])
        self._last = self._choices()
        self.draw()

    def touch(self) -> None:
        """Something may have changed: save it a moment after the last change."""
        if self._last is None or self._ended or self._choices() == self._last:
            return
        self._asked += 1
        self._page.start(self._later, self._asked)

    async def _later(self, mine: int) -> None:
        await asyncio.sleep(AUTOSAVE_S)
        if mine == self._asked and not self._ended:
            await self.save()

    async def save(self) -> None:
        """Save now; what the node refuses, or an absent node, is said in the line and stops nobody."""
        if self._busy or self._ended:
            return
        self._busy = True
        values = self._choices()
        try:
            page = self._page
            kept = await page.run(
                page.client.call, "intersection.draft_save", draft=self.draft, copied_from=self.copied_from, **values
            )
        except WorkbenchError as error:
            self._problem = error
            if error.code == "NO_DRAFT":
                self.draft, self._last = "", values
        else:
            self._problem, self._last = None, values
            self.draft, self.saved_ms = str(kept["draft"]), int(kept["saved_ms"])
        finally:
            self._busy = False
        self.draw()
        self._saved()
        if self._problem is None:
            self.touch()  # changed while it was being saved

    async def flush(self) -> None:
        """Save what is not saved yet, because the view goes; what takes its place reads the drafts when this returns."""
        while self._busy:  # noqa: ASYNC110 - a task of the page, which tells nobody; what was chosen since is saved too
            await asyncio.sleep(BUSY_S)
        if self._last is not None and not self._ended and self._choices() != self._last:
            await self.save()

    async def discard(self) -> None:
        """Let the node forget the draft, if there is one; nothing is saved after that."""
        self._ended = True
        page, draft = self._page, self.draft
        if draft:
            self.draft = ""
            await page.run(page.client.call, "intersection.draft_discard", draft=draft)

    def draw(self) -> None:
        """The line: when it was saved, or what to do."""
        t, page = self._page.t, self._page
        if self._problem is not None:
            self.line.tell(notes.text(t("draft.not_saved", reason=self._problem.zh if page.lang == "zh" else self._problem.en), tone="failed"))
        elif self.draft:
            self.line.tell(notes.text(t("draft.saved", time=_moment(self.saved_ms)), meta=True))
        else:
            self.line.tell()


def _moment(saved_ms: int) -> str:
    """14:03, and with the day in front when that was another day."""
    today = formats.date(saved_ms) == formats.date(int(time.time() * 1000))
    return formats.clock(saved_ms)[:5] if today else formats.time(saved_ms)[:16]


def draft_rows(drafts: list[Mapping[str, Any]], names: Names, page: PageContext) -> list[dict[str, Any]]:
    """Rows of the history's table of drafts."""
    t = page.t
    return [
        {
            "id": one["draft"],
            "when": one["saved_ms"],
            "with": names.tile(one["partner"]) if one["partner"] else None,
            "purpose": names.purpose(one["purpose"]) if one["purpose"] else "—",
            "list": one["list_name"] or "—",
            "step": t("draft.at_step", number=one["step"] + 1, step=t(f"steps.{STEP_NAMES[one['step']]}")),
            "can": ["continue", "discard"],
        }
        for one in drafts
    ]


def draft_columns(page: PageContext) -> list[dict[str, Any]]:
    """Columns of the history's table of drafts."""
    kinds = (("when", "time"), ("with", "party"), ("purpose", "text"), ("list", "text"), ("step", "text"))
    return [{"key": key, "label": page.t(f"draft.{key}"), "kind": kind} for key, kind in kinds]
