"""A corpus of invented funds, announcements, news, quotes, wordings and questions, the same for one seed on every machine.

For demonstration and tests: every document is marked synthetic, says so in its text, source and title, and no name or
figure is anybody's. Fields carry where they stand: `text[span.start:span.end] == span.value`. Pure; about a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Final

from workbench.domain.documents import SourceDocument
from workbench_inference.documents.synthetic_funds import (
    AS_OF,
    FIRST_NOTICE,
    SyntheticFund,
    earlier,
    make_funds,
    write_fund,
)
from workbench_inference.documents.synthetic_news import (
    write_news,
    write_prompt,
    write_question,
    write_quote,
    write_series_of,
)
from workbench_inference.documents.synthetic_notices import write_notice
from workbench_inference.documents.synthetic_text import Writer

FUNDS: Final = 320
NOTICES: Final = 240
NEWS: Final = 540
QUOTES: Final = 160
SERIES: Final = FUNDS
PROMPTS: Final = 40
QUESTIONS: Final = 120
AS_OF_MS: Final = int(datetime(AS_OF.year, AS_OF.month, AS_OF.day, 16, tzinfo=UTC).timestamp() * 1000)
"""After every document of the corpus."""


@dataclass(frozen=True, slots=True)
class SyntheticFact:
    """What is true of a fund from a day on, and the document that states it.

    value: without layout: rates as `1.50` (%), days as ISO, scale in 亿元, minimum in 元, settlement as `T+3`.
    A later `since` of the same field of the same fund makes this one out of date.
    """

    code: str
    name: str
    field: str
    value: str
    unit: str
    since: date
    document: str


@dataclass(frozen=True, slots=True)
class SyntheticCorpus:
    seed: int
    documents: tuple[SourceDocument, ...] = field(repr=False)
    funds: tuple[SyntheticFund, ...] = field(repr=False)
    """As their own documents state them, before any announcement."""
    facts: tuple[SyntheticFact, ...] = field(repr=False)

    def current(self) -> Mapping[tuple[str, str], SyntheticFact]:
        """(code, field) -> the fact that holds at the end; announcements of one day win over the fund's document."""
        found: dict[tuple[str, str], SyntheticFact] = {}
        for fact in sorted(self.facts, key=lambda one: one.since):
            found[fact.code, fact.field] = fact
        return found


def make(
    seed: int,
    *,
    funds: int = FUNDS,
    notices: int = NOTICES,
    news: int = NEWS,
    quotes: int = QUOTES,
    prompts: int = PROMPTS,
    questions: int = QUESTIONS,
    series: int = SERIES,
) -> SyntheticCorpus:
    """The corpus of a seed; smaller numbers make a smaller one with other texts. Cost: about 0.5 ms a document.

    series: so many funds, from the first, have a table of net asset values in some document; other funds may have one.
    """
    random = Random(seed)  # noqa: S311 - texts that must come again for one seed, no secret
    made = make_funds(random, funds)
    documents: list[SourceDocument] = []
    facts: list[SyntheticFact] = []
    for number, fund in enumerate(made):
        english = number % 12 == 7
        for edition in (earlier(fund, random), fund) if number % 13 == 3 else (fund,):
            writer = write_fund(edition, random, english=english)
            documents.append(_document(edition.document, "fund", fund.english if english else fund.name, edition.stated, seed, writer))
            known = _plain_values(edition, english=english)
            facts += [
                SyntheticFact(fund.code, fund.name, name, *known[name], edition.stated, edition.document)
                for name in writer.fields
                if name in known
            ]
    documents += _notices(random, made, notices, seed, facts)
    for number in range(news):
        day = _day(random)
        title, writer = write_news(random.choice(made), day, random)
        documents.append(_document(f"news-{number + 1:04d}", "news", title, day, seed, writer))
    for number in range(quotes):
        title, day, writer = write_quote(number, made[(number * 7) % len(made)], random)
        documents.append(_document(f"quote-{number + 1:04d}", "quote", title, day, seed, writer))
    for number in range(prompts):
        title, writer = write_prompt(number, random)
        documents.append(_document(f"prompt-{number + 1:04d}", "prompt", title, date(2026, 1, 5), seed, writer))
    for number in range(questions):
        day = _day(random)
        title, writer = write_question(random.choice(made), day, random)
        documents.append(_document(f"question-{number + 1:04d}", "question", title, day, seed, writer))
    documents += _missing_series(made[:series], documents, quotes, seed)
    return SyntheticCorpus(seed, tuple(documents), tuple(made), tuple(facts))


