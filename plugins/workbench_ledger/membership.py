"""Who belongs to the members of which log from which entry on, as the logs themselves tell.

Document: docs/protocols/ledger.md section 7. A `ledger.member_changed` entry counts once the approvals it names are held
here and agree; nobody can change the members of its own log by claiming so.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace

from workbench.contracts import Store, Transaction
from workbench.domain.checkpoint import PartyKeys
from workbench.domain.envelope import Envelope, parse_envelope
from workbench.domain.evidence import EntryRef
from workbench.domain.membership import (
    AGREED,
    APPROVED,
    CHANGED,
    PROPOSED,
    ChangedEntry,
    MemberAction,
    MemberEntry,
    is_complete,
    read_changed,
)
from workbench.domain.merkle import SHA256
from workbench.domain.party import PartyId
from workbench.domain.policy import LEAST_INSTITUTIONS
from workbench.errors import VerificationError
from workbench_ledger import tables

_KINDS = (PROPOSED, AGREED, APPROVED, CHANGED)
_MARK = b'"kind":"ledger.member_'


class Members:
    """The changes of members found in the own log and in the mirrors."""

    def __init__(self, store: Store, party: PartyId) -> None:
        self._store, self._party = store, party
        self._lock = threading.Lock()
        self._rows: list[tuple[PartyId, int, MemberAction, PartyId]] | None = None

    def of(self, pinned: Mapping[PartyId, PartyKeys]) -> Mapping[PartyId, PartyKeys]:
        """The keys, each with the logs' entries from which its institution belongs to the members and no longer does."""
        rows = self._valid()
        if not rows:
            return pinned
        joined: dict[PartyId, dict[PartyId, int]] = {}
        left: dict[PartyId, dict[PartyId, int]] = {}
        history: dict[PartyId, dict[PartyId, tuple[tuple[int, bool], ...]]] = {}
        for log, index, action, party in rows:
            if action is MemberAction.JOIN:
                joined.setdefault(party, {})[log] = index
            else:
                left.setdefault(party, {})[log] = index
            changes = history.setdefault(party, {})
            changes[log] = (*changes.get(log, ()), (index, action is MemberAction.JOIN))
        return {
            party: replace(
                one, joined=joined.get(party, {}), left=left.get(party, {}), history=history.get(party, {})
            )
            for party, one in pinned.items()
        }

    def changed(self, log: PartyId) -> bool:
        """Whether this log has told of any change; cheap."""
        return any(row[0] == log for row in self._valid())

    def note(self, tx: Transaction, log: PartyId, start: int, bodies: Iterable[bytes]) -> None:
        """Look through bodies that are being written to the own log or a mirror for changes of members."""
        found = [(index, body) for index, body in enumerate(bodies, start) if _MARK in body]
        for index, body in found:
            envelope = parse_envelope(body)
            shared = envelope.shared
            try:
                if envelope.kind == CHANGED:
                    read_changed(envelope)
            except VerificationError:
                continue  # it says nothing usable, so it changes nothing; the entry itself stays
            if envelope.kind in _KINDS:
                values = (shared.get("change", ""), shared.get("action", ""), shared.get("party", ""))
                tx.execute(
                    "INSERT INTO ledger_membership (log, idx, kind, change, action, party, valid) "
                    "VALUES (?, ?, ?, ?, ?, ?, 0) ON CONFLICT DO NOTHING",
                    (log, index, envelope.kind, *values),
                )
        if found:
            self._rows = None

    def judge(self, founding: Iterable[PartyId]) -> bool:
        """Look again at changes whose approvals were not held yet; True when one has become valid.

        founding: every institution pinned here, present and former.
        """
        with self._store.read() as reader:
            waiting = reader.execute(
                "SELECT log, idx FROM ledger_membership WHERE kind = ? AND valid = 0 ORDER BY log, idx", (CHANGED,)
            ).fetchall()
            if not waiting:
                return False
            good = [(log, index) for log, index in waiting if self._holds(reader, PartyId(log), index, set(founding))]
        if good:
            self._store.write(
                lambda tx: tx.executemany("UPDATE ledger_membership SET valid = 1 WHERE log = ? AND idx = ?", good)
            )
        with self._lock:  # after who reads the rows of before at this moment: what they keep is thrown away
            self._rows = None
        return bool(good)

    def waiting(self) -> list[tuple[PartyId, int]]:
        """Changes that are not valid here (yet): log and index."""
        with self._store.read() as reader:
            rows = reader.execute(
                "SELECT log, idx FROM ledger_membership WHERE kind = ? AND valid = 0 ORDER BY log, idx", (CHANGED,)
            ).fetchall()
        return [(PartyId(log), index) for log, index in rows]

    def entries(self) -> list[MemberEntry]:
        """Every entry about members in the own log and the mirrors, by log and index."""
        with self._store.read() as reader:
            rows = reader.execute(
                "SELECT log, idx, kind, change, valid FROM ledger_membership ORDER BY log, idx"
            ).fetchall()
        return [MemberEntry(PartyId(row[0]), row[1], row[2], row[3], bool(row[4])) for row in rows]

    # ---- private

    def _valid(self) -> list[tuple[PartyId, int, MemberAction, PartyId]]:
        rows = self._rows
        if rows is None:
            with self._lock, self._store.read() as reader:
                found = reader.execute(
                    "SELECT log, idx, action, party FROM ledger_membership WHERE kind = ? AND valid = 1 ORDER BY log, idx",
                    (CHANGED,),
                ).fetchall()
                rows = [(PartyId(log), index, MemberAction(action), PartyId(party)) for log, index, action, party in found]
                self._rows = rows
        return rows

    def _holds(self, reader: tables.Reader, log: PartyId, index: int, known: set[PartyId]) -> bool:
        entry = self._entry(reader, log, index)
        if entry is None or self._spent(reader, log, index, entry):
            return False
        approvals = {}
        for ref in entry.approvals:
            envelope = self._approval(reader, ref)
            if envelope is None:
                return False  # not held yet, or another entry than the one that was named
            approvals[ref.log] = envelope
        rows = self._valid()
        members = known - {
            party for other, place, action, party in rows
            if action is MemberAction.JOIN and (other != log or place >= index)
        }  # fmt: skip
        for other, place, action, party in rows:  # in the order of each log: who left may have come back
            if other == log and place < index:
                members = members | {party} if action is MemberAction.JOIN else members - {party}
        members = members - {entry.party} | {log}
        if len(members - {entry.party}) < LEAST_INSTITUTIONS:
            return False  # one institution alone decides nothing, not even about the other one
        return is_complete(entry, members, approvals)

    def _spent(self, reader: tables.Reader, log: PartyId, index: int, entry: ChangedEntry) -> bool:
        """Whether an earlier entry of this log named one of these approvals: who approved once approved one change.

        Without this, whoever left and whoever joined could be put back by one institution alone, as the id is the same.
        """
        rows = reader.execute(
            "SELECT idx FROM ledger_membership WHERE log = ? AND idx < ? AND kind = ? AND change = ?",
            (log, index, CHANGED, entry.change),
        ).fetchall()
        earlier = [self._entry(reader, log, row[0]) for row in rows]
        return any(one is not None and not set(one.approvals).isdisjoint(entry.approvals) for one in earlier)

    def _entry(self, reader: tables.Reader, log: PartyId, index: int) -> ChangedEntry | None:
        bodies = tables.read_bodies(reader, log, index, index + 1, own=log == self._party)
        try:
            return read_changed(parse_envelope(bodies[0])) if bodies else None
        except VerificationError:
            return None

    def _approval(self, reader: tables.Reader, ref: EntryRef) -> Envelope | None:
        bodies = tables.read_bodies(reader, ref.log, ref.index, ref.index + 1, own=ref.log == self._party)
        if not bodies or SHA256.leaf(bodies[0]) != ref.leaf:
            return None
        try:
            return parse_envelope(bodies[0])
        except VerificationError:
            return None
