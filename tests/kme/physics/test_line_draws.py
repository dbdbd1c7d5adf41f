from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from workbench_kme.physics.draws import Uniforms, binomial, half_words, words


def exact(trials: int, probability: float, k: int) -> float:
    log = math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
    return math.exp(log + k * math.log(probability) + (trials - k) * math.log1p(-probability))


def test_words_are_those_of_the_standard() -> None:
    """Written out once more from section 3 of the document: SHAKE-256, little-endian."""
    raw = hashlib.shake_256(b"workbench/v1/qkd-line\nslots\ncontext").digest(24)
    assert [int(w) for w in words(b"context", "slots", 3)] == [int.from_bytes(raw[i : i + 8], "little") for i in (0, 8, 16)]
    raw = hashlib.shake_256(b"workbench/v1/qkd-line\nafterpulses\ncontext").digest(8)
    assert [int(w) for w in half_words(b"context", "afterpulses", 2)] == [int.from_bytes(raw[i : i + 4], "little") for i in (0, 4)]


def test_a_stream_goes_on_as_it_began() -> None:
    many, few = Uniforms(b"x", "counts"), Uniforms(b"x", "counts")
    first = [many.take() for _ in range(500)]
    assert [few.take() for _ in range(3)] == first[:3]
    assert len(set(first)) == 500
    assert all(0 < u < 1 for u in first)


@pytest.mark.parametrize(("trials", "probability"), [(40, 0.05), (60, 0.3), (200, 0.5), (500, 0.9), (5000, 0.01)])
def test_binomial_numbers_follow_the_exact_law(trials: int, probability: float) -> None:
    """Chi-square over all values with at least 8 expected draws; inversion and rejection both occur."""
    uniforms = Uniforms(b"law", f"{trials}-{probability}")
    draws = 4000
    seen = np.bincount([binomial(uniforms, trials, probability) for _ in range(draws)], minlength=trials + 1)
    expected = np.array([draws * exact(trials, probability, k) for k in range(trials + 1)])
    common = expected >= 8
    chi = float(((seen[common] - expected[common]) ** 2 / expected[common]).sum())
    rest, rest_expected = float(seen[~common].sum()), float(expected[~common].sum())
    chi += (rest - rest_expected) ** 2 / max(rest_expected, 1)
    degrees = int(common.sum())
    assert chi < degrees + 5 * math.sqrt(2 * degrees)


@pytest.mark.parametrize(("trials", "probability"), [(10**11, 3e-5), (10**12, 0.2), (1 << 40, 1e-9)])
def test_binomial_numbers_of_huge_blocks_have_the_right_mean_and_spread(trials: int, probability: float) -> None:
    uniforms = Uniforms(b"huge", f"{trials}-{probability}")
    draws = np.array([binomial(uniforms, trials, probability) for _ in range(2000)], dtype=np.float64)
    deviation = math.sqrt(trials * probability * (1 - probability))
    z = (draws - trials * probability) / deviation
    assert abs(z.mean()) < 5 / math.sqrt(2000)
    assert abs(z.var() - 1) < 5 * math.sqrt(2 / 2000)
    assert abs((z**3).mean()) < 5 * math.sqrt(15 / 2000) + 1 / deviation


def test_binomial_edges() -> None:
    uniforms = Uniforms(b"edge", "counts")
    assert [binomial(uniforms, n, p) for n, p in ((0, 0.3), (7, 0.0), (7, 1.0))] == [0, 0, 7]
    with pytest.raises(ValueError, match="trials"):
        binomial(uniforms, -1, 0.5)
    with pytest.raises(ValueError, match="probability"):
        binomial(uniforms, 1, math.nan)