def _missing_series(funds: list[SyntheticFund], documents: list[SourceDocument], quotes: int, seed: int) -> Iterator[SourceDocument]:
    """A table of values for every fund that no document has one of; from a source of its own, so that it changes no other document."""
    random = Random(f"{seed} series")  # noqa: S311 - as in `make`
    covered = {span.value for one in documents if any(name.startswith("nav@") for name in one.fields) for name, span in one.fields.items() if name == "fund_code"}
    for number, fund in enumerate((one for one in funds if one.code not in covered), quotes + 1):
        title, day, writer = write_series_of(fund, random)
        yield _document(f"quote-{number:04d}", "quote", title, day, seed, writer)


def _notices(random: Random, funds: list[SyntheticFund], count: int, seed: int, facts: list[SyntheticFact]) -> Iterator[SourceDocument]:
    """Announcements in the order of their days; each starts from what the ones before it left."""
    now = list(funds)
    for number, offset in enumerate(sorted(random.randrange(56) for _ in range(count))):
        day = FIRST_NOTICE + timedelta(days=offset)
        place = random.randrange(len(now))
        notice = write_notice(now[place], day, random)
        now[place] = notice.fund
        name = f"notice-{number + 1:04d}"
        fund = notice.fund
        facts += [SyntheticFact(fund.code, fund.name, of, value, unit, notice.since, name) for of, (value, unit) in notice.changes.items()]
        yield _document(name, "news", notice.title, day, seed, notice.writer)


def _day(random: Random) -> date:
    return AS_OF - timedelta(days=1 + random.randrange(300))


def _document(name: str, kind: str, title: str, day: date, seed: int, writer: Writer) -> SourceDocument:
    return SourceDocument(
        document=name,
        kind=kind,
        version="1",
        title=f"{title}（合成）",
        source=f"合成语料 synthetic corpus, seed {seed}",
        time_ms=int(datetime(day.year, day.month, day.day, 1, tzinfo=UTC).timestamp() * 1000),
        klass="public" if kind in ("fund", "news", "quote") else "internal",
        synthetic=True,
        text=writer.text(),
        fields=writer.fields,
    )


def _plain_values(fund: SyntheticFund, *, english: bool) -> dict[str, tuple[str, str]]:
    """Field -> (value, unit) as `SyntheticFact` writes them."""
    day, nav = fund.navs[-1]
    known: dict[str, tuple[str, str]] = {
        "fund_name": (fund.english if english else fund.name, ""),
        "other_name": (fund.name if english else fund.english, ""),
        "short_name": (fund.short, ""),
        "fund_code": (fund.code, ""),
        "fund_type": (fund.kind_en if english else fund.kind, ""),
        "risk_class": (fund.risk, ""),
        "manager": (fund.manager_en if english else fund.manager, ""),
        "management_company": (fund.company_en if english else fund.company, ""),
        "custodian": (fund.custodian_en if english else fund.custodian, ""),
        "benchmark": (fund.benchmark, ""),
        "inception": (fund.inception.isoformat(), ""),
        "scale": (f"{fund.scale:.2f}", "亿元"),
        "management_fee": (f"{fund.management_fee:.2f}", "%"),
        "custody_fee": (f"{fund.custody_fee:.2f}", "%"),
        "purchase_fee": (f"{fund.subscription_fee:.2f}", "%"),
        "redemption_fee": (f"{fund.redemption_fee:.2f}", "%"),
        "sales_fee": (f"{fund.sales_fee:.2f}", "%"),
        "minimum": (str(fund.minimum), "元"),
        "settle_days": (f"T+{fund.settle_days}", ""),
        "holding_days": (str(fund.holding_days), "天"),
        "nav": (f"{nav:.4f}", "元"),
        "nav_date": (day.isoformat(), ""),
        "nav_cumulative": (f"{nav + Decimal(fund.dividends):.4f}", "元"),
        "open_rule": (fund.open_rule, ""),
    }
    return known | {f"nav@{of.isoformat()}": (f"{value:.4f}", "元") for of, value in fund.navs}
