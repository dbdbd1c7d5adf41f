"""One attempt's exchange with the partner: signed frames in order, each an entry before it counts.

The frames are those of docs/protocols/messages.md. `send` and `receive` are called by the thread that runs the attempt;
`deliver` by the peer API. Nothing here knows what the messages mean.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench.channel.message import (
    InboundSequence,
    OpenedMessage,
    OutboundSequence,
    open_message,
    seal_message,
)
from workbench.domain.party import PartyId
from workbench.errors import (
    PeerError,
    PeerUnavailable,
    ProtocolViolation,
    WorkbenchError,
)

if TYPE_CHECKING:
    from workbench.host import Workbench

QUEUE_FRAMES = 64
"""Frames that may wait unread; the sender's next call waits beyond it (back-pressure)."""

OWN_ENDINGS = frozenset(
    {"REFUSED_SMALL", "DISPUTED", "ABORTED_AFTER_REVEAL", "CANCELLED", "STOPPED_BY_PARTNER", "NODE_STOPPED", "INTERNAL"}
)
"""Codes by which this side's own work ends: the reply to a frame, whose code the partner chooses, never passes for one."""

ATTEMPT_OVER = "ATTEMPT_OVER"
"""The answer to a frame of an attempt that has ended: its reason comes, or came, in a notice of its own."""

_POLL_S = 0.25


def attempt_over(job: str, attempt: int) -> PeerError:
    """The reply to a frame of an attempt that has ended here."""
    return PeerError(
        f"{job} 的第 {attempt} 次尝试在本机构已经结束", f"Attempt {attempt} of {job} is over here", code="ATTEMPT_OVER"
    )


