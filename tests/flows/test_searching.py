"""Searching the evidence of a running institution: every way to ask, who may ask it, and what of a customer stays secret."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.flows import population
from tests.flows.evidence import is_complete, no_sealing
from tests.flows.institutions import Institutions, fresh_institutions
from workbench.clock import SHANGHAI
from workbench.domain.party import Role
from workbench.errors import InvalidRequest, WorkbenchError
from workbench.node.evidence_words import Asked, Surroundings, understand

STRANGER = "19955500001"


@pytest.fixture(scope="module")
def house() -> Iterator[Institutions]:
    with fresh_institutions() as made:
        yield made


@pytest.fixture(scope="module")
def job(house: Institutions) -> str:
    mine, _ = house.run("broker", "bank", population.RICH)
    house.wait_until(lambda: len(search(house, kinds=["intersection.sealed"], job=mine.job).entries) == 2)
    return str(mine.job)


def search(house: Institutions, text: str = "", role: Role = Role.COMPLIANCE, **fields: Any) -> Any:
    return house.call("broker", role, "evidence.search", text=text, **{"limit": 200, **fields})


def places(reply: Any) -> set[tuple[str, int]]:
    return {(one.log, one.index) for one in reply.entries}


def test_everything_typed_becomes_a_condition_that_every_hit_meets(house: Institutions, job: str) -> None:
    story = house.call("broker", Role.COMPLIANCE, "evidence.timeline", job=job, limit=1000).entries
    own = {(one.log, one.index) for one in story}
    found = search(house, job)
    assert found.asked.job == job and found.count == len(own) and places(found) <= own and len(found.entries) == 200
    second = search(house, before=found.next, job=job)
    assert not places(found) & places(second) and second.count == -1
    [proposed] = [one for one in story if one.kind == "intersection.proposed"]
    [contract] = [one for one in story if one.kind == "intersection.contract" and one.log == "bank"]
    digest = contract.values["contract"]
    by_digest = search(house, f"SM3:{digest[:12].upper()}")
    assert {("broker", "intersection.contract"), ("bank", "intersection.contract")} <= {(one.log, one.kind) for one in by_digest.entries}
    entry = house.call("broker", Role.COMPLIANCE, "evidence.entry", log="bank", index=contract.index)
    assert places(search(house, entry.proof["leaf"])) == {("bank", contract.index)}
    for text in (proposed.actor, proposed.actor_token):
        reply = search(house, text)
        assert {one.actor_token for one in reply.entries} == {proposed.actor_token}
        assert reply.persons == {proposed.actor_token: proposed.actor}
    assert places(search(house, f"bank/{contract.index}")) == {("bank", contract.index)}
    name = house.nodes["broker"].names("bank")[0]  # type: ignore[arg-type]
    assert {one.log for one in search(house, f"{name} 放行").entries} == {"bank"}
    assert {one.kind for one in search(house, "放行目标名单").entries} == {"intersection.released"}
    day = f"{datetime.fromtimestamp(proposed.time_ms / 1000, SHANGHAI):%Y-%m-%d}"
    assert search(house, f"{day} {job}").count == len(own)
    assert search(house, f"2001-01-01 {job}").entries == []
    assert {one.seal for one in search(house, "pending").entries} <= {"PENDING"}
    assert not any(one.seal == "PENDING" for one in search(house, "已封存").entries)


def test_the_same_conditions_sent_back_ask_the_same(house: Institutions, job: str) -> None:
    for text in (job, "营销 01", "2026-11-21", "intersection.", "pending", "there is no such thing"):
        first = search(house, text)
        assert places(search(house, **first.asked.model_dump())) == places(first)
        assert search(house, **first.asked.model_dump()).asked == first.asked


def test_a_campaign_is_found_by_the_name_its_proposals_carry(house: Institutions, job: str) -> None:
    named = house.propose("broker", "bank", population.SPARE[0], campaign="autumn-2026")
    found = search(house, "autumn-2026")
    assert found.asked.campaign == "autumn-2026" and {one.job for one in found.entries} == {named}
    assert search(house, "活动：没有这个").entries == []


def test_a_mirrored_entry_of_a_third_institution_is_found(house: Institutions, job: str) -> None:
    assert search(house, party="cardnet").count > 0
    with pytest.raises(WorkbenchError):
        search(house, party="nobody")


def test_who_reads_jobs_only_finds_jobs_only(house: Institutions, job: str) -> None:
    kinds = {one.kind.partition(".")[0] for one in search(house, role=Role.MARKETING).entries}
    assert kinds <= {"intersection", "lists"} and kinds
    assert search(house, "people.", role=Role.MARKETING).entries == []
    place = next(one for one in search(house, "people.").entries)
    assert search(house, f"{place.log}/{place.index}", role=Role.MARKETING).entries == []


def test_the_index_says_how_far_it_is(house: Institutions, job: str) -> None:
    reply = house.call("broker", Role.COMPLIANCE, "evidence.index_status")
    assert reply.size > 300 and {one.log for one in reply.logs} == {"bank", "broker", "cardnet"}
    house.wait_until(lambda: (s := house.call("broker", Role.COMPLIANCE, "evidence.index_status")).covered == s.size)


def test_a_row_that_was_taken_out_is_shown_as_deleted_and_takes_nothing_else_away(house: Institutions, job: str) -> None:
    before = house.call("broker", Role.COMPLIANCE, "evidence.timeline", job=job, limit=1000).entries
    [contract] = [one for one in before if one.kind == "intersection.contract" and one.log == "broker"]
    path = house.nodes["broker"].folder / "evidence.db"
    with sqlite3.connect(path, timeout=30) as database:
        [body] = database.execute("SELECT body FROM entry WHERE idx = ?", (contract.index,)).fetchone()
        database.execute("DELETE FROM entry WHERE idx = ?", (contract.index,))
    try:
        after = house.call("broker", Role.COMPLIANCE, "evidence.timeline", job=job, limit=1000).entries
        [gone] = [one for one in after if (one.log, one.index) == ("broker", contract.index)]
        assert len(after) == len(before) and (gone.problem, gone.kind) == ("DELETED", "intersection.contract")
        assert [one.problem for one in after].count("DELETED") == 1
        assert contract.index in {one.index for one in search(house, kinds=["intersection.contract"]).entries}
    finally:
        with sqlite3.connect(path, timeout=30) as database:
            triggers = database.execute("SELECT name, sql FROM sqlite_master WHERE tbl_name = 'entry' AND type = 'trigger'").fetchall()
            for name, _ in triggers:
                database.execute(f"DROP TRIGGER {name}")
            database.execute("INSERT INTO entry VALUES (?, ?)", (contract.index, body))
            for _, sql in triggers:
                database.execute(sql)


def test_many_entries_read_together_are_as_read_one_by_one(house: Institutions, job: str) -> None:
    """The seal is asked for once for entries that must share it; nobody may see another one for that."""
    node = house.nodes["broker"]
    house.wait_until(lambda: is_complete(house, "broker"))  # a co-signature between the two readings would be a difference
    house.wire.rules.append(no_sealing)
    try:
        node.store.write(lambda tx: node.evidence.append(tx, "people.password_changed", {}))
        node.ledger.own_checkpoint()
        states = set()
        for text in (job, "people.", "bank", "pending"):
            for one in search(house, text).entries:
                seal = node.ledger.seal(one.log, one.index)
                assert (one.seal, one.cosigners, one.missing) == (seal.state, list(seal.cosigners), list(seal.missing))
                states.add(one.seal)
        assert {"PENDING", "FULL"} <= states
    finally:
        house.wire.mend()


# ---------------------------------------------------------------------------------------------- customers


def withdrawn(house: Institutions) -> str:
    """A customer about whom there is evidence; their phone."""
    phone = population.phone(7)
    house.call(
        "broker", Role.COMPLIANCE, "consent.withdraw", phone=phone, purpose=population.RICH, recipient="cardnet", reason="测试"
    )
    return phone


def test_a_customer_is_found_by_phone_and_by_token_and_the_phone_stays_nowhere(house: Institutions, job: str) -> None:
    phone = withdrawn(house)
    spelled = f"{phone[:3]} {phone[3:7]}-{phone[7:]}"
    reply = search(house, spelled)
    assert "consent.withdrawn" in {one.kind for one in reply.entries} and len(reply.asked.customers) >= 1
    assert {one.log for one in reply.entries} == {"broker"}
    assert phone not in reply.model_dump_json()
    again = search(house, **reply.asked.model_dump())
    assert places(reply) <= places(again)
    token = next(one for one in reply.asked.customers if search(house, customers=[one]).entries)
    assert search(house, token).asked.customers == [token] and search(house, token).entries
    node = house.nodes["broker"]
    seen = [one for one in house.entries("broker", kind="evidence.viewed") if one.actor]
    assert seen and all(len(one.values["selection"]) == 64 for one in seen)
    # Nowhere: not in the database as text, not as a plain digest, not in the log.
    from workbench.crypto import sm3

    node.store.checkpoint()
    stored = b"".join(path.read_bytes() for path in node.folder.glob("evidence.db*") if not path.name.endswith((".lock", ".reserve")))
    for form in (phone.encode(), spelled.encode(), sm3.digest(phone.encode()), sm3.digest(phone.encode()).hex().encode()):
        assert form not in stored
    for path in Path(node.folder).rglob("*.log"):
        assert phone not in path.read_text("utf-8", "replace")


def test_an_identifier_that_cannot_be_read_is_not_repeated(house: Institutions) -> None:
    for typed in ("110101 19900230 1234", "000-0000-0000", "+86 00000000000"):
        with pytest.raises(InvalidRequest) as refused:
            search(house, typed)
        said = str(refused.value) + refused.value.zh + refused.value.en + str(refused.value.details) + repr(refused.value.__cause__)
        assert not any(part in said for part in typed.split())


def test_a_customer_nobody_knows_leaves_no_key_behind(house: Institutions) -> None:
    node = house.nodes["broker"]

    def keys() -> int:
        with node.store.read() as reader:
            return int(reader.execute("SELECT count(*) FROM vault_subject").fetchone()[0])

    before = keys()
    assert search(house, STRANGER).entries == []
    assert keys() == before


# ---------------------------------------------------------------------------------------------- understanding

KNOWN = Surroundings(
    people={"P-0123456789ab": ("zhang", "张 三"), "P-abcdef012345": ("li", "李四")},
    kinds={"intersection.released": ("放行目标名单", "a target list was released"), "people.signed_in": ("登录", "a person signed in")},
    parties={"bank": ("乙银行", "Yi Bank"), "broker": ("甲证券", "Jia Securities")},
)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("", Asked()),
        ("J-20261121-0a1b2c3d", Asked(job="J-20261121-0a1b2c3d")),
        ("张 三", Asked(persons=("P-0123456789ab",))),
        ("P-ffffffffffff", Asked(persons=("P-ffffffffffff",))),
        ("Yi Bank", Asked(party="bank")),
        ("乙银行 李四", Asked(party="bank", persons=("P-abcdef012345",))),
        ("sm3:0123ABCDEF", Asked(digest="0123abcdef")),
        ("broker/17", Asked(place=("broker", 17))),
        (f"entry:bank:3:{'0' * 64}", Asked(place=("bank", 3))),
        ("登录", Asked(kinds=("people.signed_in",))),
        ("people.", Asked(kinds=("people.signed_in",))),
        ("活动：秋季 待封存", Asked(campaign="秋季", state="pending")),
        ("2026-11-21", Asked(from_ms=1_795_190_400_000, until_ms=1_795_276_800_000)),
        ("2026-11-21 14:05", Asked(from_ms=1_795_241_100_000, until_ms=1_795_241_160_000)),
        ("2026-02-30", Asked(words="2026-02-30")),
        ("<b> nothing", Asked(words="<b> nothing")),
    ],
)
def test_words_are_understood(text: str, asked: Asked) -> None:
    found = understand(text, KNOWN)
    assert (found.asked, found.identifiers) == (asked, ())


@pytest.mark.parametrize("typed", ["19912345678", "199 1234 5678", "199-1234-5678", "+8619912345678", "11010119900307123X", "110101199003071234"])
@pytest.mark.parametrize("around", ["{}", "客户 {} 撤回", "{} 2026-11-21", "J-20261121-0a1b2c3d {}"])
def test_an_identifier_is_kept_apart_whatever_stands_beside_it(typed: str, around: str) -> None:
    found = understand(around.format(typed), KNOWN)
    assert found.identifiers == (typed,)
    assert typed not in repr(found) and not any(part in repr(found.asked) for part in typed.replace("-", " ").split())


def test_several_identifiers_are_all_kept_apart() -> None:
    found = understand("19912345678 19912345679、110101199003071234 待封存 5555555555555", KNOWN)
    assert set(found.identifiers) == {"19912345678", "19912345679", "110101199003071234", "5555555555555"}
    assert found.asked == Asked(state="pending", words="、")


@pytest.mark.parametrize("text", ["J-20261121-00012345678", "0a19912345678f", "sm3:19912345678aa", "a19912345678", "P-19912345678a"])
def test_digits_inside_a_digest_or_an_id_are_no_phone(text: str) -> None:
    assert understand(text, KNOWN).identifiers == ()
