"""Which value of a field holds: the newest that is in force, or that of the day asked for. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from workbench_sandbox.corpus.text import fold
from workbench_sandbox.engines.extractive.facts import Day, Fact, is_stated
from workbench_sandbox.engines.extractive.naming import Entity
from workbench_sandbox.engines.extractive.vocabulary import ENTITY_KINDS, FIELDS


def choose(entity: Entity, field: str, days: Sequence[Day], *, now_ms: int, about: str = "") -> Fact | None:
    """The value of a field; None where the documents do not say.

    days: of which day, as far as the question says; of what belongs to no day, what held then.
    about: a field that the same announcement must have changed.
    """
    facts = [fact for fact in entity.facts if fact.field == field and (field in ENTITY_KINDS or is_stated(fact.document))]
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
    return max(same, key=lambda fact: (fact.document.kind == "fund", _newness(fact)))


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
