"""Cancelled, cut off, restarted: every job ends in a state of its table, on both sides, and can be run again where it may."""

from __future__ import annotations

import dataclasses
import hashlib
import sqlite3
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from workbench.domain.intersection import FINAL_STATES, JobState
from workbench.domain.party import Role
from workbench.errors import StorageFailed, WorkbenchError
from workbench.flows.jobs import NEXT_STATES, RECOVERY
from workbench.verify import verify_receipt

from tests.flows import population
from tests.flows.evidence import no_sealing
from tests.flows.institutions import Institutions, header_of

AFTER_REVEAL = ["slice", "drop", "grants", "result-commit", "result"]


def nothing_is_left(three: Institutions, party: str, job: str) -> None:
    """No row of a result, no running thread, no open attempt."""
    node = three.nodes[party]
    three.wait_until(lambda: job not in node.flow._running)
    assert node.jobs.get(job).result == {}
    with node.store.read() as reader:
        assert not node.vault.names(reader, f"result/{job}")
        attempts = reader.execute("SELECT state, ended_ms FROM host_attempt WHERE job = ?", (job,)).fetchall()
    assert all(row["ended_ms"] and row["state"] != "RUNNING" for row in attempts)
    with pytest.raises(WorkbenchError, match="NOT_RELEASED"):
        three.call(party, Role.MARKETING, "intersection.result", job=job)


def run_again(three: Institutions, job: str) -> tuple[Any, Any]:
    assert three.call("broker", Role.MARKETING, "intersection.job", job=job).can_run_again
    three.call("broker", Role.MARKETING, "intersection.run", job=job)
    return three.both("broker", "bank", job, "RELEASED")


def offers(three: Institutions, party: str, job: str) -> list[str]:
    return [one.values["commitment_root"] for one in three.entries(party, job, "intersection.attempt_started")]


# ------------------------------------------------------------------------------------------------ the partner is cut off


@pytest.mark.parametrize(
    ("sender", "kind", "again"),
    [
        ("broker", "attempt", True),
        ("bank", "offer", False),
        ("broker", "contract", False),
        ("bank", "points", True),
        ("broker", "reply", False),
        ("bank", "count", False),
        ("broker", "strike", True),
        ("bank", "remaining", False),
        ("broker", "positions", False),
        ("bank", "slice", True),
        ("broker", "slice", False),
        ("broker", "drop", False),
        ("bank", "grants", False),
        ("broker", "result-commit", False),
        ("bank", "result", True),
        ("broker", "result", True),
    ],
)
def test_a_link_that_breaks_ends_the_attempt_on_both_sides_and_it_runs_again(
    three: Institutions, sender: str, kind: str, again: bool
) -> None:
    job = three.propose("broker", "bank", "investor-education")
    other = "bank" if sender == "broker" else "broker"
    three.wire.on(sender, kind, lambda body: three.wire.cut("broker"), job=job, nth=33 if kind == "slice" else 1)
    three.approve("bank", job)
    state = "ABORTED_AFTER_REVEAL" if kind in AFTER_REVEAL else "ABORTED"
    found = [three.wait(sender, job, state)]
    three.wire.mend()
    if kind == "attempt":
        assert three.nodes["bank"].jobs.get(job).state == "APPROVED", "the partner never heard of the attempt"
        nothing_is_left(three, "broker", job)
    else:
        found.append(three.wait(other, job, state))
        for party in ("broker", "bank"):
            nothing_is_left(three, party, job)
            ended = three.entries(party, job, "intersection.ended")[-1]
            assert ended.values["state"] == state and ended.values["attempt"] == "1"
        codes = {one.error["code"] for one in found}
        # A side that had released, and voided it because the other had not, says that the partner stopped.
        assert codes <= {state if state != "ABORTED" else "PEER_UNAVAILABLE", "STOPPED_BY_PARTNER"}
        assert found[0].error["code"] != "STOPPED_BY_PARTNER"
    if not again:
        return
    mine, theirs = run_again(three, job)
    assert three.released_phones("broker", job) == population.expected("broker", "bank", "investor-education")
    assert three.released_phones("bank", job) == three.released_phones("broker", job)
    assert mine.attempt == theirs.attempt == 2 and mine.error == {}
    for party in ("broker", "bank"):
        made = offers(three, party, job)
        assert len(set(made)) == len(made), "a new attempt takes fresh secrets"


