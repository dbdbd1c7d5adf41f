"""A provider with one sandbox in this process: the worker's own code over a socket pair, without isolation, behind the relay."""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar

from tests.network import Fault, Message, deliver
from tests.sandbox.samples import FACTS, KEYS, LEASE, MANIFEST, MEASURED, PROVIDER, PROVIDER_SERVICE, TENANT
from workbench.channel.frame import split
from workbench.channel.terms import Policy
from workbench.contracts import KeyShare
from workbench.domain.party import PartyId
from workbench.errors import PeerError, PeerUnavailable, Refused, StorageFailed, VerificationError, WorkbenchError
from workbench_inference.asking.opening import LeaseTerms, Opened
from workbench_inference.asking.verifying import Expected
from workbench_sandbox.formats import evidence, reading, relay, servicekey
from workbench_sandbox.formats.asking import ANSWERS_SIGN, Ask, Cite, Dropped, FieldValue, Open, Record, Stage, Text
from workbench_sandbox.formats.leasefile import SignedEnds
from workbench_sandbox.inside.answering import Answering
from workbench_sandbox.inside.link import Link, LinkClosed, Type
from workbench_sandbox.inside.link import Message as LinkMessage
from workbench_sandbox.inside.session import Sessions
from workbench_sandbox.inside import probing
from workbench_sandbox.inside import worker as worker_module
from workbench_sandbox.inside.worker import Worker
from workbench_sandbox.server.relaying import Relay

TERMS_JSON = {
    "tenant_key": KEYS["tenant-message"].public.format(), "policy": "hybrid-required", "provenances": [], "suites": ["x25519-mlkem768-sm3-sm4gcm"],
}  # fmt: skip


class EchoEngine:
    """Says the question again, one character a record, with one citation; `慢` waits before each, `空` cites nothing."""

    name, kind, version, place = "extractive", "extractive", "1", "inside"
    pause_s = 0.0

    def load(self, weights: Any, *, threads: int) -> None: ...

    def close(self) -> None: ...

    def answer(self, ask: Ask, sources: Any, stop: Callable[[], bool]) -> Iterator[Record]:
        yield Open(self.name, self.kind, self.version, self.place, ask.watermark)
        yield Stage("retrieve", 1)
        if "空" in ask.question:
            return
        yield Cite(1, "fund-000001", "2025-11-21", 0, 3, "f1" * 32, "f2" * 32)
        for one in ask.question:
            deadline = time.monotonic() + (0.02 if "慢" in ask.question else self.pause_s)
            while time.monotonic() < deadline and not stop():
                time.sleep(0.002)
            if stop():
                return
            yield Text(one)
        yield FieldValue("nav", "1.2345", "元", 1)
        yield Dropped("number", 1)


class LocalWorker(Worker):
    """The worker without what closes it in."""

    measured = MEASURED
    asks_at_once = 4
    suite: ClassVar[probing.Probed] = probing.Probed(49, 49, ())
    """What the probe suite says: it is not run in this process, of which nothing is closed in."""

    def _probe(self) -> probing.Probed:
        return LocalWorker.suite

    def prepare(self) -> None:
        self._engine.load({}, threads=1)
        self._measured = self.measured
        self._sessions = Sessions(self.measured, self._out, worker_module.now_ms)
        self._answering = Answering(
            self._engine,
            self._sessions,
            answer_bytes=1 << 20,
            asks_at_once=self.asks_at_once,
            clock=worker_module.now_ms,
            tell=lambda _: None,
        )
        self._answering.start()

    def _out(self, *frames: bytes) -> None:
        with suppress(LinkClosed):
            self._link.send_frames(*frames)


