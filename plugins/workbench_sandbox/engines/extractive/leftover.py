"""Does a question ask for a field itself, or for something else that stands near it? Pure.

What is judged is what is left of the clause that asks, once names, days, the field's own phrases and words of any question are
taken away, and whether the question word and its unit can be answered by the field at all: 几个产品 asks for no person, 哪一年 for no
amount. Nothing here lists what people ask beside a field; it lists what a question about the field may consist of. So what nobody
thought of is taken for something else, and the engine abstains: the safer of two faults.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from itertools import islice, pairwise

from workbench_sandbox.corpus.text import HAN
from workbench_sandbox.engines.extractive import vocabulary
from workbench_sandbox.engines.extractive.vocabulary import ASKING, COMMON, DATED, FIELDS, NAMED, PLAIN_PARTS

_RATES = ("management_fee", "custody_fee", "sales_fee", "purchase_fee", "subscription_fee", "redemption_fee")
_PEOPLE = ("manager",)
_FIRMS = ("management_company", "custodian", "issuer")
_NAMES = ("fund_name", "other_name", "short_name", "index_name", "issuer")
_DAYS = (
    "inception", "effective_date", "record_date", "ex_date", "pay_date", "suspend_date", "resume_date", "vote_from", "vote_until",
    "nav_date", "report_date", "scale_date",
)  # fmt: skip
_SPANS = ("settle_days", "holding_days", "open_rule")
_AMOUNTS = ("scale", "minimum", "dividend", "limit", "turnover", "nav", "nav_cumulative")
_POINTS = ("close", "high", "low", "change")

_UNITS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("个?(?:百分)?点|成|比例|百分", (*_RATES, *_POINTS)),
    ("(?:个|百|千|万|十)*亿?元?(?:资产|资金|规模|钱)|亿|个亿", (*_AMOUNTS, *_RATES)),
    ("个?(?:工作日|交易日|自然日|小时|星期|周)|天", _SPANS),
    ("个?月", ("inception", "holding_days", "open_rule", "years")),
    ("年|岁", ("inception", "years", "holding_days")),
    ("号|日", (*_DAYS, *_SPANS)),
    ("级|档|等|颗", ("risk_class",)),
    ("次", ("dividend_number", "open_rule")),
    ("[毛角]|分钱", ("nav", "nav_cumulative", "dividend")),
    ("万元?|块|元", (*_AMOUNTS, *_POINTS)),
    ("个?(?:指数|部分)", ("benchmark",)),
    (
        f"个?(?:[名任位只支家户回份人条笔倍种类]|小数|产品|基金|城市|[{HAN}]{{1,3}}个)|个",
        (),
    ),
)
"""What may be counted with 几 or 多少, and the fields whose values are such; the first that fits decides."""
_COUNTED = tuple((re.compile(pattern), frozenset(fields)) for pattern, fields in _UNITS)
_COUNT = re.compile("几|多少")
_COUNT_EN = re.compile(r"\bhow many (?:more )?([a-z]+)")
_COUNTED_EN = {
    "day": _SPANS, "year": ("inception", "years", "holding_days"), "month": ("inception", "holding_days"), "week": _SPANS,
    "point": (*_RATES, *_POINTS), "percent": _RATES, "working": _SPANS, "business": _SPANS, "basis": _RATES,
    "yuan": (*_AMOUNTS, *_RATES), "rmb": (*_AMOUNTS, *_RATES), "billion": ("scale",), "million": ("scale",), "dividend": ("dividend_number",),
}  # fmt: skip
_WHEN = re.compile(r"哪一?(?:天|年|日|个?月)|什么时候|什么时间|何时|几时|几号|哪个年份|\bwhen\b|\b(?:what|which) (?:date|day|year|month)\b")
_HOW_LONG = re.compile(r"多久|多长|\bhow long\b")
_WHO = re.compile(r"谁|叫什么|姓什么|哪一?位|哪个人|贵姓|\bwho\b|\bwhom\b|\bwhose\b")
_WHICH_FIRM = re.compile(r"哪一?家|哪个(?:公司|机构|银行|部门)|什么(?:公司|机构|部门)|谁家|\b(?:which|what) (?:bank|company|institution|firm|department)\b")
_WHERE = re.compile(r"哪些(?:城市|地方)|什么地方|\bwhere\b")
_TELLS_WHO = frozenset((*_PEOPLE, *_FIRMS, "years", "benchmark"))
_TELLS_FIRM = frozenset((*_FIRMS, "fund_name", "risk_class"))
_TELLS_WHEN = frozenset((*_DAYS, *_SPANS, "years"))
_TELLS_LONG = frozenset((*_SPANS, "inception", "years"))
_EVENT = re.compile(
    rf"[{HAN}](?:过|了)(?:吗|么|没有|没|不曾)|有没有(?:被)?[{HAN}]{{1,6}}过|(?:是否|曾经?|从未)(?:被)?[{HAN}]{{0,6}}过|"
    r"\bever\b|\bdid\b.{0,80}?\bbeat\b"
)
"""Asks whether something happened: no field tells it."""
_OTHERS = re.compile(r"别的(?!$)|其他|其它|另一[只家个位]|另外[几一]|\b(?:other|another|others|elsewhere|average|peers?)\b")
_DIFFERENCE = re.compile(
    r"比(?![例较率重值对照])[^?,;]{1,40}?(?:高|低|大|小|多|少|贵|便宜|强|好|差|早|晚|快|慢|长|短)|(?:相差|差|(?<!最)[高低贵大小]出?)(?:了)?(?:多少|几)|\bby how much\b|\b(?:more|less|higher|lower|larger|smaller) than\b"
)
"""A difference to something else. None is computed, and the something else is no field of this product."""
_PART_BEFORE = re.compile(r"(?:share|part|proportion|fraction|percentage|portion|half|much) of (?:the |its |this )*$")
_PART_AFTER = re.compile("(?:里面?|当中|之中|中)(?!低|高|等)|以上|以下|之外")
"""A part of the field's value is asked for, or what is beyond it: 管理费里有多少."""
_SUM = re.compile(r"一共|总共|总计|合计|加起来|加总|\bin total\b|\baltogether\b")
_SUMMED = frozenset(("scale", "turnover", "dividend"))
_JOINT = re.compile(r"[和与及跟或、,&+/]|还有|各|分别|另|并|同|[a-z◆]")
"""Between two fields that are both asked for; without it the one is asked of the other."""

