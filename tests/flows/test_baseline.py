"""A result that is not as usual is pointed out, from own-side numbers alone, and never from a handful of customers."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.commands.intersect import report_lines, summary
from workbench.client.session import Record
from workbench.domain.party import Role
from workbench.flows import waterfall
from workbench.flows.baseline import MATCH, compare_with_baseline
from workbench.node.intersections import job_info

from tests.flows import population
from tests.flows.institutions import Institutions


def rows(chosen: int, removed: dict[str, int], matched: int) -> list[dict[str, Any]]:
    usable = chosen - sum(removed.values())
    made = waterfall.before_run(chosen, chosen, usable, removed)
    return [*made, waterfall.row("matched", "", "", kept=matched, removed=usable - matched)]


USUAL = [rows(1000, {"NO_GRANT": 100 + step, "EXPIRED": 60}, 500) for step in range(4)]


def compared(now: list[dict[str, Any]], earlier: list[list[dict[str, Any]]], threshold: float = 0.1) -> list[dict[str, Any]]:
    return list(compare_with_baseline(now, earlier, threshold=threshold, floor=50)["deviations"])


def test_a_share_far_from_the_median_deviates_and_one_at_the_threshold_does_not() -> None:
    assert compared(USUAL[0], USUAL[1:]) == []
    more = compared(rows(1000, {"NO_GRANT": 400, "EXPIRED": 60}, 324), USUAL)
    assert [(one["code"], one["share"], one["is_below"]) for one in more] == [("NO_GRANT", 0.4, False)]
    fewer = compared(rows(1000, {"NO_GRANT": 100, "EXPIRED": 60}, 210), USUAL)
    assert [(one["code"], one["share"], one["median"]) for one in fewer] == [(MATCH, 0.25, 0.596)]
    exact = [rows(1000, {"NO_GRANT": 250}, 500)] * 3
    assert compared(rows(1000, {"NO_GRANT": 500}, 333), exact, threshold=0.25) == []


@pytest.mark.parametrize("count", [0, 1, 2])
def test_nothing_is_usual_before_three_jobs(count: int) -> None:
    told = compare_with_baseline(rows(1000, {"NO_GRANT": 900}, 60), USUAL[:count], threshold=0.1, floor=50)
    assert (told["earlier"], told["deviations"]) == (count, [])


def test_no_share_tells_of_fewer_customers_than_the_floor() -> None:
    earlier = [rows(200, {"EXPIRED": 80}, 100)] * 3
    told = {count: compared(rows(200, {"EXPIRED": count}, 100), earlier) for count in (1, 17, 49)}
    shown = [[one for one in found if one["code"] == "EXPIRED"] for found in told.values()]
    assert shown == [[{"code": "EXPIRED", "share": 0.25, "median": 0.4, "is_below": True}]] * 3
    assert not [one for one in compared(rows(200, {"WITHDRAWN": 49, "EXPIRED": 80}, 60), earlier) if one["code"] == "WITHDRAWN"]


def test_a_released_job_is_compared_with_the_earlier_ones_of_its_pair_and_purpose(three: Institutions, purpose: str) -> None:
    node = three.nodes["broker"]
    for expected in range(3):
        mine, theirs = three.run("broker", "bank", purpose)
        assert mine.result["baseline"]["earlier"] == theirs.result["baseline"]["earlier"] == expected
    three.call("broker", Role.COMPLIANCE, "consent.withdraw", phone=population.phone(90), purpose=purpose)
    kept = dict(node.settings._values)
    node.settings._values["intersection.baseline_deviation"] = 0.001
    try:
        mine, theirs = three.run("broker", "bank", purpose)
    finally:
        node.settings._values.clear()
        node.settings._values.update(kept)
    assert mine.result["baseline"]["earlier"] == 3
    assert [one["code"] for one in mine.result["baseline"]["deviations"]] == [MATCH]
    assert theirs.result["baseline"]["deviations"] == []  # its threshold is still 0.1
    told = "\n".join(report_lines(summary(Record(job_info(node, mine).model_dump())) | {"sealed": "2/3"}))
    assert "命中占比" in told and "median of the last 3" in told