def test_what_each_side_may_have_learned_is_said_after_a_stop_in_the_reveal(three: Institutions) -> None:
    job = three.propose("broker", "bank", "investor-education")
    three.wire.on("bank", "slice", lambda body: None, job=job, nth=20)
    three.approve("bank", job)
    mine, theirs = three.both("broker", "bank", job, "ABORTED_AFTER_REVEAL")
    assert mine.error["details"]["slices_received"] == "19" and mine.error["details"]["slices_sent"] == "20"
    own, other = int(mine.error["details"]["own_learned"]), int(mine.error["details"]["partner_learned_at_most"])
    assert own <= other <= own + 2, "one slice of 98 customers in 64 holds at most two"
    assert theirs.error["details"]["slices_received"] == "20"


# ------------------------------------------------------------------------------------------------- somebody cancels


@pytest.mark.parametrize(
    ("party", "kind"), [("broker", "points"), ("bank", "count"), ("broker", "slice"), ("bank", "slice")]
)
def test_either_side_can_cancel_a_running_attempt(three: Institutions, kind: str, party: str) -> None:
    job = three.propose("broker", "bank", "investor-education")
    role = Role.MARKETING if party == "broker" else Role.COMPLIANCE

    def cancel() -> None:
        three.call(party, role, "intersection.cancel", job=job)

    three.wire.before(party, kind, cancel, job=job)
    three.approve("bank", job)
    states = ("ABORTED_AFTER_REVEAL",) if kind == "slice" else ("CANCELLED", "ABORTED")
    found = dict(zip(("broker", "bank"), three.both("broker", "bank", job, *states), strict=True))
    assert found[party].state == states[0]
    ended = three.entries(party, job, "intersection.ended")[-1]
    assert ended.actor == three.caller(party, role).person.token, "who cancelled is in the evidence"
    for name in ("broker", "bank"):
        nothing_is_left(three, name, job)


@pytest.mark.parametrize(("party", "mine", "theirs"), [("broker", "WITHDRAWN", "WITHDRAWN"), ("bank", "CANCELLED", "CANCELLED")])
def test_either_side_can_stop_a_proposal(three: Institutions, party: str, mine: str, theirs: str) -> None:
    job = three.propose("broker", "bank", "investor-education")
    three.call(party, Role.MARKETING, "intersection.cancel", job=job)
    other = "bank" if party == "broker" else "broker"
    assert three.wait(party, job, mine) and three.wait(other, job, theirs)
    with pytest.raises(WorkbenchError, match="NOT_NOW"):
        three.approve("bank", job)
    with pytest.raises(WorkbenchError, match="NOT_NOW"):
        three.call(party, Role.MARKETING, "intersection.cancel", job=job)


# ------------------------------------------------------------------------------- down at proposal, approval and delivery


def newest_job(three: Institutions) -> Any:
    """The job that the broker proposed last."""
    return max(three.nodes["broker"].jobs.all(), key=lambda job: job.created_ms)


def test_a_partner_that_is_down_gets_no_proposal_and_none_later(three: Institutions) -> None:
    three.wire.cut("bank")
    with pytest.raises(WorkbenchError, match="PEER_UNAVAILABLE"):
        three.propose("broker", "bank", "investor-education")
    three.wire.mend()
    job = newest_job(three)
    assert job.state == "ABORTED" and job.error["code"] == "PEER_UNAVAILABLE"
    assert not three.call("broker", Role.MARKETING, "intersection.job", job=job.job).can_run_again
    three.wait_until(lambda: not three.nodes["broker"].negotiations._outbox.waiting())
    with pytest.raises(WorkbenchError, match="NO_JOB"):
        three.nodes["bank"].jobs.get(job.job)


def test_a_proposal_whose_acknowledgement_was_lost_is_taken_back(three: Institutions) -> None:
    real = three.links["broker"].call

    def loses_the_reply(party: Any, path: str, body: bytes, *, timeout_s: float) -> bytes:
        reply = real(party, path, body, timeout_s=timeout_s)
        if path != "message":  # mirrors and heartbeats come in between
            return reply
        three.links["broker"].call = real  # type: ignore[method-assign]  # once
        raise StorageFailed("答复丢失", "the reply was lost")

    three.links["broker"].call = loses_the_reply  # type: ignore[method-assign]  # the reply is lost, not the request
    with pytest.raises(WorkbenchError, match="STORAGE_FAILED"):
        three.propose("broker", "bank", "investor-education")
    job = newest_job(three).job
    three.wait("broker", job, "ABORTED")
    three.wait("bank", job, "WITHDRAWN")


