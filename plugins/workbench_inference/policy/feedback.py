"""What people think of answers, by scenario, template and model: the ground on which a trial is widened (row J20). Counts and reasons only."""

from __future__ import annotations

from dataclasses import dataclass

from workbench_inference.policy.redaction import KnownNames, redact
from workbench_inference.policy.tables import Reader

MOST_REASONS = 50


@dataclass(frozen=True, slots=True)
class Opinion:
    """asked, answered, abstained, refused: questions; up, down: ratings. reasons: newest first, with identifiers as labels."""

    scenario: str
    template: str
    model: str
    asked: int
    answered: int
    abstained: int
    refused: int
    up: int
    down: int
    reasons: tuple[tuple[str, str], ...]


def report(reader: Reader, known: KnownNames, *, from_ms: int, until_ms: int) -> list[Opinion]:
    """Of questions asked in [from_ms, until_ms), most asked first. reasons: (rating, text)."""
    rows = reader.execute(
        "SELECT scenario, template, model, count(*), sum(state = 'ANSWERED'), sum(state = 'ABSTAINED'), sum(state = 'REFUSED'), sum(rating = 'up'), sum(rating = 'down')"
        " FROM inference_ask WHERE asked_ms >= ? AND asked_ms < ? GROUP BY scenario, template, model ORDER BY count(*) DESC, scenario, template, model",
        (from_ms, until_ms),
    ).fetchall()
    made = []
    for scenario, template, model, *counts in rows:
        asked, answered, abstained, refused, up, down = (int(one or 0) for one in counts)
        reasons = _reasons(reader, known, scenario, template, model, from_ms, until_ms)
        made.append(Opinion(scenario, template, model, asked, answered, abstained, refused, up, down, reasons))
    return made


def _reasons(reader: Reader, known: KnownNames, scenario: str, template: str, model: str, from_ms: int, until_ms: int) -> tuple[tuple[str, str], ...]:
    rows = reader.execute(
        "SELECT rating, reason FROM inference_ask WHERE scenario = ? AND template = ? AND model = ? AND reason <> '' AND asked_ms >= ? AND asked_ms < ?"
        " ORDER BY asked_ms DESC LIMIT ?",
        (scenario, template, model, from_ms, until_ms, MOST_REASONS),
    ).fetchall()
    return tuple((str(row[0]), redact(str(row[1]), known).text) for row in rows)


__all__ = ["MOST_REASONS", "Opinion", "report"]
