"""The quantum channel: lines, their keys and policies, as this node sees them. Document: docs/quantum-channel.md."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.contracts import (
    BackgroundWork,
    CarriedChannel,
    Dashboard,
    HealthReport,
    Host,
    LetterKind,
    Migration,
    SessionKeys,
    Setting,
    view_at,
)
from workbench.domain.evidence import (
    AuditFinding,
    EvidenceKind,
    ReplayNeed,
    RestoredEntry,
)
from workbench.hookspecs import hookimpl
from workbench.operations import Operation
from workbench_qkd import (
    applications,
    auditing,
    bandwidth,
    charge_restoring,
    charge_schema,
    charging,
    conversing,
    health,
    operations,
    outside,
    restoring,
    schema,
    tenants,
)
from workbench_qkd.channel import QkdChannel
from workbench_qkd.service import ChannelService, service_of

WORKBENCH_API = 1


@hookimpl
def workbench_operations() -> Sequence[Operation]:
    return (*operations.OPERATIONS, *charging.OPERATIONS, *applications.OPERATIONS)


@hookimpl
def workbench_dashboards() -> Sequence[Dashboard]:
    """The line, its keys and what happened on it, loaded when somebody opens the page."""
    roles = frozenset({"operator", "compliance", "auditor", "regulator"})
    return [Dashboard("quantum", "量子通道", "Quantum channel", "settings_ethernet", roles, 60, view_at("workbench_qkd.dashboard:view"))]


@hookimpl
def workbench_migrations() -> Sequence[Migration]:
    return (*schema.MIGRATIONS, *charge_schema.MIGRATIONS)


@hookimpl
def workbench_evidence_kinds() -> Sequence[EvidenceKind]:
    return (*schema.EVIDENCE_KINDS, *charge_schema.EVIDENCE_KINDS, *applications.EVIDENCE_KINDS)


@hookimpl
def workbench_settings() -> Sequence[Setting]:
    return (*schema.SETTINGS, *bandwidth.SETTINGS, *tenants.SETTINGS)


@hookimpl
def workbench_background(host: Host) -> Sequence[BackgroundWork]:
    return [ChannelService(host), charging.ChargeKeeper(host), outside.OutsideSessions(host)]


@hookimpl
def workbench_session_keys(host: Host) -> Sequence[SessionKeys]:
    """Of lines, for sessions with a sandbox: the one that the node has among its background work."""
    found = outside.keys_of(host)
    return [found] if found is not None else []


@hookimpl
def workbench_carried_channels(host: Host) -> Sequence[CarriedChannel]:
    return [QkdChannel(host)]


@hookimpl
def workbench_letters(host: Host) -> Sequence[LetterKind]:
    return conversing.letter_kinds(host)


@hookimpl
def workbench_replay(host: Host, entries: Sequence[RestoredEntry]) -> Sequence[ReplayNeed]:
    return [*restoring.replay(host, entries), *charge_restoring.replay(host, entries)]


@hookimpl
def workbench_audit(host: Host) -> Sequence[AuditFinding]:
    return auditing.findings(host)


@hookimpl
def workbench_health(host: Host) -> Sequence[HealthReport]:
    service = service_of(host)
    return [*health.reports(service), *charging.reports(service), *applications.reports(service)]
