"""Issuing receipts: one tree, one signature, one entry. Document: docs/protocols/consent-receipt.md section 7."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workbench.contracts import Host, Transaction
from workbench.crypto import canonical, sm2
from workbench.domain import consent_receipt as receipts
from workbench.errors import NotFound, Refused
from workbench_consent import represented, tables
from workbench_consent.projection import State
from workbench_consent.receipts.content import Contents, Masks, Names, Words
from workbench_consent.receipts.facts import NOTHING_AROUND, Around, Facts, gather
from workbench_consent.subjects import Rows

TOKEN_PURPOSE = "consent-receipt"
TRIES = 5
_BLOCK = 8192

Step = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Signer:
    """The institution's contract key, and how to sign with it."""

    key: sm2.PublicKey
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Issued:
    """A batch that is in the log. entry: its index there; facts, contents: what the receipts say, row by row."""

    batch: int
    entry: int
    root: bytes
    facts: Facts
    contents: Contents
    levels: Sequence[Sequence[bytes]]
    proof: bytes

    def __len__(self) -> int:
        return len(self.facts)

    def file(self, row: int, anchor: bytes = b"null") -> bytes:
        """The file of one receipt. anchor: canonical bytes of the anchor, or `null`."""
        return receipts.format_file(
            self.contents.body(row), index=row, size=len(self), path=receipts.path_of(self.levels, row), proof=self.proof,
            anchor=anchor,
        )  # fmt: skip

    def name(self, row: int) -> str:
        """The receipt's id."""
        return self.contents.receipt_id(row)


class _Moved(Exception):
    """A consent event, or another issue, happened between reading and writing."""


def issue(
    host: Host,
    state: Callable[[], State],
    records: Rows,
    words: Words,
    signer: Signer,
    *,
    size: Callable[[], int],
    selection: str,
    actor: str,
    masks: Callable[[Facts], Masks] | None = None,
    around: Callable[[State], Around] = lambda state: NOTHING_AROUND,
    step: Step = lambda done: None,
) -> Issued:
    """Issue receipts for these grants: the entry is written when this returns.

    records: ascending, distinct. state: the registry's newest state; size: entries of the own log. masks: of the facts,
    what is put in of identifiers. around: what a status depends on besides. step(done): now and then with the receipts hashed so far; what it raises ends it.
    Raises NotFound (NO_GRANT_RECORD, GRANT_ERASED), Refused RECEIPTS_BUSY when consent events kept coming.
    Cost: about 40 µs a receipt.
    """
    key = host.vault.token_key(TOKEN_PURPOSE)
    for _ in range(TRIES):
        height, now_ms = size(), host.now_ms()
        with host.store.read() as reader:
            newest = state()
            facts = gather(reader, newest, records, at_ms=now_ms, size=height, party=host.party, around=around(newest))
            people = represented.of_records(reader, host, records.tolist())
            names = Names(key, _newest_batch(reader) + 1, now_ms)
        facts = replace(facts, signers={row: people[one].masked for row, one in enumerate(records.tolist()) if one in people})
        contents = Contents(
            facts, words, names, party=host.party, **({"masks": masks(facts)} if masks is not None else {})
        )
        leaves: list[bytes] = []
        for start in range(0, len(facts), _BLOCK):
            leaves += receipts.leaves_of([contents.body(row) for row in range(start, min(start + _BLOCK, len(facts)))])
            step(len(leaves))
        levels = receipts.levels_of(leaves)
        root = levels[-1][0]
        message = receipts.signing_bytes(issuer=host.party, root=root, receipts=len(facts), signed_ms=now_ms)
        proof = receipts.format_proof(key=signer.key, signature=signer.sign(message), signed_ms=now_ms)
        try:
            entry = host.store.write(lambda tx: _write(tx, host, facts, names, root, selection, actor))  # noqa: B023  runs now
        except _Moved:
            continue
        return Issued(names.batch, entry, root, facts, contents, levels, proof)
    raise Refused(
        "出具期间不断有授权变动，请稍后再出具；没有出具任何凭据",
        "consent kept changing meanwhile: issue again later; no receipt was issued",
        code="RECEIPTS_BUSY",
    )


def anchor_bytes(value: Any) -> bytes:
    """A receipt of the issuing entry as the member `anchor`."""
    return canonical.format(value)


def find(reader: tables.Reader, receipt_id: str) -> tuple[int, int, int]:
    """(record, batch, index of the issuing entry) of a receipt. Raises NotFound NO_RECEIPT."""
    wanted = _raw_id(receipt_id)
    for batch, entry, ids, records in reader.execute(
        "SELECT batch, entry, ids, records FROM consent_receipt_batch ORDER BY batch DESC"
    ):
        at = ids.find(wanted) if wanted else -1
        while at >= 0 and at % 16:
            at = ids.find(wanted, at + 1)
        if at >= 0:
            return int(np.frombuffer(records, "<u8")[at // 16]), int(batch), int(entry)
    raise NotFound(
        "本机构没有出具过这个编号的凭据：核对编号", "this institution issued no receipt with this id: check the id", code="NO_RECEIPT"
    )


def issued_batches(reader: tables.Reader, limit: int) -> Iterator[tuple[int, int, int, int]]:
    """(batch, at_ms, entry, receipts), newest first."""
    for row in reader.execute(
        "SELECT batch, at_ms, entry, receipts FROM consent_receipt_batch ORDER BY batch DESC LIMIT ?", (limit,)
    ):
        yield int(row[0]), int(row[1]), int(row[2]), int(row[3])


def _write(tx: Transaction, host: Host, facts: Facts, names: Names, root: bytes, selection: str, actor: str) -> int:
    if tables.newest_event(tx) != facts.event or _newest_batch(tx) + 1 != names.batch:
        raise _Moved
    values = {
        "root": root.hex(), "receipts": str(len(facts)), "selection": selection, "event": str(facts.event), "size": str(facts.size),
    }  # fmt: skip
    entry = host.evidence.append(tx, receipts.ENTRY_KIND, values, actor=actor)
    records = facts.records.tolist()
    ids = b"".join(_raw_id(names.receipt_id(record)) for record in records)
    tx.execute(
        "INSERT INTO consent_receipt_batch (batch, at_ms, entry, event, receipts, root, ids, records)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            names.batch, facts.at_ms, entry.index, facts.event, len(facts), root, ids,
            facts.records.astype("<u8").tobytes(),
        ),
    )  # fmt: skip
    return entry.index


def _newest_batch(reader: tables.Reader) -> int:
    return int(reader.execute("SELECT coalesce(max(batch), 0) FROM consent_receipt_batch").fetchone()[0])


def _raw_id(receipt_id: str) -> bytes:
    digits = receipt_id.removeprefix("CR-")
    return bytes.fromhex(digits) if len(digits) == 32 and all(one in "0123456789abcdef" for one in digits) else b""
