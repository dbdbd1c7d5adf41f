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
from workbench_consent.grants import GUARDIAN_SIGNER, PLAIN, Conditions, Reason, StaleSince, scope_reason, stale_from
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

Days = npt.NDArray[np.int32]
Refusals = Sequence[tuple[Reason, Sequence["WithdrawalColumns"]]]
Texts = npt.NDArray[Any]  # Any: object arrays of str, which numpy cannot type

_RANK = 0xFFFFFFFF
_NOTHING = np.int64((int(Reason.NO_GRANT) << 32) | _RANK)


@dataclass(frozen=True, slots=True)
class Term:
    """What many grants have in common."""

    purpose: str
    recipient: str
    channel: str
    conditions: Conditions = PLAIN


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

    phone_is_one_person: where the row's phone belongs to a single person of the list. born: (n) int32, day of birth as
    yyyymmdd, 0 when not known; None when nobody's is.
    """

    subjects: Subjects
    phone_is_one_person: Flags
    shared_phone: SharedKeys
    shared_id_no: SharedKeys
    born: Days | None = None

    def shared(self, kind: KeyKind) -> SharedKeys:
        return self.shared_phone if kind is KeyKind.PHONE else self.shared_id_no


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Row by row: reason (uint8 of `Reason`), the grant that speaks (row of GrantColumns or -1), end of the verdict."""

    reason: npt.NDArray[np.uint8]
    grant: Rows
    valid_until_ms: Rows


def index_list(subjects: Subjects, customer_ids: pl.Series, born: Days | None = None) -> ListIndex:
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
    return ListIndex(subjects, alone, shared_phone, _shared(subjects.id_no, customer_ids), born)


def birth_days(id_nos: pl.Series) -> Days:
    """Days of birth as yyyymmdd from normalised identity numbers, 0 where there is none. Cost: 40 ns a row."""
    return id_nos.str.slice(6, 8).cast(pl.Int32, strict=False).fill_null(0).to_numpy()


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
    *,
    stale: StaleSince | None = None,
    used_up: Flags | None = None,
    refusals: Refusals = (),
) -> Verdicts:
    """`grants.decide` for a whole list. links: `subjects.links_of` of the list and these grants; used_up: (grants) flags."""
    standings = _standing(grants, terms, query, stale or {}, used_up)
    best = _best(index, links, grants, terms, (standings.astype(np.int64) << 32) | grants.rank)
    reason = (best >> 32).astype(np.uint8)
    reason[suppressed(index.subjects, withdrawals, query) & (reason != Reason.WITHDRAWN)] = Reason.SUPPRESSED
    if restrictions is not None and len(restrictions):
        held = suppressed(index.subjects, restrictions, query)
        reason[held & (reason < Reason.SUPPRESSED) & (reason != Reason.WITHDRAWN)] = Reason.RESTRICTED
    for why, groups in refusals:
        if groups and all(len(group) for group in groups):
            out = reason == Reason.OK
            for group in groups:
                out &= suppressed(index.subjects, group, query)
            reason[out] = why
    reason[~is_named(index.subjects.of(query.key_kind))] = Reason.MISSING_KEY
    grant = np.full(len(best), -1, np.int64)
    speaks = reason < Reason.NO_GRANT
    grant[speaks] = np.argsort(grants.rank)[best[speaks] & _RANK]
    until = np.zeros(len(best), np.int64)
    usable = np.flatnonzero(reason == Reason.OK)
    until[usable] = grants.until_ms[grant[usable]]
    ends = _stale_ends(terms, query, stale or {})
    if ends is not None:
        until[usable] = np.minimum(until[usable], ends[grants.term[grant[usable]]])
    _settle_shared_keys(index.shared(query.key_kind), reason, grant, until, among)
    return Verdicts(reason, grant, until)


def _best(index: ListIndex, links: Links, grants: GrantColumns, terms: Sequence[Term], place: Rows) -> Rows:
    """The best grant of every customer: its reason in the upper and its rank in the lower 32 bits."""
    best = np.full(len(index.subjects), _NOTHING, np.int64)
    young = _Young.of(index, grants, terms, place)
    for relation in links.by_id:
        np.minimum(best, _best_of(relation, place, young), out=best)
    for relation in links.by_phone:
        found = _best_of(relation, place, young)
        unsure = ~index.phone_is_one_person & (found >> 32 == Reason.OK)
        found[unsure] |= np.int64(Reason.AMBIGUOUS_KEY) << 32
        np.minimum(best, found, out=best)
    return best


def _best_of(relation: Relation, place: Rows, young: _Young | None) -> Rows:
    groups = np.full(relation.count + 1, _NOTHING, np.int64)  # the last one is for rows without a group
    np.minimum.at(groups, relation.group, place[relation.right])
    found = groups[relation.left]
    if young is not None:
        young.judge(relation, place, found)
    return found


