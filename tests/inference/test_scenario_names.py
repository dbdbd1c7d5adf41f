"""A scenario may be asked for as people call it: `scenario="投研"` in a notebook, on the command line, in an operation."""

from __future__ import annotations

import pytest
from workbench_inference.operations_ask import QuestionRequest
from workbench_inference.policy.scenarios import SCENARIOS, named, scenarios

from workbench import ask_commands
from workbench.cli import build_parser


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_taken_by_its_name_and_as_people_call_it(name: str) -> None:
    one = scenarios()[name]
    for called in (name, one.zh, one.en, f" {one.zh} "):
        assert named(called) == name
        assert QuestionRequest(question="管理费率是多少？", scenario=called).scenario == name
    assert ask_commands.SCENARIOS[name] == one.zh, "the command calls it as the node does"
    words = ["ask", "folder", "管理费率是多少？", "--party", "broker", "--scenario"]
    assert {build_parser().parse_args([*words, called]).scenario for called in (name, one.zh)} == {name}


@pytest.mark.parametrize("called", ["投机", "投研投顾", "", "Research\n", "*"])
def test_what_is_called_otherwise_stays_refused(called: str) -> None:
    assert named(called.strip("\n") + "?") not in SCENARIOS
    if called.strip().lower() not in SCENARIOS:
        with pytest.raises(ValueError, match="scenario"):
            QuestionRequest(question="管理费率是多少？", scenario=called)
