from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive_line
from workbench_kme.physics import (
    PRESETS,
    Counts,
    Link,
    SecurityParameters,
    asymptotic_rate,
    block_estimate,
    count,
    entropy,
    finite_key,
    plob_bound,
    secret_length,
    simulate,
)

SEED = bytes(32)
BRIGHT = replace(
    PRESETS["metro-10"],
    length_km=0.0,
    receiver_efficiency=0.9,
    dark_probability=1e-3,
    misalignment=0.02,
    intensities=(0.5, 0.2, 1e-3),
    probabilities=(0.2, 0.5, 0.3),
    key_basis_probability=0.6,
)


def test_the_bounds_hold_for_what_really_happened_in_every_seeded_run() -> None:
    """The promise the key rests on: never more vacuum and single photons than there were, never fewer phase errors."""
    parameters = SecurityParameters(BRIGHT.intensities, BRIGHT.probabilities)
    informative = 0
    for seed in range(8):
        truth = naive_line.run(BRIGHT, 500_000, seed)
        made = secret_length(truth.counts, parameters, 0.0)
        assert made.vacuum <= truth.vacuum
        assert made.single <= truth.single
        assert made.phase_error * truth.single >= truth.phase_errors
        informative += made.single > 0.5 * truth.single and made.phase_error < 0.2
    assert informative == 8, "bounds that say nothing would hold as well"


def test_the_bounds_hold_while_pulses_are_being_split() -> None:
    """The attack that no error rate shows: single photons become few, and the bound on them must follow."""
    line = BRIGHT.at(25.0)
    quiet = secret_length(naive_line.run(line, 600_000, 7).counts, SecurityParameters.of(line), 0.0)
    for seed in range(3):
        truth = naive_line.run(line, 600_000, seed, splitting=True)
        made = secret_length(truth.counts, SecurityParameters.of(line), 0.0)
        assert made.single <= truth.single
        assert made.vacuum <= truth.vacuum
        assert made.phase_error * truth.single >= truth.phase_errors
        assert made.secret_before_correction < 0.2 * quiet.secret_before_correction


@pytest.mark.soak
def test_the_bounds_hold_in_hundreds_of_seeded_runs() -> None:
    for seed in range(1000, 1400):
        line = BRIGHT.at(10.0 * (seed % 4))
        truth = naive_line.run(line, 500_000, seed, splitting=seed % 8 > 5)
        made = secret_length(truth.counts, SecurityParameters.of(line), 0.0)
        assert made.single <= truth.single and made.vacuum <= truth.vacuum
        assert made.phase_error * truth.single >= truth.phase_errors


def test_the_bounds_hold_as_often_as_promised_where_much_failure_is_allowed() -> None:
    """With a failure probability of 30 % the bounds are near the truth, and may miss it in 30 % of runs at most."""
    parameters = SecurityParameters(BRIGHT.intensities, BRIGHT.probabilities, 0.3, 0.3)
    misses = 0
    for seed in range(100, 130):
        truth = naive_line.run(BRIGHT, 100_000, seed)
        made = secret_length(truth.counts, parameters, 0.0)
        misses += (
            made.vacuum > truth.vacuum
            or made.single > truth.single
            or made.phase_error * truth.single < truth.phase_errors
        )
    assert misses <= 9


def test_a_block_by_hand() -> None:
    """Equations (1) to (5) once more in plain numbers, on counts with round values."""
    counts = Counts(
        sent=((200_000, 500_000, 300_000), (50_000, 120_000, 80_000)),
        detected=((60_000, 70_000, 2_000), (15_000, 18_000, 500)),
        errors=((0, 0, 0), (450, 540, 250)),
    )
    mu, nu, vac = BRIGHT.intensities
    p1, p2, p3 = BRIGHT.probabilities
    tau0 = p1 * math.exp(-mu) + p2 * math.exp(-nu) + p3 * math.exp(-vac)
    tau1 = p1 * mu * math.exp(-mu) + p2 * nu * math.exp(-nu) + p3 * vac * math.exp(-vac)

    def bounds(n: tuple[int, int, int]) -> tuple[float, float]:
        d = math.sqrt(sum(n) / 2 * math.log(21e10))
        s0 = max(0.0, tau0 * (nu * math.exp(vac) / p3 * max(0, n[2] - d) - vac * math.exp(nu) / p2 * (n[1] + d)) / (nu - vac))
        inner = math.exp(nu) / p2 * (n[1] - d) - math.exp(vac) / p3 * (n[2] + d)
        inner -= (nu**2 - vac**2) / mu**2 * (math.exp(mu) / p1 * (n[0] + d) - s0 / tau0)
        return s0, tau1 * mu * inner / (mu * (nu - vac) - nu**2 + vac**2)

    (x0, x1), (_, z1) = bounds((60_000, 70_000, 2_000)), bounds((15_000, 18_000, 500))
    d = math.sqrt(1240 / 2 * math.log(21e10))
    v = tau1 * (math.exp(nu) / p2 * (540 + d) - math.exp(vac) / p3 * (250 - d)) / (nu - vac)
    b = v / z1
    spread = (z1 + x1) * (1 - b) * b / (z1 * x1 * math.log(2))
    phi = b + math.sqrt(spread * math.log2((z1 + x1) / (z1 * x1 * (1 - b) * b) * 21**2 * 1e20))
    made = secret_length(counts, SecurityParameters.of(BRIGHT), 20_000.5)
    assert made.single == pytest.approx(x1) and made.vacuum == pytest.approx(x0)
    assert made.single_test_errors == pytest.approx(v) and made.phase_error == pytest.approx(phi)
    overhead = 6 * math.log2(21e10) + math.log2(2e15)
    assert made.length == math.floor(x0 + x1 * (1 - entropy(phi)) - 20_000.5 - overhead) > 0


