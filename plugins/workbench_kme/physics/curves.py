"""Arrays for pages and notebooks: rates against length, what an eavesdropper does to a line. No plotting here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from workbench_kme.physics.estimate import KeyEstimate, SecurityParameters, entropy, secret_length
from workbench_kme.physics.link import KEY_BASIS, AttackKind, Eavesdropper, Link, known_share, responses
from workbench_kme.physics.published import PublishedPoint, published_points
from workbench_kme.physics.rates import EFFICIENCY, Model, asymptotic_rate, best_finite_key, finite_key, plob_bound
from workbench_kme.physics.simulate import simulate
from workbench_kme.physics.views import Counts, count

Reals = npt.NDArray[np.float64]
CurveKind = Literal["infinite", "vacuum-weak", "finite", "finite-optimised", "plob"]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Secret bits per pulse against fibre length, both of n numbers; 0 where no key is left."""

    kind: CurveKind | str
    lengths_km: Reals
    rates: Reals


def rate_curve(
    link: Link,
    lengths_km: Sequence[float],
    kind: CurveKind,
    *,
    efficiency: float = EFFICIENCY,
    block_bits: float = 1e6,
    model: Model = "events",
) -> Curve:
    """One curve by formula. Cost: microseconds a point; `finite-optimised` about 0.3 s a point: take few."""
    of: dict[str, Callable[[Link], float]] = {
        "infinite": lambda at: asymptotic_rate(at, "infinite", efficiency=efficiency),
        "vacuum-weak": lambda at: asymptotic_rate(at, "vacuum-weak", efficiency=efficiency),
        "finite": lambda at: finite_key(at, block_bits, efficiency=efficiency, model=model).rate,
        "finite-optimised": lambda at: best_finite_key(at, block_bits, efficiency=efficiency, model=model).rate,
        "plob": plob_bound,
    }
    rates = [of[kind](link.at(length)) for length in lengths_km]
    return Curve(kind, np.array(lengths_km, dtype=np.float64), np.array(rates, dtype=np.float64))


def published_curve(series: str, block_bits: float | None = None) -> tuple[Curve, tuple[PublishedPoint, ...]]:
    """The published points of one series that have a length and a rate, in order of length, with their sources."""
    chosen = sorted(
        (
            one
            for one in published_points()
            if one.series == series and one.quantity == "rate" and one.length_km is not None and one.block_bits == block_bits
        ),
        key=lambda one: one.length_km or 0.0,
    )
    lengths = np.array([one.length_km for one in chosen], dtype=np.float64)
    return Curve(series, lengths, np.array([one.value for one in chosen], dtype=np.float64)), tuple(chosen)


def simulated_curve(link: Link, lengths_km: Sequence[float], *, seed: bytes, block_bits: int = 200_000) -> Curve:
    """One simulated block for each length, of about `block_bits` sifted bits, and what the finite-key bound leaves of it.

    Error correction is not run: its disclosure is taken as 1.16 of Shannon's limit at the observed error rate.
    Cost: about 0.1 microseconds a click: 0.05 s a length at 200,000 bits and a key basis of 0.9.
    """
    rates = []
    for number, length in enumerate(lengths_km):
        at = link.at(length)
        pulses = round(finite_key(at, block_bits).pulses)
        rates.append(block_estimate(at, count(*simulate(at, pulses, seed, number))).length / pulses)
    return Curve("simulated", np.array(lengths_km, dtype=np.float64), np.array(rates, dtype=np.float64))


def block_estimate(link: Link, counts: Counts, *, efficiency: float = EFFICIENCY) -> KeyEstimate:
    """What a block is worth if error correction discloses `efficiency` times Shannon's limit."""
    bits, wrong = counts.key_size, sum(counts.errors[KEY_BASIS])
    leak = efficiency * bits * entropy(wrong / bits) if bits else 0.0
    return secret_length(counts, SecurityParameters.of(link), leak)


@dataclass(frozen=True, slots=True, eq=False)
class TappedLine:
    """A line against the attacked share of pulses; each array has one number per share.

    qber: of the key basis, all intensities. rate: expected finite-key rate, bits per pulse. decoy_gain: of the weak
    pulses. known: share of the sifted key that she knows. Where `known` is above 0 and `qber` flat, nobody hears her.
    """

    kind: AttackKind
    fractions: Reals
    qber: Reals
    rate: Reals
    decoy_gain: Reals
    known: Reals


def tapped_line(link: Link, kind: AttackKind, fractions: Sequence[float], *, block_bits: float = 1e6) -> TappedLine:
    """What an eavesdropper of one kind does to a line, by formula, for blocks as long as `block_bits` would need unattacked."""
    rows = []
    pulses = finite_key(link, block_bits).pulses
    for fraction in fractions:
        attack = Eavesdropper(fraction, kind)
        seen = responses(link, attack)
        clicks = sum(p * r.gain for p, r in zip(link.probabilities, seen, strict=True))
        wrong = sum(p * r.errors for p, r in zip(link.probabilities, seen, strict=True))
        bits = pulses * link.key_basis_probability**2 * clicks
        rate = finite_key(link, bits, eavesdropper=attack).rate
        rows.append((wrong / clicks, rate, seen[1].gain, known_share(link, attack)))
    columns = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return TappedLine(kind, np.array(fractions, dtype=np.float64), columns[0], columns[1], columns[2], columns[3])
