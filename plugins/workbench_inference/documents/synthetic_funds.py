"""Funds of the synthetic corpus and the eleven layouts in which their documents state them.

No layout states every field, no two documents of one layout use the same wordings throughout, and a few hold what real
files hold: full-width digits, blanks inside labels, a header row with its values below, a value in the next line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Final

from workbench_inference.documents.synthetic_phrases import (
    ENGLISH,
    LABEL_LINES,
    LABELS,
    OPEN_RULES,
    QUESTIONS_OF,
    SENTENCES,
    WARNINGS,
)
from workbench_inference.documents.synthetic_text import (
    DATE_STYLES,
    PERCENT_STYLES,
    WIDE,
    Value,
    Writer,
    names_in,
    shown_date,
    shown_percent,
    spaced,
)
from workbench_inference.documents.synthetic_words import (
    COMPANY_FORMS,
    CUSTODIANS,
    GIVEN,
    HOUSES,
    INDICES,
    KINDS,
    RISK_WORDS,
    STYLES,
    SURNAMES,
    TERMS,
)

AS_OF: Final = date(2026, 6, 30)
FIRST_NOTICE: Final = date(2026, 5, 1)


@dataclass(frozen=True, slots=True)
class SyntheticFund:
    """One invented fund as it is at the date of its own document.

    Rates are percent a year; minimum: yuan; scale: hundred millions of yuan; navs: (day, value of one unit), ascending.
    """

    document: str
    code: str
    other_code: str
    """Of its class C, in documents that name it; no fund's own."""
    name: str
    short: str
    english: str
    kind: str
    kind_en: str
    risk: str
    manager: str
    manager_en: str
    company: str
    company_en: str
    custodian: str
    custodian_en: str
    benchmark: str
    inception: date
    stated: date
    scale: Decimal
    management_fee: Decimal
    custody_fee: Decimal
    subscription_fee: Decimal
    redemption_fee: Decimal
    sales_fee: Decimal
    minimum: int
    settle_days: int
    holding_days: int
    open_rule: str
    dividends: Decimal
    navs: tuple[tuple[date, Decimal], ...] = field(repr=False)


def person(random: Random) -> tuple[str, str]:
    """An invented person's name in Chinese and English."""
    surname, given = random.choice(SURNAMES), random.choice(GIVEN)
    return surname[0] + given[0], f"{given[1]} {surname[1]}"


def make_funds(random: Random, count: int) -> list[SyntheticFund]:
    """Funds with names and codes that differ; some names differ by one word only, as series of a house do."""
    numbers = random.sample(range(1, 10_000), count)
    taken = frozenset(numbers)
    funds: list[SyntheticFund] = []
    names: set[str] = set()
    while len(funds) < count:
        house, style, term, kind = random.choice(HOUSES), random.choice(STYLES), random.choice(TERMS), random.choice(KINDS)
        if kind[3] == "R1":
            term = TERMS[0]
        name = f"{house[0]}{style[0]}{term[0]}{kind[2]}"
        if name in names:
            continue
        names.add(name)
        number = numbers[len(funds)]
        codes = f"79{number:04d}", f"79{_free(number + 5_000, taken):04d}"
        funds.append(_fund(random, len(funds), codes, name, house, style, term, kind))
    return funds


def _free(number: int, taken: frozenset[int]) -> int:
    """The number modulo 10,000, or the next that is no fund's."""
    number %= 10_000
    return _free(number + 1, taken) if number in taken else number


