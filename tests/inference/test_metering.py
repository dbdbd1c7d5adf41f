"""Meters as both ends count them: random changes of cards, clocks that differ, and ticks that are not what they should be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workbench_inference.leasing.billing import Line, Stretch, amount_fen, invoice
from workbench_inference.leasing.metering import Answered, OwnCount, Used, account, differences, judge_tick, next_tick, view_of
from workbench_inference.leasing.ticking import Meter, Watch
from workbench_sandbox.formats.metering import Tick

LEASE = "L-20261122-0a1b2c3d"
MOST = 10


def own_of(watch: Watch, tick: Tick, *, now_ms: int, ordered: int = MOST, asks: int = 10**6, disputed: int = 0) -> OwnCount:
    most, seconds = watch.most_in(tick.from_s, tick.to_s, ordered)
    _, total = watch.most_in(0, tick.to_s, ordered)
    return OwnCount((now_ms - watch.zero_ms) // 1000, most, seconds, total, asks, disputed)


class Both:
    """A provider's meter and a tenant's watch of the same lease, each on a running clock of its own. rate: of the provider's, in thousandths."""

    def __init__(self, *, tenant_clock_ms: int = 7_000_000_000, rate: int = 1000) -> None:
        self.passed_ms = 0
        self.rate = rate
        self.tenant_ms = tenant_clock_ms
        self.meter = Meter(0)
        self.watch = Watch(tenant_clock_ms - 999)
        self.servers: set[str] = set()
        self.ticks: list[Tick] = []

    @property
    def provider_now(self) -> int:
        return self.passed_ms * self.rate // 1000

    @property
    def tenant_now(self) -> int:
        return self.tenant_ms + self.passed_ms

    def pass_(self, milliseconds: int) -> None:
        """In steps as the tenant looks."""
        while milliseconds > 0:
            step = min(milliseconds, 20_000)
            self.passed_ms += step
            milliseconds -= step
            self.meter.settle(now_ms=self.provider_now)
            self.watch.look(frozenset(self.servers), now_ms=self.tenant_now)

    def add(self, server: str, *, evidence: bool) -> None:
        self.servers.add(server)
        self.meter.ready(server, now_ms=self.provider_now)
        if evidence:
            self.meter.evidence(server, now_ms=self.provider_now)

    def end(self, server: str) -> None:
        self.servers.discard(server)
        self.meter.ended(server, now_ms=self.provider_now)

    def tick(self) -> list[Tick]:
        made = self.meter.ticks(self.ticks[-1] if self.ticks else None, LEASE, Used(), now_ms=self.provider_now)
        self.ticks += made
        return made


steps = st.lists(
    st.tuples(st.sampled_from(["add", "add silently", "end", "nothing"]), st.integers(0, 90_000), st.booleans()), min_size=1, max_size=14
)


@settings(max_examples=30)
@given(steps, st.integers(0, 10**10), st.integers(0, 200))
def test_under_random_changes_every_tick_agrees_and_sums_are_statement_and_invoice(many: list[tuple[str, int, bool]], clock_ms: int, price: int) -> None:
    both, names = Both(tenant_clock_ms=clock_ms), iter(f"v-{number}" for number in range(100))
    agreed: list[Tick] = []
    for what, milliseconds, is_tick in [*many, ("nothing", 1_000, True)]:
        if what.startswith("add") and len(both.servers) < MOST:
            both.add(next(names), evidence=what == "add")
        elif what == "end" and both.servers:
            both.end(min(both.servers))
        both.pass_(milliseconds)
        for tick in both.tick() if is_tick else ():
            assert judge_tick(tick, agreed[-1] if agreed else None, own_of(both.watch, tick, now_ms=both.tenant_now)) == ""
            agreed.append(tick)
    statement = account(LEASE, [Answered(one, one.card_seconds, False) for one in agreed], fen_per_card_minute=price)
    total = sum(one.card_seconds for one in agreed)
    assert statement.card_seconds == statement.agreed_card_seconds == total and statement.amount_fen == amount_fen(total, price)
    assert invoice([Line(LEASE, statement.agreed_card_seconds, price, statement.amount_fen)]).amount_fen == statement.amount_fen
    assert differences(statement, statement) == []
    assert [one.from_s for one in agreed] == [0, *(one.to_s for one in agreed[:-1])][: len(agreed)]


def lease_of(seconds: int, cards: int = 3) -> Both:
    both = Both()
    for number in range(cards):
        both.add(f"v-{number}", evidence=True)
    both.pass_(seconds * 1000)
    return both


def test_the_same_lease_costs_the_same_whatever_the_wall_clocks_say() -> None:
    counts = []
    for clock_ms in (0, 3_600_000, 10**12):
        both = Both(tenant_clock_ms=clock_ms)
        both.add("v-0", evidence=True)
        both.pass_(600_000)
        tick = both.tick()[0]
        assert judge_tick(tick, None, own_of(both.watch, tick, now_ms=both.tenant_now)) == ""
        counts.append(tick.card_seconds)
    assert counts == [600, 600, 600]


