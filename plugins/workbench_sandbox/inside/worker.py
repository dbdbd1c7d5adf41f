"""The program inside a sandbox. `python -I -S worker.py DESCRIPTOR`: one descriptor in, nothing else.

Document: docs/sandbox-design.md section 4. It loads engine and weights, measures them, closes itself, runs the probe suite and says
ready: a spare. Then it makes evidence, sessions and answers. It writes no log; an unexpected fault is one code and an exit.
"""

from __future__ import annotations

import os
import platform
import select
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    # The launcher binds these two; the interpreter was started without any search path of its own.
    sys.path[:0] = ["/runtime/code", "/runtime/packages"]

from workbench.channel.files import FileOpener
from workbench.channel.frame import Kind
from workbench.channel.session_state import OpenedFrame
from workbench.channel.stream import StreamOpener
from workbench.channel.terms import Policy, QkdShare
from workbench.crypto import sm2, sm3
from workbench.errors import VerificationError, WorkbenchError
from workbench_sandbox.corpus.types import Sources
from workbench_sandbox.engines.contract import AnswerEngine
from workbench_sandbox.formats import carried, evidence, reading
from workbench_sandbox.formats.asking import Ask, ask_malformed, parse_ask, parse_stop, stream_of
from workbench_sandbox.inside import filter as filters
from workbench_sandbox.inside import limits, measuring, probing
from workbench_sandbox.inside.answering import Answering, Counted, Question
from workbench_sandbox.inside.link import RELEASE, Link, LinkClosed, Message, Type
from workbench_sandbox.inside.session import Open, Sessions, Terms, refusal

if TYPE_CHECKING:
    from workbench_sandbox.inside.beside import Beside

IMAGE, CORPORA, SCRATCH = Path("/image"), Path("/corpora"), Path("/scratch")
NO_ASK = "ask-" + "0" * 32
"""The name in the end of a question that could not be read."""
LAST_ASK_MS = 20_000
"""Before the end of a lease no question is taken in."""
TICK_S = 60.0
MAX_CONTEXT_BYTES = 4 << 20
_PIECE = 1 << 20
_PROCESSES = 3
"""With a server inside: itself, keeper, server."""


