"""The intersection session over a bad link and against a partner that breaks the rules: it refuses, and says why.

The state table of docs/protocols/intersection.md section 6, row by row. In a whole node the signed frames catch most of
this earlier; here the session must stand alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from network import Fault, FaultyNetwork, Message, Side, alter, drop, reflect, repeat, silence, swap_with_next, truncate
from parties import BANK, BROKER, CONTRACT, lie, pair, payloads, phones, prepared, run, terms

from workbench.contracts import Phase
from workbench.domain.party import PartyId
from workbench.errors import Cancelled, Disputed, PeerError, PeerUnavailable, ProtocolViolation, SelfTestFailed
from workbench_psi import curve, wire
from workbench_psi.commitment import commitment
from workbench_psi.engine import DdhX25519
from workbench_psi.points import ByteRows
from workbench_psi.wire import Kind

BROKER_LIST, BANK_LIST = phones(0, 150), phones(50, 180)
STRUCK = (phones(60, 62), phones(70, 71))
KINDS = [kind.value for kind in Kind]
AFTER_FIRST_SLICE = ("slice", "drop-commit", "drop", "grants", "result-commit", "result")
P = 2**255 - 19


def sides(floor: int = 50, seed: bytes = b"") -> tuple[Side, Side]:
    return pair(BROKER_LIST, BANK_LIST, floor=floor, struck=STRUCK, seed=seed)


def violates(side: Side) -> bool:
    """Whether a side ended because the partner broke the protocol, before or after the reveal."""
    if isinstance(side.error, (ProtocolViolation, Disputed)):
        return True
    return side.code == "ABORTED_AFTER_REVEAL" and isinstance(side.error and side.error.__cause__, ProtocolViolation)


# --------------------------------------------------------------------------------------------- altered bytes


@pytest.mark.parametrize("sender", [BROKER, BANK])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [0.0, 0.37, 0.999])
def test_one_altered_byte_of_any_message_ends_the_run_of_its_receiver(sender: str, kind: str, place: float) -> None:
    def change(payload: bytes) -> bytes:
        at = int(place * len(payload))
        return payload[:at] + bytes((payload[at] ^ 1,)) + payload[at + 1 :]

    broker, bank = run(sides(), alter(sender, kind, change, 30 if kind == "slice" else 0))
    receiver = bank if sender == BROKER else broker
    assert violates(receiver), receiver.error
    assert receiver.outcome is None


@pytest.mark.parametrize("kind", ["struck", "remaining", "drop", "result"])
def test_every_byte_of_a_short_message_counts(kind: str) -> None:
    for at in range(0, len(payloads(run(sides())[1], kind)), 7):
        assert violates(run(sides(), alter(BANK, kind, flipped(at)))[0])


def flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda payload: payload[:at] + bytes((payload[at] ^ 0x80,)) + payload[at + 1 :]


# ----------------------------------------------------------------------------- lost, doubled, reordered, cut


@pytest.mark.parametrize("sender", [BROKER, BANK])
@pytest.mark.parametrize("kind", KINDS)
def test_a_partner_that_falls_silent_at_any_message_ends_the_run(sender: str, kind: str) -> None:
    broker, bank = run(sides(), silence(sender, kind))
    receiver, other = (bank, broker) if sender == BROKER else (broker, bank)
    assert receiver.code == ("ABORTED_AFTER_REVEAL" if kind in AFTER_FIRST_SLICE else "PEER_UNAVAILABLE")
    # Only the very last message can be lost after its sender has finished.
    assert other.outcome is None or kind == "result"


@pytest.mark.parametrize("sender", [BROKER, BANK])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", [drop, swap_with_next])
def test_lost_and_reordered_messages_never_give_a_result(
    sender: str, kind: str, fault: Callable[[str, str], Fault]
) -> None:
    broker, bank = run(sides(), fault(sender, kind))
    receiver = bank if sender == BROKER else broker
    assert receiver.outcome is None and receiver.error is not None


@pytest.mark.parametrize("sender", [BROKER, BANK])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", [repeat, truncate])
def test_doubled_and_cut_messages_are_refused(sender: str, kind: str, fault: Callable[[str, str], Fault]) -> None:
    broker, bank = run(sides(), fault(sender, kind))
    receiver = bank if sender == BROKER else broker
    # A second copy of the last message arrives after the end, where the host refuses it by its number.
    assert violates(receiver) or (fault is repeat and kind == "result")


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_with_a_byte_too_many_is_refused(kind: str) -> None:
    broker, _ = run(sides(), alter(BANK, kind, lambda payload: payload + b"\x00"))
    assert violates(broker)


def test_lists_in_several_messages_cannot_be_reordered_or_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "CHUNK_BYTES", 1024)
    for kind in ("points", "reply", "positions", "grants"):
        for fault in (swap_with_next(BANK, kind, 1), repeat(BANK, kind, 1), drop(BANK, kind, 1)):
            broker, _ = run(sides(), fault)
            assert broker.outcome is None and broker.error is not None


def test_slices_cannot_be_exchanged() -> None:
    broker, bank = run(sides(), swap_with_next(BANK, "slice", 10))
    assert broker.code == bank.code == "ABORTED_AFTER_REVEAL"


# ------------------------------------------------------------------------------------------ echo, reflection


@pytest.mark.parametrize("kind", KINDS)
def test_own_messages_sent_back_are_refused(kind: str) -> None:
    for victim in (BROKER, BANK):
        broker, bank = run(sides(), reflect(BANK if victim == BROKER else BROKER, kind))
        side = broker if victim == BROKER else bank
        assert side.outcome is None and side.error is not None


def test_messages_of_another_attempt_are_refused() -> None:
    """The same lists, terms and even contract digest: a recorded message still fits no other attempt."""
    recorded = {message.kind: message for message in run(sides(seed=b"earlier"))[1].sent}
    for kind in KINDS:
        if kind == "strike":
            continue  # the list alone is valid; the statement `remaining` binds it
        broker, _ = run(sides(), alter(BANK, kind, recorded[kind].instead))
        assert violates(broker), kind


def test_the_statement_before_the_reveal_binds_both_strike_lists() -> None:
    recorded = payloads(run(sides(seed=b"earlier"))[1], "strike")
    broker, bank = run(sides(), alter(BANK, "strike", lambda _: recorded))
    assert broker.code == bank.code == "DISPUTED"


# ------------------------------------------------------------------------------------- points of a bad partner


def with_points(change: Callable[[list[bytes]], list[bytes]]) -> tuple[Side, Side]:
    """A bank that commits to and sends other points than the protocol's."""
    text = payloads(run(sides())[1], "points")
    points = change([text[at : at + 32] for at in range(0, len(text), 32)])
    return run(sides(), lie(BANK, "points", b"".join(points)))


