"""A partner that may connect and sign, and changes its program: what it can make this node do, believe or write."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from workbench.channel.message import OutboundSequence, seal_message
from workbench.contracts import PeerCall
from workbench.domain.intersection import JobState
from workbench.domain.party import PartyId, Role
from workbench.errors import PeerError, Refused, WorkbenchError
from workbench.flows import endings, proposals
from workbench.flows.jobs import NEXT_STATES
from workbench.node.peer import REFUSALS_A_MINUTE

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
    mine = three.wait("broker", job, "ABORTED_AFTER_REVEAL")
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
    mine = three.wait("broker", job, "ABORTED")
    assert mine.error["code"] == "PEER_FAILED"
    three.wait("bank", job, "ABORTED")


def test_an_ending_that_the_table_does_not_allow_still_ends_the_job(three: Institutions, monkeypatch: Any) -> None:
    """Whatever mistake leads to it: a job without a thread must not stay RUNNING or REVEALING for ever."""
    first = iter([JobState.RELEASED])
    real = endings._ending
    assert JobState.RELEASED not in NEXT_STATES[JobState.REVEALING]
    job = three.propose("broker", "bank", PURPOSE)

    def wrong(current: JobState, failure: Any) -> JobState:
        return next(first, None) or real(current, failure)

    def break_off(body: bytes) -> None:
        monkeypatch.setattr(endings, "_ending", wrong)

    three.wire.on("broker", "slice", break_off, job=job, nth=10)
    three.approve("bank", job)
    assert three.wait("broker", job, "ABORTED_AFTER_REVEAL")
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


# --------------------------------------------------------------------------------- what a partner can write into our log


def test_a_partner_writes_nothing_under_a_job_in_which_it_has_no_part(three: Institutions) -> None:
    """Otherwise the story of a job between two others would show a third institution's frames."""
    job = three.propose("broker", "bank", PURPOSE)
    cardnet = three.nodes["cardnet"]
    before = three.kinds("broker", job)
    for kind, body in (("stopped", {"code": "CANCELLED", "attempt": "0"}), ("approval", {}), ("released", {}), ("rejection", {})):
        with pytest.raises(PeerError, match="NO_JOB"):
            cardnet.negotiations.send_now(PartyId("broker"), job, kind, body)
    assert three.kinds("broker", job) == before
    assert three.nodes["broker"].jobs.get(job).state == "PROPOSED"
    assert three.entries("broker", kind="peer.refused")[-1].values["peer"] == "cardnet"
    three.call("broker", Role.MARKETING, "intersection.cancel", job=job)


@pytest.mark.parametrize("job", ["", "x" * 128, "J-20261121-0a1b2c3", "J-20261121-0A1B2C3D", "entry:broker:1"])
def test_a_job_id_of_another_form_is_refused_and_no_fault(three: Institutions, job: str) -> None:
    bank, broker = three.nodes["bank"], three.nodes["broker"]
    line = OutboundSequence(job=job, attempt=0, sender=bank.party, recipient=broker.party)
    frame = seal_message(line, kind="stopped", payload=b"{}", contract="", key=bank.keys.message, now_ms=bank.now_ms())
    with pytest.raises(WorkbenchError, match="MALFORMED"):
        broker.peer_api.answer(PeerCall(bank.party, "message", frame, "127.0.0.1"))
    assert three.entries("broker", kind="peer.refused")[-1].values["code"] == "MALFORMED"


def test_a_flood_of_refused_requests_is_no_flood_of_evidence(three: Institutions) -> None:
    """Every entry is mirrored and co-signed by everybody: one partner must not keep all institutions busy with noise."""
    node = three.nodes["broker"]
    real, now = node.now_ms, node.now_ms()
    node.now_ms = lambda: now

    def recorded() -> list[str]:
        return [one.values["peer"] for one in three.entries("broker", kind="peer.refused") if one.values["code"] == "UNKNOWN_PATH"]

    before = len(recorded())
    try:
        for _ in range(3 * REFUSALS_A_MINUTE):
            with pytest.raises(WorkbenchError, match="UNKNOWN_PATH"):
                node.peer_api.answer(PeerCall(PartyId("bank"), "no-such-path", b"", "127.0.0.1"))
        assert len(recorded()) == before + REFUSALS_A_MINUTE
        with pytest.raises(WorkbenchError, match="UNKNOWN_PATH"):
            node.peer_api.answer(PeerCall(PartyId("cardnet"), "no-such-path", b"", "127.0.0.1"))
        assert recorded()[-1] == "cardnet", "others are still recorded"
    finally:
        node.now_ms = real


def test_an_inbox_of_proposals_has_an_end(apart: Institutions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "MAX_OPEN_PROPOSALS", 2)
    for _ in range(2):
        apart.propose("broker", "bank", PURPOSE)
    with pytest.raises(WorkbenchError, match="TOO_MANY_PROPOSALS"):
        apart.propose("broker", "bank", PURPOSE)
    assert len(apart.nodes["bank"].jobs.all()) == 2
    apart.propose("cardnet", "bank", PURPOSE)  # of another partner there may be as many