class WaitingBytes:
    """Bytes of frames that wait to be read, partner by partner: each has a share of its own, and fills no other's.

    share: bytes of one partner at this moment. A frame larger than it passes when nothing else of the partner waits.
    """

    def __init__(self, share: Callable[[], int]) -> None:
        self._share = share
        self._used: dict[str, int] = {}
        self._changed = threading.Condition()

    def take(self, partner: str, size: int, *, timeout_s: float) -> bool:
        """Reserve room for a frame, waiting a little for it; False when there was none."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._fits(partner, size), timeout_s):
                return False
            self._used[partner] = self._used.get(partner, 0) + size
            return True

    def give(self, partner: str, size: int) -> None:
        """A frame was read or dropped."""
        with self._changed:
            self._used[partner] = self._used.get(partner, 0) - size
            self._changed.notify_all()

    def used(self, partner: str) -> int:
        with self._changed:
            return self._used.get(partner, 0)

    def _fits(self, partner: str, size: int) -> bool:
        used = self._used.get(partner, 0)
        return not used or used + size <= self._share()


class Conversation:
    """Frames of one job and attempt between this node and one partner.

    step_timeout_s: longest wait for one frame or one acknowledgement. deadline_s: monotonic time of the total limit.
    """

    def __init__(
        self,
        host: Workbench,
        *,
        job: str,
        attempt: int,
        partner: PartyId,
        step_timeout_s: float,
        total_timeout_s: float,
        waiting: WaitingBytes | None = None,
    ) -> None:
        self._waiting = waiting or WaitingBytes(lambda: 1 << 62)
        self._is_discarded = False
        self.job = job
        self.attempt = attempt
        self.partner = partner
        self.bytes_sent = 0
        self.bytes_received = 0
        self._contract_out = ""
        self._contract_in = ""
        self._host = host
        self._step_timeout_s = step_timeout_s
        self.total_timeout_s = total_timeout_s
        self._deadline = time.monotonic() + total_timeout_s
        self._outbound = OutboundSequence(job=job, attempt=attempt, sender=host.party, recipient=partner)
        self._inbound = InboundSequence(job=job, attempt=attempt, sender=partner, recipient=host.party)
        self._queue: queue.Queue[OpenedMessage] = queue.Queue(QUEUE_FRAMES)
        self.ended_by = ""
        self._ended: WorkbenchError | None = None
        self._lock = threading.Lock()

    def expect_contract(self, digest: bytes) -> None:
        """From now on the partner's frames must name this contract."""
        self._contract_in = digest.hex()

    def name_contract(self, digest: bytes) -> None:
        """From now on our frames name this contract."""
        self._contract_out = digest.hex()

    def send(self, kind: str, payload: bytes) -> None:
        """Record, sign and send one frame; returns when the partner has recorded it too.

        Raises PeerUnavailable when the partner does not answer within the step's limit, PeerError when it refuses.
        """
        self.raise_if_ended()
        host = self._host
        frame = seal_message(
            self._outbound,
            kind=kind,
            payload=payload,
            contract=self._contract_out,
            key=host.keys.message,
            now_ms=host.now_ms(),
        )
        self._record("sent", kind, self._outbound.sequence, self._outbound.previous, len(frame))
        try:
            host.links.call(self.partner, "message", frame, timeout_s=self._remaining_s())
        except PeerError as refusal:
            if refusal.code == ATTEMPT_OVER:
                raise self._over_there() from refusal
            if refusal.code in OWN_ENDINGS:
                raise PeerError(refusal.zh, refusal.en, details=refusal.details) from refusal
            raise
        self.bytes_sent += len(frame)

    def receive(self, kind: str) -> bytes:
        """The payload of the next frame, which must be of this kind.

        Raises PeerUnavailable after the step's limit, Cancelled or PeerError when the exchange was ended meanwhile.
        """
        limit = time.monotonic() + self._remaining_s()
        while True:
            self.raise_if_ended()
            try:
                message = self._queue.get(timeout=_POLL_S)
                self._waiting.give(self.partner, len(message.payload))
                break
            except queue.Empty:
                if time.monotonic() > limit:
                    raise self._silent() from None
        if message.kind != kind:
            raise ProtocolViolation(
                f"{self.partner} 发来「{message.kind}」，此步应为「{kind}」。本次尝试中止",
                f"{self.partner} sent {message.kind} where {kind} was due; the attempt ends",
                code="WRONG_MESSAGE",
            )
        return message.payload

    def deliver(self, frame: bytes) -> None:
        """Take one frame from the peer API: verify, record, queue. Raises ProtocolViolation and changes nothing else."""
        host = self._host
        with self._lock:
            message = open_message(
                frame,
                self._inbound,
                key=host.pinned_keys(self.partner).message,
                contract=self._contract_in,
                now_ms=host.now_ms(),
                max_bytes=host.setting("node.max_message_bytes"),
                max_skew_s=host.setting("node.max_skew_s"),
            )
            try:
                self._record("received", message.kind, message.sequence, message.frame_digest, len(frame))
            except WorkbenchError as failure:
                # The sequence has moved on, so this exchange cannot be continued without a gap in the evidence.
                self.end(failure)
                raise
            self.bytes_received += len(frame)
        limit = time.monotonic() + self._remaining_s()
        while True:
            if self._ended is not None:  # why is told by a notice of its own, not by this reply
                raise attempt_over(self.job, self.attempt)
            self.raise_if_ended()
            if self._waiting.take(self.partner, len(message.payload), timeout_s=_POLL_S):
                if self._put(message):
                    return
                self._waiting.give(self.partner, len(message.payload))
            if time.monotonic() > limit:
                raise PeerError("本机构处理不过来，请稍后重试", "This node is too busy; try again later", code="BUSY")

    def discard(self) -> None:
        """The attempt is over: what still waits unread is dropped, and so is what arrives now."""
        self._is_discarded = True
        while True:
            try:
                message = self._queue.get_nowait()
            except queue.Empty:
                return
            self._waiting.give(self.partner, len(message.payload))

    def _put(self, message: OpenedMessage) -> bool:
        try:
            self._queue.put(message, timeout=_POLL_S)
        except queue.Full:
            return False
        if self._is_discarded:  # nobody will read it
            self.discard()
        return True

    def end(self, reason: WorkbenchError, *, actor: str = "") -> None:
        """Make the running attempt stop at its next step with this reason; the first reason counts.

        actor: token of the person who stopped it, kept as `ended_by` for the evidence.
        """
        if self._ended is None:
            self._ended, self.ended_by = reason, actor

    def raise_if_ended(self) -> None:
        """Raise the reason for which this exchange was ended, or PeerUnavailable beyond the total limit."""
        if self._ended is not None:
            raise self._ended
        if time.monotonic() > self._deadline:
            raise PeerUnavailable(
                f"{self.job} 超过总时限，已中止。可重新运行",
                f"{self.job} exceeded its total time and stopped. It can be run again",
                code="TOTAL_TIMEOUT",
            )

    def _remaining_s(self) -> float:
        return max(0.1, min(self._step_timeout_s, self._deadline - time.monotonic()))

    def _silent(self) -> PeerUnavailable:
        return PeerUnavailable(
            f"{self.partner} {self._step_timeout_s:.0f} 秒没有回应，{self.job} 已中止。运维联系对方，恢复后重新运行",
            f"{self.partner} gave no answer for {self._step_timeout_s:.0f} s; {self.job} stopped."
            " Operations call them, then run it again",
            code="STEP_TIMEOUT",
        )

    def _over_there(self) -> WorkbenchError:
        """The partner has ended this attempt: by its notice when that came first."""
        return self._ended or PeerError(
            f"{self.partner} 已结束 {self.job} 的这次尝试。可重新运行",
            f"{self.partner} has ended this attempt of {self.job}. It can be run again",
            code="STOPPED_BY_PARTNER",
        )

    def _record(self, direction: str, kind: str, sequence: int, digest: str, size: int) -> None:
        values = {
            "partner": self.partner,
            "attempt": str(self.attempt),
            "direction": direction,
            "message": kind,
            "round": str(sequence),
            "size": str(size),
            "digest": digest,
        }
        host = self._host
        host.store.write(lambda tx: host.evidence.append(tx, "intersection.message", values, job=self.job))
