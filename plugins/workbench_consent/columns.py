"""The rule of `grants.py` over columns: a million customers in well under two seconds. Document: docs/consent.md section 5.

Nothing new is decided here. Every step names the function of `grants.py` it stands for, and a differential test holds
both together. Pure: arrays in, arrays out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from workbench.contracts import GrantQuery
from workbench.domain.intersection import KeyKind
from workbench_consent.grants import Reason
from workbench_consent.subjects import (
    Flags,
    Links,
    Relation,
    Rows,
    Subjects,
    Words,
    holds_any,
    is_named,
    meant,
    relate,
)

Texts = npt.NDArray[Any]  # Any: object arrays of str, which numpy cannot type

_RANK = 0xFFFFFFFF
_NOTHING = np.int64((int(Reason.NO_GRANT) << 32) | _RANK)


@dataclass(frozen=True, slots=True)
class Term:
    """What many grants have in common."""

    purpose: str
    recipient: str
    channel: str


@dataclass(frozen=True, slots=True)
class GrantColumns:
    """n grants; row r is record r + 1.

    term: uint16 index into the registry's terms. seq: event that brought the row. digest: (n, 32) uint8.
    withdrawn: the fold of `grants.was_withdrawn`. rank: place by (-until_ms, record): of several live grants the one
    that ends last speaks.
    """

    subjects: Subjects
    term: npt.NDArray[np.uint16]
    from_ms: Rows
    until_ms: Rows
    seq: Rows
    digest: npt.NDArray[np.uint8]
    withdrawn: Flags
    rank: Rows

    def __len__(self) -> int:
        return len(self.subjects)

    @classmethod
    def empty(cls) -> GrantColumns:
        none = np.zeros(0, np.int64)
        return cls(
            Subjects.empty(), none.astype(np.uint16), none, none, none, np.zeros((0, 32), np.uint8), none > 0, none
        )

    @classmethod
    def concatenate(cls, parts: Sequence[GrantColumns]) -> GrantColumns:
        """Grants of all parts in order, ranked anew."""
        if len(parts) == 1:
            return parts[0].ranked()
        return cls(
            Subjects.concatenate(part.subjects for part in parts),
            np.concatenate([part.term for part in parts]),
            np.concatenate([part.from_ms for part in parts]),
            np.concatenate([part.until_ms for part in parts]),
            np.concatenate([part.seq for part in parts]),
            np.concatenate([part.digest for part in parts]),
            np.concatenate([part.withdrawn for part in parts]),
            np.concatenate([part.rank for part in parts]),
        ).ranked()

    def ranked(self) -> GrantColumns:
        rank = np.empty(len(self), np.int64)
        rank[np.argsort(-self.until_ms, kind="stable")] = np.arange(len(self))
        return replace(self, rank=rank)


@dataclass(frozen=True, slots=True)
class WithdrawalColumns:
    """m withdrawals; purpose, recipient: object arrays of str, "" for every one; keeps_out: suppresses, not lifted."""

    subjects: Subjects
    seq: Rows
    purpose: Texts
    recipient: Texts
    keeps_out: Flags

    def __len__(self) -> int:
        return len(self.subjects)

    def take(self, rows: Flags | Rows) -> WithdrawalColumns:
        return WithdrawalColumns(
            self.subjects.take(rows), self.seq[rows], self.purpose[rows], self.recipient[rows], self.keeps_out[rows]
        )

    def in_force(self, purpose: str, recipient: str) -> WithdrawalColumns:
        """Those that keep people out of this purpose and recipient."""
        return self.take(
            self.keeps_out
            & ((self.purpose == "") | (self.purpose == purpose))
            & ((self.recipient == "") | (self.recipient == recipient))
        )

    @classmethod
    def empty(cls) -> WithdrawalColumns:
        none = np.zeros(0, np.int64)
        texts = np.zeros(0, object)
        return cls(Subjects.empty(), none, texts, texts, none > 0)


@dataclass(frozen=True, slots=True)
class SharedKeys:
    """Rows whose key others of the list have too, group after group, inside a group by customer_id, then row.

    starts: where each group starts in `rows`.
    """

    rows: Rows
    starts: Rows


@dataclass(frozen=True, slots=True)
class ListIndex:
    """What does not depend on grants or on the query: computed once for a list.

    phone_is_one_person: where the row's phone belongs to a single person of the list.
    """

    subjects: Subjects
    phone_is_one_person: Flags
    shared_phone: SharedKeys
    shared_id_no: SharedKeys

    def shared(self, kind: KeyKind) -> SharedKeys:
        return self.shared_phone if kind is KeyKind.PHONE else self.shared_id_no


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Row by row: reason (uint8 of `Reason`), the grant that speaks (row of GrantColumns or -1), end of the verdict."""

    reason: npt.NDArray[np.uint8]
    grant: Rows
    valid_until_ms: Rows