def replaced_by(number: int) -> Callable[[list[bytes]], list[bytes]]:
    point = number.to_bytes(32, "little")
    return lambda points: sorted([*points[1:], point])


ORDER_8 = 325606250916557431795983626356110631294008115727848805560023387167927233504


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (replaced_by(0), "POINT_LOW_ORDER"),
        (replaced_by(1), "POINT_LOW_ORDER"),
        (replaced_by(ORDER_8), "POINT_LOW_ORDER"),
        (replaced_by(P - 1), "POINT_LOW_ORDER"),
        (replaced_by(P), "POINT_NOT_CANONICAL"),
        (replaced_by(P + 9), "POINT_NOT_CANONICAL"),
        (replaced_by(2**255 + 9), "POINT_RESERVED_BIT"),
        (lambda points: [points[1], points[0], *points[2:]], "POINTS_NOT_ASCENDING"),
        (lambda points: [points[0], *points[:-1]], "POINTS_NOT_ASCENDING"),
        (lambda points: points[:-1], "PROTOCOL_VIOLATION"),
        (lambda points: [*points, b"\x7f" * 32], "PROTOCOL_VIOLATION"),
    ],
)
def test_points_that_are_not_sound_are_refused(change: Callable[[list[bytes]], list[bytes]], code: str) -> None:
    broker, _ = with_points(change)
    assert isinstance(broker.error, ProtocolViolation) and broker.code == code


def test_our_own_points_among_the_partners_are_refused() -> None:
    ours = payloads(run(sides())[0], "points")
    broker, _ = with_points(lambda points: sorted([*points[1:], ours[:32]]))
    assert broker.code == "POINT_REFLECTED"


def test_two_points_with_one_product_are_refused() -> None:
    """A point and the same point plus one of order two differ, yet every clamped scalar maps them to one product."""
    broker, _ = with_points(lambda points: sorted([*points[1:], _plus_order_two(points[-1])]))
    assert broker.code == "PRODUCTS_NOT_DISTINCT"


def _plus_order_two(point: bytes) -> bytes:
    """u of Q + (0, 0) is 1/u of Q on a Montgomery curve."""
    return pow(int.from_bytes(point, "little"), P - 2, P).to_bytes(32, "little")


