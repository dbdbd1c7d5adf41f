"""Which fund, firm or index a question names, among those the documents know – or one they do not know. Pure.

A name is found as a whole, as its short form, or as a sequence of its parts in their order (汀野安泽90天债券 for 汀野安泽90天滚动持有债券型
证券投资基金). What is left out may be filler; a kind or a period may be left out only where one name alone remains.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from workbench.domain.documents import SourceDocument
from workbench_sandbox.corpus.text import HAN, fold
from workbench_sandbox.engines.extractive.facts import Fact
from workbench_sandbox.engines.extractive.vocabulary import ENTITY_KINDS

_TOKENS = re.compile(rf"[{HAN}]|[a-z]+|[0-9]+(?:\.[0-9]+)?")
_FILLER = re.compile(
    "证券投资基金|证券投资|资产管理计划|发起式|交易型开放式|开放式|滚动持有|定期开放|期开放|定期|持有期|有期|持有|开放|市场基金|市场|期货|基金|"
    "型|式|期|类|份额|\\(|\\)|（|）|fund|the|of|holding|rolling|regular|open|ended|class|share|and"
)
_KINDS = re.compile("混合|债券|股票|指数|商品|货币|联接|债|股|混|指|etf|lof|fof|qdii|reits?|理财|bond|mixed|equity|stock|index|money|commodity|balanced")
_PERIOD = re.compile("[0-9一二两三四五六七八九十]+(?:天|个月|月|年|day|month|year)")
_COLLOQUIAL = (("债券", "债基"), ("债券", "债"), ("货币市场", "货基"), ("股票", "股基"), ("混合", "混基"), ("指数", "指基"))
CODE = re.compile(r"(?<![0-9.])([0-9]{6})(?![0-9]|\.[0-9]|\s?(?:元|份(?!额)|万|亿|股|%|户|人))")
_CLASS_CODE = re.compile(r"([a-e])\s?类[:：]?\s?([0-9]{6})")
SHARE = re.compile(rf"(?<![a-z])([a-e])\s?(?:类|份额)|\bclass ([a-e])\b|\b([a-e])[- ](?:class|shares?)\b|(?<=[{HAN})])([a-e])(?![a-z0-9])")
"""A share class in folded text."""
_CODES = ("fund_code", "security_code")
_POINTING = re.compile(rf"(?<=[{HAN}])[那这](?:个|只|支)(?=[{HAN}])")
"""Between the parts of a name, as in 远山成长那只混合."""
_INDEX_NAME = re.compile(rf"[{HAN}]{{4,}}指数")
_LEAST_HAN = 4
_LEAST_WORDS = 2


@dataclass(slots=True)
class Entity:
    """What some documents are about: a fund, an index, a firm. names: as the documents write them; codes: six digits."""

    names: list[str]
    codes: set[str]
    facts: list[Fact] = field(default_factory=list, repr=False)
    documents: list[SourceDocument] = field(default_factory=list, repr=False)
    spellings: list[tuple[str, ...]] = field(default_factory=list, repr=False)


@dataclass(frozen=True, slots=True)
class Mention:
    """A stretch of the folded question that names something. entities: one; several where it is ambiguous; none: unknown."""

    start: int
    end: int
    entities: tuple[Entity, ...]


class Catalogue:
    """The entities of a set of documents."""

    def __init__(self, documents: Iterable[tuple[SourceDocument, Sequence[Fact]]]) -> None:
        self.entities: list[Entity] = []
        self._codes: dict[str, Entity] = {}
        self._class_codes: dict[str, tuple[str, Entity]] = {}
        self._names: dict[str, Entity] = {}
        # Those that state a code come first: what states only a name then joins the entity that has both.
        for document, facts in sorted(documents, key=lambda each: not any(fact.field in _CODES for fact in each[1])):
            self._add(document, facts)
        self._starts: dict[str, list[tuple[Entity, tuple[str, ...]]]] = {}
        for entity in self.entities:
            entity.spellings = sorted({spelling for name in entity.names for spelling in _spellings(name)} | _of_index(entity))
            for spelling in entity.spellings:
                self._starts.setdefault(spelling[0], []).append((entity, spelling))

    def by_code(self, code: str) -> Entity | None:
        """The entity of a code, or of a share class's code that its document names beside it."""
        return self._codes.get(code) or self._class_codes.get(code, ("", None))[1]

    def shares(self, question: str) -> set[str]:
        """The share classes that a folded question names, by letter or by a code of their own; of the fund's code none."""
        named = {letter for match in SHARE.finditer(question) for letter in match.groups() if letter}
        for match in CODE.finditer(question):
            if match.group(1) in self._class_codes and match.group(1) not in self._codes:
                named.add(self._class_codes[match.group(1)][0])
        return named

    def mentions(self, question: str) -> list[Mention]:
        """What a folded question names, in order: codes and names; those that no document knows have no entity."""
        found: list[Mention] = []
        for match in CODE.finditer(question):
            entity = self.by_code(match.group(1))
            if entity is not None or not re.fullmatch("(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])", match.group(1)):
                found.append(Mention(match.start(), match.end(), (entity,) if entity else ()))
        pointing = {place for match in _POINTING.finditer(question) for place in range(*match.span())}
        tokens = [(match.group(), match.start(), match.end()) for match in _TOKENS.finditer(question) if match.start() not in pointing]
        taken = list(found)
        place = 0
        while place < len(tokens):
            best = self._longest(question, tokens, place)
            if best is None or any(best[0].start < each.end and each.start < best[0].end for each in taken):
                place += 1
                continue
            found.append(best[0])
            place += best[1]
        return sorted(found, key=lambda each: each.start)

    def _longest(self, question: str, tokens: Sequence[tuple[str, int, int]], place: int) -> tuple[Mention, int] | None:
        """The longest name that begins at a token, and how many tokens it takes."""
        candidates: list[tuple[int, str, Entity]] = []
        for entity, spelling in self._starts.get(tokens[place][0], ()):
            length, rest = _walk(tokens, place, spelling)
            if length:
                candidates.append((length, rest, entity))
        if not candidates:
            return None
        most = max(length for length, _, _ in candidates)
        longest = [(rest, entity) for length, rest, entity in candidates if length == most]
        start, end = tokens[place][1], tokens[place + most - 1][2]
        if question.endswith("基金", 0, end) and _OTHER_WORD.match(question, end):
            end -= 2  # 债券基金经理: the fund's kind, and its manager
        said = question[start:end]
        end += _tail(question[end:])
        if _continues(question[end:]):
            return Mention(start, end, ()), most
        tight = _distinct(entity for rest, entity in longest if not _FILLER.sub("", rest).strip())
        if tight:
            return Mention(start, end, tight), most
        loose = _distinct(entity for _, entity in longest)
        if _KINDS.search(said[2:]) or (_PERIOD.search(said) and len(loose) > 1):
            return Mention(start, end, ()), most  # a whole name, but none of these
        return Mention(start, end, loose), most

    def _add(self, document: SourceDocument, facts: Sequence[Fact]) -> None:
        names = [fact.value for fact in facts if fact.field in ENTITY_KINDS]
        codes = {fold(fact.value) for fact in facts if fact.field in _CODES}
        if not names and not codes:
            return
        names += _title_names(document.title, names)
        entity = next((self._codes[code] for code in sorted(codes) if code in self._codes), None)
        if entity is None and not codes:
            entity = next((self._names[fold(name)] for name in names if fold(name) in self._names), None)
            entity = entity or self._of_short_name(names)
        if entity is None:
            entity = Entity([], set())
            self.entities.append(entity)
        entity.names.extend(name for name in names if name not in entity.names)
        entity.codes |= codes
        entity.documents.append(document)
        entity.facts.extend(facts)
        for code in codes:
            self._codes[code] = entity
        if document.kind == "fund":
            for letter, code in _CLASS_CODE.findall(fold(document.text[:400])):
                self._class_codes.setdefault(code, (letter, entity))
        for name in names:
            self._names.setdefault(fold(name), entity)


    def _of_short_name(self, names: Sequence[str]) -> Entity | None:
        """The one entity of which these are shorter forms, such as a short name in the news; None if there is none, or several."""
        found: list[Entity] = []
        for name in names:
            tokens = [(token, place, place + 1) for place, token in enumerate(_tokens(fold(name)))]
            if len(tokens) < _LEAST_HAN:
                continue
            for entity in self.entities:
                for whole in entity.names:
                    spelling = _tokens(fold(whole))
                    if not spelling or spelling[0] != tokens[0][0]:
                        continue
                    length, rest = _walk(tokens, 0, spelling)
                    if length == len(tokens) and not _FILLER.sub("", rest).strip():
                        found.append(entity)
        one = _distinct(found)
        return one[0] if len(one) == 1 else None


