"""A question, its answer as a stream of records, and its signed end: docs/protocols/sandbox.md section 8."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from workbench.channel.frame import MAX_PAYLOAD_BYTES
from workbench.crypto import canonical, compare, sm3
from workbench.domain.documents import DOCUMENT_KINDS
from workbench.errors import VerificationError
from workbench_sandbox.formats import reading

END_STATES = ("answered", "abstained", "stopped", "cut", "refused", "failed")
END_CODES = (
    "", "ASK_MALFORMED", "ASK_TOO_LARGE", "ASK_LATE", "CORPUS_MISSING", "ENGINE_FAILED", "ENGINE_BUSY", "OUTPUT_LIMIT", "ANSWER_LEAK",
)  # fmt: skip
DROP_REASONS = ("no-source", "number", "name", "rule")
STAGES = ("retrieve", "draft", "ground")

CORPUS_OPEN, CORPUS_READY, CONTEXT, ASK, ASK_STOP = "corpus.open", "corpus.ready", "context", "ask", "ask.stop"
ANSWER, ANSWER_END, ANSWERS_SIGN, ANSWERS_SIGNED, PROBE = (
    "answer",
    "answer.end",
    "answers.sign",
    "answers.signed",
    "probe",
)
"""Purposes of the frames."""

MAX_ASK_BYTES = 64 << 10
ASK_PADDING = 512
MAX_QUESTION = 8_000
MAX_RECORD_BYTES = 64 << 10
MAX_TEXT = 4_096
ANSWER_CHUNK_BYTES = 2 << 10
ANSWER_EVERY_MS = 50
MAX_TOKENS = 4_096
MAX_CONTEXT_BYTES = 4 << 20
MAX_CONTEXT = 1_000
MAX_IDS = 1_000

_DOCUMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_VERSION = re.compile(r"[^\x00-\x1f\x7f]{1,64}")
_TEMPLATE = re.compile(r"(?:[a-z][a-z0-9.@-]{0,95})?")
_VALUE = re.compile(r"[^\x00-\x1f\x7f]{0,512}")

_ASK = frozenset(
    {
        "ask", "time_ms", "deadline_ms", "scenario", "template", "template_sm3", "question", "prompt", "documents", "context", "language",
        "most_tokens", "seed", "watermark",
    }
)  # fmt: skip
_END_NUMBERS = ("number", "bytes", "records", "tokens_in", "tokens_out", "card_ms", "citations", "dropped")
_END_TEXTS = ("ask", "state", "code", "digest")


@dataclass(frozen=True, slots=True)
class Ask:
    """One question as it enters a sandbox. ask: `ask-<32 hex>`; times in ms since 1970 UTC; template_sm3: 64 hex.

    question: redacted, 1 to 8,000 characters; prompt: the filled template for a generator, "" for an extractive engine.
    corpus: SM3 of the sealed corpus file, hex; kinds, ids, until_ms: what of it may be read (ids empty: all of these kinds);
    context: number of documents sent with the question. language: "zh" | "en"; most_tokens: 1 to 4,096; watermark: 16 hex.
    """

    ask: str
    time_ms: int
    deadline_ms: int
    scenario: str
    template: str
    template_sm3: str
    question: str = field(repr=False)
    prompt: str = field(repr=False)
    corpus: str
    kinds: tuple[str, ...]
    ids: tuple[str, ...]
    until_ms: int
    context: int
    language: str
    most_tokens: int
    seed: int
    watermark: str


@dataclass(frozen=True, slots=True)
class Open:
    """The first record: who answers. kind: "extractive" | "generator" | "upstream"; place: "inside" | "behind"."""

    engine: str
    kind: str
    version: str
    place: str
    watermark: str


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer, whole characters."""

    d: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cite:
    """Citation n (1, 2 …): characters start to end (exclusive) of a document's text; sm3 of that text, span_sm3 of the
    cited characters, both in UTF-8, hex. On the wire the offsets are `from` and `to`."""

    n: int
    document: str
    version: str
    start: int
    end: int
    sm3: str
    span_sm3: str


