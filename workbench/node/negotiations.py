"""Messages about a job outside its attempts: proposal, approval, rejection, release notice, stop.

They are queued in the transaction of the change they report (outbox) and sent by one thread until the partner has
recorded them. Each is one signed frame of attempt 0; a repeated frame is refused, and a repeated message that lost
only its acknowledgement changes nothing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from workbench.channel.message import (
    InboundSequence,
    OutboundSequence,
    frame_digest,
    open_message,
    peek_header,
    seal_message,
)
from workbench.contracts import PeerCall, Transaction
from workbench.crypto import sm3
from workbench.domain.intersection import parse_job_id
from workbench.domain.party import PartyId
from workbench.errors import NotFound, PeerUnavailable, ProtocolViolation, WorkbenchError
from workbench.store.outbox import Outbox

PATH = "message"
FINAL_ANSWERS = frozenset(
    {"NO_JOB", "NOT_NOW", "EXPIRED", "TERMS_CHANGED", "WRONG_PARTY", "WRONG_MESSAGE", "MALFORMED", "OTHER_RELEASE"}
)
"""Refusals that another delivery of the same message would meet again; everything else is tried until it arrives."""


class Negotiations:
    """Sender and receiver of negotiation messages of one node."""

    def __init__(self, host: Any, outbox: Outbox) -> None:  # Any: the Workbench object owns this service
        self._host = host
        self._outbox = outbox
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._seen: dict[bytes, int] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="negotiations", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def wake(self) -> None:
        self._wake.set()

    def queue(self, tx: Transaction, party: PartyId, job: str, kind: str, body: Mapping[str, str]) -> None:
        """Send after this transaction is on disk, again and again until the partner has taken it."""
        self._outbox.put(tx, party, PATH, json.dumps({"job": job, "kind": kind, "body": dict(body)}).encode())

    def send_now(self, party: PartyId, job: str, kind: str, body: Mapping[str, str]) -> None:
        """Send once and wait; the partner's failure is raised."""
        host = self._host
        frame = seal_message(
            OutboundSequence(job=job, attempt=0, sender=host.party, recipient=party),
            kind=kind,
            payload=json.dumps(dict(body), sort_keys=True).encode(),
            contract="",
            key=host.keys.message,
            now_ms=host.now_ms(),
        )
        self._record("sent", party, job, kind, frame)
        host.links.call(party, PATH, frame, timeout_s=min(30.0, float(host.setting("node.step_timeout_s"))))

    def receive(self, call: PeerCall) -> None:
        """A negotiation frame from the peer API: verify, refuse repeats, record, and let the flow act."""
        host = self._host
        job = peek_header(call.body, max_bytes=host.setting("node.max_message_bytes")).job
        message = open_message(
            call.body,
            InboundSequence(job=job, attempt=0, sender=call.peer, recipient=host.party),
            key=host.pinned_keys(call.peer).message,
            contract="",
            now_ms=host.now_ms(),
            max_bytes=host.setting("node.max_message_bytes"),
            max_skew_s=host.setting("node.max_skew_s"),
        )
        self._require_own_job(call.peer, job)
        self._refuse_repeat(call.body)
        self._record("received", call.peer, job, message.kind, call.body)
        try:
            body = json.loads(message.payload)
        except (ValueError, RecursionError) as error:
            raise ProtocolViolation("消息不是 JSON", "The message is not JSON", code="MALFORMED") from error
        if not isinstance(body, dict) or not all(isinstance(value, str) for value in body.values()):
            raise ProtocolViolation("消息的格式不对", "The message is malformed", code="MALFORMED")
        self._handler(message.kind)(call.peer, job, body)
        host.sealing.wake()

    def _handler(self, kind: str) -> Callable[[PartyId, str, Any], None]:
        flow = self._host.flow
        handlers: dict[str, Callable[[PartyId, str, Any], None]] = {
            "proposal": flow.on_proposal,
            "approval": flow.on_approval,
            "rejection": lambda peer, job, body: flow.on_rejection(peer, job),
            "released": flow.on_released,
            "stopped": flow.on_stopped,
        }
        if kind not in handlers:
            raise ProtocolViolation("不认识的消息种类", "Unknown kind of message", code="WRONG_MESSAGE")
        return handlers[kind]

    def _require_own_job(self, peer: PartyId, job: str) -> None:
        """No frame is recorded under a job of somebody else: its story would show an institution that has no part in it."""
        try:
            known = self._host.jobs.get(parse_job_id(job))
        except ValueError as error:
            raise ProtocolViolation("消息里的编号格式不对", "The job id of the message is malformed", code="MALFORMED") from error
        except NotFound:
            return
        if known.partner != peer:
            raise NotFound("没有这次求交", "There is no such intersection", code="NO_JOB")

    def _refuse_repeat(self, frame: bytes) -> None:
        """Frames older than the accepted clock difference are refused by time; younger ones are remembered here."""
        now = self._host.now_ms()
        keep_ms = 4000 * int(self._host.setting("node.max_skew_s"))
        digest = sm3.digest(frame)
        with self._lock:
            self._seen = {one: at for one, at in self._seen.items() if at + keep_ms > now}
            if digest in self._seen:
                raise ProtocolViolation("这条消息已经收过", "This message was received before", code="REPLAYED")
            self._seen[digest] = now

    def _record(self, direction: str, partner: PartyId, job: str, kind: str, frame: bytes) -> None:
        host = self._host
        values = {
            "partner": partner,
            "attempt": "0",
            "direction": direction,
            "message": kind,
            "round": "0",
            "size": str(len(frame)),
            "digest": frame_digest(frame),
        }
        host.store.write(lambda tx: host.evidence.append(tx, "intersection.message", values, job=job))

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self._host.flow.expire()
                self._send_due()
            except Exception as fault:  # the queue must survive any single fault
                self._host.log_fault(fault)
                self._stop.wait(1.0)
            self._wake.wait(timeout=1.0)
            self._wake.clear()

    def _send_due(self) -> None:
        """One partner that is silent, or whose answer makes us stumble, must not hold up messages to the others."""
        host = self._host
        silent: set[str] = set()
        for item in self._outbox.due(host.now_ms(), path=PATH):
            if self._stop.is_set():
                return
            if item.peer in silent:
                continue
            value = json.loads(item.body)
            try:
                self.send_now(PartyId(item.peer), value["job"], value["kind"], value["body"])
            except WorkbenchError as error:
                if isinstance(error, PeerUnavailable):
                    silent.add(item.peer)
                if error.code not in FINAL_ANSWERS:
                    self._note_failure(item.id, error.code)
                    continue
                host.flow.on_refused_by_partner(PartyId(item.peer), value["job"], value["kind"], error.code)
            except Exception as fault:
                host.log_fault(fault)
                self._note_failure(item.id, "INTERNAL")
                continue
            host.store.write(partial(self._close, number=item.id))

    def _close(self, tx: Transaction, *, number: int) -> None:
        self._outbox.done(tx, number, self._host.now_ms())

    def _note_failure(self, number: int, code: str) -> None:
        host = self._host
        host.store.write(lambda tx: self._outbox.failed(tx, number, host.now_ms(), code))
