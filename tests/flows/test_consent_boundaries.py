"""Consent withdrawn between selection and release, at each boundary (decision 10): where it counts, and what remains."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from workbench.contracts import ConsentDecision, GrantQuery
from workbench.domain.intersection import KeyKind
from workbench.domain.party import PartyId, Role
from workbench.errors import WorkbenchError

from tests.flows import population
from tests.flows.institutions import Institutions

COMMON = [one for one in population.KNOWN["broker"] if one in population.KNOWN["bank"]]


def withdrawing(three: Institutions, party: str, purpose: str, *people: int) -> Callable[[], None]:
    def act() -> None:
        for person in people:
            three.call(
                party,
                Role.COMPLIANCE,
                "consent.withdraw",
                phone=population.phone(person),
                id_no=population.id_no(person),
                purpose=purpose,
            )

    return act


def without(purpose: str, *people: int) -> list[str]:
    gone = {population.phone(one) for one in people}
    return [one for one in population.expected("broker", "bank", purpose) if one not in gone]


@pytest.mark.parametrize("party", ["broker", "bank"])
def test_withdrawn_after_the_proposal_is_left_out_of_the_selection(
    three: Institutions, purpose: str, party: str
) -> None:
    job = three.propose("broker", "bank", purpose)
    withdrawing(three, party, purpose, 80)()
    three.approve("bank", job)
    mine, theirs = three.both("broker", "bank", job, "RELEASED")
    assert three.released_phones("broker", job) == three.released_phones("bank", job) == without(purpose, 80)
    assert (mine.result["struck"], mine.result["dropped"]) == (0, 0)
    found = mine if party == "broker" else theirs
    assert found.waterfall[2]["reasons"]["WITHDRAWN"] == 1


@pytest.mark.parametrize("party", ["broker", "bank"])
def test_withdrawn_after_the_selection_is_struck_before_anything_is_revealed(
    three: Institutions, purpose: str, party: str
) -> None:
    job = three.propose("broker", "bank", purpose)
    # Both have made their points when these leave; one of the two withdrawn is known to one side only.
    three.wire.before(party, "points-commit", withdrawing(three, party, purpose, 81, 10 if party == "broker" else 215), job=job)
    three.approve("bank", job)
    mine, theirs = three.both("broker", "bank", job, "RELEASED")
    assert three.released_phones("broker", job) == three.released_phones("bank", job) == without(purpose, 81)
    for found in (mine, theirs):
        assert (found.result["struck"], found.result["dropped"]) == (1, 0)
        assert found.result["cardinality"] == 98 and found.result["released"] == 97
        assert [step["kept"] for step in found.waterfall[-2:]] == [98, 97]
    struck = {name: three.entries(name, job, "intersection.struck")[0].values for name in ("broker", "bank")}
    other = "bank" if party == "broker" else "broker"
    assert struck[party]["own_class"] == struck[other]["partner_class"] == "64"


@pytest.mark.parametrize("party", ["broker", "bank"])
def test_withdrawn_between_strike_and_drop_is_dropped_at_the_last_check(
    three: Institutions, purpose: str, party: str
) -> None:
    job = three.propose("broker", "bank", purpose)
    three.wire.before(party, "slice", withdrawing(three, party, purpose, 82), job=job, nth=30)
    three.approve("bank", job)
    mine, theirs = three.both("broker", "bank", job, "RELEASED")
    assert three.released_phones("broker", job) == three.released_phones("bank", job) == without(purpose, 82)
    for name, found in (("broker", mine), ("bank", theirs)):
        assert (found.result["struck"], found.result["dropped"]) == (0, 1)
        assert three.entries(name, job, "intersection.released")[0].values["dropped"] == "1"
        assert three.entries(name, job, "intersection.grants")[0].values["checked"] == "97"


def test_withdrawn_after_release_is_withheld_from_the_export(three: Institutions, purpose: str) -> None:
    mine, _ = three.run("broker", "bank", purpose)
    withdrawing(three, "broker", purpose, 83, 84)()
    reply, data = three.exported("broker", mine.job)
    assert (reply.customers, reply.withheld) == (96, 2)
    phones = [line.split(",")[1] for line in data.decode("utf-8-sig").split("\r\n")[1:-1]]
    assert phones == without(purpose, 83, 84)
    entry = three.entries("broker", mine.job, "intersection.exported")[0]
    assert (entry.values["customers"], entry.values["withheld"]) == ("96", "2")


def test_who_refuses_a_channel_after_release_is_not_in_the_file_for_that_channel(three: Institutions, purpose: str) -> None:
    """Row B15: the list stays released; each file is decided anew for the channel it is meant for."""
    mine, _ = three.run("broker", "bank", purpose)
    for person in (87, 88):
        three.call("broker", Role.COMPLIANCE, "consent.opt_out", phone=population.phone(person), id_no=population.id_no(person), what=["sms"])
    reply, data = three.exported("broker", mine.job, contact="sms")
    assert (reply.customers, reply.withheld) == (96, 2)
    phones = [line.split(",")[1] for line in data.decode("utf-8-sig").split("\r\n")[1:-1]]
    assert phones == without(purpose, 87, 88)
    assert three.exported("broker", mine.job, contact="call")[0].withheld == three.exported("broker", mine.job)[0].withheld == 0
    with pytest.raises(WorkbenchError, match="UNKNOWN_CHANNEL"):
        three.exported("broker", mine.job, contact="pigeon")


def test_a_grant_that_ends_during_the_run_is_struck_without_any_withdrawal(three: Institutions, purpose: str) -> None:
    """Nothing changes in the registry; for one side the second question comes after the end of every grant."""
    job = three.propose("broker", "bank", purpose)
    bank = three.nodes["bank"]
    rules, registry = bank.flow._rules, bank.consent
    century_ms = 100 * 365 * 86_400_000

    def late(frame: pl.DataFrame, partner: PartyId, code: str, kind: KeyKind, job: str = "") -> ConsentDecision:
        return registry.decide(frame, GrantQuery(code, partner, bank.now_ms() + century_ms, kind))

    def turn() -> None:
        rules.decide, registry.changed_since = late, lambda as_of: True  # type: ignore[method-assign]

    three.wire.before("bank", "reply", turn, job=job)
    try:
        three.approve("bank", job)
        mine, theirs = three.both("broker", "bank", job, "REFUSED_SMALL")
    finally:
        del rules.decide, registry.changed_since
    assert mine.result == theirs.result == {}


def test_strikes_below_the_floor_end_before_the_reveal(three: Institutions, purpose: str) -> None:
    """98 in common, 98 demanded: one withdrawal is enough. What was signed at or above the floor may stay in evidence."""
    job = three.propose("broker", "bank", purpose, minimum_crowd=98)
    three.wire.before("bank", "points-commit", withdrawing(three, "bank", purpose, 85), job=job)
    three.approve("bank", job)
    found = three.both("broker", "bank", job, "REFUSED_SMALL")
    for name, one in zip(("broker", "bank"), found, strict=True):
        kinds = three.kinds(name, job)
        assert "intersection.struck" not in kinds and kinds[-1] == "intersection.refused_small"
        assert not [e for e in three.entries(name, job, "intersection.message") if e.values["message"] == "slice"]
        assert one.result == {} and one.error["details"] == {"after_reveal": "no"}
        assert "97" not in [value for entry in three.entries(name, job) for value in entry.values.values()]


def test_drops_below_the_floor_refuse_and_shred(three: Institutions, purpose: str) -> None:
    job = three.propose("broker", "bank", purpose, minimum_crowd=98)
    three.wire.before("broker", "slice", withdrawing(three, "broker", purpose, 86), job=job, nth=10)
    three.approve("bank", job)
    found = three.both("broker", "bank", job, "REFUSED_SMALL")
    for name, one in zip(("broker", "bank"), found, strict=True):
        assert one.result == {} and one.error["details"] == {"after_reveal": "yes"}
        node = three.nodes[name]
        with node.store.read() as reader:
            assert not node.vault.names(reader, f"result/{job}")
        assert "intersection.released" not in three.kinds(name, job)
        with pytest.raises(WorkbenchError, match="NOT_RELEASED"):
            three.call(name, Role.MARKETING, "intersection.result", job=job)


def test_somebody_outside_the_audience_who_shares_a_key_counts_during_the_run_too(
    apart: Institutions, tmp_path: object
) -> None:
    """Decision 16: the second customer with the phone is not in the audience; when they withdraw, the first goes too."""
    from pathlib import Path

    from tests.flows.institutions import CATALOGUE

    folder = Path(str(tmp_path))
    rows = ["客户号,手机号,身份证号,资产档"]
    rows += [f"a{one},{population.phone(one)},{population.id_no(one)},A" for one in COMMON]
    rows.append(f"b1,{population.phone(COMMON[0])},{population.id_no(701)},B")
    (folder / "list.csv").write_text("\n".join(rows) + "\n", "utf-8")
    grants = ["phone,id_no,purpose,recipient,valid_from,valid_until"]
    grants.append(f"{population.phone(COMMON[0])},{population.id_no(701)},customer-service,bank,2020-01-01,2099-12-31")
    (folder / "grants.csv").write_text("\n".join(grants) + "\n", "utf-8")
    list_id = apart.call(
        "broker", Role.MARKETING, "lists.import", file=apart.upload("broker", folder / "list.csv"), catalogue=CATALOGUE
    ).list_id
    apart.call("broker", Role.COMPLIANCE, "consent.import", file=apart.upload("broker", folder / "grants.csv"))
    choose = {"list_id": list_id, "audience": "资产档 = A"}
    both_live, _ = apart.run("broker", "bank", "customer-service", **choose)
    assert population.phone(COMMON[0]) in apart.released_phones("broker", both_live.job)

    def leave() -> None:
        apart.call("broker", Role.COMPLIANCE, "consent.withdraw", id_no=population.id_no(701), suppress=False)

    job = apart.propose("broker", "bank", "customer-service", **choose)
    apart.wire.before("broker", "points-commit", leave, job=job)
    apart.approve("bank", job)
    mine, _ = apart.both("broker", "bank", job, "RELEASED")
    assert mine.result["struck"] == 1
    assert population.phone(COMMON[0]) not in apart.released_phones("bank", job)
    # From now on the key is ambiguous at the selection, and at the export of the list released before.
    reply, _ = apart.exported("broker", both_live.job)
    assert reply.withheld == 1
    preview = apart.call(
        "broker", Role.MARKETING, "intersection.preview", partner="bank", purpose="customer-service", **choose
    )
    assert preview.reasons["AMBIGUOUS_KEY"] == 1


def test_a_snapshot_of_consent_serves_one_attempt_once(three: Institutions, purpose: str) -> None:
    """Row C5: each attempt takes its own, and a spent one is refused."""
    mine, _ = three.run("broker", "bank", purpose)
    node = three.nodes["broker"]
    snapshot = three.entries("broker", mine.job, "consent.snapshot")[0]
    assert snapshot.values["usable"] == str(len(population.usable("broker", "bank", purpose)))
    query = GrantQuery(purpose, PartyId("bank"), node.now_ms(), KeyKind.PHONE)
    for attempt, code in ((1, "SNAPSHOT_USED"), (2, "SNAPSHOT_OTHER_USE")):
        with pytest.raises(WorkbenchError, match=code):
            node.store.write(
                lambda tx, attempt=attempt: node.consent.use_snapshot(
                    tx, snapshot.values["snapshot"], job=mine.job, attempt=attempt, query=query
                )
            )
