"""Which value of a field holds: the newest that is in force, or that of the day asked for. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from workbench_sandbox.corpus.text import fold
from workbench_sandbox.engines.extractive.facts import Day, Fact, is_stated
from workbench_sandbox.engines.extractive.naming import Entity
from workbench_sandbox.engines.extractive.vocabulary import FIELDS


def choose(entity: Entity, field: str, days: Sequence[Day], *, now_ms: int, about: str = "") -> Fact | None:
    """The value of a field; None where the documents do not say.

    days: of which day, as far as the question says. about: a field that the same announcement must have changed.
    """
    facts = [fact for fact in entity.facts if fact.field == field]
    if about:
        changed = {id(fact.document) for fact in entity.facts if fact.field == f"old_{about}"}
        facts = [fact for fact in facts if id(fact.document) in changed] or facts
    daily = field in FIELDS and FIELDS[field].daily
    if daily and days:
        facts = [fact for fact in facts if fact.day and any(_fits(day, fact.day) for day in days)]
    elif daily:
        dated = [fact for fact in facts if fact.day]
        facts = dated or facts
    elif days and not now_ms:
        pass
    in_force = [fact for fact in facts if fact.since <= now_ms] if now_ms else facts
    candidates = in_force or facts
    if not candidates:
        return None
    trusted = [fact for fact in candidates if is_stated(fact.document)] or candidates
    newest = max(trusted, key=_newness)
    same = [fact for fact in trusted if fact.day == newest.day and _same_value(fact, newest)]
    return max(same, key=lambda fact: (fact.document.kind == "fund", _newness(fact)))


def _same_value(one: Fact, other: Fact) -> bool:
    """Do two documents state the same? Then the product's own document is the better source."""
    return fold(one.value) == fold(other.value) and fold(one.unit) == fold(other.unit)


def _newness(fact: Fact) -> tuple[Day, int, int, str]:
    return fact.day or (0, 0, 0), fact.since, fact.document.time_ms, fact.document.document


def _fits(asked: Day, day: Day) -> bool:
    return all(not part or part == other for part, other in zip(asked, day, strict=True))
