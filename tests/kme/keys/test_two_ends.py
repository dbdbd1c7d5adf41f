"""Two ends under losses: notices lost, keys skipped, processes killed, copies restored; a sync brings them into step again."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from uuid import UUID

import pytest

from workbench.errors import KeyUnavailable, StorageFailed

from workbench_kme.devices import Session
from workbench_kme.keys import Reservation, State

from key_world import LINE, End, TwoEnds


class Weather:
    """Seeded misfortune over one line. given: (end, role, key) -> value, which must never occur twice."""

    def __init__(self, ends: TwoEnds, seed: int) -> None:
        self.ends, self.dice = ends, random.Random(seed)
        self.given: dict[tuple[str, str, UUID], bytes] = {}
        self.open: list[tuple[End, End, Reservation]] = []
        self.copies: dict[str, Path] = {}

    def step(self) -> None:
        action = self.dice.choice(
            [self.reserve] * 3 + [self.take] * 3 + [self.fetch] * 4 + [self.skip, self.kill, self.copy, self.restore, self.add_block]
        )
        try:
            action()
        except KeyUnavailable as error:
            assert error.code in {"EXHAUSTED", "KEY_GONE", "NOT_IN_STOCK", "KME_UNCONFIRMED", "OUT_OF_STEP"}

    def reserve(self) -> None:
        here, there = self._ends()
        reservation = here.store.reserve(LINE, "app-m", ["app-s"], number=self.dice.randint(1, 3))
        if self.dice.random() < 0.2:
            return  # killed before the notice
        try:
            there.store.accept(reservation)
        except KeyUnavailable:
            here.store.quarantine(LINE, key_ids=reservation.key_ids, reason="not-in-stock")
            raise
        if self.dice.random() < 0.2:
            return  # the answer was lost
        self._note(here, "master", here.store.hand_out(reservation.key_ids, "app-m"))
        self.open.append((here, there, reservation))

    def take(self) -> None:
        """Both ends at once: the notice, its answer, and this end's change may each be lost."""
        here, there = self._ends()
        fate = self.dice.random()

        def tell(reservation: Reservation) -> None:
            if fate > 0.15:
                there.store.accept(reservation)
            if fate < 0.3:
                raise StorageFailed("x", "x")

        try:
            reservation, values = here.store.together.take(
                LINE, "app-m", ["app-s"], number=self.dice.randint(1, 3), tell=tell
            )
        except StorageFailed:
            if self.dice.random() < 0.5:
                here.reopen(clean=self.dice.random() < 0.5)
            return
        if fate < 0.45:
            here.store.together.withhold(LINE, reservation.key_ids, refused=reservation.key_ids[: self.dice.randint(0, 1)])
            return
        here.store.together.check(reservation)
        self._note(here, "master", values)
        self.open.append((here, there, reservation))

    def fetch(self) -> None:
        if self.open:
            here, there, reservation = self.open.pop(self.dice.randrange(len(self.open)))
            self._note(there, "slave", there.store.deliver(reservation.key_ids, "app-s", master="app-m"))
            if self.dice.random() < 0.7:
                here.store.report_delivered(LINE, reservation.key_ids)

    def skip(self) -> None:
        here, _ = self._ends()
        free = here.store.keys(LINE, state=State.STORED, limit=5)
        here.store.quarantine(LINE, key_ids=[one.key_id for one in free[-1:]], reason="skipped")

    def kill(self) -> None:
        self._ends()[0].reopen(clean=False)

    def copy(self) -> None:
        here, _ = self._ends()
        self.copies[here.name] = Path(shutil.copyfile(here.copy(), here.folder / "kept.sqlite"))

    def restore(self) -> None:
        here, _ = self._ends()
        if here.name in self.copies:
            here.restore(self.copies[here.name], clean=self.dice.random() < 0.5)

    def add_block(self) -> None:
        number = max(end.store.next_block(LINE) for end in (self.ends.sender, self.ends.receiver))
        self.ends.add_block(300, block=number)

    def settle(self) -> None:
        """At most three rounds: what one end drops, the other learns in the next."""
        for _ in range(3):
            reports = self.ends.sync()
            if all(report.in_step and not report.changed for report in reports):  # type: ignore[attr-defined]
                return

    def _ends(self) -> tuple[End, End]:
        pair = self.ends.sender, self.ends.receiver
        return pair if self.dice.random() < 0.5 else (pair[1], pair[0])

    def _note(self, end: End, role: str, values: list) -> None:  # type: ignore[type-arg]  # of KeyValue
        for one in values:
            place = (end.name, role, one.key_id)
            assert place not in self.given, "a key left twice for one role"
            self.given[place] = bytes(one.value)
            other = [value for (_, _, key), value in self.given.items() if key == one.key_id]
            assert len(set(other)) == 1, "both ends know a key by the same value"


def _weather(ends: TwoEnds, seed: int, steps: int) -> None:
    weather = Weather(ends, seed)
    weather.add_block()
    for number in range(steps):
        weather.step()
        if number % 12 == 11:
            weather.settle()
            _assert_in_step(ends)
    weather.settle()
    _assert_in_step(ends)
    assert weather.given


def _assert_in_step(ends: TwoEnds) -> None:
    """Whatever a master is given at one end, the other end has."""
    stocks = [
        {one.key_id for one in end.store.keys(LINE, state=State.STORED, limit=100_000)} for end in (ends.sender, ends.receiver)
    ]
    assert stocks[0] == stocks[1]
    for here, there in ((ends.sender, ends.receiver), (ends.receiver, ends.sender)):
        assert here.store.status(LINE).confirmed and not here.store.status(LINE).suspects
        if here.store.status(LINE).available:
            there.store.accept(here.store.reserve(LINE, "app-z", ["app-y"]))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_weather_gives_a_key_twice_and_a_sync_brings_the_ends_into_step(ends: TwoEnds, seed: int) -> None:
    _weather(ends, seed, 48)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10, 60))
def test_no_weather_at_length(ends: TwoEnds, seed: int) -> None:
    _weather(ends, seed, 300)


def test_the_fixture_has_two_devices(sessions: tuple[Session, Session]) -> None:
    assert sessions[0].kek_id != sessions[1].kek_id
