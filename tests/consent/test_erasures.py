"""Grants of one customer taken out, set aside, destroyed; signed forms; withdrawals written again: docs/consent.md section 11."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import replace

import pytest
from captured_files import pdf
from consent_house import House, customer_list, identity_number, phone_number
from workbench_consent import documents, erasing, operations, recovering, replaying
from workbench_consent.grants import Subject, Withdrawal, signed_form_commitment

from workbench.contracts import GrantQuery
from workbench.crypto import sm3
from workbench.domain.envelope import parse_envelope
from workbench.domain.erasure import Customer, ErasureRequest, Stage
from workbench.domain.evidence import RestoredEntry
from workbench.domain.intersection import KeyKind
from workbench.domain.party import PartyId
from workbench.errors import Denied, NotFound, Refused, VerificationError
from tests.altering import other_end

P1, P2, I1, I2 = phone_number(1), phone_number(2), identity_number(1), identity_number(2)
FORM = pdf("I agree " * 14_000)


def row(phone: str, id_no: str = "", document: str = "", digest: str = "") -> str:
    return f"{phone},{id_no},wealth-marketing,bank,2026-01-01,2027-12-31,{digest},网点,{document}"


def give(house: House, *lines: str, forms: dict[str, bytes] | None = None):  # type: ignore[no-untyped-def]
    path = house.folder / "forms.csv"
    header = "phone,id_no,purpose,recipient,valid_from,valid_until,document_digest,channel,document"
    path.write_text("\n".join([header, *lines]) + "\n", "utf-8")
    archive = None
    if forms is not None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as folder:
            for name, data in forms.items():
                folder.writestr(name, data)
        archive = house.folder / "forms.zip"
        archive.write_bytes(packed.getvalue())
    return house.registry.import_file(path, actor="t-compliance", folder=archive)


def erase(house: House, phone: str = P1, id_no: str = I1, request: str = "E-1"):  # type: ignore[no-untyped-def]
    phones, numbers = (phone,) if phone else (), (id_no,) if id_no else ()
    names = house.registry.customer_names(phones=phones, id_nos=numbers)
    asked = ErasureRequest(request, Stage.RESTRICT, Customer(names, phones, numbers), "t-compliance", "asked")
    return {one.what: one for one in house.registry.erase(asked)}


def usable(house: House, *customers: tuple[str, str | None, str | None]) -> list[bool]:
    query = GrantQuery("wealth-marketing", PartyId("bank"), house.time_ms, KeyKind.PHONE)
    return [bool(one) for one in house.registry.decide(customer_list(*customers), query).usable]


def blobs_on_disk(house: House) -> int:
    return len(list((house.folder / "blobs").glob("??/*.blob")))


# ------------------------------------------------------------------------------------------------ grants


def test_erased_grants_are_gone_from_table_memory_and_every_decision(house: House) -> None:
    give(house, row(P1, I1), row(P2, I2), row(P1), row("", I1))
    everybody = (("1", P1, I1), ("2", P2, I2))
    assert usable(house, *everybody) == [True, True]
    found = erase(house)
    assert (found["grants"].found, found["grants"].restricted, found["grants"].erased) == (3, 3, 0)
    assert usable(house, *everybody) == [False, True]
    house.restart()
    assert usable(house, *everybody) == [False, True]
    with house.store.read() as reader:
        chunk = next(iter(reader.execute("SELECT phone, id_no, salt, form, digest FROM consent_grant")))
    for data, size in zip(chunk, (16, 16, 32, 32, 32), strict=True):
        rows = [data[size * at : size * at + size] for at in range(4)]
        assert [any(one) for one in rows] == [False, True, False, False]


def test_an_erasure_that_is_repeated_finds_nothing_and_changes_nothing(house: House) -> None:
    give(house, row(P1, I1))
    erase(house)
    events = house.registry.state().seq
    again = erase(house)
    assert again["grants"].found == again["suppression"].found == 0
    assert house.registry.state().seq == events


def test_the_audit_still_holds_and_finds_a_row_emptied_by_hand(house: House) -> None:
    give(house, *[row(phone_number(number), identity_number(number)) for number in range(1, 300)])
    erase(house, phone_number(7), identity_number(7))
    erase(house, phone_number(8), identity_number(8), "E-2")
    assert house.registry.audit().findings == ()
    with house.store.read() as reader:
        phone = bytearray(reader.execute("SELECT phone FROM consent_grant").fetchone()[0])
    phone[16 * 20 : 16 * 21] = bytes(16)
    house.store.write(lambda tx: tx.execute("UPDATE consent_grant SET phone = ?", (bytes(phone),)).rowcount)
    assert [one.problem for one in house.registry.audit().findings] == ["ROOT"]


def test_an_erasure_that_the_log_does_not_know_is_found(house: House) -> None:
    give(house, row(P1, I1), row(P2, I2))
    erase(house)
    house.store.write(lambda tx: tx.execute("INSERT INTO consent_erased (record, seq) VALUES (2, 3)").rowcount)
    assert {one.problem for one in house.registry.audit().findings} >= {"ROOT", "RECORD"}
    house.store.write(lambda tx: tx.execute("UPDATE consent_erased SET seq = 77").rowcount)
    assert "MISSING" in {one.problem for one in house.registry.audit().findings}


def test_a_leaf_hash_put_in_by_hand_does_not_hide_a_changed_row(house: House) -> None:
    give(house, row(P1, I1), row(P2, I2))
    erase(house)
    house.store.write(lambda tx: tx.execute("UPDATE consent_leaf SET hash = ?", (bytes(32),)).rowcount)
    assert [one.problem for one in house.registry.audit().findings] == ["ROOT"]


def test_a_phone_that_forms_tie_to_two_numbers_needs_the_number(house: House) -> None:
    give(house, row(P1, I1), row(P1, I2))
    with pytest.raises(Refused) as refused:
        house.registry.customer_names(phones=(P1,), id_nos=())
    assert refused.value.code == "AMBIGUOUS_CUSTOMER"
    assert P1 not in str(refused.value)
    erase(house, P1, I1)
    grants = house.registry.state().grants
    assert [bool(grants.digest[at].any()) for at in range(2)] == [False, True]


def test_names_are_tokens_that_only_this_institution_computes(house: House) -> None:
    give(house, row(P1, I1))
    names = house.registry.customer_names(phones=(P1,), id_nos=())
    assert len(names) == 2 and all(len(bytes.fromhex(one)) == 16 for one in names)
    assert house.registry.customer_names(phones=(), id_nos=(I1,)) == names
    bare = [sm3.digest(one.encode())[:16].hex() for one in (P1, I1)]
    assert not set(bare) & set(names)


# ------------------------------------------------------------------------------------------------ signed forms


def test_a_form_is_kept_once_and_binds_its_grant(house: House) -> None:
    done = give(house, row(P1, I1, "a.pdf"), row(P2, I2, "b.pdf"), row(phone_number(3)), forms={"a.pdf": FORM, "b.pdf": FORM})
    assert (done.accepted, blobs_on_disk(house)) == (3, 1)
    assert documents.read(house, 1) == documents.read(house, 2) == FORM
    with pytest.raises(NotFound):
        documents.read(house, 3)
    with house.store.read() as reader:
        salt, form = reader.execute("SELECT salt, form FROM consent_grant").fetchone()
    assert form[:32] == signed_form_commitment(salt[:32], sm3.digest(FORM), 1)
    assert house.entries("consent.imported")[0]["documents"] == "2"
    assert give(house, row(P1, I1, "a.pdf"), forms={"a.pdf": FORM}).duplicates == 1
    assert blobs_on_disk(house) == 1


@pytest.mark.parametrize(
    ("line", "forms", "reason"),
    [
        (row(P1, I1, "a.pdf"), {"b.pdf": FORM}, "FORM_MISSING"),
        (row(P1, I1, "a.pdf", "ab" * 32), {"a.pdf": FORM}, "FORM_DIFFERS"),
        (row(P1, I1, "a.pdf"), {"a.pdf": bytes((32 << 20) + 1)}, "FORM_TOO_LARGE"),
        (row(P1, I1, "a.pdf"), {"a.pdf": FORM[:-20]}, "FORM_DAMAGED"),
        (row(P1, I1, "a.pdf"), {"a.pdf": b"hello"}, "FORM_TYPE"),
    ],
)
def test_a_row_whose_form_does_not_fit_is_left_out_by_name_and_the_rest_comes_in(
    house: House, line: str, forms: dict[str, bytes], reason: str
) -> None:
    with pytest.raises(Refused) as refused:
        give(house, row(P2, I2), line, forms=forms)
    assert (refused.value.code, refused.value.details["reason"]) == ("QUALITY", reason)
    assert "a.pdf" not in str(refused.value), "a file's name may be a customer's"
    assert (house.registry.state().seq, blobs_on_disk(house)) == (0, 0)
    reply = imported(house, row(P2, I2), line, forms=forms, max_bad_share=1.0)
    assert (reply.accepted, reply.rejected, reply.rows) == (1, 1, 2)
    assert reply.reasons[reason] == 1
    rejects = list(csv.DictReader(io.StringIO(house.downloads.offered["rejects.csv"].decode("utf-8-sig"))))
    assert [(one["line"], one["reason"]) for one in rejects if one["line"]] == [("3", reason)]
    assert all(one["reason_zh"] and one["reason_en"] for one in rejects)
    assert (len(house.registry.state().grants), blobs_on_disk(house)) == (1, 0)


def imported(house: House, *lines: str, forms: dict[str, bytes], **options: object) -> operations.ImportConsentsReply:
    """By the operation, as the command and the page do."""
    path = house.folder / "rows.csv"
    header = "phone,id_no,purpose,recipient,valid_from,valid_until,document_digest,channel,document"
    path.write_text("\n".join([header, *lines]) + "\n", "utf-8")
    with zipfile.ZipFile(house.folder / "rows.zip", "w") as folder:
        for name, data in forms.items():
            folder.writestr(name, data)
    operation = next(one for one in operations.OPERATIONS if one.name == "consent.import")
    told: list[float] = []
    context = replace(house.context(), progress=lambda done, total, zh, en: told.append(done / total))
    reply = operation.run(context, operation.request(file="rows.csv", documents="rows.zip", **options))
    assert told == sorted(told) and told[-1] == 1.0, "progress never goes back"
    assert isinstance(reply, operations.ImportConsentsReply)
    return reply


def test_one_bad_form_of_many_leaves_the_others_in(house: House) -> None:
    """A row without its form, a form without its row, a damaged form: each is named, under the share of bad rows."""
    rows = [row(phone_number(number), identity_number(number), f"{number}.pdf") for number in range(1, 61)]
    forms = {f"{number}.pdf": pdf(str(number)) for number in range(1, 60)} | {"=stray.pdf": pdf("stray")}
    forms["7.pdf"] = forms["7.pdf"][:-9]
    reply = imported(house, *rows, row(phone_number(99)), forms=forms)
    assert (reply.rows, reply.accepted, reply.rejected, reply.orphans) == (61, 59, 2, 1)
    assert {name: reply.reasons[name] for name in ("FORM_DAMAGED", "FORM_MISSING", "FORM_WITHOUT_ROW")} == {
        "FORM_DAMAGED": 1, "FORM_MISSING": 1, "FORM_WITHOUT_ROW": 1,
    }  # fmt: skip
    rejects = list(csv.DictReader(io.StringIO(house.downloads.offered["rejects.csv"].decode("utf-8-sig"))))
    assert [(one["line"], one["reason"], one["value"]) for one in rejects] == [
        ("8", "FORM_DAMAGED", ""), ("61", "FORM_MISSING", ""), ("", "FORM_WITHOUT_ROW", "'=stray.pdf"),
    ]  # fmt: skip
    assert reply.rejects == "rejects.csv"
    assert blobs_on_disk(house) == 58
    entry = house.entries("consent.imported")[0]
    assert (entry["rejected"], entry["documents"], entry["proposal"]) == ("2", "58", "")
    assert "stray" not in str(entry)


def test_rows_that_name_forms_without_any_folder_are_refused_whole(house: House) -> None:
    with pytest.raises(Refused) as refused:
        give(house, row(P2, I2), row(P1, I1, "a.pdf"))
    assert (refused.value.code, refused.value.details["rows"]) == ("DOCUMENTS_MISSING", "1")
    assert house.registry.state().seq == 0


@pytest.mark.parametrize("name", ["../a.pdf", "/etc/passwd", ".hidden", "a\\b", "x" * 201])
def test_a_form_is_named_without_a_path(house: House, name: str) -> None:
    with pytest.raises(Refused):
        give(house, row(P1, I1, name), forms={"a.pdf": FORM})


def test_a_folder_that_is_no_zip_is_refused(house: House) -> None:
    path = house.folder / "broken.zip"
    path.write_bytes(b"PK\x03\x04 broken")
    lines = house.folder / "rows.csv"
    lines.write_text("phone,purpose,recipient,valid_from,valid_until,document\n" + f"{P1},wealth-marketing,bank,2026-01-01,2027-01-01,a.pdf\n")
    with pytest.raises(Refused) as refused:
        house.registry.import_file(lines, actor="t", folder=path)
    assert refused.value.code == "DOCUMENTS_UNREADABLE"


def problems(house: House) -> list[tuple[str, int | None, str]]:
    return [(one.problem, one.index, one.field) for one in documents.findings(house)]


def test_a_flipped_byte_and_a_swapped_form_are_told_apart_and_located(house: House) -> None:
    give(house, row(P1, I1, "a.pdf"), row(P2, I2, "b.pdf"), forms={"a.pdf": FORM, "b.pdf": pdf("I agree " * 14_000 + "!")})
    assert problems(house) == []
    with house.store.read() as reader:
        ids = [bytes(one).hex() for (one,) in reader.execute(
            "SELECT o.id FROM blob_reference r JOIN blob_object o USING (name) ORDER BY r.ref")]  # fmt: skip
    first, second = (house.folder / "blobs" / one[:2] / f"{one}.blob" for one in ids)
    kept = first.read_bytes()
    first.write_bytes(kept[:70_000] + bytes([kept[70_000] ^ 1]) + kept[70_001:])
    assert problems(house) == [("DOCUMENT_CHANGED", 0, "root (grant 1)")]
    [finding] = documents.findings(house)
    assert "chunk 1" in finding.en and "合规" in finding.zh and finding.log == "broker"
    first.write_bytes(second.read_bytes())
    assert problems(house) == [("DOCUMENT_SWAPPED", 0, "root (grant 1)")]
    with pytest.raises(VerificationError) as error:
        documents.read(house, 1)
    assert error.value.code == "DOCUMENT_SWAPPED"
    first.unlink()
    assert problems(house) == [("DOCUMENT_MISSING", 0, "root (grant 1)")]
    first.write_bytes(kept)
    # Rows exchanged in the database: both blobs are sound, and neither is the form of its grant.
    with house.store.read() as reader:
        names = [house.blobs.named(reader, "consent", ref) for ref in "12"]
    house.store.write(
        lambda tx: [
            tx.execute("UPDATE blob_reference SET name = ? WHERE ref = ?", (name, ref)).rowcount
            for name, ref in zip(reversed(names), "12", strict=True)
        ]
    )
    assert [one[0] for one in problems(house)] == ["DOCUMENT_SWAPPED", "DOCUMENT_SWAPPED"]


def test_reading_a_form_leaves_an_entry_and_the_audit_of_consent_names_what_is_wrong(house: House) -> None:
    give(house, row(P1, I1, "a.pdf"), forms={"a.pdf": FORM})
    by_name = {one.name: one for one in operations.OPERATIONS}
    request = by_name["consent.document"].request(record=1, reason="complaint 7")
    reply = by_name["consent.document"].run(house.context(), request)
    assert (reply.size, house.downloads.offered["form-1"]) == (len(FORM), FORM)
    [viewed] = house.entries("consent.document_viewed")
    assert viewed == {"record": "1", "reason": "complaint 7"}
    (path,) = (house.folder / "blobs").glob("??/*.blob")
    path.write_bytes(path.read_bytes()[:-1])
    audit = by_name["consent.audit"].run(house.context(), by_name["consent.audit"].request())
    [found] = audit.findings
    assert not audit.holds
    assert (found.problem, found.party, found.entry, found.field) == ("DOCUMENT_CHANGED", "broker", 0, "root (grant 1)")
    with pytest.raises(VerificationError):
        by_name["consent.document"].run(house.context(), request)


def test_a_form_goes_with_its_last_customer(house: House) -> None:
    give(house, row(P1, I1, "a.pdf"), row(P2, I2, "b.pdf"), forms={"a.pdf": FORM, "b.pdf": FORM})
    found = erase(house)
    assert found["grants"].restricted == 1
    with pytest.raises(Denied):
        documents.read(house, 1)
    assert documents.read(house, 2) == FORM
    assert problems(house) == []
    with house.store.read() as reader:
        [one] = house.restricted.restrictions(reader)
    house.store.write(lambda tx: house.restricted.destroy(tx, one))
    assert (documents.read(house, 2), blobs_on_disk(house)) == (FORM, 1)
    erase(house, P2, I2, "E-2")
    with house.store.read() as reader:
        [one] = house.restricted.restrictions(reader)
    house.store.write(lambda tx: house.restricted.destroy(tx, one))
    assert blobs_on_disk(house) == 0


# ------------------------------------------------------------------------------------------------ restore


def came_back(house: House, *indices: int) -> list[RestoredEntry]:
    found = []
    for index in indices:
        one = parse_envelope(house.ledger.bodies[index])
        found.append(RestoredEntry(index, one.kind, one.time_ms, one.job, one.actor, one.shared, tuple(one.committed)))
    return found


def older_copy(house: House) -> None:
    """The state after the import alone, as a backup would have it; the log is complete again."""

    def change(tx) -> None:  # type: ignore[no-untyped-def]
        tx.execute("DELETE FROM consent_suppression")
        tx.execute("DELETE FROM consent_event WHERE seq > 1")

    house.store.write(change)
    house.restart()


def test_a_withdrawal_after_the_copy_is_written_again_from_its_own_entry(house: House) -> None:
    give(house, row(P1, I1), row(P2, I2))
    entry = house.registry.withdraw(phone=P1, id_no=I1, purpose="wealth-marketing", actor="t-compliance").entry.index
    older_copy(house)
    assert usable(house, ("1", P1, I1)) == [True]
    for _ in range(2):
        assert replaying.replay(house, came_back(house, entry)) == []
        assert usable(house, ("1", P1, I1), ("2", P2, I2)) == [False, True]
    assert house.registry.audit().findings == ()
    assert give(house, row(P1, I1)).suppressed == 1


def test_a_withdrawal_that_cannot_be_read_again_stops_everything_until_people_acted(house: House) -> None:
    give(house, row(P1, I1))
    entry = house.registry.withdraw(phone=P1, id_no=I1, actor="t-compliance").entry.index
    older_copy(house)
    [one] = came_back(house, entry)
    for recovery in ("", "00" * 540, other_end(one.shared["recovery"])):
        other = RestoredEntry(one.index, one.kind, one.time_ms, one.job, one.actor, {**one.shared, "recovery": recovery}, ())
        [need] = replaying.replay(house, [other])
        assert (need.name, need.count) == ("consent.withdrawn", 1)
        with pytest.raises(Refused) as refused:
            usable(house, ("1", P1, I1))
        assert refused.value.code == "REPLAY_PENDING"


def test_what_mirrors_hold_of_a_withdrawal_fits_no_other_entry_and_tells_no_size(house: House) -> None:
    give(house, *[row(P1, identity_number(number)) for number in range(1, 9)], row(P2, I2))
    many = house.registry.withdraw(phone=P1, actor="t-compliance").entry.index
    few = house.registry.withdraw(phone=P2, actor="t-compliance").entry.index
    sealed = [parse_envelope(house.ledger.bodies[index]).shared for index in (many, few)]
    assert len(sealed[0]["recovery"]) == len(sealed[1]["recovery"])
    [one] = came_back(house, few)
    swapped = RestoredEntry(one.index, one.kind, one.time_ms, "", "", {**one.shared, "recovery": sealed[0]["recovery"]}, ())
    older_copy(house)
    assert house.store.write(lambda tx: recovering.withdraw_again(tx, house, swapped)) is False


def test_recovery_bytes_of_a_withdrawal_are_those_of_the_document() -> None:
    salt, phone = bytes(range(32)), b"p" * 16
    packed = recovering.pack(salt, [Withdrawal(5, Subject(phone, None), "a", "", True)])
    assert packed == salt + b"\0\1" + phone + bytes(16) + b"\1" + b"\0\1a" + b"\0\0"
    assert recovering.unpack(packed) == (salt, [Withdrawal(0, Subject(phone, None), "a", "", True)])
    for size in range(len(packed)):
        with pytest.raises(VerificationError):
            recovering.unpack(packed[:size])


def test_a_customer_named_twice_over_is_withdrawn_with_number_and_phone() -> None:
    one = Customer(("ab" * 16,), (P1, P2), (I1,))
    assert list(erasing.pairs(one)) == [(P1, I1), (P2, I1)]
    assert list(erasing.pairs(Customer(("ab" * 16,)))) == []

