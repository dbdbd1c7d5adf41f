"""What a person sees in JupyterLab, from the sign-in to the confirmed action, in both languages and themes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from lab_fixtures import AUDIENCE, Institutions, wait_for
from workbench.domain.party import Role
from workbench.supervisor import running_nodes, start_nodes, stop_nodes

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

Window = Callable[..., Any]


def test_a_person_signs_in_and_works_and_no_request_leaves_the_machine(window: Window, institutions: Institutions) -> None:
    job = institutions.released_job()
    lab = window()
    lab.shot("signed-out")
    assert lab.page.locator(".wb-who").count() == 0
    lab.sign_in(Role.MARKETING)
    assert "甲证券" in lab.page.inner_text(".wb-who")
    lab.page.wait_for_selector(".jp-LauncherCard:has-text('求交')")
    lab.shot("launcher")
    lab.page.keyboard.press("Control+Shift+c")
    lab.page.fill(".lm-CommandPalette-input", "证据工作台")
    lab.page.wait_for_selector(".lm-CommandPalette-itemLabel:has-text('证据工作台: 求交')")
    lab.page.keyboard.press("Escape")
    lab.page.click(".jp-LauncherCard:has-text('求交')")
    lab.frame()
    assert lab.page.locator(".wb-side").bounding_box()["width"] >= 264
    frame = lab.open("intersection")
    frame.locator(f"text={job[-4:]}").first.wait_for()
    lab.shot("intersection-zh-light")
    lab.open("evidence")
    lab.shot("evidence-zh-light")
    expect(lab.page.locator(".lm-TabBar-tabLabel:has-text('证据')")).to_have_count(1)
    lab.nothing_left_the_machine()


def test_language_and_theme_change_without_a_reload_and_keep_what_was_typed(window: Window) -> None:
    lab = window()
    lab.sign_in(Role.COMPLIANCE)
    frame = lab.open("evidence")
    box = frame.locator("input:visible").first
    box.fill("J-2026 half typed")
    frame.locator("body").evaluate("() => { window.stillHere = true; }")
    lab.page.click(".wb-status:has-text('English')")
    lab.page.wait_for_selector("h3:has-text('Nodes')")
    lab.page.wait_for_selector(".lm-TabBar-tabLabel:has-text('Evidence')")
    expect(frame.locator("html[lang=en]")).to_have_count(1)
    lab.page.click(".wb-status:has-text('Light')")
    frame.locator("html[data-theme=dark]").wait_for()
    lab.shot("evidence-en-dark")
    assert box.input_value() == "J-2026 half typed"
    assert frame.locator("body").evaluate("() => window.stillHere === true")
    lab.page.click(".wb-status:has-text('Dark')")
    lab.page.click(".wb-status:has-text('中文')")
    lab.nothing_left_the_machine()


def test_signing_out_clears_the_screen_of_every_page(window: Window, institutions: Institutions) -> None:
    job = institutions.released_job()
    lab = window()
    lab.sign_in(Role.MARKETING)
    frame = lab.open("intersection")
    frame.locator(f"text={job[-4:]}").first.wait_for()
    lab.page.click("[data-key=sign-out]")
    frame.locator("h2:has-text('先登录')").wait_for()
    expect(frame.locator(f"text={job[-4:]}")).to_have_count(0)
    lab.shot("page-signed-out")
    expect(lab.page.locator(".jp-LauncherCard:has-text('求交')")).to_have_count(0)
    # A page that was asked for before the next sign-in and is drawn after it loads again by itself.
    held: list[Any] = []
    lab.page.route("**/static/js/bokeh.min.js*", lambda route: held.append(route), times=1)
    with lab.page.expect_request("**/static/js/bokeh.min.js*"):
        frame.locator("button[data-name=reload]").click()
    lab.sign_in(Role.MARKETING)
    held[0].continue_()
    frame.locator(f"text={job[-4:]}").first.wait_for()


def test_a_deep_link_to_a_page_of_another_role_is_refused_and_leaves_evidence(window: Window, institutions: Institutions) -> None:
    lab = window()
    lab.sign_in(Role.OPERATOR)
    lab.page.wait_for_selector("[data-key=page-evidence]")
    assert lab.page.locator("[data-key=page-intersection]").count() == 0
    with institutions.client("broker", Role.OPERATOR) as client:

        def refused() -> list[Any]:
            """The newest refusals: a page of the log holds a thousand entries, and this one may be longer."""
            return list(client.evidence.timeline(kind="action.refused", limit=1000).entries)

        before = max((one.index for one in refused()), default=-1)
        other = lab.context.new_page()
        other.goto(f"{institutions.lab().base_url}workbench/app/page?name=intersection")
        lab.see(other, ".band.refused")
        for said in ("DENIED", "运维岗"):
            expect(other.locator(".band.refused")).to_contain_text(said)
        other.screenshot(path=lab.shots / "denied.png")
        assert [one["values"] for one in refused() if one.index > before] == [{"operation": "pages.open", "code": "DENIED"}]


def test_an_approver_decides_on_the_nodes_own_page_while_the_sidebar_follows(
    window: Window, institutions: Institutions, nothing_waits: None
) -> None:
    with institutions.client("broker", Role.MARKETING) as marketing:
        job = marketing.intersection.propose(partner="bank", purpose="wealth-marketing", audience=AUDIENCE).job
        lab = window("bank")
        lab.sign_in(Role.APPROVER)
        frame = lab.open("inbox")
        frame.locator(f"text={job[-4:]}").first.click()
        lab.shot("inbox")
        with lab.context.expect_page() as opened:
            frame.locator("button:has-text('批准'):visible").first.click()
        popup = opened.value
        popup.wait_for_selector("#password")
        popup.screenshot(path=lab.shots / "confirm.png")
        assert urlparts(popup.url) == institutions.node_url("bank")
        lab.confirm(popup, Role.APPROVER)
        wait_for(lambda: marketing.intersection.job(job=job).state not in ("PROPOSED",), 90)
        frame.locator(".band.sealed, .band:has-text('已执行')").first.wait_for()
        lab.shot("approved")
        assert wait_for(lambda: marketing.intersection.job(job=job).is_final and marketing.intersection.job(job=job), 180).state == "RELEASED"
    lab.nothing_left_the_machine()


def test_a_page_stays_usable_while_an_intersection_runs(window: Window, institutions: Institutions) -> None:
    lab = window()
    lab.sign_in(Role.MARKETING)
    with institutions.client("broker", Role.MARKETING) as marketing:
        job = marketing.intersection.propose(partner="bank", purpose="wealth-marketing", audience=AUDIENCE).job
        institutions.approve("bank", job)
        frame = lab.open("evidence")
        frame.locator("input:visible").first.fill("typed while it runs")
        lab.open("intersection")
        lab.shot("while-running")
        wait_for(lambda: marketing.intersection.job(job=job).is_final, 180)
    lab.page.wait_for_selector(".wb-side p:has-text('没有正在进行的求交')")


def test_a_node_that_is_away_is_said_so_and_pages_come_back_with_it(window: Window, institutions: Institutions) -> None:
    lab = window()
    lab.sign_in(Role.MARKETING)
    frame = lab.open("intersection")
    stop_nodes(institutions.workspace, parties=("broker",))
    try:
        lab.page.wait_for_selector(".wb-failed")
        lab.shot("node-away")
        lab.open("evidence").locator(".band.failed").first.wait_for()
        lab.shot("page-node-away")
    finally:
        start_nodes(institutions.workspace)
        institutions.nodes = running_nodes(institutions.workspace)
    lab.page.wait_for_selector(".wb-failed", state="detached", timeout=60_000)
    lab.frame().locator(".band.failed").first.wait_for(state="detached", timeout=60_000)
    assert frame is not None
    lab.shot("node-back")


def test_a_notebook_shows_pages_and_widgets_and_saves_neither_state_nor_numbers(window: Window, institutions: Institutions) -> None:
    job = institutions.released_job()
    root = institutions.lab().folder / "root"
    cells = [
        "from workbench import connect\nwb = connect()\nwb",
        f"job = wb.job({job!r})\njob.venn()",
        "print('1' + '9900000317')",
        "import os\nprint('history', get_ipython().history_manager.enabled, [n for n, v in os.environ.items() if len(v) == 64])",
        f"wb.page('evidence', job={job!r})",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = root / "try.ipynb"
    nbformat.write(notebook, path)
    lab = window(path="lab/tree/try.ipynb")
    lab.sign_in(Role.MARKETING)
    lab.page.wait_for_selector(".jp-NotebookPanel", timeout=60_000)
    lab.page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=90_000)
    lab.page.click(".jp-NotebookPanel .jp-Notebook .jp-Cell >> nth=0")
    lab.page.evaluate("() => window.jupyterapp?.commands.execute('notebook:run-all-cells')")
    lab.page.click(".lm-MenuBar-item:has-text('Run')")
    lab.page.click('li[data-command="runmenu:run-all"]')
    lab.page.wait_for_selector(".jp-OutputArea-output:has-text('甲证券 · 营销 01')", timeout=90_000)
    lab.page.wait_for_selector(".jp-OutputArea svg", timeout=60_000)
    lab.page.wait_for_selector(".jp-OutputArea-output:has-text('history False []')")
    frame = lab.page.frame_locator(".jp-OutputArea iframe")
    frame.locator("body[data-ready]").wait_for(timeout=60_000)
    lab.shot("notebook")
    lab.page.click(".lm-MenuBar-item:has-text('File')")  # keys may go to the page that a cell shows
    lab.page.click('li[data-command="docmanager:save"]')

    def saved() -> str | None:
        text = path.read_text("utf-8")
        return text if "营销 01" in text else None

    text = wait_for(saved, 60)
    assert "9900000317" not in text.replace("'1' + '9900000317'", "")
    assert "widget-state" not in text and "widget-view" not in text
    assert json.loads(text)["cells"][0]["outputs"]
    lab.nothing_left_the_machine()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_sidebar_is_readable_in_both_themes(window: Window, theme: str) -> None:
    """Text against its background reaches 4.5 (WCAG AA), computed from what the browser drew."""
    lab = window()
    lab.sign_in(Role.OPERATOR)
    lab.page.wait_for_selector(".wb-node")
    if theme == "dark":
        lab.page.click(".wb-status:has-text('浅色')")
        lab.page.wait_for_selector(".wb-side[data-theme=dark]")
    lab.shot(f"sidebar-{theme}")
    lowest = lab.page.evaluate(Path(__file__).with_name("contrast.js").read_text("utf-8"), ".wb-side")
    if theme == "dark":
        lab.page.click(".wb-status:has-text('深色')")
    assert lowest["ratio"] >= 4.5, lowest


def urlparts(url: str) -> str:
    return "/".join(url.split("/")[:3])
