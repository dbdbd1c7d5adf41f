"""How long a pool lasts: burn and fill from counts by minute. Pure.

Document: docs/protocols/key-delivery.md section 1.
"""

from __future__ import annotations

from dataclasses import dataclass

WINDOW_S = 3600
_MOST_RETRY_S = 3600
_RETRY_WITHOUT_FILL_S = 10


@dataclass(frozen=True, slots=True)
class Forecast:
    """Stock of a pool and when it runs out. hours_left: -1 when it does not. window_s: what the rates were taken over."""

    line: str
    available: int
    burn_per_hour: float
    made_per_hour: float
    hours_left: float
    low_water: int
    window_s: int


def forecast(line: str, available: int, low_water: int, *, taken: int, made: int, window_s: int) -> Forecast:
    """Straight on from here. taken, made: keys of the last `window_s` seconds, at least 1 of them."""
    window_s = max(1, window_s)
    burn, fill = taken * 3600 / window_s, made * 3600 / window_s
    hours = available / (burn - fill) if burn > fill else -1.0
    return Forecast(line, available, burn, fill, hours, low_water, window_s)


def retry_after_s(missing: int, made_per_hour: float) -> int:
    """Seconds until `missing` keys will be there: 10 when none are being made, at most 3,600."""
    if made_per_hour <= 0:
        return _RETRY_WITHOUT_FILL_S
    return int(min(_MOST_RETRY_S, max(1, -(-missing * 3600 // made_per_hour))))
