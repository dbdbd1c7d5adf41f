"""Which runs used a grant: remembered with every snapshot, read for receipts. docs/protocols/consent-receipt.md section 8."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.contracts import Transaction
from workbench.domain.evidence import EntryRef
from workbench_consent import tables
from workbench_consent.columns import GrantColumns
from workbench_consent.subjects import Flags, Rows


@dataclass(frozen=True, slots=True)
class Run:
    """One run whose snapshot was spent. entry: reference to its evidence, "" when unknown. used: whom of those asked for."""

    job: str
    attempt: int
    purpose: str
    recipient: str
    time_ms: int
    entry: str
    used: Flags


def remember(
    tx: Transaction, snapshot: str, entry: EntryRef, digests: npt.NDArray[np.uint8], grants: GrantColumns
) -> None:
    """Write which grants speak in a snapshot. digests: (n, 32) of its usable customers. Cost: 0.3 s per 10^6 grants."""
    used = np.zeros(len(grants), bool)
    used[rows_of(digests, grants)] = True
    packed = zlib.compress(np.packbits(used).tobytes(), 1)
    tx.execute(
        "INSERT INTO consent_receipt_use (snapshot, entry, leaf, records) VALUES (?, ?, ?, ?)",
        (snapshot, entry.index, entry.leaf, packed),
    )


def rows_of(digests: npt.NDArray[np.uint8], grants: GrantColumns) -> Rows:
    """Rows of the grants with these digests; what is no grant is left out."""
    if not len(digests) or not len(grants):
        return np.zeros(0, np.int64)
    known = _heads(grants.digest)
    order = np.argsort(known)
    wanted = _heads(digests)
    place = np.minimum(np.searchsorted(known, wanted, sorter=order), len(known) - 1)
    rows = order[place].astype(np.int64)
    same = (grants.digest[rows] == digests).all(axis=1)
    if same.all():
        return rows
    # Two grants that share their first eight bytes: hardly ever, and then the slow way is right.
    by_digest = {bytes(one): row for row, one in enumerate(grants.digest)}
    found = [by_digest.get(bytes(one), -1) for one in digests]
    return np.array([row for row in found if row >= 0], np.int64)


def runs_of(reader: tables.Reader, party: str, records: Rows) -> tuple[list[Run], int]:
    """Every run that used one of these records, newest first, and since when runs are known one by one (ms, 0: always).

    Cost: 1 ms per run and 10^6 grants.
    """
    found = reader.execute(
        "SELECT s.job, s.attempt, s.purpose, s.recipient, s.used_at_ms, u.entry, u.leaf, u.records"
        " FROM consent_snapshot s JOIN consent_receipt_use u ON u.snapshot = s.snapshot"
        " WHERE s.used_at_ms IS NOT NULL ORDER BY s.used_at_ms DESC, u.entry DESC"
    ).fetchall()
    runs = []
    for job, attempt, purpose, recipient, time_ms, entry, leaf, packed in found:
        bits = np.unpackbits(np.frombuffer(zlib.decompress(packed), np.uint8)).astype(bool)
        used = np.zeros(len(records), bool)
        inside = records <= len(bits)
        used[inside] = bits[records[inside] - 1]
        if used.any():
            reference = f"entry:{party}:{entry}:{bytes(leaf).hex()}"
            runs.append(Run(job, attempt, purpose, recipient, time_ms, reference, used))
    before = reader.execute(
        "SELECT max(at_ms) FROM consent_snapshot WHERE snapshot NOT IN (SELECT snapshot FROM consent_receipt_use)"
    ).fetchone()[0]
    return runs, 0 if before is None else int(before) + 1


def _heads(digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(digests[:, :8]).view("<u8").reshape(-1).astype(np.uint64)