class Worker:
    """One sandbox from its plan to its end."""

    def __init__(self, link: Link, plan: Mapping[str, Any]) -> None:
        self._link, self._plan = link, plan
        self._engine = _engine(plan)
        self._measured: evidence.Measured | None = None
        self._facts: evidence.OuterFacts | None = None
        self._terms: Terms | None = None
        self._until_ms = 0
        self._corpora: dict[str, Any] = {}
        self._context: dict[bytes, tuple[StreamOpener, bytearray]] = {}
        self._ticked = time.monotonic()
        self._beside: Beside | None = None

    def prepare(self) -> None:
        """Load, close, probe, say ready. Raises OSError, WorkbenchError."""
        plan = self._plan
        for name in plan["modules"]:
            import_module(name)
        paths = {one: IMAGE / one for one in plan["weights"]}
        digests = {one: measuring.weights_digest(path) for one, path in paths.items()}
        if digests != plan["weights"]:
            raise refusal("IMAGE_ALTERED")  # before anything reads them
        self._engine.load(paths, threads=plan["threads"])
        handed = self._take_upstream(plan["upstream"]) if plan["upstream"] else frozenset()
        if "no-core" not in plan["without"]:
            limits.close_privileges()
        program = self._start_server(plan["program"]) if plan["program"] else ""
        if self._beside is not None:
            handed = self._beside.descriptors()
        if plan["memory"]:
            limits.limit_memory(plan["memory"])
        if plan["processes"] and plan["by_limits"]:
            limits.limit_processes(plan["processes"])
        if plan["filter"]:
            limits.install(filters.program(plan["filter"], limits.machine()))
        probed = self._probe()
        descriptors = frozenset({self._link.fileno()}) | handed
        expected = measuring.Expected(frozenset(plan["mounts"]), descriptors, plan["scratch"], *(() if self._beside is None else (_PROCESSES, self._beside.filter)))
        controls = measuring.controls(expected, probed, weights=len(digests))
        self._measured = evidence.Measured(
            tuple(evidence.Weight(one, digests[one]) for one in sorted(digests)), platform.python_version(), platform.release(),
            limits.machine(), controls, evidence.Probe(probed.tried, probed.refused, probed.failed), program,
        )  # fmt: skip
        self._sessions = Sessions(self._measured, self._link.send_frames, now_ms)
        self._answering = Answering(
            self._engine, self._sessions, answer_bytes=plan["answer_bytes"], asks_at_once=plan["asks_at_once"], clock=now_ms,
            tell=self._tell, tidy=self._tidy,
        )  # fmt: skip
        self._kept = set(SCRATCH.iterdir()) if SCRATCH.is_dir() else set()
        self._answering.start()
        self._link.send(
            Type.READY,
            {
                "release": RELEASE, "weights": digests, "filter": sm3.digest(self._program()).hex() if plan["filter"] else "",
                "failed": list(probed.failed), "tried": probed.tried, "server": self._beside.filter if self._beside is not None else "",
                "engine": [self._engine.name, self._engine.kind, self._engine.version],
                "executable": self._beside.executable if self._beside is not None else "",
            },
        )  # fmt: skip

    def _take_upstream(self, told: Mapping[str, Any]) -> frozenset[int]:
        """Tell an engine that stands beside the sandbox where to ask, and through which descriptor. Before the filter."""
        import socket

        from workbench_sandbox.engines.relayed import Relay

        engine: Any = self._engine  # Any: only engines of kind upstream have these two
        engine.configure({name: value for name, value in told.items() if name not in ("key", "descriptor")})
        engine.through(Relay(socket.socket(fileno=told["descriptor"])), key=told["key"])
        return frozenset({told["descriptor"]})

    def _start_server(self, encoded: str) -> str:
        """Start the server of this sandbox and tell the engine of it; SM3 of the definition that was started. Before the filter."""
        from workbench_sandbox.engines.relayed import Relay
        from workbench_sandbox.formats.program import parse_program
        from workbench_sandbox.inside import beside

        program = parse_program(encoded.encode())
        try:
            self._beside = beside.start(program, self._plan, self._suite())
        except beside.ServerSilent as silent:
            # Told in its own words: nobody's question was in here yet.
            self._link.send(Type.ERROR, {"code": silent.code, "why": silent.why})
            raise LinkClosed from silent
        engine: Any = self._engine  # Any: only engines of kind upstream have these
        engine.stands_inside({"v": 1, "host": "localhost", "path": program.path, "model": program.model, "tls": False, "ca": ""})
        engine.through(Relay(self._beside.channel))
        return program.digest

    def run(self) -> None:
        """Serve until the launcher says end or is gone, or the server of this sandbox ends: then it serves no more."""
        waited = [self._link.fileno(), *([self._beside.keeper] if self._beside is not None else [])]
        while True:
            ready = _wait(waited, 1.0)
            self._on_time()
            if waited[-1] in ready and self._beside is not None:
                self._answering.idle()
                self._sessions.end()
                return
            if not ready:
                continue
            message = self._link.receive()
            if message.type is Type.END:
                self._finish()
                return
            try:
                self._serve(message)
            except WorkbenchError as error:
                # A frame has no answer of its own: whatever is wrong with it is counted by the session.
                if message.type is not Type.FRAME_IN:
                    self._link.send(Type.ERROR, {"code": error.code})
            except (ValueError, KeyError):
                if message.type is not Type.FRAME_IN:
                    self._link.send(Type.ERROR, {"code": "SANDBOX_REQUEST"})

    # ------------------------------------------------------------------------------------------------- the launcher's

    def _serve(self, message: Message) -> None:
        match message.type:
            case Type.FACTS:
                self._learn(message.body)
            case Type.EVIDENCE:
                self._state(message.body.decode("ascii"))
            case Type.START:
                self._start(message.body)
            case Type.ANSWER:
                self._link.send(Type.CONFIRM, self._sessions.answer(message.body))
            case Type.FRAME_IN:
                self._frame(message.body)
            case Type.EXTEND:
                self._until_ms = self._answering.until_ms = int(message.json()["until_ms"])
            case Type.PROBE:
                self._answering.idle()
                probed = self._probe()
                self._link.send(Type.PROBE, {"tried": probed.tried, "failed": list(probed.failed)})
            case _:
                raise refusal("SANDBOX_REQUEST")

    def _learn(self, body: bytes) -> None:
        """LV4(facts) ‖ JSON of the terms."""
        cursor = reading.Cursor(body)
        self._facts = evidence.parse_facts(cursor.lv4(most=64 << 10))
        terms = Message(Type.FACTS, cursor.rest()).json()
        self._terms = Terms(
            sm2.PublicKey.parse(terms["tenant_key"]), Policy(terms["policy"]), tuple(terms["provenances"]), tuple(terms["suites"])
        )  # fmt: skip
        self._until_ms = self._answering.until_ms = int(terms["until_ms"])

    def _state(self, nonce: str) -> None:
        if self._facts is None or self._terms is None:
            raise refusal("SANDBOX_REQUEST")
        self._link.send(Type.STATEMENT, self._sessions.statement(self._facts, self._terms, nonce=nonce, until_ms=self._until_ms))

    def _start(self, body: bytes) -> None:
        """LV1 of session, evidence, key id, provenance and the key's value; empty where the policy asks for none."""
        if self._terms is None:
            raise refusal("SANDBOX_REQUEST")
        cursor = reading.Cursor(body)
        session, wanted, key_id, provenance, value = (cursor.lv1() for _ in range(5))
        cursor.end()
        share = QkdShare(key_id.decode("ascii"), provenance.decode("ascii"), value) if key_id else None
        if not session and self._sessions.current is not None:
            self._answering.cut()
        self._link.send(Type.HELLO, self._sessions.hello(session.decode("ascii"), wanted.decode("ascii"), self._terms, share))

    # ---------------------------------------------------------------------------------------------------- the tenant's

    def _frame(self, frame: bytes) -> None:
        opened = self._sessions.open(frame)
        running = self._sessions.current
        assert running is not None
        if opened.kind is Kind.END:
            self._answering.cut()
            self._sessions.end()
            return
        match opened.purpose:
            case "ask":
                self._ask(running, opened.payload)
            case "ask.stop":
                self._answering.stop(parse_stop(opened.payload))
            case "context":
                self._collect(opened)
            case "corpus.open":
                self._open_corpus(running, opened.payload)
            case "answers.sign":
                carried.parse_empty(opened.payload)
                self._sessions.sign_ends(running)
            case "probe":
                carried.parse_empty(opened.payload)
                self._probe_for(running)

    def _ask(self, running: Open, payload: bytes) -> None:
        try:
            ask = parse_ask(payload)
        except VerificationError as error:
            self._answering.refuse(running, NO_ASK, error.code)
            return
        code, sources = self._sources(ask)
        now = now_ms()
        if now >= ask.deadline_ms or (self._until_ms and now >= self._until_ms - LAST_ASK_MS):
            code = "ASK_LATE"
        if not code and not self._answering.take(Question(ask, sources, running)):
            code = "ENGINE_BUSY"
        if code:
            self._answering.refuse(running, ask.ask, code)

    def _sources(self, ask: Ask) -> tuple[str, Sources]:
        """(code, what the engine may read)."""
        sent = self._context.pop(stream_of(ask.ask), None)
        if ask.corpus and ask.corpus not in self._corpora:
            return "CORPUS_MISSING", _Nothing()
        sources: Sources = self._corpora.get(ask.corpus, _Nothing())
        if not ask.context and sent is None:
            return "", sources
        if sent is None or not sent[0].complete:
            return "ASK_MALFORMED", sources
        try:
            from workbench_sandbox.corpus import Corpus, Joined, parse_documents

            documents = parse_documents(bytes(sent[1]))
            if len(documents) != ask.context:
                return "ASK_MALFORMED", sources
            return "", Joined(sources if isinstance(sources, Corpus) else Corpus.of(()), documents)
        except VerificationError:
            return "ASK_MALFORMED", sources

    def _collect(self, opened: OpenedFrame) -> None:
        opener, data = self._context.setdefault(opened.stream, (StreamOpener(purpose="context"), bytearray()))
        try:
            for part in opener.accept(opened):
                data += part
        except VerificationError:
            self._context.pop(opened.stream)
            raise
        if len(data) > MAX_CONTEXT_BYTES:
            self._context.pop(opened.stream)
        elif len(self._context) > self._plan["asks_at_once"] + 1:
            # The oldest: what is left of a stream that was given up must not keep out those that come after it.
            self._context.pop(next(iter(self._context)))

    def _open_corpus(self, running: Open, payload: bytes) -> None:
        wanted = carried.parse_corpus_open(payload)
        try:
            corpus = self._read_corpus(wanted)
            ready = carried.CorpusReady(wanted.corpus, corpus.document_count, corpus.passage_count)
            # One at a time: what an earlier question could read is gone.
            self._corpora = {wanted.corpus: corpus}
        except (OSError, WorkbenchError, ValueError, MemoryError):
            ready = carried.CorpusReady(wanted.corpus, 0, 0, "CORPUS_REFUSED")
        self._sessions.send(running, carried.format_corpus_ready(ready), purpose="corpus.ready")

    def _read_corpus(self, wanted: carried.CorpusOpen) -> Any:  # Any: a Corpus, whose module is loaded only where one is opened
        from workbench_sandbox.corpus import Corpus

        opener, hasher, plain = FileOpener(lambda _: wanted.key, purpose="corpus"), sm3.new(), bytearray()
        with (CORPORA / wanted.corpus).open("rb") as file:
            while piece := file.read(_PIECE):
                hasher.update(piece)
                plain += opener.update(piece)
        plain += opener.finish()
        if hasher.digest().hex() != wanted.corpus:
            raise ask_malformed()
        return Corpus.read(bytes(plain))

    # ------------------------------------------------------------------------------------------------------- the rest

    def _probe(self) -> probing.Probed:
        """The suite, now. Of a server beside: that it is still what it was started as, now; and what its process tried before its
        program began, under the filter that it has ever since."""
        found = [probing.run(self._suite())]
        if self._beside is not None:
            found += [measuring.beside(_PROCESSES), self._beside.probed]
        return probing.Probed(sum(one.tried for one in found), sum(one.refused for one in found), tuple(name for one in found for name in one.failed))

    def _probe_for(self, running: Open) -> None:
        """Run the suite and tell the tenant, signed. The launcher is told too where something was not refused: it ends the sandbox."""
        self._answering.idle()  # the suite uses up what tasks there are for a moment
        probed = self._probe()
        body = carried.format_probed(carried.Probed(probed.tried, probed.refused, probed.failed))
        self._sessions.send_signed(running, body, purpose="probe")
        if probed.failed and not self._plan["without"]:
            self._link.send(Type.COUNTERS, {"failed": list(probed.failed)})

    def _suite(self) -> probing.Suite:
        plan = self._plan
        unwritable = ("/runtime", "/image", "/corpora", *(["/program"] if plan["program"] else []))
        return probing.Suite(plan["scratch"], plan["processes"], tuple(plan["foreign"]), unwritable)

    def _program(self) -> bytes:
        return filters.program(self._plan["filter"], limits.machine())

    def _tidy(self) -> None:
        """Nothing of a question stays in scratch but what was there before the first one."""
        for path in set(SCRATCH.iterdir()) - self._kept if SCRATCH.is_dir() else ():
            with suppress(OSError):
                path.unlink()

    def _tell(self, counted: Counted) -> None:
        self._link.send(Type.COUNTERS, {"asks": counted.asks, "tokens_in": counted.tokens_in, "tokens_out": counted.tokens_out})

    def _on_time(self) -> None:
        """The tick of signatures; the end of the lease."""
        running = self._sessions.current
        if running is not None and time.monotonic() - self._ticked >= TICK_S:
            self._ticked = time.monotonic()
            self._sessions.sign_ends(running)
        if self._until_ms and now_ms() >= self._until_ms and running is not None:
            self._answering.cut()
            self._sessions.end()

    def _finish(self) -> None:
        """What still streams ends, its ends are signed, the session closes; then nothing is left to say."""
        self._answering.cut()
        self._sessions.end()
        self._link.send(Type.END)


