"""Both ends over a wire: equal keys or none, and nobody's change survives."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from distill_line import RULES, Line, line, pools, ruled, source, views
from hypothesis import given, settings, strategies as st

from workbench_kme.distill import AuthenticationPool, BlockResult, ReceiverEnd, SenderEnd, bodies
from workbench_kme.distill.frames import LABEL
from workbench_kme.physics.views import ReceiverView


def kind_of(message: bytes) -> str:
    size = int.from_bytes(message[:2], "big")
    return message[2 : 2 + size].decode().removeprefix(LABEL)


def body_of(message: bytes) -> bytes:
    return message[2 + int.from_bytes(message[:2], "big") + 28 : -16]


def no_key(*results: BlockResult | None) -> bool:
    return all(one is None or (one.key == b"" and one.aborted and not one.verified) for one in results)


def test_both_ends_hold_the_same_whole_keys() -> None:
    run = line()
    sent, seen = run.run()
    assert sent is not None and seen is not None
    assert sent.key == seen.key and len(sent.key) % 32 == 0 and len(sent.keys) == len(sent.key) // 32 >= 1
    assert sent.verified and seen.verified and not sent.aborted
    assert replace(sent, key=b"") == replace(seen, key=b""), "everything said of the block is the same at both ends"
    assert sent.key.hex()[:16] not in repr(sent) and str(sent.key) not in repr(sent)


def test_the_qber_reported_is_the_share_of_bits_that_differed() -> None:
    sender, receiver = views(1500)
    key = (sender.basis == 0) & (receiver.basis == 0)
    run = line(1500)
    sent, _ = run.run()
    assert sent is not None
    assert sent.sifted == key.sum() and sent.qber == (sender.bit[key] != receiver.bit[key]).mean()
    assert sent.counts is not None and sent.counts.key_size == key.sum()


def test_the_leak_is_the_number_of_parities_on_the_wire() -> None:
    run = line(2500)
    sent, _ = run.run()
    assert sent is not None and sent.verified
    written = {"sender": 0, "receiver": 0}
    rounds: dict[str, list[int]] = {"sender": [], "receiver": []}
    for who, message in run.wire:
        if kind_of(message) == "qkd-parities":
            first, lists = bodies.parse_parities(body_of(message))
            written[who] += sum(len(bits) for bits in lists)
            rounds[who] += range(first, first + len(lists))
    assert written == {"sender": sent.leak_bits, "receiver": sent.feedback_bits}
    assert rounds["sender"] == rounds["receiver"] == list(range(sent.rounds)), "no round is told twice"


def test_every_pool_byte_of_a_block_is_counted_and_paid_back() -> None:
    to_send, to_receive = pools()
    before = to_send.own_bytes + to_receive.own_bytes
    run = line(2500, of=(to_send, to_receive))
    sent, seen = run.run()
    assert sent is not None and seen is not None and sent.verified
    paid = 16 * (len(run.wire) + 2) + 32
    assert sent.authentication_bits_used == seen.authentication_bits_used == 8 * paid
    assert sent.messages == len(run.wire)
    assert sent.pool_bits == 8 * paid and to_send.own_bytes + to_receive.own_bytes == before
    assert len(sent.key) * 8 + sent.pool_bits <= sent.length_bits < len(sent.key) * 8 + sent.pool_bits + 256
    assert to_send.own_bytes == to_receive.their_bytes and to_send.their_bytes == to_receive.own_bytes


def test_a_block_after_another_uses_what_the_first_gave_back() -> None:
    both = pools(8192)
    keys = []
    for block in range(40):
        sent, seen = line(1200, seed=block + 1, block=block, of=both, rules=ruled(pool_target_bytes=4096)).run()
        assert sent is not None and seen is not None and sent.verified and sent.key == seen.key
        keys.append(sent.key)
    assert both[0].state()["sender"]["segments"][0][0] > 0, "the initial secret is used up"  # type: ignore[index]
    assert len(set(keys)) == len(keys)


def test_the_same_seed_gives_the_same_messages() -> None:
    first, second, other = line(), line(), line(seed=2)
    assert first.run() == second.run() and first.wire == second.wire
    other.run()
    assert other.wire != first.wire


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.floats(0, 0.5), st.integers(0, 2**31), st.integers(60, 900))
def test_two_ends_agree_or_abort_whatever_the_errors(error: float, seed: int, detections: int) -> None:
    sent_view, seen_view = views(detections, error, seed=seed)
    to_send, to_receive = pools()
    rules = ruled(qber_limit=0.11)
    run = Line(SenderEnd(sent_view, to_send, rules, source(b"a")), ReceiverEnd(seen_view, to_receive, rules, source(b"b")))
    sent, seen = run.run()
    assert sent is not None and seen is not None
    assert sent.aborted == seen.aborted and sent.key == seen.key
    assert bool(sent.key) == (not sent.aborted) == sent.verified == seen.verified


# What one byte does


def _altered(run: Line, number: int, change: Callable[[bytes], list[bytes]]) -> tuple[BlockResult | None, BlockResult | None]:
    return run.run(lambda at, message: change(message) if at == number else [message])


@pytest.fixture(scope="module")
def untouched() -> Line:
    run = line(700)
    sent, _ = run.run()
    assert sent is not None and sent.verified
    return run


def test_every_changed_byte_of_every_small_message_leaves_no_key_with_who_got_it(untouched: Line) -> None:
    kinds = [kind_of(message) for _, message in untouched.wire]
    tried = {kinds.index("qkd-verdict"), kinds.index("qkd-done"), len(kinds) - 4} | {kinds.index("qkd-parities") + 3}
    for number in tried:
        who, message = untouched.wire[number]
        assert len(message) < 400
        run = _until(700, number)
        waiting = run.sender if who == "receiver" else run.receiver
        for place in range(len(message)):
            end = copy.deepcopy(waiting)
            replies = end.receive(message[:place] + bytes([message[place] ^ 0x04]) + message[place + 1 :])
            assert end.result is not None and end.result.aborted == "authentication-failed" and no_key(end.result)
            assert [kind_of(one) for one in replies] == ["qkd-abort"]
            assert end.receive(message) == [] and no_key(end.result), "the intact one comes too late"


@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.5, 0.8, 0.999])
def test_a_changed_byte_anywhere_in_a_large_message_leaves_no_key(untouched: Line, fraction: float) -> None:
    for number, kind in enumerate(kind_of(message) for _, message in untouched.wire):
        if kind not in ("qkd-detections", "qkd-sifting", "qkd-verification"):
            continue
        place = int(len(untouched.wire[number][1]) * fraction)
        results = _altered(line(700), number, lambda message, at=place: [message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]])
        assert no_key(*results) and any(one is not None and one.aborted == "authentication-failed" for one in results)


def test_a_truncated_doubled_or_replayed_message_leaves_no_key(untouched: Line) -> None:
    for number in range(len(untouched.wire) - 1):
        earlier = untouched.wire[number - 1][1] if number else b"x"
        for change in (lambda m: [m[:-1]], lambda m: [m, m], lambda m: [b""], lambda m, old=earlier: [old]):
            results = _altered(line(700), number, change)
            kind, doubled = kind_of(untouched.wire[number][1]), len(change(b"xy")) == 2
            if doubled and kind == "qkd-verdict":
                assert results == (untouched.sender.result, untouched.receiver.result), "a second copy comes after the end"
            elif doubled and kind == "qkd-verification":
                assert no_key(results[1]), "the verdict is under way already: as if the last message were lost"
            else:
                assert no_key(*results)


def test_messages_in_another_order_leave_no_key(untouched: Line) -> None:
    """The sender's last parities and its verification leave together: the only two that could change places."""
    kinds = [kind_of(message) for _, message in untouched.wire]
    at = kinds.index("qkd-verification")
    run = _until(700, at)
    run.receiver.receive(untouched.wire[at + 1][1])
    assert no_key(run.receiver.result) and run.receiver.result is not None
    held: list[bytes] = []

    def swap(number: int, message: bytes) -> list[bytes]:
        if number == at - 1:
            held.append(message)
            return []
        return [message, *held] if number == at else [message]

    if untouched.wire[at - 1][0] == "sender":
        assert no_key(*line(700).run(swap))


