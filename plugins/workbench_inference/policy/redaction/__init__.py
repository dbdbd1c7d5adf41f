"""Redaction before sealing: identifiers of customers become labels, and the map back stays here."""

from __future__ import annotations

from workbench_inference.policy.redaction.names import KnownNames
from workbench_inference.policy.redaction.redacting import KINDS, Redacted, Tile, redact, restore, restore_values, scan

__all__ = ["KINDS", "KnownNames", "Redacted", "Tile", "redact", "restore", "restore_values", "scan"]