def test_an_approval_waits_for_a_partner_that_is_down_and_repeats_change_nothing(three: Institutions) -> None:
    """Outbox: delivered until acknowledged; a delivery whose acknowledgement got lost comes twice."""
    job = three.propose("broker", "bank", "investor-education")
    real, delivered = three.links["bank"].call, []

    def unreliable(party: Any, path: str, body: bytes, *, timeout_s: float) -> bytes:
        is_approval = path == "message" and header_of(body).kind == "approval"
        if is_approval and not delivered:
            delivered.append("lost")
            raise WorkbenchError("连不上", "cannot be reached", code="PEER_UNAVAILABLE")
        reply = real(party, path, body, timeout_s=timeout_s)
        if is_approval and len(delivered) < 2:
            delivered.append("taken, but the reply is lost")
            raise WorkbenchError("连不上", "cannot be reached", code="PEER_UNAVAILABLE")
        return reply

    three.links["bank"].call = unreliable  # type: ignore[method-assign]  # loses a request, then a reply
    three.approve("bank", job)
    three.both("broker", "bank", job, "RELEASED")
    three.links["bank"].call = real  # type: ignore[method-assign]
    three.wait_until(lambda: not three.nodes["bank"].negotiations._outbox.waiting())
    kinds = three.kinds("broker", job)
    assert kinds.count("intersection.approval_received") == 1 == kinds.count("intersection.attempt_started")
    received = [e for e in three.entries("broker", job, "intersection.message") if e.values["message"] == "approval"]
    assert len(received) == 2, "every frame that arrived is an entry, also the repetition"


def test_an_approval_that_the_initiator_will_not_take_ends_the_job(three: Institutions) -> None:
    """The initiator has withdrawn, and the notice is still on its way when the approval arrives."""
    job = three.propose("broker", "bank", "investor-education")
    arrived: list[bytes] = []

    def slower(call: Any, to: Any, header: Any) -> Any:  # it is sent again every other second, until then in vain
        return None if header is not None and (header.job, header.kind) == (job, "stopped") and not arrived else call.body

    three.wire.rules.append(slower)
    three.wire.on("bank", "approval", lambda body: arrived.append(body) or body, job=job)
    three.call("broker", Role.MARKETING, "intersection.cancel", job=job)
    three.approve("bank", job)
    three.wait("bank", job, "WITHDRAWN")
    assert arrived
    three.wait("broker", job, "WITHDRAWN")
    assert "intersection.attempt_started" not in three.kinds("broker", job)


def test_terms_changed_by_the_partner_are_not_adopted(three: Institutions) -> None:
    job = three.propose("broker", "bank", "investor-education")
    bank = three.nodes["bank"]
    terms = bank.jobs.get(job).terms.as_json()
    for change in ({"minimum_crowd": "1"}, {"purpose": population.RICH}, {"valid_until_ms": "9" * 14}, {"key_kind": "id_no"}):
        with pytest.raises(WorkbenchError, match="TERMS_CHANGED"):
            bank.negotiations.send_now("broker", job, "approval", {**terms, **change})
    with pytest.raises(WorkbenchError, match="NO_JOB"):
        three.nodes["cardnet"].negotiations.send_now("broker", job, "approval", terms)
    assert three.nodes["broker"].jobs.get(job).state == "PROPOSED"
    assert three.nodes["broker"].jobs.get(job).terms.as_json() == terms
    three.call("broker", Role.MARKETING, "intersection.cancel", job=job)


def test_a_start_that_our_own_rules_refuse_is_shown_and_can_be_repeated(three: Institutions) -> None:
    """The approval is taken; only our budget says no."""
    node = three.nodes["broker"]
    job = three.propose("broker", "bank", "investor-education")
    node.settings._values["intersection.attempts_per_period"] = 0
    three.approve("bank", job)
    three.wait_until(lambda: node.jobs.get(job).error.get("code") == "BUDGET_SPENT")
    assert node.jobs.get(job).state == "APPROVED"
    assert three.entries("broker", job, "action.refused")[0].values["code"] == "BUDGET_SPENT"
    del node.settings._values["intersection.attempts_per_period"]
    run_again(three, job)


# ------------------------------------------------------------------------------------------ one side released, one not


