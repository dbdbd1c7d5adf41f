"""Questions answered one after the other: records streamed in chunks, one signed end each, limits, stop.

Document: docs/protocols/sandbox.md section 8. Nothing of a question is kept when it has ended.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from workbench.channel.stream import StreamSealer
from workbench.errors import WorkbenchError
from workbench_sandbox.corpus.types import Sources
from workbench_sandbox.engines.contract import AnswerEngine, EngineFailed
from workbench_sandbox.formats.asking import Ask, End, RecordWriter, Text, format_end, format_record, stream_of
from workbench_sandbox.inside.session import Open, Sessions

CHUNK_BYTES = 2 << 10
CHUNK_MS = 50
_TOKEN = re.compile(r"[⺀-鿿豈-﫿]|[^\W⺀-鿿豈-﫿]+|[^\w\s]")


def count_tokens(text: str) -> int:
    """One for each Chinese character, word and sign: the same for every engine, so that a meter compares."""
    return sum(1 for _ in _TOKEN.finditer(text))


@dataclass(slots=True)
class Counted:
    """What this sandbox did under its lease."""

    asks: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(slots=True)
class Question:
    """One question on its way. why: what stopped it, "" for nothing: `stopped` or `cut`."""

    ask: Ask
    sources: Sources
    session: Open
    stopped: threading.Event = field(default_factory=threading.Event)
    why: str = ""

    def stop(self, why: str) -> None:
        """End it as soon as its engine looks."""
        self.why = self.why or why
        self.stopped.set()


class Answering:
    """The thread that answers. tell: called after each end, with the counts; tidy: before it, so that nothing of a question is kept."""

    def __init__(
        self, engine: AnswerEngine, sessions: Sessions, *, answer_bytes: int, asks_at_once: int, clock: Callable[[], int],
        tell: Callable[[Counted], None], tidy: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._engine, self._sessions, self._clock, self._tell, self._tidy = engine, sessions, clock, tell, tidy
        self._answer_bytes = answer_bytes
        self._queue: queue.Queue[Question | None] = queue.Queue()
        self._most = asks_at_once
        self._known: dict[str, Question] = {}
        self._ending: set[str] = set()  # answered: who hears of its end may ask the next one before it is forgotten here
        self._lock = threading.Lock()
        self.counted = Counted()
        self.until_ms = 0
        self._thread = threading.Thread(target=self._work, name="answering", daemon=True)

    def start(self) -> None:
        """Begin; the one thread that is started after the filter is in force."""
        self._thread.start()

    def take(self, question: Question) -> bool:
        """Whether there is room for it; the same ask twice is taken once."""
        with self._lock:
            if question.ask.ask in self._known:
                return True
            if len(self._known) - len(self._ending) >= self._most:
                return False
            self._known[question.ask.ask] = question
        self._queue.put(question)
        return True

    def stop(self, ask: str) -> None:
        """The tenant wants no more of it."""
        with self._lock:
            question = self._known.get(ask)
        if question is not None:
            question.stop("stopped")

    def cut(self) -> None:
        """Lease or session ended: everything under way ends with `cut`. Waits for the one that is being answered."""
        with self._lock:
            waiting = list(self._known.values())
        for one in waiting:
            one.stop("cut")
        self._let_end(waiting)

    def idle(self) -> None:
        """What its server left unanswered ends by itself: wait for it."""
        with self._lock:
            waiting = list(self._known.values())
        self._let_end(waiting)

    def _let_end(self, waiting: list[Question]) -> None:
        ends = time.monotonic() + 1.0
        while time.monotonic() < ends and any(one.ask.ask in self._known for one in waiting):
            time.sleep(0.005)

    def refuse(self, session: Open, ask: str, code: str) -> None:
        """The end of an ask that is not answered."""
        self._end(session, ask, "refused", code, RecordWriter(), 0, 0, 0)

    # ------------------------------------------------------------------------------------------------------- the work

    def _work(self) -> None:
        while (question := self._queue.get()) is not None:
            try:
                self._answer(question)
            except WorkbenchError:
                pass  # the session is over: nobody can be told
            finally:
                with self._lock:
                    self._known.pop(question.ask.ask, None)
                    self._ending.discard(question.ask.ask)
                self._tell(self.counted)
            del question

    def _answer(self, question: Question) -> None:
        ask, began = question.ask, time.monotonic()
        writer, sealer = RecordWriter(), StreamSealer(question.session.sealed, purpose="answer", source=lambda _: stream_of(ask.ask))
        state, code, out, rest = self._streamed(question, writer, sealer)
        self._tidy()
        card_ms = round((time.monotonic() - began) * 1000)
        read, out = self._used(count_tokens(ask.question) + count_tokens(ask.prompt), out)
        self.counted.asks += 1
        self.counted.tokens_in += read
        self.counted.tokens_out += out
        with self._lock:
            self._ending.add(ask.ask)
        self._end(
            question.session, ask.ask, state, code, writer, read, out, card_ms, lambda: sealer.seal(rest, now_ms=self._clock(), final=True)
        )  # fmt: skip

    def _streamed(self, question: Question, writer: RecordWriter, sealer: StreamSealer) -> tuple[str, str, int, bytes]:
        """(state, code, tokens, last chunk) of an answer whose other chunks have been sent."""
        buffer, out, sent = bytearray(), 0, time.monotonic()
        state, code = "", ""
        try:
            for record in self._engine.answer(question.ask, question.sources, lambda: self._stops(question)):
                if question.why:
                    break
                if writer.bytes + len(format_record(record)) > self._answer_bytes:
                    state, code = "failed", "OUTPUT_LIMIT"
                    break
                buffer += writer.add(record)
                out += count_tokens(record.d) if isinstance(record, Text) else 0
                while len(buffer) >= CHUNK_BYTES or (buffer and (time.monotonic() - sent) * 1000 >= CHUNK_MS):
                    self._sessions.send_chunk(question.session, sealer, bytes(buffer[:CHUNK_BYTES]))
                    del buffer[:CHUNK_BYTES]
                    sent = time.monotonic()
        except EngineFailed as error:
            state, code = "failed", error.code
        except WorkbenchError:
            raise
        except Exception:  # noqa: BLE001 - whatever an engine does, its question ends with one code and nothing else is said
            state, code = "failed", "ENGINE_FAILED"
        while len(buffer) > CHUNK_BYTES:
            self._sessions.send_chunk(question.session, sealer, bytes(buffer[:CHUNK_BYTES]))
            del buffer[:CHUNK_BYTES]
        if not state:
            state, code = self._state(question, writer)
        return state, code, out, bytes(buffer)

    def _used(self, read: int, out: int) -> tuple[int, int]:
        """Tokens of this answer: as the server that generated it counted them, where it says so; else our own count."""
        used: tuple[int, int] | None = getattr(self._engine, "used", lambda: None)()
        return used if used is not None else (read, out)

    def _state(self, question: Question, writer: RecordWriter) -> tuple[str, str]:
        if question.why:
            return question.why, ""
        if self._clock() >= question.ask.deadline_ms:
            return "failed", "ASK_LATE"
        return ("answered" if writer.citations else "abstained"), ""

    def _stops(self, question: Question) -> bool:
        now = self._clock()
        if self.until_ms and now >= self.until_ms:
            question.stop("cut")
        return question.stopped.is_set() or now >= question.ask.deadline_ms

    def _end(
        self, session: Open, ask: str, state: str, code: str, writer: RecordWriter, read: int, out: int, card_ms: int,
        last: Callable[[], bytes] | None = None,
    ) -> None:  # fmt: skip
        def payload(number: int) -> bytes:
            counts = (writer.bytes, writer.records, read, out, card_ms, writer.citations, writer.dropped)
            return format_end(End(ask, number, state, code, writer.digest, *counts))

        self._sessions.send_end(session, payload, last)
