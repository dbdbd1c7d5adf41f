"""What a corpus is made of and what an engine sees of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from workbench.domain.documents import SourceDocument

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of one document. start, end: characters of its text, end exclusive; score: higher is nearer, comparable
    within one search only."""

    document: str
    version: str
    kind: str
    time_ms: int
    start: int
    end: int
    score: float
    text: str = field(repr=False)


class Sources(Protocol):
    """What an engine may read: the documents of its corpus, and those sent with the question."""

    def search(self, query: str, *, kinds: Sequence[str], ids: Sequence[str], until_ms: int, most: int) -> Sequence[Passage]:
        """The nearest passages, best first, at most `most`, of documents of these kinds (none: all), with these names (none: all),
        whose time is not after until_ms (0: no limit)."""

    def document(self, document: str) -> SourceDocument:
        """The newest version of a document. KeyError: it is not in this corpus."""

    def documents(self, *, kinds: Sequence[str], ids: Sequence[str], until_ms: int) -> Sequence[SourceDocument]:
        """All documents that a search with these limits would look at, in the order of the corpus."""


class Embedder(Protocol):
    """Texts to vectors; an embedder is not thread-safe unless it says so."""

    name: str
    size: int

    def passages(self, texts: Sequence[str]) -> np.ndarray:
        """(n, size) float32, rows of length 1, in the order of texts."""

    def query(self, text: str) -> np.ndarray:
        """(size,) float32 of length 1."""


__all__ = ["Embedder", "Passage", "SourceDocument", "Sources"]
