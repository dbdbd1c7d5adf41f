"""The least a day could have cost: exact, by dynamic programming over what waits, for somebody who knew all of it beforehand.

Document: docs/sandbox-design.md section 6, package 2. Pure. What `scaling.simulate` costs is held against this, under the same
start-up delay and the same limit of lateness. Starting a card is not charged (docs/protocols/sandbox.md section 9), so who knows
the day may have any number of cards in any slot but the first `start_delay`; what waits is all that ties two slots together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workbench_inference.leasing.scaling import Run

_NEVER: Final = 1 << 50
_ROUNDS: Final = 6
"""How often `bound` halves the stretch in which it looks for the best price of a late ask."""


def optimum(demand: Sequence[int], *, per_server: int, least: int, most: int, start_delay: int, lateness: int) -> Run:
    """The cheapest day on which no ask is late: answered within `lateness` slots after its own; exact.

    demand: asks of each slot. per_server: asks that one card answers in a slot. start_delay, lateness: slots. ValueError where
    no such day exists. Cost: slots · (most − least + 1) · asks that may wait at most.
    """
    run, _ = _best(demand, per_server=per_server, least=least, most=most, start_delay=start_delay, lateness=lateness, price=None)
    return run


def bound(
    demand: Sequence[int], *, per_server: int, least: int, most: int, start_delay: int, lateness: int, late_permille: int
) -> float:
    """A cost below which nobody can be with at most late_permille ‰ of the asks late: what those may save is taken off too.

    For every price p of a late ask, the cheapest of cost + p · late, less p for each that may be late, is such a number; the
    best one found is returned. Never above the true optimum, so a ratio to it is never flattering.
    """
    may = sum(demand) * late_permille // 1000

    def below(exponent: float) -> float:
        price = 2.0**exponent
        _, value = _best(demand, per_server=per_server, least=least, most=most, start_delay=start_delay, lateness=lateness, price=price)
        return float(value - price * may)

    low, high, top = -6.0, 3.0, 0.0  # concave in the price: the better half is kept
    for _ in range(_ROUNDS):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        at_left, at_right = below(left), below(right)
        top = max(top, at_left, at_right)
        low, high = (low, right) if at_left > at_right else (left, high)
    return top


def _best(
    demand: Sequence[int], *, per_server: int, least: int, most: int, start_delay: int, lateness: int, price: float | None
) -> tuple[Run, float]:
    """The cheapest day and its value; price: of a late ask, None where none may be."""
    asked = [int(one) for one in demand]
    before = [0]
    for one in asked:
        before.append(before[-1] + one)
    slots = len(asked)
    span = lateness + 1  # an ask of slot t is in time up to slot t + lateness: after slot s only those of the last `lateness` may wait
    room = 2 + (before[-1] if price is not None else max((before[min(slots, t + lateness)] - before[t] for t in range(slots)), default=0))
    if price is not None:  # whatever would wait beyond a few spans is let off, which can only make the day cheaper
        room = min(room, 2 + max((before[min(slots, t + 4 * span)] - before[t] for t in range(slots)), default=0))
    value: NDArray[np.float64] = np.full(room, np.inf)
    value[0] = 0.0
    chosen = np.zeros((slots, room), np.int16)
    came = np.zeros((slots, room), np.int32)
    for slot, arrived in enumerate(asked):
        following: NDArray[np.float64] = np.full(room, np.inf)
        for cards in [least] if slot < start_delay else range(least, most + 1):
            surplus = arrived - cards * per_server
            _move(value, following, chosen[slot], came[slot], surplus=surplus, cards=cards)
        in_time = before[slot + 1] - before[max(0, slot + 1 - lateness)]
        if price is None:
            following[in_time + 1 :] = np.inf
        else:
            oldest = asked[slot - lateness] if slot >= lateness else 0
            over = np.clip(np.arange(room) - in_time, 0, oldest)
            following += price * over
        value = following
    end = int(np.argmin(value))
    if not np.isfinite(value[end]):
        raise ValueError("no number of cards answers every ask in time")
    return _walked(asked, before, chosen, came, end, lateness), float(value[end])


def _move(
    value: NDArray[np.float64], following: NDArray[np.float64], chosen: NDArray[np.int16], came: NDArray[np.int32], *, surplus: int, cards: int
) -> None:
    """What waits goes up by `surplus`, never below nothing; keep the cheaper way to each new number."""
    room = len(value)
    if surplus > 0:
        over = value[max(0, room - surplus) :]
        at = max(0, room - surplus) + int(np.argmin(over))
        if value[at] + cards < following[room - 1]:
            following[room - 1], chosen[room - 1], came[room - 1] = value[at] + cards, cards, at
    if surplus < 0:
        drained = value[: min(room, -surplus + 1)]
        at = int(np.argmin(drained))
        if drained[at] + cards < following[0]:
            following[0], chosen[0], came[0] = drained[at] + cards, cards, at
    low = surplus if surplus >= 0 else 1
    high = min(room, room + surplus)
    if high <= low:
        return
    offered = value[low - surplus : high - surplus] + cards
    better = offered < following[low:high]
    following[low:high][better] = offered[better]
    chosen[low:high][better] = cards
    came[low:high][better] = np.arange(low - surplus, high - surplus, dtype=np.int32)[better]


def _walked(
    asked: Sequence[int], before: Sequence[int], chosen: NDArray[np.int16], came: NDArray[np.int32], end: int, lateness: int
) -> Run:
    cards: list[int] = []
    late, waiting = 0, end
    for slot in range(len(asked) - 1, -1, -1):
        in_time = before[slot + 1] - before[max(0, slot + 1 - lateness)]
        oldest = asked[slot - lateness] if slot >= lateness else 0
        late += min(max(0, waiting - in_time), oldest)
        cards.append(int(chosen[slot, waiting]))
        waiting = int(came[slot, waiting])
    cards.reverse()
    return Run(tuple(cards), sum(cards), sum(asked), late)


__all__ = ["bound", "optimum"]
