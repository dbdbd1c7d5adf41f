"""What capture and receipts keep about one customer, for whoever asks for everything. docs/protocols/capture.md section 8; docs/rights.md."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from workbench.contracts import Host
from workbench.domain.subject import SubjectRecord
from workbench_consent.erasing import rows_named
from workbench_consent.projection import State


def records(host: Host, state: State, names: Sequence[str]) -> list[SubjectRecord]:
    """Questions, refusals and receipts of the person with these tokens (hex)."""
    if not names:
        return []
    tokens = [bytes.fromhex(name) for name in names]
    marks = ",".join("?" * len(tokens))
    theirs = f"phone IN ({marks}) OR id_no IN ({marks})"
    mine = np.flatnonzero(rows_named(state.grants.subjects, names)) + 1
    with host.store.read() as reader:
        asked = reader.execute(
            f"SELECT ask, offers, notice, way, place, identity, method, asked_ms, closed_ms, state FROM consent_capture_ask WHERE {theirs}"
            " ORDER BY asked_ms, ask",
            (*tokens, *tokens),
        ).fetchall()
        refused = reader.execute(
            f"SELECT number, purpose, recipient, at_ms FROM consent_capture_refusal WHERE {theirs} ORDER BY number", (*tokens, *tokens)
        ).fetchall()
        batches = reader.execute("SELECT at_ms, ids, records FROM consent_receipt_batch ORDER BY batch").fetchall()
    found = []
    for ask, offers, notice, way, place, identity, method, asked_ms, closed_ms, ended in asked:
        scope = " ".join(f"{one['purpose']}/{one['recipient']}" for one in json.loads(offers))
        values = {
            "scope": scope, "notice": notice, "way": way, "place": place, "identity": identity, "method": method, "state": ended,
            "closed_ms": str(closed_ms or 0),
        }  # fmt: skip
        found.append(SubjectRecord("consent", "consent.question", f"question {ask}", "一次征求", "a question", int(asked_ms), values, provided=True))
    for number, purpose, recipient, at_ms in refused:
        values = {"purpose": purpose, "recipient": recipient}
        found.append(
            SubjectRecord(
                "consent", "consent.refusal", f"refusal {number}", "一次拒绝，冷却期内不再征求", "a refusal; not asked again before the cool-down ends",
                int(at_ms), values, provided=True,
            )
        )  # fmt: skip
    for at_ms, ids, numbers in batches:
        issued = np.frombuffer(numbers, "<u8")
        for at in np.flatnonzero(np.isin(issued, mine)).tolist():
            values = {"receipt_id": f"CR-{ids[16 * at : 16 * at + 16].hex()}", "record": str(int(issued[at]))}
            found.append(
                SubjectRecord("consent", "consent.receipt", f"receipt {values['receipt_id']}", "一份授权凭据", "a consent receipt", int(at_ms), values)
            )
    return found
