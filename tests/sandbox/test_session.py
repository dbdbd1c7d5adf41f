"""A real sandbox from lease to receipt: evidence, session, questions, stop, limits. One server, one sandbox."""

from __future__ import annotations

import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sandbox.world import GREETING, LEASE, PROVIDER, SERVER, TENANT, Tenant, World, lacking, now_ms, until
from workbench.channel.frame import Kind
from workbench.channel.session_state import OpenedFrame
from workbench.crypto import sm2
from workbench.errors import Refused, VerificationError
from workbench_sandbox.formats import carried, servicekey
from workbench_sandbox.formats.asking import Cite, Open, Text, format_stop, parse_end
from workbench_sandbox.formats.evidence import CONTROLS, parse_evidence, sign_evidence, verify_self, verify_signatures
from workbench_sandbox.inside.worker import Worker
from workbench_sandbox.server import reaping
from workbench_sandbox.server.bubblewrap import Bubblewrap
from workbench_sandbox.server.contract import StartOrder, Upload

pytestmark = pytest.mark.skipif(bool(lacking()), reason=f"this kernel or account cannot start a sandbox: {lacking()}")


@pytest.fixture(scope="module")
def tenant(world: World) -> Tenant:
    tenant = world.leased()
    tenant.open()
    return tenant


def test_a_question_goes_in_sealed_and_its_answer_comes_back(tenant: Tenant) -> None:
    records, end = tenant.answer_of(tenant.ask("净值是多少"))
    assert isinstance(records[0], Open) and records[0].engine == "echo"
    assert "".join(one.d for one in records if isinstance(one, Text)) == "净值是多少"
    assert [one.end for one in records if isinstance(one, Cite)] == [len(GREETING)]
    assert (end.state, end.code, end.citations, end.tokens_out) == ("answered", "", 1, 5)
    frames = b"".join(tenant.frames)
    assert "净值".encode() not in frames


def test_every_control_is_on_and_seen_from_both_sides_where_both_look(tenant: Tenant) -> None:
    statement = tenant.evidence()
    assert [one.name for one in statement.controls] == list(CONTROLS) and len(CONTROLS) == 26
    # What the machine itself lacks is missing by name, and nothing else.
    assert set(statement.missing) == {one.control for one in Bubblewrap().available()} | ({"no-swap"} & set(statement.missing))
    assert {one.name for one in statement.controls if one.seen == "both"} >= {"user", "no-capabilities", "files", "scratch", "filter", "no-network"}
    assert statement.probe.tried == statement.probe.refused >= 45 and not statement.probe.failed
    assert statement.weights[0].path == "weights/greeting.txt"
    assert statement.listing == tenant.given.facts.listing != ""
    assert statement.keys.members().keys() == {"sm2", "mlkem768", "x25519"}


def test_evidence_is_signed_by_the_node_only_as_it_saw_it(tenant: Tenant) -> None:
    statement = tenant.evidence()
    contract, service = sm2.generate(), sm2.generate()
    written = servicekey.sign_service_key(
        servicekey.ServiceKey(PROVIDER, service.public, now_ms() - 1, now_ms() + 86_400_000, ""), key=contract
    )
    signed = sign_evidence(tenant.given.document, facts=tenant.given.facts, nonce=statement.nonce, key=service, service=written)
    verify_signatures(parse_evidence(signed), service_key=service.public)
    for other in (
        replace(tenant.given.facts, serial=statement.serial + 1),
        replace(tenant.given.facts, controls=tenant.given.facts.controls[1:]),
        replace(tenant.given.facts, server="v-0000000b"),
    ):
        with pytest.raises(VerificationError, match="facts"):
            sign_evidence(tenant.given.document, facts=other, nonce=statement.nonce, key=service, service=written)


def test_each_document_has_keys_of_its_own_and_a_higher_serial(tenant: Tenant) -> None:
    first, second = tenant.evidence(), tenant.evidence()
    assert second.serial == first.serial + 1
    assert not set(first.keys.members().values()) & set(second.keys.members().values())
    assert 0 < second.until_ms - second.made_ms <= 120_000


def test_documents_asked_for_at_once_are_made_one_after_the_other(tenant: Tenant) -> None:
    nonces = [f"{number:064x}" for number in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda nonce: tenant.world.servers.evidence(tenant.sandbox, nonce), nonces))
    said = [verify_self(one.document) for one in given]
    assert [one.nonce for one in said] == nonces and len({one.serial for one in said}) == 8
    assert [one.serial for one in said] == [one.facts.serial for one in given]