def _fund(
    random: Random,
    number: int,
    codes: tuple[str, str],
    name: str,
    house: tuple[str, str],
    style: tuple[str, str],
    term: tuple[str, str, int],
    kind: tuple[str, str, str, str, tuple[int, ...], tuple[int, ...], int],
) -> SyntheticFund:
    manager, manager_en = person(random)
    custodian, custodian_en = random.choice(CUSTODIANS)
    first, second = random.sample(INDICES, 2)
    part = random.choice((50, 60, 70, 80, 90, 95))
    stated = date(2025, 9, 1) + timedelta(days=random.randrange(240))
    risk = kind[3]
    if random.random() < 0.1 and risk in ("R2", "R3"):
        risk = {"R2": "R3", "R3": "R4"}[risk]
    words = "".join(word[0] for word in kind[1].split())
    return SyntheticFund(
        document=f"fund-{number + 1:04d}",
        code=codes[0],
        other_code=codes[1],
        name=name,
        short=f"{house[0]}{style[0]}{term[0][:3]}{kind[0][:2]}",
        english=" ".join(part for part in (house[1], style[1], term[1], kind[1], "Fund") if part),
        kind=kind[0],
        kind_en=kind[1].lower() if kind[1] != "Fund of Funds" else "fund-of-funds " + words.lower(),
        risk=risk,
        manager=manager,
        manager_en=manager_en,
        company=random.choice(COMPANY_FORMS).format(house[0]) if number % 5 == 0 else COMPANY_FORMS[0].format(house[0]),
        company_en=f"{house[1]} Fund Management",
        custodian=custodian,
        custodian_en=custodian_en,
        benchmark=f"{first}收益率×{part}%＋{second}收益率×{100 - part}%",
        inception=date(2013, 1, 7) + timedelta(days=random.randrange(4_500)),
        stated=stated,
        scale=Decimal(random.randrange(60, 24_000)) / 100,
        management_fee=Decimal(random.choice(kind[4])) / 100,
        custody_fee=Decimal(random.choice(kind[5])) / 100,
        subscription_fee=Decimal(0) if kind[3] == "R1" else Decimal(random.choice((60, 80, 100, 120, 150))) / 100,
        redemption_fee=Decimal(0) if kind[3] == "R1" else Decimal("1.50"),
        sales_fee=Decimal(random.choice((10, 20, 25, 40))) / 100,
        minimum=random.choice((1, 10, 10, 100, 1_000, 10_000)),
        settle_days=random.choice((1, 2, 3, 4, 7)),
        holding_days=term[2],
        open_rule=random.choice(OPEN_RULES),
        dividends=Decimal(random.choice((0, 0, 0, 500, 1_200, 3_400, 5_150))) / 10_000,
        navs=_navs(random, stated, kind[6], money=kind[3] == "R1"),
    )


def _navs(random: Random, last: date, volatility: int, *, money: bool) -> tuple[tuple[date, Decimal], ...]:
    """Sixty working days of values that end with the day a document is of."""
    days: list[date] = []
    day = last
    while len(days) < 60:
        if day.weekday() < 5:
            days.append(day)
        day -= timedelta(days=1)
    value = Decimal(1) if money else Decimal(random.randrange(7_000, 32_000)) / 10_000
    made = []
    for day in reversed(days):
        value = (value * (10_000 + Decimal(random.randrange(-volatility, volatility + 2))) / 10_000).quantize(Decimal("0.0001"))
        made.append((day, value))
    return tuple(made)


