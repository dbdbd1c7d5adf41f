"""The tenant's side of a sandbox against the worker's own code: what is written down first, what is refused, what is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests import network
from tests.inference.local_sandbox import TERMS, EchoEngine, LocalJournal, LocalNode, LocalProvider
from tests.sandbox.samples import LEASE, QUESTION
from workbench.channel.frame import split
from workbench.errors import KeyUnavailable, PeerError, Refused, StorageFailed, VerificationError, WorkbenchError
from workbench_inference.asking.client import Came, SandboxClient
from workbench_sandbox.formats import relay
from workbench_sandbox.formats.asking import Ask, Text
from workbench_sandbox.inside.answering import Answering, Question


@contextmanager
def world(
    fault: network.Fault = network.deliver, **options: Any
) -> Iterator[tuple[SandboxClient, LocalProvider, LocalNode, LocalJournal]]:
    provider = LocalProvider(fault)
    node, journal = LocalNode(provider), LocalJournal()
    client = SandboxClient(node, journal, TERMS, **{"gone_s": 0.2, "grace_s": 0.1, **options})
    try:
        yield client, provider, node, journal
    finally:
        client.close()
        provider.close()


def question(node: LocalNode, text: str = "你好", number: int = 1, *, seconds: float = 20) -> Ask:
    now = node.now_ms()
    return replace(
        QUESTION,
        ask=f"ask-{number:016x}{number:016x}",
        question=text,
        corpus="",
        time_ms=now,
        deadline_ms=now + int(seconds * 1000),
    )


def asked(client: SandboxClient, ask: Ask) -> list[Any]:
    client.send(ask.ask, client.seal(ask))
    return list(client.receive(ask.ask))


def said(records: list[Any]) -> str:
    return "".join(one.d for one in records if isinstance(one, Text))


def wait_for(holds: Callable[[], bool], *, seconds: float = 10) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not come to that"
        time.sleep(0.005)


def test_a_question_is_answered_and_everything_before_it_was_written_down() -> None:
    with world() as (client, provider, node, journal):
        records = asked(client, question(node, "单位净值"))
        assert said(records) == "单位净值" and isinstance(records[-1], Came) and records[-1].end.state == "answered"
        assert said(asked(client, question(node, "再问", 2))) == "再问"
        assert journal.names() == ["nonce", "evidence_accepted", "session_opened"]
        assert provider.calls[:3] == [relay.EVIDENCE, relay.START, relay.ANSWER]
        assert records[-1].end.number == 1
        abstained = asked(client, question(node, "空", 3))[-1]
        assert (abstained.end.state, abstained.end.citations) == ("abstained", 0)
        text = b"".join(provider.frames)
        assert "单位净值".encode() not in text and "单位净值".encode().hex().encode() not in text


@pytest.mark.parametrize(
    ("step", "calls"),
    [
        ("nonce", []),
        ("evidence_accepted", [relay.EVIDENCE]),
        ("session_opened", [relay.EVIDENCE, relay.START, relay.ANSWER]),
    ],
)
def test_what_cannot_be_written_down_is_not_sent(step: str, calls: list[str]) -> None:
    with world() as (client, provider, node, journal):
        journal.fails = {step}
        with pytest.raises(StorageFailed):
            client.seal(question(node))
        assert provider.calls == calls and provider.frames == [] and client.session is None
        journal.fails = set()
        assert said(asked(client, question(node))) == "你好"


def test_a_sealed_question_that_is_dropped_never_leaves() -> None:
    with world() as (client, provider, node, _):
        ask = question(node)
        client.seal(ask)
        client.drop(ask.ask)  # as the flow does where `asked` did not get to the disk
        assert said(asked(client, question(node, "另一问", 2))) == "另一问"
        assert [split(one).header.purpose for one in provider.frames] == ["ask"] and client.waiting == 0


def test_evidence_that_does_not_hold_is_written_down_and_nothing_follows_it() -> None:
    with world() as (client, provider, node, journal):
        journal.expects = {"controls": frozenset({"no-swap"})}
        with pytest.raises(VerificationError) as caught:
            client.seal(question(node))
        assert caught.value.details == {"check": "controls"} and journal.entries[-1] == ("evidence_refused", "controls")
        assert provider.calls == [relay.EVIDENCE] and node.taken == 0


def test_a_hello_with_other_keys_than_the_evidence_is_not_answered() -> None:
    with world() as (client, provider, node, journal):
        other = LocalProvider()
        try:
            provider.alter = lambda path, body: (
                other._answer(path, b"")
                if False
                else body.replace(b'"mlkem768":"', b'"mlkem768":"00')[: len(body)]
                if path == relay.START
                else body
            )
            with pytest.raises(WorkbenchError):
                client.seal(question(node))
            provider.alter = lambda path, body: _other_key(body) if path == relay.START else body
            with pytest.raises(VerificationError) as caught:
                client.seal(question(node))
            assert caught.value.details == {"check": "hello"} and ("evidence_refused", "hello") in journal.entries
            assert relay.ANSWER not in provider.calls and ("session_refused", "EVIDENCE_REFUSED") in journal.entries
        finally:
            other.close()


def _other_key(hello: bytes) -> bytes:
    at = hello.index(b'"mlkem768":"') + 12
    return hello[:at] + (b"0" if hello[at : at + 1] != b"0" else b"1") + hello[at + 1 :]


ANSWERS = ("answer", "answer.end")


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("how", ["altered", "cut", "dropped", "repeated", "replaced"])
def test_an_answer_on_its_way_is_whole_or_does_not_count(kind: str, how: str) -> None:
    fault = {
        "altered": network.alter("sandbox", kind, lambda raw: raw[:-20] + bytes([raw[-20] ^ 1]) + raw[-19:]),
        "cut": network.truncate("sandbox", kind), "dropped": network.drop("sandbox", kind), "repeated": network.repeat("sandbox", kind),
        "replaced": network.alter("sandbox", kind, lambda _: b"WF" + bytes(60)),
    }[how]  # fmt: skip
    with world(fault) as (client, _, node, _journal):
        first = question(node, "第一问")
        client._session_s = 3600
        client.send(first.ask, client.seal(first))
        if how == "repeated":
            assert said(list(client.receive(first.ask))) == "第一问"
        else:
            with pytest.raises(WorkbenchError) as caught:
                _short(client, first)
            assert caught.value.code in ("ANSWER_ALTERED", "ANSWER_LOST")
        # What follows is its own: nothing of the first comes into it.
        assert said(asked(client, question(node, "第二问", 2))) == "第二问"


def _short(client: SandboxClient, ask: Ask) -> list[Any]:
    """As `receive`, without the long wait for what does not come."""
    inbox = client._inboxes[ask.ask]
    inbox.ask = replace(ask, deadline_ms=client._node.now_ms() - 4_700)
    return list(client.receive(ask.ask))


def test_chunks_and_end_in_another_order_still_make_the_same_answer() -> None:
    held: list[network.Message] = []

    def swapped(message: network.Message) -> list[network.Message]:
        if message.kind == "answer" and message.nth == 0:
            held.append(message)
            return []
        return [message, held.pop()] if held else [message]

    with world(swapped) as (client, _, node, _journal):
        assert said(asked(client, question(node, "慢慢说，说得很长很长"))) == "慢慢说，说得很长很长"


@pytest.mark.parametrize("how", ["altered", "repeated"])
def test_a_question_altered_on_its_way_gets_no_answer_and_one_repeated_gets_one(how: str) -> None:
    fault = network.repeat("tenant", "ask") if how == "repeated" else network.truncate("tenant", "ask")
    with world(fault) as (client, _, node, _journal):
        ask = question(node, "问")
        client.send(ask.ask, client.seal(ask))
        if how == "altered":
            with pytest.raises(Refused) as caught:
                _short(client, ask)
            assert caught.value.details == {"cause": "deadline"}
        else:
            assert said(list(client.receive(ask.ask))) == "问"
        assert asked(client, question(node, "又问", 2))[-1].end.number == (1 if how == "altered" else 2)


def test_a_stopped_answer_ends_at_once_and_says_so() -> None:
    with world() as (client, _, node, _journal):
        ask = question(node, "慢" * 200)
        client.send(ask.ask, client.seal(ask))
        records = client.receive(ask.ask)
        while not isinstance(next(records), Text):
            pass
        client.stop(ask.ask)
        *rest, came = records
        assert came.end.state == "stopped" and len(said(rest)) < 200
        assert said(asked(client, question(node, "之后", 2))) == "之后"


def test_a_sandbox_that_dies_in_mid_answer_leaves_none_and_the_next_one_is_asked_on_new_evidence() -> None:
    with world() as (client, provider, node, journal):
        ask = question(node, "慢" * 100)
        client.send(ask.ask, client.seal(ask))
        next(client.receive(ask.ask))
        with pytest.raises(Refused) as caught:
            again = question(node, "慢" * 100, 2)
            client.send(again.ask, client.seal(again))
            provider.kill("memory")
            list(client.receive(again.ask))
        assert (caught.value.code, caught.value.details["cause"]) == ("ANSWER_LOST", "memory")
        assert journal.entries[-1] == ("session_ended", "memory")
        provider.start()
        fresh = SandboxClient(node, journal, TERMS)
        assert said(asked(fresh, question(node, "重问", 3))) == "重问"
        fresh.close()


def test_a_provider_that_is_gone_in_mid_answer_leaves_none() -> None:
    with world() as (client, provider, node, journal):
        ask = question(node, "慢" * 100)
        client.send(ask.ask, client.seal(ask))
        records = client.receive(ask.ask)
        next(records)
        provider.gone = True
        with pytest.raises(Refused) as caught:
            list(records)
        assert (
            caught.value.details == {"cause": "provider-gone"} and ("session_ended", "provider-gone") in journal.entries
        )
        provider.gone = False
        assert said(asked(client, question(node, "回来了", 2))) == "回来了"  # a further session, on a further document
        assert [one.statement.serial for name, one in journal.entries if name == "evidence_accepted"] == [1, 2]


def test_a_lost_call_loses_no_frame() -> None:
    with world(gone_s=5.0) as (client, provider, node, _journal):
        client.ensure()
        provider.gone = True
        ask = question(node, "等一等")
        client.send(ask.ask, client.seal(ask))
        provider.gone = False
        provider.busy = 1
        assert said(list(client.receive(ask.ask))) == "等一等"


def test_a_session_whose_key_was_revoked_ends_before_its_next_frame() -> None:
    with world() as (client, provider, node, journal):
        assert said(asked(client, question(node))) == "你好"
        sent = len(provider.frames)
        node.revoked.add(f"{LEASE}/{provider.sandbox}/1")
        first = client.session
        frame = client.seal(question(node, "在新的会话里", 2))
        assert len(provider.frames) == sent and ("session_ended", "revoked") in journal.entries
        assert first is not None and not first.sealed.live and client.session is not first and node.taken == 2
        node.revoked.add(f"{LEASE}/{provider.sandbox}/2")
        with pytest.raises(Refused, match="SESSION_BROKEN"):
            client._put(client.session, b"", purpose="ask.stop")  # type: ignore[arg-type]
        with pytest.raises(Refused, match="ANSWER_LOST"):
            client.send(question(node, "在新的会话里", 2).ask, frame)
        assert len(provider.frames) == sent


def test_without_a_key_nothing_is_used_instead() -> None:
    provider = LocalProvider()
    node = LocalNode(provider, with_keys=False)
    client = SandboxClient(node, LocalJournal(), TERMS)
    with pytest.raises(KeyUnavailable, match="QKD_KEY_REQUIRED"):
        client.seal(question(node))
    assert provider.calls == [relay.EVIDENCE]
    provider.close()


def test_a_second_session_reads_nothing_of_the_first() -> None:
    with world() as (client, provider, node, journal):
        assert said(asked(client, question(node, "第一次会话"))) == "第一次会话"
        first, frames = client.session, list(provider.frames)
        assert first is not None
        client._session_s = 0  # due for new evidence as soon as nothing is under way
        assert said(asked(client, question(node, "第二次", 2))) == "第二次"
        second = client.session
        assert second is not None and second.opened.session != first.opened.session and not first.sealed.live
        assert {first.evidence.statement.keys.mlkem768, first.evidence.statement.keys.sm2}.isdisjoint(
            second.evidence.statement.keys.members().values()
        )
        with pytest.raises(VerificationError, match="FRAME_REFUSED"):
            second.sealed.open(frames[0], now_ms=node.now_ms())
        before = second.sealed.status().refused
        with client._lock:
            client._open(second, frames[0])  # carried again by the provider: passed over, not even counted
        assert second.sealed.status().refused == before and ("session_ended", "evidence-due") in journal.entries


def test_ends_are_signed_within_a_tick_and_a_session_that_leaves_one_out_ends() -> None:
    with world(tick_s=0, wait_ms=20) as (client, _, node, _journal):
        for number in (1, 2, 3):
            asked(client, question(node, "签", number))
        wait_for(lambda: client._signed == 3)
        assert client._ends == {} and client.session is not None
    with world(network.drop("sandbox", "answer.end"), wait_ms=20) as (client, _, node, journal):
        lost = question(node, "丢", 1)
        client.send(lost.ask, client.seal(lost))
        asked(client, question(node, "签", 2))
        client._tick_s = 0
        wait_for(lambda: ("session_ended", "unsigned") in journal.entries)


def test_a_session_takes_a_new_key_at_its_limit_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with world() as (client, provider, node, journal):
        asked(client, question(node))
        session = client.session
        assert session is not None
        due = iter([True])
        monkeypatch.setattr(type(session.sealed), "rekey_due", lambda self, now_ms: next(due, False))
        client.ensure()
        assert session.opened.epoch == 1 and session.opened.key_id == "key-2" and session is client.session
        assert said(asked(client, question(node, "续期之后", 2))) == "续期之后"
        assert journal.names().count("session_opened") == 2 and provider.calls.count(relay.EVIDENCE) == 1


def test_a_closed_client_asks_nothing_more() -> None:
    with world() as (client, provider, node, journal):
        asked(client, question(node))
        client.close(cause="released")
        before = list(provider.calls)
        with pytest.raises(Refused, match="ANSWER_LOST"):
            client.seal(question(node, "太晚", 2))
        assert journal.entries[-1] == ("session_ended", "released")
        assert [one for one in provider.calls[len(before) :] if one != relay.FRAMES] == []
        with pytest.raises(PeerError):
            provider.gone = True
            node.call(TERMS.provider, relay.FRAMES, b"", timeout_s=1)


def test_who_hears_of_an_end_may_ask_the_next_one_at_once() -> None:
    """The place of a question is free before its end is told: else a busy sandbox refuses whoever was told that it has room."""
    took: list[bool] = []

    class Told:
        def send_end(self, session: Any, make: Any, last: Any = None) -> None:
            if not took:
                took.append(answering.take(Question(replace(QUESTION, ask=f"ask-{2:032x}"), None, session)))  # type: ignore[arg-type]

    answering = Answering(
        EchoEngine(), Told(), answer_bytes=1 << 20, asks_at_once=1, clock=lambda: QUESTION.time_ms, tell=lambda _: done.set(),  # type: ignore[arg-type]
    )  # fmt: skip
    done = threading.Event()
    assert answering.take(Question(replace(QUESTION, ask=f"ask-{1:032x}"), None, Session()))  # type: ignore[arg-type]
    assert not answering.take(Question(replace(QUESTION, ask=f"ask-{9:032x}"), None, Session()))  # type: ignore[arg-type]
    answering.start()
    assert done.wait(10) and took[0]


class Session:
    """As far as a question needs it."""

    sealed = None
