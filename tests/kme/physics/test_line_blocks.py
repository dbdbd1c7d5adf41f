from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__  # type: ignore[attr-defined]

import naive_line
from workbench_kme.physics import PRESETS, Eavesdropper, Link, ReceiverView, SenderView, count, responses, simulate

SEED = bytes(range(32))
METRO = PRESETS["metro-10"]


def digest(views: tuple[SenderView, ReceiverView]) -> str:
    sender, receiver = views
    made = hashlib.sha256()
    for array in (sender.index, sender.bit, sender.basis, sender.intensity, receiver.index, receiver.bit, receiver.basis):
        made.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    made.update(repr(sender.sent).encode())
    return made.hexdigest()


FROZEN = {
    "gys-2004": ("gys-2004", 3_000_000, 7, None, "332c1f05693b025462a52d0ee058f0215a30b97609881c23ae49785875105e85"),
    "metro-10 after-pulses": ("metro-10", 200_000, 0, None, "a119aecd8b82f02349b1df16523e6aa48bdfe93337b1b1ac74b7c4b869304220"),
    "fibre-100 far": ("fibre-100", 1 << 30, (1 << 64) - 1, None, "3691a61881f9d4af334afe289ef25deafdad5419bbb503cd874dbd4a9507dadc"),
    "metro-10 tapped": ("metro-10", 200_000, 0, Eavesdropper(0.25), "6004d1382a92fb44bbe7c5e5dcfb646ad7662605f15ba006fd8ce9f858082ede"),
}


@pytest.mark.parametrize("name", FROZEN)
def test_a_block_is_the_same_for_ever(name: str) -> None:
    """The order of draws is a format: both ends and every later version must make the same block from the same seed."""
    preset, pulses, block, attack, expected = FROZEN[name]
    assert digest(simulate(PRESETS[preset], pulses, SEED, block, attack)) == expected


def test_another_process_on_a_lesser_processor_makes_the_same_block() -> None:
    """numpy chooses its loops by processor; with all its choices switched off the block must not change."""
    program = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); import test_line_blocks as t;"
        "print(json.dumps({n: t.digest(t.simulate(t.PRESETS[p], k, t.SEED, b, e)) for n, (p, k, b, e, _) in t.FROZEN.items()}))"
    )
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(__cpu_dispatch__), "PYTHONHASHSEED": "1"}
    here = os.path.dirname(__file__)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, here], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {name: row[4] for name, row in FROZEN.items()}


def test_any_other_setting_makes_a_block_that_shares_nothing() -> None:
    base, _ = simulate(METRO, 100_000, SEED, 5)
    others = [
        simulate(METRO, 100_000, SEED, 6),
        simulate(METRO, 100_001, SEED, 5),
        simulate(METRO, 100_000, SEED[::-1], 5),
        simulate(METRO.at(10.000001), 100_000, SEED, 5),
        simulate(METRO, 100_000, SEED, 5, Eavesdropper(0.0)),
    ]
    for other, _ in others:
        common = np.intersect1d(base.index, other.index)
        # Two independent blocks meet by chance in about share^2 of all slots.
        assert len(common) < 3 * len(base.index) ** 2 / 100_000


@pytest.mark.parametrize(("preset", "pulses"), [("gys-2004", 10_000_000), ("metro-10", 3_000_000), ("fibre-100", 10**9)])
@pytest.mark.parametrize("attack", [None, Eavesdropper(0.3), Eavesdropper(0.6, "photon-number-splitting")])
def test_gains_and_errors_lie_within_their_statistical_bounds(
    preset: str, pulses: int, attack: Eavesdropper | None
) -> None:
    """Every cell within 5 standard deviations of the analytic gain and error (66 cells: one false alarm in 30,000 seeds)."""
    link = PRESETS[preset]
    counts = count(*simulate(link, pulses, SEED, 11, attack))
    assert sum(map(sum, counts.sent)) == pulses
    for basis, q in enumerate((link.key_basis_probability, 1 - link.key_basis_probability)):
        for k, seen in enumerate(responses(link, attack)):
            sent = counts.sent[basis][k]
            expected = pulses * q * link.probabilities[k]
            assert abs(sent - expected) < 5 * math.sqrt(expected)
            for observed, mean in ((counts.detected[basis][k], sent * q * seen.gain), (counts.errors[basis][k], sent * q * seen.errors)):
                assert abs(observed - mean) < 5 * math.sqrt(mean) + 3


