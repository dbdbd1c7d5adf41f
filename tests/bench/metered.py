"""A node process that also keeps its own accounts: `python -m tests.bench.metered workbench.node.service DIR PARTY`.

It is the program of workbench/node/service.py with meters put around the public functions of the curve and the public
methods of the engine; nothing of the product knows of it. The accounts lie in DIR/PARTY/run/meter.json: seconds of
processor in curve arithmetic as the calling thread's own clock counts them (so `node.threads` must be 1), and for each
phase of the run the process's seconds and its largest resident memory. The name of the real module stands on the command
line because the supervisor recognises a node by it.
"""

from __future__ import annotations

# ruff: noqa: E402  # as in the program itself, memory is arranged before anything large is imported
from workbench.node.memory import give_back_promptly

give_back_promptly()

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from importlib import import_module
from pathlib import Path
from typing import Any

from workbench.contracts import Phase
from workbench.errors import WorkbenchError
from workbench.node.links import ChannelLinks
from workbench_psi import curve
from workbench_psi.engine import DdhX25519

FILE = "run/meter.json"
WHOLE = ("x25519", "elligator2", "recheck_sample", "recheck_map_sample")


class Meter:
    """Accounts of one process, from its start; a file is written whenever a phase ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._curve: dict[str, dict[str, float]] = {name: {"s": 0.0, "rows": 0} for name in WHOLE}
        self._phases: list[dict[str, Any]] = []
        self._calls: Counter[str] = Counter()
        self._open: _Open | None = None

    def around(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function of the curve, with its thread's time and its rows counted."""
        account = self._curve[name]

        def counted(*args: Any, **keywords: Any) -> Any:
            began = time.thread_time()
            try:
                return work(*args, **keywords)
            finally:
                account["s"] += time.thread_time() - began
                account["rows"] += len(args[-1])

        return counted

    def count_call(self, path: str) -> None:
        """One call to a partner."""
        self._calls[path] += 1

    def restart(self) -> None:
        """Forget what the curve has cost so far: self-test and estimate come before the run."""
        for account in self._curve.values():
            account.update(s=0.0, rows=0)
        self._calls.clear()

    def phase(self, name: str) -> None:
        """One phase ends and another begins; "" for none."""
        if self._open is not None and self._open.name == name:
            return
        if self._open is not None:
            self._phases.append(self._open.ended())
        _restart_peak()
        self._open = _Open(name) if name else None
        self._path.write_text(json.dumps({"curve": self._curve, "phases": self._phases, "calls": self._calls}), "utf-8")

    def watch(self, session: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """The same session; the phases it reports are those of the accounts."""
        answer: Any = None
        failure: BaseException | None = None
        try:
            while True:
                request = session.throw(failure) if failure is not None else session.send(answer)
                answer = failure = None
                if isinstance(request, Phase):
                    self.phase(request.name)
                try:
                    answer = yield request
                except WorkbenchError as error:
                    failure = error
        except StopIteration as stop:
            return stop.value
        finally:
            self.phase("release")
            session.close()


class _Open:
    """The phase that runs now: where the process's counters stood when it began."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._cpu_s, self._thread_s, self._wall_s = time.process_time(), time.thread_time(), time.perf_counter()
        self._thread = threading.get_ident()

    def ended(self) -> dict[str, Any]:
        """What the phase has cost: of the process, of the attempt's own thread (if it was one), and the peak."""
        own = time.thread_time() - self._thread_s if threading.get_ident() == self._thread else 0.0
        return {
            "name": self.name,
            "cpu_s": round(time.process_time() - self._cpu_s, 3),
            "thread_s": round(own, 3),
            "wall_s": round(time.perf_counter() - self._wall_s, 3),
            "peak_mb": _peak_mb(),
        }


def main(arguments: list[str]) -> int:
    """Put the meters in place and be the node."""
    module, folder, party = arguments
    meter = Meter(Path(folder) / party / FILE)
    for name in WHOLE:
        setattr(curve, name, meter.around(name, getattr(curve, name)))
    prepare, session = DdhX25519.prepare, DdhX25519.session

    def metered_prepare(engine: DdhX25519, **keywords: Any) -> Any:
        meter.restart()
        meter.phase("prepare-input")
        try:
            return prepare(engine, **keywords)
        finally:
            meter.phase("agree")

    DdhX25519.prepare = metered_prepare
    DdhX25519.session = lambda engine, **keywords: meter.watch(session(engine, **keywords))
    call = ChannelLinks.call

    def counted_call(links: ChannelLinks, partner: Any, path: str, *args: Any, **keywords: Any) -> bytes:
        meter.count_call(path)
        return call(links, partner, path, *args, **keywords)

    ChannelLinks.call = counted_call  # type: ignore[assignment,method-assign]
    meter.phase("start-and-select")
    status: int = import_module(module).main([folder, party])
    return status


def _peak_mb() -> float:
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) * 1024 / 1e6, 1)
    return 0.0


def _restart_peak() -> None:
    """Let the kernel count the largest resident memory from here on."""
    Path("/proc/self/clear_refs").write_text("5", "ascii")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
