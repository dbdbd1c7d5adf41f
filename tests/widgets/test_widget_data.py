"""What a component accepts: plain masked data that adds up, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workbench_widgets import (
    COMPONENTS,
    AnswerStrip,
    DataTable,
    FieldDiff,
    KeyNumbers,
    Lanes,
    PhaseList,
    ProofChain,
    ReceiptCard,
    RejectsTable,
    Stepper,
    Venn,
    Waterfall,
    check_waterfall,
)
from workbench_widgets.plain import check_plain, holds_unmasked
from workbench_widgets.samples import BANK, BROKER, PHASES, RECEIPT, WATERFALL_ROWS, sample_proof, samples

PHONE = "1" + "9912340317"
ID_NO = "31010119900101" + "123X"


def test_every_sample_is_accepted_by_its_component() -> None:
    shown = samples()
    assert {sample.component for sample in shown} == set(COMPONENTS)
    for sample in shown:
        sample.component(**sample.traits).close()


@pytest.mark.parametrize("row", range(1, len(WATERFALL_ROWS)))
@pytest.mark.parametrize("field", ["kept", "removed"])
def test_a_waterfall_that_is_one_off_anywhere_is_refused(row: int, field: str) -> None:
    rows = [dict(one) for one in WATERFALL_ROWS]
    rows[row][field] += 1
    with pytest.raises(ValueError, match="add up"):
        Waterfall(rows=rows)


def test_a_reason_that_is_one_off_is_refused() -> None:
    rows = [dict(one) for one in WATERFALL_ROWS]
    rows[3]["reasons"] = [dict(reason) for reason in rows[3]["reasons"]]
    rows[3]["reasons"][0]["count"] -= 1
    with pytest.raises(ValueError, match="reasons"):
        Waterfall(rows=rows)


@given(start=st.integers(0, 10**7), losses=st.lists(st.integers(0, 10**6), max_size=6), wrong=st.integers(1, 9))
def test_a_waterfall_is_accepted_exactly_when_it_adds_up(start: int, losses: list[int], wrong: int) -> None:
    rows: list[dict[str, Any]] = [{"label": "全部", "kept": start + sum(losses), "removed": 0}]
    for loss in losses:
        rows.append({"label": "步", "kept": rows[-1]["kept"] - loss, "removed": loss})
    check_waterfall(rows)
    if losses:
        rows[-1]["kept"] += wrong
        with pytest.raises(ValueError, match="add up"):
            check_waterfall(rows)


@pytest.mark.parametrize("bad", [-1, 1.0, True, "7", None])
def test_a_count_that_is_no_whole_number_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="whole number"):
        Waterfall(rows=[{"label": "全部", "kept": bad, "removed": 0}])


def test_a_venn_with_more_matches_than_customers_is_refused() -> None:
    sides: dict[str, Any] = {
        "mine": {"tile": "甲", "name": "甲证券", "count": 60},
        "partner": {"tile": "乙", "name": "乙银行", "bucket": 256},
    }
    Venn(**sides, released=57, dropped=3)
    with pytest.raises(ValueError, match="more matched"):
        Venn(**sides, released=58, dropped=3)


def test_a_verdict_that_contradicts_its_values_is_refused() -> None:
    for verdict, cosigned in (("same", 1_131), ("differs", 1_181)):
        with pytest.raises(ValueError, match="contradicts"):
            FieldDiff(rows=[{"field": "命中人数", "here": 1_181, "cosigned": cosigned, "verdict": verdict}])


def test_a_phase_to_come_must_say_what_each_side_will_learn() -> None:
    with pytest.raises(ValueError, match="learn"):
        PhaseList(rows=[*PHASES[:3], {"name": "揭示名单", "state": "waiting"}])


def test_three_actions_or_two_primary_ones_are_refused() -> None:
    one = {"name": "a", "label": "导出小样 200 位", "primary": True}
    AnswerStrip(actions=[one, {**one, "primary": False}])
    for many in ([one, one], [one, {**one, "primary": False}, {**one, "primary": False}]):
        with pytest.raises(ValueError, match="action"):
            AnswerStrip(actions=many)


def test_a_seal_cannot_be_claimed_only_derived() -> None:
    with pytest.raises(ValueError, match="unknown"):
        ReceiptCard(receipt={**RECEIPT, "state": "sealed"})
    with pytest.raises(ValueError, match="required"):
        ReceiptCard(receipt={**RECEIPT, "required": 4})


def test_rows_of_a_log_must_rise_and_stay_in_their_tree() -> None:
    row = {"index": 7, "time_ms": 0, "kind": "act", "text": "提出", "state": "sealed", "from": "broker"}
    with pytest.raises(ValueError, match="rise"):
        Lanes(lanes=[BROKER, BANK], rows=[row, row])
    proof = sample_proof().proof
    with pytest.raises(ValueError, match="outside"):
        ProofChain(proof={**proof, "index": proof["size"]})


@pytest.mark.parametrize("text", [PHONE, f"电话{PHONE}。", f"+86{PHONE}", f"0086 {PHONE}", "199 1234 0317", "199-1234-0317", ID_NO, f"证件 {ID_NO[:-1]}x"])  # fmt: skip
def test_an_unmasked_identifier_is_refused_in_every_kind_of_text(text: str) -> None:
    column = [{"key": "a", "label": "列"}]
    attempts: list[tuple[Any, dict[str, Any]]] = [
        (AnswerStrip, {"sentence": text}),
        (AnswerStrip, {"notice": {"reason": text}}),
        (DataTable, {"columns": column, "rows": [{"a": "C-7F3A-91"}, {"a": text}]}),
        (RejectsTable, {"rows": [{"line": 1, "column": "手机号", "masked": text, "reason": "", "fix": ""}]}),
        (Waterfall, {"rows": [{"label": text, "kept": 1, "removed": 0}]}),
        (KeyNumbers, {"items": [{"value": text, "label": "数"}]}),
    ]
    for component, traits in attempts:
        with pytest.raises(ValueError, match="unmasked") as refusal:
            component(**traits)
        assert text not in str(refusal.value)


@pytest.mark.parametrize("text", ["199****0317", "3101**********123X", "J-20261121-0042", "2026-11-21 14:05:52", "1795241152000", "e19a04c7" * 8, "1,795,241,152", "48,187", "C-7F3A-91"])  # fmt: skip
def test_masked_values_ids_times_and_digests_are_accepted(text: str) -> None:
    assert not holds_unmasked(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"x", object(), {1: "a"}, {"a": {3, 4}}])
def test_what_is_not_plain_data_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="value"):
        check_plain(value)


def test_an_event_reaches_its_listener_once_and_an_unknown_one_nobody() -> None:
    table = DataTable()
    heard: list[tuple[str, dict[str, Any]]] = []
    stop = table.on_action(lambda name, payload: heard.append((name, payload)), name="open")
    table.event = {"name": "open", "payload": {"row": 3}, "counter": 1}
    table.event = {"name": "page", "payload": {"page": 1}, "counter": 2}
    table.event = {"name": "shutdown", "payload": {}, "counter": 3}
    table.event = {"name": "open", "payload": "rm -rf", "counter": 4}
    stop()
    table.event = {"name": "open", "payload": {"row": 4}, "counter": 5}
    assert heard == [("open", {"row": 3})]


def test_a_misspelt_key_is_refused_instead_of_silently_dropped() -> None:
    with pytest.raises(ValueError, match="remvoed"):
        Waterfall(rows=[{"label": "全部", "kept": 1, "removed": 0, "remvoed": 1}])


def test_steps_need_names() -> None:
    with pytest.raises(ValueError, match="name"):
        Stepper(steps=["名单", ""])
