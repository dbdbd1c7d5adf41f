"""Key rates from formulas: asymptotic decoy rates, finite keys with optimised settings, and the bound nobody passes.

Document: docs/protocols/qkd.md section 4. Rates are secret bits per pulse sent; times a link's clock: bits a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal

from workbench_kme.physics.estimate import KeyEstimate, SecurityParameters, entropy, estimate_key
from workbench_kme.physics.link import DECOY, SIGNAL, VACUUM, Eavesdropper, Link, photon_error, responses
from workbench_kme.physics.search import Point, maximise

Method = Literal["infinite", "vacuum-weak"]
Model = Literal["events", "paper"]
"""How gains and errors follow from a link: as blocks are simulated, or as Lim et al. print them (section 2)."""

EFFICIENCY: Final = 1.16
"""f: what error correction discloses, relative to Shannon's limit, in formulas. Blocks use what was really disclosed."""
SIFTING_BB84: Final = 0.5
"""q of standard BB84: half of the clicks survive sifting, all for the key, as the asymptotic papers count."""


@dataclass(frozen=True, slots=True)
class SinglePhotons:
    """Y1 and e1: yield and error rate of single-photon pulses, exactly known or bounded by decoys."""

    clicks: float
    error: float


def plob_bound(link: Link) -> float:
    """The most secret bits per pulse that any protocol without a repeater can make over the fibre: -log2(1 - eta).

    Source: Pirandola, Laurenza, Ottaviani, Banchi, Nat. Commun. 8, 15043 (2017). eta is the fibre alone: a better
    receiver is not excluded by physics, so the receiver's efficiency stays out of the bound.
    """
    eta = 10 ** (-link.loss_db_km * link.length_km / 10)
    return math.inf if eta >= 1 else -math.log1p(-eta) / math.log(2)


def single_photons(link: Link, method: Method, eavesdropper: Eavesdropper | None = None) -> SinglePhotons:
    """Y1 and e1 as endlessly many decoy intensities would show them, or bounded from signal, decoy and vacuum pulses.

    Of the eavesdroppers `infinite` knows those that treat all photon numbers alike; for splitting take `vacuum-weak`.
    Source: Ma, Qi, Zhao, Lo, PRA 72, 012326 (2005), equations (18), (21) for two decoys; with vacuum = 0 its (34), (37).
    """
    mu, nu, vacuum = link.intensities
    seen = responses(link, eavesdropper)
    if method == "infinite":
        if eavesdropper is not None and eavesdropper.kind == "photon-number-splitting":
            raise ValueError("single photons under the splitting attack are bounded by decoys only: vacuum-weak")
        eta, dark = link.transmittance, link.dark_probability
        spill = link.afterpulse * math.fsum(p * r.primary for p, r in zip(link.probabilities, seen, strict=True))
        silent = (1 - eta) * (1 - dark)
        clicks = 1 - silent * (1 - spill)
        return SinglePhotons(clicks, (photon_error(link, eavesdropper) * eta + (clicks - eta) / 2) / clicks if clicks else 0.5)
    gain = [r.gain * math.exp(k) for r, k in zip(seen, link.intensities, strict=True)]
    wrong = [r.errors * math.exp(k) for r, k in zip(seen, link.intensities, strict=True)]
    none = max(0.0, (nu * gain[VACUUM] - vacuum * gain[DECOY]) / (nu - vacuum))
    many = (nu * nu - vacuum * vacuum) / (mu * mu) * (gain[SIGNAL] - none)
    clicks = mu * (gain[DECOY] - gain[VACUUM] - many) / (mu * (nu - vacuum) - nu * nu + vacuum * vacuum)
    if clicks <= 0:
        return SinglePhotons(0.0, 0.5)
    return SinglePhotons(clicks, min(0.5, max(0.0, (wrong[DECOY] - wrong[VACUUM]) / ((nu - vacuum) * clicks))))


