"""ML-DSA-44 in both verifiers: published vectors at its borders, and differences to the library that the node uses."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from workbench_ledger.package.verifier.lattice import verify_mldsa44

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "mldsa44.json").read_text("utf-8"))["vectors"]

Engine = Callable[[list[dict[str, Any]]], list[Any]]
Case = tuple[bytes, bytes, bytes]


def library_accepts(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        MLDSA44PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@pytest.mark.parametrize("vector", VECTORS, ids=lambda one: str(one["id"]))
def test_a_published_signature_is_accepted_or_refused_as_published(vector: dict[str, Any]) -> None:
    case = tuple(bytes.fromhex(vector[name]) for name in ("public_key", "message", "signature"))
    assert verify_mldsa44(*case) is vector["valid"]
    assert library_accepts(*case) is vector["valid"]


def test_the_page_s_engine_answers_the_published_signatures_alike(engine: Engine) -> None:
    asked = [{"call": "verifyMldsa44", "args": [one[name] for name in ("public_key", "message", "signature")]} for one in VECTORS]
    assert engine(asked) == [one["valid"] for one in VECTORS]


def cases() -> list[Case]:
    """Right signatures, and each with a bit of every part changed: seed, response, hints and their counts, key, message."""
    chance = random.Random(204)
    found: list[Case] = []
    for size in (0, 1, 135, 136, 300):
        secret = MLDSA44PrivateKey.from_seed_bytes(chance.randbytes(32))
        key, message = secret.public_key().public_bytes_raw(), chance.randbytes(size)
        signature = secret.sign(message)
        found += [(key, message, signature), (key, message + b"\0", signature), (key[:-1], message, signature), (key, message, signature[:-1])]
        for start, stop in ((0, 32), (32, 2336), (2336, 2416), (2416, 2420)):
            at = chance.randrange(start, stop)
            found.append((key, message, signature[:at] + bytes([signature[at] ^ 1 << chance.randrange(8)]) + signature[at + 1 :]))
        at = chance.randrange(len(key))
        found.append((key[:at] + bytes([key[at] ^ 1]) + key[at + 1 :], message, signature))
        found.append((key, message, signature[:2336] + bytes(84)))
    return found


def test_both_accept_exactly_what_the_library_accepts(engine: Engine) -> None:
    every = cases()
    expected = [library_accepts(*one) for one in every]
    assert expected.count(True) == 5
    assert [verify_mldsa44(*one) for one in every] == expected
    assert engine([{"call": "verifyMldsa44", "args": [part.hex() for part in one]} for one in every]) == expected


def test_the_page_s_keccak_is_that_of_hashlib_at_block_borders(engine: Engine) -> None:
    """Any wrong constant of the permutation would show; lengths lie around the rates of 136 and 168 bytes."""
    messages = [bytes(range(256))[:size] for size in (0, 1, 135, 136, 137, 167, 168, 169)]
    asked = [{"call": name, "args": [one.hex()], "size": 400} for name in ("shake128", "shake256") for one in messages]
    expected = [getattr(hashlib, name)(one).hexdigest(400) for name in ("shake_128", "shake_256") for one in messages]
    assert engine(asked) == expected
