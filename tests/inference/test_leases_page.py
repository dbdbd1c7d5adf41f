"""The pages of leases from replies alone: what each says first, what it leaves out, and that a part that cannot be asked takes nothing else with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.inference import lease_samples as samples
from workbench_inference.leasing.replies import LEASE_STATES, SERVER_STATES
from workbench_inference.pages import leases_acts, registers
from workbench_inference.pages import leases_drawing as drawing
from workbench_inference.pages.leases import LeasesPage
from workbench_inference.pages.provider import ProviderPage
from workbench_widgets import DataTable, LineChart

from workbench.app.page import PageContext
from workbench.app.parts.acting import words_of
from workbench.app.texts import texts_of
from workbench.cli import build_parser
from workbench.lease_commands import spelled_out
from workbench.errors import InvalidRequest, Refused

TEXTS = texts_of("workbench_inference")
NOW_MS = samples.NOW_MS
ME = {
    "me": {"party": "broker", "roles": ["operator"]}, "parties": [["broker", "甲证券", "Broker A"], ["telecom", "丁云", "Cloud D"]],
    "operations": [*samples.EVERY, *(one.operation for one in (*leases_acts.EVERY, *registers.EVERY))],
}  # fmt: skip


def say(lang: str) -> Callable[..., str]:
    return lambda key, **fields: TEXTS[lang][key].format(**fields)


t = say("zh")


def told(name: str, *values: Any, **changes: Any) -> dict[str, Any]:
    """A sample as the page gets it, with other members."""
    return {**getattr(samples, name)(*values).model_dump(), **changes}


def leases(*changes: dict[str, Any], **members: Any) -> dict[str, Any]:
    """One lease for each set of changes."""
    return told("leases", leases=[{**samples.lease().model_dump(), **one} for one in changes], **members)


FREEZE = {"freeze": 1, "from_ms": NOW_MS - 1, "until_ms": NOW_MS + 1, "reason": "检修"}


@pytest.mark.parametrize(
    ("found", "freezes", "state", "key"),
    [
        (leases({}), [], "sealed", "live"),
        (leases({"state": "ERASED"}, live=0), [], "sealed", "idle"),
        (leases(live=0), [], "info", "none"),
        (leases({"state": "ORDERED"}, live=0), [], "pending", "ordered"),
        (leases({"state": "ORDERED"}, {}), [], "sealed", "live"),
        (leases({}, {"needs": "difference"}), [], "failed", "difference"),
        (leases({"needs": "difference"}, {"needs": "unproven"}), [], "tampered", "unproven"),
        (leases({}, last_night_clean=9), [], "failed", "waiting"),
        (leases({}), [FREEZE], "pending", "frozen"),
        (leases({}), [{**FREEZE, "until_ms": NOW_MS}], "sealed", "live"),
        (leases({}, month_fen=400_000), [], "pending", "near_budget"),
        (leases({}, month_fen=500_000), [], "refused", "spent"),
        (leases({}, month_fen=500_000, budget_fen=0), [], "sealed", "live"),
        (leases({"state": "REFUSED", "code": "NO_CAPACITY", "needs": "refused"}, live=0), [], "refused", "refused"),
    ],
)  # fmt: skip
def test_the_worst_thing_about_leases_is_said_first(found: dict[str, Any], freezes: list[Any], state: str, key: str) -> None:
    made = drawing.tenant_verdict(found, {"freezes": freezes}, "zh", now_ms=NOW_MS)
    assert (made.state, made.key) == (state, key)
    _is_said("leases", made)


@pytest.mark.parametrize(
    ("changes", "lease", "differ", "state", "key"),
    [
        ({}, {}, 0, "failed", "dirty"),
        ({"dirty": 0}, {}, 0, "sealed", "good"),
        ({"dirty": 0}, {}, 2, "failed", "difference"),
        ({"dirty": 0}, {"needs": "unproven"}, 2, "tampered", "unproven"),
        ({"dirty": 0, "freezes": [FREEZE]}, {}, 0, "pending", "frozen"),
        ({"dirty": 0, "servers": []}, {}, 0, "info", "none"),
    ],
)  # fmt: skip
def test_the_worst_thing_about_servers_is_said_first(changes: dict[str, Any], lease: dict[str, Any], differ: int, state: str, key: str) -> None:
    made = drawing.provider_verdict(told("servers", **changes), leases({"differing": differ, **lease}), "zh", now_ms=NOW_MS)
    assert (made.state, made.key) == (state, key)
    _is_said("provider", made)


def _is_said(page: str, made: drawing.Verdict) -> None:
    for lang in ("zh", "en"):
        for key in [f"{page}.answer.{made.key}", f"{page}.answer.{made.key}.why", *([f"{page}.todo.{made.todo}"] if made.todo else [])]:
            assert "{" not in say(lang)(key, **made.fields)


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_every_table_is_what_the_component_takes(lang: Any) -> None:
    word, party = say(lang), lambda one: str(one).title()
    every = leases(*({"state": one} for one in LEASE_STATES))
    servers = told("servers")
    assert {one["state"] for one in servers["servers"]} == set(SERVER_STATES)
    tables = [
        (drawing.lease_columns(word, side=side), drawing.lease_rows(every["leases"], word, lang, party)) for side in ("tenant", "provider")
    ] + [
        (drawing.server_columns(word, side=side), drawing.server_rows(servers, word, party, lambda _operation: True)) for side in ("tenant", "provider")
    ] + [
        (drawing.decision_columns(word), drawing.decision_rows(told("scaling"), word, lang)), (drawing.tick_columns(word), drawing.tick_rows(told("meters"), word, lang)),
        (drawing.statement_columns(word), drawing.statement_rows(told("statements"), word, lambda _operation: True)),
        (drawing.erasure_columns(word), drawing.erasure_rows(told("erasures"), word, now_ms=NOW_MS)),
    ]  # fmt: skip
    for columns, rows in tables:
        made = DataTable(columns=columns, rows=rows)
        assert made.rows and all(one["key"] in row for one in columns for row in rows)
    assert LineChart(**drawing.load(told("scaling"), word, lang)).panels


def test_where_the_ends_differ_both_numbers_stand_there_and_people_settle_it() -> None:
    rows = {row["number"]: row for row in drawing.tick_rows(told("meters"), t, "zh")}
    assert "180" in rows[74]["seconds"] and "174" in rows[74]["seconds"] and rows[74]["state"]["state"] == "failed"
    assert rows[73]["seconds"] == "180"
    statements = drawing.statement_rows(told("statements"), t, lambda _operation: True)
    assert [row["can"] for row in statements] == [[], ["inference.settle"]]
    assert [row["can"] for row in drawing.statement_rows(told("statements"), t, lambda _operation: False)] == [[], []]


def test_a_settlement_begins_with_what_was_proposed() -> None:
    one = told("statements")["statements"][1]
    assert drawing.settled_at(one) == 86_220
    assert drawing.settled_at({**one, "proposed_by": "P-1", "proposed_card_seconds": 86_300}) == 86_300


def test_a_freeze_window_is_written_as_people_write_times() -> None:
    shape = leases_acts.FREEZE.shape
    assert shape is not None
    made = shape({"begins": "2026-11-22 22:00", "hours": 2, "reason": "检修"})
    assert (made["from_ms"], made["until_ms"] - made["from_ms"]) == (1_795_356_000_000, 7_200_000)
    with pytest.raises(InvalidRequest, match="BAD_TIME"):
        shape({"begins": "tomorrow", "hours": 2, "reason": "x"})


def test_five_minutes_without_a_receipt_is_red() -> None:
    def states(now_ms: int) -> list[str]:
        return [row["state"]["state"] for row in drawing.erasure_rows(told("erasures"), t, now_ms=now_ms)]

    assert states(NOW_MS - 1) == ["sealed", "tampered", "failed"]
    assert states(NOW_MS) == ["sealed", "tampered", "tampered"]


def test_a_lease_that_ended_has_no_time_left() -> None:
    ended = told("leases")["leases"][1]
    made = drawing.bar({**ended, "ended_ms": NOW_MS - 5, "until_ms": NOW_MS + 900_000}, t, now_ms=NOW_MS, releasable=True)
    assert (made["until_ms"], made["now_ms"], made["releasable"]) == (NOW_MS - 5, NOW_MS - 5, False)
    live = drawing.bar(told("leases")["leases"][0], t, now_ms=NOW_MS, releasable=True)
    assert live["until_ms"] > live["now_ms"] == NOW_MS and live["releasable"]


def test_only_what_fits_a_server_is_offered() -> None:
    may = {row["server"]: row["can"] for row in drawing.server_rows(told("servers"), t, str, lambda _operation: True)}
    clean, drain = "inference.server_clean", "inference.server_drain"
    assert may["v-00000001"] == [], "nobody takes a leased card from its tenant"
    assert may["v-00000004"] == [drain] and may["v-00000007"] == [clean, drain]


def test_cards_come_in_steps_and_each_decision_has_its_reason() -> None:
    made = drawing.load(told("scaling"), t, "zh")
    points = made["panels"][0]["lines"][0]["points"]
    assert all(now[0] == before[0] or now[1] == before[1] for before, now in zip(points, points[1:], strict=False)), "never a slope"
    assert [one["label"] for one in made["marks"]] == ["2→6", "6→3"]
    assert all(len(row["why"]) > 10 for row in drawing.decision_rows(told("scaling"), t, "zh"))
    loaded = dict(drawing.rule_facts(told("scaling", asks_hour=42, p95_ms=3_140, asks_per_card_minute=27), t))[t("leases.rule.capacity")]
    assert all(one in loaded for one in ("42", "3.1", "27")), "how long questions take stands beside what a card gets through"


def test_the_providers_page_shows_sizes_and_no_name_of_content() -> None:
    """Columns of a provider: no model, no image, no person, no scenario."""
    keys = {one["key"] for side in ("provider",) for one in (*drawing.lease_columns(t, side=side), *drawing.server_columns(t, side=side))}
    assert keys == {"lease", "partner", "pool", "state", "left", "seconds", "amount", "receipts", "server", "tenant", "bytes_in", "bytes_out", "since", "why"}


class Node:
    """Answers from samples. fails: operations that are refused; empty: everything is."""

    def __init__(self, side: str, *, fails: tuple[str, ...] = (), empty: bool = False) -> None:
        self.side, self.fails, self.empty = side, fails, empty
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def call(self, operation: str, /, *, progress: Any = None, cancelled: Any = None, **request: Any) -> Any:
        self.asked.append((operation, request))
        if operation in self.fails:
            raise Refused("没有权限看", "not for you", code="DENIED")
        if operation not in samples.EVERY:
            return {}
        make: Any = samples.EVERY[operation]
        found = (make(self.side) if operation in ("inference.leases", "inference.lease", "inference.servers") else make()).model_dump()
        return {name: [] if isinstance(value, list) else 0 if isinstance(value, int) else value for name, value in found.items()} if self.empty else found


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("kind", [LeasesPage, ProviderPage])
def test_each_page_is_drawn_full_and_empty_in_both_languages(kind: Any, lang: str) -> None:
    for empty in (False, True):
        node = Node("provider" if kind is ProviderPage else "tenant", empty=empty)
        made = kind(PageContext(client=node, me=ME, package="workbench_inference", lang=lang))
        asyncio.run(made.refresh())
        assert made.strip.state == ("info" if empty else "tampered") and made.strip.sentence
        tables = [one for name, one in vars(made).items() if isinstance(one, DataTable) and name != "sees"]
        assert [row["root"] for row in made.sees.rows][:2] == [t("leases.sees.is.root") if lang == "zh" else say("en")("leases.sees.is.root"), say(lang)("leases.sees.is.no")], "who sees what stands there in any state"
        assert {one.state for one in tables} == {"empty" if empty else "done"} and all(one.heading for one in tables)


def test_a_part_that_cannot_be_asked_says_so_and_the_rest_lives() -> None:
    node = Node("tenant", fails=("inference.scaling", "inference.erasures"))
    made = LeasesPage(PageContext(client=node, me=ME, package="workbench_inference"))
    asyncio.run(made.refresh())
    assert (made.chart.state, made.decisions.state, made.erasures.state) == ("refused", "refused", "refused")
    assert made.erasures.notice["code"] == "DENIED"
    asyncio.run(made.refresh())
    asked = [name for name, _ in node.asked]
    assert (asked.count("inference.erasures"), asked.count("inference.leases")) == (1, 2), "a refusal is an entry, and is not made every few seconds"
    node.fails = ()
    asyncio.run(made._acted("inference.lease_release", {}))
    assert made.erasures.state == "done"
    assert (made.leases.state, made.cost.state, made.bar.state, made.ticks.state) == ("done", "done", "done", "done")


@pytest.mark.parametrize(("kind", "fails"), [(LeasesPage, "inference.leases"), (ProviderPage, "inference.servers")])
def test_a_page_that_cannot_answer_says_why(kind: Any, fails: str) -> None:
    node = Node("tenant" if kind is LeasesPage else "provider", fails=(fails,))
    made = kind(PageContext(client=node, me=ME, package="workbench_inference"))
    asyncio.run(made.refresh())
    assert (made.strip.state, made.strip.code, made.strip.reason) == ("refused", "DENIED", "没有权限看")
    node.fails = ()
    asyncio.run(made._acted("", {}))
    assert (made.strip.state, made.strip.code) == ("tampered", "")


def test_a_lease_is_chosen_released_and_its_receipt_opened() -> None:
    node = Node("tenant")
    made = LeasesPage(PageContext(client=node, me=ME, package="workbench_inference"))

    async def run() -> None:
        await made.refresh()
        assert made.bar.lease == samples.LEASE and made.bar.releasable, "the one that runs is shown first"
        await made._release(samples.LEASE)
        made.releasing.fields["reason"].value = "提前用完"
        await made.releasing.do()
        await made._choose(samples.OLD)
        assert made.bar.lease == samples.OLD and not made.bar.releasable
        receipts = (made.told("inference.erasures") or {})["erasures"]
        made._open_receipt(drawing.erasure_id(receipts[1]))
        assert "有检查找到残留" in made.receipt.blocks and "找到 1" in made.receipt.blocks
        made._open_receipt(drawing.erasure_id(receipts[2]))
        assert "没有收据" in made.receipt.blocks

    asyncio.run(run())
    assert ("inference.lease_release", {"lease": samples.LEASE, "reason": "提前用完"}) in node.asked
    assert ("inference.meters", {"lease": samples.OLD}) in node.asked


def test_the_commands_beside_a_receipt_are_commands_of_this_program() -> None:
    parser = build_parser()
    for line in drawing.receipt_commands(told("erasures")["erasures"][0], "broker"):
        program, *arguments = line.split()
        assert program == "workbench" and parser.parse_args(spelled_out(arguments)).handler


def test_both_languages_say_everything_the_forms_and_tables_ask_for() -> None:
    assert words_of(leases_acts.EVERY) <= set(TEXTS["zh"])
    for lang in ("zh", "en"):
        for code in ("processes", "shared-memory", "logs"):
            assert json.dumps(TEXTS[lang][f"leases.check.{code}"])


def test_the_calendar_is_shown_and_its_form_begins_with_what_is_in_force() -> None:
    node = Node("tenant")
    made = LeasesPage(PageContext(client=node, me=ME, package="workbench_inference"))

    async def run() -> None:
        await made.refresh()
        told = str(made.calendar.blocks)
        assert "周一、周二、周三、周四、周五" in told and "extractive 1.0" in told and "按排期租" in told
        await made.scheduling.open("inference.schedule_set")
        values = made.scheduling.values()
        assert (values["days"], values["peak"], values["opens_at"], values["is_on"]) == (["1", "2", "3", "4", "5"], ["09:00-15:30", "18:00-22:00"], "09:00", True)
        made.scheduling.fields["opens_at"].value = "9 点"
        await made.scheduling.do()
        assert "CALENDAR" in str(made.scheduling.told.blocks) and made.scheduling.fields["opens_at"].value == "9 点", "refused beside the form, before any password"

    asyncio.run(run())
    assert not [name for name, _ in node.asked if name == "inference.schedule_set"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"opens_at": "22:00"}, "止须晚于起"), ({"peak": ["09:00"]}, "09:00-15:30"), ({"peak": ["15:00-09:00"]}, "止须晚于起"), ({"days": []}, "至少选一天"), ({"peak_cards": 1, "other_cards": 2}, "高峰卡数"),
    ],
)  # fmt: skip
def test_a_calendar_that_does_not_hold_is_refused_before_a_password_is_asked_for(changes: dict[str, Any], said: str) -> None:
    given = {"is_on": True, "days": ["2", "1"], "opens_at": "09:00", "release_at": "22:00", "peak": ["09:00–15:30"], "peak_cards": 2, "other_cards": 1, "closed": [], "image": None, "most_cards": 3}
    made = leases_acts.SCHEDULE.shape(dict(given))  # type: ignore[misc]  # it has one
    assert (made["days"], made["peak"], made["image"]) == ([1, 2], ["09:00-15:30"], "")
    with pytest.raises(InvalidRequest) as refused:
        leases_acts.SCHEDULE.shape(given | changes)  # type: ignore[misc]  # it has one
    assert refused.value.code == "CALENDAR" and said in refused.value.zh


@pytest.mark.parametrize(
    ("changes", "state", "key"), [({}, "sealed", "valid"), ({"now_ms": NOW_MS + 280 * 86_400_000}, "pending", "soon"), ({"now_ms": NOW_MS + 301 * 86_400_000}, "refused", "none"), ({"keys": []}, "refused", "none")],
)
def test_who_keeps_keys_reads_first_whether_the_service_key_is_valid(changes: dict[str, Any], state: str, key: str) -> None:
    made = drawing.key_verdict(told("service_keys", **changes))
    assert (made.state, made.key) == (state, key)
    _is_said("leases.key", made)


@pytest.mark.parametrize("kind", [LeasesPage, ProviderPage])
def test_an_administrator_sees_keys_and_no_lease(kind: Any) -> None:
    node = Node("tenant")
    admin = {**ME, "operations": ["inference.service_keys", "inference.service_key_make", "inference.models"]}
    made = kind(PageContext(client=node, me=admin, package="workbench_inference"))
    asyncio.run(made.refresh())
    assert {name for name, _ in node.asked} <= {"inference.service_keys", "inference.models"}
    assert made.strip.state == "sealed" and [one["state"]["state"] for one in made.keys.rows] == ["sealed", "neutral", "refused"]
    assert made.keying.acts and not made.acting.acts


def test_a_probe_of_a_running_lease_says_what_was_refused_and_what_was_not() -> None:
    node = Node("tenant")
    given = node.call

    def call(operation: str, /, **request: Any) -> Any:
        told = given(operation, **request)
        if operation == "inference.probe":
            boxes = [{"sandbox": "sb-1", "tried": 49, "refused": 49, "failed": [], "frame": ""}, {"sandbox": "sb-2", "tried": 49, "refused": 48, "failed": ["socket"], "frame": ""}]
            return {"lease": request["lease"], "sandboxes": boxes, "is_refused": False}
        return told

    node.call = call  # type: ignore[method-assign]
    made = LeasesPage(PageContext(client=node, me=ME, package="workbench_inference"))

    async def run() -> None:
        await made.refresh()
        assert made.probe_button.visible
        await made.probing.open("inference.probe")
        await made._choose(samples.OLD)
        assert not made.probe_button.visible, "a lease that is over has no sandbox to test"

    asyncio.run(run())
    assert ("inference.probe", {"lease": samples.LEASE}) in node.asked
    assert "试了 49 项，全部被挡住" in made.probed.blocks and "socket" in made.probed.blocks


@pytest.mark.parametrize("kind", [LeasesPage, ProviderPage])
def test_who_is_on_duty_and_what_is_overdue_stands_on_both_pages(kind: Any) -> None:
    node = Node("tenant" if kind is LeasesPage else "provider")
    made = kind(PageContext(client=node, me=ME, package="workbench_inference"))

    async def run() -> None:
        await made.refresh()
        shown = made.registers
        assert "运维1" in shown.duty.hint and [one["state"]["state"] for one in shown.duty.rows] == ["sealed", "neutral"] and "检修" in str(shown.gaps.blocks)
        assert [(one["state"]["state"], one["can"]) for one in shown.risks.rows] == [("failed", ["inference.risk_change"]), ("sealed", [])]
        await shown._row(registers.RISK_CHANGE, "risk", "1")
        shown.of_row.fields["reason"].value = "已有后备模型"
        shown.of_row.fields["state"].value = "closed"
        await shown.of_row.do()
        await shown.acting.open("inference.duty_set")
        shown.acting.fields["begins"].value = "今晚"
        await shown.acting.do()
        assert "BAD_TIME" in str(shown.acting.told.blocks)

    asyncio.run(run())
    assert ("inference.risk_change", {"risk": 1, "state": "closed", "reason": "已有后备模型"}) in node.asked
    assert "inference.duty_set" not in [name for name, _ in node.asked]
    assert words_of(registers.EVERY) <= set(TEXTS["zh"]) & set(TEXTS["en"])
