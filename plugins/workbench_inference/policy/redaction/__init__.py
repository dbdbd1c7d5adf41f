"""Redaction before sealing: identifiers of customers become labels, and the map back stays here."""

from __future__ import annotations

from workbench_inference.policy.redaction.names import KnownNames
from workbench_inference.policy.redaction.redacting import KINDS, Redacted, Tile, redact, restore, restore_values, scan
from workbench_inference.policy.redaction.seams import PAIRS, Pairs

__all__ = ["KINDS", "PAIRS", "KnownNames", "Pairs", "Redacted", "Tile", "redact", "restore", "restore_values", "scan"]
