"""The scalar reference: what spellings mean, and that no damaged number becomes somebody's identifier."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.domain import identifiers as ids
from workbench.errors import InvalidRequest

TODAY = date(2025, 6, 30)
# The two examples of GB 11643-1999 (areas and order codes of the standard's own text, not of any person).
STANDARD_EXAMPLES = ("11010519491231002X", "440524188001010014")

_BODY = st.builds(
    lambda area, born, order: f"{area:06d}{born:%Y%m%d}{order:03d}",
    st.integers(1, 999_999),
    st.dates(date(1900, 1, 1), TODAY),
    st.integers(0, 999),
)


@pytest.mark.parametrize(
    "text",
    [
        "10012345678",
        "+8610012345678",
        "+86 100 1234 5678",
        "0086-100-1234-5678",
        "8610012345678",
        "（+86）100—1234—5678",
        "１００１２３４５６７８",
        "'10012345678",
        "‘10012345678",
        "\ufeff\u202d100 1234 5678\u202c",
        "\t10012345678\r\n",
    ],
)
def test_every_accepted_spelling_of_a_phone_is_one_number(text: str) -> None:
    assert ids.normalise_phone(text) == ids.Cleaned("10012345678")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("1.38E+10", "SCIENTIFIC"),
        ("10000138000.0", "DECIMAL_POINT"),
        ('="10000138000"', "FORMULA"),
        ("2025-01-31", "CALENDAR_DATE"),
        ("2025/1/31 0:00", "CALENDAR_DATE"),
        ("+85291234567", "PHONE_NOT_MAINLAND"),
        ("0044 7911 123456", "PHONE_NOT_MAINLAND"),
        ("021-61234567", "PHONE_NOT_MOBILE"),
        ("1000013800", "PHONE_LENGTH"),
        ("100001380001", "PHONE_LENGTH"),
        ("+86100001380", "PHONE_LENGTH"),
        ("23800138000", "PHONE_NOT_MOBILE"),
        ("1000013800O", "PHONE_CHARACTERS"),
        ("10000138000/10000138001", "PHONE_CHARACTERS"),
        ("١٣٨٠٠١٣٨٠٠٠", "PHONE_CHARACTERS"),
        ("100001380①0", "PHONE_CHARACTERS"),
        ("1000013800\x00", "PHONE_CHARACTERS"),
        ("()", "PHONE_CHARACTERS"),
    ],
)
def test_a_phone_that_cannot_be_read_is_refused_with_its_reason(text: str, fault: str) -> None:
    assert ids.normalise_phone(text) == ids.Cleaned(fault=fault)


@pytest.mark.parametrize("text", [None, "", "  ", "-", "无", "NULL", "n/a", "'", "\u200b"])
def test_an_empty_cell_is_neither_a_value_nor_a_fault(text: str | None) -> None:
    assert ids.normalise_phone(text) == ids.Cleaned()
    assert ids.normalise_id_no(text, today=TODAY) == ids.Cleaned()


def test_the_examples_of_the_standard_have_the_right_check_characters() -> None:
    for number in STANDARD_EXAMPLES:
        assert ids.id_check_character(number[:17]) == number[17]
    assert ids.normalise_id_no("11010519491231002x", today=TODAY).value == STANDARD_EXAMPLES[0]


def test_the_former_number_of_fifteen_digits_is_the_same_person() -> None:
    assert ids.normalise_id_no("110105491231002", today=TODAY).value == STANDARD_EXAMPLES[0]
    assert ids.normalise_id_no("110105 491231 002", today=TODAY).value == STANDARD_EXAMPLES[0]


@given(_BODY)
def test_a_number_with_its_check_character_is_accepted_and_kept(body: str) -> None:
    number = body + ids.id_check_character(body)
    assert ids.normalise_id_no(number, today=TODAY) == ids.Cleaned(number)
    assert ids.normalise_id_no(number.lower(), today=TODAY) == ids.Cleaned(number)


@given(_BODY, st.integers(0, 17), st.sampled_from("0123456789X"))
def test_every_change_of_one_character_is_refused(body: str, at: int, character: str) -> None:
    number = body + ids.id_check_character(body)
    changed = number[:at] + character + number[at + 1 :]
    if changed != number:
        assert ids.normalise_id_no(changed, today=TODAY).value is None


@given(_BODY, st.integers(0, 16))
def test_every_swap_of_two_neighbours_is_refused(body: str, at: int) -> None:
    number = body + ids.id_check_character(body)
    swapped = number[:at] + number[at + 1] + number[at] + number[at + 2 :]
    if swapped != number:
        assert ids.normalise_id_no(swapped, today=TODAY).value is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("3.10101E+17", "SCIENTIFIC"),
        ("110105194912310000", "ID_DIGITS_LOST"),
        ("110105194912310021", "ID_CHECKSUM"),
        ("000000194912310020", "ID_AREA"),
        ("99999919490230001", "ID_LENGTH"),
        ("11010519491231002", "ID_LENGTH"),
        ("1101051949123100X2", "ID_CHARACTERS"),
        ("A123456(7)", "ID_CHARACTERS"),
        ("110105491231002.0", "DECIMAL_POINT"),
        ("1949-12-31", "CALENDAR_DATE"),
    ],
)
def test_an_identity_number_that_cannot_be_read_is_refused_with_its_reason(text: str, fault: str) -> None:
    assert ids.normalise_id_no(text, today=TODAY) == ids.Cleaned(fault=fault)


@pytest.mark.parametrize("born", ["20250701", "19000229", "20230229", "20240230", "18991231", "19901301", "19900100"])
def test_a_date_of_birth_that_does_not_exist_or_lies_ahead_is_refused(born: str) -> None:
    body = f"999999{born}123"
    assert ids.normalise_id_no(body + ids.id_check_character(body), today=TODAY) == ids.Cleaned(fault="ID_DATE")


def test_somebody_born_today_is_accepted_and_born_tomorrow_is_not() -> None:
    body = f"999999{TODAY:%Y%m%d}123"
    number = body + ids.id_check_character(body)
    assert ids.normalise_id_no(number, today=TODAY).value == number
    assert ids.normalise_id_no(number, today=date(2025, 6, 29)).fault == "ID_DATE"


@pytest.mark.parametrize(
    ("text", "level"),
    [("c1", "C1"), ("C2 谨慎型", "C2"), ("C3-稳健型", "C3"), ("Ｃ４（积极型）", "C4"), ("C5激进型", "C5")],
)
def test_risk_levels_are_read_from_usual_spellings(text: str, level: str) -> None:
    assert ids.normalise_risk_level(text) == ids.Cleaned(level)


@pytest.mark.parametrize("text", ["C0", "C6", "C10", "C1a", "R3", "稳健型", "3", "<script>"])
def test_any_other_risk_level_is_refused(text: str) -> None:
    assert ids.normalise_risk_level(text) == ids.Cleaned(fault="RISK_LEVEL")


def test_a_customer_number_keeps_leading_zeros_and_loses_width_and_apostrophe() -> None:
    assert ids.normalise_customer_id(" '００12Ａ ").value == "0012A"
    assert ids.normalise_customer_id("12E3").value == "12E3"
    assert ids.normalise_customer_id("1.2E+10").fault == "SCIENTIFIC"
    assert ids.normalise_customer_id("12.0").fault == "DECIMAL_POINT"
    assert ids.normalise_customer_id("").fault == "CUSTOMER_ID_MISSING"
    assert ids.normalise_customer_id("a\x00b").fault == "CUSTOMER_ID_CHARACTERS"
    assert ids.normalise_customer_id("a" * 65).fault == "CUSTOMER_ID_LENGTH"


@pytest.mark.parametrize("text", ["10000138000X", "", "1.38E+10"])
def test_a_key_given_by_hand_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ids.parse_phone(text)
    assert caught.value.zh and caught.value.en
    assert text == "" or text not in str(caught.value)
    with pytest.raises(InvalidRequest):
        ids.parse_id_no("110105194912310021", today=TODAY)


def test_masks_show_the_agreed_parts_only() -> None:
    assert ids.mask_phone("19900000317") == "199****0317"
    assert ids.mask_id_no("11010519491231002X") == "1101**********002X"
    assert ids.mask_name("张三") == "张*"
    assert ids.mask_unknown("1234567890123") == "123****23"
    assert [ids.mask_unknown("x" * size) for size in (0, 1, 3, 4, 7)] == ["", "****", "****", "x****", "x****"]


@given(st.text(max_size=30))
def test_no_mask_shows_more_than_half_of_a_value_it_does_not_know(text: str) -> None:
    for masked in (ids.mask_phone(text), ids.mask_id_no(text), ids.mask_unknown(text)):
        shown = len(masked.replace("*", "")) if "*" not in text else 0
        assert shown <= max(8, len(text) // 2) and (len(text) < 4 or masked != text)


def test_every_fault_has_a_sentence_in_both_languages() -> None:
    for code, (zh, en) in ids.FAULTS.items():
        assert code.isupper() and zh and en.isascii()