@dataclass(frozen=True, slots=True)
class FieldValue:
    """A field that the answer states: name, value and unit as text, and the number of the citation that carries it."""

    name: str
    value: str
    unit: str
    cite: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """Sentences of a generator that no source carries. reason: one of DROP_REASONS."""

    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage is over. name: one of STAGES; ms: how long it took."""

    name: str
    ms: int


Record = Open | Text | Cite | FieldValue | Dropped | Stage


@dataclass(frozen=True, slots=True)
class End:
    """The end of one question. number: 1, 2 … of this session; state: one of END_STATES; code: one of END_CODES;
    digest: SM3 of the whole stream of records, hex; bytes, records: its size; card_ms: time on the card."""

    ask: str
    number: int
    state: str
    code: str
    digest: str
    bytes: int
    records: int
    tokens_in: int
    tokens_out: int
    card_ms: int
    citations: int
    dropped: int


# ------------------------------------------------------------------------------------------------------------ questions


def format_ask(ask: Ask) -> bytes:
    """The payload of `ask`: LV4(JSON) and zero bytes up to the next multiple of 512. Raises ValueError."""
    _check_ask(ask)
    payload = reading.lv4(
        reading.write(
            {
                "ask": ask.ask, "time_ms": ask.time_ms, "deadline_ms": ask.deadline_ms, "scenario": ask.scenario, "template": ask.template,
                "template_sm3": ask.template_sm3, "question": ask.question, "prompt": ask.prompt,
                "documents": {"corpus": ask.corpus, "kinds": list(ask.kinds), "ids": list(ask.ids), "until_ms": ask.until_ms},
                "context": ask.context, "language": ask.language, "most_tokens": ask.most_tokens, "seed": ask.seed,
                "watermark": ask.watermark,
            }
        )
    )  # fmt: skip
    payload += bytes(-len(payload) % ASK_PADDING)
    reading.need(len(payload) <= MAX_ASK_BYTES, "a question has at most 64 KiB")
    return payload


def parse_ask(payload: bytes) -> Ask:
    """Raises VerificationError (ASK_TOO_LARGE, ASK_MALFORMED)."""
    if len(payload) > MAX_ASK_BYTES:
        raise VerificationError(
            "提问过长，未作处理；请缩短后再问",
            "the question is too large: nothing was done, shorten it",
            code="ASK_TOO_LARGE",
        )

    with reading.refusing(ask_malformed):
        cursor = reading.Cursor(payload)
        body = reading.read(cursor.lv4(most=MAX_ASK_BYTES), _ASK, most=MAX_ASK_BYTES)
        padding = cursor.rest()
        reading.need(len(padding) < ASK_PADDING and not len(payload) % ASK_PADDING and not any(padding), "padding")
        documents = reading.members(body["documents"], ("corpus", "kinds", "ids", "until_ms"))
        name, scenario, template, template_sm3, question, prompt, language, watermark = reading.texts_of(
            body, ("ask", "scenario", "template", "template_sm3", "question", "prompt", "language", "watermark")
        )
        time_ms, deadline_ms, context, most_tokens, seed = reading.wholes_of(body, ("time_ms", "deadline_ms", "context", "most_tokens", "seed"))
        ask = Ask(
            name, time_ms, deadline_ms, scenario, template, template_sm3, question, prompt, reading.text(documents["corpus"]),
            reading.texts(documents["kinds"], most=len(DOCUMENT_KINDS)), reading.texts(documents["ids"], most=MAX_IDS),
            reading.whole(documents["until_ms"]), context, language, most_tokens, seed, watermark,
        )  # fmt: skip
        _check_ask(ask)
    return ask


def stream_of(ask: str) -> bytes:
    """Id of the chunks of an ask's answer and context: the first 8 bytes of its hexadecimal name."""
    reading.need(reading.ASK.fullmatch(ask), "ask")
    return bytes.fromhex(ask[4:20])


def format_stop(ask: str) -> bytes:
    """The payload of `ask.stop`."""
    reading.need(reading.ASK.fullmatch(ask), "ask")
    return reading.write({"ask": ask})


def parse_stop(payload: bytes) -> str:
    """The ask that is to end. Raises VerificationError (ASK_MALFORMED)."""

    with reading.refusing(ask_malformed):
        ask = reading.text(reading.read(payload, ("ask",))["ask"])
        reading.need(reading.ASK.fullmatch(ask), "ask")
        return ask


def _check_ask(ask: Ask) -> None:
    need, within = reading.need, reading.within
    need(reading.ASK.fullmatch(ask.ask) and reading.HEX16.fullmatch(ask.watermark), "ask or watermark")
    need(within(ask.time_ms, ask.deadline_ms, ask.until_ms) and ask.time_ms <= ask.deadline_ms, "times")
    need(reading.NAME.fullmatch(ask.scenario) and _TEMPLATE.fullmatch(ask.template), "scenario or template")
    need(
        reading.DIGEST_OR_EMPTY.fullmatch(ask.template_sm3) and bool(ask.template) == bool(ask.template_sm3), "template"
    )
    need(1 <= len(ask.question) <= MAX_QUESTION and len(ask.prompt) <= MAX_ASK_BYTES, "question or prompt")
    need(reading.DIGEST_OR_EMPTY.fullmatch(ask.corpus) and set(ask.kinds) <= set(DOCUMENT_KINDS), "documents")
    need(len(set(ask.kinds)) == len(ask.kinds) and len(ask.ids) <= MAX_IDS, "documents")
    need(reading.each(_DOCUMENT, ask.ids) and within(ask.context, most=MAX_CONTEXT), "documents")
    need(ask.language in reading.LANGUAGES and within(ask.most_tokens, least=1, most=MAX_TOKENS), "language or tokens")
    need(within(ask.seed), "seed")


