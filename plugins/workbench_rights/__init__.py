"""Rights desk: what customers may ask, answered completely and in time; complaints until they are closed. docs/rights.md."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.contracts import Dashboard, HealthReport, Host, LetterKind, Migration, Setting, view_at
from workbench.domain.erasure import ErasureFinding, ErasureRequest
from workbench.domain.evidence import AuditFinding, EvidenceKind, ReplayNeed, RestoredEntry
from workbench.domain.subject import SubjectRecord, SubjectRequest
from workbench.hookspecs import hookimpl
from workbench.operations import Operation
from workbench_rights import complaint_operations, complaint_schema, groups, operations, restoring, schema, telling

WORKBENCH_API = 1


@hookimpl
def workbench_operations() -> Sequence[Operation]:
    return [*operations.RIGHTS_OPERATIONS, *complaint_operations.COMPLAINT_OPERATIONS]


@hookimpl
def workbench_dashboards() -> Sequence[Dashboard]:
    """The rights desk, loaded when somebody opens it."""
    roles = frozenset({"compliance", "auditor", "marketing"})
    return [Dashboard("rights", "权利与投诉", "Rights desk", "support_agent", roles, 45, view_at("workbench_rights.dashboard:view"))]


@hookimpl
def workbench_migrations() -> Sequence[Migration]:
    return [*schema.MIGRATIONS, complaint_schema.MIGRATION]


@hookimpl
def workbench_evidence_kinds() -> Sequence[EvidenceKind]:
    return [*schema.EVIDENCE_KINDS, *complaint_schema.EVIDENCE_KINDS]


@hookimpl
def workbench_settings() -> Sequence[Setting]:
    return [*schema.SETTINGS, *complaint_schema.SETTINGS]


@hookimpl
def workbench_letters(host: Host) -> Sequence[LetterKind]:
    return groups.letter_kinds(host)


@hookimpl
def workbench_audit(host: Host) -> Sequence[AuditFinding]:
    return telling.findings(host)


@hookimpl
def workbench_subject_records(host: Host, request: SubjectRequest) -> Sequence[SubjectRecord]:
    return telling.records(host, request)


@hookimpl
def workbench_restricted_customers(host: Host) -> Sequence[str]:
    return telling.restricted_customers(host)


@hookimpl
def workbench_replay(host: Host, entries: Sequence[RestoredEntry]) -> Sequence[ReplayNeed]:
    return restoring.replay(host, entries)


@hookimpl
def workbench_erase_customer(host: Host, request: ErasureRequest) -> Sequence[ErasureFinding]:
    return telling.erase(host, request)


@hookimpl
def workbench_health(host: Host) -> Sequence[HealthReport]:
    return telling.health(host)
