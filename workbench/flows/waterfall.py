"""The waterfall of an intersection: how many customers each step kept, and why the others left. Always adds up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.contracts import IntersectionOutcome

Row = dict[str, Any]


def row(code: str, zh: str, en: str, *, kept: int, removed: int, reasons: Mapping[str, int] | None = None) -> Row:
    """One step: customers kept after it, removed by it, and reason codes with counts that sum to `removed`."""
    if reasons and sum(reasons.values()) != removed:
        raise ValueError(f"the reasons of step {code} do not add up")
    return {"code": code, "zh": zh, "en": en, "kept": kept, "removed": removed, "reasons": dict(reasons or {})}


def before_run(total: int, chosen: int, usable: int, reasons: Mapping[str, int]) -> list[Row]:
    """Imported, chosen by the audience rule, usable by consent."""
    return [
        row("imported", "导入名单", "imported", kept=total, removed=0),
        row("audience", "受众规则", "audience rule", kept=chosen, removed=total - chosen),
        row("consent", "授权", "consent", kept=usable, removed=chosen - usable, reasons=reasons),
    ]


def with_outcome(rows: Sequence[Row], outcome: IntersectionOutcome) -> list[Row]:
    """Add matching and the checks before release; only called when the floor was reached."""
    usable = rows[-1]["kept"]
    released = int(outcome.hits.size)
    removed = outcome.cardinality - released
    return [
        *rows,
        row("matched", "双方都认得", "known to both", kept=outcome.cardinality, removed=usable - outcome.cardinality),
        row("recheck", "放行前复核", "check before release", kept=released, removed=removed),
    ]
