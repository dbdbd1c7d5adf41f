"""Sentences of an answer: values as their sources write them, each with its citation. Pure.

A sentence whose numbers do not all stand in its source is not said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from workbench.domain.documents import SourceDocument
from workbench_sandbox.corpus.text import sentences
from workbench_sandbox.engines.extractive.facts import Fact, day_of
from workbench_sandbox.engines.extractive.naming import Entity
from workbench_sandbox.engines.extractive.vocabulary import FIELDS
from workbench_sandbox.engines.grounding import cited
from workbench_sandbox.engines.quantities import DATE, scan

NOTHING = {
    "zh": "资料中没有可以回答这个问题的内容。",
    "en": "The documents do not answer this question.",
}
UNKNOWN = {
    "zh": "资料中没有所问的名称或代码。请核对全称，或改用六位代码。",
    "en": "No document knows the name or code asked about. A fund may stand there under its Chinese name only: use its code.",
}
UNSTATED = {
    "zh": "资料没有写明所问的内容。",
    "en": "The documents do not state what was asked.",
}
NO_DAY = {
    "zh": "资料中没有所问日期的数据。",
    "en": "The documents have nothing for the date asked about.",
}
NEAREST = {
    "zh": "资料没有写明所问的内容；与之相近、资料里有的是：{field}。",
    "en": "The documents do not state what was asked. What they hold near it: {field}.",
}
"""With the name of the field alone: its value would stand there like an answer."""
AMBIGUOUS = {
    "zh": "资料中有多个名称与所问相近，请写出全称或代码。",
    "en": "Several names in the documents fit; please give the full name or the code.",
}


_COUNTED = re.compile("年|天|个月|个?工作日|个?交易日")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a document that an answer cites."""

    document: SourceDocument
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Said:
    """One sentence and what carries it. text: with {0}, {1} … where the marks of its spans go. value: of a field, or ""."""

    text: str
    spans: tuple[Span, ...]
    field: str = ""
    value: str = ""
    unit: str = ""


def state(entity: Entity, field: str, fact: Fact, language: str) -> Said | None:
    """The sentence that states a fact; None where it would say a number that its source does not have."""
    document = fact.document
    span = around(document, fact.start, fact.end)
    name = _name(entity, document, language)
    value = _as_written(fact)
    day = _day_as_written(fact, span)
    before = field.startswith("old_")
    label = _label(field.removeprefix("old_"), language)
    if language == "en":
        when = f" ({day})" if day else ""
        label = f"{label} before the change" if before else label
        text = f"{name}: {label} {value}{when}"
    else:
        label = f"调整前的{label}" if before else label
        when = f"（{day}）" if day else ""
        text = f"{name}的{label}{when}为{value}"
    source = cited([(document.title, document.text)])
    plain = _plainly(name, label, fact, when, language)
    for sentence in (text, plain, f"{label}: {value}" if language == "en" else f"{label}为{value}"):
        if not source.missing_number(sentence):
            ending = " {0}." if language == "en" else "{0}。"
            return Said(_escape(sentence) + ending, (span,), field, fact.value, fact.unit)
    return None


def nearest(field: str, language: str) -> str:
    """An abstention that names the field that stands near what was asked."""
    return NEAREST[language].format(field=_label(field.removeprefix("old_"), language))


def compare(field: str, said: Sequence[tuple[Entity, Fact]], lower: bool, higher: bool, language: str) -> str:
    """Which of two has the lower or higher value, by name; "" where that cannot be told. No difference is computed."""
    if len(said) != 2 or not (lower or higher) or not FIELDS[field].ranked:
        return ""
    first, second = (_measure(fact) for _, fact in said)
    if first is None or second is None or first[0] != second[0]:
        return ""
    label = _label(field, language)
    if first[1] == second[1]:
        return f"Both have the same {label}." if language == "en" else f"两者的{label}相同。"
    wins = 0 if (first[1] < second[1]) == lower else 1
    name = _name(said[wins][0], said[wins][1].document, language)
    if language == "en":
        return f"{name} has the {'lower' if lower else 'higher'} {label}."
    return f"{name}的{label}较{'低' if lower else '高'}。"


