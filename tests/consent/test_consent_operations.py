"""What staff can do: the operations of the plugin, their roles, and what a reply may show."""

from __future__ import annotations

import json
from typing import Any

import pytest
import workbench_consent
from consent_house import House, customer_list, identity_number, phone_number
from workbench_consent import operations, schema
from workbench_consent.grants import Reason
from workbench_consent.reasons import SENTENCES

from workbench.domain.party import Role
from workbench.errors import InvalidRequest, NotFound, Refused

P1, P2 = phone_number(1), phone_number(2)
I1, I2 = identity_number(1), identity_number(2)
BY_NAME = {one.name: one for one in operations.OPERATIONS}


def call(house: House, name: str, **request: Any) -> Any:
    operation = BY_NAME[name]
    return operation.run(house.context(*operation.roles), operation.request.model_validate(request))


def row(phone: str = "", id_no: str = "", recipient: str = "bank", end: str = "2026-12-31") -> str:
    return f"{phone},{id_no},wealth-marketing,{recipient},2026-01-01,{end},,app"


def test_import_takes_an_upload_and_offers_the_rejects(house: House) -> None:
    lines = [row(phone_number(i)) for i in range(30)]
    path = house.write_file([*lines, row("12345"), lines[0]], "u-1.csv")
    reply = call(house, "consent.import", file="u-1.csv")
    assert (reply.rows, reply.accepted, reply.rejected, reply.duplicates, reply.suppressed) == (32, 30, 1, 1, 0)
    assert reply.rejects == "rejects.csv" and reply.event == 1 and len(reply.root) == 64
    rejects = house.downloads.offered["rejects.csv"].decode("utf-8-sig")
    assert "12345" not in rejects and "32" in rejects
    assert not path.exists()
    assert house.entries("consent.imported")[0]["rejected"] == "1"


def test_a_refused_import_removes_the_upload_and_still_offers_the_rejects(house: House) -> None:
    path = house.write_file([row("12345")], "u-1.csv")
    with pytest.raises(Refused) as refusal:
        call(house, "consent.import", file="u-1.csv")
    assert refusal.value.code == "QUALITY" and refusal.value.details["rejects"] == "rejects.csv"
    assert "12345" not in house.downloads.offered["rejects.csv"].decode("utf-8-sig")
    assert not path.exists() and house.ledger.bodies == []
    house.write_file([], "u-2.csv")
    with pytest.raises(Refused) as refusal:
        call(house, "consent.import", file="u-2.csv")
    assert "rejects" not in refusal.value.details


def test_withdraw_and_lift_read_any_spelling_and_show_no_identifier(house: House) -> None:
    house.give(row(P1, I1))
    with pytest.raises(InvalidRequest):
        call(house, "consent.withdraw", reason="nobody named")
    done = call(house, "consent.withdraw", phone=f"+86 {P1[:3]} {P1[3:7]} {P1[7:]}", reason="客户来电")
    assert (done.grants, done.records) == (1, [1])
    lifted = call(house, "consent.lift_suppression", id_no=I1.lower(), reason="客户重新签署")
    assert lifted.entries == 1
    with pytest.raises(NotFound):
        call(house, "consent.lift_suppression", phone=P2, reason="客户重新签署")
    for reply in (done, lifted):
        assert P1 not in reply.model_dump_json() and I1 not in reply.model_dump_json()


def test_coverage_adds_up_for_every_purpose_and_recipient(house: House) -> None:
    house.give(row(P1), row(P2, end="2026-05-31"))
    house.lists.frames["C-1"] = customer_list(("C1", P1, None), ("C2", P2, I2), ("C3", None, I1))
    before = len(house.ledger.bodies)
    reply = call(house, "consent.coverage", list_id="C-1")
    assert len(house.ledger.bodies) == before
    assert [(one.purpose, one.recipient) for one in reply.rows] == [
        (purpose, recipient) for purpose in house.registry.purposes() for recipient in ("bank", "cardnet")
    ]
    assert all(sum(one.counts.values()) == reply.customers == 3 for one in reply.rows)
    assert reply.rows[0].counts == {"OK": 1, "EXPIRED": 1, "MISSING_KEY": 1} and reply.rows[0].usable == 1
    assert set(reply.reasons) >= {code for one in reply.rows for code in one.counts}
    one = call(house, "consent.coverage", list_id="C-1", recipient="cardnet", key_kind="id_no")
    assert {entry.recipient for entry in one.rows} == {"cardnet"}


def test_check_explains_one_customer_and_leaves_an_entry(house: House) -> None:
    house.give(row(P1, I1, end="2026-05-31"), row(P1, I1, recipient="cardnet"))
    reply = call(house, "consent.check", phone=P1, purpose="wealth-marketing", recipient="bank")
    assert (reply.usable, reply.code, reply.record.record) == (False, "EXPIRED", 1)
    assert [one.state for one in reply.records] == ["LIVE", "EXPIRED"]
    assert reply.zh and reply.en and P1 not in reply.model_dump_json() and I1 not in reply.model_dump_json()
    (entry,) = house.entries("consent.checked")
    assert (entry["outcome"], entry["recipient"]) == ("EXPIRED", "bank")
    assert b"EXPIRED" not in house.ledger.bodies[-1]
    assert call(house, "consent.check", phone=P2, purpose="wealth-marketing", recipient="bank").records == []


