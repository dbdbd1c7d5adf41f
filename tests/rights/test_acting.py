"""Restriction, correction and deletion act for real. docs/rights.md sections 4, 5 and 2."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from tests.altering import other_end
from tests.flows import population
from tests.rights.conftest import Desk, PURPOSE
from workbench.contracts import GrantQuery
from workbench.domain.intersection import KeyKind
from workbench.domain.party import PartyId, Role
from workbench.errors import Refused


def reason_of(desk: Desk, person: int, kind: KeyKind = KeyKind.PHONE) -> str:
    frame = desk.node.lists.frame(desk.node.lists.everything()[-1].list_id)
    query = GrantQuery(PURPOSE, PartyId("bank"), desk.node.now_ms(), kind)
    row = frame["phone"].to_list().index(population.phone(person))
    return str(desk.node.consent.decide(frame, query).reason[row])


def test_a_restriction_keeps_the_customer_out_of_the_next_decision_and_export_until_it_ends(desk: Desk) -> None:
    person = 81
    phone = population.phone(person)
    assert reason_of(desk, person) == "" and phone in desk.three.released_phones("broker", desk.job)
    before = desk.three.exported("broker", desk.job)[1].decode("utf-8-sig")
    request = desk.granted("restriction", person)
    assert reason_of(desk, person) == reason_of(desk, person, KeyKind.ID_NO) == "RESTRICTED"
    assert desk.call("consent.check", phone=phone, id_no=population.id_no(person), purpose=PURPOSE, recipient="bank").code == "RESTRICTED"
    assert phone in before and phone not in desk.three.exported("broker", desk.job)[1].decode("utf-8-sig")
    assert desk.call("rights.get", request=request).info.is_restricting
    assert desk.call("rights.lift_restriction", request=request, reason="争议已核清").is_restricting is False
    assert reason_of(desk, person) == ""
    assert phone in desk.three.exported("broker", desk.job)[1].decode("utf-8-sig")
    with pytest.raises(Refused) as refused:
        desk.call("rights.lift_restriction", request=request, reason="争议已核清")
    assert refused.value.code == "NO_RESTRICTION"


def test_a_restriction_between_selection_and_last_check_strikes_the_customer_out(desk: Desk) -> None:
    """It is no consent event, so the running attempt must decide anew for another reason than a withdrawal's."""
    person, made = 84, []
    three = desk.three
    three.wire.before("bank", "points-commit", lambda: made.append(desk.granted("restriction", person)))
    jobs = three.run("broker", "bank", "test-42", list_id=desk.node.lists.everything()[-1].list_id)
    assert made, "the attempt sent no such message"
    for party, job in zip(("broker", "bank"), jobs, strict=True):
        found = three.released_phones(party, job.job)
        assert population.phone(person) not in found and len(found) > 50
    desk.call("rights.lift_restriction", request=made[0], reason="测试到此结束")


def test_a_shared_phone_is_out_for_everybody_while_one_of_them_restricts(desk: Desk) -> None:
    frame = desk.node.lists.frame(desk.node.lists.everything()[-1].list_id)
    query = GrantQuery(PURPOSE, PartyId("bank"), desk.node.now_ms(), KeyKind.PHONE)
    mine = (frame["phone"] == population.phone(population.TWICE)).arg_true().to_list()
    assert len(mine) == 2 and set(desk.node.consent.decide(frame, query).reason[mine]) == {"", "DUPLICATE_KEY"}
    request = desk.granted("restriction", population.TWICE)
    assert set(desk.node.consent.decide(frame, query).reason[mine]) == {"AMBIGUOUS_KEY"}
    desk.call("rights.lift_restriction", request=request, reason="测试到此结束")


def test_a_correction_rewrites_every_row_and_keeps_the_old_value_under_the_customers_key(desk: Desk) -> None:
    person = 76
    wrapped = objects(desk)
    request = desk.granted("correction", person, changes={"资产档": "C", "risk_level": "C5 进取型"})
    frame = desk.node.lists.frame(desk.node.lists.everything()[-1].list_id)
    [row] = frame.filter(pl.col("phone") == population.phone(person)).to_dicts()
    assert (row["资产档"], row["risk_level"], row["备注"]) == ("C", "C5", "=1+1")
    assert frame.height == desk.node.lists.everything()[-1].rows
    assert len(set(wrapped.items()) - set(objects(desk).items())) >= 1, "the old object was not replaced"
    [entry] = [one for one in desk.entries("lists.corrected") if one.values["request"] == request]
    assert json.loads(entry.values["was"]) == {"资产档": [population.tier(person)], "risk_level": [f"C{1 + person % 5}"]}
    assert json.loads(entry.values["now"]) == {"资产档": "C", "risk_level": "C5"}
    with desk.node.store.read() as reader:
        names = desk.node.consent.customer_names(phones=(population.phone(person),), id_nos=(population.id_no(person),))
        assert entry.ref.index in desk.node.evidence.entries_about(reader, names[0])
    assert "risk_level" in desk.answer(request)[1]["letter.txt"].decode()


