"""What a question asks for: which entities, which fields, of which day. Pure; a question is data and nothing in it is obeyed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from workbench_sandbox.corpus.text import HAN, fold
from workbench_sandbox.engines.extractive import leftover, vocabulary
from workbench_sandbox.engines.extractive.naming import CODE, Catalogue, Entity
from workbench_sandbox.engines.extractive.vocabulary import ASKING, COMMON, DATED, FIELDS, NAMED
from workbench_sandbox.engines.quantities import DATE, scan

_FIELD_PATTERNS = tuple((name, vocabulary.pattern(phrase)) for name, known in FIELDS.items() for phrase in known.phrases)
_BEFORE = re.compile(vocabulary.BEFORE)
_AFTER = re.compile(vocabulary.AFTER)
_CORRECTED = re.compile(vocabulary.CORRECTED)
_BESIDES = re.compile(vocabulary.BESIDES)
_ATTRIBUTES = re.compile(vocabulary.ATTRIBUTES)
_UNSTATED = re.compile(vocabulary.UNSTATED)
_FORECAST = re.compile(vocabulary.FORECAST)
_COMPARE = re.compile(vocabulary.COMPARE)
_LOWER = re.compile(vocabulary.LOWER)
_HIGHER = re.compile(vocabulary.HIGHER)
_YESTERDAY = re.compile("昨天|昨日|\\byesterday\\b")
_FUND_LIKE = re.compile(
    rf"([{HAN}a-z0-9]{{0,20}}?)(?:混合|债券|股票|商品|货币|联接|债基|货基|股基|指数|etf|lof|fof|qdii|基金)(?:型|基金|证券|[a-e]|$)"
)
_GENERIC = re.compile("(?:公募|私募|普通|偏股|偏债|主动|被动|任何|所有|一般|开放式|封闭式|属于|还|纯|中长期|短期|灵活配置|强|增强|跟踪|何种|哪种|哪类|不|型|的|大盘|宽基|行业|主题|平均|整体|场内|场外|新发|本只|本|该|只|类)*")
_LATIN_NAME = re.compile(r"\b((?:[A-Z][A-Za-z0-9&'-]* ){1,8})(?:Fund|ETF|LOF|FoF|FOF|Funds)\b")
_GENERIC_LATIN = frozenset(["what", "which", "the", "a", "an", "this", "that", "is", "are", "does", "how", "who", "when", "index", "bond", "equity", "stock", "money", "market", "mixed", "balanced", "commodity", "mutual", "public"])
_FALLBACK = tuple((re.compile(pattern), name) for pattern, name in vocabulary.FALLBACK)
_FEES = tuple((name, re.compile(pattern)) for name, pattern in vocabulary.FEES)
_FEE_NAMES = frozenset(("management_fee", *(name for name, _ in vocabulary.FEES)))
_YEARLY = re.compile(vocabulary.YEARLY)
_NAMED_FEES = tuple((name, re.compile(pattern)) for name, pattern in vocabulary.NAMED_FEES)
_PLAIN_PARTS = re.compile(vocabulary.PLAIN_PARTS)
_PART = re.compile(rf"的([{HAN}]{{2,8}})")
_WHOLE_NAME = re.compile("全称|全名|基金名称|产品名称|名称和|\\bfull name|official name")
_SOMEBODY = re.compile("公司|机构|银行|谁|经理|管理人|托管人|\\b(?:company|bank|who|manager|firm)")
_WHO = re.compile("叫什么|是谁|谁接|哪位|姓什么|\\bwho\\b")
_RATED = re.compile("等级|级别|评级|几级|哪一?[档级]|第几|r几|\\b(?:rating|rated|class|level)")
_MOST_LEFT = 3
_SHORT_WORD = 4
_LEAST_NAME = 3
_YEAR = re.compile(r"(?<![0-9])([12][0-9])(年[0-9]{1,2}月)")
_SPACES = re.compile(r"\s+")

_ABSORBED: dict[str, tuple[str, ...]] = {
    "record_date": ("dividend", "effective_date"),
    "ex_date": ("dividend", "effective_date"),
    "pay_date": ("dividend", "effective_date", "settle_days"),
    "dividend_number": ("dividend",),
    "effective_date": ("management_fee", "custody_fee", "manager", "risk_class", "settle_days", "minimum", "management_company"),
    "years": ("manager",),
    "nav_date": ("nav",),
    "scale_date": ("scale",),
    "custody_fee": ("custodian",),
    "management_fee": ("management_company",),
    "vote_from": ("effective_date",),
    "vote_until": ("effective_date", "vote_from"),
    "suspend_date": ("effective_date", "open_rule"),
    "resume_date": ("effective_date", "suspend_date", "open_rule", "limit"),
    "limit": ("minimum", "suspend_date"),
    "holding_days": ("settle_days", "redemption_fee", "open_rule"),
    "redemption_fee": ("settle_days",),
    "turnover": ("scale",),
    "purchase_fee": ("minimum",),
    "nav_cumulative": ("inception", "dividend"),
}
"""A field that is asked for takes the place of those that its phrases may name beside it."""


@dataclass(frozen=True, slots=True)
class Understood:
    """masked: the folded question with names and dates replaced; left: what of it no field's phrase covers; undated: with
    dates alone replaced. days: (year, month, day), 0 for what is not said.

    unknown: it names something that no document knows; ambiguous: a name that several share.
    unstated: the words for something that no template states; forecast: it asks for one, or for advice.
    beside: why it asks for something else that only stands near these fields, or "". phrases: of the fields, as the question words them. share: the class of shares asked about, a to e, where one is.
    """

    masked: str
    left: str
    undated: str
    entities: tuple[Entity, ...]
    unknown: bool
    ambiguous: bool
    fields: tuple[str, ...]
    days: tuple[tuple[int, int, int], ...]
    before: bool
    corrected: bool
    unstated: tuple[str, ...]
    forecast: bool
    beside: str
    phrases: str
    share: str
    compares: bool
    lower: bool
    higher: bool


def understand(question: str, catalogue: Catalogue, *, now_ms: int) -> Understood:
    """Read a question against what the documents name."""
    folded = _YEAR.sub(r"20\1\2", _SPACES.sub(" ", fold(question)).strip())
    mentions = catalogue.mentions(folded)
    shares = catalogue.shares(folded)
    entities: list[Entity] = []
    for mention in mentions:
        if len(mention.entities) == 1 and all(mention.entities[0] is not entity for entity in entities):
            entities.append(mention.entities[0])
    masked = folded
    for mention in reversed(mentions):
        masked = masked[: mention.start] + NAMED + masked[mention.end :]
    days, masked = _days(masked, now_ms)
    for spoken, written in vocabulary.SPOKEN:
        masked = masked.replace(spoken, written)
    asked = _BESIDES.sub(lambda clause: " " * len(clause.group()), masked)
    spans, solid = _fields(asked)
    if not spans:
        asked = masked
        spans, solid = _fields(masked)
    rest = list(masked)
    for start, end, _ in spans:
        rest[start:end] = " " * (end - start)
    left = "".join(rest)
    fields: list[str] = []
    for _, _, name in sorted(spans):
        if name not in fields:
            fields.append(name)
    if len(fields) > 1 and any(CODE.fullmatch(folded[mention.start : mention.end]) for mention in mentions):
        fields = [name for name in fields if name != "fund_code"]  # 代码 610001 names the fund; its code is not asked for
    if len(fields) > 1 and not _WHOLE_NAME.search(masked):
        fields = [name for name in fields if name != "fund_name"]  # 叫什么 asks for the name of what else is asked for
    if fields == ["fund_name"] and _SOMEBODY.search(masked):
        fields = []  # the name of somebody else
    if not fields and entities and _little_else(masked):
        fields = next(([name] for pattern, name in _FALLBACK if pattern.search(masked)), [])
    fields = _right_fee(fields, asked)
    dropped = {other for name in fields for other in _ABSORBED.get(name, ()) if not (name == "years" and _WHO.search(masked))}
    fields = [name for name in fields if name not in dropped]
    compares = _COMPARE.search(masked) is not None
    return Understood(
        masked=masked,
        left=left,
        undated=_days(folded, now_ms)[1],
        entities=tuple(entities),
        unknown=any(not mention.entities for mention in mentions) or _names_other(left) or (not entities and _is_latin_name(question)),
        ambiguous=any(len(mention.entities) > 1 for mention in mentions),
        fields=tuple(fields),
        days=tuple(days),
        before=_BEFORE.search(masked) is not None and _AFTER.search(masked) is None,
        corrected=_CORRECTED.search(masked) is not None,
        unstated=(
            *(match.group() for match in _UNSTATED.finditer(left)),
            *(match.group() for match in _ATTRIBUTES.finditer(asked)),
            *_parts(masked, spans),
        ),
        forecast=_FORECAST.search(masked) is not None and not ("risk_class" in fields and _RATED.search(masked)),
        beside=leftover.asks_else(asked, solid, spans, fields, two=len(entities) > 1),
        phrases=" ".join(masked[start:end] for start, end, _ in spans),
        share=shares.pop() if len(shares) == 1 else "",
        compares=compares,
        lower=_LOWER.search(left) is not None,
        higher=_HIGHER.search(left) is not None,
    )


def _names_other(left: str) -> bool:
    """Is there, beside what was recognised, still something that is named like a fund?"""
    for piece in re.split(rf"[^{HAN}a-z0-9]+", ASKING.sub(" ", left.replace("持有", ""))):
        match = _FUND_LIKE.search(piece)
        if match and len(match.group(1)) >= _LEAST_NAME and not _GENERIC.fullmatch(match.group(1)):
            return True
    return False


def _is_latin_name(question: str) -> bool:
    """Does it name a fund by words with capitals? Asked where nothing was recognised."""
    return any(not all(word.lower() in _GENERIC_LATIN for word in match.group(1).split()) for match in _LATIN_NAME.finditer(question))


def _little_else(masked: str) -> bool:
    """Is there hardly more in the question than words that every question has and those of a single field?"""
    left = COMMON.sub("", ASKING.sub("", masked.replace(NAMED, "").replace(DATED, "")))
    for pattern in (*(pattern for pattern, _ in _FALLBACK), *(pattern for _, pattern in _FEES)):
        left = pattern.sub("", left)
    latin = [word for word in re.findall("[a-z]+", left) if len(word) > _SHORT_WORD]
    return len(re.findall(rf"[{HAN}]", left)) <= _MOST_LEFT and len(latin) <= _MOST_LEFT


def _right_fee(fields: list[str], masked: str) -> list[str]:
    """Where one fee is asked for, its name says which; without a name what is done or who is paid."""
    fees = [name for name in fields if name in _FEE_NAMES]
    if len(fees) != 1:
        return fields
    named = [name for name, pattern in _NAMED_FEES if pattern.search(masked)]
    if len(named) == 1:
        return [named[0] if name == fees[0] else name for name in fields]
    if named:
        return fields
    once = () if _YEARLY.search(masked) else vocabulary.ONCE
    recurring = [(name, pattern) for name, pattern in _FEES if name in once or name not in vocabulary.ONCE]
    meant = next((name for name, pattern in recurring if pattern.search(masked)), fees[0])
    return [meant if name == fees[0] else name for name in fields]


def _parts(masked: str, spans: list[tuple[int, int, str]]) -> list[str]:
    """What is asked for of a field: 基金经理的爱好 asks for no manager."""
    found: list[str] = []
    for _, end, _ in spans:
        match = _PART.match(masked, end)
        if match is None or any(start <= match.start(1) < stop for start, stop, _ in spans):
            continue
        word = COMMON.sub("", ASKING.sub("", _PLAIN_PARTS.sub("", match.group(1))))
        if len(word) >= 2:
            found.append(word)
    return found


def names_field(masked: str, field: str) -> bool:
    """Does a masked question use a phrase of this field?"""
    return any(pattern.search(masked) for name, pattern in _FIELD_PATTERNS if name == field)


def _days(folded: str, now_ms: int) -> tuple[list[tuple[int, int, int]], str]:
    days: list[tuple[int, int, int]] = []
    masked = folded
    for quantity in reversed(scan(folded)):
        if quantity.kind == DATE and isinstance(quantity.value, tuple):
            days.insert(0, quantity.value)
            masked = masked[: quantity.start] + DATED + masked[quantity.end :]
    if not days and now_ms and _YESTERDAY.search(folded):
        day = datetime.fromtimestamp(now_ms / 1000, UTC) - timedelta(days=1)
        days.append((day.year, day.month, day.day))
    return days, masked


def _fields(masked: str) -> tuple[list[tuple[int, int, str]], bytearray]:
    """Phrases of fields that do not overlap, the longest first; of equal ones the field that the table names first. Then, for each
    character, 1 where a phrase has it in so many words.

    What stands for any characters adds nothing to a length: 买了◆的管理报酬是几个点 has more of 管理报酬 than of 买 … 几个点.
    """
    found = [
        (_length(match), match, name)
        for name, pattern in _FIELD_PATTERNS
        for match in pattern.finditer(masked)
        if match.end() > match.start()
    ]
    found.sort(key=lambda each: -each[0])
    taken: list[tuple[int, int, str]] = []
    covered, solid = bytearray(len(masked)), bytearray(len(masked))
    for _, match, name in found:
        start, end = match.span()
        if not any(covered[start:end]):
            covered[start:end] = solid[start:end] = b"\x01" * (end - start)
            for first, last in match.regs[1:]:
                if first >= 0:
                    solid[first:last] = bytes(last - first)
            taken.append((start, end, name))
    return taken, solid


def _length(match: re.Match[str]) -> int:
    any_characters = sum(max(0, min(last, match.end()) - first) for first, last in match.regs[1:] if first >= 0)
    return match.end() - match.start() - any_characters
