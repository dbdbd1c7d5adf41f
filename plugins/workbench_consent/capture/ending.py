"""Ends questions that nobody answered in time, so that no identifier waits longer than its link. docs/protocols/capture.md section 8."""

from __future__ import annotations

import logging
import threading

from workbench.contracts import Host
from workbench.errors import WorkbenchError
from workbench_consent.capture import asking

EVERY_S = 600.0
log = logging.getLogger("workbench.consent")


class EndsQuestions:
    """Background work of one node: looks every ten minutes; a failure is told by its code and tried again."""

    name = "consent-questions"

    def __init__(self, host: Host, *, every_s: float = EVERY_S) -> None:
        self._host, self._every_s = host, every_s
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; the first look is at once."""
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End within a second."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(5)

    def look(self) -> int:
        """End what is over; how many."""
        with self._host.store.read() as reader:
            late = reader.execute(
                "SELECT count(*) FROM consent_capture_ask WHERE state IN (?, ?) AND expires_ms <= ?", (*asking.WAITING, self._host.now_ms())
            ).fetchone()[0]
        return self._host.store.write(lambda tx: asking.sweep(tx, self._host)) if late else 0

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.look()
            except WorkbenchError as error:
                log.warning("questions could not be ended: %s", error.code)
            self._stopped.wait(self._every_s)
