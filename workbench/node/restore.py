"""Before the first entry of a run: ask the mirrors whether this node's own log is complete, and get back what is missing.

Document: docs/protocols/ledger.md section 5. Until then the ledger takes no entry. The order of the steps stands in
`attempt`; each is safe to repeat, so a stop at any moment leaves a node that begins again.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from workbench.contracts import Migration, Transaction
from workbench.domain.envelope import format_time, parse_envelope
from workbench.domain.evidence import Restored, RestoredEntry
from workbench.domain.party import PartyId
from workbench.errors import PeerError, StartRefused, VerificationError, WorkbenchError
from workbench.node.links import bodies_of

if TYPE_CHECKING:
    from workbench.host import Workbench

ASK_TIMEOUT_S = 3.0
FETCH_TIMEOUT_S = 30.0
AGAIN_S = 2.0
PATIENCE_S = 10.0
"""How long a start waits for any partner before the settings decide."""
HEARING_S = 2.0
"""How long a start waits for all partners once one has answered."""
PAUSE_S = 0.2
AUTOMATIC = "automatic"
STATE_FILE = "ledger.json"
REQUEST_FILE = "catch-up"
MAX_NAMED = 200
"""Jobs named in the evidence of a restore."""


RESTORE_MIGRATIONS = (
    Migration(
        owner="restore",
        number=1,
        sql="""
        -- Attempts that came back as entries only: they count against the budget, their jobs are gone.
        CREATE TABLE restore_attempt (
            job        TEXT NOT NULL,
            attempt    INTEGER NOT NULL,
            started_ms INTEGER NOT NULL,
            partner    TEXT NOT NULL,
            purpose    TEXT NOT NULL,
            PRIMARY KEY (job, attempt)
        ) WITHOUT ROWID;
        """,
    ),
)


class Restoring:
    """Confirms, fetches, takes back, replays; then calls `begin` once."""

    def __init__(self, host: Workbench) -> None:
        self._host = host
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._begin: Callable[[], None] = lambda: None
        self._has_begun = False
        self.problem: WorkbenchError | None = None

    def start(self, begin: Callable[[], None]) -> None:
        """Open the ledger and call `begin`; waits a little for a partner to answer, then goes on in the background.

        Nodes of a project often start together: the first must not write before it could have been told.
        """
        self._begin = begin
        self._host.ledger.shut()
        start = time.monotonic()
        has_signers = self._host.ledger.exchange.was_cosigned()
        patience = start + (PATIENCE_S if has_signers else 0)
        hearing = start + (HEARING_S if has_signers else 0)
        while True:
            now = time.monotonic()
            if self.attempt(automatic=self._is_automatic(), alone=now >= patience, some=now >= hearing):
                return
            if now >= patience or self._stop.wait(PAUSE_S):
                threading.Thread(target=self._keep_trying, name="restore", daemon=True).start()
                return

    def stop(self) -> None:
        self._stop.set()

    def attempt(self, *, automatic: bool, alone: bool = True, some: bool = True) -> bool:
        """Confirm the own log with its mirrors, restore it where that is needed and allowed; True when it is open.

        automatic: may entries be fetched back without a person? Called by an operator's catch-up with True. alone: may
        the settings decide already that somebody is silent? some: may they decide so when another has answered? The one
        that is silent may be the one that holds the most, and the one that answers may be the one that hides it: outside
        demo and test a node that its mirrors have co-signed hears all of them, or its operator decides.
        """
        host = self._host
        with self._lock:
            try:
                answered = self._confirm()
                if host.ledger.exchange.lost() is not None:
                    if not automatic:
                        return self._closed(_waits_for_person(host.party))
                    self._fetch()
                    host.ledger.exchange.take_staged()
                elif answered < len(self._others()) and not (
                    self._may_start_alone() and ((some and answered) or alone)
                ):
                    return self._closed(None)
                self._account()
            except WorkbenchError as error:
                return self._closed(error)
            self._open()
            return True

    def _open(self) -> None:
        """Let the ledger take entries, and begin once. What fails there ends the start, and leaves the ledger shut."""
        self._host.ledger.open()
        if not self._has_begun:
            self._has_begun = True
            try:
                self._begin()
            except BaseException:
                self._host.ledger.shut()
                raise
        self.problem = None
        self._announce()

    # ---- steps

    def _confirm(self) -> int:
        """Ask every partner how much of the own log it holds; how many have answered.

        A proof that the own log once had more is kept by the ledger.
        """
        answers = self._ask_all()
        fault: VerificationError | None = None
        heard = 0
        for party, answer in answers.items():
            try:
                self._host.ledger.exchange.learn_held(party, answer)
                heard += 1
            except VerificationError as error:  # an answer that does not verify is none
                if error.code == "FORK":  # proven under the own key: people must look
                    fault = error
        if fault is not None:
            raise fault
        return heard

    def _fetch(self) -> None:
        """Fetch the missing own bodies, from one mirror after the other, until all lie ready."""
        host = self._host
        exchange = host.ledger.exchange
        last: WorkbenchError = PeerError(
            "没有伙伴给出缺少的记录", "no partner gave the missing entries", code="NOTHING_TO_RESTORE"
        )
        # Twice each: what an earlier one gave before it fell silent must not spoil what this one gives.
        for party in (one for one in self._others() for _ in range(2)):
            try:
                while (span := exchange.wanted()) is not None and not self._stop.is_set():
                    bodies = self._bodies(party, *span)
                    exchange.stage(span[0], bodies, party)
                exchange.take_staged()
                return
            except WorkbenchError as error:
                last = error
                if isinstance(error, VerificationError):
                    exchange.drop_staged()  # what this one gave does not fit; the next is asked from the start
        raise last

    def _bodies(self, party: PartyId, start: int, stop: int) -> list[bytes]:
        bodies = bodies_of(self._host.links, party, self._host.party, start, stop, timeout_s=FETCH_TIMEOUT_S)
        if not 1 <= len(bodies) <= stop - start:
            raise PeerError(
                f"{party} 没有给出第 {start} 条起的记录", f"{party} gave no entries from {start} on", code="NOTHING_TO_RESTORE"
            )
        return bodies

    def _account(self) -> None:
        """Index, replay and evidence of what came back; again from here when the node stopped in between."""
        host = self._host
        while (restored := host.ledger.exchange.unfinished()) is not None:
            lost = host.evidence.readmit(restored.start, restored.stop)
            entries = list(_entries(host, restored))
            count_attempts(host, entries)
            host.replay(entries)
            values = _summary(host, restored, lost)
            host.ledger.exchange.finish(restored, _recorder(host, values))

    # ---- private

    def _ask_all(self) -> dict[PartyId, bytes]:
        others = self._others()
        if not others:
            return {}

        def ask(party: PartyId) -> bytes | None:
            try:
                return self._host.links.call(party, "held", b"", timeout_s=ASK_TIMEOUT_S)
            except WorkbenchError:
                return None

        with ThreadPoolExecutor(len(others), thread_name_prefix="held") as workers:
            return {party: one for party, one in zip(others, workers.map(ask, others), strict=True) if one is not None}

    def _keep_trying(self) -> None:
        while not self._stop.wait(AGAIN_S):
            try:
                if self.attempt(automatic=self._is_automatic() or self._was_asked()):
                    return
            except Exception as fault:  # noqa: BLE001  the ledger is shut; what has begun and failed is not begun again
                self._host.log_fault(fault)
                if self._has_begun:
                    self.problem = fault if isinstance(fault, WorkbenchError) else _start_failed(self._host.party)
                    self._announce()
                    return

    def _closed(self, error: WorkbenchError | None) -> bool:
        if error is not None and (self.problem is None or error.code != self.problem.code):
            self._host.log_fault(error)
        self.problem = error
        self._announce()
        return False

    def _announce(self) -> None:
        """Say in the node's own folder how it is: while it is closed nobody can sign in, for a sign-in is an entry."""
        host = self._host
        lost = host.ledger.exchange.lost()
        state = {
            "open": host.ledger.is_open(),
            "problem": self.problem.as_dict() if self.problem else None,
            "lost": {"size": lost.size, "signed": lost.signed} if lost else None,
        }
        folder = host.folder / "run"
        folder.mkdir(mode=0o700, exist_ok=True)
        staged = folder / "ledger.json.new"
        staged.write_text(json.dumps(state, ensure_ascii=False), "utf-8")
        staged.replace(folder / STATE_FILE)

    def _was_asked(self) -> bool:
        """Whether an operator of this machine has asked for a restore (`workbench ledger catch-up`); answered once."""
        request = self._host.folder / "run" / REQUEST_FILE
        if not request.exists():
            return False
        request.unlink()
        return True

    def _is_automatic(self) -> bool:
        return bool(self._host.setting("ledger.restore") == AUTOMATIC)

    def _may_start_alone(self) -> bool:
        return self._host.kind != "production" or bool(self._host.setting("ledger.start_alone"))

    def _others(self) -> list[PartyId]:
        return [party for party in self._host.parties() if party != self._host.party]