@pytest.mark.parametrize("sender", ["broker", "bank"])
def test_a_release_that_the_partner_never_reached_is_voided(three: Institutions, sender: str) -> None:
    """The last message is lost: its sender waits for an acknowledgement, its receiver for the message. Whoever had
    released learns from the notice that the other has not, and shreds the list."""
    job = three.propose("broker", "bank", "investor-education")
    real = three.links[sender].call

    def taken_but_unanswered(party: Any, path: str, body: bytes, *, timeout_s: float) -> bytes:
        reply = real(party, path, body, timeout_s=timeout_s)
        if path == "message" and header_of(body).kind == "result" and header_of(body).job == job:
            raise WorkbenchError("没有回应", "no answer", code="PEER_UNAVAILABLE")
        return reply

    three.links[sender].call = taken_but_unanswered  # type: ignore[method-assign]  # the partner has it, we do not know
    three.approve("bank", job)
    three.both("broker", "bank", job, "ABORTED_AFTER_REVEAL")
    three.links[sender].call = real  # type: ignore[method-assign]
    for party in ("broker", "bank"):
        nothing_is_left(three, party, job)
    mine, theirs = run_again(three, job)
    assert three.released_phones("broker", job) == three.released_phones("bank", job)
    assert mine.result["partner_leaf"] == theirs.result["own_leaf"]


def test_a_notice_of_release_that_comes_before_the_own_release_is_kept(three: Institutions) -> None:
    job = three.propose("broker", "bank", "investor-education")
    bank = three.nodes["bank"]
    release = bank.flow.releases.release

    def late(*arguments: Any) -> None:
        three.wait_until(lambda: "partner_leaf" in bank.jobs.get(job).result)
        release(*arguments)

    bank.flow.releases.release = late  # type: ignore[method-assign]  # slower than the partner
    try:
        three.approve("bank", job)
        three.both("broker", "bank", job, "RELEASED")
    finally:
        del bank.flow.releases.release


def test_a_release_entry_that_is_another_entry_makes_the_job_disputed(three: Institutions) -> None:
    """The partner names an entry of its log that does not release this result: nobody may export."""
    job = three.propose("broker", "bank", "investor-education")
    bank = three.nodes["bank"]
    queue = bank.flow.releases.queue_notice

    def lies(tx: Any, found: Any) -> None:
        body = bank.ledger.entry_bodies(bank.party, 0, 1)[0]

        false = {**found.result, "own_index": 0, "own_leaf": hashlib.sha256(b"\0" + body).hexdigest()}

        queue(tx, dataclasses.replace(found, result=false))

    bank.flow.releases.queue_notice = lies  # type: ignore[method-assign]  # a partner that changed its program
    try:
        three.approve("bank", job)
        mine = three.wait("broker", job, "DISPUTED")
    finally:
        del bank.flow.releases.queue_notice
    assert mine.error["details"] == {"statement": "release"}
    nothing_is_left(three, "broker", job)
    with pytest.raises(WorkbenchError, match="NOT_NOW"):
        three.call("broker", Role.MARKETING, "intersection.run", job=job)


def test_differing_results_are_disputed_on_both_sides(three: Institutions) -> None:
    """A partner whose program opens another result digest: both end DISPUTED, nothing is exported, nothing runs again."""
    import workbench_psi.commitment as commitment

    job = three.propose("broker", "bank", "investor-education")
    true_digests = commitment.result_digests

    def falsified(key: bytes, parties: Sequence[str], contract: bytes, names: Sequence[bytes]) -> list[bytes]:
        if threading.current_thread().name.startswith(job) and _is_thread_of(three, "bank", job):
            names = names[1:]
        return true_digests(key, parties, contract, names)

    commitment.result_digests = falsified  # type: ignore[assignment]  # a program that was changed
    try:
        three.approve("bank", job)
        found = three.both("broker", "bank", job, "DISPUTED")
    finally:
        commitment.result_digests = true_digests
    for party, one in zip(("broker", "bank"), found, strict=True):
        assert one.error["code"] == "DISPUTED"
        assert three.entries(party, job, "intersection.ended")[-1].values["state"] == "DISPUTED"
        nothing_is_left(three, party, job)
        with pytest.raises(WorkbenchError, match="NOT_RELEASED"):
            three.call(party, Role.MARKETING, "intersection.export", job=job)


def _is_thread_of(three: Institutions, party: str, job: str) -> bool:
    return three.nodes[party].flow._threads.get(job) is threading.current_thread()


# --------------------------------------------------------------------------------------------------------- restarts


