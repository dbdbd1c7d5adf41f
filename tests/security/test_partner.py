"""A partner that may connect and sign, and changes its program: what it can make this node do, believe or write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from workbench.errors import PeerError
from workbench.flows.jobs import NEXT_STATES

from tests.flows import population
from tests.flows.institutions import Institutions

PURPOSE = "investor-education"


def answers(code: str) -> Callable[[bytes], bytes | None]:
    """The reply of a partner that refuses a frame with a code of its choice, as a channel hands it on."""

    def refuse(body: bytes) -> bytes | None:
        raise PeerError("对方拒绝了请求", "the partner refused the request", code=code)

    return refuse


@pytest.mark.parametrize("code", ["REFUSED_SMALL", "DISPUTED", "CANCELLED", "STOPPED_BY_PARTNER", "ABORTED_AFTER_REVEAL"])
@pytest.mark.parametrize(("kind", "nth"), [("slice", 64), ("drop-commit", 1)])
def test_a_partner_that_has_seen_the_customers_cannot_pass_its_stop_off_as_a_small_crowd(
    three: Institutions, kind: str, nth: int, code: str
) -> None:
    """Otherwise its refusal would leave "nothing was revealed" in our log, or a job that never ends."""
    job = three.propose("broker", "bank", PURPOSE)
    three.wire.on("broker", kind, answers(code), job=job, nth=nth)
    three.approve("bank", job)
    mine = three.wait("broker", job, "ABORTED_AFTER_REVEAL", timeout_s=30)
    assert mine.error["details"]["partner_learned_at_most"] == str(len(population.expected("broker", "bank", PURPOSE)))
    assert "intersection.refused_small" not in three.kinds("broker", job)
    ended = three.entries("broker", job, "intersection.ended")[-1]
    assert (ended.values["state"], ended.values["code"]) == ("ABORTED_AFTER_REVEAL", "ABORTED_AFTER_REVEAL")
    three.wait("bank", job, "ABORTED_AFTER_REVEAL")


@pytest.mark.parametrize("code", ["REFUSED_SMALL", "DISPUTED", "ABORTED_AFTER_REVEAL", "CANCELLED"])
def test_a_code_in_a_partners_reply_never_chooses_the_state_of_our_job(three: Institutions, code: str) -> None:
    job = three.propose("broker", "bank", PURPOSE)
    three.wire.on("broker", "reply-commit", answers(code), job=job)
    three.approve("bank", job)
    mine = three.wait("broker", job, "ABORTED", timeout_s=30)
    assert mine.error["code"] == "PEER_FAILED"
    three.wait("bank", job, "ABORTED")


def test_an_ending_that_the_table_does_not_allow_still_ends_the_job(three: Institutions, monkeypatch: Any) -> None:
    """Whatever mistake leads to it: a job without a thread must not stay RUNNING or REVEALING for ever."""
    from workbench.domain.intersection import JobState
    from workbench.flows import intersection

    first = iter([JobState.RELEASED])
    real = intersection._ending
    assert JobState.RELEASED not in NEXT_STATES[JobState.REVEALING]
    job = three.propose("broker", "bank", PURPOSE)

    def wrong(current: JobState, failure: Any) -> JobState:
        return next(first, None) or real(current, failure)

    def break_off(body: bytes) -> None:
        monkeypatch.setattr(intersection, "_ending", wrong)

    three.wire.on("broker", "slice", break_off, job=job, nth=10)
    three.approve("bank", job)
    assert three.wait("broker", job, "ABORTED_AFTER_REVEAL", timeout_s=30)
    assert three.wait("bank", job, "ABORTED_AFTER_REVEAL")


def test_nobody_else_learns_how_many_customers_two_institutions_have_in_common(three: Institutions) -> None:
    """The third institution mirrors every envelope; a size of a slice is a number of customers times 20 bytes."""
    job = three.propose("broker", "bank", PURPOSE)
    three.approve("bank", job)
    three.both("broker", "bank", job, "RELEASED")
    from workbench.domain.envelope import parse_envelope

    ledger = three.nodes["broker"].ledger
    bodies = ledger.entry_bodies(three.nodes["broker"].party, 0, ledger.size(three.nodes["broker"].party))
    frames = [one for one in map(parse_envelope, bodies) if one.job == job and one.kind == "intersection.message"]
    assert len([one for one in frames if one.shared["message"] == "slice"]) == 128
    assert all("size" not in one.shared and "size" in one.committed for one in frames)
    sizes = {one.values["size"] for one in three.entries("broker", job, "intersection.message")}
    assert len(sizes) > 5, "this institution itself can still read them"
