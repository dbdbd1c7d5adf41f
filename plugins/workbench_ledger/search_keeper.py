"""Keeps the search index up with the logs while the node runs; it writes no evidence, so it comes to rest."""

from __future__ import annotations

import threading
from collections.abc import Callable

from workbench_ledger.search import SearchIndex

PAUSE_S = 1.0
"""Between two looks at logs that have been read; a search reads the last few entries itself."""
BREATH_S = 0.01
"""Between two slices, so that the writer serves whoever waits."""
TROUBLE_S = 30.0


class IndexKeeper:
    """Fulfils workbench.contracts.BackgroundWork. report: takes failures, which end no following."""

    name = "search-index"

    def __init__(self, index: SearchIndex, report: Callable[[BaseException], None]) -> None:
        self._index, self._report = index, report
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to follow the logs in a thread of its own."""
        self._thread = threading.Thread(target=self._follow, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the slice that is being read."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                pause_s = BREATH_S if self._index.step() else PAUSE_S
            except Exception as fault:  # noqa: BLE001 - a full disk or a fault of ours: coverage stays what it is and is shown
                self._report(fault)
                pause_s = TROUBLE_S
            self._stop.wait(pause_s)


__all__ = ["IndexKeeper"]
