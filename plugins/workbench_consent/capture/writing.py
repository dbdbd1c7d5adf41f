"""From what was captured to grants: one frame, its forms, one change. docs/protocols/capture.md sections 0 and 7."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from workbench.contracts import Host, Transaction
from workbench.errors import Refused
from workbench.intake import GrantTable
from workbench.intake.grants import FORM_SCHEMA, GRANT_SCHEMA, SIGNER_SCHEMA
from workbench.intake.mapping import ColumnMapping
from workbench.intake.quality import QualityReport
from workbench_consent import tables
from workbench_consent.documents import Forms
from workbench_consent.importing import Imported
from workbench_consent.registry import Registry

_SCHEMA = pl.Schema({**GRANT_SCHEMA, **FORM_SCHEMA, **SIGNER_SCHEMA})


def table_of(rows: Sequence[Mapping[str, Any]], *, file: str) -> GrantTable:
    """Rows made here, as if they had been read from a file; columns of GRANT_SCHEMA, FORM_SCHEMA and SIGNER_SCHEMA, absent ones are empty.

    Raises ValueError for a column that none of them has: what was said must not get lost on the way.
    """
    if any(set(row) - set(_SCHEMA) for row in rows):
        raise ValueError("a captured row has a column that grants do not have")
    frame = pl.DataFrame([{name: row.get(name) for name in _SCHEMA} for row in rows], schema=_SCHEMA)
    report = QualityReport(file=file, kind="captured", rows=len(rows), accepted=len(rows), rejected=0, duplicates=0)
    return GrantTable(frame, report, pl.DataFrame(), ColumnMapping(()))


def write_with_form(
    host: Host, registry: Registry, rows: Sequence[Mapping[str, Any]], form: bytes, *, file: str, actor: str,
    also: Callable[[Transaction, int, str], Any],
) -> Imported:  # fmt: skip
    """Grants that rest on one form. also(tx, event, SM3 of the form in hex): more in the same transaction.

    Raises Refused CAPTURE_NOTHING_NEW when no grant came of it: all are known already, or the customer is kept out.
    """
    draft = host.blobs.stage([form])
    forms = Forms({"form": draft})
    digest = draft.address.hex()
    whole = [{**row, "line": number, "document": "form", "document_digest": digest} for number, row in enumerate(rows, 1)]

    with host.store.read() as reader:
        before = tables.newest_event(reader)

    def inside(tx: Transaction) -> Any:
        event = tables.newest_event(tx)
        kind = tx.execute("SELECT kind, rows FROM consent_event WHERE seq = ?", (event,)).fetchone()
        if event <= before or kind is None or kind[0] != "imported" or not kind[1]:
            raise Refused(
                "没有新增授权：同样的授权已登记，或客户已退出",
                "no grant came of it: the same grants are recorded already, or the customer has left and is kept out",
                code="CAPTURE_NOTHING_NEW",
            )
        return also(tx, event, digest)

    try:
        return registry.import_rows(table_of(whole, file=file), forms, actor=actor, also=inside)
    finally:
        forms.discard(host)
