"""What a withdrawal does beyond the gates, in the order of docs/protocols/withdrawal.md.

    1 follow       every withdrawal of the registry becomes a row that is worked off, across stops
    2 search       in which released lists is the customer, and which exports name the customer
    3 tell         one letter to each partner that holds such a list; a contact stop for each export
    4 receive      a partner's letter: mark the rows of that list, note our exports, answer
    5 stop         what an export and marketing ask: who must not be contacted any more

The gates themselves need none of this: they ask the registry, and a withdrawal counts from its own transaction on.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from workbench.contracts import Letter, LetterKind, TakenBack, TellsWithdrawals, Transaction
from workbench.crypto import sm3
from workbench.domain.intersection import JobState
from workbench.domain.party import PartyId
from workbench.domain.withdrawal import (
    LETTER_KIND,
    MOST_JOBS,
    MOST_TAGS,
    SALT_SIZE,
    JobAnswer,
    MeantJob,
    WithdrawalNotice,
    meant,
    pack_answer,
    parse_notice,
    tags_of,
)
from workbench.errors import NotFound, WorkbenchError
from workbench.flows.endings import RUNNING_STATES
from workbench.flows.jobs import Job
from workbench.store.frames import get_frame

if TYPE_CHECKING:
    from workbench.host import Workbench

WITH_LIST = (JobState.SEALING, JobState.RELEASED)
HOUR_MS = 3_600_000
TOKEN_SIZE = 16
LOOK_S = 1.0
OWN = "own"
PARTNER = "partner"


@dataclass(frozen=True, slots=True)
class Export:
    """A file of a job's list that was handed out: its entry, digest, when and by whom (token)."""

    job: str
    entry: int
    file_sm3: str
    at_ms: int
    actor: str


@dataclass(slots=True)
class Open:
    """A withdrawal that is not worked off. waiting: jobs that ran at its time and are searched when they have ended."""

    event: int
    at_ms: int
    entry: int
    purpose: str
    recipient: str
    waiting: list[str]
    is_new: bool
    search: list[Job] = field(default_factory=list)
    found: dict[str, list[str]] = field(default_factory=dict, repr=False)
    exports: list[Export] = field(default_factory=list)

    def concerns(self, job: Job) -> bool:
        """Whether a list of this job lies in the scope of the withdrawal."""
        return self.recipient in ("", job.partner) and self.purpose in ("", job.terms.purpose)


@dataclass(frozen=True, slots=True)
class Meant:
    """What a partner's letter means here. tokens: per job of the rows meant, None where there is no list of it here.

    exports: of the jobs with hits, as far as the own log went (size entries) when they were read.
    """

    notice: WithdrawalNotice
    tokens: dict[str, list[bytes] | None] = field(repr=False)
    exports: dict[str, list[Export]]
    size: int


