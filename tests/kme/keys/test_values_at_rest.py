"""Values at rest (docs/protocols/key-delivery.md section 3): wrapped, bound to their place, and gone when they are gone."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from workbench.errors import KeyUnavailable, SelfTestFailed, VerificationError

from workbench_kme.devices import Session, Suite
from workbench_kme.keys import Provenance, State

from key_world import LINE, TwoEnds, make_device


def every_file(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def holds(folder: Path, secret: bytes) -> list[str]:
    """Names of the files in which these bytes, their hexadecimal or their base64 middle occur."""
    spellings = (secret, secret.hex().encode(), secret.hex().upper().encode(), secret[:12])
    return [name for name, data in every_file(folder).items() if any(one in data for one in spellings)]


def test_no_page_log_or_mark_holds_a_value_at_any_time(ends: TwoEnds) -> None:
    block = ends.add_block(12)
    ends.deliver(2)
    reservation = ends.reserve(2)
    for end in (ends.sender, ends.receiver):
        for start in range(0, len(block), 32):
            assert holds(end.folder, block[start : start + 32]) == []
    ends.receiver.store.deliver(reservation.key_ids, "app-b")
    ends.sender.kill()
    for start in range(0, len(block), 32):
        assert holds(ends.sender.folder, block[start : start + 32]) == []
    ends.sender.open()


@pytest.mark.parametrize("how", ["handed out", "delivered", "revoked", "quarantined", "abandoned", "expired", "destroyed"])
def test_what_is_gone_is_gone_from_every_file(ends: TwoEnds, how: str) -> None:
    """Even the wrapped form: who gets the device later must not open an old page."""
    ends.add_block(6)
    end = ends.receiver if how == "delivered" else ends.sender
    with end.database.read() as reader:
        wrapped = dict(reader.execute("SELECT id, wrapped FROM kme_key").fetchall())
    reservation = ends.reserve()
    key = reservation.key_ids[0]
    if how == "handed out":
        ends.sender.store.hand_out([key], "app-a")
    elif how == "delivered":
        ends.receiver.store.deliver([key], "app-b")
    elif how == "revoked":
        end.store.revoke(LINE, key_ids=[key], reason="test")
    elif how == "quarantined":
        end.store.quarantine(LINE, key_ids=[key], reason="test")
    elif how == "abandoned":
        end.store.abandon([key])
    elif how == "destroyed":
        end.store.destroy([key])
    else:
        ends.clock.ms += 11 * 60_000
        assert end.store.expire() == 1
    assert end.database.checkpoint()
    assert holds(end.folder, wrapped.pop(key.bytes)) == []
    assert any(holds(end.folder, one) for one in wrapped.values()), "the search finds what is there"


def test_the_log_is_emptied_without_being_asked(ends: TwoEnds) -> None:
    ends.add_block(2)
    with ends.sender.database.read() as reader:
        wrapped = reader.execute("SELECT wrapped FROM kme_key WHERE pool = 0").fetchone()[0]
    ends.sender.store.hand_out(ends.reserve().key_ids, "app-a")
    until = time.monotonic() + 20
    while holds(ends.sender.folder, wrapped) and time.monotonic() < until:
        time.sleep(0.02)
    assert holds(ends.sender.folder, wrapped) == []


def test_every_changed_byte_of_a_wrapped_value_is_refused(sessions: tuple[Session, Session]) -> None:
    wrapped = sessions[0].wrap("key", bytes(32), b"context")
    assert len(wrapped) == 70 and sessions[0].unwrap("key", wrapped, b"context") == bytes(32)
    for place in range(len(wrapped)):
        for flip in (0x01, 0x80):
            changed = wrapped[:place] + bytes([wrapped[place] ^ flip]) + wrapped[place + 1 :]
            with pytest.raises(VerificationError, match="SEAL_BROKEN"):
                sessions[0].unwrap("key", changed, b"context")
    for size in range(len(wrapped)):
        with pytest.raises(VerificationError, match="SEAL_BROKEN"):
            sessions[0].unwrap("key", wrapped[:size], b"context")
    for session, purpose, context in (
        (sessions[1], "key", b"context"), (sessions[0], "charge", b"context"), (sessions[0], "key", b"contexT"),
    ):  # fmt: skip
        with pytest.raises(VerificationError, match="SEAL_BROKEN"):
            session.unwrap(purpose, wrapped, context)


def test_a_value_moved_to_another_row_is_refused_and_its_key_quarantined(ends: TwoEnds) -> None:
    ends.add_block(6)
    first, second = ends.reserve(), ends.reserve()
    ends.sender.database.write(
        lambda tx: tx.execute(
            "UPDATE kme_key SET wrapped = (SELECT wrapped FROM kme_key WHERE id = ?) WHERE id = ?",
            (first.key_ids[0].bytes, second.key_ids[0].bytes),
        ).rowcount
    )
    with pytest.raises(VerificationError, match="SEAL_BROKEN"):
        ends.sender.store.hand_out(second.key_ids, "app-a")
    assert ends.sender.store.key(second.key_ids[0]).state is State.QUARANTINED
    assert ends.sender.store.hand_out(first.key_ids, "app-a")


def test_a_store_opens_with_its_own_device_only(ends: TwoEnds) -> None:
    ends.add_block(2)
    ends.sender.close()
    own, ends.sender.session = ends.sender.session, ends.receiver.session
    with pytest.raises(KeyUnavailable, match="KEK_MISMATCH"):
        ends.sender.open()
    ends.sender.database.close()
    ends.sender.session = own
    ends.sender.open()


def test_a_worn_out_kek_wraps_nothing_more(ends: TwoEnds) -> None:
    ends.add_block(2)
    ends.sender.database.write(lambda tx: tx.execute("UPDATE kme_kek SET sealed = ?", (2**32,)).rowcount)
    with pytest.raises(KeyUnavailable, match="KEK_WORN_OUT"):
        ends.sender.store.add_block(LINE, 1, Provenance.SIMULATED, bytes(32))


def test_values_and_errors_show_no_secret(ends: TwoEnds) -> None:
    block = ends.add_block(2)
    reservation = ends.reserve()
    value = ends.sender.store.hand_out(reservation.key_ids, "app-a")[0]
    assert block[:32].hex() not in repr(value) and repr(bytes(block[:32])) not in repr(value)
    value.wipe()
    assert value.value == bytes(32)
    with pytest.raises(KeyUnavailable) as caught:
        ends.sender.store.hand_out(reservation.key_ids, "app-a")
    assert block[:4].hex() not in str(caught.value)


def test_a_disabled_device_stops_every_delivery(folder: Path) -> None:
    fit = True

    def self_test():  # type: ignore[no-untyped-def]  # a SelfTestReport
        from workbench_kme.devices.selftest import SelfTestReport, TestResult

        return SelfTestReport((TestResult("SM4-GCM", "test", fit),))

    device = make_device(b"unfit")
    world = TwoEnds(folder, (device.open_session(), device.open_session()))
    world.add_block(4)
    reservation = world.reserve()
    device._self_test = self_test
    fit = False
    assert device.selftest().failed == ("SM4-GCM",)
    for action in (
        lambda: world.sender.store.reserve(LINE, "app-a", ["app-b"]),
        lambda: world.sender.store.hand_out(reservation.key_ids, "app-a"),
        lambda: world.receiver.store.deliver(reservation.key_ids, "app-b"),
        lambda: world.sender.store.add_block(LINE, 1, Provenance.SIMULATED, bytes(32)),
    ):
        with pytest.raises(SelfTestFailed, match="DEVICE_DISABLED"):
            action()
    fit = True
    assert device.selftest().passed
    assert world.sender.store.hand_out(reservation.key_ids, "app-a")
    world.close()


def test_every_value_moves_under_another_kek_and_the_old_device_opens_nothing(ends: TwoEnds) -> None:
    block = ends.add_block(6)
    charges = ends.sender.store.charges.fill("li.ming", "card-1", LINE, 2)
    reservation = ends.reserve()
    with ends.sender.database.read() as reader:
        before = [row[0] for row in reader.execute("SELECT wrapped FROM kme_key")]
    with make_device(b"next", Suite.AES_256_GCM) as following:
        old, ends.sender.session = ends.sender.session, following.open_session()
        assert ends.sender.store.rewrap(ends.sender.session) == 8
        assert bytes(ends.sender.store.hand_out(reservation.key_ids, "app-a")[0].value) == block[:32]
        ends.sender.reopen()
        assert ends.sender.store.status(LINE).confirmed
        assert bytes(ends.deliver(1)[0][1]) == block[64:96]
        sealed = ends.sender.store.charges.deliver("li.ming", "card-1", LINE, charges[0].key_id, block[:32], Provenance.SIMULATED)
        assert sealed.counter == 1
        assert ends.sender.database.checkpoint()
        assert [holds(ends.sender.folder, one) for one in before] == [[]] * 6
        ends.sender.close()
        following_session, ends.sender.session = ends.sender.session, old
        with pytest.raises(KeyUnavailable, match="KEK_MISMATCH"):
            ends.sender.open()
        ends.sender.database.close()
        ends.sender.session = following_session
        ends.sender.open()
