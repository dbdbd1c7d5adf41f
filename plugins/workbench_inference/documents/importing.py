"""Documents into the institution's vault: a file through its connector, or the synthetic corpus of a seed; one entry a kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Final

from workbench.contracts import Host, Transaction
from workbench.contracts.inference import DocumentConnector, ReadDocuments, ReadLimits, RejectedItem
from workbench.crypto import sm3
from workbench.domain.documents import DOCUMENT_CLASSES, DOCUMENT_KINDS, SourceDocument
from workbench.errors import Cancelled, Refused
from workbench.intake.reasons import shown_text
from workbench_inference.documents import synthetic
from workbench_inference.documents.connectors.reading import FILE_BYTES, refuse, reject, too_large
from workbench_inference.documents.corpus_store import add_document, text_digest
from workbench_inference.policy.redaction import KnownNames, redact

_PERSONAL: Final = frozenset({"phone", "id", "card"})
"""What makes any document one about a person; an issuer's own address or mailbox does not."""
_VERSIONS: Final = 99
_SAID: Final = 3
"""Places that are said of a file nothing of which could be taken."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Imported:
    """taken: new documents or versions; same: had before, unchanged; redacted: customers' questions in which something was replaced."""

    kind: str
    taken: int
    same: int
    redacted: int
    rejects: tuple[RejectedItem, ...]


def content_of(path: Path) -> bytes:
    """What an uploaded file holds. InvalidRequest FILE_TOO_LARGE, before a byte of it is read."""
    if path.stat().st_size > FILE_BYTES:
        raise too_large(path.name)
    return path.read_bytes()


def read_file(connectors: Iterable[DocumentConnector], content: bytes, *, name: str, kind: str, source: str, time_ms: int, limits: ReadLimits) -> ReadDocuments:
    """The documents of a file, by the connector of its suffix. Raises InvalidRequest; the file's name is said, nothing of its content."""
    suffix = PurePath(name).suffix.lower()
    known = {of: one for one in connectors for of in one.suffixes}
    if suffix not in known:
        shown = "、".join(sorted(known))
        raise refuse("FILE_KIND", name, f"不支持该后缀，支持：{shown}", f"this suffix is not supported; supported are: {', '.join(sorted(known))}")
    return known[suffix].read(content, kind=kind, name=name, source=source, time_ms=time_ms, limits=limits)


def import_found(
    host: Host, found: ReadDocuments, *, name: str, kind: str, klass: str, file_digest: str, actor: str, source: str, known: KnownNames, is_synthetic: bool,
    progress: Progress, cancelled: Callable[[], bool] = lambda: False,
) -> Imported:  # fmt: skip
    """Write what a connector found, all in one transaction with its entry; stopped before that, nothing is written.

    klass: the least class of each. is_synthetic: somebody who may say so states that the file is. Customers' questions are kept
    redacted; any other document with a person's number in it is rejected. Raises Refused DOCUMENTS_NONE where nothing is left,
    Cancelled.
    """
    documents: list[SourceDocument] = []
    rejects = list(found.rejects)
    redacted = 0
    places = found.places or range(1, len(found.documents) + 1)
    for number, (place, document) in enumerate(zip(places, found.documents, strict=True)):
        progress(number, len(found.documents))
        if cancelled():
            raise Cancelled("已停止，没有导入任何资料", "stopped; nothing was imported")
        clean, title = redact(document.text, known), redact(document.title, known)
        tiles = (*clean.tiles, *title.tiles)
        if clean.left or title.left or (document.kind != "question" and any(tile.kind in _PERSONAL for tile in tiles)):
            rejects.append(reject(place, "PERSONAL_DATA"))
            continue
        if document.kind == "question" and tiles:
            document = replace(document, text=clean.text, title=title.text[:512], fields={})
            redacted += 1
        documents.append(replace(document, klass=max(klass, document.klass, key=DOCUMENT_CLASSES.index), synthetic=is_synthetic))
    if not documents:
        rejects.sort(key=lambda one: one.place)
        zh = "；".join(f"第 {one.place} 处{one.zh}" for one in rejects[:_SAID]) or "只有表头"
        en = "; ".join(f"at {one.place} {one.en}" for one in rejects[:_SAID]) or "there is a header alone"
        shown = shown_text(name, 80)
        raise Refused(
            f"文件“{shown}”中没有一份资料可以导入：{zh}", f'no document of the file "{shown}" could be taken: {en}', code="DOCUMENTS_NONE",
            details={"file": shown, "rejected": str(len(rejects)), "reasons": " ".join(sorted({one.code for one in rejects}))},
        )  # fmt: skip
    taken = _write(host, {kind: documents}, file_digest=file_digest, rejected=len(rejects), klass=klass, source=source, actor=actor)
    progress(len(found.documents), len(found.documents))
    return Imported(kind, taken[kind], len(documents) - taken[kind], redacted, tuple(sorted(rejects, key=lambda one: one.place)))


def import_synthetic(host: Host, seed: int, *, actor: str, progress: Progress, sizes: Mapping[str, int] | None = None) -> list[Imported]:
    """The synthetic corpus of a seed, one entry for each kind. sizes: as `synthetic.make` takes them, for a smaller one."""
    made = synthetic.make(seed, **(sizes or {}))
    progress(0, len(made.documents))
    by_kind = {kind: [one for one in made.documents if one.kind == kind] for kind in DOCUMENT_KINDS}
    named = f"synthetic corpus, seed {seed}"
    taken = _write(host, by_kind, file_digest=sm3.digest(named.encode()).hex(), rejected=0, klass="", source=named, actor=actor)
    progress(len(made.documents), len(made.documents))
    return [Imported(kind, taken[kind], len(documents) - taken[kind], 0, ()) for kind, documents in by_kind.items() if documents]


def _write(
    host: Host, by_kind: Mapping[str, Sequence[SourceDocument]], *, file_digest: str, rejected: int, klass: str, source: str, actor: str
) -> dict[str, int]:
    """How many were new, by kind."""

    def change(tx: Transaction) -> dict[str, int]:
        taken = dict.fromkeys(by_kind, 0)
        for kind, documents in by_kind.items():
            if not documents:
                continue
            for document in documents:
                fresh = _fresh(tx, document)
                if fresh is not None:
                    add_document(host, tx, fresh)
                    taken[kind] += 1
            highest = max((one.klass for one in documents), key=DOCUMENT_CLASSES.index)
            values = {
                "kind": kind, "file": file_digest, "rows": str(taken[kind]), "rejected": str(rejected), "class": klass or highest, "source": source[:200],
            }  # fmt: skip
            host.evidence.append(tx, "inference.documents_imported", values, actor=actor)
        return taken

    return host.store.write(change, timeout_s=300.0)


def _fresh(tx: Transaction, document: SourceDocument) -> SourceDocument | None:
    """The document under a version that is free; None where the same text is there already under this name."""
    rows = tx.execute("SELECT version, sm3, removed_ms FROM inference_document WHERE document = ?", (document.document,)).fetchall()
    digest = text_digest(document)
    if any(row[1] == digest and not row[2] for row in rows):
        return None
    versions = {row[0] for row in rows}
    if document.version not in versions:
        return document
    for number in range(2, _VERSIONS + 1):
        version = f"{document.version[:28]}.{number}"
        if version not in versions:
            return replace(document, version=version)
    raise Refused(
        f"资料 {document.document} 同一时间的版本过多", f"document {document.document} has too many versions of one time", code="DOCUMENT_VERSIONS"
    )