def _title_names(title: str, names: Sequence[str]) -> list[str]:
    """The short name before the colon of an announcement's title, where it is a shorter form of the name in its text."""
    head = re.split("[:：（(]|净值|行情", title, maxsplit=1)[0].strip()
    whole = [_tokens(fold(name)) for name in names]
    short = _tokens(fold(head))
    if len(short) >= _LEAST_HAN and any(_is_within(short, name) for name in whole):
        return [head]
    return []


def _spellings(name: str) -> set[tuple[str, ...]]:
    folded = fold(name)
    forms = {folded}
    if "基金中基金" in folded:
        stem = re.sub("(?:混合|债券|股票)?型?基金中基金(?:\\(fof\\))?", "", folded)
        forms |= {stem + "fof", stem + "基金", stem + "基金中基金"}
    for whole, short in _COLLOQUIAL:
        if whole in folded:
            forms.add(folded.replace(whole, short + "型") if short == "债" else folded.replace(whole, short))
    return {tokens for tokens in map(_tokens, forms) if tokens}


def _of_index(entity: Entity) -> set[tuple[str, ...]]:
    """An index without the two signs that say whose it is, as people call it; never a fund."""
    if entity.codes or not any(fact.field == "index_name" for fact in entity.facts):
        return set()
    return {_tokens(fold(name)[2:]) for name in entity.names if _INDEX_NAME.fullmatch(fold(name))}


