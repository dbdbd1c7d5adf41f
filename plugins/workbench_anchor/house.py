"""What anchoring uses of the node it runs in: its log, its evidence, the note to be anchored next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from workbench.contracts import BackgroundWork, Host, Ledger, Transaction
from workbench.errors import NotFound
from workbench_anchor import tables
from workbench_anchor.notes import GATHER_MS, Note, is_due, read_note


class AnchorHost(Host, Protocol):
    """contracts.Host, and what of the node only this plugin needs. folder: of the institution. project: in every origin."""

    folder: Path
    project: str
    background: Sequence[BackgroundWork]

    def log_fault(self, fault: BaseException) -> None:
        """An unexpected failure to the log, without values."""


class House:
    """The node as anchoring sees it."""

    def __init__(self, host: AnchorHost) -> None:
        self.host = host
        self._due_since: dict[str, int] = {}
        self._told: set[tuple[str, str]] = set()

    @property
    def ledger(self) -> Ledger:
        return self.host.provider(Ledger)  # type: ignore[type-abstract]  # a Protocol names the provider

    def record(self, tx: Transaction, kind: str, values: Mapping[str, str], *, actor: str = "") -> int:
        """Write an entry that does not make the next anchor due; its index."""
        index = self.host.evidence.append(tx, kind, values, actor=actor).index
        tables.note_own_entry(tx, index)
        return index

    def record_failure(self, tx: Transaction, what: str, code: str, size: int) -> None:
        """An `anchor.failed`, unless this run has said the same since the last success."""
        if (what, code) not in self._told:
            self._told.add((what, code))
            self.record(tx, "anchor.failed", {"what": what, "size": str(size), "code": code})

    def succeeded(self, what: str) -> None:
        """Something of this kind was anchored: a failure that comes again is said again."""
        self._told = {one for one in self._told if one[0] != what}
        self._due_since.pop(what, None)

    def next_note(self, what: str, *, covered: int, since_ms: int, force: bool) -> Note | None:
        """The note to be anchored now, None when nothing is due or co-signatures are still awaited.

        covered: entries of the own log that are anchored already; since_ms: when that was asked for. force: a person does
        not wait.
        """
        host = self.host
        entries = self.entries_after(covered)
        if not entries:
            self._due_since.pop(what, None)
            return None
        now = host.now_ms()
        due = is_due(
            entries=entries,
            since_ms=since_ms,
            now_ms=now,
            every_entries=host.setting("anchor.every_entries"),
            every_minutes=host.setting("anchor.every_minutes"),
        )
        if not due and not force:
            self._due_since.pop(what, None)
            return None
        waits_since = self._due_since.setdefault(what, now)
        note = self._best_note(covered)
        if force or not set(host.parties()) - set(note.cosigners) or now - waits_since >= GATHER_MS:
            return note
        return None

    def entries_after(self, size: int) -> int:
        """How many entries the own log has after the first `size`, without those that anchoring wrote."""
        with self.host.store.read() as reader:
            own = tables.own_entries_from(reader, size)
        return max(0, self.ledger.size(self.host.party) - size - own)

    def _best_note(self, covered: int) -> Note:
        if len(self.host.parties()) == 1:  # nobody asks for checkpoints to co-sign them, so one is made here
            return read_note(self.ledger.own_checkpoint())
        try:
            return read_note(self.ledger.proof(self.host.party, covered).note)
        except NotFound:  # nobody has co-signed anything that covers it
            return read_note(self.ledger.own_checkpoint())
