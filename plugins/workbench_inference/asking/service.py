"""Asking while a tenant's node runs: the desk, what an earlier run left, what is too old to keep.

Document: docs/sandbox-design.md section 5. Nothing of it exists where setting `inference.role` is not `tenant`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, cast

from workbench.contracts import Transaction
from workbench.errors import StartRefused, WorkbenchError
from workbench_inference.asking import house, keeping
from workbench_inference.asking.desk import Desk
from workbench_inference.asking.sandboxes import Sandboxes
from workbench_inference.leasing.keys import LeasingHost
from workbench_inference.leasing.service import tenant_of
from workbench_inference.policy.customers import CustomerNames

ROUND_S: Final = 1.0
SWEEP_S: Final = 3_600.0
DAY_MS: Final = 86_400_000


class Asking:
    """Background work of the plugin at a tenant."""

    name = "inference-asking"

    def __init__(self, host: object) -> None:
        self.host = cast("LeasingHost", host)
        self.customers = CustomerNames(self.host)
        self._desk: Desk | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def desk(self) -> Desk:
        """Made when it is first asked for: the tenant's side of leases is there then."""
        with self._lock:
            if self._desk is None:
                self._desk = Desk(tenant_of(self.host), Sandboxes(self.host), self.customers, self.host.question)
            return self._desk

    def start(self) -> None:
        """Begin; asks of an earlier run have no answer."""
        began_ms = self.host.now_ms()
        self._thread = threading.Thread(target=self._rounds, args=(began_ms,), name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End within seconds; what is under way is cut."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        with self._lock:
            desk = self._desk
        if desk is not None:
            desk.close()

    def _rounds(self, began_ms: int) -> None:
        self._guarded(lambda: house.cut_unfinished(self.host, before_ms=began_ms))
        since = SWEEP_S
        while not self._stop.is_set():
            with self._lock:
                desk = self._desk
            if desk is not None:
                self._guarded(desk.round)
            if since >= SWEEP_S:
                since = 0.0
                self._guarded(self.sweep)
            self._stop.wait(ROUND_S)
            since += ROUND_S

    def sweep(self) -> int:
        """Shred texts and maps that are older than the history is kept; how many. Rows and entries stay: they hold no text."""
        host = self.host
        before = host.now_ms() - int(host.setting("inference.history_days")) * DAY_MS

        def change(tx: Transaction) -> int:
            old = tx.execute("SELECT ask FROM inference_ask WHERE asked_ms < ? AND state NOT IN ('QUEUED', 'STREAMING')", (before,)).fetchall()
            gone = sum(keeping.shred(host, tx, str(one[0])) for one in old)
            for one in old:
                tx.execute("DELETE FROM inference_ask_customer WHERE ask = ?", (str(one[0]),))
                tx.execute("UPDATE inference_ask SET customer = '' WHERE ask = ?", (str(one[0]),))
            return gone

        return host.store.write(change)

    def _guarded(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except WorkbenchError as error:
            self.host.log_fault(error)
        except Exception as fault:  # noqa: BLE001 - one round must not end asking for ever
            self.host.log_fault(fault)


def asking_of(host: object) -> Asking:
    """The asking of this node. Raises StartRefused when it could not be made."""
    found = next((one for one in getattr(host, "background", ()) if isinstance(one, Asking)), None)
    if found is None:
        raise StartRefused("提问功能没有启动：管理员查看健康页与日志", "Asking did not start: an administrator looks at health and log", code="ASKING_NOT_STARTED")
    return found


__all__ = ["Asking", "asking_of"]
