"""Building a corpus at the tenant: docs/protocols/corpus.md. Nothing is written here; the caller seals what it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from workbench.domain.documents import SourceDocument
from workbench_sandbox.corpus import bm25, text
from workbench_sandbox.corpus.files import Contents, format_corpus
from workbench_sandbox.corpus.types import Embedder

BATCH = 16
_TERM_BYTES = 255


def build(
    documents: Iterable[SourceDocument], embedder: Embedder | None, *, progress: Callable[[int, int], None]
) -> Iterator[bytes]:
    """The bytes of a corpus file, in clear: the caller seals them as it takes them and keeps none of them on a disk.

    progress: passages that are done, and all; called after each batch of 16, and may raise to end the work.
    Raises VerificationError CORPUS_REFUSED for a document that does not fit. Cost: 20 to 150 ms a passage with an embedder.
    """
    yield from format_corpus(contents_of(documents, embedder, progress=progress))


def contents_of(
    documents: Iterable[SourceDocument], embedder: Embedder | None, *, progress: Callable[[int, int], None]
) -> Contents:
    """As `build`, but not yet as bytes."""
    ordered = tuple(sorted(documents, key=lambda each: each.document))
    places = [
        (number, start, end)
        for number, document in enumerate(ordered)
        for start, end in text.passages(document.text)
    ]  # fmt: skip
    postings = bm25.index(_terms(ordered[number], start, end) for number, start, end in places)
    matrix = _embedded(ordered, places, embedder, progress)
    table = np.array(places, dtype=np.uint32).reshape(len(places), 3)
    return Contents(ordered, table, postings, embedder.name if embedder else "", matrix)


def _terms(document: SourceDocument, start: int, end: int) -> list[str]:
    words = text.terms(document.title) + text.terms(document.text[start:end])
    return [word for word in words if len(word.encode()) <= _TERM_BYTES]


def _embedded(
    documents: Sequence[SourceDocument],
    places: Sequence[tuple[int, int, int]],
    embedder: Embedder | None,
    progress: Callable[[int, int], None],
) -> bm25.Floats:
    if embedder is None:
        progress(len(places), len(places))
        return np.zeros((len(places), 0), np.float32)
    matrix = np.zeros((len(places), embedder.size), np.float32)
    progress(0, len(places))
    for first in range(0, len(places), BATCH):
        batch = range(first, min(first + BATCH, len(places)))
        rows, texts = [], []
        for row in batch:
            number, start, end = places[row]
            passage = documents[number].text[start:end]
            if not text.is_table(passage):
                rows.append(row)
                texts.append(f"{documents[number].title}\n{passage}")
        if texts:
            matrix[rows] = embedder.passages(texts)
        progress(batch.stop, len(places))
    return matrix
