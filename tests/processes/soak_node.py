"""A node process under load that shows what it is doing: `python -m tests.processes.soak_node workbench.node.service DIR PARTY`.

It is the program of workbench/node/service.py. Once its ledger takes entries, callers write entries one by one and say so on
standard output, a line each, after the change is on disk: an acknowledgement. In DIR/PARTY/run/marks one byte for each of
DOING counts how many threads are at it, and stays as it was when the process is killed. The name of the real module stands
on the command line because the supervisor recognises a node by it.
"""

from __future__ import annotations

# ruff: noqa: E402  # as in the program itself, memory is arranged before anything large is imported
from workbench.node.memory import give_back_promptly

give_back_promptly()

import functools
import mmap
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.host import Workbench
from workbench_ledger.context import Context
from workbench_ledger.ledger import Ledger

DOING = ("writing", "mirroring", "signing", "collecting")
"""A caller's change; a request of another log; a co-signature of any log; the answer of a mirror."""
STOP = len(DOING)
"""The byte with which the parent ends the load."""
MARKS = "run/marks"
CALLERS = 4
PAUSE_S = (0.005, 0.06)
WAKE_CHANCE = 0.25
"""How often a caller asks for co-signatures at once, as a release does."""


class Marks:
    """The bytes that the parent reads, also after this process has gone."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_bytes(bytes(len(DOING) + 1))
        with path.open("r+b") as file:
            self._bytes = mmap.mmap(file.fileno(), 0)
        self._lock = threading.Lock()

    @property
    def is_stopped(self) -> bool:
        return self._bytes[STOP] != 0

    def around(self, doing: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, marked while it runs."""

        @functools.wraps(work)
        def marked(*args: Any, **keywords: Any) -> Any:
            self._add(DOING.index(doing), 1)
            try:
                return work(*args, **keywords)
            finally:
                self._add(DOING.index(doing), -1)

        return marked

    def _add(self, place: int, number: int) -> None:
        with self._lock:
            self._bytes[place] = self._bytes[place] + number


def call(node: Workbench, marks: Marks) -> None:
    """One caller: write an entry that nobody else writes, acknowledge it, rest, again."""
    chance = random.Random(os.urandom(8))
    partner = next(one for one in node.parties() if one != node.party)
    write = marks.around("writing", node.store.write)
    while not marks.is_stopped:
        if node.ledger.is_open():
            own = os.urandom(32).hex()
            values = {
                "partner": partner, "attempt": "1", "direction": "sent", "message": "points", "round": "1", "size": "1",
                "digest": own,
            }  # fmt: skip
            try:
                ref = write(lambda tx, values=values: node.evidence.append(tx, "intersection.message", values, job="J-soak"))
            except WorkbenchError:
                time.sleep(0.2)  # closed meanwhile, or the node stops
                continue
            os.write(1, f"{ref.index} {own}\n".encode())  # one write of less than a page: whole or not at all
            if chance.random() < WAKE_CHANCE:
                node.sealing.wake()
        time.sleep(chance.uniform(*PAUSE_S))


def main(arguments: list[str]) -> int:
    """Put the marks and the callers in place and be the node."""
    module, folder, party = arguments
    marks = Marks(Path(folder) / party / MARKS)
    Ledger.witness = marks.around("mirroring", Ledger.witness)  # type: ignore[method-assign]
    Ledger.accept_reply = marks.around("collecting", Ledger.accept_reply)  # type: ignore[method-assign]
    Context.cosign = marks.around("signing", Context.cosign)  # type: ignore[method-assign]
    start = Workbench.start

    def started(node: Workbench, links: Any) -> None:
        start(node, links)
        for _ in range(CALLERS):
            threading.Thread(target=call, args=(node, marks), daemon=True).start()

    Workbench.start = started  # type: ignore[method-assign]
    status: int = import_module(module).main([folder, party])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
