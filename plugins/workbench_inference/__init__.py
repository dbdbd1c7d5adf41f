"""Questions to a securities model in a leased sandbox: leases, meters, documents, policy, asking.

Document: docs/protocols/sandbox.md. What runs beside a provider's node is the package workbench_sandbox. What exists at which
role of a node is decided in `roles`; without a role there is nothing but tables, kinds and settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from workbench.contracts import (
    BackgroundWork,
    Dashboard,
    HealthReport,
    Host,
    LetterKind,
    Machines,
    Migration,
    PeerPath,
    Setting,
    view_at,
)
from workbench.contracts.inference import DocumentConnector, EngineRecipe, Scaler
from workbench.domain.erasure import ErasureFinding, ErasureRequest
from workbench.domain.evidence import AuditFinding, EvidenceKind, ReplayNeed, RestoredEntry
from workbench.domain.subject import SubjectRecord, SubjectRequest
from workbench.hookspecs import hookimpl
from workbench.operations import Operation
from workbench_inference import kinds, roles, schema, settings

WORKBENCH_API = 1


@hookimpl
def workbench_migrations() -> Sequence[Migration]:
    return schema.MIGRATIONS


@hookimpl
def workbench_evidence_kinds() -> Sequence[EvidenceKind]:
    return kinds.EVIDENCE_KINDS


@hookimpl
def workbench_settings() -> Sequence[Setting]:
    return settings.SETTINGS


@hookimpl
def workbench_operations() -> Sequence[Operation]:
    """Each area of the plugin adds its own, through `roles`."""
    from workbench_inference.operations_ask import ASK_OPERATIONS
    from workbench_inference.operations_channels import CHANNEL_OPERATIONS
    from workbench_inference.operations_documents import DOCUMENT_OPERATIONS
    from workbench_inference.operations_images import IMAGE_OPERATIONS
    from workbench_inference.operations_lease import LEASE_OPERATIONS
    from workbench_inference.operations_meter import METER_OPERATIONS
    from workbench_inference.operations_policy import POLICY_OPERATIONS
    from workbench_inference.operations_probe import PROBE_OPERATIONS
    from workbench_inference.operations_running import RUNNING_OPERATIONS
    from workbench_inference.operations_servers import SERVER_OPERATIONS
    from workbench_inference.operations_stages import STAGE_OPERATIONS

    asking = (*ASK_OPERATIONS, *CHANNEL_OPERATIONS)
    return (
        *DOCUMENT_OPERATIONS, *POLICY_OPERATIONS, *STAGE_OPERATIONS, *LEASE_OPERATIONS, *METER_OPERATIONS, *SERVER_OPERATIONS, *IMAGE_OPERATIONS, *PROBE_OPERATIONS,
        *RUNNING_OPERATIONS, *asking,
    )  # fmt: skip


@hookimpl
def workbench_dashboards() -> Sequence[Dashboard]:
    """Each page at the role that has it; loaded when somebody opens it."""
    at_tenant = frozenset({"operator", "adviser", "compliance", "auditor", "regulator"})
    askers = frozenset({"adviser", "marketing", "compliance", "operator", "auditor", "regulator"})
    ask = Dashboard("ask", "问模型", "Ask the model", "forum", askers, 65, view_at("workbench_inference.dashboard:ask"))
    leases = Dashboard("leases", "租约与计量", "Leases and meters", "timer", at_tenant | {"admin"}, 70, view_at("workbench_inference.dashboard:leases"))
    deciders = at_tenant | {"marketing", "approver", "admin"}
    models = Dashboard("models", "模型与规则", "Models and rules", "rule", deciders, 72, view_at("workbench_inference.dashboard:models"))
    at_provider = frozenset({"provider-operator", "operator", "auditor", "admin"})
    provider = Dashboard("provider", "算力出租", "Renting out", "dns", at_provider, 70, view_at("workbench_inference.dashboard:provider"))
    return (*roles.pages_at(settings.TENANT, [ask, leases, models]), *roles.pages_at(settings.PROVIDER, [provider]))


@hookimpl
def workbench_background(host: Host) -> Sequence[BackgroundWork]:
    if not host.setting(roles.ROLE):
        return ()
    from workbench_inference.leasing.service import Leasing

    leasing = Leasing(host)
    if not roles.is_tenant(host):
        return [leasing]
    from workbench_inference.asking.service import Asking

    return [leasing, Asking(host)]


@hookimpl
def workbench_machines(host: Host) -> Sequence[Machines]:
    """The office system and the customers' app, at a tenant."""
    if not roles.is_tenant(host):
        return ()
    from workbench_inference.channels.credentials import ChannelMachines

    return [ChannelMachines(host)]


@hookimpl
def workbench_letters(host: Host) -> Sequence[LetterKind]:
    if not host.setting(roles.ROLE):
        return ()
    from workbench_inference.leasing.letters import letter_kinds

    return letter_kinds(host)


@hookimpl
def workbench_peer_paths(host: Host) -> Sequence[PeerPath]:
    """Calls below `sandbox/`, each answered at the role that has it."""
    if not host.setting(roles.ROLE):
        return ()
    from workbench_inference.leasing.service import peer_paths

    return peer_paths(host)


@hookimpl
def workbench_scalers(host: Host) -> Sequence[Scaler]:
    """Ray Serve, where a setting names it; cards of leases are ours and need none."""
    if not host.setting(roles.ROLE):
        return ()
    from workbench_inference.leasing.scalers import of_setting

    return of_setting(host)


@hookimpl
def workbench_health(host: Host) -> Sequence[HealthReport]:
    if not host.setting(roles.ROLE):
        return ()
    from workbench_inference.leasing.service import reports
    from workbench_inference.operations_running import health

    if not roles.is_tenant(host):
        return [*reports(host), *health(host)]
    from workbench_inference.documents.health import report

    return [*reports(host), *health(host), report(cast("Any", host))]  # Any: the node, which has a folder


@hookimpl
def workbench_document_connectors() -> Sequence[DocumentConnector]:
    from workbench_inference.documents.connectors import CONNECTORS  # what reads sheets is loaded when one is read

    return CONNECTORS


@hookimpl
def workbench_answer_engines() -> Sequence[EngineRecipe]:
    from workbench_inference.engines import RECIPES

    return RECIPES


@hookimpl
def workbench_erase_customer(host: Host, request: ErasureRequest) -> Sequence[ErasureFinding]:
    from workbench_inference.asking import rights

    return rights.erase(host, request)


@hookimpl
def workbench_subject_records(host: Host, request: SubjectRequest) -> Sequence[SubjectRecord]:
    from workbench_inference.asking import rights

    return rights.records(host, request)


@hookimpl
def workbench_replay(host: Host, entries: Sequence[RestoredEntry]) -> Sequence[ReplayNeed]:
    from workbench_inference.asking import rights
    from workbench_inference.leasing import auditing

    return [*rights.replay(host, entries), *auditing.replay(host, entries)]


@hookimpl
def workbench_audit(host: Host) -> Sequence[AuditFinding]:
    from workbench_inference.asking import rights
    from workbench_inference.leasing import auditing

    return [*rights.audit(host), *auditing.findings(host)]
