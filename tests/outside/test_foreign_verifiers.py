"""Programs that nobody here wrote verify what we sign: Go's sumdb packages, and OpenSSL's command line for SM2.

Skipped by name where Go, its x/mod package or OpenSSL are not installed (`make system` installs them).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.ledger import world as worlds
from tests.ledger.test_mldsa import THIRD, WITH_THIRD
from tests.ledger.world import BANK, BROKER, KEYS, PARTIES, PINNED, World
from workbench.crypto import sm2
from workbench.domain import checkpoint as notes

GO_PATH = Path("/usr/share/gocode")
HAS_GO = shutil.which("go") is not None and (GO_PATH / "src/golang.org/x/mod/sumdb/tlog").is_dir()
HAS_OPENSSL = shutil.which("openssl") is not None

needs_go = pytest.mark.skipif(not HAS_GO, reason="Go and golang-golang-x-mod-dev are not installed")
needs_openssl = pytest.mark.skipif(not HAS_OPENSSL, reason="the OpenSSL command is not installed")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("outside") / "world")
    made.broker.write(21)
    made.settle()
    yield made
    made.close()


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go program, built once without network or modules."""
    folder = tmp_path_factory.mktemp("go")
    program = folder / "verify_proof"
    source = Path(__file__).with_name("verify_proof.go")
    settings = {"GO111MODULE": "off", "GOPATH": str(GO_PATH), "GOCACHE": str(folder / "cache"), "GOFLAGS": ""}
    subprocess.run(
        ["go", "build", "-o", str(program), str(source)], check=True, env={**os.environ, **settings}, timeout=240
    )
    return program


def run_go(verifier: Path, folder: Path, proof: str, entry: str) -> subprocess.CompletedProcess[str]:
    (folder / "entry.tlog-proof").write_text(proof, encoding="utf-8")
    (folder / "entry.json").write_text(entry, encoding="utf-8")
    cosigners = [notes.cosigner_vkey("evidence", PINNED[party]) for party in PARTIES]
    command = [str(verifier), notes.log_vkey("evidence", PINNED[BROKER])]
    command += [str(folder / "entry.tlog-proof"), str(folder / "entry.json"), *cosigners]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@needs_go
@pytest.mark.timeout(300)
def test_go_accepts_every_entry_with_three_co_signatures(sealed: World, verifier: Path, tmp_path: Path) -> None:
    for index in (0, 1, 7, 15, 16, 20):
        receipt = sealed.broker.ledger.receipt(BROKER, index)
        result = run_go(verifier, tmp_path, receipt["tlog_proof"], receipt["entry"])
        assert (result.returncode, result.stdout.strip()) == (0, "3"), result.stderr


@needs_go
@pytest.mark.timeout(300)
def test_go_refuses_what_was_changed(sealed: World, verifier: Path, tmp_path: Path) -> None:
    receipt = sealed.broker.ledger.receipt(BROKER, 5)
    proof, entry, path = receipt["tlog_proof"], receipt["entry"], receipt["proof"]["sha256"]
    flipped = path[1].replace(path[1][0], "A" if path[1][0] != "A" else "B", 1)
    for bad_proof, bad_entry in [
        (proof, entry.replace("step 5", "step 6")),
        (proof.replace("index 5\n", "index 6\n"), entry),
        (proof.replace(path[1], flipped), entry),
        (proof.replace(path[1] + "\n", ""), entry),
        (proof.replace("\n21\n", "\n22\n"), entry),
    ]:
        assert run_go(verifier, tmp_path, bad_proof, bad_entry).returncode == 1


