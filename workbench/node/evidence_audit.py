"""The audit of a node as an operation: progress, cancel, and a report that names fields and shows contradictory heads.

Document: docs/protocols/evidence.md section 11. The ledger does the hashing; openings are the evidence log's part.
"""

from __future__ import annotations

from workbench.contracts import OperationContext
from workbench.domain.party import PartyId
from workbench.errors import Cancelled
from workbench.node.evidence_checking import MAX_COMPARED, Checker, Comparison, ConflictInfo, conflict_info
from workbench.node.links import bodies_of
from workbench.operations import Reply, Request


class AuditRequest(Request):
    """compare: also ask partners for their mirrored copies, to name the field that was changed."""

    compare: bool = True


class FindingInfo(Reply):
    log: str
    index: int | None
    field: str
    problem: str
    zh: str
    en: str


class AuditReply(Reply):
    """entries: of the own log; mirrors: of each other log held here; all of them were re-hashed.

    pending: own entries not yet signed by everybody. comparisons: the first changed entries, field by field.
    """

    holds: bool
    entries: int
    checkpoint_size: int
    mirrors: dict[str, int]
    findings: list[FindingInfo]
    pending: int = 0
    now_ms: int = 0
    conflicts: list[ConflictInfo] = []
    comparisons: list[Comparison] = []


def run_audit(ctx: OperationContext, request: AuditRequest) -> AuditReply:
    host = ctx.host
    total = sum(host.ledger.size(party) for party in host.parties())
    ctx.progress(0, 2 * total, "逐条重算正文", "re-hashing every body")

    def stop_if_asked() -> None:
        if ctx.cancelled():
            raise Cancelled("核对已停止，没有改动任何记录", "The audit was stopped; no entry was changed")

    def step(bodies: int) -> None:
        stop_if_asked()
        ctx.progress(min(bodies, total), 2 * total, "逐条重算正文", "re-hashing every body")

    def fetch(party: PartyId, log: PartyId, start: int, stop: int) -> list[bytes]:
        stop_if_asked()
        if log != host.party:
            return []
        return bodies_of(host.links, party, log, start, stop, timeout_s=10.0)

    report = host.ledger.audit(fetch=fetch if request.compare else None, step=step)
    ctx.progress(total, 2 * total, "核对开示与承诺", "checking openings against commitments")
    findings = list(report.findings)
    for finding in host.evidence.check_openings():
        stop_if_asked()
        findings.append(finding)
    for finding in host.erasure.check():
        stop_if_asked()
        findings.append(finding)
    findings += host.plugins.collect_all("workbench_audit", host=host)
    checker = Checker(host)
    changed = [(one.log, one.index) for one in findings if one.problem == "EDITED" and one.index is not None]
    return AuditReply(
        holds=not findings,
        entries=report.entries,
        checkpoint_size=report.checkpoint_size,
        mirrors=dict(report.mirrors),
        findings=[
            FindingInfo(log=one.log, index=one.index, field=one.field, problem=one.problem, zh=one.zh, en=one.en)
            for one in findings
        ],
        pending=host.sealing.pending()[1],
        now_ms=host.now_ms(),
        conflicts=[conflict_info(one) for one in host.ledger.conflicts()],
        comparisons=[checker.compare(checker.check(*place)) for place in dict.fromkeys(changed[:MAX_COMPARED])]
        if request.compare
        else [],
    )


__all__ = ["AuditReply", "AuditRequest", "FindingInfo", "run_audit"]
