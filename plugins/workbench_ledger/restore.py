"""Getting the own entries back after this node was restored from an older copy.

Document: docs/protocols/ledger.md section 5. Promises: what comes back is exactly what this log once signed, or nothing
changes; fetched bodies lie apart until one transaction has checked and taken them, so that a crash at any moment leaves
the log as it was or whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.contracts import Transaction
from workbench.domain.checkpoint import VerifiedNote, parse_checkpoint, split_note
from workbench.domain.envelope import MAX_BODY_BYTES, parse_envelope
from workbench.domain.evidence import Lost, Restored
from workbench.domain.party import PartyId
from workbench.errors import VerificationError
from workbench_ledger import tables
from workbench_ledger.context import Context
from workbench_ledger.mirror import ROLLED_BACK


def find_lost(context: Context, reader: tables.Reader) -> Lost | None:
    """The largest proof that the own log once had more entries than now; None when it has all it ever signed."""
    row = reader.execute(
        "SELECT size, offered_note FROM ledger_conflict WHERE log = ? AND problem = ? ORDER BY size DESC LIMIT 1",
        (context.party, ROLLED_BACK),
    ).fetchone()
    if row is None:
        return None
    # The bare number: a damaged tree is for others to report.
    head = reader.execute("SELECT size FROM ledger_head WHERE log = ?", (context.party,)).fetchone()
    size = 0 if head is None else int(head[0])
    return Lost(size, row[0], row[1]) if row[0] > size else None


def wanted(context: Context, reader: tables.Reader) -> tuple[int, int] | None:
    """Which own bodies are still to be fetched, start <= index < stop; None when nothing is missing or all lie here."""
    lost = find_lost(context, reader)
    if lost is None:
        return None
    last = reader.execute("SELECT max(idx) FROM ledger_restoring").fetchone()[0]
    start = lost.size if last is None else max(lost.size, last + 1)
    return (start, lost.signed) if start < lost.signed else None


def stage(context: Context, tx: Transaction, start: int, bodies: Sequence[bytes], mirror: PartyId) -> None:
    """Keep fetched bodies apart. Raises VerificationError (ENVELOPE, FORK) for what cannot be an own entry."""
    for index, body in enumerate(bodies, start):
        if len(body) > MAX_BODY_BYTES or parse_envelope(body).log != context.party:
            raise does_not_fit(context.party)
        tx.execute("INSERT OR REPLACE INTO ledger_restoring (idx, body, mirror) VALUES (?, ?, ?)", (index, body, mirror))


def drop_staged(tx: Transaction) -> None:
    """Forget fetched bodies that turned out not to fit."""
    tx.execute("DELETE FROM ledger_restoring")


def take_staged(context: Context, tx: Transaction) -> Restored | None:
    """Make the staged bodies entries, if both trees then give every head that the own key is known to have signed.

    None when nothing is missing. Raises VerificationError (FORK) otherwise; the transaction must then be given up.
    """
    lost = find_lost(context, tx)
    if lost is None:
        drop_staged(tx)
        return None
    rows = tx.execute(
        "SELECT idx, CAST(body AS BLOB), mirror FROM ledger_restoring WHERE idx >= ? AND idx < ? ORDER BY idx",
        (lost.size, lost.signed),
    ).fetchall()
    if [row[0] for row in rows] != list(range(lost.size, lost.signed)):
        raise does_not_fit(context.party)
    restored = _take_back(context, tx, [row[1] for row in rows], context.verified(lost.note))
    drop_staged(tx)
    mirrors = tuple(sorted({PartyId(row[2]) for row in rows}))
    tx.execute(
        "INSERT INTO ledger_restored (start, stop, mirrors) VALUES (?, ?, ?)",
        (restored.start, restored.stop, " ".join(mirrors)),
    )
    return Restored(restored.start, restored.stop, mirrors)


def unfinished(reader: tables.Reader) -> Restored | None:
    """A stretch that came back and is not accounted for yet: index, replay and evidence follow."""
    row = reader.execute("SELECT start, stop, mirrors FROM ledger_restored ORDER BY start LIMIT 1").fetchone()
    return None if row is None else Restored(row[0], row[1], tuple(PartyId(one) for one in row[2].split(" ")))


def _take_back(context: Context, tx: Transaction, bodies: Sequence[bytes], note: VerifiedNote) -> Restored:
    """Append own entries that lead from the present size to a head this log once signed. Raises VerificationError."""
    checkpoint = note.checkpoint
    head = tables.read_head(tx, context.party)
    growth = tables.grow(head, bodies)
    if checkpoint.log != context.party or (growth.head.size, growth.head.roots) != (checkpoint.size, checkpoint.roots):
        raise does_not_fit(context.party)
    tables.write_growth(tx, context.party, growth, own=True)
    context.note_members(tx, context.party, growth.start, bodies)
    for text in _own_heads(context, tx):
        signed = parse_checkpoint(text)
        if tables.roots_at(tx, context.party, signed.size) != signed.roots:
            raise does_not_fit(context.party)
    tables.keep_note(tx, note, note.cosignatures.values())
    return Restored(growth.start, growth.head.size, ())


def does_not_fit(party: PartyId) -> VerificationError:
    """What is raised when entries do not lead from the own log to what it once signed."""
    return VerificationError(
        f"取回的记录与 {party} 签过的检查点接不上，日志未改动、继续暂停写入：请 {party} 的合规人员比对本机与镜像",
        f"the entries do not lead from this log to what {party} once signed; the log is unchanged and takes no entry: "
        f"compliance of {party} must compare this copy with the mirrors",
        code="FORK",
        details={"log": party},
    )


def _own_heads(context: Context, tx: Transaction) -> list[str]:
    """Texts of all heads of the own key that were shown or are stored, up to the present size."""
    size = tables.read_head(tx, context.party).size
    shown = tx.execute(
        "SELECT offered_note FROM ledger_conflict WHERE log = ? AND problem = ? AND size <= ?",
        (context.party, ROLLED_BACK, size),
    ).fetchall()
    newest = tables.newest_note(tx, context.party)
    texts = [split_note(row[0])[0] for row in shown]
    return texts if newest is None else [*texts, newest.text]
