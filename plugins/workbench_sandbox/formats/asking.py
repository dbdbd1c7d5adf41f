"""A question, its answer as a stream of records, and its signed end: docs/protocols/sandbox.md section 8."""

from __future__ import annotations

from dataclasses import dataclass, field

END_STATES = ("answered", "abstained", "stopped", "cut", "refused", "failed")
END_CODES = (
    "", "ASK_MALFORMED", "ASK_TOO_LARGE", "ASK_LATE", "CORPUS_MISSING", "ENGINE_FAILED", "ENGINE_BUSY", "OUTPUT_LIMIT", "ANSWER_LEAK",
)  # fmt: skip
DROP_REASONS = ("no-source", "number", "name", "rule")
STAGES = ("retrieve", "draft", "ground")


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
