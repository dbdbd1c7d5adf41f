"""Bytes of letters and acknowledgements: what is accepted is exactly what was signed (docs/protocols/letters.md)."""

from __future__ import annotations

import json

import pytest

from workbench.channel import letter as wire
from workbench.crypto import labels, sm2, sm3
from workbench.domain.party import PartyId
from workbench.errors import ProtocolViolation, Refused, TooLarge

BROKER, BANK = PartyId("broker"), PartyId("bank")
KEYS = {party: sm2.generate() for party in (BROKER, BANK)}
BODY = b'{"v":1}'


def header(**changes: object) -> bytes:
    fields: dict[str, object] = {
        "letter_id": "ab" * 16, "kind": "consent.withdrawal", "sender": BROKER, "recipient": BANK, "job": "J-1", "body": BODY,
        "time_ms": 1_790_000_000_000,
    }  # fmt: skip
    return wire.letter_header(**(fields | changes))  # type: ignore[arg-type]


def opened(data: bytes, **changes: object) -> wire.OpenedLetter:
    fields = {"peer": BROKER, "own": BANK, "key": KEYS[BROKER].public} | changes
    return wire.open_letter(data, **fields)  # type: ignore[arg-type]


def test_the_bytes_of_a_letter_are_those_of_the_document() -> None:
    made = header()
    assert made == (
        b'{"digest":"' + sm3.digest(BODY).hex().encode() + b'","from":"broker","id":"' + b"ab" * 16
        + b'","job":"J-1","kind":"consent.withdrawal","size":7,"time_ms":1790000000000,"to":"bank","v":1}'
    )  # fmt: skip
    data = wire.seal_letter(made, BODY, key=KEYS[BROKER])
    assert data[:4] == len(made).to_bytes(4, "big") and data[4 : 4 + len(made)] == made and data[4 + len(made) + 64 :] == BODY
    KEYS[BROKER].public.verify(
        labels.signing_input("letter", party="broker", job="J-1", body=made), data[4 + len(made) :][:64]
    )
    found = opened(data)
    assert (found.body, found.digest, found.header.kind) == (BODY, sm3.digest(made).hex(), "consent.withdrawal")


def test_every_changed_byte_of_a_letter_is_refused() -> None:
    data = wire.seal_letter(header(), BODY, key=KEYS[BROKER])
    for place in range(len(data)):
        with pytest.raises(ProtocolViolation):
            opened(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    for size in range(len(data)):
        with pytest.raises(ProtocolViolation):
            opened(data[:size])
    with pytest.raises(ProtocolViolation, match="LETTER_ALTERED"):
        opened(data + b"x")


def test_every_changed_byte_of_an_acknowledgement_is_refused() -> None:
    made = header()
    letter = opened(wire.seal_letter(made, BODY, key=KEYS[BROKER]))
    answer = wire.answer_header(letter, code="", answer=b"taken", time_ms=5)
    data = wire.seal_answer(answer, b"taken", key=KEYS[BANK])
    key = KEYS[BANK].public
    found = wire.open_answer(data, letter=made, key=key)
    assert (found.answer, found.header.letter, found.header.sender) == (b"taken", letter.digest, "bank")
    for place in range(len(data)):
        with pytest.raises(ProtocolViolation):
            wire.open_answer(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :], letter=made, key=key)
    with pytest.raises(ProtocolViolation, match="OTHER_ANSWER"):
        wire.open_answer(data, letter=header(letter_id="cd" * 16), key=key)
    with pytest.raises(ProtocolViolation, match="ANSWER_SIGNATURE"):
        wire.open_answer(data, letter=made, key=KEYS[BROKER].public)


def test_a_letter_of_another_sender_recipient_or_key_is_refused() -> None:
    data = wire.seal_letter(header(), BODY, key=KEYS[BROKER])
    for changes, code in (
        ({"peer": PartyId("cardnet")}, "WRONG_SENDER"),
        ({"own": PartyId("cardnet")}, "WRONG_RECIPIENT"),
        ({"key": KEYS[BANK].public}, "LETTER_SIGNATURE"),
    ):
        with pytest.raises(ProtocolViolation, match=code):
            opened(data, **changes)


def test_a_signature_of_another_use_does_not_make_a_letter() -> None:
    made = header()
    for kind in ("message", "letter-answer", "bundle"):
        signature = KEYS[BROKER].sign(labels.signing_input(kind, party="broker", job="J-1", body=made))
        with pytest.raises(ProtocolViolation, match="LETTER_SIGNATURE"):
            opened(len(made).to_bytes(4, "big") + made + signature + BODY)


@pytest.mark.parametrize(
    "change",
    [{"v": 2}, {"v": True}, {"more": 1}, {"id": "AB" * 16}, {"kind": "Upper"}, {"time_ms": -1}, {"to": "broker"}, {"size": "7"}, {"digest": ""}],
)
def test_a_header_of_another_form_is_malformed(change: dict[str, object]) -> None:
    value = json.loads(header()) | change
    encoded = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(ProtocolViolation, match="LETTER_MALFORMED"):
        wire.parse_letter_header(encoded)


def test_what_is_too_large_or_names_a_person_is_not_written() -> None:
    with pytest.raises(TooLarge, match="LETTER_TOO_LARGE"):
        header(body=bytes(wire.MAX_BODY_BYTES + 1))
    assert header(body=bytes(wire.MAX_BODY_BYTES))
    with pytest.raises(Refused, match="IDENTIFIER_IN_MESSAGE"):
        header(body=b'{"phone":"13800138000"}')
    with pytest.raises(ProtocolViolation, match="LETTER_TOO_LARGE"):
        opened(bytes(wire.MAX_LETTER_BYTES + 1))
    letter = opened(wire.seal_letter(header(), BODY, key=KEYS[BROKER]))
    with pytest.raises(TooLarge):
        wire.answer_header(letter, code="", answer=bytes(wire.MAX_ANSWER_BYTES + 1), time_ms=1)
    with pytest.raises(ValueError, match="refusal"):
        wire.answer_header(letter, code="NO", answer=b"x", time_ms=1)
