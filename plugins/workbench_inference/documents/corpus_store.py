"""Documents and corpora of a tenant's node: texts in the vault, corpora as sealed files beside the database.

A corpus is written sealed, piece by piece as it is made; in clear, embeddings with it, it is only ever in memory. The volume
key lies in the vault and leaves it in a session with a verified sandbox only.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from workbench.contracts import Host, Transaction
from workbench.crypto import sm3
from workbench.domain.documents import SourceDocument
from workbench.errors import NotFound, Refused, StorageFailed, VerificationError
from workbench_sandbox.corpus import format_documents, parse_documents
from workbench_sandbox.corpus.sealing import KEY_SIZE, open_corpus, seal_corpus

VOLUME_KEY: Final = "inference/volume-key"
KEPT: Final = 2
"""Newest corpora that are kept, for documents of every sort and for synthetic ones alone each."""
_PIECE: Final = 1 << 20
_HEX: Final = frozenset("0123456789abcdef")

OUT_OF_REACH: Final = "tee"
"""A class that asks for this level cannot be read in any sandbox of this version, so its documents go into no corpus."""

Reader = sqlite3.Connection | Transaction


def is_within_reach(levels: Mapping[str, Mapping[str, object]], klass: str) -> bool:
    """Whether some sandbox may hold documents of a class, by setting inference.class_levels."""
    return levels.get(klass, {}).get("level", OUT_OF_REACH) != OUT_OF_REACH


class DocumentHost(Host, Protocol):
    """contracts.Host, and where the institution keeps its files."""

    folder: Path


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """One version of a document, without its text. sm3: of the text, hex; corpus: the newest of all documents it went into, "" none."""

    document: str
    version: str
    kind: str
    title: str
    source: str
    time_ms: int
    klass: str
    is_synthetic: int
    sm3: str
    corpus: str


@dataclass(frozen=True, slots=True)
class CorpusRow:
    """digest: SM3 of the sealed bytes, which is its name everywhere; size: of them; embedder: "" for words alone."""

    digest: str
    documents: int
    passages: int
    size: int
    embedder: str
    is_synthetic: int
    built_ms: int


def text_digest(document: SourceDocument) -> str:
    """SM3 of the text, as citations carry it."""
    return sm3.digest(document.text.encode()).hex()


# ---------------------------------------------------------------- documents

_ROW: Final = "document, version, kind, title, source, time_ms, class, is_synthetic, sm3, corpus"


def add_document(host: Host, tx: Transaction, document: SourceDocument) -> None:
    """Keep one version: text and fields in the vault, the rest in the table."""
    host.vault.put(tx, _object(document.document, document.version), format_documents([document]))
    tx.execute(
        f"INSERT INTO inference_document ({_ROW}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '')",
        (
            document.document, document.version, document.kind, document.title, document.source, document.time_ms, document.klass,
            int(document.synthetic), text_digest(document),
        ),
    )  # fmt: skip


def document_rows(reader: Reader, *, kind: str = "", source: str = "", newest_only: bool = False) -> list[DocumentRow]:
    """Documents in use by name, versions by time; newest_only: the latest version of each alone."""
    rows = reader.execute(
        f"SELECT {_ROW} FROM inference_document WHERE removed_ms = 0 AND (? = '' OR kind = ?) AND (? = '' OR source = ?)"
        " ORDER BY document, time_ms, version",
        (kind, kind, source, source),
    ).fetchall()
    found = [DocumentRow(*row) for row in rows]
    return list({one.document: one for one in found}.values()) if newest_only else found


def read_document(host: Host, reader: Reader, document: str, version: str = "") -> SourceDocument:
    """One document with its text; version "": the latest in use. NotFound where it is not, or no longer."""
    row = reader.execute(
        "SELECT version, sm3 FROM inference_document WHERE document = ? AND (? = '' OR version = ?) AND removed_ms = 0"
        " ORDER BY time_ms DESC, version DESC LIMIT 1",
        (document, version, version),
    ).fetchone()
    if row is None:
        raise NotFound(f"没有资料 {document}，或已移除", f"there is no document {document}, or it was removed", code="DOCUMENT_UNKNOWN")
    [found] = parse_documents(host.vault.get(reader, _object(document, row[0])))
    if text_digest(found) != row[1]:
        raise VerificationError("资料内容与登记的摘要不符", "a document is not what was written down of it", code="DOCUMENT_ALTERED")
    return found


def remove_documents(host: Host, tx: Transaction, rows: Sequence[DocumentRow]) -> int:
    """Destroy texts, mark the rows, and forget every corpus that may hold them: the next question waits for a new one.

    Returns how many corpora went; `sweep` removes their files after the change.
    """
    gone = 0
    for row in rows:
        host.vault.shred(tx, _object(row.document, row.version))
        tx.execute(
            "UPDATE inference_document SET removed_ms = ?, title = '' WHERE document = ? AND version = ?", (host.now_ms(), row.document, row.version)
        )
    if any(row.corpus for row in rows):
        gone += tx.execute("DELETE FROM inference_corpus WHERE NOT is_synthetic").rowcount
    if any(row.is_synthetic for row in rows):
        gone += tx.execute("DELETE FROM inference_corpus WHERE is_synthetic").rowcount
    return gone


def _object(document: str, version: str) -> str:
    return f"inference/documents/{document}@{version}"


# ---------------------------------------------------------------- corpora

_CORPUS: Final = "digest, documents, passages, bytes, embedder, is_synthetic, built_ms"


def volume_key(host: Host) -> bytes:
    """The key of this institution's volume, made when first asked for. It goes into a session with a sandbox and nowhere else."""

    def change(tx: Transaction) -> bytes:
        if VOLUME_KEY not in host.vault.names(tx, VOLUME_KEY):
            host.vault.put(tx, VOLUME_KEY, host.random(KEY_SIZE))
        return host.vault.get(tx, VOLUME_KEY)

    with host.store.read() as reader:
        if VOLUME_KEY in host.vault.names(reader, VOLUME_KEY):
            return host.vault.get(reader, VOLUME_KEY)
    return host.store.write(change)


