"""Published key rates beside those of this program: formulas and simulated blocks. Pure. Document: docs/quantum-channel.md section 6."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from workbench_kme.physics import PRESETS, Curve, published_curve, rate_curve, reach_km, simulated_curve
from workbench_kme.physics.rates import SIFTING_BB84, asymptotic_rate

Points = tuple[tuple[float, float], ...]
PAPERS_EFFICIENCY: Final = 1.22
"""f of the papers on endless keys."""
STEP_KM: Final = 5
FINITE_BITS: Final = 1e6
"""n_X of the second plot: blocks of a million sifted bits, which this machine can also simulate."""
FINITE_KM: Final = (1.0, 20.0, 50.0, 80.0, 100.0, 120.0)
SEED: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One plot: (km, secret bits per pulse). published: points with `trust` as their source can be trusted."""

    name: str
    published: Points
    source: str
    trust: str
    model: Points
    simulated: Points
    bound: Points


@cache
def comparisons() -> tuple[Comparison, ...]:
    """Both plots; about two seconds the first time, for the simulated blocks."""
    return _endless(), _finite()


def _endless() -> Comparison:
    link = PRESETS["gys-2004"]
    end = int(reach_km(link, "infinite", efficiency=PAPERS_EFFICIENCY))
    lengths = [float(km) for km in (*range(0, end, STEP_KM), end)]
    rates = [asymptotic_rate(link.at(km), "infinite", efficiency=PAPERS_EFFICIENCY, sifting=SIFTING_BB84) for km in lengths]
    model = tuple((km, rate) for km, rate in zip(lengths, rates, strict=True) if rate > 0)
    return _made("endless", "gys-infinite-decoy", None, model=model, simulated=(), bound=rate_curve(link, lengths[1:], "plob"))


def _finite() -> Comparison:
    link = PRESETS["fibre-100"]
    lengths = [float(km) for km in range(1, 151, STEP_KM)]
    model = rate_curve(link, lengths, "finite", block_bits=FINITE_BITS)
    simulated = simulated_curve(link, FINITE_KM, seed=SEED, block_bits=int(FINITE_BITS))
    return _made("finite", "lim-finite-key", FINITE_BITS, model=_points(model), simulated=_points(simulated), bound=rate_curve(link, lengths, "plob"))


def _made(name: str, series: str, bits: float | None, *, model: Points, simulated: Points, bound: Curve) -> Comparison:
    _, points = published_curve(series, bits)
    # Our own frozen values stand among the published ones as golden numbers for tests; they are no publication.
    foreign = [one for one in points if one.provenance != "own"]
    shown = tuple((float(one.length_km or 0.0), one.value) for one in foreign)
    source, trust = (foreign[0].source, foreign[0].provenance) if foreign else ("", "")
    return Comparison(name, shown, source, trust, model, simulated, _points(bound))


def _points(curve: Curve) -> Points:
    return tuple((float(km), float(rate)) for km, rate in zip(curve.lengths_km, curve.rates, strict=True) if rate > 0)
