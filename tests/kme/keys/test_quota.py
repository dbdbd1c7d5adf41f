"""Quotas, priorities, alarm and forecast (docs/protocols/key-delivery.md section 1)."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import Denied, KeyUnavailable

from workbench_kme.keys import Line, Quota
from workbench_kme.keys.forecast import forecast, retry_after_s
from workbench_kme.keys.quota import Bucket, full, kept_from, take

from key_world import LINE, RECEIVER, SENDER, TwoEnds


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 50),
    st.integers(0, 600),
    st.lists(st.tuples(st.integers(0, 90_000), st.integers(1, 20)), max_size=30),
)
def test_a_bucket_never_gives_more_than_its_quota(burst: int, per_minute: int, requests: list[tuple[int, int]]) -> None:
    """Against exact fractions: what was given in any time is at most burst + rate · time, and no whole token is withheld."""
    quota = Quota(burst, per_minute)
    bucket, now, exact = full(quota, 0), 0, Fraction(burst)
    for wait, number in requests:
        now += wait
        exact = min(Fraction(burst), exact + Fraction(wait * per_minute, 60_000))
        result = take(quota, bucket, number, now)
        if isinstance(result, Bucket):
            assert number <= exact
            bucket, exact = result, exact - number
        else:
            assert number > exact - Fraction(len(requests) + 1, 1000), "at most a thousandth is lost at each request"
            later = take(quota, bucket, number, now + result * 1000) if result > 0 else None
            assert later is None or isinstance(later, Bucket), "the time it names is long enough"


def test_a_clock_that_stands_still_or_runs_back_fills_nothing() -> None:
    quota = Quota(2, 60)
    empty = take(quota, full(quota, 1000), 2, 1000)
    assert isinstance(empty, Bucket)
    assert take(quota, empty, 1, 1000) == take(quota, empty, 1, 0) == 1
    assert take(quota, empty, 3, 10**9) == -1, "more than the burst never comes"


def test_an_sae_above_its_quota_is_refused_and_told_when(ends: TwoEnds) -> None:
    ends.add_block(40)
    store = ends.sender.store
    store.set_quota("app-a", Quota(3, 6))
    assert len(store.reserve(LINE, "app-a", ["app-b"], number=3).key_ids) == 3
    with pytest.raises(KeyUnavailable, match="QUOTA_EXCEEDED") as caught:
        store.reserve(LINE, "app-a", ["app-b"])
    assert caught.value.details["retry_after_s"] == "10"
    assert store.status(LINE).available == 17, "a refused request takes nothing"
    store.reserve(LINE, "app-x", ["app-b"])
    ends.clock.ms += 10_000
    assert store.reserve(LINE, "app-a", ["app-b"]).key_ids
    with pytest.raises(KeyUnavailable, match="QUOTA_EXCEEDED"):
        store.reserve(LINE, "app-a", ["app-b"])


def test_an_sae_nobody_registered_gets_nothing_where_there_is_no_default(ends: TwoEnds) -> None:
    ends.add_block(4)
    ends.sender.store.reserve(LINE, "app-a", ["app-b"])
    ends.sender.quota = None
    ends.sender.reopen()
    with pytest.raises(Denied, match="SAE_UNKNOWN"):
        ends.sender.store.reserve(LINE, "app-a", ["app-b"])
    ends.sender.store.set_quota("app-a", Quota(1, 0))
    assert ends.sender.store.reserve(LINE, "app-a", ["app-b"]).key_ids


def test_keys_kept_back_are_for_those_of_higher_priority(ends: TwoEnds) -> None:
    ends.sender.store.register_line(Line(LINE, SENDER, RECEIVER, SENDER, kept_back=6, low_water=5))
    ends.add_block(20)
    store = ends.sender.store
    for name, priority in (("p0", 0), ("p1", 1), ("p2", 2), ("p3", 3)):
        store.set_quota(name, Quota(100, 0, priority))
    taken = {}
    for name in ("p0", "p1", "p2", "p3"):
        taken[name] = 0
        while True:
            try:
                reservation = store.reserve(LINE, name, ["app-b"])
            except KeyUnavailable as error:
                assert error.code == "EXHAUSTED"
                break
            taken[name] += 1
            assert reservation.low == (store.status(LINE).available < 5)
    assert taken == {"p0": 4, "p1": 2, "p2": 2, "p3": 2}
    assert [kept_from(7, priority) for priority in range(4)] == [7, 5, 3, 0]


def test_the_forecast_goes_straight_on() -> None:
    one = forecast("l", 100, 10, taken=60, made=10, window_s=3600)
    assert (one.burn_per_hour, one.made_per_hour, one.hours_left) == (60, 10, 2)
    assert forecast("l", 100, 10, taken=10, made=10, window_s=60).hours_left == -1
    assert forecast("l", 0, 10, taken=1, made=0, window_s=0).hours_left == 0
    assert [retry_after_s(5, rate) for rate in (0, 36, 5, 10**9)] == [10, 500, 3600, 1]


def test_the_forecast_of_a_line_counts_its_last_hour(ends: TwoEnds) -> None:
    ends.add_block(40)
    ends.deliver(6)
    one = ends.sender.store.forecast(LINE)
    assert (one.available, one.burn_per_hour, one.made_per_hour, one.window_s) == (14, 360, 1200, 60)
    ends.clock.ms += 3 * 3_600_000
    one = ends.sender.store.forecast(LINE)
    assert (one.burn_per_hour, one.made_per_hour, one.hours_left) == (0, 0, -1)
