"""Section 9 with the real bound and the simulated line: what a block gives, costs and leaves."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from workbench_kme.distill import BlockResult, DistillParameters, Pools, distil_both
from workbench_kme.physics import PRESETS, Eavesdropper
from workbench_kme.physics.estimate import SecurityParameters, secret_length

SEED = hashlib.sha256(b"budget").digest()
LINK = PRESETS["metro-10"]
PULSES = 60_000_000


@pytest.fixture(scope="module")
def blocks() -> list[BlockResult]:
    pools = Pools.from_seed(SEED)
    done = []
    for block in range(2):
        sent, seen = distil_both(LINK, PULSES, SEED, block, pools=pools)
        assert sent.key == seen.key and sent.verified and seen.verified
        assert sent == replace(seen, key=sent.key)
        done.append(sent)
    return done


def test_keys_and_authentication_together_stay_within_the_finite_key_bound(blocks: list[BlockResult]) -> None:
    for result in blocks:
        assert result.counts is not None
        bound = secret_length(result.counts, SecurityParameters.of(LINK), result.leak_bits)
        assert 8 * len(result.key) + result.pool_bits <= result.length_bits <= bound.length
        assert result.pool_bits >= result.authentication_bits_used > 0
        assert result.length_bits < result.sifted - result.leak_bits


def test_authentication_costs_less_than_a_block_gains(blocks: list[BlockResult]) -> None:
    for result in blocks:
        assert result.authentication_bits_used < result.length_bits / 4
        assert 8 * len(result.key) > result.authentication_bits_used


def test_a_block_says_how_sure_its_key_is(blocks: list[BlockResult]) -> None:
    assert blocks[0].epsilon == pytest.approx(1e-10, rel=1e-3) and blocks[0].epsilon > 1e-10 + 1e-15


def test_blocks_of_one_line_have_different_keys_and_equal_runs_equal_ones(blocks: list[BlockResult]) -> None:
    assert not set(blocks[0].keys) & set(blocks[1].keys) and len(set(blocks[0].keys)) == len(blocks[0].keys)
    again, _ = distil_both(LINK, PULSES, SEED, 0)
    assert again == blocks[0]


def test_charging_both_directions_shortens_the_key_by_the_receiver_s_parities(blocks: list[BlockResult]) -> None:
    rules = DistillParameters(SecurityParameters.of(LINK), charge_feedback=True)
    careful, other = distil_both(LINK, PULSES, SEED, 0, parameters=rules)
    assert careful.key == other.key
    if careful.verified:
        assert abs(blocks[0].length_bits - careful.length_bits - careful.feedback_bits) <= 1
    else:
        assert careful.aborted == "no-key-left"


def test_interception_of_a_fifth_leaves_no_key_and_of_everything_passes_the_limit() -> None:
    some, _ = distil_both(LINK, PULSES // 4, SEED, 3, eavesdropper=Eavesdropper(0.3))
    assert some.key == b"" and some.aborted in ("no-key-left", "qber-beyond-limit")
    everything, other = distil_both(LINK, PULSES // 4, SEED, 3, eavesdropper=Eavesdropper(1.0))
    assert everything.aborted == other.aborted == "qber-beyond-limit" and everything.qber > 0.2
