"""Who goes into an attempt, and that nothing of it changes while it is packed."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from workbench.contracts import ConsentDecision, IntersectionOutcome
from workbench.domain.intersection import KeyKind
from workbench.errors import Refused
from workbench.flows.inputs import Inputs, choose_inputs, released_frame

PEOPLE = 200


def a_list(*, phone_width: int = 11) -> pl.DataFrame:
    numbers = range(PEOPLE)
    return pl.DataFrame(
        {
            "customer_id": [f"c{number}" for number in numbers],
            "phone": [f"1{number:0{phone_width - 1}d}" for number in numbers],
            "id_no": [None] * PEOPLE,
            "name": ["合成客户"] * PEOPLE,
            "risk_level": [f"C{number % 5 + 1}" for number in numbers],
            "城市": [None if number % 3 else "甲市" for number in numbers],
        },
        schema_overrides={"id_no": pl.String},
    )


def a_decision(customers: pl.DataFrame) -> ConsentDecision:
    """Everybody but each fourth, whose reasons take turns."""
    numbers = np.arange(customers.height)
    usable = numbers % 4 != 0
    reason = np.array(["" if one else ("EXPIRED", "NO_GRANT")[number % 8 // 4] for number, one in enumerate(usable)], object)
    digests = np.where(usable[:, None], numbers[:, None], 0).astype(np.uint8) * np.ones((1, 32), np.uint8)
    return ConsentDecision(usable, reason, digests, np.where(usable, numbers + 5, 0), 17, {})


def chosen(rule: str = "risk_level >= C3", frame: pl.DataFrame | None = None) -> Inputs:
    people = a_list() if frame is None else frame
    return choose_inputs(people, list_name="list", rule=rule, kind=KeyKind.PHONE, decide=a_decision)


@pytest.mark.parametrize("rule", ["", "risk_level >= C3"])
def test_inputs_are_the_audience_with_a_live_grant(rule: str) -> None:
    inputs, people = chosen(rule), a_list()
    expected = [n for n in range(PEOPLE) if n % 4 and (not rule or n % 5 >= 2)]
    assert inputs.rows.tolist() == expected and inputs.size == len(expected)
    assert list(inputs.identifiers) == [people["phone"][n].encode() for n in expected]
    assert inputs.frame.equals(people[expected])
    assert inputs.decision_digests[:, 31].tolist() == expected
    assert inputs.valid_until_ms.tolist() == [n + 5 for n in expected]
    left_out = [n for n in range(PEOPLE) if n % 4 == 0 and (not rule or n % 5 >= 2)]
    assert inputs.reasons == {
        name: sum(("EXPIRED", "NO_GRANT")[n % 8 // 4] == name for n in left_out) for name in ("EXPIRED", "NO_GRANT")
    }


def test_selection_is_the_decision_on_the_audience_in_the_order_of_the_list() -> None:
    inputs, everyone = chosen(), a_decision(a_list())
    audience = [n for n in range(PEOPLE) if n % 5 >= 2]
    selection = inputs.selection
    assert selection.usable.tolist() == everyone.usable[audience].tolist()
    assert selection.reason.tolist() == everyone.reason[audience].tolist()
    assert np.array_equal(selection.grant_digest, everyone.grant_digest[audience])
    assert np.array_equal(selection.valid_until_ms, everyone.valid_until_ms[audience])
    assert selection.as_of == 17 and selection.counts == inputs.reasons


def test_packing_changes_nobody() -> None:
    inputs = chosen()
    packed = inputs.packed()
    assert packed.frame.equals(inputs.frame) and packed.frame.schema == inputs.frame.schema
    assert list(packed.identifiers) == list(inputs.identifiers)
    assert packed.rows.tolist() == inputs.rows.tolist() and packed.size == inputs.size
    assert packed.valid_until_ms.tolist() == inputs.valid_until_ms.tolist()
    assert packed.packed() is packed
    hits = np.array([3, 0, 7])
    outcome = IntersectionOutcome(
        hits=hits, cardinality=3, struck=0, dropped=0, result_digest=b"", partner_digest=b"", partner_bucket=256, grant_commitments={}
    )
    target = released_frame(packed, outcome, columns=["城市"])
    assert target.equals(released_frame(inputs, outcome, columns=["城市"]))
    assert sorted(target["phone"].to_list()) == sorted(list(inputs.identifiers)[hit].decode() for hit in hits)


def test_keys_read_like_a_list_of_bytes() -> None:
    keys, expected = chosen().identifiers, [text.encode() for text in chosen().frame["phone"]]
    assert len(keys) == len(expected) and list(keys) == expected
    assert [keys[place] for place in range(len(keys))] == expected and keys[-1] == expected[-1]
    assert all(keys[start : start + 7] == expected[start : start + 7] for start in range(0, len(keys) + 3, 5))
    with pytest.raises(IndexError):
        keys[len(keys)]
    assert expected[0].decode() not in repr(keys) + repr(chosen())


def test_keys_of_different_lengths_are_kept_too() -> None:
    people = a_list().with_columns(pl.Series("phone", [f"1{number}" for number in range(PEOPLE)]))
    inputs = chosen(frame=people)
    assert list(inputs.identifiers) == [text.encode() for text in inputs.frame["phone"]]


def test_an_audience_of_nobody_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        chosen('城市 == "乙市"')
    assert refused.value.code == "EMPTY_AUDIENCE"
