"""Files of documents: what each kind of file gives, and what malformed ones cost and are told."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from typing import Any

import pytest
import xlsxwriter
from fpdf import FPDF
from pypdf import PdfWriter

from workbench.contracts.inference import ReadDocuments, ReadLimits
from workbench.domain.documents import DOCUMENT_KINDS
from workbench.errors import InvalidRequest
from workbench_inference.documents.connectors import CONNECTORS, pdf_text
from workbench_inference.documents.connectors import pdf as pdf_module
from workbench_inference.documents.importing import read_file
from workbench_sandbox.corpus import format_documents, parse_documents

BY_NAME = {one.name: one for one in CONNECTORS}
LIMITS = ReadLimits(milliseconds=20_000)
FUNDS = "基金代码,基金名称,单位净值(元),管理费率,风险等级,日期,来源\n790001,澄澜一号混合,1.2345,1.20%,R3,2026-06-30,季报\n790002,澄澜二号债券,1.0100,0.30%,R2,2026年6月29日,季报\n"


def read(connector: str, content: bytes | str, kind: str = "fund", *, source: str = "测试", time_ms: int = 1_780_000_000_000, limits: ReadLimits = LIMITS) -> ReadDocuments:
    data = content.encode() if isinstance(content, str) else content
    return BY_NAME[connector].read(data, kind=kind, name=f"合成文件.{connector}", source=source, time_ms=time_ms, limits=limits)


def code(connector: str, content: bytes | str, kind: str = "fund", **more: Any) -> str:
    with pytest.raises(InvalidRequest) as raised:
        read(connector, content, kind, **more)
    return raised.value.code


def workbook(rows: list[list[Any]]) -> bytes:
    made = io.BytesIO()
    book = xlsxwriter.Workbook(made, {"default_date_format": "yyyy-mm-dd"})
    sheet = book.add_worksheet()
    for place, row in enumerate(rows):
        sheet.write_row(place, 0, row)
    book.close()
    return made.getvalue()


def pdf(text: str) -> bytes:
    made = FPDF()
    made.add_page()
    made.set_font("helvetica", size=12)
    made.multi_cell(0, text=text)
    return bytes(made.output())


def test_each_kind_of_file_gives_documents_with_source_time_and_fields_in_place() -> None:
    lines = FUNDS.splitlines()
    header = lines[0].split(",")
    objects = "\n".join(json.dumps(dict(zip(header, line.split(","), strict=True)), ensure_ascii=False) for line in lines[1:])
    for connector, content in (
        ("csv", FUNDS), ("csv", FUNDS.encode("gb18030")), ("csv", FUNDS.encode("utf-16")), ("csv", "\ufeff" + FUNDS.replace(",", "\t")),
        ("jsonl", objects), ("xlsx", workbook([line.split(",") for line in lines])),
    ):  # fmt: skip
        found = read(connector, content)
        assert not found.rejects and [one.document for one in found.documents] == ["fund-790001", "fund-790002"]
        first = found.documents[0]
        assert (first.title, first.source, first.time_ms) == ("澄澜一号混合", "季报", 1_782_748_800_000)
        assert first.fields["nav"].value == "1.2345" and first.fields["nav"].unit == "元" and first.fields["management_fee"].value == "1.20%"
        for span in first.fields.values():
            assert first.text[span.start : span.end] == span.value
        assert parse_documents(format_documents(found.documents)) == tuple(sorted(found.documents, key=lambda one: one.document))


def test_all_five_kinds_are_read_and_no_other() -> None:
    tables = {
        "prompt": "标题,话术\n开场,您好\n", "question": "客户问题,时间\n怎么赎回？,2026-01-02\n", "fund": FUNDS,
        "quote": "名称,收盘,涨跌幅(%),日期\n合成指数,3210.5,1.2,2026-01-02\n", "news": "标题,正文,来源\n分红,每10份派0.5元,合成社\n",
    }  # fmt: skip
    assert set(tables) == set(DOCUMENT_KINDS)
    for kind, table in tables.items():
        found = read("csv", table, kind)
        assert found.documents and not found.rejects and {one.kind for one in found.documents} == {kind}
    for connector in BY_NAME:
        assert code(connector, FUNDS, "orders") == "DOCUMENT_KIND"
    assert code("markdown", "# 行情", "quote") == "DOCUMENT_KIND" and code("pdf", pdf("quote"), "question") == "DOCUMENT_KIND"


def test_rows_without_time_source_name_or_value_are_rejected_by_their_line() -> None:
    table = "基金代码,基金名称,管理费率,日期\n,,1%,2026-01-01\n790003,甲,,2026-01-01\n790004,乙,1%,昨天\n790005,丙,1%\n790006,丁,1%,2026-01-01\n790006,丁,1%,2026-01-01\n"
    found = read("csv", table)
    assert [(one.place, one.code) for one in found.rejects] == [
        (2, "NAME_MISSING"), (3, "VALUE_MISSING"), (4, "TIME_FORMAT"), (5, "CELL_COUNT"), (7, "DOCUMENT_REPEATED"),
    ]  # fmt: skip
    assert len(found.documents) == 1
    bare = "基金代码,管理费率\n790003,1%\n"
    assert [one.code for one in read("csv", bare, time_ms=0).rejects] == ["TIME_MISSING"]
    assert [one.code for one in read("csv", bare, source="").rejects] == ["SOURCE_MISSING"]
    assert [one.code for one in read("jsonl", '{"正文":"a\\u0000b"}\n[1]\n{"正文":"好"}', "news").rejects] == ["CHARACTERS", "JSON_MALFORMED"]


def test_wrong_columns_are_named_before_anything_is_read() -> None:
    assert code("csv", "手机号,姓名\n1,2\n") == "DOCUMENT_COLUMNS"
    assert code("csv", "标题,来源\n1,2\n", "news") == "DOCUMENT_COLUMNS"
    assert code("jsonl", '{"a":1}\n{"b":2}') == "DOCUMENT_COLUMNS"
    assert code("xlsx", workbook([["甲", "乙"], ["1", "2"]]), "prompt") == "DOCUMENT_COLUMNS"


def test_two_encodings_in_one_file_are_refused_with_the_line() -> None:
    split = FUNDS.encode() + "790003,岫岚三号混合,1,1%,R3,2026-06-30,年报\n".encode("gb18030")
    for connector in ("csv", "markdown", "jsonl"):
        with pytest.raises(InvalidRequest) as raised:
            read(connector, split)
        assert raised.value.code == "FILE_ENCODING" and raised.value.details["line"] == "4"
    assert code("csv", b"\xff\xfea\x00b") == "FILE_ENCODING"
    assert code("csv", FUNDS.encode() + b"\x00") == "FILE_NUL"
    assert code("csv", b"\xef\xbb\xbf \n") == "FILE_EMPTY"


def test_a_cell_of_a_hundred_megabytes_is_refused_before_it_is_decoded() -> None:
    assert code("csv", b"\xe6\xad\xa3" * 35_000_000, "news") == "FILE_TOO_LARGE"
    cell = "正" * 140_000
    assert code("csv", f"正文\n{cell}\n短\n", "news") == "CELL_TOO_LONG"
    for connector, content in (("jsonl", json.dumps({"正文": cell}) + '\n{"正文":"短"}'), ("xlsx", workbook([["正文"], ["字" * 30_000], ["短"]]))):
        found = read(connector, content, "news", limits=ReadLimits(cell_characters=20_000))
        assert [one.code for one in found.rejects] == ["CELL_TOO_LONG"] and [one.text for one in found.documents] == ["短\n"]
    assert [one.code for one in read("markdown", cell, "news", limits=ReadLimits(document_characters=1_000)).rejects] == ["TEXT_TOO_LONG"]
    assert code("csv", "正文\n" + "字\n" * 30, "news", limits=ReadLimits(documents=9)) == "FILE_TOO_LARGE"


def _packed(parts: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as package:
        for name, data in parts.items():
            package.writestr(name, data)
    return made.getvalue()


def test_packages_that_unpack_to_more_than_they_say_or_may_are_refused() -> None:
    bomb = _packed({"xl/workbook.xml": b"<workbook/>", "xl/worksheets/sheet1.xml": b" " * (70 << 20)})
    assert len(bomb) < 1 << 20 and code("xlsx", bomb) == "FILE_TOO_LARGE"
    honest = _packed({"xl/workbook.xml": b" " * 5_000_000})
    size = (5_000_000).to_bytes(4, "little")
    assert honest.count(size) >= 1
    assert code("xlsx", honest.replace(size, (1_000).to_bytes(4, "little"))) == "FILE_DAMAGED"
    assert code("xlsx", workbook([["正文"], ["a"]])[:-200], "news") == "FILE_DAMAGED"
    assert code("xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "news") == "FILE_ENCRYPTED"
    assert code("xlsx", b"no package", "news") == "FILE_DAMAGED"


PDF_LIMITS = {"memory": 1 << 30, "pages": 9, "characters": 10_000, "seconds": 9}


def test_a_pdf_gives_its_text_and_one_that_cannot_be_read_is_refused() -> None:
    plain = pdf("Fund code 790001\nManagement fee 1.20%")
    found = read("pdf", plain)
    assert len(found.documents) == 1 and "790001" in found.documents[0].text
    assert code("pdf", b"%PDF-1.7\n" + b"x" * 1_000) == "PDF_DAMAGED"
    assert code("pdf", plain, limits=ReadLimits(milliseconds=1)) == "READ_TOO_SLOW" == code("csv", FUNDS, limits=ReadLimits(milliseconds=-1))


def test_what_the_reading_process_says_of_encrypted_empty_and_long_files() -> None:
    """In this process, because each start of another one costs a third of a second."""
    plain = pdf("Fund code 790001")
    locked = PdfWriter(clone_from=io.BytesIO(plain))
    locked.encrypt("secret")
    sealed = io.BytesIO()
    locked.write(sealed)
    assert pdf_text._read(sealed.getvalue(), PDF_LIMITS) == {"code": "PDF_ENCRYPTED"}
    blank = PdfWriter()
    for _ in range(3):
        blank.add_blank_page(100, 100)
    empty = io.BytesIO()
    blank.write(empty)
    assert pdf_text._read(empty.getvalue(), PDF_LIMITS) == {"title": "", "pages": ["", "", ""]}
    assert pdf_text._read(empty.getvalue(), PDF_LIMITS | {"pages": 2}) == {"code": "PDF_TOO_LARGE"}
    assert pdf_text._read(plain, PDF_LIMITS | {"characters": 5}) == {"code": "PDF_TOO_LARGE"}


def test_pages_without_text_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_module, "_pages", lambda content, name, limits: {"title": "", "pages": ["", "净值 1.2", " "]})
    found = read("pdf", b"%PDF-")
    assert [(one.place, one.code) for one in found.rejects] == [(1, "PAGE_EMPTY"), (3, "PAGE_EMPTY")] and found.documents[0].text == "净值 1.2\n"
    monkeypatch.setattr(pdf_module, "_pages", lambda content, name, limits: {"title": "", "pages": [""]})
    assert [one.code for one in read("pdf", b"%PDF-").rejects] == ["PAGE_EMPTY", "TEXT_MISSING"]


def test_a_pdf_whose_stream_unpacks_without_end_costs_no_memory_of_the_node() -> None:
    content = zlib.compress(b"q " * (60 << 20), 1)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>", b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Filter/FlateDecode/Length %d>>stream\n" % len(content) + content + b"\nendstream",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]  # fmt: skip
    made, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj" % number + body + b"endobj\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    made += b"xref\n0 6\n0000000000 65535 f \n" + table + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(made))
    assert len(made) < 1 << 20
    assert code("pdf", made, limits=ReadLimits(milliseconds=3_000)) in ("PDF_TOO_LARGE", "PDF_DAMAGED", "READ_TOO_SLOW")


def test_markdown_is_kept_as_it_stands_and_names_itself() -> None:
    found = read("markdown", "---\n标题: 一号说明\n来源: 内部\n日期: 2026-05-01\n分级: public\n---\n# 别的\n\n- 管理费率：1.20%\n| 托管费率 | 0.20% |\n")
    one = found.documents[0]
    assert (one.title, one.source, one.klass, one.text[:4]) == ("一号说明", "内部", "public", "# 别的")
    assert one.fields["management_fee"].value == "1.20%" and one.fields["custody_fee"].value == "0.20%"
    for span in one.fields.values():
        assert one.text[span.start : span.end] == span.value


def test_what_is_not_what_its_name_says_names_the_file_and_what_to_do() -> None:
    for connector, content, said in (
        ("csv", workbook([["正文"], ["a"]]), "工作簿"), ("markdown", pdf("x"), "PDF"), ("jsonl", b"\xd0\xcf\x11\xe0" + bytes(9), "Office"),
        ("csv", "正文\n好\n".encode("utf-16-le"), "另存为 UTF-8"), ("csv", "正文,正文\n1,2\n", "列“正文”出现两次"), ("csv", "手机号,姓名\n1,2\n", "“正文”"),
        ("xlsx", b"no package", "另存为 .xlsx"), ("pdf", b"no pdf", "重新导出"),
    ):  # fmt: skip
        with pytest.raises(InvalidRequest) as raised:
            read(connector, content, "news")
        assert f"合成文件.{connector}" in raised.value.zh and f"合成文件.{connector}" in raised.value.en and said in raised.value.zh
    with pytest.raises(InvalidRequest) as raised:
        read_file(CONNECTORS, b"PK", name="说明.docx", kind="news", source="", time_ms=0, limits=LIMITS)
    assert raised.value.code == "FILE_KIND" and raised.value.details["file"] == "说明.docx"


def test_what_turns_the_direction_of_a_text_and_a_member_said_twice_are_rejected() -> None:
    """净值 U+202E 1.2 would be shown as another number than the one that is cited."""
    assert [one.code for one in read("markdown", "净值 \u202e2.1", "news").rejects] == ["CHARACTERS"]
    twice = '{"正文":"甲","正文":"乙"}\n{"正文":"好"}\n'
    found = read("jsonl", twice, "news")
    assert [(one.place, one.code) for one in found.rejects] == [(1, "JSON_MALFORMED")] and found.places == (2,)


def test_scripts_in_markdown_are_text_like_any_other() -> None:
    """Kept byte for byte, so that a citation can be compared; pages show text as text."""
    text = "# 说明\n<script>alert(1)</script>\n[点](javascript:alert(1))\n净值 1.2。\n"
    assert read("markdown", text, "news").documents[0].text == text


def test_deep_or_endless_json_is_a_rejected_line() -> None:
    found = read("jsonl", "[" * 200_000 + "\n" + '{"正文":"好","n":' + "9" * 100_000 + "}\n{\"正文\": NaN}\n", "news")
    assert [one.code for one in found.rejects] == ["JSON_MALFORMED", "JSON_MALFORMED"] and len(found.documents) == 1
