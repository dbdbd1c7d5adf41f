"""Personal data at rest: every object in chunks under a key of its own, every key wrapped under the vault key.

Document: docs/store.md, section "Vault" (decision 25). Promises: what was put is what is got, or VerificationError; a
shredded object or customer key cannot be opened again by anyone who has neither a copy made before nor the vault key's
older wrappings. The vault key itself is in no table and in no backup of them.

Keys, all SM4 keys of 16 bytes:  vault key (32 bytes) -> HKDF "vault/wrap" -> wrapping key -> wraps object keys, customer
keys and two root secrets; root secret "token" -> HKDF "vault/token" -> token keys; root secret "evidence" -> evidence
key. The root secrets keep tokens and openings valid when the vault key is replaced.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from workbench.contracts import Transaction
from workbench.crypto import aead, kdf, random, sm3
from workbench.errors import Denied, KeyUnavailable, NotFound, StorageFailed, VerificationError
from workbench.store.database import Database
from workbench.store.writer import StoreTransaction

VAULT_KEY_BYTES = 32
CHUNK_BYTES = 1024 * 1024
_OBJECT_ID_BYTES = 16
RESTRICTED_PREFIX = "restricted/"
"""Objects of these names are given out by `get_restricted` only."""
_ROOTS = ("evidence", "token")

# SQLite keeps whatever type a hand wrote into a column; cast, so that it ends in VerificationError and not elsewhere.
_OBJECT_COLUMNS = (
    "CAST(object AS BLOB), CAST(generation AS INTEGER), CAST(chunks AS INTEGER), CAST(size_bytes AS INTEGER),"
    " CAST(wrapped AS BLOB)"
)

Reader = sqlite3.Connection | Transaction


@dataclass(slots=True)
class Draft:
    """An object whose chunks are written and whose key is not: see `Vault.stage`. key: secret.

    count, size: chunks and bytes of data, known once finished.
    """

    name: str
    identifier: bytes
    key: bytes = field(repr=False)
    count: int = 0
    size: int = 0
    finished: bool = False

    def seal(self, parts: Iterable[bytes | memoryview]) -> Iterator[tuple[int, bytes]]:
        """(number, sealed chunk) of data that arrives in parts of any size; only once."""
        if self.count:
            raise ValueError("a draft is sealed once: its key must not see a nonce again")
        for number, chunk, is_last in _cut(parts):
            self.count, self.size = number + 1, self.size + len(chunk)
            data = _chunk_data(self.identifier, number, is_last)
            yield number, aead.seal(self.key, _nonce(number), chunk, associated=data)
        self.finished = True


@dataclass(frozen=True, slots=True)
class Opened:
    """An object whose key is at hand, to be read chunk by chunk, each in a snapshot of its own. key: secret.

    chunks: how many; size: bytes of data.
    """

    identifier: bytes
    key: bytes = field(repr=False)
    chunks: int
    size: int


class Vault:
    """Objects, customer keys and tokens of one institution. Fulfils workbench.contracts.Vault.

    database: where the objects lie. vault_key: 32 bytes; kept in memory, shown nowhere. source: for keys and nonces.
    Raises KeyUnavailable when the key is not the one this database was made with.
    """

    def __init__(self, database: Database, vault_key: bytes, *, source: random.RandomSource = random.SYSTEM) -> None:
        self.database = database
        self._source = source
        # The newest first; more than one only while a replacement is under way.
        self._wrapping_keys: tuple[bytes, ...] = (_wrapping_key(vault_key),)
        self._swap = threading.Lock()
        self._roots = self._open_roots()
        self.database.write(_sweep_drafts)
        self._token_keys: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return f"Vault({self.database.path.name})"

    # ---- objects

    def put(self, tx: Transaction, name: str, data: bytes) -> None:
        """Store `data` under a fresh key; an object of the same name is destroyed with its key.

        Cost: about 12 ns a byte. Memory: a few chunks beside `data`.
        """
        view = memoryview(data)
        self.put_stream(tx, name, (view[at : at + CHUNK_BYTES] for at in range(0, len(view), CHUNK_BYTES)))

    def put_stream(self, tx: Transaction, name: str, parts: Iterable[bytes | memoryview]) -> int:
        """As `put` for data that arrives in parts of any size; returns the number of bytes. Memory: a few chunks."""
        draft = self._draft(name)
        for number, sealed in draft.seal(parts):
            _insert_chunk(tx, row=(draft.identifier, number, sealed))
        self.adopt(tx, draft)
        return draft.size

    def stage(self, name: str, parts: Iterable[bytes | memoryview]) -> Draft:
        """Write the chunks of a large object ahead of the change that needs it, so that the writer stays free.

        Encrypts in the caller's thread and writes chunk by chunk in changes of its own. The object does not exist
        until `adopt` is called with the draft inside a change; a draft that never is, is swept at the next opening,
        and nobody could read it. Must not be called inside a change.
        """
        draft = self._draft(name)
        try:
            for number, sealed in draft.seal(parts):
                self.database.write(partial(_insert_chunk, row=(draft.identifier, number, sealed)))
        except BaseException:
            self.discard(draft)
            raise
        return draft

    def discard(self, draft: Draft) -> None:
        """Take back what `stage` wrote, because the change that needed it failed; an adopted draft is left alone.

        Must not be called inside a change. What cannot be deleted now is swept at the next opening.
        """
        with suppress(StorageFailed):
            self.database.write(partial(_delete_draft, identifier=draft.identifier))

    def adopt(self, tx: Transaction, draft: Draft) -> None:
        """Make a staged object exist under its name; an object of the same name is destroyed with its key."""
        if not draft.finished:
            raise ValueError("the draft of this object was not written to its end")
        row = tx.execute("SELECT generation, object FROM vault_object WHERE name = ?", (draft.name,)).fetchone()
        if row is not None and row[1] == draft.identifier:
            return  # adopted before; to shred the predecessor now would shred this very object
        generation = 1 if row is None else int(row[0]) + 1
        self.shred(tx, draft.name)
        data = _object_data(draft.name, draft.identifier, generation, draft.count, draft.size)
        tx.execute(
            "INSERT INTO vault_object (name, object, generation, chunks, size_bytes, wrapped) VALUES (?, ?, ?, ?, ?, ?)",
            (draft.name, draft.identifier, generation, draft.count, draft.size, self._wrap(draft.key, data)),
        )

    def _draft(self, name: str) -> Draft:
        if not name:
            raise ValueError("an object has a name")
        return Draft(name, self._source(_OBJECT_ID_BYTES), self._source(aead.KEY_SIZE))

    def get(self, reader: Reader, name: str) -> bytes:
        """The data of an object.

        Raises NotFound when there is none or it was shredded, VerificationError when a chunk was altered, exchanged,
        left out or added.
        """
        return b"".join(self.get_stream(reader, name))

    def get_restricted(self, reader: Reader, name: str) -> bytes:
        """The data of an object set aside by an erasure, for `workbench.store.restricted` alone. Raises as `get`."""
        return b"".join(self._stream(reader, RESTRICTED_PREFIX + name))

    def get_stream(self, reader: Reader, name: str) -> Iterator[bytes]:
        """The data in parts of at most 1 MiB; each part is verified before it is given out, the end with the last.

        Raises as `get`, and Denied for what an erasure set aside. A truncated object is noticed at its end: act on the
        data only when the iteration is over.
        """
        _require_unrestricted(name)
        return self._stream(reader, name)

    def open_object(self, reader: Reader, name: str) -> Opened:
        """An object for `read_chunk`: for data that is given out slowly, when no snapshot may stay open. Raises as `get`."""
        _require_unrestricted(name)
        return self._opened(reader, name)

    def read_chunk(self, reader: Reader, opened: Opened, number: int) -> bytes:
        """Chunk `number` of an object, 0 to chunks - 1; its last one proves the end. VerificationError when it is not there."""
        chunk = reader.execute(
            "SELECT CAST(sealed AS BLOB) FROM vault_chunk WHERE object = ? AND number = ?", (opened.identifier, number)
        ).fetchone()
        if chunk is None:
            raise _altered()
        data = _chunk_data(opened.identifier, number, number == opened.chunks - 1)
        return aead.open_sealed(opened.key, _nonce(number), chunk[0], associated=data)

    def _stream(self, reader: Reader, name: str) -> Iterator[bytes]:
        opened = self._opened(reader, name)
        for number in range(opened.chunks):
            yield self.read_chunk(reader, opened, number)

    def _opened(self, reader: Reader, name: str) -> Opened:
        row = reader.execute(f"SELECT {_OBJECT_COLUMNS} FROM vault_object WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise _no_object()
        identifier, generation, count, size, wrapped = row
        key = self._unwrap(wrapped, _object_data(name, identifier, generation, count, size))
        total = reader.execute("SELECT count(*) FROM vault_chunk WHERE object = ?", (identifier,)).fetchone()[0]
        if total != count:
            raise _altered()
        return Opened(identifier, key, count, size)

    def shred(self, tx: Transaction, name: str) -> bool:
        """Destroy key and chunks of an object; False when there was nothing.

        SQLite overwrites what is deleted (secure_delete) and the writer empties the write-ahead log afterwards. Blocks
        that the file system or the drive has put aside are out of reach; without the key row they are ciphertext
        whose key exists nowhere.
        """
        row = tx.execute("SELECT object FROM vault_object WHERE name = ?", (name,)).fetchone()
        if row is None:
            return False
        tx.execute("DELETE FROM vault_chunk WHERE object = ?", row)
        tx.execute("DELETE FROM vault_object WHERE name = ?", (name,))
        mark_erased_in(tx)
        return True

    def names(self, reader: Reader, prefix: str = "") -> list[str]:
        """Names of the objects that start with `prefix`, sorted."""
        rows = reader.execute(
            "SELECT name FROM vault_object WHERE substr(name, 1, ?) = ? ORDER BY name", (len(prefix), prefix)
        )
        return [name for (name,) in rows]

    # ---- keys of customers

    def subject_key(self, tx: Transaction, subject: str) -> bytes:
        """The 16-byte key that seals evidence values about one customer; made when there is none.

        subject: a token, never an identifier.
        """
        row = tx.execute("SELECT CAST(wrapped AS BLOB) FROM vault_subject WHERE subject = ?", (subject,)).fetchone()
        if row is not None:
            return self._unwrap(row[0], _subject_data(subject))
        if not subject:
            raise ValueError("a customer key has a name")
        key = self._source(aead.KEY_SIZE)
        wrapped = self._wrap(key, _subject_data(subject))
        tx.execute("INSERT INTO vault_subject (subject, wrapped) VALUES (?, ?)", (subject, wrapped))
        return key

    def keep_key(self, tx: Transaction, name: str, key: bytes) -> None:
        """Keep a 16-byte key somebody else drew, bound to its name; `open_subject_key` and `shred_subject` find it.

        For keys of data outside the database (blobs). Raises ValueError where the name is taken.
        """
        if not name or len(key) != aead.KEY_SIZE:
            raise ValueError("a kept key has a name and 16 bytes")
        if tx.execute("SELECT 1 FROM vault_subject WHERE subject = ?", (name,)).fetchone() is not None:
            raise ValueError("a key of this name is kept already")
        wrapped = self._wrap(key, _subject_data(name))
        tx.execute("INSERT INTO vault_subject (subject, wrapped) VALUES (?, ?)", (name, wrapped))

    def open_subject_key(self, reader: Reader, subject: str) -> bytes:
        """The key of one customer for reading. Raises NotFound when there is none or it was shredded."""
        row = reader.execute("SELECT CAST(wrapped AS BLOB) FROM vault_subject WHERE subject = ?", (subject,)).fetchone()
        if row is None:
            raise NotFound(
                "该客户的密钥不存在或已销毁", "there is no key for this customer, or it was destroyed", code="ERASED"
            )
        return self._unwrap(row[0], _subject_data(subject))

    def shred_subject(self, tx: Transaction, subject: str) -> bool:
        """Destroy the key of one customer, and with it every value sealed under it; False when there was none."""
        deleted = tx.execute("DELETE FROM vault_subject WHERE subject = ?", (subject,)).rowcount
        if deleted:
            mark_erased_in(tx)
        return bool(deleted)

    # ---- tokens and derived keys

    def token(self, purpose: str, value: bytes) -> bytes:
        """HMAC-SM3 under this institution's key for `purpose`: 32 bytes that nobody else can recompute."""
        return sm3.hmac(self.token_key(purpose), value)

    def token_key(self, purpose: str) -> bytes:
        """The 32-byte key behind `token`, for bulk work inside this process only; the same for ever."""
        key = self._token_keys.get(purpose)
        if key is None:
            key = kdf.expand(self._roots["token"], "vault/token", purpose.encode("utf-8"))
            self._token_keys[purpose] = key
        return key

    def evidence_key(self) -> bytes:
        """The 16-byte key that seals the openings of the log's entries."""
        return kdf.expand(self._roots["evidence"], "vault/evidence", length=aead.KEY_SIZE)

    # ---- replacing the vault key

    def rewrap(self, vault_key: bytes) -> int:
        """Wrap every key under a new vault key, all or nothing; returns how many were wrapped anew.

        Object data and openings stay as they are. Cost: about 30 microseconds a key.
        """
        new = _wrapping_key(vault_key)

        def change(tx: StoreTransaction) -> int:
            with self._swap:
                old = self._wrapping_keys
                # From here on later changes of the same group wrap under the new key; readers may still need the old.
                self._wrapping_keys = (new, *old)
            tx.after_rollback(lambda: self._set_wrapping_keys(old))
            count = self._rewrap_objects(tx) + self._rewrap_subjects(tx) + self._rewrap_roots(tx)
            mark_erased_in(tx)
            return count

        count = self.database.write(change)
        # A reader with an older snapshot may still meet a key under the old wrapping; it is gone once the log is empty.
        if self.database.checkpoint():
            self._set_wrapping_keys((new,))
        return count

    def _set_wrapping_keys(self, keys: tuple[bytes, ...]) -> None:
        with self._swap:
            self._wrapping_keys = keys

    def _rewrap_objects(self, tx: Transaction) -> int:
        rows = tx.execute(f"SELECT name, {_OBJECT_COLUMNS} FROM vault_object").fetchall()
        for name, identifier, generation, count, size, wrapped in rows:
            data = _object_data(name, identifier, generation, count, size)
            fresh = self._wrap(self._unwrap(wrapped, data), data)
            tx.execute("UPDATE vault_object SET wrapped = ? WHERE name = ?", (fresh, name))
        return len(rows)

    def _rewrap_subjects(self, tx: Transaction) -> int:
        rows = tx.execute("SELECT subject, CAST(wrapped AS BLOB) FROM vault_subject").fetchall()
        for subject, wrapped in rows:
            data = _subject_data(subject)
            fresh = self._wrap(self._unwrap(wrapped, data), data)
            tx.execute("UPDATE vault_subject SET wrapped = ? WHERE subject = ?", (fresh, subject))
        return len(rows)

    def _rewrap_roots(self, tx: Transaction) -> int:
        for name, secret in self._roots.items():
            fresh = self._wrap(secret, _root_data(name))
            tx.execute("UPDATE vault_root SET wrapped = ? WHERE name = ?", (fresh, name))
        return len(self._roots)

    # ---- wrapping

    def _open_roots(self) -> dict[str, bytes]:
        """The root secrets, made on the first opening. Raises KeyUnavailable for another vault key."""

        def change(tx: Transaction) -> dict[str, bytes]:
            stored = dict(tx.execute("SELECT name, CAST(wrapped AS BLOB) FROM vault_root").fetchall())
            if not stored:
                fresh = {name: self._source(sm3.DIGEST_SIZE) for name in _ROOTS}
                rows = [(name, self._wrap(secret, _root_data(name))) for name, secret in fresh.items()]
                tx.executemany("INSERT INTO vault_root (name, wrapped) VALUES (?, ?)", rows)
                return fresh
            try:
                return {name: self._unwrap(stored[name], _root_data(name)) for name in _ROOTS}
            except (KeyError, VerificationError) as error:
                raise KeyUnavailable(
                    "保险库密钥与数据库不符：请管理员提供本机构的密钥文件",
                    "the vault key is not the one this database was made with: provide this institution's key file",
                    code="VAULT_KEY_MISMATCH",
                ) from error

        return self.database.write(change)

    def _wrap(self, key: bytes, data: bytes) -> bytes:
        return aead.seal_random(self._wrapping_keys[0], key, associated=data, source=self._source)

    def _unwrap(self, wrapped: bytes, data: bytes) -> bytes:
        failure: VerificationError | None = None
        for wrapping_key in self._wrapping_keys:
            try:
                return aead.open_random(wrapping_key, wrapped, associated=data)
            except VerificationError as error:
                failure = error
        raise failure or _altered()


