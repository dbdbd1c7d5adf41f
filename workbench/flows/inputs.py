"""From a list to the input of one attempt, and from its outcome to the target list. Pure: frames in, frames out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from workbench.contracts import ConsentDecision, IntersectionOutcome
from workbench.domain.intersection import KeyKind
from workbench.errors import Refused
from workbench.flows import waterfall
from workbench.intake import parse_audience

CORE_COLUMNS = ("customer_id", "phone", "id_no", "name", "risk_level")


@dataclass(frozen=True, slots=True)
class Inputs:
    """Customers who may take part, in the order in which the engine gets them.

    frame: their rows. identifiers: n distinct normalised keys. decision_digests: (n, 32) grant digests.
    valid_until_ms: int64 (n). as_of: newest consent event considered. audience: the rule in its one spelling.
    rows: int64 (n), where each of them stands in its list. selection: the registry's decision on the audience alone,
    in the order of the list; a snapshot is made of it.
    """

    frame: pl.DataFrame
    rows: np.ndarray
    identifiers: list[bytes] = field(repr=False)
    decision_digests: np.ndarray
    valid_until_ms: np.ndarray
    as_of: int
    audience: str
    list_name: str
    kind: KeyKind
    reasons: Mapping[str, int]
    waterfall: list[dict[str, Any]]
    selection: ConsentDecision = field(repr=False)

    @property
    def size(self) -> int:
        return self.frame.height


def choose_inputs(
    frame: pl.DataFrame,
    *,
    list_name: str,
    rule: str,
    kind: KeyKind,
    decide: Callable[[pl.DataFrame], ConsentDecision],
) -> Inputs:
    """Apply the audience rule and consent; Refused EMPTY_AUDIENCE when the rule fits nobody.

    `decide` is asked about the whole list, because a key that somebody outside the audience shares must not pass for
    the key of one person (decision 16).
    """
    audience = parse_audience(rule) if rule.strip() else None
    in_audience = audience.select(frame).to_numpy() if audience else np.ones(frame.height, bool)
    chosen = np.flatnonzero(in_audience)
    if not len(chosen):
        raise Refused(
            "没有客户符合这条受众规则。放宽规则后重试",
            "No customer fits this audience rule. Widen the rule and try again",
            code="EMPTY_AUDIENCE",
        )
    everyone = decide(frame)
    selection = _only(everyone, chosen)
    rows = chosen[selection.usable]
    usable = frame[rows]
    return Inputs(
        frame=usable,
        rows=rows,
        identifiers=[text.encode("ascii") for text in usable[kind.value].to_list()],
        decision_digests=selection.grant_digest[selection.usable],
        valid_until_ms=selection.valid_until_ms[selection.usable],
        as_of=selection.as_of,
        audience=audience.canonical if audience else "",
        list_name=list_name,
        kind=kind,
        reasons=dict(sorted(selection.counts.items())),
        waterfall=waterfall.before_run(frame.height, len(chosen), len(rows), selection.counts),
        selection=selection,
    )


def _only(decision: ConsentDecision, rows: np.ndarray) -> ConsentDecision:
    """The decision on some rows of a list; its counts leave out those who may be used."""
    usable = decision.usable[rows]
    reasons, numbers = np.unique(decision.reason[rows][~usable].astype(str), return_counts=True)
    return ConsentDecision(
        usable=usable,
        reason=decision.reason[rows],
        grant_digest=decision.grant_digest[rows],
        valid_until_ms=decision.valid_until_ms[rows],
        as_of=decision.as_of,
        counts={str(name): int(number) for name, number in zip(reasons, numbers, strict=True)},
    )


def released_frame(inputs: Inputs, outcome: IntersectionOutcome, *, columns: Sequence[str]) -> pl.DataFrame:
    """The target list: customer_id, the key, risk_level and the columns asked for; sorted by the key (row B12)."""
    unknown = [name for name in columns if name not in inputs.frame.columns]
    if unknown:
        raise Refused(
            f"名单里没有这些列：{'、'.join(unknown)}", f"The list has no such columns: {', '.join(unknown)}",
            code="UNKNOWN_COLUMN",
        )  # fmt: skip
    wanted = dict.fromkeys(["customer_id", inputs.kind.value, "risk_level", *columns])
    hits = inputs.frame[outcome.hits.tolist()]
    until = pl.Series("grant_until_ms", inputs.valid_until_ms[outcome.hits])
    target: pl.DataFrame = hits.select(list(wanted)).with_columns(until).sort(inputs.kind.value)
    return target

