"""Who signed for a customer is data of the grant: kept encrypted, shown, erased with the customer; docs/consent.md section 19."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from captured_files import pdf
from consent_house import House, identity_number, phone_number
from test_receipt_content import KEY, WORDS, content, verdict
from workbench_consent import lifeline, represented, subject_records
from workbench_consent.capture import forms
from workbench_consent.capture import operations as capturing
from workbench_consent.receipts import issuing, printing
from workbench_consent.receipts.issuing import Signer

from workbench.crypto import canonical, sm3
from workbench.domain.erasure import Customer, ErasureRequest, Stage
from workbench.errors import Refused, VerificationError
from workbench.verify import VerdictWord

MOTHER, AGENT = "欧阳测试甲", "诸葛测试乙"
MANDATE = sm3.digest(b"mandate").hex()
HEADER = "phone,id_no,purpose,recipient,valid_from,valid_until,signer,signer_name,signer_relation,authority,authority_digest"


def row(number: int, signer: str = "guardian", name: str = MOTHER, relation: str = "母亲", authority: str = "户口簿", digest: str = "") -> str:
    return f"{phone_number(number)},{identity_number(number)},wealth-marketing,bank,2026-01-01,2027-12-31,{signer},{name},{relation},{authority},{digest}"


def give(house: House, *lines: str, share: float = 0.0) -> Any:
    path = house.folder / "signed.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n", "utf-8")
    return house.registry.import_file(path, actor="t-chen", max_bad_share=share, also=lambda tx, table: table)


def known(house: House, *records: int) -> dict[int, represented.Representative]:
    with house.store.read() as reader:
        return represented.of_records(reader, house, records)


def test_the_person_is_kept_with_the_grant_and_stands_nowhere_in_clear(house: House) -> None:
    give(house, row(1), row(2, "agent", AGENT, "受托人", "授权委托书", MANDATE), row(3, "self", "", "", ""))
    found = known(house, 1, 2, 3)
    assert {record: one.name for record, one in found.items()} == {1: MOTHER, 2: AGENT}
    assert found[2] == represented.Representative(AGENT, "受托人", "授权委托书", MANDATE)
    assert MOTHER not in repr(found[1])
    house.store.checkpoint()
    stored = b"".join(path.read_bytes() for path in house.folder.rglob("evidence.db*"))
    log = b"".join(house.ledger.bodies)
    for name in (MOTHER, AGENT):
        for form in (name.encode(), name.encode("utf-16-le"), sm3.digest(name.encode())):
            assert form not in stored
            assert form not in log


def test_staff_read_it_on_the_life_line_and_in_the_answer_to_the_customer(house: House) -> None:
    give(house, row(1), row(2, "self", "", "", ""))
    names = house.registry.customer_names(phones=(phone_number(1),), id_nos=(identity_number(1),))
    records = subject_records.records(house, house.registry.state(), names)
    told = {"signer": "guardian", "signer_name": MOTHER, "signer_relation": "母亲", "authority": "户口簿"}
    assert told.items() <= records[0].values.items()
    assert told.items() <= lifeline.line_of(records)[0].details.items()
    other = house.registry.customer_names(phones=(phone_number(2),), id_nos=(identity_number(2),))
    assert MOTHER not in str(subject_records.records(house, house.registry.state(), other))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (row(1, "self"), "REPRESENTATIVE_UNEXPECTED"),
        (row(1, ""), "REPRESENTATIVE_UNEXPECTED"),
        (row(1, "guardian", ""), "REPRESENTATIVE_MISSING"),
        (row(1, "agent", AGENT, "受托人", ""), "REPRESENTATIVE_MISSING"),
        (row(1, digest="ab"), "DIGEST_FORMAT"),
        (row(1, name="长" * 101), "REPRESENTATIVE_TEXT"),
        (row(1, authority="长" * 201), "REPRESENTATIVE_TEXT"),
    ],
)
def test_a_row_whose_signer_and_person_do_not_fit_is_refused_without_showing_the_name(house: House, line: str, reason: str) -> None:
    table = give(house, line, row(2), share=0.5).extra
    assert table.rejects["reason"].to_list() == [reason]
    if reason.startswith("REPRESENTATIVE_") and reason != "REPRESENTATIVE_TEXT":
        assert MOTHER not in str(table.rejects.rows())
    assert known(house, 1) != {}


def test_where_it_is_required_somebody_who_signed_for_a_customer_is_named(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default in production; elsewhere old registers come in without."""
    bare = row(1, "agent", "", "", "")
    assert give(house, bare).accepted == 1
    assert known(house, 1) == {}
    plain = house.setting
    monkeypatch.setattr(house, "setting", lambda name: True if name == "consent.representative_required" else plain(name))
    with pytest.raises(Refused) as refusal:
        give(house, row(2, "agent", "", "", ""))
    assert refusal.value.details["reason"] == "REPRESENTATIVE_MISSING"
    assert give(house, row(2, "agent", AGENT, "", "授权委托书")).accepted == 1


