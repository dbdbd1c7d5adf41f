"""Signed forms and other files a record rests on: content-addressed, encrypted outside the database, shredded by key.

Document: docs/protocols/erasure.md section 7. Promises: what was put is what is got, or VerificationError that names the
place; a content lies here once; a file without its key row is ciphertext nobody can open, and is swept; memory holds one
chunk. The bare SM3 of a content is kept nowhere, because a form can be guessed; its name is a keyed digest of it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from workbench.contracts import Migration, Transaction
from workbench.crypto import aead, random, sm3
from workbench.errors import Denied, NotFound, StorageFailed, VerificationError
from workbench.store.database import Database
from workbench.store.vault import Reader, Vault, mark_erased_in
from workbench.store.writer import StoreTransaction

CHUNK_BYTES = 65_536
HEADER = b"workbench/v1/blob\n"
_ID_BYTES = 16
_BODY_AT = len(HEADER) + _ID_BYTES
_SEALED_BYTES = CHUNK_BYTES + aead.TAG_SIZE

BLOB_MIGRATIONS = (
    Migration(
        "blob",
        1,
        """
        CREATE TABLE blob_object (
            name       TEXT PRIMARY KEY,
            id         BLOB NOT NULL UNIQUE,
            chunks     INTEGER NOT NULL,
            size_bytes INTEGER NOT NULL,
            stored_ms  INTEGER NOT NULL
        );
        CREATE TABLE blob_reference (
            owner TEXT NOT NULL,
            ref   TEXT NOT NULL,
            name  TEXT NOT NULL,
            hold  TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (owner, ref)
        ) WITHOUT ROWID;
        CREATE INDEX blob_reference_name ON blob_reference (name);
        """,
    ),
)


@dataclass(frozen=True, slots=True)
class BlobFault:
    """Why a blob does not hold. problem: CHANGED, SWAPPED or MISSING; chunk and bytes: where, -1 when not one place.

    The bytes are offsets in the file: first <= offset < stop.
    """

    name: str
    problem: str
    chunk: int = -1
    first: int = -1
    stop: int = -1


@dataclass(slots=True)
class BlobDraft:
    """A file that is written and not yet anybody's. address: SM3 of the content (32 bytes), not to be stored bare."""

    name: str
    address: bytes = field(repr=False)
    size: int
    chunks: int
    identifier: bytes
    key: bytes = field(repr=False)


