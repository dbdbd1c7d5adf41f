"""What a saved notebook may hold: no phone number and no identity number, in whatever way it was written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st
from workbench.jupyter.notebook_cleaning import clean, clean_before_saving, holds_identifier, mask

PHONES = st.from_regex(r"1[0-9]{10}", fullmatch=True)
ID_NOS = st.from_regex(r"[0-9]{17}[0-9X]", fullmatch=True)
GAPS = st.sampled_from(["", " ", "-", "\u2011"])
FULL_WIDTH = str.maketrans("0123456789X", "０１２３４５６７８９Ｘ")


def code(source: str, *outputs: dict[str, Any]) -> dict[str, Any]:
    cells = [{"cell_type": "code", "source": source, "outputs": list(outputs), "metadata": {}}]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def stream(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text}


def shown(**data: Any) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {name.replace("_", "/", 1): value for name, value in data.items()}, "metadata": {}}


@given(PHONES, GAPS, st.sampled_from(["", "+86", "86 ", "0086-", "tel:"]))
def test_a_phone_number_is_found_however_it_is_written(phone: str, gap: str, prefix: str) -> None:
    written = prefix + gap.join((phone[:3], phone[3:7], phone[7:]))
    for text in (written, written.translate(FULL_WIDTH), f"call {written}, now"):
        assert holds_identifier(text)
        assert not holds_identifier(mask(text))


@given(ID_NOS, GAPS)
def test_an_identity_number_is_found_however_it_is_written(id_no: str, gap: str) -> None:
    written = gap.join((id_no[:6], id_no[6:14], id_no[14:]))
    for text in (written, written.translate(FULL_WIDTH), written.lower()):
        assert holds_identifier(text)
        assert not holds_identifier(mask(text))


@pytest.mark.parametrize("text", ["1732200000123", "J-20261121-a1b2c3d4", "e19a04c7b2" * 6, "20,000", "2026-11-21 14:05:52", "199****0317"])
def test_times_ids_digests_and_masked_values_stay_as_they_are(text: str) -> None:
    assert mask(text) == text


def test_an_output_with_a_number_is_not_saved_and_one_without_stays() -> None:
    notebook = code("print(x)", stream("19900000317"), stream("1,128 customers"))
    assert clean(notebook) == 1
    assert [one["text"] for one in notebook["cells"][0]["outputs"]] == ["1,128 customers"]


@pytest.mark.parametrize(
    "output",
    [
        shown(text_plain="<Figure>", image_png="iVBORw0KGgo="),
        shown(**{"application_vnd.jupyter.widget-view+json": {"model_id": "a"}, "text_plain": "Venn()"}),
        shown(text_html=["<td>199", "00000317</td>"]),
        shown(application_json={"phone": "19900000317"}),
        {"output_type": "error", "ename": "KeyError", "evalue": "19900000317", "traceback": ["…"]},
    ],
)
def test_what_cannot_be_checked_or_holds_a_number_is_not_saved(output: dict[str, Any]) -> None:
    notebook = code("x", output)
    clean(notebook)
    assert notebook["cells"][0]["outputs"] == []


def test_magics_and_shell_lines_with_a_number_go_and_other_source_is_masked() -> None:
    notebook = code("!grep 19900000317 list.csv\nx = '19900000317'\n%env P=1")
    clean(notebook)
    source = notebook["cells"][0]["source"]
    assert "grep" not in source and "%env P=1" in source
    assert "x = '199****0317'" in source


def test_a_cell_magic_with_a_number_goes_as_a_whole() -> None:
    notebook = code("%%writefile customers.csv\nphone\n19900000317\n王小明")
    clean(notebook)
    assert "王小明" not in notebook["cells"][0]["source"]


def test_text_cells_attachments_and_widget_state_are_cleaned_too() -> None:
    notebook = code("1 + 1")
    notebook["cells"].append({"cell_type": "markdown", "source": ["call 199-0000-", "0317"], "attachments": {"a.png": {}}, "metadata": {}})
    notebook["metadata"]["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {"x": "19900000317"}}}
    clean(notebook)
    assert not holds_identifier(json.dumps(notebook, ensure_ascii=False))
    assert "widgets" not in notebook["metadata"] and "attachments" not in notebook["cells"][1]


def test_cleaning_twice_changes_nothing_more() -> None:
    notebook = code("x = '19900000317'", stream("ok"))
    clean(notebook)
    once = json.dumps(notebook)
    assert clean(notebook) == 0
    assert json.dumps(notebook) == once


def test_files_that_are_no_notebooks_are_left_alone() -> None:
    model = {"type": "file", "content": "19900000317"}
    clean_before_saving(model, path="a.txt", contents_manager=None)
    assert model["content"] == "19900000317"