def quote(document: SourceDocument, start: int, end: int) -> Said:
    """A sentence of a document, word for word."""
    return Said(_escape(" ".join(document.text[start:end].split())) + "{0}", (Span(document, start, end),))


def around(document: SourceDocument, start: int, end: int) -> Span:
    """The sentence or line in which a value stands."""
    for begin, stop in _sentences_near(document.text, start, end):
        if begin <= start and end <= stop:
            return Span(document, begin, stop)
    return Span(document, start, end)


def _sentences_near(text: str, start: int, end: int) -> list[tuple[int, int]]:
    begin = text.rfind("\n", 0, start) + 1
    stop = text.find("\n", end)
    stop = len(text) if stop < 0 else stop
    return [(begin + first, begin + last) for first, last in sentences(text[begin:stop])]


def _name(entity: Entity, document: SourceDocument, language: str) -> str:
    """What the cited document itself calls it, with its code where it stands there."""
    whole = f"{document.title}\n{document.text}"
    names = sorted((name for name in entity.names if name in whole), key=lambda name: (name.isascii() == (language == "en"), len(name)), reverse=True)
    name = names[0] if names else ("The fund" if language == "en" else "该基金")
    codes = sorted(code for code in entity.codes if code in document.text)
    if not codes:
        return name
    return f"{name} ({codes[0]})" if language == "en" else f"{name}（{codes[0]}）"


def _as_written(fact: Fact) -> str:
    """The value with its unit as the document writes it, where the unit stands beside it."""
    text = fact.document.text
    if not fact.unit:
        counted = _COUNTED.match(text, fact.end) if fact.value.isdigit() else None
        return fact.value + counted.group() if counted else fact.value
    after = re.match(rf"\s?{re.escape(fact.unit)}|\s?[%％]" if fact.unit == "%" else rf"\s?{re.escape(fact.unit)}", text[fact.end :])
    if after:
        return text[fact.start : fact.end] + after.group()
    currency, _, scale = fact.unit.partition(" ")
    if scale and text[: fact.start].rstrip().endswith(currency):
        return f"{currency} {fact.value} {scale}"
    if re.search(r"[A-Z]{3}\s?$", text[: fact.start]):
        return f"{text[: fact.start].rstrip()[-3:]} {fact.value}"
    return f"{fact.value}{fact.unit}" if not fact.unit.isascii() or fact.unit == "%" else f"{fact.value} {fact.unit}"


def _plainly(name: str, label: str, fact: Fact, when: str, language: str) -> str:
    """For a unit that stands in a table's head, apart from its value."""
    if language == "en":
        return f"{name}: {label} ({fact.unit}) {fact.value}{when}"
    return f"{name}的{label}{when}为{fact.value}（单位：{fact.unit}）"


def _day_as_written(fact: Fact, span: Span) -> str:
    if fact.day is None:
        return ""
    text = span.document.text
    for piece in (text[span.start : span.end], text):
        for quantity in scan(piece):
            if quantity.kind == DATE and quantity.value == fact.day:
                return piece[quantity.start : quantity.end].strip()
    return ""


def _label(field: str, language: str) -> str:
    known = FIELDS.get(field)
    if known is None:
        return field
    return known.en if language == "en" else known.zh


def _measure(fact: Fact) -> tuple[str, tuple[Decimal, ...]] | None:
    """A value as what can be compared: its kind, and a number or a day."""
    written = _as_written(fact)
    for quantity in scan(written):
        if isinstance(quantity.value, Decimal):
            return quantity.kind, (quantity.value,)
    day = day_of(written)
    return (DATE, tuple(Decimal(part) for part in day)) if day else None


def _escape(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
