"""Bulk import of signed forms: a row is taken only with its form, a form only with its row; docs/protocols/capture.md 1, 2, 6."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import segno
from captured_files import jpg, pdf, png
from consent_house import House, identity_number, phone_number
from fpdf import FPDF
from PIL import Image
from workbench_consent.capture import backdating, forms
from workbench_consent.capture.checking import fault_of

from workbench.crypto import sm3
from workbench.domain.identifiers import id_check_character
from workbench.errors import NotFound, Refused

HEADER = "phone,id_no,purpose,recipient,valid_from,valid_until,document,document_digest"


def line(
    number: int, document: str, *, recipient: str = "bank", begins: str = "2026-06-01", phone: str | None = None, id_no: str | None = None,
    digest: str = "",
) -> str:  # fmt: skip
    phone = phone_number(number) if phone is None else phone
    id_no = identity_number(number) if id_no is None else id_no
    return f"{phone},{id_no},wealth-marketing,{recipient},{begins},2027-06-01,{document},{digest}"


def packed(house: House, files: Mapping[str, bytes], name: str = "forms.zip") -> Path:
    path = house.folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in files.items():
            archive.writestr(member, data)
    return path


def bring(house: House, lines: Sequence[str], files: Mapping[str, bytes], *, share: float = 1.0, proposal: str = "", **options: Any) -> tuple[Any, list[dict[str, str]]]:
    """The result, and the rejects as a spreadsheet reads them."""
    index = house.folder / "index.csv"
    index.write_text("\n".join([HEADER, *lines]) + "\n", "utf-8")
    offered: list[bytes] = []

    def offer(tx: Any, data: bytes) -> str:
        offered.append(data)
        return "rejects"

    done = forms.import_forms(
        house, house.registry, index, packed(house, files), actor="t-chen", place="静安营业部", proposal=proposal, max_bad_share=share,
        offer=offer, **options,
    )  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(offered[-1].decode("utf-8-sig")))) if offered else []
    return done, rows


@pytest.mark.parametrize(("name", "make"), [("a.pdf", pdf), ("a.PNG", png), ("a.jpg", jpg), ("a.jpeg", jpg)])
def test_a_whole_file_is_taken_and_a_part_of_it_never(name: str, make: Any) -> None:
    data = make("某某 签署" * 10)
    assert fault_of(name, data) == ""
    for stop in range(len(data) - 1):
        assert fault_of(name, data[:stop]) in ("FORM_TYPE", "FORM_DAMAGED"), stop
    assert fault_of(name + ".exe", data) == "FORM_TYPE"
    assert fault_of("a.txt", data) == "FORM_TYPE"
    assert fault_of(name, b"MZ" + data) == "FORM_TYPE"


def test_an_ending_that_lies_and_a_changed_png_are_refused() -> None:
    assert fault_of("a.pdf", png()) == "FORM_TYPE"
    data = png()
    for at in range(8, len(data)):
        assert fault_of("a.png", data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]) == "FORM_DAMAGED", at


def test_files_of_other_programs_are_taken(tmp_path: Path) -> None:
    """A PDF with a picture by fpdf2, a PNG by segno, a progressive JPG by Pillow."""
    page: Any = FPDF()
    page.add_page()
    segno.make("form").save(tmp_path / "a.png", scale=3)
    page.image(str(tmp_path / "a.png"))
    assert fault_of("a.pdf", bytes(page.output())) == ""
    assert fault_of("a.png", (tmp_path / "a.png").read_bytes()) == ""
    Image.new("RGB", (40, 30), (200, 10, 10)).save(tmp_path / "a.jpg", quality=80, progressive=True)
    assert fault_of("a.jpg", (tmp_path / "a.jpg").read_bytes()) == ""


def test_rows_and_forms_that_do_not_meet_are_named_and_the_rest_is_imported(house: House) -> None:
    lines = [
        line(1, "1.pdf"), line(2, "2.png"), line(3, "3.jpg"), line(4, ""), line(5, "absent.pdf"), line(6, "cut.pdf"), line(7, "text.pdf"),
        line(8, "8.pdf", digest="ab" * 32), line(9, "9.pdf", digest=sm3.digest(pdf("9")).hex()), line(10, "10.pdf", begins="2026-05-31"),
        line(11, "shared.pdf"), line(12, "shared.pdf"),
    ]  # fmt: skip
    files = {
        "scans/1.pdf": pdf("1"), "scans/2.png": png("2"), "3.jpg": jpg("3"), "cut.pdf": pdf()[:-20], "text.pdf": b"hello", "8.pdf": pdf("8"),
        "9.pdf": pdf("9"), "10.pdf": pdf("10"), "shared.pdf": pdf("s"), "=lonely.pdf": pdf("x"), "__MACOSX/._1.pdf": b"", ".DS_Store": b"",
    }  # fmt: skip
    done, rejects = bring(house, lines, files)
    assert done.imported.accepted == 4
    assert {(row["line"], row["reason"]) for row in rejects} == {
        ("5", "FORM_NOT_NAMED"), ("6", "FORM_MISSING"), ("7", "FORM_DAMAGED"), ("8", "FORM_TYPE"), ("9", "FORM_DIFFERS"), ("11", "BACKDATED"),
        ("12", "FORM_TWICE"), ("13", "FORM_TWICE"), ("", "FORM_WITHOUT_ROW"),
    }  # fmt: skip
    assert [row["file"] for row in rejects if row["file"]] == ["'=lonely.pdf"]
    imported = done.imported
    assert imported.rows == imported.accepted + imported.rejected + imported.duplicates + imported.suppressed == 12
    assert [house.registry.form(record) for record in (1, 2, 3, 4)] == [pdf("1"), png("2"), jpg("3"), pdf("9")]
    entry = house.entries("consent.forms_imported")[0]
    assert (entry["accepted"], entry["orphans"], entry["place"]) == ("4", "1", "静安营业部")
    assert len(list((house.folder / "blobs").rglob("*.blob"))) == 4, "a form that was not taken is not kept"


def test_one_person_with_a_15_and_an_18_digit_number_counts_once(house: House) -> None:
    """Ids of 15 digits were given out until 1999: the same person signs twice, and the second form waits for a human."""
    stem = "990000" + "19" + "800101" + "123"
    long_id, short_id = stem + id_check_character(stem), "990000" + "800101" + "123"
    lines = [
        line(1, "1.pdf", phone="", id_no=long_id), line(1, "2.pdf", phone="", id_no=short_id), line(1, "1.pdf", phone="", id_no=short_id),
        line(1, "1.pdf", phone="", id_no=long_id, recipient="cardnet"),
    ]  # fmt: skip
    done, rejects = bring(house, lines, {"1.pdf": pdf("1"), "2.pdf": pdf("2")})
    assert (done.imported.accepted, done.imported.duplicates) == (2, 1)
    assert [row["reason"] for row in rejects] == ["SAME_PERSON_TWICE"]
    assert len({bytes(house.registry.state().grants.subjects.id_no[:, row]) for row in range(2)}) == 1


def test_too_many_bad_rows_import_nothing_and_say_which(house: House) -> None:
    with pytest.raises(Refused) as refused:
        bring(house, [line(1, "1.pdf"), line(2, "2.pdf")], {"1.pdf": pdf()}, share=0.4)
    assert (refused.value.code, refused.value.details["rejects"], refused.value.details["rejected"]) == ("FORMS_REJECTED", "rejects", "1")
    assert len(house.registry.state().grants) == 0
    assert list((house.folder / "blobs").rglob("*.blob")) == []


def test_a_stopped_or_unreadable_import_writes_nothing(house: House) -> None:
    asked = iter([False, False, False, True])
    with pytest.raises(Refused) as stopped:
        bring(house, [line(n, f"{n}.pdf") for n in range(1, 9)], {f"{n}.pdf": pdf(str(n)) for n in range(1, 9)}, cancelled=lambda: next(asked, True))
    assert stopped.value.code == "CANCELLED"
    (house.folder / "no.zip").write_bytes(b"PK\x03\x04 not really")
    index = house.folder / "index.csv"
    with pytest.raises(Refused) as unreadable:
        forms.import_forms(
            house, house.registry, index, house.folder / "no.zip", actor="", place="x", proposal="", max_bad_share=1.0, offer=lambda tx, data: ""
        )
    assert unreadable.value.code == "DOCUMENTS_UNREADABLE"
    assert house.entries("consent.imported") == []
    assert list((house.folder / "blobs").rglob("*.blob")) == []


def approved(house: House, *, earliest_ms: int, most: int = 10, by: str = "t-chen", other: str = "t-li") -> str:
    proposal = house.store.write(
        lambda tx: backdating.propose(tx, house, earliest_ms=earliest_ms, most=most, reason="paper forms of last week", actor=by)
    )
    house.store.write(lambda tx: backdating.approve(tx, house, proposal, actor=other))
    return proposal


def test_rows_before_today_need_a_reason_and_a_second_person(house: House) -> None:
    early = backdating.start_of_today(house) - 5 * 86_400_000
    lines, files = [line(1, "1.pdf", begins="2026-05-28")], {"1.pdf": pdf()}
    waiting = house.store.write(
        lambda tx: backdating.propose(tx, house, earliest_ms=early, most=1, reason="found in a drawer", actor="t-chen")
    )
    for proposal, code in ((waiting, "BACKDATED"), ("B-none", "NO_BACKDATING")):
        with pytest.raises((Refused, NotFound)) as refused:
            bring(house, lines, files, proposal=proposal)
        assert refused.value.code == code
    with pytest.raises(Refused) as own:
        house.store.write(lambda tx: backdating.approve(tx, house, waiting, actor="t-chen"))
    assert own.value.code == "SELF_APPROVAL"
    house.store.write(lambda tx: backdating.approve(tx, house, waiting, actor="t-li"))
    with pytest.raises(Refused):
        house.store.write(lambda tx: backdating.approve(tx, house, waiting, actor="t-wang"))
    done, _ = bring(house, lines, files, proposal=waiting)
    assert done.imported.accepted == 1
    assert house.entries("consent.forms_imported")[0]["proposal"] == waiting
    with pytest.raises(Refused) as spent:
        bring(house, [line(2, "1.pdf", begins="2026-05-28")], {"1.pdf": pdf("2")}, proposal=waiting)
    assert spent.value.code == "BACKDATED"


def test_an_approval_reaches_no_further_than_it_says(house: House) -> None:
    today = backdating.start_of_today(house)
    day = 86_400_000
    lines, files = [line(1, "1.pdf", begins="2026-05-28"), line(2, "2.pdf", begins="2026-05-29")], {"1.pdf": pdf("1"), "2.pdf": pdf("2")}
    for proposal in (
        approved(house, earliest_ms=today - 3 * day),  # begins earlier than allowed
        approved(house, earliest_ms=today - 9 * day, most=1),  # more than allowed
        approved(house, earliest_ms=today - 9 * day, by="t-zhao"),  # somebody else's
    ):
        with pytest.raises(Refused) as refused:
            bring(house, lines, files, proposal=proposal)
        assert refused.value.code == "BACKDATED"
    late = approved(house, earliest_ms=today - 9 * day)
    house.time_ms += day + 1
    with pytest.raises(Refused):
        bring(house, lines, files, proposal=late)