def test_check_sees_others_of_the_list_who_share_the_key(house: House) -> None:
    house.give(row("", I1))
    house.lists.frames["C-1"] = customer_list(("C1", P1, I1), ("C2", P1, I2), ("C3", P2, None))
    asked = {"phone": P1, "id_no": I1, "purpose": "wealth-marketing", "recipient": "bank"}
    assert call(house, "consent.check", **asked).code == "OK"
    assert call(house, "consent.check", **asked, list_id="C-1").code == "AMBIGUOUS_KEY"
    assert call(house, "consent.check", **asked, list_id="C-1", key_kind="id_no").code == "OK"


def test_grants_are_paged_newest_first_with_masked_tokens(house: House) -> None:
    house.give(*[row(phone_number(i), recipient="bank" if i % 2 else "cardnet") for i in range(7)])
    seen, after = [], 0
    while True:
        page = call(house, "consent.grants", after=after, limit=3)
        seen += [one.record for one in page.records]
        after = page.next
        if not after:
            break
    assert seen == [7, 6, 5, 4, 3, 2, 1] and page.total == 7
    bank = call(house, "consent.grants", recipient="bank", limit=500)
    assert [one.record for one in bank.records] == [6, 4, 2] and bank.next == 0
    token = house.registry.subject(phone_number(5), None).phone.hex()
    assert bank.records[0].phone == token[:8] + "…" and token not in bank.model_dump_json()


def test_an_audit_says_what_it_found_and_records_it(house: House) -> None:
    house.give(row(P1))
    reply = call(house, "consent.audit")
    assert reply.holds and reply.records == 1
    house.store.write(lambda tx: tx.execute("UPDATE consent_grant SET salt = ?", (bytes(32),)))
    reply = call(house, "consent.audit")
    assert not reply.holds and reply.findings[0].problem == "RECORD"
    assert [one["findings"] for one in house.entries("consent.audited")] == ["none", "RECORD:1:1"]


def test_purposes_come_from_the_setting(house: House) -> None:
    reply = call(house, "consent.purposes")
    assert [one.code for one in reply.purposes] == ["wealth-marketing", "investor-education", "customer-service"]
    assert reply.recipients == ["bank", "cardnet"]


def test_marketing_reads_coverage_and_nothing_about_a_person() -> None:
    open_to = {role: {name for name, one in BY_NAME.items() if role in one.roles} for role in Role}
    assert open_to[Role.MARKETING] == {"consent.coverage", "consent.purposes"}
    assert open_to[Role.COMPLIANCE] == set(BY_NAME)
    assert open_to[Role.OPERATOR] == open_to[Role.ADMIN] == open_to[Role.ADVISER] == set()
    strong = {"consent.withdraw", "consent.lift_suppression", "consent.document"}
    assert {name for name, one in BY_NAME.items() if one.fresh_password} == strong
    weak = {name for name, one in BY_NAME.items() if one.weak_token}
    assert weak == {"consent.coverage", "consent.grants", "consent.purposes"}
    assert all(BY_NAME[name].reads_only for name in weak)


def test_every_action_declares_its_evidence_and_every_kind_has_texts() -> None:
    kinds = {kind.name for kind in schema.EVIDENCE_KINDS}
    for one in operations.OPERATIONS:
        assert one.reads_only or one.evidence
        assert set(one.evidence) <= kinds
    for kind in schema.EVIDENCE_KINDS:
        assert kind.zh and kind.en and all(field.zh and field.en for field in kind.fields)
    assert set(SENTENCES) == set(Reason)


def test_sizes_and_scopes_are_never_shared() -> None:
    """Decision 2: list sizes, reasons and subjects stay with the institution."""
    shared = {
        (kind.name, field.name)
        for kind in schema.EVIDENCE_KINDS for field in kind.fields if field.visibility.value == "shared"
    }  # fmt: skip
    roots = {("consent.imported", "root"), ("consent.withdrawn", "root"), ("consent.suppression_lifted", "root")}
    roots |= {("consent.erased", "root"), ("consent.withdrawn", "recovery")}  # the second is sealed and padded
    roots |= {("consent.replayed", "entries"), ("consent.replayed", "left")}
    roots |= {("consent.receipts_issued", "root")}  # over salted receipts
    # A notice is told to customers anyway; here only which version, by its digest.
    roots |= {(f"notices.{what}", name) for what in ("proposed", "published", "rejected", "retired") for name in ("notice", "version", "digest")}
    roots |= {("consent.opted_out", "root"), ("consent.opted_out", "recovery"), ("consent.opted_in", "root")}
    roots |= {(f"consent.{what}", "recovery") for what in ("signed", "refused", "ask_closed")}  # sealed and padded
    decided = ("proposed", "approved", "rejected", "ended")
    roots |= {(f"consent.change_{what}", name) for what in decided for name in ("kind", "digest")}  # not whom it is about
    assert shared == roots | {
        ("consent.snapshot", name) for name in ("snapshot", "attempt", "purpose", "recipient", "key_kind")
    }


def test_hook_workbench_consent_registry(house: House) -> None:
    assert workbench_consent.WORKBENCH_API == 1
    registry = workbench_consent.workbench_consent_registry(host=house)
    assert registry.name == "consent" and P1 not in repr(registry)
    (report,) = workbench_consent.workbench_health(host=house)
    assert report.state == "warning"
    house.give(row(P1))
    (report,) = workbench_consent.workbench_health(host=house)
    assert report.state == "ok" and json.dumps(report.zh)
