"""Reading and writing the tables of the registry; nothing is decided here. Document: docs/consent.md section 6."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from workbench.contracts import Transaction
from workbench_consent.columns import Term, WithdrawalColumns
from workbench_consent.grants import Conditions, Subject, Withdrawal
from workbench_consent.rows import Chunk
from workbench_consent.subjects import ABSENT, Subjects, words_of

Reader = sqlite3.Connection | Transaction

_CHUNK = "first, seq, rows, phone, id_no, term, from_ms, until_ms, salt, form, digest"


def newest_event(reader: Reader) -> int:
    """Number of the newest consent event, 0 when there is none."""
    return int(reader.execute("SELECT coalesce(max(seq), 0) FROM consent_event").fetchone()[0])


def newest_withdrawal(reader: Reader) -> int:
    """Number of the newest event that took something back, 0 when there is none."""
    return int(reader.execute("SELECT coalesce(max(seq), 0) FROM consent_suppression").fetchone()[0])


def newest_erasure(reader: Reader) -> int:
    """Number of the newest event that erased grants, 0 when there is none."""
    return int(reader.execute("SELECT coalesce(max(seq), 0) FROM consent_event WHERE kind = 'erased'").fetchone()[0])


def record_count(reader: Reader) -> int:
    """How many grants there are; records are numbered 1 to this."""
    row = reader.execute("SELECT first + rows - 1 FROM consent_grant ORDER BY first DESC LIMIT 1").fetchone()
    return 0 if row is None else int(row[0])


def add_event(
    tx: Transaction, kind: str, *, seq: int, entry: int, at_ms: int, actor: str, first: int = 0, rows: int = 0,
    root: bytes = b"", salt: bytes = b"",
) -> None:  # fmt: skip
    """Write event `seq`, which must follow the newest; entry: index of its evidence in the own log."""
    tx.execute(
        "INSERT INTO consent_event (seq, kind, at_ms, actor, first, rows, root, salt, entry)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (seq, kind, at_ms, actor, first, rows, root, salt, entry),
    )


def terms(reader: Reader) -> tuple[Term, ...]:
    """Every term in the order of its number, which is its index."""
    rows = reader.execute(
        "SELECT purpose, recipient, channel, notice, notice_digest, categories, contacts, method, signer, minor, separate, max_uses"
        " FROM consent_term ORDER BY number"
    ).fetchall()
    return tuple(Term(row[0], row[1], row[2], _conditions(row)) for row in rows)


def add_terms(tx: Transaction, added: Sequence[Term]) -> None:
    """Write new terms after those that exist."""
    count = int(tx.execute("SELECT count(*) FROM consent_term").fetchone()[0])
    tx.executemany(
        "INSERT INTO consent_term (number, purpose, recipient, channel, notice, notice_digest, categories, contacts, method, signer,"
        " minor, separate, max_uses) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                count + i, term.purpose, term.recipient, term.channel, one.notice, one.notice_digest, ",".join(one.categories),
                ",".join(one.contacts), one.method, one.signer, int(one.minor), int(one.separate), one.max_uses,
            )
            for i, term in enumerate(added)
            for one in (term.conditions,)
        ],
    )  # fmt: skip


def _conditions(row: Sequence[Any]) -> Conditions:
    notice, notice_digest, categories, contacts, method, signer, minor, separate, max_uses = tuple(row)[3:]
    return Conditions(
        notice, notice_digest, _codes(categories), _codes(contacts), method, signer, bool(minor), bool(separate), int(max_uses)
    )


def _codes(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def chunks(reader: Reader, *, after: int = 0, seq: int | None = None) -> Iterator[Chunk]:
    """Chunks whose records come after record `after`, in order; seq: of one import only."""
    if seq is None:
        rows = reader.execute(f"SELECT {_CHUNK} FROM consent_grant WHERE first > ? ORDER BY first", (after,))
    else:
        rows = reader.execute(f"SELECT {_CHUNK} FROM consent_grant WHERE seq = ? ORDER BY first", (seq,))
    for row in rows:
        yield Chunk(*row)


def chunk_holding(reader: Reader, record: int) -> Chunk:
    """The chunk a record lies in; the record must exist."""
    row = reader.execute(
        f"SELECT {_CHUNK} FROM consent_grant WHERE first <= ? ORDER BY first DESC LIMIT 1", (record,)
    ).fetchone()
    return Chunk(*row)


def add_chunks(tx: Transaction, added: Sequence[Chunk]) -> None:
    tx.executemany(
        f"INSERT INTO consent_grant ({_CHUNK}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (c.first, c.seq, c.rows, c.phone, c.id_no, c.term, c.from_ms, c.until_ms, c.salt, c.form, c.digest)
            for c in added
        ],
    )


def replace_chunk(tx: Transaction, chunk: Chunk) -> None:
    """Write a chunk over the one that begins with the same record; what was there is overwritten with zeros."""
    tx.execute(
        "UPDATE consent_grant SET phone = ?, id_no = ?, salt = ?, form = ?, digest = ? WHERE first = ?",
        (chunk.phone, chunk.id_no, chunk.salt, chunk.form, chunk.digest, chunk.first),
    )


def subjects_of_grants(reader: Reader) -> tuple[Subjects, np.ndarray]:
    """Tokens and terms of all grants in order of record. Cost: about 40 ms for 10^6."""
    rows = reader.execute("SELECT phone, id_no, term FROM consent_grant ORDER BY first").fetchall()
    phone, id_no, term = (b"".join(row[i] for row in rows) for i in range(3))
    return Subjects(words_of(phone), words_of(id_no)), np.frombuffer(term, "<u2")


def withdrawals(reader: Reader) -> WithdrawalColumns:
    """All withdrawals as columns, in the order they were written."""
    rows = reader.execute(
        "SELECT phone, id_no, seq, purpose, recipient, suppresses AND lifted_seq IS NULL"
        " FROM consent_suppression ORDER BY number"
    ).fetchall()
    if not rows:
        return WithdrawalColumns.empty()
    phone, id_no, seq, purpose, recipient, keeps_out = zip(*(tuple(row) for row in rows), strict=True)
    return WithdrawalColumns(
        subjects=Subjects(words_of(b"".join(phone)), words_of(b"".join(id_no))),
        seq=np.array(seq, np.int64),
        purpose=np.array(purpose, object),
        recipient=np.array(recipient, object),
        keeps_out=np.array(keeps_out, bool),
    )


def add_withdrawals(tx: Transaction, added: Sequence[Withdrawal]) -> None:
    tx.executemany(
        "INSERT INTO consent_suppression (seq, phone, id_no, purpose, recipient, suppresses) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (
                one.seq,
                one.subject.phone or ABSENT,
                one.subject.id_no or ABSENT,
                one.purpose,
                one.recipient,
                int(one.suppresses),
            )
            for one in added
        ],
    )


def withdrawals_of(reader: Reader, seq: int) -> list[Withdrawal]:
    """What event `seq` withdrew, in the order it was written, as it was before any lifting."""
    rows = reader.execute(
        "SELECT phone, id_no, purpose, recipient, suppresses FROM consent_suppression WHERE seq = ? ORDER BY number",
        (seq,),
    ).fetchall()
    return [
        Withdrawal(seq, Subject(_named(phone), _named(id_no)), purpose, recipient, bool(suppresses))
        for phone, id_no, purpose, recipient, suppresses in rows
    ]


def lifted_by(reader: Reader, seq: int) -> list[int]:
    """Numbers of the entries that event `seq` lifted, ascending."""
    rows = reader.execute("SELECT number FROM consent_suppression WHERE lifted_seq = ? ORDER BY number", (seq,))
    return [int(number) for (number,) in rows]


def entries_of_imports(reader: Reader, records: np.ndarray) -> list[int]:
    """Indices in the own log of the entries of the imports that brought these records, ascending."""
    rows = reader.execute(
        "SELECT first, rows, entry FROM consent_event WHERE kind = 'imported' AND rows > 0 ORDER BY first"
    ).fetchall()
    return sorted(int(entry) for first, count, entry in rows if ((records >= first) & (records < first + count)).any())


def erased_by(reader: Reader, seq: int) -> list[int]:
    """Records that event `seq` took out, ascending."""
    rows = reader.execute("SELECT record FROM consent_erased WHERE seq = ? ORDER BY record", (seq,))
    return [int(record) for (record,) in rows]


def leaves_after(reader: Reader, seq: int) -> list[tuple[int, bytes]]:
    """First record and hash of the leaves event `seq` touched, as they were after it, ascending."""
    rows = reader.execute("SELECT first, hash FROM consent_leaf_after WHERE seq = ? ORDER BY first", (seq,))
    return [(int(first), bytes(hash_)) for first, hash_ in rows]


def lift(tx: Transaction, subject: Subject, seq: int) -> list[int]:
    """Mark every entry that names one of the identifiers as lifted by event `seq`; returns their numbers."""
    tx.execute(
        "UPDATE consent_suppression SET lifted_seq = ? WHERE suppresses AND lifted_seq IS NULL"
        " AND ((phone = ? AND phone <> ?) OR (id_no = ? AND id_no <> ?))",
        (seq, subject.phone or ABSENT, ABSENT, subject.id_no or ABSENT, ABSENT),
    )
    return lifted_by(tx, seq)


def _named(token: bytes) -> bytes | None:
    return None if token == ABSENT else token