@pytest.mark.parametrize(("rate", "reason"), [(1000, ""), (1002, ""), (1100, "seconds"), (900, "")])
def test_a_clock_of_the_provider_that_runs_fast_is_noticed_and_one_that_runs_slow_costs_nobody(rate: int, reason: str) -> None:
    both = Both(rate=rate)
    both.add("v-0", evidence=True)
    both.pass_(300_000)
    tick = both.tick()[0]
    assert judge_tick(tick, None, own_of(both.watch, tick, now_ms=both.tenant_now)) == reason


def test_each_way_to_claim_too_much_has_its_reason() -> None:
    both = lease_of(120)
    tick = both.tick()[0]
    own = own_of(both.watch, tick, now_ms=both.tenant_now)
    assert (tick.cards, tick.card_seconds) == (3, 360) and judge_tick(tick, None, own) == ""

    def claims(*, cards: int = tick.cards, to_s: int = tick.to_s, asks: int = 0) -> Tick:
        seconds = cards * (to_s - tick.from_s)
        return Tick(tick.lease, tick.number, tick.from_s, to_s, cards, seconds, seconds, asks, 0, 0, 0, 0, tick.previous)

    assert judge_tick(claims(cards=4), None, own) == "cards"
    assert judge_tick(claims(to_s=122), None, replace(own, now_s=122)) == "", "two seconds a card are agreed"
    assert judge_tick(claims(to_s=123), None, replace(own, now_s=123)) == "seconds"
    assert judge_tick(claims(to_s=130), None, own) == "seconds", "it is later than the tenant's own clock"
    assert judge_tick(claims(asks=5), None, replace(own, asks=4)) == "asks"
    assert judge_tick(claims(asks=4), None, replace(own, asks=4)) == ""


def test_a_second_or_two_too_much_at_every_tick_does_not_add_up() -> None:
    """Each tick alone would pass; the total since the start does not."""
    before, found = None, []
    for number in range(1, 6):
        stretch = Stretch((number - 1) * 60, number * 60, 1)
        tick = next_tick(before, LEASE, stretch, Used())
        own = OwnCount(now_s=number * 60, most_cards=1, card_seconds=58, total_card_seconds=58 * number, asks=0)
        found.append(judge_tick(tick, before, own))
        before = tick
    assert found == ["", "seconds", "seconds", "seconds", "seconds"]


def test_after_a_difference_the_lease_goes_on_under_its_own_total() -> None:
    first = next_tick(None, LEASE, Stretch(0, 60, 3), Used())
    own = OwnCount(now_s=60, most_cards=2, card_seconds=120, total_card_seconds=120, asks=0)
    assert judge_tick(first, None, own) == "cards"
    view = view_of(first, own, "cards")
    assert (view.card_seconds, view.reason, view.tick) == (120, "cards", first.digest)
    second = next_tick(first, LEASE, Stretch(60, 120, 2), Used())
    assert judge_tick(second, first, OwnCount(120, 2, 120, 240, 0, disputed=60)) == ""
    statement = account(LEASE, [Answered(first, 120, True), Answered(second, 120, False)], fen_per_card_minute=30)
    assert (statement.card_seconds, statement.agreed_card_seconds, statement.amount_fen) == (300, 240, 120)


def test_a_tick_that_is_repeated_left_out_reordered_or_altered_breaks_the_chain() -> None:
    one = next_tick(None, LEASE, Stretch(0, 60, 1), Used())
    two = next_tick(one, LEASE, Stretch(60, 120, 1), Used())
    three = next_tick(two, LEASE, Stretch(120, 180, 1), Used())
    own = OwnCount(180, 1, 10**6, 10**6, 10**6)
    assert judge_tick(one, None, own) == judge_tick(two, one, own) == judge_tick(three, two, own) == ""
    for tick, before in ((two, None), (three, one), (one, one), (one, two), (two, two), (replace(two, previous="0" * 64), one), (replace(three, total_card_seconds=400), two)):
        assert judge_tick(tick, before, own) == "chain"


def test_a_restarted_tenant_counts_what_it_did_not_see_as_ordered() -> None:
    watch = Watch(0, polled_s=100, blind_s=100)
    watch.look(frozenset({"v-0"}), now_ms=102_000)
    assert watch.most_in(0, 120, 2) == (2, 200 + 20)
    assert watch.most_in(110, 120, 2) == (1, 10)


def test_a_card_nobody_asked_counts_half_a_minute_after_it_was_there_and_gaps_cost_nothing() -> None:
    meter = Meter(0)
    meter.ready("v-0", now_ms=0)
    meter.settle(now_ms=29_999)
    assert meter.ticks(None, LEASE, Used(), now_ms=29_999)[0].card_seconds == 0
    meter = Meter(0)
    meter.ready("v-0", now_ms=0)
    meter.settle(now_ms=45_500)
    first = meter.ticks(None, LEASE, Used(), now_ms=45_500)
    assert [(one.from_s, one.to_s, one.cards) for one in first] == [(0, 30, 0), (30, 45, 1)]
    meter.ended("v-0", now_ms=50_900)
    meter.ready("v-1", now_ms=70_000)
    meter.evidence("v-1", now_ms=70_200)
    after = meter.ticks(first[-1], LEASE, Used(asks=2), now_ms=80_000)
    assert [(one.from_s, one.to_s, one.cards, one.asks) for one in after] == [(45, 50, 1, 0), (50, 70, 0, 0), (70, 80, 1, 2)]
