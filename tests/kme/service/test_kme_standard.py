"""Requests and answers of ETSI GS QKD 014 as values: every field, every wrong value, every fixed message."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workbench_kme.service import delivery, standard
from workbench_kme.service.standard import DeliveredKey, KeyRequest, Refusal

UUID = "6960b6a7-35ce-4301-9ac5-b073aa8cb494"
JSON = "application/json"


def refused(body: dict[str, Any]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        standard.parse_key_request(standard.parse_body(json.dumps(body).encode(), JSON))
    assert caught.value.status == 400
    return caught.value


def test_an_empty_request_asks_for_one_key_of_the_default_size() -> None:
    assert standard.parse_key_request({}) == KeyRequest(1, 256)
    assert standard.parse_key_query([]) == KeyRequest(1, 256)


def test_every_member_of_a_key_request_is_read() -> None:
    request = standard.parse_key_request(
        {
            "number": 3,
            "size": 128,
            "additional_slave_SAE_IDs": ["a", "b"],
            "extension_mandatory": [{"workbench_origin": ["simulated", "imported"]}, {"workbench_origin": ["imported"]}],
            "extension_optional": [{"some-vendor": {"x": 1}}],
        }
    )
    assert request == KeyRequest(3, 128, ("a", "b"), frozenset({"imported"}), None, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("number", bad) for bad in (0, -1, 129, True, 1.0, "1", None, [], {}, 2**70)],
        *[("size", bad) for bad in (0, 56, 264, -8, True, 256.0, "256", None, [])],
        *[("additional_slave_SAE_IDs", bad) for bad in ("a", {}, None, [1], [""], ["a b"], ["a", "a"], [["a"]], list("abcdefghi"))],
        *[("extension_mandatory", bad) for bad in ({}, "x", None, [1], [[]], [{}] * 33)],
        *[("extension_optional", bad) for bad in ({}, "x", None, [1], ["x"], [{}] * 33)],
    ],
)
def test_every_wrong_value_of_every_member_is_refused_by_name(name: str, value: Any) -> None:
    refusal = refused({name: value})
    assert name in refusal.message
    assert {"parameter": name} in refusal.details


def test_a_member_that_the_standard_does_not_name_is_refused() -> None:
    assert "numbr" in refused({"numbr": 1}).message
    assert "\x1b" not in refused({"\x1b[2J": 1}).message


@pytest.mark.parametrize("size", [1, 7, 65, 255, 257])
def test_a_size_that_is_no_multiple_of_eight_gets_the_standards_own_message(size: int) -> None:
    assert refused({"size": size}).message == "size shall be a multiple of 8"


def test_an_unknown_mandatory_extension_gets_the_standards_own_message() -> None:
    refusal = refused({"extension_mandatory": [{"route": "direct"}]})
    assert refusal.message == "not all extension_mandatory parameters are supported"
    assert refusal.details == [{"parameter": "route"}]


@pytest.mark.parametrize("origins", [[], "simulated", ["quantum"], [1], [["simulated"]], None])
def test_an_origin_that_does_not_exist_is_refused(origins: Any) -> None:
    assert refused({"extension_mandatory": [{"workbench_origin": origins}]}).status == 400


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{", b'{"number":NaN}', b'{"number":1,"number":2}', b'{"size":1e999}', b"\xff\xfe", b"{}" + b" " * 70_000,
     b'{"extension_optional":' + b"[" * 5000 + b"]" * 5000 + b"}", b'{"extension_optional":[' + b'{"a":' * 20 + b"1" + b"}" * 20 + b"]}"],
)  # fmt: skip
def test_what_is_no_small_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        standard.parse_body(body, JSON)
    assert caught.value.status == 400


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=gb18030"])
def test_another_content_type_is_refused(kind: str) -> None:
    with pytest.raises(Refusal):
        standard.parse_body(b"{}", kind)


@pytest.mark.parametrize("query", [[("number", "")], [("number", "0")], [("number", "1.0")], [("size", "+256")], [("number", "1"), ("number", "1")], [("additional_slave_SAE_IDs", "a")], [("x", "1")]])  # fmt: skip
def test_the_simple_form_takes_number_and_size_once_and_nothing_else(query: list[tuple[str, str]]) -> None:
    with pytest.raises(Refusal):
        standard.parse_key_query(query)


@pytest.mark.parametrize(
    "body",
    [{}, {"key_IDs": []}, {"key_IDs": UUID}, {"key_IDs": [UUID]}, {"key_IDs": [{}]}, {"key_IDs": [{"key_ID": 7}]}, {"key_IDs": [{"key_ID": "x"}]},
     {"key_IDs": [{"key_ID": UUID}, {"key_ID": UUID.upper()}]}, {"key_IDs": [{"key_ID": UUID, "more": 1}]}, {"key_IDs": [{"key_ID": UUID, "key_ID_extension": 1}]},
     {"key_IDs": [{"key_ID": UUID}], "key_IDs_extension": []}, {"key_IDs": [{"key_ID": UUID}], "more": 1}, {"key_IDs": [{"key_ID": f"{UUID[:-12]}{n:012x}"} for n in range(129)]}],
)  # fmt: skip
def test_every_wrong_list_of_key_ids_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        standard.parse_key_ids(body)
    assert caught.value.status == 400


def test_key_ids_are_read_in_any_case_with_their_extensions() -> None:
    body = {"key_IDs": [{"key_ID": UUID.upper(), "key_ID_extension": {}}], "key_IDs_extension": {}}
    assert standard.parse_key_ids(body) == [UUID]
    assert standard.parse_key_id_query([("key_ID", UUID.upper())]) == [UUID]
    for query in ([], [("key_ID", UUID), ("key_ID", UUID)], [("key_ID", "x")], [("key_id", UUID)]):
        with pytest.raises(Refusal):
            standard.parse_key_id_query(query)


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
            st.sampled_from(["number", "size", "additional_slave_SAE_IDs", "extension_mandatory", "workbench_origin", "key_IDs", "key_ID", "x"]), inner, max_size=4
        ),
        max_leaves=12,
    )
)  # fmt: skip
def test_no_json_whatever_makes_the_parsers_fail_otherwise_than_by_refusing(value: Any) -> None:
    try:
        body = standard.parse_body(json.dumps(value).encode(), JSON)
    except Refusal:
        return
    for parse in (standard.parse_key_request, standard.parse_key_ids):
        try:
            parse(body)
        except Refusal as refusal:
            assert refusal.status == 400


def test_a_simulated_key_is_never_called_quantum() -> None:
    for origin in standard.ORIGINS:
        told = standard.provenance_of(DeliveredKey(UUID, bytes(32), 7, origin, "x", "metro"))
        assert told["origin"] == origin
        assert told["quantum"] is (origin == "device-014")
        if origin != "device-014":
            assert "not a quantum key" in told["note"]


def test_no_key_value_stands_in_a_repr() -> None:
    key = DeliveredKey(UUID, b"\x41" * 32, 7, "simulated", "x", "metro")
    assert "AAAA" not in repr(key) and "QUFB" not in repr(key)


def test_the_description_of_the_interface_names_every_path_and_only_these() -> None:
    described = json.loads(delivery.openapi())
    assert sorted(described["paths"]) == [
        "/api/v1/keys/{master_SAE_ID}/dec_keys",
        "/api/v1/keys/{slave_SAE_ID}/enc_keys",
        "/api/v1/keys/{slave_SAE_ID}/status",
    ]
    for methods in described["paths"].values():
        for method in ("get", "post"):
            if method in methods:
                assert set(methods[method]["responses"]) == {"200", "400", "401", "503"}
