"""Numbers, shares and dates in Chinese and English text, with one value whatever their spelling. Pure; linear in the text.

Full-width digits, thousands separators, percent and 百分之, 万 and 亿, thousand to trillion, Chinese numerals, dates in eight
spellings. Two spellings of one value compare equal; `12` and `12%`, `3 月 31 日` and `3.31` do not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

from workbench_sandbox.corpus.text import fold_with_places

Value: TypeAlias = "Decimal | tuple[int, int, int] | str"

NUMBER, PERCENT, POINTS, DATE, CODE = "number", "percent", "points", "date", "code"


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number, share, date or code. start, end: in the text that was scanned. value: canonical within its kind.

    A date is (year, month, day) with 0 for what is not said; a code is digits that begin with 0, or more than 24 signs.
    """

    kind: str
    value: Value
    start: int
    end: int


_MONTHS = {
    name: number + 1
    for number, names in enumerate(
        (
            "january jan", "february feb", "march mar", "april apr", "may may", "june jun", "july jul", "august aug",
            "september sep sept", "october oct", "november nov", "december dec",
        )
    )
    for name in names.split()
}  # fmt: skip
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DIGITS = {character: value for value, character in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_TENS = {"十": 10, "百": 100, "千": 1000}
_SCALES = {
    "万亿": 10**12, "千亿": 10**11, "百亿": 10**10, "十亿": 10**9, "亿": 10**8, "千万": 10**7, "百万": 10**6, "十万": 10**5,
    "万": 10**4, "千": 10**3, "trillion": 10**12, "billion": 10**9, "million": 10**6, "thousand": 10**3,
}  # fmt: skip
_SCALE = "|".join(sorted(_SCALES, key=len, reverse=True))
_HAN = "零〇一二两三四五六七八九十百千万亿"
_COUNTED = "元|份|股|年|月|日|号|天|倍|成|只|家|支|档|名|位|人|次|期|个|项|级|分|角|美元|港元|交易日|工作日"

_PATTERN = re.compile(
    rf"""
    (?P<ymd>(?<![0-9.])(?P<y1>(?:19|20)[0-9]{{2}})\s?(?:年|-|/|\.)\s?
        (?P<m1>1[0-2]|0?[1-9])\s?(?:月|-|/|\.)\s?(?P<d1>3[01]|[12][0-9]|0?[1-9])(?![0-9])(?:\s?[日号])?)
    |(?P<plain>(?<![0-9.])(?P<y2>(?:19|20)[0-9]{{2}})(?P<m2>0[1-9]|1[0-2])(?P<d2>0[1-9]|[12][0-9]|3[01])(?![0-9]|\.[0-9]))
    |(?P<mdy>(?<![a-z])(?P<m3>{_MONTH})\.?\s+(?P<d3>3[01]|[12][0-9]|0?[1-9])(?:st|nd|rd|th)?,?\s+(?P<y3>(?:19|20)[0-9]{{2}})(?![0-9]))
    |(?P<dmy>(?<![0-9])(?P<d4>3[01]|[12][0-9]|0?[1-9])(?:st|nd|rd|th)?\s+(?P<m4>{_MONTH})\.?,?\s+(?P<y4>(?:19|20)[0-9]{{2}})(?![0-9]))
    |(?P<md_en>(?<![a-z])(?P<m5>{_MONTH})\.?\s+(?P<d5>3[01]|[12][0-9]|0?[1-9])(?:st|nd|rd|th)?(?![0-9a-z.,]*[0-9]))
    |(?P<my>(?<![a-z])(?P<m6>{_MONTH})\.?,?\s+(?P<y6>(?:19|20)[0-9]{{2}})(?![0-9]))
    |(?P<ym>(?<![0-9.])(?P<y7>(?:19|20)[0-9]{{2}})(?:\s?年\s?(?P<m7>1[0-2]|0?[1-9])\s?月|-(?P<m7b>0[1-9]|1[0-2])(?![0-9-]))份?)
    |(?P<md>(?<![0-9.])(?P<m8>1[0-2]|0?[1-9])\s?月\s?(?P<d8>3[01]|[12][0-9]|0?[1-9])\s?[日号])
    |(?P<year>(?<![0-9.,])(?P<y9>(?:19|20)[0-9]{{2}})\s?年度?)
    |(?P<month>(?<![0-9.])(?P<m10>1[0-2]|0?[1-9])\s?月份?(?!\s?[0-9]))
    |(?P<han_date>[零〇一二三四五六七八九]{{4}}年(?:[一二三四五六七八九十]{{1,2}}月(?:[一二三四五六七八九十]{{1,3}}[日号])?)?)
    |(?P<share>百分之(?:(?P<share_digits>[0-9]+(?:\.[0-9]+)?)|(?P<share_han>[{_HAN}]+(?:点[零〇一二三四五六七八九]+)?)))
    |(?P<number>(?P<sign>(?<![0-9a-z%)])[-−+])?(?P<digits>[0-9]{{1,3}}(?:,[0-9]{{3}})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?)
        (?:\s?(?P<percent>%|‰|个?百分点|个?基点|bps?(?![a-z])|percent(?:age\s+points?)?)|\s?(?P<scale>{_SCALE})(?!里|能|一))?)
    |(?P<han>[{_HAN}]+(?:点[零〇一二三四五六七八九]+(?P<han_scale>万亿|亿|万)?)?(?P<han_unit>%|个?百分点|成)?)
    """,
    re.VERBOSE,
)
_LONGEST = 24
"""What is longer is compared sign by sign: it is no amount, and arithmetic would round it."""
_COUNTS = re.compile(rf"\s?(?:{_COUNTED})")


def scan(text: str) -> list[Quantity]:
    """All quantities of a text, in order, not overlapping."""
    folded, places = fold_with_places(text)
    return [
        Quantity(kind, value, places[start], places[end - 1] + 1)
        for kind, value, start, end in _found(folded)
    ]  # fmt: skip


def values(text: str) -> set[tuple[str, Value]]:
    """Kind and value of everything in a text that counts as a number."""
    return {(each.kind, each.value) for each in scan(text)}


def carries(known: set[tuple[str, Value]], quantity: Quantity) -> bool:
    """Does a set of values hold this one? A date is held by one that says the same and perhaps more."""
    if (quantity.kind, quantity.value) in known:
        return True
    if quantity.kind != DATE or not isinstance(quantity.value, tuple):
        return False
    return any(
        kind == DATE
        and isinstance(value, tuple)
        and all(not ours or ours == theirs for ours, theirs in zip(quantity.value, value, strict=True))
        for kind, value in known
    )


def _found(folded: str) -> list[tuple[str, Value, int, int]]:
    found: list[tuple[str, Value, int, int]] = []
    for match in _PATTERN.finditer(folded):
        start, end = match.span()
        group = match.group
        name = match.lastgroup and next(key for key in _NAMES if group(key) is not None)
        if name == "number":
            found.append((*_number(match), start, end))
        elif name == "share":
            digits = group("share_digits")
            value = Decimal(digits) if digits else _han_value(group("share_han"))
            if (end - start) > _LONGEST:
                found.append((CODE, group(), start, end))
            elif value is not None:
                found.append((PERCENT, _plain(value), start, end))
        elif name == "han":
            one = _han(match, folded)
            if one is not None:
                found.append((*one, start, end))
        elif name == "han_date":
            found.append((DATE, _han_date(group()), start, end))
        else:
            found.append((DATE, _date(match, name or ""), start, end))
    return found


_NAMES = (
    "ymd", "plain", "mdy", "dmy", "md_en", "my", "ym", "md", "year", "month", "han_date", "share", "number", "han",
)  # fmt: skip
_PARTS = {
    "ymd": ("y1", "m1", "d1"), "plain": ("y2", "m2", "d2"), "mdy": ("y3", "m3", "d3"), "dmy": ("y4", "m4", "d4"),
    "md_en": ("", "m5", "d5"), "my": ("y6", "m6", ""), "ym": ("y7", "m7", ""), "md": ("", "m8", "d8"), "year": ("y9", "", ""),
    "month": ("", "m10", ""),
}  # fmt: skip


def _date(match: re.Match[str], name: str) -> tuple[int, int, int]:
    year, month, day = (match.group(part) if part else None for part in _PARTS[name])
    if name == "ym":
        month = month or match.group("m7b")
    number = _MONTHS[month] if month in _MONTHS else int(month or 0)
    return int(year or 0), number, int(day or 0)


def _number(match: re.Match[str]) -> tuple[str, Decimal | str]:
    digits, percent, scale = match.group("digits"), match.group("percent"), match.group("scale")
    if (len(digits) > 1 and digits[0] == "0" and digits.isdigit()) or len(digits) > _LONGEST:
        return CODE, digits
    value = Decimal(digits.replace(",", ""))
    if match.group("sign") in ("-", "−"):
        value = -value
    if percent:
        if percent == "‰":
            return PERCENT, _plain(value / 10)
        if percent == "%" or percent == "percent":
            return PERCENT, _plain(value)
        return POINTS, _plain(value / 100 if "基点" in percent or percent.startswith("bp") else value)
    return NUMBER, _plain(value * _SCALES[scale] if scale else value)


def _han(match: re.Match[str], folded: str) -> tuple[str, Value] | None:
    """Chinese numerals count where they say an amount: three signs and more, a scale in them, or what is counted behind them."""
    text = match.group("han")
    if text == "百" and folded.startswith("分", match.end()):
        return None  # 多少个百分点, 百分之几: a unit that is asked for
    if len(text) > _LONGEST:
        return CODE, text
    unit = match.group("han_unit") or ""
    bare = text[: len(text) - len(unit)] if unit else text
    scale = match.group("han_scale") or ""
    value = _han_value(bare[: len(bare) - len(scale)])
    if value is None:
        return None
    value *= _SCALES.get(scale, 1)
    if unit:
        if unit == "成":
            return PERCENT, _plain(value * 10)
        return (PERCENT if unit == "%" else POINTS), _plain(value)
    counted = _COUNTS.match(folded, match.end())
    if len(bare) >= 3 or (len(bare) == 2 and (counted or bare[1] in "万亿")) or (counted and bare not in ("一", "千", "万")):
        return NUMBER, _plain(value)
    return None


def _han_value(text: str) -> Decimal | None:
    """The value of Chinese numerals, also said digit by digit; None where it is no number."""
    if len(text) > _LONGEST:
        return None
    whole, _, fraction = text.partition("点")
    if all(character in _DIGITS for character in whole) and len(whole) > 1:
        total = int("".join(str(_DIGITS[character]) for character in whole))
    else:
        total = section = digit = 0
        for character in whole:
            if character in _DIGITS:
                digit = _DIGITS[character]
            elif character in _TENS:
                section += (digit or (1 if character == "十" or not section else 0)) * _TENS[character]
                digit = 0
            elif character == "万":
                total += (section + digit or 1) * 10**4
                section = digit = 0
            else:
                total = (total + section + digit or 1) * 10**8
                section = digit = 0
        total += section + digit
    try:
        return Decimal(f"{total}.{''.join(str(_DIGITS[c]) for c in fraction)}") if fraction else Decimal(total)
    except InvalidOperation:
        return None


def _han_date(text: str) -> tuple[int, int, int]:
    year, _, rest = text.partition("年")
    month, _, day = rest.partition("月")
    whole = int("".join(str(_DIGITS[character]) for character in year))
    return whole, int(_han_value(month) or 0) if month else 0, int(_han_value(day[:-1]) or 0) if day else 0


def _plain(value: Decimal) -> Decimal:
    """1.20 and 1.2 are one value."""
    return value.normalize() + 0
