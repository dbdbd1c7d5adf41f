"""Points from the literature that the model is held against, each with its source. Document: docs/protocols/qkd.md 4.

The provenance of a value says how far it can be trusted: `paper` was read in the paper itself, `third-party` in somebody
else's account or model of it, `digitised` off a printed curve by a third party, `own` is our model, frozen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Provenance = Literal["paper", "third-party", "digitised", "own"]
Quantity = Literal["rate", "reach-km", "signal-intensity", "ratio", "qber", "bit-per-second"]

MA_2005: Final = "X. Ma, B. Qi, Y. Zhao, H.-K. Lo, PRA 72, 012326 (2005), with the parameters of Gobby, Yuan, Shields (2004)"
LIM_2014: Final = "C. C. W. Lim, M. Curty, N. Walenta, F. Xu, H. Zbinden, PRA 89, 022307 (2014)"


@dataclass(frozen=True, slots=True)
class PublishedPoint:
    """One value. series: which curve it belongs to; block_bits: n_X where the value is for finite keys, else None."""

    series: str
    quantity: Quantity
    value: float
    provenance: Provenance
    source: str
    length_km: float | None = None
    block_bits: float | None = None


def published_points() -> tuple[PublishedPoint, ...]:
    """Everything that is compared; pages plot those with a length and a rate in bits per pulse."""
    return _POINTS


def _gys(quantity: Quantity, value: float, provenance: Provenance, length: float | None = None) -> PublishedPoint:
    return PublishedPoint("gys-infinite-decoy", quantity, value, provenance, MA_2005, length)


def _lim(bits: float, length: float, value: float) -> PublishedPoint:
    return PublishedPoint("lim-finite-key", "rate", value, "digitised", f"{LIM_2014}, figure 1, as digitised by a third party", length, bits)


_POINTS: Final = (
    _gys("reach-km", 142.05, "third-party"),
    PublishedPoint("gys-vacuum-weak", "reach-km", 140.55, "third-party", MA_2005),
    _gys("signal-intensity", 0.48, "third-party"),
    _gys("rate", 2.55e-3, "third-party", 0.0),
    _gys("rate", 1.72e-5, "third-party", 100.0),
    *(
        _gys("rate", value, "own", length)
        for length, value in (
            (20.0, 9.62e-4),
            (40.0, 3.63e-4),
            (60.0, 1.361e-4),
            (80.0, 4.99e-5),
            (120.0, 4.81e-6),
            (140.0, 2.46e-7),
        )
    ),
    PublishedPoint("lim-finite-key", "ratio", 1.75, "paper", f"{LIM_2014}, section IV: 10^9 against 10^7", 100.0),
    PublishedPoint("lim-finite-key", "reach-km", 135.0, "paper", f"{LIM_2014}, section IV", None, 1e4),
    *(
        _lim(bits, length, value)
        for bits, row in (
            (1e4, (4.47e-4, 1.71e-4, 4.13e-5, 3.15e-6)),
            (1e5, (1.58e-3, 6.11e-4, 1.50e-4, 1.29e-5, 9.13e-7)),
            (1e6, (3.32e-3, 1.29e-3, 3.17e-4, 2.87e-5, 2.79e-6)),
            (1e7, (5.19e-3, 2.02e-3, 4.99e-4, 4.64e-5, 5.30e-6)),
            (1e8, (7.21e-3, 2.81e-3, 6.94e-4, 6.55e-5, 7.88e-6)),
            (1e9, (8.85e-3, 3.45e-3, 8.54e-4, 8.17e-5, 1.03e-5)),
        )
        for length, value in zip((0.0, 20.0, 50.0, 100.0, 140.0), row, strict=False)
    ),
    *(
        PublishedPoint("experiment", "bit-per-second", value, "paper", source, length)
        for length, value, source in (
            (15.0, 165.0, "Y. Zhao, B. Qi, X. Ma, H.-K. Lo, L. Qian, quant-ph/0503192 (2006), abstract"),
            (10.0, 13.72e6, "Toshiba (2018), abstract: a channel of 2 dB, as 10 km of 0.2 dB"),
            (10.0, 115.8e6, "arXiv:2307.02364 (2023), abstract"),
        )
    ),
    PublishedPoint("one-way-limit", "qber", 0.110028, "paper", "P. W. Shor, J. Preskill, PRL 85, 441 (2000): 11.0 %"),
    PublishedPoint("intercept-resend", "qber", 0.25, "paper", "C. H. Bennett et al., J. Cryptology 5, 3 (1992): 1/4 of the bits"),
)
