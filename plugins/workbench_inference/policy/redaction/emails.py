"""E-mail addresses in folded text: written plainly, with blanks, or disguised as `name [at] example [dot] com`. Pure, linear.

Source: RFC 5321 section 4.1.2 for the characters (dot-string and domain; quoted local parts and address literals are not looked for).
"""

from __future__ import annotations

from typing import Final

from workbench_inference.policy.redaction import cues
from workbench_inference.policy.redaction.folding import Meter
from workbench_inference.policy.redaction.numbers import Found

_LOCAL: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._%+-")
_LABEL: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_ATS: Final = ("[at]", "(at)", "{at}", "<at>", "#at#", "_at_", "【at】", "艾特", "(艾特)", "[艾特]", "(@)", "[@]", "*at*", "-at-", "（at）")
_DOTS: Final = ("[dot]", "(dot)", "{dot}", "<dot>", " dot ", "_dot_", "[点]", "(点)", "点", "。", "[.]", "(.)", "。", "．")
_DOMAINS: Final = ("com", "cn", "net", "org", "edu", "gov", "io", "hk", "info", "example", "test", "invalid", "xyz", "top", "vip", "me", "co", "mail", "tech", "cc", "biz", "asia")
_SURE: Final = ("com", "cn", "net", "org", "edu", "gov")
_WORD_AT: Final = " at "


def find(lower: str, meter: Meter) -> list[Found]:
    """Addresses from left to right, none over another."""
    found: list[Found] = []
    reach = place = 0
    while place < len(lower):
        meter.count += 1
        size = _at(lower, place)
        one = _address(lower, place, size, reach, meter) if size else None
        if one is not None:
            found.append(one)
            reach = place = one.end
        else:
            place += 1
    return found


def _at(lower: str, place: int) -> int:
    """Length of an @ in one of its forms, 0 for none."""
    character = lower[place]
    if character == "@":
        return 1
    if character in "[({<#_*-【艾（":
        for word in _ATS:
            if lower.startswith(word, place):
                return len(word)
    if character == " " and lower.startswith(_WORD_AT, place):
        return len(_WORD_AT)
    return 0


def _address(lower: str, place: int, size: int, reach: int, meter: Meter) -> Found | None:
    end_of_local = place
    while end_of_local > max(reach, place - 2) and lower[end_of_local - 1] == " ":
        end_of_local -= 1
        meter.count += 1
    start = end_of_local
    while start > max(reach, end_of_local - 64) and lower[start - 1] in _LOCAL:
        start -= 1
        meter.count += 1
    while start < end_of_local and lower[start] in ".-":
        start += 1
    if start == end_of_local:
        return None
    is_word = lower[place : place + size] == _WORD_AT
    first = place + size
    while first < min(len(lower), place + size + 2) and lower[first] == " ":
        first += 1
        meter.count += 1
    parts: list[str] = []
    at, end = first, first
    while len(parts) < 8:
        stop = at
        while stop < len(lower) and stop < at + 63 and lower[stop] in _LABEL:
            stop += 1
        meter.count += stop - at + 1
        label = lower[at:stop].rstrip("-")
        if not label:
            break
        parts.append(label)
        end = at + len(label)
        step = _dot(lower, stop, label, meter)
        if not step or end != stop:
            break
        at = stop + step
    while parts and not (parts[-1].isalpha() and len(parts[-1]) >= 2):
        end -= len(parts.pop()) + 1
    if len(parts) < 2:
        return None
    local = lower[start:end_of_local]
    if is_word and not (parts[-1] in _DOMAINS and (any(one.isdigit() or one in "._" for one in local) or cues.after(lower, end, meter) or _is_mail_said(lower, start))):
        return None
    return Found("email", start, end, local + "@" + ".".join(parts), 9)


def _dot(lower: str, place: int, label: str, meter: Meter) -> int:
    """Length of a dot in one of its forms, with a label behind it; 0 for none."""
    meter.count += len(_DOTS)
    if lower.startswith(".", place):
        behind = lower[place + 1 : place + 2]
        if behind in _LABEL and behind:
            return 1
        return 2 if behind == " " and lower.startswith(_SURE, place + 2) else 0
    if lower.startswith(" .", place):
        step = 3 if lower.startswith(" . ", place) else 2
        return step if lower.startswith(_DOMAINS, place + step) else 0
    for word in _DOTS:
        if lower.startswith(word, place) and lower.startswith(_DOMAINS, place + len(word)):
            return len(word)
        if word != " dot " and lower.startswith(" " + word + " ", place) and lower.startswith(_DOMAINS, place + len(word) + 2):
            return len(word) + 2
    return 0


def _is_mail_said(lower: str, start: int) -> bool:
    left = lower[max(0, start - 12) : start]
    return any(word in left for word in ("邮箱", "邮件", "mail"))


__all__ = ["find"]
