"""The sketch against the true Jaccard index, and the warning it leads to."""

from __future__ import annotations

import polars as pl
import pytest

from workbench.flows.near_duplicates import common_share, find, sketch

from tests.flows.institutions import Institutions

SEED = bytes(range(32))


def numbers(start: int, stop: int) -> pl.Series:
    return pl.Series([f"100{number:08d}" for number in range(start, stop)])


@pytest.mark.parametrize(
    ("one", "other"), [((0, 20_000), (1, 20_000)), ((0, 20_000), (5_000, 25_000)), ((0, 300), (0, 299)), ((0, 9), (9, 18))]
)
def test_estimate_is_within_five_points_of_the_true_share(one: tuple[int, int], other: tuple[int, int]) -> None:
    left, right = set(numbers(*one)), set(numbers(*other))
    true = len(left & right) / len(left | right)
    assert common_share(sketch(numbers(*one), seed=SEED), sketch(numbers(*other), seed=SEED)) == pytest.approx(true, abs=0.05)


def test_order_of_the_list_does_not_matter() -> None:
    listed = numbers(0, 5_000)
    assert sketch(listed, seed=SEED) == sketch(listed.reverse(), seed=SEED)


def test_another_seed_gives_another_sketch() -> None:
    assert sketch(numbers(0, 100), seed=SEED) != sketch(numbers(0, 100), seed=bytes(32))


def test_list_that_differs_by_one_customer_is_found_and_a_different_one_is_not() -> None:
    earlier = [("J-1", sketch(numbers(0, 20_000), seed=SEED)), ("J-2", sketch(numbers(50_000, 70_000), seed=SEED))]
    found = find(sketch(numbers(1, 20_000), seed=SEED), earlier, threshold=0.95)
    assert [one.job for one in found] == ["J-1"]


def test_second_use_of_the_same_list_is_said_on_both_sides_and_recorded(three: Institutions, purpose: str) -> None:
    first, _ = three.run("broker", "bank", purpose)
    second, theirs = three.run("broker", "bank", purpose)
    assert "near_duplicates" not in first.result
    for party, job in (("broker", second), ("bank", theirs)):
        assert [one["job"] for one in job.result["near_duplicates"]] == [first.job]
        assert job.result["near_duplicates"][0]["share"] == 1.0
        started = three.entries(party, job.job, "intersection.attempt_started")[-1]
        assert (started.values["near_duplicates"], started.values["nearest"]) == ("1", first.job)
    shapes = [
        # In which order the last message and the release are written is a matter of threads.
        sorted((one.kind, sorted(one.values)) for one in three.entries("broker", job.job) if one.kind != "action.refused")
        for job in (first, second)
    ]
    assert shapes[0] == shapes[1], "the partner mirrors every entry and must not see that the list hardly changed"


def test_different_audience_is_not_a_near_duplicate(three: Institutions, purpose: str) -> None:
    three.run("broker", "bank", purpose)
    other, _ = three.run("broker", "bank", purpose, audience="资产档 in (A,B)")
    assert "near_duplicates" not in other.result
