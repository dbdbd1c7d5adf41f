"""What this node sees of its lines, kept by the hour: whether keys could be had, blocks, how long its own requests took.

Document: docs/quantum-channel.md section 16. Counted in memory, written once a minute and when the node stops; what a killed
process had not written is a gap afterwards. Blocks are counted in the transaction that makes them evidence.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from workbench.contracts import Store, Transaction
from workbench_kme.service import views
from workbench_qkd import quality
from workbench_qkd.model import CUT
from workbench_qkd.quality import AWAY, HOUR_MS, NO_APPLICATION, NO_KEYS, Down, Hour, Sighting, Span

FLUSH_MS: Final = 60_000
KEPT_HOURS: Final = 400 * 24
"""A line; the oldest go first."""
LEAST_GAP_MS: Final = 15_000
ROUNDS_TO_A_GAP: Final = 3
_SUMS: Final = ("covered_ms", "available_ms", "blocks", "failed_blocks", "keys", "rated", "sum_bps", "requests", "failed_requests")
_COLUMNS: Final = ", ".join(("covered_ms", "available_ms", "until_ms", *_SUMS[2:6], "sum_bps", "least_bps", *_SUMS[7:]))


def cause_of(line: views.Line, *, held: bool, counts: bool) -> str:
    """Why no key of a line can be had now, "" if one can. counts: keys of its origin are enough for its policy."""
    if line.state in CUT:
        return line.state
    if held:
        return "held"
    if not line.peer_reachable:
        return "peer-unreachable"
    if not counts:
        return "origin"
    if not line.peer_saes:
        return NO_APPLICATION
    return NO_KEYS if line.available <= 0 else ""


class Measures:
    """Of one node. running_ms: a clock that is never set. pause_s: between two rounds; sightings much further apart are a gap."""

    def __init__(
        self, store: Callable[[], Store], *, now_ms: Callable[[], int], pause_s: Callable[[], float], running_ms: Callable[[], int] | None = None
    ) -> None:
        self._store, self._now_ms, self._pause_s = store, now_ms, pause_s
        self._running_ms = running_ms or (lambda: time.monotonic_ns() // 1_000_000)
        self._pending: dict[tuple[str, int], Hour] = {}
        self._last: dict[str, Sighting] = {}
        self._spans: dict[str, Span] = {}
        self._flushed_ms = self._running_ms()
        self._memory = threading.Lock()
        self._disk = threading.Lock()  # taken first where both are

    def fresh(self) -> Measures:
        """The same without anything seen or counted."""
        return Measures(self._store, now_ms=self._now_ms, pause_s=self._pause_s, running_ms=self._running_ms)

    def see(self, causes: Mapping[str, str]) -> None:
        """A round found these lines, each with why no key can be had. Lines that are not named are not watched now."""
        now = Sighting(self._now_ms(), self._running_ms(), "")
        longest = max(LEAST_GAP_MS, int(ROUNDS_TO_A_GAP * 1000 * self._pause_s()))
        for line, cause in causes.items():
            self._see(line, replace(now, cause=cause), longest)
        for gone in self._last.keys() - causes.keys():
            del self._last[gone]
        if self._running_ms() - self._flushed_ms >= FLUSH_MS:
            self.flush()

    def see_nobody(self) -> None:
        """The entity does not answer: no line of it gives a key."""
        self.see(dict.fromkeys(self._last.keys() or self.known(), AWAY))

    def known(self) -> list[str]:
        """Lines that were seen before, also by an earlier run."""
        with self._store().read() as reader:
            return [str(row[0]) for row in reader.execute("SELECT DISTINCT line FROM qkd_quality ORDER BY line")]

    @contextmanager
    def asking(self, line: str) -> Iterator[None]:
        """Around one request for keys of a line: how long it took, and whether it brought them."""
        began_s, got_keys = time.perf_counter(), False
        try:
            yield
            got_keys = True
        finally:
            took_ms = (time.perf_counter() - began_s) * 1000
            hour = self._now_ms() // HOUR_MS
            with self._memory:
                quality.count_request(self._pending.setdefault((line, hour), Hour()), took_ms=took_ms, got_keys=got_keys)

    def flush(self) -> None:
        """Write what was counted down; what cannot be written is kept for the next time."""
        with self._disk:
            with self._memory:
                taken, self._pending = self._pending, {}
                self._flushed_ms = self._running_ms()
            if not taken:
                return

            def change(tx: Transaction) -> None:
                for (line, hour), found in taken.items():
                    add(tx, line, hour, found)

            try:
                self._store().write(change)
            except BaseException:
                with self._memory:
                    for key, found in taken.items():
                        self._pending[key] = quality.merged(found, self._pending.get(key, Hour()))
                raise

    def hours(self, line: str, from_ms: int, until_ms: int) -> dict[int, Hour]:
        """What is known of a line by hour, from disk and memory."""
        first, last = from_ms // HOUR_MS, -(-until_ms // HOUR_MS)
        with self._disk:
            with self._store().read() as reader:
                found = read(reader, line, first, last)
            with self._memory:
                for (name, hour), more in self._pending.items():
                    if name == line and first <= hour < last:
                        found[hour] = quality.merged(found.get(hour, Hour()), more)
        return found

    def _see(self, line: str, now: Sighting, longest_ms: int) -> None:
        before, self._last[line] = self._last.get(line), now
        seen = quality.span(before, now, longest_ms=longest_ms) if before else None
        if seen is None:
            self._spans.pop(line, None)
            return
        seen = quality.followed(self._spans.get(line), seen)
        self._spans[line] = seen
        for hour, part in quality.hours_of(seen):
            with self._memory:
                known = self._pending.get((line, hour))
                is_new = known is None or known.until_ms == 0  # a request may have been counted first
            until_ms = self._covered_until(line, hour) if is_new else 0
            with self._memory:
                counted = self._pending.setdefault((line, hour), Hour())
                counted.until_ms = max(counted.until_ms, until_ms)
                quality.watch(counted, part)

    def _covered_until(self, line: str, hour: int) -> int:
        with self._store().read() as reader:
            row = reader.execute("SELECT until_ms FROM qkd_quality WHERE line = ? AND hour = ?", (line, hour)).fetchone()
        return int(row[0]) if row else 0


def causes(lines: Collection[views.Line], *, held: Collection[str], counts: Callable[[views.Line], bool]) -> dict[str, str]:
    """Line -> why no key of it can be had. counts: whether keys of its origin are enough for its policy."""
    return {one.line: cause_of(one, held=one.line in held, counts=counts(one)) for one in lines}


def add_block(tx: Transaction, one: views.Block) -> None:
    """Count a block in the hour in which the entity made it."""
    hour = Hour()
    quality.count_block(hour, is_stored=one.state == "stored", aborted="" if one.alarm else one.aborted, keys=one.keys, rate_bps=one.rate_bps)
    if hour.blocks and one.state != "rehearsal":
        add(tx, one.line, one.time_ms // HOUR_MS, hour)


def add(tx: Transaction, line: str, hour: int, more: Hour) -> None:
    """Add to what is written down about an hour, and let go of the oldest."""
    values = (line, hour, more.covered_ms, more.available_ms, more.until_ms, more.blocks, more.failed_blocks, more.keys, more.rated)
    tx.execute(
        f"INSERT INTO qkd_quality (line, hour, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (line, hour) DO UPDATE SET"
        f" {', '.join(f'{name} = {name} + excluded.{name}' for name in _SUMS)}, until_ms = max(until_ms, excluded.until_ms),"
        " least_bps = CASE WHEN excluded.rated = 0 THEN least_bps WHEN rated = 0 THEN excluded.least_bps ELSE min(least_bps, excluded.least_bps) END",
        (*values, more.sum_bps, more.least_bps, more.requests, more.failed_requests),
    )
    for cause, down in more.downs.items():
        tx.execute(
            "INSERT INTO qkd_quality_down (line, hour, cause, ms, from_ms, until_ms, times) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (line, hour, cause)"
            " DO UPDATE SET ms = ms + excluded.ms, from_ms = min(from_ms, excluded.from_ms), until_ms = max(until_ms, excluded.until_ms),"
            " times = times + excluded.times",
            (line, hour, cause, down.ms, down.from_ms, down.until_ms, down.times),
        )
    for step, number in more.latencies.items():
        tx.execute(
            "INSERT INTO qkd_quality_latency (line, hour, step, number) VALUES (?, ?, ?, ?) ON CONFLICT (line, hour, step)"
            " DO UPDATE SET number = number + excluded.number",
            (line, hour, step, number),
        )
    row = tx.execute("SELECT hour FROM qkd_quality WHERE line = ? ORDER BY hour DESC LIMIT 1 OFFSET ?", (line, KEPT_HOURS)).fetchone()
    if row is not None:  # by number, not by age: a clock that was set far ahead for a while empties nothing
        for table in ("qkd_quality", "qkd_quality_down", "qkd_quality_latency"):
            tx.execute(f"DELETE FROM {table} WHERE line = ? AND hour <= ?", (line, row[0]))


def read(reader: sqlite3.Connection, line: str, first: int, last: int) -> dict[int, Hour]:
    """The hours of a line from `first`, without `last`."""
    where, of = "WHERE line = ? AND hour >= ? AND hour < ?", (line, first, last)
    names = _COLUMNS.split(", ")
    found = {row[0]: Hour(**dict(zip(names, row[1:], strict=True))) for row in reader.execute(f"SELECT hour, {_COLUMNS} FROM qkd_quality {where}", of)}
    for row in reader.execute(f"SELECT hour, cause, ms, from_ms, until_ms, times FROM qkd_quality_down {where}", of):
        found[row[0]].downs[row[1]] = Down(*row[2:])
    for row in reader.execute(f"SELECT hour, step, number FROM qkd_quality_latency {where}", of):
        found[row[0]].latencies[row[1]] = row[2]
    return found


__all__ = ["FLUSH_MS", "KEPT_HOURS", "Measures", "add", "add_block", "cause_of", "causes", "read"]