class Withdrawals:
    """Withdrawals of one node on their way to partners and staff."""

    def __init__(self, host: Workbench) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="withdrawals", daemon=True)

    # ------------------------------------------------------------------ 1 follow

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def wake(self) -> None:
        """Somebody withdrew: look now instead of within a second."""
        self._wake.set()

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self.settle()
            except Exception as fault:  # the next round tries again; what is not followed stays open
                self._host.log_fault(fault)
                self._stop.wait(LOOK_S)
            self._wake.wait(timeout=LOOK_S)
            self._wake.clear()

    def settle(self) -> int:
        """Follow every withdrawal as far as it can be now; how many were looked at. Called in order by anybody.

        Cost: nothing to do 0.2 ms; else every list in scope is opened once, whatever the number of withdrawals.
        """
        registry = self._host.consent
        if not isinstance(registry, TellsWithdrawals):
            return 0
        with self._lock:
            self._take_new(registry)
            todo = [one for one in self._open() if self._plan(one)]
            if todo:
                self._search(registry, todo)
            for one in todo:
                self._host.store.write(partial(self._tell, one=one))
        if todo:
            self._host.letters.wake()
        return len(todo)

    def _take_new(self, registry: TellsWithdrawals) -> None:
        """A row for each withdrawal since the last, with the runs that may still bring the customer into a list."""
        host = self._host
        with host.store.read() as reader:
            last = reader.execute("SELECT coalesce(max(event), 0) FROM host_withdrawal").fetchone()[0]
        new = registry.withdrawals_after(last)
        if not new:
            return
        running = [job for state in sorted(RUNNING_STATES) for job in host.jobs.in_state(state)]

        def change(tx: Transaction) -> None:
            for one in new:
                waiting = [job.job for job in running if _opened(one).concerns(job)]
                tx.execute(
                    "INSERT INTO host_withdrawal (event, at_ms, entry, purpose, recipient, waiting) VALUES (?, ?, ?, ?, ?, ?)",
                    (one.event, one.at_ms, one.entry, one.purpose, one.recipient, json.dumps(waiting)),
                )

        host.store.write(change)

    def _open(self) -> list[Open]:
        with self._host.store.read() as reader:
            rows = reader.execute(
                "SELECT event, at_ms, entry, purpose, recipient, waiting, searched_ms FROM host_withdrawal"
                " WHERE searched_ms IS NULL OR waiting <> '[]' ORDER BY event"
            ).fetchall()
        return [
            Open(
                row["event"], row["at_ms"], row["entry"], row["purpose"], row["recipient"], jobs_told(row["waiting"]),
                row["searched_ms"] is None,
            )
            for row in rows
        ]  # fmt: skip

    # ------------------------------------------------------------------ 2 search

    def _plan(self, one: Open) -> bool:
        """Which jobs to search now; False when a withdrawal only waits for runs to end."""
        jobs = self._host.jobs
        ended = [job for job in map(jobs.get, one.waiting) if job.state not in RUNNING_STATES]
        candidates = ended
        if one.is_new:
            listed = [job for state in WITH_LIST for job in jobs.in_state(state) if job.job not in one.waiting]
            candidates = [*ended, *listed]
        one.search = [job for job in candidates if job.state in WITH_LIST and one.concerns(job)]
        one.waiting = [job for job in one.waiting if job not in {each.job for each in ended}]
        return one.is_new or bool(ended)

    def _search(self, registry: TellsWithdrawals, todo: Sequence[Open]) -> None:
        """Fill `found`: job -> values of its key that are meant. Each list is opened once for all withdrawals."""
        host = self._host
        asking: dict[str, list[Open]] = defaultdict(list)
        jobs: dict[str, Job] = {job.job: job for one in todo for job in one.search}
        for one in todo:
            for job in one.search:
                asking[job.job].append(one)
        numbers = _Numbers(host, registry)
        for job_id, job in sorted(jobs.items(), key=lambda item: str(item[1].request.get("list_id", ""))):
            try:
                with host.store.read() as reader:
                    frame = get_frame(reader, host.vault, f"result/{job_id}")
            except NotFound:
                continue  # shredded meanwhile: nobody can export it
            key = job.terms.key_kind.value
            events = [one.event for one in asking[job_id]]
            listed = numbers.of(str(job.request.get("list_id", "")), events)
            some = frame.filter(_mask(registry, frame, events) | frame["customer_id"].is_in(sorted(listed)))
            for one in asking[job_id] if some.height else ():
                mine = some.filter(
                    _mask(registry, some, [one.event]) | some["customer_id"].is_in(sorted(numbers.of_event(one.event)))
                )
                if mine.height:
                    one.found[job_id] = sorted(set(mine[key].to_list()))
                    one.exports += self._exports(job_id, before=one.entry)

    # ------------------------------------------------------------------ 3 tell

    def _tell(self, tx: Transaction, *, one: Open) -> None:
        """Letters, contact stops, the entry and the new state of one withdrawal, all at once."""
        host, now = self._host, self._host.now_ms()
        jobs: dict[str, Job] = {job.job: job for job in one.search}
        due = now + int(host.setting("consent.acknowledgement_hours")) * HOUR_MS
        by_partner: dict[PartyId, list[MeantJob]] = defaultdict(list)
        for job_id, values in sorted(one.found.items()):
            kind = jobs[job_id].terms.key_kind
            for start in range(0, len(values), MOST_TAGS):
                row = meant(host.random(SALT_SIZE), job=job_id, key_kind=kind, values=values[start : start + MOST_TAGS])
                by_partner[jobs[job_id].partner].append(row)
        told = 0
        for partner, rows in sorted(by_partner.items()):
            if partner not in host.parties():
                continue  # it left the project: nobody to tell; the operation shows it
            for part in _letters(rows):
                body = WithdrawalNotice(one.purpose, one.at_ms, tuple(part)).pack()
                letter = host.letters.post(tx, to=partner, kind=LETTER_KIND, body=body)
                tx.execute(
                    "INSERT INTO host_withdrawal_letter (letter, event, partner, jobs, due_ms) VALUES (?, ?, ?, ?, ?)",
                    (letter, one.event, partner, json.dumps([each.job for each in part]), due),
                )
                told += 1
        exports = self._note(tx, one.exports, OWN, str(one.event))
        if one.is_new or one.found:
            entry = {
                "event": str(one.event), "partners": " ".join(sorted(by_partner)), "jobs": " ".join(sorted(one.found)),
                "exports": str(exports),
            }  # fmt: skip
            host.evidence.append(tx, "consent.withdrawal_followed", entry)
        gone = sorted(set(by_partner) - set(host.parties()))
        tx.execute(
            "UPDATE host_withdrawal SET searched_ms = coalesce(searched_ms, ?), waiting = ?,"
            " gone = trim(gone || ' ' || ?) WHERE event = ?",
            (now, json.dumps(one.waiting), " ".join(gone), one.event),
        )

    def _exports(self, job: str, *, before: int) -> list[Export]:
        """Exports of a job whose entries lie before an index of the own log; not inside a change."""
        host, found = self._host, list[Export]()
        with host.store.read() as reader:
            while rows := host.evidence.search(reader, job=job, kind="intersection.exported", before=before, limit=1000):
                before = rows[-1].index
                for row in rows:
                    seen = host.evidence.entry(reader, row.index, required=[])
                    found.append(Export(job, row.index, seen.values.get("file_sm3", ""), seen.time_ms, seen.actor))
        return found

    def _note(self, tx: Transaction, exports: Sequence[Export], origin: str, cause: str) -> int:
        """A contact stop for each; how many are new. No identifier is kept."""
        now = self._host.now_ms()
        rows = [(origin, cause, one.job, one.entry, one.file_sm3, one.at_ms, one.actor, now) for one in exports]
        done = tx.executemany(
            "INSERT OR IGNORE INTO host_contact_stop (origin, cause, job, export, file_sm3, exported_ms, exported_by, at_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        return max(done.rowcount, 0)

    # ------------------------------------------------------------------ 4 receive

    def letter_kinds(self) -> list[LetterKind]:
        """What the node's letter service is given."""
        return [LetterKind(LETTER_KIND, self._receive, self._find_meant)]

    def _find_meant(self, letter: Letter) -> Meant:
        """Whom the letter means. Cost: one HMAC a row of each list; outside the writer."""
        size = self._host.ledger.size(self._host.party)
        notice = parse_notice(letter.body)
        found: dict[str, list[bytes] | None] = {}
        for one in notice.jobs:
            values = self._values_of(letter.sender, one)
            if values is None:
                found[one.job] = None
                continue
            wanted = set(one.tags)
            tags = tags_of(one.salt, job=one.job, key_kind=one.key_kind, values=values)
            hits = [value for value, tag in zip(values, tags, strict=True) if tag in wanted]
            found[one.job] = [self._token(one.job, value) for value in hits]
        exports = {job: self._exports(job, before=size) for job, tokens in found.items() if tokens}
        return Meant(notice, found, exports, size)

    def _values_of(self, sender: PartyId, one: MeantJob) -> list[str] | None:
        """The keys of our released list of this job with the sender; None without one.

        Raises a failure that is no refusal while the job still runs here, so that the letter comes again.
        """
        host = self._host
        try:
            job = host.jobs.get(one.job)
            if job.partner != sender or job.terms.key_kind is not one.key_kind:
                return None
            if job.state in RUNNING_STATES:
                raise WorkbenchError(
                    f"{one.job} 在本机构还没有结束，稍后再送", f"{one.job} has not ended here yet; deliver later", code="JOB_RUNNING"
                )
            with host.store.read() as reader:
                frame = get_frame(reader, host.vault, f"result/{one.job}")
        except NotFound:
            return None
        return [str(value) for value in frame[one.key_kind.value].to_list()]

    def _receive(self, tx: Transaction, letter: Letter) -> bytes:
        """Mark, note our own exports, record, answer."""
        host, prepared = self._host, letter.prepared
        assert isinstance(prepared, Meant)
        answers: list[JobAnswer] = []
        for one in prepared.notice.jobs:
            tokens = prepared.tokens[one.job]
            if not tokens:
                answers.append(JobAnswer(one.job, "no-list" if tokens is None else "not-found", 0, 0))
                continue
            if host.evidence.search(tx, job=one.job, kind="intersection.exported", after=prepared.size - 1, limit=1):
                raise WorkbenchError(
                    f"{one.job} 此刻正在导出，稍后再送", f"{one.job} is being exported at this moment; deliver later", code="EXPORTING"
                )
            rows = [(one.job, token, letter.sender, host.now_ms()) for token in tokens]
            new = tx.executemany("INSERT OR IGNORE INTO host_stopped (job, customer, partner, at_ms) VALUES (?, ?, ?, ?)", rows)
            noted = self._note(tx, prepared.exports[one.job], PARTNER, letter.id) if new.rowcount > 0 else 0
            answers.append(JobAnswer(one.job, "marked", len(tokens), noted))
        values = {
            "partner": letter.sender, "letter": letter.id,
            "jobs": " ".join(one.job for one in answers if one.state == "marked"),
            "marked": str(sum(one.customers for one in answers)), "exports": str(sum(one.exports for one in answers)),
        }  # fmt: skip
        host.evidence.append(tx, "consent.withdrawal_received", values)
        return pack_answer(answers)

    # ------------------------------------------------------------------ 5 stop

    def state_of_stops(self, reader: Any, job: str) -> int:
        """A number that changes whenever a partner stops somebody of this job's list."""
        return int(reader.execute("SELECT count(*) FROM host_stopped WHERE job = ?", (job,)).fetchone()[0])

    def stopped(self, job: str, values: Sequence[str]) -> np.ndarray:
        """bool (n): whose withdrawal the partner of this job has told. Cost: an HMAC a row where there is any."""
        with self._host.store.read() as reader:
            rows = reader.execute("SELECT customer FROM host_stopped WHERE job = ?", (job,)).fetchall()
        if not rows:
            return np.zeros(len(values), bool)
        known = {bytes(row[0]) for row in rows}
        tokens = sm3.hmac_many(self._key(), [_token_text(job, value) for value in values])
        return np.fromiter((token[:TOKEN_SIZE] in known for token in tokens), bool, len(values))

    def newest_event(self, tx: Transaction) -> int:
        """Number of the newest consent event as this very transaction sees it; 0 where the registry cannot tell."""
        registry = self._host.consent
        return registry.newest_event(tx) if isinstance(registry, TellsWithdrawals) else 0

    def _token(self, job: str, value: str) -> bytes:
        return sm3.hmac(self._key(), _token_text(job, value))[:TOKEN_SIZE]

    def _key(self) -> bytes:
        return self._host.vault.token_key("contact-stop")


class _Numbers:
    """Customer numbers of the institution's own lists that withdrawals mean; one list in memory at a time."""

    def __init__(self, host: Workbench, registry: TellsWithdrawals) -> None:
        self._host = host
        self._registry = registry
        self._list = ""
        self._frame: pl.DataFrame | None = None
        self._of_event: dict[int, set[str]] = {}

    def of(self, list_id: str, events: Sequence[int]) -> set[str]:
        """Of any of these events; asked list by list."""
        if list_id != self._list:
            self._list, self._of_event = list_id, {}
            try:
                self._frame = self._host.lists.frame(list_id) if list_id else None
            except WorkbenchError:
                self._frame = None  # erased, or not ours any more
        missing = [event for event in events if event not in self._of_event]
        if missing and self._frame is not None:
            some = self._frame.filter(pl.Series(self._registry.rows_meant(self._frame, missing)))
            for event in missing:
                mask = self._registry.rows_meant(some, [event]) if some.height else np.zeros(0, bool)
                self._of_event[event] = set(some.filter(pl.Series(mask, dtype=pl.Boolean))["customer_id"].to_list())
        return set().union(*(self.of_event(event) for event in events))

    def of_event(self, event: int) -> set[str]:
        return self._of_event.get(event, set())


def _mask(registry: TellsWithdrawals, frame: pl.DataFrame, events: Sequence[int]) -> pl.Series:
    for name in ("phone", "id_no"):
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit(None, pl.String).alias(name))
    return pl.Series(registry.rows_meant(frame, events), dtype=pl.Boolean)


def _letters(rows: Sequence[MeantJob]) -> Iterator[list[MeantJob]]:
    """Rows in letters of at most MOST_JOBS, each job once in a letter."""
    waiting = list(rows)
    while waiting:
        part: dict[str, MeantJob] = {}
        rest: list[MeantJob] = []
        for one in waiting:
            if one.job in part or len(part) == MOST_JOBS:
                rest.append(one)
            else:
                part[one.job] = one
        yield [part[job] for job in sorted(part)]
        waiting = rest


def _opened(one: TakenBack) -> Open:
    return Open(one.event, one.at_ms, one.entry, one.purpose, one.recipient, [], is_new=True)


def _token_text(job: str, value: str) -> bytes:
    return job.encode() + b"\0" + value.encode()


def jobs_told(text: str) -> list[str]:
    """Jobs as host_withdrawal and host_withdrawal_letter keep them."""
    return [str(one) for one in json.loads(text)]


__all__ = ["OWN", "PARTNER", "Withdrawals", "jobs_told"]
