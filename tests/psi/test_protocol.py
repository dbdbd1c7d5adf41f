"""The intersection session over a link that works: results, floor, strike-out, drop, and what messages give away."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network import Message, Side
from parties import BANK, BROKER, CONTRACT, found, pair, payloads, phones, prepared, run

from workbench.crypto import sm3
from workbench.domain.intersection import KeyKind
from workbench_psi import curve, protocol, wire
from workbench_psi.commitment import commitment, hash_identifiers
from workbench_psi.evidence import EVIDENCE_KINDS
from workbench_psi.points import ByteRows

BROKER_LIST, BANK_LIST = phones(0, 150), phones(50, 180)
COMMON = phones(50, 150)


@pytest.mark.parametrize("broker_starts", [True, False])
def test_both_sides_hold_the_intersection_whoever_starts(broker_starts: bool) -> None:
    broker, bank = run(pair(BROKER_LIST, BANK_LIST[::-1], floor=100, broker_starts=broker_starts))
    assert found(broker, BROKER_LIST) == found(bank, BANK_LIST[::-1]) == COMMON
    assert broker.outcome is not None and bank.outcome is not None
    assert broker.outcome.cardinality == bank.outcome.cardinality == 100
    assert broker.outcome.result_digest == bank.outcome.partner_digest != bank.outcome.result_digest
    assert (broker.outcome.partner_bucket, broker.outcome.struck, broker.outcome.dropped) == (256, 0, 0)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_small_case_agrees_with_plain_sets(data: st.DataObject) -> None:
    universe = phones(0, 12)
    subsets = st.sets(st.sampled_from(universe))
    broker = sorted(data.draw(st.sets(st.sampled_from(universe), min_size=1)), reverse=True)
    bank = sorted(data.draw(st.sets(st.sampled_from(universe), min_size=1)))
    struck = (data.draw(subsets) & set(broker), data.draw(subsets) & set(bank))
    dropped = (data.draw(subsets) & set(broker), data.draw(subsets) & set(bank))
    floor = data.draw(st.integers(1, 6))
    sides = run(pair(broker, bank, floor=floor, struck=struck, dropped=dropped))

    common = set(broker) & set(bank)
    left = common - struck[0] - struck[1]
    released = left - dropped[0] - dropped[1]
    if len(common) < floor or len(left) < floor or len(released) < floor:
        assert [side.code for side in sides] == ["REFUSED_SMALL"] * 2
        return
    assert found(sides[0], broker) == found(sides[1], bank) == sorted(released)
    for side in sides:
        assert side.outcome is not None
        assert side.outcome.cardinality == len(common)
        assert side.outcome.struck == len(common) - len(left)
        assert side.outcome.dropped == len(left) - len(released)


def test_lists_of_several_messages_and_blocks_give_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "CHUNK_BYTES", 1024)
    monkeypatch.setattr(protocol, "BLOCK_POINTS", 100)
    large, small = phones(0, 3000), phones(2000, 2300)
    broker, bank = run(pair(large, small, floor=300))
    assert found(broker, large) == found(bank, small) == small
    assert len([m for m in broker.sent if m.kind == "points"]) > len([m for m in bank.sent if m.kind == "points"]) > 1
    assert max(size for _, size in broker.sizes() + bank.sizes()) <= 1024


# ------------------------------------------------------------------------------------------------ the floor


@pytest.mark.parametrize(("broker", "bank", "floor"), [(150, 0, 1), (150, 99, 100)])
def test_a_crowd_below_the_floor_leaves_no_number_anywhere(broker: int, bank: int, floor: int) -> None:
    """Empty, and one below: no statement, mark or error holds a count, and the statement is as long as any other."""
    ours, theirs = phones(0, broker), phones(broker - bank, broker + 40)
    sides = run(pair(ours, theirs, floor=floor))
    for side in sides:
        assert side.code == "REFUSED_SMALL" and side.outcome is None and side.marks == []
        statement = payloads(side, "count")
        assert statement[:1] == b"\x00" and statement[-8:] == bytes(8) and len(statement) == 41
        assert side.sent[-1].kind == "count"
        assert getattr(side.error, "details") == {"after_reveal": "no"}  # noqa: B009
        assert "99" not in str(side.error)


def test_a_crowd_at_the_floor_is_counted_and_revealed() -> None:
    sides = run(pair(BROKER_LIST, BANK_LIST, floor=100))
    for side in sides:
        assert dict(side.marks)["cardinality"] == {"contract": CONTRACT.hex(), "cardinality": "100"}
        assert payloads(side, "count")[-8:] == (100).to_bytes(8, "big")


def test_a_floor_of_zero_still_needs_one_common_customer() -> None:
    assert [side.code for side in run(pair(phones(0, 5), phones(5, 9), floor=0))] == ["REFUSED_SMALL"] * 2


def test_strikes_that_push_the_crowd_below_the_floor_stop_before_the_reveal() -> None:
    sides = run(pair(BROKER_LIST, BANK_LIST, floor=100, struck=(COMMON[:1], ())))
    for side in sides:
        assert side.code == "REFUSED_SMALL" and side.sent[-1].kind == "remaining"
        assert payloads(side, "remaining") == bytes(33)
        assert not payloads(side, "positions") and [name for name, _ in side.marks] == ["cardinality"]


def test_drops_that_push_the_crowd_below_the_floor_refuse_after_the_reveal_and_say_so() -> None:
    sides = run(pair(BROKER_LIST, BANK_LIST, floor=99, dropped=(COMMON[:1], COMMON[-1:])))
    for side in sides:
        assert side.code == "REFUSED_SMALL" and not payloads(side, "grants")
        assert getattr(side.error, "details") == {"after_reveal": "yes"}  # noqa: B009


# ---------------------------------------------------------------------------------------- strike and drop


def test_a_customer_dropped_by_either_side_is_released_to_neither() -> None:
    broker, bank = run(pair(BROKER_LIST, BANK_LIST, floor=90, dropped=(COMMON[:3], COMMON[2:5])))
    assert found(broker, BROKER_LIST) == found(bank, BANK_LIST) == COMMON[5:]
    assert dict(broker.marks)["grants"]["dropped"] == "5"


def test_a_struck_customer_looks_to_the_partner_like_one_it_never_shared() -> None:
    """Nothing about a struck customer is opened in either direction: neither its position in the striker's points nor
    that of the same customer in the partner's points, from which the partner would recognise it."""
    struck = (COMMON[:4], COMMON[4:6])
    inputs = (prepared(BROKER, BROKER_LIST), prepared(BANK, BANK_LIST))
    scalars = [one.handle.scalar.reveal() for one in inputs]
    sides = run(pair(BROKER_LIST, BANK_LIST, floor=50, struck=struck, inputs=inputs))
    left = set(COMMON[6:])
    assert found(sides[0], BROKER_LIST) == found(sides[1], BANK_LIST) == COMMON[6:]
    for opener, owner, names, scalar in (
        (sides[0], sides[1], BANK_LIST, scalars[1]),
        (sides[1], sides[0], BROKER_LIST, scalars[0]),
    ):
        customer_at = _positions(owner, names, scalar)
        _, opened = wire.parse_openings(payloads(opener, "slice"))
        assert {customer_at[position] for position in opened.tolist()} == left
    assert [side.outcome.struck for side in sides if side.outcome] == [6, 6]