def test_a_renewed_session_goes_on(tenant: Tenant) -> None:
    before = tenant.session.epoch
    tenant.renew()
    assert tenant.session.epoch == before + 1
    assert tenant.answer_of(tenant.ask("之后"))[1].state == "answered"


def test_stop_ends_an_answer_within_its_next_piece(tenant: Tenant) -> None:
    ask = tenant.ask("!slow")
    until(lambda: bool(tenant.world.servers.frames(tenant.sandbox, Upload(tenant.first, tenant.taken), wait_ms=200).frames))
    tenant.say(format_stop(ask), "ask.stop")
    records, end = tenant.answer_of(ask)
    assert end.state == "stopped" and end.code == "" and records


def test_more_questions_than_agreed_are_refused_and_the_others_answered(tenant: Tenant) -> None:
    slow = [tenant.ask("!slow"), tenant.ask("!slow")]
    third = tenant.ask("三")
    for one in slow:
        tenant.say(format_stop(one), "ask.stop")
    ends = [end for _, end in tenant.answers_of(*slow, third)]
    assert [(end.state, end.code) for end in ends] == [("stopped", ""), ("stopped", ""), ("refused", "ENGINE_BUSY")]


@pytest.mark.parametrize(
    ("question", "state", "code"),
    [("!long", "failed", "OUTPUT_LIMIT"), ("!fail", "failed", "ENGINE_FAILED"), ("!fault", "failed", "ENGINE_FAILED")],
)
def test_what_an_engine_does_wrong_is_one_code(tenant: Tenant, question: str, state: str, code: str) -> None:
    _, end = tenant.answer_of(tenant.ask(question))
    assert (end.state, end.code) == (state, code)
    assert end.bytes <= 64 << 10
    assert tenant.answer_of(tenant.ask("还在"))[1].state == "answered"


def test_a_question_too_late_or_for_a_corpus_that_was_not_opened_is_refused(tenant: Tenant) -> None:
    late = tenant.ask("晚", deadline_ms=now_ms() - 1, time_ms=now_ms() - 2)
    assert tenant.answer_of(late)[1].code == "ASK_LATE"
    assert tenant.answer_of(tenant.ask("库", corpus="a" * 64))[1].code == "CORPUS_MISSING"
    tenant.say(b"\0" * 512, "ask")
    assert next(parse_end(one.payload) for one in tenant.opened() if one.purpose == "answer.end").code == "ASK_MALFORMED"


def test_ends_are_signed_together_when_asked_for(tenant: Tenant) -> None:
    tenant.answer_of(tenant.ask("一"))
    tenant.say(carried.format_empty(), "answers.sign")
    frame = next(one for one in tenant.opened() if one.purpose == "answers.signed")
    assert frame.item is not None
    signed = carried.parse_signed(frame.payload)
    assert 1 <= signed.first <= signed.last


def test_the_suite_can_be_run_in_a_session(tenant: Tenant) -> None:
    tenant.say(carried.format_empty(), "probe")
    frame = next(one for one in tenant.opened() if one.purpose == "probe")
    assert carried.parse_probed(frame.payload).failed == ()
    assert tenant.world.servers.probe(tenant.sandbox)[1] == ()


def test_a_frame_of_somebody_else_changes_nothing(tenant: Tenant) -> None:
    tenant.send(secrets.token_bytes(200), b"")
    assert tenant.answer_of(tenant.ask("仍然"))[1].state == "answered"


@pytest.mark.skipif(os.geteuid() != 0, reason="this account may not look at sockets of another user's processes")
def test_no_port_leads_to_a_model(tenant: Tenant) -> None:
    """In the sandbox's own network is no socket of a protocol with ports, and the launcher before it listens on none of the machine's."""
    record = reaping.read(tenant.world.folder / "servers" / SERVER)[0]

    def rows(pid: int | str) -> list[list[str]]:
        places = [Path(f"/proc/{pid}/net/{one}") for one in ("tcp", "tcp6", "udp", "udp6")]
        return [line.split() for one in places if one.exists() for line in one.read_text().splitlines()[1:]]

    assert rows(record.pids[1]) == []
    launcher = Path(f"/proc/{record.pids[0]}/stat").read_text().rpartition(")")[2].split()[1]
    held = {os.readlink(one) for one in Path(f"/proc/{launcher}/fd").iterdir()}
    assert any(one.startswith("socket:") for one in held), "its connections to node and worker"
    assert not {f"socket:[{row[9]}]" for row in rows(launcher)} & held


