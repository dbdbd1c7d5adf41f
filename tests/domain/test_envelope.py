"""Envelopes and commitments: one spelling, refused in every other; docs/protocols/evidence.md sections 1 to 3."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.crypto.random import SeededSource
from workbench.domain import envelope as envelopes
from workbench.domain.envelope import (
    Envelope,
    build_envelope,
    check_opening,
    parse_envelope,
)
from workbench.domain.evidence import EntryRef, EvidenceKind, Field, Visibility
from workbench.domain.listdigest import export_digest
from workbench.domain.party import PartyId
from workbench.errors import VerificationError

BROKER = PartyId("broker")
KIND = EvidenceKind(
    "intersection.released",
    (
        Field("partner", Visibility.SHARED, "对方", "partner"),
        Field("count", Visibility.COMMITTED, "人数", "customers"),
        Field("rule", Visibility.COMMITTED, "规则", "rule"),
    ),
    "放行",
    "released",
)
VALUES = {"partner": "bank", "count": "1128", "rule": "资产档 in (A,B)"}


def build(values: dict[str, str] = VALUES, **changes: object) -> tuple[bytes, dict[str, tuple[bytes, str]]]:
    arguments = {
        "time_ms": 1_795_000_000_123,
        "log": BROKER,
        "job": "J-20261121-0a1b2c3d",
        "actor": "P-7",
        "refs": ["sm3:" + "ab" * 32],
        "salts": SeededSource(b"salts"),
        **changes,
    }
    return build_envelope(KIND, values, **arguments)  # type: ignore[arg-type]  # what the test changes on purpose


def test_the_body_is_exactly_the_document_s_canonical_json() -> None:
    body, openings = build()
    digests = {
        name: hashlib.new(
            "sm3",
            b"\x02"
            + b"".join(
                len(part).to_bytes(4, "big") + part
                for part in (
                    b"workbench/v1/commitment",
                    b"intersection.released",
                    name.encode(),
                    openings[name][0],
                    VALUES[name].encode(),
                )
            ),
        ).hexdigest()
        for name in ("count", "rule")
    }
    expected = (
        '{"actor":"P-7","committed":{"count":"' + digests["count"] + '","rule":"' + digests["rule"] + '"},'
        '"job":"J-20261121-0a1b2c3d","kind":"intersection.released","log":"broker","refs":["sm3:' + "ab" * 32 + '"],'
        '"shared":{"partner":"bank"},"time":"2026-11-18T11:06:40.123Z","v":"workbench/v1/entry"}'
    )
    assert body == expected.encode()


def test_a_committed_value_appears_nowhere_in_the_body() -> None:
    body, openings = build()
    assert b"1128" not in body
    assert openings["count"][1] == "1128"
    assert len(openings["count"][0]) == 32
    assert openings["count"][0] != openings["rule"][0]


def test_equal_values_commit_differently_in_every_entry() -> None:
    """A repeated value must not be recognisable across mirrored entries."""
    source = SeededSource(b"one stream")
    first, second = (parse_envelope(build(salts=source)[0]) for _ in range(2))
    assert first.committed["count"] != second.committed["count"]


def test_parse_gives_back_what_was_built() -> None:
    body, _ = build()
    parsed = parse_envelope(body)
    assert (parsed.kind, parsed.time_ms, parsed.log) == ("intersection.released", 1_795_000_000_123, BROKER)
    assert (parsed.job, parsed.actor, parsed.refs) == ("J-20261121-0a1b2c3d", "P-7", ("sm3:" + "ab" * 32,))
    assert parsed.shared == {"partner": "bank"}
    assert envelopes.format_envelope(parsed) == body


def test_an_opening_fits_its_own_field_and_no_other() -> None:
    body, openings = build()
    parsed = parse_envelope(body)
    salt, value = openings["count"]
    check_opening(parsed, "count", salt, value)
    flipped = bytes([salt[0] ^ 1]) + salt[1:]
    for field, other_salt, other_value in [
        ("count", salt, "1129"),
        ("count", salt, "1128 "),
        ("count", flipped, value),
        ("count", salt[:31], value),
        ("rule", salt, value),
        ("partner", salt, value),
        ("nothing", salt, value),
    ]:
        with pytest.raises(VerificationError) as refused:
            check_opening(parsed, field, other_salt, other_value)
        assert refused.value.code == "OPENING"
        assert value not in str(refused.value)


def test_length_prefixes_keep_field_and_value_apart() -> None:
    """Without them, moving a character from one part to the next would give the same commitment."""
    salt = bytes(32)
    assert envelopes.commit(kind="a.bc", field="d", salt=salt, value="x") != envelopes.commit(
        kind="a.b", field="cd", salt=salt, value="x"
    )


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_every_one_byte_change_is_refused_or_another_entry(data: st.DataObject) -> None:
    body, _ = build()
    place = data.draw(st.integers(0, len(body) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda one: one != body[place]))
    changed = body[:place] + bytes([byte]) + body[place + 1 :]
    try:
        parsed = parse_envelope(changed)
    except VerificationError as error:
        assert error.code == "ENVELOPE"
        return
    assert parsed != parse_envelope(body)
    assert envelopes.format_envelope(parsed) == changed


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(extra="1"),
        lambda value: value.pop("actor"),
        lambda value: value.update(v="workbench/v2/entry"),
        lambda value: value.update(kind="released"),
        lambda value: value.update(kind="Intersection.released"),
        lambda value: value.update(kind="a.b.c.d.e"),
        lambda value: value.update(time="2026-11-18T11:06:40.123+00:00"),
        lambda value: value.update(time="2026-11-18T11:06:40Z"),
        lambda value: value.update(time="2026-02-30T11:06:40.123Z"),
        lambda value: value.update(time="1969-12-31T23:59:59.999Z"),
        lambda value: value.update(time=1),
        lambda value: value.update(log="Broker"),
        lambda value: value.update(job="J 1"),
        lambda value: value.update(actor="张三"),
        lambda value: value.update(refs=["a b"]),
        lambda value: value.update(refs=[""]),
        lambda value: value.update(refs=["x"] * 65),
        lambda value: value.update(refs="x"),
        lambda value: value.update(shared={"Partner": "bank"}),
        lambda value: value.update(shared={"partner": 1}),
        lambda value: value.update(shared={"partner": "x" * 16_385}),
        lambda value: value.update(shared={"count": "7"}),
        lambda value: value.update(shared={f"f{i}": "" for i in range(63)}),
        lambda value: value.update(committed={"count": "AB" * 32}),
        lambda value: value.update(committed={"count": "ab" * 31}),
        lambda value: value.update(committed=[]),
    ],
)
def test_anything_but_the_document_s_form_is_refused(change: object) -> None:
    value = json.loads(build()[0])
    change(value)  # type: ignore[operator]  # a function from the list above
    body = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    with pytest.raises(VerificationError) as refused:
        parse_envelope(body)
    assert refused.value.code == "ENVELOPE"


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"\xff\xfe", b'{"a":1,"a":1}', b"[" * 100, b"{" + b" " * 70_000 + b"}"],
    ids=["empty", "object", "array", "not utf-8", "twice", "deep", "long"],
)
def test_other_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(VerificationError):
        parse_envelope(body)


def test_white_space_and_other_escapes_are_refused() -> None:
    body, _ = build()
    for other in (body + b"\n", body.replace(b":", b": ", 1), body.replace(b"bank", b"\\u0062ank")):
        with pytest.raises(VerificationError):
            parse_envelope(other)


def test_a_wrong_set_of_fields_is_a_programming_mistake() -> None:
    for values in ({"partner": "bank"}, {**VALUES, "extra": "1"}):
        with pytest.raises(ValueError, match="fields"):
            build(values)
    with pytest.raises(TypeError):
        build({**VALUES, "count": 1128})  # type: ignore[dict-item]  # the mistake itself
    with pytest.raises(ValueError, match="actor"):
        build(actor="张三")
    with pytest.raises(ValueError, match="1970"):
        build(time_ms=-1)


def test_participants_are_read_from_the_shared_fields() -> None:
    body, _ = build()
    parsed = parse_envelope(body)
    assert parsed.participants == {"broker", "bank"}
    both = Envelope(
        parsed.kind, parsed.time_ms, BROKER, "", "", (), {"initiator": "cardnet", "participants": "bank broker"}, {}
    )
    assert both.participants == {"bank", "broker", "cardnet"}


def test_entry_references_have_one_spelling() -> None:
    ref = EntryRef(BROKER, 17, bytes(range(32)))
    text = envelopes.format_entry_ref(ref)
    assert envelopes.parse_entry_ref(text) == ref
    for other in (text.upper(), text.replace(":17:", ":017:"), text + " ", text[:-1]):
        with pytest.raises(VerificationError):
            envelopes.parse_entry_ref(other)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 253_402_300_799_999))
def test_times_round_trip(time_ms: int) -> None:
    assert envelopes.parse_time(envelopes.format_time(time_ms)) == time_ms


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=50),
    st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True), st.text(max_size=50), max_size=5),
)
def test_any_text_survives_in_shared_fields(value: str, shared: dict[str, str]) -> None:
    envelope = Envelope("a.b", 0, BROKER, "", "", (), {**shared, "x": value}, {})
    assert parse_envelope(envelopes.format_envelope(envelope)) == envelope


def test_the_list_digest_is_the_document_s_hmac_and_ignores_order_and_repetition() -> None:
    key, ids = b"k" * 32, ["13800000002", "13800000001", "13800000002"]
    expected = hmac.new(key, b"workbench/v1/list\n13800000001\n13800000002\n", "sm3").digest()
    assert export_digest(key, ids) == expected
    assert export_digest(key, ids[:2]) == expected
    assert export_digest(key, ids[:1]) != expected
    assert export_digest(b"l" * 32, ids) != expected


def test_the_list_digest_refuses_what_could_be_read_two_ways() -> None:
    for ids in (["a\nb"], [""]):
        with pytest.raises(ValueError, match="identifier"):
            export_digest(b"k" * 32, ids)
    with pytest.raises(ValueError, match="32 bytes"):
        export_digest(b"k", ["a"])
