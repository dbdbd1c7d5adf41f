"""Keys of an institution: kept apart, kept secret, and refused when anything about them was touched."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from institutions import NOW, institution

from workbench.crypto import canonical, certificates, sm2
from workbench.domain.party import PartyId
from workbench.errors import KeyUnavailable, VerificationError
from workbench.node import keys as institution_keys
from workbench.node.keys import InstitutionKeys, format_bundle, load, parse_bundle, save

PASSPHRASE = "a passphrase from a file"


def test_saved_keys_load_again_and_sign_as_before(tmp_path: Path) -> None:
    keys = institution("broker")
    save(keys, tmp_path / "keys", PASSPHRASE)
    again = load(tmp_path / "keys", PASSPHRASE)
    assert again.bundle == keys.bundle
    keys.bundle.message_key.verify(b"m", again.message.sign(b"m"))
    keys.bundle.contract_key.verify(b"m", again.contract.sign(b"m"))
    keys.bundle.cosign_sm2.verify(b"m", again.cosign_sm2.sign(b"m"))
    keys.bundle.cosign_ed25519.verify(b"m", again.cosign_ed25519.sign(b"m"))
    assert again.tls == keys.tls
    assert again.authority.private_key_pem == b""


def test_every_key_does_one_job() -> None:
    keys = institution("broker")
    privates = [keys.message, keys.contract, keys.cosign_sm2, keys.cosign_ed25519]
    secrets = {key.secret_bytes() for key in privates} | {keys.tls.private_key_pem, keys.authority.private_key_pem}
    assert len(secrets) == 6


def test_no_private_part_lies_open_on_disk_or_in_a_repr(tmp_path: Path) -> None:
    keys = institution("broker")
    save(keys, tmp_path, PASSPHRASE)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    shown = f"{keys!r}{keys.tls!r}{keys.channel_identity()!r}{keys.message!r}".encode()
    for key in (keys.message, keys.contract, keys.cosign_sm2, keys.cosign_ed25519):
        for text in (stored, shown):
            assert key.secret_bytes() not in text
            assert key.secret_bytes().hex().encode() not in text
    for pair in (keys.tls, keys.authority):
        for text in (stored, shown):
            assert b"PRIVATE KEY" not in text
            assert pair.private_key_pem.splitlines()[1] not in text


def test_folder_and_files_are_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    save(institution("broker"), folder, PASSPHRASE)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    for path in [folder, folder / "message.key", folder / "public.json"]:
        mode = path.stat().st_mode
        path.chmod(mode | stat.S_IRGRP)
        with pytest.raises(KeyUnavailable, match=path.name):
            load(folder, PASSPHRASE)
        path.chmod(mode)
    load(folder, PASSPHRASE)


def test_a_link_in_the_key_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    save(institution("broker"), folder, PASSPHRASE)
    (folder / "tls.key").rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", folder / "tls.key")
    with pytest.raises(KeyUnavailable):
        load(folder, PASSPHRASE)


def test_a_wrong_passphrase_opens_nothing(tmp_path: Path) -> None:
    save(institution("broker"), tmp_path, PASSPHRASE)
    with pytest.raises(KeyUnavailable) as refusal:
        load(tmp_path, PASSPHRASE + "x")
    assert PASSPHRASE not in str(refusal.value)


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    save(institution("broker"), tmp_path, PASSPHRASE)
    before = (tmp_path / "message.key").read_bytes()
    with pytest.raises(FileExistsError):
        save(institution("bank"), tmp_path, PASSPHRASE)
    assert (tmp_path / "message.key").read_bytes() == before


@pytest.mark.parametrize("name", ["unlock.json", "tls.key", "message.key", "contract.key", "cosign-ed25519.key", "cosign-sm2.key", "certificate.pem", "public.json"])  # fmt: skip
def test_a_missing_altered_or_exchanged_file_is_refused(tmp_path: Path, name: str) -> None:
    save(institution("broker"), tmp_path / "a", PASSPHRASE)
    path = tmp_path / "a" / name
    original = path.read_bytes()
    altered = original[:-20] + bytes([original[-20] ^ 1]) + original[-19:]
    for data in (altered, original[:-1], b""):
        path.write_bytes(data)
        with pytest.raises(KeyUnavailable):
            load(tmp_path / "a", PASSPHRASE)
    path.unlink()
    with pytest.raises(KeyUnavailable):
        load(tmp_path / "a", PASSPHRASE)


def test_one_sealed_key_cannot_stand_in_for_another(tmp_path: Path) -> None:
    """Otherwise the co-signing key could be made to sign messages."""
    save(institution("broker"), tmp_path, PASSPHRASE)
    (tmp_path / "message.key").write_bytes((tmp_path / "cosign-sm2.key").read_bytes())
    with pytest.raises(KeyUnavailable):
        load(tmp_path, PASSPHRASE)


def test_the_authority_may_live_elsewhere(tmp_path: Path) -> None:
    save(institution("broker"), tmp_path, PASSPHRASE)
    (tmp_path / "authority.key").unlink()
    keys = load(tmp_path, PASSPHRASE)
    with pytest.raises(KeyUnavailable):
        institution_keys.renew_certificate(keys, tmp_path, PASSPHRASE, hosts=["127.0.0.11"], now=NOW)


def test_a_renewed_certificate_comes_from_the_same_authority(tmp_path: Path) -> None:
    keys = institution("broker")
    save(keys, tmp_path, PASSPHRASE)
    later = NOW + timedelta(days=600)
    renewed = institution_keys.renew_certificate(
        keys, tmp_path, PASSPHRASE, hosts=["127.0.0.11", "10.1.2.3"], now=later
    )
    assert renewed.bundle.certificate_fingerprint != keys.bundle.certificate_fingerprint
    assert renewed.bundle.issued_at_ms > keys.bundle.issued_at_ms
    assert renewed.bundle.message_key == keys.bundle.message_key
    certificates.verify_issued(renewed.tls.certificate_pem, keys.bundle.ca_pem)
    assert load(tmp_path, PASSPHRASE).bundle == renewed.bundle


def test_the_passphrase_can_be_changed(tmp_path: Path) -> None:
    save(institution("broker"), tmp_path, PASSPHRASE)
    institution_keys.change_passphrase(tmp_path, PartyId("broker"), old=PASSPHRASE, new="another passphrase")
    assert load(tmp_path, "another passphrase").bundle == institution("broker").bundle
    with pytest.raises(KeyUnavailable):
        load(tmp_path, PASSPHRASE)


def test_a_moved_node_signs_a_newer_bundle() -> None:
    keys = institution("broker")
    moved = keys.with_address(host="localhost", port=9000, source_addresses=["127.0.0.0/24"], now=NOW)
    assert (moved.bundle.host, moved.bundle.port) == ("localhost", 9000)
    assert moved.bundle.issued_at_ms > keys.bundle.issued_at_ms
    assert parse_bundle(format_bundle(moved.bundle)) == moved.bundle
    with pytest.raises(ValueError, match="does not name"):
        keys.with_address(host="127.0.0.99", port=9000, now=NOW)


def test_bundle_parses_to_itself_and_no_other_spelling_does() -> None:
    data = format_bundle(institution("bank").bundle)
    assert parse_bundle(data) == institution("bank").bundle
    assert format_bundle(parse_bundle(data)) == data
    for spelling in (data + b"\n", json.dumps(json.loads(data)).encode(), b"", b"{}", b"x" * 20_000):
        with pytest.raises(VerificationError):
            parse_bundle(spelling)


def test_every_one_byte_change_of_a_bundle_is_refused() -> None:
    data = format_bundle(institution("bank").bundle)
    for position in range(len(data)):
        with pytest.raises(VerificationError):
            parse_bundle(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])


@pytest.mark.parametrize(
    "change",
    [
        {"port": 0}, {"port": 65536}, {"port": True}, {"host": ""}, {"host": "a b"}, {"name_zh": ""}, {"name_en": "x\u202ey"},
        {"name_en": "x" * 65}, {"source_addresses": []}, {"source_addresses": ["everywhere"]}, {"source_addresses": "10.0.0.1"},
        {"source_addresses": ["10.0.0.1/8"]}, {"party": "Bank"}, {"party": "b"}, {"v": 2}, {"issued_at_ms": -1}, {"extra": "x"},
        {"kind": "trust"}, {"certificate_fingerprint": "00"}, {"ca_pem": "none"}, {"cosign_sm2": None}, {"message_key": "04"},
    ],
)  # fmt: skip
def test_a_bundle_with_a_field_out_of_range_is_refused_even_if_signed(change: dict[str, canonical.Json]) -> None:
    keys = institution("bank")
    value = {**json.loads(format_bundle(keys.bundle)), **change}
    del value["signature"]
    body = canonical.format(value)
    party = value["party"] if isinstance(value["party"], str) else "bank"
    signature = keys.contract.sign(f"workbench/v1/bundle\n{party}\n\n".encode() + body)
    with pytest.raises(VerificationError):
        parse_bundle(canonical.format({**value, "signature": signature.hex()}))


def test_one_key_in_two_places_of_a_bundle_is_refused() -> None:
    keys = institution("bank")
    value = json.loads(format_bundle(keys.bundle))
    del value["signature"]
    value["cosign_sm2"] = value["message_key"]
    signature = keys.contract.sign(b"workbench/v1/bundle\nbank\n\n" + canonical.format(value))
    with pytest.raises(VerificationError):
        parse_bundle(canonical.format({**value, "signature": signature.hex()}))


def test_the_certificate_names_party_and_hosts_and_belongs_to_its_authority() -> None:
    keys = institution("bank")
    facts = certificates.describe(keys.tls.certificate_pem)
    assert facts.party == "bank"
    assert facts.hosts == ("127.0.0.13", "localhost")
    assert facts.not_before < NOW < facts.not_after
    assert not facts.is_authority
    certificates.verify_issued(keys.tls.certificate_pem, keys.bundle.ca_pem)
    with pytest.raises(VerificationError):
        certificates.verify_issued(keys.tls.certificate_pem, institution("broker").bundle.ca_pem)
    with pytest.raises(VerificationError):
        certificates.verify_issued(keys.bundle.ca_pem, keys.bundle.ca_pem)


def test_created_keys_need_an_address_that_makes_sense() -> None:
    with pytest.raises(ValueError, match="host and a port"):
        InstitutionKeys.create(PartyId("bank"), name_zh="银行", name_en="Bank", host="127.0.0.1", port=0, now=NOW)
    with pytest.raises(ValueError, match="party id"):
        InstitutionKeys.create(PartyId("Bank"), name_zh="银行", name_en="Bank", host="127.0.0.1", port=1, now=NOW)


def test_a_bundle_signed_by_another_key_is_refused() -> None:
    value = json.loads(format_bundle(institution("bank").bundle))
    del value["signature"]
    signature = sm2.generate().sign(b"workbench/v1/bundle\nbank\n\n" + canonical.format(value))
    with pytest.raises(VerificationError):
        parse_bundle(canonical.format({**value, "signature": signature.hex()}))


def test_a_certificate_that_names_another_party_is_refused_even_if_all_is_signed(tmp_path: Path) -> None:
    keys = institution("bank")
    wrong = certificates.issue_node_certificate(keys.authority, party="cardnet", hosts=["127.0.0.13"], now=NOW)
    fingerprint = certificates.describe(wrong.certificate_pem).fingerprint
    bundle = institution_keys._sign_bundle(replace(keys.bundle, certificate_fingerprint=fingerprint), keys.contract)
    save(replace(keys, tls=wrong, bundle=bundle), tmp_path, PASSPHRASE)
    with pytest.raises(KeyUnavailable):
        load(tmp_path, PASSPHRASE)
