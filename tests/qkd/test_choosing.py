"""Several lines to one partner: the first that can, never one under a weaker policy."""

from __future__ import annotations

from typing import Any

import pytest
from workbench_qkd.choosing import Candidate, first_usable

from tests.qkd.entity import line

ORIGINS = ("device-014",)


def candidate(name: str, policy: str = "hybrid-required", *, held: bool = False, **changes: Any) -> Candidate:
    return Candidate(line(name, **changes), policy, held)


def test_the_first_line_by_name_is_taken_while_it_can_be() -> None:
    made = first_usable([candidate("b1"), candidate("a1")], ORIGINS)
    assert (made.taken.line.line, made.policy, made.is_usable, made.passed) == ("a1", "hybrid-required", True, {})
    assert made.of("b1") is not None and made.of("c1") is None


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (candidate("a1", held=True), "held"),
        (candidate("a1", state="alarm"), "alarm"),
        (candidate("a1", state="out-of-step"), "out-of-step"),
        (candidate("a1", state="disabled"), "disabled"),
        (candidate("a1", peer_reachable=False), "peer-unreachable"),
        (candidate("a1", available=0), "no keys"),
        (candidate("a1", "pqc-only"), "policy"),
    ],
)
def test_another_one_is_taken_and_it_is_said_why_not_the_first(first: Candidate, why: str) -> None:
    made = first_usable([first, candidate("b1")], ORIGINS)
    assert (made.taken.line.line, made.policy, made.passed) == ("b1", "hybrid-required", {"a1": why})


def test_a_line_with_a_weaker_policy_takes_nobodys_place() -> None:
    made = first_usable([candidate("a1", "qkd-required", provenance="device-014", state="alarm"), candidate("b1"), candidate("c1", "pqc-only")], ORIGINS)
    assert (made.taken.line.line, made.policy, made.is_usable, made.passed) == ("a1", "qkd-required", False, {})
    made = first_usable([candidate("a1", "qkd-required"), candidate("b1", "qkd-required", provenance="device-014")], ORIGINS)
    assert (made.taken.line.line, made.passed) == ("b1", {"a1": "origin"})


def test_without_a_share_an_empty_line_is_as_good_as_a_full_one() -> None:
    assert first_usable([candidate("a1", "pqc-only", available=0), candidate("b1", "pqc-only")], ORIGINS).taken.line.line == "a1"
