"""Sections 5 and 6, bytes: one spelling each, everything else is refused."""

from __future__ import annotations

import numpy as np
import pytest
from distill_line import pools
from hypothesis import given, settings, strategies as st

from workbench.crypto import poly1305
from workbench.errors import ProtocolViolation
from workbench_kme.distill import bodies
from workbench_kme.distill.bodies import Detections, Sifting, Verification
from workbench_kme.distill.frames import FrameReader, FrameWriter


def detections(steps: list[int], bases: int = 0) -> Detections:
    index = (np.cumsum(np.array(steps, np.uint64), dtype=np.uint64) - np.uint64(1)).astype(np.uint64)
    basis = np.array([(bases >> i) & 1 for i in range(len(steps))], np.uint8)
    test = np.ones(int(basis.sum()), np.uint8)
    return Detections(int(index[-1]) + 1 if steps else 1, index, basis, test, bytes(range(16)))


def spelled(hexadecimal: str) -> bytes:
    return bytes.fromhex(hexadecimal)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.one_of(st.integers(1, 300), st.integers(1, 1 << 34)), max_size=40), st.integers(0, (1 << 40) - 1))
def test_detections_come_back_as_they_were(steps: list[int], bases: int) -> None:
    value = detections(steps, bases)
    again = bodies.parse_detections(bodies.format_detections(value))
    assert again.pulses == value.pulses and again.seed == value.seed
    for name in ("index", "basis", "test_bits"):
        assert np.array_equal(getattr(again, name), getattr(value, name))


def test_detections_are_these_bytes() -> None:
    """The format of version 1, written out."""
    value = Detections(600, np.array([0, 2, 260], np.uint64), np.array([0, 1, 1], np.uint8), np.array([1, 0], np.uint8), b"\xaa" * 16)
    assert bodies.format_detections(value) == spelled("0000000000000258 00000003 02 0001 0002 0102 60 00000002 80" + "aa" * 16)


def test_sifting_is_these_bytes() -> None:
    value = Sifting(
        np.array([1, 0, 1, 1], np.uint8), np.array([0, 1, 2], np.uint8), np.array([1], np.uint8), ((1, 2, 3), (4, 5, 6))
    )
    body = bodies.format_sifting(value)
    assert body == spelled("00000004 b0 00000003 60 20 00000001 80" + "".join(f"{n:016x}" for n in range(1, 7)))
    again = bodies.parse_sifting(body, 4)
    assert again.intensity.tolist() == [0, 1, 2] and again.sent == value.sent


def test_parities_and_verification_are_these_bytes() -> None:
    body = bodies.format_parities(7, [np.array([1, 0, 1], np.uint8), np.ones(9, np.uint8)])
    assert body == spelled("00000007 02 00000003 a0 00000009 ff80")
    assert [bits.tolist() for bits in bodies.parse_parities(body)[1]] == [[1, 0, 1], [1] * 9]
    told = Verification(3, 5, bytes(16), 9, 1, 2, np.array([0, 1], np.uint8))
    expected = "0000000000000003 00000005" + "00" * 16 + "0000000000000009 00000001 00000002 00000002 40"
    assert bodies.format_verification(told) == spelled(expected)


VALID = bodies.format_detections(detections([1, 700, 3], 0b101))


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("cut off", VALID[:-1]),
        ("a byte too many", VALID + b"\0"),
        ("a step of nothing", VALID.replace(b"\x02\xbc\x00\x03", b"\x02\xbc\x00\x00")),
        ("a width that could be smaller", VALID.replace(b"\x02\xbc", b"\x00\xbc")),
        ("a width of three", VALID[:12] + b"\x03" + VALID[13:]),
        ("a slot beyond the pulses", (10).to_bytes(8, "big") + VALID[8:]),
        ("more detections than allowed", VALID[:8] + b"\xff" * 4 + VALID[12:]),
        ("a set bit in an unused place", VALID[:19] + bytes([VALID[19] | 1]) + VALID[20:]),
        ("test bits that do not match the bases", VALID[:19] + b"\x80" + VALID[20:]),
        ("nothing", b""),
    ],
)
def test_every_other_spelling_of_detections_is_refused(name: str, body: bytes) -> None:
    assert len(bodies.parse_detections(VALID).index) == 3
    with pytest.raises(ProtocolViolation):
        bodies.parse_detections(body)


