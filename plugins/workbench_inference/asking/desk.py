"""Questions that wait and questions under way, in memory: a bounded queue, a few threads that ask, drafts for whoever watches.

An ask is no task: a hundred people may ask, and tasks of a node share four threads. What was said to be asked is in the log, what has
ended is in the vault; what only waited is gone with a stop, and its row says so at the next start.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from workbench.contracts import Transaction
from workbench.domain.party import Caller
from workbench.errors import NotFound, WorkbenchError
from workbench_inference.asking import house
from workbench_inference.asking.house import AskRow
from workbench_inference.asking.keeping import Step
from workbench_inference.asking.sandboxes import Sandboxes, asks_wait, stopped
from workbench_inference.asking.steps import Asked, HouseSteps, Leased, Prepared
from workbench_inference.leasing import rows
from workbench_inference.leasing.rows import LIVE
from workbench_inference.leasing.tenant import Tenant
from workbench_inference.policy.customers import CustomerNames
from workbench_sandbox.formats.asking import Record, Text

MOST_THREADS: Final = 64
"""Ten cards with two questions each, of three models at a time, and some that wait for a place in a sandbox: a model that none is free of
holds up no question to another. A thread is made when a question finds none idle, and asks on until the node stops."""
KEPT: Final = 500
"""Asks whose progress is remembered, the newest."""
RETRY_S: Final = 5
CHANNEL_SHARE: Final = 2
"""One credential of a channel holds at most one place in so many: staff and other channels keep the rest."""


@dataclass(slots=True)
class Progress:
    """One ask as far as it has come. records: number of what was told, which a reader asks from."""

    ask: str
    person: str
    text: list[str] = field(default_factory=list, repr=False)
    steps: list[Step] = field(default_factory=list)
    records: int = 0
    is_over: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    changed: threading.Condition = field(default_factory=threading.Condition)


@dataclass(slots=True)
class _Waiting:
    caller: Caller
    asked: Asked
    prepared: Prepared
    progress: Progress


Flow = Any
"""Module `workbench.flows.question`, handed over by the node: a plugin imports no flow."""


class Desk:
    """All questions of one node. Safe for threads. flow: the order of a question."""

    def __init__(self, tenant: Tenant, sandboxes: Sandboxes, customers: CustomerNames, flow: Flow) -> None:
        self._tenant, self._host, self.sandboxes, self.customers, self._flow = tenant, tenant.host, sandboxes, customers, flow
        self.steps = HouseSteps(tenant, sandboxes, customers, self._stepped, self._is_stopped)
        self._queue: queue.Queue[_Waiting | None] = queue.Queue()
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Progress] = OrderedDict()
        self._open: dict[str, _Waiting] = {}
        self._waiting = self._idle = self._untaken = 0
        self._places: dict[str, int] = {}  # held by each credential of a channel
        self._threads: list[threading.Thread] = []
        self._is_closed = False

    # ------------------------------------------------------------------------------------------------------- asking

    def take_in(self, caller: Caller, asked: Asked) -> tuple[str, int]:
        """(name, how many wait before it) of a question that may be asked. Raises what a rule says; Refused ASKS_WAIT when full,
        or when the channel's credential holds its share."""
        before = self._reserve(asked.credential)
        try:
            return self._taken(caller, asked), before
        except BaseException:
            with self._lock:
                self._release(asked.credential)
            raise

    def _reserve(self, credential: str) -> int:
        """Hold a place, and say how many are held already: check and count are one step."""
        most = int(self._host.setting("inference.queue_most"))
        with self._lock:
            held = self._places.get(credential, 0)
            if self._is_closed or self._waiting >= most or (credential and held >= max(1, most // CHANNEL_SHARE)):
                raise asks_wait(RETRY_S)
            if credential:
                self._places[credential] = held + 1
            self._waiting += 1
            return self._waiting - 1

    def _release(self, credential: str) -> None:
        """Give a place back; the caller holds the lock."""
        self._waiting -= 1
        if credential:
            self._places[credential] -= 1
            if not self._places[credential]:
                del self._places[credential]

    def _taken(self, caller: Caller, asked: Asked) -> str:
        prepared = self._flow.take_in(self._host, self.steps, caller, asked)
        found = prepared.admitted.admission
        now = self._host.now_ms()
        row = AskRow(
            asked.ask, "", caller.person.token, found.role.value, found.scenario.name, f"{found.template.scenario}@{found.template.version}", prepared.admitted.model,
            prepared.klass, "QUEUED", "", now, channel=asked.channel, credential=asked.credential, customer=next(iter(asked.customer), ""),
        )  # fmt: skip
        self._host.store.write(lambda tx: house.taken_in(tx, row))
        progress = Progress(asked.ask, caller.person.token)
        waiting = _Waiting(caller, asked, prepared, progress)
        with self._lock:
            self._known[asked.ask] = progress
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
            self._open[asked.ask] = waiting
            self._untaken += 1
            if self._untaken > self._idle and len(self._threads) < MOST_THREADS:
                self._idle += 1
                thread = threading.Thread(target=self._work, name=f"asker-{len(self._threads) + 1}", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._queue.put(waiting)
        return asked.ask

    def stop(self, ask: str, person: str) -> None:
        """The person who asked wants no more of it: one that was not sent yet has ended when this returns.

        NotFound for another's, or one that is not under way.
        """
        progress = self.progress(ask)
        if progress is None or progress.person != person:
            raise NotFound("没有这次提问，或不是你的", "there is no such question, or it is not yours", code="NO_ASK")
        progress.stop.set()
        with self._lock:
            waiting = self._open.get(ask)
        if waiting is not None:
            error = stopped()
            self.steps.record_refused(waiting.caller, waiting.asked, error)  # nothing where it was sent
            progress.is_over |= "entry" in error.details
        self.sandboxes.stop(ask)
        with progress.changed:
            progress.changed.notify_all()

    def progress(self, ask: str) -> Progress | None:
        """Of an ask of this run of the node."""
        with self._lock:
            return self._known.get(ask)

    def wait(self, progress: Progress, after: int, *, seconds: float) -> None:
        """Until more was told than `after`, it is over, or the time is up."""
        ends = time.monotonic() + seconds
        with progress.changed:
            while progress.records <= after and not progress.is_over and (left := ends - time.monotonic()) > 0:
                progress.changed.wait(left)

    @property
    def waiting(self) -> int:
        """Questions that wait or are under way."""
        with self._lock:
            return self._waiting

    def close(self) -> None:
        """Take nothing more, end sessions; what is under way is cut."""
        with self._lock:
            self._is_closed = True
            threads = list(self._threads)
        for progress in list(self._known.values()):
            progress.stop.set()
        self.sandboxes.close_all(cause="restart")
        for _ in threads:
            self._queue.put(None)
        for thread in threads:
            thread.join(timeout=5)

    def round(self) -> None:
        """Sessions of leases that are over end."""
        for lease in self.sandboxes.leases():
            with self._host.store.read() as reader:
                row = rows.find(reader, lease)
            if row is None or row.state not in LIVE:
                self.sandboxes.close(lease, cause=(row.cause if row is not None else "") or "lease-ended")

    # ------------------------------------------------------------------------------------------------------- inside

    def _work(self) -> None:
        while True:
            waiting = self._queue.get()
            if waiting is None:
                return
            with self._lock:
                self._idle, self._untaken = self._idle - 1, self._untaken - 1
            try:
                self._ask(waiting)
            except WorkbenchError as error:
                self._failed(waiting, error.code)  # where its step could not write down what became of it
            except Exception as fault:  # noqa: BLE001 - a fault of one question must not end the others
                self._host.log_fault(fault)
                self._failed(waiting, "FAILED")
            finally:
                with self._lock:
                    self._release(waiting.asked.credential)
                    self._idle += 1
                    self._open.pop(waiting.asked.ask, None)
                progress = waiting.progress
                with progress.changed:
                    progress.is_over = True
                    progress.text.clear()
                    progress.changed.notify_all()
                del waiting, progress

    def _ask(self, waiting: _Waiting) -> None:
        progress = waiting.progress
        if progress.stop.is_set():
            self.steps.record_refused(waiting.caller, waiting.asked, stopped())
            return
        tell = _teller(progress)
        self._flow.answer(self._host, self.steps, waiting.caller, waiting.asked, waiting.prepared, tell, progress.stop.is_set)

    def _failed(self, waiting: _Waiting, code: str) -> None:
        ask = waiting.asked.ask

        def change(tx: Transaction) -> None:
            row = house.row_of(tx, ask)
            if row is not None and row.state in ("QUEUED", "STREAMING"):
                house.ended(tx, ask, state="FAILED", code=code, at_ms=self._host.now_ms())

        try:
            self._host.store.write(change)
        except WorkbenchError as error:
            self._host.log_fault(error)

    def _is_stopped(self, ask: str) -> bool:
        progress = self.progress(ask)
        return progress is not None and progress.stop.is_set()

    def _stepped(self, ask: str, step: Step, leased: Leased) -> None:
        progress = self.progress(ask)
        if progress is not None:
            with progress.changed:
                progress.steps.append(step)
                progress.records += 1
                progress.changed.notify_all()


def _teller(progress: Progress) -> Callable[[Record], None]:
    """Records as a draft."""

    def tell(record: Record) -> None:
        with progress.changed:
            if isinstance(record, Text):
                progress.text.append(record.d)
            progress.records += 1
            progress.changed.notify_all()

    return tell


__all__ = ["Desk", "Progress"]
