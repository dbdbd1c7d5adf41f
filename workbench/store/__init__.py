"""What a node keeps on disk: one SQLite file per institution (docs/store.md).

frames (tables of customers in the vault) is imported by name, because it loads polars and pyarrow.
"""

from __future__ import annotations

from workbench.store.database import Database, Incident, TableOverview
from workbench.store.evidence_log import EntryDraft, EvidenceLog, IndexRow
from workbench.store.migrations import STORE_MIGRATIONS, applied_migrations, apply_migrations
from workbench.store.outbox import Message, Outbox, Waiting
from workbench.store.vault import Draft, Vault
from workbench.store.vault_key import (
    change_passphrase,
    create_vault_key,
    open_vault,
    replace_vault_key,
    unlock_vault_key,
)
from workbench.store.writer import StoreTransaction

__all__ = [
    "STORE_MIGRATIONS",
    "Database",
    "Draft",
    "EntryDraft",
    "EvidenceLog",
    "Incident",
    "IndexRow",
    "Message",
    "Outbox",
    "StoreTransaction",
    "TableOverview",
    "Vault",
    "Waiting",
    "applied_migrations",
    "apply_migrations",
    "change_passphrase",
    "create_vault_key",
    "open_vault",
    "replace_vault_key",
    "unlock_vault_key",
]
