"""From a list to the input of one attempt, and from its outcome to the target list. Pure: frames in, frames out.

A million customers wait in here for minutes while the engine works, so what is kept is small: keys as one block of bytes,
rows compressed.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np
import polars as pl

from workbench.contracts import ConsentDecision, IntersectionOutcome
from workbench.domain.intersection import KeyKind
from workbench.errors import Refused
from workbench.flows import waterfall
from workbench.intake import parse_audience

CORE_COLUMNS = ("customer_id", "phone", "id_no", "name", "risk_level")


class Keys(Sequence[bytes]):
    """Normalised keys of one length as rows of one array: 11 bytes a phone, where a list of bytes takes 60.

    rows: (n, width) uint8.
    """

    def __init__(self, rows: np.ndarray) -> None:
        self._rows = rows

    def __repr__(self) -> str:
        return f"Keys({len(self)})"

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> bytes: ...

    @overload
    def __getitem__(self, place: slice) -> list[bytes]: ...

    def __getitem__(self, place: int | slice) -> bytes | list[bytes]:
        if isinstance(place, slice):
            return _listed(self._rows[place])
        return bytes(self._rows[place])

    def take(self, rows: np.ndarray) -> list[bytes]:
        """The keys of these rows, int64 (m), in this order."""
        return _listed(self._rows[rows])

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self), _BLOCK_KEYS):
            yield from _listed(self._rows[start : start + _BLOCK_KEYS])


_BLOCK_KEYS = 1 << 16


@dataclass(frozen=True, slots=True)
class Inputs:
    """Customers who may take part, in the order in which the engine gets them.

    rows: int64 (n), where each of them stands in its list. decision_digests: (n, 32) grant digests. valid_until_ms:
    int64 (n). as_of: newest consent event considered. audience: the rule in its one spelling. in_audience: how many fit
    it, and usable: which of those, in the order of the list, take part.
    """

    rows: np.ndarray
    decision_digests: np.ndarray = field(repr=False)
    valid_until_ms: np.ndarray
    as_of: int
    audience: str
    list_name: str
    kind: KeyKind
    reasons: Mapping[str, int]
    waterfall: list[dict[str, Any]]
    usable: np.ndarray = field(repr=False)
    _reason: np.ndarray = field(repr=False)
    _frame: pl.DataFrame | bytes = field(repr=False)

    @property
    def size(self) -> int:
        return len(self.rows)

    @property
    def frame(self) -> pl.DataFrame:
        """Their rows; unpacked anew each time once `compressed`."""
        return self._frame if isinstance(self._frame, pl.DataFrame) else pl.read_ipc(io.BytesIO(self._frame))

    @property
    def identifiers(self) -> Sequence[bytes]:
        """n distinct normalised keys; made anew each time."""
        return _keys(self.frame[self.kind.value])

    @property
    def selection(self) -> ConsentDecision:
        """The registry's decision on the audience alone, in the order of the list: a snapshot is made of it.

        Not to be asked for once `packed`.
        """
        if self.usable.all():
            return ConsentDecision(
                self.usable, self._reason, self.decision_digests, self.valid_until_ms, self.as_of, dict(self.reasons)
            )
        digests = np.zeros((len(self.usable), 32), np.uint8)
        digests[self.usable] = self.decision_digests
        until = np.zeros(len(self.usable), np.int64)
        until[self.usable] = self.valid_until_ms
        return ConsentDecision(self.usable, self._reason, digests, until, self.as_of, dict(self.reasons))

    def compressed(self) -> Inputs:
        """The same customers with their rows compressed: 15 MB instead of 90 for a million with one key."""
        if isinstance(self._frame, bytes):
            return self
        buffer = io.BytesIO()
        self._frame.write_ipc(buffer, compression="zstd", record_batch_size=_BLOCK_KEYS)
        return replace(self, _frame=buffer.getvalue())

    def packed(self) -> Inputs:
        """The same customers for the time the engine works: rows compressed, and nothing that only its start needs."""
        if isinstance(self._frame, bytes) and not len(self._reason):
            return self
        nothing = np.empty(0, object)
        return replace(
            self.compressed(), decision_digests=np.empty((0, 32), np.uint8), usable=nothing, _reason=nothing
        )


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
    usable = everyone.usable[chosen]
    rows = chosen[usable]
    everybody = len(rows) == frame.height  # then a copy would only cost memory
    reason = everyone.reason[chosen]
    reasons = _counts(reason[~usable])
    return Inputs(
        rows=rows,
        decision_digests=everyone.grant_digest if everybody else everyone.grant_digest[rows],
        valid_until_ms=everyone.valid_until_ms if everybody else everyone.valid_until_ms[rows],
        as_of=everyone.as_of,
        audience=audience.canonical if audience else "",
        list_name=list_name,
        kind=kind,
        reasons=reasons,
        waterfall=waterfall.before_run(frame.height, len(chosen), len(rows), reasons),
        usable=usable,
        _reason=reason,
        _frame=frame if everybody else frame[rows],
    )


def _counts(reasons: np.ndarray) -> dict[str, int]:
    """Reason -> customers, in the order of the names."""
    names, numbers = np.unique(reasons.astype(str), return_counts=True)
    return {str(name): int(number) for name, number in zip(names, numbers, strict=True)}


def _keys(column: pl.Series) -> Sequence[bytes]:
    """The keys of a column without nulls."""
    lengths = column.str.len_bytes()
    width = int(lengths[0]) if len(column) else 0
    if not width or not bool((lengths == width).all()):
        return [text.encode("ascii") for text in column.to_list()]
    rows = np.empty((len(column), width), np.uint8)
    for start in range(0, len(column), _BLOCK_KEYS):
        part = "".join(column[start : start + _BLOCK_KEYS].to_list()).encode("ascii")
        rows[start : start + _BLOCK_KEYS] = np.frombuffer(part, np.uint8).reshape(-1, width)
    return Keys(rows)


def _listed(rows: np.ndarray) -> list[bytes]:
    listed: list[bytes] = np.ascontiguousarray(rows).view(f"V{rows.shape[1]}").ravel().tolist()
    return listed


def released_frame(inputs: Inputs, outcome: IntersectionOutcome, *, columns: Sequence[str]) -> pl.DataFrame:
    """The target list: customer_id, the key, risk_level and the columns asked for; sorted by the key (row B12)."""
    frame = inputs.frame
    unknown = [name for name in columns if name not in frame.columns]
    if unknown:
        raise Refused(
            f"名单里没有这些列：{'、'.join(unknown)}", f"The list has no such columns: {', '.join(unknown)}",
            code="UNKNOWN_COLUMN",
        )  # fmt: skip
    wanted = dict.fromkeys(["customer_id", inputs.kind.value, "risk_level", *columns])
    hits = frame[outcome.hits]
    until = pl.Series("grant_until_ms", inputs.valid_until_ms[outcome.hits])
    target: pl.DataFrame = hits.select(list(wanted)).with_columns(until).sort(inputs.kind.value)
    return target