def count_attempts(host: Workbench, entries: Sequence[RestoredEntry]) -> int:
    """Let attempts that came back count against their budgets again (decision 13); how many. Safe to repeat.

    The purpose of a job stands in its snapshot and in an own proposal; an attempt without either counts for no purpose.
    """
    purposes = {one.job: one.shared["purpose"] for one in entries if one.job and "purpose" in one.shared}
    rows = [
        (one.job, int(one.shared["attempt"]), one.time_ms, one.shared["partner"], purposes.get(one.job, ""))
        for one in entries
        if one.kind == "intersection.attempt_started"
    ]
    host.store.write(
        lambda tx: tx.executemany(
            "INSERT INTO restore_attempt (job, attempt, started_ms, partner, purpose) "
            "SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS (SELECT 1 FROM host_attempt WHERE job = ?1 AND attempt = ?2) "
            "ON CONFLICT DO NOTHING",
            rows,
        )
    )
    return len(rows)


def _entries(host: Workbench, restored: Restored) -> Iterator[RestoredEntry]:
    for start in range(restored.start, restored.stop, 1_000):
        bodies = host.ledger.entry_bodies(host.party, start, min(start + 1_000, restored.stop))
        for index, body in enumerate(bodies, start):
            one = parse_envelope(body)
            yield RestoredEntry(
                index, one.kind, one.time_ms, one.job, one.actor, dict(one.shared), tuple(sorted(one.committed))
            )


