"""The pages of this plugin. See docs/pages.md for what a page gets and returns."""

from __future__ import annotations

import panel as pn

from workbench.app.page import PageContext
from workbench_ledger.pages.evidence import EvidencePage
from workbench_ledger.pages.health import HealthPage
from workbench_ledger.pages.home import HomePage


def view(page: PageContext) -> pn.viewable.Viewable:
    """The page Evidence."""
    made = EvidencePage(page)
    page.start(made.open)
    return made.view()


def home(page: PageContext) -> pn.viewable.Viewable:
    """The page Home."""
    made = HomePage(page)
    shown = made.view()
    page.start(made.open)
    return shown


def health(page: PageContext) -> pn.viewable.Viewable:
    """The page Health."""
    made = HealthPage(page)
    shown = made.view()
    page.start(made.open)
    return shown