def values_of(fund: SyntheticFund, random: Random, *, english: bool = False) -> dict[str, Value]:
    """The fields of a fund as one document writes them: one style of dates and rates for the whole of it."""
    style = "en" if english else random.choice(DATE_STYLES)
    rate = "wide" if not english and random.random() < 0.03 else random.choice(PERCENT_STYLES)
    day, nav = fund.navs[-1]
    risk_zh, risk_en = RISK_WORDS[fund.risk]
    risk = random.choice((fund.risk, fund.risk, f"{fund.risk}（{risk_zh}）", f"{risk_zh}（{fund.risk}）", f"{fund.risk}级"))
    scale_style = random.randrange(3)
    scale = Value(f"{fund.scale:.2f}", "亿元")
    if scale_style == 1:
        scale = Value(f"{fund.scale * 100_000_000:,.2f}", "元")
    elif scale_style == 2:
        scale = Value(f"{fund.scale * 10_000:.2f}", "万元")
    if english:
        scale = Value(f"{fund.scale * 100:,.0f}", "CNY million")
    minimum = Value(f"{fund.minimum:,}" if random.random() < 0.4 else f"{fund.minimum}", "元")
    if fund.minimum == 10_000 and not english and random.random() < 0.5:
        minimum = Value("1", "万元")
    settle = random.choice((f"T+{fund.settle_days}日", f"T+{fund.settle_days}", f"{fund.settle_days}个工作日"))
    if english:
        settle = f"T+{fund.settle_days}"
    values: dict[str, Value] = {
        "fund_name": Value(fund.english if english else fund.name),
        "short_name": Value(fund.short),
        "fund_code": Value(fund.code.translate(WIDE) if rate == "wide" else fund.code),
        "fund_type": Value(fund.kind_en if english else fund.kind),
        "risk_class": Value(f"{fund.risk} ({risk_en})" if english and random.random() < 0.5 else fund.risk if english else risk),
        "manager": Value(fund.manager_en if english else fund.manager),
        "management_company": Value(fund.company_en if english else fund.company),
        "custodian": Value(fund.custodian_en if english else fund.custodian),
        "benchmark": Value(fund.benchmark),
        "inception": Value(shown_date(fund.inception, style)),
        "scale": scale,
        "scale_unit": Value(scale.unit),
        "scale_date": Value(shown_date(fund.stated, style)),
        "purchase_fee": shown_percent(fund.subscription_fee, rate),
        "redemption_fee": shown_percent(fund.redemption_fee, rate),
        "management_fee": shown_percent(fund.management_fee, rate),
        "custody_fee": shown_percent(fund.custody_fee, rate),
        "sales_fee": shown_percent(fund.sales_fee, rate),
        "minimum": minimum,
        "minimum_unit": Value(minimum.unit),
        "settle_days": Value(settle),
        "nav": Value(f"{nav:.4f}", "元"),
        "nav_date": Value(shown_date(day, style)),
        "nav_cumulative": Value(f"{nav + fund.dividends:.4f}", "元"),
        "open_rule": Value(fund.open_rule),
    }
    if fund.holding_days:
        values["holding_days"] = Value(str(fund.holding_days), "天")
    return values


def write_fund(fund: SyntheticFund, random: Random, *, english: bool) -> Writer:
    """The document of one fund in one layout drawn for it."""
    writer = Writer()
    values = values_of(fund, random, english=english)
    layout = _english if english else random.choice(_LAYOUTS)
    layout(writer, fund, values, random)
    if english or int(fund.code) % 3 == 0:  # papers of Chinese funds have an English name here and there
        writer.line("\n* Chinese name: {other_name}" if english else "\n英文名称：{other_name}", {"other_name": Value(fund.name if english else fund.english)})
    writer.put("\n" + (LABEL_LINES[3] if english else random.choice(LABEL_LINES)) + "\n")
    return writer


def _kept(values: Mapping[str, Value], order: Sequence[str], random: Random, left_out: float = 0.15) -> list[str]:
    """Fields that a document states: name and code nearly always, others at times not."""
    return [name for name in order if name in values and (name == "fund_name" or random.random() > (0.03 if name == "fund_code" else left_out))]


_CARD: Final = (
    "fund_name", "short_name", "fund_code", "fund_type", "risk_class", "management_company", "custodian", "manager", "inception", "scale", "benchmark",
    "management_fee", "custody_fee", "sales_fee", "purchase_fee", "redemption_fee", "minimum", "settle_days",
    "holding_days", "nav", "nav_date", "nav_cumulative", "open_rule",
)  # fmt: skip


def _with_unit(name: str, values: Mapping[str, Value]) -> str:
    value = values[name]
    return f"{{{name}}}{'' if value.glued else value.unit}"


def _lines(writer: Writer, fund: SyntheticFund, values: dict[str, Value], random: Random) -> None:
    """One label a line, in sections."""
    colon = random.choice(("：", "：", ": ", " : ", "\t"))
    writer.line(random.choice(("{=fund_name}\n产品资料概要\n", "基金产品资料概要更新\n", "产品说明（节选）\n")), values)
    for number, section in enumerate(("一、产品概况", "二、费用", "三、申购与赎回", "四、净值")):
        part = (_CARD[:11], _CARD[11:16], (*_CARD[16:19], "open_rule"), _CARD[19:22])[number]
        writer.put(section + "\n" if random.random() < 0.8 else "\n")
        for name in _kept(values, part, random):
            writer.line(f"{spaced(random.choice(LABELS[name]), random)}{colon}{_with_unit(name, values)}", values)
    writer.put("\n" + "\n".join(random.sample(WARNINGS, 3)) + "\n")


