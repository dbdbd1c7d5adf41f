"""Pages of the sandbox. See docs/pages.md for what a page gets and returns."""

from __future__ import annotations

from typing import Any

from workbench.app.page import PageContext
from workbench_inference.pages.ask import AskPage
from workbench_inference.pages.leases import LeasesPage
from workbench_inference.pages.models import ModelsPage
from workbench_inference.pages.provider import ProviderPage


def ask(page: PageContext) -> Any:  # Any: Panel has no types
    """One opened tab of questions."""
    made = AskPage(page)
    page.start(made.open)
    return made.root


def leases(page: PageContext) -> Any:  # Any: Panel has no types
    """One opened tab of Leases."""
    made = LeasesPage(page)
    page.start(made.open)
    return made.root


def provider(page: PageContext) -> Any:  # Any: Panel has no types
    """One opened tab of a provider's page."""
    made = ProviderPage(page)
    page.start(made.open)
    return made.root


def models(page: PageContext) -> Any:  # Any: Panel has no types
    """One opened tab of models and rules."""
    made = ModelsPage(page)
    page.start(made.open)
    return made.root