def folder(host: DocumentHost) -> Path:
    """Where the sealed files lie, each under its SM3."""
    return host.folder / "corpora"


def write_sealed(host: DocumentHost, parts: Iterable[bytes]) -> tuple[str, int]:
    """(digest, size) of the sealed file of these bytes, on disk under its digest. parts: in clear, sealed as they come.

    Raises StorageFailed; nothing is left then, nor when the making of parts ends.
    """
    at = folder(host)
    key = volume_key(host)
    try:
        at.mkdir(mode=0o700, exist_ok=True)
        draft = at / f"draft-{secrets.token_hex(8)}"
        digest, size = sm3.new(), 0
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                for sealed in seal_corpus(parts, key, source=host.random):
                    digest.update(sealed)
                    size += len(sealed)
                    file.write(sealed)
                file.flush()
                os.fsync(file.fileno())
            name = digest.digest().hex()
            draft.replace(at / name)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise StorageFailed(
            "磁盘写不下资料包，没有生成。运维清理磁盘", "the disk has no room for the corpus; none was made. Operations free space"
        ) from error
    return name, size


def add_corpus(tx: Transaction, row: CorpusRow, documents: Sequence[DocumentRow]) -> None:
    """Write a corpus down. documents: that it is now the corpus of; none for one of synthetic documents beside another."""
    tx.execute(
        f"INSERT OR REPLACE INTO inference_corpus ({_CORPUS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (row.digest, row.documents, row.passages, row.size, row.embedder, int(row.is_synthetic), row.built_ms),
    )
    tx.executemany(
        "UPDATE inference_document SET corpus = ? WHERE document = ? AND version = ?", [(row.digest, one.document, one.version) for one in documents]
    )


def corpora(reader: Reader) -> list[CorpusRow]:
    """Every corpus, newest first."""
    rows = reader.execute(f"SELECT {_CORPUS} FROM inference_corpus ORDER BY built_ms DESC, rowid DESC").fetchall()
    return [CorpusRow(*row) for row in rows]


def current(reader: Reader, *, synthetic_only: bool = False) -> CorpusRow | None:
    """The corpus that a question is asked of: the newest of all documents; for a lease in debug the newest of synthetic ones alone."""
    rows = corpora(reader)
    synthetic = next((one for one in rows if one.is_synthetic), None)
    return synthetic if synthetic_only else next((one for one in rows if not one.is_synthetic), synthetic)


def require_corpus(reader: Reader, *, mode: str) -> CorpusRow:
    """The corpus for a lease of this mode (`run` or `debug`). Refused CORPUS_MISSING, REAL_DATA_IN_DEBUG."""
    found = current(reader, synthetic_only=mode == "debug")
    if found is not None:
        return found
    if current(reader) is not None:
        raise Refused(
            "调试租约只能用标为合成的资料；请先对合成资料建索引", "a lease in debug takes synthetic documents only: index those first", code="REAL_DATA_IN_DEBUG"
        )
    raise Refused("还没有资料包。请导入资料并建索引", "there is no corpus yet: import documents and index them", code="CORPUS_MISSING")


def piece(host: DocumentHost, digest: str, offset: int, most: int) -> bytes:
    """At most `most` bytes of a sealed corpus from `offset`, b"" at its end. NotFound without it. For `sandbox/pull`."""
    with _opened(host, digest) as file:
        file.seek(offset)
        return file.read(most)


def size_of(host: DocumentHost, digest: str) -> int:
    """Bytes of a sealed corpus. NotFound without it."""
    with _opened(host, digest) as file:
        return file.seek(0, os.SEEK_END)


def open_own(host: DocumentHost, digest: str) -> bytes:
    """A corpus in clear, in memory, for whoever indexes anew. NotFound, VerificationError FILE_REFUSED."""

    def parts() -> Iterator[bytes]:
        with _opened(host, digest) as file:
            while part := file.read(_PIECE):
                yield part

    return open_corpus(parts(), volume_key(host))


def sweep(host: DocumentHost) -> list[str]:
    """Remove corpora that are not among the newest, drafts a stop left, and files nobody knows; returns the digests that went."""
    with host.store.read() as reader:
        rows = corpora(reader)
    kept: set[str] = set()
    for synthetic in (True, False):
        kept |= {one.digest for one in [one for one in rows if bool(one.is_synthetic) == synthetic][:KEPT]}
    gone = [one.digest for one in rows if one.digest not in kept]
    if gone:
        host.store.write(lambda tx: tx.executemany("DELETE FROM inference_corpus WHERE digest = ?", [(one,) for one in gone]))
    at = folder(host)
    for file in at.iterdir() if at.is_dir() else ():
        if file.name not in kept:
            file.unlink(missing_ok=True)
    return gone


def _opened(host: DocumentHost, digest: str) -> BinaryIO:
    if len(digest) != 64 or not _HEX.issuperset(digest):
        raise _unknown()
    try:
        return (folder(host) / digest).open("rb")
    except FileNotFoundError:
        raise _unknown() from None


def _unknown() -> NotFound:
    return NotFound("没有这个资料包", "there is no such corpus", code="CORPUS_UNKNOWN")
