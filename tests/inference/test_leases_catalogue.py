"""The catalogue of what can be leased, and answers a minute by cards: from signed meters to what stands on the page."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.inference import lease_samples as samples
from tests.inference.test_leases_page import ME, Node, say, told
from workbench_inference.leasing.growth import SHORTEST_S, Metered, growth, stretches
from workbench_inference.operations_servers import _metered
from workbench_inference.pages import leases_catalogue as catalogue
from workbench_inference.pages import leases_drawing as drawing
from workbench_inference.pages.leases import LeasesPage
from workbench_inference.pages.provider import ProviderPage
from workbench_sandbox.formats.metering import Tick
from workbench_sandbox.server import programs
from workbench_widgets import DataTable, LineChart

from workbench.app.page import PageContext

t = say("zh")
LEASE, OTHER = samples.LEASE, samples.OLD


def metered(*ticks: tuple[int, int, int], lease: str = LEASE) -> list[Metered]:
    """(seconds, cards, asks) one after the other."""
    made, at = [], 0
    for seconds, cards, asks in ticks:
        made.append(Metered(lease, at, at + seconds, cards, asks))
        at += seconds
    return made


def test_meters_of_seconds_are_put_together_to_a_minute_and_never_across_a_change_of_cards() -> None:
    found = stretches(metered((20, 2, 4), (20, 2, 6), (20, 2, 5), (20, 2, 7), (5, 3, 90), (60, 2, 1)))
    assert [(one.to_s - one.from_s, one.cards, one.asks) for one in found] == [(60, 2, 15), (20, 2, 7), (60, 2, 1)], "five seconds say nothing about a minute"
    assert [one.asks for one in stretches([*metered((30, 2, 4)), *metered((30, 2, 6), lease=OTHER)])] == [6, 4], "two leases are never one"


def test_a_row_of_a_signed_meter_is_read_as_it_was_written() -> None:
    tick = Tick(LEASE, 1, 0, 60, 3, 180, 180, 41, 1, 1, 1, 1, "")
    assert _metered(tick.encoded, bytes(64)) == Metered(LEASE, 0, 60, 3, 41)


def test_programs_that_cannot_be_started_are_not_offered(tmp_path: Path) -> None:
    (tmp_path / "server").write_bytes(b"")
    def at(source: Path) -> dict[str, Any]:
        return {"argv": ["/program/serve", "--uds", "{socket}"], "binds": {"/program/serve": str(source)}}

    setting = {"there": at(tmp_path / "server"), "elsewhere": at(tmp_path / "none"), "wrong": {"argv": "/program/serve", "shell": True}}
    assert programs.names(setting, here=True) == ["there"] and programs.names(setting, here=False) == ["elsewhere", "there"]


def test_the_fullest_minute_stands_beside_the_mean_and_minutes_without_a_question_count_for_nothing() -> None:
    (one, two) = growth(metered((60, 1, 200), (60, 1, 40), (60, 1, 0), (60, 2, 460)))
    assert (one.cards, one.stretches, one.asks, one.most, one.mean) == (1, 2, 240, 200, 120)
    assert (two.cards, two.most, two.mean) == (2, 460, 460)
    assert growth([]) == [] == growth(metered((60, 0, 5)))


@given(st.lists(st.tuples(st.integers(1, 90), st.integers(0, 4), st.integers(0, 50)), max_size=30))
def test_no_answer_is_counted_twice_and_no_mean_is_above_the_fullest_minute(ticks: list[tuple[int, int, int]]) -> None:
    rows = growth(metered(*ticks))
    asks: dict[int, int] = {}
    for _, cards, count in ticks:
        asks[cards] = asks.get(cards, 0) + count
    assert all(0 < one.asks <= asks[one.cards] and one.mean <= one.most and one.seconds >= SHORTEST_S for one in rows)
    assert [one.cards for one in rows] == sorted({one.cards for one in rows} - {0})


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_figure_says_what_share_of_growing_with_cards_was_reached(lang: Any) -> None:
    rows = told("scaling")["by_cards"]
    made = catalogue.growth(rows, say(lang), lang)
    chart = LineChart(**made)
    straight, _, most, points = chart.panels[0]["lines"]
    assert straight["points"] == [[0, 0], [4, 928]] and most["points"] == points["points"] == [[1, 232], [2, 465], [4, 930]]
    assert "232" in made["said"] and "930" in made["said"] and "100" in made["said"], "who cannot see the figure reads it"
    assert LineChart(**catalogue.growth(rows[:1], say(lang), lang)).said and catalogue.growth([], say(lang), lang)["panels"] == []
    table = DataTable(columns=catalogue.growth_columns(say(lang)), rows=catalogue.growth_rows(rows))
    assert [row["each"] for row in table.rows] == ["232.0", "232.5", "232.5"]


def test_a_refused_decision_says_so_with_its_reason() -> None:
    decision = told("scaling")["decisions"][0]
    assert catalogue.outcome(decision, t)["state"] == "info"
    refused = catalogue.outcome({**decision, "code": "NO_CAPACITY"}, t)
    assert refused["state"] == "refused" and "没有更多的卡" in refused["label"]
    assert "LATER_CODE" in catalogue.outcome({**decision, "code": "LATER_CODE"}, t)["label"], "a code of a later version stands for itself"
    assert "ray-serve" in catalogue.outcome({**decision, "scaler": "ray-serve"}, t)["label"]
    marks = drawing.load(told("scaling", decisions=[{**decision, "code": "NO_CAPACITY"}]), t, "zh")["marks"]
    assert marks[0]["label"].endswith("被拒") and not marks[0]["quiet"]


def test_which_leases_a_scaler_outside_counts_is_said_and_nothing_where_there_is_none() -> None:
    assert catalogue.outside_fact(told("scaling"), t, "zh") == []
    assert catalogue.outside_fact(told("scaling", scaler="ray-serve", outside=[LEASE]), t, "zh")[0][1] == LEASE
    assert "沙箱内" in catalogue.outside_fact(told("scaling", scaler="ray-serve"), t, "zh")[0][1]


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_both_ends_read_the_same_kind_of_catalogue(lang: str) -> None:
    for kind, side in ((LeasesPage, "tenant"), (ProviderPage, "provider")):
        made: Any = kind(PageContext(client=Node(side), me=ME, package="workbench_inference", lang=lang))
        asyncio.run(made.refresh())
        assert [row["pool"] for row in made.pools.rows] == [say(lang)("leases.pool.shared"), say(lang)("leases.pool.dedicated")]
        assert {row["price"] for row in made.pools.rows} == {30}
        assert say(lang)("leases.assurance.process") in made.offered.blocks and ("extractive 1.0" in made.offered.blocks if side == "tenant" else "llama-cpp" in made.offered.blocks)


def test_the_provider_is_asked_for_its_catalogue_once_a_minute_and_after_an_act() -> None:
    node = Node("tenant")
    made = LeasesPage(PageContext(client=node, me=ME, package="workbench_inference"))

    async def run() -> None:
        await made.refresh()
        await made.refresh()
        assert [name for name, _ in node.asked].count("inference.offer") == 1
        await made._acted("inference.lease_order", {})

    asyncio.run(run())
    assert [name for name, _ in node.asked].count("inference.offer") == 2
    assert made.growth.state == "done" and made.grown.rows[-1]["cards"] == 4


def test_without_meters_the_figure_says_what_it_waits_for() -> None:
    made = LeasesPage(PageContext(client=Node("tenant", empty=True), me=ME, package="workbench_inference"))
    asyncio.run(made.refresh())
    assert made.growth.state == "empty" and made.growth.notice["todo"] and made.grown.state == "empty"
