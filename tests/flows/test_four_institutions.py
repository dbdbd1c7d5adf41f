"""A fourth institution is a party like the others: whoever proposes, the same customers come out (requirement A2)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.domain.party import Role
from workbench.workspace import create_workspace

from tests.flows import population
from tests.flows.institutions import (
    CATALOGUE,
    Institutions,
    running,
    write_consents,
    write_customers,
    write_settings,
)

KNOWN = {"broker": range(160), "org4": range(40, 230)}
WITHOUT = {"broker": 7, "org4": 11}
"""Every so-manyth person has given an institution no consent."""


def granted(party: str) -> set[str]:
    return {population.phone(one) for one in KNOWN[party] if one % WITHOUT[party]}


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Institutions]:
    """Four members from the start; the two that meet have lists and grants."""
    folder: Path = tmp_path_factory.mktemp("four")
    workspace = create_workspace(folder / "workspace", kind="test", parties=("broker", "cardnet", "bank", "org4"))
    for party in workspace.parties:
        write_settings(workspace, party)
    with running(workspace) as made:
        for party, other in (("broker", "org4"), ("org4", "broker")):
            rows = [(f"{party}-{one}", population.phone(one), "A") for one in KNOWN[party]]
            customers = made.upload(party, write_customers(folder / f"{party}.csv", rows))
            made.call(party, Role.MARKETING, "lists.import", file=customers, catalogue=CATALOGUE)
            grants = write_consents(folder / f"{party}-grants.csv", [(one, other) for one in sorted(granted(party))], purpose=population.RICH)
            made.call(party, Role.COMPLIANCE, "consent.import", file=made.upload(party, grants))
        yield made
    shutil.rmtree(folder)


@pytest.mark.parametrize(("first", "second"), [("org4", "broker"), ("broker", "org4")])
def test_the_fourth_institution_gets_what_naive_sets_give_whoever_proposes(four: Institutions, first: str, second: str) -> None:
    expected = sorted(granted("broker") & granted("org4"))
    assert 50 < len(expected) < len(KNOWN["broker"])
    mine, theirs = four.run(first, second, population.RICH)
    assert four.released_phones(first, mine.job) == four.released_phones(second, mine.job) == expected
    assert mine.result["released"] == theirs.result["released"] == len(expected)
    four.wait_until(
        lambda: four.call(first, Role.COMPLIANCE, "evidence.receipt", job=mine.job).sealed == "4/4", timeout_s=90
    )
