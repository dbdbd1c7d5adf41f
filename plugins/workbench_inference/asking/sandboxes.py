"""Which sandbox a question goes to: one client a card, the one with the least under way, a further one while the lease has cards.

A sandbox that has ended is given up; the next question opens a session with another one, on new evidence of its own.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from workbench.channel.terms import Policy
from workbench.errors import Refused, WorkbenchError
from workbench_inference.asking.client import CorpusFile, SandboxClient, Suite
from workbench_inference.asking.house import HostNode, HouseJournal
from workbench_inference.asking.opening import LeaseTerms
from workbench_inference.leasing import images
from workbench_inference.leasing.keys import LeasingHost
from workbench_inference.leasing.lease import CAUSES
from workbench_inference.leasing.rows import LeaseRow
from workbench_sandbox.formats.manifest import Manifest

WAIT_S: Final = 30.0
"""So long a question waits for a place in a sandbox before it is told to come again."""
STANDBY_S: Final = 2.0
"""So long it waits where another model may stand in: one sandbox more of the same lease takes over within about a second."""
_PAUSE_S: Final = 0.02
_TAKE_OVER_S: Final = 0.25
_PASSING: Final = frozenset({"SANDBOX_BUSY", "SANDBOX_ENDED", "SANDBOX_REFUSED"})
"""What a sandbox says that has just ended, or one that is not there yet."""


class Sandboxes:
    """The clients of this node. Safe for threads."""

    def __init__(self, host: LeasingHost) -> None:
        self._host = host
        self._lock = threading.Condition(threading.Lock())
        self._opening = threading.Lock()
        self._clients: dict[str, list[SandboxClient]] = {}
        self._held: dict[int, int] = {}
        self._manifests: dict[str, Manifest] = {}
        self.wait_s = WAIT_S

    def manifest(self, row: LeaseRow) -> Manifest:
        """What runs under a lease; read once, since an image id is its digest."""
        found = self._manifests.get(row.order.image)
        if found is None:
            with self._host.store.read() as reader:
                found = self._manifests[row.order.image] = images.manifest_of(reader, row.order.image)[0]
        return found

    def take(self, row: LeaseRow, corpus: CorpusFile | None, *, has_standby: bool = False) -> SandboxClient:
        """A client with a session and room for one more question; give it back with `give`. has_standby: another lease may do.

        Raises Refused (ASKS_WAIT) where there is no room for long, else as `SandboxClient.ensure`.
        """
        most = self.manifest(row).limits.asks_at_once
        wait_s = min(self.wait_s, STANDBY_S) if has_standby else self.wait_s
        ends = time.monotonic() + wait_s
        while True:
            problem: WorkbenchError | None = None
            try:
                found = self._ready(row, most, corpus)
                if found is not None:
                    return found
            except WorkbenchError as error:
                if error.code not in _PASSING:
                    raise
                problem = error  # another server takes over within seconds, as long as the lease runs
            if time.monotonic() > ends:
                raise problem if problem is not None else asks_wait(int(wait_s))
            if problem is not None:
                time.sleep(_TAKE_OVER_S)
                continue
            with self._lock:
                self._lock.wait(_PAUSE_S)

    def _ready(self, row: LeaseRow, most: int, corpus: CorpusFile | None) -> SandboxClient | None:
        """A client with a session, held; None while there is no room."""
        found = self._free(row, most)
        if found is None and len(self._of(row.lease)) < row.cards:
            found = self._further(row, corpus)
        if found is None:
            return None
        try:
            if corpus is not None:
                found.use_corpus(corpus)
            found.ensure()
        except WorkbenchError:
            self.give(found)
            self._forget(row.lease, found)
            raise
        return found

    def probe(self, row: LeaseRow) -> list[Suite]:
        """The probe suite of every sandbox of a lease that has a session, run now; of one where none has.

        One that ends meanwhile is left out as long as another answers. Raises as `take` and `SandboxClient.probe`.
        """
        clients = [one for one in self._of(row.lease) if one.session is not None]
        if not clients:
            client = self.take(row, None)
            try:
                return [client.probe()]
            finally:
                self.give(client)
        found: list[Suite] = []
        for one in clients:
            try:
                found.append(one.probe())
            except WorkbenchError:
                if one is clients[-1] and not found:
                    raise
        return found

    def give(self, client: SandboxClient) -> None:
        """The question is over."""
        with self._lock:
            self._held[id(client)] = max(0, self._held.get(id(client), 0) - 1)
            self._lock.notify()

    def stop(self, ask: str) -> None:
        """Whoever asked wants no more of it: the sandbox that answers is told at once, whether or not anything has come."""
        with self._lock:
            clients = [one for listed in self._clients.values() for one in listed]
        for one in clients:
            one.stop(ask)

    def newest(self, lease: str) -> SandboxClient | None:
        """A client of this lease, for pages; None before the first question."""
        return next(iter(self._of(lease)), None)

    def waiting(self, lease: str) -> int:
        """Questions that are under way at its sandboxes."""
        with self._lock:
            return sum(self._held.get(id(one), 0) for one in self._clients.get(lease, ()))

    def close(self, lease: str, *, cause: str) -> None:
        """The lease is over."""
        with self._lock:
            gone = self._clients.pop(lease, [])
        for one in gone:
            one.close(cause=cause)

    def close_all(self, *, cause: str) -> None:
        """The node stops."""
        for lease in list(self._clients):
            self.close(lease, cause=cause)

    def leases(self) -> list[str]:
        """Leases with a client."""
        with self._lock:
            return list(self._clients)

    def _of(self, lease: str) -> list[SandboxClient]:
        with self._lock:
            return list(self._clients.get(lease, ()))

    def _free(self, row: LeaseRow, most: int) -> SandboxClient | None:
        """The client with the least under way that has room, held; one whose sandbox is gone is given up. An idle one goes before a further one."""
        with self._lock:
            clients = self._clients.get(row.lease, [])
            for one in list(clients):
                if one.session is None and one.cause in CAUSES:
                    clients.remove(one)
            able = sorted((self._held.get(id(one), 0), place) for place, one in enumerate(clients))
            if not able or able[0][0] >= most or (able[0][0] > 0 and len(clients) < row.cards):
                return None
            chosen = clients[able[0][1]]
            self._held[id(chosen)] = able[0][0] + 1
            return chosen

    def _further(self, row: LeaseRow, corpus: CorpusFile | None) -> SandboxClient | None:
        """A client of a sandbox that has given no evidence yet; None where there is none just now and others have room."""
        with self._opening:
            if self._of(row.lease) and len(self._of(row.lease)) >= row.cards:
                return None
            host, order = self._host, row.order
            client = SandboxClient(
                HostNode(host, row.partner), HouseJournal(host), LeaseTerms(row.lease, row.partner, Policy(order.policy), _counted(order.policy, order.provenances)),
                corpus=corpus, session_s=int(host.setting("inference.session_s")), tick_s=int(host.setting("inference.tick_s")),
                answer_bytes=self.manifest(row).limits.answer_bytes,
            )  # fmt: skip
            with self._lock:
                others = bool(self._clients.get(row.lease))
                self._held[id(client)] = 1
            try:
                client.ensure()
            except Refused as error:
                client.close(cause=error.code.lower())
                if error.code == "SANDBOX_BUSY" and others:
                    return self._least(row)
                raise
            with self._lock:
                self._clients.setdefault(row.lease, []).append(client)
            return client

    def _least(self, row: LeaseRow) -> SandboxClient | None:
        """Where no further sandbox is ready: the client with the least under way, if it has room."""
        most = self.manifest(row).limits.asks_at_once
        with self._lock:
            clients = self._clients.get(row.lease, [])
            chosen = min(clients, key=lambda one: self._held.get(id(one), 0), default=None)
            if chosen is None or self._held.get(id(chosen), 0) >= most:
                return None
            self._held[id(chosen)] = self._held.get(id(chosen), 0) + 1
            return chosen

    def _forget(self, lease: str, client: SandboxClient) -> None:
        with self._lock:
            if client in self._clients.get(lease, ()) and client.session is None:
                self._clients[lease].remove(client)


def asks_wait(retry_after_s: int) -> Refused:
    """Too many questions at once."""
    return Refused(
        f"提问的人较多，请 {retry_after_s} 秒后再试", f"many are asking; try again in {retry_after_s} s", code="ASKS_WAIT",
        details={"retry_after_s": str(retry_after_s)},
    )  # fmt: skip


def _counted(policy: str, provenances: tuple[str, ...]) -> tuple[str, ...]:
    return () if policy == "pqc-only" else provenances


__all__ = ["STANDBY_S", "WAIT_S", "Sandboxes", "asks_wait"]
