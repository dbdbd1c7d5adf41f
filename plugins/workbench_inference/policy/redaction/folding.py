"""Text folded to one spelling, with a map back to the characters it came from. Pure; one pass.

Folded: compatibility forms (NFKC, one character at a time), decimal digits of every script as ASCII, invisible characters left
out, letters that stand for digits inside a number (`l38O…`) as those digits. Chinese numerals stay as they are written; their
values are looked up by `digit_of`.
"""

from __future__ import annotations

import unicodedata
from array import array
from dataclasses import dataclass, field
from typing import Final

from workbench.domain.identifiers import INVISIBLE

CHINESE_DIGITS: Final[dict[str, str]] = {
    one: digit
    for digit, spellings in {
        "0": "零〇○◯洞", "1": "一壹弌幺", "2": "二贰貳弐两兩", "3": "三叁參弎", "4": "四肆", "5": "五伍", "6": "六陆陸", "7": "七柒拐",
        "8": "八捌", "9": "九玖",
    }.items()
    for one in spellings
}  # fmt: skip
_LEFT_OUT: Final = frozenset(INVISIBLE) | {"\ufe0e", "\ufe0f", "\u20e3", "\u180e", "\u3164", "\u115f", "\u1160"}
_LOOKS: Final = {"O": "0", "o": "0", "l": "1", "I": "1", "|": "1"}


class Meter:
    """How many steps the scanners have taken: their cost is a promise that tests hold against the length of the text."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


@dataclass(frozen=True, slots=True)
class Folded:
    """text: folded. origin: for each of its characters the offset of the original character, and at its end the original's
    length. lower: `text` in lower case where that keeps its length."""

    text: str = field(repr=False)
    lower: str = field(repr=False)
    origin: array[int] = field(repr=False)

    def back(self, start: int, end: int) -> tuple[int, int]:
        """Offsets in the original, end exclusive, of folded characters [start, end), with what was left out inside and behind."""
        return self.origin[start], max(self.origin[end - 1] + 1, self.origin[end])


def fold(text: str, meter: Meter) -> Folded:
    """One pass over `text`; at most 18 folded characters for one (the longest compatibility form)."""
    out: list[str] = []
    origin: array[int] = array("I")
    for offset, character in enumerate(text):
        if character in _LEFT_OUT:
            continue
        for one in character if character < "\x80" or "\u4e00" <= character <= "\u9fff" else _unfolded(character):
            out.append(one)
            origin.append(offset)
    origin.append(len(text))
    meter.count += len(text) + len(out)
    folded = "".join(_with_digits(out, meter))
    lower = folded.lower()
    return Folded(folded, lower if len(lower) == len(folded) else folded, origin)


def digit_of(character: str) -> str:
    """The ASCII digit that a character of folded text stands for, "" for none."""
    return character if "0" <= character <= "9" else CHINESE_DIGITS.get(character, "")


def _unfolded(character: str) -> str:
    value = unicodedata.decimal(character, None)
    if value is not None:
        return str(value)
    if character in CHINESE_DIGITS:
        return character
    return "".join(one for one in unicodedata.normalize("NFKC", character) if one not in _LEFT_OUT)


def _with_digits(out: list[str], meter: Meter) -> list[str]:
    """`out` with letters that stand for digits replaced, where most of an unbroken row of them are digits."""
    start = 0
    while start < len(out):
        meter.count += 1
        if out[start] not in _LOOKS and not "0" <= out[start] <= "9":
            start += 1
            continue
        end, digits = start, 0
        while end < len(out) and (out[end] in _LOOKS or "0" <= out[end] <= "9"):
            digits += "0" <= out[end] <= "9"
            end += 1
        meter.count += end - start
        beside = (out[start - 1] if start else "") + (out[end] if end < len(out) else "")
        is_alone = not any(one.isascii() and one.isalpha() and one not in "xX" for one in beside)
        least = 5 if end - start == 11 else 8
        if is_alone and least <= digits < end - start <= 19 and end - start >= 11 and "0" <= out[start + 1] <= "9":
            for place in range(start, end):
                out[place] = _LOOKS.get(out[place], out[place])
        start = end
    return out


__all__ = ["CHINESE_DIGITS", "Folded", "Meter", "digit_of", "fold"]
