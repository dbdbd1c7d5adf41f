"""Headers are recognised by known spellings only; doubt is asked about, never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.errors import Refused
from workbench.intake.mapping import (
    CUSTOMER_FIELDS,
    GRANT_FIELDS,
    TAG_LENGTH,
    ColumnMapping,
    propose_mapping,
    require_fields,
    tag_name,
)

PATH = Path("名单.csv")


def _map(*header: str, chosen: dict[str, str] | None = None) -> ColumnMapping:
    return propose_mapping(header, fields=CUSTOMER_FIELDS, chosen=chosen, path=PATH)


def _refusal(*header: str, chosen: dict[str, str] | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        mapping = _map(*header, chosen=chosen)
        require_fields(mapping, all_of=("customer_id",), one_of=("phone", "id_no"), path=PATH)
    assert "名单.csv" in caught.value.zh and "名单.csv" in caught.value.en
    return caught.value


@pytest.mark.parametrize("field", CUSTOMER_FIELDS)
def test_every_documented_spelling_is_recognised_in_any_case_and_width(field: str) -> None:
    wide = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
    for spelling in CUSTOMER_FIELDS[field]:
        for header in (
            spelling,
            spelling.upper(),
            f" {spelling} ",
            spelling.translate(wide),
            f"{spelling}(必填)",
            f"*{spelling}",
        ):
            assert _map(header).fields() == {field: 0}, header


def test_the_spellings_of_two_fields_never_meet() -> None:
    for fields in (CUSTOMER_FIELDS, GRANT_FIELDS):
        for field, spellings in fields.items():
            for spelling in spellings:
                assert propose_mapping((spelling,), fields=fields, path=PATH).fields() == {field: 0}


def test_other_columns_become_tags_and_columns_without_name_are_left_out() -> None:
    mapping = _map("客户号", "手机", "资产 档", "", "最近交易")
    assert mapping.fields() == {"customer_id": 0, "phone": 1}
    assert mapping.tags() == {"资产 档": 2, "最近交易": 4}
    assert [one.use for one in mapping.columns] == ["field", "field", "tag", "ignored", "tag"]
    assert {one.confidence for one in mapping.columns} == {1.0}


def test_a_number_of_somebody_else_is_not_taken_for_the_customers() -> None:
    mapping = _map("客户号", "紧急联系人手机号", "手机号(紧急联系人)", "手机品牌")
    assert mapping.fields() == {"customer_id": 0}
    guesses = {one.header: (one.use, one.guess, one.confidence) for one in mapping.columns}
    assert guesses["紧急联系人手机号"] == ("ignored", "phone", 0.5)
    assert guesses["手机号(紧急联系人)"] == ("ignored", "phone", 0.5)
    assert guesses["手机品牌"] == ("tag", "", 1.0)
    error = _refusal("客户号", "紧急联系人手机号")
    assert error.code == "COLUMN_MISSING" and "phone=紧急联系人手机号" in error.zh


def test_a_choice_takes_the_column_and_keeps_other_keys_out_of_the_tags() -> None:
    mapping = _map("客户号", "手机号", "备用号码", chosen={"phone": " 备用号码"})
    assert mapping.fields() == {"customer_id": 0, "phone": 2}
    assert mapping.tags() == {}
    assert _map("客户号", "手机号", "姓名", chosen={"name": ""}).fields() == {"customer_id": 0, "phone": 1}


@pytest.mark.parametrize(
    ("header", "chosen", "code"),
    [
        (("客户号", "手机号", "Mobile"), None, "COLUMN_AMBIGUOUS"),
        (("客户号", "手机号", "城市", "城市 "), None, "COLUMN_AMBIGUOUS"),
        (("客户号", "a", "a"), {"phone": "a"}, "COLUMN_AMBIGUOUS"),
        (("客户号", "a"), {"phone": "a", "id_no": "a"}, "COLUMN_AMBIGUOUS"),
        (("客户号", "手机号"), {"phone": "电话"}, "COLUMN_UNKNOWN"),
        (("客户号", "手机号"), {"telephone": "手机号"}, "COLUMN_UNKNOWN"),
        (("客户号", "姓名"), None, "COLUMN_MISSING"),
        (("手机号", "姓名"), None, "COLUMN_MISSING"),
        (("客户号", "手机号"), {"phone": ""}, "COLUMN_MISSING"),
    ],
)
def test_doubt_about_a_column_is_refused(header: tuple[str, ...], chosen: dict[str, str] | None, code: str) -> None:
    assert _refusal(*header, chosen=chosen).code == code


def test_a_file_without_header_is_refused_without_showing_its_first_customer() -> None:
    error = _refusal("C0001", "10000000001", "张三", "C3")
    assert error.code == "COLUMN_MISSING"
    for secret in ("10000000001", "张三", "C0001"):
        assert secret not in str(error) and secret not in str(error.details)
    doubled = _refusal("C0001", "10000000001", "张三", "张三")
    assert "张三" not in str(doubled)
    partly = _refusal("手机号", "110105194912310021")
    assert "110105194912310021" not in str(partly)


def test_a_header_full_of_script_is_a_tag_name_and_nothing_else() -> None:
    script = "<img src=x onerror=alert(1)>\x1b[31m\u202e" + "x" * 100
    name = tag_name(script)
    assert len(name) <= TAG_LENGTH and name.startswith("<img src=x") and "\x1b" not in name and "\u202e" not in name
    assert _map("客户号", "手机号", script).tags() == {name: 2}
