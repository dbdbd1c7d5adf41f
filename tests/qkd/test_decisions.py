"""Decisions about a line are signed: what was altered, moved, left out or signed by somebody else counts for nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from workbench_qkd import deciding, policies
from workbench_qkd.deciding import LineRequest

from tests.qkd.conftest import Site
from workbench.crypto import canonical, sm2
from workbench.domain.party import PartyId, Role
from workbench.errors import VerificationError, WorkbenchError

BROKER = PartyId("broker")
KEY, STRANGER = sm2.generate(), sm2.generate()
REASON = "线路设备检修，两日内恢复"


def request(**changes: Any) -> LineRequest:
    values: dict[str, Any] = {
        "line": "a1", "act": "policy", "target": "pqc-only", "before": "hybrid-required", "first": "p-one", "asked_ms": 1000, "until_ms": 9000, "nonce": "0" * 32,
    }  # fmt: skip
    return LineRequest(**{**values, **changes})


def decision(number: int = 1, previous: str = "", second: str = "p-two", key: sm2.PrivateKey = KEY, **changes: Any) -> bytes:
    asked = deciding.sign_request(request(**changes), party=BROKER, key=key)
    _, body = deciding.decide(asked, second=second, decided_ms=2000, number=number, previous=previous, party=BROKER, key=key)
    return body


def chain() -> list[bytes]:
    first = decision()
    second = decision(2, deciding.digest(first), act="resume", target="", before="", nonce="1" * 32)
    return [first, second, decision(3, deciding.digest(second), second="", before="pqc-only", target="qkd-required", nonce="2" * 32)]


def refused(data: bytes, *, party: str = "broker", key: sm2.PublicKey = KEY.public) -> bool:
    try:
        deciding.read_decision(data, party=PartyId(party), key=key)
    except VerificationError as error:
        assert error.code == "LINE_DECISION"
        return True
    return False


def test_a_signed_decision_reads_back_with_both_people_and_no_altered_byte_of_it_does() -> None:
    body = decision()
    made = deciding.read_decision(body, party=BROKER, key=KEY.public)
    assert (made.request.first, made.second, made.request.target) == ("p-one", "p-two", "pqc-only")
    for at in range(0, len(body), 7):
        assert refused(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]), at
    assert refused(body, key=STRANGER.public)
    assert refused(body, party="bank"), "what one institution signed is nothing that another one decided"
    assert refused(decision(key=STRANGER))
    assert refused(body + b"\n")


def test_a_request_of_another_signature_cannot_be_put_into_a_decision() -> None:
    told = json.loads(decision())
    other = json.loads(decision(target="hybrid-required", before="qkd-required"))
    told["decision"]["request"] = other["decision"]["request"]
    assert refused(canonical.format(told))
    body = deciding.sign_request(request(), party=BROKER, key=STRANGER)
    with pytest.raises(VerificationError):
        deciding.decide(body, second="p-two", decided_ms=2000, number=1, previous="", party=BROKER, key=KEY)


def test_one_person_alone_signs_no_weaker_policy_and_no_resumption() -> None:
    for changes in ({}, {"act": "resume", "target": "", "before": ""}):
        for second in ("", "p-one"):
            with pytest.raises(ValueError, match="two people"):
                decision(second=second, **changes)
    assert not refused(decision(second="", before="pqc-only", target="qkd-required"))


def test_decisions_follow_one_another() -> None:
    whole = chain()
    assert [one.number for one in deciding.check_chain(whole, party=BROKER, key=KEY.public)] == [1, 2, 3]
    for broken in ([whole[0], whole[2]], whole[1:], [whole[1], whole[0], whole[2]], [whole[0], whole[0]]):
        with pytest.raises(VerificationError):
            deciding.check_chain(broken, party=BROKER, key=KEY.public)


def test_the_entries_of_a_downgrade_carry_signatures_that_a_partner_checks_with_the_pinned_key(site: Site) -> None:
    asked = site.call("qkd.propose_policy", line="a1", policy="pqc-only", reason=REASON).proposal.proposal
    site.call("qkd.confirm", Role.COMPLIANCE, proposal=asked)
    pinned = site.three.nodes["bank"].pinned_keys(BROKER).contract
    proposed, downgraded = site.entries("qkd.downgrade_proposed")[-1], site.entries("qkd.downgraded")[-1]
    signed, _ = deciding.read_request(proposed.values["request"].encode(), party=BROKER, key=pinned)
    made = deciding.read_decision(downgraded.values["decision"].encode(), party=BROKER, key=pinned)
    assert (made.request, made.request.name) == (signed, asked)
    assert (made.request.first, made.second) == (downgraded.values["first"], downgraded.values["second"])
    assert (proposed.actor, downgraded.actor) == (made.request.first, made.second)
    assert deciding.tells("qkd.downgraded", downgraded.values, made)
    assert not deciding.tells("qkd.downgraded", {**downgraded.values, "line": "a2"}, made)


def test_a_policy_that_nobody_signed_counts_for_nothing_and_the_strictest_stands(site: Site) -> None:
    asked = site.call("qkd.propose_policy", line="a1", policy="pqc-only", reason=REASON).proposal.proposal
    site.call("qkd.confirm", Role.COMPLIANCE, proposal=asked)
    site.call("qkd.propose_policy", line="a1", policy="hybrid-required", reason=REASON)
    assert site.line().policy == "hybrid-required"
    site.entity.change(policy="pqc-only")  # the entity's own switch was turned as well
    site.node.store.write(lambda tx: tx.execute("UPDATE qkd_policy SET policy = 'pqc-only'"))
    assert site.line().policy == "qkd-required"
    site.follow()
    assert site.entity.known["a1"].policy == "pqc-only", "nothing is told to the entity on the word of an unsigned row"
    assert any(one.name == "qkd.a1.policy" and one.state == "failed" for one in site.node.health())
    with site.node.store.read() as reader:
        newest = policies.decisions(reader)[-1]
    site.node.store.write(lambda tx: tx.execute("DELETE FROM qkd_decision WHERE body = ?", (newest,)))
    assert site.line().policy == "qkd-required", "an older decision that a row does not fit carries it no better"
    site.call("qkd.propose_policy", line="a1", policy="pqc-only", reason=REASON)
    assert site.line().policy == "qkd-required"


@pytest.mark.parametrize("change", ["target = 'pqc-only', before = 'qkd-required'", "asked_by = 'p-other'", "line = 'a2'", "until_ms = until_ms + 1", "request = x''"])
def test_a_proposal_that_was_altered_cannot_be_confirmed(site: Site, change: str) -> None:
    site.call("qkd.propose_policy", line="a1", policy="qkd-required", reason=REASON)
    asked = site.call("qkd.propose_policy", line="a1", policy="hybrid-required", reason=REASON).proposal.proposal
    site.entity.known["a2"] = site.entity.known["a1"]
    site.node.store.write(lambda tx: tx.execute(f"UPDATE qkd_proposal SET {change}"))
    with pytest.raises(WorkbenchError) as caught:
        site.call("qkd.confirm", Role.COMPLIANCE, proposal=asked)
    assert caught.value.code == "LINE_DECISION"
    assert site.line().policy == "qkd-required"
    assert not [one for one in site.entries("qkd.downgraded") if one.values["proposal"] == asked]
