"""How many cards are wanted now, and why, in words staff can read: from two to ten and back.

Document: docs/protocols/sandbox.md section 9 (scaling is the tenant's: it knows the queue). Pure. The rule looks one start-up
ahead: what waits and what will have been asked by then must be worked through so that nobody waits longer than half of what
counts as late. Going up is at once; going down waits until `cooldown_s` after the last change, because a card that is given
back is erased and a new one is started and checked.

No server is started for a queue that the servers of today work off in time, so they are busy most of the time: that is what
makes the cost come near the least possible one (`optimum`), and what half of the time that counts as late is spent on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

ASKS_WINDOW_S: Final = 60
"""Asks are counted over so long a time."""
STEP_S: Final = 10
"""How often the shell decides."""
NEVER_S: Final = -(10**9)
"""Second of a change that there never was."""


@dataclass(frozen=True, slots=True)
class ScalingRule:
    """least, most: cards. queue_per_server: asks a server gets through in half of wait_s, as long as nothing was measured.

    wait_s: an ask that waits longer is late. start_delay_s: from the decision to a card that answers.
    """

    least: int = 2
    most: int = 10
    queue_per_server: int = 4
    cooldown_s: int = 60
    start_delay_s: int = 20
    wait_s: int = 30

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most or self.most < 1 or self.queue_per_server < 1 or self.wait_s < 2:
            raise ValueError("0 <= least <= most, at least one ask per server, and a wait of at least 2 s")
        if self.cooldown_s < 0 or self.start_delay_s < 0:
            raise ValueError("neither the cool-down nor the start-up delay is negative")


@dataclass(frozen=True, slots=True)
class Load:
    """What stands now. queue: asks that wait; in_service: asks being answered; ready, starting: cards.

    asked: asks of the last minute. ask_ms: card time of one ask, the mean of those lately answered, 0 where none was.
    changed_s: when the number of cards was last changed, on the clock of `now_s`; a very early second for never.
    """

    queue: int
    in_service: int
    ready: int
    starting: int
    asked: int = 0
    ask_ms: int = 0
    changed_s: int = NEVER_S


@dataclass(frozen=True, slots=True)
class Decision:
    """How many cards there shall be, starting ones included, and why. rule: its name for the entry."""

    wanted: int
    rule: str
    reason_zh: str
    reason_en: str


def decide(load: Load, rule: ScalingRule, *, now_s: int) -> Decision:
    """How many cards there shall be. Whole arithmetic in card-milliseconds: the same everywhere."""
    now = load.ready + load.starting
    needed = max(_needed(load, rule), min(now, load.in_service, rule.most))  # a card that is given back takes with it what it is answering
    figures_zh = f"等待 {load.queue} 问，近一分钟 {load.asked} 问，每问 {_ask_ms(load, rule) / 1000:.1f} 秒"
    figures_en = f"{load.queue} wait, {load.asked} asked within a minute, {_ask_ms(load, rule) / 1000:.1f} s each"
    if needed > now:
        bound_zh, bound_en = ("，已到上限", ", the most there may be") if needed == rule.most else ("", "")
        why = f"要在 {rule.wait_s} 秒内答上，需 {needed} 台{bound_zh}", f"answering within {rule.wait_s} s takes {needed}{bound_en}"
        return Decision(needed, "queue-up", f"{figures_zh}：{why[0]}", f"{figures_en}: {why[1]}")
    if needed == now:
        return Decision(now, "keep", f"{figures_zh}：{now} 台够用", f"{figures_en}: {now} are enough")
    left = rule.cooldown_s - (now_s - load.changed_s)
    if left > 0:
        return Decision(
            now, "cooling", f"{figures_zh}：{needed} 台够用，距上次变更不足 {rule.cooldown_s} 秒，{left} 秒后再减",
            f"{figures_en}: {needed} would do; the last change is less than {rule.cooldown_s} s ago, fewer in {left} s",
        )  # fmt: skip
    bound_zh, bound_en = ("，已到下限", ", the least there shall be") if needed == rule.least else ("", "")
    return Decision(needed, "queue-down", f"{figures_zh}：{needed} 台够用{bound_zh}", f"{figures_en}: {needed} are enough{bound_en}")


def _ask_ms(load: Load, rule: ScalingRule) -> int:
    """Card time of an ask: measured, else what the setting assumes."""
    return load.ask_ms or max(1, rule.wait_s * 500 // rule.queue_per_server)


def _needed(load: Load, rule: ScalingRule) -> int:
    """Fewest cards that leave no more than half of wait_s of work one start-up and one step from now."""
    horizon_s = rule.start_delay_s + STEP_S
    ask_ms = _ask_ms(load, rule)
    rate = load.asked * ask_ms  # card-milliseconds asked for within ASKS_WINDOW_S
    waiting = load.queue * ask_ms + load.in_service * ask_ms // 2
    # waiting + rate·horizon/window − rate·(wait/2)/window, over what one card does until then; all times 2·window
    work = 2 * ASKS_WINDOW_S * waiting + 2 * rate * horizon_s - rate * rule.wait_s
    one = 2 * ASKS_WINDOW_S * horizon_s * 1000
    return max(rule.least, min(rule.most, -(-work // one)))


@dataclass(frozen=True, slots=True)
class Run:
    """A day of cards. cards: those that were paid in each slot; cost: their sum; late: asks that waited too long; changes: ups and downs."""

    cards: tuple[int, ...]
    cost: int
    asks: int
    late: int

    @property
    def late_permille(self) -> int:
        """Late asks in thousandths, rounded up."""
        return -(-1000 * self.late // self.asks) if self.asks else 0

    @property
    def changes(self) -> int:
        return sum(1 for before, after in zip(self.cards, self.cards[1:], strict=False) if before != after)


def simulate(demand: Sequence[int], rule: ScalingRule, *, per_server: int, slot_s: int = STEP_S) -> Run:
    """What `decide` does with a day: demand[t] asks arrive in slot t, a card answers per_server of them in a slot, first come first served.

    A decision knows the slots before its own only; a card that is started answers from the slot start_delay_s later on and is
    paid from then. An ask is late when it is not answered within wait_s (whole slots) after its own slot.
    """
    delay, lateness, window = -(-rule.start_delay_s // slot_s), rule.wait_s // slot_s, max(1, ASKS_WINDOW_S // slot_s)
    ready, changed, cards = rule.least, NEVER_S, []
    starting: list[int] = []
    waiting: deque[tuple[int, int]] = deque()
    queue = late = 0
    for slot, arrived in enumerate(demand):
        ready += sum(1 for one in starting if one <= slot)
        starting = [one for one in starting if one > slot]
        seen = demand[max(0, slot - window) : slot]
        asked = sum(seen) * window // len(seen) if seen else 0
        load = Load(queue, 0, ready, len(starting), asked, slot_s * 1000 // per_server, changed)
        wanted = decide(load, rule, now_s=slot * slot_s).wanted
        if wanted != ready + len(starting):
            changed = slot * slot_s
        while ready + len(starting) < wanted:
            starting.append(slot + delay)
        while ready + len(starting) > wanted and starting:
            starting.pop()
        ready -= max(0, ready + len(starting) - wanted)
        ready += sum(1 for one in starting if one <= slot)
        starting = [one for one in starting if one > slot]
        cards.append(ready)
        waiting.append((slot, arrived))
        queue += arrived
        left = ready * per_server
        while left and waiting:
            came, many = waiting.popleft()
            done = min(many, left)
            left -= done
            queue -= done
            late += done if slot - came > lateness else 0
            if many > done:
                waiting.appendleft((came, many - done))
    late += sum(many for came, many in waiting if len(demand) - came > lateness)
    return Run(tuple(cards), sum(cards), sum(demand), late)


__all__ = ["ASKS_WINDOW_S", "NEVER_S", "STEP_S", "Decision", "Load", "Run", "ScalingRule", "decide", "simulate"]