@pytest.mark.parametrize("value", [b"not ascending", b"zero"])
def test_sorted_replies_that_are_not_sound_are_refused(value: bytes) -> None:
    text = payloads(run(sides())[1], "reply")
    rows = [text[at : at + 32] for at in range(0, len(text), 32)]
    rows = [bytes(32), *rows[1:]] if value == b"zero" else rows[::-1]
    reply = b"".join(rows)

    def fault(message: Message) -> list[Message]:
        if message.sender == BANK and message.kind == "reply-commit":
            return [message.carrying(commitment("reply", CONTRACT, BANK, reply) + message.payload[32:])]
        return [message.carrying(reply) if message.sender == BANK and message.kind == "reply" else message]

    assert isinstance(run(sides(), fault)[0].error, ProtocolViolation)


# -------------------------------------------------------------------------------------------- false statements


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        (b"\x01" + bytes(32) + (99).to_bytes(8, "big"), Disputed),  # another number
        (b"\x00" + bytes(32) + bytes(8), Disputed),  # "below" where we count 100
        (b"\x00" + bytes(32) + (100).to_bytes(8, "big"), ProtocolViolation),  # "below" with a number
        (b"\x02" + bytes(32) + (100).to_bytes(8, "big"), ProtocolViolation),
    ],
)
def test_a_false_count_is_disputed_or_refused(statement: bytes, error: type[PeerError]) -> None:
    broker, _ = run(sides(), lie(BANK, "count", statement))
    assert isinstance(broker.error, error) and broker.marks == []


def test_a_partner_that_claims_a_crowd_where_there_is_none_learns_no_number_from_the_error() -> None:
    broker, _ = run(sides(floor=101), lie(BANK, "count", b"\x01" + bytes(32) + (101).to_bytes(8, "big")))
    assert broker.code == "DISPUTED" and "100" not in str(broker.error) + str(getattr(broker.error, "details"))  # noqa: B009


def test_a_false_floor_statement_is_disputed() -> None:
    broker, _ = run(sides(), alter(BANK, "remaining", lambda _: bytes(33)))
    assert broker.code == "DISPUTED"
    broker, _ = run(sides(), alter(BANK, "remaining", lambda payload: b"\x05" + payload[1:]))
    assert isinstance(broker.error, ProtocolViolation)


def test_strike_lists_and_answers_of_a_wrong_form_are_refused() -> None:
    cases: list[tuple[str, Callable[[bytes], bytes]]] = [
        ("strike", lambda _: b""),
        ("strike", lambda payload: payload[4:]),
        ("strike", lambda payload: payload * 5),
        ("strike", lambda payload: payload[-4:] + payload[:-4]),
        ("strike", lambda payload: payload[:-4] + (256).to_bytes(4, "big")),
        ("struck", lambda payload: payload[:-4] + payload[-8:-4]),
        ("struck", lambda payload: payload[:-4] + b"\xff" * 4),
    ]
    for kind, change in cases:
        assert isinstance(run(sides(), alter(BANK, kind, change))[0].error, ProtocolViolation), kind


def test_a_struck_or_padded_position_cannot_be_opened_to_us() -> None:
    """A partner that commits to false positions is caught when it opens one of our paddings or struck customers."""

    class _Shifted(_Honest):
        def x25519(self, scalar: bytes, points: ByteRows, *, threads: int) -> ByteRows:
            products = super().x25519(scalar, points, threads=threads)
            self.calls += 1
            return products if self.calls == 1 else np.roll(products, 1, axis=0)

    broker, _ = run(pair(BROKER_LIST, BANK_LIST, floor=50, bank_arithmetic=_Shifted()))
    assert violates(broker)


class _Honest:
    """The real arithmetic, without checking itself."""

    def __init__(self) -> None:
        self.calls = 0

    def x25519(self, scalar: bytes, points: ByteRows, *, threads: int) -> ByteRows:
        return curve.x25519(scalar, points, threads=threads)

    def elligator2(self, uniform: ByteRows, *, threads: int) -> ByteRows:
        return curve.elligator2(uniform, threads=threads)

    def recheck_sample(self, *_: object, **__: object) -> None: ...

    def recheck_map_sample(self, *_: object, **__: object) -> None: ...


def test_drop_bitmaps_with_unused_bits_set_are_refused() -> None:
    honest = payloads(run(sides())[1], "drop")  # 97 customers are left: 7 unused bits
    broker, _ = run(sides(), lie(BANK, "drop", honest[:-1] + b"\x01"))
    assert violates(broker)


def test_a_false_result_digest_is_disputed() -> None:
    broker, _ = run(sides(), lie(BANK, "result", bytes(64)))
    assert broker.code == "DISPUTED"


# ------------------------------------------------------------------------------------------------------ offers


