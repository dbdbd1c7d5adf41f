"""The pages of this plugin. See docs/pages.md for what a page gets and returns."""

from __future__ import annotations

import panel as pn

from workbench.app.page import PageContext
from workbench_ledger.pages.evidence import EvidencePage


def view(page: PageContext) -> pn.viewable.Viewable:
    """The page Evidence."""
    made = EvidencePage(page)
    page.start(made.open)
    return made.view()
