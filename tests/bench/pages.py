"""How long a page in JupyterLab takes: from the click in the sidebar to its skeleton, and to its answer.

A real Lab over real nodes with synthetic customers and one released intersection, in the system's Chromium. Skeleton: the
first element of the page is visible. Answer: the sentence at its top, which needs the node.
"""

from __future__ import annotations

import shutil
import time
from typing import Any

from tests.bench import nodes
from tests.bench.intersections import run_job
from workbench.demo.data import populate
from workbench.domain.party import Role
from workbench.errors import WorkbenchError
from workbench.workspace import Workspace

CUSTOMERS = 20_000
PAGES = ("intersection", "evidence")
PARTIES = ("broker", "cardnet", "bank")
LONGEST_MS = 60_000
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


class Unavailable(Exception):
    """Pages cannot be timed here; the text says why."""


def measure() -> list[dict[str, Any]]:
    """One row a page and visit: page, skeleton_s, answer_s. The first visit of all also starts the pages' process."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise Unavailable("Chromium is not installed (make system)")
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise Unavailable("playwright is not installed") from None
    with nodes.workspace_of(PARTIES) as workspace:
        populate(workspace, customers=CUSTOMERS, seed=1, say=lambda text: None)
        nodes.start(workspace)
        run_job(workspace)
        try:
            with sync_playwright() as playwright:
                return _visits(workspace, playwright.chromium.launch(executable_path=browser, args=list(FLAGS)))
        except (Error, WorkbenchError) as error:
            raise Unavailable(f"{type(error).__name__}: {str(error).splitlines()[0]}") from None


def _visits(workspace: Workspace, chromium: Any) -> list[dict[str, Any]]:  # Any: playwright's browser
    from workbench.jupyter.launch import start_lab

    lab = start_lab(workspace, "broker", port=0)
    try:
        page = chromium.new_context(locale="zh-CN").new_page()
        page.set_default_timeout(LONGEST_MS)
        page.goto(lab.url)
        page.wait_for_selector("[data-key=sign-in]")
        _sign_in(workspace, page)
        rows = []
        for visit in ("first visit", "again"):
            for name in PAGES:
                rows.append({"page": f"{name}, {visit}", **_open(page, name)})
                page.locator(".lm-TabBar-tab.lm-mod-current .lm-TabBar-tabCloseIcon").last.click()
        return rows
    finally:
        chromium.close()
        lab.stop()


def _sign_in(workspace: Workspace, page: Any) -> None:
    with page.context.expect_page() as opened:
        page.click("[data-key=sign-in]")
    account, password = workspace.sign_in("broker", Role.MARKETING)
    opened.value.fill("#person", account)
    opened.value.fill("#password", password)
    opened.value.click("button")
    page.wait_for_selector(".wb-who")


def _open(page: Any, name: str) -> dict[str, float]:
    began = time.perf_counter()
    page.click(f"[data-key=page-{name}]")
    frame = page.frame_locator(".wb-page:not(.lm-mod-hidden) iframe")
    frame.locator("body :visible").first.wait_for()
    skeleton_s = time.perf_counter() - began
    frame.locator("body[data-ready]").wait_for()
    frame.locator("h2").first.wait_for()
    return {"skeleton_s": round(skeleton_s, 2), "answer_s": round(time.perf_counter() - began, 2)}
