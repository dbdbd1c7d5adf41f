"""The page Evidence in Chromium, without a Lab around it: what a person sees, by mouse and by keyboard, in every width."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_fixtures import Institutions, wait_for
from workbench.domain.party import Role

from tests.browser.conftest import settled
from tests.flows.evidence import edit_row

pytestmark = pytest.mark.browser
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

expect = sync_api.expect
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
CONTRAST = Path(__file__).with_name("contrast_all.js").read_text("utf-8")
ANSWER = ".band:not(.empty) h2"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None and os.environ.get("CI") == "1":
        pytest.fail("CI must have Chromium")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; `make system` installs it")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


class Served:
    """The pages of one party's staff, one process for each role, as `workbench.app.preview` serves them."""

    def __init__(self, institutions: Institutions) -> None:
        self._institutions = institutions
        self._running: dict[tuple[str, Role], tuple[subprocess.Popen[bytes], str]] = {}

    def url(self, party: str, role: Role) -> str:
        if (party, role) not in self._running:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            command = [sys.executable, "-m", "workbench.app.preview", str(self._institutions.workspace.folder), party, role.value]
            process = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self._running[party, role] = process, f"http://127.0.0.1:{port}/workbench/app/page?name=evidence"
            wait_for(lambda: _answers(port), 120)
        return self._running[party, role][1]

    def stop(self) -> None:
        for process, _ in self._running.values():
            process.terminate()
            process.wait(20)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def served(institutions: Institutions) -> Iterator[Served]:
    made = Served(institutions)
    yield made
    made.stop()


Open = Callable[..., Any]


@pytest.fixture
def opened(chromium: Any, served: Served) -> Iterator[Open]:
    """Opens the page and waits for its answer; in the end no page may have failed or asked another machine."""
    pages: list[tuple[Any, list[str], list[str]]] = []

    def open_page(query: str = "", *, party: str = "broker", role: Role = Role.COMPLIANCE, width: int = 1440, **look: str) -> Any:
        page = chromium.new_page(viewport={"width": width, "height": 900})
        requests: list[str] = []
        faults: list[str] = []
        page.on("request", lambda one: requests.append(one.url))
        page.on("pageerror", lambda one: faults.append(str(one)))
        page.on("console", lambda one: faults.append(one.text) if one.type == "error" else None)
        pages.append((page, requests, faults))
        extra = "".join(f"&{name}={value}" for name, value in look.items())
        page.goto(f"{served.url(party, role)}&{query}{extra}")
        page.wait_for_selector(ANSWER, timeout=60_000)
        page.wait_for_selector(".note .chip", state="attached", timeout=60_000)  # the entry beside it has arrived too
        return page

    yield open_page
    for page, requests, faults in pages:
        assert requests and all(one.startswith(("http://127.0.0.1:", "blob:", "data:")) for one in requests)
        assert faults == []
        page.close()


@pytest.fixture(scope="module")
def job(institutions: Institutions) -> str:
    found = institutions.released_job()
    with institutions.client("broker", Role.COMPLIANCE) as client:
        wait_for(lambda: client.evidence.check(job=found).pending == 0, 120)
    return found


def focused(page: Any) -> str:
    """Text of the element that has the focus, through every shadow root."""
    return str(
        page.evaluate(
            "() => { let one = document.activeElement; while (one?.shadowRoot?.activeElement) one = one.shadowRoot.activeElement;"
            " return one ? `${one.tagName} ${one.placeholder ?? ''} ${one.textContent.slice(0, 60)}` : ''; }"
        )
    )


def test_a_job_is_answered_before_anything_else_and_its_chain_is_computed_here(opened: Open, job: str) -> None:
    page = opened(f"job={job}")
    page.wait_for_selector(f"{ANSWER}:has-text('这件事可信')")  # rows and a first sentence come before the verdict
    page.wait_for_selector(".chain > .link.holds")
    expect(page.locator(".chain > .link.holds")).to_have_count(3)
    wait_for(lambda: page.locator(".lane-row").count() > 10, 30)
    expect(page.get_by_role("button", name="核对全部")).to_have_count(1)
    expect(page.locator("h2:has-text('它保证不了什么')")).to_have_count(1)
    expect(page.locator("h1").first).to_have_text("证据")