def _tokens(text: str) -> tuple[str, ...]:
    return tuple(_TOKENS.findall(text))


def _is_within(short: Sequence[str], whole: Sequence[str]) -> bool:
    rest = iter(whole)
    return all(token in rest for token in short)


def _walk(tokens: Sequence[tuple[str, int, int]], place: int, name: Sequence[str]) -> tuple[int, str]:
    """How many tokens of the question are parts of a name in their order, and what of the name they leave out.

    The first parts must stand together, so that a firm's name alone is not taken for one of its funds.
    """
    least = _LEAST_HAN if len(name[0]) == 1 and not name[0].isascii() else _LEAST_WORDS
    least = min(least, len(name))
    at = 0
    while at < least:
        if place + at >= len(tokens) or tokens[place + at][0] != name[at]:
            return 0, ""
        at += 1
    taken, rest, position = at, [], at
    while place + taken < len(tokens):
        if tokens[place + taken][1] - tokens[place + taken - 1][2] > 2:
            break
        token = tokens[place + taken][0]
        try:
            found = name.index(token, position)
        except ValueError:
            break
        if found > position:
            if not _goes_on(tokens, place + taken, name, found):
                break
            rest.append("".join(name[position:found]))
        position = found + 1
        taken += 1
    rest.append("".join(name[position:]))
    return taken, " ".join(rest)


def _goes_on(tokens: Sequence[tuple[str, int, int]], place: int, name: Sequence[str], found: int) -> bool:
    """After a part that was left out, two parts stand together again, or a word, a number, the first sign of a kind."""
    if tokens[place][0].isascii():
        return True
    if place + 1 < len(tokens) and found + 1 < len(name) and tokens[place + 1][0] == name[found + 1]:
        return True
    return _KINDS.fullmatch("".join(name[found : found + 2])) is not None


_OTHER_WORD = re.compile("经理|管理|托管|代码|规模|类型|公司|净值|合同|成立|简称|名称|份额|全称|资产|运作|业绩|费")
_GENERIC_TAIL = re.compile(f"(?:型|式)?(?:证券投资)?(?:基金(?!{_OTHER_WORD.pattern}))?(?:\\s?[a-e]\\s?(?:类|份额|(?![a-z])))?(?:份额)?")
_CONTINUES = re.compile(
    rf"[0-9一二两三四五六七八九十]+(?:天|个月|年)(?:型|基金|持|期|滚|定|{_KINDS.pattern})|"
    rf"(?:混合|债券|股票|商品|货币|联接|指数)(?!比|基准|占|仓|持|资产|市值|收益|投资比)|(?:基金)?中基金|"
    rf"(?:[{HAN}]{{0,2}}(?:混合|债券|股票|指数(?!比|的)|商品|货币|联接|etf|lof|fof|qdii))(?:型|基金|持有|期|[a-e]|的|$|是|今|最|单|净|风|管|托|现|有|多|谁|目|[?？，,])"
)


_LATIN_REST = re.compile(r"((?:[ -][a-z0-9&'-]+){1,7}?)[ -](?:fund|etf|lof|fof)\b")
_LATIN_JOINS = frozenset(["and", "or", "vs", "versus", "with", "than", "of", "is", "to", "the", "a", "an", "for", "in", "by", "does", "do", "has", "have", "what", "which", "lower", "higher"])


def _tail(rest: str) -> int:
    match = _GENERIC_TAIL.match(rest)
    return match.end() if match else 0


def _continues(rest: str) -> bool:
    """Does the question go on with parts of another name, such as a kind or a period, or in English with words up to `fund`?"""
    if _CONTINUES.match(rest) is not None or re.match("[ -](?:fund[ -])?of[ -]funds", rest):
        return True
    match = _LATIN_REST.match(rest)
    return match is not None and not _LATIN_JOINS.intersection(re.findall("[a-z]+", match.group(1)))


def _distinct(entities: Iterable[Entity]) -> tuple[Entity, ...]:
    found: list[Entity] = []
    for entity in entities:
        if all(entity is not other for other in found):
            found.append(entity)
    return tuple(found)