class Blobs:
    """The blobs of one institution. folder: made with mode 0700. now_ms, source: clock and source of keys and ids."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        folder: Path,
        *,
        now_ms: Callable[[], int],
        source: random.RandomSource = random.SYSTEM,
    ) -> None:
        self._database, self._vault, self._folder = database, vault, folder
        self._now_ms, self._source = now_ms, source
        self._lock = threading.Lock()
        self._drafts: set[bytes] = set()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def __repr__(self) -> str:
        return f"Blobs({self._folder.name})"

    # ---- writing

    def stage(self, parts: Iterable[bytes | memoryview]) -> BlobDraft:
        """Write a content to disk ahead of the change that needs it; `adopt` it there or `discard` it.

        parts: of any size. Raises StorageFailed when the disk refuses; nothing stays behind then. Memory: one chunk. Cost: about
        15 ns a byte and two fsyncs. Must not be called inside a change.
        """
        identifier, key = self._source(_ID_BYTES), self._source(aead.KEY_SIZE)
        path = self._path(identifier)
        with self._lock:
            self._drafts.add(identifier)
        try:
            address, size, chunks = self._write(path, identifier, key, parts)
        except BaseException as error:
            self._drop(identifier)
            if isinstance(error, OSError):
                raise StorageFailed(
                    "文件存不下，没有留下半份：运维人员检查磁盘",
                    "the file could not be stored and nothing half written was left: operators check the disk",
                    code="BLOB_NOT_STORED",
                ) from error
            raise
        return BlobDraft(self.name_of(address), address, size, chunks, identifier, key)

    def adopt(self, tx: Transaction, draft: BlobDraft, *, owner: str, ref: str) -> str:
        """Make the content exist for `owner` under `ref`, in the caller's change; returns its name.

        A content that is here already is kept, and the draft's file removed once the change is on disk.
        """
        row = tx.execute("SELECT id FROM blob_object WHERE name = ?", (draft.name,)).fetchone()
        if row is None:
            tx.execute(
                "INSERT INTO blob_object (name, id, chunks, size_bytes, stored_ms) VALUES (?, ?, ?, ?, ?)",
                (draft.name, draft.identifier, draft.chunks, draft.size, self._now_ms()),
            )
            self._vault.keep_key(tx, _key_name(draft.name, draft.identifier, draft.chunks, draft.size), draft.key)
            _after_commit(tx, lambda: self._forget(draft.identifier))
        elif row[0] != draft.identifier:
            _after_commit(tx, lambda: self._drop(draft.identifier))
        tx.execute("INSERT INTO blob_reference (owner, ref, name) VALUES (?, ?, ?)", (owner, ref, draft.name))
        return draft.name

    def discard(self, draft: BlobDraft) -> None:
        """Take back a draft whose change failed; one that was adopted is left alone."""
        with self._database.read() as reader:
            row = reader.execute("SELECT 1 FROM blob_object WHERE id = ?", (draft.identifier,)).fetchone()
        if row is None:
            self._drop(draft.identifier)

    def put(self, tx: Transaction, parts: Iterable[bytes | memoryview], *, owner: str, ref: str) -> str:
        """`stage` and `adopt` at once, for small contents: the writer waits for the disk meanwhile."""
        draft = self.stage(parts)
        if isinstance(tx, StoreTransaction):
            tx.after_rollback(lambda: self._drop(draft.identifier))
        return self.adopt(tx, draft, owner=owner, ref=ref)

    # ---- reading

    def name_of(self, address: bytes) -> str:
        """The name under which a content with this SM3 lies here: keyed, so that nobody else can compute it."""
        return self._vault.token("blob", address).hex()

    def named(self, reader: Reader, owner: str, ref: str) -> str:
        """Name of the blob an owner keeps under `ref`. NotFound; Denied RESTRICTED when an erasure set it aside."""
        row = reader.execute("SELECT name, hold FROM blob_reference WHERE owner = ? AND ref = ?", (owner, ref)).fetchone()
        if row is None:
            raise _no_blob()
        if row[1]:
            raise Denied(
                "该文件已限制存放：合规岗或审计岗写明理由后查看",
                "this file is in restricted storage: compliance or an auditor reads it with a reason",
                code="RESTRICTED",
            )
        return str(row[0])

    def get_stream(self, reader: Reader, name: str) -> Iterator[bytes]:
        """The content in chunks; each is verified before it is given out, the whole with the last.

        Raises NotFound, VerificationError BLOB_ALTERED (details: problem, chunk, first, stop). Act on the content when the
        iteration is over.
        """
        for chunk in self._chunks(reader, name):
            if isinstance(chunk, BlobFault):
                raise _altered(chunk)
            yield chunk

    def get(self, reader: Reader, name: str) -> bytes:
        """The whole content. Raises as `get_stream`."""
        return b"".join(self.get_stream(reader, name))

    def verify(self, reader: Reader, name: str) -> BlobFault | None:
        """Re-hash a blob: None when it holds, else the first place where it does not. NotFound when there is none."""
        for chunk in self._chunks(reader, name):
            if isinstance(chunk, BlobFault):
                return chunk
        return None

    def address(self, reader: Reader, name: str) -> bytes:
        """SM3 of the content, computed anew from the file; raises as `get_stream`."""
        digest = sm3.new()
        for chunk in self.get_stream(reader, name):
            digest.update(chunk)
        return digest.digest()

    def names(self, reader: Reader) -> list[str]:
        """Every blob, sorted."""
        return [str(name) for (name,) in reader.execute("SELECT name FROM blob_object ORDER BY name")]

    def references(self, reader: Reader, owner: str) -> dict[str, str]:
        """ref -> name of everything an owner keeps, set aside or not."""
        rows = reader.execute("SELECT ref, name FROM blob_reference WHERE owner = ? ORDER BY ref", (owner,))
        return {str(ref): str(name) for ref, name in rows}

    # ---- erasing

    def hold(self, tx: Transaction, owner: str, ref: str, restriction: str) -> bool:
        """Set a reference aside; False when there is none or it is set aside already."""
        done = tx.execute(
            "UPDATE blob_reference SET hold = ? WHERE owner = ? AND ref = ? AND hold = ''", (restriction, owner, ref)
        ).rowcount
        return bool(done)

    def held(self, reader: Reader, restriction: str) -> list[tuple[str, str, str]]:
        """(owner, ref, name) of what was set aside under a restriction."""
        rows = reader.execute(
            "SELECT owner, ref, name FROM blob_reference WHERE hold = ? ORDER BY owner, ref", (restriction,)
        )
        return [(str(owner), str(ref), str(name)) for owner, ref, name in rows]

    def unlink(self, tx: Transaction, owner: str, ref: str) -> bool:
        """Take a reference away, and with the last one the blob; True when the blob was destroyed."""
        row = tx.execute("SELECT name FROM blob_reference WHERE owner = ? AND ref = ?", (owner, ref)).fetchone()
        if row is None:
            return False
        tx.execute("DELETE FROM blob_reference WHERE owner = ? AND ref = ?", (owner, ref))
        if tx.execute("SELECT 1 FROM blob_reference WHERE name = ?", (row[0],)).fetchone() is not None:
            return False
        return self.shred(tx, str(row[0]))

    def shred(self, tx: Transaction, name: str) -> bool:
        """Destroy key, row and references of a blob in the change, its file once that is on disk; False: there was none."""
        row = tx.execute("SELECT id, chunks, size_bytes FROM blob_object WHERE name = ?", (name,)).fetchone()
        if row is None:
            return False
        self._vault.shred_subject(tx, _key_name(name, *row))
        tx.execute("DELETE FROM blob_reference WHERE name = ?", (name,))
        tx.execute("DELETE FROM blob_object WHERE name = ?", (name,))
        mark_erased_in(tx)
        identifier = bytes(row[0])
        _after_commit(tx, lambda: self._drop(identifier))
        return True

    def sweep(self) -> int:
        """Remove files that no row names: drafts of a process that ended, files whose key was destroyed. How many."""
        # In this order: a file seen here is a draft then, or has been adopted and has its row.
        files = list(self._folder.glob("??/*.blob"))
        with self._lock:
            ours = set(self._drafts)
        with self._database.read() as reader:
            known = {bytes(one).hex() for (one,) in reader.execute("SELECT id FROM blob_object")}
        known |= {one.hex() for one in ours}
        strays = [path for path in files if path.stem not in known]
        for path in strays:
            _destroy(path)
        return len(strays)

    # ---- inside

    def _write(
        self, path: Path, identifier: bytes, key: bytes, parts: Iterable[bytes | memoryview]
    ) -> tuple[bytes, int, int]:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        digest, size, count = sm3.new(), 0, 0
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
            out.write(HEADER + identifier)
            for number, chunk, is_last in _cut(parts):
                digest.update(chunk)
                size, count = size + len(chunk), number + 1
                out.write(aead.seal(key, _nonce(number), chunk, associated=_bound(identifier, number, is_last)))
            out.flush()
            os.fsync(out.fileno())
        # The name must be on disk before a row refers to it; the folder's own name before that.
        _sync_folder(path.parent)
        _sync_folder(self._folder)
        return digest.digest(), size, count

    def _chunks(self, reader: Reader, name: str) -> Iterator[bytes | BlobFault]:
        """Verified chunks; a fault ends the iteration."""
        row = reader.execute(
            "SELECT CAST(id AS BLOB), CAST(chunks AS INTEGER), CAST(size_bytes AS INTEGER) FROM blob_object"
            " WHERE name = ?",
            (name,),
        ).fetchone()
        if row is None:
            raise _no_blob()
        identifier, count, size = bytes(row[0]), int(row[1]), int(row[2])
        try:
            key = self._vault.open_subject_key(reader, _key_name(name, identifier, count, size))
        except (NotFound, VerificationError, ValueError, OverflowError):
            yield BlobFault(name, "SWAPPED")  # the row was altered, or is that of another blob
            return
        try:
            with self._path(identifier).open("rb") as source:
                yield from self._read(source, name, identifier, key, count, size)
        except FileNotFoundError:
            yield BlobFault(name, "MISSING")
        except OSError as error:
            raise StorageFailed(
                "文件读不出来：运维人员检查磁盘", "a stored file cannot be read: operators check the disk", code="BLOB_UNREADABLE"
            ) from error

    def _read(
        self, source: BinaryIO, name: str, identifier: bytes, key: bytes, count: int, size: int
    ) -> Iterator[bytes | BlobFault]:
        head = source.read(_BODY_AT)
        if head != HEADER + identifier:
            # Another file's header with its own id says whose place this is not; anything else was altered.
            is_other = head[: len(HEADER)] == HEADER and len(head) == _BODY_AT and self._is_known(head[len(HEADER) :])
            yield BlobFault(name, "SWAPPED") if is_other else BlobFault(name, "CHANGED", -1, 0, _BODY_AT)
            return
        digest = sm3.new()
        for number in range(count):
            expected = min(CHUNK_BYTES, size - number * CHUNK_BYTES) + aead.TAG_SIZE
            sealed = source.read(expected)
            at = _BODY_AT + number * _SEALED_BYTES
            try:
                chunk = aead.open_sealed(
                    key, _nonce(number), sealed, associated=_bound(identifier, number, number == count - 1)
                )
            except VerificationError:
                yield BlobFault(name, "CHANGED", number, at, at + expected)
                return
            digest.update(chunk)
            yield chunk
        if source.read(1):
            end = _BODY_AT + size + count * aead.TAG_SIZE
            yield BlobFault(name, "CHANGED", count, end, end + 1)
        elif self.name_of(digest.digest()) != name:
            yield BlobFault(name, "SWAPPED")

    def _is_known(self, identifier: bytes) -> bool:
        with self._database.read() as reader:
            return reader.execute("SELECT 1 FROM blob_object WHERE id = ?", (identifier,)).fetchone() is not None

    def _path(self, identifier: bytes) -> Path:
        text = identifier.hex()
        return self._folder / text[:2] / f"{text}.blob"

    def _drop(self, identifier: bytes) -> None:
        with suppress(OSError):  # what cannot be removed now is swept at the next start; its key is gone
            _destroy(self._path(identifier))
        self._forget(identifier)

    def _forget(self, identifier: bytes) -> None:
        with self._lock:
            self._drafts.discard(identifier)


def describe(fault: BlobFault) -> tuple[str, str]:
    """A fault as sentences: what happened to which place, and who acts."""
    place_zh = f"，第 {fault.chunk} 段，字节 {fault.first} 至 {fault.stop}" if fault.first >= 0 else ""
    place_en = f", chunk {fault.chunk}, bytes {fault.first} to {fault.stop}" if fault.first >= 0 else ""
    return {
        "CHANGED": (
            f"所存文件被改动{place_zh}：合规人员用原件核对并重新登记",
            f"the stored file was altered{place_en}: compliance compares it with the original and records it anew",
        ),
        "SWAPPED": (
            "此处所存的是另一份文件：合规人员核查谁动过文件或数据库",
            "another file lies in its place: compliance finds out who touched files or database",
        ),
        "MISSING": (
            "所存文件不见了：运维人员从备份恢复，合规人员核对",
            "the stored file is gone: operations restore it from a backup, compliance checks it",
        ),
    }[fault.problem]


def _altered(fault: BlobFault) -> VerificationError:
    zh, en = describe(fault)
    details = {"problem": fault.problem, "chunk": str(fault.chunk), "first": str(fault.first), "stop": str(fault.stop)}
    return VerificationError(zh, en, code="BLOB_ALTERED", details=details)


def _no_blob() -> NotFound:
    return NotFound("没有这份文件，或已销毁", "there is no such file, or it was destroyed", code="NO_BLOB")


def _key_name(name: str, identifier: bytes, chunks: int, size: int) -> str:
    """The name a blob's key is bound to: all that its row says."""
    return f"blob/{name}/{bytes(identifier).hex()}/{int(chunks)}/{int(size)}"


