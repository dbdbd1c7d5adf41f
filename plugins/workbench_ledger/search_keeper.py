"""Keeps the search index up with the logs while the node runs; it writes no evidence, so it comes to rest."""

from __future__ import annotations

import logging
import threading

from workbench.errors import WorkbenchError
from workbench_ledger.search import SearchIndex

log = logging.getLogger("workbench")

PAUSE_S = 1.0
"""Between two looks at logs that have been read; a search reads the last few entries itself."""
BREATH_S = 0.01
"""Between two slices, so that the writer serves whoever waits."""
TROUBLE_S = 30.0


class IndexKeeper:
    """Fulfils workbench.contracts.BackgroundWork."""

    name = "search-index"

    def __init__(self, index: SearchIndex) -> None:
        self._index = index
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
            except WorkbenchError as error:  # a full disk, say: coverage stays what it is and is shown
                log.warning("search index: %s", error.code)
                pause_s = TROUBLE_S
            self._stop.wait(pause_s)


__all__ = ["IndexKeeper"]
