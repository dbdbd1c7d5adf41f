"""What somebody typed into the search of the evidence, turned into conditions. Document: docs/evidence.md, section "Search".

Pure: what is known of people, kinds and institutions is an argument. A phone or identity number is recognised first and
kept apart, so that it cannot end up in a condition, an error or a reply; the caller turns it into tokens and forgets it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from workbench.clock import SHANGHAI

_JOB = re.compile(r"J-[0-9]{8}-[0-9a-f]{4,16}")
_DIGEST = re.compile(r"(?:sm3:|sha256:|sha-256:)?([0-9a-f]{8,128})", re.IGNORECASE)
_ENTRY_REF = re.compile(r"entry:([a-z][a-z0-9-]{1,30}):(0|[1-9][0-9]{0,15}):([0-9a-f]{64})")
_PLACE = re.compile(r"([a-z][a-z0-9-]{1,30})[/#](0|[1-9][0-9]{0,15})")
_PERSON = re.compile(r"P-[0-9a-f]{12}")
_TIME = re.compile(r"(?<![0-9-])([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[T ]([0-9]{2}):([0-9]{2}))?(?![0-9-])")
_CAMPAIGN = re.compile(r"(?:campaign|活动)[:：](\S{1,64})")
_WITH_LETTERS = re.compile(r"\S*(?:[A-WYZa-wyz_:/#]|[Xx]\S)\S*")
_ID_NO = re.compile(r"(?<![0-9])[0-9]{6}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{3}[0-9Xx](?![0-9Xx])")
_PHONE = re.compile(r"(?<![0-9])(?:\+?86[ -]?)?1[0-9]{2}[ -]?[0-9]{4}[ -]?[0-9]{4}(?![0-9])")
_MANY_DIGITS = re.compile(r"\+?[0-9](?:[ -]?[0-9]){10,}[Xx]?")
_STATES = {
    "pending": "pending", "待封存": "pending", "sealed": "sealed", "已封存": "sealed", "full": "full", "全部共签": "full",
    "2/3": "sealed", "3/3": "full",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What words may name. people: token -> names of the person. kinds: name -> (zh, en). parties: id -> names.

    campaigns: names that proposals carry.
    """

    people: Mapping[str, Sequence[str]]
    kinds: Mapping[str, tuple[str, str]]
    parties: Mapping[str, Sequence[str]]
    campaigns: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """Conditions that all must hold; several persons, kinds or customers mean any of them. Nothing here is personal data.

    customers: names of customer keys. place: (log, index) of a single entry. words: what no condition explains.
    """

    job: str = ""
    campaign: str = ""
    customers: tuple[str, ...] = ()
    persons: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    party: str = ""
    digest: str = ""
    state: str = ""
    from_ms: int | None = None
    until_ms: int | None = None
    place: tuple[str, int] | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Understood:
    """identifiers: phone or identity numbers as typed; never shown, stored or recorded."""

    asked: Asked
    identifiers: tuple[str, ...] = field(default=(), repr=False)


def understand(text: str, known: Surroundings, asked: Asked = Asked()) -> Understood:
    """The conditions in a line of text, added to those that are known already.

    A name with spaces (a person's, an institution's) is tried as a whole before the words one by one.
    """
    text, identifiers = _take_identifiers(" ".join(text.split()))
    for campaign in _CAMPAIGN.findall(text):
        asked, text = replace(asked, campaign=campaign), _CAMPAIGN.sub(" ", text)
    moments = list(_TIME.finditer(text))
    if moments:
        spans = [span for span in map(_span, moments) if span is not None]
        if len(spans) == len(moments):
            asked = replace(asked, from_ms=min(one[0] for one in spans), until_ms=max(one[1] for one in spans))
            text = _TIME.sub(" ", text)
    text = " ".join(word for word in text.split() if word not in ("-", "–", "..", "至", "to"))
    whole = _named(text, known, asked)
    if whole is not None:
        return Understood(whole, identifiers)
    left: list[str] = []
    for word in text.split():
        one = _named(word, known, asked)
        if one is None:
            left.append(word)
        else:
            asked = one
    return Understood(replace(asked, words=" ".join(left) or asked.words), identifiers)


def _take_identifiers(text: str) -> tuple[str, tuple[str, ...]]:
    """The text without phone and identity numbers, and these.

    Times, ids and digests, which have digits and dashes too, are covered while it looks. What is left of eleven digits
    and more is taken as well: better an answer "cannot be read" than an identifier among the words.
    """

    def cover(match: re.Match[str]) -> str:
        return match[0] if match.re is _TIME and _span(match) is None else "\0" * len(match[0])

    covered = text
    for pattern in (_JOB, _ENTRY_REF, _TIME, _WITH_LETTERS):
        covered = pattern.sub(cover, covered)
    found: list[tuple[int, str]] = []
    for pattern in (_ID_NO, _PHONE, _MANY_DIGITS):
        for match in pattern.finditer(covered):
            found.append((match.start(), match[0]))
        covered = pattern.sub(lambda match: "\1" * len(match[0]), covered)
    kept = "".join(" " if hidden == "\1" else char for char, hidden in zip(text, covered, strict=True))
    return " ".join(kept.split()), tuple(typed for _, typed in sorted(found))


def _named(word: str, known: Surroundings, asked: Asked) -> Asked | None:
    """The conditions with what one word (or name) adds; None when it names nothing."""
    if not word:
        return asked
    low = word.casefold()
    if _JOB.fullmatch(word):
        return replace(asked, job=word)
    if word in known.campaigns:
        return replace(asked, campaign=word)
    if low in _STATES:
        return replace(asked, state=_STATES[low])
    if reference := _ENTRY_REF.fullmatch(word):
        return replace(asked, place=(reference[1], int(reference[2])))
    if (place := _PLACE.fullmatch(word)) and place[1] in known.parties:
        return replace(asked, place=(place[1], int(place[2])))
    persons = tuple(token for token, names in known.people.items() if low in (token.casefold(), *(one.casefold() for one in names)))
    if persons or _PERSON.fullmatch(word):
        return replace(asked, persons=persons or (word,))
    for party, names in known.parties.items():
        if low in (party, *(one.casefold() for one in names)):
            return replace(asked, party=party)
    if digest := _DIGEST.fullmatch(word):
        return replace(asked, digest=digest[1].lower())
    kinds = tuple(name for name, told in known.kinds.items() if _names_kind(low, name, told))
    return replace(asked, kinds=kinds) if kinds else None


def _names_kind(low: str, name: str, told: tuple[str, str]) -> bool:
    if low == name or (low.endswith(".") and name.startswith(low)) or low == name.partition(".")[0]:
        return True
    return (len(low) > 1 and low in told[0].casefold()) or (len(low) > 3 and low in told[1].casefold())


def _span(match: re.Match[str]) -> tuple[int, int] | None:
    """First instant and the one after the last, of a day or a minute in Asia/Shanghai; None when there is no such day."""
    year, month, day, hour, minute = (int(one) if one else 0 for one in match.groups())
    try:
        start = datetime(year, month, day, hour, minute, tzinfo=SHANGHAI)
    except ValueError:
        return None
    length = timedelta(minutes=1) if match[4] else timedelta(days=1)
    return round(start.timestamp() * 1000), round((start + length).timestamp() * 1000)


__all__ = ["Asked", "Surroundings", "Understood", "understand"]
