"""Columns of tables of documents: what a heading means for each kind, and one row as a document with its fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from workbench.contracts.inference import ReadLimits, RejectedItem
from workbench.crypto import sm3
from workbench.domain.documents import DOCUMENT_CLASSES, FieldSpan, SourceDocument
from workbench.intake.times import parse_grant_time
from workbench_inference.documents.connectors.reading import is_fit, refuse, reject

# What every document has; the first heading that fits counts.
_COMMON: Final[dict[str, tuple[str, ...]]] = {
    "document": ("document", "id", "编号", "文号", "文档编号"),
    "title": ("title", "标题", "题目", "名称", "subject"),
    "text": ("text", "content", "body", "正文", "内容", "话术", "模板", "问题", "客户问题", "提问", "摘要"),
    "source": ("source", "来源", "出处", "媒体", "发布机构"),
    "time": ("time", "date", "时间", "日期", "发布时间", "发布日期", "公告日期", "更新日期", "提问时间"),
    "version": ("version", "版本"),
    "class": ("class", "klass", "分级", "数据分级", "密级"),
}
# Fields by docs/protocols/corpus.md section 1 and what sheets call them.
FUND_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "fund_name": ("fund_name", "基金名称", "产品名称", "基金全称", "fund name"),
    "other_name": ("other_name", "英文名称", "基金英文名称", "外文名称", "中文名称", "english name", "chinese name"),
    "short_name": ("short_name", "基金简称", "简称"),
    "fund_code": ("fund_code", "基金代码", "产品代码", "基金主代码", "代码", "交易代码", "code", "fund code"),
    "fund_type": ("fund_type", "基金类型", "产品类型", "基金类别", "类型"),
    "nav": ("nav", "单位净值", "最新净值", "基金份额净值", "净值"),
    "nav_date": ("nav_date", "净值日期", "估值日"),
    "nav_cumulative": ("nav_cumulative", "累计净值", "累计单位净值", "份额累计净值"),
    "risk_class": ("risk_class", "风险等级", "产品风险等级", "风险级别", "risk class"),
    "management_fee": ("management_fee", "管理费率", "管理费", "年管理费", "基金管理费", "management fee"),
    "custody_fee": ("custody_fee", "托管费率", "托管费", "年托管费", "基金托管费", "custody fee"),
    "sales_fee": ("sales_fee", "销售服务费率", "销售服务费"),
    "purchase_fee": ("purchase_fee", "申购费率", "申购费", "最高申购费率"),
    "subscription_fee": ("subscription_fee", "认购费率", "认购费"),
    "redemption_fee": ("redemption_fee", "赎回费率", "赎回费"),
    "manager": ("manager", "基金经理", "现任基金经理", "投资经理"),
    "management_company": ("management_company", "基金管理人", "管理人"),
    "custodian": ("custodian", "基金托管人", "托管人", "托管银行"),
    "scale": ("scale", "基金规模", "资产净值", "规模"),
    "inception": ("inception", "成立日期", "基金合同生效日", "成立日", "inception date"),
    "benchmark": ("benchmark", "业绩比较基准", "比较基准"),
    "minimum": ("minimum", "起购金额", "最低申购金额", "申购起点"),
    "settle_days": ("settle_days", "赎回到账", "到账时间"),
    "holding_days": ("holding_days", "最短持有期", "锁定期"),
}
_QUOTE_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "index_name": ("index_name", "name", "指数名称", "证券名称", "证券简称", "名称", "标的"),
    "security_code": ("security_code", "证券代码", "指数代码"),
    **{name: FUND_FIELDS[name] for name in ("fund_name", "fund_code", "nav", "nav_date", "nav_cumulative")},
    "close": ("close", "收盘", "收盘价", "收盘点位", "最新价", "现价"),
    "change": ("change", "涨跌幅", "涨幅"),
    "high": ("high", "最高", "最高价"),
    "low": ("low", "最低", "最低价"),
    "turnover": ("turnover", "成交额", "成交金额"),
    "volume": ("volume", "成交量"),
}
_NEWS_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "issuer": ("issuer", "公告主体", "公司", "发行人"),
    "security_code": ("security_code", "证券代码"),
    "fund_code": ("fund_code", "基金代码"),
    "report_date": ("report_date", "报告期"),
}
_FIELDS: Final = {"prompt": {}, "question": {}, "quote": _QUOTE_FIELDS, "fund": FUND_FIELDS, "news": _NEWS_FIELDS}
_NAMES: Final = {"fund": ("fund_name", "short_name", "fund_code"), "quote": ("index_name", "security_code", "fund_name", "fund_code")}
_MISSING: Final = {
    "fund-name": ("“基金名称”或“基金代码”", '"fund_name" or "fund_code"'),
    "fund-value": ("至少一项数值，如“管理费率”", 'a value, such as "management_fee"'),
    "quote-name": ("“指数名称”或“证券代码”", '"index_name" or "security_code"'),
    "quote-value": ("至少一项数值，如“收盘”", 'a value, such as "close"'),
    "text": ("“正文”", '"text"'),
}
_UNIT: Final = re.compile(r"[（(]([^（()）]{1,16})[)）]\s*$")
_DOCUMENT: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_VERSION: Final = re.compile(r"[!-~]{1,32}")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column of a table is what. common, fields: name -> column; headings: as they stand; units: by field."""

    kind: str
    common: Mapping[str, int]
    fields: Mapping[str, int]
    headings: tuple[str, ...]
    units: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Given:
    """What was said with the file and holds where a row says nothing."""

    kind: str
    name: str
    source: str
    time_ms: int
    limits: ReadLimits
    seen: set[tuple[str, str]] = field(default_factory=set)


