"""Ticks as they are made, sent, judged and kept, at both ends. docs/protocols/sandbox.md section 9.

Seconds are those of the lease by each end's own running clock. What an earlier run of a node counted and did not send is not
claimed: ticks up to the last answered one count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from workbench.clock import system_now_ms
from workbench.contracts import Transaction
from workbench.domain.party import PartyId
from workbench.errors import WorkbenchError
from workbench_inference.leasing import keys, metering, rows
from workbench_inference.leasing.billing import CLAIM_AFTER_S, TOLERANCE_S, UNANSWERED, Span, second_of, stretches
from workbench_inference.leasing.keys import LeasingHost, Reader
from workbench_inference.leasing.metering import Answered, OwnCount, Used
from workbench_sandbox.formats import relay
from workbench_sandbox.formats.metering import (
    Tick,
    parse_tick,
    sign_agreed,
    sign_differs,
    sign_tick,
    tick_refused,
    verify_reply,
    verify_tick,
)

POLL_S = 2.0
"""How often a tenant asks how its lease stands: what it has not seen for so long counts as running."""


def running_clock(host: LeasingHost) -> Callable[[], int]:
    """Milliseconds that only go forward: the machine's running clock, or a test's own."""
    return lambda: time.monotonic_ns() // 1_000_000 if host.now_ms is system_now_ms else host.now_ms()


# ---------------------------------------------------------------- provider


@dataclass(slots=True)
class Meter:
    """What the provider counts of one lease in this run of its node. zero_ms: second 0, on the running clock; used: up to the last tick."""

    zero_ms: int
    spans: list[Span] = field(default_factory=list)
    waiting: dict[str, int] = field(default_factory=dict)  # server -> second from which it counts unless evidence is given before
    is_over: bool = False  # the last tick was made
    gone: Used = field(default_factory=Used)  # of sandboxes that have ended
    used: Used = field(default_factory=Used)

    def ready(self, server: str, *, now_ms: int) -> None:
        """A card is there; it counts in half a minute, or from its first evidence."""
        self.waiting[server] = second_of(self.zero_ms, now_ms) + CLAIM_AFTER_S

    def evidence(self, server: str, *, now_ms: int) -> None:
        """The first evidence of a server was given."""
        if self.waiting.pop(server, None) is not None:
            self.spans.append(Span(server, second_of(self.zero_ms, now_ms)))

    def settle(self, *, now_ms: int) -> None:
        """Cards that nobody asked for begin to count."""
        second = second_of(self.zero_ms, now_ms)
        for server, at in sorted(self.waiting.items()):
            if at <= second:
                del self.waiting[server]
                self.spans.append(Span(server, at))

    def ended(self, server: str, *, now_ms: int, until_s: int | None = None) -> None:
        """A card counts no longer; a second that began does not count. until_s: agreed on before, None for now."""
        self.waiting.pop(server, None)
        second = second_of(self.zero_ms, now_ms)
        second = second if until_s is None else min(second, until_s)
        self.spans = [Span(one.server, one.from_s, max(one.from_s, second)) if one.server == server and one.until_s is None else one for one in self.spans]

    def ticks(self, before: Tick | None, lease: str, used: Used, *, now_ms: int) -> list[Tick]:
        """The ticks from the last one to now: one for every number of cards there was in between."""
        from_s, to_s = before.to_s if before else 0, second_of(self.zero_ms, now_ms)
        made: list[Tick] = []
        pieces = stretches(self.spans, from_s, to_s) if to_s > from_s else []
        for number, stretch in enumerate(pieces):
            share = used.since(self.used) if number == len(pieces) - 1 else Used()
            made.append(metering.next_tick(made[-1] if made else before, lease, stretch, share))
        if made:
            self.used = used
            kept = made[-1].to_s
            self.spans = [one for one in self.spans if one.until_s is None or one.until_s > kept]
        return made


def last_tick(reader: Reader, lease: str) -> Tick | None:
    """The newest tick of a lease that is kept here."""
    row = reader.execute("SELECT body, signature FROM inference_tick WHERE lease = ? ORDER BY number DESC LIMIT 1", (lease,)).fetchone()
    return parse_tick(_written(row[0], row[1]))[0] if row else None


def keep_open(tx: Transaction, host: LeasingHost, ticks: list[Tick]) -> None:
    """Sign and keep ticks that are to be sent."""
    key, _ = keys.own(tx, host)
    for one in ticks:
        raw = sign_tick(one, provider=host.party, key=key)
        tx.execute(
            "INSERT INTO inference_tick (lease, number, body, signature, state, at_ms) VALUES (?, ?, ?, ?, 'open', ?)",
            (one.lease, one.number, one.encoded, raw[-64:], host.now_ms()),
        )


def deliver(host: LeasingHost, lease: str, tenant: PartyId, *, timeout_s: float = 10.0, most: int = 100) -> int:
    """Send what waits, oldest first, until one is not answered; how many were. Raises nothing of the way."""
    done = 0
    while done < most:
        with host.store.read() as reader:
            row = reader.execute("SELECT number, body, signature FROM inference_tick WHERE lease = ? AND state = 'open' ORDER BY number LIMIT 1", (lease,)).fetchone()
            known = keys.known(reader, tenant)
        if row is None or known is None:
            return done
        raw = _written(row[1], row[2])
        tick = parse_tick(raw)[0]
        try:
            answer = relay.read_reply(host.call(tenant, relay.TICK, raw, timeout_s=timeout_s))
            reply = verify_reply(answer, tick=tick, tenant=tenant, service_key=known.key)
        except WorkbenchError as error:
            host.log_fault(error)
            return done

        def change(tx: Transaction, number: int = int(row[0]), answer: bytes = answer, reason: str = reply.view.reason if reply.view else "") -> None:
            tx.execute(
                "UPDATE inference_tick SET reply = ?, state = ?, reason = ?, at_ms = ? WHERE lease = ? AND number = ? AND state = 'open'",
                (answer, "differs" if reason else "agreed", reason, host.now_ms(), lease, number),
            )
            _metered(tx, host, lease, upto=number)

        host.store.write(change)
        done += 1
    return done


def unanswered(reader: Reader, lease: str) -> int:
    """Ticks that wait for their answer."""
    return int(reader.execute("SELECT count(*) FROM inference_tick WHERE lease = ? AND state = 'open'", (lease,)).fetchone()[0])


def nobody_answers(reader: Reader, lease: str) -> bool:
    """Ten ticks without an answer: nobody there pays."""
    return unanswered(reader, lease) >= UNANSWERED


# ---------------------------------------------------------------- both


def answered(reader: Reader, lease: str) -> list[Answered]:
    """Ticks of a lease up to the last answered one, with what both ends count of each."""
    found = reader.execute("SELECT body, signature, reply, state FROM inference_tick WHERE lease = ? ORDER BY number", (lease,)).fetchall()
    made: list[Answered] = []
    for body, signature, reply, state in found:
        if state == "open":
            break
        tick = parse_tick(_written(body, signature))[0]
        seconds = tick.card_seconds if state == "agreed" else min(tick.card_seconds, view_seconds(bytes(reply)))
        made.append(Answered(tick, seconds, state == "differs"))
    return made


def spent_seconds(reader: Reader, lease: str) -> int:
    """Card-seconds of the ticks that both agree on: what a budget counts."""
    return sum(one.agreed_card_seconds for one in answered(reader, lease))


class Spent:
    """`spent_seconds`, read anew only when another tick was answered: rounds ask twice a second. Not shared between threads."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int]] = {}

    def seconds(self, reader: Reader, lease: str) -> int:
        """Card-seconds of a lease that both agree on."""
        count = int(reader.execute("SELECT count(*) FROM inference_tick WHERE lease = ? AND state <> 'open'", (lease,)).fetchone()[0])
        known = self._known.get(lease)
        if known is None or known[0] != count:
            known = self._known[lease] = (count, spent_seconds(reader, lease))
        return known[1]