class LocalSandbox:
    """One sandbox: the worker over a socket pair, behind a relay. fault: what happens to frames on their way; frames: that the tenant
    sent, but for its wish that ends be signed."""

    def __init__(self, engine: str, fault: Fault = deliver, *, measured: evidence.Measured = MEASURED) -> None:
        self._fault = fault
        self.relay = Relay()
        self.frames: list[bytes] = []
        here, there = socket.socketpair()
        self._sockets = (here, there)
        self.link, inner = Link(here.fileno()), Link(there.fileno())
        self._links = (self.link, inner)
        self._replies: queue.Queue[LinkMessage] = queue.Queue()
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        worker = LocalWorker(inner, {"engine": engine, "asks_at_once": 4, "without": []})
        worker.measured = measured
        worker.prepare()
        targets = (lambda: _until_closed(worker.run), self._read, self._feed)
        self._threads = [threading.Thread(target=one, daemon=True) for one in targets]
        for thread in self._threads:
            thread.start()

    def request(self, kind: Type, body: bytes, expected: Type) -> bytes:
        """What the worker answers. Raises Refused."""
        with self._asking:
            self.link.send(kind, body)
            message = self._replies.get(timeout=10)
        if message.type is Type.ERROR:
            raise relay.sandbox_refused()
        assert message.type is expected, message.type
        return message.body

    def shut(self, *, overwrite: bool) -> None:
        """The sockets first, then whoever reads them, then the relay's threads. overwrite: what waits is not given any more."""
        self.relay.end()
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        if overwrite:
            self.relay.close()
        else:
            with self.relay._changed:
                self.relay._closed = True
                self.relay._changed.notify_all()
        for thread in self._threads:
            thread.join(5)
        # An engine may still be answering. In a worker it dies with the process; here the number of its socket would be somebody else's file.
        for end in self._links:
            end.close()
        for one in self._sockets:
            one.close()

    def _read(self) -> None:
        while True:
            try:
                message = self.link.receive()
            except (LinkClosed, OSError):
                return
            if message.type in (Type.FRAME_OUT, Type.FRAMES_OUT):
                self.relay.put_out(*(one for frame in message.frames() for one in self._faulted("sandbox", frame)))
            elif message.type is not Type.COUNTERS:
                self._replies.put(message)

    def _feed(self) -> None:
        while (frame := self.relay.next_in()) is not None:
            if split(bytes(frame)).header.purpose != ANSWERS_SIGN:  # comes by itself once nothing is under way
                self.frames.append(bytes(frame))
            for one in self._faulted("tenant", bytes(frame)):
                try:
                    self.link.send(Type.FRAME_IN, one)
                except LinkClosed:
                    return

    def _faulted(self, sender: str, frame: bytes) -> list[bytes]:
        kind = split(frame).header.purpose
        with self._lock:
            nth = self._counts.get(sender + kind, 0)
            self._counts[sender + kind] = nth + 1
        return [one.payload for one in self._fault(Message(sender, 0, kind, nth, frame))]


def start_body(session: str, wanted: str, share: KeyShare | None) -> bytes:
    """A worker's START."""
    key_id, provenance, value = (share.key_id, share.provenance, share.value) if share is not None else ("", "", b"")
    return b"".join(map(reading.lv1, (session.encode(), wanted.encode(), key_id.encode(), provenance.encode(), value)))


class LocalProvider:
    """One lease, one sandbox at a time. fault: what happens to frames on their way; gone: calls get no answer."""

    def __init__(self, fault: Fault = deliver, *, engine: str = "tests.inference.local_sandbox:EchoEngine") -> None:
        self.fault, self.engine = fault, engine
        self.gone = False
        self.busy = 0
        self.calls: list[str] = []
        self.keys: dict[str, KeyShare] = {}
        self.service = servicekey.sign_service_key(_service(), key=KEYS["provider-contract"])
        self.serial = 0
        self.number = 0
        self.cause = ""
        self.alter: Callable[[str, bytes], bytes] = lambda path, body: body
        self.start()

    # ------------------------------------------------------------------------------------------------------ the sandbox

    def start(self) -> None:
        """A fresh sandbox under the lease."""
        self.number += 1
        self.sandbox = f"sb-{self.number:016x}"
        self.serial, self.cause = 0, ""
        self.inside = LocalSandbox(self.engine, self.fault)
        self.relay = self.inside.relay

    @property
    def frames(self) -> list[bytes]:
        """What the tenant sent to this sandbox."""
        return self.inside.frames

    def kill(self, cause: str = "sandbox-died") -> None:
        """The sandbox dies; its name is answered with the cause."""
        self.cause = cause
        self.inside.shut(overwrite=False)

    def close(self) -> None:
        """Everything of this provider ends."""
        self.gone = True
        self.inside.shut(overwrite=True)

    # ------------------------------------------------------------------------------------------------------- the calls

    def call(self, partner: PartyId, path: str, body: bytes, *, timeout_s: float) -> bytes:
        """As `Host.call` to this provider."""
        assert partner == PROVIDER
        self.calls.append(path)
        if self.gone:
            raise PeerUnavailable("对方没有应答", "the partner does not answer")
        if self.busy:
            self.busy -= 1
            return relay.refused("SANDBOX_BUSY", retry_after_s=0)
        try:
            return relay.accepted(self.alter(path, self._answer(path, body)))
        except Refused as error:
            if error.code == "SANDBOX_ENDED":
                return relay.refused(error.code, cause=error.details["cause"])
            raise PeerError(error.zh, error.en, code=error.code) from error
        except ValueError as error:
            raise PeerError("拒绝", "refused", code="SANDBOX_REFUSED") from error

    def _answer(self, path: str, body: bytes) -> bytes:
        if path == relay.EVIDENCE:
            return self._evidence(relay.parse_evidence_request(body))
        if path == relay.START:
            start = relay.parse_start(body)
            self._named(start.sandbox)
            body = start_body(start.session, start.evidence, self.keys.get(start.key_id))
            return self.inside.request(Type.START, body, Type.HELLO)
        if path == relay.ANSWER:
            sandbox, message = relay.parse_answer(body)
            self._named(sandbox)
            return self.inside.request(Type.ANSWER, message, Type.CONFIRM)
        if path == relay.FRAMES:
            request = relay.parse_frames(body)
            if request.sandbox != self.sandbox:
                raise relay.sandbox_ended("sandbox-died")
            out = self.relay
            if self.cause and out.drained:
                raise relay.sandbox_ended(self.cause)
            return relay.format_download(out.exchange(request.upload, wait_ms=min(request.wait_ms, 300)))
        if path == relay.FETCH:
            relay.parse_fetch(body)
            return relay.EMPTY
        raise AssertionError(path)

    def _named(self, sandbox: str) -> None:
        if sandbox != self.sandbox:
            raise relay.sandbox_refused()

    def _evidence(self, request: relay.EvidenceRequest) -> bytes:
        if request.sandbox not in ("", self.sandbox) or self.cause:
            raise relay.sandbox_ended(self.cause or "sandbox-died")
        self.serial += 1
        facts = replace(FACTS, sandbox=self.sandbox, serial=self.serial)
        until_ms = time.time_ns() // 1_000_000 + 3_600_000
        terms = reading.canonical.format({**TERMS_JSON, "until_ms": until_ms})
        self.inside.link.send(Type.FACTS, reading.lv4(evidence.format_facts(facts)) + terms)
        raw = self.inside.request(Type.EVIDENCE, request.nonce.encode(), Type.STATEMENT)
        return evidence.sign_evidence(
            raw, facts=facts, nonce=request.nonce, key=KEYS["provider-service"], service=self.service
        )


