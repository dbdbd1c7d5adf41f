"""What the registry tells the host of withdrawals, so that partners and staff learn of them: numbers and rows, no identifier.

Document: docs/protocols/withdrawal.md section 2. Fulfils workbench.contracts.TellsWithdrawals.
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.contracts import TakenBack
from workbench_consent import tables
from workbench_consent.subjects import Flags, Subjects, meant
from workbench_consent.withdrawing import columns_of_subject


def withdrawals_after(reader: tables.Reader, event: int) -> list[TakenBack]:
    """Withdrawals with a higher number, ascending; an event is of one scope."""
    rows = reader.execute(
        "SELECT e.seq, e.at_ms, e.entry, min(s.purpose), min(s.recipient) FROM consent_event e"
        " JOIN consent_suppression s ON s.seq = e.seq WHERE e.kind = 'withdrawn' AND e.seq > ? GROUP BY e.seq ORDER BY e.seq",
        (event,),
    ).fetchall()
    return [TakenBack(int(row[0]), int(row[1]), int(row[2]), str(row[3]), str(row[4])) for row in rows]


def rows_meant(reader: tables.Reader, subjects: Subjects, events: Sequence[int]) -> Flags:
    """Where one of these withdrawals means the person; lifted ones too: what was withdrawn stays withdrawn."""
    named = [columns_of_subject(one.subject) for event in events for one in tables.withdrawals_of(reader, event)]
    return meant(subjects, Subjects.concatenate([Subjects.empty(), *named]))
