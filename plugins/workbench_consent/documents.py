"""Signed forms: taken from the folder that comes with a consent file, kept as blobs, held against the grants that rest on them.

Document: docs/protocols/erasure.md section 7; docs/consent.md section 4. A form is known by SM3 of its bytes; on the ledger and
in the registry stands only the salted commitment. The blob of grant n is kept for owner "consent" under ref "n".
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from workbench.contracts import Host, Transaction
from workbench.domain.evidence import AuditFinding
from workbench.errors import NotFound, Refused, VerificationError
from workbench_consent import tables
from workbench_consent.grants import signed_form_commitment

OWNER = "consent"
MAX_FILES = 200_000
READ_BYTES = 1 << 20


@dataclass(slots=True)
class Forms:
    """Forms of one import, written ahead: file name -> draft of the blob store. Empty when rows name none."""

    drafts: dict[str, Any] = field(default_factory=dict, repr=False)

    def adopt(self, tx: Transaction, host: Host, records: Mapping[int, str]) -> int:
        """Make each record's form its own, in the change that writes the records; how many."""
        for record, name in records.items():
            host.blobs.adopt(tx, self.drafts[name], owner=OWNER, ref=str(record))
        return len(records)

    def discard(self, host: Host) -> None:
        """Take back what no record adopted."""
        for draft in self.drafts.values():
            host.blobs.discard(draft)