def close_entries(tx: Transaction, host: LeasingHost, lease: str) -> None:
    """The entry over the ticks that no entry holds yet, once a lease has its last one."""
    found = answered(tx, lease)
    rest = found[len(found) - len(found) % metering.BATCH :]
    if rest:
        _entry(tx, host, lease, rest)


def _metered(tx: Transaction, host: LeasingHost, lease: str, *, upto: int) -> None:
    """One entry for every sixty ticks."""
    if upto % metering.BATCH == 0:
        found = [one for one in answered(tx, lease) if upto - metering.BATCH < one.tick.number <= upto]
        if len(found) == metering.BATCH:
            _entry(tx, host, lease, found)


def _entry(tx: Transaction, host: LeasingHost, lease: str, batch: list[Answered]) -> None:
    from workbench_sandbox.formats.reading import root

    values: Mapping[str, str] = {
        **rows.parties(rows.get(tx, lease), host.party), "from": str(batch[0].tick.from_s), "to": str(batch[-1].tick.to_s), "ticks": str(len(batch)),
        "card_seconds": str(sum(one.tick.card_seconds for one in batch)), "agreed": str(sum(one.agreed_card_seconds for one in batch)),
        "differing": str(sum(one.differs for one in batch)), "root": root(one.tick.digest for one in batch), "asks": str(sum(one.tick.asks for one in batch)),
        "tokens": str(sum(one.tick.tokens_in + one.tick.tokens_out for one in batch)),
    }  # fmt: skip
    host.evidence.append(tx, "inference.metered", values, job=lease)


