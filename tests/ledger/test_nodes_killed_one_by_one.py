"""kill -9 of any single node while it writes, mirrors or signs: what it acknowledged is there, and nothing is forked.

Each institution is a process of its own; between them this test carries the requests, so a kill falls anywhere between a
change and its acknowledgement, and the other side goes on with what it got. Whole nodes under load: tests/processes/test_soak.py.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.world import PARTIES
from workbench.domain.party import PartyId


def test_a_killed_node_has_everything_it_acknowledged_and_the_logs_agree(tmp_path: Path) -> None:
    kill_one_by_one(tmp_path, kills=4, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_a_hundred_kills_of_bare_ledgers_lose_and_fork_nothing(tmp_path: Path) -> None:
    kill_one_by_one(tmp_path, kills=100, seed=int(os.environ.get("WORKBENCH_SOAK_SEED", "7")))


class Gone(Exception):
    """The node was killed before it answered."""


class Child:
    """One node's process; started again after every kill."""

    def __init__(self, folder: Path, party: PartyId) -> None:
        self._command = [sys.executable, str(Path(__file__).with_name("one_node_child.py")), str(folder), party]
        self._settings = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        self.party = party
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._settings, text=True
        )

    def ask(self, do: str, **order: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **order}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Gone from None
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            raise Gone
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                pass


def kill_one_by_one(folder: Path, *, kills: int, seed: int) -> None:
    """As often as said: let the three work, kill one of them at a random moment, start it again, look, go on."""
    chance = random.Random(seed)
    children = {party: Child(folder, party) for party in PARTIES}
    written: dict[PartyId, dict[int, str]] = {party: {} for party in PARTIES}
    held: dict[tuple[PartyId, PartyId], int] = {}
    try:
        for party in PARTIES:
            work(children, party, written, held, count=2)
        for _ in range(kills):
            victim = children[chance.choice(PARTIES)]
            timer = threading.Timer(chance.uniform(0.0, 0.25), victim.process.send_signal, [signal.SIGKILL])
            timer.start()
            try:
                while victim.process.poll() is None:
                    work(children, chance.choice(PARTIES), written, held, count=chance.randint(1, 5))
            except Gone:
                pass
            timer.join()
            victim.end()
            victim.start()
            look(victim, written, held)
        settle(children, written, held)
        states = {party: child.ask("state") for party, child in children.items()}
        copies = {log: [child.ask("leaves", log=log)["leaves"] for child in children.values()] for log in PARTIES}
    finally:
        for child in children.values():
            child.end()
    first = states[PARTIES[0]]
    for party, state in states.items():
        assert (state["findings"], state["conflicts"]) == ([], 0), f"{party}, seed {seed}"
        assert (state["sizes"], state["roots"]) == (first["sizes"], first["roots"]), f"{party}, seed {seed}"
        assert state["seal"] == "FULL"
    for log, leaves in copies.items():
        for copy in leaves:
            assert {index: copy[index] for index in written[log]} == written[log], f"{log}, seed {seed}"


def work(
    children: dict[PartyId, Child],
    origin: PartyId,
    written: dict[PartyId, dict[int, str]],
    held: dict[tuple[PartyId, PartyId], int],
    *,
    count: int,
) -> bool:
    """Write some entries and have both others mirror and co-sign them; whether anything had to be sent."""
    sent = False
    if count:
        acknowledged = children[origin].ask("write", count=count)["written"]
        written[origin] |= {int(index): leaf for index, leaf in acknowledged.items()}
    for witness in PARTIES:
        if witness == origin:
            continue
        request = children[origin].ask("request", witness=witness)
        if request["data"] is None:
            continue
        sent = True
        reply = children[witness].ask("witness", origin=origin, data=request["data"])
        assert "error" not in reply, reply
        held[origin, witness] = reply["held"]
        answer = children[origin].ask("accept", witness=witness, data=reply["data"])
        assert "error" not in answer, answer
    return sent


def look(child: Child, written: dict[PartyId, dict[int, str]], held: dict[tuple[PartyId, PartyId], int]) -> None:
    """What was acknowledged before the kill is there, and an audit finds nothing."""
    state = child.ask("state")
    assert (state["findings"], state["conflicts"]) == ([], 0)
    leaves = child.ask("leaves", log=child.party)["leaves"]
    assert all(leaves[index : index + 1] == [leaf] for index, leaf in written[child.party].items())
    for (origin, witness), size in held.items():
        if witness == child.party:
            assert state["sizes"][origin] >= size


def settle(
    children: dict[PartyId, Child], written: dict[PartyId, dict[int, str]], held: dict[tuple[PartyId, PartyId], int]
) -> None:
    limit = time.monotonic() + 120
    while any(work(children, party, written, held, count=0) for party in PARTIES):
        assert time.monotonic() < limit, "co-signing does not come to rest"
