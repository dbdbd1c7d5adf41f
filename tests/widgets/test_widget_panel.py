"""Components in Panel pages: values go both ways, styles arrive, and no other machine is asked."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from widget_pages import TIMEOUT_MS, watch
from workbench_widgets import COMPONENTS, AnswerStrip, Lanes
from workbench_widgets.samples import BROKER, many_lane_rows, samples

pytest.importorskip("panel", reason="Panel is not installed")
from workbench_widgets.panel_pane import pane  # only where Panel is there


SEEN = """(strip) => {
  const root = strip.shadowRoot;
  window.seen = [];
  new MutationObserver(() => {
    const band = root.querySelector('[role=alert], [role=status][aria-atomic]');
    window.seen.push([band.getAttribute('role'), band.querySelector('h2').textContent.trim(), band.querySelector('p')?.textContent.trim() ?? '']);
  }).observe(root, { subtree: true, childList: true, characterData: true, attributes: true });
}"""
"""Keeps what the answer of the page says after every change of its elements: role, sentence, reason."""


def test_every_component_in_every_state_becomes_a_pane() -> None:
    for sample in samples():
        shown = pane(sample.component(**sample.traits))
        assert json.loads(shown.param.values()["t_state"]) == shown.widget.state
        assert shown.get_root() is not None
        shown.close()
    assert len(COMPONENTS) == 30


def test_values_set_in_python_reach_the_pane_and_stop_when_it_is_closed() -> None:
    answer = AnswerStrip(sentence="一")
    shown = pane(answer)
    answer.sentence = "二"
    assert json.loads(shown.param.values()["t_sentence"]) == "二"
    shown.close()
    answer.sentence = "三"
    assert json.loads(shown.param.values()["t_sentence"]) == "二"


def test_a_browser_can_choose_and_speak_but_not_rewrite_the_data() -> None:
    lanes = Lanes(lanes=[BROKER], rows=many_lane_rows(3))
    shown = pane(lanes)
    heard: list[Any] = []
    lanes.on_action(lambda name, payload: heard.append((name, payload, lanes.selected)))
    rows = lanes.rows
    shown.param.update(
        t_rows="[]",
        t_heading='"x"',
        t_event='{"name": "select", "payload": {"index": 2}, "counter": 1}',
        t_selected="2",
    )
    assert (lanes.rows, lanes.heading) == (rows, "")
    assert heard == [("select", {"index": 2}, 2)]
    shown.close()


@pytest.fixture
def address() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = Path(__file__).with_name("widget_panel_app.py")
    process = subprocess.Popen(
        [sys.executable, str(app), str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    page = f"http://127.0.0.1:{port}/page"
    try:
        for _ in range(300):
            assert process.poll() is None, "the Panel process ended"
            try:
                urllib.request.urlopen(page, timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield page
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.browser
@pytest.mark.timeout(180)
def test_a_served_page_shows_components_and_hears_them(browser: Any, address: str, tmp_path: Path) -> None:
    problems: list[str] = []
    context = browser.new_context(locale="zh-CN", viewport={"width": 1200, "height": 1200})
    tab = context.new_page()
    tab.set_default_timeout(2 * TIMEOUT_MS)
    watch(tab, problems)
    tab.goto(address)
    tab.get_by_text("还没有事件").wait_for()
    assert tab.locator(".kept").nth(1).evaluate("(bar) => getComputedStyle(bar).backgroundColor") == "rgb(23, 80, 143)"
    tab.get_by_role("button", name="去处理最急的一件").click()
    tab.get_by_text("另一线程收到 go").wait_for()
    # Each state that a person could see was assigned as one: never the sentence of one beside the state of the other.
    tab.locator("[data-component=answer_strip]").evaluate(SEEN)
    tab.get_by_role("button", name="来回换").click()
    tab.get_by_text("SWUNG").wait_for()
    seen = {tuple(one) for one in tab.evaluate("window.seen")}
    assert ("alert", "坏", "第二个理由") in seen and ("status", "好", "第一个理由") in seen
    assert {one for one in seen if one[1] in ("好", "坏")} == {("alert", "坏", "第二个理由"), ("status", "好", "第一个理由")}
    tab.get_by_role("button", name="加条件").click()
    tab.get_by_role("checkbox", name="B").click()
    tab.get_by_text("规则 资产档 in (B)").wait_for()
    tab.screenshot(path=tmp_path / "light.png")
    tab.get_by_role("option", name="登记摘要 3").click()
    tab.get_by_text("选中 3，selected = 3").wait_for()
    tab.get_by_text("Why each step has fewer").wait_for()
    assert (
        tab.locator(".kept").nth(1).evaluate("(bar) => getComputedStyle(bar).backgroundColor") == "rgb(141, 185, 242)"
    )
    tab.screenshot(path=tmp_path / "dark.png")
    second = context.new_page()
    second.set_default_timeout(2 * TIMEOUT_MS)
    watch(second, problems)
    second.goto(address)
    second.get_by_text("还没有事件").wait_for()
    context.close()
    assert [problem for problem in problems if not problem.startswith("console")] == []
