"""Which co-signatures make which entry sealed: docs/protocols/ledger.md section 3."""

from __future__ import annotations

import itertools

import pytest

from workbench.domain.checkpoint import PartyKeys
from workbench.domain.party import PartyId
from workbench.domain.policy import POLICIES, Requirement, policy_of, requirement

BROKER, CARDNET, BANK = PartyId("broker"), PartyId("cardnet"), PartyId("bank")
ALL = (BANK, BROKER, CARDNET)


def need(kind: str, *participants: PartyId, subject: str = "", mldsa: tuple[str, ...] = ()) -> Requirement:
    return requirement(
        kind, log=BROKER, participants=participants, members=ALL, subject=subject, mldsa_kinds=mldsa
    )


def test_every_kind_fits_exactly_one_row_and_the_last_row_fits_all() -> None:
    assert POLICIES[-1].prefix == ""
    for kind in ("intersection.released", "ledger.started", "ledger.member_approved", "x.y"):
        first = policy_of(kind)
        assert kind.startswith(first.prefix)
        assert all(not kind.startswith(one.prefix) for one in POLICIES[: POLICIES.index(first)])


@pytest.mark.parametrize(
    ("found", "parties", "least"),
    [
        (need("intersection.released", BROKER, BANK), {BROKER, BANK}, 2),
        (need("intersection.released", BANK), {BROKER, BANK}, 2),
        (need("lists.imported"), {BROKER}, 2),
        (need("ledger.started", BANK), {BROKER}, 2),
        (need("ledger.member_approved", subject="cardnet"), {BROKER, BANK}, 2),
        (need("ledger.member_changed", subject="telecom"), set(ALL), 2),
    ],
)
def test_what_each_kind_needs(found: Requirement, parties: set[PartyId], least: int) -> None:
    assert (found.parties, found.at_least, found.mldsa) == (parties, least, False)


def test_nothing_is_sealed_by_its_own_institution_alone() -> None:
    for kind in ("intersection.released", "ledger.started", "ledger.member_changed", "people.added"):
        assert not need(kind).is_met_by([BROKER])
        assert not need(kind).is_met_by([])


def test_a_requirement_is_met_by_exactly_those_sets_that_hold_its_parties_and_number() -> None:
    wanted = need("intersection.released", BROKER, BANK)
    for size in range(4):
        for signers in itertools.combinations(ALL, size):
            assert wanted.is_met_by(signers) is ({BROKER, BANK} <= set(signers))
    alone = need("lists.imported")
    for size in range(4):
        for signers in itertools.combinations(ALL, size):
            assert alone.is_met_by(signers) is (BROKER in signers and len(signers) >= 2)
    assert wanted.missing([BROKER, CARDNET]) == (BANK,)


def test_the_third_line_is_demanded_by_prefix() -> None:
    assert need("intersection.released", BANK, mldsa=("intersection.",)).mldsa
    assert not need("lists.imported", mldsa=("intersection.",)).mldsa


def test_members_are_those_of_the_entry_and_count_until_the_end_of_the_checkpoint() -> None:
    """Sections 7.3: from its `left` index on an institution counts for nothing, before its `joined` index neither."""
    key = PartyKeys(CARDNET, None, None, joined={BROKER: 10}, left={BROKER: 20})  # type: ignore[arg-type]
    assert [key.is_member(BROKER, index) for index in (0, 9, 10, 19, 20, 99)] == [False, False, True, True, False, False]
    assert key.counts(BROKER, 12, 20)
    assert not key.counts(BROKER, 12, 21)
    assert not key.is_member(BANK, 50)  # that log has not told of the join
    assert key.is_member(CARDNET, 0)
    founding = PartyKeys(CARDNET, None, None)  # type: ignore[arg-type]
    assert founding.counts(BROKER, 0, 1)
