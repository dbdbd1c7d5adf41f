"""The evidence ledger: one log per institution, mirrored and co-signed by the others (docs/protocols/evidence.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.contracts import BackgroundWork, Dashboard, HealthReport, Host, Ledger, Migration, Setting, view_at
from workbench.domain.evidence import AuditFinding, EvidenceKind
from workbench.hookspecs import hookimpl
from workbench.operations import Operation
from workbench_ledger import attacks, kinds, ledger, provider, schema, search_keeper, search_schema, settings, times

WORKBENCH_API = 1


@hookimpl
def workbench_migrations() -> Sequence[Migration]:
    return [*schema.MIGRATIONS, *search_schema.MIGRATIONS]


@hookimpl
def workbench_evidence_kinds() -> Sequence[EvidenceKind]:
    return [*kinds.KINDS, *attacks.KINDS]


@hookimpl
def workbench_operations() -> Sequence[Operation]:
    """The laboratory of attacks, in demo and test workspaces."""
    return attacks.OPERATIONS


@hookimpl
def workbench_audit(host: Host) -> Sequence[AuditFinding]:
    """Whether the own clock ran forward, and was not ahead of those who co-signed."""
    return times.find(host.store, host.party, tolerance_ms=1000 * int(host.setting("node.max_skew_s")))


@hookimpl
def workbench_settings() -> Sequence[Setting]:
    return settings.SETTINGS


@hookimpl
def workbench_ledger(host: Host) -> Ledger:
    return provider.build_ledger(host)


@hookimpl
def workbench_health(host: Host) -> Sequence[HealthReport]:
    built = host.provider(Ledger)  # type: ignore[type-abstract]  # a Protocol names the provider, nothing is made of it
    return provider.report_health(built) if isinstance(built, ledger.Ledger) else []


@hookimpl
def workbench_background(host: Host) -> Sequence[BackgroundWork]:
    built = host.provider(Ledger)  # type: ignore[type-abstract]  # as above
    node: Any = host  # its log of faults is no part of contracts.Host
    return [search_keeper.IndexKeeper(built.index, node.log_fault)] if isinstance(built, ledger.Ledger) else []


@hookimpl
def workbench_dashboards() -> Sequence[Dashboard]:
    """Home, Evidence and Health, loaded when somebody opens them."""
    reads = frozenset({"marketing", "approver", "compliance", "operator", "auditor", "regulator"})
    return [
        Dashboard("home", "首页", "Home", "home", reads | {"admin"}, 10, view_at("workbench_ledger.dashboard:home")),
        Dashboard("evidence", "证据", "Evidence", "account_tree", reads, 40, view_at("workbench_ledger.dashboard:view")),
        Dashboard(
            "health", "健康", "Health", "monitor_heart", frozenset({"operator", "admin"}), 90,
            view_at("workbench_ledger.dashboard:health"),
        ),
    ]  # fmt: skip
