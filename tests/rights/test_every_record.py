"""An answer holds every row about the customer: compared with a search that knows nothing of the answer's code.

The search walks every table, vault object and file of the institution for the customer's identifiers and tokens; whatever
it finds must be named by a record. docs/rights.md section 3.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.flows import population
from tests.rights.conftest import ANNA, Desk, NUMBER, PHONE, PURPOSE
from workbench.domain.party import Role
from workbench.domain.subject import SubjectRequest
from workbench.store.frames import get_frame

NO_RECORD_OF_ONE_PERSON = {"evidence_opening", "vault_subject", "entry", "evidence_index", "host_job"}
"""Sealed values and keys (their entries are found by the key's name), the log itself, and rules and counts of jobs."""
TABLE_OWNERS = {
    "consent_grant": "consent.grant",
    "consent_suppression": "consent.withdrawal",
    "consent_refusal": "consent.opt_out",
    "consent_capture_ask": "consent.question",
    "consent_capture_refusal": "consent.refusal",
    "rights_subject": "rights.request",
    "rights_restriction": "rights.restriction",
}
"""Tables in which tokens of customers stand, and the kind of record that tells of them. A new one needs a line here."""


def told(desk: Desk, person: int = ANNA) -> list[Any]:
    customer = desk.node.identify_customer(population.phone(person), population.id_no(person))
    return list(desk.node.subject_records(SubjectRequest(customer)))


def plant(desk: Desk, folder: Path) -> None:
    """Everything that can hold a customer, besides what the world has: a waiting file, an upload, an exported file."""
    desk.three.exported("broker", desk.job)
    desk.call("intersection.export", Role.MARKETING, job=desk.job)  # left waiting
    exports = desk.node.folder / "exports"
    exports.mkdir(mode=0o700, exist_ok=True)
    (exports / f"{desk.job}.csv").write_text(f"customer_id,phone\nbroker-70,{PHONE}\n", "utf-8")
    (folder / "again.csv").write_text(f"客户号,手机号\n9,{PHONE}\n", "utf-8")
    desk.three.upload("broker", folder / "again.csv")
    desk.call("consent.check", phone=PHONE, id_no=NUMBER, purpose=PURPOSE, recipient="bank")
    desk.call("consent.withdraw", phone=PHONE, id_no=NUMBER, purpose="test-41", reason="客户来电撤回其中一项")
    desk.call("consent.opt_out", phone=PHONE, id_no=NUMBER, what=["profiling"], reason="不接受个性化营销")
    desk.call("complaints.note", phone=PHONE, id_no=NUMBER, channel="web", facts="网上留言投诉")
    desk.call("rights.lift_restriction", request=desk.granted("restriction"), reason="测试到此结束")
    desk.ask("access", details="查阅全部")
    desk.call("intersection.draft_save", Role.MARKETING, audience=f"备注 = '{PHONE}'")


@pytest.fixture(scope="module")
def records(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    plant(desk, tmp_path_factory.mktemp("planted"))
    return told(desk)


def tokens(desk: Desk) -> tuple[str, ...]:
    return tuple(desk.node.consent.customer_names(phones=(PHONE,), id_nos=(NUMBER,)))


def test_every_row_of_every_list_and_target_list_is_in_it(desk: Desk, records: list[Any]) -> None:
    rows = []
    with desk.node.store.read() as reader:
        for name in desk.node.vault.names(reader, ""):
            if name.startswith(("list/", "result/")) and name.count("/") == 1:
                frame = get_frame(reader, desk.node.vault, name)
                for row in frame.iter_rows(named=True):
                    if PHONE in row.values() or NUMBER in row.values():
                        rows.append({key: "" if value is None else str(value) for key, value in row.items()})
    found = [dict(one.values) for one in records if one.kind in ("lists.row", "results.row")]
    assert len(rows) == len(found) >= 3
    for row in rows:
        assert any(row.items() <= one.items() for one in found), row.keys()


def test_every_grant_is_in_it_with_its_form(desk: Desk, records: list[Any]) -> None:
    expected = sum(
        population.may_use("broker", recipient, purpose, ANNA) in ("", "EXPIRED")
        for recipient in ("bank", "cardnet") for purpose in population.PURPOSES
    ) + 1  # the one with the signed form
    grants = [one for one in records if one.kind == "consent.grant"]
    assert len(grants) == expected > 50
    assert [one.values["channel"] for one in grants if one.values["signed_form"] == "kept"] == ["网点"]
    assert {one.values["withdrawn"] for one in grants if one.values["purpose"] == "test-41"} == {"yes"}


def test_every_entry_sealed_under_the_customers_key_is_in_it(desk: Desk, records: list[Any]) -> None:
    with desk.node.store.read() as reader:
        marks = ",".join("?" * len(tokens(desk)))
        rows = reader.execute(f"SELECT DISTINCT entry_idx FROM evidence_opening WHERE subject IN ({marks})", tokens(desk))
        wanted = {f"broker/{index}" for (index,) in rows}
    assert wanted == {one.place for one in records if one.owner == "evidence"}
    assert {"consent.checked", "consent.withdrawn", "rights.received"} <= {one.kind for one in records}
    assert any(one.values.get("reason") == "客户来电撤回其中一项" for one in records)


def test_what_a_partner_stopped_is_told_with_the_row(desk: Desk) -> None:
    """The bank's customer withdrew there: our row of the common list says so, and nobody else's does."""
    person = 111
    assert population.phone(person) in desk.three.released_phones("broker", desk.job)
    desk.call("consent.withdraw", party="bank", phone=population.phone(person), purpose=PURPOSE, recipient="broker", reason="客户在银行撤回")
    desk.three.wait_until(lambda: any(one.values.get("stopped_by_partner") for one in told(desk, person)))
    assert [one.values["job"] for one in told(desk, person) if one.values.get("stopped_by_partner")] == [desk.job]
    assert not [one for one in told(desk) if one.values.get("stopped_by_partner")]


def test_files_that_name_the_customer_are_named_with_their_state(desk: Desk, records: list[Any]) -> None:
    states = {one.owner: one.state for one in records if one.owner in ("downloads", "uploads", "exports")}
    assert states == {"downloads": "waiting", "uploads": "waiting", "exports": "outside"}
    [export] = [one for one in records if one.owner == "exports"]
    assert export.values["owner"] == "营销 01"


def test_no_table_holds_the_customers_tokens_without_a_record_of_it(desk: Desk, records: list[Any]) -> None:
    needles = [form for name in tokens(desk) for form in (name.encode(), bytes.fromhex(name))]
    kinds = {one.kind for one in records}
    with desk.node.store.read() as reader:
        tables = [row[0] for row in reader.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            if table in NO_RECORD_OF_ONE_PERSON or table.startswith("sqlite_"):
                continue
            for row in reader.execute(f"SELECT * FROM {table}"):
                cells = [cell.encode() if isinstance(cell, str) else cell for cell in tuple(row) if isinstance(cell, str | bytes)]
                if any(needle in cell for needle in needles for cell in cells):
                    assert TABLE_OWNERS.get(table) in kinds, f"{table} names the customer and no record tells of it"
                    break


def test_no_object_of_the_vault_names_the_customer_without_a_record_of_it(desk: Desk, records: list[Any]) -> None:
    told_in = {"list": "lists", "result": "results", "download": "downloads", "rights": "rights", "complaint": "rights", "capture": "consent", "draft": "pages"}
    owners = {one.owner for one in records}
    places = " ".join(one.place for one in records)
    with desk.node.store.read() as reader:
        for name in desk.node.vault.names(reader, ""):
            if name.startswith("restricted/"):
                continue
            data = desk.node.vault.get(reader, name)
            if name.startswith(("list/", "result/")) and name.count("/") == 1:
                data = get_frame(reader, desk.node.vault, name).write_csv().encode()
            if PHONE.encode() in data or NUMBER.encode() in data:
                area, _, rest = name.partition("/")
                assert told_in.get(area) in owners, f"{name} names the customer"
                assert area in ("download", "capture") or rest.rpartition("/")[2] in places, name


def test_nobody_elses_row_is_in_it(desk: Desk, records: list[Any]) -> None:
    text = json.dumps([dict(one.values) for one in records], ensure_ascii=False)
    for other in population.KNOWN["broker"]:
        if other != ANNA:
            assert population.phone(other) not in text and population.id_no(other) not in text


def test_a_shared_phone_gives_out_only_the_rows_of_the_person_who_asks(desk: Desk) -> None:
    customer = desk.node.identify_customer(None, population.id_no(population.SHARED_PHONE))
    rows = [one.values for one in desk.node.subject_records(SubjectRequest(customer)) if one.kind == "lists.row"]
    assert [one["customer_id"] for one in rows] == [f"broker-{population.SHARED_PHONE}"]


def test_an_erasure_finds_the_same_rows_as_an_answer(desk: Desk) -> None:
    """Two ways to find one customer, written apart: what is told before is what an erasure takes."""
    person = 72
    before = told(desk, person)
    reply = desk.call("customers.erase", phone=population.phone(person), id_no=population.id_no(person), reason="客户要求删除")
    found = {one.owner + " " + one.what: one.found for one in reply.findings}
    assert found["lists list rows"] == sum(one.kind == "lists.row" for one in before)
    assert found["results target list rows"] == sum(one.kind == "results.row" for one in before)
    assert found["consent grants"] == sum(one.kind == "consent.grant" for one in before)
    after = told(desk, person)
    assert {one.owner for one in after} <= {"consent", "restricted"}
    aside = [one for one in after if one.owner == "restricted"]
    assert aside and all(one.state == "set-aside" and one.note_zh and not {"reason"} & one.values.keys() for one in aside)
