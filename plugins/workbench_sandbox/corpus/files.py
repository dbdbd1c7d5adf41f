"""A corpus as one file, byte by byte: docs/protocols/corpus.md section 3. Pure.

The reader checks the digest before it looks at anything else, and everything else before it hands on anything.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.crypto import canonical, sm3
from workbench.domain.documents import SourceDocument
from workbench.errors import VerificationError
from workbench_sandbox.corpus.bm25 import Floats, Postings, Whole
from workbench_sandbox.corpus.documents import format_documents, parse_documents, refused

START = b"WBCP\x01\x00\x00\x00"
MAX_BYTES = 1 << 30
DIGEST = 32
_SECTIONS = 7
_PIECE = 1 << 20
_HEAD = {"v", "kind", "documents", "passages", "terms", "postings", "embedder", "size", "bytes"}


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a corpus file holds. places: (passages, 3): document, from, to. matrix: (passages, size), size may be 0."""

    documents: tuple[SourceDocument, ...]
    places: Whole
    postings: Postings
    embedder: str
    matrix: Floats


def format_corpus(contents: Contents) -> Iterator[bytes]:
    """The bytes of a corpus file in pieces of at most 1 MiB. Raises VerificationError CORPUS_REFUSED where it does not fit."""
    postings = contents.postings
    sections = [
        format_documents(contents.documents),
        _little(contents.places, "<u4"),
        b"".join(len(term.encode()).to_bytes(1, "big") + term.encode() for term in postings.terms),
        _little(postings.starts, "<u4"),
        _little(postings.passages, "<u4"),
        _little(postings.weights, "<f4"),
        _little(contents.matrix, "<f4"),
    ]
    head = canonical.format(
        {
            "v": 1,
            "kind": "corpus",
            "documents": len(contents.documents),
            "passages": len(contents.places),
            "terms": len(postings.terms),
            "postings": len(postings.passages),
            "embedder": contents.embedder,
            "size": contents.matrix.shape[1] if contents.embedder else 0,
            "bytes": [len(section) for section in sections],
        }
    )
    digest = sm3.new()
    written = 0
    for part in (START + len(head).to_bytes(4, "big") + head, *sections):
        padded = bytes(-written % 8) + part
        for at in range(0, len(padded), _PIECE):
            piece = padded[at : at + _PIECE]
            digest.update(piece)
            yield piece
        written += len(padded)
    yield digest.digest()


def parse_corpus(data: bytes) -> Contents:
    """What `format_corpus` wrote. Raises VerificationError CORPUS_REFUSED for anything else. Cost: 60 ms for 20 MB."""
    if not len(START) + 4 + DIGEST <= len(data) <= MAX_BYTES or sys.byteorder != "little":
        raise refused()
    view = memoryview(data)
    digest = sm3.new()
    for at in range(0, len(data) - DIGEST, _PIECE):
        digest.update(bytes(view[at : min(at + _PIECE, len(data) - DIGEST)]))
    if digest.digest() != view[-DIGEST:] or view[: len(START)] != START:
        raise refused()
    try:
        return _contents(view[:-DIGEST])
    except (ValueError, IndexError, UnicodeDecodeError, OverflowError):
        raise refused() from None


def _contents(view: memoryview) -> Contents:
    end = len(START) + 4 + int.from_bytes(view[len(START) : len(START) + 4], "big")
    if end > len(view):
        raise refused()
    head = _head(bytes(view[len(START) + 4 : end]))
    sections: list[memoryview] = []
    for size in head["bytes"]:
        begin = end + -end % 8
        if begin + size > len(view) or any(view[end:begin]):
            raise refused()
        sections.append(view[begin : begin + size])
        end = begin + size
    if end != len(view):
        raise refused()
    passages, size = head["passages"], head["size"]
    documents = parse_documents(sections[0])
    if len(documents) != head["documents"]:
        raise refused()
    places = _array(sections[1], np.uint32, passages * 3).reshape(passages, 3)
    _check_places(places, documents)
    postings = _postings(head, sections)
    matrix = _array(sections[6], np.float32, passages * size).reshape(passages, size)
    if size:
        lengths = np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64)
        if not np.all((np.abs(lengths - 1) < 2e-3) | (lengths == 0)):  # a NaN or an infinity is neither
            raise refused()
    return Contents(documents, places, postings, head["embedder"], matrix)


def _head(data: bytes) -> dict[str, Any]:
    try:
        head = canonical.parse(data)
    except VerificationError:
        raise refused() from None
    if not isinstance(head, dict) or set(head) != _HEAD or head["v"] != 1 or head["kind"] != "corpus":
        raise refused()
    lengths = head["bytes"]
    if not isinstance(lengths, list) or len(lengths) != _SECTIONS:
        raise refused()
    counts = [head[name] for name in ("documents", "passages", "terms", "postings", "size")]
    if any(type(count) is not int or not 0 <= count <= MAX_BYTES for count in [*counts, *lengths]):
        raise refused()
    if not isinstance(head["embedder"], str) or len(head["embedder"]) > 64 or bool(head["embedder"]) != bool(head["size"]):
        raise refused()
    return head


def _postings(head: dict[str, Any], sections: Sequence[memoryview]) -> Postings:
    terms = _terms(sections[2], head["terms"])
    count = head["postings"]
    starts = _array(sections[3], np.uint32, len(terms) + 1)
    if starts[0] != 0 or starts[-1] != count or np.any(starts[1:] <= starts[:-1]):
        raise refused()
    passages = _array(sections[4], np.uint32, count)
    weights = _array(sections[5], np.float32, count)
    if count:
        rising = passages[1:] > passages[:-1]
        rising[starts[1:-1].astype(np.int64) - 1] = True  # between two terms there is no order
        if not np.all(rising) or passages.max() >= head["passages"]:
            raise refused()
        if not np.all(np.isfinite(weights)) or weights.min() <= 0:
            raise refused()
    return Postings(terms, starts, passages, weights)


def _terms(section: memoryview, count: int) -> tuple[str, ...]:
    data = bytes(section)
    found: list[str] = []
    place, before = 0, b""
    while place < len(data):
        term = data[place + 1 : place + 1 + data[place]]
        if len(term) != data[place] or term <= before:
            raise refused()
        found.append(term.decode("utf-8"))
        before = term
        place += 1 + len(term)
    if len(found) != count:
        raise refused()
    return tuple(found)


def _check_places(places: Whole, documents: Sequence[SourceDocument]) -> None:
    if not len(places):
        return
    number, start, end = places[:, 0], places[:, 1], places[:, 2]
    if number.max() >= len(documents):
        raise refused()
    lengths = np.array([len(document.text) for document in documents], dtype=np.uint32)
    same = number[1:] == number[:-1]
    ordered = (number[1:] > number[:-1]) | (same & (start[1:] >= end[:-1]))
    if np.any(start >= end) or np.any(end > lengths[number]) or not np.all(ordered):
        raise refused()


def _array(section: memoryview, kind: type[Any], count: int) -> Any:  # Any: an array of that kind
    found = np.frombuffer(section, dtype=kind)
    if len(found) != count:
        raise refused()
    return found


def _little(array: Any, kind: str) -> bytes:
    return np.ascontiguousarray(array, dtype=kind).tobytes()
