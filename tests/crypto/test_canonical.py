"""Canonical JSON: one value has one spelling, or a signature could be moved to another text."""

from __future__ import annotations

import json

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.crypto import canonical
from workbench.errors import VerificationError

LEAVES = (
    st.none() | st.booleans() | st.integers(-canonical.MAX_INTEGER, canonical.MAX_INTEGER)
    | st.text(st.characters(exclude_categories=["Cs"]))
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_bytes_equal_those_of_the_reference_library_and_parse_back(value: canonical.Json) -> None:
    data = canonical.format(value)
    assert data == rfc8785.dumps(value)
    assert canonical.parse(data) == value


def test_keys_are_sorted_by_utf_16_units() -> None:
    """An emoji sorts before U+FB33 in UTF-16 but after it by code point (example of RFC 8785 section 3.2.3)."""
    assert canonical.format({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1}', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a":1.0}', b'{"a":1e2}', b'{"a":-0}', b'{"a":01}', b"NaN",
        b"Infinity", b'"\\u0041"', b'"\\/"', b'"\xff"', b"\xef\xbb\xbf{}", b"{} ", b" {}", b"", b"{", b'"\\ud800"',
        b'{"a":9007199254740992}', b"[" * 100 + b"]" * 100, b"[" * 100_000, b"{}{}", b"'a'", b"[1,]", b'"a\nb"',
    ],
)  # fmt: skip
def test_every_other_spelling_is_refused(data: bytes) -> None:
    with pytest.raises(VerificationError) as refusal:
        canonical.parse(data)
    assert refusal.value.code == "NOT_CANONICAL"


@pytest.mark.parametrize(
    "value", [1.5, float("nan"), 2**53, -(2**53), {1: "a"}, b"bytes", {"a": {2, 3}}, "\ud800", [["x", {"中": 0.5}]]]
)
def test_values_without_one_spelling_are_refused(value: object) -> None:
    with pytest.raises(ValueError):  # whichever rule fired
        canonical.format(value)


def test_objects_only_where_an_object_is_asked_for() -> None:
    assert canonical.parse_object(b'{"a":"1"}') == {"a": "1"}
    with pytest.raises(VerificationError):
        canonical.parse_object(b"[]")


def test_output_is_plain_json_for_everybody_else() -> None:
    value = {"zh": "证据\u2028", "n": 5, "nested": [True, None, {"x": '"\\\u0007'}]}
    assert json.loads(canonical.format(value)) == value
