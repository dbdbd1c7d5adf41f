"""The boundaries of a withdrawal with one clock for all, which stands still until the test moves it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from workbench.domain.party import Role
from workbench.host import Workbench

from tests.flows import population
from tests.flows.institutions import Institutions, fresh_workspace, running
from tests.flows.test_withdrawal import WHO, answered, phones_of, stops, withdraw, withdrawal

SECOND = 1000
HOUR = 3_600_000
PURPOSE = "customer-service"


@dataclass
class Clock:
    ms: int = 1_893_456_000_123  # 2030-01-01T00:00:00.123Z, later than everything in the template

    def __call__(self) -> int:
        return self.ms


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def still(clock: Clock) -> Iterator[Institutions]:
    defaults = Workbench.__init__.__kwdefaults__
    before = defaults["now_ms"]
    defaults["now_ms"] = clock
    workspace = fresh_workspace()
    try:
        with running(workspace) as made:
            yield made
    finally:
        defaults["now_ms"] = before
        shutil.rmtree(workspace.folder)


def test_to_the_second_from_selection_to_sending(still: Institutions, clock: Clock) -> None:
    start = clock.ms
    early, late = WHO, WHO + 2
    # Selection: who withdraws in the same millisecond, before the attempt begins, is not selected.
    job = still.propose("broker", "bank", PURPOSE)
    [before] = withdraw(still, "broker", PURPOSE, early)
    still.approve("bank", job)
    mine, _ = still.both("broker", "bank", job, "RELEASED")
    assert mine.created_ms == start and clock.ms == start
    assert population.phone(early) not in still.released_phones("bank", job)
    assert withdrawal(still, "broker", before.event).partners == [], "this list never held the customer"
    # Sending: exported, and in the very same millisecond withdrawn.
    _, data = still.exported("broker", job)
    assert population.phone(late) in phones_of(data)
    still.wire.cut("bank")
    [done] = withdraw(still, "broker", PURPOSE, late)
    assert population.phone(late) not in phones_of(still.exported("broker", job)[1])
    found = withdrawal(still, "broker", done.event)
    [stop] = stops(still, "broker", job)
    assert (found.at_ms, stop.exported_ms, stop.at_ms, found.exports) == (start, start, start, 1)
    # The clock of the partner's answer, to the millisecond.
    [told] = found.partners
    assert (told.posted_ms, told.due_ms) == (start, start + 72 * HOUR)
    for at, state in ((told.due_ms - SECOND, "waiting"), (told.due_ms, "waiting"), (told.due_ms + 1, "overdue")):
        clock.ms = at
        assert withdrawal(still, "broker", done.event).partners[0].state == state
    still.wire.mend()
    [told] = answered(still, "broker", done.event).partners
    assert (told.state, told.acknowledged_ms) == ("acknowledged", clock.ms)
    # Clocks that are set back bring nobody back, at neither side.
    clock.ms = start - SECOND
    for party in ("broker", "bank"):
        assert not {population.phone(early), population.phone(late)} & set(phones_of(still.exported(party, job)[1]))
    clock.ms = start + 80 * HOUR
    check = still.call(
        "broker", Role.COMPLIANCE, "consent.check", phone=population.phone(late), id_no=population.id_no(late),
        purpose=PURPOSE, recipient="bank",
    )  # fmt: skip
    assert (check.usable, check.code) == (False, "WITHDRAWN")
