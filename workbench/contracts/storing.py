"""Where an institution keeps what it holds: database, personal data, files and what the law still demands."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the database of one owner ("host" or a plugin's name).

    number: 1, 2, 3 … without gaps per owner. sql: statements; every table a plugin makes starts with its owner's name
    and an underscore, except the public table `entry` of the ledger.
    """

    owner: str
    number: int
    sql: str


class Transaction(Protocol):
    """The write side inside one savepoint of the writer: everything in it happens, or nothing of it."""

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ...) -> sqlite3.Cursor: ...

    def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor: ...


class Store(Protocol):
    """One SQLite file of one institution; one writer with group commit; many readers."""

    def write(self, change: Callable[[Transaction], T], *, timeout_s: float = 60.0) -> T:
        """Run `change` in the writer's transaction under its own savepoint; return when the commit is on disk.

        An exception of `change` rolls back its own savepoint only and is raised here. Called from any thread except
        the writer's own.
        """

    def read(self) -> AbstractContextManager[sqlite3.Connection]:
        """A read-only connection on a consistent snapshot, to be left soon."""


class Vault(Protocol):
    """Personal data at rest: chunks under one key per object, the keys wrapped by the vault key (decision 25)."""

    def put(self, tx: Transaction, name: str, data: bytes) -> None:
        """Store `data` under a fresh key; replaces an object of the same name and destroys its key."""

    def get(self, reader: sqlite3.Connection | Transaction, name: str) -> bytes:
        """The data; NotFound when there is none or it was shredded; VerificationError when it was altered."""

    def shred(self, tx: Transaction, name: str) -> bool:
        """Destroy key and chunks; False when there was nothing."""

    def token(self, purpose: str, value: bytes) -> bytes:
        """HMAC-SM3 under a key of this institution for this purpose: 32 bytes that nobody else can recompute."""

    def token_key(self, purpose: str) -> bytes:
        """The key behind `token`, for bulk work inside this process only."""

    def stage(self, name: str, parts: Iterable[bytes | memoryview]) -> Any:
        """Write a large object ahead of the change that needs it, outside any change; give the draft to `adopt`."""

    def adopt(self, tx: Transaction, draft: Any) -> None:
        """Make a staged object exist under its name, in the change."""

    def get_stream(self, reader: sqlite3.Connection | Transaction, name: str) -> Iterator[bytes]:
        """As `get`, in parts; act on the data only when the iteration is over."""

    def names(self, reader: sqlite3.Connection | Transaction, prefix: str = "") -> list[str]:
        """Names of the objects that start with `prefix`, sorted."""


class BlobStore(Protocol):
    """Signed forms and other files a record rests on, encrypted beside the database (docs/protocols/erasure.md section 7)."""

    def stage(self, parts: Iterable[bytes | memoryview]) -> Any:
        """Write a content outside any change; give the draft to `adopt` or `discard`. Its `address` is SM3 of the content."""

    def adopt(self, tx: Transaction, draft: Any, *, owner: str, ref: str) -> str:
        """Make it exist for this owner under `ref`, in the change; returns its name."""

    def discard(self, draft: Any) -> None:
        """Take a draft back whose change failed."""

    def named(self, reader: sqlite3.Connection | Transaction, owner: str, ref: str) -> str:
        """Name of what lies under `ref`; NotFound, or Denied RESTRICTED."""

    def get(self, reader: sqlite3.Connection | Transaction, name: str) -> bytes:
        """The content, re-hashed; VerificationError BLOB_ALTERED names the place."""

    def address(self, reader: sqlite3.Connection | Transaction, name: str) -> bytes:
        """SM3 of the content, computed anew; raises as `get`."""

    def references(self, reader: sqlite3.Connection | Transaction, owner: str) -> dict[str, str]:
        """ref -> name of everything an owner keeps."""


class RestrictedStore(Protocol):
    """Where values lie that the law still demands (docs/protocols/erasure.md section 4)."""

    def take_records(
        self,
        tx: Transaction,
        values: Mapping[str, bytes],
        *,
        owner: str,
        kind: str,
        from_ms: int,
        request: str,
        documents: Sequence[str] = (),
    ) -> Any:
        """Restrict or erase records of a plugin, as the term of `kind` demands; the plugin empties its own rows.

        documents: refs of the owner's blobs that go the same way. Returns restricted_items, erased_items and until_ms.
        """