@pytest.mark.parametrize(
    "change",
    [
        {"public_point": bytes(32)},
        {"public_point": (1).to_bytes(32, "little")},
        {"public_point": (P + 9).to_bytes(32, "little")},
        {"public_point": (2**255 + 9).to_bytes(32, "little")},
        {"public_point": b""},
        {"commitment_root": bytes(31)},
        {"bucket": 255},
        {"bucket": 300 + 1},
        {"bucket": 1 << 25},
        {"party": PartyId("cardnet")},
        {"party": BROKER},
    ],
)
def test_an_offer_the_terms_do_not_allow_is_refused_before_anything_is_sent(change: dict[str, object]) -> None:
    ours, theirs = prepared(BROKER, BROKER_LIST), prepared(BANK, BANK_LIST)
    bad = replace(theirs.offer, **change)  # type: ignore[arg-type]  # fields by name
    broker, _ = run(pair(BROKER_LIST, BANK_LIST, inputs=(ours, theirs), offer_to_broker=bad))
    assert isinstance(broker.error, ProtocolViolation) and broker.sent == []


def test_our_own_offer_sent_back_is_refused() -> None:
    ours, theirs = prepared(BROKER, BROKER_LIST), prepared(BANK, BANK_LIST)
    for field in ("public_point", "commitment_root"):
        bad = replace(theirs.offer, **{field: getattr(ours.offer, field)})
        session = DdhX25519().session(
            prepared=replace(ours, handle=prepared(BROKER, BROKER_LIST).handle),
            initiator=True,
            terms=terms(1),
            contract_digest=CONTRACT,
            partner=bad,
            threads=1,
        )
        with pytest.raises(ProtocolViolation):
            next(session)


# ------------------------------------------------------------------------------------------------------- stops


@pytest.mark.parametrize("broker_starts", [True, False])
@pytest.mark.parametrize("nth", [0, 1, 31, 63])
def test_a_stop_during_the_reveal_tells_what_each_side_may_know(nth: int, *, broker_starts: bool) -> None:
    """Fairness: the two sides are never more than one slice apart, and no side understates what the other knows."""
    broker, bank = run(pair(BROKER_LIST, BANK_LIST, floor=50, broker_starts=broker_starts), silence(BANK, "slice", nth))
    known = {}
    for side in (broker, bank):
        assert side.code == "ABORTED_AFTER_REVEAL" and isinstance(side.error, PeerError)
        details = side.error.details
        known[side.name] = (int(details["own_learned"]), int(details["partner_learned_at_most"]))
        assert details["cause"] == "PEER_UNAVAILABLE"
    assert abs(known[BROKER][0] - known[BANK][0]) <= 2  # 100 customers: a slice has one or two
    assert known[BROKER][1] >= known[BANK][0] and known[BANK][1] >= known[BROKER][0]


def cancel_at(name: str, phase: int) -> Callable[[Side, object], None]:
    def interrupt(side: Side, request: object) -> None:
        if side.name == name and isinstance(request, Phase) and request.number == phase and request.done:
            raise Cancelled("已取消", "cancelled")

    return interrupt


@pytest.mark.parametrize(
    ("phase", "code"), [(1, "CANCELLED"), (4, "CANCELLED"), (6, "ABORTED_AFTER_REVEAL"), (7, "ABORTED_AFTER_REVEAL")]
)
def test_a_person_can_stop_in_every_phase(phase: int, code: str) -> None:
    pairing = sides()
    FaultyNetwork(*pairing, interrupt=cancel_at(BROKER, phase)).run()
    assert pairing[0].code == code and pairing[1].outcome is None
    if code == "ABORTED_AFTER_REVEAL":
        assert getattr(pairing[0].error, "details")["cause"] == "CANCELLED"  # noqa: B009


def test_a_silent_partner_before_the_reveal_is_reported_as_such() -> None:
    broker, _ = run(sides(), silence(BANK, "reply"))
    assert isinstance(broker.error, PeerUnavailable)


def test_wrong_arithmetic_on_this_machine_stops_the_run() -> None:
    class _Wrong(_Honest):
        def x25519(self, scalar: bytes, points: ByteRows, *, threads: int) -> ByteRows:
            return curve.x25519(scalar, points, threads=threads) ^ np.uint8(1)

        def recheck_sample(self, *arguments: object, **named: object) -> None:
            curve.recheck_sample(*arguments, **named)  # type: ignore[arg-type]  # passed through

    _, bank = run(pair(BROKER_LIST, BANK_LIST, bank_arithmetic=_Wrong()))
    assert isinstance(bank.error, SelfTestFailed) and bank.sent == []
