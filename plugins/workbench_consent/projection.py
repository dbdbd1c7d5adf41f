"""What the registry keeps in memory: the fold over its events as columns, and what it found out about lists.

Document: docs/consent.md section 6. The state is stamped with the number of the newest event it contains; a state is
never changed, a newer one takes its place. Identifiers in clear are not kept: a list is recognised by a keyed digest.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

import polars as pl

from workbench.contracts import Store
from workbench_consent import tables
from workbench_consent.columns import (
    GrantColumns,
    ListIndex,
    Term,
    WithdrawalColumns,
    birth_days,
    fold,
    index_list,
)
from workbench_consent.list_tokens import ListTokens
from workbench_consent.rows import columns_of
from workbench_consent.subjects import Links, is_named, links_of

CACHED_LISTS = 4
LARGE_ROWS = 1 << 18
"""From here on memory counts more than the second it takes to read or match again."""


@dataclass(frozen=True, slots=True)
class State:
    """Grants and withdrawals up to and including event `seq`."""

    seq: int
    terms: tuple[Term, ...]
    grants: GrantColumns
    withdrawals: WithdrawalColumns
    erasure: int = 0
    """Number of the newest event that erased grants."""


_NOTHING = State(0, (), GrantColumns.empty(), WithdrawalColumns.empty())


class Projection:
    """The newest state, read from the store when it has moved on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._state = _NOTHING

    def forget_large(self) -> None:
        """Give the memory back until somebody asks again; nothing happens while somebody does."""
        if self._lock.acquire(blocking=False):
            if len(self._state.grants) >= LARGE_ROWS:
                self._state = _NOTHING
            self._lock.release()

    def state(self) -> State:
        """The state as of now. Cost: nothing when nothing happened; 20 ms after a withdrawal; 1 s per 10^6 new grants."""
        with self._lock, self._store.read() as reader:
            if tables.newest_event(reader) != self._state.seq:
                self._state = self._follow(self._state, reader)
            return self._state

    def _follow(self, old: State, reader: tables.Reader) -> State:
        terms = tables.terms(reader)
        erasure = tables.newest_erasure(reader)
        if erasure > old.erasure:
            old = _NOTHING  # rows known here are gone: read everything again
        added = [columns_of(chunk, len(terms)) for chunk in tables.chunks(reader, after=len(old.grants))]
        grants = GrantColumns.concatenate([old.grants, *added]) if added else old.grants
        withdrawals = tables.withdrawals(reader)
        # A withdrawal ends grants of earlier events only, so the old ones have nothing to say about new grants.
        ended = fold(grants, terms, withdrawals.take(withdrawals.seq > old.seq))
        # An erased grant names nobody and must never speak again.
        erased = ~(is_named(grants.subjects.phone) | is_named(grants.subjects.id_no))
        grants = replace(grants, withdrawn=grants.withdrawn | ended | erased)
        return State(tables.newest_event(reader), terms, grants, withdrawals, erasure)


@dataclass(slots=True)
class KnownList:
    """A list as tokens, with the grants that fit it as of `grants`: how many records, and the newest erasure."""

    index: ListIndex
    links: Links
    grants: tuple[int, int]


class KnownLists:
    """Tokens and matches of the lists used last, so that only the first decision on a list pays for them."""

    def __init__(self, tokens: ListTokens) -> None:
        self._tokens = tokens
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, KnownList] = OrderedDict()

    def __repr__(self) -> str:
        return f"KnownLists({len(self._known)})"

    def find(self, customers: pl.DataFrame, state: State) -> KnownList:
        """Index and links of this list for this state.

        Cost for 10^6 rows: 1.0 s the first time where the tokens were made at import, one more where not; 0.4 s after
        an import of grants, then 0.1 s.
        """
        name = self._tokens.digest(customers)
        with self._lock:
            known = self._known.get(name)
            stamp = (len(state.grants), state.erasure)
            if known is None or known.grants != stamp:
                index = known.index if known else self._index(customers, name)
                known = KnownList(index, links_of(index.subjects, state.grants.subjects), stamp)
                self._known[name] = known
            self._known.move_to_end(name)
            while len(self._known) > CACHED_LISTS:
                self._known.popitem(last=False)
            return known

    def forget_large(self) -> None:
        """Keep nothing of large lists: their tokens lie in the vault."""
        if self._lock.acquire(blocking=False):
            for name in [name for name, known in self._known.items() if len(known.index.subjects) >= LARGE_ROWS]:
                del self._known[name]
            self._lock.release()

    def _index(self, customers: pl.DataFrame, name: bytes) -> ListIndex:
        subjects = self._tokens.stored(name) or self._tokens.make(customers)
        return index_list(subjects, customers["customer_id"], birth_days(customers["id_no"]))
