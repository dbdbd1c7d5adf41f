"""Questions that were put to a customer who is erased: their identifiers and tokens go, the counts stay.

Document: docs/protocols/erasure.md section 11. What keeps the customer from being asked again is the suppression.
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.contracts import Host, Transaction
from workbench.domain.erasure import ErasureFinding
from workbench_consent import tables
from workbench_consent.subjects import ABSENT

OWNER = "consent"
TABLES = ("consent_capture_ask", "consent_capture_refusal")


def exist(reader: tables.Reader) -> bool:
    """Whether this institution puts questions to customers at all."""
    return reader.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (TABLES[0],)).fetchone() is not None


def take_out(tx: Transaction, host: Host, names: Sequence[str]) -> ErasureFinding:
    """Zero the tokens of every question to the customer and what was refused then; waiting ones are over."""
    from workbench_consent.capture import asking  # it rests on the registry, which rests on this

    tokens = [bytes.fromhex(name) for name in names]
    marks = ", ".join("?" * len(tokens))
    asked = [
        str(row[0])
        for row in tx.execute(
            f"SELECT ask FROM consent_capture_ask WHERE phone IN ({marks}) OR id_no IN ({marks})", [*tokens, *tokens]
        ).fetchall()
    ]
    asking.shred(tx, host, asked)
    tx.executemany(
        "UPDATE consent_capture_ask SET state = ? WHERE ask = ? AND state IN (?, ?)",
        [(asking.CANCELLED, one, *asking.WAITING) for one in asked],
    )
    found = len(asked)
    for table in TABLES:
        tx.executemany(f"UPDATE {table} SET phone = ?, id_no = ? WHERE ask = ?", [(ABSENT, ABSENT, one) for one in asked])
    return ErasureFinding(
        OWNER, "questions", found, found, 0, 0,
        "向此人发出的签署链接已作废，标识已清除", "signing links for the customer are void and their tokens were cleared",
    )  # fmt: skip
