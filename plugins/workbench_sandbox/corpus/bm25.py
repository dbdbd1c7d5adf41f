"""BM25 over character pairs and words as arrays: docs/protocols/corpus.md sections 3 and 4. Pure.

Everything that does not depend on the question is computed once, when the corpus is built: a search adds up finished shares.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

K1 = 1.2
B = 0.75

Floats = npt.NDArray[np.float32]
Whole = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Postings:
    """terms: ascending by UTF-8. starts: (terms + 1), postings of term i are starts[i] to starts[i + 1].

    passages: ascending within a term. weights: the share of the term in the passage, above 0.
    """

    terms: tuple[str, ...]
    starts: Whole
    passages: Whole
    weights: Floats


def index(texts: Iterable[Sequence[str]]) -> Postings:
    """The postings of passages given as lists of terms. Cost: about 0.1 ms a passage of 200 characters."""
    numbers: dict[str, int] = {}
    found: list[npt.NDArray[np.int64]] = []
    for words in texts:
        found.append(np.array([numbers.setdefault(word, len(numbers)) for word in words], dtype=np.int64))
    names = sorted(numbers, key=lambda term: term.encode())
    if not names:
        return Postings((), np.zeros(1, np.uint32), np.zeros(0, np.uint32), np.zeros(0, np.float32))
    place = np.empty(len(names), dtype=np.int64)
    for rank, name in enumerate(names):
        place[numbers[name]] = rank
    lengths = np.array([len(words) for words in found], dtype=np.float64)
    count = len(found)
    passage = np.repeat(np.arange(count, dtype=np.int64), lengths.astype(np.int64))
    keys, often = np.unique(place[np.concatenate(found)] * count + passage, return_counts=True)
    term, passage = keys // count, keys % count
    sizes = np.bincount(term, minlength=len(names))
    starts = np.concatenate(([0], np.cumsum(sizes)))
    rarity = np.log1p((count - sizes + 0.5) / (sizes + 0.5))
    mean = lengths.sum() / count
    often = often.astype(np.float64)
    weights = rarity[term] * often * (K1 + 1) / (often + K1 * (1 - B + B * lengths[passage] / mean))
    return Postings(tuple(names), starts.astype(np.uint32), passage.astype(np.uint32), weights.astype(np.float32))


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Postings ready to be searched: a term's number by its text, and its greatest share."""

    postings: Postings
    numbers: dict[str, int]
    greatest: Floats

    @classmethod
    def of(cls, postings: Postings) -> Lexicon:
        if postings.terms:
            greatest = np.maximum.reduceat(postings.weights, postings.starts[:-1].astype(np.int64))
        else:
            greatest = np.zeros(0, np.float32)
        return cls(postings, {term: number for number, term in enumerate(postings.terms)}, greatest)

    def scores(self, words: Iterable[str], passages: int) -> Floats:
        """For each passage the sum of the shares of the distinct terms among `words`, of the greatest sum there could be."""
        total = np.zeros(passages, np.float32)
        most = 0.0
        postings = self.postings
        for word in sorted(set(words)):
            number = self.numbers.get(word)
            if number is None:
                continue
            start, end = int(postings.starts[number]), int(postings.starts[number + 1])
            total[postings.passages[start:end]] += postings.weights[start:end]  # a passage stands once in a term's list
            most += float(self.greatest[number])
        return total / np.float32(most) if most else total

    def rarity(self, word: str, passages: int) -> float:
        """How rare a term is: high for one that no passage has."""
        number = self.numbers.get(word)
        size = 0 if number is None else int(self.postings.starts[number + 1]) - int(self.postings.starts[number])
        return math.log1p((passages - size + 0.5) / (size + 0.5))
