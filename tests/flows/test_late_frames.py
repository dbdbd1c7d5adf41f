"""A frame of an attempt that is over: the partner hears just that, whichever side it is on."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from workbench.domain.party import PartyId, Role
from workbench.errors import WorkbenchError

from tests.flows.institutions import Institutions

PURPOSE = "investor-education"


@pytest.mark.parametrize(("ended_by", "sender", "kind"), [("broker", "bank", "reply"), ("bank", "broker", "reply")])
def test_a_frame_that_arrives_after_the_end_says_that_the_attempt_is_over(
    three: Institutions, ended_by: str, sender: str, kind: str
) -> None:
    """It was NO_JOB or NOT_NOW, by the side it arrived at: the sender's staff read that the job does not exist."""
    job = three.propose("broker", "bank", PURPOSE)
    three.wire.on(ended_by, "stopped", lambda body: None, job=job)  # its notice is slower than the frame
    told_stranger: list[str] = []

    def ask_as_stranger(party: str) -> None:
        with pytest.raises(WorkbenchError) as refused:
            three.nodes[party].flow.on_attempt_frame(PartyId("cardnet"), job, 1, b"")
        told_stranger.append(refused.value.code)

    def end_first() -> None:
        node = three.nodes[ended_by]
        talk = node.flow._running[job]
        ask_as_stranger(ended_by)
        talk.end(WorkbenchError("磁盘已满", "the disk is full", code="STORAGE_FAILED"))
        three.wait_until(lambda: job not in node.flow._running)

    three.wire.before(sender, kind, end_first, job=job)
    three.approve("bank", job)
    found = dict(zip(("broker", "bank"), three.both("broker", "bank", job, "ABORTED"), strict=True))
    assert found[ended_by].error["code"] == "STORAGE_FAILED"
    assert found[sender].error["code"] == "STOPPED_BY_PARTNER"
    refusals = [one.values for one in three.entries(ended_by, kind="peer.refused") if one.values["peer"] == sender]
    assert refusals[-1]["code"] == "ATTEMPT_OVER"
    # A stranger to the job learns nothing of it, neither while it runs nor afterwards.
    ask_as_stranger("broker")
    assert told_stranger == ["NO_JOB", "NO_JOB"]


@pytest.mark.parametrize("slow", ["broker", "bank"])
def test_an_attempt_may_begin_as_soon_as_the_end_of_the_one_before_is_recorded(three: Institutions, slow: str) -> None:
    """Its thread may still be leaving: staff were refused NOT_NOW for a job that they saw ended, or the partner was."""
    job = three.propose("broker", "bank", PURPOSE)
    endings = three.nodes[slow].flow._endings
    settle, recorded, leave = endings.settle, threading.Event(), threading.Event()

    def slowly(*arguments: Any) -> None:
        settle(*arguments)
        recorded.set()
        leave.wait(60)

    endings.settle = slowly  # type: ignore[method-assign]
    again = threading.Timer(0.3, leave.set)
    try:
        three.wire.on("bank", "reply", lambda body: None, job=job)
        three.approve("bank", job)
        three.both("broker", "bank", job, "ABORTED")
        three.wire.mend()
        assert recorded.wait(60) and job in three.nodes[slow].flow._running
        again.start()
        three.call("broker", Role.MARKETING, "intersection.run", job=job)
        assert leave.is_set() or slow == "bank"
        three.both("broker", "bank", job, "RELEASED")
    finally:
        leave.set()
        del endings.settle
        again.cancel()
