"""Tokens of identifiers, and who means whom, a million at a time. Document: docs/consent.md section 3.

A token is the first 16 bytes of HMAC-SM3(institution's key, kind ‖ 0x00 ‖ normalised identifier); sixteen zero bytes
stand for "not named". Without the key nobody can tell whose token it is by trying all phones. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

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
class Relation:
    """One way in which rows of a right side belong to rows of a left side: both are numbered by the key they share.

    left: (n) group of each left row, -1 for none. right, group: rows of the right side that take part, and their groups.
    count: number of groups. Never a list of pairs: a thousand rows with one phone on both sides would make a million.
    """

    left: Rows
    right: Rows
    group: Rows
    count: int


@dataclass(frozen=True, slots=True)
class Links:
    """Which grants fit which customers (`grants.fits_customer`); by_phone: relations that rest on the phone alone."""

    by_phone: tuple[Relation, ...]
    by_id: tuple[Relation, ...]


def token(key: bytes, kind: KeyKind, identifier: str) -> bytes:
    """The token of one normalised identifier, 16 bytes."""
    return sm3.hmac(key, kind.value.encode() + b"\x00" + identifier.encode())[:TOKEN_SIZE]


def tokens(key: bytes, kind: KeyKind, identifiers: pl.Series) -> Words:
    """The tokens of a column of normalised identifiers; null and "" give zero. Cost: about 0.6 µs each."""
    prefix = kind.value + "\x00"
    pieces: list[bytes] = []
    for start in range(0, len(identifiers), _BATCH):
        part = identifiers.slice(start, _BATCH).cast(pl.String).replace("", None)
        messages = (prefix + part.drop_nulls()).cast(pl.Binary).to_list()
        macs = np.frombuffer(b"".join(sm3.hmac_many(key, messages)), np.uint8).reshape(-1, sm3.DIGEST_SIZE)
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


def links_of(customers: Subjects, grants: Subjects) -> Links:
    """Which grants fit which customers. Cost: up to five joins of 0.4 µs a row of the larger side, mostly one."""
    phone, number = customers.phone, customers.id_no
    has_phone, has_id = is_named(phone), is_named(number)
    grant_phone, grant_id = is_named(grants.phone), is_named(grants.id_no)
    both = grant_phone & grant_id
    return Links(
        by_phone=_relations(
            (phone, has_phone, grants.phone, grant_phone & ~grant_id),
            (phone, has_phone & ~has_id, grants.phone, both),
        ),
        by_id=_relations(
            (number, has_id, grants.id_no, grant_id & ~grant_phone),
            (number, has_id & ~has_phone, grants.id_no, both),
            (np.concatenate([phone, number]), has_phone & has_id, np.concatenate([grants.phone, grants.id_no]), both),
        ),
    )


def _relations(*sides: tuple[Words, Flags, Words, Flags]) -> tuple[Relation, ...]:
    """Those that can relate anything: most lists name both identifiers or one, everywhere."""
    return tuple(relate(*one) for one in sides if one[1].any() and one[3].any())


def relate(left: Words, left_rows: Flags, right: Words, right_rows: Flags) -> Relation:
    """Rows with equal columns, among those chosen on each side. left, right: shape (k, n) and (k, m).

    Cost: two sorts by the first column, 0.3 µs a row of each side and 40 bytes meanwhile. Where different keys share
    their first column, which halves of HMACs hardly ever do, everything is joined by all columns instead.
    """
    chosen = np.flatnonzero(right_rows)
    if not len(chosen):
        return Relation(np.broadcast_to(np.int64(-1), (left.shape[1],)), chosen, chosen, 0)
    order = np.argsort(right[0, chosen])
    ascending = chosen[order]
    changes = np.ones(len(chosen), bool)
    changes[1:] = right[0, ascending[1:]] != right[0, ascending[:-1]]
    if any(bool((column[ascending[1:]] != column[ascending[:-1]])[~changes[1:]].any()) for column in right[1:]):
        return _relate_by_all_columns(left, left_rows, right, chosen)
    group = np.empty(len(chosen), np.int64)
    group[order] = np.cumsum(changes) - 1
    examples = ascending[changes]
    keys, asked = right[0, examples], np.flatnonzero(left_rows)
    # Both sides ascend, so the search stays in the cache.
    asked = asked[np.argsort(left[0, asked])]
    found = np.minimum(np.searchsorted(keys, left[0, asked]), len(keys) - 1)
    for mine, theirs in zip(left, right, strict=True):
        equal = mine[asked] == theirs[examples[found]]
        asked, found = asked[equal], found[equal]
    place = np.full(left.shape[1], -1, np.int64)
    place[asked] = found
    return Relation(place, chosen, group, len(keys))


def _relate_by_all_columns(left: Words, left_rows: Flags, right: Words, chosen: Rows) -> Relation:
    names = [f"{column}" for column in range(len(right))]
    keys = pl.DataFrame({name: column[chosen] for name, column in zip(names, right, strict=True)})
    groups = keys.unique(maintain_order=True).with_row_index("group")
    place = np.full(left.shape[1], -1, np.int64)
    asked = np.flatnonzero(left_rows)
    wanted = pl.DataFrame({name: column[asked] for name, column in zip(names, left, strict=True)})
    place[asked] = _numbers(wanted, groups, names)
    return Relation(place, chosen, _numbers(keys, groups, names), groups.height)


def meant(subjects: Subjects, by: Subjects) -> Flags:
    """Where one of the withdrawals `by` means this person (`grants.means_person`)."""
    without_id = by.phone[:, ~is_named(by.id_no)]
    return np.asarray(
        holds_any(subjects.id_no, by.id_no)
        | holds_any(subjects.phone, without_id)
        | (holds_any(subjects.phone, by.phone) & ~is_named(subjects.id_no))
    )


def holds_any(column: Words, wanted: Words) -> Flags:
    """Where `column` has one of the wanted tokens; "not named" matches nothing. Cost: small when `wanted` is."""
    found = np.zeros(column.shape[1], bool)
    wanted = wanted[:, is_named(wanted)]
    if not wanted.shape[1] or not column.shape[1]:
        return found
    # The first halves sieve; only what passes is compared in full.
    sieve = np.unique(wanted[0])
    place = np.minimum(np.searchsorted(sieve, column[0]), len(sieve) - 1)
    rows = np.flatnonzero(sieve[place] == column[0])
    everything = np.ones(wanted.shape[1], bool)
    found[rows] = relate(column[:, rows], np.ones(len(rows), bool), wanted, everything).left >= 0
    return found


def distinct(subjects: Subjects) -> Subjects:
    """The same subjects, each once."""
    columns = [*subjects.phone, *subjects.id_no]
    unique = pl.DataFrame({f"{i}": column for i, column in enumerate(columns)}).unique(maintain_order=True)
    halves = unique.to_numpy().astype(np.uint64).T
    return Subjects(np.ascontiguousarray(halves[:2]), np.ascontiguousarray(halves[2:]))


def _numbers(rows: pl.DataFrame, groups: pl.DataFrame, names: list[str]) -> Rows:
    joined = rows.join(groups, on=names, how="left", maintain_order="left")["group"]
    return joined.cast(pl.Int64).fill_null(-1).to_numpy()