def test_a_lost_last_message_leaves_the_receiver_without_key_and_the_pools_usable(untouched: Line) -> None:
    both = pools()
    last = len(untouched.wire) - 1
    sent, seen = _altered(line(700, of=both), last, lambda _: [])
    assert sent is not None and sent.verified and seen is None
    again = line(700, seed=3, block=1, of=both)
    sent, seen = again.run()
    assert sent is not None and seen is not None and sent.verified and sent.key == seen.key


def test_messages_of_an_earlier_block_are_refused_in_a_later_one() -> None:
    both = pools()
    first = line(700, of=both)
    first.run()
    for number in range(3):
        second = line(700, seed=2, block=1 + number, of=both)
        sent, seen = _altered(second, number, lambda _, at=number: [first.wire[at][1]])
        assert no_key(sent, seen)


def _until(detections: int, number: int) -> Line:
    """A fresh run of the same block, stopped before message `number` is delivered."""
    run = line(detections)
    run.run(lambda at, message: [message] if at < number else [])
    return run


# Why a block ends


def reasons(run: Line) -> tuple[str, str, bool, bool]:
    sent, seen = run.run()
    assert sent is not None and seen is not None and no_key(sent, seen)
    return sent.aborted, seen.aborted, sent.by_peer, seen.by_peer


def test_few_detections_end_a_block() -> None:
    assert reasons(line(60)) == ("too-few-detections",) * 2 + (True, False)
    assert reasons(line(0)) == ("too-few-detections",) * 2 + (True, False)


def test_an_error_rate_beyond_the_limit_ends_a_block_before_any_parity() -> None:
    run = line(2000, error=0.16)
    assert reasons(run) == ("qber-beyond-limit",) * 2 + (True, False)
    assert [kind_of(message) for _, message in run.wire] == ["qkd-detections", "qkd-sifting", "qkd-abort"]
    assert run.sender.result is not None and 0.1 < run.sender.result.qber < 0.25