def test_nobody_else_is_served(tenant: Tenant) -> None:
    servers = tenant.world.servers
    with pytest.raises(Refused, match="SANDBOX_UNKNOWN"):
        servers.counters("sb-0000000000000000")
    with pytest.raises(Refused, match="SANDBOX_UNKNOWN"):
        servers.frames(tenant.sandbox, Upload(tenant.first + 5, tenant.taken, (b"x",)), wait_ms=0)
    with pytest.raises(Refused, match="EVIDENCE_UNKNOWN"):
        servers.start(tenant.sandbox, StartOrder("", "f" * 64), None)
    with pytest.raises(Refused, match="SERVER_NOT_READY"):
        servers.lease(SERVER, tenant.world.facts(lease="L-20261122-00000002"))


def test_counters_say_what_was_done(tenant: Tenant) -> None:
    before = tenant.world.servers.counters(tenant.sandbox)
    tenant.answer_of(tenant.ask("数一数"))
    until(lambda: tenant.world.servers.counters(tenant.sandbox).asks == before.asks + 1)
    after = tenant.world.servers.counters(tenant.sandbox)
    assert after.tokens_out == before.tokens_out + 3 and after.bytes_in > before.bytes_in and after.state == "live"


def test_a_lease_that_ends_in_mid_answer_cuts_it_and_moving_its_end_lets_another_begin(tenant: Tenant) -> None:
    servers, slow = tenant.world.servers, tenant.ask("!slow")
    until(lambda: bool(servers.frames(tenant.sandbox, Upload(tenant.first, tenant.taken), wait_ms=200).frames))
    servers.extend(tenant.sandbox, now_ms() + 15_000)
    late = tenant.ask("太晚")
    servers.extend(tenant.sandbox, now_ms() + 500)
    (records, end), (_, refused) = tenant.answers_of(slow, late)
    assert (end.state, end.code, refused.code) == ("cut", "", "ASK_LATE") and records
    assert next(one.kind for one in tenant.opened() if one.purpose == "end") is Kind.END
    tenant.session.finish()
    servers.extend(tenant.sandbox, now_ms() + 3_600_000)
    tenant.open()
    assert tenant.answer_of(tenant.ask("再来"))[1].state == "answered"


def test_release_is_a_clean_receipt_and_nothing_answers_any_more(world: World, tenant: Tenant) -> None:
    run = Path(world.folder, "servers", SERVER, "run")
    assert [one.name for one in run.iterdir()] == [tenant.sandbox]
    looked = world.servers.erase(SERVER, reason="released")
    assert looked.clean and looked.sandboxes == (tenant.sandbox,) and (looked.lease, looked.tenant) == (LEASE, TENANT)
    assert list(run.iterdir()) == [] and list((run.parent / "records").iterdir()) == []
    assert world.state().state == "SANITISED"
    with pytest.raises(Refused) as ended:
        world.servers.frames(tenant.sandbox, Upload(tenant.first, tenant.taken), wait_ms=0)
    assert (ended.value.code, ended.value.details["cause"]) == ("SANDBOX_ENDED", "released")


def test_streams_that_were_refused_leave_their_places_to_those_that_come_after() -> None:
    worker = Worker.__new__(Worker)
    worker._context, worker._plan = {}, {"asks_at_once": 2}

    def chunk(stream: bytes, index: int = 0, *, final: bool = False) -> OpenedFrame:
        return OpenedFrame(Kind.CHUNK, "context", 1, 0, b"part", stream=stream, index=index, final=final)

    for number in range(20):
        with pytest.raises(VerificationError):
            worker._collect(chunk(b"far-%03d" % number, 1_000))
    assert not worker._context
    for number in range(20):
        worker._collect(chunk(b"mid-%03d" % number, 7))  # one whose beginning never comes
        assert len(worker._context) <= 3
    worker._collect(chunk(b"whole", final=True))
    opener, data = worker._context[b"whole"]
    assert opener.complete and data == b"part"
