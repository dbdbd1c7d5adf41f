"""The engine as the host sees it: preparation, estimate, guarantees, hooks."""

from __future__ import annotations

import secrets
from pathlib import Path

import numpy as np
import pytest
from parties import BANK, BROKER, CONTRACT, pair, phones, prepared, run, terms

import workbench_psi
from workbench.crypto import x25519
from workbench.domain.intersection import bucket_of
from workbench_psi import estimate, protocol, wire
from workbench_psi.engine import DdhX25519
from workbench_psi.estimate import Speed
from workbench_psi.health import curve_report


@pytest.mark.parametrize(("count", "bucket"), [(1, 256), (192, 256), (193, 288), (256, 320), (4096 - 64, 4096)])
def test_every_list_has_room_for_a_strike_class_of_padding(count: int, bucket: int) -> None:
    offer = prepared(BROKER, phones(0, count)).offer
    assert offer.bucket == bucket == bucket_of(count + 64) >= count + wire.STRIKE_CLASS


def test_preparing_twice_shows_no_relation() -> None:
    """Fresh scalar and job key for every attempt, whatever the list."""
    grants = np.zeros((3, 32), np.uint8)
    offers = [
        DdhX25519()
        .prepare(party=BROKER, identifiers=phones(0, 3), grant_digests=grants, random=secrets.token_bytes)
        .offer
        for _ in range(2)
    ]
    assert offers[0].commitment_root != offers[1].commitment_root
    assert offers[0].public_point != offers[1].public_point


def test_the_offer_carries_the_public_point_of_the_scalar() -> None:
    one = prepared(BROKER, phones(0, 3))
    assert one.offer.public_point == x25519.public_from(one.handle.scalar.reveal())


@pytest.mark.parametrize(
    ("identifiers", "shape"),
    [([], (0, 32)), ([b""], (1, 32)), ([b"x" * 256], (1, 32)), ([b"1"], (2, 32)), ([b"1"], (1, 31))],
)
def test_input_of_another_shape_is_a_programming_mistake(identifiers: list[bytes], shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="identifier"):
        DdhX25519().prepare(
            party=BROKER,
            identifiers=identifiers,
            grant_digests=np.zeros(shape, np.uint8),
            random=secrets.token_bytes,
        )


def test_repeated_identifiers_are_noticed_before_anything_is_sent() -> None:
    names = [*phones(0, 5), *phones(0, 1)]
    broker, _ = pair(names, phones(0, 9))
    with pytest.raises(ValueError, match="distinct"):
        run((broker, pair(phones(0, 9), phones(0, 9))[1]))
    assert broker.sent == []


def test_prepared_input_serves_one_session_only() -> None:
    one, other = prepared(BROKER, phones(0, 3)), prepared(BANK, phones(0, 3))
    arguments = {
        "initiator": True,
        "terms": terms(1),
        "contract_digest": CONTRACT,
        "partner": other.offer,
        "threads": 1,
    }
    DdhX25519().session(prepared=one, **arguments)  # type: ignore[arg-type]  # by name
    with pytest.raises(ValueError, match="fresh input"):
        DdhX25519().session(prepared=one, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("common", "ours", "theirs"), [(64, phones(0, 192), phones(128, 400)), (5, phones(0, 2000), phones(1995, 2100))]
)
def test_bytes_sent_are_exactly_those_computed_beforehand(common: int, ours: list[bytes], theirs: list[bytes]) -> None:
    for side, own, other in zip(run(pair(ours, theirs)), (ours, theirs), (theirs, ours), strict=True):
        computed = wire.sent_bytes(bucket_of(len(own) + 64), bucket_of(len(other) + 64), common)
        assert sum(size for _, size in side.sizes()) == computed


def test_the_estimate_grows_with_both_sides_and_counts_both_directions() -> None:
    speed = Speed(multiplication_us=10.0, map_us=1.0)
    seconds, size = estimate.cost(speed, own_bucket=1 << 16, partner_bucket=1 << 16)
    assert seconds == pytest.approx((1 << 16) * (21 + estimate.PROCESSING_US) / 1e6)
    assert size == 2 * wire.sent_bytes(1 << 16, 1 << 16, (1 << 16) // 3)
    assert estimate.cost(speed, own_bucket=1 << 16, partner_bucket=1 << 17) > (seconds, size)


def test_the_engine_estimates_with_the_speed_of_this_machine() -> None:
    seconds, size = DdhX25519().estimate(10_000, 10_240)
    assert 0 < seconds < 60 and size > 3 * 32 * 2 * 10_000


def test_hooks_offer_this_engine_its_kinds_and_its_health() -> None:
    (engine,) = workbench_psi.workbench_intersection_engines()
    assert f"{engine.name}/{engine.version}" == terms(1).engine
    assert engine.guarantees.floor_before_reveal and engine.guarantees.both_learn
    assert len(engine.guarantees.learns_zh) == len(engine.guarantees.learns_en) > 0
    engine.self_test()
    assert {kind.name for kind in workbench_psi.workbench_evidence_kinds()} == {
        "intersection.struck",
        "intersection.grants",
    }
    assert curve_report().state in {"ok", "warning"}
    assert workbench_psi.WORKBENCH_API == 1


def test_the_document_names_every_message_phase_and_mark() -> None:
    text = (Path(__file__).parents[2] / "docs/protocols/intersection.md").read_text("utf-8")
    names = [*(kind.value for kind in wire.Kind), "cardinality", "struck", "grants"]
    assert all(f"`{name}`" in text for name in names)
    assert all(f"{number} {name}" in text for number, name in enumerate(protocol.PHASES, 1))


def test_slices_cover_every_rank_once() -> None:
    for count in (1, 63, 64, 65, 1000):
        bounds = [wire.slice_bounds(number, count) for number in range(wire.SLICES)]
        assert bounds[0][0] == 0 and bounds[-1][1] == count
        assert all(end == following for (_, end), (following, _) in zip(bounds, bounds[1:], strict=False))
        assert max(end - first for first, end in bounds) == -(-count // wire.SLICES)


def test_lists_are_cut_into_messages_of_one_mebibyte() -> None:
    assert wire.chunk_lengths(0) == [0]
    assert wire.chunk_lengths(1 << 20) == [1 << 20]
    assert wire.chunk_lengths((1 << 20) + 1) == [1 << 20, 1]
