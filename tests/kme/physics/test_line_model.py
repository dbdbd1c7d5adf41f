from __future__ import annotations

import math
from dataclasses import replace

import pytest

from workbench_kme.physics import (
    ATTACK_KINDS,
    PRESETS,
    SEEN_BY_DECOYS,
    SEEN_BY_QBER,
    Eavesdropper,
    Link,
    known_share,
    responses,
)

GYS = PRESETS["gys-2004"]


def overall_qber(link: Link, attack: Eavesdropper | None) -> float:
    seen = responses(link, attack)
    clicks = math.fsum(p * r.gain for p, r in zip(link.probabilities, seen, strict=True))
    return math.fsum(p * r.errors for p, r in zip(link.probabilities, seen, strict=True)) / clicks


def test_presets_are_the_four_that_the_documents_name() -> None:
    assert {name: link.length_km for name, link in PRESETS.items()} == {
        "gys-2004": 20.0,
        "metro-10": 10.0,
        "metro-50": 50.0,
        "fibre-100": 100.0,
    }
    assert all(link.name == name and link.source for name, link in PRESETS.items())


def test_gains_and_errors_are_those_of_the_published_formulas() -> None:
    """Ma et al., PRA 72, 012326 (2005), equations (8) to (11), which leave out a product of dark count and photon."""
    for seen, k in zip(responses(GYS), GYS.intensities, strict=True):
        eta = 0.045 * 10 ** (-0.21 * 20 / 10)
        assert seen.gain == pytest.approx(1.7e-6 + 1 - math.exp(-eta * k), rel=1e-5)
        assert seen.errors == pytest.approx(0.5 * 1.7e-6 + 0.033 * (1 - math.exp(-eta * k)), rel=5e-5)


def test_an_afterpulse_reaches_slots_in_which_nothing_was_sent() -> None:
    loud = replace(PRESETS["metro-10"], intensities=(0.48, 0.2, 0.0))
    quiet = replace(loud, afterpulse=0.0)
    mean = math.fsum(p * r.primary for p, r in zip(quiet.probabilities, responses(quiet), strict=True))
    vacuum_before, vacuum_after = responses(quiet)[2], responses(loud)[2]
    assert vacuum_after.gain - vacuum_before.gain == pytest.approx(0.04 * mean, rel=1e-3)
    assert vacuum_after.qber == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("kind", ATTACK_KINDS)
def test_what_the_error_rate_and_the_decoys_see_is_what_the_tables_say(kind: str) -> None:
    link = PRESETS["metro-50"]
    attack = Eavesdropper(1.0, kind)  # type: ignore[arg-type]
    before, after = responses(link), responses(link, attack)
    noticed = overall_qber(link, attack) - overall_qber(link, None) > 0.005
    assert noticed == SEEN_BY_QBER[attack.kind]
    assert (abs(after[1].gain / before[1].gain - 1) > 0.1) == SEEN_BY_DECOYS[attack.kind]
    # Whoever attacks keeps the signal's clicks where they were: a fall of the count rate would give every attack away.
    assert after[0].gain == pytest.approx(before[0].gain, rel=0.01)
    assert known_share(link, attack) > 0.4


def test_intercept_resend_on_all_pulses_costs_a_quarter_and_half_of_the_misalignment() -> None:
    """0.25 + 0.5 e_d = 26.65 % with e_d of 3.3 %, for photons; dark counts add nothing here."""
    light = replace(GYS, dark_probability=0.0)
    assert responses(light, Eavesdropper(1.0))[0].qber == pytest.approx(0.25 + 0.0165)
    ideal = replace(light, misalignment=0.0)
    assert responses(ideal, Eavesdropper(1.0))[0].qber == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("fraction", "qber"), [(0.0, 0.033), (0.05, 0.045), (0.1, 0.056), (0.2, 0.080), (0.3, 0.103), (0.5, 0.150), (1.0, 0.267)]
)
def test_the_error_rate_rises_with_the_share_of_intercepted_pulses(fraction: float, qber: float) -> None:
    """Table of section 4.3 of our own measurements at 20 km, GYS."""
    assert responses(GYS, Eavesdropper(fraction))[0].qber == pytest.approx(qber, abs=6e-4)


def test_blinding_changes_nothing_that_anybody_measures_and_gives_everything_away() -> None:
    attack = Eavesdropper(1.0, "detector-blinding")
    assert responses(GYS, attack) == responses(GYS)
    assert known_share(GYS, attack) == 1.0


@pytest.mark.parametrize("length", [0.0, 10.0, 60.0, 120.0])
def test_splitting_never_needs_more_light_than_the_pulses_held(length: float) -> None:
    link = GYS.at(length)
    for seen, k in zip(responses(link, Eavesdropper(1.0, "photon-number-splitting")), link.intensities, strict=True):
        assert seen.photon <= 1 - math.exp(-k * link.receiver_efficiency) + 1e-15
    assert responses(link, Eavesdropper(1.0, "photon-number-splitting"))[0].gain == pytest.approx(responses(link)[0].gain)


def test_without_loss_there_is_nothing_to_split() -> None:
    """What the receiver expects to lose is all that she can take."""
    attack = Eavesdropper(1.0, "photon-number-splitting")
    assert [r.gain for r in responses(GYS.at(0.0), attack)] == pytest.approx([r.gain for r in responses(GYS.at(0.0))])
    assert known_share(GYS.at(0.0), attack) == pytest.approx(0.0, abs=1e-9)
    shares = [known_share(GYS.at(length), attack) for length in (0.0, 2.0, 5.0, 20.0, 60.0)]
    assert shares == sorted(shares)


@pytest.mark.parametrize(
    "change",
    [
        {"dead_time_s": 1e-6},
        {"intensities": (0.1, 0.2, 0.0)},
        {"probabilities": (0.5, 0.5, 0.5)},
        {"receiver_efficiency": 0.0},
        {"misalignment": 0.5},
        {"key_basis_probability": 1.0},
        {"length_km": -1.0},
        {"length_km": math.nan},
        {"clock_hz": math.inf},
    ],
)
def test_a_link_that_the_model_does_not_describe_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="out of range|must"):
        replace(GYS, **change)  # type: ignore[arg-type]