def test_steps_that_wrap_around_are_refused() -> None:
    steps = b"".join(number.to_bytes(8, "big") for number in (2**62, 2**62, 2**62, 2**62 - 5))
    body = (2**62).to_bytes(8, "big") + (4).to_bytes(4, "big") + b"\x08" + steps + b"\0" + bytes(4) + bytes(16)
    with pytest.raises(ProtocolViolation):
        bodies.parse_detections(body)


def test_contradictions_in_sifting_are_refused() -> None:
    body = bodies.format_sifting(Sifting(np.ones(3, np.uint8), np.array([0, 1, 2], np.uint8), np.zeros(0, np.uint8), ((1, 2, 3), (4, 5, 6))))
    with pytest.raises(ProtocolViolation):
        bodies.parse_sifting(body, 4)
    vacuum_and_signal = body[:9] + b"\x40" + body[10:]
    with pytest.raises(ProtocolViolation):
        bodies.parse_sifting(vacuum_and_signal, 3)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=80))
def test_random_bytes_are_refused_and_never_crash(body: bytes) -> None:
    for parse in (bodies.parse_detections, lambda b: bodies.parse_sifting(b, 3), bodies.parse_parities, bodies.parse_verification):
        try:
            parse(body)
        except ProtocolViolation:
            continue


def test_a_frame_is_these_bytes() -> None:
    sender, _ = pools()
    twin, _ = pools()
    key = twin.draw(32).value
    writer = FrameWriter(sender, 9)
    label = b"workbench/v1/qkd-done"
    numbers = spelled("0000000000000009 00000000 0000000000000000 00000000 00000004 00000001")
    text = len(label).to_bytes(2, "big") + label + numbers
    assert writer.seal("qkd-done", b"\0\0\0\1") == text + poly1305.tag(key, text)
    second = writer.seal("qkd-done", b"\0\0\0\1")
    assert second[:-16][len(label) + 10 : len(label) + 14] == b"\0\0\0\1", "the next sequence"
    assert second[-16:] == poly1305.tag(key[:16] + twin.draw(16).value, second[:-16]), "the same polynomial key, a fresh pad"
    assert writer.drawn == 48


def test_every_changed_byte_of_a_frame_is_refused_and_changes_nothing() -> None:
    sender, receiver = pools()
    frame = FrameWriter(sender, 1).seal("qkd-verdict", bytes(20))
    before = receiver.state()
    reader = FrameReader(receiver, 1)
    for place in range(len(frame)):
        for change in (0x01, 0x80, 0xFF):
            damaged = frame[:place] + bytes([frame[place] ^ change]) + frame[place + 1 :]
            with pytest.raises(ProtocolViolation):
                reader.open(damaged)
    for end in range(len(frame)):
        with pytest.raises(ProtocolViolation):
            reader.open(frame[:end])
    with pytest.raises(ProtocolViolation):
        reader.open(frame + b"\0")
    assert receiver.state() == before and reader.drawn == 0
    assert reader.open(frame).body == bytes(20), "the intact one still opens"
    with pytest.raises(ProtocolViolation):
        reader.open(frame)


def test_a_message_of_another_block_or_direction_is_refused() -> None:
    sender, receiver = pools()
    frame = FrameWriter(sender, 1).seal("qkd-done", bytes(4))
    with pytest.raises(ProtocolViolation):
        FrameReader(receiver, 2).open(frame)
    back_to_the_sender, _ = pools()
    with pytest.raises(ProtocolViolation):
        FrameReader(back_to_the_sender, 1).open(frame)


def test_poly1305_is_that_of_the_standard() -> None:
    """RFC 8439 section 2.5.2."""
    key = bytes.fromhex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b")
    assert poly1305.tag(key, b"Cryptographic Forum Research Group").hex() == "a8061dc1305136c6c22b8baf0c0127a9"
    with pytest.raises(ValueError):
        poly1305.tag(key[:31], b"")
