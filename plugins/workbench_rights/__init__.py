"""Rights desk: what customers may ask, answered completely and in time; complaints until they are closed. docs/rights.md."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.contracts import HealthReport, Host, Migration, Setting
from workbench.domain.erasure import ErasureFinding, ErasureRequest
from workbench.domain.evidence import EvidenceKind
from workbench.domain.subject import SubjectRecord, SubjectRequest
from workbench.hookspecs import hookimpl
from workbench.operations import Operation
from workbench_rights import operations, schema, telling

WORKBENCH_API = 1


@hookimpl
def workbench_operations() -> Sequence[Operation]:
    return operations.RIGHTS_OPERATIONS


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
def workbench_subject_records(host: Host, request: SubjectRequest) -> Sequence[SubjectRecord]:
    return telling.records(host, request)


@hookimpl
def workbench_restricted_customers(host: Host) -> Sequence[str]:
    return telling.restricted_customers(host)


@hookimpl
def workbench_erase_customer(host: Host, request: ErasureRequest) -> Sequence[ErasureFinding]:
    return telling.erase(host, request)


@hookimpl
def workbench_health(host: Host) -> Sequence[HealthReport]:
    return telling.health(host)
