"""Private set intersection: the engine `ddh-x25519`. Documents: docs/protocols/intersection.md and curve.md."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.contracts import Dashboard, HealthReport, Host, IntersectionEngine, view_at
from workbench.domain.evidence import EvidenceKind
from workbench.hookspecs import hookimpl

WORKBENCH_API = 1


@hookimpl
def workbench_intersection_engines() -> Sequence[IntersectionEngine]:
    """The embedded engine."""
    from workbench_psi.engine import DdhX25519

    return [DdhX25519()]


@hookimpl
def workbench_evidence_kinds() -> Sequence[EvidenceKind]:
    """Kinds of entry that only this engine's marks make."""
    from workbench_psi.evidence import EVIDENCE_KINDS

    return EVIDENCE_KINDS


@hookimpl
def workbench_health(host: Host) -> Sequence[HealthReport]:
    """Whether the curve arithmetic gives the known answers, and which of its two ways is used."""
    from workbench_psi.health import curve_report

    return [curve_report()]


@hookimpl
def workbench_dashboards() -> Sequence[Dashboard]:
    """Both pages, loaded when somebody opens one."""
    roles = frozenset({"marketing", "approver", "compliance"})
    return [
        Dashboard("intersection", "求交", "Intersection", "join_inner", roles, 20, view_at("workbench_psi.dashboard:view")),
        Dashboard("inbox", "收件箱", "Inbox", "inbox", roles, 30, view_at("workbench_psi.dashboard:inbox")),
    ]
