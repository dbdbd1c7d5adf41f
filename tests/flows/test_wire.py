"""Frames that are replayed, reordered, spliced or altered, and clocks apart: refused by code, recorded, nothing released."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from workbench.channel.message import OutboundSequence, seal_message
from workbench.contracts import PeerCall
from workbench.domain.party import PartyId, Role
from workbench.errors import WorkbenchError

from tests.flows import population
from tests.flows.institutions import Institutions, header_of

PURPOSE = "customer-service"


def refusals(three: Institutions, party: str) -> list[str]:
    return [one.values["code"] for one in three.entries(party, kind="peer.refused")]


def call_of(body: bytes, peer: str = "broker") -> PeerCall:
    return PeerCall(PartyId(peer), "message", body, "127.0.0.1")


def forged(three: Institutions, body: bytes, **change: Any) -> bytes:
    """The same frame as its sender would have made it with another payload or header: what a partner can do that
    changes its program. Number and predecessor stay, so only the protocol can notice."""
    header = header_of(body)
    payload = body[len(body) - header.size :]
    outbound = OutboundSequence(
        job=change.get("job", header.job),
        attempt=header.attempt,
        sender=header.sender,
        recipient=header.recipient,
        sequence=change.get("sequence", header.sequence) - 1,
        previous=header.previous,
    )
    node = three.nodes[header.sender]
    return seal_message(
        outbound,
        kind=change.get("kind", header.kind),
        payload=change.get("payload", lambda old: old)(payload),
        contract=change.get("contract", header.contract),
        key=node.keys.message,
        now_ms=node.now_ms() + change.get("later_ms", 0),
    )


def test_frames_that_come_twice_are_refused_and_the_run_goes_on(three: Institutions) -> None:
    seen: list[bytes] = []

    job = three.propose("broker", "bank", PURPOSE)
    before = len(refusals(three, "bank"))
    later: list[str] = []

    def replay_points() -> None:
        try:
            three.nodes["bank"].peer_api.answer(call_of(seen[0]))
        except WorkbenchError as error:
            later.append(error.code)

    three.wire.on("broker", "points", lambda body: seen.append(body) or body, job=job)
    three.wire.before("broker", "reply", replay_points, job=job)
    three.approve("bank", job)
    three.both("broker", "bank", job, "RELEASED")
    assert later == ["MESSAGE_REPLAYED"] == refusals(three, "bank")[before:]
    # After the end every frame of the attempt is refused, the first one too: it starts nothing.
    with pytest.raises(WorkbenchError, match="ATTEMPT_OVER"):
        three.nodes["bank"].peer_api.answer(call_of(seen[0]))
    assert three.nodes["bank"].jobs.get(job).state == "RELEASED"


def test_a_negotiation_frame_counts_once(three: Institutions) -> None:
    frames: list[bytes] = []
    three.wire.on("broker", "proposal", lambda body: frames.append(body) or body)
    job = three.propose("broker", "bank", PURPOSE)
    bank = three.nodes["bank"]
    with pytest.raises(WorkbenchError, match="REPLAYED"):
        bank.peer_api.answer(call_of(frames[0]))
    clock = bank.now_ms
    bank.now_ms = lambda: clock() + 60_000
    try:
        with pytest.raises(WorkbenchError, match="CLOCK_SKEW"):
            bank.peer_api.answer(call_of(frames[0]))
    finally:
        bank.now_ms = clock
    for peer in ("cardnet", "bank", "stranger"):
        with pytest.raises(WorkbenchError):
            bank.peer_api.answer(call_of(frames[0], peer))
    assert three.kinds("bank", job).count("intersection.proposal_received") == 1
    three.call("broker", Role.MARKETING, "intersection.cancel", job=job)


@pytest.mark.parametrize(
    ("code", "disturb"),
    [
        ("MESSAGE_ALTERED", lambda three, body: body[:-1] + bytes([body[-1] ^ 1])),
        ("MESSAGE_TRUNCATED", lambda three, body: body[:-1]),
        ("MESSAGE_SIGNATURE", lambda three, body: body.replace(b'"kind":"points"', b'"kind":"pointz"')),
        ("MESSAGE_OUT_OF_ORDER", lambda three, body: forged(three, body, sequence=9)),
        ("OTHER_CONTRACT", lambda three, body: forged(three, body, contract="ab" * 32)),
        ("CLOCK_SKEW", lambda three, body: forged(three, body, later_ms=-60_000)),
        ("WRONG_MESSAGE", lambda three, body: forged(three, body, kind="reply")),
        ("PROTOCOL_VIOLATION", lambda three, body: forged(three, body, payload=lambda old: bytes(32) + old[32:])),
        ("PROTOCOL_VIOLATION", lambda three, body: forged(three, body, payload=lambda old: old[:-32])),
        ("PROTOCOL_VIOLATION", lambda three, body: forged(three, body, payload=lambda old: old[32:] + old[:32])),
    ],
)
def test_a_disturbed_frame_ends_the_attempt_on_both_sides(
    three: Institutions, code: str, disturb: Callable[[Institutions, bytes], bytes]
) -> None:
    """Zero points, cut lists and wrong orders are tested one by one in tests/psi; here, that they end ABORTED, recorded."""
    job = three.propose("broker", "bank", PURPOSE)
    three.wire.on("bank", "points", lambda body: disturb(three, body), job=job)
    before = len(refusals(three, "broker"))
    three.approve("bank", job)
    mine, theirs = three.both("broker", "bank", job, "ABORTED")
    recorded = {mine.error["code"], theirs.error["code"], *refusals(three, "broker")[before:]}
    assert code in recorded, recorded
    for party in ("broker", "bank"):
        ended = three.entries(party, job, "intersection.ended")[-1]
        assert ended.values["state"] == "ABORTED"
        assert three.nodes[party].jobs.get(job).result == {}
        assert "intersection.cardinality" not in three.kinds(party, job)


def test_a_frame_of_another_job_is_refused(three: Institutions) -> None:
    """Spliced: the same partner, the same kind, signed, of a job that runs at the same time."""
    first, second = (three.propose("broker", "bank", PURPOSE) for _ in range(2))
    frames: dict[str, bytes] = {}
    three.wire.on("bank", "points", lambda body: frames.setdefault("first", body), job=first)
    three.approve("bank", first)
    three.both("broker", "bank", first, "RELEASED")
    before = len(refusals(three, "broker"))
    three.wire.on("bank", "points", lambda body: frames["first"], job=second)
    three.approve("bank", second)
    three.both("broker", "bank", second, "ABORTED")
    assert refusals(three, "broker")[before:] == ["ATTEMPT_OVER"], "the job it names runs no longer"
    renamed = three.propose("broker", "bank", PURPOSE)
    three.wire.on("bank", "points", lambda body: forged(three, frames["first"], job=renamed), job=renamed)
    three.approve("bank", renamed)
    three.both("broker", "bank", renamed, "ABORTED")
    assert refusals(three, "broker")[-1] == "OTHER_CONTRACT"


def test_frames_that_change_places_are_refused(three: Institutions) -> None:
    job = three.propose("broker", "bank", PURPOSE)
    held: list[bytes] = []
    three.wire.on("bank", "reply-commit", lambda body: held.append(body) or body, job=job)
    three.wire.on("bank", "reply", lambda body: held[0], job=job)
    three.approve("bank", job)
    mine, theirs = three.both("broker", "bank", job, "ABORTED")
    assert "MESSAGE_REPLAYED" in {mine.error["code"], theirs.error["code"]}


def test_clocks_apart_stop_the_run_before_anything_is_exchanged(three: Institutions) -> None:
    broker, bank = three.nodes["broker"], three.nodes["bank"]
    clock, apart_ms = bank.now_ms, 36_000  # against the 30 s of these tests: what a busy machine holds up counts as a difference too
    bank.now_ms = lambda: clock() + apart_ms
    try:
        with pytest.raises(WorkbenchError, match="CLOCK_SKEW"):
            three.propose("broker", "bank", PURPOSE)
        three.wait_until(lambda: three.nodes["broker"].heartbeat.greet("bank") or state_of(three, "bank") == "clock")
    finally:
        bank.now_ms = clock
    job = three.propose("broker", "bank", PURPOSE)
    before = refusals(three, "broker").count("CLOCK_SKEW")
    ours = broker.now_ms
    broker.now_ms = lambda: ours() + apart_ms  # the other way round
    try:
        three.approve("bank", job)
        three.wait_until(lambda: refusals(three, "broker").count("CLOCK_SKEW") > before)
        assert broker.jobs.get(job).state == "PROPOSED"
    finally:
        broker.now_ms = ours
    # Once the clocks agree the approval arrives by itself.
    three.both("broker", "bank", job, "RELEASED")


def state_of(three: Institutions, party: str) -> str:
    rows = three.nodes["broker"].heartbeat.states()
    return next(str(row["state"]) for row in rows if row["party"] == party)


def test_a_partner_that_claims_another_size_or_root_than_it_signed_is_refused(three: Institutions) -> None:
    """The offer is part of the contract that both sign: changed on the way, the signatures do not fit."""
    job = three.propose("broker", "bank", PURPOSE)

    def larger(payload: bytes) -> bytes:
        value = json.loads(payload)
        value["offer"]["bucket"] = "512"
        return json.dumps(value).encode()

    three.wire.on("bank", "offer", lambda body: forged(three, body, payload=larger), job=job)
    three.approve("bank", job)
    mine, theirs = three.both("broker", "bank", job, "ABORTED")
    assert {mine.error["code"], theirs.error["code"]} & {"OTHER_CONTRACT", "SM2_SIGNATURE", "PEER_FAILED"}
    for party in ("broker", "bank"):
        assert "intersection.contract" not in three.kinds(party, job)


@pytest.mark.parametrize("value", ["x", "[]", "{}", '{"offer": 1}', '{"offer": {"party": "bank", "bucket": "-1"}}', "\xff"])
def test_a_malformed_offer_ends_the_attempt(three: Institutions, value: str) -> None:
    job = three.propose("broker", "bank", PURPOSE)
    three.wire.on(
        "bank", "offer", lambda body: forged(three, body, payload=lambda old: value.encode("latin-1")), job=job
    )
    three.approve("bank", job)
    mine = three.wait("broker", job, "ABORTED")
    assert mine.error["code"] == "MALFORMED"
    three.wait("bank", job, "ABORTED")


def test_a_malformed_notice_is_refused_and_changes_nothing(three: Institutions) -> None:
    job = three.propose("broker", "bank", PURPOSE)
    bank, broker = three.nodes["bank"], three.nodes["broker"]
    values = ["[]", '"x"', "{", '{"attempt": 1}', '{"index": "x"}', '{"code": "<b>", "attempt": "0"}']
    for kind in ("released", "stopped", "approval", "rejection", "gossip"):
        for value in values[:4] if kind == "rejection" else values:  # a rejection carries nothing that could be wrong
            frame = seal_message(
                OutboundSequence(job=job, attempt=0, sender=bank.party, recipient=broker.party),
                kind=kind, payload=value.encode(), contract="", key=bank.keys.message, now_ms=bank.now_ms(),
            )  # fmt: skip
            with pytest.raises(WorkbenchError) as raised:
                three.links["bank"].call(broker.party, "message", frame, timeout_s=5)
            assert raised.value.code in ("MALFORMED", "WRONG_MESSAGE"), (kind, value)
            assert refusals(three, "broker")[-1] == raised.value.code
    assert broker.jobs.get(job).state == "PROPOSED"
    three.call("broker", Role.MARKETING, "intersection.cancel", job=job)


def test_the_points_on_the_wire_are_those_of_the_padded_bucket_and_ascend(three: Institutions) -> None:
    frames: dict[str, bytes] = {}
    for party in ("broker", "bank"):
        three.wire.on(party, "points", lambda body, party=party: frames.setdefault(party, body))  # type: ignore[misc]
    three.run("broker", "bank", PURPOSE)
    for body in frames.values():
        points = np.frombuffer(body[len(body) - header_of(body).size :], np.uint8).reshape(-1, 32)
        rows = [row.tobytes() for row in points]
        assert len(rows) == 256 and rows == sorted(set(rows))
    assert len(population.usable("broker", "bank", PURPOSE)) < 256
