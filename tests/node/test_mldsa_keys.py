"""The optional ML-DSA-44 co-signing key: made when turned on, in bundle and trust file of version 2 (ledger.md section 1)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from institutions import NOW, institution

from workbench.crypto import canonical, mldsa
from workbench.crypto.random import SeededSource
from workbench.domain.checkpoint import PartyKeys
from workbench.domain.party import PartyId
from workbench.errors import KeyUnavailable, VerificationError
from workbench.node.keys import add_mldsa, format_bundle, load, load_bundle, parse_bundle, save
from workbench.node.trust import export_trust, parse_trust

PASSPHRASE = "a passphrase from a file"
BANK, BROKER = PartyId("bank"), PartyId("broker")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(institution("broker"), tmp_path / "keys", PASSPHRASE)
    return tmp_path / "keys"


def test_the_key_is_made_once_stored_closed_and_named_by_a_newer_bundle(folder: Path) -> None:
    before = load(folder, PASSPHRASE)
    grown = add_mldsa(before, folder, PASSPHRASE, now=NOW)
    again = load(folder, PASSPHRASE)
    assert grown.cosign_mldsa44 is not None
    assert again.cosign_mldsa44 is not None
    assert again.bundle == grown.bundle == load_bundle(folder)
    assert again.bundle.issued_at_ms > before.bundle.issued_at_ms
    again.bundle.cosign_mldsa44.verify(b"m", again.cosign_mldsa44.sign(b"m"))  # type: ignore[union-attr]
    assert add_mldsa(again, folder, PASSPHRASE, now=NOW) is again
    secret = again.cosign_mldsa44.secret_bytes()
    assert all(secret not in path.read_bytes() for path in folder.iterdir())
    assert secret.hex() not in f"{again!r}{again.cosign_mldsa44!r}"
    assert (folder / "cosign-mldsa44.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyUnavailable):
        add_mldsa(before, folder, "another passphrase", now=NOW)


def test_keys_with_it_are_saved_and_loaded_as_a_whole(tmp_path: Path, folder: Path) -> None:
    grown = add_mldsa(institution("broker"), folder, PASSPHRASE, now=NOW)
    save(grown, tmp_path / "moved", PASSPHRASE)
    assert load(tmp_path / "moved", PASSPHRASE).bundle == grown.bundle


def test_a_bundle_without_the_key_keeps_its_released_bytes(folder: Path) -> None:
    plain = format_bundle(institution("broker").bundle)
    assert json.loads(plain)["v"] == 1
    assert b"mldsa" not in plain
    grown = format_bundle(add_mldsa(institution("broker"), folder, PASSPHRASE, now=NOW).bundle)
    value = json.loads(grown)
    assert (value["v"], len(value["cosign_mldsa44"])) == (2, 2624)
    assert format_bundle(parse_bundle(grown)) == grown
    for wrong in ({**value, "v": 1}, {**value, "v": 3}, {**json.loads(plain), "v": 2}, {**value, "cosign_mldsa44": "00"}):
        with pytest.raises(VerificationError):
            parse_bundle(canonical.format(wrong))


def test_the_trust_file_names_the_key_and_stays_as_released_without_one(folder: Path) -> None:
    plain, grown = institution("bank").bundle, add_mldsa(institution("broker"), folder, PASSPHRASE, now=NOW).bundle
    assert json.loads(export_trust([plain]))["v"] == 1
    data = export_trust([plain, grown])
    assert json.loads(data)["v"] == 2
    pinned = parse_trust(data)
    assert pinned[BROKER].for_notes().mldsa44 == grown.cosign_mldsa44
    assert pinned[BANK].for_notes().mldsa44 is None
    with pytest.raises(VerificationError):
        parse_trust(canonical.format({**json.loads(data), "v": 1}))
    with pytest.raises(VerificationError):
        parse_trust(canonical.format({**json.loads(export_trust([plain])), "v": 2}))


def test_one_ml_dsa_key_never_stands_under_two_names(folder: Path) -> None:
    third = mldsa.generate(SeededSource(b"shared")).public
    bundles = [replace(institution(party).bundle, cosign_mldsa44=third) for party in ("bank", "broker")]
    with pytest.raises(VerificationError):
        parse_trust(export_trust(bundles))


def test_the_trust_file_tells_who_joined_and_left_which_log_where() -> None:
    bundles = [institution(party).bundle for party in ("bank", "broker")]
    keys = institution("bank").bundle
    told = PartyKeys(BANK, keys.cosign_ed25519, keys.cosign_sm2, joined={BROKER: 12}, left={BROKER: 40})
    data = export_trust(bundles, {BANK: told})
    found = parse_trust(data)[BANK].for_notes()
    assert (dict(found.joined), dict(found.left)) == ({BROKER: 12}, {BROKER: 40})
    assert [found.is_member(BROKER, index) for index in (11, 12, 39, 40)] == [False, True, True, False]
    value = json.loads(data)
    for wrong in ("012", "-1", "x", 12, ""):
        value["parties"][0]["left"] = {"broker": wrong}
        with pytest.raises(VerificationError):
            parse_trust(canonical.format(value))