def begins_inside(inner: Any, outer: Any) -> bool:
    one, other = inner.bounding_box(), outer.bounding_box()
    return bool(one and other and other["y"] <= one["y"] <= other["y"] + other["height"])


def ends_inside(inner: Any, outer: Any) -> bool:
    one, other = inner.bounding_box(), outer.bounding_box()
    return bool(one and other and one["y"] + one["height"] <= other["y"] + other["height"])


def test_a_changed_row_is_red_in_page_and_tab_and_comes_into_sight(opened: Open, institutions: Institutions, job: str) -> None:
    with institutions.client("broker", Role.COMPLIANCE) as client:
        entries = client.evidence.timeline(job=job, limit=1000).entries
    [index] = [one.index for one in entries if one.log == "broker" and one.kind == "intersection.grants"]
    path = institutions.workspace.node_folder("broker") / "evidence.db"
    undo = edit_row(path, index, lambda body: body.replace(b'"dropped":"0"', b'"dropped":"3"'))
    try:
        for role in (Role.COMPLIANCE, Role.MARKETING):
            page = opened(f"job={job}", role=role)
            page.wait_for_selector(".band.tampered")
            for said in ("「0」", "「3」"):
                expect(page.locator(".band.tampered")).to_contain_text(said)
            assert page.get_attribute("[role=alert]", "aria-atomic") == "true"
            wait_for(lambda page=page: ends_inside(page.locator(".band.tampered p").last, page.locator(".band.tampered")), 30)
            page.wait_for_selector(".chain > .link.broken")
            expect(page.locator(".chain > .link.holds")).to_have_count(2)
            expect(page.locator("tr.bad")).to_have_count(1)
            row = page.locator(".lane-row.tampered")
            wait_for(lambda row=row, page=page: begins_inside(row, page.locator(".lanes")), 30)
            expect(page).to_have_title("证据　1 条被改")
            expect(page.get_by_role("button", name="核对全部")).to_have_count(1 if role is Role.COMPLIANCE else 0)
    finally:
        undo()


