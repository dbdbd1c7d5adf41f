"""The tenant's side of one sandbox at work: frames out and in, asks and their answers, stop, renewals, the end.

Document: docs/protocols/sandbox.md section 8. No database and no rule here: what is written down goes through the journal, what is
asked and shown is decided elsewhere. One thread reads what the sandbox sends; askers seal, send and wait for their own answer.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from workbench.channel.frame import Kind, split
from workbench.channel.session_state import OpenedFrame
from workbench.channel.stream import StreamOpener, StreamSealer
from workbench.crypto import sm3
from workbench.errors import PeerError, PeerUnavailable, Refused, VerificationError, WorkbenchError
from workbench_inference.asking.opening import (
    CALL_S,
    Journal,
    LeaseTerms,
    Node,
    Session,
    call,
    open_session,
    renew_session,
)
from workbench_sandbox.formats import asking, carried, relay
from workbench_sandbox.formats.asking import Ask, End, Record, RecordReader
from workbench_sandbox.formats.leasefile import SignedEnds
from workbench_sandbox.formats.reading import digest

PROVIDER_GONE_S: Final = 30.0
"""So long calls may fail before what is under way counts as cut; the provider keeps frames for as long."""
LATE_S: Final = 5.0
"""So long after its deadline an answer may still come to its end."""
IDLE_MS: Final = 2_000
"""So long nothing was under way before the ends so far are signed: a lease that is released has little left that nobody signed."""
CORPUS_S: Final = 120.0
PROBE_S: Final = 30.0
MOST_UPLOAD: Final = 3 << 20
CONTEXT_PART: Final = 32 << 10
GRACE_S: Final = 2.0
"""So long the rest of an answer may follow its end, where frames were carried out of order."""


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """What a session opens: SM3 and size of the sealed file, its name in the volume, and where the volume key comes from once it is opened."""

    corpus: str
    size: int
    file: str
    key: Callable[[], bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Came:
    """The end of an answer as it came. encoded: its JSON; frame: SM3 of the sealed frame, hex."""

    end: End
    encoded: bytes = field(repr=False)
    frame: str


@dataclass(frozen=True, slots=True)
class Suite:
    """What a sandbox says of its probe suite, run for this question. frame: SM3 of the sealed frame that it signed, hex."""

    sandbox: str
    probed: carried.Probed
    frame: str


@dataclass(slots=True)
class Inbox:
    """One ask under way. session: in which it was sealed; before: sealed frames that leave before it."""

    ask: Ask
    session: Session
    stream: StreamOpener
    reader: RecordReader
    events: queue.Queue[Record | Came | WorkbenchError]
    before: list[bytes]
    pending: Came | None = None
    pending_at: float = 0.0
    is_over: bool = False

    def put(self, event: Record | Came | WorkbenchError) -> None:
        """Hand on; after an end or an error nothing more."""
        if not self.is_over:
            self.is_over = not isinstance(event, Record)
            self.events.put(event)


class SandboxClient:
    """One sandbox of one lease. Safe for threads."""

    def __init__(
        self, node: Node, journal: Journal, terms: LeaseTerms, *, corpus: CorpusFile | None = None, session_s: int = 3600, tick_s: int = 60, sandbox: str = "",
        wait_ms: int = relay.MAX_WAIT_MS, gone_s: float = PROVIDER_GONE_S, grace_s: float = GRACE_S, answer_bytes: int = 1 << 20,
    ) -> None:  # fmt: skip
        """sandbox: its name, "" until the first evidence. wait_ms: of one look for frames. answer_bytes: of the image's limits."""
        self._node, self._journal, self._terms, self._corpus = node, journal, terms, corpus
        self._session_s, self._tick_s, self._wait_ms, self._gone_s, self._grace_s = (
            session_s,
            tick_s,
            wait_ms,
            gone_s,
            grace_s,
        )
        self._answer_bytes = answer_bytes
        self.sandbox = sandbox
        self.cause = ""
        self._lock = threading.RLock()
        self._opening = threading.Lock()
        self._session: Session | None = None
        self._opened_corpus = ""
        self._ready: queue.Queue[carried.CorpusReady] = queue.Queue()
        self._suites: queue.Queue[Suite] = queue.Queue()
        self._probing = threading.Lock()
        self._outgoing: list[bytes] = []
        self._acked = self._taken = self._uploading = 0
        self._uploaded = threading.Condition(self._lock)
        self._inboxes: dict[str, Inbox] = {}
        self._ends: dict[int, str] = {}
        self._signed = 0
        self._unsigned_since = 0.0
        self._asked_to_sign = 0.0
        self._closed = False

    # ------------------------------------------------------------------------------------------------- the session

    @property
    def session(self) -> Session | None:
        """The session at work, None before the first and after the last."""
        return self._session

    @property
    def waiting(self) -> int:
        """Asks under way."""
        return len(self._inboxes)

    def ensure(self) -> Session:
        """The session that the next ask is sealed in: the one at work, or another on new evidence. Raises as `open_session`.

        A session that is `session_s` old is replaced as soon as nothing is under way in it.
        """
        with self._opening:
            self._require_open()
            session = self._session
            if session is not None and session.sealed.live and self._is_live(session):
                is_due = self._node.now_ms() - session.began_ms >= self._session_s * 1000
                if not is_due or self._inboxes:
                    self._renew_if_due(session)
                    return session
                self._end("evidence-due")
            session = open_session(self._node, self._journal, self._terms, sandbox=self.sandbox)
            with self._lock:
                # A call of the session before that came after the first of this one would shift its places.
                self._uploaded.wait_for(lambda: not self._uploading, timeout=CALL_S)
                self.sandbox = session.opened.sandbox
                self._session, self._opened_corpus = session, ""
                self._ends, self._signed, self._unsigned_since, self._asked_to_sign = {}, 0, 0.0, 0.0
            self._carry(
                session, wait_ms=0
            )  # where the places of both directions stand; what an earlier session left is passed over
            threading.Thread(target=self._pump, args=(session,), name=f"sandbox-{self.sandbox}", daemon=True).start()
            self._open_corpus(session)
            return session

    def use_corpus(self, corpus: CorpusFile) -> None:
        """From the next ask on the sandbox reads this one."""
        with self._lock:
            self._corpus = corpus

    def close(self, *, cause: str = "released") -> None:
        """End the session; what is under way is cut."""
        with self._opening:
            self._closed = True
            self._end(cause)

    def _open_corpus(self, session: Session) -> None:
        corpus = self._corpus
        if corpus is None or self._opened_corpus == corpus.corpus:
            return
        self._fetch(corpus)
        payload = carried.format_corpus_open(carried.CorpusOpen(corpus.corpus, corpus.file, corpus.key()))
        self._put(session, payload, purpose=asking.CORPUS_OPEN)
        try:
            ready = self._ready.get(timeout=CORPUS_S)
        except queue.Empty:
            ready = carried.CorpusReady(corpus.corpus, 0, 0, "CORPUS_REFUSED")
        if ready.code or ready.corpus != corpus.corpus:
            raise Refused(
                "沙箱没有打开资料包，未提问；请运维人员重建索引或查看租约", "the sandbox has not opened the corpus, nothing was asked; operators index anew or look at the lease",
                code="CORPUS_REFUSED",
            )  # fmt: skip
        self._opened_corpus = corpus.corpus

    def _fetch(self, corpus: CorpusFile) -> None:
        """Let the provider pull the sealed file; returns once it lies in the volume."""
        body = relay.format_fetch(relay.Fetch(self._terms.lease, corpus.corpus, corpus.size))
        ends = time.monotonic() + CORPUS_S
        while True:
            try:
                relay.read_empty(call(self._node, self._terms.provider, relay.FETCH, body))
                return
            except Refused as error:
                if error.code != "SANDBOX_BUSY" or time.monotonic() > ends:
                    raise
                time.sleep(min(1.0, 0.05 + int(error.details.get("retry_after_s", "0")) / 10))

    def _renew_if_due(self, session: Session) -> None:
        if session.sealed.rekey_due(self._node.now_ms()):
            renew_session(self._node, self._journal, self._terms, session)

    # -------------------------------------------------------------------------------------------------------- asks

    def seal(self, ask: Ask, *, context: bytes = b"") -> bytes:
        """The sealed frame of an ask; nothing leaves yet. context: documents that go before it.

        Raises ValueError for an ask that its format does not hold, before a session is used; else as `ensure`, and Refused
        (SESSION_BROKEN, LINE_STOPPED …).
        """
        payload = asking.format_ask(ask)
        if len(context) > asking.MAX_CONTEXT_BYTES:
            raise ValueError("documents sent with one question have at most 4 MiB")
        session = self.ensure()
        with self._opening:
            self._open_corpus(session)
        self._require_live(session)
        now = self._node.now_ms()
        stream = StreamSealer(session.sealed, purpose=asking.CONTEXT, source=lambda _: asking.stream_of(ask.ask))
        places = range(0, len(context), CONTEXT_PART)
        before = [stream.seal(context[at : at + CONTEXT_PART], now_ms=now, final=at + CONTEXT_PART >= len(context)) for at in places]
        frame = session.sealed.seal(payload, purpose=asking.ASK, now_ms=now)
        with self._lock:
            self._inboxes[ask.ask] = Inbox(
                ask,
                session,
                StreamOpener(purpose=asking.ANSWER),
                RecordReader(most_bytes=self._answer_bytes),
                queue.Queue(),
                before,
            )
        return frame

    def drop(self, ask: str) -> None:
        """Forget an ask that is not sent, or whose answer nobody waits for."""
        with self._lock:
            self._inboxes.pop(ask, None)

    def send(self, ask: str, frame: bytes) -> None:
        """Let a sealed ask leave. Raises Refused (ANSWER_LOST) where its session ended meanwhile, PeerError."""
        with self._lock:
            inbox = self._inboxes.get(ask)
            if inbox is None or inbox.session is not self._session:
                raise answer_lost(self.cause or "session-ended")
            self._outgoing += [*inbox.before, frame]
            inbox.before = []
        try:
            self._carry(inbox.session, wait_ms=0)
        except (PeerError, Refused) as error:
            # The frame stays in line and goes with the next call of the reading thread, or is cut with the session.
            if isinstance(error, Refused) and error.code == "SANDBOX_ENDED":
                self._lost(inbox.session, error.details.get("cause", ""))

    def receive(self, ask: str) -> Iterator[Record | Came]:
        """The records of an answer as they come, its end last.

        Raises Refused (ANSWER_LOST with details["cause"]), VerificationError (ANSWER_ALTERED).
        """
        with self._lock:
            inbox = self._inboxes.get(ask)
        if inbox is None:
            raise answer_lost(self.cause or "session-ended")
        try:
            while True:
                event = self._next(inbox)
                if isinstance(event, WorkbenchError):
                    raise event
                yield event
                if isinstance(event, Came):
                    return
        finally:
            self.drop(ask)

    def stop(self, ask: str) -> None:
        """Ask the sandbox to end an answer; its end comes all the same. Nothing where it is not under way."""
        with self._lock:
            inbox = self._inboxes.get(ask)
        if inbox is not None and inbox.session is self._session:
            try:
                self._put(inbox.session, asking.format_stop(ask), purpose=asking.ASK_STOP)
            except WorkbenchError as error:
                inbox.put(answer_lost(error.code.lower()))

    def probe(self) -> Suite:
        """Let the sandbox run its probe suite now. Where it could do one of the things it must be refused, the session has ended.

        Raises as `ensure`, and Refused (ANSWER_LOST). Cost: milliseconds, and the end of the answers under way, at most a second.
        """
        with self._probing:
            session = self.ensure()
            while not self._suites.empty():
                self._suites.get_nowait()  # of a call that waited no longer
            self._put(session, carried.format_empty(), purpose=asking.PROBE)
            try:
                found = self._suites.get(timeout=PROBE_S)
            except queue.Empty:
                raise answer_lost(self.cause or "deadline") from None
            if found.probed.failed:
                self._lost(session, "probe")
            return found

    def _next(self, inbox: Inbox) -> Record | Came | WorkbenchError:
        while True:
            left_s = (inbox.ask.deadline_ms - self._node.now_ms()) / 1000 + LATE_S
            if inbox.pending is not None:
                left_s = min(left_s, inbox.pending_at + self._grace_s - time.monotonic())
            try:
                return inbox.events.get(timeout=min(0.25, max(0.001, left_s)))
            except queue.Empty:
                if left_s > 0:
                    continue
                if inbox.pending is not None:  # its end came, and the answer is not whole
                    return asking.answer_altered()
                return answer_lost("deadline")

    # ------------------------------------------------------------------------------------------------------ frames

    def _put(self, session: Session, payload: bytes, *, purpose: str) -> None:
        """Seal and send at once."""
        self._require_live(session)
        with self._lock:
            if session is not self._session:
                raise answer_lost(self.cause or "session-ended")
            self._outgoing.append(session.sealed.seal(payload, purpose=purpose, now_ms=self._node.now_ms()))
        self._carry(session, wait_ms=0)

    def _carry(self, session: Session, *, wait_ms: int) -> bool:
        """One call of `sandbox/frames`: what waits goes, what came is opened. False once the sandbox has ended."""
        frames, size = [], 0
        with self._lock:
            if session is not self._session:
                return False
            first, taken = self._acked, self._taken
            for frame in self._outgoing:
                size += len(frame) + 4
                if size > MOST_UPLOAD:
                    break
                frames.append(frame)
            self._uploading += bool(frames)
        # What goes is not held up by waiting for what comes, so that a session's end need not wait for it either.
        wait_ms = 0 if frames else wait_ms
        request = relay.FramesRequest(session.opened.sandbox, relay.Upload(first, taken, tuple(frames)), wait_ms)
        try:
            raw = call(
                self._node,
                self._terms.provider,
                relay.FRAMES,
                relay.format_frames(request),
                timeout_s=wait_ms / 1000 + 10,
            )
        finally:
            if frames:
                with self._lock:
                    self._uploading -= 1
                    self._uploaded.notify_all()
        download = relay.parse_download(raw)
        if download.frames:
            self._require_live(session)
        with self._lock:
            if session is not self._session:
                return False
            if download.received > self._acked:
                del self._outgoing[: download.received - self._acked]
                self._acked = download.received
            self._taken = max(self._taken, download.first)  # what a client of an earlier run took comes no more
            for frame in download.frames[self._taken - download.first :]:
                self._taken += 1
                self._open(session, frame)
        return download.state == relay.LIVE

    def _pump(self, session: Session) -> None:
        """Read what the sandbox sends until the session is over."""
        failed_since = 0.0
        while session is self._session:
            try:
                is_live = self._carry(session, wait_ms=self._wait_ms if self._asked_to_sign == self._unsigned_since else min(self._wait_ms, IDLE_MS))
                failed_since = 0.0
                if not is_live and session is self._session:
                    self._carry(session, wait_ms=0)  # says why it ended
                self._keep_up(session)
            except Refused as error:
                if error.code == "SANDBOX_BUSY":
                    time.sleep(0.2)
                else:
                    self._lost(session, error.details.get("cause", "") or _cause_of(error))
            except (PeerUnavailable, PeerError) as error:
                failed_since = failed_since or time.monotonic()
                if error.code in ("SANDBOX_REFUSED", "SANDBOX_REPLY") or time.monotonic() - failed_since > self._gone_s:
                    self._lost(session, "provider-gone" if isinstance(error, PeerUnavailable) else _cause_of(error))
                time.sleep(min(0.2, self._gone_s / 10))
            except WorkbenchError as error:
                self._lost(session, _cause_of(error))

    def _keep_up(self, session: Session) -> None:
        """Renew at a limit; ends that stay unsigned end the session."""
        if session.sealed.rekey_due(self._node.now_ms()) and self._opening.acquire(blocking=False):
            try:
                self._renew_if_due(session)
            finally:
                self._opening.release()
        with self._lock:
            since = self._unsigned_since
        age_s = time.monotonic() - since if since else 0.0
        if age_s > 2 * self._tick_s + LATE_S:
            self._lost(session, "unsigned")
        elif age_s > (self._tick_s if self._inboxes else min(self._tick_s, IDLE_MS / 1000)) and self._asked_to_sign != since:
            self._asked_to_sign = since
            self._put(session, carried.format_empty(), purpose=asking.ANSWERS_SIGN)

    def _open(self, session: Session, frame: bytes) -> None:
        """One frame of the sandbox. What does not open changes nothing but a count; too many end the session."""
        if split(frame).header.session != bytes.fromhex(session.sealed.session_id):
            return  # of the session before
        try:
            opened = session.sealed.open(frame, now_ms=self._node.now_ms())
        except VerificationError:
            return
        if opened.kind is Kind.END:
            self._lost(session, "ended")
        elif opened.purpose == asking.ANSWER and opened.kind is Kind.CHUNK:
            self._take_chunk(session, opened)
        elif opened.purpose == asking.ANSWER_END and opened.kind is Kind.DATA:
            self._take_end(session, opened.payload, sm3.digest(frame).hex())
        elif opened.purpose == asking.ANSWERS_SIGNED and opened.kind is Kind.SIGNED:
            self._take_signed(session, opened)
        elif opened.purpose == asking.CORPUS_READY and opened.kind is Kind.DATA:
            self._ready.put(carried.parse_corpus_ready(opened.payload))
        elif opened.purpose == asking.PROBE and opened.kind is Kind.SIGNED:
            self._suites.put(Suite(session.opened.sandbox, carried.parse_probed(opened.payload), sm3.digest(frame).hex()))

    def _take_chunk(self, session: Session, opened: OpenedFrame) -> None:
        inbox = next((one for one in self._inboxes.values() if asking.stream_of(one.ask.ask) == opened.stream), None)
        if inbox is None or inbox.session is not session:
            return
        try:
            for part in inbox.stream.accept(opened):
                for record in inbox.reader.feed(part):
                    inbox.put(record)
        except VerificationError as error:
            inbox.put(error)
            return
        self._finish(inbox)

    def _take_end(self, session: Session, payload: bytes, frame: str) -> None:
        end = asking.parse_end(payload)
        if end.number <= self._signed or end.number in self._ends:
            self._lost(session, "unsigned")  # one number for two ends: what is signed could not be matched
            return
        self._ends[end.number] = digest(payload)
        self._unsigned_since = self._unsigned_since or time.monotonic()
        inbox = self._inboxes.get(end.ask)
        if inbox is not None and inbox.session is session and inbox.pending is None:
            inbox.pending, inbox.pending_at = Came(end, payload, frame), time.monotonic()
            self._finish(inbox)

    def _finish(self, inbox: Inbox) -> None:
        """Hand the end on once the stream before it is whole; an ask that was refused has no stream."""
        came = inbox.pending
        if came is None or not (inbox.stream.complete or came.end.records == 0):
            return
        try:
            inbox.reader.finish(came.end)
        except VerificationError as error:
            inbox.put(error)
        else:
            inbox.put(came)

    def _take_signed(self, session: Session, opened: OpenedFrame) -> None:
        value = carried.parse_signed(opened.payload)
        numbers = range(value.first, value.last + 1)
        known = [self._ends[one] for one in numbers if one in self._ends]
        if value.first != self._signed + 1 or len(known) != len(numbers) or value.root != carried.root_of(known):
            self._lost(session, "unsigned")
            return
        assert opened.item is not None  # a frame of this kind carries one
        try:
            self._journal.answers_signed(session.opened, SignedEnds(opened.payload, opened.item.statement, opened.item.signature, tuple(known)))
        except WorkbenchError:  # what is not on disk could not be shown later
            self._lost(session, "unsigned")
            return
        self._signed = value.last
        for one in numbers:
            del self._ends[one]
        self._unsigned_since = time.monotonic() if self._ends else 0.0

    # ----------------------------------------------------------------------------------------------------- the end

    def _require_open(self) -> None:
        if self._closed:
            raise answer_lost(self.cause or "released")

    def _require_live(self, session: Session) -> None:
        """Whoever ended it, revoked its key or stopped its line ends it before the next frame."""
        if self._node.keys is None:
            return
        try:
            self._node.keys.require_live(session.opened.name)
        except WorkbenchError as error:
            if error.code == "REKEY_REQUIRED":
                renew_session(self._node, self._journal, self._terms, session)
                return
            self._lost(session, "revoked")
            raise

    def _is_live(self, session: Session) -> bool:
        """Whether the session may go on; one whose key was revoked has ended when this returns."""
        try:
            self._require_live(session)
        except WorkbenchError:
            return False
        return session is self._session

    def _lost(self, session: Session, cause: str) -> None:
        with self._lock:
            if session is self._session:
                self._end(cause)

    def _end(self, cause: str) -> None:
        """Wipe the keys, cut what is under way, write it down."""
        with self._lock:
            session, self._session = self._session, None
            self.cause = cause
            waiting = list(self._inboxes.values())
            self._outgoing = []
        for inbox in waiting:
            inbox.put(answer_lost(cause))
        if session is None:
            return
        status = session.sealed.status()
        session.sealed.kill()
        self._journal.session_ended(session.opened, cause=cause, frames_out=status.sent, frames_in=status.accepted)


def answer_lost(cause: str) -> Refused:
    """No answer comes: of section 11, `deadline`, `provider-gone`, or of a session."""
    return Refused(
        f"没有得到完整的答复（{cause}），已收到的部分作废；可以重新提问", f"no whole answer came ({cause}); what had come does not count, ask again",
        code="ANSWER_LOST", details={"cause": cause},
    )  # fmt: skip


def _cause_of(error: WorkbenchError) -> str:
    return error.code.lower().replace("_", "-")


__all__ = ["Came", "CorpusFile", "Inbox", "SandboxClient", "Suite", "answer_lost"]