def index_list(subjects: Subjects, customer_ids: pl.Series) -> ListIndex:
    """Find out who shares a key. Cost: about 0.1 µs a row; sorting only where keys are shared."""
    shared_phone = _shared(subjects.phone, customer_ids)
    alone = np.ones(len(subjects), bool)
    if len(shared_phone.rows):
        # grants._persons_by_phone: rows with one identity number are one person, every row without one is another.
        numbers, starts = subjects.id_no[:, shared_phone.rows], shared_phone.starts
        one = is_named(numbers)[starts]
        for half in numbers:
            one &= np.minimum.reduceat(half, starts) == np.maximum.reduceat(half, starts)
        alone[shared_phone.rows] = np.repeat(one, np.diff(starts, append=len(shared_phone.rows)))
    return ListIndex(subjects, alone, shared_phone, _shared(subjects.id_no, customer_ids))


def fold(grants: GrantColumns, terms: Sequence[Term], withdrawals: WithdrawalColumns) -> Flags:
    """Which grants these withdrawals end (`grants.was_withdrawn`): the newest withdrawal that means them is newer."""
    ended = np.zeros(len(grants), bool)
    if not len(grants):
        return ended
    for purpose, recipient in set(zip(withdrawals.purpose.tolist(), withdrawals.recipient.tolist(), strict=True)):
        inside = [purpose in ("", term.purpose) and recipient in ("", term.recipient) for term in terms]
        rows = np.flatnonzero(np.array(inside, bool)[grants.term])
        of_scope = withdrawals.take((withdrawals.purpose == purpose) & (withdrawals.recipient == recipient))
        ended[rows] |= _newest(grants.subjects.take(rows), of_scope) > grants.seq[rows]
    return ended


def suppressed(customers: Subjects, withdrawals: WithdrawalColumns, query: GrantQuery) -> Flags:
    """`grants.is_suppressed` for every row. Cost: small while few of the list are suppressed."""
    active = withdrawals.in_force(query.purpose, query.recipient).subjects
    if query.key_kind is KeyKind.PHONE:
        return meant(customers, active) | holds_any(customers.phone, active.phone)
    return meant(customers, active)


def decide(
    index: ListIndex,
    links: Links,
    grants: GrantColumns,
    terms: Sequence[Term],
    withdrawals: WithdrawalColumns,
    query: GrantQuery,
    among: Flags | None = None,
    restrictions: WithdrawalColumns | None = None,
) -> Verdicts:
    """`grants.decide` for a whole list. links: `subjects.links_of` of the list and these grants."""
    best = _best(index, links, (_standing(grants, terms, query).astype(np.int64) << 32) | grants.rank)
    reason = (best >> 32).astype(np.uint8)
    reason[suppressed(index.subjects, withdrawals, query) & (reason != Reason.WITHDRAWN)] = Reason.SUPPRESSED
    if restrictions is not None and len(restrictions):
        held = suppressed(index.subjects, restrictions, query)
        reason[held & (reason < Reason.SUPPRESSED) & (reason != Reason.WITHDRAWN)] = Reason.RESTRICTED
    reason[~is_named(index.subjects.of(query.key_kind))] = Reason.MISSING_KEY
    grant = np.full(len(best), -1, np.int64)
    speaks = reason < Reason.NO_GRANT
    grant[speaks] = np.argsort(grants.rank)[best[speaks] & _RANK]
    until = np.zeros(len(best), np.int64)
    usable = np.flatnonzero(reason == Reason.OK)
    until[usable] = grants.until_ms[grant[usable]]
    _settle_shared_keys(index.shared(query.key_kind), reason, grant, until, among)
    return Verdicts(reason, grant, until)


