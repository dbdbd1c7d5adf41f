"""Which value of a field holds: the newest that is in force, or that of the day asked for. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from workbench_sandbox.corpus.text import fold
from workbench_sandbox.engines.extractive.facts import Day, Fact, is_stated
from workbench_sandbox.engines.extractive.naming import SHARE, Entity
from workbench_sandbox.engines.extractive.vocabulary import ENTITY_KINDS, FIELDS


def choose(entity: Entity, field: str, days: Sequence[Day], *, now_ms: int, about: str = "", share: str = "", corrected: bool = False) -> Fact | None:
    """The value of a field; None where the documents do not say.

    days: of which day, as far as the question says; of what belongs to no day, what held then.
    about: a field that the same announcement must have changed. share: of which class of shares, a to e; "": of the fund.
    corrected: of equal values the one of a correction.
    """
    facts = [fact for fact in entity.facts if fact.field == field and (field in ENTITY_KINDS or is_stated(fact.document))]
    if share and field in _BY_SHARE:
        facts = [fact for fact in facts if _of_share(entity, fact, share)]
    if about:
        changed = {id(fact.document) for fact in entity.facts if fact.field == f"old_{about}"}
        facts = [fact for fact in facts if id(fact.document) in changed] or facts
    daily = field in FIELDS and FIELDS[field].daily
    if daily and days:
        facts = [fact for fact in facts if fact.day and any(_fits(day, fact.day) for day in days)]
    elif daily:
        dated = [fact for fact in facts if fact.day]
        facts = dated or facts
    elif days and field not in _LASTING:
        facts = [fact for fact in facts if any(_is_before(fact.since, day) for day in days)]
    # What an announcement changes only later does not hold yet.
    facts = [fact for fact in facts if not now_ms or fact.since <= now_ms or fact.since == fact.document.time_ms]
    if not facts:
        return None
    newest = max(facts, key=_newness)
    same = [fact for fact in facts if fact.day == newest.day and _same_value(fact, newest)]
    if corrected:
        wrong = {id(fact.document) for fact in entity.facts if fact.field == f"wrong_{field}"}
        same = [fact for fact in same if id(fact.document) in wrong] or same
    return max(same, key=lambda fact: (fact.document.kind == "fund", _newness(fact)))


_FREE = re.compile("(?:份额|类)?(?:不再?|免于?|无需)(?:收|计|支付)")
_BY_SHARE = frozenset(("purchase_fee", "subscription_fee", "redemption_fee", "sales_fee", "nav", "nav_cumulative", "scale", "share_code"))
"""What differs between the share classes of one fund."""


def _of_share(entity: Entity, fact: Fact, share: str) -> bool:
    """Is a value of this class? A value beside which no class is named is the first class's, the fee for selling all others'."""
    text = fact.document.text
    begin, end = text.rfind("\n", 0, fact.start) + 1, text.find("\n", fact.end)
    if fact.field == "share_code":  # the letter stands right before it
        return share in _shares(fold(text[max(begin, fact.start - 6) : fact.start]))
    line = fold(text[begin : end if end >= 0 else len(text)])
    free = _shares(line, free=True)
    named = _shares(line) - free
    if named or share in free:
        return share in named
    own = _shares(fold(" ".join(name[-3:] for name in entity.names)))
    if own:
        return share in own
    return (share == "a") != (fact.field == "sales_fee")


def _shares(folded: str, *, free: bool = False) -> set[str]:
    """The classes that a text names; free: those of which it says that they pay nothing."""
    return {
        letter
        for match in SHARE.finditer(folded)
        for letter in match.groups()
        if letter and (not free or _FREE.match(folded, match.end()))
    }


_LASTING = frozenset((
    "fund_name", "fund_code", "short_name", "fund_type", "inception", "custodian", "management_company", "benchmark", "index_name",
    "holding_days", "effective_date", "record_date", "ex_date", "pay_date", "suspend_date", "resume_date", "vote_from", "vote_until",
))  # fmt: skip
"""What a day in the question does not choose between."""


def _is_before(since: int, day: Day) -> bool:
    """Did it hold on that day, or at the end of that month or year?"""
    began = datetime.fromtimestamp(since / 1000, UTC)
    year, month, number = day
    if not year:
        return True
    return (began.year, began.month, began.day) <= (year, month or 12, number or 31)


def _same_value(one: Fact, other: Fact) -> bool:
    """Do two documents state the same? Then the product's own document is the better source."""
    return fold(one.value) == fold(other.value) and fold(one.unit) == fold(other.unit)


def _newness(fact: Fact) -> tuple[Day, int, int, str]:
    return fact.day or (0, 0, 0), fact.since, fact.document.time_ms, fact.document.document


def _fits(asked: Day, day: Day) -> bool:
    return all(not part or part == other for part, other in zip(asked, day, strict=True))
