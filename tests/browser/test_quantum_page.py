"""The page Quantum channel over a real line: two nodes, two key-management entities, an eavesdropper, two people."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab_fixtures import wait_for
from workbench.client.session import Client, sign_in
from workbench.domain.party import PartyId, Role
from workbench.errors import WorkbenchError
from workbench.supervisor import start_nodes, stop_nodes
from workbench.workspace import Workspace, create_workspace, free_ports
from workbench_qkd import demonstration

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
ANSWER = "[data-component=answer_strip] h2"
SLIDER = "[data-component=attack_slider]"


@dataclass
class Line:
    """A workspace with a line that runs, and the operator's page."""

    workspace: Workspace
    url: str
    staff_url: str

    def client(self, role: Role) -> Client:
        account, password = self.workspace.sign_in("broker", role)
        return sign_in(self.staff_url, account, password)


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    folder = Path(tempfile.mkdtemp(prefix="quantum-"))
    workspace = create_workspace(folder / "ws", kind="test", parties=("broker", "bank"))
    demonstration.make(workspace.folder, ("broker", "bank"))
    free_ports(workspace)
    page = None
    try:
        demonstration.start(workspace.folder)
        nodes = start_nodes(workspace)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "workbench.app.preview", str(workspace.folder), "broker", "operator", "--port", str(port)]
        page = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert wait_for(lambda: _answers(port), 120)
        made = Line(workspace, f"http://127.0.0.1:{port}/workbench/app/page?name=quantum", nodes[PartyId("broker")].staff_url)
        with made.client(Role.OPERATOR) as client:
            assert wait_for(lambda: client.call("qkd.status")["lines"][0]["last_block"] >= 5, 180), "no block was made"
        yield made
    finally:
        if page is not None:
            page.terminate()
            page.wait(20)
        stop_nodes(workspace)
        demonstration.stop(workspace.folder)
        shutil.rmtree(folder)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def test_a_session_runs_between_both_nodes_with_keys_of_both_sites(line: Line) -> None:
    with line.client(Role.OPERATOR) as operator:
        told = operator.call("qkd.rehearse_session", line="a1")
        assert (told["state"], told["provenance"]) == ("ENDED", "simulated")
        leak = operator.call("qkd.leak_report", key_id=told["key_id"])
    assert [one["reference"] for one in leak["uses"]] == [told["session"]]


def test_an_eavesdropper_is_seen_stops_sessions_and_two_people_resume(line: Line, chromium: Any, tmp_path: Path) -> None:
    page = chromium.new_page(viewport={"width": 1440, "height": 1000})
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    page.goto(f"{line.url}&lang=zh&theme=light")
    page.wait_for_selector(f"{ANSWER}:has-text('线路正常')", timeout=60_000)
    assert "把模拟密钥可用" in page.locator(ANSWER).inner_text()
    page.wait_for_selector("[data-component=line_chart] svg path", timeout=60_000)

    slider = page.locator(f"{SLIDER} input[type=range]")
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{ANSWER}:has-text('线路被窃听')", timeout=60_000)
    assert page.locator("[data-component=answer_strip] [role=alert]").count() == 1
    diagram = page.locator("[data-component=line_diagram] svg")
    wait_for(lambda: (diagram.get_attribute("aria-label") or "").count("窃听者") == 1, 30)
    page.screenshot(path=tmp_path / "listened.png", full_page=True)
    assert [one["id"] for one in axe.Axe().run(page, options=RULES).response["violations"]] == []

    with line.client(Role.OPERATOR) as operator, line.client(Role.COMPLIANCE) as compliance:
        told = operator.call("qkd.status")["lines"][0]
        assert told["eavesdropper_fraction"] == 0.25
        assert wait_for(lambda: operator.call("qkd.status")["lines"][0]["held_ms"] > 0, 60)
        with pytest.raises(WorkbenchError) as refused:
            operator.call("qkd.rehearse_session", line="a1")
        assert refused.value.code == "LINE_STOPPED"
        page.locator(f"{SLIDER} button[data-name=off]").click()
        page.wait_for_selector(f"{ANSWER}:has-text('等两个人恢复')", timeout=60_000)
        name = compliance.call("qkd.propose_resume", line="a1", reason="窃听演示已关闭，误码率回到基线")["proposal"]
        page.wait_for_selector("[data-component=two_person_action] button:has-text('确认恢复')", timeout=60_000)
        _, password = line.workspace.sign_in("broker", Role.OPERATOR)
        operator.confirmed("qkd.confirm", password=password, proposal=name)
    page.wait_for_selector(f"{ANSWER}:has-text('线路正常')", timeout=60_000)
    assert all(one.startswith(("http://127.0.0.1:", "blob:", "data:")) for one in asked)
    page.close()
