"""Entries as staff read them: values in clear as far as this node opens them, how far they are sealed, what is wrong.

Many entries of one log are read together: bodies and leaves in one go, and the seal once for all that must share it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from workbench.contracts import OperationContext
from workbench.domain.envelope import Envelope, parse_envelope
from workbench.domain.evidence import SealState
from workbench.domain.merkle import SHA256
from workbench.domain.party import PartyId, Role
from workbench.errors import NotFound, VerificationError
from workbench.operations import Reply

if TYPE_CHECKING:
    from workbench.host import Workbench

READS = frozenset({Role.COMPLIANCE, Role.AUDITOR, Role.REGULATOR, Role.OPERATOR, Role.APPROVER, Role.MARKETING})
CHECKS = frozenset({Role.COMPLIANCE, Role.AUDITOR, Role.REGULATOR, Role.OPERATOR})
AREAS_OF_MARKETING = ("intersection.", "lists.")

OWN_AT_ONCE = 1000
"""Own entries of one question to the index."""
SPREAD = 4
"""Entries are read with those between them when these are at most so many times as many."""


class EntryInfo(Reply):
    """One entry: values in clear as far as this node can open them; closed: fields only committed here.

    seal: PENDING, SEALED (whoever is required has signed) or FULL (everybody); counterpart: log and index of the
    partner's entry about the same frame, "" when none. problem: "" or why the body cannot be trusted as it lies here:
    EDITED (it does not give the stored leaf), UNREADABLE (no envelope any more), DELETED (no body any more), OPENING (a
    value does not fit).
    """

    log: str
    index: int
    kind: str
    zh: str
    en: str
    time_ms: int
    job: str
    actor: str
    values: dict[str, str]
    closed: list[str]
    refs: list[str]
    seal: str
    cosigners: list[str]
    missing: list[str]
    counterpart: str = ""
    problem: str = ""
    actor_token: str = ""


class Row(Protocol):
    """Where an index says an entry lies, and what it says of it, for the case that its body no longer does."""

    @property
    def index(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def time_ms(self) -> int: ...
    @property
    def job(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Place:
    """A row without an index behind it."""

    index: int
    kind: str = ""
    time_ms: int = 0
    job: str = ""


def kinds_seen_by(ctx: OperationContext) -> tuple[str, ...]:
    """Areas of kinds that this person may read: marketing and approvers jobs and lists; () for everything."""
    return () if ctx.caller.person.roles & CHECKS else AREAS_OF_MARKETING


def entry_at(ctx: OperationContext, log: PartyId, index: int, *, kind: str = "", time_ms: int = 0, job: str = "") -> EntryInfo:
    """One entry of any log held here; kind, time and job stand in for a damaged body's. Raises as `entries_at`."""
    return entries_at(ctx, log, [Place(index, kind, time_ms, job)])[0]


def entries_at(ctx: OperationContext, log: PartyId, rows: Sequence[Row]) -> list[EntryInfo]:
    """Entries of one log in the order of the rows. Raises NotFound for an entry this node never held."""
    return _Batch(ctx.host, log).read(rows)


def own_rows(host: Workbench, job: str, *, kind: str | None = None) -> list[Row]:
    """Every own entry of a job, oldest first, read page by page. kind: as in `EvidenceLog.search`."""
    found: list[Row] = []
    with host.store.read() as reader:
        while rows := host.evidence.search(
            reader, job=job, kind=kind, before=found[-1].index if found else None, limit=OWN_AT_ONCE
        ):
            found += rows
    return found[::-1]


