"""kill -9 of any node while it writes, mirrors and signs: nothing acknowledged is lost, nothing is forked.

Three node processes with mutual TLS between them, each under load by callers of its own (`soak_node`). Again and again one
of them is killed, at a random instant or while it is seen at a given work, and started again while the others go on.
Environment: WORKBENCH_SOAK_KILLS (100), WORKBENCH_SOAK_SEED (drawn and printed).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows.institutions import write_settings
from tests.processes import soak_node
from tests.processes.live import wait_until, workbench
from workbench.domain.envelope import parse_envelope
from workbench.domain.party import PartyId
from workbench.supervisor import running_nodes, stop_nodes
from workbench.workspace import Workspace, create_workspace

START_S = 120
SETTLE_S = 240
SEEN_S = 5.0
AIMS = ("writing", "mirroring", "signing", "")
"""What the node must be seen at when it is killed; "" is whatever it does."""


class SoakedNode:
    """One institution's process, started again after every kill. acknowledged: index -> what its caller wrote there."""

    def __init__(self, workspace: Workspace, party: PartyId) -> None:
        self.workspace, self.party = workspace, party
        self.folder = workspace.node_folder(party)
        self.acknowledged: dict[int, str] = {}
        self.start()

    def start(self) -> None:
        run = self.folder / "run"
        run.mkdir(mode=0o700, exist_ok=True)
        (run / "node.json").unlink(missing_ok=True)
        with (run / "node.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "tests.processes.soak_node", "workbench.node.service",
                    str(self.workspace.folder.resolve()), self.party,
                ],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, cwd=Path(__file__).parents[2], text=True,
            )  # fmt: skip
        self._listener = threading.Thread(target=self._listen, args=(self.process,))
        self._listener.start()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        """Remember what is acknowledged; what a killed process had said is still in the pipe."""
        assert process.stdout is not None
        for line in process.stdout:
            index, _, own = line.strip().partition(" ")
            self.acknowledged[int(index)] = own
        process.stdout.close()

    @property
    def is_ready(self) -> bool:
        assert self.process.poll() is None, f"{self.party} did not start:\n{self._log()}"
        return self.party in running_nodes(self.workspace)

    def doing(self) -> set[str]:
        """What the process is at, or was at when it was killed."""
        marks = (self.folder / soak_node.MARKS).read_bytes()
        return {name for name, count in zip(soak_node.DOING, marks, strict=False) if count}

    def kill(self) -> set[str]:
        """kill -9; what it was at."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._listener.join()
        return self.doing()

    def end_load(self) -> None:
        with (self.folder / soak_node.MARKS).open("r+b") as marks:
            marks.seek(soak_node.STOP)
            marks.write(b"\x01")

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(f"file:{self.folder / 'evidence.db'}?mode=ro", uri=True, timeout=20)) as reader:
            return reader.execute(sql, values).fetchall()

    def bodies(self, log: PartyId) -> dict[int, bytes]:
        """A log as it lies here."""
        if log == self.party:
            return dict(self.rows("SELECT idx, body FROM entry"))
        return dict(self.rows("SELECT idx, body FROM ledger_mirror_entry WHERE origin = ?", log))

    def heads(self) -> dict[str, tuple[Any, ...]]:
        """Size and the peaks of both trees of every log: equal peaks give equal roots."""
        return {row[0]: row[1:] for row in self.rows("SELECT log, size, sha256, sm3 FROM ledger_head")}

    def _log(self) -> str:
        return (self.folder / "run" / "node.log").read_text("utf-8", "replace")[-2000:]


@pytest.fixture
def soaked(tmp_path: Path) -> Iterator[dict[PartyId, SoakedNode]]:
    workspace = create_workspace(tmp_path / "workspace", kind="test")
    for party in workspace.parties:
        write_settings(workspace, party, node__seal_interval_ms=100)
    nodes = {party: SoakedNode(workspace, party) for party in workspace.parties}
    try:
        for node in nodes.values():
            wait_until(lambda node=node: node.is_ready, limit_s=START_S, what=f"the start of {node.party}")  # type: ignore[misc]
        yield nodes
    finally:
        stop_nodes(workspace)
        for node in nodes.values():
            node.kill()


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_a_hundred_kills_under_load_lose_and_fork_nothing(
    soaked: dict[PartyId, SoakedNode], capsys: pytest.CaptureFixture[str]
) -> None:
    kills = int(os.environ.get("WORKBENCH_SOAK_KILLS", "100"))
    seed = int(os.environ.get("WORKBENCH_SOAK_SEED") or int.from_bytes(os.urandom(4), "big"))
    began = time.monotonic()
    with capsys.disabled():
        print(f"\nsoak: {kills} kills, WORKBENCH_SOAK_SEED={seed}", flush=True)
    hit: Counter[str] = Counter()
    chance = random.Random(seed)
    for _ in range(kills):
        victim = soaked[chance.choice(list(soaked))]
        was_at = kill_when(victim, chance.choice(AIMS), after_s=chance.uniform(0.0, 1.0))
        hit.update(was_at or {"between"})
        expected = dict(victim.acknowledged)
        signed = signed_by(victim, soaked)
        victim.start()
        wait_until(lambda node=victim: node.is_ready, limit_s=START_S, what=f"the start of {victim.party}")  # type: ignore[misc]
        look(victim, expected, signed)
    for node in soaked.values():
        node.end_load()
    wait_until(lambda: is_at_rest(soaked), limit_s=SETTLE_S, what="the last co-signatures", pause_s=0.5)
    check_content(soaked)
    for party, node in soaked.items():
        assert node.rows("SELECT count(*) FROM ledger_conflict") == [(0,)], f"{party} keeps a contradiction"
        audit = workbench("audit", node.workspace.folder, "--party", party, "--json")
        assert (audit.status, audit.value["findings"]) == (0, []), f"audit of {party}"
    count = sum(len(node.acknowledged) for node in soaked.values())
    sizes = {party: node.heads()[party][0] for party, node in soaked.items()}
    with capsys.disabled():
        print(
            f"soak: killed while {dict(hit)} (several at once count each); {count} acknowledged entries are in all three "
            f"copies; sizes {sizes}; {time.monotonic() - began:.0f} s",
            flush=True,
        )
    if kills >= 50:
        assert all(hit[one] for one in AIMS if one), f"some work was never hit: {hit}"


def kill_when(victim: SoakedNode, aim: str, *, after_s: float) -> set[str]:
    """Kill after that time, or the first time it is then seen at `aim`, or in a few seconds all the same; what it was at."""
    time.sleep(after_s)
    limit = time.monotonic() + SEEN_S
    while aim and aim not in victim.doing() and time.monotonic() < limit:
        time.sleep(0.0005)
    return victim.kill()


def signed_by(victim: SoakedNode, nodes: dict[PartyId, SoakedNode]) -> dict[PartyId, int]:
    """How many entries of the other logs it has co-signed, as those logs know: it must hold that many."""
    sql = "SELECT coalesce(max(size), 0) FROM ledger_cosignature WHERE log = ? AND signer = ?"
    return {
        party: node.rows(sql, party, victim.party)[0][0] for party, node in nodes.items() if party != victim.party
    }


def look(node: SoakedNode, expected: dict[int, str], signed: dict[PartyId, int]) -> None:
    """What it acknowledged before the kill is there: to its callers the newest thousand by content, to the other logs by size."""
    assert node.rows("SELECT count(*) FROM ledger_conflict") == [(0,)], f"{node.party} keeps a contradiction"
    newest = sorted(expected)[-1000:]
    if newest:
        rows = dict(node.rows("SELECT idx, body FROM entry WHERE idx >= ?", newest[0]))
        for index in newest:
            assert index in rows, f"{node.party}: entry {index} was acknowledged and is gone"
            assert own_text(rows[index]) == expected[index], f"{node.party}: entry {index} is another one"
    heads = node.heads()
    for log, size in signed.items():
        assert size == 0 or heads[log][0] >= size, f"{node.party} signed {size} entries of {log} and holds {heads[log][0]}"


def check_content(nodes: dict[PartyId, SoakedNode]) -> None:
    """Every entry ever acknowledged, by its content at its place, in the own log and byte for byte in both mirrors."""
    for party, node in nodes.items():
        own = node.bodies(party)
        assert sorted(own) == list(range(len(own)))
        lost = [index for index, text in node.acknowledged.items() if index not in own or own_text(own[index]) != text]
        assert not lost, f"{party} lost {len(lost)} acknowledged entries, the first at {min(lost)}"
        for other, mirror in nodes.items():
            if other != party:
                assert mirror.bodies(party) == own, f"{other} holds another log of {party}"


def own_text(body: bytes) -> str:
    """What a caller wrote; "" in other entries."""
    return str(parse_envelope(body).shared.get("digest", ""))


def is_at_rest(nodes: dict[PartyId, SoakedNode]) -> bool:
    """The same trees of every log at all three, and all three have co-signed the whole of each."""
    heads = [node.heads() for node in nodes.values()]
    if any(one != heads[0] for one in heads):
        return False
    for party, node in nodes.items():
        sql = "SELECT count(*) FROM ledger_cosignature WHERE log = ? AND size = ?"
        if node.rows(sql, party, heads[0][party][0]) != [(len(nodes),)]:
            return False
    return True
