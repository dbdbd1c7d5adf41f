"""Tokens of identifiers, and who means whom, a million at a time. Document: docs/consent.md section 3.

A token is the first 16 bytes of HMAC-SM3(institution's key, kind ‖ 0x00 ‖ normalised identifier); sixteen zero bytes
stand for "not named". Without the key nobody can tell whose token it is by trying all phones. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import polars as pl

from workbench.crypto import sm3
from workbench.domain.intersection import KeyKind

TOKEN_SIZE = 16
TOKEN_PURPOSE = "consent-subject"
ABSENT = bytes(TOKEN_SIZE)
_BATCH = 65_536

Words = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Subjects:
    """n subjects as columns: the two halves of each token, shape (2, n) each, zero where not named."""

    phone: Words
    id_no: Words

    def __len__(self) -> int:
        return int(self.phone.shape[1])

    def of(self, kind: KeyKind) -> Words:
        return self.phone if kind is KeyKind.PHONE else self.id_no

    def take(self, rows: npt.NDArray[np.integer] | Flags) -> Subjects:
        return Subjects(self.phone[:, rows], self.id_no[:, rows])

    @classmethod
    def concatenate(cls, parts: Iterable[Subjects]) -> Subjects:
        pieces = list(parts)
        return cls(
            np.concatenate([part.phone for part in pieces], axis=1),
            np.concatenate([part.id_no for part in pieces], axis=1),
        )

    @classmethod
    def empty(cls) -> Subjects:
        return cls(words_of(b""), words_of(b""))


@dataclass(frozen=True, slots=True)
class Pairs:
    """Rows of a left and a right side that belong together; by_id: the identity numbers agree."""

    left: Rows
    right: Rows
    by_id: Flags


def token(key: bytes, kind: KeyKind, identifier: str) -> bytes:
    """The token of one normalised identifier, 16 bytes."""
    return sm3.hmac(key, kind.value.encode() + b"\x00" + identifier.encode())[:TOKEN_SIZE]


def tokens(key: bytes, kind: KeyKind, identifiers: pl.Series) -> Words:
    """The tokens of a column of normalised identifiers; null and "" give zero. Cost: about 2 µs each."""
    prefix = kind.value + "\x00"
    mac = partial(sm3.hmac, key)
    pieces: list[bytes] = []
    for start in range(0, len(identifiers), _BATCH):
        part = identifiers.slice(start, _BATCH).cast(pl.String).replace("", None)
        messages = (prefix + part.drop_nulls()).cast(pl.Binary).to_list()
        macs = np.frombuffer(b"".join(map(mac, messages)), np.uint8).reshape(-1, sm3.DIGEST_SIZE)
        block = np.zeros((len(part), TOKEN_SIZE), np.uint8)
        block[part.is_not_null().to_numpy()] = macs[:, :TOKEN_SIZE]
        pieces.append(block.tobytes())
    return words_of(b"".join(pieces))


def words_of(data: bytes) -> Words:
    """Tokens written one after the other as columns; the inverse of `bytes_of`."""
    return np.ascontiguousarray(np.frombuffer(data, "<u8").reshape(-1, 2).T)


def bytes_of(words: Words) -> bytes:
    """Columns as tokens one after the other, 16 bytes each."""
    return np.ascontiguousarray(words.T).astype("<u8", copy=False).tobytes()


def token_at(words: Words, row: int) -> bytes | None:
    """One token, or None where not named."""
    data = bytes_of(words[:, row : row + 1])
    return None if data == ABSENT else data


def is_named(words: Words) -> Flags:
    """Where a token stands."""
    return np.asarray((words[0] | words[1]) != 0)


def equal_rows(left: Words, right: Words) -> tuple[Rows, Rows]:
    """All pairs (left row, right row) with the same token. Cost: a hash join, about 0.2 µs a row."""
    joined = _indexed(left, "left").join(_indexed(right, "right"), on=["high", "low"], how="inner")
    return joined["left"].to_numpy(), joined["right"].to_numpy()


def grants_of(customers: Subjects, grants: Subjects) -> Pairs:
    """Which grants fit which customers (`grants.fits_customer`), ordered by customer."""
    left, right = equal_rows(customers.id_no, grants.id_no)
    keep = ~_differ(customers.phone, left, grants.phone, right)
    return _merge(left[keep], right[keep], *_by_phone_only(customers, grants))


def meant_by(subjects: Subjects, withdrawals: Subjects) -> Pairs:
    """Which withdrawals mean which subjects (`grants.means_person`), ordered by subject."""
    left, right = equal_rows(subjects.id_no, withdrawals.id_no)
    return _merge(left, right, *_by_phone_only(subjects, withdrawals))


def holds_any(column: Words, wanted: Words) -> Flags:
    """Where `column` has one of the wanted tokens; "not named" matches nothing. Cost: small when `wanted` is."""
    found = np.zeros(column.shape[1], bool)
    wanted = wanted[:, is_named(wanted)]
    if not wanted.shape[1]:
        return found
    # The first halves sieve; only what passes is compared in full.
    sieve = np.sort(wanted[0])
    place = np.minimum(np.searchsorted(sieve, column[0]), len(sieve) - 1) if len(sieve) > 8 else None
    hit = np.isin(column[0], sieve) if place is None else sieve[place] == column[0]
    rows = np.flatnonzero(hit)
    found[rows[equal_rows(column[:, rows], wanted)[0]]] = True
    return found


def batches(count: int, size: int = _BATCH) -> Iterator[slice]:
    """Slices that cover 0 <= row < count."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _by_phone_only(left: Subjects, right: Subjects) -> tuple[Rows, Rows]:
    """Pairs with the same phone where not both name an identity number (if both do, the number has decided)."""
    a, b = equal_rows(left.phone, right.phone)
    open_ = ~(is_named(left.id_no)[a] & is_named(right.id_no)[b])
    return a[open_], b[open_]


def _merge(id_left: Rows, id_right: Rows, phone_left: Rows, phone_right: Rows) -> Pairs:
    left = np.concatenate([id_left, phone_left])
    right = np.concatenate([id_right, phone_right])
    by_id = np.concatenate([np.ones(len(id_left), bool), np.zeros(len(phone_left), bool)])
    order = np.argsort(left, kind="stable")
    return Pairs(left[order], right[order], by_id[order])


def _differ(left: Words, a: Rows, right: Words, b: Rows) -> Flags:
    """For pairs of rows: both named, and not the same."""
    same = (left[0][a] == right[0][b]) & (left[1][a] == right[1][b])
    return np.asarray(is_named(left)[a] & is_named(right)[b] & ~same)


def _indexed(words: Words, name: str) -> pl.DataFrame:
    rows = np.flatnonzero(is_named(words))
    return pl.DataFrame({"high": words[0][rows], "low": words[1][rows], name: rows.astype(np.int64)})