def test_no_limit_above_eleven_per_cent_can_be_set() -> None:
    with pytest.raises(ValueError):
        ruled(qber_limit=0.12)


def test_a_block_that_pays_less_than_its_tags_cost_ends_without_key() -> None:
    """More than one key would be left, and still less than what the messages drew."""
    run = line(700, error=0.05, rules=ruled(estimate=lambda counts, security, leak: replace(RULES.estimate(counts, security, leak), length=900)))
    aborted, _, by_peer_of_sender, by_peer_of_receiver = reasons(run)
    assert aborted == "no-key-left" and (by_peer_of_sender, by_peer_of_receiver) == (False, True)


def test_nothing_left_at_shannon_s_limit_ends_a_block_before_any_parity() -> None:
    run = line(2000, rules=ruled(estimate=lambda counts, security, leak: replace(RULES.estimate(counts, security, leak), length=0)))
    assert reasons(run)[0] == "no-key-left"
    assert "qkd-parities" not in [kind_of(message) for _, message in run.wire]


def test_keys_that_still_differ_are_caught_by_the_hash() -> None:
    run = line(700)

    def damage(number: int, message: bytes) -> list[bytes]:
        if kind_of(message) == "qkd-verification":
            assert run.receiver._cascade is not None
            run.receiver._cascade.key[5] ^= 1
        return [message]

    sent, seen = run.run(damage)
    assert no_key(sent, seen) and sent is not None and sent.aborted == "verification-failed" and sent.by_peer


def test_a_receiver_of_another_block_s_view_is_refused() -> None:
    sent_view, _ = views(700)
    _, seen_view = views(700, seed=9)
    to_send, to_receive = pools()
    run = Line(SenderEnd(sent_view, to_send, RULES, source(b"a")), ReceiverEnd(seen_view, to_receive, RULES, source(b"b")))
    assert reasons(run)[0] == "message-refused"


def test_a_length_above_the_receiver_s_own_bound_is_refused() -> None:
    """A sender that does not keep to the bound gets no key out of an honest receiver."""
    sent_view, seen_view = views(1500)
    to_send, to_receive = pools()
    greedy = ruled(estimate=lambda counts, security, leak: replace(RULES.estimate(counts, security, leak), length=100_000))
    run = Line(SenderEnd(sent_view, to_send, greedy, source(b"a")), ReceiverEnd(seen_view, to_receive, RULES, source(b"b")))
    assert reasons(run) == ("message-refused",) * 2 + (True, False)


def test_an_exhausted_pool_ends_a_block() -> None:
    both = pools(8192)
    both[0].draw(4000)
    sent, seen = line(1200, of=both).run()
    assert sent is not None and sent.aborted == "pool-exhausted" and no_key(sent, seen)
    empty = AuthenticationPool(bytes(8192), is_sender=False)
    empty.draw(4096)


def test_a_caller_can_stop_a_block_and_the_other_end_learns_it() -> None:
    run = _until(700, 3)
    (told,) = run.receiver.stop()
    assert run.receiver.result is not None and run.receiver.result.aborted == "stopped" and run.receiver.stop() == []
    assert run.sender.receive(told) == []
    assert run.sender.result is not None and (run.sender.result.aborted, run.sender.result.by_peer) == ("stopped", True)


def test_a_parity_list_of_another_length_is_refused_although_its_tag_is_right() -> None:
    run = _until(700, 2)
    assert run.sender.result is None
    forged = run.receiver._writer.seal("qkd-parities", bodies.format_parities(0, [np.zeros(3, np.uint8)]))
    run.sender.receive(forged)
    assert run.sender.result is not None and run.sender.result.aborted in ("message-refused", "authentication-failed")


@pytest.mark.parametrize("kind", ["qkd-sifting", "qkd-verdict", "qkd-done", "qkd-verification", "qkd-parities"])
def test_a_kind_out_of_turn_is_refused_although_its_tag_is_right(kind: str) -> None:
    sent_view, _ = views(700)
    to_send, to_receive = pools()
    sender = SenderEnd(sent_view, to_send, RULES, source(b"a"))
    other = ReceiverEnd(views(700)[1], to_receive, RULES, source(b"b"))
    (abort,) = sender.receive(other._writer.seal(kind, b""))
    assert sender.result is not None and sender.result.aborted == "message-refused" and kind_of(abort) == "qkd-abort"


def test_the_first_message_depends_on_nothing_but_the_receiver_s_view() -> None:
    """Key-basis outcomes never leave: the same announcement with all of them turned over."""
    _, seen = views(700)
    turned = ReceiverView(seen.block, seen.pulses, seen.index, seen.bit ^ (seen.basis == 0).astype(np.uint8), seen.basis)
    first = [ReceiverEnd(view, pools()[1], RULES, source(b"b")).begin() for view in (seen, turned)]
    assert first[0] == first[1]
