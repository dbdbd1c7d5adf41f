"""Charge keys and session keys (docs/protocols/key-delivery.md section 4): one-time, wrapped, revocable."""

from __future__ import annotations

import threading
from uuid import UUID

import pytest

from workbench.crypto import canonical, random
from workbench.errors import KeyUnavailable, NotFound, Refused, VerificationError

from workbench_kme.keys import ChargeMedium, ChargePools, ChargesRevoked, Line, Provenance
from workbench_kme.keys.charge import DAY_MS, charge_key_id, open_delivery, pace, parse_header, seal_delivery
from workbench_kme.keys.medium import open_medium, pack_medium, parse_medium, use_medium

from key_world import LINE, RECEIVER, SENDER, TwoEnds
from test_values_at_rest import holds

NAMESPACE = Line(LINE, SENDER, RECEIVER, SENDER).namespace
VALUE = bytes(range(32))


def filled(ends: TwoEnds, count: int = 4, device: str = "card-1") -> tuple[ChargePools, ChargeMedium]:
    charges = ends.sender.store.charges
    medium = ChargeMedium(NAMESPACE, "li.ming", device)
    medium.take_in(charges.fill("li.ming", device, LINE, count, low_water=3))
    return charges, medium


def deliver(charges: ChargePools, number: int, device: str = "card-1") -> bytes:
    return charges.deliver("li.ming", device, LINE, UUID(int=number), VALUE, Provenance.SIMULATED).sealed


def test_a_session_key_arrives_under_the_next_charge_key(ends: TwoEnds) -> None:
    charges, medium = filled(ends)
    first = charges.deliver("li.ming", "card-1", LINE, UUID(int=7), VALUE, Provenance.SIMULATED)
    assert first.charge_key_id == charge_key_id(NAMESPACE, "li.ming", "card-1", 1)
    assert medium.open_delivery(first.sealed) == (UUID(int=7), Provenance.SIMULATED, bytearray(VALUE))
    assert medium.open_delivery(deliver(charges, 8))[0] == UUID(int=8)
    (pool,) = charges.pools()
    assert (pool.count, pool.low, medium.left) == (2, True, 2)


def test_the_bytes_of_a_delivery_are_those_of_the_document() -> None:
    charge, identifier = bytes(32), UUID(int=5)
    sealed = seal_delivery(charge, identifier, 3, UUID(int=9), Provenance.IMPORTED, VALUE)
    assert sealed[:26] == b"\x01" + (3).to_bytes(8, "big") + UUID(int=9).bytes + b"\x03" and len(sealed) == 26 + 32 + 16
    assert parse_header(sealed) == (3, UUID(int=9), Provenance.IMPORTED)
    # Computed a second time with the HKDF and SM4-GCM of `cryptography`, from the document alone.
    assert sealed[26:].hex() == (
        "777bcd067acafea6637c4749202b1c03b26ba9d050a878419ed1568f21729339346dea81030f3285f26e7bf932ffbd69"
    )
    for place in range(len(sealed)):
        with pytest.raises(VerificationError, match="SEAL_BROKEN"):
            open_delivery(charge, identifier, sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :])
    for other in (bytes(31) + b"\x01", charge):
        with pytest.raises(VerificationError):
            open_delivery(other, UUID(int=6), sealed)


def test_a_delivery_opens_once_and_what_it_passed_is_wiped(ends: TwoEnds) -> None:
    charges, medium = filled(ends)
    sealed = [deliver(charges, number) for number in (1, 2, 3)]
    medium.open_delivery(sealed[1])
    for passed in (sealed[0], sealed[1]):
        with pytest.raises(KeyUnavailable, match="CHARGE_USED"):
            medium.open_delivery(passed)
    broken = sealed[2][:-1] + bytes([sealed[2][-1] ^ 1])
    with pytest.raises(VerificationError):
        medium.open_delivery(broken)
    assert medium.open_delivery(sealed[2])[2] == bytearray(VALUE), "one that does not open costs no key"
    for wrong in (b"", sealed[2][:41], b"\x02" + sealed[2][1:], sealed[2] + bytes(64)):
        with pytest.raises(VerificationError):
            medium.open_delivery(wrong)


