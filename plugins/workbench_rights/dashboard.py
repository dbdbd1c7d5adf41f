"""The page Rights desk. See docs/pages.md for what a page gets and returns."""

from __future__ import annotations

from typing import Any

from workbench.app.page import PageContext
from workbench_rights.pages.desk import DeskPage


def view(page: PageContext) -> Any:  # Any: Panel has no types
    """One opened tab."""
    made = DeskPage(page)
    page.start(made.open)
    return made.root