def _table(writer: Writer, fund: SyntheticFund, values: dict[str, Value], random: Random) -> None:
    """A table of pipes, two or four columns."""
    writer.line("# {=fund_name}\n", values)
    names = _kept(values, _CARD, random, 0.2)
    if random.random() < 0.5:
        random.shuffle(names)
    wide = random.random() < 0.4
    writer.put("| 项目 | 内容 | 项目 | 内容 |\n|---|---|---|---|\n" if wide else "| 项目 | 内容 |\n|---|---|\n")
    for place, name in enumerate(names):
        writer.line(f"| {spaced(random.choice(LABELS[name]), random)} | {_with_unit(name, values)} ", values, end="")
        if not wide or place % 2 or place == len(names) - 1:
            writer.put("|\n")
    writer.put("\n> " + random.choice(WARNINGS) + "\n")


def _articles(writer: Writer, fund: SyntheticFund, values: dict[str, Value], random: Random) -> None:
    """Numbered articles of a contract, in sentences."""
    writer.line("基金合同（摘录）\n\n第一条　" + SENTENCES["fund_name"][0], values)
    groups = (
        ("fund_code", "fund_type", "inception"), ("management_company", "custodian", "manager"), ("risk_class", "benchmark"), ("scale", "nav"),
        ("management_fee",), ("custody_fee",), ("sales_fee", "purchase_fee"), ("redemption_fee", "settle_days", "holding_days"),
        ("minimum", "open_rule"),
    )  # fmt: skip
    number = 2
    for group in groups:
        said = _kept(values, group, random, 0.12)
        if not said:
            continue
        writer.put(f"第{_CHINESE[number]}条　")
        for name in said:
            writer.fill(random.choice(SENTENCES[name]), values)
        writer.put("\n")
        number += 1
        if random.random() < 0.3:
            writer.put(f"第{_CHINESE[number]}条　{random.choice(WARNINGS)}\n")
            number += 1


_CHINESE: Final = [*"零一二三四五六七八九", "十", *(f"十{digit}" for digit in "一二三四五六七八九"), *(f"二十{digit}" for digit in "零一二三四五六七八九")]


def _answers(writer: Writer, fund: SyntheticFund, values: dict[str, Value], random: Random) -> None:
    """Questions and answers for customers."""
    writer.line("关于{=short_name}的常见问题\n", values)
    marks = random.choice((("问：", "答："), ("Q：", "A："), ("Q: ", "A: "), ("【问】", "【答】")))
    names = ["fund_name", "fund_code", *random.sample([name for name in QUESTIONS_OF if name not in ("fund_name", "fund_code") and name in values], 12)]
    for name in names:
        if name not in values:
            continue
        writer.put(marks[0] + random.choice(QUESTIONS_OF[name]) + "\n" + marks[1])
        writer.line(random.choice(SENTENCES[name]), values)
    writer.put(random.choice(WARNINGS) + "\n")


def _columns(writer: Writer, fund: SyntheticFund, values: dict[str, Value], random: Random) -> None:
    """Labels and values set in columns by blanks."""
    writer.line("{=management_company}　　旗下产品一览　　单位：见各栏", values)
    writer.put("-" * 40 + "\n")
    for name in _kept(values, _CARD, random):
        label = random.choice(LABELS[name])
        writer.line(label + " " * random.choice((2, 4, 16 - min(14, len(label)))) + _with_unit(name, values), values)
    writer.put("-" * 40 + "\n" + random.choice(WARNINGS) + "\n")


