"""Starting and stopping the node processes of a workspace on this machine; ends only processes it can name."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass

from workbench.domain.party import PartyId
from workbench.errors import StartRefused
from workbench.programs import Program, end, last_error
from workbench.workspace import Workspace

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 20.0
PROGRAM = "workbench.node.service"


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
        end([(_program(workspace, party), child.pid) for party, child in children.items()], timeout_s=STOP_TIMEOUT_S)
        raise
    return running_nodes(workspace)


def stop_nodes(workspace: Workspace, *, parties: tuple[PartyId, ...] = ()) -> list[PartyId]:
    """Stop the nodes of this workspace that run; returns which. A node that does not end in 20 s is killed."""
    nodes = [node for party, node in running_nodes(workspace).items() if not parties or party in parties]
    end([(_program(workspace, node.party), node.pid) for node in nodes], timeout_s=STOP_TIMEOUT_S)
    for node in nodes:
        (workspace.node_folder(node.party) / "run" / "node.json").unlink(missing_ok=True)
    return [node.party for node in nodes]


def _program(workspace: Workspace, party: PartyId) -> Program:
    return Program(PROGRAM, (str(workspace.folder.resolve()), party))


def _spawn(workspace: Workspace, party: PartyId, passphrase: str) -> subprocess.Popen[bytes]:
    folder = workspace.node_folder(party) / "run"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "node.json").unlink(missing_ok=True)
    return _program(workspace, party).start(log=folder / "node.log", passphrase=passphrase)


def _await_ready(workspace: Workspace, party: PartyId, child: subprocess.Popen[bytes], limit: float) -> None:
    while _running(workspace, party) is None:
        if child.poll() is not None:
            error = last_error(workspace.node_folder(party) / "run" / "node.log")
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
        node = RunningNode(party, state["pid"], state["staff_url"], state["peer"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return node if _program(workspace, party).is_process(node.pid) else None