def test_strike_lists_mix_struck_customers_with_padding_and_show_only_their_class() -> None:
    names, others = phones(0, 192), phones(100, 292)  # 192 customers and exactly 64 paddings
    for count, positions in ((0, 64), (1, 64), (64, 64), (65, 128)):
        inputs = (prepared(BROKER, names), prepared(BANK, others))
        scalar = inputs[0].handle.scalar.reveal()
        broker, _ = run(pair(names, others, struck=(names[:count], ()), inputs=inputs))
        listed = wire.parse_places(payloads(broker, "strike")).tolist()
        customer_at = _positions(broker, names, scalar)
        assert len(listed) == positions
        assert {customer_at[place] for place in listed if place in customer_at} == set(names[:count])


def _positions(owner: Side, names: list[bytes], scalar: bytes) -> dict[int, bytes]:
    """Which customer is behind which position of the points a side sent, computed from its scalar."""
    hashed = hash_identifiers(names, key_kind=KeyKind.PHONE.value, contract_digest=CONTRACT)
    masked = curve.x25519(scalar, curve.elligator2(hashed))
    sent = payloads(owner, "points")
    place_of = {sent[at : at + 32]: at // 32 for at in range(0, len(sent), 32)}
    return {place_of[row.tobytes()]: name for row, name in zip(masked, names, strict=True)}


# ------------------------------------------------------------------------------------- what messages tell


@pytest.mark.parametrize("sizes", [(100, 100), (101, 140), (192, 192)])
def test_sizes_of_messages_tell_nothing_but_buckets_and_numbers_agreed(sizes: tuple[int, int]) -> None:
    """100 common customers in lists of other lengths within one bucket: the same kinds and lengths in order."""
    reference = run(pair(phones(0, 110), phones(10, 130), struck=(phones(20, 25), ())))
    ours, theirs = phones(0, sizes[0]), phones(0, 100) + phones(500, 400 + sizes[1])
    sides = run(pair(ours, theirs, seed=b"other", struck=(ours[:5], ())))
    assert [side.sizes() for side in sides] == [side.sizes() for side in reference]


def test_no_message_contains_an_identifier_in_any_known_form() -> None:
    sides = run(pair(BROKER_LIST, BANK_LIST, struck=(COMMON[:2], ()), dropped=((), COMMON[3:4])))
    wires = b"".join(message.payload for side in sides for message in side.sent)
    notes = str([side.marks for side in sides] + [repr(side.outcome) for side in sides]).encode()
    for name in {*BROKER_LIST, *BANK_LIST}:
        for form in (name, hashlib.sha256(name).digest(), sm3.digest(name)):
            assert form not in wires and form.hex().encode() not in wires
            assert form.hex().encode() not in notes
        assert name not in notes


def test_two_attempts_with_the_same_lists_share_no_row() -> None:
    """Fresh scalars and salts: neither points, replies, leaves nor commitments can be compared across attempts."""
    seen: list[set[bytes]] = []
    for seed in (b"first", b"second"):
        rows: set[bytes] = set()
        for side in run(pair(BROKER_LIST, BANK_LIST, seed=seed)):
            for message in side.sent:
                if message.kind in {"points", "reply", "positions"} or message.kind.endswith("-commit"):
                    text = message.payload
                    rows |= {text[at : at + 32] for at in range(0, len(text), 32)}
        seen.append(rows)
    assert not seen[0] & seen[1]


def test_points_are_masked_and_padded_to_the_bucket_in_ascending_order() -> None:
    broker, _ = run(pair(BROKER_LIST, BANK_LIST))
    text = payloads(broker, "points")
    rows = [text[at : at + 32] for at in range(0, len(text), 32)]
    assert len(rows) == 256 and rows == sorted(set(rows))


# -------------------------------------------------------------------------------------- progress, evidence, wiping


def test_progress_runs_through_all_phases_in_order_and_never_back() -> None:
    for side in run(pair(BROKER_LIST, BANK_LIST)):
        steps = [(phase.number, phase.done) for phase in side.phases]
        assert steps == sorted(steps)
        assert [name for name in dict.fromkeys(phase.name for phase in side.phases)] == list(protocol.PHASES)
        assert all(0 <= phase.done <= phase.total for phase in side.phases)


def test_marks_have_exactly_the_fields_of_their_evidence_kinds() -> None:
    broker, bank = run(pair(BROKER_LIST, BANK_LIST))
    assert [name for name, _ in broker.marks] == ["cardinality", "struck", "grants"]
    for kind in EVIDENCE_KINDS:
        values = dict(broker.marks)[kind.name.removeprefix("intersection.")]
        assert list(values) == [field.name for field in kind.fields]
        assert kind.zh and kind.en and all(field.zh and field.en for field in kind.fields)
    ours, theirs = dict(broker.marks)["grants"], dict(bank.marks)["grants"]
    assert (ours["own_shown"], ours["own_root"]) == (theirs["partner_shown"], theirs["partner_root"])
    assert ours["own_shown"] == commitment("grants", CONTRACT, BROKER, payloads(broker, "grants")).hex()


@pytest.mark.parametrize("floor", [1, 101])
def test_scalar_and_job_key_are_gone_after_any_end(floor: int) -> None:
    inputs = (prepared(BROKER, BROKER_LIST), prepared(BANK, BANK_LIST))
    run(pair(BROKER_LIST, BANK_LIST, floor=floor, inputs=inputs))
    for one in inputs:
        for secret in (one.handle.scalar, one.handle.job_key):
            with pytest.raises(ValueError, match="fresh input"):
                secret.reveal()


def test_a_session_that_is_dropped_half_way_wipes_its_secrets() -> None:
    inputs = (prepared(BROKER, BROKER_LIST), prepared(BANK, BANK_LIST))
    broker, _ = pair(BROKER_LIST, BANK_LIST, inputs=inputs)
    next(broker.session)
    broker.session.close()
    with pytest.raises(ValueError, match="fresh input"):
        inputs[0].handle.scalar.reveal()


def test_secrets_show_and_store_nothing() -> None:
    one = prepared(BROKER, BROKER_LIST)
    secret = one.handle.scalar
    assert repr(secret) == "<scalar>" and secret.reveal().hex() not in repr(one)
    assert BROKER_LIST[0].decode() not in repr(one) + repr(one.handle)
    with pytest.raises(TypeError):
        pickle.dumps(secret)


class _Permuted:
    """Curve arithmetic of a side that answers with the right products in the wrong places."""

    def __init__(self) -> None:
        self._calls = 0

    def x25519(self, scalar: bytes, points: ByteRows, *, threads: int) -> ByteRows:
        self._calls += 1
        products = curve.x25519(scalar, points, threads=threads)
        return products if self._calls == 1 else np.ascontiguousarray(products[::-1])

    def elligator2(self, uniform: ByteRows, *, threads: int) -> ByteRows:
        return curve.elligator2(uniform, threads=threads)

    def recheck_sample(self, *_: object, **__: object) -> None:
        """A cheat does not check itself."""

    def recheck_map_sample(self, *_: object, **__: object) -> None:
        """As above."""


def test_a_partner_that_opens_other_customers_than_it_computed_is_disputed() -> None:
    broker, bank = run(pair(BROKER_LIST[:120], BANK_LIST, floor=10, bank_arithmetic=_Permuted()))
    assert broker.outcome is None and broker.code in {"DISPUTED", "ABORTED_AFTER_REVEAL"}
    assert bank.outcome is None


def test_the_link_of_these_tests_delivers_in_order_what_was_sent() -> None:
    broker, bank = run(pair(BROKER_LIST, BANK_LIST))
    for sender, receiver in ((broker, bank), (bank, broker)):
        assert sender.sent == receiver.received
        assert all(isinstance(message, Message) for message in sender.sent)