def objects(desk: Desk) -> dict[str, bytes]:
    with desk.node.store.read() as reader:
        return {name: bytes(key) for name, key in reader.execute("SELECT name, wrapped FROM vault_object WHERE name LIKE 'list/%'")}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"phone": "123"}, "CORRECTION_VALUE"),
        ({"customer_id": "X"}, "CORRECTION_VALUE"),
        ({"risk_level": "C9"}, "CORRECTION_VALUE"),
        ({"资产档": "A", "没有这列": "1"}, "CORRECTION_COLUMN"),
    ],
)
def test_a_correction_that_cannot_be_read_changes_nothing(desk: Desk, changes: dict[str, str], code: str) -> None:
    person = 77
    before = desk.node.lists.frame(desk.node.lists.everything()[-1].list_id)
    request = desk.ask("correction", person, changes=changes)
    with pytest.raises(Refused) as refused:
        desk.call("rights.decide", request=request, decision="granted", reason="依法办理，核身无误")
    assert refused.value.code == code and all(value not in str(refused.value) for value in changes.values() if len(value) > 2)
    assert desk.node.lists.frame(desk.node.lists.everything()[-1].list_id).equals(before)
    assert desk.call("rights.get", request=request).info.state == "IDENTIFIED"


def test_a_corrected_phone_makes_the_new_one_the_customers(desk: Desk) -> None:
    person, new = 79, "10099990001"
    desk.granted("correction", person, changes={"phone": new})
    frame = desk.node.lists.frame(desk.node.lists.everything()[-1].list_id)
    assert frame.filter(pl.col("id_no") == population.id_no(person))["phone"].to_list() == [new]
    customer = desk.node.identify_customer(new, None)
    assert customer.id_nos == (population.id_no(person),)
    query = GrantQuery(PURPOSE, PartyId("bank"), desk.node.now_ms(), KeyKind.PHONE)
    row = frame["phone"].to_list().index(new)
    assert desk.node.consent.decide(frame, query).reason[row] != "", "a grant signed with another phone speaks for this one"


def test_a_deletion_goes_on_to_an_erasure_and_leaves_no_text_behind(desk: Desk) -> None:
    person = 85
    request = desk.ask("deletion", person, details="Delete-Canary-77")
    info: Any = desk.call("rights.decide", request=request, decision="granted", reason="依法办理，核身无误")
    assert info.erasure.startswith("E-") and info.state == "GRANTED"
    [asked] = [one for one in desk.call("customers.erasures").erasures if one.request == info.erasure]
    assert asked.state == "RESTRICTED"
    rights = next(one for one in asked.findings if one.owner == "rights")
    assert rights.found == rights.restricted == 1
    frame = desk.node.lists.frame(desk.node.lists.everything()[-1].list_id)
    assert population.phone(person) not in frame["phone"].to_list()
    assert desk.call("rights.get", request=request).is_erased
    reply, files = desk.answer(request)
    assert info.erasure in files["letter.txt"].decode() and reply.info.state == "ANSWERED"
    with desk.node.store.read() as reader:
        names = desk.node.consent.customer_names(phones=(population.phone(person),), id_nos=(population.id_no(person),))
        assert all(desk.node.evidence.entries_about(reader, name) == [] for name in names), "something was sealed after the erasure"
    texts = [value for one in desk.call("customers.restricted", phone=population.phone(person), reason="查看限制存放").found for value in one.values.values()]
    assert any("Delete-Canary-77" in text for text in texts)


def test_a_refused_restriction_or_deletion_changes_nothing(desk: Desk) -> None:
    person = 87
    for kind in ("restriction", "deletion"):
        request = desk.ask(kind, person)
        desk.call("rights.decide", request=request, decision="refused", reason="法定保存期未满")
        assert reason_of(desk, person) == ""
        assert desk.call("rights.get", request=request).info.erasure == ""


def test_a_restored_node_puts_a_restriction_in_force_again_before_it_opens(desk: Desk) -> None:
    """What the older copy lacks comes back from the entry, which the mirrors hold and cannot read; twice changes nothing."""
    from workbench.domain.evidence import RestoredEntry

    person = 104
    request = desk.granted("restriction", person)
    entry = next(one for one in desk.entries("rights.restricted") if one.values["request"] == request)
    body = desk.node.ledger.entry_bodies("broker", entry.ref.index, entry.ref.index + 1)[0]
    shared = json.loads(body)["shared"]
    names = desk.node.consent.customer_names(phones=(population.phone(person),), id_nos=(population.id_no(person),))
    assert set(shared) == {"recovery"} and not [one for one in names if one in body.decode()]
    for table in ("rights_restriction", "rights_request"):
        desk.node.store.write(lambda tx, table=table: tx.execute(f"DELETE FROM {table} WHERE request = ?", (request,)) and None)
    assert reason_of(desk, person) == ""
    back = RestoredEntry(entry.ref.index, "rights.restricted", entry.time_ms, "", entry.actor, shared, ("request", "reason"))
    broken = RestoredEntry(entry.ref.index, "rights.restricted", entry.time_ms, "", "", {"recovery": other_end(shared["recovery"])}, ())
    received = RestoredEntry(1, "rights.received", entry.time_ms, "", "", {}, ("kind",))
    for _ in range(2):
        needs = {one.name: one.count for _, found in desk.node.plugins.collect("workbench_replay", host=desk.node, entries=[back, broken, received]) for one in found}
        assert needs == {"rights.restricted": 1, "rights.received": 1}
        assert reason_of(desk, person) == "RESTRICTED"
    assert desk.call("rights.lift_restriction", request=request, reason="争议已核清").is_restricting is False
    assert reason_of(desk, person) == ""


def test_marketing_cannot_see_who_restricts(desk: Desk) -> None:
    """Coverage counts by reason; nothing else of a restriction is visible outside compliance."""
    request = desk.granted("restriction", 88)
    listed = desk.call("consent.coverage", Role.MARKETING, list_id=desk.node.lists.everything()[-1].list_id, recipient="bank")
    row = next(one for one in listed.rows if one.purpose == PURPOSE)
    assert row.counts["RESTRICTED"] == 1 and "RESTRICTED" in listed.reasons
    desk.call("rights.lift_restriction", request=request, reason="测试到此结束")
