"""Consent registry: directed grants, withdrawal at once, reasons for every exclusion. Document: docs/consent.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workbench.contracts import (
    BackgroundWork,
    ConsentRegistry,
    Dashboard,
    HealthReport,
    Host,
    Migration,
    PublicPage,
    Setting,
    view_at,
)
from workbench.domain.erasure import ErasureFinding, ErasureRequest
from workbench.domain.evidence import AuditFinding, EvidenceKind, ReplayNeed, RestoredEntry
from workbench.domain.subject import SubjectRecord, SubjectRequest
from workbench.hookspecs import hookimpl
from workbench.operations import Operation
from workbench_consent import (
    deciding,
    decisions,
    documents,
    exiting,
    health,
    lifeline,
    operations,
    outlook,
    replaying,
    schema,
    subject_records,
)
from workbench_consent.capture import asked, ending, page
from workbench_consent.capture import erasing as capture_erasing
from workbench_consent.capture import operations as capture
from workbench_consent.capture import records as capture_records
from workbench_consent.notices import operations as notices
from workbench_consent.receipts import operations as receipts
from workbench_consent.registry import Registry

WORKBENCH_API = 1


@hookimpl
def workbench_consent_registry(host: Host) -> ConsentRegistry:
    return Registry(host)


@hookimpl
def workbench_operations() -> Sequence[Operation]:
    return [*operations.OPERATIONS, *outlook.OPERATIONS, *lifeline.OPERATIONS, *replaying.REPLAY_OPERATIONS, *notices.OPERATIONS, *deciding.DECIDE_OPERATIONS, *decisions.DECISION_OPERATIONS, *receipts.OPERATIONS, *capture.OPERATIONS, *asked.OPERATIONS]


@hookimpl
def workbench_replay(host: Host, entries: Sequence[RestoredEntry]) -> Sequence[ReplayNeed]:
    return replaying.replay(host, entries)


@hookimpl
def workbench_guard(host: Host, stage: str, facts: Mapping[str, str]) -> None:
    replaying.require_replayed(host.store)
    exiting.guard(host, stage, facts)


@hookimpl
def workbench_erase_customer(host: Host, request: ErasureRequest) -> Sequence[ErasureFinding]:
    registry: object = host.provider(ConsentRegistry)  # type: ignore[type-abstract]  # asked for by its Protocol
    return [*registry.erase(request), *capture_erasing.erase(host, request)] if isinstance(registry, Registry) else []


@hookimpl
def workbench_background(host: Host) -> Sequence[BackgroundWork]:
    return [ending.EndsQuestions(host)]


@hookimpl
def workbench_public_pages(host: Host) -> Sequence[PublicPage]:
    registry: object = host.provider(ConsentRegistry)  # type: ignore[type-abstract]  # asked for by its Protocol
    return [page.public_page(host, registry)] if isinstance(registry, Registry) else []


@hookimpl
def workbench_subject_records(host: Host, request: SubjectRequest) -> Sequence[SubjectRecord]:
    registry: object = host.provider(ConsentRegistry)  # type: ignore[type-abstract]  # asked for by its Protocol
    if not isinstance(registry, Registry):
        return []
    state, names = registry.state(), request.customer.names
    return [*subject_records.records(host, state, names), *capture_records.records(host, state, names)]


@hookimpl
def workbench_audit(host: Host) -> Sequence[AuditFinding]:
    return documents.findings(host)


@hookimpl
def workbench_migrations() -> Sequence[Migration]:
    return schema.MIGRATIONS


@hookimpl
def workbench_evidence_kinds() -> Sequence[EvidenceKind]:
    return [*schema.EVIDENCE_KINDS, *outlook.EVIDENCE_KINDS, *lifeline.EVIDENCE_KINDS]


@hookimpl
def workbench_settings() -> Sequence[Setting]:
    return schema.SETTINGS


@hookimpl
def workbench_health(host: Host) -> Sequence[HealthReport]:
    return health.reports(host)


@hookimpl
def workbench_dashboards() -> Sequence[Dashboard]:
    """The consent centre, loaded when somebody opens it."""
    roles = frozenset({"marketing", "approver", "compliance"})
    return [Dashboard("consent", "授权", "Consent", "how_to_reg", roles, 40, view_at("workbench_consent.dashboard:view"))]
