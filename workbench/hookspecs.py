"""All hooks, typed, on one page. Hooks return values; they register nothing by side effect. See docs/hooks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from workbench.contracts import (
        AnchorProof,
        BackgroundWork,
        CarriedChannel,
        Channel,
        ConsentRegistry,
        Dashboard,
        DocumentConnector,
        EngineRecipe,
        HealthReport,
        Host,
        IntersectionEngine,
        Ledger,
        LetterKind,
        Machines,
        Migration,
        PeerPath,
        PublicPage,
        Scaler,
        SessionKeys,
        Setting,
    )
    from workbench.domain.erasure import ErasureFinding, ErasureRequest
    from workbench.domain.evidence import AuditFinding, EvidenceKind, ReplayNeed, RestoredEntry
    from workbench.domain.party import PartyId
    from workbench.domain.subject import SubjectRecord, SubjectRequest
    from workbench.operations import Operation

hookspec = pluggy.HookspecMarker("workbench")
hookimpl = pluggy.HookimplMarker("workbench")

SINGLE_PROVIDER_HOOKS = ("workbench_consent_registry", "workbench_ledger")
"""Exactly one implementation each and no wrapper around it; otherwise the host does not start."""


class HookSpecs:
    """Every extension point. All are collected unless their sentence says otherwise."""

    @hookspec
    def workbench_operations(self) -> Sequence[Operation]:
        """Actions of this plugin; they become HTTP routes, client methods, commands and OpenAPI."""
        raise NotImplementedError

    @hookspec
    def workbench_migrations(self) -> Sequence[Migration]:
        """Numbered steps for the tables of this plugin."""
        raise NotImplementedError

    @hookspec
    def workbench_evidence_kinds(self) -> Sequence[EvidenceKind]:
        """Kinds of entry this plugin writes."""
        raise NotImplementedError

    @hookspec
    def workbench_settings(self) -> Sequence[Setting]:
        """Settings this plugin reads."""
        raise NotImplementedError

    @hookspec
    def workbench_dashboards(self) -> Sequence[Dashboard]:
        """Pages; asked one by one, a faulty one shows its error in its own card."""
        raise NotImplementedError

    @hookspec
    def workbench_health(self, host: Host) -> Sequence[HealthReport]:
        """Lines for the health page; asked one by one."""
        raise NotImplementedError

    @hookspec
    def workbench_intersection_engines(self) -> Sequence[IntersectionEngine]:
        """Ways to intersect."""
        raise NotImplementedError

    @hookspec
    def workbench_channels(self) -> Sequence[Channel]:
        """Ways to reach partners; without any the host does not start."""
        raise NotImplementedError

    @hookspec
    def workbench_carried_channels(self, host: Host) -> Sequence[CarriedChannel]:
        """Ways to reach partners that seal calls and let a channel carry them; a setting picks one per partner."""
        raise NotImplementedError

    @hookspec
    def workbench_consent_registry(self, host: Host) -> ConsentRegistry:
        """The consent registry of this node: exactly one provider."""
        raise NotImplementedError

    @hookspec
    def workbench_ledger(self, host: Host) -> Ledger:
        """The evidence ledger of this node: exactly one provider."""
        raise NotImplementedError

    @hookspec
    def workbench_replay(self, host: Host, entries: Sequence[RestoredEntry]) -> Sequence[ReplayNeed]:
        """Own entries that came back after a restore, in order, before the node opens; returns what people must do again.

        Asked again when the node stops in between. What a plugin cannot redo it keeps closed through its guard.
        """
        raise NotImplementedError

    @hookspec
    def workbench_erase_customer(self, host: Host, request: ErasureRequest) -> Sequence[ErasureFinding]:
        """Erase or set aside what this plugin keeps about a customer; asked again after a crash or a restore."""
        raise NotImplementedError

    @hookspec
    def workbench_audit(self, host: Host) -> Sequence[AuditFinding]:
        """What this plugin finds when it holds its own records against the log; asked by every audit."""
        raise NotImplementedError

    @hookspec
    def workbench_guard(self, host: Host, stage: str, facts: Mapping[str, str]) -> None:
        """May raise Refused at a stage (proposal, approval, release, export, prompt, answer) and so stop it; never widens anything."""
        raise NotImplementedError

    @hookspec
    def workbench_subject_records(self, host: Host, request: SubjectRequest) -> Sequence[SubjectRecord]:
        """Everything this plugin keeps about one customer, record by record; what is set aside is named as such."""
        raise NotImplementedError

    @hookspec
    def workbench_restricted_customers(self, host: Host) -> Sequence[str]:
        """Names (tokens in hex) of customers who restrict processing now; the consent registry refuses them."""
        raise NotImplementedError

    @hookspec
    def workbench_public_pages(self, host: Host) -> Sequence[PublicPage]:
        """Pages for people without an account, each reached by a secret in its address and served by the node."""
        raise NotImplementedError

    @hookspec
    def workbench_background(self, host: Host) -> Sequence[BackgroundWork]:
        """Work that goes on while the node runs: started when everything else is, stopped first."""
        raise NotImplementedError

    @hookspec
    def workbench_letters(self, host: Host) -> Sequence[LetterKind]:
        """Kinds of letter from other institutions that this plugin receives (docs/protocols/letters.md)."""
        raise NotImplementedError

    @hookspec
    def workbench_peer_paths(self, host: Host) -> Sequence[PeerPath]:
        """Calls of partners that this plugin answers, below a first part that nobody else has; else the start is refused."""
        raise NotImplementedError

    @hookspec
    def workbench_session_keys(self, host: Host) -> Sequence[SessionKeys]:
        """Keys of lines for sessions that begin or end outside this node's links."""
        raise NotImplementedError

    @hookspec
    def workbench_answer_engines(self) -> Sequence[EngineRecipe]:
        """Engines that answer questions in a sandbox, and how an image is made of each."""
        raise NotImplementedError

    @hookspec
    def workbench_document_connectors(self) -> Sequence[DocumentConnector]:
        """Kinds of file from which documents for questions are read."""
        raise NotImplementedError

    @hookspec
    def workbench_scalers(self, host: Host) -> Sequence[Scaler]:
        """Who starts and stops the servers of sandboxes."""
        raise NotImplementedError

    @hookspec
    def workbench_machines(self, host: Host) -> Sequence[Machines]:
        """Machines of this institution that may call the operations made for them, by credentials of their own."""
        raise NotImplementedError

    @hookspec
    def workbench_anchors(self, host: Host, origin: PartyId, size: int) -> Sequence[AnchorProof]:
        """What outside this project shows that the first `size` entries of a log existed; for pages and packages."""
        raise NotImplementedError