_MOST_CLAUSES = 40
_LONGEST = 400
"""Beyond these nobody asks for one field: of so long a clause nothing is said, further clauses are not judged."""
_CLAUSE = re.compile("[^,。?!;:]+")
_STRONG = re.compile(r"什么|多少|几|谁|哪|何|怎|如何|多[久大高长]|\b(?:what|which|who|whom|whose|when|where|how)\b")
"""Question words that ask for a value, not for yes or no."""
_ASKS = re.compile(
    r"什么|多少|几|谁|哪|何|吗|么|呢|吧|没有|怎|如何|多[久大高长]|是不是|有没有|能不能|是否|\b(?:what|which|who|whom|whose|when|where|why|how|is|are|does|do|did|has|have|can)\b"
)
_SAYING = (
    "请帮|帮|麻烦|劳驾|谢|急|确认|核对|核实|复述|说明|写明|写|填|查|报|列|标注|标|注明|载明|规定|约定|执行|现行|来着|贵姓|大名|眼下|如今|当下|今天|今日|今|最近|近期|最后|属|首|第|位|项|块|档|着|"
    "一次|一下|一只|一个|一年|一|二|两|三|百分|百|千|万|元|前|后|老|精确|准|究竟|到底|算|收|率|类|型|间|合同|材料|文件|资料|概要|季报|年报|才|只|再|不|没|要不|各|自|更|较|应该|应|约|说|念|读|抄|录|遍|完整|合适|错|表"
)
"""Words with which something is said, written or looked up: no part of what is asked for."""
_DOING = (
    "买入|买进|买|购买|购|卖出|卖掉|卖|申购|赎回|赎|认购|持有|进场|提交|办理|柜台|办|运作|担任|负责|做|计提|提取|扣除|扣|划款|打款|资产|组合|先|等|虽然|但|速度|小额"
)
"""What is done with a fund, as anybody says it beside any field."""
_ANY = re.compile("|".join(sorted({
    word for words in (_DOING, _SAYING, ASKING.pattern, COMMON.pattern, PLAIN_PARTS) for word in words.split("|")
}, key=lambda word: (-len(word), word))))  # fmt: skip
"""All of these, the longest first: 到底 before 到."""
_MOST = 1
_MOST_FITTING = 3
"""Characters that may be left; more where the question word fits the field."""
_PLAIN_EN = frozenset(
    ["what", "which", "who", "whom", "whose", "when", "where", "how", "much", "many", "is", "are", "was", "were", "be", "been", "do", "does", "did", "has", "have", "the", "a", "an", "of", "in", "on", "at", "to", "for", "from", "by", "with", "and", "or", "it", "its", "this", "that", "these", "those", "tell", "me", "please", "about", "can", "could", "will", "would", "should", "i", "you", "we", "there", "number", "amount", "level", "value", "fund", "funds", "product", "s", "if", "my", "one", "unit", "share", "now", "today", "current", "currently", "latest", "last", "recent", "recently", "newest", "published", "stated", "given", "exact", "exactly", "full", "wording", "name", "named", "called", "person", "quick", "days", "date", "day", "year", "years", "time", "percent", "rate", "rates", "set", "as", "per", "each", "every", "under", "any", "just", "so", "got", "get", "us", "our", "client", "clients", "customer", "customers", "investor", "investors", "documents", "document", "papers", "paper", "according", "first", "after", "new", "old", "then", "am", "need", "want", "know", "like", "look", "up", "out", "into", "long", "big", "large", "high", "low", "buy", "sell", "money", "r", "until", "arrive", "arrives", "fof", "etf", "lof", "not", "no", "give", "most", "form", "annum", "sheet", "they", "them", "he", "she", "his", "her", "their", "class", "c", "charge", "charged", "pay", "paid", "take"]  # a list of words reads better so
)
_LATIN = re.compile(r"[a-z]+")
_STEM = re.compile("(?<=[a-z]{4})(?:ing|ed|s)$")
_RUN = re.compile(f"[{HAN}]+")


