"""What the registry keeps about one customer, record by record, and why the customer was usable. docs/rights.md section 3.

Reads only. A grant that an erasure took out names nobody and is not found here: the restricted storage names it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench.contracts import CustomerDecision, GrantQuery, Host
from workbench.domain.subject import SubjectRecord
from workbench_consent import represented
from workbench_consent.columns import Verdicts
from workbench_consent.erasing import records_with_forms, rows_named
from workbench_consent.grants import Reason
from workbench_consent.projection import State
from workbench_consent.reasons import SENTENCES


def records(host: Host, state: State, names: Sequence[str]) -> list[SubjectRecord]:
    """Grants with their forms, then withdrawals and the marks that keep out. names: tokens in hex."""
    if not names:
        return []
    with host.store.read() as reader:
        events = {int(seq): int(at_ms) for seq, at_ms in reader.execute("SELECT seq, at_ms FROM consent_event")}
        with_forms = records_with_forms(reader)
        tokens = [bytes.fromhex(name) for name in names]
        marks = ",".join("?" * len(tokens))
        left = reader.execute(
            "SELECT number, seq, purpose, recipient, suppresses, lifted_seq FROM consent_suppression"
            f" WHERE phone IN ({marks}) OR id_no IN ({marks}) ORDER BY number",
            (*tokens, *tokens),
        ).fetchall()
        refused = reader.execute(
            f"SELECT number, seq, what, lifted_seq FROM consent_refusal WHERE phone IN ({marks}) OR id_no IN ({marks}) ORDER BY number",
            (*tokens, *tokens),
        ).fetchall()
    grants = state.grants
    found = []
    mine: list[int] = np.flatnonzero(rows_named(grants.subjects, names)).tolist()
    with host.store.read() as reader:
        people = represented.of_records(reader, host, [row + 1 for row in mine])
    for row in mine:
        term = state.terms[int(grants.term[row])]
        form = str(row + 1) in with_forms
        values = {
            "record": str(row + 1), "purpose": term.purpose, "recipient": term.recipient, "channel": term.channel,
            "valid_from_ms": str(int(grants.from_ms[row])), "valid_until_ms": str(int(grants.until_ms[row])),
            "withdrawn": "yes" if grants.withdrawn[row] else "no", "digest": bytes(grants.digest[row]).hex(),
            "signed_form": "kept" if form else "none", **_signed_by(term.conditions.signer, people.get(row + 1)),
        }  # fmt: skip
        found.append(
            SubjectRecord(
                "consent", "consent.grant", f"grant {row + 1}",
                "一条授权" + ("，附签署文件" if form else ""), "a grant" + (" with its signed form" if form else ""),
                events.get(int(grants.seq[row]), 0), values, lawful_basis="consent", provided=True,
            )
        )  # fmt: skip
    for number, seq, purpose, recipient, suppresses, lifted in left:
        kept_out = bool(suppresses) and lifted is None
        values = {"purpose": purpose or "*", "recipient": recipient or "*", "kept_out": "yes" if kept_out else "no"}
        found.append(
            SubjectRecord(
                "consent", "consent.withdrawal", f"withdrawal {number}",
                "一次撤回" + ("，此后不再使用" if kept_out else ""), "a withdrawal" + ("; kept out since" if kept_out else ""),
                events.get(int(seq), 0), values,
                note_zh="只存带密钥的代号，用来继续拒绝", note_en="kept as keyed tokens only, to keep refusing",
            )
        )  # fmt: skip
    for number, seq, what, lifted in refused:
        values = {"what": str(what), "in_force": "yes" if lifted is None else "no"}
        found.append(
            SubjectRecord(
                "consent", "consent.opt_out", f"opt-out {number}", "一次退订：某渠道或自动化营销", "an opt-out of a channel or of automated marketing",
                events.get(int(seq), 0), values, provided=True,
            )
        )  # fmt: skip
    return found


def _signed_by(signer: str, person: represented.Representative | None) -> dict[str, str]:
    """Who signed, where the form says so."""
    return ({"signer": signer} if signer else {}) | (person.values if person is not None else {})


def customer_decision(
    verdicts: Verdicts, state: State, row: int, query: GrantQuery, names: Sequence[str]
) -> CustomerDecision:
    """The verdict of one row with the grant behind it; fulfils workbench.contracts.ExplainsCustomers."""
    reason = Reason(int(verdicts.reason[row]))
    spoken = int(verdicts.grant[row])
    if spoken < 0:
        spoken = _live_then(state, query, names)
    zh, en = SENTENCES[reason]
    code = reason.code or "OK"
    if spoken < 0:
        return CustomerDecision(code, zh, en)
    grants = state.grants
    return CustomerDecision(
        code, zh, en, spoken + 1, int(grants.from_ms[spoken]), int(grants.until_ms[spoken]),
        state.terms[int(grants.term[spoken])].channel, bytes(grants.digest[spoken]).hex(),
    )  # fmt: skip


def _live_then(state: State, query: GrantQuery, names: Sequence[str]) -> int:
    """The grant of this person in the scope whose window held at that instant and ends last; -1 for none."""
    grants = state.grants
    if not names or not len(grants):
        return -1
    inside = np.array([term.purpose == query.purpose and term.recipient == query.recipient for term in state.terms], bool)
    fits = rows_named(grants.subjects, names) & inside[grants.term]
    fits &= (grants.from_ms <= query.at_ms) & (query.at_ms < grants.until_ms)
    rows = np.flatnonzero(fits)
    return int(rows[np.argmax(grants.until_ms[rows])]) if len(rows) else -1


__all__ = ["customer_decision", "records"]