def columns_of(headings: tuple[str, ...], kind: str, name: str) -> Columns:
    """Raises InvalidRequest DOCUMENT_COLUMNS where a kind's columns are not there."""
    plain = [_UNIT.sub("", heading).strip().casefold() for heading in headings]
    known = {spelling for of in (_COMMON, _FIELDS[kind]) for spellings in of.values() for spelling in spellings}
    if twice := next((heading for heading in plain if heading in known and plain.count(heading) > 1), ""):
        raise refuse("DOCUMENT_COLUMNS", name, f"列“{twice}”出现两次，请只留一列", f'the column "{twice}" is there twice: keep one', kind=kind)
    units = [found[1] if (found := _UNIT.search(heading)) else "" for heading in headings]
    fields = _found(plain, _FIELDS[kind])
    common = {of: place for of, place in _found(plain, _COMMON).items() if place not in fields.values()}
    if kind in _NAMES:
        missing = [] if any(one in fields for one in _NAMES[kind]) else [_MISSING[f"{kind}-name"]]
        if "text" not in common and len(fields.keys() - set(_NAMES[kind])) == 0:
            missing.append(_MISSING[f"{kind}-value"])
    else:
        missing = [] if "text" in common else [_MISSING["text"]]
    if missing:
        raise refuse(
            "DOCUMENT_COLUMNS", name,
            f"没有 {kind} 所需的列：{'；'.join(zh for zh, _ in missing)}。请改列名，或按实际种类导入（编码不对时列名也认不出）",
            f"it lacks columns of {kind}: {'; '.join(en for _, en in missing)}. Name them so, or import it as what it is "
            "(in another encoding no name is known)", kind=kind,
        )  # fmt: skip
    return Columns(kind, common, fields, headings, {of: units[place] for of, place in fields.items()})


def document_of(cells: tuple[str, ...], columns: Columns, place: int, given: Given) -> SourceDocument | RejectedItem:
    """One row as a document, or why not."""
    limits = given.limits
    if any(len(cell) > limits.cell_characters for cell in cells):
        return reject(place, "CELL_TOO_LONG")
    common = {of: cells[column].strip() for of, column in columns.common.items()}
    values = {of: cells[column].strip() for of, column in columns.fields.items() if cells[column].strip()}
    if not all(is_fit(cell) for cell in cells):
        return reject(place, "CHARACTERS")
    names = _NAMES.get(columns.kind, ())
    if names and not any(one in values for one in names):
        return reject(place, "NAME_MISSING")
    if not common.get("text"):
        if columns.kind not in _NAMES:
            return reject(place, "TEXT_MISSING")
        if not values.keys() - set(names):
            return reject(place, "VALUE_MISSING")
    text, spans = _written(common.get("text", ""), values, columns)
    title = common.get("title") or _title(text, values, columns.kind)
    return finished(place, given, text=text, fields=spans, title=title, stated=common, key=_key(values, columns.kind, common))