def asks_else(masked: str, solid: Sequence[int], spans: Collection[tuple[int, int, str]], fields: Collection[str], *, two: bool) -> str:
    """Why a question, read as one for these fields, asks for something else; "" where it asks for them.

    masked: the question with names as ◆ and days as ◇. solid: for each of its characters whether a phrase of a field names it, and not
    only passes over it. spans: where these phrases are. two: two products are asked about.
    """
    if not fields:
        return ""
    clauses = _clauses(masked, spans)
    reasons = [_reason(masked, start, end, solid, spans, fields, two) for start, end in clauses]
    return "" if not reasons or not all(reasons) else reasons[0]


def _clauses(masked: str, spans: Collection[tuple[int, int, str]]) -> list[tuple[int, int]]:
    """The clauses that ask for a field: those with a phrase of one, each with the next where only that one asks; and what follows."""
    pieces = [match.span() for match in islice(_CLAUSE.finditer(masked), _MOST_CLAUSES)]
    found: list[tuple[int, int]] = []
    for number, (start, end) in enumerate(pieces):
        if not any(start < last and first < end for first, last, _ in spans):
            continue
        following = pieces[number + 1] if number + 1 < len(pieces) else None
        found.append((start, end))
        if following and _ASKS.search(masked, *following):
            if _ASKS.search(masked, start, end):
                found.append(following)  # …降过两回吧,最新是多少 asks twice, and may ask for the field alone the second time
            else:
                found[-1] = start, following[1]
    return found or [(0, len(masked))]


def _reason(
    masked: str, start: int, end: int, solid: Sequence[int], spans: Collection[tuple[int, int, str]], fields: Collection[str], two: bool
) -> str:  # fmt: skip
    clause = masked[start:end]
    if len(clause) > _LONGEST:
        return "long"
    if not two and _DIFFERENCE.search(clause):
        return "difference"
    if _OTHERS.search(clause):
        return "others"
    if _EVENT.search(clause):
        return "event"
    if _SUM.search(clause) and _SUMMED.isdisjoint(fields):
        return "sum"
    own = sorted(span for span in spans if start <= span[0] < end and span[2] in fields)
    for one, following in pairwise(own):
        if one[2] not in (following[2], *_POINTS) and not _JOINT.search(masked, one[1], following[0]):
            return "of another field"
    for first, last, _ in spans:
        if start <= first < end and (_PART_BEFORE.search(masked[start:first]) or _PART_AFTER.match(masked, last)):
            return "part"
    other = _kind(clause, fields, two)
    if other:
        return other
    if not spans:
        return ""  # no phrase, but the meaning of the whole: engine.py
    fits = _fits(masked, start, end, solid, fields)
    if fits:  # what comes before what it is about is only why somebody asks
        start = next((place for place in range(start, end) if solid[place] or masked[place] == NAMED), start)
    han, latin = _left(masked, start, end, solid, fields)
    most, words = (_MOST_FITTING, 1) if fits else (_MOST, 0 if _ASKS.search(clause) else 1)
    return " ".join((*han, *latin)) if len("".join(han)) > most or len(latin) > words else ""