def test_no_counts_no_key() -> None:
    nothing = Counts(((0, 0, 0), (0, 0, 0)), ((0, 0, 0), (0, 0, 0)))
    made = secret_length(nothing, SecurityParameters.of(BRIGHT), 0.0)
    assert made.length == 0 and made.phase_error == 0.5 and made.balance < -200


def test_a_flawless_test_basis_is_not_taken_for_a_flawless_line() -> None:
    """The formula for the deviation is 0 at no errors; what no error in so many bits leaves possible is the least."""
    counts = Counts(
        ((9_000, 9_000, 9_000), (9_000, 9_000, 9_000)), ((5_000, 6_000, 50), (5_000, 6_000, 50)), ((0, 0, 0), (0, 0, 0))
    )
    made = secret_length(counts, SecurityParameters(BRIGHT.intensities, (0.3, 0.5, 0.2)), 0.0)
    assert made.single_test == pytest.approx(made.single)
    assert made.phase_error == pytest.approx(math.log(21e10) / (made.single * math.log(2)))
    assert 0.5 ** (made.phase_error * made.single) == pytest.approx(1e-10 / 21)


def test_more_disclosure_or_a_stricter_promise_never_lengthens_a_key() -> None:
    counts = count(*simulate(PRESETS["metro-10"], 20_000_000, SEED, 1))
    base = secret_length(counts, SecurityParameters.of(PRESETS["metro-10"]), 30_000)
    assert base.length > 0
    assert secret_length(counts, SecurityParameters.of(PRESETS["metro-10"]), 30_100).length == base.length - 100
    assert secret_length(counts, SecurityParameters.of(PRESETS["metro-10"], epsilon_secret=1e-12), 30_000).length < base.length


@pytest.mark.parametrize("preset", PRESETS)
def test_a_simulated_block_is_worth_what_the_formula_expects(preset: str) -> None:
    link = PRESETS[preset]
    expected = finite_key(link, 150_000)
    pulses = round(expected.pulses)
    made = block_estimate(link, count(*simulate(link, pulses, SEED, 2)))
    assert expected.estimate.length > 0
    assert made.length == pytest.approx(expected.estimate.length, rel=0.2)


@pytest.mark.parametrize(
    "wrong",
    [((2, 0, 0), (0, 0, 0)), ((-1, 0, 0), (0, 0, 0))],
)
def test_impossible_counts_are_refused(wrong: tuple[tuple[int, int, int], tuple[int, int, int]]) -> None:
    with pytest.raises(ValueError, match="counts"):
        Counts(((5, 5, 5), (5, 5, 5)), ((1, 1, 1), (1, 1, 1)), wrong)


probability = st.floats(0.01, 1.0)


@st.composite
def links(draw: st.DrawFn) -> Link:
    weights = [draw(probability) for _ in range(3)]
    vacuum = draw(st.sampled_from([0.0, 1e-5, 2e-4, 1e-2]))
    nu = vacuum + draw(st.floats(0.01, 0.5))
    mu = nu + vacuum + draw(st.floats(0.01, 1.5))
    return Link(
        name="drawn",
        length_km=draw(st.floats(0.0, 400.0)),
        loss_db_km=draw(st.floats(0.14, 0.5)),
        receiver_efficiency=draw(st.floats(0.01, 1.0)),
        dark_probability=draw(st.sampled_from([0.0, 1e-10, 1e-7, 1e-5, 1e-3, 0.1])),
        misalignment=draw(st.sampled_from([0.0, 1e-3, 0.03, 0.2])),
        afterpulse=draw(st.sampled_from([0.0, 0.01, 0.1, 0.5])),
        clock_hz=1e9,
        intensities=(mu, nu, vacuum),
        probabilities=(weights[0] / sum(weights), weights[1] / sum(weights), weights[2] / sum(weights)),
        key_basis_probability=draw(st.floats(0.02, 0.98)),
    )


@settings(max_examples=150, deadline=None)
@given(links(), st.floats(3.0, 15.0))
def test_no_rate_passes_the_bound_without_repeaters(link: Link, magnitude: float) -> None:
    """Pirandola, Laurenza, Ottaviani, Banchi, Nat. Commun. 8, 15043 (2017); f = 1 is the most that formulas can ask."""
    bound = plob_bound(link)
    assert asymptotic_rate(link, "infinite", efficiency=1.0, sifting=1.0) <= bound
    assert asymptotic_rate(link, "vacuum-weak", efficiency=1.0, sifting=1.0) <= bound
    made = finite_key(link, 10**magnitude, efficiency=1.0, epsilon_secret=0.1, epsilon_correct=0.1)
    assert made.rate <= bound
    assert made.estimate.single + made.estimate.vacuum <= 10**magnitude * (1 + 1e-9)


def test_the_bound_at_no_loss_and_at_ten_decibel() -> None:
    link = PRESETS["metro-50"]
    assert plob_bound(link) == pytest.approx(-math.log2(0.9))
    assert plob_bound(link.at(0.0)) == math.inf
