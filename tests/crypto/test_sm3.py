"""SM3 and HMAC-SM3: every digest, commitment and chain of this product stands on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from gmssl import func  # type: ignore[import-untyped]  # no annotations
from gmssl import sm3 as pure_python
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.crypto import sm3
from workbench.errors import SelfTestFailed

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sm3.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", VECTORS["digests"])
def test_digest_gives_the_examples_of_the_standard(vector: dict[str, str]) -> None:
    message = bytes.fromhex(vector["message"])
    assert sm3.digest(message).hex() == vector["digest"]
    assert sm3.new(message).digest().hex() == vector["digest"]
    assert pure_python.sm3_hash(func.bytes_to_list(message)) == vector["digest"]


@pytest.mark.parametrize("vector", VECTORS["hmacs"])
def test_hmac_gives_the_frozen_values_in_both_libraries(vector: dict[str, str]) -> None:
    key, message = bytes.fromhex(vector["key"]), bytes.fromhex(vector["message"])
    assert sm3.hmac(key, message).hex() == vector["tag"]
    context = HMAC(key, hashes.SM3())
    context.update(message)
    assert context.finalize().hex() == vector["tag"]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(0, 300))
def test_pieces_and_all_at_once_agree_with_another_library(message: bytes, key: bytes, cut: int) -> None:
    context = hashes.Hash(hashes.SM3())
    context.update(message)
    expected = context.finalize()
    assert sm3.digest(message) == expected
    pieces = sm3.new(message[:cut])
    pieces.digest()  # asking in between must not end the computation
    pieces.update(message[cut:])
    assert pieces.digest() == expected
    fallback = sm3._CryptographyHasher()
    fallback.update(message)
    assert fallback.digest() == expected
    tag = HMAC(key, hashes.SM3())
    tag.update(message)
    assert sm3.hmac(key, message) == tag.finalize()


def test_digest_many_keeps_the_order() -> None:
    messages = [bytes([number]) * number for number in range(80)]
    assert sm3.digest_many(messages) == [sm3.digest(message) for message in messages]


def test_selftest_stops_a_library_that_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    sm3.selftest()
    monkeypatch.setattr(sm3, "_digest", lambda data: bytes(32))
    with pytest.raises(SelfTestFailed):
        sm3.selftest()
