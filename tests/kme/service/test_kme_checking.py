"""Self-tests by a schedule: neither a clock nor a restart puts one off, a failed one stays, and each is told once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kme_pair import SENDER, imported_plan
from workbench_kme.devices import soft
from workbench_kme.devices.selftest import known_answers, run, vectors_version
from workbench_kme.service import checking
from workbench_kme.service import config as site_config
from workbench_kme.service.checking import HOUR_MS, Checks, Found, Schedule, is_due, is_overdue
from workbench_kme.service.entity import Entity
from workbench_kme.service.schema import SERVICE_MIGRATIONS
from workbench_kme.service.sites import make_sites
from workbench_kme.service.views import Test

from workbench.errors import SelfTestFailed
from workbench.store import Database

NOW_MS = 1_795_241_152_000
DAY_MS = 24 * HOUR_MS


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(30_000, 7 * HOUR_MS), st.sampled_from([0, 0, 0, -DAY_MS, DAY_MS, -400 * DAY_MS, 3_000, -3_000])), max_size=60))
def test_no_clock_that_is_set_puts_a_check_off_beyond_the_pause(steps: list[tuple[int, int]]) -> None:
    """The one that is never set runs; the other is set now and then. A check is due at the first look after the pause, if not before."""
    wall, running, last_wall, last_running, set_since = NOW_MS, 0, NOW_MS, 0, False
    for length, jump in steps:
        wall, running, set_since = wall + length + jump, running + length, set_since or jump != 0
        due = is_due(DAY_MS, last_ms=last_wall, now_ms=wall, running_ms=running - last_running)
        assert due or running - last_running < DAY_MS
        assert not due or set_since or running - last_running >= DAY_MS, "and none is made for nothing"
        if due:
            last_wall, last_running, set_since = wall, running, False


def test_sleep_counts_and_a_check_of_the_future_has_no_age() -> None:
    assert is_due(DAY_MS, last_ms=NOW_MS - DAY_MS, now_ms=NOW_MS, running_ms=5_000)
    assert is_due(DAY_MS, last_ms=NOW_MS + 1, now_ms=NOW_MS, running_ms=0)
    assert not is_due(DAY_MS, last_ms=NOW_MS, now_ms=NOW_MS, running_ms=0)


def test_a_check_is_overdue_when_the_schedule_has_let_it_pass() -> None:
    for hours, age, overdue in ((24, 0, False), (24, 25 * HOUR_MS, False), (24, 27 * HOUR_MS, True), (1, 65 * 60_000, False), (1, 71 * 60_000, True), (24, -DAY_MS, True), (0, 99 * DAY_MS, False)):
        assert is_overdue(hours, last_ms=NOW_MS - age, now_ms=NOW_MS) is overdue, (hours, age)


def test_a_schedule_checks_when_due_counts_from_the_newest_and_leaves_a_failed_device_to_people() -> None:
    now, last, made, fit = [NOW_MS], [NOW_MS], [0], [True]

    def check() -> None:
        made[0] += 1
        last[0] = now[0]

    schedule = Schedule(24, check=check, last_ms=lambda: last[0], may=lambda: fit[0], now_ms=lambda: now[0])
    assert not schedule.look()
    now[0] += DAY_MS
    assert schedule.look() and not schedule.look()
    now[0] += DAY_MS - 1
    last[0] = now[0]  # somebody asked for one
    now[0] += 1
    assert not schedule.look()
    fit[0], now[0] = False, now[0] + 9 * DAY_MS
    assert not schedule.look()
    fit[0] = True
    assert schedule.look() and made[0] == 2


def test_checks_are_kept_in_order_with_every_answer_and_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "KEPT_CHECKS", 3)
    store = Database(tmp_path / "x.sqlite", SERVICE_MIGRATIONS, reserve_bytes=0)
    checks = Checks(store)
    assert checks.newest(24) is None
    tests = [Test("SM3 one block", True, "sm3", "GB/T 32905"), Test("soft: wrap, sign", False, "device", "own")]
    for number in range(1, 6):
        assert checks.add(Found(NOW_MS + number, 150, "schedule", tests, "1/00", "0.1")) == number
    newest = checks.newest(24)
    assert newest is not None
    assert (newest.number, newest.passed, newest.tests, newest.next_ms) == (5, False, tests, NOW_MS + 5 + DAY_MS)
    assert [(one.number, one.failed) for one in checks.listed(10)] == [(5, ["soft: wrap, sign"]), (4, ["soft: wrap, sign"]), (3, ["soft: wrap, sign"])]
    assert not Found(NOW_MS, 0, "start", [], "", "").passed, "a check without answers has not passed"
    store.close()


def test_every_answer_names_its_algorithm_and_the_version_follows_the_file() -> None:
    assert {one.algorithm for one in run().results} == {one["algorithm"] for one in known_answers()}
    number, _, digest = vectors_version().partition("/")
    assert number == "1" and len(digest) == 16


# ------------------------------------------------------------------------------------------- an entity


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_sites(tmp_path_factory.mktemp("checked") / "sites", [imported_plan()], now=datetime.now(UTC))
    return made[SENDER].folder


@pytest.fixture
def opened(folder: Path) -> Iterator[list[Entity]]:
    entities: list[Entity] = []
    yield entities
    for one in entities:
        one.close()


def told(entity: Entity) -> list[Any]:
    return [one for one in entity.store.events(limit=1000) if one.kind == "device.self-test"]


def test_a_device_that_fails_at_the_start_is_told_once_the_kme_opens_again(folder: Path, opened: list[Entity], monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken answer keeps the KME from opening; the row is on disk before, the next start makes an event of it."""
    broken = run([{**one, "digest": "00" * 32} if one["algorithm"] == "sm3" else one for one in known_answers()])
    created = soft.create_soft(folder / "device.json", str(site_config.parse_secrets((folder / "secrets.json").read_bytes(), "").device["passphrase"]))
    created.close()
    now = [NOW_MS]
    with monkeypatch.context() as patched:
        patched.setattr("workbench_kme.service.devices.open_soft", lambda path, secret: soft.open_soft(path, secret, self_test=lambda: broken))
        with pytest.raises(SelfTestFailed, match="DEVICE_DISABLED"):
            Entity(folder, "", now_ms=lambda: now[0])
    now[0] += 5_000
    entity = Entity(folder, "", now_ms=lambda: now[0])
    opened.append(entity)
    assert told(entity) == []
    entity.checks.tell(entity.store.core)
    entity.checks.tell(entity.store.core)
    failed, passed = told(entity)
    assert (failed.facts["passed"], failed.facts["cause"], failed.facts["at_ms"]) == (0, "start", NOW_MS)
    assert "SM3" in str(failed.facts["failed"]) and failed.facts["wrong"] >= 1
    assert (passed.facts["passed"], passed.facts["wrong"], passed.facts["failed"]) == (1, 0, "")
    newest = entity.last_self_test()
    assert (newest.time_ms, newest.passed, newest.hours, newest.vectors) == (now[0], True, 24, vectors_version())
    assert {"sm2", "sm4-gcm", "device"} <= {one.algorithm for one in newest.tests}
    now[0] += DAY_MS
    assert entity.schedule.look() and told(entity)[-1].facts["cause"] == "schedule"
    assert entity.last_self_test().time_ms == now[0]


def test_no_schedule_is_for_demonstrations_only(folder: Path) -> None:
    config = site_config.read_config(folder)
    assert config.self_test_hours == 24
    with pytest.raises(ValueError, match="self_test_hours"):
        site_config.format_config(replace(config, self_test_hours=0))
    with pytest.raises(ValueError, match="self_test_hours"):
        site_config.format_config(replace(config, self_test_hours=721))
    shown = replace(config, lines=tuple(replace(one, demonstration=True) for one in config.lines), self_test_hours=0)
    assert site_config.parse_config(site_config.format_config(shown)).self_test_hours == 0
    with pytest.raises(ValueError, match="self_test_hours"):
        site_config.format_config(replace(shown, lines=()))
