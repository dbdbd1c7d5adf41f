"""The exchange of a session and its terms: a policy takes the shares it names, settings that differ make no session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import session_world as world
from session_world import (
    ALL_SUITES,
    BANK,
    BROKER_KEY,
    CARDNET_KEY,
    HYBRID,
    PQC,
    exchange,
    flips,
    initiator,
    refuse_message,
    responder,
    same_keys,
    share,
)
from workbench.channel.terms import SUITES, End, Order, Policy, SessionTerms
from workbench.errors import KeyUnavailable, Refused, WorkbenchError

# ------------------------------------------------------------------------------------------------- policies

QKD = SessionTerms(Policy.QKD_REQUIRED)


@pytest.mark.parametrize(
    ("terms", "provenance", "code"),
    [
        (QKD, None, "QKD_KEY_REQUIRED"),
        (QKD, "simulated", "PROVENANCE_REFUSED"),
        (QKD, "imported", "PROVENANCE_REFUSED"),
        (QKD, "device-014", ""),
        (replace(QKD, provenances=("simulated",)), "simulated", ""),
        (replace(QKD, provenances=("simulated",)), "device-014", "PROVENANCE_REFUSED"),
        (HYBRID, None, "QKD_KEY_REQUIRED"),
        (HYBRID, "simulated", ""),
        (HYBRID, "imported", ""),
        (replace(HYBRID, provenances=("device-014",)), "simulated", "PROVENANCE_REFUSED"),
        (PQC, None, ""),
        (PQC, "simulated", "PROVENANCE_REFUSED"),
        (PQC, "device-014", "PROVENANCE_REFUSED"),
    ],
)
def test_a_policy_takes_exactly_the_shares_it_names(terms: SessionTerms, provenance: str | None, code: str) -> None:
    qkd = share(1, provenance) if provenance else None
    arguments: dict[str, Any] = {"identity": "broker", "key": BROKER_KEY, "peer": BANK, "terms": terms, "qkd": qkd}
    if not code:
        mine, theirs = exchange(terms, qkd=qkd)
        assert same_keys(mine, theirs) and mine.provenance == (provenance or "")
        return
    with pytest.raises(WorkbenchError) as caught:
        world.Initiator(**arguments, retry_after_s=90)
    assert caught.value.code == code
    assert terms.policy.value in caught.value.en and terms.policy.value in caught.value.zh
    if code == "QKD_KEY_REQUIRED":
        assert isinstance(caught.value, KeyUnavailable) and caught.value.details["retry_after_s"] == "90"
        assert "90" in caught.value.zh and "90" in caught.value.en and "nothing else is used" in caught.value.en


def test_the_other_end_s_missing_key_ends_both_ends_with_the_time_to_try_again() -> None:
    one, other = initiator(), responder()
    assert other.receive_hello(one.hello()).key_id == share().key_id
    with pytest.raises(KeyUnavailable) as there:
        other.answer(None, retry_after_s=45)
    with pytest.raises(KeyUnavailable) as here:
        one.receive_answer(other.refusal)
    for caught in (there, here):
        assert caught.value.code == "QKD_KEY_REQUIRED"
        assert caught.value.details == {"policy": "hybrid-required", "missing": share().key_id, "retry_after_s": "45"}
        assert share().key_id in caught.value.zh and "45" in caught.value.zh and "45" in caught.value.en
    assert one.state == other.state == "ended"


def test_stores_that_disagree_about_a_key_s_origin_make_no_session() -> None:
    one, other = initiator(qkd=share(1, "device-014")), responder()
    other.receive_hello(one.hello())
    with pytest.raises(Refused) as caught:
        other.answer(share(1, "simulated"))
    assert (caught.value.code, caught.value.details) == ("SESSION_TERMS_DIFFER", {"field": "provenance"})


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("policy", {"policy": Policy.QKD_REQUIRED}),
        ("policy", {"policy": Policy.PQC_ONLY}),
        ("provenances", {"provenances": ("simulated",)}),
        ("order", {"order": Order.STRICT}),
        ("signed", {"signed": True}),
        ("group", {"group": "other"}),
        ("lease", {"lease": "other"}),
        ("evidence", {"own_evidence": "cd" * 32}),
    ],
)
def test_settings_that_differ_end_the_exchange_and_both_ends_know(field: str, change: dict[str, Any]) -> None:
    """Weaker or stronger, neither end gives way. `change` is how the responder's settings differ."""
    one, other = initiator(), responder(replace(HYBRID, **change))
    hello = one.hello()
    with pytest.raises(Refused) as caught:
        other.receive_hello(hello)
    assert (caught.value.code, caught.value.details) == ("SESSION_TERMS_DIFFER", {"field": field})
    with pytest.raises(Refused) as told:
        one.receive_answer(other.refusal)
    assert told.value.code == "SESSION_REFUSED" and told.value.details["reason"] == "SESSION_TERMS_DIFFER"
    with pytest.raises(Refused) as after:
        other.receive_hello(hello)
    assert after.value.code == "SESSION_BROKEN"


