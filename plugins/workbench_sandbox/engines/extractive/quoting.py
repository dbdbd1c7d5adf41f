"""The one sentence of the documents that answers a question for which there is no template – or none. Pure but for the search.

A sentence is taken only if it has, with its title, nearly all rare words of the question, every day and number in it, and a
number or day of its own where one is asked for. So a name or a word that no document knows makes the engine abstain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import log

from workbench.domain.documents import SourceDocument
from workbench_sandbox.corpus.text import HAN, fold, sentences, terms
from workbench_sandbox.corpus.types import Passage, Sources
from workbench_sandbox.engines.extractive.understanding import Understood
from workbench_sandbox.engines.extractive.vocabulary import ASKING, COMMON, SYNONYMS
from workbench_sandbox.engines.quantities import DATE, carries, scan

LEAST = 0.78
_HALF = 0.5
_MOST_PASSAGES = 24
_MORE = 0.75
_LEAST_STEM = 4

_ASKING_EN = frozenset(
    ["what", "which", "who", "whom", "whose", "when", "where", "why", "how", "much", "many", "is", "are", "was", "were", "be", "been", "do", "does", "did", "has", "have", "had", "the", "a", "an", "of", "in", "on", "at", "to", "for", "from", "by", "with", "and", "or", "it", "its", "this", "that", "these", "those", "tell", "me", "please", "about", "can", "could", "will", "would", "should", "i", "you", "we", "there", "number", "amount", "level", "value", "say", "says", "said", "report", "reported", "according", "market", "note", "dated", "article", "news", "notice", "announcement", "s"]  # a list of words reads better so
)
_NUMBER_ASKED = re.compile(r"多少|几(?!乎)|多大|多高|多长|多久|占比|比例|百分之|how (?:much|many|long|large|high|big)|what (?:percentage|share|amount|level|number)|点位|(?:率|额|价|价格|量|值|占比|比例|收入|利润|市值|金额)[?？]?\s*$")
_DAY_ASKED = re.compile("何时|什么时候|哪天|哪一天|几号|几月|什么时间|日期|哪年|哪一年|\\bwhen\\b|what date|which day")
_STATES = re.compile(r"[，,。；;：:|0-9０-９]")
_WHY = re.compile("为什么|为何|原因|\\bwhy\\b|reason")
_BECAUSE = re.compile("因|由于|受|为了|原因|because|due to|owing")
_HOW_LONG = re.compile("多久|多长|how long")
_RUN = re.compile(rf"[{HAN}]{{2,}}|[a-z0-9][a-z0-9.\-]*")


@dataclass(frozen=True, slots=True)
class Found:
    """A sentence: characters start to end of a document's text. score: share of the question's weight that it carries."""

    document: SourceDocument
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be read, as in a question."""

    kinds: Sequence[str]
    ids: Sequence[str]
    until_ms: int


def find(
    question: str,
    sources: Sources,
    read: Understood,
    limits: Limits,
    *,
    among: Sequence[SourceDocument] = (),
    about: Callable[[str], bool] = lambda sentence: True,
) -> Found | None:
    """The best sentence, or None where none carries enough of the question.

    A sentence must carry the question as a whole, what of it is left beside the phrases of fields, and half of these phrases.
    among: if given, only these documents are looked at, all of them; each is about what the question names. about: does a text
    name what the question names? Asked of a sentence, and where that names nothing, of its title.
    """
    folded = fold(question)
    rarity = _rarity(sources)
    whole, apart, phrases = (_Wanted(text, rarity) for text in (read.masked, read.left, read.phrases))
    if not apart.total:
        return None
    stretches = [(document, 0, len(document.text)) for document in among]
    if not among:
        for passage in _passages(question, sources, read.days, limits):
            stretches.append((sources.document(passage.document), passage.start, passage.end))
    own = _words(read.masked)
    best: Found | None = None
    for document, start, end in stretches:
        if document.kind in ("question", "prompt") and not set(limits.kinds) <= {"question", "prompt"}:
            continue
        title = _words(document.title)
        for first, last in sentences(document.text[start:end]):
            sentence = document.text[start + first : start + last]
            words = _words(sentence)
            score = min(whole.share(words, title), apart.share(words, title))
            if score < LEAST or (phrases.total and phrases.share(words, title) < _HALF):
                continue
            if not among and whole.only_in(title, words) and (title & words) - own:
                continue  # the title is about two things, the sentence about the other
            score += _same_day(read.days, sentence, document)
            if best and (score, document.time_ms) <= (best.score, best.document.time_ms):
                continue
            if _answers(folded, read, sentence, document) and (about(sentence) or about(document.title)):
                best = Found(document, start + first, start + last, score)
    return best