@dataclass(frozen=True, slots=True)
class _Young:
    """Customers who were under 14 when some grant without a guardian began: the rule depends on the pair for them alone.

    rows: of the list; last_day: their last day under 14; alone: (grants) live and signed by no guardian; day: (grants) day
    it began, yyyymmdd.
    """

    rows: Rows
    last_day: Rows
    alone: Flags
    day: Rows

    @classmethod
    def of(cls, index: ListIndex, grants: GrantColumns, terms: Sequence[Term], place: Rows) -> _Young | None:
        if index.born is None or not len(grants):
            return None
        unguarded = np.array([term.conditions.signer != GUARDIAN_SIGNER for term in terms], bool)[grants.term]
        alone = unguarded & (place >> 32 == Reason.OK)
        if not alone.any():
            return None
        first = int(days_of(grants.from_ms[alone].min(keepdims=True))[0])
        rows = np.flatnonzero((index.born != 0) & (index.born >= first - 140_000))
        if not len(rows):
            return None
        return cls(rows, index.born[rows].astype(np.int64) + 140_000, alone, days_of(grants.from_ms))

    def judge(self, relation: Relation, place: Rows, found: Rows) -> None:
        """Put the pairwise verdict of the young into `found`: `grants._lacks_guardian`.

        Per group the unguarded grants are ordered by the day they began, newest first, with the best so far: what began
        after a customer's last day under 14 counts as it is, the rest at best as GUARDIAN. No pairs are made.
        """
        groups = relation.left[self.rows]
        rows, last_day, groups = self.rows[groups >= 0], self.last_day[groups >= 0], groups[groups >= 0]
        if not len(rows):
            return
        wanted, numbered = np.unique(groups, return_inverse=True)
        at = np.minimum(np.searchsorted(wanted, relation.group), len(wanted) - 1)
        inside = wanted[at] == relation.group
        grant, group = relation.right[inside], at[inside]
        alone = self.alone[grant]
        softened = place[grant] | np.where(alone, np.int64(Reason.GUARDIAN) << 32, 0)
        best = np.full(len(wanted), _NOTHING, np.int64)
        np.minimum.at(best, group, softened)
        verdict = best[numbered]
        grant, group = grant[alone], group[alone]
        order = np.lexsort((-self.day[grant], group))
        grant, group = grant[order], group[order]
        # A running minimum that starts anew with every group: later groups get an ever lower base.
        base = -group.astype(np.int64) << 37
        running = np.minimum.accumulate(place[grant] + base) - base
        # Position of the last grant of the customer's group that began after the last day under 14.
        keys = group.astype(np.int64) * 100_000_000 + (99_999_999 - self.day[grant])
        asked = numbered.astype(np.int64) * 100_000_000 + (99_999_999 - last_day)
        position = np.searchsorted(keys, asked, side="left") - 1
        has_one = (position >= 0) & (group[np.maximum(position, 0)] == numbered) if len(group) else np.zeros(len(rows), bool)
        chosen = np.flatnonzero(has_one)
        verdict[chosen] = np.minimum(verdict[chosen], running[position[chosen]])
        found[rows] = verdict


def days_of(at_ms: Rows) -> Rows:
    """`grants.day_of` for a column."""
    days = ((at_ms + 28_800_000) // 86_400_000).astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    years = days.astype("datetime64[Y]")
    day = (days - months).astype(np.int64) + 1
    month = (months - years).astype(np.int64) + 1
    found: Rows = (years.astype(np.int64) + 1970) * 10_000 + month * 100 + day
    return found


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


def _standing(
    grants: GrantColumns, terms: Sequence[Term], query: GrantQuery, stale: StaleSince, used_up: Flags | None
) -> npt.NDArray[np.uint8]:
    """`grants.standing` of every grant."""
    table = np.full(max(len(terms), 1), Reason.NO_GRANT, np.uint8)
    scope = np.full(max(len(terms), 1), Reason.OK, np.uint8)
    for number, term in enumerate(terms):
        if term.purpose == query.purpose:
            table[number] = Reason.OK if term.recipient == query.recipient else Reason.RECIPIENT_MISMATCH
            scope[number] = scope_reason(term.conditions, query, stale.get(term.conditions.notice, ()))
        elif term.recipient == query.recipient:
            table[number] = Reason.PURPOSE_MISMATCH
    result = table[grants.term]
    fits = result == Reason.OK
    if scope.any():
        narrowed = scope[grants.term]
        result[fits] = narrowed[fits]
    if used_up is not None:
        result[fits & used_up & (result == Reason.OK)] = Reason.USED_UP
    result[fits & (query.at_ms >= grants.until_ms)] = Reason.EXPIRED
    result[fits & (query.at_ms < grants.from_ms)] = Reason.NOT_YET_VALID
    result[grants.withdrawn] = Reason.NO_GRANT
    result[grants.withdrawn & fits] = Reason.WITHDRAWN
    return result


def _stale_ends(terms: Sequence[Term], query: GrantQuery, stale: StaleSince) -> Rows | None:
    """`grants.stale_from` of every term, the largest number where nothing is known; None when nothing is for any."""
    ends = [stale_from(query, stale.get(term.conditions.notice, ())) for term in terms]
    if not any(one is not None for one in ends):
        return None
    return np.array([np.iinfo(np.int64).max if one is None else one for one in ends], np.int64)


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
