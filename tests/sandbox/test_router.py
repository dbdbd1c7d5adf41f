"""Which engine is asked, and which next."""

from __future__ import annotations

import pytest

from workbench_sandbox.engines.router import Candidate, choose, falls_back

ALL = (
    Candidate("small", "generator"), Candidate("quotes", "extractive"), Candidate("large-a", "upstream", "behind", 3), Candidate("large-b", "upstream", "behind", 1),
)  # fmt: skip


def test_a_scenario_has_its_order_and_the_less_busy_comes_first() -> None:
    assert choose("research", ALL) == ["large-b", "large-a", "quotes", "small"]
    assert choose("advice", ALL) == ["quotes", "large-b", "large-a"]
    assert choose("risk", ALL) == ["quotes"]


def test_what_is_gone_or_behind_is_left_out_and_the_next_takes_its_place() -> None:
    gone = [one if one.kind != "upstream" else Candidate(one.name, one.kind, one.place, -1) for one in ALL]
    assert choose("research", gone) == ["quotes", "small"] == choose("research", ALL, behind=False)
    assert choose("risk", [one for one in ALL if one.kind != "extractive"]) == []


def test_failures_fall_back_and_refusals_do_not() -> None:
    assert falls_back("ENGINE_FAILED") and falls_back("SANDBOX_ENDED")
    assert not falls_back("CLASS_TOO_HIGH") and not falls_back("USAGE_MISSING") and not falls_back("")
    with pytest.raises(ValueError, match="scenario"):
        choose("trading", ALL)
