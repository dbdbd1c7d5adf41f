"""What the node keeps of its lines, over restarts and clocks, and what it tells: quality of service, checks of the device."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from workbench_qkd import measuring
from workbench_qkd.checks import state_of
from workbench_qkd.measuring import Measures
from workbench_qkd.quality import HOUR_MS

from tests.qkd.conftest import Site
from tests.qkd.entity import NOW_MS, block
from workbench.crypto import sm3
from workbench.domain.party import Role
from workbench.errors import Denied, InvalidRequest, NotFound, PeerError, StorageFailed

START_MS = NOW_MS // HOUR_MS * HOUR_MS


@dataclass
class Watch:
    """Rounds of a node two seconds apart, on clocks of the test's own."""

    site: Site
    wall: int = START_MS
    running: int = 0
    measures: Measures = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """As after a start: nothing in memory."""
        node = self.site.node
        self.measures = Measures(lambda: node.store, now_ms=lambda: self.wall, pause_s=lambda: 2.0, running_ms=lambda: self.running)

    def pass_ms(self, length: int) -> None:
        self.wall, self.running = self.wall + length, self.running + length

    def rounds(self, number: int, cause: str = "", *, line: str = "a1") -> None:
        for _ in range(number):
            self.measures.see({line: cause})
            self.pass_ms(2_000)

    def hour(self, line: str = "a1") -> Any:
        return self.measures.hours(line, START_MS, START_MS + HOUR_MS).get(START_MS // HOUR_MS)


def rows(site: Site, table: str = "qkd_quality") -> int:
    with site.node.store.read() as reader:
        return int(reader.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_what_was_seen_is_written_once_a_minute_and_survives_a_restart(site: Site) -> None:
    watch = Watch(site)
    watch.rounds(20)
    assert (rows(site), watch.hour().covered_ms) == (0, 38_000), "memory counts too"
    watch.rounds(20)
    assert rows(site) == 1, "nothing of a single round is kept"
    watch.measures.flush()
    watch.restart()
    assert watch.hour().covered_ms == 78_000
    watch.pass_ms(30_000)
    watch.rounds(10, "held")
    watch.measures.flush()
    found = watch.hour()
    assert (found.covered_ms, found.available_ms, found.downs["held"].times) == (96_000, 78_000, 1), "the time of the restart is a gap"


def test_a_clock_that_is_set_back_counts_no_moment_twice_also_after_a_restart(site: Site) -> None:
    watch = Watch(site)
    watch.rounds(100)
    watch.measures.flush()
    watch.restart()
    with watch.measures.asking("a1"):
        pass
    watch.wall -= 150_000
    watch.rounds(100)
    assert watch.hour().covered_ms == 248_000, "from the first sighting to the last"
    assert watch.hour().requests == 1


def test_a_disk_that_is_full_loses_nothing_that_is_in_memory(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(site)
    watch.rounds(10, "no-keys")
    with monkeypatch.context() as patched:

        def full(*_: object, **__: object) -> None:
            raise StorageFailed("盘满", "disk full")

        patched.setattr(measuring, "add", full)
        with pytest.raises(StorageFailed):
            watch.measures.flush()
    watch.rounds(10, "no-keys")
    watch.measures.flush()
    assert (watch.hour().covered_ms, watch.hour().downs["no-keys"].ms, watch.hour().downs["no-keys"].times) == (38_000, 38_000, 1)


def test_the_tables_stay_bounded_whatever_the_clock_says(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "KEPT_HOURS", 3)
    watch = Watch(site)
    for _ in range(6):
        watch.rounds(2, "held")
        with watch.measures.asking("a1"):
            pass
        watch.measures.flush()
        watch.pass_ms(HOUR_MS)
    assert [rows(site, one) for one in ("qkd_quality", "qkd_quality_down", "qkd_quality_latency")] == [3, 3, 3]
    watch.wall += 9_000 * HOUR_MS
    watch.rounds(2)
    watch.measures.flush()
    watch.wall -= 9_000 * HOUR_MS
    watch.rounds(2)
    watch.measures.flush()
    assert rows(site) == 3, "a clock far ahead takes the place of one hour, it empties nothing"


def test_the_silence_of_the_entity_is_time_without_keys_also_after_a_restart(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(site)
    monkeypatch.setattr(site.node, "now_ms", lambda: watch.wall)
    site.service.measures = watch.measures
    site.follow()
    watch.pass_ms(2_000)
    site.entity.away = True
    with pytest.raises(PeerError):
        site.follow()
    watch.pass_ms(40_000)  # an entity that hangs makes rounds long
    with pytest.raises(PeerError):
        site.follow()
    [down] = site.call("qkd.quality", line="a1").downtimes
    assert (down.cause, down.ms, down.from_ms) == ("entity-away", 42_000, START_MS)
    watch.measures.flush()
    watch.restart()
    watch.pass_ms(5_000)
    for _ in range(2):
        watch.measures.see_nobody()
        watch.pass_ms(2_000)
    assert watch.hour().downs["entity-away"].ms == 44_000, "its lines are known from before"


def test_rounds_requests_and_blocks_come_together_in_one_report(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(site)
    monkeypatch.setattr(site.node, "now_ms", lambda: watch.wall)
    site.service.measures = watch.measures
    site.entity.made = [block(0, rate_bps=4e6, time_ms=START_MS), block(1, rate_bps=2e6, time_ms=START_MS), block(2, state="aborted", aborted="verification", keys=0, rate_bps=0.0, time_ms=START_MS)]
    site.entity.change(last_block=2)
    for number in range(60):
        if number == 50:
            site.entity.alarm("qber-drift")
            site.entity.change(state="alarm", open_alarms=1)
        site.follow()
        watch.pass_ms(2_000)
    for got in (True, True, False):
        try:
            with watch.measures.asking("a1"):
                if not got:
                    raise NotFound("没有", "none")
        except NotFound:
            pass
    told = site.call("qkd.quality", Role.REGULATOR, line="a1", from_ms=START_MS, until_ms=START_MS + 60_000)
    assert (told.from_ms, told.until_ms) == (START_MS, watch.wall), "whole hours, up to now"
    assert (told.covered_ms, told.available_ms, told.gap_ms) == (118_000, 98_000, 2_000)
    [down] = told.downtimes
    assert (down.cause, down.ms, down.times, down.from_ms) == ("alarm", 20_000, 1, START_MS + 98_000)
    assert told.down_ms == {"alarm": 20_000}
    assert (told.blocks, told.failed_blocks, told.keys, told.mean_bps, told.least_bps) == (3, 1, 1400, 2e6, 0.0)
    assert (told.requests, told.failed_requests) == (3, 1)
    assert 0 < told.p50_ms <= told.p95_ms
    assert {one.name: one.verdict for one in told.objectives} == {"availability": "missed", "latency": "reached", "rate": "reached"}
    day = site.call("qkd.quality", line="a1")
    assert (day.until_ms - day.from_ms) // HOUR_MS == 24 and day.coverage < 0.01
    assert {one.name: one.verdict for one in day.objectives}["availability"] == "unknown", "a day of which two minutes were seen"


def test_a_report_is_asked_for_a_line_that_there_is_and_a_period_that_can_be(site: Site) -> None:
    with pytest.raises(NotFound):
        site.call("qkd.quality", line="nowhere")
    for bad in ({"from_ms": 5, "until_ms": 5}, {"from_ms": 1, "until_ms": 401 * 24 * HOUR_MS}):
        with pytest.raises(InvalidRequest):
            site.call("qkd.quality", line="a1", **bad)
    with pytest.raises(Denied):
        site.node.gate.call("qkd.quality", {"line": "a1"}, site.three.caller("broker", Role.MARKETING))


# ------------------------------------------------------------------------------------------- checks


@pytest.mark.parametrize(
    ("tested_ms", "hours", "failing", "state", "health"),
    [
        (NOW_MS, 24, False, "passed", None),
        (NOW_MS - 26 * HOUR_MS, 24, False, "passed", None),
        (NOW_MS - 30 * HOUR_MS, 24, False, "overdue", "warning"),
        (NOW_MS + 30 * HOUR_MS, 24, False, "overdue", "warning"),
        (NOW_MS - 900 * HOUR_MS, 0, False, "passed", None),
        (NOW_MS, 24, True, "failed", "failed"),
    ],
)
def test_status_and_health_say_when_a_check_is_overdue(site: Site, tested_ms: int, hours: int, failing: bool, state: str, health: str | None) -> None:
    site.entity.tested_ms, site.entity.hours, site.entity.failing = tested_ms, hours, failing
    told = site.call("qkd.status")
    assert (told.self_test_state, told.self_tested_ms, told.self_test_hours) == (state, tested_ms, hours)
    assert {one.name: one.state for one in site.node.health()}.get("qkd.device") == health


def test_production_wants_a_schedule(site: Site) -> None:
    site.entity.hours = 0
    test = site.entity.last_self_test()
    assert state_of(test, enabled=True, now_ms=NOW_MS, is_production=True) == "unscheduled"
    assert state_of(test, enabled=True, now_ms=NOW_MS, is_production=False) == "passed"


def test_a_check_that_nobody_asked_for_is_evidence_and_a_failed_one_names_its_answers(site: Site) -> None:
    tested, failed, other = (len(site.entries(one)) for one in ("qkd.self_tested", "qkd.self_test_failed", "qkd.told"))
    site.entity.tell("device.self-test", line="", check=1, at_ms=NOW_MS, cause="schedule", passed=1, run=16, wrong=0, failed="", vectors="1/00")
    site.entity.tell("device.self-test", line="", check=2, at_ms=NOW_MS + 1, cause="start", passed=0, run=16, wrong=1, failed="SM3 one block", vectors="1/00")
    site.entity.tell("device.self-test", line="", check=3, at_ms=NOW_MS + 2, cause="asked", passed=1, run=16, wrong=0, failed="", vectors="1/00")
    site.follow()
    made = [one.values for one in site.entries("qkd.self_tested")[tested:]]
    assert [(one["cause"], one["failed"], one["vectors"], one["at"]) for one in made] == [("schedule", "0", "1/00", str(NOW_MS)), ("start", "1", "1/00", str(NOW_MS + 1))]
    assert [one.values["tests"] for one in site.entries("qkd.self_test_failed")[failed:]] == ["SM3 one block"]
    assert [one.values["event"] for one in site.entries("qkd.told")[other:]] == ["device.self-test"], "its operation has written that one down"


def test_a_check_report_is_a_file_whose_digest_is_in_the_log(site: Site) -> None:
    site.entity.failing = True
    made = site.call("qkd.check_report", Role.AUDITOR)
    _, content = site.node.downloads.take(site.three.caller("broker", Role.AUDITOR), made.download)
    assert sm3.digest(content).hex() == made.digest == site.entries("qkd.check_reported")[-1].values["digest"]
    told = json.loads(content)
    assert (told["kind"], told["v"], told["institution"], told["state"]) == ("device-check-report", 1, "broker", "failed")
    assert [(one["algorithm"], one["passed"]) for one in told["check"]["tests"]] == [("sm3", True), ("sm4-gcm", False)]
    assert (told["check"]["vectors"], told["check"]["hours"], len(told["earlier"])) == ("1/0011", 24, 2)
    assert site.entries("qkd.check_reported")[-1].values["failed"] == "1"