def test_an_empty_pool_refuses_and_is_filled_with_new_counters(ends: TwoEnds) -> None:
    charges, medium = filled(ends, 2)
    for number in (1, 2):
        deliver(charges, number)
    with pytest.raises(KeyUnavailable, match="CHARGE_EXHAUSTED"):
        deliver(charges, 3)
    more = charges.fill("li.ming", "card-1", LINE, 2)
    assert [one.counter for one in more] == [3, 4]
    medium.take_in(more)
    assert medium.open_delivery(deliver(charges, 3))[0] == UUID(int=3)
    with pytest.raises(Refused, match="CHARGE_FILL"):
        charges.fill("li.ming", "card-1", LINE, 0)
    with pytest.raises(NotFound, match="NO_CHARGE_POOL"):
        deliver(charges, 9, "card-2")


def test_a_session_key_is_delivered_once(ends: TwoEnds) -> None:
    charges, _ = filled(ends)
    deliver(charges, 1)
    with pytest.raises(Refused, match="CHARGE_SESSION_KNOWN"):
        deliver(charges, 1)
    assert charges.pools()[0].count == 3


def test_threads_never_share_a_charge_key(ends: TwoEnds) -> None:
    charges, _ = filled(ends, 24)
    counters: list[int] = []

    def take(base: int) -> None:
        for number in range(6):
            counters.append(parse_header(deliver(charges, base + number))[0])

    threads = [threading.Thread(target=take, args=(100 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counters) == list(range(1, 25))


def test_revoking_a_person_destroys_the_mirrors_and_names_the_live_sessions(ends: TwoEnds) -> None:
    charges, _ = filled(ends)
    filled(ends, 4, "card-2")
    other = charges.fill("wang.fang", "card-3", LINE, 2)
    for number, device in ((1, "card-1"), (2, "card-2"), (3, "card-1")):
        deliver(charges, number, device)
    assert charges.end_session(UUID(int=3)) and not charges.end_session(UUID(int=3))
    done = charges.revoke("li.ming", reason="left the house")
    assert (done.revoked, done.sessions) == (5, (UUID(int=1), UUID(int=2)))
    for device in ("card-1", "card-2"):
        with pytest.raises(KeyUnavailable, match="CHARGE_REVOKED"):
            deliver(charges, 9, device)
        with pytest.raises(Refused, match="CHARGE_REVOKED"):
            charges.fill("li.ming", device, LINE, 1)
    charges.deliver("wang.fang", "card-3", LINE, UUID(int=10), VALUE, Provenance.SIMULATED)
    assert charges.revoke("", "card-3", reason="lost").sessions == (UUID(int=10),)
    assert len(other) == 2
    assert (done.pools, charges.revoke("li.ming", reason="again")) == (2, ChargesRevoked(0, (), 0))
    assert [one.facts["pools"] for one in ends.sender.store.events(limit=1000) if one.kind == "charge.revoked"] == [2, 1]


def test_the_database_holds_wrapped_charge_keys_and_nothing_of_used_ones(ends: TwoEnds) -> None:
    charges = ends.sender.store.charges
    keys = charges.fill("li.ming", "card-1", LINE, 3)
    values = [bytes(one.value) for one in keys]
    with ends.sender.database.read() as reader:
        wrapped = [row[0] for row in reader.execute("SELECT wrapped FROM kme_charge_key ORDER BY counter")]
    deliver(charges, 1)
    assert ends.sender.database.checkpoint()
    assert [holds(ends.sender.folder, one) for one in values] == [[], [], []]
    assert holds(ends.sender.folder, wrapped[0]) == [] and holds(ends.sender.folder, wrapped[1])
    assert holds(ends.sender.folder, VALUE) == []


def test_an_older_copy_brings_no_charge_key_and_no_revoked_person_back(ends: TwoEnds) -> None:
    charges, _ = filled(ends)
    charges.fill("wang.fang", "card-3", LINE, 2)
    deliver(charges, 1)
    copy = ends.sender.copy()
    given = {one.key_id for one in charges.fill("li.ming", "card-1", LINE, 2)}
    given |= {one.key_id for one in charges.fill("li.ming", "card-2", LINE, 2)}
    deliver(charges, 2)
    charges.revoke("li.ming", reason="left")
    ends.sender.restore(copy, clean=False)
    assert ends.sender.store.status(LINE).older_copy
    charges = ends.sender.store.charges
    assert [(one.device, one.count, one.revoked) for one in charges.pools()] == [("card-1", 0, True), ("card-3", 0, True)]
    with pytest.raises(KeyUnavailable, match="CHARGE_REVOKED"):
        deliver(charges, 3)
    assert not charges.end_session(UUID(int=1)), "sessions of a closed pool are over"
    refused = [("li.ming", "card-1"), ("li.ming", "card-2"), ("wang.fang", "card-3")]
    for _ in range(2):
        for person, device in refused:  # the second of them only the mark remembers
            with pytest.raises(Refused, match="CHARGE_REVOKED"):
                ends.sender.store.charges.fill(person, device, LINE, 2)
        ends.sender.reopen()
    fresh = ends.sender.store.charges.fill("li.ming", "card-9", LINE, 2)
    assert [one.counter for one in fresh] == [1, 2] and not given & {one.key_id for one in fresh}


def test_a_new_database_beside_the_mark_of_a_deleted_one_fills_no_medium_of_before(ends: TwoEnds) -> None:
    filled(ends)
    ends.sender.close()
    ends.sender.path.unlink()
    ends.sender.open()
    ends.sender.reopen()
    with pytest.raises(Refused, match="CHARGE_REVOKED"):
        ends.sender.store.charges.fill("li.ming", "card-1", LINE, 1)
    assert ends.sender.store.charges.fill("li.ming", "card-2", LINE, 1)[0].counter == 1


def test_an_unproven_store_and_one_the_other_end_proves_older_have_no_charge_keys(ends: TwoEnds) -> None:
    filled(ends)
    ends.sender.close()
    ends.sender.mark.unlink()
    ends.sender.open()
    with pytest.raises(KeyUnavailable, match="CHARGE_REVOKED"):
        deliver(ends.sender.store.charges, 1)
    ends.sync()
    ends.add_block(20)
    ends.sender.store.charges.fill("li.ming", "card-2", LINE, 2)
    ends.sender.reopen()
    copy, mark = ends.sender.copy(), ends.sender.mark.read_bytes()
    deliver(ends.sender.store.charges, 2, "card-2")
    ends.deliver(1)
    ends.sender.restore(copy, mark=mark, clean=False)
    assert ends.sender.store.apply_sync(ends.receiver.store.sync_state(LINE)).older_copy
    with pytest.raises(KeyUnavailable, match="CHARGE_REVOKED"):
        deliver(ends.sender.store.charges, 3, "card-2")


def test_a_crash_keeps_the_charge_keys(ends: TwoEnds) -> None:
    charges, medium = filled(ends)
    deliver(charges, 1)
    ends.sender.reopen(clean=False)
    assert medium.open_delivery(deliver(ends.sender.store.charges, 2))[0] == UUID(int=2)


PASSPHRASE = "correct horse battery"


def test_a_filling_replaces_what_was_left_and_a_repeated_one_is_refused(ends: TwoEnds) -> None:
    charges, old = filled(ends)
    in_flight = deliver(charges, 1)
    made = charges.fill_anew("li.ming", "card-1", LINE, 2, low_water=3, after=4)
    assert (made.replaced, [one.counter for one in made.keys]) == (3, [5, 6])
    medium = ChargeMedium(NAMESPACE, "li.ming", "card-1")
    medium.take_in(made.keys)
    for after in (4, 0, 7):
        with pytest.raises(Refused, match="CHARGE_MOVED"):
            charges.fill_anew("li.ming", "card-1", LINE, 2, low_water=3, after=after)
    assert (charges.pools()[0].count, charges.pools()[0].last_counter) == (2, 6)
    assert medium.open_delivery(deliver(charges, 2))[0] == UUID(int=2), "a lost file leaves no gap that the medium falls into"
    assert old.open_delivery(in_flight)[0] == UUID(int=1)
    charges.revoke("li.ming", reason="left")
    with pytest.raises(Refused, match="CHARGE_REVOKED"):
        charges.fill_anew("li.ming", "card-1", LINE, 2, low_water=3, after=6)


def test_a_renewal_ends_what_was_live_and_low_water_is_told_once(ends: TwoEnds) -> None:
    charges, _ = filled(ends)
    told = [charges.deliver("li.ming", "card-1", LINE, UUID(int=number), VALUE, Provenance.SIMULATED, renew=True) for number in (1, 2, 3, 4)]
    assert [one.ended for one in told] == [(), (UUID(int=1),), (UUID(int=2),), (UUID(int=3),)]
    assert [(one.left, one.low) for one in told] == [(3, False), (2, True), (1, True), (0, True)]
    assert charges.pools()[0].live == 1
    assert [one.facts["left"] for one in ends.sender.store.events(limit=1000) if one.kind == "charge.low"] == [2, 0]
    with pytest.raises(KeyUnavailable, match="CHARGE_EXHAUSTED"):
        charges.check_deliverable("li.ming", "card-1", LINE)


def test_a_forecast_counts_the_last_week(ends: TwoEnds) -> None:
    charges, _ = filled(ends, 20)
    assert (charges.pools()[0].per_day, charges.pools()[0].days_left) == (0.0, -1.0)
    for number in range(8):
        deliver(charges, number)
    assert (charges.pools()[0].per_day, charges.pools()[0].days_left) == (8.0, 1.5)
    ends.sender.clock.ms += 4 * DAY_MS
    assert (charges.pools()[0].per_day, charges.pools()[0].days_left) == (2.0, 6.0)
    ends.sender.clock.ms += 4 * DAY_MS
    assert charges.pools()[0].days_left == -1.0
    assert pace(14, 4, 30.0) == (2.0, 2.0), "a week of use, however long the pool has been there"


def test_a_medium_leaves_as_a_file_that_only_its_passphrase_opens(ends: TwoEnds) -> None:
    charges = ends.sender.store.charges
    made = charges.fill_anew("P-0a", "card-1", LINE, 3, low_water=1, after=0)
    values = [bytes(one.value) for one in made.keys]
    file = pack_medium(made.keys, PASSPHRASE, namespace=made.namespace, line=LINE, person="P-0a", device="card-1", source=random.SeededSource(b"m"))
    assert not any(one.hex().encode() in file or one in file for one in values)
    line, medium = open_medium(file, PASSPHRASE)
    assert (line, [one.counter for one in medium.remaining()]) == (LINE, [1, 2, 3])
    sealed = [charges.deliver("P-0a", "card-1", LINE, UUID(int=number), VALUE, Provenance.SIMULATED).sealed for number in (1, 2, 3)]
    second, session, provenance, value = use_medium(file, PASSPHRASE, sealed[1])
    assert (session, provenance, value) == (UUID(int=2), Provenance.SIMULATED, bytearray(VALUE))
    assert [one.counter for one in open_medium(second, PASSPHRASE)[1].remaining()] == [3], "what was used, and what it passed, left the file"
    with pytest.raises(KeyUnavailable, match="CHARGE_USED"):
        use_medium(second, PASSPHRASE, sealed[1])
    assert use_medium(second, PASSPHRASE, sealed[2])[0] == b""
    with pytest.raises(KeyUnavailable, match="KEY_LOCKED"):
        open_medium(file, PASSPHRASE + "!")
    with pytest.raises(ValueError):
        pack_medium(made.keys, "eleven char", namespace=made.namespace, line=LINE, person="P-0a", device="card-1")


@pytest.mark.parametrize("bad", [{"v": 2}, {"first": 0}, {"keys": "00" * 31}, {"namespace": "x"}, {"person": ""}, {"more": 1}])
def test_a_medium_of_another_form_is_refused(bad: dict[str, canonical.Json]) -> None:
    good: dict[str, canonical.Json] = {"device": "card-1", "first": 1, "keys": "00" * 32, "line": LINE, "namespace": NAMESPACE.hex, "person": "P-0a", "v": 1}
    assert parse_medium(canonical.format(good))[1].left == 1
    with pytest.raises(VerificationError, match="MEDIUM_FORM"):
        parse_medium(canonical.format(good | bad))
