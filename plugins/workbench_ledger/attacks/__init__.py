"""The attack laboratory: evidence is attacked on copies, and what finds it, where, and who must act is shown.

Only in demo and test workspaces; docs/protocols/attacks.md says what each attack does and which check must find it.
"""

from __future__ import annotations

from workbench_ledger.attacks.catalogue import ATTACKS, Attack
from workbench_ledger.attacks.findings import Located, Outcome
from workbench_ledger.attacks.operations import KINDS, OPERATIONS

__all__ = ["ATTACKS", "KINDS", "OPERATIONS", "Attack", "Located", "Outcome"]
