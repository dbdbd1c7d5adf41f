"""Which sandbox a question goes to: one client a card, the one with the least under way, a further one while the lease has cards.

A sandbox that has ended is given up; the next question opens a session with another one, on new evidence of its own. Whoever waits for
a place stands in a line of its lease and is served in order of asking: only the first looks for a place, and is woken when there may be one.
"""

from __future__ import annotations

import itertools
import threading
import time
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
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
_TAKE_OVER_S: Final = 0.25
"""So long after one that could not be had another is asked for: the provider says to nobody when a server takes over."""
_PASSING: Final = frozenset({"SANDBOX_BUSY", "SANDBOX_ENDED", "SANDBOX_REFUSED"})
"""What a sandbox says that has just ended, or one that is not there yet."""


@dataclass(slots=True, eq=False)
class _Ticket:
    """Who waits. number: order of asking; turn: wakes it, over the lock of all; avoided, until: a client that just failed it, monotonic."""

    number: int
    ask: str
    is_stopped: Callable[[], bool]
    turn: threading.Condition
    avoided: SandboxClient | None = None
    until: float = 0.0


@dataclass(slots=True, eq=False)
class _Lease:
    """One lease. wanted: how many `take` are under way; line: who waits, by number; cards: as last read; opening: clients being opened;
    again: no further one is asked for before, monotonic; problem: why the last one could not be had, None once one could."""

    wanted: int = 0
    cards: int = 0
    clients: list[SandboxClient] = field(default_factory=list)
    line: list[_Ticket] = field(default_factory=list)
    opening: int = 0
    again: float = 0.0
    problem: WorkbenchError | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)


