"""The key store against a naive model: whatever is done in whatever order, both say the same and no key is given twice."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from workbench.errors import Denied, KeyUnavailable

from workbench_kme.devices import Session
from workbench_kme.keys import Provenance, Reservation, State
from workbench_kme.keys.model import STEPS

from key_world import LINE, SENDER, Clock, End

LIFETIME_MS, RESERVATION_MS = 1000, 200
FINAL = {state for state, following in STEPS.items() if not following}


@dataclass
class Key:
    """One key as a child would keep it."""

    value: bytes
    state: State
    expires: int
    master: str = ""
    slaves: tuple[str, ...] = ()
    given: set[str] = field(default_factory=set)
    out: bool = False

    def move(self, target: State) -> bool:
        if target not in STEPS[self.state]:
            return False
        self.state = target
        self.out |= target in FINAL
        return True


class KeyStoreMachine(RuleBasedStateMachine):
    """One end that is master for pool 0 and slave for pool 1; the other end is played by the rules."""

    sessions: ClassVar[tuple[Session, Session]]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="kme-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.clock = Clock(1_000_000)
        limits = {"lifetime_ms": LIFETIME_MS, "reservation_ms": RESERVATION_MS}
        self.end = End(self.folder / "end", SENDER, self.sessions[0], self.clock, limits)
        self.keys: dict[Any, Key] = {}
        self.blocks = 0
        self.ever: set[tuple[str, bytes]] = set()

    @property
    def store(self) -> Any:  # the store is another object after a restart
        return self.end.store

    def teardown(self) -> None:
        self.end.close()
        shutil.rmtree(self.folder)

    # ---- rules

    @initialize()
    def begin(self) -> None:
        self.add_block(4, True)

    @rule(count=st.integers(1, 6), confirmed=st.booleans())
    def add_block(self, count: int, confirmed: bool) -> None:
        number, self.blocks = self.blocks, self.blocks + 1
        value = b"".join(number.to_bytes(16, "big") + index.to_bytes(16, "big") for index in range(count))
        added = self.store.add_block(LINE, number, Provenance.SIMULATED, value)
        for view in self.store.keys(LINE, state=State.GENERATED, limit=1000):
            self.keys.setdefault(
                view.key_id,
                Key(value[32 * view.index : 32 * view.index + 32], State.GENERATED, self.clock.ms + LIFETIME_MS),
            )
        if confirmed:
            assert self.store.confirm_block(LINE, number, added.check) == count
            for key in self._of_block(number):
                assert key.move(State.STORED)

    @rule(number=st.integers(1, 3), slaves=st.sampled_from([("b",), ("b", "c")]))
    def reserve(self, number: int, slaves: tuple[str, ...]) -> None:
        free = self._free(0)
        try:
            reservation = self.store.reserve(LINE, "a", slaves, number=number)
        except KeyUnavailable as error:
            assert error.code == "EXHAUSTED" and len(free) < number
            return
        self._expire()
        assert list(reservation.key_ids) == free[:number], "the lowest free keys of the own pool, in order"
        self._set_aside(reservation)

    @rule(number=st.integers(1, 3), slaves=st.sampled_from([("a",), ("a", "d")]), wrong=st.booleans())
    def accept(self, number: int, slaves: tuple[str, ...], wrong: bool) -> None:
        chosen = self._free(0 if wrong else 1)[-number:]
        if not chosen:
            return
        reservation = Reservation(LINE, tuple(chosen), 256, "b", slaves)
        if wrong:
            with pytest.raises(KeyUnavailable, match="NOT_IN_STOCK"):
                self.store.accept(reservation)
            return
        self.store.accept(reservation)
        self._set_aside(reservation)

    @rule(data=st.data(), master=st.sampled_from(["a", "x"]))
    def hand_out(self, data: st.DataObject, master: str) -> None:
        identifier, key = self._any(data)
        allowed = key.state is State.RESERVED and not key.out and key.master == master and self.clock.ms < key.expires
        try:
            value = self.store.hand_out([identifier], master)[0].value
        except (KeyUnavailable, Denied):
            assert not allowed
            return
        assert allowed and value == key.value
        self._given(key, "master")
        key.out = True

    @rule(data=st.data(), slave=st.sampled_from(["a", "b", "d"]))
    def deliver(self, data: st.DataObject, slave: str) -> None:
        identifier, key = self._any(data)
        allowed = (
            key.state is State.RESERVED and not key.out and slave in key.slaves
            and slave not in key.given and self.clock.ms < key.expires
        )  # fmt: skip
        try:
            value = self.store.deliver([identifier], slave)[0].value
        except (KeyUnavailable, Denied):
            assert not allowed
            return
        assert allowed and value == key.value
        self._given(key, slave)
        if set(key.slaves) <= key.given:
            key.out = True
            assert key.move(State.DELIVERED)

    @rule(data=st.data())
    def report_delivered(self, data: st.DataObject) -> None:
        identifier, key = self._any(data)
        ours = self.store.key(identifier).pool == 0 and key.out
        moved = self.store.report_delivered(LINE, [identifier])
        assert bool(moved) == (ours and key.move(State.DELIVERED))

    @rule(data=st.data())
    def consume(self, data: st.DataObject) -> None:
        identifier, key = self._any(data)
        try:
            moved = self.store.consume([identifier], "session", "s-1")
        except KeyUnavailable:
            assert not key.given
            return
        assert key.given
        if key.out and key.state is State.RESERVED:
            key.move(State.DELIVERED)
        assert bool(moved) == (key.out and key.move(State.CONSUMED))

    @rule(data=st.data(), call=st.sampled_from(["abandon", "destroy", "revoke", "quarantine"]))
    def take_out(self, data: st.DataObject, call: str) -> None:
        identifier, key = self._any(data)
        if call == "abandon":
            moved = self.store.abandon([identifier])
            assert bool(moved) == (key.state is State.RESERVED and not key.out and key.move(State.DESTROYED))
        elif call == "destroy":
            assert bool(self.store.destroy([identifier])) == key.move(State.DESTROYED)
        else:
            changed = getattr(self.store, call)(LINE, key_ids=[identifier], reason="test").count
            target = State.REVOKED if call == "revoke" else State.QUARANTINED
            assert bool(changed) == key.move(target)

    @rule(step=st.sampled_from([1, 150, 250, 900, -300]))
    def time_passes(self, step: int) -> None:
        """A clock set back counts for nothing: the store has seen the later time already."""
        if step < 0:
            self.store.expire()
            self._expire()
            self.clock.ms += step
            self.store.expire()
            self.clock.ms -= step
        else:
            self.clock.ms += step

    @rule()
    def expire(self) -> None:
        assert self.store.expire() == self._expire()

    @precondition(lambda self: self.blocks < 12)
    @rule(clean=st.booleans())
    def restart(self, clean: bool) -> None:
        self.end.reopen(clean=clean)
        if not clean:
            for identifier, key in self.keys.items():
                if key.state is not self.store.key(identifier).state:
                    assert self.store.key(identifier).state is State.DESTROYED and not key.out
                    assert key.move(State.DESTROYED)

    # ---- what always holds

    @invariant()
    def both_say_the_same(self) -> None:
        status = self.end.store.status(LINE)
        shown = {view.key_id: view.state for view in self.end.store.keys(LINE, limit=10_000)}
        assert shown == {identifier: key.state for identifier, key in self.keys.items()}
        for pool in (0, 1):
            for state in State:
                members = [i for i, one in self.keys.items() if one.state is state and self.store.key(i).pool == pool]
                assert status.stock[pool, state] == len(members), "counts kept by triggers"
        with self.end.database.read() as reader:
            rows = reader.execute("SELECT COUNT(*) FROM kme_key WHERE wrapped IS NOT NULL").fetchone()[0]
            drift = reader.execute(
                "SELECT COUNT(*) FROM kme_block b WHERE (b.open, b.stored0, b.stored1, b.mix0 + b.mix1) <>"
                " (SELECT COUNT(state IN (1, 2) OR NULL), COUNT((state = 2 AND pool = 0) OR NULL),"
                " COUNT((state = 2 AND pool = 1) OR NULL), TOTAL(mix * (state = 2))"
                " FROM kme_key k WHERE k.line = b.line AND k.block = b.block)"
            ).fetchone()[0]
        assert drift == 0, "counts of a block kept by triggers"
        assert rows == sum(not key.out for key in self.keys.values()), "values are there exactly while they may leave"

    # ---- inside

    def _any(self, data: st.DataObject) -> tuple[Any, Key]:
        ordered = sorted(self.keys, key=lambda one: (self.keys[one].state, str(one)))
        busy = [one for one in ordered if self.keys[one].state in (State.RESERVED, State.DELIVERED, State.CONSUMED)]
        identifier = data.draw(st.sampled_from(busy or ordered))
        return identifier, self.keys[identifier]

    def _of_block(self, block: int) -> list[Key]:
        return [key for identifier, key in self.keys.items() if self.store.key(identifier).block == block]

    def _free(self, pool: int) -> list[Any]:
        views = [self.store.key(one) for one, key in self.keys.items() if key.state is State.STORED and key.expires > self.clock.ms]
        return [view.key_id for view in sorted(views, key=lambda one: (one.block, one.index)) if view.pool == pool]

    def _set_aside(self, reservation: Reservation) -> None:
        for identifier in reservation.key_ids:
            key = self.keys[identifier]
            assert key.move(State.RESERVED)
            key.master, key.slaves = reservation.master, reservation.slaves
            key.expires = min(key.expires, self.clock.ms + RESERVATION_MS)

    def _given(self, key: Key, role: str) -> None:
        assert (role, key.value) not in self.ever, "a value left twice for one role"
        self.ever.add((role, key.value))
        key.given.add(role)

    def _expire(self) -> int:
        due = [key for key in self.keys.values() if key.expires <= self.clock.ms]
        return sum(key.move(State.EXPIRED) for key in due if key.state in (State.GENERATED, State.STORED, State.RESERVED))


def _run(sessions: tuple[Session, Session], examples: int, steps: int) -> None:
    machine = type("Machine", (KeyStoreMachine,), {"sessions": sessions})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            derandomize=examples < 100,
        ),
    )


def test_the_store_does_what_a_naive_model_does(sessions: tuple[Session, Session]) -> None:
    _run(sessions, examples=8, steps=30)


@pytest.mark.soak
def test_the_store_does_what_a_naive_model_does_at_length(sessions: tuple[Session, Session]) -> None:
    _run(sessions, examples=300, steps=60)
