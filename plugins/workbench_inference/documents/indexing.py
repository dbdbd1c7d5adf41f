"""From documents to a corpus: passages, search arrays, embeddings, sealed as they are made. In the background, once a change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workbench.contracts import Transaction
from workbench.crypto import sm3
from workbench.domain.documents import SourceDocument
from workbench.errors import Cancelled, Refused, VerificationError
from workbench_inference.documents import corpus_store
from workbench_inference.documents.corpus_store import CorpusRow, DocumentHost, DocumentRow
from workbench_inference.policy.redaction import PAIRS, Pairs
from workbench_sandbox.corpus import build
from workbench_sandbox.corpus.files import Contents, parse_corpus
from workbench_sandbox.corpus.types import Embedder


@dataclass(frozen=True, slots=True)
class Indexed:
    """left_out: documents whose class no sandbox may hold; kept: passages whose embedding the corpus before had."""

    row: CorpusRow
    left_out: int
    kept: int
    milliseconds: int


@dataclass(frozen=True, slots=True)
class UnderWay:
    """How far a corpus is that is being made: passages done of all; embedder "" for words only."""

    done: int
    total: int
    embedder: str


_UNDER_WAY: dict[Path, UnderWay] = {}
"""By the node's folder; of this run of the node only, since what a stop left is begun anew."""


def under_way(host: DocumentHost) -> UnderWay | None:
    """What is being indexed at this moment, if anything is."""
    return _UNDER_WAY.get(host.folder)


def index(
    host: DocumentHost,
    *,
    actor: str,
    embedder: Embedder | None,
    synthetic_only: bool,
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> Indexed:
    """Make the corpus of the newest versions of all documents in use, write it sealed, and name it in the log.

    Embeddings of passages that did not change are taken from the corpus before. Raises Refused DOCUMENTS_NONE, Cancelled;
    nothing is left then. Cost: 30 to 150 ms a new passage with an embedder, 0.2 ms without.
    """
    began = host.now_ms()
    with host.store.read() as reader:
        found = corpus_store.document_rows(reader, newest_only=True)
        every = len(_within_reach(host, found))
        rows = [one for one in found if one.is_synthetic or not synthetic_only]
        fit = _within_reach(host, rows)
        documents = [_checked(cancelled, corpus_store.read_document(host, reader, one.document, one.version)) for one in fit]
        before = corpus_store.current(reader, synthetic_only=synthetic_only)
    if not documents:
        raise Refused("没有可以建索引的资料", "there is no document to index", code="DOCUMENTS_NONE", details={"left_out": str(len(rows))})
    known = _Known.of(host, before, embedder) if embedder is not None else None
    counted = [0]

    def told(done: int, total: int) -> None:
        if cancelled():
            raise Cancelled("已停止，没有生成资料包", "stopped; no corpus was made")
        counted[0] = total
        _UNDER_WAY[host.folder] = UnderWay(done, total, embedder.name if embedder else "")
        progress(done, total)

    try:
        digest, size = corpus_store.write_sealed(host, build(documents, known, progress=told))
    finally:
        _UNDER_WAY.pop(host.folder, None)
    row = CorpusRow(
        digest, len(documents), counted[0], size, embedder.name if embedder else "", int(all(one.synthetic for one in documents)), host.now_ms()
    )
    took = host.now_ms() - began
    belongs = [] if synthetic_only and len(fit) < every else fit
    pairs = b"" if synthetic_only else Pairs.of(text for one in documents if one.kind != "question" for text in (one.title, one.text)).write()
    host.store.write(lambda tx: _record(host, tx, row, belongs, pairs, took, actor))
    corpus_store.sweep(host)
    return Indexed(row, len(rows) - len(fit), known.kept if known else 0, took)


def outdated(host: DocumentHost) -> bool:
    """Whether documents came or changed since the newest corpus of all was made, or there is none (one was removed)."""
    with host.store.read() as reader:
        rows = _within_reach(host, corpus_store.document_rows(reader, newest_only=True))
        known = {one.digest for one in corpus_store.corpora(reader)}
    return any(one.corpus not in known for one in rows)


def _within_reach(host: DocumentHost, rows: Sequence[DocumentRow]) -> list[DocumentRow]:
    """Documents of classes that some sandbox may hold."""
    levels = host.setting("inference.class_levels")
    return [one for one in rows if corpus_store.is_within_reach(levels, one.klass)]


def _checked(cancelled: Callable[[], bool], document: SourceDocument) -> SourceDocument:
    if cancelled():
        raise Cancelled("已停止，没有生成资料包", "stopped; no corpus was made")
    return document


def _record(host: DocumentHost, tx: Transaction, row: CorpusRow, documents: Sequence[DocumentRow], pairs: bytes, took: int, actor: str) -> None:
    corpus_store.add_corpus(tx, row, documents)
    if pairs:
        host.vault.put(tx, PAIRS, pairs)
    values = {
        "corpus": row.digest, "documents": str(row.documents), "passages": str(row.passages), "embedder": row.embedder, "seconds": str(took // 1000),
    }  # fmt: skip
    host.evidence.append(tx, "inference.corpus_indexed", values, actor=actor)


class _Known:
    """An embedder that looks into the corpus before first (`Embedder`)."""

    def __init__(self, embedder: Embedder, rows: Mapping[bytes, int], matrix: np.ndarray | None) -> None:
        self.name, self.size = embedder.name, embedder.size
        self._embedder, self._rows, self._matrix = embedder, rows, matrix
        self.kept = 0

    @classmethod
    def of(cls, host: DocumentHost, before: CorpusRow | None, embedder: Embedder) -> _Known:
        if before is None or before.embedder != embedder.name:
            return cls(embedder, {}, None)
        try:
            contents = parse_corpus(corpus_store.open_own(host, before.digest))
        except (VerificationError, Refused):
            return cls(embedder, {}, None)  # it cannot be read: everything is computed anew
        return cls(embedder, {_key(text): number for number, text in _texts(contents)}, contents.matrix)

    def passages(self, texts: Sequence[str]) -> np.ndarray:
        made = np.zeros((len(texts), self.size), np.float32)
        new = []
        for number, text in enumerate(texts):
            row = self._rows.get(_key(text))
            if row is None or self._matrix is None:
                new.append(number)
            else:
                made[number] = self._matrix[row]
        if new:
            made[new] = self._embedder.passages([texts[number] for number in new])
        self.kept += len(texts) - len(new)
        return made

    def query(self, text: str) -> np.ndarray:
        return self._embedder.query(text)


def _texts(contents: Contents) -> Iterator[tuple[int, str]]:
    """Rows that have an embedding, with the text it is of, as `build` gives it to the embedder."""
    embedded = np.any(contents.matrix, axis=1)
    for row, (number, start, end) in enumerate(contents.places.tolist()):
        if embedded[row]:
            document = contents.documents[number]
            yield row, f"{document.title}\n{document.text[start:end]}"


def _key(text: str) -> bytes:
    return sm3.digest(text.encode())