def asymptotic_rate(
    link: Link,
    method: Method = "vacuum-weak",
    *,
    efficiency: float = EFFICIENCY,
    sifting: float | None = None,
    eavesdropper: Eavesdropper | None = None,
) -> float:
    """Secret bits per signal pulse of an endless block, at least 0; key from signal pulses only.

    sifting: q of the papers. By default the share of pulses in which both ends choose the key basis; pass SIFTING_BB84 to
    compare with papers whose both bases make key. Source: Gottesman, Lo, Luetkenhaus, Preskill (2004); Ma et al. (2005).
    """
    q = link.key_basis_probability**2 if sifting is None else sifting
    mu = link.intensities[SIGNAL]
    signal = responses(link, eavesdropper)[SIGNAL]
    one = single_photons(link, method, eavesdropper)
    secret = one.clicks * mu * math.exp(-mu) * (1 - entropy(one.error))
    return max(0.0, q * (secret - signal.gain * efficiency * entropy(signal.qber)))


def optimal_signal(link: Link, method: Method = "infinite", *, efficiency: float = EFFICIENCY) -> float:
    """The signal intensity mu with the highest asymptotic rate; the other intensities stay."""
    _, nu, vacuum = link.intensities

    def worth(point: Point) -> float:
        mu = nu + vacuum + math.exp(point[0])
        if mu > 10:
            return 0.0
        return asymptotic_rate(replace(link, intensities=(mu, nu, vacuum)), method, efficiency=efficiency, sifting=1.0)

    (best,), _ = maximise(worth, [(math.log(0.4),)], tolerance=1e-12)
    return nu + vacuum + math.exp(best)


def reach_km(link: Link, method: Method = "vacuum-weak", *, efficiency: float = EFFICIENCY) -> float:
    """Length at which the asymptotic rate becomes 0, to a metre."""
    low, high = 0.0, 1000.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        alive = asymptotic_rate(link.at(middle), method, efficiency=efficiency) > 0
        low, high = (middle, high) if alive else (low, middle)
    return low


def gains(link: Link, model: Model = "events", eavesdropper: Eavesdropper | None = None) -> list[tuple[float, float]]:
    """(gain, errors) per pulse of each intensity.

    events: as `responses` and the simulation have it: an after-pulse falls into the next slot, whatever was sent there.
    paper: Lim et al. section IV: the click and its after-pulse belong to the same intensity, R = D (1 + p_ap), and e_mis
        weighs what the *receiver* sees, 1 - exp(-eta_sys k): see the document on the printed eta_ch.
    """
    if model == "events":
        return [(r.gain, r.errors) for r in responses(link, eavesdropper)]
    quiet = replace(link, afterpulse=0.0)
    extra = link.afterpulse
    return [(r.gain * (1 + extra), r.errors + extra * r.gain / 2) for r in responses(quiet, eavesdropper)]


@dataclass(frozen=True, slots=True)
class FiniteKey:
    """What a block of a given size is expected to be worth on a link."""

    link: Link
    block_bits: float
    pulses: float
    rate: float
    estimate: KeyEstimate


def finite_key(
    link: Link,
    block_bits: float,
    *,
    epsilon_secret: float = 1e-10,
    per_bit: bool = False,
    epsilon_correct: float = 1e-15,
    efficiency: float = EFFICIENCY,
    model: Model = "events",
    eavesdropper: Eavesdropper | None = None,
) -> FiniteKey:
    """Expected key of a block of `block_bits` sifted bits (n_X), from expected counts, with the link's own settings.

    per_bit: `epsilon_secret` is kappa of Lim et al.: the secrecy allowed per bit of the final key, eps_sec = kappa · length.
    """
    rows = list(zip(link.probabilities, gains(link, model, eavesdropper), strict=True))
    click = math.fsum(p * gain for p, (gain, _) in rows)
    q = link.key_basis_probability
    pulses = block_bits / (q * q * click)
    key = [pulses * q * q * p * gain for p, (gain, _) in rows]
    test = [pulses * (1 - q) ** 2 * p * gain for p, (gain, _) in rows]
    wrong = [pulses * (1 - q) ** 2 * p * errors for p, (_, errors) in rows]
    qber = math.fsum(p * errors for p, (_, errors) in rows) / click
    leak = block_bits * efficiency * entropy(qber)

    def estimate(epsilon: float) -> KeyEstimate:
        parameters = SecurityParameters(link.intensities, link.probabilities, epsilon, epsilon_correct)
        return estimate_key(key, test, wrong, parameters, leak)

    made = estimate(epsilon_secret) if not per_bit else _settle(estimate, epsilon_secret, block_bits)
    return FiniteKey(link, block_bits, pulses, max(0.0, made.balance / pulses), made)


