"""The same line written down a second time, pulse by pulse and with the number of photons in the open.

Knows what no protocol can know: how many sifted bits really came from pulses with no or one photon, and how many of
those would be wrong in the other basis. Uses numpy's own generator, none of the code under test but `Link`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from workbench_kme.physics import Counts, Link


@dataclass(frozen=True)
class Truth:
    counts: Counts
    vacuum: int
    single: int
    phase_errors: int


def run(link: Link, pulses: int, seed: int, *, splitting: bool = False) -> Truth:
    """splitting: somebody takes one photon of every pulse with several and blocks most of the single ones."""
    rng = np.random.default_rng(seed)
    intensity = rng.choice(3, size=pulses, p=link.probabilities)
    sent_basis = (rng.random(pulses) >= link.key_basis_probability).astype(int)
    seen_basis = (rng.random(pulses) >= link.key_basis_probability).astype(int)
    sent_bit = rng.integers(0, 2, pulses)
    photons = rng.poisson(np.array(link.intensities)[intensity])
    if splitting:
        clicks = np.where(photons > 1, 1 - (1 - link.receiver_efficiency) ** np.maximum(photons - 1, 0), 0.0)
        clicks[photons == 1] = single_yield(link)
    else:
        clicks = 1 - (1 - link.transmittance) ** photons
    arrived = rng.random(pulses) < clicks
    dark = rng.random(pulses) < link.dark_probability
    same = sent_basis == seen_basis
    flip = rng.random(pulses) < link.misalignment
    coin = rng.integers(0, 2, pulses)
    # What the receiver's bit is in the sender's basis, and whether the same photon would err in the other basis.
    seen_bit = np.where(arrived & same, sent_bit ^ flip, coin)
    would_err = np.where(arrived, rng.random(pulses) < link.misalignment, rng.integers(0, 2, pulses) == 1)
    primary = arrived | dark
    echo = np.zeros(pulses, dtype=bool)
    echo[1:] = primary[:-1] & (rng.random(pulses - 1) < link.afterpulse)
    echo &= ~primary
    seen_bit[1:] = np.where(echo[1:], seen_bit[:-1], seen_bit[1:])
    would_err = np.where(echo, rng.integers(0, 2, pulses) == 1, would_err)
    seen = primary | echo
    wrong = seen & same & (sent_bit != seen_bit)

    def table(mask: np.ndarray, *, sender_only: bool = False) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        chosen = mask if sender_only else mask & same
        rows = [tuple(int((chosen & (sent_basis == b) & (intensity == k)).sum()) for k in range(3)) for b in (0, 1)]
        return rows[0], rows[1]  # type: ignore[return-value]

    key = seen & same & (sent_basis == 0)
    counts = Counts(table(np.ones(pulses, bool), sender_only=True), table(seen), table(wrong))
    one = key & (photons == 1)
    return Truth(counts, int((key & (photons == 0)).sum()), int(one.sum()), int((one & would_err).sum()))


def single_yield(link: Link) -> float:
    """How often a single photon must still click so that the signal's clicks stay what they were, by summing 60 terms."""
    mu = link.intensities[0]
    weights = [math.exp(-mu) * mu**n / math.factorial(n) for n in range(60)]
    multi = sum(w * (1 - (1 - link.receiver_efficiency) ** (n - 1)) for n, w in enumerate(weights) if n > 1)
    return float((1 - math.exp(-mu * link.transmittance) - multi) / weights[1])
