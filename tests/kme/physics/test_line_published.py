"""The model against the literature: one test for each point of docs/protocols/qkd.md section 4, with its source."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from workbench_kme.physics import (
    PRESETS,
    Eavesdropper,
    Link,
    asymptotic_rate,
    best_finite_key,
    count,
    entropy,
    optimal_signal,
    published_curve,
    published_points,
    rate_curve,
    reach_km,
    simulate,
    simulated_curve,
    single_photons,
)
from workbench_kme.physics.rates import SIFTING_BB84, FiniteKey

GYS = PRESETS["gys-2004"]
LIM = PRESETS["fibre-100"]
F_GYS = 1.22


def rate(length: float) -> float:
    return asymptotic_rate(GYS.at(length), "infinite", efficiency=F_GYS, sifting=SIFTING_BB84)


def lim(length: float, bits: float) -> FiniteKey:
    """As the paper evaluates its bounds: its own detection model, secrecy per bit 1e-15, settings optimised."""
    return best_finite_key(LIM.at(length), bits, epsilon_secret=1e-15, per_bit=True, efficiency=1.16, model="paper")


def test_1_reach_with_endless_decoys_is_142_km() -> None:
    """142.05 km: Ma, Qi, Zhao, Lo, PRA 72, 012326 (2005) with GYS, as four public projects quote and test it."""
    assert reach_km(GYS, "infinite", efficiency=F_GYS) == pytest.approx(142.05, abs=0.1)


def test_2_reach_with_vacuum_and_weak_decoy_is_140_km() -> None:
    """140.55 km: the same paper, vacuum and weak decoy, as quoted; other public models 140.61."""
    assert reach_km(GYS, "vacuum-weak", efficiency=F_GYS) == pytest.approx(140.55, abs=0.1)


def test_3_the_best_signal_intensity_is_048() -> None:
    """0.48 at f = 1.22, and 0.54 at the Shannon limit: the same paper, section III, as quoted."""
    for length in (0.0, 25.0, 50.0):
        assert optimal_signal(GYS.at(length), efficiency=F_GYS) == pytest.approx(0.48, abs=0.01)
    assert optimal_signal(GYS.at(25.0), efficiency=1.0) == pytest.approx(0.54, abs=0.01)


def test_4_rate_back_to_back() -> None:
    """2.55e-3 bit a pulse: a public model of the same line."""
    assert rate(0.0) == pytest.approx(2.55e-3, rel=0.005)


def test_5_rate_and_error_rate_at_100_km() -> None:
    """1.72e-5 bit a pulse: a public model of the same line; the error rate of 3.76 % is our own, frozen."""
    assert rate(100.0) == pytest.approx(1.72e-5, rel=0.005)
    eta_mu = GYS.at(100.0).transmittance * 0.48
    click = -math.expm1(-eta_mu)
    assert (0.033 * click + 0.85e-6) / (click + 1.7e-6) == pytest.approx(0.0376, abs=5e-5)


@pytest.mark.parametrize(
    ("length", "value"), [(20, 9.62e-4), (40, 3.63e-4), (60, 1.361e-4), (80, 4.99e-5), (120, 4.81e-6), (140, 2.46e-7)]
)
def test_6_our_rates_are_frozen(length: float, value: float) -> None:
    """Our own, first computed by an independent script of a hundred lines; here so that no change goes unnoticed."""
    assert rate(length) == pytest.approx(value, rel=0.005)


def test_the_convention_of_dark_counts_decides_the_far_end_of_the_curve() -> None:
    """Section 1 of the document: per detector or both together; compare two models only after matching it."""
    twice, half = replace(GYS, dark_probability=3.4e-6), replace(GYS, dark_probability=0.85e-6)

    def change(link: Link, length: float) -> float:
        return asymptotic_rate(link.at(length), "infinite", efficiency=F_GYS, sifting=SIFTING_BB84) / rate(length) - 1

    assert [change(twice, km) for km in (0, 50, 100)] == pytest.approx([-0.0011, -0.0132, -0.163], abs=1e-3)
    assert reach_km(twice, "infinite", efficiency=F_GYS) == pytest.approx(127.7, abs=0.1)
    assert [change(half, km) for km in (50, 100)] == pytest.approx([0.0066, 0.0835], abs=1e-3)
    assert change(half, 140.0) + 1 == pytest.approx(6.13, rel=0.01)


def test_7_two_decoys_bound_single_photons_as_closely_as_published() -> None:
    """Y1 3.5 % below and e1 16.8 % above the ideal values at 40 km, nu = 0.12: Ma et al. (2005), as quoted."""
    link = replace(GYS.at(40.0), intensities=(0.48, 0.12, 0.0))
    ideal, bound = single_photons(link, "infinite"), single_photons(link, "vacuum-weak")
    assert 1 - bound.clicks / ideal.clicks == pytest.approx(0.035, abs=5e-4)
    assert bound.error / ideal.error - 1 == pytest.approx(0.168, abs=5e-4)


def test_11_the_one_way_limit_is_eleven_percent() -> None:
    """11.0 %: Shor, Preskill, PRL 85, 441 (2000); 9.81 % and 9.42 % with f of 1.16 and 1.22."""

    def limit(f: float) -> float:
        low, high = 0.0, 0.5
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if 1 - (1 + f) * entropy(middle) > 0 else (low, middle)
        return low

    assert limit(1.0) == pytest.approx(0.110028, abs=1e-6)
    assert limit(1.16) == pytest.approx(0.0981, abs=5e-5)
    assert limit(1.22) == pytest.approx(0.0942, abs=5e-5)


def test_12_intercepting_every_pulse_adds_a_quarter() -> None:
    """1/4: Bennett, Bessette, Brassard, Salvail, Smolin, J. Cryptology 5, 3 (1992); 26.65 % with e_d of 3.3 %."""
    counts = count(*simulate(GYS, 10_000_000, bytes(32), 0, Eavesdropper(1.0)))
    signal, wrong = (counts.detected[i][0] for i in (0, 1)), (counts.errors[i][0] for i in (0, 1))
    clicks = sum(signal)
    assert sum(wrong) / clicks == pytest.approx(0.2665, abs=5 * math.sqrt(0.2 / clicks))


def test_16_curves_never_cross_the_bound_without_repeaters() -> None:
    """Pirandola et al. (2017); the property over drawn lines stands in test_line_estimate."""
    lengths = [1.0, 10.0, 50.0, 100.0, 140.0]
    bound = rate_curve(GYS, lengths, "plob")
    for kind in ("infinite", "vacuum-weak", "finite"):
        made = rate_curve(GYS, lengths, kind, efficiency=F_GYS)
        assert bool((made.rates <= bound.rates).all())
        assert bool((made.rates[1:] <= made.rates[:-1]).all())


def test_simulated_blocks_lie_on_the_curve_of_the_formula() -> None:
    lengths = [10.0, 60.0, 100.0]
    formula = rate_curve(LIM, lengths, "finite", block_bits=200_000)
    blocks = simulated_curve(LIM, lengths, seed=bytes(32), block_bits=200_000)
    assert blocks.rates == pytest.approx(formula.rates, rel=0.15)
    assert float(blocks.rates.min()) > 0


def test_every_published_point_has_a_source_and_the_plot_can_find_them() -> None:
    points = published_points()
    assert all(one.source and one.value > 0 for one in points)
    curve, sources = published_curve("gys-infinite-decoy")
    assert len(curve.rates) == len(sources) == 8
    assert list(curve.lengths_km) == sorted(curve.lengths_km)
    assert curve.rates == pytest.approx([rate(length) for length in curve.lengths_km], rel=0.01)
    assert len(published_curve("lim-finite-key", 1e6)[0].rates) == 5


def test_8_a_hundredfold_block_is_worth_seven_quarters_at_100_km() -> None:
    """About 1.75: Lim, Curty, Walenta, Xu, Zbinden, PRA 89, 022307 (2014), section IV. Ours 1.71."""
    assert lim(100.0, 1e9).rate / lim(100.0, 1e7).rate == pytest.approx(1.75, rel=0.03)


def test_9_blocks_of_ten_thousand_bits_end_at_130_km_not_at_135() -> None:
    """135 km: the same paper, section IV. NOT reproduced: decision 0055 says what was tried. Frozen so that it is noticed
    should a change ever reach it. With a fixed secrecy of 1e-10, instead of one per bit, a few bits are left at 135 km.
    """
    assert lim(130.0, 1e4).rate > 0 == lim(135.0, 1e4).rate
    assert 0 < best_finite_key(LIM.at(135.0), 1e4, model="paper").estimate.length < 100


@pytest.mark.parametrize(("length", "value"), [(5, 4.723e-3), (50, 5.739e-4), (100, 5.157e-5), (150, 2.635e-6)])
def test_10_our_finite_rates_are_frozen(length: float, value: float) -> None:
    """Our own at n_X = 1e7; the paper has a curve only. Without the cut to 0 ... n: 4.22e-3, 5.14e-4, 4.77e-5, 2.64e-6."""
    assert lim(length, 1e7).rate == pytest.approx(value, rel=2e-3)


@pytest.mark.parametrize(("bits", "length"), [(1e5, 50.0), (1e6, 50.0), (1e7, 100.0), (1e9, 100.0)])
def test_finite_rates_lie_on_the_printed_curves(bits: float, length: float) -> None:
    """Figure 1 of the same paper, digitised by a third party: within 15 % from blocks of 1e5 bits on, up to 100 km."""
    (value,) = (
        one.value
        for one in published_points()
        if (one.series, one.quantity, one.block_bits, one.length_km) == ("lim-finite-key", "rate", bits, length)
    )
    assert lim(length, bits).rate == pytest.approx(value, rel=0.15)