def test_people_of_many_blocks_and_imports_are_found_and_taken_out_one_by_one(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(represented, "BLOCK_RECORDS", 4)
    give(house, *(row(number, name=f"甲{number}") for number in range(1, 8)))
    give(house, *(row(number, name=f"甲{number}") for number in range(8, 12)), row(12, "self", "", "", ""))
    everybody = range(1, 13)
    assert {record: one.name for record, one in known(house, *everybody).items()} == {one: f"甲{one}" for one in range(1, 12)}
    with house.store.read() as reader:
        before = house.vault.names(reader, represented.PREFIX)
    assert before == ["represented/1/0", "represented/1/1", "represented/2/2"]
    taken = house.store.write(lambda tx: represented.take_out(tx, house, [2, 9, 10, 8, 11, 12]))
    assert sorted(taken) == ["10", "11", "2", "8", "9"]
    assert canonical.parse_object(taken["9"][:-1])["name"] == "甲9"
    assert sorted(known(house, *everybody)) == [1, 3, 4, 5, 6, 7]
    with house.store.read() as reader:
        assert house.vault.names(reader, represented.PREFIX) == before[:2]
    assert house.store.write(lambda tx: represented.take_out(tx, house, [2, 9])) == {}


def test_an_erasure_takes_the_person_along_and_leaves_those_of_others(house: House) -> None:
    give(house, row(1), row(2, "agent", AGENT, "受托人", "授权委托书"))
    names = house.registry.customer_names(phones=(phone_number(1),), id_nos=(identity_number(1),))
    asked = ErasureRequest("E-1", Stage.RESTRICT, Customer(names, (phone_number(1),), (identity_number(1),)), "t-chen", "asked")
    found = {one.what: one for one in house.registry.erase(asked)}["representatives"]
    assert (found.found, found.restricted, found.erased) == (1, 1, 0)
    assert {one.name for one in known(house, 1, 2).values()} == {AGENT}
    with house.store.read() as reader:
        aside = [one for one in house.restricted.restrictions(reader) if one.kind == represented.KIND]
        _, values = house.restricted.open(reader, aside[0].id)
    assert MOTHER in values["1"].decode()
    house.time_ms = aside[0].until_ms
    assert house.store.write(lambda tx: house.restricted.destroy(tx, aside[0]))
    assert not [one for one in house.registry.erase(asked) if one.what == "representatives"]


def capture(house: House, **options: Any) -> Any:
    (house.folder / "upload").write_bytes(pdf("mandate"))
    operation = next(one for one in capturing.OPERATIONS if one.name == "consent.capture")
    about = {
        "phone": phone_number(5), "id_no": identity_number(5), "file": "upload", "method": "wet-scan", "place": "静安营业部", "identity": "身份证原件",
        "offers": [{"purpose": "wealth-marketing", "recipient": "bank", "until": "2027-06-01"}],
    }  # fmt: skip
    return operation.run(house.context(), operation.request(**{**about, **options}))


def test_a_form_taken_by_staff_says_who_signed_it(house: House) -> None:
    for said, code in (
        ({"signer": "agent"}, "REPRESENTATIVE_MISSING"),
        ({"signer": "agent", "signer_name": AGENT}, "REPRESENTATIVE_MISSING"),
        ({"signer": "self", "signer_name": AGENT}, "REPRESENTATIVE_UNEXPECTED"),
        ({"authority_digest": MANDATE}, "REPRESENTATIVE_UNEXPECTED"),
    ):
        with pytest.raises(Refused) as refusal:
            capture(house, **said)
        assert refusal.value.code == code
    assert house.entries("consent.captured") == []
    capture(house, signer="agent", signer_name=AGENT, signer_relation="受托人", authority="授权委托书", authority_digest=MANDATE)
    assert known(house, 1) == {1: represented.Representative(AGENT, "受托人", "授权委托书", MANDATE)}
    entry = house.entries("consent.captured")[0]
    assert (entry["signer"], entry["representative"]) == ("agent", f"{AGENT}（受托人）；授权委托书；SM3 {MANDATE}")
    assert AGENT.encode() not in b"".join(house.ledger.bodies)
    name = house.registry.evidence_names(phone=None, id_no=identity_number(5))[0]
    house.store.write(lambda tx: house.evidence.forget_subject(tx, name))
    assert "representative" not in house.entries("consent.captured")[0]


def test_a_receipt_names_the_person_masked_and_verifies_as_version_1(house: House) -> None:
    give(house, row(1), row(2, "kin", "", "", ""), row(3, "agent", AGENT, "", "授权委托书", MANDATE), row(4, "self", "", "", ""))
    issued = issuing.issue(
        house, house.registry.state, np.arange(1, 5), WORDS, Signer(KEY.public, KEY.sign), size=lambda: 1, selection="", actor=""
    )
    said = [content(issued, at).get("represented_by") for at in range(4)]
    assert said == [
        {"basis": "欧*（母亲）；户口簿", "kind": "guardian"}, {"basis": "签署时陈述 / as stated when it was signed", "kind": "kin"},
        {"basis": f"诸*；授权委托书；SM3 {MANDATE}", "kind": "agent"}, None,
    ]  # fmt: skip
    for at in range(4):
        assert verdict(issued.file(at)).word is VerdictWord.NOT_FINAL, "as any receipt without an anchor"
        assert canonical.format(content(issued, at)) == issued.contents.body(at)
    page = printing.render_html(printing.page_of(content(issued, 0), b"", sealed="2/3", is_final=True)).decode()
    assert "监护人：欧*（母亲）；户口簿" in page
    assert MOTHER not in page + issued.file(0).decode()


def changed(step: Callable[[bytes], bytes]) -> bytes:
    made = represented.blocks(_signers(), 1)[0].data
    return step(made)


def _signers() -> Any:
    import polars as pl

    return pl.DataFrame({"signer_name": [MOTHER], "signer_relation": [None], "authority": ["户口簿"], "authority_digest": [None]}, schema_overrides={"signer_relation": pl.String, "authority_digest": pl.String})


@pytest.mark.parametrize(
    "step", [lambda data: data[1:], lambda data: data[:-1], lambda data: data + b"x\n", lambda data: data.replace(b'"name"', b'"Name" ')]
)
def test_bytes_of_another_form_are_refused(house: House, step: Callable[[bytes], bytes]) -> None:
    give(house, row(1))
    house.store.write(lambda tx: house.vault.put(tx, "represented/1/0", changed(step)))
    with pytest.raises(VerificationError):
        known(house, 1)


def test_an_index_of_signed_forms_names_the_person_too(house: House) -> None:
    index, archive = house.folder / "index.csv", house.folder / "forms.zip"
    rows = [f"{row(number).replace('2026-01-01', '2026-06-01')},{number}.pdf" for number in (1, 2)]
    index.write_text("\n".join([f"{HEADER},document", *rows]) + "\n", "utf-8")
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("2.pdf", pdf("2"))
    done = forms.import_forms(
        house, house.registry, index, archive, actor="t-chen", place="静安营业部", proposal="", max_bad_share=0.5, offer=lambda tx, data: "rejects"
    )
    assert (done.imported.accepted, dict(done.reasons)) == (1, {"FORM_MISSING": 1})
    assert {record: one.name for record, one in known(house, 1, 2).items()} == {1: MOTHER}, "of the row that came in"