def _wrapping_key(vault_key: bytes) -> bytes:
    if len(vault_key) != VAULT_KEY_BYTES:
        raise ValueError("the vault key has 32 bytes")
    return kdf.expand(vault_key, "vault/wrap", length=aead.KEY_SIZE)


def _insert_chunk(tx: Transaction, *, row: tuple[bytes, int, bytes]) -> None:
    tx.execute("INSERT INTO vault_chunk (object, number, sealed) VALUES (?, ?, ?)", row)


def _delete_draft(tx: Transaction, *, identifier: bytes) -> None:
    tx.execute(
        "DELETE FROM vault_chunk WHERE object = :object AND :object NOT IN (SELECT object FROM vault_object)",
        {"object": identifier},
    )


def _sweep_drafts(tx: Transaction) -> None:
    """Delete the chunks of drafts that were never adopted: the process that held their keys is gone."""
    tx.execute("DELETE FROM vault_chunk WHERE object NOT IN (SELECT object FROM vault_object)")


def mark_erased_in(tx: Transaction) -> None:
    if isinstance(tx, StoreTransaction):
        tx.mark_erased()


def _cut(parts: Iterable[bytes | memoryview]) -> Iterator[tuple[int, bytes, bool]]:
    """(number, chunk, is it the last) for parts of any size; an object without data has one empty chunk."""
    pending, number = bytearray(), 0
    for part in parts:
        pending += part
        while len(pending) > CHUNK_BYTES:  # the last chunk is known only when nothing follows, so keep one back
            yield number, bytes(memoryview(pending)[:CHUNK_BYTES]), False
            del pending[:CHUNK_BYTES]
            number += 1
    yield number, bytes(pending), True