@pytest.fixture(scope="module")
def third(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """As `sealed`, every co-signature with an ML-DSA-44 line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worlds, "PINNED", WITH_THIRD)
        made = World(tmp_path_factory.mktemp("third") / "world")
        for party, node in made.nodes.items():
            node.close()
            node.keys = replace(KEYS[party], mldsa44=THIRD[party])
            node.open()
        made.broker.write(21)
        made.settle()
        yield made
        made.close()


@needs_go
@pytest.mark.timeout(300)
def test_go_accepts_a_checkpoint_with_ml_dsa_lines_and_refuses_it_when_altered(
    third: World, verifier: Path, tmp_path: Path
) -> None:
    """The note package skips lines of keys that it was not given, whatever their size."""
    receipt = third.broker.ledger.receipt(BROKER, 5)
    note = notes.verify_note(receipt["checkpoint"], WITH_THIRD, project="evidence")
    assert all(one.mldsa_line is not None for one in note.cosignatures.values())
    assert len(receipt["checkpoint"].encode()) < 12_000
    result = run_go(verifier, tmp_path, receipt["tlog_proof"], receipt["entry"])
    assert (result.returncode, result.stdout.strip()) == (0, "3"), result.stderr
    bad = receipt["tlog_proof"].replace("\n21\n", "\n22\n")
    assert run_go(verifier, tmp_path, bad, receipt["entry"]).returncode == 1


@needs_openssl
def test_openssl_verifies_the_ml_dsa_co_signature_where_it_knows_the_algorithm(third: World, tmp_path: Path) -> None:
    """OpenSSL 3.5 and later; the one on this machine may be older."""
    known = subprocess.run(["openssl", "list", "-signature-algorithms"], check=False, capture_output=True, text=True)
    if "ML-DSA-44" not in known.stdout:
        pytest.skip("this OpenSSL does not know ML-DSA-44")
    note = notes.verify_note(third.broker.ledger.own_checkpoint(), WITH_THIRD, project="evidence")
    one = note.cosignatures[BANK]
    assert one.mldsa_line is not None
    message, signature, key = tmp_path / "message", tmp_path / "signature", tmp_path / "key.pem"
    message.write_bytes(notes.mldsa_message(notes.origin_of("evidence", BANK), note.checkpoint, one.time_s))
    signature.write_bytes(one.mldsa_line.payload[8:])
    public = MLDSA44PublicKey.from_public_bytes(THIRD[BANK].public.raw)
    key.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(key), "-rawin", "-in", str(message)]
    command += ["-sigfile", str(signature)]
    assert subprocess.run(command, check=False, capture_output=True, timeout=60).returncode == 0
    message.write_bytes(message.read_bytes()[:-1] + b"\x00")
    assert subprocess.run(command, check=False, capture_output=True, timeout=60).returncode != 0


@needs_openssl
def test_openssl_verifies_the_sm2_co_signature_from_its_der_form(sealed: World, tmp_path: Path) -> None:
    note = notes.verify_note(sealed.broker.ledger.own_checkpoint(), PINNED, project="evidence")
    for party in PARTIES:
        one = note.cosignatures[party]
        message, signature, key = tmp_path / "message", tmp_path / "signature.der", tmp_path / "key.pem"
        message.write_bytes(notes.sm2_message(party, note.text, one.time_s))
        signature.write_bytes(sm2.der_from_raw(one.sm2_line.payload[8:]))
        key.write_text(sm2.public_pem(PINNED[party].sm2))

        def verify(message: Path = message, signature: Path = signature, key: Path = key) -> int:
            command = ["openssl", "dgst", "-sm3", "-verify", str(key), "-signature", str(signature)]
            command += ["-sigopt", "distid:1234567812345678", str(message)]
            return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode

        assert verify() == 0
        message.write_bytes(message.read_bytes().replace(b"sm3 ", b"sm3  "))
        assert verify() != 0


@needs_openssl
def test_openssl_refuses_another_institution_s_key(sealed: World, tmp_path: Path) -> None:
    note = notes.verify_note(sealed.broker.ledger.own_checkpoint(), PINNED, project="evidence")
    one = note.cosignatures[BANK]
    (tmp_path / "message").write_bytes(notes.sm2_message(BANK, note.text, one.time_s))
    (tmp_path / "signature").write_bytes(sm2.der_from_raw(one.sm2_line.payload[8:]))
    (tmp_path / "key").write_text(sm2.public_pem(PINNED[BROKER].sm2))
    command = ["openssl", "dgst", "-sm3", "-verify", "key", "-signature", "signature"]
    command += ["-sigopt", "distid:1234567812345678", "message"]
    assert subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, timeout=60).returncode != 0
