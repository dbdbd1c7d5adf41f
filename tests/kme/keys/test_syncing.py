"""Two ends in step (docs/protocols/key-delivery.md section 2.2): each row of the table, each malformed message refused."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from workbench.crypto import canonical
from workbench.errors import KeyUnavailable, ProtocolViolation

from workbench_kme.keys import Provenance, State, SyncState, format_sync, parse_sync
from workbench_kme.keys.model import Position

from key_world import LINE, TwoEnds


def report_at_receiver(ends: TwoEnds, **changes: object):  # type: ignore[no-untyped-def]  # a SyncReport
    return ends.receiver.store.apply_sync(replace(ends.sender.store.sync_state(LINE), **changes))


def test_ends_in_step_stay_as_they_are(ends: TwoEnds) -> None:
    ends.add_block(20)
    ends.deliver(3)
    ends.reserve(2)
    before = ends.receiver.store.status(LINE).stock
    for report in ends.sync():
        assert report.in_step and not (report.lost or report.passed or report.behind or report.differs or report.restored)
    assert ends.receiver.store.status(LINE).stock == before


def test_a_key_skipped_at_one_end_is_found_and_taken_out_at_the_other(ends: TwoEnds) -> None:
    ends.add_block(20)
    skipped = ends.receiver.store.keys(LINE)[8].key_id
    ends.receiver.store.quarantine(LINE, key_ids=[skipped], reason="skipped")
    report = report_at_receiver(ends)
    assert report.differing == (0,)
    with pytest.raises(KeyUnavailable, match="OUT_OF_STEP"):
        ends.receiver.store.reserve(LINE, "app-b", ["app-a"])
    ends.receiver.store.apply_bitmap(LINE, 0, ends.sender.store.bitmap(LINE, 0))
    assert ends.sender.store.apply_bitmap(LINE, 0, ends.receiver.store.bitmap(LINE, 0)) == 1
    assert ends.sender.store.key(skipped).state is State.QUARANTINED
    assert [report.in_step for report in ends.sync()] == [True, True]
    assert len(ends.deliver(9)) == 9


def test_two_stocks_of_one_size_but_other_keys_are_told_apart(ends: TwoEnds) -> None:
    ends.add_block(20)
    keys = ends.receiver.store.keys(LINE)
    ends.sender.store.quarantine(LINE, key_ids=[keys[8].key_id], reason="skipped")
    ends.receiver.store.quarantine(LINE, key_ids=[keys[10].key_id], reason="skipped")
    assert report_at_receiver(ends).differing == (0,)
    ends.sync()
    assert [report.in_step for report in ends.sync()] == [True, True]
    assert len(ends.deliver(8)) == 8


def test_a_lost_notice_is_made_good(ends: TwoEnds) -> None:
    ends.add_block(20)
    reservation = ends.sender.store.reserve(LINE, "app-a", ["app-b", "app-c"], number=2, size=128)
    ends.sender.store.hand_out(reservation.key_ids, "app-a")
    assert report_at_receiver(ends).restored == 2
    assert len(ends.receiver.store.deliver(reservation.key_ids, "app-c", master="app-a")[0].value) == 16


def test_a_reservation_given_up_at_the_masters_end_ends_at_the_other(ends: TwoEnds) -> None:
    ends.add_block(20)
    reservation = ends.reserve(2)
    ends.sender.store.abandon(reservation.key_ids)
    assert report_at_receiver(ends).passed == 2
    with pytest.raises(KeyUnavailable, match="KEY_GONE"):
        ends.receiver.store.deliver(reservation.key_ids, "app-b")


def test_keys_used_at_the_masters_end_are_used_at_the_other(ends: TwoEnds) -> None:
    ends.add_block(20)
    reservation = ends.sender.store.reserve(LINE, "app-a", ["app-b"], number=3)
    ends.sender.store.quarantine(LINE, key_ids=reservation.key_ids, reason="refused over there")
    assert report_at_receiver(ends).passed == 3
    assert ends.receiver.store.key(reservation.key_ids[2]).state is State.DESTROYED


def test_a_block_with_another_content_is_quarantined(ends: TwoEnds) -> None:
    ends.add_block(4)
    state = ends.sender.store.sync_state(LINE)
    report = report_at_receiver(ends, blocks=(replace(state.blocks[0], check=bytes(16)),))
    assert (report.differs, ends.receiver.store.status(LINE).available) == (4, 0)


def test_a_block_the_other_end_lost_is_quarantined_and_one_it_has_not_got_yet_is_not(ends: TwoEnds) -> None:
    ends.add_block(4)
    ends.receiver.store.add_block(LINE, 1, Provenance.SIMULATED, bytes(64))
    assert report_at_receiver(ends, blocks=()).lost == 4
    assert ends.receiver.store.keys(LINE, state=State.GENERATED)
    assert report_at_receiver(ends).missing_here == ()


def test_an_end_that_is_behind_destroys_up_to_the_larger_pointer(ends: TwoEnds) -> None:
    ends.add_block(20)
    report = report_at_receiver(ends, pointers=(None, Position(0, 7)))
    assert (report.behind, report.older_copy) == (4, True)
    assert ends.receiver.store.keys(LINE, state=State.STORED)[0].index == 0
    report = report_at_receiver(ends, floors=(None, Position(0, 9)))
    assert (report.behind, report.older_copy) == (1, False), "a recovery over there says nothing about this end"


def test_a_late_block_with_a_smaller_number_keeps_its_keys(ends: TwoEnds) -> None:
    ends.add_block(10, block=5)
    ends.deliver(2)
    ends.add_block(10, block=4)
    for report in ends.sync():
        assert report.in_step and not report.passed
    assert ends.sender.store.key(ends.reserve().key_ids[0]).block == 4


def test_the_message_has_one_spelling_and_every_other_is_refused(ends: TwoEnds) -> None:
    ends.add_block(6)
    ends.reserve(2)
    data = format_sync(ends.sender.store.sync_state(LINE))
    assert format_sync(parse_sync(data)) == data
    for place in range(0, len(data), 3):
        changed = data[:place] + bytes([data[place] ^ 0x01]) + data[place + 1 :]
        try:
            again = format_sync(parse_sync(changed))
        except ProtocolViolation as error:
            assert error.code == "SYNC_MALFORMED"
        else:
            assert again == changed


WRONG_FIELDS: list[tuple[str, canonical.Json]] = [
    ("v", 2), ("line", 7), ("store", "00"), ("generation", -1), ("next_block", True), ("pools", [None]), ("pools", [[0, 1], None]),
    ("floors", [None, [0, 2]]), ("blocks", [[0, 6, "00" * 16, 4, 0, 0, 0]]), ("blocks", [[0, 6]]), ("blocks", {}), ("reserved", [{}]),
    ("blocks", [[1, 2, "00" * 16, 1, 1, 0, 0], [0, 2, "00" * 16, 1, 1, 0, 0]]), ("from", "KME-C"), ("extra", 1),
    ("reserved", [{"id": "x", "master": "a", "size": 256, "slaves": ["b"]}]),
    ("reserved", [{"id": str(UUID(int=1)), "master": "a", "size": 257, "slaves": ["b"]}]),
    ("reserved", [{"id": str(UUID(int=1)), "master": "a", "size": 256, "slaves": []}]),
    ("reserved", [{"id": str(UUID(int=1)), "master": "a", "size": 256, "slaves": ["b,c"]}]),
]  # fmt: skip


def test_a_field_out_of_range_changes_nothing(ends: TwoEnds) -> None:
    ends.add_block(6)
    value = canonical.parse_object(format_sync(ends.sender.store.sync_state(LINE)))
    before = ends.receiver.store.status(LINE).stock
    for name, wrong in WRONG_FIELDS:
        with pytest.raises(ProtocolViolation, match="SYNC_MALFORMED"):
            ends.receiver.store.apply_sync(parse_sync(canonical.format({**value, name: wrong})))
    assert ends.receiver.store.status(LINE).stock == before


def test_a_bitmap_of_another_length_is_refused(ends: TwoEnds) -> None:
    ends.add_block(10)
    for bits in (b"", b"\xff", b"\xff\xff\xff", b"\xff\x07"):
        with pytest.raises(ProtocolViolation, match="SYNC_MALFORMED"):
            ends.receiver.store.apply_bitmap(LINE, 0, bits)


def test_no_sync_message_carries_a_value(ends: TwoEnds) -> None:
    value = ends.add_block(6)
    ends.reserve(1)
    state: SyncState = ends.sender.store.sync_state(LINE)
    text = format_sync(state)
    for start in range(0, len(value), 32):
        key = value[start : start + 32]
        assert key not in text and key.hex().encode() not in text and key[:8].hex().encode() not in text
