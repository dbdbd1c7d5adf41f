"""Phone numbers, identity numbers, bank cards and account numbers in folded text. Pure, linear: every look is bounded.

Digits stand in *groups* (digits of one script without a gap); groups with small gaps of blanks, dashes, dots and the like form a
*run*. A number is a whole number of groups of one run, so nothing is found inside a longer number. Sources: identity numbers
GB 11643-1999 (sections 4, 5 and appendix), cards ISO/IEC 7812-1 (length and Luhn), mobile numbers of eleven digits that begin with 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Final

from workbench.domain.identifiers import DASHES, id_check_character
from workbench_inference.policy.redaction import cues
from workbench_inference.policy.redaction.folding import CHINESE_DIGITS, Meter
from workbench_inference.policy.redaction.words import words

MOST_DIGITS: Final = 30
MOST_GROUPS: Final = 26
PROVINCES: Final = words(
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83 99"
)
"""First two digits of an identity number (GB/T 2260); 99 is not in use and marks synthetic people (decision 30 of the design)."""

_GAP: Final = frozenset(" \t\r\n/_·•.,，、。~|*" + DASHES + "—－()")
_UNITS: Final = (
    "元", "块", "万", "亿", "股", "份", "%", "美元", "港元", "港币", "欧元", "日元", "笔", "基点", "rmb", "usd", "cny", "hkd", "yuan", "shares", "units",
)  # fmt: skip
_NO_UNITS: Final = ("股东", "股票", "股份", "股民", "元旦", "笔记", "万一", "万科", "份额")
_PHONE_GROUPS: Final = frozenset({
    (11,), (3, 4, 4), (3, 8), (7, 4), (4, 4, 3), (4, 3, 4), (3, 3, 5), (3, 5, 3), (5, 6), (6, 5), (4, 7), (3, 3, 3, 2), (3, 2, 2, 2, 2),
    (2, 3, 3, 3), (5, 3, 3), (1, 3, 3, 4), (3, 4, 2, 2), (3, 2, 2, 4), (1, 2, 4, 4), (1, 10), (2, 9), (2, 2, 2, 2, 3), (1, 2, 2, 2, 2, 2), (3, 2, 3, 3),
    (1, 3, 3, 2, 2), (2, 2, 3, 4), (2, 2, 2, 2, 2, 1), (3, 3, 2, 3),
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """An identifier in folded text. kind: of KINDS; start, end: in the folded text; key: its one spelling; tier: how sure."""

    kind: str
    start: int
    end: int
    key: str = field(repr=False)
    tier: int = 0


@dataclass(frozen=True, slots=True)
class _Group:
    start: int
    end: int
    digits: str = field(repr=False)


def find(text: str, lower: str, meter: Meter) -> list[Found]:
    """All numbers, in order, none over another."""
    groups = _groups(text, meter)
    best: list[Found | None] = [_best(text, lower, groups, first, meter) for first in range(len(groups))]
    found: list[Found] = []
    reach = 0
    for place, one in enumerate(best):
        if one is None or one.start < reach:
            continue
        rival = place + 1
        while rival < len(groups) and groups[rival].start < one.end and rival <= place + MOST_GROUPS:
            other = best[rival]
            meter.count += 1
            if other is not None and other.tier > one.tier:
                break
            rival += 1
        else:
            found.append(one)
            reach = one.end
            continue
        if rival >= len(groups) or groups[rival].start >= one.end:
            found.append(one)
            reach = one.end
    return found


def _groups(text: str, meter: Meter) -> list[_Group]:
    groups: list[_Group] = []
    place = 0
    while place < len(text):
        meter.count += 1
        character = text[place]
        if "0" <= character <= "9":
            end = place
            while end < len(text) and "0" <= text[end] <= "9":
                end += 1
            groups.append(_Group(place, end, text[place:end]))
        elif character in CHINESE_DIGITS:
            end = place
            while end < len(text) and text[end] in CHINESE_DIGITS:
                end += 1
            groups.append(_Group(place, end, "".join(CHINESE_DIGITS[one] for one in text[place:end])))
        else:
            place += 1
            continue
        meter.count += end - place
        place = end
    return groups


def _best(text: str, lower: str, groups: list[_Group], first: int, meter: Meter) -> Found | None:
    """The surest number that begins with this group; of two equally sure the longer."""
    best: Found | None = None
    digits, sizes, gaps = "", [], []
    near: cues.Cue | None = None
    start = groups[first].start
    for last in range(first, min(len(groups), first + MOST_GROUPS)):
        meter.count += 1
        if last > first:
            gap = text[groups[last - 1].end : groups[last].start]
            if len(gap) > 3 or any(one not in _GAP for one in gap):
                break
            gaps.append(gap)
        digits += groups[last].digits
        sizes.append(len(groups[last].digits))
        if len(digits) > MOST_DIGITS:
            break
        if len(digits) < 5:
            continue
        if near is None:
            near = cues.before(lower, start, meter)
        end = groups[last].end
        seen = _Seen(text, lower, start, end, digits, tuple(sizes), tuple(gaps), near)
        for judge in (_identity, _card, _phone, _landline, _account):
            one = judge(seen, meter)
            if one is not None and (best is None or one.tier >= best.tier):
                best = one
    return best


@dataclass(frozen=True, slots=True)
class _Seen:
    """Some groups of one run, with what stands before them."""

    text: str = field(repr=False)
    lower: str = field(repr=False)
    start: int
    end: int
    digits: str = field(repr=False)
    sizes: tuple[int, ...]
    gaps: tuple[str, ...]
    cue: cues.Cue

    @property
    def is_unbroken(self) -> bool:
        return not any(self.gaps)

    @property
    def is_single(self) -> bool:
        """Digit by digit, with one and the same gap."""
        return len(self.sizes) > 5 and all(one == 1 for one in self.sizes) and len({one.strip() for one in self.gaps}) <= 2

    def said(self, kind: str) -> bool:
        return self.cue.kind == kind and self.cue.is_near

    def is_said_nearby(self, kind: str) -> bool:
        return self.cue.kind == kind

    def has_letters_beside(self) -> bool:
        """Part of a code such as `DD138…` or `138…ff`."""
        left = self.lower[self.start - 1] if self.start else ""
        right = self.lower[self.end] if self.end < len(self.lower) else ""
        if right.isascii() and right.isalpha():
            return True
        if left.isascii() and left.isalpha():
            return not self.cue.is_near or self.cue.kind in ("", "other")
        if left and left in "-/_." and self.start > 1 and not self.cue.is_near:
            further = self.lower[self.start - 2]
            # 138…/139… are two numbers; 2026/138… is a code.
            is_list = left == "/" and self.lower[max(0, self.start - 8) : self.start - 1].isdigit() and self.start >= 8
            return further.isascii() and further.isalnum() and not is_list
        return bool(left and left in "#@=&") and not self.cue.is_near

    def is_amount(self, meter: Meter) -> bool:
        """Money before it, or a unit or decimals behind it."""
        if self.start and self.text[self.start - 1] in "¥$€£":
            return True
        place = self.end
        while place < len(self.lower) and place < self.end + 2 and self.lower[place] == " ":
            place += 1
            meter.count += 1
        return (self.lower.startswith(_UNITS, place) and not self.lower.startswith(_NO_UNITS, place)) or (
            self.text[self.end : self.end + 1] == "." and self.text[self.end + 1 : self.end + 2].isdigit() and self.is_unbroken
        )


def _identity(seen: _Seen, meter: Meter) -> Found | None:
    """18 characters whose check character fits, or 15 digits with a date of birth; said to be one, also others of that length."""
    digits, end = seen.digits, seen.end
    if len(digits) == 17:
        place = end
        while place < len(seen.text) and place < end + 2 and seen.text[place] in _GAP:
            place += 1
            meter.count += 1
        if seen.text[place : place + 1] not in ("x", "X", "×", "✕"):
            return None
        behind = seen.text[place + 1 : place + 2]
        if behind.isascii() and behind.isalnum():
            return None
        digits, end = digits + "X", place + 1
    if len(digits) not in (15, 18) or _has_letter_before(seen):
        return None
    meter.count += len(digits)
    said = seen.said("id") or cues.after(seen.lower, end, meter) == "id"
    if len(digits) == 18:
        fits = _is_date(digits[6:14]) and id_check_character(digits[:17]) == digits[17]
        if fits and digits[:6] != "000000":
            return Found("id", seen.start, end, digits, 9)
        return Found("id", seen.start, end, digits, 8) if said and (seen.is_unbroken or _is_date(digits[6:14])) else None
    fits = _is_date("19" + digits[6:12])
    if said and (fits or seen.is_unbroken):
        return Found("id", seen.start, end, digits, 8)
    is_plain = seen.is_unbroken or seen.is_single or seen.sizes in ((6, 6, 3), (6, 2, 2, 2, 3), (6, 4, 4, 1), (3, 3, 6, 3))
    if fits and digits[:2] in PROVINCES and is_plain and not _is_other(seen, meter) and not seen.is_amount(meter) and not seen.has_letters_beside():
        return Found("id", seen.start, end, digits, 5)
    return None


def _card(seen: _Seen, meter: Meter) -> Found | None:
    """16 to 19 digits that pass Luhn; said to be a card, also others of that length."""
    digits = seen.digits
    if not 16 <= len(digits) <= 19 or digits[0] == "0" or seen.has_letters_beside() or len(set(digits)) < 2:
        return None
    meter.count += len(digits)
    is_plain = seen.is_unbroken or seen.is_single or _is_by_fours(seen.sizes) or seen.sizes in ((6, 13), (6, 10), (8, 8), (4, 6, 5), (10, 9), (6, 4, 4, 5), (6, 4, 6), (6, 6, 4), (6, 6, 7), (4, 15), (4, 12))
    said = seen.said("card") or cues.after(seen.lower, seen.end, meter) == "card" or (seen.is_said_nearby("card") and is_plain)
    if said:
        if len(digits) == 18 and id_check_character(digits[:17]) == digits[17] and _is_date(digits[6:14]):
            return None
        return Found("card", seen.start, seen.end, digits, 8) if luhn(digits) or (is_plain and seen.said("card")) else None
    is_account = seen.said("account")
    if not luhn(digits) or not is_plain or _is_other(seen, meter) or seen.is_amount(meter):
        return None
    if len(digits) == 18 and digits[:2] in PROVINCES and _is_date(digits[6:14]):
        return None  # an identity number with a wrong digit, one in ten of which passes Luhn
    if digits[:2] in ("62", "60", "65", "68", "69", "81") or digits[0] in "3459":
        return Found("card", seen.start, seen.end, digits, 8 if is_account and digits[:2] == "62" else 7)
    return None


def _phone(seen: _Seen, meter: Meter) -> Found | None:
    """Eleven digits that begin with 1, with or without the country code."""
    digits, sizes, gaps, start = seen.digits, seen.sizes, seen.gaps, seen.start
    prefix = 4 if digits.startswith("0086") and len(digits) == 15 else 2 if digits.startswith("86") and len(digits) == 13 else 0
    if prefix:
        if sizes[0] > prefix:
            sizes = (sizes[0] - prefix, *sizes[1:])
        elif sizes[0] == prefix:
            sizes, gaps = sizes[1:], gaps[1:]
        else:
            sizes, gaps = _without(sizes, gaps, prefix)
        digits = digits[prefix:]
    if len(digits) != 11 or digits[0] != "1" or len(set(digits)) < 2:
        return None
    if prefix:
        start = _with_sign(seen, meter)
    meter.count += len(digits)
    if seen.has_letters_beside() or seen.is_amount(meter):
        return None
    kind = seen.cue.kind
    if kind in ("account", "card", "id") and seen.cue.is_near and cues.after(seen.lower, seen.end, meter) != "phone":
        return None
    if _is_other(seen, meter):
        return None
    is_mobile = "3" <= digits[1] <= "9" or digits[1] == "0"
    flat = tuple(sizes)
    is_plain = seen.is_single or (not any(gaps)) or flat in _PHONE_GROUPS
    if any("." in gap and gap.strip() == "." for gap in gaps) and flat not in ((3, 4, 4), (4, 4, 3), (3, 3, 5), (4, 3, 4)) and not seen.is_single:
        is_plain = False  # 13800138.000 and 138.00138000 are amounts
    if any(gap.strip() in (",", "，", "、", "。") and gap for gap in gaps) and flat not in ((3, 4, 4), (4, 4, 3), (4, 3, 4)) and not seen.is_single:
        is_plain = False
    if seen.is_said_nearby("phone"):
        return Found("phone", start, seen.end, digits, 8)
    if is_plain and is_mobile:
        return Found("phone", start, seen.end, digits, 6)
    return Found("phone", start, seen.end, digits, 4) if is_plain and not any(gaps) else None


def _landline(seen: _Seen, meter: Meter) -> Found | None:
    """Area code and number: 021-6258 0818, (0755)8888 1234; where no dash or bracket divides them, only beside a word for phones."""
    digits = code = seen.digits
    if digits.startswith("86") and len(digits) > 11 and len(seen.sizes) > 1:
        code = "0" + digits[2:].lstrip("0")
    if not 10 <= len(code) <= 12 or code[0] != "0" or code[1] == "0" or seen.has_letters_beside() or seen.is_amount(meter):
        return None
    area = 3 if code[1] in "12" else 4
    local = len(code) - area
    meter.count += 1
    if local not in (7, 8) or (area == 3 and local != 8) or code[area] == "0" or (area == 3 and code[1] == "1" and code[2] != "0"):
        return None
    kind = seen.cue.kind
    if kind == "public" or _is_other(seen, meter):
        return None
    start = _with_sign(seen, meter)
    is_divided = len(seen.sizes) > 1 and seen.sizes[0] in (area, 2) and bool(seen.gaps[0])
    if kind == "phone":
        return Found("phone", start, _extension(seen, meter), code, 8)
    if kind in ("account", "card", "id"):
        return None
    return Found("phone", start, _extension(seen, meter), code, 4) if is_divided and seen.sizes[1:] in ((local,), (4, 4), (3, 4)) else None


def _account(seen: _Seen, meter: Meter) -> Found | None:
    """Digits, with letters and digits in front where they belong to it (98Z000123456), that are said to be an account; a shareholder's number as such."""
    start = seen.start
    while start and seen.start - start < 16 and seen.lower[start - 1].isascii() and (seen.lower[start - 1].isalnum() or (seen.lower[start - 1] == "-" and seen.start - start == 0)):
        start -= 1
        meter.count += 1
    if seen.text[start] == "-":
        start += 1
    letters = seen.text[start : seen.start].rstrip("-")
    cue = seen.cue
    if start < seen.start:
        own = cues.before(seen.lower, start, meter)
        cue = own if own.kind or not cue.is_near else cue
        if seen.lower[start : seen.start] in cues.CUES:
            start, letters, cue = seen.start, "", seen.cue
    end = seen.end
    size = len(seen.digits)
    if cue.kind == "account" and cue.is_near and not seen.is_amount(meter):
        while end < len(seen.text) and end < seen.end + 4 and seen.text[end].isascii() and seen.text[end].isalpha():
            end += 1
            meter.count += 1
        word = seen.lower[max(0, start - 6) : start]
        least = 7 if word.rstrip(" :：是为").endswith(("户", "户头")) else 6
        is_plain = seen.is_unbroken or seen.is_single or (_is_by_fours(seen.sizes) and len({one.strip() for one in seen.gaps}) == 1) or _is_even(seen)
        behind = seen.lower[end : end + 1]
        if size >= least and is_plain and behind not in ("年", "月", "日", "时", "点"):
            return Found("account", start, end, (letters + seen.digits).upper(), 8)
        return None
    if letters.upper() in ("A", "B", "C", "D", "E", "F") and size == 9 and seen.is_unbroken and start == seen.start - 1 and not _is_other(seen, meter):
        left = seen.text[start - 1] if start else ""
        right = seen.text[end] if end < len(seen.text) else ""
        if not (left.isascii() and (left.isalnum() or left in ("-", "_", "/"))) and not (right.isascii() and right.isalnum()) and cue.kind != "other":
            return Found("account", start, end, (letters + seen.digits).upper(), 6)
    is_bare = seen.is_unbroken and size >= 8 and not seen.has_letters_beside() and not seen.is_amount(meter)
    if is_bare and (cue.kind == "account" or (not cue.kind and cues.after(seen.lower, seen.end, meter) == "account")):
        return Found("account", seen.start, end, seen.digits, 6)
    return None


