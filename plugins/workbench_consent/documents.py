"""Signed forms: kept as blobs, held against the grants that rest on them. What comes in is looked at in capture/forms.py.

Document: docs/protocols/erasure.md section 7; docs/consent.md section 4. A form is known by SM3 of its bytes; on the ledger and
in the registry stands only the salted commitment. The blob of grant n is kept for owner "consent" under ref "n".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.contracts import Host, Transaction
from workbench.domain.evidence import AuditFinding
from workbench.errors import NotFound, Refused, VerificationError
from workbench_consent import tables
from workbench_consent.grants import signed_form_commitment

OWNER = "consent"
MAX_FILES = 200_000


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


def missing(lines: list[int]) -> Refused:
    """Rows name forms and no folder came with them."""
    text = _lines(lines)
    return Refused(
        f"第 {text} 行写明了签署文件，而没有随附文件夹，整份未导入：用 --documents 给出文件夹或 ZIP",
        f"lines {text} name signed forms and no folder came along; nothing was imported: give the folder or a ZIP with --documents",
        code="DOCUMENTS_MISSING",
        details={"rows": str(len(lines))},
    )


def _lines(lines: list[int]) -> str:
    shown = ", ".join(str(one) for one in lines[:5])
    return shown if len(lines) <= 5 else f"{shown} …"