def test_everything_can_be_done_with_the_keyboard(opened: Open, job: str) -> None:
    page = opened("", width=1000)
    page.keyboard.press("/")
    wait_for(lambda: "INPUT" in focused(page), 30)
    page.keyboard.type(job)
    page.keyboard.press("Enter")
    page.wait_for_selector(f".chip:has-text('{job}')")
    page.wait_for_selector(f"{ANSWER}:has-text('这件事可信')")
    lanes = page.locator(".lanes")
    lanes.focus()
    for key in ("Home", "ArrowDown", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("h2:has-text('提议')")
    wait_for(lambda: focused(page).startswith("H2"), 30)
    page.keyboard.press("Escape")
    wait_for(lambda: page.locator(".note .btn.close").is_hidden(), 30)
    page.keyboard.press("?")
    expect(page.locator(".help[open]")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator(".help[open]")).to_have_count(0)


def test_language_and_theme_switch_without_losing_what_was_typed(opened: Open, job: str) -> None:
    page = opened(f"job={job}", lang="en", theme="dark")
    page.wait_for_selector(f"{ANSWER}:has-text('believed')")
    expect(page.locator("html[data-theme=dark][lang=en]")).to_have_count(1)
    page.fill("input[type=search]", "half typed")
    page.wait_for_timeout(5_000)  # one round of looking again
    assert page.input_value("input[type=search]") == "half typed"


@pytest.mark.parametrize("width", [480, 720, 1100, 1280, 1600])
def test_nothing_is_cut_off_in_any_width(opened: Open, job: str, width: int) -> None:
    page = opened(f"job={job}", width=width, lang="en")
    wait_for(lambda: page.evaluate("() => document.documentElement.scrollWidth") <= width, 30)
    if width >= 1200:
        page.wait_for_selector(".chain", state="visible")  # beside the lanes by itself
    else:
        expect(page.locator(".chain")).to_be_hidden()
        page.locator(".lane-row").first.click()
        page.wait_for_selector(".chain", state="visible")
        expect(page.locator(".note .btn.close")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_can_be_read(opened: Open, job: str, theme: str) -> None:
    page = opened(f"job={job}", theme=theme)
    page.wait_for_selector(".band.sealed")
    for step in ("从授权到结果", "核对这一条"):
        page.get_by_role("button", name=step).first.click()
    page.wait_for_selector(".climb .hash.leaf")
    page.wait_for_selector(".stage .flow")
    settled(page)  # the path has been drawn from leaf to root
    lowest = page.evaluate(CONTRAST)
    assert lowest["count"] > 150
    assert lowest["ratio"] >= 4.5, lowest


def test_a_receipt_taken_from_the_page_verifies_without_the_node(opened: Open, institutions: Institutions, job: str, tmp_path: Path) -> None:
    page = opened(f"job={job}")
    with page.expect_download() as told:
        page.get_by_role("button", name="下载收据").first.click()
    receipt = tmp_path / told.value.suggested_filename
    told.value.save_as(receipt)
    trust = tmp_path / "trust.json"
    command = [sys.executable, "-m", "workbench.cli"]
    exported = subprocess.run([*command, "trust", "export", str(institutions.workspace.folder)], capture_output=True, check=True)
    trust.write_bytes(exported.stdout)
    done = subprocess.run([*command, "verify", str(receipt), "--trust", str(trust)], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def test_the_proof_path_is_computed_here_and_the_graph_leads_to_its_entries(opened: Open, job: str) -> None:
    page = opened(f"job={job}")
    page.wait_for_selector(".band.sealed")
    page.get_by_role("button", name="核对这一条").click()
    page.wait_for_selector(".sum:has-text('核对通过')")
    expect(page.locator(".checks > li.ink-sealed")).to_have_count(5)
    page.get_by_role("button", name="从授权到结果").click()
    page.wait_for_selector(".stage .flow")
    wait_for(lambda: page.locator(".stage .flow").count() > 10, 30)
    expect(page.locator(".flow.lonely")).to_have_count(0)
    page.locator(".stage .act", has_text="授权筛选").first.click()
    page.wait_for_selector("h2:has-text('授权筛选')")


def test_a_package_built_on_the_page_is_saved_by_the_browser(opened: Open, job: str, tmp_path: Path) -> None:
    page = opened(f"job={job}")
    page.wait_for_selector(".band.sealed")
    with page.expect_download(timeout=60_000) as told:
        page.get_by_role("button", name="导出证据包").click()
    package = tmp_path / told.value.suggested_filename
    told.value.save_as(package)
    assert package.suffix == ".zip" and package.read_bytes()[:2] == b"PK"


def test_a_customer_is_found_by_phone_and_the_phone_leaves_the_page(opened: Open, institutions: Institutions, job: str) -> None:
    page = opened("")
    page.fill("input[type=search]", "199 5550 0001")
    page.keyboard.press("Enter")
    page.wait_for_selector(".chip:has-text('客户代号')")
    wait_for(lambda: page.input_value("input[type=search]") == "", 30)
    wait_for(lambda: "5550" not in page.content(), 30)


def test_markup_in_a_search_is_shown_as_text(opened: Open, job: str) -> None:
    page = opened(f"job={job}")
    page.fill("input[type=search]", "<img src=x onerror=alert(1)>")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{ANSWER}:has-text('<img src=x')")
    expect(page.locator(".band").first).to_contain_text("没有查")
    assert page.locator("img").count() == 0