def test_every_state_has_a_way_out_or_is_final() -> None:
    for state in JobState:
        if state is JobState.DRAFT:
            continue
        assert state in FINAL_STATES or (state in NEXT_STATES and state in RECOVERY), state
        recovered = RECOVERY.get(state)
        assert recovered is None or recovered in NEXT_STATES[state]


@pytest.mark.parametrize("party", ["broker", "bank"])
def test_a_restart_makes_of_every_open_state_what_the_table_says(apart: Institutions, party: str) -> None:
    jobs = {state: apart.propose("broker", "bank", "investor-education") for state in RECOVERY}
    apart.wire.cut("broker")
    apart.stop(party)
    path = apart.workspace.node_folder(party) / "evidence.db"
    with sqlite3.connect(path) as rows:
        for state, job in jobs.items():
            attempt = int(state not in (JobState.PROPOSED, JobState.APPROVED))
            place = '{"own_index": 1, "own_leaf": "' + "0" * 64 + '"}' if state is JobState.SEALING else "{}"
            rows.execute(
                "UPDATE host_job SET state = ?, attempt = ?, result = ? WHERE job = ?", (state, attempt, place, job)
            )
            if attempt:
                rows.execute(
                    "INSERT INTO host_attempt(job, attempt, started_ms, state, partner, purpose)"
                    " VALUES (?, 1, 1, 'RUNNING', 'bank', 'investor-education')",
                    (job,),
                )
    node = apart.start(party)
    for state, job in jobs.items():
        found = node.jobs.get(job)
        assert found.state == (RECOVERY[state] or state)
        ended = apart.entries(party, job, "intersection.ended")
        if RECOVERY[state] is None:
            assert not ended
            continue
        assert ended[-1].values["state"] == RECOVERY[state] and found.error["code"] == "NODE_STOPPED"
        assert "node.recovered" in apart.kinds(party, job)
        nothing_is_left(apart, party, job)
        told = [item for item in node.negotiations._outbox.due(2**62) if job.encode() in item.body]
        assert [b"stopped" in item.body for item in told] == [True], "the partner hears of it when it can be reached"
    released = [item for item in node.negotiations._outbox.due(2**62) if jobs[JobState.SEALING].encode() in item.body]
    assert [b"released" in item.body for item in released] == [True]


@pytest.mark.parametrize(("party", "kind"), [("bank", "points"), ("broker", "points"), ("bank", "slice")])
def test_a_node_stopped_in_mid_run_goes_on_as_a_new_attempt_after_its_restart(
    three: Institutions, kind: str, party: str
) -> None:
    job = three.propose("broker", "bank", "investor-education")
    stopped = threading.Event()

    def stop() -> None:
        threading.Thread(target=lambda: (three.stop(party), stopped.set())).start()
        three.wait_until(lambda: party not in three.nodes)

    three.wire.before("broker" if party == "bank" else "bank", kind, stop, job=job)
    three.approve("bank", job)
    assert stopped.wait(60)
    three.start(party)
    states = ("ABORTED_AFTER_REVEAL",) if kind == "slice" else ("ABORTED",)
    mine, theirs = three.both("broker", "bank", job, *states)
    for name in ("broker", "bank"):
        nothing_is_left(three, name, job)
    mine, theirs = run_again(three, job)
    assert mine.attempt == theirs.attempt == 2
    assert three.released_phones("broker", job) == population.expected("broker", "bank", "investor-education")
    assert len(set(offers(three, "broker", job))) == 2


@pytest.mark.parametrize("party", ["broker", "bank"])
def test_an_interrupted_sealing_completes_after_a_restart(three: Institutions, party: str) -> None:
    """Both have released, but neither heard of it and nobody has co-signed: after the restart both become final."""
    job = three.propose("broker", "bank", "investor-education")
    three.wire.on("broker", "released", lambda body: None, job=job)
    three.wire.on("bank", "released", lambda body: None, job=job)
    three.wire.rules.append(no_sealing)
    three.approve("bank", job)
    three.both("broker", "bank", job, "SEALING")
    with pytest.raises(WorkbenchError, match="NOT_FINAL"):
        three.call("broker", Role.MARKETING, "intersection.export", job=job)
    with pytest.raises(WorkbenchError, match="NOT_NOW"):
        three.call("broker", Role.MARKETING, "intersection.cancel", job=job)
    three.stop(party)
    three.wire.mend()
    three.start(party)
    mine, theirs = three.both("broker", "bank", job, "RELEASED")
    assert mine.result["partner_leaf"] == theirs.result["own_leaf"]
    assert three.released_phones("broker", job) == three.released_phones("bank", job)
    for name in ("broker", "bank"):
        assert three.kinds(name, job).count("intersection.sealed") == 1


