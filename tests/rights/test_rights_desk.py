"""Rights requests from receipt to answer: nothing before the identity, everything with evidence. docs/rights.md section 2."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from tests.flows import population
from tests.rights.conftest import ANNA, Desk, NUMBER, PHONE, PURPOSE
from workbench.domain.party import Role
from workbench.errors import Denied, Refused

HANDS_OUT = ("rights.answer", "rights.evidence_pack", "rights.explain")


@pytest.mark.parametrize("kind", ["portability", "explanation"])
def test_nothing_is_handed_out_or_decided_before_the_identity_is_confirmed(desk: Desk, kind: str) -> None:
    request = desk.ask(kind, identified=False)
    desk.call("rights.identify", request=request, method="video", confirmed=False, note="面容不符")
    for operation in HANDS_OUT:
        with pytest.raises(Refused) as refused:
            desk.call(operation, request=request)
        assert refused.value.code == "IDENTITY_FIRST"
    for decision in ("granted", "partly"):
        with pytest.raises(Refused) as refused:
            desk.call("rights.decide", request=request, decision=decision, reason="依法办理，核身无误")
        assert refused.value.code == "IDENTITY_FIRST"
    desk.call("rights.decide", request=request, decision="refused", reason="身份核对不一致")
    reply, files = desk.answer(request)
    assert list(files) == ["letter.txt"] and reply.records == 0
    assert "身份核对不一致" in files["letter.txt"].decode() and PHONE.encode() not in files["letter.txt"]


def test_an_answer_waits_for_the_decision_and_carries_its_reason(desk: Desk) -> None:
    request = desk.ask("access")
    with pytest.raises(Refused) as refused:
        desk.call("rights.answer", request=request)
    assert refused.value.code == "WRONG_STATE"
    desk.call("rights.decide", request=request, decision="partly", reason="商业秘密部分不提供")
    reply, files = desk.answer(request)
    letter = files["letter.txt"].decode()
    assert "部分同意" in letter and "商业秘密部分不提供" in letter and "partly granted" in letter
    assert "第五十、六十五条" in letter and request in letter
    assert reply.info.state == "ANSWERED" and reply.records == len(json.loads(files["records.json"])["records"])


def test_json_and_csv_of_an_answer_say_the_same(desk: Desk) -> None:
    _, files = desk.answer(desk.granted("copy"))
    told = json.loads(files["records.json"])["records"]
    rows = list(csv.reader(io.StringIO(files["records.csv"].decode("utf-8-sig"))))[1:]
    from_json = [
        [one["owner"], one["kind"], one["place"], one["state"], one["time"], name, value]
        for one in told
        for name, value in (one["values"] or {"": ""}).items()
    ]
    assert [[cell.removeprefix("'") for cell in row] for row in rows] == [[cell.removeprefix("'") for cell in row] for row in from_json]
    assert any(row[6] == "'=1+1" for row in rows), "the formula of the list is not disarmed"


def test_portability_holds_what_the_customer_gave_on_consent_or_contract_and_nothing_else(desk: Desk) -> None:
    _, files = desk.answer(desk.granted("portability"))
    told = json.loads(files["records.json"])
    assert {one["kind"] for one in told["records"]} == {"lists.row", "consent.grant"}
    assert {one["lawful_basis"] for one in told["records"]} == {"consent", "contract"}
    assert int(told["about"]["not_included"]) > 0


def test_every_step_is_an_entry_that_shares_nothing_and_names_nobody(desk: Desk) -> None:
    request = desk.granted("access")
    desk.answer(request)
    desk.call("rights.get", request=request)
    for kind in ("rights.received", "rights.identified", "rights.decided", "rights.answered", "rights.viewed"):
        entry = desk.entries(kind)[-1]
        assert entry.values["request"] == request and entry.actor
        body = desk.node.ledger.entry_bodies("broker", entry.ref.index, entry.ref.index + 1)[0]
        assert json.loads(body)["shared"] == {} and request.encode() not in body
        assert PHONE.encode() not in body and NUMBER.encode() not in body


def test_identifiers_are_masked_on_the_screen_and_absent_from_the_list(desk: Desk) -> None:
    request = desk.ask("access", details="要求查阅")
    shown = desk.call("rights.get", request=request)
    assert shown.details == "要求查阅" and PHONE not in shown.model_dump_json() and NUMBER not in shown.model_dump_json()
    listed = desk.call("rights.list", Role.AUDITOR, state="open")
    assert request in [one.request for one in listed.requests] and listed.by_state["IDENTIFIED"] >= 1
    assert PHONE not in listed.model_dump_json()
    assert "rights.decide" in next(one for one in listed.requests if one.request == request).steps


def test_pages_of_the_list_do_not_overlap(desk: Desk) -> None:
    for _ in range(3):
        desk.ask("access", identified=False)
    seen: list[str] = []
    after = ""
    while True:
        page = desk.call("rights.list", limit=2, after=after)
        seen += [one.request for one in page.requests]
        if not page.next:
            break
        after = page.next
    assert len(seen) == len(set(seen)) == page.total


def test_only_compliance_acts_and_the_auditor_reads(desk: Desk) -> None:
    request = desk.ask("access")
    for role in (Role.MARKETING, Role.APPROVER, Role.AUDITOR, Role.OPERATOR):
        with pytest.raises(Denied):
            desk.call("rights.decide", role, request=request, decision="granted", reason="依法办理，核身无误")
    assert desk.call("rights.get", Role.AUDITOR, request=request).info.request == request
    with pytest.raises(Denied):
        desk.call("rights.list", Role.MARKETING)


def test_the_clock_counts_working_days_and_is_extended_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    request = desk.ask("access")
    info = desk.call("rights.get", request=request).info
    assert info.days_left == 15 and not info.is_overdue
    longer = desk.call("rights.extend", request=request, days=10, reason="须向三个部门调取")
    assert longer.days_left == 25 and longer.is_extended and longer.due_ms > info.due_ms
    with pytest.raises(Refused) as refused:
        desk.call("rights.extend", request=request, days=5, reason="再延长一次可以吗")
    assert refused.value.code == "EXTENDED_ONCE"
    monkeypatch.setattr(desk.node, "now_ms", lambda: longer.due_ms)
    late = desk.call("rights.list", overdue=True)
    assert request in [one.request for one in late.requests] and late.overdue >= 1
    assert any(one.name == "rights" and one.state == "warning" for one in desk.node.health())
    monkeypatch.setattr(desk.node, "now_ms", lambda: longer.due_ms - 1)
    assert request not in [one.request for one in desk.call("rights.list", overdue=True).requests]


def test_a_request_can_be_taken_back_until_it_is_decided(desk: Desk) -> None:
    request = desk.ask("access")
    assert desk.call("rights.close", request=request, reason="客户来电撤回请求").state == "CLOSED"
    with pytest.raises(Refused) as refused:
        desk.call("rights.decide", request=request, decision="granted", reason="依法办理，核身无误")
    assert refused.value.code == "WRONG_STATE"
    decided = desk.granted("access")
    with pytest.raises(Refused):
        desk.call("rights.close", request=decided, reason="客户来电撤回请求")


def test_the_evidence_pack_is_the_export_of_this_customer(desk: Desk) -> None:
    request = desk.granted("access")
    made = desk.call("rights.evidence_pack", request=request)
    assert made.entries["broker"] > 0 and made.name.startswith("evidence-customer-")
    assert desk.taken(made.download)[:2] == b"PK"
    assert [one.kind for one in desk.three.entries("broker")][-1] == "evidence.exported"


def test_an_explanation_names_rule_record_and_run(desk: Desk) -> None:
    request = desk.granted("explanation")
    told = {one.job: one for one in desk.call("rights.explain", request=request).intersections}[desk.job]
    assert (told.purpose, told.partner) == (PURPOSE, "bank") and "资产档" in told.rule and "A" in told.rule_zh
    assert told.values == {"资产档": population.tier(ANNA)} and told.fits and told.chosen
    assert told.code == "OK" and told.grant > 0
    record = desk.call("consent.check", phone=PHONE, id_no=NUMBER, purpose=PURPOSE, recipient="bank").record
    assert (record.record, record.digest) == (told.grant, told.grant_digest)
    for kind, indices in told.entries.items():
        found = [one.ref.index for one in desk.three.entries("broker", job=desk.job, kind=kind)]
        assert list(indices) == found and found
    assert "intersection.released" in told.entries and "consent.snapshot" in told.entries
    assert f"第 {told.grant} 号授权" in told.zh and "您在目标名单中" in told.zh and "you are in the target list" in told.en
    _, files = desk.answer(request)
    assert desk.job in [one["job"] for one in json.loads(files["explanation.json"])["intersections"]]


def test_an_explanation_also_says_why_not(desk: Desk) -> None:
    outside = next(one for one in range(70, 90) if population.tier(one) == "C" and one not in (ANNA,))
    request = desk.granted("explanation", outside)
    told = {one.job: one for one in desk.call("rights.explain", request=request).intersections}[desk.job]
    assert not told.fits and not told.chosen and told.code == "OK" and "不符合规则" in told.zh
    request = desk.granted("explanation", population.STRANGER)
    told = {one.job: one for one in desk.call("rights.explain", request=request).intersections}[desk.job]
    assert (told.code, told.grant, told.chosen) == ("NO_GRANT", 0, False)


def values_of(desk: Desk, kind: str) -> list[dict[str, Any]]:
    return [dict(one.values) for one in desk.entries(kind)]
