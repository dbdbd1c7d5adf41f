"""What two people change about whom grants serve: processors, successions, leaving; and what stops every stage."""

from __future__ import annotations

from typing import Any

import pytest
import workbench_consent
from consent_house import House, beijing_ms, customer_list
from grant_forms import P1, P2, call, content, give, publish, query, reasons, row

from workbench.domain.envelope import parse_envelope
from workbench.domain.party import PartyId
from workbench.errors import Denied, InvalidRequest, Refused, VerificationError


def contract(**changed: Any) -> dict[str, Any]:
    both = {"zh": "约定", "en": "agreed"}
    return {
        "processor": "telecom", "name": {"zh": "丁电信", "en": "Telecom D"}, "contact": "dpo@telecom.example", "purpose": both, "method": both,
        "categories": ["phone"], "measures": both, "duties": both, "ending": both, "from_ms": 1, "until_ms": beijing_ms("2027-01-01 00:00:00"),
        **changed,
    }  # fmt: skip


def test_an_entrusted_processor_has_a_contract_and_is_no_recipient(house: House) -> None:
    for name in ("name", "contact", "purpose", "method", "measures", "duties", "ending", "categories", "until_ms"):
        empty: Any = {"contact": "", "categories": [], "until_ms": 1}.get(name, {"zh": "", "en": ""})
        with pytest.raises(Refused) as refusal:
            call(house, "processors.propose", **contract(**{name: empty}))
        assert (refusal.value.code, refusal.value.details["field"], refusal.value.details["article"]) == ("CONTRACT_INCOMPLETE", name, "PIPL 21")
    with pytest.raises(Refused):
        call(house, "processors.propose", **contract(sub_processing=True))
    give(house, row(P1, recipient="cardnet"))
    with pytest.raises(Refused) as recipient:
        call(house, "processors.propose", **contract(processor="cardnet"))
    assert recipient.value.code == "PROCESSOR_IS_RECIPIENT"
    proposed = call(house, "processors.propose", **contract(processor="bank"))
    assert house.registry.recipients() == ("bank", "cardnet"), "nothing is in force yet"
    with pytest.raises(Denied):
        call(house, "processors.approve", number=proposed.number, digest=proposed.digest)
    with pytest.raises(VerificationError):
        call(house, "processors.approve", by="li", number=proposed.number, digest="0" * 64)
    assert call(house, "processors.approve", by="li", number=proposed.number, digest=proposed.digest).state == "IN_FORCE"
    assert house.registry.recipients() == ("cardnet",)
    with pytest.raises(Refused) as asked:
        house.registry.decide(customer_list(("C1", P1, None)), query(house))
    assert asked.value.code == "RECIPIENT_IS_PROCESSOR"
    table = give(house, row(P2, recipient="cardnet"), row(P2), bad=1.0).extra
    assert table.rejects["reason"].to_list() == ["RECIPIENT_IS_PROCESSOR"]
    codes = {one.code for one in call(house, "notices.lint", notice="joint", content=content()).findings}
    assert codes == {"RECIPIENT_IS_PROCESSOR"}
    house.time_ms = beijing_ms("2026-12-15 00:00:00")
    assert call(house, "processors.list").rows[0].due
    assert [one.name for one in workbench_consent.workbench_health(host=house)] == ["consent", "consent.processors"]
    ending = call(house, "processors.end_propose", number=proposed.number, reason="合同到期，数据已返还并删除")
    assert house.registry.recipients() == ("cardnet",), "one person does not make it a recipient again"
    with pytest.raises(Denied):
        call(house, "processors.end_approve", number=ending.number, digest=ending.digest)
    assert call(house, "processors.end_approve", by="li", number=ending.number, digest=ending.digest).state == "ENDED"
    assert house.registry.recipients() == ("bank", "cardnet")
    assert [(one.kind, one.state) for one in call(house, "processors.list").rows] == [("processor-end", "IN_FORCE"), ("processor", "ENDED")]
    kinds = [parse_envelope(body).kind for body in house.ledger.bodies if b"consent.change" in body]
    assert kinds == ["consent.change_proposed", "consent.change_approved"] * 2 + ["consent.change_ended"]


def test_a_contract_is_not_approved_over_grants_that_came_since_it_was_proposed(house: House) -> None:
    proposed = call(house, "processors.propose", **contract(processor="bank"))
    give(house, row(P1))
    with pytest.raises(Refused) as refusal:
        call(house, "processors.approve", by="li", number=proposed.number, digest=proposed.digest)
    assert refusal.value.code == "PROCESSOR_IS_RECIPIENT"
    assert house.registry.recipients() == ("bank", "cardnet")


