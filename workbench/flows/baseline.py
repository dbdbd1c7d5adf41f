"""Whether a released job differs from what is usual with this partner for this purpose (requirement E5). Pure.

Only own-side counts go in: the waterfall of this institution's customers. What comes out are shares and medians, kept with
the job at this node and never sent. Document: docs/protocols/intersection.md section 9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

FEWEST_EARLIER: Final = 3
"""With fewer released jobs before it, nothing is usual yet."""
MATCH: Final = "MATCHED"
"""The name of the match share beside the reason codes: customers known to both, as a part of those who took part."""

Waterfall = Sequence[Mapping[str, Any]]


def compare_with_baseline(now: Waterfall, earlier: Sequence[Waterfall], *, threshold: float, floor: int) -> dict[str, Any]:
    """The result's member "baseline": earlier (jobs compared with), threshold, deviations.

    now, earlier: waterfalls of released jobs of one partner and purpose. threshold: 0 to 1, the difference between a share
    and the median of the earlier ones beyond which it deviates. A deviation is {code, share, median, is_below}: the share
    of a reason is a part of the audience, MATCH a part of those who took part; both rounded to a thousandth.
    floor: a count below it is compared as none, in the earlier jobs too, so that no share tells a handful of customers;
    where it is not none, `is_below` is set and share is the most it can be. Cost: one pass over the rows.
    """
    usable = [shares for one in earlier if (shares := _shares(one, floor))]
    own = _shares(now, floor)
    deviations: list[dict[str, Any]] = []
    if len(usable) >= FEWEST_EARLIER:
        for code in sorted(set(own).union(*usable)):
            share, most = own.get(code, (0.0, 0.0))
            usual = median(one.get(code, (0.0, 0.0))[0] for one in usable)
            if abs(share - usual) > threshold:
                deviations.append(
                    {"code": code, "share": round(most, 3), "median": round(usual, 3), "is_below": most > share}
                )
    return {"earlier": len(usable), "threshold": threshold, "deviations": deviations}


def _shares(rows: Waterfall, floor: int) -> dict[str, tuple[float, float]]:
    """By code the share to compare with, and the share to show; {} for a waterfall without matching."""
    kept = {str(row["code"]): int(row["kept"]) for row in rows}
    chosen, taking_part = kept.get("audience", 0), kept.get("consent", 0)
    if "matched" not in kept or not chosen or not taking_part:
        return {}
    reasons: dict[str, int] = {}
    for row in rows:
        for code, count in row["reasons"].items():
            reasons[code] = reasons.get(code, 0) + int(count)
    shares = {code: _share(count, chosen, floor) for code, count in reasons.items()}
    return shares | {MATCH: _share(kept["matched"], taking_part, floor)}


def _share(count: int, whole: int, floor: int) -> tuple[float, float]:
    if 0 < count < floor:
        return 0.0, min(1.0, floor / whole)
    return count / whole, count / whole