# -------------------------------------------------------------------------------------------------------------- records


def format_record(record: Record) -> bytes:
    """LV4(JSON). Raises ValueError."""
    _check_record(record)
    encoded = canonical.format(_record_body(record))
    reading.need(len(encoded) <= MAX_RECORD_BYTES, "a record has at most 64 KiB")
    return reading.lv4(encoded)


class RecordWriter:
    """The stream of one answer as it is made: bytes to send, and what its end says of them."""

    __slots__ = ("_hasher", "bytes", "citations", "dropped", "records")

    def __init__(self) -> None:
        self._hasher = sm3.new()
        self.bytes = self.records = self.citations = self.dropped = 0

    def add(self, record: Record) -> bytes:
        """The record's bytes."""
        encoded = format_record(record)
        self._hasher.update(encoded)
        self.bytes += len(encoded)
        self.records += 1
        self.citations += isinstance(record, Cite)
        self.dropped += record.count if isinstance(record, Dropped) else 0
        return encoded

    @property
    def digest(self) -> str:
        """SM3 of everything so far, hexadecimal."""
        return self._hasher.digest().hex()


class RecordReader:
    """The stream of one answer as it arrives. After a refusal it refuses everything."""

    __slots__ = ("_buffer", "_hasher", "_is_broken", "bytes", "citations", "dropped", "most_bytes", "records")

    def __init__(self, *, most_bytes: int = MAX_PAYLOAD_BYTES) -> None:
        """most_bytes: the most that an answer may have."""
        self._buffer = bytearray()
        self._hasher = sm3.new()
        self._is_broken = False
        self.most_bytes = most_bytes
        self.bytes = self.records = self.citations = self.dropped = 0

    def feed(self, data: bytes) -> list[Record]:
        """The records that are whole now. Raises VerificationError (ANSWER_ALTERED)."""
        self._hasher.update(data)
        self.bytes += len(data)
        self._buffer += data
        found: list[Record] = []
        try:
            reading.need(not self._is_broken and self.bytes <= self.most_bytes, "broken or too large")
            while len(self._buffer) >= 4:
                size = int.from_bytes(self._buffer[:4], "big")
                reading.need(size <= MAX_RECORD_BYTES, "a record is too large")
                if len(self._buffer) < 4 + size:
                    break
                found.append(self._one(bytes(self._buffer[4 : 4 + size])))
                del self._buffer[: 4 + size]
        except ValueError as error:
            self._is_broken = True
            raise answer_altered() from error
        return found

    def finish(self, end: End) -> None:
        """Return if the stream is whole and is what its end says. Raises VerificationError (ANSWER_ALTERED)."""
        same = compare.equal(self._hasher.digest(), bytes.fromhex(end.digest))
        said = (end.bytes, end.records, end.citations, end.dropped)
        if (
            self._is_broken
            or self._buffer
            or not same
            or said != (self.bytes, self.records, self.citations, self.dropped)
        ):
            self._is_broken = True
            raise answer_altered()

    def _one(self, encoded: bytes) -> Record:
        record = _parse_record(encoded)
        reading.need(
            isinstance(record, Open) == (self.records == 0), "the first record says who answers, no other does"
        )
        self.records += 1
        self.citations += isinstance(record, Cite)
        self.dropped += record.count if isinstance(record, Dropped) else 0
        return record


def _record_body(record: Record) -> reading.Body:
    match record:
        case Open():
            return {
                "t": "open", "engine": record.engine, "kind": record.kind, "version": record.version, "place": record.place,
                "watermark": record.watermark,
            }  # fmt: skip
        case Text():
            return {"t": "text", "d": record.d}
        case Cite():
            return {
                "t": "cite", "n": record.n, "document": record.document, "version": record.version, "from": record.start,
                "to": record.end, "sm3": record.sm3, "span_sm3": record.span_sm3,
            }  # fmt: skip
        case FieldValue():
            return {"t": "field", "name": record.name, "value": record.value, "unit": record.unit, "cite": record.cite}
        case Dropped():
            return {"t": "dropped", "reason": record.reason, "count": record.count}
        case Stage():
            return {"t": "stage", "name": record.name, "ms": record.ms}