def view_seconds(reply: bytes) -> int:
    """Card-seconds in the view of a reply that differs."""
    import json

    size = int.from_bytes(reply[1:5], "big")
    return int(json.loads(reply[5 : 5 + size])["card_seconds"])


def _written(body: bytes, signature: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + bytes(body) + bytes(signature)


# ---------------------------------------------------------------- tenant


@dataclass(slots=True)
class Watch:
    """What a tenant saw of one lease. zero_ms: second 0 on its own running clock, from the first answer that said RUNNING.

    seen: spans as long as they can have been: from the last look without the server, less what two clocks may differ, to the first without it.
    polled_s: own second of the last look, -1 before the first. blind_s: seconds below this were not watched (a restart).
    """

    zero_ms: int
    seen: list[Span] = field(default_factory=list)
    polled_s: int = 0
    blind_s: int = 0

    def look(self, servers: frozenset[str], *, now_ms: int) -> None:
        """What holds a card now."""
        second = second_of(self.zero_ms, now_ms)
        known = {one.server for one in self.seen if one.until_s is None}
        for server in sorted(servers - known):
            self.seen.append(Span(server, max(self.blind_s, self.polled_s - TOLERANCE_S)))
        gone = known - servers
        self.seen = [Span(one.server, one.from_s, max(one.from_s, second)) if one.until_s is None and one.server in gone else one for one in self.seen]
        self.polled_s = second

    def most_in(self, from_s: int, to_s: int, ordered: int) -> tuple[int, int]:
        """(highest number of cards, card-seconds at most) in these seconds; where nobody watched, what was ordered."""
        if to_s <= from_s:
            return ordered, 0
        most = total = 0
        blind = max(0, min(to_s, self.blind_s) - from_s)
        if blind:
            most, total = ordered, ordered * blind
        for one in stretches(self.seen, max(from_s, self.blind_s), to_s) if to_s > max(from_s, self.blind_s) else []:
            cards = min(one.cards, ordered)
            most, total = max(most, cards), total + cards * (one.to_s - one.from_s)
        return most, total


def agreed_cards(reader: Reader, lease: str, first: int) -> list[tuple[int, int]]:
    """(from which second on, cards) as both agreed, ascending. first: of the order."""
    rows_ = reader.execute("SELECT at_s, cards FROM inference_change WHERE lease = ? AND at_s >= 0 ORDER BY number", (lease,)).fetchall()
    return [(0, first), *((int(one[0]), int(one[1])) for one in rows_)]


def _own_seconds(reader: Reader, row: rows.LeaseRow, watch: Watch, from_s: int, to_s: int) -> tuple[int, int]:
    """(highest number of cards, card-seconds at most) of the stretch, under what was agreed in each part of it."""
    agreed = agreed_cards(reader, row.lease, row.order.cards)
    most = total = 0
    for (at_s, cards), following in zip(agreed, [*(one[0] for one in agreed[1:]), to_s], strict=True):
        start, stop = max(from_s, at_s), min(to_s, following)
        if start < stop:
            highest, seconds = watch.most_in(start, stop, cards)
            most, total = max(most, highest), total + seconds
    return most, total


def answer_tick(host: LeasingHost, row: rows.LeaseRow, raw: bytes, watch: Watch | None, *, now_ms: int) -> bytes:
    """The tenant's signed reply to a tick; the same tick gets the stored one. now_ms: of its running clock.

    Raises VerificationError TICK_REFUSED for a tick that the provider of this lease did not sign.
    """
    with host.store.read() as reader:
        known = keys.require_known(reader, row.partner)
    tick = verify_tick(raw, provider=row.partner, lease=row.lease, service_key=known.key)

    def change(tx: Transaction) -> bytes:
        kept = tx.execute("SELECT body, reply FROM inference_tick WHERE lease = ? AND number = ?", (row.lease, tick.number)).fetchone()
        if kept is not None and bytes(kept[0]) == tick.encoded:
            return bytes(kept[1])
        key, _ = keys.own(tx, host)
        before = last_tick(tx, row.lease)
        own = _own_count(tx, row, tick, watch, now_ms)
        reason = "chain" if kept is not None else metering.judge_tick(tick, before, own)
        if reason:
            reply = sign_differs(tick, metering.view_of(tick, own, reason), tenant=host.party, key=key)
        else:
            reply = sign_agreed(tick, tenant=host.party, key=key)
        if reason == "chain":  # nothing is counted by it, and the next one must continue what is kept
            return reply
        tx.execute(
            "INSERT INTO inference_tick (lease, number, body, signature, reply, state, reason, at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (row.lease, tick.number, tick.encoded, raw[-64:], reply, "differs" if reason else "agreed", reason, host.now_ms()),
        )
        _metered(tx, host, row.lease, upto=tick.number)
        return reply

    return host.store.write(change)


def _own_count(tx: Transaction, row: rows.LeaseRow, tick: Tick, watch: Watch | None, now_ms: int) -> OwnCount:
    """What this tenant counted for the seconds of a tick."""
    kept = answered(tx, row.lease)
    disputed = sum(one.tick.card_seconds - one.agreed_card_seconds for one in kept)
    asked = int(tx.execute("SELECT count(*) FROM inference_ask WHERE lease = ?", (row.lease,)).fetchone()[0])
    asks = asked - sum(one.tick.asks for one in kept)
    if watch is None:  # never seen to run
        return OwnCount(now_s=0, most_cards=0, card_seconds=0, total_card_seconds=0, asks=asks, disputed=disputed)
    most, seconds = _own_seconds(tx, row, watch, tick.from_s, tick.to_s)
    _, total = _own_seconds(tx, row, watch, 0, tick.to_s)
    return OwnCount(second_of(watch.zero_ms, now_ms), most, seconds, total, asks, disputed)


__all__ = [
    "POLL_S", "Meter", "Spent", "Watch", "agreed_cards", "answer_tick", "answered", "close_entries", "deliver", "keep_open", "last_tick", "nobody_answers",
    "running_clock", "spent_seconds", "tick_refused", "unanswered", "view_seconds",
]  # fmt: skip