def test_the_responder_s_evidence_must_be_the_one_that_was_verified() -> None:
    terms = replace(HYBRID, peer_evidence="ee" * 32)
    one, other = initiator(terms), responder(replace(terms, peer_evidence="ff" * 32))
    other.receive_hello(one.hello())
    with pytest.raises(Refused) as caught:
        one.receive_answer(other.answer(share()))
    assert caught.value.details == {"field": "evidence"} and one.state == "ended"


def test_the_first_offered_suite_that_both_allow_is_taken() -> None:
    terms, fewer = (
        replace(HYBRID, suites=(ALL_SUITES[2], ALL_SUITES[1], ALL_SUITES[0])),
        replace(HYBRID, suites=ALL_SUITES[:2]),
    )
    mine, theirs = exchange(terms, other=responder(fewer))
    assert mine.suite is theirs.suite is SUITES[ALL_SUITES[1]] and same_keys(mine, theirs)


def test_without_a_common_suite_there_is_no_session() -> None:
    one, other = initiator(replace(HYBRID, suites=ALL_SUITES[:1])), responder(replace(HYBRID, suites=ALL_SUITES[1:]))
    with pytest.raises(Refused) as caught:
        other.receive_hello(one.hello())
    assert caught.value.code == "NO_COMMON_SUITE"
    with pytest.raises(Refused) as told:
        one.receive_answer(other.refusal)
    assert told.value.details["reason"] == "NO_COMMON_SUITE"


def test_a_refusal_that_was_touched_or_is_about_another_hello_ends_nothing() -> None:
    one, other = initiator(), responder()
    hello = one.hello()
    other.receive_hello(hello)
    refusal = other.refuse("BUSY", retry_after_s=5)
    for changed in flips(refusal):
        refuse_message(lambda changed=changed: one.receive_answer(changed))
    stranger = initiator()
    stranger.hello()
    refuse_message(lambda: stranger.receive_answer(refusal))
    with pytest.raises(Refused) as caught:
        one.receive_answer(refusal)
    assert caught.value.details == {"reason": "BUSY", "retry_after_s": "5"}


def test_an_answer_signed_for_weaker_terms_is_not_taken() -> None:
    """The responder's program was changed to answer `pqc-only` where both had agreed on more."""
    one, other = initiator(), responder()
    other.receive_hello(one.hello())
    other._terms = replace(other._terms, policy=Policy.PQC_ONLY)
    with pytest.raises(Refused) as caught:
        one.receive_answer(other.answer(share()))
    assert caught.value.details == {"field": "policy"} and one.state == "ended"


@pytest.mark.parametrize(
    ("said", "code"), [(("", ""), "QKD_KEY_REQUIRED"), ((share().key_id, "simulated"), "PROVENANCE_REFUSED")]
)
def test_an_initiator_that_was_changed_to_ask_for_less_is_refused_by_the_other_end(
    said: tuple[str, str], code: str
) -> None:
    terms = replace(HYBRID, provenances=("device-014",))
    one, other = initiator(terms, share(1, "device-014")), responder(terms)
    one._share = said
    with pytest.raises(WorkbenchError) as caught:
        other.receive_hello(one.hello())
    assert caught.value.code == code and other.state == "ended"


def _told(other: Any, **fields: str) -> None:
    """Make the responder believe that the hello said something else."""
    other._asked = replace(other._asked, body={**other._asked.body, **fields})


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("key_id", lambda other: _told(other, key_id=share(2).key_id)),
        ("suites", lambda other: setattr(other, "_suite", SUITES[ALL_SUITES[1]])),
    ],
)
def test_an_answer_about_another_key_or_suite_than_was_said_is_not_taken(
    field: str, change: Callable[[Any], None]
) -> None:
    one, other = initiator(), responder()
    other.receive_hello(one.hello())
    change(other)
    answer = other.answer(share(2) if field == "key_id" else share())
    with pytest.raises(Refused) as caught:
        one.receive_answer(answer)
    assert caught.value.details == {"field": field} and one.state == "ended"


def test_an_answer_that_names_other_ends_is_refused_although_the_right_key_signed_it() -> None:
    one, other = initiator(), responder()
    other.receive_hello(one.hello())
    other._peer = End("cardnet", CARDNET_KEY.public)
    refuse_message(lambda: one.receive_answer(other.answer(share())))


def test_a_confirm_needs_the_signature_besides_the_secret() -> None:
    """Whoever got hold of the initiator's memory, and so of the secret, but not of its signing key."""
    one, other = initiator(), responder()
    other.receive_hello(one.hello())
    one._key = CARDNET_KEY
    confirm, _ = one.receive_answer(other.answer(share()))
    refuse_message(lambda: other.receive_confirm(confirm))
