"""Many who ask at once over one, two and four cards: answered, told to wait, how long, and what a card gets through in a minute.

Real servers and sandboxes, both nodes and the callers in one process of this machine. The engine answers by words and then holds its card
for PAUSE_S without a processor's time: it stands for a model on a card of its own. Beside it the engine alone, whose cards share the
machine's processors. A caller asks again as soon as it has its answer; who is told ASKS_WAIT comes again after half a second.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.inference.crowd import Crowd, crowded_world, image, leased
from tests.inference.lease_world import BROKER, TELECOM, LeaseWorld
from tests.sandbox.world import lacking
from workbench.domain.party import Role
from workbench_inference.operations_servers import p95

PAUSE_S = 0.25
CARDS = (1, 2, 4)
CALLERS = (1, 4, 16, 64)
WINDOW_S = 8.0
QUEUE = 40
"""Setting `inference.queue_most` of the run, so that 64 callers meet a full queue."""


class Unavailable(Exception):
    """No sandbox can be started here; the text says why."""


def measure() -> dict[str, Any]:
    """One row for each number of cards and callers. Takes about five minutes."""
    if lacking():
        raise Unavailable(lacking())
    with tempfile.TemporaryDirectory(prefix="workbench-bench-load-") as name, crowded_world(Path(name), cards=max(CARDS), inference__queue_most=QUEUE) as world:
        paced = _rows(world, Path(name) / "paced", PAUSE_S, CALLERS)
        plain = _rows(world, Path(name) / "plain", 0.0, (16,))
    return {"pause_s": PAUSE_S, "window_s": WINDOW_S, "queue_most": QUEUE, "rows": paced, "by_words": plain}


def _rows(world: LeaseWorld, folder: Path, pause_s: float, callers: Sequence[int]) -> list[dict[str, Any]]:
    world.call(BROKER, Role.OPERATOR, "inference.scaler_set", least=CARDS[0], most=CARDS[0], reason="load test")
    lease = leased(world, image(world, folder, pause_s=pause_s), cards=CARDS[0], most=max(CARDS))
    rows: list[dict[str, Any]] = []
    for cards in CARDS:
        _set(world, lease, cards)
        with Crowd(world, 2 * cards):  # every card has its session
            time.sleep(1)
        rows += [_row(world, cards, many) for many in callers]
    world.call(BROKER, Role.OPERATOR, "inference.lease_release", lease=lease)
    world.institutions.wait_until(lambda: world.state(BROKER, lease) == world.state(TELECOM, lease) == "ERASED", timeout_s=120)
    return rows


def _set(world: LeaseWorld, lease: str, cards: int) -> None:
    world.call(BROKER, Role.OPERATOR, "inference.scaler_set", least=cards, most=cards, reason="load test")
    world.institutions.wait_until(lambda: len(world.provider.held_by(lease)) == cards == world.row(BROKER, lease).cards, timeout_s=120)


def _row(world: LeaseWorld, cards: int, callers: int) -> dict[str, Any]:
    """What callers got within the window, by the clock; a question that was under way at its end counts for nobody."""
    since_ms = world.now_ms
    cpu = time.process_time()
    with Crowd(world, callers) as crowd:
        time.sleep(WINDOW_S)
        cpu = time.process_time() - cpu
        took = [int(seconds * 1000) for _, seconds in list(crowd.took)]
        waits = crowd.refused["ASKS_WAIT"]
    card_ms = world.query(BROKER, "SELECT avg(card_ms) FROM inference_ask WHERE asked_ms >= ? AND card_ms > 0", since_ms)[0][0] or 0
    per_minute = len(took) * 60 / WINDOW_S / cards
    others = sum(count for state, count in crowd.states.items() if state not in ("ANSWERED", "ABSTAINED")) + sum(crowd.refused.values()) - crowd.refused["ASKS_WAIT"]
    return {
        "cards": cards, "callers": callers, "answered": len(took), "refused": waits, "lost": others, "p50_ms": sorted(took)[len(took) // 2] if took else 0, "p95_ms": p95(took),
        "per_minute": round(len(took) * 60 / WINDOW_S), "per_card_minute": round(per_minute, 1), "card_ms": round(card_ms, 1), "cpu_ms": round(cpu * 1000 / len(took), 1) if took else 0,
        "of_model": round(per_minute * card_ms / 60_000, 3),
    }  # fmt: skip


def picture(rows: Sequence[dict[str, Any]]) -> str:
    """Answers a minute by cards as SVG, a line for each number of callers, beside what the cards' own time would allow."""
    wide, high, left, bottom = 640, 320, 64, 40
    cards = sorted({one["cards"] for one in rows})
    model = {one: max(60_000 * one / row["card_ms"] for row in rows if row["cards"] == one and row["card_ms"]) for one in cards}
    top = max(model.values()) * 1.05

    def at(card: float, count: float) -> str:
        return f"{left + (card - cards[0]) / (cards[-1] - cards[0]) * (wide - left - 120):.0f},{high - bottom - count / top * (high - bottom - 20):.0f}"

    names: list[tuple[int, str, str]] = []  # height of the end of a line, its colour and name

    def line(values: dict[int, float], colour: str, name: str, dash: str = "") -> str:
        names.append((int(at(cards[-1], values[cards[-1]]).split(",")[1]), colour, name))
        mark = f' stroke-dasharray="{dash}"' if dash else ""
        return f'<polyline points="{" ".join(at(card, values[card]) for card in cards)}" fill="none" stroke="{colour}" stroke-width="2"{mark}/>'

    colours = ("#7a8794", "#3b82a0", "#2f6f4f", "#b4552d")
    lines = [line(model, "#555555", "cards' own time", "5 4")]
    for colour, many in zip(colours, sorted({one["callers"] for one in rows}), strict=False):
        lines.append(line({one["cards"]: one["per_minute"] for one in rows if one["callers"] == many}, colour, "1 caller" if many == 1 else f"{many} callers"))
    below = 0
    for y, colour, name in sorted(names):
        below = max(y + 4, below + 14)  # no name upon another
        lines.append(f'<text x="{wide - 112}" y="{below}" fill="{colour}">{name}</text>')
    ticks = [f'<text x="{at(one, 0).split(",")[0]}" y="{high - 16}" text-anchor="middle">{one}</text>' for one in cards]
    ticks += [f'<text x="{left - 8}" y="{at(cards[0], count).split(",")[1]}" text-anchor="end">{count}</text>' for count in range(0, int(top), 240)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="12" role="img">'
        '<title>Answers a minute by cards · 每分钟作答数与卡数</title>'
        f'<rect width="{wide}" height="{high}" fill="#ffffff"/><line x1="{left}" y1="{high - bottom}" x2="{wide - 120}" y2="{high - bottom}" stroke="#999"/>'
        f'{"".join(ticks)}{"".join(lines)}</svg>\n'
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--picture", type=Path, help="write the picture of docs/benchmarks.md to this file")
    options = parser.parse_args()
    found = measure()
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    if options.picture:
        options.picture.write_text(picture(found["rows"]), "utf-8")
    for one in (*found["rows"], *found["by_words"]):
        print(one)
