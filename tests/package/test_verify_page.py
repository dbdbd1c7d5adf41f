"""verify.html in a real browser: from disk, with the network cut off, in both languages and both themes."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.package.package_world import files_of, packed, trust_bytes
from workbench_ledger.package.assemble import verify_html
from workbench_ledger.package.verifier import formats
from workbench_ledger.package.verifier.checks import Package, check_package

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WAIT_MS = 20_000
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]

DROP = """async ([files]) => {
  const carried = new DataTransfer();
  for (const [name, text] of files) {
    const data = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
    carried.items.add(new File([data], name));
  }
  document.dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The page opened from disk; `asked` collects every request that is not for a file, `complaints` what it printed."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed; make system installs it")
    path = tmp_path_factory.mktemp("page") / "verify.html"
    path.write_bytes(verify_html())
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(offline=True, locale="zh-CN", viewport={"width": 1200, "height": 900})
        opened = context.new_page()
        opened.asked, opened.complaints = [], []
        opened.on("request", lambda one: opened.asked.append(one.url) if not one.url.startswith("file:") else None)
        opened.on("console", lambda one: opened.complaints.append(one.text))
        opened.on("pageerror", lambda one: opened.complaints.append(str(one)))
        opened.goto(path.as_uri())
        yield opened
        browser.close()


@pytest.fixture
def clear(page: Any) -> Iterator[Any]:
    page.click("#clear")
    yield page
    assert (page.asked, page.complaints) == ([], [])


def shoot(page: Any, name: str) -> None:
    if folder := os.environ.get("WORKBENCH_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def drop(page: Any, **files: bytes) -> None:
    page.evaluate(DROP, [[[name.replace("__", "."), base64.b64encode(data).decode()] for name, data in files.items()]])


def verdict(page: Any, word: str) -> str:
    """The sentence of the answer once the verdict is there."""
    page.wait_for_selector(f"body[data-verdict={word}]", timeout=WAIT_MS)
    return str(page.inner_text("#answer"))


def test_a_package_chosen_with_the_pinned_keys_is_ok_and_every_step_is_shown(clear: Any, package: bytes, tmp_path: Path) -> None:
    (tmp_path / "p.zip").write_bytes(package)
    (tmp_path / "trust.json").write_bytes(trust_bytes())
    clear.set_input_files("#package", str(tmp_path / "p.zip"))
    assert "未钉住公钥" in verdict(clear, "KEYS_NOT_PINNED")
    clear.set_input_files("#trust", str(tmp_path / "trust.json"))
    assert "3 家机构的公钥已钉住" in verdict(clear, "OK")
    held = files_of(package)
    expected = check_package(Package(sorted(held), held.__getitem__, "", []), formats.parse_trust(trust_bytes()), [], None)
    assert clear.locator("ol.steps > li").count() == len(expected["steps"])
    shown = clear.inner_text("#detail")
    assert all(step["zh"] in shown for step in expected["steps"]) and all(one["zh"] in shown for one in expected["unchecked"])
    assert clear.locator("tbody tr").count() == 21
    clear.click("#language")
    assert all(step["en"] in clear.inner_text("#detail") for step in expected["steps"])
    assert clear.evaluate("document.documentElement.lang") == "en"
    clear.click("#language")


def test_files_dropped_together_find_their_places_and_what_was_changed_is_named(clear: Any, package: bytes) -> None:
    files = files_of(package)
    name = "entries/broker/000000000003.json"
    value = json.loads(files[name])
    value["shared"]["note"] = "nothing happened"
    forged = packed({**files, name: json.dumps(value, separators=(",", ":"), sort_keys=True).encode()})
    drop(clear, forged__zip=forged, trust__json=trust_bytes())
    answer = verdict(clear, "FAILED")
    assert "不可信" in answer
    detail = clear.inner_text("#detail")
    assert "broker 第 3 条由正文重算后到不了已签的树根" in detail and "broker 的合规人员" in detail
    assert clear.inner_text("#trust-taken") == "trust.json"
    shoot(clear, "verify-failed")


def test_a_receipt_is_verified_too_and_nonsense_is_told_apart(clear: Any, sealed: Any) -> None:
    receipt = sealed.broker.ledger.receipt("broker", 2)
    drop(clear, receipt__json=json.dumps(receipt).encode())
    verdict(clear, "KEYS_NOT_PINNED")
    drop(clear, trust__json=trust_bytes())
    verdict(clear, "OK")
    clear.click("#clear")
    drop(clear, note__txt=b"hello")
    assert "不是第 1 版证据包" in verdict(clear, "FAILED")
    clear.click("#clear")
    drop(clear, p__zip=b"PK")
    verdict(clear, "FAILED")


def test_a_trust_file_that_is_none_is_not_taken_for_missing(clear: Any, package: bytes) -> None:
    drop(clear, p__zip=package)
    verdict(clear, "KEYS_NOT_PINNED")
    drop(clear, trust__json=trust_bytes().replace(b'"cosign_sm2":"04', b'"cosign_sm2":"05'))
    assert "信任文件不可用" in verdict(clear, "bad_trust")


def test_everything_is_reached_by_keyboard(clear: Any) -> None:
    clear.evaluate("document.activeElement?.blur()")
    reached = []
    for _ in range(10):
        clear.keyboard.press("Tab")
        reached.append(clear.evaluate("document.activeElement.id"))
    assert {"language", "package", "trust", "lists", "receipt", "form", "mldsa", "folder", "clear"} <= set(reached)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_accessibility_fault_in_either_theme(clear: Any, package: bytes, scheme: str) -> None:
    clear.emulate_media(color_scheme=scheme)
    for files, word in (({}, ""), ({"p__zip": package}, "KEYS_NOT_PINNED"), ({"p__zip": package[:-1]}, "FAILED")):
        clear.click("#clear")
        if files:
            drop(clear, **files)
            verdict(clear, word)
        shoot(clear, f"verify-{scheme}-{word or 'empty'}")
        source = Path(axe.__file__).with_name("axe.min.js").read_text("utf-8")
        clear.evaluate(source)
        found = clear.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        assert [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found["violations"]] == []