class LocalNode:
    """A tenant's node as far as a session needs it. Keys: numbered, the provider's entity has the same."""

    party = TENANT
    message_key = KEYS["tenant-message"]

    def __init__(self, provider: LocalProvider, *, with_keys: bool = True) -> None:
        self.provider = provider
        self.keys: LocalNode | None = self if with_keys else None
        self.taken = 0
        self.revoked: set[str] = set()
        self.call = provider.call

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def random(self, size_bytes: int) -> bytes:
        return os.urandom(size_bytes)

    def fresh(self, partner: PartyId, *, name: str, what: str, policy: str, renews: bool = False) -> KeyShare | None:
        self.taken += 1
        share = KeyShare(f"key-{self.taken}", "simulated", self.random(32))
        self.provider.keys[share.key_id] = share
        return share

    def require_live(self, name: str) -> None:
        if name in self.revoked:
            raise Refused("会话已结束", "the session is over", code="SESSION_BROKEN")


class LocalJournal:
    """What was written down, in order; fails: names of steps at which the disk refuses."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, Any]] = []
        self.fails: set[str] = set()
        self.expects: dict[str, Any] = {}
        self.seen: set[str] = set()
        self.serials: dict[str, int] = {}

    def write(self, name: str, what: Any) -> None:
        if name in self.fails:
            raise StorageFailed("磁盘写不下", "the disk refused")
        self.entries.append((name, what))

    def names(self) -> list[str]:
        return [one for one, _ in self.entries]

    def expected(self, lease: str, sandbox: str, nonce: str) -> Expected:
        self.write("nonce", nonce)
        made = Expected(
            PROVIDER, TENANT, KEYS["provider-contract"].public, None, LEASE, "RUNNING", "run", "shared", sandbox, nonce, dict(self.serials),
            frozenset(self.seen), MANIFEST, "process", frozenset({"filter"}), "process",
        )  # fmt: skip
        return replace(made, **self.expects)

    def evidence_accepted(self, document: evidence.Evidence, nonce: str) -> None:
        self.write("evidence_accepted", document)
        self.serials[document.statement.sandbox] = document.statement.serial
        self.seen |= set(document.statement.keys.members().values())

    def evidence_refused(self, lease: str, raw: bytes, error: VerificationError) -> None:
        self.write("evidence_refused", error.details["check"])

    def session_opened(self, opened: Opened) -> None:
        self.write("session_opened", opened)

    def session_refused(self, name: str, error: WorkbenchError) -> None:
        self.write("session_refused", error.code)

    def answers_signed(self, opened: Opened, signed: SignedEnds) -> None:
        self.write("answers_signed", signed)

    def session_ended(self, opened: Opened, *, cause: str, frames_out: int, frames_in: int) -> None:
        self.write("session_ended", cause)


TERMS = LeaseTerms(LEASE, PROVIDER, Policy.HYBRID_REQUIRED)


def _service() -> servicekey.ServiceKey:
    now = time.time_ns() // 1_000_000
    return replace(PROVIDER_SERVICE, from_ms=now - 86_400_000, until_ms=now + 86_400_000)


def _until_closed(run: Callable[[], None]) -> None:
    with suppress(LinkClosed, OSError):
        run()
