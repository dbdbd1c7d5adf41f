"""`workbench demo`: one command from an empty folder to a released, verified result, and nothing left running."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import Refused
from workbench.supervisor import running_nodes
from workbench.verify import verify_receipt_file
from workbench.workspace import load_workspace

WAIT_S = 280


def workbench(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "workbench.cli", *(str(one) for one in arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def processes_of(folder: Path) -> list[int]:
    """Every process whose command line names this folder, the starting command itself included."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if str(folder.resolve()).encode() in line and state != "Z":
                found.append(int(entry.name))
    return found


def until(claim: Callable[[], bool], *, limit_s: float = WAIT_S) -> None:
    limit = time.monotonic() + limit_s
    while not claim():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any], str]]:
    """A folder after `demo --check`: the folder, what --json printed, what went to standard error."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    child = workbench("demo", folder, "--check", "--customers", 400, "--json")
    out, said = child.communicate(timeout=WAIT_S)
    assert child.returncode == 0, said
    yield folder, json.loads(out), said
    assert processes_of(folder) == []


@pytest.mark.timeout(WAIT_S + 60)
def test_one_command_releases_a_list_and_verifies_its_receipt(made: tuple[Path, dict[str, Any], str]) -> None:
    folder, value, _ = made
    assert value["state"] == "RELEASED"
    assert value["released"] >= 50
    assert value["verdict"]["verdict"] == "OK"
    assert set(value["nodes"]) == {"broker", "cardnet", "bank"}
    assert value["lab"] is None
    for before, after in zip(value["waterfall"], value["waterfall"][1:], strict=False):
        assert before["kept"] - after["removed"] == after["kept"]
    assert value["waterfall"][-1]["kept"] == value["released"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_nothing_runs_after_the_check(made: tuple[Path, dict[str, Any], str]) -> None:
    folder, value, _ = made
    assert processes_of(folder) == []
    assert running_nodes(load_workspace(folder)) == {}
    for node in value["nodes"].values():
        host, _, port = node["staff_url"].removeprefix("http://").partition(":")
        with socket.socket() as probe:
            assert probe.connect_ex((host, int(port))) != 0


def test_the_receipt_holds_for_the_command_that_anybody_can_run(made: tuple[Path, dict[str, Any], str]) -> None:
    folder, value, _ = made
    trust = folder / "broker" / "exports" / "trust.json"
    child = workbench("verify", value["receipt"], "--trust", trust, "--json")
    out, said = child.communicate(timeout=200)
    assert child.returncode == 0, said
    assert json.loads(out)["verdict"] == "OK"
    changed = folder / "changed.json"
    changed.write_text(Path(value["receipt"]).read_text("utf-8").replace("wealth", "health").replace(value["job"], "J-1"), "utf-8")
    assert verify_receipt_file(changed, trust=None).exit_status == 2


def test_no_synthetic_customer_is_printed(made: tuple[Path, dict[str, Any], str]) -> None:
    folder, value, said = made
    lines = (folder / "broker" / "samples" / "customers.csv").read_text("utf-8-sig").splitlines()[1:]
    printed = json.dumps(value) + said
    assert not any(line.split(",")[1] in printed or line.split(",")[2] in printed for line in lines)


@pytest.mark.timeout(2 * WAIT_S)
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)])
def test_a_second_start_uses_the_workspace_and_a_signal_stops_every_process(
    made: tuple[Path, dict[str, Any], str], number: signal.Signals
) -> None:
    """The Lab belongs to the children too: it is started here, without a browser."""
    folder, first, _ = made
    child = workbench("demo", folder, "--no-browser", "--json")
    try:
        assert child.stdout is not None
        value = json.loads(child.stdout.readline())
        assert value["job"] == first["job"]
        assert value["state"] == "RELEASED"
        assert value["verdict"]["verdict"] == "OK"
        assert len(running_nodes(load_workspace(folder))) == 3
        assert value["lab"], "JupyterLab was not started"
        assert len(processes_of(folder)) >= 5
    finally:
        child.send_signal(number)
        _, said = child.communicate(timeout=120)
    assert child.returncode == 0, said
    until(lambda: processes_of(folder) == [], limit_s=120)


@pytest.mark.timeout(WAIT_S)
def test_a_stop_while_the_workspace_is_made_leaves_no_half_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    child = workbench("demo", folder, "--check", "--customers", 400)
    until(lambda: (tmp_path / ".demo.making" / "broker").exists(), limit_s=200)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=200)
    assert child.returncode == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(WAIT_S)
def test_a_folder_with_other_things_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    from workbench.commands.demo import ensure_workspace

    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(Refused) as refused:
        ensure_workspace(tmp_path, customers=400, seed=1)
    assert refused.value.code == "FOLDER_NOT_EMPTY"
    assert [one.name for one in tmp_path.iterdir()] == ["thesis.txt"]