class _Wanted:
    """The characters of a question that a sentence must have, each with its weight.

    A Han character counts as carried if a pair with it is; so the seams between words, which no sentence has, do not matter. Its
    weight is the rarity of its most frequent pair: seams do not matter there either, and what no document knows weighs most.
    """

    def __init__(self, masked: str, rarity: Callable[[str], float]) -> None:
        self._signs: list[tuple[tuple[str, ...], float]] = []
        for asked, written in SYNONYMS:
            masked = masked.replace(asked, written)
        plain = COMMON.sub(" ", ASKING.sub(" ", masked))
        for match in _RUN.finditer(plain):
            run = match.group()
            if run[0].isascii():
                if run not in _ASKING_EN:
                    self._signs.append(((_stem(run),), min(rarity(run), rarity(_stem(run)))))
                continue
            for place in range(len(run)):
                pairs = tuple(run[at : at + 2] for at in (place - 1, place) if 0 <= at < len(run) - 1)
                self._signs.append((pairs, min(rarity(pair) for pair in pairs)))
        self.total = sum(weight for _, weight in self._signs)

    def share(self, words: set[str], title: set[str]) -> float:
        """The part of the weight that these words carry; the title's count for less."""
        carried = 0.0
        for pairs, weight in self._signs:
            if any(pair in words for pair in pairs):
                carried += weight
            elif any(pair in title for pair in pairs):
                carried += weight * _MORE
        return carried / self.total if self.total else 0.0

    def only_in(self, title: set[str], words: set[str]) -> bool:
        """Does the title alone carry some of it?"""
        return any(not words.intersection(pairs) and title.intersection(pairs) for pairs, _ in self._signs)


_ENDING = re.compile("(?:ing|ed|es|s|d)$")


def _stem(word: str) -> str:
    """closed and close, covers and cover as one: an English word without its ending, where enough is left."""
    return _ENDING.sub("", word).removesuffix("e") if len(word) > _LEAST_STEM and word.isascii() and word.isalpha() else word


def _words(text: str) -> set[str]:
    return {_stem(term) for term in terms(text)}


def _passages(
    question: str, sources: Sources, days: Sequence[tuple[int, int, int]], limits: Limits
) -> list[Passage]:
    """The nearest passages; of documents of the day asked for first, where there are some."""
    found: list[Passage] = []
    if days:
        wanted = set(days)
        same = [
            each.document
            for each in sources.documents(kinds=limits.kinds, ids=limits.ids, until_ms=limits.until_ms)
            if _day(each.time_ms) in wanted
        ]  # fmt: skip
        if same:
            found.extend(sources.search(question, kinds=limits.kinds, ids=same, until_ms=limits.until_ms, most=_MOST_PASSAGES))
    found.extend(sources.search(question, kinds=limits.kinds, ids=limits.ids, until_ms=limits.until_ms, most=_MOST_PASSAGES))
    return found


def _same_day(days: Sequence[tuple[int, int, int]], sentence: str, document: SourceDocument) -> float:
    """A little more for a sentence that says the day asked for, or whose document is of that day."""
    if not days:
        return 0.0
    if any(quantity.kind == DATE and quantity.value in days for quantity in scan(sentence)):
        return 0.1
    return 0.08 if _day(document.time_ms) in days else 0.0


def _day(time_ms: int) -> tuple[int, int, int]:
    day = datetime.fromtimestamp(time_ms / 1000, UTC)
    return day.year, day.month, day.day


def _answers(folded: str, read: Understood, sentence: str, document: SourceDocument) -> bool:
    """Does the sentence fit what is asked: every day and number of the question, and one of its own where one is asked for?"""
    if sentence.rstrip().endswith(("?", "？")) or not _STATES.search(sentence):
        return False
    plain = fold(sentence)
    if any(word not in plain for word in read.unstated) or (_WHY.search(folded) and not _BECAUSE.search(plain)):
        return False
    asked = scan(folded)
    stated = {(each.kind, each.value) for each in scan(sentence)}
    near = stated | {(each.kind, each.value) for each in scan(f"{document.title}\n{document.text}")}
    near.add((DATE, _day(document.time_ms)))
    if not all(carries(near if quantity.kind == DATE else stated, quantity) for quantity in asked):
        return False
    own = stated - {(each.kind, each.value) for each in asked}
    if _NUMBER_ASKED.search(folded) and not any(kind != DATE for kind, _ in own):
        return bool(_HOW_LONG.search(folded)) and any(kind == DATE for kind, _ in own)
    return not (_DAY_ASKED.search(folded) and not any(kind == DATE for kind, _ in own))


def _rarity(sources: Sources) -> Callable[[str], float]:
    measured: Callable[[str], float] | None = getattr(sources, "rarity", None)
    return measured or (lambda term: log(2))
