"""The allow-list: two people for every change, and no quiet edit afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from institutions import NOW, institution

from workbench.crypto import canonical
from workbench.domain.party import PartyId, PersonId
from workbench.errors import NotFound, Refused, VerificationError
from workbench.node.keys import format_bundle
from workbench.node.trust import (
    TrustChange,
    TrustStore,
    approve,
    enrol,
    export_trust,
    format_change,
    format_proposal,
    parse_change,
    parse_proposal,
    parse_trust,
    propose_addresses,
    propose_bundle,
    propose_removal,
)

WANG, CHEN = PersonId("wang"), PersonId("chen")
BROKER = institution("broker")
BANK = format_bundle(institution("bank").bundle)
CARDNET = format_bundle(institution("cardnet").bundle)


def store_with(*bundles: bytes) -> TrustStore:
    store = TrustStore(BROKER.bundle)
    for bundle in bundles:
        store = enrol(store, bundle, proposed_by=WANG, approved_by=CHEN, at_ms=1, key=BROKER.contract)
    return store


def test_two_people_enrol_a_partner() -> None:
    store = TrustStore(BROKER.bundle)
    proposal = propose_bundle(store, BANK, by=WANG, at_ms=1)
    assert store.partners == {}
    after = approve(store, proposal, confirmed=proposal.digest(), by=CHEN, at_ms=2, key=BROKER.contract)
    assert after.parties() == ("bank", "broker")
    assert after.peer_addresses()[0] == institution("bank").bundle.peer_address()
    assert store.partners == {}


def test_nobody_approves_their_own_proposal() -> None:
    store = TrustStore(BROKER.bundle)
    proposal = propose_bundle(store, BANK, by=WANG, at_ms=1)
    with pytest.raises(Refused) as refusal:
        approve(store, proposal, confirmed=proposal.digest(), by=WANG, at_ms=2, key=BROKER.contract)
    assert refusal.value.code == "OWN_PROPOSAL"


def test_what_is_approved_is_what_was_shown() -> None:
    store = TrustStore(BROKER.bundle)
    shown = propose_bundle(store, BANK, by=WANG, at_ms=1)
    swapped = propose_bundle(store, CARDNET, by=WANG, at_ms=1)
    with pytest.raises(Refused) as refusal:
        approve(store, swapped, confirmed=shown.digest(), by=CHEN, at_ms=2, key=BROKER.contract)
    assert refusal.value.code == "DIGEST_DIFFERS"


def test_a_proposal_made_before_another_change_is_stale() -> None:
    store = TrustStore(BROKER.bundle)
    early = propose_bundle(store, CARDNET, by=WANG, at_ms=1)
    with pytest.raises(Refused) as refusal:
        approve(store_with(BANK), early, confirmed=early.digest(), by=CHEN, at_ms=2, key=BROKER.contract)
    assert refusal.value.code == "STALE_PROPOSAL"


def test_addresses_can_be_narrowed_and_partners_removed() -> None:
    store = store_with(BANK, CARDNET)
    proposal = propose_addresses(store, PartyId("bank"), ["10.1.0.0/16", "127.0.0.13"], by=CHEN, at_ms=3)
    store = approve(store, proposal, confirmed=proposal.digest(), by=WANG, at_ms=4, key=BROKER.contract)
    assert store.partner(PartyId("bank")).peer_address().source_addresses == ("10.1.0.0/16", "127.0.0.13")
    removal = propose_removal(store, PartyId("bank"), by=WANG, at_ms=5)
    store = approve(store, removal, confirmed=removal.digest(), by=CHEN, at_ms=6, key=BROKER.contract)
    assert store.parties() == ("broker", "cardnet")
    with pytest.raises(NotFound):
        store.partner(PartyId("bank"))
    assert TrustStore.replay(BROKER.bundle, [format_change(change) for change in store.changes]) == store


def test_the_list_is_the_outcome_of_its_changes() -> None:
    store = store_with(BANK, CARDNET)
    assert TrustStore.replay(BROKER.bundle, [format_change(change) for change in store.changes]) == store


def test_an_altered_left_out_moved_or_invented_change_stops_the_node() -> None:
    store = store_with(BANK, CARDNET)
    first, second = (format_change(change) for change in store.changes)
    for chain in ([second], [second, first], [first, first], [first, second, second]):
        with pytest.raises(VerificationError):
            TrustStore.replay(BROKER.bundle, chain)
    edits: list[Callable[[TrustChange], TrustChange]] = [
        lambda change: replace(change, approved_by=PersonId("zhao")),
        lambda change: replace(change, approved_at_ms=9),
        lambda change: replace(change, proposal=replace(change.proposal, bundle=CARDNET)),
        lambda change: replace(change, proposal=replace(change.proposal, proposed_by=CHEN)),
        lambda change: replace(change, signature=bytes(64)),
        lambda change: replace(change, signature=institution("bank").contract.sign(b"x")),
    ]
    for edit in edits:
        with pytest.raises(VerificationError):
            TrustStore.replay(BROKER.bundle, [format_change(edit(store.changes[0])), second])


def test_two_histories_of_one_node_are_not_woven_together() -> None:
    """A restored database may hold another first change; the second one names what it followed."""
    ours = store_with(BANK).changes[0]
    twin = enrol(TrustStore(BROKER.bundle), BANK, proposed_by=CHEN, approved_by=WANG, at_ms=9, key=BROKER.contract)
    twin = enrol(twin, CARDNET, proposed_by=WANG, approved_by=CHEN, at_ms=9, key=BROKER.contract)
    with pytest.raises(VerificationError):
        TrustStore.replay(BROKER.bundle, [format_change(ours), format_change(twin.changes[1])])


def test_a_change_by_one_person_is_refused_even_if_the_node_signed_it() -> None:
    """A node that was made to sign such a change must still not start from it."""
    change = store_with(BANK).changes[0]
    alone = replace(change, approved_by=change.proposal.proposed_by)
    fields = json.loads(format_change(alone))
    del fields["signature"]
    signature = BROKER.contract.sign(b"workbench/v1/trust-change\nbroker\n\n" + canonical.format(fields))
    with pytest.raises(VerificationError):
        TrustStore.replay(BROKER.bundle, [format_change(replace(alone, signature=signature))])


def test_every_one_byte_change_of_a_stored_change_is_refused() -> None:
    data = format_change(store_with(BANK).changes[0])
    for position in range(len(data)):
        altered = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        with pytest.raises(VerificationError):
            TrustStore.replay(BROKER.bundle, [altered])


def test_changes_and_proposals_parse_to_themselves() -> None:
    change = store_with(BANK).changes[0]
    assert parse_change(format_change(change)) == change
    assert parse_proposal(format_proposal(change.proposal)) == change.proposal
    for data in (b"", b"{}", format_change(change) + b" "):
        with pytest.raises(VerificationError):
            parse_change(data)
        with pytest.raises(VerificationError):
            parse_proposal(data)


def test_an_institution_is_not_its_own_partner() -> None:
    with pytest.raises(Refused) as refusal:
        propose_bundle(TrustStore(BROKER.bundle), format_bundle(BROKER.bundle), by=WANG, at_ms=1)
    assert refusal.value.code == "OWN_BUNDLE"


def test_only_a_newer_bundle_replaces_one() -> None:
    store = store_with(BANK)
    with pytest.raises(Refused) as refusal:
        propose_bundle(store, BANK, by=WANG, at_ms=2)
    assert refusal.value.code == "OLD_BUNDLE"
    newer = institution("bank").with_address(host="127.0.0.13", port=8000, now=NOW)
    store = enrol(store, format_bundle(newer.bundle), proposed_by=WANG, approved_by=CHEN, at_ms=3, key=BROKER.contract)
    assert store.partner(PartyId("bank")).bundle.port == 8000


def test_one_key_never_stands_under_two_names() -> None:
    """Otherwise one institution could give two of the three co-signatures."""
    bank, cardnet = institution("bank"), institution("cardnet")
    value = json.loads(format_bundle(cardnet.bundle))
    value["cosign_sm2"] = bank.bundle.cosign_sm2.format()
    del value["signature"]
    signature = cardnet.contract.sign(b"workbench/v1/bundle\ncardnet\n\n" + canonical.format(value))
    borrowed = canonical.format({**value, "signature": signature.hex()})
    with pytest.raises(Refused) as refusal:
        propose_bundle(store_with(BANK), borrowed, by=WANG, at_ms=1)
    assert refusal.value.code == "SHARED_KEY"


@pytest.mark.parametrize("addresses", [[], ["everywhere"], ["10.0.0.1/8"], ["10.0.0.1"] * 17, [""]])
def test_what_is_no_address_is_refused(addresses: list[str]) -> None:
    with pytest.raises(Refused) as refusal:
        propose_addresses(store_with(BANK), PartyId("bank"), addresses, by=WANG, at_ms=1)
    assert refusal.value.code == "BAD_ADDRESS"


def test_the_trust_file_pins_the_keys_of_all_parties() -> None:
    data = export_trust(store_with(BANK, CARDNET).bundles())
    pinned = parse_trust(data)
    assert sorted(pinned) == ["bank", "broker", "cardnet"]
    assert pinned[PartyId("bank")].cosign_sm2 == institution("bank").bundle.cosign_sm2
    assert pinned[PartyId("broker")].cosign_ed25519 == BROKER.bundle.cosign_ed25519
    assert parse_trust(data + b"\n") == pinned


def test_a_trust_file_that_contradicts_itself_is_refused() -> None:
    value = json.loads(export_trust(store_with(BANK).bundles()))
    first, second = value["parties"]
    for parties in (
        [],
        [first, first],
        [first, {**second, "cosign_sm2": first["cosign_sm2"]}],
        [{**first, "party": "B"}],
        ["x"],
    ):
        with pytest.raises(VerificationError):
            parse_trust(canonical.format({**value, "parties": parties}))
    for wrong in (b"", b"{}", canonical.format({**value, "v": 2}), canonical.format({**value, "kind": "bundle"})):
        with pytest.raises(VerificationError):
            parse_trust(wrong)
