"""Snapshots: the customers selected for one attempt of one job, to be used once (row C5). docs/consent.md section 9."""

from __future__ import annotations

import numpy as np

from workbench.contracts import ConsentDecision, GrantQuery, Host, Transaction
from workbench.crypto import sm3
from workbench.errors import NotFound, Refused
from workbench_consent import merkle, tables
from workbench_consent.columns import GrantColumns
from workbench_consent.receipts import uses


def take(
    tx: Transaction,
    host: Host,
    *,
    job: str,
    attempt: int,
    query: GrantQuery,
    decision: ConsentDecision,
    actor: str,
    grants: GrantColumns,
) -> str:
    """Write down what a decision allows for this attempt, and which grants speak in it; returns the id of the snapshot.

    grants: of the registry, among them those of the decision. The root is over the grant digests of the usable customers
    in list order. Cost: about 0.6 µs per usable customer.
    """
    snapshot = "S-" + host.random(8).hex()
    digests, until = decision.grant_digest, decision.valid_until_ms
    if not decision.usable.all():  # else nothing needs to be copied
        digests, until = digests[decision.usable], until[decision.usable]
    usable = len(digests)
    root = merkle.rows_root(np.ascontiguousarray(digests).data.cast("B") if usable else b"", sm3.DIGEST_SIZE)
    ends = int(until.min()) if usable else query.at_ms
    tx.execute(
        "INSERT INTO consent_snapshot (snapshot, job, attempt, at_ms, as_of, purpose, recipient, key_kind, customers,"
        " usable, valid_until_ms, root) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            snapshot,
            job,
            attempt,
            query.at_ms,
            decision.as_of,
            query.purpose,
            query.recipient,
            query.key_kind.value,
            len(decision.usable),
            usable,
            ends,
            root,
        ),
    )
    entry = host.evidence.append(
        tx,
        "consent.snapshot",
        {
            "snapshot": snapshot,
            "attempt": str(attempt),
            "purpose": query.purpose,
            "recipient": query.recipient,
            "key_kind": query.key_kind.value,
            "root": root.hex(),
            "at_ms": str(query.at_ms),
            "as_of": str(decision.as_of),
            "customers": str(len(decision.usable)),
            "usable": str(usable),
        },
        job=job,
        actor=actor,
    )
    uses.remember(tx, snapshot, entry, digests, grants)
    return snapshot


def use(tx: Transaction, host: Host, snapshot: str, *, job: str, attempt: int, query: GrantQuery) -> None:
    """Spend a snapshot on the attempt it was taken for.

    Raises NotFound; Refused SNAPSHOT_OTHER_USE for another job, attempt, purpose, recipient or key; SNAPSHOT_USED when
    it, or another one for this attempt, was used before; SNAPSHOT_STALE when somebody withdrew or a grant ended since:
    decide and take a new one.
    """
    row = tx.execute(
        "SELECT job, attempt, purpose, recipient, key_kind, as_of, valid_until_ms, used_at_ms"
        " FROM consent_snapshot WHERE snapshot = ?",
        (snapshot,),
    ).fetchone()
    if row is None:
        raise NotFound("没有这个授权快照", "there is no such consent snapshot", code="NO_SNAPSHOT")
    if tuple(row[:5]) != (job, attempt, query.purpose, query.recipient, query.key_kind.value):
        raise Refused(
            "授权快照属于另一次求交，不能用在这里",
            "the consent snapshot belongs to another run and cannot be used here",
            code="SNAPSHOT_OTHER_USE",
            details={"snapshot": snapshot},
        )
    spent = tx.execute(
        "SELECT 1 FROM consent_snapshot WHERE job = ? AND attempt = ? AND used_at_ms IS NOT NULL", (job, attempt)
    ).fetchone()
    if row[7] is not None or spent is not None:
        raise Refused(
            "授权快照只能使用一次，请重新筛选",
            "a consent snapshot serves once: select the customers anew",
            code="SNAPSHOT_USED",
            details={"snapshot": snapshot},
        )
    now_ms = host.now_ms()
    if tables.newest_withdrawal(tx) > row[5] or now_ms >= row[6]:
        raise Refused(
            "筛选之后有客户撤回或授权到期，请重新筛选",
            "a customer withdrew or a grant ended since the selection: select the customers anew",
            code="SNAPSHOT_STALE",
            details={"snapshot": snapshot},
        )
    tx.execute("UPDATE consent_snapshot SET used_at_ms = ? WHERE snapshot = ?", (now_ms, snapshot))
