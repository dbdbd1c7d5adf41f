"""What else travels in a session: the corpus to open, ends signed together, the probe. docs/protocols/sandbox.md section 8.

What the tenant sends and does not parse is ASK_MALFORMED, what the sandbox sends ANSWER_ALTERED.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from workbench_sandbox.formats import reading
from workbench_sandbox.formats.asking import answer_altered, ask_malformed
from workbench_sandbox.formats.evidence import Probe

KEY_SIZE = 32
"""Bytes of a volume key."""

_READY = ("corpus", "documents", "passages", "code")


@dataclass(frozen=True, slots=True)
class CorpusOpen:
    """Which sealed file of the volume to open. corpus: SM3 of its bytes; file: its name; key: 32 bytes, of the volume."""

    corpus: str
    file: str
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        reading.need(reading.HEX64.fullmatch(self.corpus) and reading.PATH.fullmatch(self.file), "corpus or file")
        reading.need(len(self.key) == KEY_SIZE, "key")


@dataclass(frozen=True, slots=True)
class CorpusReady:
    """What was opened; code: "" or CORPUS_REFUSED, with zero documents and passages."""

    corpus: str
    documents: int
    passages: int
    code: str = ""

    def __post_init__(self) -> None:
        reading.need(reading.HEX64.fullmatch(self.corpus) and self.code in ("", "CORPUS_REFUSED"), "corpus or code")
        reading.need(reading.within(self.documents, self.passages), "counts")
        reading.need(not self.code or not (self.documents or self.passages), "nothing is read of what was refused")


@dataclass(frozen=True, slots=True)
class AnswersSigned:
    """The ends numbered first to last of a session. root: SM3 over the SM3 of their JSON in order, hexadecimal."""

    first: int
    last: int
    root: str

    def __post_init__(self) -> None:
        reading.need(reading.within(self.first, self.last, least=1) and self.first <= self.last, "first or last")
        reading.need(reading.HEX64.fullmatch(self.root), "root")


Probed = Probe
"""What the suite found when it was run in a session: as in evidence."""


def ends_root(ends: Sequence[bytes]) -> str:
    """What `answers.signed` says of these ends' JSON, in order."""
    return root_of([reading.digest(one) for one in ends])


def root_of(digests: Sequence[str]) -> str:
    """The same from the SM3 of each end's JSON, hexadecimal."""
    return reading.root(digests)


def format_signed(value: AnswersSigned) -> bytes:
    """The payload of `answers.signed`."""
    return reading.write({"first": value.first, "last": value.last, "root": value.root})


def parse_signed(payload: bytes) -> AnswersSigned:
    """Raises VerificationError (ANSWER_ALTERED)."""

    with reading.refusing(answer_altered):
        body = reading.read(payload, ("first", "last", "root"))
        return AnswersSigned(reading.whole(body["first"]), reading.whole(body["last"]), reading.text(body["root"]))


def format_empty() -> bytes:
    """The payload of `answers.sign`, and of `probe` from the tenant."""
    return reading.write({})


def parse_empty(payload: bytes) -> None:
    """Raises VerificationError (ASK_MALFORMED)."""
    with reading.refusing(ask_malformed):
        reading.read(payload, ())


def format_corpus_open(value: CorpusOpen) -> bytes:
    """The payload of `corpus.open`."""
    return reading.write({"corpus": value.corpus, "file": value.file, "key": value.key.hex()})


def parse_corpus_open(payload: bytes) -> CorpusOpen:
    """Raises VerificationError (ASK_MALFORMED)."""

    with reading.refusing(ask_malformed):
        body = reading.read(payload, ("corpus", "file", "key"))
        corpus, file, key = reading.texts_of(body, ("corpus", "file", "key"))
        reading.need(reading.HEX64.fullmatch(key), "key")
        return CorpusOpen(corpus, file, bytes.fromhex(key))


def format_corpus_ready(value: CorpusReady) -> bytes:
    """The payload of `corpus.ready`."""
    return reading.write(reading.body_of(value, _READY))


def parse_corpus_ready(payload: bytes) -> CorpusReady:
    """Raises VerificationError (ANSWER_ALTERED)."""

    with reading.refusing(answer_altered):
        body = reading.read(payload, _READY)
        counts = (reading.whole(body["documents"]), reading.whole(body["passages"]))
        return CorpusReady(reading.text(body["corpus"]), *counts, reading.text(body["code"]))


def format_probed(value: Probed) -> bytes:
    """The payload of `probe` from the sandbox."""
    return reading.write(value.body())


def parse_probed(payload: bytes) -> Probed:
    """Raises VerificationError (ANSWER_ALTERED)."""

    with reading.refusing(answer_altered):
        return Probe.read(reading.read(payload, ("tried", "refused", "failed")))