def _best(index: ListIndex, links: Links, place: Rows) -> Rows:
    """The best grant of every customer: its reason in the upper and its rank in the lower 32 bits."""
    best = np.full(len(index.subjects), _NOTHING, np.int64)
    for relation in links.by_id:
        np.minimum(best, _best_of(relation, place), out=best)
    for relation in links.by_phone:
        found = _best_of(relation, place)
        unsure = ~index.phone_is_one_person & (found >> 32 == Reason.OK)
        found[unsure] |= np.int64(Reason.AMBIGUOUS_KEY) << 32
        np.minimum(best, found, out=best)
    return best


def _best_of(relation: Relation, place: Rows) -> Rows:
    groups = np.full(relation.count + 1, _NOTHING, np.int64)  # the last one is for rows without a group
    np.minimum.at(groups, relation.group, place[relation.right])
    return groups[relation.left]


def _newest(subjects: Subjects, withdrawals: WithdrawalColumns) -> Rows:
    """Number of the newest of the withdrawals that means each subject, -1 when none does."""
    has_phone, has_id = is_named(subjects.phone), is_named(subjects.id_no)
    phone, number = withdrawals.subjects.phone, withdrawals.subjects.id_no
    names_phone, names_id = is_named(phone), is_named(number)
    newest = np.full(len(subjects), -1, np.int64)
    for relation in (
        relate(subjects.id_no, has_id, number, names_id),
        relate(subjects.phone, has_phone, phone, names_phone & ~names_id),
        relate(subjects.phone, has_phone & ~has_id, phone, names_phone),
    ):
        groups = np.full(relation.count + 1, -1, np.int64)
        np.maximum.at(groups, relation.group, withdrawals.seq[relation.right])
        np.maximum(newest, groups[relation.left], out=newest)
    return newest


def _standing(grants: GrantColumns, terms: Sequence[Term], query: GrantQuery) -> npt.NDArray[np.uint8]:
    """`grants.standing` of every grant."""
    table = np.full(max(len(terms), 1), Reason.NO_GRANT, np.uint8)
    for number, term in enumerate(terms):
        if term.purpose == query.purpose:
            table[number] = Reason.OK if term.recipient == query.recipient else Reason.RECIPIENT_MISMATCH
        elif term.recipient == query.recipient:
            table[number] = Reason.PURPOSE_MISMATCH
    result = table[grants.term]
    fits = result == Reason.OK
    result[fits & (query.at_ms >= grants.until_ms)] = Reason.EXPIRED
    result[fits & (query.at_ms < grants.from_ms)] = Reason.NOT_YET_VALID
    result[grants.withdrawn] = Reason.NO_GRANT
    result[grants.withdrawn & fits] = Reason.WITHDRAWN
    return result


def _settle_shared_keys(
    shared: SharedKeys, reason: npt.NDArray[np.uint8], grant: Rows, until: Rows, among: Flags | None
) -> None:
    """`grants._settle_shared_keys`, in place."""
    if not len(shared.rows):
        return
    sizes = np.diff(shared.starts, append=len(shared.rows))
    worst = np.maximum.reduceat(reason[shared.rows], shared.starts)
    ends = np.minimum.reduceat(until[shared.rows], shared.starts)
    all_live = worst == Reason.OK
    verdict = np.repeat(np.where(all_live, Reason.DUPLICATE_KEY, Reason.AMBIGUOUS_KEY), sizes)
    place = np.arange(len(shared.rows))
    if among is not None:
        place = np.where(among[shared.rows], place, place + len(place))
    firsts = shared.rows[np.minimum.reduceat(place, shared.starts) % len(place)]
    kept = grant[firsts]
    reason[shared.rows] = verdict
    grant[shared.rows] = -1
    until[shared.rows] = 0
    counted = firsts[all_live]
    reason[counted] = Reason.OK
    grant[counted] = kept[all_live]
    until[counted] = ends[all_live]


def _shared(column: Words, customer_ids: pl.Series) -> SharedKeys:
    # The first half of the token sieves, so that only the few candidates are grouped by the whole token.
    sieve = pl.Series(column[0]).is_duplicated().to_numpy() & is_named(column)
    rows = np.flatnonzero(sieve)
    frame = pl.DataFrame(
        {"high": column[0][rows], "low": column[1][rows], "row": rows, "customer_id": customer_ids.gather(rows)}
    ).sort("high", "low", "customer_id", "row")
    frame = frame.filter(pl.struct("high", "low").is_duplicated())
    high, low = frame["high"].to_numpy(), frame["low"].to_numpy()
    changes = np.ones(len(high), bool)
    changes[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    return SharedKeys(frame["row"].to_numpy(), np.flatnonzero(changes))
