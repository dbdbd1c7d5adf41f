"""The bytes of restriction and recovery: docs/protocols/erasure.md sections 3 to 5."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.domain import erasure
from workbench.errors import StartRefused, VerificationError

KEY, NONCE = bytes(range(32)), bytes(12)
TOKEN = "ab" * 16


@given(st.dictionaries(st.text(max_size=20), st.binary(max_size=40), max_size=5))
def test_what_was_restricted_is_what_is_read(values: dict[str, bytes]) -> None:
    assert erasure.unpack_restricted(erasure.pack_restricted(values)) == values


def test_bytes_of_a_restricted_object_are_those_of_the_document() -> None:
    packed = erasure.pack_restricted({"b": b"\x01\x02", "a": b""})
    assert packed == (
        b"workbench/v1/restricted\n" + bytes([0, 0, 0, 2]) + bytes([0, 0, 0, 1]) + b"a" + bytes(4)
        + bytes([0, 0, 0, 1]) + b"b" + bytes([0, 0, 0, 2]) + b"\x01\x02"
    )  # fmt: skip


def test_every_cut_and_every_other_spelling_is_refused() -> None:
    packed = erasure.pack_restricted({"a": b"x", "b": b"y"})
    for size in range(len(packed)):
        with pytest.raises(VerificationError):
            erasure.unpack_restricted(packed[:size])
    with pytest.raises(VerificationError):
        erasure.unpack_restricted(packed + b"\0")
    head = len(erasure.RESTRICTED_LABEL) + 4
    unsorted = packed[:head] + packed[head + 10 :] + packed[head : head + 10]
    with pytest.raises(VerificationError):
        erasure.unpack_restricted(unsorted)


@given(st.binary(max_size=2000))
def test_a_restored_node_reads_its_own_message_and_nobody_else_does(message: bytes) -> None:
    text = erasure.seal_recovery(KEY, message, binding="root", nonce=NONCE)
    assert erasure.open_recovery(KEY, text, binding="root") == message
    for key, binding in ((bytes(32), "root"), (KEY, "other")):
        with pytest.raises(VerificationError):
            erasure.open_recovery(key, text, binding=binding)


def test_the_length_of_a_message_tells_its_size_class_only() -> None:
    sizes = {len(erasure.seal_recovery(KEY, bytes(size), binding="", nonce=NONCE)) for size in range(1, 508)}
    assert sizes == {2 * (12 + 512 + 16)}
    assert erasure.seal_recovery(KEY, bytes(erasure.RECOVERY_LIMIT + 1), binding="", nonce=NONCE) == ""


def test_every_altered_byte_of_a_message_is_refused() -> None:
    sealed = bytes.fromhex(erasure.seal_recovery(KEY, b"who", binding="r", nonce=NONCE))
    for at in range(0, len(sealed), 7):
        altered = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(VerificationError):
            erasure.open_recovery(KEY, altered.hex(), binding="r")
    with pytest.raises(VerificationError):
        erasure.open_recovery(KEY, "not hex", binding="r")


def test_names_are_tokens_and_come_back_whole() -> None:
    packed = erasure.pack_names("E-1", [TOKEN, "00" * 16])
    assert erasure.unpack_names(packed) == ("E-1", (TOKEN, "00" * 16))
    with pytest.raises(VerificationError):
        erasure.unpack_names(packed[:-1])
    with pytest.raises(ValueError, match="token"):
        erasure.pack_names("E-1", [b"10012345678".hex()])


def test_references_name_place_leaf_and_fields() -> None:
    text = " ".join(erasure.reference("broker", index, bytes(32), ["b", "a"]) for index in (3, 7))
    assert text.startswith(f"entry:broker:3:{'00' * 32}=a,b entry:broker:7:")
    assert erasure.parse_references(text) == {3: frozenset("ab"), 7: frozenset("ab")}
    for wrong in ("entry:broker:x:00=a", "entry:broker:3", "3=a"):
        with pytest.raises(VerificationError):
            erasure.parse_references(wrong)


def test_the_longest_name_decides_the_term_and_no_name_means_none() -> None:
    terms = erasure.Terms({"consent.": [1096, "三年", "three"], "consent.checked": [0, "无", "none"]})
    assert terms.of("consent.withdrawn").days == 1096
    assert terms.of("consent.checked").days == 0
    assert terms.of("consents").days == terms.of("rights.requested").days == 0
    assert terms.of("consent.withdrawn").until_ms(5) == 5 + 1096 * 86_400_000


@pytest.mark.parametrize("table", [{"consent.": 3}, {"consent.": ["3", "", ""]}, {"consent.": [-1, "", ""]}, {"X": [1, "", ""]}])
def test_a_term_that_cannot_be_read_stops_the_start(table: dict[str, object]) -> None:
    with pytest.raises(StartRefused):
        erasure.Terms(table)


def test_neither_customer_nor_request_shows_whom_it_is_about() -> None:
    customer = erasure.Customer((TOKEN,), ("10000000001",), ("99000019900101001X",))
    request = erasure.ErasureRequest("E-1", erasure.Stage.RESTRICT, customer, "t-1", "asked by phone 10000000001")
    for secret in (TOKEN, "10000000001", "99000019900101001X"):
        assert secret not in repr(request) + repr(customer) + str(request)