def _nonce(number: int) -> bytes:
    """The chunk's number: the key is fresh for every object and generation, so no nonce repeats under it."""
    return number.to_bytes(aead.NONCE_SIZE, "big")


def _chunk_data(identifier: bytes, number: int, is_last: bool) -> bytes:
    """What a chunk is bound to: its object (a fresh id and key for every generation), its place, and the end."""
    return b"workbench/v1/vault/chunk\0" + identifier + _numbers(number, int(is_last))


def _object_data(name: str, identifier: bytes, generation: int, count: int, size: int) -> bytes:
    return b"workbench/v1/vault/object\0" + identifier + _numbers(generation, count, size) + name.encode("utf-8")


def _subject_data(subject: str) -> bytes:
    return b"workbench/v1/vault/subject\0" + subject.encode("utf-8")


def _root_data(name: str) -> bytes:
    return b"workbench/v1/vault/root\0" + name.encode("utf-8")


def _numbers(*values: int) -> bytes:
    try:
        return b"".join(value.to_bytes(8, "big") for value in values)
    except (OverflowError, AttributeError, TypeError) as error:  # a row altered to hold no such number
        raise _altered() from error


def _require_unrestricted(name: str) -> None:
    if name.startswith(RESTRICTED_PREFIX):
        raise Denied(
            "该内容已限制存放：合规岗或审计岗写明理由后查看",
            "this is in restricted storage: compliance or an auditor reads it with a reason",
            code="RESTRICTED",
        )


def _no_object() -> NotFound:
    return NotFound(
        "保险库中没有该对象，或已销毁", "the vault has no such object, or it was destroyed", code="NO_SUCH_OBJECT"
    )


def _altered() -> VerificationError:
    return VerificationError(
        "保险库中的对象被改动或不完整：请合规人员核查数据库",
        "an object in the vault was altered or is incomplete: compliance must look into the database",
        code="VAULT_ALTERED",
    )
