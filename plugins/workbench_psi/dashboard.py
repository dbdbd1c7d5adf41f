"""The pages Intersection and Inbox; each opened tab gets views of its own. See docs/pages.md and `workbench_psi.pages`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout
from workbench.app.parts.keys import KEYS, Keys
from workbench_psi.pages.history import History
from workbench_psi.pages.inbox import Inbox
from workbench_psi.pages.jobview import JobView
from workbench_psi.pages.wizard import Wizard


class IntersectionPage:
    """One tab: the history, a new intersection, or one job; `params` may name a job to open or to copy, or a draft."""

    def __init__(self, page: PageContext) -> None:
        self._page = page
        self.view: History | Wizard | JobView | None = None
        self.root = layout.stack()
        self.keys = Keys(page, self._key, names=tuple(KEYS), own=("intersection", self.history))
        page.on_look(lambda: self.view.draw() if self.view is not None else None)

    def history(self) -> None:
        """Show all intersections."""
        self._show(History(self._page, self))

    def wizard(self, copy: Mapping[str, Any] | None = None, *, draft: Mapping[str, Any] | None = None) -> None:
        """Begin a new intersection, with the choices of another one, or go on with a draft."""
        self._show(Wizard(self._page, self, copy, draft))

    def job(self, job: str, *, focus: bool = True) -> None:
        """Show one intersection."""
        self._show(JobView(self._page, job, self, focus=focus))

    async def start(self) -> None:
        """The first view, by the address."""
        params, page = self._page.params, self._page
        if params.get("job"):
            self.job(params["job"], focus=False)
        elif params.get("copy"):
            self.wizard(await page.run(page.client.call, "intersection.job", job=params["copy"]))
        elif params.get("draft"):
            self.wizard(draft=(await page.run(page.client.call, "intersection.draft_get", draft=params["draft"])).drafts[0])
        elif "new" in params:
            self.wizard()
        else:
            self.history()

    def _key(self, key: str) -> None:
        """A key of the whole page is for the view that is shown."""
        if self.view is not None:
            self._page.start(self.view.key, key)

    def _show(self, view: History | Wizard | JobView) -> None:
        left, self.view = self.view, view
        if left is not None:
            left.close()
        self.root[:] = [view.root, self.keys]
        self._page.start(self._begin, left, view)

    async def _begin(self, left: History | Wizard | JobView | None, view: History | Wizard | JobView) -> None:
        """Open a view once the one before has kept what it has to keep: the history reads the drafts when it opens."""
        if left is not None:
            await left.settle()
        if self.view is view:
            await view.begin()


async def view(page: PageContext) -> Any:  # Any: Panel has no types
    """The page Intersection."""
    shown = IntersectionPage(page)
    await shown.start()
    return shown.root


def inbox(page: PageContext) -> Any:  # Any: Panel has no types
    """The page Inbox."""
    shown = Inbox(page)
    page.on_look(shown.draw)
    page.start(shown.begin)
    return layout.stack(shown.root, Keys(page, lambda key: page.start(shown.key, key), names=("search", "rows", "verify", "escape")))
