"""Builds the ledger from what a node offers, and says how it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.contracts import HealthReport, Transaction
from workbench.crypto import ed25519, sm2
from workbench.domain.checkpoint import DEFAULT_PROJECT, PartyKeys
from workbench.domain.party import PartyId
from workbench.errors import WorkbenchError
from workbench_ledger.ledger import Ledger
from workbench_ledger.mirror import ROLLED_BACK


def build_ledger(host: Any) -> Ledger:  # Any: the node's services beyond contracts.Host that only this provider needs
    """The ledger of this node.

    host offers, besides contracts.Host: `cosigning_keys` with .ed25519, .sm2 and .mldsa44 (secret, the last may be None),
    `pinned_keys(party)` with the same names (public), `former_parties()` and `job_participants(log, job)`; optionally
    `project`.
    """

    def pinned() -> Mapping[PartyId, PartyKeys]:
        own = host.cosigning_keys
        third = None if own.mldsa44 is None else own.mldsa44.public
        keys = {host.party: PartyKeys(host.party, own.ed25519.public, own.sm2.public, mldsa44=third)}
        for party in (*host.parties(), *host.former_parties()):
            if party != host.party:
                one = host.pinned_keys(party)
                keys[party] = PartyKeys(party, _ed25519(one.ed25519), _sm2(one.sm2), mldsa44=one.mldsa44)
        return keys

    def record(tx: Transaction, kind: str, values: Mapping[str, str]) -> None:
        host.evidence.append(tx, kind, values)

    return Ledger(
        host.store,
        host.party,
        host.cosigning_keys,
        pinned,
        host.now_ms,
        project=getattr(host, "project", "") or DEFAULT_PROJECT,
        record=record,
        participants=host.job_participants,
        mldsa_kinds=lambda: [str(one) for one in host.setting("ledger.mldsa_required")],
    )


def report_health(ledger: Ledger) -> list[HealthReport]:
    """What the health page says about the ledger: contradictions, and whether the log continues what it signed."""
    reports = []
    conflicts = [one for one in ledger.conflicts() if one.problem != ROLLED_BACK]
    if conflicts:
        logs = ", ".join(sorted({one.log for one in conflicts}))
        reports.append(
            HealthReport(
                "ledger.conflicts",
                "failed",
                f"有 {len(conflicts)} 处已签检查点互相矛盾（{logs}），证据已保留，请合规人员核对",
                f"{len(conflicts)} contradictions between signed heads ({logs}); they are kept, compliance must compare",
                "compliance",
            )
        )
    waiting = ledger.waiting_members()
    if waiting:
        where = ", ".join(f"{log}/{index}" for log, index in waiting)
        reports.append(
            HealthReport(
                "ledger.members", "warning",
                f"成员变更 {where} 所依据的批准记录本机尚未持有或不符，暂不生效",
                f"changes of members {where} rest on approvals that are not held here or do not fit; they do not count yet",
                "compliance",
            )
        )  # fmt: skip
    try:
        if (closed := ledger.why_closed()) is not None:
            raise closed
        size = ledger.check_own()
    except WorkbenchError as error:
        return [*reports, HealthReport("ledger.own", "failed", error.zh, error.en)]
    return [
        *reports,
        HealthReport("ledger.own", "ok", f"本机日志 {size} 条，与签过的检查点一致", f"{size} own entries, as signed"),
    ]


def _ed25519(key: ed25519.PublicKey | bytes) -> ed25519.PublicKey:
    return key if isinstance(key, ed25519.PublicKey) else ed25519.PublicKey(key)


def _sm2(key: sm2.PublicKey | bytes) -> sm2.PublicKey:
    return key if isinstance(key, sm2.PublicKey) else sm2.PublicKey(key)
