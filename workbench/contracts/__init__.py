"""What the host and its plugins offer one another: the public contracts, as Protocol classes and plain values.

A plugin may import this package, workbench.domain, workbench.crypto, workbench.operations, workbench.hookspecs and
workbench.errors, and nothing else of the host. No behaviour lives here. Import names from the package itself; the
modules are for reading: storing, evidence, consent, engine, links, letters, hosting.
"""

from __future__ import annotations

from workbench.contracts.consent import (
    ConsentDecision,
    ConsentRegistry,
    CustomerDecision,
    ExplainsCustomers,
    FindsCustomers,
    GrantQuery,
    LearnsLists,
    NamesCustomers,
    NamesImports,
    TakenBack,
    TellsWithdrawals,
)
from workbench.contracts.engine import (
    AskDropped,
    AskStruck,
    EngineGuarantees,
    IntersectionEngine,
    IntersectionOutcome,
    Mark,
    Phase,
    Prepared,
    Receive,
    Send,
    Session,
    SessionRequest,
)
from workbench.contracts.evidence import AnchorProof, EvidenceIndex, EvidenceLog, Ledger, LedgerExchange
from workbench.contracts.hosting import (
    BackgroundWork,
    Dashboard,
    HealthReport,
    Host,
    OperationContext,
    PublicAnswer,
    PublicPage,
    Setting,
    view_at,
)
from workbench.contracts.letters import Letter, LetterKind, Letters, LetterState
from workbench.contracts.links import (
    CarriedChannel,
    Channel,
    ChannelIdentity,
    ChannelServer,
    PacedLink,
    PeerAddress,
    PeerCall,
    PeerHandler,
    PeerLink,
)
from workbench.contracts.storing import BlobStore, Migration, RestrictedStore, Store, Transaction, Vault

API_MAJOR = 1
"""Plugins state the major version they were written for as WORKBENCH_API; another one is not loaded."""

__all__ = [
    "API_MAJOR",
    "AnchorProof",
    "AskDropped",
    "AskStruck",
    "BackgroundWork",
    "BlobStore",
    "CarriedChannel",
    "Channel",
    "ChannelIdentity",
    "ChannelServer",
    "ConsentDecision",
    "ConsentRegistry",
    "CustomerDecision",
    "Dashboard",
    "EngineGuarantees",
    "EvidenceIndex",
    "EvidenceLog",
    "ExplainsCustomers",
    "FindsCustomers",
    "GrantQuery",
    "HealthReport",
    "Host",
    "IntersectionEngine",
    "IntersectionOutcome",
    "LearnsLists",
    "Ledger",
    "LedgerExchange",
    "Letter",
    "LetterKind",
    "LetterState",
    "Letters",
    "Mark",
    "Migration",
    "NamesCustomers",
    "NamesImports",
    "OperationContext",
    "PacedLink",
    "PeerAddress",
    "PeerCall",
    "PeerHandler",
    "PeerLink",
    "Phase",
    "Prepared",
    "PublicAnswer",
    "PublicPage",
    "Receive",
    "RestrictedStore",
    "Send",
    "Session",
    "SessionRequest",
    "Setting",
    "Store",
    "TakenBack",
    "TellsWithdrawals",
    "Transaction",
    "Vault",
    "view_at",
]