def _summary(host: Workbench, restored: Restored, lost: int) -> dict[str, str]:
    """The fields of `ledger.restored`."""
    kinds: Counter[str] = Counter()
    jobs: dict[str, None] = {}
    first_ms = last_ms = 0
    for entry in _entries(host, restored):
        kinds[entry.kind] += 1
        if entry.job:
            jobs[entry.job] = None
        first_ms = min(first_ms, entry.time_ms) if first_ms else entry.time_ms
        last_ms = max(last_ms, entry.time_ms)
    return {
        "from": str(restored.start),
        "to": str(restored.stop),
        "first_time": format_time(first_ms),
        "last_time": format_time(last_ms),
        "kinds": " ".join(f"{name}:{count}" for name, count in sorted(kinds.items())),
        "jobs": " ".join(list(jobs)[:MAX_NAMED]),
        "mirrors": " ".join(restored.mirrors),
        "values_lost": str(lost),
    }


def _recorder(host: Workbench, values: dict[str, str]) -> Callable[[Transaction], None]:
    def record(tx: Transaction) -> None:
        host.evidence.append(tx, "ledger.restored", values)

    return record


def _start_failed(party: PartyId) -> StartRefused:
    return StartRefused(
        f"{party} 的账本已确认，但节点启动时出错。运维查看节点日志后重启",
        f"the ledger of {party} was confirmed, but the node failed while starting. Operations read its log and restart it",
        code="START_FAILED",
    )


def _waits_for_person(party: PartyId) -> VerificationError:
    return VerificationError(
        f"{party} 的日志是旧副本，按设置等待运维运行 workbench ledger catch-up",
        f"the log of {party} is an older copy; by its settings it waits for operators to run workbench ledger catch-up",
        code="ROLLED_BACK",
        details={"log": party},
    )


__all__ = ["Restoring"]
