"""Grant rows in bulk: digests, chunks for the database, and back. Document: docs/consent.md sections 4 and 6. Pure.

A chunk holds up to 65,536 consecutive grants column by column. A row per grant would keep the node's one writer busy for
eight seconds per million rows and every other change waiting; chunks take half a second.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.crypto import sm3
from workbench.errors import VerificationError
from workbench_consent import merkle
from workbench_consent.columns import GrantColumns, Term
from workbench_consent.grants import DOCUMENT_LABEL, grant_digest_head
from workbench_consent.subjects import TOKEN_SIZE, Rows, Subjects, words_of

CHUNK_ROWS = 65_536
SALT_SIZE = 32
ROW_SIZE = 2 * TOKEN_SIZE + 2 * sm3.DIGEST_SIZE


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive grants from record `first` as bytes per column, exactly as table consent_grant keeps them.

    phone, id_no: 16 bytes a row. term: 2 (little-endian). from_ms, until_ms: 8 (little-endian). salt, form, digest: 32.
    """

    first: int
    seq: int
    rows: int
    phone: bytes
    id_no: bytes
    term: bytes
    from_ms: bytes
    until_ms: bytes
    salt: bytes
    form: bytes
    digest: bytes


COLUMN_SIZES = {
    "phone": TOKEN_SIZE,
    "id_no": TOKEN_SIZE,
    "term": 2,
    "from_ms": 8,
    "until_ms": 8,
    "salt": SALT_SIZE,
    "form": sm3.DIGEST_SIZE,
    "digest": sm3.DIGEST_SIZE,
}


def commit_forms(salts: bytes, documents: Sequence[bytes], first: int) -> bytes:
    """`grants.signed_form_commitment` of consecutive records from `first`, 32 bytes each. Cost: about 2 µs each."""

    def message(row: int) -> bytes:
        salt, document = salts[32 * row : 32 * row + 32], documents[row]
        return DOCUMENT_LABEL + salt + bytes((len(document),)) + document + (first + row).to_bytes(8, "big")

    return b"".join(sm3.digest_many([message(row) for row in range(len(documents))]))


def digest_grants(
    *, party: str, terms: Sequence[Term], term: npt.NDArray[np.uint16], from_ms: Rows, until_ms: Rows, salts: bytes,
    forms: bytes,
) -> bytes:  # fmt: skip
    """`grants.grant_digest` of every row, 32 bytes each. Cost: about 2 µs each."""
    heads = [
        grant_digest_head(
            purpose=one.purpose, party=party, recipient=one.recipient, channel=one.channel, conditions=one.conditions
        )
        for one in terms
    ]
    windows = np.stack([from_ms, until_ms], axis=1).astype(">u8").tobytes()
    numbers: list[int] = term.tolist()

    def message(row: int) -> bytes:
        at = 32 * row
        return heads[numbers[row]] + salts[at : at + 32] + windows[16 * row : 16 * row + 16] + forms[at : at + 32]

    return b"".join(sm3.digest_many([message(row) for row in range(len(numbers))]))


def import_root(chunks: Iterable[Chunk]) -> bytes:
    """The root in the evidence of one import: rows are phone token ‖ id token ‖ form commitment ‖ grant digest."""
    return merkle.root([leaf for chunk in chunks for leaf in import_leaves(chunk)])


def import_leaves(chunk: Chunk) -> list[bytes]:
    """The leaves of one chunk under the root of its import; a chunk ends at the end of a leaf."""
    return merkle.leaves(_leaf_rows(chunk), ROW_SIZE)


def columns_of(chunk: Chunk, terms: int) -> GrantColumns:
    """A stored chunk as columns, not yet folded with withdrawals.

    terms: how many terms the registry has. Raises VerificationError when the chunk is not one this program wrote.
    """
    columns = [(getattr(chunk, name), size) for name, size in COLUMN_SIZES.items()]
    if not all(isinstance(data, bytes) and len(data) == size * chunk.rows for data, size in columns):
        raise _altered(chunk)
    term = np.frombuffer(chunk.term, "<u2").astype(np.uint16)
    from_ms = np.frombuffer(chunk.from_ms, "<i8").astype(np.int64)
    until_ms = np.frombuffer(chunk.until_ms, "<i8").astype(np.int64)
    if chunk.rows and (int(term.max()) >= terms or int(from_ms.min()) < 0 or bool((until_ms <= from_ms).any())):
        raise _altered(chunk)
    return GrantColumns(
        subjects=Subjects(words_of(chunk.phone), words_of(chunk.id_no)),
        term=term,
        from_ms=from_ms,
        until_ms=until_ms,
        seq=np.full(chunk.rows, chunk.seq, np.int64),
        digest=np.frombuffer(chunk.digest, np.uint8).reshape(-1, 32),
        withdrawn=np.zeros(chunk.rows, bool),
        rank=np.arange(chunk.rows, dtype=np.int64),
    )


def first_altered_record(
    chunk: Chunk, terms: Sequence[Term], party: str, *, besides: Collection[int] = ()
) -> int | None:
    """The first record whose digest is not that of its own fields, None when all hold. Cost: as `digest_grants`.

    besides: rows of the chunk that were erased and have no digest.
    """
    columns = columns_of(chunk, len(terms))
    expected = digest_grants(
        party=party,
        terms=terms,
        term=columns.term,
        from_ms=columns.from_ms,
        until_ms=columns.until_ms,
        salts=chunk.salt,
        forms=chunk.form,
    )
    same = (np.frombuffer(expected, np.uint8) == np.frombuffer(chunk.digest, np.uint8)).reshape(-1, 32).all(axis=1)
    same[list(besides)] = True
    wrong = np.flatnonzero(~same)
    return chunk.first + int(wrong[0]) if len(wrong) else None


def _leaf_rows(chunk: Chunk) -> bytes:
    parts = [
        np.frombuffer(data, np.uint8).reshape(chunk.rows, -1)
        for data in (chunk.phone, chunk.id_no, chunk.form, chunk.digest)
    ]
    return np.concatenate(parts, axis=1).tobytes()


def _altered(chunk: Chunk) -> VerificationError:
    return VerificationError(
        f"授权登记从第 {chunk.first} 条起的一段被改动：合规岗核查数据库，名单在此之前不得使用",
        f"the consent records from number {chunk.first} on were altered: compliance must look into the database; "
        "no list may be used before",
        code="CONSENT_ALTERED",
        details={"record": str(chunk.first)},
    )
