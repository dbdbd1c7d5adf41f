"""Several devices under one key store: each opens its own values, one fails or leaves alone, and nothing is lost by it."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.errors import KeyUnavailable, Refused, SelfTestFailed, VerificationError

from workbench_kme.devices import Device, Session, Suite, worker
from workbench_kme.devices.group import HOME, DeviceGroup, InProcess
from workbench_kme.devices.selftest import SelfTestReport, TestResult, known_answers, run
from workbench_kme.devices.wrapping import kek_of
from workbench_kme.keys import Provenance, State, rewrapping

from key_world import LINE, TwoEnds, make_device

WRONG = [{**one, "digest": "00" * 32} if one["algorithm"] == "sm3" else one for one in known_answers()]


@pytest.fixture(scope="module")
def devices() -> Iterator[tuple[Device, Device]]:
    with make_device(b"home") as home, make_device(b"second", Suite.AES_256_GCM) as second:
        yield home, second


@pytest.fixture
def group(devices: tuple[Device, Device]) -> Iterator[DeviceGroup]:
    made = DeviceGroup(devices[0])
    made.add("second", InProcess(devices[1]))
    yield made
    for one in devices:
        one._self_test = run
        if not one.enabled:
            one.selftest()


@pytest.fixture
def world(folder: Path, group: DeviceGroup, sessions: tuple[Session, Session]) -> Iterator[TwoEnds]:
    """The sender has two devices, the receiver one."""
    made = TwoEnds(folder, (group, sessions[1]))  # type: ignore[arg-type]  # both are a DeviceAccess
    yield made
    made.close()


def fail(group: DeviceGroup, device: Device) -> None:
    """One known answer of one device is wrong from now on."""
    device._self_test = lambda: run(WRONG)
    group.selftest()


def by_device(world: TwoEnds, state: State = State.STORED) -> Counter[bytes]:
    """Keys in a state by the key-encryption key that wrapped them."""
    with world.sender.database.read() as reader:
        return Counter(kek_of(row[0]) for row in reader.execute("SELECT wrapped FROM kme_key WHERE state = ? AND wrapped IS NOT NULL", (int(state),)))


def test_what_one_device_wrapped_no_other_opens_and_the_group_opens_both(group: DeviceGroup, devices: tuple[Device, Device]) -> None:
    pairs = [(bytes([n]) * 32, b"context %d" % n) for n in range(10)]
    wrapped = group.wrap_many("key", pairs)
    own, sealed = devices[0].kek_id, [(one, context) for one, (_, context) in zip(wrapped, pairs, strict=True)]
    assert Counter(kek_of(one) == own for one in wrapped) == {True: 6, False: 4}, "two neighbours to each"
    assert [bytes(one) for one in group.unwrap_many("key", sealed)] == [value for value, _ in pairs]
    for one, context in sealed:
        mine, other = devices if kek_of(one) == own else reversed(devices)
        assert mine.open_session().unwrap("key", one, context)
        with pytest.raises(VerificationError, match="SEAL_BROKEN"):
            other.open_session().unwrap("key", one, context)
        swapped = one[:2] + other.kek_id + one[10:]
        with pytest.raises(VerificationError, match="SEAL_BROKEN"):
            group.unwrap("key", swapped, context)
    alone = DeviceGroup(devices[0])
    with pytest.raises(VerificationError, match="SEAL_BROKEN"):
        alone.unwrap_many("key", sealed)
    alone.expect(group.kek_ids)
    with pytest.raises(KeyUnavailable, match="DEVICE_OUT"):
        alone.unwrap_many("key", sealed)


def test_a_wrong_known_answer_takes_one_device_out_and_its_keys_come_back_with_it(
    world: TwoEnds, group: DeviceGroup, devices: tuple[Device, Device]
) -> None:
    home, second = devices
    block = world.add_block(64)
    assert by_device(world) == {home.kek_id: 32, second.kek_id: 32}
    waiting = world.reserve(8)
    fail(group, second)
    assert (group.state(HOME), group.state("second"), list(group.news)) == ("serving", "out", [("second", False)])
    assert world.sender.store.status(LINE).available == 12, "of 24 that are free in this direction"
    with pytest.raises(KeyUnavailable, match="DEVICE_OUT"):
        world.sender.store.hand_out(waiting.key_ids, "app-a")
    given = world.deliver(12)
    assert len({key_id for key_id, _ in given}) == 12
    with pytest.raises(KeyUnavailable, match="EXHAUSTED"):
        world.sender.store.reserve(LINE, "app-a", ["app-b"])
    assert by_device(world, State.RESERVED)[second.kek_id] == 4, "refused, not lost"
    world.sender.store.add_block(LINE, 7, Provenance.SIMULATED, bytes(64))
    assert by_device(world, State.GENERATED) == {home.kek_id: 2}
    second._self_test = run
    group.selftest()
    assert group.state("second") == "serving" and group.news[-1] == ("second", True)
    values = {bytes(one.value) for one in world.sender.store.hand_out(waiting.key_ids, "app-a")}
    assert len(world.deliver(12)) == 12
    assert values < {block[at : at + 32] for at in range(0, len(block), 32)}


def test_without_the_first_device_the_mark_is_kept_by_the_other_and_without_both_nothing_leaves(
    world: TwoEnds, group: DeviceGroup, devices: tuple[Device, Device]
) -> None:
    world.add_block(16)
    charges = world.sender.store.charges
    charges.fill("li.ming", "card-1", LINE, 4)
    charges.check_deliverable("li.ming", "card-1", LINE)
    fail(group, devices[0])
    with pytest.raises(KeyUnavailable, match="DEVICE_OUT"):
        charges.check_deliverable("li.ming", "card-1", LINE)
    world.sender.store.core.note()
    assert world.deliver(4) and kek_of(world.sender.mark.read_bytes()[len(b"workbench/v1/kme/mark\n") + 16 :]) == devices[1].kek_id
    world.sender.reopen()
    assert world.sender.store.status(LINE).confirmed, "the mark was read"
    fail(group, devices[1])
    with pytest.raises(SelfTestFailed, match="DEVICE_DISABLED"):
        world.sender.store.reserve(LINE, "app-a", ["app-b"])


def test_what_the_far_end_cannot_open_is_refused_when_it_is_asked_for(world: TwoEnds, group: DeviceGroup, devices: tuple[Device, Device]) -> None:
    world.add_block(16)
    reservation = world.receiver.store.reserve(LINE, "app-b", ["app-a"], number=8)
    fail(group, devices[1])
    with pytest.raises(KeyUnavailable, match="NOT_IN_STOCK") as caught:
        world.sender.store.accept(reservation)
    assert len(caught.value.details["keys"].split()) == 4
    assert by_device(world)[devices[1].kek_id] == 8, "kept here"


def test_a_configuration_from_before_the_second_device_refuses_its_keys_until_it_is_back(
    world: TwoEnds, group: DeviceGroup, devices: tuple[Device, Device]
) -> None:
    world.add_block(32)
    before = DeviceGroup(devices[0])
    world.sender.session = before  # type: ignore[assignment]  # a DeviceAccess
    world.sender.reopen()
    with world.sender.database.read() as reader:
        assert world.sender.store.core.closed_keks(reader) == {devices[1].kek_id}
        assert rewrapping.values_of(reader, devices[1].kek_id) == 16
    assert world.sender.store.status(LINE).available == 8 and len(world.deliver(8)) == 8
    with pytest.raises(KeyUnavailable, match="EXHAUSTED"):
        world.sender.store.reserve(LINE, "app-a", ["app-b"])
    world.sender.session = group  # type: ignore[assignment]  # a DeviceAccess
    world.sender.reopen()
    assert len(world.deliver(8)) == 8
    world.sender.close()
    with make_device(b"of another store") as stranger:
        world.sender.session = DeviceGroup(stranger)  # type: ignore[assignment]  # a DeviceAccess
        with pytest.raises(KeyUnavailable, match="KEK_MISMATCH"):
            world.sender.open()
        world.sender.database.close()
    world.sender.session = group  # type: ignore[assignment]  # a DeviceAccess
    world.sender.open()


def test_a_drained_device_has_nothing_and_whatever_it_wrapped_opens_elsewhere(
    world: TwoEnds, group: DeviceGroup, devices: tuple[Device, Device]
) -> None:
    home, second = devices
    block = world.add_block(40)
    charges = world.sender.store.charges.fill("li.ming", "card-1", LINE, 6)
    late = group.wrap_many("key", [(bytes(32), b"x")] * 4)
    core = world.sender.store.core
    group.drain("second", on=True)
    assert rewrapping.drain(core, second.kek_id, leave=lambda: void(group.take("second"))) == 20 + 2
    with core.database.read() as reader:
        assert set(rewrapping.sealed_by(reader)) == {home.kek_id} and rewrapping.values_of(reader, second.kek_id) == 0
        assert rewrapping.values_of(reader, home.kek_id) == 40 + len(charges)
    assert {value for _, value in world.deliver(20)} == {block[at : at + 32] for at in range(0, len(block), 64)}
    with pytest.raises(Refused, match="DEVICE_REMOVED"):
        core.change(lambda tx, _now: core.count_wrappings(tx, late))


def test_a_drain_that_meets_an_altered_value_stops_and_the_device_stays(world: TwoEnds, group: DeviceGroup, devices: tuple[Device, Device]) -> None:
    world.add_block(8)
    kek = devices[1].kek_id
    with world.sender.database.read() as reader:
        number, wrapped = reader.execute("SELECT MAX(number), wrapped FROM kme_key WHERE substr(wrapped, 3, 8) = ?", (kek,)).fetchone()
    altered = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
    world.sender.database.write(lambda tx: tx.execute("UPDATE kme_key SET wrapped = ? WHERE number = ?", (altered, number)))
    with pytest.raises(VerificationError, match="SEAL_BROKEN"):
        rewrapping.drain(world.sender.store.core, kek, leave=lambda: void(group.take("second")))
    assert group.state("second") == "serving" and by_device(world)[kek] == 4


@pytest.mark.parametrize("data", [b"\x00\x00\x00\x02\x00\x00", b"\x00\x00\x00\x09\x00\x00\x00\x01\x00\x00\x00\x02x", b"\x00\x00\x00\x04\xff\xff\xff\xff", b"\xff\xff\xff\xff"])
def test_a_message_to_a_device_has_one_form(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        worker.send(ours, [b"wrap", b"", bytes(1000)])
        assert worker.receive(theirs) == [b"wrap", b"", bytes(1000)]
        report = SelfTestReport((TestResult("SM3", "GB/T 32905", True, "sm3"), TestResult("SM2", "", False)))
        worker.send(ours, worker.format_report(report))
        assert worker.parse_report(worker.receive(theirs)) == report
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        with pytest.raises((ValueError, EOFError)):
            worker.receive(theirs)


def void(_taken: object) -> None:
    """The device is this test's own and stays open."""