class _Nothing:
    """Sources without a document."""

    def search(self, query: str, *, kinds: Any, ids: Any, until_ms: int, most: int) -> list[Any]:
        return []

    def document(self, document: str) -> Any:
        raise KeyError(document)

    def documents(self, *, kinds: Any, ids: Any, until_ms: int) -> list[Any]:
        return []


def now_ms() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def _engine(plan: Mapping[str, Any]) -> AnswerEngine:
    module, _, name = plan["engine"].partition(":")
    engine: AnswerEngine = getattr(import_module(module), name)()
    return engine


def _wait(descriptors: Sequence[int], seconds: float) -> set[int]:
    """Those that are readable. poll(2), which the filter allows where select(2) may not be."""
    poller = select.poll()
    for one in descriptors:
        poller.register(one, select.POLLIN)
    return {one for one, _ in poller.poll(seconds * 1000)}


def main() -> int:
    """The program."""
    link = Link(int(sys.argv[1]))
    try:
        plan = link.receive().json()
        if plan.get("release") != RELEASE:
            link.send(Type.ERROR, {"code": "SANDBOX_RELEASE"})
            return 2
        worker = Worker(link, plan)
        worker.prepare()
        worker.run()
    except LinkClosed:
        return 0
    except MemoryError:
        return _fault(link, "SANDBOX_MEMORY")
    except WorkbenchError as error:
        return _fault(link, error.code)
    except Exception as error:  # noqa: BLE001 - one code, and nothing of what it was about
        return _fault(link, "SANDBOX_" + type(error).__name__.upper()[:40])
    return 0


def _fault(link: Link, code: str) -> int:
    try:
        link.send(Type.ERROR, {"code": code})
    except LinkClosed:
        return 1
    return 1


if __name__ == "__main__":
    # Straight out: nothing is written at the interpreter's end, and no other thread is waited for.
    os._exit(main())
