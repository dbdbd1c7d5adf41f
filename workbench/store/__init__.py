"""What a node keeps on disk: one SQLite file per institution (docs/store.md)."""

from __future__ import annotations

from workbench.store.database import Database, Incident, TableOverview
from workbench.store.migrations import STORE_MIGRATIONS, applied_migrations, apply_migrations
from workbench.store.writer import StoreTransaction

__all__ = [
    "STORE_MIGRATIONS",
    "Database",
    "Incident",
    "StoreTransaction",
    "TableOverview",
    "applied_migrations",
    "apply_migrations",
]