class Sandboxes:
    """The clients of this node. Safe for threads."""

    def __init__(self, host: LeasingHost) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._leases: dict[str, _Lease] = {}
        self._held: dict[SandboxClient, int] = {}
        self._manifests: dict[str, Manifest] = {}
        self._is_closed = False
        self.wait_s = WAIT_S

    def manifest(self, row: LeaseRow) -> Manifest:
        """What runs under a lease; read once, since an image id is its digest."""
        found = self._manifests.get(row.order.image)
        if found is None:
            with self._host.store.read() as reader:
                found = self._manifests[row.order.image] = images.manifest_of(reader, row.order.image)[0]
        return found

    def take(
        self, row: LeaseRow, corpus: CorpusFile | None, *, has_standby: bool = False, ask: str = "", is_stopped: Callable[[], bool] = lambda: False
    ) -> SandboxClient:  # fmt: skip
        """A client with a session and room for one more question; give it back with `give`. has_standby: another lease may do.

        ask, is_stopped: whose place it is, for `stop`, and whether it is wanted no more. Raises Refused (ASKS_WAIT where there is no
        room for long, STOPPED), else as `SandboxClient.ensure`.
        """
        most = self.manifest(row).limits.asks_at_once
        wait_s = min(self.wait_s, STANDBY_S) if has_standby else self.wait_s
        ends = time.monotonic() + wait_s
        ticket = _Ticket(next(self._numbers), ask, is_stopped, threading.Condition(self._lock))
        with self._lock:
            lease = self._leases.setdefault(row.lease, _Lease())
            lease.cards = row.cards
            lease.wanted += 1
        try:
            return self._taken(lease, ticket, row, corpus, most, ends, int(wait_s))
        finally:
            with self._lock:
                lease.wanted -= 1

    def _taken(self, lease: _Lease, ticket: _Ticket, row: LeaseRow, corpus: CorpusFile | None, most: int, ends: float, wait_s: int) -> SandboxClient:
        while True:
            found = self._wait(lease, ticket, most, ends, wait_s)
            try:
                found = self._further(lease, row, corpus) if found is None else self._ensured(lease, found, corpus)
            except WorkbenchError as error:
                if error.code not in _PASSING:
                    raise
                self._failed(lease, ticket, found, error)  # another server takes over within seconds, as long as the lease runs
                continue
            with self._lock:
                lease.problem = None
            if ticket.is_stopped():
                self.give(found)
                raise stopped()
            return found

    def _wait(self, lease: _Lease, ticket: _Ticket, most: int, ends: float, wait_s: int) -> SandboxClient | None:
        """Stand in line until there is a place: a client, held, or None for a further one, counted as being opened."""
        with self._lock:
            insort(lease.line, ticket, key=lambda one: one.number)  # who was failed stands where it stood
            try:
                while True:
                    if ticket.is_stopped() or self._is_closed:
                        raise stopped()
                    now = time.monotonic()
                    is_first = lease.line[0] is ticket
                    if is_first:
                        is_found, found = self._place(lease, ticket, most, now)
                        if is_found:
                            return found
                    if now >= ends:
                        raise _again(lease.problem) if lease.problem is not None else asks_wait(wait_s)
                    later = [one - now for one in (lease.again, ticket.until) if one > now] if is_first else []
                    ticket.turn.wait(min([ends - now, *later]))
            finally:
                lease.line.remove(ticket)
                _call(lease)

    def _place(self, lease: _Lease, ticket: _Ticket, most: int, now: float) -> tuple[bool, SandboxClient | None]:
        """Whether there is one, and which: the client with the least under way. An idle one goes before a further one, that before a busy one."""
        lease.clients = [one for one in lease.clients if one.session is not None or one.cause not in CAUSES]
        able = [one for one in lease.clients if one is not ticket.avoided or now >= ticket.until]
        chosen = min(able, key=lambda one: self._held.get(one, 0), default=None)
        under_way = self._held.get(chosen, 0) if chosen is not None else most
        if under_way and now >= lease.again and len(lease.clients) + lease.opening < lease.cards:
            lease.opening += 1
            return True, None
        if chosen is None or under_way >= most:
            return False, None
        self._held[chosen] = under_way + 1
        return True, chosen

    def _ensured(self, lease: _Lease, found: SandboxClient, corpus: CorpusFile | None) -> SandboxClient:
        """With a session; given back, and forgotten if its sandbox is gone, where there is none."""
        try:
            if corpus is not None:
                found.use_corpus(corpus)
            found.ensure()
        except BaseException:
            with self._lock:
                if found in lease.clients and found.session is None:
                    lease.clients.remove(found)
            self.give(found)
            raise
        return found

    def _failed(self, lease: _Lease, ticket: _Ticket, client: SandboxClient | None, error: WorkbenchError) -> None:
        """No sandbox just now: for a while no further one is asked for, and this one not again."""
        with self._lock:
            lease.again = time.monotonic() + _TAKE_OVER_S
            ticket.avoided, ticket.until = client, lease.again
            if error.code != "SANDBOX_BUSY" or not lease.clients:  # where others work, a further one that is not there yet is no trouble
                lease.problem = error

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
        """The question is over: who stands first may have a place."""
        with self._lock:
            left = self._held.pop(client, 0) - 1
            if left > 0:
                self._held[client] = left
            self._call_all()

    def stop(self, ask: str) -> None:
        """Whoever asked wants no more of it: it leaves the line, or the sandbox that answers is told at once, whether or not anything has come."""
        with self._lock:
            for lease in self._leases.values():
                for ticket in lease.line:
                    if ticket.ask == ask:
                        ticket.turn.notify()
            clients = [one for lease in self._leases.values() for one in lease.clients]
        for one in clients:
            one.stop(ask)

    def newest(self, lease: str) -> SandboxClient | None:
        """A client of this lease, for pages; None before the first question."""
        return next(iter(self._of(lease)), None)

    def waiting(self, lease: str) -> int:
        """Questions that wait for its sandboxes or are under way there."""
        with self._lock:
            found = self._leases.get(lease)
            return len(found.line) + sum(self._held.get(one, 0) for one in found.clients) if found is not None else 0

    def seen(self, row: LeaseRow) -> None:
        """A lease as it stands: cards that were added are there for who waits."""
        with self._lock:
            found = self._leases.get(row.lease)
            if found is not None and found.cards != row.cards:
                found.cards = row.cards
                _call(found)

    def close(self, lease: str, *, cause: str) -> None:
        """The lease is over; who waits for it learns so from its provider."""
        with self._lock:
            found = self._leases.get(lease)
            if found is None:
                return
            gone, found.clients = found.clients, []
            if not found.wanted:
                del self._leases[lease]
            _call(found)
        for one in gone:
            one.close(cause=cause)

    def close_all(self, *, cause: str) -> None:
        """The node stops: nobody waits any more."""
        with self._lock:
            self._is_closed = True
            for found in self._leases.values():
                for ticket in found.line:
                    ticket.turn.notify()
        for lease in self.leases():
            self.close(lease, cause=cause)

    def leases(self) -> list[str]:
        """Leases that were asked for a place."""
        with self._lock:
            return list(self._leases)

    def _of(self, lease: str) -> list[SandboxClient]:
        with self._lock:
            found = self._leases.get(lease)
            return list(found.clients) if found is not None else []

    def _further(self, lease: _Lease, row: LeaseRow, corpus: CorpusFile | None) -> SandboxClient:
        """A client of a sandbox that none of the others has, held. Raises as `SandboxClient.ensure`."""
        client: SandboxClient | None = None
        try:
            with lease.turn:  # one at a time: two that ask at once for any sandbox could be given the same
                client = self._opened(lease, row, corpus)
        finally:
            with self._lock:
                lease.opening -= 1
                is_late = self._is_closed
                if client is not None and not is_late:
                    lease.clients.append(client)
                    self._held[client] = 1
                _call(lease)
        if is_late:
            client.close(cause="restart")
            raise stopped()
        return client

    def _opened(self, lease: _Lease, row: LeaseRow, corpus: CorpusFile | None) -> SandboxClient:
        """Of one that has given no evidence yet; where there is none, of one that gave some to a session which is no more, or never was."""
        host, order = self._host, row.order
        names = [""]
        problem: WorkbenchError | None = None
        while names:
            client = SandboxClient(
                HostNode(host, row.partner), HouseJournal(host), LeaseTerms(row.lease, row.partner, Policy(order.policy), _counted(order.policy, order.provenances)),
                corpus=corpus, session_s=int(host.setting("inference.session_s")), tick_s=int(host.setting("inference.tick_s")),
                answer_bytes=self.manifest(row).limits.answer_bytes, sandbox=names[0],
            )  # fmt: skip
            try:
                client.ensure()
                return client
            except BaseException as error:
                client.close(cause=error.code.lower() if isinstance(error, WorkbenchError) else "failed")
                if not isinstance(error, WorkbenchError) or error.code not in _PASSING:
                    raise
                problem = problem or error  # of those that gave evidence before the first alone says how things stand
            if not names.pop(0):
                names = self._known(lease, row)
        assert problem is not None  # one was tried
        raise problem

    def _known(self, lease: _Lease, row: LeaseRow) -> list[str]:
        """Sandboxes of a lease that gave evidence, have not ended as far as is known here, and have no client; the newest first."""
        with self._lock:
            taken = {one.sandbox for one in lease.clients}
        with self._host.store.read() as reader:
            found = reader.execute(
                "SELECT sandbox FROM inference_sandbox WHERE lease = ? AND serial > 0 AND ended_ms = 0 ORDER BY started_ms DESC, sandbox LIMIT ?", (row.lease, row.most_cards)
            ).fetchall()
        return [str(one[0]) for one in found if str(one[0]) not in taken]

    def _call_all(self) -> None:
        for one in self._leases.values():
            _call(one)


def _call(lease: _Lease) -> None:
    """Wake who stands first. The lock is held."""
    if lease.line:
        lease.line[0].turn.notify()


def _again(problem: WorkbenchError) -> WorkbenchError:
    """The same for another question: what is told of one is not told of the other."""
    return type(problem)(problem.zh, problem.en, code=problem.code, details=problem.details)


def stopped() -> Refused:
    """Whoever asked stopped it, and nothing was sent."""
    return Refused("提问在发出前停止", "the question was stopped before it was sent", code="STOPPED")


def asks_wait(retry_after_s: int) -> Refused:
    """Too many questions at once."""
    return Refused(
        f"提问的人较多，请 {retry_after_s} 秒后再试", f"many are asking; try again in {retry_after_s} s", code="ASKS_WAIT",
        details={"retry_after_s": str(retry_after_s)},
    )  # fmt: skip


def _counted(policy: str, provenances: tuple[str, ...]) -> tuple[str, ...]:
    return () if policy == "pqc-only" else provenances


__all__ = ["STANDBY_S", "WAIT_S", "Sandboxes", "asks_wait", "stopped"]
