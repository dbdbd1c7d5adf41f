"""Section 5, the pool: no byte serves twice, nobody argues about a position."""

from __future__ import annotations

import json

import pytest
from distill_line import pools
from hypothesis import given, settings, strategies as st

from workbench.errors import KeyUnavailable
from workbench_kme.distill import AuthenticationPool

SECRET = bytes(i % 251 for i in range(8192))


def test_the_two_directions_draw_different_bytes() -> None:
    sender, receiver = pools()
    assert sender.draw(32).value != receiver.draw(32).value


def test_what_one_end_draws_the_other_finds_at_the_stated_position_once() -> None:
    sender, receiver = pools()
    drawn = sender.draw(32)
    assert receiver.peek(drawn.segment, drawn.offset, 32) == drawn.value
    receiver.accept(drawn.segment, drawn.offset + 32)
    assert receiver.peek(drawn.segment, drawn.offset, 32) is None
    assert receiver.peek(drawn.segment, drawn.offset + 31, 16) is None, "not even one byte of it"


def test_a_gap_that_lost_messages_left_is_skipped() -> None:
    sender, receiver = pools()
    sender.draw(160)
    late = sender.draw(16)
    assert receiver.peek(late.segment, late.offset, 16) == late.value


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(["draw", "add", "share", "restart"]), st.integers(1, 900)), max_size=60))
def test_no_byte_is_ever_drawn_twice(steps: list[tuple[str, int]]) -> None:
    pool = AuthenticationPool(SECRET, is_sender=True)
    seen: set[tuple[int, int]] = set()
    block = 0
    for step, size in steps:
        if step == "draw":
            try:
                drawn = pool.draw(size)
            except KeyUnavailable:
                continue
            places = {(drawn.segment, drawn.offset + i) for i in range(size)}
            assert not places & seen and len(drawn.value) == size
            seen |= places
        elif step == "add":
            block += 1
            pool.add(block, bytes(size), bytes(size))
        elif step == "share":
            pool.share(block)
        else:
            pool = AuthenticationPool.from_state(json.loads(json.dumps(pool.state())), is_sender=True)


def test_bytes_of_a_block_are_drawn_only_once_the_other_end_is_known_to_hold_them() -> None:
    sender, receiver = pools(8192)
    sender.draw(4096)
    sender.add(0, b"s" * 64, b"r" * 64)
    receiver.add(0, b"s" * 64, b"r" * 64)
    with pytest.raises(KeyUnavailable):
        sender.draw(16)
    sender.share(0)
    drawn = sender.draw(16)
    assert (drawn.segment, drawn.offset, drawn.value) == (1, 0, b"s" * 16)
    assert receiver.peek(1, 0, 16) == b"s" * 16
    receiver.draw(4096)
    with pytest.raises(KeyUnavailable):
        receiver.draw(16)
    receiver.accept(1, 16)
    assert receiver.draw(16).value == b"r" * 16, "a message under the segment shows that the sender has it"


def test_an_empty_pool_names_who_must_act_and_shows_no_byte() -> None:
    pool = AuthenticationPool(SECRET, is_sender=True)
    pool.draw(4096)
    with pytest.raises(KeyUnavailable) as caught:
        pool.draw(1)
    assert caught.value.code == "POOL_EXHAUSTED" and "initial secret" in caught.value.en
    assert "own=0" in repr(pool) and SECRET[:8].hex() not in repr(pool) + repr(pool._sender) + repr(pool._own.segments)


@pytest.mark.parametrize("size", [0, 8190, 8193])
def test_a_short_or_odd_initial_secret_is_refused(size: int) -> None:
    with pytest.raises(ValueError):
        AuthenticationPool(bytes(size), is_sender=True)


def test_a_block_number_that_gave_back_before_is_refused() -> None:
    pool, _ = pools()
    pool.add(7, b"x" * 16, b"y" * 16)
    for block in (7, 3):
        with pytest.raises(ValueError):
            pool.expect(block)
    pool.expect(8)