def best_finite_key(
    link: Link,
    block_bits: float,
    *,
    epsilon_secret: float = 1e-10,
    per_bit: bool = False,
    epsilon_correct: float = 1e-15,
    efficiency: float = EFFICIENCY,
    model: Model = "events",
) -> FiniteKey:
    """The same with mu, nu, their probabilities and the basis probability chosen for the highest rate; vacuum stays.

    The search begins with a block of 10^10 bits, where almost every setting leaves a key, and follows the optimum down in
    half decades: for small blocks a start at random finds no key to climb from. Deterministic. Cost: about 0.2 s.
    """
    vacuum = link.intensities[VACUUM]

    def decode(point: Point) -> Link:
        nu = vacuum + 1e-3 + 0.9 * _sigmoid(point[1])
        mu = nu + vacuum + 1e-3 + 1.2 * _sigmoid(point[0])
        return replace(
            link,
            intensities=(mu, nu, vacuum),
            probabilities=_simplex(point[2], point[3]),
            key_basis_probability=_sigmoid(point[4]),
        )

    def run(point: Point, bits: float) -> FiniteKey:
        return finite_key(
            decode(point),
            bits,
            epsilon_secret=epsilon_secret,
            per_bit=per_bit,
            epsilon_correct=epsilon_correct,
            efficiency=efficiency,
            model=model,
        )

    def worth(point: Point, bits: float) -> float:
        if max(abs(x) for x in point) > _EDGE:
            return -1e9
        made = run(point, bits)
        # Without key there is still a slope to climb: how far the balance is from zero, per bit of the block.
        return math.log(made.rate) if made.rate > 0 else -100 + made.estimate.balance / bits

    point, bits = _START, max(block_bits, 1e10)
    while bits > block_bits:
        point, _ = maximise(partial(worth, bits=bits), [point], step=0.3, tolerance=1e-5, most=120)
        bits = max(bits / math.sqrt(10), block_bits)
    starts = [point, _SMALL] if block_bits < 1e6 else [point]
    point, _ = maximise(partial(worth, bits=bits), starts, step=0.3, tolerance=1e-8, most=300)
    return run(point, block_bits)


_START: Final[Point] = (-0.7, -1.6, 0.5, 0.5, 2.5)
_SMALL: Final[Point] = (-0.3, -2.3, -3.2, 0.3, 0.25)
"""Where small blocks end up on most lines: another chance where the way down from large ones has lost the key."""
_EDGE: Final = 9.0
"""Probabilities and intensities nearer than e^-9 to the ends of their ranges are not tried."""


def _settle(estimate: Callable[[float], KeyEstimate], kappa: float, block_bits: float) -> KeyEstimate:
    """The largest length l that a secrecy of kappa · l allows: from above, since a laxer secrecy never shortens the key."""
    length = block_bits
    for _ in range(40):
        made = estimate(min(0.5, kappa * length))
        if made.balance < 1:
            return estimate(kappa)
        if length - made.balance < 1e-6 * length:
            return made
        length = made.balance
    return made


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _simplex(a: float, b: float) -> tuple[float, float, float]:
    x, y = math.exp(a), math.exp(b)
    total = x + y + 1
    return x / total, y / total, 1 / total
