"""Co-signing rounds of three node processes: `python -m tests.bench.rounds workbench.node.service DIR PARTY`.

It is the program of workbench/node/service.py. At the broker a thread waits for DIR/PARTY/run/rounds.order, a number of
rounds. For each it writes one entry as a release does (the write, then a word to the sealing), and notes after how long that
entry was sealed by its policy and when all three institutions had co-signed it. Everything between is the product's: pacing,
mutual TLS on loopback, mirroring, hashing, three signatures on disk at both ends. The figures lie in run/rounds.json.
"""

from __future__ import annotations

# ruff: noqa: E402  # as in the program itself, memory is arranged before anything large is imported
from workbench.node.memory import give_back_promptly

give_back_promptly()

import json
import random
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.bench.ledger import MESSAGE
from workbench.host import Workbench
from workbench_ledger.ledger import Ledger

ORDER, FIGURES = "run/rounds.order", "run/rounds.json"
PAUSE_S = (0.0, 1.5)
"""Between two rounds: sometimes the sealing still rests from the round before, sometimes it sleeps."""
ROUND_S = 30.0


class Rounds:
    """One node's measurements. collected: a mirror's answer has just been taken in."""

    def __init__(self, node: Workbench, collected: threading.Event) -> None:
        self._node, self._collected = node, collected

    def run(self) -> None:
        """Wait for an order, measure, write the figures down, again."""
        order = self._node.folder / ORDER
        while True:
            if not order.exists():
                time.sleep(0.1)
                continue
            count = int(order.read_text())
            order.unlink()
            chance = random.Random(9)
            found = []
            for _ in range(count):
                time.sleep(chance.uniform(*PAUSE_S))
                found.append(self._round())
            staged = self._node.folder / f"{FIGURES}.new"
            staged.write_text(json.dumps({"sealed_ms": [one for one, _ in found], "full_ms": [one for _, one in found]}))
            staged.replace(self._node.folder / FIGURES)

    def _round(self) -> tuple[float, float]:
        """Milliseconds from before the write until the entry was sealed, and until it was full."""
        node = self._node
        began = time.perf_counter()
        ref = node.store.write(lambda tx: node.evidence.append(tx, "intersection.message", MESSAGE, job="J-rounds"))
        node.sealing.wake()
        sealed_ms = 0.0
        while True:
            self._collected.clear()
            state = node.ledger.seal(ref.log, ref.index).state
            passed = (time.perf_counter() - began) * 1e3
            if state != "PENDING" and not sealed_ms:
                sealed_ms = passed
            if state == "FULL":
                return round(sealed_ms, 1), round(passed, 1)
            if not self._collected.wait(ROUND_S):
                raise RuntimeError("no mirror answered")


def main(arguments: list[str]) -> int:
    """Put the measuring thread in place and be the node."""
    module, folder, party = arguments
    collected = threading.Event()
    accept, start = Ledger.accept_reply, Workbench.start

    def accepted(ledger: Ledger, *args: Any) -> None:
        accept(ledger, *args)
        collected.set()

    def started(node: Workbench, links: Any) -> None:
        start(node, links)
        (node.folder / FIGURES).unlink(missing_ok=True)
        threading.Thread(target=Rounds(node, collected).run, daemon=True).start()

    Ledger.accept_reply = accepted  # type: ignore[method-assign]
    Workbench.start = started  # type: ignore[method-assign]
    status: int = import_module(module).main([str(Path(folder)), party])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