@pytest.mark.parametrize("attack", [None, Eavesdropper(1.0, "photon-number-splitting")])
def test_events_and_the_naive_line_agree(attack: Eavesdropper | None) -> None:
    """A second implementation, pulse by pulse with photon numbers, sees the same counts within their spread."""
    link = replace(METRO, length_km=25.0, receiver_efficiency=0.9, dark_probability=1e-3, afterpulse=0.08, misalignment=0.02)
    pulses = 400_000
    ours = count(*simulate(link, pulses, SEED, 3, attack))
    theirs = naive_line.run(link, pulses, 3, splitting=attack is not None).counts
    for mine, other in zip(
        (*ours.detected[0], *ours.detected[1], *ours.errors[0], *ours.errors[1]),
        (*theirs.detected[0], *theirs.detected[1], *theirs.errors[0], *theirs.errors[1]),
        strict=True,
    ):
        assert abs(mine - other) < 5 * math.sqrt(mine + other + 1)


def test_slots_bits_and_bases_are_evenly_spread() -> None:
    sender, receiver = simulate(METRO, 2_000_000, SEED, 9)
    n = len(sender.index)
    assert bool(np.all(sender.index[1:] > sender.index[:-1])) and int(sender.index[-1]) < 2_000_000
    assert np.array_equal(sender.index, receiver.index)
    tenths = np.bincount((sender.index * np.uint64(10) // np.uint64(2_000_000)).astype(int), minlength=10)
    assert bool(np.all(np.abs(tenths - n / 10) < 5 * math.sqrt(n / 10)))
    for bits in (sender.bit, receiver.bit):
        assert abs(int(bits.sum()) - n / 2) < 5 * math.sqrt(n) / 2
    both = int((sender.basis & receiver.basis).sum())
    assert abs(both - n / 16) < 5 * math.sqrt(n / 16)
    differing = sender.basis != receiver.basis
    wrong = int((sender.bit[differing] != receiver.bit[differing]).sum())
    assert abs(wrong - differing.sum() / 2) < 5 * math.sqrt(float(differing.sum())) / 2


def test_afterpulses_follow_their_clicks_at_the_stated_rate() -> None:
    def followers(link: Link) -> float:
        sender, _ = simulate(link, 2_000_000, SEED, 4)
        return float(np.count_nonzero(np.diff(sender.index) == 1)) / len(sender.index)

    quiet, loud = followers(replace(METRO, afterpulse=0.0)), followers(replace(METRO, afterpulse=0.2))
    assert loud - quiet == pytest.approx(0.2 / 1.2, abs=0.01)


def test_a_line_that_is_dark_or_dense_ends_well() -> None:
    dark = replace(METRO.at(400.0), dark_probability=0.0)
    sender, receiver = simulate(dark, 1000, SEED, 0)
    assert len(sender.index) == len(receiver.index) == 0
    assert sum(map(sum, sender.sent)) == 1000
    dense = replace(
        METRO.at(0.0), receiver_efficiency=1.0, intensities=(9.0, 4.0, 1.0), probabilities=(0.9, 0.05, 0.05), afterpulse=0.0
    )
    sender, _ = simulate(dense, 5000, SEED, 0)
    assert 4700 < len(sender.index) < 5000
    everything, _ = simulate(replace(dense, dark_probability=1 - 1e-12), 500, SEED, 0)
    assert len(everything.index) == 500


@pytest.mark.parametrize(
    ("pulses", "seed", "block"), [(0, SEED, 0), ((1 << 40) + 1, SEED, 0), (10, SEED[:31], 0), (10, SEED, -1), (10, SEED, 1 << 64)]
)
def test_arguments_outside_the_format_are_refused(pulses: int, seed: bytes, block: int) -> None:
    with pytest.raises(ValueError, match="block|seed"):
        simulate(METRO, pulses, seed, block)


def test_a_block_too_large_for_memory_is_refused_before_it_is_drawn() -> None:
    with pytest.raises(ValueError, match="fewer"):
        simulate(METRO, 1 << 40, SEED, 0)


def test_views_answer_for_announced_slots_only_and_show_no_bit() -> None:
    sender, receiver = simulate(METRO, 100_000, SEED, 1)
    chosen = np.flatnonzero(receiver.basis == 0)
    assert np.array_equal(sender.positions(receiver.index[chosen]), chosen)
    assert len(sender.positions(receiver.index[:0])) == 0
    silent = np.setdiff1d(np.arange(100_000, dtype=np.uint64), sender.index)[:1]
    for bad in (silent, np.array([100_001], dtype=np.uint64), receiver.index[1::-1], receiver.index[[0, 0]]):
        with pytest.raises(ValueError, match="slot"):
            sender.positions(bad)
    assert repr(sender) == f"SenderView(block=1, pulses=100000, detected={len(sender.index)})"
    assert repr(receiver) == f"ReceiverView(block=1, pulses=100000, detected={len(sender.index)})"
    with pytest.raises(ValueError, match="read-only"):
        sender.bit[0] = 1
