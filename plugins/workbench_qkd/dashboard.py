"""The page Quantum channel. See docs/pages.md for what a page gets and returns."""

from __future__ import annotations

from typing import Any

from workbench.app.page import PageContext
from workbench_qkd.pages.page import ChannelPage


def view(page: PageContext) -> Any:  # Any: Panel has no types
    """One opened tab."""
    made = ChannelPage(page)
    page.start(made.open)
    return made.root
