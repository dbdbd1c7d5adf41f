"""A browser for the tests of components; every page watches its own requests and errors."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from widget_pages import LAUNCH_FLAGS, WatchedPage

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Chromium for one file: its driver keeps an event loop in this thread, and the next file may want one of its own."""
    if CHROMIUM is None and os.environ.get("CI") == "1":
        pytest.fail("CI must have Chromium")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; `make system` installs it")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=LAUNCH_FLAGS, headless=True)
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: object, tmp_path: Path) -> Iterator[Callable[..., WatchedPage]]:
    """Opens a text as a page: ``open_page(html, hash="dark,en", width=1200)``; ends with a check of requests, errors."""
    opened: list[WatchedPage] = []

    def open_text(html: str, **options: Any) -> WatchedPage:  # Any: what WatchedPage takes
        page = WatchedPage(browser, tmp_path / f"page{len(opened)}.html", html, **options)
        opened.append(page)
        return page

    yield open_text
    for page in opened:
        page.finish()