def _bound(identifier: bytes, number: int, is_last: bool) -> bytes:
    return b"workbench/v1/blob/chunk\0" + identifier + number.to_bytes(8, "big") + bytes([is_last])


def _nonce(number: int) -> bytes:
    """The chunk's number: the key is fresh for every blob."""
    return number.to_bytes(aead.NONCE_SIZE, "big")


def _cut(parts: Iterable[bytes | memoryview]) -> Iterator[tuple[int, bytes, bool]]:
    """(number, chunk, is it the last) for parts of any size; an empty content has one empty chunk."""
    pending, number = bytearray(), 0
    for part in parts:
        for at in range(0, len(part), CHUNK_BYTES):  # a large part is not copied whole
            pending += part[at : at + CHUNK_BYTES]
            while len(pending) > CHUNK_BYTES:
                yield number, bytes(memoryview(pending)[:CHUNK_BYTES]), False
                del pending[:CHUNK_BYTES]
                number += 1
    yield number, bytes(pending), True


def _destroy(path: Path) -> None:
    """Overwrite, then remove. What a drive has put aside stays: without its key it is noise."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        left = os.fstat(descriptor).st_size
        while left > 0:
            left -= os.write(descriptor, bytes(min(left, CHUNK_BYTES)))
        os.fsync(descriptor)
    except OSError:
        pass  # a full or dying disk: removing it is what counts
    finally:
        os.close(descriptor)
    path.unlink(missing_ok=True)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _after_commit(tx: Transaction, action: Callable[[], None]) -> None:
    if isinstance(tx, StoreTransaction):
        tx.after_commit(action)
    else:  # a transaction of tests or of another store: the sweep does it
        return


__all__ = ["BLOB_MIGRATIONS", "BlobDraft", "BlobFault", "Blobs", "describe"]