def finished(
    place: int, given: Given, *, text: str, fields: Mapping[str, FieldSpan], title: str, stated: Mapping[str, str], key: str = ""
) -> SourceDocument | RejectedItem:
    """A document with time, source, class, id and version from what is stated, else from what was given.

    stated: members of `_COMMON`, "" or absent where nothing is said. key: what names it where no id is stated.
    """
    if not text.strip():
        return reject(place, "TEXT_MISSING")
    if len(text) > given.limits.document_characters:
        return reject(place, "TEXT_TOO_LONG")
    time_ms = given.time_ms
    if stated.get("time"):
        found = parse_grant_time(stated["time"], is_end=False)
        if found.at_ms is None:
            return reject(place, "TIME_FORMAT")
        time_ms = found.at_ms
    if time_ms <= 0:
        return reject(place, "TIME_MISSING")
    source = stated.get("source") or given.source
    if not source:
        return reject(place, "SOURCE_MISSING")
    klass = stated.get("class") or "internal"
    if klass not in DOCUMENT_CLASSES:
        return reject(place, "CLASS_UNKNOWN")
    # Without an id the content is the name, so that a file that is read twice adds nothing.
    key = key or sm3.digest("\0".join((source, title, text)).encode()).hex()[:16]
    document = stated.get("document") or f"{given.kind}-{key}"
    version = stated.get("version") or datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H%M%S")
    if not _DOCUMENT.fullmatch(document) or not _VERSION.fullmatch(version):
        return reject(place, "DOCUMENT_NAME")
    if (document, version) in given.seen:
        return reject(place, "DOCUMENT_REPEATED")
    given.seen.add((document, version))
    return SourceDocument(document, given.kind, version, title[:512], source[:512], time_ms, klass, False, text, dict(fields))


def labelled(text: str) -> dict[str, FieldSpan]:
    """Fields of a fund that a text states as `label：value` or in a table of two columns, first place of each."""
    found: dict[str, FieldSpan] = {}
    for match in _LABELLED.finditer(text):
        of = _LABELS[match[1].casefold().replace(" ", "")]
        start, end = match.span(2)
        value = text[start:end].rstrip(" 　|。；;")
        if value and of not in found:
            found[of] = FieldSpan(value, "", start, start + len(value))
    return found


_LABELS: Final = {label.casefold().replace(" ", ""): of for of, labels in FUND_FIELDS.items() for label in labels if not label.isascii()}
_LABELLED: Final = re.compile(
    r"^[ \t|*#-]{0,6}(" + "|".join(sorted(map(re.escape, _LABELS), key=len, reverse=True)) + r")[ \t*]{0,6}[：:|\t][ \t*]{0,6}([^\n|]{1,200})",
    re.MULTILINE,
)


def _found(headings: list[str], known: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    return {
        of: next(headings.index(spelling) for spelling in spellings if spelling in headings)
        for of, spellings in known.items()
        if any(spelling in headings for spelling in spellings)
    }


def _written(text: str, values: Mapping[str, str], columns: Columns) -> tuple[str, dict[str, FieldSpan]]:
    """Text and values as lines `heading：value`, and where each value came to stand."""
    parts, length, spans = ([text.rstrip("\n") + "\n"], len(text.rstrip("\n")) + 1, {}) if text else ([], 0, {})
    for of, value in values.items():
        label = columns.headings[columns.fields[of]].strip().replace("\n", " ") + "："
        spans[of] = FieldSpan(value, columns.units[of], length + len(label), length + len(label) + len(value))
        parts.append(f"{label}{value}\n")
        length += len(label) + len(value) + 1
    return "".join(parts), spans


def _title(text: str, values: Mapping[str, str], kind: str) -> str:
    for of in ("fund_name", "index_name", "short_name", "fund_code", "security_code"):
        if of in values:
            return values[of] + ("行情" if kind == "quote" else "")
    return text.strip().partition("\n")[0][:40]


def _key(values: Mapping[str, str], kind: str, common: Mapping[str, str]) -> str:
    """What names a row that states no id: a fund's code; of a quote also its time."""
    code = values.get("fund_code") or values.get("security_code") or ""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,20}", code) or kind == "news":
        return ""
    day = re.sub(r"\D", "", common.get("time") or values.get("nav_date") or "")[:8]
    return f"{code}-{day}" if kind == "quote" and day else code
