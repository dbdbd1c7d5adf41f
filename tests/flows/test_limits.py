"""Bounds on what one partner can make this node do at the same time, and on what staff can learn from small numbers."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from workbench.channel.conversation import WaitingBytes
from workbench.domain.party import Role
from workbench.errors import WorkbenchError
from workbench.flows.list_history import PREFIX

from tests.flows import population
from tests.flows.institutions import Institutions

PURPOSE = "investor-education"
DAY_MS = 86_400_000


def test_a_partner_runs_only_so_many_attempts_at_once_and_the_next_one_can_run_later(three: Institutions) -> None:
    """Each costs memory and threads; without a limit one partner decides how much."""
    broker, bank = three.nodes["broker"], three.nodes["bank"]
    three.wait_until(lambda: not bank.flow._running)  # the thread of another test's attempt may be leaving still
    bank.settings._values["intersection.parallel_attempts"] = 1
    jobs = [three.propose("broker", "bank", PURPOSE) for _ in range(2)]
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        leave.wait(20)

    three.wire.before("bank", "points", hold, job=jobs[0])
    try:
        three.approve("bank", jobs[0])
        assert inside.wait(90)
        three.approve("bank", jobs[1])
        refused = three.wait("broker", jobs[1], "ABORTED")
        assert refused.error["code"] == "TOO_MANY_ATTEMPTS"
        assert bank.jobs.get(jobs[1]).state == "APPROVED"
        leave.set()
        three.both("broker", "bank", jobs[0], "RELEASED")
        # Our own side keeps to its limit as well.
        broker.settings._values["intersection.parallel_attempts"] = 0
        with pytest.raises(WorkbenchError, match="TOO_MANY_ATTEMPTS"):
            three.call("broker", Role.MARKETING, "intersection.run", job=jobs[1])
    finally:
        leave.set()
        for node in (broker, bank):
            node.settings._values.pop("intersection.parallel_attempts", None)
    three.call("broker", Role.MARKETING, "intersection.run", job=jobs[1])
    three.both("broker", "bank", jobs[1], "RELEASED")


def test_bytes_that_wait_are_counted_partner_by_partner() -> None:
    waiting = WaitingBytes(lambda: 100)
    assert waiting.take("bank", 60, timeout_s=0) and not waiting.take("bank", 60, timeout_s=0)
    assert waiting.take("cardnet", 60, timeout_s=0), "nobody fills another one's share"
    waiting.give("bank", 60)
    assert waiting.take("bank", 500, timeout_s=0), "a single frame passes, or nothing ever would"
    assert not waiting.take("bank", 1, timeout_s=0)
    freed = threading.Timer(0.05, lambda: waiting.give("bank", 500))
    freed.start()
    assert waiting.take("bank", 100, timeout_s=10)
    freed.join()


def test_nothing_waits_any_more_once_a_job_has_ended_however_small_the_share(three: Institutions) -> None:
    for node in (three.nodes["broker"], three.nodes["bank"]):
        node.settings._values["node.max_queued_bytes"] = 2
    try:
        three.run("broker", "bank", PURPOSE)
        cancelled = three.propose("broker", "bank", PURPOSE)
        three.wire.on("bank", "reply", lambda body: None, job=cancelled)
        three.approve("bank", cancelled)
        three.both("broker", "bank", cancelled, "ABORTED")
    finally:
        for node in (three.nodes["broker"], three.nodes["bank"]):
            del node.settings._values["node.max_queued_bytes"]
    for party, other in (("broker", "bank"), ("bank", "broker")):
        flow = three.nodes[party].flow
        three.wait_until(lambda flow=flow, other=other: flow._waiting.used(other) == 0)


def test_a_rule_that_fits_a_handful_tells_nothing_and_is_recorded(three: Institutions) -> None:
    """Otherwise one person after the other could be asked about: has this one consented?"""
    node = three.nodes["broker"]
    list_id = node.lists.newest().list_id
    direction = {"partner": "bank", "purpose": population.RICH}

    def size(rule: str) -> Any:
        return three.call("broker", Role.MARKETING, "lists.audience", list_id=list_id, rule=rule)

    everybody = size("")
    tier = min(everybody.tags["资产档"])
    node.settings._values["intersection.minimum_crowd"] = everybody.total - 1
    recorded = len(three.entries("broker", kind="action.refused"))
    try:
        with pytest.raises(WorkbenchError) as refused:
            three.call("broker", Role.MARKETING, "intersection.preview", audience=f"资产档 = {tier}", **direction)
        assert refused.value.code == "NARROW_AUDIENCE"
        assert three.entries("broker", kind="action.refused")[recorded].values["code"] == "NARROW_AUDIENCE"
        narrow = size(f"资产档 = {tier}")
        assert (narrow.size, narrow.is_below) == (everybody.total - 1, True)
        assert three.call("broker", Role.MARKETING, "intersection.preview", **direction).customers
        assert (size("").size, size("").is_below) == (everybody.total, False)
    finally:
        del node.settings._values["intersection.minimum_crowd"]


def test_sketches_of_used_lists_end_with_their_time(three: Institutions) -> None:
    node = three.nodes["broker"]
    job = three.run("broker", "bank", PURPOSE)[0].job

    def sketches() -> list[str]:
        with node.store.read() as reader:
            return [name for name in node.vault.names(reader, PREFIX) if job in name]

    assert len(sketches()) == 1
    history, clock = node.flow.agreement.history, node.now_ms
    assert history.forget_old() == 0
    new = history.sketch(node.lists.frame(node.lists.newest().list_id)["phone"])

    def nearest() -> list[str]:
        return [one.job for one in history.near_duplicates(new, job="", partner="bank", purpose=PURPOSE)]

    assert job in nearest()
    node.now_ms = lambda: clock() + 181 * DAY_MS
    try:
        assert job not in nearest(), "not even before they are swept"
        node.flow._swept_ms = 0
        node.flow.expire()
        assert sketches() == []
    finally:
        node.now_ms, node.flow._swept_ms = clock, clock()
