"""Quotas of SAEs as the store keeps them: what one may take, what is left, how many keys wait for its slaves.

Document: docs/protocols/key-delivery.md section 1. Every function works inside the caller's change.
"""

from __future__ import annotations

from uuid import UUID

from workbench.contracts import Transaction
from workbench.errors import Denied, KeyUnavailable
from workbench_kme.keys.quota import Bucket, Quota, full, refilled
from workbench_kme.keys.rows import Reader

LONGEST_WAIT_S = 60
"""Keys that wait for their slaves may be fetched at any moment: nobody is told to stay away for longer than this."""


def set_quota(tx: Transaction, now: int, sae: str, quota: Quota) -> None:
    """Register an SAE. What is left of its bucket stays, at most the new burst: an entity that starts anew refills nothing."""
    row = tx.execute("SELECT tokens, at_ms FROM kme_sae WHERE sae = ?", (sae,)).fetchone()
    bucket = full(quota, now) if row is None else refilled(quota, Bucket(row[0], row[1]), now)
    tx.execute(
        "INSERT OR REPLACE INTO kme_sae (sae, registered, burst, per_minute, priority, tokens, at_ms)"
        " VALUES (?, 1, ?, ?, ?, ?, ?)",
        (sae, quota.burst, quota.per_minute, quota.priority, bucket.tokens, bucket.at_ms),
    )
    tx.execute(
        "INSERT OR REPLACE INTO kme_sae_limit (sae, per_hour, most_reserved) VALUES (?, ?, ?)",
        (sae, quota.per_hour, quota.most_reserved),
    )


def remove_quota(tx: Transaction, sae: str) -> None:
    """Take an SAE's own quota away."""
    tx.execute("DELETE FROM kme_sae_limit WHERE sae = ?", (sae,))
    tx.execute("DELETE FROM kme_sae WHERE sae = ?", (sae,))


def quota_of(tx: Transaction, now: int, sae: str, default: Quota | None) -> tuple[Quota, Bucket]:
    """What an SAE may take, and its bucket; `default` where it has no quota of its own. Raises Denied SAE_UNKNOWN."""
    row = tx.execute(
        "SELECT s.burst, s.per_minute, s.priority, s.tokens, s.at_ms, s.registered, COALESCE(l.per_hour, 0),"
        " COALESCE(l.most_reserved, 0) FROM kme_sae s LEFT JOIN kme_sae_limit l ON l.sae = s.sae WHERE s.sae = ?",
        (sae,),
    ).fetchone()
    if row is not None and row[5]:
        limits = Quota(row[0], row[1], row[2], row[6], row[7])
    elif default is not None:
        limits = default
    else:
        raise Denied(
            f"应用 {sae} 没有登记配额：密钥管理人员登记", f"the application {sae} has no quota: key staff register it", code="SAE_UNKNOWN"
        )
    return limits, full(limits, now) if row is None else Bucket(row[3], row[4])


def exceeded(sae: str, wait_s: int) -> KeyUnavailable:
    """Above the quota. wait_s: until the keys are there; -1 for never."""
    return KeyUnavailable(
        f"应用 {sae} 超出密钥配额，本次未取走任何密钥：稍后再试，或由密钥管理人员调整配额",
        f"the application {sae} is above its quota and got no key: try later, or key staff change the quota",
        code="QUOTA_EXCEEDED",
        details={"retry_after_s": str(wait_s)},
    )


def require_room(tx: Transaction, now: int, sae: str, number: int, most: int) -> None:
    """Return if an SAE may have `number` more keys reserved. Raises KeyUnavailable RESERVED_TOO_MANY."""
    if not most:
        return
    kept, first = tx.execute(
        "SELECT COUNT(*), MIN(expires_ms) FROM kme_key INDEXED BY kme_key_of_master WHERE state = 3 AND master = ?", (sae,)
    ).fetchone()
    if kept + number <= most:
        return
    wait = -1 if number > most else min(LONGEST_WAIT_S, max(1, -(-(int(first) - now) // 1000)))
    raise KeyUnavailable(
        f"应用 {sae} 已有 {kept} 把密钥等对端应用取走，至多 {most} 把，本次未取走任何密钥：对端取走后再试，或由密钥管理人员调整配额",
        f"{kept} keys of the application {sae} wait for the far applications, of {most} at most, and it got none: try when they"
        " were fetched, or key staff change the quota",
        code="RESERVED_TOO_MANY",
        details={"retry_after_s": str(wait)},
    )


def left_of(reader: Reader, now: int, sae: str, quota: Quota) -> int:
    """Whole keys left in the bucket of an SAE."""
    row = reader.execute("SELECT tokens, at_ms FROM kme_sae WHERE sae = ?", (sae,)).fetchone()
    bucket = full(quota, now) if row is None else refilled(quota, Bucket(row[0], row[1]), now)
    return bucket.tokens // 1000


def reserved_of(reader: Reader, master: str) -> list[tuple[str, UUID]]:
    """(line, key) of the keys RESERVED for this master, by line and position."""
    rows = reader.execute(
        "SELECT l.name, k.id FROM kme_key k INDEXED BY kme_key_of_master JOIN kme_line l ON l.number = k.line"
        " WHERE k.state = 3 AND k.master = ? ORDER BY l.name, k.block, k.idx",
        (master,),
    )
    return [(str(row[0]), UUID(bytes=bytes(row[1]))) for row in rows]
