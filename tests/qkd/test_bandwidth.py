"""A bandwidth quota: large messages wait for their bytes, small ones never do, and nobody gets more than the bucket gives."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workbench_qkd.bandwidth import Bandwidth, rates
from workbench_qkd.pacing import LEAST_BYTES_PER_S, SMALL_BYTES, Level, Rate, filled, full, taken, wait_ns

from workbench.domain.party import PartyId
from workbench.errors import PeerUnavailable, StartRefused

BANK = PartyId("bank")
MIB = 1 << 20


class Naive:
    """The same bucket, byte by byte in fractions of a second."""

    def __init__(self, rate: Rate) -> None:
        self.rate, self.left, self.now = rate, Fraction(rate.burst), Fraction(0)

    def pass_time(self, seconds: Fraction) -> None:
        self.now += seconds
        self.left = min(Fraction(self.rate.burst), self.left + seconds * self.rate.bytes_per_s)

    def wait(self, size: int) -> Fraction:
        if size <= SMALL_BYTES:
            return Fraction(0)
        return max(Fraction(0), (min(size, self.rate.burst) - self.left) / self.rate.bytes_per_s)

    def take(self, size: int, waits: bool) -> None:
        after = self.left - size
        self.left = after if waits and size > SMALL_BYTES else max(after, min(self.left, Fraction(0)))


all_rates = st.builds(Rate, bytes_per_s=st.integers(LEAST_BYTES_PER_S, 1 << 30), burst=st.integers(SMALL_BYTES, 1 << 26))
messages = st.lists(st.tuples(st.integers(0, 10**10), st.one_of(st.integers(1, SMALL_BYTES), st.integers(1, 1 << 25)), st.booleans()), max_size=30)


@settings(max_examples=50)
@given(all_rates, messages)
def test_the_bucket_is_the_naive_one_to_the_nanosecond(rate: Rate, sent: list[tuple[int, int, bool]]) -> None:
    naive, level, now = Naive(rate), full(rate, 0), 0
    for gap_ns, size, is_reply in sent:
        now += gap_ns
        naive.pass_time(Fraction(gap_ns, 10**9))
        assert Fraction(filled(rate, level, now).billionths, 10**9) == naive.left
        wait = 0 if is_reply else wait_ns(rate, level, size, now)
        if not is_reply:
            assert 0 <= wait - naive.wait(size) * 10**9 < 1, "the whole nanosecond after it"
        now += wait
        naive.pass_time(Fraction(wait, 10**9))
        assert is_reply or wait_ns(rate, level, size, now) == 0, "the time it names is long enough"
        level = taken(rate, level, size, now, waits=not is_reply)
        naive.take(size, not is_reply)


@given(all_rates, st.lists(st.tuples(st.integers(0, 10**9), st.integers(SMALL_BYTES + 1, 1 << 24)), min_size=1, max_size=20))
def test_what_leaves_in_any_while_is_what_comes_back_in_it_and_a_burst_and_a_message(rate: Rate, sent: list[tuple[int, int]]) -> None:
    level, now, left = full(rate, 0), 0, []
    for gap_ns, size in sent:
        now += gap_ns
        now += wait_ns(rate, level, size, now)
        level = taken(rate, level, size, now)
        left.append((now, size))
    for first in range(len(left)):
        for last in range(first, len(left)):
            seconds = Fraction(left[last][0] - left[first][0], 10**9)
            total = sum(size for _at, size in left[first : last + 1])
            assert total <= rate.burst + seconds * rate.bytes_per_s + left[last][1]


def test_a_clock_that_runs_back_brings_nothing_and_small_messages_leave_no_debt() -> None:
    rate = Rate(MIB, MIB)
    level = taken(rate, full(rate, 5_000), MIB, 5_000)
    assert wait_ns(rate, level, MIB, 0) == wait_ns(rate, level, MIB, 5_000) == 10**9
    for _ in range(1000):
        assert wait_ns(rate, level, SMALL_BYTES, 5_000) == 0
        level = taken(rate, level, SMALL_BYTES, 5_000)
    assert level == Level(0, 5_000), "they take what is there, and no large one waits longer for them than for its own bytes"
    assert taken(rate, level, 3 * MIB, 5_000).billionths == -3 * MIB * 10**9, "one that waited is paid for afterwards"


@pytest.mark.parametrize(
    "wrong",
    [
        [], {"bank": 5}, {"bank": {}}, {"bank": {"bytes_per_s": True}}, {"bank": {"bytes_per_s": 1000}}, {"bank": {"bytes_per_s": -1}},
        {"bank": {"bytes_per_s": MIB, "burst": 100}}, {"bank": {"bytes_per_s": MIB, "burst": MIB, "more": 1}}, {"bank": {"bytes_per_s": "1"}},
    ],
)  # fmt: skip
def test_a_setting_of_another_form_stops_the_start(wrong: Any) -> None:
    with pytest.raises(StartRefused, match="WRONG_SETTING"):
        rates(wrong)


def test_no_limit_is_the_default_and_so_is_nothing_a_second() -> None:
    assert rates({}) == {} == rates({"bank": {"bytes_per_s": 0}})
    assert rates({"bank": {"bytes_per_s": MIB}}) == {"bank": Rate(MIB, MIB)}


class Timed:
    """A quota with a clock that only sleeping moves."""

    def __init__(self, setting: Any) -> None:
        self.now, self.slept = 0, []
        self.quota = Bandwidth(lambda: setting, clock=lambda: self.now, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)
        self.now += round(seconds * 1e9)


def test_large_messages_wait_in_turn_and_small_ones_pass_them() -> None:
    timed, order = Timed({"bank": {"bytes_per_s": MIB, "burst": 4 * MIB}}), []

    async def send(name: str, size: int) -> None:
        await timed.quota.pace(BANK, size, limit_s=60)
        order.append((name, timed.now))

    async def all_at_once() -> None:
        await asyncio.gather(send("first", 4 * MIB), send("second", 4 * MIB), send("third", 2 * MIB), send("sign of life", 900))

    asyncio.run(all_at_once())
    assert order[:2] == [("first", 0), ("sign of life", 0)]
    assert [(name, round(at / 1e9)) for name, at in order[2:]] == [("second", 4), ("third", 6)]
    told = timed.quota.told(BANK)
    assert (told.bytes_per_s, told.burst, told.sent_bytes, told.waits, told.waiting) == (MIB, 4 * MIB, 10 * MIB + 900, 2, 0)
    assert 9_900 <= told.waited_ms <= 10_100


def test_without_a_limit_nothing_waits_and_what_leaves_is_counted() -> None:
    timed = Timed({"bank": {"bytes_per_s": MIB}})
    other = PartyId("cardnet")
    asyncio.run(timed.quota.pace(other, 1 << 40, limit_s=1))
    timed.quota.count(other, 7)
    assert not timed.slept and not timed.quota.is_limited(other) and timed.quota.is_limited(BANK)
    assert (timed.quota.told(other).bytes_per_s, timed.quota.told(other).sent_bytes) == (0, (1 << 40) + 7)


def test_a_reply_counts_and_the_next_large_message_waits_for_it() -> None:
    timed = Timed({"bank": {"bytes_per_s": MIB}})
    timed.quota.count(BANK, MIB)
    asyncio.run(timed.quota.pace(BANK, MIB, limit_s=60))
    assert sum(timed.slept) == pytest.approx(1.0)


def test_who_would_wait_beyond_the_callers_time_is_refused_and_takes_nothing() -> None:
    timed = Timed({"bank": {"bytes_per_s": MIB}})

    async def never(_seconds: float) -> None:
        await asyncio.Event().wait()

    asyncio.run(timed.quota.pace(BANK, MIB, limit_s=1))
    timed.quota._sleep = never
    with pytest.raises(PeerUnavailable, match="BANDWIDTH_USED_UP") as refused:
        asyncio.run(timed.quota.pace(BANK, MIB, limit_s=0.01))
    assert refused.value.details == {"sent": "no"}
    told = timed.quota.told(BANK)
    assert (told.sent_bytes, told.waiting, told.waits) == (MIB, 0, 0)
