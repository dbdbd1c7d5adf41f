"""The decision about one customer in well under a millisecond, whatever the registry holds. Document: docs/consent.md section 5.

The slow rule itself decides (`grants.decide`), over the few grants and withdrawals that can concern the person: an index by
token finds them. So one customer is never judged by other rules than a list.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.contracts import GrantQuery
from workbench_consent.grants import Customer, Grant, Reason, StaleSince, Subject, Verdict, Withdrawal, decide
from workbench_consent.projection import State
from workbench_consent.subjects import Flags, Rows, Words, token_at


@dataclass(frozen=True, slots=True)
class _Index:
    """Rows in the order of the first half of their tokens."""

    stamp: tuple[int, int]
    phone: Rows
    id_no: Rows


class SingleDecisions:
    """Keeps the index of the newest state; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._index: _Index | None = None

    def forget(self) -> None:
        """Give the memory back (16 bytes a grant)."""
        with self._lock:
            self._index = None

    def rows_of(self, state: State, subject: Subject) -> list[int]:
        """Rows of grants that name one of the person's tokens, ascending. Cost: 0.2 s per 10^6 the first time, then 20 µs."""
        with self._lock:
            stamp = (len(state.grants), state.erasure)
            if self._index is None or self._index.stamp != stamp:
                held = state.grants.subjects
                self._index = _Index(stamp, np.argsort(held.phone[0], kind="stable"), np.argsort(held.id_no[0], kind="stable"))
            index = self._index
        held = state.grants.subjects
        found = {*_equal(held.phone, index.phone, subject.phone), *_equal(held.id_no, index.id_no, subject.id_no)}
        return sorted(found)

    def decide(
        self,
        state: State,
        customer: Customer,
        query: GrantQuery,
        *,
        stale: StaleSince,
        used_up: Flags | None,
        refusals: Sequence[tuple[Reason, Sequence[Sequence[Withdrawal]]]],
        restrictions: Sequence[Withdrawal] = (),
    ) -> Verdict:
        """The verdict about one customer whose keys nobody else is known to share."""
        rows = self.rows_of(state, customer.subject)
        return decide(
            [customer], [_grant(state, row) for row in rows], _withdrawals(state, rows, customer.subject), query,
            restrictions=restrictions, stale=stale,
            used_up={row + 1 for row in rows if used_up is not None and used_up[row]},
            refusals=refusals,
        )[0]  # fmt: skip


def _equal(words: Words, order: Rows, token: bytes | None) -> list[int]:
    if token is None or not len(order):
        return []
    high, low = np.frombuffer(token, "<u8")
    first = int(np.searchsorted(words[0], high, sorter=order, side="left"))
    stop = int(np.searchsorted(words[0], high, sorter=order, side="right"))
    rows = order[first:stop]
    found: list[int] = rows[words[1][rows] == low].tolist()
    return found


def _grant(state: State, row: int) -> Grant:
    grants = state.grants
    term = state.terms[int(grants.term[row])]
    subject = Subject(token_at(grants.subjects.phone, row), token_at(grants.subjects.id_no, row))
    return Grant(
        row + 1, int(grants.seq[row]), subject, term.purpose, term.recipient, int(grants.from_ms[row]), int(grants.until_ms[row]),
        grants.digest[row].tobytes(), term.channel, term.conditions,
    )  # fmt: skip


def _withdrawals(state: State, rows: Sequence[int], subject: Subject) -> list[Withdrawal]:
    """Those that name a token of the person, or of a form of the person: a withdrawal may mean a form by its other token."""
    forms = state.grants.subjects.take(np.array(rows, np.int64))
    phones = {subject.phone, *(token_at(forms.phone, at) for at in range(len(rows)))} - {None}
    numbers = {subject.id_no, *(token_at(forms.id_no, at) for at in range(len(rows)))} - {None}
    held = state.withdrawals
    chosen = np.flatnonzero(_named(held.subjects.phone, phones) | _named(held.subjects.id_no, numbers))
    return [
        Withdrawal(
            int(held.seq[at]), Subject(token_at(held.subjects.phone, at), token_at(held.subjects.id_no, at)), held.purpose[at],
            held.recipient[at], bool(held.keeps_out[at]),
        )
        for at in chosen.tolist()
    ]  # fmt: skip


def _named(words: Words, tokens: set[bytes | None]) -> Flags:
    found = np.zeros(words.shape[1], bool)
    for token in tokens:
        high, low = np.frombuffer(token or b"", "<u8")
        found |= (words[0] == high) & (words[1] == low)
    return found


__all__ = ["SingleDecisions"]
