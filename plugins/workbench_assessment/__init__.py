"""Impact assessments and the stage gate, processing records, breach notices (PIPL 55 to 57). Document: docs/assessment.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workbench.contracts import Dashboard, HealthReport, Host, Migration, Setting, view_at
from workbench.domain.evidence import EvidenceKind
from workbench.hookspecs import hookimpl
from workbench.operations import Operation
from workbench_assessment import gate, operations, schema, telling

WORKBENCH_API = 1


@hookimpl
def workbench_operations() -> Sequence[Operation]:
    return operations.ASSESSMENT_OPERATIONS


@hookimpl
def workbench_dashboards() -> Sequence[Dashboard]:
    """Impact assessments, processing records and breaches, loaded when somebody opens the page."""
    roles = frozenset({"compliance", "approver", "auditor", "regulator"})
    return [
        Dashboard(
            "assessment", "影响评估", "Impact assessment", "assignment_turned_in", roles, 46, view_at("workbench_assessment.dashboard:view")
        )
    ]


@hookimpl
def workbench_migrations() -> Sequence[Migration]:
    return schema.MIGRATIONS


@hookimpl
def workbench_evidence_kinds() -> Sequence[EvidenceKind]:
    return schema.EVIDENCE_KINDS


@hookimpl
def workbench_settings() -> Sequence[Setting]:
    return schema.SETTINGS


@hookimpl
def workbench_guard(host: Host, stage: str, facts: Mapping[str, str]) -> None:
    gate.guard(host, stage, facts)


@hookimpl
def workbench_health(host: Host) -> Sequence[HealthReport]:
    return telling.health(host)
