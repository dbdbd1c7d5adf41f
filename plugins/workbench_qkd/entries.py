"""Entries about sessions, also while the log takes none because no partner has confirmed it yet. Document: docs/protocols/qkd-channel.md section 6."""

from __future__ import annotations

import threading
from typing import Any, Final

from workbench.contracts import Transaction
from workbench.errors import WorkbenchError

LEDGER_CLOSED: Final = "LEDGER_CLOSED"


class Entries:
    """Of one node. The calls that open a log travel in sessions too; no job does before."""

    def __init__(self, host: Any) -> None:  # Any: the node
        self._host = host
        self._owed: list[tuple[str, dict[str, str]]] = []
        self._lock = threading.Lock()

    def enter(self, tx: Transaction, kind: str, values: dict[str, str]) -> None:
        """An entry now, or, while the log is closed, once it is not."""
        try:
            self._host.evidence.append(tx, kind, values)
        except WorkbenchError as error:
            if error.code != LEDGER_CLOSED:
                raise
            with self._lock:
                self._owed.append((kind, values))

    def pay(self) -> None:
        """Write down what the log could not take before, in order; what it still cannot take stays owed."""
        with self._lock:
            owed, self._owed = self._owed, []
        if not owed:
            return
        try:
            self._host.store.write(lambda tx: [self._host.evidence.append(tx, kind, values) for kind, values in owed])
        except WorkbenchError as error:
            with self._lock:
                self._owed = owed + self._owed
            if error.code != LEDGER_CLOSED:
                self._host.log_fault(error)


__all__ = ["Entries"]
