"""A line as a model: source, fibre, receiver; what each intensity makes the receiver see, with or without an eavesdropper.

Document: docs/protocols/qkd.md sections 1 and 2; every convention (dark counts, after-pulses, misalignment) stands there.
Pure: plain arithmetic on a few floating-point numbers, no array, no randomness.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal, get_args

KEY_BASIS: Final = 0
"""X of the papers: pulses that both ends chose in it make the key."""
TEST_BASIS: Final = 1
"""Z of the papers: pulses that both ends chose in it are disclosed; their errors bound what an eavesdropper knows."""
SIGNAL: Final = 0
DECOY: Final = 1
VACUUM: Final = 2

Intensities = tuple[float, float, float]
"""One number for each of signal (mu), decoy (nu) and vacuum, in this order."""

AttackKind = Literal["intercept-resend", "photon-number-splitting", "detector-blinding"]
ATTACK_KINDS: Final[tuple[AttackKind, ...]] = get_args(AttackKind)
SEEN_BY_QBER: Final[Mapping[AttackKind, bool]] = MappingProxyType(
    {"intercept-resend": True, "photon-number-splitting": False, "detector-blinding": False}
)
SEEN_BY_DECOYS: Final[Mapping[AttackKind, bool]] = MappingProxyType(
    {"intercept-resend": False, "photon-number-splitting": True, "detector-blinding": False}
)
"""Whether the gains of signal, decoy and vacuum pulses change. Blinding changes nothing that the two ends measure.
On a short fibre splitting changes little, and takes little: she has only what the fibre would have lost."""


@dataclass(frozen=True, slots=True)
class Link:
    """One line: everything that the physics of a block depends on. No secret is in it.

    length_km, loss_db_km: fibre; transmittance 10^(-loss·length/10).
    receiver_efficiency: optics and detectors of the receiver together, 0 < value <= 1.
    dark_probability: Y0, that a pulse slot without any photon clicks, *both detectors together*, without after-pulses.
    misalignment: e_d, that a photon ends in the wrong detector although both bases agree, 0 <= value < 1/2.
    afterpulse: that a click makes one more click in the next slot, whatever was sent there, 0 <= value < 1.
    clock_hz: pulses a second; only turns bits per pulse into bits per second.
    intensities: mean photon numbers (mu, nu, vacuum), mu > nu + vacuum, nu > vacuum >= 0.
    probabilities: how often the sender chooses each, sum 1.
    key_basis_probability: how often either end chooses the key basis (X), 0 < value < 1.
    dead_time_s: 0; a receiver that goes blind after a click is not modelled and any other value is refused.
    """

    name: str
    length_km: float
    loss_db_km: float
    receiver_efficiency: float
    dark_probability: float
    misalignment: float
    afterpulse: float
    clock_hz: float
    intensities: Intensities
    probabilities: Intensities
    key_basis_probability: float
    source: str = ""
    dead_time_s: float = 0.0

    def __post_init__(self) -> None:
        mu, nu, vacuum = self.intensities
        if not (0 <= vacuum < nu and nu + vacuum < mu <= 10):
            raise ValueError("intensities must satisfy mu > nu + vacuum and nu > vacuum >= 0")
        if min(self.probabilities) <= 0 or abs(math.fsum(self.probabilities) - 1) > 1e-9:
            raise ValueError("probabilities of the intensities must be positive and sum to 1")
        if not (0 <= self.length_km < math.inf and 0 <= self.loss_db_km < math.inf and 0 < self.receiver_efficiency <= 1):
            raise ValueError("length, loss or receiver efficiency out of range")
        if not (0 <= self.dark_probability < 1 and 0 <= self.afterpulse < 1 and 0 <= self.misalignment < 0.5):
            raise ValueError("dark counts, after-pulses or misalignment out of range")
        if not (0 < self.key_basis_probability < 1 and 0 < self.clock_hz < math.inf and self.dead_time_s == 0):
            raise ValueError("basis probability, clock or dead time out of range")

    @property
    def transmittance(self) -> float:
        """eta_sys: one photon leaves the sender and clicks at the receiver (fibre times receiver)."""
        return self.receiver_efficiency * 10 ** (-self.loss_db_km * self.length_km / 10)

    def at(self, length_km: float) -> Link:
        """The same devices at the ends of another length of the same fibre."""
        return replace(self, length_km=float(length_km))


@dataclass(frozen=True, slots=True)
class Eavesdropper:
    """Somebody on the line who attacks a share of the pulses.

    intercept-resend: measures in a basis of her own choice and sends on what she saw. SEEN by QBER: 1/4 on all pulses.
    photon-number-splitting: keeps one photon of multi-photon pulses, holds back single photons so that the number of
        signal clicks stays. NOT seen by QBER. Seen by the decoy statistics: the gain of the weak pulses falls.
    detector-blinding: turns the receiver's detectors into her remote control. NOT seen by QBER, NOT seen by decoys;
        no quantity of the protocol changes. Only measures on the device itself see it.
    """

    fraction: float
    kind: AttackKind = "intercept-resend"

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise ValueError("the attacked share of pulses lies between 0 and 1")
        if self.kind not in ATTACK_KINDS:
            raise ValueError("unknown kind of eavesdropper")


@dataclass(frozen=True, slots=True)
class Response:
    """What one pulse of one intensity does at the receiver, per slot, before sifting.

    photon: a photon of the pulse clicks. primary: that or a dark count clicks. gain: primary or an after-pulse clicks.
    errors, primary_errors: clicks AND the bit is wrong though both bases agree (the E·Q of the papers), with and without
    after-pulses.
    """

    photon: float
    primary: float
    primary_errors: float
    gain: float
    errors: float

    @property
    def qber(self) -> float:
        return self.errors / self.gain if self.gain else 0.5


def responses(link: Link, eavesdropper: Eavesdropper | None = None) -> tuple[Response, Response, Response]:
    """Expected behaviour of signal, decoy and vacuum pulses. Source: docs/protocols/qkd.md section 2."""
    photon = photon_clicks(link, eavesdropper)
    dark = link.dark_probability
    primary = [click + (1 - click) * dark for click in photon]
    spill = link.afterpulse * math.fsum(p * d for p, d in zip(link.probabilities, primary, strict=True))
    wrong = photon_error(link, eavesdropper)
    made = [
        Response(
            photon=click,
            primary=first,
            primary_errors=wrong * click + (1 - click) * dark / 2,
            gain=first + (1 - first) * spill,
            errors=wrong * click + ((1 - click) * dark + (1 - first) * spill) / 2,
        )
        for click, first in zip(photon, primary, strict=True)
    ]
    return made[0], made[1], made[2]


def photon_clicks(link: Link, eavesdropper: Eavesdropper | None = None) -> Intensities:
    """Probability that a photon of a pulse of each intensity clicks; 1 - exp(-eta·intensity) on a quiet line."""
    eta = link.transmittance
    quiet = tuple(-math.expm1(-eta * k) for k in link.intensities)
    if eavesdropper is None or eavesdropper.kind != "photon-number-splitting":
        return quiet[0], quiet[1], quiet[2]
    plan = _splitting(link)
    split = [
        plan.split * _split_clicks(link, k) + plan.whole * _whole_clicks(link, k) + plan.single * k * math.exp(-k)
        for k in link.intensities
    ]
    share = eavesdropper.fraction
    mixed = [(1 - share) * calm + share * taken for calm, taken in zip(quiet, split, strict=True)]
    return mixed[0], mixed[1], mixed[2]


def photon_error(link: Link, eavesdropper: Eavesdropper | None = None) -> float:
    """Wrong bit given a photon's click in agreeing bases.

    Intercept-resend: in half of the attacked pulses her basis was the wrong one and the bit is a coin (1/4 on all).
    """
    if eavesdropper is None or eavesdropper.kind != "intercept-resend":
        return link.misalignment
    return (1 - eavesdropper.fraction / 2) * link.misalignment + eavesdropper.fraction / 4


def known_share(link: Link, eavesdropper: Eavesdropper | None) -> float:
    """Share of the sifted key bits whose value the eavesdropper knows before any disclosure. Nobody on the line sees it.

    Counts what the attack itself gives her: intercept-resend half of the attacked clicks (right basis; the wrong-basis
    half tells her nothing), splitting every attacked multi-photon click, blinding every attacked click.
    """
    if eavesdropper is None:
        return 0.0
    seen = responses(link, eavesdropper)
    clicks = math.fsum(p * r.gain for p, r in zip(link.probabilities, seen, strict=True))
    if eavesdropper.kind == "detector-blinding":
        return eavesdropper.fraction
    if eavesdropper.kind == "intercept-resend":
        taken = math.fsum(p * r.photon for p, r in zip(link.probabilities, seen, strict=True)) / 2
    else:
        taken = _splitting(link).split * math.fsum(
            p * _split_clicks(link, k) for p, k in zip(link.probabilities, link.intensities, strict=True)
        )
    return eavesdropper.fraction * taken / clicks if clicks else 0.0


@dataclass(frozen=True, slots=True)
class _Plan:
    """The splitting attack: shares of multi-photon pulses sent on less one photon and whole, yield of single photons."""

    split: float
    whole: float
    single: float


def _splitting(link: Link) -> _Plan:
    """What she forwards so that the signal's clicks stay what they were; everything goes to the receiver without loss.

    She holds back single photons first, and multi-photon pulses only where those alone would click too often. Where the
    fibre loses so little that she has no photon to spare (short lines), she splits fewer pulses; at no length none.
    """
    mu, efficiency = link.intensities[SIGNAL], link.receiver_efficiency
    wanted = -math.expm1(-link.transmittance * mu)
    split, whole, lone = _split_clicks(link, mu), _whole_clicks(link, mu), mu * math.exp(-mu)
    if split >= wanted:
        return _Plan(wanted / split if split else 0.0, 0.0, 0.0)
    if wanted - split <= efficiency * lone:
        return _Plan(1.0, 0.0, (wanted - split) / lone)
    share = min(1.0, max(0.0, (whole + efficiency * lone - wanted) / (whole - split)))
    return _Plan(share, 1 - share, efficiency)


def _split_clicks(link: Link, intensity: float) -> float:
    """Sum over n >= 2 of Poisson(n) · (1 - (1 - efficiency)^(n - 1)): one photon kept, the others without loss."""
    return _multi_photon_clicks(link.receiver_efficiency, intensity, kept=1)


def _whole_clicks(link: Link, intensity: float) -> float:
    """The same with every photon forwarded."""
    return _multi_photon_clicks(link.receiver_efficiency, intensity, kept=0)


def _multi_photon_clicks(efficiency: float, intensity: float, *, kept: int) -> float:
    total, weight, dark = 0.0, math.exp(-intensity) * intensity, (1 - efficiency) ** (1 - kept)
    for n in range(2, 80):  # intensities are at most 10: the 80th term is below 1e-40
        weight *= intensity / n
        dark *= 1 - efficiency
        total += weight * (1 - dark)
    return total
