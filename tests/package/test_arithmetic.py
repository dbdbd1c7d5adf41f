"""The arithmetic of both verifiers: published vectors, and differences to the libraries that the node itself uses."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from workbench.crypto import sm2, sm3
from workbench.errors import VerificationError
from workbench_ledger.package.verifier import arithmetic

VECTORS = Path(__file__).parents[1] / "vectors"
SM2 = json.loads((VECTORS / "sm2.json").read_text("utf-8"))
SM3 = json.loads((VECTORS / "sm3.json").read_text("utf-8"))
ED25519 = json.loads((VECTORS / "ed25519.json").read_text("utf-8"))["vectors"]

Engine = Callable[[list[dict[str, Any]]], list[Any]]


def raw(text: str) -> bytes:
    return bytes.fromhex(text)


def test_the_standard_s_sm2_signature_verifies_and_no_other() -> None:
    key, message, signature = raw(SM2["public_key"])[1:], raw(SM2["message"]), raw(SM2["r"]) + raw(SM2["s"])
    assert arithmetic.verify_sm2(key, message, signature, raw(SM2["signer_id"]))
    assert not arithmetic.verify_sm2(key, message + b"x", signature)
    assert not arithmetic.verify_sm2(key, message, signature, b"another")
    for at in range(0, 64, 5):
        assert not arithmetic.verify_sm2(key, message, signature[:at] + bytes([signature[at] ^ 1]) + signature[at + 1 :])


@pytest.mark.parametrize("vector", SM3["digests"], ids=lambda one: one["message"][:8])
def test_the_standard_s_sm3_digests(vector: dict[str, str]) -> None:
    assert arithmetic.sm3_plain(raw(vector["message"])).hex() == vector["digest"]
    assert arithmetic.sm3(raw(vector["message"])).hex() == vector["digest"]


@pytest.mark.parametrize("vector", ED25519, ids=lambda one: one["message"][:8])
def test_the_signatures_of_rfc_8032(vector: dict[str, str]) -> None:
    key, message, signature = (raw(vector[name]) for name in ("public_key", "message", "signature"))
    Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    assert arithmetic.verify_ed25519(key, message, signature)
    assert not arithmetic.verify_ed25519(key, message + b"\0", signature)
    assert not arithmetic.verify_ed25519(key, message, signature[:32] + raw("ff" * 32))


def signatures() -> list[tuple[str, bytes, bytes, bytes, bool]]:
    """(function, key, message, signature, whether the node's own library accepts it): right ones, changed ones, edges."""
    chance = random.Random(8032)
    cases: list[tuple[str, bytes, bytes, bytes, bool]] = []
    for size in (0, 1, 55, 56, 64, 119, 200):
        message = chance.randbytes(size)
        national, plain = sm2.generate(chance.randbytes), Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
        edwards = plain.public_key().public_bytes_raw()
        found = [("verifySm2", national.public.raw, national.sign(message)), ("verifyEd25519", edwards, plain.sign(message))]
        for name, key, signature in found:
            cases.append((name, key, message, signature, True))
            for changed in (_flipped(signature, chance), signature[:-1], signature + b"\0", bytes(64), signature[32:] + signature[:32]):
                cases.append((name, key, message, changed, _library_accepts(name, key, message, changed)))
            cases.append((name, key, message + b"!", signature, False))
            other = _flipped(key, chance)
            cases.append((name, other, message, signature, _library_accepts(name, other, message, signature)))
    order = arithmetic.SM2_N.to_bytes(32, "big")
    key, message = raw(SM2["public_key"])[1:], raw(SM2["message"])
    cases += [("verifySm2", key, message, half, False) for half in (order + raw(SM2["s"]), raw(SM2["r"]) + order, bytes(32) + raw(SM2["s"]))]
    return cases


def _flipped(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def _library_accepts(name: str, key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        if name == "verifySm2":
            sm2.PublicKey(key).verify(message, signature)
        else:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (VerificationError, InvalidSignature, ValueError):
        return False
    return True


def test_python_accepts_exactly_what_the_libraries_accept() -> None:
    functions = {"verifySm2": arithmetic.verify_sm2, "verifyEd25519": arithmetic.verify_ed25519}
    for name, key, message, signature, expected in signatures():
        assert functions[name](key, message, signature) is expected, (name, key.hex(), signature.hex())


def test_javascript_accepts_exactly_what_the_libraries_accept(engine: Engine) -> None:
    cases = signatures()
    asked = [{"call": name, "args": [one.hex() for one in (key, message, signature)]} for name, key, message, signature, _ in cases]
    assert engine(asked) == [expected for *_, expected in cases]


def test_javascript_gives_the_published_digests_and_those_of_hashlib(engine: Engine) -> None:
    messages = [bytes(range(256)) * 3, b"", b"abc", *(b"q" * size for size in (54, 55, 56, 63, 64, 65, 111, 112, 113, 127, 128, 129, 1000))]
    for name, digest in (("sha256", hashlib.sha256), ("sha512", hashlib.sha512)):
        assert engine([{"call": name, "args": [one.hex()]} for one in messages]) == [digest(one).hexdigest() for one in messages]
    assert engine([{"call": "sm3", "args": [one.hex()]} for one in messages]) == [sm3.digest(one).hex() for one in messages]
    assert engine([{"call": "sm3", "args": [one["message"]]} for one in SM3["digests"]]) == [one["digest"] for one in SM3["digests"]]


def test_plain_sm3_is_that_of_the_libraries_at_every_length_of_two_blocks() -> None:
    for size in range(130):
        data = bytes(range(size))
        assert arithmetic.sm3_plain(data) == sm3.digest(data)


def test_der_is_that_of_the_library_for_halves_with_leading_zeros_and_high_bits() -> None:
    for r, s in ((1, 2), (0x80, 0x7F), (2**255 + 5, 2**247), (arithmetic.SM2_N - 1, 255)):
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        assert arithmetic.der_of(signature) == sm2.der_from_raw(signature)
