"""The search index: which own and mirrored entries fit, newest first, a page at a time.

Document: docs/evidence.md, section "Search". The index follows the logs: it reads bodies that are on disk and notes what
it has read, so appending costs nothing more, a restored or rewritten log is noticed by the leaf of the last entry read,
and a new version of the index reads everything again. Until it has read everything, `coverage` says how much it has.
Pages are taken by key and never by offset, so the last page costs what the first one does.
"""

from __future__ import annotations

import heapq
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from workbench.contracts import Transaction
from workbench.domain.party import PartyId
from workbench.domain.policy import POLICIES, Requirement, Signers, requirement
from workbench.domain.search import COUNTED, STATES, Coverage, SearchHit, SearchQuery
from workbench.errors import StorageFailed
from workbench_ledger import tables
from workbench_ledger.context import Context
from workbench_ledger.policy import counted_at, departures, member_spans, members_at
from workbench_ledger.search_reading import ReadEntry, digests_of, load, read_body, term, term_range

VERSION = 1
"""Another number makes every index anew at the next step."""

SLICE_ENTRIES = 500
"""Read and written at once: the writer serves others in between. About 15 ms."""

FEW = 5_000
"""How many rows a search may sort instead of walking along an index."""

_COLUMNS = "time_ms, log, idx, kind, job, actor, need"