class _Batch:
    """Reads entries of one log for one reply."""

    def __init__(self, host: Workbench, log: PartyId) -> None:
        self._host, self._log = host, log
        self._people: dict[str, str] = {}

    def read(self, rows: Sequence[Row]) -> list[EntryInfo]:
        host, log = self._host, self._log
        indices = sorted({row.index for row in rows})
        bodies = dict(self._each(indices, lambda start, stop: host.ledger.entry_bodies(log, start, stop)))
        leaves = dict(self._each(indices, lambda start, stop: [one[0] for one in host.ledger.leaves(log, start, stop)]))
        found = {}
        with host.store.read() as reader:
            for row in rows:
                body = bodies.get(row.index)
                if body is None and row.index not in leaves:
                    raise NotFound(
                        f"没有 {log} 的第 {row.index} 条", f"There is no entry {row.index} of {log}", code="NO_SUCH_ENTRY"
                    )
                found[row.index] = self._info(reader, row, body, leaves.get(row.index, b""))
        seals = self._seals(list(found.values()))
        return [_sealed(found[row.index], seals[row.index]) for row in rows]

    def _each(self, indices: Sequence[int], read: Callable[[int, int], Sequence[bytes]]) -> Iterator[tuple[int, bytes]]:
        """(index, what lies there): in one piece if nothing is missing in it, else one by one."""
        if not indices:
            return
        start, stop = indices[0], indices[-1] + 1
        wanted = set(indices)
        if stop - start <= SPREAD * len(indices) + SPREAD:
            whole = read(start, stop)
            if len(whole) == stop - start:
                yield from ((index, one) for index, one in enumerate(whole, start) if index in wanted)
                return
        for index in indices:
            one = read(index, index + 1)
            if one:
                yield index, one[0]

    def _info(self, reader: sqlite3.Connection, row: Row, body: bytes | None, leaf: bytes) -> EntryInfo:
        """The entry without its seal. problem: as `EntryInfo` says, or DELETED."""
        if body is None:
            return self._made(row.index, None, row, {}, "DELETED")
        try:
            envelope = parse_envelope(body)
        except VerificationError:
            return self._made(row.index, None, row, {}, "UNREADABLE")
        problem = "" if SHA256.leaf(body) == leaf else "EDITED"
        values = dict(envelope.shared)
        if self._log == self._host.party:
            try:
                values = self._host.evidence.opened(reader, row.index, envelope)
            except VerificationError:
                problem = "OPENING"
        return self._made(row.index, envelope, row, values, problem)

    def _made(self, index: int, envelope: Envelope | None, row: Row, values: dict[str, str], problem: str) -> EntryInfo:
        kind = envelope.kind if envelope else row.kind
        actor = envelope.actor if envelope else ""
        known = self._host.kinds.get(kind)
        closed = sorted(envelope.committed.keys() - values.keys()) if envelope else []
        values.pop("list_key", None)
        return EntryInfo(
            log=self._log,
            index=index,
            kind=kind,
            zh=known.zh if known else kind,
            en=known.en if known else kind,
            time_ms=envelope.time_ms if envelope else row.time_ms,
            job=envelope.job if envelope else row.job,
            actor=self._named(actor),
            values=values,
            closed=closed,
            refs=list(envelope.refs) if envelope else [],
            seal="",
            cosigners=[],
            missing=[],
            problem=problem,
            actor_token=actor,
        )

    def _named(self, actor: str) -> str:
        if not actor or self._log != self._host.party:
            return actor
        if actor not in self._people:
            self._people[actor] = self._host.person_named(actor)
        return self._people[actor]

    def _seals(self, entries: Sequence[EntryInfo]) -> dict[int, SealState]:
        """The seal of each entry. Signed heads cover prefixes: of entries with the same requirement an earlier one is never
        sealed worse than a later one, so those between two that are alike are like them."""
        groups: dict[tuple[str, ...], list[int]] = {}
        for one in entries:
            shared = (one.values.get(name, "") for name in ("partner", "initiator", "participants", "party"))
            need = (one.kind, one.job, *shared) if not one.problem else (str(one.index),)
            groups.setdefault(need, []).append(one.index)
        found: dict[int, SealState] = {}
        for indices in groups.values():
            self._fill(sorted(set(indices)), found)
        return found

    def _fill(self, indices: list[int], found: dict[int, SealState]) -> None:
        for end in (indices[0], indices[-1]):
            if end not in found:
                found[end] = self._host.ledger.seal(self._log, end)
        if found[indices[0]] == found[indices[-1]]:
            found.update(dict.fromkeys(indices, found[indices[0]]))
        elif len(indices) > 2:
            middle = len(indices) // 2
            self._fill(indices[: middle + 1], found)
            self._fill(indices[middle:], found)


def _sealed(entry: EntryInfo, seal: SealState) -> EntryInfo:
    update = {"seal": seal.state, "cosigners": list(seal.cosigners), "missing": list(seal.missing)}
    return entry.model_copy(update=update)


__all__ = ["CHECKS", "READS", "EntryInfo", "Place", "Row", "entries_at", "entry_at", "kinds_seen_by", "own_rows"]
