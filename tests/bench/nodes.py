"""Workspaces with running node processes, each with meters around its engine, and what the kernel says about them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import metered
from workbench.supervisor import RunningNode, running_nodes, stop_nodes
from workbench.workspace import Workspace, create_workspace

ROOT = Path(__file__).parents[2]
COMPILED = ROOT / "build" / "bench-compiled"
"""Machine code made by earlier runs, so that no run measures a compiler."""
READY_S = 120.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PARTIES = ("broker", "bank")


@contextmanager
def workspace_of(parties: tuple[str, ...] = PARTIES) -> Iterator[Workspace]:
    """An empty test workspace; its nodes are stopped and it is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="workbench-bench-"))
    workspace = create_workspace(folder / "workspace", kind="test", parties=parties)
    for party in workspace.parties:
        # One thread for arithmetic: the clock of that thread is the measure of what arithmetic costs.
        (workspace.node_folder(party) / "settings.json").write_text('{"node.threads": 1}')
    try:
        yield workspace
    finally:
        stop_nodes(workspace)
        shutil.rmtree(folder)


def start(workspace: Workspace, program: str = "tests.bench.metered") -> dict[str, RunningNode]:
    """A fresh process for every node, with meters; returns when all are ready.

    program: module that is the node with something added, see `metered`.
    """
    stop_nodes(workspace)
    children = {str(party): _spawn(workspace, party, program) for party in workspace.parties}
    limit = time.monotonic() + READY_S
    while len(nodes := running_nodes(workspace)) < len(children):
        for party, child in children.items():
            if child.poll() is not None:
                log = (workspace.node_folder(party) / "run" / "node.log").read_text("utf-8", "replace")
                raise RuntimeError(f"the node of {party} did not start:\n{log[-2000:]}")
        if time.monotonic() > limit:
            raise RuntimeError("the nodes were not ready in time")
        time.sleep(0.05)
    return {str(party): node for party, node in nodes.items()}


def stop(workspace: Workspace) -> None:
    """Stop the nodes that run."""
    stop_nodes(workspace)


def accounts(workspace: Workspace, party: str) -> dict[str, Any]:
    """What the meters of a node have written: see `metered`."""
    value: dict[str, Any] = json.loads((workspace.node_folder(party) / metered.FILE).read_text("utf-8"))
    return value


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor time of a process since its start, in seconds."""

    user_s: float
    system_s: float

    @property
    def total_s(self) -> float:
        return self.user_s + self.system_s


def processor(pid: int) -> Spent:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Spent(int(fields[11]) / TICKS_PER_S, int(fields[12]) / TICKS_PER_S)


def resident_mb(pid: int, field: str = "VmRSS") -> float:
    """Resident memory of a process in MB (10^6 bytes); VmHWM: the largest since the kernel last restarted counting."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"no {field}")


def _spawn(workspace: Workspace, party: str, program: str) -> subprocess.Popen[bytes]:
    folder = workspace.node_folder(party) / "run"
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in ("node.json", "meter.json"):
        (folder / name).unlink(missing_ok=True)
    COMPILED.mkdir(parents=True, exist_ok=True)
    with (folder / "node.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", program, "workbench.node.service", str(workspace.folder.resolve()), party],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=ROOT,
            env={**os.environ, "NUMBA_CACHE_DIR": str(COMPILED)},
        )
