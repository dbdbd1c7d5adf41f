"""Life of a key (docs/protocols/key-delivery.md section 1): every permitted step, no other, each key once for each role."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from uuid import UUID, uuid5

import pytest

from workbench.errors import Denied, InvalidRequest, KeyUnavailable, NotFound, Refused, VerificationError

from workbench_kme.keys import KeyStore, Line, Provenance, Quota, State, key_id
from workbench_kme.keys.model import ROOT, STEPS
from workbench_kme.keys.rows import move

from key_world import LINE, RECEIVER, SENDER, TwoEnds


def stock(store: KeyStore, state: State) -> int:
    return sum(keys for (_, one), keys in store.status(LINE).stock.items() if one is state)


def test_ids_are_what_the_document_says(ends: TwoEnds) -> None:
    ends.add_block(4)
    namespace = uuid5(UUID("6960b6a7-35ce-4301-9ac5-b073aa8cb494"), "line-1\nKME-A\nKME-B")
    assert ROOT == UUID("6960b6a7-35ce-4301-9ac5-b073aa8cb494")
    shown = [one.key_id for one in ends.receiver.store.keys(LINE)]
    assert shown == [uuid5(namespace, f"0/{index}") for index in range(4)] == [key_id(namespace, 0, i) for i in range(4)]


def test_a_key_goes_from_block_to_destruction_with_the_same_value_at_both_ends(ends: TwoEnds) -> None:
    block = ends.add_block(4)
    (first, value), (_, second) = ends.deliver(2)
    assert (value, second) == (block[:32], block[64:96])  # the sender's pool: even indexes
    for end in (ends.sender, ends.receiver):
        assert end.store.consume([first], "session", "session-7") == 1
        assert end.store.destroy([first]) == 1
        view = end.store.key(first)
        assert view.state is State.DESTROYED
        assert set(view.times_ms) >= {"GENERATED", "STORED", "RESERVED", "DELIVERED", "CONSUMED", "DESTROYED"}
    kinds = [event.kind for event in ends.sender.store.events()]
    assert kinds == ["block.added", "block.stored", "key.reserved", "key.handed-out", "key.consumed", "key.destroyed"]


def test_the_receivers_masters_draw_from_the_other_pool(ends: TwoEnds) -> None:
    block = ends.add_block(4)
    reservation = ends.receiver.store.reserve(LINE, "app-b", ["app-a"], number=2)
    ends.sender.store.accept(reservation)
    values = ends.sender.store.deliver(reservation.key_ids, "app-a", master="app-b")
    assert [bytes(one.value) for one in values] == [block[32:64], block[96:128]]


def test_only_the_steps_of_the_table_happen(ends: TwoEnds) -> None:
    ends.add_block(2)
    database, sealed = ends.sender.database, b"x" * 70
    for start in State:
        for target in State:
            database.write(
                lambda tx, start=start: tx.execute(
                    "UPDATE kme_key SET state = ?, wrapped = ? WHERE number = 1", (int(start), sealed)
                ).rowcount
            )
            moved = database.write(lambda tx, target=target: move(tx, [1], target, 5))
            with database.read() as reader:
                state, wrapped = reader.execute("SELECT state, wrapped FROM kme_key WHERE number = 1").fetchone()
            assert moved == int(target in STEPS[start])
            assert State(state) is (target if moved else start)
            assert (wrapped is None) == bool(moved and not STEPS[target]), "a final state keeps no value"


def test_a_key_leaves_an_end_once_for_each_role(ends: TwoEnds) -> None:
    ends.add_block(4)
    reservation = ends.reserve()
    ends.sender.store.hand_out(reservation.key_ids, "app-a")
    ends.receiver.store.deliver(reservation.key_ids, "app-b")
    with pytest.raises(KeyUnavailable, match="KEY_GONE"):
        ends.sender.store.hand_out(reservation.key_ids, "app-a")
    with pytest.raises(KeyUnavailable, match="KEY_GONE"):
        ends.receiver.store.deliver(reservation.key_ids, "app-b")
    with pytest.raises(sqlite3.IntegrityError):
        ends.receiver.database.write(lambda tx: tx.execute("INSERT INTO kme_use VALUES (1, 'slave/app-b', 0)").rowcount)


def test_every_slave_named_gets_the_key_once_and_nobody_else(ends: TwoEnds) -> None:
    ends.add_block(4)
    reservation = ends.reserve(1, "app-a", "app-b", "app-c")
    ends.sender.store.hand_out(reservation.key_ids, "app-a")
    for stranger in ("app-a", "app-d"):
        with pytest.raises(Denied, match="KEY_NOT_YOURS"):
            ends.receiver.store.deliver(reservation.key_ids, stranger)
    with pytest.raises(KeyUnavailable, match="KEY_GONE"):
        ends.receiver.store.deliver(reservation.key_ids, "app-b", master="another")
    first = ends.receiver.store.deliver(reservation.key_ids, "app-b")[0]
    assert ends.receiver.store.key(first.key_id).state is State.RESERVED
    with pytest.raises(KeyUnavailable, match="KEY_GONE"):
        ends.receiver.store.deliver(reservation.key_ids, "app-b")
    assert ends.receiver.store.deliver(reservation.key_ids, "app-c")[0].value == first.value
    assert ends.receiver.store.key(first.key_id).state is State.DELIVERED


def test_a_request_that_fails_for_one_key_changes_none(ends: TwoEnds) -> None:
    ends.add_block(6)
    first, second = ends.reserve(), ends.reserve()
    ends.receiver.store.deliver(first.key_ids, "app-b")
    with pytest.raises(KeyUnavailable, match="KEY_GONE"):
        ends.receiver.store.deliver([*second.key_ids, *first.key_ids], "app-b")
    assert ends.receiver.store.deliver(second.key_ids, "app-b")


def test_a_shorter_key_is_the_beginning_of_a_stored_one(ends: TwoEnds) -> None:
    block = ends.add_block(2)
    reservation = ends.sender.store.reserve(LINE, "app-a", ["app-b"], size=128)
    assert bytes(ends.sender.store.hand_out(reservation.key_ids, "app-a")[0].value) == block[:16]


def test_a_malformed_reservation_takes_nothing(ends: TwoEnds) -> None:
    ends.add_block(4)
    right = {"master": "app-a", "slaves": ["app-b"], "number": 1, "size": 256}
    for wrong in (
        {"size": 257}, {"size": 56}, {"size": 264}, {"number": 0}, {"slaves": []}, {"slaves": ["b", "b"]}, {"master": "a b"},
        {"slaves": ["a,b"]}, {"number": 1025},
    ):  # fmt: skip
        with pytest.raises(InvalidRequest):
            ends.sender.store.reserve(LINE, **{**right, **wrong})  # type: ignore[arg-type]  # wrong on purpose
    assert stock(ends.sender.store, State.STORED) == 4


def test_keys_of_one_provenance_only_are_taken_where_that_is_asked(ends: TwoEnds) -> None:
    ends.add_block(4)
    with pytest.raises(KeyUnavailable, match="EXHAUSTED"):
        ends.sender.store.reserve(LINE, "app-a", ["app-b"], origins=[Provenance.DEVICE_014])
    assert ends.sender.store.reserve(LINE, "app-a", ["app-b"], origins=[Provenance.SIMULATED]).key_ids


def test_an_empty_pool_refuses_and_says_when_to_come_again(ends: TwoEnds) -> None:
    ends.add_block(4)
    with pytest.raises(KeyUnavailable, match="EXHAUSTED") as caught:
        ends.sender.store.reserve(LINE, "app-a", ["app-b"], number=3)
    assert caught.value.details["stored_key_count"] == "2"
    assert 1 <= int(caught.value.details["retry_after_s"]) <= 3600
    assert len(ends.sender.store.reserve(LINE, "app-a", ["app-b"], number=2).key_ids) == 2


def test_a_block_number_is_given_once_for_ever(ends: TwoEnds) -> None:
    ends.add_block(2)
    for store in (ends.sender.store, ends.receiver.store):
        assert store.next_block(LINE) == 1
        with pytest.raises(Refused, match="BLOCK_KNOWN"):
            store.add_block(LINE, 0, Provenance.SIMULATED, bytes(64))
    for wrong in (b"", bytes(31), bytes(33)):
        with pytest.raises(Refused, match="BLOCK_MALFORMED"):
            ends.sender.store.add_block(LINE, 7, Provenance.SIMULATED, wrong)


def test_a_block_that_differs_at_the_two_ends_is_quarantined(ends: TwoEnds) -> None:
    ours = ends.sender.store.add_block(LINE, 0, Provenance.SIMULATED, bytes(64))
    theirs = ends.receiver.store.add_block(LINE, 0, Provenance.SIMULATED, bytes(63) + b"\x01")
    for store, check in ((ends.sender.store, theirs.check), (ends.receiver.store, ours.check)):
        with pytest.raises(VerificationError, match="BLOCK_DIFFERS"):
            store.confirm_block(LINE, 0, check)
        assert stock(store, State.QUARANTINED) == 2
    same = bytes(64)
    one = ends.sender.store.add_block(LINE, 1, Provenance.SIMULATED, same)
    two = ends.receiver.store.add_block(LINE, 1, Provenance.IMPORTED, same)
    assert one.check != two.check, "the provenance is part of what both ends must agree on"


def test_keys_of_an_unconfirmed_block_are_not_given_out(ends: TwoEnds) -> None:
    ends.sender.store.add_block(LINE, 0, Provenance.SIMULATED, bytes(64))
    with pytest.raises(KeyUnavailable, match="EXHAUSTED"):
        ends.sender.store.reserve(LINE, "app-a", ["app-b"])


def test_a_reservation_given_up_is_destroyed_and_never_put_back(ends: TwoEnds) -> None:
    ends.add_block(2)
    reservation = ends.sender.store.reserve(LINE, "app-a", ["app-b"])
    assert ends.sender.store.abandon(reservation.key_ids) == 1
    assert ends.sender.store.key(reservation.key_ids[0]).state is State.DESTROYED
    with pytest.raises(KeyUnavailable, match="EXHAUSTED"):
        ends.sender.store.reserve(LINE, "app-a", ["app-b"])


def test_the_other_end_accepts_all_or_names_what_it_lacks(ends: TwoEnds) -> None:
    ends.add_block(6)
    reservation = ends.sender.store.reserve(LINE, "app-a", ["app-b"], number=3)
    missing = reservation.key_ids[1]
    ends.receiver.store.quarantine(LINE, key_ids=[missing], reason="test")
    with pytest.raises(KeyUnavailable, match="NOT_IN_STOCK") as caught:
        ends.receiver.store.accept(reservation)
    assert caught.value.details["keys"] == str(missing)
    assert stock(ends.receiver.store, State.RESERVED) == 0
    other = ends.receiver.store.reserve(LINE, "app-b", ["app-a"])
    with pytest.raises(KeyUnavailable, match="NOT_IN_STOCK"):
        ends.receiver.store.accept(other)  # keys of its own pool are not the other end's to choose


def test_a_notice_that_comes_twice_changes_nothing(ends: TwoEnds) -> None:
    ends.add_block(4)
    reservation = ends.reserve(2)
    ends.receiver.store.accept(reservation)
    assert stock(ends.receiver.store, State.RESERVED) == 2
    ends.receiver.store.deliver(reservation.key_ids, "app-b")
    with pytest.raises(KeyUnavailable, match="NOT_IN_STOCK"):
        ends.receiver.store.accept(reservation)


def test_two_threads_never_get_the_same_key(ends: TwoEnds) -> None:
    ends.add_block(240)
    taken: list[list[UUID]] = [[], [], [], []]

    def take(mine: list[UUID]) -> None:
        for _ in range(15):
            mine += ends.sender.store.reserve(LINE, "app-a", ["app-b"], number=2).key_ids

    threads = [threading.Thread(target=take, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [one for mine in taken for one in mine]
    assert len(everything) == len(set(everything)) == 120
    with pytest.raises(KeyUnavailable, match="EXHAUSTED"):
        ends.sender.store.reserve(LINE, "app-a", ["app-b"])


def test_two_threads_deliver_one_key_once(ends: TwoEnds) -> None:
    ends.add_block(40)
    outcomes: list[str] = []

    def take(key_ids: tuple[UUID, ...], barrier: threading.Barrier) -> None:
        barrier.wait()
        try:
            ends.receiver.store.deliver(key_ids, "app-b")
            outcomes.append("given")
        except KeyUnavailable as error:
            outcomes.append(error.code)

    for _ in range(10):
        reservation, barrier = ends.reserve(), threading.Barrier(2)
        threads = [threading.Thread(target=take, args=(reservation.key_ids, barrier)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(outcomes) == ["KEY_GONE"] * 10 + ["given"] * 10


def test_expiry_ends_keys_and_reservations_in_time(ends: TwoEnds) -> None:
    ends.add_block(4)
    reservation = ends.reserve()
    ends.clock.ms += 10 * 60_000
    with pytest.raises(KeyUnavailable, match="KEY_GONE"):
        ends.receiver.store.deliver(reservation.key_ids, "app-b")
    assert ends.receiver.store.expire() == 1
    ends.clock.ms += 30 * 24 * 3_600_000
    with pytest.raises(KeyUnavailable, match="EXHAUSTED"):
        ends.sender.store.reserve(LINE, "app-a", ["app-b"])
    assert ends.sender.store.expire() == 4
    assert stock(ends.sender.store, State.EXPIRED) == 4


def test_a_clock_set_back_revives_no_expired_key(ends: TwoEnds) -> None:
    ends.add_block(4)
    reservation = ends.reserve()
    ends.clock.ms += 11 * 60_000
    ends.receiver.store.expire()
    ends.receiver.store.status(LINE)
    ends.clock.ms -= 12 * 60_000
    ends.receiver.reopen()
    with pytest.raises(KeyUnavailable, match="KEY_GONE"):
        ends.receiver.store.deliver(reservation.key_ids, "app-b")
    assert ends.receiver.store.status(LINE).clock_behind_ms == 12 * 60_000


def test_expiry_that_was_seen_counts_even_before_it_was_swept(ends: TwoEnds) -> None:
    ends.add_block(4)
    reservation = ends.reserve()
    ends.clock.ms += 11 * 60_000
    ends.receiver.store.set_quota("app-z", Quota(1, 1))  # any change sees the time; nothing is swept
    ends.clock.ms -= 11 * 60_000
    with pytest.raises(KeyUnavailable, match="KEY_GONE"):
        ends.receiver.store.deliver(reservation.key_ids, "app-b")


def test_a_clock_put_right_starts_time_again_and_leaves_the_expired_expired(ends: TwoEnds) -> None:
    ends.add_block(4)
    ends.clock.ms += 40 * 24 * 3_600_000
    ends.sender.store.set_quota("app-z", Quota(1, 1))
    ends.clock.ms -= 40 * 24 * 3_600_000
    ends.sender.store.accept_clock("the battery was changed")
    assert stock(ends.sender.store, State.EXPIRED) == 4
    assert ends.sender.store.status(LINE).clock_behind_ms == 0
    ends.sender.reopen()
    assert ends.sender.store.status(LINE).clock_behind_ms == 0
    assert "clock.accepted" in [event.kind for event in ends.sender.store.events()]


def test_revocation_ends_keys_and_names_the_sessions_they_protected(ends: TwoEnds) -> None:
    ends.add_block(8)
    (first, _), (second, _) = ends.deliver(2)
    ends.sender.store.consume([first], "session", "session-1")
    ends.sender.store.record_use(first, "frames", "session-1/0-99")
    changed = ends.sender.store.revoke(LINE, key_ids=[first, second], reason="lost laptop")
    assert (changed.count, changed.references) == (2, ("session-1", "session-1/0-99"))
    assert ends.sender.store.revoke(LINE, reason="re-key").count == 6
    assert stock(ends.sender.store, State.REVOKED) == 8
    with pytest.raises(KeyUnavailable, match="EXHAUSTED"):
        ends.sender.store.reserve(LINE, "app-a", ["app-b"])


def test_a_block_is_quarantined_as_a_whole_and_others_go_on(ends: TwoEnds) -> None:
    ends.add_block(4)
    ends.add_block(4)
    assert ends.sender.store.quarantine(LINE, block=0, reason="alarm").count == 4
    assert ends.sender.store.key(ends.reserve().key_ids[0]).block == 1


def test_the_leak_report_is_exactly_what_was_recorded(ends: TwoEnds) -> None:
    ends.add_block(8)
    (first, _), (second, _) = ends.deliver(2)
    store = ends.receiver.store
    store.consume([first], "session", "s-1", sae="app-b")
    store.consume([first], "frames", "s-1/7", sae="app-b")
    store.record_use(second, "pad", "item-9")
    report = store.leak_report(first)
    assert [(one.purpose, one.reference, one.sae) for one in report.uses] == [
        ("session", "s-1", "app-b"),
        ("frames", "s-1/7", "app-b"),
    ]
    assert (set(report.given), report.siblings, report.key.provenance) == ({"slave/app-b"}, 7, Provenance.SIMULATED)
    assert [one.reference for one in store.leak_report(second).uses] == ["item-9"]
    with pytest.raises(NotFound, match="NO_SUCH_KEY"):
        store.leak_report(UUID(int=1))


def test_a_reference_is_an_id_and_never_content_or_a_phone(ends: TwoEnds) -> None:
    ends.add_block(2)
    ((first, _),) = ends.deliver(1)
    for reference in ("", "13800001111", "110101199001011234", "a b", "文本", "x" * 129, "-a"):
        with pytest.raises(InvalidRequest, match="USE_MALFORMED"):
            ends.receiver.store.consume([first], "session", reference)
    assert ends.receiver.store.leak_report(first).uses == ()


def test_a_use_is_noted_only_by_who_got_the_key(ends: TwoEnds) -> None:
    ends.add_block(4)
    ((first, _),) = ends.deliver(1)
    with pytest.raises(Denied, match="KEY_NOT_YOURS"):
        ends.receiver.store.consume([first], "session", "s-1", sae="app-a")
    other = ends.reserve()
    with pytest.raises(KeyUnavailable, match="KEY_GONE"):
        ends.receiver.store.consume(other.key_ids, "session", "s-1")


def test_a_line_keeps_its_ends(ends: TwoEnds) -> None:
    with pytest.raises(Refused, match="LINE_CHANGED"):
        ends.sender.store.register_line(Line(LINE, SENDER, "KME-C", SENDER))
    with pytest.raises(Refused, match="LINE_CHANGED"):
        ends.sender.store.register_line(Line(LINE, SENDER, RECEIVER, RECEIVER))


def test_a_line_that_had_keys_keeps_its_tenant_and_another_tenants_keys_have_other_ids(ends: TwoEnds) -> None:
    store, tagged = ends.sender.store, Line(LINE, SENDER, RECEIVER, SENDER, tenant="desk-7")
    assert len({one.namespace for one in (tagged, replace(tagged, tenant=""), replace(tagged, tenant="desk"), replace(tagged, name=f"{LINE}-7"))}) == 4
    store.register_line(tagged)
    store.register_line(replace(tagged, tenant=""))
    store.add_block(LINE, 0, Provenance.SIMULATED, bytes(32 * 4))
    for tenant in ("desk-7", "desk"):
        with pytest.raises(Refused, match="LINE_CHANGED"):
            store.register_line(replace(tagged, tenant=tenant))
    store.register_line(replace(tagged, tenant=""))
    with pytest.raises(ValueError, match="tag"):
        replace(tagged, tenant="Desk")


def test_a_full_stock_takes_no_block(ends: TwoEnds) -> None:
    ends.sender.store.register_line(Line(LINE, SENDER, RECEIVER, SENDER, max_keys=5))
    ends.sender.store.add_block(LINE, 0, Provenance.SIMULATED, bytes(32 * 4))
    with pytest.raises(Refused, match="POOL_FULL"):
        ends.sender.store.add_block(LINE, 1, Provenance.SIMULATED, bytes(32 * 2))


def test_what_ended_long_ago_is_forgotten_and_its_block_number_is_not(ends: TwoEnds) -> None:
    ends.add_block(4)
    ((first, _),) = ends.deliver(1)
    store = ends.sender.store
    store.consume([first], "session", "s-1")
    store.destroy([first])
    ends.clock.ms += 1000
    assert store.forget(ends.clock.ms - 1000) == 0
    assert store.forget(ends.clock.ms) == 1
    with pytest.raises(NotFound, match="NO_SUCH_KEY"):
        store.leak_report(first)
    assert (stock(store, State.DESTROYED), stock(store, State.STORED)) == (0, 3)
    with pytest.raises(Refused, match="BLOCK_KNOWN"):
        store.add_block(LINE, 0, Provenance.SIMULATED, bytes(64))
    assert [report.in_step for report in ends.sync()] == [True, True]
    assert [event.kind for event in store.events()] == ["key.forgotten"]
    assert store.revoke(LINE, key_ids=[first], reason="unknown by now").count == 0
