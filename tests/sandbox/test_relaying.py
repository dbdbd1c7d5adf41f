"""Frames wait until they are taken: a lost call loses none, a repeated one adds none, too many hold up who sends."""

from __future__ import annotations

import random
import socket
import threading

import pytest

from tests.sandbox.world import until
from workbench_sandbox.formats.relay import ENDED, LIVE, MAX_FRAMES_BYTES, Download, Upload
from workbench_sandbox.inside.link import Link, LinkClosed, Message, Type
from workbench_sandbox.server.relaying import Relay


def test_lost_and_repeated_calls_change_nothing() -> None:
    """Both directions against a plain list each, with calls whose reply is lost at random."""
    draw = random.Random(7)
    relay = Relay(most_frames=40)
    sent = [bytes([number % 256]) * draw.randrange(1, 50) for number in range(300)]
    back = [bytes([number % 251]) * draw.randrange(1, 50) for number in range(300)]
    arrived: list[bytes] = []

    def sandbox() -> None:
        while (frame := relay.next_in()) is not None:
            arrived.append(bytes(frame))

    def answers() -> None:
        for one in back:
            relay.put_out(one)

    threads = [threading.Thread(target=one) for one in (sandbox, answers)]
    for one in threads:
        one.start()
    first, taken, got = 0, 0, []
    while first < len(sent) or taken < len(back):
        upload = Upload(first, taken, tuple(sent[first : first + draw.randrange(0, 20)]))
        given = relay.exchange(upload, wait_ms=draw.choice((0, 5)))
        if draw.random() < 0.3:
            continue  # the reply is lost; the same comes again
        first = given.received
        assert given.first <= taken <= given.first + len(given.frames)
        got += given.frames[taken - given.first :]
        taken = given.first + len(given.frames)
    until(lambda: len(arrived) == len(sent))
    relay.close()
    for one in threads:
        one.join(timeout=10)
    assert arrived == sent and got == back


def test_what_waits_is_bounded_in_both_directions() -> None:
    relay = Relay(most_frames=10, most_bytes=1_000)
    given = relay.exchange(Upload(0, 0, tuple(b"x" * 10 for _ in range(50))), wait_ms=0)
    assert given.received == 10
    assert relay.exchange(Upload(10, 0, (b"y" * 2_000,)), wait_ms=0).received == 10
    puts = threading.Thread(target=lambda: [relay.put_out(b"z" * 300) for _ in range(5)])
    puts.start()
    until(lambda: relay.bytes_out == 900)
    assert puts.is_alive()
    got = 0
    while got < 5:
        given = relay.exchange(Upload(10, got), wait_ms=1_000)
        got = given.first + len(given.frames)
    puts.join(timeout=10)
    assert not puts.is_alive()


def test_places_that_cannot_be_are_refused() -> None:
    relay = Relay()
    for upload in (Upload(1, 0, (b"a",)), Upload(0, 1)):
        with pytest.raises(ValueError, match="frames"):
            relay.exchange(upload, wait_ms=0)
    assert relay.exchange(Upload(0, 0), wait_ms=0) == Download(LIVE, 0, (), 0)


def test_the_last_frames_are_given_before_the_end_is_said() -> None:
    relay = Relay()
    big = MAX_FRAMES_BYTES // 2 + 1
    for _ in range(3):
        relay.put_out(bytes(big))
    relay.end()
    states, taken = [], 0
    while not relay.drained:
        given = relay.exchange(Upload(0, taken), wait_ms=0)
        states.append(given.state)
        taken = given.first + len(given.frames)
        relay.exchange(Upload(0, taken), wait_ms=0) if given.state == ENDED else None
    assert states == [LIVE, LIVE, ENDED]


def test_closing_overwrites_what_waits_and_wakes_who_waits() -> None:
    relay = Relay()
    relay.exchange(Upload(0, 0, (b"secret frame",)), wait_ms=0)
    relay.put_out(b"another frame")
    held = [*relay._in, *relay._out]
    waiting = threading.Thread(target=lambda: relay.exchange(Upload(1, 1), wait_ms=20_000))
    waiting.start()
    relay.close()
    waiting.join(timeout=10)
    assert not waiting.is_alive() and relay.waiting == 0
    assert all(not any(one) for one in held)
    assert relay.next_in() is None and relay.put_out(b"x") is False


def test_what_is_handed_on_together_is_taken_in_one_call() -> None:
    relay = Relay()
    found: list[list[bytes]] = []
    taker = threading.Thread(target=lambda: found.append(list(relay.exchange(Upload(0, 0, ()), wait_ms=5_000).frames)))
    taker.start()
    assert relay.put_out(b"last chunk", b"end") and relay.put_out()
    taker.join(5)
    assert found == [[b"last chunk", b"end"]]
    here, there = socket.socketpair()
    with here, there:
        Link(here.fileno()).send_frames(b"last chunk", b"end")
        Link(here.fileno()).send_frames(b"alone")
        reader = Link(there.fileno())
        messages = [reader.receive(), reader.receive()]
    assert [(one.type, one.frames()) for one in messages] == [(Type.FRAMES_OUT, [b"last chunk", b"end"]), (Type.FRAME_OUT, [b"alone"])]
    with pytest.raises(LinkClosed):
        Message(Type.FRAMES_OUT, messages[0].body[:-1]).frames()
