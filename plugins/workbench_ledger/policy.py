"""Pending, sealed or full: the one place that decides, from the policy table and the members of a log at an entry.

Document: docs/protocols/ledger.md sections 3 and 7.3. Reads tables and decides nothing else.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Collection, Mapping

from workbench.domain.checkpoint import PartyKeys
from workbench.domain.envelope import parse_envelope
from workbench.domain.evidence import SealState
from workbench.domain.party import PartyId
from workbench.domain.policy import Requirement, Signers, policy_of, requirement
from workbench.errors import VerificationError
from workbench_ledger import tables
from workbench_ledger.context import Context

Keys = Mapping[PartyId, PartyKeys]

END = 1 << 62
"""Beyond every index."""


def requirement_of(context: Context, log: PartyId, index: int, body: bytes) -> Requirement:
    """What makes the entry with this body sealed. A body that is no envelope needs every member: nobody may rely on it."""
    members = members_at(context.pinned(), log, index)
    try:
        envelope = parse_envelope(body)
    except VerificationError:
        return Requirement(frozenset(members))
    participants = envelope.participants
    if envelope.job and len(participants) < 2 and policy_of(envelope.kind).signers is Signers.PARTICIPANTS:
        participants |= context.participants(log, envelope.job)
    return requirement(
        envelope.kind,
        log=log,
        participants=participants,
        members=members,
        subject=envelope.shared.get("party", ""),
        mldsa_kinds=context.mldsa_kinds(),
    )


def seal_of(context: Context, reader: tables.Reader, log: PartyId, index: int, needed: Requirement) -> SealState:
    """The state of an entry under the best single checkpoint that covers it: sealed first, then full, many signers, late.

    The same order as in `best_head`, so that what is said of an entry is what its receipt shows.
    """
    keys = context.pinned()
    members = members_at(keys, log, index)
    best: frozenset[PartyId] = frozenset()
    rank = (False, False, 0, 0)
    borders = departures(keys, log)
    for size, signers in tables.seals(reader, log, index, borders=borders):
        counted = counted_at(keys, log, index, size, signers)
        found = (needed.is_met_by(counted) and not needed.mldsa, members <= counted, len(counted), size)
        if found > rank:
            best, rank = counted, found
    is_met = rank[0]
    if needed.mldsa:
        for size, signers in tables.seals(reader, log, index, mldsa=True, borders=borders):
            is_met = is_met or needed.is_met_by(counted_at(keys, log, index, size, signers))
    missing = tuple(sorted(members - best))
    state = "PENDING" if not is_met else "SEALED" if missing else "FULL"
    return SealState(state, tuple(sorted(best)), missing, tuple(sorted(needed.parties)), needed.at_least)


def best_head(context: Context, reader: tables.Reader, log: PartyId, index: int, needed: Requirement) -> int | None:
    """Size of the head that proves most about an entry, None without any: one that seals it first, then one that all signed.

    Whoever gets a receipt sees this head alone, so it must be one that meets the requirement where there is any.
    """
    keys = context.pinned()
    members = members_at(keys, log, index)
    ranked = []
    for mldsa in (False, True) if needed.mldsa else (False,):
        for size, signers in tables.seals(reader, log, index, mldsa=mldsa, borders=departures(keys, log)):
            counted = counted_at(keys, log, index, size, signers)
            is_met = mldsa is needed.mldsa and needed.is_met_by(counted)
            ranked.append((is_met, members <= counted, len(counted), size))
    return max(ranked)[-1] if ranked else None


def members_at(keys: Keys, log: PartyId, index: int) -> frozenset[PartyId]:
    """The members of a log at one of its entries."""
    return frozenset(party for party, one in keys.items() if one.is_member(log, index))


def counted_at(
    keys: Keys, log: PartyId, index: int, size: int, signers: Collection[PartyId]
) -> frozenset[PartyId]:
    """Whose co-signatures of the head of `size` entries count for the entry at `index`."""
    return frozenset(one for one in signers if one in keys and keys[one].counts(log, index, size))


def member_spans(keys: Keys, log: PartyId) -> list[tuple[int, int]]:
    """Stretches start <= index < stop of a log within which its members are the same, from 0 without gaps."""
    changes = {at for one in keys.values() for at in (one.joined.get(log, 0), one.left.get(log, 0))}
    changes |= {at for one in keys.values() for at, _ in one.history.get(log, ())}
    starts = sorted({0} | changes)
    return list(zip(starts, [*starts[1:], END], strict=True))


def departures(keys: Keys, log: PartyId) -> list[int]:
    """Indices of a log from which somebody was no member any more, ascending."""
    found = {one.left[log] for one in keys.values() if log in one.left}
    return sorted(found | {at for one in keys.values() for at, joins in one.history.get(log, ()) if not joins})


def explicit(parties: Collection[PartyId]) -> Requirement:
    """Exactly these institutions, whatever the table says."""
    return Requirement(frozenset(parties), at_least=1)


class PendingCounter:
    """Counts entries of a log that are not final yet; reads every body once, and none below what everybody signed."""

    def __init__(self, context: Context, log: PartyId) -> None:
        self._context, self._log = context, log
        self._lock = threading.Lock()
        self._start = self._stop = -1
        self._by_need: dict[Requirement, list[int]] = {}
        self._spans: list[tuple[int, int]] = []

    def count(self) -> tuple[int, int]:
        """(sealed, pending) entries: sealed counts those that are full too. Cost: 50 microseconds a new entry."""
        context, log = self._context, self._log
        with self._lock, context.store.read() as reader:
            size = tables.read_head(reader, log).size
            keys = context.pinned()
            spans = member_spans(keys, log)
            if spans != self._spans:  # what an entry needs was asked before a change of members below it was judged
                self._spans, self._start, self._by_need = spans, -1, {}
            if self._start < 0:
                self._start = self._stop = 0 if context.mldsa_kinds() else self._everybody(reader)
            if self._stop < size:
                for index, body in tables.numbered_bodies(reader, log, self._stop, size, own=log == context.party):
                    self._by_need.setdefault(requirement_of(context, log, index, body), []).append(index)
                self._stop = size
            pending = 0
            for start, stop in spans:
                for need, places in self._by_need.items():
                    reach = min(max(start, self._reach(reader, keys, need, start)), stop)
                    pending += bisect_left(places, stop) - bisect_left(places, reach)
        return size - pending, pending

    def _reach(self, reader: tables.Reader, keys: Keys, need: Requirement, index: int) -> int:
        """The size below which this requirement is met for entries from `index` on with the same members."""
        found = [0]
        for size, signers in tables.seals(reader, self._log, index, mldsa=need.mldsa, borders=departures(keys, self._log)):
            if need.is_met_by(counted_at(keys, self._log, index, size, signers)):
                found.append(size)
        return max(found)

    def _everybody(self, reader: tables.Reader) -> int:
        """The largest head that all have signed who were members at any entry below it."""
        keys, log = self._context.pinned(), self._log
        starts = [start for start, _ in member_spans(keys, log)]
        sizes = [
            size
            for size, signers in tables.seals(reader, log, -1, borders=departures(keys, log))
            if all(
                members_at(keys, log, start) <= counted_at(keys, log, start, size, signers) for start in starts if start < size
            )
        ]
        return max(sizes, default=0)
