"""Starting and stopping the node processes of a workspace on this machine; ends only processes it can name."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.domain.party import PartyId
from workbench.errors import StartRefused
from workbench.workspace import Workspace

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class RunningNode:
    """A node process: its id, its staff API, and where partners reach it."""

    party: PartyId
    pid: int
    staff_url: str
    peer: str


def running_nodes(workspace: Workspace) -> dict[PartyId, RunningNode]:
    """Nodes that run now, by party; a stale file of a killed node does not count."""
    found: dict[PartyId, RunningNode] = {}
    for party in workspace.parties:
        node = _running(workspace, party)
        if node is not None:
            found[party] = node
    return found


def start_nodes(
    workspace: Workspace, *, passphrase: str = "", parties: tuple[PartyId, ...] = ()
) -> dict[PartyId, RunningNode]:
    """Start every node that does not run yet, each a process of its own; returns when all are ready.

    Raises StartRefused with the node's own reason when one does not come up; the others are stopped again.
    """
    wanted = parties or workspace.parties
    already = running_nodes(workspace)
    children = {party: _spawn(workspace, party, passphrase) for party in wanted if party not in already}
    limit = time.monotonic() + START_TIMEOUT_S
    try:
        for party, child in children.items():
            _await_ready(workspace, party, child, limit)
    except BaseException:
        for child in children.values():
            child.terminate()
        raise
    return running_nodes(workspace)


def stop_nodes(workspace: Workspace, *, parties: tuple[PartyId, ...] = ()) -> list[PartyId]:
    """Stop the nodes of this workspace that run; returns which. A node that does not end in 20 s is killed."""
    stopped: list[PartyId] = []
    nodes = [node for party, node in running_nodes(workspace).items() if not parties or party in parties]
    for node in nodes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(node.pid, signal.SIGCONT)  # a frozen node could not end otherwise
            os.kill(node.pid, signal.SIGTERM)
    limit = time.monotonic() + STOP_TIMEOUT_S
    for node in nodes:
        while _is_node(node.pid, workspace, node.party) and time.monotonic() < limit:
            _reap(node.pid)
            time.sleep(0.05)
        if _is_node(node.pid, workspace, node.party):
            os.kill(node.pid, signal.SIGKILL)
            _reap(node.pid)
        (workspace.node_folder(node.party) / "run" / "node.json").unlink(missing_ok=True)
        stopped.append(node.party)
    return stopped


def _spawn(workspace: Workspace, party: PartyId, passphrase: str) -> subprocess.Popen[bytes]:
    folder = workspace.node_folder(party) / "run"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "node.json").unlink(missing_ok=True)
    log = os.open(folder / "node.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", "workbench.node.service", str(workspace.folder.resolve()), party],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    finally:
        os.close(log)
    assert child.stdin is not None
    child.stdin.write(passphrase.encode() + b"\n")
    child.stdin.close()
    return child


def _await_ready(workspace: Workspace, party: PartyId, child: subprocess.Popen[bytes], limit: float) -> None:
    while _running(workspace, party) is None:
        if child.poll() is not None:
            error = _last_error(workspace.node_folder(party) / "run" / "node.log")
            raise StartRefused(
                f"{party} 的节点没有启动：{error.get('zh', '见 run/node.log')}",
                f"The node of {party} did not start: {error.get('en', 'see run/node.log')}",
                code=str(error.get("code", "NODE_FAILED")),
            )
        if time.monotonic() > limit:
            raise StartRefused(
                f"{party} 的节点 {START_TIMEOUT_S:.0f} 秒内没有就绪，见 run/node.log",
                f"The node of {party} was not ready within {START_TIMEOUT_S:.0f} s; see run/node.log",
                code="NODE_SLOW",
            )
        time.sleep(0.05)


def _running(workspace: Workspace, party: PartyId) -> RunningNode | None:
    path = workspace.node_folder(party) / "run" / "node.json"
    try:
        state = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if not _is_node(state["pid"], workspace, party):
        return None
    return RunningNode(party, state["pid"], state["staff_url"], state["peer"])


def _is_node(pid: int, workspace: Workspace, party: PartyId) -> bool:
    """Whether this process is the node of this workspace: ids are used again, so its command line decides."""
    try:
        parts = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    folder = str(workspace.folder.resolve()).encode()
    return state != "Z" and b"workbench.node.service" in parts and folder in parts and party.encode() in parts


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _last_error(log: Path) -> dict[str, Any]:
    for line in reversed(log.read_text("utf-8", "replace").splitlines()):
        if line.startswith("{"):
            with contextlib.suppress(ValueError):
                value: dict[str, Any] = json.loads(line)
                return value
    return {}
