from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from workbench.node.slowdown import (
    FAILURES_BEFORE_PAUSE,
    FORGET_MS,
    LARGEST,
    PLACES_OF_AN_ACCOUNT,
    SlowDown,
    pause_ms,
    place_of,
)

SLOWEST_MS = 60_000


def fail(slow: SlowDown, account: str, place: str, now_ms: int) -> int:
    return slow.begin(account, place, now_ms=now_ms, slowest_ms=SLOWEST_MS).wait_ms


@given(some.integers(0, 10_000))
def test_pauses_grow_and_never_beyond_the_limit(failures: int) -> None:
    now, more = (pause_ms(one, slowest_ms=SLOWEST_MS) for one in (failures, failures + 1))
    assert 0 <= now <= more <= SLOWEST_MS
    assert (now == 0) == (failures < FAILURES_BEFORE_PAUSE)


@given(some.lists(some.integers(0, 5_000), max_size=200))
def test_however_often_somebody_guesses_the_door_opens_again_within_the_limit(steps: list[int]) -> None:
    """The promise against a forced lock: at every moment the wait is bounded, whatever came before."""
    slow, now = SlowDown(), 0
    for step in steps:
        now += step
        assert fail(slow, "zhao", "loopback", now) <= SLOWEST_MS
    assert fail(slow, "zhao", "loopback", now + SLOWEST_MS) == 0


def test_many_places_gain_no_more_guesses_than_a_few() -> None:
    slow = SlowDown()
    verified = sum(fail(slow, "zhao", f"10.0.{one // 250}.{one % 250}", 1) == 0 for one in range(2_000))
    assert verified <= PLACES_OF_AN_ACCOUNT + FAILURES_BEFORE_PAUSE
    assert fail(slow, "qian", "10.9.9.9", 1) == 0, "another account is not concerned"


def test_an_hour_forgets_and_memory_is_bounded() -> None:
    slow = SlowDown()
    for _ in range(FAILURES_BEFORE_PAUSE):
        fail(slow, "zhao", "here", 0)
    assert fail(slow, "zhao", "here", 1) and not fail(slow, "zhao", "here", FORGET_MS + 1)
    for one in range(LARGEST + 50):
        fail(slow, f"nobody{one}", "here", FORGET_MS + 2)
    assert len(slow._rows) <= LARGEST


def test_one_machine_and_one_network_are_one_place() -> None:
    assert place_of("127.0.0.1") == place_of("127.200.3.4") == place_of("::1") == "loopback"
    assert place_of("2001:db8::1") == place_of("2001:db8::ffff:1") != place_of("2001:db8:0:1::1")
    assert place_of("10.0.0.1") != place_of("10.0.0.2")
    assert place_of("") == place_of("testclient") == "here"
