"""What an engine reads: a corpus in memory, and documents sent with the question. docs/protocols/corpus.md section 4."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from typing import Any

import numpy as np

from workbench.domain.documents import SourceDocument
from workbench_sandbox.corpus import text
from workbench_sandbox.corpus.bm25 import Floats, Lexicon
from workbench_sandbox.corpus.building import contents_of
from workbench_sandbox.corpus.files import Contents, parse_corpus
from workbench_sandbox.corpus.types import Embedder, Passage

LEXICAL_SHARE = np.float32(0.25)


class Corpus:
    """A corpus in memory (`Sources`). Nothing of it changes; several questions may read it at once.

    With an embedder of the name that built it, the meaning of a question counts too; without one, or with another, only its words.
    """

    def __init__(self, contents: Contents, embedder: Embedder | None = None) -> None:
        self._contents = contents
        self._lexicon = Lexicon.of(contents.postings)
        self._embedder = self._fitting(embedder)
        self._embedded = np.any(contents.matrix, axis=1)
        self.memo: dict[str, Any] = {}  # Any: what a reader derives of the documents; it ends with them
        self._kinds = np.array([document.kind for document in contents.documents], dtype="U8")
        self._times = np.array([document.time_ms for document in contents.documents], dtype=np.int64)
        self._numbers = {document.document: number for number, document in enumerate(contents.documents)}

    @classmethod
    def read(cls, data: bytes, *, embedder: Embedder | None = None) -> Corpus:
        """The corpus of these bytes, digest and every count checked. Raises VerificationError CORPUS_REFUSED."""
        return cls(parse_corpus(data), embedder)

    @classmethod
    def of(cls, documents: Iterable[SourceDocument], embedder: Embedder | None = None) -> Corpus:
        """A corpus of a few documents in memory, such as those sent with a question."""
        return cls(contents_of(documents, embedder, progress=lambda done, all_: None), embedder)

    def using(self, embedder: Embedder | None) -> Corpus:
        """The same corpus with an embedder for questions."""
        other = copy(self)
        other._embedder = self._fitting(embedder)
        return other

    @property
    def document_count(self) -> int:
        return len(self._contents.documents)

    @property
    def passage_count(self) -> int:
        return len(self._contents.places)

    @property
    def by_meaning(self) -> bool:
        """Are questions embedded, or is it BM25 alone?"""
        return self._embedder is not None

    def search(self, query: str, *, kinds: Sequence[str], ids: Sequence[str], until_ms: int, most: int) -> list[Passage]:
        """See `Sources`. Cost at 10^4 passages: one embedding of the question (20 ms) and 2 ms."""
        contents = self._contents
        count = len(contents.places)
        allowed = self._allowed(kinds, ids, until_ms)[contents.places[:, 0]] if count else np.zeros(0, bool)
        scores = LEXICAL_SHARE * self._lexicon.scores(text.terms(query), count)
        seen = scores > 0
        if self._embedder is not None and count:
            scores = scores + contents.matrix @ self._embedder.query(query)
            seen = seen | self._embedded
        open_to = np.flatnonzero(allowed & seen)
        best = open_to[_best(scores[open_to], max(most, 0))]
        return [self._passage(int(place), float(scores[place])) for place in best]

    def document(self, document: str) -> SourceDocument:
        return self._contents.documents[self._numbers[document]]

    def documents(self, *, kinds: Sequence[str], ids: Sequence[str], until_ms: int) -> list[SourceDocument]:
        allowed = self._allowed(kinds, ids, until_ms)
        return [self._contents.documents[number] for number in np.flatnonzero(allowed)]

    def rarity(self, term: str) -> float:
        """How rare a term is among the passages: the higher, the rarer."""
        return self._lexicon.rarity(term, len(self._contents.places))

    def _fitting(self, embedder: Embedder | None) -> Embedder | None:
        return embedder if embedder is not None and embedder.name == self._contents.embedder else None

    def _allowed(self, kinds: Sequence[str], ids: Sequence[str], until_ms: int) -> np.ndarray:
        allowed = np.ones(len(self._contents.documents), bool)
        if kinds:
            allowed &= np.isin(self._kinds, list(kinds))
        if ids:
            named = np.zeros_like(allowed)
            named[[self._numbers[name] for name in ids if name in self._numbers]] = True
            allowed &= named
        if until_ms:
            allowed &= self._times <= until_ms
        return allowed

    def _passage(self, place: int, score: float) -> Passage:
        number, start, end = (int(value) for value in self._contents.places[place])
        document = self._contents.documents[number]
        return Passage(
            document.document, document.version, document.kind, document.time_ms, start, end, score, document.text[start:end]
        )


class Joined:
    """A corpus and the documents sent with one question (`Sources`); one of these stands in place of the corpus's of its name."""

    def __init__(self, corpus: Corpus, sent: Iterable[SourceDocument]) -> None:
        self._corpus = corpus
        self._sent = Corpus.of(sent)
        self._names = frozenset(each.document for each in self._sent.documents(kinds=(), ids=(), until_ms=0))

    def using(self, embedder: Embedder | None) -> Joined:
        other = copy(self)
        other._corpus = self._corpus.using(embedder)
        return other

    @property
    def by_meaning(self) -> bool:
        return self._corpus.by_meaning

    @property
    def memo(self) -> dict[str, Any]:
        """The corpus's: nothing that is derived of what was sent may be put there."""
        return self._corpus.memo

    @property
    def sent(self) -> frozenset[str]:
        """Names of the documents that came with the question."""
        return self._names

    def search(self, query: str, *, kinds: Sequence[str], ids: Sequence[str], until_ms: int, most: int) -> list[Passage]:
        """Passages that were sent come first as far as they have words of the question, at most half of all."""
        sent = self._sent.search(query, kinds=kinds, ids=ids, until_ms=until_ms, most=most)
        wanted = most + len(self._names)
        kept = [
            passage
            for passage in self._corpus.search(query, kinds=kinds, ids=ids, until_ms=until_ms, most=wanted)
            if passage.document not in self._names
        ]
        sent = sent[: max(most // 2, most - len(kept))]
        return [*sent, *kept[: most - len(sent)]]

    def document(self, document: str) -> SourceDocument:
        return (self._sent if document in self._names else self._corpus).document(document)

    def documents(self, *, kinds: Sequence[str], ids: Sequence[str], until_ms: int) -> list[SourceDocument]:
        own = self._corpus.documents(kinds=kinds, ids=ids, until_ms=until_ms)
        kept = [each for each in own if each.document not in self._names]
        return [*kept, *self._sent.documents(kinds=kinds, ids=ids, until_ms=until_ms)]

    def rarity(self, term: str) -> float:
        return min(self._corpus.rarity(term), self._sent.rarity(term)) if self._sent.passage_count else self._corpus.rarity(term)


def _best(scores: Floats, most: int) -> np.ndarray:
    """Places of the `most` greatest scores, descending; equal scores by place."""
    if most < len(scores):
        bound = np.partition(scores, len(scores) - most)[len(scores) - most] if most else np.float32(np.inf)
        near = np.flatnonzero(scores >= bound)
    else:
        near = np.arange(len(scores))
    return near[np.argsort(-scores[near], kind="stable")][:most]
