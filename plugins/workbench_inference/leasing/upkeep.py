"""The life of a provider's servers between leases: looked through when new, made ready for an image, erased, cleaned. docs/protocols/sandbox.md sections 9 and 10.

Which server a lease gets is `provider`'s matter; what is done to servers without one, and to those that a lease has given up, is done here.
What takes seconds runs in threads of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from workbench.contracts import Transaction
from workbench_inference.leasing import capacity, closing, rows
from workbench_inference.leasing.keys import LeasingHost
from workbench_inference.leasing.launching import Growing
from workbench_inference.leasing.rows import LeaseRow
from workbench_inference.leasing.servers import Holding, ServerStage, free, ready_for
from workbench_sandbox.server.contract import Looked, Servers

PREPARING: Final = "preparing"
"""Cause that a server states while it is made ready."""
FIRST_SERVERS: Final = 3
"""Cards of a provider in a demonstration or test that was given none."""
AGAIN_MS: Final = 30_000
"""After so long a server that did not get ready, or a receipt that was not clean, is tried again."""


class Upkeep:
    """held: the sandboxes that hold a card now. Safe for threads; its lock is never held while others are asked."""

    def __init__(self, host: LeasingHost, servers: Servers, held: Callable[[], Sequence[Holding]]) -> None:
        self._host = host
        self._servers = servers
        self._held = held
        self._lock = threading.Lock()
        self._preparing: dict[str, tuple[str, int]] = {}  # server -> (image, since)
        self._erasing: dict[str, int] = {}  # server -> when it was last tried
        self._looked_through: set[str] = set()
        self._workers = ThreadPoolExecutor(4, thread_name_prefix="erase")

    def add_servers(self) -> None:
        """Those of the table; a demonstration that has none gets a few."""
        with self._host.store.read() as reader:
            names = [one.server for one in capacity.known_servers(reader)]
        if not names and self._host.kind != "production" and not self._servers.states():
            names = [f"v-{self._host.random(4).hex()}" for _ in range(FIRST_SERVERS)]
        if isinstance(self._servers, Growing):
            for name in names:
                self._servers.add(name)

    def in_background(self, work: Callable[[], None]) -> None:
        """Do slow work in a thread of this node."""
        self._workers.submit(work)

    def close(self) -> None:
        """Wait for what is being done."""
        self._workers.shutdown(wait=True)

    # ------------------------------------------------------------------ looked through

    def clean_new(self) -> None:
        """A server that has just started is dirty without a cause: nobody knows what was there before. It is looked through once,
        so that what stays dirty is dirty for a reason, which people see."""
        held = {one.server for one in self._held()}
        told = self._servers.states()
        with self._lock:
            busy = held | self._preparing.keys() | self._erasing.keys() | self._looked_through
            new = [one.server for one in told if one.state == ServerStage.DIRTY.value and not one.cause and one.server not in busy]
            self._looked_through.update(new)
            self._erasing.update({server: self._host.now_ms() for server in new})
        for server in new:
            self._workers.submit(self._look_through, server)

    def _look_through(self, server: str) -> None:
        try:
            self.clean(server)
        except Exception as fault:  # noqa: BLE001 - it stays dirty, and an operator may clean it
            self._host.log_fault(fault)
        finally:
            with self._lock:
                self._erasing.pop(server, None)

    def clean(self, server: str) -> Looked:
        """Kill, look and clear a server on a person's word; what a lease still lacks of it is receipted."""
        looked = self._servers.erase(server, reason="operator")
        with self._host.store.read() as reader:
            owing = [one.lease for one in rows.listed(reader, states=rows.OPEN) if one.side == rows.PROVIDER and server in rows.value(reader, one).held]
        for lease in owing:
            closing.receipted(self._host, looked, lease=lease)
        self.mirror()
        return looked

    # ------------------------------------------------------------------ made ready

    def prepare(self, row: LeaseRow) -> None:
        """Make as many servers ready for a lease's image as it lacks."""
        mine = sum(1 for one in self._held() if one.lease == row.lease)
        with self._host.store.read() as reader:
            every = capacity.known_servers(reader)
        now = self._host.now_ms()
        with self._lock:
            usable = free(every, tenant=row.partner, pool=row.order.pool)
            ready = ready_for(every, tenant=row.partner, pool=row.order.pool, image=row.order.image)
            going = [one for one in usable if self._preparing.get(one.server, ("", 0))[0] == row.order.image]
            lacking = row.cards - mine - len({one.server for one in (*ready, *going)})
            # sanitised ones first, then dirty ones, then those that are ready for another image
            order = {ServerStage.SANITISED: 0, ServerStage.DIRTY: 1, ServerStage.READY: 2}
            idle = [one for one in usable if one.server not in self._preparing and one not in ready and one.server not in self._erasing]
            chosen = sorted(idle, key=lambda one: (order[one.stage], one.server))[: max(0, lacking)]
            for one in chosen:
                self._preparing[one.server] = (row.order.image, now)
        for one in chosen:
            self._servers.prepare(one.server, tenant=row.partner, image=row.order.image)

    def forget_preparing(self) -> None:
        """A server that did not get ready in half a minute is tried again."""
        now = self._host.now_ms()
        with self._lock:
            self._preparing = {server: one for server, one in self._preparing.items() if now - one[1] < AGAIN_MS}

    # ------------------------------------------------------------------ erased

    def erase(self, server: str, lease: str, cause: str) -> None:
        """Erase and receipt a server that a lease has given up, in a thread of its own: a look may take seconds."""
        with self._lock:
            self._erasing[server] = self._host.now_ms()
        self._workers.submit(self._erase_now, server, lease, cause)

    def erase_again(self, server: str, lease: str, cause: str) -> None:
        """The same for one whose receipt is still owed; not more often than every half minute."""
        with self._lock:
            tried = self._erasing.get(server, 0)
        if self._host.now_ms() - tried >= AGAIN_MS:
            self.erase(server, lease, cause)

    def _erase_now(self, server: str, lease: str, cause: str) -> None:
        try:
            looked = self._servers.erase(server, reason=cause)
            closing.receipted(self._host, looked, lease=lease)
        except Exception as fault:  # noqa: BLE001 - tried again in half a minute, and UNPROVEN after five
            self._host.log_fault(fault)
            return
        with self._lock:
            if looked.clean:
                self._erasing.pop(server, None)

    # ------------------------------------------------------------------ written down

    def mirror(self) -> None:
        """Write down what the servers say of themselves, with an entry for every change."""
        leases = {one.server: one for one in self._held()}
        told = list(self._servers.states())
        now = self._host.now_ms()
        with self._lock:
            for one in told:
                image, since = self._preparing.get(one.server, ("", now))
                if one.cause == PREPARING:
                    self._preparing[one.server] = (image, now)
                elif one.state == "READY" or (one.cause and one.changed_ms > since):
                    self._preparing.pop(one.server, None)
        with self._host.store.read() as reader:
            known = {one.server: one for one in capacity.known_servers(reader)}
        changed = []
        for one in told:
            before = known.get(one.server)
            holding = leases.get(one.server)
            image = one.image if one.state in ("READY", "LEASED") else ""
            if before is None or (before.stage.value, before.image, before.lease) != (one.state, image, holding.lease if holding else ""):
                changed.append((one, before, image, holding))
        if not changed:
            return

        def change(tx: Transaction) -> None:
            for one, before, image, holding in changed:
                tx.execute(
                    "INSERT INTO inference_server (server, state, image, tenant, lease, changed_ms, cause) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (server) DO UPDATE SET"
                    " state = excluded.state, image = excluded.image, tenant = excluded.tenant, lease = excluded.lease, changed_ms = excluded.changed_ms, cause = excluded.cause",
                    (one.server, one.state, image, holding.tenant if holding else "", holding.lease if holding else "", now, one.cause),
                )
                if before is None or before.stage.value != one.state:
                    values = {"server": one.server, "from": before.stage.value if before else "", "to": one.state, "cause": one.cause}
                    self._host.evidence.append(tx, "inference.server_changed", values)

        self._host.store.write(change)


__all__ = ["AGAIN_MS", "FIRST_SERVERS", "Upkeep"]
