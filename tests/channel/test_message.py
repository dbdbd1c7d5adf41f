"""Signed messages over a link that drops, repeats, reorders, splices, cuts and alters them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.channel.message import (
    frame_digest,
    OVERHEAD_BYTES,
    InboundSequence,
    OpenedMessage,
    OutboundSequence,
    open_message,
    peek_header,
    seal_message,
)
from workbench.crypto import canonical, random, sm2, sm3
from workbench.domain.party import PartyId
from workbench.errors import PeerError, ProtocolViolation

BROKER, BANK, CARDNET = PartyId("broker"), PartyId("bank"), PartyId("cardnet")
KEY = sm2.generate(random.SeededSource(b"broker"))
OTHER_KEY = sm2.generate(random.SeededSource(b"cardnet"))
CONTRACT = sm3.digest(b"contract").hex()
NOW = 1_772_438_400_000


def outbound(**changes: object) -> OutboundSequence:
    return replace(OutboundSequence(job="J-1", attempt=0, sender=BROKER, recipient=BANK), **changes)  # type: ignore[arg-type]  # test shorthand


def inbound(**changes: object) -> InboundSequence:
    return replace(InboundSequence(job="J-1", attempt=0, sender=BROKER, recipient=BANK), **changes)  # type: ignore[arg-type]  # test shorthand


def seal(sequence: OutboundSequence, payload: bytes = b"points", **changes: object) -> bytes:
    arguments = {"kind": "points", "contract": CONTRACT, "key": KEY, "now_ms": NOW, **changes}
    return seal_message(sequence, payload=payload, **arguments)  # type: ignore[arg-type]  # test shorthand


def receive(frame: bytes, sequence: InboundSequence, **changes: object) -> OpenedMessage:
    arguments = {"key": KEY.public, "contract": CONTRACT, "now_ms": NOW, "max_bytes": 1 << 20, **changes}
    return open_message(frame, sequence, **arguments)  # type: ignore[arg-type]  # test shorthand


def refusal(frame: bytes, sequence: InboundSequence, **changes: object) -> str:
    """The code with which the frame is refused; the state must not move."""
    before = replace(sequence)
    with pytest.raises(ProtocolViolation) as caught:
        receive(frame, sequence, **changes)
    assert sequence == before
    assert isinstance(caught.value, PeerError)
    return caught.value.code


def test_messages_in_order_arrive_whole() -> None:
    sender, receiver = outbound(), inbound()
    for number, payload in enumerate([b"", b"x", bytes(100_000)], start=1):
        frame = seal(sender, payload)
        assert len(frame) - len(payload) <= OVERHEAD_BYTES
        message = receive(frame, receiver)
        assert (message.payload, message.sequence, message.kind) == (payload, number, "points")
        assert message.frame_digest == frame_digest(frame) == sender.previous == receiver.previous
        assert message.frame_digest == sm3.digest(frame[: len(frame) - len(payload)]).hex()


def test_every_one_byte_change_is_refused() -> None:
    frame = seal(outbound())
    for position in range(len(frame)):
        for flip in (0x01, 0x80):
            altered = frame[:position] + bytes([frame[position] ^ flip]) + frame[position + 1 :]
            refusal(altered, inbound())


def test_every_cut_is_refused_and_nothing_may_follow() -> None:
    frame = seal(outbound())
    for size in range(len(frame)):
        code = refusal(frame[:size], inbound())
        assert code in {"MESSAGE_TRUNCATED", "MESSAGE_MALFORMED"}
    assert refusal(frame + b"\x00", inbound()) == "MESSAGE_ALTERED"


def test_a_replayed_message_is_refused() -> None:
    sender, receiver = outbound(), inbound()
    first, second = seal(sender), seal(sender)
    receive(first, receiver)
    assert refusal(first, receiver) == "MESSAGE_REPLAYED"
    receive(second, receiver)
    assert refusal(first, receiver) == "MESSAGE_REPLAYED"
    assert refusal(second, receiver) == "MESSAGE_REPLAYED"


def test_reordered_and_dropped_messages_are_noticed_and_the_right_one_still_fits() -> None:
    sender, receiver = outbound(), inbound()
    first, second, third = (seal(sender) for _ in range(3))
    assert refusal(second, receiver) == "MESSAGE_OUT_OF_ORDER"
    receive(first, receiver)
    assert refusal(third, receiver) == "MESSAGE_OUT_OF_ORDER"
    receive(second, receiver)
    receive(third, receiver)


def test_a_message_of_another_job_attempt_or_contract_is_refused() -> None:
    assert refusal(seal(outbound(job="J-2")), inbound()) == "OTHER_JOB"
    assert refusal(seal(outbound(attempt=1)), inbound()) == "OTHER_ATTEMPT"
    assert refusal(seal(outbound(), contract=sm3.digest(b"other").hex()), inbound()) == "OTHER_CONTRACT"
    assert refusal(seal(outbound(), contract=""), inbound()) == "OTHER_CONTRACT"
    assert refusal(seal(outbound()), inbound(), contract="") == "OTHER_CONTRACT"


def test_a_message_of_another_chain_with_the_right_number_is_refused() -> None:
    """Two runs of one attempt, as after a restored memory image, must not be woven together."""
    sender, twin, receiver = outbound(), outbound(), inbound()
    receive(seal(sender), receiver)
    seal(twin, b"another first")
    assert refusal(seal(twin), receiver) == "MESSAGE_CHAIN"
    receive(seal(sender), receiver)


def test_a_message_of_or_to_somebody_else_is_refused() -> None:
    assert refusal(seal(outbound(sender=CARDNET)), inbound()) == "WRONG_SENDER"
    assert refusal(seal(outbound(recipient=CARDNET)), inbound()) == "WRONG_RECIPIENT"
    assert refusal(seal(outbound(sender=BANK, recipient=BROKER)), inbound()) == "WRONG_SENDER"  # reflected


def test_another_institutions_signature_is_refused() -> None:
    assert refusal(seal(outbound(), key=OTHER_KEY), inbound()) == "MESSAGE_SIGNATURE"


def test_a_signature_over_the_header_alone_is_no_message() -> None:
    """Without the label, a signature made for another use could be passed off as a message."""
    frame = seal(outbound())
    size = int.from_bytes(frame[:4], "big")
    header = frame[4 : 4 + size]
    unlabelled = frame[: 4 + size] + KEY.sign(header) + frame[4 + size + 64 :]
    assert refusal(unlabelled, inbound()) == "MESSAGE_SIGNATURE"


@pytest.mark.parametrize(
    ("offset_ms", "accepted"), [(0, True), (5000, True), (-5000, True), (5001, False), (-5001, False)]
)
def test_clocks_apart_by_more_than_five_seconds_refuse(offset_ms: int, accepted: bool) -> None:
    frame = seal(outbound(), now_ms=NOW + offset_ms)
    if accepted:
        receive(frame, inbound())
    else:
        assert refusal(frame, inbound()) == "CLOCK_SKEW"


def test_a_frame_above_the_limit_is_refused_before_any_work() -> None:
    frame = seal(outbound(), bytes(1000))
    assert refusal(frame, inbound(), max_bytes=len(frame) - 1) == "MESSAGE_TOO_LARGE"
    receive(frame, inbound(), max_bytes=len(frame))


def resealed(change: dict[str, canonical.Json], *, drop: str = "", payload: bytes = b"points") -> bytes:
    """A frame whose header was changed by the sender itself and signed again."""
    frame = seal(outbound(), payload)
    size = int.from_bytes(frame[:4], "big")
    header = {**json.loads(frame[4 : 4 + size]), **change}
    header.pop(drop, None)
    encoded = canonical.format(header)
    job = header.get("job")
    signature = KEY.sign(f"workbench/v1/message\nbroker\n{job}\n".encode() + encoded)
    return len(encoded).to_bytes(4, "big") + encoded + signature + payload


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2}, {"v": "1"}, {"v": True}, {"kind": ""}, {"kind": "A"}, {"kind": "a" * 65}, {"kind": 1}, {"from": "Broker"},
        {"to": ""}, {"job": "J\n1"}, {"job": None}, {"attempt": -1}, {"attempt": "0"}, {"attempt": True}, {"sequence": 0},
        {"sequence": 0, "previous": "a" * 64},
        {"sequence": 2}, {"contract": "00"}, {"contract": CONTRACT.upper()}, {"time_ms": -1}, {"size": -1}, {"size": "6"},
        {"digest": ""}, {"digest": "zz"}, {"previous": "00"}, {"previous": "a" * 64}, {"extra": 1}, {"kind": "x" * 5000},
    ],
)  # fmt: skip
def test_a_well_signed_header_out_of_form_is_malformed(change: dict[str, canonical.Json]) -> None:
    assert refusal(resealed(change), inbound()) == "MESSAGE_MALFORMED"


@pytest.mark.parametrize("name", ["v", "kind", "from", "job", "contract", "previous", "digest"])
def test_a_header_without_a_field_is_malformed(name: str) -> None:
    assert refusal(resealed({}, drop=name), inbound()) == "MESSAGE_MALFORMED"


def test_a_sender_that_misstates_its_own_payload_is_refused() -> None:
    assert refusal(resealed({"size": 5}), inbound()) == "MESSAGE_ALTERED"
    assert refusal(resealed({"size": 7}), inbound()) == "MESSAGE_TRUNCATED"
    assert refusal(resealed({"digest": sm3.digest(b"other").hex()}), inbound()) == "MESSAGE_ALTERED"


def test_a_header_in_another_spelling_is_malformed() -> None:
    frame = seal(outbound())
    size = int.from_bytes(frame[:4], "big")
    encoded = json.dumps(json.loads(frame[4 : 4 + size])).encode()
    signature = KEY.sign(b"workbench/v1/message\nbroker\nJ-1\n" + encoded)
    assert refusal(len(encoded).to_bytes(4, "big") + encoded + signature + b"points", inbound()) == "MESSAGE_MALFORMED"


@pytest.mark.parametrize("wrong", [{"kind": "Points"}, {"kind": ""}, {"contract": "short"}, {"now_ms": -1}])
def test_nothing_unreadable_is_ever_sent(wrong: dict[str, object]) -> None:
    sender = outbound()
    with pytest.raises(ValueError, match="form"):
        seal(sender, b"points", **wrong)
    assert sender == outbound()


def test_peek_tells_the_conversation_but_verifies_nothing() -> None:
    frame = seal(outbound(job="J-9", attempt=3), key=OTHER_KEY)
    header = peek_header(frame, max_bytes=len(frame))
    assert (header.job, header.attempt, header.sender) == ("J-9", 3, "broker")
    with pytest.raises(ProtocolViolation):
        peek_header(b"", max_bytes=10)
    with pytest.raises(ProtocolViolation, match="size"):
        peek_header(frame, max_bytes=len(frame) - 1)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(["deliver", "drop", "repeat", "swap", "alter"]), max_size=8),
)
def test_whatever_the_link_does_only_the_true_prefix_is_accepted(faults: list[str]) -> None:
    """Over any mix of faults the receiver accepts exactly a prefix of what was sent, each message once and unchanged."""
    sender, receiver = outbound(), inbound()
    sent = [bytes([number]) * 5 for number in range(len(faults))]
    frames = [seal(sender, payload) for payload in sent]
    wire: list[bytes] = []
    for frame, fault in zip(frames, faults, strict=True):
        match fault:
            case "deliver":
                wire.append(frame)
            case "repeat":
                wire += [frame, frame]
            case "swap":
                wire.insert(max(0, len(wire) - 1), frame)
            case "alter":
                wire.append(frame[:-1] + bytes([frame[-1] ^ 1]))
    accepted = []
    for frame in wire:
        try:
            accepted.append(receive(frame, receiver).payload)
        except ProtocolViolation:
            continue
    assert accepted == sent[: len(accepted)]
    if set(faults) <= {"deliver", "repeat"}:
        assert accepted == sent


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_and_never_break_the_reader(data: bytes) -> None:
    refusal(data, inbound())
    refusal(len(data).to_bytes(4, "big") + data + bytes(64), inbound())