def _with_sign(seen: _Seen, meter: Meter) -> int:
    """Start of a number with the plus sign and bracket before it."""
    start = seen.start
    while start and start > seen.start - 2 and seen.text[start - 1] in "+(":
        start -= 1
        meter.count += 1
    return start


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    total = 0
    for place, one in enumerate(reversed(digits)):
        value = ord(one) - 48
        if place % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def _is_date(digits: str) -> bool:
    try:
        born = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return 1900 <= born.year <= 2099


def _is_other(seen: _Seen, meter: Meter) -> bool:
    """Said to be something else, before it or behind it."""
    if seen.cue.kind == "other" and seen.cue.is_near:
        return True
    return seen.cue.kind != "phone" and cues.after(seen.lower, seen.end, meter) == "other"


def _has_letter_before(seen: _Seen) -> bool:
    left = seen.text[seen.start - 1] if seen.start else ""
    return left.isascii() and left.isalpha() and not seen.cue.is_near


def _is_by_fours(sizes: tuple[int, ...]) -> bool:
    return len(sizes) > 1 and all(one == 4 for one in sizes[:-1]) and 1 <= sizes[-1] <= 4


def _is_even(seen: _Seen) -> bool:
    """Groups of about one size with one kind of gap."""
    return len({one.strip() for one in seen.gaps}) == 1 and min(seen.sizes[:-1], default=0) >= 2 and max(seen.sizes) <= 5 and "," not in "".join(seen.gaps)


def _without(sizes: tuple[int, ...], gaps: tuple[str, ...], count: int) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Sizes and gaps behind the first `count` digits, which end with a group or within one."""
    left = list(sizes)
    dropped = 0
    while count and left:
        if left[0] <= count:
            count -= left.pop(0)
            dropped += 1
        else:
            left[0] -= count
            count = 0
    return tuple(left), gaps[dropped:]


def _extension(seen: _Seen, meter: Meter) -> int:
    """End of the number with what follows as 转 801, ext. 801 or -801."""
    place = seen.end
    for word in ("转", " 转", "-", " ext", "ext", " ext.", "ext.", "分机", " 分机"):
        if seen.lower.startswith(word, place):
            at = place + len(word)
            while at < len(seen.text) and at < place + len(word) + 2 and seen.text[at] in " .:":
                at += 1
            stop = at
            while stop < len(seen.text) and stop < at + 6 and "0" <= seen.text[stop] <= "9":
                stop += 1
            meter.count += 12
            if 1 <= stop - at <= 5:
                return stop
    return place


__all__ = ["Found", "find", "luhn"]