def _kind(clause: str, fields: Collection[str], two: bool) -> str:
    """Does the question word ask for what none of the fields is?"""
    asked = frozenset(fields)
    if any(asked.isdisjoint(counted) for _, counted in _counts(clause)):
        return "count"
    if _WHEN.search(clause) and asked.isdisjoint(_TELLS_WHEN):
        return "when"
    if _HOW_LONG.search(clause) and asked.isdisjoint(_TELLS_LONG):
        return "how long"
    if _WHO.search(clause) and not two and asked.isdisjoint(_TELLS_WHO):
        return "who"
    if _WHICH_FIRM.search(clause) and asked.isdisjoint(_TELLS_FIRM):
        return "firm"
    return "where" if _WHERE.search(clause) and "custodian" not in asked else ""


def _counts(clause: str) -> Iterator[tuple[int, frozenset[str]]]:
    """Where something is counted, and the fields of which such a number could be said."""
    for match in _COUNT.finditer(clause):
        for unit, counted in _COUNTED:
            if unit.match(clause, match.end()):
                yield match.start(), counted
                break
    for match in _COUNT_EN.finditer(clause):
        yield match.start(), frozenset(_COUNTED_EN.get(match.group(1).removesuffix("s"), ()))


def _fits(masked: str, start: int, end: int, solid: Sequence[int], fields: Collection[str]) -> bool:
    """Is the question word one that asks for just this: part of a field's phrase, of its kind, or right after it, with nothing behind?"""
    asked = frozenset(fields)
    counted = {start + place for place, known in _counts(masked[start:end]) if not asked.isdisjoint(known)}
    for match in _ASKS.finditer(masked, start, end):
        first, last = match.span()
        if all(solid[first:last]):
            return True
        if not _STRONG.match(masked, first) or any(_left(masked, last, end, solid, fields)[0]):
            continue
        if _LATIN.match(masked, first) and _near_behind(masked, last, end, solid):
            return True
        before = max((place for place in range(start, first) if solid[place]), default=-1) + 1
        if first in counted or (before and not any(_left(masked, before, first, solid, fields))):
            return True
        if any(
            pattern.match(masked, place) and not asked.isdisjoint(known)
            for place in (first, max(first - 1, start))
            for pattern, known in ((_WHO, frozenset(_PEOPLE)), (_WHICH_FIRM, frozenset(_FIRMS)), (_WHEN, _TELLS_WHEN))
        ):
            return True
    return False


def _near_behind(masked: str, place: int, end: int, solid: Sequence[int]) -> bool:
    """Does a phrase of a field come after at most a few plain words: what is its …?"""
    following = next((at for at in range(place, end) if solid[at]), -1)
    return following >= 0 and all(word in _PLAIN_EN for word in _LATIN.findall(masked[place:following]))


def _left(masked: str, start: int, end: int, solid: Sequence[int], fields: Collection[str]) -> tuple[list[str], list[str]]:
    """What is left of a stretch and belongs to no question about these fields: runs of Han characters, and Latin words."""
    text = "".join(" " if solid[place] or masked[place] in (NAMED, DATED) else masked[place] for place in range(start, end))
    latin = [
        match.group()
        for match in _LATIN.finditer(text)
        if match.group() not in _PLAIN_EN
        and len(match.group()) > 1
        and not (match.start() and solid[start + match.start() - 1])  # the ending of a word that a phrase begins
        and not any(_STEM.sub("", match.group()) in _latin_of(name) for name in fields)
    ]
    text = _ANY.sub(" ", text)
    own = frozenset().union(*(_han_of(name) for name in fields))
    han = [run for run in _RUN.findall(text) if not own.issuperset(run)]
    return han, latin


@cache
def _own(field: str) -> str:
    """All that the vocabulary says of a field: its phrases and names."""
    known = FIELDS.get(field)
    written = [known.zh, known.en, *known.phrases] if known else []
    for name, pattern in (*vocabulary.FEES, *vocabulary.NAMED_FEES, *((name, pattern) for pattern, name in vocabulary.FALLBACK)):
        if name == field:
            written.append(pattern)
    return " ".join(written)


@cache
def _han_of(field: str) -> frozenset[str]:
    return frozenset(re.findall(f"[{HAN}]", _own(field)))


@cache
def _latin_of(field: str) -> frozenset[str]:
    return frozenset(_STEM.sub("", word) for word in re.findall("[a-z]+", _own(field)))


__all__ = ["asks_else"]
