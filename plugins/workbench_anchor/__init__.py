"""Outside anchors of checkpoints: RFC 3161 time stamps and a regulator's chain. Document: docs/protocols/anchor.md."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.contracts import AnchorProof, BackgroundWork, HealthReport, Host, Migration, Setting
from workbench.domain.evidence import EvidenceKind
from workbench.domain.party import PartyId
from workbench.hookspecs import hookimpl
from workbench.operations import Operation
from workbench_anchor import describing, health, operations, schema
from workbench_anchor.service import AnchorService, service_of

WORKBENCH_API = 1


@hookimpl
def workbench_operations() -> Sequence[Operation]:
    return operations.OPERATIONS


@hookimpl
def workbench_migrations() -> Sequence[Migration]:
    return schema.MIGRATIONS


@hookimpl
def workbench_evidence_kinds() -> Sequence[EvidenceKind]:
    return schema.KINDS


@hookimpl
def workbench_settings() -> Sequence[Setting]:
    return schema.SETTINGS


@hookimpl
def workbench_background(host: Host) -> Sequence[BackgroundWork]:
    return [AnchorService(host)]


@hookimpl
def workbench_anchors(host: Host, origin: PartyId, size: int) -> Sequence[AnchorProof]:
    return describing.anchor_proofs(service_of(host), origin, size)


@hookimpl
def workbench_health(host: Host) -> Sequence[HealthReport]:
    return health.reports(service_of(host))