_Row = tuple[int, str, int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Filter:
    """SQL conditions with their parameters; all must hold."""

    conditions: tuple[str, ...] = ()
    parameters: tuple[Any, ...] = ()  # Any: what SQLite takes

    def plus(self, condition: str, *parameters: Any) -> _Filter:
        return _Filter((*self.conditions, condition), (*self.parameters, *parameters))

    @property
    def where(self) -> str:
        return " AND ".join(self.conditions) or "1"


@dataclass(frozen=True, slots=True)
class _Driver:
    """Which rows a search walks along: one filter for each ordered walk; the walks are merged."""

    walks: tuple[_Filter, ...]
    source: str = "ledger_search_entry"
    sorts: bool = False


@dataclass(frozen=True, slots=True)
class _Border:
    """Entries of one log with one requirement, start <= index < stop: below `full` they are full, below `sealed` sealed."""

    log: PartyId
    need: int
    start: int
    stop: int
    sealed: int
    full: int

    def range_of(self, state: str) -> tuple[int, int]:
        """Indices of a state: from the first on, below the second."""
        return {"pending": (self.sealed, self.stop), "sealed": (self.full, self.sealed), "full": (self.start, self.full)}[state]

    def state_of(self, index: int) -> str:
        return STATES[2] if index < self.full else STATES[1] if index < self.sealed else STATES[0]


@dataclass(frozen=True, slots=True)
class SearchIndex:
    """Search over everything this node holds. Safe to use from several threads."""

    _context: Context

    # ------------------------------------------------------------------ following the logs

    def coverage(self) -> list[Coverage]:
        """How far every log has been read, in the order of the institutions."""
        with self._context.store.read() as reader:
            return [self._coverage(reader, log) for log in self._context.parties()]

    def step(self, limit: int = SLICE_ENTRIES) -> int:
        """Read up to `limit` more entries of every log into the index; how many were read. Not inside a change."""
        return sum(self._step(log, limit) for log in self._context.parties())

    def catch_up(self, most: int = 4 * SLICE_ENTRIES) -> bool:
        """Read what is missing if it is no more than `most` entries; whether the index is whole now.

        A disk that takes nothing more leaves the index behind; whoever only reads is still answered.
        """
        missing = sum(one.size - one.covered for one in self.coverage())
        if missing > most:
            return False
        try:
            while missing > 0 and self.step():
                missing = sum(one.size - one.covered for one in self.coverage())
        except StorageFailed:
            return False
        return missing == 0

    def _coverage(self, reader: tables.Reader, log: PartyId) -> Coverage:
        size = _size(reader, log)
        return Coverage(log, self._covered(reader, log, size), size)

    def _covered(self, reader: tables.Reader, log: PartyId, size: int) -> int:
        """Entries of a log that the index has read and that are still those it read; 0 when it must begin anew."""
        row = reader.execute("SELECT version, covered, leaf FROM ledger_search_state WHERE log = ?", (log,)).fetchone()
        if row is None or row[0] != self._version() or row[1] > size:
            return 0
        return int(row[1]) if row[1] == 0 or _leaf(reader, log, row[1] - 1) == row[2] else 0

    def _version(self) -> int:
        """The version of the index together with the setting that decides what it says of states."""
        kinds = " ".join(sorted(self._context.mldsa_kinds()))
        return VERSION if not kinds else VERSION | zlib.crc32(kinds.encode()) << 8

    def _step(self, log: PartyId, limit: int) -> int:
        context = self._context
        with context.store.read() as reader:
            size = _size(reader, log)
            start = self._covered(reader, log, size)
            known = reader.execute("SELECT covered FROM ledger_search_state WHERE log = ?", (log,)).fetchone()
            afresh = known is not None and start == 0 and int(known[0]) > 0
            stop = min(start + limit, size)
            if stop == start and not afresh:
                return 0
            bodies = tables.numbered_bodies(reader, log, start, stop, own=log == context.party)
            found = {index: read_body(index, body) for index, body in bodies}
            leaves = {
                index: (bytes(first), bytes(second))
                for index, first, second in reader.execute(
                    "SELECT idx, sha256, sm3 FROM ledger_node WHERE log = ? AND level = 0 AND idx >= ? AND idx < ?",
                    (log, start, stop),
                )
            }
            # A row that was taken out is read as one that says nothing: the audit reports it, the counter goes on.
            reads = [found.get(index, ReadEntry(index)) for index in range(start, stop)]
            needs = self._needs(reader, log, reads)
        change = partial(self._keep, log=log, start=start, reads=reads, needs=needs, leaves=leaves)
        return context.store.write(change)

    def _keep(
        self,
        tx: Transaction,
        *,
        log: PartyId,
        start: int,
        reads: Sequence[ReadEntry],
        needs: Sequence[str],
        leaves: dict[int, tuple[bytes, bytes]],
    ) -> int:
        if self._covered(tx, log, _size(tx, log)) != start:
            return 0  # somebody else was faster
        if start == 0:
            for table in ("entry", "term", "need"):
                tx.execute(f"DELETE FROM ledger_search_{table} WHERE log = ?", (log,))
        word = partial(self._word, tx)
        named: dict[int, frozenset[str]] = {}
        rows: list[tuple[Any, ...]] = []
        terms: set[tuple[int, str, int]] = set()
        for one, need in zip(reads, needs, strict=True):
            kind, job, actor, campaign = word(one.kind), word(one.job), word(one.actor), word(one.campaign)
            rows.append((log, one.index, one.time_ms, kind, job, actor, campaign, word(need)))
            if job and len(one.named | {log}) > 1:
                named[job] = one.named | {log}
            digests = set(one.digests) | {term(leaf) for leaf in leaves.get(one.index, ())}
            terms |= {(digest, log, one.index) for digest in digests}
        self._name_partners(tx, log, named)
        tx.executemany("INSERT INTO ledger_search_entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        tx.executemany("INSERT INTO ledger_search_term VALUES (?, ?, ?)", sorted(terms))
        tx.executemany(
            "INSERT INTO ledger_search_need VALUES (?, ?) ON CONFLICT DO NOTHING", sorted({(log, row[-1]) for row in rows})
        )
        covered = start + len(reads)
        tx.execute(
            "INSERT INTO ledger_search_state VALUES (?, ?, ?, ?) ON CONFLICT (log) DO UPDATE SET "
            "version = excluded.version, covered = excluded.covered, leaf = excluded.leaf",
            (log, self._version(), covered, leaves.get(covered - 1, (b"", b""))[0]),
        )
        return len(reads)

    def _needs(self, reader: tables.Reader, log: PartyId, reads: Sequence[ReadEntry]) -> list[str]:
        """What makes each entry sealed, by the policy of its kind (docs/protocols/ledger.md section 3), as a word."""
        context = self._context
        keys, mldsa_kinds = context.pinned(), context.mldsa_kinds()
        jobs = {job: self._participants(reader, log, job) for job in dict.fromkeys(one.job for one in reads) if job}
        for one in reads:
            if one.job:
                jobs[one.job] |= one.named
        members: frozenset[PartyId] = frozenset()
        border = -1
        found = []
        for one in reads:
            if one.index > border:
                members = members_at(keys, log, one.index)
                border = next(stop for _, stop in member_spans(keys, log) if stop > one.index) - 1
            if not one.kind:
                found.append(_need_word(Requirement(members)))
                continue
            taking_part = one.named | {log}
            if one.job and len(taking_part) < 2:
                taking_part |= jobs[one.job]
            needed = requirement(
                one.kind,
                log=log,
                participants=[PartyId(name) for name in taking_part],
                members=members,
                subject=one.subject,
                mldsa_kinds=mldsa_kinds,
            )
            found.append(_need_word(needed))
        return found

    def _participants(self, reader: tables.Reader, log: PartyId, job: str) -> frozenset[str]:
        """Who takes part in a job: from the node's own jobs, and from what the index has read of this log."""
        known: frozenset[str] = self._context.participants(log, job) if log == self._context.party else frozenset()
        number = self._number(reader, job)
        rows = reader.execute(
            "SELECT word FROM ledger_search_word WHERE id IN "
            "(SELECT need FROM ledger_search_entry WHERE job = ? AND job > 0 AND log = ?)",
            (number, log),
        )
        return known.union(*(_need_of(word).parties for (word,) in rows))

    def _name_partners(self, tx: Transaction, log: PartyId, named: dict[int, frozenset[str]]) -> None:
        """Entries of a job that were read before any of them named a partner need that partner's signature too."""
        others = [f"word LIKE '{one.prefix}%'" for one in POLICIES if one.signers is not Signers.PARTICIPANTS]
        alone = self._number(tx, _need_word(Requirement(frozenset({log}))))
        for job, parties in named.items():
            need = self._word(tx, _need_word(Requirement(frozenset(PartyId(one) for one in parties))))
            changed = tx.execute(
                "UPDATE ledger_search_entry SET need = ? WHERE job = ? AND job > 0 AND log = ? AND need = ? "
                f"AND kind NOT IN (SELECT id FROM ledger_search_word WHERE {' OR '.join(others)})",
                (need, job, log, alone),
            ).rowcount
            if changed:
                tx.execute("INSERT INTO ledger_search_need VALUES (?, ?) ON CONFLICT DO NOTHING", (log, need))

    def _word(self, tx: Transaction, word: str) -> int:
        """The number of a word, given now if it has none."""
        if not word:
            return 0
        number = self._number(tx, word)
        if number is None:
            tx.execute("INSERT INTO ledger_search_word (word) VALUES (?)", (word,))
            number = self._number(tx, word)
            assert number is not None
        return number

    def _number(self, reader: tables.Reader, word: str) -> int | None:
        row = reader.execute("SELECT id FROM ledger_search_word WHERE word = ?", (word,)).fetchone()
        return None if row is None else int(row[0])

    # ------------------------------------------------------------------ searching

    def search(self, query: SearchQuery) -> list[SearchHit]:
        """The newest entries that fit, in the order of their keys, newest first; as far as the index has read."""
        with self._context.store.read() as reader:
            plan = self._plan(reader, query)
            if plan is None:
                return []
            driver, filters = plan
            borders: dict[tuple[str, int], list[_Border]] = {}
            for one in self._borders(reader):
                borders.setdefault((one.log, one.need), []).append(one)
            names: dict[int, str] = {0: ""}
            hits = []
            for row in self._walk(reader, driver, filters, query):
                if query.digest and not self._has_digest(reader, row, query.digest):
                    continue
                hits.append(self._hit(reader, row, borders, names))
                if len(hits) == query.limit:
                    break
            return hits

    def count(self, query: SearchQuery) -> int:
        """How many entries fit, counted up to COUNTED + 1; before and limit of the query do not matter."""
        with self._context.store.read() as reader:
            plan = self._plan(reader, query)
            if plan is None:
                return 0
            driver, filters = plan
            total = 0
            for walk in driver.walks:
                both = _Filter(walk.conditions + filters.conditions, walk.parameters + filters.parameters)
                if query.digest:
                    rows = reader.execute(f"SELECT {_COLUMNS} FROM {driver.source} WHERE {both.where}", both.parameters)
                    total += sum(1 for row in rows.fetchall() if self._has_digest(reader, row, query.digest))
                    continue
                counted = reader.execute(
                    f"SELECT count(*) FROM (SELECT 1 FROM {driver.source} WHERE {both.where} LIMIT ?)",
                    (*both.parameters, COUNTED + 1 - total),
                ).fetchone()
                total += int(counted[0])
                if total > COUNTED:
                    return total
            return total

    def _plan(self, reader: tables.Reader, query: SearchQuery) -> tuple[_Driver, _Filter] | None:
        """Along which index to walk and what to ask of each row; None when nothing can fit."""
        rest: list[tuple[_Driver, _Filter]] = []  # each driver with what must be asked instead when it does not drive
        for column, wanted in (("job", query.job), ("campaign", query.campaign)):
            if wanted:
                number = self._number(reader, wanted)
                if number is None:
                    return None
                one = _Driver((_equal(column, number),))
                rest.append((one, one.walks[0]))
        for column, names in (("actor", query.actors), ("kind", query.kinds), ("job", query.jobs)):
            if names:
                numbers = self._numbers(reader, column, names)
                if not numbers:
                    return None
                one = _Driver(tuple(_equal(column, number) for number in numbers))
                marks = ", ".join("?" * len(numbers))
                rest.append((one, _Filter((f"{column} IN ({marks})",), tuple(numbers))))
        filters = _Filter()
        if query.log:
            filters = filters.plus("log = ?", query.log)
        if query.from_ms is not None:
            filters = filters.plus("time_ms >= ?", query.from_ms)
        if query.until_ms is not None:
            filters = filters.plus("time_ms < ?", query.until_ms)
        if query.state:
            state = self._state_filter(reader, query.state)
            if state is None:
                return None
            filters = filters.plus(*state)
        if query.places is not None:
            one = _Driver(
                (_Filter(("log = ?", "idx IN (SELECT value FROM json_each(?))"),
                         (self._context.party, json.dumps(query.places))),), sorts=True
            )  # fmt: skip
            rest.append((one, one.walks[0]))
        if query.digest:
            low, high = term_range(query.digest)
            inside = "(log, idx) IN (SELECT log, idx FROM ledger_search_term WHERE term >= ? AND term <= ?)"
            one = _Driver((_Filter((inside,), (low, high)),), sorts=True)
            rest.append((one, one.walks[0]))
        drivers = [driver for driver, _ in rest]
        chosen = self._cheapest(reader, drivers, query)
        for driver, otherwise in rest:
            if driver is not chosen:
                filters = _Filter(filters.conditions + otherwise.conditions, filters.parameters + otherwise.parameters)
        return chosen, filters

    def _cheapest(self, reader: tables.Reader, drivers: Sequence[_Driver], query: SearchQuery) -> _Driver:
        """The driver with the fewest rows; among many equally, the first. Without any: along the log, or along time."""
        if query.state and not any(driver.sorts for driver in drivers):
            drivers = [*drivers, *self._state_driver(reader, query.state)]
        if not drivers:
            return _Driver((_Filter(),))
        if len(drivers) == 1:
            return drivers[0]
        return min(drivers, key=lambda driver: self._rows(reader, driver))

    def _rows(self, reader: tables.Reader, driver: _Driver) -> int:
        total = 0
        for walk in driver.walks:
            found = reader.execute(
                f"SELECT count(*) FROM (SELECT 1 FROM {driver.source} WHERE {walk.where} LIMIT ?)",
                (*walk.parameters, FEW - total),
            ).fetchone()
            total += int(found[0])
            if total >= FEW:
                break
        return total

    def _walk(self, reader: tables.Reader, driver: _Driver, filters: _Filter, query: SearchQuery) -> Iterator[_Row]:
        """Rows that fit, newest first, from all walks of the driver."""
        limit = -1 if query.digest else query.limit
        walks: list[Iterable[_Row]] = []
        for walk in driver.walks:
            both = _Filter(walk.conditions + filters.conditions, walk.parameters + filters.parameters)
            if query.before is not None:
                before = query.before
                both = both.plus("(time_ms, log, idx) < (?, ?, ?)", before.time_ms, before.log, before.index)
            # A unary plus keeps a driver that sorts from being walked in order of time through the whole log.
            order = "+time_ms DESC, +log DESC, +idx DESC" if driver.sorts else "time_ms DESC, log DESC, idx DESC"
            sql = f"SELECT {_COLUMNS} FROM {driver.source} WHERE {both.where} ORDER BY {order} LIMIT ?"
            walks.append(reader.execute(sql, (*both.parameters, limit)).fetchall())
        return heapq.merge(*walks, key=lambda row: row[:3], reverse=True)

    # ------------------------------------------------------------------ words and states

    def _numbers(self, reader: tables.Reader, column: str, names: Sequence[str]) -> list[int]:
        """Numbers of the words named; an area of kinds ("consent.") stands for every kind in it."""
        found: dict[int, None] = {}
        for name in names:
            if column == "kind" and name.endswith("."):
                rows = reader.execute(
                    "SELECT id FROM ledger_search_word WHERE word >= ? AND word < ?", (name, name[:-1] + "/")
                )
                found |= dict.fromkeys(int(number) for (number,) in rows)
            else:
                number = self._number(reader, name)
                found |= {} if number is None else {number: None}
        return list(found)

    def _borders(self, reader: tables.Reader) -> list[_Border]:
        """Where sealed and full end, for every log, set of participants, and stretch with the same members."""
        keys = self._context.pinned()
        seals: dict[tuple[PartyId, bool], list[tuple[int, frozenset[PartyId]]]] = {}

        def reach(log: PartyId, need: Requirement, start: int, *, full: bool) -> int:
            """The size below which entries with this requirement are met, and by all members if full is asked."""
            if (log, need.mldsa) not in seals:
                seals[log, need.mldsa] = tables.seals(reader, log, -1, mldsa=need.mldsa, borders=departures(keys, log))
            members = members_at(keys, log, start) if full else frozenset()
            found = [start]
            for size, signers in seals[log, need.mldsa]:
                who = counted_at(keys, log, start, size, signers)
                if size > start and need.is_met_by(who) and members <= who:
                    found.append(size)
            return max(found)

        borders = []
        rows = reader.execute("SELECT log, need, word FROM ledger_search_need JOIN ledger_search_word ON id = need").fetchall()
        for log, number, word in rows:
            need = _need_of(word)
            for start, stop in member_spans(keys, log):
                sealed = min(reach(log, need, start, full=False), stop)
                full = min(reach(log, replace(need, mldsa=False), start, full=True), sealed)
                borders.append(_Border(log, int(number), start, stop, sealed, full))
        return borders

    def _state_filter(self, reader: tables.Reader, state: str) -> tuple[Any, ...] | None:
        """The condition with its parameters for one of STATES."""
        parts: list[str] = []
        parameters: list[Any] = []
        for one in self._borders(reader):
            low, high = one.range_of(state)
            if high <= low:
                continue
            # The plus keeps SQLite from walking along these conditions: most entries meet them.
            parts.append("(+log = ? AND need = ? AND +idx >= ? AND +idx < ?)")
            parameters += [one.log, one.need, low, high]
        return (f"({' OR '.join(parts)})", *parameters) if parts else None

    def _state_driver(self, reader: tables.Reader, state: str) -> list[_Driver]:
        """Where entries in a state can lie, when that is little enough to be sorted."""
        spans: dict[str, tuple[int, int]] = {}
        for one in self._borders(reader):
            low, high = one.range_of(state)
            stop = min(high, _size(reader, one.log))
            if stop > low:
                before = spans.get(one.log, (low, stop))
                spans[one.log] = min(before[0], low), max(before[1], stop)
        if sum(stop - low for low, stop in spans.values()) > FEW:
            return []
        walks = (_Filter(("log = ?", "idx >= ?", "idx < ?"), (log, low, stop)) for log, (low, stop) in spans.items())
        return [_Driver(tuple(walks), sorts=True)]

    def _hit(
        self, reader: tables.Reader, row: _Row, borders: dict[tuple[str, int], list[_Border]], names: dict[int, str]
    ) -> SearchHit:
        time_ms, log, index, kind, job, actor, need = row
        for number in (kind, job, actor):
            if number not in names:
                found = reader.execute("SELECT word FROM ledger_search_word WHERE id = ?", (number,)).fetchone()
                names[number] = str(found[0])
        state = next((one.state_of(index) for one in borders.get((log, need), []) if index < one.stop), STATES[0])
        return SearchHit(PartyId(log), index, time_ms, names[kind], names[job], names[actor], state)

    def _has_digest(self, reader: tables.Reader, row: _Row, digest: str) -> bool:
        """Whether one of the entry's digests begins with what was asked, compared in full."""
        log, index = PartyId(row[1]), row[2]
        leaves = reader.execute(
            "SELECT hex(sha256), hex(sm3) FROM ledger_node WHERE log = ? AND level = 0 AND idx = ?", (log, index)
        ).fetchone()
        if leaves and any(str(one).lower().startswith(digest) for one in leaves):
            return True
        bodies = tables.read_bodies(reader, log, index, index + 1, own=log == self._context.party)
        return bool(bodies) and any(one.startswith(digest) for one in digests_of(load(bodies[0])))


def _equal(column: str, number: int) -> _Filter:
    # The second condition lets SQLite use an index that leaves out rows without the word.
    return _Filter((f"{column} = ?", f"{column} > 0"), (number,))


def _need_word(need: Requirement) -> str:
    """A requirement as a word of the index: "2 bank broker", with a plus behind the number for ML-DSA-44."""
    return " ".join([f"{need.at_least}{'+' if need.mldsa else ''}", *sorted(need.parties)])


def _need_of(word: str) -> Requirement:
    number, *parties = word.split(" ")
    return Requirement(frozenset(PartyId(one) for one in parties), int(number.rstrip("+")), number.endswith("+"))


def _size(reader: tables.Reader, log: PartyId) -> int:
    row = reader.execute("SELECT size FROM ledger_head WHERE log = ?", (log,)).fetchone()
    return 0 if row is None else int(row[0])


def _leaf(reader: tables.Reader, log: PartyId, index: int) -> bytes:
    row = reader.execute(
        "SELECT CAST(sha256 AS BLOB) FROM ledger_node WHERE log = ? AND level = 0 AND idx = ?", (log, index)
    ).fetchone()
    return b"" if row is None else bytes(row[0])


__all__ = ["FEW", "SLICE_ENTRIES", "VERSION", "SearchIndex"]
