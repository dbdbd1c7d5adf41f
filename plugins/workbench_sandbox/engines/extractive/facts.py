"""What a document states, as values with their places: its fields, the rows of its tables, and labels in its text. Pure.

Every fact stands in the text at its place: `document.text[fact.start:fact.end] == fact.value`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from workbench.domain.documents import SourceDocument
from workbench_sandbox.corpus.text import fold, fold_with_places
from workbench_sandbox.engines.extractive import reading
from workbench_sandbox.engines.extractive.vocabulary import FIELDS, OLD
from workbench_sandbox.engines.quantities import DATE, scan

Day = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Fact:
    """A value of a field. day: of which day it is, for daily fields; since: ms from which it holds, and how new it is."""

    field: str
    value: str
    unit: str
    document: SourceDocument
    start: int
    end: int
    day: Day | None
    since: int


def facts_of(document: SourceDocument) -> list[Fact]:
    """All facts of one document: fields first, then what tables add; of a document without fields, what its
    wording states."""
    text = document.text
    since = _since(document)
    found: list[Fact] = []
    for name, span in document.fields.items():
        start = text.index(span.value, span.start, span.end)
        field, _, of = name.partition("@")
        day = _day(of) if of else None
        if not of and field in FIELDS and FIELDS[field].daily:
            stated = document.fields.get(FIELDS[field].day)
            day = _day(stated.value) if stated else None
        found.append(Fact(field, span.value, span.unit, document, start, start + len(span.value), day, since))
    seen = {(fact.field, fact.day) for fact in found}
    named = {fact.field for fact in found}
    for fact in _rows(document, since):
        if (fact.field, fact.day) not in seen:
            found.append(fact)
    found.extend(_share_codes(document, since))
    if is_stated(document) and not named & _NAMING:  # a connector that knew what it is about knew the rest
        found.extend(_dated(_read(document, named), found))
    return found


def _share_codes(document: SourceDocument, since: int) -> Iterator[Fact]:
    """The codes of share classes that stand beside their letters: A类：610011；C类：610012."""
    if document.kind == "fund":
        for match in SHARE_CODE.finditer(document.text, 0, _HEAD):
            yield Fact("share_code", match.group(1), "", document, match.start(1), match.end(1), None, since)


def _dated(read: Sequence[Fact], known: Sequence[Fact]) -> Iterator[Fact]:
    """What was read of the text, with the day of daily fields and, for a change, the day from which it holds."""
    days = {fact.field: _day(fact.value) for fact in (*read, *known) if fact.field in ("nav_date", "scale_date", "effective_date", "date")}
    effective = next((fact.value for fact in read if fact.field == "effective_date"), "")
    for fact in read:
        day = None
        since = _instant(_day(effective)) or fact.since
        if fact.field in FIELDS and FIELDS[fact.field].daily:
            day = _near(fact) or days.get(FIELDS[fact.field].day)
        yield replace(fact, day=day, since=since)


def _near(fact: Fact) -> Day | None:
    """The whole date in the sentence of a value."""
    text = fact.document.text
    begin = max(text.rfind(sign, 0, fact.start) for sign in "。\n；") + 1
    ends = [place for place in (text.find(sign, fact.end) for sign in "。\n；") if place >= 0]
    return _day(text[begin : min(ends, default=len(text))])


def is_stated(document: SourceDocument) -> bool:
    """Is it a product's own document, a table or an announcement, and not somebody's news about it?"""
    if document.kind in ("fund", "quote"):
        return True
    return document.kind == "news" and ("effective_date" in document.fields or bool(_ANNOUNCED.search(document.title)))


def day_of(text: str) -> Day | None:
    """The first whole date of a text."""
    return _day(text)


def _day(text: str) -> Day | None:
    for quantity in scan(text):
        if quantity.kind == DATE and isinstance(quantity.value, tuple) and all(quantity.value):
            return quantity.value
    return None


def _since(document: SourceDocument) -> int:
    """Announcements hold from the day they name, everything else from the time of its document."""
    span = document.fields.get("effective_date")
    return _instant(_day(span.value) if span else None) or document.time_ms


def _instant(day: Day | None) -> int:
    if day is None:
        return 0
    try:
        return int(datetime(*day, tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        return 0  # 31 February


SHARE_CODE = re.compile(r"[A-Ea-e]\s?类[:：]?\s?([0-9]{6})")
_HEAD = 400
_ANNOUNCED = re.compile(
    r"(?:公告|通知|公告书|报告书|通知书|更正|更正公告)\s*(?:[（(【\[][^）)】\]]*[）)】\]]\s*)*$|^(?:announcement|notice)\b|\b(?:announcement|notice)\s*$",
    re.IGNORECASE,
)
"""An announcement's title ends so; an article about one does not."""
_CELL = re.compile(r"[^|\t\n]+")
_COLUMNS = {
    "单位净值": "nav", "份额净值": "nav", "净值": "nav", "累计净值": "nav_cumulative", "份额累计净值": "nav_cumulative",
    "日涨跌": "change", "涨跌幅": "change", "日涨跌幅": "change", "收盘": "close", "收盘价": "close", "收盘点位": "close",
    "最高": "high", "最低": "low", "成交额": "turnover", "nav": "nav", "unit nav": "nav", "accumulated nav": "nav_cumulative",
    "change": "change", "close": "close", "high": "high", "low": "low", "turnover": "turnover",
}  # fmt: skip
_NAMING = {"fund_name", "fund_code", "short_name", "index_name", "security_code"}
_DATES = ("日期", "净值日期", "交易日", "date")


def _rows(document: SourceDocument, since: int) -> Iterator[Fact]:
    """Rows of tables whose first column is a date and whose header names fields."""
    columns: dict[int, str] = {}
    place = 0
    for line in document.text.split("\n"):
        begin, place = place, place + len(line) + 1
        if "|" not in line and "\t" not in line:
            columns = {}
            continue
        cells = [match for match in _CELL.finditer(line) if match.group().strip()]
        if not cells:
            continue
        names = [fold(cell.group().strip()) for cell in cells]
        if names[0] in _DATES:
            columns = {number: _COLUMNS[name] for number, name in enumerate(names) if name in _COLUMNS}
            continue
        day = _day(names[0]) if columns else None
        if day is None:
            continue
        for number, field in columns.items():
            if number >= len(cells):
                continue
            cell = cells[number]
            value = re.search(r"[-+−]?[0-9０-９][0-9０-９,，.．]*", cell.group())
            if value:
                start = begin + cell.start() + value.start()
                unit = "%" if cell.group()[value.end() :].strip() in ("%", "％") else ""
                yield Fact(field, value.group(), unit, document, start, start + len(value.group()), day, since)


def _read(document: SourceDocument, named: Set[str]) -> list[Fact]:
    """What the wording of a document states, for fields that it does not name."""
    folded, places = fold_with_places(document.text)
    found: list[Fact] = []
    for stated in reading.read(folded, announcement=document.kind == "news"):
        if stated.field in named or stated.start >= stated.end:
            continue
        start, end = places[stated.start], places[stated.end - 1] + 1
        value = document.text[start:end].strip()
        start = document.text.index(value, start)
        found.append(Fact(stated.field, value, stated.unit, document, start, start + len(value), None, document.time_ms))
    return found


def old(field: str) -> str:
    """The field for the value before a change."""
    return f"old_{field}" if field in OLD else field
