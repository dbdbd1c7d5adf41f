"""What a document states, as values with their places: its fields, the rows of its tables, and labels in its text. Pure.

Every fact stands in the text at its place: `document.text[fact.start:fact.end] == fact.value`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from workbench.domain.documents import SourceDocument
from workbench_sandbox.corpus.text import fold, fold_with_places
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
    """All facts of one document: fields first, then what tables and labels add for fields that it does not name."""
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
    if is_stated(document):
        found.extend(fact for fact in _labels(document, since) if fact.field not in named)
    return found


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
    day = _day(span.value) if span else None
    if day is None:
        return document.time_ms
    try:
        return int(datetime(*day, tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        return document.time_ms


_ANNOUNCED = re.compile("公告|通知|报告书|更正|announcement|notice", re.IGNORECASE)
_CELL = re.compile(r"[^|\t\n]+")
_COLUMNS = {
    "单位净值": "nav", "份额净值": "nav", "净值": "nav", "累计净值": "nav_cumulative", "份额累计净值": "nav_cumulative",
    "日涨跌": "change", "涨跌幅": "change", "日涨跌幅": "change", "收盘": "close", "收盘价": "close", "收盘点位": "close",
    "最高": "high", "最低": "low", "成交额": "turnover", "nav": "nav", "unit nav": "nav", "accumulated nav": "nav_cumulative",
    "change": "change", "close": "close", "high": "high", "low": "low", "turnover": "turnover",
}  # fmt: skip
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


_RATE = r"(?P<value>[0-9]+(?:\.[0-9]+)?)\s?(?P<unit>%)"
_MONEY = r"(?P<value>[0-9][0-9,]*(?:\.[0-9]+)?)\s?(?P<unit>万亿元|亿元|万元|千元|元|亿|万)"
_DATED = r"(?P<value>(?:19|20)[0-9]{2}(?:年[0-9]{1,2}月[0-9]{1,2}日|[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{4}))(?P<unit>)"
_NAME = r"(?P<value>[^\s，。；、|:：()（）0-9][^\s，。；、|:：()（）]{1,30})(?P<unit>)"
_GAP = r"(?:\s*\|\s*|\s*[:：]\s*|\s{2,}|\s*\n\s*|\s*(?:为|是|:)\s*)"
_LOOSE = r"[^0-9\n。；|%]{0,16}?"
_LABELS: tuple[tuple[str, str, str, str], ...] = (
    ("management_fee", "(?:年)?管理费(?:率)?(?:\\(年\\))?", _LOOSE, _RATE),
    ("custody_fee", "托管费(?:率)?(?:\\(年\\))?", _LOOSE, _RATE),
    ("sales_fee", "销售服务费(?:率)?", _LOOSE, _RATE),
    ("purchase_fee", "申购费(?:率)?", _LOOSE, _RATE),
    ("subscription_fee", "认购费(?:率)?", _LOOSE, _RATE),
    ("redemption_fee", "赎回费(?:率)?", _LOOSE, _RATE),
    ("risk_class", "风险(?:等级|级别|评级|分类)", r"[^0-9\n。；|%]{0,10}?" + f"{_GAP}?", r"(?P<value>r[1-5])(?P<unit>)"),
    ("manager", "(?:现任)?(?:基金|投资)经理", _GAP, _NAME),
    ("management_company", "(?:基金)?管理人", _GAP, _NAME),
    ("custodian", "(?:基金)?托管(?:人|银行|机构)", _GAP, _NAME),
    ("inception", "(?:成立(?:日期|时间|日|于)|合同生效日)", f"{_GAP}?", _DATED),
    ("nav_cumulative", "累计(?:单位)?净值", _LOOSE, r"(?P<value>[0-9]+\.[0-9]{2,4})(?P<unit>元?)"),
    ("nav", "(?<!累计)(?:单位|份额)净值", _LOOSE, r"(?P<value>[0-9]+\.[0-9]{2,4})(?P<unit>元?)"),
    ("scale", "(?:规模|资产净值(?:合计)?)", _LOOSE, _MONEY),
    ("minimum", "(?:申购起点|起购金额|起点金额|最低申购金额)", _LOOSE, _MONEY),
    ("benchmark", "(?:业绩)?比较基准", _GAP, r"(?P<value>[^\n。|]{4,120})(?P<unit>)"),
    ("fund_code", "(?:基金|产品|主)?代码", f"{_GAP}?", r"(?P<value>[0-9]{6})(?P<unit>)"),
    ("fund_name", "(?:基金|产品)(?:名称|全称)", _GAP, r"(?P<value>[^\n。|;；]{4,60})(?P<unit>)"),
    ("short_name", "(?:基金)?简称", _GAP, r"(?P<value>[^\s。|;；，]{3,30})(?P<unit>)"),
    ("fund_type", "(?:基金|产品)(?:类型|类别)", _GAP, r"(?P<value>[^\s。|;；，]{2,30})(?P<unit>)"),
    ("nav_date", "(?:净值日期|估值日|截至日期)", f"{_GAP}?", _DATED),
)
_COMPILED = tuple((field, re.compile(label + gap + value)) for field, label, gap, value in _LABELS)


def _labels(document: SourceDocument, since: int) -> Iterator[Fact]:
    """Labels of the documents' own wording, for what was imported without fields. The first place of each counts."""
    folded, places = fold_with_places(document.text)
    for field, pattern in _COMPILED:
        match = pattern.search(folded)
        if match is None:
            continue
        start, end = places[match.start("value")], places[match.end("value") - 1] + 1
        value = document.text[start:end].rstrip()
        end = start + len(value)
        if value:
            yield Fact(field, value, match.group("unit"), document, start, end, None, since)


def old(field: str) -> str:
    """The field for the value before a change."""
    return f"old_{field}" if field in OLD else field