def _parse_record(encoded: bytes) -> Record:
    try:
        value = canonical.parse_object(encoded)
    except VerificationError as error:
        raise ValueError("no canonical JSON") from error
    kind = value.pop("t", None)
    parser = _RECORDS.get(kind) if isinstance(kind, str) else None
    if parser is None:
        raise ValueError("no known record")
    names, make = parser
    record = make(reading.members(value, names))
    _check_record(record)
    return record


def _check_record(record: Record) -> None:
    need, within = reading.need, reading.within
    match record:
        case Open():
            need(reading.NAME.fullmatch(record.engine) and reading.VERSION.fullmatch(record.version), "engine")
            need(record.kind in reading.ENGINE_KINDS and record.place in reading.PLACES, "kind or place")
            need(reading.HEX16.fullmatch(record.watermark), "watermark")
        case Text():
            need(1 <= len(record.d) <= MAX_TEXT, "text")
        case Cite():
            need(_DOCUMENT.fullmatch(record.document) and _VERSION.fullmatch(record.version), "document")
            need(within(record.n, least=1) and within(record.start, record.end) and record.start < record.end, "place")
            need(reading.HEX64.fullmatch(record.sm3) and reading.HEX64.fullmatch(record.span_sm3), "digests")
        case FieldValue():
            need(
                record.name and all(_VALUE.fullmatch(one) for one in (record.name, record.value, record.unit)), "field"
            )
            need(within(record.cite, least=1), "cite")
        case Dropped():
            need(record.reason in DROP_REASONS and within(record.count, least=1), "dropped")
        case Stage():
            need(record.name in STAGES and within(record.ms), "stage")


_t, _w = reading.text, reading.whole
_RECORDS: dict[str, tuple[tuple[str, ...], Callable[[reading.Body], Record]]] = {
    "open": (
        ("engine", "kind", "version", "place", "watermark"),
        lambda b: Open(_t(b["engine"]), _t(b["kind"]), _t(b["version"]), _t(b["place"]), _t(b["watermark"])),
    ),
    "text": (("d",), lambda b: Text(_t(b["d"]))),
    "cite": (
        ("n", "document", "version", "from", "to", "sm3", "span_sm3"),
        lambda b: Cite(
            _w(b["n"]), _t(b["document"]), _t(b["version"]), _w(b["from"]), _w(b["to"]), _t(b["sm3"]), _t(b["span_sm3"])
        ),
    ),
    "field": (
        ("name", "value", "unit", "cite"),
        lambda b: FieldValue(_t(b["name"]), _t(b["value"]), _t(b["unit"]), _w(b["cite"])),
    ),
    "dropped": (("reason", "count"), lambda b: Dropped(_t(b["reason"]), _w(b["count"]))),
    "stage": (("name", "ms"), lambda b: Stage(_t(b["name"]), _w(b["ms"]))),
}


# ----------------------------------------------------------------------------------------------------------------- ends


def format_end(end: End) -> bytes:
    """The payload of `answer.end`. Raises ValueError."""
    _check_end(end)
    return reading.write(reading.body_of(end, (*_END_TEXTS, *_END_NUMBERS)))


def parse_end(payload: bytes) -> End:
    """Raises VerificationError (ANSWER_ALTERED)."""

    with reading.refusing(answer_altered):
        body = reading.read(payload, (*_END_TEXTS, *_END_NUMBERS))
        ask, state, code, digest = reading.texts_of(body, _END_TEXTS)
        number, size, *rest = reading.wholes_of(body, _END_NUMBERS)
        end = End(ask, number, state, code, digest, size, *rest)
        _check_end(end)
        return end


def answer_altered() -> VerificationError:
    """The refusal of an answer that is not what its sandbox ended."""
    return VerificationError(
        "答复与沙箱声明的摘要或格式不符，已丢弃；请重新提问，再次发生时请运维人员查看",
        "the answer is not what its sandbox stated about it and was discarded; ask again, operators look if it happens again",
        code="ANSWER_ALTERED",
    )


def _check_end(end: End) -> None:
    need = reading.need
    need(reading.ASK.fullmatch(end.ask) and reading.HEX64.fullmatch(end.digest), "ask or digest")
    need(end.state in END_STATES and end.code in END_CODES, "state or code")
    need((end.code == "") == (end.state not in ("refused", "failed")), "a code for what was refused or failed")
    need(reading.within(*(getattr(end, one) for one in _END_NUMBERS)) and end.number >= 1, "counts")


def ask_malformed() -> VerificationError:
    """The refusal of a message of the tenant inside a session."""
    return VerificationError(
        "提问的格式不对，未作处理；请两端运维人员核对版本",
        "the question is malformed: nothing was done, operators of both ends compare versions",
        code="ASK_MALFORMED",
    )