def _weekly(writer: Writer, fund: SyntheticFund, values: dict[str, Value], random: Random) -> None:
    """A report with a table of the last values and a comment."""
    writer.line("{=short_name}（{fund_code}）运作周报", values)
    writer.line("报告期末：{nav_date}　基金经理：{manager}", values)
    writer.line(f"{random.choice(LABELS['fund_name'])}：{{fund_name}}", values)
    count = random.choice((5, 8, 10))
    write_series(writer, fund, values["nav_date"].text, random, count)
    change = (fund.navs[-1][1] / fund.navs[-count][1] - 1) * 100
    writer.line(
        f"本期净值{'上涨' if change >= 0 else '下跌'}{abs(change):.2f}%，期末单位净值{{nav}}元，累计净值{{nav_cumulative}}元。"
        + random.choice(("组合久期略有下降。", "仓位维持在中性水平。", "本周减持了部分涨幅较大的标的。", "流动性管理平稳。")),
        values,
    )
    for name in _kept(values, ("risk_class", "scale", "custodian", "management_fee", "benchmark"), random, 0.4):
        writer.line(random.choice(SENTENCES[name]), values)
    writer.put(random.choice(WARNINGS) + "\n")


def write_series(writer: Writer, fund: SyntheticFund, shown: str, random: Random, count: int) -> None:
    """The last `count` values as a table; each is the field `nav@<ISO date>`. shown: a date in the document's own style."""
    style = next(one for one in (*DATE_STYLES, "en") if shown_date(fund.navs[-1][0], one) == shown)
    pipes = random.random() < 0.6
    bar, head = (" | ", "| 日期 | 单位净值 | 累计净值 | 日涨跌 |\n|---|---|---|---|\n") if pipes else ("    ", "日期    单位净值    累计净值    日涨跌\n")
    writer.put(head)
    before = fund.navs[-count - 1][1]
    for day, nav in fund.navs[-count:]:
        row = f"{shown_date(day, style)}{bar}{{nav@{day.isoformat()}}}{bar}{nav + fund.dividends:.4f}{bar}{(nav / before - 1) * 100:+.2f}%"
        writer.line(f"| {row} |" if pipes else row, {f"nav@{day.isoformat()}": Value(f"{nav:.4f}", "元")})
        before = nav


def _prose(writer: Writer, fund: SyntheticFund, values: dict[str, Value], random: Random) -> None:
    """Running text without labels."""
    names = _kept(values, ("fund_code", "management_company", "manager", "fund_type", "risk_class", "inception", "scale", "custodian", "benchmark"), random)
    later = _kept(values, ("nav", "management_fee", "custody_fee", "redemption_fee", "minimum", "settle_days", "holding_days"), random)
    writer.fill(random.choice(SENTENCES["fund_name"]), values)
    for name in names:
        writer.fill(random.choice(SENTENCES[name]), values)
    writer.put("\n　　" + random.choice(WARNINGS) + "\n　　")
    for name in later:
        writer.fill(random.choice(SENTENCES[name]), values)
    writer.put("\n")


def _header_row(writer: Writer, fund: SyntheticFund, values: dict[str, Value], random: Random) -> None:
    """A header row with the values below, as a sheet is pasted; units stand in the header."""
    rows = (
        ("fund_code", "fund_name", "fund_type", "risk_class", "manager"),
        ("custodian", "inception", "management_fee", "custody_fee", "scale"),
        ("nav_date", "nav", "nav_cumulative", "minimum", "settle_days"),
    )
    bar = random.choice(("\t", " | ", ","))
    for row in rows:
        names = [name for name in row if name in values and not (bar == "," and "," in values[name].text)]
        heads = [random.choice(LABELS[name]) + (f"({values[name].unit})" if values[name].unit and not values[name].glued else "") for name in names]
        writer.put(bar.join(heads) + "\n")
        writer.line(bar.join(f"{{{name}}}" for name in names), values)
        writer.put("\n")
    writer.put(random.choice(WARNINGS) + "\n")


def _next_line(writer: Writer, fund: SyntheticFund, values: dict[str, Value], random: Random) -> None:
    """A label in one line and its value in the next, as text of a PDF file comes."""
    writer.put("招募说明书（更新）摘要\n第 3 页 共 97 页\n\n")
    for name in _kept(values, _CARD, random, 0.2):
        writer.line(f"{random.choice(LABELS[name])}\n{_with_unit(name, values)}", values)
        if random.random() < 0.08:
            writer.put("第 4 页 共 97 页\n")
    writer.put(random.choice(WARNINGS) + "\n")


