"""When a KME tests itself, and what came of it: the schedule as a rule, and the checks that are written down.

Document: key-delivery.md section 5.2. A check is a row first and an event afterwards, so that one that was cut off, or that
kept the KME from opening, is told at the next start that succeeds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from workbench.contracts import Store, Transaction
from workbench.crypto import canonical
from workbench_kme.keys.core import Core
from workbench_kme.keys.rows import add_event
from workbench_kme.service.views import Check, SelfTest, Test

HOUR_MS: Final = 3_600_000
KEPT_CHECKS: Final = 400
"""Over a year of daily ones; older rows are deleted, their events are evidence at the node."""
LOOK_S: Final = 30.0
GRACE_MS: Final = 600_000
CAUSES: Final = ("start", "first-block", "schedule", "asked")

_log = logging.getLogger(__name__)


def is_due(period_ms: int, *, last_ms: int, now_ms: int, running_ms: int) -> bool:
    """Whether the next check is due. running_ms: since the last check by a clock that is never set.

    Either clock is enough: one that was set cannot put a check off, and the other does not count while the machine sleeps.
    A last check that lies in the future says nothing about its age.
    """
    return running_ms >= period_ms or now_ms - last_ms >= period_ms or now_ms < last_ms


def is_overdue(hours: int, *, last_ms: int, now_ms: int) -> bool:
    """Whether a scheduled check has not come: a tenth of the pause, at least ten minutes, may pass. False without a schedule."""
    period_ms = hours * HOUR_MS
    return hours > 0 and not -GRACE_MS <= now_ms - last_ms <= period_ms + max(GRACE_MS, period_ms // 10)


@dataclass(frozen=True, slots=True)
class Found:
    """One check as it was made."""

    time_ms: int
    took_ms: int
    cause: str
    tests: Sequence[Test]
    vectors: str
    version: str

    @property
    def passed(self) -> bool:
        """Whether there were answers and all of them right."""
        return bool(self.tests) and all(one.passed for one in self.tests)


class Checks:
    """The checks of one KME on disk, the newest KEPT_CHECKS."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, found: Found) -> int:
        """Write a check down; its number. It is not told yet."""
        tests = canonical.format([[one.name, one.algorithm, one.source, one.passed] for one in found.tests]).decode("utf-8")
        row = (found.time_ms, found.took_ms, found.cause, found.passed, found.vectors, found.version, tests)

        def change(tx: Transaction) -> int:
            made = tx.execute(
                "INSERT INTO service_check (time_ms, took_ms, cause, passed, vectors, version, tests)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING number",
                row,
            ).fetchone()
            tx.execute("DELETE FROM service_check WHERE number <= ?", (int(made[0]) - KEPT_CHECKS,))
            return int(made[0])

        return self._store.write(change)

    def tell(self, core: Core) -> None:
        """One event for each check that has none, in the change that notes it."""

        def change(tx: Transaction, now: int) -> None:
            rows = tx.execute(f"SELECT {_COLUMNS} FROM service_check WHERE told = 0 ORDER BY number").fetchall()
            for one in map(_check, rows):
                add_event(
                    tx, now, "device.self-test", "", check=one.number, at_ms=one.time_ms, cause=one.cause, passed=int(one.passed),
                    run=one.tests, wrong=len(one.failed), failed=" ".join(one.failed), vectors=one.vectors,
                )  # fmt: skip
            tx.execute("UPDATE service_check SET told = 1 WHERE told = 0")

        with self._store.read() as reader:
            is_needed = reader.execute("SELECT 1 FROM service_check WHERE told = 0 LIMIT 1").fetchone() is not None
        if is_needed:
            core.change(change)

    def newest(self, hours: int) -> SelfTest | None:
        """The newest check in full. hours: pause of the schedule."""
        with self._store.read() as reader:
            row = reader.execute(f"SELECT {_COLUMNS} FROM service_check ORDER BY number DESC LIMIT 1").fetchone()
        if row is None:
            return None
        return SelfTest(
            time_ms=row[1], passed=bool(row[4]), tests=_tests(row[7]), number=row[0], cause=row[3], took_ms=row[2], vectors=row[5],
            version=row[6], hours=hours, next_ms=row[1] + hours * HOUR_MS if hours else 0,
        )  # fmt: skip

    def listed(self, limit: int) -> list[Check]:
        """Newest first."""
        with self._store.read() as reader:
            rows = reader.execute(f"SELECT {_COLUMNS} FROM service_check ORDER BY number DESC LIMIT ?", (limit,)).fetchall()
        return [_check(one) for one in rows]


class Schedule:
    """Tests a KME again after each pause. check: makes one; last_ms: when the last one was made, by now_ms.

    may: whether to test at all; a device that failed is left to people, so that a fault that comes and goes is not passed over.
    """

    def __init__(self, hours: int, *, check: Callable[[], object], last_ms: Callable[[], int], may: Callable[[], bool], now_ms: Callable[[], int]) -> None:
        self._period_ms, self._check, self._last_ms, self._may, self._now_ms = hours * HOUR_MS, check, last_ms, may, now_ms
        self._since_s = time.monotonic()
        self._seen_ms = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, where there is a schedule."""
        if self._period_ms:
            self._thread = threading.Thread(target=self._run, name="kme-self-test", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10.0)

    def look(self) -> bool:
        """Make a check if one is due; whether it was made."""
        if not self._period_ms:
            return False
        last = self._last_ms()
        if last != self._seen_ms:  # somebody asked for one meanwhile
            self._seen_ms, self._since_s = last, time.monotonic()
        running_ms = int((time.monotonic() - self._since_s) * 1000)
        if not self._may() or not is_due(self._period_ms, last_ms=last, now_ms=self._now_ms(), running_ms=running_ms):
            return False
        self._check()
        self._seen_ms, self._since_s = self._last_ms(), time.monotonic()
        return True

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - one that could not be written down must not end the schedule
                _log.error("a scheduled self-test could not be completed: %s", type(error).__name__)


_COLUMNS = "number, time_ms, took_ms, cause, passed, vectors, version, tests"


def _tests(text: str) -> list[Test]:
    return [Test(str(name), bool(passed), str(algorithm), str(source)) for name, algorithm, source, passed in _rows(text)]


def _rows(text: str) -> list[list[object]]:
    value = canonical.parse(text.encode("utf-8"))
    assert isinstance(value, list)
    return value  # type: ignore[return-value]  # as `add` wrote it


def _check(row: Sequence[object]) -> Check:
    tests = _tests(str(row[7]))
    number, time_ms, took_ms = (int(str(row[one])) for one in range(3))
    return Check(
        number=number, time_ms=time_ms, took_ms=took_ms, cause=str(row[3]), passed=bool(row[4]), tests=len(tests),
        failed=[one.name for one in tests if not one.passed], vectors=str(row[5]), version=str(row[6]),
    )  # fmt: skip


__all__ = ["CAUSES", "HOUR_MS", "KEPT_CHECKS", "Checks", "Found", "Schedule", "is_due", "is_overdue"]
