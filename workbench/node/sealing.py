"""Sealing: send own entries to the other institutions until they have co-signed, and say when a job is sealed.

A background thread; it writes no entries of its own, so it comes to rest once everybody has signed.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from workbench.domain.envelope import parse_envelope
from workbench.domain.merkle import SHA256
from workbench.domain.party import PartyId
from workbench.errors import Disputed, PeerError, PeerUnavailable, VerificationError, WorkbenchError
from workbench.flows.jobs import Job

if TYPE_CHECKING:
    from workbench.host import Workbench

LONGEST_PAUSE_S = 30.0
GATHER_S = 0.05
"""After being woken: entries that belong together come within this time."""
BACKLOG_BYTES = 1 << 16
"""A request of this size has more behind it and is followed by the next one at once."""
MOST_SMALL_PULLS = 4
"""Answers smaller than that, one after the other: what comes then was written meanwhile and comes by the partner's own rounds."""


class Sealing:
    """The co-signing rounds of one node."""

    def __init__(self, host: Workbench) -> None:
        self._host = host
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._wakes: dict[PartyId, threading.Event] = {}
        self._behind: set[PartyId] = set()
        self.problems: dict[PartyId, WorkbenchError] = {}

    def start(self) -> None:
        """One thread per witness, so that an absent institution delays nobody else, and one for finished jobs."""
        self._follow_partners()
        self._thread("seal-jobs", self._complete, None)

    def wake(self) -> None:
        """Entries were written or a partner's notice arrived: look again now."""
        for event in list(self._wakes.values()):
            event.set()
        self._wake.set()

    def wake_jobs(self) -> None:
        """A partner's entries arrived: perhaps a job is sealed now."""
        self._wake.set()

    def stop(self) -> None:
        self._stop.set()
        self.wake()
        for thread in self._threads:
            thread.join(timeout=10)

    def round(self, party: PartyId) -> bool:
        """Send everything this witness has not signed; True when it then holds and signed all.

        While a run writes an entry for every message there is always something new, and a round costs both sides some
        milliseconds of signatures: what is not waited for is sent once in the interval of the settings.
        """
        host = self._host
        ledger = host.ledger
        woken = self._wakes.get(party) or threading.Event()
        interval_s = host.setting("node.seal_interval_ms") / 1000
        while (request := ledger.next_request(party)) is not None:
            reply = host.links.call(party, "mirror", request, timeout_s=float(host.setting("node.step_timeout_s")))
            ledger.accept_reply(party, reply, request)
            self._wake.set()
            if self._stop.is_set():
                return False
            if len(request) < BACKLOG_BYTES and woken.wait(interval_s):
                # The next request serves it; left set, it would take the pause from every later one while a run writes.
                woken.clear()
                self._besides(party)
        return True

    def missing(self, job: Job) -> str:
        """What keeps a release from being final: "release-entry", "mirror" or "co-signature" of the partner; "" nothing.

        Nothing is missing once both participants co-signed each other's release entries (decision 4).

        Raises Disputed when the partner's entry, which it named itself, is not the release of the same result.
        """
        host = self._host
        ledger = host.ledger
        if "partner_index" not in job.result or "own_index" not in job.result:
            return "release-entry"
        own = ledger.seal_state(host.party, job.result["own_index"], required=[job.partner])
        if not own.is_final:
            return "co-signature"
        index = job.result["partner_index"]
        if ledger.size(job.partner) <= index:
            return "mirror"
        body = ledger.entry_bodies(job.partner, index, index + 1)[0]
        if SHA256.leaf(body).hex() != str(job.result["partner_leaf"]) or not _agrees(body, job):
            raise Disputed(
                f"{job.partner} 的放行记录与本机构的结果不符，不得导出；请双方合规岗核对",
                f"the release entry of {job.partner} does not fit the result here: nothing may be exported",
                details={"statement": "release"},
            )
        return ""

    def pending(self) -> tuple[int, int]:
        """(sealed, pending) entries of the own log, by the policy of each entry's kind."""
        return self._host.ledger.pending()

    def pull_soon(self, party: PartyId) -> None:
        """This partner's log is longer than its mirror here: ask for the rest in the next round."""
        self._behind.add(party)
        if party in self._wakes:
            self._wakes[party].set()

    def pull(self, party: PartyId) -> int:
        """Ask a partner for what the mirror of its log lacks until nothing is left but what it writes just now; how many entries came.

        A partner that writes without a break is not followed entry by entry: each answer costs both sides some milliseconds. Each answer is treated as a mirror request that was sent here (docs/protocols/ledger.md section 4).
        """
        host, ledger = self._host, self._host.ledger
        before = size = ledger.size(party)
        reply, stalled, small = b"", 0, 0
        while not self._stop.is_set() and stalled < 2 and small < MOST_SMALL_PULLS:
            question = ledger.exchange.pull_question(party, reply)
            answer = host.links.call(party, "pull", question, timeout_s=float(host.setting("node.step_timeout_s")))
            if not answer:
                break
            reply = ledger.witness(party, answer)
            stalled = stalled + 1 if ledger.size(party) == size else 0
            small = small + 1 if len(answer) < BACKLOG_BYTES else 0
            size = ledger.size(party)
        self._wake.set()
        return size - before

    def tell_conflicts(self, party: PartyId) -> None:
        """Pass on every contradiction that this partner has not been told (docs/protocols/ledger.md section 6)."""
        host = self._host
        while (untold := host.ledger.exchange.untold(party)) is not None and not self._stop.is_set():
            numbers, message = untold
            try:
                host.links.call(party, "conflicts", message, timeout_s=float(host.setting("node.step_timeout_s")))
            except PeerUnavailable:
                raise
            except PeerError as error:  # it does not take the proof; told is told, here both heads stay
                host.log_fault(error)
            host.ledger.exchange.told(party, numbers)

    def _follow_partners(self) -> None:
        """A thread for every partner that the allow-list has gained since; the one of a removed partner ends by itself."""
        for party in self._others():
            if party not in self._wakes:
                self._wakes[party] = threading.Event()
                self._behind.add(party)  # it may have gone on while this node was away
                self._thread(f"seal-{party}", self._rounds, party)

    def _rounds(self, party: PartyId) -> None:
        interval_s = self._host.setting("node.seal_interval_ms") / 1000
        pause_s = interval_s
        event = self._wakes[party]
        while not self._stop.is_set():
            if party not in self._others():
                self.problems.pop(party, None)
                self._wakes.pop(party, None)
                return
            event.clear()
            self._besides(party)
            try:
                self.round(party)
                self.problems.pop(party, None)
                pause_s = interval_s
                self._wake.set()
            except VerificationError as error:
                self.problems[party] = error
                pause_s = LONGEST_PAUSE_S
            except WorkbenchError as error:
                self.problems[party] = error
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            except Exception as fault:  # a fault in one round must not end co-signing for ever
                self._host.log_fault(fault)
                pause_s = LONGEST_PAUSE_S
            if self._stop.is_set():  # a round may have taken the wake of `stop` for another one
                return
            if self.problems.get(party) is None:
                event.wait(timeout=2.0)
                self._stop.wait(GATHER_S)
            else:
                self._stop.wait(min(pause_s, 2.0))

    def _besides(self, party: PartyId) -> None:
        """What must go on even while this partner refuses the own log: proofs, and the mirror of its log."""
        try:
            self.tell_conflicts(party)
            if party in self._behind:
                self._behind.discard(party)
                self.pull(party)
        except Exception as fault:  # a refusal, or a fault: the thread must live on
            self._host.log_fault(fault)

    def _complete(self, _: None) -> None:
        while not self._stop.is_set():
            self._wake.wait(timeout=1.0)
            self._wake.clear()
            self._follow_partners()
            if not self._host.ledger.is_open():
                continue
            try:
                self._host.flow.complete_seals()
                self._host.members.settle()
            except Exception as fault:  # the next round tries again
                self._host.log_fault(fault)
                self._stop.wait(1.0)

    def _others(self) -> list[PartyId]:
        return [party for party in self._host.parties() if party != self._host.party]

    def _thread(self, name: str, target: Any, argument: Any) -> None:
        thread = threading.Thread(target=target, args=(argument,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()


def _agrees(body: bytes, job: Job) -> bool:
    """Whether an entry of the partner releases the very result of this job, attempt and contract."""
    envelope = parse_envelope(body)
    expected = {
        "attempt": str(job.attempt),
        "contract": job.result["contract"],
        "result_digest": job.result["partner_digest"],
        "partner_digest": job.result["result_digest"],
    }
    shared = {name: envelope.shared.get(name) for name in expected}
    return envelope.kind == "intersection.released" and envelope.job == job.job and shared == expected