def attach(
    frame: pl.DataFrame,
    archive: Path | None,
    host: Host,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[pl.DataFrame, Forms]:
    """The grants with SM3 of their forms as document_digest, and the forms as drafts.

    archive: a ZIP of the folder, None when there is none. Raises Refused: DOCUMENTS_MISSING (rows name files and no folder
    came, or it lacks some), DOCUMENT_DIFFERS (a row's own digest is another), DOCUMENT_TOO_LARGE, DOCUMENTS_UNREADABLE. The
    sentences name lines of the file, never file names: those may hold a person's name or number.
    """
    rows = frame.filter(pl.col("document").is_not_null())
    if not rows.height:
        return frame, Forms()
    forms = Forms()
    try:
        if archive is None:
            raise _missing(rows["line"].to_list())
        digests = _staged(rows, archive, host, forms, cancelled)
        computed = pl.col("document").replace_strict(digests, default=None, return_dtype=pl.String)
        joined = frame.with_columns(computed=computed)
        differs = joined.filter(pl.col("document_digest").is_not_null() & (pl.col("document_digest") != pl.col("computed")))
        if differs.height:
            lines = _lines(differs["line"].to_list())
            raise Refused(
                f"第 {lines} 行写明的文件摘要与所附文件不符，整份未导入：核对文件后重来",
                f"lines {lines}: the digest in the row is not that of the file; nothing was imported: check the files",
                code="DOCUMENT_DIFFERS",
            )
        filled = joined.with_columns(document_digest=pl.coalesce("computed", "document_digest")).drop("computed")
    except BaseException:
        forms.discard(host)
        raise
    return filled, forms


def _staged(
    rows: pl.DataFrame, archive: Path, host: Host, forms: Forms, cancelled: Callable[[], bool]
) -> dict[str, str]:
    """File name -> SM3 in hex of every form the rows name."""
    limit: int = host.setting("consent.max_document_bytes")
    digests: dict[str, str] = {}
    try:
        with zipfile.ZipFile(archive) as folder:
            members = {one.filename: one for one in folder.infolist() if not one.is_dir()}
            if len(members) > MAX_FILES:
                raise zipfile.BadZipFile
            absent = rows.filter(~pl.col("document").is_in(sorted(members)))
            if absent.height:
                raise _missing(absent["line"].to_list())
            for name in rows["document"].unique(maintain_order=True).to_list():
                if cancelled():
                    raise Refused("已停止导入，没有写入任何内容", "the import was stopped; nothing was written", code="CANCELLED")
                if members[name].file_size > limit:
                    raise _too_large(rows, name, limit)
                with folder.open(members[name]) as source:
                    draft = host.blobs.stage(_limited(source, limit, rows, name))
                forms.drafts[name] = draft
                digests[name] = draft.address.hex()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise Refused(
            "所附文件夹打不开（须为未加密的 ZIP），整份未导入",
            "the folder of signed forms cannot be read (a ZIP without password is needed); nothing was imported",
            code="DOCUMENTS_UNREADABLE",
        ) from error
    return digests


def _limited(source: Any, limit: int, rows: pl.DataFrame, name: str) -> Iterator[bytes]:
    """What really comes out, whatever size the archive claims."""
    total = 0
    while part := source.read(READ_BYTES):
        total += len(part)
        if total > limit:
            raise _too_large(rows, name, limit)
        yield part


def read(host: Host, record: int) -> bytes:
    """The signed form of a grant, re-hashed and held against the grant's commitment.

    Raises NotFound NO_BLOB, Denied RESTRICTED, VerificationError DOCUMENT_CHANGED, DOCUMENT_SWAPPED or DOCUMENT_MISSING.
    """
    with host.store.read() as reader:
        name = host.blobs.named(reader, OWNER, str(record))
        problem = _problem(reader, host, record, name)
        if problem is not None:
            code, zh, en = problem
            raise VerificationError(zh, en, code=code, details={"record": str(record)})
        return host.blobs.get(reader, name)


def findings(host: Host) -> list[AuditFinding]:
    """Every form that does not hold, with the entry of the import it came in and who acts. Cost: reads every blob."""
    found = []
    with host.store.read() as reader:
        references = host.blobs.references(reader, OWNER)
        imports = reader.execute(
            "SELECT first, rows, entry FROM consent_event WHERE kind = 'imported' ORDER BY first"
        ).fetchall()
        for ref, name in sorted(references.items(), key=lambda one: int(one[0])):
            record = int(ref)
            problem = _problem(reader, host, record, name)
            if problem is not None:
                entry = next((int(row[2]) for row in imports if row[0] <= record < row[0] + row[1]), None)
                code, zh, en = problem
                found.append(AuditFinding(host.party, entry, f"root (grant {record})", code, zh, en))
    return found


def _problem(reader: tables.Reader, host: Host, record: int, name: str) -> tuple[str, str, str] | None:
    """Why the form of a grant does not hold: code and sentences, or None."""
    try:
        address = host.blobs.address(reader, name)
    except NotFound:
        return _SENTENCES["DOCUMENT_MISSING"]
    except VerificationError as error:
        code = f"DOCUMENT_{error.details.get('problem', 'CHANGED')}"
        return (code, f"授权 {record} 的签署文件：{error.zh}", f"the signed form of grant {record}: {error.en}")
    if record > tables.record_count(reader):
        return _SENTENCES["DOCUMENT_SWAPPED"]
    chunk = tables.chunk_holding(reader, record)
    at = 32 * (record - chunk.first)
    if not any(chunk.form[at : at + 32]):
        return None  # the grant was taken out by an erasure; its form waits beside it
    if signed_form_commitment(chunk.salt[at : at + 32], address, record) != chunk.form[at : at + 32]:
        return _SENTENCES["DOCUMENT_SWAPPED"]
    return None


_SENTENCES = {
    code: (code, zh, en)
    for code, zh, en in (
        (
            "DOCUMENT_SWAPPED",
            "该授权名下所存的不是当时签署的文件：合规人员用原件核对，并查谁动过文件或数据库",
            "the form kept for this grant is another one: compliance compares the original and finds out who touched the files",
        ),
        (
            "DOCUMENT_MISSING",
            "该授权的签署文件不见了：运维人员从备份恢复，合规人员核对",
            "the signed form of this grant is gone: operations restore it from a backup, compliance checks it",
        ),
    )
}


def _missing(lines: list[int]) -> Refused:
    text = _lines(lines)
    return Refused(
        f"第 {text} 行写明的签署文件不在所附文件夹里，整份未导入：补齐文件后用 --documents 重来",
        f"lines {text}: the signed form is not in the folder; nothing was imported: add the files, give --documents",
        code="DOCUMENTS_MISSING",
        details={"rows": str(len(lines))},
    )


def _too_large(rows: pl.DataFrame, name: str, limit: int) -> Refused:
    text = _lines(rows.filter(pl.col("document") == name)["line"].to_list())
    return Refused(
        f"第 {text} 行的签署文件超过 {limit:,} 字节，整份未导入",
        f"lines {text}: the signed form is larger than {limit:,} bytes; nothing was imported",
        code="DOCUMENT_TOO_LARGE",
    )


def _lines(lines: list[int]) -> str:
    shown = ", ".join(str(one) for one in lines[:5])
    return shown if len(lines) <= 5 else f"{shown} …"
