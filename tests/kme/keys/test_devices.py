"""Devices (docs/protocols/key-delivery.md section 3.2): SDF-like calls, no export, self-test with known answers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.errors import KeyUnavailable, SelfTestFailed, VerificationError

from workbench_kme.devices import Device, Session, Suite, create_soft, open_soft
from workbench_kme.devices import pkcs11 as token
from workbench_kme.devices.selftest import known_answers, run

from key_world import PIN, TOKEN, make_device, needs_softhsm, token_module


@pytest.fixture(scope="module", params=["soft-sm4", "soft-aes", pytest.param("pkcs11", marks=needs_softhsm)])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    if request.param == "pkcs11":
        folder = request.getfixturevalue("token_folder")
        made = token.create_token(folder / "device", PIN, module=token_module(), token=TOKEN)
    else:
        made = make_device(b"device", Suite.SM4_GCM if request.param == "soft-sm4" else Suite.AES_256_GCM)
    with made:
        yield made


def test_a_device_signs_digests_and_makes_codes(device: Device) -> None:
    with device.open_session() as session:
        assert session.digest(b"abc").hex().startswith("66c7f0f462eeedd9d1f2d46bdc10e4e24167c487")
        signature = session.sign(b"message")
        session.verify(b"message", signature)
        session.sign_public_key().verify(b"message", signature)
        with pytest.raises(VerificationError):
            session.verify(b"messagE", signature)
        assert session.mac(b"x") == session.mac(b"x") != session.mac(b"y")
        assert len(session.generate_random(7)) == 7


def test_a_key_generated_under_the_kek_is_imported_again_and_ends_when_destroyed(device: Device) -> None:
    with device.open_session() as session:
        handle, wrapped = session.generate_key_with_kek()
        sealed = session.encrypt(handle, b"text", associated=b"a")
        again = session.import_key_with_kek(wrapped)
        assert session.decrypt(again, sealed, associated=b"a") == b"text"
        for place in range(len(sealed)):
            with pytest.raises(VerificationError):
                session.decrypt(again, sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :], associated=b"a")
        for changed in (sealed[:20], b"", sealed + b"\x00"):
            with pytest.raises(VerificationError):
                session.decrypt(again, changed, associated=b"a")
        session.destroy_key(handle)
        with pytest.raises(KeyUnavailable, match="NO_SUCH_HANDLE"):
            session.encrypt(handle, b"text")
        for place in range(len(wrapped)):
            with pytest.raises(VerificationError):
                session.import_key_with_kek(wrapped[:place] + bytes([wrapped[place] ^ 1]) + wrapped[place + 1 :])


def test_values_are_wrapped_and_every_changed_byte_is_refused(device: Device) -> None:
    with device.open_session() as session:
        wrapped = session.wrap("key", bytes(32), b"place")
        assert (len(wrapped), wrapped[:10]) == (70, bytes([1, device.suite]) + device.kek_id)
        assert session.unwrap("key", wrapped, b"place") == bytes(32)
        for place in range(len(wrapped)):
            with pytest.raises(VerificationError, match="SEAL_BROKEN"):
                session.unwrap("key", wrapped[:place] + bytes([wrapped[place] ^ 1]) + wrapped[place + 1 :], b"place")


def test_no_call_gives_out_a_key_of_the_device(device: Device) -> None:
    """Neither by name nor by unwrapping what the device wrapped for itself."""
    for kind in (Device, Session):
        names = [name for name, _ in inspect.getmembers(kind) if not name.startswith("_")]
        assert not [name for name in names if "export" in name or "secret" in name or "private" in name]
    with device.open_session() as session:
        _, wrapped = session.generate_key_with_kek()
        for purpose in ("device-key", "session-key"):
            with pytest.raises(ValueError, match="purposes"):
                session.unwrap(purpose, wrapped, (128).to_bytes(2, "big"))
        for purpose in ("key", "charge", "mark"):
            with pytest.raises(VerificationError):
                session.unwrap(purpose, wrapped, (128).to_bytes(2, "big"))
        for index, own in device._wrapped.items():
            with pytest.raises(VerificationError):
                session.unwrap("key", own, index.to_bytes(4, "big"))
    assert device.kek_id.hex() in repr(device)


def test_a_closed_session_or_device_answers_nothing() -> None:
    device = make_device(b"closing")
    session = device.open_session()
    session.close()
    with pytest.raises(KeyUnavailable, match="DEVICE_CLOSED"):
        session.digest(b"")
    other = device.open_session()
    device.close()
    for action in (lambda: other.wrap("key", b"", b""), device.open_session, lambda: other.sign(b"")):
        with pytest.raises(KeyUnavailable, match="DEVICE_CLOSED"):
            action()


def test_a_soft_device_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    path = tmp_path / "device"
    with create_soft(path, "right horse battery") as made:
        wrapped, signature = made.open_session().wrap("key", bytes(32), b""), made.open_session().sign(b"m")
    assert path.stat().st_mode & 0o777 == 0o600
    with open_soft(path, "right horse battery") as again:
        assert again.open_session().unwrap("key", wrapped, b"") == bytes(32)
        again.open_session().verify(b"m", signature)
    with pytest.raises(KeyUnavailable):
        open_soft(path, "wrong horse battery")
    with pytest.raises(FileExistsError):
        create_soft(path, "right horse battery")
    with pytest.raises(KeyUnavailable, match="DEVICE_FILE"):
        open_soft(tmp_path / "nothing", "x")
    value = json.loads(path.read_bytes())
    for name, wrong in (("v", 2), ("backend", "pkcs11"), ("suite", 3), ("kek", "00"), ("keys", []), ("extra", 1), ("secret", "?")):
        path.write_text(json.dumps({**value, name: wrong}, sort_keys=True, separators=(",", ":")))
        with pytest.raises(KeyUnavailable):
            open_soft(path, "right horse battery")
    swapped = {**value, "keys": {"1": value["keys"]["2"], "2": value["keys"]["1"]}}
    path.write_text(json.dumps(swapped, sort_keys=True, separators=(",", ":")))
    with open_soft(path, "right horse battery") as unfit:
        assert not unfit.enabled, "keys in one another's place do not pass the pairwise test"


def test_the_known_answers_hold_and_name_their_sources() -> None:
    report = run()
    assert report.passed and report.failed == ()
    assert len(report.results) >= 11 and all(one.source for one in report.results)
    algorithms = {one["algorithm"] for one in known_answers()}
    assert algorithms == {
        "sm2", "sm3", "hmac-sm3", "hkdf-sm3", "sm4-gcm", "aes-256-gcm", "ml-kem-768", "poly1305"
    }  # fmt: skip


def test_every_corrupted_known_answer_fails_by_name() -> None:
    for place, answer in enumerate(known_answers()):
        for name in ("digest", "tag", "output", "signature", "public_key", "ciphertext", "secret", "plaintext"):
            if name not in answer or (name == "secret" and answer["algorithm"] == "hkdf-sm3"):
                continue
            text = answer[name]
            changed = {**answer, name: text[:-1] + ("0" if text[-1] != "0" else "1")}
            report = run([changed if at == place else one for at, one in enumerate(known_answers()) if at == place or one["algorithm"] in ("sm3", "poly1305")])
            assert answer["name"] in report.failed, (answer["name"], name)


def test_a_list_that_was_cut_short_does_not_pass() -> None:
    without = [one for one in known_answers() if one["algorithm"] != "sm4-gcm"]
    assert run(without).failed == ("sm4-gcm",)
    assert not run([]).passed


def test_a_failed_known_answer_disables_the_device_until_it_passes_again() -> None:
    device = make_device(b"self-test")
    session = device.open_session()
    handle, _ = session.generate_key_with_kek()
    corrupt = [{**one, "tag": "00" * 16} if one["algorithm"] == "poly1305" else one for one in known_answers()]
    device._self_test = lambda: run(corrupt)
    assert device.selftest().failed == ("Poly1305",) and not device.enabled
    for action in (
        lambda: session.digest(b""), lambda: session.sign(b""), lambda: session.mac(b""), session.sign_public_key,
        lambda: session.verify(b"", bytes(64)), lambda: session.encrypt(handle, b""), lambda: session.decrypt(handle, bytes(40)),
        lambda: session.wrap("key", b"", b""), lambda: session.unwrap("key", bytes(70), b""), session.generate_key_with_kek,
        lambda: session.import_key_with_kek(bytes(54)), lambda: session.generate_random(1), lambda: session.destroy_key(handle),
        device.open_session,
    ):  # fmt: skip
        with pytest.raises(SelfTestFailed, match="DEVICE_DISABLED"):
            action()
    device._self_test = run
    assert device.selftest().passed and device.enabled
    assert session.digest(b"abc")
    device.close()
