"""How long the keys of a site last: lines to one partner count together, one that gives none does not."""

from __future__ import annotations

import pytest
from workbench_qkd.capacity import Supply, by_partner

from tests.qkd.conftest import Site
from tests.qkd.entity import line
from workbench.domain.party import Role
from workbench.errors import Denied


def supply(name: str, *, available: int = 600, made: float = 20, burn: float = 120, gives: bool = True, peer: str = "bank") -> Supply:
    return Supply(name, peer, available, 100, made, burn, gives)


def test_lines_to_a_partner_are_added_up_and_another_source_makes_them_last() -> None:
    [one] = by_partner([supply("a1")])
    assert (one.available, one.missing_per_hour, one.hours_left, one.hours_to_low, one.first_out) == (600, 100, 6.0, 5.0, "a1")
    [two] = by_partner([supply("a1"), supply("b1", made=150, burn=0)])
    assert (two.lines, two.giving, two.available, two.missing_per_hour, two.hours_left) == (2, 2, 1200, 0, -1)
    assert two.first_out == "a1", "the other one goes on"


def test_a_line_that_is_cut_brings_nothing_and_what_was_asked_of_it_is_asked_of_the_others() -> None:
    [one] = by_partner([supply("a1", gives=False), supply("b1", available=1000, made=70, burn=0)])
    assert (one.lines, one.giving, one.available, one.missing_per_hour, one.hours_left) == (2, 1, 1000, 50, 20.0)
    [none] = by_partner([supply("a1", gives=False)])
    assert (none.giving, none.available, none.hours_left) == (0, 0, 0.0)


def test_partners_are_kept_apart() -> None:
    assert [(one.peer, one.lines) for one in by_partner([supply("a1"), supply("c1", peer="cardnet"), supply("b1")])] == [("bank", 2), ("cardnet", 1)]


def test_the_site_is_asked_as_a_whole_and_a_held_line_gives_nothing(site: Site) -> None:
    site.entity.known["b1"] = line("b1", available=300, low_water=100)
    told = site.call("qkd.capacity", Role.REGULATOR)
    [bank] = told.partners
    assert (bank.peer, bank.lines, bank.giving, bank.available) == ("bank", 2, 2, 900)
    site.entity.alarm("qber-drift")
    site.follow()
    told = site.call("qkd.capacity")
    assert [(one.line, one.gives) for one in told.lines] == [("a1", False), ("b1", True)]
    assert (told.partners[0].giving, told.partners[0].available) == (1, 300)
    with pytest.raises(Denied):
        site.node.gate.call("qkd.capacity", {}, site.three.caller("broker", Role.MARKETING))
