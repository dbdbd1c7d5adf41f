"""What the ledger and its partners ask each other besides co-signing: held, pull, conflicts; and getting entries back.

Document: docs/protocols/ledger.md sections 4 to 6. Fulfils workbench.contracts.LedgerExchange.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from workbench.contracts import Transaction
from workbench.domain.checkpoint import split_note
from workbench.domain.evidence import LogHead, Lost, MirrorLag, Restored
from workbench.domain.party import PartyId
from workbench.errors import VerificationError
from workbench_ledger import restore, tables
from workbench_ledger.context import Context
from workbench_ledger.exchange import (
    MAX_CONFLICTS,
    ConflictProof,
    Held,
    Pull,
    format_conflicts,
    format_held,
    format_prefix,
    format_pull,
    parse_conflicts,
    parse_held,
    parse_prefix,
    parse_pull,
)
from workbench_ledger.mirror import ROLLED_BACK, Mirror

if TYPE_CHECKING:
    from workbench_ledger.ledger import Ledger


class ExchangeDesk:
    """One node's side of these exchanges."""

    def __init__(self, ledger: Ledger, context: Context, mirror: Mirror) -> None:
        self._ledger, self._context, self._mirror = ledger, context, mirror

    # ---- held: a log asks its mirrors how much of it they hold

    def held(self, asker: PartyId) -> bytes:
        """As mirror: how much of the asker's log lies here, with its newest head as proof."""
        with self._context.store.read() as reader:
            size = tables.read_head(reader, asker).size
            note = tables.read_note(reader, asker, size) if size else None
        return format_held(Held(asker, size if note else 0, note.format() if note else ""))

    def learn_held(self, mirror: PartyId, answer: bytes) -> int:
        """As log: what a mirror holds of it. Returns the number of entries.

        Raises VerificationError: HELD for an answer that does not fit, ROLLED_BACK (kept) when it proves that the own log
        once had more entries, FORK when it proves another history.
        """
        found = parse_held(answer)
        if found.log != self._context.party or bool(found.size) is not bool(found.note):
            raise _odd("HELD", mirror)
        if found.note:
            if self._context.verified(found.note).checkpoint.size != found.size:
                raise _odd("HELD", mirror)
            self._mirror.observe(found.note)
        return found.size

    # ---- pull: a mirror asks a log for what it lacks

    def pull_question(self, log: PartyId, reply: bytes = b"") -> bytes:
        """As mirror: ask for the entries of a log from what is held here on. reply: to the answer before, b"" at first."""
        with self._context.store.read() as reader:
            size = tables.read_head(reader, log).size
            note = tables.read_note(reader, log, size) if size else None
        return format_pull(Pull(log, size, note.format() if note else "", reply))

    def answer_pull(self, asker: PartyId, question: bytes) -> bytes:
        """As log: a mirror request from where the asker stands, b"" when it has and has signed everything.

        Raises VerificationError as `accept_reply` and `learn_held` do.
        """
        pull = parse_pull(question)
        if pull.log != self._context.party:
            raise _odd("PULL", asker)
        if pull.note:
            self._mirror.observe(pull.note)
        if pull.reply:
            self._ledger.accept_reply(asker, pull.reply)
        self._ledger.remember_held(asker, pull.held)
        return self._ledger.next_request(asker) or b""

    # ---- contradictions are passed on to everybody

    def untold(self, party: PartyId) -> tuple[list[int], bytes] | None:
        """Contradictions that this partner has not been told by us: their numbers and the message; None without any."""
        with self._context.store.read() as reader:
            rows = reader.execute(
                "SELECT number, log, held_note, offered_note, prefix FROM ledger_conflict WHERE problem <> ? AND held_note <> '' "
                "AND number NOT IN (SELECT number FROM ledger_conflict_told WHERE party = ?) ORDER BY number LIMIT ?",
                (ROLLED_BACK, party, MAX_CONFLICTS),
            ).fetchall()
        if not rows:
            return None
        rows = list(takewhile(lambda row: bool(row[4]) == bool(rows[0][4]), rows))  # a message has one version
        proofs = [ConflictProof(PartyId(r[1]), r[2], r[3], parse_prefix(r[4]) if r[4] else None) for r in rows]
        return [row[0] for row in rows], format_conflicts(proofs)

    def told(self, party: PartyId, numbers: Sequence[int]) -> None:
        """The partner has taken these."""
        self._context.store.write(
            lambda tx: tx.executemany(
                "INSERT INTO ledger_conflict_told (number, party) VALUES (?, ?) ON CONFLICT DO NOTHING",
                [(number, party) for number in numbers],
            )
        )

    def hear_conflicts(self, sender: PartyId, message: bytes) -> int:
        """Check and keep what another institution says is contradictory; returns how many were new here.

        Raises VerificationError (CONFLICT_PROOF) for a proof whose signatures or prefix do not hold: it is kept nowhere. Two heads
        that do not contradict each other or what is held here leave nothing either.
        """
        before = len(self._mirror.conflicts())
        for proof in parse_conflicts(message):
            self._judge(sender, proof)
        return len(self._mirror.conflicts()) - before

    def _judge(self, sender: PartyId, proof: ConflictProof) -> None:
        context = self._context
        try:
            held, offered = context.verified(proof.held), context.verified(proof.offered)
            if proof.prefix is not None:
                proof.prefix.check(held.checkpoint, offered.checkpoint)
        except VerificationError as error:
            raise _odd("CONFLICT_PROOF", sender) from error
        first, second = held.checkpoint, offered.checkpoint
        if first.log != proof.log or second.log != proof.log:
            raise _odd("CONFLICT_PROOF", sender)
        prefix = "" if proof.prefix is None else format_prefix(proof.prefix)
        if prefix or (first.size == second.size and first.roots != second.roots):
            if not self._is_known({held.text, offered.text}):
                context.store.write(
                    lambda tx: self._mirror.keep_conflict(
                        tx, first.log, second.size, "SPLIT_VIEW", None, "", held.format(), offered.format(), prefix
                    )
                )
            return
        if first.size == second.size:
            return
        for note in (held, offered):
            try:
                self._mirror.observe(note.format())
            except VerificationError:
                continue  # it contradicts what lies here, which has been kept; or it is about this log itself

    def _is_known(self, texts: set[str]) -> bool:
        return any(
            {split_note(one.held_note)[0], split_note(one.offered_note)[0]} == texts
            for one in self._mirror.conflicts()
            if one.held_note
        )

    # ---- how everything stands

    def heads(self) -> list[LogHead]:
        """Every log held here, by institution; former members' too."""
        context = self._context
        found = []
        with context.store.read() as reader:
            for log in context.parties():
                newest = tables.newest_note(reader, log)
                size, at_ms = _newest_signature(reader, log, context.party)
                found.append(
                    LogHead(
                        log,
                        tables.read_head(reader, log).size,
                        newest.checkpoint.size if newest else 0,
                        newest.signers if newest else (),
                        size,
                        at_ms,
                    )
                )
        return found

    def lags(self) -> list[MirrorLag]:
        """Every mirror of the own log, by institution."""
        context = self._context
        found = []
        with context.store.read() as reader:
            for party in context.parties():
                if party != context.party:
                    row = reader.execute("SELECT held FROM ledger_peer WHERE peer = ?", (party,)).fetchone()
                    size, at_ms = _newest_signature(reader, context.party, party)
                    found.append(MirrorLag(party, int(row[0]) if row else 0, size, at_ms))
        return found

    # ---- getting the own entries back

    def lost(self) -> Lost | None:
        """The largest proof that the own log once had more entries than now; None when it has all it ever signed."""
        with self._context.store.read() as reader:
            return restore.find_lost(self._context, reader)

    def wanted(self) -> tuple[int, int] | None:
        """Own bodies still to be fetched, start <= index < stop; None when nothing is missing, or all lie ready."""
        with self._context.store.read() as reader:
            return restore.wanted(self._context, reader)

    def stage(self, start: int, bodies: Sequence[bytes], mirror: PartyId) -> None:
        """Keep bodies that a mirror gave, apart from the log. Raises VerificationError for what is no own entry."""
        self._context.store.write(lambda tx: restore.stage(self._context, tx, start, bodies, mirror))

    def drop_staged(self) -> None:
        """Forget what was fetched."""
        self._context.store.write(restore.drop_staged)

    def take_staged(self) -> Restored | None:
        """In one transaction: check the fetched bodies against every own signed head and make them entries.

        None when nothing is missing. Raises VerificationError (FORK): then the log is unchanged. Cost: 10 microseconds an
        entry.
        """
        return self._context.store.write(lambda tx: restore.take_staged(self._context, tx))

    def unfinished(self) -> Restored | None:
        """Entries that came back and of which index, replay and evidence are still to be made."""
        with self._context.store.read() as reader:
            return restore.unfinished(reader)

    def finish(self, restored: Restored, record: Callable[[Transaction], None]) -> None:
        """In one transaction: the evidence of it, and the end of it."""

        def change(tx: Transaction) -> None:
            tx.execute("DELETE FROM ledger_restored WHERE start = ?", (restored.start,))
            with self._ledger.opened():  # the one writer runs nothing else meanwhile, so this is the next entry
                record(tx)

        self._context.store.write(change)

    def was_cosigned(self) -> bool:
        """Whether this copy knows of any co-signature of another institution on the own log."""
        with self._context.store.read() as reader:
            row = reader.execute(
                "SELECT 1 FROM ledger_cosignature WHERE log = ? AND signer <> ? LIMIT 1",
                (self._context.party, self._context.party),
            ).fetchone()
        return row is not None


def _newest_signature(reader: tables.Reader, log: PartyId, signer: PartyId) -> tuple[int, int]:
    """The largest head of a log that an institution has co-signed, and when (ms); zeros for none."""
    row = reader.execute(
        "SELECT size, time_s FROM ledger_cosignature WHERE log = ? AND signer = ? ORDER BY size DESC LIMIT 1", (log, signer)
    ).fetchone()
    return (0, 0) if row is None else (int(row[0]), int(row[1]) * 1000)


def _odd(code: str, party: PartyId) -> VerificationError:
    return VerificationError(
        f"{party} 的账本消息与事实不符，未采用：请 {party} 的运维人员检查",
        f"a ledger message of {party} does not fit the facts; it was not used: operators of {party} must check",
        code=code,
        details={"party": party},
    )