def test_a_registered_succession_takes_the_name_over_without_new_consent(house: House) -> None:
    publish(house, content())
    give(house, row(P1, notice="joint@1"))
    people = customer_list(("C1", P1, None))
    renamed = content()
    renamed["effective_ms"] = house.time_ms + 1000
    for line in renamed["lines"]:
        if line["recipient"] == "bank":
            line["recipient_name"] = {"zh": "新乙银行", "en": "New Bank B"}
    field = {one.field for one in call(house, "notices.lint", notice="joint", content=renamed).changes}
    assert field == {"recipient"}, "another name is another recipient, until a succession is registered"
    said = {"party": "bank", "name": {"zh": "新乙银行", "en": "New Bank B"}, "contact": "dpo@bank.example", "from_ms": 1}
    with pytest.raises(InvalidRequest):
        call(house, "parties.succession_propose", **said, told={"zh": "", "en": ""})
    proposed = call(house, "parties.succession_propose", **said, told={"zh": "短信与公告", "en": "by message and publicly"})
    with pytest.raises(Denied):
        call(house, "parties.succession_approve", number=proposed.number, digest=proposed.digest)
    call(house, "parties.succession_approve", by="li", number=proposed.number, digest=proposed.digest)
    told = call(house, "notices.lint", notice="joint", content=renamed)
    assert ({one.field for one in told.changes}, told.must_confirm, told.affected) == ({"succession"}, [], 0)
    publish(house, renamed)
    house.time_ms += 2000
    assert reasons(house, people, query(house)) == ["OK"]
    assert [one.state for one in call(house, "parties.successions").rows] == ["IN_FORCE"]


def test_while_leaving_no_consent_and_no_job_begins_and_what_runs_goes_on(house: House) -> None:
    give(house, row(P1))
    guard = workbench_consent.workbench_guard
    proposed = call(house, "consent.exit_propose", reason="业务到期退出")
    guard(host=house, stage="proposal", facts={})
    with pytest.raises(Denied):
        call(house, "consent.exit_approve", number=proposed.number, digest=proposed.digest)
    call(house, "consent.exit_approve", by="li", number=proposed.number, digest=proposed.digest)
    for stage in ("proposal", "approval"):
        with pytest.raises(Refused) as refusal:
            guard(host=house, stage=stage, facts={})
        assert refusal.value.code == "EXITING"
    for stage in ("release", "export"):
        guard(host=house, stage=stage, facts={})
    with pytest.raises(Refused):
        give(house, row(P2))
    assert reasons(house, customer_list(("C1", P1, None)), query(house)) == ["OK"], "existing grants run to their end"
    assert [one.name for one in workbench_consent.workbench_health(host=house)] == ["consent", "consent.exit"]
    status = call(house, "consent.exit_status")
    assert (status.exiting, status.live_grants, status.last_until_ms) == (True, 1, beijing_ms("2027-01-01 00:00:00"))
    ending = call(house, "consent.exit_end_propose", number=proposed.number, reason="决定继续开展业务")
    with pytest.raises(Refused):
        call(house, "consent.exit_end_propose", number=proposed.number, reason="再提一次也一样")
    with pytest.raises(Denied) as own:
        call(house, "consent.exit_end_approve", number=ending.number, digest=ending.digest)
    assert own.value.code == "SELF_APPROVAL"
    with pytest.raises(Refused) as still:
        give(house, row(P2))
    assert still.value.code == "EXITING", "one person lets nothing in again"
    call(house, "consent.exit_end_reject", number=ending.number, reason="先核实再定")
    ending = call(house, "consent.exit_end_propose", number=proposed.number, reason="决定继续开展业务")
    with pytest.raises(VerificationError):
        call(house, "consent.exit_end_approve", by="li", number=ending.number, digest="0" * 64)
    call(house, "consent.exit_end_approve", by="li", number=ending.number, digest=ending.digest)
    with pytest.raises(Refused):
        call(house, "consent.exit_end_approve", by="li", number=ending.number, digest=ending.digest)
    give(house, row(P2))
    entry = house.entries("consent.change_ended")[0]
    assert (entry["kind"], entry["reason"]) == ("exit", "决定继续开展业务")
    assert not call(house, "consent.exit_status").exiting


def test_a_clock_that_moved_back_stops_every_stage(house: House) -> None:
    give(house, row(P1, end="2026-05-31"))
    house.time_ms -= 6000
    for stage in ("proposal", "approval", "release", "export"):
        with pytest.raises(Refused) as refusal:
            workbench_consent.workbench_guard(host=house, stage=stage, facts={})
        assert refusal.value.code == "CLOCK_MOVED_BACK"
    assert [(one.name, one.state) for one in workbench_consent.workbench_health(host=house)][-1] == ("consent.clock", "failed")
    house.time_ms += 1000
    workbench_consent.workbench_guard(host=house, stage="export", facts={})


def test_towards_a_recipient_that_left_nobody_is_used(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    give(house, row(P1), row(P1, recipient="cardnet"))
    monkeypatch.setattr(house, "parties", lambda: [PartyId("broker"), PartyId("cardnet")])
    people = customer_list(("C1", P1, None))
    with pytest.raises(Refused) as refusal:
        house.registry.decide(people, query(house))
    assert refusal.value.code == "UNKNOWN_RECIPIENT" and len(house.registry.state().grants) == 2
    assert reasons(house, people, query(house, recipient="cardnet")) == ["OK"]
    table = give(house, row(P2, recipient="cardnet"), row(P2), bad=1.0).extra
    assert table.rejects["reason"].to_list() == ["RECIPIENT_UNKNOWN"]