def _mixed(writer: Writer, fund: SyntheticFund, values: dict[str, Value], random: Random) -> None:
    """Labels with values, several in a line, then sentences and what the other share class is called."""
    writer.line("{fund_name}（A类：{fund_code}；C类：" + fund.other_code + "）", values)
    names = _kept(values, ("risk_class", "manager", "management_company", "custodian", "inception"), random)
    writer.line("；".join(f"{random.choice(LABELS[name])}：{_with_unit(name, values)}" for name in names) + "。", values)
    for name in _kept(values, ("management_fee", "custody_fee", "sales_fee", "purchase_fee", "redemption_fee"), random):
        writer.line(f"· {random.choice(SENTENCES[name])}", values)
    for name in _kept(values, ("nav", "scale", "minimum", "settle_days", "benchmark"), random):
        writer.line(random.choice(SENTENCES[name]), values)
    writer.put("\n".join(random.sample(WARNINGS, 2)) + "\n")


def _chapters(writer: Writer, fund: SyntheticFund, values: dict[str, Value], random: Random) -> None:
    """Chapters of a long prospectus in which a value is one sentence among many."""
    writer.line("{=fund_name}招募说明书\n\n重要提示", values)
    names = _kept(values, [name for name in _CARD if name in SENTENCES], random, 0.1)
    random.shuffle(names)
    chapters = ("绪言", "释义", "基金管理人", "基金托管人", "基金的募集", "基金份额的申购与赎回", "基金的投资", "基金的费用", "风险揭示")
    for number, chapter in enumerate(chapters, 1):
        writer.put(f"\n第{_CHINESE[number]}部分　{chapter}\n")
        said, names = names[: 1 + len(names) // (len(chapters) - number + 1)], names[1 + len(names) // (len(chapters) - number + 1) :]
        for name in said:
            writer.put("　　" + random.choice(WARNINGS))
            writer.line(random.choice(SENTENCES[name]), values)
        writer.put("　　" + "".join(random.sample(WARNINGS, 4)) + "\n")


def earlier(fund: SyntheticFund, random: Random) -> SyntheticFund:
    """The fund a year before: other people, dearer, smaller; what an edition out of date states."""
    manager, manager_en = person(random)
    return replace(
        fund,
        document=f"{fund.document}-2",
        manager=manager,
        manager_en=manager_en,
        management_fee=fund.management_fee + Decimal("0.30"),
        custody_fee=fund.custody_fee + Decimal("0.05"),
        scale=(fund.scale * Decimal("0.61")).quantize(Decimal("0.01")),
        stated=fund.stated - timedelta(days=364),
        navs=tuple((day - timedelta(days=364), (nav * Decimal("0.93")).quantize(Decimal("0.0001"))) for day, nav in fund.navs),
        inception=min(fund.inception, fund.stated - timedelta(days=500)),
    )


def _english(writer: Writer, fund: SyntheticFund, values: dict[str, Value], random: Random) -> None:
    """A fact sheet in English."""
    writer.put(random.choice(("FUND FACT SHEET\n\n", "Key facts\n=========\n\n", "Summary prospectus (extract)\n\n")))
    bullet = random.choice(("", "- ", "* "))
    for name in _kept(values, tuple(ENGLISH), random, 0.12):
        template = random.choice(ENGLISH[name])
        if names_in(template) <= values.keys():
            writer.line(bullet + template, values)
    writer.put("\nPast performance does not predict future returns. Up to 95% of assets may be invested in equities.\n")


_LAYOUTS: Final[tuple[Callable[[Writer, SyntheticFund, dict[str, Value], Random], None], ...]] = (
    _lines, _lines, _table, _table, _articles, _articles, _answers, _columns, _weekly, _prose, _header_row, _next_line, _mixed, _chapters,
)  # fmt: skip