def test_a_partner_that_occupies_its_threads_keeps_nobody_else_waiting(three: Institutions) -> None:
    node = three.nodes["broker"]
    leave = threading.Event()
    real = node.peer_api._paths["hello"]

    def slow(call: PeerCall) -> bytes:
        if call.peer == "bank":
            leave.wait(20)
        return real(call)

    node.peer_api._paths["hello"] = slow

    async def both() -> bytes:
        held = [asyncio.ensure_future(node.peer_api.handle(PeerCall(PartyId("bank"), "hello", b""))) for _ in range(50)]
        try:
            return await asyncio.wait_for(node.peer_api.handle(PeerCall(PartyId("cardnet"), "hello", b"")), 10)
        finally:
            leave.set()
            await asyncio.gather(*held)

    try:
        assert b"time_ms" in asyncio.run(both())
    finally:
        node.peer_api._paths["hello"] = real


def test_others_learn_that_a_rule_of_ours_said_no_and_not_that_few_customers_had_consented(
    three: Institutions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decision 2: neither reasons for exclusion nor that a number lies below a bound is for others."""
    job = three.propose("broker", "bank", PURPOSE)
    bank = three.nodes["bank"]

    def too_few(*_: object) -> None:
        raise Refused("有授权的客户太少", "Too few customers with a grant", code="TOO_FEW_CUSTOMERS")

    def when_it_starts() -> None:
        monkeypatch.setattr(bank.flow._rules, "require_enough", too_few)

    three.wire.before("broker", "attempt", when_it_starts, job=job)
    three.approve("bank", job)
    mine, theirs = three.both("broker", "bank", job, "ABORTED")
    assert theirs.error["code"] == "TOO_FEW_CUSTOMERS", "our own staff see why"
    assert three.entries("bank", job, "intersection.ended")[-1].values["code"] == "OWN_RULE"
    assert three.entries("bank", job, "action.refused")[-1].values["code"] == "TOO_FEW_CUSTOMERS"
    seen = [str(mine.error), *(str(dict(one.values)) for one in three.entries("broker", job))]
    assert not [text for text in seen if "TOO_FEW" in text]


def test_an_answer_that_makes_us_stumble_holds_up_no_message_to_others(three: Institutions) -> None:
    """The outbox is sent in order by one thread: a partner's odd reply at its head must not stop it for everybody."""
    to_bank, to_cardnet = three.propose("bank", "broker", PURPOSE), three.propose("cardnet", "broker", PURPOSE)

    def stumble(call: PeerCall, to: PartyId, header: Any) -> bytes | None:
        if header is not None and (header.job, header.kind) == (to_bank, "rejection"):
            raise RecursionError
        return call.body

    three.wire.rules.append(stumble)
    three.call("broker", Role.APPROVER, "intersection.reject", job=to_bank, reason="x")
    three.call("broker", Role.APPROVER, "intersection.reject", job=to_cardnet, reason="x")
    assert three.wait("cardnet", to_cardnet, "REJECTED")
    assert three.nodes["bank"].jobs.get(to_bank).state == "PROPOSED"
    three.wire.mend()
    assert three.wait("bank", to_bank, "REJECTED", timeout_s=60)


def test_a_partner_that_is_silent_holds_up_no_message_to_others(three: Institutions) -> None:
    jobs = [three.propose("bank", "broker", PURPOSE) for _ in range(5)]
    to_cardnet = three.propose("cardnet", "broker", PURPOSE)
    tries: list[str] = []
    tries_before: list[int] = []

    def silent(call: PeerCall, to: PartyId, header: Any) -> bytes | None:
        if header is not None and header.job == to_cardnet:
            tries_before.append(len(tries))
        if to != "bank" or header is None:
            return call.body
        tries.append(header.job)
        time.sleep(1.5)
        return None

    three.wire.rules.append(silent)
    for job in [*jobs, to_cardnet]:
        three.call("broker", Role.APPROVER, "intersection.reject", job=job, reason="x")
    started = len(tries)
    assert three.wait("cardnet", to_cardnet, "REJECTED")
    assert tries_before[0] - started <= 3, "not every message to the silent partner is waited for first"
    three.wire.mend()
    for job in jobs:
        three.wait("bank", job, "REJECTED", timeout_s=60)


def test_a_partner_that_announces_a_giant_list_gets_no_memory_for_it(three: Institutions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a gigabyte of points for every 2^24 announced, before the first one has arrived."""
    bank = three.nodes["bank"]
    monkeypatch.setitem(bank.settings._values, "intersection.largest_partner_list", 128)
    job = three.propose("broker", "bank", PURPOSE)
    three.approve("bank", job)
    _, theirs = three.both("broker", "bank", job, "ABORTED")
    assert theirs.error["code"] == "PARTNER_LIST_TOO_LARGE"
    assert not [one for one in three.entries("bank", job, "intersection.message") if one.values["message"] == "points"]
