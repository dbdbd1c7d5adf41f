"""Copies, crashes and restarts (docs/protocols/key-delivery.md section 2.1): a used key never comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from workbench.errors import KeyUnavailable, StorageFailed, VerificationError

from workbench_kme.devices import Session
from workbench_kme.keys import Line, Provenance, State
from workbench_kme.keys.mark import HEADER, Mark, MarkKeeper, SecretUse, format_mark, parse_mark
from workbench_kme.keys.model import Position

from key_world import LINE, TwoEnds

CHILD = Path(__file__).with_name("killed_child.py")


def free(ends: TwoEnds) -> int:
    return ends.sender.store.status(LINE).available


def test_a_clean_restart_loses_nothing(ends: TwoEnds) -> None:
    ends.add_block(20)
    ends.deliver(3)
    ends.sender.reopen()
    assert free(ends) == 7
    assert len(ends.deliver(7)) == 7


def test_a_crash_costs_what_the_mark_ran_ahead_and_no_used_key_returns(ends: TwoEnds) -> None:
    ends.add_block(20)
    ends.add_block(20)
    used = dict(ends.deliver(3))
    ends.sender.kill()
    ends.sender.open()
    ends.receiver.kill()
    ends.receiver.open()
    assert free(ends) == 10, "the rest of the block in use is given up, the next one is whole"
    assert ends.sender.store.status(LINE).confirmed, "a crash is not an older copy"
    ends.sync()
    assert not set(used) & {one for one, _ in ends.deliver(10)}


def test_an_older_copy_gives_nothing_out_before_the_other_end_confirmed(ends: TwoEnds) -> None:
    ends.add_block(40)
    ends.deliver(2)
    copy = ends.sender.copy()
    used = dict(ends.deliver(5))
    ends.add_block(40)
    ends.sender.restore(copy)
    status = ends.sender.store.status(LINE)
    assert (status.older_copy, status.confirmed, status.available) == (True, False, 0)
    for key in used:
        assert ends.sender.store.key(key).state is State.DESTROYED
    with pytest.raises(KeyUnavailable, match="KME_UNCONFIRMED"):
        ends.sender.store.reserve(LINE, "app-a", ["app-b"])
    ends.sync()
    status = ends.sender.store.status(LINE)
    assert (status.older_copy, status.confirmed) == (False, True)
    assert status.next_block == 2, "the number of the block it forgot is not given again"
    ends.add_block(40)
    assert not set(used) & {one for one, _ in ends.deliver(20)}


def test_a_copy_of_the_very_generation_that_the_mark_names_is_no_proof_without_a_clean_end(ends: TwoEnds) -> None:
    """The mark runs ahead: what was given out since needed no write of it."""
    ends.add_block(40)
    ((first, _),) = ends.deliver(1)
    ends.sender.store.revoke(LINE, key_ids=[first], reason="writes the mark")
    copy = ends.sender.copy()
    used = dict(ends.deliver(3))
    ends.sender.restore(copy, clean=False)
    for key in used:
        assert ends.sender.store.key(key).state is State.DESTROYED
    assert not ends.sender.store.status(LINE).available


def test_a_copy_does_not_bring_back_the_time_before_it(ends: TwoEnds) -> None:
    ends.add_block(2)
    copy = ends.sender.copy()
    ends.clock.ms += 3_600_000
    ends.sender.store.revoke(LINE, block=0, reason="writes the mark")
    ends.clock.ms -= 3_600_000
    ends.sender.restore(copy)
    assert ends.sender.store.status(LINE).clock_behind_ms == 3_600_000
    mark = ends.sender.mark.read_bytes()
    ends.sender.reopen()
    assert ends.sender.mark.read_bytes() != mark
    assert ends.sender.store.status(LINE).clock_behind_ms == 3_600_000


def test_a_clean_end_keeps_the_time_that_no_change_has_seen(ends: TwoEnds) -> None:
    ends.add_block(2)
    ends.clock.ms += 5000
    ends.sender.close()
    ends.clock.ms -= 5000
    ends.sender.open()
    assert ends.sender.store.status(LINE).clock_behind_ms == 5000


def test_a_line_that_is_new_to_an_unproven_store_waits_for_its_other_end_too(ends: TwoEnds) -> None:
    other = Line("line-2", "KME-A", "KME-C", "KME-A")
    ends.sender.store.register_line(other)
    assert ends.sender.store.status("line-2").confirmed
    ends.sender.close()
    ends.sender.mark.unlink()
    ends.sender.open()
    ends.sender.store.register_line(replace(other, name="line-3"))
    assert [ends.sender.store.status(name).confirmed for name in (LINE, "line-2", "line-3")] == [False] * 3


def test_a_block_forgotten_by_an_older_copy_comes_back_without_what_was_used(ends: TwoEnds) -> None:
    ends.add_block(2)
    copy = ends.receiver.copy()
    value = ends.add_block(1200)
    used = dict(ends.deliver(3))
    ends.receiver.restore(copy)
    added = ends.receiver.store.add_block(LINE, 1, Provenance.SIMULATED, value)
    assert added.destroyed >= 3
    for key in used:
        if ends.receiver.store.key(key).block == 1:
            assert ends.receiver.store.key(key).state is State.DESTROYED


def test_an_older_copy_with_its_own_older_mark_is_found_by_the_other_end(ends: TwoEnds) -> None:
    ends.add_block(40)
    ends.sender.close()
    ends.sender.open()
    copy, mark = ends.sender.copy(), ends.sender.mark.read_bytes()
    used = dict(ends.deliver(5))
    ends.sender.peer_required = True
    ends.sender.restore(copy, mark=mark)
    secret = "5" * 32
    assert ends.sender.store.core.keeper.begin_secret(LINE, secret)
    with pytest.raises(KeyUnavailable, match="KME_UNCONFIRMED"):
        ends.sender.store.reserve(LINE, "app-a", ["app-b"])
    report = ends.sender.store.apply_sync(ends.receiver.store.sync_state(LINE))
    assert report.older_copy
    assert ends.sender.store.core.keeper.use_of(LINE, secret) is None, "nor does its authentication pool go on"
    for key in used:
        assert ends.sender.store.key(key).state is State.DESTROYED
    ends.sync()
    assert not set(used) & {one for one, _ in ends.deliver(5)}


@pytest.mark.parametrize("harm", ["missing", "cut", "altered", "foreign"])
def test_a_mark_that_is_missing_or_altered_proves_nothing(ends: TwoEnds, harm: str) -> None:
    ends.add_block(20)
    ends.deliver(2)
    ends.sender.close()
    mark = ends.sender.mark.read_bytes()
    if harm == "missing":
        ends.sender.mark.unlink()
    else:
        changed = {"cut": mark[:-1], "altered": mark[:-1] + bytes([mark[-1] ^ 1]), "foreign": ends.receiver.mark.read_bytes()}
        ends.sender.mark.write_bytes(changed[harm])
    ends.sender.open()
    with pytest.raises(KeyUnavailable, match="KME_UNCONFIRMED"):
        ends.sender.store.reserve(LINE, "app-a", ["app-b"])
    ends.sync()
    assert len(ends.deliver(8)) == 8
    ends.sender.reopen()
    assert ends.sender.store.status(LINE).confirmed


def test_an_older_mark_beside_a_newer_database_proves_nothing(ends: TwoEnds) -> None:
    ends.add_block(20)
    ends.sender.close()
    mark = ends.sender.mark.read_bytes()
    ends.sender.open()
    ends.deliver(1)
    ends.sender.close()
    ends.sender.mark.write_bytes(mark)
    ends.sender.open()
    with pytest.raises(KeyUnavailable, match="KME_UNCONFIRMED"):
        ends.sender.store.reserve(LINE, "app-a", ["app-b"])


def test_every_changed_byte_of_a_mark_is_refused(sessions: tuple[Session, Session]) -> None:
    store = bytes(range(16))
    first, second = "0" * 31 + "a", "f" * 32
    mark = Mark(
        True,
        7,
        {"line-1": (Position(3, 4), None)},
        99,
        secrets={"line-1": SecretUse(first, (0, 512), (3, 16))},
        retired=frozenset({second}),
        charges=frozenset({first, second}),
    )
    data = format_mark(mark, store, sessions[0])
    assert data.startswith(HEADER + store) and parse_mark(data, store, sessions[0]) == mark
    assert bytes(sessions[0].unwrap("mark", data[len(HEADER) + 16 :], store)).decode() == (
        f'{{"charges":["{first}","{second}"],"clean":true,"generation":7,"lost":false,"pools":{{"line-1":[[3,4],null]}},'
        f'"retired":["{second}"],"secrets":{{"line-1":["{first}",[0,512],[3,16]]}},"time_ms":99,"v":2}}'
    )
    for place in range(len(data)):
        with pytest.raises(VerificationError):
            parse_mark(data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1 :], store, sessions[0])
    for session, identity in ((sessions[1], store), (sessions[0], bytes(16))):
        with pytest.raises(VerificationError):
            parse_mark(data, identity, session)


def test_no_value_leaves_when_the_mark_cannot_be_written(ends: TwoEnds, monkeypatch: pytest.MonkeyPatch) -> None:
    ends.add_block(4)
    reservation = ends.reserve()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(StorageFailed, match="MARK_NOT_WRITTEN"):
            ends.sender.store.hand_out(reservation.key_ids, "app-a")
    with pytest.raises(KeyUnavailable, match="KEY_GONE"):
        ends.sender.store.hand_out(reservation.key_ids, "app-a")


def test_a_mark_is_written_once_for_many_deliveries(tmp_path: Path, sessions: tuple[Session, Session]) -> None:
    keeper = MarkKeeper(tmp_path / "mark", bytes(16), sessions[0], Mark(False, 0, {}, 0))
    written = []
    for number in range(600):
        before = keeper.mark
        keeper.cover("line-1", [Position(5, 2 * number)], generation=number, time_ms=number)
        pair = keeper.mark.pools["line-1"]
        assert pair[0] is not None and pair[0] >= Position(5, 2 * number)
        written.append(keeper.mark is not before)
    assert sum(written) == 3


@pytest.mark.parametrize("last", range(6))
def test_a_process_that_ends_between_two_steps_gives_no_value_twice(ends: TwoEnds, last: int) -> None:
    """After each transaction of a delivery both ends stop as if killed; what left before never leaves again."""
    ends.add_block(40)
    ends.add_block(40)
    store, other = ends.sender.store, ends.receiver.store
    seen: set[bytes] = set()
    reservation = store.reserve(LINE, "app-a", ["app-b"], number=2)
    key_ids = reservation.key_ids
    if last >= 1:
        other.accept(reservation)
    if last >= 2:
        seen |= {bytes(one.value) for one in store.hand_out(key_ids, "app-a")}
    if last >= 3:
        seen |= {bytes(one.value) for one in other.deliver(key_ids, "app-b")}
    if last >= 4:
        store.report_delivered(LINE, key_ids)
    if last >= 5:
        store.consume(key_ids, "session", "s-1")
    for end in (ends.sender, ends.receiver):
        end.reopen(clean=False)
    ends.sync()
    again: set[bytes] = set()
    with suppress(KeyUnavailable):  # a reservation whose values did not leave may go on
        again |= {bytes(one.value) for one in ends.sender.store.hand_out(key_ids, "app-a")}
    assert bool(again) == (last < 2)
    if last >= 3:
        with pytest.raises(KeyUnavailable, match="KEY_GONE"):
            ends.receiver.store.deliver(key_ids, "app-b")
    later = {value for _, value in ends.deliver(20)}
    assert len(later) == 20 and not later & (seen | again)


def _run_and_kill(folder: Path, after: int) -> list[str]:
    """Start the child, let it give out `after` keys, kill it; the ids that it told."""
    child = subprocess.Popen([sys.executable, str(CHILD), str(folder)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    told = []
    try:
        for line in child.stdout:
            told.append(line.strip())
            if len(told) == after:
                child.send_signal(signal.SIGKILL)
        child.wait(30)
    finally:
        if child.poll() is None:
            child.kill()
    assert child.returncode == -signal.SIGKILL
    return told


def test_a_killed_store_never_gives_a_key_again(folder: Path) -> None:
    told: list[str] = []
    for after in (3, 40):
        told += _run_and_kill(folder, after)
    assert len(told) == len(set(told)) >= 43


@pytest.mark.soak
def test_a_store_killed_a_hundred_times_never_gives_a_key_again(folder: Path) -> None:
    told: list[str] = []
    for round_number in range(100):
        told += _run_and_kill(folder, 1 + round_number * 7 % 50)
    assert len(told) == len(set(told))
