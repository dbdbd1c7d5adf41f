"""Task groups across institutions: invited institutions and nobody else, the least data, nothing closed too early. docs/rights.md 8."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.flows import population
from tests.rights.conftest import ANNA, Desk
from tests.rights.test_complaints import note
from workbench.crypto import canonical, sm3
from workbench.domain.party import PartyId, Role
from workbench.errors import InvalidRequest, NotFound, ProtocolViolation, Refused
from workbench_rights import group_letters as letters

FIELDS = {
    "group": "G-0123456789ab", "category": "data-leak", "task": "T-0123456789ab", "text": "核对外发名单", "due": "2026-12-01",
    "job": "J-20261122-0a1b2c3d", "salt": "ab" * 32, "token": "cd" * 32,
}  # fmt: skip


def opened(desk: Desk, *parties: str, job: str = "", person: int = 96) -> tuple[str, str]:
    """(complaint, group) of a major complaint with a task for each of these."""
    name = note(desk, person, category="data-leak", job=job)
    desk.call("complaints.handle", complaint=name, is_major=True)
    due_day = str(desk.node.today() + timedelta(days=9))
    asked = [{"party": one, "text": f"请 {one} 核对外发记录", "due_day": due_day} for one in parties]
    info = desk.call("complaints.open_group", complaint=name, invitations=asked)
    return name, info.group


def joined(desk: Desk, party: str, group: str) -> Any:
    desk.three.wait_until(lambda: any(one.group == group for one in desk.call("complaints.groups", party=party).groups))
    return next(one for one in desk.call("complaints.groups", Role.AUDITOR, party=party).groups if one.group == group)


def test_a_group_ends_with_its_complaint_and_not_before_every_institution_has_answered(desk: Desk) -> None:
    name, group = opened(desk, "bank", "cardnet")
    at_bank, at_cardnet = joined(desk, "bank", group), joined(desk, "cardnet", group)
    desk.call("complaints.told", complaint=name, text="已联系客户")
    end = {"complaint": name, "outcome": "upheld", "reason": "已办结，向客户致歉"}
    for party, mine in (("bank", at_bank), ("cardnet", at_cardnet)):
        with pytest.raises(Refused) as refused:
            desk.call("complaints.close", **end)
        assert refused.value.code == "TASK_OPEN"
        [task] = mine.tasks
        assert (task.party, task.state, task.text) == (party, "OPEN", f"请 {party} 核对外发记录")
        desk.call("complaints.finish_task", party=party, task=task.task, result=f"{party} 已核对，未外发")
        desk.three.wait_until(lambda done=task.task: desk_task(desk, name, done).state == "DONE")  # type: ignore[misc]
        assert desk_task(desk, name, task.task).result == f"{party} 已核对，未外发"
    assert {one.letter_state for one in desk.call("complaints.get", complaint=name).tasks} == {"ACKNOWLEDGED"}
    desk.call("complaints.close", **end)
    desk.three.wait_until(lambda: joined(desk, "bank", group).state == "CLOSED")
    with pytest.raises(Refused):
        desk.call("complaints.finish_task", party="bank", task=at_bank.tasks[0].task, result="再答复一次")


def desk_task(desk: Desk, name: str, task: str) -> Any:
    return next(one for one in desk.call("complaints.get", complaint=name).tasks if one.task == task)


def test_a_letter_holds_nothing_about_the_customer_and_a_member_finds_them_in_its_own_list(desk: Desk) -> None:
    desk.three.wire.keeps = True
    name, group = opened(desk, "bank", job=desk.job, person=ANNA)
    mine = joined(desk, "bank", group)
    desk.three.wire.keeps = False
    sent = [body for sender, to, path, body in desk.three.wire.calls if (sender, to, path) == ("broker", "bank", "letter")]
    desk.three.wire.calls.clear()
    assert sent and mine.is_known
    for body in sent:
        for secret in (population.phone(ANNA), population.id_no(ANNA), "反复接到营销电话", name, "合成客户"):
            assert secret.encode() not in body, secret
    with desk.three.nodes["bank"].store.read() as reader:
        names = {row[0] for row in reader.execute("SELECT name FROM rights_subject WHERE ref = ?", (f"group/{group}",))}
    customer = desk.three.nodes["bank"].identify_customer(population.phone(ANNA), None)
    assert names == set(customer.names)
    assert population.phone(ANNA) not in desk.call("complaints.groups", party="bank").model_dump_json()


def test_without_a_common_job_no_token_travels(desk: Desk) -> None:
    _, group = opened(desk, "cardnet")
    assert joined(desk, "cardnet", group).is_known is False and joined(desk, "cardnet", group).job == ""


def test_a_customer_who_is_not_in_the_list_of_the_job_is_not_tied_to_it(desk: Desk) -> None:
    with pytest.raises(Refused) as refused:
        opened(desk, "bank", job=desk.job, person=30)
    assert refused.value.code == "NO_CUSTOMER_THERE"


def test_an_institution_that_was_not_invited_reads_nothing_and_cannot_answer(desk: Desk) -> None:
    name, group = opened(desk, "bank")
    joined(desk, "bank", group)
    outsider = desk.three.nodes["cardnet"]
    assert group not in [one.group for one in desk.call("complaints.groups", party="cardnet").groups]
    with pytest.raises(NotFound):
        desk.call("complaints.get", party="cardnet", complaint=name)
    [task] = desk.call("complaints.get", complaint=name).tasks
    for kind, fields in ((letters.DONE, {"group": group, "task": task.task, "result": "冒名答复"}), (letters.CLOSED, {"group": group})):
        sent = outsider.store.write(
            lambda tx, kind=kind, fields=fields: outsider.letters.post(tx, to=PartyId("broker"), kind=kind, body=letters.format_letter(kind, fields))
        )
        desk.three.wait_until(lambda letter=sent: state(outsider, letter).acknowledged_ms is not None)  # type: ignore[misc]
        assert state(outsider, sent).refused_code in ("NO_TASK", "NO_GROUP")
    assert desk_task(desk, name, task.task).state == "OPEN"
    for entry in desk.three.entries("broker", kind="complaints.group_opened"):
        body = desk.node.ledger.entry_bodies("broker", entry.ref.index, entry.ref.index + 1)[0]
        assert json.loads(body)["shared"] == {}


def test_a_customer_who_is_not_in_the_released_list_is_invited_about_without_the_job(desk: Desk) -> None:
    out = next(n for n in range(150, 400) if population.phone(n) not in desk.three.released_phones("broker", desk.job))
    name = note(desk, out, category="data-leak", job=desk.job)
    desk.call("complaints.handle", complaint=name, is_major=True)
    asked = {"complaint": name, "invitations": [{"party": "bank", "text": "核对外发记录", "due_day": str(desk.node.today() + timedelta(days=9))}]}
    with pytest.raises(Refused) as refused:
        desk.call("complaints.open_group", **asked)
    assert refused.value.code == "NO_CUSTOMER_THERE"
    group = desk.call("complaints.open_group", **asked, with_job=False).group
    there = joined(desk, "bank", group)
    assert (there.job, there.is_known) == ("", False)


def state(node: Any, letter: str) -> Any:
    with node.store.read() as reader:
        return node.letters.state(reader, letter)


def test_only_a_major_complaint_gets_one_group_and_only_of_other_institutions(desk: Desk) -> None:
    name = note(desk)
    asked = [{"party": "bank", "text": "核对外发记录", "due_day": "2026-12-01"}]
    with pytest.raises(Refused) as refused:
        desk.call("complaints.open_group", complaint=name, invitations=asked)
    assert refused.value.code == "NOT_MAJOR"
    desk.call("complaints.handle", complaint=name, is_major=True)
    for wrong, code in (("broker", "INVALID_REQUEST"), ("nobody", "UNKNOWN_PARTY")):
        with pytest.raises(Refused) as refused:
            desk.call("complaints.open_group", complaint=name, invitations=[{**asked[0], "party": wrong}])
        assert refused.value.code == code
    for spelt in (population.phone(90), "100 0000 0090", "１００００００００９０", population.id_no(90)):
        with pytest.raises(InvalidRequest) as identifier:
            desk.call("complaints.open_group", complaint=name, invitations=[{**asked[0], "text": f"客户 {spelt} 的记录"}])
        assert identifier.value.code == "IDENTIFIER_IN_LETTER" and spelt not in str(identifier.value)
    desk.call("complaints.open_group", complaint=name, invitations=asked)
    with pytest.raises(Refused) as refused:
        desk.call("complaints.open_group", complaint=name, invitations=asked)
    assert refused.value.code == "GROUP_EXISTS"
    [task] = desk.call("complaints.get", complaint=name).tasks
    with pytest.raises(Refused) as refused:
        desk.call("complaints.finish_task", task=task.task, result="替对方答复")
    assert refused.value.code == "OTHERS_TASK"


def test_a_letter_that_comes_twice_changes_nothing(desk: Desk) -> None:
    """A restored node forgets what it took, so its receivers may run again."""
    _, group = opened(desk, "bank")
    before = joined(desk, "bank", group)
    bank = desk.three.nodes["bank"]
    fields = {**FIELDS, "group": group, "task": before.tasks[0].task, "job": "", "salt": "", "token": ""}
    body = letters.format_letter(letters.INVITE, fields)
    again = desk.node.store.write(lambda tx: desk.node.letters.post(tx, to=PartyId("bank"), kind=letters.INVITE, body=body))
    desk.three.wait_until(lambda: state(desk.node, again).acknowledged_ms is not None)
    assert joined(desk, "bank", group) == before
    assert len([one for one in desk.three.entries("bank", kind="complaints.group_joined") if one.values["group"] == group]) == 1
    assert bank.party == "bank"


def test_the_token_is_what_the_document_says() -> None:
    salt, job, value = bytes(range(32)), "J-20261122-0a1b2c3d", "10000000070"
    message = b"workbench/v1/complaint-customer\n" + (19).to_bytes(2, "big") + job.encode() + value.encode()
    assert letters.customer_token(salt, job, value) == sm3.hmac(salt, message).hex()
    assert letters.customer_token(bytes(32), job, value) != letters.customer_token(salt, job, value) != letters.customer_token(salt, job, "1" + value)


@pytest.mark.parametrize("kind", [letters.INVITE, letters.DONE, letters.CLOSED])
def test_a_letter_has_one_spelling_and_every_changed_byte_is_another_letter_or_refused(kind: str) -> None:
    fields = {name: {**FIELDS, "result": "已核对"}[name] for name in letters._FIELDS[kind] if name != "v"}
    body = letters.format_letter(kind, fields)
    assert letters.parse_letter(kind, body) == {"v": letters.VERSION, **fields}
    for place in range(len(body)):
        changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        try:
            read = letters.parse_letter(kind, changed)
        except ProtocolViolation:
            continue
        assert letters.format_letter(kind, {name: value for name, value in read.items() if name != "v"}) == changed != body


@pytest.mark.parametrize(
    "change",
    [{"due": "2026-13-01"}, {"category": "gossip"}, {"token": ""}, {"salt": "zz" * 32}, {"group": "X-1"}, {"text": "10000000070"}, {"text": "长" * 501}],
)
def test_an_invitation_that_breaks_a_rule_is_not_taken(change: dict[str, str]) -> None:
    with pytest.raises(ProtocolViolation):
        letters.parse_letter(letters.INVITE, canonical.format({"v": letters.VERSION, **FIELDS, **change}))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_and_never_raise_anything_else(body: bytes) -> None:
    for kind in (letters.INVITE, letters.DONE, letters.CLOSED):
        with pytest.raises(ProtocolViolation):
            letters.parse_letter(kind, body)