def test_sealing_needs_only_the_two_participants(three: Institutions) -> None:
    three.stop("cardnet")
    mine, _ = three.run("broker", "bank", "investor-education")
    receipt = three.call("broker", Role.COMPLIANCE, "evidence.receipt", job=mine.job)
    assert receipt.sealed == "2/3"
    three.start("cardnet")
    three.wait_until(lambda: three.call("broker", Role.COMPLIANCE, "evidence.receipt", job=mine.job).sealed == "3/3")


def test_a_receipt_is_not_called_final_by_co_signatures_that_came_after_it(three: Institutions, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, _ = three.run("broker", "bank", "investor-education")
    node = three.nodes["broker"]
    three.wire.rules.append(no_sealing)
    three.exported("broker", mine.job)
    exported = three.entries("broker", mine.job, "intersection.exported")[0].ref
    take = node.ledger.receipt

    def late(log: str, index: int, **rest: Any) -> Any:
        taken = take(log, index, **rest)
        if index == exported.index:
            three.wire.mend()
            three.wait_until(lambda: node.ledger.seal("broker", index).state == "FULL")
        return taken

    monkeypatch.setattr(node.ledger, "receipt", late)
    reply = three.call("broker", Role.COMPLIANCE, "evidence.receipt", job=mine.job)
    assert verify_receipt(reply.receipt, trust=node.trust_keys()).word == "NOT_FINAL"
    assert not reply.is_final
    monkeypatch.undo()
    assert three.call("broker", Role.COMPLIANCE, "evidence.receipt", job=mine.job).is_final


# ------------------------------------------------------------------------------------------- faults while ending


def test_an_ending_that_cannot_be_recorded_is_tried_until_it_is(three: Institutions) -> None:
    """A full disk at the wrong moment: the job does not stay RUNNING for ever."""
    job = three.propose("broker", "bank", "investor-education")
    node = three.nodes["broker"]
    append, refusals = node.evidence.append, []

    def sometimes(tx: Any, kind: str, values: Any, **rest: Any) -> Any:
        if kind == "intersection.ended" and rest.get("job") == job and len(refusals) < 2:
            refusals.append(kind)
            raise StorageFailed("磁盘已满", "the disk is full")
        return append(tx, kind, values, **rest)

    node.evidence.append = sometimes  # type: ignore[method-assign]  # a disk that has room again a little later
    try:
        three.wire.on("bank", "reply", lambda body: None, job=job)
        three.approve("bank", job)
        three.wait("broker", job, "ABORTED")
    finally:
        del node.evidence.append
    assert len(refusals) == 2
    three.wait("bank", job, "ABORTED")
    three.wire.mend()
    run_again(three, job)


def test_a_programming_mistake_in_the_engine_ends_the_attempt(three: Institutions) -> None:
    job = three.propose("broker", "bank", "investor-education")
    node = three.nodes["bank"]
    answer = node.flow.runs.answer

    def faulty(talk: Any, found: Any, inputs: Any, request: Any) -> Any:
        if getattr(request, "kind", "") == "strike":
            raise ZeroDivisionError
        return answer(talk, found, inputs, request)

    node.flow.runs.answer = faulty  # type: ignore[method-assign]
    try:
        three.approve("bank", job)
        _, theirs = three.both("broker", "bank", job, "ABORTED")
    finally:
        del node.flow.runs.answer
    assert theirs.error["code"] == "INTERNAL"
    run_again(three, job)


def test_two_starts_at_once_make_one_attempt(three: Institutions) -> None:
    job = three.propose("broker", "bank", "investor-education")
    three.wire.on("bank", "reply", lambda body: None, job=job)
    three.approve("bank", job)
    three.both("broker", "bank", job, "ABORTED")
    three.wire.mend()
    outcomes: list[str] = []

    def start() -> None:
        try:
            three.call("broker", Role.MARKETING, "intersection.run", job=job)
            outcomes.append("started")
        except WorkbenchError as refusal:
            outcomes.append(refusal.code)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["NOT_NOW"] * 3 + ["started"]
    mine, _ = three.both("broker", "bank", job, "RELEASED")
    assert mine.attempt == 2
