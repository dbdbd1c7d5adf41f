"""A partner that keeps back its release entry or its co-signature: the list waits for a day, then it is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from workbench.contracts import PeerCall
from workbench.domain.party import Role
from workbench.errors import WorkbenchError
from workbench.flows.release import SETTLING_MS

from tests.flows.evidence import MIRRORING
from tests.flows.institutions import Institutions

HOUR_MS = 3_600_000
PURPOSE = "investor-education"


def later(node: Any, ms: int) -> None:
    """Set this node's recorded clock ahead of the machine's."""
    now = node.now_ms
    node.now_ms = lambda: now() + ms


@contextmanager
def ahead(three: Institutions, hours: int) -> Iterator[None]:
    """Both clocks ahead, so that the two still talk; the bank is more patient than the broker."""
    nodes = [three.nodes["broker"], three.nodes["bank"]]
    clocks = [node.now_ms for node in nodes]
    patience = nodes[1].settings._values
    patience["intersection.seal_hours"] = 1000.0
    try:
        for node in reversed(nodes):
            later(node, hours * HOUR_MS)
        yield
    finally:
        for node, clock in zip(nodes, clocks, strict=True):
            node.now_ms = clock
        del patience["intersection.seal_hours"]


def no_notice(call: PeerCall, to: str, header: Any) -> bytes | None:
    return None if header is not None and (call.peer, header.kind) == ("bank", "released") else call.body


def no_cosignature(call: PeerCall, to: str, header: Any) -> bytes | None:
    return None if call.path in MIRRORING and {call.peer, to} == {"broker", "bank"} else call.body


def staged(three: Institutions, party: str, job: str) -> list[str]:
    node = three.nodes[party]
    with node.store.read() as reader:
        return list(node.vault.names(reader, f"result/{job}"))


def is_given_up(three: Institutions, job: str, missing: str) -> None:
    """DISPUTED on our side for good: no list, no export, an entry, and a sentence that says who must do what."""
    found = three.wait("broker", job, "DISPUTED")
    assert found.error["code"] == "SEAL_OVERDUE" and found.error["details"] == {"missing": missing}
    assert "bank 合规岗" in found.error["zh"] and "compliance of bank" in found.error["en"]
    assert not staged(three, "broker", job) and found.result == {}
    ended = three.entries("broker", job, "intersection.ended")[-1]
    assert (ended.values["state"], ended.values["code"]) == ("DISPUTED", "SEAL_OVERDUE")
    for operation in ("intersection.export", "intersection.result"):
        with pytest.raises(WorkbenchError, match="NOT_RELEASED"):
            three.call("broker", Role.MARKETING, operation, job=job)
    with pytest.raises(WorkbenchError, match="NOT_NOW"):
        three.call("broker", Role.MARKETING, "intersection.run", job=job)


def test_a_release_notice_that_never_comes_ends_the_wait_and_coming_late_changes_nothing(three: Institutions) -> None:
    three.wire.rules.append(no_notice)
    job = three.propose("broker", "bank", PURPOSE)
    three.approve("bank", job)
    broker = three.nodes["broker"]
    three.wait("broker", job, "SEALING")
    three.wait("bank", job, "RELEASED")
    with ahead(three, 23):
        broker.flow.complete_seals()
        assert broker.jobs.get(job).state == "SEALING" and staged(three, "broker", job), "a day has not passed"
    with ahead(three, 25):
        is_given_up(three, job, "release-entry")
        three.wait_until(lambda: not broker.negotiations._outbox.waiting())
    three.wire.mend()
    bank = three.nodes["bank"]
    bank.negotiations.send_now("broker", job, "released", place_of(bank, job))
    broker.flow.complete_seals()
    is_given_up(three, job, "release-entry")


def place_of(node: Any, job: str) -> dict[str, str]:
    found = node.jobs.get(job)
    return {"index": str(found.result["own_index"]), "leaf": found.result["own_leaf"], "attempt": str(found.attempt)}


def test_a_co_signature_that_never_comes_is_measured_over_a_restart_and_voids_both_sides(apart: Institutions) -> None:
    apart.wire.rules.append(no_cosignature)
    job = apart.propose("broker", "bank", PURPOSE)
    apart.approve("bank", job)
    apart.both("broker", "bank", job, "SEALING")
    # A partner that talks on does not prolong the wait.
    bank = apart.nodes["bank"]
    bank.negotiations.send_now("broker", job, "released", place_of(bank, job))
    apart.stop("broker")
    clock = bank.now_ms
    broker = apart.start("broker", now_ms=lambda: clock() + 25 * HOUR_MS)
    broker.flow.complete_seals()
    assert broker.jobs.get(job).state == "SEALING", "after a day off, the partner gets a moment to deliver"
    later(broker, SETTLING_MS + 1)
    bank.now_ms, bank.settings._values["intersection.seal_hours"] = broker.now_ms, 1000.0  # more patient than we are
    is_given_up(apart, job, "co-signature")
    theirs = apart.wait("bank", job, "DISPUTED")
    assert theirs.error["details"] == {"statement": "by partner"}
    assert not staged(apart, "bank", job)


def test_a_log_that_is_kept_back_is_missed_as_such(three: Institutions) -> None:
    """The partner signs ours and names its entry, but its log never arrives: the entry could say anything."""

    def ours_only(call: PeerCall, to: str, header: Any) -> bytes | None:
        is_its_log = (call.path, call.peer, to) in {("mirror", "bank", "broker"), ("pull", "broker", "bank")}
        return None if is_its_log else call.body

    three.wire.rules.append(ours_only)
    job = three.propose("broker", "bank", PURPOSE)
    three.approve("bank", job)
    broker = three.nodes["broker"]
    three.wait("broker", job, "SEALING")
    three.wait_until(lambda: broker.sealing.missing(broker.jobs.get(job)) == "mirror")
    with ahead(three, 25):
        is_given_up(three, job, "mirror")
        three.wait("bank", job, "DISPUTED")
