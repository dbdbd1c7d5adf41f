"""Chromium of the system against a real JupyterLab and real nodes. Everything is served by other processes.

Screenshots go to a temporary folder, or where WORKBENCH_SCREENSHOTS points. Every wait ends as soon as what it waits for is
there; its limit is for a machine at ten times its work. What a page shows is asserted with `expect`, which waits for it: an
answer of `count` or `inner_text` right after an action is that of an instant.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from lab_fixtures import Browser as PlainBrowser, Institutions, institutions, wait_for
from workbench.domain.party import Role

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
playwright.expect.set_options(timeout=30_000)

STEP_MS = 30_000
FIRST_LOAD_MS = 60_000
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser" in str(item.path):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(240))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed; make system installs it")
    with playwright.sync_playwright() as running:
        launched = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@dataclass
class LabWindow:
    """One browser window with JupyterLab open, and what it did behind the scenes."""

    institutions: Institutions
    party: str
    context: Any
    page: Any
    shots: Path
    asked: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def sign_in(self, role: Role) -> None:
        """As a person does it: the button in the sidebar, the node's page, account and password."""
        with self.context.expect_page() as opened:
            self.page.click("[data-key=sign-in]")
        form = opened.value
        account, password = self.institutions.workspace.sign_in(self.party, role)
        form.fill("#person", account)
        form.fill("#password", password)
        form.click("button")
        self.page.wait_for_selector(".wb-who")

    def open(self, name: str) -> Any:
        """Open a page from the sidebar; returns its frame when it is ready."""
        self.page.click(f"[data-key=page-{name}]")
        return self.frame()

    def frame(self) -> Any:
        frame = self.page.frame_locator(".wb-page:not(.lm-mod-hidden) iframe")
        frame.locator("body[data-ready]").wait_for(timeout=FIRST_LOAD_MS)
        return frame

    def see(self, page: Any, selector: str) -> None:
        """Wait for something on a page that this context loads for the first time: its scripts are not kept yet."""
        page.wait_for_selector(selector, timeout=FIRST_LOAD_MS)

    def shot(self, name: str) -> None:
        self.page.wait_for_timeout(400)
        self.page.screenshot(path=self.shots / f"{name}.png")

    def confirm(self, popup: Any, role: Role) -> None:
        """The node's own confirmation page: password again, confirm."""
        _, password = self.institutions.workspace.sign_in(self.party, role)
        popup.fill("#password", password)
        popup.click("button[value=yes]")
        popup.wait_for_selector("section[role=status]")

    def nothing_left_the_machine(self) -> None:
        outside = {host for host in self.asked if not re.fullmatch(r"127\.\d+\.\d+\.\d+", host)}
        assert outside == set()
        assert self.complaints == []


@pytest.fixture
def nothing_waits(institutions: Institutions) -> None:
    """No proposal and no draft of another test, or of this one's first try, lies on anybody's table."""
    with institutions.client("broker", Role.MARKETING) as client:
        for job in client.intersection.jobs().jobs:
            if job.state == "PROPOSED":
                client.intersection.cancel(job=job.job)
        for draft in client.intersection.draft_get().drafts:
            client.intersection.draft_discard(draft=draft["draft"])


@pytest.fixture
def window(chromium: Any, institutions: Institutions, tmp_path: Path) -> Iterator[Callable[..., LabWindow]]:
    """Open JupyterLab of a party in a fresh browser context, signed out."""
    contexts = []

    def opened(party: str = "broker", *, path: str = "lab") -> LabWindow:
        plain = PlainBrowser(institutions, party).let_in()
        plain.sign_out()
        plain.forget_theme()
        lab = institutions.lab(party)
        context = chromium.new_context(locale="zh-CN", viewport={"width": 1400, "height": 900})
        contexts.append(context)
        context.set_default_timeout(STEP_MS)
        shots = Path(os.environ.get("WORKBENCH_SCREENSHOTS", tmp_path))
        shots.mkdir(parents=True, exist_ok=True)
        made = LabWindow(institutions, party, context, context.new_page(), shots)
        _listen(made)
        token = lab.url.partition("token=")[2]
        made.page.goto(f"{lab.base_url}{path}?reset&token={token}", timeout=FIRST_LOAD_MS)
        made.page.wait_for_selector("[data-key=sign-in]", timeout=FIRST_LOAD_MS)
        return made

    yield opened
    for context in contexts:
        context.close()


DRAWN = """() => {
  let text = '', moving = 0, bones = 0;
  const walk = (root) => {
    moving += root.getAnimations().filter((one) => one.playState === 'running' && one.effect?.getComputedTiming().endTime !== Infinity).length;
    for (const node of root.querySelectorAll('*')) {
      if (node.classList.contains('bone') && node.checkVisibility({ visibilityProperty: true })) bones += 1;
      for (const child of node.childNodes) if (child.nodeType === 3) text += child.data;
      if (node.shadowRoot) walk(node.shadowRoot);
    }
  };
  walk(document);
  return [moving + bones, text];
}"""


def settled(page: Any) -> None:
    """Wait until a page has drawn itself: no skeleton, nothing moves, and its text is the same after a while."""

    def quiet() -> bool:
        before = page.evaluate(DRAWN)
        page.wait_for_timeout(500)  # longer than a skeleton takes to come
        return before[0] == 0 and page.evaluate(DRAWN) == before

    wait_for(quiet, FIRST_LOAD_MS / 1000)


def _listen(made: LabWindow) -> None:
    def request(one: Any) -> None:
        url = urlsplit(one.url)
        if url.scheme not in ("data", "blob", "chrome-extension"):
            made.asked.add(url.hostname or one.url)

    def console(message: Any) -> None:
        text = message.text
        if message.type == "error" and re.search("Content Security Policy|TypeError|ReferenceError|is not defined", text):
            made.complaints.append(text)

    made.context.on("request", request)
    made.context.on("console", console)
    made.context.on("weberror", lambda error: made.complaints.append(str(error.error)))


__all__ = ["institutions"]
