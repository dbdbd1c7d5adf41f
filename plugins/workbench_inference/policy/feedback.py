"""What people think of answers, by scenario, template and model: the ground on which a trial is widened (row J20). Counts and reasons only."""

from __future__ import annotations

from collections.abc import Sequence
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


def refusals(reader: Reader, *, from_ms: int, until_ms: int) -> dict[str, int]:
    """Code -> questions that were taken in and then refused, or whose answer was."""
    rows = reader.execute(
        "SELECT code, count(*) FROM inference_ask WHERE state = 'REFUSED' AND asked_ms >= ? AND asked_ms < ? GROUP BY code ORDER BY code", (from_ms, until_ms)
    ).fetchall()
    return {str(code): int(count) for code, count in rows}


def refused_before(reader: Reader, *, from_ms: int, until_ms: int) -> int:
    """Questions that a rule stopped before anything was sent; their codes are committed in the entries."""
    row = reader.execute("SELECT count(*) FROM evidence_index WHERE kind = 'inference.ask_refused' AND time_ms >= ? AND time_ms < ?", (from_ms, until_ms)).fetchone()
    return int(row[0])


def p95_of(reader: Reader, *, from_ms: int, until_ms: int) -> int:
    """Milliseconds from asking to the end that 95 of 100 answers did not exceed; 0 for none."""
    rows = reader.execute(
        "SELECT ended_ms - asked_ms FROM inference_ask WHERE state IN ('ANSWERED', 'ABSTAINED') AND asked_ms >= ? AND asked_ms < ?", (from_ms, until_ms)
    ).fetchall()
    return p95([int(row[0]) for row in rows])


def p95(values: Sequence[int]) -> int:
    """The least value that 95 of 100 do not exceed; 0 for none."""
    return sorted(values)[-(-len(values) * 95 // 100) - 1] if values else 0


__all__ = ["MOST_REASONS", "Opinion", "p95", "p95_of", "refusals", "refused_before", "report"]
