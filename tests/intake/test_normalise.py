"""The column functions agree with the scalar reference on every spelling; the reference is tested by itself."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.domain import identifiers as ids
from workbench.intake import normalise

TODAY = date(2025, 6, 30)

_BODY = st.builds(
    lambda area, born, order: f"{area:06d}{born:%Y%m%d}{order:03d}",
    st.integers(0, 999_999),
    st.dates(date(1890, 1, 1), date(2030, 12, 31)),
    st.integers(0, 999),
)
_VALID_ID = _BODY.map(lambda body: body + ids.id_check_character(body))
_PHONE = st.from_regex(r"1[0-9]{10}", fullmatch=True)
_DIGITS = st.text("0123456789", min_size=0, max_size=20)
_SEEDS = st.one_of(
    _PHONE,
    _VALID_ID,
    _VALID_ID.map(str.lower),
    _BODY.map(lambda body: body[:14] + "0000"),
    _BODY.map(lambda body: body[:6] + body[8:]),
    st.tuples(_BODY, st.sampled_from("0123456789Xx")).map("".join),
    _DIGITS,
    _DIGITS.map(lambda digits: f"{digits}.0"),
    st.sampled_from(["1.38E+10", "3.10101E+17", "1e5", "2.E-3", "1990-01-01", "1990年1月2日", "2025/1/1 0:00", "=A1"]),
    st.sampled_from(sorted(ids.EMPTY_WORDS)).map(str.upper),
    st.sampled_from(["C1", "c5", "C6", "C1 保守型", "C2（谨慎）", "C10", "c3x", "C3\n稳健", "R3"]),
    st.text(max_size=12),
)
_NOISE = st.text(ids.SEPARATORS + ids.APOSTROPHES + "+86０１ＸXx.\x00=", max_size=4)


def _widen(text: str, which: list[bool]) -> str:
    flags = which + [False] * len(text)
    narrow_to_wide = {narrow: wide for wide, narrow in ids.FULL_WIDTH.items()}
    return "".join(narrow_to_wide.get(c, c) if flags[i] else c for i, c in enumerate(text))


_CELL = st.one_of(
    st.none(),
    _SEEDS,
    st.builds(lambda a, text, b: a + text + b, _NOISE, _SEEDS, _NOISE),
    st.builds(lambda text, at, noise: text[:at] + noise + text[at:], _SEEDS, st.integers(0, 18), _NOISE),
    st.builds(_widen, _SEEDS, st.lists(st.booleans(), max_size=20)),
    st.builds(
        lambda prefix, phone: prefix + phone, st.sampled_from(["+86", "0086", "86", "+852", "00", "+086", "0"]), _PHONE
    ),
)
_CELLS = st.lists(_CELL, max_size=12)


def _pairs(frame: pl.DataFrame) -> list[tuple[str | None, str | None]]:
    return list(zip(frame["value"].to_list(), frame["fault"].to_list(), strict=True))


def _reference(cleaned: list[ids.Cleaned]) -> list[tuple[str | None, str | None]]:
    return [(one.value, one.fault) for one in cleaned]


def _column(cells: list[str | None]) -> pl.Series:
    return pl.Series("cell", cells, dtype=pl.String)


@settings(max_examples=250, deadline=None)
@given(_CELLS)
def test_phone_columns_agree_with_the_reference_on_every_spelling(cells: list[str | None]) -> None:
    assert _pairs(normalise.clean_phones(_column(cells))) == _reference([ids.normalise_phone(cell) for cell in cells])


@settings(max_examples=200, deadline=None)
@given(_CELLS, st.sampled_from([TODAY, date(1999, 12, 31), date(2000, 2, 29)]))
def test_id_columns_agree_with_the_reference_on_every_spelling(cells: list[str | None], today: date) -> None:
    got = normalise.clean_id_numbers(_column(cells), today=today)
    assert _pairs(got) == _reference([ids.normalise_id_no(cell, today=today) for cell in cells])


@settings(max_examples=200, deadline=None)
@given(_CELLS)
def test_risk_and_customer_columns_agree_with_the_reference(cells: list[str | None]) -> None:
    column = _column(cells)
    assert _pairs(normalise.clean_risk_levels(column)) == _reference([ids.normalise_risk_level(c) for c in cells])
    assert _pairs(normalise.clean_customer_ids(column)) == _reference([ids.normalise_customer_id(c) for c in cells])


@settings(max_examples=200, deadline=None)
@given(_CELLS)
def test_text_and_mask_columns_agree_with_the_reference(cells: list[str | None]) -> None:
    assert normalise.clean_texts(_column(cells)).to_list() == [ids.normalise_text(cell).value for cell in cells]
    masked = normalise.mask_unknown_cells(_column(cells)).to_list()
    assert masked == [ids.mask_unknown(cell or "") for cell in cells]


def test_every_day_around_month_ends_is_judged_as_the_calendar_does() -> None:
    cells: list[str | None] = []
    for year in (1899, 1900, 1904, 1999, 2000, 2023, 2024, 2025, 2100):
        for month in range(14):
            for day in (0, 1, 28, 29, 30, 31, 32):
                body = f"999999{year}{month:02d}{day:02d}123"
                cells.append(body + ids.id_check_character(body))
    got = normalise.clean_id_numbers(_column(cells), today=TODAY)
    assert _pairs(got) == _reference([ids.normalise_id_no(cell, today=TODAY) for cell in cells])


@pytest.mark.parametrize("height", [0, 1, 3])
def test_columns_without_any_value_stay_without_values_and_faults(height: int) -> None:
    empty = _column([None] * height)
    for frame in (normalise.clean_phones(empty), normalise.clean_id_numbers(empty, today=TODAY)):
        assert _pairs(frame) == [(None, None)] * height


def test_a_fitting_number_that_ends_in_three_zeros_is_marked_as_suspect() -> None:
    bodies = [f"999999199001{day:02d}{order:02d}0" for day in range(1, 29) for order in range(0, 100, 7)]
    fitting = [body + "0" for body in bodies if body.endswith("00") and ids.id_check_character(body) == "0"]
    assert fitting, "the search must find numbers of this kind"
    other = "99999919900101123" + ids.id_check_character("99999919900101123")
    got = normalise.clean_id_numbers(_column([*fitting, other, None]), today=TODAY)
    assert got["suspect"].to_list() == [True] * len(fitting) + [False, False]
    assert got["fault"].null_count() == got.height
