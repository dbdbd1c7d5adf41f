"""Keys taken in one change while the other end makes its own: what holds whichever of the two is lost."""

from __future__ import annotations

from uuid import UUID

import pytest

from workbench.errors import KeyUnavailable, StorageFailed, VerificationError

from workbench_kme.keys import Reservation, State
from workbench_kme.keys.model import Position

from key_world import LINE, TwoEnds


def taken(ends: TwoEnds, number: int = 2) -> tuple[Reservation, list[bytes]]:
    """Keys of the sender's pool, set aside at both ends and out here."""
    reservation, values = ends.sender.store.together.take(
        LINE, "app-a", ["app-b"], number=number, tell=ends.receiver.store.accept
    )
    ends.sender.store.together.check(reservation)
    return reservation, [bytes(one.value) for one in values]


def lost(ends: TwoEnds, number: int = 2) -> tuple[UUID, ...]:
    """As `taken`, but this end's change is undone after the other end has accepted."""
    told: list[Reservation] = []

    def tell(reservation: Reservation) -> None:
        ends.receiver.store.accept(reservation)
        told.append(reservation)
        raise StorageFailed("x", "x")

    with pytest.raises(StorageFailed):
        ends.sender.store.together.take(LINE, "app-a", ["app-b"], number=number, tell=tell)
    assert ends.sender.store.key(told[0].key_ids[0]).state is State.STORED
    assert ends.receiver.store.key(told[0].key_ids[0]).state is State.RESERVED
    return told[0].key_ids


def test_what_was_taken_is_out_once_and_the_slave_gets_the_same(ends: TwoEnds) -> None:
    block = ends.add_block(8)
    reservation, values = taken(ends)
    assert values == [block[:32], block[64:96]]
    with pytest.raises(KeyUnavailable, match="KEY_GONE"):
        ends.sender.store.hand_out(reservation.key_ids, "app-a")
    fetched = ends.receiver.store.deliver(reservation.key_ids, "app-b", master="app-a")
    assert [bytes(one.value) for one in fetched] == values
    assert ends.sender.store.leak_report(reservation.key_ids[0]).given.keys() == {"master"}
    kinds = [event.kind for event in ends.sender.store.events()]
    assert kinds == ["block.added", "block.stored", "key.reserved", "key.handed-out"]


def test_the_other_end_hears_of_a_key_only_when_the_mark_covers_it(ends: TwoEnds) -> None:
    ends.add_block(1200)
    seen: list[tuple[Position, Position | None]] = []
    for _ in range(9):

        def tell(reservation: Reservation) -> None:
            mark = ends.sender.store.core.keeper.mark.pools[LINE][0]
            last = ends.sender.store.key(reservation.key_ids[-1])  # still as before the change
            assert last.state is State.STORED
            seen.append((Position(last.block, last.index), mark))

        ends.sender.store.together.take(LINE, "app-a", ["app-b"], number=60, tell=tell)
    assert len({mark for _, mark in seen}) > 1, "the mark was raised more than once"
    assert all(mark is not None and position <= mark for position, mark in seen)


@pytest.mark.parametrize("end", ["goes on", "is closed", "is killed"])
def test_a_change_lost_after_the_other_end_heard_of_it_costs_these_keys_and_is_no_older_copy(
    ends: TwoEnds, end: str
) -> None:
    ends.add_block(8)
    keys = lost(ends)
    if end != "goes on":
        ends.sender.reopen(clean=end == "is closed")
    reports = ends.sync()
    assert [report.older_copy for report in reports] == [False, False]  # type: ignore[attr-defined]
    ends.sync()
    for one in (ends.sender, ends.receiver):
        assert [one.store.key(key).state for key in keys] == [State.DESTROYED] * 2
        assert one.store.status(LINE).confirmed
    # A crash costs what the mark was written ahead, which is more than this block has.
    if end != "is killed":
        assert not set(taken(ends)[0].key_ids) & set(keys)


def test_after_a_lost_change_no_key_is_taken_before_the_lost_ones_are_gone(ends: TwoEnds) -> None:
    ends.add_block(8)
    keys = lost(ends)
    reservation, _ = taken(ends)
    assert not set(reservation.key_ids) & set(keys)
    assert [ends.sender.store.key(key).state for key in keys] == [State.DESTROYED] * 2


def test_withheld_keys_are_gone_and_nobody_is_said_to_have_got_them(ends: TwoEnds) -> None:
    ends.add_block(8)
    reservation, _ = ends.sender.store.together.take(LINE, "app-a", ["app-b"], number=2, tell=lambda _: None)
    refused, other = reservation.key_ids
    ends.sender.store.together.withhold(LINE, reservation.key_ids, refused={refused})
    assert ends.sender.store.key(refused).state is State.QUARANTINED
    assert ends.sender.store.key(other).state is State.DESTROYED
    assert not any(ends.sender.store.leak_report(key).given for key in reservation.key_ids)
    kinds = [(event.kind, event.facts.get("reason")) for event in ends.sender.store.events()][-2:]
    assert kinds == [("key.quarantined", "not-in-stock"), ("key.destroyed", "not-accepted")]
    ends.sync()
    ends.sync()
    assert {one.store.status(LINE).available for one in (ends.sender, ends.receiver)} <= {2, 4}
    assert not set(taken(ends)[0].key_ids) & set(reservation.key_ids)


def test_a_key_revoked_after_it_was_taken_is_not_given_out(ends: TwoEnds) -> None:
    ends.add_block(8)
    reservation, _ = ends.sender.store.together.take(LINE, "app-a", ["app-b"], number=2, tell=lambda _: None)
    ends.sender.store.revoke(LINE, key_ids=reservation.key_ids[:1], reason="person left")
    with pytest.raises(KeyUnavailable, match="KEY_GONE"):
        ends.sender.store.together.check(reservation)
    ends.sender.store.together.withhold(LINE, reservation.key_ids)
    states = [ends.sender.store.key(key).state for key in reservation.key_ids]
    assert states == [State.REVOKED, State.DESTROYED]


def test_an_altered_value_is_quarantined_and_the_other_end_hears_nothing(ends: TwoEnds) -> None:
    ends.add_block(8)
    first = ends.sender.store.keys(LINE)[0].key_id
    ends.sender.database.write(
        lambda tx: tx.execute("UPDATE kme_key SET wrapped = zeroblob(70) WHERE id = ?", (first.bytes,)).rowcount
    )
    told: list[Reservation] = []
    with pytest.raises(VerificationError, match="SEAL_BROKEN"):
        ends.sender.store.together.take(LINE, "app-a", ["app-b"], tell=told.append)
    assert ends.sender.store.key(first).state is State.QUARANTINED and not told
    ends.sync()
    assert first not in taken(ends)[0].key_ids
