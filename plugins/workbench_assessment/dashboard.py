"""The page Impact assessment. See docs/pages.md for what a page gets and returns."""

from __future__ import annotations

from typing import Any

from workbench.app.page import PageContext
from workbench_assessment.pages.page import AssessmentPage


def view(page: PageContext) -> Any:  # Any: Panel has no types
    """One opened tab."""
    made = AssessmentPage(page)
    page.start(made.open)
    return made.root
