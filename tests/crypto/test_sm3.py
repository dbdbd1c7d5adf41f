"""SM3 and HMAC-SM3: every digest, commitment and chain of this product stands on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from gmssl import func  # type: ignore[import-untyped]  # no annotations
from gmssl import sm3 as pure_python
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.crypto import sm3, sm3_lanes
from workbench.errors import SelfTestFailed

KEY = bytes(range(32))
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


@pytest.mark.parametrize("width", [1, 11, 55, 56, 63, 64, 65, 119, 120, 127, 128, 300])
@pytest.mark.parametrize("count", [1, 31, 32, 33, 4096, 4097])
def test_rows_side_by_side_agree_with_the_library(width: int, count: int) -> None:
    """All paddings, all ends of a group of lanes and of a batch."""
    rows = np.random.default_rng(width * count).integers(0, 256, (count, width), dtype=np.uint8)
    shown = [0, count // 2, count - 1]
    digests, tags = sm3_lanes.digest_rows(rows), sm3_lanes.hmac_rows(KEY, rows)
    assert digests.shape == tags.shape == (count, 32)
    assert [digests[row].tobytes() for row in shown] == [sm3._digest_cryptography(rows[row].tobytes()) for row in shown]
    assert [tags[row].tobytes() for row in shown] == [sm3._hmac_cryptography(KEY, rows[row].tobytes()) for row in shown]
    if count <= 33:
        assert digests.tobytes() == b"".join(sm3._digest_cryptography(row.tobytes()) for row in rows)


def test_rows_give_the_examples_of_the_standard() -> None:
    """The second one has two blocks, so the chaining value takes part."""
    for vector in VECTORS["digests"]:
        message = np.frombuffer(bytes.fromhex(vector["message"]), np.uint8)
        if len(message):
            assert sm3_lanes.digest_rows(np.tile(message, (3, 1)))[2].tobytes().hex() == vector["digest"]


@pytest.mark.parametrize("key", [b"", b"\x00", KEY, KEY * 2, KEY * 2 + b"x", KEY * 3])
def test_many_messages_give_what_each_gives_alone(key: bytes) -> None:
    """Equal lengths go another way than different ones; keys beyond one block another one than short keys."""
    equal = [number.to_bytes(13, "big") for number in range(sm3.MANY + 5)]
    mixed = [*equal, b"", b"short"]
    for messages in (equal, mixed):
        assert sm3.digest_many(messages) == [sm3.digest(one) for one in messages]
        assert sm3.hmac_many(key, messages) == [sm3.hmac(key, one) for one in messages]
    rows = np.frombuffer(b"".join(equal), np.uint8).reshape(-1, 13)
    assert sm3.digest_rows(rows).tobytes() == b"".join(sm3.digest_many(equal))
    assert sm3.digest_rows(rows[:100]).tobytes() == b"".join(sm3.digest_many(equal[:100]))
    assert sm3.hmac_rows(key, rows[:100]).tobytes() == b"".join(sm3.hmac_many(key, equal[:100]))


def test_rows_that_are_hashed_wrongly_stop_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample of every batch is hashed again, and nothing is used before the known answers were right."""
    rows = np.zeros((sm3.MANY, 13), np.uint8)
    sm3.warm_up()
    right = sm3_lanes.digest_rows

    def wrong(messages: sm3.Rows, **keywords: object) -> sm3.Rows:
        digests = right(messages, **keywords)  # type: ignore[arg-type]  # handed through
        digests[:, 5] ^= 1
        return digests

    monkeypatch.setattr(sm3_lanes, "digest_rows", wrong)
    with pytest.raises(SelfTestFailed):
        sm3.digest_rows(rows)
    with pytest.raises(SelfTestFailed):
        sm3.hmac_rows(KEY, rows)
    sm3._lanes.cache_clear()
    with pytest.raises(SelfTestFailed):
        sm3.warm_up()
    monkeypatch.undo()
    sm3._lanes.cache_clear()
    sm3.warm_up()


def test_selftest_stops_a_library_that_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    sm3.selftest()
    monkeypatch.setattr(sm3, "_digest", lambda data: bytes(32))
    with pytest.raises(SelfTestFailed):
        sm3.selftest()
