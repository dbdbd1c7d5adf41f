"""The maximum of a function of a few variables, without derivatives: Nelder and Mead's simplex from several starts.

Deterministic. Source: J. A. Nelder, R. Mead, Computer Journal 7, 308 (1965), with their coefficients 1, 2, 1/2, 1/2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

Point = tuple[float, ...]


def maximise(
    worth: Callable[[Point], float], starts: Iterable[Point], *, step: float = 0.25, tolerance: float = 1e-9, most: int = 600
) -> tuple[Point, float]:
    """The best point found from any start and what it is worth.

    step: size of the first simplex. tolerance: end once the simplex agrees so well. most: evaluations a start may take.
    Every start is polished once more from where it ended: a simplex can collapse before it has arrived.
    """
    best: tuple[Point, float] | None = None
    for start in starts:
        found = _climb(worth, start, step, tolerance, most)
        found = _climb(worth, found[0], step / 2, tolerance, most)
        if best is None or found[1] > best[1]:
            best = found
    if best is None:
        raise ValueError("no start was given")
    return best


def _climb(worth: Callable[[Point], float], start: Point, step: float, tolerance: float, most: int) -> tuple[Point, float]:
    size = len(start)
    points = [start, *(tuple(x + step * (i == j) for j, x in enumerate(start)) for i in range(size))]
    corners = sorted(((worth(p), p) for p in points), key=_value, reverse=True)
    spent = size + 1
    while spent < most and corners[0][0] - corners[-1][0] > tolerance * (abs(corners[0][0]) + tolerance):
        centre = [sum(p[j] for _, p in corners[:-1]) / size for j in range(size)]
        worst = corners[-1]
        moved = _try(worth, centre, worst[1], 1.0)
        spent += 1
        if moved[0] > corners[0][0]:
            further = _try(worth, centre, worst[1], 2.0)
            spent += 1
            moved = max(moved, further, key=_value)
        elif moved[0] <= corners[-2][0]:
            inner = _try(worth, centre, worst[1], 0.5 if moved[0] > worst[0] else -0.5)
            spent += 1
            if inner[0] <= max(moved[0], worst[0]):
                top = corners[0][1]
                shrunk = [tuple((x + t) / 2 for x, t in zip(p, top, strict=True)) for _, p in corners[1:]]
                corners = [corners[0], *((worth(p), p) for p in shrunk)]
                corners.sort(key=_value, reverse=True)
                spent += size
                continue
            moved = inner
        corners[-1] = moved
        corners.sort(key=_value, reverse=True)
    return corners[0][1], corners[0][0]


def _try(worth: Callable[[Point], float], centre: Sequence[float], worst: Point, factor: float) -> tuple[float, Point]:
    point = tuple(c + factor * (c - w) for c, w in zip(centre, worst, strict=True))
    return worth(point), point


def _value(corner: tuple[float, Point]) -> float:
    return corner[0]
